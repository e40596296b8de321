//! `stanch policy`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use stanch_guard::{Explanation, Guard, Outcome, read_cases, starter};
use stanch_hub::{Explained, Source};
use stanch_ledger::{MemoryLedger, Verdict};

use crate::{
    cli::{Finding, Policy},
    commands::read_event,
    output::{Color, Exit, Failure, clean, print, print_json},
    wire::Wire,
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Policy) -> Result<Exit, Failure> {
    match command {
        Policy::Init { file } => init(&file),
        Policy::Check => check(wire).await,
        Policy::Schema => {
            let catalog = wire.unproved_catalog()?;
            print(wire.rules().await?.schema(&catalog).trim_end())?;
            Ok(Exit::Done)
        }
        Policy::Explain(finding) => explain(wire, finding).await,
        Policy::Test { files } => test(wire, &files).await,
    }
}

fn init(file: &Path) -> Result<Exit, Failure> {
    let fail = |error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", file.display()))
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let written = OpenOptions::new().write(true).create_new(true).open(file);
    let mut written = written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("`{}` is there already", file.display()))
                .hint("name another file")
        }
        _ => fail(error),
    })?;
    written.write_all(starter().as_bytes()).map_err(fail)?;
    print(format!(
        "wrote {}; put `guard.policies = \"{}\"` into the configuration",
        file.display(),
        file.parent().unwrap_or(file).display()
    ))?;
    Ok(Exit::Done)
}

async fn check(wire: &Wire) -> Result<Exit, Failure> {
    let catalog = wire.unproved_catalog()?;
    let guard = wire.guard(&catalog).await?;
    let now = wire.clock.now();
    let expired: Vec<String> = guard
        .exemptions()
        .expired(now)
        .map(|exemption| format!("expired: {exemption}"))
        .collect();
    let calendars: Vec<(&str, bool)> = guard
        .calendars()
        .iter()
        .map(|calendar| (calendar.name(), calendar.is_open(now)))
        .collect();
    let feeds: Vec<(&str, usize, usize)> = guard
        .feeds()
        .iter()
        .map(|feed| (feed.name(), feed.len(), feed.skipped()))
        .collect();
    let exit = match expired.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if wire.json {
        print_json(&json!({
            "hash": guard.hash(),
            "policies": guard.policies(),
            "exemptions": guard.exemptions().all().len(),
            "expired": expired,
            "calendars": calendars.iter().map(|(name, open)| json!({"name": name, "open": open})).collect::<Vec<_>>(),
            "feeds": feeds.iter().map(|(name, indicators, skipped)| json!({"name": name, "indicators": indicators, "skipped": skipped})).collect::<Vec<_>>(),
        }))?;
        return Ok(exit);
    }
    let mut lines = vec![
        format!("rules {}", guard.hash()),
        format!(
            "{} policies, {} exemptions",
            guard.policies(),
            guard.exemptions().all().len()
        ),
    ];
    for (name, open) in calendars {
        lines.push(format!(
            "calendar {name} is {}",
            if open { "open" } else { "closed" }
        ));
    }
    for (name, indicators, skipped) in feeds {
        let skipped = match skipped {
            0 => String::new(),
            skipped => format!(", {skipped} not used: they need several things at once"),
        };
        lines.push(format!("feed {name}: {indicators} indicators{skipped}"));
    }
    lines.extend(expired);
    print(lines.join("\n"))?;
    Ok(exit)
}

