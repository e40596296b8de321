//! Items as DynamoDB's API writes them: `{"Attribute": {"S": "text"}}`, blobs as base64.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Map, Value, json};

use crate::Digest;

/// An item, or some attributes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item(pub(super) Map<String, Value>);

/// A string.
pub(super) fn s(text: impl Into<String>) -> Value {
    json!({"S": text.into()})
}

/// A number.
pub(super) fn n(number: impl std::fmt::Display) -> Value {
    json!({"N": number.to_string()})
}

/// Bytes.
pub(super) fn b(bytes: &[u8]) -> Value {
    json!({"B": BASE64.encode(bytes)})
}

/// A set of strings.
pub(super) fn ss(texts: impl IntoIterator<Item = impl Into<String>>) -> Value {
    let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
    json!({ "SS": texts })
}

impl Item {
    /// The key of an item of the state table.
    pub(super) fn key(key: &str, item: &str) -> Self {
        Self::default().with("Key", s(key)).with("Item", s(item))
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// An index has no entry for an item that lacks its key, and refuses an empty one.
    pub(super) fn with_text(self, name: &str, text: &str) -> Self {
        match text {
            "" => self,
            text => self.with(name, s(text)),
        }
    }

    pub(super) fn with_number(self, name: &str, number: Option<impl std::fmt::Display>) -> Self {
        match number {
            Some(number) => self.with(name, n(number)),
            None => self,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.get("S")?.as_str()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.get("N")?.as_str()?.parse().ok()
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        BASE64.decode(self.0.get(name)?.get("B")?.as_str()?).ok()
    }

    pub(super) fn digest(&self, name: &str) -> Option<Digest> {
        let bytes: [u8; 32] = self.bytes(name)?.try_into().ok()?;
        Some(bytes.into())
    }

    /// A list or a set of strings.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        let value = self.0.get(name);
        let all = |kind| value.and_then(|value| value.get(kind)?.as_array());
        let list = all("L")
            .into_iter()
            .flatten()
            .filter_map(|item| item.get("S"));
        let set = all("SS").into_iter().flatten();
        list.chain(set).filter_map(Value::as_str).collect()
    }
}
