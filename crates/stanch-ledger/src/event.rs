//! What can happen to a remediation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use stanch_types::{AccountId, Arn, Call, CallErrorKind, Region};

/// Something that happened. As JSON, `{"event": "step-started", …}`.
///
/// Once there are ledgers to keep: members are only ever added, and an added one has a default and is
/// left out while it has it. So an old event reads, and is written again, as the same bytes, which is
/// what its hash needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The finding was admitted. Always the first event, and only that.
    Received(Box<Received>),
    /// The resource was observed and a plan made from it.
    Planned(Planned),
    /// The guard spoke.
    Decided(Decided),
    /// People are to be asked: before a plan is begun, or in the middle of a run.
    ApprovalRequested(Box<ApprovalRequest>),
    /// Someone approved the plan.
    Approved(Consent),
    /// Someone said no. Ends the remediation; what a run has done so far is to be taken back. Of an undo,
    /// also one that waits for its time, it ends the undo.
    Rejected {
        /// Who.
        by: String,
        /// What they saw.
        plan_hash: String,
        /// Why, in their words.
        #[serde(default)]
        reason: String,
        /// How.
        #[serde(default, skip_serializing_if = "Means::is_cli")]
        how: Means,
    },
    /// Nobody approved it in time, or nobody could be asked. That is a no.
    ApprovalLapsed {
        /// Why.
        reason: String,
    },
    /// The approval, asked for or given, no longer counts: the resource has changed.
    ApprovalVoided {
        /// Why.
        reason: String,
    },
    /// An executor took the plan up; after a crash, took it up again with the next attempt.
    Started(Started),
    /// A mutating request is about to be sent. Nothing is sent before this is stored.
    StepStarted(StepStarted),
    /// It was answered, or will never be.
    StepFinished(StepFinished),
    /// The control's own check was read again after the change.
    Verified(Verified),
    /// Changes were paused: the remediation stands still between two requests.
    Paused {
        /// Which pause, by whom, and why.
        reason: String,
    },
    /// Changes are no longer paused: it goes on from where it stood, and looks again first.
    Resumed,
    /// The change is to be undone by these requests: now, after an approval, or at the time that the guard
    /// says, when it is planned again.
    UndoPlanned(UndoPlanned),
    /// That undo will not be made: refused, not approved in time, or the resource has changed.
    UndoVoided {
        /// Why.
        reason: String,
    },
    /// An executor took the undo up; after a crash, again.
    UndoStarted(Started),
    /// The resource is as it was before the change.
    Undone {
        /// What was read afterwards.
        #[serde(default)]
        observed: Value,
    },
    /// The resource could not be put back; people have to look.
    UndoFailed {
        /// Why.
        error: String,
        /// What was read afterwards.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        observed: Value,
    },
    /// The remediation ended.
    Finished {
        /// `Success`, `Failed`, `NothingToDo`, `Refused` or `Skipped`.
        status: crate::Status,
        /// What went wrong, if something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Time from start to end by the monotonic clock, in milliseconds.
        #[serde(default)]
        duration_ms: u64,
    },
    /// The contents of all events before this one were removed; their hashes stay.
    Expired {
        /// Who asked for it: a person, or the retention of the remediation's class.
        by: String,
        /// Why.
        reason: String,
        /// The hash of what is left of the remediation's row ([`crate::Record::outcome`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<crate::Digest>,
    },
    /// People or systems were told.
    Notified {
        /// The channel's configured name.
        channel: String,
        /// It took the message.
        ok: bool,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The people whom this message asked for their approval.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        asked: Vec<String>,
    },
}

impl Route {
    /// The name as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "Manual",
            Self::Automatic => "Automatic",
        }
    }
}

impl Event {
    /// The event's name as in its JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Received(_) => "received",
            Self::Planned(_) => "planned",
            Self::Decided(_) => "decided",
            Self::ApprovalRequested(_) => "approval-requested",
            Self::Approved(_) => "approved",
            Self::Rejected { .. } => "rejected",
            Self::ApprovalLapsed { .. } => "approval-lapsed",
            Self::ApprovalVoided { .. } => "approval-voided",
            Self::Started(_) => "started",
            Self::StepStarted(_) => "step-started",
            Self::StepFinished(_) => "step-finished",
            Self::Verified(_) => "verified",
            Self::Paused { .. } => "paused",
            Self::Resumed => "resumed",
            Self::UndoPlanned(_) => "undo-planned",
            Self::UndoVoided { .. } => "undo-voided",
            Self::UndoStarted(_) => "undo-started",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo-failed",
            Self::Finished { .. } => "finished",
            Self::Expired { .. } => "expired",
            Self::Notified { .. } => "notified",
        }
    }
}

