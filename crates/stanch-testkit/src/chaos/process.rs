//! What a hub reaches, disturbed: a ledger that fails and an AWS that answers late, wrongly or never. A
//! process that died gets no answer any more.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use stanch_ledger::{
    Admission, Attempts, Checkpoint, DeadLetter, Digest, Directives, Entry, Event, Given, Head,
    IdempotencyKey, Lease, Ledger, LedgerError, Left, Letter, Lock, MemoryLedger, Page, Query,
    Received, Record, RemediationId, Slice, Status, StoreFault, TreeHead,
};
use stanch_types::{
    AccountId, Api, Call, CallError, CallErrorKind, Clock, Region, Reply, Scope, Sessions,
};

use super::{Dangers, random::Chance};
use crate::{FakeAws, FakeClock};

/// One call of a hub that reached AWS, in the order of their effects.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub session: String,
    pub call: Call,
    pub write: bool,
    /// Which process sent it.
    pub process: u64,
    /// That held the lock of the bucket.
    pub locked: bool,
    /// It arrived after its caller had given up.
    pub late: bool,
    /// How the bucket was before a write.
    pub before: Value,
    /// It changed something.
    pub effective: bool,
    /// By the clock that never jumps.
    pub at: Duration,
    /// Its place among all that happened.
    pub order: u64,
}

impl Sent {
    /// The bucket that it is about.
    pub(super) fn bucket(&self) -> &str {
        bucket(&self.call)
    }
}

fn bucket(call: &Call) -> &str {
    let bucket = call.params.get("Bucket").and_then(Value::as_str);
    bucket.unwrap_or_default()
}

/// When something happened, among the requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Its place among all that happened.
    pub order: u64,
    /// So many requests had reached AWS.
    pub sent: usize,
    /// By the clock that never jumps.
    pub at: Duration,
    /// Which process did it; people are 0.
    pub process: u64,
}

/// What all processes of a history share.
pub(super) struct Shared {
    pub aws: FakeAws,
    pub ledger: Arc<MemoryLedger>,
    pub clock: Arc<FakeClock>,
    pub chance: Mutex<Chance>,
    pub dangers: Mutex<Dangers>,
    /// So many more writes to the ledger, and a process dies: before that write, or after it.
    pub countdown: Mutex<Option<(u64, Death)>>,
    /// Until then the ledger's disk takes nothing.
    pub outage: Mutex<Option<(Duration, StoreFault)>>,
    pub sent: Mutex<Vec<Sent>>,
    /// How much has happened.
    pub order: AtomicU64,
    /// When each event of each remediation was stored, in their order.
    pub stored: Mutex<HashMap<RemediationId, Vec<Moment>>>,
    /// Which process was given each lock last, and with which token, until it gave it back or lost it.
    pub locks: Mutex<HashMap<String, (u64, u64)>>,
    pub figures: Mutex<super::Figures>,
}

pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn permille(&self, pick: impl Fn(&Dangers) -> u64) -> bool {
        let danger = pick(&hold(&self.dangers));
        hold(&self.chance).permille(danger)
    }

    fn below(&self, limit: u64) -> u64 {
        hold(&self.chance).below(limit)
    }

    fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn now(&self, process: u64) -> Moment {
        Moment {
            order: self.next(),
            sent: hold(&self.sent).len(),
            at: self.clock.monotonic(),
            process,
        }
    }

    /// How a disk refuses writes.
    pub(super) fn disk_fault(&self) -> StoreFault {
        match self.below(2) {
            0 => StoreFault::Full,
            _ => StoreFault::ReadOnly,
        }
    }

    /// The state of a bucket, as its owner sees it.
    pub(super) async fn bucket(&self, account: &AccountId, region: &Region, name: &str) -> Value {
        let api = self.aws.account(account, region);
        let mut seen = serde_json::Map::new();
        for (read, operation, pick) in [
            (
                "block",
                "GetPublicAccessBlock",
                "PublicAccessBlockConfiguration",
            ),
            ("policy", "GetBucketPolicy", "Policy"),
        ] {
            let call = Call::new("s3", operation, serde_json::json!({"Bucket": name}));
            let answer = api.call(&call).await.ok();
            let value = answer.and_then(|reply| reply.output.get(pick).cloned());
            seen.insert(read.to_owned(), value.unwrap_or_default());
        }
        Value::Object(seen)
    }
}

/// When a process dies at a write to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// Nothing was stored.
    Before,
    /// It was stored, and nobody in the process learns of it.
    After,
}

/// A process, until it dies.
#[derive(Clone)]
pub(super) struct Process {
    pub shared: Arc<Shared>,
    /// It is the so-manyth of its history, from 1 on.
    number: u64,
    alive: Arc<AtomicBool>,
}

