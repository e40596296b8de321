//! A second administrator region: it stands by on replicas of the ledger's tables, and takes over.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_types::Region;

use super::{
    AUDIT_TABLE, Account, Deployed, Layout, ORCHESTRATOR, Outcome, STATE_TABLE, Trouble, archives,
    ensure, template, text, wait_for,
};
use crate::Misconfiguration;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Deploys both regions, fails over as the guide says (`docs/guides/standby-region.md`), and back.
///
/// # Errors
/// Both act, or none does, or something is lost.
pub async fn play(layout: &Layout<'_>) -> Outcome<String> {
    let mut deployed = Deployed::start(layout).await?;
    let [first, second] = &deployed.regions[..] else {
        return Err(Trouble::said("two regions are needed"));
    };
    let (first, second) = (first.clone(), second.clone());
    pair(&deployed, layout.archive, &second).await?;

    // The first one acts; what arrives at the other one is kept, and who calls it is refused.
    let found = bucket(&deployed, "before").await?;
    deployed.choose_action(&found)?;
    blocks(&deployed, "before", true).await?;
    let kept = bucket(&deployed, "kept").await?;
    enter(&mut deployed, &second);
    deployed.choose_action(&kept)?;
    refuses(&deployed, &kept).await?;
    ensure(waiting(&deployed).await? == 1, || {
        "the event is not kept".to_owned()
    })?;
    blocks(&deployed, "kept", false).await?;

    enter(&mut deployed, &first);
    let over = fail_over(
        &deployed,
        &["--from", first.as_str(), "--to", second.as_str()],
    )
    .await?;
    enter(&mut deployed, &second);
    blocks(&deployed, "kept", true).await?;
    let verified = deployed.operate(&["ledger", "verify"]).await?;
    ensure(verified.exit == Some(0), || verified.to_string())?;
    // What the first one fixed, the second one knows, and can take back.
    let rows = deployed.rows().await?;
    let is_it = |row: &&Value| text(row, "/ResourceId/S").ends_with("before");
    let known = rows.iter().find(is_it);
    let known = known.ok_or_else(|| Trouble::said("the replica lacks what was fixed before"))?;
    let id = text(known, "/RemediationId/S");
    let back = deployed
        .operate(&["rollback", &id, "--as", "alice"])
        .await?;
    ensure(back.exit == Some(0), || back.to_string())?;
    blocks(&deployed, "before", false).await?;

    enter(&mut deployed, &first);
    let late = bucket(&deployed, "late").await?;
    refuses(&deployed, &late).await?;
    blocks(&deployed, "late", false).await?;

    // The other region is gone: the first one takes over without asking it, and it stops when it hears of it.
    fail_over(&deployed, &["--lost", "--to", first.as_str()]).await?;
    deployed.choose_action(&late)?;
    blocks(&deployed, "late", true).await?;
    enter(&mut deployed, &second);
    let last = bucket(&deployed, "last").await?;
    refuses(&deployed, &last).await?;
    blocks(&deployed, "last", false).await?;
    Ok(format!(
        "{}; {}; and back without asking it",
        over.trim_end(),
        verified.stdout.trim_end()
    ))
}

/// Works in another region of the administrator account from now on.
fn enter(deployed: &mut Deployed, region: &Region) {
    deployed.administrator = deployed.administrator.in_region(region);
}

/// In the order of the guide: the standby, then the first one, the replicas, and the members.
async fn pair(deployed: &Deployed, archive: &[u8], second: &Region) -> Outcome {
    let first = &deployed.administrator;
    let there = first.in_region(second);
    let stack = deployed.administrator_template(&[])?;
    let artifacts = format!("artifacts-{}-{second}", first.id);
    there.create_bucket(&artifacts).await?;
    for key in archives(&stack, super::ARCHITECTURE) {
        there.put(&artifacts, &key, archive).await?;
    }
    let with = |mut parameters: Value, more: Value| {
        if let (Some(all), Value::Object(more)) = (parameters.as_object_mut(), more) {
            all.extend(more);
        }
        parameters
    };
    let standby = json!({"PeerRegion": first.region, "Standby": "true", "ArtifactBucket": artifacts,
        "EnableMonitoring": "false"});
    let parameters = with(deployed.parameters(), standby);
    there.deploy("administrator", &stack, parameters).await?;
    let peer = with(deployed.parameters(), json!({"PeerRegion": second}));
    first.update("administrator", &stack, peer).await?;
    for table in [AUDIT_TABLE, STATE_TABLE] {
        let create = json!({"RegionName": second, "KMSMasterKeyId": "alias/SecurityRemediation"});
        let replica = json!({"TableName": table, "ReplicaUpdates": [{"Create": create}]});
        first.call("dynamodb", "UpdateTable", replica).await?;
        wait_for("the replica", PATIENCE, async || {
            let named = json!({"TableName": table});
            let found = there.try_call("dynamodb", "DescribeTable", named).await;
            Ok(found
                .ok()
                .filter(|found| text(found, "/Table/TableStatus") == "ACTIVE"))
        })
        .await?;
    }
    let (member_stack, _) = template("member-stack.yaml")?;
    for member in &deployed.members {
        for region in &deployed.regions {
            let parameters = with(
                deployed.member_parameters(),
                json!({"StandbyRegion": second}),
            );
            let here = member.in_region(region);
            here.update("member", &member_stack, parameters).await?;
        }
    }
    Ok(())
}

async fn fail_over(deployed: &Deployed, which: &[&str]) -> Outcome<String> {
    let mut arguments = vec![
        "deploy",
        "fail-over",
        "--reason",
        "a drill",
        "--as",
        "alice",
        "--yes",
    ];
    arguments.extend(which);
    let said = deployed.operate(&arguments).await?;
    ensure(said.exit == Some(0), || said.to_string())?;
    Ok(said.stdout)
}

/// An open bucket, in the members' home.
async fn bucket(deployed: &Deployed, name: &str) -> Outcome<Misconfiguration> {
    deployed.public_bucket(deployed.member()?, name).await
}

/// Waits until the bucket is closed; or sees that it is open.
async fn blocks(deployed: &Deployed, bucket: &str, wanted: bool) -> Outcome {
    let member = deployed.member()?;
    wait_for(&format!("the change of `{bucket}`"), PATIENCE, async || {
        let blocks = deployed.is_blocked(member, bucket).await?;
        Ok((blocks == wanted).then_some(()))
    })
    .await
}

/// The orchestrator of this region takes nothing in.
async fn refuses(deployed: &Deployed, found: &Misconfiguration) -> Outcome {
    match deployed
        .invoke(ORCHESTRATOR, &deployed.custom_action(found))
        .await
    {
        Err(Trouble::Said(why)) if why.contains("Passive") => Ok(()),
        other => Err(Trouble::said(format!("not refused, but: {other:?}"))),
    }
}

/// Messages on the queue of events.
async fn waiting(deployed: &Deployed) -> Outcome<u64> {
    let name = "ApproximateNumberOfMessages";
    let asked = json!({"QueueUrl": deployed.queue("Events").await?, "AttributeNames": [name]});
    // An event takes its time from the bus to the queue.
    Account::pause(Duration::from_secs(1)).await;
    let found = deployed
        .administrator
        .call("sqs", "GetQueueAttributes", asked)
        .await?;
    let number = text(&found, &format!("/Attributes/{name}"));
    number.parse().map_err(|_| Trouble::said(found.to_string()))
}
