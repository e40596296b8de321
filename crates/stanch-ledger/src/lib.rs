//! The append-only record of every remediation.
//!
//! A remediation is a list of [`Event`]s. What it has come to, its [`State`], is a fold over them by
//! one transition function, [`State::apply`]; the live run, recovery after a crash and readers all use
//! that one. Each stored event is an [`Entry`] chained to the one before it by hash, so that a changed,
//! removed or inserted event is found. A [`Ledger`] stores them and answers queries with [`Record`]s.
//!
//! *Invariant:* nothing here reads a clock. Times are passed in, in milliseconds.

mod approval;
mod chain;
mod directive;
mod error;
mod event;
mod export;
mod ids;
mod ledger;
mod memory;
mod record;
mod sqlite;
mod state;
#[cfg(feature = "testing")]
pub mod testing;

pub use approval::{Approval, enough, same_person};
pub use chain::{Break, Entry};
pub use directive::{Directive, Directives, Given, Reach, Standing};
pub use error::{LedgerError, StoreFault};
pub use event::{
    ApprovalRequest, Change, Consent, Cutover, Decided, Difference, Event, Means, Need, Phase,
    Planned, Received, Route, Started, StepFinished, StepOutcome, StepStarted, UndoPlanned,
    Verdict, Verified,
};
pub use export::{ExportError, ExportFault, Exported, verify_export};
pub use ids::{Digest, IdempotencyKey, InvalidHex, RemediationId};
pub use ledger::{
    Admission, Attempts, Cursor, DeadLetter, Head, Lease, Ledger, Letter, Lock, Order, Page, Query,
    Scope,
};
pub use memory::MemoryLedger;
pub use record::{ExecutionStatus, Record};
pub use sqlite::SqliteLedger;
pub use state::{Decision, IllegalTransition, Run, State, Status, Step, Undo};
