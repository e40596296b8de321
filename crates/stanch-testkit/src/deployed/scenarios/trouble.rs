//! What goes wrong around the functions.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_ledger::Status;

use super::{
    super::{
        Account, Deployed, Mark, ORCHESTRATOR, ORCHESTRATOR_ROLE, Outcome, Trouble, committed,
        ensure, list, text, wait_for,
    },
    Seen,
    expect::{
        Deny, PATIENCE, a_run_ended, ended, figures, fixed, is, is_blocked, no_write, spent, sweep,
        writes,
    },
};
use crate::{Accident, Refusal};

pub(super) async fn kill_switch(deployed: &Deployed) -> Seen {
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
    untouched(deployed, bucket, mark).await?;
    deployed
        .set_variables(ORCHESTRATOR, &[("STANCH_PAUSE", "")])
        .await?;
    sweep(deployed).await?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    Ok(figures(&spent))
}

pub(super) async fn topic_refuses(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "topic-refuses";
    let found = deployed.public_bucket(member, bucket).await?;
    let deny = Deny::to(&deployed.administrator, ORCHESTRATOR_ROLE, "sns:Publish").await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    is(&row, Status::Success)?;
    is_blocked(deployed, member, bucket, true).await?;
    let spent = spent(deployed, mark).await?;
    deny.lift().await?;
    let events = deployed.untold(row.remediation_id).await?;
    ensure(
        events
            .iter()
            .any(|(channel, _)| channel.starts_with("topic ")),
        || format!("the ledger does not say that the topic was not told: {events:?}"),
    )?;
    Ok(format!("{}; recorded: {events:?}", figures(&spent)))
}

