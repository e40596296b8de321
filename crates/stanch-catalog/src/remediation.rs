//! What a catalog file says, once it is understood.

use std::{collections::BTreeSet, fmt, mem::discriminant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stanch_types::ControlRef;

use crate::{expression::Expression, impact::Probe, template::Template};

/// One fix for one misconfiguration of one type of resource.
#[derive(Debug, Clone)]
pub struct Remediation {
    /// Its unique name, `S3BlockPublicAccess`.
    pub name: String,
    /// One line for people, in the imperative.
    pub title: String,
    /// What is wrong without it, and what it does about it.
    pub description: String,
    /// The types of resource it fixes, as the AWS Security Finding Format names them. The first is
    /// the one that AWS's own findings carry.
    pub resources: Vec<String>,
    /// Fixed once for an account and not once per region.
    pub global: bool,
    /// The controls whose findings it fixes.
    pub controls: Vec<Control>,
    /// Where the mapping of the controls is documented.
    pub sources: Vec<String>,
    /// What may go wrong, and whether there is a way back.
    pub safety: Safety,
    /// Its inputs, in the order written.
    pub parameters: Vec<Parameter>,
    /// What is observed, in order; a later read may use earlier ones.
    pub reads: Vec<Read>,
    /// Values computed from what was read, in order.
    pub lets: Vec<Let>,
    /// True when there is nothing to fix.
    pub compliant: Expression,
    /// Cases in which it must not begin.
    pub refusals: Vec<Refusal>,
    /// Facts about what the change may touch.
    pub impact: Vec<Probe>,
    /// What is compared for undo and drift; all reads if not given.
    pub state: Option<Expression>,
    /// The requests that fix it.
    pub apply: Vec<Step>,
    /// The requests that put back what was observed before.
    pub undo: Vec<Step>,
    /// How often the check is read again after the change.
    pub verify: Verify,
    /// Cases that show it and prove it.
    pub examples: Vec<Example>,
    /// SHA-256, in hexadecimal, of what a resource is looked at by and what changes it: a plan of another
    /// file with the same one can be verified, gone on with and taken back by this one.
    pub basis: String,
    /// SHA-256, in hexadecimal, of all that decides which requests are sent.
    pub digest: String,
}

/// A control of a framework: `security-hub` `S3.8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Control {
    /// `security-hub`, `config`, `prowler`, `cis-3.0.0`, `pci-3.2.1`, `nist-800-53-r5`, …
    pub framework: String,
    /// The framework's own id.
    pub id: String,
}

impl Control {
    /// The control `id` of `framework`.
    pub fn new(framework: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            framework: framework.into(),
            id: id.into(),
        }
    }

    /// The name under which a finding carries the control; none for a mere requirement, such as
    /// NIST's.
    #[must_use]
    pub fn reference(&self) -> Option<ControlRef> {
        let id = self.id.clone();
        match self.framework.as_str() {
            "security-hub" => Some(ControlRef::SecurityHub(id)),
            "config" => Some(ControlRef::ConfigRule(id)),
            "prowler" => Some(ControlRef::Prowler(id)),
            "type" => Some(ControlRef::Product(id)),
            standard => {
                let (standard, version) = standard.split_once('-')?;
                let version = version.to_owned();
                match standard {
                    "cis" => Some(ControlRef::Cis { version, id }),
                    "pci" => Some(ControlRef::Pci { version, id }),
                    _ => None,
                }
            }
        }
    }
}

/// `security-hub S3.8`
impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.framework, self.id)
    }
}

impl Remediation {
    /// What the control is called that a finding calls `found`: so, and as other products call what this
    /// fixes. Each product has names of its own; which of those of the same product a finding is about,
    /// it says itself.
    #[must_use]
    pub fn names_of(&self, found: &str) -> BTreeSet<String> {
        let product = found
            .parse()
            .ok()
            .map(|name: ControlRef| discriminant(&name));
        let others = self.controls.iter().filter_map(Control::reference);
        let others = others.filter(|other| product != Some(discriminant(other)));
        others
            .map(|other| other.to_string())
            .chain([found.to_owned()])
            .collect()
    }

    /// Whether people who say `named` speak of a finding that calls its control `found`: they name the
    /// control, as any product does, or this remediation.
    #[must_use]
    pub fn is_meant(&self, named: &str, found: &str) -> bool {
        let mut names = self.names_of(found);
        names.insert(self.name.clone());
        names.iter().any(|name| name.eq_ignore_ascii_case(named))
    }
}

/// What a change may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// No user can notice: may run automatically.
    Safe,
    /// Someone may notice: automatic only where policy says so.
    Guarded,
    /// Something is lost: always with an approval.
    Destructive,
}

/// What may go wrong, and whether there is a way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safety {
    /// What the change may cost.
    pub class: Class,
    /// Who may notice, and what.
    pub impact: String,
    /// The way back.
    pub undo: Undo,
    /// Undone by itself when the change fails or its verification does.
    pub automatic_undo: bool,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// The observed state is restored as it was.
    Exact,
    /// There is none.
    None {
        /// Why.
        because: String,
    },
}

