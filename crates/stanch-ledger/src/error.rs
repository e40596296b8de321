//! What can go wrong with a ledger.

use std::{error::Error, io, sync::Arc};

use crate::{Break, IllegalTransition, NotSigned, RemediationId};

/// Why a ledger did not do it. Nothing of the call was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Someone else appended first: read again, decide again.
    #[error("remediation `{id}` has {found} events, not {expected}: someone else appended to it")]
    Conflict {
        /// The remediation.
        id: RemediationId,
        /// How many events the caller knew of.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The event cannot follow on what happened.
    #[error("remediation `{id}`")]
    Illegal {
        /// The remediation.
        id: RemediationId,
        /// Why not.
        source: IllegalTransition,
    },
    /// There is no such remediation.
    #[error("no remediation `{0}` in the ledger")]
    NotFound(RemediationId),
    /// It has more events than a remediation can have.
    #[error("remediation `{0}` has too many events")]
    TooLong(RemediationId),
    /// The lease ran out or someone else took the lock: stop touching the resource.
    #[error("the lock on `{0}` is no longer held")]
    LeaseLost(String),
    /// Its contents have expired; its hashes are still there.
    #[error("the events of remediation `{0}` have expired")]
    Expired(RemediationId),
    /// Its contents have expired after the checkpoint that is exported.
    #[error("remediation `{0}` expired while the ledger was read")]
    Overtaken(RemediationId),
    /// The remediation has no such event.
    #[error("remediation `{id}` has no event {seq}")]
    NoEvent {
        /// The remediation.
        id: RemediationId,
        /// The event's number.
        seq: u64,
    },
    /// The stored tree is not whole.
    #[error("the tree over the ledger's {0} events is damaged")]
    Tree(u64),
    /// What is stored as a checkpoint is none.
    #[error("the ledger's checkpoint of {0} events cannot be read")]
    BadCheckpoint(u64),
    /// The ledger is not an extension of its own checkpoint.
    #[error("the ledger does not extend its checkpoint of {0} events: it was rewritten or cut off")]
    Rewritten(u64),
    /// A ledger is not put back into tables that hold something else.
    #[error("`{0}` is not empty")]
    NotEmpty(String),
    /// The tables would not keep all of a copy.
    #[error("the copy goes {0} days back, and the tables keep less")]
    TooOld(u64),
    /// An order is not what was given.
    #[error("order {0} (a pause, a ring of the roll-out) is not what was given")]
    Order(u64),
    /// The orders are not an extension of those that were signed.
    #[error("the ledger's {0} first orders are not those that a checkpoint was signed with")]
    OrdersRewritten(u64),
    /// A copy lacks what is left of the row of a remediation that has expired.
    #[error("remediation `{0}` has expired, and the copy does not have its row")]
    NoRow(RemediationId),
    /// A copy cannot be read.
    #[error("the copy cannot be read")]
    Copy(#[source] Arc<io::Error>),
    /// A secret could not be sealed.
    #[error("a secret cannot be sealed, and is not stored in the clear")]
    NotSealed,
    /// A checkpoint was not signed.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// A cursor that this ledger did not give out.
    #[error("`{0}` is not a page cursor of this ledger")]
    BadCursor(String),
    /// What is stored is not what was appended.
    #[error(transparent)]
    Broken(#[from] Break),
    /// The event cannot be written as JSON.
    #[error("the event cannot be written as JSON")]
    Encode(#[source] Arc<dyn Error + Send + Sync>),
    /// The export cannot be written.
    #[error("the export cannot be written")]
    Write(#[source] Arc<io::Error>),
    /// The store failed.
    #[error("the ledger `{store}` {fault}")]
    Store {
        /// Which store: a path or a table.
        store: String,
        /// What is the matter.
        fault: StoreFault,
        /// The store's own error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// What is the matter with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// Another process holds the store for longer than we wait.
    #[error("is busy")]
    Busy,
    /// The file is damaged, or is something else.
    #[error("is damaged or not a ledger")]
    Corrupt,
    /// No space left.
    #[error("is out of space")]
    Full,
    /// The disk does not do what it is asked: a quota, a limit on the size of files, or damage.
    #[error("is on a disk that fails")]
    Disk,
    /// It can be read but not written.
    #[error("is read-only")]
    ReadOnly,
    /// It cannot be opened or created.
    #[error("cannot be opened")]
    CannotOpen,
    /// A newer Stanch wrote it.
    #[error("was written by a newer version")]
    Newer,
    /// The ledger was closed, or its writer ended.
    #[error("is closed")]
    Closed,
    /// A table or bucket asks to slow down, for longer than we wait.
    #[error("is throttled")]
    Throttled,
    /// A table or bucket refuses these credentials.
    #[error("may not be used with these credentials")]
    Denied,
    /// There is no such table or bucket.
    #[error("does not exist")]
    Missing,
    /// A table or bucket did not answer.
    #[error("does not answer")]
    Silent,
    /// What is stored is not what was written there.
    #[error("is damaged")]
    Damaged,
    /// An item does not hold so much.
    #[error("cannot hold so much in one item")]
    TooLarge,
    /// Anything else.
    #[error("failed")]
    Other,
}

impl LedgerError {
    pub(crate) fn encode(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Encode(Arc::new(error))
    }

    pub(crate) fn write(error: io::Error) -> Self {
        Self::Write(Arc::new(error))
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some("`stanch ledger list` shows what there is"),
            Self::Overtaken(_) => Some(
                "export again, once a checkpoint covers that: `stanch ledger checkpoint` signs one",
            ),
            Self::Broken(_)
            | Self::Tree(_)
            | Self::BadCheckpoint(_)
            | Self::Rewritten(_)
            | Self::Order(_)
            | Self::OrdersRewritten(_) => {
                Some("keep the file as evidence and restore the ledger from a backup")
            }
            Self::NotEmpty(_) => Some(
                "name tables that were just made; a restore that was broken off goes on with the same copy",
            ),
            Self::TooOld(_) => Some(
                "let `audit.retention_days` and the stack's `AuditLogRetentionDays` be more, or say `--accept-loss`: the next sweep removes the contents of what is older",
            ),
            Self::NoRow(_) => Some("export the ledger again with this version, or take a backup"),
            Self::BadCursor(_) => Some("start again without a cursor"),
            Self::Store { fault, .. } => fault.hint(),
            _ => None,
        }
    }
}

impl StoreFault {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Busy => Some("stop the other process that holds it, or try again"),
            Self::Corrupt => {
                Some("keep the file as evidence and restore a backup, or name another file")
            }
            Self::Full => Some("free some space; nothing that was acknowledged is lost"),
            Self::Disk => Some(
                "look at the disk: its space, quotas, limits on the size of files; nothing that was acknowledged is lost",
            ),
            Self::ReadOnly => Some("give this user the right to write the file and its folder"),
            Self::CannotOpen => Some("check that the folder exists and that this user may use it"),
            Self::Newer => Some("use the newer version of stanch that wrote it"),
            Self::Throttled => {
                Some("try again; a table on demand doubles what it takes within minutes")
            }
            Self::Denied => Some("`stanch deploy render` has the permissions that the tables need"),
            Self::Missing => Some("deploy the administrator stack, or name its tables and region"),
            Self::Silent => Some("try again: nothing is stored twice"),
            Self::Damaged => Some("keep the table as evidence and restore it to a point in time"),
            Self::TooLarge => Some("name the ledger's bucket, which holds what is larger"),
            Self::Closed | Self::Other => None,
        }
    }
}
