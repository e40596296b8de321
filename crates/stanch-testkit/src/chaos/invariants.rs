//! What must hold after any history.

use std::time::Duration;

use serde_json::Value;
use stanch_catalog::Plan;
use stanch_ledger::{
    Entry, Event, Given, Ledger, Order, Phase, Query, Record, State, Status, StepOutcome, Trust,
    verify_export,
};

use super::{
    History,
    process::{Sent, hold},
};

/// How long a request that passed the switch may be on its way, and a late effect after it.
const UNDER_WAY: Duration = Duration::from_secs(8);

impl History {
    /// # Errors
    /// The first invariant that does not hold, in words.
    pub(super) async fn check(&self) -> Result<(), String> {
        if Given::broken(&self.directives().await).is_some() {
            return Err("the directives do not verify".to_owned());
        }
        let mut query = Query::all().limit(Query::MAX_LIMIT);
        query.order = Order::Oldest;
        let ledger = &self.shared.ledger;
        let page = ledger
            .query(&query)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(lost) = self
            .deliveries
            .iter()
            .position(|delivery| !delivery.acknowledged)
        {
            return Err(format!("lost: delivery {lost} was never taken"));
        }
        if let Some(lost) = self.admitted.iter().find(|id| {
            page.records
                .iter()
                .all(|record| record.remediation_id != **id)
        }) {
            return Err(format!(
                "lost: {lost} was acknowledged and is not in the ledger"
            ));
        }
        let sent = hold(&self.shared.sent).clone();
        for record in &page.records {
            let id = record.remediation_id;
            let of = |error: String| format!("{id}: {error}");
            if !record.status.is_final() {
                return Err(of(format!("lost: it stays `{}`", record.status)));
            }
            ledger
                .verify(id)
                .await
                .map_err(|error| of(error.to_string()))?;
            let entries = ledger
                .entries(id)
                .await
                .map_err(|error| of(error.to_string()))?;
            let session = format!("stanch-{id}");
            let own: Vec<&Sent> = sent.iter().filter(|sent| sent.session == session).collect();
            read_again(&entries).map_err(of)?;
            planned(&entries, &own).map_err(of)?;
            once(&entries).map_err(of)?;
            seen(&entries, &own).map_err(of)?;
            {
                let mut figures = hold(&self.shared.figures);
                figures.remediations += 1;
                figures.events += entries.len() as u64;
                figures.fixed += u64::from(record.status == Status::Success);
                figures.undone += u64::from(record.status == Status::Undone);
            }
        }
        if let Some(stray) = sent.iter().find(|sent| {
            sent.write
                && !page
                    .records
                    .iter()
                    .any(|record| sent.session == format!("stanch-{}", record.remediation_id))
        }) {
            return Err(format!("`{}` was sent by no remediation", stray.call));
        }
        self.nothing_while_paused(&sent)?;
        self.left_as_recorded(&page.records).await
    }

    /// An export of the ledger holds: its chains, its tree and its checkpoint.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) async fn verifies(&self) -> Result<(), String> {
        let lines = self.export().await?;
        let report = verify_export(&*lines, Trust::default()).map_err(|error| error.to_string())?;
        let head = self.shared.ledger.head().await;
        let events = head.map_err(|error| error.to_string())?.events;
        if report.holds() && report.events == events {
            Ok(())
        } else {
            Err(format!("the ledger does not verify: {report:?}"))
        }
    }

    fn nothing_while_paused(&self, sent: &[Sent]) -> Result<(), String> {
        for Sent {
            call, write, at, ..
        } in sent
        {
            let stopped = self
                .paused
                .iter()
                .any(|(begin, end)| *at > *begin + UNDER_WAY && end.is_none_or(|end| *at < end));
            if *write && stopped {
                return Err(format!(
                    "`{call}` was sent at {} ms, while paused",
                    at.as_millis()
                ));
            }
        }
        Ok(())
    }

    /// The last word of the ledger on each resource is how it is, unless others came after.
    async fn left_as_recorded(&self, records: &[Record]) -> Result<(), String> {
        for bucket in super::BUCKETS {
            let arn = format!("arn:aws:s3:::{bucket}");
            let changed = records
                .iter()
                .filter(|record| record.resource_id == arn && record.started_at.is_some());
            // The last to change it, by the last write that took effect.
            let sent = hold(&self.shared.sent).clone();
            let last_write = sent.iter().rev().find(|sent| {
                sent.effective
                    && sent.call.params.get("Bucket").and_then(Value::as_str) == Some(bucket)
            });
            let Some(last_write) = last_write else {
                continue;
            };
            let other = self.others.iter().rev().find(|(name, _)| *name == bucket);
            if other.is_some_and(|(_, at)| *at >= last_write.at) {
                continue;
            }
            let mut writer = changed
                .filter(|record| format!("stanch-{}", record.remediation_id) == last_write.session);
            let Some(record) = writer.next() else {
                continue;
            };
            let (state, _) = self
                .shared
                .ledger
                .state(record.remediation_id)
                .await
                .map_err(|error| error.to_string())?;
            let now = self
                .shared
                .bucket(&super::account(), &super::region(), bucket)
                .await;
            as_recorded(&state, &now, other.is_some())
                .map_err(|error| format!("{}: {error}", record.remediation_id))?;
        }
        Ok(())
    }
}

