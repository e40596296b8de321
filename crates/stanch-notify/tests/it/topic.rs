//! What is told through AWS.

use std::sync::Arc;

use serde_json::json;
use stanch_hub::{Message, Notifier as _};
use stanch_ledger::{Ledger, MemoryLedger, testing};
use stanch_notify::{LogBucket, LogFolder, Topic};
use stanch_types::{Call, CallError, CallErrorKind};

use crate::world::{Scripted, asking, fixed, record};

const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:SecurityRemediationNotifications";

#[tokio::test]
async fn a_topic_gets_the_message_and_what_to_filter_by() {
    let aws = Scripted::new(Vec::new());
    let topic = Topic::new(aws.clone(), TOPIC);
    assert_eq!(topic.channel(), "topic SecurityRemediationNotifications");
    topic.tell(&fixed(), &record("Success"), &[]).await.unwrap();
    let params = &aws.calls()[0].params;
    let sent: Message = serde_json::from_str(params["Message"].as_str().unwrap()).unwrap();
    assert_eq!(sent, fixed());
    assert_eq!(params["TopicArn"], TOPIC);
    assert_eq!(
        params["Subject"],
        "Fixed: S3.8 on demo in payments (222222222222)"
    );
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    assert_eq!(
        params["MessageAttributes"],
        json!({
            "status": text("Success"), "account": text("222222222222"),
            "severity": text("HIGH"), "urgent": text("false"),
        })
    );
    let odd = Message {
        severity: String::new(),
        control: "Größe\n\u{202e}".repeat(40),
        ..fixed()
    };
    let call = topic.publish(&odd).unwrap();
    assert_eq!(call.params["MessageAttributes"].get("severity"), None);
    let subject = call.params["Subject"].as_str().unwrap();
    assert!(subject.len() <= 100 && subject.chars().all(|c| c.is_ascii_graphic() || c == ' '));
}

fn operations(aws: &Scripted) -> Vec<String> {
    let calls = aws.calls().into_iter();
    calls.map(|call| call.operation).collect()
}

/// Only where SNS says that nobody listens.
#[tokio::test]
async fn an_approval_is_not_asked_of_nobody() {
    let subscribed = |count: &str| Ok(json!({"Attributes": {"SubscriptionsConfirmed": count}}));
    let denied = {
        let call = Call::new("sns", "GetTopicAttributes", json!({}));
        CallError::new(CallErrorKind::Denied, &call, "not authorized")
    };
    let aws = Scripted::new(vec![subscribed("0")]);
    let topic = Topic::new(aws.clone(), TOPIC);
    let asked = topic
        .tell(&asking(), &record("AwaitingApproval"), &[])
        .await;
    assert_eq!(
        asked.unwrap_err().reason,
        "nobody has confirmed a subscription"
    );
    topic.tell(&fixed(), &record("Success"), &[]).await.unwrap();
    assert_eq!(operations(&aws), ["GetTopicAttributes", "Publish"]);

    for reply in [subscribed("1"), Ok(json!({})), Err(denied)] {
        let aws = Scripted::new(vec![reply]);
        let topic = Topic::new(aws.clone(), TOPIC);
        let asked = topic
            .tell(&asking(), &record("AwaitingApproval"), &[])
            .await;
        asked.unwrap();
        assert_eq!(operations(&aws), ["GetTopicAttributes", "Publish"]);
    }
}

#[test]
fn a_message_that_is_too_long_for_the_topic_is_shortened() {
    let mut message = asking();
    let asked = message.approval.as_mut().unwrap();
    asked.changes = vec!["\u{1}+ /a: b".repeat(500); 300];
    asked.facts = vec!["Touched: b".repeat(500); 300];
    let topic = Topic::new(Scripted::new(Vec::new()), TOPIC);
    let call = topic.publish(&message).unwrap();
    let text = call.params["Message"].as_str().unwrap();
    assert!(
        text.len() < 256 * 1024 && text.len() > 10_000,
        "{}",
        text.len()
    );
    let sent: Message = serde_json::from_str(text).unwrap();
    let asked = sent.approval.unwrap();
    for lines in [asked.changes, asked.facts] {
        assert_eq!(lines.len(), 201);
        assert_eq!(lines.last().unwrap(), "… and 100 more");
    }
}

#[tokio::test]
async fn logs_are_kept_by_the_day_of_admission() {
    let ledger = MemoryLedger::default();
    let at = "2026-01-31T23:59:59Z".parse().unwrap();
    let admitted = ledger
        .admit(testing::key(1), testing::received(1), at)
        .await;
    assert!(admitted.is_ok());
    let id = testing::key(1).remediation_id();
    let record = ledger.record(id).await.unwrap();
    let events = ledger.events(id).await.unwrap();
    let message = Message::new(&record);
    let path = format!("year=2026/month=01/day=31/remediation-{id}.json");

    let folder = tempfile::tempdir().unwrap();
    let logs = LogFolder::new(folder.path().to_owned());
    logs.tell(&message, &record, &events).await.unwrap();
    let kept = std::fs::read_to_string(folder.path().join(&path)).unwrap();
    let document: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(document["Record"]["RemediationId"], json!(id));
    assert_eq!(document["Events"].as_array().unwrap().len(), 1);

    let aws = Scripted::new(Vec::new());
    let (api, asked) = (aws.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let regions = Arc::clone(&asked);
    let bucket = LogBucket::new(
        Arc::new(move |region| {
            regions.lock().unwrap().push(region.to_string());
            api.clone()
        }),
        "security-remediation-logs",
        "alias/SecurityRemediationLogs",
    );
    bucket.tell(&message, &record, &events).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["eu-central-1"]);
    let params = &aws.calls()[0].params;
    let body = decoded(params["Body"].as_str().unwrap());
    assert_eq!(body, kept);
    assert_eq!(
        (&params["Bucket"], &params["Key"]),
        (
            &json!("security-remediation-logs-000000000001-eu-central-1"),
            &json!(path)
        )
    );
    assert_eq!(
        (&params["ServerSideEncryption"], &params["SSEKMSKeyId"]),
        (
            &json!("aws:kms"),
            &json!("arn:aws:kms:eu-central-1:000000000001:alias/SecurityRemediationLogs")
        )
    );
    assert_eq!(params["ExpectedBucketOwner"], "000000000001");
}

fn decoded(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}
