//! Which channels there are: the `notify` section of a configuration file, and the JSON of the secret
//! that the notifier function reads. Both have the same members.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use stanch_hub::Notifier;
use stanch_types::{Arn, Region, Secret, Sessions};

use crate::{
    bus::EventBus,
    finding::{ConfigRules, SecurityHub},
    jira::Jira,
    logs::InRegion,
    pagerduty::{ENQUEUE, PagerDuty},
    send::{Channel, Filter, Sender, Subscriber},
    servicenow::{CLOSED, Login, ServiceNow},
    slack::Slack,
    teams::Teams,
    topic::Topic,
    webhook::Webhook,
};

/// All channels, most of them by a name of the operator's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channels {
    /// Addresses that get each message as a JSON POST, unsigned.
    pub webhooks: Vec<Secret<String>>,
    /// The same, signed.
    pub signed: BTreeMap<String, SignedSection>,
    /// Slack's incoming webhooks.
    pub slack: BTreeMap<String, UrlSection>,
    /// Workflows of Microsoft Teams.
    pub teams: BTreeMap<String, UrlSection>,
    /// Services of PagerDuty.
    pub pagerduty: BTreeMap<String, PagerDutySection>,
    /// ServiceNow's change requests.
    pub servicenow: BTreeMap<String, ServiceNowSection>,
    /// Jira's issues.
    pub jira: BTreeMap<String, JiraSection>,
    /// Topics of SNS.
    pub topics: BTreeMap<String, TopicSection>,
    /// Event buses.
    pub event_buses: BTreeMap<String, EventBusSection>,
    /// Findings in Security Hub get a note and a workflow status.
    pub security_hub: bool,
    /// AWS Config looks again after a change.
    pub config_rules: bool,
}

/// A channel that is an address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlSection {
    /// The address, which is the secret.
    pub url: Secret<String>,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

/// A signed webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSection {
    /// The address.
    pub url: Secret<String>,
    /// The key that signs, at least 32 characters.
    pub key: Secret<String>,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

/// A service of PagerDuty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDutySection {
    /// The integration's key.
    pub routing_key: Secret<String>,
    /// Where events go.
    #[serde(default = "enqueue")]
    pub url: String,
    /// What it gets, of what is critical.
    #[serde(default)]
    pub only: Filter,
}

fn enqueue() -> String {
    ENQUEUE.to_owned()
}

/// An instance of ServiceNow. Either a user with a password, or a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceNowSection {
    /// The instance: `https://example.service-now.com`.
    pub url: String,
    /// The integration's user.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// An OAuth token.
    #[serde(default)]
    pub token: Option<Secret<String>>,
    /// The type of change.
    #[serde(default = "normal")]
    pub change_type: String,
    /// The states that a change goes through to be closed.
    #[serde(default = "closed")]
    pub closing_states: Vec<String>,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

fn normal() -> String {
    "normal".to_owned()
}

fn closed() -> Vec<String> {
    vec![CLOSED.to_owned()]
}

/// A project of Jira.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JiraSection {
    /// The site: `https://example.atlassian.net`.
    pub url: String,
    /// The integration's mail address.
    pub user: String,
    /// Its API token.
    pub token: Secret<String>,
    /// The project's key.
    pub project: String,
    /// The type of issue.
    #[serde(default = "task")]
    pub issue_type: String,
    /// The transition that an issue is done by.
    #[serde(default)]
    pub done_transition: Option<String>,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

fn task() -> String {
    "Task".to_owned()
}

/// A topic of SNS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSection {
    /// Its ARN.
    pub arn: Arn,
    /// It is told when a change begins, too.
    #[serde(default)]
    pub begun: bool,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

/// An event bus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventBusSection {
    /// Its name or ARN.
    pub bus: String,
    /// The region that it is in.
    pub region: Region,
    /// What it gets.
    #[serde(default)]
    pub only: Filter,
}

/// AWS, for the channels that are there.
pub struct Aws {
    /// The administrator's own account.
    pub own: InRegion,
    /// Member accounts.
    pub members: Arc<dyn Sessions>,
}

impl Channels {
    /// True if nobody is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if some channel may reach people.
    #[must_use]
    pub fn reach_people(&self) -> bool {
        let systems = Self {
            event_buses: self.event_buses.clone(),
            security_hub: self.security_hub,
            config_rules: self.config_rules,
            ..Self::default()
        };
        *self != systems
    }

    /// True if some channel is AWS's.
    #[must_use]
    pub fn are_in_aws(&self) -> bool {
        !self.topics.is_empty()
            || !self.event_buses.is_empty()
            || self.security_hub
            || self.config_rules
    }

