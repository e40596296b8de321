//! `stanch plan`, `remediate`, `approve` and `reject`.

use std::{
    collections::HashSet,
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use stanch_catalog::{Fact, Plan, PlannedAction};
use stanch_hub::{
    Approver, Buried, Hub, Previewed, Skipped, Source, Taken, Worked, line, mask_plan, masked_plan,
};
use stanch_ledger::{
    Approval, Means, MemoryLedger, Received, RemediationId, Secrets, State, Status, Verdict,
};

use crate::{
    cli::{Finding, Person},
    commands::read_event,
    output::{
        Color, Diff, Exit, Failure, clean, indented, print, print_json, say, state_lines, with,
    },
    wire::Wire,
};

/// Shows what would be done. Nothing is written, neither to AWS nor to the ledger.
pub async fn plan(wire: &Wire, finding: Finding) -> Result<Exit, Failure> {
    let (name, bytes) = read_event(&finding.file)?;
    let source = Source::person(name, wire.person(finding.person.name)?);
    let settings = wire.resolved.config.settings();
    let hub = match wire.existing_ledger() {
        // What an account may do depends on the ring that it was moved to.
        Ok(_) if !settings.rollout.rings.is_empty() => {
            wire.hub(wire.ledger_to_read()?, settings, Vec::new())
                .await?
        }
        _ => {
            wire.hub(Arc::new(MemoryLedger::new()), settings, Vec::new())
                .await?
        }
    };
    let preview = hub.preview(&source, &bytes).await;
    let mut exit = if preview.unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    for previewed in &preview.findings {
        exit = exit.and(foreseen(previewed));
    }
    if wire.json {
        print_json(&preview)?;
        return Ok(exit);
    }
    let mut parts: Vec<String> = preview
        .findings
        .iter()
        .map(|one| describe(one, &hub))
        .collect();
    parts.extend(preview.skipped.iter().map(skipped));
    if parts.is_empty() && preview.unreadable.is_empty() {
        parts.push("nothing to do: there is no finding in it".to_owned());
    }
    if !parts.is_empty() {
        print(parts.join("\n\n"))?;
    }
    preview.unreadable.iter().for_each(complain);
    Ok(exit)
}

fn foreseen(previewed: &Previewed) -> Exit {
    match (&previewed.verdict, &previewed.error) {
        (Some(Verdict::Refuse), _) => Exit::Refused,
        (Some(Verdict::NeedsApproval | Verdict::Defer { .. }), _) => Exit::Waiting,
        (_, Some(_)) if previewed.received.problem.is_some() => Exit::Refused,
        (_, Some(_)) => Exit::Failed,
        _ => Exit::Done,
    }
}

fn describe(previewed: &Previewed, hub: &Hub) -> String {
    let color = Color::out();
    let mut lines = vec![heading(&previewed.received, hub)];
    if let Some(error) = &previewed.error {
        let word = if previewed.received.problem.is_some() {
            "refused"
        } else {
            "failed"
        };
        lines.push(format!("  {}: {}", color.red(word), clean(error)));
        return lines.join("\n");
    }
    let Some(plan) = &previewed.plan else {
        return lines.join("\n");
    };
    if plan.compliant {
        lines.push(format!(
            "  {}: it is as it should be",
            color.green("nothing to do")
        ));
        lines.push(state_lines(&plan.state, "    "));
        return lines.join("\n");
    }
    lines.push(changes(plan, color));
    lines.push(requests(plan, color));
    lines.extend(touched(&facts(plan, hub)));
    let verdict = match previewed.verdict {
        Some(Verdict::Run) => color.green("runs"),
        Some(Verdict::Refuse) => color.red("refuses"),
        Some(Verdict::NeedsApproval) => color.yellow("waits for an approval"),
        Some(Verdict::Defer { until }) => color.yellow(format!("waits until {until:.0}")),
        None => String::new(),
    };
    lines.push(format!(
        "  guard {verdict}: {}",
        previewed.reasons.join("; ")
    ));
    lines.push(color.dim(format!(
        "  plan {}",
        previewed.plan_hash.as_deref().unwrap_or_default()
    )));
    lines.join("\n")
}

pub fn heading(received: &Received, hub: &Hub) -> String {
    let color = Color::out();
    let title = hub
        .catalog()
        .get(&received.remediation)
        .map(|remediation| remediation.title.clone());
    let what = match title {
        Some(title) => format!("{}: {title}", color.bold(&received.remediation)),
        None => color.bold("no remediation"),
    };
    format!(
        "{what}\n  {} on {}, account {}, {}",
        clean(&received.control),
        clean(&received.resource_id),
        received.account,
        received.region
    )
}

/// What the resource is now, and what becomes of it as far as the requests tell.
pub fn changes(plan: &Plan, color: Color) -> String {
    let after = stanch_hub::foreseen(plan);
    if after == plan.state {
        return format!("  now\n{}", state_lines(&plan.state, "    "));
    }
    let diff = Diff {
        before: &plan.state,
        after: &after,
        indent: "    ",
        color,
    };
    format!("  change\n{diff}")
}

pub fn requests(plan: &Plan, color: Color) -> String {
    let mut lines = vec!["  requests".to_owned()];
    for (index, step) in plan.steps.iter().enumerate() {
        let number = index + 1;
        match &step.action {
            PlannedAction::Call { call, .. } => {
                lines.push(format!("    {number}. {}", color.bold(call)));
                lines.push(indented(&call.params, "       "));
            }
            PlannedAction::Wait {
                call,
                select,
                values,
                timeout,
            } => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let until = values.join(" or ");
                lines.push(format!(
                    "    {number}. wait until {call} answers {until} at `{select}`, for {timeout} s at most"
                ));
            }
            PlannedAction::Sleep { seconds } => {
                lines.push(format!("    {number}. wait for {seconds} s"))
            }
            PlannedAction::Approve { message } => {
                lines.push(format!(
                    "    {number}. wait until somebody approves: {}",
                    clean(message)
                ));
            }
        }
    }
    lines.join("\n")
}

