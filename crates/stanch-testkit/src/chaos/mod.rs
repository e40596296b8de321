//! Histories of the hub in a bad world, by chance and yet the same for the same seed.
//!
//! Processes die at any write to the ledger and with requests under way, disks are full, AWS throttles,
//! fails and loses answers, clocks jump, events come twice, late and out of order, two hubs share a
//! ledger, people approve, reject, roll back, pause and resume at any moment, and others change the same
//! resources. At the end all calms down, and what must always hold is checked.

mod invariants;
mod process;
mod random;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, File, Guard, Limits, Rules, Source as Rulebook};
use stanch_hub::{Account, Approvals, Hub, Ports, Settings, Source};
use stanch_ledger::{
    Directives, KeyFile, Ledger, MemoryLedger, Query, Reach, RemediationId, Standing, Status,
    Store as _,
};
use stanch_models::Models;
use stanch_runbook::Ids;
use stanch_types::{AccountId, Call, Clock, ControlRef, Region};
use tokio::task::JoinSet;

use self::process::{Death, Moment, Process, Sent, Shared, hold};
pub(crate) use self::random::Chance;
use crate::{FakeAws, FakeClock, Misconfiguration};

/// How often something goes wrong, in a thousand times.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dangers {
    latency: u64,
    die_before_write: u64,
    die_after_write: u64,
    disk: u64,
    lost_write: u64,
    bad_read: u64,
    bad_write: u64,
}

/// Processes that died at one kind of write to the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    /// Before anything was stored.
    pub before: u64,
    /// After it was stored, and before anybody learned of it.
    pub after: u64,
}

/// What a number of histories came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Histories.
    pub histories: u64,
    /// Remediations admitted.
    pub remediations: u64,
    /// Events in the ledgers.
    pub events: u64,
    /// Requests that changed something at AWS.
    pub changes: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Of these, at a write to the ledger: by what was to be written.
    pub deaths_at: BTreeMap<String, Deaths>,
    /// Calls that AWS answered wrongly or not at all.
    pub aws_faults: u64,
    /// Changes that arrived after the caller had given up.
    pub late_effects: u64,
    /// Writes that the ledger's disk refused.
    pub disk_faults: u64,
    /// Times when the disk took nothing for a while.
    pub outages: u64,
    /// Writes that were stored and whose answer was lost.
    pub lost_answers: u64,
    /// Jumps of the clock.
    pub jumps: u64,
    /// Events delivered: the first time and again.
    pub deliveries: u64,
    /// Pauses.
    pub pauses: u64,
    /// Checkpoints signed while it went on.
    pub checkpoints: u64,
    /// Events that cannot be read.
    pub garbage: u64,
    /// Approvals and rejections that counted.
    pub answers: u64,
    /// Approvals and rejections during which the process died that was told.
    pub answers_cut_short: u64,
    /// Rollbacks that were made or refused.
    pub rollbacks: u64,
    /// Undos that waited for a window.
    pub put_off: u64,
    /// Changes by others.
    pub others: u64,
    /// Remediations that ended fixed.
    pub fixed: u64,
    /// Remediations that ended undone.
    pub undone: u64,
}

impl Figures {
    /// Adds what others came to.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.remediations += other.remediations;
        self.events += other.events;
        self.changes += other.changes;
        self.deaths += other.deaths;
        for (what, Deaths { before, after }) in &other.deaths_at {
            let deaths = self.deaths_at.entry(what.clone()).or_default();
            deaths.before += before;
            deaths.after += after;
        }
        self.aws_faults += other.aws_faults;
        self.late_effects += other.late_effects;
        self.disk_faults += other.disk_faults;
        self.outages += other.outages;
        self.lost_answers += other.lost_answers;
        self.jumps += other.jumps;
        self.deliveries += other.deliveries;
        self.pauses += other.pauses;
        self.checkpoints += other.checkpoints;
        self.garbage += other.garbage;
        self.answers += other.answers;
        self.answers_cut_short += other.answers_cut_short;
        self.rollbacks += other.rollbacks;
        self.put_off += other.put_off;
        self.others += other.others;
        self.fixed += other.fixed;
        self.undone += other.undone;
    }

    /// Name and value of each.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 22] {
        [
            ("histories", self.histories),
            ("remediations", self.remediations),
            ("events in the ledgers", self.events),
            ("requests that changed something", self.changes),
            ("processes that died", self.deaths),
            (
                "calls that AWS answered wrongly or not at all",
                self.aws_faults,
            ),
            (
                "changes that arrived after the caller had given up",
                self.late_effects,
            ),
            ("ledger writes that a disk refused", self.disk_faults),
            ("times when it refused all for a while", self.outages),
            (
                "ledger writes that were stored and not answered",
                self.lost_answers,
            ),
            ("jumps of the clock", self.jumps),
            ("events delivered", self.deliveries),
            ("events that cannot be read", self.garbage),
            ("pauses", self.pauses),
            ("checkpoints signed meanwhile", self.checkpoints),
            ("approvals and rejections that counted", self.answers),
            (
                "approvals and rejections cut short by a death",
                self.answers_cut_short,
            ),
            ("rollbacks asked for", self.rollbacks),
            ("undos that waited for a window", self.put_off),
            ("changes by others", self.others),
            ("remediations that ended fixed", self.fixed),
            ("remediations that ended undone", self.undone),
        ]
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The history.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// What happened, a line each.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "again with: cargo xtask chaos --seed {}", self.seed)
    }
}

