//! Steps for themselves: names, settings, inputs, outputs.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Placed, Report, suggest};
use crate::{Action, ActionName, Selector, Setting, Step, actions::duration};

/// Characters of a step's name.
const NAME: usize = 128;

pub(super) fn check(steps: &[Placed<'_>], report: &mut Report<'_>) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let mut in_order: Vec<&Placed<'_>> = steps.iter().collect();
    in_order.sort_by_key(|placed| report.document.places.find(&placed.pointer));
    for placed in in_order {
        let Placed { step, pointer, .. } = placed;
        let name = &step.name;
        let at = format!("{pointer}/name");
        if name.is_empty()
            || name.len() > NAME
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            report.error(
                &at,
                format!("`{name}` is no name of a step"),
                "letters, digits and `_`".to_owned(),
            );
        } else if let Some(first) = seen.insert(name, pointer) {
            let line = report.document.places.find(first).line;
            report.error(
                &at,
                format!("step `{name}` is already there, on line {line}"),
                None,
            );
        }
        settings(step, pointer, report);
        outputs(step, pointer, report);
        if let Action::Run { name, inputs } = &step.action {
            given(*name, inputs, &format!("{pointer}/inputs"), report);
        }
    }
}

fn settings(step: &Step, pointer: &str, report: &mut Report<'_>) {
    let action = step.action.name();
    if step.max_attempts == Some(Setting::Literal(0)) {
        report.error(
            &format!("{pointer}/maxAttempts"),
            "a step is tried at least once",
            None,
        );
    }
    if let Some(Setting::Literal(seconds)) = step.timeout_seconds {
        let pointer = format!("{pointer}/timeoutSeconds");
        if seconds == 0 {
            report.error(&pointer, "a step needs at least a second", None);
        }
        if let Some(longest) = action.longest_deadline()
            && seconds > longest.as_secs()
        {
            report.warning(
                &pointer,
                format!(
                    "`{action}` gets at most {} seconds; this asks for {seconds}",
                    longest.as_secs()
                ),
                None,
            );
        }
    }
    if step.on_cancel.is_some() && !action.can_cancel() {
        report.error(
            &format!("{pointer}/onCancel"),
            format!("`{action}` does not take `onCancel`"),
            None,
        );
    }
    if step.is_end && step.next_step.is_some() {
        report.warning(
            &format!("{pointer}/nextStep"),
            "`nextStep` is never used: the step has `isEnd`",
            "remove one of the two".to_owned(),
        );
    }
    if let Action::Loop(body) = &step.action
        && let Some(Setting::Literal(most)) = body.max_iterations
        && !(1..=100).contains(&most)
    {
        report.error(
            &format!("{pointer}/inputs/MaxIterations"),
            "`MaxIterations` is 1 to 100",
            None,
        );
    }
}

