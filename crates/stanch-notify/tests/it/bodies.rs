//! The body of each channel, as it is sent.

use serde_json::{Value, json};
use stanch_hub::Message;
use stanch_notify::{EventBus, Jira, Login, Notice, PagerDuty, ServiceNow, Slack, Teams};
use stanch_types::{HttpRequest, Secret};

use crate::world::{Scripted, asking, failed, fixed};

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// Method, address, headers and body.
fn shown(request: &HttpRequest) -> Value {
    let headers = request.headers.iter();
    let headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {}", value.reveal()))
        .collect();
    let body = request.body.reveal();
    json!({
        "request": format!("{} {}", request.method, request.url.reveal()),
        "headers": headers,
        "body": serde_json::from_str::<Value>(body).unwrap_or_else(|_| json!(body)),
    })
}

#[test]
fn slack() {
    let slack = Slack::new(secret("https://hooks.slack.example/services/T/B/x"));
    let request = |message: &Message| shown(&slack.request(&Notice::new(message)));
    insta::assert_json_snapshot!("slack-fixed", request(&fixed()));
    insta::assert_json_snapshot!("slack-asking", request(&asking()));
}

#[test]
fn teams() {
    let teams = Teams::new(secret("https://example.logic.azure.example/workflows/x"));
    let request = |message: &Message| shown(&teams.request(&Notice::new(message)));
    insta::assert_json_snapshot!("teams-failed", request(&failed()));
}

#[test]
fn pagerduty() {
    let key = secret("0123456789abcdef0123456789abcdef");
    let pagerduty = PagerDuty::new(stanch_notify::ENQUEUE, key);
    let request = |message: &Message| shown(&pagerduty.request(&Notice::new(message)));
    insta::assert_json_snapshot!("pagerduty-trigger", request(&failed()));
    insta::assert_json_snapshot!("pagerduty-resolve", request(&fixed()));
}

#[test]
fn servicenow() {
    let login = Login::Basic("stanch".to_owned(), secret("password"));
    let servicenow = ServiceNow::new("https://example.service-now.example/", login);
    let (asked, done) = (asking(), fixed());
    let notice = Notice::new(&asked);
    insta::assert_json_snapshot!("servicenow-find", shown(&servicenow.find(&notice).unwrap()));
    insta::assert_json_snapshot!("servicenow-create", shown(&servicenow.create(&notice)));
    let closing = servicenow.update(
        &Notice::new(&done),
        "46e18c0fa9fe19810066a0083f76bd56",
        true,
    );
    insta::assert_json_snapshot!("servicenow-close", shown(&closing[0]));
}

#[test]
fn jira() {
    let login = Login::Basic("bot@example.com".to_owned(), secret("token"));
    let jira = Jira::new("https://example.atlassian.example", login, "SEC");
    let (wrong, done) = (failed(), fixed());
    let notice = Notice::new(&wrong);
    insta::assert_json_snapshot!("jira-find", shown(&jira.find(&notice).unwrap()));
    insta::assert_json_snapshot!("jira-create", shown(&jira.create(&notice).unwrap()));
    insta::assert_json_snapshot!(
        "jira-comment",
        shown(&jira.comment(&Notice::new(&done), "SEC-7"))
    );
}

/// Wherever people are asked, they see what the change may touch.
#[test]
fn what_a_change_may_touch_is_in_every_request() {
    let asked = asking();
    let notice = Notice::new(&asked);
    let login = || Login::Bearer(secret("token"));
    let requests = [
        Slack::new(secret("https://slack.example")).request(&notice),
        Teams::new(secret("https://teams.example")).request(&notice),
        PagerDuty::new(stanch_notify::ENQUEUE, secret("key")).request(&notice),
        ServiceNow::new("https://servicenow.example", login()).create(&notice),
        Jira::new("https://jira.example", login(), "SEC")
            .create(&notice)
            .unwrap(),
    ];
    for request in requests {
        let body = request.body.reveal();
        assert!(body.contains("Its policy lets everybody in: no"), "{body}");
    }
}

#[test]
fn event_bus() {
    let bus = EventBus::new(Scripted::new(Vec::new()), "default");
    let call = bus.put(&fixed()).unwrap();
    let mut params = call.params.clone();
    let detail = params.pointer_mut("/Entries/0/Detail").unwrap();
    *detail = serde_json::from_str(detail.as_str().unwrap()).unwrap();
    insta::assert_json_snapshot!("event-bus", params);
}
