//! `cargo xtask bench`: measures what the project promises, and writes `bench/RESULTS.md`.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use clap::Args;
use serde_json::Value;

use crate::{
    run::{Failure, Outcome, build, root, run, section, target},
    setup,
};

/// How much is measured.
#[derive(Args)]
pub struct Options {
    /// Findings through the pipeline, and records in the ledger
    #[arg(long, default_value_t = 1_000_000)]
    findings: u64,
    /// Runs of one finding against the emulator
    #[arg(long, default_value_t = 9)]
    runs: u32,
    /// Measure Stanch beside Cloud Custodian too, which is installed into .venv-custodian/
    #[arg(long)]
    custodian: bool,
}

/// Builds in release, measures, and writes the figures down.
pub fn bench(options: &Options) -> Outcome {
    setup::setup()?;
    section("building");
    let mut build = build(&["stanch", "bootstrap", "one-finding", "beside-custodian"]);
    build.arg("--release");
    for measurement in [
        "pipeline-bench",
        "ledger-bench",
        "guard-bench",
        "catalog-bench",
    ] {
        build.args(["--example", measurement]);
    }
    run(&mut build)?;
    let release = target().join("release");
    let stanch = release.join("stanch");

    section("measuring");
    let size = fs::metadata(&stanch)
        .map_err(|error| Failure::new(error.to_string()))?
        .len();
    let start = version(&stanch)?;
    let one = figures(Command::new(release.join("one-finding")).arg(options.runs.to_string()))?;
    let folder = target().join("bench");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| Failure::new(error.to_string()))?;
    let findings = options.findings.to_string();
    let pipeline = figures(
        Command::new(release.join("examples/pipeline-bench"))
            .arg(folder.join("pipeline.db"))
            .arg(&findings),
    )?;
    let asked = figures(
        Command::new(release.join("examples/pipeline-bench"))
            .arg(folder.join("asked.db"))
            .args([&(options.findings / 10).to_string(), "ask"]),
    )?;
    let ledger = figures(
        Command::new(release.join("examples/ledger-bench"))
            .arg(folder.join("ledger.db"))
            .arg(&findings),
    )?;

    // An export is held in memory, and so is one of fewer.
    let exported = figures(
        Command::new(release.join("examples/ledger-bench"))
            .arg(folder.join("exported.db"))
            .arg("100000"),
    )?;
    let guard = figures(&mut Command::new(release.join("examples/guard-bench")))?;
    let catalog = cold(&release.join("examples/catalog-bench"), options.runs)?;

    let mut text = String::from("<!-- Written by `cargo xtask bench`. -->\n# Figures\n\n");
    let machine = machine();
    let of = |figures: &Value, name: &str| figures.get(name).cloned().unwrap_or_default();
    let list = |values: &Value| {
        let values = values.as_array().into_iter().flatten();
        values
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let decision = |case: &str| {
        let median = guard
            .get(case)
            .and_then(|case| case.get("decision_us_median"));
        let median = median.and_then(Value::as_f64).unwrap_or(f64::NAN);
        format!("{median:.0} µs")
    };
    let rows = [
        (
            "One finding (S3.8), CPU of the process",
            format!("{} ms", of(&one, "cpu_ms")),
            "≤ 60 ms",
        ),
        (
            "… peak memory",
            format!("{} MiB", of(&one, "peak_memory_mib")),
            "≤ 40 MiB",
        ),
        (
            "… AWS requests, cold credential cache",
            of(&one, "requests_cold").to_string(),
            "≤ 6",
        ),
        (
            "… AWS requests, warm",
            of(&one, "requests_warm").to_string(),
            "≤ 4",
        ),
        (
            "Its rollback, CPU of the process",
            format!("{} ms", of(&one, "rollback_cpu_ms")),
            "as the fix",
        ),
        (
            "… AWS requests, cold credential cache",
            of(&one, "rollback_requests").to_string(),
            "as the fix",
        ),
        (
            "Findings parsed, routed, planned and recorded durably",
            format!("{}/s", of(&pipeline, "findings_per_second")),
            "≥ 5,000/s",
        ),
        (
            "… CPU of each, over all threads",
            format!("{} µs", of(&pipeline, "cpu_us_per_finding")),
            "≤ 400 µs",
        ),
        (
            "… and put to the guard and to people for an approval",
            format!(
                "{}/s, {} µs of CPU",
                of(&asked, "findings_per_second"),
                of(&asked, "cpu_us_per_finding")
            ),
            "",
        ),
        (
            "… memory at each tenth of the way, and at the end",
            format!(
                "{}, {} MiB",
                list(&of(&pipeline, "resident_mib_at_each_tenth")),
                of(&pipeline, "resident_mib_at_the_end")
            ),
            "flat",
        ),
        (
            "Ledger: events appended with hashes and tree, durable",
            format!("{}/s", of(&ledger, "events_appended_per_second")),
            "≥ 5,000/s",
        ),
        (
            "… of the file verified",
            format!(
                "{}/s",
                of(&ledger, "events_of_the_file_verified_per_second")
            ),
            "≥ 200,000/s",
        ),
        (
            "… of an export verified, with its signatures",
            format!(
                "{}/s",
                of(&exported, "events_of_an_export_verified_per_second")
            ),
            "≥ 200,000/s",
        ),
        (
            "A decision of the guard with 200 policies, each about one remediation, median",
            decision("each_of_an_action"),
            "≤ 200 µs",
        ),
        (
            "… each about any remediation",
            decision("each_of_any_action"),
            "",
        ),
        (
            "… that waits for a window of a calendar",
            decision("waiting_for_a_window"),
            "≤ 200 µs",
        ),
        (
            "The catalog, read and checked, cold",
            format!("{catalog:.1} ms"),
            "≤ 30 ms",
        ),
        (
            "Release binary, all services inside",
            format!("{:.1} MiB", size as f64 / 1_048_576.0),
            "≤ 25 MiB",
        ),
        ("`stanch --version`", format!("{start:.1} ms"), "≤ 10 ms"),
    ];
    let _ = writeln!(
        text,
        "{machine}. {findings} findings; medians over {} runs. Machines of one name differ: counting to 20\n\
         million in Python takes {:.1} s here.\n",
        options.runs,
        yardstick()?
    );
    let _ = writeln!(text, "| what | measured | wanted |\n|---|---|---|");
    for (what, measured, wanted) in rows {
        let _ = writeln!(text, "| {what} | {measured} | {wanted} |");
    }
    for query in ["account", "account_and_time", "resource", "finding"] {
        let times = of(&ledger, &format!("by_{query}"));
        let _ = writeln!(
            text,
            "| A page of fifty by {}, right after the fill, p99 | {} ms | ≤ 5 ms |",
            query.replace('_', " "),
            of(&times, "p99_ms")
        );
    }
    let _ = writeln!(text, "\nThe ledger alone:\n\n```json\n{ledger:#}\n```");
    if options.custodian {
        let python = setup::venv(".venv-custodian", "tools/custodian.txt")?;
        let rows = figures(
            Command::new(release.join("beside-custodian")).arg(python.with_file_name("custodian")),
        )?;
        text.push_str(&beside(&rows));
    }
    let path = root().join("bench/RESULTS.md");
    fs::create_dir_all(root().join("bench")).map_err(|error| Failure::new(error.to_string()))?;
    fs::write(&path, &text)
        .map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))?;
    println!("{text}");
    Ok(())
}

