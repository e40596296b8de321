//! Members of AWS's answers.

use jiff::Timestamp;
use serde_json::Value;

/// The text at a JSON pointer.
pub fn text<'v>(value: &'v Value, at: &str) -> Option<&'v str> {
    value.pointer(at).and_then(Value::as_str)
}

/// The items of a list at a JSON pointer; none if there is no list.
pub fn items<'v>(value: &'v Value, at: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .pointer(at)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A number, also one that is written as a text, as SQS's attributes are.
pub fn number(value: &Value, at: &str) -> Option<f64> {
    let value = value.pointer(at)?;
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// A moment: as the client gives timestamps (RFC 3339, or seconds since 1970).
pub fn moment(value: &Value, at: &str) -> Option<Timestamp> {
    match value.pointer(at)? {
        Value::String(text) => text.parse().ok(),
        // Whole milliseconds are exact enough to order lines by.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float's integer part saturates"
        )]
        Value::Number(seconds) => {
            Timestamp::from_millisecond((seconds.as_f64()? * 1000.0) as i64).ok()
        }
        _ => None,
    }
}

/// A policy document, which IAM percent-encodes (RFC 3986) where the client has not decoded it, or that is
/// JSON already.
pub fn document(value: &Value, at: &str) -> Option<Value> {
    match value.pointer(at)? {
        Value::String(text) => serde_json::from_str(text)
            .ok()
            .or_else(|| serde_json::from_str(&unescaped(text)?).ok()),
        document @ Value::Object(_) => Some(document.clone()),
        _ => None,
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// One or many, as IAM writes lists.
pub fn many(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text],
        _ => Vec::new(),
    }
}

/// The statements of a policy.
pub fn statements(policy: &Value) -> Vec<&Value> {
    match policy.get("Statement") {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_in_every_form_that_aws_has() {
        let value = json!({"d": "%7B%22a%22%3A1%7D", "e": "{\"a\":1}", "f": {"a": 1}, "n": "3", "m": 4, "t": 1.5, "u": "1970-01-01T00:00:01.5Z", "x": "%7"});
        for at in ["/d", "/e", "/f"] {
            assert_eq!(document(&value, at), Some(json!({"a": 1})), "{at}");
        }
        assert_eq!(document(&value, "/x"), None);
        assert_eq!(
            (number(&value, "/n"), number(&value, "/m")),
            (Some(3.0), Some(4.0))
        );
        assert_eq!(moment(&value, "/t"), moment(&value, "/u"));
        assert_eq!(moment(&value, "/t").unwrap().as_millisecond(), 1500);
        assert_eq!(many(Some(&json!("a"))), ["a"]);
        assert_eq!(many(Some(&json!(["a", "b"]))), ["a", "b"]);
    }
}
