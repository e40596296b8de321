//! Access to the members of a JSON object that says what is missing or of the wrong type, and where.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Problem, short};
use crate::{AccountId, Region};

/// A JSON object and the path to it. `null` counts as missing.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    map: &'a Map<String, Value>,
    path: Path<'a>,
}

#[derive(Clone, Copy)]
struct Path<'a> {
    /// Ends in a dot, or is empty.
    prefix: &'a str,
    /// The place in the list that `prefix` names.
    index: Option<usize>,
}

/// What kind of value it is, with an article.
pub(super) const fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a> Members<'a> {
    pub(super) const fn new(map: &'a Map<String, Value>, path: &'a str) -> Self {
        let path = Path {
            prefix: path,
            index: None,
        };
        Self { map, path }
    }

    /// `Resources[3].Id`, for people.
    pub(super) fn path(&self, name: &str) -> String {
        match self.path {
            Path { prefix: "", .. } => name.to_owned(),
            Path {
                prefix,
                index: None,
            } => format!("{prefix}.{name}"),
            Path {
                prefix,
                index: Some(index),
            } => format!("{prefix}[{index}].{name}"),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str, value: &Value) -> Problem {
        Problem::new(
            format!(
                "`{}` must be {expected}, is {}",
                self.path(name),
                describe(value)
            ),
            "compare the finding with its format's specification; the producer has to write it so",
        )
    }

    pub(super) fn missing(&self, name: &str) -> Problem {
        Problem::new(
            format!("`{}` is missing", self.path(name)),
            "without it nobody can tell what to change; have the producer write it",
        )
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", other)),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, Problem> {
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.missing(name)),
        }
    }

    pub(super) fn object(&self, name: &'a str) -> Result<Option<Members<'a>>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self::new(map, name))),
            Some(other) => Err(self.wrong(name, "an object", other)),
        }
    }

    pub(super) fn required_object(&self, name: &'a str) -> Result<Members<'a>, Problem> {
        self.object(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], Problem> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(name, "an array", other)),
        }
    }

    /// A list of objects.
    pub(super) fn objects(
        &self,
        name: &'a str,
    ) -> Result<impl Iterator<Item = Result<Members<'a>, Problem>>, Problem> {
        let items = self.list(name)?.iter().enumerate();
        Ok(items.map(move |(index, item)| match item {
            Value::Object(map) => Ok(Members {
                map,
                path: Path {
                    prefix: name,
                    index: Some(index),
                },
            }),
            other => Err(Problem::new(
                format!("`{name}[{index}]` must be an object, is {}", describe(other)),
                "compare the finding with its format's specification; the producer has to write it so",
            )),
        }))
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, Problem> {
        let items = self.list(name)?.iter();
        items
            .map(|item| {
                item.as_str()
                    .ok_or_else(|| self.wrong(name, "an array of strings", item))
            })
            .collect()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| self.wrong(name, "a number", value)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong(name, "a boolean", other)),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.map.keys()
    }

    pub(super) fn raw(&self, name: &str) -> Value {
        self.get(name).cloned().unwrap_or_default()
    }

    /// A moment in RFC 3339, as ASFF and EventBridge write it.
    pub(super) fn timestamp(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Problem::new(
                    format!("`{}` is `{}`, not a time", self.path(name), short(text)),
                    "write it as in `2026-01-31T12:00:00.000Z`",
                )
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    /// The first of these that is there.
    pub(super) fn first_timestamp(&self, names: &[&str]) -> Result<Timestamp, Problem> {
        for name in names {
            if let Some(at) = self.timestamp(name)? {
                return Ok(at);
            }
        }
        Err(self.missing(names.first().copied().unwrap_or_default()))
    }

    /// One of AWS's names, in any case.
    pub(super) fn name<T>(
        &self,
        name: &str,
        names: &[&str],
        from_name: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            from_name(&text.to_ascii_uppercase()).ok_or_else(|| {
                Problem::new(
                    format!("`{}` is `{}`", self.path(name), short(text)),
                    format!("it is one of {}", names.join(", ")),
                )
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    pub(super) fn account(&self, name: &str) -> Result<AccountId, Problem> {
        self.required_text(name)?.parse().map_err(|error| {
            Problem::new(
                format!("in `{}`: {error}", self.path(name)),
                "account ids have twelve digits; leading zeros count",
            )
        })
    }

    pub(super) fn region(&self, name: &str) -> Result<Option<Region>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|error| {
                Problem::new(
                    format!("in `{}`: {error}", self.path(name)),
                    "write the code of the region that the resource is in",
                )
            })
        };
        self.text(name)?
            .filter(|text| !text.is_empty())
            .map(parse)
            .transpose()
    }
}
