//! Any operation of any AWS service by name, JSON in and JSON out.
//!
//! [`Client`] implements [`stanch_types::Api`]; [`MemberSessions`] implements
//! [`stanch_types::Sessions`]. [`protocol`] is the part that needs no network.

mod client;
mod credentials;
mod endpoint;
mod environment;
mod http;
mod ports;
pub mod protocol;
mod s3;
mod sessions;
mod sign;
mod trace;
mod transport;

pub use client::{Client, Setup};
pub use credentials::RoleSession;
pub use environment::Environment;
pub use http::HttpClient;
pub use ports::{Random, SystemClock, SystemRandom};
pub use sessions::{MemberRole, MemberSessions, SessionsSetup};
