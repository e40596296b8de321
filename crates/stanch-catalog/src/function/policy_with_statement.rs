//! A policy with one more statement.

use serde::Deserialize;
use serde_json::{Value, json};

use super::iam::{Given, Policy, json::edited};

/// The input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Null if there is none.
    policy: Option<Given>,
    /// The statement, as an object or as the JSON text of one.
    statement: Given,
}

/// The largest policies that AWS takes are those of buckets, in bytes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html>. What takes
/// less refuses more.
const LIMIT: usize = 20 * 1024;

/// `{policy, changed}`: the policy with the statement behind its others, which stay byte for byte; or
/// just as it was, if it has one that says the same, whatever its `Sid`.
pub(super) fn run(input: Input) -> Result<Value, String> {
    let statement: Value = serde_json::from_str(&input.statement.into_text())
        .map_err(|error| format!("the statement cannot be read: {error}"))?;
    let text = input.policy.map(Given::into_text);
    if let Some(text) = &text {
        for other in &Policy::read(text)?.statements {
            if says(&other.value()?) == says(&statement) {
                return Ok(json!({"policy": text, "changed": false}));
            }
        }
    }
    let policy = appended(text.as_deref(), statement)?;
    Ok(json!({"policy": policy, "changed": true}))
}

/// What a statement says: without its `Sid`, with the names in order, and with what stands alone as
/// the list of one that it means.
fn says(statement: &Value) -> Value {
    match statement {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(name, _)| *name != "Sid").collect();
            members.sort_by_key(|(name, _)| *name);
            let said = members
                .into_iter()
                .map(|(name, value)| (name.clone(), says(value)));
            Value::Object(said.collect())
        }
        Value::Array(items) => {
            let mut items = items.clone();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        one => json!([one]),
    }
}

/// The policy with this statement behind the others. A `Sid` that is taken gets a number.
pub(super) fn appended(policy: Option<&str>, mut statement: Value) -> Result<String, String> {
    let policy = policy.unwrap_or(r#"{"Version":"2012-10-17","Statement":[]}"#);
    let read = Policy::read(policy)?;
    let mut taken = Vec::new();
    for other in &read.statements {
        taken.extend(other.value()?.get_mut("Sid").map(Value::take));
    }
    if let Some(sid) = statement.get_mut("Sid") {
        let wanted = sid.as_str().unwrap_or_default().to_owned();
        let mut number = 1;
        while taken.contains(sid) {
            number += 1;
            *sid = json!(format!("{wanted}{number}"));
        }
    }
    let appended = edited(policy, read.append(&statement.to_string()));
    // Refused as a whole rather than by AWS half-way.
    Policy::read(&appended).map_err(|why| format!("the statement is none: {why}"))?;
    match appended.len() {
        length if length > LIMIT => Err(format!(
            "with one more statement the policy has {length} bytes; AWS takes {LIMIT} at most"
        )),
        _ => Ok(appended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(policy: Value, statement: Value) -> Result<Value, String> {
        let input = json!({"policy": policy, "statement": statement});
        super::super::call("policy-with-statement", &input).map_err(|error| error.to_string())
    }

    #[test]
    fn one_statement_more() {
        let logs = json!({"Sid": "Logs", "Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*"});
        let first = call(Value::Null, logs.clone()).unwrap();
        let text = first["policy"].as_str().unwrap();
        assert_eq!(
            text,
            format!(r#"{{"Version":"2012-10-17","Statement":[{logs}]}}"#)
        );
        assert_eq!(first["changed"], true);
        let other = json!({"Sid": "Logs", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": "*"});
        let second = call(json!(text), other).unwrap();
        let text = second["policy"].as_str().unwrap();
        assert!(text.starts_with(&format!(
            r#"{{"Version":"2012-10-17","Statement":[{logs},{{"Sid":"Logs2","#
        )));
        let text = r#"{ "Statement" : {"Effect":"Allow","Principal":"*","Action":"a:B"} }"#;
        let third = call(json!(text), json!(logs.to_string())).unwrap();
        assert_eq!(
            third["policy"],
            format!(
                r#"{{ "Statement" : [{{"Effect":"Allow","Principal":"*","Action":"a:B"}},{logs}] }}"#
            )
        );
    }

    #[test]
    fn what_is_said_already_is_not_said_again() {
        let policy = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":["1","2"]},"Action":["a:B"],"Resource":"*"}]}"#;
        let same = json!({"Sid": "x", "Action": "a:B", "Effect": "Allow", "Resource": ["*"],
            "Principal": {"AWS": ["2", "1"]}});
        let answer = call(json!(policy), same.clone()).unwrap();
        assert_eq!(answer, json!({"policy": policy, "changed": false}));
        let mut other = same;
        other["Resource"] = json!("b");
        assert_eq!(call(json!(policy), other).unwrap()["changed"], true);
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        for bad in [json!({}), json!("["), json!({"Effect": "Allow"}), json!([])] {
            assert!(call(Value::Null, bad.clone()).is_err(), "{bad}");
        }
        assert!(call(json!("{}"), json!({"Effect": "Allow", "Action": "a:B"})).is_err());
    }
}
