//! The port: where remediations are kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_types::AccountId;

use crate::{
    Break, Checkpoint, Digest, Directives, Entry, Event, Given, IdempotencyKey, LedgerError,
    Orders, Received, Record, RemediationId, Signer, State, Status,
    chain::{Header, to_millisecond},
    merkle::Needed,
    verify::Fault,
};

/// Keeps remediations. Whatever a method acknowledged survives the process and, where the store is
/// durable, the machine.
///
/// Several processes may use one store at once.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Admits the work named by `key`, once: of any number of concurrent calls with one key, in any
    /// number of processes, exactly one gets [`Admission::New`].
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError>;

    /// Appends `events`, all or none, to a remediation that has `expected` events so far.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] if it has another number of events, [`LedgerError::Illegal`] if one
    /// cannot follow.
    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError>;

    /// All events of a remediation, in order.
    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError>;

    /// What happened in a remediation, and when, in order.
    async fn events(&self, id: RemediationId) -> Result<Vec<(Event, Timestamp)>, LedgerError> {
        let entries = self.entries(id).await?.into_iter();
        Ok(entries.map(|entry| (entry.event, entry.at)).collect())
    }

    /// A remediation's row.
    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError>;

    /// The rows that `query` asks for, a page at a time.
    async fn query(&self, query: &Query) -> Result<Page, LedgerError>;

    /// How many rows `query` asks for (its cursor and limit aside), by status.
    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError>;

    /// How often `remediation` was started on a resource since then: what the attempt budget counts.
    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError>;

    /// What was begun since then, by anybody: what limits count. What was begun in the day before may be among
    /// it. The rows may lack what they say of people and resources, and one that is taken back may be told as
    /// it ended before. Those of `known` may be left out: the caller has seen them end.
    async fn begun(
        &self,
        since: Timestamp,
        _now: Timestamp,
        _known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        // What is begun may have waited. A store that keeps what it knows finds it however long that was.
        let mut query = Query::all()
            .between(Some(a_day_before(since)), None)
            .limit(Query::MAX_LIMIT);
        let mut begun = Vec::new();
        loop {
            let page = self.query(&query).await?;
            let records = page.records.into_iter();
            begun.extend(records.filter(|record| record.started_at.is_some()));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return Ok(begun),
            }
        }
    }

    /// Tries to take the lock `key` for `ttl`, to work on the remediation `work`. It does not wait, and a
    /// lock is not re-entrant.
    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError>;

    /// Holds a lock for `ttl` from now on.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] if it has run out, even if nobody has taken it.
    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError>;

    /// Gives a lock back. One that was lost is left alone.
    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError>;

    /// Keeps what could not be taken in, so that a person can look at it. The same letter is kept once.
    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError>;

    /// Dead letters, oldest first.
    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError>;

    /// A dead letter.
    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError>;

    /// Removes a dead letter; `false` if there is none.
    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError>;

    /// Removes the contents of all events of a remediation that has ended, and what its row says of
    /// people and resources; their hashes stay, and an `expired` event says who wanted it and why.
    ///
    /// # Errors
    /// [`LedgerError::Illegal`] if it has not ended, [`LedgerError::Expired`] if they are gone already.
    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError>;

    /// The next remediations behind row `after` (0 at first), in the order of admission, with those of
    /// their events that are among the first `size` of the ledger.
    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError>;

    /// The tree over all events, as it is stored.
    async fn head(&self) -> Result<TreeHead, LedgerError>;

    /// The hashes of a tile of the tree as it was with `size` leaves.
    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError>;

    /// What the hashes of these leaves are taken over: canonical JSON of version, remediation, number,
    /// time, predecessor and contents' hash.
    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError>;

    /// Which leaf of the tree event `seq` of a remediation is.
    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError>;

    /// What is wrong with what is stored beside the tree of `size` leaves: what nobody is about to put into it
    /// is no remediation.
    async fn strays(&self, _size: u64) -> Result<Vec<Fault>, LedgerError> {
        Ok(Vec::new())
    }

    /// Keeps a checkpoint of this ledger.
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError>;

    /// The checkpoints that were kept, by size and by how many orders there were.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError>;

    /// What a remediation has come to, with the number of its events.
    async fn state(&self, id: RemediationId) -> Result<(State, u64), LedgerError> {
        let events = self.events(id).await?;
        let state = State::fold(events.iter().map(|(event, at)| (event, *at)))
            .map_err(|source| LedgerError::Illegal { id, source })?
            .ok_or(LedgerError::NotFound(id))?;
        Ok((state, events.len() as u64))
    }

    /// Checks the chain of a remediation, and that its row says what its events say.
    ///
    /// # Errors
    /// [`LedgerError::Broken`] names the first event that does not hold.
    async fn verify(&self, id: RemediationId) -> Result<(), LedgerError> {
        // Read first: events that are appended in between are beyond it.
        let record = self.record(id).await?;
        let entries = self.entries(id).await?;
        Entry::verify(id, &entries)?;
        let broken = |seq, problem| LedgerError::Broken(Break { id, seq, problem });
        let known = usize::try_from(record.events).unwrap_or(usize::MAX);
        let Some(entries) = entries.get(..known) else {
            return Err(broken(entries.len() as u64, "is missing"));
        };
        let state = State::fold(entries.iter().map(|entry| (&entry.event, entry.at)))
            .map_err(|source| LedgerError::Illegal { id, source })?
            .ok_or(LedgerError::NotFound(id))?;
        let at = entries.last().map_or(state.at, |last| last.at);
        if Record::project(id, &state, record.events, at) == record {
            Ok(())
        } else {
            Err(broken(
                record.events - 1,
                "does not agree with the remediation's row",
            ))
        }
    }

    /// The hashes that `needed` stands for, in the tree as it was with `size` leaves.
    async fn hashes(&self, needed: &Needed, size: u64) -> Result<Vec<Digest>, LedgerError> {
        let mut tiles = HashMap::new();
        for (level, index) in needed.tiles() {
            tiles.insert((level, index), self.tile(level, index, size).await?);
        }
        let tile = |place| tiles.get(&place).map(Vec::as_slice);
        needed.hashes(tile).ok_or(LedgerError::Tree(size))
    }

    /// The root of the tree as it was with `size` leaves.
    async fn root(&self, size: u64) -> Result<Digest, LedgerError> {
        let hashes = self.hashes(&Needed::root(size), size).await?;
        hashes.first().copied().ok_or(LedgerError::Tree(size))
    }

    /// Remediations that recovery has to look at, oldest first, all of them.
    async fn unfinished(&self) -> Result<Vec<Record>, LedgerError> {
        let mut query = Query::unfinished();
        let mut found = Vec::new();
        loop {
            let page = self.query(&query).await?;
            found.extend(page.records);
            match page.next {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(found),
            }
        }
    }
}

