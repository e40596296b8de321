//! What may not be done.

use serde_json::{Value, json};
use stanch_ledger::Status;

use super::{
    super::{Deployed, EXTERNAL_ID_PREFIX, MEMBER_ROLE, Trouble, ensure, list, text},
    Seen,
    expect::{
        Deny, accounted, ended, failed, figures, is, is_blocked, no_write, spent, stands, writes,
    },
};
use crate::{Accident, Misconfiguration, Refusal};

/// Plays one finding that must come to nothing, and looks at what was left of it.
async fn refused(deployed: &Deployed, bucket: &str, found: &Misconfiguration) -> Seen {
    let member = deployed.member()?;
    let mark = deployed.mark().await?;
    deployed.choose_action(found)?;
    let row = ended(deployed, found).await?;
    is_blocked(deployed, member, bucket, false).await?;
    let error = failed(&row)?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &row).await?;
    Ok(format!("{}; recorded: {error}", figures(&spent)))
}

pub(super) async fn wrong_external_id(deployed: &Deployed) -> Seen {
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
    set(trust.replace(EXTERNAL_ID_PREFIX, "another-prefix-altogether")).await?;
    let outcome = refused(deployed, bucket, &found).await;
    set(trust).await?;
    outcome
}

pub(super) async fn missing_permission(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "missing-permission";
    let found = deployed.public_bucket(member, bucket).await?;
    let deny = Deny::to(member, MEMBER_ROLE, "s3:PutBucketPublicAccessBlock").await?;
    let outcome = refused(deployed, bucket, &found).await;
    deny.lift().await?;
    outcome
}

pub(super) async fn role_deleted(deployed: &Deployed) -> Seen {
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
    for policy in list(&policies, "/AttachedPolicies") {
        let detach = json!({"RoleName": MEMBER_ROLE, "PolicyArn": text(policy, "/PolicyArn")});
        account.call("iam", "DetachRolePolicy", detach).await?;
    }
    let inline = account.call("iam", "ListRolePolicies", attached).await?;
    for name in list(&inline, "/PolicyNames") {
        let delete = json!({"RoleName": MEMBER_ROLE, "PolicyName": name});
        account.call("iam", "DeleteRolePolicy", delete).await?;
    }
    account
        .call("iam", "DeleteRole", json!({"RoleName": MEMBER_ROLE}))
        .await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let row = ended(deployed, &found).await?;
    let error = failed(&row)?;
    is_blocked(deployed, account, bucket, false).await?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &row).await?;
    Ok(format!("{}; recorded: {error}", figures(&spent)))
}

