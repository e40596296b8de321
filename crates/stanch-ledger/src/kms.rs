//! Checkpoints signed by a key of AWS KMS, which nobody can take away.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::json;
use stanch_types::{Api, Call};

use crate::{NotSigned, Signer, VerifierKey};

/// A key of KMS: `ECC_NIST_EDWARDS25519`, to sign and verify.
pub struct KmsSigner {
    api: Arc<dyn Api>,
    id: String,
    key: VerifierKey,
}

impl fmt::Debug for KmsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KmsSigner").field(&self.id).finish()
    }
}

impl KmsSigner {
    /// An Ed25519 key as a `SubjectPublicKeyInfo`, before its 32 bytes (RFC 8410, section 4).
    const PREFIX: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];

    /// The key `id`: an id, an ARN or an alias. Without an `origin` it signs as [`crate::KeyFile`]
    /// does.
    ///
    /// # Errors
    /// It cannot be read, or is no such key.
    pub async fn open(
        api: Arc<dyn Api>,
        id: &str,
        origin: Option<&str>,
    ) -> Result<Self, NotSigned> {
        let call = Call::new("kms", "GetPublicKey", json!({ "KeyId": id }));
        let reply = api.call(&call).await;
        let reply = reply.map_err(|error| NotSigned(error.to_string()))?;
        let encoded = reply.output.get("PublicKey").and_then(|key| key.as_str());
        let der = encoded.and_then(|encoded| BASE64.decode(encoded).ok());
        let public =
            der.and_then(|der| <[u8; 32]>::try_from(der.strip_prefix(&Self::PREFIX)?).ok());
        let public = public.ok_or_else(|| {
            NotSigned(format!(
                "`{id}` is not a key of the kind `ECC_NIST_EDWARDS25519`"
            ))
        })?;
        let key = VerifierKey::named(origin, public);
        let key = key.ok_or_else(|| {
            NotSigned("a key's name has no spaces and no `+`: correct its origin".to_owned())
        })?;
        Ok(Self {
            api,
            id: id.to_owned(),
            key,
        })
    }
}

#[async_trait]
impl Signer for KmsSigner {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The plain Ed25519 of RFC 8032 is `ED25519_SHA_512` over the raw message
    /// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>).
    async fn sign(&self, text: &str) -> Result<Vec<u8>, NotSigned> {
        let params = json!({
            "KeyId": self.id,
            "Message": BASE64.encode(text),
            "MessageType": "RAW",
            "SigningAlgorithm": "ED25519_SHA_512",
        });
        let reply = self.api.call(&Call::new("kms", "Sign", params)).await;
        let reply = reply.map_err(|error| NotSigned(error.to_string()))?;
        let signature = reply.output.get("Signature").and_then(|one| one.as_str());
        signature
            .and_then(|encoded| BASE64.decode(encoded).ok())
            .ok_or_else(|| NotSigned("AWS KMS answered without a signature".to_owned()))
    }
}
