//! The file: how it is opened, what is in it, how it grows from version to version.

use std::{fmt::Write as _, fs, io, path::Path, sync::Arc, time::Duration};

use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior, config::DbConfig, ffi,
};

use super::row;
use crate::{
    LedgerError, StoreFault,
    merkle::{Tree, leaf_hash},
    own_file,
};

/// Marks the file as a ledger of ours: "StLg".
const APPLICATION_ID: i32 = 0x5374_4c67;

/// How long to wait for another process that is writing.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often a log is asked for while others ask for one, too: one of them gets it every time.
const TRIES: usize = 16;

/// The n-th script brings a file from version n to n + 1. Scripts are never changed, only added.
const MIGRATIONS: [&str; 5] = [
    include_str!("1.sql"),
    include_str!("2.sql"),
    include_str!("3.sql"),
    include_str!("4.sql"),
    include_str!("5.sql"),
];

/// Events of one remediation stand together in the order of their number:
/// `position = remediation << SEQ_BITS | seq`.
pub(super) const SEQ_BITS: u32 = 20;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Write,
    Read,
    /// Reads a file that cannot change: without locks, and without a log.
    ReadFrozen,
}

/// Creates the file, if it is not there, for this user only. SQLite gives its companions (`-wal`,
/// `-shm`) the same permissions.
pub(super) fn create(path: &Path) -> Result<(), LedgerError> {
    match own_file::empty(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let fault = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    StoreFault::ReadOnly
                }
                io::ErrorKind::StorageFull => StoreFault::Full,
                _ => StoreFault::CannotOpen,
            };
            Err(store_error(path, fault, error))
        }
        _ => Ok(()),
    }
}

/// Opens a file that exists.
///
/// Of a file that cannot be written, SQLite gives a writer no more than a reader gets, and says nothing.
pub(super) fn connect(path: &Path, mode: Mode) -> Result<Connection, LedgerError> {
    let fail = |error| sqlite_error(path, error);
    let access = match mode {
        Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Mode::ReadFrozen => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match mode {
        Mode::Write | Mode::Read => Connection::open_with_flags(path, flags),
        Mode::ReadFrozen => Connection::open_with_flags(frozen(path), flags),
    };
    let connection = opened.map_err(fail)?;
    if mode == Mode::Write && connection.is_readonly(MAIN_DB).map_err(fail)? {
        let why = match is_on_a_read_only_disk(path) {
            true => "its disk cannot be written",
            false => "this user may not write it",
        };
        return Err(store_error(
            path,
            StoreFault::ReadOnly,
            io::Error::other(why),
        ));
    }
    connection.busy_timeout(PATIENCE).map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without it SQLite plans a cached statement anew for each other value that is bound.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(fail)?;
    connection
        .execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
        )
        .map_err(fail)?;
    Ok(connection)
}

/// How a ledger that is there can be read.
///
/// SQLite reads it together with its log, and makes an empty one where there is none. Where its disk does not
/// let it, the file is read alone. Whoever mounts that disk for writing meanwhile is not seen: then a reader
/// may find damage where there is none.
pub(super) fn way_to_read(path: &Path) -> Result<Mode, LedgerError> {
    let version_by = |mode| version(path, &connect(path, mode)?);
    let (mode, version) = match version_by(Mode::Read) {
        Err(LedgerError::Store {
            fault: StoreFault::CannotOpen,
            ..
        }) if is_on_a_read_only_disk(path) => {
            if has_log(path) {
                let why = "an index of its log is missing, and cannot be made on its disk";
                return Err(store_error(
                    path,
                    StoreFault::ReadOnly,
                    io::Error::other(why),
                ));
            }
            (Mode::ReadFrozen, version_by(Mode::ReadFrozen)?)
        }
        read => (Mode::Read, read?),
    };
    if version == 0 {
        let error = io::Error::other("it is empty");
        return Err(store_error(path, StoreFault::Corrupt, error));
    }
    Ok(mode)
}

/// The name of a file that SQLite takes as it is (<https://sqlite.org/uri.html#uriimmutable>).
fn frozen(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        let _ = write!(uri, "%{byte:02X}");
    }
    uri + "?immutable=1"
}

