//! A function's environment variables, as its template sets them.

use std::str::FromStr;

use stanch_aws::Environment;

use crate::Failure;

/// Environment variables, read as what they stand for.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'e>(pub &'e Environment);

impl<'e> Variables<'e> {
    /// The text of a variable that has to be set.
    ///
    /// # Errors
    /// It is not.
    pub fn text(self, name: &str) -> Result<&'e str, Failure> {
        self.optional(name).ok_or_else(|| {
            Failure::configuration(format!("the variable `{name}` is not set"))
                .hint("update the stack: its template sets it")
        })
    }

    /// The text of a variable that may be empty or missing.
    #[must_use]
    pub fn optional(self, name: &str) -> Option<&'e str> {
        self.0.get(name)
    }

    /// A variable's value; none if it is not set.
    ///
    /// # Errors
    /// It is something else.
    pub fn parsed<T: FromStr>(self, name: &str, what: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.optional(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Failure::configuration(format!("the variable `{name}` is not {what}: `{text}`"))
                .hint("correct the stack's parameter")
        })
    }

    /// Whether something optional is on: `1`, `true`, `on` or `yes`.
    #[must_use]
    pub fn is_on(self, name: &str) -> bool {
        let text = self.optional(name).unwrap_or_default();
        ["1", "true", "on", "yes"]
            .iter()
            .any(|yes| text.eq_ignore_ascii_case(yes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let environment = Environment::new([
            ("DAYS", "90"),
            ("WORD", "ninety"),
            ("EMPTY", ""),
            ("TRACING", "True"),
        ]);
        let variables = Variables(&environment);
        assert_eq!(variables.parsed::<u16>("DAYS", "a number"), Ok(Some(90)));
        assert_eq!(variables.parsed::<u16>("EMPTY", "a number"), Ok(None));
        let wrong = variables.parsed::<u16>("WORD", "a number").unwrap_err();
        assert_eq!(
            wrong.message,
            "the variable `WORD` is not a number: `ninety`"
        );
        assert_eq!(variables.text("EMPTY").unwrap_err().kind, "Configuration");
        assert!(
            variables.is_on("TRACING") && !variables.is_on("EMPTY") && !variables.is_on("WORD")
        );
    }
}
