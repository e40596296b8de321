//! Telling people: the message of the brief's notification topic, and the port it goes out through.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stanch_ledger::Record;

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

/// Where messages go. A message that cannot be delivered never fails a remediation; the ledger says
/// whether people were told.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The channel's name, for the ledger.
    fn channel(&self) -> &str;

    /// Delivers the message, or says why not.
    async fn tell(&self, message: &Message, record: &Record) -> Result<(), NotTold>;
}
