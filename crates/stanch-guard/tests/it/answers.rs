//! What the guard answers, and how it explains that.

use stanch_guard::{Automatic, Guard, read_cases, starter};

use crate::world::*;

#[test]
fn the_automatic_settings_are_policies() {
    let check = |automatic: &Automatic, found: Finding, expected: &str| {
        assert_eq!(word(&found.judged(&Guard::built_in(automatic))), expected);
    };
    let off = Automatic {
        safe: false,
        guarded: [].into(),
    };
    let named = Automatic {
        safe: true,
        guarded: ["S3BlockPublicAccess".to_owned()].into(),
    };
    let approval = "waits for an approval";
    let (safe, guarded, destructive) = (
        "KmsRotateKey",
        "S3BlockPublicAccess",
        "Ec2TerminateStoppedInstance",
    );
    check(&named, finding(safe), "runs");
    check(&off, finding(safe), approval);
    check(&off, finding(safe).by("bob", false), "runs");
    check(&named, finding(guarded), "runs");
    check(&off, finding(guarded), approval);
    check(&off, finding(guarded).by("bob", false), "runs");
    check(&named, finding(destructive), approval);
    check(&named, finding(destructive).by("bob", true), approval);
}

#[test]
fn a_name_that_is_no_cedar_text_permits_nothing() {
    let odd = Automatic {
        safe: true,
        guarded: ["x\"];permit(principal,action,resource);//".to_owned()].into(),
    };
    let found = finding("Ec2TerminateStoppedInstance");
    assert_eq!(
        word(&found.judged(&Guard::built_in(&odd))),
        "waits for an approval"
    );
}

#[test]
fn under_the_starter_nothing_runs_by_itself() {
    let guard = load(rules(starter()));
    for remediation in CATALOG.iter() {
        let answer = word(&finding(&remediation.name).judged(&guard));
        assert_eq!(answer, "waits for an approval", "{}", remediation.name);
    }
}

