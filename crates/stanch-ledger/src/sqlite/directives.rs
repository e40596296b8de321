//! Directives in the file.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::{SqliteLedger, schema, writer::Writer};
use crate::{Digest, Directives, Given, LedgerError};

#[async_trait]
impl Directives for SqliteLedger {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        self.look_up(|file| {
            let fail = |error| schema::sqlite_error(&file.path, error);
            let mut query = file
                .connection
                .prepare_cached("SELECT seq, hash, body FROM directive ORDER BY seq")
                .map_err(fail)?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let rows = query.query_map([], read).map_err(fail)?;
            let given = |row: rusqlite::Result<(u64, Digest, String)>| {
                let (seq, hash, body) = row.map_err(fail)?;
                let mut given = Given::read(&body).map_err(|error| {
                    schema::store_error(&file.path, crate::StoreFault::Corrupt, error)
                })?;
                // The next order follows on what stands beside it.
                given.is_reworded |= (given.seq, given.hash) != (seq, hash);
                Ok(given)
            };
            rows.map(given).collect()
        })
    }

    async fn give(&self, given: Given) -> Result<bool, LedgerError> {
        let json = serde_json::to_string(&given).map_err(LedgerError::encode)?;
        self.write(move |writer| writer.give(&given, &json)).await
    }
}

impl Writer {
    fn give(&self, given: &Given, json: &str) -> Result<bool, LedgerError> {
        // The first has nothing before it; any other follows on the one that it was made after.
        let sql = "INSERT INTO directive (seq, hash, body) SELECT ?1, ?2, ?3 \
                   WHERE ?1 = (SELECT count(*) FROM directive) \
                   AND (?1 = 0 OR ?4 = (SELECT hash FROM directive WHERE seq = ?1 - 1))";
        let file = self.file();
        let added = file
            .connection
            .prepare_cached(sql)
            .and_then(|mut insert| insert.execute(params![given.seq, given.hash, json, given.prev]))
            .map_err(|error| schema::sqlite_error(&file.path, error))?;
        Ok(added == 1)
    }
}
