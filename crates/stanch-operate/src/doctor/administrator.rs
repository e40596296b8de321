//! The administrator account.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch_types::{AccountId, Call, CallErrorKind};

use super::{
    Issue, Line, State,
    look::{Look, is_absent},
};
use crate::read;

/// Who asks.
pub struct Caller {
    pub account: AccountId,
    pub arn: String,
}

/// Whose credentials these are.
pub async fn caller(own: &Look<'_>, lines: &mut Vec<Line>) -> Option<Caller> {
    const WHAT: &str = "your credentials";
    let answer = match own.call("sts", "GetCallerIdentity", json!({})).await {
        Ok(answer) => answer,
        Err(error) => {
            let mut line = own
                .unknown(Issue::Ground, WHAT, &error)
                .command("aws sts get-caller-identity");
            if error.kind == CallErrorKind::Credentials {
                line.state = State::Problem;
            }
            lines.push(line);
            return None;
        }
    };
    let account = read::text(&answer, "/Account").and_then(|id| id.parse().ok());
    let (Some(account), Some(arn)) = (account, read::text(&answer, "/Arn")) else {
        let advice = "ask again";
        lines.push(own.line(
            Issue::Ground,
            WHAT,
            State::Unknown,
            "an answer without account",
            advice,
        ));
        return None;
    };
    lines.push(own.good(Issue::Ground, WHAT, arn));
    Some(Caller {
        account,
        arn: arn.to_owned(),
    })
}

/// Whether the functions are in AWS. On one machine they are not.
pub async fn is_deployed(own: &Look<'_>, lines: &mut Vec<Line>) -> Option<bool> {
    let name = own.patient.installation.named("Orchestrator");
    let what = format!("function {name}");
    match own
        .call(
            "lambda",
            "GetFunctionConfiguration",
            json!({"FunctionName": name}),
        )
        .await
    {
        Ok(found) => {
            lines.push(function(own, &what, &found));
            Some(true)
        }
        Err(error) if is_absent(&error) => {
            lines.push(own.good(
                Issue::Ground,
                what,
                "not deployed here: only what one machine needs is looked at",
            ));
            Some(false)
        }
        Err(error) => {
            lines.push(own.unknown(Issue::Ground, what, &error));
            None
        }
    }
}

fn function(own: &Look<'_>, what: &str, found: &Value) -> Line {
    let state = read::text(found, "/State").unwrap_or("Active");
    let update = read::text(found, "/LastUpdateStatus").unwrap_or("Successful");
    let name = read::text(found, "/FunctionName").unwrap_or_default();
    let command = format!("aws lambda get-function-configuration --function-name {name}");
    // An idle function is made ready again by its next call.
    match (matches!(state, "Active" | "Inactive"), update) {
        (true, "Successful" | "InProgress") => own.good(Issue::Ground, what, state.to_lowercase()),
        _ => {
            let why = read::text(found, "/StateReason")
                .or_else(|| read::text(found, "/LastUpdateStatusReason"));
            let seen = format!(
                "{state}, last update {update}: {}",
                why.unwrap_or("no reason is given")
            );
            let advice = "update the stack again; look at the reason first: often the key or the archive is not allowed";
            own.line(Issue::Ground, what, State::Problem, seen, advice)
                .command(command)
        }
    }
}

/// Everything that is deployed there.
pub async fn examine(own: &Look<'_>, caller: &Caller, lines: &mut Vec<Line>) {
    for name in ["Security", "Notifier"] {
        let name = own.patient.installation.named(name);
        let what = format!("function {name}");
        let found = own
            .call(
                "lambda",
                "GetFunctionConfiguration",
                json!({"FunctionName": name}),
            )
            .await;
        lines.push(match found {
            Ok(found) => function(own, &what, &found),
            Err(error) if is_absent(&error) => missing(own, Issue::Ground, &what),
            Err(error) => own.unknown(Issue::Ground, what, &error),
        });
    }
    trigger(own, lines).await;
    key(own, lines).await;
    switched_on(own, lines).await;
    permissions(own, caller, lines).await;
    for name in ["AuditLog", "State"] {
        table(own, name, lines).await;
    }
    topic(own, caller, lines).await;
    queues(own, lines).await;
    executions(own, caller, lines).await;
}