fn facts(plan: &Plan, hub: &Hub) -> Vec<Fact> {
    let remediation = hub.catalog().get(&plan.remediation);
    remediation
        .map(|remediation| plan.impact.shown(&remediation))
        .unwrap_or_default()
}

/// What the change may touch, as far as that was looked at.
pub fn touched(facts: &[Fact]) -> Option<String> {
    let lines = facts.iter().map(|fact| clean(&fact.to_string()));
    let lines: Vec<String> = lines.map(|line| format!("    {line}")).collect();
    (!lines.is_empty()).then(|| format!("  what it may touch\n{}", lines.join("\n")))
}

fn skipped(skipped: &Skipped) -> String {
    format!(
        "nothing to do for {}: {}",
        clean(&skipped.finding),
        skipped.reason
    )
}

fn complain(buried: &Buried) {
    Failure::failed(&buried.reason).hint(&buried.hint).print();
}

/// Fixes the findings of an event, as asked for by a person.
pub async fn remediate(wire: &Wire, finding: Finding) -> Result<Exit, Failure> {
    let (name, bytes) = read_event(&finding.file)?;
    let person = wire.person(finding.person.name)?;
    let mut source = Source::person(name, person.clone());
    if let Some(code) = &finding.person.mfa {
        wire.second_factor(&person, code).await?;
        source.mfa = true;
    }
    deliver(wire, &source, &bytes).await.map(|(exit, _)| exit)
}

