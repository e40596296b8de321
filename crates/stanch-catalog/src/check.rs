//! A file held against the API models: its calls exist, their inputs fit, what is picked from the
//! answers is there, and what is called a read changes nothing.

use serde_json::Value;
use stanch_models::{At, Models, Problem, Resolved, Service, Severity, ShapeId, validate_template};
use stanch_syntax::{Diagnostic, Kind, Limits, Node};

use crate::{expression::Expression, parse::parse, policy::PolicyError};

/// Reads a remediation and checks all of it: what [`crate::parse`] checks, and that its calls fit
/// the API models and IAM's actions.
#[must_use]
pub fn check(text: &str, models: &Models) -> Vec<Diagnostic> {
    let (remediation, mut found) = parse(text);
    let Ok(root) = stanch_syntax::read(text, Limits::default()) else {
        return found;
    };
    let before = found.len();
    let mut checker = Checker {
        models,
        found: &mut found,
    };
    for list in ["read", "impact", "apply", "undo"] {
        for step in items(&root, list) {
            let is_read = matches!(list, "read" | "impact") || step.get("wait").is_some();
            checker.call(step, Some(is_read));
        }
    }
    for example in items(&root, "examples") {
        for call in items(example, "given").iter().chain(items(example, "also")) {
            checker.call(call, None);
        }
    }
    if let Some(remediation) = remediation.filter(|_| found.len() == before)
        && let Err(error) = remediation.permissions(models)
    {
        found.push(permission(&root, &error));
    }
    found.sort_by_key(|diagnostic| diagnostic.at);
    found
}

/// An error about the IAM permissions of a call, at the first line that makes the call.
fn permission(root: &Node, error: &PolicyError) -> Diagnostic {
    let call = match error {
        PolicyError::NoResource { call, .. } => call.as_str(),
        _ => "",
    };
    let at = ["read", "impact", "apply", "undo"]
        .iter()
        .flat_map(|list| items(root, list))
        .filter_map(|step| step.get("call").or_else(|| step.get("wait")))
        .find(|node| node.as_str() == Some(call))
        .map_or(root.at, |node| node.at);
    Diagnostic::error(at, error.to_string()).hint(
        "add `on: \"arn:{{ partition }}:service:{{ region }}:{{ account }}:type/{{ Name }}\"` to the step",
    )
}

struct Checker<'a> {
    models: &'a Models,
    found: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    /// Checks a call, which must be a read, must not be one, or may be anything.
    fn call(&mut self, step: &Node, must_read: Option<bool>) {
        let Some(node) = step.get("call").or_else(|| step.get("wait")) else {
            return;
        };
        let Some((service, operation)) = node.as_str().and_then(|call| call.split_once('.')) else {
            return;
        };
        let resolved = match self.models.resolve(service, operation) {
            Ok(resolved) => resolved,
            Err(error) => {
                let hint = error.hint();
                let diagnostic = Diagnostic::error(node.at, error.to_string());
                self.found.push(match hint {
                    Some(hint) => diagnostic.hint(hint),
                    None => diagnostic,
                });
                return;
            }
        };
        let canonical = format!("{}.{}", resolved.service.name, resolved.operation().name);
        if node.as_str() != Some(&canonical) {
            let message = format!(
                "`{}` is not quite its name",
                node.as_str().unwrap_or_default()
            );
            self.found
                .push(Diagnostic::error(node.at, message).hint(format!("write `{canonical}`")));
        }
        let is_read = self.models.is_read(&resolved.service, resolved.operation());
        match (must_read, matches!(is_read, Ok(Some(true)))) {
            (Some(true), false) => self.found.push(
                Diagnostic::error(node.at, format!("`{canonical}` may change something"))
                    .hint("what is read must be a Get, a List or a Describe"),
            ),
            (Some(false), true) => self.found.push(
                Diagnostic::error(node.at, format!("`{canonical}` changes nothing"))
                    .hint("write it under `read`, or as `wait`: a plan's requests are those that change something"),
            ),
            _ => {}
        }
        self.input(step, node, &resolved);
        self.output(step, &resolved);
    }

    fn input(&mut self, step: &Node, call: &Node, resolved: &Resolved) {
        let with = step.get("with");
        let params = with.map_or_else(|| Value::Object(serde_json::Map::new()), Node::to_json);
        let open = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{"));
        for problem in validate_template(&resolved.service, resolved.operation(), &params, &open) {
            let at = with.map_or(call.at, |with| locate(with, &problem.path));
            self.problem(at, &problem);
        }
    }

    /// What is looked at in the answer is there.
    fn output(&mut self, step: &Node, resolved: &Resolved) {
        let Some(output) = resolved.operation().output else {
            return;
        };
        let service = &resolved.service;
        let until = step.get("until").and_then(|until| until.get("select"));
        let outputs = step
            .get("outputs")
            .and_then(Node::as_map)
            .unwrap_or_default();
        let selects = outputs.iter().filter_map(|entry| entry.value.get("select"));
        for select in until.into_iter().chain(selects) {
            if let Err(problem) = service.shape_at(output, select.as_str().unwrap_or_default()) {
                self.problem(select.at, &problem);
            }
        }
        if let Some(pick) = step.get("pick")
            && let Ok(expression) = Expression::new(pick.as_str().unwrap_or_default())
        {
            for name in expression.names() {
                if let Err(problem) = member(service, output, name) {
                    self.problem(pick.at, &problem);
                }
            }
        }
    }

    fn problem(&mut self, at: stanch_syntax::Position, problem: &Problem) {
        let diagnostic = match problem.severity {
            Severity::Error => Diagnostic::error(at, problem.to_string()),
            Severity::Warning => Diagnostic::warning(at, problem.to_string()),
        };
        self.found.push(match &problem.hint {
            Some(hint) => diagnostic.hint(hint.clone()),
            None => diagnostic,
        });
    }
}

fn member(service: &Service, output: ShapeId, name: &str) -> Result<At, Problem> {
    service.shape_at(output, &format!("$.{name}"))
}

/// The place of the value at a path such as `Filters[0].Name`, or of the nearest value around it.
fn locate(with: &Node, path: &str) -> stanch_syntax::Position {
    let mut here = with;
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        let below = match &here.kind {
            Kind::List(items) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index)),
            Kind::Map(entries) => match entries.iter().find(|entry| entry.key == part) {
                // A name that is not known stands wrong itself; its value may well be right.
                Some(entry) if path.ends_with(part) => return entry.at,
                Some(entry) => Some(&entry.value),
                None => None,
            },
            _ => None,
        };
        match below {
            Some(node) => here = node,
            None => break,
        }
    }
    here.at
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).and_then(Node::as_list).unwrap_or_default()
}
