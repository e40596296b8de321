use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_ledger::{
    Admission, Event, Ledger as _, MemoryLedger,
    testing::{key, received, success},
};
use stanch_operate::{
    doctor::{Line, State},
    smoke::{Probe, Way, examine},
};
use stanch_testkit::{FakeApi, FakeClock};
use stanch_types::{
    Incoming,
    event::{Options, read},
};

use crate::world::{MEMBER, World, account, installation, line, now, patient, region};

fn probe() -> Probe {
    Probe {
        account: account(MEMBER),
        region: region(),
        bucket: "stanch-smoke".to_owned(),
        name: "probe-1".to_owned(),
    }
}

fn row(status: &str, told: bool) -> Value {
    json!({"Items": [{"RemediationId": {"S": "r-1"}, "ExecutionStatus": {"S": status}, "ErrorMessage": {"S": "no"}, "NotificationSent": {"BOOL": told}}]})
}

fn says(answer: Value) -> Value {
    json!({"StatusCode": 200, "Payload": STANDARD.encode(answer.to_string())})
}

fn own(rows: Value) -> FakeApi {
    own_of(rows)
}

fn own_of(rows: Value) -> FakeApi {
    let mut times = 0;
    FakeApi::new()
        .returns(
            "sts.GetCallerIdentity",
            json!({"Account": "111111111111", "Arn": "a"}),
        )
        .returns(
            "events.DescribeRule",
            json!({"EventPattern": "{\"source\":[\"x\"]}"}),
        )
        .returns("events.TestEventPattern", json!({"Result": true}))
        .returns("sqs.GetQueueUrl", json!({"QueueUrl": "https://queue"}))
        .returns("sqs.SendMessage", json!({}))
        .returns("lambda.Invoke", says(json!({"done": {"status": "Undone"}})))
        .on("dynamodb.Query", move |call| {
            let asked = &call.params["ExpressionAttributeValues"][":resource"]["S"];
            assert_eq!(asked, "arn:aws:s3:::stanch-smoke");
            times += 1;
            Ok(if times < 3 {
                json!({"Items": []})
            } else {
                rows.clone()
            })
        })
}

fn blocks(open: bool) -> Value {
    let all = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": !open});
    json!({"PublicAccessBlockConfiguration": all})
}

fn bucket(open: bool) -> FakeApi {
    FakeApi::new().returns("s3.GetPublicAccessBlock", blocks(open))
}

/// Closed when it is looked at first, and open afterwards.
fn reopened() -> FakeApi {
    let mut looks = 0;
    FakeApi::new().on("s3.GetPublicAccessBlock", move |_| {
        looks += 1;
        Ok(blocks(looks > 1))
    })
}

async fn lines(own: FakeApi, member: FakeApi, way: Way) -> Vec<Line> {
    let installation = installation();
    let world = World::new(own, member);
    examine(
        &world,
        &patient(&installation),
        &FakeClock::at(now()),
        &probe(),
        way,
    )
    .await
}

