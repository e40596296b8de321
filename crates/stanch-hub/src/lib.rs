//! The pipeline from a finding to a verified, recorded fix.
//!
//! [`Hub::take`] admits what sources deliver, [`Hub::run`] works on it, [`Hub::recover`] picks up
//! what a crash left. All IO goes through [`Ports`].

mod approval;
mod automation;
mod deadline;
mod decide;
mod execute;
mod fresh;
mod intake;
mod journal;
mod observe;
mod pipeline;
mod poll;
mod preview;
mod requests;
mod rollout;
mod schedule;
mod secrets;
mod settings;
mod switch;
mod tell;
mod trace;
mod undo;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use stanch_catalog::{Catalog, Remediation};
use stanch_guard::Guard;
use stanch_ledger::{
    Directives, Lease, Ledger, LedgerError, Left, Lock, Received, RemediationId, Sensitive, State,
    Status,
};
use stanch_models::Models;
use stanch_runbook::{Ids, Operations};
use stanch_types::{Clock, Sessions, chain};
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span};

pub use approval::{
    ApprovalRule, Approvals, Approver, Asked, Claim, Links, NotOurs, Sheet, changes, foreseen,
    leaves, line, means, shown,
};
pub use automation::{Executor, Executors, execution};
pub use deadline::Worked;
pub use intake::{Buried, Skipped, Source, Taken, resource_key};
pub use observe::{answer, observe};
pub use pipeline::PlanFailure;
pub use poll::PollError;
pub use preview::{Explained, Judged, Preview, Previewed};
pub use requests::RequestError;
pub use rollout::{Ceiling, Mode, Move, Placed, Ring, Rollout};
pub use schedule::{Job, Limits, Scheduler, Turn};
pub use secrets::{ModelSecrets, mask_plan, masked_plan};
pub use settings::{Account, Budget, Settings};
pub use switch::DirectiveError;
pub use tell::{Audience, History, Message, NotTold, Notifier};
pub use undo::{Drift, Rollback, Selection};

use deadline::{Deadline, Tenure, Told, say};
use decide::Deciding;
use fresh::Fresh;
use pipeline::Work;
use schedule::BUSY;

/// Everything that the hub reaches the outside through.
#[derive(Clone)]
pub struct Ports {
    /// Member accounts.
    pub sessions: Arc<dyn Sessions>,
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// What people order about all that runs.
    pub directives: Arc<dyn Directives>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers.
    pub ids: Arc<dyn Ids>,
    /// What may run, at the beginning: see [`Hub::decide_by`].
    pub guard: Arc<Guard>,
    /// Who is told.
    pub notifiers: Vec<Arc<dyn Notifier>>,
}

/// Takes findings in and works on them. Share it in an `Arc`.
pub struct Hub {
    ports: Ports,
    settings: Settings,
    catalog: Arc<Catalog>,
    models: Arc<Models>,
    sensitive: Arc<dyn Sensitive>,
    operations: Arc<dyn Operations>,
    scheduler: Arc<Scheduler>,
    deadline: Arc<Deadline>,
    starts: automation::Starts,
    /// This hub among those that share a ledger.
    owner: String,
    fresh: Fresh,
    /// The session policies of looking, by remediation.
    read_policies: Mutex<HashMap<String, String>>,
    deciding: RwLock<Arc<Deciding>>,
}

impl Hub {
    /// A hub that does nothing yet.
    #[must_use]
    pub fn new(
        ports: Ports,
        settings: Settings,
        catalog: Arc<Catalog>,
        models: Arc<Models>,
    ) -> Self {
        let owner = ports.ids.next();
        Self {
            operations: Arc::clone(&models) as Arc<dyn Operations>,
            sensitive: Arc::new(ModelSecrets::new(Arc::clone(&models))),
            scheduler: Arc::new(Scheduler::new(settings.limits)),
            deadline: Arc::default(),
            starts: automation::Starts::default(),
            deciding: RwLock::new(Arc::new(Deciding::new(Arc::clone(&ports.guard)))),
            ports,
            settings,
            catalog,
            models,
            owner,
            fresh: Fresh::default(),
            read_policies: Mutex::default(),
        }
    }

