//! `aws:updateVariable`

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
        Found::Value(value.clone())
    } else {
        Found::Unknown
    };
    Ok(Answer {
        assign: Some((name.to_owned(), found)),
        ..Answer::default()
    })
}
