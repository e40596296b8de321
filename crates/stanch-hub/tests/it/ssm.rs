//! The executor `ssm`: what Systems Manager carries out, what it does not, and what becomes of it when
//! somebody dies on the way.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch_catalog::{Naming, Stage};
use stanch_hub::{Executor, Hub, Source};
use stanch_ledger::{Event, Ledger, MemoryLedger, Phase, Reach, RemediationId, State, Status};
use stanch_runbook::Functions;
use stanch_testkit::{
    Aim, Fault, Gate, Listener, Misconfiguration, Tap,
    automation::{Automation, Caller, CatalogFunction, WithAutomation},
};
use stanch_types::{Access, AccountId, CallErrorKind, Region};
use tokio::sync::Semaphore;

use crate::{
    ledgers::Dying,
    stop::others_change,
    world::{World, account, region},
};

/// A world whose member account has Systems Manager.
struct Member {
    world: World,
    automation: Automation,
    /// What executions send.
    inside: Tap,
    /// The function answers nobody while a test has this.
    turn: Arc<Semaphore>,
}

/// A function that answers one after the other.
struct InTurn(CatalogFunction, Arc<Semaphore>);

#[async_trait]
impl Functions for InTurn {
    fn knows(&self, name: &str) -> bool {
        self.0.knows(name)
    }

    async fn call(&self, name: &str, payload: &Value) -> Result<Value, String> {
        let _turn = self.1.acquire().await.unwrap();
        self.0.call(name, payload).await
    }
}

impl Member {
    async fn new() -> Self {
        let mut world = World::new();
        world.settings.executors.default = Executor::Ssm;
        let (catalog, models) = (Arc::clone(&world.catalog), Arc::clone(&world.models));
        let (aws, naming) = (world.aws.clone(), Naming::default());
        let turn = Arc::new(Semaphore::new(1));
        let turns = Arc::clone(&turn);
        let answering = move |account: &AccountId, region: &Region| -> Arc<dyn Functions> {
            let function = CatalogFunction {
                name: Naming::default().function(),
                api: aws.account(account, region),
                catalog: Arc::clone(&catalog),
                models: Arc::clone(&models),
            };
            Arc::new(InTurn(function, Arc::clone(&turns)))
        };
        let clock = Arc::clone(&world.clock) as _;
        let automation =
            Automation::new(clock, Arc::clone(&world.models)).answering(Arc::new(answering));
        let inside = Tap::new(Arc::new(world.aws.clone()));
        let sessions = WithAutomation::new(Arc::new(inside.clone()), automation.clone());
        world.tap = Tap::new(Arc::new(sessions));
        let member = Self {
            world,
            automation,
            inside,
            turn,
        };
        for remediation in ["S3BlockPublicAccess", "TestTwoSteps"] {
            let caller = member.administrator();
            let catalog = &member.world.catalog;
            if catalog.get(remediation).is_some() {
                member
                    .automation
                    .deploy(&caller, catalog, &naming, remediation)
                    .await
                    .unwrap();
            }
        }
        member.world.bucket("logs").await;
        member
    }

    fn administrator(&self) -> Caller {
        Caller {
            account: account(),
            region: region(),
            arn: "arn:aws:iam::222222222222:user/admin".to_owned(),
            api: self.world.aws.account(&account(), &region()),
            parent: None,
        }
    }

    async fn ssm(&self, operation: &str, input: Value) -> Value {
        let caller = self.administrator();
        self.automation
            .call(&caller, operation, &input)
            .await
            .unwrap()
    }

    /// Takes the finding in and works on it until it waits for Systems Manager.
    async fn begin(&self, hub: &Hub) -> (RemediationId, State) {
        self.begin_with(hub, &self.world.finding("logs")).await
    }

    async fn begin_with(&self, hub: &Hub, finding: &Misconfiguration) -> (RemediationId, State) {
        self.world.deliver(hub, finding).await.remove(0)
    }

    /// The end of the last execution, as EventBridge tells it.
    async fn end(&self) -> Value {
        let id = self.executions().pop().unwrap();
        self.automation.ended(&id).await
    }

    /// The same of one that was cancelled.
    async fn cancelled(&self) -> Value {
        let ended = self.end().await;
        assert_eq!(ended["detail"]["Status"], "Cancelled", "{ended}");
        ended
    }

