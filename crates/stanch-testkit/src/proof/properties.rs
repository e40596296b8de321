//! The ten properties, each tried on every example of a remediation.

use std::{pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use stanch_catalog::{Example, Plan, Remediation, Undo};
use stanch_ledger::{State, Status};
use stanch_types::chain;
use stanch_types::{Access, Call, CallErrorKind, Clock, Scope, Sessions};

use super::{
    documents::Member,
    report::{Proof, Property, Verdict},
    stage::{Case, LEASE, Setback, Stage, Without, World, actions},
};
use crate::{Aim, Fault, Gate, Maker, Misconfiguration, Seen};

/// What a property came to in one example.
enum Found {
    Holds,
    Broken(String),
    NotRun(String),
    /// The example shows something else.
    NotMeant,
}

type Finding = Result<Found, Setback>;

macro_rules! hold {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Ok(Found::Broken(format!($($why)+)));
        }
    };
}

/// Tries every property on every remediation of the world's catalog whose name `chosen` accepts.
pub async fn prove(world: &World, chosen: impl Fn(&str) -> bool) -> Proof {
    let mut proof = Proof::default();
    for remediation in world
        .catalog
        .iter()
        .filter(|remediation| chosen(&remediation.name))
    {
        let mut row = Vec::new();
        for property in Property::ALL {
            row.push((property, judge(world, &remediation, property).await));
        }
        proof.rows.push((remediation.name.clone(), row));
    }
    proof
}

/// Holds if it holds in at least one example and is broken in none.
async fn judge(world: &World, remediation: &Arc<Remediation>, property: Property) -> Verdict {
    let mut holds = false;
    let mut not_run = "all its examples are compliant".to_owned();
    for example in &remediation.examples {
        match attempt(world, remediation, example, property).await {
            Ok(Found::Holds) => holds = true,
            Ok(Found::NotRun(why)) => not_run = why,
            Ok(Found::NotMeant) => {}
            Ok(Found::Broken(why)) => return Verdict::Broken(format!("{}: {why}", example.title)),
            Err(setback) => {
                return Verdict::Broken(format!("{}: {}", example.title, chain(&setback)));
            }
        }
    }
    if holds {
        Verdict::Holds
    } else {
        Verdict::NotRun(not_run)
    }
}

async fn attempt(
    world: &World,
    remediation: &Arc<Remediation>,
    example: &Example,
    property: Property,
) -> Finding {
    if example.compliant && !matches!(property, Property::CheckTells | Property::RunsOnce) {
        return Ok(Found::NotMeant);
    }
    // Boxed: together they are too large for a thread's stack.
    match property {
        Property::CheckTells => Box::pin(check_tells(world, remediation, example)).await,
        Property::DryRunReads => Box::pin(dry_run_reads(world, remediation, example)).await,
        Property::Fixes => Box::pin(fixes(world, remediation, example)).await,
        Property::SendsThePlan => Box::pin(sends_the_plan(world, remediation, example)).await,
        Property::RunsOnce => Box::pin(runs_once(world, remediation, example)).await,
        Property::Undoes => Box::pin(undoes(world, remediation, example)).await,
        Property::Survives => Box::pin(survives(world, remediation, example)).await,
        Property::LeastPrivilege => Box::pin(least_privilege(world, remediation, example)).await,
        Property::RefusesStrangers => {
            Box::pin(refuses_strangers(world, remediation, example)).await
        }
        Property::DocumentsAgree => Box::pin(documents_agree(world, remediation, example)).await,
    }
}

async fn check_tells(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (_, case) = world.planted(remediation, example).await?;
    let found = case.before.compliant;
    hold!(
        found == example.compliant,
        "the check says compliant: {found}, the example {}",
        example.compliant
    );
    Ok(Found::Holds)
}

async fn dry_run_reads(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    plan(&stage, &case).await?;
    hold!(
        stage.tap.writes().is_empty(),
        "it sent {}",
        names(&stage.tap.writes())
    );
    let opened = stage.tap.opened();
    hold!(!opened.is_empty(), "it opened no session");
    hold!(
        opened
            .iter()
            .all(|scope| matches!(scope.access, Access::Read(_))),
        "it opened a session that may write"
    );
    let after = stage
        .look(remediation, &case.planted.misconfiguration)
        .await?;
    hold!(after == case.before, "the resource has changed");
    Ok(Found::Holds)
}

async fn fixes(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let (_, state) = stage.run(&case.event()).await?;
    hold!(state.status == Status::Success, "{}", ending(&state));
    let after = stage
        .look(remediation, &case.planted.misconfiguration)
        .await?;
    hold!(
        after.compliant,
        "the ledger says success, but the check fails: {}",
        after.state
    );
    let also = crate::also(&*stage.root(&world.account), example, &case.planted.scope).await?;
    hold!(
        also == case.also,
        "something else has changed: {:?}, was {:?}",
        also,
        case.also
    );
    Ok(Found::Holds)
}

