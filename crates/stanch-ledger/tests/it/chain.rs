//! A chain finds every change of what it holds.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use stanch_ledger::{
    Digest, Entry, Event, Ledger, MemoryLedger, Signer as _, Status, Trust, export as write_out,
    testing::{NOON, finished, key, noon_and, received, signer, success},
    verify_export,
};

async fn entries() -> Vec<Entry> {
    let ledger = MemoryLedger::new();
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.append(id, 1, success(), noon_and(1)).await.unwrap();
    ledger.entries(id).await.unwrap()
}

/// Applies `damage` to an export and expects the event that is named, and why.
#[track_caller]
fn check(entries: &[Entry], damage: impl FnOnce(&mut Vec<Entry>), seq: u64, problem: &str) {
    let id = entries[0].id;
    Entry::verify(id, entries).unwrap();
    let mut entries = entries.to_vec();
    damage(&mut entries);
    let found = Entry::verify(id, &entries).unwrap_err();
    assert_eq!((found.seq, found.problem), (seq, problem));
}

#[tokio::test]
async fn every_kind_of_damage_is_named() {
    let entries = entries().await;
    let missing = "is missing or out of order";
    check(&entries, |e| drop(e.remove(3)), 3, missing);
    check(&entries, |e| e.swap(2, 5), 2, missing);
    check(&entries, |e| e.insert(4, e[4].clone()), 5, missing);
    check(
        &entries,
        |e| e[6].event = Event::Undone { observed: json!(1) },
        6,
        "was changed",
    );
    check(
        &entries,
        |e| e[2].at = noon_and(2),
        2,
        "has a number, time or hash that was changed",
    );
    check(
        &entries,
        |e| e[2].prev = Digest::ZERO,
        2,
        "does not follow on the one before it",
    );
    check(
        &entries,
        |e| e[1].id = key(2).remediation_id(),
        1,
        "belongs to another remediation",
    );
    check(
        &entries,
        |e| e[0].v = 9,
        0,
        "was written by a version that is not known here",
    );
    // Someone who writes the event and its own hashes anew is found by the next one.
    check(
        &entries,
        |e| {
            e[4].body = Digest::of(&json!(0)).unwrap();
            e[4].hash = Digest::of(&json!(0)).unwrap();
        },
        4,
        "was changed",
    );
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_members() {
    let of = |text: &str| Digest::of(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
    assert_eq!(
        of(r#"{"a":1,"b":[1.0,"x"]}"#),
        of(r#"{ "b":[1,"x"], "a":1 }"#)
    );
    assert_ne!(of(r#"{"a":[1,2]}"#), of(r#"{"a":[2,1]}"#));
    // SHA-256 of `{"a":1}`.
    assert_eq!(
        of(r#"{"a":1}"#).to_string(),
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    );
    assert_eq!(
        of("1").to_string().parse::<Digest>().unwrap(),
        of("1"),
        "as text and back"
    );
    for bad in ["", "0", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}

#[test]
fn a_key_is_its_parts_and_an_id_is_its_key() {
    assert_eq!(key(1), key(1));
    assert_ne!(key(1), key(2));
    let id = key(1).remediation_id();
    assert_eq!(id.as_uuid().get_version_num(), 5);
    // Kept for ever: another value would admit old findings again.
    assert_eq!(id.to_string(), "276cc6ed-bda8-59de-8d68-043aa76c868c");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An export of `count` findings, all fixed.
async fn export(count: u64) -> String {
    let ledger = MemoryLedger::new();
    for n in 0..count {
        let id = key(n).remediation_id();
        ledger.admit(key(n), received(n), NOON).await.unwrap();
        ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
    }
    let mut text = Vec::new();
    write_out(&ledger, &signer(), &mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// What is wrong with an export, as people read it.
fn faults(export: &str) -> Vec<String> {
    let signer = signer();
    let trust = Trust {
        key: Some(signer.key()),
        witness: None,
        since: None,
    };
    let report = verify_export(export.as_bytes(), trust).unwrap();
    report.faults.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_export_is_checked_without_the_ledger() {
    let text = export(3).await;
    assert_eq!(faults(&text), Vec::<String>::new());
    let lines: Vec<&str> = text.lines().collect();
    let id = |n| key(n).remediation_id();
    let check = |lines: Vec<&str>, expected: &[String]| {
        let mut text = lines.join("\n");
        text.push('\n');
        assert_eq!(faults(&text), expected);
    };
    let without = |n: usize| [&lines[..n], &lines[n + 1..]].concat();
    check(
        without(11),
        &[
            format!("event 2 of remediation `{}` (line 12) is missing", id(1)),
            "an event (number 10) is missing".to_owned(),
        ],
    );
    check(without(24), &["an event (number 23) is missing".to_owned()]);
    check(
        without(0),
        &[
            "there is no checkpoint: nothing shows whether events were cut off at the end"
                .to_owned(),
        ],
    );
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    check(
        swapped,
        &[format!(
            "event 2 of remediation `{}` (number 2, line 5) is out of order",
            id(0)
        )],
    );
    // What follows on one of an unknown version follows on it.
    let newer = lines[3].replacen(&format!("{{\"v\":{}", Entry::VERSION), "{\"v\":9", 1);
    let mut unknown = lines.clone();
    unknown[3] = &newer;
    check(
        unknown,
        &[
            format!(
                "event 2 of remediation `{}` (number 2, line 4) was written by a version that is not known here",
                id(0)
            ),
            "the 24 events up to a checkpoint are not those that it was made of; those up to 0 are"
                .to_owned(),
        ],
    );
    let twice = [&lines[..], &lines[1..2]].concat();
    check(
        twice,
        &[format!(
            "event 0 of remediation `{}` (number 0, line 26) stands there twice",
            id(0)
        )],
    );
    let illegal = Entry::verify(id(0), &forged()).is_ok();
    assert!(illegal, "its hashes hold");
    let forged: Vec<String> = forged()
        .iter()
        .map(|e| serde_json::to_string(e).unwrap())
        .collect();
    check(
        forged.iter().map(String::as_str).collect(),
        &[
            format!(
                "event 1 of remediation `{}` (number 1, line 2) cannot have happened: `finished` cannot follow in status `Received`: it cannot end like that",
                id(0)
            ),
            "there is no checkpoint: nothing shows whether events were cut off at the end"
                .to_owned(),
        ],
    );
}

/// No number is too large to be checked.
#[tokio::test]
async fn an_event_may_claim_to_have_any_number() {
    let text = export(1).await;
    let last = format!("\"leaf\":{}", u64::MAX);
    for export in [
        text.replacen("\"leaf\":0", &last, 1),
        text.lines()
            .skip(1)
            .map(|line| line.replacen("\"leaf\":0", &last, 1) + "\n")
            .collect(),
        format!(
            "{{\"selection\":{{}}}}\n{}",
            text.replacen("\"leaf\":0", &last, 1)
        ),
    ] {
        assert!(export.contains(&last));
        assert_ne!(faults(&export), Vec::<String>::new());
    }
}

/// A number that RFC 8785 would round to its neighbour is not its neighbour.
#[test]
fn an_integer_is_not_its_neighbour() {
    for (one, other) in [
        (9_007_199_254_740_992_u64, 9_007_199_254_740_993_u64),
        (u64::MAX, u64::MAX - 1),
    ] {
        let of = |number: u64| Digest::of(&json!({"a": number})).unwrap();
        assert_ne!(of(one), of(other));
    }
}

/// A chain whose hashes hold, of events that cannot have happened.
fn forged() -> Vec<Entry> {
    let id = key(0).remediation_id();
    let mut prev = Digest::ZERO;
    let events = [
        Event::Received((*received(0)).clone().into()),
        finished(Status::Success),
    ];
    let entries = (0..).zip(events).map(|(seq, event)| {
        let body = Digest::of(&event).unwrap();
        let at = NOON.as_millisecond();
        let link = json!({"v": Entry::VERSION, "id": id, "seq": seq, "at": at, "prev": prev, "body": body});
        let hash = Digest::of(&link).unwrap();
        let entry = Entry {
            v: Entry::VERSION,
            id,
            seq,
            at: NOON,
            prev,
            body,
            hash,
            leaf: seq,
            event,
        };
        prev = hash;
        entry
    });
    entries.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any other byte at any place of an export is found.
    #[test]
    fn no_byte_can_be_changed(place in any::<prop::sample::Index>(), with in 0x20..0x7fu8) {
        static EXPORT: LazyLock<String> = LazyLock::new(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(export(2))
        });
        let mut bytes = EXPORT.as_bytes().to_vec();
        let place = place.index(bytes.len() - 1);
        prop_assume!(bytes[place] != with);
        bytes[place] = with;
        let signer = signer();
        let trust = Trust { key: Some(signer.key()), witness: None, since: None };
        let report = verify_export(&*bytes, trust).unwrap();
        prop_assert!(!report.holds(), "{}", String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    /// Whatever an answer of AWS holds: what is read back has the hash that it was stored with.
    #[test]
    fn a_hash_survives_storage(observed in any_json()) {
        let event = Event::Undone { observed };
        let text = serde_json::to_string(&event).unwrap();
        let back: Event = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Digest::of(&back).unwrap(), Digest::of(&event).unwrap());
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}
