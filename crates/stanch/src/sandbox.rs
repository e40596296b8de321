//! Examples of remediations, played for real in an account where that harms nobody.

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch_catalog::{Example, Plan, Remediation, Scope, Undo};
use stanch_hub::{Approvals, Hub, Notifier, Settings, Source};
use stanch_ledger::{RemediationId, State, Status};
use stanch_models::Models;
use stanch_types::{AccountId, Api, Call, ControlRef, Region, chain};

use crate::{
    notify::Terminal,
    output::{Exit, Failure, with},
    wire::Wire,
};
use stanch_config::Config;

/// What an example can show from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// The check finds the example as it was planted.
    Check,
    /// A dry run changes nothing: the next one sees the same and plans the same.
    DryRun,
    /// After the fix the check passes.
    Fix,
    /// The plan that was carried out is the dry run's.
    Plan,
    /// Found again, nothing is left to do.
    Once,
    /// Undo puts back what was there.
    Undo,
}

/// Lets whoever plays approve what they play, and nobody else.
///
/// # Errors
/// Nobody knows who that is.
pub fn approves_itself(wire: &Wire, settings: &mut Settings) -> Result<Arc<dyn Notifier>, Failure> {
    settings.approval = Approvals::by("players", &[&wire.person(None)?]);
    Ok(Arc::new(Terminal))
}

impl Property {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 6] = [
        Self::Check,
        Self::DryRun,
        Self::Fix,
        Self::Plan,
        Self::Once,
        Self::Undo,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::DryRun => "dry run",
            Self::Fix => "fix",
            Self::Plan => "plan",
            Self::Once => "once",
            Self::Undo => "undo",
        })
    }
}

/// What a property came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was seen to hold.
    Holds,
    /// It does not, for this reason.
    Broken(String),
    /// It was not tried, for this reason.
    NotTried(String),
}

/// What became of an example.
#[derive(Debug)]
pub struct Played {
    /// The remediation.
    pub remediation: String,
    /// The example's title.
    pub example: String,
    /// Each property with its verdict.
    pub verdicts: Vec<(Property, Verdict)>,
    /// Resources that could not be removed again, by the call that made them.
    pub left: Vec<String>,
}

impl Played {
    /// What a property came to.
    pub fn verdict(&self, property: Property) -> Option<&Verdict> {
        let mut verdicts = self.verdicts.iter();
        verdicts
            .find(|(other, _)| *other == property)
            .map(|(_, verdict)| verdict)
    }

    /// The first property that does not hold, with the reason.
    pub fn broken(&self) -> Option<(Property, &str)> {
        self.verdicts
            .iter()
            .find_map(|(property, verdict)| match verdict {
                Verdict::Broken(reason) => Some((*property, reason.as_str())),
                _ => None,
            })
    }
}

/// Refuses an account that the configuration does not call a test account.
pub fn test_account(config: &Config, account: &AccountId, doing: &str) -> Result<(), Failure> {
    if config
        .accounts
        .get(account)
        .is_some_and(|member| member.test)
    {
        return Ok(());
    }
    Err(Failure {
        exit: Exit::Refused,
        ..Failure::failed(format!("account {account} is not marked as a test account")).hint(
            format!(
                "{doing} plants misconfigurations: set `test = true` under `[accounts.\"{account}\"]` of an account \
                 where that harms nobody"
            ),
        )
    })
}

/// An account to play in.
pub struct Sandbox<'a> {
    hub: Arc<Hub>,
    models: Arc<Models>,
    api: Arc<dyn Api>,
    account: &'a AccountId,
    region: &'a Region,
    person: String,
}

