//! The functions' own program behind the stacks' rules, queue and state machine, in an emulated
//! organization with IAM enforced. `cargo xtask e2e-aws` plays all that can happen; this is the part
//! that every test run plays.

use stanch_catalog::Catalog;
use stanch_models::Models;
use stanch_testkit::deployed::{Deployed, Layout, scenarios::Scenario};

#[tokio::test]
async fn what_is_deployed_fixes_asks_and_puts_aside() {
    // The debug build is too large for an archive, so that the archive starts it where it is.
    let script = format!("#!/bin/sh\nexec '{}'\n", env!("CARGO_BIN_EXE_bootstrap"));
    let (catalog, models) = (Catalog::embedded(), Models::embedded().unwrap());
    let archive = stanch_deploy::package(script.as_bytes(), &catalog, &models).unwrap();
    let layout = Layout {
        archive: &archive,
        members: 1,
        regions: &["us-east-1"],
        variables: &[],
    };
    let deployed = Deployed::start(&layout).await.unwrap();
    for name in ["manual_fix", "approval", "poisoned_batch"] {
        let scenario = Scenario::named(name).unwrap();
        match scenario.play(&deployed).await {
            Ok(seen) => println!("{name}: {seen}"),
            Err(error) => panic!(
                "{name}: {error}\n{}",
                std::fs::read_to_string(deployed.emulator().log()).unwrap_or_default()
            ),
        }
    }
}
