//! AWS Config's evaluation results, as EventBridge and SNS carry them,
//! <https://docs.aws.amazon.com/config/latest/developerguide/example-config-rule-compliance-notification.html>.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Draft, Problem, Refused, asff::own_resource, members::Members};
use crate::{Compliance, ControlRef, Finding, Generation, RecordState, Resource, Workflow};

pub(super) fn read(map: Map<String, Value>) -> Result<Draft, Refused> {
    match draft(&map) {
        Ok(draft) => Ok(draft.with_raw(map)),
        Err(problem) => Err((problem, map)),
    }
}

fn draft(map: &Map<String, Value>) -> Result<Draft, Problem> {
    let change = Members::new(map, "");
    let account = match change.text("awsAccountId")? {
        Some(_) => change.account("awsAccountId")?,
        None if map.contains_key("account") => change.account("account")?,
        None => return Err(change.missing("awsAccountId")),
    };
    let region = match change.region("awsRegion")? {
        Some(region) => region,
        None => change
            .region("region")?
            .ok_or_else(|| change.missing("awsRegion"))?,
    };
    let rule = change.required_text("configRuleName")?;
    let kind = change.required_text("resourceType")?;
    let resource_id = change.required_text("resourceId")?;
    let id = format!("config/{account}/{region}/{rule}/{kind}/{resource_id}");
    let result = change.object("newEvaluationResult")?;
    let (status, generation) = match result {
        // The rule or the resource is gone: there is nothing to evaluate any more.
        None => (
            Compliance::NotAvailable,
            change.first_timestamp(&["notificationCreationTime"])?,
        ),
        Some(result) => (
            compliance(result)?,
            result
                .first_timestamp(&["resultRecordedTime", "configRuleInvokedTime"])
                .or_else(|missing| change.timestamp("notificationCreationTime")?.ok_or(missing))?,
        ),
    };
    let (resources, refused) = match own_resource(&account, kind, resource_id, None) {
        Ok(arn) => (vec![Resource::new(kind, resource_id, arn)], Vec::new()),
        Err(problem) => (Vec::new(), vec![problem]),
    };
    let bare = ControlRef::config_rule(rule);
    let named = ControlRef::ConfigRule(rule.to_owned());
    let controls = if bare == named {
        vec![bare]
    } else {
        vec![bare, named]
    };
    Ok(Draft {
        sample: false,
        refused,
        finding: Finding {
            id: id.parse().map_err(|error| {
                Problem::new(
                    format!("in `configRuleName`, `resourceType` and `resourceId`: {error}"),
                    "deliver Config's notification as it is",
                )
            })?,
            generation: Generation(generation),
            account,
            region,
            controls,
            resources,
            product: "AWS Config".to_owned(),
            title: format!("`{resource_id}` does not comply with the rule `{rule}`"),
            description: match result {
                Some(result) => result.text("annotation")?.unwrap_or_default().to_owned(),
                None => String::new(),
            },
            severity: None,
            compliance: Some(status),
            workflow: Workflow::New,
            record_state: RecordState::Active,
            first_observed_at: Some(generation),
            raw: Arc::default(),
        },
    })
}

fn compliance(result: Members<'_>) -> Result<Compliance, Problem> {
    match result.required_text("complianceType")? {
        "COMPLIANT" => Ok(Compliance::Passed),
        "NON_COMPLIANT" => Ok(Compliance::Failed),
        "NOT_APPLICABLE" | "INSUFFICIENT_DATA" => Ok(Compliance::NotAvailable),
        other => Err(Problem::new(
            format!(
                "`{}` is `{}`",
                result.path("complianceType"),
                super::short(other)
            ),
            "it is one of COMPLIANT, NON_COMPLIANT, NOT_APPLICABLE, INSUFFICIENT_DATA",
        )),
    }
}
