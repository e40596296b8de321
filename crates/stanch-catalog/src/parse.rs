//! One file in, what was understood of it and every complaint out. Whether its calls exist and fit
//! the API models is [`crate::check`]'s.

use std::collections::HashSet;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Entry, Kind, Limits, Node, Position};
use stanch_types::hex;

use crate::{
    expression::Expression,
    function,
    impact::{FactType, Probe},
    keys::{self, count},
    parameter::WHOLE,
    remediation::{
        Action, Class, Computed, Control, Example, Given, Let, Output, Parameter, ParameterType,
        Read, Refusal, Remediation, Safety, Step, Undo, Verify,
    },
    template::Template,
};

/// Names that every scope has; an author cannot give them away.
const GIVEN_NAMES: [&str; 4] = ["account", "region", "partition", "time"];
/// Names that some scopes have: `from`, `each`, `undo`, `impact`, and what follows a step with outputs.
const RESERVED: [&str; 6] = ["resource", "finding", "item", "now", "past", "steps"];

/// What a resource is looked at by, and what changes it: a plan that was made can be verified, gone on with
/// and taken back by a file that says the same here.
const LOOKED_AT_BY: [&str; 5] = ["read", "let", "compliant", "state", "apply"];
/// What else decides which requests are sent.
const DECIDES: [&str; 3] = ["parameters", "refuse", "undo"];
/// Of these members, what is said to people and proofs, and what only narrows a session.
const ASIDE: [&str; 6] = [
    "description",
    "accepts",
    "rejects",
    "because",
    "on",
    "allow",
];

/// SHA-256, in hexadecimal, over the canonical JSON (RFC 8785) of what decides in a file. Comments, the way
/// it is written, and what it says of controls, risks and examples are not in it (`docs/decisions/0036`).
struct Digests {
    /// Of [`LOOKED_AT_BY`].
    basis: String,
    /// Of that and of [`DECIDES`].
    whole: String,
}

impl Digests {
    fn of(root: &Node) -> Self {
        let mut hasher = Sha256::new();
        say(root, &LOOKED_AT_BY, &mut hasher);
        let basis = hex(&hasher.clone().finalize());
        say(root, &DECIDES, &mut hasher);
        Self {
            basis,
            whole: hex(&hasher.finalize()),
        }
    }
}

/// Tells `hasher` what stands under these keys, each after its name.
fn say(root: &Node, keys: &[&str], hasher: &mut Sha256) {
    for key in keys {
        let Some(node) = root.get(key) else { continue };
        let mut value = node.to_json();
        let members: Vec<&mut Value> = match &mut value {
            Value::Array(items) => items.iter_mut().collect(),
            Value::Object(members) => members.values_mut().collect(),
            _ => Vec::new(),
        };
        for member in members.into_iter().filter_map(Value::as_object_mut) {
            member.retain(|name, _| !ASIDE.contains(&name.as_str()));
        }
        // Canonical JSON exists for every tree of JSON values.
        let said = serde_json_canonicalizer::to_vec(&value).unwrap_or_default();
        hasher.update(key);
        hasher.update(said);
    }
}

/// Reads a remediation from the text of its file.
///
/// There is a remediation only if there is no error among the diagnostics.
#[must_use]
pub fn parse(text: &str) -> (Option<Remediation>, Vec<Diagnostic>) {
    let root = match stanch_syntax::read(text, Limits::default()) {
        Ok(root) => root,
        Err(diagnostic) if diagnostic.message.contains("mapping values") => {
            let hint = "put text that contains `: ` in quotes";
            return (None, vec![diagnostic.hint(hint)]);
        }
        Err(diagnostic) => return (None, vec![diagnostic]),
    };
    parse_tree(&root)
}

/// [`parse`] of what was read from the text already.
pub(crate) fn parse_tree(root: &Node) -> (Option<Remediation>, Vec<Diagnostic>) {
    let mut parser = Parser::default();
    keys::check(root, &keys::FILE, &mut parser.found);
    // The structure must stand before its meaning is looked at: a misspelt key would otherwise give
    // a second complaint about everything that refers to it.
    if !parser.found.is_empty() {
        return (None, parser.found);
    }
    let remediation = parser.remediation(root);
    parser.found.sort_by_key(|diagnostic| diagnostic.at);
    (
        remediation.filter(|_| parser.found.is_empty()),
        parser.found,
    )
}

