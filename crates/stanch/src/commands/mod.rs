//! One module per command: arguments in, output and an exit code out.

mod api;
mod approvals;
pub mod archive;
mod catalog;
mod config;
mod control;
mod cost;
mod dead_letter;
mod deploy;
mod doctor;
mod fix;
mod gameday;
mod ledger;
mod logs;
mod policy;
mod runbook;
mod undo;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use clap::CommandFactory as _;
use stanch_hub::Approver;

use crate::{
    cli::{Cli, Command},
    log,
    output::{Exit, Failure},
    serve,
    wire::Wire,
};

/// Runs the command.
pub fn run(Cli { global, command }: Cli) -> Result<Exit, Failure> {
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Cli::command(), "stanch", &mut io::stdout());
        return Ok(Exit::Done);
    }
    if let Command::Serve(options) = command {
        let wire = Wire::new(global, serve::overrides(&options))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        return runtime.block_on(serve::serve(&wire));
    }
    log::warnings();
    let wire = Wire::new(global, Vec::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let exit = match command {
            Command::Plan(finding) => fix::plan(&wire, finding).await,
            Command::Remediate {
                finding,
                dry_run: true,
            } => fix::plan(&wire, finding).await,
            Command::Remediate {
                finding,
                dry_run: false,
            } => fix::remediate(&wire, finding).await,
            Command::Approve {
                id,
                person,
                as_role,
                plan,
            } => {
                let approver = Approver {
                    role: as_role,
                    plan,
                    ..Approver::from(&wire.person(person.name)?)
                };
                fix::approve(&wire, id, approver).await
            }
            Command::Approvals(command) => approvals::run(&wire, command).await,
            Command::Reject { id, person, reason } => fix::reject(&wire, id, person, &reason).await,
            Command::Rollback(options) => undo::rollback(&wire, options).await,
            Command::Pause(options) => control::pause(&wire, options).await,
            Command::Resume {
                reach,
                reason,
                person,
            } => control::resume(&wire, reach, &reason, person).await,
            Command::Rollout(command) => control::rollout(&wire, command).await,
            Command::Ledger(command) => ledger::run(&wire, command).await,
            Command::Deadletter(command) => dead_letter::run(&wire, command).await,
            Command::Catalog(command) => catalog::run(&wire, command).await,
            Command::Policy(command) => policy::run(&wire, command).await,
            Command::Runbook(command) => runbook::run(&wire, command).await,
            Command::Deploy(command) => deploy::run(&wire, command).await,
            Command::Doctor(options) => doctor::run(&wire, options).await,
            Command::Logs { id } => logs::run(&wire, id).await,
            Command::Cost(options) => cost::run(&wire, options).await,
            Command::Api(command) => api::run(&wire, command).await,
            Command::Gameday(options) => gameday::run(&wire, options).await,
            Command::Config(command) => config::run(&wire, &command).await,
            Command::Serve(_) | Command::Completions { .. } => Ok(Exit::Done),
        };
        // Also after a failure: what was recorded until then is witnessed.
        match (exit, wire.sign().await) {
            (Ok(_), Err(failure)) => Err(failure),
            (exit, _) => exit,
        }
    })
}

/// The most that is read of an event: what is longer is refused by its reader.
const LONGEST_EVENT: u64 = 10_000_001;

/// The bytes of a file, or of standard input for `-`, and what to call them.
fn read_event(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(LONGEST_EVENT)
            .read_to_end(&mut bytes)?;
        return Ok(("standard input".to_owned(), bytes));
    }
    let read = File::open(path).and_then(|file| file.take(LONGEST_EVENT).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            .hint("name a file with a finding, or `-` for standard input")
    })?;
    Ok((path.to_string_lossy().into_owned(), bytes))
}
