//! What all functions have in common.

use std::{str::FromStr, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Failure, World, notifier::Notifier, orchestrator::Orchestrator, remediation::Remediation,
    security::Security, siem::Siem,
};

/// An event with what Lambda says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The event.
    pub event: Value,
    /// When Lambda stops the function, in the middle of whatever it does.
    pub deadline: Timestamp,
    /// The invocation, as Lambda's own log lines name it.
    pub request_id: String,
    /// The trace that it belongs to, as X-Ray writes it into headers.
    pub trace: Option<String>,
}

/// One of the functions.
#[async_trait]
pub trait Function: Send + Sync {
    /// Deals with one event.
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure>;
}

/// The functions by the names that templates have for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Takes events, decides, remediates, records and tells.
    Orchestrator,
    /// Says what may be done, and changes nothing.
    Security,
    /// The steps of Automation documents that are code, in a member account.
    Remediation,
    /// Tells the channels what the topic was told.
    Notifier,
    /// Hands the ledger's rows on to a SIEM.
    Siem,
}

/// A handler that is none of these.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no function `{0}`: the handler is `orchestrator`, `security`, `remediation`, `notifier` or `siem`"
)]
pub struct UnknownHandler(String);

impl FromStr for Handler {
    type Err = UnknownHandler;

    fn from_str(name: &str) -> Result<Self, UnknownHandler> {
        Ok(match name {
            "orchestrator" => Self::Orchestrator,
            "security" => Self::Security,
            "remediation" => Self::Remediation,
            "notifier" => Self::Notifier,
            "siem" => Self::Siem,
            other => return Err(UnknownHandler(other.to_owned())),
        })
    }
}

impl Handler {
    /// The function.
    #[must_use]
    pub fn function(self, world: World) -> Arc<dyn Function> {
        match self {
            Self::Orchestrator => Arc::new(Orchestrator::new(world)),
            Self::Security => Arc::new(Security::new(world)),
            Self::Remediation => Arc::new(Remediation::new(world)),
            Self::Notifier => Arc::new(Notifier::new(world)),
            Self::Siem => Arc::new(Siem::new(world)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handler_chooses() {
        assert_eq!("siem".parse(), Ok(Handler::Siem));
        for name in ["", "bootstrap", "Orchestrator"] {
            assert_eq!(
                name.parse::<Handler>(),
                Err(UnknownHandler(name.to_owned()))
            );
        }
    }
}
