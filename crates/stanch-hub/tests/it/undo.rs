//! Taking back: over nobody's newer change, many at once, and forward again.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::Guard;
use stanch_hub::{History, Hub, Message, NotTold, Notifier, RequestError, Selection};
use stanch_ledger::{Event, Reach, Record, RemediationId, State, Status, Verdict};
use stanch_testkit::{Aim, Fault};
use stanch_types::CallErrorKind;

use crate::{
    ledgers::Dying,
    stop::{others_change, pause_after_the_first_write, resume_all},
    world::{World, account, rules},
};

/// field-notes: "Undo restored a stale snapshot over newer changes."
#[tokio::test(start_paused = true)]
async fn a_newer_change_is_overwritten_only_with_an_approval() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": false});
    let put = |block: &Value| json!({"Bucket": "logs", "PublicAccessBlockConfiguration": block});
    world
        .admin("s3", "PutPublicAccessBlock", put(&theirs))
        .await;
    for (dry_run, force) in [(true, false), (false, false)] {
        let refused = world.hub().rollback(id, "alice", dry_run, force).await;
        let Err(RequestError::Drift(drift)) = refused else {
            panic!("it went over somebody else's change")
        };
        assert_eq!(drift.before["block"], Value::Null);
        assert_eq!(drift.after["block"]["RestrictPublicBuckets"], true);
        assert_eq!(drift.now["block"], theirs);
    }
    let asked = world
        .hub()
        .rollback(id, "alice", false, true)
        .await
        .unwrap();
    assert_eq!(asked.status, Some(Status::AwaitingApproval));
    assert_eq!(asked.verdict, Verdict::NeedsApproval);
    assert_eq!(world.block("logs").await, Some(theirs));

    let own = world.hub().approve(id, "alice").await;
    assert!(matches!(own, Err(RequestError::OwnRequest(_))), "{own:?}");

    // They change it again: what was approved is not what would be overwritten.
    let newer = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
    world.admin("s3", "PutPublicAccessBlock", put(&newer)).await;
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Success, "it stays what it was");
    assert_eq!(world.block("logs").await, Some(newer));
    assert!(world.story(id).await.ends_with("approved undo-voided"));

    world
        .hub()
        .rollback(id, "alice", false, true)
        .await
        .unwrap();
    let state = world.hub().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(world.block("logs").await, None);
    world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rejected_or_forgotten_undo_changes_nothing() {
    for reject in [true, false] {
        let world = World::new();
        world.bucket("logs").await;
        let (id, _) = world.fix("logs").await;
        let theirs =
            json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
        world.admin("s3", "PutPublicAccessBlock", theirs).await;
        world
            .hub()
            .rollback(id, "alice", false, true)
            .await
            .unwrap();
        if reject {
            world.hub().reject(id, "bob", "leave it").await.unwrap();
        } else {
            tokio::time::advance(std::time::Duration::from_hours(25)).await;
            world.hub().handle(id).await.unwrap();
        }
        let (state, _) = world.ledger.state(id).await.unwrap();
        assert_eq!(state.status, Status::Success);
        assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_undone() {
    let world = World::new();
    world.bucket("logs").await;
    let (id, fixed) = world.fix("logs").await;
    let block = world.block("logs").await;
    world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();

    let shown = world.hub().rollback(id, "bob", true, false).await.unwrap();
    assert_eq!(shown.plan.hash(), fixed.plan.unwrap().plan_hash);
    assert_eq!(world.block("logs").await, None, "a dry run changes nothing");
    let done = world.hub().rollback(id, "bob", false, false).await.unwrap();
    assert_eq!(done.status, Some(Status::Success), "{:?}", done.error);
    assert_eq!(world.block("logs").await, block);
    let (state, _) = world.ledger.state(id).await.unwrap();
    assert_eq!(state.requester(), "bob");
    assert!(state.verified.unwrap().compliant, "seen to be fixed");

    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Undone));
    assert_eq!(world.block("logs").await, None);
    assert_eq!(world.tap.writes().len(), 4);
    world.ledger.verify(id).await.unwrap();

    // What somebody changed after the undo is theirs, too.
    let theirs =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    world.admin("s3", "PutPublicAccessBlock", theirs).await;
    let drifted = world.hub().rollback(id, "bob", false, false).await;
    assert!(
        matches!(drifted, Err(RequestError::Drift(_))),
        "{drifted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn many_are_taken_back_the_newest_first() {
    let world = World::new();
    let mut fixed = Vec::new();
    for bucket in ["one", "two", "three"] {
        world.bucket(bucket).await;
        fixed.push(world.fix(bucket).await.0);
        tokio::time::advance(std::time::Duration::from_mins(10)).await;
    }
    let hub = world.hub();
    let ids = async |selection: Selection| {
        let found = hub.undoable(&selection).await.unwrap();
        found
            .iter()
            .map(|record: &Record| record.remediation_id)
            .collect::<Vec<_>>()
    };
    let newest_first = [fixed[2], fixed[1], fixed[0]];
    assert_eq!(ids(Selection::default()).await, newest_first);
    let mine = Selection {
        account: Some(account()),
        control: Some("s3.8".to_owned()),
        since: None,
    };
    assert_eq!(ids(mine).await, newest_first);
    let other = Selection {
        account: Some("333333333333".parse().unwrap()),
        ..Selection::default()
    };
    assert!(ids(other).await.is_empty());
    let now = stanch_types::Clock::now(&*world.clock);
    let late = Selection {
        since: Some(now - std::time::Duration::from_mins(15)),
        ..Selection::default()
    };
    assert_eq!(ids(late).await, [fixed[2]]);
    for id in newest_first {
        let done = hub.rollback(id, "alice", false, false).await.unwrap();
        assert_eq!(done.status, Some(Status::Undone));
    }
    assert!(ids(Selection::default()).await.is_empty());
}

/// In an outage people have to see all that was changed: also what has failed, and what stands half-way.
#[tokio::test(start_paused = true)]
async fn whatever_was_changed_is_among_what_can_be_taken_back() {
    let world = World::new();
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    let later = async || tokio::time::advance(std::time::Duration::from_mins(10)).await;
    for bucket in ["fixed", "unseen", "stuck", "untouched", "logs"] {
        world.bucket(bucket).await;
    }
    let (fixed, _) = world.fix("fixed").await;
    later().await;
    // It was changed, and could not be looked at afterwards.
    let looks = world
        .catalog
        .get("S3BlockPublicAccess")
        .unwrap()
        .verify
        .attempts;
    let read = Aim::at("s3.GetPublicAccessBlock").after(1);
    let read = read.times(looks.max(1) as usize);
    world.tap.inject(read, denied.clone());
    let (unseen, state) = world.fix("unseen").await;
    assert!(state.run.unwrap().may_have_changed());
    assert_ne!(state.status, Status::Success);
    later().await;
    let (stuck, _) = world.fix("stuck").await;
    world.tap.inject(Aim::at_write(), denied.clone());
    let hub = world.hub();
    let undone = hub.rollback(stuck, "alice", false, false).await.unwrap();
    assert_eq!(undone.status, Some(Status::UndoFailed));
    later().await;
    world.tap.inject(Aim::at_write(), denied);
    assert_eq!(world.fix("untouched").await.1.status, Status::Failed);
    later().await;
    let half_way = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;

    let ids = async |selection: Selection| {
        let found = world.hub().undoable(&selection).await.unwrap();
        let ids = found.iter().map(|record| record.remediation_id);
        ids.collect::<Vec<_>>()
    };
    let all = [half_way, stuck, unseen, fixed];
    assert_eq!(ids(Selection::default()).await, all);
    let other = Selection {
        account: Some("333333333333".parse().unwrap()),
        ..Selection::default()
    };
    assert!(ids(other).await.is_empty());
    // It is under way then, and still among them.
    let hub = world.hub();
    let turned = hub.rollback(half_way, "alice", false, false).await.unwrap();
    assert_eq!(turned.status, Some(Status::Paused));
    assert_eq!(ids(Selection::default()).await, all);
    let again = hub.rollback(half_way, "alice", true, false).await;
    let Err(error @ RequestError::UnderWay { .. }) = again else {
        panic!("it is to be taken back already")
    };
    assert!(error.hint().is_some());
}

/// A correction in the catalog does not take the way back from what was changed before.
#[tokio::test(start_paused = true)]
async fn a_change_can_be_taken_back_after_its_file_was_edited() {
    let mut world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let file = world.catalog.text("S3BlockPublicAccess").unwrap();
    let edited = |was: &str, is: &str| {
        assert!(file.contains(was), "{was}");
        let (catalog, found) = Catalog::load([("edited.yaml", file.replacen(was, is, 1))]);
        assert_eq!(found, []);
        Arc::new(catalog)
    };
    let other = edited("pick: PublicAccess", "pick: Other || PublicAccess");
    let new = edited("CloudTrail.6", "CloudTrail.6, CloudTrail.60");
    world.catalog = other;
    let refused = world.hub().rollback(id, "alice", false, false).await;
    let Err(error @ RequestError::Plan(_)) = refused else {
        panic!("it was undone by a file that reads something else")
    };
    assert!(error.hint().unwrap().contains("put back by hand"));
    world.catalog = new;
    let done = world.hub().rollback(id, "alice", false, false).await;
    assert_eq!(done.unwrap().status, Some(Status::Undone));
    assert_eq!(world.block("logs").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_was_made_to_say_is_not_put_back() {
    let mut world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    world.ledger = Dying::forged(
        Arc::clone(&world.ledger),
        Box::new(|event| {
            if let Event::Planned(planned) = event {
                let theirs = json!({"BlockPublicAcls": false});
                planned.plan["observed"]["block"] = theirs.clone();
                planned.plan["state"]["block"] = theirs;
            }
        }),
    );
    for dry_run in [true, false] {
        let refused = world.hub().rollback(id, "alice", dry_run, false).await;
        assert!(matches!(refused, Err(RequestError::Gone(_))), "{refused:?}");
    }
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
}

/// A guard after a restart knows of a change what the ledger tells: also of one that is to be made once more.
#[tokio::test(start_paused = true)]
async fn what_waits_to_be_made_once_more_counts_as_begun() {
    let (world, id) = undone().await;
    let hub = in_the_window(&world);
    let again = hub.rollback(id, "bob", false, false).await.unwrap();
    assert_eq!(again.status, Some(Status::Deferred));
    let listed = world.hub().undoable(&Selection::default()).await.unwrap();
    assert_eq!(listed, [], "nothing is there to be taken back");

    world.bucket("other").await;
    for (limit, status) in [(1, Status::Deferred), (2, Status::Success)] {
        let mut rules = rules("permit (principal, action, resource);", &(2..4));
        rules.limits.per_account = Some(limit);
        let hub = world.ruled(rules);
        let mut finding = world.finding("other");
        finding.at += std::time::Duration::from_secs(limit.into());
        let (_, state) = world.deliver(&hub, &finding).await.remove(0);
        assert_eq!(state.status, status, "{limit}");
    }
}

/// It has changed nothing as it stands: others need not wait for what becomes of it.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_change_that_is_asked_for_once_more() {
    let (world, id) = undone().await;
    let asks =
        "permit (principal, action, resource) when { context.run == Run::\"afterApproval\" };";
    let hub = world.ruled(rules(asks, &(2..4)));
    let again = hub.rollback(id, "bob", false, false).await.unwrap();
    assert_eq!(again.status, Some(Status::AwaitingApproval));
    let (_, other) = world
        .deliver(&world.hub(), &world.in_two_steps("logs"))
        .await
        .remove(0);
    assert_eq!(other.status, Status::Success, "{:?}", other.error);
}

/// Changes are paused in the window, and go on after it.
#[tokio::test(start_paused = true)]
async fn an_undo_that_stood_still_does_not_begin_when_its_window_has_closed() {
    let (world, id, hub) = stands_still().await;
    tokio::time::advance(std::time::Duration::from_hours(1)).await;
    let state = in_the_window(&world).handle(id).await.unwrap();
    assert_eq!(state.status, Status::Paused);
    tokio::time::advance(std::time::Duration::from_mins(61)).await;
    hub.resume(Reach::All, "operator", "over").await.unwrap();
    let state = in_the_window(&world).handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success);
    let story = world.story(id).await;
    let end = "undo-planned paused resumed undo-planned undo-voided";
    assert!(story.ends_with(end), "{story}");
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
}

/// Within its window it goes on, by what the guard says then.
#[tokio::test(start_paused = true)]
async fn an_undo_that_stood_still_begins_by_what_the_guard_says_then() {
    let (world, id, hub) = stands_still().await;
    hub.resume(Reach::All, "operator", "over").await.unwrap();
    let state = in_the_window(&world).handle(id).await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    let confirmed = state.undo.unwrap().run.unwrap().started.confirmed;
    assert_eq!(confirmed.unwrap().verdict, Verdict::Run);
}

/// What was approved in a window is not made after it, as with a change.
#[tokio::test(start_paused = true)]
async fn an_undo_that_is_approved_too_late_for_its_window_is_not_made() {
    let asks = "permit (principal, action, resource) when { context.run == Run::\"afterApproval\" && context.calendars.window };";
    for (minutes, status) in [(60, Status::Undone), (120, Status::Success)] {
        let (world, id) = fixed().await;
        tokio::time::advance(std::time::Duration::from_hours(2)).await;
        let hub = world.ruled(rules(asks, &(2..4)));
        let asked = hub.rollback(id, "alice", false, false).await.unwrap();
        assert_eq!(asked.status, Some(Status::AwaitingApproval));
        tokio::time::advance(std::time::Duration::from_mins(minutes)).await;
        let state = world
            .ruled(rules(asks, &(2..4)))
            .approve(id, "bob")
            .await
            .unwrap();
        assert_eq!(state.status, status, "{:?}", state.error);
        let writes = 1 + usize::from(status == Status::Undone);
        assert_eq!(world.tap.writes().len(), writes);
    }
}

/// … and what was approved before it waits for it.
#[tokio::test(start_paused = true)]
async fn an_undo_that_is_approved_before_its_window_waits_for_it() {
    let asks = |when: &str| {
        let when = format!("context.run == Run::\"afterApproval\"{when}");
        rules(
            &format!("permit (principal, action, resource) when {{ {when} }};"),
            &(2..4),
        )
    };
    let (world, id) = fixed().await;
    let hub = world.ruled(asks(""));
    let asked = hub.rollback(id, "alice", false, false).await.unwrap();
    assert_eq!(asked.status, Some(Status::AwaitingApproval));
    // People change the rules before anybody answers.
    let in_time = || world.ruled(asks(" && context.calendars.window"));
    let state = in_time().approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undoing);
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let state = in_time().handle(id).await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    let approved: Vec<String> = (state.approved.iter())
        .flat_map(|approval| approval.given.iter().map(|(yes, _)| yes.by.clone()))
        .collect();
    assert_eq!(approved, ["bob"]);
}

