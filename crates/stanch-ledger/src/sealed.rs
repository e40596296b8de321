//! Secrets in events: sealed before they are stored, opened for whoever carries a plan out.
//!
//! What is secret is replaced by its encryption (AES-256-GCM) with a key that is kept beside the ledger, not
//! in it. All hashes of the ledger are over the sealed form; a plan's own hash is over the true one. Exports
//! and whoever reads the ledger without the key see the sealed form.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt, io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use jiff::Timestamp;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac::{self, HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::Value;
use stanch_types::{AccountId, Call, hex};

use crate::{
    Admission, Attempts, Checkpoint, DeadLetter, Digest, Entry, Event, Head, IdempotencyKey, Lease,
    Ledger, LedgerError, Left, Letter, Lock, Page, Query, Received, Record, RemediationId, Slice,
    Status, TreeHead, own_file,
    secrets::{SEALED, Sensitive, Walk, called, contents, hush, said},
};

/// What begins a hash that only whoever has the key can make.
const KEYED: &str = "hmac-sha256:";

/// How many remediations' services are remembered.
const REMEMBERED: usize = 4_096;

/// The key that seals.
pub struct Vault {
    sealing: LessSafeKey,
    /// Made of the same key: each is for one thing only.
    hashing: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// The key in the file `path`: 32 bytes as base64.
    ///
    /// # Errors
    /// It cannot be read or is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is not 32 bytes as base64");
        let text = std::fs::read_to_string(path)?;
        let bytes = BASE64.decode(text.trim()).map_err(|_| invalid())?;
        Self::new(&bytes).ok_or_else(invalid)
    }

    /// Makes the file `path`, for this user only.
    ///
    /// # Errors
    /// It is there already or cannot be written.
    pub fn create(path: &Path) -> io::Result<()> {
        let mut key = [0; 32];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        own_file::create(path, &(BASE64.encode(key) + "\n"))
    }

    /// The key of these 32 bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        let own = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), b"hashes of requests");
        let hashing = hmac::Key::new(HMAC_SHA256, own.as_ref());
        Some(Self { sealing, hashing })
    }

    /// Seals a value of a remediation: it opens in no other.
    fn seal(&self, id: RemediationId, value: &Value) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut bytes = serde_json::to_vec(value).ok()?;
        let key = Nonce::assume_unique_for_key(nonce);
        self.sealing
            .seal_in_place_append_tag(key, Aad::from(id.as_uuid().as_bytes()), &mut bytes)
            .ok()?;
        Some(SEALED.to_owned() + &BASE64.encode([&nonce, bytes.as_slice()].concat()))
    }

    fn open_value(&self, id: RemediationId, sealed: &str) -> Option<Value> {
        let bytes = BASE64.decode(sealed.strip_prefix(SEALED)?).ok()?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut rest = rest.to_vec();
        let key = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(id.as_uuid().as_bytes());
        let plain = self.sealing.open_in_place(key, aad, &mut rest).ok()?;
        serde_json::from_slice(plain).ok()
    }

    /// The hash of a remediation's request with a secret in it. Any that others can make would allow them to
    /// try what a weak secret is.
    fn hash(&self, id: RemediationId, call: &Call) -> Option<String> {
        let mut hash = hmac::Context::with_key(&self.hashing);
        hash.update(id.as_uuid().as_bytes());
        hash.update(&serde_json_canonicalizer::to_vec(call).ok()?);
        Some(KEYED.to_owned() + &hex(hash.sign().as_ref()))
    }

    /// Opens all that is sealed in `value`; what this key does not open stays as it is.
    fn open_all(&self, id: RemediationId, value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with(SEALED) => {
                if let Some(plain) = self.open_value(id, text) {
                    *value = plain;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.open_all(id, item)),
            Value::Object(members) => {
                members
                    .values_mut()
                    .for_each(|member| self.open_all(id, member));
            }
            _ => {}
        }
    }
}

/// A ledger whose events hold no secrets in the clear, for whoever has the key: events are given and
/// got with them.
pub struct SealedLedger {
    inner: Arc<dyn Ledger>,
    vault: Vault,
    sensitive: Arc<dyn Sensitive>,
    /// The services that a remediation's plans call: by them its states are known for what they are.
    services: Mutex<HashMap<RemediationId, BTreeSet<String>>>,
}

