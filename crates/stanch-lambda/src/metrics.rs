//! Metrics, as log lines that CloudWatch reads them from (embedded metric format),
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! Their names are those of the alarms and dashboards in `administrator-monitoring.yaml`.

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_ledger::{RemediationId, Route, State, Status};

/// The line about a remediation that was carried out, if it was.
#[must_use]
pub fn remediation(
    namespace: &str,
    id: RemediationId,
    state: &State,
    now: Timestamp,
) -> Option<Value> {
    let counts = matches!(
        state.status,
        Status::Success | Status::Failed | Status::Undone | Status::UndoFailed
    );
    if !counts {
        return None;
    }
    let received = &state.received;
    let route = match received.route {
        Route::Manual => "Manual",
        Route::Automatic => "Automatic",
    };
    let duration = state.duration_ms.unwrap_or_default();
    let mut line = line(
        namespace,
        now,
        &[
            &[],
            &["Status"],
            &["ResourceType"],
            &["AccountId"],
            &["RemediationType"],
        ],
        &[
            ("Remediations", "Count"),
            ("ExecutionDuration", "Milliseconds"),
        ],
    );
    let members = [
        ("Remediations", json!(1)),
        ("ExecutionDuration", json!(duration)),
        ("Status", json!(state.status.to_string())),
        ("ResourceType", json!(received.resource_type)),
        ("AccountId", json!(received.account)),
        ("RemediationType", json!(route)),
        ("RemediationId", json!(id)),
        ("RemediationAction", json!(received.remediation)),
        ("Region", json!(received.region)),
    ];
    if let Some(object) = line.as_object_mut() {
        object.extend(members.map(|(name, value)| (name.to_owned(), value)));
        if let Some(error) = &state.error {
            object.insert("ErrorMessage".to_owned(), json!(error));
            object.insert("ErrorType".to_owned(), json!(error_type(error)));
        }
    }
    Some(line)
}

/// The line about events that could not be dealt with.
#[must_use]
pub fn dead_letters(namespace: &str, count: usize, now: Timestamp) -> Value {
    let mut line = line(namespace, now, &[&[]], &[("DeadLetters", "Count")]);
    if let Some(object) = line.as_object_mut() {
        object.insert("DeadLetters".to_owned(), json!(count));
    }
    line
}

/// The line about a channel that could not be told: one for all channels, and one for this.
#[must_use]
pub fn channel_failure(namespace: &str, channel: &str, now: Timestamp) -> Value {
    let mut line = line(
        namespace,
        now,
        &[&[], &["Channel"]],
        &[("ChannelFailures", "Count")],
    );
    if let Some(object) = line.as_object_mut() {
        object.insert("ChannelFailures".to_owned(), json!(1));
        object.insert("Channel".to_owned(), json!(channel));
    }
    line
}

fn line(
    namespace: &str,
    now: Timestamp,
    dimensions: &[&[&str]],
    metrics: &[(&str, &str)],
) -> Value {
    let metrics: Vec<Value> = metrics
        .iter()
        .map(|(name, unit)| json!({"Name": name, "Unit": unit}))
        .collect();
    json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": dimensions,
                "Metrics": metrics,
            }],
        },
    })
}

/// What failures are counted by: AWS's error code, or what of the message is the same each time.
fn error_type(error: &str) -> &str {
    let is_code = |part: &&str| {
        part.len() > 4
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
    };
    let mut parts = error.split(": ");
    parts
        .find(is_code)
        .unwrap_or_else(|| error.split([':', ';', '`']).next().unwrap_or(error).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_code() {
        let check = |error: &str, expected: &str| assert_eq!(error_type(error), expected);
        check(
            "no session in the member account: sts.AssumeRole: AccessDenied: User: x is not authorized",
            "AccessDenied",
        );
        check(
            "step `Block`: s3.PutPublicAccessBlock: NoSuchBucket: gone",
            "NoSuchBucket",
        );
        check(
            "every request was carried out, but the check still fails",
            "every request was carried out, but the check still fails",
        );
        check("", "");
    }
}
