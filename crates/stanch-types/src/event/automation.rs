//! What Systems Manager tells of its Automation executions,
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html>.

use serde_json::{Map, Value};

use super::{Problem, members::Members};
use crate::{AccountId, Region};

/// An Automation execution, or a step of one, that has another status than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The execution's id.
    pub id: String,
    /// The step that the status is of; none if it is the execution's own.
    pub step: Option<String>,
    /// The account it ran in, as EventBridge says it.
    pub account: AccountId,
    /// The region it ran in, as EventBridge says it.
    pub region: Region,
    /// `Success`, `Failed`, `TimedOut`, `Cancelled`, or one on the way there.
    pub status: String,
    /// The ARN of the user or session that started it.
    pub by: Option<String>,
}

/// The detail types that are read here.
pub(super) const EXECUTION: &str = "EC2 Automation Execution Status-change Notification";
pub(super) const STEP: &str = "EC2 Automation Step Status-change Notification";

pub(super) fn read(map: &Map<String, Value>) -> Result<Executed, Problem> {
    let event = Members::new(map, "");
    let detail = event.required_object("detail")?;
    let step = match event.text("detail-type")? {
        Some(STEP) => Some(detail.required_text("StepName")?.to_owned()),
        _ => None,
    };
    Ok(Executed {
        id: detail.required_text("ExecutionId")?.to_owned(),
        step,
        account: event.account("account")?,
        region: event
            .region("region")?
            .ok_or_else(|| event.missing("region"))?,
        status: detail.required_text("Status")?.to_owned(),
        by: detail.text("ExecutedBy")?.map(str::to_owned),
    })
}
