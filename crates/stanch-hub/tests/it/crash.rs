//! The process dies at every moment; another one finds the ledger.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use stanch_ledger::{Ledger, MemoryLedger, RemediationId, Status};
use stanch_testkit::{Aim, Fault};
use stanch_types::CallErrorKind;

use crate::{ledgers::Dying, world::World};

/// What became of a process, and of what it left.
struct Ended {
    id: RemediationId,
    died: bool,
    /// The names of the events that were stored by then.
    story: String,
    /// How long the hub took that went on.
    took: Duration,
}

/// Fixes (and, if asked, rolls back) with a ledger that dies at the given write; then a new hub on the
/// same ledger goes on until all is final.
async fn die_and_recover(at: usize, unheard: bool, roll_back: bool) -> (World, Ended) {
    let mut world = World::new();
    world.bucket("logs").await;
    let ended = die_in(&mut world, at, unheard, roll_back).await;
    (world, ended)
}

/// The same in a world.
async fn die_in(world: &mut World, at: usize, unheard: bool, roll_back: bool) -> Ended {
    let kept: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let dying = Arc::new(Dying::after(Arc::clone(&kept), at, unheard));
    world.ledger = Arc::clone(&dying) as Arc<dyn Ledger>;
    let hub = world.hub();
    let event = world.finding("logs").security_hub_event().to_string();
    let taken = hub
        .take(&stanch_hub::Source::automatic("test"), event.as_bytes())
        .await
        .unwrap();
    let id = taken.admitted[0];
    let mut died = hub.handle(id).await.is_err();
    if !died && roll_back {
        died = hub.rollback(id, "alice", false, false).await.is_err();
    }
    drop(hub);

    world.ledger = kept;
    let story = world.story(id).await;
    let hub = world.hub();
    // The dead hub's lease has to run out first.
    tokio::time::advance(world.settings.lease * 2).await;
    let begin = tokio::time::Instant::now();
    hub.recover().await.unwrap();
    hub.finish();
    hub.run().await;
    Ended {
        id,
        died,
        story,
        took: begin.elapsed(),
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_the_change_is_made_once_and_verified() {
    for unheard in [false, true] {
        let mut deaths = 0;
        for at in 0..20 {
            let (world, Ended { id, died, .. }) = die_and_recover(at, unheard, false).await;
            deaths += usize::from(died);
            let state = world.ledger.state(id).await.unwrap().0;
            let story = world.story(id).await;
            assert_eq!(
                state.status,
                Status::Success,
                "killed at write {at}: {story}: {:?}",
                state.error
            );
            assert_eq!(world.tap.writes().len(), 1, "killed at write {at}: {story}");
            assert_eq!(
                world
                    .block("logs")
                    .await
                    .map(|block| block["BlockPublicAcls"].clone()),
                Some(json!(true))
            );
            world.ledger.verify(id).await.unwrap();
        }
        assert!(deaths >= 4, "the test kills: {deaths}");
    }
}

#[tokio::test(start_paused = true)]
async fn killed_during_a_rollback_it_is_finished_once() {
    for unheard in [false, true] {
        // Where the rollback stood at each death.
        let mut stood = BTreeSet::new();
        let mut deaths = 0;
        for at in 0.. {
            let (world, dead) = die_and_recover(at, unheard, true).await;
            let state = world.ledger.state(dead.id).await.unwrap().0;
            let story = world.story(dead.id).await;
            let why = format!("killed at write {at}: {story}: {:?}", state.error);
            let writes = world.tap.writes();
            let sent: Vec<&str> = writes.iter().map(|call| call.operation.as_str()).collect();
            let times = |name| story.split(' ').filter(|event| *event == name).count();
            let block = world.block("logs").await;
            match dead.story.split_once("undo-planned") {
                // Nobody has heard of it: whoever asked for it asks again.
                None => {
                    assert_eq!(state.status, Status::Success, "{why}");
                    assert!(block.is_some(), "{why}");
                    assert_eq!(sent, ["PutPublicAccessBlock"], "{why}");
                }
                Some((_, since)) => {
                    assert_eq!(state.status, Status::Undone, "{why}");
                    assert_eq!(block, None::<Value>, "{why}");
                    let both = ["PutPublicAccessBlock", "DeletePublicAccessBlock"];
                    assert_eq!(sent, both, "{why}");
                    assert_eq!((times("undo-planned"), times("undone")), (1, 1), "{why}");
                    if dead.died {
                        let last = since.split(' ').next_back().unwrap_or_default();
                        stood.insert(last.to_owned());
                    }
                }
            }
            world.ledger.verify(dead.id).await.unwrap();
            if !dead.died {
                assert_eq!(state.status, Status::Undone, "{why}");
                break;
            }
            deaths += 1;
        }
        // It died at every write until it lived: also right behind the plan of the rollback, with nothing
        // behind that yet, and behind each event that follows.
        let each = [
            "",
            "step-finished",
            "step-started",
            "undo-started",
            "undone",
        ];
        assert_eq!(stood, BTreeSet::from(each.map(str::to_owned)));
        assert!(deaths > each.len(), "{deaths}");
    }
}

/// A request without an answer may have its effect late: whoever goes on waits for that, also where the
/// journal says already that no answer came.
#[tokio::test(start_paused = true)]
async fn what_was_not_answered_is_waited_for_after_a_death() {
    for unheard in [false, true] {
        let mut again = 0;
        for at in 0..12 {
            let mut world = World::new();
            world.bucket("logs").await;
            let unanswered = Fault::Refuse {
                kind: CallErrorKind::Unanswered,
                code: "",
            };
            world.tap.inject(Aim::at_write(), unanswered);
            let Ended { id, died, took, .. } = die_in(&mut world, at, unheard, false).await;
            if died && world.tap.writes().len() == 2 {
                again += 1;
                let story = world.story(id).await;
                assert!(
                    took >= world.settings.settle,
                    "killed at write {at}: {story}"
                );
            }
        }
        assert!(again > 0, "something is sent again");
    }
}
