//! A remediation's events in the audit table: what was appended at once is one item, which is never
//! changed.
//!
//! Its sort key is the time of admission plus the number of its first event, in milliseconds. So
//! whoever appends to a chain of so many events writes the same key, and of two, one is refused: no
//! other item has to be changed with it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{
    DynamoLedger, OPEN, Tables,
    item::{Item, b, n, s},
    store::{Ask, Put, is_damage, values},
};
use crate::{
    Break, Digest, Event, LedgerError, Received, Record, RemediationId, State, Status,
    canonical::Canonical,
    chain::{Header, to_millisecond},
};

/// The most events of a remediation: rows are found by times, and this is how far one may be off.
pub(super) const MOST_EVENTS: u64 = 10_000;

/// A remediation as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) id: RemediationId,
    /// When it was admitted.
    pub(super) at: Timestamp,
    /// Until when it is kept, as its items say; `None` before there is one.
    pub(super) until: Option<Timestamp>,
    /// Their leaves are not known here: each is 0.
    pub(super) headers: Vec<Header>,
    /// As JSON; `None` once the contents have expired.
    pub(super) texts: Vec<Option<String>>,
    /// How many of them are in the audit table; the first may wait in the state table.
    pub(super) kept: u64,
    /// What is left of its row once the contents have expired.
    pub(super) left: Option<Record>,
    /// The keys of its items, with the contents that they still have.
    pub(super) rows: Vec<Item>,
}

/// The end of a chain: what an append needs to know of it.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) at: Timestamp,
    /// As [`Chain`] has it.
    pub(super) until: Option<Timestamp>,
    pub(super) state: State,
    pub(super) events: u64,
    pub(super) hash: Digest,
    pub(super) updated_at: Timestamp,
    /// The first event, as long as it waits in the state table.
    pub(super) first: Option<(Header, String)>,
}

/// An event to be stored.
pub(super) struct New {
    pub(super) header: Header,
    /// `None` once it has expired.
    pub(super) text: Option<String>,
}

/// The key of the item that begins with event `seq`.
pub(super) fn row_key(id: RemediationId, at: Timestamp, seq: u64) -> Item {
    let number = at.as_millisecond().saturating_add_unsigned(seq);
    Item::default()
        .with("RemediationId", s(id.to_string()))
        .with("Timestamp", n(number))
}

/// Between the end of the retention and the removal of the items: time for a sweep to say so first.
const REMOVAL: Duration = Duration::from_hours(24 * 7);

/// A time of the tables: seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_second()
}

impl Tables {
    /// Until when what is admitted at this time is kept.
    pub(super) fn kept(&self, remediation: &str, admitted: Timestamp) -> Timestamp {
        let kept = self.retention.of(remediation);
        admitted.checked_add(kept).unwrap_or(Timestamp::MAX)
    }

    /// Until when something may be added to a chain. Its first item decides: the class of a remediation may
    /// become another, and the table removes what was stored by then all the same.
    pub(super) fn until(&self, end: &End) -> Timestamp {
        let kept = || self.kept(&end.state.received.remediation, end.at);
        end.until.unwrap_or_else(kept)
    }
}

/// When an item of what is kept until then is removed, if it is written at that time.
pub(super) fn removal(until: Timestamp, written: Timestamp) -> Timestamp {
    let end = until.max(written);
    end.checked_add(REMOVAL).unwrap_or(end)
}

/// Until when a remediation is kept that has this item.
fn kept_until(row: &Item) -> Option<Timestamp> {
    let removed = Timestamp::from_second(row.number("ExpiresAt")?).ok()?;
    removed.checked_sub(REMOVAL).ok()
}

impl Chain {
    pub(super) fn state(&self) -> Result<State, LedgerError> {
        let id = self.id;
        let mut state: Option<State> = None;
        for (header, event) in self.headers.iter().zip(self.events()?) {
            let next = match state {
                None => State::first(&event, header.at),
                Some(state) => state.apply(&event, header.at),
            };
            state = Some(next.map_err(|source| LedgerError::Illegal { id, source })?);
        }
        state.ok_or(LedgerError::NotFound(id))
    }