fn missing(own: &Look<'_>, issue: Issue, what: &str) -> Line {
    own.line(
        issue,
        what,
        State::Problem,
        "does not exist",
        "deploy the administrator stack: docs/guides/deploy.md",
    )
}

async fn trigger(own: &Look<'_>, lines: &mut Vec<Line>) {
    let name = own.patient.installation.named("Orchestrator");
    let what = "the orchestrator's trigger";
    let found = own
        .call(
            "lambda",
            "ListEventSourceMappings",
            json!({"FunctionName": name}),
        )
        .await;
    let command = format!("aws lambda list-event-source-mappings --function-name {name}");
    lines.push(match found {
        Ok(found) => match read::items(&found, "/EventSourceMappings").next() {
            Some(mapping) => match read::text(mapping, "/State").unwrap_or_default() {
                "Enabled" => own.good(Issue::Ground, what, "enabled"),
                state => own
                    .line(
                        Issue::Ground,
                        what,
                        State::Problem,
                        state.to_lowercase(),
                        "nothing is taken from the queue: find out who stopped it, then enable it",
                    )
                    .command(format!(
                        "aws lambda update-event-source-mapping --enabled --uuid {}",
                        read::text(mapping, "/UUID").unwrap_or("UUID")
                    )),
            },
            None => own
                .line(
                    Issue::Ground,
                    what,
                    State::Problem,
                    "there is none",
                    "update the administrator stack",
                )
                .command(command),
        },
        Err(error) => own.unknown(Issue::Ground, what, &error).command(command),
    });
}

async fn key(own: &Look<'_>, lines: &mut Vec<Line>) {
    let installation = own.patient.installation;
    let alias = format!("alias/{}", installation.name_prefix);
    let what = format!("key {alias}");
    let found = match own
        .call("kms", "DescribeKey", json!({"KeyId": alias}))
        .await
    {
        Ok(found) => found,
        Err(error) if is_absent(&error) => {
            lines.push(missing(own, Issue::Ground, &what));
            return;
        }
        Err(error) => {
            lines.push(own.unknown(Issue::Ground, what, &error));
            return;
        }
    };
    match read::text(&found, "/KeyMetadata/KeyState").unwrap_or_default() {
        "Enabled" => {}
        state => {
            let advice =
                "without it nothing can be read or written: cancel its deletion or enable it";
            lines.push(
                own.line(Issue::Ground, what, State::Problem, state, advice)
                    .command(format!("aws kms describe-key --key-id {alias}")),
            );
            return;
        }
    }
    let id = read::text(&found, "/KeyMetadata/KeyId").unwrap_or(&alias);
    lines.push(
        match own
            .call("kms", "GetKeyRotationStatus", json!({"KeyId": id}))
            .await
        {
            Ok(status) if status.pointer("/KeyRotationEnabled") == Some(&json!(true)) => {
                own.good(Issue::Ground, what, "enabled, rotates every year")
            }
            Ok(_) => own
                .line(
                    Issue::Ground,
                    what,
                    State::Warning,
                    "is not rotated",
                    "turn rotation on",
                )
                .command(format!("aws kms enable-key-rotation --key-id {id}"))
                .fix(
                    "turns the key's yearly rotation on",
                    Call::new("kms", "EnableKeyRotation", json!({"KeyId": id})),
                    &installation.region,
                ),
            Err(error) => own.unknown(Issue::Ground, what, &error),
        },
    );
}

