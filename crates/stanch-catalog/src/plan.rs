//! From a finding to the requests that fix it. Nothing here speaks to AWS: an [`Observation`] says
//! which read it wants next and takes the answer.

use std::sync::Arc;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stanch_types::{
    AccountId, Call, CallError, ControlRef, Finding, Partition, Region, Resource, hex,
};

use crate::{
    expression::{Expression, ExpressionError, Scope},
    function,
    impact::{self, Impact, Question},
    parameter::ParameterError,
    remediation::{Action, Computed, Output, Read, Remediation, Step, Undo, Verify},
    template::{TemplateError, placeholder},
};

/// What a remediation is to work on: all that it may know of a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The account of the finding.
    pub account: AccountId,
    /// The region of the finding.
    pub region: Region,
    /// The resource.
    pub resource: Resource,
    /// The finding's names of the control that failed.
    pub controls: Vec<ControlRef>,
    /// The finding as it came, for the few that need more of it; may be null.
    pub finding: Arc<Value>,
    /// Parameters that the user has set.
    pub settings: Map<String, Value>,
}

impl Target {
    /// One of a finding's resources.
    #[must_use]
    pub fn new(finding: &Finding, resource: &Resource, settings: Map<String, Value>) -> Self {
        Self {
            account: finding.account.clone(),
            region: finding.region.clone(),
            resource: resource.clone(),
            controls: finding.controls.clone(),
            finding: Arc::clone(&finding.raw),
            settings,
        }
    }
}

/// The resource of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceId {
    /// Its ASFF type, `AwsS3Bucket`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id as the finding has it: mostly an ARN.
    pub id: String,
}

/// Why no plan can be made. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The finding's resource is not of a type that the remediation fixes.
    #[error("`{remediation}` fixes {wanted}, but the finding is about an `{found}`")]
    WrongResource {
        /// The remediation.
        remediation: String,
        /// The types it fixes.
        wanted: String,
        /// The finding's.
        found: String,
    },
    /// A parameter has no value, or one that it does not take.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A read failed: that says nothing about the resource.
    #[error("cannot read `{read}`")]
    Read {
        /// The read's name.
        read: String,
        /// AWS's answer.
        #[source]
        error: Box<CallError>,
    },
    /// A read, a step or a computed value cannot be rendered.
    #[error("cannot render `{name}`")]
    Render {
        /// The read, step or value.
        name: String,
        /// Why.
        #[source]
        error: TemplateError,
    },
    /// An expression met a value that it cannot work on.
    #[error("cannot evaluate `{name}`")]
    Evaluate {
        /// The key of the file.
        name: String,
        /// Why.
        #[source]
        error: ExpressionError,
    },
    /// A function refused its input.
    #[error("cannot compute `{name}`")]
    Function {
        /// The computed value.
        name: String,
        /// Why.
        #[source]
        error: function::FunctionError,
    },
    /// An expression that must say yes or no said something else.
    #[error("`{name}` must be true or false, but is {found}")]
    NotBoolean {
        /// The key of the file.
        name: String,
        /// What it was.
        found: String,
    },
    /// `each` is not a list.
    #[error("`each` of `{name}` must be a list, but is {found}")]
    NotList {
        /// The step, the read or the computed value.
        name: String,
        /// What it was.
        found: String,
    },
    /// An answer where none was asked for, or a judgement before the last read.
    #[error("the reads of `{0}` are not complete")]
    Incomplete(String),
    /// The plan was made from a file that looks at the resource, or changes it, otherwise.
    #[error("`{0}` no longer reads or changes a resource as it did when the plan was made")]
    Changed(String),
    /// A case in which it must not begin.
    #[error("not begun: {because}")]
    Refused {
        /// What the file says.
        because: String,
    },
    /// There is no way back.
    #[error("`{remediation}` cannot be undone: {because}")]
    NoUndo {
        /// The remediation.
        remediation: String,
        /// Why.
        because: String,
    },
    /// The plan cannot be written as a runbook.
    #[error("the plan is no valid runbook: {0}")]
    Document(String),
}

/// Whether a plan fixes or puts back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Fixes.
    Apply,
    /// Puts back what was observed before.
    Undo,
}

