//! The transition function: what may follow on what.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use stanch_ledger::{
    ApprovalRequest, Consent, Cutover, Decided, Event, Ledger, Means, MemoryLedger, Need, Phase,
    Record, State, Status, StepOutcome, Verdict,
    testing::{
        NOON, decided, finished, key, noon_and, planned, received, rollback, started,
        step_finished, step_started, success, undo_planned, verified,
    },
};
use stanch_types::CallErrorKind;

fn need(role: &str, count: u32, people: &[&str]) -> Need {
    Need {
        role: role.to_owned(),
        count,
        people: people.iter().map(|person| (*person).to_owned()).collect(),
    }
}

fn asked_for(needs: Vec<Need>, step: Option<u32>) -> Event {
    Event::ApprovalRequested(Box::new(ApprovalRequest {
        plan_hash: "plan-1".to_owned(),
        expires: noon_and(1_000),
        nonce: "n".to_owned(),
        needs,
        cutover: step.map(|step| Cutover {
            step,
            message: "Change names?".to_owned(),
            observed: json!({}),
        }),
        changed: None,
    }))
}

fn asked() -> Event {
    asked_for(vec![need("security", 1, &["alice"])], None)
}

fn asked_midway() -> Event {
    asked_for(vec![need("security", 1, &["alice"])], Some(1))
}

fn consent(by: &str, role: &str, plan_hash: &str) -> Event {
    Event::Approved(Consent {
        by: by.to_owned(),
        role: role.to_owned(),
        plan_hash: plan_hash.to_owned(),
        how: Means::Cli,
    })
}

fn approved(plan_hash: &str) -> Event {
    consent("alice", "security", plan_hash)
}

fn lapsed() -> Event {
    Event::ApprovalLapsed {
        reason: "nobody approved it in time".to_owned(),
    }
}

fn rejected() -> Event {
    Event::Rejected {
        by: "bob".to_owned(),
        plan_hash: "plan-1".to_owned(),
        reason: "not on a Friday".to_owned(),
        how: Means::Cli,
    }
}

fn voided() -> Event {
    Event::ApprovalVoided {
        reason: "the resource has changed".to_owned(),
    }
}

fn denied() -> StepOutcome {
    StepOutcome::Failed {
        kind: CallErrorKind::Denied,
        code: "AccessDenied".to_owned(),
        message: "no".to_owned(),
    }
}

/// The state after `events`, a millisecond apart, or the last one's refusal.
fn run(events: &[Event]) -> Result<State, String> {
    let mut state = State::admitted(received(1), NOON);
    for (number, event) in (1..).zip(events) {
        let last = number == events.len() as u64;
        state = match state.apply(event, noon_and(number)) {
            Ok(state) => state,
            Err(error) if last => return Err(error.to_string()),
            Err(error) => panic!("only the last event may be illegal: {error}"),
        };
    }
    Ok(state)
}

#[track_caller]
fn reaches(status: Status, events: &[Event]) -> State {
    let state = run(events).unwrap();
    assert_eq!(state.status, status);
    state
}