/// What all histories share.
#[derive(Clone)]
pub struct Chaos {
    catalog: Arc<Catalog>,
    models: Arc<Models>,
    /// One that lets the first of the two remediations run by itself, and one that does not. They
    /// remember nothing, so that all processes may share them.
    guards: [Arc<Guard>; 2],
    /// The same in windows alone.
    in_windows: [Arc<Guard>; 2],
    /// What signs checkpoints.
    key: Arc<KeyFile>,
}

/// Identifiers in order.
struct Counter(String, AtomicU64);

impl Ids for Counter {
    fn next(&self) -> String {
        format!("{}-{}", self.0, self.1.fetch_add(1, Ordering::Relaxed))
    }
}

/// Counts an answer whose process died before it was done with it.
struct CutShort(Option<Arc<Shared>>);

impl Drop for CutShort {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            hold(&shared.figures).answers_cut_short += 1;
        }
    }
}

/// Runs `work` where time stands still while anyone works.
#[expect(clippy::expect_used, reason = "without a runtime nothing can be tried")]
fn in_its_own_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO");
    runtime.block_on(work)
}

/// The first of the two remediations, of a single request.
const BLOCKS: &str = "S3BlockPublicAccess";

const BUCKETS: [&str; 3] = ["bucket-a", "bucket-b", "bucket-c"];

pub(crate) fn account() -> AccountId {
    #[expect(clippy::unwrap_used, reason = "it is an account id")]
    "222222222222".parse().unwrap()
}

pub(crate) fn region() -> Region {
    #[expect(clippy::unwrap_used, reason = "it is a region")]
    "eu-central-1".parse().unwrap()
}

/// In each hour, changes are begun from its beginning on for so many seconds, and not for as many after that,
/// and so on for [`WINDOWS`] times.
const WINDOW: i64 = 9;

const WINDOWS: i64 = 4;

/// So many hours have windows: more than most histories last.
const HOURS: i64 = 240;

/// The windows of an hour, hour by hour.
fn calendar() -> String {
    let mut text = String::from("BEGIN:VCALENDAR\nVERSION:2.0\nX-CALENDAR-TYPE:DEFAULT_CLOSED\n");
    for number in 0..WINDOWS {
        let begin = number * 2 * WINDOW;
        let at = |seconds: i64| format!("20260101T00{:02}{:02}Z", seconds / 60, seconds % 60);
        text += &format!(
            "BEGIN:VEVENT\nUID:{number}\nSUMMARY:changes\nDTSTART:{}\nDTEND:{}\nRRULE:FREQ=HOURLY;COUNT={HOURS}\nEND:VEVENT\n",
            at(begin),
            at(begin + WINDOW)
        );
    }
    text + "END:VCALENDAR\n"
}

/// The policies of a calendar: what runs by itself otherwise does so in a window, and what is asked for is
/// asked for then.
fn window_policies(asks: bool) -> String {
    let opens = "context.calendars.window";
    match asks {
        false => format!("permit (principal, action, resource) when {{ {opens} }};"),
        true => format!(
            "permit (principal, action, resource) when {{ {opens} && context.run == Run::\"afterApproval\" }};\n\
             permit (principal, action == Action::\"TestTwoSteps\", resource) when {{ {opens} }};"
        ),
    }
}

