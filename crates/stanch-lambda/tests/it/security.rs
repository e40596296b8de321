//! The guard alone.

use serde_json::{Value, json};
use stanch_lambda::Handler;

use crate::world::World;

async fn ask(world: &World, event: Value) -> Value {
    let security = world.function(Handler::Security);
    security.handle(world.invocation(event)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_decides_and_touches_nothing() {
    let world = World::new();
    let event = world.finding("logs").security_hub_event();
    let answer = ask(&world, event.clone()).await;
    let decision = &answer["decisions"][0];
    assert_eq!(decision["remediation"], "S3BlockPublicAccess");
    // Nobody has looked at what the change may touch.
    assert_eq!(decision["verdict"], "needs-approval", "{decision}");
    assert!(answer["rules"].as_str().unwrap().len() >= 16);
    let person = json!({"requester": "alice", "event": event});
    let asked = ask(&world, person).await;
    assert_eq!(asked["rules"], answer["rules"]);
    assert!(world.tap.opened().is_empty());
    assert!(world.all().await.is_empty());
    assert!(world.told().is_empty());
    assert!(world.calls("secretsmanager.GetSecretValue").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_refused() {
    let world = World::new();
    let mut finding = world.finding("logs");
    finding.account = "999999999999".parse().unwrap();
    let answer = ask(&world, finding.security_hub_event()).await;
    assert_eq!(answer["decisions"][0]["verdict"], "refuse");
    let security = world.function(Handler::Security);
    let empty = security
        .handle(world.invocation(json!({})))
        .await
        .unwrap_err();
    assert_eq!(empty.kind, "BadEvent");
}
