use serde_json::json;
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
