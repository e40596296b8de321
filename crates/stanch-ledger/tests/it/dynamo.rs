//! The ledger in two tables: what every ledger has to do, and what only this one can meet.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use stanch_ledger::{
    Admission, BucketShelf, DynamoLedger, Event, KmsSigner, Ledger, LedgerError, Left, Lock, Query,
    Received, RemediationId, Retention, Signer, Status, Store, StoreFault, Trust, Witness,
    dynamo::stream,
    export,
    testing::{
        NOON, conformance, finished, key, noon_and, planned, received, rollback, signer, success,
    },
    verify_export, verify_ledger,
};
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply};

use crate::tables::{Fate, Tables, write_units};

pub fn names() -> stanch_ledger::Tables {
    stanch_ledger::Tables {
        audit: "Audit".to_owned(),
        state: "State".to_owned(),
        bucket: Some("bucket".to_owned()),
        retention: Retention::days(90),
    }
}

pub fn ledger(tables: &Arc<Tables>) -> DynamoLedger {
    DynamoLedger::new(Arc::clone(tables) as _, names())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    conformance(async || ledger(&Tables::new())).await;
}

/// Every answer gets lost, and the client sends everything a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_twice_happens_once() {
    let tables = Tables::new();
    tables.disturb(|_| Fate::Repeat);
    let ledger = ledger(&tables);
    let admitted = ledger.admit(key(1), received(1), NOON).await.unwrap();
    let Admission::New(id) = admitted else {
        panic!("it is new")
    };
    let again = ledger.admit(key(1), received(1), noon_and(9)).await;
    assert_eq!(again.unwrap(), Admission::Duplicate(id));
    ledger.append(id, 1, success(), noon_and(1)).await.unwrap();
    let lock = ledger
        .lock("r", "me", id, Duration::from_secs(9), NOON)
        .await;
    assert!(matches!(lock.unwrap(), Lock::Taken(_)));
    let lock = ledger
        .lock("r", "me", id, Duration::from_secs(9), NOON)
        .await;
    assert!(matches!(lock.unwrap(), Lock::Busy { .. }));
    holds(&tables, &[id], 8).await;
}

/// All chains and the tree hold, each event has one place, and there are so many.
async fn holds(tables: &Arc<Tables>, ids: &[RemediationId], events: u64) {
    tables.calm();
    let ledger: Arc<dyn Store> = Arc::new(self::ledger(tables));
    let head = ledger.head().await.unwrap();
    assert_eq!(head.size, events);
    let mut places = BTreeSet::new();
    for id in ids {
        ledger.verify(*id).await.unwrap();
        for entry in ledger.entries(*id).await.unwrap() {
            assert!(places.insert(entry.leaf), "{} twice", entry.leaf);
        }
    }
    assert_eq!(places.len() as u64, events);
    ledger.checkpoint(&signer()).await.unwrap();
    let report = verify_ledger(Arc::clone(&ledger), None, None, None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!(report.events, events);
    let mut text = Vec::new();
    export(&*ledger, &signer(), &mut text).await.unwrap();
    let signer = signer();
    let trust = Trust {
        key: Some(signer.key()),
        witness: None,
        since: None,
    };
    let report = verify_export(&*text, trust).unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!(report.events, events);
}

/// What a hub does with a finding, from wherever the one before it ended.
async fn work(ledger: &DynamoLedger) -> Result<(), LedgerError> {
    ledger.admit(key(1), received(1), NOON).await?;
    let id = key(1).remediation_id();
    let all = success().into_iter().chain(rollback());
    let (_, done) = ledger.state(id).await?;
    let key = format!("resource {done}");
    let lock = ledger
        .lock(&key, "hub", id, Duration::from_secs(9), NOON)
        .await?;
    for (number, event) in (1..).zip(all).skip(done as usize - 1) {
        ledger
            .append(id, number, vec![event], noon_and(number))
            .await?;
        if number % 4 == 0 {
            ledger.head().await?;
        }
    }
    if let Lock::Taken(lease) = lock {
        let left = Left::Settled;
        ledger.unlock(&lease, left, noon_and(3_600_000)).await?;
    }
    ledger.sweep(noon_and(3_600_000)).await?;
    ledger.checkpoint(&signer()).await?;
    Ok(())
}

/// The process dies before or after any of its requests; the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request() {
    for fate in [Fate::Refuse(CallErrorKind::Unanswered, ""), Fate::Lose] {
        let mut at = 0;
        loop {
            let tables = Tables::new();
            let mut request = 0;
            tables.disturb(move |_| {
                request += 1;
                match request.cmp(&at) {
                    std::cmp::Ordering::Less => Fate::Pass,
                    std::cmp::Ordering::Equal => fate,
                    std::cmp::Ordering::Greater => Fate::Refuse(CallErrorKind::Unanswered, ""),
                }
            });
            at += 1;
            let lived = work(&ledger(&tables)).await.is_ok();
            tables.calm();
            work(&ledger(&tables)).await.unwrap();
            holds(&tables, &[key(1).remediation_id()], 13).await;
            if lived && at > 1 {
                break;
            }
        }
        assert!(at > 60, "{at} requests");
    }
}

