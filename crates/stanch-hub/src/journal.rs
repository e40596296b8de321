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
    /// What is stored with the next events, and the state without it.
    begun: Option<(Event, State)>,
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
            begun: None,
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
            begun: None,
        }
    }

    /// What it has come to.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Notes that an executor takes it up. Nothing has happened with that yet: it is stored with what
    /// happens next, which is the first request or the reason that there is none, and a process that
    /// dies before has begun nothing.
    ///
    /// # Errors
    /// It cannot follow.
    pub fn begin(&mut self, event: Event) -> Result<(), LedgerError> {
        let before = self.state.clone();
        let state = before.clone().apply(&event, self.clock.now());
        self.state = state.map_err(|source| LedgerError::Illegal {
            id: self.id,
            source,
        })?;
        self.begun = Some((event, before));
        Ok(())
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
        let (begun, before) = match &self.begun {
            Some((event, before)) => (Some(event.clone()), before),
            None => (None, &self.state),
        };
        let mut state = before.clone();
        let events: Vec<Event> = begun.into_iter().chain(events).collect();
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
        self.begun = None;
        Ok(())
    }
}
