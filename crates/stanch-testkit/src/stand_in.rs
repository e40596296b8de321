//! Answers for what the emulator does not have or does wrongly.
//!
//! [`STAND_INS`] is the whole list. Their requests are held against the API model and judged by the
//! emulator's own IAM evaluator, and then answered by the AWS in memory; a test fails when the
//! emulator has caught up.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_types::{
    AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Scope, Sessions,
};

use crate::{Emulated, FakeAws, models};

/// An operation that is not the emulator's to answer.
#[derive(Debug, Clone, Copy)]
pub struct StandIn {
    /// botocore's name of the service.
    pub service: &'static str,
    /// The operations that belong together.
    pub operations: &'static [&'static str],
    /// The IAM action of each.
    pub actions: &'static [&'static str],
    /// What the emulator lacks or does wrongly.
    pub because: &'static str,
}

/// Everything that is not the emulator's to answer.
pub static STAND_INS: [StandIn; 2] = [
    StandIn {
        service: "s3control",
        operations: &[
            "GetPublicAccessBlock",
            "PutPublicAccessBlock",
            "DeletePublicAccessBlock",
        ],
        actions: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:PutAccountPublicAccessBlock",
            "s3:PutAccountPublicAccessBlock",
        ],
        because: "MiniStack 1.5.33 has no account-wide block of public access",
    },
    StandIn {
        service: "iam",
        operations: &[
            "GetAccountPasswordPolicy",
            "UpdateAccountPasswordPolicy",
            "DeleteAccountPasswordPolicy",
        ],
        actions: &[
            "iam:GetAccountPasswordPolicy",
            "iam:UpdateAccountPasswordPolicy",
            "iam:DeleteAccountPasswordPolicy",
        ],
        because: "MiniStack 1.5.33 keeps what an update leaves out, where AWS resets it",
    },
];

/// The entry of the list for this operation, if there is one.
#[must_use]
pub fn stand_in(service: &str, operation: &str) -> Option<&'static StandIn> {
    STAND_INS
        .iter()
        .find(|stand_in| stand_in.service == service && stand_in.operations.contains(&operation))
}

fn action(service: &str, operation: &str) -> Option<&'static str> {
    let stand_in = stand_in(service, operation)?;
    let mut pairs = stand_in.operations.iter().zip(stand_in.actions);
    pairs
        .find(|(name, _)| **name == operation)
        .map(|(_, action)| *action)
}

/// The emulator with its stand-ins.
#[derive(Clone)]
pub struct Rounded {
    emulated: Emulated,
    fake: FakeAws,
    role_policy: String,
}

impl Rounded {
    /// The emulator behind `emulated`. The member roles of its organization have
    /// `role_policy`.
    #[must_use]
    pub fn new(emulated: Emulated, accounts: &[AccountId], role_policy: &Value) -> Self {
        Self {
            emulated,
            fake: FakeAws::new(accounts),
            role_policy: role_policy.to_string(),
        }
    }

    /// An account as its own root.
    #[must_use]
    pub fn root(&self, account: &AccountId, region: &Region) -> Arc<dyn Api> {
        self.api(self.emulated.root(account, region), account, region, None)
    }

    /// The same for sessions that the emulator opens.
    #[must_use]
    pub fn sessions(&self, sessions: Arc<dyn Sessions>) -> Arc<dyn Sessions> {
        Arc::new(RoundedSessions {
            sessions,
            rounded: self.clone(),
        })
    }

    fn api(
        &self,
        emulated: Arc<dyn Api>,
        account: &AccountId,
        region: &Region,
        session_policy: Option<String>,
    ) -> Arc<dyn Api> {
        Arc::new(RoundedApi {
            emulated,
            fake: self.fake.account(account, region),
            judge: self.emulated.root(account, region),
            policies: session_policy.map(|policy| [policy, self.role_policy.clone()]),
        })
    }
}

struct RoundedSessions {
    sessions: Arc<dyn Sessions>,
    rounded: Rounded,
}

#[async_trait]
impl Sessions for RoundedSessions {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        let policy = scope.access.policy().to_owned();
        let api = self.sessions.open(scope).await?;
        Ok(self
            .rounded
            .api(api, &scope.account, &scope.region, Some(policy)))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.sessions.role_arn(scope)
    }
}

struct RoundedApi {
    emulated: Arc<dyn Api>,
    fake: Arc<dyn Api>,
    judge: Arc<dyn Api>,
    /// What each call needs the consent of; none for root.
    policies: Option<[String; 2]>,
}

#[async_trait]
impl Api for RoundedApi {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let Some(action) = action(&call.service, &call.operation) else {
            return self.emulated.call(call).await;
        };
        if let Some(problem) = misfit(call) {
            return Err(CallError::new(CallErrorKind::Invalid, call, problem));
        }
        for policy in self.policies.iter().flatten() {
            if !self.allows(policy, action).await? {
                let message = format!("not authorized to perform: {action}");
                return Err(CallError {
                    code: "AccessDenied".to_owned(),
                    ..CallError::new(CallErrorKind::Denied, call, message)
                });
            }
        }
        self.fake.call(call).await
    }
}

impl RoundedApi {
    async fn allows(&self, policy: &str, action: &str) -> Result<bool, CallError> {
        let input = json!({"PolicyInputList": [policy], "ActionNames": [action]});
        let answer = self
            .judge
            .call(&Call::new("iam", "SimulateCustomPolicy", input))
            .await?;
        Ok(answer.output.pointer("/EvaluationResults/0/EvalDecision") == Some(&json!("allowed")))
    }
}

/// What of a call does not fit the API model.
fn misfit(call: &Call) -> Option<String> {
    let models = models();
    let resolved = match models.resolve(&call.service, &call.operation) {
        Ok(resolved) => resolved,
        Err(error) => return Some(error.to_string()),
    };
    let problems = stanch_models::validate(&resolved.service, resolved.operation(), &call.params);
    problems.first().map(ToString::to_string)
}
