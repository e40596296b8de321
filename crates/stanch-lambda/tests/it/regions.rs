//! Two administrator regions with one ledger.

use stanch_ledger::{Directive, Given, Status};
use stanch_types::Clock as _;

use crate::world::World;

fn in_region(world: &mut World, region: &str, role: &str) {
    world.variables.insert("AWS_REGION", region.to_owned());
    world.variables.insert("REGION_ROLE", role.to_owned());
}

async fn act(world: &World, region: &str) {
    let orders = world.directives.directives().await.unwrap();
    let order = Directive::Act {
        region: region.parse().unwrap(),
    };
    let given = Given::after(orders.last(), order, "alice", "a drill", world.clock.now());
    assert!(world.directives.give(given).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_of_them_takes_something_in() {
    let mut world = World::new();
    let (first, second) = ("us-east-1", "eu-west-1");
    let message = world.planted("logs").await;
    let refused =
        |failure: stanch_lambda::Failure| assert_eq!(failure.kind, "Passive", "{failure}");

    in_region(&mut world, second, "standby");
    refused(
        world
            .deliver(std::slice::from_ref(&message))
            .await
            .unwrap_err(),
    );
    assert!(world.all().await.is_empty() && world.tap.writes().is_empty());

    in_region(&mut world, first, "first");
    assert_eq!(
        world.deliver(std::slice::from_ref(&message)).await.unwrap(),
        [""; 0]
    );
    assert!(world.is_blocked("logs").await);

    act(&world, second).await;
    let other = world.planted("other").await;
    refused(
        world
            .deliver(std::slice::from_ref(&other))
            .await
            .unwrap_err(),
    );
    in_region(&mut world, second, "standby");
    // What the first one has dealt with is known here.
    assert_eq!(world.deliver(&[message, other]).await.unwrap(), [""; 0]);
    assert!(world.is_blocked("other").await);
    assert_eq!(world.tap.writes().len(), 2);
    assert_eq!(world.all().await.len(), 2);

    act(&world, first).await;
    let last = world.planted("last").await;
    refused(world.deliver(&[last]).await.unwrap_err());
}

/// A stack that was not told of the other one is stopped before its first request.
#[tokio::test(start_paused = true)]
async fn who_is_not_told_of_another_region_is_stopped_by_the_switch() {
    let mut world = World::new();
    in_region(&mut world, "us-east-1", "");
    act(&world, "eu-west-1").await;
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    let state = world.all().await[0].1.clone();
    assert_eq!(state.status, Status::Paused);
    assert!(!world.is_blocked("logs").await && world.tap.writes().is_empty());
}
