//! The document model. The catalog and the hub build documents in Rust; [`crate::parse`] reads them.

use std::{collections::HashMap, fmt, str::FromStr};

use indexmap::IndexMap;
use serde_json::{Map, Value};
use stanch_syntax::Position;
use stanch_types::Call;

use crate::ActionName;

/// An Automation document of schema 0.3.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-syntax-data-elements-parameters.html>
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// What the document is for.
    pub description: Option<String>,
    /// The role to run as: an ARN or one whole `{{ Parameter }}`.
    pub assume_role: Option<String>,
    /// The parameters, in the order written.
    pub parameters: IndexMap<String, Parameter>,
    /// What `aws:updateVariable` may change.
    pub variables: IndexMap<String, Variable>,
    /// `mainSteps`.
    pub steps: Vec<Step>,
    /// `step.Output` names whose values are the execution's outputs.
    pub outputs: Vec<String>,
    /// Attachments: file name to checksums, as written.
    pub files: Map<String, Value>,
    /// Where things stood in the text; empty for a document built in Rust. Not part of equality.
    pub places: Places,
}

/// The type of a parameter, a variable or a step's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Type {
    /// Text.
    #[default]
    String,
    /// A list of texts.
    StringList,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A JSON object.
    StringMap,
    /// A list of JSON objects.
    MapList,
    /// Text that names an AWS resource.
    Resource(ResourceType),
    /// A list of such texts.
    ResourceList(ResourceType),
}

/// The resource types that a parameter may have.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/populating-input-parameters.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// `AWS::EC2::Instance::Id`
    Ec2InstanceId,
    /// `AWS::S3::Bucket::Name`
    S3BucketName,
    /// `AWS::IAM::Role::Arn`
    IamRoleArn,
}

impl ResourceType {
    const ALL: [Self; 3] = [Self::Ec2InstanceId, Self::S3BucketName, Self::IamRoleArn];

    /// The name as it stands in a document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ec2InstanceId => "AWS::EC2::Instance::Id",
            Self::S3BucketName => "AWS::S3::Bucket::Name",
            Self::IamRoleArn => "AWS::IAM::Role::Arn",
        }
    }

    /// What a value must match, from the start to the end.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Ec2InstanceId => "m?i-([a-z0-9]{8}|[a-z0-9]{17})",
            Self::S3BucketName => "[0-9a-z][a-z0-9.-]{1,61}[0-9a-z]",
            Self::IamRoleArn => {
                "arn:(aws|aws-cn|aws-us-gov|aws-iso(-[a-z])?|aws-eusc):iam::[0-9]{12}:role/.*"
            }
        }
    }
}

impl Type {
    /// True for the types whose values are lists.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(
            self,
            Self::StringList | Self::MapList | Self::ResourceList(_)
        )
    }

    /// The type of the values, with resource types taken for the texts that they are.
    #[must_use]
    pub const fn base(self) -> Self {
        match self {
            Self::Resource(_) => Self::String,
            Self::ResourceList(_) => Self::StringList,
            other => other,
        }
    }

    /// True if `value` is of this type as it is, without conversion.
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        let each =
            |test: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(test));
        match self.base() {
            Self::StringList => each(Value::is_string),
            Self::MapList => each(Value::is_object),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::StringMap => value.is_object(),
            _ => value.is_string(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("String"),
            Self::StringList => f.write_str("StringList"),
            Self::Boolean => f.write_str("Boolean"),
            Self::Integer => f.write_str("Integer"),
            Self::StringMap => f.write_str("StringMap"),
            Self::MapList => f.write_str("MapList"),
            Self::Resource(resource) => f.write_str(resource.name()),
            Self::ResourceList(resource) => write!(f, "List<{}>", resource.name()),
        }
    }
}

/// Not the name of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a type")]
pub struct UnknownType(String);

