//! Telling people: the message of the brief's notification topic, and the port it goes out through.

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_catalog::Undo;
use stanch_ledger::{Event, LedgerError, Origin, Record, State, Status};

use crate::{Hub, approval::Asked, pipeline::Work};

/// What a channel is told about a remediation: the seven members of the notification topic's format,
/// under its names and in its order, and others after them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    /// The remediation.
    pub remediation_id: String,
    /// Its status: `Success`, `Failed`, `Refused`, `AwaitingApproval`, …
    pub status: String,
    /// The member account.
    pub account: String,
    /// The resource's ARN or id.
    pub resource: String,
    /// What was done, or would have been.
    pub action: String,
    /// When, RFC 3339 in UTC.
    pub executed_at: String,
    /// The finding's title.
    pub finding: String,
    /// The region the change was made in.
    pub region: String,
    /// The finding's severity; empty if it has none.
    #[serde(default)]
    pub severity: String,
    /// The account's alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// ASFF's type of the resource.
    #[serde(default)]
    pub resource_type: String,
    /// The control.
    #[serde(default)]
    pub control: String,
    /// Who asked for it: a person, or the source of the event.
    #[serde(default)]
    pub requester: String,
    /// The finding's id in its own system.
    #[serde(default)]
    pub finding_id: String,
    /// Where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// A change was made, and can be put back.
    #[serde(default)]
    pub can_be_undone: bool,
    /// Why it failed, was refused or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Somebody has to look at once: the resource is neither fixed nor as it was; or threat intelligence
    /// knows of the finding, and it is not fixed.
    #[serde(default)]
    pub urgent: bool,
    /// Threat intelligence knows an indicator of the finding, also once it is fixed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known_threat: bool,
    /// What people are asked to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Asked>,
}

/// Whom a channel reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it keeps records.
    Records,
    /// All who may have to approve something.
    Everyone,
    /// This person, and nobody else: it gets their links.
    Person(String),
}

/// A channel that could not be told.
#[derive(Debug, thiserror::Error)]
#[error("`{channel}` could not be told: {reason}")]
pub struct NotTold {
    /// The channel.
    pub channel: String,
    /// Why.
    pub reason: String,
}

/// What has happened to a remediation so far, with the times.
pub type History = [(Event, Timestamp)];

/// Where messages go. The ledger says whether people were told. A message that cannot be delivered
/// fails no remediation, but for one that asks for an approval: what nobody can be asked for is a no.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The channel's name, for the ledger.
    fn channel(&self) -> &str;

    /// Whom it reaches.
    fn audience(&self) -> Audience {
        Audience::Everyone
    }

    /// Whether this message is for it. A channel that does not want one is neither told nor counted
    /// among those that reach people.
    fn wants(&self, _: &Message) -> bool {
        true
    }

    /// It is told when a change begins, too: `Running`.
    fn follows(&self) -> bool {
        false
    }

    /// Delivers the message, or says why not. Secrets in `history` are masked.
    async fn tell(
        &self,
        message: &Message,
        record: &Record,
        history: &History,
    ) -> Result<(), NotTold>;
}

impl Hub {
    /// Tells every channel where a remediation has come to, and the ledger whether they took it.
    pub(crate) async fn tell(&self, work: &Work<'_>, state: &State) -> Result<(), LedgerError> {
        let worth_telling = state.status.is_final() && state.status != Status::NothingToDo
            || state.status == Status::Paused;
        let fallen_back = self.fall_back(state).await?;
        if self.ports.notifiers.is_empty() || !worth_telling {
            return Ok(());
        }
        let (record, history) = work.story().await;
        let mut message = self.message(&record, state);
        if let Some((_, reason)) = &state.paused {
            message.error = Some(reason.clone());
        }
        let mut told = self.told(&message, &record, &history, |_| true).await;
        if let Some(reason) = fallen_back {
            let message = Message {
                status: "RolloutBack".to_owned(),
                error: Some(reason),
                urgent: true,
                ..message
            };
            told.extend(self.told(&message, &record, &history, |_| true).await);
        }
        match told.is_empty() {
            true => Ok(()),
            false => work.note(told).await,
        }
    }

    /// Tells of a person's no that another process has recorded, where other channels are told, or none.
    pub(crate) async fn tell_of_refusal(
        &self,
        work: &Work<'_>,
        state: &State,
    ) -> Result<(), LedgerError> {
        if state.status != Status::Refused || self.ports.notifiers.is_empty() {
            return Ok(());
        }
        let (_, events) = work.history().await;
        let mut since = Vec::new();
        for (event, _) in events.iter().rev() {
            match event {
                Event::Notified { channel, .. } => since.push(channel.as_str()),
                Event::Rejected { .. } => break,
                _ => return Ok(()),
            }
        }
        let mut own = self.ports.notifiers.iter();
        match own.any(|notifier| since.contains(&notifier.channel())) {
            true => Ok(()),
            false => self.tell(work, state).await,
        }
    }