/// Every request that will be sent, and what it was decided from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The remediation's name.
    pub remediation: String,
    /// The digest of its file, as far as that decides which requests are sent.
    pub digest: String,
    /// The digest of its file, as far as the plan can be looked at again by it.
    #[serde(default)]
    pub basis: String,
    /// Fixes or puts back.
    pub stage: Stage,
    /// The account to act in.
    pub account: AccountId,
    /// The region to act in.
    pub region: Region,
    /// The partition of the region.
    pub partition: Partition,
    /// When the finding was taken in. Not part of the hash: where it decides what is sent, it stands
    /// there.
    pub time: Timestamp,
    /// The resource.
    pub resource: ResourceId,
    /// The remediation's inputs.
    pub parameters: Map<String, Value>,
    /// What was read and computed, by name. Not part of the hash: an answer may hold what changes
    /// by itself, such as a latest restorable time.
    pub observed: Map<String, Value>,
    /// What is compared for undo and drift.
    pub state: Value,
    /// Facts about what the change may touch. Not part of the hash: they change by themselves.
    #[serde(default, skip_serializing_if = "Impact::is_empty")]
    pub impact: Impact,
    /// Nothing is to be fixed; then there are no steps.
    pub compliant: bool,
    /// The calls that were made to observe, whose permissions a run needs again.
    pub reads: Vec<PlannedRead>,
    /// The requests, in order.
    pub steps: Vec<PlannedStep>,
    /// How often the check is read again afterwards.
    pub verify: Verify,
}

/// A read that was made for a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRead {
    /// The call.
    pub call: Call,
    /// The ARNs that the session policy is narrowed to, where the file says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

/// A step with nothing left to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its name, unique in the plan.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub action: PlannedAction,
    /// The ARNs that the session policy is narrowed to, where the file says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Further IAM actions that it needs, with their ARNs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<(String, Vec<String>)>,
}

/// What a planned step does. In a call's input, `{{ step.Output }}` stands for what only that step's
/// answer will tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedAction {
    /// Makes a call.
    Call {
        /// The call.
        #[serde(flatten)]
        call: Call,
        /// What is kept of its answer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output>,
    },
    /// Reads until a value is one of those wanted.
    Wait {
        /// The read.
        #[serde(flatten)]
        call: Call,
        /// Where the value is.
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
    /// Waits for a person's approval of the steps that follow. Who runs the plan runs it up to here,
    /// asks, and then goes on with the rest, or undoes what was done.
    Approve {
        /// What is to be approved.
        message: String,
    },
}

impl PlannedAction {
    /// The call that it makes, if it makes one.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match self {
            Self::Call { call, .. } | Self::Wait { call, .. } => Some(call),
            Self::Sleep { .. } | Self::Approve { .. } => None,
        }
    }
}

impl Plan {
    /// What an approval names: SHA-256, in hexadecimal, over the canonical JSON (RFC 8785) of all
    /// that decides what is sent. The same resource in the same state gives the same hash.
    #[must_use]
    pub fn hash(&self) -> String {
        let decided = json!({
            "remediation": self.remediation,
            "digest": self.digest,
            "basis": self.basis,
            "stage": self.stage,
            "account": self.account,
            "region": self.region,
            "partition": self.partition,
            "resource": self.resource,
            "parameters": self.parameters,
            "state": self.state,
            "compliant": self.compliant,
            "steps": self.steps,
        });
        // Canonical JSON exists for every tree of JSON values.
        let text = serde_json_canonicalizer::to_vec(&decided).unwrap_or_default();
        hex(&Sha256::digest(text))
    }

    /// What of it a document knows when it is carried out: SHA-256 as of [`Self::hash`], but for the
    /// finding's own name of the resource, which no document is told.
    #[must_use]
    pub fn requests_hash(&self) -> String {
        let decided = json!({
            "remediation": self.remediation,
            "digest": self.digest,
            "stage": self.stage,
            "account": self.account,
            "region": self.region,
            "parameters": self.parameters,
            "state": self.state,
            "steps": self.steps,
        });
        // Canonical JSON exists for every tree of JSON values.
        let text = serde_json_canonicalizer::to_vec(&decided).unwrap_or_default();
        hex(&Sha256::digest(text))
    }

