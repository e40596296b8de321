//! What can happen to what is deployed, each played to its end and looked at from outside.

use std::{future::Future, pin::Pin, time::Duration};

use serde_json::{Value, json};
use stanch_ledger::{Ledger as _, Record, Status};

use super::{
    Account, Deployed, MEMBER_ROLE, ORCHESTRATOR, ORCHESTRATOR_ROLE, Outcome, Spent, Trouble,
    ensure, text, wait_for,
};
use crate::{Accident, Misconfiguration, Refusal};

/// How long one finding may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a scenario has seen, in words.
pub type Seen = Outcome<String>;

type Played<'a> = Pin<Box<dyn Future<Output = Seen> + 'a>>;

/// One thing that can happen.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is done, and what must come of it.
    pub what: &'static str,
    play: for<'a> fn(&'a Deployed) -> Played<'a>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Plays it.
    ///
    /// # Errors
    /// It did not end as it must.
    pub async fn play(self, deployed: &Deployed) -> Seen {
        (self.play)(deployed).await
    }
}

macro_rules! scenarios {
    ($($name:ident: $what:literal,)*) => {
        /// All scenarios, in the order in which they are played on one organization.
        pub const ALL: [Scenario; [$(stringify!($name)),*].len()] = [$(Scenario {
            name: stringify!($name),
            what: $what,
            play: |deployed| Box::pin($name(deployed)),
        }),*];
    };
}

scenarios! {
    manual_fix: "A person chooses the custom action: one run fixes the bucket in the member account, records, logs and tells.",
    automatic_fix: "An imported finding of what is safe to fix is fixed the same way.",
    approval: "What may run only after an approval waits in the state machine for a person's answer; the answer ends it.",
    undo: "What was fixed is put back as it was.",
    dry_run: "A plan shows the requests and sends none.",
    poisoned_batch: "One message of ten is not an event: the nine are dealt with, the one is put aside.",
    replayed: "The same event twice, and an older one after it: nothing is done twice.",
    malformed: "Truncated, oversized, empty and foreign bodies: each is a dead letter, people are told, the queue is empty.",
    foreign_account: "A finding of an account that nobody enrolled is refused, recorded, and touches nothing.",
    wrong_external_id: "The account's trust asks for another external id: nothing is changed, it is recorded and told.",
    missing_permission: "The member role lost a permission: denied, recorded, told, the bucket as it was.",
    role_deleted: "The member role is gone: nothing is changed, it is recorded and told.",
    kill_switch: "While changes are paused by the function's variable nothing is changed; afterwards the finding is fixed.",
    topic_refuses: "SNS refuses: the fix stands, and is recorded.",
    table_throttled: "DynamoDB throttles longer than the client tries: the message comes again, and the finding is fixed, once.",
    table_read_only: "The audit log takes no rows: nothing is changed, and the message is kept.",
    killed_at_timeout: "Lambda stops the function in the middle: the next run looks first, and ends fixed.",
}

/// One S3 fix, with what it took.
async fn manual_fix(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "manual-fix";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.heard().await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    complete(deployed, &row).await?;
    let spent = spent(deployed, mark).await?;
    ensure(spent.runs == 1, || format!("{} runs of Lambda", spent.runs))?;
    ensure(spent.executions == 0, || {
        format!("{} executions", spent.executions)
    })?;
    logged(deployed, member, &row).await?;
    told(deployed, &row, "Success").await?;
    Ok(figures(&spent))
}

async fn automatic_fix(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let key = member
        .call("kms", "CreateKey", json!({"Description": "e2e"}))
        .await?;
    let arn = text(&key, "/KeyMetadata/Arn");
    let found = deployed.finding(member, "KMS.4", "AwsKmsKey", &arn)?;
    let mark = deployed.mark().await?;
    deployed.import(&found)?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    let asked = json!({"KeyId": arn});
    let rotation = member.call("kms", "GetKeyRotationStatus", asked).await?;
    ensure(
        rotation.get("KeyRotationEnabled") == Some(&json!(true)),
        || format!("the key does not rotate: {rotation}"),
    )?;
    let spent = spent(deployed, mark).await?;
    logged(deployed, member, &row).await?;
    Ok(figures(&spent))
}

