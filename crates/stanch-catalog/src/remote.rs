//! What an exported document asks of the member account's function, and what it is told. The
//! function only reads: whoever runs the document sends the requests.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};
use stanch_types::{AccountId, Region};

use crate::{
    export::{OPTIONAL, VARIANT, is_scripted, optional, variant},
    parameter::ParameterError,
    plan::{
        Observation, Observed, Plan, PlanError, PlannedAction, PlannedStep, ResourceId, Stage,
        Subject,
    },
    remediation::{Remediation, Step},
};

/// The name of what an exported document saw before it changed anything, as its rollback takes it: the
/// JSON of it, in pieces.
pub const BEFORE: &str = "Before";

/// The characters of a text that StartAutomationExecution takes in a parameter:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html>.
pub const MOST_TEXT: usize = 512;

/// The texts that it takes in one parameter.
pub const MOST_TEXTS: usize = 50;

/// A question of an exported document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "Stage", rename_all = "kebab-case")]
enum Question {
    /// Which requests fix it?
    Apply(About),
    /// Which requests put back what was seen before?
    Undo(About),
    /// Is it so now?
    Verify(About),
    /// What is in this element of a loop?
    #[serde(rename_all = "PascalCase")]
    Unpack { item: Map<String, Value> },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct About {
    remediation: String,
    digest: String,
    account: AccountId,
    region: Region,
    #[serde(deserialize_with = "started")]
    time: Timestamp,
    parameters: Map<String, Value>,
    #[serde(default, deserialize_with = "joined")]
    before: Option<Before>,
    #[serde(default)]
    outputs: Map<String, Value>,
    #[serde(default, deserialize_with = "limited")]
    approved: Option<Approved>,
}

/// The requests that a document may send, and no others: its parameter `Approved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Approved {
    /// When the finding was taken in.
    pub time: Timestamp,
    /// [`Plan::requests_hash`].
    pub requests: String,
}

impl Approved {
    /// Lets a document carry out this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            time: plan.time,
            requests: plan.requests_hash(),
        }
    }
}

/// What was seen before a change: what `undo` needs of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Before {
    time: Timestamp,
    observed: Map<String, Value>,
    state: Value,
}

/// A value's JSON in pieces, since a parameter of an execution takes a list of short texts only.
fn pieces(value: &impl Serialize) -> Vec<String> {
    let text = json!(value).to_string();
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(MOST_TEXT)
        .map(String::from_iter)
        .collect()
}

fn joined<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Before>, D::Error> {
    let text = Vec::<String>::deserialize(deserializer)?.concat();
    serde_json::from_str(&text)
        .map(Some)
        .map_err(D::Error::custom)
}

/// `{}`, the default, limits nothing.
fn limited<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Approved>, D::Error> {
    let given = Map::deserialize(deserializer)?;
    if given.is_empty() {
        return Ok(None);
    }
    let approved = serde_json::from_value(Value::Object(given));
    approved.map(Some).map_err(D::Error::custom)
}

/// `global:DATE_TIME` in UTC, `2018-08-21_10.30.05`: when the execution began.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/build-runbooks.html>.
fn started<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = DateTime::strptime("%Y-%m-%d_%H.%M.%S", &text)
        .and_then(|time| time.to_zoned(TimeZone::UTC));
    time.map(|time| time.timestamp()).map_err(D::Error::custom)
}

/// An invocation of the function.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation(Question);

/// Why the function has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The payload is not one of an exported document.
    #[error("the payload is not one of an exported document")]
    Payload(#[from] serde_json::Error),
    /// A parameter that the remediation does not take.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// No plan can be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The change has not had its effect, or not yet.
    #[error("`{0}` is not as it should be yet")]
    NotYet(String),
    /// The catalog does not have the remediation.
    #[error("the catalog has no remediation `{0}`; the document is of another release")]
    Unknown(String),
    /// What would be sent is not what was approved.
    #[error("the requests of `{0}` are no longer those that were approved; nothing is sent")]
    NotApproved(String),
    /// A rollback without what was seen before.
    #[error(
        "`Before` is missing: give the output `Plan.Before` of the execution that is to be undone"
    )]
    NoBefore,
}

