//! The way back: by itself after a failure, or because someone asked; and forward again.
//!
//! *Invariant:* an undo starts from the state that it was planned from. What others have changed since
//! is theirs: it is shown, and overwritten only with `force` and an approval.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stanch_catalog::{Catalog, Plan, PlanError, Remediation};
use stanch_ledger::{
    Decided, Event, LedgerError, Phase, Query, Received, Record, RemediationId, Route, Run,
    Started, State, Status, Undo, UndoPlanned, Verdict, Verified,
};
use stanch_types::{AccountId, Api, chain};
use tracing::Instrument as _;

use crate::{
    Hub,
    automation::{self, Executor, Followed},
    execute::Ran,
    pipeline::{GONE, HUB, PlanFailure, Turn, Work, answers, kept, remaining},
    requests::RequestError,
    secrets::mask_plan,
    tell::History,
    trace::stage,
};

/// The three states of a resource that somebody else has changed, or may have; with secrets masked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Drift {
    /// Before the remediation.
    pub before: Value,
    /// After it; null if nothing was read then, and nobody knows whose doing the difference is.
    pub after: Value,
    /// Now.
    pub now: Value,
}

/// What a rollback came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rollback {
    /// The requests, with secrets masked.
    pub plan: Plan,
    /// Their hash, as they are.
    pub plan_hash: String,
    /// What the guard says about them.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
    /// Where the remediation stands now; absent in a dry run.
    pub status: Option<Status>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Which changes are to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this control, as any product names it, or of this remediation.
    pub control: Option<String>,
    /// Made since.
    pub since: Option<Timestamp>,
}

impl Selection {
    fn has(&self, record: &Record, catalog: &Catalog) -> bool {
        let control = self.control.as_ref().is_none_or(|control| {
            let remediation = catalog.get(&record.remediation_action);
            record.control.eq_ignore_ascii_case(control)
                || record.remediation_action.eq_ignore_ascii_case(control)
                || remediation.is_some_and(|one| one.is_meant(control, &record.control))
        });
        let since = self
            .since
            .is_none_or(|since| record.started_at.is_some_and(|at| at >= since));
        control && since
    }
}

const CHANGED: &str = "the resource has changed since the undo was planned";

/// Why an undo does not go on.
enum Halt {
    /// AWS does not answer for now, or the process is about to be stopped.
    Later,
    /// Changes are paused.
    Paused(String),
    /// What it was planned from is no more.
    Stale(String),
    /// The guard has decided anew: how it goes on is in the ledger.
    Decided,
    /// It failed; and what was seen of the resource last.
    Failed(String, Value),
}

impl From<PlanFailure> for Halt {
    fn from(failure: PlanFailure) -> Self {
        if failure.is_transient() {
            Self::Later
        } else {
            Self::failed(chain(&failure))
        }
    }
}

impl Halt {
    const fn failed(error: String) -> Self {
        Self::Failed(error, Value::Null)
    }
}

