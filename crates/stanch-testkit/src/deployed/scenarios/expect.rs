//! What is looked at, and what has to be there.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_ledger::{Record, Status};

use super::super::{
    Account, Deployed, Mark, Outcome, Spent, Trouble, ensure, list, text, wait_for,
};
use crate::{Misconfiguration, Request};

/// How long one finding may take, on a machine that has other things to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// A permission that somebody took away.
pub(super) struct Deny<'a> {
    account: &'a Account,
    role: &'static str,
}

impl<'a> Deny<'a> {
    pub(super) async fn to(
        account: &'a Account,
        role: &'static str,
        action: &str,
    ) -> Outcome<Self> {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": action, "Resource": "*"}]});
        let put = json!({"RoleName": role, "PolicyName": "Accident", "PolicyDocument": policy.to_string()});
        account.call("iam", "PutRolePolicy", put).await?;
        Ok(Self { account, role })
    }

    pub(super) async fn lift(self) -> Outcome {
        let delete = json!({"RoleName": self.role, "PolicyName": "Accident"});
        let lifted = self.account.call("iam", "DeleteRolePolicy", delete).await;
        lifted.map(drop)
    }
}

/// What the schedule of the stack sends.
pub(super) async fn sweep(deployed: &Deployed) -> Outcome {
    let event = json!({"source": "stanch", "detail-type": "Sweep", "detail": {}});
    let message =
        json!({"QueueUrl": deployed.queue("Events").await?, "MessageBody": event.to_string()});
    let sent = deployed.administrator.call("sqs", "SendMessage", message);
    sent.await.map(drop)
}

/// A finding's record once the remediation is over.
pub(super) async fn ended(deployed: &Deployed, found: &Misconfiguration) -> Outcome<Record> {
    stands(deployed, found, "over", |status| status.is_final()).await
}

/// A finding's record once its status is as wanted.
pub(super) async fn stands(
    deployed: &Deployed,
    found: &Misconfiguration,
    what: &str,
    wanted: impl Fn(Status) -> bool,
) -> Outcome<Record> {
    let what = format!("`{}` {what}", found.resource_id);
    wait_for(&what, PATIENCE, async || {
        let record = deployed.record(found).await?;
        // What has ended otherwise becomes nothing else any more.
        let over = record.as_ref().filter(|record| record.status.is_final());
        ensure(over.is_none_or(|record| wanted(record.status)), || {
            format!("{what}: it is over: {over:?}")
        })?;
        Ok(record.filter(|record| wanted(record.status)))
    })
    .await
}

pub(super) fn is(record: &Record, wanted: Status) -> Outcome {
    ensure(record.status == wanted, || {
        format!("it is {}, not {wanted}: {record:?}", record.status)
    })
}

/// What has to be left of a remediation that has ended, whatever it came to: rows of the audit log, metrics,
/// a document in the account's bucket, a word on the topic, and a note on the finding.
pub(super) async fn accounted(deployed: &Deployed, mark: Mark, record: &Record) -> Outcome {
    in_audit_log(deployed, record).await?;
    logged(deployed, record).await?;
    told(deployed, record).await?;
    noted(deployed, record).await?;
    measured(deployed, mark, record).await
}

/// The audit log has the brief's attributes (§4.9), in the row that says how it ended. Rows of what
/// happened after it, as people being told, are the ledger's own.
async fn in_audit_log(deployed: &Deployed, record: &Record) -> Outcome {
    let id = record.remediation_id.to_string();
    let rows = deployed.rows().await?.into_iter();
    let rows: Vec<Value> = rows
        .filter(|row| text(row, "/RemediationId/S") == id)
        .collect();
    let time = |row: &&Value| text(row, "/Timestamp/N").parse::<u64>().unwrap_or_default();
    let last = rows
        .iter()
        .filter(|row| row.get("ExecutionStatus").is_some())
        .max_by_key(time)
        .ok_or_else(|| Trouble::said("no row in the audit log"))?;
    for (name, value) in [
        ("FindingId", record.finding_id.as_str()),
        ("AccountId", record.account_id.as_str()),
        ("ResourceType", &record.resource_type),
        ("ResourceId", &record.resource_id),
        ("RemediationType", record.remediation_type.as_str()),
        ("RemediationAction", &record.remediation_action),
        ("ExecutionStatus", record.execution_status.as_str()),
        ("ExecutorArn", &record.executor_arn),
    ] {
        let found = text(last, &format!("/{name}/S"));
        ensure(found == value && !found.is_empty(), || {
            format!("`{name}` of the row is `{found}`, not `{value}`: {last}")
        })?;
    }
    let told = last.pointer("/NotificationSent/BOOL");
    ensure(told.is_some_and(Value::is_boolean), || {
        format!("no `NotificationSent` in {last}")
    })?;
    let took = last.get("ExecutionDuration").is_some();
    let lasted = matches!(record.status, Status::Success | Status::Failed);
    ensure(took || !lasted || record.started_at.is_none(), || {
        format!("no `ExecutionDuration` in {last}")
    })?;
    let why = text(last, "/ErrorMessage/S");
    ensure(
        why == record.error_message.clone().unwrap_or_default(),
        || {
            format!(
                "the row says `{why}`, the record {:?}",
                record.error_message
            )
        },
    )
}

