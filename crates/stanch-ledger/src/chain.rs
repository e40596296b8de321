//! Events as they are stored: numbered, dated and chained by hash.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Digest, Event, LedgerError, RemediationId};

/// A stored event.
///
/// `body` is the hash of the event, `hash` that of all other members: an event that retention has
/// removed leaves a chain that still verifies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of this format.
    pub v: u32,
    /// The remediation.
    pub id: RemediationId,
    /// The event's number in its remediation, from 0.
    pub seq: u64,
    /// When it was appended, in milliseconds since 1970.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// `hash` of the entry before; zeros for the first.
    pub prev: Digest,
    /// SHA-256 of the event's canonical JSON (RFC 8785).
    pub body: Digest,
    /// SHA-256 of the canonical JSON of `v`, `id`, `seq`, `at`, `prev` and `body`.
    pub hash: Digest,
    /// What happened.
    pub event: Event,
}

/// Where and how a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} of remediation `{id}` {problem}")]
pub struct Break {
    /// The remediation.
    pub id: RemediationId,
    /// The first event that is wrong.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What `hash` is taken over.
#[derive(Serialize)]
struct Link {
    v: u32,
    id: RemediationId,
    seq: u64,
    at: i64,
    prev: Digest,
    body: Digest,
}

impl Entry {
    /// The version that is written: one more whenever an event gets a new member.
    pub const VERSION: u32 = 1;

    /// The entry that follows one with hash `prev`. `body` is the digest of `event`, taken by the
    /// caller so that it can be done where there is time for it.
    pub(crate) fn seal(
        id: RemediationId,
        seq: u64,
        at: Timestamp,
        prev: Digest,
        body: Digest,
        event: Event,
    ) -> Self {
        let hash = link(Self::VERSION, id, seq, at, prev, body);
        let v = Self::VERSION;
        Self {
            v,
            id,
            seq,
            at,
            prev,
            body,
            hash,
            event,
        }
    }

    /// Writes it as a line of JSON.
    pub(crate) fn write_line(&self, to: &mut dyn io::Write) -> Result<(), LedgerError> {
        let mut line = serde_json::to_vec(self).map_err(LedgerError::encode)?;
        line.push(b'\n');
        to.write_all(&line).map_err(LedgerError::write)
    }

    /// Reads a line that [`Entry::write_line`] wrote. A line that says the same in other bytes is not
    /// one: what nobody reads (an added member, a member given twice) is covered by no hash.
    pub(crate) fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        let entry: Self = serde_json::from_str(line)?;
        if serde_json::to_string(&entry)? == line {
            Ok(entry)
        } else {
            Err(serde::de::Error::custom("it is not as it was written"))
        }
    }

    /// Checks a whole chain from its first entry. Hold the last entry's hash against one kept
    /// elsewhere to find a cut-off end.
    ///
    /// # Errors
    /// The first entry that does not hold.
    pub fn verify(id: RemediationId, entries: &[Self]) -> Result<(), Break> {
        let mut chain = Chain::new(id);
        entries.iter().try_for_each(|entry| chain.follow(entry))
    }
}

/// The chain of a remediation, as far as it was followed.
pub(crate) struct Chain {
    pub(crate) id: RemediationId,
    seq: u64,
    prev: Digest,
}

impl Chain {
    pub(crate) const fn new(id: RemediationId) -> Self {
        Self {
            id,
            seq: 0,
            prev: Digest::ZERO,
        }
    }

    /// Checks that `entry` is the next one.
    pub(crate) fn follow(&mut self, entry: &Entry) -> Result<(), Break> {
        let Self { id, seq, prev } = *self;
        let broken = |problem| Err(Break { id, seq, problem });
        if entry.v != Entry::VERSION {
            return broken("was written by a version that is not known here");
        }
        if entry.id != id {
            return broken("belongs to another remediation");
        }
        if entry.seq != seq {
            return broken("is missing or out of order");
        }
        if entry.prev != prev {
            return broken("does not follow on the one before it");
        }
        if Digest::of(&entry.event).ok() != Some(entry.body) {
            return broken("was changed");
        }
        if link(entry.v, id, seq, entry.at, prev, entry.body) != entry.hash {
            return broken("has a number, time or hash that was changed");
        }
        self.seq += 1;
        self.prev = entry.hash;
        Ok(())
    }
}

fn link(v: u32, id: RemediationId, seq: u64, at: Timestamp, prev: Digest, body: Digest) -> Digest {
    let at = at.as_millisecond();
    let link = Link {
        v,
        id,
        seq,
        at,
        prev,
        body,
    };
    Digest::of_plain(&link)
}

/// Entries carry milliseconds; everything that compares or hashes a time uses this one.
pub(crate) fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
