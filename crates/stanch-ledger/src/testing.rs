//! The conformance suite: what every ledger has to do, and material to test with.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;
use stanch_types::{Call, CallErrorKind};

use crate::{
    Admission, Checkpoint, Cursor, Decided, Digest, Directive, Entry, Event, ExecutionStatus,
    Format, Given, IdempotencyKey, KeyFile, Lease, Ledger, LedgerError, Left, Letter, Lock, Order,
    Orders, Phase, Planned, Proved, Query, Reach, Received, Record, RemediationId, Route,
    Selection, Signer as _, Started, State, Status, StepFinished, StepOutcome, StepStarted, Store,
    Trust, UndoPlanned, Verdict, Verified, export, export_selection, merkle, prove_consistency,
    prove_inclusion, verify_export, verify_ledger, verify_proof,
};

/// A moment to count from.
pub const NOON: Timestamp = Timestamp::constant(1_767_268_800, 123_000_000);

/// `NOON` and so many milliseconds.
#[must_use]
pub fn noon_and(milliseconds: u64) -> Timestamp {
    NOON + Duration::from_millis(milliseconds)
}

/// The `n`-th key.
#[must_use]
pub fn key(n: u64) -> IdempotencyKey {
    let Received {
        account,
        region,
        resource_id,
        remediation,
        ..
    } = &*received(n);
    IdempotencyKey::new(account, region, resource_id, remediation, "1")
}

/// The `n`-th finding: ten accounts, a bucket each.
#[must_use]
pub fn received(n: u64) -> Arc<Received> {
    let arn = format!("arn:aws:s3:::bucket-{n}");
    let received = Received {
        finding_id: format!(
            "arn:aws:securityhub:eu-central-1:{:012}:security-control/S3.8/finding/{n}",
            n % 10
        ),
        control: "S3.8".to_owned(),
        account: format!("{:012}", n % 10).parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        resource_arn: Some(arn.parse().unwrap()),
        resource_id: arn,
        resource_type: "AwsS3Bucket".to_owned(),
        severity: "HIGH".to_owned(),
        title: "S3 buckets should block public access".to_owned(),
        remediation: "S3BlockPublicAccess".to_owned(),
        subject: json!({"parameters": {"Bucket": format!("bucket-{n}")}}),
        problem: None,
        route: Route::Automatic,
        requester: "arn:aws:events:eu-central-1:000000000000:rule/stanch".to_owned(),
        mfa: false,
        first_observed: None,
        tags: [].into(),
        indicators: [].into(),
        origin: None,
    };
    received.into()
}

/// A plan of one request.
#[must_use]
pub fn planned(compliant: bool) -> Event {
    Event::Planned(Planned {
        plan: json!({"mainSteps": [{"name": "block", "inputs": {"Bucket": "b", "z": 1, "a": [0.1, 1e300]}}]}),
        plan_hash: "plan-1".to_owned(),
        observed: json!({"block": null, "Größe": 1.7976931348623157e308}),
        compliant,
        requester: None,
    })
}

/// A decision.
#[must_use]
pub fn decided(verdict: Verdict) -> Event {
    Event::Decided(Decided {
        verdict,
        reasons: vec!["because".to_owned()],
        by: "cedar 0".to_owned(),
        rules: "0".to_owned(),
        policies: vec!["p".to_owned()],
        urgent: false,
    })
}

/// An executor that takes it up.
#[must_use]
pub fn started(attempt: u32) -> Started {
    Started {
        executor: "native".to_owned(),
        executor_arn: "arn:aws:iam::000000000001:role/SecurityRemediationCrossAccountRole"
            .to_owned(),
        session: "stanch-1".to_owned(),
        attempt,
        confirmed: None,
    }
}

/// A request about to be sent.
#[must_use]
pub fn step_started(phase: Phase, index: u32) -> Event {
    Event::StepStarted(StepStarted {
        phase,
        index,
        name: "block".to_owned(),
        call: Call::new("s3", "PutPublicAccessBlock", json!({"Bucket": "b"})),
        call_hash: "call-1".to_owned(),
    })
}

/// A request answered.
#[must_use]
pub fn step_finished(phase: Phase, index: u32, outcome: StepOutcome) -> Event {
    Event::StepFinished(StepFinished {
        phase,
        index,
        outcome,
        request_id: Some("REQ1".to_owned()),
        outputs: json!({"Id": "x"}),
    })
}

/// The check, read again.
#[must_use]
pub fn verified(compliant: bool) -> Event {
    Event::Verified(Verified {
        compliant,
        observed: json!({"block": {"BlockPublicAcls": compliant}}),
    })
}

/// The end.
#[must_use]
pub fn finished(status: Status) -> Event {
    Event::Finished {
        status,
        error: (status == Status::Failed).then(|| "it failed".to_owned()),
        duration_ms: 250,
    }
}