/// Takes an event in, works on it to the end, and says what came of it.
pub async fn deliver(wire: &Wire, source: &Source, bytes: &[u8]) -> Result<(Exit, Taken), Failure> {
    let hub = wire.hub(
        wire.ledger()?,
        wire.resolved.config.settings(),
        wire.terminal(),
    );
    let hub = hub.await?;
    let work = Arc::clone(&hub);
    let workers = tokio::spawn(async move { work.until_finished().await });
    let taken = hub.take(source, bytes).await;
    hub.finish();
    let taken = taken?;
    let worked = progress(&hub, &taken.admitted, workers).await?;
    // Of two processes one admits a finding, and either may deal with it.
    let overtaken = worked.iter().filter_map(|(id, worked)| match worked {
        Worked::Stood(state) if state.status.is_final() => Some(*id),
        _ => None,
    });
    let overtaken: HashSet<RemediationId> = overtaken.collect();
    // What an earlier run left unfinished is finished now.
    let mut finished = HashSet::new();
    for id in &taken.duplicates {
        if hub.handled(*id).await?.1 {
            finished.insert(*id);
        }
    }
    let mut exit = if taken.buried.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    let mut done = Vec::new();
    for (ids, known) in [(&taken.admitted, false), (&taken.duplicates, true)] {
        for id in ids {
            let (state, _) = hub.ledger().state(*id).await?;
            exit = exit.and(ended(state.status, &state));
            done.push((*id, state, known));
        }
    }
    if wire.json {
        let mut remediations = Vec::new();
        for (id, state, known) in &done {
            remediations.push(with(as_json(&hub, *id, state).await?, "Duplicate", *known));
        }
        let skipped = &taken.skipped;
        let buried = &taken.buried;
        print_json(&json!({ "remediations": remediations, "skipped": skipped, "buried": buried }))?;
        all_finished(worked)?;
        return Ok((exit, taken));
    }
    let mut parts: Vec<String> = done
        .iter()
        .map(|(id, state, known)| {
            let before = overtaken.contains(id) || *known && !finished.contains(id);
            report(*id, state, before, &hub)
        })
        .collect();
    parts.extend(taken.skipped.iter().map(skipped));
    if parts.is_empty() && taken.buried.is_empty() {
        parts.push("nothing to do: there is no finding in it".to_owned());
    }
    if !parts.is_empty() {
        print(parts.join("\n\n"))?;
    }
    for buried in &taken.buried {
        complain(buried);
        say(format_args!(
            "it is kept: `stanch deadletter show {}`",
            buried.id
        ));
    }
    all_finished(worked)?;
    Ok((exit, taken))
}

/// Fails where the ledger failed in the middle of a remediation: it stands there, and is gone on with.
fn all_finished(worked: Vec<(RemediationId, Worked)>) -> Result<(), Failure> {
    for (id, worked) in worked {
        if let Worked::Failed(error) = worked {
            let failure = Failure::from(error);
            let message = format!("remediation {id} is unfinished: {}", failure.message);
            let why = failure
                .hint
                .map(|hint| format!("{hint}; "))
                .unwrap_or_default();
            return Err(
                Failure::failed(message).hint(format!("{why}the same command goes on with it"))
            );
        }
    }
    Ok(())
}

/// Waits for the workers. At a terminal it says how far they are; Ctrl-C lets them finish what they
/// have in hand.
async fn progress(
    hub: &Arc<Hub>,
    ids: &[RemediationId],
    workers: tokio::task::JoinHandle<Vec<(RemediationId, Worked)>>,
) -> Result<Vec<(RemediationId, Worked)>, Failure> {
    let terminal = io::stderr().is_terminal() && ids.len() > 1;
    let mut workers = std::pin::pin!(workers);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut settled = 0;
    loop {
        tokio::select! {
            ended = &mut workers => {
                if terminal {
                    let _ = write!(io::stderr(), "\r\x1b[K");
                }
                return ended.map_err(|error| Failure::of(&error));
            }
            _ = tokio::signal::ctrl_c() => {
                say("finishing what is in hand; the ledger keeps the rest");
                hub.stop();
            }
            _ = tick.tick(), if terminal => {
                while let Some(id) = ids.get(settled) {
                    let status = hub.ledger().record(*id).await?.status;
                    if !status.is_final() && !matches!(status, Status::AwaitingApproval | Status::Deferred | Status::Paused) {
                        break;
                    }
                    settled += 1;
                }
                let _ = write!(io::stderr(), "\r\x1b[K{settled} of {} done", ids.len());
            }
        }
    }
}