    /// Holds a request of the next execution until the gate opens.
    fn hold(&self, aim: Aim) -> Arc<Gate> {
        let gate = Gate::closed();
        let held = Fault::HoldRequest(Arc::clone(&gate));
        self.inside.inject(aim, held);
        gate
    }

    /// The hub itself has carried out what was left.
    async fn is_fixed_natively(&self, id: RemediationId) {
        let state = self.state(id).await;
        assert_eq!(state.status, Status::Success, "{:?}", state.error);
        assert_eq!(state.run.unwrap().started.executor, "native");
        assert!(self.blocked().await);
    }

    /// The end of a step of the last execution, as EventBridge tells it:
    /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html>.
    fn step_end(&self) -> Value {
        json!({
            "version": "0",
            "id": "eeca120b-a321-433e-9635-dab369006a6b",
            "detail-type": "EC2 Automation Step Status-change Notification",
            "source": "aws.ssm",
            "account": account(),
            "region": region(),
            "detail": {
                "ExecutionId": self.executions().pop(),
                "Status": "Success",
                "StepName": "Plan",
                "Action": "aws:invokeLambdaFunction",
            },
        })
    }

    /// What the hub itself has sent, but for what only reads.
    fn own_writes(&self) -> Vec<String> {
        let writes = self.world.tap.writes().into_iter();
        writes.map(|call| call.operation).collect()
    }

    fn executions(&self) -> Vec<String> {
        self.automation.executions(&account(), &region())
    }

    /// Delivers an event and works on what it continues.
    async fn tell(&self, hub: &Hub, event: &Value) -> Vec<RemediationId> {
        let bytes = event.to_string();
        let source = Source::automatic("events");
        let taken = hub.take(&source, bytes.as_bytes()).await.unwrap();
        for id in &taken.continued {
            hub.handle(*id).await.unwrap();
        }
        taken.continued
    }

    async fn state(&self, id: RemediationId) -> State {
        self.world.ledger.state(id).await.unwrap().0
    }

    async fn blocked(&self) -> bool {
        let block = self.world.block("logs").await;
        block.is_some_and(|block| block["BlockPublicAcls"] == json!(true))
    }

    /// What the sweep does.
    async fn sweep(&self) {
        let hub = self.world.hub();
        hub.recover().await.unwrap();
        hub.finish();
        hub.run().await;
    }
}