/// Two processes, each with what it remembers, and a third that makes the tree meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_and_a_sweep() {
    let tables = Tables::new();
    let ids: Vec<RemediationId> = (0..12).map(|n| key(n).remediation_id()).collect();
    let done = Arc::new(AtomicBool::new(false));
    let hubs: Vec<_> = (0..2)
        .map(|_| {
            let ledger = ledger(&tables);
            tokio::spawn(async move {
                let mut won = 0;
                for n in 0..12 {
                    let id = key(n).remediation_id();
                    ledger
                        .admit(key(n), received(n), noon_and(n))
                        .await
                        .unwrap();
                    for (number, event) in (1..).zip(success()) {
                        match ledger
                            .append(id, number, vec![event], noon_and(number))
                            .await
                        {
                            Ok(_) => won += 1,
                            Err(LedgerError::Conflict { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
                won
            })
        })
        .collect();
    let (sweeper, stop) = (ledger(&tables), Arc::clone(&done));
    let rival = ledger(&tables);
    let sweep = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let (one, other) = tokio::join!(sweeper.sweep(NOON), rival.head());
            one.unwrap();
            other.unwrap();
        }
    });
    let mut won = 0;
    for hub in hubs {
        won += hub.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    sweep.await.unwrap();
    assert_eq!(won, 12 * 7);
    holds(&tables, &ids, 12 * 8).await;
}

#[tokio::test]
async fn throttled_it_says_so_and_nothing_is_half_done() {
    for code in [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "TransactionConflictException",
    ] {
        let kind = match code {
            "TransactionConflictException" => CallErrorKind::Rejected,
            _ => CallErrorKind::Throttled,
        };
        let tables = Tables::new();
        let ledger = ledger(&tables);
        ledger.admit(key(1), received(1), NOON).await.unwrap();
        let id = key(1).remediation_id();
        let mut count = 0;
        tables.disturb(move |_| {
            count += 1;
            match count % 2 {
                0 => Fate::Pass,
                _ => Fate::Refuse(kind, code),
            }
        });
        let error = ledger.append(id, 1, success(), NOON).await.unwrap_err();
        let throttled = StoreFault::Throttled;
        assert!(
            matches!(error, LedgerError::Store { fault, .. } if fault == throttled),
            "{error:?}"
        );
        assert!(error.hint().is_some());
        ledger.append(id, 1, success(), NOON).await.unwrap();
        holds(&tables, &[id], 8).await;
    }
}

#[tokio::test]
async fn a_table_that_is_missing_or_closed_says_so() {
    for (kind, code, expected) in [
        (
            CallErrorKind::Rejected,
            "ResourceNotFoundException",
            StoreFault::Missing,
        ),
        (
            CallErrorKind::Denied,
            "AccessDeniedException",
            StoreFault::Denied,
        ),
        (
            CallErrorKind::Server,
            "InternalServerError",
            StoreFault::Silent,
        ),
    ] {
        let tables = Tables::new();
        tables.disturb(move |_| Fate::Refuse(kind, code));
        let error = ledger(&tables)
            .admit(key(1), received(1), NOON)
            .await
            .unwrap_err();
        assert!(
            matches!(error, LedgerError::Store { fault, .. } if fault == expected),
            "{error:?}"
        );
        assert!(error.hint().is_some());
    }
}

/// Larger than an item, and not to be compressed.
pub fn large() -> Event {
    let Event::Planned(mut planned) = planned(false) else {
        panic!("it is a plan")
    };
    let mut seed = 1_u64;
    let mut text = String::new();
    while text.len() < 900_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:x}", seed >> 20));
    }
    planned.observed = json!({"policy": text});
    Event::Planned(planned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_item_holds_is_in_the_bucket() {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let id = key(1).remediation_id();
    let mut events = success();
    events[0] = large();
    ledger.append(id, 1, events.clone(), NOON).await.unwrap();
    assert_eq!(tables.objects().len(), 1);
    let stored = self::ledger(&tables).events(id).await.unwrap();
    assert_eq!(stored[1].0, events[0]);
    holds(&tables, &[id], 8).await;
    ledger
        .expire(id, "alice", "asked for", noon_and(9))
        .await
        .unwrap();
    let object = Call::new("s3", "GetObject", json!({"Key": tables.objects()[0]}));
    assert_eq!(tables.call(&object).await.unwrap().output["Body"], "");

    let mut names = names();
    names.bucket = None;
    let without = DynamoLedger::new(Tables::new() as _, names);
    without.admit(key(1), received(1), NOON).await.unwrap();
    let error = without.append(id, 1, events, NOON).await.unwrap_err();
    let too_large = StoreFault::TooLarge;
    assert!(
        matches!(error, LedgerError::Store { fault, .. } if fault == too_large),
        "{error:?}"
    );
}

type Change<'c> = &'c dyn Fn(&mut crate::tables::Item) -> bool;

/// Whoever may write the audit table changes it: `verify` says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_found() {
    let number = |item: &crate::tables::Item, name: &str| -> u64 {
        item.get(name)
            .map_or(0, |value| value["N"].as_str().unwrap().parse().unwrap())
    };
    let attacks: [(&str, Change<'_>); 6] = [
        ("another time", &|item| {
            item.insert("AppendedAt".to_owned(), json!({"N": "1"}));
            true
        }),
        ("other contents", &|item| {
            let other = item["Events"]["B"].as_str().unwrap().replace('A', "B");
            item.insert("Events".to_owned(), json!({"B": other}));
            true
        }),
        ("another hash", &|item| {
            item.insert("Hash".to_owned(), json!({"B": BASE64.encode([7; 32])}));
            true
        }),
        ("no contents", &|item| {
            item.remove("Events");
            true
        }),
        ("removed", &|_| false),
        ("another number", &|item| {
            item.insert("Sequence".to_owned(), json!({"N": "4"}));
            true
        }),
    ];
    // All of them are in the generated table of attacks, each for one item of a remediation.
    for (attack, change) in attacks {
        for seq in [0, 3, 7] {
            let tables = Tables::new();
            let ledger: Arc<dyn Store> = Arc::new(ledger(&tables));
            ledger.admit(key(1), received(1), NOON).await.unwrap();
            let id = key(1).remediation_id();
            for (number, event) in (1..).zip(success()) {
                ledger.append(id, number, vec![event], NOON).await.unwrap();
            }
            // The first two are one item: nothing followed on the first alone.
            holds(&tables, &[id], 8).await;
            let mut hit = 0;
            tables.tamper("Audit", |item| {
                let mut item = item.clone();
                if number(&item, "Sequence") != seq {
                    return Some(item);
                }
                hit += 1;
                change(&mut item).then_some(item)
            });
            assert_eq!(hit, 1, "{attack} of {seq}");
            let ledger: Arc<dyn Store> = Arc::new(self::ledger(&tables));
            let one = ledger.verify(id).await.is_ok();
            let all = verify_ledger(ledger, None, None, None).await.unwrap();
            assert!(!all.holds(), "{attack} of {seq} is not found");
            // A chain that was cut off at its end holds by itself: that is what the tree is for.
            assert!(!one || (attack, seq) == ("removed", 7), "{attack} of {seq}");
        }
    }
}

/// What was changed of one remediation is told, and keeps nobody else's from being listed, taken up, signed,
/// exported and verified.
#[tokio::test(flavor = "multi_thread")]
async fn one_changed_item_holds_up_nobody() {
    let day = 24 * 3_600_000;
    let id = |n: u64| key(n).remediation_id();
    let is_of = |item: &crate::tables::Item, name: &str, n: u64| item[name]["S"] == json!(id(n));
    let garbage = json!({"B": "AAAA"});
    type Tamper<'t> = &'t dyn Fn(&Tables);
    let attacks: [(&str, Tamper<'_>, u64, u64); 4] = [
        (
            "the text of an open item",
            &|tables| {
                tables.tamper("State", |item| {
                    let mut item = item.clone();
                    if item["Key"]["S"] == "open" && is_of(&item, "Item", 2) {
                        item.insert("Event".to_owned(), garbage.clone());
                    }
                    Some(item)
                });
            },
            3_600_000,
            2,
        ),
        (
            "since when one is open",
            &|tables| {
                tables.tamper("State", |item| {
                    let mut item = item.clone();
                    if item["Key"]["S"] == "open" && is_of(&item, "Item", 2) {
                        item.remove("Admitted");
                    }
                    Some(item)
                });
            },
            3_600_000,
            2,
        ),
        (
            "the contents of an event",
            &|tables| {
                tables.tamper("Audit", |item| {
                    let mut item = item.clone();
                    if is_of(&item, "RemediationId", 1) {
                        item.insert("Events".to_owned(), garbage.clone());
                    }
                    Some(item)
                });
            },
            3_600_000,
            1,
        ),
        // The sweep comes to it when its time is over.
        (
            "the contents of an old one",
            &|tables| {
                tables.tamper("Audit", |item| {
                    let mut item = item.clone();
                    if is_of(&item, "RemediationId", 1) {
                        item.insert("Hash".to_owned(), json!({"B": BASE64.encode([7; 32])}));
                    }
                    Some(item)
                });
            },
            92 * day,
            1,
        ),
    ];
    for (what, tamper, at, broken) in attacks {
        let tables = Tables::new();
        let before = ledger(&tables);
        for n in 1..=3 {
            before.admit(key(n), received(n), NOON).await.unwrap();
        }
        before.append(id(1), 1, success(), NOON).await.unwrap();
        if broken == 1 {
            before.head().await.unwrap();
        }
        tamper(tables.as_ref());
        let after = ledger(&tables);
        let swept = after.sweep(noon_and(at)).await.unwrap();
        let found: Vec<RemediationId> = swept.broken.iter().map(|one| one.id).collect();
        assert_eq!(found, [id(broken)], "{what}");
        let checkpoint = after.checkpoint(&signer()).await.unwrap();
        let all = after.query(&Query::all()).await.unwrap().records;
        let open = after.unfinished().await.unwrap();
        let open: BTreeSet<RemediationId> = open.iter().map(|row| row.remediation_id).collect();
        let mut text = Vec::new();
        let exported = export(&after, &signer(), &mut text).await.unwrap();
        match broken {
            1 => {
                // As it was noted last; its hashes are in the tree.
                assert_eq!(
                    (checkpoint.size, all.len(), exported),
                    (10, 3, 10),
                    "{what}"
                );
                assert_eq!(open, BTreeSet::from([id(2), id(3)]), "{what}");
            }
            _ => {
                assert!(checkpoint.size >= 9 && all.len() >= 2, "{what}");
                assert!(open.contains(&id(3)), "{what}");
            }
        }
        let store: Arc<dyn Store> = Arc::new(after);
        let report = verify_ledger(store, None, None, None).await.unwrap();
        let named = |n: u64| {
            let faults = report.faults.iter();
            faults
                .filter(|fault| fault.remediation == Some(id(n)))
                .count()
        };
        assert!(named(broken) > 0, "{what}: {:?}", report.faults);
        assert_eq!(named(3), 0, "{what}: {:?}", report.faults);
    }
}

/// Whoever may write the audit table puts another remediation's events in the place of one's: the chain of
/// hashes is whole, and yet nobody goes on with them.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_remediation_are_not_its_own() {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    for n in [1, 2] {
        ledger.admit(key(n), received(n), NOON).await.unwrap();
        let id = key(n).remediation_id();
        for (number, event) in (1..).zip(success()) {
            ledger.append(id, number, vec![event], NOON).await.unwrap();
        }
    }
    let [one, two] = [1, 2].map(|n| key(n).remediation_id());
    let is_first = |item: &crate::tables::Item, id: RemediationId| {
        item["RemediationId"]["S"] == json!(id) && item["Sequence"]["N"] == "0"
    };
    let mut other = None;
    tables.tamper("Audit", |item| {
        if is_first(item, two) {
            other = Some(item["Events"].clone());
        }
        Some(item.clone())
    });
    tables.tamper("Audit", |item| {
        let mut item = item.clone();
        if is_first(&item, one) {
            item.insert("Events".to_owned(), other.clone().unwrap());
        }
        Some(item)
    });
    let ledger = self::ledger(&tables);
    let broken = ledger.state(one).await.unwrap_err();
    assert!(broken.to_string().contains("was changed"), "{broken}");
    assert!(ledger.state(two).await.is_ok());
}

/// All that a hub writes for one fix, in its own portions, with what was really written.
#[tokio::test]
async fn one_fix_costs_little() {
    let events: Vec<Event> = serde_json::from_str(include_str!("one-fix.json")).unwrap();
    let mut portions: Vec<&[Event]> = Vec::new();
    let mut rest = &events[1..];
    for length in [2, 1, 1, 1, 2, 2] {
        let (portion, others) = rest.split_at(length);
        portions.push(portion);
        rest = others;
    }
    assert!(rest.is_empty());
    let joined: Vec<&[Event]> = vec![&events[1..5], &events[5..6], &events[6..8], &events[8..]];
    for (portions, expected) in [(portions, 11), (joined, 9)] {
        let tables = Tables::new();
        let ledger = ledger(&tables);
        let Event::Received(received) = &events[0] else {
            panic!("it begins with a finding")
        };
        let received: Arc<Received> = Arc::new((**received).clone());
        let count = |calls: Vec<Call>| -> usize {
            let writes = calls
                .iter()
                .filter(|call| call.operation != "Query" && call.operation != "GetItem");
            writes
                .map(|call| write_units(call, &tables.written(call)))
                .sum()
        };
        let id = key(1).remediation_id();
        ledger.admit(key(1), received, NOON).await.unwrap();
        let lock = ledger
            .lock("resource", "hub", id, Duration::from_secs(60), NOON)
            .await
            .unwrap();
        let mut number = 1;
        for portion in portions {
            let head = ledger
                .append(id, number, portion.to_vec(), noon_and(number))
                .await;
            number = head.unwrap().events;
        }
        let Lock::Taken(lease) = lock else {
            panic!("it is free")
        };
        ledger
            .unlock(&lease, Left::Settled, noon_and(900))
            .await
            .unwrap();
        let calls = tables.calls();
        // One of them reads, and the row that people see is in two indexes.
        assert_eq!(calls.len() + 1, expected);
        assert_eq!(count(calls), expected);
        ledger.sweep(noon_and(1_000)).await.unwrap();
        let swept = count(tables.calls());
        assert!(swept <= 6, "{swept} for its place in the tree");
    }
}

/// What is settled is no longer looked at, and what comes later finds its place all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_closes_what_is_settled() {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.admit(key(2), received(2), NOON).await.unwrap();
    ledger.append(id, 1, success(), NOON).await.unwrap();
    let early = ledger.sweep(noon_and(60_000)).await.unwrap();
    assert_eq!((early.sequenced, early.closed, early.open), (9, 0, 2));
    let hour = 3_600_000;
    let late = ledger.sweep(noon_and(hour)).await.unwrap();
    assert_eq!((late.sequenced, late.closed, late.open), (0, 1, 1));
    let again = ledger.admit(key(1), received(1), noon_and(hour)).await;
    assert_eq!(again.unwrap(), Admission::Duplicate(id));
    for query in [
        Query::account(received(1).account.clone()),
        Query::resource(&received(1).resource_id),
        Query::finding(&received(1).finding_id),
    ] {
        let page = ledger.query(&query).await.unwrap();
        let ids: Vec<_> = page.records.iter().map(|row| row.remediation_id).collect();
        assert_eq!(ids, [id], "{query:?}");
    }
    assert_eq!(ledger.query(&Query::all()).await.unwrap().records.len(), 2);
    // Another process, which knows nothing of it.
    let other = self::ledger(&tables);
    let begun = async |now: u64| {
        let begun = other.begun(NOON, noon_and(now), &HashSet::new()).await;
        let begun = begun.unwrap().into_iter();
        let begun = begun.map(|one| (one.remediation_id, one.status, one.started_at));
        begun.collect::<Vec<_>>()
    };
    assert_eq!(begun(hour).await, [(id, Status::Success, Some(NOON))]);
    other
        .append(id, 8, rollback(), noon_and(2 * hour))
        .await
        .unwrap();
    assert_eq!(begun(2 * hour).await, [(id, Status::Undone, Some(NOON))]);
    assert_eq!(other.unfinished().await.unwrap().len(), 1);
    holds(&tables, &[id, key(2).remediation_id()], 14).await;
}