impl Work<'_> {
    /// Plans the way back to what `plan` had seen; the next turn takes it.
    pub(crate) async fn restore(
        &mut self,
        remediation: &Remediation,
        plan: &Plan,
        reason: String,
    ) -> Result<Turn, LedgerError> {
        let state = self.state().await;
        let planned = match self.plan_undo(remediation, plan, &state).await {
            Ok(undo) => undo,
            Err(error) if error.is_transient() => return Ok(Turn::Later),
            Err(error) => {
                let is_due = !matches!(error, PlanFailure::Plan(PlanError::NoUndo { .. }));
                let error = format!("{reason}; and it cannot be put back: {}", chain(&error));
                if !(is_due && has_changed(&state)) {
                    return self.fail(error).await;
                }
                let observed = Value::Null;
                return self.write([Event::UndoFailed { error, observed }]).await;
            }
        };
        self.looked = true;
        self.write([undo_planned(&planned, reason, HUB, None)])
            .await
    }

    /// Reads what a run has made of the resource, right after its last request and before it stands still: what
    /// is different later is somebody else's doing.
    pub(crate) async fn read_half_way(
        &self,
        remediation: &Remediation,
        plan: &Plan,
        api: &dyn Api,
    ) -> Result<(), LedgerError> {
        let state = self.state().await;
        let (_, history) = self.history().await;
        let mut since =
            newest_first(&history).take_while(|event| !matches!(event, Event::Started(_)));
        let has_sent = since.any(|event| matches!(event, Event::StepFinished(_)));
        // Where it sent nothing before it stood still, others may have been at the resource since it did; and
        // an execution in Systems Manager may go on.
        if !(has_sent && has_changed(&state)) || automation::is_with_ssm(&state, Phase::Apply) {
            return Ok(());
        }
        let mut before: Option<Verified> = None;
        for _ in 0..=plan.verify.attempts.max(1) {
            let seen = match self.look(remediation, plan, api).await {
                Ok(now) => Verified {
                    compliant: now.compliant(),
                    observed: now.state().clone(),
                },
                Err(error) => {
                    tracing::warn!(id = %self.id, error = chain(&error), "cannot be looked at where it stands still");
                    return Ok(());
                }
            };
            // What was done may take a while to show: what is still on its way is nobody else's doing.
            if before.as_ref() == Some(&seen) {
                return self.write([Event::Verified(seen)]).await.map(drop);
            }
            before = Some(seen);
            let pause = Duration::from_secs(plan.verify.every);
            self.hub.ports.clock.sleep(pause).await;
        }
        Ok(())
    }

    /// The requests that take `plan` back.
    async fn plan_undo(
        &self,
        remediation: &Remediation,
        plan: &Plan,
        state: &State,
    ) -> Result<Plan, PlanFailure> {
        let api = self.hub.reading(remediation, &state.received).await?;
        let outputs = Value::Object(state.run.as_ref().map(answers).unwrap_or_default());
        Ok(self
            .look(remediation, plan, &*api)
            .await?
            .undo(plan, &outputs)?)
    }

    /// Takes the change back, or goes on with that after a crash.
    pub(crate) async fn undo(&mut self, state: &State) -> Result<Turn, LedgerError> {
        // What Systems Manager carries out is cancelled first: until then it does not stand still.
        if automation::execution(state).is_none()
            && let Some(reason) = self.hub.switch(&state.received).stops().await
        {
            return self.write([Event::Paused { reason }]).await;
        }
        match Box::pin(self.try_undo(state)).await? {
            Ok(observed) => self.write([Event::Undone { observed }]).await,
            Err(Halt::Later) => Ok(Turn::Later),
            Err(Halt::Paused(reason)) => self.write([Event::Paused { reason }]).await,
            Err(Halt::Decided) => Ok(Turn::Again),
            Err(Halt::Failed(error, observed)) => {
                self.write([Event::UndoFailed { error, observed }]).await
            }
            Err(Halt::Stale(reason)) => {
                if let Some(undo) = half_way(state)
                    && self.follows_at_once(undo).await
                    && let Some((remediation, before, _)) = self.parts(state)
                {
                    // The way back from what is there now is as good.
                    let reason = undo.planned.reason.clone();
                    return self.restore(&remediation, &before, reason).await;
                }
                self.drop_undo(state, reason).await
            }
        }
    }

    /// Goes on with an undo that was put off, once its time has come: plans it and asks the guard anew.
    pub(crate) async fn reconsider_undo(&self, state: &State) -> Result<Turn, LedgerError> {
        let hub = self.hub;
        // As with a change: it was told so when it was put off.
        if hub.held().is_some() {
            return Ok(Turn::Later);
        }
        let (Some(undo), Some((remediation, before, shown))) = (&state.undo, self.parts(state))
        else {
            return self.drop_undo(state, GONE.to_owned()).await;
        };
        let mut plan = match self.plan_undo(&remediation, &before, state).await {
            Ok(plan) if plan.state == shown.state => plan,
            Ok(_) => return self.drop_undo(state, CHANGED.to_owned()).await,
            Err(error) if error.is_transient() => return Ok(Turn::Later),
            Err(error) => return self.drop_undo(state, chain(&error)).await,
        };
        let (_, history) = self.history().await;
        let drifted = drift(state, undo.from, &history, &before, &plan).is_some();
        let by = &undo.planned.requester;
        let judged = hub.judge(&state.received, by, &remediation, &mut plan, drifted);
        let answer = judged.await?;
        // Nobody holds the resource yet: it is looked at once more before anything is sent.
        hub.record_undo(self, &remediation, &plan, answer, by)
            .await?;
        Ok(Turn::Again)
    }

    /// Asks the guard once more about an undo that does not follow at once on what it said: windows close and
    /// rules change while it waits for people, or stands still, or nobody is there to make it. The hub's own
    /// is not asked about.
    async fn confirm_undo(
        &self,
        state: &State,
        undo: &Undo,
        remediation: &Remediation,
        plan: &mut Plan,
    ) -> Result<Result<Option<Box<Decided>>, Halt>, LedgerError> {
        if undo.planned.decision.is_none() {
            return Ok(Ok(None));
        }
        let by = &undo.planned.requester;
        let approved = state.approval.is_some();
        let asked = self
            .hub
            .taken_back(&state.received, by, remediation, plan, approved)
            .instrument(stage("decide"));
        let answer = asked.await?;
        Ok(match answer.verdict {
            Verdict::Run => Ok(Some(Box::new(answer))),
            Verdict::Defer { .. } if approved => Err(Halt::Later),
            Verdict::Defer { .. } | Verdict::NeedsApproval | Verdict::Refuse => {
                self.hub
                    .record_undo(self, remediation, plan, answer, by)
                    .await?;
                Err(Halt::Decided)
            }
        })
    }

    /// Does not make the undo: what it was planned from is no more.
    async fn drop_undo(&self, state: &State, reason: String) -> Result<Turn, LedgerError> {
        self.write([dropped(state, reason)]).await
    }

    /// The hub planned this undo by itself, and nothing but a crash has come between.
    async fn follows_at_once(&self, undo: &Undo) -> bool {
        let (_, history) = self.history().await;
        let mut since =
            newest_first(&history).take_while(|event| !matches!(event, Event::UndoPlanned(_)));
        undo.planned.decision.is_none() && !since.any(|event| matches!(event, Event::Paused { .. }))
    }

    /// What an undo is made of: the remediation, the plan to take back, and the plan that does.
    fn parts(&self, state: &State) -> Option<(Arc<Remediation>, Plan, Plan)> {
        let (undo, planned) = (state.undo.as_ref()?, state.plan.as_ref()?);
        Some((
            self.hub.remediation(&state.received).ok()?,
            kept(&planned.plan, &planned.plan_hash)?,
            kept(&undo.planned.plan, &undo.planned.plan_hash)?,
        ))
    }

    async fn try_undo(&mut self, state: &State) -> Result<Result<Value, Halt>, LedgerError> {
        let (Some(undo), Some((remediation, before, mut plan))) = (&state.undo, self.parts(state))
        else {
            return Ok(Err(Halt::failed(GONE.to_owned())));
        };
        let executor = match &undo.run {
            Some(run) => automation::executor_of(run),
            None => self.executor(state, &plan),
        };
        let api = match self.acting(&plan, executor).await {
            Ok(api) => api,
            Err(error) => return Ok(Err(error.into())),
        };
        match Box::pin(self.follow(&plan, Phase::Undo, &*api)).await? {
            Followed::Elsewhere => {}
            Followed::UnderWay => return Ok(Err(Halt::Later)),
            Followed::Ended(ran) => {
                return Box::pin(self.put_back(&remediation, &before, &plan, ran, &*api)).await;
            }
        }
        let mut attempt = 1;
        let mut confirmed = None;
        let mut skip = Vec::new();
        let mut outputs = Map::new();
        if let Some(run) = &undo.run {
            self.settle(run).await?;
            let run = self
                .state()
                .await
                .undo
                .and_then(|undo| undo.run)
                .unwrap_or_else(|| run.clone());
            let now = match self.look(&remediation, &before, &*api).await {
                Ok(now) => now,
                Err(error) => return Ok(Err(PlanFailure::from(error).into())),
            };
            if now.state() == &before.state {
                return Ok(Ok(now.state().clone()));
            }
            let observed = now.state().clone();
            let unchanged = observed == plan.state;
            let answered = Value::Object(state.run.as_ref().map(answers).unwrap_or_default());
            // A file with another undo plans other requests: they tell nothing of those that were sent.
            let fresh = now.undo(&before, &answered).ok();
            let fresh = fresh.filter(|fresh| fresh.digest == plan.digest);
            match fresh.and_then(|fresh| remaining(&plan, &fresh, &run, unchanged)) {
                Some(known) => skip = known,
                None => {
                    let error = "it was interrupted, and how far it got cannot be told".to_owned();
                    return Ok(Err(Halt::Failed(error, observed)));
                }
            }
            outputs = answers(&run);
            attempt = run.started.attempt + 1;
        } else {
            let now = self.hub.ports.clock.now();
            if state
                .approval
                .as_ref()
                .is_some_and(|asked| asked.request.expires <= now)
            {
                return Ok(Err(Halt::Stale("its approval has expired".to_owned())));
            }
            if !std::mem::take(&mut self.looked) {
                match self.look(&remediation, &before, &*api).await {
                    Ok(now) if *now.state() == plan.state => {}
                    Ok(_) => return Ok(Err(Halt::Stale(CHANGED.to_owned()))),
                    Err(error) => return Ok(Err(PlanFailure::from(error).into())),
                }
                let asked = self.confirm_undo(state, undo, &remediation, &mut plan);
                match Box::pin(asked).await? {
                    Ok(answer) => confirmed = answer,
                    Err(halt) => return Ok(Err(halt)),
                }
            }
        }
        let executor = match attempt {
            1 => executor,
            _ => Executor::Native,
        };
        let started = Started {
            confirmed,
            ..self.started(state, attempt, executor)
        };
        self.write([Event::UndoStarted(started)]).await?;
        let ran = self
            .run(state, &plan, &skip, outputs, Phase::Undo, &api)
            .await?;
        Box::pin(self.put_back(&remediation, &before, &plan, ran, &*api)).await
    }

    /// Reads after an undo whether the resource is as it was before.
    async fn put_back(
        &self,
        remediation: &Remediation,
        before: &Plan,
        plan: &Plan,
        ran: Ran,
        api: &dyn Api,
    ) -> Result<Result<Value, Halt>, LedgerError> {
        let failure = match ran {
            Ran::Done => None,
            Ran::Failed(error) => Some(error),
            Ran::Paused(reason) => return Ok(Err(Halt::Paused(reason))),
            Ran::OutOfTime => return Ok(Err(Halt::Later)),
            Ran::UnderWay => return Ok(Err(Halt::Later)),
        };
        if failure.is_some() {
            let undo = self.state().await.undo;
            self.let_arrive(undo.as_ref().and_then(|undo| undo.run.as_ref()))
                .await;
        }
        let mut last = (String::new(), Value::Null);
        for attempt in 0..plan.verify.attempts.max(1) {
            if attempt > 0 {
                self.hub
                    .ports
                    .clock
                    .sleep(Duration::from_secs(plan.verify.every))
                    .await;
            }
            match self.look(remediation, before, api).await {
                Ok(now) if now.state() == &before.state => return Ok(Ok(now.state().clone())),
                Ok(now) => {
                    let error = "the state is not what it was before the change".to_owned();
                    last = (error, now.state().clone());
                }
                Err(error) => last.0 = chain(&error),
            }
            if failure.is_some() {
                break;
            }
        }
        Ok(Err(Halt::Failed(failure.unwrap_or(last.0), last.1)))
    }
}

