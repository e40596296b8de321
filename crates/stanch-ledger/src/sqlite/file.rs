//! A connection to the file, and everything that is read through it.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range, path::PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{
    row::{self, DEAD_LETTER, Millis, RECORD},
    schema::{SEQ_BITS, sqlite_error},
};
use crate::{
    Attempts, Break, Checkpoint, Cursor, DeadLetter, Digest, Entry, Event, LedgerError, Order,
    Page, Query, Record, RemediationId, Scope, Slice, Status, Told,
    canonical::Canonical,
    chain::{Chain, Header},
    merkle::{self, TILE_WIDTH, Tree},
};

pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl File {
    pub(super) fn error(&self, error: rusqlite::Error) -> LedgerError {
        sqlite_error(&self.path, error)
    }

    /// All rows of a statement, which is kept prepared.
    fn rows<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let rows = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(params, read)?.collect()
        };
        let rows: rusqlite::Result<Vec<T>> = rows();
        rows.map_err(|error| self.error(error))
    }

    /// The number of a remediation's row.
    pub(super) fn number(&self, id: RemediationId) -> Result<i64, LedgerError> {
        self.connection
            .prepare_cached("SELECT n FROM remediation WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
            .map_err(|error| self.error(error))?
            .ok_or(LedgerError::NotFound(id))
    }

    pub(super) fn record(&self, id: RemediationId) -> Result<Record, LedgerError> {
        let sql = format!("SELECT {RECORD} FROM remediation WHERE id = :id");
        self.rows(&sql, named_params! {":id": id}, row::record)?
            .pop()
            .map(|(_, record)| record)
            .ok_or(LedgerError::NotFound(id))
    }

    /// The events of the remediation that is row `n`. Each is what its hash says, and follows on the one
    /// before it: whoever may write the file could put another plan in the place of the one that people
    /// approve, or another state where an undo leads.
    ///
    /// # Errors
    /// [`LedgerError::Expired`]; or one of them cannot be read, or was changed.
    pub(super) fn entries(&self, id: RemediationId, n: i64) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = Vec::new();
        let mut chain = Chain::new(id);
        let mut canonical = Canonical::default();
        self.each_event(id, n, |header, event| {
            let text = event.ok_or(LedgerError::Expired(id))?;
            chain.follow(&header, canonical.digest(text).ok())?;
            let event: Event =
                serde_json::from_str(text).map_err(|_| header.broken("cannot be read"))?;
            entries.push(header.with(event));
            Ok(())
        })?;
        Ok(entries)
    }

    /// Reads the events of a remediation one by one, with their texts.
    fn each_event(
        &self,
        id: RemediationId,
        n: i64,
        mut read: impl FnMut(Header, Option<&str>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let sql = "SELECT position, v, at, body, hash, leaf, event FROM event
             WHERE position BETWEEN ?1 AND ?2 ORDER BY position";
        let first = n << SEQ_BITS;
        let fail = |error| self.error(error);
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let mut rows = statement
            .query([first, first | ((1 << SEQ_BITS) - 1)])
            .map_err(fail)?;
        let mut prev = Digest::ZERO;
        while let Some(row) = rows.next().map_err(fail)? {
            let seq = row.get::<_, i64>(0).map_err(fail)?.abs_diff(first);
            let header = || {
                Ok(Header {
                    v: row.get(1)?,
                    id,
                    seq,
                    at: row.get::<_, Millis>(2)?.0,
                    prev,
                    body: row.get(3)?,
                    hash: row.get(4)?,
                    leaf: row.get(5)?,
                })
            };
            let header: rusqlite::Result<Header> = header();
            let problem = "cannot be read";
            let unreadable = |_| LedgerError::Broken(Break { id, seq, problem });
            let header = header.map_err(unreadable)?;
            let text = row.get_ref(6).and_then(|text| Ok(text.as_str_or_null()?));
            read(header, text.map_err(unreadable)?)?;
            prev = header.hash;
        }
        Ok(())
    }

    /// The remediations that come after row `after`, up to a number of them; their events are those
    /// among the first `size` of the ledger.
    pub(super) fn slice(&self, after: u64, size: u64) -> Result<Slice, LedgerError> {
        let sql = format!("SELECT {RECORD} FROM remediation WHERE n > :n ORDER BY n LIMIT 256");
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.at_once(|| {
            let mut slice = Slice::default();
            for (n, record) in self.rows(&sql, named_params! {":n": after}, row::record)? {
                let mut told = Told::new(record);
                self.each_event(told.record.remediation_id, n, |header, event| {
                    if header.leaf < size {
                        told.push(&header, event);
                    }
                    Ok(())
                })?;
                slice.next = Some(n.unsigned_abs());
                slice.told.push(told);
            }
            Ok(slice)
        })
    }

    /// Reads the file as it is at one moment.
    pub(super) fn at_once<T>(
        &self,
        read: impl FnOnce() -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let moment = self.connection.unchecked_transaction();
        let moment = moment.map_err(|error| self.error(error))?;
        let result = read();
        drop(moment);
        result
    }

    /// One more than the number of the last event.
    pub(super) fn events(&self) -> Result<u64, LedgerError> {
        self.connection
            .prepare_cached("SELECT coalesce(max(leaf) + 1, 0) FROM event")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| self.error(error))
    }

    /// How many leaves the tree has, by its last tile.
    pub(super) fn size(&self) -> Result<u64, LedgerError> {
        let sql = "SELECT id, length(hashes) FROM tile WHERE id < 1 << 56 ORDER BY id DESC LIMIT 1";
        let last: Option<(u64, u64)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
                statement.query_row([], read).optional()
            })
            .map_err(|error| self.error(error))?;
        Ok(last.map_or(0, |(index, bytes)| index * TILE_WIDTH as u64 + bytes / 32))
    }

    /// The tree.
    pub(super) fn tree(&self) -> Result<Tree, LedgerError> {
        let size = self.size()?;
        let tree = Tree::load(size, |level, index| self.tile(level, index, size))?;
        tree.ok_or(LedgerError::Tree(size))
    }

    /// A tile of the tree of `size` leaves, as far as it is there.
    pub(super) fn tile(
        &self,
        level: u8,
        index: u64,
        size: u64,
    ) -> Result<Vec<Digest>, LedgerError> {
        let id = row::tile_id(level, index);
        let bytes: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT hashes FROM tile WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
            .map_err(|error| self.error(error))?;
        let mut hashes = merkle::from_bytes(&bytes.unwrap_or_default()).unwrap_or_default();
        hashes.truncate(merkle::tile_width(level, index, size));
        Ok(hashes)
    }

    /// What the hashes of these leaves are taken over.
    pub(super) fn links(&self, leaves: Range<u64>) -> Result<Vec<Vec<u8>>, LedgerError> {
        row::links(&self.connection, leaves).map_err(|error| self.error(error))
    }

    /// The number among all events of event `seq` of a remediation.
    pub(super) fn leaf(&self, id: RemediationId, seq: u64) -> Result<u64, LedgerError> {
        let position = self.number(id)? << SEQ_BITS | i64::try_from(seq).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("SELECT leaf FROM event WHERE position = ?1")
            .and_then(|mut statement| statement.query_row([position], |row| row.get(0)).optional())
            .map_err(|error| self.error(error))?
            .filter(|_| seq >> SEQ_BITS == 0)
            .ok_or(LedgerError::NoEvent { id, seq })
    }

    /// The checkpoints that were kept, by size and by how many orders there were. One that cannot be read is
    /// not left out: it is an error.
    pub(super) fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        let notes: Vec<(u64, String)> = self.rows(
            "SELECT size, note FROM checkpoint ORDER BY size",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let read = |(size, note): (u64, String)| {
            let checkpoint: Option<Checkpoint> = note.parse().ok();
            checkpoint
                .filter(|checkpoint| checkpoint.size == size)
                .ok_or(LedgerError::BadCheckpoint(size))
        };
        let mut checkpoints = notes
            .into_iter()
            .map(read)
            .collect::<Result<Vec<Checkpoint>, LedgerError>>()?;
        // A file that no writer has opened since has no column to order them by.
        checkpoints.sort_by_key(|checkpoint| (checkpoint.size, checkpoint.orders.count));
        Ok(checkpoints)
    }

    pub(super) fn query(&self, query: &Query) -> Result<Page, LedgerError> {
        let limit = query.page_size();
        let position = query.cursor.as_ref().map(Cursor::position).transpose()?;
        let (beyond, order) = match query.order {
            Order::Oldest => (">", "ASC"),
            Order::Newest => ("<", "DESC"),
        };
        let mut sql = format!("SELECT {RECORD} FROM remediation WHERE ");
        let selection = Selection::new(query, &mut sql);
        let mut params = selection.params();
        let (at, n) = position.unwrap_or_default();
        if position.is_some() {
            // The first comparison is implied by the second; it is what the index can use.
            let _ = write!(sql, " AND at {beyond}= :at AND (at, n) {beyond} (:at, :n)");
            params.extend(named_params! {":at": at, ":n": n});
        }
        let _ = write!(sql, " ORDER BY at {order}, n {order} LIMIT {}", limit + 1);
        let mut rows = self.rows(&sql, &params, row::record)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(n, record)| Cursor::at(record.timestamp.as_millisecond(), *n));
        let records = rows.into_iter().map(|(_, record)| record).collect();
        Ok(Page { records, next })
    }

    pub(super) fn counts(&self, query: &Query) -> Result<BTreeMap<Status, u64>, LedgerError> {
        let mut sql = "SELECT status, count(*) FROM remediation WHERE ".to_owned();
        let selection = Selection::new(query, &mut sql);
        sql.push_str(" GROUP BY status");
        let counts = self.rows(&sql, &selection.params(), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(counts.into_iter().collect())
    }

    pub(super) fn attempts(
        &self,
        account: &str,
        resource_id: &str,
        remediation: &str,
        since: Millis,
    ) -> Result<Attempts, LedgerError> {
        self.connection
            .prepare_cached(
                "SELECT count(*), max(started_at) FROM remediation
                 WHERE resource_id = ?1 AND account = ?2 AND remediation = ?3 AND started_at >= ?4",
            )
            .and_then(|mut statement| {
                let params = params![resource_id, account, remediation, since];
                statement.query_row(params, |row| {
                    Ok(Attempts {
                        count: row.get(0)?,
                        last: row.get::<_, Option<Millis>>(1)?.map(|at| at.0),
                    })
                })
            })
            .map_err(|error| self.error(error))
    }

    /// What was begun since then.
    pub(super) fn begun(&self, since: Millis) -> Result<Vec<Record>, LedgerError> {
        let sql = format!("SELECT {RECORD} FROM remediation WHERE started_at >= :since");
        let rows = self.rows(&sql, named_params! {":since": since}, row::record)?;
        Ok(rows.into_iter().map(|(_, record)| record).collect())
    }

    pub(super) fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, LedgerError> {
        let sql = format!("SELECT {DEAD_LETTER} FROM dead_letter ORDER BY at, id LIMIT :limit");
        self.rows(&sql, named_params! {":limit": limit}, row::dead_letter)
    }

    pub(super) fn dead_letter(&self, id: Digest) -> Result<Option<DeadLetter>, LedgerError> {
        let sql = format!("SELECT {DEAD_LETTER} FROM dead_letter WHERE id = :id");
        let found = self.rows(&sql, named_params! {":id": id}, row::dead_letter)?;
        Ok(found.into_iter().next())
    }
}

