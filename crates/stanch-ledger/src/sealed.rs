//! Secrets in events: sealed before they are stored, opened for whoever carries a plan out.
//!
//! What the API model calls sensitive, and what is named as secrets are, is replaced by its
//! encryption (AES-256-GCM) with a key that is kept beside the ledger, not in it. All hashes of the
//! ledger are over the sealed form; a plan's own hash is over the true one. Exports, logs and whoever
//! reads the ledger without the key see the sealed form.

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
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::Value;
use stanch_types::AccountId;

use crate::{
    Admission, ApprovalRequest, Attempts, Change, Checkpoint, DeadLetter, Digest, Entry, Event,
    Head, IdempotencyKey, Lease, Ledger, LedgerError, Left, Letter, Lock, Page, Query, Received,
    Record, RemediationId, Slice, Status, TreeHead, own_file,
};

/// What begins a sealed value.
const SEALED: &str = "sealed:v1:";

/// How many remediations' services are remembered.
const REMEMBERED: usize = 4_096;

/// Knows what an API calls sensitive.
pub trait Sensitive: Send + Sync {
    /// Whether values of `member` in requests and answers of `service` must not be shown.
    fn is_secret(&self, service: &str, member: &str) -> bool;
}

/// The key that seals.
pub struct Vault(LessSafeKey);

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
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// Seals a value of a remediation: it opens in no other.
    fn seal(&self, id: RemediationId, value: &Value) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut bytes = serde_json::to_vec(value).ok()?;
        let key = Nonce::assume_unique_for_key(nonce);
        self.0
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
        let plain = self.0.open_in_place(key, aad, &mut rest).ok()?;
        serde_json::from_slice(plain).ok()
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

/// `value` with all that is sealed as `***`, for people.
#[must_use]
pub fn masked(mut value: Value) -> Value {
    fn mask(value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with(SEALED) => "***".clone_into(text),
            Value::Array(items) => items.iter_mut().for_each(mask),
            Value::Object(members) => members.values_mut().for_each(mask),
            _ => {}
        }
    }
    mask(&mut value);
    value
}

/// Whether a text under this name is a secret, whatever the API says: `MasterUserPassword`, but not
/// `SecretArn`.
fn is_named_as_secret(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "password",
        "passphrase",
        "secret",
        "privatekey",
        "credential",
        "authtoken",
        "accesstoken",
        "apikey",
        "connectionstring",
        "sessiontoken",
    ];
    const HARMLESS: [&str; 10] = [
        "arn", "arns", "id", "ids", "name", "type", "status", "version", "policy", "enabled",
    ];
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    PARTS.iter().any(|part| name.contains(part)) && !HARMLESS.iter().any(|end| name.ends_with(end))
}

/// The services that are called anywhere in `value`, a plan.
fn services(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| services(item, found)),
        Value::Object(members) => {
            if let (Some(Value::String(service)), true) =
                (members.get("service"), members.contains_key("operation"))
            {
                found.insert(service.clone());
            }
            members.values().for_each(|member| services(member, found));
        }
        _ => {}
    }
}

