//! What holds for any input.

use std::sync::Arc;

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stanch_runbook::*;

use crate::scenario::{Input, World, models};

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9_]{0,8}"
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just("line\n  two\n".to_owned()),
        Just("{{ a.B }}".to_owned()),
        Just("x {{ P }} {{".to_owned()),
        Just("yes".to_owned()),
        Just("0.3".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn kind() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::String),
        Just(Type::StringList),
        Just(Type::Boolean),
        Just(Type::Integer),
        Just(Type::StringMap),
        Just(Type::MapList),
        Just("List<AWS::EC2::Instance::Id>".parse().unwrap()),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = (value(), prop::sample::select(Operator::ALL), value()).prop_map(
        |(variable, operator, operand)| Condition::Is {
            variable,
            operator,
            operand,
        },
    );
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn action() -> impl Strategy<Value = Action> {
    let inputs = prop::collection::vec((word(), value()), 0..4);
    let simple: Vec<ActionName> = ActionName::ALL
        .iter()
        .copied()
        .filter(|name| !matches!(name, ActionName::Branch | ActionName::Loop))
        .collect();
    prop_oneof![
        3 => (prop::sample::select(simple), inputs)
            .prop_map(|(name, inputs)| Action::run(name, inputs.into_iter().collect())),
        1 => (prop::collection::vec((word(), condition()), 0..3), prop::option::of(word())).prop_map(|(choices, default)| {
            let choices = choices.into_iter().map(|(next_step, condition)| Choice { next_step, condition }).collect();
            Action::Branch(Branch { choices, default })
        }),
    ]
}

fn setting() -> impl Strategy<Value = Option<Setting>> {
    prop::option::of(prop_oneof![
        (0..10_000_u64).prop_map(Setting::Literal),
        Just(Setting::Reference("{{ Number }}".into())),
    ])
}

fn step(action: BoxedStrategy<Action>) -> impl Strategy<Value = Step> {
    let failure = prop::option::of(prop_oneof![
        Just(OnFailure::Abort),
        Just(OnFailure::Continue),
        word().prop_map(OnFailure::Step)
    ]);
    let cancel = prop::option::of(prop_oneof![
        Just(OnCancel::Abort),
        word().prop_map(OnCancel::Step)
    ]);
    let outputs = prop::collection::vec((word(), "[$][.][a-zA-Z]{1,6}", kind()), 0..3);
    let settings = (
        setting(),
        setting(),
        any::<bool>(),
        prop::option::of(any::<bool>()),
        prop::option::of(word()),
    );
    (word(), action, failure, cancel, outputs, settings).prop_map(
        |(
            name,
            action,
            on_failure,
            on_cancel,
            outputs,
            (max_attempts, timeout_seconds, is_end, is_critical, next_step),
        )| Step {
            description: None,
            on_failure,
            on_cancel,
            max_attempts,
            timeout_seconds,
            is_end,
            is_critical,
            next_step,
            outputs: outputs
                .into_iter()
                .map(|(name, selector, kind)| Output {
                    name,
                    selector,
                    kind,
                })
                .collect(),
            ..Step::new(name, action)
        },
    )
}

fn document() -> impl Strategy<Value = Document> {
    let body = prop::collection::vec(step(action().boxed()), 1..3);
    let repeat = (body, value(), setting()).prop_map(|(steps, iterators, max_iterations)| {
        let iteration = Iteration::Each {
            iterators,
            kind: Type::String,
        };
        Action::Loop(Loop {
            steps,
            iteration,
            max_iterations,
        })
    });
    let any_action = prop_oneof![6 => action().boxed(), 1 => repeat.boxed()].boxed();
    let parameters = prop::collection::vec((word(), kind(), prop::option::of(value())), 0..3);
    (
        prop::collection::vec(step(any_action), 1..5),
        parameters,
        prop::collection::vec("[a-z]{1,4}[.][A-Z]", 0..2),
    )
        .prop_map(|(steps, parameters, outputs)| Document {
            steps,
            outputs,
            parameters: parameters
                .into_iter()
                // `default: null` is no default.
                .map(|(name, kind, default)| {
                    (
                        name,
                        Parameter {
                            default: default.filter(|d| !d.is_null()),
                            ..Parameter::required(kind)
                        },
                    )
                })
                .collect::<IndexMap<_, _>>(),
            ..Document::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_document_reads_as_it_was_written(document in document()) {
        let yaml = document.to_yaml();
        let parsed = parse(&yaml);
        prop_assert_eq!(&parsed.diagnostics, &[], "{}", yaml);
        prop_assert_eq!(parsed.document.as_ref(), Some(&document), "{}", yaml);
        prop_assert_eq!(parse(&document.to_json().to_string()).document, Some(document));
    }

    #[test]
    fn any_document_can_be_checked_and_tried(document in document()) {
        let _ = check(&document, models());
        let input: Input = serde_json::from_value(json!({ "dry_run": true })).unwrap();
        let world = World::new(input, Default::default());
        let options = Options { mode: Mode::DryRun, ..Options::default() };
        // Whatever it is, it ends, and nothing that changes anything was sent.
        let result = std::panic::AssertUnwindSafe(|| world.clock.run(Engine::new(world.ports()).run(Arc::new(document), &Map::new(), options)));
        let result = result();
        if let Ok(outcome) = result {
            prop_assert!(outcome.status().is_final());
        }
        prop_assert!(world.sent.lock().unwrap().is_empty());
    }

    #[test]
    fn any_text_can_be_parsed(text in "\\PC{0,60}", yaml in "(mainSteps|name|inputs|action|- |: |\n|  |aws:branch|Choices|\\{|\\}|'|&a|\\*a){0,40}") {
        for text in [text, yaml] {
            if let Some(document) = parse(&text).document {
                let _ = check(&document, models());
            }
        }
    }

    #[test]
    fn any_selector_is_read_or_refused(text in "[$.\\[\\]a-c0-2*?(@)=' ]{0,16}") {
        if let Ok(selector) = text.parse::<Selector>() {
            let _ = selector.select(&json!({"a": [{"b": 1, "c": {"a": [1, 2]}}], "b": null}));
        }
    }

    #[test]
    fn any_pattern_is_compiled_or_refused(java in "[\\[\\]\\\\wds^$.*+?(){},a-c0-2-]{0,16}", text in "[a-c0-2 -]{0,8}") {
        if let Ok(pattern) = Pattern::new(&java) {
            let _ = pattern.matches(&text);
        }
    }
}

#[test]
fn an_output_has_its_declared_type_whatever_the_answer_has() {
    let output = |kind| stanch_runbook::Output {
        name: "Version".to_owned(),
        selector: "$.Version.Number".to_owned(),
        kind,
    };
    let answer = serde_json::json!({"Version": {"Number": 7}});
    let of = |kind, answer| output(kind).of(answer).unwrap();
    assert_eq!(of(Type::String, &answer), Some("7".into()));
    assert_eq!(of(Type::Integer, &answer), Some(7.into()));
    assert_eq!(of(Type::String, &serde_json::json!({})), None);
    assert!(output(Type::StringMap).of(&answer).is_err());
}
