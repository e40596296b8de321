//! The templates as they are committed, and as MiniStack can deploy them.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use stanch_syntax::Limits;

use super::{Outcome, Trouble, text};

/// What MiniStack 1.5.33 lacks of CloudFormation, and is taken out or put in for it.
pub const LACKING: [&str; 2] = [
    "alarms with metric math (`AWS::CloudWatch::Alarm` with `Metrics`): taken out",
    "saved queries (`AWS::Logs::QueryDefinition`): taken out",
];

/// A template of `generated/cloudformation/` as it is committed.
///
/// # Errors
/// It cannot be read.
pub fn committed(name: &str) -> Outcome<Value> {
    let path = crate::repository()
        .join("generated/cloudformation")
        .join(name);
    let limits = Limits {
        nodes: 1_000_000,
        ..Limits::default()
    };
    let read = stanch_syntax::read(&fs::read_to_string(path)?, limits);
    let read = read.map_err(|error| Trouble::said(format!("`{name}`: {error:?}")))?;
    Ok(read.to_json())
}

/// The same as MiniStack can deploy it, and which of [`LACKING`] it needed.
///
/// # Errors
/// It cannot be read.
pub fn template(name: &str) -> Outcome<(Value, BTreeSet<&'static str>)> {
    let mut template = committed(name)?;
    let mut used = BTreeSet::new();
    let [metric_math, saved_queries] = LACKING;
    if let Some(resources) = template
        .pointer_mut("/Resources")
        .and_then(Value::as_object_mut)
    {
        resources.retain(|_, resource| match &*text(resource, "/Type") {
            "AWS::CloudWatch::Alarm" if resource.pointer("/Properties/Metrics").is_some() => {
                used.insert(metric_math);
                false
            }
            "AWS::Logs::QueryDefinition" => {
                used.insert(saved_queries);
                false
            }
            _ => true,
        });
    }
    Ok((template, used))
}

/// The keys under which a template's functions look for their archives.
#[must_use]
pub fn archives(template: &Value, architecture: &str) -> BTreeSet<String> {
    let resources = template.pointer("/Resources").and_then(Value::as_object);
    let functions = resources
        .into_iter()
        .flat_map(|resources| resources.values());
    functions
        .filter(|resource| text(resource, "/Type") == "AWS::Lambda::Function")
        .map(|function| {
            let key = text(function, "/Properties/Code/S3Key/Fn::Sub");
            key.replace("${ArtifactPrefix}", "stanch/")
                .replace("${Architecture}", architecture)
        })
        .collect()
}
