//! A plan: a document built in Rust, literal but for what an earlier answer tells.

use std::sync::Arc;

use serde_json::{Map, json};
use stanch_runbook::*;
use stanch_types::{Call, CallErrorKind};

use crate::scenario::{Input, World};

fn plan() -> Document {
    Document {
        steps: vec![
            Step::call(
                "snapshot",
                &Call::new("ec2", "CreateSnapshot", json!({"VolumeId": "vol-1"})),
            )
            .output("Id", "$.SnapshotId", Type::String)
            .output("Size", "$.VolumeSize", Type::Integer),
            Step::call(
                "tag",
                &Call::new(
                    "ec2",
                    "CreateTags",
                    json!({"Resources": ["{{ snapshot.Id }}"], "Tags": [{"Key": "a", "Value": "b"}]}),
                ),
            ),
        ],
        outputs: vec!["snapshot.Id".into(), "snapshot.Size".into()],
        ..Document::default()
    }
}

fn run(calls: serde_json::Value) -> (Outcome, Arc<World>) {
    let input: Input = serde_json::from_value(json!({ "calls": calls })).unwrap();
    let world = World::new(input, Default::default());
    let engine = Engine::new(world.ports());
    let outcome = world
        .clock
        .run(engine.run(Arc::new(plan()), &Map::new(), Options::default()))
        .unwrap();
    (outcome, world)
}

#[test]
fn a_plan_built_in_rust_runs_and_gives_typed_outputs() {
    let (outcome, world) = run(json!([
        {"call": "ec2.CreateSnapshot", "answer": {"SnapshotId": "snap-1", "VolumeSize": 8}},
        {"call": "ec2.CreateTags"},
    ]));
    assert_eq!(outcome.status(), AutomationStatus::Success);
    assert_eq!(outcome.output("snapshot", "Size"), Some(&json!(8)));
    assert_eq!(outcome.outputs["snapshot.Id"], json!("snap-1"));
    assert_eq!(outcome.record.outputs["snapshot.Size"], ["8"]);
    assert_eq!(
        world.sent.lock().unwrap()[1].params["Resources"],
        json!(["snap-1"])
    );
    let ids: Vec<_> = outcome
        .steps
        .iter()
        .flat_map(|s| &s.sent)
        .map(|s| s.result.clone().unwrap())
        .collect();
    assert_eq!(
        ids,
        [Some("request-1".to_owned()), Some("request-2".to_owned())]
    );
}

#[test]
fn a_failed_step_has_the_error_of_aws() {
    let (outcome, _) = run(json!([
        {"call": "ec2.CreateSnapshot", "error": {"code": "UnauthorizedOperation", "message": "no", "kind": "denied"}},
    ]));
    assert_eq!(outcome.status(), AutomationStatus::Failed);
    let error = outcome.steps[0]
        .error
        .as_ref()
        .and_then(StepError::call)
        .unwrap();
    assert_eq!(
        (error.kind, error.code.as_str()),
        (CallErrorKind::Denied, "UnauthorizedOperation")
    );
    let details = outcome.record.step_executions[0]
        .failure_details
        .as_ref()
        .unwrap();
    assert_eq!(details.details["Code"], ["UnauthorizedOperation"]);
    assert_eq!(details.details["RequestId"], ["request-1"]);
}

#[test]
fn a_plan_is_written_and_read_the_same() {
    let document = plan();
    assert_eq!(parse(&document.to_yaml()).into_valid().unwrap(), document);
    assert!(
        document
            .to_yaml()
            .starts_with("schemaVersion: '0.3'\nmainSteps:\n  - name: snapshot\n")
    );
}

#[test]
fn the_record_can_be_looked_at_while_it_runs() {
    let input: Input =
        serde_json::from_value(json!({ "signals": [{"at": 5, "resume": true}] })).unwrap();
    let world = World::new(input, Default::default());
    let engine = Engine::new(world.ports());
    let document = Document {
        steps: vec![Step::new(
            "hold",
            Action::run(ActionName::Pause, Map::new()),
        )],
        ..Document::default()
    };
    let execution = world
        .clock
        .run(engine.start(Arc::new(document), &Map::new(), Options::default()))
        .unwrap();
    let handle = execution.handle();
    assert_eq!(
        handle.snapshot().automation_execution_status,
        AutomationStatus::Pending
    );
    let watched = async {
        stanch_types::Clock::sleep(&world.clock, std::time::Duration::from_secs(2)).await;
        handle.snapshot()
    };
    let (outcome, seen) = world
        .clock
        .run(futures_util::future::join(execution.finish(), watched));
    assert_eq!(seen.automation_execution_status, AutomationStatus::Waiting);
    assert_eq!(
        seen.step_executions[0].step_status,
        AutomationStatus::Waiting
    );
    assert_eq!(seen.current_step_name.as_deref(), Some("hold"));
    assert_eq!(outcome.status(), AutomationStatus::Success);
}

#[test]
fn a_document_without_steps_does_not_start() {
    let world = World::new(Input::default(), Default::default());
    let engine = Engine::new(world.ports());
    let refused = world
        .clock
        .run(engine.start(Arc::default(), &Map::new(), Options::default()));
    assert!(matches!(refused.err(), Some(StartError::NoSteps)));
}

#[test]
fn a_circle_ends() {
    let step = |name: &str, next: &str| {
        let mut inputs = Map::new();
        inputs.insert("Duration".into(), "PT1S".into());
        Step {
            next_step: Some(next.into()),
            ..Step::new(name, Action::run(ActionName::Sleep, inputs))
        }
    };
    let document = Document {
        steps: vec![step("a", "b"), step("b", "a")],
        ..Document::default()
    };
    let world = World::new(Input::default(), Default::default());
    let outcome = world
        .clock
        .run(Engine::new(world.ports()).run(Arc::new(document), &Map::new(), Options::default()))
        .unwrap();
    assert_eq!(outcome.status(), AutomationStatus::Failed);
    assert!(outcome.record.failure_message.unwrap().contains("circle"));
}
