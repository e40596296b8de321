//! `aws:executeAwsApi`

use crate::{
    StepError,
    engine::{Answer, Context, Inputs},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-executeAwsApi.html>
pub(super) async fn execute(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let (service, api) = (inputs.text("Service")?, inputs.text("Api")?);
    let params = inputs.without(&["Service", "Api"]);
    Ok(context
        .call(&service, &api, params)
        .await?
        .map_or_else(Answer::unknown, Answer::of))
}
