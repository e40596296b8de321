//! The tree over all events, made afterwards: events get their places in batches, and no item of the
//! tree is touched by an append.
//!
//! A batch, a *pass*, is an item of the state table whose key is the number of its first leaf. Of two
//! processes that make the next pass, the condition on that key refuses one. What a pass says of each
//! remediation is then noted at its row; before the next pass is made, that is done for the one before,
//! by whoever makes it. So no event gets two places.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AT_ONCE, DynamoLedger, SETTLES, Swept,
    chain::{Chain, open_key, seconds},
    index::{DAY, Open, day, day_key, finding_item, parse_time_key, row_item},
    item::{Item, b, n, s},
    store::{Ask, Put, Returns, compress, decompress, values},
};
use crate::{
    Digest, Event, LedgerError, RemediationId, Slice, StoreFault, Told, TreeHead,
    chain::Header,
    merkle::{self, TILE_WIDTH, Tree, leaf_hash},
};

/// The partition of the passes.
const TREE: &str = "tree";

/// The partition of the roots of full tiles, which are computed once.
const SUBTREE: &str = "subtree";

/// The partition of how far the passes were noted at their rows.
pub(super) const SEQUENCED: &str = "sequenced";

/// The most leaves in a pass: each takes about 100 bytes.
pub(super) const PASS: usize = 1_024;

/// Leaves that are remembered; they never change.
const REMEMBERED: usize = 32_768;

/// Remediations in a slice.
const SLICE: usize = 256;

/// Leaves that got their places at once.
#[derive(Debug)]
pub(super) struct Pass {
    start: u64,
    links: Vec<Vec<u8>>,
    marks: Vec<Mark>,
    root: Digest,
}

/// Which events of a remediation they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) id: RemediationId,
    /// When it was admitted, in milliseconds.
    pub(super) at: i64,
    pub(super) seq: u64,
    pub(super) events: u64,
}

/// Passes that were read.
#[derive(Debug, Default)]
pub(super) struct Passes {
    kept: Mutex<BTreeMap<u64, Arc<Pass>>>,
    placed: Mutex<Placed>,
}

/// How many events of remediations had places when the tree had so many leaves.
#[derive(Debug, Default)]
struct Placed {
    size: u64,
    events: HashMap<RemediationId, u64>,
}

/// What an entry says of itself; the hash is over all of it.
#[derive(Deserialize)]
struct Link {
    at: i64,
    body: Digest,
    id: RemediationId,
    prev: Digest,
    seq: u64,
    v: u32,
}

/// How many events of a remediation have places, and where they are.
#[derive(Debug, Default)]
struct Places {
    events: u64,
    stretches: Vec<Stretch>,
}

/// Events that stand one behind the other in the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) seq: u64,
    pub(super) leaf: u64,
    pub(super) events: u64,
}

/// As a row has it.
impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seq, leaf, events } = self;
        write!(f, "{seq}.{leaf}.{events}")
    }
}

impl Pass {
    fn end(&self) -> u64 {
        self.start + self.links.len() as u64
    }
}

impl Passes {
    fn keep(&self, pass: Pass) -> Arc<Pass> {
        let mut passes = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.values().map(|pass| pass.links.len()).sum::<usize>() > REMEMBERED {
            passes.clear();
        }
        let pass = Arc::new(pass);
        passes.insert(pass.start, Arc::clone(&pass));
        pass
    }

    fn placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the last pass.
    fn reach(&self, tail: Option<&Pass>) {
        let mut placed = self.placed();
        let size = tail.map_or(0, Pass::end);
        match tail {
            _ if placed.size == size => {}
            Some(tail) if placed.size == tail.start => {
                for mark in &tail.marks {
                    placed.events.insert(mark.id, mark.seq + mark.events);
                }
            }
            _ => placed.events.clear(),
        }
        if placed.events.len() > REMEMBERED {
            placed.events.clear();
        }
        placed.size = size;
    }

    /// The one that holds a leaf.
    fn with(&self, leaf: u64) -> Option<Arc<Pass>> {
        let passes = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, pass) = passes.range(..=leaf).next_back()?;
        (leaf < pass.end()).then(|| Arc::clone(pass))
    }
}

fn pass_key(start: u64) -> String {
    format!("{start:016}")
}

