//! Channels: where people and systems are told what became of a finding.
//!
//! A [`Channel`] makes requests of a [`Notice`]; a [`Sender`] sends them, again where that may help, and
//! never for longer than it is allowed to. A [`Subscriber`] is both with a [`Filter`], behind the hub's
//! port. What is told through AWS ([`Topic`], [`LogBucket`]) speaks to the port `Api`.
//!
//! *Invariant:* nothing of a finding is trusted. Each channel escapes as its format asks, and no text of
//! a stranger mentions people, makes links or breaks a body.

mod console;
mod logs;
mod notice;
mod send;
mod topic;
mod webhook;

pub use logs::{InRegion, LogBucket, LogFolder};
pub use notice::Notice;
pub use send::{Channel, Filter, Line, Patience, Sender, Subscriber, Trouble};
pub use topic::Topic;
pub use webhook::{Forged, Webhook, verify};