/// What a guard decides by: `asks`: people have to approve the first of the two remediations.
fn rules(windows: bool, asks: bool, limit: Option<u32>) -> Rules {
    let file = |path: &str, text: String| File {
        path: path.to_owned(),
        text,
    };
    let mut rules = Rules {
        limits: Limits {
            per_account: limit,
            ..Limits::default()
        },
        ..Rules::default()
    };
    if windows {
        let policies = file("chaos.cedar", window_policies(asks));
        rules.policies = Rulebook::Files(vec![policies]);
        rules.calendars = vec![file("window.ics", calendar())];
    } else {
        let mut automatic = Automatic::default();
        if !asks {
            automatic.guarded.insert(BLOCKS.to_owned());
        }
        rules.policies = Rulebook::BuiltIn(automatic);
    }
    rules
}

/// An event that somebody wants delivered.
#[derive(Clone)]
struct Delivery {
    bytes: Vec<u8>,
    /// What it asks for: resource, remediation, and when it was found. Two products that find the same at the
    /// same moment ask for one thing.
    work: (String, String, Timestamp),
    acknowledged: bool,
}

/// One history under way.
struct History {
    chance: Chance,
    shared: Arc<Shared>,
    settings: Settings,
    guard: Arc<Guard>,
    /// People have to approve the first of the two remediations.
    asks: bool,
    /// So many changes may be begun within an hour, by a guard that each process has for itself.
    limit: Option<u32>,
    /// Changes are begun in windows of a calendar alone.
    windows: bool,
    chaos: Chaos,
    slots: Vec<Slot>,
    /// How many processes were started.
    processes: u64,
    /// People quarrel with the hub about one bucket.
    quarrel: bool,
    deliveries: Vec<Delivery>,
    /// What cannot be read, and whether it was acknowledged.
    garbage: Vec<(String, bool)>,
    paused: Vec<Pause>,
    /// When the clock jumped.
    jumps: Vec<Duration>,
    /// How often it went forward by more than a day.
    days: usize,
    /// When others changed a bucket.
    others: Vec<(&'static str, Moment)>,
    story: Vec<String>,
    admitted: Vec<RemediationId>,
}

/// Somebody stopped changes for a while.
struct Pause {
    reach: Reach,
    /// When it began to count, by the clock that never jumps.
    begin: Duration,
    end: Option<Duration>,
}

/// A place where a hub runs.
#[derive(Default)]
struct Slot {
    process: Option<(Process, Arc<Hub>)>,
    tasks: JoinSet<()>,
    starts: u64,
}

impl Chaos {
    /// Loads what histories need.
    ///
    /// # Errors
    /// The models or the two remediations cannot be read.
    pub fn new() -> Result<Self, String> {
        let block = Catalog::embedded_files()
            .find(|(path, _)| path.ends_with("s3/block-public-access.yaml"))
            .ok_or("the catalog lacks s3/block-public-access.yaml")?;
        let (catalog, wrong) = Catalog::load([block, crate::TWO_STEPS]);
        if let Some(wrong) = wrong.first() {
            return Err(wrong.to_string());
        }
        let models = Models::embedded().map_err(|error| error.to_string())?;
        let guard = |windows, asks| {
            let rules = rules(windows, asks, None);
            let guard = Guard::load(rules, &catalog, FakeClock::default().now());
            guard.map(Arc::new).map_err(|wrong| wrong.to_string())
        };
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n\
            -----END PRIVATE KEY-----\n";
        let key =
            KeyFile::parse(pem, Some("example.com/chaos")).map_err(|error| error.to_string())?;
        Ok(Self {
            guards: [guard(false, false)?, guard(false, true)?],
            in_windows: [guard(true, false)?, guard(true, true)?],
            catalog: Arc::new(catalog),
            models: Arc::new(models),
            key: Arc::new(key),
        })
    }

    /// Lives through the history of `seed`.
    ///
    /// # Errors
    /// An invariant does not hold.
    pub fn run(&self, seed: u64) -> Result<Figures, Box<Violation>> {
        in_its_own_time(self.live(seed))
    }

    /// What the ledger exports after the history of `seed`.
    #[must_use]
    pub fn export(&self, seed: u64) -> Vec<u8> {
        in_its_own_time(async { self.history(seed).await.export().await.unwrap_or_default() })
    }

    /// What happened in the history of `seed`, a line each.
    #[must_use]
    pub fn story(&self, seed: u64) -> Vec<String> {
        in_its_own_time(async { self.history(seed).await.story().await })
    }