/// A resource as the remediation reads it: only what its reads name.
fn like(known: &Value, now: &Value) -> bool {
    let known = known.as_object().into_iter().flatten();
    known
        .into_iter()
        .all(|(name, value)| now.get(name) == Some(value))
}

fn as_recorded(state: &State, now: &Value, disturbed: bool) -> Result<(), String> {
    let (Some(planned), Some(run)) = (&state.plan, &state.run) else {
        return Ok(());
    };
    let before = &planned.observed;
    let fixed = state
        .verified
        .as_ref()
        .filter(|verified| verified.compliant);
    let (holds, what) = match state.status {
        Status::Success => (
            fixed.is_some_and(|verified| like(&verified.observed, now)),
            "fixed",
        ),
        Status::Undone => (like(before, now), "as before"),
        // Others were at it in between, or it is said that nobody knows.
        Status::UndoFailed => return Ok(()),
        Status::Failed if disturbed => return Ok(()),
        Status::Failed if run.may_have_changed() => {
            (like(before, now), "as before, since it failed")
        }
        _ => return Ok(()),
    };
    if holds {
        Ok(())
    } else {
        Err(format!(
            "the resource should be {what}, and is {now}; before: {before}"
        ))
    }
}

/// Every event is read as it was written, and written again as the same bytes: a store that keeps text
/// could not read it otherwise.
fn read_again(entries: &[Entry]) -> Result<(), String> {
    for entry in entries {
        let text = serde_json::to_string(&entry.event).map_err(|error| error.to_string())?;
        let again: Event = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if again != entry.event {
            return Err(format!("`{text}` is read as something else"));
        }
    }
    Ok(())
}

/// Every write was announced, stands in a plan of this remediation, and was sent no more often than
/// announced.
fn planned(entries: &[Entry], own: &[&Sent]) -> Result<(), String> {
    let mut plan: [Option<Plan>; 2] = [None, None];
    let mut announced = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::Planned(planned) => {
                plan = [serde_json::from_value(planned.plan.clone()).ok(), None]
            }
            Event::UndoPlanned(planned) => {
                let [apply, _] = plan;
                plan = [apply, serde_json::from_value(planned.plan.clone()).ok()];
            }
            Event::StepStarted(step) => {
                let [apply, undo] = &plan;
                let held = match step.phase {
                    Phase::Apply => apply,
                    Phase::Undo => undo,
                };
                let held = held
                    .as_ref()
                    .and_then(|plan| plan.steps.get(step.index as usize)?.action.call());
                if held.is_none_or(|held| {
                    held.operation != step.call.operation || !like(&held.params, &step.call.params)
                }) {
                    return Err(format!("`{}` is in no plan", step.call));
                }
                announced.push(&step.call);
            }
            _ => {}
        }
    }
    for sent in own.iter().filter(|sent| sent.write) {
        match announced.iter().position(|call| **call == sent.call) {
            Some(index) => {
                announced.swap_remove(index);
            }
            None => return Err(format!("`{}` was sent and not announced", sent.call)),
        }
    }
    Ok(())
}

/// Nothing is carried out twice in one run.
fn once(entries: &[Entry]) -> Result<(), String> {
    let mut done: Vec<(Phase, u32)> = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::Planned(_) => done.clear(),
            Event::UndoPlanned(_) => done.retain(|(phase, _)| *phase == Phase::Apply),
            Event::StepFinished(step) if step.outcome == StepOutcome::Ok => {
                if done.contains(&(step.phase, step.index)) {
                    return Err(format!("step {} was carried out twice", step.index));
                }
                done.push((step.phase, step.index));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Success follows on a check that says so, read after the last write.
fn seen(entries: &[Entry], own: &[&Sent]) -> Result<(), String> {
    for (index, entry) in entries.iter().enumerate() {
        let Event::Finished {
            status: Status::Success,
            ..
        } = entry.event
        else {
            continue;
        };
        let before = index.checked_sub(1).and_then(|index| entries.get(index));
        if !before.is_some_and(
            |entry| matches!(&entry.event, Event::Verified(verified) if verified.compliant),
        ) {
            return Err("success without a check that says so".to_owned());
        }
    }
    let succeeded = matches!(
        entries
            .iter()
            .rev()
            .find(|entry| !matches!(entry.event, Event::Notified { .. })),
        Some(Entry {
            event: Event::Finished {
                status: Status::Success,
                ..
            },
            ..
        })
    );
    let last_write = own.iter().rposition(|sent| sent.write);
    let last_read = own.iter().rposition(|sent| !sent.write);
    if succeeded && last_write.is_some() && last_write > last_read {
        return Err("nothing was read after the last write".to_owned());
    }
    Ok(())
}