/// What the hub's own undo, without a decision, and a person's, with one, look like in the ledger.
fn undo_planned(plan: &Plan, reason: String, requester: &str, decision: Option<Decided>) -> Event {
    Event::UndoPlanned(UndoPlanned {
        plan: serde_json::json!(plan),
        plan_hash: plan.hash(),
        reason,
        requester: requester.to_owned(),
        decision,
    })
}

/// The finding as if this person had brought it.
pub(crate) fn asked_by(received: &Received, requester: &str) -> Received {
    Received {
        route: Route::Manual,
        requester: requester.to_owned(),
        // The second factor was another person's, or of another day.
        mfa: false,
        ..received.clone()
    }
}

impl Hub {
    /// Takes a change back, as asked for by `by`; what was taken back is done again. With `dry_run` it
    /// is only planned. On drift it stops; with `force` it asks for an approval to go on all the same.
    ///
    /// While changes are paused it is only recorded, and made when they go on; and where the guard allows it
    /// only later, it is planned again then.
    ///
    /// # Errors
    /// There is nothing to take back, it cannot be planned, or somebody else has changed the resource.
    pub async fn rollback(
        &self,
        id: RemediationId,
        by: &str,
        dry_run: bool,
        force: bool,
    ) -> Result<Rollback, RequestError> {
        let mut work = Work::open(self, id).await?;
        let received = work.state().await.received;
        if dry_run {
            return self.turn_back(&mut work, id, by, dry_run, force).await;
        }
        let lease = self.locked(id, &received).await?;
        let tenure = work.has(&lease);
        let turned = self.turn_back(&mut work, id, by, dry_run, force);
        let (turned, lease) = self.holding(lease, &tenure, turned).await?;
        self.give_back(&lease, &work.state().await).await?;
        let mut done = turned?;
        let state = work.keep().await?;
        done.error = state.error.clone();
        self.tell(&work, &state).await?;
        Ok(done)
    }

