//! What a remediation has come to: a fold over its events.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stanch_types::Call;

use crate::{
    Decided, Event, Phase, Planned, Received, Started, StepFinished, StepOutcome, StepStarted,
    UndoPlanned, Verdict, Verified, approval::Approval, chain::to_millisecond,
};

/// Where a remediation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Admitted; nothing is known of the resource yet.
    Received,
    /// Planned; the guard has not decided.
    Planned,
    /// Waits for a person.
    AwaitingApproval,
    /// Waits for a time.
    Deferred,
    /// May run.
    Ready,
    /// An executor is at work, or died at it.
    Running,
    /// The requests were sent; the check was read again.
    Verifying,
    /// The change is being taken back, or that died.
    Undoing,
    /// Stopped between two requests, for as long as changes are paused.
    Paused,
    /// Fixed, and seen to be. Final, but for an undo.
    Success,
    /// Not fixed. Final, but for an undo.
    Failed,
    /// Was compliant before anything was done. Final.
    NothingToDo,
    /// A guard or a person said no. Final.
    Refused,
    /// Not Stanch's to fix: suppressed, exempted, superseded. Final.
    Skipped,
    /// As it was before the change. Final, unless someone wants it done again.
    Undone,
    /// Neither fixed nor put back; people have to look. Final, but for another undo.
    UndoFailed,
}

impl Status {
    /// Every status, in the order of a remediation's life.
    pub const ALL: [Self; 16] = [
        Self::Received,
        Self::Planned,
        Self::AwaitingApproval,
        Self::Deferred,
        Self::Ready,
        Self::Running,
        Self::Verifying,
        Self::Undoing,
        Self::Paused,
        Self::Success,
        Self::Failed,
        Self::NothingToDo,
        Self::Refused,
        Self::Skipped,
        Self::Undone,
        Self::UndoFailed,
    ];

    /// Nothing more is to be done by itself; recovery leaves it alone.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Success
                | Self::Failed
                | Self::NothingToDo
                | Self::Refused
                | Self::Skipped
                | Self::Undone
                | Self::UndoFailed
        )
    }

    /// Waits for a person or a time.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::AwaitingApproval | Self::Deferred)
    }

    /// Whether a change that stands so did what it should; `None` while that is open. `failed`: there is an error.
    pub(crate) const fn worked(self, failed: bool) -> Option<bool> {
        match self {
            Self::Success => Some(true),
            Self::Failed | Self::UndoFailed => Some(false),
            // Taken back by itself; one that a person took back had worked.
            Self::Undone => Some(!failed),
            _ => None,
        }
    }

    /// The name as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "Received",
            Self::Planned => "Planned",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Deferred => "Deferred",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::Verifying => "Verifying",
            Self::Undoing => "Undoing",
            Self::Paused => "Paused",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::NothingToDo => "NothingToDo",
            Self::Refused => "Refused",
            Self::Skipped => "Skipped",
            Self::Undone => "Undone",
            Self::UndoFailed => "UndoFailed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An event that cannot happen where the remediation stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot follow in status `{status}`: {reason}")]
pub struct IllegalTransition {
    /// Where it stands.
    pub status: Status,
    /// The event's name.
    pub event: &'static str,
    /// The rule that it would break.
    pub reason: &'static str,
}

/// The guard's decision with the time it was made at.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What was decided.
    pub decided: Decided,
    /// When.
    pub at: Timestamp,
}

/// A request of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its place in the plan.
    pub index: u32,
    /// The step's name.
    pub name: String,
    /// The request.
    pub call: Call,
    /// Hash of the request as sent, as of [`StepStarted::call_hash`](crate::StepStarted::call_hash).
    pub call_hash: String,
    /// `None` while it is in flight.
    pub outcome: Option<StepOutcome>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
    /// What later steps use of the answer.
    pub outputs: Value,
}

/// An executor's run of a plan, over all its attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The last attempt.
    pub started: Started,
    /// The first attempt's time.
    pub at: Timestamp,
    /// What was sent, in order; a step sent again stands twice.
    pub steps: Vec<Step>,
    /// The steps that waited for people, who have said yes.
    pub passed: Vec<u32>,
    /// Why it must not go on: people said no. What was done is to be taken back.
    pub refused: Option<String>,
}

