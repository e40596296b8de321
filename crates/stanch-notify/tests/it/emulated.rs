//! A topic, an event bus and a log bucket of an emulator.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use stanch_hub::{Message, Notifier as _};
use stanch_notify::{EventBus, Topic};
use stanch_testkit::{Emulated, Emulator};
use stanch_types::{AccountId, Api, Call, Region};

use crate::world::{failed, fixed, record};

struct Account(Arc<dyn Api>);

impl Account {
    async fn call(&self, service: &str, operation: &str, params: Value) -> Value {
        let call = Call::new(service, operation, params);
        self.0.call(&call).await.unwrap().output
    }

    /// A queue that anybody may send to; its URL and ARN.
    async fn queue(&self, name: &str) -> (String, String) {
        let made = self
            .call("sqs", "CreateQueue", json!({"QueueName": name}))
            .await;
        let url = made["QueueUrl"].as_str().unwrap().to_owned();
        let arn = format!("arn:aws:sqs:us-east-1:111111111111:{name}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn,
        }]});
        let attributes = json!({"Policy": policy.to_string()});
        let set = json!({"QueueUrl": url, "Attributes": attributes});
        self.call("sqs", "SetQueueAttributes", set).await;
        (url, arn)
    }

    /// The bodies of what arrived, within ten seconds.
    async fn receive(&self, url: &str, count: usize) -> Vec<Value> {
        let mut bodies = Vec::new();
        for _ in 0..10 {
            let params = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
            let got = self.call("sqs", "ReceiveMessage", params).await;
            for message in got["Messages"].as_array().into_iter().flatten() {
                bodies.push(serde_json::from_str(message["Body"].as_str().unwrap()).unwrap());
                let receipt = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
                self.call("sqs", "DeleteMessage", receipt).await;
            }
            if bodies.len() >= count {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "an emulator takes its own time")]
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bodies
    }
}

#[tokio::test]
async fn a_topic_and_a_bus_carry_the_message_to_a_queue() {
    let emulator = Emulator::start().unwrap();
    let region: Region = "us-east-1".parse().unwrap();
    let account: AccountId = "111111111111".parse().unwrap();
    let api = Emulated::at(&emulator.endpoint(), region.clone()).root(&account, &region);
    let aws = Account(Arc::clone(&api));
    let (all, all_arn) = aws.queue("all").await;
    let (failures, failures_arn) = aws.queue("failures").await;
    let made = aws
        .call(
            "sns",
            "CreateTopic",
            json!({"Name": "SecurityRemediationNotifications"}),
        )
        .await;
    let topic_arn = made["TopicArn"].as_str().unwrap().to_owned();
    let filter = json!({"status": ["Failed"], "severity": ["CRITICAL"]}).to_string();
    for (endpoint, attributes) in [
        (&all_arn, json!({})),
        (&failures_arn, json!({"FilterPolicy": filter})),
    ] {
        let params = json!({"TopicArn": topic_arn, "Protocol": "sqs", "Endpoint": endpoint, "Attributes": attributes});
        aws.call("sns", "Subscribe", params).await;
    }
    let topic = Topic::new(Arc::clone(&api), topic_arn);
    for message in [fixed(), failed()] {
        topic
            .tell(&message, &record(&message.status), &[])
            .await
            .unwrap();
    }
    let sent = |body: &Value| -> Message {
        serde_json::from_str(body["Message"].as_str().unwrap()).unwrap()
    };
    let got = aws.receive(&all, 2).await;
    assert_eq!(got.len(), 2);
    assert!(got.iter().any(|body| sent(body) == fixed()));
    assert_eq!(
        got[0]["MessageAttributes"]["account"]["Value"],
        "222222222222"
    );
    let got = aws.receive(&failures, 1).await;
    assert_eq!(got.iter().map(sent).collect::<Vec<_>>(), [failed()]);

    let (events, events_arn) = aws.queue("events").await;
    let pattern = json!({"source": ["stanch"], "detail": {"Status": ["Failed"]}});
    aws.call(
        "events",
        "PutRule",
        json!({"Name": "failures", "EventPattern": pattern.to_string()}),
    )
    .await;
    let targets = json!({"Rule": "failures", "Targets": [{"Id": "queue", "Arn": events_arn}]});
    aws.call("events", "PutTargets", targets).await;
    let bus = EventBus::new(api, "default");
    for message in [fixed(), failed()] {
        bus.tell(&message, &record(&message.status), &[])
            .await
            .unwrap();
    }
    let got = aws.receive(&events, 1).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["detail-type"], "Stanch Remediation");
    let detail: Message = serde_json::from_value(got[0]["detail"].clone()).unwrap();
    assert_eq!(detail, failed());
}