/// Security Hub and Config, in the administrator account.
async fn switched_on(own: &Look<'_>, lines: &mut Vec<Line>) {
    let hub = own.call("securityhub", "DescribeHub", json!({})).await;
    lines.push(super::member::security_hub(own, hub));
    let config = own
        .call("config", "DescribeConfigurationRecorderStatus", json!({}))
        .await;
    lines.push(super::member::config(own, config));
    for rule in ["Manual", "Sweep", "ImportedFindings", "ConfigCompliance"] {
        let name = own.patient.installation.named(rule);
        let what = format!("rule {name}");
        lines.push(
            match own
                .call("events", "DescribeRule", json!({"Name": name}))
                .await
            {
                Ok(found) => match (read::text(&found, "/State"), rule) {
                    (Some("DISABLED"), "Manual" | "Sweep") => own
                        .line(
                            Issue::Ground,
                            what,
                            State::Problem,
                            "disabled",
                            "find out who disabled it; without it nothing of its kind arrives",
                        )
                        .command(format!("aws events enable-rule --name {name}")),
                    (Some("DISABLED"), _) => own.good(
                        Issue::Ground,
                        what,
                        "disabled: findings start nothing by themselves",
                    ),
                    (Some(state), _) => own.good(Issue::Ground, what, state.to_lowercase()),
                    (None, _) => own.line(
                        Issue::Ground,
                        what,
                        State::Unknown,
                        "an answer without state",
                        "ask again",
                    ),
                },
                Err(error) if is_absent(&error) => missing(own, Issue::Ground, &what),
                Err(error) => own.unknown(Issue::Ground, what, &error),
            },
        );
    }
}

/// Whether the orchestrator's role may do what it does, by IAM's own simulator.
async fn permissions(own: &Look<'_>, caller: &Caller, lines: &mut Vec<Line>) {
    let installation = own.patient.installation;
    let account = &caller.account;
    let role = installation.role_arn(account, &installation.orchestrator_role());
    let anywhere = |name: &str| {
        let any = own.patient.members.keys().next().unwrap_or(account);
        installation.role_arn(any, name)
    };
    let needed = [
        (
            Issue::AssumeRole,
            "sts:AssumeRole",
            anywhere(&installation.member_role),
        ),
        (
            Issue::Throttling,
            "dynamodb:PutItem",
            installation.arn(
                account,
                "dynamodb",
                &format!("table/{}", installation.named("AuditLog")),
            ),
        ),
        (
            Issue::Notifications,
            "sns:Publish",
            installation.arn(account, "sns", &installation.named("Notifications")),
        ),
        (
            Issue::Stuck,
            "states:StartExecution",
            installation.arn(
                account,
                "states",
                &format!("stateMachine:{}", installation.named("Workflow")),
            ),
        ),
    ];
    for (issue, action, resource) in needed {
        let what = format!("the orchestrator may {action}");
        let command = format!(
            "aws iam simulate-principal-policy --policy-source-arn {role} --action-names {action} --resource-arns {resource}"
        );
        let line = match own.simulate(&role, action, &resource).await {
            Ok(decision) if decision == "allowed" => own.good(issue, what, decision),
            Ok(decision) => own.line(issue, what, State::Problem, decision, format!("add `{action}` to the role: update the administrator stack, or take away what denies it")),
            Err(error) if is_absent(&error) => own.line(issue, what, State::Problem, format!("the role {role} does not exist"), "update the administrator stack"),
            Err(error) => own.unknown(issue, what, &error),
        };
        lines.push(line.command(command));
    }
}

