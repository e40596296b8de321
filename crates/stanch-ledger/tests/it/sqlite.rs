//! The file: whose it is, who shares it, what happens when it is damaged.

use std::{io::Write as _, path::Path, sync::Arc};

use rusqlite::Connection;
use stanch_ledger::{
    Admission, Directive, Directives as _, Given, Ledger, LedgerError, MemoryLedger, Query, Reach,
    SqliteLedger, Status, Store as _, StoreFault,
    testing::{NOON, conformance, key, noon_and, received, rollback, signer, success},
    verify_ledger,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    conformance(async || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        SqliteLedger::open(folder.path().join(format!("{number}.db"))).unwrap()
    })
    .await;
}

/// A ledger of `count` findings, the even ones fixed; closed again.
async fn filled(path: &Path, count: u64) {
    let ledger = SqliteLedger::open(path).unwrap();
    for n in 0..count {
        ledger
            .admit(key(n), received(n), noon_and(n))
            .await
            .unwrap();
        if n % 2 == 0 {
            let id = key(n).remediation_id();
            ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
        }
    }
}

fn fault(error: &LedgerError) -> StoreFault {
    match error {
        LedgerError::Store { fault, .. } => *fault,
        error => panic!("not a fault of the store: {error}"),
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    filled(&path, 10).await;
    let ledger = SqliteLedger::open(&path).unwrap();
    let counts = ledger.counts(&Query::all()).await.unwrap();
    assert_eq!(
        (counts[&Status::Success], counts[&Status::Received]),
        (5, 5)
    );
    let again = ledger.admit(key(3), received(3), NOON).await.unwrap();
    assert_eq!(again, Admission::Duplicate(key(3).remediation_id()));
    // Its state is not in memory any more.
    let id = key(3).remediation_id();
    ledger.append(id, 1, success(), noon_and(20)).await.unwrap();
    ledger.verify(id).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "the file, its log and the log's index");
}

/// Two ledgers on one file are what two processes are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hubs_on_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let hubs = [0, 1].map(|_| Arc::new(SqliteLedger::open(&path).unwrap()));
    let mut deliveries = Vec::new();
    for n in 0..200u64 {
        let hub = Arc::clone(&hubs[usize::from(n % 2 == 1)]);
        deliveries.push(tokio::spawn(async move {
            // Each key comes twice, to either hub.
            let key = key(n / 2);
            match hub.admit(key, received(n / 2), NOON).await.unwrap() {
                Admission::New(id) => {
                    hub.append(id, 1, success(), NOON).await.unwrap();
                    1
                }
                Admission::Duplicate(_) => 0,
            }
        }));
    }
    let mut new = 0;
    for delivery in deliveries {
        new += delivery.await.unwrap();
    }
    assert_eq!(new, 100);

    // What one hub knows is out of date as soon as the other has written.
    let id = key(1000).remediation_id();
    hubs[0]
        .admit(key(1000), received(1000), NOON)
        .await
        .unwrap();
    let mut expected = 1;
    for (number, event) in success().into_iter().enumerate() {
        let (hub, other) = (&hubs[number % 2], &hubs[1 - number % 2]);
        let head = hub
            .append(id, expected, vec![event.clone()], NOON)
            .await
            .unwrap();
        let error = other
            .append(id, expected, vec![event], NOON)
            .await
            .unwrap_err();
        assert!(matches!(error, LedgerError::Conflict { .. }), "{error}");
        expected = head.events;
    }
    let ttl = std::time::Duration::from_secs(9);
    let work = key(1).remediation_id();
    hubs[0]
        .lock("bucket", "hub-0", work, ttl, NOON)
        .await
        .unwrap();
    let lock = hubs[1]
        .lock("bucket", "hub-1", work, ttl, NOON)
        .await
        .unwrap();
    assert!(matches!(lock, stanch_ledger::Lock::Busy { owner, .. } if owner == "hub-0"));
    for n in (0..100).chain([1000]) {
        hubs[0].verify(key(n).remediation_id()).await.unwrap();
    }
}

