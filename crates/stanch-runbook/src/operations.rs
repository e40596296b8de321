//! What the API models and IAM facts say of a call.

use serde_json::Value;
use stanch_models::{Models, canonical_parameters};
use stanch_types::Call;

use crate::Operations;

impl Operations for Models {
    fn canonical(&self, mut call: Call) -> Call {
        let Ok(resolved) = self.resolve(&call.service, &call.operation) else {
            return call;
        };
        call.service = resolved.service.name.to_string();
        call.operation = resolved.operation().name.to_string();
        if let Value::Object(params) = &mut call.params {
            canonical_parameters(&resolved.service, resolved.operation(), params);
        }
        call
    }

    fn is_read(&self, call: &Call) -> bool {
        self.resolve(&call.service, &call.operation)
            .is_ok_and(|resolved| {
                let read = Models::is_read(self, &resolved.service, resolved.operation());
                read.is_ok_and(|read| read == Some(true))
            })
    }
}
