//! A ledger in DynamoDB: the audit table, which is only ever added to, and a state table beside it for
//! what changes in place.
//!
//! An append is one request: an item of the audit table with a condition on its key (`chain.rs`). A
//! remediation that is not settled stands in the state table as open; whoever sweeps gives its events
//! their places in the tree (`tree.rs`) and closes it. Nothing needs a transaction, and a process may
//! die between any two requests.

mod chain;
mod directives;
mod index;
mod item;
mod lock;
mod restore;
mod store;
mod stream;
mod tree;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_types::{AccountId, Api};

use self::{
    chain::{End, first_event},
    item::Item,
    store::{Put, Store},
    tree::Passes,
};
pub use self::{
    restore::{Copy, Restored},
    stream::{Streamed, stream},
};
use crate::{
    Admission, Attempts, Break, Checkpoint, DeadLetter, Digest, Entry, Event, Head, IdempotencyKey,
    Lease, Ledger, LedgerError, Left, Letter, Lock, Page, Query, Received, Record, RemediationId,
    Slice, State, Status, TreeHead, chain::to_millisecond, verify::Fault,
};

/// The partition of the state table in which open remediations stand. It takes 1,000 admissions a second
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>),
/// and is read with one request.
const OPEN: &str = "open";

/// Ends of chains that are remembered.
const REMEMBERED: usize = 1_024;

/// Requests at the same time.
const AT_ONCE: usize = 16;

/// A remediation that is final stays open for so long, so that what follows at once, as people being
/// told, need not open it again.
const SETTLES: Duration = Duration::from_mins(15);

/// How long events are kept from admission on, by the catalog's name of their remediation.
#[derive(Clone)]
pub struct Retention(Arc<dyn Fn(&str) -> Duration + Send + Sync>);

impl Retention {
    /// As `kept` says of each remediation.
    #[must_use]
    pub fn by(kept: impl Fn(&str) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(kept))
    }

    /// All of them for so many days.
    #[must_use]
    pub fn days(days: u16) -> Self {
        Self::by(move |_| Duration::from_hours(24 * u64::from(days)))
    }

    /// How long what is known of this remediation is kept.
    #[must_use]
    pub fn of(&self, remediation: &str) -> Duration {
        (self.0)(remediation)
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retention")
    }
}

/// Where the ledger is.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The audit table: `RemediationId` and `Timestamp`.
    pub audit: String,
    /// The state table: `Key` and `Item`.
    pub state: String,
    /// The bucket for contents that an item cannot hold.
    pub bucket: Option<String>,
    /// How long events are kept. What was once stored of a remediation says until when all of it is.
    pub retention: Retention,
}

/// Keeps everything in two tables, which any number of processes may use at once.
pub struct DynamoLedger {
    store: Store,
    ends: Mutex<HashMap<RemediationId, End>>,
    passes: Passes,
}

impl fmt::Debug for DynamoLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamoLedger")
            .field(&self.store.tables)
            .finish()
    }
}

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Events that got their places in the tree.
    pub sequenced: u64,
    /// Remediations that were closed.
    pub closed: u64,
    /// Remediations that are still open.
    pub open: u64,
    /// What was met that is not what was written, each remediation once: that held up nothing else.
    pub broken: Vec<Break>,
}

impl DynamoLedger {
    /// The ledger in these tables, which are there already.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, tables: Tables) -> Self {
        Self {
            store: Store { api, tables },
            ends: Mutex::default(),
            passes: Passes::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.store.tables
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<RemediationId, End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: RemediationId, end: End) {
        let mut ends = self.ends();
        if ends.len() >= REMEMBERED {
            ends.clear();
        }
        ends.insert(id, end);
    }

    /// The end of a chain of `expected` events. That it had so many once is enough: an item that would
    /// follow on them has the same key as any other that does.
    async fn end(&self, id: RemediationId, expected: u64) -> Result<End, LedgerError> {
        let known = self.ends().get(&id).cloned();
        if let Some(known) = known.filter(|known| known.events == expected) {
            return Ok(known);
        }
        let chain = self.chain(id).await?;
        let found = chain.len();
        if found != expected {
            return Err(LedgerError::Conflict {
                id,
                expected,
                found,
            });
        }
        chain.end()
    }

    /// Opens a remediation again, unless it is known to be open.
    async fn reopen(&self, id: RemediationId, end: &End, at: Timestamp) -> Result<(), LedgerError> {
        let quiet = at.duration_since(end.updated_at);
        let settled = quiet.is_negative() || quiet.unsigned_abs() >= SETTLES / 3;
        if !end.state.status.is_final() || !settled {
            return Ok(());
        }
        let received = &end.state.received;
        let item = self.open_item(id, end.at, received, None, at).await?;
        self.store.put(&self.store.tables.state, &item).await
    }

