//! Ring by ring: what a ring lets happen, and back when too much fails.

use std::sync::Arc;

use stanch_hub::{DirectiveError, Mode, Move, Ring, Rollout};
use stanch_ledger::{Reach, Status};
use stanch_testkit::{Aim, Fault};
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
