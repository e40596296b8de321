use std::{sync::Arc, time::Duration};

use stanch_catalog::Catalog;
use stanch_testkit::{
    assert_generated,
    proof::{Row, prove},
};

/// All of the catalog; `STANCH_PROVE` chooses remediations whose names contain it.
#[test]
fn every_remediation_is_proved_and_the_generated_report_says_so() {
    let chosen = std::env::var_os("STANCH_PROVE").and_then(|name| name.into_string().ok());
    let wanted = |name: &str| chosen.as_ref().is_none_or(|part| name.contains(part));
    let told = |row: &Row, time: Duration| println!("{} {time:.1?}", row.remediation);
    let proof = prove(&Arc::new(Catalog::embedded()), 2, wanted, told).unwrap();
    println!("{}", proof.markdown());
    assert_eq!(proof.broken(), Vec::<String>::new());
    if chosen.is_none() {
        assert_generated("generated/proof.md", &proof.markdown());
    }
}
