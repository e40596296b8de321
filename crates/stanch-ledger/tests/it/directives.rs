//! Orders are kept in order, and only the one that was made after the last is added.

use stanch_ledger::{
    Directive, Directives, Given, LedgerError, MemoryLedger, Reach, SqliteLedger, StoreFault,
    testing::{NOON, noon_and},
};

use crate::{dynamo::ledger, tables::Tables};

fn pause(region: &str) -> Directive {
    Directive::Pause {
        reach: Reach::Region(region.parse().unwrap()),
    }
}

async fn keeps_what_was_ordered(store: &impl Directives) {
    assert_eq!(store.directives().await.unwrap(), []);
    let first = Given::after(None, pause("eu-west-1"), "alice", "an outage", NOON);
    let rival = Given::after(None, pause("us-east-1"), "bob", "another", NOON);
    assert!(store.give(first.clone()).await.unwrap());
    assert!(!store.give(rival).await.unwrap(), "one came in between");
    assert!(!store.give(first.clone()).await.unwrap(), "given once");
    let order = Directive::Move {
        reach: Reach::Unit("/prod".to_owned()),
        ring: "canary".to_owned(),
    };
    let other = Given::after(None, pause("us-east-1"), "bob", "another", NOON);
    let forged = Given::after(Some(&other), order.clone(), "bob", "go", noon_and(5));
    assert!(!store.give(forged).await.unwrap(), "it follows on another");
    let second = Given::after(Some(&first), order, "bob", "go", noon_and(5));
    assert!(store.give(second.clone()).await.unwrap());
    let kept = store.directives().await.unwrap();
    assert_eq!(kept, [first, second]);
    assert_eq!(Given::broken(&kept), None);
}

#[tokio::test]
async fn in_memory() {
    keeps_what_was_ordered(&MemoryLedger::new()).await;
}

#[tokio::test]
async fn in_two_tables() {
    let tables = Tables::new();
    keeps_what_was_ordered(&ledger(&tables)).await;
    // Another process reads them as they are.
    assert_eq!(ledger(&tables).directives().await.unwrap().len(), 2);
}

#[tokio::test]
async fn in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stanch.db");
    keeps_what_was_ordered(&SqliteLedger::open(&path).unwrap()).await;
    let reader = SqliteLedger::open_read_only(&path).unwrap();
    let kept = reader.directives().await.unwrap();
    assert_eq!(kept.len(), 2);
    let third = Given::after(kept.last(), pause("eu-west-2"), "alice", "why", NOON);
    let refused = reader.give(third).await.unwrap_err();
    assert!(matches!(
        refused,
        LedgerError::Store {
            fault: StoreFault::ReadOnly,
            ..
        }
    ));
}
