//! Bytes that nobody expected, for everything that reads what others wrote.
//!
//! Every input comes from a committed or a made seed, changed by chance: bits, bytes and pieces of the
//! text, or members and values of the JSON. A target must neither panic nor take long, and some must
//! hold more than that. What was found once stays in `fuzz/corpus/`, which a plain test goes through.

mod auditor;
mod rules;

use std::{
    collections::BTreeMap,
    fs, panic,
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_aws::protocol::{self, HttpResponse};
use stanch_models::Models;
use stanch_types::{CallError, Incoming, Reply, event::Unnamed};

use crate::chaos::Chance;

/// Longer than this for one input is a fault: 100 times what the slowest seed takes.
const SLOW: Duration = Duration::from_secs(5);

/// When it is: 2026-11-22, 12:00 UTC.
const NOW: Timestamp = Timestamp::constant(1_795_348_800, 0);

/// The member of an answer whose bytes are no text.
const BYTES: &str = "body_base64";

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
    /// What AWS answers, in each protocol: `{"service", "operation", "status", "headers", "body"}`; a body
    /// that is no text as `body_base64`.
    Responses,
    /// Exports of the ledger, and the proofs that auditors get.
    Ledger,
    /// The files that a guard is made of: policies, calendars, exemptions and feeds.
    Rules,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::Documents,
        Self::Remediations,
        Self::Functions,
        Self::Responses,
        Self::Ledger,
        Self::Rules,
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
            Self::Rules => "rules",
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
            Self::Functions | Self::Responses | Self::Ledger | Self::Rules => {}
        }
        let mut seeds = Vec::new();
        for folder in folders {
            collect(&folder, &mut seeds);
        }
        match self {
            Self::Ledger => seeds.extend(auditor::seeds()),
            Self::Rules => seeds.push(stanch_guard::starter().as_bytes().to_vec()),
            _ => {}
        }
        seeds
    }

    /// Reads `input`.
    ///
    /// # Errors
    /// Something does not hold, in words.
    pub fn read(self, input: &[u8]) -> Result<(), String> {
        let input = input.to_vec();
        let (sender, receiver) = mpsc::channel();
        // Nobody waits for its end: an input may have none.
        thread::spawn(move || {
            let done = panic::catch_unwind(|| self.judge(&input));
            let _ = sender.send(done);
        });
        match receiver.recv_timeout(SLOW) {
            Ok(Ok(judged)) => judged,
            Ok(Err(panicked)) => Err(format!("it panicked: {}", said(&*panicked))),
            Err(_) => Err(format!("it is not done after {SLOW:?}")),
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
            Self::Responses => drop(answer(input)?),
            Self::Ledger => return auditor::read(input),
            Self::Rules => return rules::read(&text()),
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

/// What an answer is read as; `None` if it is one to no operation.
fn answer(input: &[u8]) -> Result<Option<Result<Reply, CallError>>, String> {
    let Ok(case) = serde_json::from_slice::<Value>(input) else {
        return Ok(None);
    };
    let text = |member: &str| case.get(member).and_then(Value::as_str).unwrap_or_default();
    let Ok(resolved) = models()?.resolve(text("service"), text("operation")) else {
        return Ok(None);
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
        body: match case.get(BYTES).and_then(Value::as_str) {
            Some(encoded) => STANDARD.decode(encoded).unwrap_or_default(),
            None => text("body").as_bytes().to_vec(),
        },
    };
    Ok(Some(protocol::response(
        &resolved.service,
        resolved.operation(),
        &response,
    )))
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
    let (mut counts, mut found) = (BTreeMap::new(), Vec::new());
    for target in Target::ALL {
        // How far another target came does not change the inputs of this one.
        let mut chance = Chance::of(seed);
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
    let mut input = one_of(seeds, chance).to_vec();
    let rounds = 1 + chance.below(6);
    if chance.permille(600)
        && let Ok(mut tree) = serde_json::from_slice::<Value>(&input)
    {
        for _ in 0..rounds {
            bend(&mut tree, 30, chance);
        }
        return tree.to_string().into_bytes();
    }
    for _ in 0..rounds {
        let other = one_of(seeds, chance);
        cut(&mut input, other, chance);
    }
    input
}

fn one_of<'a>(all: &'a [impl AsRef<[u8]>], chance: &mut Chance) -> &'a [u8] {
    let index = usize::try_from(chance.below(all.len() as u64)).unwrap_or(0);
    all.get(index).map(AsRef::as_ref).unwrap_or_default()
}

/// What means something in one format or another.
const WORDS: [&[u8]; 15] = [
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
    // CBOR: a map and a text of 2^64 - 1, and a list without an end.
    b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9f",
];

/// Numbers at the edges of what types hold.
const NUMBERS: [&[u8]; 8] = [
    b"0",
    b"1",
    b"255",
    b"65536",
    b"2147483648",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
];

/// Changes bytes somewhere; `other` is where a piece may come from.
fn cut(input: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = usize::try_from(chance.below(input.len() as u64 + 1)).unwrap_or(0);
    let some = usize::try_from(chance.below(40)).unwrap_or(0);
    let end = (at + some).min(input.len());
    match chance.below(7) {
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
            let from = usize::try_from(chance.below(other.len() as u64 + 1)).unwrap_or(0);
            let piece = other
                .get(from..(from + 10 * some).min(other.len()))
                .unwrap_or_default();
            input.splice(at..end, piece.iter().copied());
        }
        4 => {
            let word = one_of(&WORDS, chance);
            input.splice(at..at, word.iter().copied());
        }
        5 => {
            let rest = input.get(at..).unwrap_or_default();
            let before = rest.iter().take_while(|byte| !byte.is_ascii_digit());
            let start = at + before.count();
            let rest = input.get(start..).unwrap_or_default();
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let end = start + digits.count();
            let number = one_of(&NUMBERS, chance);
            input.splice(start..end, number.iter().copied());
        }
        _ => input.truncate(at),
    }
    input.truncate(MOST);
}