async fn sends_the_plan(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let planned: Vec<Call> = plan(&stage, &case).await?.writes().cloned().collect();
    stage.tap.forget();
    stage.run(&case.event()).await?;
    let sent = stage.tap.writes();
    hold!(
        agree(&sent, &planned),
        "planned {}, sent {}",
        shown(&planned),
        shown(&sent)
    );
    Ok(Found::Holds)
}

async fn runs_once(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, mut case) = world.planted(remediation, example).await?;
    let (_, state) = stage.run(&case.event()).await?;
    let expected = if example.compliant {
        Status::NothingToDo
    } else {
        Status::Success
    };
    hold!(state.status == expected, "{}", ending(&state));
    stage.tap.forget();

    // The same delivery again is a duplicate; a later observation of the same is a new remediation.
    let again = stage.take(&stage.hub(), &case.event()).await?;
    hold!(
        again.admitted.is_empty() && again.duplicates.len() == 1,
        "the same event was admitted twice"
    );
    case.planted.misconfiguration.at = later(case.planted.misconfiguration.at);
    let (_, state) = stage.run(&case.event()).await?;
    hold!(
        state.status == Status::NothingToDo,
        "the second run: {}",
        ending(&state)
    );
    hold!(
        stage.tap.writes().is_empty(),
        "the second run sent {}",
        names(&stage.tap.writes())
    );
    Ok(Found::Holds)
}

async fn undoes(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    if let Undo::None { because } = &remediation.safety.undo {
        return Ok(Found::NotRun(format!("it has no undo: {because}")));
    }
    let (stage, case) = world.planted(remediation, example).await?;
    let (id, state) = stage.run(&case.event()).await?;
    hold!(state.status == Status::Success, "{}", ending(&state));
    let rollback = stage.hub().rollback(id, "a person", false, false).await?;
    hold!(
        rollback.status == Some(Status::Undone),
        "the rollback ended {:?}: {:?}",
        rollback.status,
        rollback.error
    );
    let after = stage
        .look(remediation, &case.planted.misconfiguration)
        .await?;
    hold!(
        after.state == case.before.state,
        "before {}, after undo {}",
        case.before.state,
        after.state
    );
    let also = crate::also(&*stage.root(&world.account), example, &case.planted.scope).await?;
    hold!(
        also == case.also,
        "something else has changed: {also:?}, was {:?}",
        case.also
    );
    Ok(Found::Holds)
}

/// What befalls one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    Refused,
    FailedUnseen,
    AnswerLost,
    KilledBefore,
    KilledAfter,
}

impl Mishap {
    const ALL: [Self; 5] = [
        Self::Refused,
        Self::FailedUnseen,
        Self::AnswerLost,
        Self::KilledBefore,
        Self::KilledAfter,
    ];

    fn fault(self, gate: &Arc<Gate>) -> Fault {
        match self {
            Self::Refused => Fault::Refuse {
                kind: CallErrorKind::Rejected,
                code: "InjectedFault",
            },
            Self::FailedUnseen => Fault::Refuse {
                kind: CallErrorKind::Server,
                code: "InternalError",
            },
            Self::AnswerLost => Fault::LoseAnswer(CallErrorKind::Unanswered),
            Self::KilledBefore => Fault::HoldRequest(Arc::clone(gate)),
            Self::KilledAfter => Fault::HoldAnswer(Arc::clone(gate)),
        }
    }
}

async fn survives(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let requests = plan(&stage, &case).await?.writes().count();
    for request in 0..requests {
        for mishap in Mishap::ALL {
            if let Found::Broken(why) =
                Box::pin(survives_one(world, remediation, example, request, mishap)).await?
            {
                return Ok(Found::Broken(format!(
                    "request {} {mishap:?}: {why}",
                    request + 1
                )));
            }
        }
    }
    Ok(Found::Holds)
}

