//! `cargo xtask e2e-aws`: deploys both stacks and our own functions in an emulated organization, plays
//! what can happen there, and writes `bench/E2E.md`.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use stanch_catalog::Catalog;
use stanch_deploy::{BOOTSTRAP, charges, package};
use stanch_testkit::{
    Maker, Request,
    deployed::{Deployed, Layout, load, scenarios, standby, walk},
    measure::FirstPoll,
    mends, models, repository,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Member accounts and regions of the scenarios; the large one has its own.
const MEMBERS: usize = 2;
const REGIONS: [&str; 2] = ["us-east-1", "eu-central-1"];

/// The large scenario's name.
const MANY: &str = "many";

/// The name of the walk through the guide.
const GUIDE: &str = "guide";

/// The name of the scenario with two administrator regions.
const STANDBY: &str = "standby";

/// What is asked for.
#[derive(Default)]
struct Options {
    archive: Option<PathBuf>,
    program: Option<PathBuf>,
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

impl Options {
    /// True if this is named, or nothing is.
    fn asks_for(&self, name: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|one| one == name)
    }
}

fn options() -> Outcome<Options> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match &*argument {
            "--archive" => options.archive = Some(value()?.into()),
            "--program" => options.program = Some(value()?.into()),
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
    let walked = match options.asks_for(GUIDE) {
        true => {
            let program = match &options.program {
                Some(path) => fs::read(path)?,
                None => script(&std::env::current_exe()?.with_file_name(BOOTSTRAP)).into_bytes(),
            };
            let walked = walk::play(&layout, &program).await;
            match &walked {
                Ok(seen) => say(&format!("ok      {GUIDE}: {seen}")),
                Err(error) => say(&format!("FAILED  {GUIDE}: {error}")),
            }
            Some(walked)
        }
        false => None,
    };
    let paired = match options.asks_for(STANDBY) {
        true => {
            let small = Layout {
                members: 1,
                ..layout.clone()
            };
            let paired = standby::play(&small).await;
            match &paired {
                Ok(seen) => say(&format!("ok      {STANDBY}: {seen}")),
                Err(error) => say(&format!("FAILED  {STANDBY}: {error}")),
            }
            Some(paired)
        }
        false => None,
    };
    let mut rows = Vec::new();
    if !wanted.is_empty() {
        play(&layout, wanted, options.dev, &mut rows).await?;
    }
    let large = match options.asks_for(MANY) && options.findings > 0 {
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
        && walked.as_ref().is_none_or(Result::is_ok)
        && paired.as_ref().is_none_or(Result::is_ok)
        && large.as_ref().is_none_or(|seen| seen.is_ok());
    if options.scenarios.is_empty() {
        let large = large.map(|seen| seen.map_err(|error| error.to_string()));
        let start = options.program.as_deref().map(start).transpose()?;
        let archive = options.archive.is_some().then_some(packed.len());
        let walked = walked.map(|seen| seen.map_err(|error| error.to_string()));
        let paired = paired.map(|seen| seen.map_err(|error| error.to_string()));
        let text = report(
            &rows,
            walked.as_ref(),
            paired.as_ref(),
            large.as_ref(),
            archive,
            start,
        )?;
        fs::write(repository().join("bench/E2E.md"), text)?;
    }
    Ok(whole)
}

/// Plays scenarios on one organization.
async fn play(
    layout: &Layout<'_>,
    wanted: Vec<scenarios::Scenario>,
    dev: bool,
    rows: &mut Vec<Row>,
) -> Outcome {
    let deployed = Deployed::start(layout).await?;
    let stacks = 1 + MEMBERS * REGIONS.len();
    say(&format!(
        "deployed {stacks} stacks in {:.1} s",
        deployed.took.as_secs_f64()
    ));
    for scenario in wanted {
        let begin = Instant::now();
        let seen = scenario.play(&deployed).await;
        let took = begin.elapsed();
        match &seen {
            Ok(seen) => say(&format!("ok      {}: {seen}", scenario.name)),
            Err(error) => {
                say(&format!("FAILED  {}: {error}", scenario.name));
                deployed.forget().await?;
            }
        }
        if dev {
            leave_traces(&deployed)?;
        }
        rows.push((scenario, seen.map_err(|error| error.to_string()), took));
    }
    Ok(())
}

/// Leaves what the emulator said, and every request, where a developer can read it.
fn leave_traces(deployed: &Deployed) -> Outcome {
    let target = repository().join("target");
    let log = fs::read_to_string(deployed.emulator().log())?;
    fs::write(target.join("e2e-emulator.log"), log)?;
    let mut requests = String::new();
    for request in deployed.emulator().requests()? {
        let Request {
            key,
            service,
            method,
            path,
            query,
            target,
            body,
            ..
        } = request;
        // Writing to a string does not fail.
        let _ = writeln!(
            requests,
            "{key} {service} {method} {path}?{query} {target} {body}"
        );
    }
    Ok(fs::write(target.join("e2e-requests.log"), requests)?)
}

/// An archive whose `bootstrap` starts a program of this machine, as large as it may be.
fn launcher(program: &Path) -> Outcome<Vec<u8>> {
    let script = script(program);
    Ok(package(script.as_bytes(), &Catalog::embedded(), &models())?)
}

fn script(program: &Path) -> String {
    format!("#!/bin/sh\nexec '{}'\n", program.display())
}

type Row = (scenarios::Scenario, Result<String, String>, Duration);

/// Medians of 21 starts of the orchestrator: milliseconds to its first poll, and MiB.
fn start(program: &Path) -> Outcome<(f64, f64)> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        let polled = FirstPoll::of(program, "orchestrator")?;
        times.push(polled.after.as_secs_f64() * 1000.0);
        memory.push(polled.memory_mib);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(10).copied().unwrap_or(f64::NAN)
    };
    Ok((median(&mut times), median(&mut memory)))
}