async fn table(own: &Look<'_>, name: &str, lines: &mut Vec<Line>) {
    const ISSUE: Issue = Issue::Throttling;
    let region = &own.patient.installation.region;
    let table = own.patient.installation.named(name);
    let what = format!("table {table}");
    let found = match own
        .call("dynamodb", "DescribeTable", json!({"TableName": table}))
        .await
    {
        Ok(found) => found,
        Err(error) if is_absent(&error) => {
            lines.push(missing(own, ISSUE, &what));
            return;
        }
        Err(error) => {
            lines.push(own.unknown(ISSUE, what, &error));
            return;
        }
    };
    let describe = format!("aws dynamodb describe-table --table-name {table}");
    let status = read::text(&found, "/Table/TableStatus").unwrap_or_default();
    let billing =
        read::text(&found, "/Table/BillingModeSummary/BillingMode").unwrap_or("PROVISIONED");
    lines.push(match (status, billing) {
        ("ACTIVE" | "UPDATING", "PAY_PER_REQUEST") => own.good(ISSUE, &*what, "active, on demand"),
        ("ACTIVE" | "UPDATING", _) => own
            .line(
                ISSUE,
                &*what,
                State::Warning,
                format!("{} capacity", billing.to_lowercase()),
                "a burst is throttled: bill it on demand",
            )
            .command(format!(
                "aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST"
            ))
            .fix(
                "bills the table on demand",
                Call::new(
                    "dynamodb",
                    "UpdateTable",
                    json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST"}),
                ),
                region,
            ),
        (status, _) => own
            .line(
                ISSUE,
                &*what,
                State::Problem,
                status.to_lowercase(),
                "nothing can be recorded, so nothing is changed",
            )
            .command(&*describe),
    });
    let backups = own
        .call(
            "dynamodb",
            "DescribeContinuousBackups",
            json!({"TableName": table}),
        )
        .await;
    let what = format!("backups of {table}");
    lines.push(match backups {
        Ok(found) => match read::text(&found, "/ContinuousBackupsDescription/PointInTimeRecoveryDescription/PointInTimeRecoveryStatus") {
            Some("ENABLED") => own.good(ISSUE, what, "point-in-time recovery is on"),
            _ => {
                let params = json!({"TableName": table, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true}});
                own.line(ISSUE, what, State::Warning, "point-in-time recovery is off", "turn it on")
                    .command(format!("aws dynamodb update-continuous-backups --table-name {table} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"))
                    .fix("turns point-in-time recovery on", Call::new("dynamodb", "UpdateContinuousBackups", params), region)
            }
        },
        Err(error) => own.unknown(ISSUE, what, &error),
    });
    let life = own
        .call(
            "dynamodb",
            "DescribeTimeToLive",
            json!({"TableName": table}),
        )
        .await;
    let what = format!("time to live of {table}");
    lines.push(match life {
        Ok(found) => match read::text(&found, "/TimeToLiveDescription/TimeToLiveStatus") {
            Some("ENABLED" | "ENABLING") => own.good(ISSUE, what, "on"),
            _ => {
                let specification = json!({"AttributeName": "ExpiresAt", "Enabled": true});
                // It removes rows that are past their time, which is what the stack says; so it is not mended by itself.
                own.line(ISSUE, what, State::Warning, "off: old rows are never removed", "turn it on, by updating the stack")
                    .command(format!("aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification '{specification}'"))
            }
        },
        Err(error) => own.unknown(ISSUE, what, &error),
    });
    for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] {
        let what = format!("{metric} of {table}");
        let command = format!(
            "aws cloudwatch get-metric-statistics --namespace AWS/DynamoDB --metric-name {metric} --dimensions Name=TableName,Value={table} --statistics Sum --period 60 --start-time START --end-time END"
        );
        lines.push(match own.metric("AWS/DynamoDB", metric, ("TableName", &table), 24).await {
            Ok((0.0, _)) => own.good(ISSUE, what, "none in 24 hours"),
            Ok((all, most)) => {
                let state = if most > 10.0 { State::Problem } else { State::Warning };
                let seen = format!("{all} in 24 hours, {most} in the worst minute");
                let advice = "lower `OrchestratorConcurrency`, and look for a hot key with Contributor Insights";
                own.line(ISSUE, what, state, seen, advice).command(command)
            }
            Err(error) => own.unknown(ISSUE, what, &error),
        });
    }
}

