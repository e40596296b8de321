//! What is waited for.

use serde_json::{Value, json};
use stanch_ledger::{Record, RemediationId, Status};

use super::{
    super::{
        APPROVAL_PAGE, APPROVER, Deployed, ORCHESTRATOR, Outcome, STATE_TABLE, Trouble, ensure,
        mailbox::Mailbox, text, wait_for,
    },
    Seen,
    expect::{
        PATIENCE, accounted, ended, figures, fixed, is, is_blocked, no_write, spent, stands, sweep,
        told, writes,
    },
};
use crate::{Accident, Misconfiguration};

/// A finding that people are asked about, told of by Security Hub.
async fn asked(deployed: &Deployed, found: &Misconfiguration) -> Outcome<Record> {
    deployed.import(found)?;
    waits(deployed, found).await
}

async fn waits(deployed: &Deployed, found: &Misconfiguration) -> Outcome<Record> {
    let waits = |status| status == Status::AwaitingApproval;
    stands(deployed, found, "waiting", waits).await
}

/// Waits until the execution of this name has this status.
async fn execution(deployed: &Deployed, name: &str, wanted: &str) -> Outcome {
    let what = format!("the execution `{name}`, {wanted}");
    wait_for(&what, PATIENCE, async || {
        let executions = deployed.executions().await?;
        let mut of_it = executions
            .iter()
            .filter(|execution| text(execution, "/name") == name);
        let status = of_it.next().map(|found| text(found, "/status"));
        let over = status.as_deref().is_some_and(|status| status != "RUNNING");
        ensure(!over || status.as_deref() == Some(wanted), || {
            format!("the execution `{name}` is {status:?}")
        })?;
        Ok((status.as_deref() == Some(wanted)).then_some(()))
    })
    .await
}

/// Waits until the orchestrator keeps the token that the execution waits with.
async fn holds_token(deployed: &Deployed, id: RemediationId) -> Outcome {
    let key = json!({"Key": {"S": format!("task-token/{id}")}, "Item": {"S": "token"}});
    let asked = json!({"TableName": STATE_TABLE, "Key": key, "ConsistentRead": true});
    let here = &deployed.administrator;
    wait_for("the task token", PATIENCE, async || {
        let found = here.call("dynamodb", "GetItem", asked.clone()).await?;
        Ok(found.pointer("/Item/Token").map(|_| ()))
    })
    .await
}

pub(super) async fn approval(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "approval";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let record = asked(deployed, &found).await?;
    told(deployed, &record).await?;
    is_blocked(deployed, member, bucket, false).await?;
    let id = record.remediation_id;
    execution(deployed, &id.to_string(), "RUNNING").await?;
    deployed.approve(id).await?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    execution(deployed, &id.to_string(), "SUCCEEDED").await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

/// By the link that the functions have sent, to the page that `stanch serve` shows, where nothing but the
/// page is served.
pub(super) async fn approval_by_page(deployed: &Deployed) -> Seen {
    let mailbox = Mailbox::start().await?;
    let set = async |addresses: &str| {
        let webhooks = "STANCH_APPROVAL_WEBHOOKS";
        deployed
            .set_variables(ORCHESTRATOR, &[(webhooks, addresses)])
            .await
    };
    set(&format!("{{ {APPROVER} = \"{}\" }}", mailbox.url)).await?;
    let seen = by_page(deployed, &mailbox).await;
    set("").await?;
    seen
}

async fn by_page(deployed: &Deployed, mailbox: &Mailbox) -> Seen {
    let member = deployed.member()?;
    let bucket = "approval-by-page";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let id = asked(deployed, &found).await?.remediation_id;
    execution(deployed, &id.to_string(), "RUNNING").await?;
    let mails = mailbox.mails();
    let mut links = mails.iter().map(|mail| text(mail, "/Approval/Link"));
    let link = links.next().unwrap_or_default();
    let path = link.strip_prefix(APPROVAL_PAGE);
    let path = path.ok_or_else(|| Trouble::said(format!("`{link}` in {mails:?}")))?;
    ensure(links.next().is_none(), || format!("twice: {mails:?}"))?;
    let page = deployed.serve().await?;
    let (status, said) = page.ask("POST /events", "{}").await?;
    ensure(status == "409", || {
        format!("it took an event: {status} {said}")
    })?;
    let (status, shown) = page.ask(&format!("GET {path}"), "").await?;
    ensure(status == "200", || format!("no page: {status}; {shown}"))?;
    is_blocked(deployed, member, bucket, false).await?;
    let form = shown
        .split_once("name=form value=\"")
        .and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    let form = form.ok_or_else(|| Trouble::said(format!("no form: {shown}")))?;
    let yes = format!("decision=approve&form={form}");
    let (status, said) = page.ask(&format!("POST {path}"), &yes).await?;
    ensure(status == "303", || format!("no answer: {status} {said}"))?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    execution(deployed, &id.to_string(), "SUCCEEDED").await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

/// With the command, as whoever may put events on the account's bus.
pub(super) async fn approval_refused(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "approval-refused";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let id = asked(deployed, &found).await?.remediation_id.to_string();
    execution(deployed, &id, "RUNNING").await?;
    let reason = "the website needs it";
    let said = deployed
        .operate(&["reject", &id, "--as", APPROVER, "--reason", reason])
        .await?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Refused)?;
    let why = record.error_message.clone().unwrap_or_default();
    ensure(why.contains(reason), || format!("{why}; {said}"))?;
    is_blocked(deployed, member, bucket, false).await?;
    // The state machine learns of it, and has nothing to wait for any more.
    execution(deployed, &id, "SUCCEEDED").await?;
    let spent = spent(deployed, mark).await?;
    no_write(&spent, bucket)?;
    accounted(deployed, mark, &record).await?;
    Ok(format!("{}; recorded: {why}", figures(&spent)))
}

pub(super) async fn approval_expired(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "approval-expired";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let timeout = "APPROVAL_TIMEOUT_SECONDS";
    let set = async |seconds: &str| {
        deployed
            .set_variables(ORCHESTRATOR, &[(timeout, seconds)])
            .await
    };
    set("2").await?;
    let record = asked(deployed, &found).await;
    // Unlike in AWS, a run that is under way ends when its function is changed.
    let settled = deployed.settled(PATIENCE).await;
    set("86400").await?;
    settled?;
    let id = record?.remediation_id;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Refused)?;
    is_blocked(deployed, member, bucket, false).await?;
    execution(deployed, &id.to_string(), "SUCCEEDED").await?;
    // A yes that comes too late is none.
    let id = id.to_string();
    let late = deployed
        .operate(&["approve", &id, "--as", APPROVER])
        .await?;
    ensure(late.exit != Some(0), || format!("approved: {late}"))?;
    let spent = spent(deployed, mark).await?;
    no_write(&spent, bucket)?;
    accounted(deployed, mark, &record).await?;
    let why = record.error_message.unwrap_or_default();
    Ok(format!("{}; recorded: {why}", figures(&spent)))
}