    async fn history(&self, seed: u64) -> History {
        let mut history = History::new(self.clone(), seed).await;
        let actions = 4 + history.chance.below(14);
        for _ in 0..actions {
            history.act().await;
            let pause = history.chance.below(3_000);
            history.pass(Duration::from_millis(pause)).await;
        }
        history.calm().await;
        history
    }

    async fn live(&self, seed: u64) -> Result<Figures, Box<Violation>> {
        let history = self.history(seed).await;
        let mut verdict = history.check().await;
        // It takes as long as all else, so that it is not done every time.
        if verdict.is_ok() && seed.is_multiple_of(8) {
            verdict = history.verifies().await;
        }
        let mut figures = hold(&history.shared.figures).clone();
        figures.histories = 1;
        figures.changes = hold(&history.shared.sent)
            .iter()
            .filter(|sent| sent.effective)
            .count() as u64;
        match verdict {
            Ok(()) => Ok(figures),
            Err(what) => {
                let story = history.story().await;
                Err(Box::new(Violation { seed, what, story }))
            }
        }
    }
}

impl History {
    async fn new(chaos: Chaos, seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let mut settings = Settings {
            workers: 3,
            ..Settings::default()
        };
        settings.accounts.insert(account(), Account::default());
        settings.approval = Approvals::by("security", &["boss"]);
        // In half of the histories one of the two remediations needs an approval.
        let is_asked = chance.permille(500);
        let some = |chance: &mut Chance, most: u64| match chance.below(3) {
            0 => 0,
            _ => chance.below(most),
        };
        let mut dangers = Dangers {
            latency: some(&mut chance, 300),
            die_before_write: some(&mut chance, 60),
            die_after_write: some(&mut chance, 60),
            disk: some(&mut chance, 80),
            lost_write: some(&mut chance, 60),
            bad_read: some(&mut chance, 100),
            bad_write: some(&mut chance, 500),
        };
        // In a quarter of them nothing is wrong but one death, at one write to the ledger.
        let countdown = chance.permille(250).then(|| {
            dangers = Dangers::default();
            let death = if chance.permille(500) {
                Death::Before
            } else {
                Death::After
            };
            (chance.below(48), death)
        });
        let shared = Arc::new(Shared {
            aws: FakeAws::new(&[account()]),
            ledger: Arc::new(MemoryLedger::new()),
            clock: Arc::new(FakeClock::default()),
            chance: Mutex::new(Chance::of(chance.next())),
            dangers: Mutex::new(dangers),
            countdown: Mutex::new(countdown),
            outage: Mutex::default(),
            sent: Mutex::default(),
            locks: Mutex::default(),
            order: AtomicU64::default(),
            stored: Mutex::default(),
            figures: Mutex::default(),
        });
        let slots = (0..=u64::from(chance.permille(500)))
            .map(|_| Slot::default())
            .collect();
        let quarrel = chance.permille(200);
        let limit = chance.permille(150).then_some(3);
        let windows = chance.permille(100);
        let [runs, asks] = match windows {
            true => &chaos.in_windows,
            false => &chaos.guards,
        };
        let guard = Arc::clone(if is_asked { asks } else { runs });
        let mut history = Self {
            chance,
            shared,
            settings,
            guard,
            asks: is_asked,
            limit,
            windows,
            chaos,
            slots,
            processes: 0,
            quarrel,
            deliveries: Vec::new(),
            garbage: Vec::new(),
            paused: Vec::new(),
            jumps: Vec::new(),
            days: 0,
            others: Vec::new(),
            story: Vec::new(),
            admitted: Vec::new(),
        };
        for bucket in BUCKETS {
            history
                .admin("CreateBucket", json!({"Bucket": bucket}))
                .await;
            history.scramble(bucket).await;
        }
        for slot in 0..history.slots.len() {
            history.start(slot);
        }
        history
    }

    async fn admin(&self, operation: &str, params: Value) {
        let api = self.shared.aws.account(&account(), &region());
        // Deleting what is not there is no matter.
        let _ = api.call(&Call::new("s3", operation, params)).await;
    }

