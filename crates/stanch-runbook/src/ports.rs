//! What the engine needs from outside.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value};
use stanch_types::{Api, Call, CallError, Clock};

use crate::{Document, StepExecution};

/// Everything the engine reaches the outside through.
#[derive(Clone)]
pub struct Ports {
    /// AWS, with the credentials and in the region of the execution.
    pub api: Arc<dyn Api>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is known of AWS's operations.
    pub operations: Arc<dyn Operations>,
    /// Identifiers.
    pub ids: Arc<dyn Ids>,
    /// Functions answered in process.
    pub functions: Arc<dyn Functions>,
    /// Documents that `aws:executeAutomation` finds.
    pub documents: Arc<dyn Documents>,
    /// The host of `aws:executeScript`.
    pub scripts: Arc<dyn Scripts>,
    /// Webhook integrations.
    pub webhooks: Arc<dyn Webhooks>,
    /// Signals from people.
    pub signals: Arc<dyn Signals>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
}

impl Ports {
    /// The ports without which nothing works; the others answer that they are not there.
    #[must_use]
    pub fn new(
        api: Arc<dyn Api>,
        clock: Arc<dyn Clock>,
        operations: Arc<dyn Operations>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self {
            api,
            clock,
            operations,
            ids,
            functions: Arc::new(NoFunctions),
            documents: Arc::new(NoDocuments),
            scripts: Arc::new(NoScripts),
            webhooks: Arc::new(NoWebhooks),
            signals: Arc::new(NoSignals),
            observer: Arc::new(NoObserver),
        }
    }
}

/// What is known of AWS's operations.
pub trait Operations: Send + Sync {
    /// The call with the names that the API model has for them: boto3 users also write
    /// `describe_instances`, `EC2` and parameter aliases. A call of something unknown comes back
    /// as it is; sending it tells what is wrong.
    fn canonical(&self, call: Call) -> Call;

    /// True if the operation is known to change nothing. What is unknown is a write.
    fn is_read(&self, call: &Call) -> bool;
}

/// Makes identifiers.
pub trait Ids: Send + Sync {
    /// A new, unique identifier (a UUID).
    fn next(&self) -> String;
}

/// Pure functions answered in process, which `aws:invokeLambdaFunction` finds by name. They are
/// also called in a dry run: they change nothing.
#[async_trait]
pub trait Functions: Send + Sync {
    /// Whether there is a function of this name.
    fn knows(&self, name: &str) -> bool;

    /// Calls a function that is known.
    ///
    /// # Errors
    /// One line on why it has no answer.
    async fn call(&self, name: &str, payload: &Value) -> Result<Value, String>;
}

/// Finds documents.
#[async_trait]
pub trait Documents: Send + Sync {
    /// The document of this name; none if it is not known here.
    async fn find(&self, name: &str, version: Option<&str>) -> Option<Arc<Document>>;
}

/// A script to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// As the document names it: `python3.11`.
    pub runtime: String,
    /// The function to call.
    pub handler: String,
    /// The source.
    pub source: String,
    /// The second argument of the handler: the globals and the execution's id, by the names that
    /// references have for them.
    pub context: Map<String, Value>,
}

/// Why a script gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// There is nothing that could run it.
    #[error("{0}")]
    Unavailable(String),
    /// It raised an exception.
    #[error("{message}")]
    Raised {
        /// The exception, as Python prints its last line.
        message: String,
        /// The traceback and what the script printed.
        output: String,
    },
    /// The host went away while the script ran.
    #[error("the script host ended: {0}")]
    Ended(String),
}

/// Runs scripts. Dropping the future ends the script.
#[async_trait]
pub trait Scripts: Send + Sync {
    /// Calls the script's handler with `payload`.
    async fn run(&self, script: &Script, payload: &Value) -> Result<Value, ScriptError>;
}

/// What a webhook answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookReply {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: String,
}

/// Calls webhook integrations.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Posts `body` to the integration.
    ///
    /// # Errors
    /// One line on why there was no answer.
    async fn invoke(&self, integration: &str, body: &str) -> Result<WebhookReply, String>;
}

/// What people tell an execution, as SendAutomationSignal and StopAutomationExecution do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Goes on at `aws:approve`.
    Approve {
        /// Who says so: an IAM ARN or user name.
        by: String,
        /// Why.
        comment: String,
    },
    /// Stops at `aws:approve`.
    Reject {
        /// Who says so.
        by: String,
        /// Why.
        comment: String,
    },
    /// Goes on at `aws:pause`.
    Resume,
    /// Stops the execution.
    Cancel,
}

/// Brings signals. One that nobody waits for when it comes is lost, but for a cancellation.
#[async_trait]
pub trait Signals: Send + Sync {
    /// Waits for the next signal to this execution; for ever if none comes.
    async fn next(&self, execution: &str) -> Signal;
}

/// A call that a step made.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The call.
    pub call: Call,
    /// AWS's id of the request, or the error.
    pub result: Result<Option<String>, CallError>,
    /// How long it took.
    pub took: Duration,
}

/// Watches steps: for progress, for journals. May stop the execution.
#[async_trait]
pub trait Observer: Send + Sync {
    /// A step is about to run, its inputs resolved.
    ///
    /// # Errors
    /// Why the execution must stop here; the step does not run.
    async fn started(&self, execution: &str, step: &StepExecution) -> Result<(), String>;

    /// A step has ended, whichever way, having made these calls.
    ///
    /// # Errors
    /// Why the execution must stop here.
    async fn finished(
        &self,
        execution: &str,
        step: &StepExecution,
        sent: &[Sent],
    ) -> Result<(), String>;
}

/// There are no functions.
pub struct NoFunctions;

#[async_trait]
impl Functions for NoFunctions {
    fn knows(&self, _: &str) -> bool {
        false
    }

    async fn call(&self, _: &str, _: &Value) -> Result<Value, String> {
        Err("there are no functions here".to_owned())
    }
}

/// There are no other documents.
pub struct NoDocuments;

#[async_trait]
impl Documents for NoDocuments {
    async fn find(&self, _: &str, _: Option<&str>) -> Option<Arc<Document>> {
        None
    }
}

/// Documents by name, whichever version is asked for.
#[async_trait]
impl Documents for BTreeMap<String, Arc<Document>> {
    async fn find(&self, name: &str, _: Option<&str>) -> Option<Arc<Document>> {
        self.get(name).cloned()
    }
}

/// Scripts cannot be run.
pub struct NoScripts;

#[async_trait]
impl Scripts for NoScripts {
    async fn run(&self, _: &Script, _: &Value) -> Result<Value, ScriptError> {
        Err(ScriptError::Unavailable(
            "scripts are not enabled here".to_owned(),
        ))
    }
}

/// There are no webhooks.
pub struct NoWebhooks;

#[async_trait]
impl Webhooks for NoWebhooks {
    async fn invoke(&self, _: &str, _: &str) -> Result<WebhookReply, String> {
        Err("no webhook integrations are configured".to_owned())
    }
}

/// Nobody sends signals.
pub struct NoSignals;

#[async_trait]
impl Signals for NoSignals {
    async fn next(&self, _: &str) -> Signal {
        std::future::pending().await
    }
}

/// Nobody watches.
pub struct NoObserver;

#[async_trait]
impl Observer for NoObserver {
    async fn started(&self, _: &str, _: &StepExecution) -> Result<(), String> {
        Ok(())
    }

    async fn finished(&self, _: &str, _: &StepExecution, _: &[Sent]) -> Result<(), String> {
        Ok(())
    }
}
