//! Sessions in member accounts.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Scope, Secret, Sessions};

use crate::{
    Client,
    credentials::{RoleCache, RoleSession},
};

/// How a member account's role is found and entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRole {
    /// The role's name, with its path if it has one: `SecurityRemediationCrossAccountRole`.
    pub name: String,
    /// What the role's trust policy asks for.
    pub external_id: Option<Secret<String>>,
}

/// What [`MemberSessions`] is made of.
#[derive(Debug, Clone)]
pub struct SessionsSetup {
    /// The role in every account.
    pub role: MemberRole,
    /// Accounts with another role or another external id.
    pub accounts: HashMap<AccountId, MemberRole>,
}

/// Opens sessions in member accounts by AssumeRole. Sessions last 15 minutes, are shared by all who
/// ask for the same, and are opened again shortly before they expire.
pub struct MemberSessions {
    hub: Client,
    setup: SessionsSetup,
    cache: RoleCache,
}

/// The least that AWS allows.
const SESSION: Duration = Duration::from_secs(900);

/// The longest session policy, in characters,
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.
const POLICY_LIMIT: usize = 2_048;

impl MemberSessions {
    /// Sessions opened with the credentials of `hub`, the administrator account.
    #[must_use]
    pub fn new(hub: Client, setup: SessionsSetup) -> Self {
        Self {
            hub,
            setup,
            cache: RoleCache::default(),
        }
    }

    fn role(&self, account: &AccountId) -> &MemberRole {
        self.setup.accounts.get(account).unwrap_or(&self.setup.role)
    }
}

#[async_trait]
impl Sessions for MemberSessions {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        let policy = scope.access.policy();
        let length = policy.chars().count();
        if length > POLICY_LIMIT {
            let call = Call::new("sts", "AssumeRole", serde_json::Value::Null);
            return Err(CallError::new(
                CallErrorKind::Invalid,
                &call,
                format!("the session policy has {length} characters; AWS allows {POLICY_LIMIT}"),
            ));
        }
        let session = RoleSession {
            role_arn: self.role_arn(scope),
            session_name: scope.session_name.clone(),
            external_id: self
                .role(&scope.account)
                .external_id
                .as_ref()
                .map(|id| id.reveal().clone()),
            policy: Some(policy.to_owned()),
            duration: SESSION,
        };
        let hub = self.hub.in_region(scope.region.clone());
        let identity = self.cache.identity(&hub, session, self.hub.clock().now());
        // Opened now: who asks for a session learns at once if there is none.
        let client = hub.with_identity(identity);
        let client = client.of_account(scope.account.clone());
        client.connect().await?;
        Ok(Arc::new(client))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        format!(
            "arn:{}:iam::{}:role/{}",
            scope.region.partition(),
            scope.account,
            self.role(&scope.account).name.trim_start_matches('/')
        )
    }
}
