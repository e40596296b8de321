//! Whether a pilot went well enough: the ledger decides what is rolled out further.

use serde::Serialize;
use stanch_ledger::{Record, Route, Status};

/// What a pilot has to show.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Demand {
    /// Changes that ended, at least.
    pub changes: u32,
    /// Of them, successful ones that a person asked for, at least.
    pub by_people: u32,
    /// The share of failures, from 0 to 1, at most.
    pub failure_rate: f64,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            changes: 10,
            by_people: 5,
            failure_rate: 0.05,
        }
    }
}

/// What it shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Changes that ended.
    pub changes: u32,
    /// Successful ones that a person asked for.
    pub by_people: u32,
    /// Failed ones.
    pub failed: u32,
    /// Changes that could be neither made nor taken back.
    pub broken: u32,
    /// What is not enough; nothing if the gate is open.
    pub against: Vec<String>,
}

impl Shown {
    /// By these remediations.
    #[must_use]
    pub fn by(records: &[Record], demand: &Demand) -> Self {
        let count = |of: &dyn Fn(&Record) -> bool| {
            u32::try_from(records.iter().filter(|record| of(record)).count()).unwrap_or(u32::MAX)
        };
        // What was refused or fine already was no change.
        let changed = |record: &Record| {
            matches!(
                record.status,
                Status::Success | Status::Failed | Status::Undone | Status::UndoFailed
            )
        };
        let bad = |record: &Record| matches!(record.status, Status::Failed | Status::UndoFailed);
        let changes = count(&changed);
        let failed = count(&bad);
        let broken = count(&|record| record.status == Status::UndoFailed);
        let by_people = count(&|record| {
            record.status == Status::Success && record.remediation_type == Route::Manual
        });
        let mut against = Vec::new();
        if changes < demand.changes {
            against.push(format!(
                "{changes} changes ended, and {} are asked for",
                demand.changes
            ));
        }
        if by_people < demand.by_people {
            against.push(format!(
                "{by_people} successful changes were asked for by people, and {} have to be",
                demand.by_people
            ));
        }
        if f64::from(failed) > demand.failure_rate * f64::from(changes) {
            against.push(format!(
                "{failed} of {changes} changes failed, and at most {} percent may",
                demand.failure_rate * 100.0
            ));
        }
        if broken > 0 {
            against.push(format!(
                "{broken} could be neither made nor taken back: people have to look"
            ));
        }
        Self {
            changes,
            by_people,
            failed,
            broken,
            against,
        }
    }

    /// It may go on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.against.is_empty()
    }
}
