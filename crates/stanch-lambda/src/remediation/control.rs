//! The stages of the control runbook.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stanch_catalog::{
    Action, BEFORE, Class, Naming, Plan, Remediation as Fix, Stage as Way, Subject, Target, Undo,
    texts, typed,
};
use stanch_hub::observe;
use stanch_types::{AccountId, Api, Call, Incoming, Region, chain, event};

use super::Remediation;
use crate::{Failure, Variables};

/// A stage of the control runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Is it a remediation, and is that a resource of it?
    Validate,
    /// How does the resource stand, and what would be sent?
    Status,
    /// Keeps what is there now.
    Backup,
    /// Is it fixed?
    Verify,
    /// With what is it put back?
    Rollback,
    /// Writes down what happened.
    Log,
    /// Removes what was only needed meanwhile.
    Cleanup,
}

impl Stage {
    /// The stage that an event asks for; none if it is another question.
    pub(super) fn of(event: &Value) -> Option<Self> {
        Some(match event.get("Stage")?.as_str()? {
            "validate" => Self::Validate,
            "status" => Self::Status,
            "backup" => Self::Backup,
            "verify-control" => Self::Verify,
            "prepare-rollback" => Self::Rollback,
            "log" => Self::Log,
            "cleanup" => Self::Cleanup,
            _ => return None,
        })
    }
}

/// What every stage is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    remediation_id: String,
    resource_arn: String,
    remediation_type: String,
    account: AccountId,
    region: Region,
    #[serde(default)]
    execution: String,
}

/// One run of the control runbook, at one of its stages.
pub(super) struct Control<'f> {
    function: &'f Remediation,
    told: Told,
    /// What fixes, or why nothing does.
    fixes: Result<Arc<Fix>, Failure>,
    naming: Naming,
}

impl<'f> Control<'f> {
    pub(super) fn new(function: &'f Remediation, event: &Value) -> Result<Self, Failure> {
        let told = Told::deserialize(event)
            .map_err(|error| Failure::event(format!("the control runbook's payload: {error}")))?;
        let naming = function.naming();
        // The name of a document, or of a remediation.
        let fixes = match naming.remediation(&told.remediation_type) {
            Some((Way::Undo, _)) => Err(Failure::event(format!(
                "`{}` puts back; the control runbook does that by itself",
                told.remediation_type
            ))),
            found => {
                let name = found.map_or(told.remediation_type.as_str(), |(_, name)| name);
                function.catalog()?.get(name).ok_or_else(|| {
                    Failure::event(format!("there is no remediation `{name}`")).hint(
                        "`stanch catalog list` has their names; those of documents are taken, too",
                    )
                })
            }
        };
        Ok(Self {
            function,
            fixes,
            naming,
            told,
        })
    }

    fn fix(&self) -> Result<&Fix, Failure> {
        match &self.fixes {
            Ok(fix) => Ok(fix),
            Err(failure) => Err(failure.clone()),
        }
    }

    pub(super) async fn run(&self, stage: Stage) -> Result<Value, Failure> {
        let answer = match stage {
            Stage::Validate => self.validate(),
            Stage::Status => self.status().await,
            Stage::Backup => self.backup().await,
            Stage::Verify => self.verify().await,
            Stage::Rollback => self.rollback().await,
            Stage::Log => self.log().await,
            Stage::Cleanup => Ok(json!({
                "Removed": [],
                "Because": "a remediation removes what it needed meanwhile itself; the backup stays as evidence, for as long as the log bucket keeps it",
            })),
        };
        match &answer {
            Ok(_) => tracing::info!(
                remediation_id = self.told.remediation_id,
                remediation = self.told.remediation_type,
                stage = ?stage,
                "the control runbook goes on"
            ),
            Err(failure) => tracing::warn!(
                remediation_id = self.told.remediation_id,
                remediation = self.told.remediation_type,
                stage = ?stage,
                error = %failure,
                "the control runbook stops"
            ),
        }
        answer
    }

    fn own(&self) -> Result<Arc<dyn Api>, Failure> {
        self.function.world.reach.own(Some(&self.told.region))
    }

