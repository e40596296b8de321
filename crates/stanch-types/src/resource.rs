//! The resources of a finding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Arn, Region};

/// One resource that a finding is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// The type as ASFF names it: `AwsS3Bucket`.
    pub resource_type: String,
    /// The id as the finding writes it; often an ARN.
    pub id: String,
    /// The ARN, where the finding gives it.
    pub arn: Option<Arn>,
    /// What API calls take to name the resource: the bucket's name, the key's id, the role's name
    /// without its path. A Config result gives its own id instead, which for IAM users, roles and
    /// policies and for RDS is not the name (`AIDA…`, `db-…`).
    pub name: String,
    /// The resource's own region, if the finding says; it may differ from the finding's.
    pub region: Option<Region>,
    /// Tags at the time of the finding, if the product looked them up. An absent tag proves nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The product's details of it; null without.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// The ASFF name of a resource type that Config and OCSF write as `AWS::S3::Bucket`. A name that is
/// not of that form is returned as it is.
///
/// ASFF's names are Config's in camel case (`AWS::RDS::DBInstance`, `AwsRdsDbInstance`) but for the
/// few listed here, after
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-resources-attributes.html>.
#[must_use]
pub fn asff_type(config_type: &str) -> String {
    const IRREGULAR: [(&str, &str); 7] = [
        ("AWS::::Account", "AwsAccount"),
        ("AWS::ACM::Certificate", "AwsCertificateManagerCertificate"),
        (
            "AWS::ElasticLoadBalancing::LoadBalancer",
            "AwsElbLoadBalancer",
        ),
        (
            "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "AwsElbv2LoadBalancer",
        ),
        ("AWS::OpenSearch::Domain", "AwsOpenSearchServiceDomain"),
        (
            "AWS::StepFunctions::StateMachine",
            "AwsStepFunctionStateMachine",
        ),
        ("AWS::WAFv2::WebACL", "AwsWafv2WebAcl"),
    ];
    if let Some((_, asff)) = IRREGULAR.iter().find(|(config, _)| *config == config_type) {
        return (*asff).to_owned();
    }
    let Some(parts) = config_type.strip_prefix("AWS::") else {
        return config_type.to_owned();
    };
    let mut asff = String::from("Aws");
    for part in parts.split("::") {
        camel(part, &mut asff);
    }
    asff
}

/// Appends `DBInstance` as `DbInstance`, `EC2` as `Ec2`: of a run of capitals only the first, and
/// the one that begins the next word, stay.
fn camel(word: &str, to: &mut String) {
    let mut previous_is_capital = false;
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins_word = letters.peek().is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && previous_is_capital && !begins_word {
            to.push(letter.to_ascii_lowercase());
        } else {
            to.push(letter);
        }
        previous_is_capital = letter.is_ascii_uppercase();
    }
}

/// What API calls take to name the resource with this ARN.
#[must_use]
pub fn name_from_arn(arn: &Arn) -> &str {
    let id = arn.resource_id();
    let last = || id.rsplit('/').next().unwrap_or(id);
    match (arn.service.as_str(), arn.resource_type()) {
        // Buckets (and objects, `bucket/key`) have no type in front.
        ("s3", _) => &arn.resource,
        // `role/path/name`. A policy is named by its ARN, which the caller has.
        ("iam", _) => last(),
        // `function:name:alias`
        ("lambda", Some("function")) => id.split(':').next().unwrap_or(id),
        // `log-group:/aws/lambda/f:*`
        ("logs", Some("log-group")) => id.strip_suffix(":*").unwrap_or(id),
        // `table/name/index/by-date`
        ("dynamodb", Some("table")) => id.split('/').next().unwrap_or(id),
        // `autoScalingGroup:uuid:autoScalingGroupName/name`, `service/cluster/name`,
        // `/restapis/id/stages/name`
        ("autoscaling" | "ecs" | "apigateway", _) => last(),
        _ => id,
    }
}

/// What API calls take to name a resource whose id is not an ARN.
pub(crate) fn name_from_id(id: &str) -> &str {
    // `AWS::::Account:123456789012` of account-wide controls
    if let Some(account) = id.strip_prefix("AWS::::Account:") {
        return account;
    }
    // A queue's URL
    match id.strip_prefix("https://") {
        Some(path) => path.rsplit('/').next().unwrap_or(path),
        None => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_types_become_asff_types() {
        for (config, asff) in [
            ("AWS::S3::Bucket", "AwsS3Bucket"),
            ("AWS::::Account", "AwsAccount"),
            ("AWS::EC2::SecurityGroup", "AwsEc2SecurityGroup"),
            ("AWS::EC2::VPC", "AwsEc2Vpc"),
            (
                "AWS::EC2::VPCPeeringConnection",
                "AwsEc2VpcPeeringConnection",
            ),
            ("AWS::EC2::NetworkAcl", "AwsEc2NetworkAcl"),
            ("AWS::RDS::DBInstance", "AwsRdsDbInstance"),
            ("AWS::RDS::DBClusterSnapshot", "AwsRdsDbClusterSnapshot"),
            ("AWS::KMS::Key", "AwsKmsKey"),
            ("AWS::IAM::User", "AwsIamUser"),
            ("AWS::DynamoDB::Table", "AwsDynamoDbTable"),
            ("AWS::AppSync::GraphQLApi", "AwsAppSyncGraphQlApi"),
            ("AWS::WAFRegional::WebACL", "AwsWafRegionalWebAcl"),
            (
                "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "AwsElbv2LoadBalancer",
            ),
            ("AwsS3Bucket", "AwsS3Bucket"),
            ("Other", "Other"),
            ("", ""),
        ] {
            assert_eq!(asff_type(config), asff, "{config}");
        }
    }

    #[test]
    fn arns_give_the_names_that_calls_take() {
        for (arn, name) in [
            ("arn:aws:s3:::my-bucket", "my-bucket"),
            ("arn:aws:s3:::my-bucket/a/b", "my-bucket/a/b"),
            ("arn:aws:iam::123456789012:role/path/name", "name"),
            ("arn:aws:iam::123456789012:root", "root"),
            ("arn:aws:kms:us-east-1:123456789012:key/1-2", "1-2"),
            (
                "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1",
                "sg-1",
            ),
            (
                "arn:aws:rds:us-east-1:123456789012:snapshot:rds:db-1",
                "rds:db-1",
            ),
            ("arn:aws:sns:us-east-1:123456789012:topic", "topic"),
            ("arn:aws:lambda:us-east-1:123456789012:function:f:live", "f"),
            (
                "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f:*",
                "/aws/lambda/f",
            ),
            (
                "arn:aws:dynamodb:us-east-1:123456789012:table/t/index/i",
                "t",
            ),
            (
                "arn:aws:ecs:us-east-1:123456789012:service/cluster/web",
                "web",
            ),
            (
                "arn:aws:apigateway:us-east-1::/restapis/a1/stages/prod",
                "prod",
            ),
        ] {
            assert_eq!(name_from_arn(&arn.parse().unwrap()), name, "{arn}");
        }
        assert_eq!(name_from_id("AWS::::Account:123456789012"), "123456789012");
        assert_eq!(
            name_from_id("https://sqs.us-east-2.amazonaws.com/123456789012/q"),
            "q"
        );
        assert_eq!(name_from_id("i-0abc"), "i-0abc");
    }
}
