//! What people order about all that runs: pauses, and how far the roll-out has come.
//!
//! Orders are only ever added, and chained by hash as events are. What they come to is [`Standing`], a
//! fold over them.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stanch_types::{AccountId, Region};

use crate::{Digest, LedgerError, chain::to_millisecond};

/// What an order is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Everything.
    All,
    /// An account.
    Account(AccountId),
    /// A control, as any product names it, or a remediation.
    Control(String),
    /// A region.
    Region(Region),
    /// An organizational unit with all below it, as a path: `root/prod/payments`.
    Unit(String),
}

/// `everything`, `account 111122223333`, `control S3.8`, …
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Account(account) => write!(f, "account {account}"),
            Self::Control(control) => write!(f, "control {control}"),
            Self::Region(region) => write!(f, "region {region}"),
            Self::Unit(unit) => write!(f, "organizational unit {unit}"),
        }
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "directive", rename_all = "kebab-case")]
pub enum Directive {
    /// No change is made any more.
    Pause {
        /// Where.
        reach: Reach,
    },
    /// Ends the pause with the same reach.
    Resume {
        /// Where.
        reach: Reach,
    },
    /// Moves to a ring of the roll-out.
    Move {
        /// Who.
        reach: Reach,
        /// The ring's name.
        ring: String,
    },
    /// Of the administrator regions that have this ledger, this one makes changes, and no other.
    Act {
        /// The region.
        region: Region,
    },
}

/// An order that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its number, from 0.
    pub seq: u64,
    /// When.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// Who gave it: a person, or the hub itself.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What was ordered.
    #[serde(flatten)]
    pub directive: Directive,
    /// The hash of the order before.
    pub prev: Digest,
    /// The hash of all of the above.
    pub hash: Digest,
    /// It is kept in other bytes than it was given in, which no hash covers.
    #[serde(skip)]
    pub(crate) is_reworded: bool,
}

impl Given {
    /// The order that follows on `before`.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        directive: Directive,
        by: &str,
        reason: &str,
        at: Timestamp,
    ) -> Self {
        let mut given = Self {
            seq: before.map_or(0, |before| before.seq + 1),
            at: to_millisecond(at),
            by: by.to_owned(),
            reason: reason.to_owned(),
            directive,
            prev: before.map_or(Digest::ZERO, |before| before.hash),
            hash: Digest::ZERO,
            is_reworded: false,
        };
        given.hash = given.digest();
        given
    }

    /// An order as it is kept. One that is not, byte for byte, what is written of it here is
    /// [`Given::broken`], though it says the same.
    pub(crate) fn read(text: &str) -> serde_json::Result<Self> {
        let mut given: Self = serde_json::from_str(text)?;
        given.is_reworded = serde_json::to_string(&given)? != text;
        Ok(given)
    }

    fn digest(&self) -> Digest {
        let Self {
            seq,
            at,
            by,
            reason,
            directive,
            prev,
            ..
        } = self;
        Digest::of_plain(&json!([
            seq,
            at.as_millisecond(),
            by,
            reason,
            directive,
            prev
        ]))
    }

    /// The number of the first order that is not what was given, if there is one.
    #[must_use]
    pub fn broken(orders: &[Self]) -> Option<u64> {
        let mut prev = Digest::ZERO;
        for (seq, given) in (0..).zip(orders) {
            let is_next = given.seq == seq && given.prev == prev;
            if !is_next || given.is_reworded || given.hash != given.digest() {
                return Some(seq);
            }
            prev = given.hash;
        }
        None
    }
}

/// How far the orders had come when a checkpoint was signed. The hash of the last one covers all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Orders {
    /// How many there were.
    pub count: u64,
    /// The hash of the last; zero, if there was none.
    pub head: Digest,
}

impl Default for Orders {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Orders {
    /// All of `orders`.
    #[must_use]
    pub fn of(orders: &[Given]) -> Self {
        Self {
            count: orders.len() as u64,
            head: orders.last().map_or(Digest::ZERO, |last| last.hash),
        }
    }

    /// `orders`, whose chain holds, begin with those that were signed.
    #[must_use]
    pub fn begin(self, orders: &[Given]) -> bool {
        let signed = usize::try_from(self.count).ok();
        signed
            .and_then(|count| orders.get(..count))
            .is_some_and(|orders| Self::of(orders) == self)
    }
}

/// Where orders are kept. They are read before every change, and never from a cache.
#[async_trait]
pub trait Directives: Send + Sync {
    /// All orders, in order.
    async fn directives(&self) -> Result<Vec<Given>, LedgerError>;

