//! `cargo xtask demo`.

use clap::Args;

use crate::{
    run::{Outcome, cargo, run, section},
    setup,
};

/// How the demo is run.
#[derive(Args)]
pub struct Options {
    /// Leave the emulator and the hub running, and say how to talk to them
    #[arg(long)]
    keep: bool,
}

/// Builds the product and the demo side by side, where the demo finds it, and runs the demo.
pub fn demo(options: &Options) -> Outcome {
    setup::setup()?;
    section("building");
    let programs = ["-p", "stanch", "-p", "stanch-testkit", "--bins"];
    run(cargo().args(["build", "--locked"]).args(programs))?;
    let mut demo = cargo();
    demo.args([
        "run",
        "--quiet",
        "--locked",
        "-p",
        "stanch-testkit",
        "--bin",
        "demo",
        "--",
    ]);
    if options.keep {
        demo.arg("--keep");
    }
    run(&mut demo)
}
