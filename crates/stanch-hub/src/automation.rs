//! The executor `ssm`: a plan is carried out by the remediation's Automation document in the member
//! account, in the scoped session that starts it.
//!
//! The gate is AWS's here, so that the plan is held to in three other ways: the document's content is
//! compared before it is started, and just the version that was compared is started; the document asks
//! the member account's function, which refuses what is not the approved plan
//! ([`Approved`]); and the session's policy allows no other request.
//!
//! In the ledger, starting and cancelling an execution are requests like others, with places after those
//! of the plan: what is journalled before it is sent, and known afterwards.
//!
//! *Invariant:* an execution is started under a token made from the remediation, the phase and the
//! attempt, so that a start which nobody saw answered can be sent again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stanch_catalog::{
    Approved, BEFORE, MOST_TEXT, MOST_TEXTS, Naming, Permission, Plan, PlannedAction, Stage,
    fingerprint, texts, typed,
};
use stanch_ledger::{
    Digest, Event, LedgerError, Phase, Received, RemediationId, Run, State, Status, Step,
    StepFinished, StepOutcome, StepStarted,
};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Region, chain};
use uuid::Uuid;

use crate::{
    Hub,
    execute::{Ran, bind},
    pipeline::{Work, answers},
};

/// What carries a plan out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// The engine in this process, behind the gate.
    #[default]
    Native,
    /// Systems Manager Automation in the member account.
    Ssm,
}

impl Executor {
    /// The name as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ssm => "ssm",
        }
    }
}

/// Which executor carries out which plan. The most particular that is named counts: the action, then
/// the control, then the account.
#[derive(Debug, Clone)]
pub struct Executors {
    /// Where nothing else is named.
    pub default: Executor,
    /// By member account.
    pub accounts: BTreeMap<AccountId, Executor>,
    /// By control, as findings name it.
    pub controls: BTreeMap<String, Executor>,
    /// By remediation.
    pub actions: BTreeMap<String, Executor>,
    /// What documents and the function are called in member accounts.
    pub naming: Naming,
    /// The time between two starts in one account and region:
    /// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
    pub start_every: Duration,
    /// How old an execution is before recovery looks at it: until then its event is waited for.
    pub look_after: Duration,
    /// How old it may grow before it is cancelled.
    pub give_up_after: Duration,
}

impl Default for Executors {
    fn default() -> Self {
        Self {
            default: Executor::default(),
            accounts: BTreeMap::new(),
            controls: BTreeMap::new(),
            actions: BTreeMap::new(),
            naming: Naming::default(),
            start_every: Duration::from_secs(1),
            look_after: Duration::from_mins(1),
            give_up_after: Duration::from_hours(1),
        }
    }
}

impl Executors {
    fn of(&self, received: &Received) -> Executor {
        let control = self.controls.iter();
        let mut control =
            control.filter(|(control, _)| control.eq_ignore_ascii_case(&received.control));
        let chosen = self.actions.get(&received.remediation);
        let chosen = chosen.or_else(|| control.next().map(|(_, executor)| executor));
        let chosen = chosen.or_else(|| self.accounts.get(&received.account));
        chosen.copied().unwrap_or(self.default)
    }
}

/// When the next execution may be started, by account and region, on the monotonic clock.
#[derive(Default)]
pub(crate) struct Starts(Mutex<HashMap<(AccountId, Region), Duration>>);

impl Starts {
    /// Takes the next free moment: how long it is until then.
    fn wait(&self, plan: &Plan, now: Duration, every: Duration) -> Duration {
        let place = (plan.account.clone(), plan.region.clone());
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.entry(place).or_insert(now);
        let at = (*next).max(now);
        *next = at + every;
        at.saturating_sub(now)
    }
}

const START: &str = "StartAutomationExecution";
const STOP: &str = "StopAutomationExecution";
const EXECUTION: &str = "ExecutionId";

/// An execution as the journal has it.
struct Automation<'r> {
    start: Option<&'r Step>,
    stop: Option<&'r Step>,
    /// Requests of the plan are in the journal: the execution has ended, and was read.
    is_read: bool,
}

