//! Bytes that nobody expected, for everything that reads what others wrote.
//!
//! Every input comes from a committed or a made seed, changed by chance: bits, bytes and pieces of the
//! text, or members and values of the JSON. A target must neither panic nor take long, and some must
//! hold more than that. What was found once stays in `fuzz/corpus/`, which a plain test goes through.

use std::{
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stanch_aws::protocol::{self, HttpResponse};
use stanch_models::Models;
use stanch_types::{Incoming, Reply, event::Unnamed};

use crate::chaos::{Chance, Chaos};

/// Longer than this for one input is a fault: 100 times what the slowest seed takes.
const SLOW: Duration = Duration::from_secs(5);

/// Inputs are cut at this size.
const MOST: usize = 64 * 1024;

/// What reads foreign bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Findings and events of all formats.
    Events,
    /// Systems Manager Automation documents.
    Documents,
    /// Catalog files.
    Remediations,
    /// Functions over policies and rules: `{"function": …, "input": …}`.
    Functions,
    /// What AWS answers, in each protocol: `{"service", "operation", "status", "body"}`.
    Responses,
    /// Exports of the ledger.
    Ledger,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Documents,
        Self::Remediations,
        Self::Functions,
        Self::Responses,
        Self::Ledger,
    ];

    /// Its name, and that of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Documents => "documents",
            Self::Remediations => "remediations",
            Self::Functions => "functions",
            Self::Responses => "responses",
            Self::Ledger => "ledger",
        }
    }

    fn folder(self) -> PathBuf {
        crate::repository().join("fuzz/corpus").join(self.name())
    }

    /// The committed inputs, and those that are made of what the repository has.
    #[must_use]
    pub fn seeds(self) -> Vec<Vec<u8>> {
        let crates = crate::repository().join("crates");
        let mut folders = vec![self.folder()];
        match self {
            Self::Events => folders.push(crates.join("stanch-types/tests/fixtures")),
            Self::Documents => folders.extend([
                crates.join("stanch-runbook/tests/broken"),
                crates.join("stanch-runbook/tests/documents"),
            ]),
            Self::Remediations => folders.extend([
                crate::repository().join("catalog/s3"),
                crate::repository().join("catalog/iam"),
            ]),
            Self::Functions | Self::Responses | Self::Ledger => {}
        }
        let mut seeds = Vec::new();
        for folder in folders {
            collect(&folder, &mut seeds);
        }
        if let (Self::Ledger, Ok(chaos)) = (self, Chaos::new()) {
            seeds.extend((0..6).map(|seed| chaos.export(seed)));
        }
        seeds
    }

    /// Reads `input`.
    ///
    /// # Errors
    /// Something does not hold, in words.
    pub fn read(self, input: &[u8]) -> Result<(), String> {
        let begin = Instant::now();
        let done = panic::catch_unwind(AssertUnwindSafe(|| self.judge(input)));
        let took = begin.elapsed();
        match done {
            Err(panicked) => Err(format!("it panicked: {}", said(&*panicked))),
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) if took > SLOW => Err(format!("it took {took:?}")),
            Ok(Ok(())) => Ok(()),
        }
    }

    fn judge(self, input: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(input);
        match self {
            Self::Events => {
                let options = stanch_types::event::Options::default();
                let read = stanch_types::event::read(input, &options);
                if read != stanch_types::event::read(input, &options) {
                    return Err("read twice, it means two things".to_owned());
                }
                return read.into_iter().try_for_each(|one| name(one, input));
            }
            Self::Documents => {
                let parsed = stanch_runbook::parse(&text());
                if let Some(document) = parsed.document {
                    let _ = stanch_runbook::check(&document, models()?);
                }
            }
            Self::Remediations => drop(stanch_catalog::check(&text(), models()?)),
            Self::Functions => return function(input),
            Self::Responses => respond(input)?,
            Self::Ledger => drop(stanch_ledger::verify_export(
                input,
                stanch_ledger::Trust::default(),
            )),
        }
        Ok(())
    }
}

