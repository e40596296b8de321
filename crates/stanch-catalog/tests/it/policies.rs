//! What a run may do.

use serde_json::{Value, json};
use stanch_catalog::{Catalog, PolicyError, SESSION_POLICY_LIMIT};
use stanch_models::Models;

use crate::plans::case;

fn models() -> Models {
    Models::embedded().unwrap()
}

#[test]
fn every_remediation_is_narrowed_to_resources() {
    let models = models();
    for remediation in Catalog::embedded().iter() {
        for permission in remediation.permissions(&models).unwrap() {
            if !permission.resources.contains("*") {
                continue;
            }
            // Everything that the action can be narrowed to is.
            let (prefix, name) = permission.action.split_once(':').unwrap();
            let iam = models.iam(prefix).unwrap().unwrap();
            let action = iam.action(name).unwrap();
            assert!(
                action.resources.is_empty(),
                "{}: {}",
                remediation.name,
                permission.action
            );
        }
    }
}

#[test]
fn a_session_may_do_what_its_plan_does() {
    let bucket = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let plan = bucket.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    assert_eq!(
        plan.session_policy(&models()).unwrap(),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketPublicAccessBlock","s3:PutBucketPublicAccessBlock"],"Resource":"arn:aws:s3:::logs"}]}"#
    );
    assert_eq!(
        Catalog::embedded()
            .get("S3BlockPublicAccess")
            .unwrap()
            .read_policy(&models())
            .unwrap(),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetBucketPublicAccessBlock","Resource":"*"}]}"#
    );
    let group = "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-0123456789abcdef0";
    let group = case("Ec2CloseOpenPorts", "AwsEc2SecurityGroup", group, "EC2.13");
    let seen = |rules: Value| {
        [
            json!({"SecurityGroups": [{"GroupId": "sg-0123456789abcdef0"}]}),
            json!({"SecurityGroupRules": rules}),
        ]
    };
    let open = json!([{
        "SecurityGroupRuleId": "sgr-1", "IsEgress": false, "IpProtocol": "-1", "FromPort": -1,
        "ToPort": -1, "CidrIpv4": "0.0.0.0/0",
    }]);
    let plan = group.plan(&seen(open));
    assert_eq!(
        plan.session_policy(&models()).unwrap(),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:DescribeSecurityGroupRules","ec2:DescribeSecurityGroups"],"Resource":"*"},{"Effect":"Allow","Action":"ec2:RevokeSecurityGroupIngress","Resource":"arn:aws:ec2:eu-central-1:123456789012:security-group/sg-0123456789abcdef0"}]}"#
    );
    let observed = group.observe(&seen(json!([]))).unwrap();
    let undo = observed.undo(&plan, &json!({})).unwrap();
    assert_eq!(
        undo.session_policy(&models()).unwrap(),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:DescribeSecurityGroupRules","ec2:DescribeSecurityGroups"],"Resource":"*"},{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"arn:aws:ec2:eu-central-1:123456789012:security-group-rule/*"},{"Effect":"Allow","Action":"ec2:AuthorizeSecurityGroupIngress","Resource":"arn:aws:ec2:eu-central-1:123456789012:security-group/sg-0123456789abcdef0"}]}"#
    );
}

#[test]
fn a_value_never_widens_a_policy() {
    let bucket = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let mut plan = bucket.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    for wide in ["*", "logs?", "${aws:username}"] {
        plan.reads[0].call.params["Bucket"] = json!(wide);
        let error = plan.session_policy(&models()).unwrap_err();
        assert!(matches!(error, PolicyError::Wildcard { .. }), "{error}");
    }
    plan.reads[0].call.params = json!({});
    let error = plan.session_policy(&models()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`s3.GetPublicAccessBlock` needs `s3:GetBucketPublicAccessBlock`, and its input does not tell on which resource; say so with `on`"
    );
}

#[test]
fn a_policy_that_aws_would_not_take_is_none() {
    let bucket = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let mut plan = bucket.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    plan.steps[0].on = (0..100)
        .map(|n| format!("arn:aws:s3:::logs-{n}-and-more"))
        .collect();
    let error = plan.session_policy(&models()).unwrap_err();
    let PolicyError::TooLong { length } = error else {
        panic!("{error}")
    };
    assert!(length > SESSION_POLICY_LIMIT);
}
