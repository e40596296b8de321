//! One execution, from its first step to its end.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use stanch_types::CallErrorKind;

use super::{
    Answer, Context, DryRun, Inputs, Mode, Options, Outcome, Scope, StepTrace,
    condition::{Truth, evaluate},
    context::Log,
    fail, names,
};
use crate::{
    Action, ActionName, AutomationExecution, AutomationStatus, Branch, Document, Iteration, Loop,
    OnCancel, OnFailure, Output, ParentStepDetails, Ports, Reference, ScriptError, Selector, Sent,
    Setting, Signal, Step, StepError, StepExecution, Type, actions,
    parameters::convert,
    record::texts,
    reference::{Found, Lookup, Rendered, in_text, render},
};

/// How long the steps after a cancellation may take:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-actions.html>
const CANCELLATION: Duration = Duration::from_secs(120);

/// Rounds of a loop at most:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-loop.html>
const ROUNDS: u64 = 100;

/// Steps that a dry run follows, over all ways through undecided branches.
const DRY_STEPS: usize = 2_000;

/// Undecided branches within undecided branches that a dry run follows.
const DRY_FORKS: usize = 12;

pub(super) struct Run {
    ports: Ports,
    document: Arc<Document>,
    options: Options,
    /// Documents above this one.
    depth: usize,
    scope: Scope,
    record: Arc<Mutex<AutomationExecution>>,
    traces: Vec<StepTrace>,
    /// Steps begun; in the record they stand before those that are pending.
    begun: usize,
    /// The first failure of a critical step.
    failure: Option<(AutomationStatus, String)>,
    /// The moment (of the monotonic clock) by which everything under way must have ended.
    until: Option<Duration>,
    /// Cancellations are not listened to any more.
    cancelling: bool,
    dry: DryRun,
    /// Dry run: how the current step is reached through undecided branches.
    ways: Vec<String>,
    /// Dry run: a write was shown, so what is read from now on may be different in the real run.
    wrote: bool,
    /// Dry run: steps that may still be followed.
    budget: usize,
}

