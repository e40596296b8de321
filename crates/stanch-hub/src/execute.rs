//! Running a plan: the engine works through it, and the gate lets nothing else out.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{Plan, PlannedAction};
use stanch_ledger::{Digest, Event, Phase, StepFinished, StepOutcome, StepStarted};
use stanch_runbook::{AutomationStatus, Document, Engine, Operations, Options, Output};
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply, chain};
use tokio::sync::Mutex;

use crate::{Ports, journal::Journal, switch::Switch};

/// The only way for a write to AWS.
///
/// It holds a plan's requests in order. A write that is not the next of them is refused; one that is,
/// is journalled before it is sent and after it was answered. Reads pass.
struct Gate {
    api: Arc<dyn Api>,
    operations: Arc<dyn Operations>,
    journal: Arc<Mutex<Journal>>,
    switch: Switch,
    /// Why the switch held a request back.
    stopped: Arc<OnceLock<String>>,
    phase: Phase,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The requests still to be sent, the next one last.
    remaining: Vec<Request>,
    /// What was answered so far: `{step: {Output: value}}`.
    outputs: Map<String, Value>,
}

struct Request {
    index: u32,
    name: String,
    call: Call,
    outputs: Vec<Output>,
}

/// A run of a plan, or of what is left of it after a crash.
pub(crate) struct Running<'r> {
    pub plan: &'r Plan,
    /// Steps that were carried out before.
    pub skip: &'r [u32],
    /// What those answered: `{step: {Output: value}}`.
    pub outputs: Map<String, Value>,
    pub phase: Phase,
    pub api: Arc<dyn Api>,
    pub operations: Arc<dyn Operations>,
    pub journal: Arc<Mutex<Journal>>,
    pub switch: Switch,
}

/// What a run came to.
pub(crate) enum Ran {
    /// Every request was carried out.
    Done,
    /// One was not; with the causes.
    Failed(String),
    /// Changes were paused before the next one.
    Paused(String),
}

impl Running<'_> {
    /// Lets the engine work through the plan behind a gate.
    pub(crate) async fn run(self, ports: &Ports) -> Ran {
        let stopped = Arc::new(OnceLock::new());
        match (self.work(ports, Arc::clone(&stopped)).await, stopped.get()) {
            (_, Some(reason)) => Ran::Paused(reason.clone()),
            (Ok(()), None) => Ran::Done,
            (Err(error), None) => Ran::Failed(error),
        }
    }

    async fn work(self, ports: &Ports, stopped: Arc<OnceLock<String>>) -> Result<(), String> {
        let mut rest = self.plan.clone();
        let steps = (0_u32..)
            .zip(rest.steps)
            .filter(|(index, _)| !self.skip.contains(index));
        rest.steps = steps.map(|(_, step)| step).collect();
        for step in &mut rest.steps {
            if let PlannedAction::Call { call, .. } | PlannedAction::Wait { call, .. } =
                &mut step.action
            {
                call.params = bind(&call.params, &self.outputs);
            }
        }
        if rest.steps.is_empty() {
            return Ok(());
        }
        let document = rest.document().map_err(|error| chain(&error))?;
        let gate = Gate::new(&self, &document, stopped);
        let engine = Engine::new(stanch_runbook::Ports::new(
            Arc::new(gate),
            Arc::clone(&ports.clock),
            Arc::clone(&self.operations),
            Arc::clone(&ports.ids),
        ));
        let mut options = Options::default();
        options.document_name.clone_from(&self.plan.remediation);
        options.account = Some(self.plan.account.clone());
        options.region = Some(self.plan.region.clone());
        let outcome = engine
            .run(Arc::new(document), &Map::new(), options)
            .await
            .map_err(|error| chain(&error))?;
        if outcome.status() == AutomationStatus::Success {
            return Ok(());
        }
        let failed = outcome
            .steps
            .iter()
            .rev()
            .find_map(|step| Some((&step.name, step.error.as_ref()?)));
        Err(match failed {
            Some((step, error)) => format!("step `{step}`: {}", chain(error)),
            None => format!("the run ended as {:?}", outcome.status()),
        })
    }
}

