//! A ledger in one file: SQLite with a write-ahead log.
//!
//! One thread writes and commits all that waits for it as one transaction, so that many concurrent
//! appends share one flush to the disk; each is acknowledged after that. Reads go through their own
//! connections and never wait for the writer.

mod directives;
mod file;
mod row;
mod schema;
mod writer;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, backup::Backup, config::DbConfig};
use stanch_types::AccountId;
use tokio::sync::Semaphore;

use self::{
    file::File,
    row::Millis,
    schema::Mode,
    writer::{Job, Sealed, Writer},
};
use crate::{
    Admission, Attempts, Checkpoint, DeadLetter, Digest, Entry, Event, Head, IdempotencyKey, Lease,
    Ledger, LedgerError, Left, Letter, Lock, Page, Query, Received, Record, RemediationId, Slice,
    State, Status, StoreFault, TreeHead, chain::to_millisecond, ledger::a_day_before,
};

/// Reads at the same time; also the most connections that are kept for them.
const READERS: usize = 8;

/// How long to wait for whoever still has a file that is to be held.
const HOLDING: Duration = Duration::from_secs(1);

/// The most rows that are read where they are asked for.
const FEW: u32 = 20;

/// Keeps everything in one file, which several processes may use at once.
///
/// A write whose future is dropped may still be carried out.
#[derive(Debug)]
pub struct SqliteLedger {
    shared: Arc<Shared>,
    /// `None` once dropping has begun, or if the file is only read.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// A file that nobody else can use while this is kept.
#[derive(Debug)]
pub struct FileHold {
    _connection: Connection,
}

struct Shared {
    path: PathBuf,
    /// How it is opened to be read.
    mode: Mode,
    readers: Mutex<Vec<File>>,
    permits: Arc<Semaphore>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl SqliteLedger {
    /// Opens the ledger at `path`, creates it for this user only if there is none, and brings an
    /// older one up to this version.
    ///
    /// # Errors
    /// [`LedgerError::Store`]: it cannot be opened or written, is damaged, or is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        let connection = schema::open(&path)?;
        Self::start(path, connection)
    }

    /// Hands the connection to a writer of its own.
    fn start(path: PathBuf, connection: Connection) -> Result<Self, LedgerError> {
        let writer = Writer::new(File {
            path: path.clone(),
            connection,
        });
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| schema::store_error(&path, StoreFault::Other, error))?;
        Ok(Self {
            shared: Shared::new(path, Mode::Read),
            jobs: Some(jobs),
            writer: Some(thread),
        })
    }