/// A way back.
#[must_use]
pub fn undo_planned() -> Event {
    Event::UndoPlanned(UndoPlanned {
        plan: json!({"mainSteps": []}),
        plan_hash: "undo-1".to_owned(),
        reason: "someone asked".to_owned(),
        requester: "alice".to_owned(),
        decision: None,
    })
}

/// All that happens to a finding that is fixed, after its admission.
#[must_use]
pub fn success() -> Vec<Event> {
    vec![
        planned(false),
        decided(Verdict::Run),
        Event::Started(started(1)),
        step_started(Phase::Apply, 0),
        step_finished(Phase::Apply, 0, StepOutcome::Ok),
        verified(true),
        finished(Status::Success),
    ]
}

/// All that happens when the fix is taken back.
#[must_use]
pub fn rollback() -> Vec<Event> {
    vec![
        undo_planned(),
        Event::UndoStarted(started(1)),
        step_started(Phase::Undo, 0),
        step_finished(Phase::Undo, 0, StepOutcome::Ok),
        Event::Undone {
            observed: json!({"block": null}),
        },
    ]
}

/// A key that signs checkpoints, always the same.
#[must_use]
pub fn signer() -> KeyFile {
    let pem = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
";
    KeyFile::parse(pem, Some("example.com/ledger")).unwrap()
}

/// Runs the whole suite; `open` gives a new, empty ledger each time.
///
/// # Panics
/// The ledger does not conform.
pub async fn conformance<L: Store + 'static>(open: impl AsyncFn() -> L) {
    admits_a_key_once(Arc::new(open().await)).await;
    one_of_many_appends_wins(Arc::new(open().await)).await;
    appends_all_or_nothing(&open().await).await;
    tells_the_whole_life(&open().await).await;
    answers_queries(&open().await).await;
    pages_through_equal_times(&open().await).await;
    knows_what_is_unfinished(&open().await).await;
    counts_attempts(&open().await).await;
    knows_what_was_begun(&open().await).await;
    locks_with_a_lease(&open().await).await;
    knows_how_a_resource_was_left(&open().await).await;
    one_of_many_takes_a_lock(Arc::new(open().await)).await;
    keeps_dead_letters(&open().await).await;
    exports_chains(&open().await).await;
    grows_a_tree(&open().await).await;
    signs_what_it_is(Arc::new(open().await)).await;
    signs_the_orders(Arc::new(open().await)).await;
    lets_contents_expire(Arc::new(open().await)).await;
}

async fn admit(ledger: &dyn Ledger, n: u64, at: Timestamp) -> RemediationId {
    match ledger.admit(key(n), received(n), at).await.unwrap() {
        Admission::New(id) => id,
        Admission::Duplicate(id) => panic!("{id} was admitted before"),
    }
}

async fn admits_a_key_once(ledger: Arc<dyn Ledger>) {
    let deliveries: Vec<_> = (0..100)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { ledger.admit(key(7), received(7), NOON).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for delivery in deliveries {
        match delivery.await.unwrap() {
            Admission::New(id) => {
                assert_eq!(id, key(7).remediation_id());
                new += 1;
            }
            Admission::Duplicate(id) => assert_eq!(id, key(7).remediation_id()),
        }
    }
    assert_eq!(new, 1);
    let entries = ledger.entries(key(7).remediation_id()).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        entries[0].event,
        Event::Received((*received(7)).clone().into())
    );
}

async fn one_of_many_appends_wins(ledger: Arc<dyn Ledger>) {
    let id = admit(&*ledger, 1, NOON).await;
    let rivals: Vec<_> = (0..20)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { ledger.append(id, 1, vec![planned(false)], NOON).await })
        })
        .collect();
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(head) => {
                assert_eq!(head.events, 2);
                won += 1;
            }
            Err(LedgerError::Conflict {
                expected, found, ..
            }) => assert_eq!((expected, found), (1, 2)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(ledger.entries(id).await.unwrap().len(), 2);
}

