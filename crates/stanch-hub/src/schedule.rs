//! Who may run now: a limit over all, a limit per account, one change at a time on one resource,
//! and accounts in turn, so that a slow or noisy one holds up nobody else.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stanch_ledger::RemediationId;
use stanch_types::AccountId;
use tokio::sync::Notify;

/// How long a resource that somebody else holds is left alone at first.
pub(crate) const BUSY: Duration = Duration::from_millis(500);

/// How much may be under way and waiting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Remediations under way in one account.
    pub per_account: usize,
    /// Remediations waiting in memory for one account; more wait at the door.
    pub backlog_per_account: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_account: 4,
            backlog_per_account: 10_000,
        }
    }
}

/// What waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The remediation to continue.
    pub id: RemediationId,
    /// The account it acts in.
    pub account: AccountId,
    /// The resource it changes, as a key that is the same for everyone who changes it.
    pub resource: String,
    /// How often in a row somebody else had the resource.
    pub(crate) parked: u32,
}

/// Hands out turns. Share it in an `Arc`.
#[derive(Default)]
pub struct Scheduler {
    limits: Limits,
    state: Mutex<State>,
    runnable: Notify,
    space: Notify,
}

#[derive(Default)]
struct State {
    lanes: HashMap<AccountId, Lane>,
    /// Accounts with work, the next to be served first.
    rotation: VecDeque<AccountId>,
    busy: HashSet<String>,
    /// What waits or has a turn.
    known: HashSet<RemediationId>,
    /// How many are known, but neither wait nor have a turn.
    parked: usize,
    closed: bool,
    abandoned: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    running: usize,
}

/// A turn: the account's slot and the resource are held until it is dropped.
pub struct Turn {
    /// What to work on.
    pub job: Job,
    parked: bool,
    scheduler: Arc<Scheduler>,
}

impl Turn {
    /// Gives the turn to others; the job waits in its account's queue again once the result is
    /// dropped.
    pub fn park(mut self) -> Parked {
        self.parked = true;
        self.scheduler.state().parked += 1;
        let mut job = self.job.clone();
        job.parked += 1;
        Parked {
            job,
            scheduler: Arc::clone(&self.scheduler),
        }
    }
}

/// A job that cannot be worked on now.
pub struct Parked {
    job: Job,
    scheduler: Arc<Scheduler>,
}

impl Parked {
    /// How long the resource is left alone. Whoever has it is done with it in a moment; or has died, and
    /// then it is held until the lease ends, while each look costs a reading of the ledger.
    pub fn pause(&self) -> Duration {
        const LONGEST: u32 = 16;
        BUSY * 2_u32.saturating_pow(self.job.parked - 1).min(LONGEST)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.scheduler.resume(&self.job);
    }
}

impl Scheduler {
    /// A scheduler with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Puts a job in its account's queue, unless it is known already; waits while that queue is full.
    pub async fn submit(&self, job: Job) {
        loop {
            let space = self.space.notified();
            if self.try_submit(&job) {
                return;
            }
            space.await;
        }
    }

    /// Puts a job in its account's queue, unless it is known already; `false` if that queue is full.
    #[must_use]
    pub fn try_submit(&self, job: &Job) -> bool {
        let mut state = self.state();
        if state.known.contains(&job.id) {
            return true;
        }
        let lane = state.lanes.entry(job.account.clone()).or_default();
        if lane.waiting.len() >= self.limits.backlog_per_account {
            return false;
        }
        state.known.insert(job.id);
        state.queue(job);
        drop(state);
        self.runnable.notify_one();
        true
    }

