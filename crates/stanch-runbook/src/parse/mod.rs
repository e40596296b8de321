//! From text to a document, with everything that is wrong on the way.

mod declaration;
mod flow;
mod scalar;

use serde_json::{Map, Value};
use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Entry, Kind, Limits, Node, Position, Severity, read};

use crate::{Action, ActionName, Document, OnCancel, OnFailure, Output, Places, Step, Type};

pub(crate) use scalar::truth;

/// Bytes that Systems Manager allows a document:
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// What was understood of a text, and what was not.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The document, as far as it was understood; none if the text is no mapping at all.
    pub document: Option<Document>,
    /// Everything noticed, in the order of the lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// The document, if nothing is wrong with it but warnings.
    ///
    /// # Errors
    /// All diagnostics.
    pub fn into_valid(self) -> Result<Document, Vec<Diagnostic>> {
        let clean = self
            .diagnostics
            .iter()
            .all(|d| d.severity == Severity::Warning);
        match self.document {
            Some(document) if clean => Ok(document),
            _ => Err(self.diagnostics),
        }
    }
}

/// Reads a document in YAML or JSON.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let limits = Limits {
        bytes: 4 * MAX_BYTES,
        ..Limits::default()
    };
    let root = match read(text, limits) {
        Ok(root) => root,
        Err(error) => {
            return Parsed {
                document: None,
                diagnostics: vec![error],
            };
        }
    };
    let mut reader = Reader::default();
    if text.len() > MAX_BYTES {
        reader.report(
            Diagnostic::error(
                root.at,
                format!(
                    "the document has {} bytes; Systems Manager takes {MAX_BYTES}",
                    text.len()
                ),
            )
            .hint(
                "move scripts into attachments, or split the document with `aws:executeAutomation`",
            ),
        );
    }
    let document = reader.document(&root);
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|d| d.at);
    Parsed {
        document,
        diagnostics,
    }
}

#[derive(Default)]
struct Reader {
    diagnostics: Vec<Diagnostic>,
    places: Places,
}

impl Reader {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn error(&mut self, at: Position, message: impl Into<String>) {
        self.report(Diagnostic::error(at, message));
    }

