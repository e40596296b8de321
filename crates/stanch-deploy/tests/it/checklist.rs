//! The architecture's brief as a list.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::TEMPLATES;

#[test]
fn everything_named_is_there() {
    let mut items = BTreeSet::new();
    let mut missing = Vec::new();
    let mut in_templates = 0;
    for line in include_str!("../../data/checklist.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
    {
        let [section, item, file, pointer, holds] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("`{line}` has not five fields")
        };
        assert!(items.insert((section, item)), "{section} {item} twice");
        if file == "-" {
            assert!(holds.len() > 20, "{section} {item}: why not?");
            continue;
        }
        in_templates += 1;
        let found = at(&TEMPLATES[file], pointer);
        let holding = |value: &&Value| match value {
            Value::String(text) => text.contains(holds),
            other => other.to_string().contains(holds),
        };
        if !found.iter().any(holding) {
            missing.push(format!(
                "{section} {item}: {file} {pointer} `{holds}`: {found:?}"
            ));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(in_templates > 130, "{in_templates}");
}

/// What is at a JSON pointer, in which `*` is any item of a list.
fn at<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let Some((before, after)) = pointer.split_once("/*") else {
        return value.pointer(pointer).into_iter().collect();
    };
    let list = value.pointer(before).and_then(Value::as_array);
    let items = list.into_iter().flatten();
    items.flat_map(|item| at(item, after)).collect()
}
