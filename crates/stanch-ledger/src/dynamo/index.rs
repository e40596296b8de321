//! Which remediations there are: the audit table's indexes for accounts and resources, days and
//! findings in the state table, and those that are open, whatever the indexes say of them yet.
//!
//! What is found is read again as it is now: an index only says where to look.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::Value;
use stanch_types::AccountId;

use super::{
    AT_ONCE, DynamoLedger, OPEN, SETTLES,
    chain::{Chain, MOST_EVENTS, described},
    item::{Item, n, s},
    store::{Ask, values},
};
use crate::{
    Attempts, Break, Cursor, Digest, Event, LedgerError, Order, Page, Query, Record, RemediationId,
    Scope, Status,
};

/// The partition that lists the days on which something was admitted.
pub(super) const DAY: &str = "day";

/// Beyond every key that begins with a time.
const END: &str = "~";

/// A remediation that is open.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) id: RemediationId,
    pub(super) at: i64,
    pub(super) item: Item,
}

/// Remediations by admission, with what is left of their rows if nothing else is.
type Candidates = BTreeMap<(i64, RemediationId), Option<Record>>;

/// Where remediations are looked for, a bit at a time.
struct Source {
    place: Place,
    /// From which time of admission on, and up to which, in milliseconds.
    from: i64,
    until: i64,
    order: Order,
    rest: Option<Value>,
    /// All that were admitted before it in this order are known.
    known: Option<i64>,
    done: bool,
}

enum Place {
    Nowhere,
    Index(&'static str, String),
    Finding(String),
    /// The days still to be read, the next one last.
    Days(Option<Vec<String>>),
}

/// The key of a remediation among those of its day.
pub(super) fn row_item(id: RemediationId, at: Timestamp) -> Item {
    Item::key(&day_key(&day(at)), &time_key(at.as_millisecond(), id))
}

pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%F").to_string()
}

pub(super) fn day_key(day: &str) -> String {
    format!("row#{day}")
}

fn time_key(at: i64, id: RemediationId) -> String {
    format!("{at:013}#{id}")
}

/// The key of a remediation among those of its finding.
pub(super) fn finding_item(finding: &str, id: RemediationId, at: Timestamp) -> Item {
    let key = format!("finding#{}", Digest::of_plain(&finding));
    Item::key(&key, &time_key(at.as_millisecond(), id))
}

