use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch_ledger::{
    Admission, Event, Ledger as _, Letter, MemoryLedger, Phase, StepOutcome,
    testing::{key, received, step_finished, step_started, success},
};
use stanch_operate::doctor::{Issue, Report, State, examine, mend};
use stanch_testkit::FakeApi;
use stanch_types::{Call, CallError, CallErrorKind};

use crate::world::{World, administrator, denied, installation, line, member, now, patient};

async fn report(world: &World) -> Report {
    let installation = installation();
    let ledger = MemoryLedger::default();
    let mut patient = patient(&installation);
    patient.ledger = Some(&ledger);
    examine(world, &patient).await
}

#[tokio::test]
async fn a_healthy_installation_has_only_good_lines() {
    let report = report(&World::new(administrator(), member())).await;
    let bad: Vec<_> = report
        .lines
        .iter()
        .filter(|line| line.state != State::Ok)
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(report.deployed, Some(true));
    assert_eq!(report.worst(), State::Ok);
    assert!(report.lines.len() > 40, "{}", report.lines.len());
    assert_eq!(report.fixes().count(), 0);
}

/// One thing is wrong: exactly these lines say so, and nothing else changes.
async fn wrong(world: World, expected: &[(&str, State, &str)]) -> Report {
    let report = report(&world).await;
    for (what, state, seen) in expected {
        let line = line(&report.lines, what);
        assert_eq!(line.state, *state, "{line:#?}");
        assert!(line.seen.contains(seen), "{line:#?}");
        assert!(line.advice.is_some(), "{line:#?}");
    }
    let others = report.lines.iter().filter(|line| {
        line.state != State::Ok && !expected.iter().any(|(what, ..)| line.what.contains(what))
    });
    let others: Vec<_> = others.collect();
    assert!(others.is_empty(), "{others:#?}");
    report
}

async fn wrong_here(own: FakeApi, expected: &[(&str, State, &str)]) -> Report {
    wrong(World::new(own, member()), expected).await
}

async fn wrong_there(member: FakeApi, expected: &[(&str, State, &str)]) -> Report {
    wrong(World::new(administrator(), member), expected).await
}

const TOPIC: &str = "topic SecurityRemediationNotifications";

#[tokio::test]
async fn issue_1_the_role_cannot_be_assumed() {
    use State::{Problem, Unknown, Warning};
    // It does not exist.
    let nobody = |call: &Call| Err(denied(call));
    wrong(
        World::new(
            administrator().on("sts.AssumeRole", nobody),
            member().refuses("iam.GetRole", "NoSuchEntity"),
        ),
        &[
            ("entering the role", Problem, "not authorized"),
            (
                "role SecurityRemediationCrossAccountRole",
                Problem,
                "does not exist",
            ),
        ],
    )
    .await;
    let trust = |principal: Value, id: Value| {
        let trust = json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": id}}}]});
        json!({"Role": {"AssumeRolePolicyDocument": trust.to_string(), "PermissionsBoundary": {"PermissionsBoundaryArn": "b"}}})
    };
    let own = |id: &str| json!({"AWS": format!("arn:aws:iam::{id}:role/OrchestratorLambdaRole")});
    // It trusts another account, everybody, or a whole account.
    for (principal, state, seen) in [
        (own("333333333333"), Problem, "333333333333"),
        (json!("*"), Problem, "everybody"),
        (json!({"AWS": "*"}), Problem, "everybody"),
        (
            json!({"Service": "lambda.amazonaws.com"}),
            Problem,
            "nobody",
        ),
        (
            json!({"AWS": "arn:aws:iam::111111111111:root"}),
            Warning,
            "the whole account",
        ),
    ] {
        wrong_there(
            member().returns("iam.GetRole", trust(principal, json!("the-right-id"))),
            &[("whom the role trusts", state, seen)],
        )
        .await;
    }
    // Its external id is another one, or none.
    let what = "the external id that the role asks for";
    wrong_there(
        member().returns("iam.GetRole", trust(own("111111111111"), json!("another"))),
        &[(what, Problem, "is another")],
    )
    .await;
    wrong(
        World::new(
            administrator().returns("sts.AssumeRole", json!({})),
            member().returns("iam.GetRole", trust(own("111111111111"), json!([]))),
        ),
        &[
            (what, Problem, "none"),
            ("a wrong external id", Problem, "is accepted"),
        ],
    )
    .await;
    // The boundary is gone.
    let mut bare = trust(own("111111111111"), json!("the-right-id"));
    bare["Role"]
        .as_object_mut()
        .unwrap()
        .remove("PermissionsBoundary");
    wrong_there(
        member().returns("iam.GetRole", bare),
        &[("the role's boundary", Warning, "there is none")],
    )
    .await;
    // The orchestrator may not.
    let may_not = |call: &Call| {
        let denied = call.params["ActionNames"][0] == "sts:AssumeRole";
        Ok(
            json!({"EvaluationResults": [{"EvalDecision": if denied { "implicitDeny" } else { "allowed" }}]}),
        )
    };
    wrong_here(
        administrator().on("iam.SimulatePrincipalPolicy", may_not),
        &[(
            "the orchestrator may sts:AssumeRole",
            Problem,
            "implicitDeny",
        )],
    )
    .await;
    // Who asks is not the orchestrator, and is refused: that says nothing.
    let person = json!({"Account": "111111111111", "Arn": "arn:aws:iam::111111111111:user/me"});
    wrong_here(
        administrator()
            .returns("sts.GetCallerIdentity", person)
            .on("sts.AssumeRole", nobody),
        &[("entering the role", Unknown, "you are refused")],
    )
    .await;
    // Nobody can look into the account.
    let mut world = World::new(administrator(), member());
    world.member = None;
    let report = wrong(world, &[("the account from within", Unknown, "no role")]).await;
    assert_eq!(line(&report.lines, "entering the role").state, State::Ok);
}

