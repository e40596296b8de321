//! `stanch deploy`: CloudFormation templates from the catalog, what they cost, and how they get into accounts.

mod check;
mod fail_over;
mod roll_out;

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stanch_deploy::{DeployError, Deployment, Documents, File, Options, Plan, Scale};

use crate::{
    cli::{Deploy, Deployed},
    output::{Exit, Failure, print, print_json},
    wire::Wire,
};

/// Runs the command.
pub async fn run(wire: &Wire, command: Deploy) -> Result<Exit, Failure> {
    match command {
        Deploy::Render { what, out } => write(wire, &files(wire, what)?, &out),
        Deploy::Package { program, out } => pack(wire, &program, &out),
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
        Deploy::Check(options) => check::run(wire, options).await,
        Deploy::FailOver(options) => fail_over::run(wire, options).await,
        Deploy::Pilot(stacks) => roll_out::pilot(wire, stacks).await,
        Deploy::RollOut {
            stacks,
            pilot,
            gate,
        } => roll_out::roll_out(wire, stacks, &pilot, &gate).await,
        Deploy::Automatic {
            account,
            gate,
            yes,
            person,
        } => roll_out::automatic(wire, account, &gate, yes, person).await,
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

/// Packs the program and tells the archive's hash as Lambda does (`CodeSha256`).
fn pack(wire: &Wire, program: &Path, out: &Path) -> Result<Exit, Failure> {
    let read = fs::read(program).map_err(|error| {
        Failure::failed(format!("cannot read `{}`: {error}", program.display()))
            .hint("`cargo xtask package` builds it")
    })?;
    let archive = stanch_deploy::package(&read, &*wire.catalog()?, &*wire.models()?)
        .map_err(|error| Failure::of(&error))?;
    let folder = out.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(out, &archive))
        .map_err(|error| Failure::failed(format!("cannot write `{}`: {error}", out.display())))?;
    let hash = STANDARD.encode(Sha256::digest(&archive));
    match wire.json {
        true => print_json(&json!({"file": out, "bytes": archive.len(), "sha256": hash}))?,
        false => print(format!(
            "{}: {} bytes, {hash}",
            out.display(),
            archive.len()
        ))?,
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