impl<'a> Sandbox<'a> {
    /// The account as the role that may plant, and the hub that fixes what is planted.
    pub fn open(
        wire: &Wire,
        hub: Arc<Hub>,
        account: &'a AccountId,
        region: &'a Region,
    ) -> Result<Self, Failure> {
        let config = &wire.resolved.config;
        let role = &config.gameday.role;
        let external_id = config
            .accounts
            .get(account)
            .and_then(|member| member.external_id.as_ref());
        let session = stanch_aws::RoleSession {
            role_arn: format!(
                "arn:{}:iam::{account}:role/{}",
                region.partition(),
                role.trim_start_matches('/')
            ),
            session_name: "stanch-gameday".to_owned(),
            // A role whose trust policy asks for none takes it all the same.
            external_id: external_id.map(|id| id.reveal().clone()),
            policy: None,
            duration: std::time::Duration::from_mins(15),
        };
        Ok(Self {
            hub,
            models: wire.models()?,
            api: Arc::new(wire.client(region.clone())?.as_role(session)),
            account,
            region,
            person: wire.person(None)?,
        })
    }

    /// Plants the example, fixes it, puts it back and removes it.
    pub async fn play(
        &self,
        remediation: &Remediation,
        example: &Example,
        now: Timestamp,
    ) -> Result<Played, Failure> {
        let mut made = Vec::new();
        let mut played = Played {
            remediation: remediation.name.clone(),
            example: example.title.clone(),
            verdicts: Vec::new(),
            left: Vec::new(),
        };
        if example.settings.is_empty() {
            let planted = self.plant(remediation, example, now, &mut made).await;
            let tried = match planted {
                Ok(finding) => {
                    self.try_on(&finding, remediation, example, now, &mut played)
                        .await?
                }
                Err(reason) => Err((Property::Check, format!("could not be planted: {reason}"))),
            };
            if let Err((property, reason)) = tried {
                played.verdicts.push((property, Verdict::Broken(reason)));
            }
        }
        for property in Property::ALL {
            if played.verdict(property).is_none() {
                let reason = match (played.broken(), example.settings.is_empty()) {
                    (_, false) => "the example needs settings, which no finding carries".to_owned(),
                    (Some((broken, _)), _) => format!("{broken} is broken"),
                    (None, _) => "the example shows something else".to_owned(),
                };
                played.verdicts.push((property, Verdict::NotTried(reason)));
            }
        }
        for (call, output) in made.iter().rev() {
            if !self.remove(call, output).await {
                played.left.push(call.to_string());
            }
        }
        Ok(played)
    }

    /// Tries the properties one after another, up to the first that is broken.
    async fn try_on(
        &self,
        finding: &Value,
        remediation: &Remediation,
        example: &Example,
        now: Timestamp,
        played: &mut Played,
    ) -> Result<Result<(), (Property, String)>, Failure> {
        macro_rules! hold {
            ($property:expr, $condition:expr, $($why:tt)+) => {
                if !$condition {
                    return Ok(Err(($property, format!($($why)+))));
                }
                played.verdicts.push(($property, Verdict::Holds));
            };
        }
        macro_rules! found {
            ($property:expr, $result:expr) => {
                match $result {
                    Ok(found) => found,
                    Err(reason) => return Ok(Err(($property, reason))),
                }
            };
        }
        let before = found!(Property::Check, self.look(finding).await);
        hold!(
            Property::Check,
            before.compliant == example.compliant,
            "the check says compliant: {}, the example says {}",
            before.compliant,
            example.compliant
        );
        let again = found!(Property::DryRun, self.look(finding).await);
        hold!(
            Property::DryRun,
            (&again.state, again.hash()) == (&before.state, before.hash()),
            "the next dry run saw {}, the first {}",
            again.state,
            before.state
        );
        let (id, state) = found!(Property::Fix, self.run(finding).await?);
        let wanted = match example.compliant {
            true => Status::NothingToDo,
            false => Status::Success,
        };
        hold!(Property::Fix, state.status == wanted, "{}", ending(&state));
        if !example.compliant {
            let carried_out = state.plan.as_ref().map(|planned| planned.plan_hash.clone());
            hold!(
                Property::Plan,
                carried_out == Some(before.hash()),
                "another plan was carried out than the dry run showed"
            );
        }
        let at = now
            .saturating_add(SignedDuration::from_hours(24))
            .unwrap_or(now);
        let later = with(finding.clone(), "UpdatedAt", json!(at));
        let (_, state) = found!(Property::Once, self.run(&later).await?);
        hold!(
            Property::Once,
            state.status == Status::NothingToDo,
            "found again: {}",
            ending(&state)
        );
        if example.compliant {
            return Ok(Ok(()));
        }
        if let Undo::None { because } = &remediation.safety.undo {
            let none = Verdict::NotTried(format!("there is none: {because}"));
            played.verdicts.push((Property::Undo, none));
            return Ok(Ok(()));
        }
        let undone = self.hub.rollback(id, &self.person, false, false).await;
        let undone = found!(Property::Undo, undone.map_err(|error| chain(&error)));
        if undone.status != Some(Status::Undone) {
            let reason = undone
                .error
                .unwrap_or_else(|| "it was not undone".to_owned());
            return Ok(Err((Property::Undo, reason)));
        }
        let after = found!(Property::Undo, self.look(finding).await);
        hold!(
            Property::Undo,
            after.state == before.state,
            "before {}, after undo {}",
            before.state,
            after.state
        );
        Ok(Ok(()))
    }

