//! The organization's accounts, for those who operate what is deployed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use stanch_aws::{Client, RoleSession};
use stanch_config::Config;
use stanch_operate::{
    Accounts, Installation, READS, Unreachable,
    doctor::{Member, Patient},
};
use stanch_types::{AccountId, Api, CallError, Region};

use crate::{output::Failure, wire::Wire};

/// Accounts with the person's own credentials, and by the audit role.
pub struct Organization<'w> {
    config: &'w Config,
    client: Client,
}

impl<'w> Organization<'w> {
    /// With the credentials of the environment.
    pub fn of(wire: &'w Wire) -> Result<Self, Failure> {
        Ok(Self {
            config: &wire.resolved.config,
            client: wire.client(installation(wire)?.region)?,
        })
    }
}

#[async_trait]
impl Accounts for Organization<'_> {
    fn own(&self, region: &Region) -> Result<Arc<dyn Api>, CallError> {
        Ok(Arc::new(self.client.in_region(region.clone())))
    }

    async fn audit(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> Result<Arc<dyn Api>, Unreachable> {
        let config = self.config;
        let role = config
            .deployment
            .audit_role
            .as_ref()
            .ok_or(Unreachable::NoAuditRole)?;
        let member = config.accounts.get(account);
        let external_id = member.and_then(|member| member.external_id.as_ref());
        let role = role.trim_start_matches('/');
        let client = self.client.in_region(region.clone()).as_role(RoleSession {
            role_arn: format!("arn:{}:iam::{account}:role/{role}", region.partition()),
            session_name: "stanch-doctor".to_owned(),
            // A role whose trust policy asks for none takes it all the same.
            external_id: external_id.map(|id| id.reveal().clone()),
            policy: Some(READS.to_owned()),
            duration: Duration::from_mins(15),
        });
        client.connect().await?;
        Ok(Arc::new(client))
    }

    fn clock_ahead(&self) -> Option<SignedDuration> {
        self.client.clock_ahead()
    }
}

/// The names of what is deployed, by the configuration.
pub fn installation(wire: &Wire) -> Result<Installation, Failure> {
    let config = &wire.resolved.config;
    Ok(Installation {
        name_prefix: config.deployment.name_prefix.clone(),
        bucket_prefix: config.deployment.bucket_prefix.clone(),
        region: wire.region(config.deployment.region.clone())?,
        member_role: config.aws.member_role.clone(),
    })
}

/// What the doctor is told; only of these accounts, if any are named.
pub fn patient<'p>(
    wire: &Wire,
    installation: &'p Installation,
    only: &[AccountId],
) -> Result<Patient<'p>, Failure> {
    let config = &wire.resolved.config;
    if let Some(unknown) = only.iter().find(|id| !config.accounts.contains_key(*id)) {
        return Err(
            Failure::usage(format!("account {unknown} is not configured"))
                .hint("add it under `accounts` of the configuration"),
        );
    }
    let everywhere = match config.deployment.member_regions.is_empty() {
        true => BTreeSet::from([installation.region.clone()]),
        false => config.deployment.member_regions.iter().cloned().collect(),
    };
    let members = config
        .accounts
        .iter()
        .filter(|(id, _)| only.is_empty() || only.contains(id));
    let members = members.map(|(id, member)| {
        let regions = member.regions.as_ref().unwrap_or(&everywhere);
        let member = Member {
            role: member.role.clone(),
            external_id: member.external_id.clone(),
            regions: regions.iter().cloned().collect(),
        };
        (id.clone(), member)
    });
    Ok(Patient {
        installation,
        members: members.collect(),
        ledger: None,
        documents: BTreeMap::new(),
        now: wire.clock.now(),
    })
}
