//! Time that passes only when someone waits.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use stanch_types::Clock;

/// A clock whose `sleep` returns at once, having moved the time on.
///
/// Waits of several tasks add up, as they would if the tasks ran one after another.
#[derive(Debug)]
pub struct FakeClock(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    now: Timestamp,
    monotonic: Duration,
}

impl FakeClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(State {
            now,
            monotonic: Duration::ZERO,
        }))
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.change(|state| {
            state.monotonic += duration;
            state.now = state.now.saturating_add(duration).unwrap_or(Timestamp::MAX);
        });
    }

    /// Sets the wall clock forward or back, as an operator or NTP does; the monotonic clock goes on.
    pub fn jump(&self, by: SignedDuration) {
        self.change(|state| {
            let limit = if by.is_negative() {
                Timestamp::MIN
            } else {
                Timestamp::MAX
            };
            state.now = state.now.saturating_add(by).unwrap_or(limit);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::constant(1_767_225_600, 0))
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn monotonic(&self) -> Duration {
        self.state().monotonic
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        // Whoever waits lets the others run.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_moves_time_and_takes_none() {
        let clock = FakeClock::default();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:00Z");
        clock.sleep(Duration::from_secs(86_400)).await;
        assert_eq!(clock.now().to_string(), "2026-01-02T00:00:00Z");
        clock.jump(SignedDuration::from_hours(-48));
        assert_eq!(clock.now().to_string(), "2025-12-31T00:00:00Z");
        assert_eq!(clock.monotonic(), Duration::from_secs(86_400));
    }
}
