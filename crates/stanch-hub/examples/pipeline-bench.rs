//! Measures the pipeline up to the plan: `pipeline-bench <file> [findings] [plan|ask]`.
//!
//! Each finding is an EventBridge event of its own about a bucket of its own. It is parsed, routed,
//! admitted, planned against an AWS that answers at once, and recorded durably in SQLite. With `ask`
//! the guard is asked too, what the change may touch is looked at, and people are asked for their
//! approval. The last line is JSON.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be made ends here"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, Guard};
use stanch_hub::{
    Account, Approvals, History, Hub, Limits, Message, Mode, NotTold, Notifier, Ports, Ring,
    Rollout, Settings, Source,
};
use stanch_ledger::{Ledger, Query, Record, SqliteLedger, Status};
use stanch_models::Models;
use stanch_runbook::Ids;
use stanch_testkit::Misconfiguration;
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock, Reply, Scope, Sessions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every bucket is there and has no public access block.
struct Instant0;

#[async_trait]
impl Api for Instant0 {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        Err(CallError {
            code: "NoSuchPublicAccessBlockConfiguration".to_owned(),
            ..CallError::new(CallErrorKind::Rejected, call, "none")
        })
    }
}

#[async_trait]
impl Sessions for Instant0 {
    async fn open(&self, _: &Scope) -> Result<Arc<dyn Api>, CallError> {
        Ok(Arc::new(Self))
    }

    fn role_arn(&self, _: &Scope) -> String {
        String::new()
    }
}

struct Wall(Instant);

#[async_trait]
impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "a measurement takes real time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement takes real time")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A channel that takes every message and keeps none.
struct Silent;

#[async_trait]
impl Notifier for Silent {
    fn channel(&self) -> &str {
        "silent"
    }

    async fn tell(&self, _: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        Ok(())
    }
}

struct One;

impl Ids for One {
    fn next(&self) -> String {
        "bench".to_owned()
    }
}

/// CPU time of this process in seconds, as Linux counts it (in hundredths).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .filter_map(|time| time.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// Bytes of memory that the process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let findings: u64 = arguments
        .next()
        .map_or(100_000, |text| text.parse().unwrap());

    let asks = arguments.next().is_some_and(|what| what == "ask");

    let accounts: Vec<AccountId> = (0..10)
        .map(|n| format!("{n:012}").parse().unwrap())
        .collect();
    let settings = Settings {
        accounts: accounts
            .iter()
            .map(|id| (id.clone(), Account::default()))
            .collect(),
        workers: 256,
        // What waits is admitted and in memory; a longer queue would only be more to remember.
        limits: Limits {
            per_account: 64,
            backlog_per_account: 64,
        },
        rollout: Rollout {
            rings: vec![Ring {
                name: "plan".to_owned(),
                mode: if asks { Mode::Manual } else { Mode::Observe },
            }],
            ..Rollout::default()
        },
        approval: Approvals::by("security", &["alice"]),
        ..Settings::default()
    };
    let store = Arc::new(SqliteLedger::open(&path).unwrap());
    let ledger: Arc<dyn Ledger> = Arc::clone(&store) as Arc<dyn Ledger>;
    let ports = Ports {
        sessions: Arc::new(Instant0),
        ledger: Arc::clone(&ledger),
        directives: store,
        clock: Arc::new(Wall(Instant::now())),
        ids: Arc::new(One),
        guard: Arc::new(Guard::built_in(&Automatic::default())),
        // Without a channel nobody could be asked.
        notifiers: match asks {
            true => vec![Arc::new(Silent)],
            false => Vec::new(),
        },
    };
    let catalog = Arc::new(Catalog::embedded());
    let hub = Arc::new(Hub::new(
        ports,
        settings,
        catalog,
        Arc::new(Models::embedded().unwrap()),
    ));
    let runner = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.run().await }
    });

    let template = Misconfiguration {
        account: accounts.first().unwrap().clone(),
        region: "eu-central-1".parse().unwrap(),
        control: "S3.8".parse().unwrap(),
        resource_type: "AwsS3Bucket".to_owned(),
        resource_id: "arn:aws:s3:::bucket-0".to_owned(),
        details: Value::Null,
        at: Timestamp::UNIX_EPOCH,
    };
    let template: Arc<str> = template.security_hub_event().to_string().into();
    let begin = Instant::now();
    let before = cpu_seconds();
    let next = Arc::new(AtomicU64::new(0));
    let tenths = Arc::new(Mutex::new(Vec::new()));
    let sources: Vec<_> = (0..256)
        .map(|_| {
            let (hub, next, tenths) = (hub.clone(), next.clone(), tenths.clone());
            let (accounts, template) = (accounts.clone(), Arc::clone(&template));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= findings {
                        return;
                    }
                    if n % (findings / 10) == 0 {
                        tenths.lock().unwrap().push(resident() >> 20);
                    }
                    let account = accounts
                        .iter()
                        .cycle()
                        .nth((n % 10) as usize)
                        .unwrap()
                        .clone();
                    let event = template
                        .replace("000000000000", account.as_str())
                        .replace("bucket-0", &format!("bucket-{n}"));
                    hub.take(&Source::automatic("bench"), event.as_bytes())
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for source in sources {
        source.await.unwrap();
    }
    hub.finish();
    runner.await.unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - before;
    let at_the_end = resident() >> 20;

    let counts = ledger.counts(&Query::all()).await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(
            match asks {
                true => Status::AwaitingApproval,
                false => Status::Skipped,
            },
            findings
        )]
    );
    let figures = json!({
        "findings": findings,
        "findings_per_second": (findings as f64 / seconds).round(),
        "cpu_us_per_finding": (cpu * 1e6 / findings as f64).round(),
        "resident_mib_at_each_tenth": *tenths.lock().unwrap(),
        "resident_mib_at_the_end": at_the_end,
    });
    println!("{figures}");
}
