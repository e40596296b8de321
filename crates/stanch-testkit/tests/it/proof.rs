use std::sync::Arc;

use stanch_catalog::Catalog;
use stanch_testkit::{
    assert_generated,
    proof::{World, prove},
};

/// All of the catalog; `STANCH_PROVE` chooses remediations whose names contain it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_remediation_is_proved_and_the_generated_report_says_so() {
    let world = World::start(Arc::new(Catalog::embedded())).unwrap();
    let chosen = std::env::var_os("STANCH_PROVE").and_then(|name| name.into_string().ok());
    let proof = prove(&world, |name| {
        chosen.as_ref().is_none_or(|part| name.contains(part))
    })
    .await;
    println!("{}", proof.markdown());
    assert_eq!(proof.broken(), Vec::<String>::new());
    if chosen.is_none() {
        assert_generated("generated/proof.md", &proof.markdown());
    }
}