impl FromStr for Type {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let resource = |name: &str| ResourceType::ALL.into_iter().find(|r| r.name() == name);
        Ok(match text {
            "String" => Self::String,
            "StringList" => Self::StringList,
            "Boolean" => Self::Boolean,
            "Integer" => Self::Integer,
            "StringMap" => Self::StringMap,
            "MapList" => Self::MapList,
            _ => text
                .strip_prefix("List<")
                .and_then(|rest| rest.strip_suffix('>'))
                .and_then(resource)
                .map(Self::ResourceList)
                .or_else(|| resource(text).map(Self::Resource))
                .ok_or_else(|| UnknownType(text.to_owned()))?,
        })
    }
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameter {
    /// Its type.
    pub kind: Type,
    /// What it is for.
    pub description: Option<String>,
    /// Used where the caller gives none. Not matched against `allowed_pattern`: documents of AWS
    /// have defaults that would fail.
    pub default: Option<Value>,
    /// The only values allowed.
    pub allowed_values: Vec<Value>,
    /// A Java regular expression that text values must match as a whole.
    pub allowed_pattern: Option<String>,
    /// Fewest elements of a list.
    pub min_items: Option<u64>,
    /// Most elements of a list.
    pub max_items: Option<u64>,
    /// Fewest characters of a text.
    pub min_chars: Option<u64>,
    /// Most characters of a text.
    pub max_chars: Option<u64>,
}

impl Parameter {
    /// A required parameter.
    #[must_use]
    pub fn required(kind: Type) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variable {
    /// Its type.
    pub kind: Type,
    /// What it is for.
    pub description: Option<String>,
    /// Its first value.
    pub default: Option<Value>,
}

/// A number that may be given by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// The number.
    Literal(u64),
    /// Text with a reference, resolved when the step starts.
    Reference(String),
}

/// What happens after a step has failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The execution stops.
    #[default]
    Abort,
    /// As if it had succeeded.
    Continue,
    /// This step comes next, even if the failed one `isEnd`.
    Step(String),
}

/// What happens when the execution is cancelled while the step runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnCancel {
    /// The execution stops.
    #[default]
    Abort,
    /// This step and those after it run, for at most two minutes.
    Step(String),
}

/// A value taken from what a step's action returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name, after the dot in `{{ step.Name }}`.
    pub name: String,
    /// Where the value is ([`crate::Selector`]).
    pub selector: String,
    /// Its type; text where none is given.
    pub kind: Type,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, unique in the document.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it does.
    pub action: Action,
    /// How often it is tried; once by default.
    pub max_attempts: Option<Setting>,
    /// Seconds that each attempt may take.
    pub timeout_seconds: Option<Setting>,
    /// After a failure.
    pub on_failure: Option<OnFailure>,
    /// After a cancellation.
    pub on_cancel: Option<OnCancel>,
    /// The execution ends after this step has succeeded.
    pub is_end: bool,
    /// The step after this one, where it is not the next in the list.
    pub next_step: Option<String>,
    /// Whether the execution fails with this step; by default unless it continues on failure.
    pub is_critical: Option<bool>,
    /// What is kept of the answer.
    pub outputs: Vec<Output>,
}

impl Step {
    /// A step that does `action`, with everything else by default.
    pub fn new(name: impl Into<String>, action: Action) -> Self {
        Self {
            name: name.into(),
            description: None,
            action,
            max_attempts: None,
            timeout_seconds: None,
            on_failure: None,
            on_cancel: None,
            is_end: false,
            next_step: None,
            is_critical: None,
            outputs: Vec::new(),
        }
    }

    /// A step that makes `call` (`aws:executeAwsApi`). Text of the parameters that looks like a
    /// reference is one.
    pub fn call(name: impl Into<String>, call: &Call) -> Self {
        let mut inputs = Map::new();
        inputs.insert("Service".into(), call.service.clone().into());
        inputs.insert("Api".into(), call.operation.clone().into());
        if let Value::Object(params) = &call.params {
            inputs.extend(params.clone());
        }
        Self::new(name, Action::run(ActionName::ExecuteAwsApi, inputs))
    }

    /// Adds an output.
    #[must_use]
    pub fn output(
        mut self,
        name: impl Into<String>,
        selector: impl Into<String>,
        kind: Type,
    ) -> Self {
        self.outputs.push(Output {
            name: name.into(),
            selector: selector.into(),
            kind,
        });
        self
    }

    /// Whether the execution fails with this step.
    #[must_use]
    pub fn critical(&self) -> bool {
        self.is_critical
            .unwrap_or(self.on_failure != Some(OnFailure::Continue))
    }