/// What was begun so long before may have ended only now.
pub(crate) fn a_day_before(at: Timestamp) -> Timestamp {
    at.saturating_sub(Duration::from_hours(24)).unwrap_or(at)
}

/// A ledger with the orders beside it: the whole of what is signed.
#[async_trait]
pub trait Store: Ledger + Directives {
    /// Signs the tree and the orders as they are and keeps that. What would contradict an earlier
    /// checkpoint is not signed.
    ///
    /// # Errors
    /// [`LedgerError::Rewritten`] and [`LedgerError::OrdersRewritten`]: the ledger is not an extension of
    /// its last checkpoint.
    async fn checkpoint(&self, signer: &dyn Signer) -> Result<Checkpoint, LedgerError> {
        let kept = self.checkpoints().await?;
        let given = self.directives().await?;
        let TreeHead { size, root, events } = self.head().await?;
        if size != events {
            return Err(LedgerError::Tree(size));
        }
        if let Some(order) = Given::broken(&given) {
            return Err(LedgerError::Order(order));
        }
        let signed = kept.iter().map(|kept| kept.orders).max();
        if let Some(signed) = signed.filter(|signed| !signed.begin(&given)) {
            return Err(LedgerError::OrdersRewritten(signed.count));
        }
        let orders = Orders::of(&given);
        if let Some(last) = kept.last() {
            if last.size > size || self.root(last.size).await? != last.root {
                return Err(LedgerError::Rewritten(last.size));
            }
            if (last.size, last.orders) == (size, orders) && last.is_signed_by(signer.key()) {
                return Ok(last.clone());
            }
        }
        let checkpoint = Checkpoint::sign(size, root, orders, signer).await?;
        self.keep(&checkpoint).await?;
        Ok(checkpoint)
    }
}

