//! The names of controls. One control has many: Security Hub's, its standards', Config's, Prowler's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A control under one of its names.
///
/// As text (and in JSON): `S3.8`, `config:s3-bucket-public-read-prohibited`, `cis-1.4.0:2.1.5`,
/// `pci-3.2.1:PCI.S3.1`, `prowler:s3_bucket_public_access`, `type:Effects/Data Exposure`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ControlRef {
    /// Security Hub's own id of a security control: `S3.8`.
    SecurityHub(String),
    /// A Config rule: its name, or the identifier of the managed rule in kebab case, without what
    /// Security Hub, conformance packs and organization rules add to it.
    ConfigRule(String),
    /// A recommendation of the CIS AWS Foundations Benchmark.
    Cis {
        /// `1.4.0`.
        version: String,
        /// `2.1.5`.
        id: String,
    },
    /// Security Hub's id of a control in PCI DSS, which has its own numbers.
    Pci {
        /// `3.2.1`.
        version: String,
        /// `PCI.S3.1`.
        id: String,
    },
    /// A check of Prowler: `s3_bucket_level_public_access_block`.
    Prowler(String),
    /// A product's type of finding: `UnauthorizedAccess:EC2/SSHBruteForce`, or the ASFF taxonomy's
    /// `Software and Configuration Checks/Vulnerabilities/CVE`.
    Product(String),
}

/// Text that is not the name of a control.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a control (such as `S3.8`, `config:restricted-ssh`, `cis-3.0.0:2.1.4`, `prowler:…`)"
)]
pub struct UnknownControlRef(String);

impl ControlRef {
    /// A Config rule by its name as events have it, or by its identifier (`RESTRICTED_INCOMING_TRAFFIC`).
    #[must_use]
    pub fn config_rule(name: &str) -> Self {
        Self::ConfigRule(managed_rule(name).unwrap_or_else(|| name.to_owned()))
    }

    /// What Security Hub and others write into `GeneratorId`:
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-changes-consolidation.html>.
    #[must_use]
    pub fn from_generator(generator: &str) -> Option<Self> {
        if let Some(check) = generator.strip_prefix("prowler-") {
            return Some(Self::Prowler(check.to_owned()));
        }
        if let Some(id) = generator.strip_prefix("security-control/") {
            return security_hub(id);
        }
        // `arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/2.1` and
        // `aws-foundational-security-best-practices/v/1.0.0/S3.8`.
        let path = generator
            .split_once(":ruleset/")
            .map_or(generator, |(_, path)| path);
        let (standard, rest) = path.split_once("/v/")?;
        let (version, id) = rest.split_once('/')?;
        let id = id.strip_prefix("rule/").unwrap_or(id);
        match standard {
            "cis-aws-foundations-benchmark" => cis(version, id),
            "pci-dss" if id.starts_with("PCI.") => Some(Self::Pci {
                version: version.to_owned(),
                id: id.to_owned(),
            }),
            _ => security_hub(id),
        }
    }

    /// What Security Hub writes into `Compliance.RelatedRequirements`:
    /// `CIS AWS Foundations Benchmark v1.4.0/2.1.5`. Other frameworks' requirements are no controls.
    #[must_use]
    pub fn from_requirement(requirement: &str) -> Option<Self> {
        let (version, id) = requirement
            .strip_prefix("CIS AWS Foundations Benchmark v")?
            .split_once('/')?;
        cis(version, id)
    }
}

/// `S3.8`; Control Tower's standard writes `SH.S3.8`.
fn security_hub(id: &str) -> Option<ControlRef> {
    let id = id.strip_prefix("SH.").unwrap_or(id);
    is_security_hub(id).then(|| ControlRef::SecurityHub(id.to_owned()))
}

