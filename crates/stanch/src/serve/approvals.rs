//! The page on which people say yes or no, reached by a signed link.
//!
//! Looking changes nothing: previews of links and careless clicks do no harm. An answer is a POST with
//! what only the page holds. The page loads nothing, runs nothing and is in no frame.

use std::fmt::{Display, Write as _};

use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stanch_catalog::PlannedAction;
use stanch_hub::{Approver, Claim, Links, Sheet, means, shown};
use stanch_ledger::{Change, LedgerError, RemediationId, Status, same_person};

use super::Intake;

/// The longest reason that is kept.
const LONGEST_REASON: usize = 1_000;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8886;--note:#b35c0022}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.15rem;margin:2rem 0 .5rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}caption{text-align:left;padding-bottom:.25rem}\
th,td{border:1px solid var(--line);padding:.35rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
pre{border:1px solid var(--line);padding:.5rem;margin:.25rem 0 1rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.875rem}\
.note{border-left:.3rem solid #b35c00;background:var(--note);padding:.5rem 1rem}\
form{border:1px solid var(--line);padding:1rem;margin:1rem 0}label{display:block;font-weight:600}\
input[type=text],select{font:inherit;width:100%;box-sizing:border-box;padding:.4rem;margin:.25rem 0 .75rem}\
button{font:inherit;font-weight:600;padding:.5rem 1.25rem;cursor:pointer}\
:focus-visible{outline:.2rem solid #1a66ff;outline-offset:.15rem}\
.hash{font-family:ui-monospace,monospace;font-size:.875rem}";

/// What a form says.
#[derive(Deserialize)]
pub struct Answer {
    decision: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    reason: String,
    /// What only the page holds.
    #[serde(default)]
    form: String,
}

/// What a link leads to.
struct Opened<'l> {
    links: &'l Links,
    claim: Claim,
    sheet: Sheet,
}

/// Shows what is to be approved, and changes nothing.
pub async fn show(State(intake): State<Intake>, Path(link): Path<String>) -> Response {
    match open(&intake, &link).await {
        Ok(opened) => opened.page(&intake, &link),
        Err(refusal) => *refusal,
    }
}

/// Takes a person's answer, and shows the page again.
pub async fn answer(
    State(intake): State<Intake>,
    Path(link): Path<String>,
    headers: HeaderMap,
    Form(answer): Form<Answer>,
) -> Response {
    let Opened {
        links,
        claim,
        sheet,
    } = match open(&intake, &link).await {
        Ok(opened) => opened,
        Err(refusal) => return *refusal,
    };
    if links.check_form(&link, &answer.form).is_err() || !comes_from_here(&headers, links) {
        return message(
            StatusCode::FORBIDDEN,
            "Not from this page",
            "The answer did not come from the page of this link. Nothing was recorded. Open the link again.",
        );
    }
    if let Some(reason) = closed(&intake, &claim, &sheet) {
        return message(StatusCode::CONFLICT, "Nothing was recorded", &reason);
    }
    let hub = &intake.hub;
    let result = match &*answer.decision {
        "approve" => {
            let approver = Approver {
                name: claim.person.clone(),
                role: Some(answer.role).filter(|role| !role.is_empty()),
                plan: Some(claim.plan.clone()),
                how: means(&link),
            };
            hub.consent(claim.id, &approver).await
        }
        "reject" => {
            let reason: String = answer.reason.trim().chars().take(LONGEST_REASON).collect();
            hub.refuse(claim.id, &claim.person, &reason, means(&link))
                .await
        }
        _ => {
            return message(
                StatusCode::BAD_REQUEST,
                "Neither yes nor no",
                "The answer was not understood. Nothing was recorded.",
            );
        }
    };
    if let Err(error) = result {
        let error = stanch_types::chain(&error);
        return message(StatusCode::CONFLICT, "Nothing was recorded", &error);
    }
    tracing::info!(id = %claim.id, person = claim.person, decision = answer.decision, "answered by link");
    // The answer is in the ledger; carrying it out is not waited for.
    go_on(&intake, claim.id);
    // Relative, so that it holds behind a proxy too.
    let location = HeaderValue::from_str(&link);
    let location = location.unwrap_or_else(|_| HeaderValue::from_static("."));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn go_on(intake: &Intake, id: RemediationId) {
    if let Some(answered) = &intake.answered {
        if answered.try_send(id).is_err() {
            tracing::error!(%id, "the functions are not called; their next sweep goes on with it");
        }
        return;
    }
    let hub = std::sync::Arc::clone(&intake.hub);
    tokio::spawn(async move {
        if let Err(error) = hub.go_on(id).await {
            tracing::error!(%id, error = stanch_types::chain(&error), "recovery goes on with it");
        }
    });
}

/// A browser says where a form was; other programs say nothing.
fn comes_from_here(headers: &HeaderMap, links: &Links) -> bool {
    let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let site = text("sec-fetch-site").is_none_or(|site| site == b"same-origin");
    let host = text("host").unwrap_or_default();
    let origin = text("origin").is_none_or(|origin| {
        let authority = origin.splitn(2, |byte| *byte == b'/').nth(1);
        let authority = authority.and_then(|rest| rest.strip_prefix(b"/"));
        authority == Some(host) || links.origin().as_bytes() == origin
    });
    site && origin
}

async fn open<'i>(intake: &'i Intake, link: &str) -> Result<Opened<'i>, Box<Response>> {
    let unknown = || {
        Box::new(message(
            StatusCode::NOT_FOUND,
            "No such link",
            "This link was not made here, or is not complete. Copy all of it from the message that you got.",
        ))
    };
    let links = intake.hub.links().ok_or_else(unknown)?;
    let claim = links.read(link).map_err(|_| unknown())?;
    match intake.hub.sheet(claim.id).await {
        Ok(sheet) => Ok(Opened {
            links,
            claim,
            sheet,
        }),
        Err(LedgerError::NotFound(_)) => Err(unknown()),
        Err(error) => {
            tracing::error!(error = stanch_types::chain(&error), "no page");
            Err(Box::new(message(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not now",
                "The ledger cannot be read. Try again later; nothing was recorded.",
            )))
        }
    }
}

/// Why the link does not count any more, if so.
fn closed(intake: &Intake, claim: &Claim, sheet: &Sheet) -> Option<String> {
    let given = sheet
        .given
        .iter()
        .find(|(consent, _)| same_person(&consent.by, &claim.person));
    if sheet
        .nonce
        .as_ref()
        .is_some_and(|nonce| *nonce != claim.nonce)
    {
        return Some(
            "People have been asked anew since this link was made: use the newer one.".to_owned(),
        );
    }
    if let Some((consent, at)) = given {
        return Some(format!(
            "You approved this as {} at {at:.0}. The link is used.",
            consent.role
        ));
    }
    if sheet.status != Status::AwaitingApproval || sheet.nonce.is_none() {
        return Some("This does not wait for an approval any more.".to_owned());
    }
    if intake.clock.now() >= claim.expires {
        return Some("The time to approve has passed. That is a no.".to_owned());
    }
    if sheet.plan_hash != claim.plan || sheet.plan.is_none() {
        return Some("The plan is not the one that you were asked about.".to_owned());
    }
    None
}

impl Opened<'_> {
    fn page(&self, intake: &Intake, link: &str) -> Response {
        let Self {
            links,
            claim,
            sheet,
        } = self;
        let closed = closed(intake, claim, sheet);
        let mut html = Html::default();
        match &closed {
            None => html.element("h1", format!("Approve “{}”?", sheet.title)),
            Some(_) => html.element("h1", &sheet.title),
        }
        if let Some(reason) = &closed {
            html.open("<div class=note role=status>");
            html.element("p", reason);
            let error = sheet.error.as_deref();
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            html.element("p", format!("It is {}{error}", sheet.status));
            html.open("</div>");
        }
        html.facts(sheet);
        if let Some(cutover) = &sheet.cutover {
            html.open("<div class=note>");
            let step = cutover.step + 1;
            html.element(
                "p",
                format!("It has begun, and waits before step {step}. Without an approval, what was done so far is taken back."),
            );
            html.element("p", &cutover.message);
            html.open("</div>");
        }
        if let Some(changed) = &sheet.changed {
            html.element("h2", "Different from what you were shown before");
            html.changes(&changed.changes, ["Where", "Then", "Now"]);
        }
        html.element("h2", "Why people are asked");
        html.open("<ul>");
        sheet
            .reasons
            .iter()
            .for_each(|reason| html.element("li", reason));
        html.open("</ul>");
        html.element("h2", "Who will notice");
        html.element("p", &sheet.impact);
        html.touched(sheet);
        html.element("p", &sheet.undo);
        html.element("h2", "What changes");
        match &sheet.changes[..] {
            [] => html.element("p", "The requests below say what changes."),
            changes => html.changes(changes, ["Where", "Now", "Afterwards"]),
        }
        html.requests(sheet);
        html.approvers(sheet);
        if closed.is_none() {
            html.forms(sheet, claim, &links.form(link));
        }
        let status = match &closed {
            None => StatusCode::OK,
            Some(_)
                if sheet
                    .given
                    .iter()
                    .any(|(consent, _)| same_person(&consent.by, &claim.person)) =>
            {
                StatusCode::OK
            }
            Some(_) => StatusCode::GONE,
        };
        respond(status, &sheet.title, &html.0)
    }
}

