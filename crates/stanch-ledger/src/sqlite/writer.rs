//! The one thread that writes: it commits whatever is waiting as one transaction.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, mpsc},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, named_params, params};
use tokio::sync::oneshot;

use super::{
    file::File,
    row::{self, Millis},
    schema::{PATIENCE, SEQ_BITS},
};
use crate::{
    Admission, Checkpoint, Digest, Event, Head, Lease, LedgerError, Letter, Lock, Received, Record,
    RemediationId, State, canonical::Canonical, chain::Header, merkle::Tree,
};

/// The most pieces of work in one transaction.
const MAX_BATCH: usize = 1_024;

/// So many remediations that were written to later than others keep their state in memory between
/// transactions; up to twice as many do.
const MAX_LIVE: usize = 1_024;

/// How long nothing has come when contents that were removed are removed from the log, too.
const LULL: Duration = Duration::from_millis(200);

/// After so many transactions they are even if something always comes.
const BUSY: u32 = 64;

/// A piece of work. It is given the writer inside a transaction, or why there is none, and gives back
/// whether the store did its part, and how to answer its caller once the outcome is known.
pub(super) type Job =
    Box<dyn FnOnce(Result<&mut Writer, LedgerError>) -> (Result<(), LedgerError>, Answer) + Send>;
type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// `work` as a job, and where its result will come.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, LedgerError>>) {
    let (sender, result) = oneshot::channel();
    // Nobody may be waiting any more; the work is done all the same.
    let answer = move |result| drop(sender.send(result));
    let job: Job = Box::new(move |writer| match writer.and_then(work) {
        // A failing store fails the whole transaction; any other error is this caller's alone.
        Err(error @ LedgerError::Store { .. }) => (
            Err(error.clone()),
            Box::new(move |_| answer(Err(error))) as Answer,
        ),
        done => (
            Ok(()),
            Box::new(move |committed: Result<(), LedgerError>| answer(committed.and(done))),
        ),
    });
    (job, result)
}

pub(super) struct Writer {
    file: File,
    /// What recent remediations have come to. Valid while nobody else writes to the file.
    live: Recent,
    /// Those whose rows are behind their events; all of them are in `live`.
    dirty: HashSet<RemediationId>,
    /// The tree, as far as this transaction has come; `None` when it has to be read.
    tree: Option<Tree>,
    /// SQLite's count of other connections' commits, when `live` and `tree` were valid.
    data_version: i64,
    /// Contents were removed that the log may still hold: so many transactions ago.
    removed: Option<u32>,
}

/// A remediation as its events say.
struct Live {
    n: i64,
    events: u64,
    head: Digest,
    updated_at: Timestamp,
    state: State,
}

/// Remediations that were written to of late. Whoever is not written to while as many as fit are, is
/// forgotten.
#[derive(Default)]
struct Recent {
    young: HashMap<RemediationId, Live>,
    old: HashMap<RemediationId, Live>,
}

impl Recent {
    fn get(&self, id: RemediationId) -> Option<&Live> {
        self.young.get(&id).or_else(|| self.old.get(&id))
    }

    fn insert(&mut self, id: RemediationId, live: Live) {
        self.old.remove(&id);
        self.young.insert(id, live);
    }

