//! Whatever comes, reading it ends with an answer.

use proptest::prelude::*;
use serde_json::Value;
use stanch_types::{
    ControlRef, Incoming, asff_type,
    event::{self, Options},
};

use crate::fixtures::all;

/// Reads, and checks what holds for every answer.
fn read(bytes: &[u8]) {
    for incoming in event::read(bytes, &Options::default()) {
        match incoming {
            Incoming::Accepted { finding, .. } => {
                assert!(!finding.resources.is_empty());
                for resource in &finding.resources {
                    let owner = resource.arn.as_ref().map_or("", |arn| &arn.account);
                    let foreign = owner.len() == 12
                        && owner.bytes().all(|b| b.is_ascii_digit())
                        && owner != finding.account.as_str();
                    assert!(!foreign, "{} is not of {}", resource.id, finding.account);
                }
            }
            Incoming::Unreadable { problem, .. } => {
                assert!(!problem.reason.contains('\n') && !problem.hint.is_empty());
            }
            Incoming::Skipped { .. } | Incoming::Executed(_) => {}
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("arn:aws:iam::444455556666:role/r")),
        Just(Value::from("")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[A-Za-z-]{1,8}|body|Records|detail|findings", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), out);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(item, &format!("{at}/{key}"), out);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        read(&bytes);
    }

    #[test]
    fn any_value(value in any_json()) {
        read(value.to_string().as_bytes());
    }

    #[test]
    fn fixtures_with_a_member_replaced(
        which: prop::sample::Index,
        place: prop::sample::Index,
        new in any_json(),
    ) {
        let fixtures = all();
        let (_, bytes) = which.get(&fixtures);
        if let Ok(mut value) = serde_json::from_slice::<Value>(bytes) {
            let mut found = Vec::new();
            places(&value, "", &mut found);
            *value.pointer_mut(place.get::<String>(&found)).unwrap() = new;
            read(value.to_string().as_bytes());
        }
    }

    #[test]
    fn fixtures_with_bytes_replaced(
        which: prop::sample::Index,
        at: prop::sample::Index,
        new: Vec<u8>,
        length in 0_usize..8,
    ) {
        let fixtures = all();
        let (_, bytes) = which.get(&fixtures);
        let mut bytes = bytes.clone();
        let start = at.index(bytes.len());
        let end = bytes.len().min(start + length);
        bytes.splice(start..end, new);
        read(&bytes);
    }

    #[test]
    fn controls_as_text_come_back(text: String) {
        let controls = [
            text.parse().ok(),
            ControlRef::from_generator(&text),
            ControlRef::from_requirement(&text),
        ];
        for control in controls.into_iter().flatten() {
            prop_assert_eq!(control.to_string().parse(), Ok(control));
        }
        let asff = asff_type(&text);
        prop_assert_eq!(asff_type(&asff), asff);
    }
}
