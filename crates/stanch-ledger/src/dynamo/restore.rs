//! A ledger put back into tables that hold none, from a backup or an export.
//!
//! Each write can be made again, so that a restore that was broken off goes on when it is asked for once
//! more with the same copy; an item says which one that is. What is open comes last: until then, whoever
//! sweeps the tables finds nothing to do in them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, BufRead},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::json;

use super::{
    AT_ONCE, DynamoLedger, SETTLES, Tables,
    chain::{MOST_EVENTS, New, removal, rests, seconds},
    index::{DAY, day, finding_item, row_item},
    item::{Item, b, n, s, ss},
    lock::{FORGOTTEN, LETTER, left_open, lock_key},
    store::Put,
    tree::{Mark, PASS, SEQUENCED, Stretch, pass_item},
};
use crate::{
    Checkpoint, DeadLetter, Digest, Directives as _, Event, Given, Ledger as _, LedgerError,
    Received, Record, RemediationId, Report, State, Store, TreeHead, VerifierKey,
    canonical::Canonical,
    chain::Header,
    export::parse_row,
    merkle::{Tree, leaf_hash},
    verify::{Chunk, Head, Lines},
};

/// Where it stands what is restored.
const RESTORE: &str = "restore";

/// The most text of an item that holds events of several appends: it must not be larger than an item is,
/// and one event has a place for itself.
const TEXT: usize = 128 << 10;

/// The most events of such an item.
const EVENTS: usize = 1_000;

/// A copy of a ledger, which `verify` has found to hold.
#[derive(Clone, Copy)]
pub enum Copy<'c> {
    /// A backup.
    Backup(&'c dyn Store),
    /// An export of everything: opens it.
    Export(&'c dyn Fn() -> io::Result<Box<dyn BufRead>>),
}

impl std::fmt::Debug for Copy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Backup(_) => "Backup",
            Self::Export(_) => "Export",
        })
    }
}

/// What was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Remediations.
    pub remediations: u64,
    /// Their events.
    pub events: u64,
    /// Checkpoints that were left out: another key has signed them, or they cover orders that are lost.
    pub left_out: u64,
}

/// Reads a copy, some remediations at a time.
enum Reader<'c> {
    Backup {
        copy: &'c dyn Store,
        after: Option<u64>,
        size: u64,
    },
    Export(Lines<Box<dyn BufRead>>),
}

/// A remediation of a copy.
struct Block {
    new: Vec<New>,
    row: Option<Record>,
}

/// What a copy has, as far as it is not read again.
struct Survey {
    /// In the order of the tree.
    headers: Vec<Header>,
    admitted: HashMap<RemediationId, Timestamp>,
    /// When the oldest was admitted whose contents are still there, and would not be kept.
    oldest: Option<Timestamp>,
    root: Digest,
    head: Head,
}

/// What is known of what is not settled, or was not long ago.
#[derive(Default)]
struct Unsettled {
    open: Vec<Item>,
    /// By resource: when somebody was there last, and what was left open.
    resources: BTreeMap<String, (i64, BTreeSet<String>)>,
}

fn unreadable(error: io::Error) -> LedgerError {
    LedgerError::Copy(Arc::new(error))
}

