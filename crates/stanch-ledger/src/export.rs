//! Writing a ledger out.

use std::io::Write;

use serde_json::json;

use crate::{Ledger, LedgerError, Selection, Signer};

/// The most checkpoints in an export: the last, and others at even distances before it.
const CHECKPOINTS: usize = 256;

/// The first line of an export that is not of everything.
pub(crate) fn selected(selection: &Selection) -> String {
    json!({ "selection": selection }).to_string()
}

/// Writes every event as a line of JSON ([`crate::Entry`]; `event` is `null` once it has expired), by
/// remediation in the order of admission, after the checkpoints, the last of which is signed for it.
/// Returns how many events.
///
/// # Errors
/// The ledger cannot be read, the checkpoint not be made, or `to` not be written.
pub async fn export(
    ledger: &dyn Ledger,
    signer: &dyn Signer,
    to: &mut (dyn Write + Send),
) -> Result<u64, LedgerError> {
    let last = ledger.checkpoint(signer).await?;
    let mut checkpoints = ledger.checkpoints().await?;
    checkpoints.retain(|checkpoint| checkpoint.size < last.size);
    let step = checkpoints.len().div_ceil(CHECKPOINTS).max(1);
    let before = checkpoints.iter().rev().step_by(step).rev();
    for checkpoint in before.chain([&last]) {
        let note = serde_json::to_string(checkpoint.as_note()).map_err(LedgerError::encode)?;
        writeln!(to, r#"{{"checkpoint":{note}}}"#).map_err(LedgerError::write)?;
    }
    let (mut after, mut events) = (0, 0);
    loop {
        let slice = ledger.slice(after, last.size).await?;
        for told in &slice.told {
            to.write_all(told.lines()).map_err(LedgerError::write)?;
            events += told.events;
        }
        match slice.next {
            Some(row) => after = row,
            None => return Ok(events),
        }
    }
}
