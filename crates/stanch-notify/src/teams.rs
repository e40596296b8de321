//! Microsoft Teams, by a workflow with the trigger "When a Teams webhook request is received"
//! (<https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>),
//! as an Adaptive Card (<https://adaptivecards.microsoft.com/?topic=AdaptiveCard>).
//!
//! Text of strangers is in `TextRun`s, which know no Markdown
//! (<https://adaptivecards.microsoft.com/?topic=TextRun>). A mention needs an entity beside the card, and
//! there is none.

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_types::{HttpRequest, Secret};

use crate::{
    notice::{Notice, Tone, plain, unmentioned},
    send::{Channel, Line, Trouble},
};

/// A channel or chat of Teams.
pub struct Teams {
    url: Secret<String>,
}

/// The largest message in bytes, of 28 KB:
/// <https://learn.microsoft.com/en-us/microsoftteams/limits-specifications-teams>.
const LIMIT: usize = 27 * 1024;

/// How many facts and changes are shown.
const FACTS: usize = 10;
const CHANGES: usize = 20;

impl Teams {
    /// Posts to a workflow, whose address is the secret.
    #[must_use]
    pub const fn new(url: Secret<String>) -> Self {
        Self { url }
    }

    /// The request that posts a notice.
    #[must_use]
    pub fn request(&self, notice: &Notice<'_>) -> HttpRequest {
        let body = [1000, 300, 100]
            .into_iter()
            .map(|longest| body(notice, longest).to_string())
            .find(|body| body.len() <= LIMIT)
            .unwrap_or_else(|| card(vec![run(&notice.headline(), 100)], &[]).to_string());
        HttpRequest::json("POST", self.url.clone(), body)
    }
}

/// A paragraph that is nothing but this text.
fn run(text: &str, limit: usize) -> Value {
    rich(vec![json!({"type": "TextRun", "text": clean(text, limit)})])
}

/// How many lines are left out, if some are.
fn more(lines: &[String], shown: usize) -> Option<Value> {
    let more = lines.len().checked_sub(shown).filter(|more| *more > 0)?;
    Some(run(&format!("… and {more} more"), 50))
}

fn rich(inlines: Vec<Value>) -> Value {
    json!({"type": "RichTextBlock", "inlines": inlines})
}

fn clean(text: &str, limit: usize) -> String {
    unmentioned(&plain(text, limit))
}

/// The message, of which no text is longer than `longest`.
fn body(notice: &Notice<'_>, longest: usize) -> Value {
    let color = match notice.tone() {
        Tone::Good => "good",
        Tone::Neutral => "default",
        Tone::Warning => "warning",
        Tone::Bad => "attention",
    };
    let headline = clean(&notice.headline(), longest.min(250));
    let mut blocks = vec![rich(vec![json!({
        "type": "TextRun", "text": headline, "size": "large", "weight": "bolder", "color": color,
    })])];
    blocks.extend(notice.facts().iter().map(|(label, value)| {
        rich(vec![
            json!({"type": "TextRun", "text": format!("{label}: "), "weight": "bolder"}),
            json!({"type": "TextRun", "text": clean(value, longest)}),
        ])
    }));
    blocks.extend(
        notice
            .paragraphs()
            .iter()
            .take(8)
            .map(|one| run(one, longest)),
    );
    let touched = notice.touched();
    if !touched.is_empty() {
        blocks.push(rich(vec![
            json!({"type": "TextRun", "text": "What it may touch", "weight": "bolder"}),
        ]));
        let lines = touched.iter().take(FACTS);
        blocks.extend(lines.map(|line| run(line, longest.min(200))));
        blocks.extend(more(touched, FACTS));
    }
    let changes = notice.changes();
    blocks.extend(changes.iter().take(CHANGES).map(|line| {
        let text = clean(line, longest.min(200));
        rich(vec![
            json!({"type": "TextRun", "text": text, "fontType": "monospace"}),
        ])
    }));
    blocks.extend(more(changes, CHANGES));
    blocks.extend(notice.advice().iter().map(|line| {
        let text = clean(line, longest.min(250));
        rich(vec![
            json!({"type": "TextRun", "text": text, "isSubtle": true}),
        ])
    }));
    let answer = notice.answer_link().map(str::to_owned);
    let actions: Vec<Value> = [
        ("Answer", answer),
        ("Open in the console", notice.console()),
    ]
    .into_iter()
    .filter_map(|(title, url)| {
        let url = url.filter(|url| url.len() < 2000)?;
        Some(json!({"type": "Action.OpenUrl", "title": title, "url": url}))
    })
    .collect();
    card(blocks, &actions)
}

fn card(blocks: Vec<Value>, actions: &[Value]) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": blocks,
                "actions": actions,
            },
        }],
    })
}

#[async_trait]
impl Channel for Teams {
    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        line.send(&self.request(notice)).await.map(drop)
    }
}
