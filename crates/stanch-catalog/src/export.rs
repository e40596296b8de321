//! A remediation as Automation documents, for those who run it in Systems Manager.
//!
//! What Automation cannot express (reading with "there is none", deciding, functions) is asked of
//! the member account's function [`FUNCTION`], which only reads. Each request that changes something
//! is a step of its own, and the same request that a plan has.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use stanch_models::{At, LookupError, Models, ShapeKind};
use stanch_runbook::{
    Action as Does, ActionName, Branch, Choice, Condition, Document, Iteration, Loop, Operator,
    Parameter, Setting, Step as DocumentStep, Type,
};
use stanch_types::{Call, hex};

use crate::{
    document::{approve, sleep, wait},
    expression::Expression,
    plan::Stage,
    remediation::{Action, ParameterType, Remediation, Step, Undo},
    remote::BEFORE,
    template::{Part, Template},
};

/// The function of a member account that answers for the catalog, by default.
pub const FUNCTION: &str = "stanch-remediation";

/// The documents of a remediation.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Fixes. Its output `Plan.Before` is what `rollback` takes as `Before`, the others are its `Outputs`.
    pub remediation: Document,
    /// Puts back; none if there is no way back.
    pub rollback: Option<Document>,
}

impl Export {
    /// The documents as a member account has them, whose function is `function`.
    #[must_use]
    pub fn asking(mut self, function: &str) -> Self {
        for document in [Some(&mut self.remediation), self.rollback.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Some(parameter) = document.parameters.get_mut("RemediationFunction") {
                parameter.default = Some(json!(function));
            }
        }
        self
    }

    /// The document that carries out a stage.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> Option<&Document> {
        match stage {
            Stage::Apply => Some(&self.remediation),
            Stage::Undo => self.rollback.as_ref(),
        }
    }
}

/// What tells a document's content from any other: SHA-256, in hexadecimal, over its canonical JSON
/// (RFC 8785). Numbers and booleans count as the text that they are written as, which is what
/// CloudFormation may make of them on their way
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html>).
#[must_use]
pub fn fingerprint(content: &Value) -> String {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => {
                let members = members.iter();
                members
                    .map(|(name, value)| (name.clone(), plain(value)))
                    .collect()
            }
            Value::Bool(_) | Value::Number(_) => json!(value.to_string()),
            Value::String(_) | Value::Null => value.clone(),
        }
    }
    // Canonical JSON exists for every tree of JSON values.
    let text = serde_json_canonicalizer::to_vec(&plain(content)).unwrap_or_default();
    hex(&Sha256::digest(text))
}

/// Why a remediation cannot be written as documents.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The API model does not have a call.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Too many inputs may be left out: each doubles the number of steps.
    #[error(
        "step `{step}` leaves out any of {count} inputs; at most {MOST_OPTIONAL} can be exported"
    )]
    TooManyOptional {
        /// The step.
        step: String,
        /// How many.
        count: usize,
    },
}

/// Automation cannot leave an input out: a step is written once for each combination. Where these are
/// more, or a later step needs the answer, a script sends the request.
const MOST_OPTIONAL: usize = 4;

/// The name of the value that says which writing of a step is meant.
pub(crate) const VARIANT: &str = "Variant";

/// The name of the value that holds what a script sends besides the inputs that are always there.
pub(crate) const OPTIONAL: &str = "Optional";

/// The script of steps that send a request whose inputs may be absent, in Python. Its payload has
/// `Service` and `Operation` as boto3 has them, `Input` and `Optional`, which together are the input.
pub const SCRIPT: &str = r#"import json

import boto3


def send(events, context):
    client = boto3.client(events["Service"])
    names = {operation: name for name, operation in client.meta.method_to_api_mapping.items()}
    answer = getattr(client, names[events["Operation"]])(**events["Input"], **events["Optional"])
    return json.loads(json.dumps(answer, default=str))
"#;

