//! A remediation's Automation documents, run as in the member account: by the engine, in the scoped
//! session, with the catalog's function and script answered in process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{FUNCTION, Invocation, Plan, Remediation, SCRIPT};
use stanch_hub::observe;
use stanch_models::Models;
use stanch_runbook::{
    AutomationStatus, Document, Engine, Functions, Options, Ports, Script, ScriptError, Scripts,
    Signal, Signals,
};
use stanch_types::chain;
use stanch_types::{Api, Call, Clock};

use super::stage::CountingIds;

/// What a run of a document needs.
pub(super) struct Member {
    pub(super) api: Arc<dyn Api>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) remediation: Arc<Remediation>,
    pub(super) models: Arc<Models>,
}

impl Member {
    /// Runs `document` where `plan` belongs; gives what its plan saw before and what its steps
    /// answered, or why it failed.
    pub(super) async fn run(
        self,
        document: Document,
        parameters: &Map<String, Value>,
        plan: &Plan,
    ) -> Result<(Value, Value), String> {
        let (api, clock, models) = (
            Arc::clone(&self.api),
            Arc::clone(&self.clock),
            Arc::clone(&self.models),
        );
        let mut ports = Ports::new(api, clock, models, Arc::new(CountingIds::default()));
        let member = Arc::new(self);
        ports.functions = Arc::clone(&member) as Arc<dyn Functions>;
        ports.scripts = member;
        ports.signals = Arc::new(SaysYes(Arc::clone(&ports.clock)));
        let mut parameters = parameters.clone();
        if document.parameters.contains_key("Approvers") {
            parameters.insert("Approvers".to_owned(), json!([SOMEBODY]));
        }
        let options = Options {
            account: Some(plan.account.clone()),
            region: Some(plan.region.clone()),
            ..Options::default()
        };
        let run = Engine::new(ports)
            .run(Arc::new(document), &parameters, options)
            .await;
        let outcome = run.map_err(|error| error.to_string())?;
        if outcome.status() != AutomationStatus::Success {
            return Err(outcome.record.failure_message.unwrap_or_default());
        }
        let mut answers: Map<String, Value> = Map::new();
        for (name, value) in &outcome.outputs {
            let Some((step, output)) = name.split_once('.') else {
                continue;
            };
            let answer = answers.entry(step).or_insert_with(|| json!({}));
            if let Some(answer) = answer.as_object_mut() {
                answer.insert(output.to_owned(), value.clone());
            }
        }
        let plan = answers.remove("Plan").unwrap_or_default();
        let before = plan.get("Before").cloned();
        let before = before.ok_or_else(|| "no output `Plan.Before`".to_owned())?;
        Ok((before, Value::Object(answers)))
    }

    async fn answer(
        &self,
        payload: &Value,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let invocation = Invocation::new(payload)?;
        let observed = match invocation.observe(&self.remediation)? {
            Some(observation) => Some(observe(&*self.api, &self.models, observation).await?),
            None => None,
        };
        Ok(invocation.answer(&self.remediation, observed)?)
    }
}

/// Whoever is asked in the documents' approvals.
const SOMEBODY: &str = "somebody";

struct SaysYes(Arc<dyn Clock>);

#[async_trait]
impl Signals for SaysYes {
    async fn next(&self, _: &str) -> Signal {
        // Those who only watch for a cancellation ask again and again.
        self.0.sleep(Duration::from_secs(1)).await;
        Signal::Approve {
            by: SOMEBODY.to_owned(),
            comment: String::new(),
        }
    }
}

#[async_trait]
impl Functions for Member {
    fn knows(&self, name: &str) -> bool {
        name == FUNCTION
    }

    async fn call(&self, _: &str, payload: &Value) -> Result<Value, String> {
        self.answer(payload).await.map_err(|error| chain(&*error))
    }
}

#[async_trait]
impl Scripts for Member {
    /// Does what the script does, in this session.
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
        let sent = self.api.call(&call).await;
        sent.map(|reply| reply.output)
            .map_err(|error| ScriptError::Raised {
                message: error.to_string(),
                output: String::new(),
            })
    }
}
