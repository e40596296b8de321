//! The AWS Security Finding Format,
//! <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html>.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{Draft, Problem, Refused, members::Members, short};
use crate::{
    AccountId, Arn, Compliance, ControlRef, Finding, Generation, RecordState, Region, Resource,
    Severity, SeverityLabel, Workflow,
};

pub(super) fn read(map: Map<String, Value>) -> Result<Draft, Refused> {
    match draft(&map) {
        Ok(draft) => Ok(draft.with_raw(map)),
        Err(problem) => Err((problem, map)),
    }
}

impl Draft {
    pub(super) fn with_raw(mut self, map: Map<String, Value>) -> Self {
        self.finding.raw = Arc::new(Value::Object(map));
        self
    }
}

/// The id that a problem with a finding names, so that it can be found.
pub(super) fn id(members: Members<'_>, member: &str) -> Result<crate::FindingId, Problem> {
    members.required_text(member)?.parse().map_err(|error| {
        Problem::new(
            format!("in `{}`: {error}", members.path(member)),
            "use the id that the product gave the finding",
        )
    })
}

fn draft(map: &Map<String, Value>) -> Result<Draft, Problem> {
    let finding = Members::new(map, "");
    let id = id(finding, "Id")?;
    let account = finding.account("AwsAccountId")?;
    let (resources, refused) = resources(finding, &account)?;
    // Security Hub adds `Region`; a product's own finding may have it only at its resources.
    let region = match finding.region("Region")? {
        Some(region) => region,
        None => resources
            .iter()
            .find_map(|resource| resource.region.clone())
            .ok_or_else(|| finding.missing("Region"))?,
    };
    let compliance = finding.object("Compliance")?;
    let workflow = finding.object("Workflow")?;
    Ok(Draft {
        sample: finding.boolean("Sample")?.unwrap_or_default(),
        refused,
        finding: Finding {
            id,
            generation: Generation(finding.first_timestamp(&[
                "UpdatedAt",
                "LastObservedAt",
                "CreatedAt",
            ])?),
            account,
            region,
            controls: controls(finding, compliance)?,
            resources,
            product: match finding.text("ProductArn")? {
                Some(arn) => arn,
                None => finding.text("ProductName")?.unwrap_or("unknown"),
            }
            .to_owned(),
            title: finding.text("Title")?.unwrap_or_default().to_owned(),
            description: finding.text("Description")?.unwrap_or_default().to_owned(),
            severity: finding
                .object("Severity")?
                .map(severity)
                .transpose()?
                .flatten(),
            compliance: match compliance {
                Some(compliance) => {
                    compliance.name("Status", Compliance::NAMES, Compliance::from_name)?
                }
                None => None,
            },
            workflow: match workflow {
                Some(workflow) => workflow.name("Status", Workflow::NAMES, Workflow::from_name)?,
                None => None,
            }
            .unwrap_or(Workflow::New),
            record_state: finding
                .name("RecordState", RecordState::NAMES, RecordState::from_name)?
                .unwrap_or(RecordState::Active),
            first_observed_at: match finding.timestamp("FirstObservedAt")? {
                Some(at) => Some(at),
                None => finding.timestamp("CreatedAt")?,
            },
            raw: Arc::default(),
        },
    })
}

fn severity(severity: Members<'_>) -> Result<Option<Severity>, Problem> {
    let label = severity.name("Label", SeverityLabel::NAMES, SeverityLabel::from_name)?;
    let normalized = severity.number("Normalized")?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=100"
    )]
    let normalized = normalized.map(|number| number.clamp(0.0, 100.0) as u8);
    Ok(match (label, normalized) {
        (Some(label), Some(normalized)) => Some(Severity { label, normalized }),
        (Some(label), None) => Some(Severity::from_label(label)),
        (None, Some(normalized)) => Some(Severity::from_normalized(normalized)),
        (None, None) => None,
    })
}

