//! What is different between two JSON values, leaf by leaf.

use std::fmt::Display;

use serde_json::{Map, Value, json};
use stanch_catalog::Plan;
use stanch_ledger::{Change, Difference, Secrets};

use crate::mask_plan;

/// The leaves of a JSON value by their dotted paths; a text that is a JSON document is opened.
#[must_use]
pub fn leaves(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect("", value, &mut found);
    found
}

fn collect(path: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    let below = |name: &dyn Display| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                collect(&below(name), member, into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{path}[{index}]"), item, into);
            }
        }
        Value::String(text) if text.starts_with(['{', '[']) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => collect(path, &inner, into),
            _ => into.push((path.to_owned(), value.clone())),
        },
        _ => into.push((path.to_owned(), value.clone())),
    }
}

/// What turns one value into another: first what is different or gone, then what is new.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let (before, after) = (leaves(before), leaves(after));
    let find = |list: &[(String, Value)], path: &str| {
        let found = list.iter().find(|(other, _)| other == path);
        found.map(|(_, value)| value.clone())
    };
    let old = before.iter().map(|(path, was)| Change {
        at: path.clone(),
        was: Some(was.clone()),
        is: find(&after, path),
    });
    let new = after
        .iter()
        .filter(|(path, _)| find(&before, path).is_none())
        .map(|(path, is)| Change {
            at: path.clone(),
            was: None,
            is: Some(is.clone()),
        });
    old.filter(|change| change.was != change.is)
        .chain(new)
        .collect()
}

/// The same for people and for the ledger: a secret that has changed is told of, and not what it is.
pub(super) fn masked(secrets: &mut Secrets, before: &Value, after: &Value) -> Vec<Change> {
    let (mut before, mut after) = (before.clone(), after.clone());
    secrets.mask(&mut before);
    secrets.mask(&mut after);
    changes(&before, &after)
}

/// What is different in what `plan` was made from and in what it sends, with secrets masked.
pub(super) fn between(secrets: &mut Secrets, shown: &Plan, plan: &Plan) -> Difference {
    let (mut before, mut after) = (shown.clone(), plan.clone());
    mask_plan(secrets, &mut before);
    mask_plan(secrets, &mut after);
    Difference {
        plan_hash: shown.hash(),
        changes: changes(&essence(&before), &essence(&after)),
    }
}

fn essence(plan: &Plan) -> Value {
    let requests: Map<String, Value> = plan
        .steps
        .iter()
        .map(|step| (step.name.clone(), json!(step.action)))
        .collect();
    json!({
        "file": plan.digest,
        "parameters": plan.parameters,
        "state": plan.state,
        "requests": requests,
    })
}

/// What becomes of the resource, as far as the requests tell: the members that a request sets, laid
/// over a state's objects with members of the same names.
#[must_use]
pub fn foreseen(plan: &Plan) -> Value {
    let mut after = plan.state.clone();
    for call in plan.writes() {
        overlay(&mut after, &call.params);
    }
    after
}

fn overlay(state: &mut Value, request: &Value) {
    match state {
        Value::Object(members) => {
            if let Value::Object(set) = request {
                for (name, value) in set {
                    if let Some(member) = members.get_mut(name) {
                        member.clone_from(value);
                    }
                }
                set.values()
                    .filter(|value| value.is_object())
                    .for_each(|value| overlay(state, value));
            }
            if let Value::Object(members) = state {
                members
                    .values_mut()
                    .for_each(|member| overlay(member, request));
            }
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger knows secrets by the names that a path goes through.
    #[test]
    fn a_path_is_read_as_it_is_written() {
        let before = json!({"Environment": {"variables": [{"value": 1}, {"a.b": "x"}]}});
        let found = changes(&before, &json!({"other": 1}));
        let names: Vec<Vec<&str>> = found.iter().map(|one| one.names().collect()).collect();
        assert_eq!(
            names,
            [
                vec!["Environment", "variables", "0", "value"],
                vec!["Environment", "variables", "1", "a", "b"],
                vec!["other"],
            ]
        );
    }

    #[test]
    fn leaf_by_leaf() {
        let check = |before: Value, after: Value, expected: &[&str]| {
            let found: Vec<String> = changes(&before, &after)
                .into_iter()
                .map(|change| {
                    let text = |value: Option<Value>| {
                        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
                    };
                    format!("{} {} {}", change.at, text(change.was), text(change.is))
                })
                .collect();
            assert_eq!(found, expected);
        };
        check(json!({"a": 1}), json!({"a": 1}), &[]);
        check(
            json!({"a": [1, 2], "b": {"c": null}}),
            json!({"a": [1], "b": {"c": true}, "d": "x"}),
            &["a[1] 2 -", "b.c null true", "d - \"x\""],
        );
        // A policy is text, and compared as what it says.
        check(
            json!({"policy": r#"{"Statement":[{"Effect":"Allow"}]}"#}),
            json!({"policy": r#"{ "Statement": [{"Effect": "Deny"}] }"#}),
            &[r#"policy.Statement[0].Effect "Allow" "Deny""#],
        );
    }
}
