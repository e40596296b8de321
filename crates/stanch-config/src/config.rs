//! The configuration: defaults, a TOML file, the environment and the command line, in that order.
//!
//! Every value knows which of them it came from; `stanch config show` tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stanch_catalog::{Catalog, Class, Naming};
use stanch_guard::{Automatic, Breaker, Placement};
use stanch_hub::{
    Account, ApprovalRule, Approvals, Audience, Budget, Executor, Executors, Limits, Ring, Rollout,
    Settings,
};
use stanch_ledger::{Retention, Tables};
use stanch_notify::{Channels, Sender, Subscriber, Webhook};
use stanch_types::{AccountId, Region, Secret};

/// The file that is read when no other is named.
pub const DEFAULT_FILE: &str = "stanch.toml";

/// Where in the ledger's bucket the witness's copy is.
pub const WITNESS: &str = "witness/";

/// The whole configuration, as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The SQLite ledger, or `dynamodb:` and the audit table.
    pub ledger: PathBuf,
    /// Where a JSON document per remediation is kept, as `year=/month=/day=/`; off when absent.
    pub logs: Option<PathBuf>,
    /// Folders with remediations of your own, beside the built-in ones.
    pub catalog_dirs: Vec<PathBuf>,
    /// Who asks, where the command line does not say; your user name if absent.
    pub requester: Option<String>,
    /// Nothing is changed. As `STANCH_PAUSE=1` it stops one process at its start.
    #[serde(deserialize_with = "switch")]
    pub pause: bool,
    /// How the ledger is signed and witnessed.
    pub audit: Audit,
    /// How AWS is reached.
    pub aws: Aws,
    /// The member accounts.
    pub accounts: BTreeMap<AccountId, Member>,
    /// Parameters of remediations, by the remediation's name.
    pub parameters: BTreeMap<String, Map<String, Value>>,
    /// What runs without being asked.
    pub automatic: AutomaticSection,
    /// From plans only to automatic fixes, ring by ring.
    pub rollout: RolloutSection,
    /// What carries plans out.
    pub executor: ExecutorSection,
    /// What decides whether a change may be made.
    pub guard: GuardSection,
    /// How often a remediation may try one resource.
    pub budget: BudgetSection,
    /// How much may run at once.
    pub limits: LimitsSection,
    /// Approvals.
    pub approval: ApprovalSection,
    /// `stanch serve`.
    pub serve: Serve,
    /// Who is told.
    pub notify: Channels,
    /// The log of `stanch serve`.
    pub log: Log,
    /// `stanch gameday`.
    pub gameday: Gameday,
    /// What is deployed in AWS, for those who operate it.
    pub deployment: DeploymentSection,
}

impl Config {
    /// The audit table, if that is where the ledger is.
    #[must_use]
    pub fn audit_table(&self) -> Option<&str> {
        self.ledger.to_str()?.strip_prefix("dynamodb:")
    }

    /// The tables of a ledger that is in some.
    #[must_use]
    pub fn tables(&self, retention: Retention) -> Option<Tables> {
        let audit = self.audit_table()?;
        let state = self.audit.state_table.clone();
        Some(Tables {
            audit: audit.to_owned(),
            state: state.unwrap_or_else(|| {
                let prefix = audit.strip_suffix("AuditLog").unwrap_or(audit);
                format!("{prefix}State")
            }),
            bucket: self.audit.bucket.clone(),
            retention,
        })
    }
}

impl Audit {
    /// The key of AWS KMS that signs checkpoints, if one does.
    #[must_use]
    pub fn kms_key(&self) -> Option<&str> {
        self.key.as_ref()?.to_str()?.strip_prefix("kms:")
    }
}

/// How the ledger is signed and witnessed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The Ed25519 key that signs checkpoints, as PEM, or `kms:` and the key of AWS KMS. If absent, it
    /// is beside a ledger that is a file, and made when it is first needed; a table's is signed by
    /// whoever sweeps it.
    pub key: Option<PathBuf>,
    /// The name that checkpoints are signed by; from the key if absent.
    pub origin: Option<String>,
    /// How often `stanch serve` signs what the ledger has become, for the witness in `logs`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub checkpoint_every: Duration,
    /// The key that secrets in events are sealed with, 32 bytes as base64. If absent, it is beside the
    /// ledger, and made when it is first needed.
    pub vault: Option<PathBuf>,
    /// How many days the contents of events are kept, 90 to 2557 (7 years).
    pub retention_days: RetentionDays,
    /// The state table beside an audit table; if absent, `…State` beside `…AuditLog`.
    pub state_table: Option<String>,
    /// The bucket of a ledger in tables: for what no item holds, and for the witness.
    pub bucket: Option<String>,
}