/// CloudWatch finds the metrics of a change in the function's log, once, with the dimensions that the
/// dashboards ask for (§9.1); what nothing was done about has none.
async fn measured(deployed: &Deployed, mark: Mark, record: &Record) -> Outcome {
    let id = record.remediation_id.to_string();
    let counts = matches!(
        record.status,
        Status::Success | Status::Failed | Status::Undone | Status::UndoFailed
    );
    let of_it = async || {
        let spent = deployed.since(mark).await?;
        let lines = spent.lines.iter().filter_map(super::super::Line::measures);
        let lines = lines.filter(|line| text(line, "/RemediationId") == id);
        Ok(lines.collect::<Vec<_>>())
    };
    if !counts {
        let lines: Outcome<Vec<Value>> = of_it().await;
        let lines = lines?;
        return ensure(lines.is_empty(), || {
            format!("{} metrics of nothing", lines.len())
        });
    }
    let lines = wait_for("the metrics", PATIENCE, async || {
        let lines: Vec<Value> = of_it().await?;
        Ok((!lines.is_empty()).then_some(lines))
    })
    .await?;
    let [line] = &lines[..] else {
        let all = lines.iter().map(|line| text(line, "/Status"));
        return Err(Trouble::said(format!(
            "measured as {:?}",
            all.collect::<Vec<_>>()
        )));
    };
    let said = |holds: bool, what: &str| ensure(holds, || format!("the metrics' {what}: {line}"));
    let directive = line
        .pointer("/_aws/CloudWatchMetrics/0")
        .unwrap_or(&Value::Null);
    said(
        text(directive, "/Namespace") == "SecurityRemediation",
        "namespace",
    )?;
    let names: Vec<String> = list(directive, "/Metrics")
        .iter()
        .map(|metric| text(metric, "/Name"))
        .collect();
    said(names == ["Remediations", "ExecutionDuration"], "names")?;
    let dimensions = json!([
        [],
        ["Status"],
        ["ResourceType"],
        ["AccountId"],
        ["RemediationType"]
    ]);
    said(
        directive.get("Dimensions") == Some(&dimensions),
        "dimensions",
    )?;
    said(line.get("Remediations") == Some(&json!(1)), "count")?;
    let took = record.execution_duration.unwrap_or_default();
    said(
        line.get("ExecutionDuration") == Some(&json!(took)),
        "duration",
    )?;
    for (name, value) in [
        ("Status", record.status.to_string()),
        ("ResourceType", record.resource_type.clone()),
        ("AccountId", record.account_id.to_string()),
        (
            "RemediationType",
            record.remediation_type.as_str().to_owned(),
        ),
        ("RemediationAction", record.remediation_action.clone()),
        ("Region", record.region.to_string()),
    ] {
        said(text(line, &format!("/{name}")) == value, name)?;
    }
    let why = record.error_message.as_deref().unwrap_or_default();
    said(text(line, "/ErrorMessage") == why, "error")
}

/// Why it came to nothing.
pub(super) fn failed(record: &Record) -> Outcome<String> {
    ensure(
        matches!(record.status, Status::Failed | Status::Refused),
        || format!("it is {}: {record:?}", record.status),
    )?;
    let error = record.error_message.clone();
    error.ok_or_else(|| Trouble::said(format!("no reason in {record:?}")))
}