/// What stands half-way is left and told of where its undo is no more allowed: people wanted no change.
#[tokio::test(start_paused = true)]
async fn a_half_way_change_does_not_go_on_where_its_undo_may_not() {
    let world = World::new();
    world.bucket("logs").await;
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    let hub = in_the_window(&world);
    let paused = hub.rollback(id, "alice", false, false).await.unwrap();
    assert_eq!(paused.status, Some(Status::Paused));
    tokio::time::advance(std::time::Duration::from_hours(3)).await;
    hub.resume(Reach::All, "alice", "over").await.unwrap();
    let state = in_the_window(&world).handle(id).await.unwrap();
    assert_eq!(state.status, Status::UndoFailed);
    assert_eq!(world.tap.writes().len(), 1, "the first, and nothing since");
}

/// What a person may do without an approval they may do with one, too.
#[tokio::test(start_paused = true)]
async fn an_undo_over_others_changes_is_made_where_policies_know_of_no_approvals() {
    let (world, id) = fixed().await;
    others_change(&world).await;
    let on_request =
        "permit (principal, action, resource) when { context.run == Run::\"onRequest\" };";
    let hub = world.ruled(rules(on_request, &(2..4)));
    let asked = hub.rollback(id, "alice", false, true).await.unwrap();
    assert_eq!(asked.status, Some(Status::AwaitingApproval));
    let state = hub.approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
}

