use std::collections::BTreeSet;

use stanch_models::{AccessLevel, Models};

/// Operations of common services that the pinned reference does not list any action for: it came out
/// before they did, or AWS has not written them down. An entry that is no longer needed fails the test.
const WITHOUT_ACTION: [&str; 21] = [
    "cloudfront.ListDistributionsByOwnedResource",
    "cloudtrail.ListInsightsMetricData",
    "cloudwatch.AssociateDatasetKmsKey",
    "cloudwatch.CreateResourceMetricsConfiguration",
    "cloudwatch.DeleteResourceMetricsConfiguration",
    "cloudwatch.DescribeAlarmContributors",
    "cloudwatch.DisassociateDatasetKmsKey",
    "cloudwatch.GetResourceMetricsConfiguration",
    "cloudwatch.UpdateOTelEnrichment",
    "cloudwatch.UpdateResourceMetricsConfiguration",
    "ec2.CreateCapacityReservationDateChangeQuote",
    "ec2.DeleteClientVpnEndpointAuthorizationPolicy",
    "ec2.DescribeCapacityReservationDateChangeQuotes",
    "ec2.GetClientVpnEndpointAuthorizationPolicy",
    "ec2.ModifyClientVpnEndpointAuthorizationPolicy",
    "ecr.ListImageReferrers",
    "iam.AcquireRole",
    "iam.UpdateDelegationRequest",
    "logs.GetLogObject",
    "rds.DescribeServerlessV2PlatformVersions",
    "redshift.ModifyLakehouseConfiguration",
];

const COMMON: [&str; 33] = [
    "apigateway",
    "apigatewayv2",
    "autoscaling",
    "cloudfront",
    "cloudtrail",
    "cloudwatch",
    "config",
    "dynamodb",
    "ec2",
    "ecr",
    "ecs",
    "efs",
    "eks",
    "elasticache",
    "elb",
    "elbv2",
    "events",
    "guardduty",
    "iam",
    "kms",
    "lambda",
    "logs",
    "opensearch",
    "organizations",
    "rds",
    "redshift",
    "s3",
    "s3control",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "sts",
];

#[test]
fn every_operation_of_common_services_has_its_actions() {
    let models = Models::embedded().unwrap();
    let mut without = BTreeSet::new();
    for name in COMMON {
        let service = models.service(name).unwrap();
        for operation in service.operations() {
            let needed = models.actions_for(&service, operation).unwrap();
            if needed.iter().any(|n| n.action.is_none()) {
                without.insert(format!("{name}.{}", operation.name));
            }
        }
    }
    let exempt: BTreeSet<_> = WITHOUT_ACTION.map(str::to_owned).into();
    assert_eq!(without, exempt);
}

#[test]
fn every_named_action_is_in_the_reference() {
    let models = Models::embedded().unwrap();
    for line in include_str!("../../data/iam-operations.tsv")
        .lines()
        .skip(1)
    {
        let columns: Vec<_> = line.split('\t').collect();
        let [service, operation, actions, source] = columns[..] else {
            panic!("{line}")
        };
        let target = models.resolve(service, operation).unwrap();
        assert_eq!(&*target.operation().name, operation);
        let needed = models
            .actions_for(&target.service, target.operation())
            .unwrap();
        assert!(needed.iter().all(|n| n.action.is_some()), "{line}");
        assert_eq!(needed.is_empty(), actions == "-", "{line}");
        assert!(source.starts_with("https://docs.aws.amazon.com/"), "{line}");
    }
    for line in include_str!("../../data/iam-prefixes.tsv").lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        models.service(columns[0]).unwrap();
        assert!(models.iam(columns[1]).unwrap().is_some(), "{line}");
    }
}

#[test]
fn operations_need_the_actions_that_aws_says() {
    let models = Models::embedded().unwrap();
    for (api, expected) in [
        ("s3.PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        (
            "s3.DeletePublicAccessBlock",
            "s3:PutBucketPublicAccessBlock",
        ),
        ("s3.GetBucketEncryption", "s3:GetEncryptionConfiguration"),
        (
            "s3.PutBucketLifecycleConfiguration",
            "s3:PutLifecycleConfiguration",
        ),
        ("s3.HeadBucket", "s3:ListBucket"),
        ("s3.PutBucketPolicy", "s3:PutBucketPolicy"),
        (
            "s3.DeleteObject",
            "s3:DeleteObject s3:DeleteObjectVersion? s3:BypassGovernanceRetention?",
        ),
        (
            "s3control.PutPublicAccessBlock",
            "s3:PutAccountPublicAccessBlock",
        ),
        (
            "elbv2.ModifyLoadBalancerAttributes",
            "elasticloadbalancing:ModifyLoadBalancerAttributes",
        ),
        ("lambda.Invoke", "lambda:InvokeFunction"),
        (
            "lambda.UpdateFunctionConfiguration",
            "lambda:UpdateFunctionConfiguration iam:PassRole?",
        ),
        ("apigateway.UpdateStage", "apigateway:PATCH"),
        ("apigateway.GetRestApis", "apigateway:GET"),
        ("apigatewayv2.UpdateStage", "apigateway:PATCH"),
        ("cloudwatch.PutMetricAlarm", "cloudwatch:PutMetricAlarm"),
        ("logs.PutRetentionPolicy", "logs:PutRetentionPolicy"),
        ("events.PutRule", "events:PutRule"),
        (
            "opensearch.UpdateDomainConfig",
            "es:UpdateDomainConfig iam:PassRole?",
        ),
        ("waf-regional.UpdateWebACL", "waf-regional:UpdateWebACL"),
        ("docdb.ModifyDBCluster", "rds:ModifyDBCluster"),
        (
            "efs.PutFileSystemPolicy",
            "elasticfilesystem:PutFileSystemPolicy",
        ),
        ("kms.ReEncrypt", "kms:ReEncryptFrom kms:ReEncryptTo"),
        ("resourcegroupstaggingapi.GetResources", "tag:GetResources"),
        ("sts.GetCallerIdentity", ""),
    ] {
        let (service, operation) = api.split_once('.').unwrap();
        let target = models.resolve(service, operation).unwrap();
        let needed = models
            .actions_for(&target.service, target.operation())
            .unwrap();
        let got: Vec<_> = needed
            .iter()
            .map(|n| format!("{}{}", n.qualified(), if n.optional { "?" } else { "" }))
            .collect();
        assert_eq!(got.join(" "), expected, "{api}");
    }
}