    /// The probes of `remediation`, whose plan this is, with their calls. Their results go to
    /// [`Impact::answer`].
    pub fn probes<'r>(&self, remediation: &'r Remediation, now: Timestamp) -> Vec<Question<'r>> {
        if self.compliant || remediation.impact.is_empty() {
            return Vec::new();
        }
        let mut scope = Scope::new();
        for (name, value) in [
            ("account", json!(self.account)),
            ("region", json!(self.region)),
            ("partition", json!(self.partition)),
            ("time", json!(self.time)),
            ("past", impact::past(now)),
        ] {
            scope.set(name, &value);
        }
        for (name, value) in self.parameters.iter().chain(&self.observed) {
            scope.set(name, value);
        }
        let scope = Arc::new(scope);
        let probes = remediation.impact.iter();
        probes
            .filter_map(|probe| {
                Some(Question {
                    probe,
                    read: impact::call(probe, &scope).transpose()?,
                    scope: Arc::clone(&scope),
                })
            })
            .collect()
    }

    /// The calls of the steps that change something, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().filter_map(|step| match &step.action {
            PlannedAction::Call { call, .. } => Some(call),
            _ => None,
        })
    }
}

/// A read that an observation wants made.
#[derive(Debug, Clone, PartialEq)]
pub struct NextRead {
    /// The read's name.
    pub name: String,
    /// The call.
    pub call: Call,
    /// All pages are wanted, joined.
    pub paginate: bool,
}

/// A remediation looking at its target.
///
/// Ask for [`Self::next_read`], make the call, hand its result to [`Self::answer`], until there is
/// no next; then [`Self::finish`].
#[derive(Debug)]
pub struct Observation<'r> {
    remediation: &'r Remediation,
    subject: Subject,
    scope: Scope,
    seen: Map<String, Value>,
    reads: Vec<PlannedRead>,
    /// The reads that are done with.
    done: usize,
    /// The answers so far to the read that is under way.
    round: Option<Round>,
}

/// The calls of one read.
#[derive(Debug)]
struct Round {
    /// What each call is made for; without `each`, null.
    items: Vec<Value>,
    values: Vec<Value>,
}

/// What a finding asks of a remediation: where to act, on what, and with which inputs. All that has
/// to be kept of a finding until it is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// The account to act in.
    pub account: AccountId,
    /// The region to act in.
    pub region: Region,
    /// The partition of the region.
    pub partition: Partition,
    /// When the finding was taken in, to the second.
    pub time: Timestamp,
    /// The resource.
    pub resource: ResourceId,
    /// The remediation's inputs, checked.
    pub parameters: Map<String, Value>,
}

/// A target, seen and judged.
#[derive(Debug)]
pub struct Observed<'r> {
    remediation: &'r Remediation,
    subject: Subject,
    scope: Scope,
    seen: Map<String, Value>,
    reads: Vec<PlannedRead>,
    state: Value,
    compliant: bool,
}

impl Remediation {
    /// What `target`, taken in at `time`, asks of this remediation: its parameters are bound and
    /// checked.
    ///
    /// # Errors
    /// A resource of another type, or a parameter without an acceptable value.
    pub fn subject(&self, target: &Target, time: Timestamp) -> Result<Subject, PlanError> {
        let kind = &target.resource.resource_type;
        if !self.resources.contains(kind) {
            return Err(PlanError::WrongResource {
                remediation: self.name.clone(),
                wanted: crate::keys::list(self.resources.iter().map(String::as_str)),
                found: kind.clone(),
            });
        }
        let mut subject = Subject {
            account: target.account.clone(),
            region: self.region(&target.region),
            partition: target.region.partition(),
            time: time.round(Unit::Second).unwrap_or(time),
            resource: ResourceId {
                kind: kind.clone(),
                id: target.resource.id.clone(),
            },
            parameters: Map::new(),
        };
        let mut scope = subject.scope();
        scope.set("resource", &resource_value(&target.resource));
        scope.set("finding", &target.finding);
        subject.parameters = self.bind(&scope, target)?;
        Ok(subject)
    }

