//! `cargo xtask demo`: real findings in an emulated organization, fixed by the `stanch` command.
//!
//! The examples of the catalog are planted in two accounts and two regions; their findings, and some
//! that must not be acted on, are put into the hub's inbox as EventBridge events; `stanch serve` does
//! the rest. Every number of the report is counted from the ledger.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Map;
use stanch_catalog::{Catalog, Example, Remediation};
use stanch_ledger::{Ledger, Query, Record, SqliteLedger, Status};
use stanch_testkit::{
    Emulated, Emulator, Maker, Misconfiguration, Organization, Seen, choose, look, models,
    organization::{MEMBERS, REGIONS, role_policy},
    plant, repository,
};
use stanch_types::{AccountId, Api, ControlRef, Region};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long the hub may take for everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many of the fixes are taken back.
const ROLLBACKS: usize = 3;

/// Events that are refused, and are in the ledger with the reason.
const REFUSED: u64 = 3;

/// Events that are put aside as dead letters.
const PUT_ASIDE: u32 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let keep = std::env::args().any(|argument| argument == "--keep");
    match demo(keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// What the demo shows: findings that every security team knows, each of another kind of fix. All of
/// the catalog is played by the proof suite.
const TOUR: [&str; 10] = [
    "CloudTrailValidateLogFiles",
    "DynamodbProtectFromDeletion",
    "Ec2CloseOpenPorts",
    "EcrScanOnPush",
    "EfsBackUpAutomatically",
    "KmsRotateKey",
    "RdsMakeInstancePrivate",
    "S3BlockPublicAccess",
    "S3DenyPlainHttp",
    "SnsEncryptTopic",
];

/// A planted misconfiguration.
struct Case {
    remediation: Arc<Remediation>,
    found: Misconfiguration,
    before: Seen,
}

async fn demo(keep: bool) -> Outcome {
    let folder = repository().join(".demo");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("inbox"))?;

    say("emulator", "starting, with IAM enforced");
    let emulator = Emulator::start()?;
    let catalog = Catalog::embedded();
    let role_policy = role_policy(catalog.iter(), &models())?;
    let home: Region = REGIONS[0].parse()?;
    let aws = Emulated::at(&emulator.endpoint(), home);
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let organization = Organization::create(emulator.endpoint(), &root, &role_policy).await?;
    let guarded: Vec<String> = catalog
        .iter()
        .map(|remediation| remediation.name.clone())
        .collect();
    let config = folder.join("stanch.toml");
    fs::write(&config, organization.config(&folder, &guarded))?;
    say(
        "organization",
        &format!(
            "{} member accounts, {} regions",
            MEMBERS.len(),
            REGIONS.len()
        ),
    );

    let cases = plant_all(&catalog, &root).await?;
    say("planted", &format!("{} misconfigurations", cases.len()));
    let delivered = deliver(&folder.join("inbox"), &cases)?;
    say("delivered", &format!("{delivered} events"));

    let stanch = Stanch {
        config,
        environment: organization.environment().into(),
    };
    let mut hub = stanch.serve(&folder.join("hub.log"))?;
    let ledger = wait_for_the_hub(&folder, &cases, &mut hub)?;
    wait_until_done(&ledger, cases.len(), &mut hub).await?;

    println!(
        "\n{:<12} {:<12} {:<28} {:<10} {:<10} ledger",
        "account", "region", "remediation", "before", "after"
    );
    for case in &cases {
        let after = look(&root, &models(), &case.remediation, Map::new(), &case.found).await?;
        let record = record_of(&ledger, &case.found).await?;
        println!(
            "{:<12} {:<12} {:<28} {:<10} {:<10} {}",
            case.found.account.as_str(),
            case.found.region.as_str(),
            case.remediation.name,
            word(&case.before),
            word(&after),
            record.status
        );
    }
    println!();
    roll_back(&stanch, &ledger, &cases, &root).await?;
    report(&ledger).await?;
    stanch.run(&["ledger", "verify"])?;

    if keep {
        println!("\nThe emulator answers at {}.", emulator.endpoint());
        println!(
            "The hub takes the files of {}.",
            folder.join("inbox").display()
        );
        println!("Talk to it from another terminal:\n");
        for (name, value) in organization.environment() {
            println!("  export {name}={value}");
        }
        println!("  export STANCH_CONFIG={}", stanch.config.display());
        println!(
            "  {} ledger list\n\nPress Enter to stop both.",
            Stanch::path()?.display()
        );
        std::io::stdin().read_line(&mut String::new())?;
    }
    hub.stop()
}