impl Invocation {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one of an exported document.
    pub fn new(payload: &Value) -> Result<Self, InvocationError> {
        Ok(Self(Question::deserialize(payload)?))
    }

    /// The remediation that it is about, if it is about one.
    #[must_use]
    pub fn remediation(&self) -> Option<&str> {
        self.about().map(|about| about.remediation.as_str())
    }

    const fn about(&self) -> Option<&About> {
        match &self.0 {
            Question::Apply(about) | Question::Undo(about) | Question::Verify(about) => Some(about),
            Question::Unpack { .. } => None,
        }
    }

    /// The answer, where neither a remediation nor a read is needed for it.
    #[must_use]
    pub fn at_once(&self) -> Option<Value> {
        match &self.0 {
            Question::Unpack { item } => Some(Value::Object(item.clone())),
            Question::Apply(_) | Question::Undo(_) | Question::Verify(_) => None,
        }
    }

    /// What has to be read before the answer; none if nothing has.
    ///
    /// # Errors
    /// The document was exported from another version of the file, or a parameter is not acceptable.
    pub fn observe<'r>(
        &self,
        remediation: &'r Remediation,
    ) -> Result<Option<Observation<'r>>, InvocationError> {
        let Some(about) = self.about() else {
            return Ok(None);
        };
        if about.remediation != remediation.name || about.digest != remediation.digest {
            return Err(PlanError::Changed(about.remediation.clone()).into());
        }
        let mut parameters = Map::new();
        for parameter in &remediation.parameters {
            let name = &parameter.name;
            let value = about.parameters.get(name);
            let value = value.ok_or_else(|| ParameterError::Missing(name.clone()))?;
            parameter.check(value)?;
            parameters.insert(name.clone(), value.clone());
        }
        Ok(Some(remediation.observe(Subject {
            account: about.account.clone(),
            region: about.region.clone(),
            partition: about.region.partition(),
            time: match (&about.before, &about.approved) {
                (Some(before), _) => before.time,
                (None, Some(approved)) => approved.time,
                (None, None) => about.time,
            },
            resource: ResourceId {
                kind: remediation.resources.first().cloned().unwrap_or_default(),
                id: String::new(),
            },
            parameters,
        })))
    }

    /// The answer, from what was observed.
    ///
    /// # Errors
    /// No plan can be made, or what is verified is not so.
    pub fn answer(
        &self,
        remediation: &Remediation,
        observed: Option<Observed<'_>>,
    ) -> Result<Value, InvocationError> {
        let incomplete = || PlanError::Incomplete(remediation.name.clone());
        match &self.0 {
            Question::Unpack { item } => Ok(Value::Object(item.clone())),
            Question::Apply(about) => {
                let plan = observed.ok_or_else(incomplete)?.plan()?;
                about.admits(&plan)?;
                Ok(told(&remediation.apply, plan))
            }
            Question::Undo(about) => {
                let observed = observed.ok_or_else(incomplete)?;
                let before = about.before.as_ref().ok_or(InvocationError::NoBefore)?;
                let outputs = Value::Object(about.outputs.clone());
                let before = about.plan(remediation, before);
                let plan = observed.undo(&before, &outputs)?;
                about.admits(&plan)?;
                Ok(told(&remediation.undo, plan))
            }
            Question::Verify(about) => {
                let observed = observed.ok_or_else(incomplete)?;
                let is_so = match &about.before {
                    Some(before) => observed.state() == &before.state,
                    None => observed.compliant(),
                };
                if is_so {
                    Ok(json!({"Settled": true}))
                } else {
                    Err(InvocationError::NotYet(remediation.name.clone()))
                }
            }
        }
    }
}

impl About {
    /// Nothing at all may always be sent.
    fn admits(&self, plan: &Plan) -> Result<(), InvocationError> {
        let is_admitted = |approved: &Approved| {
            plan.steps.is_empty() || approved.requests == plan.requests_hash()
        };
        if self.approved.as_ref().is_none_or(is_admitted) {
            Ok(())
        } else {
            Err(InvocationError::NotApproved(plan.remediation.clone()))
        }
    }

