//! `{{ references }}`: their names, and values with the references in them replaced.
//!
//! One pass, and what comes in is never looked at again. A reference without a value stays as it
//! is written: documents of AWS test for that.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-variables.html>

use std::fmt;

use serde_json::{Map, Value};

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// `{{ Name }}`
    Parameter(String),
    /// `{{ step.Name }}`
    Output {
        /// The step.
        step: String,
        /// Its output.
        name: String,
    },
    /// `{{ variable:Name }}`
    Variable(String),
    /// `{{ global:NAME }}`
    Global(Global),
    /// `{{ automation:EXECUTION_ID }}`
    ExecutionId,
}

/// What every document can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Global {
    /// The account.
    AccountId,
    /// `yyyy-MM-dd`
    Date,
    /// `yyyy-MM-dd_HH.mm.ss`
    DateTime,
    /// The partition.
    Partition,
    /// The region.
    Region,
}

impl Global {
    pub(crate) const ALL: [Self; 5] = [
        Self::AccountId,
        Self::Date,
        Self::DateTime,
        Self::Partition,
        Self::Region,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AccountId => "ACCOUNT_ID",
            Self::Date => "DATE",
            Self::DateTime => "DATE_TIME",
            Self::Partition => "AWS_PARTITION",
            Self::Region => "REGION",
        }
    }
}

impl Reference {
    /// The reference that stands between the braces; none if it is not one.
    #[must_use]
    pub fn parse(inside: &str) -> Option<Self> {
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let inside = inside.trim();
        if let Some((space, name)) = inside.split_once(':') {
            return match space {
                "variable" if word(name) => Some(Self::Variable(name.to_owned())),
                "global" => Global::ALL
                    .into_iter()
                    .find(|g| g.name() == name)
                    .map(Self::Global),
                "automation" if name == "EXECUTION_ID" => Some(Self::ExecutionId),
                _ => None,
            };
        }
        match inside.split_once('.') {
            Some((step, name)) if word(step) && word(name) => Some(Self::Output {
                step: step.to_owned(),
                name: name.to_owned(),
            }),
            None if word(inside) => Some(Self::Parameter(inside.to_owned())),
            _ => None,
        }
    }
}

/// As it stands between the braces.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => f.write_str(name),
            Self::Output { step, name } => write!(f, "{step}.{name}"),
            Self::Variable(name) => write!(f, "variable:{name}"),
            Self::Global(global) => write!(f, "global:{}", global.name()),
            Self::ExecutionId => f.write_str("automation:EXECUTION_ID"),
        }
    }
}

/// Bytes of a reference, braces and blanks included. A bound on how far a closing brace is looked for.
const LONGEST: usize = 512;

/// Text with references in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<'t> {
    parts: Vec<Part<'t>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Reference(Reference, &'t str),
}

impl<'t> Template<'t> {
    /// Finds the references in `text`. Braces around anything else are text.
    #[must_use]
    pub fn parse(text: &'t str) -> Self {
        let mut parts = Vec::new();
        let (mut rest, mut plain) = (text, text);
        // `plain` begins where the text before the next reference begins, `rest` where to look on.
        while let Some(open) = rest.find("{{") {
            let (_, from) = rest.split_at(open);
            let window = from.split_at(from.floor_char_boundary(LONGEST)).0;
            let Some(close) = window.find("}}") else {
                rest = from.get(1..).unwrap_or_default();
                continue;
            };
            let (literal, after) = from.split_at(close + 2);
            let inside = literal.get(2..close).unwrap_or_default();
            match Reference::parse(inside) {
                Some(reference) => {
                    let before = plain.len() - from.len();
                    if before > 0 {
                        parts.push(Part::Text(plain.get(..before).unwrap_or_default()));
                    }
                    parts.push(Part::Reference(reference, literal));
                    (rest, plain) = (after, after);
                }
                None => rest = from.get(1..).unwrap_or_default(),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self { parts }
    }

    /// The references, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference, _) => Some(reference),
            Part::Text(_) => None,
        })
    }

    /// The reference, if the text is just one.
    #[must_use]
    pub fn whole(&self) -> Option<&Reference> {
        let mut parts = self.parts.iter().filter(|part| match part {
            Part::Text(text) => !text.trim().is_empty(),
            Part::Reference(..) => true,
        });
        match (parts.next(), parts.next()) {
            (Some(Part::Reference(reference, _)), None) => Some(reference),
            _ => None,
        }
    }
}

/// What a reference stands for now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// This.
    Value(Value),
    /// Nothing: there is no such thing, or the step did not run or did not find it.
    Unset,
    /// Something that only the real run will tell (dry run).
    Unknown,
}

/// Where references are looked up.
pub(crate) trait Lookup {
    fn find(&self, reference: &Reference) -> Found;
}

/// A value after its references were replaced.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rendered {
    pub value: Value,
    /// References that stayed as they are, because they have no value.
    pub unset: Vec<Reference>,
    /// References that stayed as they are, because only the real run will tell.
    pub unknown: Vec<Reference>,
}

impl Rendered {
    fn note(&mut self, reference: &Reference, found: &Found) {
        let list = match found {
            Found::Value(_) => return,
            Found::Unset => &mut self.unset,
            Found::Unknown => &mut self.unknown,
        };
        if !list.contains(reference) {
            list.push(reference.clone());
        }
    }
}

