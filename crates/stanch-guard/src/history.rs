//! What was changed of late: counts for limits and policies, failures for the circuit breaker.
//!
//! Kept in memory and told by the hub, which reads the ledger after a start and, in AWS, what others have
//! begun since once a minute. So a decision mostly costs no read. Hubs that share a ledger each count
//! what they know.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use stanch_ledger::{Received, Record, RemediationId};

/// A minute, counted from 1970.
type Minute = i64;

const HOUR: Minute = 60;
/// "Today" is the last 24 hours: midnight is no reason for a stampede.
const DAY: Minute = 24 * 60;

/// What changes are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Account,
    Control,
    ResourceType,
    Remediation,
    All,
}

impl By {
    pub(crate) const ALL: [Self; 5] = [
        Self::Account,
        Self::Control,
        Self::ResourceType,
        Self::Remediation,
        Self::All,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Control => "control",
            Self::ResourceType => "resourceType",
            Self::Remediation => "remediation",
            Self::All => "all",
        }
    }
}

/// What a change is counted under.
pub(crate) struct Keys<'a> {
    account: &'a str,
    control: &'a str,
    resource_type: &'a str,
    remediation: &'a str,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(received: &'a Received) -> Self {
        Self {
            account: received.account.as_str(),
            control: &received.control,
            resource_type: &received.resource_type,
            remediation: &received.remediation,
        }
    }

    fn of_record(record: &'a Record) -> Self {
        Self {
            account: record.account_id.as_str(),
            control: &record.control,
            resource_type: &record.resource_type,
            remediation: &record.remediation_action,
        }
    }

    pub(crate) const fn key(&self, by: By) -> &'a str {
        match by {
            By::Account => self.account,
            By::Control => self.control,
            By::ResourceType => self.resource_type,
            By::Remediation => self.remediation,
            By::All => "",
        }
    }
}

/// How many changes there were in the last hour and the last day, by what they are counted by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) hour: [u32; 5],
    pub(crate) day: [u32; 5],
}

impl Counts {
    pub(crate) fn hour(&self, by: By) -> u32 {
        self.hour.get(by as usize).copied().unwrap_or_default()
    }

    pub(crate) fn day(&self, by: By) -> u32 {
        self.day.get(by as usize).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Another one whenever something was counted.
    pub(crate) version: u64,
    /// When the ledger begins; nothing is known of it before it was read.
    pub(crate) began: Option<Timestamp>,
    /// When the ledger was read last.
    pub(crate) seeded: Option<Timestamp>,
    /// Minutes with the number of changes, oldest first.
    counted: HashMap<(By, String), VecDeque<(Minute, u32)>>,
    /// In which minute each is counted.
    ids: HashMap<RemediationId, Minute>,
    /// How the last runs of a remediation ended, oldest first.
    ended: HashMap<String, VecDeque<(Timestamp, RemediationId, bool)>>,
}

impl History {
    /// Counts a change, once: at the time that was told last.
    pub(crate) fn changed(&mut self, id: RemediationId, keys: &Keys<'_>, at: Timestamp) {
        let minute = at.as_second().div_euclid(60);
        match self.ids.insert(id, minute) {
            Some(before) if before == minute => return,
            Some(before) => self.uncount(keys, before),
            None => {}
        }
        self.version += 1;
        if self.ids.len().is_multiple_of(4096) {
            self.ids.retain(|_, known| *known > minute - DAY);
        }
        for by in By::ALL {
            let minutes = self
                .counted
                .entry((by, keys.key(by).to_owned()))
                .or_default();
            // Minutes that come late are rare: the ledger's, after a start.
            let place = minutes.partition_point(|(known, _)| *known < minute);
            match minutes.get_mut(place) {
                Some((known, count)) if *known == minute => *count += 1,
                _ => minutes.insert(place, (minute, 1)),
            }
            while minutes.front().is_some_and(|(old, _)| *old <= minute - DAY) {
                minutes.pop_front();
            }
        }
    }