/// A bucket that was fixed.
async fn fixed() -> (World, RemediationId) {
    let world = World::new();
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    (world, id)
}

/// The same, and taken back.
async fn undone() -> (World, RemediationId) {
    let (world, id) = fixed().await;
    let undone = world.hub().rollback(id, "alice", false, false).await;
    assert_eq!(undone.unwrap().status, Some(Status::Undone));
    (world, id)
}

/// An undo that is asked for in its window while changes are paused; and the hub that was asked.
async fn stands_still() -> (World, RemediationId, Arc<Hub>) {
    let (world, id) = fixed().await;
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let hub = in_the_window(&world);
    hub.pause(Reach::All, "operator", "stop").await.unwrap();
    let paused = hub.rollback(id, "alice", false, false).await.unwrap();
    assert_eq!(paused.status, Some(Status::Paused));
    (world, id, hub)
}

/// A hub that changes something only in the two hours from two o'clock on.
fn in_the_window(world: &World) -> Arc<Hub> {
    let policy = "permit (principal, action, resource) when { context.calendars.window };";
    world.ruled(rules(policy, &(2..4)))
}

/// A run that stands half-way, and whose undo is asked for before its window; nothing is paused any more.
async fn half_way_and_put_off() -> (World, RemediationId) {
    let world = World::new();
    world.bucket("logs").await;
    let id = pause_after_the_first_write(&world, &world.in_two_steps("logs")).await;
    put_off(&world, id, false).await;
    resume_all(&world).await;
    (world, id)
}