#[track_caller]
fn refuses(reason: &str, events: &[Event]) {
    let error = run(events).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

fn up_to(count: usize, more: &[Event]) -> Vec<Event> {
    success()[..count].iter().chain(more).cloned().collect()
}

#[test]
fn a_status_is_written_as_it_is_named() {
    for status in Status::ALL {
        let name = format!("{status:?}");
        assert_eq!(status.as_str(), name);
        assert_eq!(format!("{status:>20}"), format!("{name:>20}"));
        let waits = matches!(status, Status::AwaitingApproval | Status::Deferred);
        assert_eq!(status.waits(), waits, "{status}");
        assert!(!(waits && status.is_final()), "{status}");
    }
}

#[test]
fn a_status_tells_whether_a_change_worked() {
    let (none, begun) = (
        reaches(Status::Planned, &success()[..1]),
        reaches(Status::Running, &success()[..3]),
    );
    for status in Status::ALL {
        let told = match status {
            Status::Success => [Some(true); 2],
            Status::Failed | Status::UndoFailed => [Some(false); 2],
            // By a person, or because it had failed.
            Status::Undone => [Some(true), Some(false)],
            _ => [None; 2],
        };
        for (error, told) in [None, Some("no".to_owned())].into_iter().zip(told) {
            for (state, told) in [(&begun, told), (&none, None)] {
                let state = State {
                    status,
                    error: error.clone(),
                    ..state.clone()
                };
                assert_eq!(state.worked(), told);
                let row = Record::project(key(1).remediation_id(), &state, 3, NOON);
                assert_eq!(row.worked(), told);
            }
        }
    }
}

#[test]
fn a_finding_is_fixed_and_put_back() {
    reaches(Status::Success, &success());
    let state = reaches(Status::Undone, &[success(), rollback()].concat());
    assert_eq!(state.error, None);
    assert!(state.run.unwrap().may_have_changed());
}

#[test]
fn a_decision_says_until_when_and_why() {
    let until = noon_and(60_000);
    let deferred = decided(Verdict::Defer { until });
    for before in [&[][..], &[planned(false)]] {
        let state = reaches(
            Status::Deferred,
            &[before, std::slice::from_ref(&deferred)].concat(),
        );
        assert_eq!((state.deferred_until, state.error), (Some(until), None));
        // Its time comes, and it is planned anew.
        let again = [before, &[deferred.clone(), planned(false)]].concat();
        reaches(Status::Planned, &again);
        let state = reaches(
            Status::Refused,
            &[before, &[decided(Verdict::Refuse)]].concat(),
        );
        assert_eq!(state.error.as_deref(), Some("because"));
    }
    let state = reaches(Status::Ready, &[planned(false), decided(Verdict::Run)]);
    assert_eq!(state.error, None);
}

#[test]
fn nothing_runs_without_a_decision() {
    let start = Event::Started(started(1));
    refuses(
        "nothing runs without a decision",
        std::slice::from_ref(&start),
    );
    refuses(
        "nothing runs without a decision",
        &[planned(false), start.clone()],
    );
    refuses("there is no plan", &[decided(Verdict::Run)]);
    refuses(
        "nothing runs without a decision",
        &[planned(false), decided(Verdict::Refuse), start.clone()],
    );
    // A new plan needs a new decision.
    let again = [planned(false), decided(Verdict::Run), planned(false), start];
    refuses("nothing runs without a decision", &again);
    refuses("no executor", &up_to(2, &[step_started(Phase::Apply, 0)]));
}

#[test]
fn an_approval_is_for_one_plan_and_one_time() {
    let wanted = [planned(false), decided(Verdict::NeedsApproval), asked()];
    let then = |more: &[Event]| [&wanted, more].concat();
    let start = Event::Started(started(1));
    reaches(Status::AwaitingApproval, &wanted);
    reaches(Status::Running, &then(&[approved("plan-1"), start.clone()]));
    refuses("another plan", &then(&[approved("plan-2")]));
    refuses("nothing runs", &then(std::slice::from_ref(&start)));
    refuses(
        "no approval was asked for",
        &[&wanted[..2], &[approved("plan-1")]].concat(),
    );
    refuses(
        "no approval was asked for",
        &then(&[approved("plan-1"), approved("plan-1")]),
    );
    refuses("voided first", &then(&[planned(false)]));
    refuses("voided first", &then(&[approved("plan-1"), planned(false)]));
    let state = reaches(Status::Planned, &then(&[approved("plan-1"), voided()]));
    assert_eq!((state.approval, state.decision), (None, None));
    refuses(
        "nothing runs",
        &then(&[approved("plan-1"), voided(), start.clone()]),
    );
    let state = reaches(Status::Refused, &then(&[rejected()]));
    assert_eq!(state.error.unwrap(), "rejected by bob: not on a Friday");

    let state = run(&wanted).unwrap();
    let late = state.clone().apply(&approved("plan-1"), noon_and(1_000));
    assert!(
        late.unwrap_err()
            .to_string()
            .contains("time to approve has passed")
    );
    let state = state.apply(&approved("plan-1"), noon_and(999)).unwrap();
    let late = state.apply(&start, noon_and(1_000));
    assert!(late.unwrap_err().to_string().contains("expired"));
}

#[test]
fn an_empty_approver_list_means_nobody() {
    let wanted = [planned(false), decided(Verdict::NeedsApproval)];
    let asks = |needs: &[Need]| [&wanted[..], &[asked_for(needs.to_vec(), None)]].concat();
    let few = "not enough people";
    refuses(few, &asks(&[]));
    refuses(few, &asks(&[need("security", 1, &[])]));
    refuses(few, &asks(&[need("security", 0, &["alice"])]));
    refuses(few, &asks(&[need("security", 2, &["alice", "Alice"])]));
    refuses(
        few,
        &asks(&[need("a", 1, &["alice"]), need("b", 1, &["alice"])]),
    );
}

#[test]
fn each_approves_once_and_in_one_role() {
    let needs = vec![
        need("security", 2, &["alice", "bob", "carol"]),
        need("owners", 1, &["carol", "dave", &received(1).requester]),
    ];
    let wanted = [
        planned(false),
        decided(Verdict::NeedsApproval),
        asked_for(needs, None),
    ];
    let then = |more: &[Event]| [&wanted, more].concat();
    let yes = |by, role| consent(by, role, "plan-1");
    let two = [yes("alice", "security"), yes("dave", "owners")];
    reaches(Status::AwaitingApproval, &then(&two));
    reaches(
        Status::Ready,
        &then(&[two.to_vec(), vec![yes("bob", "security")]].concat()),
    );
    let again = [two.to_vec(), vec![yes("ALICE", "security")]].concat();
    refuses("already", &then(&again));
    let other_role = [yes("carol", "security"), yes("carol", "owners")];
    refuses("already", &then(&other_role));
    refuses("not asked in this role", &then(&[yes("alice", "owners")]));
    refuses("not asked in this role", &then(&[yes("eve", "security")]));
    let full = [two.to_vec(), vec![yes("carol", "owners")]].concat();
    refuses("not asked in this role", &then(&full));
    let own = yes(&received(1).requester.to_uppercase(), "owners");
    refuses("their own request", &then(&[own]));
    let state = reaches(
        Status::Refused,
        &then(&[two.to_vec(), vec![lapsed()]].concat()),
    );
    assert_eq!(state.error.unwrap(), "nobody approved it in time");
    let link = |by: &str| {
        Event::Approved(Consent {
            by: by.to_owned(),
            role: "security".to_owned(),
            plan_hash: "plan-1".to_owned(),
            how: Means::Link("digest".to_owned()),
        })
    };
    refuses("used already", &then(&[link("alice"), link("bob")]));
}

#[test]
fn a_run_waits_for_people_and_goes_on_or_back() {
    let done = up_to(5, &[]);
    let then = |more: &[Event]| [&done[..], more].concat();
    let on = Event::Started(started(2));
    let state = reaches(Status::AwaitingApproval, &then(&[asked_midway()]));
    assert_eq!(state.run.unwrap().steps.len(), 1);
    let state = reaches(
        Status::Running,
        &then(&[asked_midway(), approved("plan-1"), on.clone()]),
    );
    assert_eq!(state.approved.len(), 1);
    assert_eq!(state.run.unwrap().passed, [1]);
    // Nothing is sent, and nothing ends, while it waits.
    let waiting = |event: Event| then(&[asked_midway(), event]);
    refuses("nothing runs", &waiting(on.clone()));
    refuses("no executor", &waiting(step_started(Phase::Apply, 1)));
    refuses("cannot end like that", &waiting(finished(Status::Failed)));
    refuses("no change to verify", &waiting(verified(true)));
    refuses("nothing to take back", &waiting(undo_planned()));
    refuses("asked for once", &waiting(asked_midway()));
    let passed = [
        asked_midway(),
        approved("plan-1"),
        on.clone(),
        asked_midway(),
    ];
    refuses("approved already", &then(&passed));
    refuses("in flight", &up_to(4, &[asked_midway()]));
    for no in [rejected(), lapsed()] {
        let state = reaches(Status::Running, &waiting(no.clone()));
        assert!(state.run.unwrap().refused.is_some());
        refuses("said no", &then(&[asked_midway(), no.clone(), on.clone()]));
        refuses(
            "said no",
            &then(&[asked_midway(), no.clone(), asked_midway()]),
        );
        let back = [&[asked_midway(), no][..], &rollback()].concat();
        reaches(Status::Undone, &then(&back));
    }
    // An approval that was given is void when the resource has changed since.
    let again = [
        asked_midway(),
        approved("plan-1"),
        voided(),
        asked_midway(),
        approved("plan-1"),
    ];
    reaches(Status::Running, &then(&again));
    let state = run(&then(&[asked_midway(), approved("plan-1")])).unwrap();
    let late = state.apply(&on, noon_and(1_000)).unwrap_err();
    assert!(late.to_string().contains("expired"), "{late}");
}

#[test]
fn a_request_is_never_sent_twice_blindly() {
    let begin = step_started(Phase::Apply, 0);
    refuses("in flight", &up_to(4, &[step_started(Phase::Apply, 1)]));
    refuses(
        "carried out already",
        &up_to(5, std::slice::from_ref(&begin)),
    );
    // After a crash: the executor comes back, and says what it knows of the request.
    let back = Event::Started(started(2));
    let unknown = step_finished(Phase::Apply, 0, StepOutcome::Unknown);
    refuses("in flight", &up_to(4, &[back.clone(), begin.clone()]));
    let state = reaches(
        Status::Running,
        &up_to(4, &[back.clone(), unknown.clone(), begin.clone()]),
    );
    assert_eq!(state.run.unwrap().steps.len(), 2);
    refuses("one more", &up_to(4, &[Event::Started(started(1))]));
    refuses("not in flight", &up_to(3, std::slice::from_ref(&unknown)));
    let other = step_finished(Phase::Apply, 1, StepOutcome::Ok);
    refuses("not in flight", &up_to(4, &[other]));
    refuses("in flight", &up_to(4, &[verified(true)]));
    refuses("in flight", &up_to(4, &[finished(Status::Failed)]));
    refuses("in flight", &up_to(4, &[undo_planned()]));
    refuses("no executor", &up_to(3, &[step_started(Phase::Undo, 0)]));
}

#[test]
fn success_is_a_check_that_says_so() {
    refuses(
        "compliant",
        &up_to(5, &[verified(false), finished(Status::Success)]),
    );
    refuses(
        "cannot end like that",
        &up_to(5, &[finished(Status::Success)]),
    );
    reaches(
        Status::Success,
        &up_to(
            5,
            &[verified(false), verified(true), finished(Status::Success)],
        ),
    );
    reaches(
        Status::NothingToDo,
        &[planned(true), finished(Status::NothingToDo)],
    );
    refuses(
        "not compliant",
        &[planned(false), finished(Status::NothingToDo)],
    );
    for status in Status::ALL {
        if !status.is_final() {
            refuses("cannot end like that", &up_to(5, &[finished(status)]));
        }
    }
}

#[test]
fn a_failed_change_is_taken_back() {
    let failed = [
        up_to(4, &[step_finished(Phase::Apply, 0, denied())]),
        rollback(),
    ]
    .concat();
    let state = reaches(Status::Undone, &failed);
    assert_eq!(state.error.as_deref(), Some("someone asked"));
    let record = Record::project(key(1).remediation_id(), &state, 1, NOON);
    assert_eq!(record.execution_status.as_str(), "Failed");
    assert!(!state.run.unwrap().may_have_changed());
    let failed = Event::UndoFailed {
        error: "drift".to_owned(),
        observed: json!(null),
    };
    let stuck = [success(), vec![undo_planned(), failed.clone()]].concat();
    reaches(Status::UndoFailed, &stuck);
    reaches(Status::Undone, &[stuck, rollback()].concat());
    // No way back could be planned: that is the same to people, as far as something may have been changed.
    let stuck = up_to(5, std::slice::from_ref(&failed));
    assert_eq!(reaches(Status::UndoFailed, &stuck).undo, None);
    reaches(Status::Undone, &[stuck, rollback()].concat());
    reaches(
        Status::UndoFailed,
        &up_to(5, &[verified(false), failed.clone()]),
    );
    refuses("no undo", &up_to(3, std::slice::from_ref(&failed)));
    let denied = step_finished(Phase::Apply, 0, denied());
    refuses("no undo", &up_to(4, &[denied, failed.clone()]));
    refuses("in flight", &up_to(4, std::slice::from_ref(&failed)));
    refuses("no undo", &[success(), vec![failed]].concat());
    refuses("nothing to take back", &[planned(false), undo_planned()]);
    refuses(
        "nothing was started",
        &[finished(Status::Failed), undo_planned()],
    );
    refuses(
        "nothing to take back",
        &[success(), rollback(), vec![undo_planned()]].concat(),
    );
}

#[test]
fn an_undo_is_planned_again_until_it_has_begun() {
    let again = [success(), vec![undo_planned(), undo_planned()]].concat();
    let state = reaches(Status::Undoing, &again);
    assert_eq!(state.undo.unwrap().from, Status::Success);
    let begun = [success(), rollback()[..2].to_vec(), vec![undo_planned()]].concat();
    refuses("nothing to take back", &begun);
    // While people are asked about it, it is voided first.
    let asked = [success(), undo_asked(), vec![undo_planned()]].concat();
    refuses("nothing to take back", &asked);
}

#[test]
fn each_attempt_at_an_undo_counts_one_more() {
    let begun = [success(), rollback()[..2].to_vec()].concat();
    let then = |attempt| [&begun[..], &[Event::UndoStarted(started(attempt))]].concat();
    refuses("one more", &then(0));
    refuses("one more", &then(1));
    let state = reaches(Status::Undoing, &then(2));
    assert_eq!(state.undo.unwrap().run.unwrap().started.attempt, 2);
}

#[test]
fn only_what_has_ended_expires() {
    let expired = Event::Expired {
        by: "retention".to_owned(),
        reason: "90 days".to_owned(),
        outcome: None,
    };
    refuses("has not ended", &up_to(5, std::slice::from_ref(&expired)));
    let state = reaches(Status::Success, &[success(), vec![expired]].concat());
    assert!(state.expired);
}

#[test]
fn who_was_told_stays_told() {
    let told = |ok| Event::Notified {
        channel: "c".to_owned(),
        ok,
        error: None,
        asked: Vec::new(),
    };
    for (events, notified) in [
        (vec![told(false)], false),
        (vec![told(true)], true),
        (vec![told(true), told(false)], true),
        (vec![told(false), told(true)], true),
    ] {
        assert_eq!(run(&events).unwrap().notified, notified, "{events:?}");
    }
}

#[test]
fn who_was_not_asked_cannot_answer() {
    for before in [
        vec![planned(false)],
        up_to(2, &[]),
        up_to(5, &[]),
        success(),
    ] {
        for (answer, reason) in [
            (rejected(), "no approval was asked for"),
            (lapsed(), "no approval was asked for"),
            (voided(), "no approval to void"),
        ] {
            refuses(reason, &[&before[..], &[answer]].concat());
        }
    }
}

fn paused() -> Event {
    Event::Paused {
        reason: "alice paused everything".to_owned(),
    }
}

#[test]
fn a_pause_stops_between_requests_and_what_stood_still_goes_on_from_there() {
    for (stood, before) in [
        (Status::Ready, up_to(2, &[])),
        (Status::Running, up_to(5, &[])),
        (Status::Verifying, up_to(5, &[verified(false)])),
        (Status::Undoing, up_to(5, &[undo_planned()])),
    ] {
        let stopped = [before, vec![paused()]].concat();
        let state = reaches(Status::Paused, &stopped);
        assert_eq!(state.paused.unwrap().0, stood);
        let state = reaches(stood, &[stopped.clone(), vec![Event::Resumed]].concat());
        assert_eq!(state.paused, None);
        let step = step_started(Phase::Apply, 1);
        refuses("no executor", &[stopped.clone(), vec![step]].concat());
        refuses("nothing is about", &[stopped, vec![paused()]].concat());
    }
    refuses("in flight", &up_to(4, &[paused()]));
    refuses("nothing is about", &[paused()]);
    refuses("not paused", &up_to(5, &[Event::Resumed]));
    // Standing still, it may be turned back instead.
    let back = [paused(), undo_planned()];
    let state = reaches(Status::Undoing, &up_to(5, &back));
    assert_eq!(state.undo.unwrap().from, Status::Running);
    refuses("nothing to take back", &up_to(2, &back));
}

/// An undo that has to be approved.
fn undo_asked() -> Vec<Event> {
    let Event::UndoPlanned(mut planned) = undo_planned() else {
        unreachable!()
    };
    planned.decision = Some(Decided {
        verdict: Verdict::NeedsApproval,
        reasons: vec!["somebody else has changed it".to_owned()],
        by: "guard".to_owned(),
        rules: String::new(),
        policies: Vec::new(),
        urgent: false,
    });
    let Event::ApprovalRequested(mut asked) =
        asked_for(vec![need("security", 1, &["carol"])], None)
    else {
        unreachable!()
    };
    asked.plan_hash.clone_from(&planned.plan_hash);
    vec![Event::UndoPlanned(planned), Event::ApprovalRequested(asked)]
}

#[test]
fn an_undo_can_need_an_approval_of_its_own() {
    let then = |more: &[Event]| [&success(), &undo_asked()[..], more].concat();
    let yes = || consent("carol", "security", "undo-1");
    let state = reaches(Status::AwaitingApproval, &then(&[]));
    assert_eq!(state.requester(), "alice");
    refuses(
        "another plan",
        &then(&[consent("carol", "security", "plan-1")]),
    );
    let own = consent("alice", "security", "undo-1");
    refuses("their own request", &then(&[own]));
    refuses(
        "no undo is planned",
        &then(&[Event::UndoStarted(started(1))]),
    );
    let late = run(&then(&[])).unwrap();
    assert!(late.apply(&yes(), noon_and(1_000)).is_err());
    let state = reaches(Status::Undoing, &then(&[yes()]));
    let late = state.apply(&Event::UndoStarted(started(1)), noon_and(1_000));
    assert!(late.unwrap_err().to_string().contains("expired"));
    let undone = [&[yes()], &rollback()[1..]].concat();
    reaches(Status::Undone, &then(&undone));
    // Without it the remediation stays what it was.
    refuses("cannot end like that", &then(&[finished(Status::Refused)]));
    let no = Event::Rejected {
        by: "bob".to_owned(),
        plan_hash: "undo-1".to_owned(),
        reason: String::new(),
        how: Means::Cli,
    };
    let void = Event::UndoVoided {
        reason: "nobody approved it in time".to_owned(),
    };
    for end in [no, void.clone(), lapsed()] {
        let state = reaches(Status::Success, &then(&[end]));
        assert_eq!(
            (state.undo, state.approval, state.error),
            (None, None, None)
        );
    }
    refuses("no undo waits", &[success(), vec![void.clone()]].concat());
    let begun = [rollback()[..3].to_vec(), vec![void]].concat();
    refuses("no undo waits", &[success(), begun].concat());
}

/// An undo that the guard allows only later.
fn undo_deferred() -> Event {
    let Event::UndoPlanned(mut planned) = undo_planned() else {
        unreachable!()
    };
    let Event::Decided(defer) = decided(Verdict::Defer { until: noon_and(9) }) else {
        unreachable!()
    };
    planned.decision = Some(defer);
    Event::UndoPlanned(planned)
}

#[test]
fn an_undo_can_wait_for_its_time() {
    let then = |more: &[Event]| [&success(), &[undo_deferred()][..], more].concat();
    let state = reaches(Status::Deferred, &then(&[]));
    assert!(state.is_put_off());
    assert_eq!(state.deferred_until, Some(noon_and(9)));
    assert_eq!(state.requester(), "alice");
    // It is planned again, and not the change.
    refuses("it is the undo", &then(&[planned(false)]));
    refuses("cannot end like that", &then(&[finished(Status::Failed)]));
    refuses(
        "no undo is planned",
        &then(&[Event::UndoStarted(started(1))]),
    );
    refuses("no approval", &then(&[approved("undo-1")]));
    let state = reaches(Status::Undoing, &then(&[undo_planned()]));
    assert_eq!(state.deferred_until, None);
    assert_eq!(state.undo.unwrap().from, Status::Success);
    reaches(Status::Deferred, &then(&[undo_deferred()]));
    reaches(Status::AwaitingApproval, &then(&undo_asked()));
    reaches(Status::Undone, &then(&rollback()));

    let no = |plan_hash: &str| Event::Rejected {
        by: "bob".to_owned(),
        plan_hash: plan_hash.to_owned(),
        reason: String::new(),
        how: Means::Cli,
    };
    let void = Event::UndoVoided {
        reason: "the resource has changed".to_owned(),
    };
    for end in [no("undo-1"), void] {
        let state = reaches(Status::Success, &then(&[end]));
        assert_eq!((state.undo, state.deferred_until), (None, None));
    }
    refuses("another plan", &then(&[no("plan-1")]));
    let deferred = [planned(false), decided(Verdict::Defer { until: NOON })];
    let rejected = [&deferred[..], &[no("plan-1")]].concat();
    refuses("no approval was asked for", &rejected);

    // A run that stands half-way does not go on meanwhile.
    let half_way = up_to(5, &[paused(), undo_deferred()]);
    let state = reaches(Status::Deferred, &half_way);
    assert_eq!(state.paused, None);
    let failed = Event::UndoFailed {
        error: "drift".to_owned(),
        observed: json!(null),
    };
    let state = reaches(Status::UndoFailed, &[half_way, vec![failed]].concat());
    assert_eq!(state.deferred_until, None);
}

/// What others have changed since an undo failed is told by what was read then, however long the next one
/// waits.
#[test]
fn what_was_read_when_an_undo_failed_is_known_until_the_next_has_ended() {
    let failed = Event::UndoFailed {
        error: "denied".to_owned(),
        observed: json!("half"),
    };
    let again = [success(), vec![undo_planned(), failed, undo_deferred()]].concat();
    let state = reaches(Status::Deferred, &again);
    assert_eq!(state.undo.unwrap().observed, json!("half"));
}

#[test]
fn what_was_undone_can_be_done_again() {
    let undone = [success(), rollback()].concat();
    let again = [undone, success(), rollback()].concat();
    let state = reaches(Status::Undone, &again);
    assert_eq!(state.run.unwrap().steps.len(), 1);
    let once = [success(), rollback(), vec![planned(false)]].concat();
    let state = reaches(Status::Planned, &once);
    assert_eq!((state.run, state.undo, state.verified), (None, None, None));
    let blind = [once, vec![Event::Started(started(1))]].concat();
    refuses("nothing runs without a decision", &blind);
}

#[test]
fn a_record_has_the_names_of_the_audit_log() {
    let state = run(&success()).unwrap();
    let record = Record::project(key(1).remediation_id(), &state, 8, noon_and(7));
    let json = serde_json::to_value(&record).unwrap();
    for (name, value) in [
        ("RemediationId", json!(key(1).remediation_id())),
        ("Timestamp", json!(NOON.as_millisecond())),
        ("FindingId", json!(received(1).finding_id)),
        ("AccountId", json!("000000000001")),
        ("ResourceType", json!("AwsS3Bucket")),
        ("ResourceId", json!("arn:aws:s3:::bucket-1")),
        ("RemediationType", json!("Automatic")),
        ("RemediationAction", json!("S3BlockPublicAccess")),
        ("ExecutionStatus", json!("Success")),
        ("ExecutorArn", json!(started(1).executor_arn)),
        ("ExecutionDuration", json!(250)),
        ("NotificationSent", json!(false)),
        ("Status", json!("Success")),
    ] {
        assert_eq!(json[name], value, "{name}");
    }
    assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    let failed = run(&[finished(Status::Failed)]).unwrap();
    let record = Record::project(key(1).remediation_id(), &failed, 2, NOON);
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["ErrorMessage"], "it failed");
    assert_eq!(json["ExecutionStatus"], "Failed");
}

