//! What the tests of Stanch stand on: a clock that does not wait, an AWS in memory, an emulated
//! organization, and the harness that proves every remediation of the catalog.
//!
//! Nothing here is on the product's own path.

mod clock;
mod emulator;

pub use clock::FakeClock;
pub use emulator::{Emulator, EmulatorError};

/// The checkout that this crate was built from.
#[must_use]
pub fn repository() -> &'static std::path::Path {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
