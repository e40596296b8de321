//! `stanch doctor`: what is wrong with the installation, and what to do about it.

use serde_json::json;
use stanch_catalog::Catalog;
use stanch_deploy::{Deployment, Options};
use stanch_operate::doctor::{self, Fix, Issue, Line, Report, State};

use crate::{
    accounts::{Organization, installation, patient},
    cli,
    output::{Color, Exit, Failure, clean, one_line, print, print_json, say},
    wire::Wire,
};

/// Looks at everything, and mends what it may.
pub async fn run(wire: &Wire, options: cli::Doctor) -> Result<Exit, Failure> {
    let installation = installation(wire)?;
    let organization = Organization::of(wire)?;
    let mut patient = patient(wire, &installation, &options.account)?;
    let models = wire.models()?;
    let catalog = wire.unproved_catalog()?;
    let rendered = Deployment::new(&catalog, &models, &Options::default())
        .and_then(|deployment| deployment.render(&models))
        .map_err(|error| Failure::of(&error))?;
    patient.documents = stanch_deploy::document_versions(&rendered, &installation.name_prefix);
    let (ledger, broken) = match wire.existing_ledger() {
        Err(_) => (None, None),
        Ok(_) => match wire.ledger_to_read() {
            Ok(ledger) => (Some(ledger), None),
            Err(failure) => (None, Some(failure)),
        },
    };
    patient.ledger = ledger.as_deref().map(|store| store as _);
    let mut report = doctor::examine(&organization, &patient).await;
    if let Some(failure) = broken {
        report.lines.retain(|line| line.what != doctor::LEDGER);
        report.lines.push(Line::problem(
            Issue::NotFixed,
            doctor::LEDGER,
            failure.message,
            "keep it as evidence, and restore a backup: `stanch ledger restore`",
        ));
    }
    report.lines.extend(rules(wire, &catalog).await);
    report.lines.sort_by_key(|line| line.issue);
    let fixes: Vec<Fix> = report.fixes().cloned().collect();
    let mut mended = Vec::new();
    if options.yes {
        for fix in &fixes {
            say(format_args!("{}: {}", fix.call, fix.does));
            doctor::mend(&organization, fix).await?;
            mended.push(fix);
        }
    }
    if wire.json {
        print_json(&json!({
            "deployed": report.deployed,
            "worst": report.worst(),
            "lines": report.lines,
            "mended": mended,
        }))?;
    } else {
        print(text(&report, Color::out()))?;
        show_fixes(&fixes, &options)?;
    }
    Ok(exit(&report.lines))
}

/// What the guard decides by: whether it can be used, and which exemptions have expired.
async fn rules(wire: &Wire, catalog: &Catalog) -> Vec<Line> {
    let what = "what the guard decides by";
    let guard = match wire.guard(catalog).await {
        Ok(guard) => guard,
        Err(Failure { message, .. }) => {
            let advice = "nothing runs until it is right: `stanch policy check` checks it";
            let seen = one_line(&message);
            return vec![Line::problem(Issue::Ground, what, seen, advice)];
        }
    };
    let expired = guard.exemptions().expired(wire.clock.now());
    let mut lines: Vec<Line> = expired
        .map(|exemption| Line {
            state: State::Warning,
            ..Line::problem(
                Issue::Ground,
                "an exemption",
                format!("has expired: {exemption}"),
                "renew or remove it: until then what it covered waits for approvals",
            )
        })
        .collect();
    if lines.is_empty() {
        let seen = "it can be used, and no exemption has expired";
        lines.push(Line {
            state: State::Ok,
            advice: None,
            ..Line::problem(Issue::Ground, what, seen, "")
        });
    }
    lines
}

/// A problem is a failure, and so is what could not be looked at.
pub fn exit(lines: &[Line]) -> Exit {
    let worst = lines.iter().map(|line| line.state).max();
    match worst {
        Some(State::Ok | State::Warning) => Exit::Done,
        Some(State::Unknown | State::Problem) | None => Exit::Failed,
    }
}

fn show_fixes(fixes: &[Fix], options: &cli::Doctor) -> Result<(), Failure> {
    match (fixes, options.fix, options.yes) {
        ([], true, _) => say("nothing here can be mended safely by itself"),
        ([], false, _) => {}
        (fixes, false, _) => say(format_args!(
            "{} can be mended: `--fix` shows how",
            fixes.len()
        )),
        (fixes, true, false) => {
            print("")?;
            for fix in fixes {
                print(format!(
                    "would send {} in {}: {}\n  {}",
                    fix.call,
                    fix.region,
                    fix.does,
                    clean(&fix.call.params.to_string())
                ))?;
            }
            say("nothing was sent; `--fix --yes` sends these");
        }
        (fixes, true, true) => say(format_args!(
            "{} mended; `stanch doctor` looks again",
            fixes.len()
        )),
    }
    Ok(())
}

fn text(report: &Report, color: Color) -> String {
    let mut lines = Vec::new();
    let mut issue = None;
    for line in &report.lines {
        if issue != Some(line.issue) {
            issue = Some(line.issue);
            lines.push(color.bold(line.issue));
        }
        lines.extend(line_text(line, color));
    }
    let count = |state| {
        report
            .lines
            .iter()
            .filter(|line| line.state == state)
            .count()
    };
    lines.push(format!(
        "{} ok, {} warnings, {} unknown, {} problems",
        count(State::Ok),
        count(State::Warning),
        count(State::Unknown),
        count(State::Problem)
    ));
    lines.join("\n")
}

/// A line as people read it, with what to do below.
pub fn line_text(line: &Line, color: Color) -> Vec<String> {
    let state = format!("{:<8}", line.state);
    let state = match line.state {
        State::Ok => color.green(state),
        State::Warning => color.yellow(state),
        State::Unknown => color.cyan(state),
        State::Problem => color.red(state),
    };
    let account = line
        .account
        .as_ref()
        .map(|id| format!("{id} "))
        .unwrap_or_default();
    let mut text = vec![format!(
        "  {state} {account}{}: {}",
        clean(&line.what),
        clean(&line.seen)
    )];
    if line.state != State::Ok {
        let indent = " ".repeat(11);
        text.extend(
            line.advice
                .iter()
                .map(|advice| format!("{indent}{}", clean(advice))),
        );
        text.extend(
            line.command
                .iter()
                .map(|command| format!("{indent}$ {}", clean(command))),
        );
    }
    text
}
