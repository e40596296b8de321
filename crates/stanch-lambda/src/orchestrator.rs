//! Takes events in, decides, remediates, records and tells.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Failure, Function, Invocation, World};

/// The function `orchestrator`.
pub struct Orchestrator {
    world: World,
}

impl Orchestrator {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world }
    }
}

#[async_trait]
impl Function for Orchestrator {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        Err(Failure::new(
            "NotBuilt",
            "this release has no `orchestrator` function",
        ))
    }
}