    /// Opens the ledger at `path` for reading; every write fails as [`StoreFault::ReadOnly`].
    ///
    /// # Errors
    /// [`LedgerError::Store`]: it cannot be read, is damaged, or is something else.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        let mode = schema::way_to_read(&path)?;
        Ok(Self {
            shared: Shared::new(path, mode),
            jobs: None,
            writer: None,
        })
    }

    /// Copies the ledger as it is at this moment to a new file, while it goes on.
    ///
    /// # Errors
    /// It cannot be read, or the copy is there already or cannot be written.
    pub async fn back_up(&self, to: impl Into<PathBuf>) -> Result<(), LedgerError> {
        let to = to.into();
        self.read(move |file| {
            let draft = to.with_extension("new");
            if to.exists() {
                let error = io::Error::from(io::ErrorKind::AlreadyExists);
                return Err(schema::store_error(&to, StoreFault::CannotOpen, error));
            }
            schema::create(&draft)?;
            let mut copy = schema::connect(&draft, Mode::Write)?;
            let copied = Backup::new(&file.connection, &mut copy)
                .and_then(|backup| backup.run_to_completion(1_024, Duration::ZERO, None));
            copied.map_err(|error| schema::sqlite_error(&draft, error))?;
            // One file, without a log beside it.
            let closed = copy.execute_batch("PRAGMA journal_mode = DELETE");
            closed.map_err(|error| schema::sqlite_error(&draft, error))?;
            drop(copy);
            std::fs::rename(&draft, &to)
                .map_err(|error| schema::store_error(&to, StoreFault::CannotOpen, error))
        })
        .await
    }

    /// Keeps everybody away from the file at `path`, so that another can be put in its place: whoever has it
    /// open would go on in a file that has no name any more. `None` if it is nothing that can be held: damaged,
    /// or no ledger.
    ///
    /// # Errors
    /// [`StoreFault::Busy`]: another process has it open.
    pub fn hold(path: &Path) -> Result<Option<FileHold>, LedgerError> {
        let hold = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(HOLDING)?;
            // A log beside the file is left as it is: it may be that of another file by then.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            // Set before anything is read, it also keeps away those who share a write-ahead log
            // (<https://www.sqlite.org/wal.html#use_of_wal_without_shared_memory>).
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
            Ok(connection)
        };
        let held: rusqlite::Result<Connection> = hold();
        match held.map_err(|error| schema::sqlite_error(path, error)) {
            Ok(connection) => Ok(Some(FileHold {
                _connection: connection,
            })),
            Err(
                error @ LedgerError::Store {
                    fault: StoreFault::Busy,
                    ..
                },
            ) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Has the writer do `work`; answers when it is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let fail = |fault, what: &str| {
            schema::store_error(&self.shared.path, fault, io::Error::other(what))
        };
        let Some(jobs) = &self.jobs else {
            return Err(fail(StoreFault::ReadOnly, "it was opened for reading"));
        };
        let closed = || fail(StoreFault::Closed, "its writer has ended");
        let (job, result) = writer::job(work);
        jobs.send(job).map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// Reads a few rows by their key, here and now: with a write-ahead log that never waits for the
    /// writer, and handing it to another thread would cost more than reading.
    fn look_up<T>(
        &self,
        work: impl FnOnce(&File) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let file = self.shared.reader()?;
        let result = work(&file);
        self.shared.put_back(file);
        result
    }

    /// Reads in a thread where waiting for the disk holds nobody up.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let shared = Arc::clone(&self.shared);
        let other = |error: &str| {
            schema::store_error(
                &self.shared.path,
                StoreFault::Other,
                io::Error::other(error),
            )
        };
        let permit = Arc::clone(&shared.permits)
            .acquire_owned()
            .await
            .map_err(|error| other(&error.to_string()))?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let file = shared.reader()?;
            let result = work(&file);
            shared.put_back(file);
            result
        })
        .await
        .map_err(|error| other(&error.to_string()))?
    }
}

impl Shared {
    fn new(path: PathBuf, mode: Mode) -> Arc<Self> {
        Arc::new(Self {
            path,
            mode,
            readers: Mutex::default(),
            permits: Arc::new(Semaphore::new(READERS)),
        })
    }

    fn reader(&self) -> Result<File, LedgerError> {
        let idle = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match idle {
            Some(file) => Ok(file),
            None => Ok(File {
                connection: schema::connect(&self.path, self.mode)?,
                path: self.path.clone(),
            }),
        }
    }

    fn put_back(&self, file: File) {
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(file);
    }
}

/// Waits for the writer, so that what was sent is written and the file is free again.
impl Drop for SqliteLedger {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has answered its callers by hanging up.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn admit(
        &self,
        key: IdempotencyKey,
        received: Arc<Received>,
        at: Timestamp,
    ) -> Result<Admission, LedgerError> {
        let first = Sealed::new(Event::Received(Received::clone(&received).into()))?;
        let (id, at) = (key.remediation_id(), to_millisecond(at));
        self.write(move |writer| writer.admit(id, received, first, at))
            .await
    }

    async fn append(
        &self,
        id: RemediationId,
        expected: u64,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let at = to_millisecond(at);
        let events = events
            .into_iter()
            .map(Sealed::new)
            .collect::<Result<_, _>>()?;
        self.write(move |writer| writer.append(id, expected, events, at))
            .await
    }

    async fn entries(&self, id: RemediationId) -> Result<Vec<Entry>, LedgerError> {
        self.look_up(|file| file.entries(id, file.number(id)?))
    }

