//! What a hub in AWS is made of, from the variables of its function.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_aws::{Environment, HttpClient, MemberRole, SessionsSetup};
use stanch_catalog::Catalog;
use stanch_config::{
    ApprovalSection, Feeds, Fetched, LARGEST_FEED, Origin, Override, RandomIds, Resolved,
    RulesError,
};
use stanch_guard::{Guard, Rules};
use stanch_hub::{Account, Hub, Links, ModelSecrets, Notifier, Ports, Settings};
use stanch_ledger::{SealedLedger, Vault};
use stanch_models::Models;
use stanch_notify::{ConfigRules, InRegion, LogBucket, Patience, SecurityHub, Sender, Topic};
use stanch_types::{AccountId, Api, Call, Region, Secret, Sessions, chain};
use tokio::sync::Mutex;

use crate::{
    Failure, Variables, World,
    files::{self, Configured},
    members::{MemberList, Members, Wanted},
    organization::{Answers, Organization},
    world::Store,
};

/// How long what was read and looked up is used before it is read again.
const AGE: Duration = Duration::from_mins(5);

/// `REGION_ROLE` of the stack that stands by for another one.
const STANDBY: &str = "standby";

/// How long it is tried to ask a person for an approval: within an invocation, which asks one person after
/// the other.
const PATIENCE: Patience = Patience {
    attempts: 3,
    attempt: Duration::from_secs(5),
    pause: Duration::from_secs(1),
    total: Duration::from_secs(12),
};

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
    /// What Organizations has answered.
    answers: Arc<Mutex<Answers>>,
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
    let mut resolved = stanch_config::resolve(configured.file.clone(), overrides)
        .map_err(|error| Failure::configuration(chain(&error)))?;
    let name = "AUDIT_LOG_RETENTION_DAYS";
    if let Some(days) = Variables(&world.environment).parsed(name, "a number of days")? {
        keep(&mut resolved, days);
    }
    Ok(resolved)
}

/// The stack says how long those classes are kept of which nothing else does.
fn keep(resolved: &mut Resolved, days: u16) {
    let kept = &mut resolved.config.audit.retention_days;
    for (class, kept) in [
        ("safe", &mut kept.safe),
        ("guarded", &mut kept.guarded),
        ("destructive", &mut kept.destructive),
    ] {
        let origin = resolved
            .origins
            .get(&format!("audit.retention_days.{class}"));
        if matches!(origin, Some((_, Origin::Default))) {
            *kept = days;
        }
    }
}

fn rules(resolved: &Resolved, configured: &Configured, feeds: &Fetched) -> Result<Rules, Failure> {
    let rules = stanch_config::rules(resolved, configured, feeds);
    rules.map_err(|error| broken_rules(&error))
}

fn broken_rules(error: &RulesError) -> Failure {
    Failure::configuration(error.to_string()).hint(error.hint())
}