/// How many days the contents of events are kept, by class of remediation.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionDays {
    /// Of class `safe`.
    #[serde(deserialize_with = "years")]
    pub safe: u16,
    /// Of class `guarded`.
    #[serde(deserialize_with = "years")]
    pub guarded: u16,
    /// Of class `destructive`, and of remediations that the catalog does not have.
    #[serde(deserialize_with = "years")]
    pub destructive: u16,
}

impl RetentionDays {
    /// How long contents are kept of the remediations of a catalog.
    #[must_use]
    pub fn of(self, catalog: Arc<Catalog>) -> Retention {
        Retention::by(move |remediation| {
            let days = match catalog.get(remediation).map(|one| one.safety.class) {
                Some(Class::Safe) => self.safe,
                Some(Class::Guarded) => self.guarded,
                // Also what the catalog has no more.
                Some(Class::Destructive) | None => self.destructive,
            };
            Duration::from_hours(24 * u64::from(days))
        })
    }
}

fn years<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let days = u16::deserialize(deserializer)?;
    match days {
        90..=2557 => Ok(days),
        _ => Err(serde::de::Error::custom(
            "it is kept for 90 to 2557 days (7 years)",
        )),
    }
}

/// How AWS is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// One endpoint for every service, such as an emulator's.
    pub endpoint_url: Option<String>,
    /// The role that is assumed in each member account.
    pub member_role: String,
    /// Files in the format of botocore's `service-2.json` with services that AWS's own lack, or
    /// instead of those.
    pub service_models: Vec<PathBuf>,
    /// How long one call may take, retries included.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub call_timeout: Duration,
}

/// A member account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its alias, for people.
    pub name: Option<String>,
    /// The external id that its role's trust policy asks for.
    pub external_id: Option<Secret<String>>,
    /// The role, where it is not `aws.member_role`.
    pub role: Option<String>,
    /// The regions to act in; all if absent.
    pub regions: Option<BTreeSet<Region>>,
    /// Findings of a test account are skipped.
    #[serde(default)]
    pub test: bool,
    /// The path of its organizational unit: `root/prod/payments`.
    pub ou: Option<String>,
    /// Its tags, for policies; none at all with `{}`, not known if absent.
    pub tags: Option<BTreeMap<String, String>>,
}

/// What runs without being asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomaticSection {
    /// All remediations of class `safe`.
    pub safe: bool,
    /// These of class `guarded`, by name.
    pub guarded: BTreeSet<String>,
}

/// From plans only to automatic fixes, ring by ring.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSection {
    /// In order; every account begins in the first. Without rings nothing is limited.
    pub rings: Vec<Ring>,
    /// The share of failed changes, from 0 to 1, that sends an account one ring back.
    pub failure_rate: f64,
    /// Over which time they are counted.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub window: Duration,
    /// Fewer changes than this say nothing.
    pub minimum: u32,
}

/// What carries plans out: `native`, this process, or `ssm`, documents in the member account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutorSection {
    /// Where nothing else is named.
    pub default: Executor,
    /// By member account.
    pub accounts: BTreeMap<AccountId, Executor>,
    /// By control, as findings name it.
    pub controls: BTreeMap<String, Executor>,
    /// By remediation.
    pub actions: BTreeMap<String, Executor>,
    /// The member stack's `NamePrefix`.
    pub name_prefix: String,
    /// How old an execution is before it is looked at without an event.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub look_after: Duration,
    /// How old an execution may grow before it is cancelled.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub give_up_after: Duration,
}

/// `1` and everything else that is not clearly a no is a yes: what stops must not fail to.
fn switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "" | "0" | "no" | "off" | "false"
        ),
        _ => true,
    })
}

