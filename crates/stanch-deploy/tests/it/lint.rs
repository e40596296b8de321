//! AWS's own linter of templates: schemas, the IAM grammar, and state machines.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;
use stanch_testkit::repository;

use crate::FILES;

/// Findings that stay, with the reason, as `file rule reason`. One that is not found any more fails.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// The linter knows no partition but `aws` in a state machine's resources.
fn linted(text: &str) -> String {
    text.replace("arn:${Partition}:states", "arn:aws:states")
}

fn cfn_lint() -> PathBuf {
    let installed = repository().join(".venv-templates/bin/cfn-lint");
    std::env::var_os("STANCH_CFN_LINT").map_or(installed, PathBuf::from)
}

#[test]
fn cfn_lint_finds_nothing() {
    let program = cfn_lint();
    assert!(
        program.exists(),
        "`{}` does not exist; run `cargo xtask setup`, or let `STANCH_CFN_LINT` name it",
        program.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["--format", "json", "--"]);
    for file in FILES.iter().filter(|file| file.name.ends_with(".yaml")) {
        fs::write(folder.path().join(&file.name), linted(&file.text)).unwrap();
        command.arg(&file.name);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let found: Value = match output.stdout.is_empty() {
        true => Value::Array(Vec::new()),
        false => {
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
        }
    };
    let found = found.as_array().unwrap();
    assert!(output.status.success() == found.is_empty(), "{said}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut seen = BTreeSet::new();
    for finding in found {
        let (file, rule) = (text(&finding["Filename"]), text(&finding["Rule"]["Id"]));
        let known = EXCEPTIONS
            .iter()
            .find(|(name, id, _)| *name == file && *id == rule);
        let Some(known) = known else {
            panic!("{finding:#}")
        };
        seen.insert(known);
    }
    assert_eq!(
        seen.len(),
        EXCEPTIONS.len(),
        "exceptions that are not needed any more"
    );
}

/// The linter is seen to find what is wrong: with a state machine, a policy and a property.
#[test]
fn cfn_lint_finds_mistakes() {
    let file = FILES
        .iter()
        .find(|file| file.name == "administrator-stack.yaml")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong) in [
        ("BillingMode: PAY_PER_REQUEST", "BillingMode: FREE"),
        ("StartAt: HasDependencies", "Begin: HasDependencies"),
        ("Action: sts:AssumeRole", "Acton: sts:AssumeRole"),
    ] {
        assert!(file.text.contains(right), "{right}");
        let path = folder.path().join("template.yaml");
        fs::write(&path, linted(&file.text).replace(right, wrong)).unwrap();
        assert!(
            !Command::new(cfn_lint())
                .arg(&path)
                .output()
                .unwrap()
                .status
                .success(),
            "{wrong}"
        );
    }
}
