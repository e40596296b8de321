//! Parameters and selectors held against the model, before anything is sent.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::names;
use crate::service::{Bounds, Member, Operation, Service, ShapeId, ShapeKind, Structure};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `PublicAccessBlockConfiguration.BlockPublicAcl`, `Filters[0].Name`; empty for the whole.
    pub path: String,
    /// What.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Whether AWS is sure to refuse it.
    pub severity: Severity,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// AWS knows better than the model: it adds enum values, and raises limits.
    Warning,
    /// The call is not worth sending.
    Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}`: {}", self.path, self.message)
        }
    }
}

/// All that is wrong with the parameters of a call, in their order. Blobs are base64 text; timestamps
/// are ISO 8601 or RFC 2822 text, or seconds since 1970. boto3's parameter aliases are known.
///
/// Errors are what botocore refuses
/// (<https://github.com/boto/botocore/blob/develop/botocore/validate.py>), warnings what it lets pass.
pub fn validate(service: &Service, operation: &Operation, parameters: &Value) -> Vec<Problem> {
    validate_template(service, operation, parameters, &|_| false)
}

/// The same for parameters with holes: a value for which `open` is true fits everywhere.
pub fn validate_template(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
    open: &dyn Fn(&Value) -> bool,
) -> Vec<Problem> {
    let mut check = Check {
        service,
        operation,
        open,
        path: Vec::new(),
        problems: Vec::new(),
    };
    match operation.input {
        Some(input) => check.shape(input, None, parameters),
        None if parameters.as_object().is_some_and(Map::is_empty) || parameters.is_null() => {}
        None => check.error("this operation takes no parameters", None),
    }
    check.problems
}

struct Check<'a> {
    service: &'a Service,
    operation: &'a Operation,
    open: &'a dyn Fn(&Value) -> bool,
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, severity: Severity, message: impl Into<String>, hint: Option<String>) {
        let path = self.path.concat();
        self.problems.push(Problem {
            path: path.strip_prefix('.').unwrap_or(&path).into(),
            message: message.into(),
            hint,
            severity,
        });
    }

    fn error(&mut self, message: impl Into<String>, hint: Option<String>) {
        self.report(Severity::Error, message, hint);
    }

    fn within(&mut self, step: String, check: impl FnOnce(&mut Self)) {
        self.path.push(step);
        check(self);
        self.path.pop();
    }

    fn member(&mut self, member: &Member, value: &Value) {
        if !member.json_value {
            self.shape(member.shape, Some(member), value);
        }
    }

    fn shape(&mut self, id: ShapeId, member: Option<&Member>, value: &Value) {
        if (self.open)(value) {
            return;
        }
        let service = self.service;
        let shape = service.shape(id);
        let mut bounds = shape.bounds;
        if member.is_some_and(|m| m.host_label) {
            bounds.min = bounds.min.or(Some(1.0));
        }
        match (&shape.kind, value) {
            (ShapeKind::Structure(s), _) if s.document => {}
            (ShapeKind::Structure(s), Value::Object(o)) => self.structure(s, o),
            (ShapeKind::List { member, sparse }, Value::Array(all)) => {
                self.length(bounds, all.len(), "element");
                for (i, item) in all.iter().enumerate() {
                    if !(*sparse && item.is_null()) {
                        self.within(format!("[{i}]"), |c| c.member(member, item));
                    }
                }
            }
            (
                ShapeKind::Map {
                    key,
                    value: values,
                    sparse,
                },
                Value::Object(all),
            ) => {
                self.length(bounds, all.len(), "entry");
                for (name, item) in all {
                    self.within(format!(".{name}"), |c| {
                        c.member(key, &Value::String(name.clone()));
                        if !(*sparse && item.is_null()) {
                            c.member(values, item);
                        }
                    });
                }
            }
            (ShapeKind::String { enumeration, .. }, Value::String(s)) => {
                self.length(bounds, s.chars().count(), "character");
                if !enumeration.is_empty() && !enumeration.iter().any(|e| **e == **s) {
                    let nearest = names::nearest(s, enumeration.iter().map(|e| &**e));
                    let hint = names::did_you_mean(&nearest).or_else(|| listed(enumeration.iter()));
                    self.report(
                        Severity::Warning,
                        format!("`{s}` is not a known value"),
                        hint,
                    );
                }
            }
            (ShapeKind::Blob { .. }, Value::String(s)) => {
                if STANDARD.decode(s).is_err() {
                    self.error(
                        "this is not base64",
                        Some("write the bytes as base64 text".into()),
                    );
                }
            }
            (ShapeKind::Boolean, Value::Bool(_)) => {}
            (ShapeKind::Integer | ShapeKind::Long, Value::Number(n)) if is_whole(n) => {
                self.range(bounds, n);
            }
            (ShapeKind::Float | ShapeKind::Double, Value::Number(n)) => self.range(bounds, n),
            (ShapeKind::Float | ShapeKind::Double, Value::String(s))
                if matches!(s.as_str(), "NaN" | "Infinity" | "-Infinity") => {}
            (ShapeKind::Timestamp(_), Value::Number(_)) => {}
            (ShapeKind::Timestamp(_), Value::String(s)) if is_moment(s) => {}
            (kind, _) => self.error(
                format!("this must be {}, not {}", expected(kind), found(value)),
                None,
            ),
        }
    }

    fn structure(&mut self, structure: &Structure, given: &Map<String, Value>) {
        if structure.union && given.len() != 1 {
            self.error(
                format!("exactly one member must be set, not {}", given.len()),
                listed(structure.members.iter().map(|m| &m.name)),
            );
        }
        let top = self.path.is_empty();
        let modelled = |name: &'_ str| -> Box<str> {
            if top {
                names::parameter(self.service, self.operation, name).into()
            } else {
                name.into()
            }
        };
        let given: Vec<(Box<str>, &String, &Value)> = given
            .iter()
            .map(|(name, value)| (modelled(name), name, value))
            .collect();
        for member in structure.members.iter().filter(|m| m.required) {
            if !given.iter().any(|(name, ..)| *name == member.name) {
                self.error(format!("`{}` is required", member.name), None);
            }
        }
        for (i, (name, written, value)) in given.iter().enumerate() {
            self.within(format!(".{written}"), |c| match structure.member(name) {
                _ if given.iter().take(i).any(|(other, ..)| other == name) => {
                    c.error(format!("`{name}` is given twice, under two names"), None);
                }
                Some(member) => c.member(member, value),
                None => {
                    let nearest = names::nearest(name, structure.members.iter().map(|m| &*m.name));
                    let hint = names::did_you_mean(&nearest)
                        .or_else(|| listed(structure.members.iter().map(|m| &m.name)));
                    c.error("there is no such parameter", hint);
                }
            });
        }
    }

    fn length(&mut self, bounds: Bounds, length: usize, unit: &str) {
        let units = |n: f64| match (n == 1.0, unit) {
            (true, _) => format!("1 {unit}"),
            (false, "entry") => format!("{n} entries"),
            (false, _) => format!("{n} {unit}s"),
        };
        #[expect(clippy::cast_precision_loss, reason = "no length here reaches 2^52")]
        let length = length as f64;
        if let Some(min) = bounds.min.filter(|min| length < *min) {
            self.error(
                format!("at least {} must be given, not {length}", units(min)),
                None,
            );
        }
        if let Some(max) = bounds.max.filter(|max| length > *max) {
            let message = format!("at most {} can be given, not {length}", units(max));
            self.report(Severity::Warning, message, None);
        }
    }

    fn range(&mut self, bounds: Bounds, number: &serde_json::Number) {
        let Some(value) = number.as_f64() else { return };
        if let Some(min) = bounds.min.filter(|min| value < *min) {
            self.error(format!("this must be at least {min}, not {number}"), None);
        }
        if let Some(max) = bounds.max.filter(|max| value > *max) {
            self.report(
                Severity::Warning,
                format!("this can be at most {max}, not {number}"),
                None,
            );
        }
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64()
}

fn is_moment(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
        || text.parse::<jiff::civil::DateTime>().is_ok()
        || text.parse::<jiff::civil::Date>().is_ok()
        || jiff::fmt::rfc2822::parse(text).is_ok()
        || text.parse::<f64>().is_ok()
}

fn expected(kind: &ShapeKind) -> &'static str {
    match kind {
        ShapeKind::Structure(_) => "an object",
        ShapeKind::List { .. } => "a list",
        ShapeKind::Map { .. } => "an object (a map)",
        ShapeKind::String { .. } => "a string",
        ShapeKind::Blob { .. } => "base64 text",
        ShapeKind::Boolean => "`true` or `false`",
        ShapeKind::Integer | ShapeKind::Long => "a whole number",
        ShapeKind::Float | ShapeKind::Double => "a number",
        ShapeKind::Timestamp(_) => "a time (ISO 8601)",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if is_whole(n) => "a number",
        Value::Number(_) => "a fraction",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `one of …`, where that is short enough to read.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a Box<str>>) -> Option<String> {
    const READABLE: usize = 12;
    (1..=READABLE).contains(&names.len()).then(|| {
        let quoted: Vec<String> = names.map(|n| format!("`{n}`")).collect();
        format!("one of {}", quoted.join(", "))
    })
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A value of this shape.
    Shape(ShapeId),
    /// A value of any shape: inside a document or a JSON value, or behind a selector that the model
    /// cannot follow (a filter, a slice, a recursive descent).
    Anything,
}

impl Service {
    /// The shape at a path below another: of `$.Reservations[0].Instances[*].State.Name` below
    /// `DescribeInstances`' output. JSONPath as Systems Manager Automation has it; `$` may be left out.
    ///
    /// # Errors
    /// When the model has nothing at that path: the problem's path is the part that leads nowhere.
    pub fn shape_at(&self, root: ShapeId, path: &str) -> Result<At, Problem> {
        let mut rest = path.strip_prefix('$').unwrap_or(path);
        let mut here = root;
        loop {
            let until = |rest: &str| path.strip_suffix(rest).unwrap_or(path).to_owned();
            let problem = |path: String, message: String, hint| Problem {
                path,
                message,
                hint,
                severity: Severity::Error,
            };
            let shape = self.shape(here);
            if rest.is_empty() || rest == "." {
                return Ok(At::Shape(here));
            }
            if rest.starts_with("..") || shape.structure().is_some_and(|s| s.document) {
                return Ok(At::Anything);
            }
            let index = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
            let (name, after) = match index {
                Some((inside, after)) => match unquoted(inside) {
                    Some(name) => (name, after),
                    None if matches!(inside, "" | "*") || inside.parse::<i64>().is_ok() => {
                        let ShapeKind::List { member, .. } = &shape.kind else {
                            return Err(problem(
                                until(rest),
                                format!("this is {}, not a list", expected(&shape.kind)),
                                None,
                            ));
                        };
                        here = member.shape;
                        rest = after;
                        continue;
                    }
                    None => return Ok(At::Anything),
                },
                None => {
                    let bare = rest.strip_prefix('.').unwrap_or(rest);
                    bare.split_at(bare.find(['.', '[']).unwrap_or(bare.len()))
                }
            };
            rest = after;
            let member = match &shape.kind {
                ShapeKind::Structure(s) => s.member(name).ok_or_else(|| {
                    let nearest = names::nearest(name, s.members.iter().map(|m| &*m.name));
                    let hint = names::did_you_mean(&nearest)
                        .or_else(|| listed(s.members.iter().map(|m| &m.name)));
                    problem(
                        until(rest),
                        format!("`{}` has no member `{name}`", shape.name),
                        hint,
                    )
                })?,
                ShapeKind::Map { value, .. } => value,
                ShapeKind::List { .. } => {
                    let hint = format!("select an element: `[0].{name}`");
                    return Err(problem(until(rest), "this is a list".into(), Some(hint)));
                }
                other => {
                    return Err(problem(
                        until(rest),
                        format!("this is {}, and has no members", expected(other)),
                        None,
                    ));
                }
            };
            if member.json_value {
                return Ok(At::Anything);
            }
            here = member.shape;
        }
    }
}

fn unquoted(inside: &str) -> Option<&str> {
    ['\'', '"']
        .iter()
        .find_map(|q| inside.strip_prefix(*q)?.strip_suffix(*q))
}
