//! A hub that knows when it will be stopped.

use std::time::Duration;

use stanch_hub::{Source, Worked};
use stanch_ledger::{Lock, RemediationId, Status};
use stanch_testkit::{Aim, Fault, Gate, Misconfiguration};
use stanch_types::Clock as _;

use crate::world::World;

/// Works on `finding` in a hub that is stopped after `seconds`, and gives where that left it.
async fn work_for(
    world: &World,
    finding: &Misconfiguration,
    seconds: u64,
) -> (RemediationId, Option<Status>) {
    let hub = world.hub();
    let event = finding.security_hub_event().to_string();
    let taken = hub.take(&Source::automatic("test"), event.as_bytes()).await;
    let id = taken.unwrap().admitted[0];
    hub.let_go_at(world.clock.now() + Duration::from_secs(seconds));
    let mut worked = hub.drain().await;
    assert_eq!(worked.len(), 1);
    match worked.remove(0) {
        (other, Worked::Stands(state) | Worked::Stood(state)) => {
            assert_eq!(other, id);
            (id, Some(state.status))
        }
        (_, Worked::Left) => (id, None),
        (_, Worked::Failed(error)) => panic!("{error}"),
    }
}

/// Another hub, which has time.
async fn go_on(world: &World, id: RemediationId) -> Status {
    let hub = world.hub();
    assert_eq!(hub.recover().await.unwrap(), 1);
    let worked = hub.drain().await;
    assert!(matches!(&worked[..], [(one, Worked::Stands(_))] if *one == id));
    world.ledger.verify(id).await.unwrap();
    world.ledger.state(id).await.unwrap().0.status
}

#[tokio::test(start_paused = true)]
async fn with_time_enough_it_ends() {
    let world = World::new();
    world.bucket("logs").await;
    let (_, status) = work_for(&world, &world.finding("logs"), 300).await;
    assert_eq!(status, Some(Status::Success));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_that_may_not_end() {
    let world = World::new();
    world.bucket("logs").await;
    let seconds = world.settings.request.as_secs();
    let (id, status) = work_for(&world, &world.finding("logs"), seconds).await;
    assert_eq!(status, Some(Status::Ready));
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.story(id).await, "received planned decided");
    assert_eq!(go_on(&world, id).await, Status::Success);
    assert_eq!(world.tap.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_taken_up() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, status) = work_for(&world, &world.finding("logs"), 0).await;
    assert_eq!(status, None);
    assert_eq!(world.story(id).await, "received");
    assert_eq!(go_on(&world, id).await, Status::Success);
}

#[tokio::test(start_paused = true)]
async fn between_two_requests_it_hands_over() {
    let world = World::new();
    world.bucket("logs").await;
    let gate = Gate::closed();
    world
        .tap
        .inject(Aim::at_write(), Fault::HoldAnswer(gate.clone()));
    let slow = async {
        gate.reached().await;
        // Enough to answer, and too little to send another.
        world.clock.sleep(Duration::from_secs(10)).await;
        gate.open();
    };
    let seconds = world.settings.request.as_secs() + 5;
    let finding = world.in_two_steps("logs");
    let ((id, status), ()) = tokio::join!(work_for(&world, &finding, seconds), slow);
    assert_eq!(status, Some(Status::Running));
    assert_eq!(world.tap.writes().len(), 1);
    let story = world.story(id).await;
    assert!(
        story.ends_with("started step-started step-finished"),
        "{story}"
    );

    assert_eq!(go_on(&world, id).await, Status::Success);
    let writes = world.tap.writes();
    assert_eq!(writes.len(), 2, "each was sent once: {writes:?}");
    assert_ne!(writes[0], writes[1]);
}

#[tokio::test(start_paused = true)]
async fn what_never_answers_is_let_go_of_and_the_resource_with_it() {
    let world = World::new();
    world.bucket("logs").await;
    // The look after the change.
    let look = Aim::at("s3.GetPublicAccessBlock").after(1);
    world.tap.inject(look, Fault::HoldRequest(Gate::closed()));
    let seconds = world.settings.request.as_secs() + 5;
    let (id, status) = work_for(&world, &world.finding("logs"), seconds).await;
    assert_eq!(status, Some(Status::Running));
    let story = world.story(id).await;
    assert!(story.ends_with("step-finished"), "{story}");
    // The lock is free at once: no lease has to run out.
    assert_eq!(go_on(&world, id).await, Status::Success);
    assert_eq!(world.tap.writes().len(), 1);
}

/// The longer somebody else has the resource, the longer are the pauses; but none lasts beyond the end.
#[tokio::test(start_paused = true)]
async fn a_resource_that_others_hold_is_waited_for_no_longer_than_there_is_time() {
    let world = World::new();
    world.bucket("logs").await;
    let begin = world.clock.now();
    let finding = world.finding("logs");
    let key = format!("{}/{}", finding.account, finding.resource_id);
    let ttl = Duration::from_hours(1);
    let other = "00000000-0000-0000-0000-000000000000".parse().unwrap();
    let lock = world.ledger.lock(&key, "another", other, ttl, begin);
    assert!(matches!(lock.await.unwrap(), Lock::Taken(_)));
    let (id, status) = work_for(&world, &finding, 100).await;
    assert_eq!(status, None, "the time was over before it could begin");
    let took = world.clock.now().duration_since(begin);
    assert_eq!(took.as_secs(), 100);
    assert_eq!(world.story(id).await, "received planned decided");
}
