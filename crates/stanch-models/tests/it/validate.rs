use serde_json::{Value, json};
use stanch_models::{
    At, Models, Severity, ShapeKind, canonical_parameters, validate, validate_template,
};

fn problems(api: &str, parameters: Value) -> Vec<String> {
    let (service, operation) = api.split_once('.').unwrap();
    let target = Models::embedded()
        .unwrap()
        .resolve(service, operation)
        .unwrap();
    validate(&target.service, target.operation(), &parameters)
        .iter()
        .map(|p| {
            let level = if p.severity == Severity::Warning {
                "warning: "
            } else {
                ""
            };
            let hint = p
                .hint
                .as_ref()
                .map(|h| format!(" ({h})"))
                .unwrap_or_default();
            format!("{level}{p}{hint}")
        })
        .collect()
}

#[test]
fn all_problems_are_told_at_once() {
    for (api, parameters, expected) in [
        (
            "s3.PutPublicAccessBlock",
            json!({"Bucket": "demo", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}}),
            vec![],
        ),
        (
            "s3.PutPublicAccessBlock",
            json!({"PublicAccessBlockConfiguration": {"BlockPublicAcl": true, "IgnorePublicAcls": "true"}}),
            vec![
                "`Bucket` is required",
                "`PublicAccessBlockConfiguration.BlockPublicAcl`: there is no such parameter (did you mean `BlockPublicAcls` or `BlockPublicPolicy`?)",
                "`PublicAccessBlockConfiguration.IgnorePublicAcls`: this must be `true` or `false`, not a string",
            ],
        ),
        (
            "ec2.DescribeFlowLogs",
            json!({"Filters": [{"Name": "resource-id", "Values": ["vpc-1"]}]}),
            vec![],
        ),
        (
            "ec2.DescribeFlowLogs",
            json!({"Filter": [], "Filters": [{"Nam": 1}]}),
            vec!["`Filters`: `Filter` is given twice, under two names"],
        ),
        (
            "ec2.DescribeInstances",
            json!({"Filters": [{"Name": ["a"], "Values": "b"}], "MaxResults": 1.5}),
            vec![
                "`Filters[0].Name`: this must be a string, not a list",
                "`Filters[0].Values`: this must be a list, not a string",
                "`MaxResults`: this must be a whole number, not a fraction",
            ],
        ),
        (
            "iam.UpdateAccountPasswordPolicy",
            json!({"MinimumPasswordLength": 5, "PasswordReusePrevention": 25}),
            vec![
                "`MinimumPasswordLength`: this must be at least 6, not 5",
                "warning: `PasswordReusePrevention`: this can be at most 24, not 25",
            ],
        ),
        (
            "kms.Encrypt",
            json!({"KeyId": "", "Plaintext": "not base64!", "EncryptionContext": {"a": 1}}),
            vec![
                "`KeyId`: at least 1 character must be given, not 0",
                "`Plaintext`: this is not base64 (write the bytes as base64 text)",
                "`EncryptionContext.a`: this must be a string, not a number",
            ],
        ),
        (
            "s3.PutBucketVersioning",
            json!({"Bucket": "b", "VersioningConfiguration": {"Status": "enabled"}}),
            vec![
                "warning: `VersioningConfiguration.Status`: `enabled` is not a known value (did you mean `Enabled`?)",
            ],
        ),
        (
            "dynamodb.GetItem",
            json!({"TableName": "t", "Key": {"id": {"S": "1"}}}),
            vec![],
        ),
        (
            "cloudtrail.LookupEvents",
            json!({"StartTime": "2026-01-01T00:00:00Z", "EndTime": 1767225600.5}),
            vec![],
        ),
        (
            "cloudtrail.LookupEvents",
            json!({"StartTime": "yesterday", "EndTime": null}),
            vec![
                "`StartTime`: this must be a time (ISO 8601), not a string",
                "`EndTime`: this must be a time (ISO 8601), not null",
            ],
        ),
        (
            "sts.GetCallerIdentity",
            json!([]),
            vec!["this must be an object, not a list"],
        ),
        (
            "wellarchitected.ListTagsForResource",
            json!({"Arn": "x"}),
            vec![
                "`WorkloadArn` is required",
                "`Arn`: there is no such parameter (one of `WorkloadArn`)",
            ],
        ),
    ] {
        assert_eq!(problems(api, parameters), expected, "{api}");
    }
}