    /// The next turn; `None` once the scheduler is closed and nothing waits.
    pub async fn next(self: &Arc<Self>) -> Option<Turn> {
        loop {
            let runnable = self.runnable.notified();
            {
                let mut state = self.state();
                if let Some(job) = state.pick(self.limits.per_account) {
                    drop(state);
                    // Another waiter may be able to run what this one left.
                    self.runnable.notify_one();
                    self.space.notify_waiters();
                    return Some(Turn {
                        job,
                        parked: false,
                        scheduler: Arc::clone(self),
                    });
                }
                if state.is_over() {
                    drop(state);
                    self.runnable.notify_waiters();
                    return None;
                }
            }
            runnable.await;
        }
    }

    /// No more jobs come: once the queues are empty, [`Scheduler::next`] answers `None`.
    pub fn close(&self) {
        self.state().closed = true;
        self.runnable.notify_waiters();
        self.runnable.notify_one();
    }

    /// Forgets what waits, for a quick shutdown: the ledger knows it.
    pub fn abandon(&self) {
        let mut state = self.state();
        let State { lanes, known, .. } = &mut *state;
        for job in lanes.values_mut().flat_map(|lane| lane.waiting.drain(..)) {
            known.remove(&job.id);
        }
        state.closed = true;
        state.abandoned = true;
        drop(state);
        self.runnable.notify_waiters();
        self.runnable.notify_one();
        self.space.notify_waiters();
    }