    /// Adds an order that was made [`Given::after`] the last one; `false`, and nothing is added, if
    /// another came in between.
    async fn give(&self, given: Given) -> Result<bool, LedgerError>;
}

/// What the orders so far come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The pauses, each with the order that began it.
    pub pauses: BTreeMap<Reach, Given>,
    /// Who was moved to which ring, with the order that did.
    pub rings: BTreeMap<Reach, (String, Given)>,
    /// The region that makes changes, with the order that said so; none if there never was a second one.
    pub acts: Option<(Region, Given)>,
}

impl Standing {
    /// A fold over `orders`.
    #[must_use]
    pub fn of(orders: &[Given]) -> Self {
        let mut standing = Self::default();
        for given in orders {
            match &given.directive {
                Directive::Pause { reach } => {
                    standing.pauses.insert(reach.clone(), given.clone());
                }
                Directive::Resume { reach } => {
                    standing.pauses.remove(reach);
                }
                Directive::Move { reach, ring } => {
                    let placed = (ring.clone(), given.clone());
                    standing.rings.insert(reach.clone(), placed);
                }
                Directive::Act { region } => {
                    standing.acts = Some((region.clone(), given.clone()));
                }
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(orders: &[Directive]) -> Vec<Given> {
        let mut given: Vec<Given> = Vec::new();
        for order in orders {
            let next = Given::after(
                given.last(),
                order.clone(),
                "alice",
                "why",
                Timestamp::UNIX_EPOCH,
            );
            given.push(next);
        }
        given
    }

    #[test]
    fn a_pause_ends_with_its_own_resume() {
        let (all, eu) = (Reach::All, Reach::Region("eu-west-1".parse().unwrap()));
        let pause = |reach: &Reach| Directive::Pause {
            reach: reach.clone(),
        };
        let resume = |reach: &Reach| Directive::Resume {
            reach: reach.clone(),
        };
        let left = |orders: &[Directive]| {
            let standing = Standing::of(&given(orders));
            standing.pauses.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(left(&[pause(&all), pause(&eu)]), [all.clone(), eu.clone()]);
        assert_eq!(
            left(&[pause(&all), pause(&eu), resume(&all)]),
            std::slice::from_ref(&eu)
        );
        assert!(left(&[resume(&eu), pause(&eu), pause(&eu), resume(&eu)]).is_empty());
    }

    #[test]
    fn a_changed_removed_or_moved_order_is_found() {
        let ring = |ring: &str| Directive::Move {
            reach: Reach::All,
            ring: ring.to_owned(),
        };
        let orders = given(&[ring("a"), ring("b"), Directive::Pause { reach: Reach::All }]);
        assert_eq!(Given::broken(&orders), None);
        let mut changed = orders.clone();
        changed[1].by = "mallory".to_owned();
        assert_eq!(Given::broken(&changed), Some(1));
        let mut removed = orders.clone();
        removed.remove(1);
        assert_eq!(Given::broken(&removed), Some(1));
        let mut moved = orders.clone();
        moved.swap(0, 1);
        assert_eq!(Given::broken(&moved), Some(0));
        let text = serde_json::to_string(&orders[1]).unwrap();
        let read = |text: &str| [orders[0].clone(), Given::read(text).unwrap()];
        assert_eq!(Given::broken(&read(&text)), None);
        for reworded in [format!("{text} "), text.replacen('{', r#"{"x":1,"#, 1)] {
            assert_eq!(Given::broken(&read(&reworded)), Some(1), "{reworded}");
        }
    }

    #[test]
    fn the_last_region_that_was_named_acts() {
        let act = |region: &str| Directive::Act {
            region: region.parse().unwrap(),
        };
        assert_eq!(Standing::of(&[]).acts, None);
        let orders = given(&[
            act("us-east-1"),
            act("eu-west-1"),
            Directive::Pause { reach: Reach::All },
        ]);
        let (region, order) = Standing::of(&orders).acts.unwrap();
        assert_eq!((region.as_str(), order.seq), ("eu-west-1", 1));
    }
}
