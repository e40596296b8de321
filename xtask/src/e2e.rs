//! `cargo xtask e2e-aws`.

use clap::Args;

use crate::{
    package::{Architecture, packed},
    run::{Outcome, beside_the_product, build, run, section},
    setup,
};

/// What is played.
#[derive(Args)]
pub struct Options {
    /// Only these scenarios, `guide`, `standby` and `many` among them; writes no report
    scenarios: Vec<String>,
    /// Run the functions' debug build, whose size and start are not measured
    #[arg(long)]
    dev: bool,
    /// Findings of the large scenario
    #[arg(long, default_value_t = 1000)]
    findings: usize,
}

/// Builds the archive for this machine and the program that deploys and plays, and runs it.
pub fn e2e(options: &Options) -> Outcome {
    setup::setup()?;
    setup::venv(".venv-aws", "tools/aws.txt")?;
    let mut program = beside_the_product("e2e")?;
    if options.dev {
        section("building the functions");
        run(&mut build(&["bootstrap"]))?;
        program.arg("--dev");
    } else {
        let packed = packed(Architecture::X86_64)?;
        program.arg("--archive").arg(packed.archive);
        program.arg("--program").arg(packed.program);
    }
    program.args(["--findings", &options.findings.to_string()]);
    section("playing");
    run(program.args(&options.scenarios))
}
