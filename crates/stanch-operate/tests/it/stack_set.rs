use serde_json::{Value, json};
use stanch_operate::stack_set::{StackSet, StackSetError, Target};
use stanch_testkit::{FakeApi, FakeClock};
use stanch_types::Api;

use crate::world::{Modelled, account, now, region};

fn set() -> StackSet {
    StackSet {
        name: "stanch-member".to_owned(),
        template_url: "https://example.com/member-stack.yaml".to_owned(),
        parameters: [("HomeRegion".to_owned(), "us-east-1".to_owned())].into(),
        self_managed: false,
        delegated: false,
    }
}

fn target() -> Target {
    Target {
        units: vec!["ou-abcd-12345678".to_owned()],
        accounts: vec![account("222222222222")],
        regions: vec![region(), "eu-central-1".parse().unwrap()],
        tolerated: 1,
        at_once: 2,
    }
}

#[test]
fn stacks_go_region_by_region_and_the_home_region_first() {
    let call = set().instances(&target());
    assert_eq!(
        call.params,
        json!({
            "Regions": ["us-east-1", "eu-central-1"],
            "OperationPreferences": {
                "RegionConcurrencyType": "SEQUENTIAL",
                "RegionOrder": ["us-east-1", "eu-central-1"],
                "FailureToleranceCount": 1,
                "MaxConcurrentCount": 2,
            },
            "DeploymentTargets": {"OrganizationalUnitIds": ["ou-abcd-12345678"], "Accounts": ["222222222222"], "AccountFilterType": "INTERSECTION"},
            "StackSetName": "stanch-member",
        })
    );
    let whole = set().instances(&Target {
        accounts: Vec::new(),
        ..target()
    });
    assert_eq!(
        whole.params["DeploymentTargets"],
        json!({"OrganizationalUnitIds": ["ou-abcd-12345678"]})
    );
    let own = StackSet {
        self_managed: true,
        ..set()
    };
    assert_eq!(
        own.instances(&target()).params["Accounts"],
        json!(["222222222222"])
    );
    assert_eq!(own.create().params["PermissionModel"], "SELF_MANAGED");
    assert!(own.create().params["AutoDeployment"].is_null());
    assert_eq!(
        set().create().params["AutoDeployment"]["RetainStacksOnAccountRemoval"],
        true
    );
    let delegated = StackSet {
        delegated: true,
        ..set()
    };
    for call in [
        delegated.create(),
        delegated.update(&target()),
        delegated.instances(&target()),
    ] {
        assert_eq!(call.params["CallAs"], "DELEGATED_ADMIN");
    }
}

fn script(ends: &'static str) -> FakeApi {
    let mut asked = 0;
    FakeApi::new()
        .returns("cloudformation.CreateStackInstances", json!({"OperationId": "op"}))
        .on("cloudformation.DescribeStackSetOperation", move |call| {
            assert_eq!(call.params["OperationId"], "op");
            asked += 1;
            Ok(json!({"StackSetOperation": {"Status": if asked < 3 { "RUNNING" } else { ends }}}))
        })
        .on("cloudformation.ListStackSetOperationResults", |call| {
            let one = |region: &str, status: &str| json!({"Account": "222222222222", "Region": region, "Status": status, "StatusReason": "because"});
            Ok(match &call.params["NextToken"] {
                Value::Null => json!({"Summaries": [one("us-east-1", "SUCCEEDED")], "NextToken": "2"}),
                _ => json!({"Summaries": [one("eu-central-1", "FAILED")]}),
            })
        })
}

// Time that is waited passes at once.
#[tokio::test(start_paused = true)]
async fn an_operation_is_waited_for() {
    let clock = FakeClock::at(now());
    let api = Modelled(script("SUCCEEDED"));
    let outcomes = set()
        .operate(&api, &clock, &set().instances(&target()))
        .await
        .unwrap();
    assert_eq!(
        outcomes
            .iter()
            .map(|one| one.region.as_str())
            .collect::<Vec<_>>(),
        ["us-east-1", "eu-central-1"]
    );
    assert_eq!(
        api.0
            .calls()
            .iter()
            .filter(|call| call.operation == "DescribeStackSetOperation")
            .count(),
        3
    );

    let api = Modelled(script("FAILED"));
    let error = set()
        .operate(&api, &clock, &set().instances(&target()))
        .await
        .unwrap_err();
    let StackSetError::Ended {
        status, outcomes, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((status.as_str(), outcomes.len()), ("FAILED", 2));

    let api = Modelled(script("RUNNING"));
    let error = set()
        .operate(&api, &clock, &set().instances(&target()))
        .await
        .unwrap_err();
    assert!(matches!(error, StackSetError::Slow { .. }), "{error}");
}

// Time that is waited passes at once.
#[tokio::test(start_paused = true)]
async fn whether_it_is_there() {
    let api: &dyn Api = &Modelled(FakeApi::new().refuses(
        "cloudformation.DescribeStackSet",
        "StackSetNotFoundException",
    ));
    assert!(!set().exists(api).await.unwrap());
    let api: &dyn Api =
        &Modelled(FakeApi::new().returns("cloudformation.DescribeStackSet", json!({})));
    assert!(set().exists(api).await.unwrap());
    let api: &dyn Api =
        &Modelled(FakeApi::new().refuses("cloudformation.DescribeStackSet", "ValidationError"));
    assert!(set().exists(api).await.is_err());
}