#[derive(Default)]
struct Parser {
    found: Vec<Diagnostic>,
}

/// The names that an expression may use.
#[derive(Clone)]
struct Names<'n> {
    known: Vec<&'n str>,
    /// Outputs of the steps so far, as `step.Output`.
    outputs: Vec<String>,
}

impl<'n> Names<'n> {
    fn given() -> Self {
        Self::place().with(["time"])
    }

    /// What an example knows.
    fn place() -> Self {
        Self {
            known: vec!["account", "region", "partition"],
            outputs: Vec::new(),
        }
    }

    fn with(&self, more: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names = self.clone();
        names.known.extend(more);
        names
    }
}

impl Parser {
    fn complain(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Diagnostic::error(at, message).hint(hint));
    }

    fn remediation(&mut self, root: &Node) -> Option<Remediation> {
        let name = text(root, "remediation")?;
        if !is_camel(&name) {
            self.complain(
                root.get("remediation")?.at,
                format!("`{name}` is not a name for a remediation"),
                "write it in CamelCase with letters and digits only: `S3BlockPublicAccess`",
            );
        }
        let mut taken: Vec<(String, Position)> = Vec::new();
        let parameters: Vec<Parameter> = entries(root, "parameters")
            .iter()
            .filter_map(|entry| {
                self.take(&mut taken, &entry.key, entry.at);
                self.parameter(entry)
            })
            .collect();
        let mut names =
            Names::given().with(entries(root, "parameters").iter().map(|e| e.key.as_str()));
        let mut reads = Vec::new();
        for node in items(root, "read") {
            let name = word(node, "name");
            self.take(&mut taken, name, at(node, "name"));
            reads.extend(self.read(node, &names));
            names = names.with([name]);
        }
        let read_names: Vec<String> = reads.iter().map(|read| read.name.clone()).collect();
        let mut lets = Vec::new();
        for node in items(root, "let") {
            let name = word(node, "name");
            self.take(&mut taken, name, at(node, "name"));
            lets.extend(self.computed(node, &names));
            names = names.with([name]);
        }
        let probing = names.with(["past"]);
        let mut impact = Vec::new();
        for node in items(root, "impact") {
            self.take(&mut taken, word(node, "name"), at(node, "name"));
            impact.extend(self.probe(node, &probing));
        }
        let compliant = self.expression(root.get("compliant")?, &names);
        let refusals = items(root, "refuse")
            .iter()
            .filter_map(|node| {
                Some(Refusal {
                    when: self.expression(node.get("when")?, &names)?,
                    because: text(node, "because")?,
                })
            })
            .collect();
        let state = root
            .get("state")
            .and_then(|node| self.expression(node, &names));
        let mut applying = names.clone();
        let apply = self.steps(root, "apply", &mut applying);
        let mut undoing = Names {
            outputs: applying.outputs,
            ..names.with(["now"])
        };
        let undo = self.steps(root, "undo", &mut undoing);
        let controls = self.controls(root);
        let safety = self.safety(root.get("safety")?, items(root, "undo").is_empty());
        let verify = root.get("verify").map_or_else(Verify::default, |node| {
            let default = Verify::default();
            let number = |key: &str| node.get(key).and_then(count);
            Verify {
                attempts: number("attempts")
                    .and_then(|n| n.try_into().ok())
                    .unwrap_or(default.attempts),
                every: number("every").unwrap_or(default.every),
            }
        });
        let examples = self.examples(root, &controls);
        self.unused(root, &parameters, &read_names);
        let Digests { basis, whole } = Digests::of(root);
        Some(Remediation {
            name,
            title: text(root, "title")?,
            description: text(root, "description")?,
            resources: texts(root.get("resource")),
            global: flag(root, "global").unwrap_or(false),
            controls,
            sources: texts(root.get("sources")),
            safety: safety?,
            parameters,
            reads,
            lets,
            compliant: compliant?,
            refusals,
            impact,
            state,
            apply,
            undo,
            verify,
            examples,
            basis,
            digest: whole,
        })
    }

    /// Registers a name of the scope, and complains if it is not one or is taken.
    fn take(&mut self, taken: &mut Vec<(String, Position)>, name: &str, at: Position) {
        if !is_identifier(name) {
            self.complain(
                at,
                format!("`{name}` cannot be a name in expressions"),
                "use letters, digits and `_`, and begin with a letter",
            );
        } else if GIVEN_NAMES.contains(&name) || RESERVED.contains(&name) {
            self.complain(
                at,
                format!("`{name}` already has a meaning"),
                "choose another name",
            );
        } else if let Some((_, first)) = taken.iter().find(|(other, _)| other == name) {
            let line = first.line;
            self.complain(
                at,
                format!("`{name}` is already given on line {line}"),
                "choose another name",
            );
        } else {
            taken.push((name.to_owned(), at));
        }
    }

    fn parameter(&mut self, entry: &Entry) -> Option<Parameter> {
        let node = &entry.value;
        // Only here: a plan is looked at again from its parameters alone.
        let names = Names::given().with(["resource", "finding"]);
        let from = node
            .get("from")
            .and_then(|from| self.expression(from, &names));
        let pattern = node.get("pattern").and_then(|pattern| {
            let source = pattern.as_str()?;
            match regex_lite::Regex::new(&format!("{}{source}{}", WHOLE.0, WHOLE.1)) {
                Ok(regex) => Some(regex),
                Err(error) => {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default();
                    let reason = reason.trim_start_matches("error: ").to_owned();
                    self.complain(pattern.at, format!("`{source}` is not a pattern"), reason);
                    None
                }
            }
        });
        let kind = match text(node, "type").as_deref() {
            Some("Integer") => ParameterType::Integer,
            Some("Boolean") => ParameterType::Boolean,
            Some("StringList") => ParameterType::StringList,
            _ => ParameterType::String,
        };
        let values = |key| items(node, key).iter().map(Node::to_json).collect();
        let parameter = Parameter {
            name: entry.key.clone(),
            description: text(node, "description").unwrap_or_default(),
            from,
            for_control: json_map(node.get("for")),
            default: node.get("default").map(Node::to_json),
            kind,
            pattern,
            accepts: values("accepts"),
            rejects: values("rejects"),
        };
        let nowhere = node.get("from").is_none() && parameter.default.is_none();
        if nowhere && parameter.description.is_empty() {
            self.complain(
                entry.at,
                format!("nothing gives parameter `{}` a value", entry.key),
                "add `from` (an expression over the finding) or `default`; or a `description` for those who have to set it",
            );
        }
        let defaults = node.get("default").into_iter();
        let for_controls = entries(node, "for").iter().map(|entry| &entry.value);
        for value in defaults.chain(for_controls).chain(items(node, "accepts")) {
            if let Err(error) = parameter.check(&value.to_json()) {
                self.complain(
                    value.at,
                    error.to_string(),
                    "change the value, the pattern or the type",
                );
            }
        }
        let broken = parameter.pattern.is_none() && node.get("pattern").is_some();
        for value in items(node, "rejects").iter().filter(|_| !broken) {
            if parameter.check(&value.to_json()).is_ok() {
                self.complain(
                    value.at,
                    format!(
                        "parameter `{}` takes `{}`, which it should refuse",
                        entry.key,
                        value
                            .as_str()
                            .map_or_else(|| value.to_json().to_string(), str::to_owned)
                    ),
                    "tighten `pattern`",
                );
            }
        }
        if parameter.pattern.is_some()
            && (parameter.accepts.is_empty() || parameter.rejects.is_empty())
        {
            self.complain(
                entry.at,
                format!("the pattern of parameter `{}` is not shown to work", entry.key),
                "give values that it takes under `accepts` and values that it refuses under `rejects`",
            );
        }
        Some(parameter)
    }

    fn read(&mut self, node: &Node, names: &Names) -> Option<Read> {
        let (service, operation) = self.call(node.get("call")?)?;
        let (each, inner) = self.each(node, names);
        Some(Read {
            name: text(node, "name")?,
            service,
            operation,
            with: self.template(node.get("with"), &inner)?,
            absent: texts(node.get("absent")),
            pick: self.pick(node),
            paginate: flag(node, "paginate").unwrap_or(false),
            on: self.templates(node.get("on"), &inner),
            when: self.when(node, names),
            each,
        })
    }

    fn probe(&mut self, node: &Node, names: &Names) -> Option<Probe> {
        let answered = names.with(["answer"]);
        let value = node.get("value");
        Some(Probe {
            value: value.and_then(|value| self.expression(value, &answered)),
            read: self.read(node, names)?,
            title: text(node, "title")?,
            kind: match text(node, "type")?.as_str() {
                "Integer" => FactType::Integer,
                "Boolean" => FactType::Boolean,
                "StringList" => FactType::StringList,
                "Timestamp" => FactType::Timestamp,
                _ => FactType::String,
            },
        })
    }

    fn when(&mut self, node: &Node, names: &Names) -> Option<Expression> {
        node.get("when")
            .and_then(|when| self.expression(when, names))
    }

    /// `each`, and the names that what is done for each element may use.
    fn each<'n>(&mut self, node: &Node, names: &Names<'n>) -> (Option<Expression>, Names<'n>) {
        match node.get("each") {
            Some(each) => (self.expression(each, names), names.with(["item"])),
            None => (None, names.clone()),
        }
    }

    fn computed(&mut self, node: &Node, names: &Names) -> Option<Let> {
        let (each, names) = &self.each(node, names);
        let value = match (node.get("value"), node.get("function")) {
            (Some(value), None) => Computed::Expression(self.expression(value, names)?),
            (None, Some(called)) => {
                let name = called.as_str()?.to_owned();
                if function::find(&name).is_none() {
                    let known = || function::FUNCTIONS.iter().map(|function| function.name);
                    let hint = match nearest(&name, known()).first() {
                        Some(near) => format!("write `{near}`"),
                        None => format!("the functions are {}", keys::list(known())),
                    };
                    self.complain(called.at, format!("there is no function `{name}`"), hint);
                }
                Computed::Function {
                    name,
                    with: self.template(node.get("with"), names)?,
                }
            }
            _ => {
                self.complain(
                    node.at,
                    "a computed value has either `value` or `function`",
                    "give an expression as `value`, or the name of a function and its input as `with`",
                );
                return None;
            }
        };
        Some(Let {
            name: text(node, "name")?,
            each: each.clone(),
            value,
        })
    }

    fn steps(&mut self, root: &Node, key: &str, names: &mut Names) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut taken = HashSet::new();
        for node in items(root, key) {
            let Some(step) = self.step(node, names) else {
                continue;
            };
            if !is_identifier(&step.name) {
                self.complain(
                    at(node, "name"),
                    format!("`{}` cannot be the name of a step", step.name),
                    "use letters, digits and `_`, and begin with a letter",
                );
            }
            if !taken.insert(step.name.clone()) {
                self.complain(
                    node.at,
                    format!("another step is called `{}` too", step.name),
                    "give this one a `name`",
                );
            }
            if let Action::Call { outputs, .. } = &step.action {
                let named: Vec<String> = outputs
                    .iter()
                    .map(|output| format!("{}.{}", step.name, output.name))
                    .collect();
                if let Some(output) = named.iter().find(|name| names.outputs.contains(name)) {
                    self.complain(
                        node.at,
                        format!("a step of `apply` has an output `{output}` already"),
                        "give this step another `name`",
                    );
                }
                names.outputs.extend(named);
            }
            steps.push(step);
        }
        let is_approval = |step: &Step| matches!(step.action, Action::Approve { .. });
        let nodes = items(root, key);
        for (place, (step, node)) in steps.iter().zip(nodes).enumerate() {
            if !is_approval(step) {
                continue;
            }
            if key == "undo" {
                self.complain(
                    node.at,
                    "an undo waits for nobody",
                    "remove it: what is to be put back may not be left half-way",
                );
            } else if place == 0 {
                self.complain(
                    node.at,
                    "the plan itself is approved before its first step",
                    "remove it, and write `class: destructive` if an approval is always due",
                );
            } else if place + 1 == nodes.len() {
                self.complain(node.at, "no step follows on this approval", "remove it");
            }
        }
        steps
    }

    fn step(&mut self, node: &Node, names: &Names) -> Option<Step> {
        let (each, inner) = self.each(node, names);
        let kinds = ["call", "wait", "sleep", "approve"];
        let given: Vec<&str> = kinds
            .into_iter()
            .filter(|kind| node.get(kind).is_some())
            .collect();
        let [kind] = given[..] else {
            self.complain(
                node.at,
                "a step has one of `call`, `wait`, `sleep` and `approve`",
                "write one step for each",
            );
            return None;
        };
        let misplaced: &[&str] = match kind {
            "call" => &["until", "timeout"],
            "wait" => &["outputs", "each"],
            "approve" => &["with", "until", "timeout", "on", "allow", "outputs", "each"],
            _ => &["with", "until", "timeout", "on", "allow", "outputs", "each"],
        };
        for key in misplaced {
            if let Some(value) = node.get(key) {
                self.complain(
                    value.at,
                    format!("`{key}` has no meaning beside `{kind}`"),
                    "remove it",
                );
            }
        }
        let action = if kind == "sleep" {
            Action::Sleep {
                seconds: node.get("sleep").and_then(count)?,
            }
        } else if kind == "approve" {
            self.template(node.get("approve"), &inner)?;
            let message = text(node, "approve")?;
            let with = Map::from_iter([("Message".to_owned(), Value::String(message.clone()))]);
            Action::Approve {
                message,
                with: Template::new(&Value::Object(with)).ok()?,
            }
        } else {
            let (service, operation) = self.call(node.get(kind)?)?;
            let with = self.template(node.get("with"), &inner)?;
            if kind == "call" {
                let outputs = self.outputs(node);
                if each.is_some() && !outputs.is_empty() {
                    self.complain(
                        at(node, "outputs"),
                        "a step with `each` has no outputs",
                        "the calls have several answers; read what you need afterwards",
                    );
                }
                Action::Call {
                    service,
                    operation,
                    with,
                    outputs,
                }
            } else {
                let Some(until) = node.get("until") else {
                    self.complain(
                        node.at,
                        "`wait` needs `until`",
                        "write `until: {select: $.…, values: [available]}`",
                    );
                    return None;
                };
                let values: Vec<_> = items(until, "values").iter().map(Node::to_json).collect();
                if values.iter().any(|value| value.to_string().contains("{{")) {
                    self.complain(
                        at(until, "values"),
                        "what is waited for cannot be computed",
                        "write the value itself, or let the check decide: `verify: {attempts: 60, every: 10}`",
                    );
                }
                Action::Wait {
                    service,
                    operation,
                    with,
                    select: text(until, "select")?,
                    values,
                    timeout: node.get("timeout").and_then(count).unwrap_or(3600),
                }
            }
        };
        let default_name = match &action {
            Action::Call { operation, .. } => operation.clone(),
            Action::Wait { operation, .. } => format!("Wait{operation}"),
            Action::Sleep { .. } => "Sleep".to_owned(),
            Action::Approve { .. } => "Approve".to_owned(),
        };
        Some(Step {
            name: text(node, "name").unwrap_or(default_name),
            when: self.when(node, names),
            each,
            action,
            on: self.templates(node.get("on"), &inner),
            allow: self.allow(node, &inner),
        })
    }

    fn allow(&mut self, node: &Node, names: &Names) -> Vec<(String, Vec<Template>)> {
        let mut allowed = Vec::new();
        for entry in entries(node, "allow") {
            if !entry.key.contains(':') {
                self.complain(
                    entry.at,
                    format!("`{}` is not an IAM action", entry.key),
                    "write service and action: `ec2:CreateTags`",
                );
            }
            allowed.push((entry.key.clone(), self.templates(Some(&entry.value), names)));
        }
        allowed
    }

    fn outputs(&mut self, node: &Node) -> Vec<Output> {
        entries(node, "outputs")
            .iter()
            .map(|entry| {
                if !is_identifier(&entry.key) {
                    self.complain(
                        entry.at,
                        format!("`{}` cannot be the name of an output", entry.key),
                        "use letters, digits and `_`, and begin with a letter",
                    );
                }
                Output {
                    name: entry.key.clone(),
                    select: text(&entry.value, "select").unwrap_or_default(),
                    kind: text(&entry.value, "type").unwrap_or_else(|| "String".to_owned()),
                }
            })
            .collect()
    }

    fn safety(&mut self, node: &Node, no_steps: bool) -> Option<Safety> {
        let class = match text(node, "class")?.as_str() {
            "safe" => Class::Safe,
            "guarded" => Class::Guarded,
            _ => Class::Destructive,
        };
        let exact = text(node, "undo")? == "exact";
        let because = text(node, "because");
        match (exact, &because) {
            (true, Some(_)) => self.complain(
                at(node, "because"),
                "`because` says why there is no undo, but there is one",
                "remove it, or write `undo: none`",
            ),
            (false, None) => self.complain(
                node.at,
                "`undo: none` needs a reason",
                "write it as `because`; people who approve the change will read it",
            ),
            _ => {}
        }
        // Steps that put back only what failed half-way.
        let half_way = !exact && !no_steps && flag(node, "automatic-undo") == Some(true);
        if exact == no_steps && !half_way {
            let (message, hint) = if exact {
                (
                    "`undo: exact`, but there are no steps under `undo`",
                    "write the requests that restore what was read",
                )
            } else {
                (
                    "`undo: none`, but there are steps under `undo`",
                    "write `undo: exact`, or remove them; for what failed half-way, `automatic-undo: true`",
                )
            };
            self.complain(at(node, "undo"), message, hint);
        }
        if class == Class::Safe && !exact {
            self.complain(
                at(node, "class"),
                "what cannot be undone is not `safe`",
                "write `class: destructive`, or an undo",
            );
        }
        if flag(node, "automatic-undo") == Some(true) && !exact && !half_way {
            self.complain(
                at(node, "automatic-undo"),
                "there is no undo to run by itself",
                "remove it",
            );
        }
        Some(Safety {
            class,
            impact: text(node, "impact")?,
            undo: match because {
                Some(because) if !exact => Undo::None { because },
                _ => Undo::Exact,
            },
            automatic_undo: flag(node, "automatic-undo").unwrap_or(exact),
        })
    }

    fn controls(&mut self, root: &Node) -> Vec<Control> {
        let mut controls: Vec<Control> = Vec::new();
        for entry in entries(root, "controls") {
            let framework = &entry.key;
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            if !framework.chars().all(fits) {
                self.complain(
                    entry.at,
                    format!("`{framework}` is not the name of a framework"),
                    "use lower-case letters, digits, `-` and `.`: `security-hub`, `cis-3.0.0`",
                );
            }
            for id in texts(Some(&entry.value)) {
                let control = Control::new(framework.clone(), id);
                if controls.contains(&control) {
                    self.complain(
                        entry.value.at,
                        format!("`{control}` stands here twice"),
                        "remove one",
                    );
                } else {
                    controls.push(control);
                }
            }
        }
        if controls.is_empty() {
            self.complain(
                at(root, "controls"),
                "a remediation fixes at least one control",
                "name it",
            );
        }
        controls
    }

    fn examples(&mut self, root: &Node, controls: &[Control]) -> Vec<Example> {
        let nodes = items(root, "examples");
        let examples: Vec<Example> = nodes
            .iter()
            .filter_map(|node| self.example(node, controls))
            .collect();
        if examples.len() == nodes.len() && examples.iter().all(|example| example.compliant) {
            self.complain(
                at(root, "examples"),
                "no example has something to fix",
                "add one that is not `compliant: true`",
            );
        }
        examples
    }

    fn example(&mut self, node: &Node, controls: &[Control]) -> Option<Example> {
        let mut names = Names::place();
        let mut calls = |parser: &mut Self, key: &str| {
            let mut calls = Vec::new();
            for node in items(node, key) {
                let name = word(node, "name");
                let call = node.get("call").and_then(|call| parser.call(call));
                let with = parser.template(node.get("with"), &names);
                let pick = parser.pick(node);
                names = names.with([name]);
                let (Some((service, operation)), Some(with)) = (call, with) else {
                    continue;
                };
                calls.push(Given {
                    name: name.to_owned(),
                    service,
                    operation,
                    with,
                    pick,
                });
            }
            calls
        };
        let given = calls(self, "given");
        let also = calls(self, "also");
        let finding = node.get("finding")?;
        let id = text(finding, "control")?;
        let control = controls
            .iter()
            .find(|control| control.id == id)
            .and_then(Control::reference);
        let Some(control) = control else {
            self.complain(
                at(finding, "control"),
                format!("`{id}` is not among the controls of this file"),
                "name one that a finding can carry: of `security-hub`, `config`, `prowler` or `cis-…`",
            );
            return None;
        };
        Some(Example {
            title: text(node, "title")?,
            given,
            control,
            resource_type: text(finding, "type"),
            resource: self.template(finding.get("resource"), &names)?,
            details: match finding.get("details") {
                Some(details) => self.template(Some(details), &names)?,
                None => Template::Literal(Value::Null),
            },
            settings: json_map(finding.get("settings")),
            compliant: flag(node, "compliant").unwrap_or(false),
            also,
        })
    }

    /// A parameter or a read that nothing uses is a mistake, most likely of a name.
    fn unused(&mut self, root: &Node, parameters: &[Parameter], reads: &[String]) {
        if !self.found.is_empty() {
            return;
        }
        let mut used = HashSet::new();
        for key in ["compliant", "refuse", "state"] {
            if let Some(node) = root.get(key) {
                mentions(node, &mut used);
            }
        }
        for key in ["read", "let", "impact", "apply", "undo"] {
            // The name of a step is no use of a parameter that is called so.
            let members = items(root, key).iter().filter_map(Node::as_map).flatten();
            for member in members.filter(|member| member.key != "name") {
                mentions(&member.value, &mut used);
            }
        }
        for entry in entries(root, "parameters") {
            if parameters.iter().any(|p| p.name == entry.key) && !used.contains(entry.key.as_str())
            {
                self.complain(
                    entry.at,
                    format!("nothing uses parameter `{}`", entry.key),
                    "remove it",
                );
            }
        }
        for node in items(root, "read") {
            let name = text(node, "name").unwrap_or_default();
            if reads.contains(&name) && !used.contains(name.as_str()) {
                self.complain(
                    at(node, "name"),
                    format!("nothing uses what `{name}` reads"),
                    "remove it",
                );
            }
        }
    }

    fn call(&mut self, node: &Node) -> Option<(String, String)> {
        let text = node.as_str()?;
        let call = text.split_once('.').filter(|(service, operation)| {
            is_identifier(operation)
                && service.starts_with(|c: char| c.is_ascii_lowercase())
                && service
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-')
        });
        match call {
            Some((service, operation)) => Some((service.to_owned(), operation.to_owned())),
            None => {
                self.complain(
                    node.at,
                    format!("`{text}` is not a call"),
                    "write service and operation as boto3 names them: `s3.GetPublicAccessBlock`",
                );
                None
            }
        }
    }

    fn pick(&mut self, node: &Node) -> Option<Expression> {
        let pick = node.get("pick")?;
        self.compiled(pick)
    }

    fn compiled(&mut self, node: &Node) -> Option<Expression> {
        match Expression::new(node.as_str()?) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.complain(
                    node.at,
                    error.to_string(),
                    "the syntax is JMESPath's, https://jmespath.org",
                );
                None
            }
        }
    }

    fn expression(&mut self, node: &Node, names: &Names) -> Option<Expression> {
        let expression = self.compiled(node)?;
        self.check_names(node.at, &expression, names);
        Some(expression)
    }

    fn check_names(&mut self, at: Position, expression: &Expression, names: &Names) {
        for name in expression.names() {
            if name == "steps" {
                let known = || names.outputs.iter().map(String::as_str);
                match expression.step_output() {
                    None => self.complain(
                        at,
                        format!(
                            "`{}`: an output can only stand for itself",
                            expression.source()
                        ),
                        "write `{{ steps.<step>.<Output> }}` and nothing else between the braces",
                    ),
                    Some((step, output))
                        if !names.outputs.contains(&format!("{step}.{output}")) =>
                    {
                        let hint = match known().next() {
                            Some(_) => format!("the outputs so far are {}", keys::list(known())),
                            None => "no earlier step has outputs".to_owned(),
                        };
                        self.complain(
                            at,
                            format!("no earlier step has an output `{step}.{output}`"),
                            hint,
                        );
                    }
                    Some(_) => {}
                }
            } else if !names.known.contains(&name) {
                let known = || {
                    let known = names.known.iter().copied();
                    known.filter(|name| !name.is_empty())
                };
                let hint = match nearest(name, known()).first() {
                    Some(near) => format!("write `{near}`"),
                    None => format!("known here are {}", keys::list(known())),
                };
                self.complain(
                    at,
                    format!("`{}`: there is no `{name}` here", expression.source()),
                    hint,
                );
            }
        }
    }

    /// A template whose every complaint stands at the line of its own string.
    fn template(&mut self, node: Option<&Node>, names: &Names) -> Option<Template> {
        let Some(node) = node else {
            return Some(Template::Literal(Value::Object(Map::new())));
        };
        let before = self.found.len();
        let template = self.compiled_template(node, names);
        (self.found.len() == before).then_some(template)
    }

    fn compiled_template(&mut self, node: &Node, names: &Names) -> Template {
        match &node.kind {
            Kind::String(text) => match Template::text(text) {
                Ok(template) => {
                    for expression in template.expressions() {
                        self.check_names(node.at, expression, names);
                    }
                    template
                }
                Err(error) => {
                    self.complain(
                        node.at,
                        error.to_string(),
                        "`{{ … }}` holds a JMESPath expression, `{{? … }}` one that may be null",
                    );
                    Template::Literal(Value::Null)
                }
            },
            Kind::List(items) => {
                let items = items.iter();
                Template::list(
                    items
                        .map(|item| self.compiled_template(item, names))
                        .collect(),
                )
            }
            Kind::Map(entries) => {
                let mut members = Vec::with_capacity(entries.len());
                for entry in entries {
                    if entry.key.contains("{{") {
                        self.complain(
                            entry.at,
                            "a key cannot hold an expression",
                            "use a function for it",
                        );
                    }
                    members.push((
                        entry.key.clone(),
                        self.compiled_template(&entry.value, names),
                    ));
                }
                Template::map(members)
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => Template::Literal(node.to_json()),
        }
    }

    fn templates(&mut self, node: Option<&Node>, names: &Names) -> Vec<Template> {
        let nodes: Vec<&Node> = match node {
            Some(node) => node
                .as_list()
                .map_or_else(|| vec![node], |items| items.iter().collect()),
            None => Vec::new(),
        };
        nodes
            .into_iter()
            .filter_map(|node| self.template(Some(node), names))
            .collect()
    }
}

