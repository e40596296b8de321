//! A ledger in memory: for tests and dry runs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_types::AccountId;

use crate::{
    Admission, Attempts, Checkpoint, Cursor, DeadLetter, Digest, Directives, Entry, Event, Given,
    Head, IdempotencyKey, Lease, Ledger, LedgerError, Left, Letter, Lock, Order, Page, Query,
    Received, Record, RemediationId, Scope, Slice, State, Status, Told, TreeHead,
    chain::{Header, to_millisecond},
    ledger::a_day_before,
    merkle::{Tree, tile_width},
};

/// Keeps everything in memory, for as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In order of admission.
    chains: Vec<Chain>,
    by_id: HashMap<RemediationId, usize>,
    locks: HashMap<String, Lease>,
    /// How those left it who had a lock.
    left: HashMap<String, LeftBehind>,
    /// The last lease's token.
    token: u64,
    dead_letters: BTreeMap<(Timestamp, Digest), DeadLetter>,
    directives: Vec<Given>,
    tree: Tree,
    tiles: BTreeMap<(u8, u64), Vec<Digest>>,
    /// Where each leaf is: which chain, which of its events.
    leaves: Vec<(usize, usize)>,
    /// By size, and how many orders there were.
    checkpoints: BTreeMap<(u64, u64), Checkpoint>,
}

/// How a resource was left.
#[derive(Debug, Default)]
struct LeftBehind {
    /// When a lock on it was given back last.
    freed: Option<Timestamp>,
    /// What was worked on under it, and has not ended.
    open: BTreeSet<RemediationId>,
}

#[derive(Debug)]
struct Chain {
    id: RemediationId,
    entries: Vec<Stored>,
    state: State,
}

/// An event, until it expires.
#[derive(Debug)]
struct Stored {
    header: Header,
    event: Option<Event>,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every change of `Inner` is made by one statement after all that can fail, so that a panic of
    /// another thread leaves nothing half done.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn chain(&self, id: RemediationId) -> Result<&Chain, LedgerError> {
        self.by_id
            .get(&id)
            .and_then(|&index| self.chains.get(index))
            .ok_or(LedgerError::NotFound(id))
    }

    /// Puts new events, with the hashes of their leaves, behind those of a chain.
    fn extend(&mut self, index: usize, new: Vec<(Stored, Digest)>, state: State) {
        let Some(chain) = self.chains.get_mut(index) else {
            return;
        };
        for (stored, leaf) in new {
            self.leaves.push((index, chain.entries.len()));
            chain.entries.push(stored);
            self.tree.push(leaf);
        }
        chain.state = state;
        for tile in self.tree.take_changed() {
            self.tiles.insert((tile.level, tile.index), tile.hashes);
        }
    }

    fn matching<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = (usize, &'a Chain)> {
        let matches = |state: &State| {
            let State { received, at, .. } = state;
            let in_scope = match &query.scope {
                Scope::All => true,
                Scope::Unfinished => !state.status.is_final(),
                Scope::Account(account) => received.account == *account,
                Scope::Resource(resource) => received.resource_id == *resource,
                Scope::Finding(finding) => received.finding_id == *finding,
            };
            in_scope
                && query.from.is_none_or(|from| *at >= from)
                && query.until.is_none_or(|until| *at < until)
                && query.status.is_none_or(|status| state.status == status)
        };
        self.chains
            .iter()
            .enumerate()
            .filter(move |(_, chain)| matches(&chain.state))
    }
}

impl Chain {
    fn record(&self) -> Record {
        let last = self.entries.last();
        let updated_at = last.map_or(self.state.at, |stored| stored.header.at);
        Record::project(self.id, &self.state, self.entries.len() as u64, updated_at)
    }
}

