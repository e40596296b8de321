//! What went wrong for others, as cases. The table is also `docs/reference/guard-cases.md`.

use std::{cell::Cell, fmt::Write as _};

use jiff::SignedDuration;
use stanch_guard::{Breaker, File, Limits, Rules};
use stanch_ledger::{Event, Started, State, Status, testing};
use stanch_testkit::assert_generated;

use crate::world::*;

struct Peer {
    /// The case's name.
    name: &'static str,
    /// What happened to others.
    others: &'static str,
    /// What is played here.
    here: &'static str,
    /// What comes of it.
    expected: &'static str,
    play: fn() -> String,
}

/// A day before [`NOW`].
const YESTERDAY: &str = "2026-11-21T12:00:00Z";

const BLOCK: &str = "S3BlockPublicAccess";
const DESTRUCTIVE: &str = "Ec2TerminateStoppedInstance";

fn with(policies: &str, change: impl FnOnce(&mut Rules)) -> stanch_guard::Guard {
    let mut rules = rules(policies);
    change(&mut rules);
    load(rules)
}

/// A remediation that ended like this.
fn ended(status: Status) -> State {
    let started = Started {
        executor: "native".to_owned(),
        executor_arn: "arn".to_owned(),
        session: "s".to_owned(),
        attempt: 1,
        confirmed: None,
    };
    let events = [
        Event::Received(Box::new(finding(BLOCK).received)),
        testing::planned(false),
        testing::decided(stanch_ledger::Verdict::Run),
        Event::Started(started),
        Event::Finished {
            status,
            error: Some("it failed".to_owned()),
            duration_ms: 1,
        },
    ];
    State::fold(events.iter().map(|event| (event, now())))
        .unwrap()
        .unwrap()
}