/// The type of a parameter, as Automation documents name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of text or of whole numbers.
    StringList,
}

/// An input of a remediation.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name, by which templates and expressions call it.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Taken from the finding. A parameter that has it cannot be set by a user.
    pub from: Option<Expression>,
    /// The value for findings of certain controls, by the control's id.
    pub for_control: Map<String, Value>,
    /// The value when nothing else gives one.
    pub default: Option<Value>,
    /// Its type.
    pub kind: ParameterType,
    /// A regular expression that the whole text must match.
    pub pattern: Option<regex_lite::Regex>,
    /// Values that must be taken.
    pub accepts: Vec<Value>,
    /// Values that must be refused.
    pub rejects: Vec<Value>,
}

/// Something to observe.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The name of what is seen.
    pub name: String,
    /// botocore's name of the service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// Its input.
    pub with: Template,
    /// Error codes that mean "there is none": the value is then null. Any other error is an error.
    pub absent: Vec<String>,
    /// The part of the answer that is kept.
    pub pick: Option<Expression>,
    /// All pages are read and their lists joined.
    pub paginate: bool,
    /// The ARNs that a session policy is narrowed to.
    pub on: Vec<Template>,
    /// Not read, and null, when false.
    pub when: Option<Expression>,
    /// Once for each element of this list, which is then called `item`; the value is then a list of
    /// `{item, value}`.
    pub each: Option<Expression>,
}

/// A case in which a change must not begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// True in that case.
    pub when: Expression,
    /// What people are told.
    pub because: String,
}

/// A value computed from what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    /// Its name.
    pub name: String,
    /// Once for each element of this list, which is then called `item`; the value is then a list of
    /// `{item, value}`.
    pub each: Option<Expression>,
    /// Where it comes from.
    pub value: Computed,
}

/// Where a computed value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Computed {
    /// An expression.
    Expression(Expression),
    /// A function of [`crate::function`].
    Function {
        /// Its name.
        name: String,
        /// Its input.
        with: Template,
    },
}

/// A step of `apply` or `undo`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name: an Automation step's.
    pub name: String,
    /// Left out when false.
    pub when: Option<Expression>,
    /// Once for each element of this list, which is then called `item`.
    pub each: Option<Expression>,
    /// What it does.
    pub action: Action,
    /// The ARNs that the session policy is narrowed to.
    pub on: Vec<Template>,
    /// Further IAM actions that it needs, each with its ARNs.
    pub allow: Vec<(String, Vec<Template>)>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes a call.
    Call {
        /// botocore's name of the service.
        service: String,
        /// The operation.
        operation: String,
        /// Its input.
        with: Template,
        /// What later steps and `undo` need of the answer.
        outputs: Vec<Output>,
    },
    /// Reads until a value is one of those wanted.
    Wait {
        /// botocore's name of the service.
        service: String,
        /// The operation, a read.
        operation: String,
        /// Its input.
        with: Template,
        /// What to look at in the answer, in Automation's selector syntax.
        select: String,
        /// The values that end the wait.
        values: Vec<Value>,
        /// Seconds after which it fails.
        timeout: u64,
    },
    /// Waits.
    Sleep {
        /// For how many seconds.
        seconds: u64,
    },
    /// Waits for a person's approval of the steps that follow.
    Approve {
        /// What is to be approved, as the file has it.
        message: String,
        /// The same, filled in: its only member is `Message`.
        with: Template,
    },
}

impl Action {
    /// Its input, if it has any.
    pub(crate) const fn with(&self) -> Option<&Template> {
        match self {
            Self::Call { with, .. } | Self::Wait { with, .. } | Self::Approve { with, .. } => {
                Some(with)
            }
            Self::Sleep { .. } => None,
        }
    }
}

/// A part of a call's answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Where it is in the answer, in Automation's selector syntax.
    pub select: String,
    /// Its type as Automation names it: `String`, `StringList`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// How often the check is read again after the change, for answers that are consistent only after
/// a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Times the check is read, at most.
    pub attempts: u32,
    /// Seconds between two of them.
    pub every: u64,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            attempts: 5,
            every: 3,
        }
    }
}

/// A case that shows the remediation and proves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What it shows.
    pub title: String,
    /// Calls that plant it in an emptied emulator.
    pub given: Vec<Given>,
    /// The control of the finding.
    pub control: ControlRef,
    /// The finding's resource type, if it is not the remediation's first.
    pub resource_type: Option<String>,
    /// The finding's resource id, over `account`, `region`, `partition` and the names of `given`.
    pub resource: Template,
    /// The finding's details of the resource.
    pub details: Template,
    /// Settings of the user.
    pub settings: Map<String, Value>,
    /// Nothing is to be fixed here, and nothing may be changed.
    pub compliant: bool,
    /// Reads whose answers must be the same before and after.
    pub also: Vec<Given>,
}

/// A call of an example; its answer is called by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The name of its answer; empty if nothing asks for it.
    pub name: String,
    /// botocore's name of the service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// Its input.
    pub with: Template,
    /// The part of the answer that counts.
    pub pick: Option<Expression>,
}
