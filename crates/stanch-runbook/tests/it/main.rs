//! Documents carried out against scripted answers, in virtual time.
#![allow(missing_docs)]

mod broken;
mod clock;
mod documents;
mod scenario;