/// A piece of a page. Text gets into it by [`escaped`] only.
#[derive(Default)]
struct Html(String);

impl Html {
    /// Markup of ours.
    fn open(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    fn element(&mut self, name: &'static str, text: impl Display) {
        let text = escaped(&text.to_string());
        // Writing to a string does not fail.
        let _ = write!(self.0, "<{name}>{text}</{name}>");
    }

    fn fact(&mut self, name: &'static str, text: impl Display) {
        self.element("dt", name);
        self.element("dd", text);
    }

    fn facts(&mut self, sheet: &Sheet) {
        let received = &sheet.received;
        self.open("<dl>");
        self.fact("Resource", &received.resource_id);
        self.fact(
            "Account",
            format!("{}, {}", received.account, received.region),
        );
        self.fact(
            "Finding",
            format!("{}: {}", received.control, received.title),
        );
        if !received.severity.is_empty() {
            self.fact("Severity", &received.severity);
        }
        self.fact("Asked for by", &sheet.requester);
        self.fact(
            "Remediation",
            format!("{}, {}", received.remediation, sheet.remediation_id),
        );
        if let Some(expires) = sheet.expires {
            self.fact("Until", format!("{expires:.0}; after that it is a no"));
        }
        self.open("<dt>Plan</dt><dd class=hash>");
        let hash = escaped(&sheet.plan_hash);
        self.0.push_str(&hash);
        self.open("</dd></dl>");
    }

    /// What the change may touch.
    fn touched(&mut self, sheet: &Sheet) {
        if sheet.facts.is_empty() {
            return;
        }
        self.open("<table><caption>What was looked at for that.</caption><tbody>");
        for fact in &sheet.facts {
            self.row([fact.title.clone(), fact.answer()]);
        }
        self.open("</tbody></table>");
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.open("<tr>");
        let [first, rest @ ..] = &cells[..] else {
            return;
        };
        let _ = write!(self.0, "<th scope=row>{}</th>", escaped(first));
        rest.iter().for_each(|cell| self.element("td", cell));
        self.open("</tr>");
    }

    fn head(&mut self, caption: &'static str, columns: &[&'static str]) {
        self.open("<table><caption>");
        self.open(caption);
        self.open("</caption><thead><tr>");
        for column in columns {
            let _ = write!(self.0, "<th scope=col>{column}</th>");
        }
        self.open("</tr></thead><tbody>");
    }