async fn survives_one(
    world: &World,
    remediation: &Remediation,
    example: &Example,
    request: usize,
    mishap: Mishap,
) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let gate = Gate::closed();
    stage
        .tap
        .inject(Aim::at_write().after(request), mishap.fault(&gate));
    let hub = stage.hub();
    let id = stage.admit(&hub, &case.event()).await?;
    {
        // A run that is dropped where it stands is what a kill leaves behind.
        let run = pin!(stage.finish(&hub, id));
        let killed = pin!(gate.reached());
        if let Either::Left((ended, _)) = select(run, killed).await {
            ended?;
        }
    }
    stage.tap.clear_faults();
    // What the dead hub held, it holds no longer.
    stage.clock.skip(LEASE);
    let hub = stage.hub();
    let state = stage.finish(&hub, id).await?;
    let after = stage
        .look(remediation, &case.planted.misconfiguration)
        .await?;
    let restored = after.state == case.before.state;
    hold!(
        after.compliant || restored,
        "neither fixed nor restored, but {}",
        after.state
    );
    match state.status {
        Status::Success => hold!(
            after.compliant,
            "the ledger says success, but the check fails"
        ),
        Status::Failed | Status::Undone => hold!(
            restored,
            "the ledger says {}, but it is changed",
            state.status
        ),
        _ => hold!(false, "{}", ending(&state)),
    }
    let sent = stage.tap.writes();
    for (index, call) in sent.iter().enumerate() {
        let twice = sent.iter().skip(index + 1).any(|later| later == call);
        let may_repeat = matches!(
            mishap,
            Mishap::FailedUnseen | Mishap::Refused | Mishap::KilledBefore
        );
        hold!(!twice || may_repeat, "`{call}` was sent twice");
    }
    Ok(Found::Holds)
}

async fn least_privilege(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    if stage.maker == Maker::Moto {
        return Ok(Found::NotRun("moto enforces no IAM".to_owned()));
    }
    let (_, state) = stage.run(&case.event()).await?;
    hold!(state.status == Status::Success, "{}", ending(&state));
    let denied = stage
        .tap
        .seen()
        .into_iter()
        .find(|seen| seen.error == Some(CallErrorKind::Denied));
    hold!(
        denied.is_none(),
        "`{}` is denied",
        denied.map(|seen| seen.call.to_string()).unwrap_or_default()
    );
    let opened = stage.tap.opened();
    let policy = opened.iter().rev().find_map(|scope| match &scope.access {
        Access::Policy(policy) => Some(policy.clone()),
        Access::Read(_) => None,
    });
    let Some(policy) = policy else {
        return Ok(Found::Broken(
            "it opened no session with a policy".to_owned(),
        ));
    };
    for action in actions(&policy) {
        let (stage, case) = world.planted(remediation, example).await?;
        let sessions = Arc::new(Without {
            sessions: Arc::new(stage.tap.clone()),
            action: action.clone(),
        });
        let hub = stage.hub_with(sessions);
        let id = stage.admit(&hub, &case.event()).await?;
        stage.finish(&hub, id).await?;
        let denied = stage
            .tap
            .seen()
            .iter()
            .any(|seen| seen.error == Some(CallErrorKind::Denied));
        hold!(denied, "`{action}` is allowed, and not needed");
    }
    Ok(Found::Holds)
}

async fn refuses_strangers(world: &World, remediation: &Remediation, example: &Example) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let found = &case.planted.misconfiguration;
    if found.resource_type == "AwsAccount" {
        return Ok(Found::NotRun(
            "its resource is the account, which is always there".to_owned(),
        ));
    }
    // Where the fix is to delete, a resource that is not there is as it should be.
    let (_, state) = stage.run(&case.event()).await?;
    hold!(state.status == Status::Success, "{}", ending(&state));
    let deleted = stage.look(remediation, found).await.ok();

    let (stage, case) = world.planted(remediation, example).await?;
    let found = &case.planted.misconfiguration;
    // Another account's: the finding names an account that does not own the resource.
    let mut foreign = found.clone();
    foreign.account = world.other.clone();
    if let Some(broken) = left_alone(
        &stage,
        remediation,
        &foreign,
        deleted.as_ref(),
        "another account's",
    )
    .await?
    {
        return Ok(broken);
    }
    // Not there: an organization in which nothing was planted.
    let stage = world.empty(remediation, example).await?;
    if let Some(broken) = left_alone(
        &stage,
        remediation,
        found,
        deleted.as_ref(),
        "one that is not there",
    )
    .await?
    {
        return Ok(broken);
    }
    Ok(Found::Holds)
}

async fn left_alone(
    stage: &Stage<'_>,
    remediation: &Remediation,
    found: &Misconfiguration,
    deleted: Option<&Seen>,
    which: &str,
) -> Result<Option<Found>, Setback> {
    let broken = |why: String| Ok(Some(Found::Broken(format!("{which}: {why}"))));
    let hub = stage.hub();
    let taken = stage.take(&hub, &found.bytes()).await?;
    if let Some(id) = taken.admitted.first() {
        let state = stage.finish(&hub, *id).await?;
        let gone = state.status == Status::NothingToDo
            && stage.look(remediation, found).await.ok().as_ref() == deleted;
        if !gone && !matches!(state.status, Status::Failed | Status::Refused) {
            return broken(ending(&state));
        }
        if !gone && state.error.is_none() {
            return broken("it ended without an error that says why".to_owned());
        }
    } else if taken.buried.is_empty() {
        return broken(format!("neither admitted nor buried: {taken:?}"));
    }
    match stage.tap.writes() {
        none if none.is_empty() => Ok(None),
        writes => broken(format!("it sent {}", names(&writes))),
    }
}

