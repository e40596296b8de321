//! The architecture's brief as a list.

use std::collections::BTreeSet;

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
        let found = TEMPLATES[file].pointer(pointer);
        let text = found.map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        });
        if text.is_none_or(|text| !text.contains(holds)) {
            missing.push(format!(
                "{section} {item}: {file} {pointer} `{holds}`: {found:?}"
            ));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(in_templates > 130, "{in_templates}");
}
