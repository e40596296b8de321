//! The one shape that every finding is brought into.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AccountId, Arn, ControlRef, InvalidId, Partition, Region, Resource};

/// What a product calls a finding: the `Id` of ASFF, `finding_info.uid` of OCSF. For an AWS Config
/// result, which has none, `config/<account>/<region>/<rule>/<resource type>/<resource id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FindingId(Arc<str>);

impl FindingId {
    /// The text as the product writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FindingId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // ASFF allows 512 characters; the made-up ids of Config results can be longer.
        if text.trim().is_empty() || text.len() > 2048 || text.chars().any(char::is_control) {
            return Err(InvalidId {
                value: text.chars().take(64).collect(),
                expected: "a finding id (1 to 2048 bytes, no control characters)",
            });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for FindingId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<FindingId> for String {
    fn from(id: FindingId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which production of a finding this is: equal for every delivery of one observation, different
/// when the product observes it anew.
///
/// It is the moment at which the *product* last updated the finding: `UpdatedAt` of ASFF (else
/// `LastObservedAt`, `CreatedAt`), `finding_info.modified_time` of OCSF, `resultRecordedTime` of a
/// Config result. Of all that AWS sends, only this
///
/// - stays as it is when an event is delivered again, and when somebody (we, after a fix) sets the
///   workflow status, which also sends an event: neither `BatchUpdateFindings` nor
///   `BatchUpdateFindingsV2` touches these moments
///   (<https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindings.html>,
///   <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindingsV2.html>);
/// - changes when a finding fails again after it had passed: Security Hub keeps `Id`, `CreatedAt`
///   and `FirstObservedAt` then
///   (<https://docs.aws.amazon.com/securityhub/latest/userguide/controls-findings-create-update.html>).
///
/// It also changes with each periodic check (every 12 to 24 hours) of what still fails, and so lets
/// a run that failed be tried again; the attempt budget of the resource bounds that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub Timestamp);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Declares an enum whose variants have the names that AWS writes.
macro_rules! aws_names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All names, in order.
            pub const NAMES: &[&str] = &[$($text),*];

            /// The name as AWS writes it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The variant that AWS calls `text`.
            #[must_use]
            pub fn from_name(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

aws_names! {
    /// How bad the product says it is.
    SeverityLabel {
        /// No issue.
        Informational = "INFORMATIONAL",
        /// No action needed on its own.
        Low = "LOW",
        /// To be addressed, not urgently.
        Medium = "MEDIUM",
        /// To be addressed as a priority.
        High = "HIGH",
        /// To be addressed at once.
        Critical = "CRITICAL",
    }
}

/// Severity as a label and as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Severity {
    /// The label.
    pub label: SeverityLabel,
    /// 0 to 100.
    pub normalized: u8,
}

impl Severity {
    /// The number that Security Hub gives a label,
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-required-attributes.html#Severity>.
    #[must_use]
    pub const fn from_label(label: SeverityLabel) -> Self {
        let normalized = match label {
            SeverityLabel::Informational => 0,
            SeverityLabel::Low => 1,
            SeverityLabel::Medium => 40,
            SeverityLabel::High => 70,
            SeverityLabel::Critical => 90,
        };
        Self { label, normalized }
    }

    /// The label that Security Hub gives a number (capped at 100).
    #[must_use]
    pub const fn from_normalized(normalized: u8) -> Self {
        let label = match normalized {
            0 => SeverityLabel::Informational,
            1..=39 => SeverityLabel::Low,
            40..=69 => SeverityLabel::Medium,
            70..=89 => SeverityLabel::High,
            90.. => SeverityLabel::Critical,
        };
        let normalized = if normalized > 100 { 100 } else { normalized };
        Self { label, normalized }
    }
}

aws_names! {
    /// The result of the check behind the finding.
    Compliance {
        /// The check passed.
        Passed = "PASSED",
        /// Some information is missing, or the check does not support the configuration.
        Warning = "WARNING",
        /// The check failed.
        Failed = "FAILED",
        /// There is no result: an outage, no permission, nothing to evaluate.
        NotAvailable = "NOT_AVAILABLE",
    }
}

aws_names! {
    /// What people decided about the finding.
    Workflow {
        /// Nothing yet.
        New = "NEW",
        /// The resource's owner was told, or works on it.
        Notified = "NOTIFIED",
        /// Dealt with.
        Resolved = "RESOLVED",
        /// No action wanted.
        Suppressed = "SUPPRESSED",
    }
}

aws_names! {
    /// Whether the product still reports the finding.
    RecordState {
        /// It does.
        Active = "ACTIVE",
        /// It does not: the resource is gone, or the check is off.
        Archived = "ARCHIVED",
    }
}

/// A finding, from whatever product and in whatever format it came.
///
/// `account` and `region` are those that the finding states, never those of an ARN; all `resources`
/// belong to that account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The product's id of it.
    pub id: FindingId,
    /// Which production of the finding this is; part of the idempotency key.
    pub generation: Generation,
    /// The account that owns the resources.
    pub account: AccountId,
    /// The region to act in. A finding about a global resource (IAM, CloudFront) carries the region
    /// that it was found in.
    pub region: Region,
    /// All names under which a remediation may know the control, without repetition, the most
    /// specific first.
    pub controls: Vec<ControlRef>,
    /// At least one.
    pub resources: Vec<Resource>,
    /// The product's ARN (ASFF `ProductArn`, OCSF `metadata.product.uid`) or, where there is none,
    /// its name.
    pub product: String,
    /// One line.
    pub title: String,
    /// A paragraph; may be empty.
    pub description: String,
    /// Not every product says.
    pub severity: Option<Severity>,
    /// The check's result; threat and vulnerability findings have none.
    pub compliance: Option<Compliance>,
    /// What people decided.
    pub workflow: Workflow,
    /// Whether it is still reported.
    pub record_state: RecordState,
    /// When it was first seen, as far as the product says.
    pub first_observed_at: Option<Timestamp>,
    /// The finding as it came.
    #[serde(with = "shared")]
    pub raw: Arc<Value>,
}

impl Finding {
    /// The partition that the account lives in.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.region.partition()
    }

    /// The product's ARN, by which Security Hub knows the finding beside its id.
    #[must_use]
    pub fn product_arn(&self) -> Option<&str> {
        let is_product = self.product.parse::<Arn>().is_ok_and(|arn| {
            arn.service == "securityhub" && arn.resource_type() == Some("product")
        });
        is_product.then_some(self.product.as_str())
    }

    /// The rule of AWS Config that makes the check, where the finding says: a Config result does, and
    /// Security Hub does of Config's results
    /// (<https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-internal-providers.html>)
    /// and of its own controls, as a related resource
    /// (<https://docs.aws.amazon.com/securityhub/latest/userguide/controls-findings-create-update.html>).
    #[must_use]
    pub fn config_rule(&self) -> Option<&str> {
        if let Some(rule) = self.raw.get("configRuleName") {
            return rule.as_str();
        }
        let fields = self.raw.get("ProductFields")?;
        let field = |name: &str| fields.get(name).and_then(Value::as_str);
        field("aws/config/ConfigRuleName").or_else(|| {
            (0..8)
                .find(|n| {
                    field(&format!("RelatedAWSResources:{n}/type"))
                        == Some("AWS::Config::ConfigRule")
                })
                .and_then(|n| field(&format!("RelatedAWSResources:{n}/name")))
        })
    }
}

/// serde for `Arc<Value>`, which serde itself offers only behind a feature for the whole build.
mod shared {
    use super::{Arc, Value};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Arc<Value>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(from).map(Arc::new)
    }
}
