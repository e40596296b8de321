//! The guard alone: a finding in, a decision with its reasons out, nothing changed.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_hub::{Judged, Source};
use stanch_ledger::Verdict;
use tokio::sync::Mutex;

use crate::{
    Failure, Function, Invocation, World,
    setup::{Enters, Setup},
};

/// The function `security`. The orchestrator has the same guard in its own process; this one is for
/// whoever wants to know beforehand.
pub struct Security {
    world: World,
    setup: Mutex<Option<Arc<Setup>>>,
}

impl Security {
    /// The function, which has done nothing yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            world,
            setup: Mutex::default(),
        }
    }
}

#[async_trait]
impl Function for Security {
    /// The event is a finding, or whatever carries findings; or `{"requester": …, "event": …}` where a
    /// person wants to know what they may.
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        let mut known = self.setup.lock().await;
        let setup = Setup::current(&self.world, Enters::Nothing, known.take()).await?;
        *known = Some(Arc::clone(&setup));
        let hub = setup.hub(&self.world);
        hub.let_go_at(invocation.deadline);
        let event = &invocation.event;
        let person = event.get("requester").and_then(Value::as_str);
        let (source, finding) = match (person, event.get("event")) {
            (Some(person), Some(finding)) => (Source::person("security", person), finding),
            _ => (Source::automatic("security"), event),
        };
        let judged = hub
            .judge_findings(&source, finding.to_string().as_bytes())
            .await?;
        if judged.is_empty() {
            return Err(Failure::event("there is no open finding in the event")
                .hint("send a finding (ASFF, OCSF) or an event that carries some"));
        }
        let decisions: Vec<Value> = judged.iter().map(decision).collect();
        Ok(json!({
            "decisions": decisions,
            "guard": setup.guard.name(),
            "rules": setup.guard.hash(),
        }))
    }
}

fn decision(judged: &Judged) -> Value {
    let received = &judged.received;
    let mut decision = json!({
        "finding": received.finding_id,
        "account": received.account,
        "region": received.region,
        "resource": received.resource_id,
        "remediation": received.remediation,
    });
    let (verdict, reasons, policies, urgent) = match &judged.answer {
        Ok(answer) => (
            json!(answer.verdict),
            json!(answer.reasons),
            json!(answer.policies),
            answer.urgent,
        ),
        Err(why) => (json!(Verdict::Refuse), json!([why]), json!([]), false),
    };
    if let Some(object) = decision.as_object_mut() {
        object.insert("verdict".to_owned(), verdict);
        object.insert("reasons".to_owned(), reasons);
        object.insert("policies".to_owned(), policies);
        object.insert("urgent".to_owned(), json!(urgent));
    }
    decision
}