    /// Tells the channels that follow changes that one begins. They say so again at its end, so what
    /// fails here delays nothing.
    pub(crate) async fn tell_begun(
        &self,
        record: Record,
        state: &State,
        history: &History,
    ) -> Vec<Event> {
        let message = Message {
            status: Status::Running.to_string(),
            can_be_undone: false,
            // It is being dealt with.
            urgent: false,
            ..self.message(&record, state)
        };
        let follows = |one: &dyn Notifier| one.follows();
        self.told(&message, &record, history, follows).await
    }

    /// The message about a remediation as it stands, with what the hub knows beside the record.
    pub(crate) fn message(&self, record: &Record, state: &State) -> Message {
        let account = self.settings.accounts.get(&record.account_id);
        let undo = self
            .catalog
            .get(&record.remediation_action)
            .is_some_and(|remediation| matches!(remediation.safety.undo, Undo::Exact));
        Message {
            account_name: account.and_then(|account| account.name.clone()),
            origin: state.received.origin.clone(),
            can_be_undone: undo && state.status == Status::Success,
            urgent: is_urgent(state),
            known_threat: is_known_threat(state),
            ..Message::new(record)
        }
    }

    /// Tells those channels of `among` that are for all and want this message, all at once.
    async fn told(
        &self,
        message: &Message,
        record: &Record,
        history: &History,
        among: impl Fn(&dyn Notifier) -> bool,
    ) -> Vec<Event> {
        let notifiers = self.ports.notifiers.iter().filter(|one| {
            !matches!(one.audience(), Audience::Person(_)) && among(&***one) && one.wants(message)
        });
        join_all(notifiers.map(|one| told(&**one, message, record, history, Vec::new()))).await
    }
}

/// Threat intelligence knew an indicator of the finding when it was last decided on.
fn is_known_threat(state: &State) -> bool {
    let fix = state.decision.as_ref().map(|decision| &decision.decided);
    let undo = state.undo.as_ref();
    let undo = undo.and_then(|undo| undo.planned.decision.as_ref());
    fix.into_iter().chain(undo).any(|decided| decided.urgent)
}

/// Somebody has to look at once.
fn is_urgent(state: &State) -> bool {
    match state.status {
        Status::UndoFailed => true,
        Status::AwaitingApproval | Status::Paused | Status::Failed | Status::Refused => {
            is_known_threat(state)
        }
        // Put back by itself; whom else it was put back for knows.
        Status::Undone => state.error.is_some() && is_known_threat(state),
        _ => false,
    }
}

/// Tells one channel, which asks `asked` for their approval; what to write of it.
pub(crate) async fn told(
    notifier: &dyn Notifier,
    message: &Message,
    record: &Record,
    history: &History,
    asked: Vec<String>,
) -> Event {
    let channel = notifier.channel().to_owned();
    let error = match notifier.tell(message, record, history).await {
        Ok(()) => None,
        Err(error) => {
            tracing::warn!(id = %record.remediation_id, channel, reason = error.reason, "a channel could not be told");
            Some(error.reason)
        }
    };
    Event::Notified {
        channel,
        ok: error.is_none(),
        asked: if error.is_none() { asked } else { Vec::new() },
        error,
    }
}

impl Message {
    /// The message about a remediation as it stands.
    #[must_use]
    pub fn new(record: &Record) -> Self {
        Self {
            remediation_id: record.remediation_id.to_string(),
            status: record.status.to_string(),
            account: record.account_id.to_string(),
            resource: record.resource_id.clone(),
            action: record.remediation_action.clone(),
            executed_at: record.updated_at.to_string(),
            finding: record.title.clone(),
            region: record.region.to_string(),
            severity: record.severity.clone(),
            account_name: None,
            resource_type: record.resource_type.clone(),
            control: record.control.clone(),
            requester: record.requester.clone(),
            finding_id: record.finding_id.clone(),
            origin: None,
            can_be_undone: false,
            error: record.error_message.clone(),
            urgent: record.status == Status::UndoFailed,
            known_threat: false,
            approval: None,
        }
    }

    /// The same, asking for an approval.
    #[must_use]
    pub(crate) fn asking(mut self, approval: Asked) -> Self {
        self.approval = Some(approval);
        self
    }
}
