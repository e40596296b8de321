//! What the tests of Stanch stand on: a clock that does not wait, an AWS in memory, an emulated
//! organization, and the harness that proves every remediation of the catalog.
//!
//! Nothing here is on the product's own path.

pub mod automation;
pub mod chaos;
mod clock;
pub mod deployed;
mod emulated;
mod emulator;
mod fake;
mod finding;
pub mod fuzz;
mod generated;
pub mod judge;
mod listener;
mod look;
pub mod measure;
pub mod organization;
mod plant;
pub mod proof;
mod script;
mod stand_in;
mod tables;
mod tap;

pub use clock::{FakeClock, FastClock};
pub use emulated::{Emulated, models};
pub use emulator::{
    Accident, Emulator, EmulatorError, Emulators, Maker, Refusal, Request, Unplayable, WRONG,
    Wrong, choose, emulator_python, has, mends, operations_called, stood_in,
};
pub use fake::FakeAws;
pub use finding::Misconfiguration;
pub use generated::assert_generated;
pub use listener::Listener;
pub use look::{LookError, Seen, look};
pub use organization::Organization;
pub use plant::{PlantError, Planted, also, plant};
pub use script::FakeApi;
pub use stand_in::{Effect, Rounded, StandIn, stand_in, stand_ins};
pub use tables::create_tables;
pub use tap::{Aim, Fault, Gate, Tap, Tapped};

/// Path and text of a remediation that changes a bucket in two requests (`Test.2`), for tests of what
/// happens in between.
pub const TWO_STEPS: (&str, &str) = (
    "data/two-steps.yaml",
    include_str!("../data/two-steps.yaml"),
);

/// True unless the name of the operation says that it only reads.
#[must_use]
pub fn is_write(call: &stanch_types::Call) -> bool {
    const READS: [&str; 6] = ["Get", "List", "Describe", "Head", "BatchGet", "Lookup"];
    !READS.iter().any(|verb| call.operation.starts_with(verb))
}

/// The checkout that this crate was built from.
#[must_use]
pub fn repository() -> &'static std::path::Path {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
