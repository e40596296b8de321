//! Rules that go by where an account stands, which nobody but Organizations says.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_lambda::Handler;
use stanch_ledger::Status;
use stanch_testkit::FakeApi;

use crate::world::{CONFIG, World, batch, configured};

/// An organization in which the member is in `root/prod`, with these tags.
fn organization(own: FakeApi, tags: Value) -> FakeApi {
    let path = "o-a1b2c3d4e5/r-root/ou-root-prod1111/222222222222/";
    let member = json!({"Id": "222222222222", "State": "ACTIVE", "Paths": [path]});
    let unit = json!({"Id": "ou-root-prod1111", "Name": "prod"});
    own.returns("organizations.ListAccounts", json!({"Accounts": [member]}))
        .returns(
            "organizations.DescribeOrganizationalUnit",
            json!({ "OrganizationalUnit": unit }),
        )
        .returns("organizations.ListTagsForResource", json!({ "Tags": tags }))
}

fn member_of(own: FakeApi) -> World {
    let mut world = World::with(own);
    let members = "organizations".to_owned();
    world.variables.insert("MEMBER_ACCOUNTS", members);
    world
}

async fn ends(world: &World) -> Status {
    let message = world.planted("logs").await;
    assert_eq!(world.deliver(&[message]).await.unwrap(), [""; 0]);
    world.all().await[0].1.status
}

fn exempt(unit: &str) -> FakeApi {
    let toml = format!("{CONFIG}[guard]\nexemptions = \"exemptions.toml\"\n");
    let exemption = format!(
        "[[exemption]]\nowner = \"payments\"\nreason = \"they fix it themselves\"\nexpires = \"2027-01-31\"\nous = [\"{unit}\"]\n"
    );
    configured(&toml, &[("exemptions.toml", &exemption)])
}

#[tokio::test(start_paused = true)]
async fn an_exemption_of_a_unit_covers_the_accounts_in_it() {
    let world = member_of(organization(exempt("root/prod"), json!([])));
    assert_eq!(ends(&world).await, Status::Refused);
    assert!(!world.is_blocked("logs").await && world.tap.writes().is_empty());
    let world = member_of(organization(exempt("root/sandbox"), json!([])));
    assert_eq!(ends(&world).await, Status::Success);
    // What no rule goes by is not asked for.
    assert!(world.calls("organizations.ListTagsForResource").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listed_account_stands_somewhere_too() {
    let mut world = World::with(organization(exempt("root/prod"), json!([])));
    let organization = "o-a1b2c3d4e5".to_owned();
    world.variables.insert("ORGANIZATION_ID", organization);
    assert_eq!(ends(&world).await, Status::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_policy_goes_by_an_accounts_tags() {
    let rules = || {
        let policies = r#"
@id("all") permit (principal, action, resource);
@id("frozen") forbid (principal, action, resource) when { resource.account.hasTag("frozen") };
"#;
        let toml = "[guard]\npolicies = \"policies.cedar\"\n";
        configured(toml, &[("policies.cedar", policies)])
    };
    let world = member_of(organization(rules(), json!([])));
    assert_eq!(ends(&world).await, Status::Success);
    let frozen = json!([{"Key": "frozen", "Value": "until new year"}]);
    let world = member_of(organization(rules(), frozen));
    assert_eq!(ends(&world).await, Status::Refused);
    assert!(!world.is_blocked("logs").await);
}

#[tokio::test(start_paused = true)]
async fn accounts_are_listed_again_and_units_are_known_for_longer() {
    let world = member_of(organization(exempt("root/sandbox"), json!([])));
    let orchestrator = world.function(Handler::Orchestrator);
    for lists in [1, 1, 2] {
        let nothing = world.invocation(batch(&[], 1));
        orchestrator.handle(nothing).await.unwrap();
        let listed = world.calls("organizations.ListAccounts");
        assert_eq!(listed.len(), lists);
        tokio::time::advance(Duration::from_mins(3)).await;
    }
    let described = world.calls("organizations.DescribeOrganizationalUnit");
    assert_eq!(described.len(), 1);
}
