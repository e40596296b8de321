//! The kill switch: asked before every change, and never remembered. What cannot be read is a stop.

use std::sync::Arc;

use stanch_catalog::{Catalog, Remediation};
use stanch_ledger::{Directive, Directives, Given, LedgerError, Reach, Received, Standing};
use stanch_types::{AccountId, Region, chain, is_below};

use crate::{Hub, settings::Settings};

/// What a directive may reach: where and by what a change is made.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub account: AccountId,
    region: Region,
    control: String,
    remediation: Option<Arc<Remediation>>,
    unit: Option<String>,
}

impl Place {
    pub(crate) fn of(received: &Received, settings: &Settings, catalog: &Catalog) -> Self {
        let account = settings.accounts.get(&received.account);
        Self {
            account: received.account.clone(),
            region: received.region.clone(),
            control: received.control.clone(),
            remediation: catalog.get(&received.remediation),
            unit: account.and_then(|account| account.ou.clone()),
        }
    }

    pub(crate) fn is_within(&self, reach: &Reach) -> bool {
        match reach {
            Reach::All => true,
            Reach::Account(account) => self.account == *account,
            Reach::Region(region) => self.region == *region,
            Reach::Control(control) => {
                let remediation = self.remediation.as_ref();
                self.control.eq_ignore_ascii_case(control)
                    || remediation.is_some_and(|one| one.is_meant(control, &self.control))
            }
            // Where nobody knows, it may be.
            Reach::Unit(unit) => self.unit.as_deref().is_none_or(|own| is_below(own, unit)),
        }
    }
}

/// The switch as it stands before the changes of one remediation.
#[derive(Clone)]
pub(crate) struct Switch {
    directives: Arc<dyn Directives>,
    /// This very process must not change anything.
    off: bool,
    here: Here,
    place: Place,
}

/// Which of the administrator regions this process is in.
#[derive(Debug, Clone)]
struct Here {
    region: Option<Region>,
    stands_by: bool,
}

impl Here {
    fn of(settings: &Settings) -> Self {
        Self {
            region: settings.region.clone(),
            stands_by: settings.stands_by,
        }
    }

    /// Why another region acts, and not this one.
    fn is_passive(&self, standing: &Standing) -> Option<String> {
        match &standing.acts {
            Some((region, _)) if self.region.as_ref() == Some(region) => None,
            Some((region, Given { by, reason, .. })) => Some(format!(
                "changes are made in {region}, and not here, since {by} said so: {reason}"
            )),
            None if self.stands_by => {
                Some("this region stands by, and nobody has said that it acts".to_owned())
            }
            None => None,
        }
    }
}

impl Switch {
    pub(crate) fn of(directives: Arc<dyn Directives>, settings: &Settings, place: Place) -> Self {
        Self {
            directives,
            off: settings.paused,
            here: Here::of(settings),
            place,
        }
    }

    /// Why this process changes nothing at all, if it does not.
    pub(crate) fn is_off(&self) -> Option<String> {
        let why = "changes are paused by `pause` of the configuration";
        self.off.then(|| why.to_owned())
    }

    /// Why nothing may be changed now; none if it may.
    pub(crate) async fn stops(&self) -> Option<String> {
        if let Some(reason) = self.is_off() {
            return Some(reason);
        }
        match self.directives.directives().await {
            Ok(given) => {
                let standing = Standing::of(&given);
                let passive = self.here.is_passive(&standing);
                passive.or_else(|| stopped(&standing, &self.place))
            }
            Err(error) => Some(format!("the kill switch cannot be read: {}", chain(&error))),
        }
    }
}

fn stopped(standing: &Standing, place: &Place) -> Option<String> {
    let mut pauses = standing.pauses.iter();
    let (reach, Given { by, reason, .. }) = pauses.find(|(reach, _)| place.is_within(reach))?;
    Some(format!("changes are paused for {reach} by {by}: {reason}"))
}

