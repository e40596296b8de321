//! `tests/broken/*.yaml`: each with the diagnostics it must give, in comments at its end.

use std::fs;

use stanch_runbook::{check, parse};

use crate::scenario::models;

#[test]
fn broken_documents_are_told_what_is_wrong() {
    let bless = std::env::var_os("STANCH_BLESS").is_some();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broken");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        count += 1;
        let file = fs::read_to_string(&path).unwrap();
        let (text, expected) = file.split_once("\n#--\n").unwrap_or((file.trim_end(), ""));
        let text = format!("{}\n", text.trim_end());
        let parsed = parse(&text);
        let mut diagnostics = parsed.diagnostics;
        if let Some(document) = &parsed.document {
            diagnostics.extend(check(document, models()));
        }
        diagnostics.sort_by_key(|d| d.at);
        assert!(!diagnostics.is_empty(), "{}", path.display());
        let lines: String = diagnostics
            .iter()
            .flat_map(|d| {
                d.to_string()
                    .lines()
                    .map(|line| format!("# {line}\n"))
                    .collect::<Vec<_>>()
            })
            .collect();
        if bless {
            fs::write(&path, format!("{text}#--\n{lines}")).unwrap();
        } else if expected != lines {
            wrong.push(format!(
                "{}\nexpected\n{expected}is\n{lines}",
                path.display()
            ));
        }
    }
    assert!(count >= 10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
