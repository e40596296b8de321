//! `stanch cost`: what remediations cost, from what the ledger has counted.

use std::collections::BTreeSet;

use stanch_ledger::{Query, RemediationId, Scope};
use stanch_operate::cost::{self, Bill, Counted};

use crate::{
    cli,
    commands::ledger::moment,
    output::{Color, Exit, Failure, Table, print, print_json, say},
    wire::Wire,
};

/// Counts, prices, and sets it beside AWS's own solution.
pub async fn run(wire: &Wire, options: cli::Cost) -> Result<Exit, Failure> {
    let ledger = wire.ledger_to_read()?;
    let mut ids: Vec<RemediationId> = options.ids;
    if ids.is_empty() {
        let now = wire.clock.now();
        let when = |text: Option<String>| text.map(|text| moment(&text, now)).transpose();
        let scope = options.account.map_or(Scope::All, Scope::Account);
        let mut query = Query::new(scope)
            .between(when(options.since)?, when(options.until)?)
            .limit(Query::MAX_LIMIT);
        loop {
            let page = ledger.query(&query).await?;
            ids.extend(page.records.iter().map(|record| record.remediation_id));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
    }
    let mut counted = Counted::default();
    for id in ids {
        counted = counted.and(&Counted::of(&ledger.entries(id).await?));
    }
    let bill = cost::bill(counted).map_err(|error| Failure::of(&error))?;
    match wire.json {
        true => print_json(&bill)?,
        false => show(&bill)?,
    }
    Ok(Exit::Done)
}

fn show(bill: &Bill) -> Result<(), Failure> {
    let counted = &bill.counted;
    if counted.remediations == 0 {
        say("no remediation was found");
        return Ok(());
    }
    let all = f64::from(counted.remediations);
    let mut table = Table::new(["USED", "IN ALL", "EACH", "US DOLLARS", "KNOWN"]);
    for charge in &bill.charges {
        let cost = &charge.cost;
        table.row([
            format!("{} ({})", cost.item, cost.unit),
            number(cost.quantity),
            number(cost.quantity / all),
            format!("{:.8}", cost.monthly),
            (if charge.counted {
                "counted"
            } else {
                "by design"
            })
            .to_owned(),
        ]);
    }
    print(table.render(Color::out()))?;
    print(format!(
        "\n{} remediations, {} changing requests, {:.8} US dollars in AWS, {:.8} each\n",
        counted.remediations, counted.requests, bill.usd, bill.each
    ))?;
    let peer = |item: &str| {
        bill.peer
            .quantities
            .get(item)
            .copied()
            .map_or_else(|| "-".to_owned(), number)
    };
    let own = |item: &str| {
        let charge = bill.charges.iter().find(|charge| charge.cost.item == item);
        number(charge.map_or(0.0, |charge| charge.cost.quantity) / all)
    };
    let mut table = Table::new(["EACH REMEDIATION", "STANCH", "AWS'S OWN SOLUTION"]);
    for (what, item) in [
        ("Lambda runs", "lambda-request"),
        ("state transitions", "states-transition"),
    ] {
        table.row([what.to_owned(), own(item), peer(item)]);
    }
    table.row([
        "changing requests".to_owned(),
        number(f64::from(counted.requests) / all),
        "-".to_owned(),
    ]);
    table.row([
        "requests in all".to_owned(),
        "-".to_owned(),
        peer("requests"),
    ]);
    table.row([
        "US dollars".to_owned(),
        format!("{:.8}", bill.each),
        peer("usd"),
    ]);
    print(table.render(Color::out()))?;
    let days: BTreeSet<&str> = bill
        .charges
        .iter()
        .map(|charge| &*charge.cost.as_of)
        .collect();
    let days: Vec<&str> = days.into_iter().collect();
    say(format_args!(
        "list prices of us-east-1 as of {}, without what is free; AWS's solution as counted on {}. On a machine of one's own AWS's \
         requests cost nothing. Reads are not in the ledger",
        days.join(", "),
        bill.peer.as_of
    ));
    Ok(())
}

/// Without digits that say nothing.
fn number(value: f64) -> String {
    match value.fract() == 0.0 {
        true => format!("{value}"),
        false => format!("{value:.3}"),
    }
}
