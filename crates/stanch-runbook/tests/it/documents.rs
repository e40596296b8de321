//! `tests/documents/<name>/`: a document, what everybody answers, and the trace that must come of it.
//!
//! `STANCH_BLESS=1` writes the traces anew; review each of them.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use serde_json::{Value, json};
use stanch_runbook::*;

use crate::scenario::{Input, World, models};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents");

fn document(path: &Path) -> Arc<Document> {
    let text = fs::read_to_string(path).unwrap();
    let parsed = parse(&text);
    let document = parsed
        .into_valid()
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
    // Whatever is run here passes the check, but for what a scenario is about.
    let errors: Vec<String> = check(&document, models())
        .into_iter()
        .filter(|d| d.severity == stanch_syntax::Severity::Error)
        .map(|d| d.to_string())
        .collect();
    let expected = text.contains("# check: fails");
    assert_eq!(
        errors.is_empty(),
        !expected,
        "{}: {errors:#?}",
        path.display()
    );
    // What the model says is what the text says.
    assert_eq!(
        parse(&document.to_yaml()).into_valid().as_ref(),
        Ok(&document),
        "{}",
        path.display()
    );
    assert_eq!(
        parse(&document.to_json().to_string()).into_valid().as_ref(),
        Ok(&document)
    );
    Arc::new(document)
}

fn run(folder: &Path) -> Value {
    let input: Input =
        serde_json::from_str(&fs::read_to_string(folder.join("input.json")).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let main = document(&folder.join("document.yaml"));
    let others: BTreeMap<String, Arc<Document>> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("document.yaml")
        })
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                document(&path),
            )
        })
        .collect();
    let options = Options {
        mode: if input.dry_run {
            Mode::DryRun
        } else {
            Mode::Run
        },
        document_name: "document".to_owned(),
        account: Some("111122223333".parse().unwrap()),
        region: Some("eu-central-1".parse().unwrap()),
        send_braces: input.send_braces,
        ..Options::default()
    };
    let parameters = input.parameters.clone();
    let world = World::new(input, others);
    let engine = Engine::new(world.ports());
    let result = world.clock.run(engine.run(main, &parameters, options));
    let trace = match result {
        Err(error) => json!({ "refused": error.to_string() }),
        Ok(outcome) => trace(&outcome, &world),
    };
    assert_eq!(
        world.unused(),
        Vec::<String>::new(),
        "{}: scripted and never asked for",
        folder.display()
    );
    trace
}

fn trace(outcome: &Outcome, world: &World) -> Value {
    let record = &outcome.record;
    assert!(record.automation_execution_status.is_final());
    let mut trace = json!({ "status": record.automation_execution_status });
    let members = trace.as_object_mut().unwrap();
    if let Some(message) = &record.failure_message {
        members.insert("failure".into(), message.clone().into());
    }
    let seconds = stanch_types::Clock::monotonic(&world.clock).as_secs();
    if seconds > 0 {
        members.insert("seconds".into(), seconds.into());
    }
    let begun = outcome.steps.len();
    let steps = record.step_executions.iter().map(|step| {
        let mut line = json!({ "step": step.step_name, "status": step.step_status });
        let members = line.as_object_mut().unwrap();
        if let Some(parent) = &step.parent_step_details {
            members.insert("round".into(), json!(parent.iteration));
        }
        if let Some(message) = &step.failure_message {
            members.insert("failure".into(), message.clone().into());
        }
        if !step.outputs.is_empty() {
            let values = outcome.steps.iter().rev().find(|trace| {
                trace.name == step.step_name
                    && trace.outputs.keys().eq(step.outputs.keys())
                    && trace.outputs.iter().all(|(name, value)| {
                        let texts = &step.outputs[name];
                        match value {
                            Value::Array(items) => items.len() == texts.len(),
                            Value::String(text) => texts == std::slice::from_ref(text),
                            other => *texts == [other.to_string()],
                        }
                    })
            });
            members.insert(
                "outputs".into(),
                json!(values.expect("the record has the trace's outputs").outputs),
            );
        }
        line
    });
    members.insert("steps".into(), steps.collect());
    let attempts: serde_json::Map<String, Value> = outcome
        .steps
        .iter()
        .filter(|step| step.attempts > 1)
        .map(|step| (step.name.clone(), step.attempts.into()))
        .collect();
    if !attempts.is_empty() {
        members.insert("attempts".into(), attempts.into());
    }
    assert!(record.step_executions.len() >= begun || outcome.dry_run.is_some());
    let sent = world.sent.lock().unwrap();
    if !sent.is_empty() {
        let calls: Vec<Value> = sent
            .iter()
            .map(|c| json!({ "call": c.to_string(), "params": c.params }))
            .collect();
        members.insert("calls".into(), calls.into());
    }
    let notes = world.notes.lock().unwrap();
    if !notes.is_empty() {
        members.insert("others".into(), json!(*notes));
    }
    if !outcome.outputs.is_empty() {
        members.insert("outputs".into(), json!(outcome.outputs));
    }
    if !record.variables.is_empty() {
        members.insert("variables".into(), json!(record.variables));
    }
    if let Some(dry) = &outcome.dry_run {
        let calls: Vec<Value> = dry
            .calls
            .iter()
            .map(|planned| {
                let mut line = json!({ "step": planned.step, "call": planned.call.to_string(), "params": planned.call.params });
                for (key, list) in [("unknown", &planned.unknown), ("when", &planned.when)] {
                    if !list.is_empty() {
                        line[key] = json!(list);
                    }
                }
                line
            })
            .collect();
        members.insert("planned".into(), calls.into());
        members.insert(
            "doubts".into(),
            dry.doubts
                .iter()
                .map(|d| format!("{}: {}", d.step, d.reason))
                .collect(),
        );
    }
    // The record survives its own serialization.
    let text = serde_json::to_string(record).unwrap();
    assert_eq!(
        &serde_json::from_str::<AutomationExecution>(&text).unwrap(),
        record
    );
    trace
}

#[test]
fn documents_run_as_traced() {
    let bless = std::env::var_os("STANCH_BLESS").is_some();
    let only = std::env::var_os("STANCH_ONLY").map(|name| name.into_string().unwrap());
    let mut folders: Vec<_> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 60, "{} scenarios", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let trace = match std::panic::catch_unwind(|| run(&folder)) {
            Ok(trace) => trace,
            Err(_) => {
                wrong.push(name);
                continue;
            }
        };
        let path = folder.join("expected.json");
        if bless {
            fs::write(&path, serde_json::to_string_pretty(&trace).unwrap() + "\n").unwrap();
            continue;
        }
        let expected: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default())
            .unwrap_or_default();
        if expected != trace {
            wrong.push(name.clone());
            eprintln!("--- {name}\nexpected {expected:#}\nis {trace:#}");
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
}