fn controls(
    finding: Members<'_>,
    compliance: Option<Members<'_>>,
) -> Result<Vec<ControlRef>, Problem> {
    let mut controls = Vec::new();
    let mut add = |control: Option<ControlRef>| {
        if let Some(control) = control
            && !controls.contains(&control)
        {
            controls.push(control);
        }
    };
    if let Some(compliance) = compliance {
        if let Some(id) = compliance.text("SecurityControlId")? {
            add(ControlRef::from_generator(&format!(
                "security-control/{id}"
            )));
        }
        for requirement in compliance.texts("RelatedRequirements")? {
            add(ControlRef::from_requirement(requirement));
        }
    }
    if let Some(generator) = finding.text("GeneratorId")? {
        add(ControlRef::from_generator(generator));
    }
    if let Some(fields) = finding.object("ProductFields")? {
        if let Some(id) = fields.text("ControlId")? {
            add(ControlRef::from_generator(&format!(
                "security-control/{id}"
            )));
        }
        for n in 0..4 {
            let field = |what| fields.text(&format!("RelatedAWSResources:{n}/{what}"));
            match (field("type")?, field("name")?) {
                (Some("AWS::Config::ConfigRule"), Some(rule)) => {
                    add(Some(ControlRef::config_rule(rule)));
                }
                (None, None) => break,
                _ => {}
            }
        }
        // Findings that Security Hub makes of Config results,
        // https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-internal-providers.html
        for rule in [
            "aws/config/ConfigRuleName",
            "aws/config/ConfigRuleIdentifier",
        ] {
            add(fields.text(rule)?.map(ControlRef::config_rule));
        }
    }
    for kind in finding.texts("Types")? {
        add(Some(ControlRef::Product(kind.to_owned())));
    }
    Ok(controls)
}

/// The resources of `account`, and what is wrong with the others.
fn resources(
    finding: Members<'_>,
    account: &AccountId,
) -> Result<(Vec<Resource>, Vec<Problem>), Problem> {
    let (mut own, mut refused) = (Vec::new(), Vec::new());
    for resource in finding.objects("Resources")? {
        let resource = resource?;
        let (kind, id) = (
            resource.required_text("Type")?,
            resource.required_text("Id")?,
        );
        match own_resource(account, kind, id, None) {
            Ok(arn) => own.push(Resource {
                details: resource
                    .object("Details")?
                    .map(|_| resource.raw("Details"))
                    .unwrap_or_default(),
                tags: resource
                    .object("Tags")?
                    .map(tags)
                    .transpose()?
                    .unwrap_or_default(),
                region: resource_region(resource)?,
                ..Resource::new(kind, id, arn)
            }),
            Err(problem) => refused.push(problem),
        }
    }
    if own.is_empty() && refused.is_empty() {
        return Err(finding.missing("Resources"));
    }
    Ok((own, refused))
}

/// Global resources come as `global`, `aws-global` or without a region.
pub(super) fn resource_region(resource: Members<'_>) -> Result<Option<Region>, Problem> {
    let (upper, lower) = (resource.text("Region")?, resource.text("region")?);
    if upper
        .or(lower)
        .is_none_or(|region| region.ends_with("global"))
    {
        return Ok(None);
    }
    resource.region(if upper.is_some() { "Region" } else { "region" })
}

fn tags(tags: Members<'_>) -> Result<BTreeMap<String, String>, Problem> {
    tags.keys()
        .map(|key| Ok((key.clone(), tags.text(key)?.unwrap_or_default().to_owned())))
        .collect()
}

/// The resource's ARN, if its id is one, or why it must not be touched: it belongs to another
/// account than the finding (S3 buckets and AWS-managed policies name no account), or its id is none
/// that AWS gives.
pub(super) fn own_resource(
    account: &AccountId,
    kind: &str,
    id: &str,
    owner: Option<&str>,
) -> Result<Option<Arn>, Problem> {
    if id.contains(char::is_control) {
        return Err(Problem::new(
            format!("resource `{}` has control characters in its id", short(id)),
            "AWS gives no such id; find out who wrote the finding",
        ));
    }
    let arn = id.parse::<Arn>().ok();
    let of_id = match &arn {
        Some(arn) => Some(arn.account.as_str()),
        None => {
            id.strip_prefix("AWS::::Account:")
                .or(matches!(kind, "AwsAccount" | "AWS::::Account").then_some(id))
        }
    };
    let is_account = |text: &&str| text.parse::<AccountId>().is_ok();
    let other = [of_id, owner]
        .into_iter()
        .flatten()
        .filter(is_account)
        .find(|stated| *stated != account.as_str());
    match other {
        Some(other) => Err(Problem::new(
            format!("resource `{id}` belongs to account {other}, the finding to {account}"),
            format!(
                "have the finding produced in account {other}; one finding changes one account"
            ),
        )),
        None => Ok(arn),
    }
}