    fn document(&mut self, root: &Node) -> Option<Document> {
        let Some(entries) = root.as_map() else {
            self.report(
                Diagnostic::error(
                    root.at,
                    format!("a document is a mapping, this is {}", root.describe()),
                )
                .hint("start with `schemaVersion: '0.3'` and `mainSteps:`"),
            );
            return None;
        };
        self.place(root, "");
        let mut document = Document::default();
        let (mut version, mut steps) = (false, false);
        for Entry { at, key, value } in entries {
            match key.trim() {
                "schemaVersion" => {
                    version = true;
                    self.schema_version(value);
                }
                "description" => document.description = self.text(value, "description"),
                "assumeRole" => {
                    document.assume_role = self
                        .text(value, "assumeRole")
                        .filter(|role| !role.is_empty());
                }
                "parameters" => {
                    for entry in self.members(value, "parameters") {
                        let parameter = self.parameter(&entry.value, &entry.key);
                        document.parameters.insert(entry.key.clone(), parameter);
                    }
                }
                "variables" => {
                    for entry in self.members(value, "variables") {
                        let variable = self.variable(&entry.value, &entry.key);
                        document.variables.insert(entry.key.clone(), variable);
                    }
                }
                "mainSteps" => {
                    steps = true;
                    document.steps = self.steps(value, "/mainSteps", true);
                }
                "outputs" => document.outputs = self.texts(value, "outputs"),
                "files" => {
                    if let Value::Object(files) = value.to_json() {
                        document.files = files;
                    }
                }
                // Parts of change templates, which say who may run the document, not what it does.
                "templateInformation"
                | "executableRunBooks"
                | "emergencyChange"
                | "autoApprovable" => {}
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "schemaVersion",
                        "description",
                        "assumeRole",
                        "parameters",
                        "variables",
                        "mainSteps",
                        "outputs",
                        "files",
                    ],
                    "a document",
                ),
            }
        }
        if !version {
            self.report(
                Diagnostic::error(root.at, "`schemaVersion` is missing")
                    .hint("write `schemaVersion: '0.3'`"),
            );
        }
        if !steps {
            self.report(
                Diagnostic::error(root.at, "`mainSteps` is missing")
                    .hint("a document needs at least one step"),
            );
        }
        document.places = std::mem::take(&mut self.places);
        Some(document)
    }

    /// Notes where a value and everything in it stood.
    fn place(&mut self, node: &Node, pointer: &str) {
        self.places.insert(pointer.to_owned(), node.at);
        match &node.kind {
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.place(item, &format!("{pointer}/{index}"));
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    let below = format!("{pointer}/{}", entry.key);
                    self.place(&entry.value, &below);
                    // The key's line is what people look for; a block below it starts a line later.
                    self.places.insert(below, entry.at);
                }
            }
            _ => {}
        }
    }

    fn schema_version(&mut self, node: &Node) {
        let version = match &node.kind {
            Kind::String(text) => text.trim().to_owned(),
            Kind::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if version != "0.3" {
            self.report(
                Diagnostic::error(
                    node.at,
                    format!("schema version `{version}` is not that of an Automation document"),
                )
                .hint("write `schemaVersion: '0.3'`"),
            );
        }
    }

    /// The steps of a list. One that cannot be understood is left out, and the places of those after
    /// it are told by where they are in the document, not in the text.
    fn steps(&mut self, node: &Node, pointer: &str, outermost: bool) -> Vec<Step> {
        let what = pointer.rsplit('/').next().unwrap_or_default();
        let Some(items) = node.as_list() else {
            self.error(
                node.at,
                format!("`{what}` is a list of steps, this is {}", node.describe()),
            );
            return Vec::new();
        };
        if items.is_empty() {
            self.error(node.at, format!("`{what}` has no steps"));
        }
        let mut steps = Vec::new();
        for item in items {
            let pointer = format!("{pointer}/{}", steps.len());
            self.place(item, &pointer);
            match self.step(item, &pointer, outermost) {
                Some(step) => steps.push(step),
                None => self.places.misread(item.get("name").and_then(Node::as_str)),
            }
        }
        steps
    }

    fn step(&mut self, node: &Node, pointer: &str, outermost: bool) -> Option<Step> {
        let Some(entries) = node.as_map() else {
            self.error(
                node.at,
                format!("a step is a mapping, this is {}", node.describe()),
            );
            return None;
        };
        let name = node.get("name").and_then(|name| self.text(name, "name"));
        if name.is_none() {
            self.report(
                Diagnostic::error(node.at, "the step has no `name`")
                    .hint("write `name: describeInstance`"),
            );
        }
        let action = self.action(node, pointer, outermost);
        let mut step = Step::new(name.unwrap_or_default(), action?);
        for Entry { at, key, value } in entries {
            match key.as_str() {
                "name" | "action" | "inputs" => {}
                "description" => step.description = self.text(value, key),
                "maxAttempts" => step.max_attempts = self.setting(value, key),
                "timeoutSeconds" => step.timeout_seconds = self.setting(value, key),
                "onFailure" => step.on_failure = self.on_failure(value),
                "onCancel" => step.on_cancel = self.on_cancel(value),
                "isEnd" => step.is_end = self.boolean(value, key).unwrap_or(false),
                "isCritical" => step.is_critical = self.boolean(value, key),
                "nextStep" => step.next_step = self.text(value, key),
                "outputs" => step.outputs = self.outputs(value, pointer),
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "name",
                        "action",
                        "description",
                        "inputs",
                        "outputs",
                        "maxAttempts",
                        "timeoutSeconds",
                        "onFailure",
                        "onCancel",
                        "isEnd",
                        "isCritical",
                        "nextStep",
                    ],
                    "a step",
                ),
            }
        }
        Some(step)
    }

    fn action(&mut self, step: &Node, pointer: &str, outermost: bool) -> Option<Action> {
        let Some(node) = step.get("action") else {
            self.report(
                Diagnostic::error(step.at, "the step has no `action`")
                    .hint("write `action: aws:executeAwsApi`"),
            );
            return None;
        };
        let text = node.as_str().unwrap_or_default().trim();
        let Ok(name) = text.parse::<ActionName>() else {
            let known = ActionName::ALL.iter().map(|a| a.as_str());
            let diagnostic = Diagnostic::error(node.at, format!("`{text}` is not an action"));
            self.report(match nearest(text, known).first() {
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None => {
                    diagnostic.hint("see the list of actions in the Systems Manager user guide")
                }
            });
            return None;
        };
        let nothing = Node {
            at: step.at,
            kind: Kind::Map(Vec::new()),
        };
        let inputs = match step.get("inputs") {
            Some(Node {
                kind: Kind::Null, ..
            })
            | None => &nothing,
            Some(inputs) if inputs.as_map().is_some() => inputs,
            Some(other) => {
                self.error(
                    other.at,
                    format!("`inputs` is a mapping, this is {}", other.describe()),
                );
                &nothing
            }
        };
        match name {
            ActionName::Branch => Some(Action::Branch(self.branch(inputs, pointer))),
            ActionName::Loop if outermost => self.repeat(inputs, pointer).map(Action::Loop),
            ActionName::Loop => {
                self.report(
                    Diagnostic::error(node.at, "a loop cannot stand inside a loop")
                        .hint("put the inner loop into a document of its own and run it with `aws:executeAutomation`"),
                );
                None
            }
            _ => {
                let inputs = match inputs.to_json() {
                    Value::Object(inputs) => inputs,
                    _ => Map::new(),
                };
                Some(Action::run(name, inputs))
            }
        }
    }

    fn outputs(&mut self, node: &Node, pointer: &str) -> Vec<Output> {
        let Some(items) = node.as_list() else {
            self.error(
                node.at,
                format!("`outputs` of a step is a list, this is {}", node.describe()),
            );
            return Vec::new();
        };
        let mut outputs = Vec::new();
        for item in items {
            self.place(item, &format!("{pointer}/outputs/{}", outputs.len()));
            let (mut name, mut selector, mut kind) = (None, None, Type::String);
            for Entry { at, key, value } in self.members(item, "an output") {
                match key.as_str() {
                    "Name" => name = self.text(value, key),
                    "Selector" => selector = self.text(value, key),
                    "Type" => kind = self.kind(value),
                    other => {
                        self.unknown_key(*at, other, &["Name", "Selector", "Type"], "an output")
                    }
                }
            }
            match (name, selector) {
                (Some(name), Some(selector)) => outputs.push(Output {
                    name,
                    selector,
                    kind,
                }),
                _ => self.report(
                    Diagnostic::error(item.at, "an output needs `Name` and `Selector`").hint(
                        "write `{Name: State, Selector: $.Instances[0].State.Name, Type: String}`",
                    ),
                ),
            }
        }
        outputs
    }

    fn on_failure(&mut self, node: &Node) -> Option<OnFailure> {
        let text = self.text(node, "onFailure")?;
        match (text.as_str(), text.strip_prefix("step:")) {
            (_, Some(step)) => Some(OnFailure::Step(step.trim().to_owned())),
            ("Abort", _) => Some(OnFailure::Abort),
            ("Continue", _) => Some(OnFailure::Continue),
            _ => {
                self.report(
                    Diagnostic::error(node.at, format!("`onFailure` cannot be `{text}`"))
                        .hint("one of Abort, Continue, step:NAME"),
                );
                None
            }
        }
    }

    fn on_cancel(&mut self, node: &Node) -> Option<OnCancel> {
        let text = self.text(node, "onCancel")?;
        match (text.as_str(), text.strip_prefix("step:")) {
            (_, Some(step)) => Some(OnCancel::Step(step.trim().to_owned())),
            ("Abort", _) => Some(OnCancel::Abort),
            _ => {
                self.report(
                    Diagnostic::error(node.at, format!("`onCancel` cannot be `{text}`"))
                        .hint("one of Abort, step:NAME"),
                );
                None
            }
        }
    }
}
