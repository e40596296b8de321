//! What the catalog was asked to fix, against the catalog.

use std::{collections::BTreeSet, fs};

use stanch_catalog::Catalog;
use stanch_types::ControlRef;

/// Controls of Security Hub for which a fix was known before: each has one here.
#[test]
fn every_control_with_a_known_fix_has_a_remediation() {
    let catalog = Catalog::embedded();
    let asked = include_str!("data/asked-for.txt");
    let missing: Vec<&str> = asked
        .lines()
        .filter(|id| {
            let control = ControlRef::SecurityHub((*id).to_owned());
            catalog.of_control(&control).is_empty()
        })
        .collect();
    assert!(asked.lines().count() > 100, "the list is cut short");
    assert!(missing.is_empty(), "no remediation fixes {missing:?}");
}

/// The table of `docs/reference/what-must-be-fixable.md`, whose lines name remediations or say why not.
#[test]
fn every_line_that_was_asked_for_names_remediations_that_there_are() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/what-must-be-fixable.md"
    );
    let text = fs::read_to_string(path).unwrap();
    let catalog = Catalog::embedded();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<(&str, &str)> = rows
        .filter_map(|row| row.trim_matches(['|', ' ']).split_once(" | "))
        .filter(|(asked, _)| *asked != "asked for")
        .collect();
    assert!(rows.len() > 30, "the table is cut short: {}", rows.len());
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    for (asked, answer) in rows {
        let quoted: Vec<&str> = answer.split('`').skip(1).step_by(2).collect();
        let is_name = |name: &&&str| name.chars().all(|c| c.is_ascii_alphanumeric());
        let named: Vec<&str> = quoted.iter().filter(is_name).copied().collect();
        let is_said = answer.starts_with("none: ");
        assert!(is_said == named.is_empty(), "{asked}: {answer}");
        unknown.extend(named.into_iter().filter(|name| catalog.get(name).is_none()));
    }
    assert!(unknown.is_empty(), "there is no remediation {unknown:?}");
}
