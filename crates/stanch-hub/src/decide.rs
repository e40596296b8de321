//! Asking the guard.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use stanch_catalog::{Impact, Plan, PlannedAction, Remediation, Stage};
use stanch_guard::{Answer, Case, Explanation, Guard};
use stanch_ledger::{Decided, LedgerError, Order, Query, Received, RemediationId, Verdict};
use stanch_types::chain;
use tokio::sync::OnceCell;

use crate::{
    Hub, Ports,
    observe::probe,
    pipeline::HUB,
    rollout::{Ceiling, Mode},
    undo::asked_by,
};

/// The guard that decides.
pub(crate) struct Deciding {
    guard: Arc<Guard>,
    /// It knows what the ledger says.
    seeded: OnceCell<()>,
    /// Why it does not decide: the rules that it should go by cannot be read.
    held: Option<String>,
}

impl Deciding {
    pub(crate) const fn new(guard: Arc<Guard>) -> Self {
        Self {
            guard,
            seeded: OnceCell::const_new(),
            held: None,
        }
    }
}

/// People are asked in the middle of a plan's run.
fn asks_midway(plan: &Plan) -> bool {
    let mut steps = plan.steps.iter();
    steps.any(|step| matches!(step.action, PlannedAction::Approve { .. }))
}

/// An answer as the ledger keeps it, with the rules that it was given by.
fn decided(guard: &Guard, answer: Answer) -> Decided {
    Decided {
        verdict: answer.verdict,
        reasons: answer.reasons,
        by: guard.name().to_owned(),
        rules: guard.hash().to_owned(),
        policies: answer.policies,
        urgent: answer.urgent,
    }
}

impl Hub {
    /// Decides by `guard` from now on. What was counted counts on.
    pub fn decide_by(&self, guard: Guard) {
        let mut deciding = self
            .deciding
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let guard = Arc::new(guard.following(&deciding.guard));
        let mut next = Deciding::new(guard);
        if deciding.guard.counts() {
            next.seeded.clone_from(&deciding.seeded);
        }
        *deciding = Arc::new(next);
    }

    /// Puts off all that would begin, for this reason, until [`Self::decide_by`] is called: what cannot be
    /// decided by the rules as they are is not decided by those of before.
    pub fn hold(&self, why: impl Into<String>) {
        let mut deciding = self
            .deciding
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *deciding = Arc::new(Deciding {
            held: Some(why.into()),
            ..Deciding::new(Arc::clone(&deciding.guard))
        });
    }

