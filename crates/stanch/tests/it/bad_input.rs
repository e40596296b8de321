//! Each kind of bad input gets one clear error with a hint, and is kept.

use serde_json::{Value, json};

use crate::command::Workplace;

fn finding() -> Value {
    json!({
        "SchemaVersion": "2018-10-08",
        "Id": "finding-1",
        "ProductArn": "arn:aws:securityhub:us-east-1::product/aws/securityhub",
        "GeneratorId": "security-control/S3.8",
        "AwsAccountId": "222222222222",
        "Region": "us-east-1",
        "Types": ["Software and Configuration Checks"],
        "CreatedAt": "2026-01-31T12:00:00Z",
        "UpdatedAt": "2026-01-31T12:00:00Z",
        "Severity": {"Label": "HIGH"},
        "Title": "A bucket", "Description": "Public",
        "Resources": [{"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::demo", "Region": "us-east-1"}],
        "Compliance": {"Status": "FAILED", "SecurityControlId": "S3.8"},
        "Workflow": {"Status": "NEW"}, "RecordState": "ACTIVE",
    })
}

fn changed(pointer: &str, value: Value) -> Vec<u8> {
    let mut finding = finding();
    *finding.pointer_mut(pointer).unwrap() = value;
    finding.to_string().into_bytes()
}

fn workplace() -> Workplace {
    let mut here = Workplace::new();
    here.put(
        "stanch.toml",
        "[accounts.222222222222]\nregions = [\"us-east-1\"]\n",
    );
    here.set("AWS_ACCESS_KEY_ID", "id");
    here.set("AWS_SECRET_ACCESS_KEY", "secret");
    // Nothing listens there: whoever asks AWS after all fails otherwise.
    here.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    here
}

/// What cannot be understood is told, becomes a dead letter, and changes nothing.
#[track_caller]
fn buried(bytes: &[u8], reason: &str) {
    let here = workplace();
    let planned = here
        .run_with(&["plan", "-"], bytes)
        .exits(1)
        .says(reason)
        .says("hint: ");
    assert_eq!(planned.stderr.matches("error: ").count(), 1, "{planned}");
    assert!(
        !here.path().join("stanch.db").exists(),
        "a plan writes nothing"
    );
    let said = here
        .run_with(&["remediate", "-"], bytes)
        .exits(1)
        .says(reason)
        .says("hint: ");
    assert_eq!(said.stderr.matches("error: ").count(), 1, "{said}");
    assert_eq!(said.stdout, "");
    let letters = here.run(&["deadletter", "list", "--json"]).exits(0).json();
    let letter = &letters["letters"][0];
    assert!(
        letter["reason"].as_str().unwrap().contains(reason),
        "{letters}"
    );
    assert_eq!(
        here.run(&["ledger", "list", "--json"]).exits(0).json()["records"],
        json!([])
    );
    let id = letter["id"].as_str().unwrap();
    here.run(&["deadletter", "show", id]).exits(0).says(reason);
    // It is no better the second time, and stays.
    here.run(&["deadletter", "retry", id])
        .exits(1)
        .says("error: ");
    here.run(&["deadletter", "show", id]).exits(0);
}

#[test]
fn text_that_is_no_event() {
    let truncated = &finding().to_string().into_bytes()[..200];
    buried(truncated, "the JSON is cut off");
    buried(b"\xff\xfe\x00", "byte 0 is not UTF-8");
    buried(b"  \n", "the input is empty");
    buried(b"hello", "the input is not JSON");
    buried(b"{\"a\": 1, \"a\": 2}", "the key `a` appears twice");
    buried("[".repeat(100_000).as_bytes(), "nested deeper");
    let large = format!("[\"{}\"]", "x".repeat(10_000_000));
    let here = workplace();
    here.run_with(&["remediate", "-"], large.as_bytes())
        .exits(1)
        .says("the limit is 10000000")
        .says("split it");
}