const PEERS: &[Peer] = &[
    Peer {
        name: "exclusion-tag-in-every-mode",
        others: "Exclusion tags were ignored in event mode and honoured in scheduled mode.",
        here: "A tagged bucket is exempt, whether an event or a person brings it.",
        expected: "is refused, is refused",
        play: || {
            let guard = with(ALL, |rules| {
                rules.exemptions = exemption("2027-01-31", "tags = {stanch = \"off*\"}");
            });
            let event = finding(BLOCK).tagged("stanch", "off").judged(&guard);
            let person = finding(BLOCK)
                .tagged("stanch", "off")
                .by("alice", true)
                .judged(&guard);
            format!("{}, {}", word(&event), word(&person))
        },
    },
    Peer {
        name: "backlog-of-the-first-day",
        others: "On the first day an old backlog was \"fixed\": 38 access keys were deactivated at once.",
        here: "38 findings from before the ledger's second day; five a day may be fixed by themselves. Then a new one.",
        expected: "5 run, 33 wait for an approval; the new one runs",
        play: || {
            let guard = with(ALL, |rules| rules.limits.backlog = Some(5));
            guard.seed(YESTERDAY.parse().unwrap(), now(), []);
            // Half are dated by a scanner that was switched on together with Stanch.
            let old = ["2026-03-01T00:00:00Z", YESTERDAY]
                .map(|seen| finding("IamDeactivateCompromisedKey").seen(seen));
            let words: Vec<String> = (0..38)
                .zip(old.iter().cycle())
                .map(|(id, old)| word(&guard.decide(&old.case(Some(id)))))
                .collect();
            let count = |what: &str| words.iter().filter(|word| *word == what).count();
            let new = finding(BLOCK)
                .seen("2026-11-22T12:30:00Z")
                .at("2026-11-22T13:00:00Z");
            format!(
                "{} run, {} wait for an approval; the new one {}",
                count("runs"),
                count("waits for an approval"),
                word(&guard.decide(&new.case(Some(99)))),
            )
        },
    },
    Peer {
        name: "deletion-unguarded",
        others: "Instances were terminated, snapshots and secrets deleted, unguarded.",
        here: "A policy permits everything in every way; the remediation is destructive; even a person asks.",
        expected: "waits for an approval, waits for an approval",
        play: || {
            let guard = with(ALL, |_| ());
            let event = finding(DESTRUCTIVE).judged(&guard);
            let person = finding(DESTRUCTIVE).by("alice", true).judged(&guard);
            format!("{}, {}", word(&event), word(&person))
        },
    },
    Peer {
        name: "destructive-without-second-factor",
        others: "Login profiles were removed on anybody's word.",
        here: "The starter policies; a person asks for what is destructive, without MFA and with it.",
        expected: "is refused, waits for an approval",
        play: || {
            let guard = with(stanch_guard::starter(), |_| ());
            let without = finding(DESTRUCTIVE).by("alice", false).judged(&guard);
            let mfa = finding(DESTRUCTIVE).by("alice", true).judged(&guard);
            format!("{}, {}", word(&without), word(&mfa))
        },
    },
    Peer {
        name: "unreadable-impact-counts-as-none",
        others: "What could not be read was taken for an answer.",
        here: "A policy lets it run where no interface uses the group; the interfaces cannot be read. Then there is none.",
        expected: "waits for an approval, runs",
        play: || {
            let guard = with(
                "permit (principal, action, resource) when { context.run == Run::\"afterApproval\" };\npermit (principal, action, resource) when { !(context.impact has interfaces && context.impact.interfaces > 0) };",
                |_| (),
            );
            let mut unknown = finding("Ec2CloseOpenPorts");
            unknown.impact.fail("interfaces", "AccessDenied".to_owned());
            let none = finding("Ec2CloseOpenPorts").fact("interfaces", number(0));
            format!(
                "{}, {}",
                word(&unknown.judged(&guard)),
                word(&none.judged(&guard))
            )
        },
    },
    Peer {
        name: "failing-remediation-goes-on",
        others: "What failed was begun again with every event, however often it had failed.",
        here: "Six of the last ten runs of a remediation failed. An hour later.",
        expected: "waits for an approval; an hour later it runs",
        play: || {
            let guard = with(ALL, |rules| {
                rules.limits.breaker = Some(Breaker {
                    runs: 10,
                    rate: 0.5,
                    period: SignedDuration::from_hours(1),
                });
            });
            for id in 0..10_u128 {
                let status = if id < 6 {
                    Status::Failed
                } else {
                    Status::Success
                };
                let id = uuid::Uuid::from_u128(id).into();
                match status {
                    Status::Failed => guard.ended(id, &ended(Status::Failed), now()),
                    _ => guard.ended(id, &succeeded(), now()),
                }
            }
            let first = word(&finding(BLOCK).judged(&guard));
            let later = finding(BLOCK).at("2026-11-22T13:00:01Z").judged(&guard);
            format!("{first}; an hour later it {}", word(&later))
        },
    },
    Peer {
        name: "noisy-account",
        others: "One noisy account starved the others.",
        here: "Two changes an hour in one account; the third, and one in another account.",
        expected: "waits until 2026-11-22T13:00:00Z; another account runs",
        play: || {
            let guard = with(ALL, |rules| rules.limits.per_account = Some(2));
            for id in 0..2 {
                assert_eq!(word(&guard.decide(&finding(BLOCK).case(Some(id)))), "runs");
            }
            let third = guard.decide(&finding(BLOCK).case(Some(2)));
            let other = finding(BLOCK).in_account("222222222222");
            let other = guard.decide(&other.case(Some(3)));
            format!("{}; another account {}", word(&third), word(&other))
        },
    },
    Peer {
        name: "filter-that-fails-lets-pass",
        others: "Filters passed on error \"as fail-safe\".",
        here: "A `forbid` cannot be evaluated: its number overflows.",
        expected: "is refused",
        play: || {
            let guard = with(
                "permit (principal, action, resource);\nforbid (principal, action, resource) when { (context.hour + 2) * 9223372036854775807 > 1 };",
                |_| (),
            );
            word(&finding(BLOCK).judged(&guard))
        },
    },
    Peer {
        name: "untagged-passes-include-filter",
        others: "An untagged resource passed an include filter.",
        here: "Only what is tagged `env=test` may run. A resource without tags, one with, one with another value.",
        expected: "is refused, runs, is refused",
        play: || {
            let guard = with(
                "permit (principal, action, resource) when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"test\" };",
                |_| (),
            );
            let none = finding(BLOCK).judged(&guard);
            let test = finding(BLOCK).tagged("env", "test").judged(&guard);
            let prod = finding(BLOCK).tagged("env", "prod").judged(&guard);
            format!("{}, {}, {}", word(&none), word(&test), word(&prod))
        },
    },
    Peer {
        name: "unknown-tags-pass-exclude-filter",
        others: "Tags that nobody had looked up counted as no tags.",
        here: "An exemption goes by a tag; the finding tells no tags.",
        expected: "waits for an approval",
        play: || {
            let guard = with(ALL, |rules| {
                rules.exemptions = exemption("2027-01-31", "tags = {stanch = \"off\"}");
            });
            word(&finding(BLOCK).judged(&guard))
        },
    },
    Peer {
        name: "empty-list-means-anyone",
        others: "An empty list of people meant anyone. (Approvers are the hub's: `empty-approver-list-means-anyone`.)",
        here: "Who has a role may have it changed. Nobody has the role, and alice asks; then alice has it, and bob asks, and alice.",
        expected: "is refused, is refused, runs",
        play: || {
            let policy = "permit (principal, action, resource) when { principal is Person && principal in Role::\"security\" };";
            let nobody = with(policy, |rules| rules.people.clear());
            let alice = with(policy, |_| ());
            let asks = |guard: &stanch_guard::Guard, person: &str| {
                word(&finding(BLOCK).by(person, true).judged(guard))
            };
            format!(
                "{}, {}, {}",
                asks(&nobody, "alice"),
                asks(&alice, "bob"),
                asks(&alice, "alice")
            )
        },
    },
    Peer {
        name: "no-policy-means-yes",
        others: "What no rule had allowed was done.",
        here: "There is no policy at all; a person asks.",
        expected: "is refused",
        play: || {
            let guard = with("", |_| ());
            word(&finding(BLOCK).by("alice", true).judged(&guard))
        },
    },
    Peer {
        name: "deleted-policy-runs-on",
        others: "Policies that were deleted in Git went on running.",
        here: "A policy lets it run; then the policy is deleted, and the guard of the other rules takes over.",
        expected: "runs, is refused",
        play: || {
            let before = with(ALL, |_| ());
            let allowed = word(&finding(BLOCK).judged(&before));
            let after = with("", |_| ()).following(&before);
            format!("{allowed}, {}", word(&finding(BLOCK).judged(&after)))
        },
    },
    Peer {
        name: "approved-before-the-window-closed",
        others: "What had been approved ran when its turn came, whatever the calendar said by then.",
        here: "A plan is approved on Friday; on Sunday, when it would run, the window is closed.",
        expected: "runs, waits until 2026-11-23T06:00:00Z",
        play: || {
            let guard = with(stanch_guard::starter(), |rules| {
                rules.calendars = vec![calendar(
                    "DEFAULT_OPEN",
                    "DTSTART:20261121T000000Z\nDTEND:20261123T060000Z",
                )];
            });
            let friday = finding(BLOCK).at("2026-11-20T12:00:00Z");
            let friday = guard.confirm(&friday.case(Some(1)));
            let sunday = guard.confirm(&finding(BLOCK).case(Some(1)));
            format!("{}, {}", word(&friday), word(&sunday))
        },
    },
    Peer {
        name: "change-in-a-freeze",
        others: "Fixes ran in the middle of a change freeze.",
        here: "A freeze over the weekend; nothing else forbids it. Then a calendar that never opens.",
        expected: "waits until 2026-11-23T06:00:00Z; never: is refused",
        play: || {
            let policies = format!(
                "{ALL}forbid (principal, action, resource) unless {{ context.calendars.open }};"
            );
            let guard = with(&policies, |rules| {
                rules.calendars = vec![calendar(
                    "DEFAULT_OPEN",
                    "DTSTART:20261121T000000Z\nDTEND:20261123T060000Z",
                )];
            });
            let never = with(&policies, |rules| {
                rules.calendars = vec![calendar(
                    "DEFAULT_CLOSED",
                    "DTSTART:20200101T000000Z\nDTEND:20200102T000000Z",
                )];
            });
            format!(
                "{}; never: {}",
                word(&finding(BLOCK).judged(&guard)),
                word(&finding(BLOCK).judged(&never))
            )
        },
    },
    Peer {
        name: "exempt-by-arn-in-every-partition",
        others: "Users asked for exclusions by ARN; a hard-coded `arn:aws:` failed in other partitions.",
        here: "Buckets `logs-*` are exempt, in any partition. One of them, and another bucket.",
        expected: "is refused, runs",
        play: || {
            let guard = with(ALL, |rules| {
                rules.exemptions = exemption("2027-01-31", "resources = [\"arn:*:s3:::logs-*\"]");
            });
            let mut gov = finding(BLOCK);
            gov.received.resource_id = "arn:aws-us-gov:s3:::logs-7".to_owned();
            gov.received.resource_arn = None;
            let mut other = finding(BLOCK);
            other.received.resource_id = "arn:aws:s3:::data".to_owned();
            other.received.resource_arn = None;
            format!(
                "{}, {}",
                word(&gov.judged(&guard)),
                word(&other.judged(&guard))
            )
        },
    },
    Peer {
        name: "opt-in-per-account",
        others: "Users asked to opt accounts in one by one; everything was in.",
        here: "Only `root/sandbox` is permitted. An account in it, one elsewhere, one that nobody placed.",
        expected: "runs, is refused, is refused",
        play: || {
            let guard = with(
                "permit (principal, action, resource) when { resource in OrganizationalUnit::\"root/sandbox\" };",
                |_| (),
            );
            let answers = ["222222222222", "111111111111", "333333333333"]
                .map(|account| word(&finding(BLOCK).in_account(account).judged(&guard)));
            answers.join(", ")
        },
    },
    Peer {
        name: "exemption-that-ran-out",
        others: "Exceptions had no end, or ended without a word.",
        here: "An exemption counts on its last day; the day after, nobody has looked at it yet.",
        expected: "is refused, waits for an approval",
        play: || {
            let guard = with(ALL, |rules| {
                rules.exemptions = exemption("2026-11-22", "controls = [\"S3.8\"]");
            });
            let last = finding(BLOCK).at("2026-11-22T23:59:59Z").judged(&guard);
            let after = finding(BLOCK).at("2026-11-23T00:00:00Z").judged(&guard);
            format!("{}, {}", word(&last), word(&after))
        },
    },
    Peer {
        name: "urgent-is-no-permission",
        others: "A severity, raised from outside, opened the way for automatic changes.",
        here: "A feed knows the finding's address; policies want an approval.",
        expected: "waits for an approval, urgent",
        play: || {
            let guard = with(stanch_guard::starter(), |rules| {
                rules.feeds = vec![file("drop.txt", "203.0.113.0/24\n")];
            });
            let mut found = finding(BLOCK);
            found.received.indicators.insert("203.0.113.9".to_owned());
            let answer = found.judged(&guard);
            format!(
                "{}{}",
                word(&answer),
                if answer.urgent { ", urgent" } else { "" }
            )
        },
    },
    Peer {
        name: "forbid-loses-to-permit",
        others: "A later allow rule took back an earlier deny.",
        here: "Production is forbidden; a policy behind it permits everything, and an approval is there.",
        expected: "is refused; approved: is refused",
        play: || {
            let guard = with(
                &format!(
                    "forbid (principal, action, resource) when {{ resource in OrganizationalUnit::\"root/prod\" }};\n{ALL}"
                ),
                |_| (),
            );
            let found = finding(BLOCK);
            format!(
                "{}; approved: {}",
                word(&found.judged(&guard)),
                word(&guard.confirm(&found.case(Some(1))))
            )
        },
    },
    Peer {
        name: "undo-in-a-freeze",
        others: "What broke in a freeze could not be taken back in it.",
        here: "The starter policies in a freeze: a change, and taking one back, as a person asks.",
        expected: "waits until 2026-11-23T06:00:00Z, runs",
        play: || {
            let guard = with(stanch_guard::starter(), |rules| {
                rules.calendars = vec![calendar(
                    "DEFAULT_OPEN",
                    "DTSTART:20261121T000000Z\nDTEND:20261123T060000Z",
                )];
            });
            let mut found = finding(BLOCK).by("alice", false);
            let change = word(&found.judged(&guard));
            found.undo = true;
            format!("{change}, {}", word(&found.judged(&guard)))
        },
    },
    Peer {
        name: "typing-error-in-a-filter",
        others: "A filter with a misspelt name was never met, and nobody noticed.",
        here: "A policy names a remediation, a tag function, a question and a fact that do not exist; an exemption, a control.",
        expected: "5 of 5 are not loaded",
        play: || {
            let mut misspelt = rules(ALL);
            misspelt.exemptions = exemption("2027-01-31", "controls = [\"S3.88\"]");
            let wrong = [
                "permit (principal, action == Action::\"S3BlokPublicAccess\", resource);",
                "permit (principal, action, resource) when { resource.tag == \"x\" };",
                "permit (principal, action, resource) when { context.run == Run::\"automaticaly\" };",
                "permit (principal, action, resource) when { context.impact.conections > 3 };",
            ];
            let all = wrong.map(rules).into_iter().chain([misspelt]);
            let (count, refused) = (
                wrong.len() + 1,
                all.filter(|rules| try_load(rules.clone()).is_err()),
            );
            format!("{} of {count} are not loaded", refused.count())
        },
    },
    Peer {
        name: "unreadable-rules",
        others: "A configuration that could not be read fell back to the defaults.",
        here: "A calendar, exemptions, a feed and a policy that cannot be read.",
        expected: "4 of 4 are not loaded",
        play: || {
            let broken: [fn(&mut Rules); 4] = [
                |rules| rules.calendars = vec![file("a.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n")],
                |rules| rules.exemptions = exemption("soon", "controls = [\"S3.8\"]"),
                |rules| rules.feeds = vec![file("feed.json", "{")],
                |rules| {
                    rules.policies = stanch_guard::Source::Files(vec![file("p.cedar", "permit (")])
                },
            ];
            let refused = broken.iter().filter(|change| {
                let mut rules = rules(ALL);
                change(&mut rules);
                try_load(rules).is_err()
            });
            format!("{} of {} are not loaded", refused.count(), broken.len())
        },
    },
];

