//! Channels against a receiver on the loopback, and what they send.

mod delivery;
mod receiver;
mod topic;
mod world;