/// The retention says so before the tables remove the items; what is left verifies.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_leaves_its_hashes() {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    let (old, new) = (key(1).remediation_id(), key(2).remediation_id());
    let day = 24 * 3_600_000;
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.append(old, 1, success(), NOON).await.unwrap();
    ledger
        .admit(key(2), received(2), noon_and(50 * day))
        .await
        .unwrap();
    ledger
        .append(new, 1, success(), noon_and(50 * day))
        .await
        .unwrap();
    let before = ledger.checkpoint(&signer()).await.unwrap();
    ledger.sweep(noon_and(51 * day)).await.unwrap();
    let late = noon_and(92 * day);
    let error = ledger.append(old, 8, rollback(), late).await.unwrap_err();
    assert!(matches!(error, LedgerError::Expired(_)), "{error:?}");
    assert_eq!(ledger.sweep(late).await.unwrap().sequenced, 1);
    ledger.sweep(noon_and(93 * day)).await.unwrap();
    assert!(ledger.record(old).await.unwrap().expired);
    // The table's time to live: what says that it has expired goes last.
    let live_until = |time: u64| {
        tables.tamper("Audit", |item| {
            let ends: i64 = item["ExpiresAt"]["N"].as_str().unwrap().parse().unwrap();
            (ends > noon_and(time).as_second()).then(|| item.clone())
        });
    };
    live_until(98 * day);
    let ledger: Arc<dyn Store> = Arc::new(self::ledger(&tables));
    let error = ledger.entries(old).await.unwrap_err();
    assert!(matches!(error, LedgerError::Expired(_)), "{error:?}");
    let report = verify_ledger(ledger, None, None, None).await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    live_until(100 * day);
    let ledger: Arc<dyn Store> = Arc::new(self::ledger(&tables));
    assert!(matches!(
        ledger.entries(old).await,
        Err(LedgerError::NotFound(_))
    ));
    let report = verify_ledger(Arc::clone(&ledger), None, None, None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.events, report.expired), (17, 8));
    let mut text = Vec::new();
    export(&*ledger, &signer(), &mut text).await.unwrap();
    let signer = signer();
    let trust = Trust {
        key: Some(signer.key()),
        witness: None,
        since: None,
    };
    let report = verify_export(&*text, trust).unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert!(!String::from_utf8(text).unwrap().contains("bucket-1\""));
    assert_eq!(ledger.root(before.size).await.unwrap(), before.root);
    let all = ledger.query(&Query::all()).await.unwrap().records;
    assert_eq!(all.len(), 2);
    assert!(all[1].expired && all[1].resource_id.is_empty());
}