    /// What the resource is like, and what would be done.
    async fn look(&self, finding: &Value) -> Result<Plan, String> {
        let source = Source::person("gameday", self.person.clone());
        let mut preview = self
            .hub
            .preview_open(&source, finding.to_string().as_bytes())
            .await;
        let Some(first) = preview.findings.pop() else {
            let skipped = preview.skipped.into_iter().map(|one| one.reason);
            let reasons = skipped.chain(preview.unreadable.into_iter().map(|one| one.reason));
            let reasons: Vec<String> = reasons.collect();
            return Err(format!(
                "the finding asks for nothing: {}",
                reasons.join("; ")
            ));
        };
        first.plan.ok_or_else(|| first.error.unwrap_or_default())
    }

    /// Delivers the finding and works on it to the end; whoever plays approves all of it.
    async fn run(
        &self,
        finding: &Value,
    ) -> Result<Result<(RemediationId, State), String>, Failure> {
        let source = Source::person("gameday", format!("{} (gameday)", self.person));
        let bytes = finding.to_string();
        let taken = self.hub.take(&source, bytes.as_bytes()).await?;
        let Some(id) = taken.admitted.first().copied() else {
            let reasons = taken.skipped.iter().map(|one| one.reason.clone());
            let reasons: Vec<String> = reasons
                .chain(taken.buried.iter().map(|one| one.reason.clone()))
                .collect();
            return Ok(Err(format!(
                "the finding was not admitted: {}",
                reasons.join("; ")
            )));
        };
        let mut state = self.hub.handle(id).await?;
        while state.status == Status::AwaitingApproval {
            state = self.hub.approve(id, &self.person).await?;
        }
        Ok(Ok((id, state)))
    }

