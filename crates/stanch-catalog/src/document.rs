//! A plan as an Automation document with nothing left to decide (`docs/decisions/0001`).

use serde_json::{Map, Value, json};
use stanch_runbook::{Action, ActionName, Document, Step};
use stanch_types::Call;

use crate::plan::{Plan, PlanError, PlannedAction, PlannedStep};

impl Plan {
    /// The document that the engine runs: one step for each of the plan's, in order.
    ///
    /// # Errors
    /// An output of a type that Automation does not have; [`crate::parse`] lets none through.
    pub fn document(&self) -> Result<Document, PlanError> {
        let mut steps = self.steps.iter().map(step).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = steps.last_mut() {
            last.is_end = true;
        }
        Ok(Document {
            description: Some(format!("{} for {}", self.remediation, self.resource.id)),
            steps,
            ..Document::default()
        })
    }
}

fn step(planned: &PlannedStep) -> Result<Step, PlanError> {
    Ok(match &planned.action {
        PlannedAction::Call { call, outputs } => {
            let mut step = Step::call(&planned.name, call);
            for output in outputs {
                let kind = output.kind.parse();
                let kind =
                    kind.map_err(|_| PlanError::Document(format!("`{}` is no type", output.kind)))?;
                step = step.output(&output.name, &output.select, kind);
            }
            step
        }
        PlannedAction::Wait {
            call,
            select,
            values,
            timeout,
        } => {
            let mut step = Step::new(&planned.name, wait(call, select, values));
            step.timeout_seconds = Some(stanch_runbook::Setting::Literal(*timeout));
            step
        }
        PlannedAction::Sleep { seconds } => Step::new(&planned.name, sleep(*seconds)),
        PlannedAction::Approve { message } => {
            let message = json!(message);
            Step::new(&planned.name, approve(message, json!([])))
        }
    })
}

/// `aws:waitForAwsResourceProperty`
pub(crate) fn wait(call: &Call, select: &str, values: &[Value]) -> Action {
    let mut inputs = Map::new();
    inputs.insert("Service".to_owned(), json!(call.service));
    inputs.insert("Api".to_owned(), json!(call.operation));
    inputs.insert("PropertySelector".to_owned(), json!(select));
    inputs.insert(
        "DesiredValues".to_owned(),
        values.iter().map(desired).collect(),
    );
    if let Value::Object(params) = &call.params {
        inputs.extend(params.clone());
    }
    Action::run(ActionName::WaitForProperty, inputs)
}

/// `aws:sleep`
pub(crate) fn sleep(seconds: u64) -> Action {
    let duration = json!(format!("PT{seconds}S"));
    Action::run(
        ActionName::Sleep,
        Map::from_iter([("Duration".to_owned(), duration)]),
    )
}

/// `aws:approve`
pub(crate) fn approve(message: Value, approvers: Value) -> Action {
    let inputs = [("Message", message), ("Approvers", approvers)];
    Action::run(
        ActionName::Approve,
        inputs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Automation compares text, and booleans as Python writes them:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-waitForAwsResourceProperty.html>.
fn desired(value: &Value) -> Value {
    match value {
        Value::Bool(true) => json!("True"),
        Value::Bool(false) => json!("False"),
        Value::String(_) => value.clone(),
        other => json!(other.to_string()),
    }
}
