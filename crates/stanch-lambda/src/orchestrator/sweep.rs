//! The sweep: what events missed, what waited for its time, what got stuck; and the ledger's tree.

use std::sync::Arc;

use stanch_config::WITNESS;
use stanch_hub::{Message, Source};
use stanch_ledger::{
    BucketShelf, DynamoLedger, KmsSigner, LedgerError, NotWitnessed, Store as _, StoreFault,
    Witness,
};
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
    /// signed now is signed by the next sweep. One remediation whose record was changed keeps nobody else's
    /// from being signed: people are told of it.
    pub(super) async fn close_sweep(&self) {
        let Some(tables) = &self.setup.store.tables else {
            return;
        };
        match tables.sweep(self.world.clock.now()).await {
            Ok(swept) => {
                tracing::info!(
                    sequenced = swept.sequenced,
                    closed = swept.closed,
                    open = swept.open,
                    broken = swept.broken.len(),
                    "the ledger's tree has them"
                );
                for (number, broken) in swept.broken.into_iter().enumerate() {
                    let (id, error) = (broken.id, LedgerError::Broken(broken));
                    let (name, why) = (id.to_string(), chain(&error));
                    tracing::error!(
                        remediation_id = name,
                        error = why,
                        "a record is not what was written"
                    );
                    if number < TOLD {
                        self.tell_of_break(id, &error).await;
                    }
                }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the ledger could not be put in order");
            }
        }
        if let Err(failure) = self.sign(tables).await {
            let error = failure.to_string();
            tracing::error!(error, "the ledger could not be signed");
        }
    }

    /// Signs the ledger as it is and shows that to the witness.
    async fn sign(&self, tables: &DynamoLedger) -> Result<(), Failure> {
        let Some(key) = self.variables().optional("SIGNING_KEY") else {
            return Ok(());
        };
        let own = Arc::clone(&self.setup.own);
        let signer = KmsSigner::open(own, key, None).await;
        let signer = signer.map_err(|error| Failure::new("Aws", chain(&error)))?;
        let checkpoint = match tables.checkpoint(&signer).await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                if is_contradiction(&error) {
                    self.tell_of_contradiction(chain(&error)).await;
                }
                return Err(error.into());
            }
        };
        let Some(bucket) = self.variables().optional("LEDGER_BUCKET") else {
            return Ok(());
        };
        let own = Arc::clone(&self.setup.own);
        let shelf = Arc::new(BucketShelf::new(own, bucket, WITNESS));
        let witness = Witness::on(shelf).await;
        let mut witness = witness.map_err(|error| Failure::new("Ledger", chain(&error)))?;
        let Err(error) = witness.publish(tables, &checkpoint).await else {
            return Ok(());
        };
        let is_alarm = match &error {
            NotWitnessed::Rewritten(_) | NotWitnessed::OrdersRewritten(_) => true,
            NotWitnessed::Ledger(error) => is_contradiction(error),
            NotWitnessed::Shelf { .. } => false,
        };
        if is_alarm {
            self.tell_of_contradiction(chain(&error)).await;
        }
        Err(Failure::new("Ledger", chain(&error)))
    }

    /// Says that the ledger is not what was signed before: nothing more of it is signed or shown to the
    /// witness until people have looked.
    async fn tell_of_contradiction(&self, error: String) {
        let action = "`stanch ledger verify` says what is wrong; keep the tables and the bucket \
             as evidence";
        self.publish(&Message {
            remediation_id: "ledger".to_owned(),
            status: "LedgerBroken".to_owned(),
            action: action.to_owned(),
            executed_at: self.world.clock.now().to_string(),
            error: Some(error),
            urgent: true,
            ..Message::default()
        })
        .await;
    }
}

/// The most broken records that people are told of by one sweep: all of them are in the log.
const TOLD: usize = 10;

/// What is there contradicts what was there, which trying again does not change.
const fn is_contradiction(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Tree(_)
            | LedgerError::BadCheckpoint(_)
            | LedgerError::Rewritten(_)
            | LedgerError::Order(_)
            | LedgerError::OrdersRewritten(_)
            | LedgerError::Store {
                fault: StoreFault::Damaged,
                ..
            }
    )
}
