//! Ports and address ranges, as rules of networks have them.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// A port, given as a number or as text.
pub(super) struct Port(pub(super) i64);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number
            .filter(|port| (0..=65535).contains(port))
            .map(Self)
            .ok_or_else(|| Error::custom(format_args!("`{value}` is not a port")))
    }
}

/// `0.0.0.0/0`, `::/0`, however written.
pub(super) fn is_whole_family(range: &str) -> bool {
    range
        .rsplit_once('/')
        .is_some_and(|(_, length)| !length.is_empty() && length.bytes().all(|b| b == b'0'))
}