    async fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        self.look_up(|file| file.record(id))
    }

    async fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        if query.limit <= FEW {
            return self.look_up(|file| file.query(query));
        }
        let query = query.clone();
        self.read(move |file| file.query(&query)).await
    }

    async fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        let query = query.clone();
        self.read(move |file| file.counts(&query)).await
    }

    async fn attempts(
        &self,
        account: &AccountId,
        resource_id: &str,
        remediation: &str,
        since: Timestamp,
    ) -> Result<Attempts, LedgerError> {
        self.look_up(|file| {
            file.attempts(account.as_str(), resource_id, remediation, Millis(since))
        })
    }

    async fn begun(
        &self,
        since: Timestamp,
        _now: Timestamp,
        _known: &HashSet<RemediationId>,
    ) -> Result<Vec<Record>, LedgerError> {
        let since = a_day_before(since);
        self.read(move |file| file.begun(Millis(since))).await
    }

    async fn lock(
        &self,
        key: &str,
        owner: &str,
        work: RemediationId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lock, LedgerError> {
        let (key, owner) = (key.to_owned(), owner.to_owned());
        self.write(move |writer| writer.lock(key, owner, work, ttl, now))
            .await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, LedgerError> {
        let lease = lease.clone();
        self.write(move |writer| writer.renew(lease, ttl, now))
            .await
    }

    async fn unlock(&self, lease: &Lease, _: Left, _: Timestamp) -> Result<(), LedgerError> {
        let token = lease.token;
        self.write(move |writer| writer.unlock(token)).await
    }

    async fn bury(&self, letter: Letter, at: Timestamp) -> Result<Digest, LedgerError> {
        let at = to_millisecond(at);
        self.write(move |writer| writer.bury(&letter, at)).await
    }

    async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read(move |file| file.dead_letters(limit)).await
    }

    async fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        self.look_up(|file| file.dead_letter(id))
    }

    async fn remove_dead_letter(&self, id: Digest) -> Result<bool, LedgerError> {
        self.write(move |writer| writer.remove_dead_letter(id))
            .await
    }

    async fn expire(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Head, LedgerError> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        let at = to_millisecond(at);
        // What it says of the outcome is read in the transaction that writes it.
        self.write(move |writer| {
            let file = writer.file();
            let entries = file.entries(id, file.number(id)?)?;
            let state = State::fold(entries.iter().map(|entry| (&entry.event, entry.at)))
                .map_err(|source| LedgerError::Illegal { id, source })?
                .ok_or(LedgerError::NotFound(id))?;
            let last = Sealed::new(Event::expired(id, &state, &by, &reason))?;
            writer.expire(id, last, at)
        })
        .await
    }

    async fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        self.read(move |file| file.slice(after, size)).await
    }

    async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.read(|file| {
            file.at_once(|| {
                let tree = file.tree()?;
                Ok(TreeHead {
                    size: tree.size(),
                    root: tree.root(),
                    events: file.events()?,
                })
            })
        })
        .await
    }

    async fn tile(&self, level: u8, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
        self.read(move |file| file.tile(level, index, size)).await
    }

    async fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.read(move |file| file.links(leaves)).await
    }

    async fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        self.read(move |file| file.leaf(id, seq)).await
    }

    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        let checkpoint = checkpoint.clone();
        self.write(move |writer| writer.keep(&checkpoint)).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        self.read(File::checkpoints).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOON, key, received};

    /// SQLite itself limits the file here, as a full disk does.
    #[tokio::test]
    async fn a_full_store_says_so_and_keeps_what_it_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let connection = schema::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA max_page_count = 40")
            .unwrap();
        let ledger = SqliteLedger::start(path, connection).unwrap();
        let mut kept = Vec::new();
        let error = loop {
            let n = kept.len() as u64;
            match ledger.admit(key(n), received(n), NOON).await {
                Ok(Admission::New(id)) => kept.push(id),
                Ok(Admission::Duplicate(id)) => panic!("{id} is new"),
                Err(error) => break error,
            }
            assert!(kept.len() < 10_000);
        };
        assert!(
            matches!(
                error,
                LedgerError::Store {
                    fault: StoreFault::Full,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("space"));
        assert!(kept.len() > 10);
        for id in kept {
            ledger.verify(id).await.unwrap();
        }
    }
}
