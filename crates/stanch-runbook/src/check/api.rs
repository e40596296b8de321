//! API calls against the models: services, operations, parameters, what answers contain.

use serde_json::Value;
use stanch_models::{At, Models, Resolved, Service, ShapeId, ShapeKind, validate_template};

use super::{Placed, Report, references::outputs};
use crate::{
    Action, ActionName, Document, Reference, Selector, Template, Type, engine::Inputs,
    operations::fit,
};

const RESERVED: [&str; 4] = ["Service", "Api", "PropertySelector", "DesiredValues"];

pub(super) fn check(
    document: &Document,
    steps: &[Placed<'_>],
    models: &Models,
    report: &mut Report<'_>,
) {
    for placed in steps {
        let Action::Run { name, inputs } = &placed.step.action else {
            continue;
        };
        let selects = matches!(
            name,
            ActionName::AssertProperty | ActionName::WaitForProperty
        );
        if !selects && *name != ActionName::ExecuteAwsApi {
            continue;
        }
        let literal = |key: &str| {
            inputs
                .get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.contains("{{"))
        };
        let (Some(service), Some(api)) = (literal("Service"), literal("Api")) else {
            continue;
        };
        let pointer = &placed.pointer;
        let resolved = match models.resolve(service, api) {
            Ok(resolved) => resolved,
            Err(error) => {
                let key = match &error {
                    stanch_models::LookupError::UnknownService { .. } => "Service",
                    _ => "Api",
                };
                report.error(
                    &format!("{pointer}/inputs/{key}"),
                    error.to_string(),
                    error.hint(),
                );
                continue;
            }
        };
        let reserved: &[&str] = if selects {
            &RESERVED
        } else {
            &["Service", "Api"]
        };
        let mut params = Inputs(inputs.clone()).without(reserved);
        if let Some(input) = resolved.operation().input {
            fit(&resolved.service, input, &mut params);
        }
        let open = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| Template::parse(text).references().next().is_some())
        };
        for problem in validate_template(&resolved.service, resolved.operation(), &params, &open) {
            let at = format!("{pointer}/inputs/{}", slashes(&problem.path));
            match problem.severity {
                stanch_models::Severity::Error => {
                    report.error(&at, problem.to_string(), problem.hint)
                }
                stanch_models::Severity::Warning => {
                    report.warning(&at, problem.to_string(), problem.hint)
                }
            }
        }
        streaming(&resolved, pointer, report);
        given(document, steps, &resolved, &params, pointer, report);
        if let (true, Some(selector)) = (selects, literal("PropertySelector")) {
            leads(
                &resolved,
                selector,
                None,
                &format!("{pointer}/inputs/PropertySelector"),
                report,
            );
        }
        for (index, output) in placed.step.outputs.iter().enumerate() {
            let at = format!("{pointer}/outputs/{index}/Selector");
            leads(&resolved, &output.selector, Some(output.kind), &at, report);
        }
    }
}

