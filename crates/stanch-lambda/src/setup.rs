//! What a hub in AWS is made of, from the variables of its function.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_aws::{Environment, HttpClient, MemberRole, SessionsSetup};
use stanch_catalog::Catalog;
use stanch_config::{
    Feeds, Fetched, LARGEST_FEED, ModelSecrets, Origin, Override, RandomIds, Resolved, RulesError,
};
use stanch_guard::Guard;
use stanch_hub::{Account, Hub, Notifier, Ports, Settings};
use stanch_ledger::{SealedLedger, Vault};
use stanch_models::Models;
use stanch_notify::{ConfigRules, InRegion, LogBucket, SecurityHub, Topic};
use stanch_types::{Api, Call, Region, Secret, Sessions, chain};

use crate::{
    Failure, Variables, World,
    files::{self, Configured},
    members::{MemberList, Members},
    world::Store,
};

/// How long what was read and looked up is used before it is read again.
const AGE: Duration = Duration::from_mins(5);

/// `REGION_ROLE` of the stack that stands by for another one.
const STANDBY: &str = "standby";

/// Everything that outlives an invocation.
pub struct Setup {
    /// The hub's settings.
    pub settings: Settings,
    /// What decides.
    pub guard: Arc<Guard>,
    /// The remediations.
    pub catalog: Arc<Catalog>,
    /// The API models.
    pub models: Arc<Models>,
    /// AWS with the function's own role.
    pub own: Arc<dyn Api>,
    sessions: Arc<dyn Sessions>,
    /// The record.
    pub store: Store,
    notifiers: Vec<Arc<dyn Notifier>>,
    inputs: Inputs,
    /// When its inputs were last seen to be these.
    seen: Duration,
}

/// What it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inputs {
    configured: Configured,
    members: Members,
    feeds: Fetched,
}

/// Where copies of feeds outlive an invocation:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html>.
const FEEDS: &str = "/tmp/stanch.feeds";

/// Who opens sessions in member accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enters {
    /// The orchestrator, with the external ids of its secret.
    Members,
    /// Nobody: the function decides without looking.
    Nothing,
}

fn resolved(world: &World, configured: &Configured) -> Result<Resolved, Failure> {
    let overrides = overrides(&world.environment)?;
    stanch_config::resolve(configured.file.clone(), overrides)
        .map_err(|error| Failure::configuration(chain(&error)))
}

fn broken_rules(error: &RulesError) -> Failure {
    Failure::configuration(error.to_string()).hint(error.hint())
}

impl Setup {
    /// The setup, or `before` if that still holds.
    ///
    /// # Errors
    /// Something that is needed is missing: nothing may run.
    pub async fn current(
        world: &World,
        enters: Enters,
        before: Option<Arc<Self>>,
    ) -> Result<Arc<Self>, Failure> {
        let now = world.clock.monotonic();
        if let Some(before) = &before
            && now.saturating_sub(before.seen) < AGE
        {
            return Ok(Arc::clone(before));
        }
        let variables = Variables(&world.environment);
        let (models, own) = (world.reach.models()?, world.reach.own(None)?);
        let list: MemberList = variables.text("MEMBER_ACCOUNTS")?.parse()?;
        let configured = files::read(variables, &*own, &models).await?;
        let resolved = resolved(world, &configured)?;
        let guarded = &resolved.config.guard;
        let feeds = Feeds::new(
            Arc::new(HttpClient::reading(world.environment.clone(), LARGEST_FEED)),
            Arc::clone(&world.clock),
            FEEDS,
            guarded.threat_feeds_every,
        );
        let feeds = feeds.fetch(&guarded.threat_feeds).await;
        let inputs = Inputs {
            members: list.look_up(&*own, &models).await?,
            feeds: feeds.map_err(|error| broken_rules(&error))?,
            configured,
        };
        if let Some(before) = before
            && before.inputs == inputs
            && let Some(mut same) = Arc::into_inner(before)
        {
            same.seen = now;
            return Ok(Arc::new(same));
        }
        let made = Self::make(world, enters, models, own, inputs).await?;
        Ok(Arc::new(made))
    }

