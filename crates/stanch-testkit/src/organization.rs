//! An organization of three accounts and two regions, made over the API as an operator would.
//!
//! All of its constants are here.

use std::{borrow::Borrow, fmt::Write as _, path::Path, sync::Arc};

use serde_json::{Value, json};
use stanch_catalog::{PolicyError, Remediation, policy_document};
use stanch_models::Models;
use stanch_types::{AccountId, Api, Call, CallError, Region, Secret};

/// The administrator account, where the hub runs.
pub const ADMIN: &str = "111111111111";

/// The member accounts with their names.
pub const MEMBERS: [(&str, &str); 2] =
    [("222222222222", "production"), ("333333333333", "sandbox")];

/// The regions; the first is where global services are called.
pub const REGIONS: [&str; 2] = ["us-east-1", "eu-central-1"];

/// The role that the hub assumes in each member account.
pub const MEMBER_ROLE: &str = "SecurityRemediationCrossAccountRole";

/// The user in the administrator account that the hub runs as.
pub const HUB_USER: &str = "SecurityRemediationHub";

/// An account as its own root, in a region.
pub type Root<'a> = &'a (dyn Fn(&AccountId, &Region) -> Arc<dyn Api> + Sync);

/// The organization, once its accounts are set up.
#[derive(Debug, Clone)]
pub struct Organization {
    /// Where AWS is.
    pub endpoint: String,
    /// The hub's access key id, in the administrator account.
    pub access_key_id: String,
    /// The hub's secret access key.
    pub secret_access_key: Secret<String>,
    /// The member accounts.
    pub members: Vec<Member>,
    /// The regions that the hub acts in.
    pub regions: Vec<Region>,
}

/// A member account.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub account: AccountId,
    /// Its name, for people.
    pub name: String,
    /// What the trust policy of its role asks for.
    pub external_id: Secret<String>,
}

/// The organization could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationError {
    /// A call failed.
    #[error("setting up account `{account}`")]
    Call {
        /// The account.
        account: AccountId,
        /// What AWS said.
        source: Box<CallError>,
    },
    /// An answer lacks a member.
    #[error("`iam.CreateAccessKey` answered without `{0}`")]
    Missing(&'static str),
    /// A constant of this module is not what it should be.
    #[error(transparent)]
    Id(#[from] stanch_types::InvalidId),
}

impl Organization {
    /// Gives the hub a user and each member account a role that only this user may assume, with an
    /// external id of its own, and that may do what `role_policy` (an IAM policy) says.
    pub async fn create(
        endpoint: String,
        root: Root<'_>,
        role_policy: &Value,
    ) -> Result<Self, OrganizationError> {
        let regions = REGIONS
            .map(str::parse)
            .into_iter()
            .collect::<Result<Vec<Region>, _>>()?;
        let home: Region = REGIONS[0].parse()?;
        let admin: AccountId = ADMIN.parse()?;
        let key = hub_user(&*root(&admin, &home))
            .await
            .map_err(|error| failed(&admin, error))?;
        let part = |member| {
            key.pointer(member)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };

        let mut members = Vec::new();
        for (account, name) in MEMBERS {
            let member = Member {
                account: account.parse()?,
                name: name.to_owned(),
                external_id: Secret::new(format!("external-id-of-{account}")),
            };
            let iam = root(&member.account, &home);
            member_role(&*iam, member.external_id.reveal(), role_policy)
                .await
                .map_err(|error| failed(&member.account, error))?;
            members.push(member);
        }
        Ok(Self {
            endpoint,
            access_key_id: part("/AccessKey/AccessKeyId")
                .ok_or(OrganizationError::Missing("AccessKeyId"))?,
            secret_access_key: part("/AccessKey/SecretAccessKey")
                .map(Secret::new)
                .ok_or(OrganizationError::Missing("SecretAccessKey"))?,
            members,
            regions,
        })
    }

    /// The hub's configuration file for this organization: its ledger and its inbox in `folder`, the
    /// remediations `guarded` to run on their own.
    #[must_use]
    pub fn config(&self, folder: &Path, guarded: &[String]) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let file = |name: &str| quoted(&folder.join(name).to_string_lossy());
        let guarded: Vec<String> = guarded.iter().map(|name| quoted(name)).collect();
        let mut config = format!(
            "ledger = {}\nlogs = {}\n\n[aws]\nendpoint_url = {}\nmember_role = {}\n\n\
             [automatic]\nguarded = [{}]\n\n\
             # Whoever plants a hundred findings at once wants them dealt with.\n\
             [guard]\nbacklog = 100000\n\n[serve]\ninbox = {}\ninbox_every = \"200ms\"\n",
            file("stanch.db"),
            file("logs"),
            quoted(&self.endpoint),
            quoted(MEMBER_ROLE),
            guarded.join(", "),
            file("inbox"),
        );
        config.push_str(
            "\n[approval.groups]\nsecurity = [\"bob\", \"carol\"]\n\n\
             [[approval.rules]]\nneeds = { security = 1 }\n",
        );
        let regions: Vec<String> = self
            .regions
            .iter()
            .map(|region| quoted(region.as_str()))
            .collect();
        for member in &self.members {
            // Writing to a string does not fail.
            let _ = write!(
                config,
                "\n[accounts.{}]\nname = {}\nexternal_id = {}\nregions = [{}]\n",
                quoted(member.account.as_str()),
                quoted(&member.name),
                quoted(member.external_id.reveal()),
                regions.join(", "),
            );
        }
        config
    }

    /// The environment that the hub runs with: its credentials and nothing else of AWS.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            (
                "AWS_SECRET_ACCESS_KEY",
                self.secret_access_key.reveal().clone(),
            ),
            ("AWS_REGION", REGIONS[0].to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
        ]
    }
}

