//! Systems Manager in process: beside sessions, and inside of executions.

use std::sync::Arc;

use async_trait::async_trait;
use stanch_types::{Api, Call, CallError, Reply, Scope, Sessions};

use super::{Automation, Caller, answer};

/// Sessions whose calls of Systems Manager Automation are answered by our engine, which makes its own
/// calls in the same session.
#[derive(Clone)]
pub struct WithAutomation {
    sessions: Arc<dyn Sessions>,
    automation: Automation,
}

impl WithAutomation {
    /// Adds `automation` to `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<dyn Sessions>, automation: Automation) -> Self {
        Self {
            sessions,
            automation,
        }
    }
}

#[async_trait]
impl Sessions for WithAutomation {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        let role = self.sessions.role_arn(scope);
        let name = role.rsplit('/').next().unwrap_or_default();
        let partition = scope.region.partition();
        Ok(Arc::new(Within {
            caller: Caller {
                account: scope.account.clone(),
                region: scope.region.clone(),
                arn: format!(
                    "arn:{partition}:sts::{}:assumed-role/{name}/{}",
                    scope.account, scope.session_name
                ),
                api: self.sessions.open(scope).await?,
                parent: None,
            },
            automation: self.automation.clone(),
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.sessions.role_arn(scope)
    }
}

/// A session that has Systems Manager.
pub(super) struct Within {
    pub caller: Caller,
    pub automation: Automation,
}

#[async_trait]
impl Api for Within {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        if Automation::takes(call) {
            answer(&self.automation, &self.caller, call).await
        } else {
            self.caller.api.call(call).await
        }
    }
}
