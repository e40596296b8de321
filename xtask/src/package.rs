//! `cargo xtask package`: the functions' archive, as Lambda runs it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use crate::run::{self, Failure, Outcome, answer, build, cargo, run, section};

/// The C library of Amazon Linux 2023, which `provided.al2023` is made of.
/// <https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html>
const GLIBC: (u32, u32) = (2, 34);

/// What is packed.
#[derive(Args)]
pub struct Options {
    /// The processor that the functions run on, as the stacks' parameter has it
    #[arg(long, value_enum, default_value_t = Architecture::Arm64)]
    architecture: Architecture,
}

/// A processor of Lambda's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// AWS's own, the cheaper.
    #[value(name = "arm64")]
    Arm64,
    /// Intel's and AMD's.
    #[value(name = "x86_64")]
    X86_64,
}

impl Architecture {
    /// As Lambda names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }
}

/// Builds and packs, and says where the archive is.
pub fn package(options: &Options) -> Outcome {
    println!("{}", packed(options.architecture)?.archive.display());
    Ok(())
}

/// What was built.
pub struct Packed {
    /// The program.
    pub program: PathBuf,
    /// The archive with it.
    pub archive: PathBuf,
}

/// The archive, built now. On a machine of the same kind cargo builds it; for another, `cargo-zigbuild`,
/// which brings a linker and the C library of any version.
pub fn packed(architecture: Architecture) -> Outcome<Packed> {
    section("building the functions");
    let target = architecture.target();
    let verbose = answer(cargo().args(["--version", "--verbose"])).unwrap_or_default();
    let own = verbose
        .lines()
        .any(|line| line == format!("host: {target}"));
    let folder = run::target();
    let built = if own {
        run(build(&["bootstrap"]).arg("--release"))?;
        folder.join("release/bootstrap")
    } else {
        let (major, minor) = GLIBC;
        let wanted = format!("{target}.{major}.{minor}");
        let mut build = cargo();
        build.args(["zigbuild", "--release", "--locked", "--workspace"]);
        build.args(["--bin", "bootstrap", "--target", &wanted]);
        run(&mut build).map_err(|failure| {
            failure.hint(format!(
                "once: `rustup target add {target}`, `cargo install --locked cargo-zigbuild`, `pip install ziglang`"
            ))
        })?;
        folder.join(target).join("release/bootstrap")
    };
    runs_in_lambda(&built)?;
    let name = format!("stanch-{}.zip", architecture.name());
    let archive = folder.join("lambda").join(name);
    run(&mut build(&["stanch"]))?;
    run(run::built("stanch")
        .args(["deploy", "package"])
        .arg(&built)
        .arg("--out")
        .arg(&archive))?;
    Ok(Packed {
        program: built,
        archive,
    })
}

/// Fails if a program wants more of the C library than Lambda has: it would not start there.
fn runs_in_lambda(program: &Path) -> Outcome {
    let bytes = fs::read(program)
        .map_err(|error| Failure::new(format!("`{}`: {error}", program.display())))?;
    let newest = newest_glibc(&bytes);
    if newest.is_some_and(|version| version > GLIBC) {
        let (major, minor) = newest.unwrap_or_default();
        let (had_major, had_minor) = GLIBC;
        return Err(Failure::new(format!(
            "the program wants glibc {major}.{minor}; `provided.al2023` has {had_major}.{had_minor}"
        ))
        .hint("build on an older system, or take `cargo zigbuild` as for another processor"));
    }
    Ok(())
}

/// The newest version of glibc that a program names among its symbols' versions, as `GLIBC_2.34`.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let found = program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK);
    let versions = found.filter_map(|(at, _)| {
        let rest = program.get(at + MARK.len()..)?;
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let text = std::str::from_utf8(rest.get(..length)?).ok()?;
        let mut numbers = text.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts() {
        let program = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.38";
        assert_eq!(newest_glibc(program), Some((2, 34)));
        assert_eq!(newest_glibc(b"\0GLIBC_2.38\0"), Some((2, 38)));
        assert_eq!(newest_glibc(b"static"), None);
    }
}
