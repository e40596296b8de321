//! `stanch deploy`: CloudFormation templates from the catalog, and what they cost.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;
use stanch_deploy::{DeployError, Deployment, Documents, File, Options, Plan, Scale};

use crate::{
    cli::{Deploy, Deployed},
    output::{Exit, Failure, print, print_json},
    wire::Wire,
};

/// Runs the command.
pub fn run(wire: &Wire, command: Deploy) -> Result<Exit, Failure> {
    match command {
        Deploy::Render { what, out } => write(wire, &files(wire, what)?, &out),
        Deploy::Plan {
            what,
            accounts,
            regions,
            remediations,
        } => {
            let scale = Scale {
                accounts,
                regions,
                remediations,
            };
            let plan = stanch_deploy::plan(&files(wire, what)?, scale);
            show(wire, &plan.map_err(|error| Failure::of(&error))?)
        }
    }
}

fn files(wire: &Wire, what: Deployed) -> Result<Vec<File>, Failure> {
    let (catalog, models) = (wire.catalog()?, wire.models()?);
    let names: BTreeSet<String> = what.document.into_iter().collect();
    let options = Options {
        only: what.only.into_iter().collect(),
        documents: match () {
            () if names.is_empty() => Documents::Examples,
            () if names.contains("all") => Documents::All,
            () => Documents::Of(names),
        },
    };
    let rendered = Deployment::new(&catalog, &models, &options)
        .and_then(|deployment| deployment.render(&models));
    rendered.map_err(|error| {
        let failure = Failure::of(&error);
        match error {
            DeployError::Unknown(_) => Failure {
                exit: Exit::Usage,
                ..failure
            }
            .hint("`stanch catalog list` shows what there is"),
            DeployError::NotEnabled(name) => Failure {
                exit: Exit::Usage,
                ..failure
            }
            .hint(format!("add `--only {name}`")),
            _ => failure,
        }
    })
}

fn write(wire: &Wire, files: &[File], folder: &Path) -> Result<Exit, Failure> {
    let fail = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| fail(folder, error))?;
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).map_err(|error| fail(&path, error))?;
        written.push(path.to_string_lossy().into_owned());
    }
    match wire.json {
        true => print_json(&written)?,
        false => print(written.join("\n"))?,
    }
    Ok(Exit::Done)
}

fn show(wire: &Wire, plan: &Plan) -> Result<Exit, Failure> {
    if wire.json {
        print_json(&json!(plan))?;
        return Ok(Exit::Done);
    }
    let mut lines = Vec::new();
    let mut template = "";
    for line in &plan.resources {
        if line.template != template {
            template = &line.template;
            lines.push(template.to_owned());
        }
        let optional = match line.optional {
            0 => String::new(),
            more => format!(", {more} more if asked for"),
        };
        lines.push(format!("  {:>5}  {}{optional}", line.count, line.kind));
    }
    lines.push("US dollars a month".to_owned());
    for cost in &plan.costs {
        lines.push(format!(
            "  {:>9.2}  {}: {} × {} ({})",
            cost.monthly, cost.item, cost.quantity, cost.each, cost.unit
        ));
    }
    let Scale {
        accounts,
        regions,
        remediations,
    } = plan.scale;
    lines.push(format!("  {:>9.2}  when nothing happens", plan.idle));
    lines.push(format!(
        "  {:>9.2}  with {remediations} remediations, {accounts} accounts, {regions} regions",
        plan.monthly
    ));
    let days: BTreeSet<&str> = plan.costs.iter().map(|cost| &*cost.as_of).collect();
    let days: Vec<&str> = days.into_iter().collect();
    lines.push(format!(
        "list prices of us-east-1 as of {}; what one remediation uses is by design, not measured",
        days.join(", ")
    ));
    print(lines.join("\n"))?;
    Ok(Exit::Done)
}
