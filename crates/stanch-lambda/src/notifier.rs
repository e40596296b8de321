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

use crate::{Failure, Function, Invocation, Variables, World};

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

    /// A line that CloudWatch makes a metric of:
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
    fn measure(&self, channel: &str) {
        let namespace = Variables(&self.world.environment).optional("METRIC_NAMESPACE");
        if let Some(namespace) = namespace {
            println!(
                "{}",
                failure_metric(namespace, channel, self.world.clock.now())
            );
        }
    }
}

/// One failed delivery, for all channels and for this one.
fn failure_metric(namespace: &str, channel: &str, now: jiff::Timestamp) -> Value {
    json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [[], ["Channel"]],
                "Metrics": [{"Name": "ChannelFailures", "Unit": "Count"}],
            }],
        },
        "ChannelFailures": 1,
        "Channel": channel,
    })
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::{Mutex as StdMutex, PoisonError},
    };

    use stanch_aws::{Environment, SessionsSetup, SystemClock};
    use stanch_models::Models;
    use stanch_types::{CallError, Region, Reply, Sessions};

    use super::*;
    use crate::world::Reach;

    /// AWS with one secret and a queue.
    struct Fake {
        secret: String,
        calls: StdMutex<Vec<Call>>,
    }

    impl Fake {
        fn calls(&self, operation: &str) -> Vec<Value> {
            let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let named = calls.iter().filter(|call| call.operation == operation);
            named.map(|call| call.params.clone()).collect()
        }
    }

    #[async_trait]
    impl Api for Fake {
        async fn call(&self, call: &Call) -> Result<Reply, CallError> {
            self.calls.lock().unwrap().push(call.clone());
            let output = match call.operation.as_str() {
                "GetSecretValue" => json!({"SecretString": self.secret}),
                _ => json!({"FailedEntryCount": 0}),
            };
            Ok(Reply {
                output,
                request_id: None,
            })
        }
    }

    struct Here(Arc<Fake>);

    impl Reach for Here {
        fn models(&self) -> Result<Arc<Models>, Failure> {
            Err(Failure::new("Test", "no models"))
        }

        fn own(&self, _: Option<&Region>) -> Result<Arc<dyn Api>, Failure> {
            Ok(self.0.clone())
        }

        fn members(&self, _: SessionsSetup) -> Result<Arc<dyn Sessions>, Failure> {
            Err(Failure::new("Test", "no members"))
        }

        fn trace(&self, _: Option<&str>) {}
    }

    fn function(secret: Value) -> (Notifier, Arc<Fake>) {
        let aws = Arc::new(Fake {
            secret: secret.to_string(),
            calls: StdMutex::default(),
        });
        let environment = Environment::new([
            (
                "CHANNEL_SECRET",
                "arn:aws:secretsmanager:us-east-1:1:secret:s",
            ),
            ("DEAD_LETTER_QUEUE_URL", "https://sqs.example/dead"),
        ]);
        let world = World {
            environment,
            clock: Arc::new(SystemClock::default()),
            reach: Arc::new(Here(Arc::clone(&aws))),
        };
        (Notifier::new(world), aws)
    }

    /// An address that answers each request with the next status, and then is gone.
    fn hook(statuses: &'static [u16]) -> (String, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            for status in statuses {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
                while !text.ends_with(b"}") {
                    let read = stream.read(&mut buffer).unwrap();
                    text.extend_from_slice(&buffer[..read]);
                }
                write!(
                    stream,
                    "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
            }
            statuses.len()
        });
        (url, thread)
    }

    fn message() -> Value {
        json!({
            "RemediationId": "6f1c0000-0000-4000-8000-000000000000", "Status": "Failed",
            "Account": "222222222222", "Resource": "arn:aws:s3:::demo", "Action": "S3BlockPublicAccess",
            "ExecutedAt": "2026-01-31T12:00:00Z", "Finding": "A bucket is public", "Region": "us-east-1",
        })
    }

    fn delivery(messages: &[String]) -> Value {
        let record = |text: &String| json!({"EventSource": "aws:sns", "Sns": {"Message": text}});
        json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
    }

    async fn handle(notifier: &Notifier, event: Value) -> Result<Value, Failure> {
        let deadline = notifier.world.clock.now() + Duration::from_secs(60);
        let invocation = Invocation {
            event,
            deadline,
            request_id: "r".to_owned(),
            trace: None,
        };
        notifier.handle(invocation).await
    }

    #[tokio::test]
    async fn what_one_channel_does_not_take_waits_for_it_alone() {
        let (good, bad) = (hook(&[200]), hook(&[404, 200]));
        let (notifier, aws) = function(json!({
            "slack": {"good": {"url": good.0}},
            "teams": {"bad": {"url": bad.0}},
            "pagerduty": {"not-meant": {"routing_key": "r", "url": "http://127.0.0.1:1/"}},
            "event_buses": {"own": {"bus": "default", "region": "us-east-1"}},
        }));
        let event = delivery(&[message().to_string()]);
        assert_eq!(handle(&notifier, event).await, Ok(json!({"Told": 2})));
        assert_eq!(good.1.join().unwrap(), 1);
        assert_eq!(aws.calls("PutEvents").len(), 1);
        let dead = aws.calls("SendMessage");
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0]["QueueUrl"], "https://sqs.example/dead");
        let letter: Value = serde_json::from_str(dead[0]["MessageBody"].as_str().unwrap()).unwrap();
        assert_eq!(letter["Channels"], json!(["teams bad"]));
        assert_eq!(letter["Reasons"], json!(["teams bad: it answered 404"]));
        // The dead letter as an event tells that one channel, and the secret is not read again.
        assert_eq!(handle(&notifier, letter).await, Ok(json!({"Told": 1})));
        assert_eq!(bad.1.join().unwrap(), 2);
        assert_eq!(
            (
                aws.calls("SendMessage").len(),
                aws.calls("GetSecretValue").len()
            ),
            (1, 1)
        );
    }

    #[tokio::test]
    async fn what_is_not_about_a_remediation_is_left_to_the_topic() {
        let (notifier, aws) = function(json!({}));
        let alarm = json!({"AlarmName": "a", "NewStateValue": "ALARM"}).to_string();
        let event = delivery(&[alarm, "plain words".to_owned()]);
        assert_eq!(handle(&notifier, event).await, Ok(json!({"Told": 0})));
        assert!(aws.calls("SendMessage").is_empty());
        let error = handle(&notifier, json!({"Records": 1})).await.unwrap_err();
        assert_eq!(error.kind, "BadEvent");
    }

    #[tokio::test]
    async fn a_secret_that_is_wrong_is_not_quoted() {
        for secret in [
            json!({"slack": {"a": {"urls": "hunter2"}}}),
            json!("hunter2"),
            json!({"slack": {"a": {"url": "hunter2"}}}),
        ] {
            let (notifier, _) = function(secret);
            let error = handle(&notifier, delivery(&[])).await.unwrap_err();
            assert_eq!(error.kind, "Configuration");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_failed_delivery_is_a_metric_of_all_and_of_its_channel() {
        let line = failure_metric("Stanch", "slack a", jiff::Timestamp::UNIX_EPOCH);
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Dimensions"], json!([[], ["Channel"]]));
        assert_eq!(metrics["Metrics"][0]["Name"], "ChannelFailures");
        assert_eq!(
            (&line["ChannelFailures"], &line["Channel"]),
            (&json!(1), &json!("slack a"))
        );
    }
}
