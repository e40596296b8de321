//! The functions in process: a ledger and accounts in memory, and an administrator account by script.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

#[cfg(test)]
mod batch;
#[cfg(test)]
mod control;
#[cfg(test)]
mod deployed;
#[cfg(test)]
mod notifier;
#[cfg(test)]
mod organization;
#[cfg(test)]
mod regions;
#[cfg(test)]
mod security;
#[cfg(test)]
mod segments;
#[cfg(test)]
mod siem;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod world;
