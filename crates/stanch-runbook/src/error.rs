//! Why a step did not succeed.

use std::time::Duration;

use stanch_types::{CallError, CallErrorKind};

use crate::{AutomationStatus, Reference, ScriptError};

/// Why a step did not succeed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StepError {
    /// AWS, or what stands before it, did not do what the step asked for.
    #[error("the call failed")]
    Call(#[source] CallError),
    /// The inputs are not what the action takes.
    #[error("{0}")]
    Input(String),
    /// A write that still has references without a value. It was not sent.
    #[error("`{call}` is not sent: {} has no value", list(.references))]
    Unresolved {
        /// `service.Operation`
        call: String,
        /// The references; empty if braces came from elsewhere.
        references: Vec<Reference>,
    },
    /// The property is not one of the values it should have.
    #[error("`{selector}` is {found}, which is none of {desired}")]
    Assertion {
        /// Where the property is.
        selector: String,
        /// What it is, as JSON, or `nothing`.
        found: String,
        /// What it should be, as JSON.
        desired: String,
    },
    /// An output is not of its declared type.
    #[error("output `{name}` is {found}, which is not of type {kind}")]
    Output {
        /// The output.
        name: String,
        /// What was found, as JSON.
        found: String,
        /// Its declared type.
        kind: String,
    },
    /// The step took longer than it may.
    #[error("not finished within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// A resource went into a state from which it does not come back.
    #[error("{0}")]
    State(String),
    /// The script failed.
    #[error("the script failed")]
    Script(#[source] ScriptError),
    /// The function failed.
    #[error("the function `{name}` failed: {message}")]
    Function {
        /// Its name.
        name: String,
        /// What it said.
        message: String,
    },
    /// The webhook did not accept.
    #[error("the webhook `{integration}` failed: {message}")]
    Webhook {
        /// The integration.
        integration: String,
        /// What it said.
        message: String,
    },
    /// The document that the step ran did not succeed.
    #[error("`{document}` ended as {status:?}: {message}")]
    Child {
        /// The document.
        document: String,
        /// How it ended.
        status: AutomationStatus,
        /// Why.
        message: String,
    },
    /// A step of the loop stopped it.
    #[error("step `{step}` of the loop failed in round {round}: {message}")]
    Body {
        /// The step.
        step: String,
        /// The round, from 1.
        round: usize,
        /// Why.
        message: String,
    },
    /// Somebody said no.
    #[error("rejected by {0}")]
    Rejected(String),
    /// The execution was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The observer stopped the execution.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl StepError {
    /// AWS's error, where there is one.
    #[must_use]
    pub const fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the execution stops with this, whatever the document says about failures: who watches
    /// over it has refused.
    #[must_use]
    pub fn stops_everything(&self) -> bool {
        matches!(self, Self::Stopped(_))
            || self
                .call()
                .is_some_and(|call| call.kind == CallErrorKind::Forbidden)
    }

    /// `FailureType` of the execution record.
    #[must_use]
    pub const fn failure_type(&self) -> &'static str {
        match self {
            Self::Call(_) => "ServiceError",
            Self::Input(_) | Self::Unresolved { .. } => "InvalidInput",
            Self::Assertion { .. } => "Verification",
            Self::Output { .. } => "InvalidOutput",
            Self::TimedOut(_) => "TimedOut",
            Self::Cancelled => "Cancelled",
            Self::Stopped(_) => "Stopped",
            _ => "Execution",
        }
    }
}

impl From<CallError> for StepError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

fn list(references: &[Reference]) -> String {
    if references.is_empty() {
        return "a text with `{{`".to_owned();
    }
    let names: Vec<String> = references
        .iter()
        .map(|r| format!("`{{{{ {r} }}}}`"))
        .collect();
    names.join(", ")
}
