//! Where credentials come from, and how long they are kept.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_config::{
    default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_types::region::Region as AwsRegion;
use jiff::Timestamp;
use stanch_types::{CallError, Clock, Region, chain};
use tokio::sync::{Mutex, OnceCell};

use crate::{Client, environment::Environment, transport::http_client};

/// Credentials are renewed when they have less than this left.
const MARGIN: Duration = Duration::from_secs(120);

/// A role to assume, and as what.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoleSession {
    /// The role.
    pub role_arn: String,
    /// What CloudTrail shows: 2–64 characters of `[\w+=,.@-]`.
    pub session_name: String,
    /// The external id that the trust policy asks for.
    pub external_id: Option<String>,
    /// The session policy (JSON): the session can do what both it and the role allow.
    pub policy: Option<String>,
    /// How long the session lasts; AWS's least is 15 minutes.
    pub duration: Duration,
}

/// Without the external id, which is a shared secret.
impl fmt::Debug for RoleSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleSession")
            .field("role_arn", &self.role_arn)
            .field("session_name", &self.session_name)
            .field("policy", &self.policy)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

/// A source of credentials with its cache. Concurrent callers wait for one answer.
pub(crate) struct Identity {
    source: Source,
    /// Locked while credentials are fetched: whoever comes meanwhile finds them when it is free.
    cached: Mutex<Option<Credentials>>,
}

enum Source {
    Fixed,
    /// `aws-config`'s default chain, built when first asked: building it reads files.
    Chain {
        region: Option<Region>,
        provider: OnceCell<SharedCredentialsProvider>,
    },
    Role {
        client: Client,
        session: RoleSession,
    },
}

/// Why there are no credentials.
#[derive(Debug)]
pub(crate) enum CredentialsError {
    /// Nothing in the environment gives any.
    None(String),
    /// AssumeRole failed.
    Role(CallError),
}

impl Identity {
    /// The environment's keys if it has them; otherwise the default chain.
    pub(crate) fn from_environment(environment: &Environment) -> Self {
        let keys = environment
            .get("AWS_ACCESS_KEY_ID")
            .zip(environment.get("AWS_SECRET_ACCESS_KEY"));
        match keys {
            Some((id, secret)) => {
                let token = environment.get("AWS_SESSION_TOKEN").map(str::to_owned);
                Self::fixed(Credentials::new(id, secret, token, None, "environment"))
            }
            None => Self {
                source: Source::Chain {
                    region: environment.region(),
                    provider: OnceCell::new(),
                },
                cached: Mutex::new(None),
            },
        }
    }

    pub(crate) fn fixed(credentials: Credentials) -> Self {
        Self {
            source: Source::Fixed,
            cached: Mutex::new(Some(credentials)),
        }
    }

    pub(crate) fn role(client: Client, session: RoleSession) -> Self {
        Self {
            source: Source::Role { client, session },
            cached: Mutex::new(None),
        }
    }

    /// Credentials with some life left.
    pub(crate) async fn credentials(
        &self,
        clock: &dyn Clock,
    ) -> Result<Credentials, CredentialsError> {
        let mut cached = self.cached.lock().await;
        if let Some(credentials) = cached.as_ref()
            && (matches!(self.source, Source::Fixed) || fresh(credentials, clock.now()))
        {
            return Ok(credentials.clone());
        }
        let credentials = match &self.source {
            Source::Fixed => return Err(CredentialsError::None("none were given".to_owned())),
            Source::Chain { region, provider } => {
                let provider = provider
                    .get_or_init(|| async {
                        let region = region.as_ref().map(|r| AwsRegion::new(r.to_string()));
                        let config = ProviderConfig::without_region()
                            .with_region(region)
                            .with_http_client(http_client());
                        let chain = DefaultCredentialsChain::builder().configure(config);
                        SharedCredentialsProvider::new(chain.build().await)
                    })
                    .await;
                provider
                    .provide_credentials()
                    .await
                    .map_err(|error| CredentialsError::None(chain(&error)))?
            }
            Source::Role { client, session } => client
                .assume_role(session)
                .await
                .map_err(CredentialsError::Role)?,
        };
        *cached = Some(credentials.clone());
        Ok(credentials)
    }

    /// Forgets `credentials`, which AWS called expired. False if they cannot be renewed.
    pub(crate) async fn forget(&self, credentials: &Credentials) -> bool {
        if matches!(self.source, Source::Fixed) {
            return false;
        }
        let mut cached = self.cached.lock().await;
        if cached
            .as_ref()
            .is_some_and(|c| c.access_key_id() == credentials.access_key_id())
        {
            *cached = None;
        }
        true
    }

    /// False when the last credentials have run out.
    pub(crate) fn alive(&self, now: Timestamp) -> bool {
        match self.cached.try_lock() {
            Ok(cached) => cached
                .as_ref()
                .is_none_or(|credentials| fresh(credentials, now)),
            Err(_) => true,
        }
    }
}

fn fresh(credentials: &Credentials, now: Timestamp) -> bool {
    let Some(expiry) = credentials.expiry() else {
        return true;
    };
    Timestamp::try_from(expiry)
        .is_ok_and(|expiry| now.checked_add(MARGIN).is_ok_and(|soon| soon < expiry))
}

/// The sessions that were opened, by everything that tells them apart.
#[derive(Default)]
pub(crate) struct RoleCache {
    sessions: std::sync::Mutex<HashMap<(RoleSession, Region), Arc<Identity>>>,
}

impl RoleCache {
    /// The identity for a session opened by `client`: the same for all who ask for the same.
    pub(crate) fn identity(
        &self,
        client: &Client,
        session: RoleSession,
        now: Timestamp,
    ) -> Arc<Identity> {
        let mut sessions = self
            .sessions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if sessions.len() == sessions.capacity() {
            sessions.retain(|_, identity| identity.alive(now));
        }
        sessions
            .entry((session.clone(), client.region().clone()))
            .or_insert_with(|| Arc::new(Identity::role(client.clone(), session)))
            .clone()
    }
}