pub(super) fn parse_time_key(item: &Item) -> Option<(i64, RemediationId)> {
    let (at, id) = item.text("Item")?.split_once('#')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

impl Source {
    fn new(query: &Query, after: Option<(i64, RemediationId)>) -> Self {
        let place = match &query.scope {
            Scope::All => Place::Days(None),
            Scope::Unfinished => Place::Nowhere,
            Scope::Account(account) => Place::Index("AccountId", account.to_string()),
            // No key is empty; what has expired names no resource any more.
            Scope::Resource(text) | Scope::Finding(text) if text.is_empty() => Place::Days(None),
            Scope::Resource(resource) => Place::Index("ResourceId", resource.clone()),
            Scope::Finding(finding) => Place::Finding(finding.clone()),
        };
        let mut from = query.from.map_or(0, ceil);
        let mut until = query.until.map_or(i64::MAX / 4, |until| ceil(until) - 1);
        match (query.order, after) {
            (Order::Oldest, Some((at, _))) => from = from.max(at),
            (Order::Newest, Some((at, _))) => until = until.min(at),
            (_, None) => {}
        }
        Self {
            done: matches!(place, Place::Nowhere) || until < from,
            place,
            from: from.max(0),
            until,
            order: query.order,
            rest: None,
            known: None,
        }
    }

    /// Whether all that come before one of that time are known.
    fn reaches(&self, at: i64) -> bool {
        self.done
            || self.known.is_some_and(|known| match self.order {
                Order::Oldest => at < known,
                Order::Newest => at > known,
            })
    }
}

fn ceil(at: Timestamp) -> i64 {
    let floor = at.as_millisecond();
    let whole = Timestamp::from_millisecond(floor).is_ok_and(|whole| whole >= at);
    if whole { floor } else { floor + 1 }
}

fn position(cursor: &Cursor) -> Result<(i64, RemediationId), LedgerError> {
    let read = || {
        let (at, id) = cursor.0.split_once('.')?;
        Some((at.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| LedgerError::BadCursor(cursor.0.chars().take(64).collect()))
}

fn is_in(scope: &Scope, record: &Record) -> bool {
    match scope {
        Scope::All => true,
        // What is shown as it was noted last has nothing left that could be gone on with.
        Scope::Unfinished => !record.status.is_final() && !record.expired,
        Scope::Account(account) => record.account_id == *account,
        Scope::Resource(resource) => record.resource_id == *resource,
        Scope::Finding(finding) => record.finding_id == *finding,
    }
}

impl DynamoLedger {
    /// Whether something of it is in the audit table.
    pub(super) async fn has_rows(&self, id: RemediationId) -> Result<bool, LedgerError> {
        let ask = Ask {
            table: &self.store.tables.audit,
            index: None,
            condition: "#RemediationId = :id",
            values: values([(":id", s(id.to_string()))]),
            forward: true,
            limit: Some(1),
        };
        Ok(!self.store.all(&ask).await?.is_empty())
    }

    /// The chain of what was admitted just now.
    pub(super) fn written(
        &self,
        id: RemediationId,
        at: Timestamp,
        event: Event,
    ) -> Result<Chain, LedgerError> {
        let body = Digest::of(&event).map_err(LedgerError::encode)?;
        let text = serde_json::to_string(&event).map_err(LedgerError::encode)?;
        let (header, _) = crate::chain::Header::seal(id, 0, at, Digest::ZERO, body, 0);
        Ok(Chain {
            id,
            at,
            until: None,
            headers: vec![header],
            texts: vec![Some(text)],
            kept: 0,
            left: None,
            rows: Vec::new(),
        })
    }

    /// All that are open, as far as it can be read since when.
    pub(super) async fn open(&self) -> Result<Vec<Open>, LedgerError> {
        let (open, _) = self.opened().await?;
        Ok(open)
    }

    /// All that are open, and those of which it cannot be read since when.
    pub(super) async fn opened(&self) -> Result<(Vec<Open>, Vec<Break>), LedgerError> {
        let (mut open, mut broken) = (Vec::new(), Vec::new());
        for item in self.store.under(OPEN, "0", "g").await? {
            // Each is written under its id, and in one way: what stands there otherwise is nobody's.
            let name = item.text("Item").unwrap_or_default();
            let id: Option<RemediationId> = name.parse().ok();
            let Some(id) = id.filter(|id| id.to_string() == name) else {
                continue;
            };
            match item.number("Admitted") {
                Some(at) => open.push(Open { id, at, item }),
                None => broken.push(Break {
                    id,
                    seq: 0,
                    problem: "is open, and it cannot be read since when",
                }),
            }
        }
        Ok((open, broken))
    }

    pub(super) async fn page(&self, query: &Query) -> Result<Page, LedgerError> {
        let limit = query.page_size();
        let after = query.cursor.as_ref().map(position).transpose()?;
        let mut source = Source::new(query, after);
        let mut ready = Candidates::new();
        for open in self.open().await? {
            let is_wanted = match &query.scope {
                Scope::All | Scope::Unfinished => true,
                Scope::Account(account) => open.item.text("AccountId") == Some(account.as_str()),
                Scope::Resource(id) => open.item.text("ResourceId") == Some(id.as_str()),
                Scope::Finding(id) => open.item.text("FindingId") == Some(id.as_str()),
            };
            if is_wanted && (source.from..=source.until).contains(&open.at) {
                ready.insert((open.at, open.id), None);
            }
        }
        let mut seen = HashSet::new();
        let mut records = Vec::new();
        while records.len() <= limit {
            let mut batch = Vec::new();
            while batch.len() <= limit - records.len().min(limit) {
                let next = match query.order {
                    Order::Oldest => ready.first_key_value(),
                    Order::Newest => ready.last_key_value(),
                };
                let Some((key, _)) = next.filter(|((at, _), _)| source.reaches(*at)) else {
                    break;
                };
                let key = *key;
                let left = ready.remove(&key).flatten();
                let is_beyond = after.is_none_or(|after| match query.order {
                    Order::Oldest => key > after,
                    Order::Newest => key < after,
                });
                if is_beyond && seen.insert(key.1) {
                    batch.push((key, left));
                }
            }
            if batch.is_empty() {
                if source.done {
                    break;
                }
                self.look(&mut source, &mut ready).await?;
                continue;
            }
            let read = batch
                .into_iter()
                .map(|((at, id), left)| self.row(id, at, left));
            let found: Vec<Option<Record>> = futures_util::stream::iter(read)
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            let is_asked = |record: &Record| {
                is_in(&query.scope, record)
                    && query.status.is_none_or(|status| record.status == status)
            };
            records.extend(found.into_iter().flatten().filter(is_asked));
        }
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|last| {
            let at = last.timestamp.as_millisecond();
            Cursor(format!("{at}.{}", last.remediation_id))
        });
        Ok(Page { records, next })
    }

    /// A row as it is now; `None` if there is nothing of it. One whose chain does not hold is shown as it
    /// was noted last, and holds up nobody else: `verify` says what is wrong, and so does the sweep.
    async fn row(
        &self,
        id: RemediationId,
        at: i64,
        left: Option<Record>,
    ) -> Result<Option<Record>, LedgerError> {
        match self.chain(id).await.and_then(|chain| chain.record()) {
            Ok(record) => Ok(Some(record)),
            // Its time is over, and the table has removed it.
            Err(LedgerError::NotFound(_) | LedgerError::Expired(_)) => Ok(left),
            Err(LedgerError::Broken(_) | LedgerError::Illegal { .. }) => {
                let Ok(at) = Timestamp::from_millisecond(at) else {
                    return Ok(left);
                };
                let key = row_item(id, at);
                let noted = self.store.get(&self.store.tables.state, &key).await?;
                Ok(left.or_else(|| self.left(&noted?)))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks a bit further.
    async fn look(&self, source: &mut Source, ready: &mut Candidates) -> Result<(), LedgerError> {
        let Source { from, until, .. } = *source;
        let forward = source.order == Order::Oldest;
        match &mut source.place {
            Place::Nowhere => source.done = true,
            Place::Index(attribute, value) => {
                let (index, condition) = match *attribute {
                    "AccountId" => (
                        "AccountId-Timestamp-index",
                        "#AccountId = :value AND #Timestamp BETWEEN :from AND :until",
                    ),
                    _ => (
                        "ResourceId-Timestamp-index",
                        "#ResourceId = :value AND #Timestamp BETWEEN :from AND :until",
                    ),
                };
                let ask = Ask {
                    table: &self.store.tables.audit,
                    index: Some(index),
                    condition,
                    values: values([
                        (":value", s(value.as_str())),
                        (":from", n(from)),
                        (":until", n(until.saturating_add_unsigned(MOST_EVENTS))),
                    ]),
                    forward,
                    limit: None,
                };
                let found = self.store.page(&ask, source.rest.take()).await?;
                for item in &found.items {
                    let read = || {
                        let key: i64 = item.number("Timestamp")?;
                        let seq: u64 = item.number("Sequence")?;
                        let id = item.text("RemediationId")?.parse().ok()?;
                        Some((key, key.saturating_sub_unsigned(seq), id))
                    };
                    let (key, at, id) =
                        read().ok_or_else(|| self.store.damaged("a row cannot be read"))?;
                    // A row's key is its admission and a little more.
                    source.known = Some(match source.order {
                        Order::Oldest => key.saturating_sub_unsigned(MOST_EVENTS),
                        Order::Newest => key,
                    });
                    if (from..=until).contains(&at) {
                        ready.insert((at, id), None);
                    }
                }
                source.done = found.rest.is_none();
                source.rest = found.rest;
            }
            Place::Finding(finding) => {
                let key = format!("finding#{}", Digest::of_plain(finding));
                for item in self.store.under(&key, "0", END).await? {
                    let key = parse_time_key(&item);
                    let key = key.ok_or_else(|| self.store.damaged("a row cannot be read"))?;
                    if (from..=until).contains(&key.0) {
                        ready.insert(key, None);
                    }
                }
                source.done = true;
            }
            Place::Days(days) => {
                let days = match days {
                    Some(days) => days,
                    None => {
                        let mut known: Vec<String> = Vec::new();
                        for item in self.store.under(DAY, "0", END).await? {
                            known.extend(item.text("Item").map(str::to_owned));
                        }
                        let edge = |at: i64| Timestamp::from_millisecond(at).map(day).ok();
                        known.retain(|day| {
                            edge(from).is_none_or(|from| *day >= from)
                                && edge(until).is_none_or(|until| *day <= until)
                        });
                        if forward {
                            known.reverse();
                        }
                        days.insert(known)
                    }
                };
                let Some(day) = days.last() else {
                    source.done = true;
                    return Ok(());
                };
                let key = day_key(day);
                let ask = Ask {
                    table: &self.store.tables.state,
                    index: None,
                    condition: "#Key = :key AND #Item BETWEEN :from AND :until",
                    values: values([
                        (":key", s(key)),
                        (":from", s(format!("{from:013}"))),
                        (":until", s(format!("{until:013}{END}"))),
                    ]),
                    forward,
                    limit: None,
                };
                let found = self.store.page(&ask, source.rest.take()).await?;
                for item in &found.items {
                    let key = parse_time_key(item);
                    let key = key.ok_or_else(|| self.store.damaged("a row cannot be read"))?;
                    source.known = Some(key.0);
                    ready.insert(key, self.left(item));
                }
                if found.rest.is_none() {
                    days.pop();
                    source.done = days.is_empty();
                }
                source.rest = found.rest;
            }
        }
        Ok(())
    }

    /// What is left of a row.
    pub(super) fn left(&self, item: &Item) -> Option<Record> {
        serde_json::from_str(item.text("Left")?).ok()
    }

    /// Removes the way from a finding to what has expired.
    pub(super) async fn forget_finding(&self, record: &Record) -> Result<(), LedgerError> {
        let Record {
            finding_id,
            remediation_id,
            timestamp,
            ..
        } = record;
        let key = finding_item(finding_id, *remediation_id, *timestamp);
        let here = "attribute_exists(#Key)";
        self.store.delete(&key, here, values([])).await?;
        Ok(())
    }

    /// What was begun since then: of those that are open as they are now, of the others what may stay of
    /// a row. Something stays open for a while after its last event, so that who has looked lately finds
    /// among the open ones all that there is.
    pub(super) async fn begun_since(
        &self,
        since: Timestamp,
        now: Timestamp,
        known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut open = self.open().await?;
        let mut seen: HashSet<RemediationId> = open.iter().map(|open| open.id).collect();
        open.retain(|open| !known.contains(&open.id));
        let mut ended = self.ended(&open, now).await?;
        open.retain(|open| !ended.contains_key(&open.id));
        let rows = open
            .into_iter()
            .map(|open| self.row(open.id, open.at, None));
        let rows: Vec<Option<Record>> = futures_util::stream::iter(rows)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut records: Vec<Record> = rows.into_iter().flatten().collect();
        records.extend(ended.drain().map(|(_, record)| record));
        // The clocks of two processes may differ.
        let lately = now.saturating_sub(SETTLES * 2 / 3).unwrap_or(now);
        let mut next = (since < lately).then_some(since);
        while let Some(at) = next.filter(|at| day(*at) <= day(now)) {
            let key = day_key(&day(at));
            let from = format!("{:013}", since.as_millisecond());
            for item in self.store.under(&key, &from, END).await? {
                let (at, id) = parse_time_key(&item)
                    .ok_or_else(|| self.store.damaged("a row cannot be read"))?;
                if !seen.insert(id) || known.contains(&id) {
                    continue;
                }
                records.extend(match self.left(&item) {
                    // Why it was taken back is not in what may stay.
                    Some(left) if left.status == Status::Undone => {
                        self.row(id, at, Some(left)).await?
                    }
                    left => left,
                });
            }
            next = at.checked_add(Duration::from_hours(24)).ok();
        }
        records.retain(|record| record.started_at.is_some());
        Ok(records)
    }

    /// The rows of those that have ended a while ago, by one look in the index of each account that has
    /// several of them; who is not among them has to be read.
    async fn ended(
        &self,
        open: &[Open],
        now: Timestamp,
    ) -> Result<HashMap<RemediationId, Record>, LedgerError> {
        // What was admitted long before is behind too many others.
        let oldest = now.saturating_sub(SETTLES * 4).unwrap_or(now);
        let recent = |open: &&Open| open.at >= oldest.as_millisecond();
        let mut accounts: HashMap<String, Vec<i64>> = HashMap::new();
        for open in open.iter().filter(recent) {
            if let Some(account) = open.item.text("AccountId") {
                let times = accounts.entry(account.to_owned()).or_default();
                times.push(open.at);
            }
        }
        accounts.retain(|_, times| times.len() > 1);
        let looks = accounts.into_iter().map(|(account, times)| async move {
            let from = times.into_iter().min().unwrap_or_default();
            let ask = Ask {
                table: &self.store.tables.audit,
                index: Some("AccountId-Timestamp-index"),
                condition: "#AccountId = :account AND #Timestamp >= :from",
                values: values([(":account", s(account)), (":from", n(from))]),
                forward: true,
                limit: None,
            };
            self.store.all(&ask).await
        });
        let found: Vec<Vec<Item>> = futures_util::stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let rows = found.iter().flatten().filter_map(described);
        // The last one of each counts: it may have been taken up again.
        let mut rows: HashMap<RemediationId, Record> =
            rows.map(|record| (record.remediation_id, record)).collect();
        let open: HashSet<RemediationId> = open.iter().map(|open| open.id).collect();
        rows.retain(|id, record| open.contains(id) && record.status.is_final());
        Ok(rows)
    }

    /// What the attempt budget counts, by the rows of those that have come to rest.
    pub(super) async fn started(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        if resource_id.is_empty() {
            return Ok(Attempts::default());
        }
        let ask = Ask {
            table: &self.store.tables.audit,
            index: Some("ResourceId-Timestamp-index"),
            condition: "#ResourceId = :resource",
            values: values([(":resource", s(resource_id))]),
            forward: true,
            limit: None,
        };
        let mut last: HashMap<String, i64> = HashMap::new();
        for row in self.store.all(&ask).await? {
            let same = row.text("AccountId") == Some(account.as_str())
                && row.text("RemediationAction") == Some(remediation);
            if let (true, Some(id), Some(started)) =
                (same, row.text("RemediationId"), row.number("StartedAt"))
            {
                last.insert(id.to_owned(), started);
            }
        }
        let mut attempts = Attempts::default();
        for started in last.into_values() {
            let started = Timestamp::from_millisecond(started).ok();
            if started.is_some_and(|at| at >= since) {
                attempts.count += 1;
                attempts.last = attempts.last.max(started);
            }
        }
        Ok(attempts)
    }
}
