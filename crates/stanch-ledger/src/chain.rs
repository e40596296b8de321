//! Events as they are stored: numbered, dated, chained by hash, and each a leaf of the tree.

use std::io::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Digest, Event, RemediationId, merkle::leaf_hash};

/// A stored event.
///
/// `body` is the hash of the event, `hash` that of all members before it: an event that retention has
/// removed leaves a chain that still verifies. What `hash` is taken over is also the event's leaf in
/// the tree.
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
    /// SHA-256 of the event's canonical JSON ([`Digest::of`]).
    pub body: Digest,
    /// SHA-256 of the canonical JSON of `v`, `id`, `seq`, `at`, `prev` and `body`.
    pub hash: Digest,
    /// The event's number among all events of the ledger, in the order that they were appended.
    pub leaf: u64,
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

impl Entry {
    /// The version that is written: one more whenever an event gets a new member.
    pub const VERSION: u32 = 3;

    /// Whether an entry of version `v` can be checked here.
    pub(crate) const fn is_known(v: u32) -> bool {
        v > 0 && v <= Self::VERSION
    }

    /// All but the event.
    pub(crate) const fn header(&self) -> Header {
        Header {
            v: self.v,
            id: self.id,
            seq: self.seq,
            at: self.at,
            prev: self.prev,
            body: self.body,
            hash: self.hash,
            leaf: self.leaf,
        }
    }

    /// Checks a whole chain from its first entry. Hold the last entry's hash against one kept
    /// elsewhere to find a cut-off end.
    ///
    /// # Errors
    /// The first entry that does not hold.
    pub fn verify(id: RemediationId, entries: &[Self]) -> Result<(), Break> {
        let mut chain = Chain::new(id);
        entries
            .iter()
            .try_for_each(|entry| chain.follow(&entry.header(), Digest::of(&entry.event).ok()))
    }
}

/// An entry without its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) v: u32,
    pub(crate) id: RemediationId,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) prev: Digest,
    pub(crate) body: Digest,
    pub(crate) hash: Digest,
    pub(crate) leaf: u64,
}

impl Header {
    /// The header of the entry that follows one with hash `prev`, and the hash of its leaf. `body` is
    /// the event's digest, taken by the caller so that it can be done where there is time for it.
    pub(crate) fn seal(
        id: RemediationId,
        seq: u64,
        at: Timestamp,
        prev: Digest,
        body: Digest,
        leaf: u64,
    ) -> (Self, Digest) {
        let mut header = Self {
            v: Entry::VERSION,
            id,
            seq,
            at,
            prev,
            body,
            hash: Digest::ZERO,
            leaf,
        };
        let link = header.link();
        header.hash = hash(&link);
        (header, leaf_hash(&link))
    }

    /// With the hash that it must have.
    pub(crate) fn sealed(mut self) -> Self {
        self.hash = hash(&self.link());
        self
    }

    /// With its event.
    pub(crate) fn with(self, event: Event) -> Entry {
        let Self {
            v,
            id,
            seq,
            at,
            prev,
            body,
            hash,
            leaf,
        } = self;
        Entry {
            v,
            id,
            seq,
            at,
            prev,
            body,
            hash,
            leaf,
            event,
        }
    }

    pub(crate) const fn broken(&self, problem: &'static str) -> Break {
        let Self { id, seq, .. } = *self;
        Break { id, seq, problem }
    }