#[test]
fn findings_with_missing_or_wrong_members() {
    buried(b"{\"hello\": \"world\"}", "");
    buried(&changed("/AwsAccountId", json!("12")), "AwsAccountId");
    buried(
        &changed("/AwsAccountId", json!(222_222_222_222_u64)),
        "AwsAccountId",
    );
    buried(&changed("/Resources", json!([])), "Resources");
    buried(
        &changed("/Resources/0/Id", json!("arn:aws:s3:::demo\u{1b}[31m")),
        "control characters",
    );
    let other = json!("arn:aws:ec2:us-east-1:333333333333:security-group/sg-12345678");
    buried(&changed("/Resources/0/Id", other), "333333333333");
}

/// What is understood, but must not be done, is refused and on record.
#[track_caller]
fn refused(bytes: &[u8], reason: &str) {
    let here = workplace();
    here.run_with(&["plan", "-"], bytes).exits(3).says(reason);
    here.run_with(&["remediate", "-"], bytes)
        .exits(3)
        .says(reason);
    let records = here.run(&["ledger", "list", "--json"]).exits(0).json();
    assert_eq!(records["records"][0]["Status"], "Refused", "{records}");
    assert_eq!(records["records"][0]["Requester"], "alice", "{records}");
}

#[test]
fn findings_that_must_not_be_acted_on() {
    refused(
        &changed("/AwsAccountId", json!("444444444444")),
        "account 444444444444 is not one of the configured accounts",
    );
    let mut elsewhere = finding();
    elsewhere["Region"] = json!("eu-central-1");
    elsewhere["Resources"][0]["Region"] = json!("eu-central-1");
    refused(
        elsewhere.to_string().as_bytes(),
        "region `eu-central-1` is not enabled",
    );
    let mut unknown = finding();
    unknown["GeneratorId"] = json!("security-control/S3.999");
    unknown["Compliance"]["SecurityControlId"] = json!("S3.999");
    refused(
        unknown.to_string().as_bytes(),
        "no remediation for `S3.999`",
    );
    refused(
        &changed("/Resources/0/Id", json!("arn:aws:s3:::My_Bucket")),
        "My_Bucket",
    );
}

#[test]
fn findings_that_need_nothing() {
    for (pointer, value, reason) in [
        (
            "/Compliance/Status",
            "PASSED",
            "its compliance status is PASSED",
        ),
        (
            "/Workflow/Status",
            "SUPPRESSED",
            "its workflow status is SUPPRESSED",
        ),
        ("/RecordState", "ARCHIVED", "it is archived"),
    ] {
        workplace()
            .run_with(&["remediate", "-"], &changed(pointer, json!(value)))
            .exits(0)
            .says(reason);
    }
}

#[test]
fn a_bad_finding_does_not_take_its_neighbours_with_it() {
    let mut bad = finding();
    bad["AwsAccountId"] = json!("12");
    let mut other = finding();
    other["AwsAccountId"] = json!("444444444444");
    let both = json!([bad, other]).to_string();
    let said = workplace()
        .run_with(&["remediate", "-", "--json"], both.as_bytes())
        .exits(1)
        .json();
    assert_eq!(said["buried"].as_array().unwrap().len(), 1);
    assert_eq!(
        said["remediations"][0]["Record"]["Status"], "Refused",
        "{said}"
    );
}

#[test]
fn an_event_file_that_is_not_there() {
    workplace()
        .run(&["remediate", "missing.json"])
        .exits(2)
        .says("cannot read `missing.json`");
}

#[test]
fn an_aws_that_does_not_answer_is_a_failure_with_a_record() {
    let here = workplace();
    here.run_with(&["remediate", "-"], finding().to_string().as_bytes())
        .exits(1)
        .says("no session in the member account");
    let records = here.run(&["ledger", "list", "--json"]).exits(0).json();
    assert_eq!(records["records"][0]["Status"], "Failed", "{records}");
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("1 remediations and 3 events hold");
}
