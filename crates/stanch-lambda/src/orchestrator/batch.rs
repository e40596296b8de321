//! A batch of messages: each is judged for itself, and only those that have to come again do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stanch_hub::{Source, Worked, execution};
use stanch_ledger::{LedgerError, RemediationId, State, Status};
use stanch_types::chain;

use super::{Run, order, order::Order};
use crate::{Failure, metrics};

/// A message as it came.
struct Delivery {
    /// SQS's name for it; none of an event that came directly.
    id: Option<String>,
    body: String,
    /// It was received before, and whoever had it did not say that it was done.
    again: bool,
}

/// What a batch came to.
#[derive(Default)]
struct Came {
    /// Messages that have to come again.
    failed: BTreeSet<usize>,
    /// Which message each remediation belongs to.
    of: BTreeMap<RemediationId, usize>,
    /// Those that somebody has answered, or that somebody else may have worked on before.
    known: BTreeSet<RemediationId>,
    /// A sweep found the rest.
    swept: bool,
}

/// The messages of an event: SQS's `Records`, or the event itself.
fn deliveries(event: &Value) -> Vec<Delivery> {
    let records = event.get("Records").and_then(Value::as_array);
    let is_queue = |record: &&Value| record.get("messageId").is_some();
    match records.filter(|records| records.iter().all(|record| is_queue(&record))) {
        None => vec![Delivery {
            id: None,
            body: event.to_string(),
            again: false,
        }],
        Some(records) => {
            let delivery = |record: &Value| {
                let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
                let received = text("/attributes/ApproximateReceiveCount");
                Delivery {
                    id: text("/messageId").map(str::to_owned),
                    body: text("/body").unwrap_or_default().to_owned(),
                    again: received.is_some_and(|times| times != "1"),
                }
            };
            records.iter().map(delivery).collect()
        }
    }
}

impl Run<'_> {
    /// Takes every message in, works on what they began, and says which have to come again:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.
    pub(super) async fn batch(&self, event: &Value) -> Result<Value, Failure> {
        let deliveries = deliveries(event);
        let mut came = Came::default();
        for (number, delivery) in deliveries.iter().enumerate() {
            if let Err(failure) = self.take(number, delivery, &mut came).await {
                let message = delivery.id.as_deref().unwrap_or_default();
                tracing::error!(message, error = %failure, "a message has to come again");
                came.failed.insert(number);
            }
        }
        let mut left: BTreeMap<Option<usize>, Vec<RemediationId>> = BTreeMap::new();
        for (id, worked) in self.hub.drain().await {
            let of = came.of.get(&id).copied();
            self.measure_end(id, &worked);
            match worked {
                Worked::Stands(state) | Worked::Stood(state) => {
                    self.answer_for(id, &state, came.known.contains(&id)).await;
                    // An execution in Systems Manager tells of its end by itself.
                    if needs_workflow(state.status) && execution(&state).is_none() {
                        left.entry(of).or_default().push(id);
                    }
                    self.wait_for_window(id, &state).await;
                }
                // The next sweep finds what a sweep has found.
                Worked::Left => {
                    if of.is_some() {
                        left.entry(of).or_default().push(id);
                    }
                }
                Worked::Failed(error) => {
                    self.tell_of_break(id, &error).await;
                    let failed = of.is_some_and(|number| came.failed.insert(number));
                    let (id, error) = (id.to_string(), chain(&error));
                    tracing::error!(
                        remediation_id = id,
                        error,
                        again = failed,
                        "it did not go on"
                    );
                }
            }
        }
        for ids in left.into_values() {
            self.hand_over(&ids).await;
        }
        if came.swept {
            self.close_sweep().await;
        }
        if let ([one], true) = (&deliveries[..], came.failed.contains(&0))
            && one.id.is_none()
        {
            return Err(Failure::new("NotTaken", "the event has to come again"));
        }
        let failed = came.failed.iter();
        let failed = failed.filter_map(|number| deliveries.get(*number)?.id.as_deref());
        let failed: Vec<Value> = failed.map(|id| json!({"itemIdentifier": id})).collect();
        Ok(json!({ "batchItemFailures": failed }))
    }

    async fn take(
        &self,
        number: usize,
        delivery: &Delivery,
        came: &mut Came,
    ) -> Result<(), Failure> {
        match order::read(&delivery.body) {
            Some(Order::Sweep) => {
                came.swept = true;
                return self.sweep().await;
            }
            Some(Order::Continue(id)) => {
                came.of.insert(id, number);
                self.go_on_with(id).await?;
                came.known.insert(id);
                return Ok(());
            }
            None => {}
        }
        let source = Source::automatic("sqs");
        let taken = self.hub.take(&source, delivery.body.as_bytes()).await?;
        self.tell_of_letters(&taken.buried).await;
        // What Systems Manager has ended goes on here.
        for id in taken.admitted.into_iter().chain(taken.continued) {
            came.of.insert(id, number);
        }
        if delivery.again {
            // Whoever had the message was stopped in the middle of it.
            for id in taken.duplicates {
                came.of.insert(id, number);
                self.go_on_with(id).await?;
                came.known.insert(id);
            }
        }
        for skipped in taken.skipped {
            tracing::debug!(
                finding = skipped.finding,
                reason = skipped.reason,
                "nothing to do"
            );
        }
        Ok(())
    }

    /// Puts a remediation to work. Where its record was changed by somebody else, people are told:
    /// nothing may be done by it.
    pub(super) async fn go_on_with(&self, id: RemediationId) -> Result<(), LedgerError> {
        let gone_on = self.hub.go_on(id).await;
        if let Err(error) = &gone_on {
            self.tell_of_break(id, error).await;
        }
        gone_on
    }

    /// Counts what this very run has brought to its end.
    pub(super) fn measure_end(&self, id: RemediationId, worked: &Worked) {
        let Worked::Stands(state) = worked else {
            return;
        };
        let now = self.world.clock.now();
        if let Some(line) = metrics::remediation(self.namespace(), id, state, now) {
            self.measure(&line);
        }
    }

    /// Answers the state machine if it may wait for people's word on this. What they were asked about may
    /// have ended without it.
    pub(super) async fn answer_for(&self, id: RemediationId, state: &State, known: bool) {
        let was_asked = known || state.approval.is_some() || !state.approved.is_empty();
        if was_asked && state.status != Status::AwaitingApproval {
            self.answer(id).await;
        }
    }
}

/// True if somebody else has to be waited for, or the time was over in the middle of it. What is deferred
/// has an execution for its change window; what is paused, the sweep comes back to.
const fn needs_workflow(status: Status) -> bool {
    matches!(
        status,
        Status::AwaitingApproval
            | Status::Received
            | Status::Planned
            | Status::Ready
            | Status::Running
            | Status::Verifying
            | Status::Undoing
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_queue_are_messages_and_all_else_is_one() {
        let record = json!({"messageId": "m-1", "body": "{}", "attributes": {"ApproximateReceiveCount": "2"}});
        let batch = deliveries(&json!({"Records": [record]}));
        assert_eq!(batch.len(), 1);
        assert!(batch[0].again && batch[0].id.as_deref() == Some("m-1"));
        for event in [
            json!({"Records": [{"Sns": {}}]}),
            json!({"detail-type": "x"}),
            json!(7),
        ] {
            let one = deliveries(&event);
            assert_eq!(one.len(), 1);
            assert_eq!(one[0].body, event.to_string());
            assert!(one[0].id.is_none());
        }
        assert!(deliveries(&json!({"Records": []})).is_empty());
    }
}
