//! Scripted ports: what AWS, functions, scripts, webhooks and people say, from a file.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};
use stanch_models::Models;
use stanch_runbook::*;
use stanch_types::{Api, Call, CallError, CallErrorKind, Clock, Reply};

use crate::clock::VirtualClock;

/// The API models, decoded once for all tests.
pub fn models() -> &'static Arc<Models> {
    static MODELS: OnceLock<Arc<Models>> = OnceLock::new();
    MODELS.get_or_init(|| Arc::new(Models::embedded().unwrap()))
}

/// `input.json`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default)]
    pub parameters: Map<String, Value>,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub send_braces: bool,
    #[serde(default)]
    pub calls: Vec<Scripted>,
    #[serde(default)]
    pub functions: BTreeMap<String, Value>,
    #[serde(default)]
    pub scripts: VecDeque<Value>,
    #[serde(default)]
    pub webhooks: BTreeMap<String, (u16, String)>,
    #[serde(default)]
    pub signals: VecDeque<ScriptedSignal>,
    /// The observer stops the execution when this step starts, or ends.
    #[serde(default)]
    pub stop_before: Option<String>,
    #[serde(default)]
    pub stop_after: Option<String>,
}

/// An answer, given once, in order, to a call of this name.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    call: String,
    #[serde(default)]
    answer: Value,
    error: Option<ScriptedError>,
    /// Seconds until the answer; null is for ever.
    #[serde(default)]
    takes: u64,
    #[serde(default)]
    never: bool,
    #[serde(default)]
    times: Option<usize>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct ScriptedError {
    code: String,
    #[serde(default)]
    message: String,
    kind: Option<CallErrorKind>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct ScriptedSignal {
    at: u64,
    approve: Option<String>,
    reject: Option<String>,
    #[serde(default)]
    resume: bool,
    #[serde(default)]
    cancel: bool,
}

/// All ports of a scenario.
pub struct World {
    pub clock: VirtualClock,
    input: Mutex<Input>,
    answers: Mutex<VecDeque<Scripted>>,
    pub sent: Mutex<Vec<Call>>,
    documents: BTreeMap<String, Arc<Document>>,
    next: Mutex<u64>,
    pub notes: Mutex<Vec<String>>,
}

impl World {
    pub fn new(input: Input, documents: BTreeMap<String, Arc<Document>>) -> Arc<Self> {
        let answers = input
            .calls
            .iter()
            .flat_map(|scripted| std::iter::repeat_n(scripted.clone(), scripted.times.unwrap_or(1)))
            .collect();
        Arc::new(Self {
            clock: VirtualClock::default(),
            input: Mutex::new(input),
            answers: Mutex::new(answers),
            sent: Mutex::default(),
            documents,
            next: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    pub fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            functions: self.clone(),
            documents: self.clone(),
            scripts: self.clone(),
            webhooks: self.clone(),
            signals: self.clone(),
            observer: self.clone(),
            ..Ports::new(
                self.clone(),
                Arc::new(self.clock.clone()),
                models().clone(),
                self.clone(),
            )
        }
    }

    /// Scripted answers that nobody asked for.
    pub fn unused(&self) -> Vec<String> {
        let input = self.input.lock().unwrap();
        let mut unused: Vec<String> = self
            .answers
            .lock()
            .unwrap()
            .iter()
            .map(|s| s.call.clone())
            .collect();
        unused.extend(input.scripts.iter().map(|s| format!("script {s}")));
        unused
    }
}

#[async_trait]
impl Api for World {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let resolved = models().resolve(&call.service, &call.operation).unwrap();
        let problems =
            stanch_models::validate(&resolved.service, resolved.operation(), &call.params);
        let problems: Vec<_> = problems
            .iter()
            .filter(|p| p.severity == stanch_models::Severity::Error)
            .collect();
        if !problems.is_empty() {
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(CallError::new(
                CallErrorKind::Invalid,
                call,
                text.join("; "),
            ));
        }
        self.sent.lock().unwrap().push(call.clone());
        let scripted = {
            let mut answers = self.answers.lock().unwrap();
            let place = answers.iter().position(|s| s.call == call.to_string());
            place.and_then(|place| answers.remove(place))
        };
        let scripted =
            scripted.unwrap_or_else(|| panic!("no answer is scripted for {call} {}", call.params));
        if scripted.never {
            std::future::pending::<()>().await;
        }
        if scripted.takes > 0 {
            self.clock.sleep(Duration::from_secs(scripted.takes)).await;
        }
        let id = format!("request-{}", self.sent.lock().unwrap().len());
        match scripted.error {
            None => Ok(Reply {
                output: scripted.answer,
                request_id: Some(id),
            }),
            Some(error) => Err(CallError {
                code: error.code,
                request_id: Some(id),
                ..CallError::new(
                    error.kind.unwrap_or(CallErrorKind::Rejected),
                    call,
                    error.message,
                )
            }),
        }
    }
}

impl Ids for World {
    fn next(&self) -> String {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        format!("id-{next}")
    }
}

#[async_trait]
impl Functions for World {
    fn knows(&self, name: &str) -> bool {
        self.input.lock().unwrap().functions.contains_key(name)
    }

    async fn call(&self, name: &str, payload: &Value) -> Result<Value, String> {
        let answer = self.input.lock().unwrap().functions[name].clone();
        self.notes
            .lock()
            .unwrap()
            .push(format!("function {name} {payload}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer),
        }
    }
}

#[async_trait]
impl Documents for World {
    async fn find(&self, name: &str, _: Option<&str>) -> Option<Arc<Document>> {
        self.documents.get(name).cloned()
    }
}

#[async_trait]
impl Scripts for World {
    async fn run(&self, script: &Script, payload: &Value) -> Result<Value, ScriptError> {
        self.notes
            .lock()
            .unwrap()
            .push(format!("script {} {payload}", script.handler));
        if script.source.contains("{{") {
            self.notes.lock().unwrap().push(script.source.clone());
        }
        let answer = self
            .input
            .lock()
            .unwrap()
            .scripts
            .pop_front()
            .expect("no answer of a script is left");
        if let Some(seconds) = answer.get("takes").and_then(Value::as_u64) {
            self.clock.sleep(Duration::from_secs(seconds)).await;
        }
        match answer.get("raises").and_then(Value::as_str) {
            Some(message) => Err(ScriptError::Raised {
                message: message.to_owned(),
                output: String::new(),
            }),
            None => Ok(answer.get("returns").cloned().unwrap_or_default()),
        }
    }
}

#[async_trait]
impl Webhooks for World {
    async fn invoke(&self, integration: &str, body: &str) -> Result<WebhookReply, String> {
        self.notes
            .lock()
            .unwrap()
            .push(format!("webhook {integration} {body}"));
        match self.input.lock().unwrap().webhooks.get(integration) {
            Some((code, body)) => Ok(WebhookReply {
                code: *code,
                body: body.clone(),
            }),
            None => Err(format!("there is no integration `{integration}`")),
        }
    }
}

#[async_trait]
impl Signals for World {
    async fn next(&self, _: &str) -> Signal {
        let Some(next) = self.input.lock().unwrap().signals.front().cloned() else {
            return std::future::pending().await;
        };
        let left = Duration::from_secs(next.at).saturating_sub(self.clock.monotonic());
        self.clock.sleep(left).await;
        self.input.lock().unwrap().signals.pop_front();
        let comment = "because".to_owned();
        match next {
            ScriptedSignal {
                approve: Some(by), ..
            } => Signal::Approve { by, comment },
            ScriptedSignal {
                reject: Some(by), ..
            } => Signal::Reject { by, comment },
            ScriptedSignal { resume: true, .. } => Signal::Resume,
            ScriptedSignal { cancel: true, .. } => Signal::Cancel,
            _ => panic!("a signal says what it is"),
        }
    }
}

#[async_trait]
impl Observer for World {
    async fn started(&self, _: &str, step: &StepExecution) -> Result<(), String> {
        match &self.input.lock().unwrap().stop_before {
            Some(name) if *name == step.step_name => Err("the observer says so".to_owned()),
            _ => Ok(()),
        }
    }

    async fn finished(&self, _: &str, step: &StepExecution, sent: &[Sent]) -> Result<(), String> {
        assert!(step.step_status.is_final(), "{step:?}");
        // Every call that reached AWS carries the request's id, unless it was cut off.
        for sent in sent {
            if let Ok(id) = &sent.result {
                assert!(id.is_some(), "{sent:?}");
            }
        }
        match &self.input.lock().unwrap().stop_after {
            Some(name) if *name == step.step_name => Err("the observer says so".to_owned()),
            _ => Ok(()),
        }
    }
}
