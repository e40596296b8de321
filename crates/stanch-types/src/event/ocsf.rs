//! The Open Cybersecurity Schema Framework's findings, <https://schema.ocsf.io>, as Security Hub
//! (<https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-ocsf.html>) and Prowler
//! write them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Draft, Problem, Refused,
    asff::{self, own_resource, resource_region},
    members::Members,
    short,
};
use crate::{
    AccountId, Compliance, ControlRef, Finding, Generation, RecordState, Resource, Severity,
    SeverityLabel, Workflow,
};

pub(super) fn read(map: Map<String, Value>) -> Result<Draft, Refused> {
    match draft(&map) {
        Ok(draft) => Ok(draft.with_raw(map)),
        Err(problem) => Err((problem, map)),
    }
}

fn draft(map: &Map<String, Value>) -> Result<Draft, Problem> {
    let finding = Members::new(map, "");
    // Vulnerability, compliance, detection and data security findings.
    let class = finding.number("class_uid")?.unwrap_or_default();
    if ![2002.0, 2003.0, 2004.0, 2006.0].contains(&class) {
        let name = finding.text("class_name")?.unwrap_or("unnamed");
        return Err(Problem::new(
            format!(
                "OCSF class {class} (`{}`) is no finding that Stanch reads",
                short(name)
            ),
            "send classes 2002, 2003, 2004 or 2006",
        ));
    }
    let info = finding.required_object("finding_info")?;
    let metadata = finding.required_object("metadata")?;
    let product = metadata.required_object("product")?;
    let cloud = finding.required_object("cloud")?;
    let account = cloud.required_object("account")?.account("uid")?;
    let (resources, refused) = resources(finding, &account)?;
    let region = match cloud.region("region")? {
        Some(region) => region,
        None => resources
            .iter()
            .find_map(|resource| resource.region.clone())
            .ok_or_else(|| cloud.missing("region"))?,
    };
    let title = info.text("title")?.unwrap_or_default();
    let generation = match moment(info, "modified_time")? {
        Some(at) => at,
        None => moment(finding, "time")?.ok_or_else(|| info.missing("modified_time"))?,
    };
    let (workflow, mut record_state) = status(finding)?;
    // Activity 3 is "Close".
    if finding.number("activity_id")? == Some(3.0) {
        record_state = RecordState::Archived;
    }
    Ok(Draft {
        sample: title.starts_with("[SAMPLE]"),
        refused,
        finding: Finding {
            id: asff::id(info, "uid")?,
            generation: Generation(generation),
            account,
            region,
            controls: controls(finding, info, metadata, product)?,
            resources,
            product: match product.text("uid")? {
                Some(uid) => uid,
                None => product.text("name")?.unwrap_or("unknown"),
            }
            .to_owned(),
            title: title.to_owned(),
            description: info.text("desc")?.unwrap_or_default().to_owned(),
            severity: severity(finding)?,
            compliance: compliance(finding, class)?,
            workflow,
            record_state,
            first_observed_at: match moment(info, "first_seen_time")? {
                Some(at) => Some(at),
                None => moment(info, "created_time")?,
            },
            raw: Arc::default(),
        },
    })
}

/// `name` in milliseconds since 1970 or, where it is missing, `name_dt` in RFC 3339 (which Prowler
/// writes without its offset).
fn moment(members: Members<'_>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(number) = members.number(name)? else {
        return members.timestamp(&format!("{name}_dt"));
    };
    // Prowler and others write seconds, which the schema does not allow: as milliseconds they would
    // lie in January 1970.
    let milliseconds = if number.abs() < 1e11 {
        number * 1000.0
    } else {
        number
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and is then out of range"
    )]
    Timestamp::from_millisecond(milliseconds as i64)
        .map(Some)
        .map_err(|_| {
            Problem::new(
                format!("`{}` is {number}, not a time", members.path(name)),
                "write it in milliseconds since 1970",
            )
        })
}

fn severity(finding: Members<'_>) -> Result<Option<Severity>, Problem> {
    let label = match finding.number("severity_id")?.map(f64::round) {
        Some(1.0) => SeverityLabel::Informational,
        Some(2.0) => SeverityLabel::Low,
        Some(3.0) => SeverityLabel::Medium,
        Some(4.0) => SeverityLabel::High,
        // 6 is "Fatal".
        Some(5.0 | 6.0) => SeverityLabel::Critical,
        _ => return Ok(None),
    };
    Ok(Some(Severity::from_label(label)))
}

fn status(finding: Members<'_>) -> Result<(Workflow, RecordState), Problem> {
    let active = |workflow| (workflow, RecordState::Active);
    Ok(match finding.number("status_id")?.map(f64::round) {
        Some(2.0) => active(Workflow::Notified),
        Some(3.0) => active(Workflow::Suppressed),
        Some(4.0) => active(Workflow::Resolved),
        Some(5.0) => (Workflow::New, RecordState::Archived),
        _ => active(Workflow::New),
    })
}