    /// What `hash` is taken over: canonical JSON of the members before it.
    pub(crate) fn link(&self) -> Vec<u8> {
        let Self { v, seq, .. } = self;
        let mut link = Vec::with_capacity(288);
        let at = self.at.as_millisecond();
        // Writing to memory does not fail.
        let _ = write!(link, r#"{{"at":{at},"body":""#);
        self.body.write_hex(&mut link);
        link.extend_from_slice(br#"","id":""#);
        write_id(self.id, &mut link);
        link.extend_from_slice(br#"","prev":""#);
        self.prev.write_hex(&mut link);
        let _ = write!(link, r#"","seq":{seq},"v":{v}}}"#);
        link
    }

    /// With the event (its JSON, or `None` once it has expired) as a line of an export.
    pub(crate) fn write_line(&self, event: Option<&str>, line: &mut Vec<u8>) {
        let Self { v, seq, leaf, .. } = self;
        let at = self.at.as_millisecond();
        let _ = write!(line, r#"{{"v":{v},"id":""#);
        write_id(self.id, line);
        let _ = write!(line, r#"","seq":{seq},"at":{at},"prev":""#);
        self.prev.write_hex(line);
        line.extend_from_slice(br#"","body":""#);
        self.body.write_hex(line);
        line.extend_from_slice(br#"","hash":""#);
        self.hash.write_hex(line);
        let _ = write!(line, r#"","leaf":{leaf},"event":"#);
        line.extend_from_slice(event.unwrap_or("null").as_bytes());
        line.extend_from_slice(b"}\n");
    }

    /// Reads a line that [`Header::write_line`] wrote, without its end. A line that says the same in
    /// other bytes is not one: no hash covers what nobody reads.
    pub(crate) fn parse_line(line: &str) -> Option<(Self, Option<&str>)> {
        let mut line = Scanner(line);
        let v = line.after(r#"{"v":"#)?.number()?;
        let id = line.after(r#","id":""#)?.id()?;
        let seq = line.after(r#"","seq":"#)?.number()?;
        let at: i64 = line.after(r#","at":"#)?.number()?;
        let prev = line.after(r#","prev":""#)?.digest()?;
        let body = line.after(r#"","body":""#)?.digest()?;
        let hash = line.after(r#"","hash":""#)?.digest()?;
        let leaf = line.after(r#"","leaf":"#)?.number()?;
        let event = line.after(r#","event":"#)?.0.strip_suffix('}')?;
        let header = Self {
            v,
            id,
            seq,
            at: Timestamp::from_millisecond(at).ok()?,
            prev,
            body,
            hash,
            leaf,
        };
        Some((header, (event != "null").then_some(event)))
    }
}

fn write_id(id: RemediationId, to: &mut Vec<u8>) {
    let mut text = Uuid::encode_buffer();
    to.extend_from_slice(
        id.as_uuid()
            .as_hyphenated()
            .encode_lower(&mut text)
            .as_bytes(),
    );
}

fn hash(bytes: &[u8]) -> Digest {
    Digest::from(<[u8; 32]>::from(Sha256::digest(bytes)))
}

/// What is left of a line.
struct Scanner<'l>(&'l str);

impl<'l> Scanner<'l> {
    fn after(&mut self, text: &str) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(text)?;
        Some(self)
    }

    fn take(&mut self, length: usize) -> Option<&'l str> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        let length = self.0.bytes().take_while(|&byte| is_part(byte)).count();
        let text = self.take(length)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_shortest = text == "0" || !digits.starts_with('0');
        text.parse().ok().filter(|_| is_shortest)
    }

    fn digest(&mut self) -> Option<Digest> {
        lower(self.take(64)?)?.parse().ok()
    }

    fn id(&mut self) -> Option<RemediationId> {
        let text = lower(self.take(36)?)?;
        Some(Uuid::try_parse(text).ok()?.into())
    }
}

fn lower(text: &str) -> Option<&str> {
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(text)
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

    /// Checks that `header` is the next one, of an event with the hash `body`.
    pub(crate) fn follow(&mut self, header: &Header, body: Option<Digest>) -> Result<(), Break> {
        let Self { id, seq, prev } = *self;
        let broken = |problem| Err(Break { id, seq, problem });
        if !Entry::is_known(header.v) {
            return broken("was written by a version that is not known here");
        }
        if header.id != id {
            return broken("belongs to another remediation");
        }
        if header.seq != seq {
            return broken("is missing or out of order");
        }
        if header.prev != prev {
            return broken("does not follow on the one before it");
        }
        if body != Some(header.body) {
            return broken("was changed");
        }
        if hash(&header.link()) != header.hash {
            return broken("has a number, time or hash that was changed");
        }
        self.seq += 1;
        self.prev = header.hash;
        Ok(())
    }
}

/// Entries carry milliseconds; everything that compares or hashes a time uses this one.
pub(crate) fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
