//! Exemptions: what Stanch keeps its hands off, who says so, why, and until when.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;
use stanch_catalog::{Catalog, Remediation};
use stanch_ledger::Received;
use stanch_types::{AccountId, is_below, is_like};

use crate::problem::Problem;

/// One exemption. All that it names must fit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it counts, by UTC.
    pub expires: Date,
    /// Controls, as any product names them, or remediations.
    #[serde(default)]
    pub controls: Vec<String>,
    /// Member accounts.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
    /// Organizational units, by their path; what lies below counts.
    #[serde(default)]
    pub ous: Vec<String>,
    /// Patterns of the resource's ARN or id, with `*` and `?`.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Tags of the resource; values are patterns too.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A file of exemptions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemptions {
    #[serde(default)]
    exemption: Vec<Exemption>,
}

/// Whether an exemption covers a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover<'e> {
    /// None does.
    None,
    /// This one does.
    Exempt(&'e Exemption),
    /// This one did, and has expired.
    Expired(&'e Exemption),
    /// This one goes by tags or an organizational unit, and they are not known.
    Unknown(&'e Exemption),
}

impl Exemptions {
    /// Reads a file of exemptions from what a catalog fixes, if there is one to ask.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &str, text: &str, catalog: Option<&Catalog>) -> Result<Self, Problem> {
        let read: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Problem::at(path, text, offset, error.message())
        })?;
        for exemption in &read.exemption {
            let fail = |message: &str, hint: &str| {
                let offset = text.find(&exemption.reason).unwrap_or(0);
                Err(Problem::at(path, text, offset, message).hint(hint))
            };
            if exemption.owner.trim().is_empty() || exemption.reason.trim().is_empty() {
                return fail(
                    "an exemption has no `owner` or no `reason`",
                    "say who answers for it, and why",
                );
            }
            let Exemption {
                controls,
                accounts,
                ous,
                resources,
                tags,
                ..
            } = exemption;
            if controls.is_empty()
                && accounts.is_empty()
                && ous.is_empty()
                && resources.is_empty()
                && tags.is_empty()
            {
                return fail(
                    "an exemption names nothing, and so would be one of everything",
                    "name `controls`, `accounts`, `ous`, `resources` or `tags`",
                );
            }
            // Spelt wrongly, it would exempt nothing, and nobody would notice.
            let unknown = |name: &&String| catalog.is_some_and(|all| all.spelt(name).is_none());
            if let Some(control) = controls.iter().find(unknown) {
                return fail(
                    &format!("nothing that can be fixed is called `{control}`"),
                    "`stanch catalog list` shows the controls and remediations that an exemption can name",
                );
            }
        }
        Ok(read)
    }

    /// What covers a finding of an account in this organizational unit: the first that counts, else
    /// one that may, else one that did.
    #[must_use]
    pub fn cover(
        &self,
        received: &Received,
        remediation: &Remediation,
        ou: Option<&str>,
        now: Timestamp,
    ) -> Cover<'_> {
        let mut found = Cover::None;
        for exemption in &self.exemption {
            let covers = match exemption.covers(received, remediation, ou) {
                Some(false) => continue,
                covers => covers,
            };
            match (exemption.is_expired(now), covers) {
                (false, Some(_)) => return Cover::Exempt(exemption),
                (false, None) => found = Cover::Unknown(exemption),
                (true, _) if found == Cover::None => found = Cover::Expired(exemption),
                (true, _) => {}
            }
        }
        found
    }

    /// Those that no longer count.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Exemption> {
        self.exemption.iter().filter(move |e| e.is_expired(now))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Exemption] {
        &self.exemption
    }
}

impl Exemption {
    fn is_expired(&self, now: Timestamp) -> bool {
        now.to_zoned(TimeZone::UTC).date() > self.expires
    }

    /// `None` if only tags or a unit that nobody knows can tell.
    fn covers(
        &self,
        received: &Received,
        remediation: &Remediation,
        ou: Option<&str>,
    ) -> Option<bool> {
        let mut controls = self.controls.iter();
        let control = self.controls.is_empty()
            || controls.any(|control| remediation.is_meant(control, &received.control));
        let account = self.accounts.is_empty() || self.accounts.contains(&received.account);
        let below = |ou| self.ous.iter().any(|unit| is_below(ou, unit));
        let unit = if self.ous.is_empty() {
            Some(true)
        } else {
            ou.map(below)
        };
        let arn = received.resource_arn.as_ref().map(ToString::to_string);
        let named = |pattern: &String| {
            is_like(pattern, &received.resource_id)
                || arn.as_deref().is_some_and(|arn| is_like(pattern, arn))
        };
        let resource = self.resources.is_empty() || self.resources.iter().any(named);
        let carries = |(key, pattern): (&String, &String)| {
            let value = received.tags.get(key);
            value.is_some_and(|value| is_like(pattern, value))
        };
        let tagged = if self.tags.is_empty() {
            Some(true)
        } else if received.tags.is_empty() {
            None
        } else {
            Some(self.tags.iter().all(carries))
        };
        let named = control && account && resource;
        match (named, unit, tagged) {
            (false, _, _) | (_, Some(false), _) | (_, _, Some(false)) => Some(false),
            (true, Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

impl std::fmt::Display for Exemption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} says: {} (until {})",
            self.owner, self.reason, self.expires
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_needs_an_owner_a_reason_an_end_and_something_to_exempt() {
        let check = |text: &str, line: usize, expected: &str| {
            let problem = Exemptions::read("exemptions.toml", text, None).unwrap_err();
            assert!(problem.message.contains(expected), "{problem}");
            assert_eq!(problem.line, line, "{problem}");
        };
        check(
            "[[exemption]]\nowner = \"a\"\nreason = \"b\"\n",
            1,
            "expires",
        );
        check(
            "[[exemption]]\nowner = \"a\"\nreason = \"why\"\nexpires = \"2027-01-31\"\n",
            3,
            "names nothing",
        );
        check(
            "[[exemption]]\nowner = \" \"\nreason = \"why\"\nexpires = \"2027-01-31\"\ncontrols = [\"S3.8\"]\n",
            3,
            "no `owner`",
        );
        check("[[exemption]]\nowner = \"a\"\nacounts = []\n", 3, "acounts");
        check("[[exemption]\n", 1, "");
    }
}
