//! The append-only record of every remediation.
//!
//! A remediation is a list of [`Event`]s. What it has come to, its [`State`], is a fold over them by
//! one transition function, [`State::apply`]; the live run, recovery after a crash and readers all use
//! that one. Each stored event is an [`Entry`] chained to the one before it by hash, and a leaf of a Merkle
//! tree over all of them, so that a changed, removed, reordered, inserted or cut-off event is found. A [`Ledger`] stores them and answers queries with [`Record`]s.
//!
//! *Invariant:* nothing here reads a clock. Times are passed in, in milliseconds.

mod approval;
mod canonical;
mod chain;
mod directive;
pub mod dynamo;
mod error;
mod event;
mod export;
mod format;
mod ids;
mod kms;
mod ledger;
mod memory;
pub mod merkle;
mod note;
mod own_file;
mod parquet;
mod proof;
mod record;
mod sealed;
mod secrets;
mod sqlite;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;
mod witness;

pub use approval::{Approval, enough, same_person};
pub use chain::{Break, Entry};
pub use directive::{Directive, Directives, Given, Orders, Reach, Standing};
pub use dynamo::{DynamoLedger, Retention, Tables};
pub use error::{LedgerError, StoreFault};
pub use event::{
    ApprovalRequest, Change, Consent, Cutover, Decided, Difference, Event, Means, Need, Origin,
    Phase, Planned, Received, Route, Started, StepFinished, StepOutcome, StepStarted, UndoPlanned,
    Verdict, Verified,
};
pub use export::export;
pub use format::{Format, Selection, export_selection};
pub use ids::{Digest, IdempotencyKey, InvalidHex, RemediationId};
pub use kms::KmsSigner;
pub use ledger::{
    Admission, Attempts, Cursor, DeadLetter, Head, Lease, Ledger, Left, Letter, Lock, Order, Page,
    Query, Scope, Slice, Store, Told, TreeHead,
};
pub use memory::MemoryLedger;
pub use note::{Checkpoint, KeyFile, NotACheckpoint, NotAKey, NotSigned, Signer, VerifierKey};
pub use proof::{ProofError, Proved, prove_consistency, prove_inclusion, verify_proof};
pub use record::{ExecutionStatus, Record};
pub use sealed::{SealedLedger, Vault};
pub use secrets::{Secrets, Sensitive, hush, masked};
pub use sqlite::{FileHold, SqliteLedger};
pub use state::{Decision, IllegalTransition, Run, State, Status, Step, Undo};
pub use verify::{Fault, Keeper, Problem, Report, Trust, verify_export, verify_ledger};
pub use witness::{BucketShelf, NotWitnessed, Shelf, Witness};