#[tokio::test]
async fn issue_2_fixed_is_fixed() {
    use State::{Problem, Unknown, Warning};
    let may_not = |call: &Call| {
        let denied = call.params["ActionNames"][0] == "s3:PutBucketPublicAccessBlock";
        Ok(
            json!({"EvaluationResults": [{"EvalDecision": if denied { "explicitDeny" } else { "allowed" }}]}),
        )
    };
    wrong_there(
        member().on("iam.SimulatePrincipalPolicy", may_not),
        &[(
            "the role may s3:PutBucketPublicAccessBlock",
            Warning,
            "explicitDeny",
        )],
    )
    .await;
    let document = |status: &str, name: &str| json!({"Document": {"Status": status, "DocumentVersion": "3", "VersionName": name}});
    let what = "document RemediateS3PublicAccess";
    wrong_there(
        member().returns("ssm.DescribeDocument", document("Active", "v-0")),
        &[(what, Warning, "`v-0`")],
    )
    .await;
    wrong_there(
        member().returns("ssm.DescribeDocument", document("Failed", "v-1")),
        &[(what, Problem, "failed")],
    )
    .await;
    wrong_there(
        member().on("ssm.DescribeDocument", |call| Err(denied(call))),
        &[(what, Unknown, "not authorized")],
    )
    .await;
    wrong_there(
        member().refuses("ssm.DescribeDocument", "InvalidDocument"),
        &[],
    )
    .await;
}