    /// Each is what its hash, which the chain covers, says: whoever may write the table could put
    /// another plan in the place of the one that people approve.
    ///
    /// # Errors
    /// [`LedgerError::Expired`]; or one of them cannot be read, or was changed.
    pub(super) fn events(&self) -> Result<Vec<Event>, LedgerError> {
        let mut canonical = Canonical::default();
        let event = |(place, header): (usize, &Header)| {
            let text = self.text(place).ok_or(LedgerError::Expired(self.id))?;
            if canonical.digest(text).ok() != Some(header.body) {
                return Err(header.broken("was changed").into());
            }
            serde_json::from_str(text).map_err(|_| header.broken("cannot be read").into())
        };
        self.headers.iter().enumerate().map(event).collect()
    }

    /// The contents of an event, unless they have expired.
    pub(super) fn text(&self, seq: usize) -> Option<&str> {
        let gone = self.left.is_some() && seq + 1 < self.texts.len();
        self.texts.get(seq)?.as_deref().filter(|_| !gone)
    }

    /// What is wrong with it, where its events have no course or are gone.
    pub(super) fn unsound(&self, error: LedgerError) -> LedgerError {
        let problem = match error {
            LedgerError::Illegal { .. } => "or one before it cannot have happened",
            LedgerError::Expired(_) => "or one before it has lost its contents",
            error => return error,
        };
        let (id, seq) = (self.id, self.len().saturating_sub(1));
        Break { id, seq, problem }.into()
    }

    /// Where its items show what its events do not say: the first event of the item, and the attribute.
    /// What has lost its contents shows nothing but how it ended.
    pub(super) fn misshown(&self) -> Vec<(u64, &'static str)> {
        let mut found = Vec::new();
        // Up to where contents are there, and have a course.
        let mut state: Option<State> = None;
        let mut is_known = true;
        let mut events = self.headers.iter().zip(&self.texts);
        for row in &self.rows {
            let before = state.as_ref().map(|state| state.status);
            let own = events
                .by_ref()
                .take(row.bytes("Bodies").map_or(0, |all| all.len() / 32));
            let own: Vec<(&Header, &Option<String>)> = own.collect();
            let Some((first, last)) = own.first().zip(own.last()) else {
                continue;
            };
            let (seq, end): (u64, &Header) = (first.0.seq, last.0);
            let is_bare = first.1.is_none();
            for &(header, text) in &own {
                let event = text.as_ref().filter(|_| is_known);
                let event = event.and_then(|text| serde_json::from_str(text).ok());
                let next = event.and_then(|event: Event| match state.take() {
                    None => State::first(&event, header.at).ok(),
                    Some(state) => state.apply(&event, header.at).ok(),
                });
                is_known = next.is_some();
                state = next;
            }
            let left = self.left.as_ref().filter(|_| row.0.contains_key("Left"));
            let came_to = state.as_ref().map(|state| {
                let mut state = state.clone();
                if left.is_some() {
                    state.forget();
                }
                Record::project(self.id, &state, end.seq + 1, end.at)
            });
            let shown = match (left, &state) {
                (Some(left), _) => {
                    if came_to.as_ref().is_some_and(|came_to| came_to != left) {
                        found.push((seq, "Left"));
                    }
                    Some(left)
                }
                (None, Some(state)) if rests(state.status) && before != Some(state.status) => {
                    came_to.as_ref()
                }
                (None, Some(_)) => None,
                (None, None) if is_bare => None,
                // Nobody knows: what is wrong with its events is another matter.
                (None, None) => continue,
            };
            let expected =
                shown.map_or_else(Item::default, |shown| describe(Item::default(), shown));
            let differs = |name: &&str| row.0.get(*name) != expected.0.get(*name);
            found.extend(
                DESCRIBED
                    .into_iter()
                    .filter(differs)
                    .map(|name| (seq, name)),
            );
        }
        found
    }

    /// What may stay of its row when the contents are gone.
    pub(super) fn record_left(&self) -> Result<Record, LedgerError> {
        if let Some(left) = &self.left {
            return Ok(left.clone());
        }
        let mut state = self.state()?;
        state.forget();
        state.expired = true;
        let updated_at = self.headers.last().map_or(self.at, |last| last.at);
        Ok(Record::project(self.id, &state, self.len(), updated_at))
    }

