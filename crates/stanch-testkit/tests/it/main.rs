//! The test kit, tested: against the real emulator.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod automation;
mod dynamo;
mod emulator;
mod fake;
mod fuzz;
mod organization;
mod proof;
mod stand_in;