async fn appends_all_or_nothing(ledger: &dyn Ledger) {
    let nobody = key(404).remediation_id();
    for error in [
        ledger.append(nobody, 0, success(), NOON).await.unwrap_err(),
        ledger.entries(nobody).await.unwrap_err(),
        ledger.record(nobody).await.unwrap_err(),
        ledger.state(nobody).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, LedgerError::NotFound(id) if id == nobody),
            "{error}"
        );
    }
    let id = admit(ledger, 1, NOON).await;
    let mut events = success();
    events.push(planned(false));
    let error = ledger.append(id, 1, events, NOON).await.unwrap_err();
    assert!(matches!(error, LedgerError::Illegal { .. }), "{error}");
    let again = Event::Received((*received(1)).clone().into());
    assert!(ledger.append(id, 1, vec![again], NOON).await.is_err());
    assert_eq!(ledger.entries(id).await.unwrap().len(), 1);
    let head = ledger.append(id, 1, Vec::new(), noon_and(9)).await.unwrap();
    assert_eq!(head.events, 1);
    ledger.verify(id).await.unwrap();
    let head = ledger.append(id, 1, success(), NOON).await.unwrap();
    assert_eq!(head.events, 8);
    let last = ledger.entries(id).await.unwrap().pop().unwrap();
    assert_eq!(last.hash, head.hash);
    for expected in [0, 7, 9] {
        let error = ledger
            .append(id, expected, rollback(), NOON)
            .await
            .unwrap_err();
        assert!(
            matches!(error, LedgerError::Conflict { found: 8, .. }),
            "{error}"
        );
    }
}

async fn tells_the_whole_life(ledger: &dyn Ledger) {
    let id = admit(ledger, 1, noon_and(0)).await;
    let mut live = State::admitted(received(1), noon_and(0));
    let events = success().into_iter().chain(rollback());
    for (number, event) in (1..).zip(events) {
        let at = noon_and(number * 10);
        live = live.apply(&event, at).unwrap();
        ledger.append(id, number, vec![event], at).await.unwrap();
        let (stored, events) = ledger.state(id).await.unwrap();
        assert_eq!((&stored, events), (&live, number + 1));
        assert_eq!(
            ledger.record(id).await.unwrap(),
            Record::project(id, &live, events, at)
        );
        ledger.verify(id).await.unwrap();
    }
    let notified = Event::Notified {
        channel: "security".to_owned(),
        ok: true,
        error: None,
        asked: Vec::new(),
    };
    ledger
        .append(id, 13, vec![notified], noon_and(500))
        .await
        .unwrap();
    let entries = ledger.entries(id).await.unwrap();
    assert_eq!(entries.len(), 14);
    assert_eq!(entries[0].prev, Digest::ZERO);
    assert_eq!(entries[3].at, noon_and(30));
    let record = ledger.record(id).await.unwrap();
    assert_eq!(record.status, Status::Undone);
    assert_eq!(record.execution_status, ExecutionStatus::Success);
    assert_eq!(record.execution_duration, Some(250));
    assert_eq!(record.started_at, Some(noon_and(30)));
    assert_eq!(record.updated_at, noon_and(500));
    assert_eq!(record.executor_arn, started(1).executor_arn);
    assert!(record.undone && record.notification_sent);
}

async fn answers_queries(ledger: &dyn Ledger) {
    for n in 0..60 {
        admit(ledger, n, noon_and(n)).await;
    }
    let failed = key(33).remediation_id();
    ledger
        .append(failed, 1, vec![finished(Status::Failed)], noon_and(99))
        .await
        .unwrap();
    let ask = async |query: Query| -> Vec<RemediationId> {
        let page = ledger.query(&query).await.unwrap();
        page.records.iter().map(|row| row.remediation_id).collect()
    };
    let ids = |numbers: &[u64]| -> Vec<RemediationId> {
        numbers.iter().map(|n| key(*n).remediation_id()).collect()
    };
    let three = received(3).account.clone();
    assert_eq!(
        ask(Query::account(three.clone())).await,
        ids(&[53, 43, 33, 23, 13, 3])
    );
    let mut oldest = Query::account(three.clone()).limit(2);
    oldest.order = Order::Oldest;
    assert_eq!(ask(oldest).await, ids(&[3, 13]));
    let some = Query::account(three.clone()).between(Some(noon_and(13)), Some(noon_and(43)));
    assert_eq!(ask(some).await, ids(&[33, 23, 13]));
    assert_eq!(
        ask(Query::account(three).with_status(Status::Failed)).await,
        ids(&[33])
    );
    assert_eq!(
        ask(Query::resource("arn:aws:s3:::bucket-42")).await,
        ids(&[42])
    );
    assert_eq!(
        ask(Query::finding(&received(17).finding_id)).await,
        ids(&[17])
    );
    assert_eq!(ask(Query::resource("bucket")).await, ids(&[]));
    assert_eq!(ask(Query::all().limit(3)).await, ids(&[59, 58, 57]));
    let counts = ledger.counts(&Query::all().limit(1)).await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(Status::Received, 59), (Status::Failed, 1)]
    );
    let counts = ledger
        .counts(&Query::all().between(Some(noon_and(50)), None))
        .await
        .unwrap();
    assert_eq!(counts[&Status::Received], 10);
    let mut foreign = Query::all();
    foreign.cursor = Some(Cursor("not a cursor".to_owned()));
    let error = ledger.query(&foreign).await.unwrap_err();
    assert!(matches!(error, LedgerError::BadCursor(_)), "{error}");
}

