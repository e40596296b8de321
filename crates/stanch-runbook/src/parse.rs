//! From text to a document, with everything that is wrong on the way.

use serde_json::{Map, Value};
use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Entry, Kind, Limits, Node, Position, Severity, read};

use crate::{
    Action, ActionName, Branch, Choice, Condition, Document, Iteration, Loop, OnCancel, OnFailure,
    Operator, Output, Parameter, Places, Setting, Step, Type, Variable,
};

/// Bytes that Systems Manager allows a document:
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// How deep `And`, `Or` and `Not` may be nested.
const CONDITION_DEPTH: usize = 16;

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

    fn parameter(&mut self, node: &Node, name: &str) -> Parameter {
        let mut parameter = Parameter::default();
        let mut typed = false;
        for Entry { at, key, value } in self.members(node, &format!("parameter `{name}`")) {
            match key.as_str() {
                "type" => {
                    typed = true;
                    parameter.kind = self.kind(value);
                }
                "description" => parameter.description = self.text(value, key),
                "default" => parameter.default = default(value),
                "allowedValues" => match value.to_json() {
                    Value::Array(values) => parameter.allowed_values = values,
                    _ => self.error(
                        value.at,
                        format!("`allowedValues` is a list, this is {}", value.describe()),
                    ),
                },
                "allowedPattern" => parameter.allowed_pattern = self.text(value, key),
                "minItems" => parameter.min_items = self.count(value, key),
                "maxItems" => parameter.max_items = self.count(value, key),
                "minChars" => parameter.min_chars = self.count(value, key),
                "maxChars" => parameter.max_chars = self.count(value, key),
                "displayType" | "interpolationType" => {}
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "type",
                        "description",
                        "default",
                        "allowedValues",
                        "allowedPattern",
                        "minItems",
                        "maxItems",
                        "minChars",
                        "maxChars",
                    ],
                    "a parameter",
                ),
            }
        }
        worded(&mut parameter.default, parameter.kind);
        if !typed {
            self.report(
                Diagnostic::error(node.at, format!("parameter `{name}` has no `type`"))
                    .hint("write `type: String`"),
            );
        }
        parameter
    }

    fn variable(&mut self, node: &Node, name: &str) -> Variable {
        let mut variable = Variable::default();
        for Entry { at, key, value } in self.members(node, &format!("variable `{name}`")) {
            match key.as_str() {
                "type" => variable.kind = self.kind(value),
                "description" => variable.description = self.text(value, key),
                "default" => variable.default = default(value),
                other => self.unknown_key(
                    *at,
                    other,
                    &["type", "description", "default"],
                    "a variable",
                ),
            }
        }
        worded(&mut variable.default, variable.kind);
        variable
    }

    fn kind(&mut self, node: &Node) -> Type {
        let text = node.as_str().unwrap_or_default().trim();
        text.parse().unwrap_or_else(|_| {
            self.report(
                Diagnostic::error(node.at, format!("`{text}` is not a type"))
                    .hint("one of String, StringList, Boolean, Integer, StringMap, MapList"),
            );
            Type::String
        })
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

    fn branch(&mut self, inputs: &Node, pointer: &str) -> Branch {
        let mut branch = Branch::default();
        for Entry { at, key, value } in inputs.as_map().unwrap_or_default() {
            match key.as_str() {
                "Choices" => match value.as_list() {
                    Some(choices) => {
                        for node in choices {
                            let kept = branch.choices.len();
                            self.place(node, &format!("{pointer}/inputs/Choices/{kept}"));
                            branch.choices.extend(self.choice(node));
                        }
                    }
                    None => self.error(
                        value.at,
                        format!("`Choices` is a list, this is {}", value.describe()),
                    ),
                },
                "Default" => branch.default = self.text(value, key),
                other => self.unknown_key(
                    *at,
                    other,
                    &["Choices", "Default"],
                    "the inputs of a branch",
                ),
            }
        }
        if inputs.get("Choices").is_none() {
            self.report(
                Diagnostic::error(inputs.at, "the branch has no `Choices`")
                    .hint("write `Choices:` with a list of `NextStep`, `Variable` and an operator"),
            );
        }
        branch
    }

    fn choice(&mut self, node: &Node) -> Option<Choice> {
        if node.as_map().is_none() {
            self.error(
                node.at,
                format!("a choice is a mapping, this is {}", node.describe()),
            );
            return None;
        }
        let next_step = match node.get("NextStep") {
            Some(next) => self.text(next, "NextStep"),
            None => {
                self.report(
                    Diagnostic::error(node.at, "the choice has no `NextStep`")
                        .hint("write `NextStep:` with the name of a step"),
                );
                None
            }
        };
        let condition = self.condition(node, 0)?;
        Some(Choice {
            next_step: next_step?,
            condition,
        })
    }

    /// The condition of a mapping, whose key `NextStep` (if any) belongs to somebody else.
    fn condition(&mut self, node: &Node, depth: usize) -> Option<Condition> {
        if depth > CONDITION_DEPTH {
            self.error(
                node.at,
                format!("conditions are nested more than {CONDITION_DEPTH} levels deep"),
            );
            return None;
        }
        let Some(entries) = node.as_map() else {
            self.error(
                node.at,
                format!("a condition is a mapping, this is {}", node.describe()),
            );
            return None;
        };
        let mut found: Option<Condition> = None;
        let variable = node.get("Variable");
        for Entry { at, key, value } in entries {
            let condition = match key.as_str() {
                "NextStep" if depth == 0 => continue,
                "Variable" => continue,
                "And" => Condition::And(self.conditions(value, depth)?),
                "Or" => Condition::Or(self.conditions(value, depth)?),
                "Not" => Condition::Not(Box::new(self.condition(value, depth + 1)?)),
                name => {
                    let Some(operator) = Operator::ALL.iter().copied().find(|o| o.name() == name)
                    else {
                        let known = Operator::ALL
                            .iter()
                            .map(|o| o.name())
                            .chain(["And", "Or", "Not", "Variable", "NextStep"]);
                        let diagnostic =
                            Diagnostic::error(*at, format!("`{name}` is not an operator"));
                        self.report(match name {
                            "StringNotEquals" => {
                                diagnostic.hint("write `Not:` with `StringEquals` below it")
                            }
                            _ => match nearest(name, known).first() {
                                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                                None => diagnostic
                                    .hint("one of StringEquals, BooleanEquals, NumericEquals, …"),
                            },
                        });
                        return None;
                    };
                    let Some(variable) = variable else {
                        self.report(
                            Diagnostic::error(
                                *at,
                                format!("`{name}` has no `Variable` to compare with"),
                            )
                            .hint("write `Variable: '{{ step.Output }}'` beside it"),
                        );
                        return None;
                    };
                    Condition::Is {
                        variable: variable.to_json(),
                        operator,
                        operand: value.to_json(),
                    }
                }
            };
            if found.replace(condition).is_some() {
                self.report(
                    Diagnostic::error(*at, "the condition has more than one operator")
                        .hint("put each into a list under `And` or `Or`"),
                );
                return None;
            }
        }
        if found.is_none() {
            self.report(
                Diagnostic::error(node.at, "the condition has no operator")
                    .hint("write `StringEquals: …` beside `Variable`"),
            );
        }
        found
    }

    fn conditions(&mut self, node: &Node, depth: usize) -> Option<Vec<Condition>> {
        let Some(items) = node.as_list() else {
            self.error(
                node.at,
                format!("`And` and `Or` take a list, this is {}", node.describe()),
            );
            return None;
        };
        items
            .iter()
            .map(|item| self.condition(item, depth + 1))
            .collect()
    }

    fn repeat(&mut self, inputs: &Node, pointer: &str) -> Option<Loop> {
        let (mut steps, mut iterators, mut kind, mut condition, mut max) =
            (Vec::new(), None, Type::String, None, None);
        for Entry { at, key, value } in inputs.as_map().unwrap_or_default() {
            match key.as_str() {
                "Steps" => steps = self.steps(value, &format!("{pointer}/inputs/Steps"), false),
                "Iterators" => iterators = Some(value.to_json()),
                "IteratorDataType" => {
                    kind = self.kind(value);
                    if matches!(kind, Type::StringList | Type::MapList) {
                        self.report(
                            Diagnostic::error(
                                value.at,
                                format!("the elements of a loop cannot be of type {kind}"),
                            )
                            .hint("one of String, Integer, Boolean, StringMap"),
                        );
                    }
                }
                "LoopCondition" => condition = Some(self.condition(value, 1)?),
                "MaxIterations" => max = self.setting(value, key),
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "Steps",
                        "Iterators",
                        "IteratorDataType",
                        "LoopCondition",
                        "MaxIterations",
                    ],
                    "the inputs of a loop",
                ),
            }
        }
        if inputs.get("Steps").is_none() {
            self.error(inputs.at, "the loop has no `Steps`");
        }
        let iteration = match (iterators, condition) {
            (Some(iterators), None) => Iteration::Each { iterators, kind },
            (None, Some(condition)) => Iteration::While(condition),
            _ => {
                self.report(
                    Diagnostic::error(inputs.at, "a loop takes one of `Iterators` and `LoopCondition`")
                        .hint("write `Iterators:` to go over a list, `LoopCondition:` to repeat while it holds"),
                );
                return None;
            }
        };
        Some(Loop {
            steps,
            iteration,
            max_iterations: max,
        })
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

    fn members<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.kind {
            Kind::Null => &[],
            Kind::Map(entries) => entries,
            _ => {
                self.error(
                    node.at,
                    format!("{what} should be a mapping, this is {}", node.describe()),
                );
                &[]
            }
        }
    }

    /// Text, without the blanks around it. Numbers and booleans are taken as they are written.
    fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::String(text) => Some(text.trim().to_owned()),
            Kind::Number(number) => Some(number.to_string()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Null => None,
            _ => {
                self.error(
                    node.at,
                    format!("`{what}` is text, this is {}", node.describe()),
                );
                None
            }
        }
    }

    fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        match node.as_list() {
            Some(items) => items
                .iter()
                .filter_map(|item| self.text(item, what))
                .collect(),
            None => {
                self.error(
                    node.at,
                    format!("`{what}` is a list, this is {}", node.describe()),
                );
                Vec::new()
            }
        }
    }

    /// A boolean; AWS's own documents also write it as text, and YAML 1.1 had more words for it.
    fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        let value = match &node.kind {
            Kind::Bool(value) => Some(*value),
            Kind::String(text) => truth(text),
            _ => None,
        };
        if value.is_none() {
            self.report(
                Diagnostic::error(
                    node.at,
                    format!("`{what}` is true or false, this is {}", node.describe()),
                )
                .hint(format!("write `{what}: true`")),
            );
        }
        value
    }

    fn count(&mut self, node: &Node, what: &str) -> Option<u64> {
        let count = match &node.kind {
            Kind::Number(number) => number.as_u64(),
            Kind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if count.is_none() {
            self.error(node.at, format!("`{what}` is a whole number, 0 or more"));
        }
        count
    }

    fn setting(&mut self, node: &Node, what: &str) -> Option<Setting> {
        match &node.kind {
            Kind::String(text) if text.contains("{{") => {
                Some(Setting::Reference(text.trim().to_owned()))
            }
            _ => self.count(node, what).map(Setting::Literal),
        }
    }

    fn unknown_key(&mut self, at: Position, key: &str, known: &[&str], what: &str) {
        let diagnostic = Diagnostic::error(at, format!("`{key}` is not a key of {what}"));
        self.report(match nearest(key, known.iter().copied()).first() {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint(format!("one of {}", known.join(", "))),
        });
    }
}

/// The words for true and false, those that only YAML 1.1 had included.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A default; nothing is none.
fn default(node: &Node) -> Option<Value> {
    Some(node.to_json()).filter(|value| !value.is_null())
}

/// `default: yes` of a boolean.
fn worded(default: &mut Option<Value>, kind: Type) {
    if kind == Type::Boolean
        && let Some(value) = default.as_ref().and_then(Value::as_str).and_then(truth)
    {
        *default = Some(Value::Bool(value));
    }
}
