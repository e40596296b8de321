//! The test after a deployment: one open bucket of a pilot account, found by both ways, fixed, recorded, told of,
//! and put back.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_types::{AccountId, Clock, Region};

use crate::{
    Accounts,
    doctor::{self, Issue, Line, Patient, State},
    read,
};
use doctor::look::Look;

/// The bucket that stands for a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The pilot account.
    pub account: AccountId,
    /// The bucket's region.
    pub region: Region,
    /// The bucket, which does not block public access. It is the test's own.
    pub bucket: String,
    /// Names this test, so that each is a finding of its own.
    pub name: String,
}

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A person chooses the custom action in Security Hub.
    Manual,
    /// A Config rule finds it non-compliant.
    Automatic,
}

impl Way {
    const fn rule(self) -> &'static str {
        match self {
            Self::Manual => "Manual",
            Self::Automatic => "MemberConfigCompliance",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Automatic => "automatic",
        }
    }
}

/// How often the audit log is asked, and for how long.
const ASK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(5);

/// How often the ledger is asked whether people were told of what has ended.
const TELLS: u32 = 6;

impl Probe {
    fn arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.region.partition(), self.bucket)
    }

    fn what(&self) -> String {
        format!("bucket {}", self.bucket)
    }

    /// The event as EventBridge would deliver it
    /// (<https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html>).
    #[must_use]
    pub fn event(
        &self,
        way: Way,
        administrator: &AccountId,
        hub: &Region,
        now: Timestamp,
    ) -> Value {
        let Self {
            account,
            region,
            name,
            ..
        } = self;
        let partition = region.partition();
        let head = |source: &str, kind: &str, account: &AccountId, region: &Region| json!({"version": "0", "id": name, "source": source, "detail-type": kind, "account": account, "region": region, "time": now});
        let (mut event, resources, detail) = match way {
            Way::Manual => (
                head(
                    "aws.securityhub",
                    "Security Hub Findings - Custom Action",
                    administrator,
                    hub,
                ),
                json!([format!(
                    "arn:{partition}:securityhub:{hub}:{administrator}:action/custom/Remediate"
                )]),
                json!({"actionName": "Remediate", "actionDescription": "Remediate with Stanch", "findings": [self.finding(now)]}),
            ),
            Way::Automatic => (
                head(
                    "aws.config",
                    "Config Rules Compliance Change",
                    account,
                    region,
                ),
                json!([]),
                json!({
                    "resourceId": self.bucket,
                    "resourceType": "AWS::S3::Bucket",
                    "awsRegion": region,
                    "awsAccountId": account,
                    "configRuleName": "s3-bucket-level-public-access-prohibited",
                    "configRuleARN": format!("arn:{partition}:config:{region}:{account}:config-rule/config-rule-stanch"),
                    "messageType": "ComplianceChangeNotification",
                    "recordVersion": "1.0",
                    "notificationCreationTime": now,
                    "newEvaluationResult": {
                        "complianceType": "NON_COMPLIANT",
                        "resultRecordedTime": now,
                        "configRuleInvokedTime": now,
                        "evaluationResultIdentifier": {
                            "orderingTimestamp": now,
                            "evaluationResultQualifier": {"resourceId": self.bucket, "resourceType": "AWS::S3::Bucket", "configRuleName": "s3-bucket-level-public-access-prohibited"},
                        },
                    },
                }),
            ),
        };
        if let Some(event) = event.as_object_mut() {
            event.insert("resources".to_owned(), resources);
            event.insert("detail".to_owned(), detail);
        }
        event
    }

    fn finding(&self, now: Timestamp) -> Value {
        let Self {
            account,
            region,
            name,
            ..
        } = self;
        let partition = region.partition();
        json!({
            "SchemaVersion": "2018-10-08",
            "Id": format!("arn:{partition}:securityhub:{region}:{account}:security-control/S3.8/finding/{name}"),
            "ProductArn": format!("arn:{partition}:securityhub:{region}::product/aws/securityhub"),
            "ProductName": "Security Hub",
            "CompanyName": "AWS",
            "Region": region,
            "GeneratorId": "security-control/S3.8",
            "AwsAccountId": account,
            "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
            "FirstObservedAt": now, "LastObservedAt": now, "CreatedAt": now, "UpdatedAt": now,
            "Severity": {"Label": "HIGH"},
            "Title": "S3 general purpose buckets should block public access",
            "Description": "A test after a deployment of Stanch",
            "Resources": [{"Type": "AwsS3Bucket", "Id": self.arn(), "Partition": partition, "Region": region}],
            "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.8", "AssociatedStandards": [{"StandardsId": "standards/aws-foundational-security-best-practices/v/1.0.0"}]},
            "Workflow": {"Status": "NEW"},
            "RecordState": "ACTIVE",
        })
    }
}