async fn pages_through_equal_times(ledger: &dyn Ledger) {
    for n in 0..50 {
        admit(ledger, n, noon_and(n / 20)).await;
    }
    for order in [Order::Oldest, Order::Newest] {
        for limit in [1, 7, 25, 49, 50, 51] {
            let mut query = Query::all().limit(limit);
            query.order = order;
            let mut seen = Vec::new();
            loop {
                let page = ledger.query(&query).await.unwrap();
                assert!(page.records.len() <= limit as usize);
                seen.extend(
                    page.records
                        .iter()
                        .map(|row| (row.timestamp, row.remediation_id)),
                );
                assert!(seen.len() <= 50, "a row comes twice");
                match page.next {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => break,
                }
            }
            let times: Vec<Timestamp> = seen.iter().map(|(at, _)| *at).collect();
            let mut sorted = times.clone();
            sorted.sort_unstable();
            if order == Order::Newest {
                sorted.reverse();
            }
            assert_eq!(times, sorted);
            assert_eq!(seen.len(), 50, "limit {limit}");
            let distinct: BTreeSet<_> = seen.into_iter().map(|(_, id)| id).collect();
            assert_eq!(distinct.len(), 50, "limit {limit}");
        }
    }
}

async fn knows_what_is_unfinished(ledger: &dyn Ledger) {
    for n in 0..4 {
        admit(ledger, n, noon_and(n)).await;
    }
    let id = |n| key(n).remediation_id();
    ledger.append(id(1), 1, success(), NOON).await.unwrap();
    let running = success()[..4].to_vec();
    ledger.append(id(2), 1, running, NOON).await.unwrap();
    let unfinished: Vec<_> = ledger
        .unfinished()
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.remediation_id, row.status, row.events))
        .collect();
    assert_eq!(
        unfinished,
        [
            (id(0), Status::Received, 1),
            (id(2), Status::Running, 5),
            (id(3), Status::Received, 1)
        ]
    );
    ledger
        .append(id(1), 8, rollback()[..2].to_vec(), NOON)
        .await
        .unwrap();
    let open = ledger.unfinished().await.unwrap();
    assert!(
        open.iter()
            .any(|row| row.remediation_id == id(1) && row.status == Status::Undoing)
    );
}

async fn counts_attempts(ledger: &dyn Ledger) {
    let one = received(1);
    let again = |generation: &str| {
        IdempotencyKey::new(
            &one.account,
            &one.region,
            &one.resource_id,
            &one.remediation,
            generation,
        )
    };
    for (generation, at) in [("1", 0), ("2", 1_000), ("3", 2_000), ("4", 3_000)] {
        let id = again(generation).remediation_id();
        let at = noon_and(at);
        ledger
            .admit(again(generation), one.clone(), at)
            .await
            .unwrap();
        // The last is admitted and never started.
        if generation != "4" {
            ledger.append(id, 1, success(), at).await.unwrap();
        }
    }
    let attempts = async |resource: &str, remediation: &str, since: u64| {
        ledger
            .attempts(&one.account, resource, remediation, noon_and(since))
            .await
            .unwrap()
    };
    let all = attempts(&one.resource_id, &one.remediation, 0).await;
    assert_eq!((all.count, all.last), (3, Some(noon_and(2_000))));
    let late = attempts(&one.resource_id, &one.remediation, 1_000).await;
    assert_eq!(late.count, 2);
    let none = attempts(&one.resource_id, &one.remediation, 2_001).await;
    assert_eq!((none.count, none.last), (0, None));
    assert_eq!(attempts(&one.resource_id, "Other", 0).await.count, 0);
    assert_eq!(attempts("other", &one.remediation, 0).await.count, 0);
    let elsewhere = ledger
        .attempts(
            &received(2).account,
            &one.resource_id,
            &one.remediation,
            NOON,
        )
        .await
        .unwrap();
    assert_eq!(elsewhere.count, 0);
}