/// Whatever the orchestrator's program does in the session that it opens for a plan: AWS denies what is
/// not the plan's.
pub(super) async fn outside_of_plan(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "of-a-plan";
    let found = deployed.public_bucket(member, bucket).await?;
    deployed.public_bucket(member, "of-no-plan").await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let record = ended(deployed, &found).await?;
    is(&record, Status::Success)?;
    let spent = spent(deployed, mark).await?;
    let session = format!("RoleSessionName=stanch-{}", record.remediation_id);
    let opened = spent.requests.iter().find(|request| {
        request.service == "sts" && request.body.split('&').any(|part| part == session)
    });
    let opened = opened.ok_or_else(|| Trouble::said("no session of its own was opened"))?;
    let policy = form(&opened.body, "Policy")
        .ok_or_else(|| Trouble::said(format!("a session without policy: {}", opened.body)))?;
    let hub = deployed.orchestrator().await?;
    let enter = async |policy: &str| {
        let asked = json!({
            "RoleArn": format!("arn:aws:iam::{}:role/{MEMBER_ROLE}", member.id),
            "RoleSessionName": "outside",
            "ExternalId": format!("{EXTERNAL_ID_PREFIX}-{}", member.id),
            "Policy": policy,
        });
        hub.session(asked).await
    };
    let block = |bucket: &str| {
        json!({"Bucket": bucket, "PublicAccessBlockConfiguration": {"BlockPublicAcls": true,
            "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true}})
    };
    let within = enter(&policy).await?;
    within
        .call("s3", "PutPublicAccessBlock", block(bucket))
        .await?;
    let other = [
        ("s3", "PutPublicAccessBlock", block("of-no-plan")),
        (
            "s3",
            "PutBucketVersioning",
            json!({"Bucket": bucket, "VersioningConfiguration": {"Status": "Enabled"}}),
        ),
        ("s3", "DeleteBucket", json!({"Bucket": bucket})),
    ];
    for (service, operation, params) in other {
        within.is_denied(service, operation, params).await?;
    }
    // A session that asks for everything gets what the role has, and not what the boundary denies.
    let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let wide = enter(&everything.to_string()).await?;
    wide.call("s3", "PutPublicAccessBlock", block("of-no-plan"))
        .await?;
    let logs = format!("security-remediation-logs-{}-{}", member.id, member.region);
    let never = [
        ("iam", "CreateUser", json!({"UserName": "more"})),
        (
            "iam",
            "DeleteRolePermissionsBoundary",
            json!({"RoleName": MEMBER_ROLE}),
        ),
        ("s3", "PutPublicAccessBlock", block(&logs)),
    ];
    for (service, operation, params) in never {
        wide.is_denied(service, operation, params).await?;
    }
    Ok(format!(
        "the session's policy of {} characters lets out the plan and nothing of 3 other requests; one that asks for all none of 3 that nobody may",
        policy.len()
    ))
}

/// A value of a form, decoded.
fn form(body: &str, name: &str) -> Option<String> {
    let mut fields = body.split('&');
    let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Whoever may write the table puts the events of another remediation in the place of the one that people
/// are asked about: what they approve would be another bucket.
pub(super) async fn tampered_plan(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let mark = deployed.mark().await?;
    let mut waiting = Vec::new();
    for bucket in ["asked-about", "put-in-place"] {
        let found = deployed.public_bucket(member, bucket).await?;
        deployed.import(&found)?;
        let asked = |status| status == Status::AwaitingApproval;
        let record = stands(deployed, &found, "waiting", asked).await?;
        waiting.push((found, record.remediation_id));
    }
    let [(found, id), (_, other)] = &waiting[..] else {
        return Err(Trouble::said("two wait"));
    };
    deployed.settled(super::expect::PATIENCE).await?;
    let rows = deployed.rows().await?;
    let first = |id: &stanch_ledger::RemediationId| {
        let id = id.to_string();
        let mut of_it = rows
            .iter()
            .filter(|row| text(row, "/RemediationId/S") == id && text(row, "/Sequence/N") == "0");
        of_it.next().cloned().unwrap_or_default()
    };
    let genuine = first(id);
    let mut tampered = genuine.clone();
    if let Some(row) = tampered.as_object_mut() {
        let events = first(other).get("Events").cloned().unwrap_or_default();
        row.insert("Events".to_owned(), events);
    }
    let put = async |item: &Value| {
        let put = json!({"TableName": super::super::AUDIT_TABLE, "Item": item});
        deployed
            .administrator
            .call("dynamodb", "PutItem", put)
            .await
    };
    put(&tampered).await?;
    let said = deployed
        .operate(&["approve", &id.to_string(), "--as", super::super::APPROVER])
        .await?;
    ensure(said.exit != Some(0), || format!("approved: {said}"))?;
    // Nor does the state machine, or a sweep, go on with it.
    deployed.go_on(*id).await?;
    super::expect::a_run_ended(deployed, mark).await?;
    let told = super::super::wait_for("a word about it", super::expect::PATIENCE, async || {
        let heard = deployed.heard().await?;
        let about = heard.into_iter().find(|message| {
            text(message, "/RemediationId") == id.to_string()
                && text(message, "/Status") == "LedgerBroken"
        });
        Ok(about)
    })
    .await?;
    for bucket in ["asked-about", "put-in-place"] {
        is_blocked(deployed, member, bucket, false).await?;
        no_write(&deployed.since(mark).await?, bucket)?;
    }
    put(&genuine).await?;
    deployed.redeliver().await?;
    deployed.approve(*id).await?;
    let record = ended(deployed, found).await?;
    is(&record, Status::Success)?;
    let spent = spent(deployed, mark).await?;
    writes(&spent, "asked-about", 1)?;
    no_write(&spent, "put-in-place")?;
    Ok(format!("told: {}", text(&told, "/Error")))
}

/// The account has not opted in to the region: its other regions go on.
pub(super) async fn region_disabled(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let Some(other) = deployed.regions.get(1) else {
        return Err(Trouble::said("this takes two regions"));
    };
    let there = member.in_region(other);
    let far = deployed.public_bucket(&there, "region-disabled").await?;
    let near = deployed.public_bucket(member, "region-enabled").await?;
    let mark = deployed.mark().await?;
    deployed.emulator().befall(&[Accident {
        service: Some("sts"),
        region: Some(REGION),
        times: 1_000,
        refusal: Some(Refusal {
            status: 403,
            body: "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>RegionDisabledException</Code><Message>STS is not activated in this region for account</Message></Error><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>",
        }),
        ..Accident::to("")
    }])?;
    ensure(other.as_str() == REGION, || {
        format!("the other region is {other}")
    })?;
    let bodies =
        [far.clone(), near.clone()].map(|found| deployed.custom_action(&found).to_string());
    deployed.enqueue(&bodies).await?;
    let fixed = ended(deployed, &near).await?;
    is(&fixed, Status::Success)?;
    let record = ended(deployed, &far).await?;
    deployed.emulator().befall(&[])?;
    let why = failed(&record)?;
    ensure(why.contains("RegionDisabledException"), || why.clone())?;
    is_blocked(deployed, &there, "region-disabled", false).await?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &fixed).await?;
    accounted(deployed, mark, &record).await?;
    Ok(format!("{}; recorded: {why}", figures(&spent)))
}

/// The region beside the administrator's.
const REGION: &str = "eu-central-1";