    /// What was counted in a minute was not changed then.
    fn uncount(&mut self, keys: &Keys<'_>, minute: Minute) {
        for by in By::ALL {
            let minutes = self.counted.get_mut(&(by, keys.key(by).to_owned()));
            let mut minutes = minutes.into_iter().flatten();
            if let Some((_, count)) = minutes.find(|(known, _)| *known == minute) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Notes how a change ended, once.
    pub(crate) fn ended(&mut self, id: RemediationId, remediation: &str, ok: bool, at: Timestamp) {
        let ended = self.ended.entry(remediation.to_owned()).or_default();
        if ended.iter().any(|(_, known, _)| *known == id) {
            return;
        }
        ended.push_back((at, id, ok));
        self.version += 1;
        if ended.len() > 100 {
            ended.pop_front();
        }
    }

    /// Takes in what the ledger says.
    pub(crate) fn seed(&mut self, record: &Record) {
        if let Some(at) = record.started_at {
            self.changed(record.remediation_id, &Keys::of_record(record), at);
            if let Some(ok) = record.worked() {
                let remediation = &record.remediation_action;
                self.ended(record.remediation_id, remediation, ok, record.updated_at);
            }
        }
    }

    /// What has begun and ended, as far as that is remembered.
    pub(crate) fn known(&self) -> HashSet<RemediationId> {
        let ended = self.ended.values().flatten().map(|(_, id, _)| *id);
        ended.filter(|id| self.ids.contains_key(id)).collect()
    }

    /// The changes but for `own`, which does not stand in its own way.
    pub(crate) fn counts(
        &self,
        own: Option<RemediationId>,
        keys: &Keys<'_>,
        now: Timestamp,
    ) -> Counts {
        let minute = now.as_second().div_euclid(60);
        let mut counts = Counts::default();
        for by in By::ALL {
            for (at, count) in self.minutes(own, by, keys) {
                if at > minute - DAY && at <= minute {
                    if let Some(day) = counts.day.get_mut(by as usize) {
                        *day += count;
                    }
                    if at > minute - HOUR
                        && let Some(hour) = counts.hour.get_mut(by as usize)
                    {
                        *hour += count;
                    }
                }
            }
        }
        counts
    }

    /// Minutes with the number of changes but for `own`, oldest first.
    fn minutes(
        &self,
        own: Option<RemediationId>,
        by: By,
        keys: &Keys<'_>,
    ) -> impl DoubleEndedIterator<Item = (Minute, u32)> {
        let own = own.and_then(|id| self.ids.get(&id).copied());
        let minutes = self.counted.get(&(by, keys.key(by).to_owned()));
        let minutes = minutes.into_iter().flatten();
        minutes.map(move |(at, count)| (*at, count.saturating_sub(u32::from(own == Some(*at)))))
    }

    /// When fewer than `limit` changes of the hour before are left, but for `own`.
    pub(crate) fn below(
        &self,
        own: Option<RemediationId>,
        by: By,
        keys: &Keys<'_>,
        limit: u32,
        now: Timestamp,
    ) -> Timestamp {
        let minute = now.as_second().div_euclid(60);
        let mut left: u32 = 0;
        // From the newest: the first minute that is one too many has to leave the hour.
        for (at, count) in self.minutes(own, by, keys).rev() {
            left += count;
            if left >= limit.max(1) {
                let free = Timestamp::from_second((at + HOUR) * 60).unwrap_or(now);
                return free.max(now + SignedDuration::from_secs(1));
            }
        }
        Timestamp::from_second((minute + HOUR) * 60).unwrap_or(now)
    }

    /// Failed and all runs of a remediation that ended since then, the last `of` at most.
    pub(crate) fn failures(
        &self,
        remediation: &str,
        since: Timestamp,
        of: usize,
    ) -> (usize, usize) {
        let ended = self.ended.get(remediation);
        let last = ended
            .into_iter()
            .flatten()
            .rev()
            .take(of)
            .filter(|(at, _, _)| *at >= since);
        last.fold((0, 0), |(failed, all), (_, _, ok)| {
            (failed + usize::from(!ok), all + 1)
        })
    }
}