    /// The plan that a rollback undoes, as far as it matters.
    fn plan(&self, remediation: &Remediation, before: &Before) -> Plan {
        Plan {
            remediation: remediation.name.clone(),
            digest: remediation.digest.clone(),
            basis: remediation.basis.clone(),
            stage: Stage::Apply,
            account: self.account.clone(),
            region: self.region.clone(),
            partition: self.region.partition(),
            time: before.time,
            resource: ResourceId {
                kind: String::new(),
                id: String::new(),
            },
            parameters: self.parameters.clone(),
            observed: before.observed.clone(),
            state: before.state.clone(),
            impact: crate::Impact::default(),
            compliant: false,
            reads: Vec::new(),
            steps: Vec::new(),
            verify: remediation.verify,
        }
    }
}

/// The texts of a step's output, as executions show them, as a value of the output's type.
#[must_use]
pub fn typed(texts: &Value, kind: &str) -> Option<Value> {
    let texts = texts.as_array()?;
    let parsed = |text: &Value| serde_json::from_str::<Value>(text.as_str()?).ok();
    Some(match kind {
        "StringList" => json!(texts),
        "MapList" => Value::Array(texts.iter().map(parsed).collect::<Option<_>>()?),
        "StringMap" | "Integer" | "Boolean" => parsed(texts.first()?)?,
        _ => texts.first()?.clone(),
    })
}

/// A value as the list of texts that a parameter of an execution takes.
#[must_use]
pub fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

impl Plan {
    /// What the rollback document takes as its parameter [`BEFORE`], to take this plan back.
    #[must_use]
    pub fn seen_before(&self) -> Vec<String> {
        pieces(&Before {
            time: self.time,
            observed: self.observed.clone(),
            state: self.state.clone(),
        })
    }
}

/// What the document's steps ask for, by the names that [`crate::export`] gives it.
fn told(steps: &[Step], plan: Plan) -> Value {
    let mut told = Map::new();
    for step in steps {
        let mut tell =
            |name: &str, value: Value| told.insert(format!("{}_{name}", step.name), value);
        if step.each.is_some() {
            let items: Vec<Value> = plan
                .steps
                .iter()
                .filter(|planned| is_round(step, planned))
                .map(|planned| Value::Object(inputs(step, planned)))
                .collect();
            tell(VARIANT, json!(if items.is_empty() { -1 } else { 0 }));
            tell("Items", json!(items));
            continue;
        }
        match plan.steps.iter().find(|planned| planned.name == step.name) {
            Some(planned) => {
                for (name, value) in inputs(step, planned) {
                    tell(&name, value);
                }
            }
            None => {
                tell(VARIANT, json!(-1));
            }
        }
    }
    told.insert("Settled".to_owned(), json!(plan.steps.is_empty()));
    told.insert(
        BEFORE.to_owned(),
        json!(pieces(&Before {
            time: plan.time,
            observed: plan.observed,
            state: plan.state,
        })),
    );
    Value::Object(told)
}

/// The inputs of a request and its variant.
fn inputs(step: &Step, planned: &PlannedStep) -> Map<String, Value> {
    let Some(with) = step.action.with() else {
        return Map::from_iter([(VARIANT.to_owned(), json!(0))]);
    };
    let params = match &planned.action {
        PlannedAction::Call { call, .. } | PlannedAction::Wait { call, .. } => call.params.clone(),
        PlannedAction::Approve { message } => json!({"Message": message}),
        PlannedAction::Sleep { .. } => Value::Null,
    };
    let variant = variant(step, &params);
    let mut inputs = match params {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    if is_scripted(step) {
        let left = optional(with);
        let sent = left.iter().filter_map(|name| inputs.remove_entry(*name));
        let sent: Map<String, Value> = sent.collect();
        inputs.insert(OPTIONAL.to_owned(), json!(sent));
    }
    inputs.insert(VARIANT.to_owned(), json!(variant));
    inputs
}

fn is_round(step: &Step, planned: &PlannedStep) -> bool {
    planned
        .name
        .strip_prefix(&step.name)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}