    /// What the resource asks of the remediation.
    fn subject(&self) -> Result<Subject, Failure> {
        let Told {
            account,
            region,
            resource_arn,
            remediation_id,
            ..
        } = &self.told;
        let now = self.function.world.clock.now();
        let fix = self.fix()?;
        let mut why = format!("`{resource_arn}` is no resource of `{}`", fix.name);
        for kind in &fix.resources {
            let finding = json!({
                "SchemaVersion": "2018-10-08",
                "Id": format!("control-runbook/{remediation_id}"),
                "ProductArn": format!("arn:{}:securityhub:{region}:{account}:product/{account}/default", region.partition()),
                "GeneratorId": "control-runbook",
                "AwsAccountId": account,
                "Region": region,
                "CreatedAt": now,
                "UpdatedAt": now,
                "Title": fix.title,
                "Description": fix.title,
                "Severity": {"Label": "INFORMATIONAL"},
                "Compliance": {"Status": "FAILED"},
                "Workflow": {"Status": "NEW"},
                "RecordState": "ACTIVE",
                "Types": ["Software and Configuration Checks"],
                "Resources": [{"Type": kind, "Id": resource_arn, "Region": region, "Partition": region.partition()}],
            });
            let bytes = finding.to_string();
            for incoming in event::read(bytes.as_bytes(), &event::Options::default()) {
                let finding = match incoming {
                    Incoming::Accepted { finding, .. } => finding,
                    Incoming::Unreadable { problem, .. } => {
                        why = problem.reason;
                        continue;
                    }
                    Incoming::Skipped { .. } | Incoming::Executed(_) => continue,
                };
                let Some(resource) = finding.resources.first() else {
                    continue;
                };
                let target = Target::new(&finding, resource, Map::new());
                match fix.subject(&target, now) {
                    Ok(subject) => return Ok(subject),
                    Err(error) => why = chain(&error),
                }
            }
        }
        Err(Failure::event(why))
    }

    async fn plan(&self) -> Result<Plan, Failure> {
        let api = self.own()?;
        let models = self.function.world.reach.models()?;
        let observation = self.fix()?.observe(self.subject()?);
        let observed = observe(&*api, &models, observation).await;
        observed
            .and_then(stanch_catalog::Observed::plan)
            .map_err(|error| Failure::new("NotPlanned", chain(&error)))
    }

    fn validate(&self) -> Result<Value, Failure> {
        let remediation = self.fix()?;
        let id = &self.told.remediation_id;
        let is_id = !id.is_empty()
            && id.len() <= 64
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_id {
            return Err(Failure::event(
                "the remediation id is not 1 to 64 letters, digits and hyphens",
            ));
        }
        if remediation.safety.class == Class::Destructive {
            let why = format!(
                "`{}` is destructive, and needs an approval",
                remediation.name
            );
            return Err(Failure::new("NeedsApproval", why)
                .hint("let the orchestrator run it, which asks people"));
        }
        let waits = |step: &stanch_catalog::Step| matches!(step.action, Action::Approve { .. });
        if remediation.apply.iter().any(waits) {
            let why = format!("`{}` waits for people in its middle", remediation.name);
            return Err(Failure::new("NeedsApproval", why)
                .hint("let the orchestrator run it, which asks people"));
        }
        let subject = self.subject()?;
        if subject.region != self.told.region {
            return Err(Failure::event(format!(
                "`{}` is global: start the control runbook in {}",
                remediation.name, subject.region
            )));
        }
        let back = match remediation.safety.undo {
            Undo::Exact => self.naming.document(Way::Undo, &remediation.name),
            Undo::None { .. } => String::new(),
        };
        Ok(json!({
            "Remediation": remediation.name,
            "Title": remediation.title,
            "Document": self.naming.document(Way::Apply, &remediation.name),
            "Rollback": back,
            "Parameters": parameters(&subject.parameters),
        }))
    }

    async fn status(&self) -> Result<Value, Failure> {
        let plan = self.plan().await?;
        Ok(json!({
            "Ready": !plan.steps.is_empty(),
            "Compliant": plan.compliant,
            "Requests": plan.steps,
        }))
    }

    async fn backup(&self) -> Result<Value, Failure> {
        if let Undo::None { because } = &self.fix()?.safety.undo {
            return Ok(json!({"Required": false, "Because": because, "Object": ""}));
        }
        let plan = self.plan().await?;
        let kept = json!({
            "RemediationId": self.told.remediation_id,
            "ResourceArn": self.told.resource_arn,
            "Remediation": plan.remediation,
            "Digest": plan.digest,
            "Parameters": plan.parameters,
            "Time": plan.time,
            "Observed": plan.observed,
            "State": plan.state,
            BEFORE: plan.seen_before(),
        });
        let key = format!("backups/remediation-{}.json", self.told.remediation_id);
        let object = self.keep(&key, &kept).await?;
        Ok(json!({
            "Required": true,
            "Because": "the rollback document puts this state back",
            "Object": object,
        }))
    }

    async fn verify(&self) -> Result<Value, Failure> {
        let plan = self.plan().await?;
        if plan.compliant {
            Ok(json!({"Compliant": true}))
        } else {
            let why = format!("`{}` is not as it should be", self.told.resource_arn);
            Err(Failure::new("NotCompliant", why))
        }
    }

