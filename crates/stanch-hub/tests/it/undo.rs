//! Taking back: over nobody's newer change, many at once, and forward again.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_hub::{History, Message, NotTold, Notifier, RequestError, Selection};
use stanch_ledger::{Record, Status, Verdict};
use stanch_testkit::{Aim, Fault};
use stanch_types::CallErrorKind;

use crate::world::{World, account};

/// field-notes: "Undo restored a stale snapshot over newer changes."
#[tokio::test(start_paused = true)]
async fn a_newer_change_is_overwritten_only_with_an_approval() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": false});
    let put = |block: &Value| json!({"Bucket": "logs", "PublicAccessBlockConfiguration": block});
    world
        .admin("s3", "PutPublicAccessBlock", put(&theirs))
        .await;
    for (dry_run, force) in [(true, false), (false, false)] {
        let refused = world.hub().rollback(id, "alice", dry_run, force).await;
        let Err(RequestError::Drift(drift)) = refused else {
            panic!("it went over somebody else's change")
        };
        assert_eq!(drift.before["block"], Value::Null);
        assert_eq!(drift.after["block"]["RestrictPublicBuckets"], true);
        assert_eq!(drift.now["block"], theirs);
    }
    let asked = world
        .hub()
        .rollback(id, "alice", false, true)
        .await
        .unwrap();
    assert_eq!(asked.status, Some(Status::AwaitingApproval));
    assert_eq!(asked.verdict, Verdict::NeedsApproval);
    assert_eq!(world.block("logs").await, Some(theirs));

    let own = world.hub().approve(id, "alice").await;
    assert!(matches!(own, Err(RequestError::OwnRequest(_))), "{own:?}");

    // They change it again: what was approved is not what would be overwritten.
    let newer = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
    world.admin("s3", "PutPublicAccessBlock", put(&newer)).await;
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Success, "it stays what it was");
    assert_eq!(world.block("logs").await, Some(newer));
    assert!(world.story(id).await.ends_with("approved undo-voided"));

    world
        .hub()
        .rollback(id, "alice", false, true)
        .await
        .unwrap();
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(world.block("logs").await, None);
    world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rejected_or_forgotten_undo_changes_nothing() {
    for reject in [true, false] {
        let world = World::new();
        world.bucket("logs").await;
        let (id, _) = world.fix("logs").await;
        let theirs =
            json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
        world.admin("s3", "PutPublicAccessBlock", theirs).await;
        world
            .hub()
            .rollback(id, "alice", false, true)
            .await
            .unwrap();
        if reject {
            world.hub().reject(id, "bob", "leave it").await.unwrap();
        } else {
            tokio::time::advance(std::time::Duration::from_hours(25)).await;
            world.hub().handle(id).await.unwrap();
        }
        let (state, _) = world.ledger.state(id).await.unwrap();
        assert_eq!(state.status, Status::Success);
        assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_undone() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, fixed) = world.fix("logs").await;
    let block = world.block("logs").await;
    world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();

    let shown = world.hub().rollback(id, "bob", true, false).await.unwrap();
    assert_eq!(shown.plan.hash(), fixed.plan.unwrap().plan_hash);
    assert_eq!(world.block("logs").await, None, "a dry run changes nothing");
    let done = world.hub().rollback(id, "bob", false, false).await.unwrap();
    assert_eq!(done.status, Some(Status::Success), "{:?}", done.error);
    assert_eq!(world.block("logs").await, block);
    let (state, _) = world.ledger.state(id).await.unwrap();
    assert_eq!(state.requester(), "bob");
    assert!(state.verified.unwrap().compliant, "seen to be fixed");

    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Undone));
    assert_eq!(world.block("logs").await, None);
    assert_eq!(world.tap.writes().len(), 4);
    world.ledger.verify(id).await.unwrap();

    // What somebody changed after the undo is theirs, too.
    let theirs =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", theirs).await;
    let drifted = world.hub().rollback(id, "bob", false, false).await;
    assert!(
        matches!(drifted, Err(RequestError::Drift(_))),
        "{drifted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn many_are_taken_back_the_newest_first() {
    let world = World::new();
    let mut fixed = Vec::new();
    for bucket in ["one", "two", "three"] {
        world.bucket(bucket).await;
        fixed.push(world.fix(bucket).await.0);
        tokio::time::advance(std::time::Duration::from_mins(10)).await;
    }
    let hub = world.hub();
    let ids = async |selection: Selection| {
        let found = hub.undoable(&selection).await.unwrap();
        found
            .iter()
            .map(|record: &Record| record.remediation_id)
            .collect::<Vec<_>>()
    };
    let newest_first = [fixed[2], fixed[1], fixed[0]];
    assert_eq!(ids(Selection::default()).await, newest_first);
    let mine = Selection {
        account: Some(account()),
        control: Some("s3.8".to_owned()),
        since: None,
    };
    assert_eq!(ids(mine).await, newest_first);
    let other = Selection {
        account: Some("333333333333".parse().unwrap()),
        ..Selection::default()
    };
    assert!(ids(other).await.is_empty());
    let now = stanch_types::Clock::now(&*world.clock);
    let late = Selection {
        since: Some(now - std::time::Duration::from_mins(15)),
        ..Selection::default()
    };
    assert_eq!(ids(late).await, [fixed[2]]);
    for id in newest_first {
        let done = hub.rollback(id, "alice", false, false).await.unwrap();
        assert_eq!(done.status, Some(Status::Undone));
    }
    assert!(ids(Selection::default()).await.is_empty());
}

/// Hears what people are told.
#[derive(Default)]
pub struct Ear(pub Mutex<Vec<Message>>);

#[async_trait]
impl Notifier for Ear {
    fn channel(&self) -> &str {
        "ear"
    }
    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_pages_people_and_can_be_tried_again() {
    let mut world = World::new();
    let ear = Arc::new(Ear::default());
    world.notifiers.push(ear.clone());
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at_write(), denied);
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::UndoFailed));
    let told: Vec<(String, bool)> = ear
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|m| (m.status.clone(), m.urgent))
        .collect();
    assert_eq!(
        told,
        [
            ("Success".to_owned(), false),
            ("UndoFailed".to_owned(), true)
        ]
    );
    // Nobody else has touched it: no approval is needed to try again.
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Undone), "{:?}", done.error);
}

#[tokio::test(start_paused = true)]
async fn what_others_changed_while_a_run_was_down_is_not_taken_back() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    // Stopped before anything was sent; then somebody else changes the bucket.
    hub.pause(stanch_ledger::Reach::All, "alice", "why")
        .await
        .unwrap();
    let (id, _) = world.fix("logs").await;
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": theirs});
    world.admin("s3", "PutPublicAccessBlock", put).await;
    hub.resume(stanch_ledger::Reach::All, "alice", "over")
        .await
        .unwrap();
    let state = world.hub().handle(id).await.unwrap();
    assert_eq!(state.status, Status::NothingToDo, "{:?}", state.error);
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.block("logs").await, Some(theirs));
}