fn digest(event: &Event) -> Result<Digest, LedgerError> {
    Digest::of(event).map_err(LedgerError::encode)
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let id = key.remediation_id();
        let at = to_millisecond(at);
        let state = State::admitted(Arc::clone(&received), at);
        let event = Event::Received(Received::clone(&received).into());
        let body = digest(&event)?;
        let mut inner = self.inner();
        if inner.by_id.contains_key(&id) {
            return Ok(Admission::Duplicate(id));
        }
        let index = inner.chains.len();
        inner.by_id.insert(id, index);
        let (header, leaf) = Header::seal(id, 0, at, Digest::ZERO, body, inner.tree.size());
        let first = Stored {
            header,
            event: Some(event),
        };
        inner.chains.push(Chain {
            id,
            entries: Vec::new(),
            state: state.clone(),
        });
        inner.extend(index, vec![(first, leaf)], state);
        Ok(Admission::New(id))
    }

    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let at = to_millisecond(at);
        let mut inner = self.inner();
        let chain = inner.chain(id)?;
        let found = chain.entries.len() as u64;
        if found != expected {
            return Err(LedgerError::Conflict {
                id,
                expected,
                found,
            });
        }
        let mut state = chain.state.clone();
        let last = chain.entries.last();
        let mut prev = last.map_or(Digest::ZERO, |last| last.header.hash);
        let mut new = Vec::with_capacity(events.len());
        for (seq, event) in (0..).zip(events) {
            state = state
                .apply(&event, at)
                .map_err(|source| LedgerError::Illegal { id, source })?;
            let leaf = inner.tree.size() + seq;
            let (header, leaf) = Header::seal(id, found + seq, at, prev, digest(&event)?, leaf);
            prev = header.hash;
            let event = Some(event);
            new.push((Stored { header, event }, leaf));
        }
        let events = found + new.len() as u64;
        if let Some(index) = inner.by_id.get(&id).copied() {
            inner.extend(index, new, state);
        }
        Ok(Head { events, hash: prev })
    }

    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        let inner = self.inner();
        let entry = |Stored { header, event }: &Stored| {
            let event = event.clone().ok_or(LedgerError::Expired(id))?;
            Ok(header.with(event))
        };
        inner.chain(id)?.entries.iter().map(entry).collect()
    }

    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        Ok(self.inner().chain(id)?.record())
    }

    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        let inner = self.inner();
        let mut rows: Vec<(Timestamp, usize, &Chain)> = inner
            .matching(query)
            .map(|(index, chain)| (chain.state.at, index, chain))
            .collect();
        rows.sort_unstable_by_key(|(at, index, _)| (*at, *index));
        if query.order == Order::Newest {
            rows.reverse();
        }
        if let Some(cursor) = &query.cursor {
            let (at, index) = cursor.position()?;
            let after = rows.iter().position(|(row_at, row, _)| {
                let row = (row_at.as_millisecond(), *row as i64);
                match query.order {
                    Order::Oldest => row > (at, index),
                    Order::Newest => row < (at, index),
                }
            });
            rows.drain(..after.unwrap_or(rows.len()));
        }
        let more = rows.len() > query.page_size();
        rows.truncate(query.page_size());
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(at, index, _)| Cursor::at(at.as_millisecond(), *index as i64));
        let records = rows.iter().map(|(.., chain)| chain.record()).collect();
        Ok(Page { records, next })
    }

    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        let mut counts = BTreeMap::new();
        for (_, chain) in self.inner().matching(query) {
            *counts.entry(chain.state.status).or_default() += 1;
        }
        Ok(counts)
    }

    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        let mut attempts = Attempts::default();
        for (_, Chain { state, .. }) in self.inner().matching(&Query::resource(resource_id)) {
            if state.received.account == *account
                && state.received.remediation == remediation
                && state.begun.is_some_and(|at| at >= since)
            {
                attempts.count += 1;
                attempts.last = attempts.last.max(state.begun);
            }
        }
        Ok(attempts)
    }

    async fn begun(
        &self,
        since: Timestamp,
        _now: Timestamp,
        _known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        let since = a_day_before(since);
        let inner = self.inner();
        let begun = inner
            .chains
            .iter()
            .filter(|chain| chain.state.begun.is_some_and(|at| at >= since));
        Ok(begun.map(Chain::record).collect())
    }

    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let mut inner = self.inner();
        if let Some(lease) = inner.locks.get(key).filter(|lease| lease.expires > now) {
            return Ok(Lock::Busy {
                owner: lease.owner.clone(),
                expires: lease.expires,
            });
        }
        inner.token += 1;
        let left = inner.left.entry(key.to_owned()).or_default();
        let is_alone = left.open.iter().all(|open| *open == work);
        left.open.insert(work);
        let quiet_since = left.freed.unwrap_or(Timestamp::MIN);
        let lease = Lease {
            key: key.to_owned(),
            owner: owner.to_owned(),
            token: inner.token,
            expires: Lease::end(now, ttl),
            work,
            quiet_since: is_alone.then_some(quiet_since),
        };
        inner.locks.insert(key.to_owned(), lease.clone());
        Ok(Lock::Taken(lease))
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        let mut inner = self.inner();
        let held = inner
            .locks
            .get_mut(&lease.key)
            .filter(|held| held.token == lease.token && held.expires > now)
            .ok_or_else(|| LedgerError::LeaseLost(lease.key.clone()))?;
        held.expires = Lease::end(now, ttl);
        Ok(held.clone())
    }

    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError> {
        let mut inner = self.inner();
        let held = inner.locks.get(&lease.key);
        if held.is_none_or(|held| held.token != lease.token) {
            return Ok(());
        }
        inner.locks.remove(&lease.key);
        let behind = inner.left.entry(lease.key.clone()).or_default();
        behind.freed = Some(to_millisecond(now));
        if left == Left::Settled {
            behind.open.remove(&lease.work);
        }
        Ok(())
    }

    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        let id = letter.id();
        let at = to_millisecond(at);
        let mut inner = self.inner();
        let before = inner
            .dead_letters
            .iter()
            .find(|((_, other), _)| *other == id)
            .map(|(key, dead)| (*key, dead.times));
        if let Some((key, _)) = before {
            inner.dead_letters.remove(&key);
        }
        let dead = DeadLetter {
            id,
            at,
            times: before.map_or(1, |(_, times)| times + 1),
            letter,
        };
        inner.dead_letters.insert((at, id), dead);
        Ok(id)
    }

    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        let inner = self.inner();
        Ok(inner
            .dead_letters
            .values()
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        let inner = self.inner();
        Ok(inner
            .dead_letters
            .values()
            .find(|dead| dead.id == id)
            .cloned())
    }

    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        let mut inner = self.inner();
        let before = inner.dead_letters.len();
        inner.dead_letters.retain(|_, dead| dead.id != id);
        Ok(inner.dead_letters.len() < before)
    }

    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let (chain, event) = {
            let inner = self.inner();
            let chain = inner.chain(id)?;
            if chain.state.expired {
                return Err(LedgerError::Expired(id));
            }
            let event = Event::expired(id, &chain.state, by, reason);
            (chain.entries.len() as u64, event)
        };
        let head = self.append(id, chain, vec![event], at).await?;
        let mut inner = self.inner();
        let index = inner.by_id.get(&id).copied();
        if let Some(chain) = index.and_then(|index| inner.chains.get_mut(index)) {
            let (_, before) = chain
                .entries
                .split_last_mut()
                .ok_or(LedgerError::NotFound(id))?;
            before.iter_mut().for_each(|stored| stored.event = None);
            chain.state.forget();
        }
        Ok(head)
    }

    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        let inner = self.inner();
        let mut slice = Slice::default();
        let chains = (1..).zip(&inner.chains);
        for (row, chain) in chains.skip(after as usize).take(256) {
            let mut told = Told::new(chain.record());
            for Stored { header, event } in &chain.entries {
                if header.leaf < size {
                    let text = event.as_ref().map(serde_json::to_string).transpose();
                    told.push(header, text.map_err(LedgerError::encode)?.as_deref());
                }
            }
            slice.next = Some(row);
            slice.told.push(told);
        }
        Ok(slice)
    }

    async fn head(&self) -> Result<TreeHead, LedgerError> {
        let Inner { tree, leaves, .. } = &*self.inner();
        Ok(TreeHead {
            size: tree.size(),
            root: tree.root(),
            events: leaves.len() as u64,
        })
    }

    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        let inner = self.inner();
        let mut hashes = inner
            .tiles
            .get(&(level, index))
            .cloned()
            .unwrap_or_default();
        hashes.truncate(tile_width(level, index, size));
        Ok(hashes)
    }

    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        let inner = self.inner();
        let end = leaves.end.min(inner.leaves.len() as u64) as usize;
        let places = inner.leaves.get(leaves.start as usize..end);
        let link = |(chain, seq): &(usize, usize)| {
            let stored = inner.chains.get(*chain)?.entries.get(*seq)?;
            Some(stored.header.link())
        };
        Ok(places.unwrap_or_default().iter().filter_map(link).collect())
    }

    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        let inner = self.inner();
        let stored = inner.chain(id)?.entries.get(seq as usize);
        let stored = stored.ok_or(LedgerError::NoEvent { id, seq })?;
        Ok(stored.header.leaf)
    }

    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        let mut inner = self.inner();
        let kept = inner
            .checkpoints
            .entry((checkpoint.size, checkpoint.orders.count));
        kept.or_insert_with(|| checkpoint.clone());
        Ok(())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        Ok(self.inner().checkpoints.values().cloned().collect())
    }
}

#[async_trait]
impl Directives for MemoryLedger {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        Ok(self.inner().directives.clone())
    }

    async fn give(&self, given: Given) -> Result<bool, LedgerError> {
        let mut inner = self.inner();
        let last = inner.directives.last();
        let follows = given.seq == inner.directives.len() as u64
            && given.prev == last.map_or(Digest::ZERO, |last| last.hash);
        if follows {
            inner.directives.push(given);
        }
        Ok(follows)
    }
}
