//! Hands the rows of the audit log on to a SIEM, as lines of OCSF: an object in the bucket
//! `SIEM_BUCKET` for each batch of the table's stream, and records of the Firehose stream
//! `SIEM_STREAM`; either may be missing.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_ledger::dynamo::stream;
use stanch_notify::Export;

use crate::{Failure, Function, Invocation, Variables, World};

/// The function `siem`.
pub struct Siem {
    world: World,
}

impl Siem {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world }
    }
}

#[async_trait]
impl Function for Siem {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        let variables = Variables(&self.world.environment);
        let place = |name: &str| variables.optional(name).map(str::to_owned);
        let (bucket, delivery) = (place("SIEM_BUCKET"), place("SIEM_STREAM"));
        if bucket.is_none() && delivery.is_none() {
            return Err(
                Failure::configuration("neither `SIEM_BUCKET` nor `SIEM_STREAM` is set")
                    .hint("update the stack: its template sets them"),
            );
        }
        let first = invocation
            .event
            .pointer("/Records/0/dynamodb/SequenceNumber");
        let Some(first) = first.and_then(Value::as_str) else {
            return Err(Failure::event("this is not what a table's stream delivers"));
        };
        let streamed = stream(&invocation.event);
        let own = self.world.reach.own(None)?;
        let clock = Arc::clone(&self.world.clock);
        let export = Export::new(own, clock, bucket, delivery);
        // Sent again, a batch begins with the same record, and is the same object.
        let at = invocation
            .event
            .pointer("/Records/0/dynamodb/ApproximateCreationDateTime")
            .and_then(Value::as_f64)
            .and_then(|seconds| Timestamp::from_second(seconds as i64).ok())
            .unwrap_or_else(|| self.world.clock.now());
        let sent = export.send(first, at, &streamed.lines).await;
        match sent {
            Ok(()) => Ok(streamed.response()),
            // Which record a line is of is not known: all come again, each line under its own id.
            Err(unsent) => {
                tracing::error!(error = unsent.to_string(), "the batch is sent again");
                Ok(json!({"batchItemFailures": [{"itemIdentifier": first}]}))
            }
        }
    }
}
