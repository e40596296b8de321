//! `stanch ledger`.

use std::{fs::File, io, path::Path};

use jiff::{Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};
use serde_json::json;
use stanch_ledger::{
    Checkpoint, Cursor, Event, Format, Means, NotACheckpoint, NotAKey, ProofError, Proved, Query,
    Record, RemediationId, Report, Scope, Selection, Status, Trust, VerifierKey, prove_consistency,
    prove_inclusion, verify_export, verify_ledger, verify_proof,
};

use crate::{
    cli::{Ledger, LedgerFormat, Prove},
    commands::archive,
    output::{Color, Exit, Failure, Table, clean, print, print_json, say},
    wire::{Wire, open_witness},
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
        Ledger::Export {
            out,
            format,
            account,
            since,
            until,
        } => {
            let now = wire.clock.now();
            let when = |text: Option<String>| text.map(|text| moment(&text, now)).transpose();
            let selection = Selection {
                since: when(since)?,
                until: when(until)?,
                account,
            };
            let format = match format {
                LedgerFormat::Jsonl => Format::JsonLines,
                LedgerFormat::Csv => Format::Csv,
                LedgerFormat::Parquet => Format::Parquet,
                LedgerFormat::Ocsf => Format::Ocsf,
            };
            archive::write_out(wire, out.as_deref(), format, &selection).await
        }
        Ledger::Backup { file } => archive::back_up(wire, &file).await,
        Ledger::Restore {
            file,
            accept_loss,
            key,
        } => match wire.tables()? {
            Some(tables) => {
                let key = key.map(|key| public_key(&key)).transpose()?;
                archive::restore_tables(wire, &tables, &file, accept_loss, key).await
            }
            None => archive::restore(wire, &file, accept_loss).await,
        },
        Ledger::Expire {
            id,
            reason,
            dry_run,
            person,
        } => archive::expire(wire, id, reason, person.name, dry_run).await,
        Ledger::Verify { id: Some(id), .. } => {
            wire.ledger_to_read()?.verify(id).await?;
            if wire.json {
                print_json(&json!({ "verified": true }))?;
            } else {
                print("the chain holds")?;
            }
            Ok(Exit::Done)
        }
        Ledger::Verify {
            export,
            key,
            witness,
            since,
            ..
        } => {
            let key = key.map(|key| public_key(&key)).transpose()?;
            let since = since.map(|path| kept(&path)).transpose()?;
            let witness = witness.map(|folder| open_witness(&folder)).transpose()?;
            let report = match export {
                Some(path) => {
                    let file = File::open(&path).map_err(|error| {
                        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
                    })?;
                    let trust = Trust {
                        key: key.as_ref(),
                        witness: witness.as_ref(),
                        since: since.as_ref(),
                    };
                    verify_export(io::BufReader::new(file), trust)?
                }
                None => {
                    let ledger = wire.ledger_to_read()?;
                    let key = match key {
                        Some(key) => Some(key),
                        None => wire.verifier().await?,
                    };
                    let mut witness = match witness {
                        Some(copy) => Some(copy),
                        None => wire.witness().await?,
                    };
                    if let Some(witness) = &mut witness {
                        witness.hold().await?;
                    }
                    verify_ledger(ledger, key, witness, since).await?
                }
            };
            verified(wire, &report)
        }
        Ledger::Checkpoint => {
            wire.existing_ledger()?;
            wire.ledger()?;
            let checkpoint = wire.sign().await?;
            print(
                checkpoint
                    .as_ref()
                    .map_or("", Checkpoint::as_note)
                    .trim_end(),
            )?;
            Ok(Exit::Done)
        }
        Ledger::Key => {
            print(wire.signer().await?.key())?;
            Ok(Exit::Done)
        }
        Ledger::Prove(prove) => {
            wire.existing_ledger()?;
            let ledger = wire.ledger()?;
            let checkpoint = ledger.checkpoint(&*wire.signer().await?).await?;
            let proof = match prove {
                Prove::Inclusion { id, event } => {
                    let last = ledger.record(id).await?.events.saturating_sub(1);
                    let event = event.unwrap_or(last);
                    prove_inclusion(&*ledger, &checkpoint, id, event).await?
                }
                Prove::Consistency { since } => {
                    let since = kept(&since)?;
                    prove_consistency(&*ledger, since.size, &checkpoint).await?
                }
            };
            print(proof.trim_end())?;
            Ok(Exit::Done)
        }
        Ledger::VerifyProof { proof, key, since } => {
            let key = key.map(|key| public_key(&key)).transpose()?;
            let since = since.map(|path| kept(&path)).transpose()?;
            let (_, text) = super::read_event(&proof)?;
            let text = String::from_utf8_lossy(&text);
            let proved = verify_proof(&text, key.as_ref(), since.as_ref()).map_err(|error| {
                Failure::of(&error).maybe_hint(match error {
                    ProofError::Old(_) => Some("name its file with `--since`"),
                    _ => None,
                })
            })?;
            proof_holds(wire, &proved, key.is_some())
        }
    }
}

