//! `aws:changeInstanceState` and `aws:runInstances`

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::property::may_pass;
use crate::{
    Selector, StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-changestate.html>
pub(super) async fn change_state(
    context: &Context<'_>,
    inputs: &Inputs,
) -> Result<Answer, StepError> {
    let ids = inputs.texts("InstanceIds")?;
    let state = inputs.text("DesiredState")?;
    if ids.is_empty() {
        return Err(StepError::Input("`InstanceIds` is empty".to_owned()));
    }
    let (operation, optional): (_, &[(&str, &str)]) = match state.as_str() {
        "running" => ("StartInstances", &[("AdditionalInfo", "AdditionalInfo")]),
        "stopped" => ("StopInstances", &[("Force", "Force")]),
        "terminated" => ("TerminateInstances", &[]),
        _ => {
            return Err(StepError::Input(format!(
                "`DesiredState` is `{state}`; it can be running, stopped or terminated"
            )));
        }
    };
    if !inputs.boolean("CheckStateOnly")? {
        let mut params = inputs.pick(optional);
        params.insert("InstanceIds".into(), json!(ids));
        if context
            .call("ec2", operation, params.into())
            .await?
            .is_none()
        {
            return Ok(Answer::unknown());
        }
    }
    reach(context, &ids, &state, state == "running").await
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-runinstance.html>
pub(super) async fn run(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let mut params = Map::new();
    let mut profile = Map::new();
    for (name, value) in &inputs.0 {
        match name.as_str() {
            "MinInstanceCount" => params.insert("MinCount".into(), value.clone()),
            "MaxInstanceCount" => params.insert("MaxCount".into(), value.clone()),
            "IamInstanceProfileArn" => profile.insert("Arn".into(), value.clone()),
            "IamInstanceProfileName" => profile.insert("Name".into(), value.clone()),
            _ => params.insert(name.clone(), value.clone()),
        };
    }
    if !profile.is_empty() {
        params.insert("IamInstanceProfile".into(), profile.into());
    }
    for count in ["MinCount", "MaxCount"] {
        params.entry(count).or_insert(1.into());
    }
    if let Some(data) = inputs.maybe_text("UserData")? {
        params.insert("UserData".into(), script(&data)?.into());
    }
    let Some(answer) = context.call("ec2", "RunInstances", params.into()).await? else {
        return Ok(Answer::unknown());
    };
    let ids = strings(&answer, "$.Instances[*].InstanceId");
    let reached = reach(context, &ids, "running", false).await?;
    Ok(Answer::of(answer).output("InstanceIds", ids).output(
        "InstanceStates",
        reached
            .outputs
            .into_iter()
            .next()
            .map_or(Value::Null, |(_, states)| states),
    ))
}

/// User data as text. Documents give it in base64; the client takes text, as boto3 does, and encodes
/// it.
fn script(data: &str) -> Result<String, StepError> {
    match BASE64_STANDARD.decode(data) {
        Err(_) => Ok(data.to_owned()),
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            StepError::Input(
                "`UserData` is not a script: binary user data is not supported".to_owned(),
            )
        }),
    }
}

/// Waits until all instances are in a state, and pass their status checks if `checked`.
async fn reach(
    context: &Context<'_>,
    ids: &[String],
    state: &str,
    checked: bool,
) -> Result<Answer, StepError> {
    let params = json!({ "InstanceIds": ids, "IncludeAllInstances": true });
    let answer = context
        .poll(
            "ec2",
            "DescribeInstanceStatus",
            params,
            |result| match result {
                Ok(answer) => {
                    let states = strings(answer, "$.InstanceStatuses[*].InstanceState.Name");
                    let passed = ["InstanceStatus", "SystemStatus"].iter().all(|check| {
                        let status =
                            strings(answer, &format!("$.InstanceStatuses[*].{check}.Status"));
                        status.len() == ids.len() && status.iter().all(|status| status == "ok")
                    });
                    if state != "terminated"
                        && let Some(lost) = states
                            .iter()
                            .find(|s| matches!(s.as_str(), "terminated" | "shutting-down"))
                    {
                        Verdict::Failed(StepError::State(format!(
                            "an instance is {lost}, and cannot become {state}"
                        )))
                    } else if states.len() == ids.len()
                        && states.iter().all(|s| s == state)
                        && (!checked || passed)
                    {
                        Verdict::Done
                    } else {
                        Verdict::Again
                    }
                }
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?;
    Ok(match answer {
        Some(answer) => {
            let states = strings(&answer, "$.InstanceStatuses[*].InstanceState.Name");
            Answer::of(answer).output("InstanceStates", states)
        }
        None => Answer::unknown(),
    })
}

/// The texts that a path leads to.
pub(super) fn strings(answer: &Value, path: &str) -> Vec<String> {
    let selected = path
        .parse::<Selector>()
        .ok()
        .and_then(|selector| selector.select(answer));
    match selected {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
