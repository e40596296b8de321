//! What comes in: bad, again, and from strangers.

use serde_json::{Value, json};
use stanch_ledger::{Ledger as _, Status};

use super::{
    super::{Account, Deployed, FOREIGN, ensure, text, wait_for},
    Seen,
    expect::{PATIENCE, a_run_ended, accounted, ended, figures, is, is_blocked, no_write, spent},
};

pub(super) async fn malformed(deployed: &Deployed) -> Seen {
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
    let known = deployed.heard().await?.len();
    let mark = deployed.mark().await?;
    deployed.enqueue(&bodies).await?;
    deployed.settled(PATIENCE).await?;
    let letters = deployed.ledger().dead_letters(1000).await?.len() - before;
    ensure(letters == bodies.len(), || {
        format!("{letters} dead letters of {}", bodies.len())
    })?;
    let heard = wait_for("a word about them", PATIENCE, async || {
        let heard = deployed.heard().await?;
        let told = heard.iter().skip(known);
        let told = told.filter(|message| text(message, "/Status") == "DeadLetter");
        Ok(Some(told.count()).filter(|told| *told == bodies.len()))
    })
    .await?;
    let measured = deployed.since(mark).await?.metric("DeadLetters");
    ensure(measured == bodies.len() as f64, || {
        format!("{measured} dead letters are measured")
    })?;
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

pub(super) async fn poisoned_batch(deployed: &Deployed) -> Seen {
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
        accounted(deployed, mark, &row).await?;
    }
    let spent = spent(deployed, mark).await?;
    Ok(figures(&spent))
}

pub(super) async fn replayed(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "replayed";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    accounted(deployed, mark, &row).await?;
    let first = mark;
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
    accounted(deployed, first, &row).await?;
    // The older report is a work item of its own, which finds nothing to do.
    let last = ended(deployed, &found).await?;
    let same = last.remediation_id == row.remediation_id;
    ensure(same || last.status == Status::NothingToDo, || {
        format!("done again: {last:?}")
    })?;
    Ok(figures(&spent))
}

pub(super) async fn foreign_account(deployed: &Deployed) -> Seen {
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

/// An account of another organization puts events on the bus for members, under the forwarder's name.
pub(super) async fn foreign_bus(deployed: &Deployed) -> Seen {
    let id = FOREIGN.parse()?;
    let region = &deployed.administrator.region;
    let foreign = Account::root(&deployed.emulator().endpoint(), &id, region);
    let bucket = "of-another-organization";
    let found = deployed.public_bucket(&foreign, bucket).await?;
    let bus = format!(
        "arn:aws:events:{region}:{}:event-bus/SecurityRemediationMembers",
        deployed.administrator.id
    );
    let role = "SecurityRemediationEventForwarder";
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "events.amazonaws.com"}}]});
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}]});
    for (service, operation, params) in [
        (
            "iam",
            "CreateRole",
            json!({"RoleName": role, "AssumeRolePolicyDocument": trust.to_string()}),
        ),
        (
            "iam",
            "PutRolePolicy",
            json!({"RoleName": role, "PolicyName": "Forward", "PolicyDocument": policy.to_string()}),
        ),
        (
            "events",
            "PutRule",
            json!({"Name": "forward", "EventPattern": r#"{"source": ["aws.config"]}"#}),
        ),
        (
            "events",
            "PutTargets",
            json!({"Rule": "forward", "Targets": [{"Id": "Administrator", "Arn": bus,
                "RoleArn": format!("arn:aws:iam::{FOREIGN}:role/{role}")}]}),
        ),
    ] {
        foreign.call(service, operation, params).await?;
    }
    let mark = deployed.mark().await?;
    let letters = deployed.ledger().dead_letters(1000).await?.len();
    let rule = "s3-bucket-level-public-access-prohibited";
    deployed.emulator().happen(&found.config_event(rule))?;
    // The same from a member account does arrive: the way is open, but not to everybody.
    let member = deployed.member()?;
    let own = deployed.public_bucket(member, "over-the-bus").await?;
    deployed.emulator().happen(&own.config_event(rule))?;
    a_run_ended(deployed, mark).await?;
    let spent = spent(deployed, mark).await?;
    ensure(spent.runs == 1, || format!("{} runs of Lambda", spent.runs))?;
    is_blocked(deployed, &foreign, bucket, false).await?;
    no_write(&spent, bucket)?;
    let rows = deployed.rows().await?;
    ensure(
        !rows.iter().any(|row| text(row, "/AccountId/S") == FOREIGN),
        || "it is in the audit log".to_owned(),
    )?;
    let now = deployed.ledger().dead_letters(1000).await?.len();
    ensure(now == letters, || "it is a dead letter".to_owned())?;
    let asked = json!({"Entries": [{"Source": "stanch", "DetailType": "Sweep", "Detail": "{}", "EventBusName": bus}]});
    let put = foreign.try_call("events", "PutEvents", asked).await;
    let refused = match &put {
        Err(error) => error.to_string(),
        Ok(answer) if answer.get("FailedEntryCount") == Some(&json!(1)) => {
            text(answer, "/Entries/0/ErrorMessage")
        }
        Ok(answer) => format!("taken, and matched by no rule: {answer}"),
    };
    Ok(format!(
        "{}; put there directly: {refused}",
        figures(&spent)
    ))
}
