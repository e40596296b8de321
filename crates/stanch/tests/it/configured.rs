//! Where values of the configuration come from, and what is wrong with them.

use insta::assert_snapshot;

use crate::command::Workplace;

#[test]
fn every_value_says_where_it_came_from() {
    let mut here = Workplace::new();
    here.put(
        "etc/stanch.toml",
        r#"
ledger = "data/stanch.db"

[accounts.222222222222]
name = "production"
external_id = "the external id"
regions = ["us-east-1"]

[budget]
attempts = 5

[notify]
webhooks = ["https://hooks.example.com/services/the-hook-secret"]
"#,
    );
    here.set("STANCH_AWS_CALL_TIMEOUT", "10s");
    here.set(
        "STANCH_AUTOMATIC_GUARDED",
        "S3BlockPublicAccess, RdsMakeInstancePrivate",
    );
    here.set("STANCH_CONFIG", "etc/stanch.toml");
    let said = here.run(&[
        "config",
        "show",
        "--set",
        "limits.workers=2",
        "--endpoint-url",
        "http://127.0.0.1:1",
    ]);
    let said = said.exits(0);
    assert!(!said.stdout.contains("the external id") && !said.stdout.contains("the-hook-secret"));
    assert_snapshot!("config-show", said);
    let json = here.run(&["config", "show", "--json"]).exits(0).json();
    assert_eq!(
        json["aws.call_timeout"]["origin"]["environment"],
        "STANCH_AWS_CALL_TIMEOUT"
    );
    assert_eq!(json["budget.attempts"]["value"], 5);
    here.run(&["config", "check"]).exits(0).says("1 accounts");
}

#[track_caller]
fn refused(toml: &str, text: &str) {
    let here = Workplace::new();
    here.put("stanch.toml", toml);
    here.run(&["config", "show"])
        .exits(2)
        .says(text)
        .says("hint: ");
}

#[test]
fn what_does_not_fit_is_told_with_its_key_and_origin() {
    refused(
        "ledgre = \"x\"",
        "there is no setting `ledgre` (stanch.toml)",
    );
    refused(
        "[aws]\nregion = \"x\"",
        "there is no setting `aws.region` (stanch.toml)",
    );
    refused(
        "[accounts.222222222222]\nnam = \"x\"",
        "there is no setting `accounts.222222222222.nam` (stanch.toml)",
    );
    refused(
        "[budget]\nattempts = \"three\"",
        "`budget.attempts` (from stanch.toml): ",
    );
    refused(
        "[aws]\ncall_timeout = \"soon\"",
        "`aws.call_timeout` (from stanch.toml): ",
    );
    refused(
        "[accounts.22]\nname = \"x\"",
        "(from stanch.toml): `22` is not",
    );
    refused("ledger = ", "`stanch.toml` is not valid TOML: ");
    let here = Workplace::new();
    here.run(&["config", "show", "--config", "missing.toml"])
        .exits(2)
        .says("cannot read the configuration `missing.toml`");
    here.run(&["config", "show", "--set", "aws.regoin=x"])
        .exits(2)
        .says("there is no setting `aws.regoin` (command line)");
    here.run(&["config", "show", "--set", "budget.attempts=x"])
        .exits(2)
        .says("`budget.attempts` (from command line): ");
    here.run(&["config", "show", "--set", "nothing"])
        .exits(2)
        .says("KEY=VALUE");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    let here = Workplace::new();
    here.put(
        "stanch.toml",
        "[accounts.222222222222]\nexternal_id = 12345678\n",
    );
    let said = here.run(&["config", "show"]).exits(2);
    assert!(!said.stderr.contains("12345678"), "{said}");
}

#[test]
fn check_looks_at_what_the_configuration_names() {
    let mut here = Workplace::new();
    here.set("STANCH_AWS_ENDPOINTURL", "http://127.0.0.1:1");
    here.put(
        "stanch.toml",
        "automatic.guarded = [\"S3BlokPublicAccess\"]\nserve.listen = \"0.0.0.0:80\"\n[accounts.222222222222]\n",
    );
    assert_snapshot!("config-check", here.run(&["config", "check"]));
}

#[test]
fn a_parameter_that_does_not_fit_is_told_before_anything_runs() {
    let check = |line: &str, text: &str| {
        let here = Workplace::new();
        here.put("stanch.toml", format!("[parameters.{line}\n"));
        here.run(&["config", "check"]).exits(1).says(text);
        here.run_with(&["remediate", "-"], b"{}")
            .exits(2)
            .says(text);
    };
    check("S3Nothing]", "`S3Nothing`, which is no remediation");
    check(
        "S3AbortUnfinishedUploads]\nDay = 3",
        "has no parameter `Day`",
    );
    check(
        "S3AbortUnfinishedUploads]\nDays = \"many\"",
        "it must be a whole number",
    );
    check(
        "S3AbortUnfinishedUploads]\nBucket = \"mine\"",
        "comes from the finding",
    );
}