#[test]
fn what_stands_in_the_starter_as_comment_is_right_too() {
    let uncommented: String = starter()
        .lines()
        .map(|line| match line.strip_prefix("// ") {
            Some(code) if !code.starts_with(char::is_uppercase) || code.starts_with("@id") => code,
            _ => "",
        })
        .filter(|line| {
            !line.starts_with("`stanch")
                && !line.starts_with("--")
                && !line.starts_with("`destructive`")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let from = uncommented.find("@id(\"safe\")").unwrap();
    load(rules(&uncommented[from..]));
}

#[test]
fn roles_severity_age_and_time_count() {
    let check = |policy: &str, found: Finding, expected: &str| {
        let policy = format!("permit (principal, action, resource) when {{ {policy} }};");
        assert_eq!(
            word(&found.judged(&load(rules(&policy)))),
            expected,
            "{policy}"
        );
    };
    let found = || finding("S3BlockPublicAccess");
    let security = "principal is Person && principal in Role::\"security\"";
    check(security, found().by("alice", false), "runs");
    check(security, found().by("bob", false), "is refused");
    check(
        "context has severity && context.severity >= 70",
        found(),
        "runs",
    );
    check(
        "context has severity && context.severity >= 90",
        found(),
        "is refused",
    );
    let old = "context has age && context.age > duration(\"7d\")";
    check(old, found().seen("2026-11-01T00:00:00Z"), "runs");
    check(old, found().seen("2026-11-20T00:00:00Z"), "is refused");
    check(old, found(), "is refused");
    check(
        "context.weekday == 7 && context.hour == 12",
        found(),
        "runs",
    );
    check(
        "context.now < datetime(\"2026-11-22T11:00:00Z\")",
        found(),
        "is refused",
    );
    check(
        "resource.type == ResourceType::\"AwsS3Bucket\"",
        found(),
        "runs",
    );
    check(
        "context.impact has lastUsed && context.now.durationSince(context.impact.lastUsed) > duration(\"30d\")",
        finding("IamDeactivateCompromisedKey").fact("lastUsed", "2026-01-01T00:00:00Z".into()),
        "runs",
    );
}

#[test]
fn an_explanation_says_what_would_change_the_answer() {
    let mut given = rules(starter());
    given.calendars = vec![calendar(
        "DEFAULT_CLOSED",
        "DTSTART:20261201T000000Z\nDTEND:20261202T000000Z",
    )];
    let guard = load(given);
    let found = finding("S3BlockPublicAccess");
    let explanation = guard.explain(&found.case(None));
    assert_eq!(
        explanation.reasons,
        [
            "the change window is closed until 2026-12-01T00:00:00Z",
            "policy `windows` forbids it"
        ]
    );
    let changes: Vec<_> = explanation
        .changes
        .iter()
        .map(|change| (change.what.as_str(), change.then))
        .collect();
    assert_eq!(
        changes,
        [
            ("all calendars are open", "approval"),
            ("without policy `windows`", "approval")
        ]
    );
    let guard = load(rules(starter()));
    let explanation = guard.explain(&found.case(None));
    let asked: Vec<_> = explanation
        .questions
        .iter()
        .map(|question| (question.run, question.permitted))
        .collect();
    assert_eq!(
        asked,
        [
            ("automatically", false),
            ("onRequest", false),
            ("afterApproval", true)
        ]
    );
    assert_eq!(explanation.changes[0].what, "a person asks for it");
    assert_eq!(explanation.policies, ["approvals"]);
}

#[test]
fn cases_from_a_file() {
    let guard = load(rules(starter()));
    let text = "\
- name: a public bucket waits
  remediation: S3BlockPublicAccess
  expect: approval
  policy: approvals
- name: alice may
  remediation: S3BlockPublicAccess
  person: alice
  expect: approval
- {name: nonsense, remediation: None, expect: run}
";
    let outcomes: Vec<_> = read_cases("cases.yaml", text)
        .unwrap()
        .iter()
        .map(|(line, case)| guard.test(*line, case, &CATALOG, now()))
        .map(|outcome| (outcome.line, outcome.problem))
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, None),
            (5, Some("expected `approval`, got `run`".to_owned())),
            (9, Some("the catalog has no remediation `None`".to_owned())),
        ]
    );
    let error =
        read_cases("cases.yaml", "- {name: x, remediation: Y, expects: run}\n").unwrap_err();
    assert_eq!((error.line, error.column), (1, 3), "{error}");
}

#[test]
fn the_hash_tells_every_rule() {
    let hash = |change: &dyn Fn(&mut stanch_guard::Rules)| {
        let mut given = rules(ALL);
        change(&mut given);
        load(given).hash().to_owned()
    };
    let same = hash(&|_| ());
    assert_eq!(same, hash(&|_| ()));
    let others = [
        hash(&|rules| rules.limits.per_account = Some(1)),
        hash(&|rules| rules.exemptions = exemption("2027-01-31", "controls = [\"S3.8\"]")),
        hash(&|rules| rules.feeds = vec![file("f", "198.51.100.1")]),
        hash(&|rules| rules.people.clear()),
        hash(&|rules| rules.accounts.clear()),
        hash(&|rules| rules.policies = stanch_guard::Source::Files(vec![file("p.cedar", "")])),
    ];
    assert!(!others.contains(&same));
}