impl Remediation {
    /// The remediation and the rollback runbook.
    ///
    /// # Errors
    /// A call that the models do not have, or a step that cannot be written.
    pub fn export(&self, models: &Models) -> Result<Export, ExportError> {
        let lower = |undo| Lower {
            remediation: self,
            models,
            undo,
        };
        Ok(Export {
            remediation: lower(false).document(&self.title, &self.apply)?,
            rollback: match self.safety.undo {
                Undo::Exact => {
                    let title = format!("Put back what `{}` changed", self.name);
                    Some(lower(true).document(&title, &self.undo)?)
                }
                Undo::None { .. } => None,
            },
        })
    }
}

/// The inputs of a step that may be left out, in the order written. Which of them a plan's request
/// has is the step's variant: a sum of powers of two. -1 if the step is left out.
pub(crate) fn optional(with: &Template) -> Vec<&str> {
    let Template::Map(members) = with else {
        return Vec::new();
    };
    let left_out = members
        .iter()
        .filter(|(_, member)| matches!(member, Template::Whole { optional: true, .. }));
    left_out.map(|(name, _)| name.as_str()).collect()
}

/// Whether a script sends the step's request.
pub(crate) fn is_scripted(step: &Step) -> bool {
    let Action::Call { with, outputs, .. } = &step.action else {
        return false;
    };
    let left_out = optional(with).len();
    left_out > MOST_OPTIONAL || (left_out > 0 && !outputs.is_empty())
}

/// The variant of a step's request, by what it has.
pub(crate) fn variant(step: &Step, params: &Value) -> i64 {
    let with = step.action.with().filter(|_| !is_scripted(step));
    with.map(optional)
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(bit, name)| i64::from(params.get(name).is_some()) << bit)
        .sum()
}

struct Lower<'a> {
    remediation: &'a Remediation,
    models: &'a Models,
    undo: bool,
}

