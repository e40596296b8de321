//! The catalog from its public side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod asked_for;
mod diagnostics;
mod exports;
mod features;
mod files;
mod generated;
mod pages;
mod plans;
mod policies;
mod requirements;
