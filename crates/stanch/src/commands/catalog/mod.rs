//! `stanch catalog`.

mod coverage;
mod explain;
mod export;
mod test;

use std::{path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use stanch_catalog::{Catalog as Files, Class, FileDiagnostic, Remediation, Undo};
use stanch_syntax::Severity;

use crate::{
    cli::Catalog,
    output::{Color, Exit, Failure, Table, print, print_json, with},
    wire::{Wire, read_files},
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Catalog) -> Result<Exit, Failure> {
    match command {
        Catalog::List => list(wire),
        Catalog::Show { name } => show(wire, &name),
        Catalog::Explain { name } => explain::explain(wire, &name),
        Catalog::Coverage { standard } => coverage::coverage(wire, standard.as_deref()),
        Catalog::Export(options) => export::export(wire, &options),
        Catalog::Check { files } => check(wire, &files),
        Catalog::Test(options) => test::test(wire, &options).await,
    }
}

const fn class(class: Class) -> &'static str {
    match class {
        Class::Safe => "safe",
        Class::Guarded => "guarded",
        Class::Destructive => "destructive",
    }
}

fn security_hub(remediation: &Remediation) -> Vec<&str> {
    let controls = remediation
        .controls
        .iter()
        .filter(|control| control.framework == "security-hub");
    controls.map(|control| control.id.as_str()).collect()
}

fn facts(remediation: &Remediation, path: Option<&str>) -> Value {
    let (undo, because) = match &remediation.safety.undo {
        Undo::Exact => ("exact", None),
        Undo::None { because } => ("none", Some(because)),
    };
    let controls: Vec<Value> = remediation
        .controls
        .iter()
        .map(|control| json!({ "framework": control.framework, "id": control.id }))
        .collect();
    json!({
        "name": remediation.name,
        "title": remediation.title,
        "description": remediation.description,
        "resources": remediation.resources,
        "controls": controls,
        "class": class(remediation.safety.class),
        "impact": remediation.safety.impact,
        "undo": undo,
        "no_undo_because": because,
        "file": path,
    })
}

fn list(wire: &Wire) -> Result<Exit, Failure> {
    let catalog = wire.unproved_catalog()?;
    if wire.json {
        let all: Vec<Value> = catalog
            .iter()
            .map(|one| facts(&one, catalog.path(&one.name)))
            .collect();
        print_json(&all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["REMEDIATION", "CLASS", "SECURITY HUB", "TITLE"]);
    for remediation in catalog.iter() {
        table.row([
            remediation.name.clone(),
            class(remediation.safety.class).to_owned(),
            security_hub(&remediation).join(" "),
            remediation.title.clone(),
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(Exit::Done)
}

fn show(wire: &Wire, name: &str) -> Result<Exit, Failure> {
    let catalog = wire.unproved_catalog()?;
    let remediation = get(&catalog, name)?;
    if wire.json {
        print_json(&facts(&remediation, catalog.path(name)))?;
    } else {
        print(catalog.text(name).unwrap_or_default().trim_end())?;
    }
    Ok(Exit::Done)
}

/// The remediation `name`.
fn get(catalog: &Files, name: &str) -> Result<Arc<Remediation>, Failure> {
    catalog.get(name).ok_or_else(|| {
        let names: Vec<String> = catalog.iter().map(|one| one.name.clone()).collect();
        let near = stanch_models::nearest(name, names.iter().map(String::as_str));
        let hint = match near.first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`stanch catalog list` shows what there is".to_owned(),
        };
        Failure::usage(format!("there is no remediation `{name}`")).hint(hint)
    })
}

fn check(wire: &Wire, files: &[PathBuf]) -> Result<Exit, Failure> {
    let mut texts: Vec<(String, String)> = Vec::new();
    let mut folders = files.to_vec();
    if files.is_empty() {
        texts
            .extend(Files::embedded_files().map(|(path, text)| (path.to_owned(), text.to_owned())));
        folders.clone_from(&wire.resolved.config.catalog_dirs);
    }
    texts.extend(files_at(&folders)?);
    let models = wire.models()?;
    let mut found = Vec::new();
    let mut sound = Vec::new();
    for (path, text) in texts {
        let diagnostics = stanch_catalog::check(&text, &models);
        let broken = diagnostics
            .iter()
            .any(|one| one.severity == Severity::Error);
        found.extend(diagnostics.into_iter().map(|diagnostic| FileDiagnostic {
            path: path.clone(),
            diagnostic,
        }));
        if !broken {
            sound.push((path, text));
        }
    }
    let count = sound.len();
    // Only files that are sound alone can be held against one another.
    for conflict in Files::load(sound).1 {
        if !found.contains(&conflict) {
            found.push(conflict);
        }
    }
    report(wire, &found, &counted(count, "file"))
}

/// Path and text of catalog files, and of those in folders.
fn files_at(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if path.is_dir() {
            texts.extend(read_files(path, &["yaml", "yml"])?);
        } else {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            })?;
            texts.push((path.to_string_lossy().into_owned(), text));
        }
    }
    Ok(texts)
}

/// That so many are sound.
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what} is sound"),
        count => format!("{count} {what}s are sound"),
    }
}

/// Prints what was found about files; fails if one of it is an error.
pub fn report(wire: &Wire, found: &[FileDiagnostic], fine: &str) -> Result<Exit, Failure> {
    let broken = found
        .iter()
        .any(|one| one.diagnostic.severity == Severity::Error);
    if wire.json {
        let all: Vec<Value> = found
            .iter()
            .map(|one| with(one.diagnostic.to_json(), "path", one.path.as_str()))
            .collect();
        print_json(&all)?;
    } else if found.is_empty() {
        print(fine)?;
    } else {
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        print(lines.join("\n"))?;
    }
    Ok(if broken { Exit::Failed } else { Exit::Done })
}
