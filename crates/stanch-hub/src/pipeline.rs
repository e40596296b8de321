//! The way of one finding, from where its ledger says it stands to where it ends:
//!
//! ```text
//! Received ─> Planned ─> Ready ─> Running ─> Verifying ─> Success
//!                │                    └──> Undoing ─> Undone
//!                └─> AwaitingApproval, Deferred, Refused, NothingToDo
//! Ready, Running, Undoing <─> Paused
//! ```
//!
//! A run may wait for people on its way (`approval`): Running ─> AwaitingApproval ─> Running. So may an undo
//! that a person asks for, and for its time (`undo`): Success ─> Deferred ─> Undoing.
//!
//! The live run and the recovery after a crash are the same loop: each turn looks at the status and
//! does what follows on it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::join;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stanch_catalog::{Observed, Plan, PlanError, PlannedAction, PolicyError, Remediation};
use stanch_ledger::{
    Decided, Event, Lease, LedgerError, Phase, Planned, Query, Received, Record, RemediationId,
    Run, Started, State, Status, Step, StepFinished, StepOutcome, Verdict, Verified,
};
use stanch_types::{Access, AccountId, Api, Region, Scope, chain};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::{
    Hub,
    approval::{self, waits_at},
    automation::{self, Executor, Followed},
    deadline::Tenure,
    execute::{Ran, Running, Until},
    journal::Journal,
    observe::observe,
    rollout::Mode,
    trace::stage,
    undo::{asked_by, was_read_last},
};

/// Who undoes what failed, in the ledger.
pub(crate) const HUB: &str = "stanch";

impl Hub {
    /// A session for all looking at resources before a decision: it may make the reads of
    /// `remediation` and nothing else, and is shared by all findings of an account and region.
    pub(crate) async fn reading(
        &self,
        remediation: &Remediation,
        received: &Received,
    ) -> Result<Arc<dyn Api>, PlanFailure> {
        let scope = Scope {
            account: received.account.clone(),
            region: received.region.clone(),
            session_name: "stanch-read".to_owned(),
            access: Access::Read(self.read_policy(remediation)?),
        };
        Ok(self.ports.sessions.open(&scope).await?)
    }

    fn read_policy(&self, remediation: &Remediation) -> Result<String, PolicyError> {
        let known = |policies: &HashMap<String, String>| policies.get(&remediation.name).cloned();
        let policies = || {
            self.read_policies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(policy) = known(&policies()) {
            return Ok(policy);
        }
        let policy = remediation.read_policy(&self.models)?;
        policies().insert(remediation.name.clone(), policy.clone());
        Ok(policy)
    }
}

/// What a turn of the loop came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something happened: look at the status again.
    Again,
    /// AWS does not answer for now, or the process is about to be stopped. The remediation stays as it
    /// is, and recovery comes back to it.
    Later,
}

/// Why what people have approved is not begun.
enum Held {
    /// The approval stands until it expires; recovery comes back.
    Later,
    /// It is refused by now.
    Never(String),
}

/// One remediation at work.
pub(crate) struct Work<'h> {
    pub(crate) hub: &'h Hub,
    journal: Arc<Mutex<Journal>>,
    pub(crate) id: RemediationId,
    begun: Duration,
    /// The plan that this very run has made, and when it began to look.
    fresh: Option<(Plan, Timestamp)>,
    /// This very run has planned the undo, and nobody can have changed the resource since.
    pub(crate) looked: bool,
    /// Since when nobody else has worked on the resource, if the lock tells.
    quiet_since: Option<Timestamp>,
    /// How long this hub has the resource to itself.
    tenure: Option<Arc<Tenure>>,
}

impl<'h> Work<'h> {
    pub(crate) async fn open(hub: &'h Hub, id: RemediationId) -> Result<Self, LedgerError> {
        let ports = &hub.ports;
        let (ledger, clock) = (Arc::clone(&ports.ledger), Arc::clone(&ports.clock));
        let sensitive = Arc::clone(&hub.sensitive);
        let journal = match hub.fresh.take(id) {
            Some(state) => Journal::admitted(ledger, clock, sensitive, id, state),
            None => Journal::open(ledger, clock, sensitive, id).await?,
        };
        Ok(Self {
            hub,
            journal: Arc::new(Mutex::new(journal)),
            id,
            begun: ports.clock.monotonic(),
            fresh: None,
            looked: false,
            quiet_since: None,
            tenure: None,
        })
    }

    /// The resource is locked for this work.
    pub(crate) fn has(&mut self, lease: &Lease) -> Arc<Tenure> {
        let tenure = Arc::new(Tenure::of(lease));
        self.quiet_since = lease.quiet_since;
        self.tenure = Some(Arc::clone(&tenure));
        tenure
    }

