//! The file: how it is opened, what is in it, how it grows from version to version.

use std::{io, path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig, ffi};

use super::row;
use crate::{
    LedgerError, StoreFault,
    merkle::{Tree, leaf_hash},
    own_file,
};

/// Marks the file as a ledger of ours: "StLg".
const APPLICATION_ID: i32 = 0x5374_4c67;

/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The n-th script brings a file from version n to n + 1. Scripts are never changed, only added.
const MIGRATIONS: [&str; 4] = [
    include_str!("1.sql"),
    include_str!("2.sql"),
    include_str!("3.sql"),
    include_str!("4.sql"),
];

/// Events of one remediation stand together in the order of their number:
/// `position = remediation << SEQ_BITS | seq`.
pub(super) const SEQ_BITS: u32 = 20;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Write,
    Read,
}

/// Creates the file, if it is not there, for this user only. SQLite gives its companions (`-wal`,
/// `-shm`) the same permissions.
pub(super) fn create(path: &Path) -> Result<(), LedgerError> {
    match own_file::empty(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let fault = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => StoreFault::ReadOnly,
                io::ErrorKind::StorageFull => StoreFault::Full,
                _ => StoreFault::CannotOpen,
            };
            Err(store_error(path, fault, error))
        }
        _ => Ok(()),
    }
}

/// Opens a file that exists.
pub(super) fn connect(path: &Path, mode: Mode) -> Result<Connection, LedgerError> {
    let fail = |error| sqlite_error(path, error);
    let access = match mode {
        Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
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
    // FULL: a commit is acknowledged after its log has reached the disk. A longer log between
    // checkpoints writes the same index page fewer times.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
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
