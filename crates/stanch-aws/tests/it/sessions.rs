//! Roles: one AssumeRole for all who ask for the same, again before it expires.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use stanch_aws::{MemberRole, MemberSessions, RoleSession, SessionsSetup};
use stanch_types::{Access, Api, Call, CallErrorKind, Scope, Secret, Sessions};

use crate::server::{Answer, NOW, Seen, Server, client, error, reply};

fn assumed(number: usize, seconds: i64) -> Answer {
    let expiry = jiff::Timestamp::from_second(NOW + seconds).unwrap();
    reply(
        200,
        &format!(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA{number}</AccessKeyId>\
             <SecretAccessKey>s</SecretAccessKey><SessionToken>t{number}</SessionToken>\
             <Expiration>{expiry}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ),
    )
}

fn is_assume(request: &Seen) -> bool {
    request.body.contains("Action=AssumeRole")
}

fn scope(account: &str, session: &str, policy: &str) -> Scope {
    Scope {
        account: account.parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        session_name: session.to_owned(),
        access: Access::Policy(policy.to_owned()),
    }
}

fn setup() -> SessionsSetup {
    let role = |name: &str, id: &str| MemberRole {
        name: name.to_owned(),
        external_id: Some(Secret::new(id.to_owned())),
    };
    SessionsSetup {
        role: role("Remediation", "external-1"),
        accounts: HashMap::from([(
            "333333333333".parse().unwrap(),
            role("team/Own", "external-3"),
        )]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_assume_once() {
    let server = Server::start(|n, request| {
        if is_assume(request) {
            assumed(n, 900)
        } else {
            reply(200, "<a/>")
        }
    })
    .await;
    let (hub, _) = client(&server);
    let sessions = Arc::new(MemberSessions::new(hub, setup()));
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let sessions = sessions.clone();
        tasks.push(tokio::spawn(async move {
            let api = sessions
                .open(&scope("222222222222", "run-1", "{}"))
                .await
                .unwrap();
            api.call(&Call::new("s3", "ListBuckets", json!({})))
                .await
                .unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|request| is_assume(request)).count(), 1);
    assert_eq!(seen.len(), 51);
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A222222222222%3Arole%2FRemediation",
        "RoleSessionName=run-1",
        "ExternalId=external-1",
        "DurationSeconds=900",
        "Policy=%7B%7D",
    ] {
        assert!(seen[0].body.contains(part), "{part}: {}", seen[0].body);
    }
    assert!(
        seen[50]
            .header("authorization")
            .contains("Credential=ASIA0/")
    );
    assert_eq!(seen[50].header("x-amz-security-token"), "t0");
}

#[tokio::test]
async fn sessions_differ_by_all_that_matters() {
    let server = Server::start(|n, _| assumed(n, 900)).await;
    let (hub, _) = client(&server);
    let sessions = MemberSessions::new(hub, setup());
    let mut china = scope("222222222222", "run-1", "{}");
    china.region = "cn-north-1".parse().unwrap();
    let mut reading = scope("222222222222", "run-1", "{}");
    reading.access = Access::Read("{}  ".to_owned());
    for scope in [
        scope("222222222222", "run-1", "{}"),
        scope("222222222222", "run-2", "{}"),
        scope("222222222222", "run-1", "{ }"),
        scope("333333333333", "run-1", "{}"),
        china,
        reading,
    ] {
        for _ in 0..2 {
            sessions.open(&scope).await.unwrap();
        }
    }
    let bodies: Vec<_> = server
        .seen()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies.len(), 6);
    assert!(
        bodies[3].contains("333333333333%3Arole%2Fteam%2FOwn"),
        "{}",
        bodies[3]
    );
    assert!(bodies[3].contains("ExternalId=external-3"), "{}", bodies[3]);
    assert!(bodies[4].contains("arn%3Aaws-cn%3Aiam"), "{}", bodies[4]);
    assert!(bodies[5].contains("Policy=%7B%7D"), "{}", bodies[5]);
}

#[tokio::test]
async fn a_session_is_renewed_before_it_expires() {
    let server = Server::start(|n, request| {
        if is_assume(request) {
            assumed(n, 900 * (1 + n as i64))
        } else {
            reply(200, "<a/>")
        }
    })
    .await;
    let (hub, clock) = client(&server);
    let sessions = MemberSessions::new(hub, setup());
    let api = sessions
        .open(&scope("222222222222", "run-1", "{}"))
        .await
        .unwrap();
    let list = Call::new("s3", "ListBuckets", json!({}));
    api.call(&list).await.unwrap();
    clock.forward(700);
    api.call(&list).await.unwrap();
    assert_eq!(server.seen().iter().filter(|r| is_assume(r)).count(), 1);
    clock.forward(100);
    api.call(&list).await.unwrap();
    assert_eq!(server.seen().iter().filter(|r| is_assume(r)).count(), 2);
    assert!(server.seen()[4].header("authorization").contains("ASIA3"));
}

#[tokio::test]
async fn a_session_that_aws_calls_expired_is_renewed_once() {
    let server = Server::start(|n, request| {
        if is_assume(request) {
            assumed(n, 900)
        } else if request.header("authorization").contains("ASIA0/") {
            error(400, "ExpiredToken")
        } else {
            reply(200, "<a/>")
        }
    })
    .await;
    let (hub, _) = client(&server);
    let sessions = MemberSessions::new(hub, setup());
    let api = sessions
        .open(&scope("222222222222", "run-1", "{}"))
        .await
        .unwrap();
    api.call(&Call::new("s3", "ListBuckets", json!({})))
        .await
        .unwrap();
    let kinds: Vec<_> = server.seen().iter().map(is_assume).collect();
    assert_eq!(kinds, [true, false, true, false]);
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_told_at_once() {
    let server = Server::start(|_, _| {
        reply(
            403,
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>",
        )
    })
    .await;
    let (hub, _) = client(&server);
    let sessions = MemberSessions::new(hub, setup());
    let error = sessions
        .open(&scope("222222222222", "run-1", "{}"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, CallErrorKind::Credentials);
    assert_eq!(error.code, "AccessDenied");
    assert!(error.message.contains("not authorized"), "{error}");
    assert_eq!(server.seen().len(), 1);

    let long = "x".repeat(2049);
    let error = sessions
        .open(&scope("222222222222", "run-1", &long))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, CallErrorKind::Invalid);
    assert_eq!(
        server.seen().len(),
        1,
        "nothing is sent with a policy that is too long"
    );
}

#[tokio::test]
async fn roles_chain() {
    let server = Server::start(|n, request| {
        if is_assume(request) {
            assumed(n, 900)
        } else {
            reply(200, "<a/>")
        }
    })
    .await;
    let (hub, _) = client(&server);
    let session = |arn: &str| RoleSession {
        role_arn: arn.to_owned(),
        session_name: "chain".to_owned(),
        external_id: None,
        policy: None,
        duration: std::time::Duration::from_secs(900),
    };
    let second = hub
        .as_role(session("arn:aws:iam::222222222222:role/one"))
        .as_role(session("arn:aws:iam::333333333333:role/two"));
    second
        .call(&Call::new("s3", "ListBuckets", json!({})))
        .await
        .unwrap();
    let seen = server.seen();
    assert!(
        seen[1].header("authorization").contains("ASIA0/"),
        "one signs for two"
    );
    assert!(seen[2].header("authorization").contains("ASIA1/"));
    assert!(!format!("{:?}", session("a")).contains("external_id"));
}
