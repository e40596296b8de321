//! `stanch runbook`.

use std::{
    collections::HashMap,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{FileDiagnostic, function};
use stanch_runbook::{
    AutomationStatus, Document, Documents, Engine, Functions, Mode, Observer, Options, Outcome,
    Ports, Sent, Signal, Signals, StepExecution, Type, check, parse, script_host::PythonHost,
};
use stanch_types::{Api, Call};
use tokio::sync::mpsc;

use crate::{
    cli::{Execution, Runbook},
    commands::catalog::{counted, report},
    output::{Color, Exit, Failure, clean, indented, print, print_json, say},
    wire::{Wire, read_files},
};
use stanch_config::RandomIds;

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Runbook) -> Result<Exit, Failure> {
    match command {
        Runbook::Check(document) => {
            let models = wire.models()?;
            let mut found = Vec::new();
            let files = files(&document.path)?;
            let count = files.len();
            for (path, text) in files {
                let parsed = parse(&text);
                let mut diagnostics = parsed.diagnostics;
                diagnostics.extend(
                    parsed
                        .document
                        .iter()
                        .flat_map(|document| check(document, &models)),
                );
                diagnostics.sort_by_key(|diagnostic| diagnostic.at);
                let path = || path.clone();
                found.extend(diagnostics.into_iter().map(|diagnostic| FileDiagnostic {
                    path: path(),
                    diagnostic,
                }));
            }
            report(wire, &found, &counted(count, "document"))
        }
        Runbook::Plan(execution) => execute(wire, execution, Mode::DryRun).await,
        Runbook::Run(execution) => execute(wire, execution, Mode::Run).await,
    }
}

fn files(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    if path.is_dir() {
        return read_files(path, &EXTENSIONS);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))?;
    Ok(vec![(path.to_string_lossy().into_owned(), text)])
}

/// The document to run, and those beside it.
fn documents(path: &Path) -> Result<(String, Arc<Document>, Folder), Failure> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut all = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let known = file
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| EXTENSIONS.contains(&e));
        if let (true, Some(stem)) = (known, file.file_stem()) {
            all.insert(stem.to_string_lossy().into_owned(), file);
        }
    }
    let path = match (path.is_dir(), all.len()) {
        (false, _) => path.to_owned(),
        (true, 1) => all.values().next().cloned().unwrap_or_default(),
        (true, _) => {
            let message = format!("`{}` does not hold exactly one document", path.display());
            return Err(
                Failure::usage(message).hint("name the document's file; it finds those beside it")
            );
        }
    };
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let document = read(&path)?;
    Ok((name, Arc::new(document), Folder(all)))
}

fn read(path: &Path) -> Result<Document, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))?;
    parse(&text).into_valid().map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics
            .iter()
            .map(|diagnostic| format!("{}:{diagnostic}", path.display()))
            .collect();
        Failure::failed(format!(
            "`{}` has errors\n{}",
            path.display(),
            lines.join("\n")
        ))
        .hint(format!(
            "`stanch runbook check {}` says all that is wrong with it",
            path.display()
        ))
    })
}

/// Documents by the names of their files.
struct Folder(HashMap<String, PathBuf>);

#[async_trait]
impl Documents for Folder {
    async fn find(&self, name: &str, _: Option<&str>) -> Option<Arc<Document>> {
        match read(self.0.get(name)?) {
            Ok(document) => Some(Arc::new(document)),
            Err(failure) => {
                failure.print();
                None
            }
        }
    }
}

/// The catalog's functions.
struct CatalogFunctions;

#[async_trait]
impl Functions for CatalogFunctions {
    fn knows(&self, name: &str) -> bool {
        function::find(name).is_some()
    }

    async fn call(&self, name: &str, payload: &Value) -> Result<Value, String> {
        function::call(name, payload).map_err(|error| error.to_string())
    }
}

/// Says which step runs, and brings what the person at the terminal answers to `aws:approve` and
/// `aws:pause`.
struct Terminal {
    person: String,
    lines: mpsc::UnboundedSender<String>,
    answers: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    listening: Mutex<bool>,
}

impl Terminal {
    fn new(person: String) -> Self {
        let (lines, answers) = mpsc::unbounded_channel();
        Self {
            person,
            lines,
            answers: tokio::sync::Mutex::new(answers),
            listening: Mutex::new(false),
        }
    }

    /// Reads lines in a thread of its own: there is no other way to wait for a terminal and for
    /// something else. It ends with the process.
    fn listen(&self) {
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *listening, true) {
            let lines = self.lines.clone();
            std::thread::spawn(move || {
                for line in io::stdin().lock().lines().map_while(Result::ok) {
                    if lines.send(line).is_err() {
                        break;
                    }
                }
            });
        }
    }
}

#[async_trait]
impl Observer for Terminal {
    async fn started(&self, _: &str, step: &StepExecution) -> Result<(), String> {
        say(format_args!("{} ({})", clean(&step.step_name), step.action));
        match step.action.as_str() {
            "aws:approve" => say("type `approve` or `reject`, and why"),
            "aws:pause" => say("type `resume` or `cancel`"),
            _ => return Ok(()),
        }
        self.listen();
        Ok(())
    }

