//! Checking a ledger, or an export without the ledger that it came from.
//!
//! Three things have to hold: each remediation's chain (nothing in it was changed, and its course is
//! possible), the tree over all events (none is missing, none was put in, all stand where they were
//! appended), and the signed checkpoints of that tree. What somebody rewrote with all its hashes is
//! found by the checkpoints, and named by the tiles that the ledger or its witness kept. The orders are a
//! chain of their own, whose end the checkpoints name.
//!
//! An export of some remediations has one checkpoint, and a proof in the place of the leaves that it lacks.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{
    Break, Checkpoint, Digest, Entry, Event, Given, IllegalTransition, LedgerError, Orders, Record,
    RemediationId, Slice, State, Store, VerifierKey, Witness,
    canonical::Canonical,
    chain::Header,
    export::{CHECKPOINT, ORDER, ROW, as_it_was, checkpoint_line, parse_proof, parse_row},
    merkle::{Roots, TILE_WIDTH, leaf_hash, root, root_by_parts},
    witness::named,
};

/// How many faults are listed; the others are counted.
const LISTED: usize = 1_000;

/// What is read at once of an export, give or take the end of a remediation.
const CHUNK: usize = 1 << 20;

/// How an event names its remediation.
const OWNER: &str = r#","id":"00000000-0000-0000-0000-000000000000""#;

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
    /// It is that, and has a proof that all of it is in the tree of its checkpoint.
    pub proved: bool,
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
    /// There is a row, and nothing that it could be of.
    #[error("has a row, and no events")]
    Lone,
    /// What indexes and auditors see of it in a table is something else.
    #[error("is shown with another `{0}` than its events say")]
    Shown(&'static str),
    /// It is under way, and who looks for that does not find it.
    #[error("has not ended, and is not among those that recovery looks for")]
    Hidden,
    /// The chain that is stored does not hold.
    #[error("{0}")]
    Broken(&'static str),
    /// Nothing says where its events are.
    #[error("cannot be told of: its row in the state table is gone, or cannot be read")]
    Untold,
    /// It is stored as a remediation, and is none.
    #[error("`{0}` is stored beside the ledger: the tree does not have it, and it is not open")]
    Stray(String),
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
    /// There was more when a checkpoint was signed.
    #[error("{} {signed} events, the ledger has {size}: events were cut off at the end", .by.had())]
    CutOff {
        /// Who keeps the checkpoint.
        by: Keeper,
        /// How many events it covers.
        signed: u64,
        /// What there is.
        size: u64,
    },
    /// The ledger is not an extension of what it was when a checkpoint was signed.
    #[error(
        "the ledger does not extend the {} checkpoint of {size} events: events before it were rewritten",
        .by.whose()
    )]
    Rewritten {
        /// Who keeps the checkpoint.
        by: Keeper,
        /// How many events it covers.
        size: u64,
    },
    /// An inner node of a stored tree is not that of the events.
    #[error("{keeper} has another hash of the events {first} to {last}, or none")]
    Node {
        /// Whose tree.
        keeper: &'static str,
        /// The first event below it.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Nothing leads from an export of some remediations to a signature.
    #[error("nothing in this part of a ledger is signed: it has no proof")]
    Unproved,
    /// The proof of an export of some remediations does not hold.
    #[error(
        "this part of a ledger is not in the tree of {0} events that its checkpoint was made of"
    )]
    Apart(u64),
    /// An export of some remediations cannot be held against this.
    #[error(
        "a part of a ledger does not show that the ledger extends the checkpoint of {0} events that was kept, or seen by the witness"
    )]
    NotShown(u64),
    /// An order about all that runs is not what was given.
    #[error("order {0} (a pause, a ring of the roll-out) is not what was given")]
    Order(u64),
    /// An export has an order that its checkpoints do not cover.
    #[error("order {0} (a pause, a ring of the roll-out) was put in: no checkpoint covers it")]
    OrderPutIn(u64),
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

/// Who keeps a checkpoint that a ledger has to extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// The ledger itself.
    Ledger,
    /// The witness.
    Witness,
    /// Whoever checks it.
    Auditor,
}