    async fn store(
        &self,
        id: RemediationId,
        end: End,
        events: &[Event],
        at: Timestamp,
        forget: bool,
    ) -> Result<Head, LedgerError> {
        let expected = end.events;
        let (new, mut state) = Self::seal(id, &end, events, at)?;
        let Some(last) = new.last().map(|new| new.header) else {
            return Ok(Head {
                events: expected,
                hash: end.hash,
            });
        };
        // What is about to be removed with its time is not added to.
        let until = self.store.tables.until(&end);
        if !forget && at >= until {
            return Err(LedgerError::Expired(id));
        }
        self.reopen(id, &end, at).await?;
        let head = Head {
            events: last.seq + 1,
            hash: last.hash,
        };
        if forget {
            state.forget();
        }
        let left = forget.then(|| Record::project(id, &state, head.events, last.at));
        match self.extend(id, &end, new, &state, left.as_ref()).await? {
            Put::Done => {
                let end = End {
                    at: end.at,
                    until: Some(until),
                    state,
                    events: head.events,
                    hash: head.hash,
                    updated_at: last.at,
                    first: None,
                };
                match forget {
                    true => drop(self.ends().remove(&id)),
                    false => self.remember(id, end),
                }
                Ok(head)
            }
            Put::Refused => {
                self.ends().remove(&id);
                let found = self.chain(id).await?.len();
                Err(LedgerError::Conflict {
                    id,
                    expected,
                    found,
                })
            }
        }
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let (id, at) = (key.remediation_id(), to_millisecond(at));
        // One that was closed is no longer among the open ones.
        if self.has_rows(id).await? {
            return Ok(Admission::Duplicate(id));
        }
        let event = first_event(&received);
        let item = self.open_item(id, at, &received, Some(&event), at).await?;
        match self.store.create(&self.store.tables.state, item).await? {
            Put::Refused => Ok(Admission::Duplicate(id)),
            Put::Done => {
                let chain = self.written(id, at, event)?;
                self.remember(id, chain.end()?);
                Ok(Admission::New(id))
            }
        }
    }

    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let end = self.end(id, expected).await?;
        self.store(id, end, &events, at, false).await
    }

    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        let chain = self.chain(id).await?;
        let events = chain.events()?;
        let leaves = self.leaves(&chain).await?;
        let headers = chain.headers.iter().zip(leaves);
        let entries = headers.zip(events).map(|((header, leaf), event)| {
            let header = crate::chain::Header { leaf, ..*header };
            header.with(event)
        });
        Ok(entries.collect())
    }

    async fn events(&self, id: RemediationId) -> Result<Vec<(Event, Timestamp)>, LedgerError> {
        let chain = self.chain(id).await?;
        let times = chain.headers.iter().map(|header| header.at);
        let events = chain.events()?.into_iter().zip(times).collect();
        // Whoever reads all of it mostly appends to it.
        self.remember(id, chain.end()?);
        Ok(events)
    }

    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        self.chain(id).await?.record()
    }

    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        self.page(query).await
    }

    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        let mut counts = BTreeMap::new();
        let mut query = query.clone().limit(Query::MAX_LIMIT);
        query.cursor = None;
        loop {
            let page = self.page(&query).await?;
            for record in page.records {
                *counts.entry(record.status).or_default() += 1;
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return Ok(counts),
            }
        }
    }

    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        self.started(account, resource_id, remediation, since).await
    }

    async fn begun(
        &self,
        since: Timestamp,
        now: Timestamp,
        known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        self.begun_since(since, now, known).await
    }

    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        self.take(key, owner, work, ttl, now).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        self.hold(lease, ttl, now).await
    }

    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError> {
        self.give_back(lease, left, now).await
    }

    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        self.keep_letter(letter, to_millisecond(at)).await
    }

    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        let mut letters = self.letters().await?;
        letters.truncate(limit as usize);
        Ok(letters)
    }

    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        self.letter(id).await
    }

    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.remove_letter(id).await
    }

    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let chain = self.chain(id).await?;
        if chain.left.is_some() {
            // Whoever began it may have died over it.
            self.scrub(&chain).await?;
            return Err(LedgerError::Expired(id));
        }
        let end = chain.end()?;
        let event = Event::expired(id, &end.state, by, reason);
        let head = self.store(id, end, &[event], at, true).await?;
        self.scrub(&self.chain(id).await?).await?;
        self.forget_finding(&chain.record()?).await?;
        Ok(head)
    }

    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        self.told(after, size).await
    }

    async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.sequenced().await
    }

    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        self.hashes_of(level, index, size).await
    }

    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.stored_links(leaves).await
    }

    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        let chain = self.chain(id).await?;
        let leaves = self.leaves(&chain).await?;
        let leaf = usize::try_from(seq).ok().and_then(|seq| leaves.get(seq));
        leaf.copied().ok_or(LedgerError::NoEvent { id, seq })
    }

    async fn strays(&self, size: u64) -> Result<Vec<Fault>, LedgerError> {
        self.astray(size).await
    }

    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        let Checkpoint { size, orders, .. } = checkpoint;
        let name = match orders.count {
            0 => format!("{size:016}"),
            count => format!("{size:016}-{count:010}"),
        };
        let item = Item::key(CHECKPOINT, &name).with("Note", item::s(checkpoint.as_note()));
        // One of that size and so many orders is there already, and stays.
        self.store.create(&self.store.tables.state, item).await?;
        Ok(())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        let items = self.store.under(CHECKPOINT, "0", "9").await?;
        let read = |item: &Item| {
            let name = item.text("Item").unwrap_or_default();
            let size = name.split('-').next().and_then(|size| size.parse().ok());
            let size = size.unwrap_or_default();
            let checkpoint = item.text("Note").and_then(|note| note.parse().ok());
            checkpoint
                .filter(|checkpoint: &Checkpoint| checkpoint.size == size)
                .ok_or(LedgerError::BadCheckpoint(size))
        };
        items.iter().map(read).collect()
    }

    async fn state(&self, id: RemediationId) -> Result<(State, u64), LedgerError> {
        let end = self.chain(id).await?.end()?;
        let events = end.events;
        self.remember(id, end.clone());
        Ok((end.state, events))
    }
}

/// The partition of what the tree was, as it was signed.
const CHECKPOINT: &str = "checkpoint";