/// Whether the disk of a file that is there is mounted for reading.
///
/// It is asked to keep the permissions that it has. To open it would be no way: when it is closed again, this
/// process would lose the locks that SQLite has on it (<https://sqlite.org/howtocorrupt.html>, 2.2).
fn is_on_a_read_only_disk(path: &Path) -> bool {
    let kept = fs::metadata(path).and_then(|file| fs::set_permissions(path, file.permissions()));
    kept.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether something is in the log, which stands beside the file that a link leads to.
fn has_log(path: &Path) -> bool {
    let log = fs::canonicalize(path).and_then(|file| {
        let mut log = file.into_os_string();
        log.push("-wal");
        fs::metadata(log)
    });
    match log {
        Ok(log) => log.len() > 0,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The writer's connection to a file that is created if it is not there, of this version.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    create(path)?;
    let mut connection = connect(path, Mode::Write)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// Makes a writer's connection durable and brings the file up to this version.
fn migrate(path: &Path, connection: &mut Connection) -> Result<(), LedgerError> {
    let fail = |error| sqlite_error(path, error);
    write_a_log(connection).map_err(fail)?;
    // FULL: a commit is acknowledged after its log has reached the disk. A longer log between
    // checkpoints writes the same index page fewer times. FAST: what moves to another page leaves nothing
    // behind that would outlast its removal.
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA secure_delete = FAST;
             PRAGMA wal_autocheckpoint = 8000;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA cache_size = -16384;",
        )
        .map_err(fail)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    let version = version(path, &transaction)?;
    for (number, script) in (1..).zip(MIGRATIONS).skip(version) {
        transaction.execute_batch(script).map_err(fail)?;
        transaction
            .pragma_update(None, "user_version", number)
            .map_err(fail)?;
    }
    if version == 0 {
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(fail)?;
    }
    if matches!(version, 1 | 2) {
        plant(&transaction).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

/// Turns to a write-ahead log, which stays with the file from then on.
///
/// Where another process does the same to a new file, SQLite refuses at once. For a transaction it waits.
fn write_a_log(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 1..TRIES {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            done => return done,
        }
    }
    connection.execute_batch("PRAGMA journal_mode = WAL")
}

/// Makes the tree over events that were appended before there was one.
fn plant(connection: &Connection) -> rusqlite::Result<()> {
    let mut tree = Tree::default();
    loop {
        let start = tree.size();
        let links = row::links(connection, start..start + 4_096)?;
        if links.is_empty() {
            return row::put_tiles(connection, &mut tree);
        }
        links.iter().for_each(|link| tree.push(leaf_hash(link)));
    }
}

/// The version of the file; 0 if it is empty.
pub(super) fn version(path: &Path, connection: &Connection) -> Result<usize, LedgerError> {
    let number = |sql: &str| -> Result<i64, LedgerError> {
        connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| sqlite_error(path, error))
    };
    let ours = number("PRAGMA application_id")? == i64::from(APPLICATION_ID);
    if !ours && number("SELECT count(*) FROM sqlite_schema")? > 0 {
        let error = io::Error::other("it is an SQLite database of another application");
        return Err(store_error(path, StoreFault::Corrupt, error));
    }
    let version = usize::try_from(number("PRAGMA user_version")?).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        let error = io::Error::other(format!(
            "its schema is {version}, the newest known is {known}"
        ));
        return Err(store_error(path, StoreFault::Newer, error));
    }
    Ok(version)
}

/// What SQLite says, in our words.
pub(super) fn sqlite_error(path: &Path, error: rusqlite::Error) -> LedgerError {
    store_error(path, fault(&error), error)
}

fn fault(error: &rusqlite::Error) -> StoreFault {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqliteFailure,
        Utf8Error,
    };
    match error {
        SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreFault::Busy,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreFault::Corrupt,
            ErrorCode::SystemIoFailure => match failure.extended_code {
                ffi::SQLITE_IOERR_SHORT_READ => StoreFault::Corrupt,
                // The index of the log is mapped into memory, and has no room to grow.
                ffi::SQLITE_IOERR_SHMSIZE => StoreFault::Full,
                _ => StoreFault::Disk,
            },
            ErrorCode::DiskFull => StoreFault::Full,
            ErrorCode::ReadOnly => StoreFault::ReadOnly,
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => StoreFault::CannotOpen,
            _ => StoreFault::Other,
        },
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) => StoreFault::Corrupt,
        _ => StoreFault::Other,
    }
}

pub(super) fn store_error(
    path: &Path,
    fault: StoreFault,
    source: impl std::error::Error + Send + Sync + 'static,
) -> LedgerError {
    LedgerError::Store {
        store: path.display().to_string(),
        fault,
        source: Arc::new(source),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn who_makes_the_file_at_the_same_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        create(&path).unwrap();
        let other = connect(&path, Mode::Write).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (sender, opened) = mpsc::channel();
        let opener = thread::spawn(move || sender.send(open(&path).map(drop)).unwrap());
        let waits = opened.recv_timeout(Duration::from_millis(200)).unwrap_err();
        assert_eq!(waits, mpsc::RecvTimeoutError::Timeout);
        other.execute_batch("ROLLBACK").unwrap();
        opened.recv().unwrap().unwrap();
        opener.join().unwrap();
    }

    #[test]
    fn a_frozen_file_is_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ledger.db", "a b?c=d&e#f%41é.db"] {
            let path = folder.path().join(name);
            drop(open(&path).unwrap());
            let log = folder.path().join(format!("{name}-wal"));
            let connection = connect(&path, Mode::ReadFrozen).unwrap();
            assert_eq!(version(&path, &connection).unwrap(), MIGRATIONS.len());
            assert!(!log.exists(), "{name}");
            // The other way a log is made, and it stays for as long as the file is open.
            let connection = connect(&path, Mode::Read).unwrap();
            assert_eq!(version(&path, &connection).unwrap(), MIGRATIONS.len());
            assert!(log.exists(), "{name}");
        }
    }

    #[test]
    fn a_log_stands_beside_the_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        create(&path).unwrap();
        let log = folder.path().join("ledger.db-wal");
        let mut ways = vec![path.clone()];
        #[cfg(unix)]
        {
            fs::create_dir(folder.path().join("elsewhere")).unwrap();
            let link = folder.path().join("elsewhere/link.db");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            ways.push(link);
        }
        let has = || ways.iter().map(|way| has_log(way)).collect::<Vec<_>>();
        assert_eq!(has(), vec![false; ways.len()]);
        fs::write(&log, "").unwrap();
        assert_eq!(has(), vec![false; ways.len()]);
        fs::write(&log, "a page").unwrap();
        assert_eq!(has(), vec![true; ways.len()]);
    }
}
