//! AWS as a port: a call by name in, an answer or a typed error out.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AccountId, Region};

/// One operation of one service with its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// botocore's name of the service: `s3`, `elbv2`, `s3control`.
    pub service: String,
    /// The operation as the API model writes it: `PutPublicAccessBlock`.
    pub operation: String,
    /// The input, with botocore's member names.
    #[serde(default)]
    pub params: Value,
}

impl Call {
    /// A call of `service.operation` with `params`.
    pub fn new(service: impl Into<String>, operation: impl Into<String>, params: Value) -> Self {
        Self {
            service: service.into(),
            operation: operation.into(),
            params,
        }
    }
}

/// `s3.PutPublicAccessBlock`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.operation)
    }
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reply {
    /// The output, with botocore's member names.
    pub output: Value,
    /// AWS's id of the request, by which CloudTrail can be searched.
    pub request_id: Option<String>,
}

/// What kind of failure a call ended in: what the caller may do next depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallErrorKind {
    /// The input does not fit the API model, or the operation does not exist. Nothing was sent.
    Invalid,
    /// No usable credentials, or the role could not be assumed. Nothing was sent.
    Credentials,
    /// AWS understood and refuses: the caller lacks a permission.
    Denied,
    /// AWS asks to slow down, and the retries are spent.
    Throttled,
    /// Any other error that the service answered with a 4xx; `code` tells which.
    Rejected,
    /// A 5xx: the request may or may not have had its effect.
    Server,
    /// No answer in time, or the connection broke: the request may or may not have had its effect.
    Unanswered,
    /// An answer that is not what the API model describes: the request may have had its effect.
    Unreadable,
    /// Stanch itself would not send it: it is not in the plan, or changes are paused. Nothing was sent.
    Forbidden,
}

impl CallErrorKind {
    /// True if AWS may have carried the call out all the same, so that it must be looked at before
    /// it is sent again.
    #[must_use]
    pub const fn may_have_happened(self) -> bool {
        matches!(self, Self::Server | Self::Unanswered | Self::Unreadable)
    }
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// The kind of failure.
    pub kind: CallErrorKind,
    /// botocore's name of the service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// AWS's error code, such as `NoSuchBucket`; empty where AWS did not answer.
    pub code: String,
    /// AWS's message, or ours.
    pub message: String,
    /// AWS's id of the request.
    pub request_id: Option<String>,
}

impl CallError {
    /// An error of ours about `call`, without a code.
    pub fn new(kind: CallErrorKind, call: &Call, message: impl Into<String>) -> Self {
        Self {
            kind,
            service: call.service.clone(),
            operation: call.operation.clone(),
            code: String::new(),
            message: message.into(),
            request_id: None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: ", self.service, self.operation)?;
        if !self.code.is_empty() {
            write!(f, "{}: ", self.code)?;
        }
        f.write_str(&self.message)?;
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CallError {}

/// AWS, as seen with one set of credentials in one region.
#[async_trait]
pub trait Api: Send + Sync {
    /// Makes the call. Retries of throttled and failed requests are the implementation's own.
    async fn call(&self, call: &Call) -> Result<Reply, CallError>;
}

/// What a session may do.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    /// Reads: just those that this IAM policy document (JSON) allows, and never a write.
    Read(String),
    /// Just what this IAM policy document (JSON) allows.
    Policy(String),
}

impl Access {
    /// The session policy.
    #[must_use]
    pub fn policy(&self) -> &str {
        match self {
            Self::Read(policy) | Self::Policy(policy) => policy,
        }
    }
}

/// Where, as whom and for what a session is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// The member account.
    pub account: AccountId,
    /// The region that calls go to.
    pub region: Region,
    /// The session's name, which CloudTrail shows with every call:
    /// 2–64 characters of `[\w+=,.@-]`.
    pub session_name: String,
    /// What the session is narrowed to.
    pub access: Access,
}

/// Opens sessions in member accounts: the only way to reach AWS from the pipeline.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Assumes the member role with its external id, narrowed to `scope`.
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError>;

    /// The ARN of the role that such a session acts as, for the record.
    fn role_arn(&self, scope: &Scope) -> String;
}