async fn knows_what_was_begun(ledger: &dyn Ledger) {
    // Of each pair one has ended, and one only begun; the last was not begun at all.
    let lengths = [7, 3, 7, 3, 2];
    let mut ids = Vec::new();
    for (n, length) in (0_u64..).zip(lengths) {
        // All are in one account.
        let (at, n) = (noon_and(n * 1_000), n * 10);
        ledger.admit(key(n), received(n), at).await.unwrap();
        let id = key(n).remediation_id();
        let events: Vec<Event> = success().into_iter().take(length).collect();
        ledger.append(id, 1, events, at).await.unwrap();
        ids.push(id);
    }
    let begun = async |known: &[RemediationId]| {
        let known = known.iter().copied().collect();
        let begun = ledger.begun(NOON, noon_and(10_000), &known).await.unwrap();
        let told = begun.iter().map(|one| (one.remediation_id, one.status));
        let told: Vec<_> = told.collect();
        let once: BTreeSet<RemediationId> = told.iter().map(|(id, _)| *id).collect();
        assert_eq!(told.len(), once.len());
        assert!(begun.iter().all(|one| one.started_at.is_some()));
        told.into_iter().collect::<BTreeMap<_, _>>()
    };
    let all: BTreeMap<RemediationId, Status> = (ids.iter().copied())
        .zip([Status::Success, Status::Running].into_iter().cycle())
        .take(4)
        .collect();
    assert_eq!(begun(&[]).await, all);
    let others = begun(&ids[..1]).await;
    assert!(ids[1..4].iter().all(|id| others.contains_key(id)));
    let turned = vec![undo_planned(), Event::UndoStarted(started(1))];
    let turned = ledger.append(ids[0], 8, turned, noon_and(9_000));
    turned.await.unwrap();
    assert!(begun(&[]).await.keys().eq(all.keys()));
    // One that is taken back, and planned to be made once more, was begun nevertheless.
    let back = rollback().into_iter().skip(2).chain([planned(false)]);
    let back = ledger.append(ids[0], 10, back.collect(), noon_and(9_500));
    back.await.unwrap();
    assert!(begun(&[]).await.contains_key(&ids[0]));
    let last = ledger.record(ids[0]).await.unwrap();
    assert_eq!(
        (last.status, last.started_at),
        (Status::Planned, Some(NOON))
    );
    // A change window may open days after something was admitted.
    let late = 3 * 24 * 3_600_000;
    let id = admit(ledger, 90, NOON).await;
    let events: Vec<Event> = success().into_iter().take(3).collect();
    ledger.append(id, 1, events, noon_and(late)).await.unwrap();
    let lately = noon_and(late - 1_000);
    let nobody = std::collections::HashSet::new();
    let begun = ledger.begun(lately, noon_and(late + 1_000), &nobody).await;
    let begun: Vec<_> = begun
        .unwrap()
        .iter()
        .map(|one| one.remediation_id)
        .collect();
    assert!(begun.contains(&id), "{begun:?}");
}

async fn locks_with_a_lease(ledger: &dyn Ledger) {
    let ttl = Duration::from_secs(10);
    let work = key(1).remediation_id();
    let take = async |owner: &str, at: u64| {
        ledger
            .lock("bucket", owner, work, ttl, noon_and(at))
            .await
            .unwrap()
    };
    let Lock::Taken(first) = take("a", 0).await else {
        panic!("the lock is free")
    };
    assert_eq!(first.expires, noon_and(10_000));
    let busy = Lock::Busy {
        owner: "a".to_owned(),
        expires: noon_and(10_000),
    };
    assert_eq!(take("b", 9_999).await, busy);
    assert_eq!(take("a", 9_999).await, busy, "not re-entrant");
    let first = ledger.renew(&first, ttl, noon_and(5_000)).await.unwrap();
    assert_eq!(first.expires, noon_and(15_000));
    assert!(matches!(take("b", 14_999).await, Lock::Busy { .. }));
    let error = ledger
        .renew(&first, ttl, noon_and(15_000))
        .await
        .unwrap_err();
    assert!(matches!(error, LedgerError::LeaseLost(_)), "{error}");
    let Lock::Taken(second) = take("b", 15_000).await else {
        panic!("the lease ran out")
    };
    assert!(second.token > first.token);
    assert!(ledger.renew(&first, ttl, noon_and(15_001)).await.is_err());
    give_back(ledger, &first, Left::Settled, 15_001).await;
    assert!(matches!(take("c", 15_001).await, Lock::Busy { owner, .. } if owner == "b"));
    give_back(ledger, &second, Left::Settled, 15_001).await;
    let Lock::Taken(third) = take("c", 15_001).await else {
        panic!("it was given back")
    };
    assert!(third.token > second.token);
    let other = ledger.lock("other", "a", work, ttl, NOON).await.unwrap();
    assert!(matches!(other, Lock::Taken(_)));
}

async fn give_back(ledger: &dyn Ledger, lease: &Lease, left: Left, at: u64) {
    ledger.unlock(lease, left, noon_and(at)).await.unwrap();
}

