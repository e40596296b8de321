//! Why an invocation failed, as Lambda and Step Functions are told.

use std::fmt;

use stanch_types::{CallError, chain};

/// An invocation that failed. Lambda makes it again where its source asks for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What a state machine catches it by: `BadEvent`, `Configuration`, `Aws`, `Ledger`, …
    pub kind: &'static str,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// An event that no delivery will make better.
    pub fn event(message: impl Into<String>) -> Self {
        Self::new("BadEvent", message)
    }

    /// Settings with which nothing can be done.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new("Configuration", message)
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new("Aws", error.to_string())
    }
}

impl From<stanch_ledger::LedgerError> for Failure {
    fn from(error: stanch_ledger::LedgerError) -> Self {
        let failure = Self::new("Ledger", chain(&error));
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
