//! `aws:executeScript`

use serde_json::{Map, Value, json};

use crate::{
    Reference, Script, ScriptError, StepError,
    engine::{Answer, Context, Inputs},
    reference::{Found, Global, Lookup},
};

/// Bytes of a payload: <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
const PAYLOAD: usize = 100 * 1024;

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-executeScript.html>
pub(super) async fn execute(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let runtime = inputs.text("Runtime")?;
    if context.dry() {
        context.doubt("is a script, which is not run");
        return Ok(Answer::unknown());
    }
    if !runtime.to_ascii_lowercase().starts_with("python") {
        let message = format!("the runtime `{runtime}` is not supported here: only Python is");
        return Err(StepError::Script(ScriptError::Unavailable(message)));
    }
    let Some(source) = inputs.get("Script").and_then(Value::as_str) else {
        let message = match inputs.get("Attachment") {
            Some(_) => {
                "scripts in attachments are not supported here: put the script into `Script`"
            }
            None => "input `Script` is missing",
        };
        return Err(StepError::Input(message.to_owned()));
    };
    let script = Script {
        runtime,
        handler: inputs.text("Handler")?,
        source: source.to_owned(),
        context: globals(context),
    };
    let payload = inputs
        .get("InputPayload")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let returned = context
        .ports
        .scripts
        .run(&script, &payload)
        .await
        .map_err(StepError::Script)?;
    let size = returned.to_string().len();
    if size > PAYLOAD {
        return Err(StepError::State(format!(
            "the script returned {size} bytes; at most {PAYLOAD} are taken"
        )));
    }
    Ok(Answer::of(json!({ "Payload": returned.clone() })).output("Payload", returned))
}

/// What scripts find in their second argument.
fn globals(context: &Context<'_>) -> Map<String, Value> {
    let globals = Global::ALL.into_iter().map(Reference::Global);
    globals
        .chain([Reference::ExecutionId])
        .filter_map(|reference| match context.scope.find(&reference) {
            Found::Value(value) => Some((reference.to_string(), value)),
            _ => None,
        })
        .collect()
}
