//! What must hold after any history.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stanch_catalog::Plan;
use stanch_ledger::{
    Entry, Event, Given, Ledger, Order, Phase, Planned, Query, Reach, Record, State, Status,
    StepOutcome, Trust, Verdict, verify_export,
};
use stanch_types::Call;

use super::{
    History,
    process::{Moment, Sent, hold},
};

/// Who undoes what failed, in the ledger.
const HUB: &str = "stanch";

/// How long what was under way when the clock ended a lease may still be seen: requests, their late
/// effects, and the plan that whoever has the lock now has made meanwhile.
const UNSETTLED: Duration = Duration::from_secs(12);

/// After so long no effect is on its way any more.
const LATE: Duration = Duration::from_secs(4);

/// How long a request that passed the switch may be on its way.
const UNDER_WAY: Duration = Duration::from_secs(1);

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
        let mut lives = Vec::new();
        for record in &page.records {
            let life = self.life(record, &sent).await;
            lives.push(life.map_err(|error| format!("{}: {error}", record.remediation_id))?);
        }
        for life in &lives {
            self.right(life, &lives)
                .map_err(|error| format!("{}: {error}", life.record.remediation_id))?;
            let mut figures = hold(&self.shared.figures);
            figures.remediations += 1;
            figures.events += life.entries.len() as u64;
            figures.put_off += life.undos_put_off();
            figures.fixed += u64::from(life.record.status == Status::Success);
            figures.undone += u64::from(life.record.status == Status::Undone);
        }
        self.admitted_once(&lives)?;
        if let Some(stray) = sent.iter().find(|sent| {
            sent.write
                && !page
                    .records
                    .iter()
                    .any(|record| sent.session == format!("stanch-{}", record.remediation_id))
        }) {
            return Err(format!("`{}` was sent by no remediation", stray.call));
        }
        self.nothing_while_paused(&sent, &page.records)?;
        self.nothing_too_fast(&lives)?;
        self.in_the_windows(&lives)?;
        self.nothing_unread().await?;
        self.left_as_recorded(&page.records).await
    }

    /// A remediation with all that is known of it.
    async fn life<'h>(&self, record: &'h Record, sent: &'h [Sent]) -> Result<Life<'h>, String> {
        let id = record.remediation_id;
        if !record.status.is_final() {
            return Err(format!("lost: it stays `{}`", record.status));
        }
        let ledger = &self.shared.ledger;
        let verified = ledger.verify(id).await;
        verified.map_err(|error| error.to_string())?;
        let entries = ledger.entries(id).await;
        let entries = entries.map_err(|error| error.to_string())?;
        let moments = hold(&self.shared.stored).get(&id).cloned();
        let moments = moments.unwrap_or_default();
        if moments.len() != entries.len() {
            return Err("events were stored past the hub".to_owned());
        }
        let session = format!("stanch-{id}");
        let own = (0..).zip(sent).filter(|(_, sent)| sent.session == session);
        Ok(Life {
            record,
            own: own.collect(),
            sent,
            entries: entries.into_iter().zip(moments).collect(),
        })
    }

    /// What must hold of each remediation.
    fn right(&self, life: &Life<'_>, lives: &[Life<'_>]) -> Result<(), String> {
        read_again(life)?;
        planned(life)?;
        once(life)?;
        seen(life)?;
        looked_at(life)?;
        self.not_again(life)?;
        self.locked(life)?;
        drift(life)?;
        within_budget(life, lives)?;
        self.on_the_state_planned_on(life)?;
        if self.asks && life.record.remediation_action == super::BLOCKS {
            approved(life)?;
        }
        Ok(())
    }

    /// Each finding that was acknowledged is in the ledger, and again only after an attempt that failed.
    fn admitted_once(&self, lives: &[Life<'_>]) -> Result<(), String> {
        for (number, delivery) in self.deliveries.iter().enumerate() {
            let of: Vec<&Life<'_>> = lives
                .iter()
                .filter(|life| life.work().as_ref() == Some(&delivery.work))
                .collect();
            if of.is_empty() {
                return Err(format!(
                    "lost: delivery {number} was acknowledged and is not in the ledger"
                ));
            }
            // The first may still have been under way when a later one failed.
            let failed = of.iter().filter(|life| life.has_failed()).count();
            // After a day it may be tried anew.
            if failed + 1 < of.len() || of.len() > 3 * (1 + self.days) {
                return Err(format!(
                    "delivery {number} was admitted {} times, and failed {failed} times",
                    of.len()
                ));
            }
            if of
                .iter()
                .any(|life| of.iter().any(|other| too_soon(life, other)))
            {
                return Err(format!("delivery {number} was tried again at once"));
            }
        }
        Ok(())
    }

    /// The first request of a plan finds the resource as the plan saw it, unless somebody else has changed
    /// it since it was looked at.
    fn on_the_state_planned_on(&self, life: &Life<'_>) -> Result<(), String> {
        let mut plan: Option<(&Value, Moment)> = None;
        // From then on a change by others may have come too late to be seen.
        let mut since = 0;
        let mut before = 0;
        for (index, (entry, moment)) in life.entries.iter().enumerate() {
            match &entry.event {
                Event::Planned(planned) => {
                    (plan, since) = (Some((&planned.observed, *moment)), before);
                }
                Event::UndoPlanned(planned) => {
                    plan = planned.plan.get("state").map(|state| (state, *moment));
                    since = before;
                }
                Event::Approved(_) => since = moment.order,
                Event::StepStarted(step) => {
                    let Some((state, made)) = plan.take() else {
                        continue;
                    };
                    if made.process != moment.process {
                        // Whoever takes it over looks first.
                        since = life.read(moment.process, moment.sent).unwrap_or(since);
                    }
                    let end = life.entries.get(index + 1);
                    let end = end.map_or(usize::MAX, |(_, moment)| moment.sent);
                    let write = life.own.iter().find(|(at, sent)| {
                        (moment.sent..end).contains(at) && sent.write && !sent.late
                    });
                    let Some((_, write)) = write else {
                        continue;
                    };
                    let disturbed = self.others.iter().any(|(bucket, other)| {
                        *bucket == write.bucket() && (since..write.order).contains(&other.order)
                    });
                    let disturbed = disturbed || self.has_jumped(write.at, UNSETTLED);
                    if !disturbed && !like(state, &write.before) {
                        return Err(format!(
                            "`{}` was planned on {state} and sent on {}",
                            step.call, write.before
                        ));
                    }
                }
                _ => {}
            }
            before = moment.order;
        }
        Ok(())
    }

    /// A request whose effect is there is not sent again.
    fn not_again(&self, life: &Life<'_>) -> Result<(), String> {
        let plans: Vec<usize> = life
            .entries
            .iter()
            .filter(|(entry, _)| matches!(entry.event, Event::Planned(_) | Event::UndoPlanned(_)))
            .map(|(_, moment)| moment.sent)
            .collect();
        let writes = life.own.iter().filter(|(_, sent)| sent.write && !sent.late);
        let writes: Vec<_> = writes.collect();
        for (place, (at, sent)) in writes.iter().enumerate() {
            let again = writes
                .iter()
                .skip(place + 1)
                .find(|(_, other)| sent.effective && !other.effective && other.call == sent.call);
            let Some((then, other)) = again else {
                continue;
            };
            let order = sent.order..other.order;
            let between = *at + 1..=*then;
            let others = self
                .others
                .iter()
                .any(|(bucket, at)| *bucket == sent.bucket() && order.contains(&at.order));
            if !others && !plans.iter().any(|plan| between.contains(plan)) {
                return Err(format!(
                    "`{}` was sent again, and had its effect",
                    sent.call
                ));
            }
        }
        Ok(())
    }

    /// Whoever changes a resource holds its lock.
    fn locked(&self, life: &Life<'_>) -> Result<(), String> {
        let mut writes = life.own.iter().filter(|(_, sent)| sent.write);
        let under_way = |sent: &Sent| self.has_jumped(sent.at, way(sent.late));
        match writes.find(|(_, sent)| !sent.locked && !under_way(sent)) {
            Some((_, sent)) => Err(format!("`{}` was sent without the lock", sent.call)),
            None => Ok(()),
        }
    }

    /// The clock jumped a moment ago. Forward, it ends leases; and what was asked for by the time from before a
    /// jump back finds one over that was given after it.
    fn has_jumped(&self, at: Duration, moment: Duration) -> bool {
        let mut jumps = self.jumps.iter();
        jumps.any(|jump| (*jump..*jump + moment).contains(&at))
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

    fn nothing_while_paused(&self, sent: &[Sent], records: &[Record]) -> Result<(), String> {
        let reaches = |reach: &Reach, session: &str| match reach {
            Reach::Control(_) => records.iter().any(|record| {
                record.remediation_action == super::BLOCKS
                    && session == format!("stanch-{}", record.remediation_id)
            }),
            // All buckets are in one account and one region.
            _ => true,
        };
        for Sent {
            session,
            call,
            write,
            late,
            at,
            ..
        } in sent
        {
            let stopped = self.paused.iter().any(|pause| {
                *at > pause.begin + way(*late)
                    && pause.end.is_none_or(|end| *at < end)
                    && reaches(&pause.reach, session)
            });
            if *write && stopped {
                return Err(format!(
                    "`{call}` was sent at {} ms, while paused",
                    at.as_millis()
                ));
            }
        }
        Ok(())
    }

    /// Where a limit is set, no more is begun by itself within an hour. Two hubs hear of each other once a
    /// minute, and hours are others when the clock jumps.
    fn nothing_too_fast(&self, lives: &[Life<'_>]) -> Result<(), String> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        if self.slots.len() > 1 || !self.jumps.is_empty() {
            return Ok(());
        }
        let begun = lives.iter().flat_map(|life| {
            let mut first = life
                .entries
                .iter()
                .filter_map(|(entry, _)| match &entry.event {
                    Event::Started(started) if started.attempt == 1 => Some(entry.at),
                    _ => None,
                });
            first.next_back()
        });
        let mut begun: Vec<Timestamp> = begun.collect();
        begun.sort_unstable();
        // Minutes are counted, so that an hour may lack one.
        let hour = SignedDuration::from_mins(59);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        match begun.windows(most + 1).find(|many| {
            many.first()
                .zip(many.last())
                .is_some_and(|(a, b)| *b - hour < *a)
        }) {
            Some(many) => Err(format!(
                "{} were begun within an hour: {many:?}",
                many.len()
            )),
            None => Ok(()),
        }
    }

    /// Where there is a calendar, what the guard decided on is begun while it is open, if the clock does not
    /// jump in between. What is taken back because it has failed does not wait.
    fn in_the_windows(&self, lives: &[Life<'_>]) -> Result<(), String> {
        if !self.windows || !self.jumps.is_empty() {
            return Ok(());
        }
        let is_open = |at: Timestamp| {
            let window = at.as_second().rem_euclid(3_600) / super::WINDOW;
            window % 2 == 0 && window < 2 * super::WINDOWS
        };
        for life in lives {
            let mut is_decided = false;
            for (entry, _) in &life.entries {
                let begins = match &entry.event {
                    Event::UndoPlanned(planned) => {
                        is_decided = planned.decision.is_some();
                        false
                    }
                    Event::Started(started) => started.attempt == 1,
                    Event::UndoStarted(started) => is_decided && started.attempt == 1,
                    _ => false,
                };
                // What was decided on in a window is on its way to the ledger for a moment.
                if begins && !is_open(entry.at) && !is_open(entry.at - UNDER_WAY) {
                    return Err(format!(
                        "{} was begun at {}, and the calendar is closed",
                        life.record.remediation_id, entry.at
                    ));
                }
            }
        }
        Ok(())
    }

    /// What was acknowledged and cannot be read is kept as a dead letter.
    async fn nothing_unread(&self) -> Result<(), String> {
        let kept = self.shared.ledger.dead_letters(1_000).await;
        let kept = kept.map_err(|error| error.to_string())?;
        let lost = self.garbage.iter().find(|(body, acknowledged)| {
            *acknowledged && !kept.iter().any(|dead| dead.letter.body == *body)
        });
        match lost {
            Some((body, _)) => Err(format!(
                "lost: `{body}` was acknowledged and is no dead letter"
            )),
            None => Ok(()),
        }
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
            if other.is_some_and(|(_, other)| other.at >= last_write.at) {
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

/// How long a request that was let through may be on its way.
fn way(late: bool) -> Duration {
    if late { UNDER_WAY + LATE } else { UNDER_WAY }
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

/// A remediation with all that is known of it.
struct Life<'h> {
    record: &'h Record,
    /// What the ledger says, and when it was stored.
    entries: Vec<(Entry, Moment)>,
    /// What it sent itself, by their places among all.
    own: Vec<(usize, &'h Sent)>,
    sent: &'h [Sent],
}

impl Life<'_> {
    /// How many of its undos waited for a window.
    fn undos_put_off(&self) -> u64 {
        let put_off = self.entries.iter().filter(|(entry, _)| match &entry.event {
            Event::UndoPlanned(planned) => {
                let decision = planned.decision.as_ref();
                decision.is_some_and(|decided| matches!(decided.verdict, Verdict::Defer { .. }))
            }
            _ => false,
        });
        put_off.count() as u64
    }

    /// The finding: its id, and when it was made.
    fn work(&self) -> Option<(String, String, Timestamp)> {
        match &self.entries.first()?.0.event {
            Event::Received(received) => Some((
                received.resource_id.clone(),
                received.remediation.clone(),
                received.first_observed?,
            )),
            _ => None,
        }
    }

    /// An attempt has failed, whatever became of it later.
    fn has_failed(&self) -> bool {
        self.entries.iter().any(|(entry, _)| match &entry.event {
            Event::Finished { status, .. } => *status == Status::Failed,
            Event::UndoPlanned(planned) => planned.requester == HUB,
            _ => false,
        })
    }

    /// When it had been begun last, as its ledger said before `until`.
    fn begun(&self, until: Duration) -> Option<Timestamp> {
        let before = self.entries.iter();
        let before = before.take_while(|(_, moment)| moment.at < until);
        let begun = before.filter_map(|(entry, _)| match &entry.event {
            Event::Started(started) if started.attempt == 1 => Some(entry.at),
            _ => None,
        });
        begun.last()
    }

    /// When a process has read the resource last in this session, before the request number `before`.
    fn read(&self, process: u64, before: usize) -> Option<u64> {
        let reads = self.own.iter().rev();
        let mut reads = reads.filter(|(at, sent)| !sent.write && *at < before);
        let (_, sent) = reads.find(|(_, sent)| sent.process == process)?;
        Some(sent.order)
    }
}

/// Every event is read as it was written, and written again as the same bytes: a store that keeps text
/// could not read it otherwise.
fn read_again(life: &Life<'_>) -> Result<(), String> {
    for (entry, _) in &life.entries {
        let text = serde_json::to_string(&entry.event).map_err(|error| error.to_string())?;
        let again: Event = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if again != entry.event {
            return Err(format!("`{text}` is read as something else"));
        }
    }
    Ok(())
}

/// Every write stands in a plan of this remediation, was announced before it was sent, and was sent no more
/// often than announced.
fn planned(life: &Life<'_>) -> Result<(), String> {
    let mut plan: [Option<Plan>; 2] = [None, None];
    let mut announced = Vec::new();
    for (entry, moment) in &life.entries {
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
                if held != Some(&step.call) {
                    return Err(format!("`{}` is in no plan", step.call));
                }
                announced.push((&step.call, moment.sent));
            }
            _ => {}
        }
    }
    for (at, sent) in life.own.iter().filter(|(_, sent)| sent.write) {
        let before = |(call, moment): &(&Call, usize)| **call == sent.call && moment <= at;
        match announced.iter().position(before) {
            Some(index) => {
                announced.swap_remove(index);
            }
            None => return Err(format!("`{}` was sent and not announced", sent.call)),
        }
    }
    Ok(())
}

/// Nothing is carried out twice in one run.
fn once(life: &Life<'_>) -> Result<(), String> {
    let mut done: Vec<(Phase, u32)> = Vec::new();
    for (entry, _) in &life.entries {
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

/// Success follows on a check that says so of a resource that is so. It and an undo are read after the last
/// write.
fn seen(life: &Life<'_>) -> Result<(), String> {
    let mut before: Option<&Event> = None;
    for (entry, moment) in &life.entries {
        let success = matches!(
            entry.event,
            Event::Finished {
                status: Status::Success,
                ..
            }
        );
        if success {
            match before {
                Some(Event::Verified(verified)) if verified.compliant => {
                    if !is_fixed(&life.record.remediation_action, &verified.observed) {
                        return Err(format!("success with {}", verified.observed));
                    }
                }
                _ => return Err("success without a check that says so".to_owned()),
            }
        }
        if success || matches!(entry.event, Event::Undone { .. }) {
            let until = |write: bool| {
                let mut own = life.own.iter().rev();
                let last = own.find(|(at, sent)| sent.write == write && *at < moment.sent);
                last.map(|(at, _)| *at)
            };
            if until(true).is_some() && until(true) > until(false) {
                return Err("nothing was read after the last write".to_owned());
            }
        }
        before = Some(&entry.event);
    }
    Ok(())
}

/// What the two remediations are for, said once more and not by the catalog.
fn is_fixed(remediation: &str, bucket: &Value) -> bool {
    let blocks = |what: &str| bucket.pointer(&format!("/block/{what}")) == Some(&Value::Bool(true));
    let policy = bucket.get("policy").is_some_and(|policy| !policy.is_null());
    match remediation {
        super::BLOCKS => [
            "BlockPublicAcls",
            "IgnorePublicAcls",
            "BlockPublicPolicy",
            "RestrictPublicBuckets",
        ]
        .into_iter()
        .all(blocks),
        _ => blocks("BlockPublicAcls") && policy,
    }
}

/// A request that nobody saw answered may have had its effect: before anything else is sent, the resource
/// is read, and not before such an effect would have arrived.
fn looked_at(life: &Life<'_>) -> Result<(), String> {
    let mut doubt: Option<Moment> = None;
    let mut sent: Option<Moment> = None;
    for (entry, moment) in &life.entries {
        match &entry.event {
            Event::StepStarted(step) => {
                if let Some(doubt) = doubt.take() {
                    let read = life
                        .sent
                        .iter()
                        .take(moment.sent)
                        .skip(doubt.sent)
                        .any(|sent| {
                            !sent.write
                                && life
                                    .record
                                    .resource_id
                                    .ends_with(&format!(":::{}", sent.bucket()))
                                && sent.at >= doubt.at + LATE
                        });
                    if !read {
                        return Err(format!("`{}` was sent without a look", step.call));
                    }
                }
                sent = Some(*moment);
            }
            Event::StepFinished(step)
                if step.outcome != StepOutcome::Ok && step.outcome.may_have_happened() =>
            {
                doubt = sent;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What others have changed since the last reading is overwritten only by a person who forces it, and with an
/// approval. By itself the hub takes back only what it may have changed.
fn drift(life: &Life<'_>) -> Result<(), String> {
    let mut verified: Option<&Value> = None;
    let mut known: Option<&Value> = None;
    let (mut asks, mut changed) = (false, false);
    for (entry, _) in &life.entries {
        match &entry.event {
            Event::Planned(_) => {
                (verified, known, asks, changed) = (None, None, false, false);
            }
            Event::StepFinished(step) => changed |= step.outcome.may_have_happened(),
            Event::Verified(seen) => {
                verified = Some(&seen.observed);
                known = verified;
            }
            Event::Undone { observed } | Event::UndoFailed { observed, .. } => {
                known = Some(observed).filter(|seen| !seen.is_null()).or(verified);
            }
            Event::UndoPlanned(planned) => {
                if planned.requester == HUB && !changed {
                    return Err("what it did not change was to be taken back".to_owned());
                }
                let drifted = known != planned.plan.get("state");
                asks = planned.requester != HUB && drifted;
            }
            Event::Approved(_) => asks = false,
            Event::UndoVoided { .. } => asks = false,
            Event::UndoStarted(_) if asks => {
                return Err("what others changed was overwritten without an approval".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// `life` was admitted within the five minutes after `other` had failed.
fn too_soon(life: &Life<'_>, other: &Life<'_>) -> bool {
    let Some((first, admitted)) = life.entries.first() else {
        return false;
    };
    let before = other.entries.iter().filter(|(_, moment)| {
        moment.at <= admitted.at && other.record.remediation_id != life.record.remediation_id
    });
    let mut since = before
        .skip_while(|(entry, _)| {
            !matches!(
                entry.event,
                Event::Finished {
                    status: Status::Failed,
                    ..
                } | Event::Undone { .. }
                    | Event::UndoFailed { .. }
            )
        })
        .peekable();
    since.peek().is_some()
        && since.all(|(entry, _)| entry.at + SignedDuration::from_mins(5) > first.at)
}

/// One remediation tries one resource three times a day, unless a person asks for more.
fn within_budget(life: &Life<'_>, lives: &[Life<'_>]) -> Result<(), String> {
    // The clock jumps, but not that far.
    let day = SignedDuration::from_hours(20);
    let mut before = Duration::ZERO;
    let mut plan = None;
    for (entry, moment) in &life.entries {
        match &entry.event {
            Event::Planned(planned) => plan = Some((planned.requester.is_none(), before)),
            // Whatever was decided: attempts are counted when nobody else is at the resource.
            Event::Started(_) => {
                let Some((true, since)) = plan else { continue };
                let neighbours = lives.iter().filter(|other| {
                    other.record.remediation_id != life.record.remediation_id
                        && other.record.resource_id == life.record.resource_id
                        && other.record.remediation_action == life.record.remediation_action
                });
                let begun = neighbours.filter(|other| {
                    let begun = other.begun(since);
                    begun.is_some_and(|at| at + day >= entry.at)
                });
                let count = begun.count();
                if count >= 3 {
                    return Err(format!("it was let run after {count} attempts"));
                }
            }
            _ => {}
        }
        before = moment.at;
    }
    Ok(())
}

/// What people have to approve runs only with their word on this very plan, given and used in time.
fn approved(life: &Life<'_>) -> Result<(), String> {
    let mut plan: Option<&Planned> = None;
    let (mut expires, mut yes) = (None, false);
    for (entry, _) in &life.entries {
        match &entry.event {
            Event::Planned(planned) => (plan, expires, yes) = (Some(planned), None, false),
            Event::ApprovalRequested(request) => expires = Some(request.expires),
            Event::Approved(consent) => {
                yes = plan.is_some_and(|plan| plan.plan_hash == consent.plan_hash)
                    && consent.by == "boss"
                    && expires.is_some_and(|expires| entry.at < expires);
            }
            Event::ApprovalVoided { .. }
            | Event::ApprovalLapsed { .. }
            | Event::Rejected { .. } => {
                yes = false;
            }
            Event::Started(started) if started.attempt == 1 => {
                let in_time = expires.is_some_and(|expires| entry.at < expires);
                let manual = plan.is_some_and(|plan| plan.requester.is_some());
                if !(manual || yes && in_time) {
                    return Err("it was begun without an approval".to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(())
}
