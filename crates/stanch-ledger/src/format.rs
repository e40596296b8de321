//! The ledger in the formats of others: a part of it, or all, streamed.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use stanch_types::AccountId;

use crate::{
    Ledger, LedgerError, Record, Status, Told,
    chain::Header,
    export::{as_it_was, checkpoint_line, selected},
    parquet::{Column, Parquet},
    proof::prove_selection,
};

/// How a ledger is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON per event.
    JsonLines,
    /// A row per event, with the finding beside it (RFC 4180).
    Csv,
    /// The same in columns.
    Parquet,
    /// A Compliance Finding and a Remediation Activity per remediation, as lines of JSON
    /// (<https://schema.ocsf.io/1.4.0/classes/remediation_activity>).
    Ocsf,
}

/// Which remediations are written out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Admitted at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Admitted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// In this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
}

impl Selection {
    /// Whether it is everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn holds(&self, record: &Record) -> bool {
        let Self {
            since,
            until,
            account,
        } = self;
        since.is_none_or(|since| record.timestamp >= since)
            && until.is_none_or(|until| record.timestamp < until)
            && account
                .as_ref()
                .is_none_or(|account| *account == record.account_id)
    }
}

/// Columns of a row per event: name, and whether it is a number.
const COLUMNS: [(&str, bool); 18] = [
    ("number", true),
    ("time", true),
    ("event", false),
    ("remediation_id", false),
    ("seq", true),
    ("account", false),
    ("region", false),
    ("control", false),
    ("severity", false),
    ("resource_type", false),
    ("resource_id", false),
    ("remediation", false),
    ("requester", false),
    ("finding_id", false),
    ("status", false),
    ("body", false),
    ("hash", false),
    ("contents", false),
];

/// A value of a row.
enum Cell {
    Number(i64),
    Text(String),
}

fn row(record: &Record, header: &Header, event: Option<&str>) -> [Cell; 18] {
    use Cell::{Number, Text};
    // The name stands first in what is stored.
    let name = event
        .and_then(|text| text.strip_prefix(r#"{"event":""#)?.split('"').next())
        .unwrap_or_default();
    let text = |text: &str| Text(text.to_owned());
    [
        Number(header.leaf.cast_signed()),
        Number(header.at.as_millisecond()),
        text(name),
        Text(header.id.to_string()),
        Number(header.seq.cast_signed()),
        text(record.account_id.as_str()),
        text(record.region.as_str()),
        text(&record.control),
        text(&record.severity),
        text(&record.resource_type),
        text(&record.resource_id),
        text(&record.remediation_action),
        text(&record.requester),
        text(&record.finding_id),
        text(record.status.as_str()),
        Text(header.body.to_string()),
        Text(header.hash.to_string()),
        text(event.unwrap_or_default()),
    ]
}

/// Writes a part of the ledger; returns how many remediations. JSON Lines are written as the last checkpoint
/// has them, with that checkpoint before them and a proof behind them that they are in its tree. They cannot
/// show that nothing was left out: for that, all is exported. Where there is no checkpoint, nothing is proved.
///
/// # Errors
/// The ledger cannot be read, or `to` not be written; [`LedgerError::Overtaken`].
pub async fn export_selection(
    ledger: &dyn Ledger,
    selection: &Selection,
    format: Format,
    to: &mut (dyn Write + Send),
) -> Result<u64, LedgerError> {
    let signed = match format {
        Format::JsonLines => ledger.checkpoints().await?.pop(),
        _ => None,
    };
    let size = match &signed {
        Some(signed) => signed.size,
        None => ledger.head().await?.size,
    };
    let mut writer = Writer::new(format, selection, to).map_err(LedgerError::write)?;
    if let Some(signed) = &signed {
        writeln!(to, "{}", checkpoint_line(signed)?).map_err(LedgerError::write)?;
    }
    let (mut after, mut count, mut leaves) = (0, 0, Vec::new());
    loop {
        let mut slice = ledger.slice(after, size).await?;
        // What has no event yet, or only its row, is no remediation.
        let is_meant = |told: &Told| told.events > 0 && selection.holds(&told.record);
        slice.told.retain(is_meant);
        if signed.is_some() {
            as_it_was(ledger, &slice.told, size).await?;
        }
        for told in &slice.told {
            writer.write(told, to).map_err(LedgerError::write)?;
            count += 1;
            if signed.is_some() {
                leaves.extend(told.leaves());
            }
        }
        match slice.next {
            Some(row) => after = row,
            None => break,
        }
    }
    if signed.is_some() {
        prove_selection(ledger, leaves, size, to).await?;
    }
    writer.finish(to).map_err(LedgerError::write)?;
    Ok(count)
}

enum Writer {
    JsonLines,
    Csv,
    Parquet(Box<Parquet>),
    Ocsf,
}

impl Writer {
    fn new(format: Format, selection: &Selection, to: &mut dyn Write) -> io::Result<Self> {
        Ok(match format {
            Format::JsonLines => {
                writeln!(to, "{}", selected(selection))?;
                Self::JsonLines
            }
            Format::Csv => {
                let names = COLUMNS.map(|(name, _)| name);
                write!(to, "{}\r\n", names.join(","))?;
                Self::Csv
            }
            Format::Parquet => {
                let columns = COLUMNS.map(|(name, number)| match (name, number) {
                    ("time", _) => Column::time(name),
                    (_, true) => Column::number(name),
                    _ => Column::text(name),
                });
                Self::Parquet(Box::new(Parquet::begin(columns.to_vec(), to)?))
            }
            Format::Ocsf => Self::Ocsf,
        })
    }

    fn write(&mut self, told: &Told, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::JsonLines => return to.write_all(told.lines()),
            Self::Ocsf => {
                for event in ocsf(&told.record) {
                    writeln!(to, "{event}")?;
                }
                return Ok(());
            }
            Self::Csv | Self::Parquet(_) => {}
        }
        let text = std::str::from_utf8(told.lines()).map_err(io::Error::other)?;
        for line in text.lines() {
            let Some((header, event)) = Header::parse_line(line) else {
                return Err(io::Error::other("an event cannot be read"));
            };
            let row = row(&told.record, &header, event);
            match self {
                Self::Parquet(parquet) => {
                    for (column, cell) in row.iter().enumerate() {
                        match cell {
                            Cell::Number(number) => parquet.put(column, &number.to_le_bytes()),
                            Cell::Text(text) => parquet.put_text(column, text),
                        }
                    }
                    parquet.end_row(to)?;
                }
                _ => {
                    let cells: Vec<String> = row.iter().map(csv).collect();
                    write!(to, "{}\r\n", cells.join(","))?;
                }
            }
        }
        Ok(())
    }

    fn finish(self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Parquet(parquet) => parquet.finish(to),
            _ => Ok(()),
        }
    }
}

