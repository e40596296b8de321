//! Facts about what a change may touch: for the people who approve it and the policies that decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stanch_types::{Call, CallError};

use crate::{
    expression::{Expression, ExpressionError, Scope},
    plan::{NextRead, PlanError},
    remediation::{Read, Remediation},
};

/// A read whose answer becomes a fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The read; its name is the fact's, and `pick` what is made of the answer.
    pub read: Read,
    /// What the fact says, for people.
    pub title: String,
    /// The type of the fact.
    pub kind: FactType,
    /// The fact, of all names and `answer`, if it is not the answer itself.
    pub value: Option<Expression>,
}

/// A probe of a plan, with what is to be read for it.
#[derive(Debug)]
pub struct Question<'r> {
    pub(crate) probe: &'r Probe,
    pub(crate) scope: Arc<Scope>,
    /// The call, or why it cannot be made.
    pub read: Result<NextRead, PlanError>,
}

impl Question<'_> {
    /// The name of the fact.
    #[must_use]
    pub fn fact(&self) -> &str {
        &self.probe.read.name
    }

    fn value(&self, output: Value) -> Result<Value, ExpressionError> {
        let picked = match &self.probe.read.pick {
            Some(pick) => pick.pick(&output)?,
            None => output,
        };
        match &self.probe.value {
            Some(value) => value.evaluate(&self.scope.with("answer", &picked)),
            None => Ok(picked),
        }
    }
}

/// The type of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FactType {
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A list of text.
    StringList,
    /// A moment, as AWS writes it.
    Timestamp,
}

impl FactType {
    /// The fact as it is kept; `None` if the value is of another type.
    fn take(self, value: Value) -> Option<Value> {
        match (self, &value) {
            (Self::Integer, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(_), _) => Some(value),
                // A metric's sum of whole numbers is written with a point.
                (None, Some(float)) if float.fract() == 0.0 && float.abs() < 1e15 => {
                    Some(json!(float as i64))
                }
                _ => None,
            },
            (Self::Boolean, Value::Bool(_)) | (Self::String, Value::String(_)) => Some(value),
            (Self::Timestamp, Value::String(text)) => {
                let at: Timestamp = text.parse().ok()?;
                Some(json!(at))
            }
            (Self::StringList, Value::Array(items)) => {
                items.iter().all(Value::is_string).then_some(value)
            }
            _ => None,
        }
    }
}

/// What the probes of a remediation saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// Facts by name. One that does not exist (a key that was never used) is not there.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// Facts that could not be read, with the reason: that is not the same as none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
    /// Facts that were looked for and do not exist: that is not the same as not looked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<String>,
}

/// A fact for people. What they read is its `Display`; control characters in it are a stranger's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fact {
    /// Its name in policies.
    pub name: String,
    /// What it says.
    pub title: String,
    /// The fact; null if there is none, which of what is either so or not is `false`.
    pub value: Value,
    /// Why it is not known, if it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl Fact {
    /// The fact without its title: `3`, `yes`, `none`, `not known: …`.
    #[must_use]
    pub fn answer(&self) -> String {
        if let Some(why) = &self.unknown {
            return format!("not known: {why}");
        }
        match &self.value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(items) if !items.is_empty() => {
                let texts = items.iter().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join(", ")
            }
            Value::Null | Value::Array(_) => "none".to_owned(),
            other => other.to_string(),
        }
    }
}

/// `Network interfaces that use the group: 3`
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.answer())
    }
}