    async fn turn_back(
        &self,
        work: &mut Work<'_>,
        id: RemediationId,
        by: &str,
        dry_run: bool,
        force: bool,
    ) -> Result<Rollback, RequestError> {
        // Another hub may have gone on with it until the lock was free.
        work.reread().await?;
        let state = work.state().await;
        let stands = match &state.paused {
            Some((stood, _)) => *stood,
            None => state.status,
        };
        let (Some(planned), Some(run)) = (&state.plan, &state.run) else {
            return Err(RequestError::NothingToUndo {
                id,
                status: state.status,
            });
        };
        let again = stands == Status::Undone;
        if !(again || can_be_undone(&state, stands)) {
            let status = state.status;
            return Err(match !stands.is_final() && run.may_have_changed() {
                true => RequestError::UnderWay { id, status },
                false => RequestError::NothingToUndo { id, status },
            });
        }
        let gone = || RequestError::Gone(id);
        let remediation = self.remediation(&state.received).map_err(|_| gone())?;
        let before = kept(&planned.plan, &planned.plan_hash).ok_or_else(gone)?;
        let mut plan = if again {
            work.plan(&remediation, &state).await?
        } else {
            work.plan_undo(&remediation, &before, &state).await?
        };
        let (_, history) = work.history().await;
        let drift = drift(&state, stands, &history, &before, &plan);
        let drifted = drift.is_some();
        if let Some(mut drift) = drift
            && !force
        {
            let mut secrets = self.secrets_of(&state);
            for seen in [&mut drift.before, &mut drift.after, &mut drift.now] {
                secrets.mask(seen);
            }
            return Err(RequestError::Drift(Box::new(drift)));
        }
        let answer = self
            .judge(&state.received, by, &remediation, &mut plan, drifted)
            .await?;
        let mut shown = plan.clone();
        mask_plan(&mut self.secrets_in(&plan), &mut shown);
        let mut rollback = Rollback {
            verdict: answer.verdict,
            reasons: answer.reasons.clone(),
            plan: shown,
            plan_hash: plan.hash(),
            status: None,
            error: None,
        };
        if dry_run {
            return Ok(rollback);
        }
        if again {
            work.settle_on(&state, plan, answer, Some(by)).await?;
        } else {
            work.looked = answer.verdict == Verdict::Run;
            self.record_undo(work, &remediation, &plan, answer, by)
                .await?;
        }
        rollback.status = Some(work.advance().await?.status);
        Ok(rollback)
    }

