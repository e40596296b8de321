//! Dependencies between the crates point one way, as ARCHITECTURE.md draws them.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

/// Each crate with those of ours that it may use, tests aside. `stanch`, `stanch-lambda` and
/// `stanch-testkit` may use all, and nothing may use them.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("stanch-types", &[]),
    ("stanch-syntax", &[]),
    ("stanch-models", &["stanch-types"]),
    ("stanch-aws", &["stanch-models", "stanch-types"]),
    (
        "stanch-runbook",
        &["stanch-models", "stanch-syntax", "stanch-types"],
    ),
    (
        "stanch-catalog",
        &[
            "stanch-models",
            "stanch-runbook",
            "stanch-syntax",
            "stanch-types",
        ],
    ),
    (
        "stanch-deploy",
        &["stanch-catalog", "stanch-models", "stanch-syntax"],
    ),
    ("stanch-ledger", &["stanch-types"]),
    (
        "stanch-operate",
        &["stanch-deploy", "stanch-ledger", "stanch-types"],
    ),
    (
        "stanch-guard",
        &[
            "stanch-catalog",
            "stanch-ledger",
            "stanch-syntax",
            "stanch-types",
        ],
    ),
    (
        "stanch-hub",
        &[
            "stanch-catalog",
            "stanch-guard",
            "stanch-ledger",
            "stanch-models",
            "stanch-runbook",
            "stanch-types",
        ],
    ),
    (
        "stanch-config",
        &[
            "stanch-catalog",
            "stanch-guard",
            "stanch-hub",
            "stanch-ledger",
            "stanch-notify",
            "stanch-runbook",
            "stanch-types",
        ],
    ),
    (
        "stanch-notify",
        &["stanch-hub", "stanch-ledger", "stanch-types"],
    ),
];

#[test]
fn dependencies_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--locked",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut checked = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let used: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("stanch"))
            .collect();
        for service in package["dependencies"].as_array().unwrap() {
            let dependency = service["name"].as_str().unwrap();
            assert!(
                !dependency.starts_with("aws-sdk-"),
                "`{name}` uses the service crate `{dependency}`"
            );
        }
        if let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| *known == name) {
            let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
            // An arrow that is drawn but not there is stale, too.
            assert_eq!(used, allowed, "`{name}`");
            checked += 1;
        }
    }
    assert_eq!(checked, MAY_USE.len());
}