async fn approval(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "approval";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.heard().await?;
    let mark = deployed.mark().await?;
    deployed.import(&found)?;
    let waits = |status| status == Status::AwaitingApproval;
    let record = stands(deployed, &found, "waiting", waits).await?;
    told(deployed, &record, "AwaitingApproval").await?;
    is_blocked(deployed, member, bucket, false).await?;
    let id = record.remediation_id;
    wait_for("an execution that waits", PATIENCE, async || {
        let running = deployed.executions().await?;
        let named = |execution: &&Value| {
            text(execution, "/name") == id.to_string() && text(execution, "/status") == "RUNNING"
        };
        Ok(running.iter().find(named).map(|_| ()))
    })
    .await?;
    deployed.approve(id).await?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    wait_for("the end of the execution", PATIENCE, async || {
        let executions = deployed.executions().await?;
        let named = |execution: &&Value| text(execution, "/name") == id.to_string();
        let status = executions
            .iter()
            .find(named)
            .map(|found| text(found, "/status"));
        ensure(status.as_deref() != Some("FAILED"), || {
            "it failed".to_owned()
        })?;
        Ok((status.as_deref() == Some("SUCCEEDED")).then_some(()))
    })
    .await?;
    let spent = spent(deployed, mark).await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

/// As an operator does it from a terminal, with the command and the ledger in AWS: who may become the
/// orchestrator may take back what it did.
async fn undo(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "undo";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.choose_action(&found)?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Success)?;
    let id = record.remediation_id.to_string();
    let said = deployed
        .stanch(&["rollback", &id, "--as", "alice"], "")
        .await?;
    is_blocked(deployed, member, bucket, false).await?;
    let record = stands(deployed, &found, "taken back", |status| {
        status == Status::Undone
    })
    .await?;
    Ok(format!(
        "{}: {}",
        record.status,
        said.lines().next().unwrap_or_default()
    ))
}

async fn dry_run(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "dry-run";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let event = found.security_hub_event().to_string();
    let said = deployed
        .stanch(&["plan", "--as", "alice", "-"], &event)
        .await?;
    ensure(said.contains("PutPublicAccessBlock"), || said.clone())?;
    let spent = deployed.since(mark).await?;
    no_write(&spent, bucket)?;
    is_blocked(deployed, member, bucket, false).await?;
    Ok(figures(&spent))
}

async fn malformed(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let found = deployed.finding(member, "S3.8", "AwsS3Bucket", "arn:aws:s3:::malformed")?;
    let event = deployed.custom_action(&found).to_string();
    let half = event.get(..event.len() / 2).unwrap_or_default().to_owned();
    let padded = format!("{event}{}", " ".repeat(200_000));
    let bodies = [
        half,
        "null".to_owned(),
        "{}".to_owned(),
        "[".repeat(10_000),
        "\u{fffd}".to_owned(),
    ];
    let before = deployed.ledger().dead_letters(1000).await?.len();
    deployed.heard().await?;
    let mark = deployed.mark().await?;
    deployed.enqueue(&bodies).await?;
    deployed.settled(PATIENCE).await?;
    let letters = deployed.ledger().dead_letters(1000).await?.len() - before;
    ensure(letters == bodies.len(), || {
        format!("{letters} dead letters of {}", bodies.len())
    })?;
    let heard = wait_for("a word about them", PATIENCE, async || {
        let heard = deployed.heard().await?;
        let told = heard
            .iter()
            .filter(|message| text(message, "/Status") == "DeadLetter");
        Ok(Some(told.count()).filter(|told| *told > 0))
    })
    .await?;
    // What is only long is understood.
    deployed.enqueue(&[padded]).await?;
    let record = ended(deployed, &found).await?;
    let spent = spent(deployed, mark).await?;
    Ok(format!(
        "{letters} dead letters, {heard} messages; a padded one ended {}; {}",
        record.status,
        figures(&spent)
    ))
}

async fn poisoned_batch(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let mut bodies = vec!["{ not an event".to_owned()];
    let mut findings = Vec::new();
    for n in 0..9 {
        let bucket = format!("batch-{n}");
        let found = deployed.public_bucket(member, &bucket).await?;
        bodies.push(deployed.custom_action(&found).to_string());
        findings.push((bucket, found));
    }
    let mark = deployed.mark().await?;
    deployed.enqueue(&bodies).await?;
    for (bucket, found) in &findings {
        let row = ended(deployed, found).await?;
        is(&row, Status::Success)?;
        is_blocked(deployed, member, bucket, true).await?;
    }
    let spent = spent(deployed, mark).await?;
    deployed.settled(PATIENCE).await?;
    Ok(figures(&spent))
}

