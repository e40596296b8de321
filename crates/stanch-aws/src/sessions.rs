//! Sessions in member accounts.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use stanch_types::{
    Access, AccountId, Api, Call, CallError, CallErrorKind, Scope, Secret, Sessions,
};

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
    /// The session policy (JSON) of sessions that may only read.
    pub read_only_policy: String,
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
        let policy = match &scope.access {
            Access::ReadOnly => &self.setup.read_only_policy,
            Access::Policy(policy) => policy,
        };
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
            policy: Some(policy.clone()),
            duration: SESSION,
        };
        let hub = self.hub.in_region(scope.region.clone());
        let identity = self.cache.identity(&hub, session, self.hub.clock().now());
        // Opened now: who asks for a session learns at once if there is none.
        let client = hub.with_identity(identity);
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

/// A session policy that is longer than AWS allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a read-only session policy for {services} services has {length} characters and AWS allows \
     {POLICY_LIMIT}: name fewer services"
)]
pub struct PolicyTooLong {
    /// How many services were named.
    pub services: usize,
    /// How long the policy would be.
    pub length: usize,
}

/// A session policy that allows to read the configuration of these services, by the names that IAM
/// has for them (`s3`, `elasticloadbalancing`), and nothing else.
///
/// IAM has no wildcard for the service, so each is named. Reads that hand out secrets or other
/// credentials are left out, although they are called `Get`.
///
/// # Errors
/// [`PolicyTooLong`]: about thirty services fit.
pub fn read_only_policy<'s>(
    services: impl IntoIterator<Item = &'s str>,
) -> Result<String, PolicyTooLong> {
    let mut services: Vec<&str> = services.into_iter().collect();
    services.sort_unstable();
    services.dedup();
    let mut allowed = Vec::new();
    for service in &services {
        let patterns: &[&str] = match *service {
            "secretsmanager" => &["Describe*", "GetResourcePolicy", "List*"],
            "sts" => &["GetCallerIdentity"],
            "codebuild" => &["BatchGet*", "List*", "GetResourcePolicy"],
            "dynamodb" => &["Describe*", "GetResourcePolicy", "List*"],
            "ecr" => &[
                "Describe*",
                "GetLifecyclePolicy",
                "GetRepositoryPolicy",
                "List*",
            ],
            "rds"
            | "cloudformation"
            | "elasticloadbalancing"
            | "autoscaling"
            | "redshift"
            | "elasticache"
            | "elasticfilesystem" => &["Describe*", "List*"],
            "iam" | "sns" | "sqs" | "cloudfront" | "route53" => &["Get*", "List*"],
            // Its actions are HTTP's.
            "apigateway" => &["GET"],
            _ => &["Describe*", "Get*", "List*"],
        };
        allowed.extend(
            patterns
                .iter()
                .map(|pattern| format!("{service}:{pattern}")),
        );
    }
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}],
    })
    .to_string();
    match policy.len() {
        0..=POLICY_LIMIT => Ok(policy),
        length => Err(PolicyTooLong {
            services: services.len(),
            length,
        }),
    }
}