impl Impact {
    /// True if nothing was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.unknown.is_empty() && self.absent.is_empty()
    }

    /// What was looked at, in the order of the file of `remediation`, whose probes these are.
    #[must_use]
    pub fn shown(&self, remediation: &Remediation) -> Vec<Fact> {
        let probes = remediation.impact.iter();
        probes.filter_map(|probe| self.fact(probe)).collect()
    }

    /// `None` if nobody has looked.
    fn fact(&self, probe: &Probe) -> Option<Fact> {
        let name = &probe.read.name;
        let unknown = self.unknown.get(name);
        let value = match self.facts.get(name) {
            Some(fact) => fact.clone(),
            None if unknown.is_some() => Value::Null,
            None if !self.absent.contains(name) => return None,
            None if probe.kind == FactType::Boolean => Value::Bool(false),
            None => Value::Null,
        };
        Some(Fact {
            name: name.clone(),
            title: probe.title.clone(),
            value,
            unknown: unknown.cloned(),
        })
    }

    /// Takes the result of a probe: the output of its call, all pages joined if they were wanted.
    pub fn answer(&mut self, question: &Question<'_>, result: Result<Value, CallError>) {
        let (probe, name) = (question.probe, question.fact());
        let value = match result {
            Err(error) if probe.read.absent.contains(&error.code) => Value::Null,
            Err(error) => return self.fail(name, error.to_string()),
            Ok(output) => match question.value(output) {
                Ok(value) => value,
                Err(error) => return self.fail(name, error.to_string()),
            },
        };
        if value.is_null() {
            self.absent.insert(name.to_owned());
            return;
        }
        match probe.kind.take(value) {
            Some(fact) => drop(self.facts.insert(name.to_owned(), fact)),
            None => self.fail(name, "the answer is of another type".to_owned()),
        }
    }

    /// A probe that could not be made.
    pub fn fail(&mut self, name: &str, reason: String) {
        self.unknown.insert(name.to_owned(), reason);
    }
}

/// The call of a probe; `None` if it is not wanted here.
pub(crate) fn call(probe: &Probe, scope: &Scope) -> Result<Option<NextRead>, PlanError> {
    let Read {
        name,
        service,
        operation,
        with,
        paginate,
        when,
        ..
    } = &probe.read;
    if let Some(when) = when
        && !crate::plan::truth(&format!("when of {name}"), when, scope)?
    {
        return Ok(None);
    }
    let params = with.render(scope).map_err(|error| PlanError::Render {
        name: name.clone(),
        error,
    })?;
    Ok(Some(NextRead {
        name: name.clone(),
        call: Call::new(service, operation, params),
        paginate: *paginate,
    }))
}

/// What probes may say of the time: `past.now`, `past.day`, `past.week`, `past.month` (30 days).
pub(crate) fn past(now: Timestamp) -> Value {
    let before = |days: i64| {
        let then = now.saturating_sub(SignedDuration::from_hours(24 * days));
        json!(
            then.unwrap_or(now)
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
        )
    };
    json!({"now": before(0), "day": before(1), "week": before(7), "month": before(30)})
}

#[cfg(test)]
mod tests {
    use stanch_types::CallErrorKind;

    use super::*;
    use crate::parse;

    const FILE: &str = r#"remediation: Probed
title: Probe
description: Why.
resource: AwsEc2SecurityGroup
controls: {config: [restricted-ssh]}
safety: {class: guarded, impact: None., undo: none, because: It cannot.}
parameters:
  Group: {from: resource.name}
read:
  - {name: group, call: ec2.DescribeSecurityGroups, with: {GroupIds: ["{{ Group }}"]}, pick: SecurityGroups}
impact:
  - name: busiest
    title: The most at once
    type: Integer
    call: cloudwatch.GetMetricStatistics
    with: {Namespace: N, MetricName: M, StartTime: "{{ past.week }}", EndTime: "{{ past.now }}", Period: 60}
    pick: max(Datapoints[].Maximum)
    absent: Gone
compliant: length(group) == `0`
apply:
  - {call: ec2.DeleteSecurityGroup, with: {GroupId: "{{ Group }}"}}
examples:
  - title: One
    given: []
    finding: {control: restricted-ssh, resource: sg-1}
"#;

    fn probe() -> Probe {
        let (remediation, found) = parse(FILE);
        remediation
            .unwrap_or_else(|| panic!("{found:?}"))
            .impact
            .remove(0)
    }