    /// The remediations that it knows.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The record.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ports.ledger
    }

    /// Says when this process will be stopped. Nothing is sent then that may not be answered before,
    /// and what waits is let go of: the ledger has it as a crash would leave it between two requests.
    pub fn let_go_at(&self, at: Timestamp) {
        self.deadline.set(at, &*self.ports.clock);
    }

    /// Works until [`Hub::finish`] or [`Hub::stop`] is called, with as many workers as the settings
    /// allow.
    pub async fn run(self: &Arc<Self>) {
        self.work(None).await;
    }

    /// Works on all that was admitted until each has ended, waits, or the time is over; and gives what
    /// became of each. The hub takes up nothing afterwards.
    pub async fn drain(self: &Arc<Self>) -> Vec<(RemediationId, Worked)> {
        self.finish();
        self.until_finished().await
    }

    /// Works as [`Hub::run`] does, and gives what became of each.
    pub async fn until_finished(self: &Arc<Self>) -> Vec<(RemediationId, Worked)> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.work(Some(sender)).await;
        let mut worked = Vec::new();
        while let Some(one) = receiver.recv().await {
            worked.push(one);
        }
        worked
    }

    async fn work(self: &Arc<Self>, told: Told) {
        let workers: Vec<_> = (0..self.settings.workers.max(1))
            .map(|_| {
                let (hub, told) = (Arc::clone(self), told.clone());
                tokio::spawn(async move {
                    while let Some(turn) = hub.scheduler.next().await {
                        let id = turn.job.id;
                        if hub.deadline.is_within(Duration::ZERO, &*hub.ports.clock) {
                            say(&told, id, Worked::Left);
                            continue;
                        }
                        match hub.attempt(id).await {
                            Ok(Some(worked)) => say(&told, id, worked),
                            // Its account's slot is for others until the resource is free.
                            Ok(None) => {
                                let (parked, hub) = (turn.park(), Arc::clone(&hub));
                                tokio::spawn(async move {
                                    let clock = &*hub.ports.clock;
                                    let pause = clock.sleep(parked.pause());
                                    hub.deadline.race(clock, pause).await;
                                    drop(parked);
                                });
                            }
                            Err(error) => {
                                tracing::error!(%id, error = chain(&error), "the remediation stays where it stands");
                                say(&told, id, Worked::Failed(error));
                            }
                        }
                    }
                })
            })
            .collect();
        drop(told);
        for worker in workers {
            if let Err(error) = worker.await {
                tracing::error!(%error, "a worker ended");
            }
        }
    }

    /// Lets the workers end once all that was admitted is dealt with.
    pub fn finish(&self) {
        self.scheduler.close();
    }

    /// Lets the workers end after what they have in hand; the ledger knows the rest.
    pub fn stop(&self) {
        self.scheduler.abandon();
    }

    /// Puts all unfinished remediations of the ledger back to work: after a start, and regularly for
    /// those whose time has come (deferred, waiting for an approval that expired).
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn recover(&self) -> Result<usize, LedgerError> {
        let unfinished = self.ports.ledger.unfinished().await?;
        let mut count = 0;
        for record in unfinished {
            let id = record.remediation_id;
            let (state, _) = match self.ports.ledger.state(id).await {
                // What somebody has changed holds up nobody else.
                Err(error @ LedgerError::Broken { .. }) => {
                    tracing::error!(%id, error = chain(&error), "it stays where it stands");
                    continue;
                }
                read => read?,
            };
            if !self.is_due(&state).await {
                continue;
            }
            count += 1;
            self.scheduler
                .submit(intake::job(id, &state.received))
                .await;
        }
        Ok(count)
    }

    async fn is_due(&self, state: &State) -> bool {
        let now = self.ports.clock.now();
        match state.status {
            Status::Deferred => state.deferred_until.is_none_or(|until| until <= now),
            Status::AwaitingApproval => approval::is_due(state, now),
            Status::Paused => self.switch(&state.received).stops().await.is_none(),
            // What a pause cancels need not come of age.
            Status::Running | Status::Undoing => {
                self.automation_is_due(state, now)
                    || self.switch(&state.received).stops().await.is_some()
            }
            status => !status.is_final(),
        }
    }

    /// Works on one remediation until it is final or waits: the resource locked, people told.
    ///
    /// # Errors
    /// The ledger failed; the remediation stays where it stands, and recovery picks it up.
    pub async fn handle(&self, id: RemediationId) -> Result<State, LedgerError> {
        let (state, _) = self.handled(id).await?;
        Ok(state)
    }

    /// The same, and whether it was this very call that brought it there.
    ///
    /// # Errors
    /// As of [`Hub::handle`].
    pub async fn handled(&self, id: RemediationId) -> Result<(State, bool), LedgerError> {
        loop {
            match self.attempt(id).await? {
                Some(Worked::Stands(state)) => return Ok((*state, true)),
                Some(Worked::Stood(state)) => return Ok((*state, false)),
                _ => self.ports.clock.sleep(BUSY).await,
            }
        }
    }

    /// The same, but nothing while somebody else holds the resource.
    async fn attempt(&self, id: RemediationId) -> Result<Option<Worked>, LedgerError> {
        // Every line that is logged meanwhile says what it is about.
        let span = tracing::info_span!("remediation", remediation_id = %id);
        let traced = trace::remediation(id);
        // Boxed: what each wrapper would copy is large.
        let advanced = Box::pin(self.advance(id, &traced));
        advanced.instrument(traced.clone()).instrument(span).await
    }

    async fn advance(
        &self,
        id: RemediationId,
        traced: &Span,
    ) -> Result<Option<Worked>, LedgerError> {
        let (deadline, clock) = (&self.deadline, &*self.ports.clock);
        loop {
            let mut work = Work::open(self, id).await?;
            let before = work.state().await;
            trace::about(traced, &before.received);
            if before.status.is_final() {
                self.tell_of_refusal(&work, &before).await?;
                return Ok(Some(Worked::Stood(Box::new(before))));
            }
            let prepared = deadline.race(clock, work.prepare()).await.transpose();
            let advanced = match prepared {
                Ok(Some(state)) if pipeline::changes(state.status) => {
                    let Some(lease) = self.lock(id, &state.received).await? else {
                        // What was decided stands while it waits.
                        return match work.keep().await {
                            Ok(_) => Ok(None),
                            Err(LedgerError::Conflict { .. }) => continue,
                            Err(error) => Err(error),
                        };
                    };
                    let tenure = work.has(&lease);
                    let (advanced, lease) = self
                        .holding(lease, &tenure, async {
                            let advanced = deadline.race(clock, work.advance());
                            advanced.await.transpose()
                        })
                        .await?;
                    self.give_back(&lease, &work.state().await).await?;
                    advanced
                }
                prepared => prepared,
            };
            let advanced = match advanced {
                // Also where the time was over: what the journal has is where it stands.
                Ok(_) => work.keep().await,
                Err(error) => Err(error),
            };
            match advanced {
                // Another hub went on with it before this one had the lock: look again.
                Err(LedgerError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                // It stands where it stood, and people know.
                Ok(state) if state == before => return Ok(Some(Worked::Stood(Box::new(state)))),
                Ok(state) => {
                    trace::stands(traced, &state);
                    self.decides().ended(id, &state, self.ports.clock.now());
                    let told = Box::pin(self.tell(&work, &state));
                    told.instrument(trace::stage("tell")).await?;
                    return Ok(Some(Worked::Stands(Box::new(state))));
                }
            }
        }
    }

    /// The lock of the resource, once this hub alone may change it.
    async fn locked(&self, id: RemediationId, received: &Received) -> Result<Lease, LedgerError> {
        loop {
            if let Some(lease) = self.lock(id, received).await? {
                return Ok(lease);
            }
            self.ports.clock.sleep(BUSY).await;
        }
    }

    /// Gives the lock back, and says how the remediation leaves the resource.
    async fn give_back(&self, lease: &Lease, state: &State) -> Result<(), LedgerError> {
        let Ports { ledger, clock, .. } = &self.ports;
        ledger
            .unlock(lease, Left::by(state.status), clock.now())
            .await
    }

    /// Takes the lock of the resource unless somebody else has it: another hub, or one that died a
    /// moment ago.
    async fn lock(
        &self,
        id: RemediationId,
        received: &Received,
    ) -> Result<Option<Lease>, LedgerError> {
        let (key, ttl) = (intake::resource_key(received), self.settings.lease);
        let Ports { ledger, clock, .. } = &self.ports;
        Ok(
            match ledger.lock(&key, &self.owner, id, ttl, clock.now()).await? {
                Lock::Taken(lease) => Some(lease),
                Lock::Busy { .. } => None,
            },
        )
    }

    /// Runs `work` and keeps the lock meanwhile; gives both back.
    async fn holding<T>(
        &self,
        mut lease: Lease,
        tenure: &Tenure,
        work: impl Future<Output = T>,
    ) -> Result<(T, Lease), LedgerError> {
        let Ports { ledger, clock, .. } = &self.ports;
        let ttl = self.settings.lease;
        let result = {
            let mut work = std::pin::pin!(work);
            loop {
                let renewal = clock.sleep(ttl / 3);
                match futures_util::future::select(&mut work, renewal).await {
                    futures_util::future::Either::Left((result, _)) => break result,
                    futures_util::future::Either::Right(_) => {
                        // Without the lease another hub may change the resource: stop here.
                        lease = ledger.renew(&lease, ttl, clock.now()).await?;
                        tenure.renew(&lease);
                    }
                }
            }
        };
        Ok((result, lease))
    }

    /// The remediation of a finding in the ledger.
    fn remediation(&self, received: &Received) -> Result<Arc<Remediation>, String> {
        self.catalog
            .get(&received.remediation)
            .ok_or_else(|| format!("the catalog has no remediation `{}`", received.remediation))
    }
}