impl Keeper {
    const fn had(self) -> &'static str {
        match self {
            Self::Ledger => "the ledger's own checkpoint is of",
            Self::Witness => "the witness has a checkpoint of",
            Self::Auditor => "the kept checkpoint is of",
        }
    }

    const fn whose(self) -> &'static str {
        match self {
            Self::Ledger => "own",
            Self::Witness => "witness's",
            Self::Auditor => "kept",
        }
    }
}

impl From<Break> for Fault {
    fn from(Break { id, seq, problem }: Break) -> Self {
        Self {
            remediation: Some(id),
            seq: Some(seq),
            problem: Problem::Broken(problem),
            ..Self::default()
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            ..Self::default()
        }
    }
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
    /// How many leaves there are.
    fn size(&self) -> u64;
    /// The hashes of a tile; `None` if nothing is known of it.
    fn tile(&self, level: u8, index: u64) -> Option<Vec<Digest>>;
    /// Which event a leaf is: remediation and number.
    fn event(&self, leaf: u64) -> Option<(RemediationId, u64)>;
}

/// What a ledger is held against.
#[derive(Default)]
pub(crate) struct Against<'a> {
    pub(crate) known: Vec<&'a dyn Known>,
    /// Size and root of the stored tree, if there is one.
    pub(crate) tree: Option<(u64, Digest)>,
    /// Roots that the tree has to have, by size. Of an export of some remediations, the one that its proof
    /// has to lead to.
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
    Kept(Keeper),
    Store,
}

impl Against<'_> {
    /// Takes in the checkpoints of the ledger or export itself, the one that a witness has and the one that
    /// was kept. Those that are not signed by `key`, if there is one, or say what cannot be, are faults; so
    /// are orders that are not what they were made of.
    fn take(&mut self, head: &Head, trust: &Trust<'_>, report: &mut Report) {
        let own = head.checkpoints.iter().map(|own| (own, Keeper::Ledger));
        let witness = trust.witness.and_then(Witness::checkpoint);
        let witness = witness.map(|witness| (witness, Keeper::Witness));
        let kept = trust.since.map(|kept| (kept, Keeper::Auditor));
        let all: Vec<(&Checkpoint, Keeper)> = own.chain(witness).chain(kept).collect();
        report.signed = trust.key.is_some() && !all.is_empty();
        let mut signed: Vec<(&Checkpoint, Keeper)> = Vec::new();
        for (checkpoint, by) in all {
            match trust.key {
                Some(key) if !checkpoint.is_signed_by(key) => {
                    let problem = Problem::Signature(checkpoint.size);
                    report.faults.push(problem.into());
                    report.signed = false;
                }
                _ => signed.push((checkpoint, by)),
            }
        }
        match report.selection {
            true => self.take_part(&signed, trust, report),
            false => self.take_all(&signed, report),
        }
        self.take_orders(&head.orders, &signed, report);
    }

    fn take_all(&mut self, signed: &[(&Checkpoint, Keeper)], report: &mut Report) {
        // What the witness has seen and an export lacks is named, event by event.
        let named = signed.iter().filter(|(_, by)| *by != Keeper::Auditor);
        let last = named.map(|(checkpoint, _)| checkpoint.size).max();
        let end = self.tree.map(|(size, _)| size).or(last);
        for (checkpoint, by) in signed {
            let (by, &Checkpoint { size, root, .. }) = (*by, *checkpoint);
            match end.filter(|end| *end < size) {
                Some(end) => report.faults.push(
                    Problem::CutOff {
                        by,
                        signed: size,
                        size: end,
                    }
                    .into(),
                ),
                None => self.marks.push(Mark {
                    size,
                    root,
                    source: Source::Kept(by),
                }),
            }
        }
        if let Some((size, root)) = self.tree {
            let source = Source::Store;
            self.marks.push(Mark { size, root, source });
        } else if last.is_none() {
            report.faults.push(Problem::NoCheckpoint.into());
        }
        self.marks.sort_by_key(|mark| (mark.size, mark.source));
    }

    /// Of an export of some remediations, its own checkpoint is what counts: of the others it only shows
    /// whether they are the same one.
    fn take_part(
        &mut self,
        signed: &[(&Checkpoint, Keeper)],
        trust: &Trust<'_>,
        report: &mut Report,
    ) {
        let own = signed.iter().rev().find(|(_, by)| *by == Keeper::Ledger);
        let Some((own, by)) = own else {
            report.signed = false;
            if trust.is_some() {
                report.faults.push(Problem::Unproved.into());
            }
            return;
        };
        for (other, by) in signed {
            let (by, size) = (*by, other.size);
            let problem = match (by, size.cmp(&own.size)) {
                (Keeper::Ledger, _) => continue,
                (_, std::cmp::Ordering::Equal) if other.root == own.root => continue,
                (_, std::cmp::Ordering::Equal) => Problem::Rewritten { by, size },
                // Nothing leads from what the witness has seen to a later checkpoint that nobody signed.
                (Keeper::Witness, std::cmp::Ordering::Less) if trust.key.is_none() => {
                    Problem::NotShown(size)
                }
                // Its leaves are compared one by one.
                (Keeper::Witness, _) => continue,
                (Keeper::Auditor, std::cmp::Ordering::Less) => Problem::NotShown(size),
                (Keeper::Auditor, std::cmp::Ordering::Greater) => Problem::CutOff {
                    by,
                    signed: size,
                    size: own.size,
                },
            };
            report.faults.push(problem.into());
        }
        self.marks.push(Mark {
            size: own.size,
            root: own.root,
            source: Source::Kept(*by),
        });
    }

    fn take_orders(&self, orders: &[Given], signed: &[(&Checkpoint, Keeper)], report: &mut Report) {
        report.orders = orders.len() as u64;
        // A part of a ledger has none.
        if report.selection && orders.is_empty() {
            return;
        }
        let made_of = signed.iter().map(|(checkpoint, _)| checkpoint.orders);
        let own = signed.iter().filter(|(_, by)| *by == Keeper::Ledger);
        let own = own.map(|(checkpoint, _)| checkpoint.orders.count).max();
        // An export is written with the orders of its last checkpoint; a ledger goes on.
        let covered = match self.tree {
            Some(_) => u64::MAX,
            None => own.unwrap_or(0),
        };
        let wrong = Given::broken(orders).map(Problem::Order);
        let wrong = wrong
            .or_else(|| wrong_orders(made_of.collect(), orders))
            .or_else(|| (report.orders > covered).then_some(Problem::OrderPutIn(covered)));
        report.faults.extend(wrong.map(Fault::from));
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
    /// The rows of the remediations. Those of an export are among its lines.
    pub(crate) rows: HashMap<RemediationId, Record>,
    /// Of the ledger that is checked; events behind came meanwhile.
    size: Option<u64>,
    /// Those whose chain is known not to hold, or not to be told to its end.
    broken: HashSet<RemediationId>,
    /// What is wrong, beside what the lines say.
    faults: Vec<Fault>,
}

