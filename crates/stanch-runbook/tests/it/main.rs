//! Documents carried out against scripted answers, in virtual time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails stops"
)]

mod broken;
mod clock;
mod documents;
mod plan;
mod properties;
mod scenario;
#[cfg(feature = "script-host")]
mod script_host;