impl<S: Ledger + Directives> Store for S {}

/// The tree over all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Its leaves.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// Events that are there: as many as leaves, unless someone tampered with it.
    pub events: u64,
}

/// Some remediations, one after the other.
#[derive(Debug, Default)]
pub struct Slice {
    /// The remediations.
    pub told: Vec<Told>,
    /// After which row the next slice starts; `None` if this is empty.
    pub next: Option<u64>,
    /// What is wrong with those that cannot be told.
    pub lost: Vec<Fault>,
}

/// A remediation with its events as lines of an export.
#[derive(Debug)]
pub struct Told {
    /// Its row.
    pub record: Record,
    /// How many lines there are.
    pub events: u64,
    lines: Vec<u8>,
    /// What the store has found to be wrong with it, beside what its lines say.
    pub(crate) faults: Vec<Fault>,
    /// Its chain cannot be followed: the lines are what the tree has, with what is left of the contents.
    pub(crate) is_broken: bool,
    /// The row tells of events already that are not among the lines, because they came later.
    pub(crate) is_ahead: bool,
}

impl Told {
    pub(crate) const fn new(record: Record) -> Self {
        Self {
            record,
            events: 0,
            lines: Vec::new(),
            faults: Vec::new(),
            is_broken: false,
            is_ahead: false,
        }
    }

    pub(crate) fn push(&mut self, header: &Header, event: Option<&str>) {
        header.write_line(event, &mut self.lines);
        self.events += 1;
    }

    /// A line of JSON per event.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Its contents are gone, and the event that says why is not among the lines: it came later.
    pub(crate) const fn is_overtaken(&self) -> bool {
        self.record.expired && !self.is_broken && self.events < self.record.events
    }

    /// Its next event is not among the first `size` of the ledger.
    pub(crate) async fn goes_on_behind(&self, ledger: &dyn Ledger, size: u64) -> bool {
        self.is_ahead || {
            let next = ledger.leaf(self.record.remediation_id, self.events).await;
            next.is_ok_and(|leaf| leaf >= size)
        }
    }

    /// The numbers of these events among all of the ledger.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = u64> {
        let text = std::str::from_utf8(&self.lines).unwrap_or_default();
        let lines = text.split_terminator('\n').filter_map(Header::parse_line);
        lines.map(|(header, _)| header.leaf)
    }
}

/// Whether the work is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is, and the caller's to do. It has one event.
    New(RemediationId),
    /// It was admitted before.
    Duplicate(RemediationId),
}

/// The end of a remediation's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many events it has: what the next append expects.
    pub events: u64,
    /// The last one's hash.
    pub hash: Digest,
}

/// Which remediations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those that are not final.
    Unfinished,
    /// Those in an account.
    Account(AccountId),
    /// Those of a resource, as findings name it.
    Resource(String),
    /// Those of a finding.
    Finding(String),
}

/// In which order of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Oldest,
    /// Newest first.
    Newest,
}

/// A question to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which remediations.
    pub scope: Scope,
    /// Admitted at or after.
    pub from: Option<Timestamp>,
    /// Admitted before.
    pub until: Option<Timestamp>,
    /// In this status.
    pub status: Option<Status>,
    /// In which order.
    pub order: Order,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// Rows on a page, 1 to 1,000.
    pub limit: u32,
}

impl Query {
    /// The most rows on a page.
    pub const MAX_LIMIT: u32 = 1_000;

