//! `aws:executeStateMachine`

use serde_json::{Value, json};

use super::property::may_pass;
use crate::{
    StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-executeStateMachine.html>
pub(super) async fn execute(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    inputs.text("stateMachineArn")?;
    let mut params = inputs.pick(&[("stateMachineArn", "stateMachineArn"), ("name", "name")]);
    match inputs.get("input") {
        None => {}
        Some(Value::String(text)) => {
            params.insert("input".into(), text.clone().into());
        }
        Some(other) => {
            params.insert("input".into(), other.to_string().into());
        }
    }
    let Some(started) = context
        .call("stepfunctions", "StartExecution", params.into())
        .await?
    else {
        return Ok(Answer::unknown());
    };
    let arn = started.get("executionArn").cloned().unwrap_or_default();
    let described = context
        .poll(
            "stepfunctions",
            "DescribeExecution",
            json!({ "executionArn": arn }),
            |result| match result {
                Ok(answer) => match answer.get("status").and_then(Value::as_str) {
                    Some("RUNNING" | "PENDING_REDRIVE") => Verdict::Again,
                    _ => Verdict::Done,
                },
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?
        .unwrap_or_default();
    let status = described
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let failed = (status != "SUCCEEDED").then(|| {
        let cause = described
            .get("cause")
            .and_then(Value::as_str)
            .unwrap_or("no cause is given");
        StepError::State(format!("the state machine ended as {status}: {cause}"))
    });
    let mut answer = Answer::of(described.clone());
    for name in [
        "executionArn",
        "input",
        "name",
        "output",
        "startDate",
        "stateMachineArn",
        "status",
        "stopDate",
    ] {
        answer = answer.output(name, described.get(name).cloned().unwrap_or_default());
    }
    Ok(answer.failing(failed))
}
