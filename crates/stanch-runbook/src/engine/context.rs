//! What an action sees of the execution.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};
use stanch_types::{Call, CallError, CallErrorKind, Reply};

use super::{DryRun, Mode, Options, PlannedCall, Scope, names};
use crate::{
    AutomationStatus, Ports, Reference, Sent, Signal, StepError, parse::truth,
    reference::has_braces,
};

/// Pauses between two looks at something that takes its time, the last one repeated. AWS documents
/// no interval.
const POLL: [u64; 5] = [1, 2, 4, 8, 15];

/// What an action sees of the execution.
pub(crate) struct Context<'r> {
    pub ports: &'r Ports,
    pub options: &'r Options,
    /// Documents above this one.
    pub depth: usize,
    pub execution: &'r str,
    pub step: &'r str,
    pub scope: &'r Scope,
    /// References in the inputs that have no value.
    pub unset: &'r [Reference],
    /// References in the inputs that only the real run will tell.
    pub unknown: &'r [Reference],
    pub log: &'r Mutex<Log>,
    pub show: &'r (dyn Fn(AutomationStatus) + Sync),
}

/// What a step did, kept even when its action is dropped at the deadline.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub sent: Vec<Sent>,
    pub dry: DryRun,
}

/// What came of an action that did not fail on the way.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What selectors look into.
    pub response: Value,
    /// Where selectors look if the response has nothing.
    pub payload: Option<Value>,
    /// Outputs that the step has without declaring them.
    pub outputs: Vec<(&'static str, Value)>,
    /// A variable's new value.
    pub assign: Option<(String, crate::reference::Found)>,
    /// The step failed all the same; its outputs are kept.
    pub error: Option<StepError>,
    /// Dry run: the outputs are not known.
    pub unknown: bool,
}

impl Answer {
    /// The answer of AWS.
    pub fn of(response: Value) -> Self {
        Self {
            response,
            ..Self::default()
        }
    }

    /// Dry run: only the real run will tell.
    pub fn unknown() -> Self {
        Self {
            unknown: true,
            ..Self::default()
        }
    }

    pub fn output(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.outputs.push((name, value));
        }
        self
    }

    pub fn failing(mut self, error: Option<StepError>) -> Self {
        self.error = error;
        self
    }
}

/// What a look at something that takes its time says.
pub(crate) enum Verdict {
    Done,
    Again,
    Failed(StepError),
}

