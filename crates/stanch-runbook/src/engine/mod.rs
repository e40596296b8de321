//! Carries documents out.

mod attempt;
mod branch;
mod condition;
mod context;
mod plan;
mod repeat;
mod run;
mod scope;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use stanch_types::{AccountId, Call, Region, chain};

pub(crate) use context::{Answer, Context, Inputs, Verdict};
pub use plan::{Doubt, DryRun, PlannedCall};
pub(crate) use scope::Scope;

use crate::{
    AutomationExecution, AutomationStatus, Document, InvalidParameter, Ports, Reference, Sent,
    StepError, StepExecution, Type, check_parameters, parameters::convert, record::texts,
    reference::Found,
};
use run::Run;

/// How deep documents may run documents:
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
const NESTING: usize = 5;

/// Whether writes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything is done.
    #[default]
    Run,
    /// Reads are sent, writes are only shown, and nobody is waited for. What a write would answer
    /// is unknown, and so is what follows from it.
    ///
    /// A branch on something unknown is followed every way it may go; what stands behind it is
    /// marked with the ways that lead there. Scripts, Lambda functions, webhooks and approvals are
    /// not run. In-process functions are: they change nothing.
    DryRun,
}

/// How to carry a document out.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether writes are sent.
    pub mode: Mode,
    /// The document's name, for the record.
    pub document_name: String,
    /// Its version, for the record.
    pub document_version: Option<String>,
    /// `{{ global:ACCOUNT_ID }}`; without it the reference has no value.
    pub account: Option<AccountId>,
    /// `{{ global:REGION }}` and, by it, `{{ global:AWS_PARTITION }}`.
    pub region: Option<Region>,
    /// Who started it, for the record.
    pub executed_by: Option<String>,
    /// Sends writes whose parameters contain `{{` instead of refusing them. For documents whose
    /// data has braces of its own.
    pub send_braces: bool,
    /// The id of the execution, where the caller has made one; else the port makes it.
    pub id: Option<String>,
}

/// The execution that starts another, as far as the other needs it.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    pub id: String,
    /// Documents above this one.
    pub depth: usize,
    /// Parameters that only the real run will tell.
    pub unknown: Vec<String>,
}

/// The execution does not start.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartError {
    /// Parameters are missing, unknown or not allowed.
    #[error("{}", problems(.0))]
    Parameters(Vec<InvalidParameter>),
    /// A default in the Parameter Store could not be read.
    #[error(
        "the default of parameter `{parameter}` cannot be read from Parameter Store: {problem}"
    )]
    ParameterStore {
        /// The document's parameter.
        parameter: String,
        /// Why.
        problem: String,
    },
    /// Documents that run documents, too deep.
    #[error("documents are nested more than {NESTING} levels deep")]
    Nesting,
    /// There is nothing to do.
    #[error("the document has no steps")]
    NoSteps,
}

fn problems(invalid: &[InvalidParameter]) -> String {
    let problems: Vec<String> = invalid.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// Carries documents out through its ports.
#[derive(Clone)]
pub struct Engine {
    ports: Ports,
}

/// An execution that was admitted. It advances while [`Execution::finish`] is awaited.
pub struct Execution {
    handle: Handle,
    driver: BoxFuture<'static, Outcome>,
}

/// Looks at an execution while it runs.
#[derive(Debug, Clone)]
pub struct Handle {
    id: String,
    record: Arc<Mutex<AutomationExecution>>,
}

/// What came of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The record, as GetAutomationExecution has it.
    pub record: AutomationExecution,
    /// The values of the document's `outputs`, `step.Name` to JSON. Those without a value are left
    /// out.
    pub outputs: IndexMap<String, Value>,
    /// The steps that ran, in that order; those of loops once a round.
    pub steps: Vec<StepTrace>,
    /// What a dry run found out.
    pub dry_run: Option<DryRun>,
}

impl Outcome {
    /// How it ended.
    #[must_use]
    pub const fn status(&self) -> AutomationStatus {
        self.record.automation_execution_status
    }

    /// The value of a step's output; of the last round, in a loop.
    #[must_use]
    pub fn output(&self, step: &str, name: &str) -> Option<&Value> {
        self.steps
            .iter()
            .rev()
            .filter(|s| s.name == step)
            .find_map(|s| s.outputs.get(name))
    }
}

/// What came of one run of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTrace {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: AutomationStatus,
    /// The outputs as JSON of their types.
    pub outputs: IndexMap<String, Value>,
    /// The calls it made, over all attempts.
    pub sent: Vec<Sent>,
    /// How often it was tried.
    pub attempts: u64,
    /// Why it did not succeed.
    pub error: Option<StepError>,
}

impl Engine {
    /// An engine on these ports.
    #[must_use]
    pub const fn new(ports: Ports) -> Self {
        Self { ports }
    }

    /// Checks the parameters and admits an execution; nothing runs before it is awaited.
    ///
    /// The role of `assumeRole` is not assumed: the ports' credentials are those of the execution.
    ///
    /// # Errors
    /// [`StartError`]; nothing was sent but reads of Parameter Store.
    pub async fn start(
        &self,
        document: Arc<Document>,
        parameters: &Map<String, Value>,
        options: Options,
    ) -> Result<Execution, StartError> {
        self.admit(document, parameters, options, None).await
    }