/// Plants every example of the tour that needs fixing, in the accounts and regions by turns.
async fn plant_all(
    catalog: &Catalog,
    root: &(dyn Fn(&AccountId, &Region) -> Arc<dyn Api> + Sync),
) -> Outcome<Vec<Case>> {
    let mut places = Vec::new();
    for region in REGIONS {
        for (account, _) in MEMBERS {
            places.push((account.parse::<AccountId>()?, region.parse::<Region>()?));
        }
    }
    let mut cases = Vec::new();
    for name in TOUR {
        let remediation = catalog
            .get(name)
            .ok_or_else(|| format!("the catalog has no remediation `{name}`"))?;
        // MiniStack alone enforces IAM, which is what a demo of permissions is about.
        let played = |example: &&Example| {
            !example.compliant
                && example.settings.is_empty()
                && choose(&remediation, example) == Ok(Maker::MiniStack)
        };
        let examples = remediation.examples.iter().filter(played);
        for (example, place) in
            examples.flat_map(|example| places.iter().map(move |place| (example, place)))
        {
            let (account, region) = place;
            let suffix = format!("-{}", cases.len() + 1);
            let api = root(account, region);
            let now = now();
            let planted = match plant(
                &*api,
                &remediation,
                example,
                (account, region),
                now,
                Some(&suffix),
            )
            .await
            {
                Ok(planted) => planted,
                // Another example has taken the name in this account and region.
                Err(stanch_testkit::PlantError::Call(error))
                    if error.code.contains("Exist") || error.code.contains("InUse") =>
                {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut found = planted.misconfiguration;
            if region.as_str() != REGIONS[0] {
                found_by_config(&mut found, &remediation);
            }
            let before = look(root, &models(), &remediation, Map::new(), &found).await?;
            cases.push(Case {
                remediation: Arc::clone(&remediation),
                found,
                before,
            });
        }
    }
    Ok(cases)
}

/// Config finds buckets too, and calls them by their names.
fn found_by_config(found: &mut Misconfiguration, remediation: &Remediation) {
    let rule = remediation
        .controls
        .iter()
        .find(|control| control.framework == "config");
    if let (Some(rule), "AwsS3Bucket") = (rule, found.resource_type.as_str()) {
        found.control = ControlRef::ConfigRule(rule.id.clone());
        found.resource_id = found
            .resource_id
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
    }
}

/// Writes the events of all findings, and of some that must not be acted on; says how many.
fn deliver(inbox: &Path, cases: &[Case]) -> Outcome<usize> {
    let mut events: Vec<Vec<u8>> = cases.iter().map(|case| case.found.bytes()).collect();
    // An S3 ARN names no account: here only the finding tells whose the bucket is.
    let bucket = cases
        .iter()
        .find(|case| case.found.resource_id.starts_with("arn:aws:s3:"));
    let Some(Case { found, .. }) = bucket else {
        return Err("the catalog has no remediation of a bucket".into());
    };
    let changed = |change: &dyn Fn(&mut Misconfiguration)| {
        let mut found = found.clone();
        change(&mut found);
        found.bytes()
    };
    let stranger: AccountId = "444444444444".parse()?;
    let elsewhere: Region = "ap-southeast-2".parse()?;
    let unknown: ControlRef = "Unknown.1".parse()?;
    // Delivered again, as EventBridge does.
    events.push(found.bytes());
    // Refused: an account and a region that are not configured, and a control that nothing fixes.
    events.push(changed(&|found| found.account = stranger.clone()));
    events.push(changed(&|found| found.region = elsewhere.clone()));
    events.push(changed(&|found| found.control = unknown.clone()));
    // Put aside: a resource that is not the finding's account's, and half an event.
    events.push(changed(&|found| {
        found.resource_type = "AwsKmsKey".to_owned();
        found.resource_id = format!("arn:aws:kms:us-east-1:{stranger}:key/demo");
    }));
    let mut truncated = found.bytes();
    truncated.truncate(truncated.len() / 2);
    events.push(truncated);
    for (number, event) in events.iter().enumerate() {
        fs::write(inbox.join(format!("{number:03}.json")), event)?;
    }
    Ok(events.len())
}

/// The command under test, as a user calls it.
struct Stanch {
    config: PathBuf,
    environment: BTreeMap<&'static str, String>,
}

impl Stanch {
    /// It was built beside this program.
    fn path() -> Outcome<PathBuf> {
        let path = std::env::current_exe()?.with_file_name("stanch");
        if path.exists() {
            Ok(path)
        } else {
            Err(format!("`{}` is not built", path.display()).into())
        }
    }

    fn command(&self) -> Outcome<Command> {
        let mut command = Command::new(Self::path()?);
        command
            .env_clear()
            .envs(&self.environment)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("STANCH_CONFIG", &self.config);
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let status = self.command()?.args(arguments).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("`stanch {}` failed ({status})", arguments.join(" ")).into())
        }
    }

    fn serve(&self, log: &Path) -> Outcome<Served> {
        let log = fs::File::create(log)?;
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        say("hub", &format!("`stanch serve`, listening on {listen}"));
        let mut serve = self.command()?;
        serve.args(["serve", "--listen", &listen.to_string()]);
        serve
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Served(serve.spawn()?))
    }
}