    #[test]
    fn an_answer_becomes_a_fact_none_or_unknown() {
        let check = |answer: Result<Value, &str>, fact: Option<Value>, known: bool| {
            let mut impact = Impact::default();
            let call = Call::new("cloudwatch", "GetMetricStatistics", json!({}));
            let answer = answer.map_err(|code| {
                let mut error = CallError::new(CallErrorKind::Rejected, &call, "no");
                error.code = code.to_owned();
                error
            });
            let probe = probe();
            impact.answer(&question(&probe, Scope::new()), answer);
            assert_eq!(impact.facts.get("busiest"), fact.as_ref());
            assert_eq!(impact.unknown.is_empty(), known);
            assert_eq!(impact.absent.is_empty(), fact.is_some() || !known);
            assert!(!impact.is_empty(), "somebody has looked");
        };
        let points = |values: Value| Ok(json!({"Datapoints": values}));
        check(
            points(json!([{"Maximum": 3.0}, {"Maximum": 7.0}])),
            Some(json!(7)),
            true,
        );
        check(points(json!([])), None, true);
        check(Err("Gone"), None, true);
        check(Err("AccessDenied"), None, false);
        // Half a connection is no count.
        check(points(json!([{"Maximum": 0.5}])), None, false);
    }

    /// That there is none, that it is not known, and that nobody has looked are three things.
    #[test]
    fn people_read_what_was_looked_at() {
        let check = |kind: &str, impact: &Impact, expected: &[&str]| {
            let (remediation, found) = parse(&FILE.replace("type: Integer", kind));
            let remediation = remediation.unwrap_or_else(|| panic!("{found:?}"));
            let facts = impact.shown(&remediation).into_iter();
            let facts: Vec<String> = facts.map(|fact| fact.to_string()).collect();
            assert_eq!(facts, expected);
        };
        let fact = |value: Value| Impact {
            facts: [("busiest".to_owned(), value)].into(),
            ..Impact::default()
        };
        let absent = Impact {
            absent: ["busiest".to_owned()].into(),
            ..Impact::default()
        };
        let (integer, boolean, list) = ("type: Integer", "type: Boolean", "type: StringList");
        check(integer, &Impact::default(), &[]);
        check(integer, &fact(json!(7)), &["The most at once: 7"]);
        check(integer, &absent, &["The most at once: none"]);
        check(boolean, &absent, &["The most at once: no"]);
        check(boolean, &fact(json!(true)), &["The most at once: yes"]);
        check(list, &fact(json!(["a", "b"])), &["The most at once: a, b"]);
        check(list, &fact(json!([])), &["The most at once: none"]);
        let mut unknown = fact(json!(7));
        unknown.fail("busiest", "AccessDenied".to_owned());
        check(
            integer,
            &unknown,
            &["The most at once: not known: AccessDenied"],
        );
    }

    fn question(probe: &Probe, scope: Scope) -> Question<'_> {
        Question {
            probe,
            read: Ok(NextRead {
                name: String::new(),
                call: Call::new("cloudwatch", "GetMetricStatistics", json!({})),
                paginate: false,
            }),
            scope: Arc::new(scope),
        }
    }

    /// A fact of the answer and of what is known of the resource.
    #[test]
    fn a_fact_may_be_about_the_resource() {
        let probing = FILE.replace("type: Integer", "type: Boolean").replace(
            "    pick: max(Datapoints[].Maximum)\n",
            "    pick: Datapoints[].Group\n    value: contains(not_null(answer, `[]`), Group)\n",
        );
        let (remediation, found) = parse(&probing);
        let remediation = remediation.unwrap_or_else(|| panic!("{found:?}"));
        let mut scope = Scope::new();
        scope.set("Group", &json!("sg-1"));
        for (groups, fact) in [(json!(["sg-2", "sg-1"]), true), (json!(["sg-2"]), false)] {
            let groups = groups.as_array().unwrap().iter();
            let points: Vec<Value> = groups.map(|group| json!({"Group": group})).collect();
            let mut impact = Impact::default();
            let question = question(&remediation.impact[0], scope.clone());
            impact.answer(&question, Ok(json!({"Datapoints": points})));
            assert_eq!(impact.facts.get("busiest"), Some(&json!(fact)));
        }
        let (_, found) = parse(&probing.replace("answer, `[]`", "anser, `[]`"));
        assert!(!found.is_empty(), "a name that is not there");
    }

    #[test]
    fn a_probe_knows_what_is_past() {
        let mut scope = Scope::new();
        scope.set("Group", &json!("sg-1"));
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        scope.set("past", &past(now));
        let read = call(&probe(), &scope).unwrap().unwrap();
        assert_eq!(read.call.params["StartTime"], "2026-11-15T12:00:00Z");
        assert_eq!(read.call.params["EndTime"], "2026-11-22T12:00:00Z");
    }
}
