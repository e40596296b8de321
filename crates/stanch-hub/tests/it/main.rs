//! The pipeline over an AWS in memory: what is sent, what is recorded, and where the resource ends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod approval;
mod chaos;
mod crash;
#[cfg(test)]
mod deadline;
mod flow;
mod killed;
mod ledgers;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod ssm;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod tell;
#[cfg(test)]
mod undo;
#[cfg(test)]
mod world;
