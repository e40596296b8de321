//! What is fixed, and what is put back.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_ledger::{Ledger as _, Status};

use super::{
    super::{Account, Deployed, ensure, text, wait_for},
    Seen,
    expect::{
        PATIENCE, accounted, ended, failed, figures, fixed, is, is_blocked, no_write, spent,
        stands, traced, writes,
    },
};
use crate::{Accident, Refusal};

/// One S3 fix, with what it took.
pub(super) async fn manual_fix(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "manual-fix";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    ensure(spent.runs == 1, || format!("{} runs of Lambda", spent.runs))?;
    ensure(spent.executions == 0, || {
        format!("{} executions", spent.executions)
    })?;
    let record = ended(deployed, &found).await?;
    traced(deployed, &record, bucket).await?;
    Ok(figures(&spent))
}

pub(super) async fn automatic_fix(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let key = member
        .call("kms", "CreateKey", json!({"Description": "e2e"}))
        .await?;
    let arn = text(&key, "/KeyMetadata/Arn");
    let found = deployed.finding(member, "KMS.4", "AwsKmsKey", &arn)?;
    let mark = deployed.mark().await?;
    deployed.import(&found)?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Success)?;
    let asked = json!({"KeyId": arn});
    let rotation = member.call("kms", "GetKeyRotationStatus", asked).await?;
    ensure(
        rotation.get("KeyRotationEnabled") == Some(&json!(true)),
        || format!("the key does not rotate: {rotation}"),
    )?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &record).await?;
    Ok(figures(&spent))
}

/// As an operator does it from a terminal, with the command and the ledger in AWS: who may enter no member
/// account asks the orchestrator.
pub(super) async fn undo(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "undo";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.choose_action(&found)?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Success)?;
    let id = record.remediation_id.to_string();
    let said = deployed
        .operate(&["rollback", &id, "--as", "alice"])
        .await?;
    ensure(said.exit == Some(0), || said.to_string())?;
    is_blocked(deployed, member, bucket, false).await?;
    let record = stands(deployed, &found, "taken back", |status| {
        status == Status::Undone
    })
    .await?;
    Ok(format!(
        "{}: {}",
        record.status,
        said.stdout.lines().next().unwrap_or_default()
    ))
}

pub(super) async fn dry_run(deployed: &Deployed) -> Seen {
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

/// AWS says yes to the request, and it has no effect.
pub(super) async fn lost_change(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "lost-change";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.emulator().befall(&[Accident {
        refusal: Some(Refusal {
            status: 200,
            body: "",
        }),
        ..Accident::to("PUT /lost-change?publicAccessBlock")
    }])?;
    deployed.choose_action(&found)?;
    let record = ended(deployed, &found).await?;
    deployed.emulator().befall(&[])?;
    is(&record, Status::Failed)?;
    is_blocked(deployed, member, bucket, false).await?;
    let why = failed(&record)?;
    let spent = spent(deployed, mark).await?;
    writes(&spent, bucket, 1)?;
    accounted(deployed, mark, &record).await?;
    Ok(format!("{}; recorded: {why}", figures(&spent)))
}

/// Between the request and the verifying read somebody turns half of it off again.
pub(super) async fn failed_verification(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "failed-verification";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.emulator().befall(&[Accident {
        after: Some("PUT /failed-verification?publicAccessBlock"),
        seconds: 3.0,
        ..Accident::to("GET /failed-verification?publicAccessBlock")
    }])?;
    deployed.choose_action(&found)?;
    wait_for("the change", PATIENCE, async || {
        let blocked = deployed.is_blocked(member, bucket).await?;
        Ok(blocked.then_some(()))
    })
    .await?;
    let half = json!({"Bucket": bucket, "PublicAccessBlockConfiguration": {"BlockPublicAcls": true,
        "IgnorePublicAcls": true, "BlockPublicPolicy": false, "RestrictPublicBuckets": false}});
    member.call("s3", "PutPublicAccessBlock", half).await?;
    let record = ended(deployed, &found).await?;
    deployed.emulator().befall(&[])?;
    is(&record, Status::Undone)?;
    // As it was before the change: it had no such setting.
    let asked = json!({"Bucket": bucket});
    let now = member.try_call("s3", "GetPublicAccessBlock", asked).await;
    ensure(
        now.is_err_and(|error| error.code == "NoSuchPublicAccessBlockConfiguration"),
        || "the bucket is not as it was".to_owned(),
    )?;
    let (state, _) = deployed.ledger().state(record.remediation_id).await?;
    let why = state.undo.map(|undo| undo.planned.reason);
    let why = why.unwrap_or_default();
    ensure(why.contains("the check still fails"), || why.clone())?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &record).await?;
    Ok(format!("{}; put back because {why}", figures(&spent)))
}