/// What decides whether a change may be made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardSection {
    /// A file or folder of Cedar policies, which then replace `automatic`.
    pub policies: Option<PathBuf>,
    /// Change calendars, as iCalendar files.
    pub calendars: Vec<PathBuf>,
    /// A file of exemptions.
    pub exemptions: Option<PathBuf>,
    /// Feeds of threat intelligence: files, or what `https://` addresses give.
    pub threat_feeds: Vec<PathBuf>,
    /// How often `stanch serve` reads all of these again.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub reread_every: Duration,
    /// How often feeds with an address are fetched.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub threat_feeds_every: Duration,
    /// People that policies know.
    pub people: BTreeMap<String, PersonSection>,
    /// Changes an hour in one account.
    pub per_account: Option<u32>,
    /// Changes an hour for one control.
    pub per_control: Option<u32>,
    /// Changes an hour on one type of resource.
    pub per_resource_type: Option<u32>,
    /// Changes a day that are made by themselves to what was found before the end of the ledger's first day.
    pub backlog: u32,
    /// When failures stop a remediation from running by itself.
    pub breaker: BreakerSection,
}

/// A person that policies know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonSection {
    /// Their roles.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// The serial number of their MFA device: its ARN.
    pub mfa_serial: Option<String>,
}

/// When failures stop a remediation from running by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerSection {
    /// How many of the last runs are looked at; 0 is off.
    pub runs: u32,
    /// It opens when this part of them failed.
    pub rate: f64,
    /// How long failures count.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub period: Duration,
}

/// How often a remediation may try one resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSection {
    /// Attempts within the period.
    pub attempts: u32,
    /// The period.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub period: Duration,
    /// The pause after a failed attempt.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub cool_down: Duration,
}

/// How much may run at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Remediations at once, over all accounts.
    pub workers: usize,
    /// Remediations at once in one account.
    pub per_account: usize,
    /// Findings of one account that may wait in memory.
    pub backlog_per_account: usize,
    /// How long a resource stays locked by a hub that has died.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lease: Duration,
    /// How long the effect of a request that nobody saw answered may be on its way.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub settle: Duration,
}

/// Approvals.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalSection {
    /// How long one is waited for, and how long it stands.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub expires_after: Duration,
    /// Who approves in which role.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// Whose approval is needed for what; the first that fits.
    pub rules: Vec<ApprovalRuleSection>,
    /// People's own addresses, which get their links as a JSON POST. Never shown.
    pub webhooks: BTreeMap<String, Secret<String>>,
    /// A file with the secret that signs links; without it there are none. In AWS a secret of Secrets
    /// Manager has it.
    pub link_key_file: Option<PathBuf>,
    /// Where people reach `stanch serve`, if not at `serve.listen`.
    pub public_url: Option<String>,
}

/// Whose approval some remediations need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRuleSection {
    /// Of these classes; all if it is left out.
    #[serde(default)]
    pub classes: BTreeSet<Class>,
    /// In these accounts; all if it is left out.
    #[serde(default)]
    pub accounts: BTreeSet<AccountId>,
    /// These, by name; all if it is left out.
    #[serde(default)]
    pub remediations: BTreeSet<String>,
    /// So many of each group.
    pub needs: BTreeMap<String, u32>,
}

impl ApprovalSection {
    /// People's own addresses as channels, each of which reaches that person alone.
    pub fn subscribers(&self, sender: &Sender) -> impl Iterator<Item = Subscriber> {
        self.webhooks.iter().map(move |(person, url)| {
            let name = format!("{} of {person}", Webhook::name(url));
            let channel = Box::new(Webhook::new(url.clone()));
            let webhook = Subscriber::new(name, channel, sender.clone());
            webhook.to(Audience::Person(person.clone()))
        })
    }

