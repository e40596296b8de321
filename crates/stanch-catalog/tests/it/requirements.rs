//! The tables beside the catalog, against the catalog.

use stanch_catalog::{Answer, Catalog, Requirements};
use stanch_types::ControlRef;

#[test]
fn files_claim_controls_that_security_hub_has() {
    let tables = Requirements::embedded();
    let catalog = Catalog::embedded();
    let unknown: Vec<&ControlRef> = catalog
        .controls()
        .filter(|control| matches!(control, ControlRef::SecurityHub(id) if !tables.knows(id)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_is_fixed_is_not_said_to_be_impossible() {
    let tables = Requirements::embedded();
    let catalog = Catalog::embedded();
    let stale: Vec<&ControlRef> = catalog
        .controls()
        .filter(|control| tables.not_automatic(control).is_some())
        .collect();
    assert!(
        stale.is_empty(),
        "remove from catalog/not-automatic.tsv: {stale:?}"
    );
}

#[test]
fn every_check_of_a_standard_has_an_answer() {
    let tables = Requirements::embedded();
    let catalog = Catalog::embedded();
    for framework in tables.frameworks() {
        let coverage = tables.coverage(Some(framework), &catalog);
        assert!(!coverage.checks.is_empty(), "{}", framework.id);
    }
    let cis = tables.coverage(tables.framework("cis-3.0.0"), &catalog);
    let public = cis
        .checks
        .iter()
        .find(|check| check.control.to_string() == "S3.8");
    let public = public.unwrap();
    assert_eq!(public.requirements, ["2.1.4"]);
    assert_eq!(
        public.answer,
        Answer::Covered(vec!["S3BlockPublicAccess".to_owned()])
    );
    assert!(cis.checks.len() < tables.coverage(None, &catalog).checks.len());
}

#[test]
fn requirements_route_nothing() {
    let catalog = Catalog::embedded();
    for remediation in catalog.iter() {
        for mapping in Requirements::embedded().of(&remediation) {
            let claimed = |id: &str| {
                remediation
                    .controls
                    .iter()
                    .any(|control| control.framework == mapping.framework.id && control.id == id)
            };
            for id in mapping.ids.iter().filter(|id| !claimed(id)) {
                let Ok(control) = format!("{}:{id}", mapping.framework.id).parse() else {
                    continue;
                };
                let routed = catalog.of_control(&control);
                assert!(
                    routed.iter().all(|one| one.name != remediation.name),
                    "{control}"
                );
            }
        }
    }
}
