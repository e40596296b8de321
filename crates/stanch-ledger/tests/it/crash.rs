//! Killed at any point, a ledger has all that it acknowledged and nothing half done.

#![cfg(unix)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use stanch_ledger::{
    Admission, Ledger, Query, SqliteLedger, Status,
    testing::{NOON, key, received, success},
};

const FILE: &str = "STANCH_TEST_LEDGER";

/// Not a test of its own: the process that is killed below. It says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by `what_was_acknowledged_survives_a_kill`"]
#[expect(clippy::disallowed_methods, reason = "the parent names the file")]
async fn appends_until_killed() {
    let path = std::env::var(FILE).unwrap();
    let ledger = Arc::new(SqliteLedger::open(path).unwrap());
    let workers: Vec<_> = (0..16u64)
        .map(|worker| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                for n in (worker..).step_by(16) {
                    let id = match ledger.admit(key(n), received(n), NOON).await.unwrap() {
                        Admission::New(id) => id,
                        Admission::Duplicate(_) => continue,
                    };
                    acknowledge(n, 1);
                    for (events, event) in (1..).zip(success()) {
                        let head = ledger.append(id, events, vec![event], NOON).await.unwrap();
                        acknowledge(n, head.events);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

fn acknowledge(n: u64, events: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {n} {events}").unwrap();
}

/// Starts the process, kills it after `count` acknowledgements, gives back all that it wrote.
fn acknowledged(path: &Path, count: usize) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "crash::appends_until_killed",
        ])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        // A line that was cut off by the kill does not end in a number of events.
        if let ["ack", n, events] = words[..] {
            acknowledged.push((n.parse().unwrap(), events.parse().unwrap()));
        }
        if acknowledged.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= count);
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut total = 0;
    for count in [1, 7, 40, 200, 333, 1000] {
        let acknowledged = acknowledged(&path, count);
        total += acknowledged.len();
        let ledger = SqliteLedger::open(&path).unwrap();
        for (n, events) in acknowledged {
            let id = key(n).remediation_id();
            let (_, stored) = ledger.state(id).await.unwrap();
            assert!(stored >= events, "{n}: {stored} of {events}");
        }
        // Nothing is torn: every row agrees with its events, acknowledged or not.
        let mut query = Query::all().limit(1000);
        loop {
            let page = ledger.query(&query).await.unwrap();
            for row in page.records {
                ledger.verify(row.remediation_id).await.unwrap();
            }
            match page.next {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        // What was cut off can go on.
        for row in ledger.unfinished().await.unwrap() {
            let done = usize::try_from(row.events).unwrap() - 1;
            let rest = success()[done..].to_vec();
            ledger
                .append(row.remediation_id, row.events, rest, NOON)
                .await
                .unwrap();
        }
        let counts = ledger.counts(&Query::all()).await.unwrap();
        assert_eq!(counts.into_keys().collect::<Vec<_>>(), [Status::Success]);
    }
    assert!(total > 1500);
}
