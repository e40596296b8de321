use serde_json::json;
use stanch_operate::{
    doctor::State,
    preflight::{Artifacts, examine},
};
use stanch_testkit::FakeApi;
use stanch_types::Call;

use crate::world::{World, administrator, denied, installation, line, member, patient};

fn ready() -> FakeApi {
    administrator()
        .returns("organizations.DescribeOrganization", json!({"Organization": {"FeatureSet": "ALL", "MasterAccountId": "999999999999"}}))
        .returns("cloudformation.DescribeOrganizationsAccess", json!({"Status": "ENABLED"}))
        .returns(
            "cloudtrail.DescribeTrails",
            json!({"trailList": [
                {"TrailARN": "own"},
                {"TrailARN": "whole", "IsOrganizationTrail": true, "IsMultiRegionTrail": true, "LogFileValidationEnabled": true},
            ]}),
        )
        .on("cloudtrail.GetTrailStatus", |call| {
            assert_eq!(call.params["Name"], "whole");
            Ok(json!({"IsLogging": true}))
        })
        .returns("s3.HeadObject", json!({"ContentLength": 7}))
        .refuses("dynamodb.DescribeTable", "ResourceNotFoundException")
}

async fn check(own: FakeApi, expected: &[(&str, State, &str)]) {
    let installation = installation();
    let artifacts = Artifacts {
        bucket: "artifacts".to_owned(),
        members: "stanch-artifacts".to_owned(),
        prefix: "stanch/".to_owned(),
        architecture: "arm64".to_owned(),
    };
    let world = World::new(own, member());
    let lines = examine(&world, &patient(&installation), Some(&artifacts)).await;
    for (what, state, seen) in expected {
        let line = line(&lines, what);
        assert_eq!(line.state, *state, "{line:#?}");
        assert!(line.seen.contains(seen), "{line:#?}");
    }
    let others = lines.iter().filter(|line| {
        line.state != State::Ok && !expected.iter().any(|(what, ..)| line.what.contains(what))
    });
    assert_eq!(
        others.collect::<Vec<_>>(),
        Vec::<&stanch_operate::doctor::Line>::new()
    );
    // The archive, 2 templates, and the archive for the member's region.
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.what.starts_with("s3://"))
            .count(),
        4
    );
}

#[tokio::test]
async fn what_has_to_be_there_before() {
    use State::{Problem, Unknown, Warning};
    check(ready(), &[]).await;
    check(
        ready().refuses(
            "organizations.DescribeOrganization",
            "AWSOrganizationsNotInUseException",
        ),
        &[("AWS Organizations", Problem, "not in use")],
    )
    .await;
    let billing = json!({"Organization": {"FeatureSet": "CONSOLIDATED_BILLING", "MasterAccountId": "111111111111"}});
    check(
        ready().returns("organizations.DescribeOrganization", billing),
        &[
            ("AWS Organizations", Problem, "consolidated"),
            ("administrator account", Warning, "management account"),
        ],
    )
    .await;
    check(
        ready().returns(
            "cloudformation.DescribeOrganizationsAccess",
            json!({"Status": "DISABLED"}),
        ),
        &[("stack sets", Problem, "DISABLED")],
    )
    .await;
    check(
        ready().returns(
            "cloudtrail.DescribeTrails",
            json!({"trailList": [{"IsMultiRegionTrail": true}]}),
        ),
        &[("CloudTrail", Problem, "no trail")],
    )
    .await;
    check(
        ready().returns("cloudtrail.GetTrailStatus", json!({"IsLogging": false})),
        &[("CloudTrail", Problem, "does not log")],
    )
    .await;
    check(
        ready().on("cloudtrail.DescribeTrails", |call| Err(denied(call))),
        &[("CloudTrail", Unknown, "not authorized")],
    )
    .await;
    let absent = |call: &Call| match call.params["Key"] == "stanch/member-stack.yaml" {
        true => Err(stanch_types::CallError {
            code: "404".to_owned(),
            ..denied(call)
        }),
        false => Ok(json!({"ContentLength": 7})),
    };
    check(
        ready().on("s3.HeadObject", absent),
        &[(
            "s3://artifacts/stanch/member-stack.yaml",
            Problem,
            "not there",
        )],
    )
    .await;
    let taken = ready().returns("dynamodb.DescribeTable", json!({}));
    check(
        taken.refuses("cloudformation.DescribeStackResources", "ValidationError"),
        &[("the name SecurityRemediationAuditLog", Problem, "taken")],
    )
    .await;
    check(
        ready()
            .returns("dynamodb.DescribeTable", json!({}))
            .returns("cloudformation.DescribeStackResources", json!({})),
        &[],
    )
    .await;
}
