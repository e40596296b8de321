//! `stanch deploy pilot`, `roll-out` and `automatic`: member stacks account by account, and by the ledger's leave.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stanch_hub::{Mode, Move, Placed};
use stanch_ledger::{Query, Reach};
use stanch_operate::{
    Demand, Shown,
    stack_set::{Outcome, StackSet, StackSetError, Target},
};
use stanch_types::{AccountId, Call};

use crate::{
    accounts::installation,
    cli::{self, Gate},
    commands::ledger::moment,
    output::{Color, Exit, Failure, Table, print, print_json, say},
    wire::Wire,
};

impl From<StackSetError> for Failure {
    fn from(error: StackSetError) -> Self {
        let failure = Self::of(&error);
        match error {
            StackSetError::Call(_) => failure,
            StackSetError::Slow { .. } => {
                failure.hint("it goes on in AWS; look at it there, and then run this again")
            }
            StackSetError::Ended { outcomes, .. } => {
                let failed = outcomes.iter().filter(|one| one.status != "SUCCEEDED");
                let told: Vec<String> = failed
                    .map(|one| {
                        format!(
                            "{} {}: {} {}",
                            one.account,
                            one.region,
                            one.status,
                            one.reason.as_deref().unwrap_or_default()
                        )
                    })
                    .collect();
                failure.hint(format!(
                    "correct it and run this again; what is there stays:\n{}",
                    told.join("\n")
                ))
            }
        }
    }
}

/// Stacks in a few accounts.
pub async fn pilot(wire: &Wire, stacks: cli::Stacks) -> Result<Exit, Failure> {
    if stacks.account.is_empty() {
        return Err(
            Failure::usage("no pilot account is named").hint("name one or a few with `--account`")
        );
    }
    deploy(wire, stacks, None).await
}

/// Stacks in more accounts, if the pilot went well.
pub async fn roll_out(
    wire: &Wire,
    stacks: cli::Stacks,
    pilot: &[AccountId],
    gate: &Gate,
) -> Result<Exit, Failure> {
    let shown = ask(wire, pilot, gate).await?;
    if !shown.is_open() {
        return refuse(wire, &shown);
    }
    deploy(wire, stacks, Some(shown)).await
}

