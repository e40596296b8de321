//! Documents carried out against scripted answers, in virtual time.
#![allow(missing_docs)]

mod broken;
mod clock;
mod documents;
mod plan;
mod properties;
mod scenario;
#[cfg(feature = "script-host")]
mod script_host;
