use serde_json::json;
use stanch_catalog::{Catalog, Plan, ResourceId, Subject};
use stanch_testkit::{Emulated, Emulator, Organization, organization::MEMBERS};
use stanch_types::{Access, AccountId, Call, CallErrorKind, Region, Scope, Sessions};

#[tokio::test]
async fn the_hub_may_do_in_a_member_account_what_its_session_allows_and_nothing_else() {
    let emulator = Emulator::start().unwrap();
    let region: Region = "us-east-1".parse().unwrap();
    let aws = Emulated::at(&emulator.endpoint(), region.clone());
    let statement = |action: &str| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]});
    let role_policy = statement("s3:*");
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let organization = Organization::create(emulator.endpoint(), &root, &role_policy)
        .await
        .unwrap();

    let account: AccountId = MEMBERS[0].0.parse().unwrap();
    let bucket = |operation| Call::new("s3", operation, json!({"Bucket": "demo"}));
    root(&account, &region)
        .call(&bucket("CreateBucket"))
        .await
        .unwrap();
    root(&account, &region)
        .call(&bucket("DeletePublicAccessBlock"))
        .await
        .unwrap();

    let sessions = aws.sessions(&organization);
    let scope = |account: &AccountId, policy: &str| Scope {
        account: account.clone(),
        region: region.clone(),
        session_name: "stanch-test".to_owned(),
        access: Access::Policy(statement(policy).to_string()),
    };
    let error = |outcome: Result<_, stanch_types::CallError>| {
        outcome.err().map(|error| (error.kind, error.code))
    };

    // The session may delete, but not read; nor what the role does not have.
    let session = sessions
        .open(&scope(&account, "s3:DeleteBucket"))
        .await
        .unwrap();
    let denied = Some((CallErrorKind::Denied, "AccessDenied".to_owned()));
    assert_eq!(
        error(session.call(&bucket("GetBucketVersioning")).await),
        denied
    );
    let create_user = Call::new("iam", "CreateUser", json!({"UserName": "mallory"}));
    let session = sessions.open(&scope(&account, "iam:*")).await.unwrap();
    assert_eq!(
        error(session.call(&create_user).await).map(|(kind, _)| kind),
        Some(CallErrorKind::Denied)
    );

    // A session that reads reads, and the error code of S3 arrives.
    let read_only = Scope {
        ..scope(&account, "s3:GetBucketPublicAccessBlock")
    };
    let session = sessions.open(&read_only).await.unwrap();
    let absent = Some((
        CallErrorKind::Rejected,
        "NoSuchPublicAccessBlockConfiguration".to_owned(),
    ));
    assert_eq!(
        error(session.call(&bucket("GetPublicAccessBlock")).await),
        absent
    );
    assert_eq!(error(session.call(&bucket("DeleteBucket")).await), denied);

    // An account that is no member has no role to assume, and a wrong external id opens nothing.
    let stranger: AccountId = "444444444444".parse().unwrap();
    assert_eq!(
        sessions
            .open(&scope(&stranger, "s3:*"))
            .await
            .err()
            .map(|e| e.kind),
        Some(CallErrorKind::Credentials)
    );
    let mut wrong = organization.clone();
    wrong.members[0].external_id = wrong.members[1].external_id.clone();
    let sessions = aws.sessions(&wrong);
    assert_eq!(
        sessions
            .open(&scope(&account, "s3:*"))
            .await
            .err()
            .map(|e| e.kind),
        Some(CallErrorKind::Credentials)
    );

    let requests = emulator.requests().unwrap();
    assert!(
        requests
            .iter()
            .any(|r| r.method == "PUT" && r.path == "/demo"),
        "{requests:?}"
    );
    assert!(
        requests
            .iter()
            .any(|r| r.body.contains("Action=AssumeRole"))
    );
}

/// The plan of the block of public access to a bucket.
async fn plan(aws: &Emulated, account: &AccountId, region: &Region, bucket: &str) -> Plan {
    let remediation = Catalog::embedded().get("S3BlockPublicAccess").unwrap();
    let subject = Subject {
        account: account.clone(),
        partition: region.partition(),
        region: region.clone(),
        time: jiff::Timestamp::UNIX_EPOCH,
        resource: ResourceId {
            kind: "AwsS3Bucket".to_owned(),
            id: format!("arn:aws:s3:::{bucket}"),
        },
        parameters: serde_json::Map::from_iter([("Bucket".to_owned(), json!(bucket))]),
    };
    let root = aws.root(account, region);
    let observation = remediation.observe(subject);
    let observed = stanch_hub::observe(&*root, &stanch_testkit::models(), observation).await;
    observed.unwrap().plan().unwrap()
}

#[tokio::test]
async fn what_no_plan_holds_is_refused_a_second_time_by_the_session() {
    let emulator = Emulator::start().unwrap();
    let region: Region = "us-east-1".parse().unwrap();
    let aws = Emulated::at(&emulator.endpoint(), region.clone());
    let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let organization = Organization::create(emulator.endpoint(), &root, &everything)
        .await
        .unwrap();
    let account: AccountId = MEMBERS[0].0.parse().unwrap();
    let admin = root(&account, &region);
    for bucket in ["logs", "other"] {
        for operation in ["CreateBucket", "DeletePublicAccessBlock"] {
            let call = Call::new("s3", operation, json!({"Bucket": bucket}));
            admin.call(&call).await.unwrap();
        }
    }
    let plan = plan(&aws, &account, &region, "logs").await;
    let policy = plan.session_policy(&stanch_testkit::models()).unwrap();
    let scope = Scope {
        account,
        region,
        session_name: "stanch-test".to_owned(),
        access: Access::Policy(policy),
    };
    let session = aws.sessions(&organization).open(&scope).await.unwrap();

    // As if the gate had let them through: another resource, another action, another service.
    let planned = plan.writes().next().unwrap().clone();
    let mut elsewhere = planned.clone();
    elsewhere.params["Bucket"] = json!("other");
    let statement = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let tampered = [
        elsewhere,
        Call::new(
            "s3",
            "PutBucketPolicy",
            json!({"Bucket": "logs", "Policy": statement}),
        ),
        Call::new("s3", "DeleteBucket", json!({"Bucket": "logs"})),
        Call::new("iam", "CreateUser", json!({"UserName": "mallory"})),
    ];
    for call in tampered {
        let refused = session.call(&call).await.unwrap_err();
        assert_eq!(refused.kind, CallErrorKind::Denied, "{call}: {refused}");
    }
    session.call(&planned).await.unwrap();
}
