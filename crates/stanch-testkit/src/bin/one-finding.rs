//! Measures what one finding costs: `one-finding [runs]`.
//!
//! Each run is a `stanch remediate` of a public bucket (S3.8) of its own, from the start of the
//! process to the verified fix, against the emulator with IAM enforced. Python's `getrusage` tells
//! the process's CPU and memory, a counting relay the requests. Each fix is then taken back by a
//! `stanch rollback`, measured alike. Then `stanch serve` takes as many from its inbox, with a warm
//! credential cache. The last line is JSON.

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_ledger::{Ledger, Query, SqliteLedger, Status};
use stanch_testkit::{
    Emulated, Emulator, Misconfiguration, Organization,
    measure::{Relay, Used},
    models,
    organization::{MEMBERS, REGIONS, role_policy},
    repository,
};
use stanch_types::{AccountId, Call, Region};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let runs: usize = std::env::args().nth(1).map_or(Ok(9), |text| text.parse())?;
    let folder = repository().join(".demo").join("one-finding");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("inbox"))?;
    let emulator = Emulator::start()?;
    let relay = Relay::start(emulator.address())?;
    let home: Region = REGIONS[0].parse()?;
    let aws = Emulated::at(&emulator.endpoint(), home.clone());
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let role_policy = role_policy(Catalog::embedded().iter(), &models())?;
    let organization = Organization::create(relay.endpoint(), &root, &role_policy).await?;
    let config = folder.join("stanch.toml");
    let guarded = ["S3BlockPublicAccess".to_owned()];
    fs::write(&config, organization.config(&folder, &guarded))?;

    let account: AccountId = MEMBERS[0].0.parse()?;
    let admin = root(&account, &home);
    let mut events = Vec::new();
    for n in 0..runs * 2 {
        let bucket = json!({"Bucket": format!("bench-{n}")});
        for operation in ["CreateBucket", "DeletePublicAccessBlock"] {
            admin
                .call(&Call::new("s3", operation, bucket.clone()))
                .await?;
        }
        let found = Misconfiguration {
            account: account.clone(),
            region: home.clone(),
            control: "S3.8".parse()?,
            resource_type: "AwsS3Bucket".to_owned(),
            resource_id: format!("arn:aws:s3:::bench-{n}"),
            details: Value::Null,
            at: "2026-01-01T00:00:00Z".parse()?,
        };
        events.push(found.security_hub_event().to_string());
    }

    let stanch = std::env::current_exe()?.with_file_name("stanch");
    let environment: Vec<(String, String)> = organization
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let run = |arguments: &[&str]| {
        let before = relay.requests();
        let used = Used::by(
            Command::new(&stanch)
                .args(arguments)
                .envs(environment.iter().cloned())
                .env("STANCH_CONFIG", &config),
        );
        used.map(|used| (used, (relay.requests() - before) as f64))
    };
    let (mut fixes, mut undos) = (Cost::default(), Cost::default());
    for (n, event) in events.iter().take(runs).enumerate() {
        let file = folder.join(format!("{n}.json"));
        fs::write(&file, event)?;
        let file = file.to_string_lossy();
        fixes.add(run(&["remediate", "--as", "bench", &file])?);
        let ledger = SqliteLedger::open(folder.join("stanch.db"))?;
        let newest = ledger.query(&Query::all().limit(1)).await?.records.pop();
        let id = newest
            .ok_or("nothing was fixed")?
            .remediation_id
            .to_string();
        undos.add(run(&["rollback", "--as", "bench", &id])?);
        let ended = ledger
            .counts(&Query::all().with_status(Status::Undone))
            .await?;
        if ended.values().sum::<u64>() != n as u64 + 1 {
            return Err(format!("`{id}` was not taken back").into());
        }
    }

    let warm = warm(
        &stanch,
        &folder,
        &config,
        &environment,
        &relay,
        events.get(runs..).unwrap_or_default(),
    )
    .await?;
    let figures = json!({
        "runs": runs,
        "cpu_ms": median(&mut fixes.cpu),
        "peak_memory_mib": median(&mut fixes.memory),
        "requests_cold": median(&mut fixes.requests),
        "requests_warm": warm,
        "rollback_cpu_ms": median(&mut undos.cpu),
        "rollback_requests": median(&mut undos.requests),
    });
    println!("{figures}");
    Ok(())
}

/// What the runs of one command cost.
#[derive(Default)]
struct Cost {
    cpu: Vec<f64>,
    memory: Vec<f64>,
    requests: Vec<f64>,
}

impl Cost {
    fn add(&mut self, (used, requests): (Used, f64)) {
        self.cpu.push(used.cpu_ms);
        self.memory.push(used.peak_memory_mib);
        self.requests.push(requests);
    }
}

/// Requests per finding of a hub that has its sessions, the first finding left out.
async fn warm(
    stanch: &Path,
    folder: &Path,
    config: &Path,
    environment: &[(String, String)],
    relay: &Relay,
    events: &[String],
) -> Outcome<f64> {
    let ledger = SqliteLedger::open(folder.join("stanch.db"))?;
    let fixed = async || {
        Ok::<u64, Box<dyn Error>>(
            ledger
                .counts(&Query::all())
                .await?
                .get(&Status::Success)
                .copied()
                .unwrap_or(0),
        )
    };
    let already = fixed().await?;
    let mut hub = Command::new(stanch)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .envs(environment.iter().cloned())
        .env("STANCH_CONFIG", config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut first = 0;
    let mut outcome = Ok(());
    for (n, event) in (1_u64..).zip(events) {
        fs::write(folder.join("inbox").join(format!("{n}.json")), event)?;
        let begin = Instant::now();
        while fixed().await? < already + n {
            if begin.elapsed() > Duration::from_secs(30) {
                outcome = Err("the hub did not fix it in 30 s");
                break;
            }
            pause();
        }
        if n == 1 {
            first = relay.requests();
        }
    }
    hub.kill()?;
    hub.wait()?;
    outcome?;
    Ok((relay.requests() - first) as f64 / (events.len() - 1) as f64)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement waits for another process"
)]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    (middle * 10.0).round() / 10.0
}