#[test]
fn a_guard_tells_what_it_is_made_of() {
    let guard = load(rules(ALL));
    let short: String = guard.hash().chars().take(12).collect();
    assert_eq!(guard.name(), format!("cedar {short}"));
    assert!(format!("{guard:?}").contains(guard.name()));
    assert_eq!(guard.policies(), 1);
    assert_eq!((guard.calendars().len(), guard.feeds().len()), (0, 0));
    assert_eq!((guard.counts(), guard.weighs_impact()), (false, false));

    let mut given = rules(&format!(
        "{ALL}forbid (principal, action, resource) when {{ context.impact has lastUsed }};\n\
         forbid (principal, action, resource) when {{ context.today.account > 9 }};"
    ));
    given.calendars = vec![calendar(
        "DEFAULT_OPEN",
        "DTSTART:20261121T000000Z\nDTEND:20261123T060000Z",
    )];
    given.feeds = vec![file("drop.txt", "203.0.113.0/24\n")];
    let guard = load(given);
    assert_eq!(guard.policies(), 3);
    let feeds: Vec<&str> = guard.feeds().iter().map(stanch_guard::Feed::name).collect();
    let calendars = guard.calendars().iter();
    let calendars: Vec<&str> = calendars.map(stanch_guard::Calendar::name).collect();
    assert_eq!((calendars, feeds), (vec!["freeze"], vec!["drop.txt"]));
    assert_eq!((guard.counts(), guard.weighs_impact()), (true, true));
}

#[test]
fn policies_go_by_tags_of_accounts_if_they_ask_for_them() {
    for (condition, expected) in [
        ("resource.account.hasTag(\"stage\")", true),
        ("resource.account.getTag(\"stage\") == \"prod\"", true),
        ("resource.hasTag(\"stage\")", false),
        ("resource.getTag(\"stage\") == \"prod\"", false),
        // What cannot be read may.
        ("resource.", true),
    ] {
        let given = rules(&format!(
            "permit (principal, action, resource) when {{ {condition} }};"
        ));
        assert_eq!(given.go_by_account_tags(), expected, "{condition}");
    }
}

/// Also of what was approved, and of what is exempt.
#[test]
fn a_known_indicator_is_urgent_in_every_answer() {
    let mut given = rules(ALL);
    given.feeds = vec![file("drop.txt", "203.0.113.0/24\n")];
    given.exemptions = exemption("2027-01-31", "accounts = [\"222222222222\"]");
    let guard = load(given);
    for (indicator, urgent) in [("203.0.113.9", true), ("198.51.100.9", false)] {
        let mut found = finding("S3BlockPublicAccess");
        found.received.indicators.insert(indicator.to_owned());
        assert_eq!(guard.confirm(&found.case(None)).urgent, urgent);
        let exempt = found.in_account("222222222222").judged(&guard);
        assert_eq!(
            (word(&exempt).as_str(), exempt.urgent),
            ("is refused", urgent)
        );
    }
}

/// A window is waited for where it helps, and nowhere else.
#[test]
fn a_closed_window_delays_only_what_it_would_let_through() {
    let mut given = rules(
        "@id(\"asks\")\npermit (principal, action, resource) when { context.run == Run::\"afterApproval\" };",
    );
    given.calendars = vec![calendar(
        "DEFAULT_OPEN",
        "DTSTART:20261121T000000Z\nDTEND:20261123T060000Z",
    )];
    let answer = finding("S3BlockPublicAccess").judged(&load(given));
    assert_eq!(word(&answer), "waits for an approval");
}

/// A refusal names the policy that forbids it, to whichever question it is the answer.
#[test]
fn a_policy_that_forbids_tells_more_than_silence() {
    let check = |run: &str| {
        let guard = load(rules(&format!(
            "@id(\"never\")\nforbid (principal, action, resource) when {{ context.run == Run::\"{run}\" }};"
        )));
        let found = finding("S3BlockPublicAccess");
        let answer = found.judged(&guard);
        assert_eq!(word(&answer), "is refused");
        assert_eq!(answer.reasons, ["policy `never` forbids it"], "{run}");
        assert_eq!(answer.policies, ["never"]);
        if run == "afterApproval" {
            let confirmed = guard.confirm(&found.case(None));
            assert_eq!(confirmed.reasons, answer.reasons);
            assert_eq!(confirmed.policies, answer.policies);
        }
    };
    check("automatically");
    check("afterApproval");
}
