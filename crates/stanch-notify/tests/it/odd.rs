//! No message, however long or odd, breaks a format or mentions people.

use proptest::prelude::*;
use serde_json::Value;
use stanch_hub::{Asked, Message};
use stanch_notify::{
    EventBus, Jira, Login, Notice, PagerDuty, SecurityHub, ServiceNow, Slack, Teams, Topic,
};
use stanch_types::{HttpRequest, Secret};

use crate::world::{Scripted, asking};

/// Text of strangers: what each format takes for its own, and everything else.
fn odd() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "<!channel>",
            "<!here>",
            "<@U123>",
            "@here",
            "@CHANNEL",
            "@everyone",
            "<at>all</at>",
            "<https://evil.example|click>",
            "[click](https://evil.example)",
            "*b* _i_ ~s~ `c`",
            "<script>alert(1)</script>",
            "[code]<b>x</b>[/code]",
            "{{7*7}}",
            "${x}",
            "&amp;lt;",
            "\u{0}",
            "\u{7}",
            "\u{1b}[31m",
            "\r\n",
            "\u{202e}evil\u{202c}",
            "\u{2066}x\u{2069}",
            "\u{200b}",
            "\u{2028}",
            "👩‍👩‍👧",
            "\u{1f3f4}\u{e0067}\u{e007f}",
            "שלום",
            "مرحبا",
            "\"\\",
            "^active=true",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
        ".{0,40}",
    ];
    (prop::collection::vec(piece, 0..8), 0_usize..4)
        .prop_map(|(pieces, long)| pieces.concat().repeat([1, 1, 30, 900][long]))
}

fn message() -> impl Strategy<Value = Message> {
    let texts = prop::collection::vec(odd(), 12);
    let lines = prop::collection::vec(odd(), 0..60);
    let status = prop::sample::select(vec![
        "Success",
        "Failed",
        "AwaitingApproval",
        "Running",
        "Odd",
    ]);
    (texts, lines, status, any::<bool>(), any::<bool>()).prop_map(
        |(texts, lines, status, urgent, asks)| {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = <[String; 12]>::try_from(texts).unwrap();
            Message {
                status: status.to_owned(),
                resource: a,
                action: b,
                finding: c,
                severity: d,
                account_name: Some(e),
                resource_type: f,
                control: g,
                requester: h,
                error: Some(i),
                urgent,
                approval: asks.then(|| Asked {
                    facts: lines.clone(),
                    changes: lines,
                    reasons: vec![j],
                    needs: vec![k],
                    message: Some(l),
                    ..asking().approval.unwrap()
                }),
                ..asking()
            }
        },
    )
}

fn texts<'v>(value: &'v Value, name: &str, all: &mut Vec<(String, &'v str)>) {
    match value {
        Value::String(text) => all.push((name.to_owned(), text)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, name, all)),
        Value::Object(members) => {
            for (name, member) in members {
                texts(member, name, all);
            }
        }
        _ => {}
    }
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_str(request.body.reveal()).unwrap()
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What no text that people see may hold.
fn is_harmless(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mentions = ["@here", "@channel", "@everyone", "@all"];
    let controls = text.chars().any(|c| c.is_control() && c != '\n');
    let turns = text
        .chars()
        .any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    !mentions.iter().any(|word| lower.contains(word)) && !controls && !turns
}

