//! No secret is stored in the clear, and whoever has the key sees events as they were given.

use std::sync::Arc;

use serde_json::json;
use stanch_ledger::{
    ApprovalRequest, Change, Difference, Event, Ledger, MemoryLedger, Need, Phase, Planned,
    SealedLedger, Secrets, Sensitive, Status, StepOutcome, StepStarted, Vault, Verdict, export,
    masked,
    testing::{NOON, decided, key, received, signer, started, step_finished},
    verify_ledger,
};
use stanch_types::{Call, CallErrorKind};

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

fn sealed(stored: &Arc<MemoryLedger>, key: [u8; 32]) -> SealedLedger {
    let vault = Vault::new(&key).unwrap();
    let stored = Arc::clone(stored) as Arc<dyn Ledger>;
    SealedLedger::new(stored, vault, Arc::new(Lambda))
}

async fn exported(stored: &MemoryLedger) -> String {
    let mut text = Vec::new();
    export(stored, &signer(), &mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_secret_is_stored_sealed() {
    let stored = Arc::new(MemoryLedger::new());
    let open = |key: [u8; 32]| sealed(&stored, key);
    let ledger = open([7; 32]);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.append(id, 1, events(), NOON).await.unwrap();

    // The hash of a request with secrets is one that only whoever has the key can make.
    let seen = |entries: Vec<stanch_ledger::Entry>| -> Vec<Event> {
        let mut events: Vec<Event> = entries.into_iter().skip(1).map(|one| one.event).collect();
        for event in &mut events {
            if let Event::StepStarted(step) = event {
                assert!(step.call_hash.starts_with("hmac-sha256:"));
                "call-1".clone_into(&mut step.call_hash);
            }
        }
        events
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

    let text = exported(&stored).await;
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!text.contains("call-1"), "{text}");
    assert_eq!(text.matches("sealed:v1:").count(), 7);
    assert!(text.contains("\"FunctionName\":\"f\"") && text.contains("\"Role\":\"r\""));
    assert!(text.contains("\"value\":\"test\"") && text.contains("\"type\":\"PLAINTEXT\""));
    let report = verify_ledger(stored.clone(), None, None, None)
        .await
        .unwrap();
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

/// What somebody rotates while people are asked is a secret before and after.
#[tokio::test]
async fn what_has_changed_is_sealed_too() {
    let change = |at: &str, was: &str, is: &str| Change {
        at: at.to_owned(),
        was: Some(json!(was)),
        is: Some(json!(is)),
    };
    let changes = vec![
        change("state.Environment.Variables.DATABASE", "hunter2", "hunter3"),
        change(
            "state.Environment.environmentVariables[1].value",
            "hunter2",
            "hunter3",
        ),
        change("state.MasterUserPassword", "hunter2", "hunter3"),
        change("requests.Set.params.Passwords[0]", "hunter2", "hunter3"),
        change("state.Role", "reader", "writer"),
    ];
    let asked = Event::ApprovalRequested(Box::new(ApprovalRequest {
        plan_hash: "plan-1".to_owned(),
        expires: NOON,
        nonce: "n".to_owned(),
        needs: vec![Need {
            role: "security".to_owned(),
            count: 1,
            people: vec!["alice".to_owned()],
        }],
        cutover: None,
        changed: Some(Difference {
            plan_hash: "plan-0".to_owned(),
            changes,
        }),
    }));
    let stored = Arc::new(MemoryLedger::new());
    let ledger = sealed(&stored, [7; 32]);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let events = vec![
        events().remove(0),
        decided(Verdict::NeedsApproval),
        asked.clone(),
    ];
    ledger.append(id, 1, events, NOON).await.unwrap();
    let text = exported(&stored).await;
    assert!(
        !text.contains("hunter2") && !text.contains("hunter3"),
        "{text}"
    );
    assert!(
        text.contains("\"was\":\"reader\",\"is\":\"writer\""),
        "{text}"
    );
    assert_eq!(ledger.entries(id).await.unwrap()[3].event, asked);
}

/// AWS repeats what it does not take.
#[tokio::test]
async fn words_of_errors_repeat_no_secret() {
    let stored = Arc::new(MemoryLedger::new());
    let ledger = sealed(&stored, [7; 32]);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    ledger.append(id, 1, events(), NOON).await.unwrap();
    let failed = StepOutcome::Failed {
        kind: CallErrorKind::Rejected,
        code: "ValidationException".to_owned(),
        message: "Value 'hunter2' at 'password' is too short".to_owned(),
    };
    let failed = step_finished(Phase::Apply, 0, failed);
    // After a restart nothing but the ledger knows what was sent.
    let again = sealed(&stored, [7; 32]);
    again.append(id, 5, vec![failed], NOON).await.unwrap();
    let end = Event::Finished {
        status: Status::Failed,
        error: Some("step `set`: Value 'hunter2' at 'password' is too short".to_owned()),
        duration_ms: 1,
    };
    again.append(id, 6, vec![end], NOON).await.unwrap();
    let text = exported(&stored).await;
    assert!(!text.contains("hunter2"), "{text}");
    let error = stored.record(id).await.unwrap().error_message.unwrap();
    assert_eq!(error, "step `set`: Value '***' at 'password' is too short");
}

/// A value that was computed may have a name that says nothing.
#[tokio::test]
async fn a_secret_is_one_under_any_name() {
    let stored = Arc::new(MemoryLedger::new());
    let ledger = sealed(&stored, [7; 32]);
    let id = key(1).remediation_id();
    ledger.admit(key(1), received(1), NOON).await.unwrap();
    let plan = json!({
        "observed": {"key": "hunter2", "stage": "hunter"},
        "state": {"Passwords": ["hunter2", "hunter4"]},
    });
    let planned = Event::Planned(Planned { plan, ..planned() });
    ledger
        .append(id, 1, vec![planned.clone()], NOON)
        .await
        .unwrap();
    let text = exported(&stored).await;
    assert!(
        !text.contains("hunter2") && !text.contains("hunter4"),
        "{text}"
    );
    assert!(text.contains("\"stage\":\"hunter\""), "{text}");
    assert_eq!(ledger.entries(id).await.unwrap()[1].event, planned);
}

/// What people and other systems are shown is masked by the same rules, and no hash is left in it by which a
/// weak secret could be tried.
#[test]
fn what_is_shown_of_events_is_masked() {
    let mut shown = events();
    let mut secrets = Secrets::new(Arc::new(Lambda));
    secrets.mask_events(&mut shown.iter_mut().collect::<Vec<_>>());
    let text = json!(shown).to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("\"call_hash\":\"***\""), "{text}");
    let Event::Planned(planned) = &shown[0] else {
        panic!("{shown:?}")
    };
    assert_eq!(
        planned.observed["project"],
        json!([
            {"name": "AWS_SECRET_ACCESS_KEY", "type": "PLAINTEXT", "value": "*** (2)"},
            {"name": "STAGE", "value": "test"},
        ])
    );
    assert_eq!(
        planned.observed.pointer("/function/Environment/Variables"),
        Some(&json!("***"))
    );
}
