//! `cargo xtask demo`.

use clap::Args;

use crate::{
    run::{Outcome, beside_the_product, run},
    setup,
};

/// How the demo is run.
#[derive(Default, Args)]
pub struct Options {
    /// Leave the emulator and the hub running, and say how to talk to them
    #[arg(long)]
    keep: bool,
}

/// Builds the product and the demo side by side, where the demo finds it, and runs the demo.
pub fn demo(options: &Options) -> Outcome {
    setup::setup()?;
    let mut demo = beside_the_product("demo")?;
    if options.keep {
        demo.arg("--keep");
    }
    run(&mut demo)
}
