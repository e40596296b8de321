//! One remediation's ledger, while it is worked on: what happened is stored before anything else
//! happens, and the state is folded by the ledger's own transition function.

use std::sync::Arc;

use jiff::Timestamp;
use stanch_ledger::{
    Event, Ledger, LedgerError, Received, Record, RemediationId, Sensitive, State, hush,
};
use stanch_types::Clock;

/// A remediation that this process works on. It knows all that has happened, so that nothing that it wrote
/// has to be read again; whoever else appends is found when it does.
pub struct Journal {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    sensitive: Arc<dyn Sensitive>,
    id: RemediationId,
    state: State,
    /// What is stored, with the times.
    events: Vec<(Event, Timestamp)>,
    /// What is stored with the next events.
    begun: Vec<Event>,
    /// The state without that.
    stored: State,
}

impl Journal {
    /// Opens the journal of `id` where it ended.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        sensitive: Arc<dyn Sensitive>,
        id: RemediationId,
    ) -> Result<Self, LedgerError> {
        let events = ledger.events(id).await?;
        let state = State::fold(events.iter().map(|(event, at)| (event, *at)))
            .map_err(|source| LedgerError::Illegal { id, source })?
            .ok_or(LedgerError::NotFound(id))?;
        Ok(Self {
            ledger,
            clock,
            sensitive,
            id,
            stored: state.clone(),
            state,
            events,
            begun: Vec::new(),
        })
    }

    /// The journal of a remediation that was admitted just now.
    pub fn admitted(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        sensitive: Arc<dyn Sensitive>,
        id: RemediationId,
        state: State,
    ) -> Self {
        let received = Event::Received(Received::clone(&state.received).into());
        let events = vec![(received, state.at)];
        Self {
            ledger,
            clock,
            sensitive,
            id,
            stored: state.clone(),
            state,
            events,
            begun: Vec::new(),
        }
    }

    /// Reads again what is stored.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn reopen(&mut self) -> Result<(), LedgerError> {
        let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
        let sensitive = Arc::clone(&self.sensitive);
        *self = Self::open(ledger, clock, sensitive, self.id).await?;
        Ok(())
    }

    /// All that is stored, with the times.
    pub fn events(&self) -> &[(Event, Timestamp)] {
        &self.events
    }

    /// The remediation's row, by what is stored.
    pub fn record(&self) -> Record {
        let updated_at = self.events.last().map_or(self.stored.at, |(_, at)| *at);
        Record::project(self.id, &self.stored, self.events.len() as u64, updated_at)
    }

    /// What it has come to.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Notes what was decided, or that an executor takes it up. Nothing has happened with that yet: it is
    /// stored with what happens next, which is the first request or the reason that there is none, and a
    /// process that dies before has begun nothing.
    ///
    /// # Errors
    /// It cannot follow.
    pub fn begin(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), LedgerError> {
        let now = self.clock.now();
        for event in events {
            self.state = self.after(&self.state, &event, now)?;
            self.begun.push(event);
        }
        Ok(())
    }

    /// Takes back that an executor takes it up, unless that is stored.
    ///
    /// # Errors
    /// What is left cannot follow.
    pub fn give_up(&mut self) -> Result<(), LedgerError> {
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|event| !matches!(event, Event::Started(_)));
        self.state = self.stored.clone();
        self.begin(begun)
    }

    fn after(&self, state: &State, event: &Event, at: Timestamp) -> Result<State, LedgerError> {
        let after = state.clone().apply(event, at);
        after.map_err(|source| LedgerError::Illegal {
            id: self.id,
            source,
        })
    }

    /// Stores events, all or none, before it returns. What the words of errors repeat of secrets is masked,
    /// here and for whoever is told of them.
    ///
    /// # Errors
    /// The store failed, someone else appended, or an event cannot follow. The journal is as it was; what
    /// the store has is for whoever opens it again to see.
    pub async fn write(
        &mut self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), LedgerError> {
        let at = self.clock.now();
        let mut state = self.stored.clone();
        let mut events: Vec<Event> = self.begun.iter().cloned().chain(events).collect();
        if events.is_empty() {
            return Ok(());
        }
        let before = self.events.iter().map(|(event, _)| event);
        hush(&self.sensitive, before, &mut events);
        for event in &events {
            state = self.after(&state, event, at)?;
        }
        let known = self.events.len() as u64;
        self.ledger
            .append(self.id, known, events.clone(), at)
            .await?;
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        self.events
            .extend(events.into_iter().map(|event| (event, at)));
        self.stored.clone_from(&state);
        self.state = state;
        self.begun.clear();
        Ok(())
    }
}