/// The parts of an event that come from AWS or go there.
fn contents(event: &mut Event) -> Vec<&mut Value> {
    match event {
        Event::Received(received) => vec![&mut received.subject],
        Event::Planned(planned) => vec![&mut planned.plan, &mut planned.observed],
        Event::StepStarted(step) => vec![&mut step.call.params],
        Event::StepFinished(step) => vec![&mut step.outputs],
        Event::Verified(verified) => vec![&mut verified.observed],
        Event::UndoPlanned(undo) => vec![&mut undo.plan],
        Event::Undone { observed } | Event::UndoFailed { observed, .. } => vec![observed],
        Event::ApprovalRequested(request) => {
            let ApprovalRequest {
                cutover, changed, ..
            } = &mut **request;
            let changes = changed.iter_mut().flat_map(|changed| &mut changed.changes);
            let values =
                changes.flat_map(|Change { was, is, .. }| was.iter_mut().chain(is.iter_mut()));
            let observed = cutover.iter_mut().map(|cutover| &mut cutover.observed);
            observed.chain(values).collect()
        }
        _ => Vec::new(),
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
                for (event, _) in self.inner.events(id).await? {
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

    fn seal(
        &self,
        id: RemediationId,
        services: &BTreeSet<String>,
        value: &mut Value,
    ) -> Result<(), LedgerError> {
        match value {
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.seal(id, services, item)),
            Value::Object(members) => {
                // `{name: DB_PASSWORD, value: …}`, as variables of builds and containers are.
                let said = ["name", "Name", "key", "Key"];
                let said = said.iter().find_map(|name| members.get(*name)?.as_str());
                let said = said
                    .filter(|said| is_named_as_secret(said))
                    .map(str::to_owned);
                members.iter_mut().try_for_each(|(name, value)| {
                    let pair = said.as_ref().filter(|_| name.eq_ignore_ascii_case("value"));
                    self.seal_member(id, services, pair.unwrap_or(name), value)
                })
            }
            _ => Ok(()),
        }
    }

    /// Seals the value of the member `name`, or what is secret in it.
    fn seal_member(
        &self,
        id: RemediationId,
        services: &BTreeSet<String>,
        name: &str,
        value: &mut Value,
    ) -> Result<(), LedgerError> {
        let by_model = || {
            let mut services = services.iter();
            services.any(|service| self.sensitive.is_secret(service, name))
        };
        let is_empty = match value {
            Value::Null | Value::Bool(_) => true,
            Value::String(text) => text.is_empty() || text.starts_with(SEALED),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Number(_) => false,
        };
        if !is_empty && (value.is_string() && is_named_as_secret(name) || by_model()) {
            // Rather not stored than stored in the clear.
            let sealed = self.vault.seal(id, value);
            *value = Value::String(sealed.ok_or(LedgerError::NotSealed)?);
            return Ok(());
        }
        self.seal(id, services, value)
    }

    fn seal_event(
        &self,
        id: RemediationId,
        services: &BTreeSet<String>,
        event: &mut Event,
    ) -> Result<(), LedgerError> {
        if let Event::ApprovalRequested(request) = event {
            let changes = request
                .changed
                .iter_mut()
                .flat_map(|changed| &mut changed.changes);
            for Change { at, was, is } in changes {
                // What stands within a secret is one.
                for name in at.split('/') {
                    let mut values = was.iter_mut().chain(is.iter_mut());
                    values.try_for_each(|value| self.seal_member(id, services, name, value))?;
                }
            }
        }
        contents(event)
            .into_iter()
            .try_for_each(|value| self.seal(id, services, value))
    }
}

fn called(event: &Event, found: &mut BTreeSet<String>) {
    match event {
        Event::Planned(planned) => services(&planned.plan, found),
        Event::UndoPlanned(undo) => services(&undo.plan, found),
        Event::StepStarted(step) => {
            found.insert(step.call.service.clone());
        }
        _ => {}
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
        self.seal(id, &BTreeSet::new(), subject)?;
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
        if events.iter_mut().any(|event| !contents(event).is_empty()) {
            let services = self.services(id, &events).await?;
            for event in &mut events {
                self.seal_event(id, &services, event)?;
            }
        }
        self.inner.append(id, expected, events, at).await
    }

    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.inner.entries(id).await?;
        for entry in &mut entries {
            for value in contents(&mut entry.event) {
                self.vault.open_all(id, value);
            }
        }
        Ok(entries)
    }

    async fn events(&self, id: RemediationId) -> Result<Vec<(Event, Timestamp)>, LedgerError> {
        let mut events = self.inner.events(id).await?;
        let mut services = BTreeSet::new();
        for (event, _) in &mut events {
            called(event, &mut services);
            for value in contents(event) {
                self.vault.open_all(id, value);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for (name, secret) in [
            ("MasterUserPassword", true),
            ("SecretString", true),
            ("auth_token", true),
            ("PrivateKey", true),
            ("SecretArn", false),
            ("SecretId", false),
            ("PasswordPolicy", false),
            ("Bucket", false),
            ("NextToken", false),
        ] {
            assert_eq!(is_named_as_secret(name), secret, "{name}");
        }
    }
}