/// Delivers the probe's finding by one way and follows it. The bucket has to be open when this begins.
pub async fn examine(
    accounts: &dyn Accounts,
    patient: &Patient<'_>,
    clock: &dyn Clock,
    probe: &Probe,
    way: Way,
) -> Vec<Line> {
    let own = Look::own(accounts, patient);
    let mut lines = Vec::new();
    let Some(caller) = doctor::administrator::caller(&own, &mut lines).await else {
        return lines;
    };
    let installation = patient.installation;
    let event = probe.event(way, &caller.account, &installation.region, patient.now);
    lines.push(pattern(&own, way, &event).await);
    let path = format!("the {} way", way.word());
    let sent = async {
        let url = own
            .call(
                "sqs",
                "GetQueueUrl",
                json!({"QueueName": installation.named("Events")}),
            )
            .await?;
        let params =
            json!({"QueueUrl": read::text(&url, "/QueueUrl"), "MessageBody": event.to_string()});
        own.call("sqs", "SendMessage", params).await
    };
    if let Err(error) = sent.await {
        lines.push(own.unknown(Issue::Ground, path, &error));
        return lines;
    }
    let rows = match wait(&own, clock, &probe.arn()).await {
        Ok(rows) => rows,
        Err(error) => {
            lines.push(own.unknown(Issue::Ground, path, &error));
            return lines;
        }
    };
    let Some(last) = rows.last() else {
        let seen = format!(
            "no row in the audit log after {} minutes",
            PATIENCE.as_secs() / 60
        );
        lines.push(
            own.line(
                Issue::Ground,
                path,
                State::Problem,
                seen,
                "look at the queue, the orchestrator's trigger and its log",
            )
            .command("stanch doctor"),
        );
        return lines;
    };
    let attribute =
        |name: &str, kind: &str| read::text(last, &format!("/{name}/{kind}")).unwrap_or_default();
    let id = attribute("RemediationId", "S").to_owned();
    let follow = format!("stanch logs {id}");
    let status = attribute("ExecutionStatus", "S");
    lines.push(own.good(
        Issue::NotFixed,
        "the audit log",
        format!("{} rows of {id}", rows.len()),
    ));
    lines.push(match (status, way) {
        ("Success", _) => own.good(
            Issue::AssumeRole,
            &*path,
            "fixed, with the role of the member account",
        ),
        ("InProgress", Way::Automatic) => own
            .line(
                Issue::AssumeRole,
                &*path,
                State::Warning,
                "arrived, and waits",
                "as the policies say: approve it, or let it run by itself",
            )
            .command(format!("stanch approvals show {id}")),
        (status, _) => own
            .line(
                Issue::AssumeRole,
                &*path,
                State::Problem,
                format!("{status}: {}", attribute("ErrorMessage", "S")),
                "look at what was logged",
            )
            .command(&*follow),
    });
    if status != "Success" {
        return lines;
    }
    lines.push(match blocks(&own, probe).await {
        Ok(true) => own.good(Issue::NotFixed, probe.what(), "blocks all public access"),
        Ok(false) => own.line(
            Issue::NotFixed,
            probe.what(),
            State::Problem,
            "does not block all public access",
            "it was recorded as fixed: look at what was logged",
        ),
        Err(line) => *line,
    });
    lines.push(match told(&own, clock, &id, &rows).await {
        true => own.good(Issue::Notifications, "the notification", "was taken"),
        false => own
            .line(
                Issue::Notifications,
                "the notification",
                State::Problem,
                "nobody took it",
                "see the lines about the topic in `stanch doctor`",
            )
            .command(follow),
    });
    lines.push(way_back(&own, probe, &id).await);
    lines
}

/// Whether people were told. The row is written before that: the ledger's events are asked, where there is one.
async fn told(own: &Look<'_>, clock: &dyn Clock, id: &str, rows: &[Value]) -> bool {
    let says = |row: &Value| row.pointer("/NotificationSent/BOOL") == Some(&json!(true));
    let (Some(ledger), Ok(id)) = (own.patient.ledger, id.parse()) else {
        return rows.iter().any(says);
    };
    for _ in 0..TELLS {
        let record = ledger.record(id).await;
        if record.is_ok_and(|record| record.notification_sent) {
            return true;
        }
        clock.sleep(ASK).await;
    }
    false
}

