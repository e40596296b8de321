//! Events from an SQS queue. A message is deleted only once the ledger has it; until then SQS delivers
//! it again.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_aws::Client;
use stanch_hub::Source;
use stanch_types::{Api as _, Call, Region};

use super::Intake;

/// The longest that SQS lets a receiver wait, in seconds.
const WAIT: u64 = 20;
const PAUSE: Duration = Duration::from_secs(5);

/// The region of a queue's address, `https://sqs.eu-west-1.amazonaws.com/…`.
pub fn region(url: &str) -> Option<Region> {
    let host = url.split("://").nth(1)?.split('/').next()?;
    host.strip_prefix("sqs.")?.split('.').next()?.parse().ok()
}

/// Receives until the end.
pub async fn run(intake: Intake, client: Client, url: String) {
    let receive = Call::new(
        "sqs",
        "ReceiveMessage",
        json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": WAIT }),
    );
    loop {
        let reply = tokio::select! {
            () = intake.stop.wait() => return,
            reply = client.call(&receive) => reply,
        };
        let mut failed = false;
        match reply {
            Err(error) => {
                tracing::error!(%error, "cannot receive from the queue");
                failed = true;
            }
            Ok(reply) => {
                for message in messages(&reply.output) {
                    failed |= !take(&intake, &client, &url, message).await;
                }
            }
        }
        if failed && !intake.stop.pause(&*intake.clock, PAUSE).await {
            return;
        }
    }
}

fn messages(output: &Value) -> impl Iterator<Item = &Value> {
    let list = output.get("Messages").and_then(Value::as_array);
    list.into_iter().flatten()
}

async fn take(intake: &Intake, client: &Client, url: &str, message: &Value) -> bool {
    let body = message
        .get("Body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if let Err(error) = intake
        .hub
        .take(&Source::automatic("sqs"), body.as_bytes())
        .await
    {
        tracing::error!(
            error = stanch_types::chain(&error),
            "a message could not be taken; SQS delivers it again"
        );
        return false;
    }
    let delete = Call::new(
        "sqs",
        "DeleteMessage",
        json!({ "QueueUrl": url, "ReceiptHandle": message.get("ReceiptHandle") }),
    );
    match client.call(&delete).await {
        Ok(_) => true,
        Err(error) => {
            // It comes again, and is known by then.
            tracing::warn!(%error, "a message that was taken could not be deleted");
            false
        }
    }
}