pub(super) async fn table_throttled(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "table-throttled";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    // More than the client tries again.
    let body = r#"{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "too fast"}"#;
    tables_answer(deployed, 4, body)?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    deployed.emulator().befall(&[])?;
    deployed.redeliver().await?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

pub(super) async fn table_read_only(deployed: &Deployed) -> Seen {
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
    untouched(deployed, bucket, mark).await?;
    is_kept(deployed).await?;
    // It is delivered again once its visibility timeout is over; here it is made so at once.
    deployed.redeliver().await?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    Ok(figures(&spent))
}

pub(super) async fn killed_at_timeout(deployed: &Deployed) -> Seen {
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
        seconds: 12.0,
        ..Accident::to("PUT /killed-at-timeout?publicAccessBlock")
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
    let spent = fixed(deployed, &found, bucket, mark).await?;
    Ok(figures(&spent))
}

/// The audit log's table is gone; somebody brings it back.
pub(super) async fn table_absent(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "table-absent";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    let body = r#"{"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "message": "Requested resource not found"}"#;
    tables_answer(deployed, 1_000, body)?;
    deployed.choose_action(&found)?;
    a_run_ended(deployed, mark).await?;
    deployed.emulator().befall(&[])?;
    untouched(deployed, bucket, mark).await?;
    is_kept(deployed).await?;
    deployed.redeliver().await?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    writes(&spent, bucket, 1)?;
    Ok(figures(&spent))
}

/// A message that fails the function each time it comes.
pub(super) async fn dead_letter_queue(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let here = &deployed.administrator;
    let bucket = "dead-letter-queue";
    let found = deployed.public_bucket(member, bucket).await?;
    let asked =
        json!({"QueueUrl": deployed.queue("Events").await?, "AttributeNames": ["RedrivePolicy"]});
    let answer = here.call("sqs", "GetQueueAttributes", asked).await?;
    let redrive: Value =
        serde_json::from_str(&text(&answer, "/Attributes/RedrivePolicy")).unwrap_or_default();
    let most = redrive.get("maxReceiveCount").and_then(Value::as_u64);
    let most = most.ok_or_else(|| Trouble::said(format!("no redrive policy: {answer}")))?;
    let before = deployed.waiting_in("DeadLetters").await?;
    let deny = Deny::to(here, ORCHESTRATOR_ROLE, "dynamodb:PutItem").await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let runs = async |wanted: usize| {
        wait_for(&format!("run {wanted}"), PATIENCE, async || {
            let spent = deployed.since(mark).await?;
            let ended = spent
                .lines
                .iter()
                .filter(|line| line.0.starts_with("END "))
                .count();
            Ok((ended >= wanted).then_some(()))
        })
        .await
    };
    for delivery in 1..=most {
        runs(usize::try_from(delivery).unwrap_or(usize::MAX)).await?;
        deployed.redeliver().await?;
    }
    wait_for("the dead letter", PATIENCE, async || {
        let now = deployed.waiting_in("DeadLetters").await?;
        Ok((now == before + 1).then_some(()))
    })
    .await?;
    untouched(deployed, bucket, mark).await?;
    is_watched("SecurityRemediationDeadLetters")?;
    let doctor = deployed.operate(&["doctor", "--json"]).await?;
    let seen: Value =
        serde_json::from_str(&doctor.stdout).map_err(|_| Trouble::said(doctor.to_string()))?;
    let of_queue = |line: &&Value| text(line, "/what") == "queue SecurityRemediationDeadLetters";
    let line = list(&seen, "/lines")
        .iter()
        .find(of_queue)
        .cloned()
        .unwrap_or_default();
    ensure(
        text(&line, "/state") == "warning"
            && text(&line, "/seen").starts_with(&format!("{} waiting", before + 1)),
        || format!("the doctor says {line} of {doctor}"),
    )?;
    // The cause is mended, and the letter sent again, as the doctor says.
    deny.lift().await?;
    let letters = deployed.queue("DeadLetters").await?;
    let body = resend(deployed, &letters).await?;
    ensure(body.contains(bucket), || format!("the letter is {body}"))?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    writes(&spent, bucket, 1)?;
    Ok(format!("after {most} deliveries; {}", figures(&spent)))
}

/// Nothing was done to the bucket.
async fn untouched(deployed: &Deployed, bucket: &str, mark: Mark) -> Outcome {
    is_blocked(deployed, deployed.member()?, bucket, false).await?;
    no_write(&deployed.since(mark).await?, bucket)
}

/// The message comes again once its visibility timeout is over.
async fn is_kept(deployed: &Deployed) -> Outcome {
    let kept = deployed.kept_messages().await?;
    ensure(kept > 0, || "the message is gone".to_owned())
}

/// DynamoDB refuses so many requests.
fn tables_answer(deployed: &Deployed, times: u32, body: &'static str) -> Outcome {
    deployed.emulator().befall(&[Accident {
        service: Some("dynamodb"),
        times,
        refusal: Some(Refusal { status: 400, body }),
        ..Accident::to("DynamoDB_20120810.")
    }])?;
    Ok(())
}

/// An alarm of the committed template looks at how many messages wait in the queue of this name.
fn is_watched(queue: &str) -> Outcome {
    let monitoring = committed("administrator-monitoring.yaml")?;
    let resources = monitoring.get("Resources").and_then(Value::as_object);
    let metrics = resources.into_iter().flat_map(|all| all.values());
    let mut metrics = metrics
        .filter(|resource| text(resource, "/Type") == "AWS::CloudWatch::Alarm")
        .flat_map(|alarm| list(alarm, "/Properties/Metrics"))
        .filter_map(|metric| metric.pointer("/MetricStat/Metric"));
    let is_its = |metric: &Value| {
        text(metric, "/MetricName") == "ApproximateNumberOfMessagesVisible"
            && text(metric, "/Dimensions/0/Value/Fn::Sub")
                .replace("${NamePrefix}", "SecurityRemediation")
                == queue
    };
    ensure(metrics.any(is_its), || {
        format!("no alarm looks at `{queue}`")
    })
}

/// Puts the oldest letter back on the queue of events.
async fn resend(deployed: &Deployed, letters: &str) -> Outcome<String> {
    let here = &deployed.administrator;
    let asked = json!({"QueueUrl": letters, "MaxNumberOfMessages": 1});
    let answer = here.call("sqs", "ReceiveMessage", asked).await?;
    let body = text(&answer, "/Messages/0/Body");
    let send = json!({"QueueUrl": deployed.queue("Events").await?, "MessageBody": body});
    here.call("sqs", "SendMessage", send).await?;
    let handle = text(&answer, "/Messages/0/ReceiptHandle");
    let done = json!({"QueueUrl": letters, "ReceiptHandle": handle});
    here.call("sqs", "DeleteMessage", done).await?;
    Ok(body)
}