/// A pass as it is stored.
pub(super) fn pass_item(
    start: u64,
    links: &[Vec<u8>],
    marks: &[Mark],
    root: Digest,
) -> Result<Item, LedgerError> {
    let marked = serde_json::to_vec(marks).map_err(LedgerError::encode)?;
    Ok(Item::key(TREE, &pass_key(start))
        .with("Links", b(&compress(&links.join(&b'\n'))?))
        .with("Marks", b(&compress(&marked)?))
        .with("Root", b(root.as_bytes())))
}

impl DynamoLedger {
    fn read_pass(&self, item: &Item) -> Result<Arc<Pass>, LedgerError> {
        let read = || {
            let links = decompress(&item.bytes("Links")?)?;
            let marks = decompress(&item.bytes("Marks")?)?;
            Some(Pass {
                start: item.text("Item")?.parse().ok()?,
                links: links
                    .split('\n')
                    .map(|link| link.as_bytes().to_vec())
                    .collect(),
                marks: serde_json::from_str(&marks).ok()?,
                root: item.digest("Root")?,
            })
        };
        let pass = read().ok_or_else(|| self.store.damaged("a part of the tree cannot be read"))?;
        Ok(self.passes.keep(pass))
    }

    /// The last pass.
    async fn tail(&self) -> Result<Option<Arc<Pass>>, LedgerError> {
        let last = self.store.last(TREE, "~").await?;
        last.map(|item| self.read_pass(&item)).transpose()
    }

    /// The pass that holds a leaf, of a tree that has it.
    async fn pass_with(&self, leaf: u64) -> Result<Option<Arc<Pass>>, LedgerError> {
        if let Some(pass) = self.passes.with(leaf) {
            return Ok(Some(pass));
        }
        let last = self.store.last(TREE, &pass_key(leaf)).await?;
        let pass = last.map(|item| self.read_pass(&item)).transpose()?;
        Ok(pass.filter(|pass| leaf < pass.end()))
    }

    /// What the hashes of these leaves are taken over, as far as there are such leaves.
    pub(super) async fn stored_links(
        &self,
        leaves: Range<u64>,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut links = Vec::new();
        let mut next = leaves.start;
        while next < leaves.end {
            let Some(pass) = self.pass_with(next).await? else {
                break;
            };
            let from = (next - pass.start) as usize;
            let until = (leaves.end.min(pass.end()) - pass.start) as usize;
            links.extend_from_slice(pass.links.get(from..until).unwrap_or_default());
            next = pass.end();
        }
        Ok(links)
    }

    /// The hashes of a tile of the tree as it was with `size` leaves.
    pub(super) async fn hashes_of(
        &self,
        level: u8,
        index: u64,
        size: u64,
    ) -> Result<Vec<Digest>, LedgerError> {
        let width = merkle::tile_width(level, index, size) as u64;
        let first = index.saturating_mul(TILE_WIDTH as u64);
        let Some(below) = level.checked_sub(1) else {
            let links = self.stored_links(first..first + width).await?;
            return Ok(links.iter().map(|link| leaf_hash(link)).collect());
        };
        if width == 0 {
            return Ok(Vec::new());
        }
        // The root of a full tile is noted when it is first asked for.
        let key = |number: u64| format!("{level}#{number:013}");
        let noted = self
            .store
            .under(SUBTREE, &key(first), &key(first + width - 1))
            .await?;
        let mut noted: HashMap<String, Digest> = noted
            .iter()
            .filter_map(|item| Some((item.text("Item")?.to_owned(), item.digest("Hash")?)))
            .collect();
        let mut hashes = Vec::new();
        for number in first..first + width {
            let key = key(number);
            if let Some(hash) = noted.remove(&key) {
                hashes.push(hash);
                continue;
            }
            let whole = Box::pin(self.hashes_of(below, number, u64::MAX)).await?;
            if whole.len() != TILE_WIDTH {
                break;
            }
            let hash = merkle::root(&whole);
            let item = Item::key(SUBTREE, &key).with("Hash", b(hash.as_bytes()));
            // Whoever may only read computes it again.
            match self.store.put(&self.store.tables.state, &item).await {
                Ok(()) | Err(LedgerError::Store { .. }) => hashes.push(hash),
                Err(error) => return Err(error),
            }
        }
        Ok(hashes)
    }

