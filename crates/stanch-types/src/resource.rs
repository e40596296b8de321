//! The resources of a finding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AccountId, Arn, Region};

/// One resource that a finding is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// The type as ASFF names it: `AwsS3Bucket`.
    pub resource_type: String,
    /// The one name by which the resource is known, whoever found it: its ARN where there is one,
    /// otherwise the id as the finding writes it.
    pub id: String,
    /// The ARN, where the finding gives it or its type and id tell it.
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

impl Resource {
    /// A resource with what its type and id tell.
    pub(crate) fn new(kind: &str, id: &str, arn: Option<Arn>) -> Self {
        Self {
            resource_type: asff_type(kind),
            id: id.to_owned(),
            name: arn
                .as_ref()
                .map_or_else(|| name_from_id(id), name_from_arn)
                .to_owned(),
            arn,
            region: None,
            tags: BTreeMap::new(),
            details: Value::Null,
        }
    }

    /// Makes one of the names that products have for it: Security Hub gives a bucket's ARN, Config its
    /// name, and what works on it must be able to tell that both mean the same.
    pub(crate) fn identify(&mut self, account: &AccountId, region: &Region) {
        if self.arn.is_some() {
            return;
        }
        if self.resource_type == "AwsAccount" {
            self.id = format!("AWS::::Account:{}", self.name);
            return;
        }
        let region = self.region.as_ref().unwrap_or(region);
        if let Some(arn) = arn_of(&self.resource_type, &self.name, account, region) {
            self.id = arn.to_string();
            self.arn = Some(arn);
        }
    }
}

/// The ARN of a resource that goes by its name or id in Config's results and in the findings of
/// products without ARNs. None where that is not in it: RDS and IAM give things a second id, a trail
/// may be of another region.
///
/// The forms are those of <https://docs.aws.amazon.com/service-authorization/latest/reference/>.
fn arn_of(kind: &str, name: &str, account: &AccountId, region: &Region) -> Option<Arn> {
    const FORMS: [(&str, &str, &str); 20] = [
        ("AwsDynamoDbTable", "dynamodb", "table/"),
        ("AwsEc2Instance", "ec2", "instance/"),
        ("AwsEc2LaunchTemplate", "ec2", "launch-template/"),
        ("AwsEc2NetworkAcl", "ec2", "network-acl/"),
        ("AwsEc2NetworkInterface", "ec2", "network-interface/"),
        ("AwsEc2RouteTable", "ec2", "route-table/"),
        ("AwsEc2SecurityGroup", "ec2", "security-group/"),
        ("AwsEc2Subnet", "ec2", "subnet/"),
        ("AwsEc2TransitGateway", "ec2", "transit-gateway/"),
        ("AwsEc2Volume", "ec2", "volume/"),
        ("AwsEc2Vpc", "ec2", "vpc/"),
        ("AwsEcrRepository", "ecr", "repository/"),
        ("AwsEfsFileSystem", "elasticfilesystem", "file-system/"),
        ("AwsEksCluster", "eks", "cluster/"),
        (
            "AwsElbLoadBalancer",
            "elasticloadbalancing",
            "loadbalancer/",
        ),
        ("AwsKinesisStream", "kinesis", "stream/"),
        ("AwsKmsKey", "kms", "key/"),
        ("AwsLambdaFunction", "lambda", "function:"),
        ("AwsRedshiftCluster", "redshift", "cluster:"),
        ("AwsSqsQueue", "sqs", ""),
    ];
    let partition = region.partition();
    let text = match FORMS.iter().find(|(of, ..)| *of == kind) {
        Some((_, service, prefix)) => {
            format!("arn:{partition}:{service}:{region}:{account}:{prefix}{name}")
        }
        None if kind == "AwsS3Bucket" => format!("arn:{partition}:s3:::{name}"),
        None => return None,
    };
    let arn: Arn = text.parse().ok()?;
    // A name with something in it that separates is not what this takes it for.
    (name_from_arn(&arn) == name).then_some(arn)
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
fn name_from_id(id: &str) -> &str {
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
    fn whoever_names_a_resource_it_has_one_id() {
        let (account, region) = (
            "123456789012".parse().unwrap(),
            "eu-central-1".parse().unwrap(),
        );
        for (kind, id, one) in [
            ("AWS::S3::Bucket", "logs", "arn:aws:s3:::logs"),
            ("AwsS3Bucket", "arn:aws:s3:::logs", "arn:aws:s3:::logs"),
            (
                "AWS::EC2::SecurityGroup",
                "sg-1",
                "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1",
            ),
            (
                "AwsSqsQueue",
                "https://sqs.eu-central-1.amazonaws.com/123456789012/q",
                "arn:aws:sqs:eu-central-1:123456789012:q",
            ),
            (
                "AWS::Lambda::Function",
                "f",
                "arn:aws:lambda:eu-central-1:123456789012:function:f",
            ),
            (
                "AWS::ECR::Repository",
                "team/app",
                "arn:aws:ecr:eu-central-1:123456789012:repository/team/app",
            ),
            (
                "AWS::::Account",
                "123456789012",
                "AWS::::Account:123456789012",
            ),
            (
                "AwsAccount",
                "AWS::::Account:123456789012",
                "AWS::::Account:123456789012",
            ),
            // What the name of it is, its id does not tell.
            ("AWS::RDS::DBInstance", "db-ABC", "db-ABC"),
            ("AWS::Lambda::Function", "f:live", "f:live"),
        ] {
            let arn = id.parse().ok();
            let mut resource = Resource::new(kind, id, arn);
            let name = resource.name.clone();
            resource.identify(&account, &region);
            assert_eq!((&*resource.id, &resource.name), (one, &name), "{kind} {id}");
            assert_eq!(resource.arn, one.parse().ok());
        }
        let mut elsewhere = Resource::new("AWS::KMS::Key", "k", None);
        elsewhere.region = Some("cn-north-1".parse().unwrap());
        elsewhere.identify(&account, &region);
        assert_eq!(elsewhere.id, "arn:aws-cn:kms:cn-north-1:123456789012:key/k");
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
