//! The JSONPath dialect of outputs and property selectors.
//!
//! `$`, `.name`, `['name']`, `..name`, `[n]`, `[*]` and `[?(@.name == 'value')]` with one
//! comparison; a path may leave out the `$`, and `.length` counts a list, as in the library that the
//! names come from. Deep scans and filters always give lists.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-outputs-inputs.html>

use std::{cmp::Ordering, str::FromStr};

use serde_json::Value;

/// A path into an action's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    steps: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Member(String),
    Deep(String),
    Index(usize),
    Every,
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    path: Vec<String>,
    test: Option<(Comparison, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{selector}` is not a selector: {problem}")]
pub struct SelectorError {
    /// The text.
    pub selector: String,
    /// What is wrong.
    pub problem: String,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut cursor = Cursor { rest: text.trim() };
        cursor
            .path()
            .map(|steps| Self { steps })
            .map_err(|problem| SelectorError {
                selector: text.to_owned(),
                problem: problem.to_owned(),
            })
    }
}

struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn path(&mut self) -> Result<Vec<Part>, &'static str> {
        let mut parts = Vec::new();
        if self.rest.is_empty() {
            return Err("it is empty");
        }
        if !self.eat("$") && !self.rest.starts_with(['.', '[']) {
            parts.push(Part::Member(self.name()?.to_owned()));
        }
        while !self.rest.is_empty() {
            if self.eat("..") {
                if self.rest.starts_with('[') {
                    match self.brackets()? {
                        Part::Member(name) => parts.push(Part::Deep(name)),
                        _ => return Err("only a name may follow `..`"),
                    }
                } else {
                    parts.push(Part::Deep(self.name()?.to_owned()));
                }
            } else if self.eat(".*") {
                parts.push(Part::Every);
            } else if self.eat(".") {
                // `.[0]` is written by some.
                if !self.rest.starts_with('[') {
                    let name = self.name()?;
                    parts.push(Part::Member(
                        name.strip_suffix("()").unwrap_or(name).to_owned(),
                    ));
                }
            } else if self.rest.starts_with('[') {
                parts.push(self.brackets()?);
            } else {
                return Err("a `.` or `[` is missing");
            }
        }
        Ok(parts)
    }

    fn name(&mut self) -> Result<&'t str, &'static str> {
        let end = self.rest.find(['.', '[']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let name = name.trim();
        if name.is_empty() {
            return Err("a name is missing");
        }
        if name.contains(['$', ']', '\'', '"', ' ', '{', '}']) {
            return Err("a name has a character that must be quoted, as in `['a b']`");
        }
        Ok(name)
    }

    fn brackets(&mut self) -> Result<Part, &'static str> {
        self.eat("[");
        self.skip();
        let part = if self.eat("*") {
            Part::Every
        } else if self.eat("?") {
            self.skip();
            if !self.eat("(") {
                return Err("a filter is written `[?(@.name == 'value')]`");
            }
            let filter = self.filter()?;
            self.skip();
            if !self.eat(")") {
                return Err("a filter takes one comparison; `&&` and `||` are not supported");
            }
            Part::Filter(filter)
        } else if self.rest.starts_with(['\'', '"']) {
            Part::Member(self.quoted()?)
        } else {
            let end = self.rest.find(']').ok_or("a `]` is missing")?;
            let (digits, rest) = self.rest.split_at(end);
            self.rest = rest;
            Part::Index(digits.trim().parse().map_err(
                |_| "in brackets stands an index from 0, a quoted name, `*` or a filter",
            )?)
        };
        self.skip();
        if self.eat("]") {
            Ok(part)
        } else {
            Err("a `]` is missing")
        }
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        let mut characters = self.rest.chars();
        let quote = characters.next().ok_or("a quote is missing")?;
        let mut text = String::new();
        loop {
            match characters.next().ok_or("a quote is not closed")? {
                '\\' => text.push(characters.next().ok_or("a quote is not closed")?),
                c if c == quote => break,
                c => text.push(c),
            }
        }
        self.rest = characters.as_str();
        Ok(text)
    }

    fn filter(&mut self) -> Result<Filter, &'static str> {
        self.skip();
        if !self.eat("@") {
            return Err("the left side of a filter begins with `@`");
        }
        let mut path = Vec::new();
        loop {
            if self.eat(".") {
                let end = self
                    .rest
                    .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | ':')))
                    .unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                if name.is_empty() {
                    return Err("a name is missing in the filter");
                }
                self.rest = rest;
                path.push(name.to_owned());
            } else if self.rest.starts_with('[') {
                self.eat("[");
                path.push(self.quoted()?);
                if !self.eat("]") {
                    return Err("a `]` is missing");
                }
            } else {
                break;
            }
        }
        self.skip();
        if self.rest.starts_with(')') {
            return Ok(Filter { path, test: None });
        }
        let comparison = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            ("<", Comparison::Less),
        ]
        .into_iter()
        .find_map(|(token, comparison)| self.eat(token).then_some(comparison))
        .ok_or("a filter compares with ==, !=, >, >=, < or <=")?;
        self.skip();
        let value = if self.rest.starts_with(['\'', '"']) {
            Value::String(self.quoted()?)
        } else {
            let end = self.rest.find([')', ' ']).ok_or("a `)` is missing")?;
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            serde_json::from_str(word).map_err(|_| "text in a filter is quoted")?
        };
        Ok(Filter {
            path,
            test: Some((comparison, value)),
        })
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let Some(found) = self
            .path
            .iter()
            .try_fold(item, |value, name| value.get(name))
        else {
            return false;
        };
        let Some((comparison, operand)) = &self.test else {
            return true;
        };
        let order = match (found, operand) {
            (Value::Number(a), Value::Number(b)) => a
                .as_f64()
                .zip(b.as_f64())
                .and_then(|(a, b)| a.partial_cmp(&b)),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(Ordering::Equal),
        };
        match comparison {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Selector {
    /// The value that the path leads to; none if it leads nowhere or to null. A path with a deep
    /// scan, a filter or `[*]` leads to a list, which may be empty.
    #[must_use]
    pub fn select(&self, root: &Value) -> Option<Value> {
        let mut definite = true;
        let mut current = vec![root];
        let mut count = None;
        for part in &self.steps {
            let mut next = Vec::new();
            for value in current {
                match part {
                    Part::Member(name) => match (value.get(name), value) {
                        (Some(member), _) => next.push(member),
                        (None, Value::Array(items)) if name == "length" => {
                            count = Some(items.len())
                        }
                        _ => {}
                    },
                    Part::Index(index) => next.extend(value.get(index)),
                    Part::Every => match value {
                        Value::Array(items) => next.extend(items),
                        Value::Object(members) => next.extend(members.values()),
                        _ => {}
                    },
                    Part::Deep(name) => scan(value, name, &mut next),
                    Part::Filter(filter) => match value {
                        Value::Array(items) => {
                            next.extend(items.iter().filter(|item| filter.holds(item)))
                        }
                        _ if filter.holds(value) => next.push(value),
                        _ => {}
                    },
                }
            }
            definite &= matches!(part, Part::Member(_) | Part::Index(_));
            current = next;
        }
        if definite {
            match (current.first(), count) {
                (Some(Value::Null), _) => None,
                (Some(value), _) => Some((*value).clone()),
                (None, Some(count)) => Some(count.into()),
                (None, None) => None,
            }
        } else {
            Some(Value::Array(current.into_iter().cloned().collect()))
        }
    }
}

/// Values that a deep scan finds at most; scans behind scans multiply.
const MOST: usize = 100_000;

fn scan<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    if found.len() >= MOST {
        return;
    }
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            for member in members.values() {
                scan(member, name, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                scan(item, name, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(selector: &str, expected: Option<Value>) {
        let answer = json!({
            "Reservations": [
                {"Instances": [{"InstanceId": "i-1", "State": {"Name": "running", "Code": 16}, "Tags": []}]},
                {"Instances": [{"InstanceId": "i-2", "State": {"Name": "stopped", "Code": 80}}]},
            ],
            "NextToken": null,
            "a b": 1,
        });
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.select(&answer), expected, "{selector}");
    }

    #[test]
    fn paths_lead_to_values() {
        check(
            "$.Reservations[0].Instances[0].InstanceId",
            Some(json!("i-1")),
        );
        check("Reservations[1].Instances[0].State.Code", Some(json!(80)));
        check("$['a b']", Some(json!(1)));
        check("$.Reservations[0].Instances.length", Some(json!(1)));
        check("$.Reservations.length()", Some(json!(2)));
        check("$.Reservations[7].Instances", None);
        check("$.Reservations.Instances", None);
        check("$.NextToken", None);
        check("$.Reservations[0].Instances[0].Tags", Some(json!([])));
    }

    #[test]
    fn scans_and_filters_give_lists() {
        check("$..InstanceId", Some(json!(["i-1", "i-2"])));
        check(
            "$.Reservations..State.Name",
            Some(json!(["running", "stopped"])),
        );
        check("$..Nothing", Some(json!([])));
        check(
            "$.Reservations[*].Instances[0].InstanceId",
            Some(json!(["i-1", "i-2"])),
        );
        check(
            "$..Instances[?(@.State.Name == 'running')].InstanceId",
            Some(json!(["i-1"])),
        );
        check("$..State[?(@.Code >= 80)].Name", Some(json!(["stopped"])));
        check(
            "$.Reservations[0].Instances[?(@.Tags)].InstanceId",
            Some(json!(["i-1"])),
        );
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [
            "",
            "$.",
            "$.a[",
            "$.a[-1]",
            "$.a[0:2]",
            "$.a b",
            "$a",
            "$[?(@.a == 'x' && @.b == 'y')]",
            "$..",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
