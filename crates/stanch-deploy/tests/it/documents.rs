//! Automation documents, judged by the checker of the runbook engine.

use serde_json::Value;
use stanch_models::Models;
use stanch_runbook::check;

use crate::{MODELS, TEMPLATES};

/// A document as Systems Manager gets it: with the default names.
fn resolved(value: &Value) -> Value {
    match value {
        Value::Object(members) if members.len() == 1 => {
            match members.get("Fn::Sub").and_then(Value::as_str) {
                Some(text) => Value::String(text.replace("${NamePrefix}", "SecurityRemediation")),
                None => members
                    .iter()
                    .map(|(name, member)| (name.clone(), resolved(member)))
                    .collect(),
            }
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), resolved(member)))
            .collect(),
        Value::Array(items) => items.iter().map(resolved).collect(),
        other => other.clone(),
    }
}

#[test]
fn documents_are_sound() {
    let models: &Models = &MODELS;
    for (name, resource) in TEMPLATES["member-documents.yaml"]["Resources"]
        .as_object()
        .unwrap()
    {
        let text = resolved(&resource["Properties"]["Content"]).to_string();
        let document = stanch_runbook::parse(&text)
            .into_valid()
            .unwrap_or_else(|found| panic!("{name}: {found:#?}"));
        let found = check(&document, models);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}
