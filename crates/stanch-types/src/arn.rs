//! Amazon Resource Names, <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Partition;

/// `arn:partition:service:region:account-id:resource`.
///
/// Region and account are text and may be empty: S3 and IAM leave them out. The account and region
/// to act in come from the finding, never from here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    /// `aws`, `aws-cn`, …
    pub partition: Partition,
    /// The service namespace, as in IAM: `s3`, `ec2`, `elasticloadbalancing`.
    pub service: String,
    /// Empty for global services and for S3.
    pub region: String,
    /// Empty for S3; `aws` for AWS-managed policies.
    pub account: String,
    /// All that follows the fifth colon.
    pub resource: String,
}

/// Text that is not an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ARN (arn:partition:service:region:account-id:resource)")]
pub struct ArnError(String);

impl Arn {
    /// The part of the resource after its type: `my-key` in `key/my-key`, `t` in `topic:t`.
    #[must_use]
    pub fn resource_id(&self) -> &str {
        self.resource
            .split_once(['/', ':'])
            .map_or(self.resource.as_str(), |(_, id)| id)
    }

    /// What slashes and colons separate in the resource: `service`, `web` and `api` of
    /// `service/web/api`.
    pub fn resource_parts(&self) -> impl Iterator<Item = &str> {
        self.resource
            .split(['/', ':'])
            .filter(|part| !part.is_empty())
    }

    /// The type in front of the resource, if there is one: `key` in `key/my-key`.
    #[must_use]
    pub fn resource_type(&self) -> Option<&str> {
        self.resource.split_once(['/', ':']).map(|(kind, _)| kind)
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let error = || ArnError(text.chars().take(128).collect());
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(error);
        if next()? != "arn" {
            return Err(error());
        }
        let arn = Self {
            partition: next()?.parse().map_err(|_| error())?,
            service: next()?.to_owned(),
            region: next()?.to_owned(),
            account: next()?.to_owned(),
            resource: next()?.to_owned(),
        };
        if arn.service.is_empty() || arn.resource.is_empty() {
            Err(error())
        } else {
            Ok(arn)
        }
    }
}

impl TryFrom<String> for Arn {
    type Error = ArnError;
    fn try_from(text: String) -> Result<Self, ArnError> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.to_string()
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            service,
            region,
            account,
            resource,
        } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_round_trip() {
        for text in [
            "arn:aws:s3:::my-bucket/a:b",
            "arn:aws-us-gov:iam::123456789012:role/path/name",
            "arn:aws:sns:eu-central-1:123456789012:topic",
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
        }
        let key: Arn = "arn:aws:kms:us-east-1:123456789012:key/abc"
            .parse()
            .unwrap();
        assert_eq!(
            (key.resource_type(), key.resource_id()),
            (Some("key"), "abc")
        );
        for bad in [
            "",
            "arn",
            "arn:aws:s3",
            "arn:gcp:s3:::b",
            "arn:aws::::b",
            "arn:aws:s3:::",
        ] {
            assert!(bad.parse::<Arn>().is_err(), "{bad}");
        }
    }
}
