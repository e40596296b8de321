//! What is waited for: approvals by task token, hand-over before the deadline, dependencies, the sweep.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, Guard};
use stanch_hub::{Approvals, Approver, Hub, Links, Ports, Settings};
use stanch_lambda::Handler;
use stanch_ledger::{Means, RemediationId, Status};
use stanch_types::{Api, Call, Clock, Secret};

use crate::world::{CONFIG, MACHINE, World, batch, configured, services};

/// A command line somewhere else, on the same ledger: it records people's answers and reaches no
/// account.
fn elsewhere(world: &World) -> Hub {
    let ports = Ports {
        sessions: Arc::new(stanch_testkit::FakeAws::new(&[])),
        ledger: Arc::clone(&world.ledger),
        directives: Arc::clone(&world.directives),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        ids: Arc::new(stanch_config::RandomIds),
        guard: Arc::new(Guard::built_in(&Automatic::default())),
        notifiers: Vec::new(),
    };
    let settings = Settings {
        approval: Approvals::by("security", &["alice", "bob"]),
        ..Settings::default()
    };
    let (catalog, models) = (Arc::new(Catalog::embedded()), stanch_testkit::models());
    Hub::new(ports, settings, catalog, models)
}

async fn approve(world: &World, id: RemediationId, person: &str) {
    let approver = Approver {
        how: Means::Cli,
        ..Approver::from(person)
    };
    let hub = elsewhere(world);
    hub.consent(id, &approver).await.unwrap();
}

/// A finding whose fix has to be approved.
async fn asked(world: &mut World) -> RemediationId {
    world
        .variables
        .insert("STANCH_AUTOMATIC_GUARDED", "[]".to_owned());
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let all = world.all().await;
    assert_eq!(
        all[0].1.status,
        Status::AwaitingApproval,
        "{:?}",
        all[0].1.error
    );
    all[0].0
}

fn stage(name: &str, id: RemediationId) -> Value {
    json!({"stage": name, "remediationId": id})
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_waited_for_by_the_state_machine() {
    let mut world = World::new();
    let id = asked(&mut world).await;
    let started = world.calls("stepfunctions.StartExecution");
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["stateMachineArn"], MACHINE);
    assert_eq!(started[0]["name"], json!(id));
    let input: Value = serde_json::from_str(started[0]["input"].as_str().unwrap()).unwrap();
    assert_eq!(input["remediations"], json!([{"remediationId": id}]));
    assert_eq!(world.told()[0]["Status"], "AwaitingApproval");

    let next = world.stage(stage("continue", id)).await;
    assert_eq!(next["next"], "answer");
    assert_eq!(next["seconds"], 24 * 60 * 60 + 30);
    let token = json!({"stage": "await-answer", "remediationId": id, "taskToken": "token-1"});
    world.stage(token).await;
    assert!(world.calls("stepfunctions.SendTaskSuccess").is_empty());
    let kept = &world.calls("dynamodb.PutItem")[0]["Item"];
    let hash = world.all().await[0]
        .1
        .plan
        .clone()
        .unwrap()
        .plan_hash
        .clone();
    assert_eq!(kept["PlanHash"]["S"], json!(hash));

    approve(&world, id, "alice").await;
    let order =
        json!({"source": "stanch", "detail-type": "Continue", "detail": {"remediationId": id}});
    assert_eq!(world.deliver(&[order.to_string()]).await.unwrap(), [""; 0]);
    assert_eq!(world.all().await[0].1.status, Status::Success);
    assert!(world.is_blocked("logs").await);
    let answered = world.calls("stepfunctions.SendTaskSuccess");
    assert_eq!(answered, [json!({"taskToken": "token-1", "output": "{}"})]);

    // The machine comes back, and has nothing left to do.
    let next = world.stage(stage("continue", id)).await;
    assert_eq!(next["next"], "fixed");
    assert_eq!(world.tap.writes().len(), 1);
    assert_eq!(
        world.calls("stepfunctions.SendTaskSuccess").len(),
        1,
        "the token is used up"
    );
    assert_eq!(world.metrics().len(), 1, "it is counted once");
}

