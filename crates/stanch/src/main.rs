//! The `stanch` command: wires adapters to the ports of the core, and prints what comes of it.

mod accounts;
mod cli;
mod commands;
mod log;
mod notify;
mod output;
mod proof;
mod sandbox;
mod serve;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, output::Exit};

/// Plans are trees of small values; glibc's allocator took almost half of a finding's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `--version`, `--help` and mistakes on the command line end here; nothing is built before.
    let cli = Cli::parse();
    let exit = commands::run(cli).unwrap_or_else(|failure| {
        failure.print();
        failure.exit
    });
    Exit::into(exit)
}
