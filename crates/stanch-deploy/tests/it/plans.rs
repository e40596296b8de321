//! What will be there, and what it costs.

use stanch_deploy::{Scale, plan};

use crate::FILES;

#[test]
fn idle_costs_little_and_use_is_counted() {
    let one = plan(
        &FILES,
        Scale {
            accounts: 1,
            regions: 1,
            remediations: 0,
        },
    )
    .unwrap();
    // Three keys, two secrets, three dashboards, and the metrics of the alarms.
    let of = |item: &str| {
        one.costs
            .iter()
            .find(|cost| cost.item == item)
            .unwrap()
            .quantity
    };
    assert_eq!(
        (
            of("AWS::KMS::Key"),
            of("AWS::SecretsManager::Secret"),
            of("AWS::CloudWatch::Dashboard")
        ),
        (3.0, 2.0, 3.0)
    );
    assert!(one.idle > 13.0 && one.idle < 16.0, "{}", one.idle);
    assert!((one.monthly - one.idle).abs() < 1e-9);
    let many = plan(
        &FILES,
        Scale {
            accounts: 10,
            regions: 2,
            remediations: 10_000,
        },
    )
    .unwrap();
    let keys = many
        .costs
        .iter()
        .find(|cost| cost.item == "AWS::KMS::Key")
        .unwrap();
    assert_eq!(
        keys.quantity, 22.0,
        "two for the administrator, one in each region of each account"
    );
    let roles = many
        .resources
        .iter()
        .find(|line| line.template == "member-stack.yaml" && line.kind == "AWS::IAM::Role")
        .unwrap();
    assert_eq!(
        (roles.count, roles.optional),
        (30, 1),
        "roles are global: once an account"
    );
    // The target for one remediation.
    let each = (many.monthly - many.idle) / 10_000.0;
    assert!(each < 0.0001, "{each}");
    assert!(
        many.costs.iter().all(
            |cost| cost.source.starts_with("https://aws.amazon.com/") && cost.as_of.len() == 10
        )
    );
}

#[test]
fn what_is_optional_is_not_counted() {
    let plan = plan(
        &FILES,
        Scale {
            accounts: 1,
            regions: 1,
            remediations: 0,
        },
    )
    .unwrap();
    let options: Vec<_> = plan
        .resources
        .iter()
        .filter(|line| line.template == "administrator-options.yaml")
        .collect();
    assert!(
        options
            .iter()
            .all(|line| line.count == 0 && line.optional > 0),
        "{options:?}"
    );
}