async fn replayed(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "replayed";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    let mark = deployed.mark().await?;
    // EventBridge delivers at least once, and a queue does not keep an order.
    let event = deployed.custom_action(&found);
    let mut older = event.clone();
    if let Some(Value::String(at)) = older.pointer_mut("/detail/findings/0/UpdatedAt") {
        "2020-01-01T00:00:00Z".clone_into(at);
    }
    deployed
        .enqueue(&[event.to_string(), event.to_string(), older.to_string()])
        .await?;
    a_run_ended(deployed, mark).await?;
    let spent = spent(deployed, mark).await?;
    no_write(&spent, bucket)?;
    // The older report is a work item of its own, which finds nothing to do.
    let last = ended(deployed, &found).await?;
    let same = last.remediation_id == row.remediation_id;
    ensure(same || last.status == Status::NothingToDo, || {
        format!("done again: {last:?}")
    })?;
    Ok(figures(&spent))
}

async fn foreign_account(deployed: &Deployed) -> Seen {
    let id = "333333333333".parse()?;
    let stranger = Account::root(
        &deployed.emulator().endpoint(),
        &id,
        &deployed.administrator.region,
    );
    let bucket = "of-a-stranger";
    let found = deployed.public_bucket(&stranger, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    let spent = spent(deployed, mark).await?;
    is_blocked(deployed, &stranger, bucket, false).await?;
    no_write(&spent, bucket)?;
    let entered = spent
        .requests
        .iter()
        .any(|request| request.service == "sts" && request.body.contains("333333333333"));
    ensure(!entered, || "it tried to enter the account".to_owned())?;
    Ok(figures(&spent))
}

/// Plays one finding that must come to nothing, and looks at what was left of it.
async fn refused(deployed: &Deployed, bucket: &str, found: &Misconfiguration) -> Seen {
    let member = deployed.member()?;
    deployed.heard().await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(found)?;
    let row = ended(deployed, found).await?;
    is_blocked(deployed, member, bucket, false).await?;
    let error = failed(&row)?;
    told(deployed, &row, "").await?;
    let spent = spent(deployed, mark).await?;
    Ok(format!("{}; recorded: {error}", figures(&spent)))
}

async fn wrong_external_id(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let role = json!({"RoleName": MEMBER_ROLE});
    let before = member.call("iam", "GetRole", role).await?;
    let trust = match before.pointer("/Role/AssumeRolePolicyDocument") {
        Some(Value::String(text)) => text.clone(),
        Some(document) => document.to_string(),
        None => return Err(Trouble::said("the role has no trust policy")),
    };
    let set = async |document: String| {
        let update = json!({"RoleName": MEMBER_ROLE, "PolicyDocument": document});
        member.call("iam", "UpdateAssumeRolePolicy", update).await
    };
    let bucket = "wrong-external-id";
    let found = deployed.public_bucket(member, bucket).await?;
    set(trust.replace(super::EXTERNAL_ID_PREFIX, "another-prefix-altogether")).await?;
    let outcome = refused(deployed, bucket, &found).await;
    set(trust).await?;
    outcome
}

async fn missing_permission(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "missing-permission";
    let found = deployed.public_bucket(member, bucket).await?;
    let deny = Deny::to(member, MEMBER_ROLE, "s3:PutBucketPublicAccessBlock").await?;
    let outcome = refused(deployed, bucket, &found).await;
    deny.lift().await?;
    outcome
}

async fn role_deleted(deployed: &Deployed) -> Seen {
    // An account that is enrolled and whose stack somebody has deleted: the last, which no other
    // scenario needs.
    let (Some(account), true) = (deployed.members.last(), deployed.members.len() > 1) else {
        return Err(Trouble::said("this takes two member accounts"));
    };
    let bucket = "role-deleted";
    let found = deployed.public_bucket(account, bucket).await?;
    let attached = json!({"RoleName": MEMBER_ROLE});
    let policies = account
        .call("iam", "ListAttachedRolePolicies", attached.clone())
        .await?;
    for policy in super::list(&policies, "/AttachedPolicies") {
        let detach = json!({"RoleName": MEMBER_ROLE, "PolicyArn": text(policy, "/PolicyArn")});
        account.call("iam", "DetachRolePolicy", detach).await?;
    }
    let inline = account.call("iam", "ListRolePolicies", attached).await?;
    for name in super::list(&inline, "/PolicyNames") {
        let delete = json!({"RoleName": MEMBER_ROLE, "PolicyName": name});
        account.call("iam", "DeleteRolePolicy", delete).await?;
    }
    account
        .call("iam", "DeleteRole", json!({"RoleName": MEMBER_ROLE}))
        .await?;
    deployed.heard().await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    let error = failed(&row)?;
    is_blocked(deployed, account, bucket, false).await?;
    told(deployed, &row, "").await?;
    let spent = spent(deployed, mark).await?;
    Ok(format!("{}; recorded: {error}", figures(&spent)))
}

async fn kill_switch(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "kill-switch";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed
        .set_variables(ORCHESTRATOR, &[("STANCH_PAUSE", "the e2e test")])
        .await?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    Account::pause(Duration::from_secs(2)).await;
    is_blocked(deployed, member, bucket, false).await?;
    no_write(&deployed.since(mark).await?, bucket)?;
    deployed
        .set_variables(ORCHESTRATOR, &[("STANCH_PAUSE", "")])
        .await?;
    sweep(deployed).await?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    Ok(figures(&spent(deployed, mark).await?))
}

async fn topic_refuses(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "topic-refuses";
    let found = deployed.public_bucket(member, bucket).await?;
    let deny = Deny::to(&deployed.administrator, ORCHESTRATOR_ROLE, "sns:Publish").await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    deny.lift().await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    Ok(figures(&spent(deployed, mark).await?))
}

async fn table_throttled(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "table-throttled";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.emulator().befall(&[Accident {
        service: Some("dynamodb"),
        region: None,
        contains: "DynamoDB_20120810.",
        // More than the client tries again.
        times: 4,
        seconds: 0.0,
        refusal: Some(Refusal {
            status: 400,
            body: r#"{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "too fast"}"#,
        }),
    }])?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    deployed.emulator().befall(&[])?;
    deployed.redeliver().await?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    let spent = spent(deployed, mark).await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

async fn table_read_only(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "table-read-only";
    let found = deployed.public_bucket(member, bucket).await?;
    let deny = Deny::to(
        &deployed.administrator,
        ORCHESTRATOR_ROLE,
        "dynamodb:PutItem",
    )
    .await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    deny.lift().await?;
    is_blocked(deployed, member, bucket, false).await?;
    no_write(&deployed.since(mark).await?, bucket)?;
    let kept = deployed.kept_messages().await?;
    ensure(kept > 0, || "the message is gone".to_owned())?;
    // It is delivered again once its visibility timeout is over; here it is made so at once.
    deployed.redeliver().await?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    Ok(figures(&spent(deployed, mark).await?))
}

async fn killed_at_timeout(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "killed-at-timeout";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    // The change has its effect, and its answer does not come before the end of the run.
    let timeout = |seconds: u32| json!({"FunctionName": ORCHESTRATOR, "Timeout": seconds});
    let lambda = "UpdateFunctionConfiguration";
    deployed
        .administrator
        .call("lambda", lambda, timeout(8))
        .await?;
    deployed.emulator().befall(&[Accident {
        service: Some("s3"),
        region: None,
        contains: "PUT /killed-at-timeout?publicAccessBlock",
        times: 1,
        seconds: 12.0,
        refusal: None,
    }])?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    deployed
        .administrator
        .call("lambda", lambda, timeout(300))
        .await?;
    deployed.emulator().befall(&[])?;
    deployed.redeliver().await?;
    sweep(deployed).await?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    Ok(figures(&spent(deployed, mark).await?))
}

/// A permission that somebody took away.
struct Deny<'a> {
    account: &'a Account,
    role: &'static str,
}

impl<'a> Deny<'a> {
    async fn to(account: &'a Account, role: &'static str, action: &str) -> Outcome<Self> {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": action, "Resource": "*"}]});
        let put = json!({"RoleName": role, "PolicyName": "Accident", "PolicyDocument": policy.to_string()});
        account.call("iam", "PutRolePolicy", put).await?;
        Ok(Self { account, role })
    }

    async fn lift(self) -> Outcome {
        let delete = json!({"RoleName": self.role, "PolicyName": "Accident"});
        let lifted = self.account.call("iam", "DeleteRolePolicy", delete).await;
        lifted.map(drop)
    }
}

/// What the schedule of the stack sends.
async fn sweep(deployed: &Deployed) -> Outcome {
    let event = json!({"source": "stanch", "detail-type": "Sweep", "detail": {}});
    let message =
        json!({"QueueUrl": deployed.queue("Events").await?, "MessageBody": event.to_string()});
    let sent = deployed.administrator.call("sqs", "SendMessage", message);
    sent.await.map(drop)
}

/// A finding's record once the remediation is over.
async fn ended(deployed: &Deployed, found: &Misconfiguration) -> Outcome<Record> {
    stands(deployed, found, "over", |status| status.is_final()).await
}

/// A finding's record once its status is as wanted.
async fn stands(
    deployed: &Deployed,
    found: &Misconfiguration,
    what: &str,
    wanted: impl Fn(Status) -> bool,
) -> Outcome<Record> {
    let what = format!("`{}` {what}", found.resource_id);
    wait_for(&what, PATIENCE, async || {
        let record = deployed.record(found).await?;
        Ok(record.filter(|record| wanted(record.status)))
    })
    .await
}

fn is(record: &Record, wanted: Status) -> Outcome {
    ensure(record.status == wanted, || {
        format!("it is {}, not {wanted}: {record:?}", record.status)
    })
}

/// The audit log has the brief's attributes, in the row that says how it ended. Rows of what happened
/// after it, as people being told, are the ledger's own.
async fn complete(deployed: &Deployed, record: &Record) -> Outcome {
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
    for name in [
        "FindingId",
        "AccountId",
        "ResourceType",
        "ResourceId",
        "RemediationType",
        "RemediationAction",
        "ExecutionStatus",
        "ExecutorArn",
        "ExecutionDuration",
        "NotificationSent",
    ] {
        ensure(last.get(name).is_some(), || {
            format!("no `{name}` in {last}")
        })?;
    }
    let status = text(last, "/ExecutionStatus/S");
    ensure(status == "Success", || {
        format!("the last row says {status}")
    })
}

/// Why it came to nothing.
fn failed(record: &Record) -> Outcome<String> {
    ensure(
        matches!(record.status, Status::Failed | Status::Refused),
        || format!("it is {}: {record:?}", record.status),
    )?;
    let error = record.error_message.clone();
    error.ok_or_else(|| Trouble::said(format!("no reason in {record:?}")))
}

async fn is_blocked(deployed: &Deployed, account: &Account, bucket: &str, wanted: bool) -> Outcome {
    let blocked = deployed.is_blocked(account, bucket).await?;
    ensure(blocked == wanted, || {
        format!("public access to `{bucket}` is blocked: {blocked}")
    })
}

/// The requests that change a bucket.
fn changes<'a>(spent: &'a Spent, bucket: &str) -> Vec<&'a crate::Request> {
    let path = format!("/{bucket}");
    let requests = spent.requests.iter();
    requests
        .filter(|request| request.path.trim_end_matches('/') == path && request.method != "GET")
        .filter(|request| request.method != "HEAD")
        .collect()
}

