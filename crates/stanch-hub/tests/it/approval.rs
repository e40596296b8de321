//! Approvals: who may say yes, how they are reached, and what a yes is for.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch_catalog::{Catalog, Class, Plan};
use stanch_hub::{
    ApprovalRule, Approvals, Approver, Audience, Hub, Links, Notifier, RequestError, Source,
};
use stanch_ledger::{Event, Ledger, Means, MemoryLedger, RemediationId, State, Status};
use stanch_testkit::Listener;
use stanch_types::Secret;

use crate::{
    ledgers::Dying,
    world::{World, account, rules},
};

/// What needs an approval before it begins.
fn asking() -> World {
    let mut world = World::new();
    world.automatic.guarded.clear();
    world
}

fn group(people: &[&str]) -> std::collections::BTreeSet<String> {
    people.iter().map(|person| (*person).to_owned()).collect()
}

fn in_role(name: &str, role: &str) -> Approver {
    Approver {
        role: Some(role.to_owned()),
        ..name.into()
    }
}

async fn half_blocked(world: &World, bucket: &str) {
    let put =
        json!({"Bucket": bucket, "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", put).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_approver_list_means_nobody() {
    let nobody = |world: &mut World| {
        world.settings.approval = Approvals::default();
    };
    let empty = |world: &mut World| {
        world.settings.approval = Approvals::by("security", &[]);
    };
    let requester_only = |world: &mut World| {
        world.settings.approval = Approvals::by("security", &["TEST"]);
    };
    let unknown_group = |world: &mut World| {
        world.settings.approval.groups.clear();
    };
    let none_needed = |world: &mut World| {
        world.settings.approval.rules[0].needs.clear();
    };
    for change in [nobody, empty, requester_only, unknown_group, none_needed] as [fn(&mut World); 5]
    {
        let mut world = asking();
        change(&mut world);
        world.bucket("logs").await;
        let (id, state) = world.fix("logs").await;
        assert_eq!(state.status, Status::Refused);
        let error = state.error.unwrap();
        assert!(error.contains("it needs an approval"), "{error}");
        assert_eq!(world.story(id).await, "received planned decided finished");
        assert!(world.tap.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_cannot_be_delivered_is_a_no_and_is_told() {
    let mut world = asking();
    let (deaf, folder) = (
        Arc::new(Listener::default()),
        Arc::new(Listener::new("logs", Audience::Records)),
    );
    deaf.set_deaf(true);
    world.notifiers = vec![deaf.clone(), folder.clone()];
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Refused);
    assert_eq!(
        state.error.as_deref(),
        Some("its approval could not be asked for: `everyone`: nobody is there")
    );
    assert_eq!(
        world.story(id).await,
        "received planned decided approval-requested approval-lapsed"
    );
    let told: Vec<_> = folder.heard().into_iter().map(|told| told.status).collect();
    assert_eq!(told, ["AwaitingApproval", "Refused"]);
    // A record that nobody reads asks nobody.
    let mut world = asking();
    world.notifiers = vec![folder];
    world.bucket("logs").await;
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Refused);
    assert!(world.tap.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn enough_people_have_to_be_reached() {
    let mut world = asking();
    world.settings.approval.rules[0].needs = [("security".to_owned(), 2)].into();
    let person = |name: &str| Arc::new(Listener::new(name, Audience::Person(name.to_owned())));
    let (alice, bob) = (person("alice"), person("bob"));
    bob.set_deaf(true);
    world.notifiers = vec![
        alice.clone() as Arc<dyn Notifier>,
        bob.clone(),
        person("mallory"),
    ];
    world.bucket("logs").await;
    let (_, state) = world.fix("logs").await;
    assert_eq!(
        state.status,
        Status::Refused,
        "two are needed, one was reached"
    );
    bob.set_deaf(false);
    world.bucket("data").await;
    let (_, state) = world.fix("data").await;
    assert_eq!(state.status, Status::AwaitingApproval);
    assert_eq!(bob.heard().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn separation_of_duties() {
    let mut world = asking();
    let approval = &mut world.settings.approval;
    approval.groups = [
        ("security".to_owned(), group(&["alice", "bob"])),
        ("owners".to_owned(), group(&["bob", "carol"])),
    ]
    .into();
    approval.rules = vec![
        ApprovalRule {
            accounts: ["999999999999".parse().unwrap()].into(),
            needs: [("security".to_owned(), 1)].into(),
            ..ApprovalRule::default()
        },
        ApprovalRule {
            classes: [Class::Guarded].into(),
            accounts: [account()].into(),
            needs: [("security".to_owned(), 1), ("owners".to_owned(), 1)].into(),
            ..ApprovalRule::default()
        },
    ];
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let hub = world.hub();
    let refused =
        async |approver: Approver| hub.approve(id, approver).await.unwrap_err().to_string();
    assert_eq!(
        refused("eve".into()).await,
        "`eve` is not asked to approve this: it waits for `owners`, `security`"
    );
    assert!(
        refused(in_role("alice", "owners"))
            .await
            .contains("not asked")
    );
    assert!(refused("bob".into()).await.contains("in which role"));
    let state = hub.approve(id, in_role("bob", "owners")).await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval);
    assert_eq!(refused("Bob".into()).await, "`Bob` has approved it already");
    assert!(refused("carol".into()).await.contains("not asked"));
    assert!(world.tap.writes().is_empty());
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    let who: Vec<_> = state.approved[0]
        .given
        .iter()
        .map(|(consent, _)| (consent.by.as_str(), consent.role.as_str()))
        .collect();
    assert_eq!(who, [("bob", "owners"), ("alice", "security")]);
}

#[tokio::test(start_paused = true)]
async fn an_approval_names_what_was_seen() {
    let world = asking();
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    let hub = world.hub();
    let seen = |plan: &str| Approver {
        plan: Some(plan.to_owned()),
        ..Approver::from("alice")
    };
    for wrong in ["0123456789abcdef", "", "a"] {
        let other = hub.approve(id, seen(wrong)).await.unwrap_err();
        assert!(matches!(other, RequestError::OtherPlan { .. }), "{other}");
    }
    let hash = state.plan.unwrap().plan_hash.clone();
    let state = hub.approve(id, seen(&hash[..12])).await.unwrap();
    assert_eq!(state.status, Status::Success);
}

/// What the change may touch, and what of that could not be read, is before whoever says yes.
#[tokio::test(start_paused = true)]
async fn people_are_told_what_the_change_may_touch() {
    let mut world = asking();
    let channel = Arc::new(Listener::default());
    world.notifiers = vec![channel.clone()];
    world.bucket("logs").await;
    let public = json!({"Bucket": "logs", "Policy": r#"{"Statement":[{"Principal":"*"}]}"#});
    world.admin("s3", "PutBucketPolicy", public).await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::AwaitingApproval);
    let sheet = world.hub().sheet(id).await.unwrap();
    let lines: Vec<String> = sheet.facts.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines[..2],
        [
            "Its policy lets everybody in: yes",
            "It is served as a website: no"
        ]
    );
    // CloudFront is not in this AWS, and is not known to read it or not.
    let unknown = "CloudFront reads it as anybody can: not known: cloudfront.ListDistributions: ";
    assert!(lines[2].starts_with(unknown), "{lines:?}");
    let asked = channel.heard().remove(0).approval.unwrap();
    assert_eq!(asked.facts, lines);
}

#[tokio::test(start_paused = true)]
async fn the_executed_plan_is_the_approved_one_or_people_see_the_difference() {
    let mut world = asking();
    let channel = Arc::new(Listener::default());
    world.notifiers = vec![channel.clone()];
    world.bucket("logs").await;
    let (id, first) = world.fix("logs").await;
    half_blocked(&world, "logs").await;
    let hub = world.hub();
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval);
    let changed = state.approval.unwrap().request.changed.unwrap();
    assert_eq!(changed.plan_hash, first.plan.unwrap().plan_hash.clone());
    let lines: Vec<String> = changed.changes.iter().map(stanch_hub::line).collect();
    assert!(
        lines.contains(&"+ state.block.BlockPublicAcls: true".to_owned()),
        "{lines:?}"
    );
    let asked = channel.heard().pop().unwrap().approval.unwrap();
    assert_eq!(asked.changed, lines);
    let sheet = hub.sheet(id).await.unwrap();
    assert_eq!(sheet.changed, Some(changed));
    assert!(world.tap.writes().is_empty());
    // Who approved the plan before may approve this one.
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::Success);
}

#[tokio::test(start_paused = true)]
async fn what_was_approved_is_begun_in_time_or_never() {
    let world = asking();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let hub = world.hub();
    hub.consent(id, &"alice".into()).await.unwrap();
    tokio::time::advance(Duration::from_hours(24)).await;
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Refused);
    let error = state.error.unwrap();
    assert_eq!(error, "it was approved, but not begun in time");
    assert!(world.tap.writes().is_empty());
}

/// Who was told is noted while they answer; their answer counts all the same.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_whatever_is_noted_meanwhile() {
    for yes in [true, false] {
        let mut world = asking();
        world.bucket("logs").await;
        let (id, _) = world.fix("logs").await;
        let noted = Event::Notified {
            channel: "mail".to_owned(),
            ok: true,
            error: None,
            asked: Vec::new(),
        };
        world.ledger = Dying::shared(Arc::clone(&world.ledger), noted.clone());
        let hub = world.hub();
        let state = match yes {
            true => hub.approve(id, "alice").await,
            false => hub.reject(id, "alice", "it is a website").await,
        };
        let wanted = if yes {
            Status::Success
        } else {
            Status::Refused
        };
        assert_eq!(state.unwrap().status, wanted);
        let entries = world.ledger.entries(id).await.unwrap();
        assert!(entries.iter().any(|entry| entry.event == noted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_dies_before_it_has_asked_asks_later() {
    let mut world = asking();
    let kept: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    world.ledger = Arc::new(Dying::after(Arc::clone(&kept), 1, false));
    world.bucket("logs").await;
    let hub = world.hub();
    let event = world.finding("logs").security_hub_event().to_string();
    let taken = hub
        .take(&Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    hub.handle(id).await.unwrap_err();
    world.ledger = kept;
    assert_eq!(world.hub().recover().await.unwrap(), 1);
    let state = world.hub().handle(id).await.unwrap();
    assert!(state.approval.unwrap().is_delivered());
    assert_eq!(world.hub().recover().await.unwrap(), 0);
}

fn links() -> Links {
    let key = "0123456789abcdef0123456789abcdef".to_owned();
    Links::new(Secret::new(key), "https://stanch.example.com")
}

#[tokio::test(start_paused = true)]
async fn each_gets_a_link_of_their_own() {
    let mut world = asking();
    world.settings.approval.links = Some(links());
    let alice = Arc::new(Listener::new("a", Audience::Person("alice".to_owned())));
    let all = Arc::new(Listener::default());
    world.notifiers = vec![alice.clone() as Arc<dyn Notifier>, all.clone()];
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(all.heard()[0].approval.as_ref().unwrap().link, None);
    let link = alice.heard()[0].approval.clone().unwrap().link.unwrap();
    let token = link.rsplit('/').next().unwrap();
    let claim = links().read(token).unwrap();
    let request = &state.approval.as_ref().unwrap().request;
    assert_eq!(
        (
            claim.id,
            &*claim.person,
            &claim.nonce,
            &claim.plan,
            claim.expires
        ),
        (
            id,
            "alice",
            &request.nonce,
            &request.plan_hash,
            request.expires
        )
    );
    let approver = Approver {
        how: stanch_hub::means(token),
        ..Approver::from("alice")
    };
    let state = world.hub().approve(id, approver).await.unwrap();
    assert_eq!(state.status, Status::Success);
    assert!(matches!(&state.approved[0].given[0].0.how, Means::Link(digest) if digest.len() == 64));
    let told = alice.heard().len();
    assert_eq!(told, 1, "a person's channel is for their approvals");
}

// ---- a plan, or the ledger, in other hands

/// The plan, with these words in place of those.
fn reworded(plan: &Value, from: &str, to: &str) -> Value {
    let text = plan.to_string();
    assert!(text.contains(from), "{text}");
    serde_json::from_str(&text.replace(from, to)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_tampered_with_before_the_approval_is_not_approved() {
    let mut world = asking();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    world.ledger = Dying::forged(
        Arc::clone(&world.ledger),
        Box::new(|event| {
            if let Event::Planned(planned) = event {
                planned.plan = reworded(&planned.plan, r#""Bucket":"logs""#, r#""Bucket":"other""#);
            }
        }),
    );
    let refused = world.hub().approve(id, "alice").await.unwrap_err();
    assert!(matches!(refused, RequestError::Gone(_)), "{refused}");
    assert_eq!(world.hub().sheet(id).await.unwrap().plan, None);
    assert!(world.tap.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_plan_and_its_hash_that_were_tampered_with_are_not_what_is_sent() {
    let mut world = asking();
    world.bucket("logs").await;
    let (id, state) = world.fix("logs").await;
    let plan = reworded(
        &state.plan.unwrap().plan,
        r#""Bucket":"logs""#,
        r#""Bucket":"other""#,
    );
    let hash = serde_json::from_value::<Plan>(plan.clone()).unwrap().hash();
    let forge = move |event: &mut Event| match event {
        Event::Planned(planned) => {
            (planned.plan, planned.plan_hash) = (plan.clone(), hash.clone());
        }
        Event::ApprovalRequested(request) => request.plan_hash.clone_from(&hash),
        _ => {}
    };
    let kept = Arc::clone(&world.ledger);
    world.ledger = Dying::forged(Arc::clone(&kept), Box::new(forge));
    // What was forged is approved; what is planned anew is something else.
    let _ = world.hub().approve(id, "alice").await;
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.block("logs").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_file_that_was_changed_after_the_approval_runs_nothing() {
    let mut world = asking();
    world.catalog = catalog(CUT_OVER);
    world.bucket("logs").await;
    let (id, state) = cut_over(&world).await;
    assert_eq!(state.status, Status::AwaitingApproval);
    world.catalog = catalog(&CUT_OVER.replace("Now?", "Now, please?"));
    let state = world.hub().approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval, "it is asked again");
    assert!(world.tap.writes().is_empty());
    assert_eq!(state.received.remediation, "TestCutOver");
}

// ---- a run that waits for people

/// Writes a policy, makes a group, asks, and then opens the group and blocks the bucket.
const CUT_OVER: &str = r#"
remediation: TestCutOver
title: Prepare, ask, and change over
description: For tests.
resource: AwsS3Bucket
controls: {security-hub: S3.999}
safety: {class: destructive, impact: Everybody notices., undo: exact}
parameters:
  Bucket: {from: resource.name, pattern: "[a-z]+", accepts: [logs], rejects: [""]}
read:
  - {name: policy, call: s3.GetBucketPolicy, with: {Bucket: "{{ Bucket }}"}, absent: NoSuchBucketPolicy, pick: Policy}
  - {name: block, call: s3.GetPublicAccessBlock, with: {Bucket: "{{ Bucket }}"}, absent: NoSuchPublicAccessBlockConfiguration, pick: PublicAccessBlockConfiguration}
compliant: "block.BlockPublicAcls == `true`"
apply:
  - when: "policy == `null`"
    call: s3.PutBucketPolicy
    with: {Bucket: "{{ Bucket }}", Policy: "{}"}
  - call: ec2.CreateSecurityGroup
    with: {GroupName: new, Description: new, VpcId: vpc-12345678}
    on: "arn:{{ partition }}:ec2:{{ region }}:{{ account }}:*"
    outputs: {Id: {select: $.GroupId, type: String}}
  - {name: CutOver, approve: "Now? {{ Bucket }} is ready."}
  - call: ec2.AuthorizeSecurityGroupIngress
    with:
      GroupId: "{{ steps.CreateSecurityGroup.Id }}"
      IpPermissions: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, IpRanges: [{CidrIp: 10.0.0.0/8}]}]
    on: "arn:{{ partition }}:ec2:{{ region }}:{{ account }}:*"
  - call: s3.PutPublicAccessBlock
    with: {Bucket: "{{ Bucket }}", PublicAccessBlockConfiguration: {BlockPublicAcls: true}}
undo:
  - when: "block == `null` && now.block != `null`"
    call: s3.DeletePublicAccessBlock
    with: {Bucket: "{{ Bucket }}"}
  - when: "policy == `null` && now.policy != `null`"
    call: s3.DeleteBucketPolicy
    with: {Bucket: "{{ Bucket }}"}
examples:
  - title: A bucket
    given: [{call: s3.CreateBucket, with: {Bucket: logs}}]
    finding: {control: S3.999, resource: "arn:aws:s3:::logs"}
"#;

fn catalog(text: &str) -> Arc<Catalog> {
    let mut catalog = Catalog::embedded();
    let found = catalog.extend([("cut-over.yaml", text)]);
    assert!(
        catalog.get("TestCutOver").is_some(),
        "{}",
        found.iter().map(ToString::to_string).collect::<String>()
    );
    Arc::new(catalog)
}

async fn cut_over(world: &World) -> (RemediationId, State) {
    let mut finding = world.finding("logs");
    finding.control = "S3.999".parse().unwrap();
    world.deliver(&world.hub(), &finding).await.remove(0)
}

/// A run that waits at its cut-over.
async fn waiting() -> (World, Arc<Hub>, RemediationId) {
    let mut world = World::new();
    world.catalog = catalog(CUT_OVER);
    world.bucket("logs").await;
    let (id, _) = cut_over(&world).await;
    let hub = world.hub();
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval, "{:?}", state.error);
    let cutover = state.approval.unwrap().request.cutover.unwrap();
    assert_eq!(
        (cutover.step, &*cutover.message),
        (2, "Now? logs is ready.")
    );
    assert_eq!(
        writes(&world),
        ["s3.PutBucketPolicy", "ec2.CreateSecurityGroup"]
    );
    (world, hub, id)
}

fn writes(world: &World) -> Vec<String> {
    world.tap.writes().iter().map(ToString::to_string).collect()
}

async fn policy(world: &World) -> bool {
    let api = world.aws.account(&account(), &crate::world::region());
    let call = stanch_types::Call::new("s3", "GetBucketPolicy", json!({"Bucket": "logs"}));
    api.call(&call).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_and_goes_on_with_what_it_knows() {
    let (world, hub, id) = waiting().await;
    let sessions = world.tap.opened().len();
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(
        writes(&world)[2..],
        [
            "ec2.AuthorizeSecurityGroupIngress",
            "s3.PutPublicAccessBlock"
        ]
    );
    let group = &world.tap.writes()[2].params["GroupId"];
    assert!(group.as_str().unwrap().starts_with("sg-"), "{group}");
    assert!(world.tap.opened().len() > sessions, "a session of its own");
    assert_eq!(state.approved.len(), 2);
    assert_eq!(
        world.story(id).await,
        "received planned decided approval-requested approved started \
         step-started step-finished step-started step-finished \
         approval-requested approved started \
         step-started step-finished step-started step-finished verified finished"
    );
}

/// Between an approval and the cut-over that it is for, hours may pass.
#[tokio::test(start_paused = true)]
async fn a_cut_over_that_the_rules_no_longer_allow_is_taken_back() {
    let (world, _, id) = waiting().await;
    let hub = world.ruled(rules("forbid (principal, action, resource);", &(1..2)));
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert!(!policy(&world).await);
    let sent = writes(&world);
    assert!(
        !sent.contains(&"s3.PutPublicAccessBlock".to_owned()),
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_over_waits_for_its_window() {
    let (world, _, id) = waiting().await;
    let windows = "permit (principal, action, resource) when { context.calendars.window };";
    let hub = world.ruled(rules(windows, &(1..2)));
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Running);
    assert_eq!(writes(&world).len(), 2, "nothing was sent in the freeze");
    world.clock.jump(SignedDuration::from_mins(61));
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    // By which rules it was let go on is in the ledger.
    let entries = world.ledger.entries(id).await.unwrap();
    let confirmed = entries.iter().filter_map(|entry| match &entry.event {
        Event::Started(started) => started.confirmed.clone(),
        _ => None,
    });
    let rules: Vec<String> = confirmed.map(|answer| answer.rules).collect();
    assert_eq!(rules.len(), 2, "the first approval, and the cut-over's");
    assert_eq!(rules.last().unwrap(), hub.decides().hash());
}

#[tokio::test(start_paused = true)]
async fn a_no_on_the_way_takes_back_what_was_done() {
    let (world, hub, id) = waiting().await;
    let state = hub.reject(id, "bob", "not today").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(state.error.as_deref(), Some("rejected by bob: not today"));
    assert!(!policy(&world).await);
    assert_eq!(writes(&world)[2..], ["s3.DeleteBucketPolicy"]);
}

#[tokio::test(start_paused = true)]
async fn expiry_on_the_way_takes_back_what_was_done() {
    let (world, hub, id) = waiting().await;
    tokio::time::advance(Duration::from_hours(25)).await;
    let late = hub.approve(id, "bob").await;
    assert!(matches!(late, Err(RequestError::Late(_))), "{late:?}");
    assert_eq!(hub.recover().await.unwrap(), 1);
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(state.error.as_deref(), Some("nobody approved it in time"));
    assert!(!policy(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_change_by_somebody_else_while_it_waits_is_shown_and_asked_again() {
    let (world, hub, id) = waiting().await;
    let put = json!({"Bucket": "logs", "Policy": r#"{"Id":"theirs"}"#});
    world.admin("s3", "PutBucketPolicy", put).await;
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval, "{:?}", state.error);
    let changed = state.approval.unwrap().request.changed.unwrap();
    let lines: Vec<String> = changed.changes.iter().map(stanch_hub::line).collect();
    assert!(
        lines.contains(&"+ policy.Id: theirs".to_owned()),
        "{lines:?}"
    );
    assert_eq!(writes(&world).len(), 2);
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_changes_the_resource_while_it_waits() {
    let (mut world, hub, id) = waiting().await;
    world.automatic.guarded = ["S3BlockPublicAccess".to_owned()].into();
    let (other, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Ready, "{:?}", state.error);
    hub.reject(id, "bob", "no").await.unwrap();
    let state = world.hub().handle(other).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_tampered_with_while_it_waited_is_not_carried_on() {
    let (mut world, _, id) = waiting().await;
    let sent = writes(&world).len();
    let approved = world.hub().consent(id, &"bob".into()).await.unwrap();
    assert_eq!(approved.status, Status::Running);
    world.ledger = Dying::forged(
        Arc::clone(&world.ledger),
        Box::new(|event| {
            if let Event::Planned(planned) = event {
                planned.plan = reworded(&planned.plan, "10.0.0.0/8", "0.0.0.0/0");
            }
        }),
    );
    let state = world.hub().handle(id).await.unwrap();
    assert_eq!(state.status, Status::Failed);
    assert!(
        state
            .error
            .unwrap()
            .contains("not the one that was decided on")
    );
    assert_eq!(writes(&world).len(), sent);
}

/// Dies at the given write, then a new hub goes on and people answer.
async fn killed(at: usize, unheard: bool, yes: bool) -> (World, State, bool) {
    let mut world = World::new();
    world.catalog = catalog(CUT_OVER);
    world.bucket("logs").await;
    let kept: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    world.ledger = Arc::new(Dying::after(Arc::clone(&kept), at, unheard));
    let hub = world.hub();
    let mut finding = world.finding("logs");
    finding.control = "S3.999".parse().unwrap();
    let event = finding.security_hub_event().to_string();
    let taken = hub
        .take(&Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let answers = async |hub: &Hub| -> Result<State, RequestError> {
        let mut state = hub.handle(id).await?;
        for _ in 0..4 {
            let midway = state.run.is_some();
            state = match state.status {
                Status::AwaitingApproval if midway && !yes => hub.reject(id, "bob", "").await?,
                Status::AwaitingApproval => hub.approve(id, "alice").await?,
                status if status.is_final() => break,
                _ => hub.handle(id).await?,
            };
        }
        Ok(state)
    };
    let died = answers(&hub).await.is_err();
    drop(hub);
    world.ledger = kept;
    tokio::time::advance(world.settings.lease * 2).await;
    let state = answers(&world.hub()).await.unwrap();
    (world, state, died)
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_a_run_that_waits_is_fixed_or_put_back() {
    for (unheard, yes) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut deaths = 0;
        for at in 0..30 {
            let (world, state, died) = killed(at, unheard, yes).await;
            deaths += usize::from(died);
            let fixed = world
                .block("logs")
                .await
                .is_some_and(|block| block["BlockPublicAcls"] == true);
            let context = format!("killed at {at}: {} {:?}", state.status, state.error);
            match state.status {
                Status::Success => assert!(yes && fixed, "{context}"),
                Status::Undone => assert!(!fixed && !policy(&world).await, "{context}"),
                _ => panic!("{context}"),
            }
            // The file reads no groups, so it cannot tell one that was made from one that was not.
            let mut sent = world.tap.writes();
            sent.retain(|call| call.operation != "CreateSecurityGroup");
            for (index, call) in sent.iter().enumerate() {
                assert!(!sent[index + 1..].contains(call), "{context}: {call} twice");
            }
        }
        assert!(deaths >= 10, "the test kills: {deaths}");
    }
}
