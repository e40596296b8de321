//! Measures the SQLite ledger: `ledger-bench <file> [findings] [at once]`.
//!
//! Each finding is admitted, planned and finished by three durable writes of four events in all, and
//! every thousandth lives its whole life; then pages of fifty are asked for by account, by resource
//! and by finding. An export is written and checked if it is small enough for memory. The last line is JSON.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement that cannot be made ends here"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use stanch_ledger::{
    Ledger, Query, Signer as _, SqliteLedger, Status, Store, Trust, Verdict, export as write_out,
    testing::{decided, finished, key, noon_and, planned, received, signer, success},
    verify_export, verify_ledger,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let number = |text: Option<String>, default| text.map_or(default, |text| text.parse().unwrap());
    let findings: u64 = number(arguments.next(), 100_000);
    let at_once: u64 = number(arguments.next(), 256);
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());

    // A file that is filled already is only asked.
    let last = ledger.record(key(findings - 1).remediation_id()).await;
    let next = Arc::new(AtomicU64::new(if last.is_ok() { findings } else { 0 }));
    let begin = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let (ledger, next) = (Arc::clone(&ledger), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= findings {
                        return;
                    }
                    fix(&*ledger, n).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let per_second = findings as f64 / begin.elapsed().as_secs_f64();
    println!("{findings} findings, {at_once} at once: {per_second:.0} findings/s");

    let (all, writer) = cpu_seconds();
    println!(
        "CPU per finding: {:.0} µs, of which the writer {:.0} µs",
        all * 1e6 / findings as f64,
        writer * 1e6 / findings as f64
    );

    let events = ledger.head().await.unwrap().size;
    let appended = events as f64 / begin.elapsed().as_secs_f64();
    println!("{events} events, hashed, in the tree and durable: {appended:.0} events/s");

    let random = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % findings;
    let mut figures = json!({"findings": findings, "at_once": at_once, "findings_per_second": per_second.round()});
    for (name, query) in [
        (
            "by_account",
            (|n| Query::account(received(n).account.clone())) as fn(u64) -> Query,
        ),
        ("by_account_and_time", |n| {
            Query::account(received(n).account.clone())
                .between(Some(noon_and(n)), Some(noon_and(n + 60_000)))
        }),
        ("by_resource", |n| {
            Query::resource(received(n).resource_id.clone())
        }),
        ("by_finding", |n| {
            Query::finding(received(n).finding_id.clone())
        }),
    ] {
        let mut times = Vec::new();
        for n in 0..2_000 {
            let query = query(random(n)).limit(50);
            let begin = Instant::now();
            let page = ledger.query(&query).await.unwrap();
            times.push(begin.elapsed());
            assert!(!page.records.is_empty());
        }
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
        let [p50, p99] = [50, 99].map(|share| (at(share) * 1e3).round() / 1e3);
        println!("{name}: p50 {p50:.3} ms, p99 {p99:.3} ms");
        figures[name] = json!({"p50_ms": p50, "p99_ms": p99});
    }
    let begin = Instant::now();
    let counts = ledger.counts(&Query::all()).await.unwrap();
    println!("counts {counts:?}: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert!(ledger.unfinished().await.unwrap().is_empty());
    println!("unfinished: {:?}", begin.elapsed());
    figures["events_appended_per_second"] = json!(appended.round());
    let begin = Instant::now();
    let store: Arc<dyn Store> = Arc::<SqliteLedger>::clone(&ledger);
    let report = verify_ledger(store, None, None, None).await.unwrap();
    assert_eq!((report.holds(), report.events), (true, events));
    let checked = events as f64 / begin.elapsed().as_secs_f64();
    println!("the file: verified at {checked:.0} events/s");
    figures["events_of_the_file_verified_per_second"] = json!(checked.round());
    let mut export = Vec::new();
    if findings <= 100_000 {
        let begin = Instant::now();
        let events = write_out(&*ledger, &signer(), &mut export).await.unwrap();
        let written = begin.elapsed();
        let begin = Instant::now();
        let key = signer();
        let trust = Trust {
            key: Some(key.key()),
            ..Trust::default()
        };
        let report = verify_export(&*export, trust).unwrap();
        assert_eq!((report.holds(), report.events), (true, events));
        let rate = |time: Duration| events as f64 / time.as_secs_f64();
        let (written, verified) = (rate(written), rate(begin.elapsed()));
        println!("export: {written:.0} events/s, verified at {verified:.0} events/s");
        figures["events_exported_per_second"] = json!(written.round());
        figures["events_of_an_export_verified_per_second"] = json!(verified.round());
    }
    if let Some(line) = std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find(|line| line.starts_with("VmHWM"))
    {
        println!("most memory: {}", line.trim_start_matches("VmHWM:").trim());
    }
    println!("{figures}");
}

async fn fix(ledger: &dyn Ledger, n: u64) {
    let at = noon_and(n);
    let id = key(n).remediation_id();
    ledger.admit(key(n), received(n), at).await.unwrap();
    if n.is_multiple_of(1_000) {
        ledger.append(id, 1, success(), at).await.unwrap();
        return;
    }
    let events = vec![planned(false), decided(Verdict::Run)];
    let head = ledger.append(id, 1, events, at).await.unwrap();
    let end = vec![finished(Status::Skipped)];
    ledger.append(id, head.events, end, at).await.unwrap();
}

/// CPU time of this process and of the ledger's writer, as Linux counts it (in hundredths).
fn cpu_seconds() -> (f64, f64) {
    let (mut all, mut writer) = (0.0, 0.0);
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
        let seconds = [12, 13]
            .map(|n: usize| fields[n].parse::<f64>().unwrap())
            .iter()
            .sum::<f64>()
            / 100.0;
        all += seconds;
        if stat.contains("(ledger)") {
            writer += seconds;
        }
    }
    (all, writer)
}
