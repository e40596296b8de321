//! Everything that must hold before a change lands.

use std::{path::Path, process::Command};

use crate::{
    chaos, demo, new,
    run::{Failure, Outcome, answer, built, cargo, root, run, section, target},
    setup,
};

/// Format, lints, tests; the generated files are checked by tests.
pub fn test() -> Outcome {
    tests(&mut cargo())
}

fn tests(cargo_test: &mut Command) -> Outcome {
    setup::setup_tests()?;
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
    run(cargo_test.args(["test", "--workspace", "--locked"]))
}

/// `test`, licences and known vulnerabilities, some histories and bytes that nobody expected, the demo, and that the
/// scaffold of a new remediation is whole: checked and proved like any other.
pub fn ci() -> Outcome {
    // What a test leaves out where it cannot be played is a failure here.
    tests(cargo().env("STANCH_CI", "1"))?;
    deny()?;
    chaos::some()?;
    demo::demo(&demo::Options::default())?;
    section("scaffold");
    let file = new::scaffold("s3/scaffold-of-ci")?;
    let outcome = scaffold(&file);
    let removed = std::fs::remove_file(&file);
    outcome?;
    removed.map_err(|error| Failure::new(format!("`{}`: {error}", file.display())))
}

/// Licences, sources and bans; and known vulnerabilities, where their database can be had.
fn deny() -> Outcome {
    const VERSION: &str = "0.20.2";
    section("licences");
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        // Unoptimized: it is built more often than it is run.
        let mut install = cargo();
        install.args(["install", "cargo-deny", "--locked", "--debug", "--quiet"]);
        run(install.args(["--version", VERSION, "--root"]).arg(&tools))?;
    }
    let deny = || {
        let mut deny = Command::new(&program);
        deny.current_dir(root()).args(["--log-level", "error"]);
        deny
    };
    run(deny().args(["check", "licenses", "bans", "sources"]))?;
    section("known vulnerabilities");
    if answer(deny().arg("fetch")).is_none() {
        eprintln!("NOT CHECKED: the database of advisories cannot be fetched from here");
        return Ok(());
    }
    run(deny().args(["check", "advisories"]))
}

/// Builds the same packages as the tests did: a build of one package would have dependencies of its own.
fn scaffold(file: &Path) -> Outcome {
    let mut proof = cargo();
    proof.args(["test", "--quiet", "--locked", "--workspace", "--test", "it"]);
    proof.args(["--", "proof::every_remediation"]);
    run(proof.env("STANCH_PROVE", "S3ScaffoldOfCi"))?;
    run(built("stanch").args(["catalog", "check"]).arg(file))
}