/// A checkpoint that somebody kept in a file.
fn kept(path: &Path) -> Result<Checkpoint, Failure> {
    let (name, text) = super::read_event(path)?;
    let text = String::from_utf8_lossy(&text);
    text.parse().map_err(|error: NotACheckpoint| {
        Failure::usage(format!("cannot use `{name}`: {error}"))
            .hint("`stanch ledger checkpoint` prints one")
    })
}

/// A public key, given as it is or by the name of a file.
fn public_key(text: &str) -> Result<VerifierKey, Failure> {
    let read = std::fs::read_to_string(text);
    let key = read.as_deref().unwrap_or(text).parse();
    key.map_err(|error: NotAKey| {
        Failure::usage(format!("cannot use the key `{text}`: {error}"))
            .hint("`stanch ledger key` prints the ledger's")
    })
}

fn proof_holds(wire: &Wire, proved: &Proved, signed: bool) -> Result<Exit, Failure> {
    let by = if signed {
        "signed by"
    } else {
        "said to be signed by"
    };
    let (shown, text) = match proved {
        Proved::Inclusion {
            event,
            index,
            checkpoint: Checkpoint { size, origin, .. },
        } => (
            json!({ "verified": true, "signed": signed, "event": event, "index": index, "size": size, "origin": origin }),
            format!("event {index} of the {size} of the ledger, {by} `{origin}`:\n{event}"),
        ),
        Proved::Consistency {
            old,
            checkpoint: Checkpoint { size, origin, .. },
        } => (
            json!({ "verified": true, "signed": signed, "old": old, "size": size, "origin": origin }),
            format!(
                "the ledger of {size} events, {by} `{origin}`, begins with the {old} that it had"
            ),
        ),
    };
    if wire.json {
        print_json(&shown)?;
    } else {
        print(text)?;
    }
    if !signed {
        say("the signature was not checked: give the ledger's public key with `--key`");
    }
    Ok(Exit::Done)
}

fn verified(wire: &Wire, report: &Report) -> Result<Exit, Failure> {
    let Report {
        remediations,
        events,
        expired,
        orders,
        covered,
        ..
    } = report;
    if wire.json {
        print_json(&json!({ "verified": report.holds(), "report": report }))?;
    } else {
        for fault in &report.faults {
            print(fault)?;
        }
        if report.more > 0 {
            print(format_args!("and {} more", report.more))?;
        }
        let by = if report.signed {
            "signed"
        } else {
            "not checked for its signature"
        };
        if report.holds() && report.selection {
            let proof = if report.proved {
                format!("are in the ledger of {covered} events, whose checkpoint is {by}")
            } else {
                "agree with themselves, but nothing in them is signed".to_owned()
            };
            print(format_args!(
                "{remediations} remediations and {events} events {proof}; they are a selection: what was left out cannot be seen"
            ))?;
        } else if report.holds() {
            let expired = match expired {
                0 => String::new(),
                expired => format!(", {expired} of them expired"),
            };
            let orders = match orders {
                0 => String::new(),
                1 => ", and the order that was given".to_owned(),
                orders => format!(", and the {orders} orders that were given"),
            };
            let covered = match covered {
                0 => "no checkpoint covers them".to_owned(),
                covered => format!("the checkpoint of {covered} events is {by}"),
            };
            print(format_args!(
                "{remediations} remediations and {events} events hold{expired}{orders}; {covered}"
            ))?;
        }
    }
    if report.holds() {
        return Ok(Exit::Done);
    }
    Err(Failure::failed("the ledger does not hold")
        .hint("keep it as evidence and restore it from a backup: `stanch ledger restore`"))
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
        let shown = json!({ "Record": record, "Events": entries });
        print_json(&stanch_ledger::masked(shown))?;
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
        Event::Expired { by, reason, .. } => format!("{reason} ({by})"),
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
