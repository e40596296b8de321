//! What neither Automation nor JMESPath can express: small, pure functions, JSON in and JSON out.
//!
//! The native engine calls them in process; an Automation document calls them through the member
//! account's `stanch-remediation` function.

mod policy_deny_plain_http;
mod security_group_open_rules;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A function that catalog files can call by name.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it computes, in one line.
    pub summary: &'static str,
    run: fn(&Value) -> Result<Value, String>,
}

/// Every function, by name.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: "policy-deny-plain-http",
        summary: "a bucket policy with a statement that refuses requests without TLS",
        run: |input| typed(input, policy_deny_plain_http::run),
    },
    Function {
        name: "security-group-open-rules",
        summary: "the rules of a security group that open any of the given ports to the internet",
        run: |input| typed(input, security_group_open_rules::run),
    },
];

/// Why a function gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// There is no such function.
    #[error("there is no function `{0}`")]
    Unknown(String),
    /// It refuses its input.
    #[error("`{name}`: {reason}")]
    Refused {
        /// The function.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Calls the function `name`.
///
/// # Errors
/// No such function, or an input that it refuses.
pub fn call(name: &str, input: &Value) -> Result<Value, FunctionError> {
    let function = find(name).ok_or_else(|| FunctionError::Unknown(name.to_owned()))?;
    (function.run)(input).map_err(|reason| FunctionError::Refused {
        name: name.to_owned(),
        reason,
    })
}

/// The function `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Runs a typed function on JSON.
fn typed<I: DeserializeOwned, O: Serialize>(
    input: &Value,
    run: impl FnOnce(I) -> Result<O, String>,
) -> Result<Value, String> {
    let input = I::deserialize(input).map_err(|error| error.to_string())?;
    serde_json::to_value(run(input)?).map_err(|error| error.to_string())
}
