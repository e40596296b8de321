//! The accounts of the organization as a port.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use stanch_types::{AccountId, Api, CallError, Region};

/// What a session that only looks may do: the session policy of an audit role.
pub const READS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudtrail:LookupEvents","cloudwatch:GetMetricStatistics","config:Describe*","ec2:DescribeRegions","iam:Get*","iam:List*","iam:SimulatePrincipalPolicy","lambda:GetFunctionConfiguration","logs:FilterLogEvents","s3:GetBucket*","s3:ListBucket","securityhub:DescribeHub","ssm:Describe*","ssm:Get*","ssm:List*","sts:GetCallerIdentity"],"Resource":"*"}]}"#;

/// Why an account cannot be looked into.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreachable {
    /// No role to look with is configured.
    #[error("no audit role is configured")]
    NoAuditRole,
    /// The role could not be assumed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// The accounts of the organization, as the person sees them who runs the command.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The administrator account, with the person's own credentials.
    fn own(&self, region: &Region) -> Result<Arc<dyn Api>, CallError>;

    /// A member account, with a role that may do no more than [`READS`]. Not the role that remediates: that
    /// one is looked at.
    async fn audit(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> Result<Arc<dyn Api>, Unreachable>;

    /// By how much AWS's clock was ahead of ours at its last answer; none before the first.
    fn clock_ahead(&self) -> Option<SignedDuration>;
}
