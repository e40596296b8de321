//! The proof suite: every file of the catalog against ten properties, by its own examples, through
//! the hub, against an emulator that enforces IAM.
//!
//! A property that cannot be tried for a file is shown as not run, with the reason; it never counts
//! as held.

mod documents;
mod properties;
mod report;
mod stage;

pub use properties::prove;
pub use report::{Proof, Property, Row, Verdict};
pub use stage::Setback;
