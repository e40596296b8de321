//! The ports of the client that a binary fills with the real thing.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_types::Clock;

/// Randomness: for jitter and for tokens.
pub trait Random: Send + Sync {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A number from 0 to 1.
    fn fraction(&self) -> f64 {
        f64::from(self.bits() as u32) / f64::from(u32::MAX)
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u128 {
        // A version 4 UUID has six fixed bits, in the middle; the low bits are all random.
        uuid::Uuid::new_v4().as_u128()
    }
}

/// The machine's clock, on tokio's timers.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's real side")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the port's real side")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