    /// What a rule asks for that no group can give.
    ///
    /// # Errors
    /// The rule, by its number, and why.
    fn check(&self) -> Result<(), String> {
        for (number, rule) in (1..).zip(&self.rules) {
            let wrong = |why: String| Err(format!("rule {number} of `approval.rules` {why}"));
            if rule.needs.is_empty() {
                return wrong("needs nobody".to_owned());
            }
            for (role, count) in &rule.needs {
                let group = self.groups.get(role).map_or(0, BTreeSet::len);
                if *count == 0 || u32::try_from(group).unwrap_or(u32::MAX) < *count {
                    return wrong(format!(
                        "needs {count} of `{role}`, and `approval.groups.{role}` has {group}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// `stanch serve`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// The address that takes events over HTTP.
    pub listen: SocketAddr,
    /// A file with the secret that each request carries as `Authorization: Bearer …`.
    pub secret_file: Option<PathBuf>,
    /// TLS, and who must show a certificate.
    pub tls: Tls,
    /// A folder whose `*.json` files are taken in.
    pub inbox: Option<PathBuf>,
    /// A queue to receive from.
    pub sqs_queue_url: Option<String>,
    /// Regions whose Security Hub is asked for open findings.
    pub security_hub_regions: Vec<Region>,
    /// How often Security Hub is asked.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll_every: Duration,
    /// How often the folder is looked at. A file is taken once it stays the same from one look to
    /// the next.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub inbox_every: Duration,
}

/// TLS at the address of `stanch serve`. Without a certificate it speaks plain HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate that is shown, as PEM, then those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// Its private key, as PEM.
    pub key: Option<PathBuf>,
    /// The authorities, as PEM, by one of which whoever delivers must have a certificate.
    pub client_ca: Option<PathBuf>,
}

/// The log of `stanch serve`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogLevel,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What may become wrong.
    Warn,
    /// What happens.
    Info,
    /// What is decided.
    Debug,
    /// Everything.
    Trace,
}

/// `stanch gameday`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gameday {
    /// The role in the test account that plants misconfigurations; the member role may not.
    pub role: String,
}

/// What is deployed in AWS, for those who operate it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSection {
    /// The templates' `NamePrefix`.
    pub name_prefix: String,
    /// The templates' `BucketPrefix`.
    pub bucket_prefix: String,
    /// The region of the administrator stack; the environment's if absent.
    pub region: Option<Region>,
    /// The regions of member stacks, where an account does not say its own; the administrator's if empty.
    pub member_regions: Vec<Region>,
    /// The role of member accounts by which they are looked into. Its sessions can only read.
    pub audit_role: Option<String>,
}

/// The defaults, which are also the list of what can be set.
fn defaults() -> Value {
    let (settings, automatic) = (Settings::default(), Automatic::default());
    json!({
        "ledger": "stanch.db",
        "logs": null,
        "catalog_dirs": [],
        "pause": false,
        "requester": null,
        "audit": { "key": null, "origin": null, "checkpoint_every": "1m", "vault": null,
            "retention_days": { "safe": 365, "guarded": 2557, "destructive": 2557 },
            "state_table": null, "bucket": null },
        "aws": {
            "endpoint_url": null,
            "service_models": [],
            "member_role": "SecurityRemediationCrossAccountRole",
            "call_timeout": "30s",
        },
        "accounts": {},
        "parameters": {},
        "automatic": { "safe": automatic.safe, "guarded": [] },
        "rollout": {
            "rings": [],
            "failure_rate": settings.rollout.failure_rate,
            "window": "1h",
            "minimum": settings.rollout.minimum,
        },
        "executor": {
            "default": settings.executors.default,
            "accounts": {},
            "controls": {},
            "actions": {},
            "name_prefix": Naming::PREFIX,
            "look_after": "1m",
            "give_up_after": "1h",
        },
        "guard": {
            "policies": null,
            "calendars": [],
            "exemptions": null,
            "threat_feeds": [],
            "reread_every": "1m",
            "threat_feeds_every": "1h",
            "people": {},
            "per_account": null,
            "per_control": null,
            "per_resource_type": null,
            "backlog": 20,
            "breaker": { "runs": 10, "rate": 0.5, "period": "1h" },
        },
        "budget": { "attempts": settings.budget.attempts, "period": "24h", "cool_down": "5m" },
        "limits": {
            "workers": settings.workers,
            "per_account": settings.limits.per_account,
            "backlog_per_account": settings.limits.backlog_per_account,
            "lease": "30s",
            "settle": "5s",
        },
        "approval": {
            "expires_after": "24h",
            "groups": {},
            "rules": [],
            "webhooks": {},
            "link_key_file": null,
            "public_url": null,
        },
        "serve": {
            "listen": "127.0.0.1:8787",
            "secret_file": null,
            "tls": { "certificate": null, "key": null, "client_ca": null },
            "inbox": null,
            "sqs_queue_url": null,
            "security_hub_regions": [],
            "poll_every": "5m",
            "inbox_every": "1s",
        },
        "notify": {
            "webhooks": [],
            "signed": {},
            "slack": {},
            "teams": {},
            "pagerduty": {},
            "servicenow": {},
            "jira": {},
            "topics": {},
            "event_buses": {},
            "security_hub": false,
            "config_rules": false,
        },
        "log": { "format": "text", "level": "info" },
        "gameday": { "role": "OrganizationAccountAccessRole" },
        "deployment": {
            "name_prefix": "SecurityRemediation",
            "bucket_prefix": "security-remediation",
            "region": null,
            "member_regions": [],
            "audit_role": null,
        },
    })
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there or not readable.
    #[error("cannot read the configuration `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("`{path}` is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message, which shows the line.
        message: String,
    },
    /// A value that does not fit.
    #[error("`{key}` (from {origin}): {message}")]
    Value {
        /// The dotted key.
        key: String,
        /// Where the value came from.
        origin: Origin,
        /// What is wrong with it.
        message: String,
    },
    /// A key that does not exist.
    #[error("there is no setting `{key}` ({origin})")]
    Unknown {
        /// The dotted key.
        key: String,
        /// Where it was given.
        origin: Origin,
    },
}

/// The configuration with the origin of each value.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// Each dotted key with its value and origin; secrets masked.
    pub origins: BTreeMap<String, (Value, Origin)>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// A value from the environment or the command line.
#[derive(Debug)]
pub struct Override {
    /// The dotted key, such as `aws.endpoint_url`.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Override {
    /// A value given as text: where the default is not text, it is read as TOML; a list may also be
    /// written with commas.
    #[must_use]
    pub fn from_text(key: &str, text: &str, origin: Origin) -> Self {
        let pointer = format!("/{}", key.replace('.', "/"));
        let known = defaults().pointer(&pointer).cloned();
        let toml = || {
            let table: Result<Map<String, Value>, _> = toml::from_str(&format!("value = {text}"));
            table.ok().and_then(|mut table| table.remove("value"))
        };
        let value = match known {
            Some(Value::Null | Value::String(_)) => Value::from(text),
            Some(Value::Array(_)) => toml().filter(Value::is_array).unwrap_or_else(|| {
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .collect()
            }),
            _ => toml().unwrap_or_else(|| Value::from(text)),
        };
        Self {
            key: key.to_owned(),
            value,
            origin,
        }
    }
}

/// What the environment sets: `STANCH_AWS_ENDPOINT_URL` is `aws.endpoint_url`.
pub fn from_environment<'e>(get: impl Fn(&str) -> Option<&'e str>) -> Vec<Override> {
    let mut found = Vec::new();
    leaves("", &defaults(), &mut |key, _| {
        let name = variable(key);
        if let Some(text) = get(&name) {
            found.push(Override::from_text(key, text, Origin::Environment(name)));
        }
    });
    found
}

