//! From a document back to its text.

use serde_json::{Map, Value, json};

use crate::{
    Action, Condition, Document, Iteration, OnCancel, OnFailure, Output, Parameter, Setting, Step,
    Variable,
};

impl Document {
    /// The document as JSON, with the keys in the order documents have them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("schemaVersion".into(), "0.3".into());
        put(&mut object, "description", self.description.clone());
        put(&mut object, "assumeRole", self.assume_role.clone());
        if !self.parameters.is_empty() {
            let parameters: Map<_, _> = self
                .parameters
                .iter()
                .map(|(n, p)| (n.clone(), parameter(p)))
                .collect();
            object.insert("parameters".into(), parameters.into());
        }
        if !self.variables.is_empty() {
            let variables: Map<_, _> = self
                .variables
                .iter()
                .map(|(n, v)| (n.clone(), variable(v)))
                .collect();
            object.insert("variables".into(), variables.into());
        }
        object.insert("mainSteps".into(), self.steps.iter().map(step).collect());
        if !self.outputs.is_empty() {
            object.insert("outputs".into(), json!(self.outputs));
        }
        if !self.files.is_empty() {
            object.insert("files".into(), self.files.clone().into());
        }
        Value::Object(object)
    }

    /// The document as YAML.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        stanch_syntax::to_yaml(&self.to_json())
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), parameter.kind.to_string().into());
    put(&mut object, "description", parameter.description.clone());
    put(&mut object, "default", parameter.default.clone());
    if !parameter.allowed_values.is_empty() {
        object.insert(
            "allowedValues".into(),
            parameter.allowed_values.clone().into(),
        );
    }
    put(
        &mut object,
        "allowedPattern",
        parameter.allowed_pattern.clone(),
    );
    put(&mut object, "minItems", parameter.min_items);
    put(&mut object, "maxItems", parameter.max_items);
    put(&mut object, "minChars", parameter.min_chars);
    put(&mut object, "maxChars", parameter.max_chars);
    object.into()
}

fn variable(variable: &Variable) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), variable.kind.to_string().into());
    put(&mut object, "description", variable.description.clone());
    put(&mut object, "default", variable.default.clone());
    object.into()
}

fn step(step: &Step) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), step.name.clone().into());
    object.insert("action".into(), step.action.name().as_str().into());
    put(&mut object, "description", step.description.clone());
    put(
        &mut object,
        "maxAttempts",
        step.max_attempts.as_ref().map(setting),
    );
    put(
        &mut object,
        "timeoutSeconds",
        step.timeout_seconds.as_ref().map(setting),
    );
    put(
        &mut object,
        "onFailure",
        step.on_failure.as_ref().map(ToString::to_string),
    );
    put(
        &mut object,
        "onCancel",
        step.on_cancel.as_ref().map(|on_cancel| match on_cancel {
            OnCancel::Abort => "Abort".to_owned(),
            OnCancel::Step(step) => format!("step:{step}"),
        }),
    );
    put(&mut object, "isCritical", step.is_critical);
    put(&mut object, "nextStep", step.next_step.clone());
    if step.is_end {
        object.insert("isEnd".into(), true.into());
    }
    object.insert("inputs".into(), inputs(&step.action));
    if !step.outputs.is_empty() {
        object.insert("outputs".into(), step.outputs.iter().map(output).collect());
    }
    object.into()
}

impl std::fmt::Display for OnFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Abort => f.write_str("Abort"),
            Self::Continue => f.write_str("Continue"),
            Self::Step(step) => write!(f, "step:{step}"),
        }
    }
}

fn inputs(action: &Action) -> Value {
    let mut object = Map::new();
    match action {
        Action::Run { inputs, .. } => object = inputs.clone(),
        Action::Branch(branch) => {
            let choices = branch
                .choices
                .iter()
                .map(|choice| {
                    let mut members = Map::new();
                    members.insert("NextStep".into(), choice.next_step.clone().into());
                    members.append(&mut condition(&choice.condition));
                    Value::Object(members)
                })
                .collect();
            object.insert("Choices".into(), choices);
            put(&mut object, "Default", branch.default.clone());
        }
        Action::Loop(body) => {
            match &body.iteration {
                Iteration::Each { iterators, kind } => {
                    object.insert("Iterators".into(), iterators.clone());
                    object.insert("IteratorDataType".into(), kind.to_string().into());
                }
                Iteration::While(test) => {
                    object.insert("LoopCondition".into(), condition(test).into());
                }
            }
            put(
                &mut object,
                "MaxIterations",
                body.max_iterations.as_ref().map(setting),
            );
            object.insert("Steps".into(), body.steps.iter().map(step).collect());
        }
    }
    object.into()
}

fn condition(test: &Condition) -> Map<String, Value> {
    let list = |tests: &[Condition]| {
        tests
            .iter()
            .map(|t| Value::Object(condition(t)))
            .collect::<Value>()
    };
    let mut object = Map::new();
    match test {
        Condition::Is {
            variable,
            operator,
            operand,
        } => {
            object.insert("Variable".into(), variable.clone());
            object.insert(operator.name().into(), operand.clone());
        }
        Condition::And(tests) => {
            object.insert("And".into(), list(tests));
        }
        Condition::Or(tests) => {
            object.insert("Or".into(), list(tests));
        }
        Condition::Not(test) => {
            object.insert("Not".into(), condition(test).into());
        }
    }
    object
}

fn output(output: &Output) -> Value {
    json!({ "Name": output.name, "Selector": output.selector, "Type": output.kind.to_string() })
}

fn setting(setting: &Setting) -> Value {
    match setting {
        Setting::Literal(number) => (*number).into(),
        Setting::Reference(text) => text.clone().into(),
    }
}
