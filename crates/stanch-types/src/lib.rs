//! The words of Stanch: accounts, regions, ARNs, findings and the events that carry them, and the
//! ports through which the core reaches AWS and time.
//!
//! Nothing here does IO.

pub mod api;
mod arn;
mod chain;
mod clock;
mod control;
pub mod event;
mod finding;
mod hex;
mod http;
mod ids;
pub mod json;
mod resource;
mod secret;
mod trace;
mod unit;
mod wildcard;

pub use api::{Access, Api, Call, CallError, CallErrorKind, Reply, Scope, Sessions};
pub use arn::{Arn, ArnError};
pub use chain::chain;
pub use clock::Clock;
pub use control::{ControlRef, UnknownControlRef};
pub use event::{Incoming, Payload, Problem, Route};
pub use finding::{
    Compliance, Finding, FindingId, Generation, RecordState, Severity, SeverityLabel, Workflow,
};
pub use hex::hex;
pub use http::{Http, HttpAnswer, HttpError, HttpRequest};
pub use ids::{AccountId, InvalidId, Partition, Region};
pub use resource::{Resource, asff_type, name_from_arn};
pub use secret::Secret;
pub use trace::TRACE;
pub use unit::is_below;
pub use wildcard::is_like;
