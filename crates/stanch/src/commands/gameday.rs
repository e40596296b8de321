//! `stanch gameday`: every example of the catalog, for real, in a test account.

use std::sync::Arc;

use serde_json::{Value, json};
use stanch_catalog::{Example, Remediation};
use stanch_guard::{Automatic, Guard};

use crate::{
    cli,
    output::{Color, Exit, Failure, Table, print, print_json, say},
    sandbox::{Played, Property, Sandbox, Verdict, approves_itself, test_account},
    wire::Wire,
};

/// Plants, fixes, rolls back and removes.
pub async fn run(wire: &Wire, options: cli::Gameday) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    let account = &options.account;
    test_account(config, account, "gameday")?;
    let region = wire.region(options.region)?;
    let mut settings = config.settings();
    if let Some(settings) = settings.accounts.get_mut(account) {
        // Findings of test accounts are skipped otherwise.
        settings.test = false;
    }
    let catalog = wire.unproved_catalog()?;
    for name in &options.only {
        if catalog.get(name).is_none() {
            return Err(Failure::usage(format!("there is no remediation `{name}`"))
                .hint("`stanch catalog list` shows what there is"));
        }
    }
    let wanted =
        |one: &Arc<Remediation>| options.only.is_empty() || options.only.contains(&one.name);
    let remediations: Vec<_> = catalog.iter().filter(wanted).collect();
    if !options.yes {
        let mut table = Table::new(["REMEDIATION", "EXAMPLE", "CALLS THAT PLANT IT"]);
        for (remediation, example) in examples(&remediations) {
            let calls: Vec<String> = example
                .given
                .iter()
                .map(|given| format!("{}.{}", given.service, given.operation))
                .collect();
            table.row([
                remediation.name.clone(),
                example.title.clone(),
                calls.join(", "),
            ]);
        }
        print(table.render(Color::out()))?;
        say(format_args!(
            "nothing was done; `--yes` plants and fixes this in account {account}, {region}"
        ));
        return Ok(Exit::Done);
    }
    let ledger = wire.ledger()?;
    let mut told = wire.notifiers()?;
    told.push(approves_itself(wire, &mut settings)?);
    // In a test account the operator's own rules are not what is tried.
    let guard = Guard::built_in(&Automatic::default());
    let hub = wire.hub_of(catalog, ledger, settings, guard, told)?;
    let sandbox = Sandbox::open(wire, hub, account, &region)?;
    let mut played = Vec::new();
    for (remediation, example) in examples(&remediations) {
        say(format_args!("{}: {}", remediation.name, example.title));
        played.push(sandbox.play(remediation, example, wire.clock.now()).await?);
    }
    report(wire, &played)
}

fn examples(remediations: &[Arc<Remediation>]) -> impl Iterator<Item = (&Remediation, &Example)> {
    remediations.iter().flat_map(|remediation| {
        let wrong = remediation
            .examples
            .iter()
            .filter(|example| !example.compliant);
        wrong.map(move |example| (&**remediation, example))
    })
}

fn report(wire: &Wire, played: &[Played]) -> Result<Exit, Failure> {
    let exit = match played.iter().any(|one| one.broken().is_some()) {
        true => Exit::Failed,
        false => Exit::Done,
    };
    if wire.json {
        let all: Vec<Value> = played
            .iter()
            .map(|one| {
                json!({
                    "remediation": one.remediation,
                    "example": one.example,
                    "fixed": fixed(one).is_ok(),
                    "undone": undone(one).map(|undone| undone.is_ok()),
                    "error": one.broken().map(|(_, reason)| reason),
                    "left": one.left,
                })
            })
            .collect();
        print_json(&all)?;
        return Ok(exit);
    }
    let mut table = Table::new(["REMEDIATION", "EXAMPLE", "FIXED", "UNDONE", "LEFT BEHIND"]);
    let word = |outcome: Result<(), String>| match outcome {
        Ok(()) => "yes".to_owned(),
        Err(reason) => format!("no: {reason}"),
    };
    for one in played {
        table.row([
            one.remediation.clone(),
            one.example.clone(),
            word(fixed(one)),
            undone(one).map_or_else(|| "-".to_owned(), word),
            one.left.join(", "),
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(exit)
}

/// Whether all went well up to the undo.
fn fixed(played: &Played) -> Result<(), String> {
    match played.broken() {
        Some((property, reason)) if property != Property::Undo => {
            Err(format!("{property}: {reason}"))
        }
        _ => match played.verdict(Property::Fix) {
            Some(Verdict::NotTried(reason)) => Err(reason.clone()),
            _ => Ok(()),
        },
    }
}

/// Whether it was put back; none if that was not tried.
fn undone(played: &Played) -> Option<Result<(), String>> {
    match played.verdict(Property::Undo)? {
        Verdict::Holds => Some(Ok(())),
        Verdict::Broken(reason) => Some(Err(reason.clone())),
        Verdict::NotTried(_) => None,
    }
}