pub fn any_event() -> impl Strategy<Value = Event> {
    let phase = prop_oneof![Just(Phase::Apply), Just(Phase::Undo)];
    let outcome = prop_oneof![
        Just(StepOutcome::Ok),
        Just(denied()),
        Just(StepOutcome::Unknown)
    ];
    prop_oneof![
        1 => Just(Event::Received((*received(1)).clone().into())),
        3 => any::<bool>().prop_map(planned),
        3 => prop_oneof![
            4 => Just(Verdict::Run),
            1 => Just(Verdict::Refuse),
            2 => Just(Verdict::NeedsApproval),
            1 => Just(Verdict::Defer { until: noon_and(9) }),
        ].prop_map(decided),
        2 => Just(asked()),
        2 => prop_oneof![Just("plan-1"), Just("plan-2"), Just("undo-1")].prop_map(approved),
        1 => Just(consent("carol", "security", "undo-1")),
        1 => Just(rejected()),
        1 => Just(voided()),
        1 => Just(lapsed()),
        2 => Just(asked_midway()),
        3 => (1..4u32).prop_map(|attempt| Event::Started(started(attempt))),
        5 => (phase.clone(), 0..3u32).prop_map(|(phase, index)| step_started(phase, index)),
        5 => (phase, 0..3u32, outcome).prop_map(|(phase, index, outcome)| step_finished(phase, index, outcome)),
        3 => any::<bool>().prop_map(verified),
        2 => prop::sample::select(Status::ALL.to_vec()).prop_map(finished),
        3 => Just(undo_planned()),
        1 => Just(undo_asked().remove(0)),
        2 => Just(undo_asked().remove(1)),
        1 => Just(undo_deferred()),
        2 => Just(paused()),
        2 => Just(Event::Resumed),
        1 => Just(Event::UndoVoided { reason: "drift".to_owned() }),
        3 => (1..4u32).prop_map(|attempt| Event::UndoStarted(started(attempt))),
        1 => Just(Event::Undone { observed: json!(null) }),
        1 => Just(Event::UndoFailed { error: "drift".to_owned(), observed: json!(null) }),
        1 => Just(Event::Expired { by: "retention".to_owned(), reason: "90 days".to_owned(), outcome: None }),
        1 => any::<bool>().prop_map(|ok| Event::Notified { channel: "c".to_owned(), ok, error: None, asked: vec!["alice".to_owned()] }),
    ]
}