    async fn make(
        world: &World,
        enters: Enters,
        models: Arc<Models>,
        own: Arc<dyn Api>,
        inputs: Inputs,
    ) -> Result<Self, Failure> {
        let variables = Variables(&world.environment);
        let configuration = |error: String| Failure::configuration(error);
        let resolved = resolved(world, &inputs.configured)?;
        let rules = stanch_config::rules(&resolved, &inputs.configured, &inputs.feeds)
            .map_err(|error| broken_rules(&error))?;
        let catalog = world.reach.catalog()?;
        let guard = Guard::load(rules, &catalog, world.clock.now()).map_err(|problems| {
            configuration(format!("the guard cannot be used: {problems}"))
                .hint("nothing runs until its files are right; `stanch policy check` checks them")
        })?;
        let config = &resolved.config;
        let mut settings = config.settings();
        let account = |id| settings.accounts.get(id).cloned().unwrap_or_default();
        // Who is no member is none, whatever the file says of them.
        let accounts = inputs.members.keys().map(|id| (id.clone(), account(id)));
        settings.accounts = accounts.collect::<std::collections::BTreeMap<_, Account>>();
        settings.region = world.environment.region();
        settings.stands_by = variables.optional("REGION_ROLE") == Some(STANDBY);
        // Memory is freed after each batch, and a queue stands before it.
        settings.limits.backlog_per_account = usize::MAX;
        if let Some(least) = variables.parsed("REQUIRED_APPROVALS", "a number")? {
            settings.approval.ask_at_least(least);
        }
        let sessions: Arc<dyn Sessions> = match enters {
            Enters::Nothing => Arc::new(NoSessions),
            Enters::Members => {
                let prefix = secret(&*own, variables.text("EXTERNAL_ID_SECRET")?).await?;
                let member = |role: Option<String>, external_id: Secret<String>| MemberRole {
                    name: role.unwrap_or_else(|| config.aws.member_role.clone()),
                    external_id: Some(external_id),
                };
                let accounts = inputs.members.iter().map(|(id, role)| {
                    let own = config.accounts.get(id);
                    let role = role.clone().or_else(|| own?.role.clone());
                    let external_id = own
                        .and_then(|own| own.external_id.clone())
                        .unwrap_or_else(|| Secret::new(format!("{}-{id}", prefix.reveal())));
                    (id.clone(), member(role, external_id))
                });
                world.reach.members(SessionsSetup {
                    role: member(None, Secret::new(String::new())),
                    accounts: accounts.collect(),
                })?
            }
        };
        let mut store = world.reach.store(variables, Arc::clone(&own))?;
        if enters == Enters::Members {
            let text = secret(&*own, variables.text("VAULT_SECRET")?).await?;
            let vault = Vault::new(&Sha256::digest(text.reveal())).ok_or_else(|| {
                Failure::configuration("the key that seals secrets cannot be used")
            })?;
            let sensitive = Arc::new(ModelSecrets::new(Arc::clone(&models)));
            store.ledger = Arc::new(SealedLedger::new(store.ledger, vault, sensitive));
        }
        let notifiers = match enters {
            Enters::Members => notifiers(world, &own, &sessions)?,
            Enters::Nothing => Vec::new(),
        };
        Ok(Self {
            settings,
            guard: Arc::new(guard),
            catalog,
            models,
            own,
            sessions,
            store,
            notifiers,
            inputs,
            seen: world.clock.monotonic(),
        })
    }

    /// A hub for one invocation.
    #[must_use]
    pub fn hub(&self, world: &World) -> Arc<Hub> {
        let ports = Ports {
            sessions: Arc::clone(&self.sessions),
            ledger: Arc::clone(&self.store.ledger),
            directives: Arc::clone(&self.store.directives),
            clock: Arc::clone(&world.clock),
            ids: Arc::new(RandomIds),
            guard: Arc::clone(&self.guard),
            notifiers: self.notifiers.clone(),
        };
        let hub = Hub::new(
            ports,
            self.settings.clone(),
            Arc::clone(&self.catalog),
            Arc::clone(&self.models),
        );
        Arc::new(hub)
    }
}

