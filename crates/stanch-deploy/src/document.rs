//! Automation documents as templates: the control runbook, and the remediation and rollback runbooks of
//! those that are wanted.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use stanch_catalog::{ExportError, Naming, Remediation, Stage, fingerprint};
use stanch_models::Models;
use stanch_syntax::Limits;

use crate::{
    DeployError, File,
    template::{self, BODY_LIMIT, RESOURCE_LIMIT},
};

/// The control runbook's name after the prefix.
pub const CONTROL_RUNBOOK: &str = "ControlRunbook";

/// The prefix under which documents have the architecture's names: the parameter's default.
const DEFAULT_PREFIX: &str = "SecurityRemediation";

/// The bytes of a document's content that Systems Manager takes:
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
const CONTENT_LIMIT: usize = 65_536;

/// The templates with the documents of `remediations`, as many as limits demand. The control runbook is in
/// the first.
pub(crate) fn templates(
    remediations: &[Arc<Remediation>],
    models: &Models,
) -> Result<Vec<File>, DeployError> {
    let base = template::part("member-documents")?;
    let mut documents = vec![(
        CONTROL_RUNBOOK.to_owned(),
        resource(
            json!({"Fn::Sub": format!("${{NamePrefix}}{CONTROL_RUNBOOK}")}),
            template::part("control-runbook")?,
        ),
    )];
    for one in remediations {
        documents.extend(of(one, models)?);
    }
    let mut files = Vec::new();
    let (mut resources, mut bytes) = (Map::new(), 0);
    let flush = |resources: &mut Map<String, Value>, files: &mut Vec<File>| {
        let mut whole = base.clone();
        if let Some(place) = whole.get_mut("Resources") {
            *place = Value::Object(std::mem::take(resources));
        }
        let name = match files.len() {
            0 => "member-documents".to_owned(),
            before => format!("member-documents-{}", before + 1),
        };
        files.push(template::file(&name, &whole)?);
        Ok::<_, DeployError>(())
    };
    for (name, resource) in documents {
        let length = stanch_syntax::to_yaml(&json!({"Resources": {&name: &resource}})).len();
        if bytes + length > BODY_LIMIT * 9 / 10 || resources.len() + 1 > RESOURCE_LIMIT {
            flush(&mut resources, &mut files)?;
            bytes = 0;
        }
        bytes += length;
        resources.insert(name, resource);
    }
    flush(&mut resources, &mut files)?;
    Ok(files)
}

/// The documents of a remediation: the way there, and the way back if there is one.
fn of(remediation: &Remediation, models: &Models) -> Result<Vec<(String, Value)>, DeployError> {
    let fail = |source: ExportError| DeployError::Export {
        name: remediation.name.clone(),
        source,
    };
    let export = remediation.export(models).map_err(fail)?;
    let mut documents = Vec::new();
    for stage in [Stage::Apply, Stage::Undo] {
        let Some(document) = export.of(stage) else {
            continue;
        };
        let name = Naming::bare(stage, &remediation.name);
        let content = document.to_json();
        let length = content.to_string().len();
        if length > CONTENT_LIMIT {
            return Err(DeployError::DocumentTooLong { name, length });
        }
        let full = json!({"Fn::If": ["DefaultNames", name, {"Fn::Sub": format!("${{NamePrefix}}{name}")}]});
        documents.push((name, resource(full, content)));
    }
    Ok(documents)
}

/// The names of the documents in rendered templates, under this prefix, each with the name of its version,
/// which tells one content from every other.
#[must_use]
pub fn document_versions(files: &[File], prefix: &str) -> BTreeMap<String, String> {
    let limits = Limits {
        nodes: 1_000_000,
        ..Limits::default()
    };
    let named = |name: &Value| -> Option<String> {
        let own = name
            .pointer("/Fn::If/1")
            .filter(|_| prefix == DEFAULT_PREFIX);
        let name = own.or_else(|| name.pointer("/Fn::If/2")).unwrap_or(name);
        let text = name.get("Fn::Sub").unwrap_or(name).as_str()?;
        Some(text.replace("${NamePrefix}", prefix))
    };
    let mut versions = BTreeMap::new();
    for file in files.iter().filter(|file| file.name.ends_with(".yaml")) {
        let Ok(tree) = stanch_syntax::read(&file.text, limits) else {
            continue;
        };
        let template = tree.to_json();
        let resources = template.get("Resources").and_then(Value::as_object);
        for resource in resources.into_iter().flat_map(Map::values) {
            let name = resource.pointer("/Properties/Name").and_then(named);
            let version = resource.pointer("/Properties/VersionName");
            if let (Some(name), Some(version)) = (name, version.and_then(Value::as_str)) {
                versions.insert(name, version.to_owned());
            }
        }
    }
    versions
}

/// A document whose versions are kept: an update adds one.
fn resource(name: Value, mut content: Value) -> Value {
    let version: String = fingerprint(&content).chars().take(12).collect();
    if let Some(function) = content.pointer_mut("/parameters/RemediationFunction/default") {
        *function = json!({"Fn::Sub": "${NamePrefix}Remediation"});
    }
    json!({
        "Type": "AWS::SSM::Document",
        "Properties": {
            "Name": name,
            "DocumentType": "Automation",
            "DocumentFormat": "YAML",
            "UpdateMethod": "NewVersion",
            "VersionName": format!("v-{version}"),
            "Content": content,
        },
    })
}
