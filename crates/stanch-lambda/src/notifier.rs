//! Tells the channels what the notification topic was told.
//!
//! A channel that could not be told takes nothing from the others: what is missing goes to the queue of
//! dead letters as `{"Channels": […], "Message": {…}}`, and the same as an event of this function tells
//! just those channels again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stanch_aws::HttpClient;
use stanch_hub::{Message, Notifier as _};
use stanch_notify::{Channels, EventBus, Notice, Patience, Sender};
use stanch_types::{Api, Call, Http, chain};
use tokio::sync::Mutex;

use crate::{Failure, Function, Invocation, Variables, World, metrics};

/// How long the secret is kept before it is read again.
const KEPT: Duration = Duration::from_secs(300);

/// What is left of an invocation's time for the dead letter.
const REST: Duration = Duration::from_secs(10);

/// The function `notifier`.
pub struct Notifier {
    world: World,
    http: Arc<dyn Http>,
    /// The channels as the secret last had them, and when that was.
    channels: Mutex<Option<(Duration, Channels)>>,
}

/// What a topic delivers:
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delivery {
    records: Vec<DeliveryRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeliveryRecord {
    sns: Notification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    message: String,
}

/// A message that some channels have not got.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Undelivered {
    /// The channels by their names.
    channels: Vec<String>,
    /// Why, for people.
    #[serde(default)]
    reasons: Vec<String>,
    /// The message.
    message: Message,
}

impl Notifier {
    /// The function, which has done nothing yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        let http = Arc::new(HttpClient::new(world.environment.clone()));
        Self {
            world,
            http,
            channels: Mutex::default(),
        }
    }

    /// The channels of the secret; none without one.
    async fn channels(&self, aws: &dyn Api) -> Result<Channels, Failure> {
        let Some(secret) = Variables(&self.world.environment).optional("CHANNEL_SECRET") else {
            return Ok(Channels::default());
        };
        let mut kept = self.channels.lock().await;
        let now = self.world.clock.monotonic();
        if let Some((since, channels)) = &*kept
            && now.saturating_sub(*since) < KEPT
        {
            return Ok(channels.clone());
        }
        let call = Call::new(
            "secretsmanager",
            "GetSecretValue",
            json!({"SecretId": secret}),
        );
        let reply = aws.call(&call).await?;
        let text = reply.output.get("SecretString").and_then(Value::as_str);
        let wrong = |why: &str| {
            Failure::configuration(format!("the secret of the channels cannot be used: {why}"))
                .hint("docs/guides/notifications.md has its format")
        };
        let text = text.ok_or_else(|| wrong("it is not text"))?;
        // The text of the error may quote the secret: only the place is told.
        let channels: Channels = serde_json::from_str(text)
            .map_err(|error| wrong(&format!("line {}, column {}", error.line(), error.column())))?;
        if let Err((key, why)) = channels.check() {
            return Err(wrong(&format!("`{key}`: {why}")));
        }
        *kept = Some((now, channels.clone()));
        Ok(channels)
    }

    /// Tells those channels of `among`, or all, and hands on what they did not take.
    async fn tell(
        &self,
        aws: &Arc<dyn Api>,
        channels: &Channels,
        message: &Message,
        among: Option<&[String]>,
        patience: Patience,
    ) -> Result<usize, Failure> {
        let clock = Arc::clone(&self.world.clock);
        let sender = Sender::new(Arc::clone(&self.http), clock, patience);
        let subscribers = channels.subscribers(&sender);
        let is_meant = |name: &str| among.is_none_or(|among| among.iter().any(|one| one == name));
        let begins = message.status == "Running";
        let over_http = subscribers.iter().filter(|one| {
            is_meant(one.channel()) && one.wants(message) && (!begins || one.follows())
        });
        let notice = &Notice::new(message);
        let told = join_all(over_http.map(|one| async move {
            let result = one.deliver(notice).await;
            (one.channel().to_owned(), result)
        }));
        let buses: Vec<EventBus> = channels
            .event_buses
            .values()
            .filter_map(|section| {
                let own = self.world.reach.own(Some(&section.region)).ok()?;
                Some(EventBus::new(own, section.bus.clone()).of(section.only.clone()))
            })
            .filter(|bus| is_meant(bus.channel()) && bus.wants(message) && !begins)
            .collect();
        let emitted = join_all(buses.iter().map(|bus| async move {
            let result = bus.emit(message).await;
            (bus.channel().to_owned(), result)
        }));
        let (told, emitted) = futures_util::future::join(told, emitted).await;
        let mut missing = Undelivered {
            channels: Vec::new(),
            reasons: Vec::new(),
            message: message.clone(),
        };
        let mut count = 0;
        for (channel, result) in told.into_iter().chain(emitted) {
            let Err(reason) = result else {
                count += 1;
                continue;
            };
            tracing::error!(
                id = message.remediation_id,
                channel,
                reason,
                "a channel could not be told"
            );
            self.measure(&channel);
            missing.reasons.push(format!("{channel}: {reason}"));
            missing.channels.push(channel);
        }
        if !missing.channels.is_empty() {
            self.bury(&**aws, &missing).await?;
        }
        Ok(count)
    }

    async fn bury(&self, aws: &dyn Api, missing: &Undelivered) -> Result<(), Failure> {
        let queue = Variables(&self.world.environment).text("DEAD_LETTER_QUEUE_URL")?;
        let body = serde_json::to_string(missing)
            .map_err(|error| Failure::new("NotTold", chain(&error)))?;
        let params = json!({"QueueUrl": queue, "MessageBody": body});
        let call = Call::new("sqs", "SendMessage", params);
        aws.call(&call).await?;
        Ok(())
    }

    fn measure(&self, channel: &str) {
        let variables = Variables(&self.world.environment);
        if let (Some(namespace), true) = (
            variables.optional("METRIC_NAMESPACE"),
            variables.optional("METRICS") != Some("off"),
        ) {
            let now = self.world.clock.now();
            let line = metrics::channel_failure(namespace, channel, now);
            self.world.print.line(&line.to_string());
        }
    }
}

#[async_trait]
impl Function for Notifier {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        let aws = self.world.reach.own(None)?;
        let left = invocation.deadline.duration_since(self.world.clock.now());
        let left: Duration = left.try_into().unwrap_or_default();
        let patience = Patience {
            total: Patience::default().total.min(left.saturating_sub(REST)),
            ..Patience::default()
        };
        let channels = self.channels(&*aws).await?;
        if let Ok(again) = serde_json::from_value::<Undelivered>(invocation.event.clone()) {
            let among = Some(again.channels.as_slice());
            let told = self
                .tell(&aws, &channels, &again.message, among, patience)
                .await?;
            return Ok(json!({"Told": told}));
        }
        let delivery: Delivery = serde_json::from_value(invocation.event).map_err(|error| {
            Failure::event(format!("this is not what a topic delivers: {error}"))
        })?;
        let mut told = 0;
        for record in delivery.records {
            // Alarms and budgets are on the topic, too; SNS tells them to its own subscribers.
            let Ok(message) = serde_json::from_str::<Message>(&record.sns.message) else {
                tracing::info!("what is not about a remediation is not for channels");
                continue;
            };
            told += self.tell(&aws, &channels, &message, None, patience).await?;
        }
        Ok(json!({"Told": told}))
    }
}
