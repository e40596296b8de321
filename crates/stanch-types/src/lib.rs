//! The words of Stanch: accounts, regions, ARNs, findings and the events that carry them, and the
//! ports through which the core reaches AWS and time.
//!
//! Nothing here does IO.

pub mod api;
mod arn;
mod clock;
mod ids;
mod secret;

pub use api::{Access, Api, Call, CallError, CallErrorKind, Reply, Scope, Sessions};
pub use arn::{Arn, ArnError};
pub use clock::Clock;
pub use ids::{AccountId, InvalidId, Partition, Region};
pub use secret::Secret;
