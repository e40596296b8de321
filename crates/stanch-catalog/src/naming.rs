//! What is called how in a member account.

use crate::plan::Stage;

/// Names of Automation documents and of the function that they ask, after a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    prefix: String,
}

impl Default for Naming {
    fn default() -> Self {
        Self::new(Self::PREFIX)
    }
}

impl Naming {
    /// The prefix of the brief's own names. Documents carry only another one.
    pub const PREFIX: &str = "SecurityRemediation";

    /// The brief's own names for the documents of these remediations.
    const EXAMPLES: [(&str, &str); 9] = [
        ("S3BlockPublicAccess", "S3PublicAccess"),
        ("Ec2CloseOpenPorts", "OpenSecurityGroup"),
        ("RdsEncryptSnapshot", "UnencryptedRDS"),
        ("Ec2EncryptNewVolumes", "UnencryptedEBS"),
        ("AcmReplaceExpiringCertificate", "ExpiredSSLCert"),
        ("Ec2AllowOnlyAuthorizedPorts", "SecurityGroupRules"),
        ("IamTakeAdminOutOfPolicy", "IAMPolicy"),
        ("RdsTagResource", "ResourceTags"),
        ("Ec2CloseNetworkAcl", "NetworkACLs"),
    ];

    /// Names after `prefix`, the member stack's `NamePrefix`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// What the brief calls the remediation, if it names it: `S3PublicAccess`.
    #[must_use]
    pub fn example(remediation: &str) -> Option<&'static str> {
        let found = Self::EXAMPLES.iter().find(|(name, _)| *name == remediation);
        found.map(|(_, called)| *called)
    }

    /// The remediation that the brief calls so, if it is one of its names.
    #[must_use]
    pub fn of_example(called: &str) -> Option<&'static str> {
        let found = Self::EXAMPLES.iter().find(|(_, name)| *name == called);
        found.map(|(name, _)| *name)
    }

    /// A document's name without the prefix: `RemediateS3PublicAccess`, `RollbackS3PublicAccess`.
    #[must_use]
    pub fn bare(stage: Stage, remediation: &str) -> String {
        let does = match stage {
            Stage::Apply => "Remediate",
            Stage::Undo => "Rollback",
        };
        format!(
            "{does}{}",
            Self::example(remediation).unwrap_or(remediation)
        )
    }

    /// A document's name in a member account.
    #[must_use]
    pub fn document(&self, stage: Stage, remediation: &str) -> String {
        let bare = Self::bare(stage, remediation);
        match self.prefix.as_str() {
            Self::PREFIX => bare,
            prefix => format!("{prefix}{bare}"),
        }
    }

    /// The stage and the remediation of a document, by its name in a member account.
    #[must_use]
    pub fn remediation<'n>(&self, document: &'n str) -> Option<(Stage, &'n str)> {
        let bare = match self.prefix.as_str() {
            Self::PREFIX => document,
            prefix => document.strip_prefix(prefix)?,
        };
        let (stage, called) = match bare.strip_prefix("Remediate") {
            Some(called) => (Stage::Apply, called),
            None => (Stage::Undo, bare.strip_prefix("Rollback")?),
        };
        Some((stage, Self::of_example(called).unwrap_or(called)))
    }

    /// The function that documents ask.
    #[must_use]
    pub fn function(&self) -> String {
        format!("{}Remediation", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_the_name_it_was_given() {
        for naming in [Naming::default(), Naming::new("Acme")] {
            for remediation in ["S3BlockPublicAccess", "KmsRotateKey"] {
                for stage in [Stage::Apply, Stage::Undo] {
                    let name = naming.document(stage, remediation);
                    assert_eq!(naming.remediation(&name), Some((stage, remediation)));
                }
            }
        }
        let of = |prefix: &str| Naming::new(prefix).document(Stage::Undo, "S3BlockPublicAccess");
        assert_eq!(of(Naming::PREFIX), "RollbackS3PublicAccess");
        assert_eq!(of("Acme"), "AcmeRollbackS3PublicAccess");
        assert_eq!(
            Naming::new("Acme").remediation("RemediateKmsRotateKey"),
            None
        );
        assert_eq!(Naming::default().remediation("AWS-StopEC2Instance"), None);
    }
}