impl Context<'_> {
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn dry(&self) -> bool {
        self.options.mode == Mode::DryRun
    }

    pub fn doubt(&self, reason: impl Into<String>) {
        self.log().dry.doubt(self.step, reason);
    }

    /// Makes a call; none is returned if this is a dry run and the call is a write, or a read of
    /// something not known yet.
    pub async fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Option<Value>, StepError> {
        match self.admit(Call::new(service, operation, params))? {
            Some(call) => Ok(Some(self.send(&call).await?)),
            None => Ok(None),
        }
    }

    /// Repeats a call until `judge` is content.
    pub async fn poll(
        &self,
        service: &str,
        operation: &str,
        params: Value,
        judge: impl Fn(&Result<Value, CallError>) -> Verdict + Send + Sync,
    ) -> Result<Option<Value>, StepError> {
        let Some(call) = self.admit(Call::new(service, operation, params))? else {
            return Ok(None);
        };
        let mut pauses = POLL.iter().copied().chain(std::iter::repeat(15));
        loop {
            let result = self.send(&call).await;
            match judge(&result) {
                Verdict::Done => return Ok(Some(result?)),
                Verdict::Failed(error) => return Err(error),
                Verdict::Again if self.dry() => {
                    self.doubt("is waited for in the real run, and is not so yet");
                    return Ok(None);
                }
                Verdict::Again => {
                    let seconds = pauses.next().unwrap_or(15);
                    self.ports.clock.sleep(Duration::from_secs(seconds)).await;
                }
            }
        }
    }

    /// The call if it is to be sent; none if it is only shown.
    fn admit(&self, call: Call) -> Result<Option<Call>, StepError> {
        let call = self.ports.operations.canonical(call);
        let read = self.ports.operations.is_read(&call);
        let only_unknown = self.dry() && self.unset.is_empty() && !self.unknown.is_empty();
        if !read && !self.options.send_braces && !only_unknown && has_braces(&call.params) {
            return Err(StepError::Unresolved {
                call: call.to_string(),
                references: self.unset.to_vec(),
            });
        }
        if !self.dry() || (read && self.unknown.is_empty()) {
            return Ok(Some(call));
        }
        if read {
            self.doubt(format!(
                "`{call}` reads what only the real run will tell: {}",
                names(self.unknown)
            ));
        } else {
            let call = PlannedCall {
                step: self.step.to_owned(),
                call,
                unknown: self
                    .unknown
                    .iter()
                    .map(|r| format!("{{{{ {r} }}}}"))
                    .collect(),
                when: Vec::new(),
            };
            self.log().dry.calls.push(call);
        }
        Ok(None)
    }

    async fn send(&self, call: &Call) -> Result<Value, CallError> {
        let begun = self.ports.clock.monotonic();
        // If the step's deadline drops this future, nobody knows what became of the call.
        let lost = CallError::new(
            CallErrorKind::Unanswered,
            call,
            "no answer before the step's deadline",
        );
        let place = {
            let mut log = self.log();
            log.sent.push(Sent {
                call: call.clone(),
                result: Err(lost),
                took: Duration::ZERO,
            });
            log.sent.len() - 1
        };
        let result = self.ports.api.call(call).await;
        let took = self.ports.clock.monotonic().saturating_sub(begun);
        if let Some(sent) = self.log().sent.get_mut(place) {
            sent.took = took;
            sent.result = match &result {
                Ok(reply) => Ok(reply.request_id.clone()),
                Err(error) => Err(error.clone()),
            };
        }
        result.map(answered)
    }

    /// Waits for a signal, and shows that it does.
    pub async fn signal(&self) -> Result<Signal, StepError> {
        (self.show)(AutomationStatus::Waiting);
        match self.ports.signals.next(self.execution).await {
            Signal::Cancel => Err(StepError::Cancelled),
            signal => Ok(signal),
        }
    }
}

/// The answer as boto3 gives it, which documents select from: with metadata, even if empty.
fn answered(reply: Reply) -> Value {
    let mut members = match reply.output {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let metadata = json!({ "RequestId": reply.request_id, "HTTPStatusCode": 200 });
    members.entry("ResponseMetadata").or_insert(metadata);
    Value::Object(members)
}

/// The inputs of a step, references replaced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs(pub Map<String, Value>);

impl Inputs {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn value(&self, name: &str) -> Result<&Value, StepError> {
        self.get(name)
            .ok_or_else(|| StepError::Input(format!("input `{name}` is missing")))
    }

    pub fn maybe_text(&self, name: &str) -> Result<Option<String>, StepError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(StepError::Input(format!("input `{name}` is not text"))),
        }
    }

    pub fn text(&self, name: &str) -> Result<String, StepError> {
        self.maybe_text(name)?
            .ok_or_else(|| StepError::Input(format!("input `{name}` is missing")))
    }

    /// A list of texts; a text alone is a list of one.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, StepError> {
        let wrong = || StepError::Input(format!("input `{name}` is not a list of texts"));
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    pub fn boolean(&self, name: &str) -> Result<bool, StepError> {
        let truth = match self.get(name) {
            None => return Ok(false),
            Some(Value::Bool(value)) => Some(*value),
            Some(Value::String(text)) => truth(text),
            Some(_) => None,
        };
        truth.ok_or_else(|| StepError::Input(format!("input `{name}` is neither true nor false")))
    }

    pub fn integer(&self, name: &str) -> Result<Option<u64>, StepError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        number
            .map(Some)
            .ok_or_else(|| StepError::Input(format!("input `{name}` is not a whole number")))
    }

    /// The inputs of these names, renamed; those that are not given are left out.
    pub fn pick(&self, names: &[(&str, &str)]) -> Map<String, Value> {
        names
            .iter()
            .filter_map(|(input, param)| Some(((*param).to_owned(), self.get(input)?.clone())))
            .collect()
    }

    /// Everything but the inputs of these names.
    pub fn without(&self, names: &[&str]) -> Value {
        self.0
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>()
            .into()
    }
}
