//! `stanch catalog export`: remediations for those who run them in Systems Manager.

use std::{fs, sync::Arc};

use stanch_catalog::{ExportError, Remediation};

use super::get;
use crate::{
    cli::{Export, ExportFormat},
    output::{Exit, Failure, print, print_json, say},
    wire::Wire,
};

/// Writes the documents to a folder, or prints them.
pub fn export(wire: &Wire, options: &Export) -> Result<Exit, Failure> {
    let ExportFormat::Ssm = options.format;
    let (catalog, models) = (wire.unproved_catalog()?, wire.models()?);
    let remediations: Vec<Arc<Remediation>> = match options.names.is_empty() {
        true => catalog.iter().collect(),
        false => {
            let wanted = options.names.iter().map(|name| get(&catalog, name));
            wanted.collect::<Result<_, _>>()?
        }
    };
    let mut documents = Vec::new();
    for one in &remediations {
        let export = match one.export(&models) {
            Ok(export) => export,
            // Whoever asks for all wants those that there are.
            Err(error) if options.names.is_empty() && !matches!(error, ExportError::Lookup(_)) => {
                say(format_args!("warning: {} is left out: {error}", one.name));
                continue;
            }
            Err(error) => return Err(Failure::of(&error)),
        };
        documents.push((one.name.clone(), export.remediation.to_yaml()));
        let rollback = export.rollback.map(|document| document.to_yaml());
        documents.extend(rollback.map(|text| (format!("{}Rollback", one.name), text)));
    }
    let Some(folder) = &options.out else {
        let texts: Vec<&str> = documents.iter().map(|(_, text)| text.trim_end()).collect();
        print(texts.join("\n---\n"))?;
        return Ok(Exit::Done);
    };
    let fail = |path: &std::path::Path, error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| fail(folder, error))?;
    let mut written = Vec::new();
    for (name, text) in documents {
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, text).map_err(|error| fail(&path, error))?;
        written.push(path.to_string_lossy().into_owned());
    }
    match wire.json {
        true => print_json(&written)?,
        false => print(written.join("\n"))?,
    }
    Ok(Exit::Done)
}