#[tokio::test]
async fn events_cannot_be_changed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    filled(&path, 2).await;
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE event SET at = 0",
        "DELETE FROM event",
        "DELETE FROM remediation",
    ] {
        let error = connection.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    // Who takes the triggers away is found out.
    let id = key(0).remediation_id();
    let verify = async || {
        let ledger = SqliteLedger::open(&path).unwrap();
        ledger.verify(id).await.map_err(|error| error.to_string())
    };
    verify().await.unwrap();
    for (damage, repair, message) in [
        (
            "UPDATE remediation SET status = 'Failed' WHERE n = 1",
            "UPDATE remediation SET status = 'Success' WHERE n = 1",
            "does not agree with the remediation's row",
        ),
        (
            "DROP TRIGGER event_is_not_changed; DROP TRIGGER event_stays;
             UPDATE event SET event = replace(event, 'alse', 'rue ') WHERE position = 1 << 20 | 1",
            "UPDATE event SET event = replace(event, 'rue ', 'alse') WHERE position = 1 << 20 | 1",
            "event 1 of remediation",
        ),
        (
            "UPDATE event SET event = replace(event, '{\"event\"', '{\"x\":1,\"event\"') WHERE position = 1 << 20",
            "UPDATE event SET event = replace(event, '{\"x\":1,\"event\"', '{\"event\"') WHERE position = 1 << 20",
            "event 0 of remediation",
        ),
        (
            "CREATE TABLE saved AS SELECT * FROM event WHERE position = 1 << 20 | 7;
             DELETE FROM event WHERE position = 1 << 20 | 7",
            "INSERT INTO event SELECT * FROM saved",
            "is missing",
        ),
    ] {
        connection.execute_batch(damage).unwrap();
        let error = verify().await.unwrap_err();
        assert!(error.contains(message), "{damage}: {error}");
        connection.execute_batch(repair).unwrap();
        verify().await.unwrap();
    }
}