    /// The tree of `size` leaves.
    async fn tree(&self, size: u64) -> Result<Tree, LedgerError> {
        let mut edge = HashMap::new();
        let mut above = size;
        for level in 0..u8::MAX {
            if above == 0 {
                break;
            }
            let index = above >> 8;
            if !above.is_multiple_of(TILE_WIDTH as u64) {
                edge.insert((level, index), self.hashes_of(level, index, size).await?);
            }
            above = index;
        }
        let tile = |level, index| {
            let tile = edge.remove(&(level, index));
            Ok::<_, LedgerError>(tile.unwrap_or_default())
        };
        Tree::load(size, tile)?.ok_or(LedgerError::Tree(size))
    }

    /// The tree with all events that are there now, as far as this process may write.
    pub(super) async fn sequenced(&self) -> Result<TreeHead, LedgerError> {
        match self.sequence().await {
            Ok(_) => {}
            // Whoever may only read sees what others have put into it.
            Err(LedgerError::Store {
                fault: StoreFault::Denied,
                ..
            }) => {}
            Err(error) => return Err(error),
        }
        let tail = self.tail().await?;
        let size = tail.as_ref().map_or(0, |tail| tail.end());
        let root = self.tree(size).await?.root();
        if tail.is_some_and(|tail| tail.root != root) {
            return Err(LedgerError::Tree(size));
        }
        Ok(TreeHead {
            size,
            root,
            events: size,
        })
    }

    /// Gives all events that have none their places in the tree. Returns how many.
    pub(super) async fn sequence(&self) -> Result<u64, LedgerError> {
        let mut added = 0;
        loop {
            let tail = self.tail().await?;
            let size = tail.as_ref().map_or(0, |tail| tail.end());
            if let Some(tail) = &tail {
                self.settle(tail).await?;
            }
            self.passes.reach(tail.as_deref());
            let mut outstanding = self.outstanding(size).await?;
            if outstanding.is_empty() {
                return Ok(added);
            }
            outstanding.sort_by_key(|(mark, _)| (mark.at, mark.id));
            let mut tree = self.tree(size).await?;
            let mut links: Vec<Vec<u8>> = Vec::new();
            let mut marks = Vec::new();
            let mut is_all = true;
            for (mark, headers) in outstanding {
                let room = PASS.saturating_sub(links.len());
                let taken = headers.iter().take(room).map(Header::link);
                let before = links.len();
                links.extend(taken);
                let events = (links.len() - before) as u64;
                is_all &= headers.len() as u64 == events;
                if events > 0 {
                    marks.push(Mark { events, ..mark });
                }
            }
            for link in &links {
                tree.push(leaf_hash(link));
            }
            let root = tree.root();
            let item = pass_item(size, &links, &marks, root)?;
            if self.store.create(&self.store.tables.state, item).await? == Put::Done {
                added += links.len() as u64;
                let pass = self.passes.keep(Pass {
                    start: size,
                    links,
                    marks,
                    root,
                });
                self.settle(&pass).await?;
                self.passes.reach(Some(&pass));
                if is_all {
                    return Ok(added);
                }
            }
        }
    }

