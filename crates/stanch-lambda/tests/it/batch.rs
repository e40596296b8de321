//! Batches: what is good is fixed, what is bad is put aside and told, what failed comes again.

use serde_json::{Value, json};
use stanch_lambda::Handler;
use stanch_ledger::Status;

use crate::world::{World, batch};

#[tokio::test(start_paused = true)]
async fn a_finding_is_fixed_in_one_invocation() {
    let world = World::new();
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    assert!(world.is_blocked("logs").await);
    let all = world.all().await;
    assert_eq!(all.len(), 1);
    let (id, state) = &all[0];
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert!(
        world.calls("stepfunctions.StartExecution").is_empty(),
        "no state machine"
    );

    let told = world.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["Status"], "Success");
    assert_eq!(told[0]["RemediationId"], json!(id));

    let metrics = world.metrics();
    assert_eq!(metrics.len(), 1);
    assert_eq!(metrics[0]["Remediations"], 1);
    assert_eq!(metrics[0]["Status"], "Success");
    assert_eq!(metrics[0]["RemediationType"], "Automatic");
    assert_eq!(
        metrics[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"],
        "SecurityRemediation"
    );

    let roles = world.roles.lock().unwrap().clone().unwrap();
    let role = &roles.accounts[&crate::world::account()];
    assert_eq!(role.name, "SecurityRemediationCrossAccountRole");
    let external_id = role.external_id.as_ref().unwrap().reveal();
    assert_eq!(external_id, "the secret \"prefix\"-222222222222");
}

#[tokio::test(start_paused = true)]
async fn one_poisoned_message_takes_none_of_nine_with_it() {
    let world = World::new();
    let mut messages = Vec::new();
    for number in 0..9 {
        messages.push(world.planted(&format!("logs-{number}")).await);
    }
    let whole = messages[0].clone();
    messages.insert(4, whole[..whole.len() / 2].to_owned());
    assert_eq!(world.deliver(&messages).await.unwrap(), [""; 0]);
    for number in 0..9 {
        assert!(
            world.is_blocked(&format!("logs-{number}")).await,
            "{number}"
        );
    }
    let letters = world.ledger.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let told: Vec<Value> = world.told();
    let dead: Vec<&Value> = told
        .iter()
        .filter(|one| one["Status"] == "DeadLetter")
        .collect();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["RemediationId"], letters[0].id.to_string());
    assert_eq!(told.len(), 10);
    assert!(world.metrics().iter().any(|line| line["DeadLetters"] == 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_twice_is_done_once() {
    let world = World::new();
    let message = world.planted("logs").await;
    let twice = [message.clone(), message.clone()];
    assert_eq!(world.deliver(&twice).await.unwrap(), [""; 0]);
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    assert_eq!(world.tap.writes().len(), 1);
    assert_eq!(world.all().await.len(), 1);
    assert_eq!(world.told().len(), 1);
}

/// The same finding by the hub of its own region and by the one that aggregates: the envelope tells them
/// apart, the finding does not.
#[tokio::test(start_paused = true)]
async fn two_hubs_tell_of_one_finding() {
    let world = World::new();
    world.bucket("logs").await;
    let event = world.finding("logs").security_hub_event();
    let mut aggregated = event.clone();
    aggregated["region"] = json!("us-east-1");
    aggregated["account"] = json!("111111111111");
    aggregated["id"] = json!("another");
    let both = [event.to_string(), aggregated.to_string()];
    assert_eq!(world.deliver(&both).await.unwrap(), [""; 0]);
    assert_eq!(world.all().await.len(), 1);
    assert_eq!(world.tap.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_invocation_left_goes_on_when_the_message_comes_again() {
    let world = World::new();
    let message = world.planted("logs").await;
    let orchestrator = world.function(Handler::Orchestrator);
    // There is no time for a request, and the state machine does not answer either.
    let short = world.invocation_of(
        batch(std::slice::from_ref(&message), 1),
        std::time::Duration::from_secs(30),
    );
    orchestrator.handle(short).await.unwrap();
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.all().await[0].1.status, Status::Ready);
    let again = world.invocation(batch(&[message], 2));
    let answer = orchestrator.handle(again).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(world.all().await[0].1.status, Status::Success);
    assert_eq!(world.tap.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_account_is_refused_and_people_are_told() {
    let world = World::new();
    world.bucket("logs").await;
    let mut finding = world.finding("logs");
    finding.account = "999999999999".parse().unwrap();
    let message = finding.security_hub_event().to_string();
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    assert_eq!(world.all().await[0].1.status, Status::Refused);
    assert!(world.tap.opened().is_empty());
    assert_eq!(world.told()[0]["Status"], "Refused");
}

#[tokio::test(start_paused = true)]
async fn events_of_every_shape_end_somewhere() {
    let world = World::new();
    let long = format!(r#"{{"x": "{}"}}"#, "y".repeat(2 << 20));
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for body in [
        "",
        "null",
        "7",
        "[]",
        "{}",
        "{\"detail-type\":\"x\"}",
        &long,
        &deep,
    ] {
        let answer = world.deliver(&[body.to_owned()]).await.unwrap();
        assert!(answer.is_empty(), "{}", &body[..body.len().min(40)]);
    }
    assert!(world.tap.opened().is_empty());
    assert!(world.ledger.dead_letters(20).await.unwrap().len() >= 6);
}

#[tokio::test(start_paused = true)]
async fn the_switch_of_the_environment_and_of_the_table() {
    let mut world = World::new();
    world.variables.insert("STANCH_PAUSE", "1".to_owned());
    let message = world.planted("logs").await;
    world.deliver(&[message]).await.unwrap();
    assert_eq!(world.all().await[0].1.status, Status::Paused);

    let world = World::new();
    let message = world.planted("logs").await;
    let pause = stanch_ledger::Directive::Pause {
        reach: stanch_ledger::Reach::All,
    };
    let now = stanch_types::Clock::now(&*world.clock);
    let given = stanch_ledger::Given::after(None, pause, "alice", "an outage", now);
    assert!(world.directives.give(given).await.unwrap());
    world.deliver(&[message]).await.unwrap();
    assert_eq!(world.all().await[0].1.status, Status::Paused);
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.told()[0]["Status"], "Paused");
}
