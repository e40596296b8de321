//! Open findings, asked for regularly from Security Hub: what events miss, this finds.

use std::time::Duration;

use serde_json::{Value, json};
use stanch_aws::Client;
use stanch_hub::Source;
use stanch_models::Pages;
use stanch_types::Call;

use super::Intake;

/// Asks until the end.
pub async fn run(intake: Intake, client: Client, every: Duration) {
    let source = Source::automatic(format!("security-hub {}", client.region()));
    loop {
        tokio::select! {
            () = intake.stop.wait() => return,
            asked = ask(&intake, &client, &source) => match asked {
                Ok(count) => tracing::info!(count, source = source.name, "new findings"),
                Err(error) => tracing::error!(error, source = source.name, "cannot ask Security Hub"),
            }
        }
        if !intake.stop.pause(&*intake.clock, every).await {
            return;
        }
    }
}

async fn ask(intake: &Intake, client: &Client, source: &Source) -> Result<usize, String> {
    let is = |value: &str| json!([{ "Value": value, "Comparison": "EQUALS" }]);
    let filters = json!({
        "ComplianceStatus": is("FAILED"),
        "WorkflowStatus": is("NEW"),
        "RecordState": is("ACTIVE"),
    });
    let call = Call::new(
        "securityhub",
        "GetFindings",
        json!({ "Filters": filters, "MaxResults": 100 }),
    );
    let mut pages = Pages::new(client, client.models(), call).map_err(|error| error.to_string())?;
    let mut count = 0;
    while let Some(page) = pages.next().await.map_err(|error| error.to_string())? {
        let findings = page.output.get("Findings").unwrap_or(&Value::Null);
        if findings.as_array().is_none_or(Vec::is_empty) {
            continue;
        }
        let taken = intake
            .hub
            .take(source, findings.to_string().as_bytes())
            .await;
        count += taken
            .map_err(|error| stanch_types::chain(&error))?
            .admitted
            .len();
    }
    Ok(count)
}
