//! Everything that must hold before a change lands.

use std::path::Path;

use crate::{
    demo, new,
    run::{Failure, Outcome, answer, built, cargo, run, section},
    setup,
};

/// Format, lints, tests; the generated files are checked by tests.
pub fn test() -> Outcome {
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
    run(cargo().args(["test", "--workspace", "--locked"]))
}

/// `test`, licences where `cargo-deny` is installed, the demo, and that the scaffold of a new remediation is
/// whole: checked and proved like any other.
pub fn ci() -> Outcome {
    test()?;
    deny()?;
    demo::demo(&demo::Options::default())?;
    section("scaffold");
    let file = new::scaffold("s3/scaffold-of-ci")?;
    let outcome = scaffold(&file);
    let removed = std::fs::remove_file(&file);
    outcome?;
    removed.map_err(|error| Failure::new(format!("`{}`: {error}", file.display())))
}

/// Licences, sources and bans, which need no network; advisories do, and are a job of their own.
fn deny() -> Outcome {
    section("licences");
    if answer(cargo().args(["deny", "--version"])).is_none() {
        eprintln!("not checked: `cargo install cargo-deny --locked` installs what checks them");
        return Ok(());
    }
    run(cargo().args(["deny", "check", "licenses", "bans", "sources"]))
}

/// Builds the same packages as the tests did: a build of one package would have dependencies of its own.
fn scaffold(file: &Path) -> Outcome {
    let mut proof = cargo();
    proof.args(["test", "--quiet", "--locked", "--workspace", "--test", "it"]);
    proof.args(["--", "proof::every_remediation"]);
    run(proof.env("STANCH_PROVE", "S3ScaffoldOfCi"))?;
    run(built("stanch").args(["catalog", "check"]).arg(file))
}
