//! References: to what there is, and to what has run by then.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Placed, Report, graph::edges, suggest};
use crate::{
    Action, Condition, Document, Iteration, Reference, Setting, Step, Type, reference::references,
};

pub(super) fn check(document: &Document, steps: &[Placed<'_>], report: &mut Report<'_>) {
    let names = Names::new(document, steps);
    let mut used: HashSet<String> = HashSet::new();
    if let Some(role) = &document.assume_role {
        names.check(
            &Value::String(role.clone()),
            "/assumeRole",
            None,
            &mut used,
            report,
        );
    }
    for placed in steps {
        for (pointer, value) in texts(placed.step) {
            let pointer = format!("{}/{pointer}", placed.pointer);
            names.check(&value, &pointer, Some(placed), &mut used, report);
        }
    }
    for (index, output) in document.outputs.iter().enumerate() {
        let pointer = format!("/outputs/{index}");
        match Reference::parse(output) {
            Some(reference @ Reference::Output { .. }) => {
                names.find(&reference, &pointer, None, report)
            }
            _ => report.error(
                &pointer,
                format!("`{output}` is not an output of a step"),
                "write `step.Output`, without braces".to_owned(),
            ),
        }
    }
    for name in document
        .parameters
        .keys()
        .filter(|name| !used.contains(*name))
    {
        report.warning(
            &format!("/parameters/{name}"),
            format!("parameter `{name}` is not used"),
            None,
        );
    }
}

/// The values of a step that references may stand in, each with its place below the step.
fn texts(step: &Step) -> Vec<(String, Value)> {
    let mut texts = Vec::new();
    for (key, setting) in [
        ("maxAttempts", &step.max_attempts),
        ("timeoutSeconds", &step.timeout_seconds),
    ] {
        if let Some(Setting::Reference(text)) = setting {
            texts.push((key.to_owned(), Value::String(text.clone())));
        }
    }
    match &step.action {
        Action::Run { inputs, .. } => texts.extend(
            // `{{` in a script is the script's own.
            inputs
                .iter()
                .filter(|(name, _)| name.as_str() != "Script")
                .map(|(name, value)| (format!("inputs/{name}"), value.clone())),
        ),
        Action::Branch(branch) => {
            for (index, choice) in branch.choices.iter().enumerate() {
                conditions(
                    &choice.condition,
                    &format!("inputs/Choices/{index}"),
                    &mut texts,
                );
            }
        }
        Action::Loop(body) => {
            if let Some(Setting::Reference(text)) = &body.max_iterations {
                texts.push((
                    "inputs/MaxIterations".to_owned(),
                    Value::String(text.clone()),
                ));
            }
            match &body.iteration {
                Iteration::Each { iterators, .. } => {
                    texts.push(("inputs/Iterators".to_owned(), iterators.clone()))
                }
                Iteration::While(condition) => {
                    conditions(condition, "inputs/LoopCondition", &mut texts)
                }
            }
        }
    }
    texts
}

fn conditions(condition: &Condition, pointer: &str, texts: &mut Vec<(String, Value)>) {
    match condition {
        Condition::Is {
            variable,
            operator,
            operand,
        } => {
            texts.push((format!("{pointer}/Variable"), variable.clone()));
            texts.push((format!("{pointer}/{}", operator.name()), operand.clone()));
        }
        Condition::And(all) | Condition::Or(all) => {
            let key = if matches!(condition, Condition::And(_)) {
                "And"
            } else {
                "Or"
            };
            for (index, inner) in all.iter().enumerate() {
                conditions(inner, &format!("{pointer}/{key}/{index}"), texts);
            }
        }
        Condition::Not(inner) => conditions(inner, &format!("{pointer}/Not"), texts),
    }
}

/// The outputs of a step and their types.
pub(super) fn outputs(step: &Step) -> Vec<(&str, Type)> {
    let mut outputs: Vec<(&str, Type)> = step.action.name().outputs().to_vec();
    outputs.extend(
        step.outputs
            .iter()
            .map(|output| (output.name.as_str(), output.kind)),
    );
    if let Action::Loop(body) = &step.action {
        outputs.push(("CurrentIteration", Type::Integer));
        if let Iteration::Each { kind, .. } = &body.iteration {
            outputs.push(("CurrentIteratorValue", *kind));
        }
    }
    outputs
}

struct Names<'d> {
    document: &'d Document,
    steps: HashMap<&'d str, &'d Placed<'d>>,
    /// For each outermost step, the outermost steps that may have run before it.
    before: HashMap<&'d str, HashSet<&'d str>>,
}

