//! Where steps lead: jumps to nowhere, circles, steps that nothing leads to.

use std::collections::{HashMap, HashSet};

use super::{Report, suggest};
use crate::{Action, Document, OnCancel, OnFailure, Step};

pub(super) fn check(document: &Document, report: &mut Report<'_>) {
    list(&document.steps, "/mainSteps", &[], report);
    for (index, step) in document.steps.iter().enumerate() {
        if let Action::Loop(body) = &step.action {
            let pointer = format!("/mainSteps/{index}/inputs/Steps");
            list(&body.steps, &pointer, &document.steps, report);
        }
    }
}

/// The names that a step may lead to, with the key that says so. Cancellation is told apart: what it
/// leads to is another run of steps.
fn jumps(step: &Step) -> Vec<(String, &str, bool)> {
    let mut jumps = Vec::new();
    if let Some(next) = &step.next_step {
        jumps.push(("nextStep".to_owned(), next.as_str(), false));
    }
    if let Some(OnFailure::Step(next)) = &step.on_failure {
        jumps.push(("onFailure".to_owned(), next, false));
    }
    if let Some(OnCancel::Step(next)) = &step.on_cancel {
        jumps.push(("onCancel".to_owned(), next, true));
    }
    if let Action::Branch(branch) = &step.action {
        for (index, choice) in branch.choices.iter().enumerate() {
            jumps.push((
                format!("inputs/Choices/{index}/NextStep"),
                &choice.next_step,
                false,
            ));
        }
        if let Some(default) = &branch.default {
            jumps.push(("inputs/Default".to_owned(), default, false));
        }
    }
    jumps
}

/// Checks one list of steps; `outside` are those that a loop's body may jump to.
fn list(steps: &[Step], pointer: &str, outside: &[Step], report: &mut Report<'_>) {
    let place: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, s)| (s.name.as_str(), i))
        .collect();
    for (index, step) in steps.iter().enumerate() {
        for (key, target, _) in jumps(step) {
            let known =
                place.contains_key(target) || outside.iter().any(|other| other.name == target);
            if !known {
                report.error(
                    &format!("{pointer}/{index}/{key}"),
                    format!(
                        "step `{}` leads to `{target}`, which does not exist",
                        step.name
                    ),
                    suggest(target, steps.iter().map(|step| step.name.as_str())),
                );
            }
        }
    }
    let edges: Vec<Vec<usize>> = (0..steps.len())
        .map(|i| edges(steps, i, &place, false))
        .collect();
    if let Some(circle) = circle(&edges) {
        let names: Vec<&str> = circle
            .iter()
            .filter_map(|i| steps.get(*i))
            .map(|s| s.name.as_str())
            .collect();
        let at = circle.first().copied().unwrap_or_default();
        report.error(
            &format!("{pointer}/{at}"),
            format!("the steps go in a circle: {}", names.join(" → ")),
            "repeat steps with `aws:loop`".to_owned(),
        );
    }
    let mut reached = HashSet::new();
    let mut open = vec![0];
    while let Some(index) = open.pop() {
        if index < steps.len() && reached.insert(index) {
            open.extend(self::edges(steps, index, &place, true));
            // What a loop's body jumps to is reached through the loop.
            for inner in steps.get(index).map(Step::body).unwrap_or_default() {
                open.extend(
                    jumps(inner)
                        .iter()
                        .filter_map(|(_, target, _)| place.get(target)),
                );
            }
        }
    }
    for (index, step) in steps
        .iter()
        .enumerate()
        .filter(|(index, _)| !reached.contains(index))
    {
        report.warning(
            &format!("{pointer}/{index}"),
            format!("no step leads to `{}`", step.name),
            "remove it, or name it in a `nextStep`, `onFailure` or branch".to_owned(),
        );
    }
}

/// The steps of the same list that may come after one.
pub(super) fn edges(
    steps: &[Step],
    index: usize,
    place: &HashMap<&str, usize>,
    cancelled: bool,
) -> Vec<usize> {
    let Some(step) = steps.get(index) else {
        return Vec::new();
    };
    let mut targets: Vec<usize> = jumps(step)
        .into_iter()
        .filter(|(key, _, on_cancel)| {
            (cancelled || !on_cancel) && !(key == "nextStep" && step.is_end)
        })
        .filter_map(|(_, target, _)| place.get(target).copied())
        .collect();
    let decided = matches!(&step.action, Action::Branch(branch) if branch.default.is_some());
    if step.next_step.is_none() && !step.is_end && !decided && index + 1 < steps.len() {
        targets.push(index + 1);
    }
    targets
}

/// A circle, from a step back to itself.
fn circle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Closed,
    }
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        // A stack of its own: a long document must not exhaust the thread's.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.pop() {
            let Some(mark) = marks.get_mut(node) else {
                continue;
            };
            if *mark == Mark::Closed || (next == 0 && *mark == Mark::Open) {
                continue;
            }
            *mark = Mark::Open;
            match edges.get(node).and_then(|targets| targets.get(next)) {
                None => *mark = Mark::Closed,
                Some(&target) => {
                    path.push((node, next + 1));
                    match marks.get(target) {
                        Some(Mark::Open) => {
                            let mut circle: Vec<usize> = path
                                .iter()
                                .map(|(node, _)| *node)
                                .skip_while(|node| *node != target)
                                .collect();
                            circle.push(target);
                            return Some(circle);
                        }
                        Some(Mark::New) => path.push((target, 0)),
                        _ => {}
                    }
                }
            }
        }
    }
    None
}