/// What is written of a remediation is kept as long as its kind was then, and a sweep does not read
/// again what is not due.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_kept_for_its_own_time() {
    let tables = Tables::new();
    let keeping = |guarded: u64| {
        let days = move |kind: &str| if kind == "Guarded" { guarded } else { 90 };
        let names = stanch_ledger::Tables {
            retention: Retention::by(move |kind| Duration::from_hours(24 * days(kind))),
            ..names()
        };
        DynamoLedger::new(Arc::clone(&tables) as _, names)
    };
    let ledger = keeping(365);
    let ids = [1, 2].map(|n| key(n).remediation_id());
    let guarded = Received {
        remediation: "Guarded".to_owned(),
        ..Received::clone(&received(2))
    };
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.admit(key(2), guarded.into(), NOON).await.unwrap();
    for id in ids {
        ledger.append(id, 1, success(), NOON).await.unwrap();
    }
    let day = 24 * 3_600_000;
    let expired = async |ledger: &DynamoLedger, days: u64| {
        ledger.sweep(noon_and(days * day)).await.unwrap();
        let of = async |id| ledger.record(id).await.unwrap().expired;
        [of(ids[0]).await, of(ids[1]).await]
    };
    assert_eq!(expired(&ledger, 89).await, [false, false]);
    assert_eq!(expired(&ledger, 92).await, [true, false]);
    ledger.sweep(noon_and(93 * day)).await.unwrap();
    tables.calls();
    ledger.sweep(noon_and(94 * day)).await.unwrap();
    let calls = tables.calls();
    assert!(calls.iter().all(|call| call.params["TableName"] != "Audit"));
    // The table removes what says so, whatever is configured since.
    let longer = keeping(2_557);
    assert_eq!(expired(&longer, 364).await, [true, false]);
    assert_eq!(expired(&longer, 366).await, [true, true]);
    longer.sweep(noon_and(367 * day)).await.unwrap();
    tables.tamper("Audit", |item| {
        let ends: i64 = item["ExpiresAt"]["N"].as_str().unwrap().parse().unwrap();
        (ends > noon_and(380 * day).as_second()).then(|| item.clone())
    });
    let report = verify_ledger(Arc::new(longer), None, None, None).await;
    let report = report.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.events, report.expired), (18, 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_is_a_witness() {
    let tables = Tables::new();
    let ledger: Arc<dyn Store> = Arc::new(ledger(&tables));
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let shelf = Arc::new(BucketShelf::new(
        Arc::clone(&tables) as _,
        "bucket",
        "ledger/",
    ));
    let mut witness = Witness::on(shelf.clone()).await.unwrap();
    assert!(witness.checkpoint().is_none());
    for at in 1..3 {
        let events = match at {
            1 => success(),
            _ => rollback(),
        };
        let before = ledger.record(id).await.unwrap().events;
        ledger
            .append(id, before, events, noon_and(at))
            .await
            .unwrap();
        let checkpoint = ledger.checkpoint(&signer()).await.unwrap();
        witness.publish(&*ledger, &checkpoint).await.unwrap();
    }
    assert!(
        tables
            .objects()
            .contains(&"ledger/tile/0/000.p/13".to_owned())
    );
    let mut witness = Witness::on(shelf).await.unwrap();
    assert_eq!(witness.checkpoint().unwrap().size, 13);
    witness.hold().await.unwrap();
    assert_eq!(witness.events(12), [(id, 12)]);
    let report = verify_ledger(Arc::clone(&ledger), None, Some(witness.clone()), None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    // Another ledger under the same name.
    let rewritten = Tables::new();
    let rewritten: Arc<dyn Store> = Arc::new(self::ledger(&rewritten));
    rewritten
        .admit(key(1), received(1), noon_and(5))
        .await
        .unwrap();
    rewritten.append(id, 1, success(), NOON).await.unwrap();
    rewritten.append(id, 8, rollback(), NOON).await.unwrap();
    let checkpoint = rewritten.checkpoint(&signer()).await.unwrap();
    assert!(witness.publish(&*rewritten, &checkpoint).await.is_err());
    let report = verify_ledger(rewritten, None, Some(witness), None)
        .await
        .unwrap();
    assert!(!report.holds());
}

/// AWS KMS, as far as it signs.
struct Kms(Ed25519KeyPair, AtomicUsize);

#[async_trait]
impl Api for Kms {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let output = match call.operation.as_str() {
            "GetPublicKey" => {
                let mut der = vec![0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
                der.extend(self.0.public_key().as_ref());
                json!({"PublicKey": BASE64.encode(der)})
            }
            _ => {
                self.1.fetch_add(1, Ordering::Relaxed);
                assert_eq!(call.params["MessageType"], "RAW");
                assert_eq!(call.params["SigningAlgorithm"], "ED25519_SHA_512");
                let message = BASE64
                    .decode(call.params["Message"].as_str().unwrap())
                    .unwrap();
                json!({"Signature": BASE64.encode(self.0.sign(&message).as_ref())})
            }
        };
        Ok(Reply {
            output,
            request_id: None,
        })
    }
}

#[tokio::test]
async fn kms_signs_checkpoints() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let kms = Arc::new(Kms(pair, AtomicUsize::new(0)));
    let signer = KmsSigner::open(Arc::clone(&kms) as _, "alias/ledger", None)
        .await
        .unwrap();
    let ledger = ledger(&Tables::new());
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let checkpoint = ledger.checkpoint(&signer).await.unwrap();
    assert_eq!(checkpoint.size, 1);
    assert!(checkpoint.is_signed_by(signer.key()));
    assert_eq!(ledger.checkpoint(&signer).await.unwrap(), checkpoint);
    assert_eq!(kms.1.load(Ordering::Relaxed), 1, "the same is signed once");
    let rsa = Tables::new();
    assert!(
        KmsSigner::open(Arc::new(NoKey), "alias/rsa", None)
            .await
            .is_err()
    );
    drop(rsa);
}

/// A key of another kind.
struct NoKey;

#[async_trait]
impl Api for NoKey {
    async fn call(&self, _: &Call) -> Result<Reply, CallError> {
        let output = json!({"PublicKey": BASE64.encode([1; 294])});
        Ok(Reply {
            output,
            request_id: None,
        })
    }
}

fn records(tables: &Tables) -> Value {
    let images = tables.items("Audit").into_iter();
    let record = |(number, image): (usize, _)| json!({"eventName": "INSERT", "dynamodb": {"NewImage": image, "SequenceNumber": number.to_string()}});
    json!({"Records": images.enumerate().map(record).collect::<Vec<_>>()})
}

#[tokio::test]
async fn the_stream_tells_of_what_has_come_to_rest() {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    for (number, event) in (1..).zip(success()) {
        ledger
            .append(id, number, vec![event], noon_and(number))
            .await
            .unwrap();
    }
    ledger.admit(key(2), received(2), NOON).await.unwrap();
    let failed = vec![finished(Status::Failed)];
    ledger
        .append(key(2).remediation_id(), 1, failed, NOON)
        .await
        .unwrap();
    let mut event = records(&tables);
    let streamed = stream(&event);
    assert_eq!(streamed.failed, None);
    assert_eq!(streamed.response(), json!({"batchItemFailures": []}));
    let lines: Vec<Value> = streamed
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    let of = |id: RemediationId| -> Vec<&Value> {
        let activity = move |line: &&Value| line["command_uid"] == id.to_string();
        lines.iter().filter(activity).collect()
    };
    let fixed = of(id);
    assert_eq!(fixed.len(), 1);
    assert_eq!(fixed[0]["status"], "Success");
    assert_eq!(fixed[0]["type_uid"], 700_104);
    assert_eq!(fixed[0]["cloud"]["account"]["uid"], "000000000001");
    assert_eq!(fixed[0]["time"], noon_and(7).as_millisecond());
    assert_eq!(of(key(2).remediation_id())[0]["status"], "Failed");

    // What comes after one that cannot be read comes again.
    let records = event["Records"].as_array_mut().unwrap();
    let whole = records.len();
    let place = records
        .iter()
        .position(|record| record["dynamodb"]["NewImage"]["Status"].is_object());
    let place = place.unwrap();
    records[place]["dynamodb"]["NewImage"]["AccountId"] = json!({"S": "nobody"});
    let streamed = stream(&event);
    assert_eq!(streamed.failed, Some(place.to_string()));
    assert_eq!(
        streamed.response(),
        json!({"batchItemFailures": [{"itemIdentifier": place.to_string()}]})
    );
    assert!(streamed.lines.len() < 4 && place < whole);
    // What the time to live removes is no news; what is no event has no records.
    let removed =
        json!({"Records": [{"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1"}}]});
    assert_eq!(stream(&removed), stream(&json!({})));
    assert_eq!(stream(&json!({"Records": [7]})).failed, Some(String::new()));
}