/// What somebody has changed in the file is not carried out, and no undo leads there.
#[tokio::test]
async fn what_is_not_what_was_stored_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    filled(&sound, 1).await;
    let id = key(0).remediation_id();
    for (number, (damage, wrong)) in (0..).zip([
        (
            "UPDATE event SET event = replace(event, '\"block\":null', '\"block\":true') WHERE position = 1 << 20 | 1",
            1,
        ),
        ("UPDATE event SET at = at + 1 WHERE position = 1 << 20 | 2", 2),
        ("UPDATE event SET hash = zeroblob(32) WHERE position = 1 << 20 | 3", 3),
        ("DELETE FROM event WHERE position = 1 << 20 | 4", 4),
    ]) {
        let path = folder.path().join(format!("{number}.db"));
        std::fs::copy(&sound, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        let triggers = "DROP TRIGGER event_is_not_changed; DROP TRIGGER event_stays;";
        connection.execute_batch(triggers).unwrap();
        connection.execute_batch(damage).unwrap();
        assert_eq!(connection.changes(), 1, "{damage}");
        drop(connection);
        let ledger = SqliteLedger::open(&path).unwrap();
        for error in [
            ledger.entries(id).await.unwrap_err(),
            ledger.state(id).await.unwrap_err(),
            ledger.append(id, 8, rollback(), NOON).await.unwrap_err(),
        ] {
            let LedgerError::Broken(broken) = error else {
                panic!("{damage}: {error}")
            };
            assert_eq!(broken.seq, wrong, "{damage}: {broken}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    std::fs::write(
        &path,
        "not a database, but long enough to be looked at".repeat(50),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteLedger::open(&path).unwrap_err();
    assert_eq!(fault(&error), StoreFault::Corrupt);
    assert!(error.to_string().contains("notes.db"));
    assert!(error.hint().is_some());
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let path = folder.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(
        fault(&SqliteLedger::open(&path).unwrap_err()),
        StoreFault::Corrupt
    );
    assert_eq!(
        fault(&SqliteLedger::open_read_only(&path).unwrap_err()),
        StoreFault::Corrupt
    );

    let path = folder.path().join("newer.db");
    filled(&path, 1).await;
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(
        fault(&SqliteLedger::open(&path).unwrap_err()),
        StoreFault::Newer
    );

    let nowhere = folder.path().join("no/such/folder/ledger.db");
    assert_eq!(
        fault(&SqliteLedger::open(&nowhere).unwrap_err()),
        StoreFault::CannotOpen
    );
    let missing = folder.path().join("missing.db");
    assert_eq!(
        fault(&SqliteLedger::open_read_only(&missing).unwrap_err()),
        StoreFault::CannotOpen
    );
    assert!(!missing.exists());
}

/// Wherever the file is damaged: an error or the truth, never a panic and never a lie that verifies.
#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    filled(&path, 40).await;
    let sound = std::fs::read(&path).unwrap();
    assert!(
        !folder.path().join("ledger.db-wal").exists(),
        "all in one file"
    );
    let mut errors = 0;
    let mut damages: Vec<Vec<u8>> = (0..sound.len() / 1024)
        .map(|place| {
            let mut bytes = sound.clone();
            bytes[place * 1024..place * 1024 + 200].fill(0xA5);
            bytes
        })
        .collect();
    damages.push(sound[..sound.len() / 2].to_vec());
    damages.push(sound[..100].to_vec());
    for bytes in damages {
        std::fs::File::create(&path)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        let damaged = look_at_everything(&path).await;
        errors += u32::from(damaged.is_err());
        if let Err(error) = damaged {
            assert!(!error.to_string().is_empty());
        }
        for companion in ["ledger.db-wal", "ledger.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(companion));
        }
    }
    assert!(errors > 10, "{errors}");
}

async fn look_at_everything(path: &Path) -> Result<(), LedgerError> {
    let ledger = Arc::new(SqliteLedger::open(path)?);
    let report = verify_ledger(ledger.clone(), None, None, None).await?;
    if let Some(fault) = report.faults.first() {
        assert!(!fault.to_string().is_empty());
        return Err(LedgerError::Tree(40));
    }
    let rows = ledger.query(&Query::all()).await?.records;
    if rows.len() != 40 {
        return Err(LedgerError::NotFound(key(0).remediation_id()));
    }
    for row in rows {
        ledger.verify(row.remediation_id).await?;
    }
    ledger.admit(key(99), received(99), NOON).await?;
    Ok(())
}

/// What has expired is neither in the file nor in its log, also while another process has them open.
#[tokio::test]
async fn what_has_expired_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log = folder.path().join("ledger.db-wal");
    let holds = |file: &Path, text: &str| {
        let bytes = std::fs::read(file).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let ledger = SqliteLedger::open(&path).unwrap();
    let all = 100..140;
    for n in all.clone() {
        ledger.admit(key(n), received(n), NOON).await.unwrap();
    }
    // One after another, so that pages are full and parts of them move.
    for (expected, event) in (1..).zip(success()) {
        for n in all.clone() {
            let id = key(n).remediation_id();
            let event = vec![event.clone()];
            ledger.append(id, expected, event, NOON).await.unwrap();
        }
    }
    let other = Connection::open(&path).unwrap();
    let events: i64 = other
        .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(events, 40 * 8);
    assert!(holds(&log, "bucket-100"), "it was in the log");
    for n in all.clone().step_by(2) {
        let id = key(n).remediation_id();
        ledger.expire(id, "alice", "asked for", NOON).await.unwrap();
    }
    drop(ledger);
    for n in all {
        let text = format!("bucket-{n}");
        assert!(!holds(&log, &text), "{text} is in the log");
        assert_eq!(holds(&path, &text), n % 2 == 1, "{text} is in the file");
    }
}

#[tokio::test]
async fn a_ledger_that_is_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    filled(&path, 3).await;
    let ledger = SqliteLedger::open_read_only(&path).unwrap();
    assert_eq!(ledger.query(&Query::all()).await.unwrap().records.len(), 3);
    let error = ledger.admit(key(9), received(9), NOON).await.unwrap_err();
    assert_eq!(fault(&error), StoreFault::ReadOnly);
    assert!(error.hint().unwrap().contains("write"));
}

#[tokio::test]
async fn another_process_that_does_not_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = ledger.admit(key(1), received(1), NOON).await.unwrap_err();
    assert_eq!(fault(&error), StoreFault::Busy);
    assert_eq!(ledger.query(&Query::all()).await.unwrap().records, []);
    other.execute_batch("ROLLBACK").unwrap();
    let new = ledger.admit(key(1), received(1), NOON).await.unwrap();
    assert!(matches!(new, Admission::New(_)));
}

