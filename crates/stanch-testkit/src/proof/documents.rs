//! A remediation's Automation documents, run as in the member account: by the engine, in the scoped
//! session, with the catalog's function and script answered in process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{Catalog, FUNCTION, Plan};
use stanch_models::Models;
use stanch_runbook::{AutomationStatus, Document, Engine, Options, Ports, Signal, Signals};
use stanch_types::{Api, Clock};

use super::stage::CountingIds;
use crate::automation::{CatalogFunction, CatalogScript};

/// What a run of a document needs.
pub(super) struct Member {
    pub(super) api: Arc<dyn Api>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalog: Arc<Catalog>,
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
        ports.functions = Arc::new(CatalogFunction {
            name: FUNCTION.to_owned(),
            api: self.api,
            catalog: self.catalog,
            models: self.models,
        });
        ports.scripts = Arc::new(CatalogScript(Arc::clone(&ports.api)));
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