/// A store may know less, and say so: never that nobody was there while somebody was.
async fn knows_how_a_resource_was_left(ledger: &dyn Ledger) {
    let ttl = Duration::from_secs(1);
    let ids = [1, 2].map(|n| key(n).remediation_id());
    let take = async |work: usize, at: u64| {
        let lock = ledger.lock("left", "hub", ids[work], ttl, noon_and(at));
        match lock.await.unwrap() {
            Lock::Taken(lease) => lease,
            Lock::Busy { .. } => panic!("it is free"),
        }
    };
    let check = |lease: &Lease, expected: Option<u64>| {
        let known = lease.quiet_since;
        assert!(known.is_none() || known == expected.map(noon_and));
    };
    let day = Duration::from_hours(24);
    let first = take(0, 0).await;
    assert!(first.quiet_since.is_none_or(|since| since < NOON - day));
    give_back(ledger, &first, Left::Settled, 10).await;
    let second = take(1, 20).await;
    check(&second, Some(10));
    give_back(ledger, &second, Left::Open, 30).await;
    // The other has not ended, but for itself nobody else is there.
    let first = take(0, 40).await;
    check(&first, None);
    give_back(ledger, &first, Left::Settled, 50).await;
    let second = take(1, 60).await;
    check(&second, Some(50));
    give_back(ledger, &second, Left::Settled, 70).await;
    let first = take(0, 80).await;
    check(&first, Some(70));
    // It dies, and the lease runs out.
    let second = take(1, 2_000).await;
    check(&second, None);
    // It was only slow: what it has lost is not its own to leave.
    give_back(ledger, &first, Left::Settled, 2_010).await;
    give_back(ledger, &second, Left::Settled, 2_020).await;
    check(&take(1, 2_030).await, None);
}

async fn one_of_many_takes_a_lock(ledger: Arc<dyn Ledger>) {
    let rivals: Vec<_> = (0..30)
        .map(|n| {
            let ledger = Arc::clone(&ledger);
            let (owner, work) = (n.to_string(), key(n).remediation_id());
            tokio::spawn(async move {
                let lock = ledger.lock("r", &owner, work, Duration::from_secs(1), NOON);
                matches!(lock.await.unwrap(), Lock::Taken(_))
            })
        })
        .collect();
    let mut taken = 0;
    for rival in rivals {
        taken += u32::from(rival.await.unwrap());
    }
    assert_eq!(taken, 1);
}

async fn keeps_dead_letters(ledger: &dyn Ledger) {
    let letter = |body: &str, reason: &str| Letter {
        source: "sqs".to_owned(),
        reason: reason.to_owned(),
        body: body.to_owned(),
    };
    let one = ledger
        .bury(letter("{", "not JSON"), noon_and(2))
        .await
        .unwrap();
    let two = ledger
        .bury(letter("[]", "no finding"), noon_and(1))
        .await
        .unwrap();
    let bodies = async |limit| -> Vec<String> {
        let letters = ledger.dead_letters(limit).await.unwrap();
        letters.into_iter().map(|dead| dead.letter.body).collect()
    };
    assert_eq!(bodies(10).await, ["[]", "{"]);
    assert_eq!(bodies(1).await, ["[]"]);
    let again = ledger
        .bury(letter("[]", "still none"), noon_and(3))
        .await
        .unwrap();
    assert_eq!(again, two);
    assert_eq!(bodies(10).await, ["{", "[]"]);
    let dead = ledger.dead_letter(two).await.unwrap().unwrap();
    assert_eq!((dead.times, dead.at), (2, noon_and(3)));
    assert_eq!(dead.letter.reason, "still none");
    assert!(ledger.remove_dead_letter(one).await.unwrap());
    assert!(!ledger.remove_dead_letter(one).await.unwrap());
    assert_eq!(ledger.dead_letter(one).await.unwrap(), None);
    assert_eq!(bodies(10).await, ["[]"]);
}

async fn exports_chains(ledger: &dyn Store) {
    for n in 0..300 {
        let id = admit(ledger, n, noon_and(n)).await;
        if n % 50 == 0 {
            ledger.append(id, 1, success(), NOON).await.unwrap();
        }
    }
    let failed = step_finished(
        Phase::Apply,
        0,
        StepOutcome::Failed {
            kind: CallErrorKind::Denied,
            code: "AccessDenied".to_owned(),
            message: "„no“\n\u{1f6ab}\u{0}".to_owned(),
        },
    );
    let mut events = success()[..4].to_vec();
    events.push(failed);
    let id = key(299).remediation_id();
    ledger.append(id, 1, events, NOON).await.unwrap();

    let mut text = Vec::new();
    let lines = export(ledger, &signer(), &mut text).await.unwrap();
    let entries: Vec<Entry> = String::from_utf8(text)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(entries.len() as u64, lines);
    assert_eq!(lines, 300 + 6 * 7 + 5);
    let chains: Vec<&[Entry]> = entries.chunk_by(|a, b| a.id == b.id).collect();
    assert_eq!(chains.len(), 300);
    for (n, chain) in (0..).zip(chains) {
        assert_eq!(
            chain[0].id,
            key(n).remediation_id(),
            "in order of admission"
        );
        Entry::verify(chain[0].id, chain).unwrap();
        assert_eq!(chain, ledger.entries(chain[0].id).await.unwrap());
    }
}

