//! `aws:updateVariable`

use serde_json::Value;

use crate::{
    StepError,
    engine::{Answer, Context, Inputs},
    reference::Found,
};

/// Changes a variable; the value must be of its type as it is.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-update-variable.html>
pub(super) fn update(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let name = inputs.text("Name")?;
    let name = name.strip_prefix("variable:").unwrap_or(&name);
    let (kind, _) = context
        .scope
        .variable(name)
        .ok_or_else(|| StepError::Input(format!("there is no variable `{name}`")))?;
    let value = inputs.value("Value")?;
    let found = if context.unknown.is_empty() {
        if !kind.admits(value) {
            return Err(StepError::Input(format!(
                "variable `{name}` is of type {kind}; {value} is not"
            )));
        }
        if let Some(problem) = too_large(value) {
            return Err(StepError::Input(format!(
                "the value of variable `{name}` has {problem}"
            )));
        }
        Found::Value(value.clone())
    } else {
        Found::Unknown
    };
    Ok(Answer {
        assign: Some((name.to_owned(), found)),
        ..Answer::default()
    })
}

/// What is too large of a value, by AWS's limits for variables.
fn too_large(value: &Value) -> Option<&'static str> {
    let long = |text: &str, most: usize| text.chars().count() > most;
    match value {
        Value::String(text) if long(text, 512) => Some("more than 512 characters"),
        Value::Array(items) if items.len() > 200 => Some("more than 200 elements"),
        Value::Array(items) if items.len() > 50 && items.iter().all(Value::is_string) => {
            Some("more than 50 elements")
        }
        Value::Array(items) => items.iter().find_map(too_large),
        Value::Object(members) if members.keys().any(|key| long(key, 50)) => {
            Some("a key of more than 50 characters")
        }
        Value::Object(members) => members.values().find_map(too_large),
        _ => None,
    }
}
