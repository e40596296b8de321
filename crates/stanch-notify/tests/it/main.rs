//! Channels against a receiver on the loopback, and what they send.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod bodies;
mod channels;
mod delivery;
mod emulated;
mod finding;
mod odd;
mod receiver;
mod settings;
mod siem;
mod topic;
mod world;
