//! No secret is stored in the clear, and whoever has the key sees events as they were given.

use std::sync::Arc;

use serde_json::json;
use stanch_ledger::{
    Event, Ledger, MemoryLedger, Phase, Planned, SealedLedger, Sensitive, StepStarted, Vault,
    Verdict, export, masked,
    testing::{NOON, decided, key, received, signer, started},
    verify_ledger,
};
use stanch_types::Call;

/// As the model of Lambda has it.
struct Lambda;

impl Sensitive for Lambda {
    fn is_secret(&self, service: &str, member: &str) -> bool {
        service == "lambda" && member == "Variables"
    }
}

fn call() -> Call {
    let variables = json!({"Variables": {"DATABASE": "hunter2"}});
    let params = json!({"FunctionName": "f", "Environment": variables, "Password": "hunter2"});
    Call::new("lambda", "UpdateFunctionConfiguration", params)
}

fn events() -> Vec<Event> {
    vec![
        Event::Planned(Planned {
            plan: json!({"steps": [{"name": "set", "call": call()}]}),
            plan_hash: "plan-1".to_owned(),
            observed: json!({
                "function": {"Environment": {"Variables": {"DATABASE": "hunter2"}}, "Role": "r"},
                "project": [
                    {"name": "AWS_SECRET_ACCESS_KEY", "type": "PLAINTEXT", "value": "hunter2"},
                    {"name": "STAGE", "value": "test"},
                ],
            }),
            ..planned()
        }),
        decided(Verdict::Run),
        Event::Started(started(1)),
        Event::StepStarted(StepStarted {
            phase: Phase::Apply,
            index: 0,
            name: "set".to_owned(),
            call: call(),
            call_hash: "call-1".to_owned(),
        }),
    ]
}

fn planned() -> Planned {
    match stanch_ledger::testing::planned(false) {
        Event::Planned(planned) => planned,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_secret_is_stored_sealed() {
    let stored = Arc::new(MemoryLedger::new());
    let open = |key: [u8; 32]| {
        let vault = Vault::new(&key).unwrap();
        SealedLedger::new(
            Arc::clone(&stored) as Arc<dyn Ledger>,
            vault,
            Arc::new(Lambda),
        )
    };
    let ledger = open([7; 32]);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.append(id, 1, events(), NOON).await.unwrap();

    let seen = |entries: Vec<stanch_ledger::Entry>| -> Vec<Event> {
        entries
            .into_iter()
            .skip(1)
            .map(|entry| entry.event)
            .collect()
    };
    assert_eq!(seen(ledger.entries(id).await.unwrap()), events());
    // After a restart, too: what it takes to go on is in the ledger and the key.
    let again = open([7; 32]);
    let verified = Event::StepFinished(stanch_ledger::StepFinished {
        phase: Phase::Apply,
        index: 0,
        outcome: stanch_ledger::StepOutcome::Ok,
        request_id: None,
        outputs: json!({"Environment": {"Variables": {"DATABASE": "hunter2"}}}),
    });
    again.append(id, 5, vec![verified], NOON).await.unwrap();
    assert_eq!(seen(again.entries(id).await.unwrap())[..4], events());

    let mut text = Vec::new();
    export(&*stored, &signer(), &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(text.matches("sealed:v1:").count(), 7);
    assert!(text.contains("\"FunctionName\":\"f\"") && text.contains("\"Role\":\"r\""));
    assert!(text.contains("\"value\":\"test\"") && text.contains("\"type\":\"PLAINTEXT\""));
    let report = verify_ledger(stored.clone(), None, None).await.unwrap();
    assert!(report.holds(), "{:?}", report.faults);
    stored.verify(id).await.unwrap();
    again.verify(id).await.unwrap();

    // Another key opens nothing.
    let other = seen(open([8; 32]).entries(id).await.unwrap());
    let Event::StepStarted(step) = &other[3] else {
        panic!("{other:?}")
    };
    let shown = masked(step.call.params.clone());
    assert_eq!(
        shown,
        json!({"FunctionName": "f", "Environment": {"Variables": "***"}, "Password": "***"})
    );
    assert!(format!("{:?}", Vault::new(&[7; 32])).contains('…'));
}

#[test]
fn the_key_is_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    Vault::create(&path).unwrap();
    Vault::open(&path).unwrap();
    assert!(Vault::create(&path).is_err(), "it is never overwritten");
    std::fs::write(&path, "short").unwrap();
    assert!(Vault::open(&path).is_err());
}