    /// Until when requests are sent.
    fn until(&self) -> Until {
        let hub = self.hub;
        Until {
            deadline: Arc::clone(&hub.deadline),
            clock: Arc::clone(&hub.ports.clock),
            request: hub.settings.request,
            tenure: self.tenure.clone(),
        }
    }

    /// Reads the ledger again.
    pub(crate) async fn reread(&self) -> Result<(), LedgerError> {
        self.journal.lock().await.reopen().await
    }

    /// The remediation's row and its events, by what this run knows of them.
    pub(crate) async fn history(&self) -> (Record, Vec<(Event, Timestamp)>) {
        let journal = self.journal.lock().await;
        (journal.record(), journal.events().to_vec())
    }

    /// The same for channels: with secrets masked.
    pub(crate) async fn story(&self) -> (Record, Vec<(Event, Timestamp)>) {
        let (record, mut events) = self.history().await;
        if !self.hub.ports.notifiers.is_empty() {
            let mut told: Vec<&mut Event> = events.iter_mut().map(|(event, _)| event).collect();
            self.hub.secrets().mask_events(&mut told);
        }
        (record, events)
    }

    /// Stores what channels were told. Where somebody else has appended meanwhile, it stands behind that.
    pub(crate) async fn note(&self, told: Vec<Event>) -> Result<(), LedgerError> {
        let mut journal = self.journal.lock().await;
        match journal.write(told.clone()).await {
            Err(LedgerError::Conflict { .. }) => {
                journal.reopen().await?;
                journal.write(told).await
            }
            written => written,
        }
    }

    /// Stores what was decided, if nothing has happened with it; gives where it stands.
    pub(crate) async fn keep(&self) -> Result<State, LedgerError> {
        let mut journal = self.journal.lock().await;
        journal.give_up()?;
        journal.write([]).await?;
        Ok(journal.state().clone())
    }

    /// Stops before the first request or between two.
    async fn stop(&self, reason: String) -> Result<Turn, LedgerError> {
        let mut journal = self.journal.lock().await;
        journal.give_up()?;
        journal.write([Event::Paused { reason }]).await?;
        Ok(Turn::Again)
    }

    pub(crate) async fn state(&self) -> State {
        self.journal.lock().await.state().clone()
    }