/// Takes the change back as `stanch rollback` does, and sees that the bucket is open again.
async fn way_back(own: &Look<'_>, probe: &Probe, id: &str) -> Line {
    let what = "the way back";
    let stage = json!({"stage": "roll-back", "remediationId": id, "by": "stanch deploy check"});
    let params = json!({
        "FunctionName": own.patient.installation.named("Orchestrator"),
        "Payload": STANDARD.encode(stage.to_string()),
    });
    let answer = match own.call("lambda", "Invoke", params).await {
        Ok(answer) => answer,
        Err(error) => return own.unknown(Issue::NotFixed, what, &error),
    };
    let payload = STANDARD.decode(read::text(&answer, "/Payload").unwrap_or_default());
    let payload = payload.unwrap_or_default();
    let said: Value = serde_json::from_slice(&payload).unwrap_or_default();
    let problem = |seen: String| {
        own.line(
            Issue::NotFixed,
            what,
            State::Problem,
            seen,
            "put the bucket back, and look at what was logged",
        )
        .command(format!("stanch rollback {id}"))
    };
    if read::text(&said, "/done/status") != Some("Undone") {
        return problem(String::from_utf8_lossy(&payload).into_owned());
    }
    match blocks(own, probe).await {
        Ok(false) => own.good(Issue::NotFixed, what, "the bucket is as it was"),
        Ok(true) => problem("recorded as undone, and the bucket blocks public access".to_owned()),
        Err(line) => *line,
    }
}

/// Whether the rule would send this event on: EventBridge takes none of AWS's own sources from people.
async fn pattern(own: &Look<'_>, way: Way, event: &Value) -> Line {
    let installation = own.patient.installation;
    let name = installation.named(way.rule());
    let what = format!("rule {name}");
    let answer = async {
        let mut params = json!({"Name": name});
        if let (Way::Automatic, Some(params)) = (way, params.as_object_mut()) {
            params.insert(
                "EventBusName".to_owned(),
                json!(installation.named("Members")),
            );
        }
        let rule = own.call("events", "DescribeRule", params).await?;
        let pattern = read::text(&rule, "/EventPattern")
            .unwrap_or("{}")
            .to_owned();
        own.call(
            "events",
            "TestEventPattern",
            json!({"EventPattern": pattern, "Event": event.to_string()}),
        )
        .await
    };
    match answer.await {
        Ok(answer) if answer.get("Result") == Some(&json!(true)) => {
            own.good(Issue::Ground, what, "matches the event")
        }
        Ok(_) => own
            .line(
                Issue::Ground,
                what,
                State::Problem,
                "does not match the event",
                "update the administrator stack",
            )
            .command(format!("aws events describe-rule --name {name}")),
        Err(error) => own.unknown(Issue::Ground, what, &error),
    }
}

/// The rows of a resource, once the last one is final or waits for people; what there is after a
/// while.
async fn wait(
    own: &Look<'_>,
    clock: &dyn Clock,
    resource: &str,
) -> Result<Vec<Value>, stanch_types::CallError> {
    let params = json!({
        "TableName": own.patient.installation.named("AuditLog"),
        "IndexName": "ResourceId-Timestamp-index",
        "KeyConditionExpression": "ResourceId = :resource",
        "ExpressionAttributeValues": {":resource": {"S": resource}},
    });
    let mut waited = Duration::ZERO;
    loop {
        let found = own.call("dynamodb", "Query", params.clone()).await?;
        let rows: Vec<Value> = read::items(&found, "/Items").cloned().collect();
        let last = |name: &str| rows.last().and_then(|row| read::text(row, name));
        let rests = matches!(last("/ExecutionStatus/S"), Some("Success" | "Failed"))
            || last("/Status/S") == Some("AwaitingApproval");
        if rests || waited >= PATIENCE {
            return Ok(rows);
        }
        clock.sleep(ASK).await;
        waited += ASK;
    }
}

/// Whether the bucket is closed now, as the pilot account sees it; else what to say.
async fn blocks(own: &Look<'_>, probe: &Probe) -> Result<bool, Box<Line>> {
    let api = own.accounts.audit(&probe.account, &probe.region).await;
    let api = api.map_err(|why| {
        Box::new(own.line(
            Issue::NotFixed,
            probe.what(),
            State::Unknown,
            stanch_types::chain(&why),
            "set `deployment.audit_role`, to see it from within",
        ))
    })?;
    let asked = json!({"Bucket": probe.bucket});
    match own
        .call_with(&api, &probe.region, "s3", "GetPublicAccessBlock", asked)
        .await
    {
        Ok(found) => {
            let settings = found
                .pointer("/PublicAccessBlockConfiguration")
                .and_then(Value::as_object);
            Ok(settings
                .is_some_and(|all| all.len() == 4 && all.values().all(|one| *one == json!(true))))
        }
        Err(error) if error.code == "NoSuchPublicAccessBlockConfiguration" => Ok(false),
        Err(error) => Err(Box::new(own.unknown(Issue::NotFixed, probe.what(), &error))),
    }
}
