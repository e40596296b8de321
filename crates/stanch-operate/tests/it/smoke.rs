use serde_json::{Value, json};
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

fn own(rows: Value) -> FakeApi {
    let mut asked = 0;
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
        .on("dynamodb.Query", move |call| {
            assert_eq!(
                call.params["ExpressionAttributeValues"][":resource"]["S"],
                "arn:aws:s3:::stanch-smoke"
            );
            asked += 1;
            Ok(if asked < 3 {
                json!({"Items": []})
            } else {
                rows.clone()
            })
        })
}

fn bucket(open: bool) -> FakeApi {
    let all = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": !open});
    FakeApi::new().returns(
        "s3.GetPublicAccessBlock",
        json!({"PublicAccessBlockConfiguration": all}),
    )
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
    let good = State::Ok;
    for way in [Way::Manual, Way::Automatic] {
        let lines = lines(own(row("Success", true)), bucket(false), way).await;
        let states: Vec<State> = lines.iter().map(|line| line.state).collect();
        // What is not tried is not said to work.
        assert_eq!(
            states,
            [good, good, good, good, good, good, Unknown],
            "{lines:#?}"
        );
        assert_eq!(
            line(&lines, "the way back").command.as_deref(),
            Some("stanch rollback r-1")
        );
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
        own(row("InProgress", true)),
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