impl Run {
    /// The request that was about to be sent, or was sent, when the last event was stored.
    #[must_use]
    pub fn in_flight(&self) -> Option<&Step> {
        self.steps.last().filter(|step| step.outcome.is_none())
    }

    /// The step that AWS carried out at `index`, if it did.
    #[must_use]
    pub fn done(&self, index: u32) -> Option<&Step> {
        self.steps
            .iter()
            .find(|step| step.index == index && step.outcome == Some(StepOutcome::Ok))
    }

    /// A request of this run may have changed something.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.steps.iter().any(|step| {
            step.outcome
                .as_ref()
                .is_none_or(StepOutcome::may_have_happened)
        })
    }
}

/// A way back, and how far it got.
#[derive(Debug, Clone, PartialEq)]
pub struct Undo {
    /// The plan and its grounds.
    pub planned: UndoPlanned,
    /// Where the remediation stood, and stands again if the undo is voided.
    pub from: Status,
    /// `None` until an executor takes it up.
    pub run: Option<Run>,
    /// What was read when it was done, or had failed; until then, when the one before it had failed.
    pub observed: Value,
}

/// Everything that is known of a remediation: enough to continue it after a crash.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// The finding.
    pub received: Arc<Received>,
    /// When it was admitted.
    pub at: Timestamp,
    /// The last plan.
    pub plan: Option<Arc<Planned>>,
    /// The guard's last decision on that plan.
    pub decision: Option<Decision>,
    /// The approval that was asked for, until it was voided or used.
    pub approval: Option<Approval>,
    /// The approvals that it was carried out on.
    pub approved: Vec<Approval>,
    /// The plan that people were shown, and that was voided since.
    pub shown: Option<Arc<Planned>>,
    /// Until when it is deferred.
    pub deferred_until: Option<Timestamp>,
    /// Where it stood when changes were paused, and why they were: there while the status is `Paused`.
    pub paused: Option<(Status, String)>,
    /// The change.
    pub run: Option<Run>,
    /// When a change was begun, last; a plan to make it once more, after it was taken back, does not undo that.
    pub begun: Option<Timestamp>,
    /// The last reading of the check after the change.
    pub verified: Option<Verified>,
    /// The way back.
    pub undo: Option<Undo>,
    /// What went wrong, last.
    pub error: Option<String>,
    /// From start to end in milliseconds, once it ended.
    pub duration_ms: Option<u64>,
    /// A channel took a message about it.
    pub notified: bool,
    /// The contents of its events were removed. Nothing follows on that.
    pub expired: bool,
}

impl State {
    /// The state after the first event.
    #[must_use]
    pub fn admitted(received: Arc<Received>, at: Timestamp) -> Self {
        Self {
            status: Status::Received,
            received,
            at: to_millisecond(at),
            plan: None,
            decision: None,
            approval: None,
            approved: Vec::new(),
            shown: None,
            deferred_until: None,
            paused: None,
            run: None,
            begun: None,
            verified: None,
            undo: None,
            error: None,
            duration_ms: None,
            notified: false,
            expired: false,
        }
    }

    /// [`State::admitted`] by an event.
    pub(crate) fn first(event: &Event, at: Timestamp) -> Result<Self, IllegalTransition> {
        match event {
            Event::Received(received) => Ok(Self::admitted(Received::clone(received).into(), at)),
            _ => Err(IllegalTransition {
                status: Status::Received,
                event: event.name(),
                reason: "a remediation starts with `received`",
            }),
        }
    }

    /// The state after all of `events`; `None` if there are none.
    ///
    /// # Errors
    /// An event is not a legal successor of those before it.
    pub fn fold<'a>(
        events: impl IntoIterator<Item = (&'a Event, Timestamp)>,
    ) -> Result<Option<Self>, IllegalTransition> {
        let mut events = events.into_iter();
        let Some((event, at)) = events.next() else {
            return Ok(None);
        };
        let mut state = Self::first(event, at)?;
        for (event, at) in events {
            state = state.apply(event, at)?;
        }
        Ok(Some(state))
    }

