//! Exported documents send what plans send.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{FUNCTION, Invocation, Plan, Remediation};
use stanch_models::Models;
use stanch_runbook::{
    AutomationStatus, Document, Engine, Functions, Ids, Options, Ports, Signal, Signals,
};
use stanch_types::{Api, Call, CallError, Clock, Reply};

use crate::plans::{Case, answer};

/// A resource that is as `before` says until something is written, then as `after` says.
struct World {
    remediation: Arc<Remediation>,
    before: Vec<Value>,
    after: Vec<Value>,
    writes: Mutex<Vec<Call>>,
    models: Arc<Models>,
}

impl World {
    fn replies(&self) -> &[Value] {
        if self.writes.lock().unwrap().is_empty() {
            &self.before
        } else {
            &self.after
        }
    }
}

#[async_trait]
impl Api for World {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let resolved = self.models.resolve(&call.service, &call.operation).unwrap();
        let output = if self
            .models
            .is_read(&resolved.service, resolved.operation())
            .unwrap()
            == Some(true)
        {
            // A wait, after a write.
            self.replies().last().unwrap().clone()
        } else {
            self.writes.lock().unwrap().push(call.clone());
            json!({})
        };
        Ok(Reply {
            output,
            request_id: None,
        })
    }
}

#[async_trait]
impl Functions for World {
    fn knows(&self, name: &str) -> bool {
        name == FUNCTION
    }
    async fn call(&self, _: &str, payload: &Value) -> Result<Value, String> {
        self.told(payload)
    }
}

impl World {
    fn told(&self, payload: &Value) -> Result<Value, String> {
        let invocation = Invocation::new(payload).map_err(|e| e.to_string())?;
        let remediation = &self.remediation;
        let observation = invocation.observe(remediation).map_err(|e| e.to_string())?;
        let observed = observation.map(|mut observation| {
            let mut replies = self.replies().iter();
            while let Some(read) = observation.next_read().unwrap() {
                observation
                    .answer(answer(&read.call, replies.next().unwrap()))
                    .unwrap();
            }
            observation.finish().unwrap()
        });
        invocation
            .answer(remediation, observed)
            .map_err(|e| e.to_string())
    }
}

#[derive(Default)]
struct Hurried(AtomicU64);

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
    async fn sleep(&self, duration: std::time::Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::Relaxed);
        // Others get their turn: the engine sleeps beside what it waits for.
        tokio::task::yield_now().await;
    }
}

/// Somebody who approves whatever waits for it.
#[async_trait]
impl Signals for World {
    async fn next(&self, _: &str) -> Signal {
        tokio::task::yield_now().await;
        Signal::Approve {
            by: "somebody".to_owned(),
            comment: String::new(),
        }
    }
}

struct NoIds;

impl Ids for NoIds {
    fn next(&self) -> String {
        "00000000-0000-0000-0000-000000000000".to_owned()
    }
}

/// Runs a document and returns what it wrote and its output `Plan.Before`.
fn run(
    document: Document,
    parameters: &Map<String, Value>,
    (before, after): (&[Value], &[Value]),
    plan: &Plan,
    models: &Arc<Models>,
    remediation: &Arc<Remediation>,
) -> (Vec<Call>, Value) {
    let found = stanch_runbook::check(&document, models);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "{}\n{}",
        shown.join("\n"),
        document.to_yaml()
    );
    let world = Arc::new(World {
        remediation: Arc::clone(remediation),
        before: before.to_vec(),
        after: after.to_vec(),
        writes: Mutex::default(),
        models: Arc::clone(models),
    });
    let api: Arc<dyn Api> = world.clone();
    let mut ports = Ports::new(
        api,
        Arc::new(Hurried::default()),
        models.clone(),
        Arc::new(NoIds),
    );
    ports.functions = world.clone();
    ports.signals = world.clone();
    let options = Options {
        account: Some(plan.account.clone()),
        region: Some(plan.region.clone()),
        ..Options::default()
    };
    let text = document.to_yaml();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let outcome = runtime
        .block_on(Engine::new(ports).run(Arc::new(document), parameters, options))
        .unwrap();
    assert_eq!(
        outcome.status(),
        AutomationStatus::Success,
        "{:?}\n{text}",
        outcome.record.failure_message
    );
    let before = outcome.outputs.get("Plan.Before").cloned().unwrap();
    let writes = world.writes.lock().unwrap().clone();
    (writes, before)
}

/// Both documents send the requests of both plans.
pub(crate) fn check(case: &Case, before: &[Value], after: &[Value], plan: &Plan, undo: &Plan) {
    let models = Arc::new(Models::embedded().unwrap());
    let export = case.remediation.export(&models).unwrap();
    let mut parameters = plan.parameters.clone();
    if export.remediation.parameters.contains_key("Approvers") {
        parameters.insert("Approvers".to_owned(), json!(["somebody"]));
    }
    let (sent, seen) = run(
        export.remediation.clone(),
        &parameters,
        (before, after),
        plan,
        &models,
        &case.remediation,
    );
    assert_eq!(sent, plan.writes().cloned().collect::<Vec<_>>());
    parameters.remove("Approvers");
    parameters.insert("Before".to_owned(), seen.clone());
    let (sent, _) = run(
        export.rollback.unwrap(),
        &parameters,
        (after, before),
        undo,
        &models,
        &case.remediation,
    );
    assert_eq!(sent, undo.writes().cloned().collect::<Vec<_>>());
    // Once more, and nothing is sent.
    parameters.remove("Before");
    if export.remediation.parameters.contains_key("Approvers") {
        parameters.insert("Approvers".to_owned(), json!(["somebody"]));
    }
    let (sent, _) = run(
        export.remediation,
        &parameters,
        (after, after),
        plan,
        &models,
        &case.remediation,
    );
    assert_eq!(sent, []);
}
