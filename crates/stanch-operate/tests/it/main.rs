//! Operating what is deployed, against scripted answers of AWS whose requests are held against the API models.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod cost;
mod doctor;
mod fail_over;
mod gate;
mod logs;
mod preflight;
mod smoke;
mod stack_set;
mod world;