fn failed(account: &AccountId, error: CallError) -> OrganizationError {
    OrganizationError::Call {
        account: account.clone(),
        source: Box::new(error),
    }
}

/// Makes the hub's user, which may assume the member roles and nothing else, and its access key.
async fn hub_user(iam: &dyn Api) -> Result<Value, CallError> {
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Resource": format!("arn:aws:iam::*:role/{MEMBER_ROLE}")}]});
    call(iam, "CreateUser", json!({"UserName": HUB_USER})).await?;
    let put = json!({"UserName": HUB_USER, "PolicyName": "AssumeMemberRoles", "PolicyDocument": policy.to_string()});
    call(iam, "PutUserPolicy", put).await?;
    call(iam, "CreateAccessKey", json!({"UserName": HUB_USER})).await
}

async fn member_role(
    iam: &dyn Api,
    external_id: &str,
    role_policy: &Value,
) -> Result<(), CallError> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{ADMIN}:user/{HUB_USER}")},
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}}}]});
    let role = json!({"RoleName": MEMBER_ROLE, "AssumeRolePolicyDocument": trust.to_string(),
        "Description": "Assumed by the remediation hub"});
    call(iam, "CreateRole", role).await?;
    let put = json!({"RoleName": MEMBER_ROLE, "PolicyName": "Remediations", "PolicyDocument": role_policy.to_string()});
    call(iam, "PutRolePolicy", put).await?;
    Ok(())
}

async fn call(api: &dyn Api, operation: &str, params: Value) -> Result<Value, CallError> {
    Ok(api.call(&Call::new("iam", operation, params)).await?.output)
}

/// The policy of a member role that must carry out these remediations, anywhere in its account.
///
/// # Errors
/// The permissions of one are not known.
pub fn role_policy<R: Borrow<Remediation>>(
    remediations: impl IntoIterator<Item = R>,
    models: &Models,
) -> Result<Value, PolicyError> {
    let mut needed = Vec::new();
    for remediation in remediations {
        needed.extend(remediation.borrow().permissions(models)?);
    }
    let policy = policy_document(&needed)
        .replace("${AWS::Partition}", "aws")
        .replace("${AWS::Region}", "*")
        .replace("${AWS::AccountId}", "*");
    Ok(serde_json::from_str(&policy).unwrap_or_default())
}
