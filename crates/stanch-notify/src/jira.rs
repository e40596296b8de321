//! Jira Cloud: an issue, by its REST API
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/>).
//!
//! It is made when people have something to do, found again by its label, and gets a comment with what
//! followed. Texts are documents
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>), in which a text node
//! is nothing but text.

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_types::{HttpRequest, Secret};

use crate::{
    console::encoded,
    notice::{Notice, plain},
    send::{Channel, Line, Trouble},
    servicenow::{Login, parsed, safe_id, their_id},
};

/// Issues of a project.
pub struct Jira {
    site: String,
    login: Login,
    project: String,
    kind: String,
    done: Option<String>,
}

/// The longest summary:
/// <https://support.atlassian.com/jira/kb/how-to-increase-the-255-character-limit-of-the-summary-field/>.
const SUMMARY: usize = 255;

/// The longest paragraph of ours; a description may have 32,767 characters:
/// <https://support.atlassian.com/jira/kb/changing-the-maximum-number-of-characters-in-text-fields/>.
const LINE: usize = 800;

/// The most paragraphs.
const LINES: usize = 40;

impl Jira {
    /// Issues of type `Task` at `https://<site>.atlassian.net`.
    #[must_use]
    pub fn new(site: &str, login: Login, project: impl Into<String>) -> Self {
        Self {
            site: site.trim_end_matches('/').to_owned(),
            login,
            project: project.into(),
            kind: "Task".to_owned(),
            done: None,
        }
    }

    /// The same with another type of issue.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The same, moving an issue by the transition of this name once nothing is left to do.
    #[must_use]
    pub fn done_by(mut self, transition: impl Into<String>) -> Self {
        self.done = Some(transition.into());
        self
    }

    fn get(&self, path: &str) -> HttpRequest {
        HttpRequest::get(Secret::new(format!("{}/rest/api/3/{path}", self.site)))
            .with("accept", "application/json".to_owned())
            .with("authorization", self.login.header())
    }

    fn post(&self, path: &str, body: &Value) -> HttpRequest {
        let url = Secret::new(format!("{}/rest/api/3/{path}", self.site));
        HttpRequest::json("POST", url, body.to_string())
            .with("accept", "application/json".to_owned())
            .with("authorization", self.login.header())
    }

    /// The request that looks for the issue of a remediation.
    ///
    /// # Errors
    /// Its id is none.
    pub fn find(&self, notice: &Notice<'_>) -> Result<HttpRequest, Trouble> {
        let label = format!("stanch-{}", safe_id(notice)?);
        let query = encoded(&format!("labels = \"{label}\" ORDER BY created ASC"));
        Ok(self.get(&format!(
            "search/jql?jql={query}&fields=status&maxResults=1"
        )))
    }

    /// The request that makes the issue.
    ///
    /// # Errors
    /// The remediation's id is none.
    pub fn create(&self, notice: &Notice<'_>) -> Result<HttpRequest, Trouble> {
        let label = format!("stanch-{}", safe_id(notice)?);
        let mut lines: Vec<String> = notice
            .facts()
            .into_iter()
            .map(|(label, value)| format!("{label}: {value}"))
            .collect();
        lines.extend(notice.paragraphs());
        lines.extend(notice.touched().iter().take(10).cloned());
        lines.extend(notice.changes().iter().take(10).cloned());
        lines.extend(notice.advice());
        let body = json!({
            "fields": {
                "project": {"key": self.project},
                "issuetype": {"name": self.kind},
                "summary": plain(&notice.headline(), SUMMARY),
                "labels": ["stanch", label],
                "description": document(&lines, notice.console()),
            },
        });
        Ok(self.post("issue", &body))
    }

    /// The request that adds what followed.
    #[must_use]
    pub fn comment(&self, notice: &Notice<'_>, key: &str) -> HttpRequest {
        let mut lines = vec![notice.headline()];
        lines.extend(notice.paragraphs());
        lines.extend(notice.advice());
        let body = json!({"body": document(&lines, None)});
        self.post(&format!("issue/{key}/comment"), &body)
    }
}

/// Paragraphs, and a link of our own making.
fn document(lines: &[String], link: Option<String>) -> Value {
    let lines = lines.iter().take(LINES).map(|line| plain(line, LINE));
    let paragraph = |node: Value| json!({"type": "paragraph", "content": [node]});
    // A text node must not be empty.
    let mut content: Vec<Value> = lines
        .filter(|line| !line.is_empty())
        .map(|line| paragraph(json!({"type": "text", "text": line})))
        .collect();
    content.extend(link.map(|href| {
        paragraph(json!({
            "type": "text", "text": "Open in the console",
            "marks": [{"type": "link", "attrs": {"href": href}}],
        }))
    }));
    json!({"type": "doc", "version": 1, "content": content})
}

#[async_trait]
impl Channel for Jira {
    /// What is about a remediation.
    fn takes(&self, notice: &Notice<'_>) -> bool {
        !notice.is_letter()
    }

    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        let found = parsed(&line.send(&self.find(notice)?).await?)?;
        let Some(key) = their_id(&found, "/issues/0/key") else {
            if has_to_do(notice) {
                line.send(&self.create(notice)?).await?;
            }
            return Ok(());
        };
        line.send(&self.comment(notice, &key)).await?;
        let (Some(done), true) = (&self.done, notice.is_fixed()) else {
            return Ok(());
        };
        let path = format!("issue/{key}/transitions");
        let known = parsed(&line.send(&self.get(&path)).await?)?;
        let named = known
            .pointer("/transitions")
            .and_then(Value::as_array)
            .and_then(|all| all.iter().find(|one| one.get("name") == Some(&json!(done))));
        match named.and_then(|one| their_id(one, "/id")) {
            Some(id) => {
                let body = json!({"transition": {"id": id}});
                line.send(&self.post(&path, &body)).await.map(drop)
            }
            None => Err(Trouble::Lasting(format!(
                "the issue has no transition `{done}` where it stands"
            ))),
        }
    }
}

/// There is something for people to do or to look at.
fn has_to_do(notice: &Notice<'_>) -> bool {
    let message = notice.message();
    message.urgent
        || message.approval.is_some()
        || matches!(
            message.status.as_str(),
            "Failed" | "Refused" | "Paused" | "UndoFailed"
        )
        || message.status == "Undone" && message.error.is_some()
}
