//! Telling people: the message of the brief's notification topic, and the port it goes out through.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stanch_ledger::{Event, LedgerError, Record, RemediationId, State, Status};

use crate::{Hub, approval::Asked, journal::Journal};

/// What a channel is told about a remediation, with the field names of the notification topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    /// The remediation.
    pub remediation_id: String,
    /// Its status: `Success`, `Failed`, `Refused`, `AwaitingApproval`, …
    pub status: String,
    /// The member account.
    pub account: String,
    /// The region the change was made in.
    pub region: String,
    /// The resource's ARN or id.
    pub resource: String,
    /// What was done, or would have been.
    pub action: String,
    /// When, RFC 3339 in UTC.
    pub executed_at: String,
    /// The finding's title.
    pub finding: String,
    /// The finding's severity.
    pub severity: String,
    /// Why it failed, was refused or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Somebody has to look at once: the resource is neither fixed nor as it was.
    #[serde(default)]
    pub urgent: bool,
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

    /// Delivers the message, or says why not.
    async fn tell(&self, message: &Message, record: &Record) -> Result<(), NotTold>;
}

impl Hub {
    /// Tells every channel where a remediation has come to, and the ledger whether they took it.
    pub(crate) async fn tell(&self, id: RemediationId, state: &State) -> Result<(), LedgerError> {
        let worth_telling = state.status.is_final() && state.status != Status::NothingToDo
            || state.status == Status::Paused;
        let fallen_back = self.fall_back(state).await?;
        if self.ports.notifiers.is_empty() || !worth_telling {
            return Ok(());
        }
        let record = self.ports.ledger.record(id).await?;
        let mut message = Message::new(&record);
        if let Some((_, reason)) = &state.paused {
            message.error = Some(reason.clone());
        }
        self.broadcast(id, &message, &record).await?;
        if let Some(reason) = fallen_back {
            let message = Message {
                status: "RolloutBack".to_owned(),
                error: Some(reason),
                urgent: true,
                ..message
            };
            self.broadcast(id, &message, &record).await?;
        }
        Ok(())
    }

    async fn broadcast(
        &self,
        id: RemediationId,
        message: &Message,
        record: &Record,
    ) -> Result<(), LedgerError> {
        let mut told = Vec::new();
        for notifier in &self.ports.notifiers {
            if matches!(notifier.audience(), Audience::Person(_)) {
                continue;
            }
            let result = notifier.tell(message, record).await;
            told.push(Event::Notified {
                channel: notifier.channel().to_owned(),
                ok: result.is_ok(),
                error: result.err().map(|error| error.reason),
                asked: Vec::new(),
            });
        }
        if told.is_empty() {
            return Ok(());
        }
        let (ledger, clock) = (
            Arc::clone(&self.ports.ledger),
            Arc::clone(&self.ports.clock),
        );
        Journal::open(ledger, clock, id).await?.write(told).await
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
            region: record.region.to_string(),
            resource: record.resource_id.clone(),
            action: record.remediation_action.clone(),
            executed_at: record.updated_at.to_string(),
            finding: record.title.clone(),
            severity: record.severity.clone(),
            error: record.error_message.clone(),
            urgent: record.status == Status::UndoFailed,
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
