//! Parameters, variables and the role.

use serde_json::Value;

use super::Report;
use crate::{
    Document, Parameter, Pattern, Reference, Template, Type,
    parameters::{allowed, convert},
};

/// Most parameters, and characters of a name:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html>
const PARAMETERS: usize = 200;
const NAME: usize = 50;

pub(super) fn check(document: &Document, report: &mut Report<'_>) {
    if document.parameters.len() > PARAMETERS {
        report.error(
            "/parameters",
            format!("more than {PARAMETERS} parameters"),
            None,
        );
    }
    for (name, parameter) in &document.parameters {
        let pointer = format!("/parameters/{name}");
        word(name, "parameter", &pointer, report);
        limits(name, parameter, &pointer, report);
    }
    for (name, variable) in &document.variables {
        let pointer = format!("/variables/{name}");
        word(name, "variable", &pointer, report);
        if let Some(default) = &variable.default
            && convert(default, variable.kind).is_none()
        {
            let message = format!(
                "the default of variable `{name}` is not of type {}",
                variable.kind
            );
            report.error(&format!("{pointer}/default"), message, None);
        }
    }
    if let Some(role) = &document.assume_role {
        let whole = matches!(Template::parse(role).whole(), Some(Reference::Parameter(_)));
        if !whole && !role.starts_with("arn:") {
            report.error(
                "/assumeRole",
                format!("`assumeRole` is `{role}`, which is neither an ARN nor one reference"),
                "write `assumeRole: '{{ AutomationAssumeRole }}'` and declare that parameter"
                    .to_owned(),
            );
        }
    }
}

fn word(name: &str, what: &str, pointer: &str, report: &mut Report<'_>) {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME || !name.chars().all(good) {
        report.error(
            pointer,
            format!("`{name}` is no name of a {what}"),
            format!("letters, digits and `_`, at most {NAME}"),
        );
    }
}

fn limits(name: &str, parameter: &Parameter, pointer: &str, report: &mut Report<'_>) {
    let kind = parameter.kind;
    if let Some(java) = &parameter.allowed_pattern {
        let pointer = format!("{pointer}/allowedPattern");
        if let Err(error) = Pattern::new(java) {
            report.error(
                &pointer,
                error.to_string(),
                "a Java regular expression, matched as a whole".to_owned(),
            );
        } else if matches!(kind, Type::StringMap | Type::MapList) {
            report.warning(
                &pointer,
                format!("a parameter of type {kind} is not matched against a pattern"),
                None,
            );
        }
    }
    for (least, most, what) in [
        (parameter.min_items, parameter.max_items, "Items"),
        (parameter.min_chars, parameter.max_chars, "Chars"),
    ] {
        if least > most && most.is_some() {
            report.error(
                pointer,
                format!("`min{what}` is more than `max{what}`"),
                None,
            );
        }
    }
    let element = match kind.base() {
        Type::StringList => Type::String,
        Type::MapList => Type::StringMap,
        other => other,
    };
    for (index, value) in parameter.allowed_values.iter().enumerate() {
        if convert(value, element).is_none() {
            let message = format!("{value} cannot be a value of `{name}`, which is of type {kind}");
            report.error(&format!("{pointer}/allowedValues/{index}"), message, None);
        }
    }
    let Some(default) = &parameter.default else {
        return;
    };
    let pointer = format!("{pointer}/default");
    if default.as_str().is_some_and(|text| text.contains("{{")) {
        let stored = default.as_str().is_some_and(|text| text.contains("ssm:"));
        if stored && !matches!(kind.base(), Type::String | Type::StringList) {
            report.error(
                &pointer,
                format!("Parameter Store has no value of type {kind}"),
                "only String and StringList parameters can have such a default".to_owned(),
            );
        }
        return;
    }
    match convert(default, kind) {
        None => report.error(
            &pointer,
            format!("the default of `{name}` is not of type {kind}"),
            example(kind),
        ),
        Some(value) => {
            // A default is not matched against the pattern, but must be one of the allowed values.
            let values = Parameter {
                allowed_pattern: None,
                kind: kind.base(),
                ..parameter.clone()
            };
            if let Err(problem) = allowed(&values, &value) {
                report.error(&pointer, format!("the default of `{name}` {problem}"), None);
            }
            if !kind.admits(default) && !matches!(default, Value::String(_)) {
                report.warning(
                    &pointer,
                    format!("the default of `{name}` is not written as {kind}"),
                    example(kind),
                );
            }
        }
    }
}

fn example(kind: Type) -> Option<String> {
    let example = match kind.base() {
        Type::StringList => "['a', 'b']",
        Type::Boolean => "true",
        Type::Integer => "3",
        Type::StringMap => "{key: value}",
        Type::MapList => "[{key: value}]",
        _ => "'text'",
    };
    Some(format!("write `default: {example}`"))
}
