//! `cargo xtask codegen`: the committed files that are made from others.
//!
//! Each is compared by a plain test, which writes it instead when `STANCH_WRITE_GENERATED` is set:
//! there is one list of them, the tests.

use clap::Args;

use crate::run::{Outcome, cargo, run, section};

/// Whether to write.
#[derive(Args)]
pub struct Options {
    /// Only say whether they are up to date
    #[arg(long)]
    check: bool,
}

/// The tests whose names contain `generated`.
pub fn codegen(options: &Options) -> Outcome {
    section("generated files");
    let mut tests = cargo();
    tests.args([
        "test",
        "--workspace",
        "--quiet",
        "--locked",
        "--",
        "generated",
    ]);
    if options.check {
        return run(&mut tests)
            .map_err(|f| f.hint("run `cargo xtask codegen` and commit what it changes"));
    }
    run(tests.env("STANCH_WRITE_GENERATED", "1"))
}
