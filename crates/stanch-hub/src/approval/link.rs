//! Links by which people answer: signed, for one request, one person and one answer.
//!
//! A link is `<base>/approvals/<claim>.<signature>`: who may answer what until when, as JSON, and its
//! HMAC-SHA256, both in URL-safe base64. That it is used once follows from the ledger: a person answers
//! a request once, and what they used is kept.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use stanch_ledger::{Digest, Means, RemediationId};
use stanch_types::Secret;

/// Signs links, and reads them.
#[derive(Debug, Clone)]
pub struct Links {
    key: Secret<String>,
    /// Where people reach the page: `https://stanch.example.com`.
    base: String,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The remediation.
    pub id: RemediationId,
    /// The plan's hash.
    pub plan: String,
    /// The request for an approval.
    pub nonce: String,
    /// The person who may answer it.
    pub person: String,
    /// Until when.
    pub expires: Timestamp,
}

/// A link that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this link was not made here, or is not complete")]
pub struct NotOurs;

/// What a signature is for; so that none can be taken for another.
#[derive(Clone, Copy)]
enum Purpose {
    Link,
    Form,
}

impl Links {
    /// Links to `base`, signed with `key`: a secret of at least 32 characters.
    #[must_use]
    pub fn new(key: Secret<String>, base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { key, base }
    }

    /// The address at which a person answers.
    #[must_use]
    pub fn url(&self, claim: &Claim) -> String {
        format!("{}/approvals/{}", self.base, self.token(claim))
    }

    /// The origin of the page, as browsers have it.
    #[must_use]
    pub fn origin(&self) -> &str {
        let authority = self.base.find("://").map_or(0, |at| at + 3);
        let end = self.base.get(authority..).and_then(|rest| rest.find('/'));
        let end = end.map_or(self.base.len(), |end| authority + end);
        self.base.get(..end).unwrap_or(&self.base)
    }

    /// The last part of that address.
    #[must_use]
    pub fn token(&self, claim: &Claim) -> String {
        // A claim is text and a time: it has a JSON form.
        let claim = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claim).unwrap_or_default());
        let signature = self.sign(Purpose::Link, &claim);
        format!("{claim}.{signature}")
    }

    /// What a token says, if it is one of ours. Whether it still counts is the ledger's to say.
    ///
    /// # Errors
    /// It was changed, cut off, or signed with another key.
    pub fn read(&self, token: &str) -> Result<Claim, NotOurs> {
        let (claim, signature) = token.split_once('.').ok_or(NotOurs)?;
        self.check(Purpose::Link, claim, signature)?;
        let claim = URL_SAFE_NO_PAD.decode(claim).map_err(|_| NotOurs)?;
        serde_json::from_slice(&claim).map_err(|_| NotOurs)
    }

    /// What the form of a page carries: only who was shown the page can have it.
    #[must_use]
    pub fn form(&self, token: &str) -> String {
        self.sign(Purpose::Form, token)
    }

    /// Checks what a form carried.
    ///
    /// # Errors
    /// It is not from the page of `token`.
    pub fn check_form(&self, token: &str, form: &str) -> Result<(), NotOurs> {
        self.check(Purpose::Form, token, form)
    }

    fn mac(&self, purpose: Purpose, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.reveal().as_bytes()).ok()?;
        mac.update(match purpose {
            Purpose::Link => b"stanch approval link 1\0",
            Purpose::Form => b"stanch approval form 1\0",
        });
        mac.update(text.as_bytes());
        Some(mac)
    }

    fn sign(&self, purpose: Purpose, text: &str) -> String {
        // HMAC takes keys of any length, so there always is one.
        let mac = self.mac(purpose, text);
        mac.map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
            .unwrap_or_default()
    }

    /// Takes the same time wherever the difference is.
    fn check(&self, purpose: Purpose, text: &str, signature: &str) -> Result<(), NotOurs> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NotOurs)?;
        let mac = self.mac(purpose, text).ok_or(NotOurs)?;
        mac.verify_slice(&signature).map_err(|_| NotOurs)
    }
}

/// How someone answered who used this token, for the ledger: its SHA-256.
#[must_use]
pub fn means(token: &str) -> Means {
    use sha2::Digest as _;
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    Means::Link(Digest::from(digest).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(key: &str) -> Links {
        Links::new(Secret::new(key.to_owned()), "https://stanch.example.com/")
    }

    fn claim() -> Claim {
        Claim {
            id: "5f0c1d1e-7f0a-5b8e-9d3a-3d7e6f5a4b3c".parse().unwrap(),
            plan: "plan".to_owned(),
            nonce: "nonce".to_owned(),
            person: "alice".to_owned(),
            expires: "2026-01-31T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_link_says_what_was_signed_and_nothing_else() {
        let ours = links("0123456789abcdef0123456789abcdef");
        let token = ours.token(&claim());
        assert_eq!(ours.read(&token), Ok(claim()));
        assert!(
            ours.url(&claim())
                .starts_with("https://stanch.example.com/approvals/")
        );
        let other = links("fedcba9876543210fedcba9876543210");
        assert_eq!(other.read(&token), Err(NotOurs));
        let (body, signature) = token.split_once('.').unwrap();
        let bob = ours.token(&Claim {
            person: "bob".to_owned(),
            ..claim()
        });
        let (bobs, _) = bob.split_once('.').unwrap();
        for forged in [
            format!("{bobs}.{signature}"),
            format!("{body}."),
            body.to_owned(),
            format!("{body}.{}", ours.form(body)),
            format!("{body}.{}", signature.get(1..).unwrap()),
            String::new(),
            ".".to_owned(),
            "é.é".to_owned(),
        ] {
            assert_eq!(ours.read(&forged), Err(NotOurs), "{forged}");
        }
    }

    #[test]
    fn every_bit_counts() {
        let ours = links("0123456789abcdef0123456789abcdef");
        let token = ours.token(&claim());
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(ours.read(&changed), Err(NotOurs), "{index}");
        }
    }

    #[test]
    fn a_form_belongs_to_its_page() {
        let ours = links("0123456789abcdef0123456789abcdef");
        let token = ours.token(&claim());
        assert_eq!(ours.check_form(&token, &ours.form(&token)), Ok(()));
        assert_eq!(ours.check_form("other", &ours.form(&token)), Err(NotOurs));
        assert_eq!(ours.check_form(&token, ""), Err(NotOurs));
    }
}