    async fn record_undo(
        &self,
        work: &Work<'_>,
        remediation: &Remediation,
        plan: &Plan,
        answer: Decided,
        by: &str,
    ) -> Result<(), LedgerError> {
        let state = work.state().await;
        let verdict = answer.verdict;
        let refusal = answer.reasons.join("; ");
        let reason = "a person asked for it".to_owned();
        let mut events = vec![undo_planned(plan, reason, by, Some(answer))];
        match verdict {
            Verdict::Run | Verdict::Defer { .. } => {}
            Verdict::NeedsApproval => events.push(
                work.request(&state, by, remediation, plan)
                    .unwrap_or_else(|reason| dropped(&state, reason)),
            ),
            Verdict::Refuse => events.push(dropped(&state, refusal)),
        }
        work.write(events).await.map(drop)
    }

    /// What the guard says about a person's undo. Whatever it lets run over others' changes needs an
    /// approval.
    async fn judge(
        &self,
        received: &Received,
        by: &str,
        remediation: &Remediation,
        plan: &mut Plan,
        drifted: bool,
    ) -> Result<Decided, LedgerError> {
        let mut answer = self
            .taken_back(received, by, remediation, plan, false)
            .await?;
        if drifted && answer.verdict == Verdict::Run {
            answer.verdict = Verdict::NeedsApproval;
            let reason =
                "somebody else has changed the resource since, and `--force` overwrites that";
            answer.reasons.push(reason.to_owned());
        }
        Ok(answer)
    }

