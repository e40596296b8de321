//! Stopping: pauses of every reach, before and between requests, and what goes on afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_hub::{DirectiveError, RequestError, Source};
use stanch_ledger::{
    Directives, Event, Given, LedgerError, Reach, RemediationId, Status, StoreFault,
};
use stanch_testkit::{Aim, Fault, Gate, Misconfiguration};
use stanch_types::CallErrorKind;

use crate::world::{World, account, region};

pub async fn pause_all(world: &World) {
    world
        .hub()
        .pause(Reach::All, "alice", "an outage")
        .await
        .unwrap();
}

pub async fn resume_all(world: &World) {
    let hub = world.hub();
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    hub.recover().await.unwrap();
    hub.finish();
    hub.run().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_what_it_reaches_and_nothing_else() {
    for (reach, stops) in [
        (Reach::All, true),
        (Reach::Account(account()), true),
        (Reach::Account("333333333333".parse().unwrap()), false),
        (Reach::Region(region()), true),
        (Reach::Region("us-east-1".parse().unwrap()), false),
        (Reach::Control("S3.8".to_owned()), true),
        (Reach::Control("EC2.13".to_owned()), false),
        // Others call the same so, and what else Security Hub calls what would be changed is another control.
        (
            Reach::Control("prowler:s3_bucket_public_access".to_owned()),
            true,
        ),
        (Reach::Control("S3BlockPublicAccess".to_owned()), true),
        (Reach::Control("S3.2".to_owned()), false),
        (Reach::Unit("root/prod".to_owned()), true),
        (Reach::Unit("root/test".to_owned()), false),
    ] {
        let mut world = World::new();
        let ou = Some("root/prod/payments".to_owned());
        world.settings.accounts.get_mut(&account()).unwrap().ou = ou;
        world.bucket("logs").await;
        let hub = world.hub();
        hub.pause(reach.clone(), "alice", "an outage")
            .await
            .unwrap();
        let (id, state) = world.fix("logs").await;
        if stops {
            assert_eq!(state.status, Status::Paused, "{reach}");
            assert_eq!(world.story(id).await, "received planned decided paused");
            let why = state.paused.unwrap().1;
            assert_eq!(
                why,
                format!("changes are paused for {reach} by alice: an outage")
            );
            assert!(world.tap.writes().is_empty());
        } else {
            assert_eq!(state.status, Status::Success, "{reach}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_paused_goes_on_when_it_is_resumed_and_looks_again() {
    let world = World::new();
    world.bucket("logs").await;
    pause_all(&world).await;
    let (id, _) = world.fix("logs").await;
    assert_eq!(world.hub().recover().await.unwrap(), 0, "nothing is due");
    let same = world.hub().handle(id).await.unwrap();
    assert_eq!(same.status, Status::Paused);
    assert_eq!(world.story(id).await, "received planned decided paused");

    // Meanwhile somebody else does half of it.
    let half =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", half).await;
    resume_all(&world).await;
    assert_eq!(
        world.story(id).await,
        "received planned decided paused resumed planned planned decided \
         started step-started step-finished verified finished"
    );
    assert_eq!(world.tap.writes().len(), 1);
    world.ledger.verify(id).await.unwrap();
    let again = world.hub().resume(Reach::All, "bob", "twice").await;
    assert!(
        matches!(again, Err(DirectiveError::NotPaused(_))),
        "{again:?}"
    );
}

/// Orders are kept as the catalog spells what they are about, and what nobody knows is told.
#[tokio::test(start_paused = true)]
async fn a_control_is_known_in_any_case() {
    let mut world = World::new();
    let ou = Some("root/prod/payments".to_owned());
    world.settings.accounts.get_mut(&account()).unwrap().ou = ou;
    let hub = world.hub();
    let control = |name: &str| Reach::Control(name.to_owned());
    for reach in [control("s3.8"), control("S3BLOCKPUBLICACCESS")] {
        let given = hub.pause(reach.clone(), "alice", "an outage").await;
        let standing = hub.standing().await.unwrap();
        assert!(!standing.pauses.contains_key(&reach), "{reach}");
        assert_eq!(standing.pauses.len(), 1);
        given.unwrap();
        hub.resume(reach, "alice", "over").await.unwrap();
        assert!(hub.standing().await.unwrap().pauses.is_empty());
    }
    // What nobody knows is paused all the same, and let go on by the name that it was paused by.
    hub.pause(control("s3.88"), "alice", "an outage")
        .await
        .unwrap();
    hub.resume(control("s3.88"), "alice", "over").await.unwrap();
    for (reach, known) in [
        (Reach::All, true),
        (Reach::Region("us-east-1".parse().unwrap()), true),
        (Reach::Account(account()), true),
        (Reach::Account("333333333333".parse().unwrap()), false),
        (Reach::Unit("root/prod".to_owned()), true),
        (Reach::Unit("root/test".to_owned()), false),
        (
            control("config:s3-bucket-level-public-access-prohibited"),
            true,
        ),
        (control("s3.88"), false),
    ] {
        assert_eq!(hub.known(&reach).is_some(), known, "{reach}");
    }
}

#[tokio::test(start_paused = true)]
async fn this_process_can_be_stopped_on_its_own() {
    let mut world = World::new();
    world.settings.paused = true;
    world.bucket("logs").await;
    assert_eq!(world.fix("logs").await.1.status, Status::Paused);
    assert!(world.tap.writes().is_empty());
}

/// A store whose switch cannot be read.
struct Unreadable;

#[async_trait]
impl Directives for Unreadable {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        Err(LedgerError::Store {
            store: "the test's".to_owned(),
            fault: StoreFault::Other,
            source: Arc::new(std::io::Error::other("no answer")),
        })
    }
    async fn give(&self, _: Given) -> Result<bool, LedgerError> {
        Ok(false)
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_cannot_be_read_is_off() {
    let mut world = World::new();
    world.bucket("logs").await;
    let kept = std::mem::replace(&mut world.directives, Arc::new(Unreadable));
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Paused);
    assert!(state.paused.unwrap().1.contains("cannot be read"));
    assert!(world.tap.writes().is_empty());
    world.directives = kept;
    let hub = world.hub();
    assert_eq!(hub.recover().await.unwrap(), 1);
    assert_eq!(hub.handle(id).await.unwrap().status, Status::Success);
}

/// Takes `finding` in and lets it run until its first write was carried out; then all is paused.
pub async fn pause_after_the_first_write(
    world: &World,
    finding: &Misconfiguration,
) -> RemediationId {
    let gate = Gate::closed();
    world
        .tap
        .inject(Aim::at_write(), Fault::HoldAnswer(gate.clone()));
    let hub = world.hub();
    let event = finding.security_hub_event().to_string();
    let taken = hub
        .take(&Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let runner = tokio::spawn(async move { hub.handle(id).await.unwrap() });
    gate.reached().await;
    pause_all(world).await;
    gate.open();
    runner.await.unwrap();
    id
}

#[tokio::test(start_paused = true)]
async fn a_run_finishes_its_step_and_stops_before_the_next() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    assert_eq!(
        world.story(id).await,
        "received planned decided started step-started step-finished verified paused"
    );
    assert_eq!(world.tap.writes().len(), 1);
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Success);
    let sent: Vec<String> = world.tap.writes().iter().map(ToString::to_string).collect();
    assert_eq!(sent, ["s3.PutPublicAccessBlock", "s3.PutBucketPolicy"]);
    world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_stands_half_way_can_be_turned_back() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let turned = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(turned.status, Some(Status::Paused), "not yet");
    assert_eq!(world.tap.writes().len(), 1);
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Undone);
    assert_eq!(world.block("logs").await, None::<Value>);
}

/// Others may take a lock that the clock has ended, and the clock may go forward while a hub works.
#[tokio::test(start_paused = true)]
async fn a_hub_whose_lease_the_clock_has_ended_sends_nothing() {
    let world = World::new();
    world.bucket("logs").await;
    let gate = Gate::closed();
    let held = Fault::HoldAnswer(gate.clone());
    world.tap.inject(Aim::at_write(), held);
    let hub = world.hub();
    let event = world.in_two_steps("logs").security_hub_event().to_string();
    let taken = hub
        .take(&Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let runner = tokio::spawn(async move { hub.handle(id).await.unwrap() });
    gate.reached().await;
    world.clock.jump(SignedDuration::from_mins(2));
    gate.open();
    assert_eq!(runner.await.unwrap().status, Status::Running);
    assert_eq!(world.tap.writes().len(), 1);
    let state = world.hub().handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    assert_eq!(world.tap.writes().len(), 2);
}

/// A public access block that somebody else puts.
pub async fn others_change(world: &World) -> Value {
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
    let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": theirs});
    world.admin("s3", "PutPublicAccessBlock", put).await;
    theirs
}

/// A rollback stops at what others have changed; with an approval it goes over it.
async fn is_overwritten_only_with_an_approval(world: &World, id: RemediationId, theirs: &Value) {
    let refused = world.hub().rollback(id, "alice", false, false).await;
    let Err(RequestError::Drift(drift)) = refused else {
        panic!("it went over somebody else's change")
    };
    assert_eq!(drift.before["block"], Value::Null);
    assert_eq!(drift.after["block"]["RestrictPublicBuckets"], true);
    assert_eq!(drift.now["block"], *theirs);
    let asked = world.hub().rollback(id, "alice", false, true).await;
    assert_eq!(asked.unwrap().status, Some(Status::AwaitingApproval));
    assert_eq!(world.block("logs").await.as_ref(), Some(theirs));
}

/// What others change while a run stands half-way is theirs, too; also where nobody approves that it is
/// overwritten, and it stands still again.
#[tokio::test(start_paused = true)]
async fn what_others_changed_while_it_stood_half_way_is_overwritten_only_with_an_approval() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let theirs = others_change(&world).await;
    for _ in 0..2 {
        is_overwritten_only_with_an_approval(&world, id, &theirs).await;
        world.hub().reject(id, "bob", "leave it").await.unwrap();
        // Nor does it go forward over that.
        assert_eq!(status(&world, id).await, Status::UndoFailed);
    }
    is_overwritten_only_with_an_approval(&world, id, &theirs).await;
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Paused, "not yet");
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Undone);
    assert_eq!(world.block("logs").await, None::<Value>);
    world.ledger.verify(id).await.unwrap();
}