    /// The events that have no place in the tree of `size` leaves.
    async fn outstanding(&self, size: u64) -> Result<Vec<(Mark, Vec<Header>)>, LedgerError> {
        let open = self.open().await?;
        let ask = open.into_iter().map(|open| self.outstanding_of(open, size));
        let found: Vec<_> = futures_util::stream::iter(ask)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn outstanding_of(
        &self,
        open: Open,
        size: u64,
    ) -> Result<Option<(Mark, Vec<Header>)>, LedgerError> {
        let Some(chain) = self.chain_of(open.id).await? else {
            return Ok(None);
        };
        let known = {
            let placed = self.passes.placed();
            let events = placed.events.get(&open.id).copied();
            events.filter(|_| placed.size == size)
        };
        let seq = match known {
            Some(seq) => seq,
            None => {
                let seq = self.places(&chain).await?.events;
                let mut placed = self.passes.placed();
                if placed.size == size {
                    placed.events.insert(open.id, seq);
                }
                seq
            }
        };
        let headers = usize::try_from(seq)
            .ok()
            .and_then(|seq| chain.headers.get(seq..));
        let headers = headers.unwrap_or_default().to_vec();
        let mark = Mark {
            id: open.id,
            at: open.at,
            seq,
            events: 0,
        };
        Ok((!headers.is_empty()).then_some((mark, headers)))
    }

    /// The chain of an open one; `None` if it is damaged, which is for `verify` to say, or if nothing
    /// is left of it.
    async fn chain_of(&self, id: RemediationId) -> Result<Option<Chain>, LedgerError> {
        match self.chain(id).await {
            Ok(chain) => Ok(Some(chain)),
            Err(LedgerError::Broken(_) | LedgerError::NotFound(_) | LedgerError::Expired(_)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn places(&self, chain: &Chain) -> Result<Places, LedgerError> {
        let key = row_item(chain.id, chain.at);
        match self.store.get(&self.store.tables.state, &key).await? {
            Some(row) => self.read_places(&row),
            None => Ok(Places::default()),
        }
    }

    fn read_places(&self, row: &Item) -> Result<Places, LedgerError> {
        let read = |text: &str| {
            let mut numbers = text.split('.').map(|number| number.parse().ok());
            Some(Stretch {
                seq: numbers.next()??,
                leaf: numbers.next()??,
                events: numbers.next()??,
            })
        };
        let read = || {
            Some(Places {
                events: row.number("Sequenced")?,
                stretches: row
                    .texts("Leaves")
                    .into_iter()
                    .map(read)
                    .collect::<Option<_>>()?,
            })
        };
        read().ok_or_else(|| self.store.damaged("a row cannot be read"))
    }

    /// Notes at each remediation of a pass where its events are.
    async fn settle(&self, pass: &Pass) -> Result<(), LedgerError> {
        let state = &self.store.tables.state;
        let key = Item::key(SEQUENCED, "end");
        let done = self.store.get(state, &key).await?;
        let done: u64 = done.and_then(|done| done.number("Leaves")).unwrap_or(0);
        if done >= pass.end() {
            return Ok(());
        }
        let mut days: Vec<String> = Vec::new();
        let mut leaf = pass.start;
        let mut notes = Vec::new();
        for mark in &pass.marks {
            let at = Timestamp::from_millisecond(mark.at);
            let at = at.map_err(|_| self.store.damaged("a time cannot be read"))?;
            if mark.seq == 0 && !days.contains(&day(at)) {
                days.push(day(at));
            }
            notes.push(self.note(mark, at, leaf));
            leaf += mark.events;
        }
        for day in days {
            self.store.put(state, &Item::key(DAY, &day)).await?;
        }
        futures_util::stream::iter(notes)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let values = values([(":end", n(pass.end()))]);
        let later = Some("attribute_not_exists(#Leaves) OR #Leaves < :end");
        self.store
            .update(&key, "SET #Leaves = :end", later, values, Returns::Nothing)
            .await?;
        Ok(())
    }

    async fn note(&self, mark: &Mark, at: Timestamp, leaf: u64) -> Result<(), LedgerError> {
        let Mark {
            id, seq, events, ..
        } = *mark;
        let chain = match self.chain(id).await {
            Ok(chain) => Some(chain),
            Err(LedgerError::NotFound(_) | LedgerError::Expired(_) | LedgerError::Broken(_)) => {
                None
            }
            Err(error) => return Err(error),
        };
        let mut expression = "SET #Sequenced = :end, \
             #Leaves = list_append(if_not_exists(#Leaves, :none), :leaves)"
            .to_owned();
        let stretch = Stretch { seq, leaf, events }.to_string();
        let mut values = values([
            (":end", n(seq + events)),
            (":none", json!({"L": []})),
            (":leaves", json!({"L": [s(stretch)]})),
        ]);
        if let Some(chain) = chain {
            if let (0, Some(Event::Received(received))) = (seq, first(&chain)) {
                let end = self.store.tables.removal(at, at);
                let item =
                    finding_item(&received.finding_id, id, at).with("ExpiresAt", n(seconds(end)));
                self.store.put(&self.store.tables.state, &item).await?;
            }
            // What may stay when the events are gone.
            let left = chain.record_left()?;
            let left = serde_json::to_string(&left).map_err(LedgerError::encode)?;
            expression.push_str(", #Left = :left");
            values.insert(":left".to_owned(), s(left));
            if let (Some(_), Some(Some(last))) = (&chain.left, chain.texts.last()) {
                expression.push_str(", #Last = :last");
                values.insert(":last".to_owned(), s(last.as_str()));
            }
        }
        let condition = match seq {
            0 => "attribute_not_exists(#Sequenced)",
            _ => {
                values.insert(":start".to_owned(), n(seq));
                "#Sequenced = :start"
            }
        };
        // Where it does not hold, another process has noted it.
        self.store
            .update(
                &row_item(id, at),
                &expression,
                Some(condition),
                values,
                Returns::Nothing,
            )
            .await?;
        Ok(())
    }

    /// The leaves of a chain's events. Those that have none get theirs.
    pub(super) async fn leaves(&self, chain: &Chain) -> Result<Vec<u64>, LedgerError> {
        for attempt in 0..3 {
            let places = self.places(chain).await?;
            if places.events >= chain.len() {
                let mut leaves = vec![0; chain.headers.len()];
                for Stretch { seq, leaf, events } in places.stretches {
                    for (seq, leaf) in (seq..seq + events).zip(leaf..) {
                        if let Some(place) = leaves.get_mut(seq as usize) {
                            *place = leaf;
                        }
                    }
                }
                return Ok(leaves);
            }
            if attempt == 1 {
                // It was closed before its last events came: that can happen to one whose clock stood
                // still, and is put right by whoever looks.
                let end = chain.end()?;
                let received = &end.state.received;
                let touched = end.updated_at;
                let item = self.open_item(chain.id, chain.at, received, None, touched);
                let item = item.await?;
                self.store.put(&self.store.tables.state, &item).await?;
            }
            self.sequence().await?;
        }
        Err(LedgerError::Tree(chain.len()))
    }

    /// Some remediations behind the one whose first event has leaf `after` − 1.
    pub(super) async fn told(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        let mut begun = Vec::new();
        let mut next = after;
        while next < size && begun.len() < SLICE {
            let links = self
                .stored_links(next..(next + PASS as u64).min(size))
                .await?;
            if links.is_empty() {
                return Err(LedgerError::Tree(size));
            }
            for link in links {
                let parsed: Link = serde_json::from_slice(&link)
                    .map_err(|_| self.store.damaged("a part of the tree cannot be read"))?;
                next += 1;
                if parsed.seq == 0 {
                    begun.push((next, parsed));
                    if begun.len() == SLICE {
                        break;
                    }
                }
            }
        }
        let mut slice = Slice {
            told: Vec::new(),
            next: begun.last().map(|(row, _)| *row),
        };
        let tell = begun.into_iter().map(|(_, link)| self.tell(link, size));
        slice.told = futures_util::stream::iter(tell)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(slice)
    }

    async fn tell(&self, first: Link, size: u64) -> Result<Told, LedgerError> {
        let unreadable = || self.store.damaged("a row cannot be read");
        let at = Timestamp::from_millisecond(first.at).map_err(|_| unreadable())?;
        let chain = match self.chain(first.id).await {
            Ok(chain) => Some(chain),
            Err(LedgerError::NotFound(_) | LedgerError::Expired(_)) => None,
            Err(error) => return Err(error),
        };
        let row = self
            .store
            .get(&self.store.tables.state, &row_item(first.id, at))
            .await?
            .ok_or_else(unreadable)?;
        let Places { stretches, .. } = self.read_places(&row)?;
        let record = match &chain {
            Some(chain) => chain.record()?,
            None => self.left(&row).ok_or_else(unreadable)?,
        };
        let mut told = Told::new(record);
        for Stretch { seq, leaf, events } in stretches {
            if leaf >= size {
                break;
            }
            let end = (leaf + events).min(size);
            // Its time is over, and the table has removed it: the tree has what the hashes are over.
            let links = match &chain {
                Some(_) => Vec::new(),
                None => self.stored_links(leaf..end).await?,
            };
            for (seq, leaf) in (seq..).zip(leaf..end) {
                let place = seq as usize;
                let (header, text) = match &chain {
                    Some(chain) => {
                        let Some(header) = chain.headers.get(place) else {
                            break;
                        };
                        (*header, chain.text(place))
                    }
                    None => {
                        let link = links.get((leaf - (end - links.len() as u64)) as usize);
                        let link = link.ok_or(LedgerError::Tree(size))?;
                        let link: Link = serde_json::from_slice(link).map_err(|_| unreadable())?;
                        let is_last = seq + 1 == told.record.events;
                        (link.header()?, row.text("Last").filter(|_| is_last))
                    }
                };
                told.push(&Header { leaf, ..header }, text);
            }
        }
        Ok(told)
    }

    /// What has to be done now and then: events get their places in the tree, what is settled is
    /// closed, and what is older than the retention expires. Ten thousand remediations an hour are
    /// little for one sweep every five minutes.
    ///
    /// # Errors
    /// The tables cannot be used; what was done is done.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, LedgerError> {
        self.retire(now).await?;
        let mut swept = Swept {
            sequenced: self.sequence().await?,
            ..Swept::default()
        };
        for open in self.open().await? {
            match self.close(&open, now).await? {
                true => swept.closed += 1,
                false => swept.open += 1,
            }
        }
        Ok(swept)
    }

    /// Closes what is final, has all its places, and to which nothing came for a while.
    async fn close(&self, open: &Open, now: Timestamp) -> Result<bool, LedgerError> {
        let touched: i64 = open.item.number("Touched").unwrap_or(i64::MAX);
        let is_settled =
            |last: i64| now.as_millisecond().saturating_sub(last) >= SETTLES.as_millis() as i64;
        if !is_settled(touched) {
            return Ok(false);
        }
        match self.chain(open.id).await {
            Ok(chain) => {
                let last = chain
                    .headers
                    .last()
                    .map_or(i64::MAX, |last| last.at.as_millisecond());
                let known = self.places(&chain).await?.events;
                let is_final = chain.record()?.status.is_final();
                if !is_final || known < chain.len() || !is_settled(last) {
                    return Ok(false);
                }
            }
            // Its time is over.
            Err(LedgerError::Expired(_) | LedgerError::NotFound(_)) => {}
            Err(LedgerError::Broken(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let key = open_key(open.id);
        let values = values([(":touched", n(touched))]);
        let closed = self
            .store
            .delete(&key, "#Touched = :touched", values)
            .await?;
        Ok(closed == Put::Done)
    }

    /// Says of all that are older than the retention that they have expired; the table removes their
    /// items some days later.
    async fn retire(&self, now: Timestamp) -> Result<(), LedgerError> {
        let Ok(old) = now.checked_sub(self.store.tables.retention) else {
            return Ok(());
        };
        for item in self.store.under(DAY, "0", &day(old)).await? {
            let Some(name) = item.text("Item").map(str::to_owned) else {
                continue;
            };
            if item.text("Retired").is_some() || name == day(old) {
                continue;
            }
            let ask = Ask {
                table: &self.store.tables.state,
                index: None,
                condition: "#Key = :key",
                values: values([(":key", s(day_key(&name)))]),
                forward: true,
                limit: None,
            };
            let mut all = true;
            for row in self.store.all(&ask).await? {
                let Some((_, id)) = parse_time_key(&row).filter(|_| row.text("Last").is_none())
                else {
                    continue;
                };
                let chain = self.chain(id).await?;
                if chain.left.is_none() {
                    all &= self.retire_one(&chain, now).await?;
                }
            }
            if all {
                let item = Item::key(DAY, &name).with("Retired", s(now.to_string()));
                self.store.put(&self.store.tables.state, &item).await?;
            }
        }
        Ok(())
    }

    async fn retire_one(&self, chain: &Chain, now: Timestamp) -> Result<bool, LedgerError> {
        let days = self.store.tables.retention.as_secs() / 86_400;
        let event = Event::Expired {
            by: "retention".to_owned(),
            reason: format!("{days} days"),
        };
        match self
            .store(chain.id, chain.end()?, &[event], now, true)
            .await
        {
            Ok(_) => Ok(true),
            // It has not ended; or somebody has done it.
            Err(LedgerError::Illegal { .. } | LedgerError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn first(chain: &Chain) -> Option<Event> {
    serde_json::from_str(chain.texts.first()?.as_deref()?).ok()
}

impl Link {
    /// Without its leaf.
    fn header(&self) -> Result<Header, LedgerError> {
        let at = Timestamp::from_millisecond(self.at).map_err(LedgerError::encode)?;
        Ok(Header {
            v: self.v,
            id: self.id,
            seq: self.seq,
            at,
            prev: self.prev,
            body: self.body,
            hash: Digest::ZERO,
            leaf: 0,
        }
        .sealed())
    }
}
