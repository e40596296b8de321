//! Running other programs, and saying what to do when one fails.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a task comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a task failed, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    error: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that speaks for itself.
    pub fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            hint: None,
        }
    }

    /// The same with advice.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The repository.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this task, in the repository.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Says what begins.
pub fn section(title: &str) {
    eprintln!("\n== {title}");
}

/// Runs a command to its end, its output in the open.
pub fn run(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "`{}` failed ({status})",
            shown(command)
        )))
    }
}

/// A build of programs with the features that the whole workspace asks of its dependencies, as the tests
/// are built: a build of single packages would compile dependencies of its own.
pub fn build(programs: &[&str]) -> Command {
    let mut build = cargo();
    build.args(["build", "--locked", "--workspace"]);
    for program in programs {
        build.args(["--bin", program]);
    }
    build
}

/// A program that [`build`] has built, to be run in the repository.
pub fn built(name: &str) -> Command {
    let mut program = Command::new(target().join("debug").join(name));
    program.current_dir(root());
    program
}

/// Builds the product beside the program `name` of the test kit, where that finds it, and gives the
/// command that runs it.
pub fn beside_the_product(name: &str) -> Outcome<Command> {
    section("building");
    run(&mut build(&["stanch", name]))?;
    Ok(built(name))
}

/// What a command prints; nothing if it cannot be run or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}` cannot be started: {error}", shown(command)))
}

fn shown(command: &Command) -> String {
    let words: Vec<OsString> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(Into::into)
        .collect();
    words.join(" ".as_ref()).to_string_lossy().into_owned()
}
