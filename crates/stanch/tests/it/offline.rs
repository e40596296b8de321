//! Commands that reach no AWS.

use insta::assert_snapshot;

use crate::command::Workplace;

#[track_caller]
fn transcript(name: &str, arguments: &[&str]) {
    assert_snapshot!(name, Workplace::new().run(arguments));
}

#[test]
fn help() {
    transcript("help", &["--help"]);
    transcript("help-ledger-list", &["ledger", "list", "--help"]);
    Workplace::new().run(&[]).exits(2).says("Usage: stanch");
}

#[test]
fn the_version_needs_nothing() {
    let said = Workplace::new().run(&["--version"]).exits(0);
    assert_eq!(
        said.stdout,
        format!("stanch {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = Workplace::new().run(&["completions", shell]).exits(0);
        for command in ["remediate", "rollback", "deadletter", "gameday"] {
            assert!(
                said.stdout.contains(command),
                "{shell} does not complete `{command}`"
            );
        }
    }
}

#[test]
fn catalog() {
    transcript("catalog-explain-unknown", &["catalog", "explain", "S3.999"]);
    transcript(
        "catalog-explain-nonsense",
        &["catalog", "explain", "no control"],
    );
    transcript(
        "catalog-show-unknown",
        &["catalog", "show", "S3BlockPublicAcces"],
    );
    let here = Workplace::new();
    let explained = here.run(&["catalog", "explain", "S3.8"]).exits(0);
    explained
        .says("class     guarded")
        .says("requests  s3.PutPublicAccessBlock\n")
        .says("undo      exact");
    here.run(&["catalog", "explain", "prowler:s3_bucket_public_access"])
        .exits(0)
        .says("S3BlockPublicAccess");
    here.run(&["catalog", "list"])
        .exits(0)
        .says("S3BlockPublicAccess");
    here.run(&["catalog", "show", "S3BlockPublicAccess"])
        .exits(0)
        .says("remediation: S3BlockPublicAccess\n");
    here.run(&["catalog", "check"])
        .exits(0)
        .says("files are sound");
    let all = here.run(&["catalog", "list", "--json"]).exits(0).json();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .all(|one| one["class"].is_string() && one["title"].is_string())
    );
}

#[test]
fn catalog_files_of_ones_own() {
    let here = Workplace::new();
    here.put("mine/broken.yaml", "remediation: Mine\ntitel: Wrong\n");
    here.run(&["catalog", "check", "mine"])
        .exits(1)
        .says("mine/broken.yaml:2:1: error: ")
        .says("`titel`");
    here.run(&["catalog", "list", "--set", "catalog_dirs=mine"])
        .exits(2)
        .says("error: the catalog has errors")
        .says("`titel`");
    let shipped = here.run(&["catalog", "show", "S3BlockPublicAccess"]).stdout;
    here.put("mine/broken.yaml", shipped);
    here.run(&["catalog", "list", "--set", "catalog_dirs=mine"])
        .exits(2)
        .says("already");
}

#[test]
fn api() {
    transcript(
        "api-show",
        &["api", "show", "s3", "get_public_access_block"],
    );
    transcript(
        "api-show-json",
        &["api", "show", "kms", "EnableKeyRotation", "--json"],
    );
    transcript(
        "api-unknown-service",
        &["api", "show", "dynamodbb", "GetItem"],
    );
    transcript(
        "api-unknown-operation",
        &["api", "call", "s3", "GetPublicAccesBlock"],
    );
    transcript(
        "api-params",
        &["api", "call", "s3", "ListBuckets", "--params", "{"],
    );
    transcript(
        "api-query",
        &["api", "call", "s3", "ListBuckets", "--query", "Buckets["],
    );
    transcript("api-no-region", &["api", "call", "s3", "ListBuckets"]);
    let here = Workplace::new();
    here.run(&["api", "list"]).exits(0).says("\nsts\n");
    here.run(&["api", "list", "sts"])
        .exits(0)
        .says("AssumeRole ")
        .says("GetCallerIdentity ");
}

#[test]
fn parameters_are_checked_before_anything_is_sent() {
    let mut here = Workplace::new();
    here.set("AWS_ACCESS_KEY_ID", "id");
    here.set("AWS_SECRET_ACCESS_KEY", "secret");
    here.set("AWS_REGION", "us-east-1");
    // Nothing listens there.
    here.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let params =
        r#"{"Bucket": "demo", "PublicAccessBlockConfiguration": {"BlockPublicAcl": true}}"#;
    let said = here
        .run(&[
            "api",
            "call",
            "s3",
            "PutPublicAccessBlock",
            "--params",
            params,
        ])
        .exits(1);
    assert_snapshot!("api-invalid-params", said);
}

const DOCUMENT: &str = r#"
schemaVersion: "0.3"
description: Blocks public access
parameters:
  Bucket: {type: String}
mainSteps:
  - name: Block
    action: aws:executeAwsApi
    inputs:
      Service: s3
      Api: PutPublicAccessBlock
      Bucket: "{{ Bucket }}"
      PublicAccessBlockConfiguration: {BlockPublicAcls: true}
"#;