/// What the function's variables set of the configuration: its own names, and those of the template.
fn overrides(environment: &Environment) -> Result<Vec<Override>, Failure> {
    let variables = Variables(environment);
    let mut overrides = stanch_config::from_environment(|name| environment.get(name));
    let mut set = |key: &str, name: &str, value: String| {
        let origin = Origin::Environment(name.to_owned());
        overrides.push(Override::from_text(key, &value, origin));
    };
    if let Some(role) = variables.optional("MEMBER_ROLE") {
        set("aws.member_role", "MEMBER_ROLE", role.to_owned());
    }
    let name = "APPROVAL_TIMEOUT_SECONDS";
    if let Some(seconds) = variables.parsed::<u32>(name, "a number of seconds")? {
        set("approval.expires_after", name, format!("{seconds}s"));
    }
    let names = variables.optional("APPROVERS").unwrap_or_default();
    let names: Vec<&str> = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if !names.is_empty() {
        for (key, value) in [
            ("approval.groups.approvers", json!(names)),
            ("approval.rules", json!([{"needs": {"approvers": 1}}])),
        ] {
            overrides.push(Override {
                key: key.to_owned(),
                value,
                origin: Origin::Environment("APPROVERS".to_owned()),
            });
        }
    }
    Ok(overrides)
}

/// Who is told, as the function's variables say.
fn notifiers(
    world: &World,
    own: &Arc<dyn Api>,
    sessions: &Arc<dyn Sessions>,
) -> Result<Vec<Arc<dyn Notifier>>, Failure> {
    let variables = Variables(&world.environment);
    let topic = Topic::new(Arc::clone(own), variables.text("SNS_TOPIC_ARN")?);
    let mut notifiers: Vec<Arc<dyn Notifier>> = vec![Arc::new(topic)];
    let (reach, home) = (Arc::clone(&world.reach), Arc::clone(own));
    let api: InRegion = Arc::new(move |region: &Region| {
        let there = reach.own(Some(region));
        there.unwrap_or_else(|_| Arc::clone(&home))
    });
    if variables.optional("SECURITY_HUB_NOTES") != Some("off") {
        notifiers.push(Arc::new(SecurityHub::new(Arc::clone(&api)).of_ends()));
    }
    if variables.optional("CONFIG_EVALUATIONS") != Some("off") {
        notifiers.push(Arc::new(ConfigRules::new(Arc::clone(sessions))));
    }
    if let Some(bucket) = variables.optional("LOG_BUCKET_PREFIX") {
        let key = variables.text("LOG_KEY_ALIAS")?;
        notifiers.push(Arc::new(LogBucket::new(api, bucket, key)));
    }
    Ok(notifiers)
}

/// The text of a secret of Secrets Manager.
async fn secret(own: &dyn Api, id: &str) -> Result<Secret<String>, Failure> {
    let call = Call::new("secretsmanager", "GetSecretValue", json!({"SecretId": id}));
    let reply = own.call(&call).await?;
    match reply.output.get("SecretString").and_then(Value::as_str) {
        Some(text) if text.len() >= 16 => Ok(Secret::new(text.to_owned())),
        _ => Err(
            Failure::configuration(format!("the secret `{id}` has less than 16 characters"))
                .hint("the stack's template makes it"),
        ),
    }
}

/// For a function that may enter no account.
struct NoSessions;

#[async_trait::async_trait]
impl Sessions for NoSessions {
    async fn open(&self, _: &stanch_types::Scope) -> Result<Arc<dyn Api>, stanch_types::CallError> {
        let call = Call::new("sts", "AssumeRole", Value::Null);
        let kind = stanch_types::CallErrorKind::Denied;
        let why = "this function enters no account";
        Err(stanch_types::CallError::new(kind, &call, why))
    }

    fn role_arn(&self, _: &stanch_types::Scope) -> String {
        String::new()
    }
}