    /// The steps of the loop's body; none where the step is no loop.
    #[must_use]
    pub fn body(&self) -> &[Self] {
        match &self.action {
            Action::Loop(body) => &body.steps,
            _ => &[],
        }
    }
}

/// What a step does. Branches and loops shape the graph and are typed; the inputs of everything
/// else are resolved when the step runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Every other action, with its inputs.
    Run {
        /// Which.
        name: ActionName,
        /// Its inputs, references and all.
        inputs: Map<String, Value>,
    },
    /// `aws:branch`.
    Branch(Branch),
    /// `aws:loop`.
    Loop(Loop),
}

impl Action {
    /// An action with inputs that are resolved when it runs.
    #[must_use]
    pub const fn run(name: ActionName, inputs: Map<String, Value>) -> Self {
        Self::Run { name, inputs }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> ActionName {
        match self {
            Self::Run { name, .. } => *name,
            Self::Branch(_) => ActionName::Branch,
            Self::Loop(_) => ActionName::Loop,
        }
    }
}

/// `aws:branch`: the first choice that holds says which step comes next.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Branch {
    /// Tried in this order.
    pub choices: Vec<Choice>,
    /// The step where none holds. Without it, the step after the branch comes next.
    pub default: Option<String>,
}

/// A choice of a branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The step that comes next.
    pub next_step: String,
    /// When it does.
    pub condition: Condition,
}

/// A condition of a branch or a loop.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A comparison.
    Is {
        /// What is compared: usually a reference.
        variable: Value,
        /// How.
        operator: Operator,
        /// With what.
        operand: Value,
    },
    /// All hold.
    And(Vec<Self>),
    /// One holds.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// How a branch compares.
        ///
        /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-branch-condition.html>
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operator { $($(#[$doc])* $name),+ }

        impl Operator {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The key as it stands in a document.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}
operators! {
    /// The texts are equal.
    StringEquals,
    /// The texts are equal but for case.
    EqualsIgnoreCase,
    /// The text begins with the operand.
    StartsWith,
    /// The text ends with the operand.
    EndsWith,
    /// The text contains the operand.
    Contains,
    /// `=`
    NumericEquals,
    /// `>`
    NumericGreater,
    /// `<`
    NumericLesser,
    /// `>=`
    NumericGreaterOrEquals,
    /// `<=`
    NumericLesserOrEquals,
    /// The truth values are equal.
    BooleanEquals,
}

/// `aws:loop`.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-loop.html>
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// What is repeated.
    pub steps: Vec<Step>,
    /// Over what, or for how long.
    pub iteration: Iteration,
    /// Most rounds, 1 to 100.
    pub max_iterations: Option<Setting>,
}

/// What drives a loop.
#[derive(Debug, Clone, PartialEq)]
pub enum Iteration {
    /// Once for each element of a list.
    Each {
        /// The list, or a reference to one.
        iterators: Value,
        /// The type of the elements: String, Integer, Boolean or StringMap.
        kind: Type,
    },
    /// Again as long as this holds after a round.
    While(Condition),
}

/// Where the parts of a document stood in its text: JSON pointers to positions.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pointers: HashMap<String, Position>,
    misread: Vec<String>,
}

impl Places {
    pub(crate) fn insert(&mut self, pointer: String, at: Position) {
        self.pointers.insert(pointer, at);
    }

    /// Notes the name of a step that is in the text and was not understood.
    pub(crate) fn misread(&mut self, step: Option<&str>) {
        self.misread.extend(step.map(|name| name.trim().to_owned()));
    }

    /// Whether a step of this name is in the text, though not in the document.
    pub(crate) fn was_misread(&self, step: &str) -> bool {
        self.misread.iter().any(|name| name == step)
    }

    /// Where the value under a JSON pointer (such as `/mainSteps/2/inputs/Service`) stood, or the
    /// nearest thing around it. Line 0 where the document has no text.
    #[must_use]
    pub fn find(&self, pointer: &str) -> Position {
        let mut pointer = pointer;
        loop {
            match (self.pointers.get(pointer), pointer.rfind('/')) {
                (Some(at), _) => return *at,
                (None, Some(slash)) => pointer = pointer.split_at(slash).0,
                (None, None) => return Position::default(),
            }
        }
    }
}

/// Places are about the text, not about the document.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
