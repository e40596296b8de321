//! Lives through many histories of the hub in a bad world and prints the figures as JSON.
//!
//! `chaos [--seed N] [--histories N] [--seconds N]`: from seed N on, so many of them, or as many as begin in
//! that time, on all cores. What happened in a single one is printed.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use stanch_testkit::chaos::{Chaos, Figures, Violation};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let seed = number("--seed");
    let histories = number("--histories").unwrap_or(if seed.is_some() { 1 } else { 100_000 });
    let time = number("--seconds").map_or(Duration::MAX, Duration::from_secs);
    let first = seed.unwrap_or(0);
    let chaos = match Chaos::new() {
        Ok(chaos) => chaos,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let (total, violations) = (
        Mutex::new(Figures::default()),
        Mutex::new(Vec::<Violation>::new()),
    );
    if let (Some(seed), true) = (seed, histories == 1) {
        for line in chaos.story(seed) {
            eprintln!("  {line}");
        }
    }
    let begin = Instant::now();
    thread::scope(|scope| {
        for core in 0..cores {
            let (chaos, total, violations) = (&chaos, &total, &violations);
            scope.spawn(move || {
                let mut figures = Figures::default();
                for seed in
                    (first + core..first + histories).step_by(usize::try_from(cores).unwrap_or(1))
                {
                    if begin.elapsed() >= time {
                        break;
                    }
                    match chaos.run(seed) {
                        Ok(one) => figures.add(&one),
                        Err(violation) => {
                            let mut found =
                                violations.lock().unwrap_or_else(PoisonError::into_inner);
                            found.push(*violation);
                            if found.len() >= 20 {
                                return;
                            }
                        }
                    }
                }
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.add(&figures);
            });
        }
    });
    let mut violations = violations
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    violations.sort_by_key(|violation| violation.seed);
    if let Some(first) = violations.first() {
        eprintln!("{first}");
        for other in violations.iter().skip(1) {
            eprintln!("seed {}: {}", other.seed, other.what);
        }
    }
    let figures = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let rows: Map<String, Value> = figures
        .rows()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let deaths: Map<String, Value> = figures
        .deaths_at
        .iter()
        .map(|(what, deaths)| (what.clone(), json!([deaths.before, deaths.after])))
        .collect();
    println!(
        "{}",
        json!({ "seconds": begin.elapsed().as_secs_f64(), "cores": cores, "violations": violations.len(), "figures": rows, "deaths": deaths })
    );
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
