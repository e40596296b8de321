//! The ledger in DynamoDB: what every ledger has to do, on both emulators, and what only this one can
//! meet.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use stanch_ledger::{DynamoLedger, testing::conformance};
use stanch_testkit::{Emulated, Emulator, Maker, create_tables};
use stanch_types::{AccountId, Api, Region};

struct Tables {
    _emulator: Emulator,
    api: Arc<dyn Api>,
    made: AtomicU64,
}

impl Tables {
    fn on(maker: Maker) -> Self {
        let emulator = Emulator::start_with(maker, &[]).unwrap();
        let region: Region = "us-east-1".parse().unwrap();
        let aws = Emulated::at(&emulator.endpoint(), region.clone());
        let account: AccountId = "111111111111".parse().unwrap();
        Self {
            api: aws.root(&account, &region),
            _emulator: emulator,
            made: AtomicU64::new(0),
        }
    }

    /// A ledger in new tables, spoken to through `api`.
    async fn ledger(&self, api: Arc<dyn Api>) -> DynamoLedger {
        let prefix = format!("Test{}", self.made.fetch_add(1, Ordering::Relaxed));
        let tables = create_tables(&*self.api, &prefix).await.unwrap();
        DynamoLedger::new(api, tables)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_on_ministack() {
    let tables = Tables::on(Maker::MiniStack);
    conformance(async || tables.ledger(Arc::clone(&tables.api)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_on_moto() {
    let tables = Tables::on(Maker::Moto);
    conformance(async || tables.ledger(Arc::clone(&tables.api)).await).await;
}
