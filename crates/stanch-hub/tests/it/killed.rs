//! A process killed at every write to its ledger, by a signal that it cannot catch: right before the write,
//! and right after it is stored. The ledger's file and AWS outlive it, and another process goes on.

#![cfg(unix)]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, Guard};
use stanch_hub::{Account, Approvals, Hub, Ports, Settings, Source};
use stanch_ledger::{
    Event, Ledger, Query, RemediationId, SqliteLedger, Status, StepOutcome, verify_ledger,
};
use stanch_runbook::Ids;
use stanch_testkit::{FakeAws, FastClock, Listener, Misconfiguration, TWO_STEPS, Tap};
use stanch_types::{Access, Api, Call, CallError, Reply, Scope, Sessions};

use crate::{
    ledgers::Dying,
    world::{account, region},
};

const LIFE: &str = "STANCH_TEST_LIFE";

/// What a process says before it stands still, and then at which write.
const STANDS_AT: &str = "stands at: ";

const SIGKILL: i32 = 9;

/// When the finding was made.
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// What is asked of a process, for a bucket that takes two requests to fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Task {
    /// To fix it.
    Fix,
    /// To fix it once a person has approved that.
    FixApproved,
    /// To take back the fix that another process has made.
    TakeBack,
}

/// What a process does, and where it is killed.
#[derive(Debug, Serialize, Deserialize)]
struct Life {
    task: Task,
    bucket: String,
    ledger: PathBuf,
    aws: SocketAddr,
    /// At which of its writes, from 0.
    at: usize,
    /// Right after it is stored; else right before.
    stored: bool,
}

/// Ends the process if nobody else has.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Life {
    /// Lives it. At which write the process was killed; nothing if it came to its end.
    fn live(&self) -> Option<String> {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("killed::works_until_killed")
            .env(LIFE, json!(self).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Process(child.unwrap());
        let said = process.0.stdout.take().unwrap();
        let mut death = None;
        for line in BufReader::new(said).lines() {
            if let Some(write) = line.unwrap().strip_prefix(STANDS_AT) {
                death = Some(write.to_owned());
                process.0.kill().unwrap();
            }
        }
        let ended = process.0.wait().unwrap();
        match death {
            Some(_) => assert_eq!(ended.signal(), Some(SIGKILL), "{self:?}"),
            None => assert!(ended.success(), "{self:?}: {ended}"),
        }
        death
    }
}

/// Not a test of its own: the process that is killed below.
#[tokio::test]
#[ignore = "started by the tests below"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent says what is to be done"
)]
async fn works_until_killed() {
    let life: Life = serde_json::from_str(&std::env::var(LIFE).unwrap()).unwrap();
    let Life { at, stored, .. } = life;
    let file = Arc::new(SqliteLedger::open(&life.ledger).unwrap());
    let writes = AtomicUsize::new(0);
    let watch = move |write: &str, is_stored: bool| {
        if is_stored == stored && writes.fetch_add(1, Ordering::Relaxed) == at {
            stand_still(write);
        }
    };
    let kept: Arc<dyn Ledger> = file.clone();
    let ledger = Dying::watched(kept, Box::new(watch));
    let aws = Arc::new(Remote::at(life.aws));
    let hub = hub(life.task, aws, ledger, &file, 10);
    match life.task {
        Task::Fix => {
            fixes(&hub, &life.bucket).await;
        }
        Task::FixApproved => {
            let id = fixes(&hub, &life.bucket).await;
            hub.approve(id, "alice").await.unwrap();
        }
        Task::TakeBack => {
            let id = only(&*file, &life.bucket).await;
            hub.rollback(id, "alice", false, false).await.unwrap();
        }
    }
}

/// Says where this process stands, and does nothing more until it is killed. Without a parent it ends.
fn stand_still(write: &str) {
    // The harness may have begun a line.
    println!("\n{STANDS_AT}{write}");
    let _ = std::io::stdin().lines().next();
    std::process::exit(1);
}

/// A hub as it is so many minutes after the finding was made. It knows nothing but its ledger.
fn hub(
    task: Task,
    sessions: Arc<dyn Sessions>,
    ledger: Arc<dyn Ledger>,
    file: &Arc<SqliteLedger>,
    minutes: u64,
) -> Arc<Hub> {
    let (catalog, wrong) = Catalog::load([TWO_STEPS]);
    assert_eq!(wrong, []);
    let mut settings = Settings::default();
    settings.accounts.insert(account(), Account::default());
    settings.approval = Approvals::by("security", &["alice"]);
    let automatic = Automatic {
        safe: task != Task::FixApproved,
        ..Automatic::default()
    };
    let clock = FastClock::new(START + Duration::from_secs(60 * minutes), 1);
    let ports = Ports {
        sessions,
        ledger,
        directives: file.clone(),
        // What has or has not arrived at this AWS is known at once.
        clock: Arc::new(clock.without_pauses(settings.settle)),
        ids: Arc::new(OwnIds),
        guard: Arc::new(Guard::built_in(&automatic)),
        notifiers: vec![Arc::new(Listener::default())],
    };
    let models = stanch_testkit::models();
    Arc::new(Hub::new(ports, settings, Arc::new(catalog), models))
}

