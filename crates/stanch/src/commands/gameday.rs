//! `stanch gameday`: every example of the catalog, for real, in a test account.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::{Example, Remediation, Scope, Undo};
use stanch_hub::{Hub, Source};
use stanch_ledger::{RemediationId, Status};
use stanch_models::Models;
use stanch_types::{AccountId, Api, Call, ControlRef, Region};

use crate::{
    cli,
    output::{Color, Exit, Failure, Table, print, print_json, say, with},
    wire::Wire,
};

/// What became of an example.
struct Played {
    remediation: String,
    example: String,
    fixed: Result<(), String>,
    undone: Option<Result<(), String>>,
    /// Resources that could not be removed again, by the call that made them.
    left: Vec<String>,
}

/// Plants, fixes, rolls back and removes.
pub async fn run(wire: &Wire, options: cli::Gameday) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    let account = &options.account;
    if !config
        .accounts
        .get(account)
        .is_some_and(|member| member.test)
    {
        return Err(Failure {
            exit: Exit::Refused,
            ..Failure::failed(format!("account {account} is not marked as a test account")).hint(format!(
                "gameday plants misconfigurations: set `test = true` under `[accounts.\"{account}\"]` of an account \
                 where that harms nobody"
            ))
        });
    }
    let region = wire.region(options.region)?;
    let mut settings = config.settings();
    if let Some(settings) = settings.accounts.get_mut(account) {
        // Findings of test accounts are skipped otherwise.
        settings.test = false;
    }
    let catalog = wire.catalog()?;
    for name in &options.only {
        if catalog.get(name).is_none() {
            return Err(Failure::usage(format!("there is no remediation `{name}`"))
                .hint("`stanch catalog list` shows what there is"));
        }
    }
    let wanted =
        |one: &Arc<Remediation>| options.only.is_empty() || options.only.contains(&one.name);
    let remediations: Vec<_> = catalog.iter().filter(wanted).collect();
    if !options.yes {
        let mut table = Table::new(["REMEDIATION", "EXAMPLE", "CALLS THAT PLANT IT"]);
        for (remediation, example) in examples(&remediations) {
            let calls: Vec<String> = example
                .given
                .iter()
                .map(|given| format!("{}.{}", given.service, given.operation))
                .collect();
            table.row([
                remediation.name.clone(),
                example.title.clone(),
                calls.join(", "),
            ]);
        }
        print(table.render(Color::out()))?;
        say(format_args!(
            "nothing was done; `--yes` plants and fixes this in account {account}, {region}"
        ));
        return Ok(Exit::Done);
    }
    let hub = wire.hub(wire.ledger()?, settings, Vec::new())?;
    let stage = Stage {
        hub: &hub,
        models: wire.models()?,
        api: planter(wire, account, &region)?,
        account,
        region: &region,
        person: wire.person(None)?,
    };
    let mut played = Vec::new();
    for (remediation, example) in examples(&remediations) {
        say(format_args!("{}: {}", remediation.name, example.title));
        played.push(stage.play(remediation, example, wire.clock.now()).await?);
    }
    report(wire, &played)
}

fn examples(remediations: &[Arc<Remediation>]) -> impl Iterator<Item = (&Remediation, &Example)> {
    remediations.iter().flat_map(|remediation| {
        let wrong = remediation
            .examples
            .iter()
            .filter(|example| !example.compliant);
        wrong.map(move |example| (&**remediation, example))
    })
}

/// The account, as the role that may plant.
fn planter(wire: &Wire, account: &AccountId, region: &Region) -> Result<Arc<dyn Api>, Failure> {
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
    Ok(Arc::new(wire.client(region.clone())?.as_role(session)))
}

struct Stage<'a> {
    hub: &'a Arc<Hub>,
    models: Arc<Models>,
    api: Arc<dyn Api>,
    account: &'a AccountId,
    region: &'a Region,
    person: String,
}

