//! What a hub is configured by, on one machine and in AWS: one format, one meaning. And the small
//! adapters that both binaries put to the core's ports.

mod config;
mod feeds;
mod ids;
mod rules;

pub use config::*;
pub use feeds::{Feeds, Fetched, LARGEST_FEED};
pub use ids::RandomIds;
pub use rules::{Files, RulesError, rules};
