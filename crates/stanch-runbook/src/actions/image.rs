//! `aws:createImage`, `aws:copyImage` and `aws:deleteImage`

use serde_json::{Value, json};

use super::{instance::strings, property::may_pass};
use crate::{
    StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-create.html>
pub(super) async fn create(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    inputs.text("InstanceId")?;
    inputs.text("ImageName")?;
    let params = inputs.pick(&[
        ("InstanceId", "InstanceId"),
        ("ImageName", "Name"),
        ("ImageDescription", "Description"),
        ("NoReboot", "NoReboot"),
        ("BlockDeviceMappings", "BlockDeviceMappings"),
    ]);
    let answer = context.call("ec2", "CreateImage", params.into()).await?;
    available(context, answer).await
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-copyimage.html>
pub(super) async fn copy(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    for name in ["SourceImageId", "SourceRegion", "ImageName"] {
        inputs.text(name)?;
    }
    let params = inputs.pick(&[
        ("SourceImageId", "SourceImageId"),
        ("SourceRegion", "SourceRegion"),
        ("ImageName", "Name"),
        ("ImageDescription", "Description"),
        ("Encrypted", "Encrypted"),
        ("KmsKeyId", "KmsKeyId"),
        ("ClientToken", "ClientToken"),
    ]);
    let answer = context.call("ec2", "CopyImage", params.into()).await?;
    available(context, answer).await
}

/// Waits until the image that `made` tells of can be used.
async fn available(context: &Context<'_>, made: Option<Value>) -> Result<Answer, StepError> {
    let Some(made) = made else {
        return Ok(Answer::unknown());
    };
    let id = made.get("ImageId").cloned().unwrap_or_default();
    let state = |answer: &Value| {
        strings(answer, "$.Images[*].State")
            .first()
            .cloned()
            .unwrap_or_default()
    };
    let answer = context
        .poll(
            "ec2",
            "DescribeImages",
            json!({ "ImageIds": [id] }),
            |result| match result {
                Ok(answer) => match state(answer).as_str() {
                    "available" => Verdict::Done,
                    state @ ("failed" | "error" | "invalid" | "deregistered" | "disabled") => {
                        Verdict::Failed(StepError::State(format!(
                            "the image `{}` is {state}",
                            id.as_str().unwrap_or_default()
                        )))
                    }
                    _ => Verdict::Again,
                },
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?;
    let state = answer.as_ref().map(state).unwrap_or_default();
    Ok(Answer::of(answer.unwrap_or_default())
        .output("ImageId", id)
        .output("ImageState", state))
}

/// Deregisters an image and deletes the snapshots it was made of.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-delete.html>
pub(super) async fn delete(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let id = inputs.text("ImageId")?;
    let image = context
        .call("ec2", "DescribeImages", json!({ "ImageIds": [id] }))
        .await?;
    let snapshots = image
        .as_ref()
        .map(|image| strings(image, "$.Images[*].BlockDeviceMappings[*].Ebs.SnapshotId"))
        .unwrap_or_default();
    context
        .call("ec2", "DeregisterImage", json!({ "ImageId": id }))
        .await?;
    for snapshot in snapshots {
        context
            .call("ec2", "DeleteSnapshot", json!({ "SnapshotId": snapshot }))
            .await?;
    }
    Ok(Answer::default())
}
