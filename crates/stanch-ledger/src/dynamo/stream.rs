//! The audit table's stream, for a SIEM: what an item says of a remediation becomes two lines of OCSF.

use serde_json::{Value, json};

use super::{chain::described, item::Item};
use crate::format::ocsf;

/// What some records of the stream come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streamed {
    /// Lines of JSON, as an export in OCSF has them.
    pub lines: Vec<String>,
    /// The number of the first record that could not be read. Lambda sends all from it on again, so
    /// that none of them is among the lines.
    pub failed: Option<String>,
}

impl Streamed {
    /// What the function answers Lambda
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>).
    #[must_use]
    pub fn response(&self) -> Value {
        let failures = self.failed.iter();
        let failures: Vec<Value> = failures
            .map(|number| json!({ "itemIdentifier": number }))
            .collect();
        json!({ "batchItemFailures": failures })
    }
}

/// Reads an event of the stream, `NEW_IMAGE`. A remediation is told of when it comes to rest: when it
/// has ended, waits or is paused.
///
/// An event that is none has no records, and no failures.
#[must_use]
pub fn stream(event: &Value) -> Streamed {
    let mut streamed = Streamed::default();
    let records = event.get("Records").and_then(Value::as_array);
    for record in records.into_iter().flatten() {
        match lines(record) {
            Some(lines) => streamed.lines.extend(lines),
            None => {
                let number = record.pointer("/dynamodb/SequenceNumber");
                let number = number.and_then(Value::as_str).unwrap_or_default();
                streamed.failed = Some(number.to_owned());
                break;
            }
        }
    }
    streamed
}

/// The lines of a record; `None` if it cannot be read.
fn lines(record: &Value) -> Option<Vec<String>> {
    // Removed because its time is over.
    if record.get("eventName")? == "REMOVE" {
        return Some(Vec::new());
    }
    let image = record.pointer("/dynamodb/NewImage")?.as_object()?;
    let item = Item(image.clone());
    item.text("RemediationId")?;
    if item.text("Status").is_none() {
        return Some(Vec::new());
    }
    let told = ocsf(&described(&item)?);
    Some(told.iter().map(Value::to_string).collect())
}