    pub(crate) async fn write(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Turn, LedgerError> {
        self.journal.lock().await.write(events).await?;
        Ok(Turn::Again)
    }

    /// Stores events with the next ones.
    async fn begin(&self, events: impl IntoIterator<Item = Event>) -> Result<Turn, LedgerError> {
        self.journal.lock().await.begin(events)?;
        Ok(Turn::Again)
    }

    /// Ends in failure.
    pub(crate) async fn fail(&self, error: impl Into<String>) -> Result<Turn, LedgerError> {
        self.write([self.finished(Status::Failed, Some(error.into()))])
            .await
    }

    /// Goes on until the remediation is final, waits for someone or something, or is about to
    /// change the resource: so far nobody needs the lock.
    pub(crate) async fn prepare(&mut self) -> Result<State, LedgerError> {
        self.turns(|status| !changes(status)).await
    }

    /// Goes on until the remediation is final or waits for someone or something. The caller holds
    /// the resource.
    pub(crate) async fn advance(&mut self) -> Result<State, LedgerError> {
        self.turns(|_| true).await
    }

    async fn turns(&mut self, may_go_on: fn(Status) -> bool) -> Result<State, LedgerError> {
        loop {
            let state = self.state().await;
            let now = self.hub.ports.clock.now();
            let turn = match state.status {
                status if !may_go_on(status) => return Ok(state),
                Status::Received | Status::Planned => self.consider(&state).await?,
                Status::Deferred if state.deferred_until.is_none_or(|until| until <= now) => {
                    match state.is_put_off() {
                        true => Box::pin(self.reconsider_undo(&state)).await?,
                        false => self.consider(&state).await?,
                    }
                }
                Status::AwaitingApproval => match Box::pin(self.await_approval(&state)).await? {
                    Some(turn) => turn,
                    None => return Ok(state),
                },
                Status::Ready | Status::Running
                    if state
                        .approval
                        .as_ref()
                        .is_some_and(|approval| approval.request.expires <= now) =>
                {
                    self.lapse().await?
                }
                Status::Ready => Box::pin(self.execute(&state)).await?,
                Status::Running | Status::Verifying => Box::pin(self.resume(&state)).await?,
                Status::Undoing => self.undo(&state).await?,
                Status::Paused => match self.hub.switch(&state.received).stops().await {
                    Some(_) => return Ok(state),
                    None => self.write([Event::Resumed]).await?,
                },
                _ => return Ok(state),
            };
            if turn == Turn::Later {
                return Ok(self.state().await);
            }
        }
    }

    /// Looks at the resource, plans, and asks the guard.
    async fn consider(&mut self, state: &State) -> Result<Turn, LedgerError> {
        // It was told so when it was put off; told anew each time, that would fill the ledger.
        if state.status == Status::Deferred && self.hub.held().is_some() {
            return Ok(Turn::Later);
        }
        let remediation = match self.admissible(state) {
            Ok(remediation) => remediation,
            Err(reason) => return self.write([refused(reason)]).await,
        };
        let mut plan = match self.plan(&remediation, state).await {
            Ok(plan) => plan,
            Err(PlanFailure::Plan(PlanError::Refused { because })) => {
                return self.write([refused(because)]).await;
            }
            Err(error) => return self.fail(chain(&error)).await,
        };
        let requester = again(state);
        let ceiling = self.hub.ceiling(&state.received).await?;
        let ended = match ceiling.mode {
            _ if plan.compliant => Some((Status::NothingToDo, None)),
            Mode::Observe => Some((Status::Skipped, Some(ceiling.reason.clone()))),
            _ => None,
        };
        if let Some((status, reason)) = ended {
            let planned = recorded(&plan, requester);
            let events = [Event::Planned(planned), self.finished(status, reason)];
            return self.write(events).await;
        }
        let asked = requester.map(|person| asked_by(&state.received, person));
        let received = asked.as_ref().unwrap_or(&state.received);
        let hub = self.hub;
        let decided = Box::pin(hub.decide(self.id, received, &remediation, &mut plan, &ceiling));
        let answer = decided.instrument(stage("decide")).await?;
        self.settle_on(state, plan, answer, requester).await
    }

    /// Records a plan with the decision on it, and asks for the approval that it needs.
    pub(crate) async fn settle_on(
        &mut self,
        state: &State,
        plan: Plan,
        answer: Decided,
        requester: Option<&str>,
    ) -> Result<Turn, LedgerError> {
        let now = self.hub.ports.clock.now();
        let planned = recorded(&plan, requester);
        let Ok(remediation) = self.hub.remediation(&state.received) else {
            return self.fail(GONE).await;
        };
        let verdict = answer.verdict;
        let mut events = vec![Event::Planned(planned), Event::Decided(answer)];
        if verdict == Verdict::NeedsApproval
            && let Some(other) = self.waiting_already(state).await?
        {
            let reason = format!("remediation `{other}` waits for an approval of the same change");
            events.truncate(1);
            events.push(self.finished(Status::Skipped, Some(reason)));
            return self.write(events).await;
        }
        let person = requester.unwrap_or(&state.received.requester);
        if verdict == Verdict::NeedsApproval
            && let Some(reason) = self.overspent(state).await?
        {
            // People are not asked for what would not be done.
            events.truncate(1);
            events.push(self.finished(Status::Refused, Some(reason)));
            return self.write(events).await;
        }
        let asked = match verdict {
            Verdict::NeedsApproval => self.request(state, person, &remediation, &plan).map(Some),
            Verdict::Run => self
                .can_wait(state, person, &remediation, &plan)
                .map(|()| None),
            Verdict::Refuse | Verdict::Defer { .. } => Ok(None),
        };
        let follows = match asked {
            Ok(request) => request,
            Err(reason) => Some(self.finished(Status::Refused, Some(reason))),
        };
        self.fresh = Some((plan, now));
        match (verdict, follows) {
            (Verdict::Run, None) => self.begin(events).await,
            (_, follows) => self.write(events.into_iter().chain(follows)).await,
        }
    }

    /// Another remediation that waits for an approval of the same change: a finding is produced anew
    /// with every periodic check, and people are asked once.
    async fn waiting_already(&self, state: &State) -> Result<Option<RemediationId>, LedgerError> {
        let Received {
            account,
            resource_id,
            remediation,
            ..
        } = &*state.received;
        // Mostly there is none, and a short page is read at once.
        let waits = Query::resource(resource_id).with_status(Status::AwaitingApproval);
        let mut query = waits.limit(20);
        loop {
            let page = self.hub.ports.ledger.query(&query).await?;
            let same = page.records.into_iter().find(|record| {
                record.account_id == *account
                    && record.remediation_action == *remediation
                    && record.remediation_id != self.id
            });
            if let Some(record) = same {
                return Ok(Some(record.remediation_id));
            }
            if page.next.is_none() {
                return Ok(None);
            }
            query.cursor = page.next;
        }
    }

    /// The remediation, unless it must not even be planned.
    fn admissible(&self, state: &State) -> Result<Arc<Remediation>, String> {
        let received = &state.received;
        match &received.problem {
            Some(problem) => Err(problem.clone()),
            None => self.hub.remediation(received),
        }
    }

    /// Why the attempt budget does not let it be begun. Nothing is read where the lock tells that nobody
    /// has tried: that is why it is looked at last.
    async fn overspent(&self, state: &State) -> Result<Option<String>, LedgerError> {
        let received = &state.received;
        let budget = self.hub.settings.budget;
        let since = self.hub.ports.clock.now() - budget.period;
        let is_quiet = self.quiet_since.is_some_and(|quiet| quiet <= since);
        // A person who asks for it once more knows what has become of it.
        if is_quiet || again(state).is_some() {
            return Ok(None);
        }
        let attempts = self
            .hub
            .ports
            .ledger
            .attempts(
                &received.account,
                &received.resource_id,
                &received.remediation,
                since,
            )
            .await?;
        Ok((attempts.count >= u64::from(budget.attempts)).then(|| {
            format!(
                "the attempt budget is spent: {} attempts on this resource since {since:.0}; something keeps undoing the change",
                attempts.count,
            )
        }))
    }

    pub(crate) async fn plan(
        &self,
        remediation: &Remediation,
        state: &State,
    ) -> Result<Plan, PlanFailure> {
        let subject = serde_json::from_value(state.received.subject.clone())?;
        let planned = Box::pin(async {
            let api = self.hub.reading(remediation, &state.received).await?;
            let observation = remediation.observe(subject);
            let observed = observe(&*api, &self.hub.models, observation).await?;
            Ok(observed.plan()?)
        });
        planned.instrument(stage("plan")).await
    }

    /// Runs the plan, which was decided on and, where that was due, approved.
    async fn execute(&mut self, state: &State) -> Result<Turn, LedgerError> {
        let (Ok(remediation), Some(planned)) = (self.hub.remediation(&state.received), &state.plan)
        else {
            return self.fail(GONE).await;
        };
        // What people have ordered is read by the gate, before each request.
        if let Some(reason) = self.hub.switch(&state.received).is_off() {
            return self.stop(reason).await;
        }
        if self.until().over().is_some() {
            return Ok(Turn::Later);
        }
        let now = self.hub.ports.clock.now();
        if state
            .approval
            .as_ref()
            .is_some_and(|asked| asked.request.expires <= now)
        {
            return self.lapse().await;
        }
        if let Some(reason) = self.overspent(state).await? {
            return self
                .write([self.finished(Status::Refused, Some(reason))])
                .await;
        }
        let neighbours = self.neighbours(state).await?;
        if neighbours.are_halfway {
            // It has changed some of the resource, and may put it back: what is planned now is not
            // what would be done then.
            return Ok(Turn::Later);
        }
        let fresh = self.fresh.take();
        let is_resumed = fresh.is_none();
        let mut plan = match fresh {
            Some((plan, since)) if !neighbours.touched(since, self.hub.settings.lease) => plan,
            _ => match self.plan(&remediation, state).await {
                // Rules and windows may be others by now: what was begun anew is decided anew.
                Ok(plan) if state.approval.is_none() && is_resumed => {
                    return self
                        .write([Event::Planned(recorded(&plan, again(state)))])
                        .await;
                }
                Ok(plan) if plan.hash() == planned.plan_hash => plan,
                Ok(plan) if state.approval.is_none() => {
                    return self
                        .write([Event::Planned(recorded(&plan, again(state)))])
                        .await;
                }
                Ok(_) => {
                    let reason = "the plan is no longer the one that was approved".to_owned();
                    return self.write([Event::ApprovalVoided { reason }]).await;
                }
                Err(error) => {
                    return self.fail(chain(&error)).await;
                }
            },
        };
        let confirmed = match self.confirmed(state, &remediation, &mut plan).await? {
            Ok(answer) => answer,
            Err(Held::Later) => return Ok(Turn::Later),
            Err(Held::Never(reason)) => {
                let refused = self.finished(Status::Refused, Some(reason));
                return self.write([refused]).await;
            }
        };
        let executor = self.executor(state, &plan);
        let api = match self.acting(&plan, executor).await {
            Ok(api) => api,
            Err(error) => {
                return self.fail(chain(&error)).await;
            }
        };
        self.begin([Event::Started(Started {
            confirmed,
            ..self.started(state, 1, executor)
        })])
        .await?;
        let hub = self.hub;
        let follows = hub.ports.notifiers.iter().any(|one| one.follows());
        let (record, history) = match follows {
            true => self.story().await,
            false => self.history().await,
        };
        let begun = self.state().await;
        let change = async {
            let ran = self
                .run(state, &plan, &[], Map::new(), Phase::Apply, &api)
                .await?;
            self.conclude(&remediation, &plan, &api, ran).await
        };
        let tell = Box::pin(hub.tell_begun(record, &begun, &history));
        let (turn, told) = join(change, tell.instrument(stage("tell"))).await;
        if !told.is_empty() {
            self.write(told).await?;
        }
        turn
    }

    /// Asks the guard and the ceiling once more, if people have approved this: windows close and rules
    /// change between a click and a run.
    async fn confirmed(
        &self,
        state: &State,
        remediation: &Remediation,
        plan: &mut Plan,
    ) -> Result<Result<Option<Box<Decided>>, Held>, LedgerError> {
        if state.approval.is_none() {
            return Ok(Ok(None));
        }
        let hub = self.hub;
        let asked = again(state).map(|person| asked_by(&state.received, person));
        let received = asked.as_ref().unwrap_or(&state.received);
        let confirmed = Box::pin(hub.confirm(self.id, received, remediation, plan));
        let answer = confirmed.instrument(stage("decide")).await?;
        Ok(match answer.verdict {
            Verdict::Run => Ok(Some(Box::new(answer))),
            Verdict::Defer { .. } => Err(Held::Later),
            _ => Err(Held::Never(answer.reasons.join("; "))),
        })
    }

    /// The other remediations of this resource, worked on by any hub; read only where the lock does not
    /// tell of them.
    async fn neighbours(&self, state: &State) -> Result<Neighbours, LedgerError> {
        if let Some(quiet_since) = self.quiet_since {
            return Ok(Neighbours {
                last: Some(quiet_since),
                too_many: false,
                are_halfway: false,
            });
        }
        let query = Query::resource(&state.received.resource_id).limit(Query::MAX_LIMIT);
        let page = self.hub.ports.ledger.query(&query).await?;
        let started = page.records.iter().filter(|record| {
            record.remediation_id != self.id
                && record.account_id == state.received.account
                && record.started_at.is_some()
        });
        let mut are_halfway = false;
        for record in started.clone() {
            let status = record.status;
            if matches!(
                status,
                Status::AwaitingApproval | Status::Running | Status::Undoing
            ) {
                let (state, _) = self.hub.ports.ledger.state(record.remediation_id).await?;
                are_halfway |= match state.status {
                    // What follows in a run is asked for, and neither its undo nor to make it once more.
                    Status::AwaitingApproval => state.run.is_some() && state.undo.is_none(),
                    _ => automation::is_under_way(&state),
                };
            }
        }
        Ok(Neighbours {
            too_many: page.next.is_some(),
            are_halfway,
            last: started.map(|record| record.updated_at).max(),
        })
    }

    /// Goes on with a change that a crash interrupted: forward where the journal and the resource
    /// agree on how far it got, back to the state before where they do not.
    async fn resume(&mut self, state: &State) -> Result<Turn, LedgerError> {
        let (Some(run), Some(planned)) = (&state.run, &state.plan) else {
            return self.fail(GONE).await;
        };
        let remediation = self.hub.remediation(&state.received);
        let plan = kept(&planned.plan, &planned.plan_hash);
        let (Ok(remediation), Some(mut plan)) = (remediation, plan) else {
            return self.fail(GONE).await;
        };
        let executor = automation::executor_of(run);
        let api = match self.acting(&plan, executor).await {
            Ok(api) => api,
            Err(error) => return self.put_off(&error).await,
        };
        match Box::pin(self.follow(&plan, Phase::Apply, &*api)).await? {
            Followed::Elsewhere => {}
            Followed::UnderWay => return Ok(Turn::Later),
            Followed::Ended(ran) => return self.conclude(&remediation, &plan, &api, ran).await,
        }
        self.settle(run).await?;
        if let Some(reason) = &run.refused {
            return self.restore(&remediation, &plan, reason.clone()).await;
        }
        let now = match self.look(&remediation, &plan, &*api).await {
            Ok(now) => now,
            Err(error) => return self.put_off(&error.into()).await,
        };
        let state = self.state().await;
        let Some(run) = &state.run else {
            return self.fail(GONE).await;
        };
        if now.compliant() {
            return self
                .write([verified(&now), self.finished(Status::Success, None)])
                .await;
        }
        let mut secrets = self.hub.secrets_in(&plan);
        if let Some(changed) = approval::drift(&mut secrets, &state, now.state()) {
            let changed = (now.state().clone(), changed);
            return Box::pin(self.ask_again(&remediation, &plan, changed)).await;
        }
        let (_, history) = self.history().await;
        let seen = state.verified.as_ref().filter(|_| was_read_last(&history));
        if seen.is_some_and(|seen| seen.observed != *now.state()) {
            // What is left of the plan was made for what is no more.
            let error = "others have changed the resource while the run stood half-way: nothing more was sent, and what was done stays".to_owned();
            let observed = now.state().clone();
            return self.write([Event::UndoFailed { error, observed }]).await;
        }
        let confirmed = match self.confirmed(&state, &remediation, &mut plan).await? {
            Ok(answer) => answer,
            Err(Held::Later) => return Ok(Turn::Later),
            Err(Held::Never(reason)) => return self.restore(&remediation, &plan, reason).await,
        };
        let unchanged = now.state() == &plan.state;
        match now
            .plan_on()
            .ok()
            .and_then(|fresh| remaining(&plan, &fresh, run, unchanged))
        {
            Some(skip) => {
                // A document begins at its beginning: what is left is carried out here.
                let started = Started {
                    confirmed,
                    ..self.started(&state, run.started.attempt + 1, Executor::Native)
                };
                self.write([Event::Started(started)]).await?;
                let ran = self
                    .run(&state, &plan, &skip, answers(run), Phase::Apply, &api)
                    .await?;
                self.conclude(&remediation, &plan, &api, ran).await
            }
            None if unchanged => {
                let error = "interrupted before anything was changed".to_owned();
                self.fail(error).await
            }
            // What is different is somebody else's doing, and not to be taken back.
            None if !has_sent(&plan, run) => {
                let error =
                    "interrupted before anything was sent, and the resource has changed since";
                self.fail(error).await
            }
            None => {
                let reason = "it was interrupted, and how far it got cannot be told";
                self.restore(&remediation, &plan, reason.to_owned()).await
            }
        }
    }

    /// Reads the check again after the run and ends the remediation accordingly.
    async fn conclude(
        &mut self,
        remediation: &Remediation,
        plan: &Plan,
        api: &Arc<dyn Api>,
        ran: Ran,
    ) -> Result<Turn, LedgerError> {
        let failure = match ran {
            Ran::Done => None,
            Ran::Failed(error) => Some(error),
            Ran::Paused(reason) => {
                self.read_half_way(remediation, plan, &**api).await?;
                return self.stop(reason).await;
            }
            Ran::OutOfTime => return Ok(Turn::Later),
            Ran::UnderWay => return Ok(Turn::Later),
        };
        let state = self.state().await;
        if let (None, Some(step)) = (&failure, waits_at(plan, &state)) {
            return Box::pin(self.pause(remediation, plan, step, api)).await;
        }
        let sent = state.run.as_ref().is_some_and(|run| has_sent(plan, run));
        if let (Some(error), false) = (&failure, sent) {
            return self.fail(error).await;
        }
        self.let_arrive(state.run.as_ref()).await;
        // What failed half-way is looked at once; what was carried out may take a while to show.
        let attempts = if failure.is_some() {
            1
        } else {
            plan.verify.attempts.max(1)
        };
        let mut seen = self.look(remediation, plan, &**api).await;
        for _ in 1..attempts {
            if seen.as_ref().is_ok_and(Observed::compliant) {
                break;
            }
            self.hub
                .ports
                .clock
                .sleep(Duration::from_secs(plan.verify.every))
                .await;
            seen = self.look(remediation, plan, &**api).await;
        }
        let now = match seen {
            Ok(now) => now,
            Err(error) => return self.put_off(&error.into()).await,
        };
        if now.compliant() {
            return self
                .write([verified(&now), self.finished(Status::Success, None)])
                .await;
        }
        self.write([verified(&now)]).await?;
        let error = failure.clone().unwrap_or_else(|| {
            "every request was carried out, but the check still fails".to_owned()
        });
        let unchanged = now.state() == &plan.state;
        if unchanged || (failure.is_none() && !remediation.safety.automatic_undo) {
            return self.fail(error).await;
        }
        self.restore(remediation, plan, error).await
    }

    /// A change that was begun cannot be looked at. That is tried again later where it may help.
    pub(crate) async fn put_off(&self, failure: &PlanFailure) -> Result<Turn, LedgerError> {
        if failure.is_transient() {
            tracing::warn!(id = %self.id, error = chain(failure), "cannot be looked at now");
            return Ok(Turn::Later);
        }
        self.fail(format!("the change cannot be verified: {}", chain(failure)))
            .await
    }

    /// Sends the plan's requests through the gate.
    pub(crate) async fn run(
        &self,
        state: &State,
        plan: &Plan,
        skip: &[u32],
        outputs: Map<String, Value>,
        phase: Phase,
        api: &Arc<dyn Api>,
    ) -> Result<Ran, LedgerError> {
        let hub = self.hub;
        let now = self.state().await;
        let traced = stage(match phase {
            Phase::Apply => "run",
            Phase::Undo => "undo",
        });
        if automation::is_with_ssm(&now, phase) {
            let started = Box::pin(self.start(plan, phase, &**api));
            return started.instrument(traced).await;
        }
        let until = match phase {
            Phase::Apply => waits_at(plan, &now),
            Phase::Undo => None,
        };
        let running = Running {
            plan,
            skip,
            until,
            outputs,
            phase,
            api: Arc::clone(api),
            operations: Arc::clone(&hub.operations),
            journal: Arc::clone(&self.journal),
            switch: hub.switch(&state.received),
            until_when: self.until(),
        };
        let ran = Box::pin(running.run(&hub.ports));
        let ran = ran.instrument(traced).await;
        // A deadline may have dropped a request between its two journal entries.
        self.close_in_flight().await?;
        Ok(ran)
    }

    /// Waits until a request that nobody saw answered has had its effect or never will, and says in
    /// the journal that its outcome is unknown.
    pub(crate) async fn settle(&self, run: &Run) -> Result<(), LedgerError> {
        match run.in_flight() {
            Some(_) => self.hub.ports.clock.sleep(self.hub.settings.settle).await,
            // Whoever was told that it was not answered may not have waited.
            None => self.let_arrive(Some(run)).await,
        }
        self.close_in_flight().await
    }

    /// Waits while a request whose caller gave up may still have its effect.
    pub(crate) async fn let_arrive(&self, run: Option<&Run>) {
        let last = run.and_then(|run| run.steps.last()?.outcome.as_ref());
        if last.is_some_and(|outcome| *outcome != StepOutcome::Ok && outcome.may_have_happened()) {
            self.hub.ports.clock.sleep(self.hub.settings.settle).await;
        }
    }

    pub(crate) async fn close_in_flight(&self) -> Result<(), LedgerError> {
        let state = self.state().await;
        let undoing = state.undo.as_ref().and_then(|undo| undo.run.as_ref());
        for (phase, run) in [(Phase::Apply, state.run.as_ref()), (Phase::Undo, undoing)] {
            if let Some(step) = run.and_then(Run::in_flight) {
                let unknown = StepFinished {
                    phase,
                    index: step.index,
                    outcome: StepOutcome::Unknown,
                    request_id: None,
                    outputs: Value::Null,
                };
                self.write([Event::StepFinished(unknown)]).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn look<'r>(
        &self,
        remediation: &'r Remediation,
        plan: &Plan,
        api: &dyn Api,
    ) -> Result<Observed<'r>, PlanError> {
        let again = remediation.observe_again(plan)?;
        let observed = Box::pin(observe(api, &self.hub.models, again));
        observed.instrument(stage("verify")).await
    }

    /// A session that may make the requests of `plan`, or have them made by `executor`, and nothing
    /// else.
    pub(crate) async fn acting(
        &self,
        plan: &Plan,
        executor: Executor,
    ) -> Result<Arc<dyn Api>, PlanFailure> {
        let further = self.permissions(plan, executor);
        let access = Access::Policy(plan.session_policy_with(&self.hub.models, further)?);
        let scope = self.scope(&plan.account, &plan.region, access);
        Ok(self.hub.ports.sessions.open(&scope).await?)
    }

    fn scope(&self, account: &AccountId, region: &Region, access: Access) -> Scope {
        Scope {
            account: account.clone(),
            region: region.clone(),
            session_name: Hub::session_name(self.id),
            access,
        }
    }

    pub(crate) fn started(&self, state: &State, attempt: u32, executor: Executor) -> Started {
        let Received {
            account, region, ..
        } = &*state.received;
        let scope = self.scope(account, region, Access::Read(String::new()));
        Started {
            executor: executor.as_str().to_owned(),
            executor_arn: self.hub.ports.sessions.role_arn(&scope),
            session: scope.session_name,
            attempt,
            confirmed: None,
        }
    }

    fn finished(&self, status: Status, error: Option<String>) -> Event {
        let took = self.hub.ports.clock.monotonic().saturating_sub(self.begun);
        Event::Finished {
            status,
            error,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// True if what follows on this status may change the resource, or looks at a change under way.
pub(crate) const fn changes(status: Status) -> bool {
    matches!(
        status,
        Status::Ready | Status::Running | Status::Verifying | Status::Undoing
    )
}

pub(crate) const GONE: &str = "its remediation or its plan can no longer be read: the catalog has changed since, or the plan in the ledger is not the one that was decided on";

/// A plan of the ledger, if it is the one that its hash names.
pub(crate) fn kept(plan: &Value, hash: &str) -> Option<Plan> {
    let plan = serde_json::from_value::<Plan>(plan.clone()).ok()?;
    (plan.hash() == hash).then_some(plan)
}

/// What others did to the same resource.
struct Neighbours {
    /// When one was worked on last.
    last: Option<Timestamp>,
    /// There are more than were looked at.
    too_many: bool,
    /// One waits for people in the middle of its run.
    are_halfway: bool,
}

impl Neighbours {
    /// True if the resource may have been changed since it was looked at.
    fn touched(&self, since: Timestamp, lease: Duration) -> bool {
        // The clocks of two hubs that share a ledger may differ.
        let since = since.saturating_sub(lease).unwrap_or(since);
        self.too_many || self.last.is_some_and(|last| last >= since)
    }
}

/// Why a plan could not be made or a session not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// The remediation could not be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No session in the member account.
    #[error("no session in the member account")]
    Session(#[from] stanch_types::CallError),
    /// No session policy is narrow enough.
    #[error("no session policy for the plan")]
    Policy(#[from] PolicyError),
    /// The ledger's entry is not what this version wrote.
    #[error("the finding in the ledger cannot be read")]
    Subject(#[from] serde_json::Error),
}

impl PlanFailure {
    /// True if the same may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        use stanch_types::CallErrorKind::{Credentials, Server, Throttled, Unanswered, Unreadable};
        let error = match self {
            Self::Session(error) => error,
            Self::Plan(PlanError::Read { error, .. }) => error,
            _ => return false,
        };
        matches!(
            error.kind,
            Credentials | Server | Throttled | Unanswered | Unreadable
        )
    }
}

pub(crate) fn refused(reason: String) -> Event {
    Event::Decided(Decided {
        verdict: Verdict::Refuse,
        reasons: vec![reason],
        by: HUB.to_owned(),
        rules: String::new(),
        policies: Vec::new(),
        urgent: false,
    })
}

fn recorded(plan: &Plan, requester: Option<&str>) -> Planned {
    Planned {
        plan: json!(plan),
        plan_hash: plan.hash(),
        observed: plan.state.clone(),
        compliant: plan.compliant,
        requester: requester.map(str::to_owned),
    }
}

/// Who asked for it to be done again, if it is.
fn again(state: &State) -> Option<&str> {
    state.plan.as_ref()?.requester.as_deref()
}

fn verified(now: &Observed<'_>) -> Event {
    Event::Verified(Verified {
        compliant: now.compliant(),
        observed: now.state().clone(),
    })
}

/// What the steps of a run answered: `{step: {Output: value}}`.
pub(crate) fn answers(run: &Run) -> Map<String, Value> {
    let done = run
        .steps
        .iter()
        .filter(|step| step.outcome == Some(StepOutcome::Ok));
    done.map(|step| (step.name.clone(), step.outputs.clone()))
        .collect()
}

/// The requests of `plan` that a run has sent, without what an execution was started or cancelled by.
fn own<'r>(plan: &Plan, run: &'r Run) -> impl Iterator<Item = &'r Step> {
    let count = plan.steps.len();
    let steps = run.steps.iter();
    steps.filter(move |step| (step.index as usize) < count)
}

/// A request of `plan` may have changed something: an execution that was started but sent nothing has not.
fn has_sent(plan: &Plan, run: &Run) -> bool {
    own(plan, run).any(|step| {
        step.outcome
            .as_ref()
            .is_none_or(StepOutcome::may_have_happened)
    })
}

/// The steps of `plan` that need not be sent again; `None` if the journal and the resource do not
/// agree on how far the run got. `fresh` is what would be planned now.
pub(crate) fn remaining(plan: &Plan, fresh: &Plan, run: &Run, unchanged: bool) -> Option<Vec<u32>> {
    let wanted = |index: u32| {
        let step = plan.steps.get(index as usize);
        step.is_some_and(|step| fresh.steps.iter().any(|other| other.action == step.action))
    };
    let done: Vec<u32> = own(plan, run)
        .filter(|s| s.outcome == Some(StepOutcome::Ok))
        .map(|s| s.index)
        .collect();
    let unknown: Vec<u32> = own(plan, run)
        .filter(|step| step.outcome.as_ref().is_some_and(|o| o.may_have_happened()))
        .map(|step| step.index)
        .filter(|index| !done.contains(index))
        .collect();
    if unknown.is_empty() {
        // The journal knows. Nothing done means nothing may have changed.
        return (!done.is_empty() || unchanged).then_some(done);
    }
    // What the resource still wants tells whether the unanswered request had its effect, provided that
    // it no longer wants what is known to be done.
    if done.iter().any(|index| wanted(*index)) {
        return None;
    }
    let mut skip = done;
    for index in unknown {
        if wanted(index) {
            continue;
        }
        let answered_nothing = plan.steps.get(index as usize).is_some_and(|step| {
            matches!(&step.action, PlannedAction::Call { outputs, .. } if outputs.is_empty())
        });
        if !answered_nothing {
            return None;
        }
        skip.push(index);
    }
    Some(skip)
}
