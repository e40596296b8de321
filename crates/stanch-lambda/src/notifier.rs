//! Tells the channels what the notification topic was told.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Failure, Function, Invocation, World};

/// The function `notifier`.
pub struct Notifier {
    world: World,
}

impl Notifier {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world }
    }
}

#[async_trait]
impl Function for Notifier {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        Err(Failure::new(
            "NotBuilt",
            "this release has no `notifier` function",
        ))
    }
}
