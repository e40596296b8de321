//! One execution, from its first step to its end.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use stanch_types::chain;

use super::{DryRun, Inputs, Mode, Options, Outcome, Scope, StepTrace, context::Log, fail};
use crate::{
    Action, ActionName, AutomationExecution, AutomationStatus, Document, OnCancel, OnFailure,
    ParentStepDetails, Ports, Reference, ScriptError, Sent, Setting, Step, StepError,
    StepExecution, Type,
    parameters::convert,
    record::texts,
    reference::{Found, Lookup, Rendered, render},
};

/// How long the steps after a cancellation may take:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-actions.html>
pub(super) const CANCELLATION: Duration = Duration::from_secs(120);

/// Steps that a dry run follows, over all ways through undecided branches.
const DRY_STEPS: usize = 2_000;

pub(super) struct Run {
    pub(super) ports: Ports,
    pub(super) document: Arc<Document>,
    pub(super) options: Options,
    /// Documents above this one.
    pub(super) depth: usize,
    pub(super) scope: Scope,
    pub(super) record: Arc<Mutex<AutomationExecution>>,
    pub(super) traces: Vec<StepTrace>,
    /// Steps begun; in the record they stand before those that are pending.
    pub(super) begun: usize,
    /// The first failure of a critical step.
    pub(super) failure: Option<(AutomationStatus, String)>,
    /// The moment (of the monotonic clock) by which everything under way must have ended.
    pub(super) until: Option<Duration>,
    /// Cancellations are not listened to any more.
    pub(super) cancelling: bool,
    pub(super) dry: DryRun,
    /// Dry run: how the current step is reached through undecided branches.
    pub(super) ways: Vec<String>,
    /// Dry run: a write was shown, so what is read from now on may be different in the real run.
    pub(super) wrote: bool,
    /// Dry run: steps that may still be followed.
    pub(super) budget: usize,
}

/// What comes after a step.
pub(super) enum Next {
    Following,
    Step(String),
    End,
    Abort {
        step: String,
        message: String,
    },
    Cancelled(Option<OnCancel>),
    /// Dry run: one of these, each with the reason in words.
    Undecided(Vec<(String, Target)>),
}

pub(super) enum Target {
    Following,
    Step(String),
    End,
}

impl Target {
    pub(super) fn of(step: &Step) -> Self {
        match &step.next_step {
            _ if step.is_end => Self::End,
            Some(name) => Self::Step(name.clone()),
            None => Self::Following,
        }
    }
}

impl From<Target> for Next {
    fn from(target: Target) -> Self {
        match target {
            Target::Following => Self::Following,
            Target::Step(name) => Self::Step(name),
            Target::End => Self::End,
        }
    }
}

/// How a list of steps was left.
pub(super) enum Leave {
    /// Past its last step.
    Done,
    /// By a step that `isEnd`.
    End,
    /// To a step that is not in the list.
    Jump(String),
    Abort {
        step: String,
        message: String,
    },
    Cancelled(Option<OnCancel>),
}

/// What a step came to, before what comes next is known.
pub(super) struct Ended {
    pub(super) error: Option<StepError>,
    pub(super) outputs: IndexMap<String, Found>,
    pub(super) attempts: u64,
    /// Where the step itself decides.
    pub(super) next: Option<Next>,
    pub(super) exited: bool,
}

impl Ended {
    pub(super) fn well() -> Self {
        Self {
            error: None,
            outputs: IndexMap::new(),
            attempts: 1,
            next: None,
            exited: false,
        }
    }

    pub(super) fn badly(error: StepError) -> Self {
        Self {
            error: Some(error),
            ..Self::well()
        }
    }
}

/// The record of a step that has not begun.
pub(super) fn pending(step: &Step) -> StepExecution {
    StepExecution {
        step_name: step.name.clone(),
        action: step.action.name().to_string(),
        timeout_seconds: match step.timeout_seconds {
            Some(Setting::Literal(seconds)) => Some(seconds),
            _ => None,
        },
        on_failure: step.on_failure.clone().unwrap_or_default().to_string(),
        max_attempts: match step.max_attempts {
            Some(Setting::Literal(attempts)) => attempts,
            _ => 1,
        },
        is_end: step.is_end,
        next_step: step.next_step.clone(),
        is_critical: step.critical(),
        valid_next_steps: match &step.action {
            Action::Branch(branch) => branch
                .choices
                .iter()
                .map(|choice| choice.next_step.clone())
                .chain(branch.default.clone())
                .collect(),
            _ => step.next_step.iter().cloned().collect(),
        },
        ..StepExecution::default()
    }
}