    /// Looks again at the resource of a plan: to verify, to resume or to undo.
    ///
    /// # Errors
    /// The plan was made by a file that reads or changes the resource otherwise.
    pub fn observe_again(&self, plan: &Plan) -> Result<Observation<'_>, PlanError> {
        self.knows(plan)?;
        Ok(self.observe(Subject {
            account: plan.account.clone(),
            region: plan.region.clone(),
            partition: plan.partition.clone(),
            time: plan.time,
            resource: plan.resource.clone(),
            parameters: plan.parameters.clone(),
        }))
    }

    /// What the names of a plan mean here is what they meant when it was made.
    fn knows(&self, plan: &Plan) -> Result<(), PlanError> {
        if plan.remediation == self.name && plan.basis == self.basis {
            Ok(())
        } else {
            Err(PlanError::Changed(plan.remediation.clone()))
        }
    }

    /// The region in which it works for a finding of `region`: a global one always in the same, so
    /// that it is fixed once.
    #[must_use]
    pub fn region(&self, region: &Region) -> Region {
        if !self.global {
            return region.clone();
        }
        let home = match region.partition().as_str() {
            "aws-cn" => "cn-north-1",
            "aws-us-gov" => "us-gov-west-1",
            "aws-iso" => "us-iso-east-1",
            "aws-iso-b" => "us-isob-east-1",
            "aws-iso-e" => "eu-isoe-west-1",
            "aws-iso-f" => "us-isof-south-1",
            "aws-eusc" => "eusc-de-east-1",
            _ => "us-east-1",
        };
        home.parse().unwrap_or_else(|_| region.clone())
    }

    /// Begins to look at a resource.
    #[must_use]
    pub fn observe(&self, subject: Subject) -> Observation<'_> {
        Observation {
            remediation: self,
            scope: subject.scope(),
            subject,
            seen: Map::new(),
            reads: Vec::new(),
            done: 0,
            round: None,
        }
    }

    fn steps(&self, steps: &[Step], scope: &Scope) -> Result<Vec<PlannedStep>, PlanError> {
        let mut planned: Vec<PlannedStep> = Vec::new();
        for step in steps {
            if let Some(when) = &step.when
                && !truth(&format!("when of {}", step.name), when, scope)?
            {
                continue;
            }
            let Some(each) = &step.each else {
                planned.push(step.plan(step.name.clone(), scope)?);
                continue;
            };
            for (index, item) in elements(&step.name, each, scope)?.iter().enumerate() {
                let name = format!("{}_{}", step.name, index + 1);
                planned.push(step.plan(name, &scope.with("item", item))?);
            }
        }
        Ok(planned)
    }
}

impl Step {
    fn plan(&self, name: String, scope: &Scope) -> Result<PlannedStep, PlanError> {
        let render = |template: &crate::template::Template| {
            template.render(scope).map_err(|error| PlanError::Render {
                name: name.clone(),
                error,
            })
        };
        let action = match &self.action {
            Action::Call {
                service,
                operation,
                with,
                outputs,
            } => PlannedAction::Call {
                call: Call::new(service, operation, render(with)?),
                outputs: outputs.clone(),
            },
            Action::Wait {
                service,
                operation,
                with,
                select,
                values,
                timeout,
            } => PlannedAction::Wait {
                call: Call::new(service, operation, render(with)?),
                select: select.clone(),
                values: values.clone(),
                timeout: *timeout,
            },
            Action::Sleep { seconds } => PlannedAction::Sleep { seconds: *seconds },
            Action::Approve { with, .. } => {
                let message = match render(with)?.get_mut("Message").map(Value::take) {
                    Some(Value::String(message)) => message,
                    other => other.unwrap_or_default().to_string(),
                };
                PlannedAction::Approve { message }
            }
        };
        let failed = |error| PlanError::Render {
            name: name.clone(),
            error,
        };
        let on = arns(&self.on, scope).map_err(failed)?;
        let allow = self
            .allow
            .iter()
            .map(|(action, on)| Ok((action.clone(), arns(on, scope)?)))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(PlannedStep {
            name,
            action,
            on,
            allow,
        })
    }
}