/// A remediation that did what it should.
fn succeeded() -> State {
    let mut state = ended(Status::Failed);
    state.status = Status::Success;
    state
}

#[test]
fn what_went_wrong_for_others() {
    for peer in PEERS {
        assert_eq!((peer.play)(), peer.expected, "{}", peer.name);
    }
}

/// True if there is a case of this name.
pub fn is_case(name: &str) -> bool {
    PEERS.iter().any(|peer| peer.name == name)
}

#[test]
fn the_generated_table_is_documented() {
    let mut text = String::from(
        "<!-- Written by `crates/stanch-guard/tests/it/peers.rs`; `cargo xtask codegen` writes it again. -->\n# Guard cases\n\nWhat went wrong for others, or would where nothing holds it, and what Stanch's guard does there. Each row is a test. What takes more than a guard is played elsewhere: [every failure of the field](field-cases.md), by name.\n\n| case | what goes wrong | what is played | what comes of it |\n|---|---|---|---|\n",
    );
    for Peer {
        name,
        others,
        here,
        expected,
        ..
    } in PEERS
    {
        let _ = writeln!(text, "| `{name}` | {others} | {here} | {expected} |");
    }
    assert_generated("docs/reference/guard-cases.md", &text);
}

#[test]
fn the_breaker_opens_at_its_rate() {
    let check = |failed: u128, expected: &str| {
        let guard = with(ALL, |rules| {
            rules.limits.breaker = Some(Breaker {
                runs: 10,
                rate: 0.5,
                period: SignedDuration::from_hours(1),
            });
        });
        for id in 0..10 {
            let state = match id < failed {
                true => ended(Status::Failed),
                false => succeeded(),
            };
            guard.ended(uuid::Uuid::from_u128(id).into(), &state, now());
        }
        assert_eq!(word(&finding(BLOCK).judged(&guard)), expected, "{failed}");
    };
    check(4, "runs");
    check(5, "waits for an approval");
}

