//! The steps of Automation documents that are code, run in a member account.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Failure, Function, Invocation, World};

/// The function `remediation`.
pub struct Remediation {
    world: World,
}

impl Remediation {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world }
    }
}

#[async_trait]
impl Function for Remediation {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        Err(Failure::new(
            "NotBuilt",
            "this release has no `remediation` function",
        ))
    }
}