/// The command records a no, and reaches no topic.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_recorded_elsewhere_is_told_once() {
    let mut world = World::new();
    let id = asked(&mut world).await;
    let hub = elsewhere(&world);
    let reason = "not today";
    hub.refuse(id, "alice", reason, Means::Cli).await.unwrap();
    let order =
        json!({"source": "stanch", "detail-type": "Continue", "detail": {"remediationId": id}});
    for _ in 0..2 {
        assert_eq!(world.deliver(&[order.to_string()]).await.unwrap(), [""; 0]);
    }
    let told: Vec<Value> = world
        .told()
        .iter()
        .map(|told| told["Status"].clone())
        .collect();
    assert_eq!(told, ["AwaitingApproval", "Refused"]);
    assert!(world.metrics().is_empty() && world.tap.writes().is_empty());
}

/// What a person chose together is waited for together: one execution, however often it is delivered.
#[tokio::test(start_paused = true)]
async fn several_findings_of_one_event_are_one_execution() {
    let mut world = World::new();
    world
        .variables
        .insert("STANCH_AUTOMATIC_GUARDED", "[]".to_owned());
    let mut event = world.finding("first").security_hub_event();
    let mut findings = Vec::new();
    for bucket in ["first", "second"] {
        world.bucket(bucket).await;
        let one = world.finding(bucket).security_hub_event();
        findings.push(one["detail"]["findings"][0].clone());
    }
    event["detail"]["findings"] = json!(findings);
    assert_eq!(world.deliver(&[event.to_string()]).await.unwrap(), [""; 0]);
    let started = world.calls("stepfunctions.StartExecution");
    assert_eq!(started.len(), 1, "{started:?}");
    let input: Value = serde_json::from_str(started[0]["input"].as_str().unwrap()).unwrap();
    let all = world.all().await;
    assert_eq!(all.len(), 2);
    assert_eq!(input["remediations"].as_array().unwrap().len(), 2);
    for (id, state) in all {
        assert_eq!(state.status, Status::AwaitingApproval);
        let items = input["remediations"].to_string();
        assert!(items.contains(&id.to_string()), "{items}");
    }
}

/// A person's own address, and the body of what is posted there first.
fn mailbox() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mails", listener.local_addr().unwrap());
    let (send, mails) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"}") {
            let read = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..read]);
        }
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(ok.as_bytes()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        send.send(serde_json::from_str(body).unwrap()).unwrap();
    });
    (url, mails)
}

// Time goes on: an address is waited for.
#[tokio::test]
async fn a_person_is_sent_a_link_that_is_signed_for_them() {
    let (url, mails) = mailbox();
    let mut world = World::new();
    let secret = "SecurityRemediation/ApprovalLinks";
    for (name, value) in [
        ("LINK_KEY_SECRET", secret.to_owned()),
        (
            "STANCH_APPROVAL_PUBLIC_URL",
            "https://approvals.example.com".to_owned(),
        ),
        ("STANCH_APPROVAL_WEBHOOKS", format!("{{ bob = \"{url}\" }}")),
    ] {
        world.variables.insert(name, value);
    }
    let id = asked(&mut world).await;
    let mail = mails.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(mail["Approval"]["Person"], "bob");
    let link = mail["Approval"]["Link"].as_str().unwrap();
    let token = link.strip_prefix("https://approvals.example.com/approvals/");
    let key = Secret::new(format!("the secret {}", json!(secret)));
    let claim = Links::new(key, "").read(token.unwrap()).unwrap();
    assert_eq!((claim.id, &*claim.person), (id, "bob"));
    // Whoever may read the topic may not answer for bob.
    assert_eq!(world.told()[0]["Approval"].get("Link"), None);
}