/// A file of the first version has no tree: it gets one over the events that are there.
#[tokio::test]
async fn an_old_file_gets_its_tree() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.db");
    filled(&new, 70).await;
    let old = folder.path().join("old.db");
    let connection = Connection::open(&old).unwrap();
    connection
        .execute_batch(include_str!("../../src/sqlite/1.sql"))
        .unwrap();
    let columns: String = connection
        .query_row(
            "SELECT group_concat(name) FROM pragma_table_info('remediation')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA application_id = 1400130663; PRAGMA user_version = 1;
             ATTACH '{}' AS new;
             INSERT INTO remediation SELECT {columns} FROM new.remediation;
             INSERT INTO event SELECT position, v, at, body, hash, event FROM new.event;",
            new.display()
        ))
        .unwrap();
    drop(connection);
    let (old, new) = [old, new]
        .map(|path| Arc::new(SqliteLedger::open(path).unwrap()))
        .into();
    let head = old.head().await.unwrap();
    assert_eq!(head, new.head().await.unwrap());
    assert_eq!(head.size, 70 + 35 * 7);
    old.admit(key(99), received(99), NOON).await.unwrap();
    let report = verify_ledger(old, None, None, None).await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    assert_eq!(report.events, head.size + 1);
}

/// Checkpoints of before the orders were signed count, also where only a reader opens the file.
#[tokio::test]
async fn an_old_files_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let empty = MemoryLedger::new().checkpoint(&signer()).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    for script in [
        include_str!("../../src/sqlite/1.sql"),
        include_str!("../../src/sqlite/2.sql"),
        include_str!("../../src/sqlite/3.sql"),
        "PRAGMA application_id = 1400130663; PRAGMA user_version = 3;",
    ] {
        connection.execute_batch(script).unwrap();
    }
    let sql = "INSERT INTO checkpoint (size, note) VALUES (0, ?1)";
    connection.execute(sql, [empty.as_note()]).unwrap();
    drop(connection);
    let reader = SqliteLedger::open_read_only(&path).unwrap();
    assert_eq!(
        reader.checkpoints().await.unwrap(),
        std::slice::from_ref(&empty)
    );
    let ledger = SqliteLedger::open(&path).unwrap();
    let pause = Directive::Pause { reach: Reach::All };
    let given = Given::after(None, pause, "alice", "an outage", NOON);
    assert!(ledger.give(given).await.unwrap());
    let signed = ledger.checkpoint(&signer()).await.unwrap();
    assert_eq!((signed.size, signed.orders.count), (0, 1));
    for ledger in [&ledger, &reader] {
        let kept = ledger.checkpoints().await.unwrap();
        assert_eq!(kept, [empty.clone(), signed.clone()]);
    }
}

/// A copy is made while the ledger goes on, and is a ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_the_ledger_at_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    filled(&path, 20).await;
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
    let busy = Arc::clone(&ledger);
    let work = tokio::spawn(async move {
        for n in 20..120 {
            busy.admit(key(n), received(n), noon_and(n)).await.unwrap();
        }
    });
    let copy = folder.path().join("backup.db");
    ledger.back_up(&copy).await.unwrap();
    work.await.unwrap();
    assert!(
        ledger.back_up(&copy).await.is_err(),
        "it is never overwritten"
    );
    assert!(!folder.path().join("backup.db-wal").exists());
    let backup = Arc::new(SqliteLedger::open_read_only(&copy).unwrap());
    let head = backup.head().await.unwrap();
    assert!((20 + 70..=120 + 70).contains(&head.size), "{head:?}");
    assert_eq!(ledger.root(head.size).await.unwrap(), head.root);
    let report = verify_ledger(backup, None, None, None).await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
}