/// The hashes of a line that proves something, with its number.
type Hashes = (Option<u64>, Vec<Digest>);

/// What was found in a chunk.
#[derive(Default)]
struct Part {
    report: Report,
    leaves: Vec<Leaf>,
    proof: Vec<Hashes>,
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
    /// A checkpoint that was kept: there has to be as much, and it has to begin as it was then.
    pub since: Option<&'a Checkpoint>,
}

impl Trust<'_> {
    const fn is_some(&self) -> bool {
        self.key.is_some() || self.witness.is_some() || self.since.is_some()
    }
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
    let head = lines.head(&mut report)?;
    if let Some(witness) = trust.witness {
        against.known.push(witness);
    }
    against.take(&head, &trust, &mut report);
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
    since: Option<Checkpoint>,
) -> Result<Report, LedgerError> {
    let signed = Head {
        checkpoints: ledger.checkpoints().await?,
        orders: ledger.directives().await?,
    };
    let head = ledger.head().await?;
    let strays = ledger.strays(head.size).await?;
    let runtime = Handle::current();
    let check = move || {
        let trust = Trust {
            key: key.as_ref(),
            witness: witness.as_ref(),
            since: since.as_ref(),
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
        against.take(&signed, &trust, &mut report);
        report.faults.extend(strays);
        // Events that are appended meanwhile are beyond both.
        let size = head.size.max(head.events);
        let (mut after, mut failed, mut open) = (0, None, Vec::new());
        let chunks = std::iter::from_fn(|| match runtime.block_on(next(&*ledger, after, size)) {
            Ok(found) => {
                let (row, chunk) = found?;
                after = row;
                let rows = chunk.rows.iter();
                let begun = rows.filter(|(_, row)| !row.status.is_final());
                open.extend(begun.map(|(id, _)| *id));
                Some(chunk)
            }
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        let mut report = verify(chunks, &against, report);
        if let Some(error) = failed {
            return Err(error);
        }
        let hidden = runtime.block_on(hidden(&*ledger, open))?;
        report.faults.extend(hidden.into_iter().map(|id| Fault {
            remediation: Some(id),
            problem: Problem::Hidden,
            ..Fault::default()
        }));
        Ok(report)
    };
    let checked = tokio::task::spawn_blocking(check).await;
    checked.unwrap_or_else(|error| Err(LedgerError::encode(error)))
}

/// The remediations behind row `after`, with those of their events that are among the first `size`. Where
/// one has expired since, later events are there as well.
async fn next(
    ledger: &dyn Store,
    after: u64,
    size: u64,
) -> Result<Option<(u64, Chunk)>, LedgerError> {
    let mut seen = size;
    let mut slice = ledger.slice(after, seen).await?;
    // Another one may expire meanwhile.
    for _ in 0..3 {
        if as_it_was(ledger, &slice.told, seen).await.is_ok() {
            break;
        }
        let head = ledger.head().await?;
        seen = seen.max(head.size).max(head.events);
        slice = ledger.slice(after, seen).await?;
    }
    let Some(row) = slice.next else {
        return Ok(None);
    };
    let (mut ahead, mut unknown) = (Vec::new(), Vec::new());
    for told in &slice.told {
        let id = told.record.remediation_id;
        if told.events >= told.record.events {
            continue;
        }
        // Its row tells of more. That is true if that came meanwhile, which the next look will see.
        let came = told.goes_on_behind(ledger, seen).await;
        ahead.extend(came.then_some(id));
        // Its chain ends with why the contents are gone: whoever may only read gives that no place.
        unknown.extend((told.is_ahead && told.is_overtaken()).then_some(id));
    }
    let mut chunk = Chunk::of(slice);
    chunk.size = Some(size);
    chunk.broken.extend(unknown);
    for id in ahead {
        chunk.rows.remove(&id);
    }
    Ok(Some((row, chunk)))
}

/// Those of `open`, which had not ended, that a look for such does not find.
async fn hidden(
    ledger: &dyn Store,
    open: Vec<RemediationId>,
) -> Result<Vec<RemediationId>, LedgerError> {
    let mut hidden = open;
    // What ends, or begins anew, between one look and another is not hidden.
    for _ in 0..2 {
        if hidden.is_empty() {
            break;
        }
        let found = ledger.unfinished().await?;
        let found: HashSet<RemediationId> = found.iter().map(|row| row.remediation_id).collect();
        hidden.retain(|id| !found.contains(id));
        let mut still = Vec::new();
        for id in hidden {
            match ledger.record(id).await {
                Ok(row) => still.extend((!row.status.is_final()).then_some(id)),
                Err(error @ LedgerError::Store { .. }) => return Err(error),
                // What is wrong with it was found already.
                Err(_) => {}
            }
        }
        hidden = still;
    }
    Ok(hidden)
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

    fn size(&self) -> u64 {
        self.size
    }

    fn tile(&self, level: u8, index: u64) -> Option<Vec<Digest>> {
        self.runtime
            .block_on(self.ledger.tile(level, index, self.size))
            .ok()
    }

    fn event(&self, leaf: u64) -> Option<(RemediationId, u64)> {
        let links = self.runtime.block_on(self.ledger.links(leaf..leaf + 1));
        named(links.ok()?.first()?)
    }
}

impl Chunk {
    pub(crate) fn of(slice: Slice) -> Self {
        let mut chunk = Self {
            faults: slice.lost,
            ..Self::default()
        };
        for told in slice.told {
            match str::from_utf8(told.lines()) {
                Ok(lines) => chunk.text.push_str(lines),
                // Neither SQLite nor AWS gives such; a line that is changed by it is found.
                Err(_) => chunk.text.push_str(&String::from_utf8_lossy(told.lines())),
            }
            chunk.faults.extend(told.faults);
            let id = told.record.remediation_id;
            if told.is_broken {
                chunk.broken.insert(id);
            } else if chunk.rows.insert(id, told.record).is_some() {
                chunk.faults.push(Fault {
                    remediation: Some(id),
                    problem: Problem::Row,
                    ..Fault::default()
                });
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
            let read = if self.next.starts_with(CHECKPOINT.as_bytes()) {
                let checkpoint = whole(&self.next).and_then(checkpoint);
                checkpoint.map(|checkpoint| head.checkpoints.push(checkpoint))
            } else if self.next.starts_with(ORDER.as_bytes()) {
                let given = whole(&self.next).and_then(order);
                given.map(|given| head.orders.push(given))
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
            let same = owner(last).is_some_and(|last| Some(last) == owner(read));
            let ends = !same && !last.starts_with(ROW.as_bytes());
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
            ..Chunk::default()
        }))
    }
}

/// A line without its end, if it has one.
fn whole(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line.strip_suffix(b"\n")?).ok()
}

/// The checkpoint of a line that is, byte for byte, as an export writes it.
fn checkpoint(line: &str) -> Option<Checkpoint> {
    let note = line.strip_prefix(CHECKPOINT)?.strip_suffix('}')?;
    let note: String = serde_json::from_str(note).ok()?;
    let checkpoint = note.parse().ok()?;
    let again = checkpoint_line(&checkpoint).ok()?;
    (again == line).then_some(checkpoint)
}

/// The order of a line.
fn order(line: &str) -> Option<Given> {
    let given = line.strip_prefix(ORDER)?.strip_suffix('}')?;
    Given::read(given).ok()
}

/// The part of a line that names the remediation, if it is an event's. The version before it may change
/// from one event to the next.
fn owner(line: &[u8]) -> Option<&[u8]> {
    let version = line.strip_prefix(br#"{"v":"#)?;
    let (_, id) = version.split_at_checked(version.iter().position(|&byte| byte == b',')?)?;
    id.get(..OWNER.len())
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
    let mut proof = Vec::new();
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
            proof: hashes,
        } in parts
        {
            proof.extend(hashes);
            report.remediations += part.remediations;
            report.events += part.events;
            report.expired += part.expired;
            report.faults.extend(part.faults);
            found.into_iter().for_each(|leaf| leaves.add(leaf));
        }
    });
    proof.sort_by_key(|(line, _)| *line);
    leaves.finish(&proof, &mut report);
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
        size,
        broken,
        faults,
    } = chunk;
    let mut part = Part::default();
    part.report.faults = faults;
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
        if let Some(hashes) = parse_proof(text) {
            part.proof.push((line, hashes));
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
            part.block(&block, &mut rows, size, &broken, canonical);
            block.clear();
        }
        block.push(Line {
            line,
            header,
            event,
        });
    }
    if !block.is_empty() {
        part.block(&block, &mut rows, size, &broken, canonical);
    }
    part.report.faults.extend(announced.map(|(_, fault)| fault));
    // A row of an export that nothing follows on was announced in vain.
    if first.is_none() {
        part.report.faults.extend(rows.into_keys().map(|id| Fault {
            remediation: Some(id),
            problem: Problem::Lone,
            ..Fault::default()
        }));
    }
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
        rows: &mut HashMap<RemediationId, Record>,
        size: Option<u64>,
        broken: &HashSet<RemediationId>,
        canonical: &mut Canonical,
    ) {
        let Some(first) = lines.first() else { return };
        let id = first.header.id;
        let was_there = |line: &&Line<'_>| size.is_none_or(|size| line.header.leaf < size);
        let known = || lines.iter().filter(was_there);
        let count = known().count() as u64;
        self.report.remediations += u64::from(count > 0);
        self.report.events += count;
        self.report.expired += known().filter(|line| line.event.is_none()).count() as u64;
        let found = self.report.faults.len();

        let mut highest = first.header.seq;
        for line in lines {
            if line.header.seq < highest {
                self.report.faults.push(line.fault(Problem::Moved));
            }
            highest = highest.max(line.header.seq);
        }
        self.leaves.extend(known().map(|line| Leaf {
            number: line.header.leaf,
            hash: leaf_hash(&line.header.link()),
            id,
            seq: line.header.seq,
            line: line.line,
        }));
        let mut ordered: Vec<&Line<'_>> = lines.iter().collect();
        ordered.sort_by_key(|line| line.header.seq);

        let mut expected = 0;
        let mut prev = Some(Digest::ZERO);
        let mut course = match broken.contains(&id) {
            true => Course::Unknown,
            false => Course::Begun(None),
        };
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
            if !Entry::is_known(header.v) {
                self.report.faults.push(line.fault(Problem::Version));
                (prev, course) = (Some(header.hash), Course::Unknown);
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
        let Some(record) = rows.remove(&id) else {
            return;
        };
        self.missing(id, expected..record.events, None);
        let sound = self.report.faults.len() == found;
        let at = lines.last().map_or(record.timestamp, |line| line.header.at);
        let row = match &course {
            _ if !sound => return,
            Course::Begun(Some(state)) => Record::project(id, state, expected, at) == record,
            Course::Expired(outcome) => {
                let is_told = outcome.is_none_or(|outcome| outcome == record.outcome());
                is_told && record.expired && record.events == expected && record.updated_at == at
            }
            _ => return,
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
        self.sealed().hash == self.hash
    }
}

/// How far the course of a remediation is known.
enum Course {
    /// From its beginning.
    Begun(Option<Box<State>>),
    /// The contents from this event on have been removed.
    Emptied(u64),
    /// An `expired` event says why they were, and maybe what is left of the row.
    Expired(Option<Digest>),
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
                Self::Begun(_) | Self::Expired(_) => return Err(Problem::Emptied),
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
            (Self::Emptied(_), Event::Expired { outcome, .. }) => Self::Expired(*outcome),
            (Self::Emptied(_) | Self::Expired(_), _) => return Err(Problem::Emptied),
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
        // There may be a mark for every minute of years.
        let marks = &self.against.marks;
        let next = marks.partition_point(|mark| mark.size <= tile * WIDTH);
        let next = marks.get(next).map(|mark| mark.size);
        if next.is_none_or(|size| size >= (tile + 1) * WIDTH) {
            self.tiles.remove(&tile);
        }
    }

    fn finish(mut self, proof: &[Hashes], report: &mut Report) {
        let partial: Vec<u64> = self.tiles.keys().copied().collect();
        for tile in partial {
            self.settle(tile);
            if let (Some(leaves), false) = (self.tiles.get(&tile), self.roots.contains_key(&tile)) {
                compare(tile, leaves, self.against, &mut self.faults);
            }
        }
        if report.selection {
            self.lead_to_root(proof, report);
        } else {
            self.faults.extend(proof.iter().map(|(line, _)| Fault {
                line: *line,
                ..Fault::default()
            }));
            let size = self.size.unwrap_or_else(|| self.found());
            let sound = self.missing(size);
            self.compare_roots(sound, report);
            self.compare_nodes(sound);
        }
        report.faults.append(&mut self.faults);
    }

    /// Up to where leaves were found, whatever numbers they claim to have.
    fn found(&self) -> u64 {
        let partial = self.tiles.values().flatten().map(|leaf| leaf.number);
        let whole = self.roots.keys().map(|tile| tile * WIDTH + (WIDTH - 1));
        let last = partial.chain(whole).max();
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// The leaves of some remediations have to lead to the root of their checkpoint.
    fn lead_to_root(&mut self, proof: &[Hashes], report: &mut Report) {
        let Some(mark) = self.against.marks.first() else {
            if !proof.is_empty() {
                self.faults.push(Problem::Unproved.into());
            }
            return;
        };
        let mut parts: Vec<(Range<u64>, Digest)> = Vec::new();
        for (tile, root) in &self.roots {
            parts.push((tile * WIDTH..(tile + 1).saturating_mul(WIDTH), *root));
        }
        for (tile, leaves) in &self.tiles {
            if self.roots.contains_key(tile) {
                continue;
            }
            for leaf in leaves {
                parts.push((leaf.number..leaf.number.saturating_add(1), leaf.hash));
            }
        }
        parts.sort_unstable_by_key(|(part, _)| part.start);
        let hashes: Vec<Digest> = proof
            .iter()
            .flat_map(|(_, hashes)| hashes)
            .copied()
            .collect();
        report.proved = root_by_parts(mark.size, &parts, &hashes) == Some(mark.root);
        if report.proved {
            report.covered = mark.size;
            return;
        }
        report.signed = false;
        let problem = match proof {
            [] => Problem::Unproved,
            _ => Problem::Apart(mark.size),
        };
        self.faults.push(problem.into());
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
                // Nobody signs the stored tree itself.
                if mark.source != Source::Store {
                    report.covered = size;
                }
                continue;
            }
            let problem = match mark.source {
                Source::Kept(Keeper::Ledger) => Problem::Root { size, held },
                Source::Kept(by) => Problem::Rewritten { by, size },
                Source::Store => Problem::Tree(size),
            };
            self.faults.push(problem.into());
            if mark.source == Source::Kept(Keeper::Ledger) {
                return;
            }
        }
    }

    /// Compares the inner nodes that are kept, which proofs are made of, with those of the first `sound`
    /// leaves. Where a leaf or a root is another one, so are the nodes above it.
    fn compare_nodes(&mut self, sound: u64) {
        if !self.faults.is_empty() {
            return;
        }
        let whole = (0..sound / WIDTH).map_while(|tile| self.roots.get(&tile).copied());
        let mut hashes: Vec<Digest> = whole.collect();
        // How many leaves are below one of them.
        let mut covers = WIDTH;
        for level in 1..u8::MAX {
            for (index, tile) in (0..).zip(hashes.chunks(TILE_WIDTH)) {
                for known in &self.against.known {
                    let Some(kept) = known.tile(level, index) else {
                        continue;
                    };
                    let first = index * WIDTH;
                    let end = known.size() / covers;
                    for (number, hash) in (first..end).zip(tile) {
                        if kept.get((number - first) as usize) != Some(hash) {
                            let problem = Problem::Node {
                                keeper: known.name(),
                                first: number * covers,
                                last: number * covers + (covers - 1),
                            };
                            self.faults.push(problem.into());
                        }
                    }
                }
            }
            hashes = hashes.chunks_exact(TILE_WIDTH).map(root).collect();
            if hashes.is_empty() {
                return;
            }
            covers = covers.saturating_mul(WIDTH);
        }
    }
}

