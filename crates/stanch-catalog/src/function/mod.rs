//! What neither Automation nor JMESPath can express: small, pure functions, JSON in and JSON out.
//!
//! The native engine calls them in process; an Automation document calls them through the member
//! account's `stanch-remediation` function.

mod iam;
mod network_acl_open_entries;
mod policy_deny_plain_http;
mod policy_with_statement;
mod policy_without;
mod ports;
mod security_group_open_rules;
mod tags_missing;
mod values;

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
        name: "arn-parts",
        summary: "the parts of an ARN",
        run: |input| typed(input, values::arn_parts),
    },
    Function {
        name: "base64-text",
        summary: "the text that base64 encodes",
        run: |input| typed(input, values::base64_text),
    },
    Function {
        name: "entries",
        summary: "the members of an object as a list",
        run: |input| typed(input, values::entries),
    },
    Function {
        name: "first-of-each",
        summary: "the first element for each value of a member",
        run: |input| typed(input, values::first_of_each),
    },
    Function {
        name: "network-acl-open-entries",
        summary: "the entries of a network ACL that open any of the given ports to the internet",
        run: |input| typed(input, network_acl_open_entries::run),
    },
    Function {
        name: "older-than",
        summary: "the elements that are older than so many days",
        run: |input| typed(input, values::older_than),
    },
    Function {
        name: "policy-deny-plain-http",
        summary: "a resource's policy with a statement that refuses requests without TLS",
        run: |input| typed(input, policy_deny_plain_http::run),
    },
    Function {
        name: "policy-with-statement",
        summary: "a policy with one more statement",
        run: |input| typed(input, policy_with_statement::run),
    },
    Function {
        name: "policy-without-actions",
        summary: "a resource's policy without these actions for other accounts",
        run: |input| typed(input, policy_without::external_actions),
    },
    Function {
        name: "policy-without-admin",
        summary: "an identity's policy without what allows everything on everything",
        run: |input| typed(input, policy_without::admin),
    },
    Function {
        name: "policy-without-broad-actions",
        summary: "an identity's policy without these actions on all resources of their kind",
        run: |input| typed(input, policy_without::broad_actions),
    },
    Function {
        name: "policy-without-external",
        summary: "a resource's policy without what it grants to other accounts",
        run: |input| typed(input, policy_without::external),
    },
    Function {
        name: "policy-without-public",
        summary: "a resource's policy without what it grants to everybody",
        run: |input| typed(input, policy_without::public),
    },
    Function {
        name: "policy-without-whole-services",
        summary: "an identity's policy without all actions of a service at once",
        run: |input| typed(input, policy_without::whole_services),
    },
    Function {
        name: "security-group-open-rules",
        summary: "the rules of a security group that open any of the given ports to the internet",
        run: |input| typed(input, security_group_open_rules::run),
    },
    Function {
        name: "set-at",
        summary: "a value with other values at some of its places",
        run: |input| typed(input, values::set_at),
    },
    Function {
        name: "split",
        summary: "the pieces of a text between separators",
        run: |input| typed(input, values::split),
    },
    Function {
        name: "tags-missing",
        summary: "the wanted tags that a resource lacks",
        run: |input| typed(input, tags_missing::run),
    },
    Function {
        name: "where",
        summary: "the elements that have one of these values in a member",
        run: |input| typed(input, values::with_member),
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
