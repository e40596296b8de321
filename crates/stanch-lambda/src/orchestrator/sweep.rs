//! The sweep: what events missed, what waited for its time, what got stuck; and the ledger's tree.

use std::sync::Arc;

use stanch_config::WITNESS;
use stanch_hub::Source;
use stanch_ledger::{BucketShelf, KmsSigner, Store as _, Witness};
use stanch_types::chain;

use super::Run;
use crate::Failure;

impl Run<'_> {
    /// Puts to work what nobody else does.
    pub(super) async fn sweep(&self) -> Result<(), Failure> {
        let unfinished = self.hub.recover().await?;
        // People who want to begin each fix themselves are not overruled by a schedule.
        let missed = match self.variables().optional("AUTOMATIC_REMEDIATION") {
            Some("ENABLED") => self.look_for_findings().await,
            _ => 0,
        };
        tracing::info!(unfinished, missed, "swept");
        Ok(())
    }

    /// What Security Hub has and no event brought. That it does not answer holds up nothing else.
    async fn look_for_findings(&self) -> usize {
        let source = Source::automatic("security-hub sweep");
        let found = self.hub.poll(&*self.setup.own, &source, Some(1)).await;
        found.unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "cannot ask Security Hub");
            0
        })
    }

    /// Gives what was appended since its places in the ledger's tree, and signs that. What cannot be
    /// signed now is signed by the next sweep.
    pub(super) async fn close_sweep(&self) {
        if let Err(failure) = self.put_in_order().await {
            let error = failure.to_string();
            tracing::error!(error, "the ledger could not be put in order");
        }
    }

    async fn put_in_order(&self) -> Result<(), Failure> {
        let Some(tables) = &self.setup.store.tables else {
            return Ok(());
        };
        let swept = tables.sweep(self.world.clock.now()).await?;
        tracing::info!(
            sequenced = swept.sequenced,
            closed = swept.closed,
            open = swept.open,
            "the ledger's tree has them"
        );
        if let Some(key) = self.variables().optional("SIGNING_KEY") {
            let own = Arc::clone(&self.setup.own);
            let signer = KmsSigner::open(own, key, None).await;
            let signer = signer.map_err(|error| Failure::new("Aws", chain(&error)))?;
            let checkpoint = tables.checkpoint(&signer).await?;
            if let Some(bucket) = self.variables().optional("LEDGER_BUCKET") {
                let own = Arc::clone(&self.setup.own);
                let shelf = Arc::new(BucketShelf::new(own, bucket, WITNESS));
                let witness = Witness::on(shelf).await;
                let mut witness = witness.map_err(|error| Failure::new("Ledger", chain(&error)))?;
                let published = witness.publish(&**tables, &checkpoint).await;
                published.map_err(|error| Failure::new("Ledger", chain(&error)))?;
            }
        }
        Ok(())
    }
}