    /// Why nothing is begun, if so.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        self.deciding().held.clone()
    }

    /// The answer while nothing is begun.
    fn not_now(&self) -> Option<Decided> {
        /// When it is asked again.
        const LATER: SignedDuration = SignedDuration::from_mins(1);
        let until = self.ports.clock.now() + LATER;
        Some(Decided {
            verdict: Verdict::Defer { until },
            reasons: vec![self.held()?],
            by: HUB.to_owned(),
            rules: String::new(),
            policies: Vec::new(),
            urgent: false,
        })
    }

    /// The guard that decides now.
    #[must_use]
    pub fn decides(&self) -> Arc<Guard> {
        Arc::clone(&self.deciding().guard)
    }

    fn deciding(&self) -> Arc<Deciding> {
        let deciding = self.deciding.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&deciding)
    }

    /// Asks about a plan below a ceiling. What it may touch is looked at before where policies go by that,
    /// and else where people have to decide: what runs by itself costs no further read.
    pub(crate) async fn decide(
        &self,
        id: RemediationId,
        received: &Received,
        remediation: &Remediation,
        plan: &mut Plan,
        ceiling: &Ceiling,
    ) -> Result<Decided, LedgerError> {
        if let Some(answer) = self.not_now() {
            return Ok(answer);
        }
        let guard = self.guard().await?;
        if guard.weighs_impact() {
            plan.impact = self.impact(remediation, received, plan).await;
        }
        let case = self.case(Some(id), received, remediation, plan);
        let answer = guard.decide_below(&case, |answer| ceiling.over(answer, received.route));
        let is_asked = answer.verdict == Verdict::NeedsApproval
            || answer.verdict == Verdict::Run && asks_midway(plan);
        if is_asked && plan.impact.is_empty() {
            plan.impact = self.impact(remediation, received, plan).await;
        }
        Ok(decided(&guard, answer))
    }

    /// What the guard says when a person asks to take a change back, or to make it again; `approved`: people
    /// have said yes to that.
    pub(crate) async fn taken_back(
        &self,
        received: &Received,
        by: &str,
        remediation: &Remediation,
        plan: &mut Plan,
        approved: bool,
    ) -> Result<Decided, LedgerError> {
        let received = &asked_by(received, by);
        if let Some(answer) = self.not_now() {
            return Ok(answer);
        }
        let guard = self.guard().await?;
        if plan.stage == Stage::Apply && guard.weighs_impact() {
            // What was taken back and is done again is a change like any other.
            plan.impact = self.impact(remediation, received, plan).await;
        }
        let case = self.case(None, received, remediation, plan);
        let mut answer = guard.judge(&case);
        if approved && answer.verdict != Verdict::Run {
            answer = guard.confirm(&case);
        }
        Ok(decided(&guard, answer))
    }

    /// Whether a plan that people have approved may run now, below the ceiling as it is by now.
    pub(crate) async fn confirm(
        &self,
        id: RemediationId,
        received: &Received,
        remediation: &Remediation,
        plan: &mut Plan,
    ) -> Result<Decided, LedgerError> {
        if let Some(answer) = self.not_now() {
            return Ok(answer);
        }
        let guard = self.guard().await?;
        let ceiling = self.ceiling(received).await?;
        if ceiling.mode == Mode::Observe {
            let refused = Answer {
                verdict: Verdict::Refuse,
                reasons: vec![ceiling.reason],
                policies: Vec::new(),
                urgent: false,
            };
            return Ok(decided(&guard, refused));
        }
        if guard.weighs_impact() {
            plan.impact = self.impact(remediation, received, plan).await;
        }
        let answer = guard.confirm(&self.case(Some(id), received, remediation, plan));
        Ok(decided(&guard, answer))
    }

    /// What the guard would say, and why.
    pub(crate) async fn explained(
        &self,
        received: &Received,
        remediation: &Remediation,
        plan: &mut Plan,
    ) -> Result<Explanation, LedgerError> {
        let guard = self.guard().await?;
        plan.impact = self.impact(remediation, received, plan).await;
        Ok(guard.explain(&self.case(None, received, remediation, plan)))
    }

    /// What the guard and the ceiling would say.
    pub(crate) async fn foreseen(
        &self,
        received: &Received,
        remediation: &Remediation,
        plan: &mut Plan,
    ) -> Result<Decided, LedgerError> {
        let guard = self.guard().await?;
        plan.impact = self.impact(remediation, received, plan).await;
        let answer = guard.judge(&self.case(None, received, remediation, plan));
        let ceiling = self.ceiling(received).await?;
        Ok(decided(&guard, ceiling.over(answer, received.route)))
    }

    /// What the guard would say to a change that nobody has looked at.
    pub(crate) async fn unseen(
        &self,
        received: &Received,
        remediation: &Remediation,
    ) -> Result<Decided, LedgerError> {
        let guard = self.guard().await?;
        let mut impact = Impact::default();
        for probe in &remediation.impact {
            impact.fail(&probe.read.name, "nobody has looked".to_owned());
        }
        let answer = guard.judge(&Case {
            id: None,
            received,
            remediation,
            impact: &impact,
            undo: false,
            now: self.ports.clock.now(),
        });
        let ceiling = self.ceiling(received).await?;
        Ok(decided(&guard, ceiling.over(answer, received.route)))
    }

    fn case<'a>(
        &self,
        id: Option<RemediationId>,
        received: &'a Received,
        remediation: &'a Remediation,
        plan: &'a Plan,
    ) -> Case<'a> {
        Case {
            id,
            received,
            remediation,
            impact: &plan.impact,
            undo: plan.stage == Stage::Undo,
            now: self.ports.clock.now(),
        }
    }

    /// The facts about what a plan may touch.
    async fn impact(&self, remediation: &Remediation, received: &Received, plan: &Plan) -> Impact {
        let mut impact = Impact::default();
        if remediation.impact.is_empty() {
            return impact;
        }
        match self.reading(remediation, received).await {
            Ok(api) => {
                let now = self.ports.clock.now();
                probe(&*api, &self.models, remediation, plan, now).await
            }
            Err(error) => {
                for probe in &remediation.impact {
                    impact.fail(&probe.read.name, chain(&error));
                }
                impact
            }
        }
    }

    /// The guard, which knows what was changed before: where it decides by that, the ledger is read, if
    /// it has not been of late.
    async fn guard(&self) -> Result<Arc<Guard>, LedgerError> {
        let deciding = self.deciding();
        if deciding.guard.counts() {
            let seeded = deciding
                .seeded
                .get_or_try_init(|| self.seed(&deciding.guard));
            seeded.await?;
        }
        Ok(Arc::clone(&deciding.guard))
    }

    async fn seed(&self, guard: &Guard) -> Result<(), LedgerError> {
        /// How long limits may be counted without what other hubs did meanwhile.
        const FRESH: SignedDuration = SignedDuration::from_mins(1);
        /// What was begun since the last reading is found among what is open for so long.
        const LATELY: SignedDuration = SignedDuration::from_mins(10);
        let Ports { ledger, clock, .. } = &self.ports;
        let now = clock.now();
        let read = guard.seeded();
        let age = read.map(|at| now.duration_since(at).abs());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        let began = match guard.began() {
            Some(began) => began,
            None => {
                let mut first = Query::all().limit(1);
                first.order = Order::Oldest;
                let first = ledger.query(&first).await?.records;
                first.first().map_or(now, |record| record.timestamp)
            }
        };
        let since = match read.filter(|_| age.is_some_and(|age| age < LATELY)) {
            Some(at) => at,
            None => now - Duration::from_hours(24),
        };
        let records = ledger.begun(since, now, &guard.known()).await?;
        guard.seed(began, now, &records);
        Ok(())
    }
}
