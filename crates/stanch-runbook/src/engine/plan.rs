//! What a dry run tells.

use serde::Serialize;
use stanch_types::Call;

/// What a dry run tells.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DryRun {
    /// The writes that the real run would send, in order.
    pub calls: Vec<PlannedCall>,
    /// What could not be decided, and why.
    pub doubts: Vec<Doubt>,
}

/// A write that was shown and not sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedCall {
    /// The step that would send it; steps of a nested document as `step/inner`.
    pub step: String,
    /// The call. What only the real run can tell stands in it as `{{ step.Output }}`.
    pub call: Call,
    /// Those references.
    pub unknown: Vec<String>,
    /// The ways through undecided branches that lead here; one of them is taken, or none. Empty if
    /// the call is sent for certain.
    pub when: Vec<String>,
}

/// Something that a dry run could not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// The step.
    pub step: String,
    /// Why, in one line.
    pub reason: String,
}

impl DryRun {
    /// Adds a call; one that is already there is only reachable in one more way.
    pub(crate) fn plan(&mut self, call: PlannedCall, repeated: bool) {
        let same = self.calls.iter_mut().find(|other| {
            !repeated
                && other.step == call.step
                && other.call == call.call
                && !other.when.is_empty()
                && !call.when.is_empty()
        });
        match same {
            Some(other) => {
                for way in call.when {
                    if !other.when.contains(&way) {
                        other.when.push(way);
                    }
                }
            }
            None => self.calls.push(call),
        }
    }

    pub(crate) fn doubt(&mut self, step: &str, reason: impl Into<String>) {
        let doubt = Doubt {
            step: step.to_owned(),
            reason: reason.into(),
        };
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }
}
