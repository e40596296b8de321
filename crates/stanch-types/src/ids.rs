//! Accounts, partitions and regions: validated when they enter, never parsed twice.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A value that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct InvalidId {
    /// What was given.
    pub value: String,
    /// What it should have been, with an article: "an AWS account id (12 digits)".
    pub expected: &'static str,
}

/// A string newtype that can only be built from text that passes its check.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as AWS writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { value: text.chars().take(64).collect(), expected: $expected })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

checked_string!(
    /// An AWS account: twelve digits.
    AccountId,
    "an AWS account id (12 digits)",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

checked_string!(
    /// A region code such as `eu-central-1`. That the region exists and is enabled for an account
    /// is not checked here.
    Region,
    "an AWS region code (such as `eu-central-1`)",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        text.len() <= 32
            && parts.len() >= 3
            && parts.iter().all(|p| !p.is_empty())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.ends_with(|c: char| c.is_ascii_digit())
    }
);

checked_string!(
    /// A partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-iso`, …
    Partition,
    "an AWS partition (such as `aws` or `aws-us-gov`)",
    |text| {
        text.starts_with("aws")
            && text.len() <= 32
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

impl Region {
    /// The partition that the region belongs to, by the prefixes of botocore's `partitions.json`.
    #[must_use]
    pub fn partition(&self) -> Partition {
        const PREFIXES: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ];
        let name = PREFIXES
            .iter()
            .find(|(prefix, _)| self.0.starts_with(prefix))
            .map_or("aws", |(_, partition)| partition);
        Partition(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_only_what_they_are() {
        assert!("123456789012".parse::<AccountId>().is_ok());
        for bad in [
            "",
            "12345678901",
            "1234567890123",
            "12345678901a",
            "１２３４５６７８９０１２",
        ] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
        for good in [
            "us-east-1",
            "ap-southeast-4",
            "us-gov-west-1",
            "us-iso-east-1",
            "eusc-de-east-1",
        ] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "us-east",
            "US-EAST-1",
            "us_east_1",
            "us--1",
            "../etc-1-1",
        ] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_region_knows_its_partition() {
        let partition = |region: &str| region.parse::<Region>().unwrap().partition().to_string();
        assert_eq!(partition("eu-central-1"), "aws");
        assert_eq!(partition("cn-north-1"), "aws-cn");
        assert_eq!(partition("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition("us-isob-east-1"), "aws-iso-b");
    }
}