/// A hub that serves; it does not outlive the demo.
struct Served(Child);

impl Served {
    fn still_running(&mut self, folder: &Path) -> Outcome {
        let log = folder.join("hub.log");
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => {
                Err(format!("the hub ended ({status}); see `{}`", log.display()).into())
            }
        }
    }

    /// Asks the hub to finish what it has in hand, and waits for its end.
    fn stop(&mut self) -> Outcome {
        Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()?;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.0.try_wait()? {
                say("hub", &format!("stopped ({status})"));
                return Ok(());
            }
            pause();
        }
        Err("the hub did not stop when it was asked to".into())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After a failure; one that has ended already is left alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens the ledger as soon as the hub has made it.
fn wait_for_the_hub(folder: &Path, cases: &[Case], hub: &mut Served) -> Outcome<SqliteLedger> {
    let file = folder.join("stanch.db");
    let begin = Instant::now();
    while !file.exists() {
        hub.still_running(folder)?;
        if begin.elapsed() > PATIENCE {
            return Err(format!("the hub has not begun with {} findings", cases.len()).into());
        }
        pause();
    }
    Ok(SqliteLedger::open(&file)?)
}

async fn wait_until_done(ledger: &SqliteLedger, findings: usize, hub: &mut Served) -> Outcome {
    let begin = Instant::now();
    let expected = findings as u64 + REFUSED;
    loop {
        let counts = ledger.counts(&Query::all()).await?;
        let admitted: u64 = counts.values().sum();
        let settled: u64 = counts
            .iter()
            .filter(|(status, _)| status.is_final() || **status == Status::AwaitingApproval)
            .map(|(_, count)| count)
            .sum();
        if admitted >= expected
            && settled == admitted
            && ledger.dead_letters(PUT_ASIDE).await?.len() >= PUT_ASIDE as usize
        {
            return Ok(());
        }
        hub.still_running(&repository().join(".demo"))?;
        if begin.elapsed() > PATIENCE {
            return Err(format!(
                "{settled} of {expected} are done after {} s: {counts:?}",
                PATIENCE.as_secs()
            )
            .into());
        }
        pause();
    }
}

async fn record_of(ledger: &SqliteLedger, found: &Misconfiguration) -> Outcome<Record> {
    let mut read = found.read().ok_or("the finding is refused")?;
    let resource = read.resources.pop().ok_or("it names no resource")?;
    let page = ledger.query(&Query::resource(&resource.id)).await?;
    let mut records = page.records.into_iter();
    records
        .find(|record| {
            record.account_id == found.account
                && record.status != Status::Refused
                && record.control == found.control.to_string()
        })
        .ok_or_else(|| format!("`{}` is not in the ledger", resource.id).into())
}

/// Takes some of the fixes back, and shows that the resources are as they were.
async fn roll_back(
    stanch: &Stanch,
    ledger: &SqliteLedger,
    cases: &[Case],
    root: &(dyn Fn(&AccountId, &Region) -> Arc<dyn Api> + Sync),
) -> Outcome {
    let mut undone: Vec<&str> = Vec::new();
    for case in cases {
        let name = case.remediation.name.as_str();
        if undone.len() == ROLLBACKS || undone.contains(&name) {
            continue;
        }
        let record = record_of(ledger, &case.found).await?;
        if record.status != Status::Success {
            continue;
        }
        stanch.run(&[
            "rollback",
            &record.remediation_id.to_string(),
            "--as",
            "demo",
        ])?;
        let after = look(root, &models(), &case.remediation, Map::new(), &case.found).await?;
        let same = if after.state == case.before.state {
            "exactly as before"
        } else {
            "NOT as before"
        };
        println!("rolled back {name} on {}: {same}", case.found.resource_id);
        undone.push(name);
    }
    Ok(())
}

async fn report(ledger: &SqliteLedger) -> Outcome {
    let counts = ledger.counts(&Query::all()).await?;
    let total: u64 = counts.values().sum();
    let of = |status: Status| counts.get(&status).copied().unwrap_or(0);
    println!("\nFrom the ledger:");
    println!("  {total:>4} findings in");
    println!("  {:>4} fixed, and seen to be", of(Status::Success));
    println!("  {:>4} fixed and undone again", of(Status::Undone));
    println!("  {:>4} refused", of(Status::Refused));
    for (status, count) in &counts {
        if !matches!(status, Status::Success | Status::Undone | Status::Refused) {
            println!("  {count:>4} {status}");
        }
    }
    println!(
        "  {:>4} dead letters",
        ledger.dead_letters(1_000).await?.len()
    );
    Ok(())
}

const fn word(seen: &Seen) -> &'static str {
    if seen.compliant { "PASSED" } else { "FAILED" }
}

fn say(what: &str, text: &str) {
    eprintln!("{what:>14}  {text}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo plays AWS, whose findings carry the time"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for, in real time"
)]
fn pause() {
    thread::sleep(Duration::from_millis(100));
}
