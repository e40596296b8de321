use stanch_ledger::{
    Admission, Event, Ledger as _, MemoryLedger,
    testing::{key, received, rollback, success},
};
use stanch_operate::cost::{Counted, bill};

use crate::world::now;

async fn counted(events: Vec<Event>) -> Counted {
    let ledger = MemoryLedger::default();
    let Admission::New(id) = ledger.admit(key(1), received(1), now()).await.unwrap() else {
        panic!("twice")
    };
    ledger.append(id, 1, events, now()).await.unwrap();
    Counted::of(&ledger.entries(id).await.unwrap())
}

#[tokio::test]
async fn what_was_sent_is_counted() {
    let once = counted(success()).await;
    assert_eq!(
        (
            once.requests,
            once.runs,
            once.rows,
            once.told,
            once.milliseconds
        ),
        (1, 1, 8, 0, 250)
    );
    // An event below 1 KB is one unit; the finding is longer.
    assert!(
        once.write_units >= once.rows && once.write_units < 2 * once.rows,
        "{once:?}"
    );
    let mut both = success();
    both.extend(rollback());
    both.push(Event::Notified {
        channel: "sns".to_owned(),
        ok: true,
        error: None,
        asked: Vec::new(),
    });
    both.push(Event::Notified {
        channel: "x".to_owned(),
        ok: false,
        error: None,
        asked: Vec::new(),
    });
    let both = counted(both).await;
    assert_eq!((both.requests, both.runs, both.told), (2, 2, 1));
    let sum = once.clone().and(&both);
    assert_eq!(
        (sum.remediations, sum.requests, sum.rows),
        (2, 3, once.rows + both.rows)
    );
}

#[tokio::test]
async fn a_bill_is_counts_times_prices() {
    let counted = counted(success()).await;
    let bill = bill(counted.clone()).unwrap();
    let charge = |item: &str| bill.charges.iter().find(|charge| charge.cost.item == item);
    let writes = charge("dynamodb-write").unwrap();
    assert!(writes.counted);
    let expected =
        (f64::from(counted.write_units) + f64::from(counted.remediations) * 4.0) * 0.000_000_625;
    assert!((writes.cost.monthly - expected).abs() < 1e-12, "{writes:?}");
    // Nobody was asked and no document ran: no transition and no step is paid for.
    assert!(charge("states-transition").is_none() && charge("automation-step").is_none());
    assert!(!charge("s3-put").unwrap().counted);
    let sum: f64 = bill.charges.iter().map(|charge| charge.cost.monthly).sum();
    assert!((bill.usd - sum).abs() < 1e-12 && (bill.each - sum).abs() < 1e-12);
    assert!(bill.each < 0.0001, "the issue's target: {}", bill.each);
    assert_eq!(bill.peer.quantities["requests"], 45.0);
}

#[test]
fn nothing_costs_nothing() {
    let bill = bill(Counted::default()).unwrap();
    assert_eq!((bill.usd, bill.each), (0.0, 0.0));
}
