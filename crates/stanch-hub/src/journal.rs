//! One remediation's ledger, while it is worked on: what happened is stored before anything else
//! happens, and the state is folded by the ledger's own transition function.

use std::sync::Arc;

use jiff::Timestamp;
use stanch_ledger::{Event, Ledger, LedgerError, Received, Record, RemediationId, State};
use stanch_types::Clock;

/// A remediation that this process works on. It knows all that has happened, so that nothing that it wrote
/// has to be read again; whoever else appends is found when it does.
pub struct Journal {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    id: RemediationId,
    state: State,
    /// What is stored, with the times.
    events: Vec<(Event, Timestamp)>,
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
        let events = ledger.events(id).await?;
        let state = State::fold(events.iter().map(|(event, at)| (event, *at)))
            .map_err(|source| LedgerError::Illegal { id, source })?
            .ok_or(LedgerError::NotFound(id))?;
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
    pub fn admitted(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        id: RemediationId,
        state: State,
    ) -> Self {
        let received = Event::Received(Received::clone(&state.received).into());
        let events = vec![(received, state.at)];
        Self {
            ledger,
            clock,
            id,
            state,
            events,
            begun: None,
        }
    }

    /// Reads again what is stored.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn reopen(&mut self) -> Result<(), LedgerError> {
        let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
        *self = Self::open(ledger, clock, self.id).await?;
        Ok(())
    }

    /// All that is stored, with the times.
    pub fn events(&self) -> &[(Event, Timestamp)] {
        &self.events
    }

    /// The remediation's row, by what is stored.
    pub fn record(&self) -> Record {
        let state = match &self.begun {
            Some((_, before)) => before,
            None => &self.state,
        };
        let updated_at = self.events.last().map_or(state.at, |(_, at)| *at);
        Record::project(self.id, state, self.events.len() as u64, updated_at)
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

    /// Takes back what [`Self::begin`] noted, unless it is stored: it is not taken up after all.
    pub fn give_up(&mut self) {
        if let Some((_, before)) = self.begun.take() {
            self.state = before;
        }
    }

    /// Stores events, all or none, before it returns.
    ///
    /// # Errors
    /// The store failed, someone else appended, or an event cannot follow. The journal is as it was; what
    /// the store has is for whoever opens it again to see.
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
        let known = self.events.len() as u64;
        self.ledger
            .append(self.id, known, events.clone(), at)
            .await?;
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        self.events
            .extend(events.into_iter().map(|event| (event, at)));
        self.state = state;
        self.begun = None;
        Ok(())
    }
}