    /// Makes the example's calls; answers with the finding that it leads to.
    async fn plant(
        &self,
        remediation: &Remediation,
        example: &Example,
        now: Timestamp,
        made: &mut Vec<(Call, Value)>,
    ) -> Result<Value, String> {
        let text = |error: &dyn std::error::Error| chain(error);
        let mut scope = Scope::new();
        scope.set("account", &json!(self.account));
        scope.set("region", &json!(self.region));
        scope.set("partition", &json!(self.region.partition()));
        for given in &example.given {
            let params = given.with.render(&scope).map_err(|error| text(&error))?;
            let call = Call::new(&given.service, &given.operation, params);
            let output = self
                .api
                .call(&call)
                .await
                .map_err(|error| text(&error))?
                .output;
            let answer = match &given.pick {
                Some(pick) => pick.pick(&output).map_err(|error| text(&error))?,
                None => output.clone(),
            };
            made.push((call, output));
            if !given.name.is_empty() {
                scope.set(&given.name, &answer);
            }
        }
        let id = example
            .resource
            .render(&scope)
            .map_err(|error| text(&error))?;
        let details = example
            .details
            .render(&scope)
            .map_err(|error| text(&error))?;
        let kind = example
            .resource_type
            .as_ref()
            .or(remediation.resources.first())
            .cloned()
            .unwrap_or_default();
        let (account, region) = (self.account, self.region);
        let mut resource = json!({ "Type": kind, "Id": id, "Region": region });
        if !details.is_null() {
            resource = with(resource, "Details", json!({ kind: details }));
        }
        let control = &example.control;
        let compliance = match control {
            ControlRef::SecurityHub(id) => json!({ "Status": "FAILED", "SecurityControlId": id }),
            _ => json!({ "Status": "FAILED" }),
        };
        let generator = match control {
            ControlRef::Prowler(check) => format!("prowler-{check}"),
            ControlRef::Cis { version, id } => {
                format!("cis-aws-foundations-benchmark/v/{version}/rule/{id}")
            }
            ControlRef::Pci { version, id } => format!("pci-dss/v/{version}/{id}"),
            ControlRef::ConfigRule(_) | ControlRef::Product(_) => "stanch/gameday".to_owned(),
            ControlRef::SecurityHub(id) => format!("security-control/{id}"),
        };
        // As Security Hub makes findings of Config's results, and of threats.
        let (fields, kind) = match control {
            ControlRef::ConfigRule(rule) => (json!({ "aws/config/ConfigRuleName": rule }), None),
            ControlRef::Product(kind) => (json!({}), Some(kind.as_str())),
            _ => (json!({}), None),
        };
        Ok(json!({
            "SchemaVersion": "2018-10-08",
            "Id": format!("stanch/gameday/{}/{control}/{now}", remediation.name),
            "ProductArn": format!("arn:{}:securityhub:{region}:{account}:product/{account}/default", region.partition()),
            "GeneratorId": generator,
            "AwsAccountId": account,
            "Region": region,
            "Types": [kind.unwrap_or("Software and Configuration Checks")],
            "ProductFields": fields,
            "CreatedAt": now, "UpdatedAt": now,
            "Severity": { "Label": "INFORMATIONAL" },
            "Title": format!("Game day: {}", example.title),
            "Description": remediation.title,
            "Resources": [resource],
            "Compliance": compliance,
            "Workflow": { "Status": "NEW" },
            "RecordState": "ACTIVE",
        }))
    }

    /// Removes what a `Create…` made, by the `Delete…` that takes the same names. True if nothing is
    /// left of it.
    async fn remove(&self, made: &Call, output: &Value) -> bool {
        let creates = ["Create", "Run", "Start"]
            .iter()
            .any(|verb| made.operation.starts_with(verb));
        let Some(noun) = made.operation.strip_prefix("Create") else {
            return !creates;
        };
        let Ok(delete) = self.models.resolve(&made.service, &format!("Delete{noun}")) else {
            return false;
        };
        let operation = delete.operation();
        let mut params = serde_json::Map::new();
        for member in operation
            .input
            .iter()
            .flat_map(|input| delete.service.members(*input))
        {
            let name = &*member.name;
            match made.params.get(name).or_else(|| find(output, name)) {
                Some(value) => drop(params.insert(name.to_owned(), value.clone())),
                None if name == "SkipFinalSnapshot" => {
                    drop(params.insert(name.to_owned(), json!(true)))
                }
                None if member.required => return false,
                None => {}
            }
        }
        let call = Call::new(&made.service, &*operation.name, Value::Object(params));
        self.api.call(&call).await.is_ok()
    }
}

fn ending(state: &State) -> String {
    match &state.error {
        Some(error) => format!("{}: {error}", state.status),
        None => state.status.to_string(),
    }
}

/// The member `name`, wherever it stands in an answer.
fn find<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let members = value.as_object()?;
    members
        .get(name)
        .or_else(|| members.values().find_map(|member| find(member, name)))
}
