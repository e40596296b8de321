//! Checking an export without the ledger that it came from.

use std::{collections::HashSet, io};

use crate::{Break, Entry, IllegalTransition, RemediationId, State, chain::Chain};

/// What a sound export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Remediations.
    pub remediations: u64,
    /// Events of all of them.
    pub events: u64,
}

/// Why an export does not hold.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the export does not hold")]
pub struct ExportError {
    /// The first line that is wrong, from 1.
    pub line: u64,
    /// What is wrong with it.
    #[source]
    pub fault: ExportFault,
}

/// What is wrong with a line of an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// The line cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is not as an export writes it.
    #[error("it is not an event as an export writes it")]
    Form(#[from] serde_json::Error),
    /// It is not the next event of its remediation.
    #[error(transparent)]
    Broken(#[from] Break),
    /// It is not what can have happened next.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// Its remediation was complete before.
    #[error("remediation `{0}` stands there twice")]
    Twice(RemediationId),
}

/// Checks an export line by line: every byte of every event, every chain, and that each remediation
/// took a course that is possible. What it cannot see is a remediation left out, or cut off at its end.
///
/// # Errors
/// The first line that does not hold.
pub fn verify_export(from: impl io::BufRead) -> Result<Exported, ExportError> {
    let mut seen = HashSet::new();
    let mut current: Option<(Chain, State)> = None;
    let mut exported = Exported::default();
    for (line, text) in (1..).zip(from.lines()) {
        let step = || -> Result<_, ExportFault> {
            let entry = Entry::from_line(&text?)?;
            let next = match current.take() {
                Some((mut chain, state)) if chain.id == entry.id => {
                    chain.follow(&entry)?;
                    (chain, state.apply(&entry.event, entry.at)?)
                }
                _ if !seen.insert(entry.id) => return Err(ExportFault::Twice(entry.id)),
                _ => {
                    let mut chain = Chain::new(entry.id);
                    chain.follow(&entry)?;
                    (chain, State::first(&entry.event, entry.at)?)
                }
            };
            Ok(next)
        };
        current = Some(step().map_err(|fault| ExportError { line, fault })?);
        exported.events += 1;
    }
    exported.remediations = seen.len() as u64;
    Ok(exported)
}
