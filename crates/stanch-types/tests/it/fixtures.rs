//! Every file in `tests/fixtures`, written after AWS's documented shapes, with what is read from it.
//!
//! `<name>.txt` beside each `<name>.json` cites the documentation on its first lines and then has one
//! paragraph per finding. `UPDATE_FIXTURES=1` writes the paragraphs anew, to be looked at in the diff.

use std::{fmt::Write as _, fs, path::PathBuf};

use stanch_types::{
    Incoming, Route,
    event::{self, Options},
};

pub fn options() -> Options {
    Options {
        test_accounts: ["000000000042".parse().unwrap()].into(),
        ..Options::default()
    }
}

/// Name and bytes of all fixtures.
pub fn all() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

pub fn describe(incoming: &Incoming) -> String {
    let mut text = String::new();
    match incoming {
        Incoming::Skipped {
            id,
            account,
            reason,
        } => {
            writeln!(text, "skipped {id} of {account}: {reason}").unwrap();
        }
        Incoming::Executed(executed) => {
            if let Some(step) = &executed.step {
                write!(text, "step {step} of ").unwrap();
            }
            writeln!(
                text,
                "execution {} of {} in {} is {}; started by {:?}",
                executed.id, executed.account, executed.region, executed.status, executed.by
            )
            .unwrap();
        }
        Incoming::Unreadable { problem, payload } => {
            let again = event::read(payload.as_bytes(), &options());
            let same = again.iter().any(|again| {
                matches!(again, Incoming::Unreadable { problem: again, .. } if again == problem)
            });
            assert!(same, "`{problem}` is not what redelivery meets: {again:?}");
            writeln!(
                text,
                "unreadable: {}\n  hint: {}",
                problem.reason, problem.hint
            )
            .unwrap();
        }
        Incoming::Accepted { finding, route } => {
            let route = match route {
                Route::Automatic => "automatic".to_owned(),
                Route::Manual {
                    action,
                    action_arn,
                    requester,
                } => {
                    assert_eq!(*requester, None);
                    let arn = action_arn.as_ref().map(ToString::to_string);
                    format!("manual `{action}` {}", arn.unwrap_or_default())
                }
            };
            writeln!(text, "accepted {}, {route}", finding.id).unwrap();
            writeln!(
                text,
                "  of {} in {} ({})",
                finding.account,
                finding.region,
                finding.partition()
            )
            .unwrap();
            writeln!(
                text,
                "  generation {}, first {:?}",
                finding.generation, finding.first_observed_at
            )
            .unwrap();
            let severity = finding
                .severity
                .map(|s| format!("{} {}", s.label, s.normalized));
            let compliance = finding.compliance.map(|c| c.to_string());
            writeln!(
                text,
                "  {} {} {} {} by {}",
                severity.unwrap_or("unrated".into()),
                compliance.unwrap_or("unchecked".into()),
                finding.workflow,
                finding.record_state,
                finding.product
            )
            .unwrap();
            let controls: Vec<_> = finding.controls.iter().map(ToString::to_string).collect();
            writeln!(text, "  controls {}", controls.join(", ")).unwrap();
            for resource in &finding.resources {
                write!(
                    text,
                    "  {} `{}` {}",
                    resource.resource_type, resource.name, resource.id
                )
                .unwrap();
                match &resource.arn {
                    Some(arn) if arn.to_string() != resource.id => write!(text, " {arn}").unwrap(),
                    Some(_) => {}
                    None => write!(text, " without ARN").unwrap(),
                }
                if let Some(region) = &resource.region {
                    write!(text, " in {region}").unwrap();
                }
                if !resource.tags.is_empty() {
                    write!(text, " {:?}", resource.tags).unwrap();
                }
                writeln!(text).unwrap();
            }
            let json = serde_json::to_string(finding).unwrap();
            assert_eq!(
                serde_json::from_str::<stanch_types::Finding>(&json).unwrap(),
                **finding
            );
        }
    }
    text
}

#[test]
fn fixtures_are_read_as_written_beside_them() {
    let mut wrong = Vec::new();
    for (path, bytes) in all() {
        let read = event::read(&bytes, &options());
        let actual: Vec<_> = read.iter().map(describe).collect();
        let expected_path = path.with_extension("txt");
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        let cited: Vec<_> = expected
            .lines()
            .take_while(|line| line.starts_with("# "))
            .collect();
        let actual = format!("{}\n\n{}", cited.join("\n"), actual.join("\n"));
        if actual == expected && !cited.is_empty() {
            continue;
        }
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&expected_path, actual).unwrap();
        } else {
            wrong.push(format!("{}\n{actual}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn findings_tell_where_they_live() {
    let mut seen = Vec::new();
    for (path, bytes) in all() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for incoming in event::read(&bytes, &options()) {
            if let Incoming::Accepted { finding, .. } = incoming {
                let product = finding.product_arn().is_some();
                let rule = finding.config_rule().map(str::to_owned);
                seen.push((name.clone(), product, rule));
            }
        }
    }
    let check = |name: &str, product: bool, rule: Option<&str>| {
        let rule = rule.map(str::to_owned);
        assert!(
            seen.contains(&(name.to_owned(), product, rule)),
            "{name}: {seen:#?}"
        );
    };
    let managed = "securityhub-s3-bucket-level-public-access-prohibited-0a1b2c3d";
    check("security-hub-imported", true, Some(managed));
    let pack = "s3-bucket-public-read-prohibited-conformance-pack-ab12cd34e";
    check("config-compliance-change", false, Some(pack));
    check("guardduty-native", false, None);
    check("prowler-asff", true, None);
}