    /// Jobs that wait for a turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state()
            .lanes
            .values()
            .map(|lane| lane.waiting.len())
            .sum()
    }

    fn release(&self, job: &Job, parked: bool) {
        let mut state = self.state();
        state.busy.remove(&job.resource);
        if !parked {
            state.known.remove(&job.id);
        }
        if let Some(lane) = state.lanes.get_mut(&job.account) {
            lane.running = lane.running.saturating_sub(1);
            if lane.running == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&job.account);
            }
        }
        drop(state);
        self.runnable.notify_one();
    }

    fn resume(&self, job: &Job) {
        let mut state = self.state();
        state.parked -= 1;
        if state.abandoned {
            state.known.remove(&job.id);
        } else {
            state.queue(job);
        }
        drop(state);
        self.runnable.notify_one();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every update leaves the state consistent, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue(&mut self, job: &Job) {
        let lane = self.lanes.entry(job.account.clone()).or_default();
        lane.waiting.push_back(job.clone());
        if !self.rotation.contains(&job.account) {
            self.rotation.push_back(job.account.clone());
        }
    }

    /// No turn will be given any more.
    fn is_over(&self) -> bool {
        let idle = self.lanes.values().all(|lane| lane.waiting.is_empty());
        self.closed && idle && (self.abandoned || self.parked == 0)
    }

    fn pick(&mut self, per_account: usize) -> Option<Job> {
        for _ in 0..self.rotation.len() {
            let account = self.rotation.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&account) else {
                continue;
            };
            let job = if lane.running < per_account {
                let free = lane
                    .waiting
                    .iter()
                    .position(|job| !self.busy.contains(&job.resource));
                free.and_then(|index| lane.waiting.remove(index))
            } else {
                None
            };
            if job.is_some() {
                lane.running += 1;
            }
            if !lane.waiting.is_empty() {
                self.rotation.push_back(account);
            }
            if let Some(job) = job {
                self.busy.insert(job.resource.clone());
                return Some(job);
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.scheduler.release(&self.job, self.parked);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    fn job(account: u64, resource: &str) -> Job {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Job {
            id: uuid::Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()).into(),
            account: format!("{account:012}").parse().unwrap(),
            resource: resource.to_owned(),
            parked: 0,
        }
    }

    fn next(scheduler: &Arc<Scheduler>) -> Option<Turn> {
        scheduler.next().now_or_never().flatten()
    }

    #[test]
    fn accounts_take_turns_and_a_resource_is_changed_once_at_a_time() {
        let scheduler = Arc::new(Scheduler::new(Limits {
            per_account: 2,
            backlog_per_account: 10,
        }));
        for (account, resource) in [(1, "a"), (1, "a"), (1, "b"), (1, "c"), (2, "d")] {
            assert!(scheduler.try_submit(&job(account, resource)));
        }
        let first = next(&scheduler).unwrap();
        let second = next(&scheduler).unwrap();
        let third = next(&scheduler).unwrap();
        assert_eq!(
            [&first, &second, &third].map(|turn| turn.job.resource.as_str()),
            ["a", "d", "b"]
        );
        assert!(next(&scheduler).is_none(), "account 1 has its two slots");
        drop(third);
        let fourth = next(&scheduler).unwrap();
        assert_eq!(fourth.job.resource, "c", "`a` is still being changed");
        drop(first);
        assert_eq!(next(&scheduler).unwrap().job.resource, "a");
    }

    #[test]
    fn a_parked_job_lets_the_others_go_first_and_is_not_forgotten() {
        let scheduler = Arc::new(Scheduler::new(Limits {
            per_account: 1,
            backlog_per_account: 10,
        }));
        let locked = job(1, "locked");
        assert!(scheduler.try_submit(&locked) && scheduler.try_submit(&job(1, "free")));
        let parked = next(&scheduler).unwrap().park();
        assert!(scheduler.state().known.contains(&locked.id));
        scheduler.close();
        assert_eq!(next(&scheduler).unwrap().job.resource, "free");
        assert!(
            scheduler.next().now_or_never().is_none(),
            "one is still to come"
        );
        assert_eq!(parked.pause(), BUSY);
        drop(parked);
        // The longer that lasts, the more seldom it is looked at.
        for pause in [1, 2, 4, 8, 8, 8] {
            let parked = next(&scheduler).unwrap().park();
            assert_eq!(parked.pause(), Duration::from_secs(pause));
        }
        let again = next(&scheduler).unwrap();
        assert_eq!(again.job.resource, "locked");

        // A hub that stops leaves it to the ledger.
        let parked = again.park();
        scheduler.abandon();
        assert!(matches!(scheduler.next().now_or_never(), Some(None)));
        drop(parked);
        assert!(
            !scheduler.state().known.contains(&locked.id) && scheduler.state().lanes.is_empty()
        );
    }

    #[test]
    fn a_full_backlog_holds_up_only_its_own_account() {
        let scheduler = Arc::new(Scheduler::new(Limits {
            per_account: 1,
            backlog_per_account: 2,
        }));
        assert!(scheduler.try_submit(&job(1, "a")));
        assert!(scheduler.try_submit(&job(1, "b")));
        assert!(!scheduler.try_submit(&job(1, "c")));
        assert!(scheduler.try_submit(&job(2, "d")));
    }

    #[test]
    fn a_job_is_known_once_until_its_turn_ends() {
        let scheduler = Arc::new(Scheduler::default());
        let job = job(1, "a");
        assert!(scheduler.try_submit(&job) && scheduler.try_submit(&job));
        let turn = next(&scheduler).unwrap();
        assert!(scheduler.try_submit(&job));
        assert_eq!(scheduler.waiting(), 0);
        drop(turn);
        assert!(scheduler.try_submit(&job));
        assert_eq!(scheduler.waiting(), 1);
    }

    #[tokio::test]
    async fn workers_drain_everything_and_then_stop() {
        let scheduler = Arc::new(Scheduler::new(Limits {
            per_account: 2,
            backlog_per_account: 5,
        }));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let scheduler = Arc::clone(&scheduler);
                tokio::spawn(async move {
                    let mut done = 0;
                    while let Some(turn) = scheduler.next().await {
                        tokio::task::yield_now().await;
                        drop(turn);
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        for n in 0..500 {
            scheduler.submit(job(n % 3, &format!("r{}", n % 7))).await;
        }
        scheduler.close();
        let mut done = 0;
        for worker in workers {
            done += worker.await.unwrap();
        }
        assert_eq!(done, 500);
        assert!(scheduler.state().lanes.is_empty());
    }
}
