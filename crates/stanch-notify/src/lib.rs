//! Channels: where people and systems are told what became of a finding.
//!
//! A [`Channel`] makes requests of a [`Notice`]; a [`Sender`] sends them, again where that may help, and
//! never for longer than it is allowed to. A [`Subscriber`] is both with a [`Filter`], behind the hub's
//! port. What is told through AWS ([`Topic`], [`EventBus`], [`LogBucket`], [`SecurityHub`],
//! [`ConfigRules`]) speaks to the port `Api`. [`Channels`] is all of them as they are configured.
//!
//! *Invariant:* nothing of a finding is trusted. Each channel escapes as its format asks, and no text of
//! a stranger mentions people, makes links or breaks a body.

mod bus;
mod console;
mod finding;
mod jira;
mod logs;
mod notice;
mod pagerduty;
mod send;
mod servicenow;
mod settings;
mod siem;
mod slack;
mod teams;
mod topic;
mod webhook;

pub use bus::{DETAIL_TYPE, EventBus, SOURCE};
pub use finding::{ConfigRules, SecurityHub};
pub use jira::Jira;
pub use logs::{InRegion, LogBucket, LogFolder};
pub use notice::{Notice, Tone, plain};
pub use pagerduty::{ENQUEUE, PagerDuty};
pub use send::{Channel, Filter, Line, Patience, Sender, Subscriber, Trouble};
pub use servicenow::{Login, ServiceNow};
pub use settings::{
    Aws, Channels, EventBusSection, JiraSection, PagerDutySection, ServiceNowSection,
    SignedSection, TopicSection, UrlSection,
};
pub use siem::{Export, Unsent};
pub use slack::Slack;
pub use teams::Teams;
pub use topic::Topic;
pub use webhook::{Forged, Webhook, verify};