    /// The one transition function: the state after `event`, which happened at `at`.
    ///
    /// It is total: every event in every state gives a state or an error. Of `at`, the milliseconds
    /// count, as they are what is stored.
    ///
    /// # Errors
    /// The event cannot happen here.
    pub fn apply(mut self, event: &Event, at: Timestamp) -> Result<Self, IllegalTransition> {
        use Status::*;
        let at = to_millisecond(at);
        let status = self.status;
        let illegal = |reason| {
            Err(IllegalTransition {
                status,
                event: event.name(),
                reason,
            })
        };
        if self.expired {
            return illegal("its contents have expired");
        }
        match event {
            Event::Received(_) => return illegal("it was admitted already"),

            Event::Planned(planned) => match status {
                Deferred if self.is_put_off() => return illegal("it is the undo that is deferred"),
                Received | Planned | Deferred => self.plan_anew(planned),
                Undone => {
                    (self.run, self.verified, self.undo) = (None, None, None);
                    (self.approval, self.error, self.duration_ms) = (None, None, None);
                    self.plan_anew(planned);
                }
                Ready if self.approval.is_none() => self.plan_anew(planned),
                Ready | AwaitingApproval => {
                    return illegal("its approval has to be voided first");
                }
                _ => return illegal("a plan is made before it runs"),
            },

            Event::Decided(decided) => {
                match (status, decided.verdict) {
                    (Received | Planned, Verdict::Refuse) => self.status = Refused,
                    (Received | Planned, Verdict::Defer { until }) => {
                        self.status = Deferred;
                        self.deferred_until = Some(until);
                    }
                    (Planned, Verdict::Run) => self.status = Ready,
                    (Planned, Verdict::NeedsApproval) => self.status = AwaitingApproval,
                    (Received, _) => return illegal("there is no plan to run"),
                    _ => return illegal("a decision follows on a plan"),
                }
                if decided.verdict == Verdict::Refuse {
                    self.error = Some(decided.reasons.join("; "));
                }
                let decided = decided.clone();
                self.decision = Some(Decision { decided, at });
            }

            Event::ApprovalRequested(request) => {
                if self.approval.is_some() {
                    return illegal("an approval is asked for once");
                }
                if !self.plan_is(&request.plan_hash) {
                    return illegal("it names another plan");
                }
                if !Approval::can_be_met(request) {
                    return illegal("there are not enough people who may approve it");
                }
                let run = self.run.as_ref().filter(|_| self.undo.is_none());
                match (status, &request.cutover, run) {
                    (AwaitingApproval, None, None) => {}
                    (Running, Some(_), Some(run)) if run.refused.is_some() => {
                        return illegal("people have said no");
                    }
                    (Running, Some(_), Some(_)) if self.in_flight() => {
                        return illegal("a request is in flight");
                    }
                    (Running, Some(cutover), Some(run)) if run.passed.contains(&cutover.step) => {
                        return illegal("this step was approved already");
                    }
                    (Running, Some(_), Some(_)) => {}
                    _ => return illegal("nobody has to approve anything here"),
                }
                self.status = AwaitingApproval;
                self.approval = Some(Approval::new(request));
            }

            Event::Approved(consent) => {
                let requester = self.requester().to_owned();
                let Some(approval) = self
                    .approval
                    .as_mut()
                    .filter(|_| status == AwaitingApproval)
                else {
                    return illegal("no approval was asked for");
                };
                if let Err(reason) = approval.take(consent, &requester, at) {
                    return illegal(reason);
                }
                if approval.is_complete() {
                    self.status = match (&self.undo, &self.run) {
                        (Some(_), _) => Undoing,
                        (None, Some(_)) => Running,
                        (None, None) => Ready,
                    };
                }
            }

            Event::Rejected {
                by,
                plan_hash,
                reason,
                ..
            } => {
                if !(self.is_asked() || self.is_put_off()) {
                    return illegal("no approval was asked for");
                }
                if !self.plan_is(plan_hash) {
                    return illegal("it names another plan");
                }
                self.turn_down(match reason.as_str() {
                    "" => format!("rejected by {by}"),
                    reason => format!("rejected by {by}: {reason}"),
                });
            }

            Event::ApprovalLapsed { reason } => {
                if !self.is_asked() {
                    return illegal("no approval was asked for");
                }
                self.turn_down(reason.clone());
            }

            Event::ApprovalVoided { .. } => {
                if !self.is_asked() {
                    return illegal("there is no approval to void");
                }
                if self.undo.is_some() {
                    return illegal("the undo is to be voided");
                }
                self.approval = None;
                if self.run.is_some() {
                    self.status = Running;
                } else {
                    self.status = Planned;
                    self.decision = None;
                    self.shown.clone_from(&self.plan);
                }
            }

            Event::Started(started) => {
                if self
                    .approval
                    .as_ref()
                    .is_some_and(|a| at >= a.request.expires)
                {
                    return illegal("its approval has expired");
                }
                match (status, self.run.as_mut()) {
                    (Ready, None) => {
                        self.run = Some(Run::new(started, at));
                        self.begun = Some(at);
                    }
                    (Running | Verifying, Some(run)) if run.refused.is_some() => {
                        return illegal("people have said no");
                    }
                    (Running | Verifying, Some(run)) if started.attempt > run.started.attempt => {
                        run.started = started.clone();
                        let passed = self.approval.as_ref().and_then(Approval::step);
                        run.passed.extend(passed);
                    }
                    (Running | Verifying, _) => return illegal("an attempt counts one more"),
                    _ => return illegal("nothing runs without a decision"),
                }
                self.status = Running;
                self.approved.extend(self.approval.take());
            }

            Event::StepStarted(step) => {
                let Some(run) = self.run_of(step.phase) else {
                    return illegal("no executor has taken it up");
                };
                if run.in_flight().is_some() {
                    return illegal("another request is in flight");
                }
                if run.done(step.index).is_some() {
                    return illegal("this request was carried out already");
                }
                run.steps.push(Step::new(step));
            }

            Event::StepFinished(finished) => {
                let Some(run) = self.run_of(finished.phase) else {
                    return illegal("no executor has taken it up");
                };
                match run.steps.last_mut() {
                    Some(step) if step.outcome.is_none() && step.index == finished.index => {
                        step.finish(finished);
                    }
                    _ => return illegal("this request is not in flight"),
                }
            }

            Event::Verified(verified) => {
                if !matches!(status, Running | Verifying) {
                    return illegal("there is no change to verify");
                }
                if self.in_flight() {
                    return illegal("a request is in flight");
                }
                self.status = Verifying;
                self.verified = Some(verified.clone());
            }

            Event::Finished {
                status: end,
                error,
                duration_ms,
            } => {
                match (status, end) {
                    (Verifying, Success) => {
                        if !self.verified.as_ref().is_some_and(|v| v.compliant) {
                            return illegal("success is a check that says compliant");
                        }
                    }
                    (Planned, NothingToDo) => {
                        if !self.plan.as_ref().is_some_and(|p| p.compliant) {
                            return illegal("the resource was not compliant");
                        }
                    }
                    (Running | Verifying, Failed) => {
                        if self.in_flight() {
                            return illegal("a request is in flight");
                        }
                    }
                    (
                        Received | Planned | AwaitingApproval | Deferred | Ready,
                        Failed | Refused | Skipped,
                    ) if self.run.is_none() => {}
                    _ => return illegal("it cannot end like that"),
                }
                self.status = *end;
                self.approval = None;
                self.error.clone_from(error);
                self.duration_ms = Some(*duration_ms);
            }

            Event::Paused { reason } => {
                if !matches!(status, Ready | Running | Verifying | Undoing) {
                    return illegal("nothing is about to be changed");
                }
                if self.in_flight() {
                    return illegal("a request is in flight");
                }
                self.paused = Some((status, reason.clone()));
                self.status = Paused;
            }

            Event::Resumed => match self.paused.take() {
                Some((stood, _)) => self.status = stood,
                None => return illegal("it is not paused"),
            },

            Event::UndoPlanned(planned) => {
                let stood = match (&self.paused, &self.undo) {
                    (Some((stood, _)), _) => *stood,
                    // Planned again, before any of it was sent.
                    (_, Some(undo))
                        if matches!(status, Undoing | Deferred) && undo.run.is_none() =>
                    {
                        undo.from
                    }
                    _ => status,
                };
                if !matches!(stood, Running | Verifying | Success | Failed | UndoFailed) {
                    return illegal("there is nothing to take back");
                }
                if self.run.is_none() {
                    return illegal("nothing was started");
                }
                if self.in_flight() {
                    return illegal("a request is in flight");
                }
                if matches!(stood, Running | Verifying) {
                    self.error = Some(planned.reason.clone());
                }
                let decision = planned.decision.as_ref();
                let verdict = decision.map_or(Verdict::Run, |decided| decided.verdict);
                (self.status, self.deferred_until) = match verdict {
                    Verdict::Run => (Undoing, None),
                    Verdict::Defer { until } => (Deferred, Some(until)),
                    Verdict::NeedsApproval | Verdict::Refuse => (AwaitingApproval, None),
                };
                (self.approval, self.paused) = (None, None);
                self.undo = Some(Undo {
                    planned: planned.clone(),
                    from: stood,
                    run: None,
                    observed: self.undo.take().map_or(Value::Null, |undo| undo.observed),
                });
            }

            Event::UndoVoided { .. } => {
                if !self.void_undo() {
                    return illegal("no undo waits to be made");
                }
            }

            Event::UndoStarted(started) => {
                let Some(undo) = self.undo.as_mut().filter(|_| status == Undoing) else {
                    return illegal("no undo is planned");
                };
                match undo.run.as_mut() {
                    None if self
                        .approval
                        .as_ref()
                        .is_some_and(|a| at >= a.request.expires) =>
                    {
                        return illegal("its approval has expired");
                    }
                    None => {
                        undo.run = Some(Run::new(started, at));
                        self.approved.extend(self.approval.take());
                    }
                    Some(run) if started.attempt > run.started.attempt => {
                        run.started = started.clone();
                    }
                    Some(_) => return illegal("an attempt counts one more"),
                }
            }

            Event::Undone { observed } => {
                if self.in_flight() {
                    return illegal("a request is in flight");
                }
                let Some(undo) = self.undo.as_mut().filter(|_| status == Undoing) else {
                    return illegal("no undo is planned");
                };
                undo.observed.clone_from(observed);
                self.status = Undone;
            }

            Event::UndoFailed { error, observed } => {
                // Of a change that was to be taken back, and not even a way back could be planned.
                let was_due = matches!(status, Running | Verifying)
                    && self.run.as_ref().is_some_and(Run::may_have_changed);
                if status != Undoing && !was_due && !self.has_undo_to_make() {
                    return illegal("no undo is planned");
                }
                if self.in_flight() {
                    return illegal("a request is in flight");
                }
                if let Some(undo) = &mut self.undo {
                    undo.observed.clone_from(observed);
                }
                (self.approval, self.deferred_until) = (None, None);
                self.status = UndoFailed;
                self.error = Some(error.clone());
            }

            Event::Expired { .. } => {
                if !status.is_final() {
                    return illegal("it has not ended");
                }
                self.expired = true;
            }

            Event::Notified { ok, asked, .. } => {
                self.notified |= ok;
                if let Some(approval) = self.approval.as_mut().filter(|_| *ok) {
                    approval.asked.extend(asked.iter().cloned());
                }
            }
        }
        Ok(self)
    }

