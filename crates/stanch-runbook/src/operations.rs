//! What the API models and IAM facts say of a call.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use stanch_models::{Models, Service, ShapeId, ShapeKind, canonical_parameters};
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
        if let Some(input) = resolved.operation().input {
            fit(&resolved.service, input, &mut call.params);
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

/// Takes numbers and structures out of texts that hold them: documents of AWS have `MaxSize: '3'` and
/// structures as JSON. Bytes are base64 to the client and text in documents: what is no base64 is
/// encoded. Text that has references is left for them.
pub(crate) fn fit(service: &Service, shape: ShapeId, value: &mut Value) {
    let kind = &service.shape(shape).kind;
    if let Value::String(text) = value
        && !text.contains("{{")
    {
        let text = text.trim();
        let parsed = match kind {
            ShapeKind::Integer | ShapeKind::Long => text.parse::<i64>().ok().map(Value::from),
            ShapeKind::Float | ShapeKind::Double => text
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite())
                .map(Value::from),
            ShapeKind::Structure(_) | ShapeKind::Map { .. } => {
                serde_json::from_str(text).ok().filter(Value::is_object)
            }
            ShapeKind::List { .. } => serde_json::from_str(text).ok().filter(Value::is_array),
            ShapeKind::Blob { .. } if BASE64_STANDARD.decode(text).is_err() => {
                Some(BASE64_STANDARD.encode(text).into())
            }
            _ => None,
        };
        if let Some(parsed) = parsed {
            *value = parsed;
        }
    }
    match (kind, value) {
        (ShapeKind::Structure(structure), Value::Object(members)) if !structure.document => {
            for (name, value) in members {
                if let Some(member) = structure.member(name).filter(|member| !member.json_value) {
                    fit(service, member.shape, value);
                }
            }
        }
        (ShapeKind::Map { value: member, .. }, Value::Object(members)) => {
            for value in members.values_mut() {
                fit(service, member.shape, value);
            }
        }
        (ShapeKind::List { member, .. }, Value::Array(items)) => {
            for item in items {
                fit(service, member.shape, item);
            }
        }
        _ => {}
    }
}
