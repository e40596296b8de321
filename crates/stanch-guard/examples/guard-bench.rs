//! Measures a decision: `guard-bench [policies] [decisions]`. The last line is JSON, in microseconds.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement that cannot be made ends here"
)]

use std::{fmt::Write as _, time::Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::{Catalog, Impact};
use stanch_guard::{Case, File, Guard, Limits, Placement, Rules, Source, starter};
use stanch_ledger::{Received, Route};

const NOW: &str = "2026-11-22T12:00:00Z";

/// Open for an hour each night, by the clock of a place where that clock changes.
const WINDOWS: &str = "BEGIN:VCALENDAR\nPRODID:-//AWS//Change Calendar 1.0//EN\nVERSION:2.0\nX-CALENDAR-TYPE:DEFAULT_CLOSED\nX-WR-CALDESC:nights\nBEGIN:VEVENT\nUID:1\nSUMMARY:window\nDTSTART;TZID=Europe/Berlin:20260101T220000\nDTEND;TZID=Europe/Berlin:20260101T230000\nRRULE:FREQ=DAILY\nEND:VEVENT\nEND:VCALENDAR\n";

/// The starter and so many policies more, each about an action of its own or all about any.
fn policies(catalog: &Catalog, count: usize, any: bool) -> String {
    let names: Vec<String> = catalog.iter().map(|one| one.name.clone()).collect();
    let mut text = String::from(starter());
    for n in 4..count {
        let (effect, question) = match n % 3 {
            0 => ("forbid", "automatically"),
            1 => ("permit", "automatically"),
            _ => ("permit", "onRequest"),
        };
        let action = match any {
            true => "action".to_owned(),
            false => format!("action == Action::{:?}", names[n % names.len()]),
        };
        let _ = writeln!(
            text,
            "@id(\"p{n}\")\n{effect} (principal, {action}, resource)\nwhen {{ context.run == Run::{question:?} && resource in OrganizationalUnit::\"root/unit-{n}\" && resource.hasTag(\"team\") && resource.getTag(\"team\") like \"t{n}*\" }};"
        );
    }
    text
}

fn file(path: &str, text: impl Into<String>) -> File {
    File {
        path: path.to_owned(),
        text: text.into(),
    }
}

/// Median and 99th percentile of a decision, and how long the guard took to load.
fn measure(catalog: &Catalog, rules: Rules, decisions: usize) -> Value {
    let now: Timestamp = NOW.parse().unwrap();
    let begin = Instant::now();
    let guard = Guard::load(rules, catalog, now).unwrap();
    let load = begin.elapsed();
    let remediation = catalog.get("S3BlockPublicAccess").unwrap();
    let received = Received {
        finding_id: "finding".to_owned(),
        control: "S3.8".to_owned(),
        account: "111111111111".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        resource_id: "arn:aws:s3:::bucket".to_owned(),
        resource_arn: None,
        resource_type: "AwsS3Bucket".to_owned(),
        severity: "HIGH".to_owned(),
        title: String::new(),
        remediation: remediation.name.clone(),
        subject: Value::Null,
        problem: None,
        route: Route::Manual,
        requester: "alice".to_owned(),
        mfa: true,
        first_observed: Some(now),
        tags: [("team".to_owned(), "web".to_owned())].into(),
        indicators: [].into(),
        origin: None,
    };
    let impact = Impact::default();
    let mut times: Vec<u128> = (0..decisions.max(1))
        .map(|_| {
            let begin = Instant::now();
            let answer = guard.decide(&Case {
                id: None,
                received: &received,
                remediation: &remediation,
                impact: &impact,
                undo: false,
                now,
            });
            std::hint::black_box(answer);
            begin.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100] as f64 / 1000.0;
    json!({
        "policies": guard.policies(),
        "load_ms": load.as_millis() as u64,
        "decision_us_median": at(50),
        "decision_us_p99": at(99),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let given = arguments.next().map(|text| text.parse().unwrap());
        given.unwrap_or(default)
    };
    let (count, decisions) = (number(200), number(20_000));
    let catalog = Catalog::embedded();
    let rules = |any: bool, calendars: Vec<File>| Rules {
        policies: Source::Files(vec![file("bench.cedar", policies(&catalog, count, any))]),
        calendars,
        accounts: [(
            "111111111111".parse().unwrap(),
            Placement {
                ou: Some("root/prod/payments".to_owned()),
                ..Placement::default()
            },
        )]
        .into(),
        limits: Limits {
            per_account: Some(u32::MAX),
            ..Limits::default()
        },
        ..Rules::default()
    };
    println!(
        "{}",
        json!({
            "each_of_an_action": measure(&catalog, rules(false, Vec::new()), decisions),
            "each_of_any_action": measure(&catalog, rules(true, Vec::new()), decisions),
            "waiting_for_a_window":
                measure(&catalog, rules(false, vec![file("nights.ics", WINDOWS)]), decisions),
        })
    );
}