/// Asks for an undo before its window.
async fn put_off(world: &World, id: RemediationId, force: bool) {
    let sent = world.tap.writes().len();
    let hub = in_the_window(world);
    let shown = hub.rollback(id, "alice", true, force).await.unwrap();
    assert!(matches!(shown.verdict, Verdict::Defer { .. }));
    let done = hub.rollback(id, "alice", false, force).await.unwrap();
    assert_eq!(done.status, Some(Status::Deferred));
    assert_eq!(hub.recover().await.unwrap(), 0, "it is not due");
    let (state, _) = world.ledger.state(id).await.unwrap();
    let until = state.deferred_until.unwrap();
    assert_eq!(until.to_string(), "2026-01-01T02:00:00Z");
    let twice = hub.rollback(id, "alice", false, force).await;
    assert!(
        matches!(twice, Err(RequestError::UnderWay { .. })),
        "{twice:?}"
    );
    assert_eq!(world.tap.writes().len(), sent);
}

/// What becomes of it in the window.
async fn when_it_opens(world: &World, id: RemediationId) -> State {
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let hub = in_the_window(world);
    assert_eq!(hub.recover().await.unwrap(), 1);
    hub.handle(id).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_undo_waits_for_its_window() {
    let (world, id) = fixed().await;
    put_off(&world, id, false).await;
    let state = when_it_opens(&world, id).await;
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(state.requester(), "alice");
    assert_eq!(world.block("logs").await, None);
    let story = world.story(id).await;
    let since = "undo-planned undo-planned undo-started step-started step-finished undone";
    assert!(story.ends_with(since), "{story}");
    world.ledger.verify(id).await.unwrap();
}

/// Others may change the resource, and rules become unreadable, while it waits.
#[tokio::test(start_paused = true)]
async fn an_undo_that_was_put_off_is_decided_anew() {
    let (world, id) = fixed().await;
    put_off(&world, id, false).await;
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let hub = in_the_window(&world);
    hub.hold("the rules cannot be read: no file");
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Deferred);
    hub.decide_by(Guard::built_in(&world.automatic));
    others_change(&world).await;
    let state = hub.handle(id).await.unwrap();
    assert_eq!(state.status, Status::Success, "it stays what it was");
    assert!(world.story(id).await.ends_with("undo-planned undo-voided"));
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_waits_for_its_window_can_be_called_off() {
    let (world, id) = fixed().await;
    put_off(&world, id, false).await;
    let hub = in_the_window(&world);
    let state = hub.reject(id, "bob", "leave it").await.unwrap();
    assert_eq!(state.status, Status::Success);
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    assert_eq!(in_the_window(&world).recover().await.unwrap(), 0);
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    let twice = hub.reject(id, "bob", "leave it").await;
    assert!(
        matches!(twice, Err(RequestError::NotWaiting { .. })),
        "{twice:?}"
    );
}

/// Waiting makes nobody else's change one's own.
#[tokio::test(start_paused = true)]
async fn an_undo_by_force_waits_for_its_window_and_then_for_an_approval() {
    let (world, id) = fixed().await;
    others_change(&world).await;
    put_off(&world, id, true).await;
    let state = when_it_opens(&world, id).await;
    assert_eq!(state.status, Status::AwaitingApproval);
    assert_eq!(world.tap.writes().len(), 1, "the fix, and nothing since");
    let state = in_the_window(&world).approve(id, "bob").await.unwrap();
    assert_eq!(state.status, Status::Undone, "{:?}", state.error);
    assert_eq!(world.block("logs").await, None);
}

/// A run that stands half-way neither goes on nor back over what others did while its undo waited.
#[tokio::test(start_paused = true)]
async fn a_way_back_from_half_way_waits_for_its_window() {
    for is_changed in [false, true] {
        let (world, id) = half_way_and_put_off().await;
        if !is_changed {
            let state = when_it_opens(&world, id).await;
            assert_eq!(state.status, Status::Undone, "{:?}", state.error);
            assert_eq!(world.block("logs").await, None);
            continue;
        }
        others_change(&world).await;
        let state = when_it_opens(&world, id).await;
        assert_eq!(state.status, Status::UndoFailed);
        assert_eq!(
            world.tap.writes().len(),
            1,
            "half the fix, and nothing since"
        );
    }
}

/// The rules may have changed by then. What they say now, and that they were asked, is in the ledger.
#[tokio::test(start_paused = true)]
async fn a_half_way_change_is_left_where_its_undo_was_put_off_and_may_not_be_made() {
    let (world, id) = half_way_and_put_off().await;
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let nothing = world.ruled(rules("", &(2..4)));
    let state = nothing.handle(id).await.unwrap();
    assert_eq!(state.status, Status::UndoFailed);
    assert_eq!(
        world.tap.writes().len(),
        1,
        "half the fix, and nothing since"
    );
    let decision = state.undo.unwrap().planned.decision.unwrap();
    assert_eq!(decision.verdict, Verdict::Refuse);
    assert_eq!(state.error.unwrap(), decision.reasons.join("; "));
    let again = nothing.rollback(id, "alice", false, false).await.unwrap();
    assert_eq!(again.verdict, Verdict::Refuse);
    assert_eq!(again.status, Some(Status::UndoFailed), "as it was");
    assert!(world.story(id).await.ends_with("undo-planned undo-voided"));
}

/// Hears what people are told.
#[derive(Default)]
pub struct Ear(pub Mutex<Vec<Message>>);

#[async_trait]
impl Notifier for Ear {
    fn channel(&self) -> &str {
        "ear"
    }
    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_pages_people_and_can_be_tried_again() {
    let mut world = World::new();
    let ear = Arc::new(Ear::default());
    world.notifiers.push(ear.clone());
    world.bucket("logs").await;
    let (id, _) = world.fix("logs").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world.tap.inject(Aim::at_write(), denied);
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::UndoFailed));
    let told: Vec<(String, bool)> = ear
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|m| (m.status.clone(), m.urgent))
        .collect();
    assert_eq!(
        told,
        [
            ("Success".to_owned(), false),
            ("UndoFailed".to_owned(), true)
        ]
    );
    // Nobody else has touched it: no approval is needed to try again.
    let done = world
        .hub()
        .rollback(id, "alice", false, false)
        .await
        .unwrap();
    assert_eq!(done.status, Some(Status::Undone), "{:?}", done.error);
}

