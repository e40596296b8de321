//! `stanch approvals`.

use serde_json::json;
use stanch_ledger::{Order, Query, RemediationId, Status};

use super::fix::{changes, heading, hub_of_requests, requests, touched, waiting};
use crate::{
    cli::Approvals,
    output::{Color, Exit, Failure, Table, clean, print, print_json, say},
    wire::Wire,
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Approvals) -> Result<Exit, Failure> {
    match command {
        Approvals::List => list(wire).await,
        Approvals::Show { id } => show(wire, id).await,
    }
}

async fn list(wire: &Wire) -> Result<Exit, Failure> {
    let hub = hub_of_requests(wire).await?;
    let mut query = Query::unfinished().with_status(Status::AwaitingApproval);
    query.order = Order::Oldest;
    let mut sheets = Vec::new();
    loop {
        let page = hub.ledger().query(&query).await?;
        for record in page.records {
            sheets.push(hub.sheet(record.remediation_id).await?);
        }
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    if wire.json {
        print_json(&json!({ "Approvals": sheets }))?;
        return Ok(Exit::Done);
    }
    if sheets.is_empty() {
        say("nothing waits for an approval");
        return Ok(Exit::Done);
    }
    let mut table = Table::new([
        "UNTIL",
        "NEEDS",
        "GIVEN",
        "ACTION",
        "ACCOUNT",
        "RESOURCE",
        "REMEDIATION",
    ]);
    for sheet in sheets {
        let needs = sheet.needs.iter();
        let needs = needs.map(|need| format!("{} {}", need.count, need.role));
        let given = sheet.given.iter().map(|(consent, _)| consent.by.clone());
        let midway = match sheet.cutover {
            Some(cutover) => format!(" (step {})", cutover.step + 1),
            None => String::new(),
        };
        table.row([
            sheet
                .expires
                .map(|expires| format!("{expires:.0}"))
                .unwrap_or_default(),
            needs.collect::<Vec<_>>().join(", "),
            given.collect::<Vec<_>>().join(", "),
            format!("{}{midway}", sheet.received.remediation),
            sheet.received.account.to_string(),
            sheet.received.resource_id,
            sheet.remediation_id.to_string(),
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(Exit::Done)
}

async fn show(wire: &Wire, id: RemediationId) -> Result<Exit, Failure> {
    let hub = hub_of_requests(wire).await?;
    let sheet = hub.sheet(id).await?;
    if wire.json {
        print_json(&sheet)?;
        return Ok(Exit::Done);
    }
    let color = Color::out();
    let (state, _) = hub.ledger().state(id).await?;
    let mut lines = vec![heading(&sheet.received, &hub)];
    lines.push(format!("  {}", color.bold(sheet.status)));
    lines.push(format!("  asked for by {}", clean(&sheet.requester)));
    lines.extend(
        sheet
            .reasons
            .iter()
            .map(|reason| format!("  {}", clean(reason))),
    );
    if !sheet.impact.is_empty() {
        lines.push(format!("  {} {}", sheet.impact, sheet.undo));
    }
    match &sheet.plan {
        Some(plan) => lines.extend([changes(plan, color), requests(plan, color)]),
        None if state.plan.is_some() => lines.push(color.red(
            "  the plan in the ledger is not the one that was decided on: it cannot be approved",
        )),
        None => {}
    }
    lines.extend(touched(&sheet.facts));
    lines.push(color.dim(format!("  plan {}", sheet.plan_hash)));
    if let Some(approval) = &state.approval {
        lines.push(waiting(approval, color));
        if sheet.status == Status::AwaitingApproval {
            let hash = sheet.plan_hash.get(..12).unwrap_or_default();
            lines.push(format!("  approve with: stanch approve {id} --plan {hash}"));
            lines.push(format!("  reject with: stanch reject {id} --reason …"));
        }
    }
    print(lines.join("\n"))?;
    Ok(Exit::Done)
}
