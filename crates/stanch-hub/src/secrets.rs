//! What the API models call sensitive, and what people see in its place.
//!
//! *Invariant:* what leaves the hub for people and other systems is masked here; only what carries a plan
//! out, compares or stores sees secrets.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::{Value, json};
use stanch_catalog::{Plan, PlannedAction};
use stanch_ledger::{Secrets, Sensitive, State};
use stanch_models::{Models, Service, ShapeId, ShapeKind};

use crate::Hub;

/// The models, asked by service and member.
pub struct ModelSecrets {
    models: Arc<Models>,
    /// The sensitive members of the services that were asked about.
    known: RwLock<HashMap<String, HashSet<Box<str>>>>,
}

impl ModelSecrets {
    /// What `models` call sensitive.
    #[must_use]
    pub fn new(models: Arc<Models>) -> Self {
        Self {
            models,
            known: RwLock::default(),
        }
    }
}

impl Sensitive for ModelSecrets {
    fn is_secret(&self, service: &str, member: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = known.get(service) {
            return members.contains(member);
        }
        drop(known);
        let model = self.models.service(service);
        let members = model
            .map(|service| sensitive_members(&service))
            .unwrap_or_default();
        let is_secret = members.contains(member);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(service.to_owned(), members);
        is_secret
    }
}

impl Hub {
    /// Masks the secrets of a remediation that has come to `state`.
    #[must_use]
    pub fn secrets_of(&self, state: &State) -> Secrets {
        let planned = state.plan.iter().chain(&state.shown);
        let undo = state.undo.iter().map(|undo| &undo.planned.plan);
        let plans = planned.map(|planned| &planned.plan).chain(undo);
        plans.fold(self.secrets(), Secrets::of)
    }

    /// Masks the secrets of what `plan` is about.
    pub(crate) fn secrets_in(&self, plan: &Plan) -> Secrets {
        self.secrets().of(&json!(plan))
    }

    /// Masks what is named as secrets are.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(Arc::clone(&self.sensitive))
    }
}

/// Masks a plan for whoever is shown it. Its hash is not what it was.
pub fn mask_plan(secrets: &mut Secrets, plan: &mut Plan) {
    // Twice: what is found last may stand under another name before.
    for _ in 0..2 {
        secrets.mask(&mut plan.state);
        for step in &mut plan.steps {
            match &mut step.action {
                PlannedAction::Call { call, .. } => secrets.mask(&mut call.params),
                PlannedAction::Wait { call, values, .. } => {
                    secrets.mask(&mut call.params);
                    values.iter_mut().for_each(|value| secrets.mask(value));
                }
                PlannedAction::Sleep { .. } | PlannedAction::Approve { .. } => {}
            }
        }
        for read in &mut plan.reads {
            secrets.mask(&mut read.call.params);
        }
        secrets.mask_members(&mut plan.parameters);
        secrets.mask_members(&mut plan.observed);
    }
}

/// A plan as the ledger has it, masked as of [`mask_plan`].
#[must_use]
pub fn masked_plan(secrets: &mut Secrets, plan: &Value) -> Value {
    match serde_json::from_value::<Plan>(plan.clone()) {
        Ok(mut plan) => {
            mask_plan(secrets, &mut plan);
            json!(plan)
        }
        // One of another version.
        Err(_) => {
            let mut plan = plan.clone();
            secrets.mask(&mut plan);
            plan
        }
    }
}

/// The names of members that are sensitive, or hold nothing else.
fn sensitive_members(service: &Service) -> HashSet<Box<str>> {
    let is_sensitive = |id: ShapeId| {
        let shape = service.shape(id);
        let within = match &shape.kind {
            ShapeKind::List { member, .. } => Some(member),
            ShapeKind::Map { value, .. } => Some(value),
            _ => None,
        };
        let inner =
            within.is_some_and(|member| member.sensitive || service.shape(member.shape).sensitive);
        shape.sensitive || inner
    };
    let shapes = service.shapes().iter();
    shapes
        .filter_map(|shape| shape.structure())
        .flat_map(|structure| &structure.members)
        .filter(|member| member.sensitive || is_sensitive(member.shape))
        .map(|member| member.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sensitive_where_the_model_says_so() {
        let secrets = ModelSecrets::new(Arc::new(Models::embedded().unwrap()));
        for (service, member, secret) in [
            ("lambda", "Variables", true),
            ("secretsmanager", "SecretString", true),
            ("iam", "SecretAccessKey", true),
            ("s3", "SSECustomerKey", true),
            ("s3", "Bucket", false),
            ("nothing", "Password", false),
        ] {
            assert_eq!(
                secrets.is_secret(service, member),
                secret,
                "{service} {member}"
            );
        }
    }
}
