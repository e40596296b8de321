//! Checking a ledger, or an export without the ledger that it came from.
//!
//! Three things have to hold: each remediation's chain (nothing in it was changed, and its course is
//! possible), the tree over all events (none is missing, none was put in, all stand where they were
//! appended), and the signed checkpoints of that tree. What somebody rewrote with all its hashes is
//! found by the checkpoints, and named by the tiles that the ledger or its witness kept. The orders are a
//! chain of their own, whose end the checkpoints name.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Handle;

use crate::{
    Checkpoint, Digest, Entry, Event, Given, IllegalTransition, LedgerError, Orders, Record,
    RemediationId, Slice, State, Store, VerifierKey, Witness,
    canonical::Canonical,
    chain::Header,
    export::{ORDER, ROW, parse_row},
    merkle::{Roots, TILE_WIDTH, leaf_hash, root},
};

/// How many faults are listed; the others are counted.
const LISTED: usize = 1_000;

/// What is read at once of an export, give or take the end of a remediation.
const CHUNK: usize = 1 << 20;

/// What begins a line of an export that is no event.
const CHECKPOINT: &[u8] = br#"{"checkpoint":"#;

/// What begins an export of some remediations.
const SELECTION: &[u8] = br#"{"selection":"#;

/// What came of checking a ledger.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Remediations that were there.
    pub remediations: u64,
    /// Events that were there.
    pub events: u64,
    /// Those of them whose contents have expired.
    pub expired: u64,
    /// Orders that were there: pauses, rings of the roll-out, the region that acts.
    pub orders: u64,
    /// It is an export of some remediations: what was left out of it cannot be seen.
    pub selection: bool,
    /// The last checkpoint that holds: how many events it covers.
    pub covered: u64,
    /// That checkpoint's signature was checked with a key that was given.
    pub signed: bool,
    /// What does not hold, in the order of the export.
    pub faults: Vec<Fault>,
    /// So many more faults than are listed.
    pub more: u64,
}

