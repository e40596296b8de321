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
fn deployments() {
    let here = Workplace::new();
    let render = |more: &[&'static str]| {
        let arguments = [&["deploy", "render", "--out", "templates"], more].concat();
        here.run(&arguments)
    };
    render(&["--only", "S3BlockPublicAccess"])
        .exits(0)
        .says("member-stack.yaml")
        .says("member-documents.yaml");
    render(&["--only", "Nothing"])
        .exits(2)
        .says("error: `Nothing` is not in the catalog\nhint: `stanch catalog list`");
    render(&[
        "--only",
        "S3KeepVersions",
        "--document",
        "S3BlockPublicAccess",
    ])
    .exits(2)
    .says("hint: add `--only S3BlockPublicAccess`");
    here.run(&["deploy", "plan", "--accounts", "10", "--regions", "2"])
        .exits(0)
        .says("     30  AWS::IAM::Role, 1 more if asked for")
        .says("with 1000 remediations, 10 accounts, 2 regions");
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
fn a_control_is_explained_under_each_of_its_names() {
    let here = Workplace::new();
    for name in [
        "S3.8",
        "s3.8",
        "S3BlockPublicAccess",
        "s3_bucket_public_access",
        "config:s3-bucket-public-read-prohibited",
        "s3-bucket-public-read-prohibited",
        "cis-3.0.0:2.1.4",
    ] {
        here.run(&["catalog", "explain", name])
            .exits(0)
            .says("S3BlockPublicAccess: ");
    }
    here.run(&["catalog", "explain", "S3.8"])
        .exits(0)
        .says("s3-controls.html#s3-8")
        .says("inputs    Bucket: from the finding")
        .says("may write s3:PutBucketPublicAccessBlock")
        .says("examples  ")
        .says("CIS AWS Foundations Benchmark v5.0.0: 2.1.4")
        .says("HIPAA Security Rule (45 CFR Part 164): 164.308")
        .says("prowler/compliance/aws/hipaa_aws.json");
    let told = here.run(&["catalog", "explain", "S3.8", "--json"]).exits(0);
    let told = told.json();
    assert_eq!(told["control"], "S3.8");
    let fix = &told["remediations"][0];
    assert_eq!(fix["may_write"][0], "s3:PutBucketPublicAccessBlock");
    assert_eq!(fix["requirements"][0]["framework"], "fsbp");
    here.run(&["catalog", "explain", "S3BlockPublicAces"])
        .exits(2)
        .says("did you mean `S3BlockPublicAccess`");
}

#[test]
fn coverage_counts_and_lists() {
    let here = Workplace::new();
    let all = here.run(&["catalog", "coverage", "--json"]).exits(0).json();
    for standard in all.as_array().unwrap() {
        let count = |name: &str| standard[name].as_u64().unwrap();
        let answered = count("covered") + count("not_automatic") + count("missing");
        assert_eq!(count("checks"), answered, "{standard}");
    }
    here.run(&["catalog", "coverage"])
        .exits(0)
        .says("security-hub ")
        .says("nist-800-53-r5 ");
    let cis = ["catalog", "coverage", "--standard", "cis-3.0.0"];
    here.run(&cis)
        .exits(0)
        .says("S3.8 ")
        .says("S3BlockPublicAccess");
    let listed = here.run(&[&cis[..], &["--json"]].concat()).exits(0).json();
    let listed = listed.as_array().unwrap();
    let public = listed.iter().find(|one| one["control"] == "S3.8").unwrap();
    assert_eq!(public["state"], "covered");
    assert_eq!(public["requirements"][0], "2.1.4");
    here.run(&["catalog", "coverage", "--standard", "cis-9"])
        .exits(2)
        .says("there are security-hub, fsbp, ");
}

#[test]
fn documents_are_exported() {
    let here = Workplace::new();
    let export = ["catalog", "export", "S3BlockPublicAccess", "KmsRotateKey"];
    here.run(&export).exits(0).says("schemaVersion: '0.3'");
    here.run(&[&export[..], &["--format", "ssm", "--out", "documents"]].concat())
        .exits(0)
        .says("S3BlockPublicAccessRollback.yaml");
    here.run(&["runbook", "check", "documents"])
        .exits(0)
        .says("4 documents are sound");
    here.run(&["catalog", "export", "S3BlockPublicAces"])
        .exits(2)
        .says("did you mean `S3BlockPublicAccess`?");
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
fn beside_the_functions_serve_takes_no_events() {
    Workplace::new()
        .run(&["serve", "--ledger", "dynamodb:AuditLog", "--inbox", "in"])
        .exits(2)
        .says("functions in AWS take the events of this ledger");
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
