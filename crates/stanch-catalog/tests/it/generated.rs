//! Committed files that are made from others, and the page that is kept beside them by hand.

use std::{fs, path::Path};

use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn generated_schema_is_fresh() {
    let path = repository().join("generated/catalog.schema.json");
    let fresh = serde_json::to_string_pretty(&stanch_catalog::schema()).unwrap() + "\n";
    if std::env::var_os("STANCH_WRITE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "stale: run `cargo xtask codegen`");
}

#[test]
fn the_page_names_every_key_and_function() {
    let page = fs::read_to_string(repository().join("docs/reference/catalog-format.md")).unwrap();
    let mut names = Vec::new();
    keys(&stanch_catalog::schema(), &mut names);
    names.extend(
        stanch_catalog::function::FUNCTIONS
            .iter()
            .map(|f| f.name.to_owned()),
    );
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn keys(schema: &Value, names: &mut Vec<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        names.push(name.clone());
        keys(below, names);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            keys(&schema[below], names);
        }
    }
}
