//! Both stacks, deployed by MiniStack's CloudFormation with IAM enforced.

use std::{collections::BTreeSet, time::Instant};

use serde_json::json;
use stanch_testkit::deployed::{
    ADMINISTRATOR, AUDIT_TABLE, Deployed, EXTERNAL_ID_PREFIX, LACKING, Layout, MEMBER_ROLE,
};

#[tokio::test]
async fn both_stacks_work_with_iam_enforced() {
    // The functions are not run here.
    let layout = Layout {
        archive: b"no archive",
        members: 1,
        regions: &["us-east-1"],
        variables: &[],
    };
    let begin = Instant::now();
    let deployed = Deployed::start(&layout).await.unwrap();
    println!("deployed in {:?}", begin.elapsed());
    assert_eq!(deployed.lacking, BTreeSet::from(LACKING));
    let (administrator, member) = (&deployed.administrator, deployed.member().unwrap());

    let hub = deployed.orchestrator().await.unwrap();
    let security =
        format!("arn:aws:iam::{ADMINISTRATOR}:role/SecurityRemediationSecurityLambdaRole");
    assert!(hub.role(&security, None).await.is_err());
    let security = administrator.role(&security, None).await.unwrap();

    // Only with the account's own external id, and only as the orchestrator.
    let arn = format!("arn:aws:iam::{}:role/{MEMBER_ROLE}", member.id);
    let own = format!("{EXTERNAL_ID_PREFIX}-{}", member.id);
    for (who, id) in [
        (&hub, Some(EXTERNAL_ID_PREFIX)),
        (&hub, Some("an-external-id-prefix-333333333333")),
        (&hub, None),
        (&security, Some(&*own)),
    ] {
        assert!(who.role(&arn, id).await.is_err(), "{id:?}");
    }
    let session = hub.role(&arn, Some(&own)).await.unwrap();

    // What the catalog needs, and nothing of what nobody may.
    deployed.public_bucket(member, "careless").await.unwrap();
    let all = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let block = json!({"Bucket": "careless", "PublicAccessBlockConfiguration": all});
    session
        .call("s3", "PutPublicAccessBlock", block)
        .await
        .unwrap();
    assert!(deployed.is_blocked(member, "careless").await.unwrap());
    let logs = format!("security-remediation-logs-{}-us-east-1", member.id);
    let denied = [
        ("s3", "DeletePublicAccessBlock", json!({"Bucket": logs})),
        ("iam", "CreateUser", json!({"UserName": "more"})),
        (
            "iam",
            "TagRole",
            json!({"RoleName": MEMBER_ROLE, "Tags": [{"Key": "a", "Value": "b"}]}),
        ),
        (
            "iam",
            "UpdateAssumeRolePolicy",
            json!({"RoleName": MEMBER_ROLE, "PolicyDocument": "{}"}),
        ),
    ];
    for (service, operation, params) in denied {
        session.is_denied(service, operation, params).await.unwrap();
    }

    // The audit log takes rows, and takes none back.
    let key = json!({"RemediationId": {"S": "r"}, "Timestamp": {"N": "1"}});
    let row = json!({"TableName": AUDIT_TABLE, "Item": key});
    hub.call("dynamodb", "PutItem", row).await.unwrap();
    let delete = json!({"TableName": AUDIT_TABLE, "Key": key});
    hub.is_denied("dynamodb", "DeleteItem", delete)
        .await
        .unwrap();
    let change = json!({"TableName": AUDIT_TABLE, "Key": key, "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "b"}}});
    hub.is_denied("dynamodb", "UpdateItem", change)
        .await
        .unwrap();
}

/// What arises in a member account reaches the administrator's queue by the rules of both stacks, and
/// what arises elsewhere does not.
#[tokio::test]
async fn events_of_member_accounts_arrive_and_those_of_others_do_not() {
    let layout = Layout {
        archive: b"no archive",
        members: 1,
        regions: &["us-east-1", "eu-central-1"],
        variables: &[],
    };
    let deployed = Deployed::start(&layout).await.unwrap();
    let (member, administrator) = (deployed.member().unwrap(), &deployed.administrator);
    // Nobody takes what arrives.
    let sources = json!({"FunctionName": "SecurityRemediationOrchestrator"});
    let sources = administrator
        .call("lambda", "ListEventSourceMappings", sources)
        .await
        .unwrap();
    let off = json!({"UUID": sources["EventSourceMappings"][0]["UUID"].as_str(), "Enabled": false});
    administrator
        .call("lambda", "UpdateEventSourceMapping", off)
        .await
        .unwrap();

    let rule = "s3-bucket-level-public-access-prohibited";
    let found = |region: &str| {
        let here = member.in_region(&region.parse().unwrap());
        deployed
            .finding(&here, "S3.8", "AwsS3Bucket", "careless")
            .unwrap()
    };
    let arrived = async || deployed.waiting_in("Events").await.unwrap();
    for (n, region) in [(1, "us-east-1"), (2, "eu-central-1")] {
        let event = found(region).config_event(rule);
        deployed.emulator().happen(&event).unwrap();
        assert_eq!(arrived().await, n, "{region}");
    }
    // What complies costs nobody a run.
    let mut fine = found("us-east-1").config_event(rule);
    fine["detail"]["newEvaluationResult"]["complianceType"] = json!("COMPLIANT");
    deployed.emulator().happen(&fine).unwrap();
    let mut passed = found("us-east-1").security_hub_event();
    passed["account"] = json!(ADMINISTRATOR);
    passed["detail"]["findings"][0]["Compliance"]["Status"] = json!("PASSED");
    deployed.emulator().happen(&passed).unwrap();
    assert_eq!(arrived().await, 2);

    deployed.import(&found("us-east-1")).unwrap();
    assert_eq!(arrived().await, 3);
    deployed.choose_action(&found("eu-central-1")).unwrap();
    assert_eq!(arrived().await, 4);

    // The end of a step of our documents, and of nobody else's.
    for document in ["RemediateS3PublicAccess", "AWS-RestartEC2Instance"] {
        let step = json!({
            "version": "0",
            "id": "eeca120b-a321-433e-9635-dab369006a6b",
            "detail-type": "EC2 Automation Step Status-change Notification",
            "source": "aws.ssm",
            "account": member.id,
            "time": "2026-03-02T19:59:59Z",
            "region": "eu-central-1",
            "resources": [],
            "detail": {
                "ExecutionId": "333ba70b-2333-48db-b17e-a5e69c6f4d1c",
                "Definition": document,
                "Status": "Success",
                "StepName": "Plan",
            },
        });
        deployed.emulator().happen(&step).unwrap();
        assert_eq!(arrived().await, 5, "{document}");
    }

    // An account of another organization forwards what it likes, in the same words.
    let bus =
        format!("arn:aws:events:us-east-1:{ADMINISTRATOR}:event-bus/SecurityRemediationMembers");
    let foreign = stanch_testkit::deployed::Account::root(
        &deployed.emulator().endpoint(),
        &stanch_testkit::deployed::FOREIGN.parse().unwrap(),
        &administrator.region,
    );
    let role = "SecurityRemediationEventForwarder";
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "events.amazonaws.com"}}]});
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}]});
    let (id, trust, policy) = (foreign.id.clone(), trust.to_string(), policy.to_string());
    for (service, operation, params) in [
        (
            "iam",
            "CreateRole",
            json!({"RoleName": role, "AssumeRolePolicyDocument": trust}),
        ),
        (
            "iam",
            "PutRolePolicy",
            json!({"RoleName": role, "PolicyName": "p", "PolicyDocument": policy}),
        ),
        (
            "events",
            "PutRule",
            json!({"Name": "forward", "EventPattern": r#"{"source": ["aws.config"]}"#}),
        ),
        (
            "events",
            "PutTargets",
            json!({"Rule": "forward", "Targets": [{"Id": "t", "Arn": bus, "RoleArn": format!("arn:aws:iam::{id}:role/{role}")}]}),
        ),
    ] {
        foreign.call(service, operation, params).await.unwrap();
    }
    let mut event = found("us-east-1").config_event(rule);
    event["account"] = json!(id);
    deployed.emulator().happen(&event).unwrap();
    assert_eq!(arrived().await, 5);
    let undelivered = deployed.waiting_in("UndeliveredEvents").await.unwrap();
    assert_eq!(undelivered, 0);
}
