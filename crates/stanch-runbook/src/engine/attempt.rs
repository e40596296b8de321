//! One step's action: attempts, deadlines, cancellation, outputs.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use indexmap::IndexMap;
use serde_json::Value;
use stanch_types::CallErrorKind;

use super::{
    Answer, Context, Inputs,
    context::Log,
    run::{Ended, Run, unknown_outputs},
};
use crate::{
    ActionName, AutomationStatus, Output, Reference, Selector, Signal, Step, StepError, Type,
    actions,
    parameters::convert,
    reference::{Found, in_text},
};

impl Run {
    /// Carries out an action, as often and as long as its step allows.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one step")]
    pub(super) async fn act(
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
        let selected = match (output.of(&answer.response)?, &answer.payload) {
            (None, Some(payload)) => output.of(payload)?,
            (selected, _) => selected,
        };
        if let Some(value) = selected {
            outputs.insert(output.name.clone(), Found::Value(value));
        }
    }
    Ok(outputs)
}

impl Output {
    /// The value in an answer, as the declared type; `None` where the answer has nothing there.
    /// Everything can be text.
    ///
    /// # Errors
    /// The selector cannot be read, or the value is not of the type.
    pub fn of(&self, answer: &Value) -> Result<Option<Value>, StepError> {
        let selector: Selector = self
            .selector
            .parse()
            .map_err(|error| StepError::Input(format!("output `{}`: {error}", self.name)))?;
        let Some(value) = selector.select(answer) else {
            return Ok(None);
        };
        if self.kind.base() == Type::String {
            return Ok(Some(Value::String(in_text(&value))));
        }
        let converted = convert(&value, self.kind).ok_or_else(|| StepError::Output {
            name: self.name.clone(),
            found: value.to_string(),
            kind: self.kind.to_string(),
        })?;
        Ok(Some(converted))
    }
}
