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
use stanch_guard::{Case, File, Guard, Limits, Rules, Source, starter};
use stanch_ledger::{Received, Route};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let given = arguments.next().map(|text| text.parse().unwrap());
        given.unwrap_or(default)
    };
    let (policies, decisions) = (number(200), number(20_000));
    let catalog = Catalog::embedded();
    let names: Vec<String> = catalog.iter().map(|one| one.name.clone()).collect();
    let mut text = String::from(starter());
    for n in 4..policies {
        let (effect, question) = match n % 3 {
            0 => ("forbid", "automatically"),
            1 => ("permit", "automatically"),
            _ => ("permit", "onRequest"),
        };
        let name = &names[n % names.len()];
        let _ = writeln!(
            text,
            "@id(\"p{n}\")\n{effect} (principal, action == Action::{name:?}, resource)\nwhen {{ context.run == Run::{question:?} && resource in OrganizationalUnit::\"root/unit-{n}\" && resource.hasTag(\"team\") && resource.getTag(\"team\") like \"t{n}*\" }};"
        );
    }
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let rules = Rules {
        policies: Source::Files(vec![File {
            path: "bench.cedar".to_owned(),
            text,
        }]),
        limits: Limits {
            per_account: Some(u32::MAX),
            ..Limits::default()
        },
        ..Rules::default()
    };
    let begin = Instant::now();
    let guard = Guard::load(rules, &catalog, now).unwrap();
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
    println!(
        "{}",
        json!({
            "policies": guard.policies(),
            "load_ms": load.as_millis() as u64,
            "decision_us_median": at(50),
            "decision_us_p99": at(99),
        })
    );
}
