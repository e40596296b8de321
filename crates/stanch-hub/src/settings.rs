//! What the operator decides about the hub. Reading it from a file is the binary's work.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value};
use stanch_types::{AccountId, Region};

use crate::{approval::Approvals, automation::Executors, rollout::Rollout, schedule::Limits};

/// The hub's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The member accounts. A finding of any other account is refused.
    pub accounts: BTreeMap<AccountId, Account>,
    /// This process changes nothing, whatever else is ordered.
    pub paused: bool,
    /// The administrator region in which this process runs.
    pub region: Option<Region>,
    /// It stands by for another one, until an order says that this one acts.
    pub stands_by: bool,
    /// How far the roll-out has come.
    pub rollout: Rollout,
    /// What the operator sets of the remediations' parameters, by their names.
    pub parameters: BTreeMap<String, Map<String, Value>>,
    /// How often one remediation may try one resource.
    pub budget: Budget,
    /// How many remediations run at once, over all accounts.
    pub workers: usize,
    /// Limits per account.
    pub limits: Limits,
    /// What carries plans out.
    pub executors: Executors,
    /// Who approves what, how long it is waited for, and how long it stands.
    pub approval: Approvals,
    /// How long after a change was sent its effect may still be on its way, when nobody saw the
    /// answer: recovery waits so long before it looks.
    pub settle: Duration,
    /// How long one request may take, retries included: none is sent that would not end before the hub
    /// is stopped.
    pub request: Duration,
    /// How long a resource stays locked by a hub that has died; one that lives renews its locks.
    pub lease: Duration,
}

/// A member account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The account's alias, for people.
    pub name: Option<String>,
    /// The regions to act in; `None` means any region of a finding.
    pub regions: Option<BTreeSet<Region>>,
    /// The organizational unit that it is in, as a path: `root/prod/payments`.
    pub ou: Option<String>,
    /// Findings of a test account are skipped.
    pub test: bool,
}

/// The attempt budget of one remediation on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Attempts within the period.
    pub attempts: u32,
    /// The period.
    pub period: Duration,
    /// How long after a failed attempt the next may begin.
    pub cool_down: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            attempts: 3,
            period: Duration::from_hours(24),
            cool_down: Duration::from_mins(5),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            paused: false,
            region: None,
            stands_by: false,
            rollout: Rollout::default(),
            parameters: BTreeMap::new(),
            budget: Budget::default(),
            workers: 32,
            limits: Limits::default(),
            executors: Executors::default(),
            approval: Approvals::default(),
            settle: Duration::from_secs(5),
            request: Duration::from_secs(35),
            lease: Duration::from_secs(30),
        }
    }
}