async fn explain(wire: &Wire, finding: Finding) -> Result<Exit, Failure> {
    let (name, bytes) = read_event(&finding.file)?;
    // Nobody asks, unless the command says who.
    let source = match finding.person.name {
        Some(person) => Source::person(name, person),
        None => Source::automatic(name),
    };
    let settings = wire.resolved.config.settings();
    // What may be changed depends on what was changed before.
    let hub = match wire.existing_ledger() {
        Ok(_) => {
            wire.hub(wire.ledger_to_read()?, settings, Vec::new())
                .await?
        }
        Err(_) => {
            wire.hub(Arc::new(MemoryLedger::new()), settings, Vec::new())
                .await?
        }
    };
    let explained = hub.explain(&source, &bytes).await;
    let exit = explained.iter().fold(Exit::Done, |exit, one| {
        exit.and(match &one.explanation {
            Ok(explanation) => foreseen(explanation.verdict),
            Err(_) => Exit::Failed,
        })
    });
    if wire.json {
        let all: Vec<_> = explained
            .iter()
            .map(|one| match &one.explanation {
                Ok(explanation) => json!({"received": one.received, "explanation": explanation}),
                Err(error) => json!({"received": one.received, "error": error}),
            })
            .collect();
        print_json(&all)?;
        return Ok(exit);
    }
    let parts: Vec<String> = explained.iter().map(describe).collect();
    print(match parts.is_empty() {
        true => "nothing to explain: there is no finding in it that needs anything".to_owned(),
        false => parts.join("\n\n"),
    })?;
    Ok(exit)
}

const fn foreseen(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Run => Exit::Done,
        Verdict::Refuse => Exit::Refused,
        Verdict::NeedsApproval | Verdict::Defer { .. } => Exit::Waiting,
    }
}

fn describe(one: &Explained) -> String {
    let color = Color::out();
    let received = &one.received;
    let mut lines = vec![format!(
        "{} on {}, account {}, {}",
        color.bold(&received.remediation),
        clean(&received.resource_id),
        received.account,
        received.region
    )];
    let explanation: &Explanation = match &one.explanation {
        Ok(explanation) => explanation,
        Err(error) => {
            lines.push(format!("  {}: {}", color.red("not decided"), clean(error)));
            return lines.join("\n");
        }
    };
    let verdict = match explanation.verdict {
        Verdict::Run => color.green("runs"),
        Verdict::Refuse => color.red("is refused"),
        Verdict::NeedsApproval => color.yellow("waits for an approval"),
        Verdict::Defer { until } => color.yellow(format!("waits until {until:.0}")),
    };
    lines.push(format!("  {verdict}"));
    lines.extend(
        explanation
            .reasons
            .iter()
            .map(|reason| format!("    {}", clean(reason))),
    );
    lines.push("  asked".to_owned());
    for question in &explanation.questions {
        let answer = if question.permitted { "yes" } else { "no" };
        lines.push(format!(
            "    {}: {answer}; {}",
            question.run,
            question.because.join("; ")
        ));
    }
    if !explanation.changes.is_empty() {
        lines.push("  what would change it".to_owned());
        for change in &explanation.changes {
            let then = match change.then {
                "run" => "it runs",
                _ => "it waits for an approval",
            };
            lines.push(format!("    {}: {then}", clean(&change.what)));
        }
    }
    lines.join("\n")
}

async fn test(wire: &Wire, files: &[PathBuf]) -> Result<Exit, Failure> {
    let catalog = wire.unproved_catalog()?;
    let guard: Guard = wire.guard(&catalog).await?;
    let now = wire.clock.now();
    let mut played: Vec<(String, Outcome)> = Vec::new();
    for file in files {
        let path = file.display().to_string();
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read `{path}`: {error}")))?;
        let cases = read_cases(&path, &text).map_err(|p| Failure::usage(p.to_string()))?;
        for (line, case) in &cases {
            played.push((path.clone(), guard.test(*line, case, &catalog, now)));
        }
    }
    let failed = played.iter().filter(|(_, outcome)| !outcome.passed).count();
    if wire.json {
        let all: Vec<_> = played
            .iter()
            .map(|(path, outcome)| json!({"file": path, "case": outcome}))
            .collect();
        print_json(&all)?;
    } else {
        let color = Color::out();
        let mut lines = Vec::new();
        for (path, outcome) in &played {
            match &outcome.problem {
                None => lines.push(format!("{}  {}", color.green("ok  "), clean(&outcome.name))),
                Some(problem) => {
                    lines.push(format!("{}  {}", color.red("FAIL"), clean(&outcome.name)));
                    lines.push(format!("      {path}:{}: {problem}", outcome.line));
                    lines.extend(
                        outcome
                            .reasons
                            .iter()
                            .map(|why| format!("      {}", clean(why))),
                    );
                }
            }
        }
        lines.push(format!("{} cases, {failed} failed", played.len()));
        print(lines.join("\n"))?;
    }
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}