impl<'r> Automation<'r> {
    /// The execution of a run of `plan`, if that is what its last attempt was.
    fn of(plan: &Plan, run: &'r Run) -> Option<Self> {
        let last = |place: u32| run.steps.iter().rev().find(|step| step.index == place);
        let (start, stop) = places(plan);
        (run.started.executor == Executor::Ssm.as_str()).then(|| Self {
            start: last(start),
            stop: last(stop),
            is_read: run.steps.iter().any(|step| step.index < start),
        })
    }

    fn id(&self) -> Option<&'r str> {
        let start = self.start?;
        (start.outcome == Some(StepOutcome::Ok)).then(|| start.outputs.get(EXECUTION)?.as_str())?
    }

    /// It was sent, or may have been, and nobody knows as what.
    fn may_be_sent_again(&self) -> bool {
        match self.start.map(|start| start.outcome.as_ref()) {
            None | Some(None) => true,
            Some(Some(StepOutcome::Failed { kind, code, .. })) => is_full(*kind, code),
            Some(Some(outcome)) => *outcome == StepOutcome::Unknown,
        }
    }
}

/// Where starting and cancelling stand among the requests of a run.
fn places(plan: &Plan) -> (u32, u32) {
    let after = u32::try_from(plan.steps.len()).unwrap_or(u32::MAX - 1);
    (after, after + 1)
}

/// Too many are under way, or were started just now; or nobody answered.
fn is_full(kind: CallErrorKind, code: &str) -> bool {
    kind == CallErrorKind::Throttled
        || kind.may_have_happened()
        || code.starts_with("AutomationExecutionLimitExceeded")
}

impl Hub {
    /// The name of the session in which `id` is changed: by it an execution is known again.
    pub(crate) fn session_name(id: RemediationId) -> String {
        format!("stanch-{id}")
    }

    /// The remediation whose session this is, by the ARN of the session.
    pub(crate) fn of_session(arn: &str) -> Option<RemediationId> {
        arn.rsplit('/')
            .next()?
            .strip_prefix("stanch-")?
            .parse()
            .ok()
    }

    /// True unless its execution is too young to be looked at.
    pub(crate) fn automation_is_due(&self, state: &State, now: Timestamp) -> bool {
        let Some((_, run)) = under_way(state) else {
            return true;
        };
        let young = run.at + self.settings.executors.look_after > now;
        !(young && has_id(run))
    }

    /// True if this execution, of this account and region, is the one that `state` waits for, or the
    /// one that it was about to know of.
    pub(crate) fn waits_for(state: &State, account: &AccountId, region: &Region, id: &str) -> bool {
        let received = &state.received;
        received.account == *account
            && received.region == *region
            && under_way(state).is_some_and(|(_, run)| match known_id(run) {
                Some(known) => known == id,
                None => true,
            })
    }
}

/// The run that is with Systems Manager.
fn under_way(state: &State) -> Option<(Phase, &Run)> {
    let (phase, run) = match state.status {
        Status::Running => (Phase::Apply, state.run.as_ref()?),
        Status::Undoing => (Phase::Undo, state.undo.as_ref()?.run.as_ref()?),
        _ => return None,
    };
    (run.started.executor == Executor::Ssm.as_str()).then_some((phase, run))
}

/// True if the run of this phase is Systems Manager's.
pub(crate) fn is_with_ssm(state: &State, phase: Phase) -> bool {
    under_way(state).is_some_and(|(at, _)| at == phase)
}

/// What carries out the run's last attempt.
pub(crate) fn executor_of(run: &Run) -> Executor {
    if run.started.executor == Executor::Ssm.as_str() {
        Executor::Ssm
    } else {
        Executor::Native
    }
}

fn known_id(run: &Run) -> Option<&str> {
    let mut starts = run.steps.iter().filter(|step| step.name == START);
    starts.find_map(|step| step.outputs.get(EXECUTION)?.as_str())
}

fn has_id(run: &Run) -> bool {
    known_id(run).is_some()
}

