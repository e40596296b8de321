//! Writing a ledger out.

use std::io::Write;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::json;

use crate::{
    Checkpoint, Digest, Ledger, LedgerError, Record, Selection, Signer, Store, Told, merkle,
};

/// The most checkpoints in an export: the last, and others at even distances before it.
const CHECKPOINTS: usize = 256;

/// The first line of an export that is not of everything.
pub(crate) fn selected(selection: &Selection) -> String {
    json!({ "selection": selection }).to_string()
}

/// What begins the line of a checkpoint, before all others but [`selected`].
pub(crate) const CHECKPOINT: &str = r#"{"checkpoint":"#;

/// The line of a checkpoint.
pub(crate) fn checkpoint_line(checkpoint: &Checkpoint) -> Result<String, LedgerError> {
    let note = serde_json::to_string(checkpoint.as_note()).map_err(LedgerError::encode)?;
    Ok(format!("{CHECKPOINT}{note}}}"))
}

/// What begins the lines behind a selection: the hashes that lead from its events to the root of its
/// checkpoint ([`merkle::Needed::beside`]).
pub(crate) const PROOF: &str = r#"{"proof":""#;

/// A line of such hashes.
pub(crate) fn proof_line(hashes: &[Digest]) -> String {
    format!("{PROOF}{}\"}}", BASE64.encode(merkle::to_bytes(hashes)))
}

/// The hashes of such a line.
pub(crate) fn parse_proof(line: &str) -> Option<Vec<Digest>> {
    let hashes = line.strip_prefix(PROOF)?.strip_suffix("\"}")?;
    merkle::from_bytes(&BASE64.decode(hashes).ok()?)
}

/// What begins the line of an order, after the checkpoints.
pub(crate) const ORDER: &str = r#"{"order":"#;

/// What begins the line before the events of a remediation that has expired.
pub(crate) const ROW: &str = r#"{"row":"#;

/// The row of a remediation that has expired, of which its events no longer tell.
fn row_line(row: &Record) -> Result<String, LedgerError> {
    let row = serde_json::to_string(row).map_err(LedgerError::encode)?;
    Ok(format!("{ROW}{row}}}"))
}

/// The row that a line has; `None` if it has none, or not as it is written.
pub(crate) fn parse_row(line: &str) -> Option<Record> {
    let row: Record = serde_json::from_str(line.strip_prefix(ROW)?.strip_suffix('}')?).ok()?;
    (row.expired && row_line(&row).is_ok_and(|again| again == line)).then_some(row)
}

/// Refuses what cannot be shown any more as it was with `size` events: its contents have expired since, and
/// the event that says so is behind them.
pub(crate) async fn as_it_was(
    ledger: &dyn Ledger,
    told: &[Told],
    size: u64,
) -> Result<(), LedgerError> {
    for told in told.iter().filter(|told| told.is_overtaken()) {
        if told.goes_on_behind(ledger, size).await {
            return Err(LedgerError::Overtaken(told.record.remediation_id));
        }
    }
    Ok(())
}

/// Writes every event as a line of JSON ([`crate::Entry`]; `event` is `null` once it has expired), by
/// remediation in the order of admission, after the checkpoints, the last of which is signed for it, and
/// the orders. Before the events of a remediation that has expired stands what is left of its row.
/// Returns how many events.
///
/// # Errors
/// The ledger cannot be read, the checkpoint not be made, or `to` not be written;
/// [`LedgerError::Overtaken`].
pub async fn export(
    ledger: &dyn Store,
    signer: &dyn Signer,
    to: &mut (dyn Write + Send),
) -> Result<u64, LedgerError> {
    let last = ledger.checkpoint(signer).await?;
    let orders = ledger.directives().await?;
    let mut checkpoints = ledger.checkpoints().await?;
    let place = |checkpoint: &Checkpoint| (checkpoint.size, checkpoint.orders.count);
    checkpoints.retain(|checkpoint| place(checkpoint) < place(&last));
    let step = checkpoints.len().div_ceil(CHECKPOINTS).max(1);
    let before = checkpoints.iter().rev().step_by(step).rev();
    for checkpoint in before.chain([&last]) {
        writeln!(to, "{}", checkpoint_line(checkpoint)?).map_err(LedgerError::write)?;
    }
    let signed = usize::try_from(last.orders.count).unwrap_or(usize::MAX);
    for given in orders.iter().take(signed) {
        let given = serde_json::to_string(given).map_err(LedgerError::encode)?;
        writeln!(to, "{ORDER}{given}}}").map_err(LedgerError::write)?;
    }
    let (mut after, mut events) = (0, 0);
    loop {
        let slice = ledger.slice(after, last.size).await?;
        as_it_was(ledger, &slice.told, last.size).await?;
        for told in &slice.told {
            if told.record.expired {
                writeln!(to, "{}", row_line(&told.record)?).map_err(LedgerError::write)?;
            }
            to.write_all(told.lines()).map_err(LedgerError::write)?;
            events += told.events;
        }
        match slice.next {
            Some(row) => after = row,
            None => return Ok(events),
        }
    }
}