#[test]
fn what_was_approved_counts_and_what_is_taken_back_does_not() {
    let guard = with(ALL, |rules| rules.limits.per_account = Some(1));
    let mut found = finding(BLOCK);
    assert_eq!(word(&guard.confirm(&found.case(Some(1)))), "runs");
    for answer in [guard.confirm(&found.case(Some(2))), found.judged(&guard)] {
        assert_eq!(word(&answer), "waits until 2026-11-22T13:00:00Z");
    }
    found.undo = true;
    assert_eq!(word(&found.judged(&guard)), "runs");
}

#[test]
fn what_is_found_on_the_first_day_is_of_the_backlog() {
    let guard = |began: &str| {
        let guard = with(ALL, |rules| rules.limits.backlog = Some(0));
        guard.seed(began.parse().unwrap(), now(), []);
        guard
    };
    let old = guard(YESTERDAY);
    let seen = |at| word(&finding(BLOCK).seen(at).judged(&old));
    assert_eq!(seen("2026-11-22T11:59:59Z"), "waits for an approval");
    assert_eq!(seen(NOW), "runs");
    // Some scanners do not say since when.
    let mut undated = finding(BLOCK);
    undated.received.first_observed = None;
    assert_eq!(word(&undated.judged(&old)), "runs");
    assert_eq!(word(&undated.judged(&guard(NOW))), "waits for an approval");
}