    fn plan_anew(&mut self, planned: &Planned) {
        self.status = Status::Planned;
        self.plan = Some(planned.clone().into());
        self.decision = None;
        self.deferred_until = None;
    }

    /// Takes an undo of which nothing was sent out of consideration, if there is one.
    fn void_undo(&mut self) -> bool {
        let is_to_make = self.has_undo_to_make();
        let Some(undo) = self.undo.take_if(|_| is_to_make) else {
            return false;
        };
        self.status = undo.from;
        (self.approval, self.deferred_until) = (None, None);
        true
    }

    /// An undo was asked for of which nothing was sent.
    fn has_undo_to_make(&self) -> bool {
        use Status::{AwaitingApproval, Deferred, Undoing};
        let is_pending = matches!(self.status, AwaitingApproval | Deferred | Undoing);
        is_pending && self.undo.as_ref().is_some_and(|undo| undo.run.is_none())
    }

    /// The plan that is to be carried out next has this hash.
    fn plan_is(&self, hash: &str) -> bool {
        let undo = self.undo.as_ref().map(|undo| &undo.planned.plan_hash);
        undo.or(self.plan.as_ref().map(|plan| &plan.plan_hash))
            .is_some_and(|planned| planned == hash)
    }

    /// Who asked for what is to be done next: the fix, the undo, or the fix once more.
    #[must_use]
    pub fn requester(&self) -> &str {
        let again = self.plan.as_ref().and_then(|plan| plan.requester.as_ref());
        match &self.undo {
            Some(undo) => &undo.planned.requester,
            None => again.unwrap_or(&self.received.requester),
        }
    }