/// Every root, tile and link is that of the events in the order that they were appended.
async fn grows_a_tree(ledger: &dyn Ledger) {
    let mut leaves = Vec::new();
    let mut roots = vec![merkle::empty_root()];
    assert_eq!(ledger.head().await.unwrap().root, merkle::empty_root());
    for n in 0..90 {
        let id = admit(ledger, n, noon_and(n)).await;
        let mut events = success();
        events.truncate(n as usize % 8);
        ledger.append(id, 1, events, noon_and(n)).await.unwrap();
        for entry in ledger.entries(id).await.unwrap() {
            assert_eq!(entry.leaf, leaves.len() as u64);
            assert_eq!(ledger.leaf(id, entry.seq).await.unwrap(), entry.leaf);
            let json = json!({"v": Entry::VERSION, "id": id, "seq": entry.seq, "prev": entry.prev,
                "at": entry.at.as_millisecond(), "body": entry.body});
            let link = serde_json_canonicalizer::to_vec(&json).unwrap();
            assert_eq!(
                ledger.links(entry.leaf..entry.leaf + 1).await.unwrap(),
                std::slice::from_ref(&link)
            );
            leaves.push(merkle::leaf_hash(&link));
            roots.push(merkle::root(&leaves));
        }
        let head = ledger.head().await.unwrap();
        assert_eq!((head.size, head.events), (leaves.len() as u64, head.size));
        assert_eq!(head.root, roots[leaves.len()]);
    }
    let size = leaves.len() as u64;
    assert!(size > 256, "more than a tile");
    assert_eq!(ledger.tile(0, 0, size).await.unwrap(), leaves[..256]);
    assert_eq!(ledger.tile(0, 0, 7).await.unwrap(), leaves[..7]);
    assert_eq!(ledger.tile(0, 1, size).await.unwrap(), leaves[256..]);
    let first = merkle::root(&leaves[..256]);
    assert_eq!(ledger.tile(1, 0, size).await.unwrap(), [first]);
    assert_eq!(ledger.tile(1, 0, 255).await.unwrap(), []);
    for (size, root) in (0..).zip(&roots) {
        assert_eq!(ledger.root(size).await.unwrap(), *root, "of {size}");
    }
    let id = key(3).remediation_id();
    let error = ledger.leaf(id, 99).await.unwrap_err();
    assert!(
        matches!(error, LedgerError::NoEvent { seq: 99, .. }),
        "{error}"
    );
}

async fn signs_what_it_is(ledger: Arc<dyn Store>) {
    let signer = signer();
    let key = signer.key();
    let empty = ledger.checkpoint(&signer).await.unwrap();
    assert_eq!((empty.size, empty.root), (0, merkle::empty_root()));
    let mut kept: Vec<Checkpoint> = vec![empty];
    for n in 0..40 {
        let id = admit(&*ledger, n, noon_and(n)).await;
        ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
        if n % 7 == 0 {
            let checkpoint = ledger.checkpoint(&signer).await.unwrap();
            assert_eq!(ledger.checkpoint(&signer).await.unwrap(), checkpoint);
            assert!(checkpoint.is_signed_by(key));
            kept.push(checkpoint);
        }
    }
    let last = ledger.checkpoint(&signer).await.unwrap();
    kept.push(last.clone());
    assert_eq!(ledger.checkpoints().await.unwrap(), kept);
    for old in &kept {
        let proof = prove_consistency(&*ledger, old.size, &last).await.unwrap();
        let proved = verify_proof(&proof, Some(key), Some(old)).unwrap();
        assert!(matches!(proved, Proved::Consistency { old: size, .. } if size == old.size));
    }
    for n in 0..40 {
        let id = self::key(n).remediation_id();
        let proof = prove_inclusion(&*ledger, &last, id, n % 8).await.unwrap();
        match verify_proof(&proof, Some(key), None).unwrap() {
            Proved::Inclusion { event, index, .. } => {
                assert!(event.contains(&id.to_string()), "{event}");
                assert_eq!(index, n * 8 + n % 8);
            }
            proved => panic!("{proved:?}"),
        }
    }
    let report = verify_ledger(Arc::clone(&ledger), Some(key.clone()), None, None);
    let report = report.await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.remediations, report.events), (40, 320));
    assert_eq!((report.covered, report.signed), (320, true));
    let mut text = Vec::new();
    export(&*ledger, &signer, &mut text).await.unwrap();
    let trust = Trust {
        key: Some(key),
        witness: None,
        since: None,
    };
    let report = verify_export(&*text, trust).unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.remediations, report.covered), (40, 320));
}

