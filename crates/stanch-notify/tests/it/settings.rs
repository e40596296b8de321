//! Channels as they are configured.

use serde_json::json;
use stanch_hub::Notifier as _;
use stanch_notify::Channels;

use crate::world::{failed, fixed, sender};

fn read(json: serde_json::Value) -> Result<Channels, String> {
    let channels: Channels = serde_json::from_value(json).map_err(|error| error.to_string())?;
    match channels.check() {
        Ok(()) => Ok(channels),
        Err((key, why)) => Err(format!("{key}: {why}")),
    }
}

#[test]
fn every_channel_is_made_under_its_name() {
    let url = "https://hooks.example.com/secret-path";
    let channels = read(json!({
        "webhooks": ["https://user:pass@plain.example.com/secret"],
        "signed": {"siem": {"url": url, "key": "k".repeat(32)}},
        "slack": {"security": {"url": url, "only": {"minimum_severity": "CRITICAL"}}},
        "teams": {"ops": {"url": url}},
        "pagerduty": {"on-call": {"routing_key": "r"}},
        "servicenow": {"prod": {"url": "https://example.service-now.com", "user": "u", "password": "p"}},
        "jira": {"sec": {"url": "https://example.atlassian.net", "user": "u", "token": "t", "project": "SEC"}},
    }))
    .unwrap();
    let subscribers = channels.subscribers(&sender());
    let names: Vec<&str> = subscribers.iter().map(|one| one.channel()).collect();
    assert_eq!(
        names,
        [
            "webhook plain.example.com",
            "webhook siem",
            "slack security",
            "teams ops",
            "pagerduty on-call",
            "servicenow prod",
            "jira sec",
        ]
    );
    assert!(!subscribers[2].wants(&fixed()) && subscribers[2].wants(&failed()));
    assert!(channels.reach_people() && !channels.are_in_aws());
    let shown = format!("{channels:?}");
    for secret in [
        "secret-path",
        "kkkk",
        "pass@",
        "routing_key: \"r\"",
        "token: \"t\"",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_cannot_work_is_said() {
    let wrong = |json, word: &str| {
        let error = read(json).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    wrong(json!({"slak": {}}), "unknown field `slak`");
    wrong(
        json!({"slack": {"a": {"url": "https://x", "channel": "#x"}}}),
        "unknown field `channel`",
    );
    wrong(
        json!({"slack": {"a": {"url": "hooks.slack.com"}}}),
        "slack.a.url: ",
    );
    wrong(
        json!({"signed": {"a": {"url": "https://x", "key": "short"}}}),
        "signed.a.key: ",
    );
    wrong(
        json!({"slack": {"a": {"url": "https://x", "only": {"minimum_severity": "BAD"}}}}),
        "BAD",
    );
    let servicenow = |more: serde_json::Value| {
        let mut one = json!({"url": "https://x.service-now.com"});
        one.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"servicenow": {"a": one}})
    };
    wrong(servicenow(json!({})), "servicenow.a: ");
    wrong(
        servicenow(json!({"user": "u", "token": "t"})),
        "servicenow.a: ",
    );
    wrong(
        servicenow(json!({"token": "t", "closing_states": []})),
        "closing_states",
    );
    wrong(
        json!({"topics": {"a": {"arn": "arn:aws:sqs:us-east-1:111111111111:q"}}}),
        "topics.a.arn",
    );
    assert!(read(servicenow(json!({"token": "t"}))).is_ok());
    assert!(read(json!({})).unwrap().is_empty());
}
