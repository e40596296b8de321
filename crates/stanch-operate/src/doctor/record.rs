//! The ledger: what it says of remediations that should have ended, and that did not last.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use stanch_ledger::{Query, Record, Status};

use super::{Issue, LEDGER, Line, State, look::Look};

/// How long a remediation may be at work.
const AT_WORK: SignedDuration = SignedDuration::from_hours(1);

/// For how long a fix should last.
const LASTING: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Remediations that are looked at.
const RECENT: u32 = 1_000;

/// Everything that the ledger tells.
pub async fn examine(own: &Look<'_>, lines: &mut Vec<Line>) {
    let Some(ledger) = own.patient.ledger else {
        lines.push(own.line(
            Issue::NotFixed,
            LEDGER,
            State::Unknown,
            "there is none here",
            "name it with `--ledger` or in the configuration",
        ));
        return;
    };
    let now = own.patient.now;
    let broken = |error: stanch_ledger::LedgerError| {
        own.line(
            Issue::NotFixed,
            LEDGER,
            State::Problem,
            stanch_types::chain(&error),
            "keep it as evidence, and restore a backup",
        )
        .command("stanch ledger verify")
    };
    let unfinished = match ledger.unfinished().await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            lines.push(broken(error));
            return;
        }
    };
    let stuck: Vec<&Record> = unfinished
        .iter()
        .filter(|record| {
            !matches!(
                record.status,
                Status::AwaitingApproval | Status::Deferred | Status::Paused
            )
        })
        .filter(|record| now.duration_since(record.updated_at) > AT_WORK)
        .collect();
    lines.push(match stuck.first() {
        None => own.good(Issue::Stuck, "remediations at work", format!("{}, none without news for an hour", unfinished.len())),
        Some(one) => own
            .line(Issue::Stuck, "remediations at work", State::Problem, format!("{} without news for more than an hour, the first {}", stuck.len(), one.remediation_id), "is `stanch serve` or the sweep running? Either goes on with it, and looks at the resource first")
            .command(format!("stanch logs {}", one.remediation_id)),
    });
    match ledger.dead_letters(100).await {
        Ok(letters) if letters.is_empty() => {
            lines.push(own.good(Issue::Stuck, "dead letters", "none"))
        }
        Ok(letters) => lines.push(
            own.line(
                Issue::Stuck,
                "dead letters",
                State::Warning,
                format!(
                    "{}{}",
                    letters.len(),
                    if letters.len() == 100 { " or more" } else { "" }
                ),
                "look at them; `stanch deadletter retry` takes one in again",
            )
            .command("stanch deadletter list"),
        ),
        Err(error) => lines.push(broken(error)),
    }
    let since = now.saturating_sub(LASTING).ok();
    let recent = match ledger
        .query(&Query::all().between(since, None).limit(RECENT))
        .await
    {
        Ok(page) => page.records,
        Err(error) => {
            lines.push(broken(error));
            return;
        }
    };
    lines.push(returned(own, &recent));
    lines.push(failed(own, &recent));
    let untold = recent
        .iter()
        .filter(|record| record.status.is_final() && !record.notification_sent)
        .count();
    let ended = recent
        .iter()
        .filter(|record| record.status.is_final())
        .count();
    lines.push(match untold {
        0 => own.good(
            Issue::Notifications,
            "remediations that nobody was told of",
            "none in 7 days",
        ),
        untold => own.line(
            Issue::Notifications,
            "remediations that nobody was told of",
            State::Warning,
            format!("{untold} of {ended} in 7 days"),
            "set `notify.webhooks` or `logs`, or see the lines about the topic",
        ),
    });
}

/// Fixed, and found again since.
fn returned(own: &Look<'_>, recent: &[Record]) -> Line {
    const WHAT: &str = "findings that came back after a fix";
    let mut fixed: BTreeMap<(&str, &str, &str), &Record> = BTreeMap::new();
    let mut back = Vec::new();
    // The newest are first.
    for record in recent.iter().rev() {
        let key = (
            record.account_id.as_str(),
            &*record.resource_id,
            &*record.remediation_action,
        );
        // What was fine when it was looked at was an old finding.
        if record.status != Status::NothingToDo && fixed.contains_key(&key) {
            back.push(record);
        }
        if record.status == Status::Success && !record.undone {
            fixed.insert(key, record);
        } else {
            fixed.remove(&key);
        }
    }
    match back.last() {
        None => own.good(Issue::NotFixed, WHAT, "none in 7 days"),
        Some(one) => own
            .line(Issue::NotFixed, WHAT, State::Warning, format!("{} in 7 days, the last {}", back.len(), one.resource_id), "somebody or something changes it back: look for it in CloudTrail, or exempt the resource")
            .command(format!("stanch ledger list --resource '{}'", one.resource_id)),
    }
}

/// What failed, and why: a missing permission is said in AWS's words.
fn failed(own: &Look<'_>, recent: &[Record]) -> Line {
    const WHAT: &str = "remediations that failed";
    let failed: Vec<&Record> = recent
        .iter()
        .filter(|record| record.status == Status::Failed)
        .collect();
    let Some(last) = failed.first() else {
        return own.good(Issue::NotFixed, WHAT, "none in 7 days");
    };
    let why = last
        .error_message
        .as_deref()
        .unwrap_or("no reason is recorded");
    let denied = ["AccessDenied", "UnauthorizedOperation", "not authorized"]
        .iter()
        .any(|word| why.contains(word));
    let advice = match denied {
        true => {
            "a permission is missing: update the member stack, or look for a service control policy that denies it"
        }
        false => "look at its lines",
    };
    own.line(
        Issue::NotFixed,
        WHAT,
        State::Warning,
        format!("{} in 7 days, the last: {why}", failed.len()),
        advice,
    )
    .command(format!("stanch logs {}", last.remediation_id))
}
