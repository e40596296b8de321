//! A bucket policy that refuses requests without TLS.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The policy as GetBucketPolicy returns it; null if the bucket has none.
    policy: Option<String>,
    /// The ARN of the bucket.
    bucket: String,
}

/// A bucket policy's limit, in bytes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html>.
const LIMIT: usize = 20 * 1024;

#[derive(Deserialize)]
struct Document<'t> {
    #[serde(borrow, rename = "Statement")]
    statement: &'t RawValue,
}

/// `{policy, changed}`: the policy with one more statement, the rest byte for byte as it was; or
/// just as it was, if its statements already refuse every request to the bucket and to all of its
/// objects that comes without TLS.
pub(super) fn run(input: Input) -> Result<Value, String> {
    let Some(policy) = input.policy else {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [statement("DenyPlainHttp", &input.bucket)],
        });
        return Ok(json!({"policy": policy.to_string(), "changed": true}));
    };
    let document: Document<'_> = serde_json::from_str(&policy)
        .map_err(|error| format!("the bucket policy cannot be read: {error}"))?;
    let raw = document.statement.get();
    let parsed: Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    let (statements, wrapped) = match &parsed {
        Value::Array(statements) => (statements.iter().collect::<Vec<_>>(), raw.to_owned()),
        Value::Object(_) => (vec![&parsed], format!("[{raw}]")),
        _ => {
            return Err(
                "the bucket policy's `Statement` is neither a statement nor a list".to_owned(),
            );
        }
    };
    let refused = |resource: &str| {
        statements
            .iter()
            .any(|statement| refuses(statement, resource))
    };
    // An object whose key no pattern foresees stands for all of them.
    if refused(&input.bucket) && refused(&format!("{}/\u{1}", input.bucket)) {
        return Ok(json!({"policy": policy, "changed": false}));
    }
    let added = statement(&free_sid(&statements), &input.bucket).to_string();
    let inside = wrapped.strip_suffix(']').unwrap_or(&wrapped);
    let (before, blank) = inside.split_at(inside.trim_end().len());
    let comma = if statements.is_empty() { "" } else { "," };
    // The raw value borrows from the text: the distance of their beginnings is where it stands.
    let start = (raw.as_ptr() as usize).wrapping_sub(policy.as_ptr() as usize);
    let (Some(head), Some(tail)) = (policy.get(..start), policy.get(start + raw.len()..)) else {
        return Err("the bucket policy cannot be taken apart".to_owned());
    };
    let changed = format!("{head}{before}{comma}{added}{blank}]{tail}");
    if changed.len() > LIMIT {
        return Err(format!(
            "with one more statement the bucket policy has {} bytes; S3 takes {LIMIT}",
            changed.len()
        ));
    }
    Ok(json!({"policy": changed, "changed": true}))
}

fn statement(sid: &str, bucket: &str) -> Value {
    json!({
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket, format!("{bucket}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

/// A statement id that no statement has: ids must be unique in a policy.
fn free_sid(statements: &[&Value]) -> String {
    let taken = |sid: &str| {
        statements
            .iter()
            .any(|statement| statement.get("Sid").is_some_and(|s| s == sid))
    };
    let numbered = (2..).map(|n| format!("DenyPlainHttp{n}"));
    std::iter::once("DenyPlainHttp".to_owned())
        .chain(numbered)
        .find(|sid| !taken(sid))
        .unwrap_or_default()
}

/// True if the statement refuses everybody every action on `resource` without TLS, whatever else a
/// request is.
fn refuses(statement: &Value, resource: &str) -> bool {
    let Some(members) = statement.as_object() else {
        return false;
    };
    let known = [
        "Sid",
        "Effect",
        "Principal",
        "Action",
        "Resource",
        "Condition",
    ];
    let all = |value: &Value| texts(value).contains(&"*");
    members.keys().all(|name| known.contains(&name.as_str()))
        && members.get("Effect").is_some_and(|effect| effect == "Deny")
        && members
            .get("Principal")
            .is_some_and(|principal| all(principal) || principal.get("AWS").is_some_and(all))
        && members.get("Action").is_some_and(|action| {
            texts(action)
                .iter()
                .any(|action| *action == "*" || action.eq_ignore_ascii_case("s3:*"))
        })
        && members.get("Resource").is_some_and(|resources| {
            texts(resources)
                .iter()
                .any(|pattern| matches(pattern, resource))
        })
        && members.get("Condition").is_some_and(is_plain_http)
}

/// `{"Bool": {"aws:SecureTransport": "false"}}` and nothing besides.
fn is_plain_http(condition: &Value) -> bool {
    let one = |value: &Value| -> Option<(String, Value)> {
        let members = value.as_object()?;
        let (name, value) = members.iter().next()?;
        (members.len() == 1).then(|| (name.to_ascii_lowercase(), value.clone()))
    };
    let Some((operator, keys)) = one(condition) else {
        return false;
    };
    let Some((key, value)) = one(&keys) else {
        return false;
    };
    let is_false = value == false
        || texts(&value)
            .iter()
            .any(|text| text.eq_ignore_ascii_case("false"));
    ["bool", "boolifexists"].contains(&operator.as_str())
        && key == "aws:securetransport"
        && is_false
}

/// Text, or the text in a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => value.as_str().into_iter().collect(),
    }
}

/// IAM's `*` and `?`. Policy variables match nothing here: they are decided per request.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern.contains("${") {
        return false;
    }
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUCKET: &str = "arn:aws:s3:::logs";

    fn call(policy: Option<&str>) -> (String, bool) {
        let input = json!({"policy": policy, "bucket": BUCKET});
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
            "{ \"Statement\" : [\n {\"Sid\":\"a\", \"Effect\":\"Allow\"}\n], \"Version\":\"2008-10-17\"}",
            "{ \"Statement\" : [\n {\"Sid\":\"a\", \"Effect\":\"Allow\"},@\n], \"Version\":\"2008-10-17\"}",
        );
        check(
            r#"{"Statement":{"Effect":"Allow"}}"#,
            r#"{"Statement":[{"Effect":"Allow"},@]}"#,
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
    fn a_statement_id_is_never_given_twice() {
        let policy = r#"{"Statement":[{"Sid":"DenyPlainHttp","Effect":"Allow"}]}"#;
        assert!(call(Some(policy)).0.contains(r#""Sid":"DenyPlainHttp2""#));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let long = format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(LIMIT));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"Statement":1}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            &long,
        ] {
            let input = json!({"policy": bad, "bucket": BUCKET});
            assert!(
                super::super::call("policy-deny-plain-http", &input).is_err(),
                "{bad:.40}"
            );
        }
    }

    #[test]
    fn patterns_match_as_iam_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/x", "a/b/x", true),
            ("a*", "b", false),
            ("${aws:username}", "${aws:username}", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
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
