//! The audit log on its way to a SIEM: the options stack beside the others.

use std::{collections::BTreeMap, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{
    super::{
        ARCHITECTURE, Deployed, Outcome, Trouble, archives, ensure, list, template, text, wait_for,
    },
    Seen,
    expect::{PATIENCE, figures, fixed},
};
use crate::{Accident, Refusal};

/// The stack of what an organization may have or not.
const STACK: &str = "options";

/// The function, its stream of Firehose, and its alarm.
const FUNCTION: &str = "SecurityRemediationSiem";

/// What the table's stream says of a fix is in the bucket and has gone through Firehose, as the two events
/// of OCSF that it comes to: <https://schema.ocsf.io/1.4.0/classes/compliance_finding> and
/// <https://schema.ocsf.io/1.4.0/classes/remediation_activity>.
pub(super) async fn siem(deployed: &Deployed) -> Seen {
    deploy(deployed).await?;
    let seen = handed_on(deployed).await;
    let here = &deployed.administrator;
    let stack = json!({"StackName": STACK});
    here.call("cloudformation", "DeleteStack", stack).await?;
    seen
}

/// Deploys the options stack with its export, which takes what the administrator's stack gives out.
async fn deploy(deployed: &Deployed) -> Outcome {
    let here = &deployed.administrator;
    let named = json!({"StackName": "administrator"});
    let stacks = here.call("cloudformation", "DescribeStacks", named).await?;
    let mut parameters = json!({
        "ExportLogs": "true",
        "ArtifactBucket": format!("artifacts-{}", here.id),
        "Architecture": ARCHITECTURE,
    });
    for output in list(&stacks, "/Stacks/0/Outputs") {
        let name = text(output, "/OutputKey");
        let asked = [
            "NotificationTopicArn",
            "AuditBucketName",
            "AuditTableStreamArn",
            "KeyArn",
        ];
        if let (true, Some(parameters)) = (asked.contains(&&*name), parameters.as_object_mut()) {
            parameters.insert(name, json!(text(output, "/OutputValue")));
        }
    }
    let (stack, _) = template("administrator-options.yaml")?;
    ensure(!archives(&stack, ARCHITECTURE).is_empty(), || {
        "the options stack has no function".to_owned()
    })?;
    here.deploy(STACK, &stack, parameters).await
}

async fn handed_on(deployed: &Deployed) -> Seen {
    let member = deployed.member()?;
    let bucket = "siem";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    // As often as the client sends it: the function says so, and the batch comes again.
    deployed.emulator().befall(&[Accident {
        service: Some("s3"),
        times: 3,
        refusal: Some(Refusal {
            status: 503,
            body: "<Error><Code>SlowDown</Code></Error>",
        }),
        ..Accident::to("PUT /security-remediation-siem-")
    }])?;
    deployed.choose_action(&found)?;
    let spent = fixed(deployed, &found, bucket, mark).await?;
    let record = deployed.record(&found).await?;
    let record = record.ok_or_else(|| Trouble::said("it is not in the ledger"))?;
    let id = record.remediation_id.to_string();
    let told = wait_for("its events in both places", PATIENCE, async || {
        let [by_function, by_firehose] = [
            events(deployed, "ocsf/").await?,
            events(deployed, "year=").await?,
        ];
        // Objects have no order, and what is sent again is the same.
        let of_it = |events: &[Value]| -> BTreeMap<i64, Value> {
            let of_it = events
                .iter()
                .filter(|event| event.to_string().contains(&id));
            let by_class = of_it.filter_map(|event| {
                let class = event.get("class_uid")?.as_i64()?;
                Some((class, event.clone()))
            });
            by_class.collect()
        };
        let both = [of_it(&by_function), of_it(&by_firehose)];
        Ok(both.iter().all(|events| events.len() >= 2).then_some(both))
    })
    .await?;
    deployed.emulator().befall(&[])?;
    for events in &told {
        let (Some(finding), Some(activity)) = (events.get(&2003), events.get(&7001)) else {
            return Err(Trouble::said(format!("not the two events: {events:?}")));
        };
        for (event, pointer, wanted) in [
            (finding, "/finding_info/uid", json!(record.finding_id)),
            (finding, "/compliance/status_id", json!(1)),
            (activity, "/status", json!("Success")),
            (activity, "/cloud/account/uid", json!(member.id)),
        ] {
            ensure(event.pointer(pointer) == Some(&wanted), || {
                format!("`{pointer}` is not `{wanted}`: {event}")
            })?;
        }
    }
    ensure(told[0] == told[1], || {
        format!("Firehose was told something else: {told:?}")
    })?;
    let lines = deployed.lines(FUNCTION).await?;
    let again = lines.iter().filter(|line| line.0.contains("\"ERROR\""));
    let again: Vec<_> = again.collect();
    ensure(
        matches!(&again[..], [one] if one.0.contains("the batch is sent again")),
        || format!("it logged {again:?}"),
    )?;
    behind(deployed).await?;
    Ok(figures(&spent))
}

/// An alarm tells people when rows wait too long.
async fn behind(deployed: &Deployed) -> Outcome {
    let named = json!({"AlarmNames": ["SecurityRemediation-Warning-AuditExportBehind"]});
    let alarms = deployed
        .administrator
        .call("cloudwatch", "DescribeAlarms", named)
        .await?;
    let alarm = list(&alarms, "/MetricAlarms").first().cloned();
    let alarm = alarm.ok_or_else(|| Trouble::said("no alarm `AuditExportBehind`"))?;
    ensure(
        text(&alarm, "/MetricName") == "IteratorAge"
            && text(&alarm, "/Dimensions/0/Value") == FUNCTION
            && text(&alarm, "/AlarmActions/0") == deployed.topic(),
        || format!("the alarm is {alarm}"),
    )
}

/// The lines of all objects under a prefix of the export's bucket, which Firehose compresses.
async fn events(deployed: &Deployed, prefix: &str) -> Outcome<Vec<Value>> {
    let here = &deployed.administrator;
    let bucket = format!("security-remediation-siem-{}-{}", here.id, here.region);
    let asked = json!({"Bucket": bucket, "Prefix": prefix});
    let found = here.call("s3", "ListObjectsV2", asked).await?;
    let mut events = Vec::new();
    for object in list(&found, "/Contents") {
        let asked = json!({"Bucket": bucket, "Key": text(object, "/Key")});
        let answer = here.call("s3", "GetObject", asked).await?;
        let body = STANDARD.decode(text(&answer, "/Body"));
        let body = body.map_err(|error| Trouble::said(error.to_string()))?;
        let mut lines = String::new();
        match body.starts_with(&[0x1f, 0x8b]) {
            true => GzDecoder::new(&*body).read_to_string(&mut lines)?,
            false => (&*body).read_to_string(&mut lines)?,
        };
        // The functions' logs go through the same stream, and are no events.
        events.extend(
            lines
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok()),
        );
    }
    Ok(events)
}
