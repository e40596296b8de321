//! Strict reading of JSON from strangers.
//!
//! A finding decides which resource is changed, so a text that two readers may understand
//! differently (a repeated key, bytes that are not UTF-8) is refused, never repaired.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

/// How much is read before giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Texts of this many bytes and more are refused. AWS delivers at most 1 MiB at once
    /// (EventBridge and SQS); files may carry many events.
    pub bytes: usize,
    /// How many arrays and objects may lie within each other.
    pub depth: usize,
}

impl Default for Limits {
    /// 10 MB and 64 levels. The deepest details of the AWS Security Finding Format need 12.
    fn default() -> Self {
        Self {
            bytes: 10_000_000,
            depth: 64,
        }
    }
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nothing but white space.
    #[error("the input is empty")]
    Empty,
    /// As large as the limit, or larger.
    #[error("the input has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are no text.
    #[error("byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Bytes before it.
        offset: usize,
    },
    /// The text ends before the value does.
    #[error("the JSON is cut off at line {line}, column {column}")]
    Truncated {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// More levels than the limit.
    #[error("the JSON is nested deeper than {limit} levels at line {line}, column {column}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// An object names a member twice.
    #[error("the key `{key}` appears twice in one object at line {line}, column {column}")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// Anything else that is not JSON.
    #[error("the input is not JSON: {message}")]
    Syntax {
        /// What is wrong, with line and column.
        message: String,
    },
}

impl JsonError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "send an event or a finding as JSON",
            Self::TooLarge { .. } => "split it: one finding per event, or one per line of a file",
            Self::NotUtf8 { .. } => "send the JSON as UTF-8, uncompressed",
            Self::Truncated { .. } => "the sender or a size limit on the way cut it; send it whole",
            Self::TooDeep { .. } => "no finding is nested this deeply; check what the sender wraps",
            Self::DuplicateKey { .. } => {
                "which of the two counts is anyone's guess; have the sender write one"
            }
            Self::Syntax { .. } => "send an event or a finding as JSON, or several as one per line",
        }
    }
}

/// Reads one JSON value.
///
/// # Errors
/// Whatever makes the text unreadable or ambiguous: the first such thing.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    read_text(text(bytes, limits)?, limits)
}

/// One JSON value of a text, or why it is none.
pub type Document<'a> = (&'a str, Result<Value, JsonError>);

/// Reads one JSON value, or one per line (JSON Lines, <https://jsonlines.org>). A bad line does not
/// take its neighbours with it; empty lines are passed over.
///
/// # Errors
/// What concerns the input as a whole. In JSON Lines each line has its own result, with its text.
pub fn read_many<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Vec<Document<'a>>, JsonError> {
    let text = text(bytes, limits)?;
    let whole = match read_text(text, limits) {
        Ok(value) => return Ok(vec![(text, Ok(value))]),
        Err(error) => error,
    };
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| (line, read_text(line, limits)))
        .collect();
    let complete = |line: &Document<'_>| matches!(line.1, Ok(Value::Object(_) | Value::Array(_)));
    let record = |(line, _): &Document<'_>| {
        line.starts_with(['{', '[']) && !line.trim_end().ends_with(['{', '[', ','])
    };
    // Lines of one broken document may happen to be objects; only what is written as records counts.
    if lines.len() > 1
        && (lines.first().is_some_and(complete)
            || lines.iter().all(record) && lines.iter().any(complete))
    {
        Ok(lines)
    } else {
        Err(whole)
    }
}

fn text<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, JsonError> {
    if bytes.len() >= limits.bytes {
        return Err(JsonError::TooLarge {
            bytes: bytes.len(),
            limit: limits.bytes,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    // Some senders write a byte order mark, which RFC 8259 lets a reader ignore.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(JsonError::Empty);
    }
    Ok(text)
}

pub(crate) fn read_text(text: &str, limits: &Limits) -> Result<Value, JsonError> {
    let refusal = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let strict = Strict {
        depth: limits.depth,
        refusal: &refusal,
    };
    let result = strict
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    result.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match refusal.take() {
            Some(Refusal::TooDeep) => JsonError::TooDeep {
                limit: limits.depth,
                line,
                column,
            },
            Some(Refusal::DuplicateKey(key)) => JsonError::DuplicateKey { key, line, column },
            None if error.is_eof() => JsonError::Truncated { line, column },
            // serde_json's own limit of 128 levels, for those who set theirs higher.
            None if error.to_string().starts_with("recursion limit") => JsonError::TooDeep {
                limit: 127,
                line,
                column,
            },
            None => JsonError::Syntax {
                message: error.to_string(),
            },
        }
    })
}

enum Refusal {
    TooDeep,
    DuplicateKey(String),
}

/// Builds a `Value`, refusing what is ambiguous. `refusal` says why, since serde's errors are text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    refusal: &'a Cell<Option<Refusal>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(Refusal::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            match map.entry(key) {
                Entry::Vacant(place) => drop(place.insert(members.next_value_seed(inner)?)),
                Entry::Occupied(place) => {
                    let key = place.key().chars().take(64).collect();
                    return Err(self.refuse(Refusal::DuplicateKey(key)));
                }
            }
        }
        Ok(Value::Object(map))
    }
}