    fn remove(&mut self, id: RemediationId) -> Option<Live> {
        let young = self.young.remove(&id);
        young.or_else(|| self.old.remove(&id))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn age(&mut self) {
        if self.young.len() > MAX_LIVE {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// An event, hashed and written out; that is done by the caller, not by the one writer.
pub(super) struct Sealed {
    event: Event,
    body: Digest,
    json: String,
}

impl Sealed {
    pub(super) fn new(event: Event) -> Result<Self, LedgerError> {
        let json = serde_json::to_string(&event).map_err(LedgerError::encode)?;
        let mut canonical = Canonical::default();
        Ok(Self {
            body: canonical.digest(&json).map_err(LedgerError::encode)?,
            json,
            event,
        })
    }
}

impl Writer {
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            live: Recent::default(),
            dirty: HashSet::new(),
            tree: None,
            data_version: 0,
            removed: None,
        }
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Some(first) = self.next(jobs) {
            let rest = std::iter::from_fn(|| jobs.try_recv().ok());
            let batch = std::iter::once(first).chain(rest).take(MAX_BATCH);
            self.commit(batch);
            self.removed = self.removed.map(|ago| ago + 1);
            if self.removed.is_some_and(|ago| ago >= BUSY) {
                self.empty_log(Duration::ZERO);
            }
        }
        // Nobody comes after it who would try again.
        self.empty_log(Duration::from_secs(1));
    }

    /// The next piece of work; `None` once nobody can send any more.
    fn next(&mut self, jobs: &mpsc::Receiver<Job>) -> Option<Job> {
        while self.removed.is_some() {
            match jobs.recv_timeout(LULL) {
                Err(mpsc::RecvTimeoutError::Timeout) => self.empty_log(Duration::ZERO),
                next => return next.ok(),
            }
        }
        jobs.recv().ok()
    }

    /// Brings all that is in the log into the file, and leaves the log empty: it has the pages as they were
    /// before contents were removed. Somebody who reads just now keeps it from that: it is tried again in a
    /// moment.
    fn empty_log(&mut self, patience: Duration) {
        if self.removed.is_none() {
            return;
        }
        let connection = &self.file.connection;
        let emptied = connection
            .busy_timeout(patience)
            .and_then(|()| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            })
            .is_ok_and(|busy: bool| !busy);
        // Without patience the next transaction fails sooner, and says so.
        let _ = connection.busy_timeout(PATIENCE);
        self.removed = (!emptied).then_some(0);
    }

    /// One transaction: all of it is on the disk before anyone is answered. Of a failure, too, nobody hears
    /// before it is over, or who comes again at once would be in it.
    fn commit(&mut self, batch: impl Iterator<Item = Job>) {
        let mut answers = Vec::new();
        let mut outcome = self.begin();
        for job in batch {
            let writer = outcome.clone().map(|()| &mut *self);
            let (done, answer) = job(writer);
            answers.push(answer);
            outcome = outcome.and(done);
        }
        let outcome = outcome
            .and_then(|()| self.write_rows())
            .and_then(|()| self.write_tree())
            .and_then(|()| self.execute("COMMIT"));
        if outcome.is_err() {
            self.forget();
            if !self.file.connection.is_autocommit() {
                // The first error is the one to report. A transaction that cannot be rolled back
                // makes the next one fail to begin.
                let _ = self.execute("ROLLBACK");
            }
        }
        for answer in answers {
            answer(outcome.clone());
        }
        self.live.age();
    }

    fn begin(&mut self) -> Result<(), LedgerError> {
        self.execute("BEGIN IMMEDIATE")?;
        let version: i64 = self
            .file
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| self.file.error(error))?;
        if version != self.data_version {
            self.forget();
            self.data_version = version;
        }
        if self.tree.is_none() {
            let tree = self.file.tree()?;
            if self.file.events()? != tree.size() {
                return Err(LedgerError::Tree(tree.size()));
            }
            self.tree = Some(tree);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.live.clear();
        self.dirty.clear();
        self.tree = None;
    }

    fn execute(&self, sql: &str) -> Result<(), LedgerError> {
        self.file
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(|error| self.file.error(error))
    }

    pub(super) fn admit(
        &mut self,
        id: RemediationId,
        received: Arc<Received>,
        first: Sealed,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let state = State::admitted(received, at);
        let record = Record::project(id, &state, 1, at);
        let inserted = self
            .insert_row(&record)
            .map_err(|error| self.file.error(error))?;
        if !inserted {
            return Ok(Admission::Duplicate(id));
        }
        let n = self.file.connection.last_insert_rowid();
        let head = self.insert(id, n, 0, at, Digest::ZERO, first)?;
        let live = Live {
            n,
            events: 1,
            head,
            updated_at: at,
            state,
        };
        self.live.insert(id, live);
        Ok(Admission::New(id))
    }

    pub(super) fn append(
        &mut self,
        id: RemediationId,
        expected: u64,
        events: Vec<Sealed>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let loaded;
        let live = match self.live.get(id) {
            Some(live) => live,
            None => {
                loaded = self.load(id)?;
                &loaded
            }
        };
        let found = live.events;
        if found != expected {
            return Err(LedgerError::Conflict {
                id,
                expected,
                found,
            });
        }
        let (n, mut head) = (live.n, live.head);
        if events.is_empty() {
            let events = found;
            return Ok(Head { events, hash: head });
        }
        // All are checked before the first is written.
        let mut state = live.state.clone();
        for sealed in &events {
            state = state
                .apply(&sealed.event, at)
                .map_err(|source| LedgerError::Illegal { id, source })?;
        }
        if (found + events.len() as u64) >> SEQ_BITS != 0 {
            return Err(LedgerError::TooLong(id));
        }
        let mut count = found;
        for sealed in events {
            head = self.insert(id, n, count, at, head, sealed)?;
            count += 1;
        }
        let live = Live {
            n,
            events: count,
            head,
            updated_at: at,
            state,
        };
        self.live.insert(id, live);
        self.dirty.insert(id);
        Ok(Head {
            events: count,
            hash: head,
        })
    }

    pub(super) fn expire(
        &mut self,
        id: RemediationId,
        last: Sealed,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let expected = match self.live.get(id) {
            Some(live) => live.events,
            None => self.load(id)?.events,
        };
        let head = self.append(id, expected, vec![last], at)?;
        let Some(Live { n, mut state, .. }) = self.live.remove(id) else {
            return Err(LedgerError::NotFound(id));
        };
        state.forget();
        let record = Record::project(id, &state, head.events, at);
        let connection = &self.file.connection;
        let remove = || {
            // What was there is overwritten, not only given free: whole pages, too.
            connection.execute_batch("PRAGMA secure_delete = ON")?;
            let first = n << SEQ_BITS;
            connection.execute(
                "UPDATE event SET event = NULL WHERE position >= ?1 AND position < ?2",
                [first, first + expected.cast_signed()],
            )?;
            connection.execute(
                "UPDATE remediation SET finding_id = '', title = '', resource_id = '',
                     requester = '' WHERE n = ?1",
                [n],
            )?;
            self.update_row(n, &record)?;
            connection.execute_batch("PRAGMA secure_delete = FAST")
        };
        remove().map_err(|error| self.file.error(error))?;
        self.removed = Some(0);
        Ok(head)
    }

    /// A remediation's state from its stored events.
    fn load(&self, id: RemediationId) -> Result<Live, LedgerError> {
        let n = self.file.number(id)?;
        let entries = self.file.entries(id, n)?;
        let state = State::fold(entries.iter().map(|entry| (&entry.event, entry.at)))
            .map_err(|source| LedgerError::Illegal { id, source })?;
        let (Some(state), Some(last)) = (state, entries.last()) else {
            return Err(LedgerError::NotFound(id));
        };
        Ok(Live {
            n,
            events: entries.len() as u64,
            head: last.hash,
            updated_at: last.at,
            state,
        })
    }

    /// Writes an event behind the one with hash `prev`; gives back its own.
    fn insert(
        &mut self,
        id: RemediationId,
        n: i64,
        seq: u64,
        at: Timestamp,
        prev: Digest,
        sealed: Sealed,
    ) -> Result<Digest, LedgerError> {
        let Sealed { body, json, .. } = sealed;
        let tree = self.tree.get_or_insert_default();
        let (header, leaf) = Header::seal(id, seq, at, prev, body, tree.size());
        self.file
            .connection
            .prepare_cached(
                "INSERT INTO event (position, v, at, body, hash, leaf, event)
                 VALUES (?1 << 20 | ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .and_then(|mut statement| {
                let Header { v, hash, leaf, .. } = header;
                statement.execute(params![n, seq, v, Millis(at), body, hash, leaf, json])
            })
            .map_err(|error| self.file.error(error))?;
        tree.push(leaf);
        Ok(header.hash)
    }

    /// Writes what this transaction has added to the tree.
    fn write_tree(&mut self) -> Result<(), LedgerError> {
        let Some(tree) = &mut self.tree else {
            return Ok(());
        };
        row::put_tiles(&self.file.connection, tree).map_err(|error| self.file.error(error))
    }

    pub(super) fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        self.file
            .connection
            .prepare_cached(
                "INSERT INTO checkpoint (size, orders, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT (size, orders) DO NOTHING",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    checkpoint.size,
                    checkpoint.orders.count,
                    checkpoint.as_note()
                ])
            })
            .map(drop)
            .map_err(|error| self.file.error(error))
    }

    /// Writes the row of a new remediation; `false` if there is one already.
    fn insert_row(&self, record: &Record) -> rusqlite::Result<bool> {
        let mut statement = self.file.connection.prepare_cached(
            "INSERT INTO remediation (id, at, account, region, finding_id, control, severity, title,
                 resource_id, resource_type, remediation, route, requester, status, open,
                 executor_arn, error, duration_ms, notified, undone, execution_status, started_at,
                 updated_at, events)
             VALUES (:id, :at, :account, :region, :finding_id, :control, :severity, :title,
                 :resource_id, :resource_type, :remediation, :route, :requester, :status, :open,
                 :executor_arn, :error, :duration_ms, :notified, :undone, :execution_status,
                 :started_at, :updated_at, :events)
             ON CONFLICT (id) DO NOTHING",
        )?;
        let rows = statement.execute(named_params! {
            ":id": record.remediation_id,
            ":at": Millis(record.timestamp),
            ":account": record.account_id.as_str(),
            ":region": record.region.as_str(),
            ":finding_id": record.finding_id,
            ":control": record.control,
            ":severity": record.severity,
            ":title": record.title,
            ":resource_id": record.resource_id,
            ":resource_type": record.resource_type,
            ":remediation": record.remediation_action,
            ":route": record.remediation_type,
            ":requester": record.requester,
            ":status": record.status,
            ":open": !record.status.is_final(),
            ":executor_arn": record.executor_arn,
            ":error": record.error_message,
            ":duration_ms": record.execution_duration,
            ":notified": record.notification_sent,
            ":undone": record.undone,
            ":execution_status": record.execution_status,
            ":started_at": record.started_at.map(Millis),
            ":updated_at": Millis(record.updated_at),
            ":events": record.events,
        })?;
        Ok(rows == 1)
    }

    /// Brings the rows up to their events: once per remediation and transaction.
    fn write_rows(&mut self) -> Result<(), LedgerError> {
        for id in std::mem::take(&mut self.dirty) {
            let Some(live) = self.live.get(id) else {
                continue;
            };
            let record = Record::project(id, &live.state, live.events, live.updated_at);
            self.update_row(live.n, &record)
                .map_err(|error| self.file.error(error))?;
            if record.status.is_final() || record.status.waits() {
                self.live.remove(id);
            }
        }
        Ok(())
    }

    fn update_row(&self, n: i64, record: &Record) -> rusqlite::Result<()> {
        let mut statement = self.file.connection.prepare_cached(
            "UPDATE remediation SET status = :status, open = :open, executor_arn = :executor_arn,
                 error = :error, duration_ms = :duration_ms, notified = :notified,
                 undone = :undone, expired = :expired, execution_status = :execution_status,
                 started_at = :started_at, updated_at = :updated_at, events = :events
             WHERE n = :n",
        )?;
        statement
            .execute(named_params! {
                ":n": n,
                ":status": record.status,
                ":open": !record.status.is_final(),
                ":executor_arn": record.executor_arn,
                ":error": record.error_message,
                ":duration_ms": record.execution_duration,
                ":notified": record.notification_sent,
                ":undone": record.undone,
                ":expired": record.expired,
                ":execution_status": record.execution_status,
                ":started_at": record.started_at.map(Millis),
                ":updated_at": Millis(record.updated_at),
                ":events": record.events,
            })
            .map(drop)
    }

    pub(super) fn lock(
        &self,
        key: String,
        owner: String,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let expires = Lease::end(now, ttl);
        let lock = || {
            let connection = &self.file.connection;
            let held = connection
                .prepare_cached("SELECT owner, expires FROM lease WHERE key = ?1 AND expires > ?2")?
                .query_row(params![key, Millis(now)], |row| {
                    let (owner, Millis(expires)) = (row.get(0)?, row.get(1)?);
                    Ok(Lock::Busy { owner, expires })
                })
                .optional()?;
            if let Some(busy) = held {
                return Ok(busy);
            }
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO lease (key, owner, expires) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![key, owner, Millis(expires)])?;
            let token = connection.last_insert_rowid().unsigned_abs();
            Ok(Lock::Taken(Lease {
                key,
                owner,
                token,
                expires,
                work,
                // A look at the others costs nothing here.
                quiet_since: None,
            }))
        };
        lock().map_err(|error| self.file.error(error))
    }

    pub(super) fn renew(
        &self,
        lease: Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        let expires = Lease::end(now, ttl);
        let rows = self
            .file
            .connection
            .prepare_cached("UPDATE lease SET expires = ?1 WHERE token = ?2 AND expires > ?3")
            .and_then(|mut statement| {
                statement.execute(params![Millis(expires), lease.token, Millis(now)])
            })
            .map_err(|error| self.file.error(error))?;
        if rows == 0 {
            return Err(LedgerError::LeaseLost(lease.key));
        }
        Ok(Lease { expires, ..lease })
    }

    pub(super) fn unlock(&self, token: u64) -> Result<(), LedgerError> {
        self.file
            .connection
            .prepare_cached("DELETE FROM lease WHERE token = ?1")
            .and_then(|mut statement| statement.execute([token]))
            .map(drop)
            .map_err(|error| self.file.error(error))
    }

    pub(super) fn bury(&self, letter: &Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        let id = letter.id();
        let Letter {
            source,
            reason,
            body,
        } = letter;
        self.file
            .connection
            .prepare_cached(
                "INSERT INTO dead_letter (id, at, times, source, reason, body)
                 VALUES (?1, ?2, 1, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET at = ?2, times = times + 1, reason = ?4",
            )
            .and_then(|mut statement| {
                statement.execute(params![id, Millis(at), source, reason, body])
            })
            .map_err(|error| self.file.error(error))?;
        Ok(id)
    }

    pub(super) fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.file
            .connection
            .prepare_cached("DELETE FROM dead_letter WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .map(|rows| rows > 0)
            .map_err(|error| self.file.error(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema::{self, Mode};

    #[test]
    fn nobody_hears_of_a_failure_that_is_not_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let connection = schema::open(&path).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        let other = schema::connect(&path, Mode::Write).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();

        let mut writer = Writer::new(File { path, connection });
        let (first, mut told) = job(|_| Ok(()));
        let next = || {
            assert!(told.try_recv().is_err(), "what comes now is in it");
            None
        };
        writer.commit(std::iter::once(first).chain(std::iter::from_fn(next)));
        let told = told.try_recv().unwrap();
        assert!(matches!(told, Err(LedgerError::Store { .. })), "{told:?}");

        other.execute_batch("ROLLBACK").unwrap();
        let (again, mut told) = job(|_| Ok(()));
        writer.commit(std::iter::once(again));
        told.try_recv().unwrap().unwrap();
    }
}
