//! Everything that must hold before a change lands.

use crate::{
    run::{Outcome, cargo, run, section},
    setup,
};

/// Format, lints, tests; the generated files are checked by tests.
pub fn test() -> Outcome {
    setup::setup()?;
    section("format");
    run(cargo().args(["fmt", "--all", "--check"])).map_err(|f| f.hint("run `cargo fmt --all`"))?;
    section("lints");
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    section("tests");
    run(cargo().args(["test", "--workspace", "--locked"]))
}

/// `test`, and what only a fresh clone can show.
pub fn ci() -> Outcome {
    test()
}