impl Process {
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self {
            shared,
            number,
            alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Notes when so many events of a remediation were stored.
    fn stored(&self, id: RemediationId, events: usize) {
        let now = self.shared.now(self.number);
        let mut stored = hold(&self.shared.stored);
        let moments = stored.entry(id).or_default();
        moments.extend(std::iter::repeat_n(now, events));
    }

    /// No other process was given the lock of the bucket since.
    fn holds(&self, bucket: &str) -> bool {
        let locks = hold(&self.shared.locks);
        let mut own = locks
            .iter()
            .filter(|(_, (holder, _))| *holder == self.number);
        own.any(|(key, _)| key.ends_with(&format!(":::{bucket}")))
    }

    /// The lock that was given with this lease is over; one that the same process was given since is not.
    fn lets_go(&self, lease: &Lease) {
        let mut locks = hold(&self.shared.locks);
        if locks.get(&lease.key) == Some(&(self.number, lease.token)) {
            locks.remove(&lease.key);
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self) {
        if self.alive.swap(false, Ordering::Relaxed) {
            hold(&self.shared.figures).deaths += 1;
        }
    }

    /// Nothing happens in a dead process; a living one takes its time.
    async fn lives(&self) {
        if !self.is_alive() {
            pending::<()>().await;
        }
        if self.shared.permille(|dangers| dangers.latency) {
            let pause = Duration::from_millis(1 + self.shared.below(400));
            self.shared.clock.sleep(pause).await;
            if !self.is_alive() {
                pending::<()>().await;
            }
        }
    }

    /// Before and after a write to the ledger. `what` names it in the figures.
    async fn writing<T>(
        &self,
        what: impl FnOnce() -> String,
        write: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        self.lives().await;
        let what = what();
        let due = self.due();
        if due == Some(Death::Before) || self.shared.permille(|dangers| dangers.die_before_write) {
            self.die_at(what, Death::Before);
            return pending().await;
        }
        if let Some(fault) = self.refused() {
            hold(&self.shared.figures).disk_faults += 1;
            return Err(by_chance(fault));
        }
        let done = write.await;
        if due == Some(Death::After) || self.shared.permille(|dangers| dangers.die_after_write) {
            self.die_at(what, Death::After);
            return pending().await;
        }
        if done.is_ok() && self.shared.permille(|dangers| dangers.lost_write) {
            hold(&self.shared.figures).lost_answers += 1;
            return Err(by_chance(StoreFault::Other));
        }
        done
    }

    /// Counts this write down; whether the process dies at it.
    fn due(&self) -> Option<Death> {
        let mut countdown = hold(&self.shared.countdown);
        match countdown.as_mut()? {
            (0, death) => {
                let death = *death;
                *countdown = None;
                Some(death)
            }
            (left, _) => {
                *left -= 1;
                None
            }
        }
    }

    fn die_at(&self, what: String, death: Death) {
        let mut figures = hold(&self.shared.figures);
        let deaths = figures.deaths_at.entry(what).or_default();
        match death {
            Death::Before => deaths.before += 1,
            Death::After => deaths.after += 1,
        }
        drop(figures);
        self.kill();
    }

    /// Why the disk does not take a write, if it does not.
    fn refused(&self) -> Option<StoreFault> {
        let outage = *hold(&self.shared.outage);
        if let Some((_, fault)) = outage.filter(|(end, _)| self.shared.clock.monotonic() < *end) {
            return Some(fault);
        }
        let by_chance = self.shared.permille(|dangers| dangers.disk);
        by_chance.then(|| self.shared.disk_fault())
    }
}

fn by_chance(fault: StoreFault) -> LedgerError {
    LedgerError::Store {
        store: "chaos".to_owned(),
        fault,
        source: Arc::new(std::io::Error::other("by chance")),
    }
}

/// The names of events that are stored together.
fn names(events: &[Event]) -> String {
    let names: Vec<&str> = events.iter().map(Event::name).collect();
    names.join(" + ")
}

#[async_trait]
impl Ledger for Process {
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let admit = async {
            let admission = self.shared.ledger.admit(key, received, at).await?;
            if let Admission::New(id) = admission {
                self.stored(id, 1);
            }
            Ok(admission)
        };
        self.writing(|| "admit".to_owned(), admit).await
    }
    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let (what, count) = (names(&events), events.len());
        let append = async {
            let head = self.shared.ledger.append(id, expected, events, at).await?;
            self.stored(id, count);
            Ok(head)
        };
        self.writing(|| what, append).await
    }
    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        self.lives().await;
        self.shared.ledger.entries(id).await
    }
    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        self.lives().await;
        self.shared.ledger.record(id).await
    }
    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        self.lives().await;
        self.shared.ledger.query(query).await
    }
    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        self.lives().await;
        self.shared.ledger.counts(query).await
    }
    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        self.lives().await;
        self.shared
            .ledger
            .attempts(account, resource_id, remediation, since)
            .await
    }
    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let lock = self.shared.ledger.lock(key, owner, work, ttl, now);
        let lock = self.writing(|| "lock".to_owned(), lock).await?;
        if let Lock::Taken(lease) = &lock {
            let holder = (self.number, lease.token);
            hold(&self.shared.locks).insert(lease.key.clone(), holder);
        }
        Ok(lock)
    }
    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        let renew = self.shared.ledger.renew(lease, ttl, now);
        let renewed = self.writing(|| "renew".to_owned(), renew).await;
        if renewed.is_err() {
            self.lets_go(lease);
        }
        renewed
    }
    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError> {
        self.lets_go(lease);
        let unlock = self.shared.ledger.unlock(lease, left, now);
        self.writing(|| "unlock".to_owned(), unlock).await
    }
    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        self.writing(|| "bury".to_owned(), self.shared.ledger.bury(letter, at))
            .await
    }
    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        self.shared.ledger.dead_letters(limit).await
    }
    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        self.shared.ledger.dead_letter(id).await
    }
    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.shared.ledger.remove_dead_letter(id).await
    }
    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        self.writing(
            || "expire".to_owned(),
            self.shared.ledger.expire(id, by, reason, at),
        )
        .await
    }
    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        self.shared.ledger.slice(after, size).await
    }
    async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.shared.ledger.head().await
    }
    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        self.shared.ledger.tile(level, index, size).await
    }
    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.shared.ledger.links(leaves).await
    }
    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        self.shared.ledger.leaf(id, seq).await
    }
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        self.writing(|| "keep".to_owned(), self.shared.ledger.keep(checkpoint))
            .await
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        self.shared.ledger.checkpoints().await
    }
}

