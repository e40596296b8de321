//! Systems Manager Automation as its API has it, carried out by our own engine: no emulator has it.
//!
//! An execution makes its calls with the credentials of whoever started it, as AWS does where a document
//! names no role. What is not told apart from AWS: schedules, rate control over targets, change requests.

mod book;
mod served;
mod session;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use stanch_catalog::{Catalog, MOST_TEXT, MOST_TEXTS, Naming, SCRIPT, Stage, fingerprint};
use stanch_hub::answer as answer_of_function;
use stanch_models::Models;
use stanch_runbook::{
    AutomationStatus, Document, Engine, Functions, Handle, Ids, NoFunctions, Observer, Options,
    Ports, Script, ScriptError, Scripts, Sent, Signal, Signals, StepExecution,
};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock, Region, Reply, chain};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use book::Book;
pub use served::{AutomationServer, RootRoles};
pub use session::WithAutomation;

/// The operations that are answered here.
const OPERATIONS: [&str; 14] = [
    "CreateDocument",
    "UpdateDocument",
    "UpdateDocumentDefaultVersion",
    "DescribeDocument",
    "GetDocument",
    "ListDocuments",
    "DeleteDocument",
    "StartAutomationExecution",
    "GetAutomationExecution",
    "DescribeAutomationExecutions",
    "DescribeAutomationStepExecutions",
    "StopAutomationExecution",
    "SendAutomationSignal",
    "ListDocumentVersions",
];

/// The limits of an account in a region: <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Executions under way at once, those that executions start among them.
    pub concurrent: usize,
    /// The time between two starts.
    pub start_every: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            concurrent: 100,
            start_every: Duration::from_secs(1),
        }
    }
}

/// Whoever makes a call.
#[derive(Clone)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The region that is called.
    pub region: Region,
    /// The ARN of the user or session.
    pub arn: String,
    /// AWS, with the same credentials.
    pub api: Arc<dyn Api>,
    /// The execution that makes the call, if one does.
    pub parent: Option<String>,
}

/// An error of Systems Manager's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Refused {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    fn kind(&self) -> CallErrorKind {
        match self.code {
            "ThrottlingException" => CallErrorKind::Throttled,
            "AccessDeniedException" => CallErrorKind::Denied,
            _ => CallErrorKind::Rejected,
        }
    }
}

/// Who answers for the Lambda functions of an account in a region, in process.
pub type Answering = dyn Fn(&AccountId, &Region) -> Arc<dyn Functions> + Send + Sync;

/// Becomes a role that a document names.
#[async_trait]
pub trait Roles: Send + Sync {
    /// AWS as this role, in the caller's account and region.
    ///
    /// # Errors
    /// Why it cannot be assumed.
    async fn assume(&self, caller: &Caller, role: &str) -> Result<Arc<dyn Api>, String>;
}

/// Systems Manager, for any number of accounts and regions.
#[derive(Clone)]
pub struct Automation(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    models: Arc<Models>,
    quotas: Mutex<Quotas>,
    answering: Option<Arc<Answering>>,
    roles: Option<Arc<dyn Roles>>,
    state: Mutex<State>,
    /// Something was told.
    told: Notify,
}

#[derive(Default)]
struct State {
    places: HashMap<(AccountId, Region), Place>,
    events: Vec<Value>,
}

#[derive(Default)]
struct Place {
    books: BTreeMap<String, Book>,
    executions: IndexMap<String, Running>,
    /// Client tokens, with what was asked for and the execution that it became.
    tokens: HashMap<String, (String, String)>,
    last_start: Option<Duration>,
}

struct Running {
    handle: Handle,
    caller: String,
    parent: Option<String>,
    signals: mpsc::UnboundedSender<Signal>,
    /// The request that each step sent last.
    sent: HashMap<String, Value>,
}