/// ARNs; an optional one that is null is left out.
fn arns(on: &[crate::template::Template], scope: &Scope) -> Result<Vec<String>, TemplateError> {
    let mut arns = Vec::with_capacity(on.len());
    for template in on {
        match template.render(scope)? {
            Value::Null => {}
            Value::String(arn) => arns.push(arn),
            other => arns.push(other.to_string()),
        }
    }
    Ok(arns)
}

impl Subject {
    fn scope(&self) -> Scope {
        let mut scope = Scope::new();
        scope.set("account", &json!(self.account));
        scope.set("region", &json!(self.region));
        scope.set("partition", &json!(self.partition));
        scope.set("time", &json!(self.time));
        for (name, value) in &self.parameters {
            scope.set(name, value);
        }
        scope
    }
}

impl Computed {
    fn compute(&self, name: &str, scope: &Scope) -> Result<Value, PlanError> {
        match self {
            Self::Expression(expression) => evaluate(name, expression, scope),
            Self::Function {
                name: function,
                with,
            } => {
                let input = with.render(scope).map_err(|error| PlanError::Render {
                    name: name.to_owned(),
                    error,
                })?;
                function::call(function, &input).map_err(|error| PlanError::Function {
                    name: name.to_owned(),
                    error,
                })
            }
        }
    }
}

/// What `from` sees of a resource: `type`, `id`, `name`, `arn` with its parts (null if there is
/// none), `tags` and `details`.
fn resource_value(resource: &Resource) -> Value {
    let arn = resource.arn.as_ref().map(|arn| {
        json!({
            "text": arn,
            "service": arn.service,
            "region": arn.region,
            "account": arn.account,
            "resource": arn.resource,
            "parts": arn.resource_parts().collect::<Vec<_>>(),
        })
    });
    json!({
        "type": resource.resource_type,
        "id": resource.id,
        "name": resource.name,
        "arn": arn,
        "tags": resource.tags,
        "details": resource.details,
    })
}

