//! A ledger in tables that was put back from a copy is the ledger that was copied.

use std::{
    io::{self, BufRead, Cursor},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use stanch_ledger::{
    Admission, Checkpoint, Directive, Directives, Event, Given, Ledger, LedgerError, Left, Letter,
    Lock, MemoryLedger, Orders, Query, Reach, Record, RemediationId, Signer as _, SqliteLedger,
    Store, StoreFault, Trust, Verdict,
    dynamo::{Copy, Restored},
    export,
    testing::{
        NOON, decided, key, noon_and, planned, received, rollback, signer, started, success,
    },
    verify_export, verify_ledger,
};
use stanch_types::CallErrorKind;

use crate::{
    dynamo::{large, ledger},
    tables::{Fate, Tables},
};

const HOUR: u64 = 3_600_000;

fn id(n: u64) -> RemediationId {
    key(n).remediation_id()
}

/// One of each: fixed and taken back, only admitted, under way, expired, too large for an item, and some
/// whose events stand between those of others.
async fn fill(ledger: &dyn Store) {
    for n in 0..9 {
        let at = noon_and(n);
        ledger.admit(key(n), received(n), at).await.unwrap();
    }
    for (number, event) in (1..).zip(success().into_iter().chain(rollback())) {
        for n in [0, 1] {
            let at = noon_and(10 * number);
            ledger
                .append(id(n), number, vec![event.clone()], at)
                .await
                .unwrap();
        }
        if number % 5 == 0 {
            ledger.checkpoint(&signer()).await.unwrap();
        }
    }
    let under_way = vec![
        planned(false),
        decided(Verdict::Run),
        Event::Started(started(1)),
    ];
    ledger
        .append(id(3), 1, under_way, noon_and(HOUR))
        .await
        .unwrap();
    for n in [4, 5] {
        ledger
            .append(id(n), 1, success(), noon_and(n))
            .await
            .unwrap();
    }
    let mut events = success();
    events[0] = large();
    ledger.append(id(6), 1, events, noon_and(20)).await.unwrap();
    ledger
        .expire(id(4), "alice", "asked for", noon_and(HOUR))
        .await
        .unwrap();
    let pause = Directive::Pause { reach: Reach::All };
    let first = Given::after(None, pause, "alice", "an outage", NOON);
    let order = Directive::Move {
        reach: Reach::All,
        ring: "canary".to_owned(),
    };
    let second = Given::after(Some(&first), order, "bob", "go", noon_and(5));
    for order in [first, second] {
        assert!(ledger.give(order).await.unwrap());
    }
    let letter = Letter {
        source: "sqs".to_owned(),
        reason: "it is no finding".to_owned(),
        body: "?".to_owned(),
    };
    for n in [1, 2] {
        ledger.bury(letter.clone(), noon_and(n)).await.unwrap();
    }
    ledger.checkpoint(&signer()).await.unwrap();
}

async fn exported(ledger: &dyn Store) -> Vec<u8> {
    let mut text = Vec::new();
    export(ledger, &signer(), &mut text).await.unwrap();
    text
}

fn opens(export: &[u8]) -> impl Fn() -> io::Result<Box<dyn BufRead>> {
    move || Ok(Box::new(Cursor::new(export.to_vec())))
}

async fn put_back(tables: &Arc<Tables>, copy: Copy<'_>) -> Result<Restored, LedgerError> {
    let signer = signer();
    let resource = |received: &stanch_ledger::Received| received.resource_id.clone();
    ledger(tables)
        .restore(copy, Some(signer.key()), &resource, noon_and(HOUR), false)
        .await
}

async fn rows(ledger: &dyn Store) -> Vec<Record> {
    let mut query = Query::all().limit(2);
    let mut rows = Vec::new();
    loop {
        let page = ledger.query(&query).await.unwrap();
        rows.extend(page.records);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    rows.sort_by_key(|row| row.remediation_id);
    rows
}

/// The tables hold what `copy` holds, to the last hash.
async fn is_the_same(tables: &Arc<Tables>, copy: &dyn Store) {
    let restored = ledger(tables);
    assert_eq!(restored.head().await.unwrap(), copy.head().await.unwrap());
    assert_eq!(rows(&restored).await, rows(copy).await);
    for n in 0..9 {
        let both = [copy.entries(id(n)).await, restored.entries(id(n)).await];
        match both {
            [Ok(copy), Ok(restored)] => assert_eq!(restored, copy),
            [
                Err(LedgerError::Expired(_) | LedgerError::NotFound(_)),
                Err(LedgerError::Expired(_)),
            ] => assert_eq!(n, 4),
            other => panic!("{other:?}"),
        }
    }
    let kept = restored.checkpoints().await.unwrap();
    assert_eq!(kept, copy.checkpoints().await.unwrap());
    let key = Some(signer().key().clone());
    let report = verify_ledger(Arc::new(restored), key, None, None)
        .await
        .unwrap();
    assert!(report.holds() && report.signed, "{:?}", report.faults);
    let again = ledger(tables);
    let of = |ledger: Vec<u8>| String::from_utf8(ledger).unwrap();
    // The same lines, though others of one time may stand before one.
    let lines = |text: String| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        lines(of(exported(&again).await)),
        lines(of(exported(copy).await))
    );
}

/// The next hub takes up what was under way, and nothing that was there before is new.
async fn goes_on(tables: &Arc<Tables>) {
    let ledger = ledger(tables);
    let again = ledger.admit(key(5), received(5), noon_and(HOUR)).await;
    assert_eq!(again.unwrap(), Admission::Duplicate(id(5)));
    let open = ledger.unfinished().await.unwrap();
    let open: Vec<RemediationId> = open.iter().map(|row| row.remediation_id).collect();
    assert_eq!(open, [2, 3, 7, 8].map(id));
    let resource = &received(3).resource_id;
    let ttl = Duration::from_secs(9);
    let take = async |resource: &str, work| {
        let taken = ledger.lock(resource, "hub", work, ttl, noon_and(HOUR + 1));
        match taken.await.unwrap() {
            Lock::Taken(lease) => lease,
            busy @ Lock::Busy { .. } => panic!("{busy:?}"),
        }
    };
    // Somebody is known to have left it open; on another, somebody was there and has ended.
    assert_eq!(take(resource, id(5)).await.quiet_since, None);
    let ended = take(&received(5).resource_id, id(9)).await;
    assert_eq!(ended.quiet_since, Some(noon_and(5)));
    ledger
        .unlock(&ended, Left::Settled, noon_and(HOUR + 1))
        .await
        .unwrap();
    let rest = success().split_off(3);
    ledger
        .append(id(3), 4, rest, noon_and(HOUR + 1))
        .await
        .unwrap();
    ledger
        .append(id(2), 1, success(), noon_and(HOUR + 2))
        .await
        .unwrap();
    ledger
        .admit(key(9), received(9), noon_and(HOUR))
        .await
        .unwrap();
    let before = ledger.head().await.unwrap().size;
    ledger.sweep(noon_and(2 * HOUR)).await.unwrap();
    ledger.checkpoint(&signer()).await.unwrap();
    let ledger: Arc<dyn Store> = Arc::new(ledger);
    let report = verify_ledger(Arc::clone(&ledger), None, None, None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!((report.remediations, report.events), (10, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stanch.db");
    let file = SqliteLedger::open(&path).unwrap();
    fill(&file).await;
    file.back_up(folder.path().join("copy.db")).await.unwrap();
    let copy = SqliteLedger::open_read_only(folder.path().join("copy.db")).unwrap();
    let tables = Tables::new();
    let restored = put_back(&tables, Copy::Backup(&copy)).await.unwrap();
    assert_eq!((restored.remediations, restored.left_out), (9, 0));
    assert_eq!(tables.objects().len(), 1, "what no item holds");
    is_the_same(&tables, &copy).await;
    let ledger = ledger(&tables);
    let orders = copy.directives().await.unwrap();
    assert_eq!(ledger.directives().await.unwrap(), orders);
    let letters = copy.dead_letters(9).await.unwrap();
    assert_eq!(ledger.dead_letters(9).await.unwrap(), letters);
    goes_on(&tables).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_export() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let text = exported(&source).await;
    let tables = Tables::new();
    put_back(&tables, Copy::Export(&opens(&text)))
        .await
        .unwrap();
    is_the_same(&tables, &source).await;
    goes_on(&tables).await;
}

/// Tables to tables, of which the first have removed what has expired.
#[tokio::test(flavor = "multi_thread")]
async fn from_an_export_of_tables() {
    let first = Tables::new();
    let source = ledger(&first);
    fill(&source).await;
    source.sweep(noon_and(HOUR)).await.unwrap();
    let gone = json!({"S": id(4)});
    first.tamper("Audit", |item| {
        (item["RemediationId"] != gone).then(|| item.clone())
    });
    let source = ledger(&first);
    let text = exported(&source).await;
    let second = Tables::new();
    put_back(&second, Copy::Export(&opens(&text)))
        .await
        .unwrap();
    is_the_same(&second, &source).await;
    goes_on(&second).await;
}

/// Whatever request the process dies over, the same copy is taken once more, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_taken_up_where_it_was_broken_off() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let copy = Copy::Backup(&source);
    let other = MemoryLedger::new();
    other.admit(key(1), received(1), NOON).await.unwrap();
    for fate in [Fate::Refuse(CallErrorKind::Unanswered, ""), Fate::Lose] {
        for at in (1..).step_by(7) {
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
            let died = put_back(&tables, copy).await.is_err();
            tables.calm();
            if !died {
                assert!(at > 60, "{at} requests");
                break;
            }
            if !tables.items("State").is_empty() {
                let error = put_back(&tables, Copy::Backup(&other)).await.unwrap_err();
                assert!(matches!(error, LedgerError::NotEmpty(_)), "{error:?}");
            }
            // It died over the answer to its last request.
            let state = tables.items("State");
            let is_done = state.iter().any(|item| item.contains_key("Done"));
            assert_eq!(put_back(&tables, copy).await.is_ok(), !is_done);
            is_the_same(&tables, &source).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_hold_something_are_refused() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let copy = Copy::Backup(&source);
    let refused = async |tables: &Arc<Tables>| {
        let before = [tables.items("Audit"), tables.items("State")];
        let error = put_back(tables, copy).await.unwrap_err();
        assert!(matches!(error, LedgerError::NotEmpty(_)), "{error:?}");
        assert!(error.hint().is_some());
        assert_eq!([tables.items("Audit"), tables.items("State")], before);
    };
    // One that was restored is a ledger like any other.
    let tables = Tables::new();
    put_back(&tables, copy).await.unwrap();
    refused(&tables).await;
    let tables = Tables::new();
    ledger(&tables)
        .admit(key(1), received(1), NOON)
        .await
        .unwrap();
    refused(&tables).await;
    // Somebody goes on in them while it is being done.
    let tables = Tables::new();
    let rival = ledger(&tables);
    let mut puts = 0;
    tables.disturb(move |call| {
        puts += usize::from(call.operation == "PutItem");
        match puts {
            4.. => Fate::Refuse(CallErrorKind::Unanswered, ""),
            _ => Fate::Pass,
        }
    });
    assert!(put_back(&tables, copy).await.is_err());
    tables.calm();
    rival.admit(key(20), received(20), NOON).await.unwrap();
    rival.head().await.unwrap();
    let error = put_back(&tables, copy).await.unwrap_err();
    assert!(matches!(error, LedgerError::NotEmpty(_)), "{error:?}");
}

/// Whatever line is changed, nothing is written, or `verify` has refused it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_does_not_hold_is_refused() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let text = String::from_utf8(exported(&source).await).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let row = lines
        .iter()
        .position(|line| line.starts_with(r#"{"row":"#))
        .unwrap();
    let expect = async |lines: Vec<String>, what: &str| -> LedgerError {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let report = verify_export(text.as_bytes(), Trust::default()).unwrap();
        assert!(!report.holds() || what == "no row", "{what} is not found");
        let tables = Tables::new();
        let error = put_back(&tables, Copy::Export(&opens(text.as_bytes())))
            .await
            .expect_err(what);
        assert_eq!(ledger(&tables).checkpoints().await.unwrap(), [], "{what}");
        error
    };
    let owned = || -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };

    let mut cut = owned();
    cut.pop();
    let error = expect(cut, "a line is missing").await;
    assert!(matches!(error, LedgerError::Tree(_)), "{error:?}");

    let mut changed = owned();
    let place = changed
        .iter()
        .position(|line| line.contains("bucket-5"))
        .unwrap();
    changed[place] = changed[place].replace("bucket-5", "bucket-9");
    let error = expect(changed, "another bucket").await;
    assert!(matches!(error, LedgerError::Broken(_)), "{error:?}");

    let mut bare = owned();
    bare.remove(row);
    let error = expect(bare, "no row").await;
    assert!(matches!(error, LedgerError::NoRow(_)), "{error:?}");
    assert!(error.hint().is_some());

    // A row stands before its events, and nowhere else.
    let mut moved = owned();
    let line = moved.remove(row);
    moved.push(line);
    expect(moved, "a row at the end").await;

    // Nobody signed this order, though it follows on the last.
    let mut ordered = owned();
    let orders = source.directives().await.unwrap();
    let resume = Directive::Resume { reach: Reach::All };
    let given = Given::after(orders.last(), resume, "mallory", "go on", noon_and(6));
    let given = serde_json::to_string(&given).unwrap();
    let place = ordered
        .iter()
        .rposition(|line| line.starts_with(r#"{"order":"#));
    ordered.insert(place.unwrap() + 1, format!("{{\"order\":{given}}}"));
    let error = expect(ordered, "an order more").await;
    assert!(matches!(error, LedgerError::Copy(_)), "{error:?}");

    let without = lines.iter().filter(|line| !line.contains("checkpoint"));
    let without = without.map(|line| (*line).to_owned()).collect();
    let error = expect(without, "no checkpoint").await;
    assert!(matches!(error, LedgerError::Copy(_)), "{error:?}");
}

/// What no item holds needs the bucket, and the restore goes on once there is one.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_it_says_so() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let tables = Tables::new();
    let mut names = crate::dynamo::names();
    names.bucket = None;
    let ledger = stanch_ledger::DynamoLedger::new(Arc::clone(&tables) as _, names);
    let resource = |received: &stanch_ledger::Received| received.resource_id.clone();
    let error = ledger
        .restore(Copy::Backup(&source), None, &resource, NOON, false)
        .await
        .unwrap_err();
    let too_large = StoreFault::TooLarge;
    assert!(
        matches!(error, LedgerError::Store { fault, .. } if fault == too_large),
        "{error:?}"
    );
    put_back(&tables, Copy::Backup(&source)).await.unwrap();
    is_the_same(&tables, &source).await;
}

/// Checkpoints of another key would be faults for ever.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_another_key_stay_behind() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let tables = Tables::new();
    let pem = stanch_ledger::KeyFile::generate().unwrap();
    let other = stanch_ledger::KeyFile::parse(&pem, Some("example.com/tables")).unwrap();
    let resource = |received: &stanch_ledger::Received| received.resource_id.clone();
    let restored = ledger(&tables)
        .restore(
            Copy::Backup(&source),
            Some(other.key()),
            &resource,
            noon_and(HOUR),
            false,
        )
        .await
        .unwrap();
    let kept = source.checkpoints().await.unwrap().len() as u64;
    assert_eq!(restored.left_out, kept);
    let ledger = ledger(&tables);
    ledger.checkpoint(&other).await.unwrap();
    let key = Some(other.key().clone());
    let report = verify_ledger(Arc::new(ledger), key, None, None)
        .await
        .unwrap();
    assert!(report.holds() && report.signed, "{:?}", report.faults);
}

/// A region that was lost has signed an order that its replica never got: new tables are signed without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_lost_orders_stays_in_the_copy() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let head = source.head().await.unwrap();
    let lost = Orders {
        count: 9,
        head: head.root,
    };
    let signed = Checkpoint::sign(head.size, head.root, lost, &signer()).await;
    source.keep(&signed.unwrap()).await.unwrap();
    let error = source.checkpoint(&signer()).await.unwrap_err();
    assert!(matches!(error, LedgerError::OrdersRewritten(9)), "{error}");
    let tables = Tables::new();
    let restored = put_back(&tables, Copy::Backup(&source)).await.unwrap();
    assert_eq!(restored.left_out, 1);
    let ledger = ledger(&tables);
    ledger.checkpoint(&signer()).await.unwrap();
    let key = Some(signer().key().clone());
    let report = verify_ledger(Arc::new(ledger), key, None, None)
        .await
        .unwrap();
    assert!(report.holds() && report.signed, "{:?}", report.faults);
    assert_eq!(report.orders, 2);
}

/// The next sweep would remove what is older than the tables keep it: that is said before, and the sweep
/// says so in the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_tables_would_not_keep_is_refused() {
    let source = MemoryLedger::new();
    fill(&source).await;
    let tables = Tables::new();
    let late = noon_and(91 * 24 * HOUR);
    let resource = |received: &stanch_ledger::Received| received.resource_id.clone();
    let restore = async |accept_loss| {
        ledger(&tables)
            .restore(Copy::Backup(&source), None, &resource, late, accept_loss)
            .await
    };
    let error = restore(false).await.unwrap_err();
    assert!(matches!(error, LedgerError::TooOld(92)), "{error:?}");
    assert!(error.hint().is_some());
    assert!(tables.items("State").is_empty());
    restore(true).await.unwrap();
    let before = ledger(&tables).head().await.unwrap().size;
    // The table's time to live has nothing to remove before the sweep has been there.
    tables.tamper("Audit", |item| {
        let ends: i64 = item["ExpiresAt"]["N"].as_str().unwrap().parse().unwrap();
        (ends > late.as_second()).then(|| item.clone())
    });
    let swept = ledger(&tables);
    swept.sweep(noon_and(93 * 24 * HOUR)).await.unwrap();
    swept.checkpoint(&signer()).await.unwrap();
    assert!(swept.record(id(5)).await.unwrap().expired);
    let report = verify_ledger(Arc::new(swept), None, None, None)
        .await
        .unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    // All that have ended: two taken back, one fixed, one with a large plan.
    assert_eq!(report.events, before + 4);
}
