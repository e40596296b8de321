//! Why the guard says what it says, and what would change that.

use serde::Serialize;
use stanch_ledger::Verdict;

use crate::{
    facts::{Facts, Principal},
    guard::{Answer, Case, Guard, Rank, because},
    policies::Run,
};

/// A decision, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What is allowed.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Each question with its answer.
    pub questions: Vec<Question>,
    /// What would let it go further.
    pub changes: Vec<Change>,
}

/// What policies say to one of the three questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// `automatically`, `onRequest` or `afterApproval`.
    pub run: &'static str,
    /// It is permitted.
    pub permitted: bool,
    /// Why.
    pub because: Vec<String>,
}

/// Something that would let a change go further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What.
    pub what: String,
    /// How far: `run` or `approval`.
    pub then: &'static str,
}

impl Guard {
    /// Explains what [`Self::judge`] says.
    #[must_use]
    pub fn explain(&self, case: &Case<'_>) -> Explanation {
        let Answer {
            verdict,
            reasons,
            policies,
            ..
        } = self.judge(case);
        let mut explanation = Explanation {
            verdict,
            reasons,
            policies,
            questions: Vec::new(),
            changes: Vec::new(),
        };
        let Ok(facts) = self.facts(case) else {
            return explanation;
        };
        for run in Run::ALL.into_iter().rev() {
            let ruling = self.ask(&facts, run);
            explanation.questions.push(Question {
                run: run.name(),
                permitted: ruling.permitted,
                because: because(&self.policies, run, &ruling),
            });
        }
        explanation.changes = self.changes(case, &facts);
        explanation
    }

    /// Tries what may be otherwise, one thing at a time.
    fn changes(&self, case: &Case<'_>, facts: &Facts) -> Vec<Change> {
        let caps = self.caps(case, facts);
        let now = match (caps.refuse.is_empty(), caps.approval.is_empty()) {
            (false, _) => return vec![],
            (true, false) => self.ranked(facts, Rank::Approval).rank,
            (true, true) => self.ranked(facts, Rank::Run).rank,
        };
        if now == Rank::Run {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut tried = |what: String, rank: Rank| {
            if rank > now {
                let then = if rank == Rank::Run { "run" } else { "approval" };
                found.push(Change { what, then });
            }
        };
        let free = self.ranked(facts, Rank::Run).rank;
        for cap in &caps.approval {
            if caps.approval.len() == 1 {
                tried(format!("without this: {cap}"), free);
            }
        }
        let top = if caps.approval.is_empty() {
            Rank::Run
        } else {
            Rank::Approval
        };
        let mut with = |what: String, change: &dyn Fn(&mut Facts)| {
            let mut other = facts.clone();
            change(&mut other);
            tried(what, self.ranked(&other, top).rank);
        };
        match &facts.principal {
            Principal::Source(_) => {
                for mfa in [false, true] {
                    let what = match mfa {
                        false => "a person asks for it",
                        true => "a person asks for it with a second factor",
                    };
                    with(what.to_owned(), &|facts| {
                        facts.principal = Principal::Person {
                            name: "somebody".to_owned(),
                            mfa,
                            roles: [].into(),
                        };
                    });
                }
            }
            Principal::Person { name, mfa, roles } => {
                if !mfa {
                    with(format!("`{name}` asks with a second factor"), &|facts| {
                        if let Principal::Person { mfa, .. } = &mut facts.principal {
                            *mfa = true;
                        }
                    });
                }
                let known = self.people.values().flatten();
                let others: std::collections::BTreeSet<&String> =
                    known.filter(|role| !roles.contains(*role)).collect();
                for role in others {
                    with(
                        format!("somebody of the role `{role}` asks for it"),
                        &|facts| {
                            if let Principal::Person { roles, .. } = &mut facts.principal {
                                roles.insert(role.clone());
                            }
                        },
                    );
                }
            }
        }
        if facts.open.contains(&false) {
            with("all calendars are open".to_owned(), &|facts| {
                facts.open.iter_mut().for_each(|open| *open = true);
            });
        }
        for (severity, label) in [(70, "HIGH"), (90, "CRITICAL")] {
            if facts.severity.is_none_or(|known| known < severity) {
                with(format!("its severity is {label}"), &|facts| {
                    facts.severity = Some(severity);
                });
            }
        }
        for index in 0..facts.impact.len() {
            let Some((name, ..)) = facts.impact.get(index) else {
                continue;
            };
            with(format!("`{name}` is not so"), &|facts| {
                drop(facts.impact.remove(index));
            });
        }
        if facts.counts.day.iter().any(|count| *count > 0) {
            with("nothing else is changed for a day".to_owned(), &|facts| {
                facts.counts = Default::default();
            });
        }
        // The policies that say no, one at a time.
        let asked = Run::ALL.map(|run| self.ask(facts, run).policies);
        let forbids: std::collections::BTreeSet<String> = asked
            .into_iter()
            .flatten()
            .filter(|name| self.policies.is_forbid(name))
            .collect();
        for name in forbids {
            if let Some(policies) = self.policies.without(&name) {
                let rank = self.ranked_by(&policies, facts, top).rank;
                tried(format!("without policy `{name}`"), rank);
            }
        }
        found
    }
}