impl<'r> Observation<'r> {
    /// The read that is under way, with its calls; those that need none are passed over. None after
    /// the last.
    fn begin(&mut self) -> Result<Option<&'r Read>, PlanError> {
        while let Some(read) = self.remediation.reads.get(self.done) {
            let name = &read.name;
            let round = match self.round.take() {
                Some(round) => round,
                None if read.when.is_none() || self.is_wanted(read)? => Round {
                    items: match &read.each {
                        Some(each) => elements(name, each, &self.scope)?,
                        None => vec![Value::Null],
                    },
                    values: Vec::new(),
                },
                None => {
                    self.see(name, Value::Null);
                    continue;
                }
            };
            if round.values.len() < round.items.len() {
                self.round = Some(round);
                return Ok(Some(read));
            }
            let Round { items, mut values } = round;
            let value = match read.each {
                Some(_) => paired(items, values),
                None => values.pop().unwrap_or_default(),
            };
            self.see(name, value);
        }
        Ok(None)
    }

    fn is_wanted(&self, read: &Read) -> Result<bool, PlanError> {
        let name = format!("when of {}", read.name);
        read.when
            .as_ref()
            .map_or(Ok(true), |when| truth(&name, when, &self.scope))
    }

    /// Ends a read.
    fn see(&mut self, name: &str, value: Value) {
        self.scope.set(name, &value);
        self.seen.insert(name.to_owned(), value);
        self.done += 1;
    }

    /// What the next call may use.
    fn inner(&self) -> Scope {
        let round = self.round.as_ref();
        let item = round.and_then(|round| round.items.get(round.values.len()));
        self.scope.with("item", item.unwrap_or(&Value::Null))
    }

    /// The next read to make; none when all are made.
    ///
    /// # Errors
    /// Its input cannot be rendered from what was read so far.
    pub fn next_read(&mut self) -> Result<Option<NextRead>, PlanError> {
        let Some(read) = self.begin()? else {
            return Ok(None);
        };
        let params = read
            .with
            .render(&self.inner())
            .map_err(|error| PlanError::Render {
                name: read.name.clone(),
                error,
            })?;
        Ok(Some(NextRead {
            name: read.name.clone(),
            call: Call::new(&read.service, &read.operation, params),
            paginate: read.paginate,
        }))
    }

    /// Takes the result of the read that [`Self::next_read`] gave: the output of the call (of all
    /// its pages joined, if they were wanted).
    ///
    /// # Errors
    /// Any error of AWS that does not mean "there is none": it says nothing about the resource.
    pub fn answer(&mut self, result: Result<Value, CallError>) -> Result<(), PlanError> {
        let (Some(next), Some(read)) = (self.next_read()?, self.begin()?) else {
            return Err(PlanError::Incomplete(self.remediation.name.clone()));
        };
        let value = match result {
            Ok(output) => match &read.pick {
                Some(pick) => pick.pick(&output).map_err(|error| PlanError::Evaluate {
                    name: read.name.clone(),
                    error,
                })?,
                None => output,
            },
            Err(error) if read.absent.contains(&error.code) => Value::Null,
            Err(error) => {
                return Err(PlanError::Read {
                    read: read.name.clone(),
                    error: Box::new(error),
                });
            }
        };
        let on = arns(&read.on, &self.inner()).map_err(|error| PlanError::Render {
            name: read.name.clone(),
            error,
        })?;
        self.reads.push(PlannedRead {
            call: next.call,
            on,
        });
        if let Some(round) = &mut self.round {
            round.values.push(value);
        }
        self.begin()?;
        Ok(())
    }

    /// Judges what was seen.
    ///
    /// # Errors
    /// A read is missing, or a value cannot be computed.
    pub fn finish(mut self) -> Result<Observed<'r>, PlanError> {
        if self.begin()?.is_some() {
            return Err(PlanError::Incomplete(self.remediation.name.clone()));
        }
        let state = match &self.remediation.state {
            Some(_) => None,
            None => Some(Value::Object(self.seen.clone())),
        };
        for computed in &self.remediation.lets {
            let name = &computed.name;
            let value = match &computed.each {
                None => computed.value.compute(name, &self.scope)?,
                Some(each) => {
                    let items = elements(name, each, &self.scope)?;
                    let values = items
                        .iter()
                        .map(|item| computed.value.compute(name, &self.scope.with("item", item)))
                        .collect::<Result<_, _>>()?;
                    paired(items, values)
                }
            };
            self.scope.set(name, &value);
            self.seen.insert(name.clone(), value);
        }
        let state = match (state, &self.remediation.state) {
            (None, Some(expression)) => evaluate("state", expression, &self.scope)?,
            (state, _) => state.unwrap_or_default(),
        };
        let compliant = truth("compliant", &self.remediation.compliant, &self.scope)?;
        Ok(Observed {
            remediation: self.remediation,
            subject: self.subject,
            scope: self.scope,
            seen: self.seen,
            reads: self.reads,
            state,
            compliant,
        })
    }
}