impl Report {
    /// Everything holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Fault {
    /// The line of the export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<RemediationId>,
    /// The number of the event in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The number of the event in the whole ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an event, or with the whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line is not as an export writes it.
    #[default]
    #[error("cannot be read: it is not as it was written")]
    Form,
    /// An unknown version.
    #[error("was written by a version that is not known here")]
    Version,
    /// The event is not what its hash says.
    #[error("was changed")]
    Changed,
    /// Its hash is not that of its number, time, predecessor and contents.
    #[error("has a number, time or hash that was changed")]
    Rehashed,
    /// Its predecessor is not the one before it.
    #[error("does not follow on the one before it")]
    Unchained,
    /// It should be there.
    #[error("is missing")]
    Missing,
    /// It stands in another place.
    #[error("is out of order")]
    Moved,
    /// It stands there more than once.
    #[error("stands there twice")]
    Twice,
    /// It cannot have happened.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// Its contents are gone, but no `expired` event says so.
    #[error("has lost its contents, and no `expired` event says why")]
    Emptied,
    /// The remediation's row says something else.
    #[error("does not agree with the remediation's row")]
    Row,
    /// It is not what was put into the tree.
    #[error("is not the event that {0} has in its place")]
    Replaced(&'static str),
    /// Its place in the tree is beyond the last checkpoint of the export.
    #[error("was put in: the tree does not reach so far")]
    Beyond,
    /// The events up to a checkpoint have another root.
    #[error(
        "the {size} events up to a checkpoint are not those that it was made of; those up to {held} are"
    )]
    Root {
        /// How many events the checkpoint covers.
        size: u64,
        /// How many the last one covers that holds.
        held: u64,
    },
    /// There is no checkpoint.
    #[error("there is no checkpoint: nothing shows whether events were cut off at the end")]
    NoCheckpoint,
    /// A checkpoint is of another ledger, or is signed by another key.
    #[error("the checkpoint of {0} events is not signed by the key that was given")]
    Signature(u64),
    /// A witness saw more than there is.
    #[error(
        "the witness has a checkpoint of {witnessed} events, the ledger has {size}: events were cut off at the end"
    )]
    CutOff {
        /// What the witness has.
        witnessed: u64,
        /// What there is.
        size: u64,
    },
    /// The ledger is not an extension of what the witness saw.
    #[error(
        "the ledger does not extend the witness's checkpoint of {0} events: events before it were rewritten"
    )]
    Rewritten(u64),
    /// An order about all that runs is not what was given.
    #[error("order {0} (a pause, a ring of the roll-out) is not what was given")]
    Order(u64),
    /// The orders up to a checkpoint end in another hash.
    #[error(
        "the {count} orders (pauses, rings of the roll-out) up to a checkpoint are not those that it was made of; those up to {held} are"
    )]
    Orders {
        /// How many the checkpoint covers.
        count: u64,
        /// How many the last one covers that holds.
        held: u64,
    },
    /// A checkpoint covers more orders than there are.
    #[error(
        "a checkpoint covers {signed} orders (pauses, rings of the roll-out), and {size} are there: they were cut off at the end"
    )]
    OrdersCutOff {
        /// How many the checkpoint covers.
        signed: u64,
        /// How many there are.
        size: u64,
    },
    /// The stored size or root of the tree is not that of the events.
    #[error("the stored tree of {0} events is not the tree of the stored events")]
    Tree(u64),
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.remediation, self.seq) {
            (Some(id), Some(seq)) => write!(f, "event {seq} of remediation `{id}`")?,
            (Some(id), None) => write!(f, "remediation `{id}`")?,
            (None, _) if self.leaf.is_some() => f.write_str("an event")?,
            (None, _) if self.line.is_some() => f.write_str("a line")?,
            _ => return self.problem.fmt(f),
        }
        let places = [("number", self.leaf), ("line", self.line)];
        let mut places = places.iter().filter_map(|(name, n)| n.map(|n| (name, n)));
        if let Some((name, n)) = places.next() {
            write!(f, " ({name} {n}")?;
            places.try_for_each(|(name, n)| write!(f, ", {name} {n}"))?;
            f.write_str(")")?;
        }
        match &self.problem {
            Problem::Illegal(illegal) => write!(f, " cannot have happened: {illegal}"),
            problem => write!(f, " {problem}"),
        }
    }
}

/// Where a hash of the tree is known from.
pub(crate) trait Known: Sync {
    /// Who knows it, as a fault says it.
    fn name(&self) -> &'static str;
    /// The hashes of a tile of leaves, as far as they are known.
    fn tile(&self, index: u64) -> Option<Vec<Digest>>;
    /// Which event a leaf is: remediation and number.
    fn event(&self, leaf: u64) -> Option<(RemediationId, u64)>;
}

/// What a ledger is held against.
#[derive(Default)]
pub(crate) struct Against<'a> {
    pub(crate) known: Vec<&'a dyn Known>,
    /// Size and root of the stored tree, if there is one.
    pub(crate) tree: Option<(u64, Digest)>,
    /// Roots that the tree has to have, by size.
    marks: Vec<Mark>,
}

/// A root that the tree has to have at a size.
#[derive(Clone, Copy)]
struct Mark {
    size: u64,
    root: Digest,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Checkpoint,
    Witness,
    Store,
}