/// Says of accounts what Organizations does, where the configuration says nothing.
fn place(accounts: &mut BTreeMap<AccountId, stanch_config::Member>, members: &Members) {
    for (id, member) in members {
        let account = accounts.entry(id.clone()).or_default();
        if account.ou.is_none() {
            account.ou.clone_from(&member.ou);
        }
        if account.tags.is_none() {
            account.tags.clone_from(&member.tags);
        }
    }
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
        let feeds = feeds.map_err(|error| broken_rules(&error))?;
        let wanted = Wanted {
            configured: &resolved.config.accounts,
            places: variables.optional("ORGANIZATION_ID").is_some(),
            tags: rules(&resolved, &configured, &feeds)?.go_by_account_tags(),
        };
        let answers = before.as_ref().map(|before| Arc::clone(&before.answers));
        let answers = answers.unwrap_or_default();
        let members = {
            let mut answers = answers.lock().await;
            let mut organization = Organization::new(&*own, &models, &*world.clock, &mut answers);
            list.look_up(&mut organization, wanted).await?
        };
        let inputs = Inputs {
            members,
            feeds,
            configured,
        };
        if let Some(before) = before
            && before.inputs == inputs
            && let Some(mut same) = Arc::into_inner(before)
        {
            same.seen = now;
            return Ok(Arc::new(same));
        }
        let made = Self::make(world, enters, models, own, inputs, answers).await?;
        Ok(Arc::new(made))
    }

    async fn make(
        world: &World,
        enters: Enters,
        models: Arc<Models>,
        own: Arc<dyn Api>,
        inputs: Inputs,
        answers: Arc<Mutex<Answers>>,
    ) -> Result<Self, Failure> {
        let variables = Variables(&world.environment);
        let configuration = |error: String| Failure::configuration(error);
        let mut resolved = resolved(world, &inputs.configured)?;
        place(&mut resolved.config.accounts, &inputs.members);
        let rules = rules(&resolved, &inputs.configured, &inputs.feeds)?;
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
        if enters == Enters::Members {
            settings.approval.links = links(variables, &*own, &config.approval).await?;
        }
        let sessions: Arc<dyn Sessions> = match enters {
            Enters::Nothing => Arc::new(NoSessions),
            Enters::Members => {
                let prefix = secret(&*own, variables.text("EXTERNAL_ID_SECRET")?, 16).await?;
                let member = |role: Option<String>, external_id: Secret<String>| MemberRole {
                    name: role.unwrap_or_else(|| config.aws.member_role.clone()),
                    external_id: Some(external_id),
                };
                let accounts = inputs.members.iter().map(|(id, listed)| {
                    let own = config.accounts.get(id);
                    let role = listed.role.clone().or_else(|| own?.role.clone());
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
        let retention = config.audit.retention_days.of(Arc::clone(&catalog));
        let mut store = world.reach.store(variables, Arc::clone(&own), retention)?;
        if enters == Enters::Members {
            let text = secret(&*own, variables.text("VAULT_SECRET")?, 16).await?;
            let vault = Vault::new(&Sha256::digest(text.reveal())).ok_or_else(|| {
                Failure::configuration("the key that seals secrets cannot be used")
            })?;
            let sensitive = Arc::new(ModelSecrets::new(Arc::clone(&models)));
            store.ledger = Arc::new(SealedLedger::new(store.ledger, vault, sensitive));
        }
        let notifiers = match enters {
            Enters::Members => notifiers(world, &own, &sessions, &config.approval)?,
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
            answers,
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

/// What signs the links by which people answer at the page that `stanch serve` shows, if there is one.
async fn links(
    variables: Variables<'_>,
    own: &dyn Api,
    approval: &ApprovalSection,
) -> Result<Option<Links>, Failure> {
    let Some(id) = variables.optional("LINK_KEY_SECRET") else {
        if approval.link_key_file.is_some() {
            tracing::warn!("no links are made: the stack's `ApprovalPageUrl` has the key made");
        }
        return Ok(None);
    };
    let is_url = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
    let base = approval.public_url.as_ref().filter(is_url).ok_or_else(|| {
        Failure::configuration("`approval.public_url` is no URL, and links are to be made").hint(
            "the stack's `ApprovalPageUrl` sets it: `https://…`, as people reach `stanch serve`",
        )
    })?;
    // As `stanch serve` reads it from its file.
    let key = secret(own, id, 32).await?.reveal().trim().to_owned();
    Ok(Some(Links::new(Secret::new(key), base)))
}

/// Who is told: as the function's variables say, and people who may approve at their own addresses.
fn notifiers(
    world: &World,
    own: &Arc<dyn Api>,
    sessions: &Arc<dyn Sessions>,
    approval: &ApprovalSection,
) -> Result<Vec<Arc<dyn Notifier>>, Failure> {
    let variables = Variables(&world.environment);
    let topic = Topic::new(Arc::clone(own), variables.text("SNS_TOPIC_ARN")?);
    let mut notifiers: Vec<Arc<dyn Notifier>> = vec![Arc::new(topic)];
    if !approval.webhooks.is_empty() {
        let http = Arc::new(HttpClient::new(world.environment.clone()));
        let sender = Sender::new(http, Arc::clone(&world.clock), PATIENCE);
        for subscriber in approval.subscribers(&sender) {
            notifiers.push(Arc::new(subscriber));
        }
    }
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

/// The text of a secret of Secrets Manager, of at least so many characters.
async fn secret(own: &dyn Api, id: &str, least: usize) -> Result<Secret<String>, Failure> {
    let call = Call::new("secretsmanager", "GetSecretValue", json!({"SecretId": id}));
    let reply = own.call(&call).await?;
    let text = reply.output.get("SecretString").and_then(Value::as_str);
    match text {
        Some(text) if text.len() >= least => Ok(Secret::new(text.to_owned())),
        _ => Err(Failure::configuration(format!(
            "the secret `{id}` has less than {least} characters"
        ))
        .hint("the stack's template makes it")),
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

#[cfg(test)]
mod tests {
    use stanch_config::Text;

    use super::*;

    #[test]
    fn the_stack_says_how_long_classes_are_kept_that_the_file_does_not_name() {
        let file = Text {
            path: "stanch.toml".into(),
            toml: "audit.retention_days.guarded = 365".to_owned(),
        };
        let mut resolved = stanch_config::resolve(Some(file), Vec::new()).unwrap();
        keep(&mut resolved, 90);
        let days = resolved.config.audit.retention_days;
        let retention = days.of(Arc::new(Catalog::embedded()));
        for (remediation, days) in [
            ("SqsEncryptQueue", 90),
            ("S3BlockPublicAccess", 365),
            ("S3LockObjects", 90),
            ("NobodyKnows", 90),
        ] {
            let kept = retention.of(remediation);
            assert_eq!(kept, Duration::from_hours(24 * days), "{remediation}");
        }
    }
}
