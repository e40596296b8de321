//! Time as a port.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time and waits. Tests pass one that does neither for real.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump, in both directions: never subtract two of its readings.
    fn now(&self) -> Timestamp;

    /// Time since a fixed, arbitrary moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}