/// What the ledger shows of these accounts.
async fn ask(wire: &Wire, accounts: &[AccountId], gate: &Gate) -> Result<Shown, Failure> {
    if !(0.0..=1.0).contains(&gate.max_failure_rate) {
        return Err(Failure::usage(
            "`--max-failure-rate` is a share from 0 to 1",
        ));
    }
    let since = moment(&gate.since, wire.clock.now())?;
    let ledger = wire.ledger_to_read()?;
    let mut records = Vec::new();
    for account in accounts {
        let mut query = Query::account(account.clone())
            .between(Some(since), None)
            .limit(Query::MAX_LIMIT);
        loop {
            let page = ledger.query(&query).await?;
            records.extend(page.records);
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
    }
    let demand = Demand {
        changes: gate.min_changes,
        by_people: gate.min_by_people,
        failure_rate: gate.max_failure_rate,
    };
    Ok(Shown::by(&records, &demand))
}

fn refuse(wire: &Wire, shown: &Shown) -> Result<Exit, Failure> {
    if wire.json {
        print_json(&json!({ "gate": shown, "requests": [] }))?;
    }
    let failure = Failure {
        exit: Exit::Refused,
        ..Failure::failed(format!("not yet: {}", shown.against.join("; ")))
    };
    Err(failure.hint("let people remediate more findings of the pilot by hand, and look at what failed: `stanch ledger list --status Failed`"))
}

async fn deploy(wire: &Wire, stacks: cli::Stacks, gate: Option<Shown>) -> Result<Exit, Failure> {
    if stacks.ou.is_empty() && !stacks.self_managed {
        return Err(Failure::usage("no organizational unit is named").hint(
            "AWS Organizations puts stacks into accounts of a unit: name it with `--ou`, by its id or that of the root; `--self-managed` goes by roles of your own",
        ));
    }
    let set = StackSet {
        name: stacks.stack_set,
        template_url: stacks.template_url,
        parameters: stacks.parameters.into_iter().collect::<BTreeMap<_, _>>(),
        self_managed: stacks.self_managed,
        delegated: stacks.delegated,
    };
    let target = Target {
        units: stacks.ou,
        accounts: stacks.account,
        regions: stacks.regions,
        tolerated: stacks.tolerate,
        at_once: stacks.at_once,
    };
    let api = wire.client(installation(wire)?.region)?;
    // Whether it is there decides which requests are shown, so it is asked in a dry run, too.
    let there = set.exists(&api).await?;
    let first = if there {
        set.update(&target)
    } else {
        set.create()
    };
    let requests = [first, set.instances(&target)];
    if !stacks.yes {
        show(wire, gate.as_ref(), &requests)?;
        say("nothing was sent; `--yes` sends these, one after the other");
        return Ok(Exit::Done);
    }
    let [first, instances] = &requests;
    say(format_args!("{first}"));
    match there {
        true => drop(set.operate(&api, &*wire.clock, first).await?),
        false => drop(stanch_types::Api::call(&api, first).await?),
    }
    say(format_args!("{instances}"));
    let outcomes = set.operate(&api, &*wire.clock, instances).await?;
    done(wire, gate.as_ref(), &outcomes)
}

fn show(wire: &Wire, gate: Option<&Shown>, requests: &[Call]) -> Result<(), Failure> {
    // Values of a template's parameters may be secrets: the external ids begin with one.
    let masked: Vec<Call> = requests.iter().map(masked).collect();
    if wire.json {
        return print_json(&json!({ "gate": gate, "requests": masked }));
    }
    if let Some(gate) = gate {
        print(passed(gate))?;
    }
    for call in masked {
        print(format!("{call}\n{:#}", call.params))?;
    }
    Ok(())
}

fn masked(call: &Call) -> Call {
    let mut call = call.clone();
    if let Some(Value::Array(parameters)) = call.params.pointer_mut("/Parameters") {
        for parameter in parameters {
            let secret = parameter.get("ParameterKey") == Some(&json!("ExternalIdPrefix"));
            if let (true, Some(value)) = (secret, parameter.get_mut("ParameterValue")) {
                *value = json!("****");
            }
        }
    }
    call
}

fn passed(gate: &Shown) -> String {
    format!(
        "the pilot: {} changes, {} of them asked for by people and successful, {} failed",
        gate.changes, gate.by_people, gate.failed
    )
}

fn done(wire: &Wire, gate: Option<&Shown>, outcomes: &[Outcome]) -> Result<Exit, Failure> {
    if wire.json {
        print_json(&json!({ "gate": gate, "outcomes": outcomes }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["ACCOUNT", "REGION", "STATUS", "REASON"]);
    for one in outcomes {
        table.row([
            one.account.clone(),
            one.region.clone(),
            one.status.clone(),
            one.reason.clone().unwrap_or_default(),
        ]);
    }
    print(table.render(Color::out()))?;
    say("`stanch doctor` looks at each; `stanch rollout advance` lets an account go further");
    Ok(Exit::Done)
}

/// Moves an account to its next ring, up to the first in which findings start remediations.
pub async fn automatic(
    wire: &Wire,
    account: AccountId,
    gate: &Gate,
    yes: bool,
    person: cli::Person,
) -> Result<Exit, Failure> {
    let shown = ask(wire, std::slice::from_ref(&account), gate).await?;
    if !shown.is_open() {
        return refuse(wire, &shown);
    }
    let hub = wire
        .hub(wire.ledger()?, wire.resolved.config.settings(), Vec::new())
        .await?;
    let reach = Reach::Account(account);
    let placed = hub.rollout().await?;
    let Some(now) = placed.iter().find(|placed| placed.reach == reach) else {
        return Err(Failure::usage("no rings are configured")
            .hint("set `rollout.rings`: in their last one findings start remediations"));
    };
    if now.mode == Mode::Automatic {
        say(format_args!(
            "{reach} is in ring `{}` already, where findings start remediations",
            now.ring
        ));
        return Ok(Exit::Done);
    }
    if !yes {
        print(passed(&shown))?;
        say(format_args!(
            "{reach} would go on from ring `{}`; `--yes` moves it",
            now.ring
        ));
        return Ok(Exit::Done);
    }
    let by = wire.person(person.name)?;
    let reason = passed(&shown);
    loop {
        let Placed { ring, mode, .. } =
            hub.roll(reach.clone(), Move::Advance, &by, &reason).await?;
        if mode == Mode::Automatic {
            match wire.json {
                true => print_json(&json!({ "gate": shown, "ring": ring }))?,
                false => print(format!(
                    "{reach} is in ring `{ring}` now, where findings start remediations"
                ))?,
            }
            say(
                "in AWS the rules have to be on, too: `AutomaticRemediation=ENABLED` of the administrator stack",
            );
            return Ok(Exit::Done);
        }
    }
}
