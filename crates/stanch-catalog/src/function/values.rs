//! What JMESPath lacks: decoding and splitting text, members by computed names, comparing times, changing a value
//! deep inside another.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Span, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stanch_types::{Arn, name_from_arn};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfArn {
    arn: Arn,
}

/// `{partition, service, region, account, resource, name, parts}`: `name` and `parts` as those of a
/// finding's resource.
pub(super) fn arn_parts(input: OfArn) -> Result<Value, String> {
    let OfArn { arn } = input;
    Ok(json!({
        "partition": arn.partition,
        "service": arn.service,
        "region": arn.region,
        "account": arn.account,
        "resource": arn.resource,
        "name": name_from_arn(&arn),
        "parts": arn.resource_parts().collect::<Vec<_>>(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encoded {
    of: Option<String>,
}

/// The text that is encoded; null of null. Bytes that are no text are refused: JSON cannot carry them.
pub(super) fn base64_text(input: Encoded) -> Result<Option<String>, String> {
    let Some(encoded) = input.of else {
        return Ok(None);
    };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|error| format!("it is not base64: {error}"))?;
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| "it encodes bytes that are no text".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    of: Option<Map<String, Value>>,
}

/// `[{key, value}]` of an object's members; none of null.
pub(super) fn entries(input: Entries) -> Result<Vec<Value>, String> {
    let members = input.of.unwrap_or_default().into_iter();
    Ok(members
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Split {
    text: String,
    by: String,
}

/// The pieces of a text between its separators.
pub(super) fn split(input: Split) -> Result<Vec<String>, String> {
    if input.by.is_empty() {
        return Err("`by` must not be empty".to_owned());
    }
    Ok(input.text.split(&input.by).map(str::to_owned).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstOfEach {
    items: Vec<Value>,
    by: String,
}

/// The first element for each distinct value of the member `by`, in order.
pub(super) fn first_of_each(input: FirstOfEach) -> Result<Vec<Value>, String> {
    let mut seen: Vec<Value> = Vec::new();
    let mut first = Vec::new();
    for item in input.items {
        let value = item.get(&input.by).cloned();
        let value = value.ok_or_else(|| format!("`{item}` has no `{}`", input.by))?;
        if !seen.contains(&value) {
            seen.push(value);
            first.push(item);
        }
    }
    Ok(first)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    items: Vec<Value>,
    member: String,
    is: Value,
}

/// The elements whose member is, or as a list has, the value or one of the list of values. JMESPath's
/// filters see nothing but the element.
pub(super) fn with_member(input: Where) -> Result<Vec<Value>, String> {
    let listed = |value: Value| match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let wanted = listed(input.is);
    let fits = |item: &Value| {
        let found = item.get(&input.member).cloned().map(listed);
        found.is_some_and(|found| found.iter().any(|value| wanted.contains(value)))
    };
    Ok(input.items.into_iter().filter(fits).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OlderThan {
    items: Vec<Value>,
    time: Timestamp,
    /// Of 24 hours.
    days: u16,
}

/// The elements whose member `at` lies more than so many days before `time`, in order.
pub(super) fn older_than(input: OlderThan) -> Result<Vec<Value>, String> {
    let limit = input
        .time
        .checked_sub(Span::new().hours(i64::from(input.days) * 24))
        .map_err(|error| error.to_string())?;
    let mut older = Vec::new();
    for item in input.items {
        let at = item.get("at").and_then(Value::as_str).unwrap_or_default();
        let at: Timestamp = at
            .parse()
            .map_err(|_| format!("`at` of `{item}` is not a time"))?;
        if at < limit {
            older.push(item);
        }
    }
    Ok(older)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetAt {
    value: Value,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// `Origins.Items[*].CustomOriginConfig.OriginProtocolPolicy`
    path: String,
    to: Value,
    /// Only where what is there is one of these; null is what is not there.
    #[serde(rename = "where")]
    only: Option<Vec<Value>>,
    /// Not where what is there is one of these.
    #[serde(default)]
    unless: Vec<Value>,
    /// Only where the members beside it have these values, or one of a list of values.
    #[serde(default)]
    beside: Map<String, Value>,
}

enum Segment<'p> {
    Member(&'p str),
    Each,
}

/// `{value, changed}`: the value with other values at some of its places. Members that are missing on
/// the way are made, but not inside the elements of a list.
pub(super) fn set_at(input: SetAt) -> Result<Value, String> {
    let mut value = input.value.clone();
    for change in &input.changes {
        let path = segments(&change.path)?;
        change
            .set(&mut value, &path, true)
            .map_err(|what| format!("`{}`: {what}", change.path))?;
    }
    Ok(json!({"changed": value != input.value, "value": value}))
}

fn segments(path: &str) -> Result<Vec<Segment<'_>>, String> {
    let mut segments = Vec::new();
    for part in path.split('.') {
        let name = part.trim_end_matches("[*]");
        if name.is_empty() || name.contains(['[', ']']) {
            return Err(format!(
                "`{path}` is not of the form `Member.List[*].Member`"
            ));
        }
        segments.push(Segment::Member(name));
        segments.extend((name.len()..part.len()).step_by(3).map(|_| Segment::Each));
    }
    Ok(segments)
}

impl Change {
    /// Makes the change below `value`; whether there was one.
    fn set(&self, value: &mut Value, path: &[Segment<'_>], make: bool) -> Result<bool, String> {
        let Some((segment, rest)) = path.split_first() else {
            let wanted = self.only.as_ref().is_none_or(|only| only.contains(value))
                && !self.unless.contains(value);
            if wanted {
                value.clone_from(&self.to);
            }
            return Ok(wanted);
        };
        match (segment, value) {
            (Segment::Member(name), Value::Object(members)) => {
                if rest.is_empty() && !self.fits(members) {
                    return Ok(false);
                }
                if let Some(member) = members.get_mut(*name) {
                    return self.set(member, rest, make);
                }
                let mut member = match rest.first() {
                    None => Value::Null,
                    Some(Segment::Member(_)) if make => json!({}),
                    // Nothing there, so nothing to change in it.
                    Some(_) => return Ok(false),
                };
                let wanted = self.set(&mut member, rest, make)?;
                if wanted {
                    members.insert((*name).to_owned(), member);
                }
                Ok(wanted)
            }
            (Segment::Each, Value::Array(items)) => {
                let mut wanted = false;
                for item in items {
                    wanted |= self.set(item, rest, false)?;
                }
                Ok(wanted)
            }
            (_, Value::Null) => Ok(false),
            (Segment::Member(name), other) => {
                Err(format!("`{other}` has no members, nor `{name}`"))
            }
            (Segment::Each, other) => Err(format!("`{other}` is not a list")),
        }
    }

    fn fits(&self, members: &Map<String, Value>) -> bool {
        self.beside.iter().all(|(name, wanted)| {
            let found = members.get(name).unwrap_or(&Value::Null);
            match wanted {
                Value::Array(several) => several.contains(found),
                one => one == found,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    fn check(function: &str, input: Value, expected: Value) {
        assert_eq!(call(function, &input), Ok(expected), "{function} {input}");
    }

    fn refused(function: &str, input: Value) {
        assert!(call(function, &input).is_err(), "{function} {input}");
    }

    #[test]
    fn texts_and_objects_come_apart() {
        check(
            "arn-parts",
            json!({"arn": "arn:aws:iam::111122223333:role/service-role/deploy"}),
            json!({
                "partition": "aws", "service": "iam", "region": "", "account": "111122223333",
                "resource": "role/service-role/deploy", "name": "deploy",
                "parts": ["role", "service-role", "deploy"],
            }),
        );
        refused("arn-parts", json!({"arn": "deploy"}));
        check(
            "split",
            json!({"text": "a/b/", "by": "/"}),
            json!(["a", "b", ""]),
        );
        refused("split", json!({"text": "a", "by": ""}));
        check("base64-text", json!({"of": "w6kK"}), json!("é\n"));
        check("base64-text", json!({"of": null}), Value::Null);
        // Not base64, and the head of a gzip file.
        refused("base64-text", json!({"of": "é"}));
        refused("base64-text", json!({"of": "H4sIAAAA"}));
        check(
            "entries",
            json!({"of": {"b": 1, "a": [2]}}),
            json!([{"key": "b", "value": 1}, {"key": "a", "value": [2]}]),
        );
        check("entries", json!({"of": null}), json!([]));
        check(
            "first-of-each",
            json!({"by": "z", "items": [{"z": "a", "n": 1}, {"z": "b"}, {"z": "a", "n": 2}]}),
            json!([{"z": "a", "n": 1}, {"z": "b"}]),
        );
        let items = json!([{"n": 1, "z": "a"}, {"n": 2, "z": ["b", "c"]}, {"n": 3}]);
        let which = |is: Value| {
            let input = json!({"items": items, "member": "z", "is": is});
            let found = call("where", &input).unwrap();
            found
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["n"].clone())
                .collect::<Value>()
        };
        assert_eq!(which(json!("a")), json!([1]));
        assert_eq!(which(json!(["c", "a"])), json!([1, 2]));
        assert_eq!(which(json!(null)), json!([]));
        refused("where", json!({"items": null, "member": "z", "is": "a"}));
        refused("first-of-each", json!({"by": "z", "items": [{}]}));
    }

    #[test]
    fn times_are_compared() {
        let older = |days: i64, at: Value| {
            call(
                "older-than",
                &json!({"items": [{"at": at}], "time": "2026-03-01T00:00:00Z", "days": days}),
            )
            .map(|found| found.as_array().unwrap().len())
        };
        assert_eq!(older(1, json!("2026-02-28T00:00:00Z")), Ok(0));
        assert_eq!(older(1, json!("2026-02-27T23:59:59Z")), Ok(1));
        assert_eq!(older(1, json!("2026-02-28T00:59:59+01:00")), Ok(1));
        assert_eq!(older(0, json!("2026-03-01T00:00:01Z")), Ok(0));
        assert!(older(0, json!("yesterday")).is_err());
        assert!(older(0, Value::Null).is_err());
        assert!(older(-1, json!("2026-02-28T00:00:00Z")).is_err());
    }

    #[test]
    fn values_change_where_they_are_told_to() {
        let set = |value: Value, change: Value| {
            call("set-at", &json!({"value": value, "changes": [change]})).map(|answer| {
                assert_eq!(answer["changed"], json!(answer["value"] != value));
                answer["value"].clone()
            })
        };
        assert_eq!(
            set(
                json!({"a": {"b": 1, "c": 2}}),
                json!({"path": "a.b", "to": 3})
            ),
            Ok(json!({"a": {"b": 3, "c": 2}}))
        );
        assert_eq!(
            set(json!({}), json!({"path": "a.b", "to": 3})),
            Ok(json!({"a": {"b": 3}}))
        );
        let items = json!({"l": [{"p": "http"}, {"p": "both"}, {}, {"p": "https"}]});
        assert_eq!(
            set(
                items.clone(),
                json!({"path": "l[*].p", "to": "https", "where": ["http", "both"]})
            ),
            Ok(json!({"l": [{"p": "https"}, {"p": "https"}, {}, {"p": "https"}]}))
        );
        assert_eq!(
            set(
                items.clone(),
                json!({"path": "l[*].p", "to": "x", "unless": ["http", null]})
            ),
            Ok(json!({"l": [{"p": "http"}, {"p": "x"}, {}, {"p": "x"}]}))
        );
        let pairs =
            json!({"l": [{"n": "a", "v": 1}, {"n": "b", "v": 1}, {"n": "a", "v": 1, "t": 2}]});
        assert_eq!(
            set(
                pairs.clone(),
                json!({"path": "l[*].v", "to": 3, "beside": {"n": "a", "t": [null, 4]}})
            ),
            Ok(json!({"l": [{"n": "a", "v": 3}, {"n": "b", "v": 1}, {"n": "a", "v": 1, "t": 2}]}))
        );
        // What is not there stays so: a list, and what is inside its elements.
        assert_eq!(
            set(items.clone(), json!({"path": "l[*].q.r", "to": 1})),
            Ok(items.clone())
        );
        assert_eq!(
            set(items.clone(), json!({"path": "m[*].q", "to": 1})),
            Ok(items.clone())
        );
        assert_eq!(
            set(json!({"a": null}), json!({"path": "a.b", "to": 1})),
            Ok(json!({"a": null}))
        );
        for path in ["", "l[0].p", "l[*", "l.p", "l[*].p[*]", "l[*].p.x"] {
            assert!(
                set(items.clone(), json!({"path": path, "to": 1})).is_err(),
                "{path}"
            );
        }
    }
}
