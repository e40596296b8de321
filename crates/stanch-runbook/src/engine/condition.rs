//! Conditions of branches and loops.

use serde_json::Value;

use crate::{
    Condition, Operator, Reference, StepError,
    reference::{Lookup, in_text, render},
};

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Truth {
    Holds,
    Fails,
    /// Only the real run will tell, because of these.
    Unknown(Vec<Reference>),
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

/// Evaluates a condition.
///
/// # Errors
/// A number or boolean is asked for and there is none: going either way would be a guess.
pub(super) fn evaluate(condition: &Condition, lookup: &dyn Lookup) -> Result<Truth, StepError> {
    match condition {
        Condition::Is {
            variable,
            operator,
            operand,
        } => {
            let variable = render(variable, lookup);
            let operand = render(operand, lookup);
            let unknown: Vec<Reference> = variable
                .unknown
                .into_iter()
                .chain(operand.unknown)
                .collect();
            if !unknown.is_empty() {
                return Ok(Truth::Unknown(unknown));
            }
            compare(&variable.value, *operator, &operand.value).map(Truth::from)
        }
        Condition::Not(inner) => Ok(match evaluate(inner, lookup)? {
            Truth::Holds => Truth::Fails,
            Truth::Fails => Truth::Holds,
            unknown => unknown,
        }),
        Condition::And(all) => fold(all, lookup, Truth::Fails, Truth::Holds),
        Condition::Or(any) => fold(any, lookup, Truth::Holds, Truth::Fails),
    }
}

/// `decisive` decides alone; `otherwise` is the answer of none.
fn fold(
    conditions: &[Condition],
    lookup: &dyn Lookup,
    decisive: Truth,
    otherwise: Truth,
) -> Result<Truth, StepError> {
    let mut unknown = Vec::new();
    for condition in conditions {
        match evaluate(condition, lookup)? {
            Truth::Unknown(references) => unknown.extend(references),
            truth if truth == decisive => return Ok(decisive),
            _ => {}
        }
    }
    Ok(if unknown.is_empty() {
        otherwise
    } else {
        Truth::Unknown(unknown)
    })
}

fn compare(variable: &Value, operator: Operator, operand: &Value) -> Result<bool, StepError> {
    let (left, right) = (in_text(variable), in_text(operand));
    let numbers = || Ok::<_, StepError>((number(&left)?, number(&right)?));
    Ok(match operator {
        Operator::StringEquals => left == right,
        Operator::EqualsIgnoreCase => left.to_lowercase() == right.to_lowercase(),
        Operator::StartsWith => left.starts_with(&right),
        Operator::EndsWith => left.ends_with(&right),
        Operator::Contains => left.contains(&right),
        Operator::BooleanEquals => boolean(&left)? == boolean(&right)?,
        Operator::NumericEquals => numbers().map(|(a, b)| a == b)?,
        Operator::NumericGreater => numbers().map(|(a, b)| a > b)?,
        Operator::NumericLesser => numbers().map(|(a, b)| a < b)?,
        Operator::NumericGreaterOrEquals => numbers().map(|(a, b)| a >= b)?,
        Operator::NumericLesserOrEquals => numbers().map(|(a, b)| a <= b)?,
    })
}

fn number(text: &str) -> Result<f64, StepError> {
    text.trim()
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite())
        .ok_or_else(|| StepError::Input(format!("`{text}` is compared as a number and is none")))
}

fn boolean(text: &str) -> Result<bool, StepError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(StepError::Input(format!(
            "`{text}` is compared as a boolean and is none"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reference::Found;

    struct Names;

    impl Lookup for Names {
        fn find(&self, reference: &Reference) -> Found {
            match reference.to_string().as_str() {
                "N" => Found::Value(json!(7)),
                "B" => Found::Value(json!(true)),
                "S" => Found::Value(json!("Abc")),
                "U" => Found::Unknown,
                _ => Found::Unset,
            }
        }
    }

    fn is(variable: &str, operator: Operator, operand: Value) -> Condition {
        Condition::Is {
            variable: json!(variable),
            operator,
            operand,
        }
    }

    #[test]
    fn operators_compare() {
        use Operator as O;
        for (variable, operator, operand, holds) in [
            ("{{ S }}", O::StringEquals, json!("Abc"), true),
            ("{{ S }}", O::StringEquals, json!("abc"), false),
            ("{{ S }}", O::EqualsIgnoreCase, json!("aBC"), true),
            ("{{ S }}", O::StartsWith, json!("A"), true),
            ("{{ S }}", O::EndsWith, json!("c"), true),
            ("{{ S }}", O::Contains, json!("B"), false),
            ("{{ N }}", O::NumericEquals, json!("7.0"), true),
            ("{{ N }}", O::NumericGreater, json!(6), true),
            ("{{ N }}", O::NumericLesser, json!(6), false),
            ("{{ N }}", O::NumericGreaterOrEquals, json!(7), true),
            ("{{ N }}", O::NumericLesserOrEquals, json!("{{ N }}"), true),
            ("{{ B }}", O::BooleanEquals, json!(true), true),
            ("{{ B }}", O::BooleanEquals, json!("False"), false),
            ("{{ N }}", O::StringEquals, json!("7"), true),
            ("{{ gone.X }}", O::Contains, json!("gone.X"), true),
        ] {
            assert_eq!(
                evaluate(&is(variable, operator, operand.clone()), &Names),
                Ok(Truth::from(holds)),
                "{variable} {operator:?} {operand}"
            );
        }
        assert!(evaluate(&is("{{ gone.X }}", O::NumericEquals, json!(1)), &Names).is_err());
        assert!(evaluate(&is("{{ S }}", O::BooleanEquals, json!(true)), &Names).is_err());
    }

    #[test]
    fn the_unknown_decides_only_where_it_must() {
        let unknown = || is("{{ U }}", Operator::StringEquals, json!("x"));
        let holds = || is("{{ S }}", Operator::StringEquals, json!("Abc"));
        let fails = || is("{{ S }}", Operator::StringEquals, json!("x"));
        let of = |condition| evaluate(&condition, &Names).unwrap();
        assert!(matches!(of(unknown()), Truth::Unknown(_)));
        assert!(matches!(
            of(Condition::Not(Box::new(unknown()))),
            Truth::Unknown(_)
        ));
        assert_eq!(of(Condition::Or(vec![unknown(), holds()])), Truth::Holds);
        assert_eq!(of(Condition::And(vec![unknown(), fails()])), Truth::Fails);
        assert!(matches!(
            of(Condition::And(vec![unknown(), holds()])),
            Truth::Unknown(_)
        ));
        assert_eq!(of(Condition::And(vec![])), Truth::Holds);
    }
}
