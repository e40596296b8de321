//! Policy documents (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>)
//! as text whose statements can be changed without touching any other byte.

pub(super) mod json;
pub(super) mod pattern;
pub(super) mod trust;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use json::{Edit, Part, cut, edited};

/// A policy as a function takes it: the text as most services return it, the object that IAM's
/// percent-encoded text is given as, or null.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Given {
    Text(String),
    Object(Map<String, Value>),
}

impl Given {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Object(members) => Value::Object(members).to_string(),
        }
    }
}

/// What a function makes of a policy from which something is taken.
#[derive(Debug, Serialize)]
pub(super) struct Without {
    /// The text; null when no statement is left.
    pub(super) policy: Option<String>,
    pub(super) changed: bool,
    /// What was taken out, as statements: whole ones, or with just the principals or actions that
    /// they lost.
    pub(super) removed: Vec<Value>,
}

/// What becomes of a statement.
pub(super) enum Fate {
    /// It stays as it is.
    Stays,
    /// It goes.
    Goes,
    /// It stays but for these edits, which take out what the second says.
    Loses(Vec<Edit>, Value),
    /// The same, and another statement comes behind it.
    Splits(Vec<Edit>, Value, String),
}

pub(super) struct Policy<'t> {
    text: &'t str,
    /// What `Statement` is.
    list: Range<usize>,
    /// One statement that stands without a list around it.
    single: bool,
    pub(super) statements: Vec<Statement<'t>>,
}

pub(super) struct Statement<'t> {
    part: Part<'t>,
    pub(super) allow: bool,
    pub(super) principals: Option<Principals>,
    pub(super) actions: Listed,
    pub(super) resources: Option<Listed>,
    pub(super) conditions: Vec<Condition>,
}

/// `Principal` or `NotPrincipal`.
pub(super) struct Principals {
    pub(super) not: bool,
    kinds: Vec<Kind>,
}

/// Principals of one kind: `AWS`, `Service`, `Federated`, `CanonicalUser`. `"*"` alone is of kind
/// `AWS`.
struct Kind {
    name: String,
    /// Name and value.
    range: Range<usize>,
    listed: Listed,
}

/// Text or a list of text; `NotAction` and `NotResource` list what is left out.
pub(super) struct Listed {
    pub(super) not: bool,
    is_list: bool,
    items: Vec<(String, Range<usize>)>,
}

/// One key of one operator.
pub(super) struct Condition {
    /// In lower case.
    pub(super) operator: String,
    /// In lower case.
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

impl<'t> Policy<'t> {
    /// Reads a policy. What is no policy, or uses an element that AWS does not document, is an error:
    /// what it grants cannot be told then.
    pub(super) fn read(text: &'t str) -> Result<Self, String> {
        let read = || -> Result<_, serde_json::Error> { Part::of(text)?.members() };
        let members = read().map_err(|error| format!("the policy cannot be read: {error}"))?;
        let members = members.ok_or("the policy is not an object")?;
        let mut statements = None;
        for member in members {
            match &*member.name {
                "Version" | "Id" => {}
                "Statement" => statements = Some(member.value),
                other => return Err(format!("the policy has an unknown element `{other}`")),
            }
        }
        let list = statements.ok_or("the policy has no `Statement`")?;
        let items = list
            .items()
            .map_err(|error| format!("the policy cannot be read: {error}"))?;
        let single = items.is_none();
        let statements = items
            .unwrap_or_else(|| vec![list])
            .into_iter()
            .enumerate()
            .map(|(index, part)| {
                Statement::read(part).map_err(|why| format!("statement {}: {why}", index + 1))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text,
            list: list.range(),
            single,
            statements,
        })
    }

    /// Puts a statement behind the last one.
    pub(super) fn append(&self, statement: &str) -> Vec<Edit> {
        let Range { start, end } = self.list.clone();
        if self.single {
            return vec![
                Edit::insert(start, "[".to_owned()),
                Edit::insert(end, format!(",{statement}]")),
            ];
        }
        match self.statements.last() {
            Some(last) => vec![Edit::insert(last.part.range().end, format!(",{statement}"))],
            None => vec![Edit::insert(start + 1, statement.to_owned())],
        }
    }

