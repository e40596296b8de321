//! The record of an execution, in the shape of GetAutomationExecution.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_AutomationExecution.html>.
//! Times are RFC 3339 text.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How an execution or a step stands. AWS has more words than these, for change requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum AutomationStatus {
    /// Not begun.
    #[default]
    Pending,
    /// Running.
    InProgress,
    /// Waiting for a signal.
    Waiting,
    /// Ended well.
    Success,
    /// Ended by its deadline.
    TimedOut,
    /// Being cancelled.
    Cancelling,
    /// Ended by a cancellation.
    Cancelled,
    /// Ended badly.
    Failed,
    /// A loop that was left by a jump.
    Exited,
}

impl AutomationStatus {
    /// True if it stays so.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::InProgress | Self::Waiting | Self::Cancelling
        )
    }
}

/// The record of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct AutomationExecution {
    /// Its id.
    pub automation_execution_id: String,
    /// The document.
    pub document_name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_version: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_end_time: Option<Timestamp>,
    /// How it stands.
    pub automation_execution_status: AutomationStatus,
    /// The steps: those that ran in the order they ran, then those that have not.
    pub step_executions: Vec<StepExecution>,
    /// Always false: nothing is left out.
    pub step_executions_truncated: bool,
    /// The parameters, each a list of texts.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// The outputs, `step.Name` to a list of texts.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// `Auto`: steps are not started by hand.
    pub mode: String,
    /// The execution that started this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_automation_execution_id: Option<String>,
    /// Who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_by: Option<String>,
    /// The step that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_name: Option<String>,
    /// Its action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_action: Option<String>,
    /// The variables, each a list of texts.
    pub variables: BTreeMap<String, Vec<String>>,
}

/// The record of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct StepExecution {
    /// Its name.
    pub step_name: String,
    /// Its action.
    pub action: String,
    /// Seconds that an attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// `Abort`, `Continue` or `step:NAME`.
    pub on_failure: String,
    /// How often it is tried.
    pub max_attempts: u64,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_end_time: Option<Timestamp>,
    /// How it stands.
    pub step_status: AutomationStatus,
    /// The inputs, references replaced, each as JSON.
    pub inputs: IndexMap<String, String>,
    /// The outputs, each a list of texts.
    pub outputs: IndexMap<String, Vec<String>>,
    /// What the action answered, where that is text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// The same, in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_details: Option<FailureDetails>,
    /// The id of this run of the step.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub step_execution_id: String,
    /// Whether the execution ends with it.
    pub is_end: bool,
    /// The step after it, where it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Whether the execution fails with it.
    pub is_critical: bool,
    /// The steps that it may go to.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub valid_next_steps: Vec<String>,
    /// The loop it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_step_details: Option<ParentStepDetails>,
}

/// Why a step failed, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct FailureDetails {
    /// Where in the step's life: `InputValidation`, `Invocation` or `Verification`.
    pub failure_stage: String,
    /// Which kind.
    pub failure_type: String,
    /// More, by name.
    pub details: BTreeMap<String, Vec<String>>,
}

/// The loop that a step runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct ParentStepDetails {
    /// The run of the loop.
    pub step_execution_id: String,
    /// The loop's name.
    pub step_name: String,
    /// `aws:loop`
    pub action: String,
    /// The round, from 1.
    pub iteration: usize,
    /// The element of this round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterator_value: Option<String>,
}

/// A value as the lists of texts that the record has: a list as its elements, else as one.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
