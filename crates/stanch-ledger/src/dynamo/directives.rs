//! Directives in the state table: read as they are now, before every change.

use async_trait::async_trait;

use super::{
    DynamoLedger,
    item::{Item, s},
    store::Put,
};
use crate::{Digest, Directives, Given, LedgerError};

const DIRECTIVE: &str = "directive";

impl DynamoLedger {
    fn given(&self, item: &Item) -> Result<Given, LedgerError> {
        let given = item.text("Order");
        given
            .and_then(|given| Given::read(given).ok())
            .ok_or_else(|| self.store.damaged("a directive cannot be read"))
    }
}

#[async_trait]
impl Directives for DynamoLedger {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        let items = self.store.under(DIRECTIVE, "0", "9").await?;
        items.iter().map(|item| self.given(item)).collect()
    }

    async fn give(&self, given: Given) -> Result<bool, LedgerError> {
        let last = self.store.last(DIRECTIVE, "9").await?;
        let last = last.map(|item| self.given(&item)).transpose()?;
        let (seq, prev) = last.map_or((0, Digest::ZERO), |last| (last.seq + 1, last.hash));
        if (given.seq, given.prev) != (seq, prev) {
            return Ok(false);
        }
        let order = serde_json::to_string(&given).map_err(LedgerError::encode)?;
        let item = Item::key(DIRECTIVE, &format!("{seq:010}")).with("Order", s(order));
        let put = self.store.create(&self.store.tables.state, item).await?;
        Ok(put == Put::Done)
    }
}
