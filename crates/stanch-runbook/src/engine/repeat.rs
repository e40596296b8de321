//! Loops.

use std::time::Duration;

use serde_json::Value;

use super::{
    condition::{Truth, evaluate},
    names,
    run::{CANCELLATION, Ended, Leave, Next, Run},
};
use crate::{
    ActionName, Iteration, Loop, ParentStepDetails, Step, StepError, Type,
    parameters::convert,
    reference::{Found, in_text, render},
};

/// Rounds of a loop at most:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-loop.html>
const ROUNDS: u64 = 100;

impl Run {
    pub(super) async fn repeat(&mut self, step: &Step, body: &Loop, id: &str) -> Ended {
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
}
