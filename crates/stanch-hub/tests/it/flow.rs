use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use stanch_guard::{Automatic, Guard};
use stanch_hub::{RequestError, Source};
use stanch_ledger::{Event, Query, Status};
use stanch_testkit::{Aim, FakeAws, Fault, Gate, Misconfiguration, Tap};
use stanch_types::{Access, AccountId, Call, CallErrorKind, Clock, Region};

use crate::world::{World, account};

const ALL_ON: &str = r#"{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}"#;

fn all_on() -> Value {
    serde_json::from_str(ALL_ON).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_fixed_verified_and_recorded() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(world.block("logs").await, Some(all_on()));
    assert_eq!(
        world.story(id).await,
        "received planned decided started step-started step-finished verified finished"
    );
    let record = world.ledger.record(id).await.unwrap();
    assert_eq!(record.remediation_action, "S3BlockPublicAccess");
    assert_eq!(
        record.executor_arn,
        "arn:aws:iam::222222222222:role/SecurityRemediationCrossAccountRole"
    );
    world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_fix_costs_two_sessions_and_three_calls() {
    let world = World::new();
    world.bucket("logs").await;
    world.fix("logs").await;
    let calls: Vec<String> = world
        .tap
        .seen()
        .iter()
        .map(|seen| seen.call.to_string())
        .collect();
    assert_eq!(
        calls,
        [
            "s3.GetPublicAccessBlock",
            "s3.PutPublicAccessBlock",
            "s3.GetPublicAccessBlock"
        ]
    );
    assert_eq!(world.tap.opened().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_change_allows_nothing_but_the_plan() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let opened = world.tap.opened();
    assert!(
        matches!(&opened[0].access, stanch_types::Access::Read(policy) if policy.contains("s3:GetBucketPublicAccessBlock") && !policy.contains("s3:Put"))
    );
    assert_eq!(opened[1].session_name, format!("stanch-{id}"));
    let stanch_types::Access::Policy(policy) = &opened[1].access else {
        panic!("not narrowed")
    };
    assert!(policy.len() <= 2048);
    assert!(policy.contains("s3:PutBucketPublicAccessBlock"), "{policy}");
    assert!(policy.contains("arn:aws:s3:::logs"), "{policy}");
    assert!(!policy.contains(r#""Resource":"*""#), "{policy}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_deliveries_are_one_fix() {
    let world = World::new();
    world.bucket("logs").await;
    let (hub, finding) = (world.hub(), world.finding("logs"));
    let mut fixed = Vec::new();
    for _ in 0..100 {
        fixed.extend(world.deliver(&hub, &finding).await);
    }
    assert_eq!(fixed.len(), 1);
    assert_eq!(world.tap.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_deliveries_to_two_hubs_are_one_fix() {
    let world = World::new();
    world.bucket("logs").await;
    let event = world.finding("logs").security_hub_event().to_string();
    let hubs = [world.hub(), world.hub()];
    let workers: Vec<_> = hubs
        .iter()
        .map(|hub| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.run().await })
        })
        .collect();
    for n in 0..100 {
        hubs[n % 2]
            .take(&Source::automatic("test"), event.as_bytes())
            .await
            .unwrap();
    }
    hubs.iter().for_each(|hub| hub.finish());
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(world.tap.writes().len(), 1);
    assert_eq!(world.block("logs").await, Some(all_on()));
}

/// The ARN of a bucket has neither account nor region, and one event may bring findings of several.
#[tokio::test(start_paused = true)]
async fn each_finding_is_fixed_in_its_own_account_and_region() {
    let other: AccountId = "333333333333".parse().unwrap();
    let elsewhere: Region = "us-west-2".parse().unwrap();
    let mut world = World::new();
    world.aws = FakeAws::new(&[account(), other.clone()]);
    world.tap = Tap::new(Arc::new(world.aws.clone()));
    let settings = stanch_hub::Account::default();
    world.settings.accounts.insert(other.clone(), settings);
    world.bucket("logs").await;
    let create = Call::new("s3", "CreateBucket", json!({"Bucket": "data"}));
    let theirs = world.aws.account(&other, &elsewhere);
    theirs.call(&create).await.unwrap();

    let first = world.finding("logs");
    let second = Misconfiguration {
        account: other,
        region: elsewhere,
        ..world.finding("data")
    };
    let mut event = first.security_hub_event();
    event["detail"]["findings"] = json!([first.asff(), second.asff()]);
    let hub = world.hub();
    let bytes = event.to_string();
    let taken = hub.take(&Source::automatic("test"), bytes.as_bytes()).await;
    let admitted = taken.unwrap().admitted;
    assert_eq!(admitted.len(), 2);
    for id in admitted {
        let state = hub.handle(id).await.unwrap();
        assert_eq!(state.status, Status::Success, "{:?}", state.error);
    }
    let seen = world.tap.seen();
    let reached = seen.iter().map(|seen| {
        let bucket = seen.call.params["Bucket"].as_str().unwrap();
        format!("{bucket} in {} of {}", seen.region, seen.account)
    });
    let expected = [
        "logs in eu-central-1 of 222222222222",
        "data in us-west-2 of 333333333333",
    ];
    assert_eq!(
        reached.collect::<BTreeSet<_>>(),
        BTreeSet::from(expected.map(str::to_owned))
    );
    for scope in world.tap.opened() {
        if let Access::Policy(policy) = &scope.access {
            let is_first = scope.account == account();
            assert_eq!(policy.contains("arn:aws:s3:::logs"), is_first, "{policy}");
            assert_eq!(policy.contains("arn:aws:s3:::data"), !is_first, "{policy}");
        }
    }
}

/// What belongs to the whole account is found in every region.
#[tokio::test(start_paused = true)]
async fn what_is_global_is_fixed_once_whatever_region_it_is_found_in() {
    let mut world = World::new();
    world
        .automatic
        .guarded
        .insert("IamStrengthenPasswordPolicy".to_owned());
    let hub = world.hub();
    let found = |region: &str, at| Misconfiguration {
        at,
        region: region.parse().unwrap(),
        control: "IAM.7".parse().unwrap(),
        resource_type: "AwsAccount".to_owned(),
        resource_id: "AWS::::Account:222222222222".to_owned(),
        ..world.finding("")
    };
    let at = world.clock.now();
    let first = world.deliver(&hub, &found("eu-central-1", at)).await;
    assert_eq!(first[0].1.status, Status::Success, "{:?}", first[0].1.error);
    // At the same time in another region, and later in a third one.
    let second = world.deliver(&hub, &found("us-west-2", at)).await;
    assert!(second.is_empty(), "{second:?}");
    tokio::time::advance(Duration::from_hours(1)).await;
    let later = found("sa-east-1", world.clock.now());
    let third = world.deliver(&hub, &later).await;
    assert_eq!(third[0].1.status, Status::NothingToDo, "{third:?}");
    assert_eq!(world.tap.writes().len(), 1);
    let opened = world.tap.opened();
    let regions = opened.iter().map(|scope| scope.region.to_string());
    assert_eq!(
        regions.collect::<BTreeSet<_>>(),
        BTreeSet::from(["us-east-1".to_owned()])
    );
}

/// Security Hub gives the bucket's ARN and Config its name: one is fixed after the other, and both
/// count as attempts on one resource.
#[tokio::test(start_paused = true)]
async fn a_resource_that_two_products_name_is_fixed_once() {
    let world = World::new();
    world.bucket("logs").await;
    let gate = Gate::closed();
    world.tap.inject(
        Aim::at("s3.PutPublicAccessBlock"),
        Fault::HoldRequest(gate.clone()),
    );
    let hub = world.hub();
    let runner = tokio::spawn({
        let hub = hub.clone();
        async move { hub.run().await }
    });
    let take = async |event: serde_json::Value| {
        let bytes = event.to_string();
        let taken = hub.take(&Source::automatic("test"), bytes.as_bytes()).await;
        taken.unwrap().admitted[0]
    };
    let first = take(world.finding("logs").security_hub_event()).await;
    gate.reached().await;
    world.clock.sleep(std::time::Duration::from_secs(1)).await;
    let of_config = stanch_testkit::Misconfiguration {
        resource_type: "AWS::S3::Bucket".to_owned(),
        resource_id: "logs".to_owned(),
        ..world.finding("logs")
    };
    let rule = "s3-bucket-level-public-access-prohibited";
    let second = take(of_config.config_event(rule)).await;
    assert_ne!(first, second);
    world.clock.sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(world.story(second).await, "received");
    gate.open();
    hub.finish();
    runner.await.unwrap();
    assert_eq!(
        world.ledger.record(first).await.unwrap().status,
        Status::Success
    );
    let record = world.ledger.record(second).await.unwrap();
    assert_eq!(record.status, Status::NothingToDo);
    assert_eq!(record.resource_id, "arn:aws:s3:::logs");
    assert_eq!(world.tap.writes().len(), 1);
}

/// AWS Config gives a database's `DbiResourceId`, which no call takes.
#[tokio::test(start_paused = true)]
async fn a_resource_that_config_names_by_its_unique_id_is_asked_for_and_fixed() {
    let mut world = World::new();
    world
        .automatic
        .guarded
        .insert("RdsMakeInstancePrivate".to_owned());
    let create = json!({"DBInstanceIdentifier": "shop", "DBSubnetGroup": {"VpcId": "vpc-1"}});
    let made = world.admin("rds", "CreateDBInstance", create).await;
    let rule = "rds-instance-public-access-check";
    let found = |id: &str| {
        let found = stanch_testkit::Misconfiguration {
            resource_type: "AWS::RDS::DBInstance".to_owned(),
            resource_id: id.to_owned(),
            ..world.finding("shop")
        };
        found.config_event(rule).to_string()
    };
    let event = found(made["DBInstance"]["DbiResourceId"].as_str().unwrap());
    let source = Source::automatic("test");
    let hub = world.hub();

    // While Config does not answer, the event waits as a dead letter.
    world.tap.inject(
        Aim::at("config.BatchGetResourceConfig"),
        Fault::Refuse {
            kind: CallErrorKind::Throttled,
            code: "ThrottlingException",
        },
    );
    let taken = hub.take(&source, event.as_bytes()).await.unwrap();
    let [buried] = taken.buried.as_slice() else {
        panic!("{taken:?}");
    };
    assert!(
        buried.reason.contains("AWS Config cannot be asked for it"),
        "{}",
        buried.reason
    );
    assert!(taken.admitted.is_empty());
    world.tap.clear_faults();

    let previewed = hub.preview(&source, event.as_bytes()).await;
    assert_eq!(
        previewed.findings[0].received.resource_id,
        "arn:aws:rds:eu-central-1:222222222222:db:shop"
    );
    let taken = hub.take(&source, event.as_bytes()).await.unwrap();
    let state = hub.handle(taken.admitted[0]).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(
        state.received.resource_id,
        "arn:aws:rds:eu-central-1:222222222222:db:shop"
    );
    let asked = world
        .tap
        .opened()
        .into_iter()
        .filter(|scope| scope.session_name == "stanch-names");
    for scope in asked {
        assert!(
            matches!(&scope.access, stanch_types::Access::Read(policy) if policy.contains("config:BatchGetResourceConfig") && !policy.contains("rds:"))
        );
    }

    // Who decides without looking at anything does not ask Config either.
    let judged = hub.judge_findings(&source, event.as_bytes()).await.unwrap();
    let problem = judged[0].answer.as_ref().err().unwrap();
    assert!(problem.contains("is the unique id of"), "{problem}");

    // Nobody asks on behalf of an account that is not ours, or where nothing could be done.
    let requests = world.tap.seen().len();
    let foreign = event.replace("222222222222", "555555555555");
    let other = event.replace(rule, "rule-that-nobody-knows");
    for (event, reason) in [(foreign, "configured accounts"), (other, "no remediation")] {
        let taken = hub.take(&source, event.as_bytes()).await.unwrap();
        let state = hub.handle(taken.admitted[0]).await.unwrap();
        assert_eq!(state.status, Status::Refused);
        assert!(state.error.as_ref().unwrap().contains(reason), "{state:?}");
    }
    assert_eq!(world.tap.seen().len(), requests);
}

#[tokio::test(start_paused = true)]
async fn what_is_compliant_is_left_alone() {
    let world = World::new();
    world.bucket("logs").await;
    let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": all_on()});
    world.admin("s3", "PutPublicAccessBlock", put).await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::NothingToDo);
    assert_eq!(world.story(id).await, "received planned finished");
    assert!(world.tap.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_done_is_refused_and_recorded() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    let check = async |change: fn(&mut stanch_testkit::Misconfiguration), reason: &str| {
        let mut finding = world.finding("logs");
        change(&mut finding);
        let (id, state) = world.deliver(&hub, &finding).await.remove(0);
        assert_eq!(state.status, Status::Refused, "{reason}");
        let error = state.error.unwrap();
        assert!(error.contains(reason), "{error}");
        assert_eq!(world.story(id).await, "received decided");
    };
    check(
        |f| f.control = "S3.9999".parse().unwrap(),
        "no remediation for `S3.9999`",
    )
    .await;
    check(
        |f| f.account = "999999999999".parse().unwrap(),
        "not one of the configured accounts",
    )
    .await;
    check(
        |f| f.resource_id = "arn:aws:s3:::Bad_Bucket".to_owned(),
        "`Bucket` cannot be `Bad_Bucket`",
    )
    .await;
    assert!(world.tap.opened().is_empty(), "nobody looked at AWS");
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_not_enabled_is_refused() {
    let mut world = World::new();
    world.bucket("logs").await;
    let regions = Some(["us-east-1".parse().unwrap()].into());
    world.settings.accounts.get_mut(&account()).unwrap().regions = regions;
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Refused);
    assert!(
        state
            .error
            .unwrap()
            .contains("`eu-central-1` is not enabled")
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_while_reading_is_no_finding() {
    for kind in [
        CallErrorKind::Denied,
        CallErrorKind::Throttled,
        CallErrorKind::Unreadable,
    ] {
        let world = World::new();
        world.bucket("logs").await;
        world.tap.inject(
            Aim::at("s3.GetPublicAccessBlock"),
            Fault::Refuse {
                kind,
                code: "Error",
            },
        );
        let (id, state) = world.fix("logs").await;
        assert_eq!(state.status, Status::Failed);
        assert_eq!(world.story(id).await, "received finished");
        assert!(world.tap.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_aws_refuses_leaves_no_trace() {
    let world = World::new();
    world.bucket("logs").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at_write(), denied);
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Failed);
    assert!(state.error.unwrap().contains("AccessDenied"));
    assert_eq!(world.block("logs").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_up_and_not_sent_again() {
    for kind in [
        CallErrorKind::Unanswered,
        CallErrorKind::Server,
        CallErrorKind::Unreadable,
    ] {
        let world = World::new();
        world.bucket("logs").await;
        world.tap.inject(Aim::at_write(), Fault::LoseAnswer(kind));
        let (_, state) = world.fix("logs").await;
        assert_eq!(state.status, Status::Success, "{kind:?} {:?}", state.error);
        assert_eq!(world.tap.writes().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn guarded_waits_for_an_approval_of_this_very_plan() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::AwaitingApproval);
    assert!(world.tap.writes().is_empty());

    // Somebody changes the bucket after the plan was shown.
    let half =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", half).await;
    let state = world.hub().approve(id, "alice").await.unwrap();
    assert_eq!(
        state.status,
        Status::AwaitingApproval,
        "the approval is void"
    );
    assert!(world.tap.writes().is_empty());

    let state = world.hub().approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(
        world.story(id).await,
        "received planned decided approval-requested approved approval-voided \
         planned decided approval-requested approved \
         started step-started step-finished verified finished"
    );
}

#[tokio::test(start_paused = true)]
async fn people_are_asked_once_for_one_change() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world.bucket("logs").await;
    let (first, _) = world.fix("logs").await;
    tokio::time::advance(Duration::from_hours(12)).await;
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Skipped);
    assert!(state.error.unwrap().contains(&first.to_string()));
}

#[tokio::test(start_paused = true)]
async fn an_approval_in_time_or_never() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    tokio::time::advance(Duration::from_hours(25)).await;
    let late = world.hub().approve(id, "alice").await;
    assert!(late.is_err(), "{late:?}");
    assert_eq!(world.hub().recover().await.unwrap(), 1);
    assert_eq!(
        world.hub().handle(id).await.unwrap().status,
        Status::Refused
    );
    assert!(world.tap.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_approves_their_own_request() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    let own = world.hub().approve(id, &state.received.requester).await;
    assert!(matches!(own, Err(RequestError::OwnRequest(_))), "{own:?}");
    let state = world.hub().reject(id, "bob", "not now").await.unwrap();
    assert_eq!(state.status, Status::Refused);
    assert_eq!(state.error.as_deref(), Some("rejected by bob: not now"));
}

#[tokio::test(start_paused = true)]
async fn a_person_may_run_what_is_guarded() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world.bucket("logs").await;
    let hub = world.hub();
    let event = world.finding("logs").security_hub_event().to_string();
    let taken = hub
        .take(&Source::person("cli", "alice"), event.as_bytes())
        .await
        .unwrap();
    let state = hub.handle(taken.admitted[0]).await.unwrap();
    assert_eq!(state.status, Status::Success);
    assert_eq!(state.received.requester, "alice");
}

/// Each decision names the rules that it was made by.
#[tokio::test(start_paused = true)]
async fn rules_may_change_while_it_runs() {
    let world = World::new();
    let hub = world.hub();
    let before = hub.decides().hash().to_owned();
    hub.decide_by(Guard::built_in(&Automatic::default()));
    let after = hub.decides().hash().to_owned();
    assert_ne!(before, after);
    world.bucket("logs").await;
    let (id, state) = world.deliver(&hub, &world.finding("logs")).await.remove(0);
    assert_eq!(state.status, Status::AwaitingApproval);
    let events = world.ledger.events(id).await.unwrap();
    let rules = events.iter().find_map(|(event, _)| match event {
        Event::Decided(decided) => Some(decided.rules.clone()),
        _ => None,
    });
    assert_eq!(rules, Some(after));
}

/// Rules that cannot be read let nothing begin, and refuse nothing either.
#[tokio::test(start_paused = true)]
async fn what_comes_while_rules_cannot_be_read_waits_for_them() {
    let world = World::new();
    let hub = world.hub();
    world.bucket("logs").await;
    hub.hold("the rules cannot be read: no file");
    let (id, state) = world.deliver(&hub, &world.finding("logs")).await.remove(0);
    assert_eq!(state.status, Status::Deferred);
    let decided = state.decision.unwrap().decided;
    assert_eq!(decided.reasons, ["the rules cannot be read: no file"]);
    // However often it is looked at, it is not told anew.
    for _ in 0..3 {
        tokio::time::advance(Duration::from_mins(2)).await;
        let state = hub.handle(id).await.unwrap();
        assert_eq!(state.status, Status::Deferred);
    }
    assert_eq!(world.story(id).await, "received planned decided");
    assert!(world.tap.writes().is_empty());
    hub.decide_by(Guard::built_in(&world.automatic));
    assert_eq!(hub.held(), None);
    assert_eq!(hub.recover().await.unwrap(), 1);
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
}

/// An approval stands until they can be read again.
#[tokio::test(start_paused = true)]
async fn what_was_approved_waits_for_rules_too() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    let hub = world.hub();
    world.bucket("logs").await;
    let (id, _) = world.deliver(&hub, &world.finding("logs")).await.remove(0);
    hub.hold("the rules cannot be read: no file");
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::Ready);
    assert!(world.tap.writes().is_empty());
    hub.decide_by(Guard::built_in(&world.automatic));
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_restores_what_was_there() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let shown = world
        .hub()
        .rollback(id, "alice", true, false)
        .await
        .unwrap();
    assert_eq!(shown.plan.steps.len(), 1);
    assert_eq!(
        world.block("logs").await,
        Some(all_on()),
        "a dry run changes nothing"
    );
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Undone), "{:?}", done.error);
    assert_eq!(world.block("logs").await, None);
    assert!(
        world
            .story(id)
            .await
            .ends_with("undo-planned undo-started step-started step-finished undone")
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollback_stops_on_drift() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": false});
    let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": theirs});
    world.admin("s3", "PutPublicAccessBlock", put).await;
    let Err(RequestError::Drift(drift)) = world.hub().rollback(id, "alice", false, false).await
    else {
        panic!("it went over somebody else's change")
    };
    assert_eq!(drift.now["block"], theirs);
    assert_eq!(drift.after["block"], all_on());
    assert_eq!(drift.before["block"], Value::Null);
    assert_eq!(world.block("logs").await, Some(theirs));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_not_fought_over() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    let mut ends = Vec::new();
    for _ in 0..5 {
        let (_, state) = world.deliver(&hub, &world.finding("logs")).await.remove(0);
        ends.push(state.status);
        world
            .admin("s3", "DeletePublicAccessBlock", json!({"Bucket": "logs"}))
            .await;
        tokio::time::advance(Duration::from_hours(1)).await;
    }
    use Status::{Refused, Success};
    assert_eq!(ends, [Success, Success, Success, Refused, Refused]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_after_a_pause_but_not_for_ever() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    let finding = world.finding("logs");
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at_write().times(100), denied);
    assert_eq!(world.deliver(&hub, &finding).await.len(), 1);
    assert_eq!(world.deliver(&hub, &finding).await.len(), 0, "the pause");
    for _ in 0..10 {
        tokio::time::advance(Duration::from_mins(6)).await;
        world.deliver(&hub, &finding).await;
    }
    assert_eq!(world.tap.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_slow_account_holds_up_nobody() {
    let mut world = World::new();
    let other = "333333333333".parse().unwrap();
    world
        .settings
        .accounts
        .insert(other, stanch_hub::Account::default());
    world.bucket("slow").await;
    let gate = Gate::closed();
    world.tap.inject(
        Aim::at("s3.GetPublicAccessBlock"),
        Fault::HoldRequest(gate.clone()),
    );
    let hub = world.hub();
    let runner = tokio::spawn({
        let hub = hub.clone();
        async move { hub.run().await }
    });
    let take = async |finding: stanch_testkit::Misconfiguration| {
        let event = finding.security_hub_event().to_string();
        hub.take(&Source::automatic("test"), event.as_bytes())
            .await
            .unwrap()
            .admitted[0]
    };
    let slow = take(world.finding("slow")).await;
    gate.reached().await;
    let mut finding = world.finding("other");
    finding.account = "333333333333".parse().unwrap();
    let quick = take(finding).await;
    while !world.ledger.record(quick).await.unwrap().status.is_final() {
        tokio::task::yield_now().await;
    }
    assert!(!world.ledger.record(slow).await.unwrap().status.is_final());
    gate.open();
    hub.finish();
    runner.await.unwrap();
    assert_eq!(
        world.ledger.record(slow).await.unwrap().status,
        Status::Success
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_understood_is_kept() {
    let world = World::new();
    let taken = world
        .hub()
        .take(&Source::automatic("http"), b"{\"detail-type\": ")
        .await
        .unwrap();
    assert_eq!(taken.buried.len(), 1);
    let letters = world.ledger.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.source, "http");
    assert_eq!(
        world
            .ledger
            .query(&Query::all())
            .await
            .unwrap()
            .records
            .len(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_preview_writes_nothing_and_shows_what_will_be_sent() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    let event = world.finding("logs").security_hub_event().to_string();
    let preview = hub
        .preview(&Source::automatic("test"), event.as_bytes())
        .await;
    let planned: Vec<_> = preview.findings[0]
        .plan
        .as_ref()
        .unwrap()
        .writes()
        .cloned()
        .collect();
    assert!(world.tap.writes().is_empty());
    assert_eq!(
        world
            .ledger
            .query(&Query::all())
            .await
            .unwrap()
            .records
            .len(),
        0
    );
    world.deliver(&hub, &world.finding("logs")).await;
    assert_eq!(world.tap.writes(), planned);
    let _ = world.clock.now();
}
