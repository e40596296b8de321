//! boto3's names, and what people make of them.

use serde_json::{Map, Value};

use crate::service::{Operation, Service};

/// Service names that boto3 still takes.
const OLD_SERVICES: [(&str, &str); 1] = [("runtime.sagemaker", "sagemaker-runtime")];

/// (service, operation or `*`, what boto3 takes, what the model has), from botocore's
/// `handlers.py`.
const ALIASES: [(&str, &str, &str, &str); 3] = [
    ("cloudsearchdomain", "Search", "returnFields", "return"),
    ("ec2", "*", "Filters", "Filter"),
    ("logs", "CreateExportTask", "fromTime", "from"),
];

/// The name of a service as botocore has it.
pub(crate) fn service(written: &str) -> String {
    let name = written.trim().to_lowercase();
    match OLD_SERVICES.iter().find(|(old, _)| *old == name) {
        Some((_, new)) => (*new).into(),
        None => name,
    }
}

/// The place of an operation. `PutObject`, `putObject`, `put_object` and `put-object` are one: in no
/// service do two operations differ by case and separators alone (a test says so).
pub(crate) fn operation(service: &Service, written: &str) -> Option<usize> {
    let written = written.trim();
    let exact = service
        .operations
        .binary_search_by(|o| (*o.name).cmp(written));
    exact.ok().or_else(|| {
        let folded = fold(written);
        service
            .operations
            .iter()
            .position(|o| fold(&o.name) == folded)
    })
}

/// A name without case and separators.
pub(crate) fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// The model's name of a parameter, where boto3 has another.
pub(crate) fn parameter<'a>(
    service: &'a Service,
    operation: &'a Operation,
    written: &'a str,
) -> &'a str {
    let modelled = |name: &str| {
        operation
            .input
            .is_some_and(|i| service.members(i).iter().any(|m| *m.name == *name))
    };
    ALIASES
        .iter()
        .find(|(s, o, alias, name)| {
            *s == &*service.name
                && (*o == "*" || *o == &*operation.name)
                && *alias == written
                && modelled(name)
        })
        .map_or(written, |(.., name)| name)
}

/// Gives the parameters the model's names where boto3 has others (`Filters` for `Filter`).
///
/// Where both are given nothing is renamed, and [`crate::validate`] tells.
pub fn canonical_parameters(
    service: &Service,
    operation: &Operation,
    parameters: &mut Map<String, Value>,
) {
    for (.., alias, _) in ALIASES {
        let name = parameter(service, operation, alias);
        if name != alias
            && !parameters.contains_key(name)
            && let Some(value) = parameters.shift_remove(alias)
        {
            parameters.insert(name.into(), value);
        }
    }
}

/// The names most similar to `wanted`, the best first, at most three; none that is far off.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<Box<str>> {
    const ENOUGH: f64 = 0.7;
    let wanted = fold(wanted);
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, &fold(name)),
                name,
            )
        })
        .filter(|(score, _)| *score >= ENOUGH)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(3)
        .map(|(_, name)| name.into())
        .collect()
}

/// `did you mean …?`
pub(crate) fn did_you_mean(names: &[Box<str>]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}
