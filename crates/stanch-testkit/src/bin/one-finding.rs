//! Measures what one finding costs: `one-finding [runs]`.
//!
//! Each run is a `stanch remediate` of a public bucket (S3.8) of its own, from the start of the
//! process to the verified fix, against the emulator with IAM enforced. Python's `getrusage` tells
//! the process's CPU and memory, a counting relay the requests. Then `stanch serve` takes as many
//! from its inbox, with a warm credential cache. The last line is JSON.

use std::{
    error::Error,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_ledger::{Ledger, Query, SqliteLedger, Status};
use stanch_testkit::{
    Emulated, Emulator, Misconfiguration, Organization, models,
    organization::{MEMBERS, REGIONS, role_policy},
    repository,
};
use stanch_types::{AccountId, Call, Region};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Runs the rest of its arguments; prints CPU seconds and peak memory in KiB.
const USAGE: &str = "import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let runs: usize = std::env::args().nth(1).map_or(Ok(9), |text| text.parse())?;
    let folder = repository().join(".demo").join("one-finding");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("inbox"))?;
    let emulator = Emulator::start()?;
    let relay = Relay::start(emulator.endpoint())?;
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
    let (mut cpu, mut memory, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    for (n, event) in events.iter().take(runs).enumerate() {
        let file = folder.join(format!("{n}.json"));
        fs::write(&file, event)?;
        let before = relay.requests();
        let output = Command::new("python3")
            .args(["-c", USAGE])
            .arg(&stanch)
            .args(["remediate", "--as", "bench"])
            .arg(&file)
            .envs(environment.iter().cloned())
            .env("STANCH_CONFIG", &config)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("`stanch remediate` failed ({})", output.status).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let mut words = text.split_whitespace();
        cpu.push(words.next().ok_or("no CPU time")?.parse::<f64>()? * 1000.0);
        memory.push(words.next().ok_or("no memory")?.parse::<f64>()? / 1024.0);
        requests.push((relay.requests() - before) as f64);
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
        "cpu_ms": median(&mut cpu),
        "peak_memory_mib": median(&mut memory),
        "requests_cold": median(&mut requests),
        "requests_warm": warm,
    });
    println!("{figures}");
    Ok(())
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

/// Passes connections on to the emulator and counts the requests.
struct Relay {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Relay {
    fn start(to: impl ToString) -> Outcome<Self> {
        let to = to.to_string();
        let to: SocketAddr = to
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else {
                    continue;
                };
                let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let counter = Arc::clone(&counter);
                thread::spawn(move || pass(client, server, Some(&counter)));
                thread::spawn(move || pass(server2, client2, None));
            }
        });
        Ok(Self { address, requests })
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Copies one direction; counts the heads of requests, which the client writes in one piece.
fn pass(mut from: TcpStream, mut to: TcpStream, counter: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = buffer.get(..length).unwrap_or_default();
        if let Some(counter) = counter {
            let heads = piece
                .windows(11)
                .filter(|window| window == b" HTTP/1.1\r\n")
                .count();
            counter.fetch_add(heads as u64, Ordering::SeqCst);
        }
        if to.write_all(piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
