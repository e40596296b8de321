//! `stanch rollback`.

use serde::Deserialize;
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
    let hub = hub_of_requests(wire).await?;
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
        let turn = Turn {
            by,
            dry_run: !options.yes,
            force: options.force,
        };
        return many(wire, &hub, &selection, &turn).await;
    };
    let turn = Turn {
        by,
        dry_run: options.dry_run,
        force: options.force,
    };
    let done = match turn.back(wire, &hub, id).await {
        Ok(rollback) => rollback,
        Err(Refused { failure, drift }) => {
            match drift {
                Some(drift) if wire.json => print_json(&json!({ "drift": drift }))?,
                Some(drift) => print(drifted(&drift))?,
                None => {}
            }
            return Err(failure);
        }
    };
    if wire.json {
        print_json(&as_json(id, &done))?;
    } else {
        print(report(id, &done))?;
    }
    Ok(ended(&done))
}

/// How a change is to be taken back.
struct Turn {
    by: String,
    dry_run: bool,
    force: bool,
}

/// Why it was not.
struct Refused {
    failure: Failure,
    /// Somebody else has changed the resource.
    drift: Option<Box<Drift>>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            drift: None,
        }
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        let failure = Failure::from(&error);
        let drift = match error {
            RequestError::Drift(drift) => Some(drift),
            _ => None,
        };
        Self { failure, drift }
    }
}

/// What the orchestrator answers.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done(Box<Rollback>),
    Drift(Box<Drift>),
    #[serde(untagged)]
    Error {
        error: String,
        hint: Option<String>,
        refused: bool,
    },
}

impl Turn {
    /// Here, or by the functions in AWS: only their role may enter accounts.
    async fn back(&self, wire: &Wire, hub: &Hub, id: RemediationId) -> Result<Rollback, Refused> {
        let Self { by, dry_run, force } = self;
        if !wire.works_elsewhere() {
            return Ok(hub.rollback(id, by, *dry_run, *force).await?);
        }
        let stage = json!({"stage": "roll-back", "remediationId": id, "by": by, "dryRun": dry_run, "force": force});
        let answer = wire.ask_orchestrator(&stage).await?;
        match serde_json::from_value(answer) {
            Ok(Answer::Done(rollback)) => Ok(*rollback),
            Ok(Answer::Drift(drift)) => Err(RequestError::Drift(drift).into()),
            Ok(Answer::Error {
                error,
                hint,
                refused,
            }) => {
                let exit = if refused { Exit::Refused } else { Exit::Failed };
                let failure = Failure {
                    exit,
                    ..Failure::failed(error)
                };
                Err(failure.maybe_hint(hint).into())
            }
            Err(error) => {
                let message = format!("the orchestrator's answer cannot be read: {error}");
                let hint = format!(
                    "is the administrator stack of this version? `stanch ledger show {id}` tells what it did"
                );
                Err(Failure::failed(message).hint(hint).into())
            }
        }
    }
}

/// Takes back what a selection means, the newest first: what a later change stands on goes first.
async fn many(wire: &Wire, hub: &Hub, selection: &Selection, turn: &Turn) -> Result<Exit, Failure> {
    let found = hub.undoable(selection).await?;
    let mut exit = Exit::Done;
    let mut all: Vec<Value> = Vec::new();
    for record in &found {
        let id = record.remediation_id;
        let resource = clean(&record.resource_id);
        match turn.back(wire, hub, id).await {
            Ok(done) => {
                exit = worse(exit, ended(&done));
                if wire.json {
                    all.push(as_json(id, &done));
                } else {
                    print(report(id, &done))?;
                }
            }
            Err(Refused { failure, drift }) => {
                exit = worse(exit, failure.exit);
                let Failure { message, hint, .. } = failure;
                if wire.json {
                    all.push(json!({ "id": id, "error": message, "hint": hint, "drift": drift }));
                } else {
                    say(format_args!("{resource}: {message}"));
                    if let Some(hint) = hint {
                        say(format_args!("  hint: {hint}"));
                    }
                    if let Some(drift) = drift {
                        print(drifted(&drift))?;
                    }
                }
            }
        }
    }
    if wire.json {
        print_json(&json!({ "rollbacks": all }))?;
    }
    match (found.is_empty(), !turn.dry_run) {
        (true, _) => say("no change fits"),
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
        (Some(Status::AwaitingApproval | Status::Paused | Status::Deferred), _) => Exit::Waiting,
        (Some(_), Verdict::Refuse | Verdict::Defer { .. }) => Exit::Refused,
        // Done again.
        (Some(Status::Success | Status::NothingToDo), _) => Exit::Done,
        _ => Exit::Failed,
    }
}

fn as_json(id: RemediationId, done: &Rollback) -> Value {
    json!({ "id": id, "plan": done.plan, "planHash": done.plan_hash, "verdict": done.verdict,
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
            lines.push(match done.verdict {
                Verdict::Defer { until } => {
                    format!("  {}", color.yellow(format!("waits until {until:.0}")))
                }
                _ => format!("  {}", color.red("refused")),
            });
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
    if drift.after.is_null() {
        return format!(
            "before the remediation\n{}\nsince, and nobody knows by whom\n{}",
            state_lines(&drift.before, "    "),
            since(&drift.before, &drift.now),
        );
    }
    format!(
        "before the remediation\n{}\nby the remediation\n{}\nby somebody else since\n{}",
        state_lines(&drift.before, "    "),
        since(&drift.before, &drift.after),
        since(&drift.after, &drift.now),
    )
}