/// The table of Stanch beside Cloud Custodian.
fn beside(rows: &Value) -> String {
    let mut text = String::from(
        "\n## Beside Cloud Custodian\n\n\
         c7n 0.9.53 with one policy, Stanch with the findings; both seen to have fixed all resources. CPU,\n\
         wall time and AWS requests of the process. `cargo xtask bench --custodian`.\n\n\
         | remediation | resources | Custodian | | | Stanch | | | CPU | requests |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows.as_array().into_iter().flatten() {
        let of = |who: &str, what: &str| {
            let found = row.get(who).and_then(|figures| figures.get(what));
            found.and_then(Value::as_f64).unwrap_or(f64::NAN)
        };
        let name = row.get("remediation").and_then(Value::as_str);
        let size = row.get("resources").and_then(Value::as_u64);
        let _ = write!(
            text,
            "| `{}` | {} |",
            name.unwrap_or_default(),
            size.unwrap_or_default()
        );
        for who in ["custodian", "stanch"] {
            let _ = write!(
                text,
                " {:.0} ms | {:.1} s | {} requests |",
                of(who, "cpu_ms"),
                of(who, "wall_ms") / 1000.0,
                of(who, "requests"),
            );
        }
        let part = |what: &str| 100.0 * of("stanch", what) / of("custodian", what);
        let _ = writeln!(
            text,
            " {:.0} % | {:.0} % |",
            part("cpu_ms"),
            part("requests")
        );
    }
    text.push_str(
        "\nWanted: a tenth of the CPU, a third of the requests. Custodian lists what there is (a hundred groups in\n\
         one request), changes it, and is done. For each\n\
         finding Stanch reads the resource, plans, records durably before it sends, changes, and reads again to\n\
         prove it: four to six requests. So a third of the requests is reached where Custodian, too, has to look at\n\
         each resource (buckets), and cannot be where it does not.\n",
    );
    text
}

/// The last line of the program's output, which is JSON.
fn figures(program: &mut Command) -> Outcome<Value> {
    let name = program.get_program().to_string_lossy().into_owned();
    let output = program
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("`{name}`: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    match last {
        Some(figures) if output.status.success() => Ok(figures),
        _ => Err(Failure::new(format!(
            "`{name}` gave no figures ({})",
            output.status
        ))),
    }
}

/// The median of the wall time of 21 starts, in milliseconds.
fn version(stanch: &Path) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let begin = Instant::now();
        run(Command::new(stanch).arg("--version").stdout(Stdio::null()))?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times))
}

/// What reading and checking the whole catalog takes a process that has done nothing yet: the median of
/// `runs` processes, in milliseconds.
fn cold(catalog: &Path, runs: u32) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let figures = figures(Command::new(catalog).arg("0"))?;
        let whole = figures.get("whole").and_then(Value::as_f64);
        times.push(whole.unwrap_or(f64::NAN) / 1000.0);
    }
    Ok(median(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor, cores and memory.
fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_once(':')
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{}, {cores} cores, {} of memory",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal")
    )
}

/// How long a plain loop takes that nothing of ours is in, in seconds.
fn yardstick() -> Outcome<f64> {
    let begin = Instant::now();
    run(Command::new("python3").args(["-c", "x = 0\nfor i in range(20_000_000): x += i"]))?;
    Ok(begin.elapsed().as_secs_f64())
}