fn is_security_hub(id: &str) -> bool {
    id.split_once('.').is_some_and(|(service, number)| {
        service.starts_with(|c: char| c.is_ascii_alphabetic())
            && service.bytes().all(|b| b.is_ascii_alphanumeric())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn cis(version: &str, id: &str) -> Option<ControlRef> {
    let dotted = |text: &str| {
        !text.is_empty()
            && text
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    (dotted(version) && dotted(id)).then(|| ControlRef::Cis {
        version: version.to_owned(),
        id: id.to_owned(),
    })
}

/// The managed rule behind a decorated name; `None` if the name is bare.
///
/// Security Hub: `securityhub-restricted-ssh-1a2b3c4d`; conformance packs:
/// `restricted-ssh-conformance-pack-abc123def`; organization rules: `OrgConfigRule-restricted-ssh-x1y2z3a4`.
fn managed_rule(name: &str) -> Option<String> {
    let without_suffix = |rest: &str, is_suffix: fn(u8) -> bool| {
        rest.rsplit_once('-')
            .filter(|(rule, suffix)| {
                !rule.is_empty()
                    && (6..=12).contains(&suffix.len())
                    && suffix.bytes().all(is_suffix)
            })
            .map(|(rule, _)| rule.to_owned())
    };
    let lower_alphanumeric: fn(u8) -> bool = |b| b.is_ascii_digit() || b.is_ascii_lowercase();
    if let Some(rest) = name.strip_prefix("securityhub-") {
        return Some(without_suffix(rest, |b| b.is_ascii_hexdigit()).unwrap_or(rest.to_owned()));
    }
    if let Some(rest) = name.strip_prefix("OrgConfigRule-") {
        return Some(without_suffix(rest, lower_alphanumeric).unwrap_or(rest.to_owned()));
    }
    if let Some((rule, pack)) = name.rsplit_once("-conformance-pack-")
        && !rule.is_empty()
        && pack.bytes().all(lower_alphanumeric)
    {
        return Some(rule.to_owned());
    }
    let is_identifier = name.contains('_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_identifier.then(|| name.to_ascii_lowercase().replace('_', "-"))
}

impl fmt::Display for ControlRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecurityHub(id) => f.write_str(id),
            Self::ConfigRule(name) => write!(f, "config:{name}"),
            Self::Cis { version, id } => write!(f, "cis-{version}:{id}"),
            Self::Pci { version, id } => write!(f, "pci-{version}:{id}"),
            Self::Prowler(check) => write!(f, "prowler:{check}"),
            Self::Product(kind) => write!(f, "type:{kind}"),
        }
    }
}

impl FromStr for ControlRef {
    type Err = UnknownControlRef;
    fn from_str(text: &str) -> Result<Self, UnknownControlRef> {
        let parsed = match text.split_once(':') {
            None => is_security_hub(text).then(|| Self::SecurityHub(text.to_owned())),
            Some((_, "")) => None,
            Some(("config", name)) => Some(Self::ConfigRule(name.to_owned())),
            Some(("prowler", check)) => Some(Self::Prowler(check.to_owned())),
            Some(("type", kind)) => Some(Self::Product(kind.to_owned())),
            Some((standard, id)) => match standard.split_once('-') {
                Some(("cis", version)) => cis(version, id),
                Some(("pci", version)) => Some(Self::Pci {
                    version: version.to_owned(),
                    id: id.to_owned(),
                }),
                _ => None,
            },
        };
        parsed.ok_or_else(|| UnknownControlRef(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for ControlRef {
    type Error = UnknownControlRef;
    fn try_from(text: String) -> Result<Self, UnknownControlRef> {
        text.parse()
    }
}

impl From<ControlRef> for String {
    fn from(control: ControlRef) -> String {
        control.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_name_controls() {
        for (generator, expected) in [
            ("security-control/S3.8", Some("S3.8")),
            (
                "aws-foundational-security-best-practices/v/1.0.0/S3.8",
                Some("S3.8"),
            ),
            ("nist-800-53/v/5.0.0/EC2.19", Some("EC2.19")),
            (
                "service-managed-aws-control-tower/v/1.0.0/SH.S3.8",
                Some("S3.8"),
            ),
            (
                "cis-aws-foundations-benchmark/v/1.4.0/2.1.5",
                Some("cis-1.4.0:2.1.5"),
            ),
            (
                "arn:aws-us-gov:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/2.1",
                Some("cis-1.2.0:2.1"),
            ),
            ("pci-dss/v/3.2.1/PCI.S3.1", Some("pci-3.2.1:PCI.S3.1")),
            ("pci-dss/v/4.0.1/S3.1", Some("S3.1")),
            (
                "prowler-s3_bucket_public_access",
                Some("prowler:s3_bucket_public_access"),
            ),
            ("security-control/", None),
            ("cis-aws-foundations-benchmark/v/1.4.0/", None),
            ("arn:aws:guardduty:us-east-1:123456789012:detector/1", None),
            ("", None),
        ] {
            let control = ControlRef::from_generator(generator);
            assert_eq!(
                control.as_ref().map(ToString::to_string).as_deref(),
                expected,
                "{generator}"
            );
            if let Some(control) = control {
                assert_eq!(control.to_string().parse(), Ok(control));
            }
        }
    }

    #[test]
    fn config_rules_lose_their_decoration() {
        for (name, expected) in [
            ("s3-bucket-ssl-requests-only", "s3-bucket-ssl-requests-only"),
            (
                "securityhub-s3-bucket-public-read-prohibited-3504b60a",
                "s3-bucket-public-read-prohibited",
            ),
            ("securityhub-restricted-ssh", "restricted-ssh"),
            (
                "restricted-ssh-conformance-pack-ab12cd34e",
                "restricted-ssh",
            ),
            (
                "OrgConfigRule-iam-password-policy-x1y2z3a4",
                "iam-password-policy",
            ),
            (
                "S3_BUCKET_LEVEL_PUBLIC_ACCESS_PROHIBITED",
                "s3-bucket-level-public-access-prohibited",
            ),
            ("My_Rule", "My_Rule"),
            ("-conformance-pack-ab12", "-conformance-pack-ab12"),
        ] {
            assert_eq!(
                ControlRef::config_rule(name),
                ControlRef::ConfigRule(expected.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_control_is_refused() {
        for bad in [
            "",
            "S3",
            "S3.",
            ".8",
            "S3.x",
            "config:",
            "cis-3.0.0",
            "cis-x:1",
            "nist-1:2",
        ] {
            assert!(bad.parse::<ControlRef>().is_err(), "{bad}");
        }
    }
}
