//! Time that passes only when nothing else can happen.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_types::Clock;

#[derive(Default)]
struct State {
    now: Duration,
    next: u64,
    sleepers: BTreeMap<u64, Duration>,
}

#[derive(Clone, Default)]
pub struct VirtualClock(Arc<Mutex<State>>);

struct Sleep {
    clock: VirtualClock,
    id: u64,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.monotonic() >= self.until {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().sleepers.remove(&self.id);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    async fn sleep(&self, duration: Duration) {
        let sleep = {
            let mut state = self.0.lock().unwrap();
            let (id, until) = (state.next, state.now + duration);
            state.next += 1;
            state.sleepers.insert(id, until);
            Sleep {
                clock: self.clone(),
                id,
                until,
            }
        };
        sleep.await;
    }
}

impl VirtualClock {
    /// Runs a future to its end. Time jumps to the next moment that somebody sleeps for.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            let mut state = self.0.lock().unwrap();
            let next = state.sleepers.values().min().copied();
            state.now = next
                .expect("nothing can happen any more: the execution waits for ever")
                .max(state.now);
        }
    }
}