    /// As [`Engine::start`], perhaps for a document that another one runs.
    pub(crate) async fn admit(
        &self,
        document: Arc<Document>,
        parameters: &Map<String, Value>,
        options: Options,
        parent: Option<Parent>,
    ) -> Result<Execution, StartError> {
        if document.steps.is_empty() {
            return Err(StartError::NoSteps);
        }
        let depth = parent.as_ref().map_or(0, |parent| parent.depth);
        if depth >= NESTING {
            return Err(StartError::Nesting);
        }
        let unknown = parent.as_ref().map_or(&[][..], |parent| &parent.unknown);
        let parameters = self.parameters(&document, parameters, unknown).await?;
        let id = options.id.clone().unwrap_or_else(|| self.ports.ids.next());
        let mut record = AutomationExecution {
            automation_execution_id: id.clone(),
            document_name: options.document_name.clone(),
            document_version: options.document_version.clone(),
            mode: "Auto".to_owned(),
            parent_automation_execution_id: parent.as_ref().map(|parent| parent.id.clone()),
            executed_by: options.executed_by.clone(),
            step_executions: document.steps.iter().map(run::pending).collect(),
            ..AutomationExecution::default()
        };
        for (name, value) in &parameters {
            if let Found::Value(value) = value {
                record.parameters.insert(name.clone(), texts(value));
            }
        }
        let scope = Scope::new(
            &document,
            parameters,
            &options,
            id.clone(),
            self.ports.clock.now(),
        );
        let record = Arc::new(Mutex::new(record));
        let handle = Handle {
            id,
            record: Arc::clone(&record),
        };
        let run = Run::new(self.ports.clone(), document, options, depth, scope, record);
        Ok(Execution {
            handle,
            driver: Box::pin(run.drive()),
        })
    }

    /// Starts and finishes an execution.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn run(
        &self,
        document: Arc<Document>,
        parameters: &Map<String, Value>,
        options: Options,
    ) -> Result<Outcome, StartError> {
        Ok(self
            .start(document, parameters, options)
            .await?
            .finish()
            .await)
    }

    async fn parameters(
        &self,
        document: &Document,
        given: &Map<String, Value>,
        unknown: &[String],
    ) -> Result<Values, StartError> {
        let mut declared = document.clone();
        for (name, parameter) in &mut declared.parameters {
            if given.contains_key(name) {
                continue;
            }
            if let Some(stored) = parameter.default.as_ref().and_then(stored_name) {
                let value = self
                    .stored(&stored, parameter.kind)
                    .await
                    .map_err(|problem| StartError::ParameterStore {
                        parameter: name.clone(),
                        problem,
                    })?;
                parameter.default = Some(value);
            }
        }
        declared
            .parameters
            .retain(|name, _| !unknown.contains(name));
        let mut given = given.clone();
        given.retain(|name, _| !unknown.contains(name));
        let values = check_parameters(&declared, &given).map_err(StartError::Parameters)?;
        Ok(values
            .into_iter()
            .map(|(name, value)| (name, Found::Value(value)))
            .chain(unknown.iter().map(|name| (name.clone(), Found::Unknown)))
            .collect())
    }

    /// Reads a default from Parameter Store, which holds texts and lists of texts; secrets are not
    /// taken: <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-variables.html>
    async fn stored(&self, name: &str, kind: Type) -> Result<Value, String> {
        let call = Call::new("ssm", "GetParameter", serde_json::json!({ "Name": name }));
        let reply = self
            .ports
            .api
            .call(&call)
            .await
            .map_err(|error| error.to_string())?;
        let parameter = reply.output.get("Parameter").unwrap_or(&Value::Null);
        let text = parameter
            .get("Value")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match parameter.get("Type").and_then(Value::as_str) {
            Some("SecureString") => Err(format!(
                "`{name}` is a SecureString, which documents cannot refer to"
            )),
            Some("StringList") => Ok(text.split(',').map(Value::from).collect()),
            _ => convert(&Value::from(text), kind)
                .ok_or_else(|| format!("`{name}` is not of type {kind}")),
        }
    }
}

/// Parameter values, some of which only the real run will tell.
type Values = IndexMap<String, Found>;

/// The NAME of a default that is `{{ssm:NAME}}`.
fn stored_name(default: &Value) -> Option<String> {
    let inside = default
        .as_str()?
        .trim()
        .strip_prefix("{{")?
        .strip_suffix("}}")?;
    Some(inside.trim().strip_prefix("ssm:")?.trim().to_owned())
}

impl Execution {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.handle.id
    }

    /// Something to look at it with while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Carries it out to its end.
    pub async fn finish(self) -> Outcome {
        self.driver.await
    }
}

impl Handle {
    /// The execution's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The record as it is now.
    #[must_use]
    pub fn snapshot(&self) -> AutomationExecution {
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) fn names(references: &[Reference]) -> String {
    let names: Vec<String> = references
        .iter()
        .map(|r| format!("`{{{{ {r} }}}}`"))
        .collect();
    names.join(", ")
}

/// Fills in what a step's record says of its failure.
pub(crate) fn fail(step: &mut StepExecution, error: &StepError) {
    step.failure_message = Some(chain(&error));
    let mut details = std::collections::BTreeMap::new();
    if let Some(call) = error.call() {
        details.insert("Service".to_owned(), vec![call.service.clone()]);
        details.insert("Operation".to_owned(), vec![call.operation.clone()]);
        if !call.code.is_empty() {
            details.insert("Code".to_owned(), vec![call.code.clone()]);
        }
        if let Some(id) = &call.request_id {
            details.insert("RequestId".to_owned(), vec![id.clone()]);
        }
    }
    let kind = error.failure_type();
    step.failure_details = Some(crate::FailureDetails {
        failure_stage: match kind {
            "InvalidInput" => "InputValidation",
            "Verification" | "InvalidOutput" => "Verification",
            _ => "Invocation",
        }
        .to_owned(),
        failure_type: kind.to_owned(),
        details,
    });
}