/// A query's conditions and what they compare with.
struct Selection<'a> {
    scope: Option<&'a str>,
    from: Option<Millis>,
    until: Option<Millis>,
    status: Option<Status>,
}

impl<'a> Selection<'a> {
    /// Writes the conditions to `sql`; there is always one.
    fn new(query: &'a Query, sql: &mut String) -> Self {
        let (condition, scope) = match &query.scope {
            Scope::All => ("true", None),
            Scope::Unfinished => ("open = 1", None),
            Scope::Account(account) => ("account = :scope", Some(account.as_str())),
            Scope::Resource(resource) => ("resource_id = :scope", Some(resource.as_str())),
            Scope::Finding(finding) => ("finding_id = :scope", Some(finding.as_str())),
        };
        sql.push_str(condition);
        let selection = Self {
            scope,
            // Stored times are whole milliseconds: a bound between two of them means the later.
            from: query.from.map(|at| Millis(ceil(at))),
            until: query.until.map(|at| Millis(ceil(at))),
            status: query.status,
        };
        for (set, condition) in [
            (selection.from.is_some(), " AND at >= :from"),
            (selection.until.is_some(), " AND at < :until"),
            (selection.status.is_some(), " AND status = :status"),
        ] {
            if set {
                sql.push_str(condition);
            }
        }
        selection
    }

    fn params(&self) -> Vec<(&'static str, &dyn ToSql)> {
        fn of<'v, T: ToSql>(
            name: &'static str,
            value: &'v Option<T>,
        ) -> Option<(&'static str, &'v dyn ToSql)> {
            value.as_ref().map(|value| (name, value as &dyn ToSql))
        }
        [
            of(":scope", &self.scope),
            of(":from", &self.from),
            of(":until", &self.until),
            of(":status", &self.status),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn ceil(at: jiff::Timestamp) -> jiff::Timestamp {
    let floor = crate::chain::to_millisecond(at);
    if floor < at {
        floor
            .saturating_add(std::time::Duration::from_millis(1))
            .unwrap_or(floor)
    } else {
        floor
    }
}
