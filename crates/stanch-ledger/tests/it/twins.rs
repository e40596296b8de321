//! Whatever is asked of them, the ledgers answer alike.

use proptest::prelude::*;
use stanch_ledger::{
    Event, Ledger, LedgerError, MemoryLedger, Order, Query, SqliteLedger, Status, export,
    testing::{key, noon_and, received, signer},
};

use crate::{dynamo, tables::Tables, transitions::any_event};

#[derive(Debug, Clone)]
enum Ask {
    Admit(u64),
    /// To the remediation, expecting so many events more or fewer than it has.
    Append(u64, i64, Vec<Event>),
    Query(Query),
    /// Closes the file and opens it again.
    Reopen,
}

fn ask() -> impl Strategy<Value = Ask> {
    let scope = (0..25u64).prop_flat_map(|n| {
        prop::sample::select(vec![
            Query::all(),
            Query::unfinished(),
            Query::account(received(n).account.clone()),
            Query::resource(received(n).resource_id.clone()),
            Query::finding(received(n).finding_id.clone()),
        ])
    });
    let bound = || prop::option::of((0..200u64).prop_map(noon_and));
    let status = prop::option::weighted(0.2, prop::sample::select(Status::ALL.to_vec()));
    let query = (scope, bound(), bound(), status, 1..9u32, any::<bool>());
    let off = prop_oneof![9 => Just(0), 1 => -1..2i64];
    let events = prop::collection::vec(any_event(), 0..3);
    prop_oneof![
        6 => (0..25u64).prop_map(Ask::Admit),
        20 => (0..25u64, off, events).prop_map(|(n, off, events)| Ask::Append(n, off, events)),
        3 => query.prop_map(|(query, from, until, status, limit, oldest)| {
            let mut query = query.between(from, until).limit(limit);
            query.status = status;
            query.order = if oldest { Order::Oldest } else { Order::Newest };
            Ask::Query(query)
        }),
        1 => Just(Ask::Reopen),
    ]
}

fn told<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    format!("{result:?}")
}

/// All pages, without the cursors: those are each ledger's own.
async fn pages(ledger: &dyn Ledger, query: &Query) -> String {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        let page = ledger.query(&query).await.unwrap();
        pages.push(page.records);
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => return format!("{pages:?} {:?}", ledger.counts(&query).await.unwrap()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn memory_and_sqlite_answer_alike(asks in prop::collection::vec(ask(), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let memory = MemoryLedger::new();
        let mut sqlite = SqliteLedger::open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (number, ask) in (0..).zip(asks) {
                // Times stand still now and then, and once jump back.
                let at = noon_and(if number == 60 { 5 } else { number / 2 });
                match ask {
                    Ask::Admit(n) => assert_eq!(
                        told(memory.admit(key(n), received(n), at).await),
                        told(sqlite.admit(key(n), received(n), at).await)
                    ),
                    Ask::Append(n, off, events) => {
                        let id = key(n).remediation_id();
                        let known = memory.record(id).await.map_or(1, |record| record.events);
                        let expected = known.saturating_add_signed(off);
                        assert_eq!(
                            told(memory.append(id, expected, events.clone(), at).await),
                            told(sqlite.append(id, expected, events, at).await)
                        );
                        assert_eq!(told(memory.state(id).await), told(sqlite.state(id).await));
                        assert_eq!(told(memory.record(id).await), told(sqlite.record(id).await));
                    }
                    Ask::Query(query) => {
                        assert_eq!(pages(&memory, &query).await, pages(&sqlite, &query).await);
                    }
                    Ask::Reopen => {
                        drop(sqlite);
                        sqlite = SqliteLedger::open(&path).unwrap();
                    }
                }
            }
            let (mut one, mut other) = (Vec::new(), Vec::new());
            export(&memory, &signer(), &mut one).await.unwrap();
            export(&sqlite, &signer(), &mut other).await.unwrap();
            assert_eq!(String::from_utf8(one), String::from_utf8(other));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Those of one moment stand in an order of their own, so that here no two are.
    #[test]
    fn memory_and_dynamo_answer_alike(asks in prop::collection::vec(ask(), 1..60)) {
        let tables = Tables::new();
        let memory = MemoryLedger::new();
        let mut dynamo = dynamo::ledger(&tables);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (number, ask) in (0..).zip(asks) {
                let at = noon_and(number);
                match ask {
                    Ask::Admit(n) => assert_eq!(
                        told(memory.admit(key(n), received(n), at).await),
                        told(dynamo.admit(key(n), received(n), at).await)
                    ),
                    Ask::Append(n, off, events) => {
                        let id = key(n).remediation_id();
                        let known = memory.record(id).await.map_or(1, |record| record.events);
                        let expected = known.saturating_add_signed(off);
                        assert_eq!(
                            told(memory.append(id, expected, events.clone(), at).await),
                            told(dynamo.append(id, expected, events, at).await)
                        );
                        assert_eq!(told(memory.state(id).await), told(dynamo.state(id).await));
                        assert_eq!(told(memory.record(id).await), told(dynamo.record(id).await));
                    }
                    Ask::Query(query) => {
                        assert_eq!(pages(&memory, &query).await, pages(&dynamo, &query).await);
                    }
                    Ask::Reopen => {
                        dynamo.sweep(at + std::time::Duration::from_hours(1)).await.unwrap();
                        dynamo = dynamo::ledger(&tables);
                    }
                }
            }
        });
    }
}
