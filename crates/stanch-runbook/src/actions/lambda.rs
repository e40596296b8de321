//! `aws:invokeLambdaFunction`

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    StepError,
    engine::{Answer, Context, Inputs, names},
    reference::has_braces,
};

/// Calls a function: in process if the port knows it, else through Lambda. A function that fails
/// with a 200 (`FunctionError`) has failed; what AWS makes of that is documented nowhere.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-lamb.html>
pub(super) async fn invoke(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let function = inputs.text("FunctionName")?;
    let payload = match (inputs.get("InputPayload"), inputs.get("Payload")) {
        (Some(payload), _) => payload.clone(),
        (None, Some(Value::String(text))) => serde_json::from_str(text)
            .map_err(|error| StepError::Input(format!("`Payload` is not JSON: {error}")))?,
        (None, Some(other)) => other.clone(),
        (None, None) => json!({}),
    };
    let known = short(&function);
    if context.ports.functions.knows(known) {
        // Only in a dry run is anything unknown.
        if !context.unknown.is_empty() {
            context.doubt(format!(
                "`{known}` is called with {}",
                names(context.unknown)
            ));
            return Ok(Answer::unknown());
        }
        return match context.ports.functions.call(known, &payload).await {
            Ok(value) => Ok(answered(
                json!(200),
                None,
                &Value::Null,
                value.to_string(),
                None,
            )),
            Err(message) => Err(StepError::Function {
                name: function,
                message,
            }),
        };
    }
    // The payload is sent in base64, in which no braces can be seen.
    let open = !context.unset.is_empty() || context.unknown.is_empty();
    if open && has_braces(&payload) && !context.options.send_braces {
        return Err(StepError::Unresolved {
            call: format!("lambda.Invoke of {function}"),
            references: context.unset.to_vec(),
        });
    }
    let mut params = inputs.pick(&[
        ("FunctionName", "FunctionName"),
        ("InvocationType", "InvocationType"),
        ("LogType", "LogType"),
        ("ClientContext", "ClientContext"),
        ("Qualifier", "Qualifier"),
    ]);
    params.insert(
        "Payload".into(),
        BASE64_STANDARD.encode(payload.to_string()).into(),
    );
    let Some(answer) = context.call("lambda", "Invoke", params.into()).await? else {
        return Ok(Answer::unknown());
    };
    let text = match answer.get("Payload") {
        Some(Value::String(text)) => decoded(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let error = answer
        .get("FunctionError")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let failed = error.as_ref().map(|kind| StepError::Function {
        name: function.clone(),
        message: format!("{kind}: {text}"),
    });
    let status = answer.get("StatusCode").cloned().unwrap_or_default();
    let log = answer.get("LogResult").cloned().unwrap_or_default();
    Ok(answered(status, error, &log, text, failed))
}

fn answered(
    status: Value,
    function_error: Option<String>,
    log: &Value,
    payload: String,
    failed: Option<StepError>,
) -> Answer {
    let parsed: Option<Value> = serde_json::from_str(&payload).ok();
    let response = json!({
        "StatusCode": status,
        "FunctionError": function_error,
        "LogResult": log,
        "Payload": parsed.clone().unwrap_or_else(|| payload.clone().into()),
    });
    // Documents select `$.Payload.x` as well as `$.x`.
    Answer {
        response,
        payload: parsed,
        ..Answer::default()
    }
    .output("StatusCode", status)
    .output("FunctionError", function_error)
    .output("LogResult", log.clone())
    .output("Payload", payload)
    .failing(failed)
}

/// The payload as text: the client gives binary members in base64.
fn decoded(text: &str) -> String {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| text.to_owned())
}

/// `arn:…:function:Name:alias` and `Name:alias` as `Name`.
fn short(function: &str) -> &str {
    let name = function
        .split_once(":function:")
        .map_or(function, |(_, name)| name);
    name.split(':').next().unwrap_or(name)
}
