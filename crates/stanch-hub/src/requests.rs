//! What people ask of a remediation that is in the ledger: approve, reject, roll back.

use stanch_ledger::{Event, LedgerError, RemediationId, State, Status};

use crate::{
    Hub,
    pipeline::{PlanFailure, Work},
    undo::Drift,
};

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
    /// Nothing that could be taken back.
    #[error("remediation `{id}` is `{status}`: there is no change to take back")]
    NothingToUndo {
        /// The remediation.
        id: RemediationId,
        /// Where it stands.
        status: Status,
    },
    /// The remediation or the plan can no longer be read.
    #[error("remediation `{0}` can no longer be read: the catalog has changed since")]
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
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::NotWaiting { .. } | Self::NothingToUndo { .. } => {
                Some("`stanch ledger show <remediation id>` tells what happened to it")
            }
            Self::OwnRequest(_) => Some("let somebody else approve it"),
            Self::Drift(_) => Some(
                "look at the three states; `--force` asks for an approval to overwrite what is there",
            ),
            Self::Refused(_) => {
                Some("`stanch rollout status` and the guard's policy say what may run")
            }
            Self::Gone(_) => {
                Some("put back the catalog file of that time, or change the resource by hand")
            }
            Self::Plan(_) => None,
        }
    }
}

impl Hub {
    /// Approves the plan that a remediation waits with, as `by`, and goes on with it. If the resource
    /// has changed since the plan was shown, the approval is void and asked for again.
    ///
    /// # Errors
    /// It does not wait for one, or `by` asked for it.
    pub async fn approve(&self, id: RemediationId, by: &str) -> Result<State, RequestError> {
        let work = Work::open(self, id).await?;
        let plan_hash = self.awaited(id, &work.state().await)?;
        if work.state().await.requester() == by {
            return Err(RequestError::OwnRequest(by.to_owned()));
        }
        work.write([Event::Approved {
            by: by.to_owned(),
            plan_hash,
        }])
        .await?;
        Ok(self.handle(id).await?)
    }

    /// Says no to the plan that a remediation waits with.
    ///
    /// # Errors
    /// It does not wait for an approval.
    pub async fn reject(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
    ) -> Result<State, RequestError> {
        let work = Work::open(self, id).await?;
        let plan_hash = self.awaited(id, &work.state().await)?;
        let (by, reason) = (by.to_owned(), reason.to_owned());
        work.write([Event::Rejected {
            by,
            plan_hash,
            reason,
        }])
        .await?;
        let state = work.state().await;
        self.tell(id, &state).await?;
        Ok(state)
    }

    fn awaited(&self, id: RemediationId, state: &State) -> Result<String, RequestError> {
        match &state.approval {
            Some(asked) if state.status == Status::AwaitingApproval => Ok(asked.plan_hash.clone()),
            _ => Err(RequestError::NotWaiting {
                id,
                status: state.status,
            }),
        }
    }
}
