//! Branches: the way a decided one goes, and every way an undecided one may go.

use super::{
    condition::{Truth, evaluate},
    names,
    run::{Ended, Leave, Next, Run, Target},
};
use crate::{Branch, ParentStepDetails, Reference, Step};

/// Undecided branches within undecided branches that a dry run follows.
const DRY_FORKS: usize = 12;

impl Run {
    pub(super) fn branch(&mut self, step: &Step, branch: &Branch) -> Ended {
        let mut possible = Vec::new();
        let mut why = Vec::new();
        for choice in &branch.choices {
            match evaluate(&choice.condition, &self.scope) {
                Err(error) => return Ended::badly(error),
                Ok(Truth::Fails) => {}
                Ok(Truth::Holds) if possible.is_empty() => {
                    return Ended {
                        next: Some(Next::Step(choice.next_step.clone())),
                        ..Ended::well()
                    };
                }
                Ok(Truth::Holds) => {
                    possible.push(Target::Step(choice.next_step.clone()));
                    return self.undecided(step, possible, &why);
                }
                Ok(Truth::Unknown(references)) => {
                    for reference in references {
                        if !why.contains(&reference) {
                            why.push(reference);
                        }
                    }
                    possible.push(Target::Step(choice.next_step.clone()));
                }
            }
        }
        let otherwise = match &branch.default {
            Some(name) => Target::Step(name.clone()),
            None => Target::of(step),
        };
        if possible.is_empty() {
            return Ended {
                next: Some(otherwise.into()),
                ..Ended::well()
            };
        }
        possible.push(otherwise);
        self.undecided(step, possible, &why)
    }

    fn undecided(&mut self, step: &Step, possible: Vec<Target>, why: &[Reference]) -> Ended {
        let mut ways: Vec<(String, Target)> = Vec::new();
        for target in possible {
            let words = match &target {
                Target::Step(name) => format!("`{}` goes to `{name}`", step.name),
                Target::Following => format!("`{}` goes on", step.name),
                Target::End => format!("`{}` ends", step.name),
            };
            if ways.iter().all(|(other, _)| *other != words) {
                ways.push((words, target));
            }
        }
        let list: Vec<&str> = ways.iter().map(|(words, _)| words.as_str()).collect();
        self.dry.doubt(
            &step.name,
            format!("depends on {}: {}", names(why), list.join(" or ")),
        );
        Ended {
            next: Some(Next::Undecided(ways)),
            ..Ended::well()
        }
    }

    /// Dry run: follows every way that an undecided branch may go, to its end.
    pub(super) async fn fork(
        &mut self,
        steps: &[Step],
        at: usize,
        ways: Vec<(String, Target)>,
        round: Option<&ParentStepDetails>,
    ) -> Leave {
        if self.ways.len() >= DRY_FORKS {
            let name = steps.get(at).map_or("", |step| &step.name);
            self.dry.doubt(
                name,
                "is not followed: too many undecided branches lead here",
            );
            return Leave::End;
        }
        let scope = self.scope.clone();
        let wrote = self.wrote;
        let mut wrote_any = wrote;
        let mut result = None;
        for (words, target) in ways {
            self.scope = scope.clone();
            self.wrote = wrote;
            self.ways.push(words);
            let leave = match target {
                Target::End => Leave::End,
                Target::Following => self.walk(steps, at + 1, round).await,
                Target::Step(name) => match steps.iter().position(|step| step.name == name) {
                    Some(target) => self.walk(steps, target, round).await,
                    None => Leave::Jump(name),
                },
            };
            self.ways.pop();
            wrote_any |= self.wrote;
            // Inside a loop the ways may part; the one that stays in the loop is followed on.
            if result.is_none() || matches!(leave, Leave::Done) {
                result = Some(leave);
            }
        }
        self.wrote = wrote_any;
        result.unwrap_or(Leave::Done)
    }
}