#[tokio::test]
async fn issue_3_the_audit_log_is_throttled() {
    use State::{Problem, Warning};
    let metric = |name: &'static str, sum: f64| {
        move |call: &Call| match call.params["MetricName"] == name
            && call.params["Dimensions"][0]["Value"] == "SecurityRemediationAuditLog"
        {
            true => Ok(json!({"Datapoints": [{"Sum": sum}, {"Sum": 1.0}]})),
            false => Ok(json!({"Datapoints": []})),
        }
    };
    let what = "WriteThrottleEvents of SecurityRemediationAuditLog";
    wrong_here(
        administrator().on(
            "cloudwatch.GetMetricStatistics",
            metric("WriteThrottleEvents", 11.0),
        ),
        &[(what, Problem, "12 in 24 hours, 11 in the worst minute")],
    )
    .await;
    wrong_here(
        administrator().on(
            "cloudwatch.GetMetricStatistics",
            metric("WriteThrottleEvents", 2.0),
        ),
        &[(what, Warning, "3 in 24 hours")],
    )
    .await;
    let audit_log = |operation: &str, answer: Value, other: Value| {
        administrator().on(operation, move |call| {
            Ok(
                if call.params["TableName"] == "SecurityRemediationAuditLog" {
                    answer.clone()
                } else {
                    other.clone()
                },
            )
        })
    };
    let table = |status: &str, mode: &str| json!({"Table": {"TableStatus": status, "BillingModeSummary": {"BillingMode": mode}}});
    let active = table("ACTIVE", "PAY_PER_REQUEST");
    let what = "table SecurityRemediationAuditLog";
    let report = wrong_here(
        audit_log(
            "dynamodb.DescribeTable",
            table("ACTIVE", "PROVISIONED"),
            active.clone(),
        ),
        &[(what, Warning, "provisioned")],
    )
    .await;
    assert_eq!(report.fixes().next().unwrap().call.operation, "UpdateTable");
    wrong_here(
        audit_log(
            "dynamodb.DescribeTable",
            table("ARCHIVED", "PAY_PER_REQUEST"),
            active,
        ),
        &[(what, Problem, "archived")],
    )
    .await;
    wrong_here(audit_log("dynamodb.DescribeContinuousBackups", json!({}), json!({"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}})), &[("backups of SecurityRemediationAuditLog", Warning, "off")]).await;
    wrong_here(
        audit_log(
            "dynamodb.DescribeTimeToLive",
            json!({}),
            json!({"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}),
        ),
        &[(
            "time to live of SecurityRemediationAuditLog",
            Warning,
            "off",
        )],
    )
    .await;
}

#[tokio::test]
async fn issue_4_nobody_is_told() {
    use State::{Problem, Warning};
    let pending = json!({"Subscriptions": [{"Protocol": "email", "Endpoint": "a@example.com", "SubscriptionArn": "PendingConfirmation"}]});
    let own = administrator()
        .returns("sns.ListSubscriptionsByTopic", pending)
        .returns("sns.Subscribe", json!({}));
    let world = World::new(own, member());
    let report = report(&world).await;
    assert_eq!(
        line(&report.lines, "subscription of a@example.com").state,
        Problem
    );
    // What mends it is shown first, and is one request.
    let fix = report.fixes().next().unwrap();
    assert_eq!(
        fix.call.params,
        json!({"TopicArn": "arn:aws:sns:us-east-1:111111111111:SecurityRemediationNotifications", "Protocol": "email", "Endpoint": "a@example.com"})
    );
    mend(&world, fix).await.unwrap();
    assert!(
        world
            .own
            .0
            .calls()
            .iter()
            .any(|call| call.operation == "Subscribe")
    );

    let only_lambda = json!({"Subscriptions": [{"Protocol": "lambda", "Endpoint": "f", "SubscriptionArn": "arn"}]});
    wrong_here(
        administrator().returns("sns.ListSubscriptionsByTopic", only_lambda),
        &[("subscriptions of", Warning, "nobody")],
    )
    .await;
    let closed = json!({"Attributes": {"Policy": r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":["SNS:*"]}}"#}});
    wrong_here(
        administrator().returns("sns.GetTopicAttributes", closed),
        &[(TOPIC, Problem, "denies")],
    )
    .await;
    let failed = |call: &Call| {
        let failed = call.params["MetricName"] == "NumberOfNotificationsFailed";
        Ok(json!({"Datapoints": if failed { json!([{"Sum": 4.0}]) } else { json!([]) }}))
    };
    wrong_here(
        administrator().on("cloudwatch.GetMetricStatistics", failed),
        &[("deliveries of", Problem, "4 failed")],
    )
    .await;
    let may_not = |call: &Call| {
        let denied = call.params["ActionNames"][0] == "sns:Publish";
        Ok(
            json!({"EvaluationResults": [{"EvalDecision": if denied { "implicitDeny" } else { "allowed" }}]}),
        )
    };
    wrong_here(
        administrator().on("iam.SimulatePrincipalPolicy", may_not),
        &[("the orchestrator may sns:Publish", Problem, "implicitDeny")],
    )
    .await;
}

#[tokio::test]
async fn issue_5_something_is_stuck() {
    use State::{Problem, Warning};
    let of = |status: &'static str, executions: Value| {
        administrator().on("stepfunctions.ListExecutions", move |call| {
            Ok(json!({"executions": if call.params["statusFilter"] == status { executions.clone() } else { json!([]) }}))
        })
    };
    let one = |began: &str, ended: &str| json!([{"executionArn": "e", "name": "e", "startDate": began, "stopDate": ended}]);
    wrong_here(
        of("RUNNING", one("2026-01-01T00:00:00Z", "")),
        &[(
            "running executions of SecurityRemediationWorkflow",
            Problem,
            "runs since 2026-01-01T00:00:00Z",
        )],
    )
    .await;
    let history = json!({"events": [{"type": "ExecutionTimedOut"}, {"stateEnteredEventDetails": {"name": "WaitForApprovals"}}]});
    let report = report(&World::new(
        of(
            "TIMED_OUT",
            one("2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z"),
        )
        .returns("stepfunctions.GetExecutionHistory", history),
        member(),
    ))
    .await;
    let late = line(&report.lines, "timed-out executions");
    assert_eq!(late.state, Problem);
    assert!(
        late.advice.as_ref().unwrap().contains("nobody approved"),
        "{late:#?}"
    );
    // Longer ago than a week it is history.
    wrong_here(
        of(
            "TIMED_OUT",
            one("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ),
        &[],
    )
    .await;

    let full = |call: &Call| {
        let waiting = if call.params["QueueUrl"] == "DeadLetters" {
            "2"
        } else {
            "0"
        };
        Ok(json!({"Attributes": {"ApproximateNumberOfMessages": waiting, "QueueArn": "arn"}}))
    };
    let url = |call: &Call| {
        Ok(
            json!({"QueueUrl": call.params["QueueName"].as_str().unwrap().trim_start_matches("SecurityRemediation")}),
        )
    };
    wrong_here(
        administrator()
            .on("sqs.GetQueueUrl", url)
            .on("sqs.GetQueueAttributes", full),
        &[("queue SecurityRemediationDeadLetters", Warning, "2 waiting")],
    )
    .await;
    let stuck = json!({"AutomationExecutionMetadataList": [{"AutomationExecutionId": "a", "ExecutionStartTime": "2026-02-01T10:00:00Z"}]});
    wrong_there(
        member().returns("ssm.DescribeAutomationExecutions", stuck),
        &[("automation executions", Problem, "1 in progress")],
    )
    .await;
}

#[tokio::test]
async fn what_all_stands_on() {
    use State::{Problem, Warning};
    let key = |state: &str| json!({"KeyMetadata": {"KeyId": "k", "KeyState": state}});
    wrong_here(
        administrator().returns("kms.DescribeKey", key("PendingDeletion")),
        &[("key alias/SecurityRemediation", Problem, "PendingDeletion")],
    )
    .await;
    let report = wrong_here(
        administrator().returns(
            "kms.GetKeyRotationStatus",
            json!({"KeyRotationEnabled": false}),
        ),
        &[("key alias", Warning, "not rotated")],
    )
    .await;
    assert_eq!(
        report.fixes().next().unwrap().call.to_string(),
        "kms.EnableKeyRotation"
    );
    wrong_here(
        administrator().returns(
            "lambda.ListEventSourceMappings",
            json!({"EventSourceMappings": [{"UUID": "u", "State": "Disabled"}]}),
        ),
        &[("trigger", Problem, "disabled")],
    )
    .await;
    wrong_there(
        member().refuses("securityhub.DescribeHub", "InvalidAccessException"),
        &[("Security Hub in us-east-1", Warning, "off")],
    )
    .await;
    let config = |recorders: Value| json!({"ConfigurationRecordersStatus": recorders});
    for (recorders, state, seen) in [
        (json!([]), Warning, "no recorder"),
        (json!([{"recording": false}]), Warning, "stopped"),
        (
            json!([{"recording": true, "lastStatus": "Failure", "lastErrorMessage": "no bucket"}]),
            Problem,
            "no bucket",
        ),
    ] {
        wrong_there(
            member().returns(
                "config.DescribeConfigurationRecorderStatus",
                config(recorders),
            ),
            &[("AWS Config in us-east-1", state, seen)],
        )
        .await;
    }
    let rule = |call: &Call| {
        Ok(
            json!({"State": if call.params["Name"] == "SecurityRemediationManual" { "DISABLED" } else { "ENABLED" }}),
        )
    };
    wrong_here(
        administrator().on("events.DescribeRule", rule),
        &[("rule SecurityRemediationManual", Problem, "disabled")],
    )
    .await;
    let function = |call: &Call| match call.params["FunctionName"] == "SecurityRemediationNotifier"
    {
        true => Ok(
            json!({"State": "Failed", "LastUpdateStatus": "Failed", "StateReason": "the key is gone"}),
        ),
        false => Ok(json!({"State": "Active"})),
    };
    wrong_here(
        administrator().on("lambda.GetFunctionConfiguration", function),
        &[(
            "function SecurityRemediationNotifier",
            Problem,
            "the key is gone",
        )],
    )
    .await;
}

#[tokio::test]
async fn clock_endpoints_and_credentials() {
    use State::{Problem, Unknown};
    let mut world = World::new(administrator(), member());
    world.ahead = Some(SignedDuration::from_mins(-6));
    wrong(world, &[("clock", Problem, "360 s before AWS's")]).await;
    let mut world = World::new(administrator(), member());
    world.ahead = None;
    wrong(world, &[("clock", Unknown, "did not answer")]).await;
    let silent = |call: &Call| {
        Err(CallError::new(
            CallErrorKind::Unanswered,
            call,
            "connection refused",
        ))
    };
    wrong_here(
        administrator().on("kms.DescribeKey", silent),
        &[
            ("key alias", Unknown, "connection refused"),
            ("the endpoint of kms", Problem, "connection refused"),
        ],
    )
    .await;
    // Without credentials nothing more can be told, and nothing is called well.
    let none = |call: &Call| {
        Err(CallError::new(
            CallErrorKind::Credentials,
            call,
            "no AWS credentials",
        ))
    };
    let report = report(&World::new(
        FakeApi::new().on("sts.GetCallerIdentity", none),
        member(),
    ))
    .await;
    assert_eq!(line(&report.lines, "your credentials").state, Problem);
    assert_eq!(report.deployed, None);
}

/// Whatever AWS refuses to tell is unknown: no error makes a good line.
#[tokio::test]
async fn an_error_is_never_good() {
    let world = World::new(administrator(), member());
    report(&world).await;
    let calls = world.own.0.calls();
    let theirs = world.member.as_ref().unwrap().0.calls();
    let operations = |calls: Vec<Call>| {
        calls
            .iter()
            .map(Call::to_string)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let mut tried = 0;
    for (calls, mine) in [(calls, true), (theirs, false)] {
        for operation in operations(calls) {
            let refuse = |api: FakeApi, yes: bool| match yes {
                true => api.on(&operation, |call| Err(denied(call))),
                false => api,
            };
            let report = report(&World::new(
                refuse(administrator(), mine),
                refuse(member(), !mine),
            ))
            .await;
            assert!(
                report.worst() >= State::Unknown,
                "{operation}: {:#?}",
                report.lines
            );
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

/// On one machine nothing of AWS's is asked for but accounts and roles.
#[tokio::test]
async fn one_machine_needs_little() {
    let own = FakeApi::new()
        .returns(
            "sts.GetCallerIdentity",
            json!({"Account": "111111111111", "Arn": "arn:aws:iam::111111111111:user/stanch"}),
        )
        .on("sts.AssumeRole", |call| {
            match call.params["ExternalId"].as_str() {
                Some("the-right-id") => Ok(json!({})),
                _ => Err(denied(call)),
            }
        })
        .refuses(
            "lambda.GetFunctionConfiguration",
            "ResourceNotFoundException",
        );
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111111111111:user/stanch"]}, "Condition": {"StringEquals": {"sts:ExternalId": ["the-right-id"]}}}});
    let role = json!({"Role": {"AssumeRolePolicyDocument": trust, "PermissionsBoundary": {"PermissionsBoundaryArn": "b"}}});
    let report = wrong(World::new(own, member().returns("iam.GetRole", role)), &[]).await;
    assert_eq!(report.deployed, Some(false));
    assert_eq!(
        line(&report.lines, "whom the role trusts").seen,
        "arn:aws:iam::111111111111:user/stanch"
    );
}

/// A history in a ledger: each finding was admitted so long ago, and this happened to it then.
async fn history(told: &[(u64, SignedDuration, Vec<Event>)]) -> MemoryLedger {
    let ledger = MemoryLedger::default();
    for (n, ago, events) in told {
        let at = now() - *ago;
        let Admission::New(id) = ledger.admit(key(*n), received(*n), at).await.unwrap() else {
            panic!("{n} twice")
        };
        ledger.append(id, 1, events.clone(), at).await.unwrap();
    }
    ledger
}

async fn by_ledger(ledger: &MemoryLedger) -> Report {
    let installation = installation();
    let mut patient = patient(&installation);
    patient.ledger = Some(ledger);
    examine(&World::new(administrator(), member()), &patient).await
}

#[tokio::test]
async fn the_ledger_tells_what_did_not_end_or_last() {
    let minutes = SignedDuration::from_mins;
    let told = || Event::Notified {
        channel: "log".to_owned(),
        ok: true,
        error: None,
        asked: Vec::new(),
    };
    let mut fine = success();
    fine.push(told());
    let failed = || {
        let mut events = success();
        events.truncate(3);
        events.extend([
            step_started(Phase::Apply, 0),
            step_finished(
                Phase::Apply,
                0,
                StepOutcome::Failed {
                    kind: CallErrorKind::Denied,
                    code: "AccessDenied".to_owned(),
                    message: "no".to_owned(),
                },
            ),
        ]);
        events
    };
    let report = by_ledger(&history(&[(1, minutes(50), fine.clone())]).await).await;
    assert_eq!(report.worst(), State::Ok, "{:#?}", report.lines);

    let report =
        by_ledger(&history(&[(1, minutes(90), failed()), (2, minutes(5), failed())]).await).await;
    let stuck = line(&report.lines, "remediations at work");
    assert_eq!((stuck.state, stuck.issue), (State::Problem, Issue::Stuck));
    assert!(stuck.seen.starts_with("1 without news"), "{stuck:#?}");

    let report = by_ledger(&history(&[(1, minutes(5), success())]).await).await;
    assert_eq!(
        line(&report.lines, "nobody was told of").state,
        State::Warning
    );

    let ledger = history(&[]).await;
    let letter = Letter {
        source: "sqs".to_owned(),
        reason: "not understood".to_owned(),
        body: "x".to_owned(),
    };
    ledger.bury(letter, now()).await.unwrap();
    assert_eq!(
        line(&by_ledger(&ledger).await.lines, "dead letters").seen,
        "1"
    );

    // The same resource again, under another finding's generation.
    let ledger = history(&[(1, minutes(50), fine)]).await;
    let again = (*received(1)).clone();
    let other = stanch_ledger::IdempotencyKey::new(
        &again.account,
        &again.region,
        &again.resource_id,
        &again.remediation,
        "2",
    );
    ledger
        .admit(other, again.into(), now() - minutes(5))
        .await
        .unwrap();
    let back = by_ledger(&ledger).await;
    let back = line(&back.lines, "came back");
    assert_eq!(back.state, State::Warning);
    assert!(back.seen.contains("arn:aws:s3:::bucket-1"), "{back:#?}");

    // No ledger, no line that it is well.
    let installation = installation();
    let report = examine(
        &World::new(administrator(), member()),
        &patient(&installation),
    )
    .await;
    assert_eq!(line(&report.lines, "the ledger").state, State::Unknown);
}