impl Against<'_> {
    /// Takes in the checkpoints that were kept and the one that a witness has. Those that are not
    /// signed by `key`, if there is one, or say what cannot be, are faults; so are `orders` that are not
    /// what they were made of.
    fn take(
        &mut self,
        checkpoints: &[Checkpoint],
        orders: &[Given],
        trust: &Trust<'_>,
        report: &mut Report,
    ) {
        let key = trust.key;
        let mut signed_orders = Vec::new();
        let witness = trust.witness.and_then(Witness::checkpoint);
        let all = checkpoints.iter().map(|kept| (kept, Source::Checkpoint));
        let all = all.chain(witness.map(|witness| (witness, Source::Witness)));
        report.signed = key.is_some() && all.clone().next().is_some();
        for (checkpoint, source) in all {
            let &Checkpoint { size, root, .. } = checkpoint;
            let mut fault = |problem| {
                report.faults.push(Fault {
                    problem,
                    ..Fault::default()
                });
            };
            if key.is_some_and(|key| !checkpoint.is_signed_by(key)) {
                fault(Problem::Signature(size));
                report.signed = false;
                continue;
            }
            signed_orders.push(checkpoint.orders);
            match self.tree {
                Some((stored, _)) if stored < size => fault(Problem::CutOff {
                    witnessed: size,
                    size: stored,
                }),
                _ => self.marks.push(Mark { size, root, source }),
            }
        }
        if let Some((size, root)) = self.tree {
            let source = Source::Store;
            self.marks.push(Mark { size, root, source });
        } else if self.marks.is_empty() {
            report.faults.push(Fault {
                problem: Problem::NoCheckpoint,
                ..Fault::default()
            });
        }
        self.marks.sort_by_key(|mark| (mark.size, mark.source));
        report.orders = orders.len() as u64;
        let wrong = Given::broken(orders).map(Problem::Order);
        let wrong = wrong.or_else(|| wrong_orders(signed_orders, orders));
        report.faults.extend(wrong.map(|problem| Fault {
            problem,
            ..Fault::default()
        }));
    }
}

/// What is wrong with `orders`, whose chain holds, if checkpoints were made of others.
fn wrong_orders(mut signed: Vec<Orders>, orders: &[Given]) -> Option<Problem> {
    signed.sort_unstable();
    let wrong = signed.iter().position(|signed| !signed.begin(orders))?;
    let (held, wrong) = signed.split_at_checked(wrong)?;
    let first = wrong.first()?;
    let size = orders.len() as u64;
    Some(match first.count > size {
        true => Problem::OrdersCutOff {
            signed: wrong.last().map_or(first.count, |last| last.count),
            size,
        },
        false => Problem::Orders {
            count: first.count,
            held: held.last().map_or(0, |held| held.count),
        },
    })
}

/// Remediations, each whole, as lines.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) text: String,
    /// The number of the first line; `None` if they have no numbers.
    pub(crate) line: Option<u64>,
    /// The rows of the remediations whose events are all there. Those of an export are among its lines.
    pub(crate) rows: HashMap<RemediationId, Record>,
}

/// What was found in a chunk.
#[derive(Default)]
struct Part {
    report: Report,
    leaves: Vec<Leaf>,
}

/// A leaf as the event says that it must be.
#[derive(Clone, Copy)]
struct Leaf {
    number: u64,
    hash: Digest,
    id: RemediationId,
    seq: u64,
    line: Option<u64>,
}

impl Leaf {
    const fn fault(&self, problem: Problem) -> Fault {
        Fault {
            line: self.line,
            remediation: Some(self.id),
            seq: Some(self.seq),
            leaf: Some(self.number),
            problem,
        }
    }
}

/// What an auditor holds an export against.
#[derive(Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The ledger's public key; without one, signatures are not checked.
    pub key: Option<&'a VerifierKey>,
    /// The copy of the tree that a witness has.
    pub witness: Option<&'a Witness>,
}

