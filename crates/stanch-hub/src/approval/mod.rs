//! People's word on a plan: who is asked, how they are reached, what counts as a yes.
//!
//! Everything here fails closed. A rule that names nobody, a channel that does not deliver, a time that
//! has passed are all a no. What a yes is, the ledger's transition function decides; this module asks.

mod difference;
mod link;
mod sheet;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use stanch_catalog::{Class, Plan, PlannedAction, Remediation};
use stanch_ledger::{
    Approval, ApprovalRequest, Change, Consent, Cutover, Difference, Event, LedgerError, Means,
    Need, Received, RemediationId, Secrets, State, Status, enough, same_person,
};
use stanch_types::{AccountId, Api};

pub use difference::{changes, foreseen, leaves};
pub use link::{Claim, Links, NotOurs, means};
pub use sheet::{Asked, Sheet};

use crate::{
    Audience, Hub, RequestError,
    intake::is_unnamed,
    pipeline::{PlanFailure, Turn, Work, kept},
    tell,
};

/// What the operator decides about approvals.
#[derive(Debug, Clone)]
pub struct Approvals {
    /// How long one is waited for, and how long it stands.
    pub expires_after: Duration,
    /// Who approves in which role.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// Whose approval is needed for what. The first rule that fits counts; where none does, nobody may
    /// approve.
    pub rules: Vec<ApprovalRule>,
    /// How people answer over HTTP; without it, by the command line only.
    pub links: Option<Links>,
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            expires_after: Duration::from_hours(24),
            groups: BTreeMap::new(),
            rules: Vec::new(),
            links: None,
        }
    }
}

/// Whose approval some remediations need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalRule {
    /// Of these classes; of all if it is empty.
    pub classes: BTreeSet<Class>,
    /// In these accounts; in all if it is empty.
    pub accounts: BTreeSet<AccountId>,
    /// These, by name; all if it is empty.
    pub remediations: BTreeSet<String>,
    /// So many of each group, each of them another person.
    pub needs: BTreeMap<String, u32>,
}

impl Approvals {
    /// One group of people of whom one has to approve whatever needs an approval.
    #[must_use]
    pub fn by(role: &str, people: &[&str]) -> Self {
        let people = people.iter().map(|person| (*person).to_owned()).collect();
        let rule = ApprovalRule {
            needs: [(role.to_owned(), 1)].into(),
            ..ApprovalRule::default()
        };
        Self {
            groups: [(role.to_owned(), people)].into(),
            rules: vec![rule],
            ..Self::default()
        }
    }

    /// No rule asks for fewer people than this: one that does asks for more of its first group.
    pub fn ask_at_least(&mut self, people: u32) {
        for rule in &mut self.rules {
            let wanted = rule
                .needs
                .values()
                .fold(0, |sum: u32, count| sum.saturating_add(*count));
            if let Some(count) = rule.needs.values_mut().next() {
                *count = count.saturating_add(people.saturating_sub(wanted));
            }
        }
    }

    /// Who has to approve, without whoever asked for it; or why nobody can.
    fn needs(
        &self,
        received: &Received,
        requester: &str,
        class: Class,
    ) -> Result<Vec<Need>, String> {
        let fits = |rule: &&ApprovalRule| {
            (rule.classes.is_empty() || rule.classes.contains(&class))
                && (rule.accounts.is_empty() || rule.accounts.contains(&received.account))
                && (rule.remediations.is_empty()
                    || rule.remediations.contains(&received.remediation))
        };
        let Some(rule) = self.rules.iter().find(fits) else {
            return Err(format!(
                "it needs an approval, and nobody may give one: no rule of `approval.rules` fits `{}` in account {}",
                received.remediation, received.account
            ));
        };
        let need = |(role, count): (&String, &u32)| Need {
            role: role.clone(),
            count: *count,
            people: self
                .groups
                .get(role)
                .into_iter()
                .flatten()
                .filter(|person| !same_person(person, requester))
                .cloned()
                .collect(),
        };
        let mut needs: Vec<Need> = rule.needs.iter().map(need).collect();
        if is_unnamed(requester) {
            // One of those who approve may be whoever asked: one more, or all, but never somebody alone.
            for need in needs.iter_mut().filter(|need| need.count > 0) {
                let people = u32::try_from(need.people.len()).unwrap_or(u32::MAX);
                need.count = (need.count + 1).min(people.max(need.count)).max(2);
            }
        }
        if needs.is_empty()
            || needs.iter().any(|need| need.count == 0)
            || !enough(&needs, &|_| true)
        {
            let wanted: Vec<String> = needs
                .iter()
                .map(|need| format!("{} of `{}`", need.count, need.role))
                .collect();
            return Err(format!(
                "it needs an approval by {}, and there are not enough people besides `{}`, who asked for it",
                wanted.join(" and "),
                requester
            ));
        }
        Ok(needs)
    }
}

