//! Slack, by an incoming webhook (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>)
//! with blocks (<https://docs.slack.dev/reference/block-kit/blocks>).
//!
//! Text of strangers is in `plain_text` objects, which know no formatting, no links and no mentions; all
//! text is escaped as <https://docs.slack.dev/messaging/formatting-message-text#escaping> asks.

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_types::{HttpRequest, Secret};

use crate::{
    notice::{Notice, plain, unmentioned},
    send::{Channel, Line, Trouble},
};

/// A channel of a Slack workspace.
pub struct Slack {
    url: Secret<String>,
}

/// The longest `header`, and the longest `text` and `fields` of a `section`:
/// <https://docs.slack.dev/reference/block-kit/blocks/header-block>,
/// <https://docs.slack.dev/reference/block-kit/blocks/section-block>.
const HEADER: usize = 150;
const TEXT: usize = 3000;
const FIELD: usize = 2000;

/// The most fields of a section; the same page.
const FIELDS: usize = 10;

/// The most characters of all blocks together: Slack answers `msg_blocks_too_long` to some more than
/// 13,000, which it does not document (<https://github.com/slackapi/bolt-js/issues/2509>).
const ALL: usize = 12_000;

/// How many facts and changes are shown.
const FACTS: usize = 10;
const CHANGES: usize = 20;

impl Slack {
    /// Posts to an incoming webhook, whose address is the secret.
    #[must_use]
    pub const fn new(url: Secret<String>) -> Self {
        Self { url }
    }

    /// The request that posts a notice.
    #[must_use]
    pub fn request(&self, notice: &Notice<'_>) -> HttpRequest {
        let body = [TEXT, 600, 200, 60]
            .into_iter()
            .map(|longest| body(notice, longest))
            .find(|body| length(body) <= ALL)
            .unwrap_or_else(|| json!({"text": escaped(&notice.headline(), HEADER)}));
        HttpRequest::json("POST", self.url.clone(), body.to_string())
    }
}

/// The message, of which no text is longer than `longest`.
fn body(notice: &Notice<'_>, longest: usize) -> Value {
    let text = |text: &str, limit: usize| json!({"type": "plain_text", "emoji": false, "text": escaped(text, limit.min(longest))});
    let headline = notice.headline();
    let mut blocks = vec![json!({"type": "header", "text": text(&headline, HEADER)})];
    let facts = notice.facts().into_iter().take(FIELDS);
    let facts: Vec<Value> = facts
        .map(|(label, value)| {
            let value = escaped(&value, FIELD.min(longest) - 40);
            json!({"type": "plain_text", "emoji": false, "text": format!("{label}\n{value}")})
        })
        .collect();
    blocks.push(json!({"type": "section", "fields": facts}));
    let section = |words: &str| json!({"type": "section", "text": text(words, TEXT)});
    blocks.extend(notice.paragraphs().iter().take(8).map(|one| section(one)));
    if !notice.touched().is_empty() {
        let heading = "What it may touch".to_owned();
        blocks.push(listed(
            vec![heading],
            notice.touched(),
            longest.min(2000) / FACTS,
            FACTS,
        ));
    }
    if !notice.changes().is_empty() {
        let line = longest / CHANGES;
        blocks.push(listed(Vec::new(), notice.changes(), line, CHANGES));
    }
    let links: Vec<String> = links(notice)
        .iter()
        .map(|(label, url)| format!("<{}|{label}>", url.replace('&', "&amp;")))
        .collect();
    if !links.is_empty() {
        let links = links.join("  ");
        blocks.push(
            json!({"type": "section", "text": {"type": "mrkdwn", "verbatim": true, "text": links}}),
        );
    }
    let advice: Vec<Value> = notice.advice().iter().map(|line| text(line, 500)).collect();
    blocks.push(json!({"type": "context", "elements": advice}));
    json!({"text": escaped(&headline, HEADER), "blocks": blocks})
}

/// A section with the first `most` of these lines, none longer than `longest`, below others.
fn listed(mut above: Vec<String>, lines: &[String], longest: usize, most: usize) -> Value {
    let shown = lines.iter().take(most);
    above.extend(shown.map(|line| escaped(line, longest.max(20))));
    if let Some(more) = lines.len().checked_sub(most).filter(|more| *more > 0) {
        above.push(format!("… and {more} more"));
    }
    let text = crate::notice::cut(&above.join("\n"), TEXT);
    json!({"type": "section", "text": {"type": "plain_text", "emoji": false, "text": text}})
}

/// What can be opened: addresses of our own making, in which nothing of `<`, `>` and `|` is left.
fn links(notice: &Notice<'_>) -> Vec<(&'static str, String)> {
    let answer = notice.answer_link().map(str::to_owned);
    [
        ("Answer", answer),
        ("Open in the console", notice.console()),
    ]
    .into_iter()
    .filter_map(|(label, url)| Some((label, url?)))
    .filter(|(_, url)| url.len() < 1400 && !url.contains(['<', '>', '|', ' ']))
    .collect()
}

/// Text of a stranger within so many characters, of which one that has to be escaped counts as many as
/// it becomes. Slack takes no empty text.
fn escaped(text: &str, limit: usize) -> String {
    let text = unmentioned(&plain(text, limit));
    let mut all = String::new();
    let mut left = limit;
    for c in text.chars() {
        let (escape, length) = match c {
            '&' => ("&amp;", 5),
            '<' => ("&lt;", 4),
            '>' => ("&gt;", 4),
            _ => ("", c.len_utf16()),
        };
        if length > left {
            break;
        }
        left -= length;
        match escape {
            "" => all.push(c),
            escape => all.push_str(escape),
        }
    }
    if all.is_empty() { "-".to_owned() } else { all }
}

/// The characters of all texts within.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.encode_utf16().count(),
        Value::Array(items) => items.iter().map(length).sum(),
        Value::Object(members) => members.values().map(length).sum(),
        _ => 0,
    }
}

#[async_trait]
impl Channel for Slack {
    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        line.send(&self.request(notice)).await.map(drop)
    }
}
