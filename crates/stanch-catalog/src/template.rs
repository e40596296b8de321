//! Values with expressions in them: `{Bucket: "{{ Bucket }}"}`.

use serde_json::{Map, Value};

use crate::expression::{Expression, ExpressionError, Scope};

/// A value as a catalog file writes it, with its expressions compiled.
///
/// - `"{{ expression }}"` as a whole string becomes the expression's value, with its type;
/// - inside longer text it becomes text (strings, numbers and booleans only);
/// - `"{{? expression }}"` as a whole string is left out of its mapping or list when it is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// Nothing to fill in.
    Literal(Value),
    /// `{{ expression }}`, or `{{? expression }}` if optional.
    Whole {
        /// What stands between the braces.
        expression: Expression,
        /// Left out when null.
        optional: bool,
    },
    /// Text with expressions between.
    Text(Vec<Part>),
    /// A list.
    List(Vec<Template>),
    /// A mapping.
    Map(Vec<(String, Template)>),
}

/// A piece of a text template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// An expression.
    Expression(Expression),
}

/// Why a template cannot be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The expression is wrong, or met a value that it cannot work on.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// `{{` without `}}`.
    #[error("`{0}`: `{{{{` is not closed by `}}}}`")]
    Unclosed(String),
    /// `{{? … }}` inside longer text, where nothing can be left out.
    #[error("`{0}`: `{{{{? … }}}}` must be the whole value")]
    OptionalInText(String),
    /// The expression found nothing.
    #[error("`{0}` has no value here")]
    Null(String),
    /// A list or a mapping inside text.
    #[error("`{0}` is a list or a mapping and cannot stand inside text")]
    NotText(String),
    /// The value itself holds braces, which the runbook engine would take for a reference.
    #[error("the value of `{0}` contains `{{{{`, which is never sent")]
    Braces(String),
}

impl Template {
    /// Compiles every expression in `value`.
    ///
    /// # Errors
    /// The first expression that does not compile.
    pub fn new(value: &Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => Self::text(text)?,
            Value::Array(items) => {
                Self::list(items.iter().map(Self::new).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.iter();
                let compiled = members.map(|(name, member)| Ok((name.clone(), Self::new(member)?)));
                Self::map(compiled.collect::<Result<_, TemplateError>>()?)
            }
            _ => Self::Literal(value.clone()),
        })
    }

    /// A list of what is compiled already.
    pub(crate) fn list(items: Vec<Self>) -> Self {
        if items.iter().all(Self::is_literal) {
            Self::Literal(items.into_iter().filter_map(Self::into_literal).collect())
        } else {
            Self::List(items)
        }
    }

    /// A mapping of what is compiled already.
    pub(crate) fn map(members: Vec<(String, Self)>) -> Self {
        if members.iter().all(|(_, member)| member.is_literal()) {
            let members = members.into_iter();
            let literals =
                members.filter_map(|(name, member)| Some((name, member.into_literal()?)));
            Self::Literal(Value::Object(literals.collect()))
        } else {
            Self::Map(members)
        }
    }

    const fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn into_literal(self) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Compiles every expression in `text`.
    ///
    /// # Errors
    /// The first expression that does not compile.
    pub(crate) fn text(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (source, after) =
                split_closing(after).ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            let (source, optional) = match source.strip_prefix('?') {
                Some(source) => (source, true),
                None => (source, false),
            };
            let expression = Expression::new(source.trim())?;
            if before.is_empty() && after.is_empty() && parts.is_empty() {
                return Ok(Self::Whole {
                    expression,
                    optional,
                });
            }
            if optional {
                return Err(TemplateError::OptionalInText(text.to_owned()));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Expression(expression));
            rest = after;
        }
        if parts.is_empty() {
            return Ok(Self::Literal(Value::String(text.to_owned())));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self::Text(parts))
    }

    /// The value with its expressions replaced by theirs; an optional one that is null and stands
    /// alone gives null.
    ///
    /// # Errors
    /// An expression without a value (unless optional), of a type that does not fit, or whose value
    /// contains `{{`.
    pub fn render(&self, scope: &Scope) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Whole {
                expression,
                optional,
            } => match evaluate(expression, scope)? {
                Value::Null if !optional => {
                    return Err(TemplateError::Null(expression.source().to_owned()));
                }
                value => value,
            },
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(literal) => text.push_str(literal),
                        Part::Expression(expression) => match evaluate(expression, scope)? {
                            Value::Null => {
                                return Err(TemplateError::Null(expression.source().to_owned()));
                            }
                            Value::String(value) => text.push_str(&value),
                            value @ (Value::Number(_) | Value::Bool(_)) => {
                                text.push_str(&value.to_string());
                            }
                            _ => {
                                return Err(TemplateError::NotText(expression.source().to_owned()));
                            }
                        },
                    }
                }
                Value::String(text)
            }
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let value = item.render(scope)?;
                    if !(value.is_null() && item.is_optional()) {
                        list.push(value);
                    }
                }
                Value::Array(list)
            }
            Self::Map(members) => {
                let mut map = Map::with_capacity(members.len());
                for (name, member) in members {
                    let value = member.render(scope)?;
                    if !(value.is_null() && member.is_optional()) {
                        map.insert(name.clone(), value);
                    }
                }
                Value::Object(map)
            }
        })
    }

    const fn is_optional(&self) -> bool {
        matches!(self, Self::Whole { optional: true, .. })
    }

    /// Every expression in it, in order of appearance.
    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Whole { expression, .. } => vec![expression],
            Self::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Text(_) => None,
                    Part::Expression(expression) => Some(expression),
                })
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::expressions).collect(),
            Self::Map(members) => members
                .iter()
                .flat_map(|(_, member)| member.expressions())
                .collect(),
        }
    }
}