    /// The policy with what `fate` says of each statement.
    pub(super) fn without(
        &self,
        mut fate: impl FnMut(&Statement<'t>) -> Result<Fate, String>,
    ) -> Result<Without, String> {
        let mut gone = Vec::new();
        let mut edits = Vec::new();
        let mut removed = Vec::new();
        for (index, statement) in self.statements.iter().enumerate() {
            let fate = fate(statement).map_err(|why| format!("statement {}: {why}", index + 1))?;
            gone.push(matches!(fate, Fate::Goes));
            match fate {
                Fate::Stays => {}
                Fate::Goes => removed.push(statement.value()?),
                Fate::Loses(more, what) => {
                    edits.extend(more);
                    removed.push(what);
                }
                Fate::Splits(more, what, other) => {
                    let Range { start, end } = statement.part.range();
                    let (open, close) = if self.single { ("[", "]") } else { ("", "") };
                    edits.push(Edit::insert(start, open.to_owned()));
                    edits.extend(more);
                    edits.push(Edit::insert(end, format!(",{other}{close}")));
                    removed.push(what);
                }
            }
        }
        let none_left = !gone.is_empty() && gone.iter().all(|gone| *gone);
        let ranges: Vec<_> = self.statements.iter().map(|s| s.part.range()).collect();
        edits.extend(cut(&ranges, &gone));
        Ok(Without {
            policy: (!none_left).then(|| edited(self.text, edits)),
            changed: !removed.is_empty(),
            removed,
        })
    }
}

impl<'t> Statement<'t> {
    fn read(part: Part<'t>) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let members = part
            .members()
            .map_err(unreadable)?
            .ok_or("it is not an object")?;
        let (mut effect, mut principals) = (None, None);
        let (mut actions, mut resources, mut conditions) = (None, None, Vec::new());
        for member in members {
            let value = member.value;
            let twice = |first: bool, name: &str| {
                if first {
                    Ok(())
                } else {
                    Err(format!("it has both `{name}` and `Not{name}`"))
                }
            };
            match &*member.name {
                "Sid" => {}
                "Effect" => effect = Some(value.value().map_err(unreadable)?),
                "Principal" | "NotPrincipal" => {
                    twice(principals.is_none(), "Principal")?;
                    let not = member.name == "NotPrincipal";
                    principals = Some(Principals::read(not, value)?);
                }
                "Action" | "NotAction" => {
                    twice(actions.is_none(), "Action")?;
                    actions = Some(Listed::read(member.name == "NotAction", &value)?);
                }
                "Resource" | "NotResource" => {
                    twice(resources.is_none(), "Resource")?;
                    resources = Some(Listed::read(member.name == "NotResource", &value)?);
                }
                "Condition" => conditions = Condition::read(&value)?,
                other => return Err(format!("it has an unknown element `{other}`")),
            }
        }
        let allow = match effect.as_ref().and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err("its `Effect` is neither `Allow` nor `Deny`".to_owned()),
        };
        Ok(Self {
            part,
            allow,
            principals,
            actions: actions.ok_or("it has neither `Action` nor `NotAction`")?,
            resources,
            conditions,
        })
    }

    pub(super) fn value(&self) -> Result<Value, String> {
        self.part.value().map_err(|error| error.to_string())
    }

    /// Whom it grants to. A policy of a resource says so in every statement.
    pub(super) fn principals(&self) -> Result<&Principals, String> {
        let missing = "it names no principal, so this is not the policy of a resource";
        self.principals.as_ref().ok_or_else(|| missing.to_owned())
    }

    /// It without those principals, each given by kind and name; it goes when none would be left.
    pub(super) fn without_principals(
        &self,
        offends: impl Fn(&str, &str) -> bool,
    ) -> Result<Fate, String> {
        let principals = self.principals()?;
        let gone: Vec<Vec<bool>> = principals
            .kinds
            .iter()
            .map(|kind| {
                let names = kind.listed.items.iter();
                names.map(|(name, _)| offends(&kind.name, name)).collect()
            })
            .collect();
        if !gone.iter().flatten().any(|gone| *gone) {
            return Ok(Fate::Stays);
        }
        if gone.iter().flatten().all(|gone| *gone) {
            return Ok(Fate::Goes);
        }
        let all: Vec<bool> = gone
            .iter()
            .map(|gone| gone.iter().all(|gone| *gone))
            .collect();
        let ranges: Vec<_> = principals
            .kinds
            .iter()
            .map(|kind| kind.range.clone())
            .collect();
        let mut edits = cut(&ranges, &all);
        let mut lost = Map::new();
        for ((kind, gone), all) in principals.kinds.iter().zip(&gone).zip(&all) {
            if !all {
                edits.extend(kind.listed.cut(gone));
            }
            if gone.contains(&true) {
                lost.insert(kind.name.clone(), kind.listed.lost(gone));
            }
        }
        let mut removed = self.value()?;
        if let Some(principal) = removed.get_mut("Principal") {
            *principal = Value::Object(lost);
        }
        Ok(Fate::Loses(edits, removed))
    }