impl Gate {
    /// `document` is what of the plan is still to be done.
    fn new(running: &Running<'_>, document: &Document, stopped: Arc<OnceLock<String>>) -> Self {
        let mut remaining = Vec::new();
        for (index, step) in (0_u32..).zip(&running.plan.steps) {
            let PlannedAction::Call { call, .. } = &step.action else {
                continue;
            };
            let Some(lowered) = document.steps.iter().find(|one| one.name == step.name) else {
                continue;
            };
            remaining.push(Request {
                index,
                name: step.name.clone(),
                call: call.clone(),
                outputs: lowered.outputs.clone(),
            });
        }
        remaining.reverse();
        Self {
            api: Arc::clone(&running.api),
            operations: Arc::clone(&running.operations),
            journal: Arc::clone(&running.journal),
            switch: running.switch.clone(),
            stopped,
            phase: running.phase,
            progress: Mutex::new(Progress {
                remaining,
                outputs: running.outputs.clone(),
            }),
        }
    }

    async fn write(&self, call: &Call) -> Result<Reply, CallError> {
        let forbidden = |why: String| CallError::new(CallErrorKind::Forbidden, call, why);
        let mut progress = self.progress.lock().await;
        let Some(next) = progress.remaining.last() else {
            return Err(forbidden(
                "not sent: the plan has no further request".to_owned(),
            ));
        };
        let expected = Call {
            params: bind(&next.call.params, &progress.outputs),
            ..next.call.clone()
        };
        if self.operations.canonical(expected) != *call {
            return Err(forbidden(format!(
                "not sent: the plan's next request is `{}`",
                next.call
            )));
        }
        if let Some(reason) = self.switch.stops().await {
            let reason = self.stopped.get_or_init(|| reason);
            return Err(forbidden(format!("not sent: {reason}")));
        }
        let started = Event::StepStarted(StepStarted {
            phase: self.phase,
            index: next.index,
            name: next.name.clone(),
            call: call.clone(),
            call_hash: Digest::of(call)
                .map_err(|e| forbidden(e.to_string()))?
                .to_string(),
        });
        self.journal
            .lock()
            .await
            .write([started])
            .await
            .map_err(|error| {
                forbidden(format!("not sent: it could not be recorded first: {error}"))
            })?;

        let answer = self.api.call(call).await;

        let Some(sent) = progress.remaining.pop() else {
            return answer;
        };
        let (outcome, request_id, outputs) = match &answer {
            Ok(reply) => {
                let outputs: Map<String, Value> = sent
                    .outputs
                    .iter()
                    // The engine fails the step where an answer is not what was declared.
                    .filter_map(|output| {
                        Some((output.name.clone(), output.of(&reply.output).ok()??))
                    })
                    .collect();
                (
                    StepOutcome::Ok,
                    reply.request_id.clone(),
                    Value::Object(outputs),
                )
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
        progress.outputs.insert(sent.name, outputs.clone());
        let finished = Event::StepFinished(StepFinished {
            phase: self.phase,
            index: sent.index,
            outcome,
            request_id,
            outputs,
        });
        // If this cannot be stored the request stays in flight, and recovery looks at the resource.
        if let Err(error) = self.journal.lock().await.write([finished]).await {
            progress.remaining.clear();
            return Err(forbidden(format!(
                "sent, but its answer could not be recorded: {error}"
            )));
        }
        answer
    }
}

#[async_trait]
impl Api for Gate {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let call = self.operations.canonical(call.clone());
        if self.operations.is_read(&call) {
            self.api.call(&call).await
        } else {
            self.write(&call).await
        }
    }
}

/// `params` with every `{{ step.Output }}` that has been answered replaced by its value.
fn bind(params: &Value, outputs: &Map<String, Value>) -> Value {
    match params {
        Value::String(text) => answered(text, outputs)
            .cloned()
            .unwrap_or_else(|| json!(text)),
        Value::Array(items) => items.iter().map(|item| bind(item, outputs)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), bind(value, outputs)))
            .collect(),
        other => other.clone(),
    }
}

fn answered<'o>(text: &str, outputs: &'o Map<String, Value>) -> Option<&'o Value> {
    let reference = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (step, output) = reference.split_once('.')?;
    outputs.get(step)?.get(output)
}