fn no_write(spent: &Spent, bucket: &str) -> Outcome {
    writes(spent, bucket, 0)
}

fn writes(spent: &Spent, bucket: &str, wanted: usize) -> Outcome {
    let found = changes(spent, bucket);
    ensure(found.len() == wanted, || {
        format!("{} changes instead of {wanted}: {found:?}", found.len())
    })
}

/// The log object of a remediation in the account's bucket, in the layout of the brief.
async fn logged(deployed: &Deployed, account: &Account, row: &Record) -> Outcome {
    let id = row.remediation_id.to_string();
    wait_for("the log object", PATIENCE, async || {
        let keys = deployed.log_objects(account).await?;
        let named = |key: &String| {
            key.starts_with("year=")
                && key.contains("/month=")
                && key.contains("/day=")
                && key.contains(&id)
        };
        Ok(keys.into_iter().find(named))
    })
    .await
    .map(drop)
}

/// The topic told of a remediation; with this status, if one is given.
async fn told(deployed: &Deployed, row: &Record, status: &str) -> Outcome {
    let id = row.remediation_id.to_string();
    wait_for("the notification", PATIENCE, async || {
        let heard = deployed.heard().await?;
        let about = |message: &&Value| {
            text(message, "/RemediationId") == id
                && (status.is_empty() || text(message, "/Status") == status)
        };
        Ok(heard.iter().find(about).map(|_| ()))
    })
    .await
}

/// Waits until a run of the orchestrator has ended.
async fn a_run_ended(deployed: &Deployed, mark: super::Mark) -> Outcome {
    wait_for("the end of a run", PATIENCE, async || {
        let spent = deployed.since(mark).await?;
        let ended = spent.lines.iter().any(|line| line.0.starts_with("END "));
        Ok(ended.then_some(()))
    })
    .await
}

/// What was used, once nobody works any more: a run's lines are there before its messages are gone.
async fn spent(deployed: &Deployed, mark: super::Mark) -> Outcome<Spent> {
    deployed.settled(PATIENCE).await?;
    deployed.since(mark).await
}

fn figures(spent: &Spent) -> String {
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