    pub(super) fn record(&self) -> Result<Record, LedgerError> {
        if let Some(left) = &self.left {
            return Ok(left.clone());
        }
        let state = self.state()?;
        let updated_at = self.headers.last().map_or(self.at, |last| last.at);
        Ok(Record::project(self.id, &state, self.len(), updated_at))
    }

    pub(super) fn len(&self) -> u64 {
        self.headers.len() as u64
    }

    pub(super) fn end(&self) -> Result<End, LedgerError> {
        let state = match &self.left {
            // Nothing follows on that, and the transition function says so.
            Some(_) => return Err(LedgerError::Expired(self.id)),
            None => self.state()?,
        };
        let last = self.headers.last().ok_or(LedgerError::NotFound(self.id))?;
        let first = self.headers.first().zip(self.texts.first());
        let first = first.and_then(|(header, text)| Some((*header, text.clone()?)));
        Ok(End {
            at: self.at,
            until: self.until,
            state,
            events: self.len(),
            hash: last.hash,
            updated_at: last.at,
            first: first.filter(|_| self.kept == 0),
        })
    }
}

impl DynamoLedger {
    /// A remediation's items in the audit table.
    pub(super) async fn rows(&self, id: RemediationId) -> Result<Vec<Item>, LedgerError> {
        let ask = Ask {
            table: &self.store.tables.audit,
            index: None,
            condition: "#RemediationId = :id",
            values: values([(":id", s(id.to_string()))]),
            forward: true,
            limit: None,
        };
        self.store.all(&ask).await
    }

    /// A remediation as it is stored now.
    pub(super) async fn chain(&self, id: RemediationId) -> Result<Chain, LedgerError> {
        let rows = self.rows(id).await?;
        if rows.is_empty() {
            return self.admitted(id).await?.ok_or(LedgerError::NotFound(id));
        }
        let mut chain = Chain {
            id,
            at: Timestamp::UNIX_EPOCH,
            until: rows.first().and_then(kept_until),
            headers: Vec::new(),
            texts: Vec::new(),
            kept: 0,
            left: None,
            rows: Vec::new(),
        };
        for row in rows {
            self.follow(&mut chain, row).await?;
        }
        chain.kept = chain.len();
        Ok(chain)
    }

    /// Reads the next item of a chain.
    async fn follow(&self, chain: &mut Chain, row: Item) -> Result<(), LedgerError> {
        let Chain { id, .. } = *chain;
        let expected = chain.len();
        let broken = |problem| {
            LedgerError::Broken(Break {
                id,
                seq: expected,
                problem,
            })
        };
        let read = || {
            let at = Timestamp::from_millisecond(row.number("AppendedAt")?).ok()?;
            let hashes = row.bytes("Bodies")?;
            let bodies = crate::merkle::from_bytes(&hashes)?;
            Some((
                row.number::<u64>("Sequence")?,
                row.number::<i64>("Timestamp")?,
                row.number::<u32>("Version")?,
                at,
                row.digest("Previous")?,
                row.digest("Hash")?,
                bodies,
            ))
        };
        let (seq, key, v, at, previous, hash, bodies) =
            read().ok_or_else(|| broken("cannot be read"))?;
        let admitted = key.saturating_sub_unsigned(seq);
        match expected {
            // Removed with its time, as the rest is going to be.
            0 if seq > 0 => return Err(LedgerError::Expired(id)),
            0 => {
                chain.at =
                    Timestamp::from_millisecond(admitted).map_err(|_| broken("cannot be read"))?;
            }
            _ if chain.at.as_millisecond() != admitted => {
                return Err(broken("belongs to another beginning of it"));
            }
            _ => {}
        }
        if seq != expected {
            return Err(broken("is missing or out of order"));
        }
        let before = chain.headers.last().map_or(Digest::ZERO, |last| last.hash);
        if previous != before {
            return Err(broken("does not follow on the one before it"));
        }
        let texts = match self.store.unfold(&row, "Events").await {
            Err(error) if is_damage(&error) => return Err(broken("cannot be read")),
            texts => texts?,
        };
        let mut texts = texts.as_deref().map(|texts| texts.split('\n'));
        let mut prev = previous;
        for (seq, body) in (seq..).zip(bodies) {
            let (v, at) = match seq {
                0 => (row.number("FirstVersion").unwrap_or(v), chain.at),
                _ => (v, at),
            };
            let header = Header {
                v,
                id,
                seq,
                at,
                prev,
                body,
                hash: Digest::ZERO,
                leaf: 0,
            }
            .sealed();
            prev = header.hash;
            chain.headers.push(header);
            let text = texts.as_mut().map(|texts| texts.next().map(str::to_owned));
            let text = match text {
                Some(None) => return Err(header.broken("is missing or out of order").into()),
                Some(text) => text,
                None => None,
            };
            chain.texts.push(text);
        }
        if prev != hash {
            let last = chain.headers.last();
            return Err(last.map_or_else(
                || broken("is missing or out of order"),
                |last| {
                    last.broken("has a number, time or hash that was changed")
                        .into()
                },
            ));
        }
        if let Some(left) = row.text("Left") {
            let left = serde_json::from_str(left).map_err(|_| broken("cannot be read"))?;
            chain.left = Some(left);
        }
        chain.rows.push(row);
        Ok(())
    }