fn later(member: &Member, minutes: i64) {
    member.world.clock.jump(SignedDuration::from_mins(minutes));
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_fixed_by_its_document() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let (id, state) = member.begin(&hub).await;
    assert_eq!(state.status, Status::Running, "{:?}", state.error);
    assert_eq!(state.run.as_ref().unwrap().started.executor, "ssm");
    let ended = member.end().await;
    assert_eq!(ended["detail"]["Status"], "Success", "{ended}");
    assert_eq!(member.tell(&hub, &ended).await, [id]);
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert!(member.blocked().await);
    assert_eq!(
        member.world.story(id).await,
        "received planned decided started step-started step-finished step-started step-finished verified finished"
    );
    let steps = state.run.unwrap().steps;
    assert_eq!(steps[0].call.to_string(), "ssm.StartAutomationExecution");
    assert_eq!(
        steps[0].outputs["ExecutionId"],
        json!(member.executions()[0])
    );
    assert_eq!(steps[1].call.to_string(), "s3.PutPublicAccessBlock");
    member.world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_document_sends_what_the_native_engine_sends() {
    let native = World::new();
    native.bucket("logs").await;
    native.fix("logs").await;
    let member = Member::new().await;
    let hub = member.world.hub();
    member.begin(&hub).await;
    member.end().await;
    assert_eq!(member.inside.writes(), native.tap.writes());
    assert_eq!(native.tap.writes().len(), 1);
    assert_eq!(
        member.world.tap.writes().len(),
        1,
        "the hub itself only starts the document"
    );
}

#[tokio::test(start_paused = true)]
async fn the_session_may_start_this_document_and_no_other() {
    let member = Member::new().await;
    let hub = member.world.hub();
    member.begin(&hub).await;
    let opened = member.world.tap.opened();
    let Access::Policy(policy) = &opened.last().unwrap().access else {
        panic!("not narrowed")
    };
    assert!(policy.len() <= 2048, "{}", policy.len());
    let of =
        "arn:aws:ssm:eu-central-1:222222222222:automation-definition/RemediateS3PublicAccess:*";
    assert!(policy.contains(of), "{policy}");
    assert!(policy.contains("s3:PutBucketPublicAccessBlock"), "{policy}");
    assert!(!policy.contains(r#""Resource":"*""#), "{policy}");
}

#[tokio::test(start_paused = true)]
async fn a_document_that_was_changed_is_not_started() {
    let mut member = Member::new().await;
    let listener = Arc::new(Listener::default());
    member.world.notifiers = vec![listener.clone()];
    let name = Naming::default().document(Stage::Apply, "S3BlockPublicAccess");
    let read = member.ssm("GetDocument", json!({"Name": name})).await;
    let content = read["Content"].as_str().unwrap();
    let other = content.replace("\"IgnorePublicAcls\":true", "\"IgnorePublicAcls\":false");
    assert_ne!(content, other, "nothing was changed: {content}");
    let change = json!({"Name": name, "Content": other, "DocumentFormat": "JSON"});
    member.ssm("UpdateDocument", change).await;
    let default = json!({"Name": name, "DocumentVersion": "2"});
    member.ssm("UpdateDocumentDefaultVersion", default).await;
    let (id, state) = member.begin(&member.world.hub()).await;
    assert_eq!(state.status, Status::Failed);
    let error = state.error.unwrap();
    assert!(error.contains("is not the catalog's"), "{error}");
    assert!(member.executions().is_empty());
    assert_eq!(
        member.world.story(id).await,
        "received planned decided started finished"
    );
    let heard = listener.heard();
    assert!(heard.iter().any(|message| {
        message
            .error
            .as_deref()
            .is_some_and(|error| error.contains("is not the catalog's"))
    }));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_not_deployed_is_refused() {
    let member = Member::new().await;
    let name = Naming::default().document(Stage::Apply, "S3BlockPublicAccess");
    member.ssm("DeleteDocument", json!({"Name": name})).await;
    let (_, state) = member.begin(&member.world.hub()).await;
    assert_eq!(state.status, Status::Failed);
    assert!(state.error.unwrap().contains("is not deployed"));
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_since_the_plan_is_not_touched() {
    let member = Member::new().await;
    let gate = Gate::closed();
    let held = Fault::HoldRequest(Arc::clone(&gate));
    member
        .world
        .tap
        .inject(Aim::at("ssm.StartAutomationExecution"), held);
    let hub = member.world.hub();
    let begun = async { member.begin(&hub).await };
    let others = async {
        gate.reached().await;
        let half = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
        let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": half});
        member.world.admin("s3", "PutPublicAccessBlock", put).await;
        gate.open();
    };
    let ((id, _), ()) = tokio::join!(begun, others);
    let ended = member.end().await;
    assert_eq!(ended["detail"]["Status"], "Failed", "{ended}");
    member.tell(&hub, &ended).await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Failed, "{:?}", state.error);
    let error = state.error.unwrap();
    assert!(
        error.contains("no longer those that were approved"),
        "{error}"
    );
    assert!(member.inside.writes().is_empty());
    let block = member.world.block("logs").await.unwrap();
    assert_eq!(
        block["IgnorePublicAcls"],
        json!(false),
        "it is others' still"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_recorded_with_aws_answer() {
    let member = Member::new().await;
    let refuse = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    member.inside.inject(Aim::at_write(), refuse);
    let hub = member.world.hub();
    let (id, _) = member.begin(&hub).await;
    let ended = member.end().await;
    assert_eq!(ended["detail"]["Status"], "Failed");
    member.tell(&hub, &ended).await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Failed);
    let error = state.error.clone().unwrap();
    assert!(error.contains("ended as Failed, at step"), "{error}");
    let step = &state.run.unwrap().steps[1];
    assert!(
        format!("{:?}", step.outcome).contains("AccessDenied"),
        "{:?}",
        step.outcome
    );
    assert!(!member.blocked().await);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_throttled_is_made_later() {
    let member = Member::new().await;
    for code in [
        "ThrottlingException",
        "AutomationExecutionLimitExceededException",
    ] {
        let kind = match code {
            "ThrottlingException" => CallErrorKind::Throttled,
            _ => CallErrorKind::Rejected,
        };
        let aim = Aim::at("ssm.StartAutomationExecution");
        member.world.tap.inject(aim, Fault::Refuse { kind, code });
    }
    let hub = member.world.hub();
    let (id, state) = member.begin(&hub).await;
    assert_eq!(state.status, Status::Running);
    assert!(member.executions().is_empty());
    member.sweep().await;
    assert!(
        member.executions().is_empty(),
        "the second one is refused, too"
    );
    member.sweep().await;
    let ended = member.end().await;
    member.tell(&hub, &ended).await;
    assert_eq!(member.state(id).await.status, Status::Success);
}

#[tokio::test(start_paused = true)]
async fn starts_keep_below_the_rate() {
    let member = Member::new().await;
    for bucket in ["aaa", "bbb", "ccc", "ddd"] {
        member.world.bucket(bucket).await;
    }
    let hub = member.world.hub();
    let begun = tokio::time::Instant::now();
    for bucket in ["aaa", "bbb", "ccc", "ddd"] {
        let (_, state) = member.begin_with(&hub, &member.world.finding(bucket)).await;
        assert!(state.run.unwrap().steps[0].outputs["ExecutionId"].is_string());
    }
    assert!(begun.elapsed().as_secs() >= 3, "{:?}", begun.elapsed());
    let throttled = member.world.tap.seen();
    assert!(
        throttled
            .iter()
            .all(|call| call.error != Some(CallErrorKind::Throttled))
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_lost_is_made_up_for_by_the_sweep() {
    let member = Member::new().await;
    let (id, _) = member.begin(&member.world.hub()).await;
    member.end().await;
    let looks = || {
        let seen = member.world.tap.seen();
        let get = seen
            .iter()
            .filter(|seen| seen.call.operation == "GetAutomationExecution");
        get.count()
    };
    member.sweep().await;
    assert_eq!(looks(), 0, "nobody polls");
    later(&member, 2);
    member.sweep().await;
    assert_eq!(member.state(id).await.status, Status::Success);
    assert_eq!(looks(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_twice_counts_once() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let (id, _) = member.begin(&hub).await;
    let ended = member.end().await;
    assert_eq!(member.tell(&hub, &ended).await, [id]);
    assert_eq!(member.tell(&hub, &ended).await, []);
    assert_eq!(member.state(id).await.status, Status::Success);
    assert_eq!(member.inside.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_of_other_executions_continue_nothing() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let (id, _) = member.begin(&hub).await;
    let ended = member.end().await;
    let check = async |at: &str, value: Value| {
        let mut event = ended.clone();
        *event.pointer_mut(at).unwrap() = value;
        assert_eq!(member.tell(&hub, &event).await, [], "{at}");
    };
    let other = json!("00000000-0000-4000-8000-000000000000");
    check("/detail/ExecutionId", other.clone()).await;
    check("/account", json!("333333333333")).await;
    check("/region", json!("us-east-1")).await;
    check("/detail/Status", json!("InProgress")).await;
    assert_eq!(member.state(id).await.status, Status::Running);
    // Who started it need not be told: then the execution's id is looked for.
    let mut unnamed = ended.clone();
    unnamed["detail"]["ExecutedBy"] =
        json!("arn:aws:iam::222222222222:role/SecurityRemediationCrossAccountRole");
    assert_eq!(member.tell(&hub, &unnamed).await, [id]);
    assert_eq!(member.state(id).await.status, Status::Success);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_one_execution_is_started_and_its_end_recorded() {
    for unheard in [false, true] {
        let mut deaths = 0;
        for at in 0..16 {
            let mut member = Member::new().await;
            let kept: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
            let dying = Arc::new(Dying::after(Arc::clone(&kept), at, unheard));
            member.world.ledger = Arc::clone(&dying) as Arc<dyn Ledger>;
            let hub = member.world.hub();
            let event = member
                .world
                .finding("logs")
                .security_hub_event()
                .to_string();
            let source = Source::automatic("test");
            let mut died = match hub.take(&source, event.as_bytes()).await {
                Ok(taken) => match taken.admitted.first() {
                    Some(id) => hub.handle(*id).await.is_err(),
                    None => true,
                },
                Err(_) => true,
            };
            if let (false, Some(id)) = (died, member.executions().pop()) {
                let ended = member.automation.ended(&id).await.to_string();
                died = match hub.take(&source, ended.as_bytes()).await {
                    Ok(taken) => hub.handle(taken.continued[0]).await.is_err(),
                    Err(_) => true,
                };
            }
            deaths += usize::from(died);
            drop(hub);

            member.world.ledger = kept;
            tokio::time::advance(member.world.settings.lease * 2).await;
            let hub = member.world.hub();
            // Whoever delivered it delivers it again.
            hub.take(&source, event.as_bytes()).await.unwrap();
            hub.finish();
            hub.run().await;
            for _ in 0..2 {
                later(&member, 2);
                member.sweep().await;
            }
            let entries = member.world.ledger.unfinished().await.unwrap();
            assert!(entries.is_empty(), "killed at write {at}: {entries:?}");
            assert!(member.blocked().await, "killed at write {at}");
            assert_eq!(member.executions().len(), 1, "killed at write {at}");
            assert_eq!(member.inside.writes().len(), 1, "killed at write {at}");
        }
        assert!(deaths >= 5, "the test kills: {deaths}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_is_stuck_is_cancelled_after_its_time() {
    let member = Member::new().await;
    let gate = member.hold(Aim::at_write());
    let (id, _) = member.begin(&member.world.hub()).await;
    gate.reached().await;
    later(&member, 30);
    member.sweep().await;
    assert_eq!(member.state(id).await.status, Status::Running);
    later(&member, 31);
    member.sweep().await;
    member.cancelled().await;
    later(&member, 1);
    member.sweep().await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Failed, "{:?}", state.error);
    let error = state.error.unwrap();
    assert!(error.contains("ended as Cancelled"), "{error}");
    let calls: Vec<String> = state
        .run
        .unwrap()
        .steps
        .iter()
        .map(|step| step.call.operation.clone())
        .collect();
    assert_eq!(
        calls,
        [
            "StartAutomationExecution",
            "StopAutomationExecution",
            "PutPublicAccessBlock"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn while_changes_are_paused_nothing_is_started_and_what_runs_is_cancelled() {
    let member = Member::new().await;
    let hub = member.world.hub();
    hub.pause(Reach::All, "alice", "an outage").await.unwrap();
    let (id, state) = member.begin(&hub).await;
    assert_eq!(state.status, Status::Paused);
    assert!(member.executions().is_empty());
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    let gate = member.hold(Aim::at_write());
    member.sweep().await;
    gate.reached().await;
    hub.pause(Reach::All, "alice", "again").await.unwrap();
    later(&member, 2);
    member.sweep().await;
    let ended = member.cancelled().await;
    member.tell(&hub, &ended).await;
    assert_eq!(member.state(id).await.status, Status::Paused);
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    member.inside.clear_faults();
    member.sweep().await;
    member.is_fixed_natively(id).await;
}

#[tokio::test(start_paused = true)]
async fn the_switch_is_read_at_the_end_of_each_step() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let gate = member.hold(Aim::at_write().after(1));
    let finding = member.world.in_two_steps("logs");
    let (id, _) = member.begin_with(&hub, &finding).await;
    gate.reached().await;
    assert_eq!(member.tell(&hub, &member.step_end()).await, []);
    let elsewhere = Reach::Account("333333333333".parse().unwrap());
    hub.pause(elsewhere, "alice", "theirs").await.unwrap();
    assert_eq!(member.tell(&hub, &member.step_end()).await, []);
    let sessions = member.world.tap.opened().len();

    let here = || Reach::Account(account());
    hub.pause(here(), "alice", "an outage").await.unwrap();
    assert_eq!(member.tell(&hub, &member.step_end()).await, [id]);
    assert!(member.world.tap.opened().len() > sessions);
    let ended = member.cancelled().await;
    member.tell(&hub, &ended).await;
    assert_eq!(member.state(id).await.status, Status::Paused);
    assert!(member.blocked().await, "the first step was carried out");

    hub.resume(here(), "alice", "over").await.unwrap();
    member.inside.clear_faults();
    member.sweep().await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(
        member.own_writes(),
        [
            "StartAutomationExecution",
            "StopAutomationExecution",
            "PutBucketPolicy"
        ],
        "only what was left is sent"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sweep_does_not_wait_to_cancel_what_is_paused() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let turn = member.turn.acquire().await.unwrap();
    let (id, _) = member.begin(&hub).await;
    hub.pause(Reach::All, "alice", "an outage").await.unwrap();
    member.sweep().await;
    let ended = member.cancelled().await;
    member.tell(&hub, &ended).await;
    assert_eq!(member.state(id).await.status, Status::Paused);
    drop(turn);
    // It had sent nothing, and has not failed.
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    member.sweep().await;
    member.is_fixed_natively(id).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_paused_before_it_sent_anything_does_not_go_over_others_changes() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let turn = member.turn.acquire().await.unwrap();
    let (id, _) = member.begin(&hub).await;
    hub.pause(Reach::All, "alice", "an outage").await.unwrap();
    member.sweep().await;
    let ended = member.end().await;
    member.tell(&hub, &ended).await;
    drop(turn);
    others_change(&member.world).await;
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    member.sweep().await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Failed, "{:?}", state.error);
    let error = state.error.unwrap();
    assert!(error.contains("the resource has changed since"), "{error}");
    assert!(member.inside.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_over_when_the_end_is_told_has_failed_nothing() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let gate = member.hold(Aim::at_write());
    let (id, _) = member.begin(&hub).await;
    gate.reached().await;
    hub.pause(Reach::All, "alice", "an outage").await.unwrap();
    member.tell(&hub, &member.step_end()).await;
    let ended = member.cancelled().await;
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    member.inside.clear_faults();
    member.tell(&hub, &ended).await;
    member.is_fixed_natively(id).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_cancels_a_rollback_too() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let (id, _) = member.begin(&hub).await;
    let ended = member.end().await;
    member.tell(&hub, &ended).await;
    let gate = member.hold(Aim::at_write());
    hub.rollback(id, "alice", false, false).await.unwrap();
    gate.reached().await;
    hub.pause(Reach::All, "alice", "an outage").await.unwrap();
    assert_eq!(member.tell(&hub, &member.step_end()).await, [id]);
    assert_eq!(
        member.state(id).await.status,
        Status::Undoing,
        "it does not stand still yet"
    );
    let ended = member.cancelled().await;
    member.tell(&hub, &ended).await;
    assert_eq!(member.state(id).await.status, Status::Paused);
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    member.inside.clear_faults();
    member.sweep().await;
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(member.world.block("logs").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_back_by_the_rollback_document() {
    let member = Member::new().await;
    let hub = member.world.hub();
    let (id, _) = member.begin(&hub).await;
    let ended = member.end().await;
    member.tell(&hub, &ended).await;
    hub.rollback(id, "alice", false, false).await.unwrap();
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Undoing, "{:?}", state.error);
    let ended = member.end().await;
    assert_eq!(ended["detail"]["Definition"], "RollbackS3PublicAccess");
    assert_eq!(ended["detail"]["Status"], "Success", "{ended}");
    assert_eq!(member.tell(&hub, &ended).await, [id]);
    let state = member.state(id).await;
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(member.world.block("logs").await, None);
    let entries = member.world.ledger.entries(id).await.unwrap();
    let undone = entries.iter().filter_map(|entry| match &entry.event {
        Event::StepStarted(step) if step.phase == Phase::Undo => Some(step.call.operation.clone()),
        _ => None,
    });
    assert_eq!(
        undone.collect::<Vec<_>>(),
        ["StartAutomationExecution", "DeletePublicAccessBlock"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_most_particular_setting_says_what_carries_out() {
    let check = async |set: fn(&mut World), executor: &str| {
        let mut member = Member::new().await;
        set(&mut member.world);
        let (_, state) = member.begin(&member.world.hub()).await;
        assert_eq!(state.run.unwrap().started.executor, executor);
    };
    check(|_| {}, "ssm").await;
    check(
        |world| {
            let executors = &mut world.settings.executors;
            executors.accounts.insert(account(), Executor::Native);
        },
        "native",
    )
    .await;
    check(
        |world| {
            let executors = &mut world.settings.executors;
            executors.accounts.insert(account(), Executor::Native);
            executors.controls.insert("s3.8".to_owned(), Executor::Ssm);
        },
        "ssm",
    )
    .await;
    check(
        |world| {
            let executors = &mut world.settings.executors;
            executors.controls.insert("S3.8".to_owned(), Executor::Ssm);
            let action = "S3BlockPublicAccess".to_owned();
            executors.actions.insert(action, Executor::Native);
        },
        "native",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_change_of_a_resource_waits_for_the_execution() {
    let member = Member::new().await;
    let gate = member.hold(Aim::at_write());
    let hub = member.world.hub();
    let (first, _) = member.begin(&hub).await;
    let mut again = member.world.finding("logs");
    again.at = stanch_types::Clock::now(&*member.world.clock) + SignedDuration::from_mins(1);
    let (second, state) = member.begin_with(&hub, &again).await;
    assert_ne!(first, second);
    assert_eq!(state.status, Status::Ready, "{:?}", state.error);
    gate.open();
    let ended = member.end().await;
    member.tell(&hub, &ended).await;
    member.sweep().await;
    assert_eq!(member.state(second).await.status, Status::NothingToDo);
    assert_eq!(member.inside.writes().len(), 1);
}