impl Automation {
    /// Systems Manager with nothing in it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, models: Arc<Models>) -> Self {
        Self(Arc::new(Inner {
            clock,
            models,
            quotas: Mutex::default(),
            answering: None,
            roles: None,
            state: Mutex::default(),
            told: Notify::new(),
        }))
    }

    /// Has functions answered in process; others are called through Lambda.
    #[must_use]
    pub fn answering(self, answering: Arc<Answering>) -> Self {
        self.with(|inner| inner.answering = Some(answering))
    }

    /// Has roles assumed that documents name.
    #[must_use]
    pub fn assuming(self, roles: Arc<dyn Roles>) -> Self {
        self.with(|inner| inner.roles = Some(roles))
    }

    /// Changes what nobody shares yet; later it is left as it is.
    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// Sets the limits.
    pub fn set_quotas(&self, quotas: Quotas) {
        *self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner) = quotas;
    }

    /// True if the operation is answered here.
    #[must_use]
    pub fn takes(call: &Call) -> bool {
        call.service == "ssm" && OPERATIONS.contains(&call.operation.as_str())
    }

    /// What EventBridge was told, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.state().events.clone()
    }

    /// Waits until an execution has ended; gives the event that says so.
    pub async fn ended(&self, execution: &str) -> Value {
        loop {
            let told = self.0.told.notified();
            let is_its = |event: &&Value| {
                event.pointer("/detail/ExecutionId") == Some(&json!(execution))
                    && !matches!(
                        event.pointer("/detail/Status").and_then(Value::as_str),
                        Some("Pending" | "InProgress" | "Waiting" | "Cancelling")
                    )
            };
            if let Some(event) = self.state().events.iter().find(is_its) {
                return event.clone();
            }
            told.await;
        }
    }

    /// The ids of all executions in an account and region, in the order in which they were started.
    #[must_use]
    pub fn executions(&self, account: &AccountId, region: &Region) -> Vec<String> {
        let state = self.state();
        let place = state.places.get(&(account.clone(), region.clone()));
        place.map_or_else(Vec::new, |place| place.executions.keys().cloned().collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at<T>(&self, caller: &Caller, work: impl FnOnce(&mut Place) -> T) -> T {
        let place = (caller.account.clone(), caller.region.clone());
        work(self.state().places.entry(place).or_default())
    }

    /// Deploys the documents of a remediation, as the stack `member-documents` does.
    ///
    /// # Errors
    /// They cannot be written, or are there already.
    pub async fn deploy(
        &self,
        caller: &Caller,
        catalog: &Catalog,
        naming: &Naming,
        remediation: &str,
    ) -> Result<(), Refused> {
        let invalid = |why: String| Refused::new("InvalidDocumentContent", why);
        let found = catalog
            .get(remediation)
            .ok_or_else(|| invalid(format!("there is no `{remediation}`")))?;
        let export = found
            .export(&self.0.models)
            .map_err(|error| invalid(chain(&error)))?
            .asking(&naming.function());
        for stage in [Stage::Apply, Stage::Undo] {
            let Some(document) = export.of(stage) else {
                continue;
            };
            let input = json!({
                "Name": naming.document(stage, remediation),
                "Content": document.to_yaml(),
                "DocumentFormat": "YAML",
                "DocumentType": "Automation",
            });
            self.call(caller, "CreateDocument", &input).await?;
        }
        Ok(())
    }

    /// Answers a call.
    ///
    /// # Errors
    /// As Systems Manager would refuse it.
    pub async fn call(
        &self,
        caller: &Caller,
        operation: &str,
        input: &Value,
    ) -> Result<Value, Refused> {
        match operation {
            "StartAutomationExecution" => self.start(caller, input).await,
            "GetAutomationExecution" => {
                let execution = self.record(caller, input)?;
                Ok(json!({"AutomationExecution": execution}))
            }
            "DescribeAutomationStepExecutions" => {
                let mut execution = self.record(caller, input)?;
                let steps = execution.get_mut("StepExecutions").map(Value::take);
                Ok(json!({"StepExecutions": steps}))
            }
            "DescribeAutomationExecutions" => self.executions_of(caller, input),
            "StopAutomationExecution" => self.stop(caller, input),
            "SendAutomationSignal" => self.signal(caller, input),
            _ => {
                let now = self.0.clock.now();
                let models = &self.0.models;
                self.at(caller, |place| {
                    book::call(&mut place.books, models, now, operation, input)
                })
            }
        }
    }

    async fn start(&self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        let name = text(input, "DocumentName")
            .ok_or_else(|| Refused::invalid("DocumentName is missing"))?;
        let parameters = texts_only(input.get("Parameters"))?;
        let token = text(input, "ClientToken");
        if token.is_some_and(|token| Uuid::try_parse(token).is_err() || token.len() != 36) {
            return Err(Refused::invalid("ClientToken is not a UUID"));
        }
        let asked = fingerprint(input);
        if let Some(token) = token
            && let Some((before, id)) = self.at(caller, |place| place.tokens.get(token).cloned())
        {
            return if before == asked {
                Ok(json!({"AutomationExecutionId": id}))
            } else {
                Err(Refused::new(
                    "IdempotentParameterMismatch",
                    "the token was used for another request",
                ))
            };
        }
        let now = self.0.clock.monotonic();
        let quotas = *self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, document) = self.at(caller, |place| {
            if caller.parent.is_none() {
                let early = place
                    .last_start
                    .is_some_and(|last| now.saturating_sub(last) < quotas.start_every);
                if early {
                    return Err(Refused::new("ThrottlingException", "Rate exceeded"));
                }
                place.last_start = Some(now);
            }
            let running = place.executions.values();
            let running = running.filter(|one| {
                let status = one.handle.snapshot().automation_execution_status;
                !status.is_final()
            });
            if running.count() >= quotas.concurrent {
                return Err(Refused::new(
                    "AutomationExecutionLimitExceededException",
                    "the number of simultaneously running executions exceeded the limit",
                ));
            }
            let book = place.books.get(name).ok_or_else(|| {
                Refused::new(
                    "AutomationDefinitionNotFoundException",
                    format!("there is no document `{name}`"),
                )
            })?;
            let version = book
                .version(text(input, "DocumentVersion"))
                .ok_or_else(|| {
                    Refused::new(
                        "AutomationDefinitionVersionNotFoundException",
                        "the document has no such version",
                    )
                })?;
            Ok((version.number.to_string(), Arc::clone(&version.document)))
        })?;
        stanch_runbook::check_parameters(&document, &parameters).map_err(|wrong| {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            Refused::new(
                "InvalidAutomationExecutionParametersException",
                wrong.join("; "),
            )
        })?;
        let id = Uuid::new_v4().to_string();
        let acting = match self.role(&document, &parameters) {
            None => Arc::clone(&caller.api),
            Some(role) => {
                let roles =
                    self.0.roles.as_ref().ok_or_else(|| {
                        Refused::new("InvalidRole", "no role can be assumed here")
                    })?;
                let assumed = roles.assume(caller, &role).await;
                assumed.map_err(|why| Refused::new("InvalidRole", why))?
            }
        };
        let within = Caller {
            parent: Some(id.clone()),
            api: Arc::clone(&acting),
            ..caller.clone()
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let api: Arc<dyn Api> = Arc::new(session::Within {
            caller: within,
            automation: self.clone(),
        });
        let mut ports = Ports::new(
            Arc::clone(&api),
            Arc::clone(&self.0.clock),
            Arc::clone(&self.0.models) as _,
            Arc::new(RandomIds),
        );
        ports.functions = match &self.0.answering {
            Some(answering) => answering(&caller.account, &caller.region),
            None => Arc::new(NoFunctions),
        };
        ports.scripts = Arc::new(CatalogScript(api));
        ports.signals = Arc::new(Channel(tokio::sync::Mutex::new(receiver)));
        ports.observer = Arc::new(Watching {
            automation: self.clone(),
            caller: caller.clone(),
        });
        let options = Options {
            document_name: name.to_owned(),
            document_version: Some(version.clone()),
            account: Some(caller.account.clone()),
            region: Some(caller.region.clone()),
            executed_by: Some(caller.arn.clone()),
            id: Some(id.clone()),
            ..Options::default()
        };
        let execution = Engine::new(ports)
            .start(document, &parameters, options)
            .await
            .map_err(|error| {
                Refused::new(
                    "InvalidAutomationExecutionParametersException",
                    error.to_string(),
                )
            })?;
        let running = Running {
            handle: execution.handle(),
            caller: caller.arn.clone(),
            parent: caller.parent.clone(),
            signals: sender,
            sent: HashMap::new(),
        };
        self.at(caller, |place| {
            place.executions.insert(id.clone(), running);
            if let Some(token) = token {
                place.tokens.insert(token.to_owned(), (asked, id.clone()));
            }
        });
        self.tell(caller, &id, AutomationStatus::InProgress);
        let (automation, by, ending) = (self.clone(), caller.clone(), id.clone());
        tokio::spawn(async move {
            let outcome = execution.finish().await;
            automation.tell(&by, &ending, outcome.status());
        });
        Ok(json!({"AutomationExecutionId": id}))
    }

    /// The role that the document names, by itself or in a parameter.
    fn role(&self, document: &Document, parameters: &Map<String, Value>) -> Option<String> {
        let role = document.assume_role.as_deref()?.trim();
        let role = match role
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
        {
            None => role.to_owned(),
            Some(name) => {
                let name = name.trim();
                let given = parameters
                    .get(name)
                    .and_then(|given| given.get(0).or(Some(given)));
                let default = document.parameters.get(name)?.default.as_ref();
                given.or(default)?.as_str()?.to_owned()
            }
        };
        Some(role).filter(|role| !role.is_empty())
    }

    /// Tells EventBridge.
    fn tell(&self, caller: &Caller, id: &str, status: AutomationStatus) {
        let (account, region) = (&caller.account, &caller.region);
        let now = self.0.clock.now();
        let record = self.at(caller, |place| {
            let running = place.executions.get(id)?;
            Some((running.handle.snapshot(), running.caller.clone()))
        });
        let Some((record, by)) = record else { return };
        let version = record.document_version.unwrap_or_default();
        let name = record.document_name;
        let arn =
            |rest: String| format!("arn:{}:ssm:{region}:{account}:{rest}", region.partition());
        let shown = |time: Option<jiff::Timestamp>| {
            time.map(|time| time.strftime("%b %-d, %Y %-I:%M:%S %p").to_string())
        };
        let event = json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": "EC2 Automation Execution Status-change Notification",
            "source": "aws.ssm",
            "account": account,
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": region,
            "resources": [
                arn(format!("automation-execution/{id}")),
                arn(format!("automation-definition/{name}:{version}")),
            ],
            "detail": {
                "ExecutionId": id,
                "Definition": name,
                "DefinitionVersion": version,
                "Status": status,
                "StartTime": shown(record.execution_start_time),
                "EndTime": shown(record.execution_end_time),
                "Time": shown(Some(now)),
                "ExecutedBy": by,
            },
        });
        self.state().events.push(event);
        self.0.told.notify_waiters();
    }

    /// The record of the execution that an input names.
    fn record(&self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        let id = text(input, "AutomationExecutionId").unwrap_or_default();
        self.at(caller, |place| {
            let running = place.executions.get(id).ok_or_else(|| unknown(id))?;
            let record = running.handle.snapshot();
            let mut shown = json!(record);
            if let (Some(shown), Some(parent)) = (shown.as_object_mut(), &running.parent) {
                shown.insert("ParentAutomationExecutionId".to_owned(), json!(parent));
            }
            let steps = shown
                .get_mut("StepExecutions")
                .and_then(Value::as_array_mut);
            for step in steps.into_iter().flatten() {
                let key = step
                    .get("StepExecutionId")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let Some(sent) = running.sent.get(key) else {
                    continue;
                };
                let sent = json!([sent.to_string()]);
                if let Some(outputs) = step.get_mut("Outputs").and_then(Value::as_object_mut) {
                    outputs.insert("OutputPayload".to_owned(), sent);
                }
            }
            Ok(shown)
        })
    }

    fn executions_of(&self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        let filters: Vec<(&str, Vec<&str>)> = input
            .get("Filters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|filter| {
                let values = filter.get("Values").and_then(Value::as_array);
                let values = values.into_iter().flatten().filter_map(Value::as_str);
                (text(filter, "Key").unwrap_or_default(), values.collect())
            })
            .collect();
        let mut found = Vec::new();
        self.at(caller, |place| {
            for (id, running) in place.executions.iter().rev() {
                let record = running.handle.snapshot();
                let status = json!(record.automation_execution_status);
                for (key, values) in &filters {
                    let is = |own: &str| values.contains(&own);
                    let matches = match *key {
                        "ExecutionId" => is(id),
                        "ParentExecutionId" => is(running.parent.as_deref().unwrap_or_default()),
                        "ExecutionStatus" => is(status.as_str().unwrap_or_default()),
                        "DocumentNamePrefix" => values
                            .iter()
                            .any(|value| record.document_name.starts_with(value)),
                        other => {
                            return Err(Refused::new(
                                "InvalidFilterKey",
                                format!("`{other}` is not supported"),
                            ));
                        }
                    };
                    if !matches {
                        return Ok(());
                    }
                }
                found.push(json!({
                    "AutomationExecutionId": id,
                    "DocumentName": record.document_name,
                    "DocumentVersion": record.document_version,
                    "AutomationExecutionStatus": status,
                    "ExecutionStartTime": record.execution_start_time,
                    "ExecutionEndTime": record.execution_end_time,
                    "ExecutedBy": running.caller,
                    "ParentAutomationExecutionId": running.parent,
                    "Outputs": record.outputs,
                    "FailureMessage": record.failure_message,
                    "AutomationType": "Local",
                }));
            }
            Ok(())
        })?;
        Ok(json!({"AutomationExecutionMetadataList": found}))
    }

    fn stop(&self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        self.send(caller, input, Signal::Cancel, |status| !status.is_final())
            .map_err(|refused| match refused.code {
                "InvalidAutomationSignalException" => Refused::new(
                    "InvalidAutomationStatusUpdateException",
                    "the execution has ended",
                ),
                _ => refused,
            })
    }

    fn signal(&self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        let by = caller.arn.clone();
        let comment = input
            .pointer("/Payload/Comment/0")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let signal = match text(input, "SignalType").unwrap_or_default() {
            "Approve" => Signal::Approve { by, comment },
            "Reject" => Signal::Reject { by, comment },
            "Resume" => Signal::Resume,
            other => return Err(Refused::invalid(format!("`{other}` is no signal"))),
        };
        self.send(caller, input, signal, |status| {
            status == AutomationStatus::Waiting
        })
    }

    fn send(
        &self,
        caller: &Caller,
        input: &Value,
        signal: Signal,
        may: fn(AutomationStatus) -> bool,
    ) -> Result<Value, Refused> {
        let id = text(input, "AutomationExecutionId").unwrap_or_default();
        self.at(caller, |place| {
            let running = place.executions.get(id).ok_or_else(|| unknown(id))?;
            let status = running.handle.snapshot().automation_execution_status;
            let gone = running.signals.is_closed();
            if gone || !may(status) || running.signals.send(signal).is_err() {
                return Err(Refused::new(
                    "InvalidAutomationSignalException",
                    format!("the execution is {status:?}"),
                ));
            }
            Ok(json!({}))
        })
    }
}