/// Every word in the strings of `node`.
fn mentions<'n>(node: &'n Node, used: &mut HashSet<&'n str>) {
    match &node.kind {
        Kind::String(text) => {
            used.extend(text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
        }
        Kind::List(items) => items.iter().for_each(|item| mentions(item, used)),
        Kind::Map(entries) => {
            for entry in entries {
                mentions(&entry.value, used);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn at(node: &Node, key: &str) -> Position {
    node.get(key).map_or(node.at, |value| value.at)
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.as_str().map(|text| text.trim().to_owned())
}

/// The text, or none at all.
fn word<'n>(node: &'n Node, key: &str) -> &'n str {
    let text = node.get(key).and_then(Node::as_str);
    text.unwrap_or_default().trim()
}

fn flag(node: &Node, key: &str) -> Option<bool> {
    match node.get(key)?.kind {
        Kind::Bool(flag) => Some(flag),
        _ => None,
    }
}

fn texts(node: Option<&Node>) -> Vec<String> {
    match node {
        None => Vec::new(),
        Some(node) => match node.as_list() {
            Some(items) => items
                .iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect(),
            None => node.as_str().map(str::to_owned).into_iter().collect(),
        },
    }
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).and_then(Node::as_list).unwrap_or_default()
}

fn entries<'n>(node: &'n Node, key: &str) -> &'n [Entry] {
    node.get(key).and_then(Node::as_map).unwrap_or_default()
}

fn json_map(node: Option<&Node>) -> Map<String, Value> {
    match node.map(Node::to_json) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
