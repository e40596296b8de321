//! Proofs for auditors, each a text that is checked without the ledger: that an event is in it
//! (<https://c2sp.org/tlog-proof>), and that it only grew since a checkpoint that the auditor kept (as
//! witnesses are asked, <https://c2sp.org/tlog-witness>).

use std::{fmt::Write as _, io};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

use crate::{
    Checkpoint, Digest, Ledger, LedgerError, RemediationId, VerifierKey,
    export::proof_line,
    merkle::{self, Needed, TILE_WIDTH},
};

const INCLUSION: &str = "c2sp.org/tlog-proof@v1";

/// What a proof that holds has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proved {
    /// An event is in the ledger.
    Inclusion {
        /// What its hash is taken over, as JSON.
        event: String,
        /// Its number among all events.
        index: u64,
        /// The ledger, as it was signed.
        checkpoint: Checkpoint,
    },
    /// The ledger only grew.
    Consistency {
        /// How many events it had.
        old: u64,
        /// The ledger, as it was signed.
        checkpoint: Checkpoint,
    },
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is no proof.
    #[error("it is not a proof as `stanch ledger prove` writes it")]
    Form,
    /// The checkpoint in it is signed by someone else, or not at all.
    #[error("its checkpoint is not signed by the key that was given")]
    Signature,
    /// The proof is about another old checkpoint.
    #[error("it starts at {0} events; give the checkpoint that was kept of those")]
    Old(u64),
    /// The hashes do not lead to the checkpoint.
    #[error("its hashes do not lead to its checkpoint: the ledger is not what it was")]
    Hashes,
}

/// Proves that event `seq` of a remediation is in the ledger, as `checkpoint` has it.
///
/// # Errors
/// There is no such event, or the checkpoint is older than it.
pub async fn prove_inclusion(
    ledger: &dyn Ledger,
    checkpoint: &Checkpoint,
    id: RemediationId,
    seq: u64,
) -> Result<String, LedgerError> {
    let index = ledger.leaf(id, seq).await?;
    let size = checkpoint.size;
    let needed = Needed::inclusion(index, size).ok_or(LedgerError::NoEvent { id, seq })?;
    let hashes = ledger.hashes(&needed, size).await?;
    let mut links = ledger.links(index..index + 1).await?;
    let link = links.pop().ok_or(LedgerError::NoEvent { id, seq })?;
    let extra = BASE64.encode(link);
    let head = format!("{INCLUSION}\nextra {extra}\nindex {index}\n");
    Ok(head + &below(&hashes, checkpoint))
}

/// Proves that the ledger as `checkpoint` has it begins with what its first `old` events were.
///
/// # Errors
/// The checkpoint has fewer.
pub async fn prove_consistency(
    ledger: &dyn Ledger,
    old: u64,
    checkpoint: &Checkpoint,
) -> Result<String, LedgerError> {
    let size = checkpoint.size;
    let needed = Needed::consistency(old, size).ok_or(LedgerError::Rewritten(old))?;
    let hashes = ledger.hashes(&needed, size).await?;
    Ok(format!("old {old}\n") + &below(&hashes, checkpoint))
}

/// Writes the lines that prove that `leaves` are in the ledger as it was with `size` events.
pub(crate) async fn prove_selection(
    ledger: &dyn Ledger,
    mut leaves: Vec<u64>,
    size: u64,
    to: &mut (dyn io::Write + Send),
) -> Result<(), LedgerError> {
    leaves.sort_unstable();
    leaves.dedup();
    for needed in Needed::beside(&leaves, size).portions(TILE_WIDTH) {
        let hashes = ledger.hashes(&needed, size).await?;
        writeln!(to, "{}", proof_line(&hashes)).map_err(LedgerError::write)?;
    }
    Ok(())
}

fn below(hashes: &[Digest], checkpoint: &Checkpoint) -> String {
    let mut text = String::new();
    for hash in hashes {
        let _ = writeln!(text, "{}", BASE64.encode(hash.as_bytes()));
    }
    let _ = write!(text, "\n{checkpoint}");
    text
}

/// Checks a proof; that the ledger only grew, since `old`. Without a key the signature is not checked.
///
/// # Errors
/// It does not hold.
pub fn verify_proof(
    proof: &str,
    key: Option<&VerifierKey>,
    old: Option<&Checkpoint>,
) -> Result<Proved, ProofError> {
    let (head, note) = proof.split_once("\n\n").ok_or(ProofError::Form)?;
    let checkpoint: Checkpoint = note.parse().map_err(|_| ProofError::Form)?;
    if key.is_some_and(|key| !checkpoint.is_signed_by(key)) {
        return Err(ProofError::Signature);
    }
    let mut lines = head.lines();
    let hashes = |lines: std::str::Lines<'_>| -> Option<Vec<Digest>> {
        lines
            .map(|line| {
                let hash: [u8; 32] = BASE64.decode(line).ok()?.try_into().ok()?;
                Some(Digest::from(hash))
            })
            .collect()
    };
    let first = lines.next().ok_or(ProofError::Form)?;
    if let Some(size) = first.strip_prefix("old ") {
        let size: u64 = size.parse().map_err(|_| ProofError::Form)?;
        let old = old
            .filter(|old| old.size == size && old.origin == checkpoint.origin)
            .ok_or(ProofError::Old(size))?;
        if key.is_some_and(|key| !old.is_signed_by(key)) {
            return Err(ProofError::Signature);
        }
        let hashes = hashes(lines).ok_or(ProofError::Form)?;
        let new = (checkpoint.size, checkpoint.root);
        if !merkle::is_consistent((size, old.root), new, &hashes) {
            return Err(ProofError::Hashes);
        }
        return Ok(Proved::Consistency {
            old: size,
            checkpoint,
        });
    }
    let mut member = |name: &str| lines.next()?.strip_prefix(name);
    let read = (first == INCLUSION).then(|| {
        let link = BASE64.decode(member("extra ")?).ok()?;
        let index: u64 = member("index ")?.parse().ok()?;
        Some((link, index))
    });
    let (link, index) = read.flatten().ok_or(ProofError::Form)?;
    let hashes = hashes(lines).ok_or(ProofError::Form)?;
    let leaf = merkle::leaf_hash(&link);
    let root = merkle::root_by_inclusion(index, checkpoint.size, leaf, &hashes);
    if root != Some(checkpoint.root) {
        return Err(ProofError::Hashes);
    }
    let event = String::from_utf8(link).map_err(|_| ProofError::Form)?;
    Ok(Proved::Inclusion {
        event,
        index,
        checkpoint,
    })
}