/// The execution in Systems Manager that a remediation waits for, if it does and its id is known.
#[must_use]
pub fn execution(state: &State) -> Option<&str> {
    under_way(state).and_then(|(_, run)| known_id(run))
}

/// True if an execution that was started changes, or may change, the resource.
pub(crate) fn is_under_way(state: &State) -> bool {
    under_way(state).is_some_and(|(_, run)| !run.steps.is_empty())
}

/// What to do about a run that is with Systems Manager.
pub(crate) enum Followed {
    /// It is not, or no longer: the resource is to be looked at.
    Elsewhere,
    /// It goes on there.
    UnderWay,
    /// It has ended.
    Ended(Ran),
}

impl Work<'_> {
    /// What carries out `plan`, from its beginning on: what Systems Manager cannot take is carried out
    /// here.
    pub(crate) fn executor(&self, state: &State, plan: &Plan) -> Executor {
        let chosen = self.hub.settings.executors.of(&state.received);
        let waits = plan
            .steps
            .iter()
            .any(|step| matches!(step.action, PlannedAction::Approve { .. }));
        match chosen {
            Executor::Ssm if waits || plan.steps.is_empty() => Executor::Native,
            Executor::Ssm if parameters(state, plan).is_none() => Executor::Native,
            chosen => chosen,
        }
    }

    /// What a session needs besides the plan's own requests, to have an executor carry it out.
    pub(crate) fn permissions(&self, plan: &Plan, executor: Executor) -> Vec<Permission> {
        if executor == Executor::Native {
            return Vec::new();
        }
        let naming = &self.hub.settings.executors.naming;
        let document = naming.document(plan.stage, &plan.remediation);
        let arn = |service: &str, rest: String| {
            format!(
                "arn:{}:{service}:{}:{}:{rest}",
                plan.partition, plan.region, plan.account
            )
        };
        // https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
        let allow = |action: &str, on: String, read: bool| Permission {
            action: action.to_owned(),
            resources: BTreeSet::from([on]),
            read,
        };
        let executions = arn("ssm", "automation-execution/*".to_owned());
        vec![
            allow(
                "ssm:GetDocument",
                arn("ssm", format!("document/{document}")),
                true,
            ),
            allow(
                "ssm:StartAutomationExecution",
                arn("ssm", format!("automation-definition/{document}:*")),
                false,
            ),
            allow("ssm:GetAutomationExecution", executions.clone(), true),
            allow(
                "ssm:DescribeAutomationStepExecutions",
                executions.clone(),
                true,
            ),
            allow("ssm:StopAutomationExecution", executions, false),
            allow(
                "lambda:InvokeFunction",
                arn("lambda", format!("function:{}", naming.function())),
                false,
            ),
        ]
    }

    /// Starts the document, or learns which execution it was started as.
    pub(crate) async fn start(
        &self,
        plan: &Plan,
        phase: Phase,
        api: &dyn Api,
    ) -> Result<Ran, LedgerError> {
        let hub = self.hub;
        let state = self.state().await;
        let version = match self.compared(plan, api).await {
            Ok(version) => version,
            Err(NotStarted::Later(error)) => {
                tracing::warn!(id = %self.id, error = %error, "the document cannot be read now");
                return Ok(Ran::UnderWay);
            }
            Err(NotStarted::Never(error)) => return Ok(Ran::Failed(error)),
        };
        let run = match phase {
            Phase::Apply => state.run.as_ref(),
            Phase::Undo => state.undo.as_ref().and_then(|undo| undo.run.as_ref()),
        };
        let (Some(run), Some(parameters)) = (run, parameters(&state, plan)) else {
            return Ok(Ran::Failed("its document cannot take the plan".to_owned()));
        };
        let executors = &hub.settings.executors;
        let token = token(self.id, phase, run.started.attempt);
        let call = Call::new(
            "ssm",
            START,
            json!({
                "DocumentName": executors.naming.document(plan.stage, &plan.remediation),
                "DocumentVersion": version,
                "ClientToken": token,
                "Parameters": parameters,
            }),
        );
        let clock = &hub.ports.clock;
        let wait = hub
            .starts
            .wait(plan, clock.monotonic(), executors.start_every);
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        if let Some(reason) = hub.switch(&state.received).stops().await {
            return Ok(Ran::Paused(reason));
        }
        let (place, _) = places(plan);
        let answer = self.send(phase, place, call, api).await?;
        Ok(match answer {
            Ok(_) => Ran::UnderWay,
            Err(error) if is_full(error.kind, &error.code) => {
                tracing::warn!(id = %self.id, error = %error, "it is started later");
                Ran::UnderWay
            }
            Err(error) => Ran::Failed(chain(&error)),
        })
    }

    /// Sends a request to Systems Manager between its two entries in the journal.
    async fn send(
        &self,
        phase: Phase,
        index: u32,
        call: Call,
        api: &dyn Api,
    ) -> Result<Result<(), CallError>, LedgerError> {
        let Ok(hash) = Digest::of(&call) else {
            let error = CallError::new(CallErrorKind::Invalid, &call, "it cannot be recorded");
            return Ok(Err(error));
        };
        let started = StepStarted {
            phase,
            index,
            name: call.operation.clone(),
            call: call.clone(),
            call_hash: hash.to_string(),
        };
        self.write([Event::StepStarted(started)]).await?;
        let answer = api.call(&call).await;
        let (outcome, request_id, outputs) = match &answer {
            Ok(reply) => {
                let id = reply.output.get("AutomationExecutionId");
                let outputs = id.map_or(Value::Null, |id| json!({EXECUTION: id}));
                (StepOutcome::Ok, reply.request_id.clone(), outputs)
            }
            Err(error) if error.kind.may_have_happened() => {
                (StepOutcome::Unknown, error.request_id.clone(), Value::Null)
            }
            Err(error) => {
                let failed = StepOutcome::Failed {
                    kind: error.kind,
                    code: error.code.clone(),
                    message: error.message.clone(),
                };
                (failed, error.request_id.clone(), Value::Null)
            }
        };
        let finished = StepFinished {
            phase,
            index,
            outcome,
            request_id,
            outputs,
        };
        self.write([Event::StepFinished(finished)]).await?;
        Ok(answer.map(drop))
    }

    /// Reads the document and compares it with what the catalog says it is: the version to start.
    async fn compared(&self, plan: &Plan, api: &dyn Api) -> Result<String, NotStarted> {
        let hub = self.hub;
        let naming = &hub.settings.executors.naming;
        let name = naming.document(plan.stage, &plan.remediation);
        let never = |why: String| NotStarted::Never(format!("the document `{name}` {why}"));
        let ours = hub
            .catalog
            .get(&plan.remediation)
            .ok_or_else(|| never("is of no remediation".to_owned()))?
            .export(&hub.models)
            .map_err(|error| never(format!("cannot be written: {}", chain(&error))))?
            .asking(&naming.function());
        let ours = ours
            .of(plan.stage)
            .ok_or_else(|| never("does not exist: there is no way back".to_owned()))?
            .to_json();
        let read = Call::new(
            "ssm",
            "GetDocument",
            json!({"Name": name, "DocumentVersion": "$DEFAULT", "DocumentFormat": "JSON"}),
        );
        let theirs = match api.call(&read).await {
            Ok(reply) => reply.output,
            Err(error) if is_full(error.kind, &error.code) => {
                return Err(NotStarted::Later(error.to_string()));
            }
            Err(error) if error.code == "InvalidDocument" => {
                return Err(never(
                    "is not deployed; the stack `member-documents` has it".to_owned(),
                ));
            }
            Err(error) => return Err(NotStarted::Never(chain(&error))),
        };
        let text = |member: &str| {
            theirs
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let content: Value = serde_json::from_str(text("Content"))
            .map_err(|error| never(format!("cannot be read: {error}")))?;
        let (expected, found) = (fingerprint(&ours), fingerprint(&content));
        if expected != found {
            return Err(never(format!(
                "is not the catalog's: version {} has the fingerprint {found}, and this catalog's is {expected}; it was changed, or is of another release. Nothing was started",
                text("DocumentVersion")
            )));
        }
        match text("DocumentVersion") {
            "" => Err(never("has no version".to_owned())),
            version => Ok(version.to_owned()),
        }
    }

    /// Looks at the execution of a run, if it is with Systems Manager. One that has outlived its time,
    /// or that a pause stops, is cancelled.
    pub(crate) async fn follow(
        &self,
        plan: &Plan,
        phase: Phase,
        api: &dyn Api,
    ) -> Result<Followed, LedgerError> {
        let hub = self.hub;
        let state = self.state().await;
        let Some((_, run)) = under_way(&state) else {
            return Ok(Followed::Elsewhere);
        };
        let Some(automation) = Automation::of(plan, run).filter(|known| !known.is_read) else {
            return Ok(Followed::Elsewhere);
        };
        let Some(id) = automation.id() else {
            if !automation.may_be_sent_again() {
                return Ok(Followed::Elsewhere);
            }
            self.close_in_flight().await?;
            return Ok(match Box::pin(self.start(plan, phase, api)).await? {
                Ran::UnderWay => Followed::UnderWay,
                ran => Followed::Ended(ran),
            });
        };
        let look = Call::new(
            "ssm",
            "GetAutomationExecution",
            json!({"AutomationExecutionId": id}),
        );
        let execution = match api.call(&look).await {
            Ok(mut reply) => reply
                .output
                .get_mut("AutomationExecution")
                .map(Value::take)
                .unwrap_or_default(),
            Err(error) if is_full(error.kind, &error.code) => {
                tracing::warn!(id = %self.id, error = %error, "the execution cannot be looked at now");
                return Ok(Followed::UnderWay);
            }
            Err(error) => return Ok(Followed::Ended(Ran::Failed(chain(&error)))),
        };
        let text = |member: &str| execution.get(member).and_then(Value::as_str);
        let status = text("AutomationExecutionStatus").unwrap_or_default();
        let paused = hub.switch(&state.received).stops().await;
        if !is_final(status) {
            let now = hub.ports.clock.now();
            let overdue = run.at + hub.settings.executors.give_up_after <= now;
            let asked = automation
                .stop
                .is_some_and(|stop| stop.outcome == Some(StepOutcome::Ok));
            if (overdue || paused.is_some()) && !asked {
                let (_, place) = places(plan);
                let stop = json!({"AutomationExecutionId": id, "Type": "Cancel"});
                self.close_in_flight().await?;
                if let Err(error) = self
                    .send(phase, place, Call::new("ssm", STOP, stop), api)
                    .await?
                {
                    tracing::warn!(id = %self.id, error = %error, "the execution is not cancelled yet");
                }
            }
            return Ok(Followed::UnderWay);
        }
        let steps = match all_steps(&execution, id, api).await {
            Ok(steps) => steps,
            Err(error) => {
                tracing::warn!(id = %self.id, error = %error, "its steps cannot be read now");
                return Ok(Followed::UnderWay);
            }
        };
        self.close_in_flight().await?;
        self.write(carried_out(plan, phase, &steps)).await?;
        let stopped = automation.stop.is_some();
        if status == "Cancelled" && paused.is_none() && self.was_paused(phase, run).await {
            // Changes go on: what is left is carried out here.
            let state = self.state().await;
            self.let_arrive(under_way(&state).map(|(_, run)| run)).await;
            return Ok(Followed::Elsewhere);
        }
        Ok(Followed::Ended(match (status, paused) {
            ("Success", _) => Ran::Done,
            (_, Some(reason)) if stopped => Ran::Paused(reason),
            (status, _) => {
                let why = text("FailureMessage").or(stopped.then_some("it took too long"));
                let failed = steps.iter().find(|step| step.status() == "Failed");
                let at = failed.map_or(String::new(), |step| {
                    format!(", at step `{}`", step.text("StepName"))
                });
                Ran::Failed(format!(
                    "the execution `{id}` in Systems Manager ended as {status}{at}: {}",
                    why.unwrap_or("no reason is given")
                ))
            }
        }))
    }

    /// True if a pause had the execution of this run cancelled: before its time is over, nothing else does.
    async fn was_paused(&self, phase: Phase, run: &Run) -> bool {
        let overdue = run.at + self.hub.settings.executors.give_up_after;
        let (_, history) = self.history().await;
        history.iter().any(|(event, at)| {
            matches!(event, Event::StepStarted(step) if step.phase == phase && step.name == STOP)
                && *at < overdue
        })
    }
}

