//! One remediation's ledger, while it is worked on: what happened is stored before anything else
//! happens, and the state is folded by the ledger's own transition function.

use std::sync::Arc;

use stanch_ledger::{Event, Ledger, LedgerError, RemediationId, State};
use stanch_types::Clock;

/// A remediation that this process works on.
pub struct Journal {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    id: RemediationId,
    state: State,
    events: u64,
}

impl Journal {
    /// Opens the journal of `id` where it ended.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        id: RemediationId,
    ) -> Result<Self, LedgerError> {
        let (state, events) = ledger.state(id).await?;
        Ok(Self {
            ledger,
            clock,
            id,
            state,
            events,
        })
    }

    /// The journal of a remediation that was admitted just now.
    pub const fn admitted(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        id: RemediationId,
        state: State,
    ) -> Self {
        Self {
            ledger,
            clock,
            id,
            state,
            events: 1,
        }
    }

    /// What it has come to.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Stores events, all or none, before it returns.
    ///
    /// # Errors
    /// The store failed, someone else appended, or an event cannot follow; then nothing has changed.
    pub async fn write(
        &mut self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), LedgerError> {
        let at = self.clock.now();
        let events: Vec<Event> = events.into_iter().collect();
        let mut state = self.state.clone();
        for event in &events {
            state = state
                .apply(event, at)
                .map_err(|source| LedgerError::Illegal {
                    id: self.id,
                    source,
                })?;
        }
        let head = self.ledger.append(self.id, self.events, events, at).await?;
        self.events = head.events;
        self.state = state;
        Ok(())
    }
}
