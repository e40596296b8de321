//! The hub killed at random moments, in the middle of hundreds of findings, by a signal that it
//! cannot catch: nothing is lost, nothing is sent twice, and the end is as without the kills.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_ledger::{Ledger, Query, SqliteLedger, Status};
use stanch_testkit::{
    Emulated, Emulator, Misconfiguration, Organization, models,
    organization::{MEMBERS, REGIONS, role_policy},
};
use stanch_types::{AccountId, Call, Region};

const FINDINGS: usize = 500;
const KILLS: usize = 50;
const SEED: u64 = 0x5EED_2026;

/// How long the hub may take for what the kills left.
const PATIENCE: Duration = Duration::from_secs(240);

/// Split mix: the same moments in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}

struct Hub(Child);

impl Hub {
    fn start(organization: &Organization, config: &Path, log: &Path) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stanch"))
            .env_clear()
            .envs(organization.environment())
            .env("STANCH_CONFIG", config)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--set", "serve.inbox_every=20ms"])
            // What a kill interrupts stays locked for half a minute: few at once, or the work has
            // stopped long before the last kill.
            .args(["--set", "limits.per_account=2"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Hub {
    /// SIGKILL.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn fifty_kills_lose_nothing_and_send_nothing_twice() {
    println!("seed {SEED:#x}");
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let emulator = Emulator::start().unwrap();
    let region: Region = REGIONS[0].parse().unwrap();
    let aws = Emulated::at(&emulator.endpoint(), region.clone());
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let role_policy = role_policy(Catalog::embedded().iter(), &models()).unwrap();
    let organization = Organization::create(emulator.endpoint(), &root, &role_policy)
        .await
        .unwrap();
    let config = folder.path().join("stanch.toml");
    let guarded = ["S3BlockPublicAccess".to_owned()];
    fs::write(&config, organization.config(folder.path(), &guarded)).unwrap();

    let accounts: Vec<AccountId> = MEMBERS
        .iter()
        .map(|(account, _)| account.parse().unwrap())
        .collect();
    for number in 0..FINDINGS {
        let account = &accounts[number % accounts.len()];
        let api = root(account, &region);
        let bucket = json!({"Bucket": name(number)});
        api.call(&Call::new("s3", "CreateBucket", bucket.clone()))
            .await
            .unwrap();
        api.call(&Call::new("s3", "DeletePublicAccessBlock", bucket))
            .await
            .unwrap();
        let found = Misconfiguration {
            account: account.clone(),
            region: region.clone(),
            control: "S3.8".parse().unwrap(),
            resource_type: "AwsS3Bucket".to_owned(),
            resource_id: arn(number),
            details: Value::Null,
            at: Timestamp::constant(1_767_225_600, 0),
        };
        fs::write(inbox.join(format!("{number:04}.json")), found.bytes()).unwrap();
    }

    let (log, file) = (
        folder.path().join("hub.log"),
        folder.path().join("stanch.db"),
    );
    let mut random = Random(SEED);
    let mut fixed = Vec::new();
    for _ in 0..KILLS {
        let hub = Hub::start(&organization, &config, &log);
        wait(150 + random.below(600));
        drop(hub);
        fixed.push(
            counts(&file)
                .await
                .get(&Status::Success)
                .copied()
                .unwrap_or(0),
        );
    }
    println!("fixed after each kill: {fixed:?}");
    // Had they all come before the work or after it, this would show nothing.
    let in_the_middle = fixed
        .iter()
        .filter(|fixed| (1..FINDINGS as u64).contains(fixed))
        .count();
    assert!(in_the_middle > KILLS / 4, "the kills missed the work");

    // Left alone, it finishes.
    let hub = Hub::start(&organization, &config, &log);
    let begin = Instant::now();
    let all_fixed = BTreeMap::from([(Status::Success, FINDINGS as u64)]);
    loop {
        let now = counts(&file).await;
        if now == all_fixed {
            break;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{now:?}\n{}",
            fs::read_to_string(&log).unwrap()
        );
        wait(250);
    }
    drop(hub);

    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for request in emulator.requests().unwrap() {
        if request.method == "PUT" && request.query.starts_with("publicAccessBlock") {
            *sent.entry(request.path).or_default() += 1;
        }
    }
    let not_once: Vec<_> = sent.iter().filter(|(_, times)| **times != 1).collect();
    assert!(not_once.is_empty(), "sent more than once: {not_once:?}");
    assert_eq!(sent.len(), FINDINGS);

    let blocked = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let ledger = SqliteLedger::open(&file).unwrap();
    for number in 0..FINDINGS {
        let api = root(&accounts[number % accounts.len()], &region);
        let call = Call::new(
            "s3",
            "GetPublicAccessBlock",
            json!({"Bucket": name(number)}),
        );
        let answer = api.call(&call).await.unwrap().output;
        assert_eq!(answer["PublicAccessBlockConfiguration"], blocked);
        let records = ledger
            .query(&Query::resource(arn(number)))
            .await
            .unwrap()
            .records;
        assert_eq!(records.len(), 1, "one remediation for one finding");
        ledger.verify(records[0].remediation_id).await.unwrap();
    }
}

fn name(number: usize) -> String {
    format!("kill-test-{number:04}")
}

fn arn(number: usize) -> String {
    format!("arn:aws:s3:::{}", name(number))
}

/// Remediations by status.
async fn counts(ledger: &Path) -> BTreeMap<Status, u64> {
    if !ledger.exists() {
        return BTreeMap::new();
    }
    SqliteLedger::open(ledger)
        .unwrap()
        .counts(&Query::all())
        .await
        .unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for, in real time"
)]
pub fn wait(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}