/// Identifiers that no other hub has.
struct OwnIds;

impl Ids for OwnIds {
    fn next(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", std::process::id())
    }
}

fn arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

fn event(bucket: &str) -> Vec<u8> {
    let finding = Misconfiguration {
        account: account(),
        region: region(),
        control: "Test.2".parse().unwrap(),
        resource_type: "AwsS3Bucket".to_owned(),
        resource_id: arn(bucket),
        details: Value::Null,
        at: START,
    };
    finding.bytes()
}

fn source() -> Source {
    Source::automatic("test")
}

/// Takes the finding in and works on it until it is fixed or waits.
async fn fixes(hub: &Hub, bucket: &str) -> RemediationId {
    let taken = hub.take(&source(), &event(bucket)).await.unwrap();
    let id = taken.admitted[0];
    hub.handle(id).await.unwrap();
    id
}

/// The one remediation of the bucket.
async fn only(ledger: &dyn Ledger, bucket: &str) -> RemediationId {
    let page = ledger.query(&Query::resource(arn(bucket))).await.unwrap();
    assert_eq!(page.records.len(), 1, "{:?}", page.records);
    page.records[0].remediation_id
}

async fn events(ledger: &dyn Ledger, id: RemediationId) -> Vec<Event> {
    let events = ledger.events(id).await.unwrap();
    events.into_iter().map(|(event, _)| event).collect()
}

/// What a process asks of AWS, in a line.
#[derive(Serialize, Deserialize)]
struct Asked {
    /// By a session that may only read.
    read_only: bool,
    call: Call,
}

/// AWS as the processes that are killed reach it: what it has done before is done.
struct Remote(Arc<Mutex<BufReader<TcpStream>>>);

struct RemoteSession {
    line: Arc<Mutex<BufReader<TcpStream>>>,
    read_only: bool,
}

impl Remote {
    fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self(Arc::new(Mutex::new(BufReader::new(stream))))
    }
}

