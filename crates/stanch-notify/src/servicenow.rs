//! ServiceNow: a change request, by the Table API
//! (<https://www.servicenow.com/docs/bundle/zurich-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html>).
//!
//! It is made when an approval is asked or a change begins, found again by its correlation id, and
//! closed with the result. What ended before either has none.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_types::{HttpAnswer, HttpRequest, Secret};

use crate::{
    notice::{Notice, plain},
    send::{Channel, Line, Trouble},
};

/// Who one is at the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password or API token.
    Basic(String, Secret<String>),
    /// An OAuth token.
    Bearer(Secret<String>),
}

impl Login {
    /// The value of the header `authorization`.
    pub(crate) fn header(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        match self {
            Self::Basic(name, secret) => {
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{name}:{}", secret.reveal()))
                )
            }
            Self::Bearer(token) => format!("Bearer {}", token.reveal()),
        }
    }
}

/// Change requests of an instance.
pub struct ServiceNow {
    table: String,
    login: Login,
    kind: String,
    closing: Vec<String>,
    cancelled: String,
}

/// The longest short description, and the longest text: the columns `short_description` and
/// `description` of the table `task`
/// (<https://www.servicenow.com/docs/bundle/zurich-platform-administration/page/administer/field-administration/concept/c_FieldTypes.html>).
const SHORT: usize = 160;
const LONG: usize = 4000;

/// Closed, and cancelled:
/// <https://www.servicenow.com/docs/bundle/zurich-it-service-management/page/product/change-management/concept/c_ChangeStateModel.html>.
pub const CLOSED: &str = "3";
const CANCELLED: &str = "4";

impl ServiceNow {
    /// Change requests at `https://<instance>.service-now.com`.
    #[must_use]
    pub fn new(instance: &str, login: Login) -> Self {
        let table = format!(
            "{}/api/now/table/change_request",
            instance.trim_end_matches('/')
        );
        Self {
            table,
            login,
            kind: "normal".to_owned(),
            closing: vec![CLOSED.to_owned()],
            cancelled: CANCELLED.to_owned(),
        }
    }

    /// The same with another type of change: `standard`, `emergency`.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The same, going through these states to close a change, one after the other: what the instance's
    /// change model asks for.
    #[must_use]
    pub fn closing_by(mut self, states: Vec<String>) -> Self {
        self.closing = states;
        self
    }

    fn json(&self, method: &'static str, path: &str, body: &Map<String, Value>) -> HttpRequest {
        let url = Secret::new(format!("{}{path}", self.table));
        HttpRequest::json(method, url, Value::Object(body.clone()).to_string())
            .with("accept", "application/json".to_owned())
            .with("authorization", self.login.header())
    }

    /// The request that looks for the change of a remediation.
    ///
    /// # Errors
    /// Its id is none: it stands in a query, in which `^` begins another condition.
    pub fn find(&self, notice: &Notice<'_>) -> Result<HttpRequest, Trouble> {
        let id = safe_id(notice)?;
        let url = format!(
            "{}?sysparm_query=correlation_id%3D{id}&sysparm_fields=sys_id,state&sysparm_limit=1",
            self.table
        );
        Ok(HttpRequest::get(Secret::new(url))
            .with("accept", "application/json".to_owned())
            .with("authorization", self.login.header()))
    }

    /// The request that makes the change.
    #[must_use]
    pub fn create(&self, notice: &Notice<'_>) -> HttpRequest {
        let message = notice.message();
        let undo = match message.approval.is_some() {
            true => {
                "Stanch keeps what was there before the change; `stanch rollback` puts it back where that is possible."
            }
            false => "stanch rollback with the remediation's id.",
        };
        let facts = notice.facts().into_iter();
        let description: Vec<String> = facts
            .map(|(label, value)| format!("{label}: {value}"))
            .chain(notice.paragraphs())
            .chain(notice.touched().iter().cloned())
            .chain(notice.console())
            .collect();
        let body = json!({
            "type": self.kind,
            "short_description": crate::notice::cut(&text(&[notice.headline()]), SHORT),
            "description": text(&description),
            "justification": text(std::slice::from_ref(&message.finding)),
            "implementation_plan": text(notice.changes()),
            "backout_plan": undo,
            "correlation_id": message.remediation_id,
            "correlation_display": "Stanch",
            "work_notes": text(&notice.advice()),
        });
        self.json("POST", "", body.as_object().unwrap_or(&Map::new()))
    }