    /// What was admitted and nothing else: its first event waits in the state table.
    async fn admitted(&self, id: RemediationId) -> Result<Option<Chain>, LedgerError> {
        let key = open_key(id);
        let item = self.store.get(&self.store.tables.state, &key).await?;
        match item {
            Some(item) => self.first(id, &item).await,
            None => Ok(None),
        }
    }

    /// The chain of one event that an open item holds; `None` if it holds none.
    pub(super) async fn first(
        &self,
        id: RemediationId,
        item: &Item,
    ) -> Result<Option<Chain>, LedgerError> {
        let problem = "cannot be read";
        let broken = LedgerError::Broken(Break {
            id,
            seq: 0,
            problem,
        });
        let text = match self.store.unfold(item, "Event").await {
            Err(error) if is_damage(&error) => return Err(broken),
            text => text?,
        };
        let Some(text) = text else {
            return Ok(None);
        };
        let read = || {
            let at = Timestamp::from_millisecond(item.number("Admitted")?).ok()?;
            Some((at, item.number("Version")?, item.digest("Body")?))
        };
        let (at, v, body) = read().ok_or(broken)?;
        let header = Header {
            v,
            id,
            seq: 0,
            at,
            prev: Digest::ZERO,
            body,
            hash: Digest::ZERO,
            leaf: 0,
        }
        .sealed();
        Ok(Some(Chain {
            id,
            at,
            until: None,
            headers: vec![header],
            texts: vec![Some(text)],
            kept: 0,
            left: None,
            rows: Vec::new(),
        }))
    }

    /// The events as they are to be stored behind `end`, and the state after them.
    pub(super) fn seal(
        id: RemediationId,
        end: &End,
        events: &[Event],
        at: Timestamp,
    ) -> Result<(Vec<New>, State), LedgerError> {
        let at = to_millisecond(at);
        let mut state = end.state.clone();
        let mut prev = end.hash;
        let mut new = Vec::with_capacity(events.len());
        for (seq, event) in (end.events..).zip(events) {
            state = state
                .apply(event, at)
                .map_err(|source| LedgerError::Illegal { id, source })?;
            let body = Digest::of(event).map_err(LedgerError::encode)?;
            let (header, _) = Header::seal(id, seq, at, prev, body, 0);
            prev = header.hash;
            let text = serde_json::to_string(event).map_err(LedgerError::encode)?;
            let text = Some(text);
            new.push(New { header, text });
        }
        if end.events + new.len() as u64 > MOST_EVENTS {
            return Err(LedgerError::TooLong(id));
        }
        Ok((new, state))
    }

    /// Stores events behind `end`.
    pub(super) async fn extend(
        &self,
        id: RemediationId,
        end: &End,
        new: Vec<New>,
        state: &State,
        left: Option<&Record>,
    ) -> Result<Put, LedgerError> {
        let waiting = end.first.clone();
        let first = waiting.map(|(header, text)| New {
            header,
            text: Some(text),
        });
        let comes_to_rest = rests(state.status) && end.state.status != state.status;
        let new: Vec<New> = first.into_iter().chain(new).collect();
        let Some(last) = new.last().map(|last| last.header) else {
            return Ok(Put::Done);
        };
        let updated = Record::project(id, state, last.seq + 1, last.at);
        let shown = match left {
            Some(left) => Some(left),
            None => comes_to_rest.then_some(&updated),
        };
        let gone = removal(self.store.tables.until(end), last.at);
        let Some(item) = self.row_of(end.at, &new, shown, left, gone).await? else {
            return Ok(Put::Done);
        };
        self.store.create(&self.store.tables.audit, item).await
    }