impl Run {
    pub fn new(
        ports: Ports,
        document: Arc<Document>,
        options: Options,
        depth: usize,
        scope: Scope,
        record: Arc<Mutex<AutomationExecution>>,
    ) -> Self {
        Self {
            ports,
            document,
            options,
            depth,
            scope,
            record,
            traces: Vec::new(),
            begun: 0,
            failure: None,
            until: None,
            cancelling: false,
            dry: DryRun::default(),
            ways: Vec::new(),
            wrote: false,
            budget: DRY_STEPS,
        }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, AutomationExecution> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dry(&self) -> bool {
        self.options.mode == Mode::DryRun
    }

    pub async fn drive(mut self) -> Outcome {
        {
            let mut record = self.record();
            record.execution_start_time = Some(self.ports.clock.now());
            record.automation_execution_status = AutomationStatus::InProgress;
        }
        let document = Arc::clone(&self.document);
        let status = match self.walk(&document.steps, 0, None).await {
            Leave::Cancelled(on_cancel) => {
                self.cancel(&document.steps, on_cancel).await;
                AutomationStatus::Cancelled
            }
            Leave::Jump(name) => {
                let message = format!("step `{name}` does not exist");
                self.failure
                    .get_or_insert((AutomationStatus::Failed, message))
                    .0
            }
            Leave::Done | Leave::End | Leave::Abort { .. } => self
                .failure
                .as_ref()
                .map_or(AutomationStatus::Success, |(status, _)| *status),
        };
        let mut outputs = IndexMap::new();
        for name in &document.outputs {
            if let Some(reference @ Reference::Output { .. }) = Reference::parse(name)
                && let Found::Value(value) = self.scope.find(&reference)
            {
                outputs.insert(reference.to_string(), value);
            }
        }
        let record = {
            let mut record = self.record();
            record.automation_execution_status = status;
            record.execution_end_time = Some(self.ports.clock.now());
            record.current_step_name = None;
            record.current_action = None;
            record.failure_message = self.failure.as_ref().map(|(_, message)| message.clone());
            record.outputs = outputs
                .iter()
                .map(|(name, value)| (name.clone(), texts(value)))
                .collect();
            record.variables = self
                .scope
                .variables()
                .filter_map(|(name, value)| match value {
                    Found::Value(value) => Some((name.clone(), texts(value))),
                    _ => None,
                })
                .collect();
            record.clone()
        };
        let dry_run = self.is_dry().then_some(self.dry);
        Outcome {
            record,
            outputs,
            steps: self.traces,
            dry_run,
        }
    }

    /// The steps that a cancelled step names run for a while, uncancellable.
    async fn cancel(&mut self, steps: &[Step], on_cancel: Option<OnCancel>) {
        self.record().automation_execution_status = AutomationStatus::Cancelling;
        if let Some(OnCancel::Step(name)) = on_cancel
            && let Some(at) = steps.iter().position(|step| step.name == name)
        {
            self.cancelling = true;
            self.until = Some(self.ports.clock.monotonic() + CANCELLATION);
            self.walk(steps, at, None).await;
        }
    }

    pub(super) fn walk<'a>(
        &'a mut self,
        steps: &'a [Step],
        start: usize,
        round: Option<&'a ParentStepDetails>,
    ) -> BoxFuture<'a, Leave> {
        async move {
            let mut seen = HashSet::new();
            let mut at = start;
            loop {
                let Some(step) = steps.get(at) else {
                    return Leave::Done;
                };
                if !seen.insert(at) {
                    let message =
                        format!("the steps go in a circle: `{}` would run again", step.name);
                    self.failure
                        .get_or_insert((AutomationStatus::Failed, message.clone()));
                    return Leave::Abort {
                        step: step.name.clone(),
                        message,
                    };
                }
                let next = match self.step(step, round).await {
                    Next::Undecided(ways) => return self.fork(steps, at, ways, round).await,
                    next => next,
                };
                match next {
                    Next::Following => at += 1,
                    Next::Step(name) => match steps.iter().position(|step| step.name == name) {
                        Some(target) => at = target,
                        None => return Leave::Jump(name),
                    },
                    Next::Abort { step, message } => return Leave::Abort { step, message },
                    Next::Cancelled(on_cancel) => return Leave::Cancelled(on_cancel),
                    Next::End | Next::Undecided(_) => return Leave::End,
                }
            }
        }
        .boxed()
    }

    async fn step(&mut self, step: &Step, round: Option<&ParentStepDetails>) -> Next {
        if self.is_dry() {
            if self.budget == 0 {
                self.dry.doubt(
                    &step.name,
                    "is not followed: the dry run has become too long",
                );
                return Next::End;
            }
            self.budget -= 1;
        }
        self.scope.at(self.ports.clock.now());
        let inputs = match &step.action {
            Action::Run { name, inputs } => self.resolve(*name, inputs),
            _ => Rendered::default(),
        };
        let resolved = match &inputs.value {
            Value::Object(inputs) => inputs.clone(),
            _ => Map::new(),
        };
        let mut execution = StepExecution {
            step_execution_id: self.ports.ids.next(),
            execution_start_time: Some(self.ports.clock.now()),
            step_status: AutomationStatus::InProgress,
            inputs: resolved
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            parent_step_details: round.cloned(),
            ..pending(step)
        };
        let place = self.begin(&execution);
        let id = self.record().automation_execution_id.clone();

        let log = Mutex::new(Log::default());
        let observer = Arc::clone(&self.ports.observer);
        let mut ended = match observer.started(&id, &execution).await {
            Err(reason) => Ended::badly(StepError::Stopped(reason)),
            Ok(()) => match &step.action {
                Action::Branch(branch) => self.branch(step, branch),
                Action::Loop(body) => self.repeat(step, body, &execution.step_execution_id).await,
                Action::Run { name, .. } => {
                    self.act(
                        step,
                        *name,
                        Inputs(resolved),
                        &inputs.unset,
                        &inputs.unknown,
                        &log,
                        place,
                    )
                    .await
                }
            },
        };
        let log = log.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.absorb(log.dry, round.is_some());
        // After a write that was only shown, a read that fails says nothing about the real run.
        if self.is_dry()
            && self.wrote
            && let Some(error) = ended.error.take_if(|e| {
                matches!(
                    e,
                    StepError::Call(_) | StepError::Assertion { .. } | StepError::State(_)
                )
            })
        {
            self.dry.doubt(
                &step.name,
                format!(
                    "now: {}; the real run may see it differently after its writes",
                    chain(&error)
                ),
            );
            ended.outputs = unknown_outputs(step);
        }

        let status = match &ended.error {
            None if ended.exited => AutomationStatus::Exited,
            None => AutomationStatus::Success,
            Some(StepError::TimedOut(_)) => AutomationStatus::TimedOut,
            Some(StepError::Cancelled) => AutomationStatus::Cancelled,
            Some(_) => AutomationStatus::Failed,
        };
        execution.step_status = status;
        execution.execution_end_time = Some(self.ports.clock.now());
        if let Some(error) = &ended.error {
            fail(&mut execution, error);
            if let StepError::Script(ScriptError::Raised { output, .. }) = error {
                execution.response = Some(output.clone());
            }
        }
        for (name, value) in &ended.outputs {
            if let Found::Value(value) = value {
                execution.outputs.insert(name.clone(), texts(value));
            }
            self.scope.set(&step.name, name, value.clone());
        }
        self.show(place, &execution);
        let stopped = observer.finished(&id, &execution, &log.sent).await.err();
        if let Some(reason) = stopped
            && ended.error.is_none()
        {
            let error = StepError::Stopped(reason);
            fail(&mut execution, &error);
            execution.step_status = AutomationStatus::Failed;
            self.show(place, &execution);
            ended.error = Some(error);
        }
        self.finish(step, ended, execution.step_status, log.sent)
    }

    /// Replaces the references in the inputs of an action. Scripts are left alone: values in the
    /// middle of code would become code.
    fn resolve(&self, name: ActionName, inputs: &Map<String, Value>) -> Rendered {
        let mut inputs = inputs.clone();
        let script = match name {
            ActionName::ExecuteScript => inputs.remove("Script"),
            _ => None,
        };
        let mut rendered = render(&Value::Object(inputs), &self.scope);
        if let (Value::Object(inputs), Some(script)) = (&mut rendered.value, script) {
            inputs.insert("Script".to_owned(), script);
        }
        rendered
    }

    /// Keeps the trace of a step and says what comes next.
    fn finish(
        &mut self,
        step: &Step,
        ended: Ended,
        status: AutomationStatus,
        sent: Vec<Sent>,
    ) -> Next {
        self.traces.push(StepTrace {
            name: step.name.clone(),
            status,
            outputs: ended
                .outputs
                .into_iter()
                .filter_map(|(name, value)| match value {
                    Found::Value(value) => Some((name, value)),
                    _ => None,
                })
                .collect(),
            sent,
            attempts: ended.attempts,
            error: ended.error.clone(),
        });
        let Some(error) = ended.error else {
            return ended.next.unwrap_or_else(|| Target::of(step).into());
        };
        let message = format!("step `{}`: {}", step.name, chain(&error));
        if error == StepError::Cancelled {
            return match ended.next {
                Some(next) => next,
                None => Next::Cancelled(step.on_cancel.clone()),
            };
        }
        let overruled = error.stops_everything();
        if step.critical() || overruled {
            if self.ways.is_empty() {
                self.failure.get_or_insert((status, message.clone()));
            } else {
                self.dry
                    .doubt(&step.name, format!("would fail: {}", chain(&error)));
            }
        }
        match step.on_failure.clone().unwrap_or_default() {
            _ if overruled => Next::Abort {
                step: step.name.clone(),
                message,
            },
            OnFailure::Step(name) => Next::Step(name),
            OnFailure::Continue => Target::of(step).into(),
            OnFailure::Abort => Next::Abort {
                step: step.name.clone(),
                message,
            },
        }
    }

    /// Puts a step into the record, before those that have not begun.
    fn begin(&mut self, execution: &StepExecution) -> usize {
        let place = self.begun;
        self.begun += 1;
        let mut record = self.record();
        record.current_step_name = Some(execution.step_name.clone());
        record.current_action = Some(execution.action.clone());
        if let Some(waiting) = record
            .step_executions
            .iter()
            .skip(place)
            .position(|other| other.step_name == execution.step_name)
        {
            record.step_executions.remove(place + waiting);
        }
        let place = place.min(record.step_executions.len());
        record.step_executions.insert(place, execution.clone());
        place
    }

    fn show(&self, place: usize, execution: &StepExecution) {
        if let Some(shown) = self.record().step_executions.get_mut(place) {
            *shown = execution.clone();
        }
    }

    /// Takes over what a step's dry run showed.
    fn absorb(&mut self, dry: DryRun, repeated: bool) {
        for mut call in dry.calls {
            if !self.ways.is_empty() {
                let here = self.ways.join(", ");
                call.when = if call.when.is_empty() {
                    vec![here]
                } else {
                    call.when
                        .iter()
                        .map(|way| format!("{here}, {way}"))
                        .collect()
                };
            }
            self.wrote = true;
            self.dry.plan(call, repeated);
        }
        for doubt in dry.doubts {
            self.dry.doubt(&doubt.step, doubt.reason);
        }
    }

    pub(super) fn setting(
        &self,
        setting: Option<&Setting>,
        name: &str,
    ) -> Result<Option<u64>, StepError> {
        match setting {
            None => Ok(None),
            Some(Setting::Literal(number)) => Ok(Some(*number)),
            Some(Setting::Reference(text)) => {
                let value = render(&Value::String(text.clone()), &self.scope).value;
                let number = convert(&value, Type::Integer).and_then(|number| number.as_u64());
                number.map(Some).ok_or_else(|| {
                    StepError::Input(format!("`{name}` is {value}, which is not a whole number"))
                })
            }
        }
    }
}

pub(super) fn unknown_outputs(step: &Step) -> IndexMap<String, Found> {
    let named = step
        .action
        .name()
        .outputs()
        .iter()
        .map(|(name, _)| (*name).to_owned());
    named
        .chain(step.outputs.iter().map(|o| o.name.clone()))
        .map(|name| (name, Found::Unknown))
        .collect()
}
