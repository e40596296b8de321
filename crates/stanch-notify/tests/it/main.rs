//! Channels against a receiver on the loopback, and what they send.

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