/// `Filters[0].Name` as `Filters/0/Name`.
fn slashes(path: &str) -> String {
    path.replace(['.', '['], "/").replace(']', "")
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-executeAwsApi.html>
fn streaming(resolved: &Resolved, pointer: &str, report: &mut Report<'_>) {
    let operation = resolved.operation();
    let Some(output) = operation.output else {
        return;
    };
    let streams = resolved.service.members(output).iter().any(|member| {
        member.streaming
            || matches!(
                resolved.service.shape(member.shape).kind,
                ShapeKind::Blob {
                    streaming: true,
                    ..
                }
            )
    });
    if streams {
        report.warning(
            &format!("{pointer}/inputs/Api"),
            format!(
                "`{}` answers with a stream, which Systems Manager does not support",
                operation.name
            ),
            None,
        );
    }
}

/// Whether a selector leads somewhere in the answer, and to something of the declared type.
fn leads(
    resolved: &Resolved,
    selector: &str,
    kind: Option<Type>,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let path = selector.trim();
    if path.parse::<Selector>().is_err() {
        return;
    }
    // What boto3 adds to every answer is in no model.
    if matches!(path, "$" | "$.")
        || path
            .trim_start_matches(['$', '.'])
            .starts_with("ResponseMetadata")
    {
        return;
    }
    let Some(output) = resolved.operation().output else {
        let message = format!(
            "`{}` answers nothing that could be selected",
            resolved.operation().name
        );
        return report.error(pointer, message, None);
    };
    // What follows a count, a filter or a wildcard has no one type.
    if path.ends_with(".length")
        || path.ends_with(".length()")
        || path.contains("[?")
        || path.contains(".*")
    {
        return;
    }
    match resolved.service.shape_at(output, path) {
        Err(problem) => report.error(pointer, problem.to_string(), problem.hint),
        Ok(At::Anything) => {}
        Ok(At::Shape(_)) if path.contains("[*]") => {}
        Ok(At::Shape(shape)) => {
            let Some(kind) = kind.filter(|kind| !fits_output(&resolved.service, shape, *kind))
            else {
                return;
            };
            let natural = natural(&resolved.service, shape);
            report.warning(
                pointer,
                format!("`{selector}` is of type {natural}, not {kind}"),
                format!("write `Type: {natural}`"),
            );
        }
    }
}

fn natural(service: &Service, shape: ShapeId) -> Type {
    match &service.shape(shape).kind {
        ShapeKind::Boolean => Type::Boolean,
        ShapeKind::Integer | ShapeKind::Long => Type::Integer,
        ShapeKind::Structure(_) | ShapeKind::Map { .. } => Type::StringMap,
        ShapeKind::List { member, .. } => match &service.shape(member.shape).kind {
            ShapeKind::Structure(_) | ShapeKind::Map { .. } => Type::MapList,
            _ => Type::StringList,
        },
        _ => Type::String,
    }
}

/// Everything can be taken as text.
fn fits_output(service: &Service, shape: ShapeId, kind: Type) -> bool {
    let kind = kind.base();
    kind == Type::String || kind == natural(service, shape)
}

/// Whether whole references are of a type that the parameter takes.
fn given(
    document: &Document,
    steps: &[Placed<'_>],
    resolved: &Resolved,
    params: &Value,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let Some(input) = resolved.operation().input else {
        return;
    };
    let mut open: Vec<(String, &Value, bool)> = vec![(String::new(), params, false)];
    while let Some((path, value, element)) = open.pop() {
        match value {
            Value::Object(members) => {
                open.extend(
                    members
                        .iter()
                        .map(|(name, member)| (format!("{path}['{name}']"), member, false)),
                );
            }
            Value::Array(items) => {
                open.extend(
                    items
                        .iter()
                        .enumerate()
                        .map(|(i, item)| (format!("{path}[{i}]"), item, true)),
                );
            }
            Value::String(text) => {
                let template = Template::parse(text);
                let Some(kind) = template
                    .whole()
                    .and_then(|reference| kind_of(document, steps, reference))
                else {
                    continue;
                };
                let Ok(At::Shape(shape)) = resolved.service.shape_at(input, &path) else {
                    continue;
                };
                let wanted = &resolved.service.shape(shape).kind;
                let base = kind.base();
                let spliced = element && base.is_list();
                let fits = spliced
                    || match wanted {
                        ShapeKind::Boolean => base == Type::Boolean,
                        ShapeKind::Integer
                        | ShapeKind::Long
                        | ShapeKind::Float
                        | ShapeKind::Double => {
                            matches!(base, Type::Integer | Type::String)
                        }
                        ShapeKind::List { .. } => base.is_list(),
                        ShapeKind::Structure(_) | ShapeKind::Map { .. } => base == Type::StringMap,
                        ShapeKind::Timestamp(_) => matches!(base, Type::Integer | Type::String),
                        ShapeKind::String { .. } | ShapeKind::Blob { .. } => base == Type::String,
                    };
                if !fits {
                    let at = format!(
                        "{pointer}/inputs/{}",
                        slashes(&path.replace("['", ".").replace("']", "")).trim_start_matches('/')
                    );
                    report.error(
                        &at,
                        format!(
                            "`{text}` is of type {kind}; the parameter takes {}",
                            natural(&resolved.service, shape)
                        ),
                        None,
                    );
                }
            }
            _ => {}
        }
    }
}

fn kind_of(document: &Document, steps: &[Placed<'_>], reference: &Reference) -> Option<Type> {
    match reference {
        Reference::Parameter(name) => document
            .parameters
            .get(name)
            .map(|parameter| parameter.kind),
        Reference::Variable(name) => document.variables.get(name).map(|variable| variable.kind),
        Reference::Output { step, name } => {
            let placed = steps.iter().find(|placed| placed.step.name == *step)?;
            outputs(placed.step)
                .into_iter()
                .find(|(output, _)| output == name)
                .map(|(_, kind)| kind)
        }
        Reference::Global(_) | Reference::ExecutionId => Some(Type::String),
    }
}