/// A resource that AWS Config was asked for has a name or none; the answer is what the event has beside.
fn name(incoming: Incoming, input: &[u8]) -> Result<(), String> {
    let Incoming::Accepted { finding, route } = incoming else {
        return Ok(());
    };
    let Some(unnamed) = Unnamed::of(&finding) else {
        return Ok(());
    };
    let answer = Reply {
        output: serde_json::from_slice(input).unwrap_or_default(),
        request_id: None,
    };
    match unnamed.named(finding, route, Ok(answer)) {
        Incoming::Accepted { finding, .. } if Unnamed::of(&finding).is_some() => {
            Err("it was named, and has no name".to_owned())
        }
        _ => Ok(()),
    }
}

/// A function says the same about the same; and what it took out of a policy is out.
fn function(input: &[u8]) -> Result<(), String> {
    let Ok(Value::Object(mut call)) = serde_json::from_slice::<Value>(input) else {
        return Ok(());
    };
    let name = call
        .get("function")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let Some(given) = call.get_mut("input") else {
        return Ok(());
    };
    let Ok(first) = stanch_catalog::function::call(&name, given) else {
        return Ok(());
    };
    let again = stanch_catalog::function::call(&name, given).map_err(|error| error.to_string())?;
    if first != again {
        return Err(format!("`{name}` says two things about one input"));
    }
    let (Some(policy @ Value::String(_)), true) =
        (first.get("policy"), first.get("changed").is_some())
    else {
        return Ok(());
    };
    let Some(members) = given.as_object_mut() else {
        return Ok(());
    };
    members.insert("policy".to_owned(), policy.clone());
    match stanch_catalog::function::call(&name, given) {
        Ok(second) if second.get("changed") == Some(&Value::Bool(true)) => {
            Err(format!("`{name}` is never done with {policy}"))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{name}` does not take what it made: {error}")),
    }
}

fn respond(input: &[u8]) -> Result<(), String> {
    let Ok(case) = serde_json::from_slice::<Value>(input) else {
        return Ok(());
    };
    let text = |member: &str| case.get(member).and_then(Value::as_str).unwrap_or_default();
    let Ok(resolved) = models()?.resolve(text("service"), text("operation")) else {
        return Ok(());
    };
    let status = case
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok());
    let headers = case
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let response = HttpResponse {
        status: status.unwrap_or(200),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        body: text("body").as_bytes().to_vec(),
    };
    drop(protocol::response(
        &resolved.service,
        resolved.operation(),
        &response,
    ));
    Ok(())
}

fn models() -> Result<&'static Models, String> {
    static MODELS: OnceLock<Result<Models, String>> = OnceLock::new();
    let models = MODELS.get_or_init(|| Models::embedded().map_err(|error| error.to_string()));
    models.as_ref().map_err(Clone::clone)
}

fn said(panicked: &(dyn std::any::Any + Send)) -> String {
    let text = panicked
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| panicked.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

fn collect(folder: &Path, seeds: &mut Vec<Vec<u8>>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, seeds);
        } else if let Ok(bytes) = fs::read(&path) {
            seeds.push(bytes);
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// By what.
    pub target: &'static str,
    /// The input.
    pub input: Vec<u8>,
    /// What is wrong with it.
    pub what: String,
}

/// Gives every target changed seeds for so long; says how many inputs each has read, and what was found.
#[must_use]
pub fn fuzz(seed: u64, time: Duration) -> (BTreeMap<&'static str, u64>, Vec<Found>) {
    let mut chance = Chance::of(seed);
    let (mut counts, mut found) = (BTreeMap::new(), Vec::new());
    for target in Target::ALL {
        let seeds = target.seeds();
        let begin = Instant::now();
        let share = time / u32::try_from(Target::ALL.len()).unwrap_or(1);
        let mut count = 0;
        while begin.elapsed() < share {
            let input = changed(&seeds, &mut chance);
            count += 1;
            if let Err(what) = target.read(&input) {
                found.push(Found {
                    target: target.name(),
                    input,
                    what,
                });
                if found.len() >= 20 {
                    break;
                }
            }
        }
        counts.insert(target.name(), count);
    }
    (counts, found)
}

/// A seed, changed.
fn changed(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let pick = |chance: &mut Chance| {
        let index = usize::try_from(chance.below(seeds.len() as u64)).unwrap_or(0);
        seeds.get(index).cloned().unwrap_or_default()
    };
    let mut input = pick(chance);
    let rounds = 1 + chance.below(6);
    if chance.permille(600)
        && let Ok(mut tree) = serde_json::from_slice::<Value>(&input)
    {
        for _ in 0..rounds {
            bend(&mut tree, chance);
        }
        return tree.to_string().into_bytes();
    }
    for _ in 0..rounds {
        let at = usize::try_from(chance.below(input.len() as u64 + 1)).unwrap_or(0);
        let some = usize::try_from(chance.below(40)).unwrap_or(0);
        let end = (at + some).min(input.len());
        match chance.below(6) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            1 => drop(input.drain(at..end)),
            2 => {
                let piece: Vec<u8> = input.get(at..end).unwrap_or_default().to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let other = pick(chance);
                let from = usize::try_from(chance.below(other.len() as u64 + 1)).unwrap_or(0);
                let piece = other
                    .get(from..(from + 10 * some).min(other.len()))
                    .unwrap_or_default();
                input.splice(at..end, piece.iter().copied());
            }
            4 => {
                let words: [&[u8]; 12] = [
                    b"\0",
                    b"\xff\xfe",
                    b"{{ ",
                    b" }}",
                    b"*",
                    b"${",
                    b"\"",
                    b"[[[[[[[[",
                    b"-1e999",
                    b"18446744073709551616",
                    b"&a *a",
                    b"\xf0\x9f\x92\xa9",
                ];
                let index = usize::try_from(chance.below(12)).unwrap_or(0);
                let word = words.get(index).copied().unwrap_or_default();
                input.splice(at..at, word.iter().copied());
            }
            _ => input.truncate(at),
        }
        input.truncate(MOST);
    }
    input
}

/// Changes a value somewhere in the tree.
fn bend(tree: &mut Value, chance: &mut Chance) {
    if chance.permille(750) {
        match tree {
            Value::Array(items) if !items.is_empty() => {
                let index = usize::try_from(chance.below(items.len() as u64)).unwrap_or(0);
                match (chance.below(10), items.get_mut(index)) {
                    (0, _) => drop(items.remove(index)),
                    (1, Some(item)) => {
                        let item = item.clone();
                        items.push(item);
                    }
                    (_, Some(item)) => bend(item, chance),
                    (_, None) => {}
                }
                return;
            }
            Value::Object(members) if !members.is_empty() => {
                let index = usize::try_from(chance.below(members.len() as u64)).unwrap_or(0);
                let name = members.keys().nth(index).cloned().unwrap_or_default();
                match (chance.below(12), members.get_mut(&name)) {
                    (0, _) => drop(members.remove(&name)),
                    (_, Some(member)) => bend(member, chance),
                    (_, None) => {}
                }
                return;
            }
            // A document within the document: a policy as text.
            Value::String(text) if text.starts_with('{') => {
                if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                    bend(&mut inner, chance);
                    *text = inner.to_string();
                    return;
                }
            }
            _ => {}
        }
    }
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("*"),
        json!("arn:aws:iam::111122223333:root"),
        json!("s3:*"),
        json!([]),
        json!({}),
        json!(["*"]),
        json!({"AWS": "*"}),
        json!("Allow"),
        json!("Deny"),
        json!([[[[[[]]]]]]),
        json!("\u{0}"),
        json!({"StringEquals": {"aws:SourceAccount": "111122223333"}}),
        json!("2026-02-30T25:61:00Z"),
    ];
    let index = usize::try_from(chance.below(values.len() as u64)).unwrap_or(0);
    *tree = values.get(index).cloned().unwrap_or_default();
}