/// What holds in every state, however it was reached.
fn invariants(state: &State) {
    let ran = state.run.as_ref();
    if ran.is_some() {
        assert!(state.plan.is_some() && state.decision.is_some());
        let run = state.decision.as_ref().unwrap().decided.verdict == Verdict::Run;
        let approved = state
            .approved
            .iter()
            .any(stanch_ledger::Approval::is_complete);
        assert!(run || approved, "it ran because someone let it");
    }
    if let Some(approval) = &state.approval {
        let undo = state.undo.as_ref().map(|undo| &undo.planned.plan_hash);
        let next = undo.unwrap_or(&state.plan.as_ref().unwrap().plan_hash);
        assert_eq!(
            approval.request.plan_hash, *next,
            "an approval is for what is done next"
        );
        for (consent, _) in &approval.given {
            assert!(!stanch_ledger::same_person(&consent.by, state.requester()));
        }
    }
    assert_eq!(state.status == Status::Paused, state.paused.is_some());
    for run in [ran, state.undo.as_ref().and_then(|undo| undo.run.as_ref())]
        .into_iter()
        .flatten()
    {
        let (last, before) = match run.steps.split_last() {
            Some((last, before)) => (Some(last), before),
            None => (None, &run.steps[..]),
        };
        assert!(before.iter().all(|step| step.outcome.is_some()));
        for index in 0..3 {
            let ok = |step: &&stanch_ledger::Step| {
                step.index == index && step.outcome == Some(StepOutcome::Ok)
            };
            assert!(run.steps.iter().filter(ok).count() <= 1, "carried out once");
        }
        if state.status.is_final() {
            assert!(last.is_none_or(|step| step.outcome.is_some()));
        }
    }
    match state.status {
        Status::Success => assert!(state.verified.as_ref().unwrap().compliant),
        Status::NothingToDo => assert!(state.plan.as_ref().unwrap().compliant && ran.is_none()),
        Status::Refused | Status::Skipped => assert!(ran.is_none()),
        Status::Undone => assert!(state.undo.is_some() && ran.is_some()),
        // Another undo may have been planned since, and voided.
        Status::UndoFailed => assert!(ran.is_some()),
        Status::Deferred => assert!(state.deferred_until.is_some()),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Total, without panics; what is illegal leaves no trace; what is final stays so; and what was
    /// stored folds to what was lived.
    #[test]
    fn any_sequence_of_events(events in prop::collection::vec(any_event(), 0..80)) {
        let ledger = MemoryLedger::new();
        let id = key(1).remediation_id();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            ledger.admit(key(1), received(1), NOON).await.unwrap();
            let mut live = State::admitted(received(1), NOON);
            let mut stored: Vec<(Event, Timestamp)> = vec![(Event::Received((*received(1)).clone().into()), NOON)];
            for event in events {
                let at = noon_and(stored.len() as u64);
                let appended = ledger.append(id, stored.len() as u64, vec![event.clone()], at).await;
                let before = live.status;
                match live.clone().apply(&event, at) {
                    Ok(after) => {
                        appended.unwrap();
                        if before.is_final() {
                            let again = before == Status::Undone && matches!(event, Event::Planned(_));
                            let undo = matches!(event, Event::UndoPlanned(_));
                            assert!(undo || again || after.status == before, "{before} is final");
                        }
                        if matches!(event, Event::Started(_) | Event::UndoStarted(_)) {
                            let decision = match (&event, &live.undo) {
                                (Event::UndoStarted(_), Some(undo)) => undo.planned.decision.as_ref(),
                                _ => live.decision.as_ref().map(|decision| &decision.decided),
                            };
                            let verdict = decision.map_or(Verdict::Run, |decided| decided.verdict);
                            let approved = after.approved.iter().any(stanch_ledger::Approval::is_complete);
                            assert!(verdict == Verdict::Run || approved, "it runs because someone lets it");
                        }
                        invariants(&after);
                        live = after;
                        stored.push((event, at));
                    }
                    Err(error) => {
                        assert_eq!(error.status, before);
                        assert_eq!(error.event, event.name());
                        appended.unwrap_err();
                    }
                }
            }
            let folded = State::fold(stored.iter().map(|(event, at)| (event, *at))).unwrap();
            assert_eq!(folded.as_ref(), Some(&live));
            assert_eq!(ledger.state(id).await.unwrap(), (live, stored.len() as u64));
            ledger.verify(id).await.unwrap();
        });
    }
}

