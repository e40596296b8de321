//! `stanch logs`: one remediation in every log.

use stanch_ledger::RemediationId;
use stanch_operate::logs::{self, Source};

use crate::{
    accounts::{Organization, installation},
    output::{Color, Exit, Failure, Table, print, print_json, say},
    wire::Wire,
};

/// Prints what was logged, and says what could not be read.
pub async fn run(wire: &Wire, id: RemediationId) -> Result<Exit, Failure> {
    let entries = wire.ledger_to_read()?.entries(id).await?;
    let installation = installation(wire)?;
    let organization = Organization::of(wire)?;
    let gathered = logs::gather(&organization, &installation, id, &entries, wire.clock.now()).await;
    if wire.json {
        print_json(&gathered)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["TIME", "FROM", "WHERE", "WHAT"]);
    for line in &gathered.lines {
        let request = line
            .request_id
            .as_ref()
            .map(|id| format!(" (request {id})"));
        table.row([
            format!("{:.3}", line.at),
            line.source.to_string(),
            line.place.clone(),
            format!("{}{}", line.text, request.unwrap_or_default()),
        ]);
    }
    print(table.render(Color::out()))?;
    for unread in &gathered.unread {
        say(format_args!(
            "not read, {} of {}: {}",
            name(unread.source),
            unread.place,
            unread.why
        ));
    }
    Ok(Exit::Done)
}

const fn name(source: Source) -> &'static str {
    match source {
        Source::Ledger => "the ledger",
        Source::StepFunctions => "the state machine's history",
        Source::CloudWatch => "the functions' logs",
        Source::Automation => "Automation's steps",
        Source::CloudTrail => "CloudTrail",
    }
}
