//! Our own client, spoken to an emulator.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use stanch_aws::{
    Client, Environment, MemberRole, MemberSessions, SessionsSetup, Setup, SystemClock,
    SystemRandom,
};
use stanch_models::Models;
use stanch_types::{AccountId, Api, Region};

use crate::{Organization, organization};

/// AWS at an endpoint that takes a twelve-digit access key id as that account's root.
#[derive(Clone)]
pub struct Emulated {
    client: Client,
}

/// The API models of every service, decoded once for all tests of a process.
///
/// # Panics
/// The models that are built in cannot be read.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "nothing can be tested without the models"
)]
pub fn models() -> Arc<Models> {
    static MODELS: OnceLock<Arc<Models>> = OnceLock::new();
    let load = || Arc::new(Models::embedded().expect("the built-in API models are readable"));
    Arc::clone(MODELS.get_or_init(load))
}

impl Emulated {
    /// A client of the emulator at `endpoint`.
    #[must_use]
    pub fn at(endpoint: &str, region: Region) -> Self {
        let environment = Environment::new([("AWS_ENDPOINT_URL", endpoint)]);
        let clock = Arc::new(SystemClock::default());
        let setup = Setup::new(environment, models(), clock, Arc::new(SystemRandom));
        Self {
            client: Client::new(setup, region),
        }
    }

    /// An account as its own root.
    #[must_use]
    pub fn root(&self, account: &AccountId, region: &Region) -> Arc<dyn Api> {
        let client = self.client.in_region(region.clone());
        Arc::new(client.with_credentials(account.as_str(), "any", None))
    }

    /// Whoever has these credentials, in a region.
    #[must_use]
    pub fn session(
        &self,
        access_key_id: &str,
        secret: &str,
        token: Option<&str>,
        region: &Region,
    ) -> Arc<dyn Api> {
        let client = self.client.in_region(region.clone());
        Arc::new(client.with_credentials(access_key_id, secret, token))
    }

    /// The sessions that the hub of `organization` opens.
    #[must_use]
    pub fn sessions(&self, organization: &Organization) -> MemberSessions {
        let hub = self.client.with_credentials(
            &organization.access_key_id,
            organization.secret_access_key.reveal(),
            None,
        );
        let role = |external_id| MemberRole {
            name: organization::MEMBER_ROLE.to_owned(),
            external_id,
        };
        let accounts: HashMap<AccountId, MemberRole> = organization
            .members
            .iter()
            .map(|member| {
                (
                    member.account.clone(),
                    role(Some(member.external_id.clone())),
                )
            })
            .collect();
        let setup = SessionsSetup {
            role: role(None),
            accounts,
        };
        MemberSessions::new(hub, setup)
    }
}