impl<'c> Reader<'c> {
    /// From the beginning, with the checkpoints and orders, and how many events there are with which root.
    async fn open(copy: Copy<'c>) -> Result<(Self, Head, u64, Digest), LedgerError> {
        match copy {
            Copy::Backup(copy) => {
                let TreeHead { size, root, .. } = copy.head().await?;
                let reader = Self::Backup {
                    copy,
                    after: Some(0),
                    size,
                };
                let head = Head {
                    checkpoints: copy.checkpoints().await?,
                    orders: copy.directives().await?,
                };
                Ok((reader, head, size, root))
            }
            Copy::Export(open) => {
                let mut lines = Lines::new(open().map_err(unreadable)?);
                let mut report = Report::default();
                let head = lines.head(&mut report).map_err(unreadable)?;
                let last = head.checkpoints.last();
                let whole = last.filter(|_| report.holds() && !report.selection);
                let whole = whole.map(|last| (last.size, last.root));
                let (size, root) = whole.ok_or_else(|| {
                    unreadable(io::Error::other("it is not an export of everything"))
                })?;
                // Nobody signed what stands behind those.
                let orders = head.checkpoints.iter().map(|signed| signed.orders.count);
                if head.orders.len() as u64 > orders.max().unwrap_or(0) {
                    let what = "it has orders that no checkpoint in it covers";
                    return Err(unreadable(io::Error::other(what)));
                }
                Ok((Self::Export(lines), head, size, root))
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<Block>>, LedgerError> {
        let chunk = match self {
            Self::Backup { copy, after, size } => {
                let Some(row) = *after else { return Ok(None) };
                let slice = copy.slice(row, *size).await?;
                *after = slice.next;
                Some(Chunk::of(slice))
            }
            Self::Export(lines) => lines.chunk().map_err(unreadable)?,
        };
        chunk.map(blocks).transpose()
    }
}

fn blocks(chunk: Chunk) -> Result<Vec<Block>, LedgerError> {
    let Chunk { text, mut rows, .. } = chunk;
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.split_terminator('\n') {
        if let Some(row) = parse_row(line) {
            rows.insert(row.remediation_id, row);
            continue;
        }
        let (header, text) = Header::parse_line(line)
            .ok_or_else(|| unreadable(io::Error::other("a line is not an event")))?;
        let text = text.map(str::to_owned);
        let new = New { header, text };
        let is_same = |block: &&mut Block| {
            let before = block.new.first();
            before.is_some_and(|before| before.header.id == header.id)
        };
        match blocks.last_mut().filter(is_same) {
            Some(block) => block.new.push(new),
            None => blocks.push(Block {
                new: vec![new],
                row: rows.remove(&header.id).filter(|row| row.expired),
            }),
        }
    }
    Ok(blocks)
}

impl Survey {
    /// Reads all of a copy, which `tables` are to have; what it says of itself has to be true.
    async fn of(copy: Copy<'_>, tables: &Tables, now: Timestamp) -> Result<Self, LedgerError> {
        let (mut reader, head, size, root) = Reader::open(copy).await?;
        let mut headers = Vec::new();
        let mut admitted = HashMap::new();
        let mut oldest: Option<Timestamp> = None;
        while let Some(blocks) = reader.next().await? {
            for Block { new, row } in blocks {
                let Some((first, text)) = new.first().map(|new| (new.header, &new.text)) else {
                    continue;
                };
                if new.len() as u64 > MOST_EVENTS {
                    return Err(LedgerError::TooLong(first.id));
                }
                if new.iter().any(|new| new.text.is_none()) && row.is_none() {
                    return Err(LedgerError::NoRow(first.id));
                }
                admitted.insert(first.id, first.at);
                let remediation = text.as_deref().and_then(remediation_of);
                let remediation = remediation.filter(|_| row.is_none());
                if remediation.is_some_and(|name| now >= tables.kept(&name, first.at)) {
                    oldest = Some(oldest.map_or(first.at, |oldest| oldest.min(first.at)));
                }
                headers.extend(new.iter().map(|new| new.header));
            }
        }
        headers.sort_unstable_by_key(|header| header.leaf);
        let mut tree = Tree::default();
        for header in &headers {
            tree.push(leaf_hash(&header.link()));
        }
        let in_place = (0..)
            .zip(&headers)
            .all(|(leaf, header)| header.leaf == leaf);
        if !in_place || (tree.size(), tree.root()) != (size, root) {
            return Err(LedgerError::Tree(size));
        }
        Ok(Self {
            headers,
            admitted,
            oldest,
            root,
            head,
        })
    }
}

impl DynamoLedger {
    /// Whether these tables have nothing in them but a restore that was broken off.
    ///
    /// # Errors
    /// [`LedgerError::NotEmpty`]; or they cannot be read.
    pub async fn is_restorable(&self) -> Result<(), LedgerError> {
        let state = &self.store.tables.state;
        let begun = self.store.get(state, &Item::key(RESTORE, "copy")).await?;
        match begun {
            Some(begun) if begun.text("Done").is_none() => Ok(()),
            Some(_) => Err(not_empty(state)),
            None => self.are_empty().await,
        }
    }

    async fn are_empty(&self) -> Result<(), LedgerError> {
        for table in [&self.store.tables.audit, &self.store.tables.state] {
            if !self.store.is_empty(table).await? {
                return Err(not_empty(table));
            }
        }
        Ok(())
    }

    /// Puts a ledger into these tables, in which there is none. `resource` names the resource of a
    /// remediation as its locks do. Of the checkpoints those stay that `key` has signed, if there is one,
    /// and that the copy has the orders of. What is older than the tables keep it would be removed by the next sweep.
    ///
    /// # Errors
    /// [`LedgerError::NotEmpty`]; [`LedgerError::TooOld`], unless that is accepted; the copy is not whole;
    /// or the tables cannot be used, and the restore goes on when it is asked for again.
    pub async fn restore(
        &self,
        copy: Copy<'_>,
        key: Option<&VerifierKey>,
        resource: &dyn Fn(&Received) -> String,
        now: Timestamp,
        accept_loss: bool,
    ) -> Result<Restored, LedgerError> {
        let survey = Survey::of(copy, &self.store.tables, now).await?;
        if let Some(oldest) = survey.oldest.filter(|_| !accept_loss) {
            let age = now.duration_since(oldest).unsigned_abs();
            let days = age.as_secs() / 86_400 + 1;
            return Err(LedgerError::TooOld(days));
        }
        let state = &self.store.tables.state;
        let marker = self.begin(&survey).await?;
        self.obey(&survey.head.orders).await?;
        let mut unsettled = Unsettled::default();
        let (mut reader, ..) = Reader::open(copy).await?;
        while let Some(blocks) = reader.next().await? {
            let put = blocks.into_iter().map(|block| self.put_block(block, now));
            let mut put = futures_util::stream::iter(put).buffer_unordered(AT_ONCE);
            while let Some(put) = put.try_next().await? {
                let Some((id, end, updated_at)) = put else {
                    continue;
                };
                let received = &end.received;
                let open = self.open_item(id, end.at, received, None, now).await?;
                unsettled.add(open, id, &end, updated_at, resource(received), now);
            }
        }
        self.plant(&survey).await?;
        let head = self.head().await?;
        if (head.size, head.root) != (survey.headers.len() as u64, survey.root) {
            return Err(LedgerError::Tree(head.size));
        }
        if let Copy::Backup(copy) = copy {
            for letter in copy.dead_letters(u32::MAX).await? {
                self.put_letter(letter).await?;
            }
        }
        let orders = &survey.head.orders;
        let is_ours = |kept: &&Checkpoint| {
            key.is_none_or(|key| kept.is_signed_by(key)) && kept.orders.begin(orders)
        };
        let ours: Vec<&Checkpoint> = survey.head.checkpoints.iter().filter(is_ours).collect();
        for checkpoint in &ours {
            self.keep(checkpoint).await?;
        }
        let locks = unsettled.locks(now);
        let last: Vec<Item> = locks.chain(unsettled.open.iter().cloned()).collect();
        futures_util::stream::iter(last.iter().map(|item| self.store.put(state, item)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let done = marker.with("Done", s(now.to_string()));
        self.store.put(state, &done).await?;
        Ok(Restored {
            remediations: survey.admitted.len() as u64,
            events: head.size,
            left_out: (survey.head.checkpoints.len() - ours.len()) as u64,
        })
    }
}

impl DynamoLedger {
    /// Says in an empty state table what is being restored; what it is about to say when that is done.
    async fn begin(&self, survey: &Survey) -> Result<Item, LedgerError> {
        let state = &self.store.tables.state;
        let key = Item::key(RESTORE, "copy");
        let size = survey.headers.len() as u64;
        let marker = key
            .clone()
            .with("Size", n(size))
            .with("Root", b(survey.root.as_bytes()));
        if let Some(found) = self.store.get(state, &key).await? {
            let is_same = found.number("Size") == Some(size)
                && found.digest("Root") == Some(survey.root)
                && found.text("Done").is_none();
            return is_same.then_some(marker).ok_or_else(|| not_empty(state));
        }
        self.are_empty().await?;
        match self.store.create(state, marker.clone()).await? {
            Put::Done => Ok(marker),
            Put::Refused => Err(not_empty(state)),
        }
    }

    /// Puts an item where there is none, or that very item.
    async fn put_once(&self, table: &str, item: Item) -> Result<(), LedgerError> {
        if self.store.create(table, item.clone()).await? == Put::Done {
            return Ok(());
        }
        let key = self.store.key_of(table, &item);
        let found = self.store.get(table, &key).await?.unwrap_or_default();
        let is_there = |(name, value): (&String, _)| {
            name == "ExpiresAt" || found.0.get(name).is_some_and(|found| found == value)
        };
        match item.0.iter().all(is_there) {
            true => Ok(()),
            false => Err(not_empty(table)),
        }
    }

    /// What people ordered holds before anything can go on.
    async fn obey(&self, orders: &[Given]) -> Result<(), LedgerError> {
        if let Some(order) = Given::broken(orders) {
            return Err(LedgerError::Order(order));
        }
        let there = self.directives().await?;
        let rest = orders.strip_prefix(there.as_slice());
        let rest = rest.ok_or_else(|| not_empty(&self.store.tables.state))?;
        for given in rest {
            if !self.give(given.clone()).await? {
                return Err(not_empty(&self.store.tables.state));
            }
        }
        Ok(())
    }

    /// Puts a remediation back, with where its events are in the tree. Gives its state, unless it has
    /// expired, and when its last event was stored.
    async fn put_block(
        &self,
        block: Block,
        now: Timestamp,
    ) -> Result<Option<(RemediationId, State, Timestamp)>, LedgerError> {
        let Block { new, row } = block;
        let ends = new.first().zip(new.last());
        let Some((first, last)) = ends.map(|(first, last)| (first.header, last.header)) else {
            return Ok(None);
        };
        let (id, at, events) = (first.id, first.at, last.seq + 1);
        let leaves = stretches(&new);
        let last_text = new.last().and_then(|new| new.text.clone());
        let remediation = match &row {
            Some(row) => Some(row.remediation_action.clone()),
            None => new
                .first()
                .and_then(|new| remediation_of(new.text.as_deref()?)),
        };
        let kept = self.store.tables.kept(&remediation.unwrap_or_default(), at);
        let gone = removal(kept, now);
        let mut state: Option<State> = None;
        for portion in portions(new) {
            let before = state.as_ref().map(|state| state.status);
            for one in portion.iter().filter(|_| row.is_none()) {
                state = Some(next(state, one)?);
            }
            let end = portion.last().map_or(last, |new| new.header);
            let left = row.as_ref().filter(|_| end.seq == last.seq);
            let rested = state
                .as_ref()
                .filter(|state| rests(state.status) && before != Some(state.status))
                .map(|state| Record::project(id, state, end.seq + 1, end.at));
            let shown = left.or(rested.as_ref());
            if let Some(item) = self.row_of(at, &portion, shown, left, gone).await? {
                self.put_once(&self.store.tables.audit, item).await?;
            }
        }
        let table = &self.store.tables.state;
        let mut item = row_item(id, at)
            .with("Sequenced", n(events))
            .with("Leaves", json!({ "L": leaves }));
        let left = match (row, &state) {
            (Some(row), _) => {
                item = item.with("Last", s(last_text.unwrap_or_default()));
                row
            }
            (None, None) => return Err(LedgerError::NoRow(id)),
            (None, Some(state)) => {
                let finding = finding_item(&state.received.finding_id, id, at);
                let finding = finding.with("ExpiresAt", n(seconds(gone)));
                self.store.put(table, &finding).await?;
                let mut left = state.clone();
                left.forget();
                left.expired = true;
                Record::project(id, &left, events, last.at)
            }
        };
        let left = serde_json::to_string(&left).map_err(LedgerError::encode)?;
        self.store.put(table, &item.with("Left", s(left))).await?;
        Ok(state.map(|state| (id, state, last.at)))
    }

    /// Plants the tree again as it grew.
    async fn plant(&self, survey: &Survey) -> Result<(), LedgerError> {
        let table = &self.store.tables.state;
        let days: BTreeSet<String> = survey.admitted.values().map(|at| day(*at)).collect();
        for day in days {
            self.store.put(table, &Item::key(DAY, &day)).await?;
        }
        // The rows have their places: nobody has to note them.
        let end = Item::key(SEQUENCED, "end").with("Leaves", n(survey.headers.len()));
        self.store.put(table, &end).await?;
        let mut tree = Tree::default();
        for headers in survey.headers.chunks(PASS) {
            let start = tree.size();
            let links: Vec<Vec<u8>> = headers.iter().map(Header::link).collect();
            for link in &links {
                tree.push(leaf_hash(link));
            }
            let mut marks: Vec<Mark> = Vec::new();
            for Header { id, seq, .. } in headers {
                match marks.last_mut().filter(|mark| mark.id == *id) {
                    Some(mark) => mark.events += 1,
                    None => marks.push(Mark {
                        id: *id,
                        at: survey.admitted.get(id).map_or(0, |at| at.as_millisecond()),
                        seq: *seq,
                        events: 1,
                    }),
                }
            }
            let pass = pass_item(start, &links, &marks, tree.root())?;
            self.put_once(table, pass).await?;
        }
        Ok(())
    }

    async fn put_letter(&self, letter: DeadLetter) -> Result<(), LedgerError> {
        let DeadLetter {
            id,
            at,
            times,
            letter,
        } = letter;
        let item = Item::key(LETTER, &id.to_string())
            .with("At", n(at.as_millisecond()))
            .with("From", s(letter.source))
            .with("Reason", s(letter.reason))
            .with("Times", n(times));
        let body = letter.body.as_bytes();
        let item = self.store.fold_in(item, "Body", "letters", body).await?;
        self.store.put(&self.store.tables.state, &item).await
    }
}

impl Unsettled {
    fn add(
        &mut self,
        open: Item,
        id: RemediationId,
        state: &State,
        updated_at: Timestamp,
        resource: String,
        now: Timestamp,
    ) {
        let is_open = !state.status.is_final();
        let within = |time| now.checked_sub(time).is_ok_and(|since| updated_at >= since);
        if is_open || within(SETTLES) {
            self.open.push(open);
        }
        if is_open || within(FORGOTTEN) {
            let (freed, left) = self.resources.entry(resource).or_default();
            *freed = updated_at.as_millisecond().max(*freed);
            left.extend(is_open.then(|| id.to_string()));
        }
    }

    /// Locks that nobody holds, so that the budget of attempts and whoever comes next know who was there.
    fn locks(&self, now: Timestamp) -> impl Iterator<Item = Item> {
        let forgotten = now.checked_add(FORGOTTEN).unwrap_or(now);
        let kept = left_open(now);
        self.resources.iter().map(move |(resource, (freed, open))| {
            let lock = lock_key(resource)
                .with("Until", n(0))
                .with("Freed", n(freed));
            match open.is_empty() {
                true => lock.with("ExpiresAt", n(seconds(forgotten))),
                // There is no empty set.
                false => lock.with("ExpiresAt", n(kept)).with("Open", ss(open)),
            }
        })
    }
}

fn not_empty(table: &str) -> LedgerError {
    LedgerError::NotEmpty(table.to_owned())
}

/// What was to be done about a finding, by the event that took it in.
fn remediation_of(text: &str) -> Option<String> {
    let event: Event = serde_json::from_str(text).ok()?;
    match event {
        Event::Received(received) => Some(received.remediation.clone()),
        _ => None,
    }
}

/// The state after the next event, which has to be what its hash says.
fn next(state: Option<State>, new: &New) -> Result<State, LedgerError> {
    let New { header, text } = new;
    let id = header.id;
    let text = text.as_deref().ok_or(LedgerError::NoRow(id))?;
    if Canonical::default().digest(text).ok() != Some(header.body) {
        return Err(header.broken("was changed").into());
    }
    let event: Event = serde_json::from_str(text).map_err(|_| header.broken("cannot be read"))?;
    let state = match state {
        None => State::first(&event, header.at),
        Some(state) => state.apply(&event, header.at),
    };
    state.map_err(|source| LedgerError::Illegal { id, source })
}

/// The events as they go into items: those of one moment together, the first with what followed on it.
fn portions(new: Vec<New>) -> Vec<Vec<New>> {
    let mut portions: Vec<Vec<New>> = Vec::new();
    let mut size = 0;
    for one in new {
        let length = one.text.as_ref().map_or(0, String::len);
        let joins = |portion: &&mut Vec<New>| {
            let fits = portion.len() < EVENTS && size + length <= TEXT;
            let together = portion.last().is_some_and(|last| {
                let (before, this) = (&last.header, &one.header);
                let at_once = (before.v, before.at) == (this.v, this.at);
                (before.seq == 0 || at_once) && last.text.is_some() == one.text.is_some()
            });
            fits && together
        };
        match portions.last_mut().filter(joins) {
            Some(portion) => {
                portion.push(one);
                size += length;
            }
            None => {
                portions.push(vec![one]);
                size = length;
            }
        }
    }
    portions
}

/// Where events stand in the tree.
fn stretches(new: &[New]) -> Vec<serde_json::Value> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for Header { seq, leaf, .. } in new.iter().map(|new| new.header) {
        match stretches.last_mut() {
            Some(last) if last.leaf + last.events == leaf => last.events += 1,
            _ => stretches.push(Stretch {
                seq,
                leaf,
                events: 1,
            }),
        }
    }
    let stretches = stretches.iter().map(ToString::to_string);
    stretches.map(s).collect()
}
