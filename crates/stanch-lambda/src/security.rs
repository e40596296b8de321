//! The guard alone: a finding in, a decision with its reasons out, nothing changed.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Failure, Function, Invocation, World};

/// The function `security`.
pub struct Security {
    world: World,
}

impl Security {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world }
    }
}

#[async_trait]
impl Function for Security {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        Err(Failure::new(
            "NotBuilt",
            "this release has no `security` function",
        ))
    }
}
