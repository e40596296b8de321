//! `aws:createTags`

use serde_json::json;

use crate::{
    StepError,
    engine::{Answer, Context, Inputs},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-createtag.html>
pub(super) async fn create(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let ids = inputs.texts("ResourceIds")?;
    let tags = inputs.value("Tags")?;
    let kind = inputs
        .maybe_text("ResourceType")?
        .unwrap_or_else(|| "EC2".to_owned());
    let answer = match (kind.as_str(), ids.as_slice()) {
        (_, []) => return Err(StepError::Input("`ResourceIds` is empty".to_owned())),
        ("EC2", ids) => {
            context
                .call(
                    "ec2",
                    "CreateTags",
                    json!({ "Resources": ids, "Tags": tags }),
                )
                .await?
        }
        ("ManagedInstance" | "MaintenanceWindow" | "Parameter", [id]) => {
            let params = json!({ "ResourceType": kind, "ResourceId": id, "Tags": tags });
            context.call("ssm", "AddTagsToResource", params).await?
        }
        ("ManagedInstance" | "MaintenanceWindow" | "Parameter", _) => {
            return Err(StepError::Input(format!(
                "one `{kind}` can be tagged at a time"
            )));
        }
        _ => {
            return Err(StepError::Input(format!(
                "`ResourceType` is `{kind}`; it can be EC2, ManagedInstance, MaintenanceWindow or Parameter"
            )));
        }
    };
    Ok(answer.map_or_else(Answer::unknown, Answer::of))
}
