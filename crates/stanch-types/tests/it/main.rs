//! Events from bytes to findings.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints spare test functions, not what they call"
)]

mod bad_input;
mod fixtures;
mod properties;