#[test]
fn limits_reset_minute_by_minute() {
    let guard = with(ALL, |rules| {
        rules.limits = Limits {
            per_control: Some(1),
            ..Limits::default()
        };
    });
    let first = finding(BLOCK).at("2026-11-22T12:20:30Z");
    assert_eq!(word(&guard.decide(&first.case(Some(1)))), "runs");
    let second = word(&guard.decide(&first.case(Some(2))));
    assert_eq!(second, "waits until 2026-11-22T13:20:00Z");
    let later = finding(BLOCK).at("2026-11-22T13:20:00Z");
    assert_eq!(word(&guard.decide(&later.case(Some(2)))), "runs");
}

/// What was let run and could not be begun at once is decided on again, and counts when it runs.
#[test]
fn a_change_does_not_stand_in_its_own_way() {
    let limited = || with(ALL, |rules| rules.limits.per_control = Some(1));
    let decided = |guard: &stanch_guard::Guard, time: &str, id| {
        let found = finding(BLOCK).at(time);
        word(&guard.decide(&found.case(Some(id))))
    };
    let guard = limited();
    for time in ["2026-11-22T12:00:00Z", "2026-11-22T12:40:00Z"] {
        assert_eq!(decided(&guard, time, 1), "runs");
    }
    // It counts when it was decided on last, and only then.
    let other = "waits until 2026-11-22T13:40:00Z";
    assert_eq!(decided(&guard, "2026-11-22T13:05:00Z", 2), other);
    // What somebody above does not let run does not count.
    let guard = limited();
    let found = finding(BLOCK);
    let lowered = guard.decide_below(&found.case(Some(1)), |mut answer| {
        answer.verdict = stanch_ledger::Verdict::NeedsApproval;
        answer
    });
    assert_eq!(word(&lowered), "waits for an approval");
    assert_eq!(decided(&guard, NOW, 2), "runs");
}

