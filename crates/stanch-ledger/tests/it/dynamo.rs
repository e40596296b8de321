//! The ledger in two tables.

use std::{sync::Arc, time::Duration};

use stanch_ledger::{DynamoLedger, testing::conformance};

use crate::tables::Tables;

pub fn names() -> stanch_ledger::Tables {
    stanch_ledger::Tables {
        audit: "Audit".to_owned(),
        state: "State".to_owned(),
        bucket: Some("bucket".to_owned()),
        retention: Duration::from_hours(24 * 90),
    }
}

pub fn ledger(tables: &Arc<Tables>) -> DynamoLedger {
    DynamoLedger::new(Arc::clone(tables) as _, names())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    conformance(async || ledger(&Tables::new())).await;
}