/// Orders are signed and exported as events are, also while no event is appended.
async fn signs_the_orders(ledger: Arc<dyn Store>) {
    let signer = signer();
    let id = admit(&*ledger, 1, NOON).await;
    ledger.append(id, 1, success(), NOON).await.unwrap();
    let mut kept = vec![ledger.checkpoint(&signer).await.unwrap()];
    for (n, region) in (1..).zip(["eu-west-1", "us-east-1", "eu-central-1"]) {
        let reach = Reach::Region(region.parse().unwrap());
        let before = ledger.directives().await.unwrap();
        let pause = Directive::Pause { reach };
        let given = Given::after(before.last(), pause, "alice", "an outage", noon_and(n));
        assert!(ledger.give(given.clone()).await.unwrap());
        let checkpoint = ledger.checkpoint(&signer).await.unwrap();
        assert_eq!(ledger.checkpoint(&signer).await.unwrap(), checkpoint);
        let orders = Orders {
            count: n,
            head: given.hash,
        };
        assert_eq!((checkpoint.size, checkpoint.orders), (8, orders));
        assert_eq!(checkpoint.as_note().parse(), Ok(checkpoint.clone()));
        kept.push(checkpoint);
    }
    assert_eq!(ledger.checkpoints().await.unwrap(), kept);
    let report = verify_ledger(Arc::clone(&ledger), Some(signer.key().clone()), None, None);
    let report = report.await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.events, report.orders, report.signed), (8, 3, true));
    let mut text = Vec::new();
    assert_eq!(export(&*ledger, &signer, &mut text).await.unwrap(), 8);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches(r#"{"order":{"seq":"#).count(), 3);
    let report = verify_export(text.as_bytes(), Trust::default()).unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.events, report.orders), (8, 3));
}

async fn lets_contents_expire(ledger: Arc<dyn Store>) {
    let signer = signer();
    for n in 0..3 {
        let id = admit(&*ledger, n, noon_and(n)).await;
        let events = match n {
            0 => [success(), rollback()].concat(),
            1 => success(),
            _ => continue,
        };
        ledger.append(id, 1, events, noon_and(n)).await.unwrap();
    }
    let before = ledger.checkpoint(&signer).await.unwrap();
    let [gone, kept, open] = [0, 1, 2].map(|n| key(n).remediation_id());
    let known = ledger.record(gone).await.unwrap();
    let head = ledger
        .expire(gone, "retention", "90 days", noon_and(9))
        .await;
    assert_eq!(head.unwrap().events, 14);
    for error in [
        ledger
            .expire(gone, "retention", "again", noon_and(9))
            .await
            .unwrap_err(),
        ledger.entries(gone).await.unwrap_err(),
        ledger
            .append(gone, 14, success(), noon_and(9))
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, LedgerError::Expired(id) if id == gone)
                || matches!(error, LedgerError::Illegal { .. }),
            "{error}"
        );
    }
    let error = ledger
        .expire(open, "alice", "too early", noon_and(9))
        .await
        .unwrap_err();
    assert!(matches!(error, LedgerError::Illegal { .. }), "{error}");
    // What it came to stays; who and what it was about does not.
    let left = Record {
        finding_id: String::new(),
        resource_id: String::new(),
        title: String::new(),
        requester: String::new(),
        executor_arn: String::new(),
        error_message: None,
        expired: true,
        events: 14,
        updated_at: noon_and(9),
        ..known
    };
    assert_eq!(ledger.record(gone).await.unwrap(), left);
    assert_eq!(left.status, Status::Undone);
    assert_eq!(left.execution_status, ExecutionStatus::Success);
    assert_eq!(
        ledger.record(kept).await.unwrap().requester,
        received(1).requester
    );
    // As the last checkpoint has it, it is no longer there.
    let part = async || {
        let (all, format) = (Selection::default(), Format::JsonLines);
        export_selection(&*ledger, &all, format, &mut Vec::new()).await
    };
    let error = part().await.unwrap_err();
    assert!(matches!(error, LedgerError::Overtaken(id) if id == gone));
    let mut text = Vec::new();
    export(&*ledger, &signer, &mut text).await.unwrap();
    assert_eq!(part().await.unwrap(), 3);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("\"event\":null").count(), 13);
    assert!(!text.contains("bucket-0") && text.contains("bucket-1"));
    let trust = Trust {
        key: Some(signer.key()),
        witness: None,
        since: None,
    };
    let report = verify_export(text.as_bytes(), trust).unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.events, report.expired), (23, 13));
    let report = verify_ledger(Arc::clone(&ledger), None, None, None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    let last = ledger.checkpoint(&signer).await.unwrap();
    let proof = prove_consistency(&*ledger, before.size, &last)
        .await
        .unwrap();
    verify_proof(&proof, Some(signer.key()), Some(&before)).unwrap();
}
