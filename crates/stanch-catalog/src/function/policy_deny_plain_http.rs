//! A resource's policy that refuses requests without TLS.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    iam::{
        Given, Policy, Statement,
        pattern::{matches, matches_action},
    },
    policy_with_statement::appended,
};

/// The input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Null if there is none.
    policy: Option<Given>,
    /// What must not be reached without TLS: ARNs, `arn:aws:s3:::logs/*` for all objects of a bucket.
    resources: Vec<String>,
    /// What must be refused: `s3:*`, or the actions where the service takes no wildcard (SNS).
    actions: Vec<String>,
}

/// `{policy, changed}`: the policy with one more statement, the rest byte for byte as it was; or
/// just as it was, if its statements already refuse all of the actions on all of the resources to
/// everybody who comes without TLS.
pub(super) fn run(input: Input) -> Result<Value, String> {
    if input.resources.is_empty() || input.actions.is_empty() {
        return Err("`resources` and `actions` must not be empty".to_owned());
    }
    // AWS would take it for a policy variable, and the statement would hold for something else.
    let mut patterns = input.resources.iter().chain(&input.actions);
    if let Some(pattern) = patterns.find(|pattern| pattern.contains("${")) {
        return Err(format!(
            "`{pattern}` has a `${{`, which no ARN or action has"
        ));
    }
    let statement = json!({
        "Sid": "DenyPlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": one_or_all(&input.actions),
        "Resource": one_or_all(&input.resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    });
    let text = input.policy.map(Given::into_text);
    if let Some(text) = &text {
        let policy = Policy::read(text)?;
        let refused = |action: &str, resource: &str| {
            let mut statements = policy.statements.iter();
            statements.any(|statement| refuses(statement, action, resource))
        };
        // A name that no pattern foresees stands for all of them.
        let any = |pattern: &String| pattern.replace('*', "\u{1}");
        let all = input.resources.iter().all(|resource| {
            let mut actions = input.actions.iter();
            actions.all(|action| refused(&any(action), &any(resource)))
        });
        if all {
            return Ok(json!({"policy": text, "changed": false}));
        }
    }
    let policy = appended(text.as_deref(), statement)?;
    Ok(json!({"policy": policy, "changed": true}))
}

fn one_or_all(texts: &[String]) -> Value {
    match texts {
        [one] => json!(one),
        _ => json!(texts),
    }
}

/// True if the statement refuses everybody this action on this resource without TLS, whatever else a
/// request is.
fn refuses(statement: &Statement<'_>, action: &str, resource: &str) -> bool {
    let everybody = statement.principals.as_ref().is_some_and(|principals| {
        !principals.not
            && principals
                .names()
                .any(|(kind, name)| (kind, name) == ("AWS", "*"))
    });
    let [condition] = &statement.conditions[..] else {
        return false;
    };
    let plain_http = ["bool", "boolifexists"].contains(&&*condition.operator)
        && condition.key == "aws:securetransport"
        && condition
            .values
            .iter()
            .any(|value| value.eq_ignore_ascii_case("false"));
    !statement.allow
        && everybody
        && plain_http
        && !statement.actions.not
        && statement
            .actions
            .names()
            .any(|pattern| matches_action(pattern, action))
        && statement.resources.as_ref().is_some_and(|resources| {
            !resources.not && resources.names().any(|pattern| matches(pattern, resource))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUCKET: &str = "arn:aws:s3:::logs";

    fn call(policy: Option<&str>) -> (String, bool) {
        let input = json!({"policy": policy, "resources": [BUCKET, format!("{BUCKET}/*")], "actions": ["s3:*"]});
        let answer = super::super::call("policy-deny-plain-http", &input).unwrap();
        (
            answer["policy"].as_str().unwrap().to_owned(),
            answer["changed"].as_bool().unwrap(),
        )
    }

    const ADDED: &str = r#"{"Sid":"DenyPlainHttp","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;

    #[test]
    fn one_statement_is_added_and_the_rest_stays() {
        let (policy, changed) = call(None);
        assert!(changed);
        assert_eq!(
            policy,
            format!(r#"{{"Version":"2012-10-17","Statement":[{ADDED}]}}"#)
        );
        let check = |before: &str, after: &str| {
            assert_eq!(
                call(Some(before)),
                (after.replace("@", ADDED), true),
                "{before}"
            );
        };
        check(
            r#"{"Statement": [ ] , "Id":"x"}"#,
            r#"{"Statement": [@ ] , "Id":"x"}"#,
        );
        check(
            "{ \"Statement\" : [\n {\"Sid\":\"a\", \"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:*\"}\n], \"Version\":\"2008-10-17\"}",
            "{ \"Statement\" : [\n {\"Sid\":\"a\", \"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:*\"},@\n], \"Version\":\"2008-10-17\"}",
        );
        check(
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*"}}"#,
            r#"{"Statement":[{"Effect":"Allow","Action":"s3:*"},@]}"#,
        );
    }

    #[test]
    fn a_sufficient_policy_is_left_alone() {
        let sufficient = [
            format!(r#"{{"Statement":[{ADDED}]}}"#),
            r#"{"Statement":{"Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:GetObject","S3:*"],"Resource":"arn:aws:s3:::logs*","Condition":{"Bool":{"AWS:SecureTransport":false}}}}"#.to_owned(),
            r#"{"Statement":[
                {"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::logs","Condition":{"BoolIfExists":{"aws:SecureTransport":["false"]}}},
                {"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::logs/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#.to_owned(),
        ];
        for policy in sufficient {
            assert_eq!(call(Some(&policy)), (policy.clone(), false));
        }
        let almost = [
            ADDED.replace("Deny\"", "Allow\""),
            ADDED.replace(r#""Principal":"*""#, r#""NotPrincipal":"*""#),
            ADDED.replace(
                r#""Principal":"*""#,
                r#""Principal":{"AWS":"123456789012"}"#,
            ),
            ADDED.replace("s3:*", "s3:PutObject"),
            ADDED.replace(r#","arn:aws:s3:::logs/*""#, ""),
            ADDED.replace("logs/*", "logs/public/*"),
            ADDED.replace("logs", "log"),
            ADDED.replace("\"false\"", "\"true\""),
            ADDED.replace(
                r#""Bool":{"#,
                r#""StringEquals":{"aws:PrincipalOrgID":"o-1"},"Bool":{"#,
            ),
            ADDED.replace(r#"{"aws:"#, r#"{"aws:SourceIp":"1.2.3.4","aws:"#),
        ];
        for statement in almost {
            let policy = format!(r#"{{"Statement":[{statement}]}}"#);
            assert!(call(Some(&policy)).1, "{policy}");
        }
    }

    #[test]
    fn a_service_may_take_no_wildcard() {
        let topic = "arn:aws:sns:eu-west-1:111122223333:news";
        let input = |policy: &Value| json!({"policy": policy, "resources": [topic], "actions": ["sns:Publish"]});
        let call = |policy: &Value| super::super::call("policy-deny-plain-http", &input(policy));
        let first = call(&Value::Null).unwrap();
        assert_eq!(
            first["policy"],
            format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"DenyPlainHttp","Effect":"Deny","Principal":"*","Action":"sns:Publish","Resource":"{topic}","Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}]}}"#
            )
        );
        assert_eq!(call(&first["policy"]).unwrap()["changed"], false);
    }

    #[test]
    fn a_statement_id_is_never_given_twice() {
        let policy = r#"{"Statement":[{"Sid":"DenyPlainHttp","Effect":"Allow","Action":"s3:*"}]}"#;
        assert!(call(Some(policy)).0.contains(r#""Sid":"DenyPlainHttp2""#));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let long = format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(20 * 1024));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"Statement":1}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            &long,
        ] {
            let input = json!({"policy": bad, "resources": [BUCKET], "actions": ["s3:*"]});
            assert!(
                super::super::call("policy-deny-plain-http", &input).is_err(),
                "{bad:.40}"
            );
        }
    }

    #[test]
    fn what_would_be_a_variable_is_refused() {
        for (resource, action) in [("arn:aws:s3:${::b", "s3:*"), (BUCKET, "s3:${x}")] {
            let input = json!({"policy": null, "resources": [resource], "actions": [action]});
            assert!(
                super::super::call("policy-deny-plain-http", &input).is_err(),
                "{resource} {action}"
            );
        }
    }

    fn any_statement() -> impl Strategy<Value = Value> {
        let effect = prop_oneof![Just("Allow"), Just("Deny")];
        let action = prop_oneof![
            Just(json!("s3:*")),
            Just(json!(["s3:GetObject", "s3:PutObject"]))
        ];
        let resource = prop_oneof![
            Just(json!("arn:aws:s3:::logs/*")),
            Just(json!(["arn:aws:s3:::logs", "arn:aws:s3:::logs/*"])),
            Just(json!("*")),
        ];
        let principal = prop_oneof![
            Just(json!("*")),
            Just(json!({"AWS": "arn:aws:iam::123456789012:root"}))
        ];
        let condition = prop_oneof![
            Just(Value::Null),
            Just(json!({"Bool": {"aws:SecureTransport": "false"}})),
            Just(json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1/128"]}})),
        ];
        (effect, action, resource, principal, condition, proptest::option::of("[A-Za-z0-9]{1,8}")).prop_map(
            |(effect, action, resource, principal, condition, sid)| {
                let mut statement = json!({
                    "Effect": effect, "Action": action, "Resource": resource, "Principal": principal,
                });
                if !condition.is_null() {
                    statement["Condition"] = condition;
                }
                if let Some(sid) = sid {
                    statement["Sid"] = json!(sid);
                }
                statement
            },
        )
    }

    proptest! {
        #[test]
        fn policies_keep_every_byte_and_change_once(
            statements in proptest::collection::vec(any_statement(), 0..5),
            pretty in any::<bool>(),
            single in any::<bool>(),
            last in any::<bool>(),
        ) {
            let list = match (&statements[..], single) {
                ([one], true) => one.clone(),
                _ => json!(statements),
            };
            let policy = if last {
                json!({"Version": "2012-10-17", "Statement": list})
            } else {
                json!({"Statement": list, "Id": "Ü \"{}[]\"", "Version": "2012-10-17"})
            };
            let policy = if pretty { serde_json::to_string_pretty(&policy) } else { serde_json::to_string(&policy) };
            let policy = policy.unwrap();
            let (changed, was_changed) = call(Some(&policy));
            // Afterwards it refuses plain HTTP, and a second time changes nothing.
            prop_assert_eq!(call(Some(&changed)), (changed.clone(), false));
            if was_changed {
                // The former policy with a piece put in: what stands before and behind is the same.
                let sid = changed.rfind(r#"{"Sid":"DenyPlainHttp"#).unwrap();
                let end = sid + changed[sid..].find("}}}").unwrap() + 3;
                let mut head = changed[..sid].to_owned();
                if head.ends_with(',') {
                    head.pop();
                }
                let mut rest = format!("{head}{}", &changed[end..]);
                if list.is_object() {
                    let (open, close) = (rest.find('[').unwrap(), rest[..head.len() + 1].rfind(']').unwrap());
                    rest.remove(close);
                    rest.remove(open);
                }
                prop_assert_eq!(rest, policy);
            } else {
                prop_assert_eq!(changed, policy);
            }
        }
    }
}