#[tokio::test(start_paused = true)]
async fn links_that_lead_nowhere_stop_everything() {
    for url in ["", "approvals.example.com"] {
        let mut world = World::new();
        let secret = "SecurityRemediation/ApprovalLinks".to_owned();
        world.variables.insert("LINK_KEY_SECRET", secret);
        let name = "STANCH_APPROVAL_PUBLIC_URL";
        world.variables.insert(name, url.to_owned());
        let message = world.planted("logs").await;
        let failure = world.deliver(&[message]).await.unwrap_err();
        assert_eq!(failure.kind, "Configuration", "{failure}");
        assert!(world.tap.opened().is_empty());
    }
}

/// Open on this day from two o'clock on, for ten minutes.
fn calendar(day: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nX-CALENDAR-TYPE:DEFAULT_CLOSED\nBEGIN:VEVENT\nUID:1\nSUMMARY:window\n\
         DTSTART:{day}T020000Z\nDTEND:{day}T021000Z\nEND:VEVENT\nEND:VCALENDAR\n"
    )
}

/// Changes are made then.
fn window(day: &str) -> World {
    let calendar = calendar(day);
    let toml = format!("{CONFIG}[guard]\ncalendars = [\"window.ics\"]\n");
    World::with(configured(&toml, &[("window.ics", &calendar)]))
}

/// The sweep comes every quarter of an hour, when the window may be over.
#[tokio::test(start_paused = true)]
async fn a_change_window_is_waited_for_by_the_state_machine() {
    let world = window("20260101");
    let message = world.planted("logs").await;
    for _ in 0..2 {
        let again = std::slice::from_ref(&message);
        assert_eq!(world.deliver(again).await.unwrap(), [""; 0]);
    }
    let (id, state) = world.all().await.remove(0);
    assert_eq!(state.status, Status::Deferred);
    let opens = state.deferred_until.unwrap();
    assert_eq!(opens.to_string(), "2026-01-01T02:00:00Z");
    let started = world.calls("stepfunctions.StartExecution");
    assert!(!started.is_empty());
    for started in started {
        assert_eq!(started["name"], format!("{id}-2026-01-01"));
        let input: Value = serde_json::from_str(started["input"].as_str().unwrap()).unwrap();
        assert_eq!(input["remediations"], json!([{"remediationId": id}]));
    }

    let next = world.stage(stage("continue", id)).await;
    assert_eq!(next["next"], "wait");
    let seconds = next["seconds"].as_i64().unwrap();
    let left = opens.duration_since(world.clock.now()).as_secs();
    assert!(left < seconds && seconds <= 2 * 60 * 60 + 1, "{next}");
    assert!(world.tap.writes().is_empty());
    tokio::time::advance(Duration::from_secs(seconds.unsigned_abs())).await;
    assert_eq!(world.stage(stage("continue", id)).await["next"], "fixed");
    assert!(world.is_blocked("logs").await);
}

/// So is one for an undo, which somebody has asked for and does not ask for again.
#[tokio::test(start_paused = true)]
async fn an_undo_waits_for_its_window_in_the_state_machine() {
    let policy = "permit (principal, action, resource)\nunless { context.undo && !context.calendars.window };";
    let toml = "[guard]\npolicies = \"undo.cedar\"\ncalendars = [\"window.ics\"]\n";
    let calendar = calendar("20260101");
    let files = [("undo.cedar", policy), ("window.ics", calendar.as_str())];
    let world = World::with(configured(toml, &files));
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let id = world.all().await[0].0;
    assert!(world.is_blocked("logs").await);
    let mut event = stage("roll-back", id);
    event["by"] = json!("alice");
    let answer = world.stage(event).await;
    assert_eq!(answer["done"]["status"], "Deferred", "{answer:#}");
    assert!(world.is_blocked("logs").await);
    let started = world.calls("stepfunctions.StartExecution");
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["name"], format!("{id}-2026-01-01"));

    let next = world.stage(stage("continue", id)).await;
    assert_eq!(next["next"], "wait");
    let seconds = next["seconds"].as_u64().unwrap();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    let next = world.stage(stage("continue", id)).await;
    assert_eq!(
        (&next["next"], &next["status"]),
        (&json!("ended"), &json!("Undone"))
    );
    assert!(!world.is_blocked("logs").await);
}

