//! `stanch deadletter`.

use serde_json::json;
use stanch_hub::Source;
use stanch_ledger::{DeadLetter as Letter, Digest, Ledger};

use crate::{
    cli::DeadLetter,
    commands::fix,
    output::{Color, Exit, Failure, Table, clean, print, print_json, say},
    wire::Wire,
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: DeadLetter) -> Result<Exit, Failure> {
    match command {
        DeadLetter::List { limit } => {
            let letters = wire.ledger_to_read()?.dead_letters(limit).await?;
            if wire.json {
                print_json(&json!({ "letters": letters }))?;
                return Ok(Exit::Done);
            }
            let mut table = Table::new(["LAST", "TIMES", "SOURCE", "REASON", "ID"]);
            for Letter {
                id,
                at,
                times,
                letter,
            } in letters
            {
                let reason = letter.reason.chars().take(100).collect();
                table.row([
                    format!("{at:.0}"),
                    times.to_string(),
                    letter.source,
                    reason,
                    id.to_string(),
                ]);
            }
            print(table.render(Color::out()))?;
            Ok(Exit::Done)
        }
        DeadLetter::Show { id } => {
            let found = find(&*wire.ledger_to_read()?, id).await?;
            if wire.json {
                print_json(&found)?;
                return Ok(Exit::Done);
            }
            let Letter {
                at, times, letter, ..
            } = &found;
            say(format_args!(
                "from {}, {times} times, last at {at:.0}",
                clean(&letter.source)
            ));
            say(clean(&letter.reason));
            print(&letter.body)?;
            Ok(Exit::Done)
        }
        DeadLetter::Retry { id, person } => {
            wire.existing_ledger()?;
            let ledger = wire.ledger()?;
            let Letter { letter, .. } = find(&*ledger, id).await?;
            // The source stays the same: what is still not understood is the same letter again.
            let source = Source::person(letter.source, wire.person(person.name)?);
            let (exit, taken) = fix::deliver(wire, &source, letter.body.as_bytes()).await?;
            if taken.buried.is_empty() {
                ledger.remove_dead_letter(id).await?;
            }
            Ok(exit)
        }
    }
}

async fn find(ledger: &dyn Ledger, id: Digest) -> Result<Letter, Failure> {
    ledger.dead_letter(id).await?.ok_or_else(|| {
        Failure::usage(format!("there is no dead letter `{id}`"))
            .hint("`stanch deadletter list` shows them")
    })
}