    /// The item of events that are stored together, of what was admitted at `at`: with the row that
    /// people see if it comes to rest with them, and with what is `left` of that once all has expired.
    /// `None` if there are no events.
    pub(super) async fn row_of(
        &self,
        at: Timestamp,
        new: &[New],
        shown: Option<&Record>,
        left: Option<&Record>,
        gone: Timestamp,
    ) -> Result<Option<Item>, LedgerError> {
        let headers = new.first().zip(new.last());
        let Some((first, last)) = headers.map(|(first, last)| (first.header, last.header)) else {
            return Ok(None);
        };
        let mut item = row_key(first.id, at, first.seq);
        if let Some(shown) = shown {
            item = describe(item, shown);
        }
        if let Some(left) = left {
            let left = serde_json::to_string(left).map_err(LedgerError::encode)?;
            item = item.with("Left", s(left));
        }
        let other = Some(first.v).filter(|v| *v != last.v);
        let bodies: Vec<Digest> = new.iter().map(|new| new.header.body).collect();
        item = item
            .with("Sequence", n(first.seq))
            .with("Version", n(last.v))
            .with_number("FirstVersion", other)
            .with("AppendedAt", n(last.at.as_millisecond()))
            .with("Previous", b(first.prev.as_bytes()))
            .with("Bodies", b(&crate::merkle::to_bytes(&bodies)))
            .with("Hash", b(last.hash.as_bytes()))
            .with("ExpiresAt", n(seconds(gone)));
        let texts: Option<Vec<&str>> = new.iter().map(|new| new.text.as_deref()).collect();
        let Some(texts) = texts else {
            return Ok(Some(item));
        };
        let (folder, texts) = (first.id.to_string(), texts.join("\n"));
        let item = self
            .store
            .fold_in(item, "Events", &folder, texts.as_bytes());
        item.await.map(Some)
    }

    /// The item that says that a remediation is not settled: its tree is behind, or it is not final.
    pub(super) async fn open_item(
        &self,
        id: RemediationId,
        at: Timestamp,
        received: &Received,
        event: Option<&Event>,
        touched: Timestamp,
    ) -> Result<Item, LedgerError> {
        let item = open_key(id)
            .with("Admitted", n(at.as_millisecond()))
            .with("Touched", n(touched.as_millisecond()))
            .with_text("AccountId", received.account.as_str())
            .with_text("ResourceId", &received.resource_id)
            .with_text("FindingId", &received.finding_id);
        let Some(event) = event else { return Ok(item) };
        let body = Digest::of(event).map_err(LedgerError::encode)?;
        let text = serde_json::to_string(event).map_err(LedgerError::encode)?;
        let (header, _) = Header::seal(id, 0, at, Digest::ZERO, body, 0);
        let item = item
            .with("Version", n(header.v))
            .with("Body", b(body.as_bytes()));
        let folder = id.to_string();
        self.store
            .fold_in(item, "Event", &folder, text.as_bytes())
            .await
    }

    /// Removes the contents of all events but the last; their hashes stay.
    pub(super) async fn scrub(&self, chain: &Chain) -> Result<(), LedgerError> {
        let rows = chain.rows.len().saturating_sub(1);
        for row in chain.rows.iter().take(rows) {
            if row.0.contains_key("Events") || row.0.contains_key("SpilledTo") {
                let mut bare = Item::default();
                for (name, value) in &row.0 {
                    if KEPT.contains(&name.as_str()) {
                        bare.0.insert(name.clone(), value.clone());
                    }
                }
                if let (Some(key), Some(bucket)) =
                    (row.text("SpilledTo"), &self.store.tables.bucket)
                {
                    self.store.blank(bucket, key).await?;
                }
                self.store.put(&self.store.tables.audit, &bare).await?;
            }
        }
        Ok(())
    }
}

