//! The notifier against channels on the loopback.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_aws::{Environment, SessionsSetup, SystemClock};
use stanch_lambda::{Failure, Function as _, Invocation, Notifier, Reach, Store, Variables, World};
use stanch_ledger::Retention;
use stanch_models::Models;
use stanch_types::{Api, Call, CallError, Clock as _, Region, Reply, Sessions};

use crate::world::Lines;

/// AWS with one secret and a queue.
struct Fake {
    secret: String,
    calls: Mutex<Vec<Call>>,
}

impl Fake {
    fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
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

    fn store(&self, _: Variables<'_>, _: Arc<dyn Api>, _: Retention) -> Result<Store, Failure> {
        Err(Failure::new("Test", "no store"))
    }

    fn trace(&self, _: Option<&str>) {}
}

fn function(secret: Value) -> (Notifier, Arc<Fake>, Arc<Lines>) {
    let aws = Arc::new(Fake {
        secret: secret.to_string(),
        calls: Mutex::default(),
    });
    let environment = Environment::new([
        (
            "CHANNEL_SECRET",
            "arn:aws:secretsmanager:us-east-1:1:secret:s",
        ),
        ("DEAD_LETTER_QUEUE_URL", "https://sqs.example/dead"),
        ("METRIC_NAMESPACE", "SecurityRemediation"),
    ]);
    let lines = Arc::new(Lines::default());
    let world = World {
        environment,
        clock: Arc::new(SystemClock::default()),
        reach: Arc::new(Here(Arc::clone(&aws))),
        print: lines.clone(),
    };
    (Notifier::new(world), aws, lines)
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
    let deadline = SystemClock::default().now() + Duration::from_secs(60);
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
    let (notifier, aws, lines) = function(json!({
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
    let told = lines.all();
    assert_eq!(told.len(), 1);
    let metrics = &told[0]["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(metrics["Dimensions"], json!([[], ["Channel"]]));
    assert_eq!(metrics["Metrics"][0]["Name"], "ChannelFailures");
    assert_eq!(told[0]["Channel"], "teams bad");
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
    let (notifier, aws, _) = function(json!({}));
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
        let (notifier, _, _) = function(secret);
        let error = handle(&notifier, delivery(&[])).await.unwrap_err();
        assert_eq!(error.kind, "Configuration");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
