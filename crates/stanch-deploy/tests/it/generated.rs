//! `generated/cloudformation/` is what is rendered of the whole catalog.

use std::{collections::BTreeSet, fs};

use stanch_testkit::{assert_generated, repository};

use crate::FILES;

const FOLDER: &str = "generated/cloudformation";

#[test]
fn generated_templates_are_fresh() {
    for file in FILES.iter() {
        assert_generated(&format!("{FOLDER}/{}", file.name), &file.text);
    }
    let there: BTreeSet<String> = fs::read_dir(repository().join(FOLDER))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted: BTreeSet<String> = FILES.iter().map(|file| file.name.clone()).collect();
    assert_eq!(there, wanted, "files that nothing renders any more");
}
