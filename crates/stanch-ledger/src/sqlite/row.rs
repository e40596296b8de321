//! Rows and what they mean.

use std::ops::Range;

use jiff::Timestamp;
use rusqlite::{
    Connection, Row, ToSql, params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef},
};
use uuid::Uuid;

use crate::{
    DeadLetter, Digest, ExecutionStatus, Letter, Record, RemediationId, Route, Status,
    chain::Header, merkle::Tree,
};

/// The columns of `remediation` in the order that [`record`] reads them.
pub(super) const RECORD: &str = "n, id, at, account, region, finding_id, control, severity, title, \
    resource_id, resource_type, remediation, route, requester, status, executor_arn, error, \
    duration_ms, notified, undone, execution_status, started_at, updated_at, events, expired";

/// A row of [`RECORD`], with its number.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<(i64, Record)> {
    let record = Record {
        remediation_id: row.get(1)?,
        timestamp: row.get::<_, Millis>(2)?.0,
        account_id: parsed(row, 3)?,
        region: parsed(row, 4)?,
        finding_id: row.get(5)?,
        control: row.get(6)?,
        severity: row.get(7)?,
        title: row.get(8)?,
        resource_id: row.get(9)?,
        resource_type: row.get(10)?,
        remediation_action: row.get(11)?,
        remediation_type: row.get(12)?,
        requester: row.get(13)?,
        status: row.get(14)?,
        executor_arn: row.get(15)?,
        error_message: row.get(16)?,
        execution_duration: row.get(17)?,
        notification_sent: row.get(18)?,
        undone: row.get(19)?,
        execution_status: row.get(20)?,
        started_at: row.get::<_, Option<Millis>>(21)?.map(|at| at.0),
        updated_at: row.get::<_, Millis>(22)?.0,
        events: row.get(23)?,
        expired: row.get(24)?,
    };
    Ok((row.get(0)?, record))
}

/// The columns of `dead_letter` in the order that [`dead_letter`] reads them.
pub(super) const DEAD_LETTER: &str = "id, at, times, source, reason, body";

pub(super) fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        at: row.get::<_, Millis>(1)?.0,
        times: row.get(2)?,
        letter: Letter {
            source: row.get(3)?,
            reason: row.get(4)?,
            body: row.get(5)?,
        },
    })
}

/// What the hashes of these leaves are taken over.
pub(super) fn links(connection: &Connection, leaves: Range<u64>) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut statement = connection.prepare_cached(
        "SELECT r.id, e.position & 1048575, e.v, e.at, e.body, e.hash, e.leaf,
             (SELECT p.hash FROM event p
              WHERE p.position = e.position - 1 AND e.position & 1048575 > 0)
         FROM event e JOIN remediation r ON r.n = e.position >> 20
         WHERE e.leaf >= ?1 AND e.leaf < ?2 ORDER BY e.leaf",
    )?;
    let link = |row: &Row<'_>| {
        let header = Header {
            id: row.get(0)?,
            seq: row.get(1)?,
            v: row.get(2)?,
            at: row.get::<_, Millis>(3)?.0,
            body: row.get(4)?,
            hash: row.get(5)?,
            leaf: row.get(6)?,
            prev: row.get::<_, Option<Digest>>(7)?.unwrap_or(Digest::ZERO),
        };
        Ok(header.link())
    };
    statement
        .query_map([leaves.start, leaves.end], link)?
        .collect()
}

/// Writes the tiles that have changed.
pub(super) fn put_tiles(connection: &Connection, tree: &mut Tree) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tile (id, hashes) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET hashes = ?2",
    )?;
    for tile in tree.take_changed() {
        let id = tile_id(tile.level, tile.index);
        statement.execute(params![id, tile.to_bytes()])?;
    }
    Ok(())
}

/// The key of a tile's row.
pub(super) fn tile_id(level: u8, index: u64) -> i64 {
    i64::from(level) << 56 | index.cast_signed()
}

/// A time as the milliseconds since 1970.
pub(super) struct Millis(pub(super) Timestamp);

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_millisecond(value.as_i64()?)
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for Digest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self::from)
    }
}

impl ToSql for Digest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
}

impl FromSql for RemediationId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(|bytes| Uuid::from_bytes(bytes).into())
    }
}

impl ToSql for RemediationId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(
            self.as_uuid().as_bytes(),
        )))
    }
}

/// Words of a small vocabulary, stored as they are written everywhere.
macro_rules! word {
    ($type:ty: $all:expr) => {
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let word = value.as_str()?;
                let known = $all.into_iter().find(|known| known.as_str() == word);
                known.ok_or(FromSqlError::InvalidType)
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }
    };
}

word!(Status: Status::ALL);
word!(Route: [Route::Manual, Route::Automatic]);
word!(ExecutionStatus: [
    ExecutionStatus::Success,
    ExecutionStatus::Failed,
    ExecutionStatus::InProgress,
]);

fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
