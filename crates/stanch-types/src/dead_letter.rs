//! What could not be understood, kept with its reason.

use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::Problem;

/// An event, or a part of one, that nobody could act on. Nothing was changed in AWS because of it;
/// it waits to be read, and to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// From source and payload, so that the same letter delivered a hundred times is one letter.
    pub id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Where from: `http`, a queue's name, a file's name.
    pub source: String,
    /// What is wrong; one line.
    pub reason: String,
    /// What to do about it; one line.
    pub hint: String,
    /// The bytes as they came.
    pub payload: Payload,
}

/// Bytes, readable where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// UTF-8.
    Text(String),
    /// Anything else, in standard base64 with padding.
    Base64(#[serde(with = "base64_bytes")] Vec<u8>),
}

impl DeadLetter {
    /// A letter for `payload` from `source`.
    #[must_use]
    pub fn new(received_at: Timestamp, source: &str, problem: &Problem, payload: Vec<u8>) -> Self {
        let digest = Sha256::new()
            .chain_update((source.len() as u64).to_be_bytes())
            .chain_update(source)
            .chain_update(&payload)
            .finalize();
        let id = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
        Self {
            id: id.collect(),
            received_at,
            source: source.to_owned(),
            reason: problem.reason.clone(),
            hint: problem.hint.clone(),
            payload: Payload::from(payload),
        }
    }
}

impl Payload {
    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Base64(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Base64(error.into_bytes()), Self::Text)
    }
}

mod base64_bytes {
    use super::STANDARD;
    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
