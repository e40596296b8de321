//! What breaks around the function: nothing is lost, and nothing runs that should not.

use serde_json::{Value, json};
use stanch_ledger::Status;
use stanch_testkit::{Aim, FakeApi, Fault};
use stanch_types::{Call, CallError, CallErrorKind};

use crate::world::{World, services};

fn denied(call: &Call) -> CallError {
    CallError {
        code: "AccessDeniedException".to_owned(),
        ..CallError::new(CallErrorKind::Denied, call, "no")
    }
}

#[tokio::test(start_paused = true)]
async fn rules_that_cannot_be_read_stop_everything() {
    let own = services().on("s3.GetObject", |call| Err(denied(call)));
    let world = World::with(own);
    let message = world.planted("logs").await;
    let failure = world.deliver(&[message]).await.unwrap_err();
    assert_eq!(failure.kind, "Aws");
    assert!(world.all().await.is_empty() && world.tap.opened().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_wrong_stops_everything() {
    for (variable, value) in [
        ("STANCH_GUARD_POLICIES", "s3://rules/none.cedar"),
        ("MEMBER_ACCOUNTS", "[\"7\"]"),
        ("REQUIRED_APPROVALS", "many"),
    ] {
        let mut world = World::new();
        world.variables.insert(variable, value.to_owned());
        let message = world.planted("logs").await;
        let failure = world.deliver(&[message]).await.unwrap_err();
        assert_eq!(failure.kind, "Configuration", "{variable}");
        assert!(world.tap.opened().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_no_session() {
    for secret in [
        "EXTERNAL_ID_SECRET",
        "VAULT_SECRET",
        "MEMBER_ACCOUNTS",
        "SNS_TOPIC_ARN",
    ] {
        let mut world = World::new();
        world.variables.remove(secret);
        let message = world.planted("logs").await;
        let failure = world.deliver(&[message]).await.unwrap_err();
        assert_eq!(failure.kind, "Configuration", "{secret}");
        assert!(world.tap.opened().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_refuses_fails_no_remediation() {
    let own = services().on("sns.Publish", |call| Err(denied(call)));
    let mut world = World::with(own);
    world
        .variables
        .insert("SECURITY_HUB_NOTES", "off".to_owned());
    let good = world.planted("logs").await;
    assert_eq!(
        world.deliver(&[good, "{".to_owned()]).await.unwrap(),
        [""; 0]
    );
    let (_, state) = world.all().await.remove(0);
    assert_eq!(state.status, Status::Success);
    assert!(!state.notified, "and the ledger says that nobody was told");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_gone_is_one_failure_and_not_all() {
    let world = World::new();
    let good = world.planted("logs").await;
    let mut gone = world.finding("other");
    gone.account = "333333333333".parse().unwrap();
    let mut world = world;
    let both = r#"["222222222222", "333333333333"]"#;
    world.variables.insert("MEMBER_ACCOUNTS", both.to_owned());
    let bad = gone.security_hub_event().to_string();
    assert_eq!(world.deliver(&[bad, good]).await.unwrap(), [""; 0]);
    assert!(world.is_blocked("logs").await);
    let all = world.all().await;
    let failed: Vec<_> = all
        .iter()
        .filter(|(_, state)| state.status == Status::Failed)
        .collect();
    assert_eq!(failed.len(), 1, "{all:?}");
    assert!(
        failed[0]
            .1
            .error
            .as_ref()
            .unwrap()
            .contains("no session in the member account")
    );
    assert!(world.told().iter().any(|told| told["Status"] == "Failed"));
    assert!(
        world
            .metrics()
            .iter()
            .any(|line| line["Status"] == "Failed")
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_looked_up() {
    let world = World::new();
    let message = world.planted("logs").await;
    world.tap.inject(
        Aim::at_write(),
        Fault::LoseAnswer(CallErrorKind::Unanswered),
    );
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    assert!(world.is_blocked("logs").await);
    assert_eq!(world.tap.writes().len(), 1);
    assert_eq!(world.all().await[0].1.status, Status::Success);
}

/// The administrator account with tables that answer every request like this.
fn tables(answer: fn(&Call) -> Result<Value, CallError>) -> FakeApi {
    let operations = [
        "BatchGetItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "TransactWriteItems",
        "UpdateItem",
    ];
    operations.iter().fold(services(), |own, operation| {
        own.on(&format!("dynamodb.{operation}"), answer)
    })
}

fn coded(kind: CallErrorKind, code: &str, call: &Call) -> CallError {
    CallError {
        code: code.to_owned(),
        ..CallError::new(kind, call, "no")
    }
}

#[tokio::test(start_paused = true)]
async fn tables_that_do_not_work_return_the_messages() {
    let throttled: fn(&Call) -> Result<Value, CallError> = |call| {
        let code = "ProvisionedThroughputExceededException";
        Err(coded(CallErrorKind::Throttled, code, call))
    };
    let absent: fn(&Call) -> Result<Value, CallError> = |call| {
        let code = "ResourceNotFoundException";
        Err(coded(CallErrorKind::Rejected, code, call))
    };
    let read_only: fn(&Call) -> Result<Value, CallError> = |call| match &*call.operation {
        "GetItem" | "BatchGetItem" => Ok(json!({})),
        "Query" => Ok(json!({"Items": [], "Count": 0})),
        _ => Err(coded(CallErrorKind::Denied, "AccessDeniedException", call)),
    };
    for answer in [throttled, absent, read_only] {
        let mut world = World::with(tables(answer));
        world.in_tables = true;
        let good = world.planted("logs").await;
        let bad = "{".to_owned();
        let failed = world.deliver(&[good, bad]).await.unwrap();
        assert_eq!(failed, ["m-0", "m-1"], "both come again");
        assert!(
            world.tap.opened().is_empty(),
            "nothing is looked at or changed"
        );
        assert!(!world.is_blocked("logs").await);
    }
}