#[test]
fn runbook() {
    let here = Workplace::new();
    here.put("sound.yaml", DOCUMENT);
    here.put(
        "broken.yaml",
        DOCUMENT
            .replace("Api: Put", "Api: Putt")
            .replace("name: Block", "nam: Block"),
    );
    assert_snapshot!(
        "runbook-check",
        here.run(&["runbook", "check", "sound.yaml"])
    );
    here.run(&["runbook", "check", "broken.yaml"])
        .exits(1)
        .says("broken.yaml:7:5: error: ")
        .says("`PuttPublicAccessBlock`");
    here.run(&["runbook", "check", "."]).exits(1);
    assert_snapshot!(
        "runbook-missing",
        here.run(&["runbook", "check", "missing.yaml"])
    );
    let planned = here.run(&[
        "runbook",
        "plan",
        "sound.yaml",
        "--param",
        "Bucket=demo",
        "--region",
        "us-east-1",
    ]);
    assert_snapshot!("runbook-plan", planned);
    assert_snapshot!(
        "runbook-plan-parameter",
        here.run(&["runbook", "plan", "sound.yaml", "--region", "us-east-1"])
    );
}

#[test]
fn a_ledger_that_is_not_there_is_not_made_by_looking() {
    for arguments in [
        &["ledger", "list"][..],
        &["ledger", "verify"],
        &["ledger", "export"],
        &["deadletter", "list"],
        &["rollback", "6f1c0000-0000-4000-8000-000000000000"],
    ] {
        let here = Workplace::new();
        here.run(arguments)
            .exits(2)
            .says("there is no ledger `stanch.db`");
        assert!(!here.path().join("stanch.db").exists(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_no_ledger_is_left_alone() {
    let here = Workplace::new();
    here.put("stanch.db", "this is a diary");
    here.run(&["ledger", "list"])
        .exits(1)
        .says("is damaged or not a ledger");
    assert_eq!(
        std::fs::read_to_string(here.path().join("stanch.db")).unwrap(),
        "this is a diary"
    );
}

#[test]
fn wrong_words_are_told() {
    let here = Workplace::new();
    let finding = here.put("finding.json", "[]");
    here.run(&["remediate", finding.to_str().unwrap()])
        .exits(0)
        .says("there is no finding in it");
    for (arguments, text) in [
        (
            &["ledger", "list", "--status", "Fine"][..],
            "there is no status `Fine`",
        ),
        (
            &["ledger", "list", "--since", "yesterdayish"],
            "`yesterdayish` is no time",
        ),
        (&["ledger", "list", "--account", "12"], "invalid value '12'"),
        (&["rollback", "something"], "invalid value 'something'"),
        (
            &[
                "ledger",
                "list",
                "--account",
                "111111111111",
                "--finding",
                "f",
            ],
            "exclude each other",
        ),
    ] {
        here.run(arguments).exits(2).says(text);
    }
    for since in ["2h", "7d", "2026-01-31", "2026-01-31T12:00:00Z"] {
        here.run(&["ledger", "list", "--since", since]).exits(0);
    }
    here.run(&["ledger", "show", "6f1c0000-0000-4000-8000-000000000000"])
        .exits(1)
        .says("no remediation `6f1c0000-0000-4000-8000-000000000000` in the ledger");
}

#[test]
fn gameday_plays_in_test_accounts_only() {
    let here = Workplace::new();
    here.put(
        "stanch.toml",
        "[accounts.222222222222]\nname = \"production\"\n[accounts.333333333333]\ntest = true\n",
    );
    for account in ["222222222222", "444444444444"] {
        here.run(&[
            "gameday",
            "--account",
            account,
            "--yes",
            "--region",
            "us-east-1",
        ])
        .exits(3)
        .says("is not marked as a test account");
    }
    here.run(&[
        "gameday",
        "--account",
        "333333333333",
        "--region",
        "us-east-1",
    ])
    .exits(0)
    .says("s3.CreateBucket")
    .says("nothing was done");
}

#[test]
fn a_service_of_ones_own() {
    let here = Workplace::new();
    let model = r#"{
        "version": "2.0",
        "metadata": {"apiVersion": "2026-01-31", "endpointPrefix": "rockets", "protocol": "json", "protocols": ["json"],
            "jsonVersion": "1.1", "serviceFullName": "Rockets", "serviceId": "Rockets", "signatureVersion": "v4",
            "targetPrefix": "Rockets", "uid": "rockets-2026-01-31"},
        "operations": {"Launch": {"name": "Launch", "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "LaunchRequest"}}},
        "shapes": {"LaunchRequest": {"type": "structure", "required": ["Name"], "members": {"Name": {"shape": "Name"}}},
            "Name": {"type": "string"}}
    }"#;
    here.put("rockets.json", model);
    here.put("rockets/2026-01-31/service-2.json", model);
    here.put("broken.json", "{}");
    for path in ["rockets.json", "rockets/2026-01-31/service-2.json"] {
        let setting = format!("aws.service_models={path}");
        here.run(&["api", "show", "rockets", "Launch", "--set", &setting])
            .exits(0)
            .says("Name: string (required)");
    }
    here.run(&["api", "list", "--set", "aws.service_models=broken.json"])
        .exits(2)
        .says("cannot use the service model `broken.json`");
}
