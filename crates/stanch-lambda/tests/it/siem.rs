//! The audit log's stream, handed on to a SIEM.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_lambda::Handler;
use stanch_testkit::FakeApi;

use crate::world::World;

const ID: &str = "6f1c0000-0000-4000-8000-000000000000";

/// A row of a remediation that was carried out.
fn row(number: &str) -> Value {
    let s = |text: &str| json!({"S": text});
    json!({
        "eventName": "INSERT",
        "dynamodb": {
            "SequenceNumber": number,
            "ApproximateCreationDateTime": 1_769_860_800.0,
            "NewImage": {
                "RemediationId": s(ID), "Timestamp": {"N": "1769860800007"}, "Sequence": {"N": "7"},
                "AppendedAt": {"N": "1769860801000"}, "Bodies": {"B": STANDARD.encode([0; 32])},
                "Status": s("Success"), "FindingId": s("finding-1"), "AccountId": s("222222222222"),
                "ResourceType": s("AwsS3Bucket"), "ResourceId": s("arn:aws:s3:::logs"),
                "RemediationType": s("Automatic"), "RemediationAction": s("S3BlockPublicAccess"),
                "ExecutionStatus": s("Success"), "ExecutorArn": s("arn:aws:iam::222222222222:role/R"),
                "NotificationSent": {"BOOL": true}, "Region": s("us-east-1"), "Control": s("S3.8"),
                "Severity": s("HIGH"),
            },
        },
    })
}

fn world(own: FakeApi) -> World {
    let mut world = World::with(own);
    world.variables.insert("SIEM_BUCKET", "siem".to_owned());
    world.variables.insert("SIEM_STREAM", "Export".to_owned());
    world
}

async fn handle(world: &World, event: Value) -> Result<Value, stanch_lambda::Failure> {
    let function = world.function(Handler::Siem);
    function.handle(world.invocation(event)).await
}

#[tokio::test(start_paused = true)]
async fn rows_become_lines_in_the_bucket_and_the_stream() {
    let own = FakeApi::new().returns("s3.PutObject", json!({})).returns(
        "firehose.PutRecordBatch",
        json!({"FailedPutCount": 0, "RequestResponses": []}),
    );
    let world = world(own);
    let event = json!({"Records": [row("41"), {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "42"}}]});
    let answer = handle(&world, event).await;
    assert_eq!(answer, Ok(json!({"batchItemFailures": []})));
    let calls = world.own.calls();
    let put = calls
        .iter()
        .find(|call| call.operation == "PutObject")
        .unwrap();
    assert_eq!(put.params["Key"], "ocsf/year=2026/month=01/day=31/41.jsonl");
    let body = STANDARD
        .decode(put.params["Body"].as_str().unwrap())
        .unwrap();
    let lines: Vec<Value> = String::from_utf8(body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let classes: Vec<&Value> = lines.iter().map(|line| &line["class_uid"]).collect();
    assert_eq!(classes, [2003, 7001]);
    assert_eq!(
        (&lines[1]["command_uid"], &lines[1]["status"]),
        (&json!(ID), &json!("Success"))
    );
    let sent = calls
        .iter()
        .find(|call| call.operation == "PutRecordBatch")
        .unwrap();
    assert_eq!(sent.params["Records"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_sent_or_read_comes_again() {
    let own = FakeApi::new()
        .returns("s3.PutObject", json!({}))
        .returns(
            "firehose.PutRecordBatch",
            json!({"FailedPutCount": 2, "RequestResponses": [{"ErrorCode": "Slow"}, {"ErrorCode": "Slow"}]}),
        );
    let again = |number: &str| Ok(json!({"batchItemFailures": [{"itemIdentifier": number}]}));
    let world = world(own);
    assert_eq!(
        handle(&world, json!({"Records": [row("41")]})).await,
        again("41")
    );
    let mut torn = row("42");
    torn["dynamodb"]["NewImage"]["AccountId"] = json!({"S": "nobody"});
    let quiet = self::world(
        FakeApi::new()
            .returns("s3.PutObject", json!({}))
            .returns("firehose.PutRecordBatch", json!({"FailedPutCount": 0})),
    );
    assert_eq!(
        handle(&quiet, json!({"Records": [row("41"), torn]})).await,
        again("42")
    );
    let error = handle(&quiet, json!({"Records": []})).await.unwrap_err();
    assert_eq!(error.kind, "BadEvent");
    let nowhere = World::with(FakeApi::new());
    let error = handle(&nowhere, json!({"Records": [row("41")]}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, "Configuration");
}
