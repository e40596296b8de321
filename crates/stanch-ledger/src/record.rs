//! A remediation as one row: the brief's audit log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stanch_types::{AccountId, Region};

use crate::{Digest, Event, RemediationId, Route, State, Status};

/// A remediation with the attributes of the audit log, named as they are in its table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Record {
    /// Names the remediation.
    pub remediation_id: RemediationId,
    /// When it was admitted; as JSON, milliseconds since 1970.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub timestamp: Timestamp,
    /// The finding.
    pub finding_id: String,
    /// The member account.
    pub account_id: AccountId,
    /// ASFF's type.
    pub resource_type: String,
    /// ARN or id, as the finding has it.
    pub resource_id: String,
    /// Who set it off.
    pub remediation_type: Route,
    /// The catalog's name of the remediation.
    pub remediation_action: String,
    /// The status in the audit log's three words.
    pub execution_status: ExecutionStatus,
    /// The role or user that it was carried out as; before that, who asked for it.
    pub executor_arn: String,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// From start to end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_duration: Option<u64>,
    /// Someone was told.
    pub notification_sent: bool,

    /// Where exactly it stands.
    pub status: Status,
    /// The region.
    pub region: Region,
    /// The control.
    pub control: String,
    /// The finding's severity.
    pub severity: String,
    /// The finding's title.
    pub title: String,
    /// Who asked.
    pub requester: String,
    /// The change was taken back.
    pub undone: bool,
    /// The contents of its events were removed, and with them what this row said of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// When an executor first took it up; of one that was taken back and made once more, the second time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::timestamp::millisecond::optional"
    )]
    pub started_at: Option<Timestamp>,
    /// When its last event was stored.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
    /// How many events it has: what the next append expects.
    pub events: u64,
}

/// The audit log's words for how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// Fixed, already fine, or taken back as asked.
    Success,
    /// Not fixed: failed, refused, not to be undone.
    Failed,
    /// Not ended yet.
    InProgress,
}

impl Record {
    /// The row of a remediation with `events` events, the last of them at `updated_at`.
    #[must_use]
    pub fn project(id: RemediationId, state: &State, events: u64, updated_at: Timestamp) -> Self {
        let State {
            received,
            run,
            begun,
            ..
        } = state;
        Self {
            remediation_id: id,
            timestamp: state.at,
            finding_id: received.finding_id.clone(),
            account_id: received.account.clone(),
            resource_type: received.resource_type.clone(),
            resource_id: received.resource_id.clone(),
            remediation_type: received.route,
            remediation_action: received.remediation.clone(),
            execution_status: ExecutionStatus::of(state),
            executor_arn: run
                .as_ref()
                .map_or(&received.requester, |run| &run.started.executor_arn)
                .clone(),
            error_message: state.error.clone(),
            execution_duration: state.duration_ms,
            notification_sent: state.notified,
            status: state.status,
            region: received.region.clone(),
            control: received.control.clone(),
            severity: received.severity.clone(),
            title: received.title.clone(),
            requester: received.requester.clone(),
            undone: state.status == Status::Undone,
            expired: state.expired,
            started_at: *begun,
            updated_at,
            events,
        }
    }
}

impl Record {
    /// Whether the change did what it should; `None` if none was begun, or that is open.
    #[must_use]
    pub fn worked(&self) -> Option<bool> {
        self.started_at?;
        self.status.worked(self.error_message.is_some())
    }

    /// The hash of what the row says of the remediation, but for how many events it has, and when the last
    /// came. An `expired` event has it: the row is all that is left then of how it went.
    #[must_use]
    pub fn outcome(&self) -> Digest {
        let Self {
            remediation_id,
            timestamp,
            finding_id,
            account_id,
            resource_type,
            resource_id,
            remediation_type,
            remediation_action,
            execution_status,
            executor_arn,
            error_message,
            execution_duration,
            notification_sent,
            status,
            region,
            control,
            severity,
            title,
            requester,
            undone,
            started_at,
            // The tree knows how many there are, and when.
            expired: _,
            updated_at: _,
            events: _,
        } = self;
        Digest::of_plain(&json!([
            remediation_id,
            timestamp.as_millisecond(),
            finding_id,
            account_id,
            resource_type,
            resource_id,
            remediation_type,
            remediation_action,
            execution_status,
            executor_arn,
            error_message,
            execution_duration,
            notification_sent,
            status,
            region,
            control,
            severity,
            title,
            requester,
            undone,
            started_at.map(Timestamp::as_millisecond),
        ]))
    }
}

impl Event {
    /// That the contents of what has come to `state` have expired, with the hash of what is left of its row.
    pub(crate) fn expired(id: RemediationId, state: &State, by: &str, reason: &str) -> Self {
        let mut left = state.clone();
        left.forget();
        let outcome = Record::project(id, &left, 0, left.at).outcome();
        Self::Expired {
            by: by.to_owned(),
            reason: reason.to_owned(),
            outcome: Some(outcome),
        }
    }
}

impl ExecutionStatus {
    /// The name as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::InProgress => "InProgress",
        }
    }

    fn of(state: &State) -> Self {
        match state.status {
            Status::Success | Status::NothingToDo => Self::Success,
            // Taken back because someone asked, not because it had failed.
            Status::Undone if state.verified.as_ref().is_some_and(|v| v.compliant) => Self::Success,
            Status::Undone
            | Status::Failed
            | Status::Refused
            | Status::Skipped
            | Status::UndoFailed => Self::Failed,
            _ => Self::InProgress,
        }
    }
}
