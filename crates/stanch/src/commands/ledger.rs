//! `stanch ledger`.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
};

use jiff::{Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};
use serde_json::json;
use stanch_ledger::{
    Cursor, Event, Means, Query, Record, RemediationId, Scope, Status, verify_export,
};

use crate::{
    cli::Ledger,
    output::{Color, Exit, Failure, Table, clean, print, print_json, say},
    wire::Wire,
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Ledger) -> Result<Exit, Failure> {
    match command {
        Ledger::List {
            account,
            resource,
            finding,
            since,
            until,
            status,
            limit,
            after,
        } => {
            let scope = match (account, resource, finding) {
                (Some(account), None, None) => Scope::Account(account),
                (None, Some(resource), None) => Scope::Resource(resource),
                (None, None, Some(finding)) => Scope::Finding(finding),
                (None, None, None) => Scope::All,
                _ => {
                    return Err(Failure::usage(
                        "`--account`, `--resource` and `--finding` exclude each other",
                    )
                    .hint("give the narrowest of them"));
                }
            };
            let now = wire.clock.now();
            let when = |text: Option<String>| text.map(|text| moment(&text, now)).transpose();
            let mut query = Query::new(scope)
                .between(when(since)?, when(until)?)
                .limit(limit);
            query.status = status.map(|text| status_named(&text)).transpose()?;
            query.cursor = after.map(Cursor);
            list(wire, &query).await
        }
        Ledger::Show { id } => show(wire, id).await,
        Ledger::Export { out } => {
            let ledger = wire.ledger_to_read()?;
            let count = match &out {
                Some(path) => {
                    let mut file = BufWriter::new(File::create(path).map_err(|error| {
                        Failure::usage(format!("cannot write `{}`: {error}", path.display()))
                    })?);
                    let count = ledger.export(&mut file).await?;
                    file.flush()?;
                    count
                }
                None => ledger.export(&mut BufWriter::new(io::stdout())).await?,
            };
            say(format_args!("{count} events"));
            Ok(Exit::Done)
        }
        Ledger::Verify {
            export: Some(path), ..
        } => {
            let file = File::open(&path).map_err(|error| {
                Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            })?;
            let exported =
                verify_export(io::BufReader::new(file)).map_err(|error| Failure::of(&error))?;
            verified(
                wire,
                &format!(
                    "{} remediations and {} events hold",
                    exported.remediations, exported.events
                ),
            )
        }
        Ledger::Verify { id: Some(id), .. } => {
            wire.ledger_to_read()?.verify(id).await?;
            verified(wire, "the chain holds")
        }
        Ledger::Verify { .. } => {
            let ledger = wire.ledger_to_read()?;
            let mut query = Query::all().limit(Query::MAX_LIMIT);
            let mut count = 0_u64;
            loop {
                let page = ledger.query(&query).await?;
                for record in &page.records {
                    ledger.verify(record.remediation_id).await?;
                    count += 1;
                }
                match page.next {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => return verified(wire, &format!("{count} remediations hold")),
                }
            }
        }
    }
}

fn verified(wire: &Wire, text: &str) -> Result<Exit, Failure> {
    if wire.json {
        print_json(&json!({ "verified": true, "detail": text }))?;
    } else {
        print(text)?;
    }
    Ok(Exit::Done)
}

fn status_named(text: &str) -> Result<Status, Failure> {
    Status::ALL
        .into_iter()
        .find(|status| status.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let names: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
            Failure::usage(format!("there is no status `{text}`"))
                .hint(format!("one of {}", names.join(", ")))
        })
}

/// A date (UTC), a time, or how long ago.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let date = || {
        text.parse::<civil::Date>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(|day| day.timestamp())
    };
    let ago = || {
        let span: Span = text.parse().ok()?;
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        now.checked_sub(span.abs()).ok()
    };
    text.parse().ok().or_else(date).or_else(ago).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no time"))
            .hint("write `2026-01-31`, `2026-01-31T12:00:00Z`, or how long ago: `2h`, `7d`")
    })
}