/// What was changed, is to be taken back, and cannot even be looked at: that is for people.
#[tokio::test(start_paused = true)]
async fn an_automatic_undo_that_cannot_be_planned_pages_people() {
    let mut world = World::new();
    let ear = Arc::new(Ear::default());
    world.notifiers.push(ear.clone());
    world.bucket("logs").await;
    let denied = Fault::Refuse {
        kind: CallErrorKind::Denied,
        code: "AccessDenied",
    };
    world
        .tap
        .inject(Aim::at("s3.PutBucketPolicy"), denied.clone());
    // It is read to plan, and when it has failed; not to plan the way back.
    let read = Aim::at("s3.GetBucketPolicy").after(2);
    world.tap.inject(read, denied);
    let finding = world.in_two_steps("logs");
    let (id, state) = world.deliver(&world.hub(), &finding).await.remove(0);
    assert_eq!(state.status, Status::UndoFailed);
    let error = state.error.unwrap();
    assert!(error.contains("it cannot be put back"), "{error}");
    let told = ear.0.lock().unwrap().last().unwrap().clone();
    assert_eq!((told.status.as_str(), told.urgent), ("UndoFailed", true));
    assert!(world.block("logs").await.is_some());
    // Nobody else has touched it: it is taken back as soon as it can be looked at.
    let done = world.hub().rollback(id, "alice", false, false).await;
    assert_eq!(done.unwrap().status, Some(Status::Undone));
    assert_eq!(world.block("logs").await, None);
    world.ledger.verify(id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_changed_while_a_run_was_down_is_not_taken_back() {
    let world = World::new();
    world.bucket("logs").await;
    let hub = world.hub();
    // Stopped before anything was sent; then somebody else changes the bucket.
    hub.pause(stanch_ledger::Reach::All, "alice", "why")
        .await
        .unwrap();
    let (id, _) = world.fix("logs").await;
    let theirs = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let put = json!({"Bucket": "logs", "PublicAccessBlockConfiguration": theirs});
    world.admin("s3", "PutPublicAccessBlock", put).await;
    hub.resume(stanch_ledger::Reach::All, "alice", "over")
        .await
        .unwrap();
    let state = world.hub().handle(id).await.unwrap();
    assert_eq!(state.status, Status::NothingToDo, "{:?}", state.error);
    assert!(world.tap.writes().is_empty());
    assert_eq!(world.block("logs").await, Some(theirs));
}