impl<'d> Names<'d> {
    fn new(document: &'d Document, steps: &'d [Placed<'d>]) -> Self {
        let place: HashMap<&str, usize> = document
            .steps
            .iter()
            .enumerate()
            .map(|(i, s)| (s.name.as_str(), i))
            .collect();
        let mut before: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (index, step) in document.steps.iter().enumerate() {
            let mut after = HashSet::new();
            let mut open = leads(document, index, &place);
            while let Some(next) = open.pop() {
                if after.insert(next) {
                    open.extend(leads(document, next, &place));
                }
            }
            for later in after.iter().filter_map(|i| document.steps.get(*i)) {
                before
                    .entry(later.name.as_str())
                    .or_default()
                    .insert(&step.name);
            }
        }
        Self {
            document,
            steps: steps.iter().map(|p| (p.step.name.as_str(), p)).collect(),
            before,
        }
    }

    fn check(
        &self,
        value: &Value,
        pointer: &str,
        at: Option<&Placed<'_>>,
        used: &mut HashSet<String>,
        report: &mut Report<'_>,
    ) {
        for (below, reference) in references(value) {
            if let Reference::Parameter(name) = &reference {
                used.insert(name.clone());
            }
            self.find(&reference, &format!("{pointer}{below}"), at, report);
        }
        if value.to_string().contains("{{ssm:") || value.to_string().contains("{{ ssm:") {
            report.error(
                pointer,
                "a step cannot refer to Parameter Store",
                "refer to a parameter with `default: '{{ssm:NAME}}'`".to_owned(),
            );
        }
    }

    fn find(
        &self,
        reference: &Reference,
        pointer: &str,
        at: Option<&Placed<'_>>,
        report: &mut Report<'_>,
    ) {
        match reference {
            Reference::Parameter(name) if !self.document.parameters.contains_key(name) => report
                .error(
                    pointer,
                    format!("there is no parameter `{name}`"),
                    suggest(name, self.document.parameters.keys().map(String::as_str)),
                ),
            Reference::Variable(name) if !self.document.variables.contains_key(name) => report
                .error(
                    pointer,
                    format!("there is no variable `{name}`"),
                    suggest(name, self.document.variables.keys().map(String::as_str)),
                ),
            Reference::Output { step, name } => match self.steps.get(step.as_str()) {
                None if self.document.places.was_misread(step) => {}
                None => report.error(
                    pointer,
                    format!("there is no step `{step}`"),
                    suggest(
                        step,
                        self.document.steps.iter().map(|step| step.name.as_str()),
                    ),
                ),
                Some(placed) => {
                    let outputs = outputs(placed.step);
                    if !outputs.iter().any(|(output, _)| output == name) {
                        report.error(
                            pointer,
                            format!("step `{step}` has no output `{name}`"),
                            suggest(name, outputs.iter().map(|(output, _)| *output))
                                .or_else(|| Some(format!("add it to the `outputs` of `{step}`"))),
                        );
                    } else if let Some(at) = at {
                        self.order(placed, at, pointer, report);
                    }
                }
            },
            _ => {}
        }
    }

    /// Warns where the step referred to cannot have run. Steps of one loop's body can, a round ago.
    fn order(&self, to: &Placed<'_>, at: &Placed<'_>, pointer: &str, report: &mut Report<'_>) {
        let outermost = |placed: &Placed<'_>| {
            placed
                .within
                .map_or(placed.step.name.clone(), |w| w.name.clone())
        };
        let (source, target) = (outermost(at), outermost(to));
        let same_loop = source == target && (at.within.is_some() || to.within.is_some());
        if !same_loop
            && !self
                .before
                .get(source.as_str())
                .is_some_and(|before| before.contains(target.as_str()))
        {
            report.warning(
                pointer,
                format!(
                    "step `{}` cannot have run before `{}`",
                    to.step.name, at.step.name
                ),
                None,
            );
        }
    }
}

/// The outermost steps that may come after one, jumps out of its body included.
fn leads(document: &Document, index: usize, place: &HashMap<&str, usize>) -> Vec<usize> {
    let mut next = edges(&document.steps, index, place, true);
    for body in document
        .steps
        .get(index)
        .map(Step::body)
        .unwrap_or_default()
    {
        next.extend(
            body.next_step
                .iter()
                .filter_map(|name| place.get(name.as_str())),
        );
        if let Action::Branch(branch) = &body.action {
            let names = branch
                .choices
                .iter()
                .map(|choice| &choice.next_step)
                .chain(&branch.default);
            next.extend(names.filter_map(|name| place.get(name.as_str())));
        }
        if let Some(crate::OnFailure::Step(name)) = &body.on_failure {
            next.extend(place.get(name.as_str()));
        }
    }
    next
}
