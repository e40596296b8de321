//! A hub that is stopped at a known moment: it begins nothing that it may not end, and lets go of what
//! it waits for, in a state that recovery goes on from.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use jiff::Timestamp;
use stanch_ledger::{Lease, LedgerError, RemediationId, State};
use stanch_types::Clock;
use tokio::sync::mpsc;

/// When a hub lets go; never, if nobody says so.
#[derive(Debug, Default)]
pub(crate) struct Deadline(Mutex<Option<Duration>>);

impl Deadline {
    /// Sets it. The wall clock is asked once: from here on only time that has passed counts.
    pub(crate) fn set(&self, at: Timestamp, clock: &dyn Clock) {
        let left = at.duration_since(clock.now());
        let left = Duration::try_from(left).unwrap_or_default();
        let until = clock.monotonic().saturating_add(left);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// How long until then.
    fn left(&self, clock: &dyn Clock) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(until?.saturating_sub(clock.monotonic()))
    }

    /// True if what takes `long` would not end before.
    pub(crate) fn is_within(&self, long: Duration, clock: &dyn Clock) -> bool {
        self.left(clock).is_some_and(|left| left <= long)
    }

    /// Lets `work` go on until then, and drops it.
    pub(crate) async fn race<T>(
        &self,
        clock: &dyn Clock,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(left) = self.left(clock) else {
            return Some(work.await);
        };
        if left.is_zero() {
            return None;
        }
        match select(std::pin::pin!(work), clock.sleep(left)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// How long a hub has a resource to itself, by the clock by which others take an expired lock. That clock
/// may go forward while the hub works.
#[derive(Debug)]
pub(crate) struct Tenure(Mutex<Timestamp>);

impl Tenure {
    pub(crate) const fn of(lease: &Lease) -> Self {
        Self(Mutex::new(lease.expires))
    }

    pub(crate) fn renew(&self, lease: &Lease) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lease.expires;
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) <= now
    }
}

/// What became of a remediation that [`Hub::drain`](crate::Hub::drain) worked on.
#[derive(Debug)]
pub enum Worked {
    /// It stands there: it is final, waits, or the time was over in the middle of it.
    Stands(Box<State>),
    /// It stood there already: somebody else has dealt with it, or nothing is due.
    Stood(Box<State>),
    /// The time was over before it was taken up.
    Left,
    /// The ledger failed: it stands where the ledger says.
    Failed(LedgerError),
}

/// Where workers say what became of their work.
pub(crate) type Told = Option<mpsc::UnboundedSender<(RemediationId, Worked)>>;

pub(crate) fn say(told: &Told, id: RemediationId, worked: Worked) {
    if let Some(told) = told {
        // Who asked listens until all workers have ended.
        let _ = told.send((id, worked));
    }
}

#[cfg(test)]
mod tests {
    use stanch_testkit::FakeClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_let_go() {
        let clock = FakeClock::default();
        let deadline = Deadline::default();
        assert!(!deadline.is_within(Duration::MAX, &clock));
        assert_eq!(deadline.race(&clock, async { 1 }).await, Some(1));
        deadline.set(clock.now() + Duration::from_secs(10), &clock);
        assert!(deadline.is_within(Duration::from_secs(10), &clock));
        assert!(!deadline.is_within(Duration::from_secs(9), &clock));
        let long = async { std::future::pending::<()>().await };
        assert_eq!(deadline.race(&clock, long).await, None);
        assert_eq!(deadline.race(&clock, async { 1 }).await, None);
    }
}
