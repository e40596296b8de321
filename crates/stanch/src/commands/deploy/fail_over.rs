//! `stanch deploy fail-over`: which of two administrator regions makes changes.

use std::sync::Arc;

use serde_json::json;
use stanch_hub::Hub;
use stanch_ledger::{Standing, Store};
use stanch_operate::fail_over::{NotThere, replicated, take_events};
use stanch_types::Region;

use crate::{
    accounts::installation,
    cli,
    commands::control::hub_of_orders,
    output::{Exit, Failure, print, print_json, say},
    wire::Wire,
};

/// One of the regions.
struct Side {
    region: Region,
    ledger: Arc<dyn Store>,
    hub: Arc<Hub>,
}

impl Side {
    fn of(wire: &Wire, region: Region) -> Result<Self, Failure> {
        let ledger = wire.ledger_in(region.clone())?;
        let hub = hub_of_orders(wire, Arc::clone(&ledger))?;
        Ok(Self {
            region,
            ledger,
            hub,
        })
    }

    async fn take_events(&self, wire: &Wire, takes: bool) -> Result<(), Failure> {
        let client = wire.client(self.region.clone())?;
        Ok(take_events(&client, &installation(wire)?, takes).await?)
    }
}

impl From<NotThere> for Failure {
    fn from(error: NotThere) -> Self {
        let hint = match &error {
            NotThere::Ledger(error) => error
                .hint()
                .unwrap_or("look at both regions, and run it again"),
            NotThere::Behind(_) => {
                "nothing acts now; look at `ReplicationLatency` in CloudWatch and run it again, or go on with `--lost`"
            }
        };
        Self::of(&error).hint(hint)
    }
}

/// Orders it where the old region reads it first, waits until the new one has everything, and lets it begin.
pub async fn run(wire: &Wire, options: cli::FailOver) -> Result<Exit, Failure> {
    let cli::FailOver {
        to,
        from,
        reason,
        yes,
        person,
        lost: _,
    } = options;
    if from.as_ref() == Some(&to) {
        return Err(Failure::usage(format!("{to} cannot take over from itself")));
    }
    let there = Side::of(wire, to)?;
    let from = from.map(|region| Side::of(wire, region)).transpose()?;
    let to = &there.region;
    if !yes {
        let orders = from.as_ref().unwrap_or(&there).ledger.directives().await?;
        let acts = match Standing::of(&orders).acts {
            Some((region, given)) => format!("{region}, since {}", given.at),
            None => "the one that does not stand by; there was no order yet".to_owned(),
        };
        print(format!("acts now: {acts}"))?;
        print(match &from {
            Some(from) => format!(
                "{} would stop before its next request; {to} would begin when its replica has everything that is open",
                from.region
            ),
            None => format!(
                "{to} would begin with what its replica has; whoever else acts stops when the order has reached it"
            ),
        })?;
        say("nothing was done; `--yes` does it");
        return Ok(Exit::Done);
    }
    let by = wire.person(person.name)?;
    let first = from.as_ref().unwrap_or(&there);
    let given = first.hub.act_in(to.clone(), &by, &reason).await?;
    if let Some(from) = &from {
        say(format_args!(
            "{} makes no further request; waiting until {to} has everything",
            from.region
        ));
        from.take_events(wire, false).await?;
        replicated(&*from.ledger, &*there.ledger, &*wire.clock).await?;
    }
    there.take_events(wire, true).await?;
    match wire.json {
        true => print_json(&json!({ "order": given }))?,
        false => print(format!("changes are made in {to}"))?,
    }
    say(format_args!(
        "set `deployment.region` to {to} and `AWS_REGION` where you operate it, and look: `stanch ledger verify`"
    ));
    Ok(Exit::Done)
}