async fn documents_agree(
    world: &World,
    remediation: &Arc<Remediation>,
    example: &Example,
) -> Finding {
    let export = match remediation.export(&world.models) {
        Ok(export) => export,
        Err(error) => return Ok(Found::Broken(chain(&error))),
    };
    let (stage, case) = world.planted(remediation, example).await?;
    let plan = plan(&stage, &case).await?;
    stage.tap.forget();
    let run = async |document, plan: &Plan, parameters: &Map<String, Value>| {
        let access = Access::Policy(
            plan.session_policy(&world.models)
                .map_err(|error| chain(&error))?,
        );
        let scope = Scope {
            account: plan.account.clone(),
            region: plan.region.clone(),
            session_name: "documents".to_owned(),
            access,
        };
        let member = Member {
            api: stage
                .tap
                .open(&scope)
                .await
                .map_err(|error| chain(&error))?,
            clock: Arc::clone(&stage.clock) as Arc<dyn Clock>,
            remediation: Arc::clone(remediation),
            models: Arc::clone(&world.models),
        };
        member.run(document, parameters, plan).await
    };
    let before = match run(export.remediation, &plan, &plan.parameters).await {
        Ok(before) => before,
        Err(error) => return Ok(Found::Broken(format!("the document failed: {error}"))),
    };
    let (sent, planned) = (
        stage.tap.writes(),
        plan.writes().cloned().collect::<Vec<_>>(),
    );
    hold!(
        agree(&sent, &planned),
        "planned {}, the document sent {}",
        shown(&planned),
        shown(&sent)
    );
    let found = &case.planted.misconfiguration;
    hold!(
        stage.look(remediation, found).await?.compliant,
        "after the document the check fails"
    );

    let Some(rollback) = export.rollback else {
        return Ok(Found::Holds);
    };
    let mut parameters = plan.parameters.clone();
    parameters.insert("Before".to_owned(), before);
    let undo = stage.undo_plan(remediation, &plan).await?;
    if let Err(error) = run(rollback, &undo, &parameters).await {
        return Ok(Found::Broken(format!(
            "the rollback document failed: {error}"
        )));
    }
    let after = stage.look(remediation, found).await?;
    hold!(
        after.state == case.before.state,
        "before {}, after the rollback {}",
        case.before.state,
        after.state
    );
    Ok(Found::Holds)
}

/// What a dry run shows.
async fn plan(stage: &Stage<'_>, case: &Case) -> Result<Plan, Setback> {
    let mut preview = stage.preview(&case.event()).await;
    let previewed = preview.findings.pop();
    let error = previewed
        .as_ref()
        .and_then(|previewed| previewed.error.clone());
    previewed
        .and_then(|previewed| previewed.plan)
        .ok_or_else(|| Setback::NotAdmitted(error.unwrap_or_else(|| format!("{preview:?}"))))
}

/// True if `sent` is `planned`, whose placeholders stand for whatever an earlier answer told.
fn agree(sent: &[Call], planned: &[Call]) -> bool {
    let one = |(sent, planned): (&Call, &Call)| {
        sent.service == planned.service
            && sent.operation == planned.operation
            && fits(&sent.params, &planned.params)
    };
    sent.len() == planned.len() && sent.iter().zip(planned).all(one)
}

fn fits(sent: &Value, planned: &Value) -> bool {
    match (sent, planned) {
        (_, Value::String(text)) if text.starts_with("{{") && text.ends_with("}}") => true,
        (Value::Array(sent), Value::Array(planned)) => {
            sent.len() == planned.len()
                && sent
                    .iter()
                    .zip(planned)
                    .all(|(sent, planned)| fits(sent, planned))
        }
        (Value::Object(sent), Value::Object(planned)) => {
            sent.len() == planned.len()
                && planned
                    .iter()
                    .all(|(name, planned)| sent.get(name).is_some_and(|sent| fits(sent, planned)))
        }
        _ => sent == planned,
    }
}

fn later(at: Timestamp) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(24))
        .unwrap_or(at)
}

fn ending(state: &State) -> String {
    format!(
        "it ended `{}`: {}",
        state.status,
        state.error.as_deref().unwrap_or("no error")
    )
}

fn names(calls: &[Call]) -> String {
    let names: Vec<String> = calls.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn shown(calls: &[Call]) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|call| format!("{call} {}", call.params))
        .collect();
    calls.join("; ")
}