/// Someone who says yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Who.
    pub name: String,
    /// In which role; not needed where they have one only.
    pub role: Option<String>,
    /// The plan that they saw, by its hash or how that begins; otherwise whatever waits now.
    pub plan: Option<String>,
    /// How.
    pub how: Means,
}

impl From<&str> for Approver {
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: None,
            plan: None,
            how: Means::Cli,
        }
    }
}

impl From<&String> for Approver {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl Hub {
    /// Counts a person's yes and, when nobody is missing, goes on with the remediation. If the
    /// resource has changed since the plan was shown, the approval is void and asked for again.
    ///
    /// # Errors
    /// As of [`Hub::consent`].
    pub async fn approve(
        &self,
        id: RemediationId,
        approver: impl Into<Approver>,
    ) -> Result<State, RequestError> {
        let state = self.consent(id, &approver.into()).await?;
        if state.status == Status::AwaitingApproval {
            return Ok(state);
        }
        Ok(self.handle(id).await?)
    }

    /// Counts a person's yes, and does no more: [`Hub::go_on`] does.
    ///
    /// # Errors
    /// It does not wait for an approval any more, or not for theirs.
    pub async fn consent(
        &self,
        id: RemediationId,
        approver: &Approver,
    ) -> Result<State, RequestError> {
        loop {
            let work = Work::open(self, id).await?;
            let state = work.state().await;
            let consent = self.consent_of(id, &state, approver)?;
            match work.write([Event::Approved(consent)]).await {
                Ok(_) => return Ok(work.state().await),
                // It was noted who was told, or somebody else has answered meanwhile: look again.
                Err(LedgerError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn consent_of(
        &self,
        id: RemediationId,
        state: &State,
        approver: &Approver,
    ) -> Result<Consent, RequestError> {
        let approval = awaited(id, state)?;
        let request = &approval.request;
        let by = approver.name.trim();
        // Nobody has seen the plan that is meant if the ledger tells of another.
        if next(state).is_none() {
            return Err(RequestError::Gone(id));
        }
        if self.ports.clock.now() >= request.expires {
            return Err(RequestError::Late(id));
        }
        if let Some(plan) = &approver.plan
            && !(plan.len() >= 8 && request.plan_hash.starts_with(plan.as_str()))
        {
            return Err(RequestError::OtherPlan {
                id,
                plan: request.plan_hash.clone(),
            });
        }
        if same_person(state.requester(), by) {
            return Err(RequestError::OwnRequest(by.to_owned()));
        }
        if approval.of(by).is_some() {
            return Err(RequestError::Answered(by.to_owned()));
        }
        let open: Vec<&str> = approval
            .open_for(by)
            .map(|need| need.role.as_str())
            .collect();
        let role = match (&approver.role, &open[..]) {
            (Some(role), _) if open.contains(&role.as_str()) => role.clone(),
            (None, [role]) => (*role).to_owned(),
            (None, [_, _, ..]) => {
                let roles = open.join("`, `");
                return Err(RequestError::WhichRole { roles });
            }
            _ => {
                let wanted = request
                    .needs
                    .iter()
                    .filter(|need| approval.missing(need) > 0);
                let wanted: Vec<String> = wanted.map(|need| need.role.clone()).collect();
                return Err(RequestError::NotAsked {
                    person: by.to_owned(),
                    wanted: wanted.join("`, `"),
                });
            }
        };
        Ok(Consent {
            by: by.to_owned(),
            role,
            plan_hash: request.plan_hash.clone(),
            how: approver.how.clone(),
        })
    }

    /// Says no to what waits for people, and to an undo that waits for its time. What a run has done so far is
    /// taken back.
    ///
    /// # Errors
    /// It does not wait for an approval.
    pub async fn reject(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
    ) -> Result<State, RequestError> {
        let state = self.refuse(id, by, reason, Means::Cli).await?;
        if state.status.is_final() {
            return Ok(state);
        }
        Ok(self.handle(id).await?)
    }

    /// Counts a person's no, and does no more: [`Hub::go_on`] does.
    ///
    /// # Errors
    /// It does not wait for an approval.
    pub async fn refuse(
        &self,
        id: RemediationId,
        by: &str,
        reason: &str,
        how: Means,
    ) -> Result<State, RequestError> {
        let work = loop {
            let work = Work::open(self, id).await?;
            let state = work.state().await;
            let plan_hash = match &state.undo {
                Some(undo) if state.is_put_off() => &undo.planned.plan_hash,
                _ => &awaited(id, &state)?.request.plan_hash,
            };
            let no = Event::Rejected {
                by: by.to_owned(),
                plan_hash: plan_hash.clone(),
                reason: reason.to_owned(),
                how: how.clone(),
            };
            match work.write([no]).await {
                Ok(_) => break work,
                // It was noted who was told, or somebody else has answered meanwhile: look again.
                Err(LedgerError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let state = work.state().await;
        if state.status.is_final() {
            self.tell(&work, &state).await?;
        }
        Ok(state)
    }

    /// Puts a remediation back to work.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn go_on(&self, id: RemediationId) -> Result<(), LedgerError> {
        let (state, _) = self.ports.ledger.state(id).await?;
        self.scheduler
            .submit(crate::intake::job(id, &state.received))
            .await;
        Ok(())
    }
}

/// The plan that is to be carried out next, of the fix or of its undo, if it is the one that its hash
/// names.
fn next(state: &State) -> Option<Plan> {
    match (&state.undo, &state.plan) {
        (Some(undo), _) => kept(&undo.planned.plan, &undo.planned.plan_hash),
        (None, Some(planned)) => kept(&planned.plan, &planned.plan_hash),
        (None, None) => None,
    }
}

fn awaited(id: RemediationId, state: &State) -> Result<&Approval, RequestError> {
    state
        .approval
        .as_ref()
        .filter(|_| state.status == Status::AwaitingApproval)
        .ok_or(RequestError::NotWaiting {
            id,
            status: state.status,
        })
}

/// What there is to do about a remediation that waits for people.
pub(crate) fn is_due(state: &State, now: jiff::Timestamp) -> bool {
    state
        .approval
        .as_ref()
        .is_none_or(|approval| approval.request.expires <= now || !approval.is_delivered())
}

/// The step at which the run of a plan waits for people next.
pub(crate) fn waits_at(plan: &Plan, state: &State) -> Option<u32> {
    let passed = state.run.as_ref().map(|run| &run.passed);
    (0_u32..)
        .zip(&plan.steps)
        .filter(|(_, step)| matches!(step.action, PlannedAction::Approve { .. }))
        .map(|(index, _)| index)
        .find(|index| passed.is_none_or(|passed| !passed.contains(index)))
}

/// What has changed since the people were asked who let the run go on, for people: with secrets masked.
pub(crate) fn drift(secrets: &mut Secrets, state: &State, now: &Value) -> Option<Difference> {
    let request = &state.approval.as_ref()?.request;
    let seen = &request.cutover.as_ref()?.observed;
    (seen != now).then(|| Difference {
        plan_hash: request.plan_hash.clone(),
        changes: difference::masked(secrets, seen, now),
    })
}

impl Work<'_> {
    /// What people are asked for before a plan is begun; or why nobody can be asked.
    pub(crate) fn request(
        &self,
        state: &State,
        requester: &str,
        remediation: &Remediation,
        plan: &Plan,
    ) -> Result<Event, String> {
        let changed = state.shown.as_ref().and_then(|planned| {
            let shown: Plan = serde_json::from_value(planned.plan.clone()).ok()?;
            let mut secrets = self.hub.secrets_in(plan).of(&planned.plan);
            Some(difference::between(&mut secrets, &shown, plan))
        });
        self.request_of(state, requester, remediation, plan, None, changed)
    }

    /// Whether there are people for an approval that the plan will need on its way.
    pub(crate) fn can_wait(
        &self,
        state: &State,
        requester: &str,
        remediation: &Remediation,
        plan: &Plan,
    ) -> Result<(), String> {
        let waits = |action| matches!(action, &PlannedAction::Approve { .. });
        if !plan.steps.iter().any(|step| waits(&step.action)) {
            return Ok(());
        }
        let approvals = &self.hub.settings.approval;
        let class = remediation.safety.class;
        approvals.needs(&state.received, requester, class).map(drop)
    }

    fn request_of(
        &self,
        state: &State,
        requester: &str,
        remediation: &Remediation,
        plan: &Plan,
        cutover: Option<Cutover>,
        changed: Option<Difference>,
    ) -> Result<Event, String> {
        let approvals = &self.hub.settings.approval;
        let ports = &self.hub.ports;
        let request = ApprovalRequest {
            plan_hash: plan.hash(),
            expires: ports.clock.now() + approvals.expires_after,
            nonce: ports.ids.next(),
            needs: approvals.needs(&state.received, requester, remediation.safety.class)?,
            cutover,
            changed,
        };
        Ok(Event::ApprovalRequested(Box::new(request)))
    }

    /// Stops a run at a step that waits for people, and asks them.
    pub(crate) async fn pause(
        &mut self,
        remediation: &Remediation,
        plan: &Plan,
        step: u32,
        api: &Arc<dyn Api>,
    ) -> Result<Turn, LedgerError> {
        let observed = match self.look(remediation, plan, &**api).await {
            Ok(now) => now.state().clone(),
            Err(error) => return self.put_off(&PlanFailure::from(error)).await,
        };
        self.ask(remediation, plan, (step, observed), None).await
    }

    /// Asks again: the resource has changed since people let the run go on.
    pub(crate) async fn ask_again(
        &mut self,
        remediation: &Remediation,
        plan: &Plan,
        (observed, changed): (Value, Difference),
    ) -> Result<Turn, LedgerError> {
        let state = self.state().await;
        let request = state.approval.as_ref().map(|approval| &approval.request);
        let Some(step) = request.and_then(|request| Some(request.cutover.as_ref()?.step)) else {
            return Ok(Turn::Again);
        };
        let reason = "the resource has changed since it was approved".to_owned();
        self.write([Event::ApprovalVoided { reason }]).await?;
        self.ask(remediation, plan, (step, observed), Some(changed))
            .await
    }

    async fn ask(
        &mut self,
        remediation: &Remediation,
        plan: &Plan,
        (step, observed): (u32, Value),
        changed: Option<Difference>,
    ) -> Result<Turn, LedgerError> {
        let action = plan.steps.get(step as usize).map(|step| &step.action);
        let message = match action {
            Some(PlannedAction::Approve { message }) => message.clone(),
            _ => String::new(),
        };
        let cutover = Cutover {
            step,
            message,
            observed,
        };
        let state = self.state().await;
        let requester = state.requester().to_owned();
        match self.request_of(
            &state,
            &requester,
            remediation,
            plan,
            Some(cutover),
            changed,
        ) {
            Ok(request) => self.write([request]).await,
            Err(reason) => self.restore(remediation, plan, reason).await,
        }
    }

    /// What follows while people are asked; nothing if they only have to be waited for.
    pub(crate) async fn await_approval(&self, state: &State) -> Result<Option<Turn>, LedgerError> {
        let Some(approval) = &state.approval else {
            return Ok(None);
        };
        if self.hub.ports.clock.now() >= approval.request.expires {
            return self.lapse().await.map(Some);
        }
        if approval.is_delivered() {
            return Ok(None);
        }
        self.deliver(state, approval).await.map(Some)
    }

    /// The time to approve, or what was approved, has run out.
    pub(crate) async fn lapse(&self) -> Result<Turn, LedgerError> {
        let state = self.state().await;
        let given = state
            .approval
            .is_some_and(|approval| approval.is_complete());
        let reason = if given {
            "it was approved, but not begun in time"
        } else {
            "nobody approved it in time"
        };
        let reason = reason.to_owned();
        self.write([Event::ApprovalLapsed { reason }]).await
    }

    /// Asks people by every channel that reaches some. If these are not enough, that is a no.
    async fn deliver(&self, state: &State, approval: &Approval) -> Result<Turn, LedgerError> {
        let ports = &self.hub.ports;
        let needs = &approval.request.needs;
        let people: BTreeSet<&String> = needs.iter().flat_map(|need| &need.people).collect();
        let (record, history) = self.story().await;
        let remediation = self.hub.remediation(&state.received).ok();
        let asked = Asked::new(self.hub, approval, state, remediation.as_deref());
        let general = self.hub.message(&record, state).asking(asked);
        let mut told = Vec::new();
        let mut failed = Vec::new();
        let mut reached: Vec<String> = Vec::new();
        for notifier in &ports.notifiers {
            let (asked, message) = match notifier.audience() {
                Audience::Records => (Vec::new(), general.clone()),
                Audience::Everyone => (people.iter().copied().cloned().collect(), general.clone()),
                Audience::Person(person) => {
                    let mine = people.iter().find(|one| same_person(one, &person));
                    let Some(person) = mine else { continue };
                    let link = self.hub.link(self.id, approval, person);
                    let mut message = general.clone();
                    if let Some(asked) = &mut message.approval {
                        asked.link = link;
                        asked.person = Some((*person).clone());
                    }
                    (vec![(*person).clone()], message)
                }
            };
            if !notifier.wants(&message) {
                continue;
            }
            let reaches_nobody = asked.is_empty();
            let event = tell::told(&**notifier, &message, &record, &history, asked).await;
            if let Event::Notified { asked, error, .. } = &event {
                reached.extend(asked.iter().cloned());
                if let (Some(error), false) = (error, reaches_nobody) {
                    failed.push(format!("`{}`: {error}", notifier.channel()));
                }
            }
            told.push(event);
        }
        if !enough(needs, &|person| {
            reached.iter().any(|one| same_person(one, person))
        }) {
            let why = match failed.is_empty() {
                true => "no channel reaches those who may approve it".to_owned(),
                false => failed.join("; "),
            };
            let reason = format!("its approval could not be asked for: {why}");
            told.push(Event::ApprovalLapsed { reason });
        }
        self.write(told).await
    }
}

impl Hub {
    /// Where a person answers a request.
    #[must_use]
    pub fn link(&self, id: RemediationId, approval: &Approval, person: &str) -> Option<String> {
        let links = self.settings.approval.links.as_ref()?;
        Some(links.url(&claim(id, approval, person)))
    }

    /// What signs and reads links.
    #[must_use]
    pub const fn links(&self) -> Option<&Links> {
        self.settings.approval.links.as_ref()
    }
}

/// What a link for a person says.
fn claim(id: RemediationId, approval: &Approval, person: &str) -> Claim {
    Claim {
        id,
        plan: approval.request.plan_hash.clone(),
        nonce: approval.request.nonce.clone(),
        person: person.to_owned(),
        expires: approval.request.expires,
    }
}

/// A change in one line: `~ a: 1 -> 2`, `- a: 1`, `+ a: 2`.
#[must_use]
pub fn line(change: &Change) -> String {
    let Change { at, was, is } = change;
    match (was, is) {
        (Some(was), Some(is)) => format!("~ {at}: {} -> {}", shown(was), shown(is)),
        (Some(was), None) => format!("- {at}: {}", shown(was)),
        (None, is) => format!("+ {at}: {}", is.as_ref().map(shown).unwrap_or_default()),
    }
}

/// A value for people; control characters of strangers are made harmless.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use stanch_ledger::testing::received;

    use super::*;

    #[test]
    fn one_more_has_to_approve_what_somebody_without_a_name_asked_for() {
        let needs = |people: &[&str], requester: &str| {
            let approvals = Approvals::by("security", people);
            let needs = approvals.needs(&received(1), requester, Class::Destructive);
            needs.map(|needs| needs.iter().map(|need| need.count).sum::<u32>())
        };
        let action = "custom action `Remediate with Stanch`";
        assert_eq!(needs(&["alice", "bob"], "carol"), Ok(1));
        assert_eq!(needs(&["alice", "bob"], action), Ok(2));
        let both = Approvals::by("security", &["alice", "bob"]);
        let mut all = both.clone();
        for rule in &mut all.rules {
            rule.needs = [("security".to_owned(), 2)].into();
        }
        let all = all.needs(&received(1), action, Class::Destructive);
        assert_eq!(
            all.map(|needs| needs[0].count),
            Ok(2),
            "one of them is not who asked"
        );
        let alone = needs(&["alice"], action).unwrap_err();
        assert!(alone.contains("not enough people"), "{alone}");
    }
}
