//! What operators see: doctor, logs, cost, and stacks in accounts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_testkit::{Emulated, Emulator, Maker, organization::MEMBERS};
use stanch_types::Call;

use crate::{command::Workplace, emulated::World};

const SEEN: &str = "2026-01-31T12:00:00Z";

/// The lines about something, of `stanch doctor --json`.
fn about<'r>(report: &'r Value, account: &str, what: &str) -> Vec<(&'r str, &'r str)> {
    let lines = report["lines"].as_array().unwrap().iter();
    let lines = lines
        .filter(|line| line["account"] == account && line["what"].as_str().unwrap().contains(what));
    lines
        .map(|line| {
            (
                line["state"].as_str().unwrap(),
                line["seen"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn what_is_wrong_what_was_logged_and_what_it_costs() {
    let world = World::new();
    let fixed = world.here.run_with(
        &["remediate", "-"],
        world.event(SEEN).to_string().as_bytes(),
    );
    fixed.exits(0);
    let listed = world
        .here
        .run(&["ledger", "list", "--json"])
        .exits(0)
        .json();
    let id = listed["records"][0]["RemediationId"]
        .as_str()
        .unwrap()
        .to_owned();

    // The member role looks into itself here; its sessions are narrowed to reads.
    let audit = "deployment.audit_role=SecurityRemediationCrossAccountRole";
    let doctor = |more: &[&str]| {
        let mut arguments = vec!["doctor", "--json", "--set", audit];
        arguments.extend(more);
        world.here.run(&arguments)
    };
    let account = world.account.as_str();
    // The emulator has no Security Hub: what cannot be looked at is not well.
    let said = doctor(&[]).exits(1);
    let report = said.json();
    assert_eq!(
        about(&report, account, "entering the role"),
        [("ok", "works with its external id")],
        "{said}"
    );
    assert_eq!(
        about(&report, account, "a wrong external id"),
        [("ok", "is refused")]
    );
    assert_eq!(
        about(&report, account, "role SecurityRemediationCrossAccountRole"),
        [("ok", "exists")]
    );
    assert_eq!(
        about(&report, account, "the external id that the role asks for"),
        [("ok", "is the configured one")]
    );
    let problems = report["lines"].as_array().unwrap().iter();
    let problems: Vec<&Value> = problems.filter(|line| line["state"] == "problem").collect();
    // The emulator's organization has no boundary, which is a warning, and no problem.
    assert_eq!(problems, Vec::<&Value>::new());
    assert_eq!(report["worst"], "unknown");
    assert_eq!(report["deployed"], false);
    let user = "arn:aws:iam::";
    assert!(
        about(&report, account, "whom the role trusts")[0]
            .1
            .starts_with(user),
        "{report:#}"
    );

    // What the guard decides by: all is well, an exemption has expired, it cannot be used.
    let rules = |exemptions: &str| {
        world.here.put("exemptions.toml", exemptions);
        let report = doctor(&["--set", "guard.exemptions=exemptions.toml"]).json();
        let lines = report["lines"].as_array().unwrap().iter();
        let line = lines.filter(|line| {
            ["an exemption", "what the guard decides by"].contains(&line["what"].as_str().unwrap())
        });
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        line.map(|line| (text(line, "state"), text(line, "seen")))
            .collect::<Vec<_>>()
    };
    let exemption = |expires: &str| {
        format!(
            "[[exemption]]\nowner = \"payments\"\nreason = \"a website\"\nexpires = \"{expires}\"\ncontrols = [\"S3.8\"]\n"
        )
    };
    let said = |state: &str, seen: &str| vec![(state.to_owned(), seen.to_owned())];
    assert_eq!(
        rules(&exemption("9999-01-31")),
        said("ok", "it can be used, and no exemption has expired")
    );
    assert_eq!(
        rules(&exemption("2020-01-31")),
        said(
            "warning",
            "has expired: payments says: a website (until 2020-01-31)"
        )
    );
    let broken = rules("[[exemption]");
    assert_eq!(broken[0].0, "problem");
    assert!(broken[0].1.contains("exemptions.toml:1:"), "{broken:?}");

    // Another external id than the role's is found, by trying and by reading.
    let wrong = format!("accounts.{account}.external_id=not-the-one-that-it-is");
    let report = doctor(&["--account", account, "--set", &wrong])
        .exits(1)
        .json();
    assert_eq!(about(&report, account, "entering the role")[0].0, "problem");
    let other = MEMBERS[1].0;
    assert_eq!(about(&report, other, "entering the role"), []);

    let logs = world.here.run(&["logs", &id]).exits(0);
    assert!(
        logs.stdout.contains("step-started: ") && logs.stdout.contains("s3.PutPublicAccessBlock"),
        "{logs}"
    );
    assert!(
        logs.stderr.contains("not read, the functions' logs"),
        "{logs}"
    );
    let logs = world
        .here
        .run(&["logs", &id, "--json", "--set", audit])
        .exits(0)
        .json();
    // As times, not as texts: their fractions are as long as they need to be.
    let times: Vec<jiff::Timestamp> = logs["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.len() > 6 && times.is_sorted(), "{logs:#}");

    let cost = world.here.run(&["cost", &id, "--json"]).exits(0).json();
    assert_eq!(
        (
            &cost["counted"]["requests"],
            &cost["counted"]["remediations"]
        ),
        (&json!(1), &json!(1))
    );
    assert!(cost["each"].as_f64().unwrap() < 0.0001, "{cost:#}");
    world
        .here
        .run(&["cost"])
        .exits(0)
        .says("AWS'S OWN SOLUTION");
}

#[test]
fn a_pilot_then_more_only_if_it_went_well() {
    let emulator = Emulator::start_with(Maker::Moto, &[]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let aws = Emulated::at(&emulator.endpoint(), "us-east-1".parse().unwrap());
    let administrator = "111111111111".parse().unwrap();
    let (pilot, region) = ("222222222222", "us-east-1".parse().unwrap());
    let call =
        |account: &stanch_types::AccountId, service: &str, operation: &str, params: Value| {
            runtime
                .block_on(
                    aws.root(account, &region)
                        .call(&Call::new(service, operation, params)),
                )
                .unwrap()
                .output
        };
    let template = json!({"Parameters": {"Name": {"Type": "String"}}, "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Name"}}}}});
    call(
        &administrator,
        "s3",
        "CreateBucket",
        json!({"Bucket": "artifacts"}),
    );
    let body = STANDARD.encode(template.to_string());
    call(
        &administrator,
        "s3",
        "PutObject",
        json!({"Bucket": "artifacts", "Key": "member-stack.yaml", "Body": body}),
    );
    let mut here = Workplace::new();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "111111111111"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &emulator.endpoint()),
    ] {
        here.set(name, value);
    }
    // moto knows its own buckets by AWS's names.
    let url = "https://s3.amazonaws.com/artifacts/member-stack.yaml";
    let stacks = [
        "--template-url",
        url,
        "--self-managed",
        "--account",
        pilot,
        "--region",
        "us-east-1",
        "--parameter",
        "Name=planted",
        "--parameter",
        "ExternalIdPrefix=a-secret",
    ];
    let run = |first: &[&str], last: &[&str]| {
        let arguments: Vec<&str> = first.iter().chain(&stacks).chain(last).copied().collect();
        here.run(&arguments)
    };
    // Shown, without the secret, and not done.
    let shown = run(&["deploy", "pilot"], &[])
        .exits(0)
        .says("cloudformation.CreateStackSet");
    assert!(
        !shown.stdout.contains("a-secret") && shown.stdout.contains("****"),
        "{shown}"
    );
    let member = pilot.parse().unwrap();
    assert_eq!(
        call(&member, "sns", "ListTopics", json!({}))["Topics"],
        json!([])
    );
    run(&["deploy", "pilot"], &["--yes"])
        .exits(0)
        .says("SUCCEEDED");
    let topics = call(&member, "sns", "ListTopics", json!({}));
    assert_eq!(
        topics["Topics"][0]["TopicArn"],
        "arn:aws:sns:us-east-1:222222222222:planted"
    );
    // Again: the stack set is there, and is updated.
    run(&["deploy", "pilot"], &[])
        .exits(0)
        .says("cloudformation.UpdateStackSet");

    // The ledger shows no change of the pilot: the gate stays closed.
    here.run(&["pause"]).exits(0);
    // Stopped all the same, and told.
    here.run(&["pause", "--control", "S3.88"])
        .exits(0)
        .says("changes are paused for control S3.88")
        .says("nothing that is known here is in control S3.88");
    here.run(&["resume", "--control", "s3.88"])
        .exits(1)
        .says("control s3.88 is not paused");
    here.run(&["resume", "--control", "S3.88"]).exits(0);
    let refused = run(&["deploy", "roll-out", "--pilot", pilot], &["--yes"]).exits(3);
    assert!(
        refused
            .stderr
            .contains("0 changes ended, and 10 are asked for"),
        "{refused}"
    );
    run(
        &[
            "deploy",
            "roll-out",
            "--pilot",
            pilot,
            "--min-changes",
            "0",
            "--min-by-people",
            "0",
        ],
        &[],
    )
    .exits(0)
    .says("the pilot: 0 changes");
    let automatic = here
        .run(&["deploy", "automatic", "--account", pilot])
        .exits(3);
    assert!(automatic.stderr.contains("not yet"), "{automatic}");
}
