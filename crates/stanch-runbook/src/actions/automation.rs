//! `aws:executeAutomation`

use serde_json::{Map, Value, json};

use super::property::may_pass;
use crate::{
    AutomationStatus, StepError,
    engine::{Answer, Context, DryRun, Engine, Inputs, Options, Parent, Verdict},
    reference::{Template, in_text},
};

/// Runs another document: here if the port finds it, else in Systems Manager.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-executeAutomation.html>
pub(super) async fn execute(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    let name = inputs.text("DocumentName")?;
    let version = inputs.maybe_text("DocumentVersion")?;
    let targets = ["Targets", "TargetMaps", "TargetLocations"]
        .iter()
        .find(|name| inputs.get(name).is_some());
    let Some(document) = context
        .ports
        .documents
        .find(&name, version.as_deref())
        .await
    else {
        return remotely(context, inputs, &name).await;
    };
    if let Some(targets) = targets {
        return Err(StepError::Input(format!(
            "`{targets}` is not supported for documents that run here"
        )));
    }
    let parameters = match inputs.get("RuntimeParameters") {
        None => Map::new(),
        Some(Value::Object(parameters)) => parameters.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
            StepError::Input(format!("`RuntimeParameters` is not a JSON object: {error}"))
        })?,
        Some(_) => {
            return Err(StepError::Input(
                "`RuntimeParameters` is not a mapping".to_owned(),
            ));
        }
    };
    let parent = Parent {
        id: context.execution.to_owned(),
        depth: context.depth + 1,
        unknown: parameters
            .iter()
            .filter(|(_, value)| {
                context
                    .unknown
                    .iter()
                    .any(|reference| mentions(value, reference))
            })
            .map(|(name, _)| name.clone())
            .collect(),
    };
    let options = Options {
        document_name: name.clone(),
        document_version: version,
        id: None,
        ..context.options.clone()
    };
    let engine = Engine::new(context.ports.clone());
    // Boxed: the child runs the same code one level down.
    let child = Box::pin(engine.admit(document, &parameters, options, Some(parent)))
        .await
        .map_err(|error| StepError::Input(format!("`{name}` does not start: {error}")))?
        .finish()
        .await;
    if let Some(dry) = child.dry_run {
        let writes = !dry.calls.is_empty();
        absorb(context, dry);
        if writes && child.record.automation_execution_status == AutomationStatus::Success {
            return Ok(Answer::unknown());
        }
    }
    if let Some(error) = child
        .steps
        .iter()
        .filter_map(|step| step.error.as_ref())
        .find(|e| e.stops_everything())
    {
        return Err(error.clone());
    }
    let status = child.record.automation_execution_status;
    let output: Vec<String> = child.outputs.values().map(in_text).collect();
    let failed = (status != AutomationStatus::Success).then(|| StepError::Child {
        document: name,
        status,
        message: child
            .record
            .failure_message
            .clone()
            .unwrap_or_else(|| "no reason is given".to_owned()),
    });
    Ok(
        Answer::of(serde_json::to_value(&child.outputs).unwrap_or_default())
            .output("ExecutionId", child.record.automation_execution_id)
            .output("Status", format!("{status:?}"))
            .output("Output", output)
            .failing(failed),
    )
}

fn mentions(value: &Value, reference: &crate::Reference) -> bool {
    match value {
        Value::String(text) => Template::parse(text)
            .references()
            .any(|other| other == reference),
        Value::Array(items) => items.iter().any(|item| mentions(item, reference)),
        Value::Object(members) => members.values().any(|member| mentions(member, reference)),
        _ => false,
    }
}

fn absorb(context: &Context<'_>, dry: DryRun) {
    let mut log = context.log();
    for mut call in dry.calls {
        call.step = format!("{}/{}", context.step, call.step);
        log.dry.calls.push(call);
    }
    for doubt in dry.doubts {
        log.dry
            .doubt(&format!("{}/{}", context.step, doubt.step), doubt.reason);
    }
}

async fn remotely(context: &Context<'_>, inputs: &Inputs, name: &str) -> Result<Answer, StepError> {
    let mut params = inputs.pick(&[
        ("DocumentName", "DocumentName"),
        ("DocumentVersion", "DocumentVersion"),
        ("TargetParameterName", "TargetParameterName"),
        ("Targets", "Targets"),
        ("TargetMaps", "TargetMaps"),
        ("TargetLocations", "TargetLocations"),
        ("MaxConcurrency", "MaxConcurrency"),
        ("MaxErrors", "MaxErrors"),
        ("Tags", "Tags"),
    ]);
    if let Some(Value::Object(given)) = inputs.get("RuntimeParameters") {
        let texts: Map<String, Value> = given
            .iter()
            .map(|(name, value)| (name.clone(), crate::record::texts(value).into()))
            .collect();
        params.insert("Parameters".into(), texts.into());
    }
    let Some(started) = context
        .call("ssm", "StartAutomationExecution", params.into())
        .await?
    else {
        return Ok(Answer::unknown());
    };
    let id = started
        .get("AutomationExecutionId")
        .cloned()
        .unwrap_or_default();
    let status = |answer: &Value| {
        answer
            .pointer("/AutomationExecution/AutomationExecutionStatus")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let answer = context
        .poll(
            "ssm",
            "GetAutomationExecution",
            json!({ "AutomationExecutionId": id }),
            |result| match result {
                Ok(answer) => match status(answer).as_str() {
                    "Success"
                    | "TimedOut"
                    | "Cancelled"
                    | "Failed"
                    | "Rejected"
                    | "CompletedWithSuccess"
                    | "CompletedWithFailure"
                    | "Exited" => Verdict::Done,
                    _ => Verdict::Again,
                },
                Err(error) if may_pass(error) => Verdict::Again,
                Err(error) => Verdict::Failed(error.clone().into()),
            },
        )
        .await?
        .unwrap_or_default();
    let status = status(&answer);
    let execution = answer
        .get("AutomationExecution")
        .cloned()
        .unwrap_or_default();
    let output: Vec<Value> = execution
        .get("Outputs")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|outputs| outputs.values())
        .filter_map(Value::as_array)
        .flatten()
        .cloned()
        .collect();
    let failed = (!matches!(status.as_str(), "Success" | "CompletedWithSuccess")).then(|| {
        StepError::Child {
            document: name.to_owned(),
            status: serde_json::from_value(status.clone().into())
                .unwrap_or(AutomationStatus::Failed),
            message: execution
                .get("FailureMessage")
                .and_then(Value::as_str)
                .unwrap_or("no reason is given")
                .to_owned(),
        }
    });
    let mut result = Answer::of(execution)
        .output("ExecutionId", id)
        .output("Status", status);
    if inputs.get("TargetLocations").is_none() {
        result = result.output("Output", output);
    }
    Ok(result.failing(failed))
}