impl SealedLedger {
    /// Seals what goes into `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Ledger>, vault: Vault, sensitive: Arc<dyn Sensitive>) -> Self {
        Self {
            inner,
            vault,
            sensitive,
            services: Mutex::default(),
        }
    }

    /// The services of a remediation, with those that `events` call.
    async fn services(
        &self,
        id: RemediationId,
        events: &[Event],
    ) -> Result<BTreeSet<String>, LedgerError> {
        let known = || self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = known().get(&id).cloned();
        let mut all = match remembered {
            Some(services) => services,
            None => {
                let mut before = BTreeSet::new();
                for (mut event, _) in self.inner.events(id).await? {
                    self.open(id, &mut event);
                    called(&event, &mut before);
                }
                before
            }
        };
        events.iter().for_each(|event| called(event, &mut all));
        self.remember(id, all.clone());
        Ok(all)
    }

    fn remember(&self, id: RemediationId, services: BTreeSet<String>) {
        let mut known = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id, services);
    }

    /// Seals the secrets that `go` walks through; whether there were any. `known` are the texts that are
    /// secret wherever they stand.
    fn seal(
        &self,
        id: RemediationId,
        services: &BTreeSet<String>,
        known: &mut HashSet<String>,
        go: impl FnOnce(&mut Walk<'_, LedgerError>) -> Result<(), LedgerError>,
    ) -> Result<bool, LedgerError> {
        let mut any = false;
        let mut replace = |value: &mut Value| {
            any = true;
            // Rather not stored than stored in the clear.
            let sealed = self.vault.seal(id, value).ok_or(LedgerError::NotSealed)?;
            *value = Value::String(sealed);
            Ok::<(), LedgerError>(())
        };
        let mut walk = Walk {
            sensitive: &*self.sensitive,
            services,
            known,
            replace: &mut replace,
        };
        go(&mut walk)?;
        Ok(any)
    }

    fn seal_event(
        &self,
        id: RemediationId,
        services: &BTreeSet<String>,
        known: &mut HashSet<String>,
        event: &mut Event,
    ) -> Result<(), LedgerError> {
        let any = self.seal(id, services, known, |walk| walk.event(event))?;
        if let (true, Event::StepStarted(step)) = (any, event) {
            let mut sent = step.call.clone();
            self.vault.open_all(id, &mut sent.params);
            let hash = self.vault.hash(id, &sent);
            step.call_hash = hash.ok_or(LedgerError::NotSealed)?;
        }
        Ok(())
    }

    /// Masks what the words of errors repeat of secrets. Nothing needs those again, so that they are not
    /// sealed.
    async fn hush(&self, id: RemediationId, events: &mut [Event]) -> Result<(), LedgerError> {
        if events.iter_mut().any(|event| said(event).is_some()) {
            let before = self.events(id).await?;
            let before = before.iter().map(|(event, _)| event);
            hush(&self.sensitive, before, events);
        }
        Ok(())
    }

    fn open(&self, id: RemediationId, event: &mut Event) {
        for value in contents(event) {
            self.vault.open_all(id, value);
        }
    }
}

#[async_trait]
impl Ledger for SealedLedger {
    async fn admit(
        &self,
        key: IdempotencyKey,
        mut received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let id = key.remediation_id();
        let subject = &mut Arc::make_mut(&mut received).subject;
        self.seal(id, &BTreeSet::new(), &mut HashSet::new(), |walk| {
            walk.values(&mut [subject])
        })?;
        let admission = self.inner.admit(key, received, at).await?;
        if let Admission::New(id) = admission {
            // It has no plan yet: nothing is called.
            self.remember(id, BTreeSet::new());
        }
        Ok(admission)
    }

    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        mut events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        self.hush(id, &mut events).await?;
        if events.iter_mut().any(|event| !contents(event).is_empty()) {
            let services = self.services(id, &events).await?;
            let mut known = HashSet::new();
            for event in &mut events {
                self.seal_event(id, &services, &mut known, event)?;
            }
        }
        self.inner.append(id, expected, events, at).await
    }

    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.inner.entries(id).await?;
        for entry in &mut entries {
            self.open(id, &mut entry.event);
        }
        Ok(entries)
    }

    async fn events(&self, id: RemediationId) -> Result<Vec<(Event, Timestamp)>, LedgerError> {
        let mut events = self.inner.events(id).await?;
        let mut services = BTreeSet::new();
        for (event, _) in &mut events {
            self.open(id, event);
            called(event, &mut services);
        }
        self.remember(id, services);
        Ok(events)
    }

    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        self.inner.record(id).await
    }

    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        self.inner.query(query).await
    }

    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        self.inner.counts(query).await
    }

    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        self.inner
            .attempts(account, resource_id, remediation, since)
            .await
    }

    async fn begun(
        &self,
        since: Timestamp,
        now: Timestamp,
        known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        self.inner.begun(since, now, known).await
    }

    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        self.inner.lock(key, owner, work, ttl, now).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        self.inner.renew(lease, ttl, now).await
    }

    async fn unlock(&self, lease: &Lease, left: Left, now: Timestamp) -> Result<(), LedgerError> {
        self.inner.unlock(lease, left, now).await
    }

    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        self.inner.bury(letter, at).await
    }

    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        self.inner.dead_letters(limit).await
    }

    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        self.inner.dead_letter(id).await
    }

    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.inner.remove_dead_letter(id).await
    }

    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        self.inner.expire(id, by, reason, at).await
    }

    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        self.inner.slice(after, size).await
    }

    async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.inner.head().await
    }

    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        self.inner.tile(level, index, size).await
    }

    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.inner.links(leaves).await
    }

    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        self.inner.leaf(id, seq).await
    }

    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        self.inner.keep(checkpoint).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        self.inner.checkpoints().await
    }

    /// Of what is stored: its hashes are over the sealed form.
    async fn verify(&self, id: RemediationId) -> Result<(), LedgerError> {
        self.inner.verify(id).await
    }
}