fn secret() -> Secret<String> {
    Secret::new("https://hooks.example.com/x".to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn slack_shows_words_and_nothing_else(message in message()) {
        let body = body(&Slack::new(secret()).request(&Notice::new(&message)));
        let blocks = body["blocks"].as_array().unwrap();
        prop_assert!(blocks.len() <= 50);
        let mut total = 0;
        for block in blocks {
            let fields = block["fields"].as_array().cloned().unwrap_or_default();
            let elements = block["elements"].as_array().cloned().unwrap_or_default();
            prop_assert!(fields.len() <= 10 && elements.len() <= 10);
            for (limit, text) in [(3000, &block["text"])]
                .into_iter()
                .chain(fields.iter().map(|field| (2000, field)))
                .chain(elements.iter().map(|element| (3000, element)))
            {
                let Some(words) = text["text"].as_str() else { continue };
                let limit = if block["type"] == "header" { 150 } else { limit };
                prop_assert!(!words.is_empty() && units(words) <= limit, "{}", units(words));
                prop_assert!(is_harmless(words), "{words:?}");
                total += units(words);
                if text["type"] == "plain_text" {
                    prop_assert!(!words.contains(['<', '>']), "{words:?}");
                } else {
                    // Only links that we made.
                    prop_assert_eq!(text["type"].as_str(), Some("mrkdwn"));
                    for link in words.split("  ") {
                        prop_assert!(link.starts_with("<https://us-east-1.console.aws.amazon.com/"), "{link}");
                        prop_assert!(link.ends_with("|Open in the console>"), "{link}");
                        prop_assert_eq!(link.matches(['<', '>', '|', ' ']).count(), 3 + 3);
                    }
                }
            }
        }
        prop_assert!(total <= 13_000, "{total}");
    }

    #[test]
    fn teams_shows_words_and_nothing_else(message in message()) {
        let request = Teams::new(secret()).request(&Notice::new(&message));
        prop_assert!(request.body.reveal().len() <= 28 * 1024);
        let body = body(&request);
        let mut all = Vec::new();
        texts(&body, "", &mut all);
        for (name, text) in all {
            prop_assert!(is_harmless(text), "{text:?}");
            if name == "type" {
                let known = ["message", "AdaptiveCard", "RichTextBlock", "TextRun", "Action.OpenUrl"];
                prop_assert!(known.contains(&text), "{text}");
            }
            if name == "url" {
                prop_assert!(text.starts_with("https://us-east-1.console.aws.amazon.com/"), "{text}");
            }
        }
        prop_assert!(body.pointer("/attachments/0/content/msteams").is_none());
    }

    #[test]
    fn pagerduty_keeps_its_limits(message in message()) {
        let key = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        let request = PagerDuty::new(stanch_notify::ENQUEUE, key).request(&Notice::new(&message));
        prop_assert!(request.body.reveal().len() < 512 * 1024);
        let body = body(&request);
        if body["event_action"] == "trigger" {
            let summary = body["payload"]["summary"].as_str().unwrap();
            prop_assert!(!summary.is_empty() && units(summary) <= 1024);
        }
        let mut all = Vec::new();
        texts(&body, "", &mut all);
        prop_assert!(all.iter().all(|(_, text)| !text.chars().any(char::is_control)));
    }

    #[test]
    fn tickets_keep_their_limits_and_make_no_markup(message in message()) {
        let notice = Notice::new(&message);
        let login = || Login::Bearer(Secret::new("token".to_owned()));
        let servicenow = ServiceNow::new("https://example.service-now.example", login());
        let requests = servicenow.update(&notice, "46e18c0fa9fe", true);
        for request in requests.iter().chain([&servicenow.create(&notice)]) {
            let body = body(request);
            for (name, value) in body.as_object().unwrap() {
                let text = value.as_str().unwrap();
                let limit = if name == "short_description" { 160 } else { 4000 };
                prop_assert!(units(text) <= limit, "{name}");
                prop_assert!(!text.to_lowercase().contains("[code]"), "{text:?}");
            }
        }
        let jira = Jira::new("https://example.atlassian.example", login(), "SEC");
        let create = body(&jira.create(&notice).unwrap());
        let summary = create["fields"]["summary"].as_str().unwrap();
        prop_assert!(!summary.is_empty() && units(summary) <= 255 && !summary.contains('\n'));
        for document in [&create["fields"]["description"], &body(&jira.comment(&notice, "SEC-7"))["body"]] {
            let mut all = Vec::new();
            texts(document, "", &mut all);
            let total: usize = all.iter().filter(|(name, _)| name == "text").map(|(_, text)| units(text)).sum();
            prop_assert!(total <= 32_767, "{total}");
            for (name, text) in all {
                match name.as_str() {
                    "type" => prop_assert!(["doc", "paragraph", "text", "link"].contains(&text), "{text}"),
                    "href" => prop_assert!(text.starts_with("https://us-east-1.console.aws.amazon.com/")),
                    _ => prop_assert!(!text.is_empty()),
                }
            }
        }
    }

    #[test]
    fn aws_takes_it(message in message()) {
        let message = Message {
            origin: Some(stanch_ledger::Origin {
                product_arn: Some("arn:aws:securityhub:us-east-1::product/aws/securityhub".to_owned()),
                region: None,
                config_rule: None,
                is_shared: false,
            }),
            ..message
        };
        let topic = Topic::new(Scripted::new(Vec::new()), "arn:aws:sns:us-east-1:111111111111:T");
        let call = topic.publish(&message).unwrap();
        let subject = call.params["Subject"].as_str().unwrap();
        prop_assert!(!subject.is_empty() && subject.len() <= 100 && subject.bytes().all(|b| (32..127).contains(&b)));
        prop_assert!(call.params["Message"].as_str().unwrap().len() <= 256 * 1024 - 1024);
        let bus = EventBus::new(Scripted::new(Vec::new()), "default");
        let entry = &bus.put(&message).unwrap().params["Entries"][0];
        prop_assert!(entry["Detail"].as_str().unwrap().len() <= 256 * 1024 - 1024);
        let (_, call) = SecurityHub::update(&message).unwrap();
        let note = call.params["Note"]["Text"].as_str().unwrap();
        prop_assert!(note.contains(&message.remediation_id) && units(note) <= 512);
    }
}
