//! Ring by ring: what a ring lets happen, and back when too much fails.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use stanch_hub::{DirectiveError, Mode, Move, Ring, Rollout, Source};
use stanch_ledger::{
    Directive, Directives, Event, Given, LedgerError, Reach, Received, RemediationId, Status,
    testing::{key, received},
};
use stanch_testkit::{Aim, Fault, Gate};
use stanch_types::CallErrorKind;

use crate::{
    undo::Ear,
    world::{World, account},
};

fn world() -> World {
    let mut world = World::new();
    let ring = |name: &str, mode| Ring {
        name: name.to_owned(),
        mode,
    };
    world.settings.rollout = Rollout {
        rings: vec![
            ring("watch", Mode::Observe),
            ring("ask", Mode::Manual),
            ring("all", Mode::Automatic),
        ],
        minimum: 3,
        failure_rate: 0.5,
        ..Rollout::default()
    };
    world
}

fn me() -> Reach {
    Reach::Account(account())
}

async fn advance(world: &World) -> String {
    let hub = world.hub();
    hub.roll(me(), Move::Advance, "alice", "it went well")
        .await
        .unwrap()
        .ring
}

#[tokio::test(start_paused = true)]
async fn an_account_goes_from_plans_to_approvals_to_automatic() {
    let world = world();
    for bucket in ["one", "two", "three"] {
        world.bucket(bucket).await;
    }
    let (id, state) = world.fix("one").await;
    assert_eq!(state.status, Status::Skipped);
    assert!(state.error.unwrap().contains("ring `watch`"));
    assert_eq!(world.story(id).await, "received planned finished");

    assert_eq!(advance(&world).await, "ask");
    let (id, state) = world.fix("two").await;
    assert_eq!(state.status, Status::AwaitingApproval);
    assert!(world.tap.writes().is_empty());
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Success);

    assert_eq!(advance(&world).await, "all");
    assert_eq!(world.fix("three").await.1.status, Status::Success);
    let end = world.hub().roll(me(), Move::Advance, "alice", "on").await;
    assert!(
        matches!(end, Err(DirectiveError::AtTheEnd { end: "last", .. })),
        "{end:?}"
    );
}

/// Whoever clicks on an older link does not know that the account has gone back.
#[tokio::test(start_paused = true)]
async fn what_was_asked_for_is_not_done_where_only_plans_are_made_by_now() {
    let world = world();
    world.bucket("logs").await;
    advance(&world).await;
    let (id, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::AwaitingApproval);
    let hub = world.hub();
    let back = hub.roll(me(), Move::Back, "alice", "it went badly").await;
    assert_eq!(back.unwrap().ring, "watch");
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Refused);
    assert!(state.error.unwrap().contains("ring `watch`"));
    assert!(world.tap.writes().is_empty());
}