/// The exit code of a remediation that stands there.
pub fn ended(status: Status, state: &State) -> Exit {
    match status {
        Status::Success | Status::NothingToDo | Status::Skipped => Exit::Done,
        // Taken back because someone asked is done; because it had failed, is not.
        Status::Undone if state.error.is_none() => Exit::Done,
        Status::Refused => Exit::Refused,
        Status::AwaitingApproval | Status::Deferred | Status::Paused => Exit::Waiting,
        _ if stanch_hub::execution(state).is_some() => Exit::Waiting,
        _ => Exit::Failed,
    }
}

async fn as_json(hub: &Hub, id: RemediationId, state: &State) -> Result<Value, Failure> {
    let record = hub.ledger().record(id).await?;
    let plan = state.plan.as_ref();
    let mut secrets = hub.secrets_of(state);
    Ok(json!({
        "Record": record,
        "Plan": plan.map(|planned| masked_plan(&mut secrets, &planned.plan)),
        "PlanHash": plan.map(|planned| &planned.plan_hash),
        "Before": plan.map(|planned| masked(&mut secrets, &planned.observed)),
        "After": state.verified.as_ref().map(|verified| masked(&mut secrets, &verified.observed)),
        "Reasons": state.decision.as_ref().map(|decision| &decision.decided.reasons),
    }))
}

fn masked(secrets: &mut Secrets, value: &Value) -> Value {
    let mut value = value.clone();
    secrets.mask(&mut value);
    value
}

pub fn word(status: Status, color: Color) -> String {
    match status {
        Status::Success => color.green("fixed"),
        Status::NothingToDo => color.green("nothing to do"),
        Status::Undone => color.yellow("undone"),
        Status::Refused => color.red("refused"),
        Status::Skipped => "skipped".to_owned(),
        Status::AwaitingApproval => color.yellow("waiting for an approval"),
        Status::Deferred => color.yellow("waiting"),
        Status::Paused => color.yellow("stopped while changes are paused"),
        Status::Failed => color.red("failed"),
        Status::UndoFailed => color.red("neither fixed nor put back"),
        _ => color.yellow("unfinished"),
    }
}

fn report(id: RemediationId, state: &State, known: bool, hub: &Hub) -> String {
    let color = Color::out();
    let mut lines = vec![heading(&state.received, hub)];
    let took = match state.duration_ms {
        Some(took) if !known && state.status == Status::Success => format!(" in {took} ms"),
        _ => String::new(),
    };
    let known = if known {
        " (this finding was dealt with before)"
    } else {
        ""
    };
    lines.push(format!("  {}{took}{known}", word(state.status, color)));
    if let Some(error) = &state.error {
        lines.push(format!("    {}", clean(error)));
    }
    if let Some(planned) = &state.plan {
        let mut secrets = hub.secrets_of(state);
        let after = state.verified.as_ref().map(|verified| &verified.observed);
        match after {
            Some(after) if state.status != Status::Undone => {
                let diff = Diff {
                    before: &masked(&mut secrets, &planned.observed),
                    after: &masked(&mut secrets, after),
                    indent: "    ",
                    color,
                }
                .to_string();
                lines.extend((!diff.is_empty()).then_some(diff));
            }
            None if state.status == Status::AwaitingApproval => {
                if let Ok(mut plan) = serde_json::from_value::<Plan>(planned.plan.clone()) {
                    mask_plan(&mut secrets, &mut plan);
                    lines.push(changes(&plan, color));
                    lines.push(requests(&plan, color));
                    lines.extend(touched(&facts(&plan, hub)));
                }
            }
            _ => {}
        }
    }
    if state.status == Status::AwaitingApproval {
        let reasons = state
            .decision
            .iter()
            .flat_map(|decision| &decision.decided.reasons);
        lines.extend(reasons.map(|reason| format!("  {reason}")));
        lines.extend(state.approval.iter().map(|asked| waiting(asked, color)));
        lines.push(format!(
            "  approve with: stanch approve {id}{}",
            plan_flag(state)
        ));
    }
    if let Some(execution) = stanch_hub::execution(state) {
        lines.push(format!(
            "  carried out by Systems Manager as execution {execution}; give the same finding again to look at it"
        ));
    }
    if state.status == Status::Success {
        lines.push(color.dim(format!("  undo with: stanch rollback {id}")));
    } else {
        lines.push(color.dim(format!("  remediation {id}")));
    }
    lines.join("\n")
}

