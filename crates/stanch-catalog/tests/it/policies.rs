//! What a run may do.

use serde_json::{Value, json};
use stanch_catalog::{Catalog, PolicyError, SESSION_POLICY_LIMIT};
use stanch_models::Models;

use crate::plans::case;

fn models() -> Models {
    Models::embedded().unwrap()
}

/// What a setting may override is not known before: a default does not narrow the role.
#[test]
fn a_role_is_not_narrowed_to_a_default() {
    let text = r#"remediation: Logs
title: Log
description: Why.
resource: AwsS3Bucket
controls: {config: logs}
safety: {class: guarded, impact: None., undo: none, because: It cannot.}
parameters: {Bucket: {from: resource.name}, Target: {default: none}}
read:
  - {name: seen, call: s3.GetBucketLogging, with: {Bucket: "{{ Bucket }}"}, pick: LoggingEnabled}
let: [{name: to, value: "(Target != 'none' && Target) || join('-', ['logs', account])"}]
compliant: seen != `null`
apply:
  - call: s3.PutBucketLogging
    with: {Bucket: "{{ (Target != 'none' && Target) || join('-', ['logs', account]) }}", BucketLoggingStatus: {}}
    allow: {s3:GetBucketAcl: ["{{? seen.x }}", "arn:{{ partition }}:s3:::{{ to }}"], iam:PassRole: ["{{? seen.x }}"]}
examples: [{title: One, finding: {control: logs, resource: b}}]
"#;
    let (remediation, found) = stanch_catalog::parse(text);
    assert_eq!(found, []);
    let permissions = remediation.unwrap().permissions(&models()).unwrap();
    let put = permissions
        .iter()
        .find(|p| p.action == "s3:PutBucketLogging")
        .unwrap();
    assert_eq!(
        put.resources.iter().collect::<Vec<_>>(),
        ["arn:${AWS::Partition}:s3:::*"]
    );
    // What is not there needs no permission.
    let mut case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::b",
        "config:logs",
    );
    case.remediation = std::sync::Arc::new(stanch_catalog::parse(text).0.unwrap());
    let policy = case.plan(&[json!({})]).session_policy(&models()).unwrap();
    assert!(!policy.contains("iam:PassRole"), "{policy}");
    assert!(
        policy
            .contains(r#"["s3:GetBucketAcl","s3:PutBucketLogging"],"Resource":"arn:aws:s3:::logs-123456789012""#),
        "{policy}"
    );
}

/// All permissions of a remediation, over all of its ways, fit into one session policy with names
/// of the usual length.
#[test]
fn session_policies_are_short_enough() {
    let models = models();
    let long = |text: String| {
        text.replace("${AWS::Partition}", "aws")
            .replace("${AWS::Region}", "ap-southeast-2")
            .replace("${AWS::AccountId}", "123456789012")
    };
    let mut too_long = Vec::new();
    for remediation in Catalog::embedded().iter() {
        let permissions = remediation.permissions(&models).unwrap();
        let length = long(stanch_catalog::policy_document(&permissions)).len();
        if length > SESSION_POLICY_LIMIT {
            too_long.push(format!("{} {length}", remediation.name));
        }
    }
    assert!(too_long.is_empty(), "{too_long:?}");
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
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudfront:ListDistributions","s3:GetBucketPolicyStatus","s3:GetBucketPublicAccessBlock","s3:GetBucketWebsite"],"Resource":"*"}]}"#
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