fn report(
    rows: &[Row],
    walked: Option<&Result<String, String>>,
    paired: Option<&Result<String, String>>,
    large: Option<&Result<load::Load, String>>,
    archive: Option<usize>,
    start: Option<(f64, f64)>,
) -> Outcome<String> {
    let run = match archive {
        Some(bytes) => format!("archive ({:.1} MiB)", bytes as f64 / 1_048_576.0),
        None => "debug build, which an archive starts where it is,".to_owned(),
    };
    let mut text = format!(
        "<!-- Written by `cargo xtask e2e-aws`. -->\n# Deployed and run\n\n\
         Both stacks of `generated/cloudformation/` on MiniStack with IAM enforced, the functions' own\n\
         {run} run by its Lambda behind rules, queue and state machine; {MEMBERS} member accounts, {} regions.\n\n\
         | scenario | what must come of it | seen | seconds |\n|---|---|---|--:|\n",
        REGIONS.len(),
    );
    for (scenario, seen, took) in rows {
        let seen = match seen {
            Ok(seen) => seen.clone(),
            Err(error) if error.starts_with("not played") => error.clone(),
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
    if let Some(walked) = walked {
        let said = match walked {
            Ok(seen) => seen.clone(),
            Err(error) => format!("**failed**: {error}"),
        };
        let _ = writeln!(
            text,
            "\nThe [guide to a deployment](../docs/guides/deploy.md), walked through from an empty account \
             ([transcript](../docs/guides/deploy-transcript.md)): {said}."
        );
    }
    if let Some(paired) = paired {
        let said = match paired {
            Ok(seen) => seen.clone(),
            Err(error) => format!("**failed**: {error}"),
        };
        let _ = writeln!(
            text,
            "\nA [second administrator region](../docs/guides/standby-region.md) on replicas of the tables, \
             failed over to: {said}."
        );
    }
    if let Some((milliseconds, mib)) = start {
        let _ = writeln!(
            text,
            "\nThe orchestrator's program asks for its first event {milliseconds:.1} ms after its start, with \
             {mib:.1} MiB\nresident (medians of 21; wanted ≤ 5 ms, ≤ 15 MiB). The archive: wanted ≤ 8 MiB."
        );
    }
    match large {
        Some(Ok(seen)) => {
            let _ = writeln!(text, "\n## Many\n\n{seen}\n\n{}", bill(seen)?);
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
            && ["stack", "event bus", "organization", "Step Functions"]
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
    Ok(text)
}

/// What one of the findings costs: what was counted, and by design what cannot be seen here.
fn bill(load: &load::Load) -> Outcome<String> {
    let mut text = String::from(
        "What each of them costs by `stanch-deploy/data/prices.tsv` (list prices, no free tiers; wanted ≤ $0.0001):\n\n\
         | item | quantity | seen | US dollars |\n|---|--:|---|--:|\n",
    );
    let mut sum = 0.0;
    for charge in charges(&load.usage(), 1.0)? {
        let seen = match charge.counted {
            true => "counted",
            false => "by design",
        };
        let cost = charge.cost;
        sum += cost.monthly;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {seen} | {:.9} |",
            cost.item,
            (cost.quantity * 1e7).round() / 1e7,
            cost.monthly
        );
    }
    let _ = writeln!(text, "| together | | | {sum:.7} |");
    let each = |count: usize| count as f64 / load.findings as f64;
    let spent = &load.spent;
    let automated = |request: &&Request| request.target == "AmazonSSM.StartAutomationExecution";
    let automations = spent.requests.iter().filter(automated).count();
    let transitions = match spent.executions {
        0 => "0",
        _ => "not counted",
    };
    let _ = write!(
        text,
        "\nBeside AWS's own solution (Automated Security Response on AWS 3.1.5, its handlers measured against an emulator):\n\n\
         | for one bucket | Stanch | AWS's solution |\n|---|--:|--:|\n\
         | Lambda runs | {:.2} | 10 |\n\
         | state transitions | {transitions} | 23 |\n\
         | Automation executions | {automations} | 2 |\n\
         | AWS requests | {:.1} | 45 |\n\
         | US dollars | {sum:.7} | 0.009 |\n",
        each(spent.runs),
        each(spent.requests.len()),
    );
    Ok(text)
}

fn say(text: &str) {
    eprintln!("{text}");
}
