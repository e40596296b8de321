//! JMESPath (<https://jmespath.org/specification.html>) over a scope of named values.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jmespath::{Context, ErrorReason, JmespathError, Rcvar, Variable, ast::Ast};
use serde_json::{Number, Value};

/// A compiled JMESPath expression.
///
/// Numbers compare as 64-bit floats, and an object that an expression builds or passes on loses the
/// order of its members. A policy document is therefore kept as text, and changed by functions.
#[derive(Clone)]
pub struct Expression {
    source: String,
    ast: Arc<Ast>,
}

/// An expression that cannot be compiled or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}`: {reason}")]
pub struct ExpressionError {
    /// The expression.
    pub expression: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ExpressionError {
    fn new(source: &str, error: &JmespathError) -> Self {
        let reason = match &error.reason {
            // "Unexpected nud token -- found Eof", of the library's parser.
            ErrorReason::Parse(text) => match text.split_once("-- found ") {
                Some((_, "Eof")) => "it ends too early".to_owned(),
                Some((_, token)) => {
                    format!("unexpected {token} at character {}", error.offset + 1)
                }
                None => format!("{} at character {}", text.trim(), error.offset + 1),
            },
            ErrorReason::Runtime(error) => error.to_string(),
        };
        let mut reason = reason.replace('\n', " ");
        if let Some(first) = reason.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Self {
            expression: source.to_owned(),
            reason,
        }
    }
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// A syntax error, or a function that JMESPath does not have.
    pub fn new(source: &str) -> Result<Self, ExpressionError> {
        let ast = jmespath::parse(source).map_err(|error| ExpressionError::new(source, &error))?;
        let mut unknown = None;
        let mut negated = false;
        walk(&ast, &mut |node| {
            if let Ast::Function { name, .. } = node
                && jmespath::DEFAULT_RUNTIME.get_function(name).is_none()
            {
                unknown.get_or_insert_with(|| name.clone());
            }
            negated |= is_inside_negation(node);
        });
        if negated {
            return Err(ExpressionError {
                expression: source.to_owned(),
                reason: "`!a.b` is read as `(!a).b`, which is always null; write `!(a.b)`"
                    .to_owned(),
            });
        }
        match unknown {
            Some(name) => Err(ExpressionError {
                expression: source.to_owned(),
                reason: format!("JMESPath has no function `{name}`"),
            }),
            None => Ok(Self {
                source: source.to_owned(),
                ast: Arc::new(ast),
            }),
        }
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The value of the expression; `null` for what is not there.
    ///
    /// # Errors
    /// A function that is given a value of a type that it does not take.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        self.search(&scope.root)
    }

    /// The value of the expression over one value instead of a scope.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn pick(&self, from: &Value) -> Result<Value, ExpressionError> {
        self.search(&variable(from))
    }

    fn search(&self, root: &Rcvar) -> Result<Value, ExpressionError> {
        let mut context = Context::new(&self.source, &jmespath::DEFAULT_RUNTIME);
        jmespath::interpret(root, &self.ast, &mut context)
            .map(|found| value(&found))
            .map_err(|error| ExpressionError::new(&self.source, &error))
    }

    /// Step and output, if it is `steps.<step>.<output>` and nothing else.
    #[must_use]
    pub fn step_output(&self) -> Option<(&str, &str)> {
        let Ast::Subexpr { lhs, rhs, .. } = &*self.ast else {
            return None;
        };
        let Ast::Subexpr {
            lhs: root,
            rhs: step,
            ..
        } = &**lhs
        else {
            return None;
        };
        match (&**root, &**step, &**rhs) {
            (
                Ast::Field { name: root, .. },
                Ast::Field { name: step, .. },
                Ast::Field { name: output, .. },
            ) if root == "steps" => Some((step, output)),
            _ => None,
        }
    }

    /// The names that it takes from the scope, each once, in order of appearance.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        roots(&self.ast, &mut names);
        names
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Named values that expressions are evaluated over.
#[derive(Debug, Clone)]
pub struct Scope {
    root: Rcvar,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            root: Rcvar::new(Variable::Object(BTreeMap::new())),
        }
    }
}

impl Scope {
    /// An empty scope.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `name` a value; a former one is replaced.
    pub fn set(&mut self, name: &str, value: &Value) {
        if let Variable::Object(members) = Arc::make_mut(&mut self.root) {
            members.insert(name.to_owned(), variable(value));
        }
    }

    /// The same scope with one more name.
    #[must_use]
    pub fn with(&self, name: &str, value: &Value) -> Self {
        let mut scope = self.clone();
        scope.set(name, value);
        scope
    }
}