    fn changes(&mut self, changes: &[Change], columns: [&'static str; 3]) {
        self.head("Only what is different is listed.", &columns);
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "—".to_owned(), shown);
        for change in changes {
            self.row([change.at.clone(), value(&change.was), value(&change.is)]);
        }
        self.open("</tbody></table>");
    }

    fn requests(&mut self, sheet: &Sheet) {
        self.element("h2", "The exact requests");
        let Some(plan) = &sheet.plan else {
            self.element(
                "p",
                "The plan in the ledger is not the one that was decided on. It cannot be approved.",
            );
            return;
        };
        self.element(
            "p",
            "These are sent in this order, and nothing else is. What only an earlier answer tells stands in {{ braces }}.",
        );
        self.open("<ol>");
        for (index, step) in (0_u32..).zip(&plan.steps) {
            let passed = sheet
                .cutover
                .as_ref()
                .is_some_and(|cutover| index < cutover.step);
            let here = sheet
                .cutover
                .as_ref()
                .is_some_and(|cutover| index == cutover.step);
            self.open("<li>");
            let (what, input) = match &step.action {
                PlannedAction::Call { call, .. } => (call.to_string(), Some(&call.params)),
                PlannedAction::Wait {
                    call,
                    select,
                    values,
                    timeout,
                } => {
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    let values = values.join(" or ");
                    let text = format!(
                        "wait until {call} answers {values} at {select}, for {timeout} s at most"
                    );
                    (text, None)
                }
                PlannedAction::Sleep { seconds } => (format!("wait for {seconds} s"), None),
                PlannedAction::Approve { message } => {
                    (format!("wait until people approve: {message}"), None)
                }
            };
            self.element("strong", what);
            if passed {
                self.open(" (done)");
            }
            if here {
                self.open(" (it waits here)");
            }
            if let Some(input) = input {
                self.element("pre", format!("{input:#}"));
            }
            self.open("</li>");
        }
        self.open("</ol>");
    }

