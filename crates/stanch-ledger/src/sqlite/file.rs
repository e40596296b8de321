//! A connection to the file, and everything that is read through it.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{
    row::{self, DEAD_LETTER, Millis, RECORD},
    schema::{SEQ_BITS, sqlite_error},
};
use crate::{
    Attempts, Break, Cursor, DeadLetter, Digest, Entry, Event, LedgerError, Order, Page, Query,
    Record, RemediationId, Scope, Status,
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

    /// The events of the remediation that is row `n`.
    pub(super) fn entries(&self, id: RemediationId, n: i64) -> Result<Vec<Entry>, LedgerError> {
        let sql = "SELECT v, at, body, hash, event, position FROM event
             WHERE position BETWEEN :first AND :last ORDER BY position";
        let first = n << SEQ_BITS;
        let range = named_params! {":first": first, ":last": first | ((1 << SEQ_BITS) - 1)};
        let mut prev = Digest::ZERO;
        self.rows(sql, range, |row| {
            let seq = row.get::<_, i64>(5)?.abs_diff(first);
            let hash = row.get(3)?;
            let text = row.get_ref(4)?.as_str()?;
            let event: Event = match serde_json::from_str(text) {
                Ok(event) if serde_json::to_string(&event).is_ok_and(|again| again == text) => {
                    event
                }
                // Also if it says the same in other bytes: no hash covers those.
                _ => {
                    let problem = "was changed";
                    return Ok(Err(Break { id, seq, problem }));
                }
            };
            let entry = Entry {
                v: row.get(0)?,
                id,
                seq,
                at: row.get::<_, Millis>(1)?.0,
                prev: std::mem::replace(&mut prev, hash),
                body: row.get(2)?,
                hash,
                event,
            };
            Ok(Ok(entry))
        })?
        .into_iter()
        .collect::<Result<_, Break>>()
        .map_err(LedgerError::Broken)
    }

    /// Up to `limit` remediations whose rows come after `n`.
    pub(super) fn after(
        &self,
        n: i64,
        limit: usize,
    ) -> Result<Vec<(i64, RemediationId)>, LedgerError> {
        self.rows(
            "SELECT n, id FROM remediation WHERE n > :n ORDER BY n LIMIT :limit",
            named_params! {":n": n, ":limit": limit},
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
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