/// Replaces the references in `value`.
pub(crate) fn render(value: &Value, lookup: &dyn Lookup) -> Rendered {
    let mut rendered = Rendered::default();
    rendered.value = fill(value, lookup, &mut rendered);
    rendered
}

fn fill(value: &Value, lookup: &dyn Lookup, notes: &mut Rendered) -> Value {
    match value {
        Value::String(text) => fill_text(text, lookup, notes),
        Value::Array(items) => {
            let mut filled = Vec::with_capacity(items.len());
            for item in items {
                let whole = item
                    .as_str()
                    .is_some_and(|text| Template::parse(text).whole().is_some());
                match fill(item, lookup, notes) {
                    Value::Array(list) if whole => filled.extend(list),
                    other => filled.push(other),
                }
            }
            Value::Array(filled)
        }
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| (key.clone(), fill(member, lookup, notes)))
                .collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}

fn fill_text(text: &str, lookup: &dyn Lookup, notes: &mut Rendered) -> Value {
    if !text.contains("{{") {
        return Value::String(text.to_owned());
    }
    let template = Template::parse(text);
    if let Some(reference) = template.whole() {
        let found = lookup.find(reference);
        notes.note(reference, &found);
        return match found {
            Found::Value(value) => value,
            _ => Value::String(text.to_owned()),
        };
    }
    let mut filled = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Reference(reference, literal) => {
                let found = lookup.find(reference);
                notes.note(reference, &found);
                match found {
                    Found::Value(value) => filled.push_str(&in_text(&value)),
                    _ => filled.push_str(literal),
                }
            }
        }
    }
    Value::String(filled)
}

/// A value in the middle of text: text verbatim, a list of one as its element, else JSON.
pub(crate) fn in_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => match items.as_slice() {
            [single] => in_text(single),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Whether text anywhere in `value` still has opening braces of a reference.
pub(crate) fn has_braces(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(has_braces),
        Value::Object(members) => members
            .iter()
            .any(|(key, member)| key.contains("{{") || has_braces(member)),
        _ => false,
    }
}

/// Every reference in `value`, with the JSON pointer of the text it stands in.
pub(crate) fn references(value: &Value) -> Vec<(String, Reference)> {
    fn walk(value: &Value, pointer: &str, found: &mut Vec<(String, Reference)>) {
        match value {
            Value::String(text) => found.extend(
                Template::parse(text)
                    .references()
                    .map(|reference| (pointer.to_owned(), reference.clone())),
            ),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{pointer}/{index}"), found);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    walk(member, &format!("{pointer}/{key}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Names;

    impl Lookup for Names {
        fn find(&self, reference: &Reference) -> Found {
            match reference.to_string().as_str() {
                "Name" => Found::Value(json!("a\"b")),
                "Flag" => Found::Value(json!(true)),
                "Count" => Found::Value(json!(7)),
                "List" => Found::Value(json!(["x", "y"])),
                "One" => Found::Value(json!(["x"])),
                "Map" => Found::Value(json!({"k": "{{ Name }}"})),
                "write.Id" => Found::Unknown,
                _ => Found::Unset,
            }
        }
    }

    fn check(value: Value, expected: Value) {
        assert_eq!(render(&value, &Names).value, expected, "{value}");
    }

    #[test]
    fn whole_references_keep_their_type() {
        check(json!("{{Name}}"), json!("a\"b"));
        check(json!("{{ Flag }}"), json!(true));
        check(json!(" {{ Count }} "), json!(7));
        check(
            json!({"a": {"b": "{{ List }}"}}),
            json!({"a": {"b": ["x", "y"]}}),
        );
        check(json!("{{ Map }}"), json!({"k": "{{ Name }}"}));
    }

    #[test]
    fn lists_are_spliced_into_lists() {
        check(json!(["{{ List }}", "z"]), json!(["x", "y", "z"]));
        check(
            json!(["{{ Name }}", "-{{ List }}"]),
            json!(["a\"b", "-[\"x\",\"y\"]"]),
        );
    }

    #[test]
    fn text_takes_values_verbatim() {
        check(
            json!("<{{ Name }}|{{ Count }}|{{ Flag }}>"),
            json!("<a\"b|7|true>"),
        );
        check(json!("{{ One }}!"), json!("x!"));
        check(
            json!("{\"a\": {{ Map }}}"),
            json!("{\"a\": {\"k\":\"{{ Name }}\"}}"),
        );
    }

    #[test]
    fn what_has_no_value_stays() {
        check(json!("{{ nothing.Here }}"), json!("{{ nothing.Here }}"));
        check(
            json!("{{ a b }} {{ x[0] }} {{{ Name }}} }} {{"),
            json!("{{ a b }} {{ x[0] }} {a\"b} }} {{"),
        );
        let rendered = render(&json!(["{{ write.Id }}", "{{ gone }} {{ gone }}"]), &Names);
        assert_eq!(rendered.unknown.len(), 1);
        assert_eq!(rendered.unset.len(), 1);
        assert!(has_braces(&rendered.value));
    }

    #[test]
    fn names_are_recognized() {
        for name in [
            "A",
            "a.B",
            "variable:x",
            "global:DATE_TIME",
            "automation:EXECUTION_ID",
        ] {
            assert_eq!(Reference::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "a b", "a.b.c", "global:NOPE", "ssm:x", "a[0]", "a."] {
            assert_eq!(Reference::parse(name), None, "{name}");
        }
    }
}