/// What comes after a step.
enum Next {
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

enum Target {
    Following,
    Step(String),
    End,
}

impl Target {
    fn of(step: &Step) -> Self {
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
enum Leave {
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
struct Ended {
    error: Option<StepError>,
    outputs: IndexMap<String, Found>,
    attempts: u64,
    /// Where the step itself decides.
    next: Option<Next>,
    exited: bool,
}

impl Ended {
    fn well() -> Self {
        Self {
            error: None,
            outputs: IndexMap::new(),
            attempts: 1,
            next: None,
            exited: false,
        }
    }

    fn badly(error: StepError) -> Self {
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

    fn record(&self) -> MutexGuard<'_, AutomationExecution> {
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

    fn walk<'a>(
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

    /// Dry run: follows every way that an undecided branch may go, to its end.
    async fn fork(
        &mut self,
        steps: &[Step],
        at: usize,
        ways: Vec<(String, Target)>,
        round: Option<&ParentStepDetails>,
    ) -> Leave {
        if self.ways.len() >= DRY_FORKS {
            let name = steps.get(at).map_or("", |step| &step.name);
            self.dry.doubt(
                name,
                "is not followed: too many undecided branches lead here",
            );
            return Leave::End;
        }
        let scope = self.scope.clone();
        let wrote = self.wrote;
        let mut wrote_any = wrote;
        let mut result = None;
        for (words, target) in ways {
            self.scope = scope.clone();
            self.wrote = wrote;
            self.ways.push(words);
            let leave = match target {
                Target::End => Leave::End,
                Target::Following => self.walk(steps, at + 1, round).await,
                Target::Step(name) => match steps.iter().position(|step| step.name == name) {
                    Some(target) => self.walk(steps, target, round).await,
                    None => Leave::Jump(name),
                },
            };
            self.ways.pop();
            wrote_any |= self.wrote;
            // Inside a loop the ways may part; the one that stays in the loop is followed on.
            if result.is_none() || matches!(leave, Leave::Done) {
                result = Some(leave);
            }
        }
        self.wrote = wrote_any;
        result.unwrap_or(Leave::Done)
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
                    error.chain()
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
        let message = format!("step `{}`: {}", step.name, error.chain());
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
                    .doubt(&step.name, format!("would fail: {}", error.chain()));
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

    fn branch(&mut self, step: &Step, branch: &Branch) -> Ended {
        let mut possible = Vec::new();
        let mut why = Vec::new();
        for choice in &branch.choices {
            match evaluate(&choice.condition, &self.scope) {
                Err(error) => return Ended::badly(error),
                Ok(Truth::Fails) => {}
                Ok(Truth::Holds) if possible.is_empty() => {
                    return Ended {
                        next: Some(Next::Step(choice.next_step.clone())),
                        ..Ended::well()
                    };
                }
                Ok(Truth::Holds) => {
                    possible.push(Target::Step(choice.next_step.clone()));
                    return self.undecided(step, possible, &why);
                }
                Ok(Truth::Unknown(references)) => {
                    for reference in references {
                        if !why.contains(&reference) {
                            why.push(reference);
                        }
                    }
                    possible.push(Target::Step(choice.next_step.clone()));
                }
            }
        }
        let otherwise = match &branch.default {
            Some(name) => Target::Step(name.clone()),
            None => Target::of(step),
        };
        if possible.is_empty() {
            return Ended {
                next: Some(otherwise.into()),
                ..Ended::well()
            };
        }
        possible.push(otherwise);
        self.undecided(step, possible, &why)
    }

    fn undecided(&mut self, step: &Step, possible: Vec<Target>, why: &[Reference]) -> Ended {
        let mut ways: Vec<(String, Target)> = Vec::new();
        for target in possible {
            let words = match &target {
                Target::Step(name) => format!("`{}` goes to `{name}`", step.name),
                Target::Following => format!("`{}` goes on", step.name),
                Target::End => format!("`{}` ends", step.name),
            };
            if ways.iter().all(|(other, _)| *other != words) {
                ways.push((words, target));
            }
        }
        let list: Vec<&str> = ways.iter().map(|(words, _)| words.as_str()).collect();
        self.dry.doubt(
            &step.name,
            format!("depends on {}: {}", names(why), list.join(" or ")),
        );
        Ended {
            next: Some(Next::Undecided(ways)),
            ..Ended::well()
        }
    }

    async fn repeat(&mut self, step: &Step, body: &Loop, id: &str) -> Ended {
        let outer = self.until;
        let limit = match self.setting(step.timeout_seconds.as_ref(), "timeoutSeconds") {
            Ok(seconds) => seconds.map(Duration::from_secs),
            Err(error) => return Ended::badly(error),
        };
        if let Some(limit) = limit {
            let mine = self.ports.clock.monotonic() + limit;
            self.until = Some(outer.map_or(mine, |outer| outer.min(mine)));
        }
        let ended = self.rounds(step, body, id, limit).await;
        self.until = outer;
        ended.unwrap_or_else(Ended::badly)
    }

    async fn rounds(
        &mut self,
        step: &Step,
        body: &Loop,
        id: &str,
        limit: Option<Duration>,
    ) -> Result<Ended, StepError> {
        let most = self
            .setting(body.max_iterations.as_ref(), "MaxIterations")?
            .unwrap_or(ROUNDS)
            .clamp(1, ROUNDS);
        let elements = match &body.iteration {
            Iteration::Each { iterators, kind } => Some(self.elements(step, iterators, *kind)?),
            Iteration::While(_) => None,
        };
        let mut round = 0;
        loop {
            let element = match &elements {
                Some(elements) => match elements.get(round) {
                    Some(element) => Some(element.clone()),
                    None => return Ok(Ended::well()),
                },
                None => None,
            };
            if round as u64 >= most {
                return Ok(Ended::well());
            }
            if self
                .until
                .is_some_and(|until| self.ports.clock.monotonic() >= until)
            {
                return Err(StepError::TimedOut(limit.unwrap_or(CANCELLATION)));
            }
            round += 1;
            let details = ParentStepDetails {
                step_execution_id: id.to_owned(),
                step_name: step.name.clone(),
                action: ActionName::Loop.to_string(),
                iteration: round,
                iterator_value: match &element {
                    Some(Found::Value(value)) => Some(in_text(value)),
                    _ => None,
                },
            };
            self.scope
                .set(&step.name, "CurrentIteration", Found::Value(round.into()));
            if let Some(element) = element {
                self.scope.set(&step.name, "CurrentIteratorValue", element);
            }
            match self.walk(&body.steps, 0, Some(&details)).await {
                Leave::Done => {}
                Leave::End => {
                    return Ok(Ended {
                        next: Some(Next::End),
                        exited: true,
                        ..Ended::well()
                    });
                }
                Leave::Jump(name) => {
                    return Ok(Ended {
                        next: Some(Next::Step(name)),
                        exited: true,
                        ..Ended::well()
                    });
                }
                Leave::Abort { .. }
                    if self
                        .until
                        .is_some_and(|until| self.ports.clock.monotonic() >= until) =>
                {
                    return Err(StepError::TimedOut(limit.unwrap_or(CANCELLATION)));
                }
                Leave::Abort { step, message } => {
                    let last = self.traces.last().and_then(|trace| trace.error.as_ref());
                    if let Some(error) = last.filter(|error| error.stops_everything()) {
                        return Err(error.clone());
                    }
                    // The message begins with the step's name already.
                    let message = message
                        .split_once("`: ")
                        .map_or(message.clone(), |(_, rest)| rest.to_owned());
                    return Err(StepError::Body {
                        step,
                        round,
                        message,
                    });
                }
                Leave::Cancelled(on_cancel) => {
                    return Ok(Ended {
                        next: Some(Next::Cancelled(on_cancel)),
                        ..Ended::badly(StepError::Cancelled)
                    });
                }
            }
            if let Iteration::While(condition) = &body.iteration {
                match evaluate(condition, &self.scope)? {
                    Truth::Holds => {}
                    Truth::Fails => return Ok(Ended::well()),
                    Truth::Unknown(references) => {
                        self.dry.doubt(
                            &step.name,
                            format!("more rounds depend on {}", names(&references)),
                        );
                        return Ok(Ended::well());
                    }
                }
            }
        }
    }

    /// What a loop goes over. Of a list that only the real run will tell, one unknown element.
    fn elements(
        &mut self,
        step: &Step,
        iterators: &Value,
        kind: Type,
    ) -> Result<Vec<Found>, StepError> {
        let rendered = render(iterators, &self.scope);
        if !rendered.unknown.is_empty() {
            self.dry.doubt(
                &step.name,
                format!(
                    "is repeated for each of {}; shown once",
                    names(&rendered.unknown)
                ),
            );
            return Ok(vec![Found::Unknown]);
        }
        let list = match &rendered.value {
            Value::Array(items) => items.clone(),
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => items,
                _ => return Err(StepError::Input("`Iterators` is not a list".to_owned())),
            },
            _ => return Err(StepError::Input("`Iterators` is not a list".to_owned())),
        };
        if list.len() as u64 > ROUNDS {
            return Err(StepError::Input(format!(
                "`Iterators` has {} elements; a loop takes {ROUNDS}",
                list.len()
            )));
        }
        list.iter()
            .map(|item| {
                convert(item, kind).map(Found::Value).ok_or_else(|| {
                    StepError::Input(format!(
                        "`Iterators` has {item}, which is not of type {kind}"
                    ))
                })
            })
            .collect()
    }

    /// Carries out an action, as often and as long as its step allows.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one step")]
    async fn act(
        &mut self,
        step: &Step,
        name: ActionName,
        inputs: Inputs,
        unset: &[Reference],
        unknown: &[Reference],
        log: &Mutex<Log>,
        place: usize,
    ) -> Ended {
        let (attempts, limit) = match self.limits(step, name) {
            Ok(limits) => limits,
            Err(error) => return Ended::badly(error),
        };
        let id = self.record().automation_execution_id.clone();
        let record = Arc::clone(&self.record);
        let show = move |status: AutomationStatus| {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.automation_execution_status = status;
            if let Some(shown) = record.step_executions.get_mut(place) {
                shown.step_status = status;
            }
        };
        let context = Context {
            ports: &self.ports,
            options: &self.options,
            depth: self.depth,
            execution: &id,
            step: &step.name,
            scope: &self.scope,
            unset,
            unknown,
            log,
            show: &show,
        };
        let mut tried = 0;
        let trying = async {
            loop {
                tried += 1;
                let action = pin!(actions::run(&context, name, &inputs));
                let result = match limit {
                    None => action.await,
                    Some(limit) => {
                        match select(action, pin!(self.ports.clock.sleep(limit))).await {
                            Either::Left((result, _)) => result,
                            Either::Right(_) => Err(StepError::TimedOut(limit)),
                        }
                    }
                };
                let failed = match &result {
                    Ok(answer) => answer.error.as_ref(),
                    Err(error) => Some(error),
                };
                match failed {
                    Some(error) if tried < attempts && worth_retrying(error) && !context.dry() => {
                        let pause = Duration::from_secs(1 << (tried - 1).min(3));
                        self.ports.clock.sleep(pause).await;
                    }
                    _ => return result,
                }
            }
        };
        let result = if name.listens() || self.cancelling {
            trying.await
        } else {
            let cancelled = async { while self.ports.signals.next(&id).await != Signal::Cancel {} };
            match select(pin!(trying), pin!(cancelled)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(StepError::Cancelled),
            }
        };
        self.record().automation_execution_status = AutomationStatus::InProgress;
        let mut answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                return Ended {
                    attempts: tried,
                    ..Ended::badly(error)
                };
            }
        };
        if let Some((variable, value)) = answer.assign.take() {
            self.scope.assign(&variable, value);
        }
        let error = answer.error.take();
        match outputs(step, name, answer) {
            Ok(outputs) => Ended {
                error,
                outputs,
                attempts: tried,
                ..Ended::well()
            },
            Err(wrong) => Ended {
                attempts: tried,
                ..Ended::badly(error.unwrap_or(wrong))
            },
        }
    }

    /// How often a step is tried, and how long each time.
    fn limits(&self, step: &Step, name: ActionName) -> Result<(u64, Option<Duration>), StepError> {
        let attempts = self
            .setting(step.max_attempts.as_ref(), "maxAttempts")?
            .unwrap_or(1)
            .max(1);
        let mut limit = self
            .setting(step.timeout_seconds.as_ref(), "timeoutSeconds")?
            .map(Duration::from_secs)
            .or_else(|| name.deadline());
        if let (Some(wanted), Some(longest)) = (limit, name.longest_deadline()) {
            limit = Some(wanted.min(longest));
        }
        if let Some(until) = self.until {
            let left = until.saturating_sub(self.ports.clock.monotonic());
            limit = Some(limit.map_or(left, |limit| limit.min(left)));
        }
        Ok((attempts, limit))
    }

    fn setting(&self, setting: Option<&Setting>, name: &str) -> Result<Option<u64>, StepError> {
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

/// Whether trying again could help.
fn worth_retrying(error: &StepError) -> bool {
    match error {
        StepError::Call(call) => {
            !matches!(call.kind, CallErrorKind::Invalid | CallErrorKind::Forbidden)
        }
        StepError::Input(_)
        | StepError::Unresolved { .. }
        | StepError::Rejected(_)
        | StepError::Cancelled
        | StepError::Stopped(_) => false,
        _ => true,
    }
}

fn unknown_outputs(step: &Step) -> IndexMap<String, Found> {
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

/// The outputs of a step: those that its action has, and those that it selects.
fn outputs(
    step: &Step,
    action: ActionName,
    answer: Answer,
) -> Result<IndexMap<String, Found>, StepError> {
    if answer.unknown {
        return Ok(unknown_outputs(step));
    }
    debug_assert!(
        answer
            .outputs
            .iter()
            .all(|(name, _)| action.outputs().iter().any(|(known, _)| known == name))
    );
    let mut outputs: IndexMap<String, Found> = answer
        .outputs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Found::Value(value)))
        .collect();
    for output in &step.outputs {
        let selector: Selector = output
            .selector
            .parse()
            .map_err(|error| StepError::Input(format!("output `{}`: {error}", output.name)))?;
        let selected = selector.select(&answer.response).or_else(|| {
            answer
                .payload
                .as_ref()
                .and_then(|payload| selector.select(payload))
        });
        if let Some(value) = selected {
            outputs.insert(output.name.clone(), Found::Value(typed(output, value)?));
        }
    }
    Ok(outputs)
}

/// A selected value as its declared type. Everything can be text.
fn typed(output: &Output, value: Value) -> Result<Value, StepError> {
    if output.kind.base() == Type::String {
        return Ok(Value::String(in_text(&value)));
    }
    convert(&value, output.kind).ok_or_else(|| StepError::Output {
        name: output.name.clone(),
        found: value.to_string(),
        kind: output.kind.to_string(),
    })
}