/// Who set it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Route {
    /// A person asked for this one.
    Manual,
    /// An event did.
    Automatic,
}

/// The finding and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// The finding's id in its own system, for Security Hub an ARN.
    pub finding_id: String,
    /// The control as the finding names it: `S3.8`.
    pub control: String,
    /// The member account, from the finding.
    pub account: AccountId,
    /// The region, from the finding.
    pub region: Region,
    /// The one name of the resource, whoever found it: its ARN, where it is known
    /// (`stanch_types::Resource`).
    pub resource_id: String,
    /// Its ARN, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_arn: Option<Arn>,
    /// ASFF's type: `AwsS3Bucket`.
    pub resource_type: String,
    /// `CRITICAL`, `HIGH`, `MEDIUM`, `LOW` or `INFORMATIONAL`; empty if the finding has none.
    #[serde(default)]
    pub severity: String,
    /// The finding's title.
    #[serde(default)]
    pub title: String,
    /// The catalog's name of the remediation: `S3BlockPublicAccess`; empty if there is none.
    pub remediation: String,
    /// What the finding asks of the remediation (`stanch_catalog::Subject`).
    #[serde(default)]
    pub subject: Value,
    /// Why nothing can be done about it, where the finding alone tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who set it off.
    pub route: Route,
    /// The person or system that asked: an ARN, a user name, an event source.
    pub requester: String,
    /// The person asked with a second factor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mfa: bool,
    /// When the product first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_observed: Option<Timestamp>,
    /// The resource's tags as the finding has them; empty also where nobody looked them up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Public addresses, domains and hashes that the finding names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub indicators: BTreeSet<String>,
    /// Where the finding lives, so that it can be told what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Where a finding lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Origin {
    /// The product's ARN, by which Security Hub knows the finding beside its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_arn: Option<String>,
    /// The region that the finding states, if the change is due in another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The rule of AWS Config that the check is made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_rule: Option<String>,
    /// The finding is about other resources, too: what is true of this one is not true of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shared: bool,
}

/// A plan, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The plan: an Automation document with literal inputs.
    pub plan: Value,
    /// The plan's hash, which an approval names.
    pub plan_hash: String,
    /// What was read of the resource: the "before".
    #[serde(default)]
    pub observed: Value,
    /// The resource is already as it should be.
    pub compliant: bool,
    /// Who asked for it to be done again after an undo; else the finding's own requester did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
}

/// What the guard allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Run the plan now.
    Run,
    /// Never. Ends the remediation.
    Refuse,
    /// Only once a person has approved the plan.
    NeedsApproval,
    /// Ask again at this time.
    Defer {
        /// When a change window opens or a limit resets.
        until: Timestamp,
    },
}

/// A decision with its grounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What is allowed.
    pub verdict: Verdict,
    /// Why, one sentence each.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Which guard or policy set decided.
    pub by: String,
    /// SHA-256 over all rules that it decided by; empty where no guard was asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rules: String,
    /// The policies that decided, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Threat intelligence knows an indicator of the finding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
}

/// What people are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// The plan that an approval will be for.
    pub plan_hash: String,
    /// From this moment on no approval counts.
    pub expires: Timestamp,
    /// Names this very request; a link is for one of them.
    pub nonce: String,
    /// Who has to say yes; each of these by people of its own.
    pub needs: Vec<Need>,
    /// In the middle of a run: where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutover: Option<Cutover>,
    /// What is different from what people were shown before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Difference>,
}

/// So many people of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The group, which is the role that they approve in.
    pub role: String,
    /// How many of them.
    pub count: u32,
    /// The group's people who may: whoever asked for the remediation is none of them.
    pub people: Vec<String>,
}

/// A run that waits for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    /// The step of the plan that waits, from 0.
    pub step: u32,
    /// What is to be approved.
    pub message: String,
    /// What was read of the resource when the run came here.
    pub observed: Value,
}