pub(super) async fn is_blocked(
    deployed: &Deployed,
    account: &Account,
    bucket: &str,
    wanted: bool,
) -> Outcome {
    let blocked = deployed.is_blocked(account, bucket).await?;
    ensure(blocked == wanted, || {
        format!("public access to `{bucket}` is blocked: {blocked}")
    })
}

/// The bucket's finding ends fixed, and all is left that has to be; what was used for it.
pub(super) async fn fixed(
    deployed: &Deployed,
    found: &Misconfiguration,
    bucket: &str,
    mark: Mark,
) -> Outcome<Spent> {
    let record = ended(deployed, found).await?;
    is(&record, Status::Success)?;
    is_blocked(deployed, deployed.member()?, bucket, true).await?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &record).await?;
    Ok(spent)
}

/// The requests that change a bucket.
pub(super) fn changes<'a>(spent: &'a Spent, bucket: &str) -> Vec<&'a Request> {
    let path = format!("/{bucket}");
    let requests = spent.requests.iter();
    requests
        .filter(|request| request.path.trim_end_matches('/') == path && request.method != "GET")
        .filter(|request| request.method != "HEAD")
        .collect()
}

pub(super) fn no_write(spent: &Spent, bucket: &str) -> Outcome {
    writes(spent, bucket, 0)
}

pub(super) fn writes(spent: &Spent, bucket: &str, wanted: usize) -> Outcome {
    let found = changes(spent, bucket);
    ensure(found.len() == wanted, || {
        format!("{} changes instead of {wanted}: {found:?}", found.len())
    })
}

/// The document of a remediation in the account's bucket, in the layout of the brief (§5.6).
async fn logged(deployed: &Deployed, record: &Record) -> Outcome {
    let member = deployed
        .members
        .iter()
        .find(|member| member.id == record.account_id);
    let member = member.ok_or_else(|| Trouble::said("it is of no member account"))?;
    let account = member.in_region(&record.region);
    let id = record.remediation_id.to_string();
    let day = record.timestamp.strftime("year=%Y/month=%m/day=%d");
    let key = format!("{day}/remediation-{id}.json");
    let document = wait_for(&format!("the log object `{key}`"), PATIENCE, async || {
        let document = deployed.log_object(&account, &key).await?;
        let status = record.status.to_string();
        Ok(document.filter(|document| text(document, "/Record/Status") == status))
    })
    .await?;
    let events = list(&document, "/Events");
    let first = events.first().map(|event| text(event, "/event/event"));
    ensure(
        text(&document, "/Record/RemediationId") == id && first.as_deref() == Some("received"),
        || format!("the log object `{key}` begins with {first:?}"),
    )
}

/// The topic told of a remediation as it stands, in the brief's format (§4.10).
pub(super) async fn told(deployed: &Deployed, record: &Record) -> Outcome {
    let id = record.remediation_id.to_string();
    let status = record.status.to_string();
    let message = wait_for("the notification", PATIENCE, async || {
        let heard = deployed.heard().await?.into_iter();
        let mut about = heard.filter(|message| {
            text(message, "/RemediationId") == id && text(message, "/Status") == status
        });
        Ok(about.next())
    })
    .await?;
    for (name, value) in [
        ("Account", record.account_id.as_str()),
        ("Resource", &record.resource_id),
        ("Action", &record.remediation_action),
        ("Region", record.region.as_str()),
    ] {
        let found = text(&message, &format!("/{name}"));
        ensure(found == value, || {
            format!("`{name}` of the notification is `{found}`: {message}")
        })?;
    }
    for name in ["ExecutedAt", "Finding"] {
        ensure(!text(&message, &format!("/{name}")).is_empty(), || {
            format!("no `{name}` in the notification {message}")
        })?;
    }
    let why = record.error_message.clone().unwrap_or_default();
    ensure(
        !record.status.is_final() || text(&message, "/Error") == why,
        || format!("the notification does not say `{why}`: {message}"),
    )
}