/// Variables that look like settings and are none.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    // The development tasks have these.
    const OTHERS: [&str; 4] = [
        "STANCH_CONFIG",
        "STANCH_EMULATOR",
        "STANCH_WRITE_GENERATED",
        "STANCH_AWS_TEST",
    ];
    let mut known: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    leaves("", &defaults(), &mut |key, _| {
        known.insert(variable(key));
    });
    names
        .filter(|name| name.starts_with("STANCH_") && !known.contains(name))
        .collect()
}

fn variable(key: &str) -> String {
    format!("STANCH_{}", key.replace('.', "_").to_uppercase())
}

/// Values that name a file or folder: those of the configuration file are relative to it.
const PATHS: [&str; 16] = [
    "ledger",
    "logs",
    "audit.key",
    "audit.vault",
    "catalog_dirs",
    "guard.policies",
    "guard.calendars",
    "guard.exemptions",
    "guard.threat_feeds",
    "aws.service_models",
    "approval.link_key_file",
    "serve.secret_file",
    "serve.tls.certificate",
    "serve.tls.key",
    "serve.tls.client_ca",
    "serve.inbox",
];

/// What is no path.
const ELSEWHERE: [&str; 3] = ["dynamodb:", "kms:", "https:"];

fn anchor(layer: &mut Value, folder: &Path) {
    fn join(value: &mut Value, folder: &Path) {
        match value {
            Value::String(path) if ELSEWHERE.iter().any(|scheme| path.starts_with(scheme)) => {}
            Value::String(path) => *path = folder.join(&*path).to_string_lossy().into_owned(),
            Value::Array(paths) => paths.iter_mut().for_each(|path| join(path, folder)),
            _ => {}
        }
    }
    for key in PATHS {
        if let Some(value) = layer.pointer_mut(&format!("/{}", key.replace('.', "/"))) {
            join(value, folder);
        }
    }
}

