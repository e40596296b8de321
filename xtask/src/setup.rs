//! What must be on the machine, the emulators in `.venv/` and the IAM simulator in `tools/judge/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{Failure, Outcome, answer, cargo, root, run, section};

/// The oldest Python that the pinned emulator runs on.
const PYTHON: (u32, u32) = (3, 10);

/// The oldest Node.js that the pinned IAM simulator runs on.
const NODE: u32 = 20;

/// Checks the tools and installs the pinned emulators and the IAM simulator, unless that is done; gives
/// the path of the emulators' Python.
pub fn setup() -> Outcome<PathBuf> {
    check_rust()?;
    judge()?;
    emulator()
}

/// Fails with what is missing of the Rust tools.
pub fn check_rust() -> Outcome {
    for component in ["fmt", "clippy"] {
        if answer(cargo().args([component, "--version"])).is_none() {
            return Err(Failure::new(format!("`cargo {component}` is missing"))
                .hint("run `rustup component add rustfmt clippy`"));
        }
    }
    Ok(())
}

fn judge() -> Outcome {
    let missing = |what: &str| {
        Failure::new(format!("{what} is missing"))
            .hint("install Node.js with npm (https://nodejs.org); the IAM simulator that judges the proof suite runs on it")
    };
    let version = answer(Command::new("node").arg("--version"));
    let major = version.and_then(|v| {
        v.trim_start_matches('v')
            .split('.')
            .next()?
            .parse::<u32>()
            .ok()
    });
    if major.is_none_or(|major| major < NODE) {
        return Err(missing(&format!("Node.js {NODE} or newer")));
    }
    let folder = root().join("tools/judge");
    let (pins, stamp) = (
        folder.join("package-lock.json"),
        folder.join("node_modules/installed-package-lock.json"),
    );
    let wanted = fs::read(&pins).map_err(|error| unreadable(&pins, &error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if answer(Command::new("npm").arg("--version")).is_none() {
        return Err(missing("npm"));
    }
    section("IAM simulator: installing into tools/judge/ (once)");
    run(Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ])
        .current_dir(&folder))
    .map_err(|failure| {
        failure
            .hint("is the npm registry reachable, and `tools/judge/package-lock.json` unchanged?")
    })?;
    // Written last: an installation that was cut off is done again.
    fs::write(&stamp, wanted).map_err(|error| unreadable(&stamp, &error))
}

fn emulator() -> Outcome<PathBuf> {
    let (venv, pins) = (root().join(".venv"), root().join("tools/requirements.txt"));
    let (python, stamp) = (
        venv.join("bin/python"),
        venv.join("installed-requirements.txt"),
    );
    let wanted = fs::read(&pins).map_err(|error| unreadable(&pins, &error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }

    section("emulators: installing into .venv/ (once)");
    run(Command::new(find_python()?)
        .args(["-m", "venv", "--clear"])
        .arg(&venv))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--requirement",
        ])
        .arg(&pins))
    .map_err(|failure| {
        failure
            .hint("is the Python package index reachable, and `tools/requirements.txt` unchanged?")
    })?;
    // Written last: an installation that was cut off is done again.
    fs::write(&stamp, wanted).map_err(|error| unreadable(&stamp, &error))?;
    Ok(python)
}

/// A Python that is new enough and can make virtual environments.
fn find_python() -> Outcome<&'static str> {
    const PROBE: &str = "import ensurepip, sys, venv; print(*sys.version_info[:2])";
    let (major, minor) = PYTHON;
    ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python"]
        .into_iter()
        .find(|name| {
            answer(Command::new(name).args(["-c", PROBE]))
                .and_then(|version| {
                    let (major, minor) = version.split_once(' ')?;
                    Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
                })
                .is_some_and(|version| version >= PYTHON)
        })
        .ok_or_else(|| {
            Failure::new(format!("no Python {major}.{minor} or newer with `venv` and `ensurepip`"))
                .hint("install it (Debian, Ubuntu: `apt-get install python3 python3-venv`); the emulator runs on it")
        })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display()))
}