    /// The changes that a selection means, the newest first: those that were made, in whole or in part, and
    /// those that are under way, of which people have to know that they cannot be taken back yet.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn undoable(&self, selection: &Selection) -> Result<Vec<Record>, LedgerError> {
        let ledger = &self.ports.ledger;
        let all = match &selection.account {
            Some(account) => Query::account(account.clone()),
            None => Query::all(),
        };
        let mut found = ledger.unfinished().await?;
        for status in [Status::Success, Status::Failed, Status::UndoFailed] {
            let mut query = all.clone().with_status(status).limit(Query::MAX_LIMIT);
            loop {
                let page = ledger.query(&query).await?;
                found.extend(page.records);
                match page.next {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => break,
                }
            }
        }
        found.retain(|record| {
            let account = selection.account.as_ref();
            account.is_none_or(|account| *account == record.account_id)
                && record.started_at.is_some()
                && !record.expired
                && selection.has(record, &self.catalog)
        });
        found.sort_by_key(|record| (Reverse(record.started_at), record.remediation_id));
        // One may have ended between two of the readings.
        found.dedup_by_key(|record| record.remediation_id);
        let mut changed = Vec::new();
        for record in found {
            let is_one = match ledger.state(record.remediation_id).await {
                // What somebody has tampered with is told by its name, and holds up nobody else.
                Err(LedgerError::Broken { .. }) => true,
                read => has_changed(&read?.0),
            };
            if is_one {
                changed.push(record);
            }
        }
        Ok(changed)
    }
}

fn newest_first(history: &History) -> impl Iterator<Item = &Event> {
    history.iter().rev().map(|(event, _)| event)
}

/// The resource was read after the last request of a run that stands half-way.
pub(crate) fn was_read_last(history: &History) -> bool {
    let mut last = newest_first(history)
        .filter(|event| matches!(event, Event::StepFinished(_) | Event::Verified(_)));
    matches!(last.next(), Some(Event::Verified(_)))
}

/// The undo of a run that has not ended, and would go on without it.
fn half_way(state: &State) -> Option<&Undo> {
    let has_ended = |undo: &&Undo| undo.from.is_final() || state.status.is_final();
    state.undo.as_ref().filter(|undo| !has_ended(undo))
}

/// The end of an undo that is not to be made.
fn dropped(state: &State, reason: String) -> Event {
    match half_way(state) {
        None => Event::UndoVoided { reason },
        // Somebody wanted it taken back, and others may have been at the resource since: without the undo it
        // would go on.
        Some(_) => Event::UndoFailed {
            error: reason,
            observed: Value::Null,
        },
    }
}

/// A request of its run may have changed something.
fn has_changed(state: &State) -> bool {
    state.run.as_ref().is_some_and(Run::may_have_changed)
}

/// What `state` has changed, or may have, can be taken back from where it stands.
fn can_be_undone(state: &State, stands: Status) -> bool {
    let is_half_way = matches!(stands, Status::Running | Status::Verifying);
    let is_made = matches!(
        stands,
        Status::Success | Status::Failed | Status::UndoFailed
    );
    (is_made || is_half_way && state.paused.is_some()) && has_changed(state)
}

/// What others have changed since the ledger's last reading, if they have. Without a reading nobody
/// knows whose the state is.
fn drift(
    state: &State,
    stands: Status,
    history: &History,
    before: &Plan,
    plan: &Plan,
) -> Option<Drift> {
    let verified = state.verified.as_ref().map(|verified| &verified.observed);
    let undone = state.undo.as_ref().map(|undo| &undo.observed);
    let known = match stands {
        Status::Undone | Status::UndoFailed => undone.filter(|seen| !seen.is_null()).or(verified),
        Status::Running | Status::Verifying => verified.filter(|_| was_read_last(history)),
        _ => verified,
    };
    if known == Some(&plan.state) {
        return None;
    }
    Some(Drift {
        before: match stands {
            Status::Undone => verified.cloned().unwrap_or_default(),
            _ => before.state.clone(),
        },
        after: known.cloned().unwrap_or_default(),
        now: plan.state.clone(),
    })
}