/// How two plans, or two states, differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The plan that people were shown before.
    pub plan_hash: String,
    /// What is different.
    pub changes: Vec<Change>,
}

/// A value that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where: the names of the members with points between them, and places in lists in brackets:
    /// `state.Environment.Variables[1].value`.
    pub at: String,
    /// What it was; absent if there was nothing.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub was: Option<Value>,
    /// What it is; absent if there is nothing.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub is: Option<Value>,
}

impl Change {
    /// The names of the members that it stands in, from the outermost, and places in lists.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.at.split(['.', '[', ']']);
        names.filter(|name| !name.is_empty())
    }
}

/// A value that is there, `null` too: that a setting was null is not that there was none, and the event
/// has to be written again as the same bytes.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who.
    pub by: String,
    /// In which role: one of those that the request needs.
    pub role: String,
    /// What they saw.
    pub plan_hash: String,
    /// How.
    #[serde(default, skip_serializing_if = "Means::is_cli")]
    pub how: Means,
}

/// How a person answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// On the command line.
    #[default]
    Cli,
    /// By a link, of which the SHA-256 is kept. A link is used once.
    Link(String),
    /// By a task token of Step Functions.
    StepFunctions,
}

impl Means {
    fn is_cli(&self) -> bool {
        *self == Self::Cli
    }
}

/// An executor at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// `native` or `ssm`.
    pub executor: String,
    /// The role or user that it works as.
    pub executor_arn: String,
    /// The session's name, by which CloudTrail can be searched.
    pub session: String,
    /// 1 for the first; each resumption after a crash counts one more.
    pub attempt: u32,
    /// What the guard said right before, of a plan that people had approved, and of an undo that had stood
    /// still or waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Box<Decided>>,
}

/// Which way a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Makes the change.
    Apply,
    /// Takes it back.
    Undo,
}

/// A mutating request, journalled before it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStarted {
    /// Which plan it belongs to.
    pub phase: Phase,
    /// Its place in the plan, from 0.
    pub index: u32,
    /// The step's name in the document.
    pub name: String,
    /// The request.
    pub call: Call,
    /// Hash of the request as it is sent; where secrets in it are sealed, one that only whoever has the
    /// key can make: `hmac-sha256:…`.
    pub call_hash: String,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// AWS carried it out.
    Ok,
    /// It did not succeed.
    Failed {
        /// What kind of failure.
        kind: CallErrorKind,
        /// AWS's error code.
        code: String,
        /// AWS's message, or ours.
        message: String,
    },
    /// The process died before an answer came: recovery looks at the resource before anything is sent.
    Unknown,
}

impl StepOutcome {
    /// The change may be there.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        match self {
            Self::Ok | Self::Unknown => true,
            Self::Failed { kind, .. } => kind.may_have_happened(),
        }
    }
}

/// The end of the step in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFinished {
    /// Which plan it belongs to.
    pub phase: Phase,
    /// The step that was started.
    pub index: u32,
    /// How it ended.
    pub outcome: StepOutcome,
    /// AWS's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What later steps use of the answer.
    #[serde(default)]
    pub outputs: Value,
}

/// The check, read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// What the check says now.
    pub compliant: bool,
    /// What was read: the "after".
    #[serde(default)]
    pub observed: Value,
}

/// A way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoPlanned {
    /// The plan: an Automation document with literal inputs.
    pub plan: Value,
    /// Its hash.
    pub plan_hash: String,
    /// Why: a failed step, a check that still fails, someone's request.
    pub reason: String,
    /// Who asked for it; the hub itself after a failure.
    pub requester: String,
    /// What the guard says about it; absent where the hub takes back what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decided>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_written_again_as_the_same_bytes() {
        for text in [
            r#"{"at":"state.block","was":null,"is":{"BlockPublicAcls":true}}"#,
            r#"{"at":"state.block","was":[],"is":null}"#,
            r#"{"at":"state.block","is":null}"#,
            r#"{"at":"state.block","was":1}"#,
            r#"{"at":"state.block"}"#,
        ] {
            let change: Change = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&change).unwrap(), text);
        }
        let change = Change {
            at: "state.block".to_owned(),
            was: Some(Value::Null),
            is: None,
        };
        let again: Change = serde_json::from_value(json!(change)).unwrap();
        assert_eq!(again, change);
    }
}
