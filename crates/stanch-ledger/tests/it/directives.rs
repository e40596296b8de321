//! Orders are kept in order, and only the one that was made after the last is added.

use rusqlite::Connection;
use stanch_ledger::{
    Directive, Directives, Given, LedgerError, MemoryLedger, NotWitnessed, Reach, SqliteLedger,
    Store as _, StoreFault, Witness,
    testing::{NOON, noon_and, signer},
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

/// Neither the key nor the witness is had for orders that are not those of before.
#[tokio::test]
async fn what_was_signed_is_not_signed_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stanch.db");
    let mut witness = Witness::open(folder.path().join("witness")).unwrap();
    let ledger = SqliteLedger::open(&path).unwrap();
    let mut last = None;
    for region in ["eu-west-1", "us-east-1"] {
        let given = Given::after(last.as_ref(), pause(region), "alice", "an outage", NOON);
        assert!(ledger.give(given.clone()).await.unwrap());
        last = Some(given);
    }
    let two = ledger.checkpoint(&signer()).await.unwrap();
    witness.publish(&ledger, &two).await.unwrap();
    let third = Given::after(last.as_ref(), pause("eu-west-2"), "bob", "another", NOON);
    assert!(ledger.give(third).await.unwrap());
    let three = ledger.checkpoint(&signer()).await.unwrap();
    witness.publish(&ledger, &three).await.unwrap();
    // Somebody who was slower has an older one.
    witness.publish(&ledger, &two).await.unwrap();
    assert_eq!(witness.checkpoint(), Some(&three));

    let file = Connection::open(&path).unwrap();
    let sql = |sql: &str| file.execute_batch(sql).unwrap();
    sql(
        "DROP TRIGGER directive_is_not_changed; DROP TRIGGER directive_stays;
         DROP TRIGGER checkpoint_stays",
    );
    sql("DELETE FROM directive WHERE seq = 2");
    let error = ledger.checkpoint(&signer()).await.unwrap_err();
    assert!(matches!(error, LedgerError::OrdersRewritten(3)), "{error}");
    sql("DELETE FROM checkpoint WHERE orders = 3");
    let shorter = ledger.checkpoint(&signer()).await.unwrap();
    assert_eq!(shorter, two);
    let error = witness.publish(&ledger, &shorter).await.unwrap_err();
    assert!(matches!(error, NotWitnessed::OrdersRewritten(3)), "{error}");
    let copy = Witness::open(folder.path().join("witness")).unwrap();
    assert_eq!(copy.checkpoint(), Some(&three), "it stays as evidence");
    sql("UPDATE directive SET body = replace(body, 'alice', 'bob') WHERE seq = 0");
    let error = ledger.checkpoint(&signer()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Order(0)), "{error}");
}