    /// Somebody gives a bucket some other state.
    async fn scramble(&mut self, bucket: &str) {
        match self.chance.below(4) {
            0 => {
                let block = json!({"BlockPublicAcls": false, "IgnorePublicAcls": true});
                self.admin(
                    "PutPublicAccessBlock",
                    json!({"Bucket": bucket, "PublicAccessBlockConfiguration": block}),
                )
                .await;
            }
            1 => {
                self.admin("DeletePublicAccessBlock", json!({"Bucket": bucket}))
                    .await
            }
            2 => {
                self.admin("DeleteBucketPolicy", json!({"Bucket": bucket}))
                    .await
            }
            _ => {
                self.admin(
                    "PutBucketPolicy",
                    json!({"Bucket": bucket, "Policy": r#"{"Statement":[]}"#}),
                )
                .await
            }
        }
    }

    fn note(&mut self, what: impl fmt::Display) {
        let at = self.shared.clock.monotonic().as_millis();
        self.story.push(format!("{at:>9} ms  {what}"));
    }

    /// Starts a process where none lives.
    fn start(&mut self, slot: usize) {
        let guard = self.limited().unwrap_or_else(|| Arc::clone(&self.guard));
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        place.starts += 1;
        self.processes += 1;
        let process = Process::new(Arc::clone(&self.shared), self.processes);
        let port = Arc::new(process.clone());
        let name = format!("hub-{slot}-{}", place.starts);
        let ports = Ports {
            sessions: Arc::clone(&port) as _,
            ledger: Arc::clone(&port) as _,
            directives: port,
            clock: Arc::clone(&self.shared.clock) as Arc<dyn Clock>,
            ids: Arc::new(Counter(name, AtomicU64::new(0))),
            guard,
            notifiers: vec![Arc::new(crate::Listener::default())],
        };
        let (catalog, models) = (
            Arc::clone(&self.chaos.catalog),
            Arc::clone(&self.chaos.models),
        );
        let hub = Arc::new(Hub::new(ports, self.settings.clone(), catalog, models));
        let runner = Arc::clone(&hub);
        place.tasks.spawn(async move { runner.run().await });
        let recoverer = Arc::clone(&hub);
        place
            .tasks
            .spawn(async move { drop(recoverer.recover().await) });
        place.process = Some((process, hub));
        self.note(format_args!("hub {slot} starts"));
    }

    /// Buries processes that died; kills one, if `also` says so.
    fn reap(&mut self, also: Option<usize>) {
        for slot in 0..self.slots.len() {
            let Some(place) = self.slots.get_mut(slot) else {
                continue;
            };
            let Some((process, _)) = &place.process else {
                continue;
            };
            if also == Some(slot) {
                process.kill();
            }
            if !process.is_alive() {
                place.tasks.abort_all();
                place.tasks = JoinSet::new();
                place.process = None;
                self.note(format_args!("hub {slot} is dead"));
            }
        }
    }

    async fn pass(&mut self, time: Duration) {
        self.shared.clock.sleep(time).await;
        self.reap(None);
    }

    /// A hub that lives.
    fn hub(&mut self) -> Option<(usize, Arc<Hub>)> {
        let slot = usize::try_from(self.chance.below(self.slots.len() as u64)).unwrap_or(0);
        let hub = self
            .slots
            .get(slot)?
            .process
            .as_ref()
            .map(|(_, hub)| Arc::clone(hub))?;
        Some((slot, hub))
    }

    /// Has a hub do something beside its work.
    fn ask<F: Future<Output = ()> + Send + 'static>(&mut self, slot: usize, work: F) {
        if let Some(place) = self.slots.get_mut(slot) {
            place.tasks.spawn(work);
        }
    }

    async fn act(&mut self) {
        if self.quarrel && self.chance.permille(600) {
            let [bucket, ..] = BUCKETS;
            self.others.push((bucket, self.shared.now(0)));
            hold(&self.shared.figures).others += 1;
            self.note(format_args!("somebody opens {bucket} again"));
            self.admin("DeletePublicAccessBlock", json!({"Bucket": bucket}))
                .await;
            return match self.chance.below(4) {
                0 => self.answer().await,
                1 => self.roll_back().await,
                _ => {
                    self.find("S3.8", bucket).await;
                    self.find("Test.2", bucket).await;
                }
            };
        }
        match self.chance.below(23) {
            0..=6 => self.deliver().await,
            21 => self.sign().await,
            22 => self.garble().await,
            7 => {
                let slot = usize::try_from(self.chance.below(self.slots.len() as u64)).unwrap_or(0);
                self.reap(Some(slot));
            }
            8 | 9 => {
                let dead = self.slots.iter().position(|place| place.process.is_none());
                match dead {
                    Some(slot) => self.start(slot),
                    None => self.recover(),
                }
            }
            10 => {
                let mut minutes = i64::try_from(self.chance.below(240)).unwrap_or(0) - 120;
                if self.chance.permille(120) {
                    // What waits for people waits in vain.
                    minutes += 26 * 60;
                    self.days += 1;
                }
                hold(&self.shared.figures).jumps += 1;
                self.note(format_args!("the clock jumps by {minutes} minutes"));
                self.shared.clock.jump(SignedDuration::from_mins(minutes));
                self.jumps.push(self.shared.clock.monotonic());
            }
            11 | 12 => self.pause_or_resume().await,
            13..=15 => self.answer().await,
            16..=18 => self.roll_back().await,
            19 => {
                let seconds = 1 + self.chance.below(60);
                let end = self.shared.clock.monotonic() + Duration::from_secs(seconds);
                let fault = self.shared.disk_fault();
                *hold(&self.shared.outage) = Some((end, fault));
                hold(&self.shared.figures).outages += 1;
                self.note(format_args!("the disk: {fault:?} for {seconds} s"));
            }
            _ => {
                let index = usize::try_from(self.chance.below(3)).unwrap_or(0);
                let Some(bucket) = BUCKETS.get(index) else {
                    return;
                };
                self.change(bucket).await;
            }
        }
    }

    /// Somebody else changes a bucket.
    async fn change(&mut self, bucket: &'static str) {
        hold(&self.shared.figures).others += 1;
        self.note(format_args!("somebody changes {bucket}"));
        self.others.push((bucket, self.shared.now(0)));
        self.scramble(bucket).await;
    }

    /// A new event, or one that came before.
    async fn deliver(&mut self) {
        let known = self.deliveries.len() as u64;
        if known > 0 && self.chance.permille(350) {
            let again = self.chance.below(known);
            self.hand_over(usize::try_from(again).unwrap_or(0)).await;
        } else {
            let bucket = BUCKETS
                .get(usize::try_from(self.chance.below(3)).unwrap_or(0))
                .unwrap_or(&"bucket-a");
            let control = match self.chance.below(4) {
                0 => "config:s3-bucket-level-public-access-prohibited",
                1 => "S3.8",
                _ => "Test.2",
            };
            self.find(control, bucket).await;
        }
    }

    /// Something is wrong with a bucket, and the event is delivered.
    async fn find(&mut self, control: &str, bucket: &str) {
        let Ok(control) = control.parse() else { return };
        let (resource_type, resource_id) = match control {
            ControlRef::ConfigRule(_) => ("AWS::S3::Bucket", bucket.to_owned()),
            _ => ("AwsS3Bucket", format!("arn:aws:s3:::{bucket}")),
        };
        let finding = Misconfiguration {
            account: account(),
            region: region(),
            control,
            resource_type: resource_type.to_owned(),
            resource_id,
            details: Value::Null,
            at: self.shared.clock.now(),
        };
        self.note(format_args!("{} on {bucket} is found", finding.control));
        let Some(read) = finding.read() else { return };
        let Some(resource) = read.resources.first() else {
            return;
        };
        let found = self
            .chaos
            .catalog
            .find(&read.controls, &resource.resource_type);
        let Some(remediation) = found.first() else {
            return;
        };
        self.deliveries.push(Delivery {
            work: (resource.id.clone(), remediation.name.clone(), finding.at),
            bytes: finding.bytes(),
            acknowledged: false,
        });
        // Some come late, after others.
        if !self.chance.permille(200) {
            self.hand_over(self.deliveries.len() - 1).await;
        }
    }

    /// Delivers to a hub that lives; the source keeps what is not acknowledged.
    async fn hand_over(&mut self, index: usize) {
        let (Some((slot, hub)), Some(delivery)) = (self.hub(), self.deliveries.get(index)) else {
            return;
        };
        hold(&self.shared.figures).deliveries += 1;
        let bytes = delivery.bytes.clone();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.ask(slot, async move {
            let taken = hub.take(&Source::automatic("chaos"), &bytes).await;
            let _ = sender.send(taken);
        });
        // Nobody waits longer than a queue would.
        let waited = tokio::time::timeout(Duration::from_secs(3), receiver).await;
        if let Ok(Ok(Ok(taken))) = waited {
            if let Some(delivery) = self.deliveries.get_mut(index) {
                delivery.acknowledged = true;
            }
            self.admitted.extend(taken.admitted);
        }
        self.reap(None);
    }

    fn recover(&mut self) {
        if let Some((slot, hub)) = self.hub() {
            self.ask(slot, async move { drop(hub.recover().await) });
        }
    }

    /// A guard with a memory of its own, where there is a limit.
    fn limited(&self) -> Option<Arc<Guard>> {
        let rules = rules(self.windows, self.asks, Some(self.limit?));
        let now = self.shared.clock.now();
        let guard = Guard::load(rules, &self.chaos.catalog, now).ok()?;
        Some(Arc::new(guard))
    }

    /// A checkpoint is signed, as hubs do now and then.
    async fn sign(&mut self) {
        let hub = self.hub();
        let place = hub.and_then(|(slot, _)| Some((slot, self.slots.get(slot)?.process.as_ref()?)));
        let Some((slot, (process, _))) = place else {
            return;
        };
        let (process, key) = (process.clone(), Arc::clone(&self.chaos.key));
        self.note("a checkpoint is signed");
        self.ask(slot, async move {
            if process.checkpoint(&*key).await.is_ok() {
                hold(&process.shared.figures).checkpoints += 1;
            }
        });
    }

    /// Something comes that cannot be read.
    async fn garble(&mut self) {
        let body = format!("not JSON {}", self.chance.below(3));
        let Some((slot, hub)) = self.hub() else {
            return;
        };
        hold(&self.shared.figures).garbage += 1;
        self.note(format_args!("`{body}` comes"));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let bytes = body.clone().into_bytes();
        self.ask(slot, async move {
            let taken = hub.take(&Source::automatic("chaos"), &bytes).await;
            let _ = sender.send(taken.is_ok());
        });
        let taken = tokio::time::timeout(Duration::from_secs(3), receiver).await;
        self.garbage.push((body, matches!(taken, Ok(Ok(true)))));
        self.reap(None);
    }

    async fn pause_or_resume(&mut self) {
        let open = self.paused.iter().position(|pause| pause.end.is_none());
        let Some((slot, hub)) = self.hub() else {
            return;
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let resume = open.is_some();
        let reach = match open.and_then(|index| self.paused.get_mut(index)) {
            Some(pause) => {
                // From now on it may be over, whether or not the process lives to say so.
                pause.end = Some(self.shared.clock.monotonic());
                pause.reach.clone()
            }
            None => match self.chance.below(8) {
                0 => Reach::Account(account()),
                1 => Reach::Region(region()),
                2 | 3 => Reach::Control("S3.8".to_owned()),
                _ => Reach::All,
            },
        };
        let whom = reach.clone();
        self.ask(slot, async move {
            let given = match resume {
                true => hub.resume(whom, "operator", "over").await,
                false => hub.pause(whom, "operator", "stop").await,
            };
            let _ = sender.send(given.is_ok());
        });
        let done = tokio::time::timeout(Duration::from_secs(3), receiver).await;
        let done = matches!(done, Ok(Ok(true)));
        self.note(format_args!(
            "{} {reach} ({done})",
            if resume { "resume" } else { "pause" }
        ));
        if done && !resume {
            hold(&self.shared.figures).pauses += 1;
            self.paused.push(Pause {
                reach,
                begin: self.shared.clock.monotonic(),
                end: None,
            });
        }
        self.reap(None);
    }

    /// One of those that were admitted, by chance.
    async fn some(&mut self, wanted: impl Fn(Status) -> bool) -> Option<RemediationId> {
        let page = self.shared.ledger.query(&Query::all()).await.ok()?;
        let fit: Vec<RemediationId> = page
            .records
            .iter()
            .filter(|record| wanted(record.status))
            .map(|record| record.remediation_id)
            .collect();
        let index = self.chance.below(fit.len() as u64);
        fit.get(usize::try_from(index).ok()?).copied()
    }

    async fn answer(&mut self) {
        let Some(id) = self.some(|status| status == Status::AwaitingApproval).await else {
            return;
        };
        let Some((slot, hub)) = self.hub() else {
            return;
        };
        let reject = self.chance.permille(200);
        let shared = Arc::clone(&self.shared);
        self.note(format_args!(
            "{} {id}",
            if reject { "reject" } else { "approve" }
        ));
        self.ask(slot, async move {
            let mut cut_short = CutShort(Some(Arc::clone(&shared)));
            let answered = match reject {
                true => hub.reject(id, "boss", "no").await.is_ok(),
                false => hub.approve(id, "boss").await.is_ok(),
            };
            cut_short.0 = None;
            hold(&shared.figures).answers += u64::from(answered);
        });
    }

    async fn roll_back(&mut self) {
        let undoable = |status| {
            use Status::{Failed, Paused, Success, UndoFailed, Undone};
            matches!(status, Success | Failed | Undone | UndoFailed | Paused)
        };
        let Some(id) = self.some(undoable).await else {
            return;
        };
        let Some((slot, hub)) = self.hub() else {
            return;
        };
        let force = self.chance.permille(300);
        hold(&self.shared.figures).rollbacks += 1;
        self.note(format_args!(
            "roll back {id}{}",
            if force { " with force" } else { "" }
        ));
        self.ask(slot, async move {
            drop(hub.rollback(id, "operator", false, force).await);
        });
    }

    /// Nothing goes wrong any more; what was begun ends.
    async fn calm(&mut self) {
        self.note("calm");
        *hold(&self.shared.dangers) = Dangers::default();
        *hold(&self.shared.countdown) = None;
        *hold(&self.shared.outage) = None;
        for round in 0..8 {
            self.reap(None);
            for slot in 0..self.slots.len() {
                if self
                    .slots
                    .get(slot)
                    .is_some_and(|place| place.process.is_none())
                {
                    self.start(slot);
                }
            }
            if self.paused.iter().any(|pause| pause.end.is_none()) || round == 0 {
                for pause in &mut self.paused {
                    pause.end.get_or_insert(self.shared.clock.monotonic());
                }
                // A pause of which nobody heard whether it was given may stand as well.
                let standing = Standing::of(&self.directives().await);
                if let Some((_, hub)) = self.hub() {
                    for reach in standing.pauses.into_keys() {
                        let _ = hub.resume(reach, "operator", "over").await;
                    }
                }
            }
            for index in 0..self.deliveries.len() {
                if self
                    .deliveries
                    .get(index)
                    .is_some_and(|delivery| !delivery.acknowledged)
                {
                    self.hand_over(index).await;
                }
            }
            self.pass(Duration::from_mins(3)).await;
            self.recover();
            self.pass(Duration::from_mins(3)).await;
            if self.windows {
                // The next hour, and with it a window, begins.
                let past = self.shared.clock.now().as_second().rem_euclid(3_600);
                let left = u64::try_from(3_600 - past).unwrap_or_default();
                self.pass(Duration::from_secs(left)).await;
                self.recover();
                self.pass(Duration::from_mins(3)).await;
            }
            if self.is_over().await {
                break;
            }
            if round == 2 || self.windows && round == 5 {
                // Nobody answers: what waits for an approval ends as a no.
                self.pass(Duration::from_hours(25)).await;
                self.recover();
            }
            if round == 4 {
                // The clock may have been set back while something was to expire.
                self.shared.clock.jump(SignedDuration::from_hours(8));
                self.recover();
            }
        }
        for place in &mut self.slots {
            place.tasks.abort_all();
        }
    }

    /// The ledger as an auditor gets it.
    async fn export(&self) -> Result<Vec<u8>, String> {
        let mut lines = Vec::new();
        stanch_ledger::export(&*self.shared.ledger, &*self.chaos.key, &mut lines)
            .await
            .map_err(|error| error.to_string())?;
        Ok(lines)
    }

    async fn is_over(&self) -> bool {
        let unfinished = self.shared.ledger.unfinished().await;
        unfinished.is_ok_and(|records| records.is_empty())
            && self.deliveries.iter().all(|delivery| delivery.acknowledged)
    }

    /// What happened, the ledger, and all that reached AWS.
    async fn story(&self) -> Vec<String> {
        let mut lines = self.story.clone();
        let page = self.shared.ledger.query(&Query::all()).await;
        for record in page.map(|page| page.records).unwrap_or_default() {
            lines.push(format!(
                "{} {} {}",
                record.remediation_id, record.remediation_action, record.resource_id
            ));
            for entry in self
                .shared
                .ledger
                .entries(record.remediation_id)
                .await
                .unwrap_or_default()
            {
                let text = serde_json::to_string(&entry.event).unwrap_or_default();
                let text: String = text.chars().take(160).collect();
                lines.push(format!("    {} {text}", entry.at));
            }
        }
        for Sent {
            session,
            call,
            effective,
            at,
            ..
        } in hold(&self.shared.sent).iter()
        {
            lines.push(format!(
                "{:>9} ms  {session} {call} effective={effective}",
                at.as_millis()
            ));
        }
        lines
    }

    async fn directives(&self) -> Vec<stanch_ledger::Given> {
        self.shared.ledger.directives().await.unwrap_or_default()
    }
}
