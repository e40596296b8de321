//! `allowedPattern`: Java's regular expressions.
//!
//! <https://docs.oracle.com/javase/8/docs/api/java/util/regex/Pattern.html>

use fancy_regex::Regex;

/// A Java regular expression that texts must match as a whole.
///
/// Whether AWS matches as a whole or searches is documented nowhere; a whole match refuses more.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a regular expression: {problem}")]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong.
    pub problem: String,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It is not a regular expression, or one of the few things that Java has and this has not.
    pub fn new(java: &str) -> Result<Self, PatternError> {
        Regex::new(&format!(r"\A(?:{})\z", rewrite(java)))
            .map(Self)
            .map_err(|error| PatternError {
                pattern: java.to_owned(),
                problem: problem(&error),
            })
    }

    /// Whether the whole text matches. A match that would take too long is none.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }
}

/// The error without its position, which is that in the rewritten pattern.
fn problem(error: &fancy_regex::Error) -> String {
    let text = error.to_string();
    text.split_once(": ")
        .map_or(text.clone(), |(_, problem)| problem.to_lowercase())
}

/// Rewrites what Java reads otherwise: `\w`, `\d` and `\s` are ASCII, a `-` beside a class escape
/// is itself (`[\w-.]`), a lone `[` cannot open a POSIX class, and `\<` is `<`.
fn rewrite(java: &str) -> String {
    let mut out = String::with_capacity(java.len() + 16);
    let mut characters = java.chars().peekable();
    let mut depth = 0_usize;
    let mut after_class_escape = false;
    while let Some(c) = characters.next() {
        let was_class_escape = std::mem::take(&mut after_class_escape);
        match c {
            '\\' => {
                let Some(escaped) = characters.next() else {
                    out.push('\\');
                    break;
                };
                after_class_escape = matches!(escaped, 'w' | 'W' | 'd' | 'D' | 's' | 'S');
                escape(&mut out, escaped, depth > 0);
            }
            '[' => {
                depth += 1;
                out.push('[');
                for leading in ['^', ']'] {
                    if let Some(c) = characters.next_if_eq(&leading) {
                        out.push_str(if c == ']' { r"\]" } else { "^" });
                    }
                }
            }
            ']' if depth > 0 => {
                depth -= 1;
                out.push(']');
            }
            '-' if depth > 0 => {
                let mut ahead = characters.clone();
                let before_class_escape = ahead.next() == Some('\\')
                    && matches!(ahead.next(), Some('w' | 'W' | 'd' | 'D' | 's' | 'S'));
                out.push_str(if was_class_escape || before_class_escape {
                    r"\-"
                } else {
                    "-"
                });
            }
            // These are operators in the classes of the regex crate, and text in Java's.
            '~' if depth > 0 => out.push_str(r"\~"),
            other => out.push(other),
        }
    }
    out
}

fn escape(out: &mut String, escaped: char, in_class: bool) {
    let (members, negated) = match escaped {
        'w' | 'W' => ("a-zA-Z0-9_", escaped == 'W'),
        'd' | 'D' => ("0-9", escaped == 'D'),
        's' | 'S' => (r" \t\n\x0B\x0C\r", escaped == 'S'),
        '<' | '>' | ' ' | '_' => return out.push(escaped),
        'Z' => return out.push_str(r"\z"),
        other => {
            out.push('\\');
            return out.push(other);
        }
    };
    match (in_class, negated) {
        (true, false) => out.push_str(members),
        (_, true) => {
            out.push_str("[^");
            out.push_str(members);
            out.push(']');
        }
        (false, false) => {
            out.push('[');
            out.push_str(members);
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(java: &str, accepts: &[&str], rejects: &[&str]) {
        let pattern = Pattern::new(java).unwrap();
        for text in accepts {
            assert!(pattern.matches(text), "{java} should accept {text:?}");
        }
        for text in rejects {
            assert!(!pattern.matches(text), "{java} should reject {text:?}");
        }
    }

    #[test]
    fn patterns_are_those_of_java() {
        check(
            r"^[\w-.]+$",
            &["a-b.c", "-", "x_1"],
            &["", "a b", "a/b", "é"],
        );
        check(r"[a-z\d-_]+", &["a-1_"], &["A"]);
        check(r"[.\-\w]{3,}", &["a.b"], &["ab"]);
        check(r"(?!.*--)[a-z-]{1,5}(?<!-)", &["a-b"], &["a--b", "a-"]);
        check(
            r"^$|^arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[\w+=,.@\-/]+$",
            &["", "arn:aws:iam::123456789012:role/x/y"],
            &[
                "arn:aws:iam::12:role/x",
                "arn:aws:iam::１２３４５６７８９０１２:role/x",
            ],
        );
        check(r"(true|false)", &["true"], &["TRUE", "truefalse"]);
        check(r"[^\s]+", &["ab"], &["a b", "a\n"]);
        check(r"[]a]+", &["]a"], &["b"]);
        check(r"a$", &["a"], &["a\n"]);
        check(r"\<x\>\/\S\D\W", &["<x>/aa-"], &["<x>/a1-"]);
        check(r"(?i)abc", &["ABC"], &["abd"]);
        check(r"\p{Alpha}|\p{L}+", &["é"], &["1"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["(", "[a", r"\", "*a"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_matches_nothing() {
        let pattern = Pattern::new(r"(?:(?=a)a*)*(?:(?=a)a*)*b").unwrap();
        assert!(!pattern.matches(&"a".repeat(2000)));
    }
}
