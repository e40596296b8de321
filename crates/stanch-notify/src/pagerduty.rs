//! PagerDuty, by the Events API v2
//! (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>): an incident while a critical
//! finding is open and people have to look, resolved when it is over.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stanch_types::{HttpRequest, Secret, hex};

use crate::{
    notice::{Notice, plain},
    send::{Channel, Line, Trouble},
};

/// A service of PagerDuty.
pub struct PagerDuty {
    url: String,
    routing_key: Secret<String>,
}

/// Where events go; accounts in Europe have `https://events.eu.pagerduty.com/v2/enqueue`:
/// <https://support.pagerduty.com/main/docs/service-regions>.
pub const ENQUEUE: &str = "https://events.pagerduty.com/v2/enqueue";

/// The longest summary; the API's page.
const SUMMARY: usize = 1024;

/// The longest text of ours beside it. An event may have 512 KB.
const DETAIL: usize = 2000;

impl PagerDuty {
    /// Sends events to `url` ([`ENQUEUE`]) with the integration's key.
    #[must_use]
    pub fn new(url: impl Into<String>, routing_key: Secret<String>) -> Self {
        let url = url.into();
        Self { url, routing_key }
    }

    /// The request that opens or resolves an incident.
    #[must_use]
    pub fn request(&self, notice: &Notice<'_>) -> HttpRequest {
        let message = notice.message();
        let mut body = json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": if is_over(notice) { "resolve" } else { "trigger" },
            "dedup_key": incident(notice),
        });
        if !is_over(notice)
            && let Some(event) = body.as_object_mut()
        {
            let mut details: Map<String, Value> = notice
                .facts()
                .into_iter()
                .map(|(label, value)| (label.to_owned(), json!(plain(&value, DETAIL))))
                .collect();
            let list = |lines: &[String], most: usize| -> Vec<String> {
                let lines = lines.iter().take(most);
                lines.map(|line| plain(line, DETAIL)).collect()
            };
            details.insert("Why".to_owned(), json!(list(&notice.paragraphs(), 10)));
            if !notice.touched().is_empty() {
                let touched = list(notice.touched(), 20);
                details.insert("What it may touch".to_owned(), json!(touched));
            }
            details.insert("Changes".to_owned(), json!(list(notice.changes(), 20)));
            details.insert("What to do".to_owned(), json!(list(&notice.advice(), 10)));
            let links = notice.console().into_iter();
            let links: Vec<Value> = links
                .map(|href| json!({"href": href, "text": "Open in the console"}))
                .collect();
            event.insert("client".to_owned(), json!("Stanch"));
            event.insert("links".to_owned(), json!(links));
            let source = match plain(&message.resource, 500) {
                source if source.is_empty() => "unknown".to_owned(),
                source => source,
            };
            event.insert(
                "payload".to_owned(),
                json!({
                    "summary": plain(&notice.headline(), SUMMARY),
                    "source": source,
                    "severity": "critical",
                    "timestamp": plain(&message.executed_at, 40),
                    "component": plain(&message.resource_type, 100),
                    "group": plain(&notice.account(), 200),
                    "class": plain(&message.control, 100),
                    "custom_details": details,
                }),
            );
        }
        HttpRequest::json("POST", Secret::new(self.url.clone()), body.to_string())
    }
}

/// The incident: one for a resource and what is to be done about it, whichever remediation does it, so
/// that the next one's success resolves it. At most 255 characters; the API's page.
fn incident(notice: &Notice<'_>) -> String {
    let message = notice.message();
    let about = match message.status.as_str() {
        "RolloutBack" => ["rollout", &message.account, "", ""],
        _ => [
            message.account.as_str(),
            &message.region,
            &message.resource,
            &message.action,
        ],
    };
    format!("stanch-{}", hex(&Sha256::digest(about.join("\n"))))
}

/// Nobody has to look any more: it is fixed, or somebody wanted it put back or left.
fn is_over(notice: &Notice<'_>) -> bool {
    let message = notice.message();
    match message.status.as_str() {
        _ if message.urgent => false,
        "Success" | "NothingToDo" | "Skipped" => true,
        "Undone" => message.error.is_none(),
        _ => false,
    }
}

#[async_trait]
impl Channel for PagerDuty {
    /// What is critical or urgent; and the end of anything that may have been urgent.
    fn takes(&self, notice: &Notice<'_>) -> bool {
        let message = notice.message();
        message.urgent
            || message.known_threat
            || message.severity == "CRITICAL"
            || message.status == "Undone" && is_over(notice)
    }

    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        line.send(&self.request(notice)).await.map(drop)
    }
}
