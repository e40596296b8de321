//! The sweep: what events missed, what waited for its time, what got stuck; and the ledger's tree.

use stanch_hub::Source;
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
        if let Err(error) = self.setup.store.close().await {
            let error = chain(&error);
            tracing::error!(error, "the ledger could not be signed");
        }
    }
}
