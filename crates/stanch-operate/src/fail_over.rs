//! From one administrator region to another: what has to be the same in both ledgers, and who takes events.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use stanch_ledger::{Given, LedgerError, RemediationId, Status, Store};
use stanch_types::{Api, Call, CallError, Clock};

use crate::{Installation, read};

/// How often the replicas are compared, and for how long.
const ASK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(15);

/// How long a run of the orchestrator may take (`administrator-stack.yaml`): what is at work for longer
/// belongs to nobody.
const RUN: Duration = Duration::from_mins(5);

/// What has to be the same in both.
#[derive(Debug, PartialEq)]
struct Unsettled {
    orders: Vec<Given>,
    /// Where remediations stand that have not ended, and how many events they have.
    open: BTreeMap<RemediationId, (Status, u64)>,
}

impl Unsettled {
    async fn of(ledger: &dyn Store) -> Result<Self, LedgerError> {
        let mut open = BTreeMap::new();
        for record in ledger.unfinished().await? {
            let id = record.remediation_id;
            // Not its entries: to know their places in the tree, DynamoDB's ledger would give them some.
            let record = ledger.record(id).await?;
            open.insert(id, (record.status, record.events));
        }
        let orders = ledger.directives().await?;
        Ok(Self { orders, open })
    }

    fn is_at_work(&self) -> bool {
        let at_work = |status| {
            matches!(
                status,
                Status::Running | Status::Verifying | Status::Undoing
            )
        };
        self.open.values().any(|(status, _)| at_work(*status))
    }
}

/// Why the other region must not begin yet.
#[derive(Debug, thiserror::Error)]
pub enum NotThere {
    /// A ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Replication takes too long.
    #[error("after {} minutes the replica has other orders than the region that acted, or other ends of {} remediations", PATIENCE.as_secs() / 60, .0.len())]
    Behind(Vec<RemediationId>),
}

/// Waits until nothing is at work in `from` and `to` knows all orders and every remediation that has not ended.
/// Replicas get items in any order, each by itself
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html>), so that an
/// order that has arrived says nothing about the rest.
///
/// # Errors
/// It does not in time, or a ledger cannot be read.
pub async fn replicated(
    from: &dyn Store,
    to: &dyn Store,
    clock: &dyn Clock,
) -> Result<(), NotThere> {
    let mut waited = Duration::ZERO;
    loop {
        let (ours, theirs) = (Unsettled::of(from).await?, Unsettled::of(to).await?);
        let ends = waited < RUN && ours.is_at_work();
        if ours == theirs && !ends {
            return Ok(());
        }
        if waited >= PATIENCE {
            let differ = |id: &&RemediationId| ours.open.get(id) != theirs.open.get(id);
            let all: BTreeMap<_, _> = ours.open.iter().chain(&theirs.open).collect();
            let behind = all.into_keys().filter(differ).copied();
            return Err(NotThere::Behind(behind.collect()));
        }
        clock.sleep(ASK).await;
        waited += ASK;
    }
}

/// Lets the orchestrator of a region take events from its queue, or leaves them there.
///
/// # Errors
/// AWS refuses, or the function has no trigger.
pub async fn take_events(
    api: &dyn Api,
    installation: &Installation,
    takes: bool,
) -> Result<(), CallError> {
    let function = installation.named("Orchestrator");
    let asked = Call::new(
        "lambda",
        "ListEventSourceMappings",
        json!({ "FunctionName": function }),
    );
    let found = api.call(&asked).await?.output;
    for trigger in read::items(&found, "/EventSourceMappings") {
        let id = trigger.get("UUID").cloned().unwrap_or(Value::Null);
        let wanted = json!({"UUID": id, "Enabled": takes});
        api.call(&Call::new("lambda", "UpdateEventSourceMapping", wanted))
            .await?;
    }
    Ok(())
}