/// What the ring alone makes people decide is shown with what it may touch, too.
#[tokio::test(start_paused = true)]
async fn people_see_what_a_change_may_touch_whoever_made_them_decide() {
    let world = world();
    world.bucket("logs").await;
    advance(&world).await;
    let (_, state) = world.fix("logs").await;
    let plan = state.plan.unwrap().plan.clone();
    assert!(plan.get("impact").is_some(), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn the_lowest_ceiling_counts() {
    let mut world = world();
    let ou = Some("root/prod".to_owned());
    world.settings.accounts.get_mut(&account()).unwrap().ou = ou;
    world.bucket("logs").await;
    advance(&world).await;
    advance(&world).await;
    let back = async |reach: Reach| {
        let hub = world.hub();
        hub.roll(reach, Move::Back, "alice", "careful")
            .await
            .unwrap()
    };
    // Not this account's.
    back(Reach::Unit("root/test".to_owned())).await;
    let placed = back(Reach::Control("S3.8".to_owned())).await;
    assert_eq!((placed.ring.as_str(), placed.mode), ("ask", Mode::Manual));
    assert_eq!(world.fix("logs").await.1.status, Status::AwaitingApproval);
    back(Reach::Unit("root".to_owned())).await;
    back(Reach::Unit("root".to_owned())).await;
    let mut later = world.finding("logs");
    later.at += std::time::Duration::from_hours(1);
    let states = world.deliver(&world.hub(), &later).await;
    assert_eq!(states[0].1.status, Status::Skipped);
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_is_no_more_lets_nothing_happen() {
    let mut world = world();
    advance(&world).await;
    world.bucket("logs").await;
    world
        .settings
        .rollout
        .rings
        .retain(|ring| ring.name != "ask");
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Skipped);
    assert!(state.error.unwrap().contains("not configured"));
    assert_eq!(advance(&world).await, "watch", "it begins again");
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_send_an_account_back_and_people_are_told() {
    let mut world = world();
    let ear = Arc::new(Ear::default());
    world.notifiers.push(ear.clone());
    advance(&world).await;
    advance(&world).await;
    for bucket in ["one", "two", "three", "four"] {
        world.bucket(bucket).await;
    }
    world.fix("one").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at_write().times(2), denied);
    world.fix("two").await;
    let ring = async || world.hub().rollout().await.unwrap().remove(0).ring;
    assert_eq!(ring().await, "all", "two changes say nothing yet");
    world.fix("three").await;
    assert_eq!(ring().await, "ask");
    let told = ear.0.lock().unwrap().last().unwrap().clone();
    assert_eq!((told.status.as_str(), told.urgent), ("RolloutBack", true));
    assert!(told.error.unwrap().contains("2 of 3 changes failed"));
    assert_eq!(world.fix("four").await.1.status, Status::AwaitingApproval);
    let moved = world
        .hub()
        .rollout()
        .await
        .unwrap()
        .remove(0)
        .moved
        .unwrap();
    assert_eq!(moved.by, "stanch");
}

/// Takes findings about these buckets in, and does no more.
async fn admitted(world: &World, buckets: &[&str]) -> Vec<RemediationId> {
    let hub = world.hub();
    let mut admitted = Vec::new();
    for bucket in buckets {
        world.bucket(bucket).await;
        let event = world.finding(bucket).security_hub_event().to_string();
        let source = Source::automatic("test");
        let taken = hub.take(&source, event.as_bytes()).await.unwrap();
        admitted.extend(taken.admitted);
    }
    admitted
}

fn denied() -> Fault {
    Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    }
}

/// Findings come for days, and then the change window opens; meanwhile others come of which nothing is changed.
#[tokio::test(start_paused = true)]
async fn failures_count_when_they_happen_not_when_their_findings_came() {
    let world = world();
    advance(&world).await;
    advance(&world).await;
    let waiting = admitted(&world, &["one", "two", "three"]).await;
    tokio::time::advance(Duration::from_hours(3 * 24)).await;
    for n in 0..1_001 {
        let mine = Received {
            account: account(),
            ..Received::clone(&received(n))
        };
        let now = stanch_types::Clock::now(&*world.clock);
        world.ledger.admit(key(n), mine.into(), now).await.unwrap();
        let skipped = Event::Finished {
            status: Status::Skipped,
            error: None,
            duration_ms: 0,
        };
        let id = key(n).remediation_id();
        world
            .ledger
            .append(id, 1, vec![skipped], now)
            .await
            .unwrap();
    }
    world.tap.inject(Aim::at_write().times(3), denied());
    for id in waiting {
        assert_eq!(world.hub().handle(id).await.unwrap().status, Status::Failed);
    }
    assert_eq!(world.hub().rollout().await.unwrap().remove(0).ring, "ask");
}

/// Orders that take their time, so that many give one at the same moment.
struct Slow(Arc<dyn Directives>);

#[async_trait]
impl Directives for Slow {
    async fn directives(&self) -> Result<Vec<Given>, LedgerError> {
        let given = self.0.directives().await;
        tokio::task::yield_now().await;
        given
    }
    async fn give(&self, given: Given) -> Result<bool, LedgerError> {
        self.0.give(given).await
    }
}

/// Many changes that fail at one moment say once that something is wrong, not once each.
#[tokio::test(start_paused = true)]
async fn a_burst_of_failures_sends_an_account_one_ring_back() {
    let mut world = world();
    world.directives = Arc::new(Slow(Arc::clone(&world.directives)));
    advance(&world).await;
    advance(&world).await;
    let buckets = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| format!("bucket-{name}"));
    let names: Vec<&str> = buckets.iter().map(String::as_str).collect();
    let ids = admitted(&world, &names).await;
    // All have begun, and none can be looked at when it was carried out.
    let gate = Gate::closed();
    let held = Fault::HoldAnswer(Arc::clone(&gate));
    world.tap.inject(Aim::at_write().times(ids.len()), held);
    let running: Vec<_> = ids
        .iter()
        .map(|id| {
            let (hub, id) = (world.hub(), *id);
            tokio::spawn(async move { hub.handle(id).await.unwrap().status })
        })
        .collect();
    for _ in &ids {
        gate.reached().await;
    }
    let read = Aim::at("s3.GetPublicAccessBlock").times(usize::MAX);
    world.tap.inject(read, denied());
    gate.open();
    for ended in join_all(running).await {
        assert!(matches!(
            ended.unwrap(),
            Status::Failed | Status::UndoFailed
        ));
    }
    assert_eq!(world.hub().rollout().await.unwrap().remove(0).ring, "ask");
    let given = world.directives.directives().await.unwrap();
    let moves = given.iter().filter(|given| given.by == "stanch");
    let moves: Vec<&Directive> = moves.map(|given| &given.directive).collect();
    assert_eq!(moves.len(), 1, "{moves:?}");
}