/// One event with a finding in each of two regions: one execution with both, of which one fails.
pub(super) async fn several_regions(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let Some(other) = deployed.regions.get(1) else {
        return Err(Trouble::said("this takes two regions"));
    };
    let there = member.in_region(other);
    let near = deployed.public_bucket(member, "regions-near").await?;
    let far = deployed.public_bucket(&there, "regions-far").await?;
    let mut event = near.security_hub_event();
    if let Some(Value::Array(findings)) = event.pointer_mut("/detail/findings") {
        findings.push(far.asff());
    }
    let mark = deployed.mark().await?;
    deployed.enqueue(&[event.to_string()]).await?;
    let mut ids: Vec<RemediationId> = Vec::new();
    for found in [&near, &far] {
        ids.push(waits(deployed, found).await?.remediation_id);
    }
    let name = wait_for("one execution", PATIENCE, async || {
        let executions = deployed.executions().await?;
        let many = executions.iter().map(|one| text(one, "/name"));
        Ok(many.into_iter().find(|name| name.starts_with("many-")))
    })
    .await?;
    execution(deployed, &name, "RUNNING").await?;
    // The bucket in the other region goes away.
    let gone = json!({"Bucket": "regions-far"});
    there.call("s3", "DeleteBucket", gone).await?;
    for id in ids {
        deployed.approve(id).await?;
    }
    let fixed = ended(deployed, &near).await?;
    is(&fixed, Status::Success)?;
    is_blocked(deployed, member, "regions-near", true).await?;
    let failed = ended(deployed, &far).await?;
    ensure(failed.status != Status::Success, || format!("{failed:?}"))?;
    execution(deployed, &name, "SUCCEEDED").await?;
    let spent = spent(deployed, mark).await?;
    ensure(spent.executions == 1, || {
        format!("{} executions", spent.executions)
    })?;
    accounted(deployed, mark, &fixed).await?;
    accounted(deployed, mark, &failed).await?;
    let why = failed.error_message.unwrap_or_default();
    Ok(format!("{}; {}: {why}", figures(&spent), failed.status))
}

/// One remediation waits for people, another one is in the middle of its request, and the stack gets new
/// functions.
pub(super) async fn stack_update(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let waiting = deployed.public_bucket(member, "update-waiting").await?;
    let running = deployed.public_bucket(member, "update-running").await?;
    let mark = deployed.mark().await?;
    let id = asked(deployed, &waiting).await?.remediation_id;
    holds_token(deployed, id).await?;
    deployed.emulator().befall(&[Accident {
        seconds: 4.0,
        ..Accident::to("PUT /update-running?publicAccessBlock")
    }])?;
    deployed.choose_action(&running)?;
    let began = |status| matches!(status, Status::Running | Status::Verifying);
    stands(deployed, &running, "under way", began).await?;
    let template = deployed.administrator_template(&[("UPDATED", "yes")])?;
    let mut parameters = deployed.parameters();
    if let Some(parameters) = parameters.as_object_mut() {
        parameters.insert("ApprovalTimeoutSeconds".to_owned(), json!("43200"));
        parameters.insert("LogRetentionDays".to_owned(), json!("60"));
    }
    let here = &deployed.administrator;
    here.update("administrator", &template, parameters).await?;
    let named = json!({"FunctionName": ORCHESTRATOR});
    let function = here
        .call("lambda", "GetFunctionConfiguration", named)
        .await?;
    for (name, value) in [("UPDATED", "yes"), ("APPROVAL_TIMEOUT_SECONDS", "43200")] {
        let found = text(&function, &format!("/Environment/Variables/{name}"));
        ensure(found == value, || format!("`{name}` is `{found}`"))?;
    }
    // The emulator stops a function that it updates in the middle, as Lambda does at its timeout.
    deployed.redeliver().await?;
    let one = ended(deployed, &running).await?;
    deployed.emulator().befall(&[])?;
    is(&one, Status::Success)?;
    deployed.approve(id).await?;
    let two = ended(deployed, &waiting).await?;
    is(&two, Status::Success)?;
    execution(deployed, &id.to_string(), "SUCCEEDED").await?;
    let spent = spent(deployed, mark).await?;
    for (record, bucket) in [(&one, "update-running"), (&two, "update-waiting")] {
        is_blocked(deployed, member, bucket, true).await?;
        writes(&spent, bucket, 1)?;
        accounted(deployed, mark, record).await?;
    }
    sweep(deployed).await?;
    Ok(figures(&spent))
}
