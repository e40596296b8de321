//! Open findings, asked for from Security Hub: what events miss, this finds.

use serde_json::{Value, json};
use stanch_ledger::LedgerError;
use stanch_models::Pages;
use stanch_types::{Api, Call, CallError};

use crate::{Hub, Source};

/// Security Hub's findings could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// Security Hub does not answer.
    #[error("Security Hub cannot be asked")]
    Asked(#[from] CallError),
    /// The ledger cannot take them.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Hub {
    /// Takes in the open findings that Security Hub has in the region of `api`; with `days` only those
    /// that were updated so lately. Gives how many remediations that began.
    ///
    /// # Errors
    /// What was taken in before stays.
    pub async fn poll(
        &self,
        api: &dyn Api,
        source: &Source,
        days: Option<u32>,
    ) -> Result<usize, PollError> {
        let is = |value: &str| json!([{ "Value": value, "Comparison": "EQUALS" }]);
        let mut filters = json!({
            "ComplianceStatus": is("FAILED"),
            "WorkflowStatus": is("NEW"),
            "RecordState": is("ACTIVE"),
        });
        if let (Some(days), Some(filters)) = (days, filters.as_object_mut()) {
            let range = json!([{ "DateRange": { "Value": days, "Unit": "DAYS" } }]);
            filters.insert("UpdatedAt".to_owned(), range);
        }
        let call = Call::new(
            "securityhub",
            "GetFindings",
            json!({ "Filters": filters, "MaxResults": 100 }),
        );
        let mut pages = Pages::new(api, &self.models, call)?;
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            let findings = page.output.get("Findings").unwrap_or(&Value::Null);
            if findings.as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            let taken = self.take(source, findings.to_string().as_bytes()).await?;
            count += taken.admitted.len();
        }
        Ok(count)
    }
}