async fn list(wire: &Wire, query: &Query) -> Result<Exit, Failure> {
    let page = wire.ledger_to_read()?.query(query).await?;
    if wire.json {
        print_json(&json!({ "records": page.records, "next": page.next }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new([
        "TIME",
        "STATUS",
        "CONTROL",
        "ACCOUNT",
        "REGION",
        "RESOURCE",
        "REMEDIATION",
    ]);
    for record in &page.records {
        table.row([
            format!("{:.0}", record.timestamp),
            record.status.to_string(),
            record.control.clone(),
            record.account_id.to_string(),
            record.region.to_string(),
            record.resource_id.clone(),
            record.remediation_id.to_string(),
        ]);
    }
    print(table.render(Color::out()))?;
    if let Some(Cursor(next)) = page.next {
        say(format_args!("more with: --after {next}"));
    }
    Ok(Exit::Done)
}

async fn show(wire: &Wire, id: RemediationId) -> Result<Exit, Failure> {
    let ledger = wire.ledger_to_read()?;
    let record = ledger.record(id).await?;
    let entries = ledger.entries(id).await?;
    if wire.json {
        print_json(&json!({ "Record": record, "Events": entries }))?;
        return Ok(Exit::Done);
    }
    let color = Color::out();
    let mut lines = vec![summary(&record, color)];
    for entry in &entries {
        let detail = clean(&detail(&entry.event));
        lines.push(
            format!("  {:.3}  {:<18} {detail}", entry.at, entry.event.name())
                .trim_end()
                .to_owned(),
        );
    }
    if let Some(last) = entries.last() {
        lines.push(color.dim(format!("  chain ends in {}", last.hash)));
    }
    print(lines.join("\n"))?;
    Ok(Exit::Done)
}

fn summary(record: &Record, color: Color) -> String {
    let error = record
        .error_message
        .as_deref()
        .map(|e| format!("\n  {}", clean(e)))
        .unwrap_or_default();
    format!(
        "{} {}\n  {} {} on {}\n  account {}, {}, asked for by {}{error}",
        color.bold(record.status),
        record.remediation_id,
        clean(&record.control),
        record.remediation_action,
        clean(&record.resource_id),
        record.account_id,
        record.region,
        clean(&record.requester),
    )
}

/// What an event says, in a few words.
fn detail(event: &Event) -> String {
    match event {
        Event::Received(received) => format!("{} from {}", received.finding_id, received.requester),
        Event::Planned(planned) if planned.compliant => "nothing to fix".to_owned(),
        Event::Planned(planned) => format!("plan {}", short(&planned.plan_hash)),
        Event::Decided(decided) => decided.reasons.join("; "),
        Event::ApprovalRequested(request) => {
            let at = request
                .cutover
                .as_ref()
                .map(|cutover| format!(" at step {}", cutover.step + 1))
                .unwrap_or_default();
            let (plan, until) = (short(&request.plan_hash), request.expires);
            format!("of plan {plan}{at}, until {until:.0}")
        }
        Event::Approved(consent) => {
            let how = match &consent.how {
                Means::Cli => String::new(),
                Means::Link(link) => format!(", with link {}", short(link)),
                Means::StepFunctions => ", by Step Functions".to_owned(),
            };
            let plan = short(&consent.plan_hash);
            format!("plan {plan} by {} as {}{how}", consent.by, consent.role)
        }
        Event::Rejected { by, reason, .. } => format!("by {by}: {reason}"),
        Event::ApprovalVoided { reason } | Event::ApprovalLapsed { reason } => reason.clone(),
        Event::Started(started) | Event::UndoStarted(started) => {
            format!("as {}/{}", started.executor_arn, started.session)
        }
        Event::StepStarted(step) => step.call.to_string(),
        Event::StepFinished(step) => match &step.request_id {
            Some(request) => format!("{}, request {request}", outcome(&step.outcome)),
            None => outcome(&step.outcome),
        },
        Event::Verified(verified) if verified.compliant => "compliant".to_owned(),
        Event::Verified(_) => "not compliant".to_owned(),
        Event::Paused { reason } | Event::UndoVoided { reason } => reason.clone(),
        Event::Resumed => String::new(),
        Event::UndoPlanned(undo) => format!("{} ({})", undo.reason, undo.requester),
        Event::Undone { .. } => String::new(),
        Event::UndoFailed { error, .. } => error.clone(),
        Event::Finished {
            status,
            error,
            duration_ms,
        } => match error {
            Some(error) => format!("{status}: {error}"),
            None => format!("{status} after {duration_ms} ms"),
        },
        Event::Notified { channel, error, .. } => match error {
            Some(error) => format!("{channel}: {error}"),
            None => channel.clone(),
        },
    }
}

fn outcome(outcome: &stanch_ledger::StepOutcome) -> String {
    match outcome {
        stanch_ledger::StepOutcome::Ok => "ok".to_owned(),
        stanch_ledger::StepOutcome::Failed { code, message, .. } => format!("{code} {message}"),
        stanch_ledger::StepOutcome::Unknown => "nobody saw its answer".to_owned(),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
