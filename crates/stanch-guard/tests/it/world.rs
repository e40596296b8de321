//! Guards and cases in few words.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::{Catalog, Impact, Remediation};
use stanch_guard::{Answer, Case, File, Guard, Placement, Problems, Rules, Source};
use stanch_ledger::{Received, RemediationId, Route, Verdict};

pub static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::embedded);

/// A Sunday.
pub const NOW: &str = "2026-11-22T12:00:00Z";

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// Everything is permitted in every way.
pub const ALL: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

/// Rules with these policies.
pub fn rules(policies: &str) -> Rules {
    let accounts = [
        ("111111111111", "root/prod/payments"),
        ("222222222222", "root/sandbox"),
    ];
    let placed = accounts.map(|(id, ou)| {
        let placement = Placement {
            ou: Some(ou.to_owned()),
            tags: Some(BTreeMap::new()),
        };
        (id.parse().unwrap(), placement)
    });
    Rules {
        policies: Source::Files(vec![file("p.cedar", policies)]),
        accounts: placed.into(),
        people: [("alice".to_owned(), ["security".to_owned()].into())].into(),
        ..Rules::default()
    }
}

pub fn try_load(rules: Rules) -> Result<Guard, Problems> {
    Guard::load(rules, &CATALOG, now())
}

#[track_caller]
pub fn load(rules: Rules) -> Guard {
    try_load(rules).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A finding; change what matters.
pub struct Finding {
    pub received: Received,
    pub remediation: Arc<Remediation>,
    pub impact: Impact,
    pub undo: bool,
    pub now: Timestamp,
}

/// A finding for a remediation that nobody asked for.
pub fn finding(remediation: &str) -> Finding {
    let remediation = CATALOG.get(remediation).unwrap();
    Finding {
        received: Received {
            finding_id: "finding".to_owned(),
            control: "S3.8".to_owned(),
            account: "111111111111".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            resource_id: "arn:aws:s3:::logs-1".to_owned(),
            resource_arn: Some("arn:aws:s3:::logs-1".parse().unwrap()),
            resource_type: remediation.resources[0].clone(),
            severity: "HIGH".to_owned(),
            title: "title".to_owned(),
            remediation: remediation.name.clone(),
            subject: Value::Null,
            problem: None,
            route: Route::Automatic,
            requester: "sqs".to_owned(),
            mfa: false,
            first_observed: None,
            tags: [].into(),
            indicators: [].into(),
            origin: None,
        },
        remediation,
        impact: Impact::default(),
        undo: false,
        now: now(),
    }
}

impl Finding {
    pub fn by(mut self, person: &str, mfa: bool) -> Self {
        self.received.route = Route::Manual;
        self.received.requester = person.to_owned();
        self.received.mfa = mfa;
        self
    }

    pub fn tagged(mut self, key: &str, value: &str) -> Self {
        self.received.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn in_account(mut self, account: &str) -> Self {
        self.received.account = account.parse().unwrap();
        self
    }

    pub fn seen(mut self, at: &str) -> Self {
        self.received.first_observed = Some(at.parse().unwrap());
        self
    }

    pub fn at(mut self, at: &str) -> Self {
        self.now = at.parse().unwrap();
        self
    }

    pub fn fact(mut self, name: &str, value: Value) -> Self {
        self.impact.facts.insert(name.to_owned(), value);
        self
    }

    pub fn case(&self, id: Option<u128>) -> Case<'_> {
        Case {
            id: id.map(|id| RemediationId::from(uuid::Uuid::from_u128(id))),
            received: &self.received,
            remediation: &self.remediation,
            impact: &self.impact,
            undo: self.undo,
            now: self.now,
        }
    }

    pub fn judged(&self, guard: &Guard) -> Answer {
        guard.judge(&self.case(None))
    }
}

/// An answer in one word, or two.
pub fn word(answer: &Answer) -> String {
    match answer.verdict {
        Verdict::Run => "runs".to_owned(),
        Verdict::NeedsApproval => "waits for an approval".to_owned(),
        Verdict::Refuse => "is refused".to_owned(),
        Verdict::Defer { until } => format!("waits until {until:.0}"),
    }
}

/// A calendar with one event.
pub fn calendar(kind: &str, event: &str) -> File {
    file(
        "windows/freeze.ics",
        &format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nX-CALENDAR-TYPE:{kind}\nBEGIN:VEVENT\nUID:1\nSUMMARY:e\n{event}\nEND:VEVENT\nEND:VCALENDAR\n"
        ),
    )
}

/// An exemption that says this beside owner and reason.
pub fn exemption(expires: &str, more: &str) -> Option<File> {
    Some(file(
        "exemptions.toml",
        &format!(
            "[[exemption]]\nowner = \"payments\"\nreason = \"a public site\"\nexpires = \"{expires}\"\n{more}\n"
        ),
    ))
}

pub fn number(value: i64) -> Value {
    json!(value)
}
