//! The process dies at every moment; another one finds the ledger.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_ledger::{
    Admission, Attempts, DeadLetter, Digest, Entry, Event, Head, IdempotencyKey, Lease, Ledger,
    LedgerError, Letter, Lock, MemoryLedger, Page, Query, Received, Record, RemediationId, Status,
    StoreFault,
};
use stanch_types::AccountId;

use crate::world::World;

/// A ledger whose process dies: from the given write on, nothing is stored any more.
struct Dying {
    ledger: Arc<dyn Ledger>,
    left: AtomicUsize,
    /// The last write is stored, but nobody hears of it.
    unheard: bool,
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
        let head = self.ledger.append(id, expected, events, at).await?;
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
        self.ledger.admit(key, received, at).await
    }
    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        self.ledger.entries(id).await
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
        ttl: std::time::Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        self.ledger.lock(key, owner, ttl, now).await
    }
    async fn renew(
        &self,
        lease: &Lease,
        ttl: std::time::Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        self.ledger.renew(lease, ttl, now).await
    }
    async fn unlock(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.ledger.unlock(lease).await
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
    async fn export(&self, to: &mut (dyn std::io::Write + Send)) -> Result<u64, LedgerError> {
        self.ledger.export(to).await
    }
}

/// Fixes (and, if asked, rolls back) with a ledger that dies at the given write; then a new hub on the
/// same ledger goes on until all is final.
async fn die_and_recover(
    at: usize,
    unheard: bool,
    roll_back: bool,
) -> (World, RemediationId, bool) {
    let mut world = World::new();
    world.bucket("logs").await;
    let kept: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let dying = Arc::new(Dying {
        ledger: Arc::clone(&kept),
        left: AtomicUsize::new(at),
        unheard,
    });
    world.ledger = Arc::clone(&dying) as Arc<dyn Ledger>;
    let hub = world.hub();
    let event = world.finding("logs").security_hub_event().to_string();
    let taken = hub
        .take(&stanch_hub::Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let mut died = hub.handle(id).await.is_err();
    if !died && roll_back {
        died = hub.rollback(id, "alice", false, false).await.is_err();
    }
    drop(hub);

    world.ledger = kept;
    let hub = world.hub();
    // The dead hub's lease has to run out first.
    tokio::time::advance(world.settings.lease * 2).await;
    hub.recover().await.unwrap();
    hub.finish();
    hub.run().await;
    (world, id, died)
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_the_change_is_made_once_and_verified() {
    for unheard in [false, true] {
        let mut deaths = 0;
        for at in 0..20 {
            let (world, id, died) = die_and_recover(at, unheard, false).await;
            deaths += usize::from(died);
            let state = world.ledger.state(id).await.unwrap().0;
            let story = world.story(id).await;
            assert_eq!(
                state.status,
                Status::Success,
                "killed at write {at}: {story}: {:?}",
                state.error
            );
            assert_eq!(world.tap.writes().len(), 1, "killed at write {at}: {story}");
            assert_eq!(
                world
                    .block("logs")
                    .await
                    .map(|block| block["BlockPublicAcls"].clone()),
                Some(json!(true))
            );
            world.ledger.verify(id).await.unwrap();
        }
        assert!(deaths >= 5, "the test kills: {deaths}");
    }
}

#[tokio::test(start_paused = true)]
async fn killed_during_a_rollback_it_is_finished_once() {
    for unheard in [false, true] {
        for at in 0..20 {
            let (world, id, _) = die_and_recover(at, unheard, true).await;
            let state = world.ledger.state(id).await.unwrap().0;
            let story = world.story(id).await;
            let block = world.block("logs").await;
            match state.status {
                Status::Success => assert!(block.is_some(), "{story}"),
                Status::Undone => assert_eq!(block, None::<Value>, "{story}"),
                other => panic!(
                    "killed at write {at}: ended as {other}: {story}: {:?}",
                    state.error
                ),
            }
            assert!(
                world.tap.writes().len() <= 2,
                "killed at write {at}: {story}"
            );
        }
    }
}
