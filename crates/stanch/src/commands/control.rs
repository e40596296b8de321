//! `stanch pause`, `stanch resume` and `stanch rollout`: what people order about all that runs.

use std::sync::Arc;

use serde_json::json;
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, Guard};
use stanch_hub::{DirectiveError, Hub, Mode, Move, Placed};
use stanch_ledger::{Directive, Given, Reach, Standing, Store};

use crate::{
    cli::{self, Pause, PauseCommand, Person, Rollout, Shift},
    output::{Color, Exit, Failure, Table, clean, print, print_json, say},
    wire::Wire,
};

impl From<DirectiveError> for Failure {
    fn from(error: DirectiveError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}

/// A hub for orders. What it would decide and fix by may be broken: people can stop it all the same.
pub fn hub_of_orders(wire: &Wire, ledger: Arc<dyn Store>) -> Result<Arc<Hub>, Failure> {
    let catalog = wire
        .catalog()
        .unwrap_or_else(|_| Arc::new(Catalog::embedded()));
    let guard = Guard::built_in(&Automatic::default());
    let settings = wire.resolved.config.settings();
    wire.hub_of(catalog, ledger, settings, guard, Vec::new())
}

fn hub(wire: &Wire) -> Result<Arc<Hub>, Failure> {
    hub_of_orders(wire, wire.ledger()?)
}

/// What the flags mean; everything, if none is given.
fn reach(flags: cli::Reach) -> Reach {
    let cli::Reach {
        account,
        control,
        region,
        ou,
    } = flags;
    let account = account.map(Reach::Account);
    account
        .or_else(|| control.map(Reach::Control))
        .or_else(|| region.map(Reach::Region))
        .or_else(|| ou.map(Reach::Unit))
        .unwrap_or(Reach::All)
}

/// Stops changes, or lists what is stopped.
pub async fn pause(wire: &Wire, options: Pause) -> Result<Exit, Failure> {
    if let Some(PauseCommand::List { all }) = options.command {
        return list(wire, all).await;
    }
    let by = wire.person(options.person.name)?;
    let (hub, reach) = (hub(wire)?, reach(options.reach));
    let given = hub.pause(reach.clone(), &by, &options.reason).await?;
    if wire.json {
        print_json(&given)?;
    } else if let Directive::Pause { reach } = &given.directive {
        print(format!("changes are paused for {reach}"))?;
        say("what is running stops before its next request; `stanch resume` lets it go on");
        tell_if_unknown(&hub, reach);
    }
    Ok(Exit::Done)
}

/// Who stops or moves what nobody knows has probably spelt it wrongly.
fn tell_if_unknown(hub: &Hub, reach: &Reach) {
    if hub.known(reach).is_none() {
        say(format_args!(
            "nothing that is known here is in {reach}: look whether it is spelt as it should be"
        ));
    }
}

/// Ends a pause.
pub async fn resume(
    wire: &Wire,
    flags: cli::Reach,
    reason: &str,
    person: Person,
) -> Result<Exit, Failure> {
    let hub = hub(wire)?;
    let reach = reach(flags);
    let given = hub
        .resume(reach.clone(), &wire.person(person.name)?, reason)
        .await?;
    if wire.json {
        print_json(&given)?;
        return Ok(Exit::Done);
    }
    print(format!("changes go on for {reach}"))?;
    say("`stanch serve` takes up what stood still within a minute");
    Ok(Exit::Done)
}

async fn list(wire: &Wire, all: bool) -> Result<Exit, Failure> {
    let directives = wire.ledger_to_read()?.directives().await?;
    let broken = Given::broken(&directives);
    let off = wire.resolved.config.pause;
    let standing = Standing::of(&directives);
    let shown: Vec<&Given> = match all {
        true => directives.iter().collect(),
        false => standing.pauses.values().collect(),
    };
    if wire.json {
        print_json(&json!({ "paused": off, "directives": shown, "broken": broken }))?;
    } else {
        let mut table = Table::new(["SINCE", "WHAT", "BY", "REASON"]);
        if off {
            let here = "this configuration, everything".to_owned();
            table.row([
                "-".to_owned(),
                here,
                "-".to_owned(),
                "`pause` is set".to_owned(),
            ]);
        }
        for given in shown {
            let what = match &given.directive {
                Directive::Pause { reach } if all => format!("pause {reach}"),
                Directive::Pause { reach } => reach.to_string(),
                Directive::Resume { reach } => format!("resume {reach}"),
                Directive::Move { reach, ring } => format!("{reach} to ring {ring}"),
                Directive::Act { region } => format!("changes are made in {region}"),
            };
            table.row([
                format!("{:.0}", given.at),
                clean(&what),
                clean(&given.by),
                clean(&given.reason),
            ]);
        }
        print(table.render(Color::out()))?;
    }
    match broken {
        None => Ok(Exit::Done),
        Some(seq) => Err(
            Failure::failed(format!("directive {seq} is not what was given"))
                .hint("keep the file as evidence and restore the ledger from a backup"),
        ),
    }
}

/// Shows the rings, and moves between them.
pub async fn rollout(wire: &Wire, command: Rollout) -> Result<Exit, Failure> {
    let (shift, to) = match command {
        Rollout::Status => return status(wire).await,
        Rollout::Advance(shift) => (shift, Move::Advance),
        Rollout::Back(shift) => (shift, Move::Back),
    };
    let Shift {
        reach: flags,
        reason,
        person,
    } = shift;
    let reach = match reach(flags) {
        Reach::All => {
            return Err(Failure::usage("nobody is named")
                .hint("say who moves: `--account`, `--ou`, `--region` or `--control`"));
        }
        reach => reach,
    };
    let by = wire.person(person.name)?;
    let hub = hub(wire)?;
    let placed = hub.roll(reach.clone(), to, &by, &reason).await?;
    if wire.json {
        print_json(&placed)?;
    } else {
        tell_if_unknown(&hub, &reach);
        print(format!(
            "{} is in ring `{}` now: {}",
            placed.reach,
            placed.ring,
            mode(placed.mode)
        ))?;
    }
    Ok(Exit::Done)
}

async fn status(wire: &Wire) -> Result<Exit, Failure> {
    let placed = hub(wire)?.rollout().await?;
    if wire.json {
        print_json(&json!({ "placed": placed }))?;
        return Ok(Exit::Done);
    }
    if placed.is_empty() {
        say("no rings are configured: nothing but the guard limits what runs");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["WHO", "RING", "MODE", "SINCE", "BY", "REASON"]);
    for Placed {
        reach,
        ring,
        mode: at_most,
        moved,
    } in placed
    {
        let [since, by, reason] = match moved {
            Some(Given { at, by, reason, .. }) => [format!("{at:.0}"), by, reason],
            None => ["-", "-", "-"].map(str::to_owned),
        };
        let row = [
            reach.to_string(),
            ring,
            mode(at_most).to_owned(),
            since,
            by,
            reason,
        ];
        table.row(row.map(|cell| clean(&cell)));
    }
    print(table.render(Color::out()))?;
    Ok(Exit::Done)
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "plans only",
        Mode::Manual => "a person asks or approves",
        Mode::Automatic => "what the guard allows",
    }
}