/// A directive that was not given.
#[derive(Debug, thiserror::Error)]
pub enum DirectiveError {
    /// The store.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such pause.
    #[error("{0} is not paused")]
    NotPaused(Reach),
    /// Somebody keeps giving directives at the same moment.
    #[error("other directives were given at the same moment, again and again")]
    Crowded,
    /// The roll-out has no rings.
    #[error("no rings are configured")]
    NoRings,
    /// There is no ring further on, or further back.
    #[error("{reach} is in the {end} ring, `{ring}`")]
    AtTheEnd {
        /// Who.
        reach: Reach,
        /// `first` or `last`.
        end: &'static str,
        /// The ring.
        ring: String,
    },
}

impl DirectiveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::NotPaused(_) => Some("`stanch pause list` shows what is paused"),
            Self::Crowded => Some("try again"),
            Self::NoRings => Some("name them as `rollout.rings` in the configuration"),
            Self::AtTheEnd { .. } => Some("`stanch rollout status` shows who is where"),
        }
    }
}

/// How often another's directive may come first.
const TRIES: u32 = 16;

impl Hub {
    /// The switch as changes of this finding see it.
    pub(crate) fn switch(&self, received: &Received) -> Switch {
        let place = Place::of(received, &self.settings, &self.catalog);
        Switch::of(Arc::clone(&self.ports.directives), &self.settings, place)
    }

    /// `reach` as the catalog and the organization have it; none if nothing that is known here lies within.
    #[must_use]
    pub fn known(&self, reach: &Reach) -> Option<Reach> {
        let mut accounts = self.settings.accounts.iter();
        match reach {
            Reach::Control(control) => self.catalog.spelt(control).map(Reach::Control),
            Reach::Account(account) => accounts
                .any(|(known, _)| known == account)
                .then(|| reach.clone()),
            Reach::Unit(unit) => accounts
                .any(|(_, known)| known.ou.as_deref().is_some_and(|own| is_below(own, unit)))
                .then(|| reach.clone()),
            Reach::All | Reach::Region(_) => Some(reach.clone()),
        }
    }

    /// Stops all changes within `reach`, from the next request on.
    ///
    /// # Errors
    /// It could not be recorded: nothing is paused.
    pub async fn pause(
        &self,
        reach: Reach,
        by: &str,
        reason: &str,
    ) -> Result<Given, DirectiveError> {
        let reach = self.known(&reach).unwrap_or(reach);
        self.direct(by, reason, |_| {
            Ok(Directive::Pause {
                reach: reach.clone(),
            })
        })
        .await
    }

    /// Ends a pause. What it stopped looks again, and goes on.
    ///
    /// # Errors
    /// There is no such pause, or it could not be recorded.
    pub async fn resume(
        &self,
        reach: Reach,
        by: &str,
        reason: &str,
    ) -> Result<Given, DirectiveError> {
        // As it was said, if the catalog did not know it then.
        let reaches = [Some(reach.clone()), self.known(&reach)];
        self.direct(by, reason, |standing| {
            let mut paused = reaches.iter().flatten();
            match paused.find(|reach| standing.pauses.contains_key(reach)) {
                Some(reach) => Ok(Directive::Resume {
                    reach: reach.clone(),
                }),
                None => Err(DirectiveError::NotPaused(reach.clone())),
            }
        })
        .await
    }

    /// Lets one administrator region act, and no other.
    ///
    /// # Errors
    /// It could not be recorded: what acted before still does.
    pub async fn act_in(
        &self,
        region: Region,
        by: &str,
        reason: &str,
    ) -> Result<Given, DirectiveError> {
        self.direct(by, reason, |_| {
            Ok(Directive::Act {
                region: region.clone(),
            })
        })
        .await
    }

    /// Why another administrator region acts and not this one, if that is so.
    ///
    /// # Errors
    /// The orders cannot be read: nothing may be done.
    pub async fn passive(&self) -> Result<Option<String>, LedgerError> {
        Ok(Here::of(&self.settings).is_passive(&self.standing().await?))
    }

    /// True if changes are stopped somewhere. Where, and why, [`Switch::stops`] says.
    pub(crate) async fn stops_somewhere(&self) -> bool {
        let Ok(standing) = self.standing().await else {
            return true;
        };
        let is_passive = Here::of(&self.settings).is_passive(&standing).is_some();
        self.settings.paused || is_passive || !standing.pauses.is_empty()
    }