impl Stage<'_> {
    async fn play(
        &self,
        remediation: &Remediation,
        example: &Example,
        now: Timestamp,
    ) -> Result<Played, Failure> {
        let mut made = Vec::new();
        let mut played = Played {
            remediation: remediation.name.clone(),
            example: example.title.clone(),
            fixed: Ok(()),
            undone: None,
            left: Vec::new(),
        };
        match self.plant(remediation, example, now, &mut made).await {
            Err(reason) => played.fixed = Err(format!("could not be planted: {reason}")),
            Ok(finding) => match self.fix(&finding).await? {
                Err(reason) => played.fixed = Err(reason),
                Ok(id) if remediation.safety.undo == Undo::Exact => {
                    let undone = self.hub.rollback(id, &self.person, false, false).await;
                    played.undone = Some(match undone {
                        Ok(done) if done.status == Some(Status::Undone) => Ok(()),
                        Ok(done) => {
                            Err(done.error.unwrap_or_else(|| "it was not undone".to_owned()))
                        }
                        Err(error) => Err(stanch_types::chain(&error)),
                    });
                }
                Ok(_) => {}
            },
        }
        for (call, output) in made.iter().rev() {
            if !self.remove(call, output).await {
                played.left.push(call.to_string());
            }
        }
        Ok(played)
    }

    /// Makes the example's calls; answers with the finding that it leads to.
    async fn plant(
        &self,
        remediation: &Remediation,
        example: &Example,
        now: Timestamp,
        made: &mut Vec<(Call, Value)>,
    ) -> Result<Value, String> {
        let text = |error: &dyn std::error::Error| stanch_types::chain(error);
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
            .or(remediation.resources.first());
        let (account, region) = (self.account, self.region);
        let mut resource = json!({ "Type": kind, "Id": id, "Region": region });
        if !details.is_null() {
            resource = with(resource, "Details", details);
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
            other => format!("security-control/{other}"),
        };
        Ok(json!({
            "SchemaVersion": "2018-10-08",
            "Id": format!("stanch/gameday/{}/{control}/{now}", remediation.name),
            "ProductArn": format!("arn:{}:securityhub:{region}:{account}:product/{account}/default", region.partition()),
            "GeneratorId": generator,
            "AwsAccountId": account,
            "Region": region,
            "Types": ["Software and Configuration Checks"],
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

    async fn fix(&self, finding: &Value) -> Result<Result<RemediationId, String>, Failure> {
        let source = Source::person("gameday", format!("{} (gameday)", self.person));
        let taken = self
            .hub
            .take(&source, finding.to_string().as_bytes())
            .await?;
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
        if state.status == Status::AwaitingApproval {
            // Whoever says `--yes` approves all of it.
            state = self.hub.approve(id, &self.person).await?;
        }
        Ok(match state.status {
            Status::Success => Ok(id),
            status => Err(format!("{status}: {}", state.error.unwrap_or_default())),
        })
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

/// The member `name`, wherever it stands in an answer.
fn find<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let members = value.as_object()?;
    members
        .get(name)
        .or_else(|| members.values().find_map(|member| find(member, name)))
}

fn report(wire: &Wire, played: &[Played]) -> Result<Exit, Failure> {
    let failed = |one: &Played| one.fixed.is_err() || matches!(one.undone, Some(Err(_)));
    let exit = if played.iter().any(failed) {
        Exit::Failed
    } else {
        Exit::Done
    };
    if wire.json {
        let all: Vec<Value> = played
            .iter()
            .map(|one| {
                json!({
                    "remediation": one.remediation,
                    "example": one.example,
                    "fixed": one.fixed.is_ok(),
                    "undone": one.undone.as_ref().map(Result::is_ok),
                    "error": one.fixed.as_ref().err().or(one.undone.as_ref().and_then(|u| u.as_ref().err())),
                    "left": one.left,
                })
            })
            .collect();
        print_json(&all)?;
        return Ok(exit);
    }
    let mut table = Table::new(["REMEDIATION", "EXAMPLE", "FIXED", "UNDONE", "LEFT BEHIND"]);
    let word = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "yes".to_owned(),
        Err(reason) => format!("no: {reason}"),
    };
    for one in played {
        table.row([
            one.remediation.clone(),
            one.example.clone(),
            word(&one.fixed),
            one.undone.as_ref().map_or_else(|| "-".to_owned(), word),
            one.left.join(", "),
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(exit)
}