fn variable(value: &Value) -> Rcvar {
    Rcvar::new(match value {
        Value::Null => Variable::Null,
        Value::Bool(flag) => Variable::Bool(*flag),
        Value::Number(number) => Variable::Number(number.clone()),
        Value::String(text) => Variable::String(text.clone()),
        Value::Array(items) => Variable::Array(items.iter().map(variable).collect()),
        Value::Object(members) => Variable::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), variable(value)))
                .collect(),
        ),
    })
}

fn value(variable: &Variable) -> Value {
    match variable {
        Variable::Null | Variable::Expref(_) => Value::Null,
        Variable::Bool(flag) => Value::Bool(*flag),
        Variable::Number(number) => Value::Number(whole(number)),
        Variable::String(text) => Value::String(text.clone()),
        Variable::Array(items) => items.iter().map(|item| value(item)).collect(),
        Variable::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), value(member)))
            .collect(),
    }
}

/// JMESPath's functions answer in floats (`length` alone does not); AWS wants its integers whole.
fn whole(number: &Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            Number::from(float as i64)
        }
        _ => number.clone(),
    }
}

/// Looks for something inside a negation. jmespath lets `!` bind stronger than what follows, against
/// the specification.
fn is_inside_negation(ast: &Ast) -> bool {
    let of = match ast {
        Ast::Subexpr { lhs, .. } | Ast::Projection { lhs, .. } => lhs,
        Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => node,
        _ => return false,
    };
    matches!(**of, Ast::Not { .. })
}

fn children(ast: &Ast) -> Vec<&Ast> {
    match ast {
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => vec![lhs, rhs],
        Ast::Condition {
            predicate, then, ..
        } => vec![predicate, then],
        Ast::Expref { ast, .. } => vec![ast],
        Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => {
            vec![node]
        }
        Ast::Function { args, .. } => args.iter().collect(),
        Ast::MultiList { elements, .. } => elements.iter().collect(),
        Ast::MultiHash { elements, .. } => elements.iter().map(|pair| &pair.value).collect(),
        Ast::Identity { .. }
        | Ast::Field { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => Vec::new(),
    }
}

fn walk<'a>(ast: &'a Ast, visit: &mut impl FnMut(&'a Ast)) {
    visit(ast);
    for child in children(ast) {
        walk(child, visit);
    }
}

/// The fields that are looked up in the scope itself. What stands right of a projection or a dot,
/// and inside `&…`, is looked up in the value on the left or in an element.
fn roots<'a>(ast: &'a Ast, names: &mut Vec<&'a str>) {
    match ast {
        Ast::Field { name, .. } if !names.contains(&name.as_str()) => names.push(name),
        Ast::Projection { lhs, .. } | Ast::Subexpr { lhs, .. } => roots(lhs, names),
        Ast::Expref { .. } => {}
        _ => {
            for child in children(ast) {
                roots(child, names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::new();
        scope.set("n", &json!(14));
        scope.set("list", &json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]));
        scope
    }

    #[test]
    fn integers_stay_integers() {
        let check = |source: &str, expected: Value| {
            assert_eq!(
                Expression::new(source).unwrap().evaluate(&scope()).unwrap(),
                expected,
                "{source}"
            );
        };
        check("n", json!(14));
        check("max([n, `8`])", json!(14));
        check("sum(list[].a)", json!(3));
        check("list[?a > `1`].b | [0]", json!("y"));
        check("missing.member", json!(null));
        check("`9007199254740993`", json!(9_007_199_254_740_993_i64));
    }

    #[test]
    fn names_are_those_taken_from_the_scope() {
        let names = |source: &str| {
            Expression::new(source)
                .unwrap()
                .names()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a.b.c"), ["a"]);
        assert_eq!(names("a[?b == `1`].c | [0]"), ["a"]);
        assert_eq!(names("sort_by(a, &b) == c && !d"), ["a", "c", "d"]);
        assert_eq!(names("{x: a, y: [b, a]}"), ["a", "b"]);
        assert_eq!(names("`{\"a\": 1}`"), Vec::<String>::new());
    }

    #[test]
    fn errors_say_what_and_where() {
        let error = Expression::new("a ==").unwrap_err();
        assert!(error.to_string().starts_with("`a ==`: "), "{error}");
        assert!(!error.to_string().contains('\n'));
        for negated in ["!a.b", "x && !a.b.c"] {
            let error = Expression::new(negated).unwrap_err();
            assert!(
                error.reason.contains("write `!(a.b)`"),
                "{negated}: {error}"
            );
        }
        for fine in ["!(a.b)", "!a && b", "!contains(a, b)", "[?!a]", "!a == b"] {
            assert!(Expression::new(fine).is_ok(), "{fine}");
        }
        let error = Expression::new("lenght(a)").unwrap_err();
        assert_eq!(error.reason, "JMESPath has no function `lenght`");
        let error = Expression::new("length(n)").unwrap().evaluate(&scope());
        assert!(error.is_err());
    }
}
