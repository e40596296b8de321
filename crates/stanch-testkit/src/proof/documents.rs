//! A remediation's Automation documents, run as in the member account: by the engine, in the scoped
//! session, with the catalog's function answered in process.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use stanch_catalog::{FUNCTION, Invocation, Plan, Remediation};
use stanch_hub::observe;
use stanch_models::Models;
use stanch_runbook::{AutomationStatus, Document, Engine, Functions, Options, Ports};
use stanch_types::chain;
use stanch_types::{Api, Clock};

use super::stage::CountingIds;

/// What a run of a document needs.
pub(super) struct Member {
    pub(super) api: Arc<dyn Api>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) remediation: Arc<Remediation>,
    pub(super) models: Arc<Models>,
}

impl Member {
    /// Runs `document` where `plan` belongs; gives what its plan saw before, or why it failed.
    pub(super) async fn run(
        self,
        document: Document,
        parameters: &Map<String, Value>,
        plan: &Plan,
    ) -> Result<Value, String> {
        let (api, clock, models) = (
            Arc::clone(&self.api),
            Arc::clone(&self.clock),
            Arc::clone(&self.models),
        );
        let mut ports = Ports::new(api, clock, models, Arc::new(CountingIds::default()));
        ports.functions = Arc::new(self);
        let options = Options {
            account: Some(plan.account.clone()),
            region: Some(plan.region.clone()),
            ..Options::default()
        };
        let run = Engine::new(ports)
            .run(Arc::new(document), parameters, options)
            .await;
        let outcome = run.map_err(|error| error.to_string())?;
        if outcome.status() != AutomationStatus::Success {
            return Err(outcome.record.failure_message.unwrap_or_default());
        }
        outcome
            .outputs
            .get("Plan.Before")
            .cloned()
            .ok_or_else(|| "no output `Plan.Before`".to_owned())
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

#[async_trait]
impl Functions for Member {
    fn knows(&self, name: &str) -> bool {
        name == FUNCTION
    }

    async fn call(&self, _: &str, payload: &Value) -> Result<Value, String> {
        self.answer(payload).await.map_err(|error| chain(&*error))
    }
}