// Time that is waited passes at once.
#[tokio::test(start_paused = true)]
async fn the_way_of_a_finding_is_followed_to_its_end() {
    use State::{Problem, Unknown, Warning};
    for way in [Way::Manual, Way::Automatic] {
        let lines = lines(own_of(row("Success", true)), reopened(), way).await;
        let states: Vec<State> = lines.iter().map(|line| line.state).collect();
        assert_eq!(states, [State::Ok; 7], "{lines:#?}");
    }
    let check = async |own: FakeApi, member: FakeApi, way: Way, what: &str, state: State| {
        let lines = lines(own, member, way).await;
        assert_eq!(line(&lines, what).state, state, "{lines:#?}");
    };
    check(
        own(row("Success", false)),
        bucket(false),
        Way::Manual,
        "the notification",
        Problem,
    )
    .await;
    check(
        own(row("Success", true)),
        bucket(true),
        Way::Manual,
        "bucket stanch-smoke",
        Problem,
    )
    .await;
    check(
        own(row("Failed", true)),
        bucket(true),
        Way::Manual,
        "the manual way",
        Problem,
    )
    .await;
    check(
        own_of(row("InProgress", true)),
        bucket(true),
        Way::Automatic,
        "the automatic way",
        Warning,
    )
    .await;
    check(
        own(row("InProgress", true)),
        bucket(true),
        Way::Manual,
        "the manual way",
        Problem,
    )
    .await;
    check(
        own(json!({"Items": []})),
        bucket(true),
        Way::Manual,
        "the manual way",
        Problem,
    )
    .await;
    // It says that it put it back, and did not; it says that it did not; nobody may ask it.
    let back = "the way back";
    let asked = own(row("Success", true));
    check(asked, bucket(false), Way::Manual, back, Problem).await;
    let drift = json!({"drift": {"before": 1, "after": 2, "now": 3}});
    let drifted = own(row("Success", true)).returns("lambda.Invoke", says(drift));
    check(drifted, reopened(), Way::Manual, back, Problem).await;
    let denied = own(row("Success", true)).refuses("lambda.Invoke", "AccessDeniedException");
    check(denied, reopened(), Way::Manual, back, Unknown).await;
    let other =
        own(row("Success", true)).returns("events.TestEventPattern", json!({"Result": false}));
    check(
        other,
        bucket(false),
        Way::Manual,
        "rule SecurityRemediationManual",
        Problem,
    )
    .await;
    let refused = own(row("Success", true)).refuses("sqs.SendMessage", "QueueDoesNotExist");
    check(
        refused,
        bucket(false),
        Way::Manual,
        "the manual way",
        Unknown,
    )
    .await;
}

/// What is sent is read as the finding that it is, by both ways.
#[test]
fn the_events_are_findings_of_the_bucket() {
    for (way, control) in [
        (Way::Manual, "S3.8"),
        (Way::Automatic, "s3-bucket-level-public-access-prohibited"),
    ] {
        let event = probe().event(way, &account("111111111111"), &region(), now());
        let incoming = read(event.to_string().as_bytes(), &Options::default());
        let [Incoming::Accepted { finding, .. }] = &incoming[..] else {
            panic!("{incoming:?}")
        };
        let text = format!("{finding:?}");
        for part in [control, MEMBER, "stanch-smoke"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

/// The row is written before anybody is told, and never again: the ledger's events know.
#[tokio::test(start_paused = true)]
async fn whether_people_were_told_the_ledger_knows() {
    for (ok, state) in [(true, State::Ok), (false, State::Problem)] {
        let ledger = MemoryLedger::default();
        let admitted = ledger.admit(key(1), received(1), now()).await;
        let Ok(Admission::New(id)) = admitted else {
            panic!("{admitted:?}")
        };
        let mut events = success();
        events.push(Event::Notified {
            channel: "topic".to_owned(),
            ok,
            error: None,
            asked: Vec::new(),
        });
        ledger.append(id, 1, events, now()).await.unwrap();
        let mut rows = row("Success", false);
        rows["Items"][0]["RemediationId"] = json!({ "S": id });
        let installation = installation();
        let mut patient = patient(&installation);
        patient.ledger = Some(&ledger);
        let world = World::new(own(rows), reopened());
        let lines = examine(
            &world,
            &patient,
            &FakeClock::at(now()),
            &probe(),
            Way::Manual,
        )
        .await;
        assert_eq!(line(&lines, "the notification").state, state, "{lines:#?}");
    }
}

/// What waits for people is told at once: nobody comes to answer while it is waited for.
#[tokio::test(start_paused = true)]
async fn an_approval_is_not_waited_for() {
    let waits = json!({"Items": [{"RemediationId": {"S": "r-1"}, "ExecutionStatus": {"S": "InProgress"}, "Status": {"S": "AwaitingApproval"}}]});
    let begin = tokio::time::Instant::now();
    let lines = lines(own_of(waits), bucket(true), Way::Automatic).await;
    let automatic = line(&lines, "the automatic way");
    assert_eq!(automatic.seen, "arrived, and waits");
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}