/// What is left of the plan was made for what is no more.
#[tokio::test(start_paused = true)]
async fn a_run_does_not_go_on_over_what_others_did_while_it_stood_half_way() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let theirs = others_change(&world).await;
    resume_all(&world).await;
    let (state, _) = world.ledger.state(id).await.unwrap();
    assert_eq!(state.status, Status::UndoFailed);
    assert!(state.error.unwrap().contains("others have changed"));
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    assert_eq!(world.block("logs").await, Some(theirs));
}

/// What was asked for before others changed it does not become right by waiting, and the run that was to be
/// taken back does not go on instead.
#[tokio::test(start_paused = true)]
async fn a_way_back_from_half_way_that_waited_is_not_made_over_what_others_did_meanwhile() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let turned = world.hub().rollback(id, "alice", false, false).await;
    assert_eq!(turned.unwrap().status, Some(Status::Paused));
    let twice = world.hub().rollback(id, "alice", false, false).await;
    assert!(
        matches!(twice, Err(RequestError::UnderWay { .. })),
        "{twice:?}"
    );
    let theirs = others_change(&world).await;
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::UndoFailed);
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    is_overwritten_only_with_an_approval(&world, id, &theirs).await;
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
}

/// The same of an undo that nobody asked for.
#[tokio::test(start_paused = true)]
async fn an_automatic_undo_that_waited_is_not_made_over_what_others_did_meanwhile() {
    let world = World::new();
    world.bucket("logs").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at("s3.PutBucketPolicy"), denied);
    // It is planned on one reading; the second one finds that it has failed.
    let gate = Gate::closed();
    world.tap.inject(
        Aim::at("s3.GetBucketPolicy").after(1),
        Fault::HoldAnswer(gate.clone()),
    );
    let hub = world.hub();
    let event = world.in_two_steps("logs").security_hub_event().to_string();
    let taken = hub
        .take(&Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let runner = tokio::spawn(async move { hub.handle(id).await.unwrap() });
    gate.reached().await;
    pause_all(&world).await;
    gate.open();
    let state = runner.await.unwrap();
    assert_eq!(state.status, Status::Paused);
    assert!(state.undo.is_some(), "it is to be taken back");
    let theirs = others_change(&world).await;
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::UndoFailed);
    assert_eq!(world.block("logs").await, Some(theirs));
}