    async fn finished(&self, _: &str, _: &StepExecution, _: &[Sent]) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Signals for Terminal {
    async fn next(&self, _: &str) -> Signal {
        let mut answers = self.answers.lock().await;
        loop {
            let Some(line) = answers.recv().await else {
                return std::future::pending().await;
            };
            let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let (by, comment) = (self.person.clone(), rest.to_owned());
            match word {
                "approve" => return Signal::Approve { by, comment },
                "reject" => return Signal::Reject { by, comment },
                "resume" => return Signal::Resume,
                "cancel" => return Signal::Cancel,
                _ => say("`approve`, `reject`, `resume` or `cancel`?"),
            }
        }
    }
}

fn parameters(document: &Document, given: &[(String, String)]) -> Map<String, Value> {
    let value = |name: &str, text: &str| {
        let kind = document
            .parameters
            .get(name)
            .map(|parameter| parameter.kind.base());
        match kind {
            Some(
                Type::Boolean | Type::Integer | Type::StringList | Type::StringMap | Type::MapList,
            ) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            _ => Value::from(text),
        }
    };
    given
        .iter()
        .map(|(name, text)| (name.clone(), value(name, text)))
        .collect()
}

async fn execute(wire: &Wire, execution: Execution, mode: Mode) -> Result<Exit, Failure> {
    let (name, document, folder) = documents(&execution.path)?;
    let region = wire.region(execution.region)?;
    let client = Arc::new(wire.client(region.clone())?);
    let person = wire.person(None).unwrap_or_else(|_| "unknown".to_owned());
    let api: Arc<dyn Api> = client;
    // Whose account it is costs a request, which most documents do not need.
    let account = if document.to_yaml().contains("global:ACCOUNT_ID") {
        let identity = api
            .call(&Call::new("sts", "GetCallerIdentity", json!({})))
            .await?;
        identity
            .output
            .pointer("/Account")
            .and_then(Value::as_str)
            .and_then(|id| id.parse().ok())
    } else {
        None
    };
    let models = wire.models()?;
    let mut ports = Ports::new(api, Arc::clone(&wire.clock), models, Arc::new(RandomIds));
    let of_process = |names: &[&str]| {
        let get = |name: &&str| {
            wire.environment
                .get(name)
                .map(|value| (name.to_string(), value.to_owned()))
        };
        names.iter().filter_map(get).collect::<Vec<_>>()
    };
    let python = PythonHost::new(
        "python3",
        of_process(&["PATH", "HOME", "PYTHONPATH", "VIRTUAL_ENV"]),
    )
    .with_environment(of_process(&[
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ENDPOINT_URL",
    ]))
    .with_environment([("AWS_REGION".to_owned(), region.to_string())])
    .with_environment([("AWS_DEFAULT_REGION".to_owned(), region.to_string())]);
    let terminal = Arc::new(Terminal::new(person.clone()));
    ports.functions = Arc::new(CatalogFunctions);
    ports.documents = Arc::new(folder);
    ports.scripts = Arc::new(python);
    ports.observer = Arc::clone(&terminal) as Arc<dyn Observer>;
    ports.signals = terminal;
    let options = Options {
        mode,
        document_name: name,
        account,
        region: Some(region),
        executed_by: Some(person),
        ..Options::default()
    };
    let given = parameters(&document, &execution.parameters);
    let outcome = Engine::new(ports).run(document, &given, options).await;
    let outcome = outcome.map_err(|error| {
        Failure::usage(stanch_types::chain(&error))
            .hint("parameters are given as `--param NAME=VALUE`")
    })?;
    show(wire, &outcome)
}

fn show(wire: &Wire, outcome: &Outcome) -> Result<Exit, Failure> {
    let status = outcome.status();
    let exit = if status == AutomationStatus::Success {
        Exit::Done
    } else {
        Exit::Failed
    };
    if wire.json {
        print_json(&json!({
            "AutomationExecution": outcome.record,
            "Outputs": outcome.outputs,
            "DryRun": outcome.dry_run,
        }))?;
        return Ok(exit);
    }
    let color = Color::out();
    let mut lines = Vec::new();
    for step in &outcome.steps {
        lines.push(format!(
            "{:<10} {}",
            format!("{:?}", step.status),
            clean(&step.name)
        ));
        lines.extend(
            step.error
                .iter()
                .map(|error| format!("  {}", clean(&stanch_types::chain(&error)))),
        );
    }
    if let Some(dry_run) = &outcome.dry_run {
        lines.push(match dry_run.calls.len() {
            0 => "no request would change anything".to_owned(),
            _ => "requests that would change something".to_owned(),
        });
        for planned in &dry_run.calls {
            let when = match planned.when.is_empty() {
                true => String::new(),
                false => format!(", if {}", planned.when.join(" or ")),
            };
            lines.push(format!(
                "  {}: {}{when}",
                planned.step,
                color.bold(&planned.call)
            ));
            lines.push(indented(&planned.call.params, "    "));
        }
        for doubt in &dry_run.doubts {
            lines.push(format!("  {}: {}", color.yellow(&doubt.step), doubt.reason));
        }
    }
    for (name, value) in &outcome.outputs {
        lines.push(format!("{name} = {value}"));
    }
    if !lines.is_empty() {
        print(lines.join("\n"))?;
    }
    match &outcome.record.failure_message {
        Some(message) if exit == Exit::Failed => Err(Failure::failed(message)),
        _ => Ok(exit),
    }
}
