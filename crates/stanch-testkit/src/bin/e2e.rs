//! `cargo xtask e2e-aws`: deploys both stacks and our own functions in an emulated organization, plays
//! what can happen there, and writes `bench/E2E.md`.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use stanch_deploy::{BOOTSTRAP, Entry, archive};
use stanch_testkit::{
    Maker,
    deployed::{Deployed, Layout, load, scenarios},
    mends, repository,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Member accounts and regions of the scenarios; the large one has its own.
const MEMBERS: usize = 2;
const REGIONS: [&str; 2] = ["us-east-1", "eu-central-1"];

/// What is asked for.
#[derive(Default)]
struct Options {
    archive: Option<PathBuf>,
    dev: bool,
    findings: usize,
    scenarios: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match e2e().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Outcome<Options> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match &*argument {
            "--archive" => options.archive = Some(value()?.into()),
            "--findings" => options.findings = value()?.parse()?,
            "--dev" => options.dev = true,
            _ => options.scenarios.push(argument),
        }
    }
    Ok(options)
}

/// True if everything ended as it must.
async fn e2e() -> Outcome<bool> {
    let options = options()?;
    let packed = match &options.archive {
        Some(path) => fs::read(path)?,
        None => launcher(&std::env::current_exe()?.with_file_name(BOOTSTRAP))?,
    };
    let wanted: Vec<scenarios::Scenario> = match options.scenarios.is_empty() {
        true => scenarios::ALL.to_vec(),
        false => options
            .scenarios
            .iter()
            .filter_map(|name| scenarios::Scenario::named(name))
            .collect(),
    };
    let layout = Layout {
        archive: &packed,
        members: MEMBERS,
        regions: &REGIONS,
        variables: &[],
    };
    let deployed = Deployed::start(&layout).await?;
    let stacks = 1 + MEMBERS * REGIONS.len();
    say(&format!(
        "deployed {stacks} stacks in {:.1} s",
        deployed.took.as_secs_f64()
    ));
    let mut rows = Vec::new();
    for scenario in wanted {
        let begin = Instant::now();
        let seen = scenario.play(&deployed).await;
        let took = begin.elapsed();
        match &seen {
            Ok(seen) => say(&format!("ok      {}: {seen}", scenario.name)),
            Err(error) => say(&format!("FAILED  {}: {error}", scenario.name)),
        }
        if seen.is_err() && options.dev {
            let log = fs::read_to_string(deployed.emulator().log())?;
            fs::write(repository().join("target/e2e-emulator.log"), log)?;
        }
        rows.push((scenario, seen.map_err(|error| error.to_string()), took));
    }
    drop(deployed);
    let large = match options.scenarios.is_empty() && options.findings > 0 {
        true => Some(load::play(&packed, options.findings).await),
        false => None,
    };
    if let Some(large) = &large {
        match large {
            Ok(seen) => say(&format!("ok      {seen}")),
            Err(error) => say(&format!("FAILED  {} findings: {error}", options.findings)),
        }
    }
    let whole = rows.iter().all(|(_, seen, _)| seen.is_ok())
        && large.as_ref().is_none_or(|seen| seen.is_ok());
    if options.scenarios.is_empty() && !options.dev {
        let large = large.map(|seen| seen.map_err(|error| error.to_string()));
        let text = report(&rows, large.as_ref(), packed.len());
        fs::write(repository().join("bench/E2E.md"), text)?;
    }
    Ok(whole)
}

/// An archive whose `bootstrap` starts a program of this machine, as large as it may be.
fn launcher(program: &std::path::Path) -> Outcome<Vec<u8>> {
    let script = format!("#!/bin/sh\nexec '{}'\n", program.display());
    Ok(archive(&[Entry {
        name: BOOTSTRAP,
        body: script.as_bytes(),
        runs: true,
    }])?)
}

type Row = (scenarios::Scenario, Result<String, String>, Duration);

fn report(rows: &[Row], large: Option<&Result<load::Load, String>>, archive: usize) -> String {
    let mut text = format!(
        "<!-- Written by `cargo xtask e2e-aws`. -->\n# Deployed and run\n\n\
         Both stacks of `generated/cloudformation/` on MiniStack with IAM enforced, the functions' own\n\
         archive ({:.1} MiB) run by its Lambda behind rules and queue, {MEMBERS} member accounts, {} regions.\n\n\
         | scenario | what must come of it | seen | seconds |\n|---|---|---|--:|\n",
        archive as f64 / 1_048_576.0,
        REGIONS.len(),
    );
    for (scenario, seen, took) in rows {
        let seen = match seen {
            Ok(seen) => seen.clone(),
            Err(error) => format!("**failed**: {error}"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {:.1} |",
            scenario.name,
            scenario.what,
            seen.replace('|', "\\|").replace('\n', " "),
            took.as_secs_f64()
        );
    }
    match large {
        Some(Ok(seen)) => {
            let _ = writeln!(text, "\n## Many\n\n{seen}");
        }
        Some(Err(error)) => {
            let _ = writeln!(text, "\n## Many\n\n**Failed**: {error}");
        }
        None => {}
    }
    text.push_str(
        "\n## What stands in\n\n\
         MiniStack refuses events of `aws.*`, as AWS does from anybody but its services. The test puts them on\n\
         the bus as a service would (`emulator/stage.py`); the stacks' own rules and patterns take it from there.\n\
         Security Hub is played by the same file. Step Functions' waits pass a hundred times faster. A message\n\
         that is hidden for half an hour is revealed at once where a scenario needs its second delivery.\n\
         What MiniStack's CloudFormation lacks is taken out of the templates:\n\n",
    );
    for lacking in stanch_testkit::deployed::LACKING {
        let _ = writeln!(text, "- {lacking}");
    }
    text.push_str("\nWhat is mended in it:\n\n");
    for (maker, mend) in mends() {
        if maker == Maker::MiniStack
            && ["stack", "event bus", "organization"]
                .iter()
                .any(|word| mend.contains(word))
        {
            let _ = writeln!(text, "- {mend}");
        }
    }
    text.push_str(
        "\nMiniStack does not enforce the rights of the state machine's own role, `lambda:AddPermission` and\n\
         service control policies; a judge of IAM does, in `stanch-deploy`'s tests.\n",
    );
    text
}

fn say(text: &str) {
    eprintln!("{text}");
}
