//! Ledgers that betray the hub.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_ledger::{
    Admission, Attempts, Checkpoint, DeadLetter, Digest, Entry, Event, Head, IdempotencyKey, Lease,
    Ledger, LedgerError, Left, Letter, Lock, Page, Query, Received, Record, RemediationId, Slice,
    Status, StoreFault, TreeHead,
};
use stanch_types::AccountId;

/// A ledger whose process dies: from the given write on, nothing is stored any more.
pub struct Dying {
    ledger: Arc<dyn Ledger>,
    left: AtomicUsize,
    /// The last write is stored, but nobody hears of it.
    unheard: bool,
    /// What somebody who can write its file makes of what was stored.
    forge: Option<Forge>,
    /// What somebody else appends right before the next write.
    sooner: Mutex<Vec<Event>>,
    /// Who is told of its writes.
    watch: Option<Watch>,
}

pub type Forge = Box<dyn Fn(&mut Event) + Send + Sync>;

/// Told of each write on the way of a remediation, right before it and right after it is stored: the names
/// of the events that it appends, or what else it does; and whether it is stored.
pub type Watch = Box<dyn Fn(&str, bool) + Send + Sync>;

impl Dying {
    /// One that dies after so many writes; whether the last one is stored and nobody hears of it.
    pub fn after(ledger: Arc<dyn Ledger>, left: usize, unheard: bool) -> Self {
        Self {
            ledger,
            left: AtomicUsize::new(left),
            unheard,
            forge: None,
            sooner: Mutex::default(),
            watch: None,
        }
    }

    /// One that does not die by itself, and tells `watch` of its writes.
    pub fn watched(ledger: Arc<dyn Ledger>, watch: Watch) -> Arc<Self> {
        Arc::new(Self {
            watch: Some(watch),
            ..Self::after(ledger, usize::MAX, false)
        })
    }

    /// One that does not die, and tells what `forge` makes of its events.
    pub fn forged(ledger: Arc<dyn Ledger>, forge: Forge) -> Arc<Self> {
        Arc::new(Self {
            forge: Some(forge),
            ..Self::after(ledger, usize::MAX, false)
        })
    }

    /// One that does not die, and that somebody else writes to first.
    pub fn shared(ledger: Arc<dyn Ledger>, sooner: Event) -> Arc<Self> {
        Arc::new(Self {
            sooner: Mutex::new(vec![sooner]),
            ..Self::after(ledger, usize::MAX, false)
        })
    }
}

impl Dying {
    fn dead() -> LedgerError {
        LedgerError::Store {
            store: "the test's".to_owned(),
            fault: StoreFault::Closed,
            source: Arc::new(std::io::Error::other("the process is dead")),
        }
    }

    fn spend(&self) -> Result<(), LedgerError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map(|_| ())
            .map_err(|_| Self::dead())
    }

    /// Writes under the eyes of `watch`.
    async fn seen<T>(
        &self,
        what: &str,
        write: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let tell = |is_stored| {
            if let Some(watch) = &self.watch {
                watch(what, is_stored);
            }
        };
        tell(false);
        let written = write.await?;
        tell(true);
        Ok(written)
    }
}

#[async_trait]
impl Ledger for Dying {
    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        self.spend()?;
        let sooner = std::mem::take(&mut *self.sooner.lock().unwrap());
        if !sooner.is_empty() {
            self.ledger.append(id, expected, sooner, at).await?;
        }
        let names: Vec<&str> = events.iter().map(Event::name).collect();
        let append = self.ledger.append(id, expected, events, at);
        let head = self.seen(&names.join(" "), append).await?;
        if self.unheard && self.left.load(Ordering::Relaxed) == 0 {
            Err(Self::dead())
        } else {
            Ok(head)
        }
    }
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let admit = self.ledger.admit(key, received, at);
        self.seen("received", admit).await
    }
    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.ledger.entries(id).await?;
        if let Some(forge) = &self.forge {
            entries.iter_mut().for_each(|entry| forge(&mut entry.event));
        }
        Ok(entries)
    }
    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        self.ledger.record(id).await
    }
    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        self.ledger.query(query).await
    }
    async fn counts(
        &self,
        query: &Query,
    ) -> Result<std::collections::BTreeMap<Status, u64>, LedgerError> {
        self.ledger.counts(query).await
    }
    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        self.ledger
            .attempts(account, resource_id, remediation, since)
            .await
    }
    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: std::time::Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let lock = self.ledger.lock(key, owner, work, ttl, now);
        self.seen("lock", lock).await
    }
    async fn renew(
        &self,
        lease: &Lease,
        ttl: std::time::Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        self.ledger.renew(lease, ttl, now).await
    }
    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError> {
        let unlock = self.ledger.unlock(lease, left, now);
        self.seen("unlock", unlock).await
    }
    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        self.ledger.bury(letter, at).await
    }
    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        self.ledger.dead_letters(limit).await
    }
    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        self.ledger.dead_letter(id).await
    }
    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.ledger.remove_dead_letter(id).await
    }
    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        self.ledger.expire(id, by, reason, at).await
    }
    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        self.ledger.slice(after, size).await
    }
    async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.ledger.head().await
    }
    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        self.ledger.tile(level, index, size).await
    }
    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.ledger.links(leaves).await
    }
    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        self.ledger.leaf(id, seq).await
    }
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        self.ledger.keep(checkpoint).await
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        self.ledger.checkpoints().await
    }
}
