//! Clocks for tests.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use stanch_types::Clock;
use tokio::sync::watch;

/// A clock that follows tokio's: in a test with `start_paused = true` time stands still while anyone
/// works, and moves on to the next deadline when all wait.
///
/// For code that does no IO of its own: waiting for a socket counts as waiting.
#[derive(Debug)]
pub struct FakeClock {
    start: tokio::time::Instant,
    /// What the wall clock showed at the start; changes when it is set.
    epoch: watch::Sender<Timestamp>,
}

impl FakeClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            epoch: watch::Sender::new(now),
        }
    }

    /// Sets the wall clock forward or back, as an operator or NTP does; the monotonic clock goes on.
    pub fn jump(&self, by: SignedDuration) {
        let limit = if by.is_negative() {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        self.epoch
            .send_modify(|epoch| *epoch = epoch.saturating_add(by).unwrap_or(limit));
    }
}

impl Default for FakeClock {
    /// Shows 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::constant(1_767_225_600, 0))
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        let epoch = *self.epoch.borrow();
        epoch
            .saturating_add(self.monotonic())
            .unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "tokio's clock is the one that stands still"
    )]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that runs as many times as fast as the real one, for tests that wait for processes and
/// sockets and yet must not wait minutes.
#[derive(Debug)]
pub struct FastClock {
    start: Instant,
    epoch: Timestamp,
    speed: u32,
    /// Milliseconds that were left out.
    skipped: AtomicU64,
    /// Sleeps up to this long are left out.
    pauses: Duration,
}

impl FastClock {
    /// A clock that shows `now` and runs `speed` times as fast.
    #[must_use]
    pub fn new(now: Timestamp, speed: u32) -> Self {
        Self {
            start: Instant::now(),
            epoch: now,
            speed: speed.max(1),
            skipped: AtomicU64::new(0),
            pauses: Duration::ZERO,
        }
    }

    /// The same, but nobody waits for sleeps up to this long: those between two looks at something.
    #[must_use]
    pub const fn without_pauses(mut self, up_to: Duration) -> Self {
        self.pauses = up_to;
        self
    }

    /// Lets so much time have passed, without waiting.
    pub fn skip(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.skipped.fetch_add(time, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        self.epoch
            .saturating_add(self.monotonic())
            .unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        let skipped = Duration::from_millis(self.skipped.load(Ordering::Relaxed));
        let passed = self.start.elapsed().saturating_mul(self.speed);
        passed.saturating_add(skipped)
    }

    #[expect(clippy::disallowed_methods, reason = "real time, only less of it")]
    async fn sleep(&self, duration: Duration) {
        if duration <= self.pauses {
            self.skip(duration);
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::time::sleep(duration / self.speed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_moves_time_and_takes_none() {
        let clock = FakeClock::default();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:00Z");
        let (day, hour) = (
            clock.sleep(Duration::from_secs(86_400)),
            clock.sleep(Duration::from_secs(3_600)),
        );
        tokio::join!(day, hour);
        assert_eq!(clock.now().to_string(), "2026-01-02T00:00:00Z");
        clock.jump(SignedDuration::from_hours(-48));
        assert_eq!(clock.now().to_string(), "2025-12-31T00:00:00Z");
        assert_eq!(clock.monotonic(), Duration::from_secs(86_400));
    }
}
