//! The steps of Automation documents that are code, run in a member account: what exported documents ask
//! of the catalog, and the stages of the control runbook. It only looks, and writes logs; who runs a
//! document sends its requests.

mod control;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::Value;
use stanch_catalog::{Catalog, InvocationError, Naming};
use stanch_hub::answer;
use stanch_types::{Region, TRACE, chain};
use tracing::{Instrument as _, Span, trace_span};

use crate::{Failure, Function, Invocation, Variables, World};
use control::Control;

/// The function `remediation`.
pub struct Remediation {
    world: World,
    catalog: OnceLock<Arc<Catalog>>,
}

impl Remediation {
    /// The function, which has done nothing yet.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self {
            world,
            catalog: OnceLock::new(),
        }
    }

    fn catalog(&self) -> Result<&Arc<Catalog>, Failure> {
        if let Some(catalog) = self.catalog.get() {
            return Ok(catalog);
        }
        let catalog = self.world.reach.catalog()?;
        Ok(self.catalog.get_or_init(|| catalog))
    }

    fn naming(&self) -> Naming {
        let prefix = Variables(&self.world.environment).optional("NAME_PREFIX");
        prefix.map_or_else(Naming::default, Naming::new)
    }
}

#[async_trait]
impl Function for Remediation {
    async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        self.world.reach.trace(invocation.trace.as_deref());
        let traced = about(&invocation.event);
        self.answer(&invocation.event).instrument(traced).await
    }
}

/// Systems Manager hands no trace on: what a document asks for is found by what it is about.
fn about(event: &Value) -> Span {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    trace_span!(
        target: TRACE,
        "remediation",
        remediation_id = text("RemediationId"),
        remediation = text("RemediationType").or(text("Remediation")),
        account = text("Account"),
        region = text("Region"),
        stage = text("Stage"),
    )
}

impl Remediation {
    async fn answer(&self, event: &Value) -> Result<Value, Failure> {
        if let Some(stage) = control::Stage::of(event) {
            return Control::new(self, event)?.run(stage).await;
        }
        let region = event.get("Region").and_then(Value::as_str);
        let region: Option<Region> = match region {
            Some(region) => Some(
                region
                    .parse()
                    .map_err(|_| Failure::event(format!("`{region}` is no region")))?,
            ),
            None => None,
        };
        let api = self.world.reach.own(region.as_ref())?;
        let models = self.world.reach.models()?;
        let text = |member: &str| {
            event
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let answered = answer(&*api, &models, self.catalog()?, event).await;
        tracing::info!(
            remediation = text("Remediation"),
            stage = text("Stage"),
            answered = answered.is_ok(),
            "a document asked"
        );
        answered.map_err(|error| {
            let kind = match &error {
                InvocationError::Payload(_) | InvocationError::Parameter(_) => "BadEvent",
                InvocationError::NotYet(_) => "NotYet",
                InvocationError::NotApproved(_) => "NotApproved",
                _ => "NotPlanned",
            };
            Failure::new(kind, chain(&error))
        })
    }
}