/// Names the leaves of a tile that are others than is known.
fn compare(tile: u64, leaves: &[Leaf], against: &Against<'_>, faults: &mut Vec<Fault>) {
    let known: Vec<_> = against
        .known
        .iter()
        .filter_map(|known| Some((known.name(), known.size(), known.tile(0, tile)?)))
        .collect();
    for leaf in leaves {
        let place = (leaf.number % WIDTH) as usize;
        let other = known
            .iter()
            .find(|(_, size, hashes)| leaf.number < *size && hashes.get(place) != Some(&leaf.hash));
        if let Some((name, ..)) = other {
            faults.push(leaf.fault(Problem::Replaced(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ledger as _, MemoryLedger,
        testing::{NOON, key, noon_and, received, success},
    };

    /// What expires between two slices is told with the event that says so.
    #[tokio::test]
    async fn an_expiry_meanwhile_is_no_fault() {
        let ledger = MemoryLedger::new();
        for n in 0..300 {
            let id = key(n).remediation_id();
            ledger.admit(key(n), received(n), NOON).await.unwrap();
            ledger.append(id, 1, success(), NOON).await.unwrap();
        }
        let size = ledger.head().await.unwrap().size;
        let (row, first) = next(&ledger, 0, size).await.unwrap().unwrap();
        let expired = ledger.expire(key(280).remediation_id(), "alice", "asked for", noon_and(1));
        expired.await.unwrap();
        // It is not among them, either.
        ledger.admit(key(300), received(300), NOON).await.unwrap();
        let (_, second) = next(&ledger, row, size).await.unwrap().unwrap();
        let (mut events, mut leaves, mut expired) = (0, 0, 0);
        for chunk in [first, second] {
            let part = part(chunk, &mut Canonical::default());
            let faults = &part.report.faults;
            assert!(faults.is_empty(), "{faults:?}");
            events += part.report.events;
            expired += part.report.expired;
            leaves += part.leaves.len() as u64;
        }
        assert_eq!((events, leaves, expired), (size, size, 8));
    }
}
