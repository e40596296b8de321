//! The part of an event that nobody could act on, kept to be read and delivered again.

use std::{convert::Infallible, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Bytes as they came. As text (and in JSON): themselves if they are UTF-8, else a data URL in
/// base64 (RFC 2397).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Payload(Vec<u8>);

const DATA_URL: &str = "data:application/octet-stream;base64,";

impl Payload {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        let decoded = text
            .strip_prefix(DATA_URL)
            .and_then(|base64| STANDARD.decode(base64).ok());
        Self(decoded.unwrap_or_else(|| text.into_bytes()))
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> String {
        match String::from_utf8(payload.0) {
            // Text that would be taken for a data URL is written as one.
            Ok(text) if !text.starts_with(DATA_URL) => text,
            Ok(text) => format!("{DATA_URL}{}", STANDARD.encode(text)),
            Err(error) => format!("{DATA_URL}{}", STANDARD.encode(error.as_bytes())),
        }
    }
}

impl FromStr for Payload {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