fn unknown(id: &str) -> Refused {
    Refused::new(
        "AutomationExecutionNotFoundException",
        format!("there is no execution `{id}`"),
    )
}

fn text<'v>(input: &'v Value, member: &str) -> Option<&'v str> {
    input.get(member).and_then(Value::as_str)
}

/// Parameters as the API takes them.
fn texts_only(given: Option<&Value>) -> Result<Map<String, Value>, Refused> {
    let Some(given) = given else {
        return Ok(Map::new());
    };
    let given = given
        .as_object()
        .ok_or_else(|| Refused::invalid("Parameters is no map"))?;
    for (name, values) in given {
        let values = values
            .as_array()
            .filter(|values| values.len() <= MOST_TEXTS)
            .ok_or_else(|| Refused::invalid(format!("`{name}` is no list of at most 50")))?;
        let is_short = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.chars().count() <= MOST_TEXT)
        };
        if !values.iter().all(is_short) {
            return Err(Refused::invalid(format!(
                "`{name}` has a value that is no text of at most 512 characters"
            )));
        }
    }
    Ok(given.clone())
}

struct RandomIds;

impl Ids for RandomIds {
    fn next(&self) -> String {
        Uuid::new_v4().to_string()
    }
}

/// The function of a member account, for what exported documents ask of it.
pub struct CatalogFunction {
    /// Its name.
    pub name: String,
    /// AWS, as its role.
    pub api: Arc<dyn Api>,
    /// What it answers for.
    pub catalog: Arc<Catalog>,
    /// The API models.
    pub models: Arc<Models>,
}