#[test]
fn an_action_says_what_a_statement_can_name() {
    let models = Models::embedded().unwrap();
    for (api, level, arns) in [
        (
            "s3.PutPublicAccessBlock",
            AccessLevel::PermissionsManagement,
            vec!["arn:${Partition}:s3:::${BucketName}"],
        ),
        (
            "kms.EnableKeyRotation",
            AccessLevel::Write,
            vec!["arn:${Partition}:kms:${Region}:${Account}:key/${KeyId}"],
        ),
        (
            "iam.UpdateAccountPasswordPolicy",
            AccessLevel::Write,
            vec![],
        ),
        (
            "apigateway.UpdateStage",
            AccessLevel::Write,
            vec![
                "arn:${Partition}:apigateway:${Region}::/restapis/${restapi_id}/stages/${stage_name}",
            ],
        ),
        (
            "apigatewayv2.UpdateStage",
            AccessLevel::Write,
            vec!["arn:${Partition}:apigateway:${Region}::/apis/${apiId}/stages/${stageName}"],
        ),
    ] {
        let (service, operation) = api.split_once('.').unwrap();
        let target = models.resolve(service, operation).unwrap();
        let needed = models
            .actions_for(&target.service, target.operation())
            .unwrap();
        let action = needed[0].action.as_ref().unwrap();
        assert_eq!(action.level, level, "{api}");
        assert_eq!(
            needed[0].arns.iter().map(|a| &**a).collect::<Vec<_>>(),
            arns,
            "{api}"
        );
    }
}

#[test]
fn reads_are_told_from_writes() {
    let models = Models::embedded().unwrap();
    for (api, expected) in [
        ("s3.GetBucketAcl", Some(true)),
        ("s3.ListBuckets", Some(true)),
        ("s3.HeadBucket", Some(true)),
        ("s3.PutPublicAccessBlock", Some(false)),
        ("ec2.DescribeInstances", Some(true)),
        ("ec2.RevokeSecurityGroupIngress", Some(false)),
        ("ec2.CreateTags", Some(false)),
        ("iam.GetAccountPasswordPolicy", Some(true)),
        ("iam.GenerateCredentialReport", Some(true)),
        ("sts.AssumeRole", Some(false)),
        ("sts.GetCallerIdentity", Some(true)),
        ("sqs.ReceiveMessage", Some(false)),
        ("logs.StartQuery", Some(true)),
        ("lambda.Invoke", Some(false)),
        ("kms.Decrypt", Some(false)),
        ("apigateway.GetStage", Some(true)),
        ("apigateway.UpdateStage", Some(false)),
        ("cloudtrail.LookupEvents", Some(true)),
        ("dynamodb.Query", Some(true)),
        ("dynamodb.ExecuteStatement", Some(false)),
        ("dynamodb.TransactGetItems", Some(true)),
        ("securityhub.GetFindings", Some(true)),
        ("securityhub.BatchUpdateFindings", Some(false)),
    ] {
        let (service, operation) = api.split_once('.').unwrap();
        let target = models.resolve(service, operation).unwrap();
        assert_eq!(
            models.is_read(&target.service, target.operation()).unwrap(),
            expected,
            "{api}"
        );
    }
}

/// Plain names of reads and writes that the reference calls otherwise.
#[test]
fn no_plain_write_counts_as_a_read() {
    let models = Models::embedded().unwrap();
    for name in models.names() {
        let service = models.service(name).unwrap();
        for operation in service.operations() {
            let plain = [
                "Put",
                "Delete",
                "Update",
                "Modify",
                "Attach",
                "Detach",
                "Revoke",
                "Terminate",
                "Disable",
            ]
            .iter()
            .any(|verb| operation.name.starts_with(verb));
            if plain {
                let read = models.is_read(&service, operation).unwrap();
                assert_ne!(read, Some(true), "{name}.{}", operation.name);
            }
        }
    }
}