#[async_trait]
impl Sessions for Remote {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        assert_eq!((&scope.account, &scope.region), (&account(), &region()));
        Ok(Arc::new(RemoteSession {
            line: Arc::clone(&self.0),
            read_only: matches!(scope.access, Access::Read(_)),
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        FakeAws::new(&[]).role_arn(scope)
    }
}

#[async_trait]
impl Api for RemoteSession {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let asked = Asked {
            read_only: self.read_only,
            call: call.clone(),
        };
        let mut line = self.line.lock().unwrap();
        let text = json!(asked).to_string() + "\n";
        line.get_mut().write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        line.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

/// The AWS that outlives them.
struct Aws {
    fake: FakeAws,
    tap: Tap,
    address: SocketAddr,
}

impl Aws {
    fn start() -> Self {
        let fake = FakeAws::new(&[account()]);
        let tap = Tap::new(Arc::new(fake.clone()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tap.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tap, stream) = (asked.clone(), stream.unwrap());
                thread::spawn(move || answer(&tap, stream));
            }
        });
        Self { fake, tap, address }
    }

    /// A call of the account's own administrator; nothing where it is refused.
    async fn call(&self, operation: &str, bucket: &str) -> Option<Value> {
        let api = self.fake.account(&account(), &region());
        let call = Call::new("s3", operation, json!({"Bucket": bucket}));
        Some(api.call(&call).await.ok()?.output)
    }
}

/// Answers a process until it is gone.
fn answer(tap: &Tap, mut stream: TcpStream) {
    let asked = BufReader::new(stream.try_clone().unwrap());
    for line in asked.lines().map_while(Result::ok) {
        let Asked { read_only, call } = serde_json::from_str(&line).unwrap();
        let scope = Scope {
            account: account(),
            region: region(),
            session_name: "killed".to_owned(),
            access: match read_only {
                true => Access::Read(String::new()),
                false => Access::Policy(String::new()),
            },
        };
        let answer = async { tap.open(&scope).await?.call(&call).await };
        // It is in memory, and waits for nothing.
        let answer: Result<Reply, CallError> = answer.now_or_never().unwrap();
        let text = json!(answer).to_string() + "\n";
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Makes what the task begins with. How many events the ledger has of it.
async fn begun(life: &Life, aws: &Aws) -> usize {
    aws.call("CreateBucket", &life.bucket).await.unwrap();
    if life.task != Task::TakeBack {
        return 0;
    }
    let file = Arc::new(SqliteLedger::open(&life.ledger).unwrap());
    let hub = hub(life.task, Arc::new(aws.tap.clone()), file.clone(), &file, 0);
    let id = fixes(&hub, &life.bucket).await;
    let known = events(&*file, id).await;
    assert_eq!(known.last().map(Event::name), Some("notified"));
    known.len()
}

/// Goes on after the process that was killed, once its lock has run out, and asks again for what nobody
/// has heard an end of.
async fn go_on(life: &Life, aws: &Aws, file: &Arc<SqliteLedger>) -> RemediationId {
    let (task, bucket) = (life.task, &life.bucket);
    let hub = hub(task, Arc::new(aws.tap.clone()), file.clone(), file, 20);
    hub.recover().await.unwrap();
    if task != Task::TakeBack {
        hub.take(&source(), &event(bucket)).await.unwrap();
    }
    hub.drain().await;
    let id = only(&**file, bucket).await;
    match (task, file.state(id).await.unwrap().0.status) {
        (Task::FixApproved, Status::AwaitingApproval) => {
            hub.approve(id, "alice").await.unwrap();
        }
        (Task::TakeBack, Status::Success) => {
            hub.rollback(id, "alice", false, false).await.unwrap();
        }
        _ => {}
    }
    id
}

/// No request was announced again once it was known to be carried out, and none was sent more often than
/// announced.
fn sent_as_announced(events: &[Event], sent: &[Call], why: &str) {
    let (mut announced, mut done) = (Vec::new(), BTreeSet::new());
    for event in events {
        match event {
            Event::StepStarted(step) => {
                assert!(!done.contains(&(step.phase, step.index)), "again: {why}");
                announced.push(&step.call);
            }
            Event::StepFinished(step) if step.outcome == StepOutcome::Ok => {
                assert!(done.insert((step.phase, step.index)), "twice: {why}");
            }
            _ => {}
        }
    }
    for call in sent {
        let times = sent.iter().filter(|other| *other == call).count();
        let announced = announced.iter().filter(|other| **other == call).count();
        assert!(times <= announced, "{call} {times} times: {why}");
    }
}

/// Kills at every write, and looks each time at what others have made of it.
async fn killed_at_every_write(task: Task) {
    let (end, requests) = match task {
        Task::Fix | Task::FixApproved => (
            Status::Success,
            ["s3.PutPublicAccessBlock", "s3.PutBucketPolicy"],
        ),
        Task::TakeBack => (
            Status::Undone,
            ["s3.DeleteBucketPolicy", "s3.DeletePublicAccessBlock"],
        ),
    };
    let aws = Aws::start();
    for stored in [false, true] {
        let mut deaths: Vec<String> = Vec::new();
        loop {
            let folder = tempfile::tempdir().unwrap();
            let life = Life {
                task,
                bucket: format!("logs-{}-{stored}", deaths.len()),
                ledger: folder.path().join("ledger.db"),
                aws: aws.address,
                at: deaths.len(),
                stored,
            };
            let known = begun(&life, &aws).await;
            aws.tap.forget();
            let death = life.live();
            let file = Arc::new(SqliteLedger::open(&life.ledger).unwrap());
            let id = go_on(&life, &aws, &file).await;

            let state = file.state(id).await.unwrap().0;
            let events = events(&*file, id).await;
            let story: Vec<&str> = events.iter().map(Event::name).collect();
            let why = format!(
                "killed at {death:?}, {life:?}: {story:?}: {:?}",
                state.error
            );
            assert_eq!(state.status, end, "{why}");
            let block = aws.call("GetPublicAccessBlock", &life.bucket).await;
            let policy = aws.call("GetBucketPolicy", &life.bucket).await;
            match end {
                Status::Undone => assert_eq!((block, policy), (None, None), "{why}"),
                _ => {
                    let block = &block.unwrap()["PublicAccessBlockConfiguration"];
                    let mut settings = block.as_object().unwrap().values();
                    assert!(settings.all(|on| on == true), "{block}: {why}");
                    assert!(policy.is_some(), "{why}");
                }
            }
            let sent = aws.tap.writes();
            sent_as_announced(&events, &sent, &why);
            // Each once: whoever went on has looked first.
            let names: Vec<String> = sent.iter().map(ToString::to_string).collect();
            assert_eq!(names, requests, "{why}");
            file.verify(id).await.unwrap();
            let report = verify_ledger(file.clone(), None, None, None).await.unwrap();
            assert!(report.holds(), "{:?}: {why}", report.faults);

            let Some(write) = death else {
                // Nobody interfered: there is no event beside those whose writes it died at.
                let locks = ["lock", "unlock"];
                let written = deaths
                    .iter()
                    .filter(|write| !locks.contains(&write.as_str()));
                let written: Vec<&str> = written.flat_map(|write| write.split(' ')).collect();
                assert_eq!(written, story[known..]);
                println!("stored: {stored}, {} deaths: {deaths:?}", deaths.len());
                break;
            };
            deaths.push(write);
        }
    }
}

#[tokio::test]
async fn an_automatic_fix_is_made_once() {
    killed_at_every_write(Task::Fix).await;
}

#[tokio::test]
async fn a_fix_that_is_approved_is_made_once() {
    killed_at_every_write(Task::FixApproved).await;
}

#[tokio::test]
async fn a_fix_is_taken_back_once() {
    killed_at_every_write(Task::TakeBack).await;
}
