//! `stanch rollback`.

use serde_json::{Value, json};
use stanch_hub::{Drift, Hub, RequestError, Rollback, Selection};
use stanch_ledger::{RemediationId, Status, Verdict};

use crate::{
    cli,
    commands::{
        fix::{changes, hub_of_requests, requests, word},
        ledger::moment,
    },
    output::{Color, Diff, Exit, Failure, clean, print, print_json, say, state_lines},
    wire::Wire,
};

/// Takes one change back, or many.
pub async fn rollback(wire: &Wire, options: cli::Rollback) -> Result<Exit, Failure> {
    let hub = hub_of_requests(wire)?;
    let by = wire.person(options.person.name)?;
    let Some(id) = options.id else {
        let since = options.since.as_deref();
        let selection = Selection {
            account: options.account,
            control: options.control,
            since: since
                .map(|text| moment(text, wire.clock.now()))
                .transpose()?,
        };
        return many(wire, &hub, &selection, &by, options.yes, options.force).await;
    };
    let done = match hub.rollback(id, &by, options.dry_run, options.force).await {
        Ok(rollback) => rollback,
        Err(RequestError::Drift(drift)) => {
            if wire.json {
                print_json(&json!({ "drift": drift }))?;
            } else {
                print(drifted(&drift))?;
            }
            return Err(RequestError::Drift(drift).into());
        }
        Err(error) => return Err(error.into()),
    };
    if wire.json {
        print_json(&as_json(id, &done))?;
    } else {
        print(report(id, &done))?;
    }
    Ok(ended(&done))
}

/// Takes back what a selection means, the newest first: what a later change stands on goes first.
async fn many(
    wire: &Wire,
    hub: &Hub,
    selection: &Selection,
    by: &str,
    yes: bool,
    force: bool,
) -> Result<Exit, Failure> {
    let found = hub.undoable(selection).await?;
    let mut exit = Exit::Done;
    let mut all: Vec<Value> = Vec::new();
    for record in &found {
        let id = record.remediation_id;
        match hub.rollback(id, by, !yes, force).await {
            Ok(done) => {
                exit = worse(exit, ended(&done));
                if wire.json {
                    all.push(as_json(id, &done));
                } else {
                    print(report(id, &done))?;
                }
            }
            Err(error) => {
                if wire.json {
                    all.push(json!({ "id": id, "error": stanch_types::chain(&error),
                        "drift": match &error { RequestError::Drift(drift) => json!(drift), _ => Value::Null } }));
                } else {
                    say(format_args!(
                        "{}: {}",
                        clean(&record.resource_id),
                        stanch_types::chain(&error)
                    ));
                    if let RequestError::Drift(drift) = &error {
                        print(drifted(drift))?;
                    }
                }
                exit = worse(exit, Failure::from(error).exit);
            }
        }
    }
    if wire.json {
        print_json(&json!({ "rollbacks": all }))?;
    }
    match (found.is_empty(), yes) {
        (true, _) => say("no successful change fits"),
        (false, false) => say("nothing was changed; `--yes` takes all of it back"),
        (false, true) => {}
    }
    Ok(exit)
}

/// The one to end with: a failure before a refusal, before something that waits.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit: &Exit| match exit {
        Exit::Done => 0,
        Exit::Waiting => 1,
        Exit::Refused => 2,
        _ => 3,
    };
    if weight(&other) > weight(&one) {
        other
    } else {
        one
    }
}

fn ended(done: &Rollback) -> Exit {
    match (done.status, done.verdict) {
        (None | Some(Status::Undone), _) => Exit::Done,
        (Some(Status::AwaitingApproval | Status::Paused), _) => Exit::Waiting,
        (Some(_), Verdict::Refuse | Verdict::Defer { .. }) => Exit::Refused,
        // Done again.
        (Some(Status::Success | Status::NothingToDo), _) => Exit::Done,
        _ => Exit::Failed,
    }
}

fn as_json(id: RemediationId, done: &Rollback) -> Value {
    json!({ "id": id, "plan": done.plan, "planHash": done.plan.hash(), "verdict": done.verdict,
        "reasons": done.reasons, "status": done.status, "error": done.error })
}

fn report(id: RemediationId, done: &Rollback) -> String {
    let Rollback {
        plan,
        status,
        error,
        ..
    } = done;
    let color = Color::out();
    let mut lines = vec![format!(
        "{} on {}",
        color.bold(&plan.remediation),
        plan.resource.id
    )];
    match (status, done.verdict) {
        (None, verdict) => {
            lines.extend([changes(plan, color), requests(plan, color)]);
            if verdict != Verdict::Run {
                lines.extend(
                    done.reasons
                        .iter()
                        .map(|reason| format!("  {}", clean(reason))),
                );
            }
        }
        (Some(Status::Undone), _) => lines.push(format!(
            "  {}: it is as it was before the change",
            color.yellow("undone")
        )),
        (Some(Status::AwaitingApproval), _) => {
            lines.extend([changes(plan, color), requests(plan, color)]);
            lines.extend(
                done.reasons
                    .iter()
                    .map(|reason| format!("  {}", clean(reason))),
            );
            lines.push(format!("  approve with: stanch approve {id}"));
        }
        (Some(_), Verdict::Refuse | Verdict::Defer { .. }) => {
            lines.push(format!("  {}", color.red("refused")));
            lines.extend(
                done.reasons
                    .iter()
                    .map(|reason| format!("  {}", clean(reason))),
            );
        }
        (Some(status), _) => {
            let error = error.as_ref().map(|error| format!(": {}", clean(error)));
            lines.push(format!(
                "  {}{}",
                word(*status, color),
                error.unwrap_or_default()
            ));
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

fn drifted(drift: &Drift) -> String {
    let color = Color::out();
    let since = |before, after| {
        Diff {
            before,
            after,
            indent: "    ",
            color,
        }
        .to_string()
    };
    format!(
        "before the remediation\n{}\nby the remediation\n{}\nby somebody else since\n{}",
        state_lines(&drift.before, "    "),
        since(&drift.before, &drift.after),
        since(&drift.after, &drift.now),
    )
}
