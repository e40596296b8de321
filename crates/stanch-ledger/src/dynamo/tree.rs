//! The tree over all events, made afterwards: events get their places in batches, and no item of the
//! tree is touched by an append.
//!
//! A batch, a *pass*, is an item of the state table whose key is the number of its first leaf. Of two
//! processes that make the next pass, the condition on that key refuses one. What a pass says of each
//! remediation is then noted at its row; before the next pass is made, that is done for the one before,
//! by whoever makes it. So no event gets two places.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AT_ONCE, DynamoLedger, SETTLES, Swept,
    chain::{Chain, open_key, removal, seconds},
    index::{DAY, Open, day, day_key, finding_item, parse_time_key, row_item},
    item::{Item, b, n, s},
    store::{Ask, Put, Returns, compress, decompress, is_damage, values},
};
use crate::{
    Break, Digest, Event, LedgerError, RemediationId, Slice, StoreFault, Told, TreeHead,
    canonical::Canonical,
    chain::Header,
    merkle::{self, TILE_WIDTH, Tree, leaf_hash},
    verify::{Fault, Problem},
    witness::named,
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

/// The shortest that anything is kept.
const SHORTEST: Duration = Duration::from_hours(24 * 90);

/// What is due and cannot expire yet is looked at again after so long.
const AGAIN: Duration = Duration::from_hours(1);

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
                let seq = match self.places(&chain).await {
                    // Nobody knows which have their places.
                    Err(LedgerError::Broken(_)) => return Ok(None),
                    places => places?.events,
                };
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
            at: chain.at.as_millisecond(),
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
        let (id, key) = (chain.id, row_item(chain.id, chain.at));
        let Some(row) = self.store.get(&self.store.tables.state, &key).await? else {
            return Ok(Places::default());
        };
        let problem = "has a row in the state table that cannot be read";
        let broken = Break {
            id,
            seq: 0,
            problem,
        };
        read_places(&row).ok_or(LedgerError::Broken(broken))
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
                let kept = || self.store.tables.kept(&received.remediation, at);
                let end = removal(chain.until.unwrap_or_else(kept), at);
                let item =
                    finding_item(&received.finding_id, id, at).with("ExpiresAt", n(seconds(end)));
                self.store.put(&self.store.tables.state, &item).await?;
            }
            // What may stay when the events are gone; of those that were changed, nothing new.
            if let Ok(left) = chain.record_left() {
                let left = serde_json::to_string(&left).map_err(LedgerError::encode)?;
                expression.push_str(", #Left = :left");
                values.insert(":left".to_owned(), s(left));
            }
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
            next: begun.last().map(|(row, _)| *row),
            ..Slice::default()
        };
        let tell = begun.into_iter().map(|(_, link)| self.tell(link, size));
        let told: Vec<Result<Told, Vec<Fault>>> = futures_util::stream::iter(tell)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for told in told {
            match told {
                Ok(told) => slice.told.push(told),
                Err(faults) => slice.lost.extend(faults),
            }
        }
        Ok(slice)
    }

    /// What there is of a remediation, or why it cannot be told: that one was changed holds up no other.
    async fn tell(&self, first: Link, size: u64) -> Result<Result<Told, Vec<Fault>>, LedgerError> {
        let id = first.id;
        let fault = |seq: Option<u64>, problem| Fault {
            remediation: Some(id),
            seq,
            problem,
            ..Fault::default()
        };
        let row = match Timestamp::from_millisecond(first.at) {
            Ok(at) => {
                let key = row_item(id, at);
                self.store.get(&self.store.tables.state, &key).await?
            }
            Err(_) => None,
        };
        let places = row.as_ref().and_then(read_places);
        let Some((row, Places { events, stretches })) = row.zip(places) else {
            return Ok(Err(vec![fault(None, Problem::Untold)]));
        };
        let mut faults = Vec::new();
        let chain = match self.chain(id).await {
            Ok(chain) => Some(chain),
            Err(LedgerError::NotFound(_) | LedgerError::Expired(_)) => None,
            Err(LedgerError::Broken(broken)) => {
                faults.push(Fault::from(broken));
                None
            }
            Err(error) => return Err(error),
        };
        let is_broken = !faults.is_empty();
        let left = self.left(&row);
        let record = match &chain {
            // Where its events were changed or cannot have happened, their lines say so.
            Some(chain) => chain.record().ok().or_else(|| left.clone()),
            None => left.clone(),
        };
        let Some(record) = record else {
            faults.push(fault(None, Problem::Untold));
            return Ok(Err(faults));
        };
        if let Some(chain) = &chain {
            let misshown = chain.misshown().into_iter();
            faults.extend(misshown.map(|(seq, name)| fault(Some(seq), Problem::Shown(name))));
            let is_noted = events == chain.len();
            if is_noted
                && let Ok(expected) = chain.record_left()
                && left != Some(expected)
            {
                faults.push(fault(None, Problem::Row));
            }
            // What is open gets its places yet.
            if chain.len() > events && !self.is_open(id).await? {
                faults.push(fault(Some(events), Problem::Beyond));
            }
        }
        let contents = match is_broken {
            true => self.salvage(id).await?,
            false => HashMap::new(),
        };
        let mut canonical = Canonical::default();
        let mut told = Told::new(record);
        for Stretch { seq, leaf, events } in stretches {
            let end = leaf.saturating_add(events).min(size);
            if leaf >= end || seq.checked_add(events).is_none() {
                continue;
            }
            // Its time is over, and the table has removed it, or it was changed: the tree has what the
            // hashes are over.
            let links = match &chain {
                Some(_) => Vec::new(),
                None => self.stored_links(leaf..end).await?,
            };
            let mut links = links.iter();
            for (leaf, seq) in (leaf..end).zip(seq..) {
                if let Some(chain) = &chain {
                    let place = usize::try_from(seq).unwrap_or(usize::MAX);
                    let Some(header) = chain.headers.get(place) else {
                        break;
                    };
                    told.push(&Header { leaf, ..*header }, chain.text(place));
                    continue;
                }
                let link = links.next().ok_or(LedgerError::Tree(size))?;
                let link: Option<Link> = serde_json::from_slice(link).ok();
                // A row may name the place of another's event.
                let Some(link) = link.filter(|link| (link.id, link.seq) == (id, seq)) else {
                    continue;
                };
                let header = link.header()?;
                let text = match contents.get(&seq) {
                    Some(text) if canonical.digest(text).ok() == Some(link.body) => {
                        Some(text.as_str())
                    }
                    _ => {
                        let is_last = !is_broken && seq + 1 == told.record.events;
                        row.text("Last").filter(|_| is_last)
                    }
                };
                told.push(&Header { leaf, ..header }, text);
            }
        }
        told.is_ahead = chain.is_some_and(|chain| chain.len() > told.events);
        (told.is_broken, told.faults) = (is_broken, faults);
        Ok(Ok(told))
    }

    async fn is_open(&self, id: RemediationId) -> Result<bool, LedgerError> {
        let key = open_key(id);
        let item = self.store.get(&self.store.tables.state, &key).await?;
        Ok(item.is_some())
    }

    /// The contents that are still there of a chain that cannot be followed, by the numbers that the items
    /// say they have.
    async fn salvage(&self, id: RemediationId) -> Result<HashMap<u64, String>, LedgerError> {
        let mut contents = HashMap::new();
        for row in self.rows(id).await? {
            let Some(first) = row.number::<u64>("Sequence") else {
                continue;
            };
            let texts = match self.store.unfold(&row, "Events").await {
                Err(error) if is_damage(&error) => continue,
                texts => texts?.unwrap_or_default(),
            };
            for (place, text) in texts.split('\n').enumerate() {
                contents.insert(first.saturating_add(place as u64), text.to_owned());
            }
        }
        Ok(contents)
    }

    /// What the audit table has that is neither in the tree of `size` leaves nor open: somebody has put it
    /// there, and the indexes show it. And what is open, and cannot get a place in the tree.
    pub(super) async fn astray(&self, size: u64) -> Result<Vec<Fault>, LedgerError> {
        let mut known = HashSet::new();
        let mut next = 0;
        while next < size {
            let until = (next + PASS as u64).min(size);
            let links = self.stored_links(next..until).await?;
            if links.is_empty() {
                return Err(LedgerError::Tree(size));
            }
            next += links.len() as u64;
            let first = |link: &Vec<u8>| named(link).filter(|(_, seq)| *seq == 0);
            known.extend(links.iter().filter_map(first).map(|(id, _)| id.to_string()));
        }
        let mut strays: BTreeMap<String, Item> = BTreeMap::new();
        let mut rest = None;
        loop {
            let found = self.store.scan(&self.store.tables.audit, rest).await?;
            for item in found.items {
                let name = item.text("RemediationId").unwrap_or_default();
                if !known.contains(name) {
                    strays.entry(name.to_owned()).or_insert(item);
                }
            }
            rest = found.rest;
            if rest.is_none() {
                break;
            }
        }
        let mut faults = Vec::new();
        for (name, item) in strays {
            if !self.is_new(&name, &item, size).await? {
                faults.push(Problem::Stray(name).into());
            }
        }
        let (open, broken) = self.opened().await?;
        faults.extend(broken.into_iter().map(Fault::from));
        for open in open {
            if known.contains(&open.id.to_string()) {
                continue;
            }
            match self.chain(open.id).await {
                Err(LedgerError::Broken(broken)) => faults.push(broken.into()),
                Err(error @ LedgerError::Store { .. }) => return Err(error),
                // It may have come just now, or be gone.
                _ => {}
            }
        }
        Ok(faults)
    }

    /// Whether what the tree of `size` leaves does not have came later: it is open, or has a place behind.
    async fn is_new(&self, name: &str, item: &Item, size: u64) -> Result<bool, LedgerError> {
        let read = || {
            let id: RemediationId = name.parse().ok()?;
            let key: i64 = item.number("Timestamp")?;
            let seq: u64 = item.number("Sequence")?;
            let at = Timestamp::from_millisecond(key.saturating_sub_unsigned(seq)).ok()?;
            Some((id, at))
        };
        let Some((id, at)) = read() else {
            return Ok(false);
        };
        if self.is_open(id).await? {
            return Ok(true);
        }
        let key = row_item(id, at);
        let row = self.store.get(&self.store.tables.state, &key).await?;
        let places = row.as_ref().and_then(read_places);
        let first = places.and_then(|places| places.stretches.first().copied());
        let Some(Stretch { leaf, .. }) = first.filter(|first| first.leaf >= size) else {
            return Ok(false);
        };
        let links = self.stored_links(leaf..leaf.saturating_add(1)).await?;
        Ok(links.first().and_then(|link| named(link)) == Some((id, 0)))
    }

    /// What has to be done now and then: events get their places in the tree, what is settled is
    /// closed, and what was kept long enough expires. Ten thousand remediations an hour are
    /// little for one sweep every five minutes. What was changed is told, and holds up nothing else.
    ///
    /// # Errors
    /// The tables cannot be used; what was done is done.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, LedgerError> {
        let mut swept = Swept::default();
        self.retire(now, &mut swept.broken).await?;
        swept.sequenced = self.sequence().await?;
        let (open, broken) = self.opened().await?;
        swept.broken.extend(broken);
        for open in open {
            match self.close(&open, now).await {
                Ok(true) => swept.closed += 1,
                Ok(false) => swept.open += 1,
                Err(LedgerError::Broken(broken)) => {
                    swept.open += 1;
                    swept.broken.push(broken);
                }
                Err(error) => return Err(error),
            }
        }
        swept.broken.sort_by_key(|broken| (broken.id, broken.seq));
        swept.broken.dedup_by_key(|broken| broken.id);
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
                let record = chain.record().map_err(|error| chain.unsound(error))?;
                if !record.status.is_final() || known < chain.len() || !is_settled(last) {
                    return Ok(false);
                }
            }
            // Its time is over.
            Err(LedgerError::Expired(_) | LedgerError::NotFound(_)) => {}
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

    /// Says of all that were kept long enough that they have expired; the table removes their items some
    /// days later. A day is looked at when it is old enough for any to be due, and then when the next is.
    async fn retire(&self, now: Timestamp, broken: &mut Vec<Break>) -> Result<(), LedgerError> {
        let Ok(old) = now.checked_sub(SHORTEST) else {
            return Ok(());
        };
        let again = now.checked_add(AGAIN).unwrap_or(now);
        for item in self.store.under(DAY, "0", &day(old)).await? {
            let Some(name) = item.text("Item").map(str::to_owned) else {
                continue;
            };
            let waits = item
                .number("Due")
                .is_some_and(|due: i64| due > seconds(now));
            if waits || item.text("Retired").is_some() || name == day(old) {
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
            let mut next: Option<Timestamp> = None;
            for row in self.store.all(&ask).await? {
                let Some((_, id)) = parse_time_key(&row).filter(|_| row.text("Last").is_none())
                else {
                    continue;
                };
                let due = match self.chain(id).await {
                    Ok(chain) if chain.left.is_some() => Ok(None),
                    Ok(chain) => self.retire_one(&chain, now, again).await,
                    // The table has removed it.
                    Err(LedgerError::NotFound(_) | LedgerError::Expired(_)) => Ok(None),
                    Err(error) => Err(error),
                };
                let due = match due {
                    Err(LedgerError::Broken(one)) => {
                        broken.push(one);
                        Some(again)
                    }
                    due => due?,
                };
                next = next.into_iter().chain(due).min();
            }
            let item = Item::key(DAY, &name);
            let item = match next {
                Some(due) => item.with("Due", n(seconds(due))),
                None => item.with("Retired", s(now.to_string())),
            };
            self.store.put(&self.store.tables.state, &item).await?;
        }
        Ok(())
    }

    /// Lets one expire if it is due; when it has to be looked at again, unless that is done.
    async fn retire_one(
        &self,
        chain: &Chain,
        now: Timestamp,
        again: Timestamp,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let end = chain.end().map_err(|error| chain.unsound(error))?;
        let until = self.store.tables.until(&end);
        if now < until {
            return Ok(Some(until));
        }
        let days = until.duration_since(chain.at).as_hours() / 24;
        let event = Event::expired(chain.id, &end.state, "retention", &format!("{days} days"));
        match self.store(chain.id, end, &[event], now, true).await {
            Ok(_) => Ok(None),
            // It has not ended; or somebody has done it.
            Err(LedgerError::Illegal { .. } | LedgerError::Conflict { .. }) => Ok(Some(again)),
            Err(error) => Err(error),
        }
    }
}

/// Where a row says that its events are.
fn read_places(row: &Item) -> Option<Places> {
    let stretch = |text: &str| {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some(Stretch {
            seq: numbers.next()??,
            leaf: numbers.next()??,
            events: numbers.next()??,
        })
    };
    let stretches: Option<Vec<Stretch>> = row.texts("Leaves").into_iter().map(stretch).collect();
    Some(Places {
        events: row.number("Sequenced")?,
        stretches: stretches?,
    })
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