/// A field. What a spreadsheet would take for a formula has an apostrophe before it.
fn csv(cell: &Cell) -> String {
    match cell {
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => {
            let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            let guard = if formula { "'" } else { "" };
            if formula || text.contains(['"', ',', '\n', '\r']) {
                format!("\"{guard}{}\"", text.replace('"', "\"\""))
            } else {
                text.clone()
            }
        }
    }
}

/// A remediation as the finding that it closed or left open, and as what was done about it.
pub(crate) fn ocsf(record: &Record) -> [Value; 2] {
    let severity = match record.severity.to_ascii_uppercase().as_str() {
        "INFORMATIONAL" => 1,
        "LOW" => 2,
        "MEDIUM" => 3,
        "HIGH" => 4,
        "CRITICAL" => 5,
        _ => 0,
    };
    let fixed = matches!(record.status, Status::Success | Status::NothingToDo);
    let undone = matches!(
        record.status,
        Status::Undone | Status::UndoFailed | Status::Undoing
    );
    // 1 create, 2 update, 3 close; 3 restore, 4 harden.
    let (finding, activity) = (if fixed { 3 } else { 2 }, if undone { 3 } else { 4 });
    let status = match record.status {
        Status::Success | Status::NothingToDo | Status::Undone => 1,
        Status::Failed | Status::UndoFailed | Status::Refused => 2,
        _ => 0,
    };
    let metadata = |uid: String| {
        json!({
            "version": "1.4.0",
            "uid": uid,
            "product": {"name": "Stanch", "vendor_name": "Stanch", "version": env!("CARGO_PKG_VERSION")},
            "logged_time": record.updated_at.as_millisecond(),
        })
    };
    let id = record.remediation_id;
    let cloud = json!({
        "provider": "AWS",
        "region": record.region,
        "account": {"uid": record.account_id, "type": "AWS Account", "type_id": 10},
    });
    let resource = json!({
        "uid": record.resource_id,
        "type": record.resource_type,
        "region": record.region,
    });
    [
        json!({
            "category_uid": 2, "class_uid": 2003, "activity_id": finding,
            "type_uid": 200_300 + finding, "severity_id": severity,
            "time": record.updated_at.as_millisecond(),
            "start_time": record.timestamp.as_millisecond(),
            "metadata": metadata(format!("{id}/finding")),
            "cloud": cloud,
            "finding_info": {"uid": record.finding_id, "title": record.title},
            // 1 pass, 3 fail.
            "compliance": {
                "control": record.control,
                "standards": ["Security Hub"],
                "status_id": if fixed { 1 } else { 3 },
            },
            // 1 new, 4 resolved.
            "status_id": if fixed { 4 } else { 1 },
            "resources": [resource],
            "message": record.title,
        }),
        json!({
            "category_uid": 7, "class_uid": 7001, "activity_id": activity,
            "type_uid": 700_100 + activity, "severity_id": severity,
            "time": record.updated_at.as_millisecond(),
            "start_time": record.started_at.unwrap_or(record.timestamp).as_millisecond(),
            "duration": record.execution_duration,
            "metadata": metadata(id.to_string()),
            "cloud": cloud,
            "command_uid": id,
            "remediation": {"desc": record.remediation_action},
            "status_id": status,
            "status": record.status.as_str(),
            "status_detail": record.error_message,
            "actor": {"user": {"uid": record.requester}},
            "observables": [
                {"name": "finding_info.uid", "type_id": 10, "value": record.finding_id},
                {"name": "resources[].uid", "type_id": 10, "value": record.resource_id},
            ],
            "message": format!("{} on {}: {}", record.remediation_action, record.resource_id, record.status),
        }),
    ]
}
