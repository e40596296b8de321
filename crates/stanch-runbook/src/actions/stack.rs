//! `aws:createStack` and `aws:deleteStack`

use serde_json::{Value, json};
use stanch_types::CallError;

use super::property::may_pass;
use crate::{
    StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-createstack.html>
pub(super) async fn create(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    inputs.text("StackName")?;
    let params = inputs.pick(&[
        ("StackName", "StackName"),
        ("TemplateBody", "TemplateBody"),
        ("TemplateURL", "TemplateURL"),
        ("Capabilities", "Capabilities"),
        ("ClientRequestToken", "ClientRequestToken"),
        ("EnableTerminationProtection", "EnableTerminationProtection"),
        ("NotificationARNs", "NotificationARNs"),
        ("OnStackFailure", "OnFailure"),
        ("Parameters", "Parameters"),
        ("ResourceTypes", "ResourceTypes"),
        ("RoleARN", "RoleARN"),
        ("StackPolicyBody", "StackPolicyBody"),
        ("StackPolicyURL", "StackPolicyURL"),
        ("Tags", "Tags"),
        ("TimeoutInMinutes", "TimeoutInMinutes"),
    ]);
    let Some(made) = context
        .call("cloudformation", "CreateStack", params.into())
        .await?
    else {
        return Ok(Answer::unknown());
    };
    let id = made.get("StackId").cloned().unwrap_or_default();
    let answer = context
        .poll(
            "cloudformation",
            "DescribeStacks",
            json!({ "StackName": id }),
            |result| match result {
                Ok(answer) => match status(answer) {
                    "CREATE_COMPLETE" => Verdict::Done,
                    "CREATE_IN_PROGRESS" | "" => Verdict::Again,
                    other => Verdict::Failed(ended(answer, other)),
                },
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?
        .unwrap_or_default();
    let (status, reason) = (
        stack(&answer, "StackStatus"),
        stack(&answer, "StackStatusReason"),
    );
    Ok(Answer::of(answer.clone())
        .output("StackId", id)
        .output("StackStatus", status)
        .output("StackStatusReason", reason))
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-deletestack.html>
pub(super) async fn delete(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let name = inputs.text("StackName")?;
    let params = inputs.pick(&[
        ("StackName", "StackName"),
        ("ClientRequestToken", "ClientRequestToken"),
        ("RetainResources", "RetainResources"),
        ("RoleARN", "RoleARN"),
    ]);
    if context
        .call("cloudformation", "DeleteStack", params.into())
        .await?
        .is_none()
    {
        return Ok(Answer::unknown());
    }
    let gone = context
        .poll(
            "cloudformation",
            "DescribeStacks",
            json!({ "StackName": name }),
            |result| match result {
                Ok(answer) => match status(answer) {
                    "DELETE_COMPLETE" => Verdict::Done,
                    other if other.ends_with("_FAILED") => Verdict::Failed(ended(answer, other)),
                    _ => Verdict::Again,
                },
                Err(error) if is_gone(error) => Verdict::Done,
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await;
    match gone {
        Err(StepError::Call(error)) if is_gone(&error) => Ok(Answer::default()),
        other => other.map(|_| Answer::default()),
    }
}

/// CloudFormation forgets the name of a deleted stack, and says so with a validation error.
fn is_gone(error: &CallError) -> bool {
    error.code == "ValidationError" && error.message.contains("does not exist")
}

fn status(answer: &Value) -> &str {
    answer
        .pointer("/Stacks/0/StackStatus")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn stack(answer: &Value, member: &str) -> Value {
    answer
        .pointer(&format!("/Stacks/0/{member}"))
        .cloned()
        .unwrap_or_default()
}

fn ended(answer: &Value, status: &str) -> StepError {
    let reason = stack(answer, "StackStatusReason");
    StepError::State(format!(
        "the stack is {status}: {}",
        reason.as_str().unwrap_or("no reason is given")
    ))
}
