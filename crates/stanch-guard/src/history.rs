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

#[cfg(test)]
mod tests {
    use stanch_ledger::{Event, State, Status, testing};

    use super::*;

    const KEYS: Keys<'static> = Keys {
        account: "222222222222",
        control: "S3.8",
        resource_type: "AwsS3Bucket",
        remediation: "S3BlockPublicAccess",
    };

    fn id(number: u128) -> RemediationId {
        uuid::Uuid::from_u128(number).into()
    }

    /// The minute that tests count from.
    const FIRST: Minute = 1_000_000;

    /// A moment by its minute and second.
    fn at(minute: Minute, second: i64) -> Timestamp {
        Timestamp::from_second((FIRST + minute) * 60 + second).unwrap()
    }

    fn minutes(history: &History, own: Option<RemediationId>) -> Vec<(Minute, u32)> {
        let minutes = history.minutes(own, By::Control, &KEYS);
        minutes.map(|(at, count)| (at - FIRST, count)).collect()
    }

    fn history(minutes: &[i64]) -> History {
        let mut history = History::default();
        for (number, minute) in (0..).zip(minutes) {
            history.changed(id(number), &KEYS, at(*minute, 7));
        }
        history
    }

    fn counted(history: &History, now: Timestamp) -> (u32, u32) {
        let counts = history.counts(None, &KEYS, now);
        let told = By::ALL.map(|by| (counts.hour(by), counts.day(by)));
        assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
        told[0]
    }

    #[test]
    fn an_hour_and_a_day_are_as_long_as_they_are_called() {
        let history = history(&[0]);
        for (minute, told) in [
            (-1, (0, 0)),
            (0, (1, 1)),
            (59, (1, 1)),
            (60, (0, 1)),
            (24 * 60 - 1, (0, 1)),
            (24 * 60, (0, 0)),
        ] {
            assert_eq!(counted(&history, at(minute, 59)), told, "{minute}");
        }
    }

    #[test]
    fn what_is_older_than_a_day_is_forgotten() {
        let mut history = history(&[0, 1]);
        history.changed(id(2), &KEYS, at(24 * 60, 0));
        assert_eq!(minutes(&history, None), [(1, 1), (24 * 60, 1)]);
        for number in 3..4_095 {
            history.changed(id(number), &KEYS, at(24 * 60, 0));
        }
        assert_eq!(history.ids.len(), 4_095);
        history.changed(id(4_095), &KEYS, at(24 * 60, 0));
        assert_eq!(history.ids.len(), 4_095, "the first is too old");
        assert!(!history.ids.contains_key(&id(0)));
        assert_eq!(counted(&history, at(24 * 60, 0)), (4_094, 4_095));
    }

    /// The ledger tells of them in any order.
    #[test]
    fn what_is_told_late_counts_in_its_own_minute() {
        let history = history(&[10, 5, 5, 10, 7, 3]);
        let told = [(3, 1), (5, 2), (7, 1), (10, 2)];
        assert_eq!(minutes(&history, None), told);
        assert_eq!(counted(&history, at(6, 0)), (3, 3));
    }

    #[test]
    fn each_change_counts_once_where_it_was_told_to_be_last() {
        let mut history = history(&[5, 9, 9]);
        let version = history.version;
        history.changed(id(1), &KEYS, at(9, 30));
        assert_eq!(history.version, version, "nothing is new");
        history.changed(id(1), &KEYS, at(6, 0));
        assert!(history.version > version);
        assert_eq!(minutes(&history, None), [(5, 1), (6, 1), (9, 1)]);
        let others = [(5, 1), (6, 0), (9, 1)];
        assert_eq!(minutes(&history, Some(id(1))), others, "but for its own");
    }

    #[test]
    fn a_limit_is_free_again_when_the_first_change_too_many_is_an_hour_old() {
        let history = history(&[0, 10, 10, 20]);
        let free = |own, limit, now| history.below(own, By::All, &KEYS, limit, now);
        let now = at(30, 0);
        assert_eq!(free(None, 1, now), at(80, 0));
        assert_eq!(free(None, 2, now), at(70, 0));
        assert_eq!(free(None, 3, now), at(70, 0));
        assert_eq!(free(None, 4, now), at(60, 0));
        assert_eq!(free(Some(id(3)), 1, now), at(70, 0));
        // None are allowed at all, or there are not as many as that.
        assert_eq!(free(None, 0, now), at(80, 0));
        assert_eq!(free(None, 5, now), at(90, 0));
        // Never at once, so that nobody asks again and again.
        assert_eq!(free(None, 4, at(60, 30)), at(60, 31));
        assert_eq!(free(None, 4, at(59, 59)), at(60, 0));
    }

    #[test]
    fn the_last_hundred_ends_of_each_remediation_are_remembered() {
        let mut history = History::default();
        for number in 0_u32..101 {
            let failed = number == 0 || number >= 95;
            history.ended(id(number.into()), "one", !failed, at(number.into(), 0));
        }
        let version = history.version;
        history.ended(id(100), "one", true, at(200, 0));
        assert_eq!(history.version, version, "told twice");
        history.ended(id(100), "other", true, at(200, 0));
        assert!(history.version > version);
        assert_eq!(history.failures("one", at(0, 0), 200), (6, 100));
        assert_eq!(history.failures("one", at(98, 0), 200), (3, 3));
        assert_eq!(history.failures("one", at(0, 0), 10), (6, 10));
        assert_eq!(history.failures("other", at(0, 0), 10), (0, 1));
        assert_eq!(history.failures("none", at(0, 0), 10), (0, 0));
        // Known is what has begun and ended.
        assert!(history.known().is_empty());
        history.changed(id(50), &KEYS, at(50, 0));
        history.changed(id(500), &KEYS, at(50, 0));
        assert_eq!(history.known(), HashSet::from([id(50)]));
    }

    /// As after a start: what has begun counts, and what has ended says how.
    #[test]
    fn what_the_ledger_tells_counts_as_if_it_had_been_seen() {
        let mut history = History::default();
        let received = testing::received(1);
        let failed = vec![testing::finished(Status::Failed)];
        for (number, begun, then) in [
            (0, 2, vec![]),
            (1, 3, vec![]),
            (2, 7, vec![]),
            (3, 3, failed),
        ] {
            let first = Event::Received(Box::new(Received::clone(&received)));
            let begun = testing::success().into_iter().take(begun);
            let events: Vec<Event> = std::iter::once(first).chain(begun).chain(then).collect();
            let state = State::fold(events.iter().map(|event| (event, testing::NOON)));
            let state = state.unwrap().unwrap();
            let record = Record::project(id(number), &state, 1, testing::NOON);
            // It is told of what is open each time.
            history.seed(&record);
            history.seed(&record);
        }
        let counts = history.counts(None, &Keys::of(&received), testing::NOON);
        assert_eq!(By::ALL.map(|by| counts.hour(by)), [3; 5]);
        let failures = history.failures(&received.remediation, testing::NOON, 10);
        assert_eq!(failures, (1, 2));
        assert_eq!(history.known(), HashSet::from([id(2), id(3)]));
    }
}
