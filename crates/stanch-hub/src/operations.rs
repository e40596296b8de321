//! What the API models tell the engine and the gate about operations.

use std::sync::Arc;

use serde_json::Value;
use stanch_models::{Models, canonical_parameters};
use stanch_runbook::Operations;
use stanch_types::Call;

/// [`Operations`] by the API and IAM models.
pub struct ModelOperations(pub Arc<Models>);

impl Operations for ModelOperations {
    fn canonical(&self, call: Call) -> Call {
        let Ok(resolved) = self.0.resolve(&call.service, &call.operation) else {
            return call;
        };
        let operation = resolved.operation();
        let mut params = call.params;
        if let Value::Object(members) = &mut params {
            canonical_parameters(&resolved.service, operation, members);
        }
        Call::new(&*resolved.service.name, &*operation.name, params)
    }

    fn is_read(&self, call: &Call) -> bool {
        let resolved = self.0.resolve(&call.service, &call.operation);
        resolved.is_ok_and(|found| {
            self.0
                .is_read(&found.service, found.operation())
                .is_ok_and(|read| read == Some(true))
        })
    }
}
