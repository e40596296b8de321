//! What the API models call sensitive.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use stanch_ledger::Sensitive;
use stanch_models::{Models, Service, ShapeId, ShapeKind};

/// The models, asked by service and member.
pub struct ModelSecrets {
    models: Arc<Models>,
    /// The sensitive members of the services that were asked about.
    known: Mutex<HashMap<String, HashSet<Box<str>>>>,
}

impl ModelSecrets {
    /// What `models` call sensitive.
    pub fn new(models: Arc<Models>) -> Self {
        Self {
            models,
            known: Mutex::default(),
        }
    }
}

impl Sensitive for ModelSecrets {
    fn is_secret(&self, service: &str, member: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let members = known.entry(service.to_owned()).or_insert_with(|| {
            let service = self.models.service(service);
            service
                .map(|service| sensitive_members(&service))
                .unwrap_or_default()
        });
        members.contains(member)
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