#[test]
fn a_fold_starts_with_an_admission() {
    assert_eq!(State::fold([]).unwrap(), None);
    assert!(State::fold([(&planned(false), NOON)]).is_err());
}

/// The event without what came from AWS or goes there.
fn outline(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::Received(received) => received.subject = json!(null),
        Event::Planned(planned) => (planned.plan, planned.observed) = (json!(null), json!(null)),
        Event::StepStarted(step) => step.call.params = json!(null),
        Event::StepFinished(step) => step.outputs = json!(null),
        Event::Verified(verified) => verified.observed = json!(null),
        Event::UndoPlanned(undo) => undo.plan = json!(null),
        Event::Undone { observed } | Event::UndoFailed { observed, .. } => *observed = json!(null),
        _ => {}
    }
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What `verify` relies on: what may follow, and the row, depend on none of it.
    #[test]
    fn a_course_does_not_depend_on_contents(events in prop::collection::vec(any_event(), 0..40)) {
        let mut whole = State::admitted(received(1), NOON);
        let mut outlined = State::admitted(received(1), NOON);
        let id = key(1).remediation_id();
        for event in events {
            match (whole.clone().apply(&event, NOON), outlined.clone().apply(&outline(&event), NOON)) {
                (Ok(one), Ok(other)) => (whole, outlined) = (one, other),
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
            }
            prop_assert_eq!(Record::project(id, &whole, 1, NOON), Record::project(id, &outlined, 1, NOON));
        }
    }
}
