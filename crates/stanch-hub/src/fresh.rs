//! What was admitted a moment ago, so that the worker who takes it up need not read it again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use stanch_ledger::{RemediationId, State};

/// The most that is remembered; what waits longer is read from the ledger.
const MAX: usize = 4_096;

/// The state of remediations that have one event so far. A stale one does no harm: the ledger refuses
/// what is appended to it.
#[derive(Default)]
pub(crate) struct Fresh(Mutex<HashMap<RemediationId, State>>);

impl Fresh {
    pub(crate) fn put(&self, id: RemediationId, state: State) {
        let mut states = self.states();
        if states.len() < MAX {
            states.insert(id, state);
        }
    }

    pub(crate) fn take(&self, id: RemediationId) -> Option<State> {
        self.states().remove(&id)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<RemediationId, State>> {
        // Each update is one statement, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