    fn approvers(&mut self, sheet: &Sheet) {
        if sheet.needs.is_empty() && sheet.given.is_empty() {
            return;
        }
        self.element("h2", "Who approves");
        self.head(
            "Each person counts once.",
            &["Role", "Needed", "Who may", "Who has"],
        );
        for need in &sheet.needs {
            let given = sheet
                .given
                .iter()
                .filter(|(consent, _)| consent.role == need.role);
            let given: Vec<String> = given
                .map(|(consent, at)| format!("{} at {at:.0}", consent.by))
                .collect();
            let given = match given.is_empty() {
                true => "nobody yet".to_owned(),
                false => given.join(", "),
            };
            self.row([
                need.role.clone(),
                need.count.to_string(),
                need.people.join(", "),
                given,
            ]);
        }
        self.open("</tbody></table>");
    }

    fn forms(&mut self, sheet: &Sheet, claim: &Claim, form: &str) {
        let open: Vec<&str> = sheet
            .needs
            .iter()
            .filter(|need| {
                let given = sheet.given.iter().filter(|(one, _)| one.role == need.role);
                given.count() < need.count as usize
                    && need
                        .people
                        .iter()
                        .any(|one| same_person(one, &claim.person))
            })
            .map(|need| need.role.as_str())
            .collect();
        self.element("h2", "Your answer");
        self.element("p", format!("You answer as {}.", claim.person));
        if !open.is_empty() {
            self.open("<form method=post><input type=hidden name=decision value=approve>");
            self.hidden(form);
            if let [_, _, ..] = open[..] {
                self.open(
                    "<label for=role>In which role</label><select id=role name=role required>",
                );
                for role in open {
                    let role = escaped(role);
                    let _ = write!(self.0, "<option value=\"{role}\">{role}</option>");
                }
                self.open("</select>");
            }
            self.open("<button>Approve this plan</button></form>");
        }
        self.open("<form method=post><input type=hidden name=decision value=reject>");
        self.hidden(form);
        self.open("<label for=reason>Why not, for the record</label><input id=reason name=reason type=text maxlength=1000><button>Reject</button></form>");
    }

    fn hidden(&mut self, form: &str) {
        let _ = write!(
            self.0,
            "<input type=hidden name=form value=\"{}\">",
            escaped(form)
        );
    }
}

/// Text that is only text. What would turn the order of letters around, or hide some, is shown as a
/// mark: a plan must look like what it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' => safe.push('\n'),
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                safe.push('\u{fffd}');
            }
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let mut html = Html::default();
    html.element("h1", title);
    html.element("p", text);
    respond(status, title, &html.0)
}

fn respond(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title} – Stanch</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        STANDARD.encode(Sha256::digest(STYLE))
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &*policy),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address is a secret. With `no-referrer`, browsers would not say where a form was.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ]
    .map(|(name, value)| {
        let value = HeaderValue::from_str(value);
        (name, value.unwrap_or_else(|_| HeaderValue::from_static("")))
    });
    (status, headers, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("<script>\"'&", "&lt;script&gt;&quot;&#39;&amp;");
        check("a\u{202e}b\u{200b}\u{1b}", "a\u{fffd}b\u{fffd}\u{fffd}");
        check("zwei\nZeilen ü", "zwei\nZeilen ü");
    }

    #[test]
    fn a_form_of_another_site_is_none_of_ours() {
        let key = stanch_types::Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        let links = Links::new(key, "https://stanch.example.com/x");
        let check = |expected: bool, given: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("127.0.0.1:8787"));
            for (name, value) in given {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(comes_from_here(&headers, &links), expected, "{given:?}");
        };
        check(true, &[]);
        check(true, &[("origin", "http://127.0.0.1:8787")]);
        check(
            true,
            &[
                ("origin", "https://stanch.example.com"),
                ("sec-fetch-site", "same-origin"),
            ],
        );
        check(
            false,
            &[("origin", "https://stanch.example.com.evil.example")],
        );
        check(false, &[("origin", "null")]);
        check(false, &[("sec-fetch-site", "cross-site")]);
        check(false, &[("sec-fetch-site", "same-site")]);
    }
}