/// Why a document is not started.
enum NotStarted {
    /// AWS does not answer for now.
    Later(String),
    /// It must not be.
    Never(String),
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-statuses.html>
pub(crate) fn is_final(status: &str) -> bool {
    matches!(
        status,
        "Success"
            | "Failed"
            | "TimedOut"
            | "Cancelled"
            | "Rejected"
            | "CompletedWithSuccess"
            | "CompletedWithFailure"
            | "Exited"
    )
}

/// The token of an attempt: the same whoever makes it.
fn token(id: RemediationId, phase: Phase, attempt: u32) -> String {
    let name = format!("{phase:?}/{attempt}");
    Uuid::new_v5(id.as_uuid(), name.as_bytes()).to_string()
}

/// The parameters of the plan's document; none if AWS does not take them.
fn parameters(state: &State, plan: &Plan) -> Option<Map<String, Value>> {
    let mut parameters = Map::new();
    for (name, value) in &plan.parameters {
        if !value.is_null() {
            parameters.insert(name.clone(), json!(texts(value)));
        }
    }
    parameters.insert(
        "Approved".to_owned(),
        json!([json!(Approved::of(plan)).to_string()]),
    );
    if plan.stage == Stage::Undo {
        let before: Plan = serde_json::from_value(state.plan.as_ref()?.plan.clone()).ok()?;
        let mut outputs = state.run.as_ref().map(answers).unwrap_or_default();
        outputs.retain(|step, _| step != START && step != STOP);
        parameters.insert(BEFORE.to_owned(), json!(before.seen_before()));
        parameters.insert(
            "Outputs".to_owned(),
            json!([Value::Object(outputs).to_string()]),
        );
    }
    let fits = parameters.values().all(|texts| {
        let texts = texts.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_short = |text: &Value| {
            text.as_str()
                .is_some_and(|text| text.chars().count() <= MOST_TEXT)
        };
        texts.len() <= MOST_TEXTS && texts.iter().all(is_short)
    });
    fits.then_some(parameters)
}

/// A step of an execution, as AWS tells of it.
struct Told(Value);

impl Told {
    fn text(&self, member: &str) -> &str {
        self.0
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn status(&self) -> &str {
        self.text("StepStatus")
    }

    /// True if it has sent, or may have sent, the request of this step of a plan. A step that may
    /// leave inputs out is written once for each variant, with a number after its name; one that is
    /// made for each of several stands in a loop.
    fn sends(&self, name: &str) -> bool {
        let has_run = !matches!(self.status(), "" | "Pending");
        let may_send = matches!(
            self.text("Action"),
            "aws:executeAwsApi" | "aws:executeScript"
        );
        let round = self.0.get("ParentStepDetails").and_then(|around| {
            let (step, round) = (around.get("StepName")?.as_str()?, around.get("Iteration")?);
            Some(format!("{step}_{round}"))
        });
        let own = self.text("StepName");
        let is_named = match round {
            Some(round) => round == name,
            None => {
                own == name
                    || own.strip_prefix(name).is_some_and(|rest| {
                        let variant = rest.strip_prefix('_').unwrap_or_default();
                        !variant.is_empty() && variant.bytes().all(|byte| byte.is_ascii_digit())
                    })
            }
        };
        has_run && may_send && is_named
    }

    fn outcome(&self) -> StepOutcome {
        if self.status() == "Success" {
            return StepOutcome::Ok;
        }
        let message = self.text("FailureMessage");
        // boto3's words: "An error occurred (NoSuchBucket) when calling the …".
        let said = message
            .split_once("An error occurred (")
            .and_then(|(_, rest)| Some(rest.split_once(')')?.0));
        let detail = self
            .0
            .pointer("/FailureDetails/Details/Code/0")
            .and_then(Value::as_str);
        match detail.or(said).filter(|_| self.status() == "Failed") {
            Some(code) => StepOutcome::Failed {
                kind: if code.contains("AccessDenied") || code.contains("Unauthorized") {
                    CallErrorKind::Denied
                } else {
                    CallErrorKind::Rejected
                },
                code: code.to_owned(),
                message: message.to_owned(),
            },
            // It timed out, was cancelled, or did not say what AWS answered.
            None => StepOutcome::Failed {
                kind: CallErrorKind::Unanswered,
                code: String::new(),
                message: format!("{}: {message}", self.status()),
            },
        }
    }

    /// The id of its request: AWS shows a step's whole answer as the output `OutputPayload`.
    fn request_id(&self) -> Option<String> {
        let answer = self.0.pointer("/Outputs/OutputPayload/0")?.as_str()?;
        let answer: Value = serde_json::from_str(answer).ok()?;
        let id = answer.pointer("/ResponseMetadata/RequestId")?;
        id.as_str().map(str::to_owned)
    }

    /// What it answered of a plan's step, as values of their types.
    fn outputs(&self, wanted: &[stanch_catalog::Output]) -> Value {
        let of = |output: &stanch_catalog::Output| {
            let texts = self.0.get("Outputs")?.get(&output.name)?;
            let value = typed(texts, &output.kind)?;
            Some((output.name.clone(), value))
        };
        let outputs: Map<String, Value> = wanted.iter().filter_map(of).collect();
        Value::Object(outputs)
    }
}

/// The steps of an execution; AWS leaves some out of a long one's record.
async fn all_steps(execution: &Value, id: &str, api: &dyn Api) -> Result<Vec<Told>, CallError> {
    let of = |answer: &Value| -> Vec<Told> {
        let steps = answer.get("StepExecutions").and_then(Value::as_array);
        steps.into_iter().flatten().cloned().map(Told).collect()
    };
    if execution.get("StepExecutionsTruncated") != Some(&json!(true)) {
        return Ok(of(execution));
    }
    let mut steps = Vec::new();
    let mut next = Value::Null;
    loop {
        let mut params = json!({"AutomationExecutionId": id, "MaxResults": 50});
        if let (Some(params), false) = (params.as_object_mut(), next.is_null()) {
            params.insert("NextToken".to_owned(), next);
        }
        let call = Call::new("ssm", "DescribeAutomationStepExecutions", params);
        let page = api.call(&call).await?.output;
        steps.extend(of(&page));
        next = page.get("NextToken").cloned().unwrap_or_default();
        if next.is_null() {
            return Ok(steps);
        }
    }
}

/// The requests of `plan` that an execution has made, as the journal has them.
fn carried_out(plan: &Plan, phase: Phase, told: &[Told]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut answered = Map::new();
    for (index, step) in (0_u32..).zip(&plan.steps) {
        let PlannedAction::Call { call, outputs } = &step.action else {
            continue;
        };
        let Some(told) = told.iter().find(|told| told.sends(&step.name)) else {
            continue;
        };
        let call = Call {
            params: bind(&call.params, &answered),
            ..call.clone()
        };
        let outcome = told.outcome();
        let outputs = match outcome {
            StepOutcome::Ok => told.outputs(outputs),
            _ => Value::Null,
        };
        answered.insert(step.name.clone(), outputs.clone());
        events.push(Event::StepStarted(StepStarted {
            phase,
            index,
            name: step.name.clone(),
            call_hash: Digest::of(&call)
                .map(|hash| hash.to_string())
                .unwrap_or_default(),
            call,
        }));
        events.push(Event::StepFinished(StepFinished {
            phase,
            index,
            outcome,
            request_id: told.request_id(),
            outputs,
        }));
    }
    events
}