    /// Its text with those edits, which are places of the whole policy, and without `Sid`, since an
    /// id stands in a policy once.
    pub(super) fn copy(&self, mut edits: Vec<Edit>) -> Result<String, String> {
        let members = self.part.members().map_err(|error| error.to_string())?;
        let members = members.unwrap_or_default();
        let ranges: Vec<_> = members.iter().map(|member| member.range.clone()).collect();
        let gone: Vec<bool> = members.iter().map(|member| member.name == "Sid").collect();
        edits.extend(cut(&ranges, &gone));
        let start = self.part.range().start;
        let edits = edits.into_iter().map(|Edit { range, with }| Edit {
            range: range.start - start..range.end - start,
            with,
        });
        Ok(edited(self.part.text(), edits.collect()))
    }

    /// It without those actions; it goes when none would be left.
    pub(super) fn without_actions(&self, gone: &[bool]) -> Result<Fate, String> {
        if !gone.contains(&true) {
            return Ok(Fate::Stays);
        }
        if gone.iter().all(|gone| *gone) {
            return Ok(Fate::Goes);
        }
        let mut removed = self.value()?;
        if let Some(action) = removed.get_mut("Action") {
            *action = self.actions.lost(gone);
        }
        Ok(Fate::Loses(self.actions.cut(gone), removed))
    }
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
const KINDS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

impl Principals {
    fn read(not: bool, value: Part<'_>) -> Result<Self, String> {
        let members = value.members().map_err(|error| error.to_string())?;
        let kinds = match members {
            Some(members) => members
                .into_iter()
                .map(|member| {
                    if !KINDS.contains(&&*member.name) {
                        return Err(format!("`{}` is no kind of principal", member.name));
                    }
                    Ok(Kind {
                        listed: Listed::read(false, &member.value)?,
                        name: member.name.into_owned(),
                        range: member.range,
                    })
                })
                .collect::<Result<Vec<_>, String>>()?,
            None => vec![Kind {
                name: "AWS".to_owned(),
                range: value.range(),
                listed: Listed::read(false, &value)?,
            }],
        };
        Ok(Self { not, kinds })
    }

    /// Kind and name of each.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kinds.iter().flat_map(|kind| {
            let names = kind.listed.items.iter();
            names.map(|(name, _)| (kind.name.as_str(), name.as_str()))
        })
    }
}

impl Listed {
    fn read(not: bool, value: &Part<'_>) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let items = value.items().map_err(unreadable)?;
        let is_list = items.is_some();
        let items = items.unwrap_or_else(|| vec![*value]).into_iter();
        let items = items.map(|item| match item.value().map_err(unreadable)? {
            Value::String(text) => Ok((text, item.range())),
            other => Err(format!("`{other}` stands where text should")),
        });
        Ok(Self {
            not,
            is_list,
            items: items.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|(name, _)| name.as_str())
    }

    fn cut(&self, gone: &[bool]) -> Vec<Edit> {
        let ranges: Vec<_> = self.items.iter().map(|(_, range)| range.clone()).collect();
        cut(&ranges, gone)
    }

    /// What is cut, in the shape in which it stood.
    fn lost(&self, gone: &[bool]) -> Value {
        let lost = self.names().zip(gone).filter(|(_, gone)| **gone);
        let mut lost = lost.map(|(name, _)| Value::String(name.to_owned()));
        if self.is_list {
            lost.collect()
        } else {
            lost.next().unwrap_or_default()
        }
    }
}

impl Condition {
    fn read(value: &Part<'_>) -> Result<Vec<Self>, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let is_object = "its `Condition` is not as IAM writes them";
        let mut found = Vec::new();
        for operator in value.members().map_err(unreadable)?.ok_or(is_object)? {
            let keys = operator.value.members().map_err(unreadable)?;
            for key in keys.ok_or(is_object)? {
                let values = key.value.items().map_err(unreadable)?;
                let values = values.unwrap_or_else(|| vec![key.value]).into_iter();
                let values = values.map(|value| match value.value().map_err(unreadable)? {
                    Value::String(text) => Ok(text),
                    scalar @ (Value::Bool(_) | Value::Number(_)) => Ok(scalar.to_string()),
                    _ => Err(is_object.to_owned()),
                });
                found.push(Self {
                    operator: operator.name.to_ascii_lowercase(),
                    key: key.name.to_ascii_lowercase(),
                    values: values.collect::<Result<_, _>>()?,
                });
            }
        }
        Ok(found)
    }
}
