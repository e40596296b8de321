//! `aws:invokeWebhook`

use crate::{
    StepError,
    engine::{Answer, Context, Inputs},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/invoke-webhook.html>
pub(super) async fn invoke(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let integration = inputs.text("IntegrationName")?;
    let body = inputs.get("Body").map(|body| match body {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let body = body.unwrap_or_default();
    if context.dry() {
        context.doubt(format!("would call the webhook `{integration}`"));
        return Ok(Answer::unknown());
    }
    if body.contains("{{") && !context.options.send_braces {
        return Err(StepError::Unresolved {
            call: format!("webhook {integration}"),
            references: context.unset.to_vec(),
        });
    }
    let failed = |message: String| StepError::Webhook {
        integration: integration.clone(),
        message,
    };
    let reply = context
        .ports
        .webhooks
        .invoke(&integration, &body)
        .await
        .map_err(failed)?;
    let error =
        (!(200..300).contains(&reply.code)).then(|| failed(format!("it answered {}", reply.code)));
    Ok(
        Answer::of(serde_json::json!({ "Response": reply.body, "ResponseCode": reply.code }))
            .output("Response", reply.body)
            .output("ResponseCode", reply.code)
            .failing(error),
    )
}
