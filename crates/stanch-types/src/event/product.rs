//! Findings as GuardDuty, Inspector and Macie send them themselves, without Security Hub.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Draft, Problem, Refused,
    asff::{self, own_resource, resource_region},
    members::Members,
};
use crate::{
    AccountId, ControlRef, Finding, Generation, RecordState, Region, Resource, Severity,
    SeverityLabel, Workflow,
};

/// <https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings_eventbridge.html>
pub(super) fn guard_duty(map: Map<String, Value>) -> Result<Draft, Refused> {
    keep(map, |map| {
        let finding = Members::new(map, "");
        let account = finding.account("accountId")?;
        let region = region(finding)?;
        let service = finding.object("service")?;
        let (archived, sample) = match service {
            Some(service) => (
                service.boolean("archived")?.unwrap_or_default(),
                match service.object("additionalInfo")? {
                    Some(more) => more.boolean("sample")?.unwrap_or_default(),
                    None => false,
                },
            ),
            None => (false, false),
        };
        let severity = finding.number("severity")?.map(|number| {
            // https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings-severity.html
            Severity::from_label(match number {
                ..1.0 => SeverityLabel::Informational,
                ..4.0 => SeverityLabel::Low,
                ..7.0 => SeverityLabel::Medium,
                ..9.0 => SeverityLabel::High,
                _ => SeverityLabel::Critical,
            })
        });
        let resource = finding.required_object("resource")?;
        let kind = resource.required_text("resourceType")?;
        let mut resources = Resources::new(&account);
        // Where the id is, by type. `accessKeyDetails` is there for other types too: it is the actor.
        match kind {
            "S3Bucket" => {
                for bucket in resource.objects("s3BucketDetails")? {
                    resources.add("AwsS3Bucket", bucket?.required_text("arn")?);
                }
            }
            _ => {
                let (details, member, resource_type) = match kind {
                    "Instance" => ("instanceDetails", "instanceId", "AwsEc2Instance"),
                    "AccessKey" => ("accessKeyDetails", "accessKeyId", "AwsIamAccessKey"),
                    "EKSCluster" => ("eksClusterDetails", "arn", "AwsEksCluster"),
                    "ECSCluster" => ("ecsClusterDetails", "arn", "AwsEcsCluster"),
                    "Lambda" => ("lambdaDetails", "functionArn", "AwsLambdaFunction"),
                    "RDSDBInstance" => {
                        ("rdsDbInstanceDetails", "dbInstanceArn", "AwsRdsDbInstance")
                    }
                    _ => ("", "", ""),
                };
                if let Some(details) = resource.object(details)?
                    && let Some(id) = details.text(member)?
                {
                    resources.add(resource_type, id);
                }
            }
        }
        // Attack sequences and types to come: the account itself is what the finding is about.
        if resources.is_empty() {
            resources.add("AwsAccount", account.as_str());
        }
        New {
            id: "arn",
            updated: &["updatedAt", "createdAt"],
            first: "createdAt",
            product: "GuardDuty",
            account: account.clone(),
            region,
            kind: finding.required_text("type")?,
            resources,
            severity,
            archived,
            sample,
        }
        .into_draft(finding)
    })
}

/// <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>
pub(super) fn inspector(map: Map<String, Value>) -> Result<Draft, Refused> {
    keep(map, |map| {
        let finding = Members::new(map, "");
        let account = finding.account("awsAccountId")?;
        let mut resources = Resources::new(&account);
        for resource in finding.objects("resources")? {
            let resource = resource?;
            let kind = match resource.required_text("type")? {
                "AWS_EC2_INSTANCE" => "AwsEc2Instance",
                "AWS_ECR_CONTAINER_IMAGE" => "AwsEcrContainerImage",
                "AWS_LAMBDA_FUNCTION" => "AwsLambdaFunction",
                other => other,
            };
            let region = resource_region(resource)?;
            if let Some(added) = resources.add(kind, resource.required_text("id")?) {
                added.region = region;
            }
        }
        let severity = finding
            .text("severity")?
            .and_then(SeverityLabel::from_name)
            .map(Severity::from_label);
        New {
            id: "findingArn",
            updated: &["updatedAt", "lastObservedAt"],
            first: "firstObservedAt",
            product: "Inspector",
            account: account.clone(),
            region: region(finding)?,
            kind: finding.required_text("type")?,
            resources,
            severity,
            archived: finding
                .text("status")?
                .is_some_and(|status| status != "ACTIVE"),
            sample: false,
        }
        .into_draft(finding)
    })
}

