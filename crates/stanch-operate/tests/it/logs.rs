use serde_json::{Value, json};
use stanch_ledger::{
    Admission, Entry, Event, Ledger as _, MemoryLedger, RemediationId,
    testing::{NOON, key, noon_and, received, success},
};
use stanch_operate::logs::{Gathered, Source, gather};
use stanch_testkit::FakeApi;
use stanch_types::Call;

use crate::world::{World, account, denied, installation, now, region};

const FIRST: &str = "00000000-0000-0000-0000-00000000000a";
const SECOND: &str = "00000000-0000-0000-0000-00000000000b";

async fn entries(executor: &str) -> (RemediationId, Vec<Entry>) {
    let ledger = MemoryLedger::default();
    let mut finding = (*received(1)).clone();
    (finding.account, finding.region) = (account(crate::world::MEMBER), region());
    let Admission::New(id) = ledger.admit(key(1), finding.into(), NOON).await.unwrap() else {
        panic!("twice")
    };
    let mut events = success();
    for event in &mut events {
        if let Event::Started(started) = event {
            started.executor = executor.to_owned();
        }
    }
    ledger.append(id, 1, events, noon_and(3_000)).await.unwrap();
    (id, ledger.entries(id).await.unwrap())
}

fn own(id: RemediationId) -> FakeApi {
    FakeApi::new()
        .returns("sts.GetCallerIdentity", json!({"Account": "111111111111", "Arn": "a"}))
        .on("logs.FilterLogEvents", move |call| {
            assert_eq!(call.params["filterPattern"], format!("\"{id}\""));
            assert!(call.params["startTime"].as_i64().unwrap() < NOON.as_millisecond());
            let event = |ms: u64, text: &str| json!({"timestamp": noon_and(ms).as_millisecond(), "message": text});
            Ok(match (call.params["logGroupName"].as_str().unwrap(), &call.params["nextToken"]) {
                ("/aws/lambda/SecurityRemediationOrchestrator", Value::Null) => json!({"events": [event(1_000, "plans\n")], "nextToken": "2"}),
                ("/aws/lambda/SecurityRemediationOrchestrator", _) => json!({"events": [event(2_000, "starts")]}),
                _ => json!({"events": []}),
            })
        })
        .returns(
            "stepfunctions.ListExecutions",
            json!({"executions": [
                {"executionArn": "mine", "name": "x", "startDate": noon_and(500)},
                {"executionArn": "other", "name": "y", "startDate": noon_and(500)},
                {"executionArn": "old", "name": "z", "startDate": "2020-01-01T00:00:00Z"},
            ]}),
        )
        .on("stepfunctions.DescribeExecution", move |call| {
            assert_ne!(call.params["executionArn"], "old");
            Ok(json!({"input": if call.params["executionArn"] == "mine" { format!("{{\"remediationId\":\"{id}\"}}") } else { "{}".to_owned() }}))
        })
        .on("stepfunctions.GetExecutionHistory", |call| {
            assert_eq!(call.params["executionArn"], "mine");
            Ok(json!({"events": [{"timestamp": noon_and(1_500), "type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "ApplyRemediation"}}]}))
        })
}

fn member(id: RemediationId) -> FakeApi {
    FakeApi::new()
        .refuses("logs.FilterLogEvents", "ResourceNotFoundException")
        .on("cloudtrail.LookupEvents", |call| {
            assert_eq!(call.params["LookupAttributes"][0], json!({"AttributeKey": "Username", "AttributeValue": "stanch-1"}));
            Ok(json!({"Events": [{
                "EventTime": noon_and(2_500),
                "EventSource": "s3.amazonaws.com",
                "EventName": "PutBucketPublicAccessBlock",
                "CloudTrailEvent": r#"{"requestID":"REQ1","errorCode":"AccessDenied","errorMessage":"no"}"#,
            }]}))
        })
        .returns("ssm.DescribeAutomationExecutions", json!({"AutomationExecutionMetadataList": [{"AutomationExecutionId": FIRST}, {"AutomationExecutionId": SECOND}]}))
        .on("ssm.GetAutomationExecution", move |call| {
            let given = if call.params["AutomationExecutionId"] == FIRST { id.to_string() } else { "another".to_owned() };
            Ok(json!({"AutomationExecution": {
                "Parameters": {"RemediationId": [given]},
                "StepExecutions": [{"StepName": "LogResults", "StepStatus": "Failed", "ExecutionStartTime": noon_and(2_600), "ExecutionEndTime": noon_and(2_700), "FailureMessage": "no bucket"}],
            }}))
        })
}

async fn gathered(world: &World, (id, entries): &(RemediationId, Vec<Entry>)) -> Gathered {
    gather(world, &installation(), *id, entries, now()).await
}

#[tokio::test]
async fn every_source_in_the_order_of_time() {
    let told = entries("ssm").await;
    let found = gathered(&World::new(own(told.0), member(told.0)), &told).await;
    let texts: Vec<(Source, &str)> = found
        .lines
        .iter()
        .map(|line| (line.source, line.text.as_str()))
        .collect();
    let at = |text: &str| {
        texts
            .iter()
            .position(|(_, known)| known.contains(text))
            .unwrap_or_else(|| panic!("{text}: {texts:#?}"))
    };
    let order = [
        "received: S3.8",
        "plans",
        "TaskStateEntered ApplyRemediation",
        "starts",
        "s3.PutBucketPublicAccessBlock: AccessDenied: no",
        "LogResults begins",
        "LogResults Failed: no bucket",
        "planned",
    ];
    let places: Vec<usize> = order.iter().map(|text| at(text)).collect();
    assert!(places.is_sorted(), "{places:?} {texts:#?}");
    // One request in two sources, known by its id.
    let same = found
        .lines
        .iter()
        .filter(|line| line.request_id.as_deref() == Some("REQ1"))
        .map(|line| line.source);
    assert_eq!(
        same.collect::<Vec<_>>(),
        [Source::CloudTrail, Source::Ledger]
    );
    // Two executions, and one of them is this remediation's.
    assert_eq!(
        texts
            .iter()
            .filter(|(source, _)| *source == Source::Automation)
            .count(),
        2
    );
    let unread: Vec<(Source, &str)> = found
        .unread
        .iter()
        .map(|one| (one.source, one.why.as_str()))
        .collect();
    assert_eq!(unread, [(Source::CloudWatch, "it does not exist")]);
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let told = entries("native").await;
    let world = World::new(
        own(told.0).on("stepfunctions.ListExecutions", |call: &Call| {
            Err(denied(call))
        }),
        member(told.0),
    );
    let found = gathered(&world, &told).await;
    assert!(
        found
            .unread
            .iter()
            .any(|one| one.source == Source::StepFunctions && one.why.contains("AccessDenied")),
        "{:?}",
        found.unread
    );
    // Without the executor `ssm` no execution is looked for.
    assert!(
        !world
            .member
            .as_ref()
            .unwrap()
            .0
            .calls()
            .iter()
            .any(|call| call.service == "ssm")
    );

    let mut world = World::new(own(told.0), FakeApi::new());
    world.member = None;
    let found = gathered(&world, &told).await;
    assert!(
        found
            .unread
            .iter()
            .any(|one| one.source == Source::CloudTrail),
        "{:?}",
        found.unread
    );
    assert!(found.lines.iter().any(|line| line.source == Source::Ledger));
    // Just ended: CloudTrail is late.
    let found = gather(&world, &installation(), told.0, &told.1, noon_and(60_000)).await;
    assert!(
        found
            .unread
            .iter()
            .any(|one| one.why.contains("15 minutes")),
        "{:?}",
        found.unread
    );
}

#[tokio::test]
async fn pages_have_an_end() {
    let told = entries("native").await;
    let endless = own(told.0).returns(
        "logs.FilterLogEvents",
        json!({"events": [], "nextToken": "on"}),
    );
    let world = World::new(endless, member(told.0));
    let found = gathered(&world, &told).await;
    let reads = world
        .own
        .0
        .calls()
        .iter()
        .filter(|call| call.operation == "FilterLogEvents")
        .count();
    assert_eq!(reads, 30, "10 pages of each of 3 groups");
    assert_eq!(
        found
            .unread
            .iter()
            .filter(|one| one.why.contains("more than 10 pages"))
            .count(),
        3
    );
}
