//! What people ask of a remediation that is in the ledger, and why it may be refused.

use stanch_catalog::PlanError;
use stanch_ledger::{LedgerError, RemediationId, Status};

use crate::{pipeline::PlanFailure, undo::Drift};

/// A request that is refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It does not wait for an approval.
    #[error("remediation `{id}` does not wait for an approval: it is `{status}`")]
    NotWaiting {
        /// The remediation.
        id: RemediationId,
        /// Where it stands.
        status: Status,
    },
    /// The person who asked for it cannot approve it.
    #[error("`{0}` asked for this remediation and cannot approve it")]
    OwnRequest(String),
    /// They are none of those who have to approve it, or not in that role.
    #[error("`{person}` is not asked to approve this: it waits for `{wanted}`")]
    NotAsked {
        /// The person.
        person: String,
        /// The roles of which somebody is missing.
        wanted: String,
    },
    /// They are asked in several roles.
    #[error("in which role? it waits for `{roles}`")]
    WhichRole {
        /// The roles.
        roles: String,
    },
    /// They have said yes already.
    #[error("`{0}` has approved it already")]
    Answered(String),
    /// It is another plan that waits now.
    #[error("remediation `{id}` waits with another plan: {plan}")]
    OtherPlan {
        /// The remediation.
        id: RemediationId,
        /// The hash of the plan that waits.
        plan: String,
    },
    /// The time to approve has passed.
    #[error("the time to approve remediation `{0}` has passed")]
    Late(RemediationId),
    /// Nothing that could be taken back.
    #[error("remediation `{id}` is `{status}`: there is no change to take back")]
    NothingToUndo {
        /// The remediation.
        id: RemediationId,
        /// Where it stands.
        status: Status,
    },
    /// What it has changed cannot be taken back while it goes on.
    #[error("remediation `{id}` is `{status}`: it is under way, and cannot be taken back now")]
    UnderWay {
        /// The remediation.
        id: RemediationId,
        /// Where it stands.
        status: Status,
    },
    /// The remediation or the plan can no longer be read.
    #[error(
        "remediation `{0}` can no longer be read: the catalog has changed since, or its plan in the ledger"
    )]
    Gone(RemediationId),
    /// The way back cannot be planned.
    #[error("the way back cannot be planned")]
    Plan(#[from] PlanFailure),
    /// The guard, or the roll-out, does not let it be done again.
    #[error("refused: {0}")]
    Refused(String),
    /// Somebody else has changed the resource since.
    #[error("the resource has been changed by somebody else since; nothing was undone")]
    Drift(Box<Drift>),
}

impl RequestError {
    /// True if it was decided, and did not go wrong.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Ledger(_) | Self::Plan(_) | Self::Gone(_))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::NotWaiting { .. } | Self::NothingToUndo { .. } => {
                Some("`stanch ledger show <remediation id>` tells what happened to it")
            }
            Self::UnderWay { .. } => Some(
                "what waits for people, and an undo that waits for its time, is turned back by `stanch reject <remediation id>`; what runs ends by itself, or stands still after `stanch pause`: then ask again",
            ),
            Self::OwnRequest(_) | Self::Answered(_) | Self::NotAsked { .. } => Some(
                "let somebody else approve it: `stanch approvals show <remediation id>` tells who may",
            ),
            Self::WhichRole { .. } => Some("say it with `--as-role`"),
            Self::OtherPlan { .. } => {
                Some("look at it again: `stanch approvals show <remediation id>`")
            }
            Self::Late(_) => Some("nothing was changed; the finding can be taken in again"),
            Self::Drift(_) => Some(
                "look at the three states; `--force` asks for an approval to overwrite what is there",
            ),
            Self::Refused(_) => {
                Some("`stanch rollout status` and the guard's policy say what may run")
            }
            Self::Gone(_) => {
                Some("put back the catalog file of that time, or change the resource by hand")
            }
            Self::Plan(PlanFailure::Plan(PlanError::Changed(_))) => Some(
                "let the version of Stanch take it back that made the change, or put back by hand what `stanch ledger show <remediation id>` has from before",
            ),
            Self::Plan(_) => None,
        }
    }
}