    /// Everything in `scope`, newest first, 100 a page.
    #[must_use]
    pub const fn new(scope: Scope) -> Self {
        Self {
            scope,
            from: None,
            until: None,
            status: None,
            order: Order::Newest,
            cursor: None,
            limit: 100,
        }
    }

    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self::new(Scope::All)
    }

    /// What is not final, oldest first.
    #[must_use]
    pub const fn unfinished() -> Self {
        let mut query = Self::new(Scope::Unfinished);
        query.order = Order::Oldest;
        query.limit = Self::MAX_LIMIT;
        query
    }

    /// One account's.
    #[must_use]
    pub const fn account(account: AccountId) -> Self {
        Self::new(Scope::Account(account))
    }

    /// One resource's.
    #[must_use]
    pub fn resource(resource_id: impl Into<String>) -> Self {
        Self::new(Scope::Resource(resource_id.into()))
    }

    /// One finding's.
    #[must_use]
    pub fn finding(finding_id: impl Into<String>) -> Self {
        Self::new(Scope::Finding(finding_id.into()))
    }

    /// Only those admitted at or after `from` and before `until`.
    #[must_use]
    pub const fn between(mut self, from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        self.from = from;
        self.until = until;
        self
    }

    /// Only those in `status`.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// That many rows on a page.
    #[must_use]
    pub const fn limit(mut self, rows: u32) -> Self {
        self.limit = rows;
        self
    }

    /// `limit` within its bounds.
    pub(crate) fn page_size(&self) -> usize {
        self.limit.clamp(1, Self::MAX_LIMIT) as usize
    }
}

/// Where a page ended; to be handed back as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

impl Cursor {
    /// After the row that was admitted at `at` (milliseconds) as number `row`.
    pub(crate) fn at(at: i64, row: i64) -> Self {
        Self(format!("{at}.{row}"))
    }

    pub(crate) fn position(&self) -> Result<(i64, i64), LedgerError> {
        self.0
            .split_once('.')
            .and_then(|(at, row)| Some((at.parse().ok()?, row.parse().ok()?)))
            .ok_or_else(|| LedgerError::BadCursor(self.0.chars().take(64).collect()))
    }
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows.
    pub records: Vec<Record>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cursor>,
}

/// What the attempt budget is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Remediations that were started.
    pub count: u64,
    /// When the last one was.
    pub last: Option<Timestamp>,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lock's name.
    pub key: String,
    /// Who holds it.
    pub owner: String,
    /// Names the lease; a later one has a greater token.
    pub token: u64,
    /// Until when, unless it is renewed.
    pub expires: Timestamp,
    /// The remediation that it was taken for.
    pub work: RemediationId,
    /// Since when no other remediation was worked on under this lock, if none has left something open.
    /// `None`: the store does not know, and who wants to has to look at the others.
    pub quiet_since: Option<Timestamp>,
}

/// How somebody leaves what they had a lock on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Their remediation has ended.
    Settled,
    /// It has not: it waits in the middle, or something else goes on with it.
    Open,
}

impl Left {
    /// How a remediation in this status leaves it.
    #[must_use]
    pub const fn by(status: Status) -> Self {
        match status.is_final() {
            true => Self::Settled,
            false => Self::Open,
        }
    }
}

impl Lease {
    /// When a lease taken now for `ttl` ends.
    pub(crate) fn end(now: Timestamp, ttl: Duration) -> Timestamp {
        to_millisecond(now.saturating_add(ttl).unwrap_or(now))
    }
}

/// What came of trying to take a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// It is the caller's.
    Taken(Lease),
    /// Someone has it, at most until `expires` unless they renew it.
    Busy {
        /// Who.
        owner: String,
        /// Until when.
        expires: Timestamp,
    },
}

/// Something that could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Where it came from: `sqs`, `http`, a file's name.
    pub source: String,
    /// Why it could not be taken in.
    pub reason: String,
    /// As it came.
    pub body: String,
}

impl Letter {
    /// The hash of source and body: the same letter buried twice is one.
    pub(crate) fn id(&self) -> Digest {
        Digest::of_plain(&[&self.source, &self.body])
    }
}

/// A letter that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Names it.
    pub id: Digest,
    /// When it was buried, last.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// How often it came.
    pub times: u64,
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
}
