//! `cargo xtask chaos` and `cargo xtask fuzz`: chance against the hub and against all that reads
//! foreign bytes.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
};

use clap::Args;
use serde_json::Value;

use crate::run::{Failure, Outcome, build, built, root, run, section, target};

/// Which histories.
#[derive(Args)]
pub struct ChaosOptions {
    /// Live through one history again, and print what happened
    #[arg(long)]
    seed: Option<u64>,
    /// How many histories
    #[arg(long)]
    histories: Option<u64>,
    /// For how long at most
    #[arg(long)]
    seconds: Option<u64>,
}

/// How long.
#[derive(Args)]
pub struct FuzzOptions {
    /// How long, over all targets
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Another seed gives other inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// With libFuzzer, which follows what code an input reaches; needs a nightly toolchain and `cargo-fuzz`
    #[arg(long)]
    coverage: bool,
}

/// A program of the test kit with our own crates optimized.
fn program(name: &str) -> Outcome<Command> {
    let mut build = build(&[name]);
    build.arg("--quiet");
    for own in [
        "types", "syntax", "models", "aws", "runbook", "catalog", "ledger", "guard", "hub",
        "testkit",
    ] {
        build.arg("--config");
        build.arg(format!("profile.dev.package.stanch-{own}.opt-level=2"));
    }
    run(&mut build)?;
    Ok(built(name))
}

/// A whole round.
const ROUND: u64 = 100_000;

/// Lives through histories; a whole round without a violation writes `bench/CHAOS.md`.
pub fn chaos(options: &ChaosOptions) -> Outcome {
    section("chaos");
    let mut chaos = program("chaos")?;
    let ChaosOptions {
        seed,
        histories,
        seconds,
    } = *options;
    for (flag, number) in [
        ("--seed", seed),
        ("--histories", histories),
        ("--seconds", seconds),
    ] {
        if let Some(number) = number {
            chaos.args([flag, &number.to_string()]);
        }
    }
    let output = chaos
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.trim_end());
    if !output.status.success() {
        return Err(Failure::new("an invariant does not hold")
            .hint("`cargo xtask chaos --seed N` lives through that history again"));
    }
    let figures = text.lines().last().map(serde_json::from_str::<Value>);
    match figures {
        Some(Ok(figures))
            if seed.is_none()
                && seconds.is_none()
                && histories.is_none_or(|count| count >= ROUND) =>
        {
            write(&figures)
        }
        _ => Ok(()),
    }
}

fn write(figures: &Value) -> Outcome {
    let mut text = String::from(
        "<!-- Written by `cargo xtask chaos`. -->\n# Chaos\n\n\
         Histories of one or two hubs on one ledger, by chance and yet the same for the same seed:\n\
         processes die at any write to the ledger and with requests under way, disks are full or read-only, for\n\
         one write or for a while, and store writes without saying so,\n\
         AWS throttles, fails, loses answers and carries requests out after the caller gave up, clocks jump,\n\
         events come twice, late, out of order and unreadable, people approve, reject, roll back, pause and resume at\n\
         any moment, and others change the same resources. Afterwards it holds that nothing was sent that no plan\n\
         held, nothing twice, nothing while paused; that nothing is lost and all that began has ended; that\n\
         no success is without a verifying read; that resources are as the ledger says; and that the ledger\n\
         verifies.\n\n",
    );
    let number = |name: &str| {
        figures
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let _ = writeln!(
        text,
        "{:.0} s on {} cores, {} violations.\n\n| what | how many |\n|---|--:|",
        number("seconds"),
        number("cores"),
        number("violations"),
    );
    let rows = figures.get("figures").and_then(Value::as_object);
    for (name, value) in rows.into_iter().flatten() {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text.push_str(
        "\nThe writes to the ledger, by what is stored together, and how many processes died right\n\
         before it and right after it:\n\n| write | before | after |\n|---|--:|--:|\n",
    );
    let deaths = figures.get("deaths").and_then(Value::as_object);
    for (what, count) in deaths.into_iter().flatten() {
        let of = |index: usize| count.get(index).and_then(Value::as_u64).unwrap_or_default();
        let _ = writeln!(text, "| {what} | {} | {} |", of(0), of(1));
    }
    let path = root().join("bench/CHAOS.md");
    fs::write(&path, text).map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))
}

/// Gives every target unexpected bytes for a while.
pub fn fuzz(options: &FuzzOptions) -> Outcome {
    if options.coverage {
        return fuzz_by_coverage(options);
    }
    section("fuzz");
    let FuzzOptions { seconds, seed, .. } = options;
    let mut fuzz = program("fuzz")?;
    fuzz.args(["--seconds", &seconds.to_string()]);
    fuzz.args(["--seed", &seed.to_string()]);
    run(&mut fuzz).map_err(|failure| {
        failure.hint(format!(
            "the inputs are below fuzz/found/; once mended, they belong into fuzz/corpus/. \
             `cargo xtask fuzz --seconds {seconds} --seed {seed}` begins with the same ones"
        ))
    })
}

/// A round of histories, or what of it a slow machine comes to in its time, and some seconds of unexpected
/// bytes for each target. They begin with the same ones each time: a change is judged by what it changed, not
/// by its luck.
pub fn some() -> Outcome {
    chaos(&ChaosOptions {
        seed: None,
        histories: Some(ROUND),
        seconds: Some(600),
    })?;
    fuzz(&FuzzOptions {
        seconds: 5 * targets()?.len() as u64,
        seed: 0,
        coverage: false,
    })
}

/// The targets by name: a file each.
fn targets() -> Outcome<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder)
        .map_err(|error| Failure::new(format!("`{}`: {error}", folder.display())))?;
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// The same with libFuzzer, which keeps what reaches new code. It begins with the same seeds.
fn fuzz_by_coverage(options: &FuzzOptions) -> Outcome {
    let folder = root().join("fuzz");
    let seeds = target().join("fuzz-seeds");
    run(program("fuzz")?.arg("--seeds").arg(&seeds))?;
    let failed = |error| Failure::new(format!("`{}`: {error}", folder.display()));
    // The same versions as everywhere.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(failed)?;
    let names = targets()?;
    let share = options.seconds / names.len().max(1) as u64;
    for name in names {
        section(&format!("libFuzzer: {name}"));
        let kept = folder.join("found").join(&name);
        fs::create_dir_all(&kept).map_err(failed)?;
        // Not the cargo of this toolchain: only nightly ones know how to tell of coverage.
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(root())
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(["+nightly", "fuzz", "run", &name])
            .args([&kept, &seeds.join(&name)])
            .args(["--", "-timeout=5", "-max_len=65536", "-print_final_stats=1"])
            .arg(format!("-max_total_time={share}"))
            .arg(format!("-seed={}", options.seed));
        run(&mut cargo).map_err(|failure| {
            failure.hint(
                "`rustup toolchain install nightly` and `cargo install cargo-fuzz` bring what it needs; \
                 inputs that fail are below fuzz/artifacts/ and belong into fuzz/corpus/ once mended",
            )
        })?;
    }
    Ok(())
}