/// A configuration file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it was read: the paths in it are relative to its folder.
    pub path: PathBuf,
    /// The TOML.
    pub toml: String,
}

/// Lays the file above the defaults, and the overrides above both.
///
/// # Errors
/// The first thing that is wrong, with the place it came from.
pub fn resolve(file: Option<Text>, overrides: Vec<Override>) -> Result<Resolved, ConfigError> {
    let mut merged = defaults();
    let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
    leaves("", &merged, &mut |key, _| {
        drop(origins.insert(key.to_owned(), Origin::Default))
    });

    let mut read = None;
    if let Some(Text { path, toml }) = file {
        let table: Map<String, Value> =
            toml::from_str(&toml).map_err(|error| ConfigError::Syntax {
                path: path.clone(),
                message: error.to_string().trim_end().to_owned(),
            })?;
        let origin = Origin::File(path.clone());
        let mut layer = Value::Object(table);
        anchor(&mut layer, path.parent().unwrap_or(Path::new("")));
        leaves("", &layer, &mut |key, _| {
            drop(origins.insert(key.to_owned(), origin.clone()))
        });
        merge(&mut merged, layer);
        read = Some(path);
    }
    for Override { key, value, origin } in overrides {
        let layer = key
            .rsplit('.')
            .fold(value, |inner, part| json!({ part: inner }));
        origins.insert(key, origin);
        merge(&mut merged, layer);
    }

    let config: Config = serde_path_to_error::deserialize(&merged).map_err(|error| {
        let key = error.path().to_string();
        let message = error.inner().to_string();
        let unknown = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'));
        if let Some((name, _)) = unknown {
            let key = if key == "." { name.to_owned() } else { key };
            let key = if key.ends_with(name) {
                key
            } else {
                format!("{key}.{name}")
            };
            let origin = origin_of(&origins, &key);
            return ConfigError::Unknown { key, origin };
        }
        let origin = origin_of(&origins, &key);
        let message = match is_secret(&key) && !message.starts_with("missing field") {
            true => "it must be text, as everything secret".to_owned(),
            false => message,
        };
        ConfigError::Value {
            key,
            origin,
            message,
        }
    })?;

    if let Err(message) = config.approval.check() {
        let key = "approval.rules".to_owned();
        let origin = origin_of(&origins, &key);
        return Err(ConfigError::Value {
            key,
            origin,
            message,
        });
    }
    if let Err((within, message)) = config.notify.check() {
        let key = format!("notify.{within}");
        let origin = origin_of(&origins, &key);
        return Err(ConfigError::Value {
            key,
            origin,
            message,
        });
    }
    let mut shown = BTreeMap::new();
    leaves("", &merged, &mut |key, value| {
        let masked = if is_secret(key) {
            mask(value)
        } else {
            value.clone()
        };
        shown.insert(key.to_owned(), (masked, origin_of(&origins, key)));
    });
    Ok(Resolved {
        config,
        origins: shown,
        file: read,
    })
}

fn is_secret(key: &str) -> bool {
    key.ends_with(".external_id")
        || key.starts_with("approval.webhooks")
        || key.starts_with("notify.") && !is_shown_of_notify(key)
}

/// Of channels all is secret but this: a table that is not what it should be may hold anything.
fn is_shown_of_notify(key: &str) -> bool {
    const SHOWN: [&str; 10] = [
        "arn",
        "begun",
        "bus",
        "change_type",
        "closing_states",
        "done_transition",
        "issue_type",
        "project",
        "region",
        "user",
    ];
    let parts: Vec<&str> = key.split('.').collect();
    match &parts[..] {
        [_, "security_hub" | "config_rules"] => true,
        [_, "pagerduty" | "servicenow" | "jira", _, "url"] => true,
        [_, _, _, "only", ..] => true,
        [_, _, _, member] => SHOWN.contains(member),
        _ => false,
    }
}