/// Parallel decisions share what a limit leaves.
#[test]
fn a_limit_holds_however_many_decide_at_once() {
    let guard = with(ALL, |rules| rules.limits.per_account = Some(7));
    let found = finding(BLOCK);
    let run: usize = std::thread::scope(|scope| {
        let decide = |first: u128| {
            let (guard, found) = (&guard, &found);
            scope.spawn(move || {
                let words =
                    (first..first + 50).map(|id| word(&guard.decide(&found.case(Some(id)))));
                words.filter(|word| word == "runs").count()
            })
        };
        let threads: Vec<_> = (0..4).map(|n| decide(n * 1_000)).collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(run, 7);
}

/// What others were let run while one is decided on takes its place; where nothing has come between, it is
/// not asked twice.
#[test]
fn what_ran_meanwhile_counts() {
    let asked = |guard: &stanch_guard::Guard, meanwhile: Option<u128>| {
        let found = finding(BLOCK);
        let asked = Cell::new(0);
        let answer = guard.decide_below(&found.case(Some(1)), |answer| {
            if asked.replace(asked.get() + 1) == 0
                && let Some(other) = meanwhile
            {
                assert_eq!(word(&guard.decide(&found.case(Some(other)))), "runs");
            }
            answer
        });
        (word(&answer), asked.get())
    };
    let limited = || with(ALL, |rules| rules.limits.per_account = Some(1));
    let late = "waits until 2026-11-22T13:00:00Z".to_owned();
    assert_eq!(asked(&limited(), Some(2)), (late, 2));
    assert_eq!(asked(&limited(), None), ("runs".to_owned(), 1));
}

/// One that is over is told only where none may count.
#[test]
fn an_exemption_that_may_count_is_told_before_one_that_is_over() {
    let may = exemption("2027-01-31", "tags = {stanch = \"off\"}").unwrap();
    let over = exemption("2026-11-01", "controls = [\"S3.8\"]").unwrap();
    let told = |files: &[&File]| {
        let text = files.iter().map(|file| file.text.as_str()).collect();
        let path = "exemptions.toml".to_owned();
        let guard = with(ALL, |rules| rules.exemptions = Some(File { path, text }));
        let all = guard.exemptions();
        assert_eq!(all.all().len(), files.len());
        let expired: Vec<_> = all.expired(now()).map(ToString::to_string).collect();
        let is_over = files.iter().any(|file| **file == over);
        let line = "payments says: a public site (until 2026-11-01)".to_owned();
        assert_eq!(expired, Vec::from_iter(is_over.then_some(line)));
        finding(BLOCK).judged(&guard).reasons
    };
    let first = told(&[&may]);
    assert_ne!(first, told(&[&over]));
    assert_eq!(told(&[&may, &over]), first);
    assert_eq!(told(&[&over, &may]), first);
}

/// Where an account stands is not "nowhere" if nobody knows.
#[test]
fn an_account_of_no_known_unit_may_be_in_any() {
    let exempt = |rules: &mut stanch_guard::Rules| {
        rules.exemptions = exemption("2027-01-31", "ous = [\"root/prod\"]");
    };
    let unless = "permit (principal, action, resource) unless { resource in OrganizationalUnit::\"root/prod\" };";
    let untagged =
        "permit (principal, action, resource) unless { resource.account.hasTag(\"pci\") };";
    let tag = |rules: &mut stanch_guard::Rules| {
        let account = "111111111111".parse().unwrap();
        let placement = rules.accounts.get_mut(&account).unwrap();
        placement.tags = Some([("pci".to_owned(), "yes".to_owned())].into());
    };
    let mut found = finding(BLOCK);
    for (account, expected) in [
        ("111111111111", "is refused"),
        ("222222222222", "runs"),
        ("333333333333", "waits for an approval"),
    ] {
        found.received.account = account.parse().unwrap();
        for guard in [with(ALL, exempt), with(unless, |_| ()), with(untagged, tag)] {
            assert_eq!(word(&found.judged(&guard)), expected, "{account}");
        }
    }
}

/// Whoever names a control means it whoever has found it; another control of the same product is not meant.
#[test]
fn a_control_is_meant_by_all_its_names() {
    let exempt = |name: &str| {
        with(ALL, |rules| {
            rules.exemptions = exemption("2027-01-31", &format!("controls = [\"{name}\"]"));
        })
    };
    let policy = |name: &str| {
        let forbid = format!(
            "forbid (principal, action, resource) when {{ context.controls.contains(\"{name}\") }};"
        );
        with(&format!("{ALL}{forbid}"), |_| ())
    };
    for (name, found, held) in [
        ("S3.8", "S3.8", true),
        ("S3.8", "prowler:s3_bucket_public_access", true),
        ("S3.8", "config:s3-bucket-public-read-prohibited", true),
        ("prowler:s3_bucket_public_access", "S3.8", true),
        ("S3.2", "S3.8", false),
    ] {
        let mut one = finding(BLOCK);
        one.received.control = found.to_owned();
        let expected = if held { "is refused" } else { "runs" };
        for guard in [exempt(name), policy(name)] {
            assert_eq!(word(&one.judged(&guard)), expected, "{name} of {found}");
        }
    }
    let one = finding(BLOCK);
    for name in ["s3.8", "S3BlockPublicAccess"] {
        assert_eq!(word(&one.judged(&exempt(name))), "is refused", "{name}");
    }
}

/// A policy that names a control wrongly would never apply.
#[test]
fn a_policy_names_controls_as_they_are_called() {
    for (condition, wrong) in [
        ("context.control == \"S3.8\"", None),
        ("context.control == \"S3.88\"", Some("S3.88")),
        ("\"S3.88\" != context.control", Some("S3.88")),
        ("context.controls.contains(\"EC2.1999\")", Some("EC2.1999")),
        (
            "context.controls.containsAny([\"S3.8\", \"ec2-19\"])",
            Some("ec2-19"),
        ),
        (
            "[\"S3.1\", \"S33\"].contains(context.control) && !context.undo",
            Some("S33"),
        ),
        ("resource.region == \"S3.88\"", None),
    ] {
        let text = format!("{ALL}forbid (principal, action, resource) when {{ {condition} }};");
        let loaded = try_load(rules(&text));
        let said = loaded.err().map(|problems| problems.to_string());
        match wrong {
            None => assert_eq!(said, None),
            Some(name) => {
                let said = said.unwrap_or_default();
                let expected = format!("nothing that can be fixed is called `{name}`");
                assert!(said.contains(&expected), "{condition}: {said}");
            }
        }
    }
}

/// The ledger is asked for what is new: since it was read, and but for what has begun and ended.
#[test]
fn what_the_ledger_was_asked_for_is_known() {
    let guard = with(ALL, |rules| rules.limits.per_account = Some(9));
    assert_eq!((guard.began(), guard.seeded()), (None, None));
    let began = "2026-01-31T12:00:00Z".parse().unwrap();
    guard.seed(began, now(), []);
    assert_eq!((guard.began(), guard.seeded()), (Some(began), Some(now())));
    let id = |n| stanch_ledger::RemediationId::from(uuid::Uuid::from_u128(n));
    assert!(guard.known().is_empty());
    for n in [1, 2] {
        assert_eq!(word(&guard.decide(&finding(BLOCK).case(Some(n)))), "runs");
    }
    guard.ended(id(1), &succeeded(), now());
    assert_eq!(guard.known(), [id(1)].into());
}

/// Other rules count on where those before have counted.
#[test]
fn a_guard_that_follows_has_its_counts() {
    let limited = || with(ALL, |rules| rules.limits.per_account = Some(1));
    let before = limited();
    assert_eq!(word(&before.decide(&finding(BLOCK).case(Some(1)))), "runs");
    assert_eq!(word(&finding(BLOCK).judged(&limited())), "runs");
    let other = with(&format!("{ALL}\n"), |rules| {
        rules.limits.per_account = Some(1)
    });
    assert_ne!(other.hash(), before.hash());
    let after = other.following(&before);
    let answer = finding(BLOCK).judged(&after);
    assert_eq!(word(&answer), "waits until 2026-11-22T13:00:00Z");
}
