//! `stanch config`.

use serde_json::{Map, Value, json};

use crate::{
    cli::Config,
    output::{Color, Exit, Failure, print, print_json},
    wire::Wire,
};
use stanch_config::unknown_variables;

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: &Config) -> Result<Exit, Failure> {
    match command {
        Config::Show => show(wire),
        Config::Check => check(wire).await,
    }
}

fn show(wire: &Wire) -> Result<Exit, Failure> {
    let origins = &wire.resolved.origins;
    if wire.json {
        let all: Map<String, Value> = origins
            .iter()
            .map(|(key, (value, origin))| {
                (key.clone(), json!({ "value": value, "origin": origin }))
            })
            .collect();
        print_json(&all)?;
        return Ok(Exit::Done);
    }
    let color = Color::out();
    let lines: Vec<String> = origins
        .iter()
        .map(|(key, (value, origin))| {
            let value = if value.is_null() {
                "none".to_owned()
            } else {
                value.to_string()
            };
            format!("{key} = {value}  {}", color.dim(format!("# {origin}")))
        })
        .collect();
    print(lines.join("\n"))?;
    Ok(Exit::Done)
}

/// The configuration was read; what it names is looked at too.
async fn check(wire: &Wire) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    let catalog = wire.catalog()?;
    let mut problems = Vec::new();
    if config.accounts.is_empty() {
        problems.push("`accounts` is empty: every finding is refused".to_owned());
    }
    for name in &config.automatic.guarded {
        if catalog.get(name).is_none() {
            problems.push(format!(
                "`automatic.guarded` names `{name}`, which is no remediation"
            ));
        }
    }
    problems.extend(wire.parameter_problems(&catalog));
    if let Err(failure) = wire.guard(&catalog).await {
        problems.push(told(failure));
    }
    for (id, member) in &config.accounts {
        if member.external_id.is_none() {
            problems.push(format!(
                "account {id} has no `external_id`: its role can be entered by others"
            ));
        }
    }
    if let Err(failure) = crate::serve::access(config) {
        problems.push(told(failure));
    }
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in unknown_variables(names) {
        problems.push(format!("the environment has `{name}`, which is no setting"));
    }
    if wire.json {
        print_json(&json!({ "file": wire.resolved.file, "problems": problems }))?;
    } else if problems.is_empty() {
        print(format!(
            "{} accounts, {} remediations",
            config.accounts.len(),
            catalog.len()
        ))?;
    } else {
        print(problems.join("\n"))?;
    }
    Ok(if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What is wrong and what to do about it, in one line.
fn told(Failure { message, hint, .. }: Failure) -> String {
    match hint {
        Some(hint) => format!("{message}; hint: {hint}"),
        None => message,
    }
}