    /// Whether the change did what it should; `None` if none was begun, or that is open.
    #[must_use]
    pub fn worked(&self) -> Option<bool> {
        self.run.as_ref()?;
        self.status.worked(self.error.is_some())
    }

    /// An undo waits for its time.
    #[must_use]
    pub fn is_put_off(&self) -> bool {
        self.status == Status::Deferred && self.undo.is_some()
    }

    /// People were asked, or have said yes to what has not begun since.
    fn is_asked(&self) -> bool {
        use Status::{AwaitingApproval, Ready, Running, Undoing};
        let waits = matches!(self.status, AwaitingApproval | Ready | Running | Undoing);
        waits && self.approval.is_some()
    }

    /// People said no: to the undo, to what follows in a run, or to all of it.
    fn turn_down(&mut self, reason: String) {
        if self.void_undo() {
            return;
        }
        self.approval = None;
        if let Some(run) = &mut self.run {
            self.status = Status::Running;
            run.refused = Some(reason);
        } else {
            self.status = Status::Refused;
            self.error = Some(reason);
        }
    }

    /// The run whose steps may go on, if it is under way.
    fn run_of(&mut self, phase: Phase) -> Option<&mut Run> {
        match (phase, self.status) {
            (Phase::Apply, Status::Running) => self.run.as_mut(),
            (Phase::Undo, Status::Undoing) => self.undo.as_mut()?.run.as_mut(),
            _ => None,
        }
    }