    /// The requests that write into a change what became of it, the last of which closes it.
    #[must_use]
    pub fn update(&self, notice: &Notice<'_>, id: &str, is_open: bool) -> Vec<HttpRequest> {
        let path = format!("/{id}");
        let message = notice.message();
        let mut lines = vec![notice.headline()];
        lines.extend(notice.paragraphs());
        lines.extend(notice.advice());
        let mut last = Map::new();
        last.insert("work_notes".to_owned(), json!(text(&lines)));
        if !notice.is_over() || !is_open {
            return vec![self.json("PATCH", &path, &last)];
        }
        let (states, code) = match message.status.as_str() {
            "Success" | "NothingToDo" => (self.closing.clone(), "successful"),
            "Refused" | "Skipped" => (vec![self.cancelled.clone()], "unsuccessful"),
            _ => (self.closing.clone(), "unsuccessful"),
        };
        last.insert("close_code".to_owned(), json!(code));
        last.insert("close_notes".to_owned(), json!(text(&lines)));
        let mut requests = Vec::new();
        let end = states.len().saturating_sub(1);
        for (at, state) in states.iter().enumerate() {
            let mut body = if at == end { last.clone() } else { Map::new() };
            body.insert("state".to_owned(), json!(state));
            requests.push(self.json("PATCH", &path, &body));
        }
        requests
    }
}

/// Lines of strangers as one text. `[code]` would make HTML of it:
/// <https://www.servicenow.com/docs/bundle/zurich-platform-user-interface/page/administer/field-administration/concept/c_JournalFields.html>.
fn text(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&plain(line, 1000));
    }
    let text = text.replace('[', "[\u{2060}");
    crate::notice::cut(&text, LONG)
}

/// The remediation's id, which is hexadecimal digits and hyphens.
pub(crate) fn safe_id<'m>(notice: &Notice<'m>) -> Result<&'m str, Trouble> {
    let id = notice.message().remediation_id.as_str();
    let is_id = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    match is_id {
        true => Ok(id),
        false => Err(Trouble::Lasting("the remediation's id is none".to_owned())),
    }
}

/// The JSON of an answer.
pub(crate) fn parsed(answer: &HttpAnswer) -> Result<Value, Trouble> {
    serde_json::from_slice(&answer.body).map_err(|_| {
        Trouble::Lasting("it did not answer with JSON; is the address right?".to_owned())
    })
}

/// An id that the other side gave, if it is harmless in a path.
pub(crate) fn their_id(value: &Value, pointer: &str) -> Option<String> {
    let id = value.pointer(pointer)?.as_str()?;
    let is_safe = !id.is_empty()
        && id.len() <= 64
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_safe.then(|| id.to_owned())
}

#[async_trait]
impl Channel for ServiceNow {
    /// What is about a remediation.
    fn takes(&self, notice: &Notice<'_>) -> bool {
        !notice.is_letter()
    }

    fn follows(&self) -> bool {
        true
    }

    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        let message = notice.message();
        let found = parsed(&line.send(&self.find(notice)?).await?)?;
        let known = their_id(&found, "/result/0/sys_id");
        let begins = message.approval.is_some() || message.status == "Running";
        let changed = matches!(message.status.as_str(), "Success" | "Undone" | "UndoFailed");
        let (id, is_open) = match known {
            Some(id) => {
                let state = found.pointer("/result/0/state").and_then(Value::as_str);
                let closed = [
                    self.closing.last().map(String::as_str),
                    Some(self.cancelled.as_str()),
                ];
                (id, !closed.contains(&state))
            }
            None if begins || changed => {
                let made = parsed(&line.send(&self.create(notice)).await?)?;
                let id = their_id(&made, "/result/sys_id")
                    .ok_or_else(|| Trouble::Lasting("it gave no `sys_id`".to_owned()))?;
                if begins {
                    return Ok(());
                }
                (id, true)
            }
            // Nothing was asked and nothing was changed.
            None => return Ok(()),
        };
        for request in self.update(notice, &id, is_open) {
            line.send(&request).await?;
        }
        Ok(())
    }
}