/// A compliance finding whose result nobody can read has none: it is not taken for a failure.
fn compliance(finding: Members<'_>, class: f64) -> Result<Option<Compliance>, Problem> {
    let stated = match finding.object("compliance")? {
        Some(compliance) => match compliance.number("status_id")?.map(f64::round) {
            Some(1.0) => Some(Compliance::Passed),
            Some(2.0) => Some(Compliance::Warning),
            Some(3.0) => Some(Compliance::Failed),
            Some(_) => Some(Compliance::NotAvailable),
            None => compliance
                .text("status")?
                .map(|word| by_word(word).unwrap_or(Compliance::NotAvailable)),
        },
        None => None,
    };
    // Prowler's verdict, in detection findings too.
    let stated = match stated {
        Some(stated) => Some(stated),
        None => finding.text("status_code")?.and_then(by_word),
    };
    let must_have_one = (class - 2003.0).abs() < 0.5;
    Ok(stated.or(must_have_one.then_some(Compliance::NotAvailable)))
}

fn by_word(word: &str) -> Option<Compliance> {
    match word.to_ascii_lowercase().as_str() {
        "pass" | "passed" => Some(Compliance::Passed),
        "warning" => Some(Compliance::Warning),
        "fail" | "failed" => Some(Compliance::Failed),
        "manual" | "unknown" => Some(Compliance::NotAvailable),
        _ => None,
    }
}

fn controls(
    finding: Members<'_>,
    info: Members<'_>,
    metadata: Members<'_>,
    product: Members<'_>,
) -> Result<Vec<ControlRef>, Problem> {
    let mut controls = Vec::new();
    let mut add = |control: Option<ControlRef>| {
        if let Some(control) = control
            && !controls.contains(&control)
        {
            controls.push(control);
        }
    };
    if let Some(compliance) = finding.object("compliance")? {
        if let Some(id) = compliance.text("control")? {
            add(ControlRef::from_generator(&format!(
                "security-control/{id}"
            )));
        }
        for requirement in compliance.texts("requirements")? {
            add(ControlRef::from_requirement(requirement));
        }
    }
    let is_prowler = product
        .text("name")?
        .is_some_and(|name| name.eq_ignore_ascii_case("prowler"));
    if is_prowler {
        add(metadata
            .text("event_code")?
            .map(|check| ControlRef::Prowler(check.to_owned())));
        if let Some(frameworks) = finding
            .object("unmapped")?
            .map(|unmapped| unmapped.object("compliance"))
            .transpose()?
            .flatten()
        {
            for framework in frameworks.keys() {
                let Some(version) = framework.strip_prefix("CIS-") else {
                    continue;
                };
                // Prowler writes `CIS-3.0` for what Security Hub calls 3.0.0.
                let version = match version.split('.').count() {
                    2 => format!("{version}.0"),
                    _ => version.to_owned(),
                };
                for id in frameworks.texts(framework)? {
                    add(format!("cis-{version}:{id}").parse().ok());
                }
            }
        }
    }
    if let Some(analytic) = info.object("analytic")?
        && analytic.text("category")? == Some("AWS::Config::ConfigRule")
    {
        add(analytic.text("name")?.map(ControlRef::config_rule));
    }
    for kind in info.texts("types")? {
        add(Some(ControlRef::Product(kind.to_owned())));
    }
    Ok(controls)
}

fn resources(
    finding: Members<'_>,
    account: &AccountId,
) -> Result<(Vec<Resource>, Vec<Problem>), Problem> {
    let (mut own, mut refused) = (Vec::new(), Vec::new());
    for resource in finding.objects("resources")? {
        let resource = resource?;
        let (kind, uid) = (
            resource.required_text("type")?,
            resource.required_text("uid")?,
        );
        let owner = match resource.object("owner")? {
            Some(owner) => match owner.object("account")? {
                Some(account) => account.text("uid")?,
                None => None,
            },
            None => None,
        };
        // Security Hub writes the name into `uid` and the ARN into `uid_alt`; others the reverse.
        let other = resource.text("uid_alt")?;
        let arn = [Some(uid), other]
            .into_iter()
            .flatten()
            .map(|id| own_resource(account, kind, id, owner))
            .try_fold(None, |found, arn| arn.map(|arn| found.or(arn)));
        match arn {
            Ok(arn) => {
                let mut new = Resource::new(kind, uid, arn);
                new.region = resource_region(resource)?;
                new.tags = tags(resource)?;
                new.details = resource.raw("data");
                own.push(new);
            }
            Err(problem) => refused.push(problem),
        }
    }
    if own.is_empty() && refused.is_empty() {
        return Err(finding.missing("resources"));
    }
    Ok((own, refused))
}

fn tags(resource: Members<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let mut tags = BTreeMap::new();
    for tag in resource.objects("tags")? {
        let tag = tag?;
        if let Some(name) = tag.text("name")? {
            tags.insert(
                name.to_owned(),
                tag.text("value")?.unwrap_or_default().to_owned(),
            );
        }
    }
    Ok(tags)
}