    /// What all directives come to.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn standing(&self) -> Result<Standing, LedgerError> {
        Ok(Standing::of(&self.ports.directives.directives().await?))
    }

    /// Gives the directive that `choose` makes of what stands.
    pub(crate) async fn direct(
        &self,
        by: &str,
        reason: &str,
        choose: impl Fn(&Standing) -> Result<Directive, DirectiveError>,
    ) -> Result<Given, DirectiveError> {
        for _ in 0..TRIES {
            let before = self.ports.directives.directives().await?;
            let directive = choose(&Standing::of(&before))?;
            let now = self.ports.clock.now();
            let given = Given::after(before.last(), directive, by, reason, now);
            if self.ports.directives.give(given.clone()).await? {
                return Ok(given);
            }
        }
        Err(DirectiveError::Crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two administrator regions one acts, whatever orders there are; without a second one, nothing changes.
    #[test]
    fn one_region_acts() {
        let act = |region: &str| Directive::Act {
            region: region.parse().unwrap(),
        };
        let here = |region: Option<&str>, stands_by: bool| Here {
            region: region.map(|region| region.parse().unwrap()),
            stands_by,
        };
        let (first, second) = (
            here(Some("us-east-1"), false),
            here(Some("eu-west-1"), true),
        );
        let check = |orders: &[Directive], acting: [bool; 2]| {
            let mut given: Vec<Given> = Vec::new();
            for order in orders {
                let next = Given::after(
                    given.last(),
                    order.clone(),
                    "alice",
                    "a drill",
                    jiff::Timestamp::UNIX_EPOCH,
                );
                given.push(next);
            }
            let standing = Standing::of(&given);
            let acts = [&first, &second].map(|here| here.is_passive(&standing).is_none());
            assert_eq!(acts, acting, "{orders:?}");
        };
        check(&[], [true, false]);
        check(&[act("eu-west-1")], [false, true]);
        check(&[act("eu-west-1"), act("us-east-1")], [true, false]);
        check(&[act("ap-south-1")], [false, false]);
        check(
            &[act("eu-west-1"), Directive::Pause { reach: Reach::All }],
            [false, true],
        );
        // Whoever does not know where it is acts nowhere once there are two.
        let nowhere = here(None, false);
        let mut standing = Standing::default();
        assert_eq!(nowhere.is_passive(&standing), None);
        let given = Given::after(
            None,
            act("us-east-1"),
            "alice",
            "a drill",
            jiff::Timestamp::UNIX_EPOCH,
        );
        standing.acts = Some(("us-east-1".parse().unwrap(), given));
        assert!(
            nowhere
                .is_passive(&standing)
                .unwrap()
                .contains("alice said so: a drill")
        );
    }

    #[test]
    fn a_reach_covers_what_lies_within() {
        let place = |unit: Option<&str>| Place {
            account: "222222222222".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            control: "S3.8".to_owned(),
            remediation: Catalog::embedded().get("S3BlockPublicAccess"),
            unit: unit.map(str::to_owned),
        };
        let check = |reach: Reach, unit: Option<&str>, within: bool| {
            assert_eq!(place(unit).is_within(&reach), within, "{reach} {unit:?}");
        };
        check(Reach::All, None, true);
        check(Reach::Account("222222222222".parse().unwrap()), None, true);
        check(Reach::Account("333333333333".parse().unwrap()), None, false);
        check(Reach::Region("eu-central-1".parse().unwrap()), None, true);
        check(Reach::Region("eu-west-1".parse().unwrap()), None, false);
        check(Reach::Control("s3.8".to_owned()), None, true);
        check(Reach::Control("S3BlockPublicAccess".to_owned()), None, true);
        check(Reach::Control("S3.80".to_owned()), None, false);
        let unit = |unit: &str| Reach::Unit(unit.to_owned());
        check(unit("/prod"), Some("/prod/payments"), true);
        check(unit("/prod/"), Some("/prod"), true);
        check(unit("/prod"), Some("/production"), false);
        check(unit("/prod/payments"), Some("/prod"), false);
        // Where nobody knows, it may be.
        check(unit("/prod"), None, true);
    }
}
