//! Two ledgers stand for the replicas of a table in two regions.

use stanch_ledger::{
    Admission, Directive, Directives as _, Given, Ledger as _, MemoryLedger, RemediationId, Store,
    testing::{decided, key, planned, received, started, success},
};
use stanch_operate::fail_over::{NotThere, replicated, take_events};
use stanch_testkit::{FakeApi, FakeClock};
use tokio::time::{Duration, Instant};

use crate::world::{installation, now};

fn act(region: &str) -> Given {
    let region = region.parse().unwrap();
    Given::after(None, Directive::Act { region }, "alice", "a drill", now())
}

async fn admitted(ledger: &MemoryLedger, n: u64) -> RemediationId {
    let Ok(Admission::New(id)) = ledger.admit(key(n), received(n), now()).await else {
        panic!("{n} twice")
    };
    id
}

async fn wait(from: &dyn Store, to: &dyn Store) -> (Result<(), NotThere>, Duration) {
    let begin = Instant::now();
    let ended = replicated(from, to, &FakeClock::at(now())).await;
    (ended, begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn the_other_region_begins_when_it_has_everything() {
    let (from, to) = (MemoryLedger::default(), MemoryLedger::default());
    assert!(wait(&from, &to).await.0.is_ok());

    // The order alone has arrived: what is open has not.
    let id = admitted(&from, 1).await;
    for ledger in [&from, &to] {
        assert!(ledger.give(act("eu-west-1")).await.unwrap());
    }
    let (ended, waited) = wait(&from, &to).await;
    let Err(NotThere::Behind(behind)) = ended else {
        panic!("it begins without {id}")
    };
    assert_eq!((behind, waited), (vec![id], Duration::from_mins(15)));

    // A part of its chain has.
    assert_eq!(admitted(&to, 1).await, id);
    assert!(wait(&from, &to).await.0.is_ok());
    from.append(id, 1, vec![planned(false)], now())
        .await
        .unwrap();
    assert!(wait(&from, &to).await.0.is_err());
    to.append(id, 1, vec![planned(false)], now()).await.unwrap();
    assert_eq!(wait(&from, &to).await.1, Duration::ZERO);

    // What has ended there is not waited for here.
    let other = admitted(&from, 2).await;
    from.append(other, 1, success(), now()).await.unwrap();
    assert!(wait(&from, &to).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_order_that_has_not_arrived_is_waited_for() {
    let (from, to) = (MemoryLedger::default(), MemoryLedger::default());
    from.give(act("eu-west-1")).await.unwrap();
    assert!(wait(&from, &to).await.0.is_err());
}

/// A run may be in the middle of a request when the order comes. When it has had its time, nobody has it.
#[tokio::test(start_paused = true)]
async fn what_is_at_work_may_end() {
    let (from, to) = (MemoryLedger::default(), MemoryLedger::default());
    let at_work = [
        planned(false),
        decided(stanch_ledger::Verdict::Run),
        stanch_ledger::Event::Started(started(1)),
    ];
    for ledger in [&from, &to] {
        let id = admitted(ledger, 1).await;
        ledger.append(id, 1, at_work.to_vec(), now()).await.unwrap();
    }
    let (ended, waited) = wait(&from, &to).await;
    assert!(ended.is_ok());
    assert_eq!(waited, Duration::from_mins(5));
}

#[tokio::test]
async fn events_are_taken_or_left() {
    let api = FakeApi::new()
        .returns(
            "lambda.ListEventSourceMappings",
            serde_json::json!({"EventSourceMappings": [{"UUID": "trigger-1"}]}),
        )
        .returns("lambda.UpdateEventSourceMapping", serde_json::json!({}));
    for takes in [true, false] {
        take_events(&api, &installation(), takes).await.unwrap();
        let last = api.calls().pop().unwrap();
        assert_eq!(last.params["UUID"], "trigger-1");
        assert_eq!(last.params["Enabled"], takes);
    }
}