/// Checks an export: every event, every chain, that each remediation took a course that is possible,
/// and, by its checkpoints, that nothing is missing.
///
/// # Errors
/// The export cannot be read.
pub fn verify_export(from: impl io::BufRead + Send, trust: Trust<'_>) -> io::Result<Report> {
    let mut lines = Lines::new(from);
    let mut report = Report::default();
    let mut against = Against::default();
    let Head {
        checkpoints,
        orders,
    } = lines.head(&mut report)?;
    if let Some(witness) = trust.witness {
        against.known.push(witness);
    }
    if !report.selection {
        against.take(&checkpoints, &orders, &trust, &mut report);
    }
    let mut failed = None;
    let chunks = std::iter::from_fn(|| {
        lines.chunk().unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    let report = verify(chunks, &against, report);
    failed.map_or(Ok(report), Err)
}

/// Checks a ledger: all that [`verify_export`] does, that the rows of its remediations say what their
/// events say, and that the stored tree is that of the events.
///
/// # Errors
/// It cannot be read.
pub async fn verify_ledger(
    ledger: Arc<dyn Store>,
    key: Option<VerifierKey>,
    witness: Option<Witness>,
) -> Result<Report, LedgerError> {
    let checkpoints = ledger.checkpoints().await?;
    let orders = ledger.directives().await?;
    let head = ledger.head().await?;
    let runtime = Handle::current();
    let check = move || {
        let trust = Trust {
            key: key.as_ref(),
            witness: witness.as_ref(),
        };
        let own = Own {
            ledger: &*ledger,
            runtime: &runtime,
            size: head.size,
        };
        let mut report = Report::default();
        let mut against = Against {
            known: vec![&own],
            tree: Some((head.size, head.root)),
            marks: Vec::new(),
        };
        if let Some(witness) = trust.witness {
            against.known.push(witness);
        }
        against.take(&checkpoints, &orders, &trust, &mut report);
        // Events that are appended meanwhile are beyond both.
        let size = head.size.max(head.events);
        let (mut after, mut failed) = (0, None);
        let chunks = std::iter::from_fn(|| {
            let slice = match runtime.block_on(ledger.slice(after, size)) {
                Ok(slice) => slice,
                Err(error) => {
                    failed = Some(error);
                    return None;
                }
            };
            after = slice.next?;
            Some(Chunk::of(slice))
        });
        let report = verify(chunks, &against, report);
        failed.map_or(Ok(report), Err)
    };
    let checked = tokio::task::spawn_blocking(check).await;
    checked.unwrap_or_else(|error| Err(LedgerError::encode(error)))
}

/// The tree that the ledger itself keeps.
struct Own<'l> {
    ledger: &'l dyn Store,
    runtime: &'l Handle,
    size: u64,
}

impl Known for Own<'_> {
    fn name(&self) -> &'static str {
        "the ledger's own tree"
    }

    fn tile(&self, index: u64) -> Option<Vec<Digest>> {
        self.runtime
            .block_on(self.ledger.tile(0, index, self.size))
            .ok()
    }

    fn event(&self, _: u64) -> Option<(RemediationId, u64)> {
        None
    }
}

impl Chunk {
    pub(crate) fn of(slice: Slice) -> Self {
        let mut chunk = Self::default();
        for told in slice.told {
            // What AWS answered is UTF-8, and so is what SQLite keeps.
            chunk.text.push_str(&String::from_utf8_lossy(told.lines()));
            if told.events >= told.record.events {
                let id = told.record.remediation_id;
                chunk.rows.insert(id, told.record);
            }
        }
        chunk
    }
}

/// What an export begins with.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) orders: Vec<Given>,
}

/// Reads an export, whole remediations at a time.
pub(crate) struct Lines<R> {
    from: R,
    /// Of `next`.
    number: u64,
    /// The line that belongs to the next chunk.
    next: Vec<u8>,
}

impl<R: io::BufRead> Lines<R> {
    pub(crate) const fn new(from: R) -> Self {
        Self {
            from,
            number: 1,
            next: Vec::new(),
        }
    }

    /// The checkpoints and orders that an export begins with.
    pub(crate) fn head(&mut self, report: &mut Report) -> io::Result<Head> {
        let mut head = Head::default();
        loop {
            self.next.clear();
            self.from.read_until(b'\n', &mut self.next)?;
            if self.next.starts_with(SELECTION) && self.number == 1 {
                report.selection = true;
                self.number += 1;
                continue;
            }
            let read = if let Some(rest) = self.next.strip_prefix(CHECKPOINT) {
                let note = member::<String>(rest).and_then(|note| note.parse().ok());
                note.map(|checkpoint| head.checkpoints.push(checkpoint))
            } else if let Some(rest) = self.next.strip_prefix(ORDER.as_bytes()) {
                member(rest).map(|given| head.orders.push(given))
            } else {
                return Ok(head);
            };
            if read.is_none() {
                report.faults.push(Fault {
                    line: Some(self.number),
                    ..Fault::default()
                });
            }
            self.number += 1;
        }
    }

