//! Parameters: where their values come from, and which they take.

use serde_json::{Map, Value};
use stanch_types::ControlRef;

use crate::{
    expression::{ExpressionError, Scope},
    plan::Target,
    remediation::{Parameter, ParameterType, Remediation},
};

/// A parameter without an acceptable value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Neither the finding nor a default gives one.
    #[error("parameter `{0}` has no value: the finding does not tell it")]
    Missing(String),
    /// Only the user can know it.
    #[error(
        "parameter `{name}` of `{remediation}` has no value: set it in the configuration ({description})"
    )]
    Unset {
        /// The remediation.
        remediation: String,
        /// The parameter.
        name: String,
        /// What it is.
        description: String,
    },
    /// A value that it does not take.
    #[error("parameter `{name}` cannot be `{value}`: {reason}")]
    Refused {
        /// The parameter.
        name: String,
        /// The value, cut to 128 characters.
        value: String,
        /// What it should be.
        reason: String,
    },
    /// The user sets what the finding tells.
    #[error("parameter `{0}` comes from the finding and cannot be set")]
    NotSettable(String),
    /// The user sets what there is not.
    #[error("`{remediation}` has no parameter `{name}`")]
    Unknown {
        /// The remediation.
        remediation: String,
        /// The name.
        name: String,
    },
    /// The expression that takes it from the finding fails.
    #[error("parameter `{name}` cannot be taken from the finding")]
    From {
        /// The parameter.
        name: String,
        /// Why.
        #[source]
        error: ExpressionError,
    },
}

impl Parameter {
    /// Checks a value against type and pattern.
    ///
    /// # Errors
    /// What it should have been.
    pub fn check(&self, value: &Value) -> Result<(), ParameterError> {
        self.reason_against(value).map_or(Ok(()), |reason| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            Err(ParameterError::Refused {
                name: self.name.clone(),
                value: text.chars().take(128).collect(),
                reason,
            })
        })
    }

    fn reason_against(&self, value: &Value) -> Option<String> {
        match (self.kind, value) {
            (ParameterType::String, Value::String(text)) => self.reason_against_text(text),
            (ParameterType::Integer, Value::Number(number)) if !number.is_f64() => None,
            (ParameterType::Boolean, Value::Bool(_)) => None,
            (ParameterType::StringList, Value::Array(items)) => {
                items.iter().find_map(|item| match item {
                    Value::String(text) => self.reason_against_text(text),
                    Value::Number(number) if !number.is_f64() => {
                        self.reason_against_text(&number.to_string())
                    }
                    _ => Some("its elements must be text or whole numbers".to_owned()),
                })
            }
            (ParameterType::String, _) => Some("it must be text".to_owned()),
            (ParameterType::Integer, _) => Some("it must be a whole number".to_owned()),
            (ParameterType::Boolean, _) => Some("it must be true or false".to_owned()),
            (ParameterType::StringList, _) => Some("it must be a list".to_owned()),
        }
    }

    fn reason_against_text(&self, text: &str) -> Option<String> {
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => {
                Some(format!("it must match `{}`", self.pattern_source()))
            }
            None if text.is_empty() => Some("it must not be empty".to_owned()),
            _ if text.contains("{{") => Some("it must not contain `{{`".to_owned()),
            _ => None,
        }
    }

    /// The value under `for` for the first of the finding's controls that stands there, as text
    /// writes it: `EC2.13`, `config:restricted-ssh`.
    fn for_controls(&self, controls: &[ControlRef]) -> Option<&Value> {
        if self.for_control.is_empty() {
            return None;
        }
        controls
            .iter()
            .find_map(|control| self.for_control.get(&control.to_string()))
    }

    /// The pattern as the file has it.
    #[must_use]
    pub fn pattern_source(&self) -> &str {
        let whole = self.pattern.as_ref().map_or("", regex_lite::Regex::as_str);
        whole
            .strip_prefix(WHOLE.0)
            .and_then(|rest| rest.strip_suffix(WHOLE.1))
            .unwrap_or(whole)
    }
}

/// What a pattern is wrapped in, so that it matches the whole text.
pub(crate) const WHOLE: (&str, &str) = (r"\A(?:", r")\z");

impl Remediation {
    /// Checks what a user sets of the parameters: that there are such, that they can be set, and that
    /// they take these values.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn check_settings(&self, settings: &Map<String, Value>) -> Result<(), ParameterError> {
        settings.iter().try_for_each(|(name, value)| {
            let known = self.parameters.iter().find(|one| one.name == *name);
            match known {
                None => Err(ParameterError::Unknown {
                    remediation: self.name.clone(),
                    name: name.clone(),
                }),
                Some(parameter) if parameter.from.is_some() => {
                    Err(ParameterError::NotSettable(name.clone()))
                }
                Some(parameter) => parameter.check(value),
            }
        })
    }

    /// Parameters for `target`: what the finding tells, what the user set, what the control
    /// wants, and defaults, in this order.
    pub(crate) fn bind(
        &self,
        scope: &Scope,
        target: &Target,
    ) -> Result<Map<String, Value>, ParameterError> {
        self.check_settings(&target.settings)?;
        let mut bound = Map::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            let set = target.settings.get(name);
            let told = match &parameter.from {
                Some(from) => from.evaluate(scope).map_err(|error| ParameterError::From {
                    name: name.clone(),
                    error,
                })?,
                None => Value::Null,
            };
            let value = Some(&told)
                .filter(|value| !value.is_null())
                .or(set)
                .or_else(|| parameter.for_controls(&target.controls))
                .or(parameter.default.as_ref())
                .ok_or_else(|| match parameter.from {
                    Some(_) => ParameterError::Missing(name.clone()),
                    None => ParameterError::Unset {
                        remediation: self.name.clone(),
                        name: name.clone(),
                        description: parameter.description.clone(),
                    },
                })?;
            parameter.check(value)?;
            bound.insert(name.clone(), value.clone());
        }
        Ok(bound)
    }
}