/// Security Hub was told what became of the finding: resolved if it was seen to be fixed, and only then.
async fn noted(deployed: &Deployed, record: &Record) -> Outcome {
    let update = wait_for("the note on the finding", PATIENCE, async || {
        let told = deployed.emulator().told_of_findings()?;
        let of_it = told.get(&record.finding_id).and_then(Value::as_array);
        Ok(of_it.and_then(|updates| updates.last()).cloned())
    })
    .await?;
    let workflow = text(&update, "/Workflow/Status");
    let resolved = workflow == "RESOLVED";
    ensure(resolved == (record.status == Status::Success), || {
        format!("it is {}, and the finding {workflow}", record.status)
    })?;
    ensure(!text(&update, "/Note/Text").is_empty(), || {
        format!("no note: {update}")
    })
}

/// Waits until a run of the orchestrator has ended.
pub(super) async fn a_run_ended(deployed: &Deployed, mark: Mark) -> Outcome {
    wait_for("the end of a run", PATIENCE, async || {
        let spent = deployed.since(mark).await?;
        let ended = spent.lines.iter().any(|line| line.0.starts_with("END "));
        Ok(ended.then_some(()))
    })
    .await
}

/// What was used, once nobody works any more: a run's lines are there before its messages are gone.
pub(super) async fn spent(deployed: &Deployed, mark: Mark) -> Outcome<Spent> {
    deployed.settled(PATIENCE).await?;
    deployed.since(mark).await
}

pub(super) fn figures(spent: &Spent) -> String {
    let mut services = std::collections::BTreeMap::<&str, usize>::new();
    for request in &spent.requests {
        *services.entry(&request.service).or_default() += 1;
    }
    let services: Vec<String> = services
        .iter()
        .map(|(service, number)| format!("{service} {number}"))
        .collect();
    format!(
        "{} Lambda runs, {} executions, {} requests ({}), {} write units",
        spent.runs,
        spent.executions,
        spent.requests.len(),
        services.join(", "),
        spent.write_units()
    )
}

/// X-Ray has a subsegment of the remediation, of each stage in it, and of each request in those, all of one
/// trace and found by what they are about; none says what was asked for.
pub(super) async fn traced(deployed: &Deployed, record: &Record, secret: &str) -> Outcome {
    let id = record.remediation_id.to_string();
    let stages = ["plan", "decide", "run", "verify", "tell"];
    let of_it = wait_for("the subsegments", PATIENCE, async || {
        let segments = deployed.segments().into_iter();
        let of_it = segments.filter(|one| text(one, "/annotations/remediation_id") == id);
        let of_it: Vec<Value> = of_it.collect();
        let has = |name: &&str| of_it.iter().any(|one| text(one, "/name") == **name);
        // It ends last.
        let all = has(&"remediation") && stages.iter().all(has);
        Ok(all.then_some(of_it))
    })
    .await?;
    let named = |name: &str| of_it.iter().find(|one| text(one, "/name") == name);
    let whole = named("remediation").cloned().unwrap_or_default();
    for one in &of_it {
        let said =
            |holds: bool, what: &str| ensure(holds, || format!("the subsegment's {what}: {one}"));
        said(text(one, "/type") == "subsegment", "type")?;
        said(text(one, "/trace_id") == text(&whole, "/trace_id"), "trace")?;
        for (name, value) in [
            ("control", &*record.control),
            ("account", record.account_id.as_str()),
            ("region", record.region.as_str()),
        ] {
            said(text(one, &format!("/annotations/{name}")) == value, name)?;
        }
        said(!one.to_string().contains(secret), "parameters")?;
    }
    let status = text(&whole, "/annotations/status");
    ensure(status == record.status.as_str(), || {
        format!("the trace ends as `{status}`")
    })?;
    let change = of_it
        .iter()
        .find(|one| text(one, "/aws/operation") == "PutPublicAccessBlock");
    let change = change.cloned().unwrap_or_default();
    let run = named("run").cloned().unwrap_or_default();
    ensure(
        text(&change, "/parent_id") == text(&run, "/id")
            && text(&run, "/parent_id") == text(&whole, "/id")
            && text(&change, "/namespace") == "aws"
            && text(&change, "/aws/account_id") == record.account_id.as_str()
            && text(&change, "/aws/region") == record.region.as_str()
            && change.pointer("/http/response/status") == Some(&json!(200)),
        || format!("the change is traced as {change}, in {run}"),
    )
}
