//! Every file that Stanch ships.

use stanch_catalog::{Catalog, Control};

#[test]
fn every_file_loads_without_complaint() {
    let (catalog, found) = Catalog::load(Catalog::embedded_files());
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", text.join("\n"));
    assert_eq!(catalog.len(), Catalog::embedded().iter().count());
}

#[test]
fn embedded_files_are_found_as_loaded_ones_are() {
    let embedded = Catalog::embedded();
    for remediation in embedded.iter() {
        for control in remediation.controls.iter().filter_map(Control::reference) {
            for kind in &remediation.resources {
                let found = embedded.find(std::slice::from_ref(&control), kind);
                assert!(
                    found.iter().any(|r| r.name == remediation.name),
                    "{control}"
                );
            }
        }
    }
    assert!(
        embedded
            .find(&["X.1".parse().unwrap()], "AwsS3Bucket")
            .is_empty()
    );
    assert!(
        embedded
            .find(&["S3.8".parse().unwrap()], "AwsEc2Vpc")
            .is_empty()
    );
}

/// What is built in is read from packed trees, what users bring from text.
#[test]
fn embedded_files_are_what_their_texts_say() {
    let (loaded, _) = Catalog::load(Catalog::embedded_files());
    for embedded in Catalog::embedded().iter() {
        let read = loaded.get(&embedded.name).unwrap();
        assert_eq!(format!("{embedded:?}"), format!("{read:?}"));
    }
    assert_eq!(Catalog::embedded().check(), []);
}

#[test]
fn embedded_files_are_what_the_folder_has() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog");
    let mut count = 0;
    for (path, text) in Catalog::embedded_files() {
        let file = std::fs::read_to_string(format!("{folder}/{path}"));
        assert_eq!(file.unwrap(), text, "{path}");
        count += 1;
    }
    assert_eq!(count, Catalog::embedded().len());
}

#[test]
fn every_call_fits_the_api_models() {
    let models = stanch_models::Models::embedded().unwrap();
    for (path, text) in Catalog::embedded_files() {
        let found = stanch_catalog::check(text, &models);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{path}: {}", shown.join("\n"));
    }
}

/// Policies speak of a fact by its name, whatever file it comes from.
#[test]
fn a_fact_has_one_type_everywhere() {
    let mut types = std::collections::BTreeMap::new();
    for remediation in Catalog::embedded().iter() {
        for probe in &remediation.impact {
            let name = probe.read.name.clone();
            let known = *types.entry(name).or_insert(probe.kind);
            assert_eq!(
                known, probe.kind,
                "{}: {}",
                remediation.name, probe.read.name
            );
        }
    }
    assert!(types.len() >= 6, "{types:?}");
}
