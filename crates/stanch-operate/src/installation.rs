//! What was deployed, under which names.

use stanch_types::{AccountId, Partition, Region};

/// An installation by its names, which are those of the templates in `stanch-deploy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// What every name but a bucket's begins with.
    pub name_prefix: String,
    /// What every bucket's name begins with.
    pub bucket_prefix: String,
    /// The region of the administrator stack.
    pub region: Region,
    /// The role that is assumed in member accounts.
    pub member_role: String,
}

impl Installation {
    /// The templates' default prefix.
    pub const NAME_PREFIX: &'static str = "SecurityRemediation";
    /// The templates' default prefix of buckets.
    pub const BUCKET_PREFIX: &'static str = "security-remediation";

    /// `SecurityRemediationAuditLog` for `AuditLog`.
    #[must_use]
    pub fn named(&self, what: &str) -> String {
        format!("{}{what}", self.name_prefix)
    }

    /// The orchestrator's role, which member accounts trust.
    #[must_use]
    pub fn orchestrator_role(&self) -> String {
        match self.name_prefix == Self::NAME_PREFIX {
            true => "OrchestratorLambdaRole".to_owned(),
            false => self.named("OrchestratorLambdaRole"),
        }
    }

    /// The partition of its region.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.region.partition()
    }

    /// The ARN of a resource of an account in the installation's region.
    #[must_use]
    pub fn arn(&self, account: &AccountId, service: &str, resource: &str) -> String {
        self.arn_in(&self.region, account, service, resource)
    }

    /// The ARN of a resource of an account in a region.
    #[must_use]
    pub fn arn_in(
        &self,
        region: &Region,
        account: &AccountId,
        service: &str,
        resource: &str,
    ) -> String {
        let partition = self.partition();
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    /// The ARN of a role, which is in no region.
    #[must_use]
    pub fn role_arn(&self, account: &AccountId, role: &str) -> String {
        let role = role.trim_start_matches('/');
        format!("arn:{}:iam::{account}:role/{role}", self.partition())
    }

    /// The member account's bucket for logs.
    #[must_use]
    pub fn log_bucket(&self, account: &AccountId, region: &Region) -> String {
        format!("{}-logs-{account}-{region}", self.bucket_prefix)
    }

    /// The functions of the administrator account.
    #[must_use]
    pub fn functions(&self) -> [String; 3] {
        ["Orchestrator", "Security", "Notifier"].map(|name| self.named(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_templates() {
        let mut installation = Installation {
            name_prefix: Installation::NAME_PREFIX.to_owned(),
            bucket_prefix: Installation::BUCKET_PREFIX.to_owned(),
            region: "cn-north-1".parse().unwrap(),
            member_role: "SecurityRemediationCrossAccountRole".to_owned(),
        };
        let account: AccountId = "111111111111".parse().unwrap();
        assert_eq!(
            installation.named("AuditLog"),
            "SecurityRemediationAuditLog"
        );
        assert_eq!(installation.orchestrator_role(), "OrchestratorLambdaRole");
        assert_eq!(
            installation.arn(&account, "sns", "Topic"),
            "arn:aws-cn:sns:cn-north-1:111111111111:Topic"
        );
        assert_eq!(
            installation.role_arn(&account, "/path/Role"),
            "arn:aws-cn:iam::111111111111:role/path/Role"
        );
        installation.name_prefix = "Other".to_owned();
        assert_eq!(
            installation.orchestrator_role(),
            "OtherOrchestratorLambdaRole"
        );
    }
}