    /// What the rollback document needs to know: what the remediation runbook had seen and been
    /// answered, from its own execution.
    async fn rollback(&self) -> Result<Value, Failure> {
        let not_needed =
            |because: &str| Ok(json!({"Needed": false, "Because": because, "Parameters": {}}));
        if let Undo::None { because } = &self.fix()?.safety.undo {
            return not_needed(because);
        }
        let own = self.execution(&self.told.execution).await?;
        let child = steps(&own)
            .find(|step| step.get("StepName") == Some(&json!("InvokeRemediationRunbook")))
            .and_then(|step| step.pointer("/Outputs/ExecutionId/0")?.as_str());
        let Some(child) = child else {
            return not_needed("the remediation runbook was not started");
        };
        let child = self.execution(child).await?;
        let mut before = Value::Null;
        let mut answers: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        let applied = &self.fix()?.apply;
        for step in steps(&child) {
            let name = step
                .get("StepName")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let output = |output: &str| step.pointer(&format!("/Outputs/{output}")).cloned();
            if name == "Plan" {
                before = output(BEFORE).unwrap_or_default();
            }
            let known = applied.iter().find(|own| {
                let rest = name.strip_prefix(own.name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            });
            let Some(Action::Call { outputs, .. }) = known.map(|own| &own.action) else {
                continue;
            };
            for wanted in outputs {
                let value = output(&wanted.name).and_then(|texts| typed(&texts, &wanted.kind));
                if let (Some(own), Some(value)) = (known, value) {
                    let answer = answers.entry(&own.name).or_default();
                    answer.insert(wanted.name.clone(), value);
                }
            }
        }
        if !before.is_array() {
            return not_needed("the remediation runbook had not begun to change anything");
        }
        let mut parameters = parameters(&self.subject()?.parameters);
        parameters.insert(BEFORE.to_owned(), before);
        parameters.insert("Outputs".to_owned(), json!([json!(answers).to_string()]));
        Ok(json!({
            "Needed": true,
            "Because": "the remediation did not end well",
            "Parameters": parameters,
        }))
    }

    async fn log(&self) -> Result<Value, Failure> {
        let execution = self.execution(&self.told.execution).await?;
        let mut failed = None;
        let told: Vec<Value> = steps(&execution)
            .filter(|step| step.get("StepStatus") != Some(&json!("Pending")))
            .map(|step| {
                let part = |member: &str| step.get(member).cloned().unwrap_or_default();
                if part("StepStatus") == json!("Failed") {
                    failed.get_or_insert_with(|| part("StepName"));
                }
                json!({
                    "Step": part("StepName"),
                    "Status": part("StepStatus"),
                    "Outputs": part("Outputs"),
                    "FailureMessage": part("FailureMessage"),
                })
            })
            .collect();
        let now = self.function.world.clock.now();
        let Told {
            remediation_id,
            resource_arn,
            execution: id,
            ..
        } = &self.told;
        let outcome = if failed.is_some() {
            "Failed"
        } else {
            "Success"
        };
        let document = json!({
            "RemediationId": remediation_id,
            "ResourceArn": resource_arn,
            "RemediationType": self.told.remediation_type,
            "Execution": id,
            "Outcome": outcome,
            "FailedStep": failed,
            "Time": now,
            "Steps": told,
        });
        let key = format!(
            "{}/remediation-{remediation_id}-{id}.json",
            now.strftime("year=%Y/month=%m/day=%d")
        );
        let object = self.keep(&key, &document).await?;
        let group = Variables(&self.function.world.environment).text("CLOUDWATCH_LOG_GROUP")?;
        tracing::info!(remediation_id, execution = id, outcome, object, "logged");
        Ok(json!({"Object": object, "Outcome": outcome, "LogGroup": group}))
    }

    async fn execution(&self, id: &str) -> Result<Value, Failure> {
        let call = Call::new(
            "ssm",
            "GetAutomationExecution",
            json!({"AutomationExecutionId": id}),
        );
        let mut reply = self.own()?.call(&call).await?;
        let execution = reply.output.get_mut("AutomationExecution");
        Ok(execution.map(Value::take).unwrap_or_default())
    }

    /// Writes an object of the log bucket, encrypted with the stack's key.
    async fn keep(&self, key: &str, document: &Value) -> Result<String, Failure> {
        let variables = Variables(&self.function.world.environment);
        let bucket = variables.text("S3_BUCKET")?;
        let call = Call::new(
            "s3",
            "PutObject",
            json!({
                "Bucket": bucket,
                "Key": key,
                "Body": BASE64_STANDARD.encode(format!("{document:#}\n")),
                "ContentType": "application/json",
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": variables.text("KMS_KEY_ID")?,
                "ExpectedBucketOwner": self.told.account,
            }),
        );
        self.own()?.call(&call).await?;
        Ok(format!("s3://{bucket}/{key}"))
    }
}

fn steps(execution: &Value) -> impl Iterator<Item = &Value> {
    let steps = execution.get("StepExecutions").and_then(Value::as_array);
    steps.into_iter().flatten()
}

/// Parameters as executions take them; what is absent is left out.
fn parameters(given: &Map<String, Value>) -> Map<String, Value> {
    let given = given.iter().filter(|(_, value)| !value.is_null());
    given
        .map(|(name, value)| (name.clone(), json!(texts(value))))
        .collect()
}
