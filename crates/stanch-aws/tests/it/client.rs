//! What the client does when AWS, the network or the caller is not as they should be.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use stanch_aws::{Client, Environment};
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply};

use crate::server::{Answer, Server, client, client_with, error, reply};

async fn call(client: &Client, name: &str, params: Value) -> Result<Reply, CallError> {
    let (service, operation) = name.split_once('.').unwrap();
    client.call(&Call::new(service, operation, params)).await
}

const BUCKETS: &str = "<ListAllMyBucketsResult><Buckets><Bucket><Name>a</Name></Bucket></Buckets></ListAllMyBucketsResult>";

#[tokio::test]
async fn what_passes_is_tried_again() {
    for first in [
        || error(503, "ServiceUnavailable"),
        || error(500, "InternalError"),
        || error(503, "SlowDown"),
        || error(400, "ThrottlingException"),
        // As IAM says it.
        || error(400, "Throttling"),
        || error(400, "RequestTimeout"),
        || Answer::Close,
        || Answer::CutOff(BUCKETS.to_owned()),
        || reply(502, "<html>bad gateway</html>"),
        || reply(500, ""),
    ] {
        let server =
            Server::start(move |n, _| if n < 2 { first() } else { reply(200, BUCKETS) }).await;
        let (client, clock) = client(&server);
        let reply = call(&client, "s3.ListBuckets", json!({})).await.unwrap();
        assert_eq!(reply.output["Buckets"][0]["Name"], "a");
        assert_eq!(server.seen().len(), 3);
        assert_eq!(
            *clock.slept.lock().unwrap(),
            [1, 2].map(Duration::from_secs)
        );
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    for (answer, kind, code) in [
        (
            error(403, "AccessDenied"),
            CallErrorKind::Denied,
            "AccessDenied",
        ),
        (
            error(404, "NoSuchBucket"),
            CallErrorKind::Rejected,
            "NoSuchBucket",
        ),
        (
            error(403, "SignatureDoesNotMatch"),
            CallErrorKind::Credentials,
            "SignatureDoesNotMatch",
        ),
        (
            error(400, "ExpiredToken"),
            CallErrorKind::Credentials,
            "ExpiredToken",
        ),
        (reply(200, "<html><p>hello"), CallErrorKind::Unreadable, ""),
        (
            reply(200, "{\"json\": true}"),
            CallErrorKind::Unreadable,
            "",
        ),
        (reply(200, &BUCKETS[..60]), CallErrorKind::Unreadable, ""),
    ] {
        let answer = std::sync::Mutex::new(Some(answer));
        let server = Server::start(move |_, _| {
            answer
                .lock()
                .unwrap()
                .take()
                .unwrap_or_else(|| reply(200, BUCKETS))
        })
        .await;
        let (client, _) = client(&server);
        let error = call(&client, "s3.ListBuckets", json!({}))
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (kind, code), "{error}");
        assert_eq!(server.seen().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn tries_end() {
    let server = Server::start(|_, _| error(503, "SlowDown")).await;
    let (client, _) = client(&server);
    let error = call(&client, "s3.ListBuckets", json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_str()),
        (CallErrorKind::Throttled, "SlowDown")
    );
    assert_eq!(server.seen().len(), 3);

    let server = Server::start(|_, _| Answer::CutOff(BUCKETS.to_owned())).await;
    let (client, _) = client_with(&server, |setup| setup.attempts = 2);
    let error = call(&client, "s3.ListBuckets", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unanswered);
    assert!(error.kind.may_have_happened());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_never_answers_is_left() {
    let server = Server::start(|_, _| Answer::Hang).await;
    let (client, _) = client_with(&server, |setup| {
        setup.call_timeout = Duration::from_millis(50)
    });
    let error = call(&client, "s3.ListBuckets", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unanswered);
    assert_eq!(error.message, "no answer within 0.05 s");
}

#[tokio::test]
async fn nobody_there() {
    let server = Server::start(|_, _| Answer::Close).await;
    let (client, _) = client_with(&server, |setup| {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        setup.environment = Environment::new([
            ("AWS_ACCESS_KEY_ID", "a".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "b".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
        ]);
    });
    let error = call(&client, "sts.GetCallerIdentity", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unanswered, "{error}");
    assert!(error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn answers_have_a_limit() {
    let server = Server::start(|_, _| reply(200, &"x".repeat(5000))).await;
    let (client, _) = client_with(&server, |setup| setup.body_limit = 4096);
    let error = call(&client, "s3.GetObject", json!({"Bucket": "b", "Key": "k"}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unreadable);
    assert!(error.message.contains("4096"), "{error}");
}

#[tokio::test]
async fn a_wrong_call_is_not_sent() {
    let server = Server::start(|_, _| reply(200, "")).await;
    let (client, _) = client(&server);
    for (name, params, says) in [
        ("s4.ListBuckets", json!({}), "there is no AWS service `s4`"),
        ("s3.ListBucket", json!({}), "did you mean `ListBuckets`"),
        (
            "s3.ListBuckets",
            json!([]),
            "the parameters must be an object",
        ),
        ("s3.PutBucketAcl", json!({"Bucket": ""}), "`Bucket`"),
        (
            "s3.CopyObject",
            json!({"Bucket": "b", "Key": "k", "CopySource": "a\r\nx-evil: 1"}),
            "header `x-amz-copy-source`",
        ),
    ] {
        let error = call(&client, name, params).await.unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Invalid, "{name}");
        assert!(error.message.contains(says), "{error}");
    }
    let error = call(
        &client,
        "s3.PutPublicAccessBlock",
        json!({"Buckets": "b", "PublicAccessBlockConfiguration": {"BlockPublicAcl": 1}}),
    )
    .await
    .unwrap_err();
    for part in [
        "`Buckets`",
        "`PublicAccessBlockConfiguration.BlockPublicAcl`",
        "`Bucket`",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn requests_are_signed_and_summed() {
    let server = Server::start(|_, _| reply(200, "")).await;
    let (client, _) = client(&server);
    let params =
        json!({"Bucket": "demo", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    call(&client, "s3.PutPublicAccessBlock", params)
        .await
        .unwrap();
    let seen = server.seen();
    let request = &seen[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("PUT", "/demo?publicAccessBlock")
    );
    assert_eq!(request.header("x-amz-date"), "20260101T000000Z");
    assert_eq!(request.header("x-amz-sdk-checksum-algorithm"), "CRC32");
    let sum = crc32fast::hash(request.body.as_bytes()).to_be_bytes();
    let sum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sum);
    assert_eq!(request.header("x-amz-checksum-crc32"), sum);
    assert_eq!(request.header("x-amz-content-sha256").len(), 64);
    let authorization = request.header("authorization");
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request, SignedHeaders=content-type;host;x-amz-checksum-crc32;x-amz-content-sha256;x-amz-date;"),
        "{authorization}"
    );
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start(|_, _| reply(200, BUCKETS)).await;
    let (client, _) = client(&server);
    for _ in 0..5 {
        call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_in_a_200_is_an_error() {
    let server = Server::start(|_, _| error(200, "InternalError")).await;
    let (client, _) = client(&server);
    let params = json!({"Bucket": "b", "Key": "k", "CopySource": "a/k"});
    let failed = call(&client, "s3.CopyObject", params).await.unwrap_err();
    assert_eq!(failed.kind, CallErrorKind::Server);
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_is_not_sent_again() {
    let check = async |name: &str, params: Value, times: usize| {
        let server = Server::start(|_, _| error(500, "InternalError")).await;
        let (client, _) = client(&server);
        let failed = call(&client, name, params).await.unwrap_err();
        assert_eq!(failed.kind, CallErrorKind::Server, "{name}");
        assert_eq!(server.seen().len(), times, "{name}");
    };
    check("s3.ListBuckets", json!({}), 3).await;
    check("s3.DeleteBucket", json!({"Bucket": "demo"}), 1).await;
    // AWS knows it by the token that the client fills in.
    check("ec2.CreateNatGateway", json!({"SubnetId": "subnet-1"}), 3).await;
}

#[tokio::test]
async fn a_bucket_in_another_region_is_followed_there() {
    let server = Server::start(|_, request| {
        if request.header("authorization").contains("/eu-west-1/s3/") {
            return reply(200, "");
        }
        match request.method.as_str() {
            "HEAD" => Answer::Reply(400, vec![("x-amz-bucket-region", "eu-west-1".into())], String::new()),
            _ => reply(
                400,
                "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region></Error>",
            ),
        }
    })
    .await;
    let bucket = json!({"Bucket": "moved"});
    for operation in ["s3.GetBucketAcl", "s3.HeadBucket"] {
        let before = server.seen().len();
        let (client, clock) = client(&server);
        call(&client, operation, bucket.clone()).await.unwrap();
        assert_eq!(server.seen().len(), before + 2);
        call(&client, operation, bucket.clone()).await.unwrap();
        assert_eq!(server.seen().len(), before + 3, "the region is remembered");
        assert!(clock.slept.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_redirect_to_another_partition_is_not_followed() {
    let server = Server::start(|_, _| {
        Answer::Reply(
            301,
            vec![("x-amz-bucket-region", "cn-north-1".into())],
            String::new(),
        )
    })
    .await;
    let (client, _) = client(&server);
    let error = call(&client, "s3.HeadBucket", json!({"Bucket": "moved"}))
        .await
        .unwrap_err();
    assert_eq!((error.code.as_str(), server.seen().len()), ("301", 1));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected() {
    let server = Server::start(|_, request| {
        if request.header("x-amz-date") == "20260101T010000Z" {
            return reply(200, BUCKETS);
        }
        let date = ("date", "Thu, 01 Jan 2026 01:00:00 GMT".to_owned());
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>";
        Answer::Reply(403, vec![date], body.to_owned())
    })
    .await;
    let (client, _) = client(&server);
    call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn calls_say_which_trace_they_belong_to() {
    let server = Server::start(|_, _| reply(200, BUCKETS)).await;
    let (client, _) = client(&server);
    let trace = |n: usize| server.seen()[n].header("x-amzn-trace-id").to_owned();
    call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    assert_eq!(trace(0), "");
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    client.clone().set_trace(Some(header));
    call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    assert_eq!(trace(1), header);
    let signed = server.seen()[1].header("authorization").to_owned();
    assert!(!signed.contains("trace"), "{signed}");
    client.set_trace(None);
    call(&client, "s3.ListBuckets", json!({})).await.unwrap();
    assert_eq!(trace(2), "");
}

#[tokio::test]
async fn tokens_are_filled_in_and_stay_the_same() {
    let server = Server::start(|n, _| match n {
        0 => error(503, "Unavailable"),
        _ => reply(200, "<RunInstancesResponse/>"),
    })
    .await;
    let (client, _) = client(&server);
    let token = |n: usize| {
        let body = server.seen()[n].body.clone();
        let (_, rest) = body.split_once("ClientToken=").unwrap();
        rest.split('&').next().unwrap().to_owned()
    };
    let params = |n: u64| json!({"MinCount": n, "MaxCount": n, "ImageId": "ami-1"});
    call(&client, "ec2.RunInstances", params(1)).await.unwrap();
    assert_eq!(token(0), token(1), "a retry has the token of the first try");
    call(&client, "ec2.RunInstances", params(1)).await.unwrap();
    assert_ne!(token(1), token(2));
    for seed in ["execution-1", "execution-1", "execution-2"] {
        let seeded = client.with_token_seed(seed);
        call(&seeded, "ec2.RunInstances", params(1)).await.unwrap();
    }
    assert_eq!(token(3), token(4));
    assert_ne!(token(4), token(5));
    call(
        &client.with_token_seed("execution-1"),
        "ec2.RunInstances",
        params(2),
    )
    .await
    .unwrap();
    assert_ne!(token(3), token(6), "another call has another token");
    let given = json!({"MinCount": 1, "MaxCount": 1, "ClientToken": "mine"});
    call(&client, "ec2.RunInstances", given).await.unwrap();
    assert_eq!(token(7), "mine");
}

#[tokio::test]
async fn no_credentials_no_request() {
    let server = Server::start(|_, _| reply(200, BUCKETS)).await;
    let (client, _) = client(&server);
    assert!(call(&client, "s3.ListBuckets", json!({})).await.is_ok());
    let keyless = client.with_credentials("id", "secret", Some("token"));
    call(&keyless, "s3.ListBuckets", json!({})).await.unwrap();
    assert_eq!(server.seen()[1].header("x-amz-security-token"), "token");
    // Without a signature: nothing to look up.
    let cognito = json!({"IdentityPoolId": "us-east-1:00000000-0000-0000-0000-000000000000"});
    let error = call(&client, "cognito-identity.GetId", cognito)
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unreadable);
    assert_eq!(server.seen()[2].header("authorization"), "");
}

#[tokio::test]
async fn https_is_not_spoken_to_a_server_without_it() {
    // It hangs up on what is no request of HTTP.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let server = Server::start(|_, _| Answer::Close).await;
    let (client, _) = client_with(&server, |setup| {
        setup.environment = Environment::new([
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_ENDPOINT_URL", &url),
        ]);
        setup.attempts = 1;
    });
    let error = call(&client, "s3.ListBuckets", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unanswered, "{error}");
    assert!(error.message.starts_with("no answer: "), "{error}");
}
