//! What people see before they answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stanch_catalog::{Fact, Plan, Remediation, Undo};
use stanch_ledger::{
    Approval, Change, Consent, Cutover, Decided, Difference, LedgerError, Need, Received,
    RemediationId, State, Status,
};

use super::{changes, foreseen, line, next};
use crate::{Hub, mask_plan};

/// All that a person needs to know to say yes or no. Secrets are masked, also in the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Sheet {
    /// The remediation.
    pub remediation_id: RemediationId,
    /// Where it stands.
    pub status: Status,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who asked for what is to be done.
    pub requester: String,
    /// What it does, in one line.
    pub title: String,
    /// Who notices what.
    pub impact: String,
    /// What the change may touch, as far as that was looked at.
    pub facts: Vec<Fact>,
    /// Whether it can be put back.
    pub undo: String,
    /// The finding.
    pub received: Received,
    /// Why people are asked.
    pub reasons: Vec<String>,
    /// Who decided that, with the version of its rules.
    pub decided_by: String,
    /// The plan: its requests, and what it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Its hash, as it is.
    pub plan_hash: String,
    /// What becomes of the resource, as far as the requests tell.
    pub changes: Vec<Change>,
    /// Where its run waits, if it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutover: Option<Cutover>,
    /// What is different from what was shown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Difference>,
    /// Until when an approval counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The request that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Who has to approve it.
    pub needs: Vec<Need>,
    /// Who has, and when.
    pub given: Vec<(Consent, Timestamp)>,
}

/// An approval that is asked for, as channels are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Asked {
    /// The plan's hash.
    pub plan_hash: String,
    /// Until when an approval counts, RFC 3339 in UTC.
    pub expires: String,
    /// Who has to approve it: `1 of security`.
    pub needs: Vec<String>,
    /// Why people are asked.
    pub reasons: Vec<String>,
    /// What is to be approved in the middle of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the change may touch, as far as that was looked at, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// What becomes of the resource, a line each.
    pub changes: Vec<String>,
    /// What is different from what was shown before, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Whom this message is for, if not for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Where that person answers; nobody else may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Asked {
    /// What is asked of people about a change by `remediation`, if the catalog has it.
    pub(super) fn new(
        hub: &Hub,
        approval: &Approval,
        state: &State,
        remediation: Option<&Remediation>,
    ) -> Self {
        let request = &approval.request;
        let lines = |changes: &[Change]| changes.iter().map(line).collect();
        let mut plan = next(state);
        if let Some(plan) = &mut plan {
            mask_plan(&mut hub.secrets_of(state), plan);
        }
        let facts = facts(plan.as_ref(), remediation).into_iter();
        Self {
            plan_hash: request.plan_hash.clone(),
            expires: format!("{:.0}", request.expires),
            needs: request
                .needs
                .iter()
                .map(|need| format!("{} of {}", need.count, need.role))
                .collect(),
            reasons: reasons(state),
            message: request
                .cutover
                .as_ref()
                .map(|cutover| cutover.message.clone()),
            facts: facts.map(|fact| fact.to_string()).collect(),
            changes: plan
                .map(|plan| lines(&changes(&plan.state, &foreseen(&plan))))
                .unwrap_or_default(),
            changed: request
                .changed
                .as_ref()
                .map(|changed| lines(&changed.changes))
                .unwrap_or_default(),
            person: None,
            link: None,
        }
    }
}

/// What a plan may touch.
fn facts(plan: Option<&Plan>, remediation: Option<&Remediation>) -> Vec<Fact> {
    plan.zip(remediation)
        .map(|(plan, remediation)| plan.impact.shown(remediation))
        .unwrap_or_default()
}

/// The last decision: on the undo, if one is to be made.
fn decided(state: &State) -> Option<&Decided> {
    match &state.undo {
        Some(undo) => undo.planned.decision.as_ref(),
        None => Some(&state.decision.as_ref()?.decided),
    }
}

fn reasons(state: &State) -> Vec<String> {
    decided(state)
        .map(|decided| decided.reasons.clone())
        .unwrap_or_default()
}

impl Hub {
    /// What people see of a remediation before they approve or reject it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn sheet(&self, id: RemediationId) -> Result<Sheet, LedgerError> {
        let (state, _) = self.ports.ledger.state(id).await?;
        let remediation = self.catalog.get(&state.received.remediation);
        let mut secrets = self.secrets_of(&state);
        let mut plan = next(&state);
        if let Some(plan) = &mut plan {
            mask_plan(&mut secrets, plan);
        }
        let mut received = Received::clone(&state.received);
        secrets.mask(&mut received.subject);
        let request = state.approval.as_ref().map(|approval| &approval.request);
        let observed: Option<(Value, Value)> = plan
            .as_ref()
            .map(|plan| (plan.state.clone(), foreseen(plan)));
        let given = |approval: &Approval| approval.given.clone();
        Ok(Sheet {
            remediation_id: id,
            status: state.status,
            error: state.error.clone(),
            title: {
                let title = remediation.as_ref().map_or_else(
                    || state.received.remediation.clone(),
                    |remediation| remediation.title.clone(),
                );
                match &state.undo {
                    Some(_) => format!("Undo: {title}"),
                    None => title,
                }
            },
            impact: remediation
                .as_ref()
                .map(|remediation| remediation.safety.impact.trim().to_owned())
                .unwrap_or_default(),
            facts: facts(plan.as_ref(), remediation.as_deref()),
            undo: match remediation
                .as_ref()
                .map(|remediation| &remediation.safety.undo)
            {
                Some(Undo::Exact) => "It can be put back as it was.".to_owned(),
                Some(Undo::None { because }) => {
                    format!("It cannot be put back: {}", because.trim())
                }
                None => String::new(),
            },
            requester: state.requester().to_owned(),
            reasons: reasons(&state),
            decided_by: decided(&state)
                .map(|decided| decided.by.clone())
                .unwrap_or_default(),
            plan_hash: match (&state.undo, &state.plan) {
                (Some(undo), _) => undo.planned.plan_hash.clone(),
                (None, Some(planned)) => planned.plan_hash.clone(),
                (None, None) => String::new(),
            },
            changes: observed
                .map(|(before, after)| changes(&before, &after))
                .unwrap_or_default(),
            cutover: request.and_then(|request| {
                let mut cutover = request.cutover.clone()?;
                secrets.mask(&mut cutover.observed);
                Some(cutover)
            }),
            changed: request.and_then(|request| request.changed.clone()),
            expires: request.map(|request| request.expires),
            nonce: request.map(|request| request.nonce.clone()),
            needs: request
                .map(|request| request.needs.clone())
                .unwrap_or_default(),
            given: match &state.approval {
                Some(approval) => given(approval),
                None => state.approved.iter().flat_map(given).collect(),
            },
            plan,
            received,
        })
    }
}