#[test]
fn unions_have_exactly_one_member() {
    let union = json!({"roleArn": "r", "resources": {}, "stepSummary": 1});
    assert!(
        problems(
            "bedrock-runtime.Converse",
            json!({"modelId": "m", "system": [{}]})
        )[0]
        .contains("exactly one member"),
        "{union}"
    );
}

#[test]
fn holes_fit_everywhere() {
    let target = Models::embedded()
        .unwrap()
        .resolve("rds", "ModifyDBInstance")
        .unwrap();
    let parameters = json!({"DBInstanceIdentifier": "{{ Id }}", "PubliclyAccessible": "{{ Flag }}", "Port": "x"});
    let open = |v: &Value| v.as_str().is_some_and(|s| s.contains("{{"));
    let found: Vec<_> = validate_template(&target.service, target.operation(), &parameters, &open)
        .into_iter()
        .map(|p| p.path)
        .collect();
    assert_eq!(found, ["Port"]);
}

#[test]
fn aliases_become_the_models_names() {
    let models = Models::embedded().unwrap();
    for (service, operation, written, expected) in [
        (
            "ec2",
            "DescribeNatGateways",
            json!({"Filters": []}),
            json!({"Filter": []}),
        ),
        (
            "ec2",
            "DescribeInstances",
            json!({"Filters": []}),
            json!({"Filters": []}),
        ),
        (
            "logs",
            "CreateExportTask",
            json!({"fromTime": 1, "to": 2}),
            json!({"to": 2, "from": 1}),
        ),
        (
            "cloudsearchdomain",
            "Search",
            json!({"returnFields": "a"}),
            json!({"return": "a"}),
        ),
        (
            "ec2",
            "DescribeFlowLogs",
            json!({"Filters": 1, "Filter": 2}),
            json!({"Filters": 1, "Filter": 2}),
        ),
    ] {
        let target = models.resolve(service, operation).unwrap();
        let Value::Object(mut parameters) = written else {
            unreachable!()
        };
        canonical_parameters(&target.service, target.operation(), &mut parameters);
        assert_eq!(Value::Object(parameters), expected, "{service}.{operation}");
    }
}

#[test]
fn selectors_are_followed_through_the_output() {
    let models = Models::embedded().unwrap();
    let at = |api: &str, path: &str| {
        let (service, operation) = api.split_once('.').unwrap();
        let target = models.resolve(service, operation).unwrap();
        let output = target.operation().output.unwrap();
        match target.service.shape_at(output, path) {
            Ok(At::Anything) => "anything".into(),
            Ok(At::Shape(id)) => match &target.service.shape(id).kind {
                ShapeKind::String { .. } => "string".into(),
                ShapeKind::List { .. } => "list".into(),
                ShapeKind::Boolean => "boolean".into(),
                other => format!("{other:?}"),
            },
            Err(problem) => format!("{problem} {}", problem.hint.clone().unwrap_or_default()),
        }
    };
    for (api, path, expected) in [
        (
            "ec2.DescribeInstances",
            "$.Reservations[0].Instances[*].State.Name",
            "string",
        ),
        ("ec2.DescribeInstances", "Reservations[].Instances", "list"),
        (
            "ec2.DescribeInstances",
            "$.Reservations[?(@.OwnerId=='1')].OwnerId",
            "anything",
        ),
        ("ec2.DescribeInstances", "$..InstanceId", "anything"),
        (
            "sqs.GetQueueAttributes",
            "$.Attributes.KmsMasterKeyId",
            "string",
        ),
        ("sqs.GetQueueAttributes", "$.Attributes['Policy']", "string"),
        (
            "s3.GetPublicAccessBlock",
            "$.PublicAccessBlockConfiguration.BlockPublicAcls",
            "boolean",
        ),
        (
            "ec2.DescribeInstances",
            "$.Reservations.Instances",
            "`$.Reservations.Instances`: this is a list select an element: `[0].Instances`",
        ),
        (
            "ec2.DescribeInstances",
            "$.Reservation[0].Instances",
            "`$.Reservation`: `DescribeInstancesResult` has no member `Reservation` did you mean `Reservations`?",
        ),
        (
            "ec2.DescribeInstances",
            "$.NextToken[0]",
            "`$.NextToken`: this is a string, not a list ",
        ),
    ] {
        assert_eq!(at(api, path), expected, "{path}");
    }
}