/// Splits at the `}}` that closes an expression: the first that leaves the braces, brackets and
/// quotes before it balanced (`{{ {a: {b: c}} }}`).
fn split_closing(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') => {
                let rest = text.get(at..)?.strip_prefix("}}")?;
                return Some((text.get(..at)?, rest));
            }
            _ => {}
        }
    }
    None
}

/// A reference to an earlier step's output stays one until that step has answered: in the scope its
/// value is the runbook engine's own reference, `{{ step.Output }}`. Any other braces are refused.
fn evaluate(expression: &Expression, scope: &Scope) -> Result<Value, TemplateError> {
    let value = expression.evaluate(scope)?;
    let is_reference = || {
        expression
            .step_output()
            .is_some_and(|(step, output)| value == placeholder(step, output))
    };
    if holds_braces(&value) && !is_reference() {
        return Err(TemplateError::Braces(expression.source().to_owned()));
    }
    Ok(value)
}

/// What stands in a plan for an output that is not known yet.
pub(crate) fn placeholder(step: &str, output: &str) -> Value {
    Value::String(format!("{{{{ {step}.{output} }}}}"))
}

fn holds_braces(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(holds_braces),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| name.contains("{{") || holds_braces(member)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::new();
        scope.set("Bucket", &json!("logs"));
        scope.set("n", &json!(3));
        scope.set("flag", &json!(true));
        scope.set("list", &json!([1, 2]));
        scope.set("evil", &json!(["{{ x }}"]));
        scope.set("steps", &json!({"copy": {"Id": "{{ copy.Id }}"}}));
        scope
    }

    fn render(value: Value) -> Result<Value, String> {
        Template::new(&value)
            .and_then(|template| template.render(&scope()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_their_types() {
        let check = |value: Value, expected: Value| assert_eq!(render(value), Ok(expected));
        check(json!("{{ Bucket }}"), json!("logs"));
        check(
            json!({"a": ["{{n}}", "{{ flag }}", "{{list}}"]}),
            json!({"a": [3, true, [1, 2]]}),
        );
        check(
            json!("arn:aws:s3:::{{ Bucket }}/{{ n }}"),
            json!("arn:aws:s3:::logs/3"),
        );
        check(json!({"a": "{{? gone }}", "b": null}), json!({"b": null}));
        check(json!(["{{? gone }}", "{{? n }}"]), json!([3]));
        check(json!("{{ {a: {b: n}} }}"), json!({"a": {"b": 3}}));
        check(json!("{{ '}}' }}"), json!("}}"));
        check(json!("{{ steps.copy.Id }}"), json!("{{ copy.Id }}"));
        check(json!("no braces } here"), json!("no braces } here"));
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let check =
            |value: Value, message: &str| assert_eq!(render(value), Err(message.to_owned()));
        check(json!("{{ gone }}"), "`gone` has no value here");
        check(json!("x{{ gone }}"), "`gone` has no value here");
        check(
            json!("x{{ list }}"),
            "`list` is a list or a mapping and cannot stand inside text",
        );
        check(
            json!("x{{? n }}"),
            "`x{{? n }}`: `{{? … }}` must be the whole value",
        );
        check(json!("{{ n"), "`{{ n`: `{{` is not closed by `}}`");
        check(
            json!("{{ evil }}"),
            "the value of `evil` contains `{{`, which is never sent",
        );
    }
}