/// What stays of an item whose contents have expired.
const KEPT: [&str; 10] = [
    "RemediationId",
    "Timestamp",
    "Sequence",
    "Version",
    "FirstVersion",
    "AppendedAt",
    "Previous",
    "Bodies",
    "Hash",
    "ExpiresAt",
];

/// Where a remediation stands in the state table while it is open.
pub(super) fn open_key(id: RemediationId) -> Item {
    Item::key(OPEN, &id.to_string())
}

/// Nothing happens to it by itself for now: what people see of it is written down.
pub(super) const fn rests(status: Status) -> bool {
    status.is_final() || status.waits() || matches!(status, Status::Paused)
}

/// What [`describe`] writes.
const DESCRIBED: [&str; 16] = [
    "FindingId",
    "AccountId",
    "ResourceType",
    "ResourceId",
    "RemediationType",
    "RemediationAction",
    "ExecutionStatus",
    "ExecutorArn",
    "Status",
    "Control",
    "Region",
    "Severity",
    "ExecutionDuration",
    "StartedAt",
    "ErrorMessage",
    "NotificationSent",
];

/// The audit log's attributes, by which the indexes find it.
fn describe(item: Item, record: &Record) -> Item {
    let item = item
        .with_text("FindingId", &record.finding_id)
        .with_text("AccountId", record.account_id.as_str())
        .with_text("ResourceType", &record.resource_type)
        .with_text("ResourceId", &record.resource_id)
        .with_text("RemediationType", record.remediation_type.as_str())
        .with_text("RemediationAction", &record.remediation_action)
        .with_text("ExecutionStatus", record.execution_status.as_str())
        .with_text("ExecutorArn", &record.executor_arn)
        .with_text("Status", record.status.as_str())
        .with_text("Control", &record.control)
        .with_text("Region", record.region.as_str())
        .with_text("Severity", &record.severity)
        .with_number("ExecutionDuration", record.execution_duration)
        .with_number(
            "StartedAt",
            record.started_at.map(Timestamp::as_millisecond),
        );
    let item = match &record.error_message {
        Some(error) => item.with_text("ErrorMessage", error),
        None => item,
    };
    item.with(
        "NotificationSent",
        json!({"BOOL": record.notification_sent}),
    )
}

/// The row that [`describe`] wrote into an item, without its title, and with the executor for the
/// requester; `None` if it wrote none.
pub(super) fn described(item: &Item) -> Option<Record> {
    let text = |name| Some(item.text(name).unwrap_or_default().to_owned());
    let at = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
    let seq: u64 = item.number("Sequence")?;
    let key: i64 = item.number("Timestamp")?;
    let status: Status = serde_json::from_value(json!(item.text("Status")?)).ok()?;
    Some(Record {
        remediation_id: item.text("RemediationId")?.parse().ok()?,
        timestamp: at(key.saturating_sub_unsigned(seq))?,
        finding_id: text("FindingId")?,
        account_id: item.text("AccountId")?.parse().ok()?,
        resource_type: text("ResourceType")?,
        resource_id: text("ResourceId")?,
        remediation_type: serde_json::from_value(json!(item.text("RemediationType")?)).ok()?,
        remediation_action: text("RemediationAction")?,
        execution_status: serde_json::from_value(json!(item.text("ExecutionStatus")?)).ok()?,
        executor_arn: text("ExecutorArn")?,
        error_message: item.text("ErrorMessage").map(str::to_owned),
        execution_duration: item.number("ExecutionDuration"),
        notification_sent: item.0.get("NotificationSent")?.get("BOOL")?.as_bool()?,
        status,
        region: item.text("Region")?.parse().ok()?,
        control: text("Control")?,
        severity: text("Severity")?,
        title: String::new(),
        requester: text("ExecutorArn")?,
        undone: status == Status::Undone,
        expired: item.text("Left").is_some(),
        started_at: item.number("StartedAt").and_then(at),
        updated_at: item.number("AppendedAt").and_then(at)?,
        events: seq + item.bytes("Bodies")?.len() as u64 / 32,
    })
}

/// The first event of a remediation.
pub(super) fn first_event(received: &Arc<Received>) -> Event {
    Event::Received(Received::clone(received).into())
}
