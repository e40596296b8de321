//! `aws:assertAwsResourceProperty` and `aws:waitForAwsResourceProperty`

use serde_json::Value;
use stanch_types::{CallError, CallErrorKind};

use crate::{
    Selector, StepError,
    engine::{Answer, Context, Inputs, Verdict},
};

const RESERVED: [&str; 4] = ["Service", "Api", "PropertySelector", "DesiredValues"];

/// A property and the values it should have.
struct Property {
    selector: Selector,
    written: String,
    desired: Vec<Value>,
}

impl Property {
    fn of(inputs: &Inputs) -> Result<Self, StepError> {
        let written = inputs.text("PropertySelector")?;
        let desired = match inputs.value("DesiredValues")? {
            Value::Array(items) => items.clone(),
            single => vec![single.clone()],
        };
        let selector = written
            .parse()
            .map_err(|error: crate::SelectorError| StepError::Input(error.to_string()))?;
        Ok(Self {
            selector,
            written,
            desired,
        })
    }

    fn check(&self, answer: &Value) -> Result<(), StepError> {
        let found = self.selector.select(answer);
        let wanted: Vec<String> = self.desired.iter().map(printed).collect();
        let good = |value: &Value| wanted.contains(&printed(value));
        let holds = match &found {
            None => false,
            // Every element must be as desired, and there must be one: nothing proves nothing.
            Some(Value::Array(items)) => !items.is_empty() && items.iter().all(good),
            Some(value) => good(value),
        };
        if holds {
            return Ok(());
        }
        Err(StepError::Assertion {
            selector: self.written.clone(),
            found: found.map_or_else(|| "nothing".to_owned(), |value| value.to_string()),
            desired: Value::Array(self.desired.clone()).to_string(),
        })
    }
}

/// A value as Python prints it, which is what is compared: documents say `"True"`.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-assertAwsResourceProperty.html>
pub(super) async fn assert(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let property = Property::of(inputs)?;
    let (service, api) = (inputs.text("Service")?, inputs.text("Api")?);
    let Some(answer) = context
        .call(&service, &api, inputs.without(&RESERVED))
        .await?
    else {
        return Ok(Answer::unknown());
    };
    let failed = property.check(&answer).err();
    Ok(Answer::of(answer).failing(failed))
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-waitForAwsResourceProperty.html>
pub(super) async fn wait(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let property = Property::of(inputs)?;
    let (service, api) = (inputs.text("Service")?, inputs.text("Api")?);
    let answer = context
        .poll(
            &service,
            &api,
            inputs.without(&RESERVED),
            |result| match result {
                Ok(answer) if property.check(answer).is_ok() => Verdict::Done,
                Ok(_) => Verdict::Again,
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?;
    Ok(answer.map_or_else(Answer::unknown, Answer::of))
}

/// Whether an error is one of something that is not there yet, or of a bad moment. AWS documents
/// nothing about errors while waiting; one that time cannot cure is not waited out.
pub(super) fn may_pass(error: &CallError) -> bool {
    match error.kind {
        CallErrorKind::Throttled
        | CallErrorKind::Server
        | CallErrorKind::Unanswered
        | CallErrorKind::Unreadable => true,
        CallErrorKind::Rejected => [
            "NotFound",
            "DoesNotExist",
            "NoSuch",
            "Pending",
            "InProgress",
        ]
        .iter()
        .any(|part| error.code.contains(part)),
        _ => false,
    }
}