    /// The next remediations, each with its row, if it has one.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.next);
        let line = self.number;
        let mut lines = u64::from(!text.is_empty());
        loop {
            let start = text.len();
            if self.from.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            let (before, read) = text.split_at_checked(start).unwrap_or((&text, &[]));
            let last = last_line(before);
            let ends = owner(last) != owner(read) && !last.starts_with(ROW.as_bytes());
            if start >= CHUNK && ends {
                self.next = text.split_off(start);
                break;
            }
            lines += 1;
        }
        self.number += lines;
        if lines == 0 {
            return Ok(None);
        }
        // What is not UTF-8 is not as it was written, either way.
        let text = String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Some(Chunk {
            text,
            line: Some(line),
            rows: HashMap::new(),
        }))
    }
}

/// The value of a line's only member, whose name is read already.
fn member<T: DeserializeOwned>(rest: &[u8]) -> Option<T> {
    serde_json::from_slice(rest.strip_suffix(b"}\n")?).ok()
}

/// The part of a line that names the remediation, if it is an event's.
fn owner(line: &[u8]) -> Option<&[u8]> {
    line.get(..50)
}

fn last_line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.rsplit(|&byte| byte == b'\n').next().unwrap_or(text)
}

/// Checks all `chunks`, several at once.
fn verify(
    chunks: impl Iterator<Item = Chunk> + Send,
    against: &Against<'_>,
    mut report: Report,
) -> Report {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let chunks = Mutex::new(chunks);
    let mut leaves = Leaves::new(against);
    std::thread::scope(|scope| {
        let (sender, parts) = mpsc::sync_channel(workers);
        for _ in 0..workers {
            let (sender, chunks) = (sender.clone(), &chunks);
            scope.spawn(move || {
                let mut canonical = Canonical::default();
                let next = || {
                    let mut chunks = chunks.lock().unwrap_or_else(PoisonError::into_inner);
                    chunks.next()
                };
                while let Some(chunk) = next() {
                    if sender.send(part(chunk, &mut canonical)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for Part {
            report: part,
            leaves: found,
        } in parts
        {
            report.remediations += part.remediations;
            report.events += part.events;
            report.expired += part.expired;
            report.faults.extend(part.faults);
            found.into_iter().for_each(|leaf| leaves.add(leaf));
        }
    });
    leaves.finish(&mut report);
    report
        .faults
        .sort_by_key(|fault| (fault.line.is_none(), fault.line, fault.leaf));
    report.more = report.faults.len().saturating_sub(LISTED) as u64;
    report.faults.truncate(LISTED);
    report
}

/// Checks the remediations of a chunk.
fn part(chunk: Chunk, canonical: &mut Canonical) -> Part {
    let Chunk {
        text,
        line: first,
        mut rows,
    } = chunk;
    let mut part = Part::default();
    // A row stands before the events that it is of.
    let mut announced: Option<(RemediationId, Fault)> = None;
    let mut block: Vec<Line<'_>> = Vec::new();
    for (number, text) in (0..).zip(text.split_terminator('\n')) {
        let line = first.map(|first| first + number);
        let fault = Fault {
            line,
            ..Fault::default()
        };
        if let Some(row) = parse_row(text) {
            let lone = announced.replace((row.remediation_id, fault));
            part.report.faults.extend(lone.map(|(_, fault)| fault));
            rows.insert(row.remediation_id, row);
            continue;
        }
        let Some((header, event)) = Header::parse_line(text) else {
            part.report.faults.push(fault);
            continue;
        };
        let lone = announced.take().filter(|(id, _)| *id != header.id);
        part.report.faults.extend(lone.map(|(_, fault)| fault));
        if block
            .first()
            .is_some_and(|first| first.header.id != header.id)
        {
            part.block(&block, &rows, canonical);
            block.clear();
        }
        block.push(Line {
            line,
            header,
            event,
        });
    }
    if !block.is_empty() {
        part.block(&block, &rows, canonical);
    }
    part.report.faults.extend(announced.map(|(_, fault)| fault));
    part
}

/// An event of a remediation.
#[derive(Clone, Copy)]
struct Line<'l> {
    line: Option<u64>,
    header: Header,
    event: Option<&'l str>,
}

impl Line<'_> {
    const fn fault(&self, problem: Problem) -> Fault {
        Fault {
            line: self.line,
            remediation: Some(self.header.id),
            seq: Some(self.header.seq),
            leaf: Some(self.header.leaf),
            problem,
        }
    }
}

impl Part {
    /// Checks the events of one remediation.
    fn block(
        &mut self,
        lines: &[Line<'_>],
        rows: &HashMap<RemediationId, Record>,
        canonical: &mut Canonical,
    ) {
        let Some(first) = lines.first() else { return };
        let id = first.header.id;
        self.report.remediations += 1;
        self.report.events += lines.len() as u64;
        self.report.expired += lines.iter().filter(|line| line.event.is_none()).count() as u64;
        let found = self.report.faults.len();

        let mut highest = first.header.seq;
        for line in lines {
            if line.header.seq < highest {
                self.report.faults.push(line.fault(Problem::Moved));
            }
            highest = highest.max(line.header.seq);
            self.leaves.push(Leaf {
                number: line.header.leaf,
                hash: leaf_hash(&line.header.link()),
                id,
                seq: line.header.seq,
                line: line.line,
            });
        }
        let mut ordered: Vec<&Line<'_>> = lines.iter().collect();
        ordered.sort_by_key(|line| line.header.seq);

        let mut expected = 0;
        let mut prev = Some(Digest::ZERO);
        let mut course = Course::Begun(None);
        for line in ordered {
            let Line { header, event, .. } = line;
            if header.seq < expected {
                self.report.faults.push(line.fault(Problem::Twice));
                continue;
            }
            self.missing(id, expected..header.seq, line.line);
            if header.seq > expected {
                (prev, course) = (None, Course::Unknown);
            }
            expected = header.seq.saturating_add(1);
            if header.v != Entry::VERSION {
                self.report.faults.push(line.fault(Problem::Version));
                course = Course::Unknown;
                continue;
            }
            let digest = event.map(|event| canonical.digest(event));
            let fault = match digest {
                Some(Err(_)) => Some(Problem::Changed),
                Some(Ok(digest)) if digest != header.body => Some(Problem::Changed),
                _ if prev.is_some_and(|prev| prev != header.prev) => Some(Problem::Unchained),
                _ if !header.holds() => Some(Problem::Rehashed),
                _ => None,
            };
            prev = Some(header.hash);
            if let Some(problem) = fault {
                self.report.faults.push(line.fault(problem));
                course = Course::Unknown;
                continue;
            }
            let event = event.map(|text| canonical.outline(text));
            course = match course.follow(event, header.at) {
                Ok(course) => course,
                Err(problem) => {
                    self.report.faults.push(line.fault(problem));
                    Course::Unknown
                }
            };
        }
        if let Course::Emptied(since) = course
            && let Some(line) = lines.iter().find(|line| line.header.seq == since)
        {
            self.report.faults.push(line.fault(Problem::Emptied));
        }
        let Some(record) = rows.get(&id) else {
            return;
        };
        self.missing(id, expected..record.events, None);
        let sound = self.report.faults.len() == found;
        let at = lines.last().map_or(record.timestamp, |line| line.header.at);
        let row = match &course {
            _ if !sound => return,
            Course::Begun(Some(state)) => Record::project(id, state, expected, at) == *record,
            _ => record.expired && record.events == expected && record.updated_at == at,
        };
        if !row {
            self.report.faults.push(Fault {
                remediation: Some(id),
                problem: Problem::Row,
                ..Fault::default()
            });
        }
    }

    fn missing(&mut self, id: RemediationId, seqs: std::ops::Range<u64>, line: Option<u64>) {
        let room = LISTED.saturating_sub(self.report.faults.len());
        self.report.faults.extend(seqs.take(room).map(|seq| Fault {
            line,
            remediation: Some(id),
            seq: Some(seq),
            leaf: None,
            problem: Problem::Missing,
        }));
    }
}

impl Header {
    fn holds(&self) -> bool {
        let Self {
            id,
            seq,
            at,
            prev,
            body,
            leaf,
            ..
        } = *self;
        Self::seal(id, seq, at, prev, body, leaf).0 == *self
    }
}

/// How far the course of a remediation is known.
enum Course {
    /// From its beginning.
    Begun(Option<Box<State>>),
    /// The contents from this event on have been removed.
    Emptied(u64),
    /// An `expired` event says why they were.
    Expired,
    /// Something is wrong with it.
    Unknown,
}

impl Course {
    /// Goes on with the next event, and when it was stored.
    fn follow(
        self,
        event: Option<serde_json::Result<Event>>,
        at: Timestamp,
    ) -> Result<Self, Problem> {
        let Some(event) = event else {
            return Ok(match self {
                Self::Begun(None) => Self::Emptied(0),
                Self::Emptied(since) => Self::Emptied(since),
                Self::Begun(_) | Self::Expired => return Err(Problem::Emptied),
                Self::Unknown => Self::Unknown,
            });
        };
        if matches!(self, Self::Unknown) {
            return Ok(Self::Unknown);
        }
        let event = event.map_err(|_| Problem::Form)?;
        Ok(match (self, &event) {
            (Self::Begun(None), event) => Self::Begun(Some(State::first(event, at)?.into())),
            (Self::Begun(Some(state)), event) => Self::Begun(Some(state.apply(event, at)?.into())),
            (Self::Emptied(_), Event::Expired { .. }) => Self::Expired,
            (Self::Emptied(_) | Self::Expired, _) => return Err(Problem::Emptied),
            (Self::Unknown, _) => Self::Unknown,
        })
    }
}

/// The leaves that were found, by tile; full tiles become their root.
struct Leaves<'a> {
    against: &'a Against<'a>,
    /// How many leaves there must be; `None` if nothing says so.
    size: Option<u64>,
    /// Tiles that are not full yet, or through which a checkpoint's edge goes. In any order, until
    /// they are full.
    tiles: BTreeMap<u64, Vec<Leaf>>,
    roots: BTreeMap<u64, Digest>,
    faults: Vec<Fault>,
}

const WIDTH: u64 = TILE_WIDTH as u64;

impl<'a> Leaves<'a> {
    fn new(against: &'a Against<'a>) -> Self {
        let last = against.marks.last().map(|mark| mark.size);
        Self {
            against,
            size: against.tree.map(|(size, _)| size).or(last),
            tiles: BTreeMap::new(),
            roots: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    fn add(&mut self, leaf: Leaf) {
        if self.size.is_some_and(|size| leaf.number >= size) {
            return self.faults.push(leaf.fault(Problem::Beyond));
        }
        let tile = leaf.number / WIDTH;
        if self.roots.contains_key(&tile) {
            return self.faults.push(leaf.fault(Problem::Twice));
        }
        let leaves = self.tiles.entry(tile).or_default();
        leaves.push(leaf);
        if leaves.len() >= TILE_WIDTH {
            self.settle(tile);
        }
    }

    /// Orders a tile and compares it with what is known of it; if it is full, keeps its root only.
    fn settle(&mut self, tile: u64) {
        let Some(leaves) = self.tiles.get_mut(&tile) else {
            return;
        };
        leaves.sort_by_key(|leaf| (leaf.number, leaf.line));
        leaves.dedup_by(|later, first| {
            let again = later.number == first.number;
            if again {
                self.faults.push(later.fault(Problem::Twice));
            }
            again
        });
        if leaves.len() < TILE_WIDTH {
            return;
        }
        compare(tile, leaves, self.against, &mut self.faults);
        let hashes: Vec<Digest> = leaves.iter().map(|leaf| leaf.hash).collect();
        self.roots.insert(tile, root(&hashes));
        let edge = |mark: &Mark| mark.size / WIDTH == tile && !mark.size.is_multiple_of(WIDTH);
        if !self.against.marks.iter().any(edge) {
            self.tiles.remove(&tile);
        }
    }

    fn finish(mut self, report: &mut Report) {
        let partial: Vec<u64> = self.tiles.keys().copied().collect();
        for tile in partial {
            self.settle(tile);
            if let (Some(leaves), false) = (self.tiles.get(&tile), self.roots.contains_key(&tile)) {
                compare(tile, leaves, self.against, &mut self.faults);
            }
        }
        let beyond = self.tiles.values().flatten().map(|leaf| leaf.number + 1);
        let found = beyond
            .max()
            .unwrap_or(0)
            .max(match self.roots.last_key_value() {
                Some((tile, _)) => (tile + 1) * WIDTH,
                None => 0,
            });
        if !report.selection {
            let sound = self.missing(self.size.unwrap_or(found));
            self.compare_roots(sound, report);
        }
        report.faults.append(&mut self.faults);
    }

    /// Names the leaves below `size` that are not there; gives back how many are before the first.
    fn missing(&mut self, size: u64) -> u64 {
        let mut sound = None;
        for tile in 0..size.div_ceil(WIDTH) {
            if self.roots.contains_key(&tile) {
                continue;
            }
            let mut there = self.tiles.get(&tile).into_iter().flatten().peekable();
            for number in tile * WIDTH..size.min((tile + 1) * WIDTH) {
                if there.next_if(|leaf| leaf.number == number).is_some() {
                    continue;
                }
                sound = sound.or(Some(number));
                let event = self
                    .against
                    .known
                    .iter()
                    .find_map(|known| known.event(number));
                self.faults.push(Fault {
                    line: None,
                    remediation: event.map(|(id, _)| id),
                    seq: event.map(|(_, seq)| seq),
                    leaf: Some(number),
                    problem: Problem::Missing,
                });
            }
            if self.faults.len() > LISTED {
                break;
            }
        }
        sound.unwrap_or(size)
    }

    /// Compares the roots of the first `sound` leaves, which are all there, with those that are known.
    fn compare_roots(&mut self, sound: u64, report: &mut Report) {
        let mut whole = Roots::default();
        let mut tiles = 0;
        let marks = self
            .against
            .marks
            .iter()
            .take_while(|mark| mark.size <= sound);
        for mark in marks {
            while tiles < mark.size / WIDTH {
                let Some(root) = self.roots.get(&tiles) else {
                    return;
                };
                whole.push(*root);
                tiles += 1;
            }
            let edge: Vec<Digest> = match mark.size % WIDTH {
                0 => Vec::new(),
                width => {
                    let leaves = self.tiles.get(&tiles).into_iter().flatten();
                    leaves.take(width as usize).map(|leaf| leaf.hash).collect()
                }
            };
            let size = mark.size;
            let held = report.covered;
            if whole.root_with(&edge) == mark.root {
                report.covered = size;
                continue;
            }
            let problem = match mark.source {
                Source::Checkpoint => Problem::Root { size, held },
                Source::Witness => Problem::Rewritten(size),
                Source::Store => Problem::Tree(size),
            };
            self.faults.push(Fault {
                problem,
                ..Fault::default()
            });
            if mark.source == Source::Checkpoint {
                return;
            }
        }
    }
}

/// Names the leaves of a tile that are others than is known.
fn compare(tile: u64, leaves: &[Leaf], against: &Against<'_>, faults: &mut Vec<Fault>) {
    let known: Vec<_> = against
        .known
        .iter()
        .filter_map(|known| Some((known.name(), known.tile(tile)?)))
        .collect();
    for leaf in leaves {
        let place = (leaf.number % WIDTH) as usize;
        let other = known
            .iter()
            .find(|(_, hashes)| hashes.get(place).is_some_and(|hash| *hash != leaf.hash));
        if let Some((name, _)) = other {
            faults.push(leaf.fault(Problem::Replaced(name)));
        }
    }
}
