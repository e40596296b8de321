//! Takes events in, decides, remediates, records and tells.
//!
//! What can be done at once is done in one invocation. What has to be waited for, people or a change window,
//! is handed to the state machine, which calls back; what nobody called for, the sweep picks up.

mod batch;
mod order;
mod sweep;
mod workflow;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_hub::{Hub, Message};
use stanch_ledger::{LedgerError, RemediationId};
use stanch_notify::Topic;
use stanch_types::chain;
use tokio::sync::Mutex;

use crate::{
    Failure, Function, Invocation, Variables, World, metrics,
    setup::{Enters, Setup},
};

/// What is left of an invocation for handing over and for answering.
const RESERVE: Duration = Duration::from_secs(5);

/// The function `orchestrator`.
pub struct Orchestrator {
    world: World,
    setup: Mutex<Option<Arc<Setup>>>,
}

/// One invocation at work.
struct Run<'o> {
    world: &'o World,
    setup: Arc<Setup>,
    hub: Arc<Hub>,
}

impl Orchestrator {
    /// The function, which has done nothing yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            world,
            setup: Mutex::default(),
        }
    }

    async fn begin(&self, invocation: &Invocation) -> Result<Run<'_>, Failure> {
        let mut known = self.setup.lock().await;
        let setup = Setup::current(&self.world, Enters::Members, known.take()).await?;
        *known = Some(Arc::clone(&setup));
        let hub = setup.hub(&self.world);
        let until = invocation.deadline.checked_sub(RESERVE);
        hub.let_go_at(until.unwrap_or(invocation.deadline));
        // Where there is a second administrator region, only one of them even takes something in: both have
        // one ledger.
        if Variables(&self.world.environment)
            .optional("REGION_ROLE")
            .is_some()
            && let Some(why) = hub.passive().await?
        {
            return Err(Failure::new("Passive", why).hint("`stanch deploy fail-over` changes that"));
        }
        Ok(Run {
            world: &self.world,
            setup,
            hub,
        })
    }
}

#[async_trait]
impl Function for Orchestrator {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        let run = self.begin(&invocation).await?;
        match invocation.event.get("stage") {
            Some(_) => run.stage(&invocation.event).await,
            None => run.batch(&invocation.event).await,
        }
    }
}

impl Run<'_> {
    fn variables(&self) -> Variables<'_> {
        Variables(&self.world.environment)
    }

    fn namespace(&self) -> &str {
        let namespace = self.variables().optional("METRIC_NAMESPACE");
        namespace.unwrap_or("SecurityRemediation")
    }

    /// Writes a line for CloudWatch's metrics, unless that is switched off.
    fn measure(&self, line: &Value) {
        if self.variables().optional("METRICS") != Some("off") {
            self.world.print.line(&line.to_string());
        }
    }

    /// Says that something could not be dealt with, and is kept. That nobody could be told is a line of
    /// the log and an alarm by the metric: the ledger has the letter.
    async fn tell_of_letters(&self, buried: &[stanch_hub::Buried]) {
        if buried.is_empty() {
            return;
        }
        let now = self.world.clock.now();
        self.measure(&metrics::dead_letters(self.namespace(), buried.len(), now));
        for letter in buried {
            self.publish(&Message {
                remediation_id: letter.id.to_string(),
                status: "DeadLetter".to_owned(),
                action: letter.hint.clone(),
                executed_at: now.to_string(),
                error: Some(letter.reason.clone()),
                ..Message::default()
            })
            .await;
        }
    }

    /// Says that a remediation's record is not what was written. It cannot be written there any more.
    async fn tell_of_break(&self, id: RemediationId, error: &LedgerError) {
        if let LedgerError::Broken(_) = error {
            let action = error.hint().unwrap_or_default();
            self.publish(&Message {
                remediation_id: id.to_string(),
                status: "LedgerBroken".to_owned(),
                action: action.to_owned(),
                executed_at: self.world.clock.now().to_string(),
                error: Some(chain(error)),
                urgent: true,
                ..Message::default()
            })
            .await;
        }
    }

    async fn publish(&self, message: &Message) {
        let Ok(topic) = self.variables().text("SNS_TOPIC_ARN") else {
            return;
        };
        let topic = Topic::new(Arc::clone(&self.setup.own), topic);
        let told = match topic.publish(message) {
            Ok(call) => self.setup.own.call(&call).await.map(drop),
            Err(error) => {
                tracing::error!(%error, "a message has no JSON form");
                return;
            }
        };
        if let Err(error) = told {
            let (id, status, error) = (&message.remediation_id, &message.status, chain(&error));
            tracing::error!(id, status, error, "nobody could be told");
        }
    }
}

/// An answer that says nothing but that it was done.
fn done() -> Value {
    json!({})
}