fn outputs(step: &Step, pointer: &str, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for (index, output) in step.outputs.iter().enumerate() {
        let pointer = format!("{pointer}/outputs/{index}");
        if !seen.insert(&output.name) {
            report.error(
                &pointer,
                format!("output `{}` is there twice", output.name),
                None,
            );
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if output.name.is_empty() || !output.name.bytes().all(good) {
            report.error(
                &format!("{pointer}/Name"),
                format!(
                    "`{}` is no name of an output: no reference could reach it",
                    output.name
                ),
                "letters, digits and `_`".to_owned(),
            );
        }
        if let Err(error) = output.selector.parse::<Selector>() {
            report.error(
                &format!("{pointer}/Selector"),
                error.to_string(),
                "such as `$.Instances[0].State.Name`".to_owned(),
            );
        }
    }
}

fn given(action: ActionName, inputs: &Map<String, Value>, pointer: &str, report: &mut Report<'_>) {
    let spec = action.inputs();
    for name in spec
        .required
        .iter()
        .filter(|name| !inputs.contains_key(**name))
    {
        report.error(
            pointer,
            format!("`{action}` needs the input `{name}`"),
            None,
        );
    }
    if !spec.others {
        let known = || spec.required.iter().chain(spec.optional).copied();
        for name in inputs
            .keys()
            .filter(|name| !known().any(|known| known == name.as_str()))
        {
            let message = format!("`{name}` is not an input of `{action}`");
            report.error(
                &format!("{pointer}/{name}"),
                message,
                suggest(name, known()),
            );
        }
    }
    let text = |name: &str| {
        inputs
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.contains("{{"))
    };
    let one_of = |names: &[&str]| {
        names
            .iter()
            .filter(|name| inputs.contains_key(**name))
            .count()
            == 1
    };
    match action {
        ActionName::AssertProperty | ActionName::WaitForProperty => {
            property(inputs, pointer, report)
        }
        ActionName::Sleep => {
            if !one_of(&["Duration", "Timestamp"]) {
                report.error(
                    pointer,
                    "`aws:sleep` takes one of `Duration` and `Timestamp`",
                    "write `Duration: PT10M`".to_owned(),
                );
            } else if let Some(written) = text("Duration")
                && let Err(error) = duration(written)
            {
                report.error(&format!("{pointer}/Duration"), error.to_string(), None);
            }
        }
        ActionName::ChangeInstanceState => {
            among(
                text("DesiredState"),
                &["running", "stopped", "terminated"],
                "DesiredState",
                pointer,
                report,
            );
        }
        ActionName::CreateTags => among(
            text("ResourceType"),
            &["EC2", "ManagedInstance", "MaintenanceWindow", "Parameter"],
            "ResourceType",
            pointer,
            report,
        ),
        ActionName::CreateStack if !one_of(&["TemplateBody", "TemplateURL"]) => {
            report.error(
                pointer,
                "`aws:createStack` takes one of `TemplateBody` and `TemplateURL`",
                None,
            );
        }
        ActionName::ExecuteScript => script(inputs, pointer, report),
        _ => {}
    }
}

fn among(
    value: Option<&str>,
    allowed: &[&str],
    name: &str,
    pointer: &str,
    report: &mut Report<'_>,
) {
    if let Some(value) = value
        && !allowed.contains(&value)
    {
        let hint = format!("one of {}", allowed.join(", "));
        report.error(
            &format!("{pointer}/{name}"),
            format!("`{name}` cannot be `{value}`"),
            hint,
        );
    }
}

fn property(inputs: &Map<String, Value>, pointer: &str, report: &mut Report<'_>) {
    if let Some(selector) = inputs.get("PropertySelector").and_then(Value::as_str)
        && let Err(error) = selector.parse::<Selector>()
    {
        report.error(
            &format!("{pointer}/PropertySelector"),
            error.to_string(),
            None,
        );
    }
    let at = format!("{pointer}/DesiredValues");
    match inputs.get("DesiredValues") {
        Some(Value::Array(values)) => {
            if values.is_empty() {
                report.error(
                    &at,
                    "`DesiredValues` is empty: nothing could ever be as desired",
                    None,
                );
            }
            for value in values
                .iter()
                .filter_map(Value::as_str)
                .filter(|v| matches!(*v, "true" | "false"))
            {
                report.warning(
                    &at,
                    format!("a boolean is compared as `True` or `False`, never as `{value}`"),
                    format!(
                        "write `- {}`",
                        if value == "true" { "'True'" } else { "'False'" }
                    ),
                );
            }
        }
        Some(Value::String(text)) if text.contains("{{") => {}
        Some(_) => report.error(
            &at,
            "`DesiredValues` is a list",
            "write `- value` below it".to_owned(),
        ),
        None => {}
    }
}

fn script(inputs: &Map<String, Value>, pointer: &str, report: &mut Report<'_>) {
    let runtime = inputs
        .get("Runtime")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let python = runtime.starts_with("python3.");
    if !python && !runtime.starts_with("PowerShell") && !runtime.is_empty() {
        report.error(
            &format!("{pointer}/Runtime"),
            format!("there is no runtime `{runtime}`"),
            "write `Runtime: python3.11`".to_owned(),
        );
    }
    if runtime.starts_with("PowerShell") {
        report.warning(
            &format!("{pointer}/Runtime"),
            "PowerShell scripts run in Systems Manager only, not here",
            None,
        );
    }
    if !inputs.contains_key("Script") && !inputs.contains_key("Attachment") {
        report.error(
            pointer,
            "`aws:executeScript` needs the input `Script`",
            None,
        );
    }
    if python && !inputs.contains_key("Handler") {
        report.error(
            pointer,
            "a Python script needs the input `Handler`",
            "the name of the function to call".to_owned(),
        );
    }
}
