//! What a remediation costs, from what the ledger has counted.

use std::collections::BTreeMap;

use serde::Serialize;
use stanch_deploy::{Charge, PlanError, charges};
use stanch_ledger::{Entry, Event, StepOutcome};

const PEER: &str = include_str!("../data/peer.tsv");

/// What the ledger has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Remediations.
    pub remediations: u32,
    /// Mutating requests that were sent.
    pub requests: u32,
    /// Of them, those that failed.
    pub failed: u32,
    /// Times that an executor took the work up: runs of the orchestrator.
    pub runs: u32,
    /// Events, each a row of the audit log or a part of one.
    pub rows: u32,
    /// Write units of those rows, if each has its own: one for each KB begun. In AWS events that are written
    /// together share a row, packed, and so cost less.
    pub write_units: u32,
    /// Messages that channels took.
    pub told: u32,
    /// Remediations for which people were asked: the state machine waits for them.
    pub approvals: u32,
    /// Steps that Systems Manager carried out.
    pub automation_steps: u32,
    /// From start to end, in milliseconds.
    pub milliseconds: u64,
}

/// States that the state machine goes through for an approval and one region, one transition each, as
/// `stanch-deploy/templates/workflow.yaml` has them.
const TRANSITIONS: f64 = 8.0;

/// The orchestrator's memory (`administrator-stack.yaml`).
const GIGABYTES: f64 = 0.5;

/// Write units of a remediation beside those of its events: the row of its end is in the audit table's two
/// indexes, too, and its resource is locked and given back.
const BESIDE: f64 = 4.0;

impl Counted {
    /// From the events of one remediation.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut counted = Self {
            remediations: 1,
            ..Self::default()
        };
        let mut by_automation = false;
        for entry in entries {
            counted.rows += 1;
            let bytes = serde_json::to_string(entry).map_or(0, |text| text.len());
            // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
            counted.write_units += u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
            match &entry.event {
                Event::Started(started) | Event::UndoStarted(started) => {
                    counted.runs += 1;
                    by_automation = started.executor == "ssm";
                }
                Event::StepStarted(_) => {
                    counted.requests += 1;
                    counted.automation_steps += u32::from(by_automation);
                }
                Event::StepFinished(step) => {
                    counted.failed += u32::from(matches!(step.outcome, StepOutcome::Failed { .. }));
                }
                Event::Notified { ok: true, .. } => counted.told += 1,
                Event::ApprovalRequested(_) => counted.approvals = 1,
                Event::Finished { duration_ms, .. } => counted.milliseconds += duration_ms,
                _ => {}
            }
        }
        // What is refused or fine already is decided in a run, too.
        counted.runs = counted.runs.max(1);
        counted
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            remediations: self.remediations + other.remediations,
            requests: self.requests + other.requests,
            failed: self.failed + other.failed,
            runs: self.runs + other.runs,
            rows: self.rows + other.rows,
            write_units: self.write_units + other.write_units,
            told: self.told + other.told,
            approvals: self.approvals + other.approvals,
            automation_steps: self.automation_steps + other.automation_steps,
            milliseconds: self.milliseconds + other.milliseconds,
        }
    }

    /// What is priced, as far as the ledger tells.
    fn items(&self) -> BTreeMap<&'static str, f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a duration of milliseconds is exact for 285,000 years"
        )]
        let seconds = self.milliseconds as f64 / 1000.0;
        BTreeMap::from([
            // The notifier runs for each message.
            ("lambda-request", f64::from(self.runs + self.told)),
            ("lambda-gigabyte-second", seconds * GIGABYTES),
            (
                "dynamodb-write",
                f64::from(self.write_units) + f64::from(self.remediations) * BESIDE,
            ),
            ("sns-publish", f64::from(self.told)),
            ("states-transition", f64::from(self.approvals) * TRANSITIONS),
            ("automation-step", f64::from(self.automation_steps)),
        ])
    }
}

/// What AWS's own solution uses for one S3 bucket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// By item of the price table, and `requests`, `cpu-seconds` and `usd`.
    pub quantities: BTreeMap<String, f64>,
    /// When it was counted.
    pub as_of: String,
}

/// What remediations cost, beside AWS's own solution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// What the ledger has counted.
    pub counted: Counted,
    /// What is paid for.
    pub charges: Vec<Charge>,
    /// US dollars in all.
    pub usd: f64,
    /// US dollars for each remediation.
    pub each: f64,
    /// What AWS's own solution uses for one.
    pub peer: Peer,
}

/// Prices what was counted.
///
/// # Errors
/// A table is not complete.
pub fn bill(counted: Counted) -> Result<Bill, PlanError> {
    let charges = charges(&counted.items(), f64::from(counted.remediations))?;
    let usd: f64 = charges.iter().map(|charge| charge.cost.monthly).sum();
    let each = match counted.remediations {
        0 => 0.0,
        all => usd / f64::from(all),
    };
    Ok(Bill {
        counted,
        charges,
        usd,
        each,
        peer: peer()?,
    })
}

fn peer() -> Result<Peer, PlanError> {
    let mut peer = Peer {
        quantities: BTreeMap::new(),
        as_of: String::new(),
    };
    for line in PEER.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let broken = || PlanError::Table(line.to_owned());
        let mut fields = line.split('\t');
        let (Some(item), Some(quantity), Some(as_of)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(broken());
        };
        peer.quantities
            .insert(item.to_owned(), quantity.parse().map_err(|_| broken())?);
        peer.as_of = as_of.to_owned();
    }
    Ok(peer)
}
