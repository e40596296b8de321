//! `cargo xtask prowler`.

use std::{fs, path::PathBuf, process::Command};

use clap::Args;

use crate::{
    run::{Failure, Outcome, answer, beside_the_product, root, run, section},
    setup,
};

/// What is scanned for.
#[derive(Args)]
pub struct Options {
    /// Only these checks of Prowler
    checks: Vec<String>,
}

/// Builds the product beside the program that plants and compares, and runs it with Prowler.
pub fn prowler(options: &Options) -> Outcome {
    setup::setup()?;
    let prowler = installed()?;
    let mut compare = beside_the_product("prowler")?;
    section("prowler");
    run(compare.arg(prowler).args(&options.checks))
}

/// Installs the pinned Prowler into `.venv-prowler/` (2.3 GB, some minutes), unless that is done.
fn installed() -> Outcome<PathBuf> {
    let (venv, pins) = (
        root().join(".venv-prowler"),
        root().join("tools/prowler.txt"),
    );
    let (prowler, stamp) = (
        venv.join("bin/prowler"),
        venv.join("installed-requirements.txt"),
    );
    let failed = |path: &PathBuf, error: &std::io::Error| {
        Failure::new(format!("`{}`: {error}", path.display()))
    };
    let wanted = fs::read(&pins).map_err(|error| failed(&pins, &error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && prowler.exists() {
        return Ok(prowler);
    }
    section("prowler: installing into .venv-prowler/ (once, 2.3 GB)");
    run(Command::new(python()?)
        .args(["-m", "venv", "--clear"])
        .arg(&venv))?;
    // Some of its dependencies exist as source only, so nothing says `--only-binary`.
    run(Command::new(venv.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--require-hashes", "--requirement"])
        .arg(&pins))?;
    fs::write(&stamp, wanted).map_err(|error| failed(&stamp, &error))?;
    Ok(prowler)
}

/// A Python that Prowler runs on: 3.10 to 3.12.
fn python() -> Outcome<&'static str> {
    const PROBE: &str =
        "import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))";
    ["python3", "python3.12", "python3.11", "python3.10"]
        .into_iter()
        .find(|name| answer(Command::new(name).args(["-c", PROBE])).is_some())
        .ok_or_else(|| {
            Failure::new("no Python 3.10, 3.11 or 3.12 with `venv` and `ensurepip`")
                .hint("install one; Prowler runs on no other")
        })
}