/// The flag by which an approval names the plan that was shown.
fn plan_flag(state: &State) -> String {
    let hash = state
        .plan
        .as_ref()
        .map(|planned| planned.plan_hash.as_str());
    hash.and_then(|hash| hash.get(..12))
        .map(|hash| format!(" --plan {hash}"))
        .unwrap_or_default()
}

/// What people are asked for, who has answered, and what is different from what they saw before.
pub fn waiting(approval: &Approval, color: Color) -> String {
    let request = &approval.request;
    let mut lines = Vec::new();
    if let Some(cutover) = &request.cutover {
        lines.push(format!(
            "  {} step {}: {}",
            color.yellow("it has begun, and waits at"),
            cutover.step + 1,
            clean(&cutover.message)
        ));
    }
    if let Some(changed) = &request.changed {
        lines.push(color.yellow("  different from what was shown before"));
        lines.extend(
            changed
                .changes
                .iter()
                .map(|change| format!("    {}", line(change))),
        );
    }
    for need in &request.needs {
        lines.push(format!(
            "  needs {} of {}: {}",
            need.count,
            clean(&need.role),
            clean(&need.people.join(", "))
        ));
    }
    for (consent, at) in &approval.given {
        lines.push(format!(
            "  {} by {} as {} at {at:.0}",
            color.green("approved"),
            clean(&consent.by),
            clean(&consent.role)
        ));
    }
    lines.push(format!("  until {:.0}", request.expires));
    lines.join("\n")
}

async fn show(wire: &Wire, hub: &Hub, id: RemediationId, state: &State) -> Result<Exit, Failure> {
    let exit = ended(state.status, state);
    if wire.json {
        print_json(&as_json(hub, id, state).await?)?;
    } else {
        print(report(id, state, false, hub))?;
    }
    Ok(exit)
}

pub async fn hub_of_requests(wire: &Wire) -> Result<Arc<Hub>, Failure> {
    wire.existing_ledger()?;
    wire.hub(
        wire.ledger()?,
        wire.resolved.config.settings(),
        wire.terminal(),
    )
    .await
}

/// Approves a plan and carries it out.
pub async fn approve(wire: &Wire, id: RemediationId, approver: Approver) -> Result<Exit, Failure> {
    let hub = hub_of_requests(wire).await?;
    let state = match wire.works_elsewhere() {
        true => {
            let state = hub.consent(id, &approver).await?;
            wire.call_for(id).await;
            state
        }
        false => hub.approve(id, approver).await?,
    };
    show(wire, &hub, id, &state).await
}

/// Says no to a plan.
pub async fn reject(
    wire: &Wire,
    id: RemediationId,
    person: Person,
    reason: &str,
) -> Result<Exit, Failure> {
    let hub = hub_of_requests(wire).await?;
    let person = wire.person(person.name)?;
    let state = match wire.works_elsewhere() {
        true => {
            let state = hub.refuse(id, &person, reason, Means::Cli).await?;
            wire.call_for(id).await;
            state
        }
        false => hub.reject(id, &person, reason).await?,
    };
    show(wire, &hub, id, &state).await?;
    // It was asked for and done.
    Ok(Exit::Done)
}
