//! The ten properties, each tried on every example of a remediation.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    panic::resume_unwind,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use stanch_catalog::{Catalog, Example, Plan, Remediation, Undo};
use stanch_ledger::{State, Status};
use stanch_types::chain;
use stanch_types::{Access, AccountId, Call, CallErrorKind, Clock, Scope, Sessions};

use tokio::{runtime::Builder, time::timeout};

use super::{
    documents::Member,
    report::{Proof, Property, Row, Verdict},
    stage::{Case, LEASE, Setback, Stage, World, actions},
};
use crate::{
    Aim, Fault, Gate, Maker, Misconfiguration, Seen, choose,
    judge::{Judge, Law, Need, Ruling},
    stood_in,
};

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

/// Tries every property on every remediation of `catalog` whose name `chosen` accepts, with so many
/// workers, each with emulators of its own. `done` is told of each when it ends, and how long it took.
///
/// # Errors
/// There is no IAM simulator, or no worker can be started.
pub fn prove(
    catalog: &Arc<Catalog>,
    workers: usize,
    chosen: impl Fn(&str) -> bool,
    done: impl Fn(&Row, Duration) + Sync,
) -> Result<Proof, Setback> {
    let chosen: Vec<Arc<Remediation>> = catalog
        .iter()
        .filter(|remediation| chosen(&remediation.name))
        .collect();
    let judge = Arc::new(Judge::start()?);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Row)>, Setback> {
        let world = World::new(Arc::clone(catalog), Arc::clone(&judge))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut rows = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(remediation) = chosen.get(index) else {
                return Ok(rows);
            };
            let start = Instant::now();
            let row = runtime.block_on(prove_one(&world, remediation));
            done(&row, start.elapsed());
            rows.push((index, row));
        }
    };
    let rows = thread::scope(|scope| {
        let start = || {
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, work)
        };
        let started: Vec<_> = (0..workers).map(|_| start()).collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for worker in started {
            rows.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, Setback>(rows)
    });
    let mut rows = rows?;
    rows.sort_by_key(|(index, _)| *index);
    Ok(Proof {
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// How long one property of one example may take, in real time.
const PATIENCE: Duration = Duration::from_mins(5);

/// The properties' futures are large in a debug build.
const STACK: usize = 16 << 20;

async fn prove_one(world: &World, remediation: &Arc<Remediation>) -> Row {
    let mut verdicts = Vec::new();
    let used = Used::default();
    for property in Property::ALL {
        verdicts.push((property, judge(world, remediation, property, &used).await));
    }
    let examples = remediation.examples.iter();
    Row {
        stood_in: examples
            .clone()
            .flat_map(|example| stood_in(remediation, example))
            .collect(),
        remediation: remediation.name.clone(),
        played_by: examples
            .filter_map(|example| choose(remediation, example).ok())
            .collect(),
        verdicts,
    }
}

/// The IAM actions that were needed so far.
#[derive(Default)]
struct Used(RefCell<BTreeSet<String>>);

impl Used {
    fn add(&self, rulings: &[Ruling]) {
        let actions = rulings.iter().map(|ruling| ruling.need.action.clone());
        self.0.borrow_mut().extend(actions);
    }
}

/// Holds if it holds in at least one example and is broken in none.
async fn judge(
    world: &World,
    remediation: &Arc<Remediation>,
    property: Property,
    used: &Used,
) -> Verdict {
    let mut holds = false;
    let mut not_run = "all its examples are compliant".to_owned();
    for example in &remediation.examples {
        let on = choose(remediation, example).map_or("no emulator", Maker::title);
        let attempt = attempt(world, remediation, example, property, used);
        let found = timeout(PATIENCE, attempt).await.unwrap_or_else(|_| {
            let why = format!("not over after {} seconds of real time", PATIENCE.as_secs());
            Ok(Found::Broken(why))
        });
        match found {
            Ok(Found::Holds) => holds = true,
            Ok(Found::NotRun(why)) => not_run = why,
            Ok(Found::NotMeant) => {}
            Ok(Found::Broken(why)) => {
                return Verdict::Broken(format!("{} ({on}): {why}", example.title));
            }
            Err(setback) => {
                return Verdict::Broken(format!("{} ({on}): {}", example.title, chain(&setback)));
            }
        }
    }
    if !holds {
        return Verdict::NotRun(not_run);
    }
    match property {
        Property::LeastPrivilege => without_need(world, remediation, used),
        _ => Verdict::Holds,
    }
}

/// Every action that the member role has for a remediation is needed in some example.
fn without_need(world: &World, remediation: &Remediation, used: &Used) -> Verdict {
    let needed = match remediation.permissions(&world.models) {
        Ok(needed) => needed,
        Err(error) => return Verdict::Broken(chain(&error)),
    };
    let steps = remediation.apply.iter().chain(&remediation.undo);
    // What AWS asks for on behalf of a request does not show in any request.
    let besides: BTreeSet<&str> = steps
        .flat_map(|step| &step.allow)
        .map(|(action, _)| action.as_str())
        .collect();
    let used = used.0.borrow();
    let needless: Vec<&str> = needed
        .iter()
        .map(|permission| permission.action.as_str())
        .filter(|action| !used.contains(*action) && !besides.contains(action))
        .collect();
    if needless.is_empty() {
        Verdict::Holds
    } else {
        let needless = needless.join("`, `");
        Verdict::Broken(format!(
            "no example, fixed, interrupted and undone, needs `{needless}`: add one"
        ))
    }
}

async fn attempt(
    world: &World,
    remediation: &Arc<Remediation>,
    example: &Example,
    property: Property,
    used: &Used,
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
        Property::Survives => Box::pin(survives(world, remediation, example, used)).await,
        Property::LeastPrivilege => {
            Box::pin(least_privilege(world, remediation, example, used)).await
        }
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
    let plan = plan(&stage, &case).await?;
    stage.tap.forget();
    let (_, state) = stage.run(&case.event()).await?;
    // The finding was taken in later than it was previewed.
    let ran = state
        .plan
        .as_ref()
        .and_then(|planned| planned.plan.get("time"));
    let began = ran.and_then(Value::as_str).unwrap_or_default();
    let planned = plan.writes().map(|call| at_time(call, plan.time, began));
    let planned: Vec<Call> = planned.collect();
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
    let (stage, case) = world.planted(remediation, example).await?;
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
    let found = &case.planted.misconfiguration;
    let (_, state) = stage.run(&found.seen_again(later(found.at))).await?;
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
    let after = stage
        .look(remediation, &case.planted.misconfiguration)
        .await?;
    hold!(
        rollback.status == Some(Status::Undone),
        "the rollback ended {:?}: {:?}; before {}, now {}",
        rollback.status,
        rollback.error,
        case.before.state,
        after.state
    );
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

async fn survives(
    world: &World,
    remediation: &Remediation,
    example: &Example,
    used: &Used,
) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let requests = plan(&stage, &case).await?.writes().count();
    for request in 0..requests {
        for mishap in Mishap::ALL {
            if let Found::Broken(why) = Box::pin(survives_one(
                world,
                remediation,
                example,
                (request, mishap),
                used,
            ))
            .await?
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
    (request, mishap): (usize, Mishap),
    used: &Used,
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
    used.add(&stage.judged.rulings());
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
    let undo = state.undo.as_ref().map(|undo| undo.planned.plan.clone());
    let undo = undo.and_then(|plan| serde_json::from_value::<Plan>(plan).ok());
    // What the undo sends anew is meant: an instance that was stopped and started is stopped again.
    let meant = |call: &Call| {
        undo.iter()
            .flat_map(Plan::writes)
            .any(|known| known == call)
    };
    for (index, call) in sent.iter().enumerate() {
        let twice = sent.iter().skip(index + 1).any(|later| later == call) && !meant(call);
        let may_repeat = matches!(
            mishap,
            Mishap::FailedUnseen | Mishap::Refused | Mishap::KilledBefore
        );
        hold!(!twice || may_repeat, "`{call}` was sent twice");
    }
    Ok(Found::Holds)
}

async fn least_privilege(
    world: &World,
    remediation: &Remediation,
    example: &Example,
    used: &Used,
) -> Finding {
    let (stage, case) = world.planted(remediation, example).await?;
    let plan = plan(&stage, &case).await?;
    let (id, state) = stage.run(&case.event()).await?;
    used.add(&stage.judged.rulings());
    let seen = stage.tap.seen();
    let denied = seen
        .iter()
        .find(|seen| seen.error == Some(CallErrorKind::Denied));
    hold!(
        denied.is_none(),
        "`{}` is denied",
        denied.map(|seen| seen.call.to_string()).unwrap_or_default()
    );
    hold!(state.status == Status::Success, "{}", ending(&state));
    let opened = stage.tap.opened();
    let policy = opened.iter().rev().find_map(|scope| match &scope.access {
        Access::Policy(policy) => Some(policy),
        Access::Read(_) => None,
    });
    let Some(policy) = policy else {
        return Ok(Found::Broken(
            "it opened no session with a policy".to_owned(),
        ));
    };
    let session: Value = serde_json::from_str(policy).unwrap_or_default();
    let rulings: Vec<_> = stage.judged.rulings();
    let besides = plan.steps.iter().flat_map(|step| &step.allow);
    let mut needless = actions(&session);
    // What was read for the plan may be read again, and need not be there any more.
    for action in rulings.iter().map(|ruling| &ruling.need.action) {
        needless.remove(action);
    }
    let rulings: Vec<_> = rulings.iter().filter(|r| r.session == session).collect();
    // What AWS asks for on behalf of a request does not show in any request.
    for (action, _) in besides {
        needless.remove(action);
    }
    hold!(
        needless.is_empty(),
        "the session is allowed {needless:?}, which no request needs"
    );
    if let Some(broken) = neighbours(world, &plan, &session, &rulings)? {
        return Ok(broken);
    }
    if remediation.safety.undo == Undo::Exact {
        let rollback = stage.hub().rollback(id, "a person", false, false).await?;
        hold!(
            rollback.status == Some(Status::Undone),
            "the rollback ended {:?}: {:?}",
            rollback.status,
            rollback.error
        );
        used.add(&stage.judged.rulings());
    }
    Ok(Found::Holds)
}

/// A write that the session allows on another resource of the same kind.
fn neighbours(
    world: &World,
    plan: &Plan,
    session: &Value,
    rulings: &[&Ruling],
) -> Result<Option<Found>, Setback> {
    let law = Law {
        role: json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
        session: session.clone(),
        ..Law::default()
    };
    // Where the name of a resource is told only by an earlier answer, any name must be allowed.
    let unknown = |call: &Call| {
        let steps = plan
            .steps
            .iter()
            .filter_map(|step| Some((step, step.action.call()?)));
        let mut same = steps.filter(|(_, planned)| {
            (&planned.service, &planned.operation) == (&call.service, &call.operation)
        });
        same.any(|(step, planned)| {
            planned.params.to_string().contains("{{ ")
                || step.on.iter().any(|arn| arn.contains("{{ "))
        })
    };
    for ruling in rulings {
        let Need { action, resource } = &ruling.need;
        if resource == "*" || !crate::is_write(&ruling.call) {
            continue;
        }
        // A resource that does not exist yet has no name to be narrowed to, but an account has it.
        let new = resource.ends_with("any");
        let neighbour = if new || unknown(&ruling.call) {
            let account = |account: &AccountId| format!(":{account}:");
            resource.replacen(&account(&world.account), &account(&world.other), 1)
        } else {
            format!("{resource}0")
        };
        if neighbour == *resource {
            continue;
        }
        if world
            .judge
            .allows(&law, &world.account, action, &neighbour)?
        {
            return Ok(Some(Found::Broken(format!(
                "the session may also `{action}` on `{neighbour}`, a neighbour of `{resource}`; \
                 narrow it with `on`"
            ))));
        }
    }
    Ok(None)
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
            catalog: Arc::clone(&world.catalog),
            models: Arc::clone(&world.models),
        };
        member.run(document, parameters, plan).await
    };
    let (before, outputs) = match run(export.remediation, &plan, &plan.parameters).await {
        Ok(told) => told,
        Err(error) => return Ok(Found::Broken(format!("the document failed: {error}"))),
    };
    let Some(began) = began(&before) else {
        let why = format!("the document does not tell when it began: {before}");
        return Ok(Found::Broken(why));
    };
    let sent = stage.tap.writes();
    let planned: Vec<Call> = plan
        .writes()
        .map(|call| at_time(call, plan.time, &began))
        .collect();
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
    let undo = stage.undo_plan(remediation, &plan, &outputs).await?;
    parameters.insert("Before".to_owned(), before);
    parameters.insert("Outputs".to_owned(), outputs);
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

/// When a document read the clock, from what it saw before its change: one text, in pieces.
fn began(before: &Value) -> Option<String> {
    let pieces = before.as_array()?.iter().filter_map(Value::as_str);
    let seen: Value = serde_json::from_str(&pieces.collect::<String>()).ok()?;
    Some(seen.get("Time")?.as_str()?.to_owned())
}

/// A planned request as it is at another time.
fn at_time(call: &Call, time: Timestamp, other: &str) -> Call {
    let changed = call.params.to_string().replace(&time.to_string(), other);
    let params = serde_json::from_str(&changed).unwrap_or_else(|_| call.params.clone());
    Call {
        params,
        ..call.clone()
    }
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