/// A volume in use is replaced by an encrypted one: a snapshot of it is made first and waited for.
pub(super) async fn backup(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let zone = format!("{}a", member.region);
    let run = json!({"ImageId": "ami-12c6146b", "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
        "Placement": {"AvailabilityZone": zone}});
    let run = member.call("ec2", "RunInstances", run).await?;
    let instance = text(&run, "/Instances/0/InstanceId");
    let volume =
        json!({"AvailabilityZone": zone, "Size": 8, "VolumeType": "gp2", "Encrypted": false});
    let volume = member.call("ec2", "CreateVolume", volume).await?;
    let volume = text(&volume, "/VolumeId");
    let attach = json!({"VolumeId": volume, "InstanceId": instance, "Device": "/dev/sdf"});
    member.call("ec2", "AttachVolume", attach).await?;
    let arn = format!(
        "arn:aws:ec2:{}:{}:volume/{volume}",
        member.region, member.id
    );
    let found = deployed.finding(member, "EC2.3", "AwsEc2Volume", &arn)?;
    let mark = deployed.mark().await?;
    deployed.import(&found)?;
    let asked = async |what: &str| {
        stands(deployed, &found, what, |status| {
            status == Status::AwaitingApproval
        })
        .await
    };
    let id = asked("waiting").await?.remediation_id;
    // A snapshot takes its time.
    deployed.emulator().befall(&[Accident {
        service: Some("ec2"),
        after: Some("Action=CreateSnapshot"),
        times: 3,
        refusal: Some(Refusal {
            status: 200,
            body: "<DescribeSnapshotsResponse><snapshotSet><item><status>pending</status></item></snapshotSet></DescribeSnapshotsResponse>",
        }),
        ..Accident::to("Action=DescribeSnapshots")
    }])?;
    deployed.approve(id).await?;
    // It has made its backup, and asks again before the instance is stopped.
    let snapshots = async || {
        let of_it = json!({"Filters": [{"Name": "volume-id", "Values": [volume]}]});
        let found = member.call("ec2", "DescribeSnapshots", of_it).await?;
        Ok(super::super::list(&found, "/Snapshots").len())
    };
    wait_for("the backup", PATIENCE, async || {
        let made: super::super::Outcome<usize> = snapshots().await;
        Ok((made? > 0).then_some(()))
    })
    .await?;
    asked("waiting in the middle").await?;
    let state = |account: &Account| {
        let (account, instance) = (account.clone(), instance.clone());
        async move {
            let asked = json!({"InstanceIds": [instance]});
            let found = account.call("ec2", "DescribeInstances", asked).await?;
            Ok::<_, super::super::Trouble>(text(&found, "/Reservations/0/Instances/0/State/Name"))
        }
    };
    let before = state(member).await?;
    ensure(before == "running", || format!("the instance is {before}"))?;
    deployed.approve(id).await?;
    let record = ended(deployed, &found).await?;
    deployed.emulator().befall(&[])?;
    is(&record, Status::Success)?;
    let after = state(member).await?;
    ensure(after == "running", || format!("the instance is {after}"))?;
    let attached = json!({"Filters": [{"Name": "attachment.instance-id", "Values": [instance]}]});
    let attached = member.call("ec2", "DescribeVolumes", attached).await?;
    let at = |volume: &&Value| text(volume, "/Attachments/0/Device") == "/dev/sdf";
    let now = super::super::list(&attached, "/Volumes").iter().find(at);
    let now = now.cloned().unwrap_or_default();
    ensure(
        now.get("Encrypted") == Some(&json!(true)) && text(&now, "/VolumeId") != volume,
        || format!("the volume is {now}"),
    )?;
    let polled = deployed.since(mark).await?;
    let polled = polled
        .requests
        .iter()
        .filter(|request| request.body.contains("Action=DescribeSnapshots"))
        .count();
    ensure(polled > 3, || {
        format!("the backup was looked at {polled} times")
    })?;
    Account::pause(Duration::from_millis(200)).await;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &record).await?;
    Ok(figures(&spent))
}