fn mask(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(members) if members.is_empty() => value.clone(),
        _ => json!("***"),
    }
}

fn origin_of(origins: &BTreeMap<String, Origin>, key: &str) -> Origin {
    // What was set itself, something within it, or the smallest table around it.
    let within = |known: &String| known.starts_with(&format!("{key}."));
    let around = |known: &String| key.starts_with(&format!("{known}."));
    let known = origins
        .get_key_value(key)
        .or_else(|| origins.iter().find(|(known, _)| within(known)))
        .or_else(|| origins.iter().rfind(|(known, _)| around(known)));
    known.map_or(Origin::Default, |(_, origin)| origin.clone())
}

/// Calls `visit` with the dotted key of every value that is not a non-empty table.
fn leaves(prefix: &str, value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let key = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                leaves(&key, member, visit);
            }
        }
        _ => visit(prefix, value),
    }
}

fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

impl Config {
    /// What the hub needs of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            accounts: self
                .accounts
                .iter()
                .map(|(id, member)| {
                    let account = Account {
                        name: member.name.clone(),
                        regions: member.regions.clone(),
                        ou: member.ou.clone(),
                        test: member.test,
                    };
                    (id.clone(), account)
                })
                .collect(),
            paused: self.pause,
            // Who runs it where there is a second region says which one this is.
            region: None,
            stands_by: false,
            rollout: Rollout {
                rings: self.rollout.rings.clone(),
                failure_rate: self.rollout.failure_rate,
                window: self.rollout.window,
                minimum: self.rollout.minimum,
            },
            parameters: self.parameters.clone(),
            executors: Executors {
                default: self.executor.default,
                accounts: self.executor.accounts.clone(),
                controls: self.executor.controls.clone(),
                actions: self.executor.actions.clone(),
                naming: Naming::new(&self.executor.name_prefix),
                look_after: self.executor.look_after,
                give_up_after: self.executor.give_up_after,
                ..Executors::default()
            },
            budget: Budget {
                attempts: self.budget.attempts,
                period: self.budget.period,
                cool_down: self.budget.cool_down,
            },
            workers: self.limits.workers,
            limits: Limits {
                per_account: self.limits.per_account,
                backlog_per_account: self.limits.backlog_per_account,
            },
            approval: Approvals {
                expires_after: self.approval.expires_after,
                groups: self.approval.groups.clone(),
                rules: self
                    .approval
                    .rules
                    .iter()
                    .map(|rule| ApprovalRule {
                        classes: rule.classes.clone(),
                        accounts: rule.accounts.clone(),
                        remediations: rule.remediations.clone(),
                        needs: rule.needs.clone(),
                    })
                    .collect(),
                links: None,
            },
            settle: self.limits.settle,
            // And some time for the journal.
            request: self.aws.call_timeout.saturating_add(Duration::from_secs(5)),
            lease: self.limits.lease,
        }
    }

    /// What the guard needs of it beside files.
    #[must_use]
    pub fn rules(&self) -> stanch_guard::Rules {
        let GuardSection {
            people,
            per_account,
            per_control,
            per_resource_type,
            backlog,
            breaker,
            ..
        } = &self.guard;
        let placements = self.accounts.iter().map(|(id, member)| {
            let placement = Placement {
                ou: member.ou.clone(),
                tags: member.tags.clone(),
            };
            (id.clone(), placement)
        });
        stanch_guard::Rules {
            policies: stanch_guard::Source::BuiltIn(Automatic {
                safe: self.automatic.safe,
                guarded: self.automatic.guarded.clone(),
            }),
            accounts: placements.collect(),
            people: people
                .iter()
                .map(|(name, person)| (name.clone(), person.roles.clone()))
                .collect(),
            limits: stanch_guard::Limits {
                per_account: *per_account,
                per_control: *per_control,
                per_resource_type: *per_resource_type,
                breaker: (breaker.runs > 0).then(|| Breaker {
                    runs: breaker.runs,
                    rate: breaker.rate,
                    period: breaker.period.try_into().unwrap_or(SignedDuration::MAX),
                }),
                backlog: Some(*backlog),
            },
            ..stanch_guard::Rules::default()
        }
    }
}