impl Observed<'_> {
    /// True when there is nothing to fix.
    #[must_use]
    pub const fn compliant(&self) -> bool {
        self.compliant
    }

    /// What is compared for undo and drift.
    #[must_use]
    pub const fn state(&self) -> &Value {
        &self.state
    }

    /// What was read and computed, by name.
    #[must_use]
    pub const fn seen(&self) -> &Map<String, Value> {
        &self.seen
    }

    /// The requests that fix it: none if it is compliant.
    ///
    /// # Errors
    /// The file says that it must not begin here, or a step cannot be rendered.
    pub fn plan(self) -> Result<Plan, PlanError> {
        if !self.compliant {
            for refusal in &self.remediation.refusals {
                if truth("when of refuse", &refusal.when, &self.scope)? {
                    let because = refusal.because.clone();
                    return Err(PlanError::Refused { because });
                }
            }
        }
        self.plan_on()
    }

    /// [`Self::plan`] for a change that is under way: what must not begin may have to go on.
    ///
    /// # Errors
    /// A step cannot be rendered.
    pub fn plan_on(self) -> Result<Plan, PlanError> {
        let steps = if self.compliant {
            Vec::new()
        } else {
            let mut scope = self.scope.clone();
            scope.set("steps", &placeholders(&self.remediation.apply).into());
            self.remediation.steps(&self.remediation.apply, &scope)?
        };
        Ok(self.into_plan(Stage::Apply, steps))
    }

    /// The requests that put back what `before` (the plan that was carried out) had seen. `outputs`
    /// holds what its steps answered: `{step: {Output: value}}`.
    ///
    /// The caller has compared [`Self::state`] with the state after the change: on a difference,
    /// somebody else has changed the resource since, and nothing may be undone.
    ///
    /// # Errors
    /// There is no undo, or only one of what failed half-way; the plan is of a file that reads or changes the
    /// resource otherwise, or a step cannot be rendered.
    pub fn undo(self, before: &Plan, outputs: &Value) -> Result<Plan, PlanError> {
        let remediation = self.remediation;
        remediation.knows(before)?;
        let half_way = !remediation.undo.is_empty() && !self.compliant();
        if let (Undo::None { because }, false) = (&remediation.safety.undo, half_way) {
            return Err(PlanError::NoUndo {
                remediation: remediation.name.clone(),
                because: because.clone(),
            });
        }
        let mut scope = self.scope.clone();
        scope.set("now", &Value::Object(self.seen.clone()));
        for (name, value) in &before.observed {
            scope.set(name, value);
        }
        // What the steps of `apply` answered is known, what those of `undo` will answer is not.
        let mut steps = placeholders(&remediation.undo);
        steps.extend(outputs.as_object().cloned().unwrap_or_default());
        scope.set("steps", &steps.into());
        let steps = if self.state == before.state {
            Vec::new()
        } else {
            remediation.steps(&remediation.undo, &scope)?
        };
        let mut plan = self.into_plan(Stage::Undo, steps);
        // What an `each` went over may be empty now; afterwards it is read again.
        let gone = before
            .reads
            .iter()
            .filter(|read| !plan.reads.contains(read));
        plan.reads.extend(gone.cloned().collect::<Vec<_>>());
        Ok(plan)
    }

    fn into_plan(self, stage: Stage, steps: Vec<PlannedStep>) -> Plan {
        Plan {
            remediation: self.remediation.name.clone(),
            digest: self.remediation.digest.clone(),
            basis: self.remediation.basis.clone(),
            stage,
            account: self.subject.account,
            region: self.subject.region,
            partition: self.subject.partition,
            time: self.subject.time,
            resource: self.subject.resource,
            parameters: self.subject.parameters,
            observed: self.seen,
            state: self.state,
            impact: Impact::default(),
            compliant: self.compliant,
            reads: self.reads,
            steps,
            verify: self.remediation.verify,
        }
    }
}

/// `{step: {Output: "{{ step.Output }}"}}` for all outputs of these steps.
fn placeholders(steps: &[Step]) -> Map<String, Value> {
    let outputs = |step: &Step| match &step.action {
        Action::Call { outputs, .. } => outputs
            .iter()
            .map(|output| (output.name.clone(), placeholder(&step.name, &output.name)))
            .collect(),
        _ => Map::new(),
    };
    steps
        .iter()
        .map(|step| (step.name.clone(), outputs(step)))
        .filter(|(_, outputs)| !outputs.is_empty())
        .map(|(name, outputs)| (name, Value::Object(outputs)))
        .collect()
}

fn evaluate(name: &str, expression: &Expression, scope: &Scope) -> Result<Value, PlanError> {
    expression
        .evaluate(scope)
        .map_err(|error| PlanError::Evaluate {
            name: name.to_owned(),
            error,
        })
}

/// The elements of an `each`.
fn elements(name: &str, each: &Expression, scope: &Scope) -> Result<Vec<Value>, PlanError> {
    match evaluate(&format!("each of {name}"), each, scope)? {
        Value::Array(items) => Ok(items),
        other => Err(PlanError::NotList {
            name: name.to_owned(),
            found: other.to_string(),
        }),
    }
}

/// `[{item, value}]`
fn paired(items: Vec<Value>, values: Vec<Value>) -> Value {
    let pairs = items.into_iter().zip(values);
    pairs
        .map(|(item, value)| json!({"item": item, "value": value}))
        .collect()
}

/// An expression that is neither true nor false is an error: nothing is decided by accident.
pub(crate) fn truth(name: &str, expression: &Expression, scope: &Scope) -> Result<bool, PlanError> {
    match evaluate(name, expression, scope)? {
        Value::Bool(flag) => Ok(flag),
        other => Err(PlanError::NotBoolean {
            name: name.to_owned(),
            found: other.to_string(),
        }),
    }
}