impl Lower<'_> {
    fn document(&self, title: &str, steps: &[Step]) -> Result<Document, ExportError> {
        let mut document = Document {
            description: Some(format!("{title}\n\n{}", self.remediation.description)),
            assume_role: Some("{{ AutomationAssumeRole }}".to_owned()),
            outputs: self.outputs(steps),
            ..Document::default()
        };
        for parameter in &self.remediation.parameters {
            let exported = Parameter {
                kind: match parameter.kind {
                    ParameterType::String => Type::String,
                    ParameterType::Integer => Type::Integer,
                    ParameterType::Boolean => Type::Boolean,
                    ParameterType::StringList => Type::StringList,
                },
                description: Some(parameter.description.clone()).filter(|text| !text.is_empty()),
                default: parameter.default.clone(),
                allowed_pattern: parameter
                    .pattern
                    .as_ref()
                    .map(|_| parameter.pattern_source().to_owned()),
                ..Parameter::default()
            };
            document.parameters.insert(parameter.name.clone(), exported);
        }
        if self.undo {
            let before = Parameter {
                description: Some(
                    "What the remediation had seen: its output `Plan.Before`.".to_owned(),
                ),
                ..Parameter::required(Type::StringList)
            };
            let outputs = Parameter {
                description: Some("What its steps answered: `{step: {Output: value}}`.".to_owned()),
                default: Some(json!({})),
                ..Parameter::required(Type::StringMap)
            };
            document.parameters.insert(BEFORE.to_owned(), before);
            document.parameters.insert("Outputs".to_owned(), outputs);
        }
        let approved = Parameter {
            description: Some(
                "Which requests may be sent, as who approved them has it; without it, those that the function finds."
                    .to_owned(),
            ),
            default: Some(json!({})),
            ..Parameter::required(Type::StringMap)
        };
        document.parameters.insert("Approved".to_owned(), approved);
        for (name, default, description) in [
            (
                "RemediationFunction",
                FUNCTION,
                "The function that reads and decides.",
            ),
            (
                "AutomationAssumeRole",
                "",
                "The role to run as; without it, the one who starts the execution.",
            ),
        ] {
            let parameter = Parameter {
                description: Some(description.to_owned()),
                default: Some(json!(default)),
                ..Parameter::default()
            };
            document.parameters.insert(name.to_owned(), parameter);
        }
        if steps
            .iter()
            .any(|step| matches!(step.action, Action::Approve { .. }))
        {
            let approvers = Parameter {
                description: Some(
                    "Who may approve the cut-over: user names, or ARNs of users and roles."
                        .to_owned(),
                ),
                ..Parameter::required(Type::StringList)
            };
            document
                .parameters
                .insert("Approvers".to_owned(), approvers);
        }
        let mut plan = self.ask("Plan", if self.undo { "undo" } else { "apply" });
        plan = plan
            .output("Settled", "$.Payload.Settled", Type::Boolean)
            .output(BEFORE, "$.Payload.Before", Type::StringList);
        let mut written = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            let next = steps
                .get(place + 1)
                .map_or_else(|| "Verify".to_owned(), entry);
            self.step(step, &next, &mut plan, &mut written)?;
        }
        let first = steps.first().map_or_else(|| "Verify".to_owned(), entry);
        document.steps.push(plan);
        document.steps.push(branch(
            "IsSettled",
            vec![(
                json!("{{ Plan.Settled }}"),
                Operator::BooleanEquals,
                json!(true),
                "Verify".to_owned(),
            )],
            &first,
        ));
        document.steps.extend(written);
        let mut verify = self.ask("Verify", "verify");
        verify.max_attempts = Some(Setting::Literal(
            self.remediation.verify.attempts.max(1).into(),
        ));
        verify.is_end = true;
        document.steps.push(verify);
        Ok(document)
    }

    /// What the rollback runbook takes: `Plan.Before`, and what the steps answered.
    fn outputs(&self, steps: &[Step]) -> Vec<String> {
        let answers = steps
            .iter()
            .filter(|step| !self.undo && step.each.is_none());
        let answers = answers.flat_map(|step| match &step.action {
            Action::Call { outputs, .. } => outputs
                .iter()
                .map(|output| format!("{}.{}", step.name, output.name))
                .collect(),
            Action::Wait { .. } | Action::Sleep { .. } | Action::Approve { .. } => Vec::new(),
        });
        let before = "Plan.Before".to_owned();
        std::iter::once(before).chain(answers).collect()
    }

    /// A question to the function.
    fn ask(&self, name: &str, stage: &str) -> DocumentStep {
        let parameters: Map<String, Value> = self
            .remediation
            .parameters
            .iter()
            .map(|parameter| {
                (
                    parameter.name.clone(),
                    json!(format!("{{{{ {} }}}}", parameter.name)),
                )
            })
            .collect();
        let mut payload = Map::from_iter([
            ("Remediation".to_owned(), json!(self.remediation.name)),
            ("Digest".to_owned(), json!(self.remediation.digest)),
            ("Stage".to_owned(), json!(stage)),
            ("Account".to_owned(), json!("{{ global:ACCOUNT_ID }}")),
            ("Region".to_owned(), json!("{{ global:REGION }}")),
            ("Time".to_owned(), json!("{{ global:DATE_TIME }}")),
            ("Parameters".to_owned(), Value::Object(parameters)),
            ("Approved".to_owned(), json!("{{ Approved }}")),
        ]);
        if self.undo {
            payload.insert(BEFORE.to_owned(), json!("{{ Before }}"));
            payload.insert("Outputs".to_owned(), json!("{{ Outputs }}"));
        }
        invoke(name, Value::Object(payload))
    }

    /// Writes a step; what it needs of the function becomes an output of `plan`.
    fn step(
        &self,
        step: &Step,
        next: &str,
        plan: &mut DocumentStep,
        written: &mut Vec<DocumentStep>,
    ) -> Result<(), ExportError> {
        let with = step.action.with();
        if step.each.is_some() {
            return self.each(step, next, plan, written);
        }
        let source = |member: &str| {
            (
                format!("Plan.{}_{member}", step.name),
                format!("{}_{member}", step.name),
            )
        };
        let variants = self.variants(step, with, &source, plan)?;
        if step.when.is_some() || variants.len() > 1 {
            let name = format!("{}_{VARIANT}", step.name);
            declare(plan, &name, Type::Integer);
            written.push(choose(
                &decision(step),
                &format!("Plan.{name}"),
                &variants,
                next,
            ));
        }
        written.extend(finish(variants, Some(next)));
        Ok(())
    }

    /// `each`: a loop over the rendered inputs, which the function takes apart again, since
    /// Automation cannot reach into the element of a loop.
    fn each(
        &self,
        step: &Step,
        next: &str,
        plan: &mut DocumentStep,
        written: &mut Vec<DocumentStep>,
    ) -> Result<(), ExportError> {
        let with = step.action.with();
        let (items, many) = (
            format!("{}_Items", step.name),
            format!("{}_{VARIANT}", step.name),
        );
        declare(plan, &items, Type::MapList);
        declare(plan, &many, Type::Integer);
        let unpack = format!("{}_Item", step.name);
        let mut take = invoke(
            &unpack,
            json!({"Stage": "unpack", "Item": format!("{{{{ {}.CurrentIteratorValue }}}}", step.name)}),
        );
        let source = |member: &str| (format!("{unpack}.{member}"), member.to_owned());
        let mut variants = self.variants(step, with, &source, &mut take)?;
        for (_, request) in &mut variants {
            // The loop has the step's own name.
            if request.name == step.name {
                request.name = format!("{}_Each", step.name);
            }
        }
        let mut body = Vec::new();
        let choice = (variants.len() > 1).then(|| {
            declare(&mut take, VARIANT, Type::Integer);
            choose(
                &format!("{}_Which", step.name),
                &format!("{unpack}.{VARIANT}"),
                &variants,
                "",
            )
        });
        // A step that ends the document would end it from inside the loop, too: a round with several
        // ways ends where they meet.
        let meet = choice
            .is_some()
            .then(|| DocumentStep::new(format!("{}_Next", step.name), sleep(1)));
        body.push(take);
        body.extend(choice);
        body.extend(finish(
            variants,
            meet.as_ref().map(|step| step.name.as_str()),
        ));
        body.extend(meet);
        let mut repeat = DocumentStep::new(
            &step.name,
            Does::Loop(Loop {
                steps: body,
                iteration: Iteration::Each {
                    iterators: json!(format!("{{{{ Plan.{items} }}}}")),
                    kind: Type::StringMap,
                },
                max_iterations: None,
            }),
        );
        repeat.next_step = Some(next.to_owned());
        // A loop over nothing is no loop.
        let some = vec![(0, repeat)];
        written.push(choose(
            &decision(step),
            &format!("Plan.{many}"),
            &some,
            next,
        ));
        written.extend(some.into_iter().map(|(_, step)| step));
        Ok(())
    }

    /// The step once for each combination of inputs that may be left out.
    fn variants(
        &self,
        step: &Step,
        with: Option<&Template>,
        source: &dyn Fn(&str) -> (String, String),
        asked: &mut DocumentStep,
    ) -> Result<Vec<(i64, DocumentStep)>, ExportError> {
        let mut left_out = with.map(optional).unwrap_or_default();
        let scripted = is_scripted(step);
        if scripted {
            left_out.clear();
        } else if left_out.len() > MOST_OPTIONAL {
            return Err(ExportError::TooManyOptional {
                step: step.name.clone(),
                count: left_out.len(),
            });
        }
        let mut variants = Vec::new();
        for variant in 0..1_i64 << left_out.len() {
            let has = |name: &str| {
                let bit = left_out.iter().position(|other| *other == name);
                bit.is_none_or(|bit| variant >> bit & 1 == 1)
            };
            let mut params = Map::new();
            for (name, member) in with.map(members).unwrap_or_default() {
                let sent_by_script =
                    scripted && matches!(member, Template::Whole { optional: true, .. });
                if !has(name) || sent_by_script {
                    continue;
                }
                let value = match self.literal(&member) {
                    Some(value) => value,
                    None => {
                        let (reference, output) = source(name);
                        declare(asked, &output, self.kind(step, name)?);
                        json!(format!("{{{{ {reference} }}}}"))
                    }
                };
                params.insert(name.to_owned(), value);
            }
            // In a loop the plain name is the loop's.
            let name = if left_out.is_empty() && step.each.is_none() {
                step.name.clone()
            } else {
                format!("{}_{variant}", step.name)
            };
            let by_script = scripted.then(|| {
                let (reference, output) = source(OPTIONAL);
                declare(asked, &output, Type::StringMap);
                reference
            });
            let request = self.request(step, name, params, by_script.as_deref());
            variants.push((variant, request));
        }
        Ok(variants)
    }

    /// `by_script`: where the inputs are that the script sends besides `params`, if it is one.
    fn request(
        &self,
        step: &Step,
        name: String,
        mut params: Map<String, Value>,
        by_script: Option<&str>,
    ) -> DocumentStep {
        match &step.action {
            Action::Call {
                service,
                operation,
                outputs,
                ..
            } => {
                let (mut request, root) = match by_script {
                    Some(optional) => {
                        let does = script(service, operation, params, optional);
                        (DocumentStep::new(name, does), "$.Payload")
                    }
                    None => {
                        let call = Call::new(service, operation, Value::Object(params));
                        (DocumentStep::call(name, &call), "$")
                    }
                };
                for output in outputs {
                    let kind = output.kind.parse().unwrap_or_default();
                    let select = output.select.replacen('$', root, 1);
                    request = request.output(&output.name, select, kind);
                }
                request
            }
            Action::Wait {
                service,
                operation,
                select,
                values,
                timeout,
                ..
            } => {
                let call = Call::new(service, operation, Value::Object(params));
                let mut request = DocumentStep::new(name, wait(&call, select, values));
                request.timeout_seconds = Some(Setting::Literal(*timeout));
                request
            }
            Action::Sleep { seconds } => DocumentStep::new(name, sleep(*seconds)),
            Action::Approve { .. } => {
                let message = params.shift_remove("Message").unwrap_or_default();
                DocumentStep::new(name, approve(message, json!("{{ Approvers }}")))
            }
        }
    }

    /// The value as Automation can write it by itself: literals, parameters, where it runs, and
    /// outputs of earlier steps.
    fn literal(&self, template: &Template) -> Option<Value> {
        Some(match template {
            Template::Literal(value) => value.clone(),
            Template::Whole {
                expression,
                optional: false,
            } => json!(self.reference(expression)?),
            Template::Whole { .. } => return None,
            Template::Text(parts) => {
                let text = parts.iter().map(|part| match part {
                    Part::Text(text) => Some(text.clone()),
                    Part::Expression(expression) => self.reference(expression),
                });
                Value::String(text.collect::<Option<String>>()?)
            }
            Template::List(items) => {
                let items: Option<Vec<Value>> =
                    items.iter().map(|item| self.literal(item)).collect();
                // A list inside a list would be spliced into it.
                let lists = self
                    .remediation
                    .parameters
                    .iter()
                    .filter(|p| p.kind == ParameterType::StringList);
                let spliced = lists
                    .map(|p| format!("{{{{ {} }}}}", p.name))
                    .collect::<Vec<_>>();
                Value::Array(items.filter(|items| {
                    !items
                        .iter()
                        .filter_map(Value::as_str)
                        .any(|item| spliced.iter().any(|s| s == item))
                })?)
            }
            Template::Map(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| Some((name.clone(), self.literal(member)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    fn reference(&self, expression: &Expression) -> Option<String> {
        // What the steps of another execution answered is the function's to tell.
        if let Some((step, output)) = expression.step_output() {
            let own = if self.undo {
                &self.remediation.undo
            } else {
                &self.remediation.apply
            };
            let is_own = own.iter().any(|other| {
                other.name == step
                    && matches!(&other.action, Action::Call { outputs, .. } if outputs.iter().any(|o| o.name == output))
            });
            return is_own.then(|| format!("{{{{ {step}.{output} }}}}"));
        }
        let name = match expression.source() {
            "account" => "global:ACCOUNT_ID",
            "region" => "global:REGION",
            "partition" => "global:AWS_PARTITION",
            name => {
                &self
                    .remediation
                    .parameters
                    .iter()
                    .find(|p| p.name == name)?
                    .name
            }
        };
        Some(format!("{{{{ {name} }}}}"))
    }

    /// The type of an input, as Automation names it.
    fn kind(&self, step: &Step, member: &str) -> Result<Type, ExportError> {
        let (Action::Call {
            service, operation, ..
        }
        | Action::Wait {
            service, operation, ..
        }) = &step.action
        else {
            return Ok(Type::String);
        };
        let resolved = self.models.resolve(service, operation)?;
        let service = &resolved.service;
        let shape = resolved
            .operation()
            .input
            .and_then(|input| service.shape_at(input, &format!("$.{member}")).ok());
        let Some(At::Shape(shape)) = shape else {
            return Ok(Type::StringMap);
        };
        Ok(match &service.shape(shape).kind {
            ShapeKind::Boolean => Type::Boolean,
            ShapeKind::Integer | ShapeKind::Long => Type::Integer,
            ShapeKind::Structure(_) | ShapeKind::Map { .. } => Type::StringMap,
            ShapeKind::List { member, .. } => match service.shape(member.shape).kind {
                ShapeKind::Structure(_) | ShapeKind::Map { .. } => Type::MapList,
                _ => Type::StringList,
            },
            _ => Type::String,
        })
    }
}

fn members(with: &Template) -> Vec<(&str, Template)> {
    match with {
        Template::Map(members) => members
            .iter()
            .map(|(name, member)| (name.as_str(), member.clone()))
            .collect(),
        Template::Literal(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| (name.as_str(), Template::Literal(value.clone())))
            .collect(),
        _ => Vec::new(),
    }
}

/// The step of the document at which a step of the file begins: itself, or the branch before it.
fn entry(step: &Step) -> String {
    let left_out = step.action.with().map_or(0, |with| optional(with).len());
    let is_one = left_out == 0 || is_scripted(step);
    if step.when.is_none() && step.each.is_none() && is_one {
        step.name.clone()
    } else {
        decision(step)
    }
}

fn decision(step: &Step) -> String {
    format!("{}_If", step.name)
}

fn invoke(name: &str, payload: Value) -> DocumentStep {
    let inputs = Map::from_iter([
        (
            "FunctionName".to_owned(),
            json!("{{ RemediationFunction }}"),
        ),
        ("InputPayload".to_owned(), payload),
    ]);
    DocumentStep::new(name, Does::run(ActionName::InvokeLambdaFunction, inputs))
}

/// A request as [`SCRIPT`] sends it.
fn script(service: &str, operation: &str, params: Map<String, Value>, optional: &str) -> Does {
    let payload = json!({
        "Service": service,
        "Operation": operation,
        "Input": params,
        "Optional": format!("{{{{ {optional} }}}}"),
    });
    let inputs = Map::from_iter([
        ("Runtime".to_owned(), json!("python3.11")),
        ("Handler".to_owned(), json!("send")),
        ("Script".to_owned(), json!(SCRIPT)),
        ("InputPayload".to_owned(), payload),
    ]);
    Does::run(ActionName::ExecuteScript, inputs)
}

fn declare(step: &mut DocumentStep, name: &str, kind: Type) {
    if step.outputs.iter().all(|output| output.name != name) {
        step.outputs.push(stanch_runbook::Output {
            name: name.to_owned(),
            selector: format!("$.Payload.{name}"),
            kind,
        });
    }
}

fn branch(
    name: &str,
    choices: Vec<(Value, Operator, Value, String)>,
    default: &str,
) -> DocumentStep {
    let choices = choices
        .into_iter()
        .map(|(variable, operator, operand, next_step)| Choice {
            next_step,
            condition: Condition::Is {
                variable,
                operator,
                operand,
            },
        })
        .collect();
    let default = Some(default.to_owned()).filter(|step| !step.is_empty());
    DocumentStep::new(name, Does::Branch(Branch { choices, default }))
}

/// A branch to the variant that a value names.
fn choose(
    name: &str,
    value: &str,
    variants: &[(i64, DocumentStep)],
    default: &str,
) -> DocumentStep {
    let choices = variants
        .iter()
        .map(|(variant, step)| {
            let value = json!(format!("{{{{ {value} }}}}"));
            (
                value,
                Operator::NumericEquals,
                json!(variant),
                step.name.clone(),
            )
        })
        .collect();
    branch(name, choices, default)
}

/// Variants go on with the same step.
fn finish(variants: Vec<(i64, DocumentStep)>, next: Option<&str>) -> Vec<DocumentStep> {
    let go_on = |(_, mut step): (i64, DocumentStep)| {
        step.next_step = next.map(str::to_owned);
        step
    };
    variants.into_iter().map(go_on).collect()
}
