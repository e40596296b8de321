//! The guard from outside: peers' failures by name, and what its parts do together; and where the
//! workspace plays what a guard cannot.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod answers;
mod field;
mod files;
mod peers;
mod world;