/// An upgrade finds what stood still and goes on with it, where it says the same of the resource.
#[tokio::test(start_paused = true)]
async fn what_was_paused_goes_on_after_its_file_was_edited() {
    let mut world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let (path, text) = stanch_testkit::TWO_STEPS;
    let edited = text.replacen("title: Change", "# Reworded.\ntitle: Set", 1);
    let (catalog, found) = Catalog::load([(path, edited)]);
    assert_eq!(found, []);
    world.catalog = Arc::new(catalog);
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Success);
}

async fn status(world: &World, id: RemediationId) -> Status {
    world.ledger.state(id).await.unwrap().0.status
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_a_change_and_stops_too() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    pause_all(&world).await;
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Paused));
    assert!(world.block("logs").await.is_some());
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Undone);
    assert_eq!(world.block("logs").await, None::<Value>);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_waited_is_not_made_over_what_others_did_meanwhile() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    pause_all(&world).await;
    world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    let theirs =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", theirs).await;
    resume_all(&world).await;
    assert_eq!(status(&world, id).await, Status::Success, "as before");
    assert!(
        world
            .story(id)
            .await
            .ends_with("paused resumed undo-voided")
    );
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_is_verified_even_while_paused() {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.finding("logs")).await;
    // The current step is finished, and looking changes nothing.
    assert_eq!(status(&world, id).await, Status::Success);
    let told = world.ledger.entries(id).await.unwrap();
    assert!(
        told.iter()
            .any(|entry| matches!(entry.event, Event::Verified(_)))
    );
}
