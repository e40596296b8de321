//! Branches, conditions and loops.

use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Entry, Node};

use super::Reader;
use crate::{Branch, Choice, Condition, Iteration, Loop, Operator, Type};

/// How deep `And`, `Or` and `Not` may be nested.
const CONDITION_DEPTH: usize = 16;

impl Reader {
    pub(super) fn branch(&mut self, inputs: &Node, pointer: &str) -> Branch {
        let mut branch = Branch::default();
        for Entry { at, key, value } in inputs.as_map().unwrap_or_default() {
            match key.as_str() {
                "Choices" => match value.as_list() {
                    Some(choices) => {
                        for node in choices {
                            let kept = branch.choices.len();
                            self.place(node, &format!("{pointer}/inputs/Choices/{kept}"));
                            branch.choices.extend(self.choice(node));
                        }
                    }
                    None => self.error(
                        value.at,
                        format!("`Choices` is a list, this is {}", value.describe()),
                    ),
                },
                "Default" => branch.default = self.text(value, key),
                other => self.unknown_key(
                    *at,
                    other,
                    &["Choices", "Default"],
                    "the inputs of a branch",
                ),
            }
        }
        if inputs.get("Choices").is_none() {
            self.report(
                Diagnostic::error(inputs.at, "the branch has no `Choices`")
                    .hint("write `Choices:` with a list of `NextStep`, `Variable` and an operator"),
            );
        }
        branch
    }

    pub(super) fn choice(&mut self, node: &Node) -> Option<Choice> {
        if node.as_map().is_none() {
            self.error(
                node.at,
                format!("a choice is a mapping, this is {}", node.describe()),
            );
            return None;
        }
        let next_step = match node.get("NextStep") {
            Some(next) => self.text(next, "NextStep"),
            None => {
                self.report(
                    Diagnostic::error(node.at, "the choice has no `NextStep`")
                        .hint("write `NextStep:` with the name of a step"),
                );
                None
            }
        };
        let condition = self.condition(node, 0)?;
        Some(Choice {
            next_step: next_step?,
            condition,
        })
    }

    /// The condition of a mapping, whose key `NextStep` (if any) belongs to somebody else.
    pub(super) fn condition(&mut self, node: &Node, depth: usize) -> Option<Condition> {
        if depth > CONDITION_DEPTH {
            self.error(
                node.at,
                format!("conditions are nested more than {CONDITION_DEPTH} levels deep"),
            );
            return None;
        }
        let Some(entries) = node.as_map() else {
            self.error(
                node.at,
                format!("a condition is a mapping, this is {}", node.describe()),
            );
            return None;
        };
        let mut found: Option<Condition> = None;
        let variable = node.get("Variable");
        for Entry { at, key, value } in entries {
            let condition = match key.as_str() {
                "NextStep" if depth == 0 => continue,
                "Variable" => continue,
                "And" => Condition::And(self.conditions(value, depth)?),
                "Or" => Condition::Or(self.conditions(value, depth)?),
                "Not" => Condition::Not(Box::new(self.condition(value, depth + 1)?)),
                name => {
                    let Some(operator) = Operator::ALL.iter().copied().find(|o| o.name() == name)
                    else {
                        let known = Operator::ALL
                            .iter()
                            .map(|o| o.name())
                            .chain(["And", "Or", "Not", "Variable", "NextStep"]);
                        let diagnostic =
                            Diagnostic::error(*at, format!("`{name}` is not an operator"));
                        self.report(match name {
                            "StringNotEquals" => {
                                diagnostic.hint("write `Not:` with `StringEquals` below it")
                            }
                            _ => match nearest(name, known).first() {
                                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                                None => diagnostic
                                    .hint("one of StringEquals, BooleanEquals, NumericEquals, …"),
                            },
                        });
                        return None;
                    };
                    let Some(variable) = variable else {
                        self.report(
                            Diagnostic::error(
                                *at,
                                format!("`{name}` has no `Variable` to compare with"),
                            )
                            .hint("write `Variable: '{{ step.Output }}'` beside it"),
                        );
                        return None;
                    };
                    Condition::Is {
                        variable: variable.to_json(),
                        operator,
                        operand: value.to_json(),
                    }
                }
            };
            if found.replace(condition).is_some() {
                self.report(
                    Diagnostic::error(*at, "the condition has more than one operator")
                        .hint("put each into a list under `And` or `Or`"),
                );
                return None;
            }
        }
        if found.is_none() {
            self.report(
                Diagnostic::error(node.at, "the condition has no operator")
                    .hint("write `StringEquals: …` beside `Variable`"),
            );
        }
        found
    }

    pub(super) fn conditions(&mut self, node: &Node, depth: usize) -> Option<Vec<Condition>> {
        let Some(items) = node.as_list() else {
            self.error(
                node.at,
                format!("`And` and `Or` take a list, this is {}", node.describe()),
            );
            return None;
        };
        items
            .iter()
            .map(|item| self.condition(item, depth + 1))
            .collect()
    }

    pub(super) fn repeat(&mut self, inputs: &Node, pointer: &str) -> Option<Loop> {
        let (mut steps, mut iterators, mut kind, mut condition, mut max) =
            (Vec::new(), None, Type::String, None, None);
        for Entry { at, key, value } in inputs.as_map().unwrap_or_default() {
            match key.as_str() {
                "Steps" => steps = self.steps(value, &format!("{pointer}/inputs/Steps"), false),
                "Iterators" => iterators = Some(value.to_json()),
                "IteratorDataType" => {
                    kind = self.kind(value);
                    if matches!(kind, Type::StringList | Type::MapList) {
                        self.report(
                            Diagnostic::error(
                                value.at,
                                format!("the elements of a loop cannot be of type {kind}"),
                            )
                            .hint("one of String, Integer, Boolean, StringMap"),
                        );
                    }
                }
                "LoopCondition" => condition = Some(self.condition(value, 1)?),
                "MaxIterations" => max = self.setting(value, key),
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "Steps",
                        "Iterators",
                        "IteratorDataType",
                        "LoopCondition",
                        "MaxIterations",
                    ],
                    "the inputs of a loop",
                ),
            }
        }
        if inputs.get("Steps").is_none() {
            self.error(inputs.at, "the loop has no `Steps`");
        }
        let iteration = match (iterators, condition) {
            (Some(iterators), None) => Iteration::Each { iterators, kind },
            (None, Some(condition)) => Iteration::While(condition),
            _ => {
                self.report(
                    Diagnostic::error(inputs.at, "a loop takes one of `Iterators` and `LoopCondition`")
                        .hint("write `Iterators:` to go over a list, `LoopCondition:` to repeat while it holds"),
                );
                return None;
            }
        };
        Some(Loop {
            steps,
            iteration,
            max_iterations: max,
        })
    }
}