    /// What cannot work, and where.
    ///
    /// # Errors
    /// The dotted key and what is wrong.
    pub fn check(&self) -> Result<(), (String, String)> {
        let url = |key: String, url: &str| {
            let host = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            match host.is_some_and(|host| !host.is_empty()) {
                true => Ok(()),
                false => Err((key, "it is no `https://…` address".to_owned())),
            }
        };
        for (name, section) in &self.signed {
            url(format!("signed.{name}.url"), section.url.reveal())?;
            if section.key.reveal().len() < 32 {
                let why = "a key has at least 32 characters: `openssl rand -hex 32`";
                return Err((format!("signed.{name}.key"), why.to_owned()));
            }
        }
        for (kind, sections) in [("slack", &self.slack), ("teams", &self.teams)] {
            for (name, section) in sections {
                url(format!("{kind}.{name}.url"), section.url.reveal())?;
            }
        }
        for (name, section) in &self.pagerduty {
            url(format!("pagerduty.{name}.url"), &section.url)?;
        }
        for (name, section) in &self.servicenow {
            url(format!("servicenow.{name}.url"), &section.url)?;
            if section.login().is_none() {
                let why = "it needs `user` and `password`, or `token`";
                return Err((format!("servicenow.{name}"), why.to_owned()));
            }
            if section.closing_states.is_empty() {
                let why = "a change needs a state to be closed in";
                return Err((format!("servicenow.{name}.closing_states"), why.to_owned()));
            }
        }
        for (name, section) in &self.jira {
            url(format!("jira.{name}.url"), &section.url)?;
        }
        for (name, section) in &self.topics {
            if section.arn.service != "sns" || section.region().is_none() {
                let why = "it is not a topic's ARN";
                return Err((format!("topics.{name}.arn"), why.to_owned()));
            }
        }
        Ok(())
    }

    /// The channels that are told by HTTP.
    #[must_use]
    pub fn subscribers(&self, sender: &Sender) -> Vec<Subscriber> {
        let mut all = Vec::new();
        let mut add = |name: String, channel: Box<dyn Channel>, only: &Filter| {
            all.push(Subscriber::new(name, channel, sender.clone()).of(only.clone()));
        };
        for url in &self.webhooks {
            let channel = Webhook::new(url.clone());
            add(Webhook::name(url), Box::new(channel), &Filter::default());
        }
        for (name, section) in &self.signed {
            let channel = Webhook::new(section.url.clone()).signed(section.key.clone());
            add(format!("webhook {name}"), Box::new(channel), &section.only);
        }
        for (name, section) in &self.slack {
            let channel = Slack::new(section.url.clone());
            add(format!("slack {name}"), Box::new(channel), &section.only);
        }
        for (name, section) in &self.teams {
            let channel = Teams::new(section.url.clone());
            add(format!("teams {name}"), Box::new(channel), &section.only);
        }
        for (name, section) in &self.pagerduty {
            let channel = PagerDuty::new(section.url.clone(), section.routing_key.clone());
            add(
                format!("pagerduty {name}"),
                Box::new(channel),
                &section.only,
            );
        }
        for (name, section) in &self.servicenow {
            if let Some(login) = section.login() {
                let channel = ServiceNow::new(&section.url, login)
                    .of_kind(section.change_type.clone())
                    .closing_by(section.closing_states.clone());
                add(
                    format!("servicenow {name}"),
                    Box::new(channel),
                    &section.only,
                );
            }
        }
        for (name, section) in &self.jira {
            let login = Login::Basic(section.user.clone(), section.token.clone());
            let mut channel = Jira::new(&section.url, login, section.project.clone())
                .of_kind(section.issue_type.clone());
            if let Some(done) = &section.done_transition {
                channel = channel.done_by(done.clone());
            }
            add(format!("jira {name}"), Box::new(channel), &section.only);
        }
        all
    }

    /// The channels that are AWS's.
    #[must_use]
    pub fn in_aws(&self, aws: &Aws) -> Vec<Arc<dyn Notifier>> {
        let mut all: Vec<Arc<dyn Notifier>> = Vec::new();
        for section in self.topics.values() {
            if let Some(region) = section.region() {
                let topic = Topic::new((aws.own)(&region), section.arn.to_string());
                let topic = topic.of(section.only.clone());
                all.push(Arc::new(match section.begun {
                    true => topic.following(),
                    false => topic,
                }));
            }
        }
        for section in self.event_buses.values() {
            let bus = EventBus::new((aws.own)(&section.region), section.bus.clone());
            all.push(Arc::new(bus.of(section.only.clone())));
        }
        if self.security_hub {
            all.push(Arc::new(SecurityHub::new(Arc::clone(&aws.own))));
        }
        if self.config_rules {
            all.push(Arc::new(ConfigRules::new(Arc::clone(&aws.members))));
        }
        all
    }
}

impl ServiceNowSection {
    fn login(&self) -> Option<Login> {
        match (&self.user, &self.password, &self.token) {
            (Some(user), Some(password), None) => {
                Some(Login::Basic(user.clone(), password.clone()))
            }
            (None, None, Some(token)) => Some(Login::Bearer(token.clone())),
            _ => None,
        }
    }
}

impl TopicSection {
    fn region(&self) -> Option<Region> {
        self.arn.region.parse().ok()
    }
}
