//! `aws:runCommand`

use serde_json::{Value, json};

use super::{instance::strings, property::may_pass};
use crate::{
    StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-runcommand.html>
pub(super) async fn run(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    inputs.text("DocumentName")?;
    let params = inputs.without(&[]);
    let Some(answer) = context.call("ssm", "SendCommand", params).await? else {
        return Ok(Answer::unknown());
    };
    let id = answer
        .pointer("/Command/CommandId")
        .cloned()
        .unwrap_or_default();
    let status = |answer: &Value| {
        strings(answer, "$.Commands[*].Status")
            .first()
            .cloned()
            .unwrap_or_default()
    };
    let commands = context
        .poll(
            "ssm",
            "ListCommands",
            json!({ "CommandId": id }),
            |result| match result {
                Ok(answer) => match status(answer).as_str() {
                    "Success" | "Cancelled" | "Failed" | "TimedOut" => Verdict::Done,
                    _ => Verdict::Again,
                },
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?
        .unwrap_or_default();
    let status = status(&commands);
    let invocations = context
        .call(
            "ssm",
            "ListCommandInvocations",
            json!({ "CommandId": id, "Details": true }),
        )
        .await?
        .unwrap_or_default();
    let output = strings(
        &invocations,
        "$.CommandInvocations[*].CommandPlugins[*].Output",
    )
    .join("\n");
    let codes: Vec<i64> = invocations
        .pointer("/CommandInvocations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|invocation| invocation.get("CommandPlugins").and_then(Value::as_array))
        .flatten()
        .filter_map(|plugin| plugin.get("ResponseCode").and_then(Value::as_i64))
        .collect();
    // The first that is not zero tells what went wrong.
    let code = codes
        .iter()
        .copied()
        .find(|code| *code != 0)
        .or_else(|| codes.first().copied());
    let failed =
        (status != "Success").then(|| StepError::State(format!("the command ended as {status}")));
    Ok(Answer::of(invocations)
        .output("CommandId", id)
        .output("Status", status)
        .output("ResponseCode", code.map_or(Value::Null, Value::from))
        .output("Output", output)
        .failing(failed))
}