#[async_trait]
impl Directives for Process {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        self.lives().await;
        if self.shared.permille(|dangers| dangers.disk) {
            return Err(by_chance(StoreFault::Busy));
        }
        self.shared.ledger.directives().await
    }
    async fn give(&self, given: Given) -> Result<bool, LedgerError> {
        self.writing(|| "directive".to_owned(), self.shared.ledger.give(given))
            .await
    }
}

#[async_trait]
impl Sessions for Process {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        self.lives().await;
        Ok(Arc::new(Line {
            process: self.clone(),
            api: self.shared.aws.open(scope).await?,
            scope: scope.clone(),
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.shared.aws.role_arn(scope)
    }
}

/// A process's line to AWS.
#[derive(Clone)]
struct Line {
    process: Process,
    api: Arc<dyn Api>,
    scope: Scope,
}

impl Line {
    /// The call has its effect, and is noted down.
    async fn arrive(&self, call: &Call, locked: bool, late: bool) -> Result<Reply, CallError> {
        let shared = &self.process.shared;
        let write = crate::is_write(call);
        let look = async || {
            shared
                .bucket(&self.scope.account, &self.scope.region, bucket(call))
                .await
        };
        let before = if write { look().await } else { Value::Null };
        let answer = self.api.call(call).await;
        let effective = write && look().await != before;
        hold(&shared.sent).push(Sent {
            session: self.scope.session_name.clone(),
            call: call.clone(),
            write,
            process: self.process.number,
            locked,
            late,
            before,
            effective,
            at: shared.clock.monotonic(),
            order: shared.next(),
        });
        answer
    }
}

#[async_trait]
impl Api for Line {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        self.process.lives().await;
        let shared = &self.process.shared;
        let write = crate::is_write(call);
        let locked = self.process.holds(bucket(call));
        let fails = |kind| Err(CallError::new(kind, call, "by chance"));
        if !shared.permille(|dangers| {
            if write {
                dangers.bad_write
            } else {
                dangers.bad_read
            }
        }) {
            let answer = self.arrive(call, locked, false).await;
            self.process.lives().await;
            return answer;
        }
        hold(&shared.figures).aws_faults += 1;
        match shared.below(if write { 8 } else { 3 }) {
            0 => fails(CallErrorKind::Throttled),
            1 => fails(CallErrorKind::Server),
            2 => fails(CallErrorKind::Unanswered),
            3 => fails(CallErrorKind::Denied),
            // It was carried out; the answer does not arrive.
            4 => {
                let _ = self.arrive(call, locked, false).await;
                fails(CallErrorKind::Unanswered)
            }
            5 => {
                let _ = self.arrive(call, locked, false).await;
                fails(CallErrorKind::Server)
            }
            // The caller gives up first.
            6 => {
                let (line, late) = (self.clone(), call.clone());
                let delay = Duration::from_millis(1 + shared.below(4_000));
                hold(&shared.figures).late_effects += 1;
                tokio::spawn(async move {
                    line.process.shared.clock.sleep(delay).await;
                    let _ = line.arrive(&late, locked, true).await;
                });
                fails(CallErrorKind::Unanswered)
            }
            // The process dies while the answer is on its way.
            _ => {
                let _ = self.arrive(call, locked, false).await;
                self.process.kill();
                pending().await
            }
        }
    }
}
