use stanch_ledger::{
    Admission, Event, Ledger as _, MemoryLedger, Query, Route,
    testing::{key, received, success},
};
use stanch_operate::{Demand, Shown};

use crate::world::now;

/// So many findings that people asked for, and that came by themselves, and how they ended.
async fn shown(by_people: u64, by_themselves: u64, failed: u64) -> Shown {
    let ledger = MemoryLedger::default();
    for n in 0..by_people + by_themselves + failed {
        let mut finding = (*received(n)).clone();
        finding.route = if n < by_people {
            Route::Manual
        } else {
            Route::Automatic
        };
        let Admission::New(id) = ledger.admit(key(n), finding.into(), now()).await.unwrap() else {
            panic!("{n} twice")
        };
        let mut events = success();
        if n >= by_people + by_themselves {
            events.truncate(3);
            events.push(Event::Finished {
                status: stanch_ledger::Status::Failed,
                error: Some("no".to_owned()),
                duration_ms: 1,
            });
        }
        ledger.append(id, 1, events, now()).await.unwrap();
    }
    let page = ledger.query(&Query::all().limit(1000)).await.unwrap();
    Shown::by(&page.records, &Demand::default())
}

#[tokio::test]
async fn a_pilot_has_to_show_enough() {
    let check = |shown: &Shown, open: bool, against: &str| {
        assert_eq!(shown.is_open(), open, "{shown:?}");
        assert!(
            open || shown.against.iter().any(|one| one.contains(against)),
            "{shown:?}"
        );
    };
    check(&shown(5, 5, 0).await, true, "");
    check(&shown(5, 4, 0).await, false, "9 changes ended");
    check(
        &shown(4, 20, 0).await,
        false,
        "4 successful changes were asked for",
    );
    check(&shown(19, 0, 1).await, true, "");
    check(&shown(18, 0, 1).await, false, "1 of 19 changes failed");
    check(&shown(0, 0, 0).await, false, "0 changes ended");
}
