//! YAML and JSON read into trees that know where each value stood, and the diagnostics that point
//! there.
//!
//! Catalog files and Automation documents are read through this crate, so that every complaint
//! about them names a line. JSON is read by the same parser: it is a subset of YAML 1.2.

mod diagnostic;
mod pack;
mod read;
mod tree;
mod write;

pub use diagnostic::{Diagnostic, Severity};
pub use pack::{pack, unpack};
pub use read::{Limits, read};
pub use tree::{Entry, Kind, Node, Position};
pub use write::to_yaml;