/// Changes a value somewhere in the tree; so many times in a thousand the tree itself.
fn bend(tree: &mut Value, itself: u64, chance: &mut Chance) {
    /// The same further down.
    const WITHIN: u64 = 250;
    if !chance.permille(itself) {
        match tree {
            Value::Array(items) if !items.is_empty() => {
                let index = usize::try_from(chance.below(items.len() as u64)).unwrap_or(0);
                match (chance.below(10), items.get_mut(index)) {
                    (0, _) => drop(items.remove(index)),
                    (1, Some(item)) => {
                        let item = item.clone();
                        items.push(item);
                    }
                    (_, Some(item)) => bend(item, WITHIN, chance),
                    (_, None) => {}
                }
                return;
            }
            Value::Object(members) if !members.is_empty() => {
                if chance.permille(700)
                    && let Some(Value::String(encoded)) = members.get_mut(BYTES)
                    && let Ok(mut bytes) = STANDARD.decode(encoded.as_bytes())
                {
                    let other = bytes.clone();
                    cut(&mut bytes, &other, chance);
                    *encoded = STANDARD.encode(bytes);
                    return;
                }
                let index = usize::try_from(chance.below(members.len() as u64)).unwrap_or(0);
                let name = members.keys().nth(index).cloned().unwrap_or_default();
                match (chance.below(12), members.get_mut(&name)) {
                    (0, _) => drop(members.remove(&name)),
                    (_, Some(member)) => bend(member, WITHIN, chance),
                    (_, None) => {}
                }
                return;
            }
            // A document within the document: a policy as text.
            Value::String(text) if text.starts_with('{') => {
                if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                    bend(&mut inner, WITHIN, chance);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stanch_catalog::function;
    use stanch_types::CallErrorKind;

    use super::*;

    fn committed(target: Target) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        collect(&target.folder(), &mut seeds);
        seeds
    }

    #[test]
    fn each_function_has_a_seed_that_it_takes() {
        let seeds = committed(Target::Functions);
        let calls = seeds
            .iter()
            .map(|seed| serde_json::from_slice::<Value>(seed).unwrap());
        let taken: BTreeSet<String> = calls
            .filter_map(|call| {
                let name = call.get("function")?.as_str()?;
                function::call(name, call.get("input")?).ok()?;
                Some(name.to_owned())
            })
            .collect();
        let all = function::FUNCTIONS.iter();
        let all: BTreeSet<String> = all.map(|function| function.name.to_owned()).collect();
        assert_eq!(taken, all);
    }

    #[test]
    fn each_seed_of_an_answer_is_understood() {
        for seed in committed(Target::Responses) {
            let text = String::from_utf8_lossy(&seed);
            let read = answer(&seed).unwrap();
            let is_understood = match &read {
                None => false,
                Some(Ok(_)) => true,
                Some(Err(error)) => error.kind != CallErrorKind::Unreadable,
            };
            assert!(is_understood, "{text}: {read:?}");
        }
    }

    #[test]
    fn bodies_that_are_no_text_are_changed_as_bytes() {
        let mut seeds = committed(Target::Responses);
        seeds.retain(|seed| String::from_utf8_lossy(seed).contains(BYTES));
        assert!(!seeds.is_empty());
        let mut chance = Chance::of(0);
        let mut bodies = BTreeSet::new();
        let (mut read, mut unreadable) = (0, 0);
        for _ in 0..2_000 {
            let input = changed(&seeds, &mut chance);
            let case: Value = serde_json::from_slice(&input).unwrap_or_default();
            let body = case.get(BYTES).and_then(Value::as_str);
            let Some(body) = body.and_then(|body| STANDARD.decode(body).ok()) else {
                continue;
            };
            bodies.insert(body);
            match answer(&input).unwrap() {
                Some(Ok(_)) => read += 1,
                Some(Err(_)) => unreadable += 1,
                None => {}
            }
        }
        assert!(bodies.len() > 300, "{} bodies", bodies.len());
        assert!(read > 0 && unreadable > 300, "{read}, {unreadable}");
    }
}
