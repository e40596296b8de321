//! What operators do with a Stanch that runs: find out what is wrong with it, gather what was logged of one
//! remediation, count what it costs, check an account before and after, and roll it out.
//!
//! Nothing here does IO: accounts are reached through [`Accounts`].

mod accounts;
pub mod cost;
pub mod doctor;
pub mod fail_over;
mod gate;
mod installation;
pub mod logs;
pub mod preflight;
mod read;
pub mod smoke;
pub mod stack_set;

pub use accounts::{Accounts, READS, Unreachable};
pub use gate::{Demand, Shown};
pub use installation::Installation;