/// Longer than an execution lives.
#[tokio::test(start_paused = true)]
async fn a_change_window_in_weeks_is_left_to_the_sweep() {
    let world = window("20260120");
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let (id, state) = world.all().await.remove(0);
    assert_eq!(state.status, Status::Deferred);
    assert!(world.calls("stepfunctions.StartExecution").is_empty());
    assert_eq!(world.stage(stage("continue", id)).await["next"], "left");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_faster_than_the_token_is_not_missed() {
    let mut world = World::new();
    let id = asked(&mut world).await;
    approve(&world, id, "bob").await;
    let token = json!({"stage": "await-answer", "remediationId": id, "taskToken": "token-1"});
    world.stage(token).await;
    assert_eq!(world.calls("stepfunctions.SendTaskSuccess").len(), 1);
    assert_eq!(world.stage(stage("continue", id)).await["next"], "fixed");
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_in_time() {
    let mut world = World::new();
    world
        .variables
        .insert("APPROVAL_TIMEOUT_SECONDS", "600".to_owned());
    let id = asked(&mut world).await;
    assert_eq!(world.stage(stage("continue", id)).await["seconds"], 630);
    tokio::time::advance(Duration::from_secs(630)).await;
    let next = world.stage(stage("continue", id)).await;
    assert_eq!(next["next"], "ended");
    assert!(world.tap.writes().is_empty());
    assert!(world.all().await[0].1.status.is_final());
}

#[tokio::test(start_paused = true)]
async fn as_many_people_as_the_template_says() {
    let mut world = World::new();
    world.variables.insert("REQUIRED_APPROVALS", "2".to_owned());
    let id = asked(&mut world).await;
    approve(&world, id, "alice").await;
    assert_eq!(world.stage(stage("continue", id)).await["next"], "answer");
    approve(&world, id, "bob").await;
    assert_eq!(world.stage(stage("continue", id)).await["next"], "fixed");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_was_started_before_is_as_good() {
    let mut world = World::with(services().on("stepfunctions.StartExecution", |call| {
        Err(stanch_types::CallError {
            code: "ExecutionAlreadyExists".to_owned(),
            ..stanch_types::CallError::new(stanch_types::CallErrorKind::Rejected, call, "twice")
        })
    }));
    asked(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn before_its_deadline_it_hands_over() {
    let world = World::new();
    let message = world.planted("logs").await;
    let orchestrator = world.function(Handler::Orchestrator);
    let short = world.invocation_of(batch(&[message], 1), Duration::from_secs(30));
    let answer = orchestrator.handle(short).await.unwrap();
    assert_eq!(
        answer,
        json!({"batchItemFailures": []}),
        "the message is dealt with"
    );
    let (id, state) = world.all().await.remove(0);
    assert_eq!(state.status, Status::Ready);
    assert_eq!(
        world.calls("stepfunctions.StartExecution")[0]["name"],
        json!(id)
    );
    assert_eq!(world.stage(stage("continue", id)).await["next"], "fixed");
    assert_eq!(world.tap.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dependencies_come_first() {
    let mut world = World::new();
    let id = asked(&mut world).await;
    let check = json!({"stage": "check-dependencies", "dependencies": [id]});
    assert_eq!(world.stage(check.clone()).await["state"], "pending");
    approve(&world, id, "alice").await;
    world.stage(stage("continue", id)).await;
    assert_eq!(world.stage(check).await["state"], "met");
    let none = json!({"stage": "check-dependencies", "dependencies": []});
    assert_eq!(world.stage(none).await["state"], "met");
}

#[tokio::test(start_paused = true)]
async fn the_sweep_goes_on_with_what_got_stuck_and_finds_what_was_missed() {
    let mut world = World::new();
    let id = asked(&mut world).await;
    approve(&world, id, "alice").await;
    world.bucket("missed").await;
    let finding = world.finding("missed").asff();
    let own = services().returns("securityhub.GetFindings", json!({"Findings": [finding]}));
    world.own = Arc::new(own);
    let sweep = json!({"source": "stanch", "detail-type": "Sweep", "detail": {}}).to_string();

    // People begin each fix themselves: nothing is looked for.
    assert_eq!(
        world.deliver(std::slice::from_ref(&sweep)).await.unwrap(),
        [""; 0]
    );
    assert_eq!(world.all().await.len(), 1);
    assert_eq!(world.all().await[0].1.status, Status::Success);
    assert!(world.calls("securityhub.GetFindings").is_empty());

    world
        .variables
        .insert("AUTOMATIC_REMEDIATION", "ENABLED".to_owned());
    world.variables.remove("STANCH_AUTOMATIC_GUARDED");
    assert_eq!(
        world.deliver(std::slice::from_ref(&sweep)).await.unwrap(),
        [""; 0]
    );
    assert!(world.is_blocked("missed").await);
    assert_eq!(world.deliver(&[sweep]).await.unwrap(), [""; 0]);
    assert_eq!(world.all().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_back_for_whoever_calls() {
    let world = World::new();
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let id = world.all().await[0].0;
    assert!(world.is_blocked("logs").await);
    let writes = || world.tap.writes().len();
    let sent = writes();

    let unnamed = world.function(Handler::Orchestrator);
    let unnamed = unnamed.handle(world.invocation(stage("roll-back", id)));
    assert!(unnamed.await.is_err(), "somebody has to answer for it");
    let by = |more: Value| {
        let mut event = stage("roll-back", id);
        event["by"] = json!("alice");
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    };
    let shown = world.stage(by(json!({"dryRun": true}))).await;
    assert_eq!(shown["done"]["status"], Value::Null);
    let plan = shown["done"]["plan"].to_string();
    assert!(plan.contains("DeletePublicAccessBlock"), "{plan}");
    assert!(world.is_blocked("logs").await && writes() == sent);

    let done = world.stage(by(json!({}))).await;
    assert_eq!(done["done"]["status"], "Undone", "{done:#}");
    assert!(!world.is_blocked("logs").await);
    assert_eq!(
        world.all().await[0]
            .1
            .undo
            .clone()
            .unwrap()
            .planned
            .requester,
        "alice"
    );
    assert_eq!(world.told().last().unwrap()["Status"], "Undone");
}

/// Somebody else's change stays: the caller gets the three states, or the reason.
#[tokio::test(start_paused = true)]
async fn what_is_not_taken_back_is_answered_too() {
    let world = World::new();
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let id = world.all().await[0].0;
    let mut event = stage("roll-back", id);
    event["by"] = json!("alice");
    let half = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true,
        "IgnorePublicAcls": true, "BlockPublicPolicy": false, "RestrictPublicBuckets": true}});
    let api: Arc<dyn Api> = world
        .aws
        .account(&crate::world::account(), &crate::world::region());
    let put = Call::new("s3", "PutPublicAccessBlock", half);
    api.call(&put).await.unwrap();
    let answer = world.stage(event.clone()).await;
    assert!(answer["drift"]["now"].is_object(), "{answer:#}");
    assert!(world.is_blocked("logs").await);

    event["remediationId"] = json!("00000000-0000-5000-8000-000000000001");
    let answer = world.stage(event).await;
    assert!(
        answer["error"].is_string() && answer["refused"] == false,
        "{answer:#}"
    );
}
