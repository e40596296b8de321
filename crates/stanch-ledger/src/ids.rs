//! Names of remediations, and the hashes under them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::json;
use stanch_types::{AccountId, Region};
use uuid::Uuid;

use crate::canonical::Canonical;

/// A SHA-256 hash; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Text that is not a SHA-256 hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 hash (64 hexadecimal digits)")]
pub struct InvalidHex(String);

impl Digest {
    /// What stands before the first entry of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of `value`'s canonical JSON (RFC 8785, in which integers keep all their digits), which does
    /// not depend on member order or whitespace.
    ///
    /// # Errors
    /// `value` cannot be written as JSON: a map whose keys are not text.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(value)?;
        let digest = Canonical::default().digest(&text);
        digest.map_err(serde::ser::Error::custom)
    }

    /// [`Digest::of`] a value made of strings, numbers and structs only.
    #[expect(
        clippy::expect_used,
        reason = "such a value always has a canonical form"
    )]
    pub(crate) fn of_plain(value: &impl Serialize) -> Self {
        Self::of(value).expect("strings, numbers and structs are JSON")
    }

    /// Its text, at the end of `to`.
    pub(crate) fn write_hex(&self, to: &mut Vec<u8>) {
        let digit = |nibble: u8| match nibble {
            0..=9 => b'0' + nibble,
            _ => b'a' + nibble - 10,
        };
        to.extend(
            self.0
                .iter()
                .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]),
        );
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        let invalid = || InvalidHex(text.chars().take(80).collect());
        let nibble = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else {
                return Err(invalid());
            };
            *byte = nibble(*high).ok_or_else(invalid)? << 4 | nibble(*low).ok_or_else(invalid)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidHex;
    fn try_from(text: String) -> Result<Self, InvalidHex> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What makes two deliveries the same piece of work: it is admitted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey(Digest);

impl IdempotencyKey {
    /// The key of fixing `resource` by `remediation`. `generation` tells one appearance of the finding
    /// from the next: the same finding delivered again has the same generation, one that came back
    /// after a fix has another.
    #[must_use]
    pub fn new(
        account: &AccountId,
        region: &Region,
        resource: &str,
        remediation: &str,
        generation: &str,
    ) -> Self {
        let parts = json!([
            account.as_str(),
            region.as_str(),
            resource,
            remediation,
            generation
        ]);
        Self(Digest::of_plain(&parts))
    }

    /// The id of the one remediation that this key admits. Execution names and client tokens derive
    /// from it too, so that AWS deduplicates what we might send again.
    #[must_use]
    pub fn remediation_id(&self) -> RemediationId {
        RemediationId(Uuid::new_v5(&RemediationId::NAMESPACE, self.0.as_bytes()))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidHex;
    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        text.parse().map(Self)
    }
}

/// The name of one remediation of one finding, everywhere: ledger, session name, messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemediationId(Uuid);

impl RemediationId {
    /// Version 5 namespace of our ids; it must never change.
    const NAMESPACE: Uuid = Uuid::from_u128(0x7b0c_55a1_4f5e_4d0b_9a52_3d1e_6f2c_8e17);

    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for RemediationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for RemediationId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for RemediationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RemediationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