    /// What is left once the contents of its events were removed: nothing of people and resources.
    pub(crate) fn forget(&mut self) {
        let received = Arc::make_mut(&mut self.received);
        received.finding_id.clear();
        received.resource_id.clear();
        received.resource_arn = None;
        received.title.clear();
        received.subject = Value::Null;
        received.problem = None;
        received.requester.clear();
        received.tags.clear();
        received.indicators.clear();
        received.origin = None;
        if let Some(run) = &mut self.run {
            run.started.executor_arn.clear();
            run.started.session.clear();
            run.steps.clear();
            run.refused = None;
        }
        if let Some(verified) = &mut self.verified {
            verified.observed = Value::Null;
        }
        (self.plan, self.shown, self.decision, self.undo) = (None, None, None, None);
        (self.approval, self.paused, self.error) = (None, None, None);
        self.approved.clear();
    }

    fn in_flight(&self) -> bool {
        let undo = self.undo.as_ref().and_then(|undo| undo.run.as_ref());
        [self.run.as_ref(), undo]
            .into_iter()
            .flatten()
            .any(|run| run.in_flight().is_some())
    }
}

impl Run {
    fn new(started: &Started, at: Timestamp) -> Self {
        Self {
            started: started.clone(),
            at,
            steps: Vec::new(),
            passed: Vec::new(),
            refused: None,
        }
    }
}

impl Step {
    fn new(started: &StepStarted) -> Self {
        Self {
            index: started.index,
            name: started.name.clone(),
            call: started.call.clone(),
            call_hash: started.call_hash.clone(),
            outcome: None,
            request_id: None,
            outputs: Value::Null,
        }
    }

    fn finish(&mut self, finished: &StepFinished) {
        self.outcome = Some(finished.outcome.clone());
        self.request_id.clone_from(&finished.request_id);
        self.outputs.clone_from(&finished.outputs);
    }
}