async fn topic(own: &Look<'_>, caller: &Caller, lines: &mut Vec<Line>) {
    const ISSUE: Issue = Issue::Notifications;
    let installation = own.patient.installation;
    let name = installation.named("Notifications");
    let arn = installation.arn(&caller.account, "sns", &name);
    let what = format!("topic {name}");
    match own
        .call("sns", "GetTopicAttributes", json!({"TopicArn": arn}))
        .await
    {
        Ok(found) => {
            let policy = read::document(&found, "/Attributes/Policy").unwrap_or_default();
            let denies = read::statements(&policy).into_iter().find(|statement| {
                statement.get("Effect") == Some(&json!("Deny"))
                    && statement
                        .pointer("/Condition/Bool/aws:SecureTransport")
                        .is_none()
                    && read::many(statement.get("Action"))
                        .iter()
                        .any(|action| stanch_types::is_like(&action.to_lowercase(), "sns:publish"))
            });
            lines.push(match denies {
                None => own.good(ISSUE, what, "its policy denies nobody to publish over TLS"),
                Some(statement) => own
                    .line(
                        ISSUE,
                        what,
                        State::Problem,
                        format!("its policy denies publishing: {statement}"),
                        "take the statement out, or update the stack",
                    )
                    .command(format!("aws sns get-topic-attributes --topic-arn {arn}")),
            });
        }
        Err(error) if is_absent(&error) => {
            lines.push(missing(own, ISSUE, &what));
            return;
        }
        Err(error) => lines.push(own.unknown(ISSUE, what, &error)),
    }
    let list = format!("aws sns list-subscriptions-by-topic --topic-arn {arn}");
    let what = format!("subscriptions of {name}");
    match own
        .pages(
            ("sns", "ListSubscriptionsByTopic"),
            json!({"TopicArn": arn}),
            "NextToken",
            10,
        )
        .await
    {
        Ok(pages) => {
            let all: Vec<&Value> = pages
                .iter()
                .flat_map(|page| read::items(page, "/Subscriptions"))
                .collect();
            let people = all
                .iter()
                .filter(|one| read::text(one, "/Protocol") != Some("lambda"))
                .count();
            lines.push(match people {
                0 => own
                    .line(ISSUE, &*what, State::Warning, "nobody but the notifier function", "subscribe an address, or give the notifier a channel (`ChannelSecretArn`)")
                    .command(format!("aws sns subscribe --topic-arn {arn} --protocol email --notification-endpoint ADDRESS")),
                people => own.good(ISSUE, &*what, format!("{people} beside the notifier")),
            });
            for one in all {
                if read::text(one, "/SubscriptionArn") != Some("PendingConfirmation") {
                    continue;
                }
                let (protocol, endpoint) = (
                    read::text(one, "/Protocol").unwrap_or_default(),
                    read::text(one, "/Endpoint").unwrap_or_default(),
                );
                let params = json!({"TopicArn": arn, "Protocol": protocol, "Endpoint": endpoint});
                lines.push(
                    own.line(ISSUE, format!("subscription of {endpoint}"), State::Problem, "is not confirmed", "have its owner follow the link in AWS's message; look into the spam folder")
                        .command(&*list)
                        .fix("sends the message with the link again", Call::new("sns", "Subscribe", params), &installation.region),
                );
            }
        }
        Err(error) => lines.push(own.unknown(ISSUE, what, &error)),
    }
    let what = format!("deliveries of {name}");
    lines.push(
        match own
            .metric(
                "AWS/SNS",
                "NumberOfNotificationsFailed",
                ("TopicName", &name),
                24,
            )
            .await
        {
            Ok((0.0, _)) => own.good(ISSUE, what, "none failed in 24 hours"),
            Ok((failed, _)) => own
                .line(
                    ISSUE,
                    what,
                    State::Problem,
                    format!("{failed} failed in 24 hours"),
                    "turn delivery status logging on for the topic, and look at its log group",
                )
                .command(list),
            Err(error) => own.unknown(ISSUE, what, &error),
        },
    );
}

async fn queues(own: &Look<'_>, lines: &mut Vec<Line>) {
    for (name, most) in [
        ("DeadLetters", 0.0),
        ("UndeliveredEvents", 0.0),
        ("Events", f64::INFINITY),
    ] {
        let name = own.patient.installation.named(name);
        let what = format!("queue {name}");
        let attributes = async {
            let url = own
                .call("sqs", "GetQueueUrl", json!({"QueueName": name}))
                .await?;
            let url = read::text(&url, "/QueueUrl").unwrap_or_default().to_owned();
            let params = json!({"QueueUrl": url, "AttributeNames": ["All"]});
            own.call("sqs", "GetQueueAttributes", params)
                .await
                .map(|found| (url, found))
        };
        let (url, found) = match attributes.await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => {
                lines.push(missing(own, Issue::Stuck, &what));
                continue;
            }
            Err(error) => {
                lines.push(own.unknown(Issue::Stuck, what, &error));
                continue;
            }
        };
        let Some(waiting) = read::number(&found, "/Attributes/ApproximateNumberOfMessages") else {
            lines.push(own.line(
                Issue::Stuck,
                what,
                State::Unknown,
                "an answer without numbers",
                "ask again",
            ));
            continue;
        };
        let arn = read::text(&found, "/Attributes/QueueArn").unwrap_or_default();
        lines.push(match waiting <= most {
            true => own.good(Issue::Stuck, what, format!("{waiting} waiting")),
            false => own
                .line(Issue::Stuck, what, State::Warning, format!("{waiting} waiting; they are removed after 14 days"), format!("look at one (`aws sqs receive-message --queue-url {url}`), correct the cause, then have them sent again"))
                .command(format!("aws sqs start-message-move-task --source-arn {arn}")),
        });
    }
}

