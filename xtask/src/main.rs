//! Development tasks: `cargo xtask <task>`.

mod bench;
mod chaos;
mod codegen;
mod dashboards;
mod demo;
mod e2e;
mod models;
mod new;
mod package;
mod prowler;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use run::Outcome;

/// What a developer of Stanch runs; CI runs nothing else.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the tools of this machine; install the emulators and the IAM simulator
    Setup,
    /// Format, lints, every test, and that the generated files are fresh
    Test,
    /// What CI runs: `test`, licences, some of `chaos` and `fuzz`, the demo, and the scaffold of a new
    /// remediation
    Ci,
    /// Fix real findings in an emulated organization of three accounts and two regions
    Demo(demo::Options),
    /// Deploy both stacks and our own functions in an emulated organization, play all that can happen
    /// there, and write `bench/E2E.md`
    E2eAws(e2e::Options),
    /// Build and pack the functions for Lambda
    Package(package::Options),
    /// Start a new remediation: `cargo xtask new s3/keep-versions`
    New(new::Options),
    /// Measure what the project promises, and write `bench/RESULTS.md`
    Bench(bench::Options),
    /// Live through 100,000 histories in a bad world, and write `bench/CHAOS.md`
    Chaos(chaos::ChaosOptions),
    /// Give everything that reads foreign bytes bytes that nobody expected
    Fuzz(chaos::FuzzOptions),
    /// Have Prowler find what the examples plant, before and after; installs it first (2.3 GB)
    Prowler(prowler::Options),
    /// Write the committed files that are made from others
    Codegen(codegen::Options),
    /// Draw the CloudWatch dashboards from their definitions into `docs/guides/`
    Dashboards(dashboards::Options),
    /// Compile the pinned packages of API models and IAM facts into `stanch-models`
    Models(models::Options),
}

fn main() -> ExitCode {
    let outcome: Outcome = match Cli::parse().task {
        Task::Setup => setup::setup_tests(),
        Task::Test => test::test(),
        Task::Ci => test::ci(),
        Task::Demo(options) => demo::demo(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Chaos(options) => chaos::chaos(&options),
        Task::Fuzz(options) => chaos::fuzz(&options),
        Task::E2eAws(options) => e2e::e2e(&options),
        Task::Package(options) => package::package(&options),
        Task::New(options) => new::new(&options),
        Task::Prowler(options) => prowler::prowler(&options),
        Task::Codegen(options) => codegen::codegen(&options),
        Task::Dashboards(options) => dashboards::dashboards(&options),
        Task::Models(options) => models::models(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
