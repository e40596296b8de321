//! What is wrong with files is told with its place.

use stanch_guard::{File, Source};

use crate::world::*;

#[track_caller]
fn check(policies: &str, line: usize, expected: &str) {
    let problems = try_load(rules(policies)).unwrap_err();
    let problem = &problems.0[0];
    assert!(problem.message.contains(expected), "{problem}");
    assert_eq!(problem.line, line, "{problem}");
}

#[test]
fn a_policy_that_cannot_work_is_refused_with_its_line() {
    check(
        "permit (principal, action, resource);\npermit (principal",
        2,
        "unexpected",
    );
    check(
        "permit (principal, action, resource);\n\npermit (\n  principal,\n  action == Action::\"S3BlokPublicAccess\",\n  resource\n);",
        5,
        "S3BlokPublicAccess",
    );
    check(
        "permit (principal, action, resource)\nwhen { context.run == Run::\"sometimes\" };",
        2,
        "Run",
    );
    // It could never apply.
    check(
        "permit (principal is Source, action, resource)\nwhen { principal is Person };",
        1,
        "",
    );
    // An optional member has to be asked for first.
    check(
        "permit (principal, action, resource)\nwhen { context.severity > 40 };",
        2,
        "severity",
    );
    check(
        "permit (principal == ?principal, action, resource);",
        1,
        "template",
    );
    check(
        "@id(\"a\")\npermit (principal, action, resource);\n@id(\"a\")\npermit (principal, action, resource);",
        1,
        "@id(\"a\")",
    );
}

#[test]
fn all_files_are_told_at_once() {
    let mut given = rules("");
    given.policies = Source::Files(vec![file("a.cedar", "permit ("), file("b.cedar", "x")]);
    given.exemptions = Some(file("e.toml", "["));
    let problems = try_load(given).unwrap_err();
    let paths: Vec<_> = problems
        .0
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["a.cedar", "b.cedar", "e.toml"]);
}

#[test]
fn calendars_are_policies_names() {
    let freeze = || File {
        path: "windows/year-end.ics".to_owned(),
        ..calendar(
            "DEFAULT_OPEN",
            "DTSTART:20261220T000000Z\nDTEND:20270104T000000Z",
        )
    };
    let mut given =
        rules("permit (principal, action, resource) when { context.calendars[\"year-end\"] };");
    given.calendars = vec![freeze()];
    assert_eq!(
        word(&finding("S3BlockPublicAccess").judged(&load(given.clone()))),
        "runs"
    );
    given.calendars = vec![freeze(), freeze()];
    assert!(try_load(given).unwrap_err().to_string().contains("taken"));
    let unknown = rules("permit (principal, action, resource) when { context.calendars.summer };");
    assert!(try_load(unknown).is_err());
}
