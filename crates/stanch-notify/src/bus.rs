//! Amazon EventBridge: each message as an event of the source `stanch`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;
use stanch_types::{Api, Arn, Call};

use crate::{send::Filter, topic::fitting};

/// The source of our events.
pub const SOURCE: &str = "stanch";

/// The type of their detail, which is the message.
pub const DETAIL_TYPE: &str = "Stanch Remediation";

/// An event bus.
pub struct EventBus {
    api: Arc<dyn Api>,
    bus: String,
    name: String,
    filter: Filter,
}

impl EventBus {
    /// The bus of this name or ARN, in the region and account of `api`.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, bus: impl Into<String>) -> Self {
        let bus = bus.into();
        let name = format!("event bus {}", bus.rsplit('/').next().unwrap_or(&bus));
        Self {
            api,
            bus,
            name,
            filter: Filter::default(),
        }
    }

    /// The same, for what passes `filter`.
    #[must_use]
    pub fn of(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The request that puts a message on the bus. An event holds 256 KB:
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html>.
    ///
    /// # Errors
    /// The message has no JSON form.
    pub fn put(&self, message: &Message) -> Result<Call, serde_json::Error> {
        // A resource is an ARN of at most 2,048 characters.
        let resource = &message.resource;
        let is_arn = resource.len() <= 2048 && resource.parse::<Arn>().is_ok();
        let resources: Vec<&String> = is_arn.then_some(resource).into_iter().collect();
        Ok(Call::new(
            "events",
            "PutEvents",
            json!({"Entries": [{
                "Source": SOURCE,
                "DetailType": DETAIL_TYPE,
                "Detail": fitting(message)?,
                "EventBusName": self.bus,
                "Resources": resources,
            }]}),
        ))
    }
}

impl EventBus {
    /// Puts a message on the bus.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn emit(&self, message: &Message) -> Result<(), String> {
        let call = self.put(message).map_err(|error| error.to_string())?;
        let reply = self.api.call(&call).await;
        let reply = reply.map_err(|error| error.to_string())?;
        // An entry that failed is a success of the call.
        match reply.output.get("FailedEntryCount").and_then(Value::as_u64) {
            Some(0) | None => Ok(()),
            Some(_) => {
                let word = |name: &str| {
                    let value = reply.output.pointer(&format!("/Entries/0/{name}"));
                    value.and_then(Value::as_str).unwrap_or_default()
                };
                let (code, why) = (word("ErrorCode"), word("ErrorMessage"));
                Err(format!("the event was not taken: {code}: {why}"))
            }
        }
    }
}

#[async_trait]
impl Notifier for EventBus {
    fn channel(&self) -> &str {
        &self.name
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    fn wants(&self, message: &Message) -> bool {
        self.filter.passes(message)
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        self.emit(message).await.map_err(|reason| NotTold {
            channel: self.name.clone(),
            reason,
        })
    }
}