/// How long an execution may wait for people, where the stack does not say.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24 * 14);

async fn executions(own: &Look<'_>, caller: &Caller, lines: &mut Vec<Line>) {
    const ISSUE: Issue = Issue::Stuck;
    let installation = own.patient.installation;
    let name = installation.named("Workflow");
    let arn = installation.arn(&caller.account, "states", &format!("stateMachine:{name}"));
    let what = format!("running executions of {name}");
    let list =
        |status: &str| json!({"stateMachineArn": arn, "statusFilter": status, "maxResults": 100});
    let running = own
        .call("stepfunctions", "ListExecutions", list("RUNNING"))
        .await;
    match &running {
        Ok(found) => {
            let old = |one: &&Value| {
                let began = read::moment(one, "/startDate");
                began.is_some_and(|began| own.patient.now.duration_since(began) > PATIENCE)
            };
            let all = read::items(found, "/executions").count();
            match read::items(found, "/executions").find(old) {
                None => lines.push(own.good(
                    ISSUE,
                    &*what,
                    format!("{all} running, none longer than 14 days"),
                )),
                Some(one) => {
                    let execution = read::text(one, "/executionArn").unwrap_or_default();
                    lines.push(
                        own.line(ISSUE, &*what, State::Problem, format!("one runs since {}", began(one)), "look where it stands; the sweep ends it if it is stopped")
                            .command(format!("aws stepfunctions get-execution-history --reverse-order --max-results 5 --execution-arn {execution}")),
                    );
                }
            }
        }
        Err(error) if is_absent(error) => {
            lines.push(own.line(ISSUE, what, State::Warning, "the state machine does not exist", "without it remediations that wait for people or backups are refused: `EnableWorkflow=true`"));
            return;
        }
        Err(error) => {
            lines.push(own.unknown(ISSUE, what, error));
            return;
        }
    }
    let timed_out = match own
        .call("stepfunctions", "ListExecutions", list("TIMED_OUT"))
        .await
    {
        Ok(found) => found,
        Err(error) => {
            lines.push(own.unknown(ISSUE, format!("timed-out executions of {name}"), &error));
            return;
        }
    };
    let what = format!("timed-out executions of {name}");
    let week = SignedDuration::from_hours(24 * 7);
    let recent = read::items(&timed_out, "/executions").find(|one| {
        read::moment(one, "/stopDate").is_some_and(|at| own.patient.now.duration_since(at) < week)
    });
    let Some(one) = recent else {
        lines.push(own.good(ISSUE, what, "none in 7 days"));
        return;
    };
    let execution = read::text(one, "/executionArn").unwrap_or_default();
    let history = own
        .call(
            "stepfunctions",
            "GetExecutionHistory",
            json!({"executionArn": execution, "reverseOrder": true, "maxResults": 50}),
        )
        .await;
    let last = history.as_ref().ok().and_then(|history| {
        read::items(history, "/events")
            .find_map(|event| read::text(event, "/stateEnteredEventDetails/name"))
            .map(str::to_owned)
    });
    let advice = match last.as_deref() {
        Some("WaitForApprovals") => "nobody approved in time: see that approvers are told, or raise `ApprovalTimeoutSeconds`".to_owned(),
        Some(state) => format!("it stood in `{state}`: look at the function's log at that time with `stanch logs`"),
        None => "look at its history".to_owned(),
    };
    lines.push(
        own.line(
            ISSUE,
            what,
            State::Problem,
            format!(
                "{} timed out",
                read::text(one, "/name").unwrap_or(execution)
            ),
            advice,
        )
        .command(format!(
            "aws stepfunctions get-execution-history --reverse-order --execution-arn {execution}"
        )),
    );
}

fn began(one: &Value) -> String {
    read::moment(one, "/startDate").map_or_else(
        || "an unknown time".to_owned(),
        |at: Timestamp| format!("{at:.0}"),
    )
}