#[async_trait]
impl Functions for CatalogFunction {
    fn knows(&self, name: &str) -> bool {
        self.name == name
    }

    async fn call(&self, _: &str, payload: &Value) -> Result<Value, String> {
        let answered = answer_of_function(&*self.api, &self.models, &self.catalog, payload);
        answered.await.map_err(|error| chain(&error))
    }
}

/// Does what the catalog's script does, and runs no other.
pub(crate) struct CatalogScript(pub(crate) Arc<dyn Api>);

#[async_trait]
impl Scripts for CatalogScript {
    async fn run(&self, script: &Script, payload: &Value) -> Result<Value, ScriptError> {
        if script.source != SCRIPT {
            let why = "it is not the catalog's script".to_owned();
            return Err(ScriptError::Unavailable(why));
        }
        let text = |name| {
            payload
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let parts = ["Input", "Optional"]
            .iter()
            .filter_map(|name| payload.get(name)?.as_object());
        let params: Map<String, Value> = parts
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let call = Call::new(text("Service"), text("Operation"), Value::Object(params));
        let sent = self.0.call(&call).await;
        sent.map(|reply| reply.output)
            .map_err(|error| ScriptError::Raised {
                message: error.to_string(),
                output: String::new(),
            })
    }
}

/// The signals to one execution.
struct Channel(tokio::sync::Mutex<mpsc::UnboundedReceiver<Signal>>);

#[async_trait]
impl Signals for Channel {
    async fn next(&self, _: &str) -> Signal {
        match self.0.lock().await.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Remembers what steps sent.
struct Watching {
    automation: Automation,
    caller: Caller,
}

#[async_trait]
impl Observer for Watching {
    async fn started(&self, _: &str, _: &StepExecution) -> Result<(), String> {
        Ok(())
    }

    async fn finished(
        &self,
        execution: &str,
        step: &StepExecution,
        sent: &[Sent],
    ) -> Result<(), String> {
        let Some(Ok(Some(request))) = sent.last().map(|sent| &sent.result) else {
            return Ok(());
        };
        let answer = json!({
            "ResponseMetadata": {"RequestId": request, "HTTPStatusCode": 200},
        });
        self.automation.at(&self.caller, |place| {
            if let Some(running) = place.executions.get_mut(execution) {
                running.sent.insert(step.step_execution_id.clone(), answer);
            }
        });
        Ok(())
    }
}

fn error(refused: &Refused, call: &Call) -> CallError {
    CallError {
        code: refused.code.to_owned(),
        ..CallError::new(refused.kind(), call, refused.message.clone())
    }
}

/// Answers as Systems Manager, with ids of requests.
async fn answer(automation: &Automation, caller: &Caller, call: &Call) -> Result<Reply, CallError> {
    let answered = automation.call(caller, &call.operation, &call.params).await;
    match answered {
        Ok(output) => Ok(Reply {
            output,
            request_id: Some(Uuid::new_v4().to_string()),
        }),
        Err(refused) => Err(error(&refused, call)),
    }
}