/// <https://docs.aws.amazon.com/macie/latest/user/findings-publish-event-schemas.html>
pub(super) fn macie(map: Map<String, Value>) -> Result<Draft, Refused> {
    keep(map, |map| {
        let finding = Members::new(map, "");
        let account = finding.account("accountId")?;
        let affected = finding.required_object("resourcesAffected")?;
        let mut resources = Resources::new(&account);
        if let Some(bucket) = affected.object("s3Bucket")? {
            resources.add("AwsS3Bucket", bucket.required_text("arn")?);
        }
        let severity = match finding.object("severity")? {
            Some(severity) => severity
                .text("description")?
                .and_then(|label| SeverityLabel::from_name(&label.to_ascii_uppercase()))
                .map(Severity::from_label),
            None => None,
        };
        New {
            id: "id",
            updated: &["updatedAt", "createdAt"],
            first: "createdAt",
            product: "Macie",
            account: account.clone(),
            region: region(finding)?,
            kind: finding.required_text("type")?,
            resources,
            severity,
            archived: finding.boolean("archived")?.unwrap_or_default(),
            sample: finding.boolean("sample")?.unwrap_or_default(),
        }
        .into_draft(finding)
    })
}

fn keep(
    map: Map<String, Value>,
    draft: impl FnOnce(&Map<String, Value>) -> Result<Draft, Problem>,
) -> Result<Draft, Refused> {
    match draft(&map) {
        Ok(draft) => Ok(draft.with_raw(map)),
        Err(problem) => Err((problem, map)),
    }
}

fn region(finding: Members<'_>) -> Result<Region, Problem> {
    finding
        .region("region")?
        .ok_or_else(|| finding.missing("region"))
}

struct Resources<'a> {
    account: &'a AccountId,
    own: Vec<Resource>,
    refused: Vec<Problem>,
}

impl<'a> Resources<'a> {
    const fn new(account: &'a AccountId) -> Self {
        Self {
            account,
            own: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.refused.is_empty()
    }

    fn add(&mut self, kind: &str, id: &str) -> Option<&mut Resource> {
        match own_resource(self.account, kind, id, None) {
            Ok(arn) => self.own.push(Resource::new(kind, id, arn)),
            Err(problem) => {
                self.refused.push(problem);
                return None;
            }
        }
        self.own.last_mut()
    }
}

struct New<'a> {
    id: &'static str,
    updated: &'static [&'static str],
    first: &'static str,
    product: &'static str,
    account: AccountId,
    region: Region,
    kind: &'a str,
    resources: Resources<'a>,
    severity: Option<Severity>,
    archived: bool,
    sample: bool,
}

impl New<'_> {
    fn into_draft(self, finding: Members<'_>) -> Result<Draft, Problem> {
        if self.resources.is_empty() {
            return Err(finding.missing("resources"));
        }
        Ok(Draft {
            sample: self.sample,
            refused: self.resources.refused,
            finding: Finding {
                id: asff::id(finding, self.id)?,
                generation: Generation(finding.first_timestamp(self.updated)?),
                account: self.account,
                region: self.region,
                controls: vec![ControlRef::Product(self.kind.to_owned())],
                resources: self.resources.own,
                product: self.product.to_owned(),
                title: finding.text("title")?.unwrap_or(self.kind).to_owned(),
                description: match finding.text("description") {
                    Ok(text) => text.unwrap_or_default().to_owned(),
                    // Macie's description is a text, Inspector's too; others' details are not ours.
                    Err(_) => String::new(),
                },
                severity: self.severity,
                compliance: None,
                workflow: Workflow::New,
                record_state: if self.archived {
                    RecordState::Archived
                } else {
                    RecordState::Active
                },
                first_observed_at: finding.timestamp(self.first)?,
                raw: Arc::default(),
            },
        })
    }
}
