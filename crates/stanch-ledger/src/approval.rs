//! Who has to say yes, and who has.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    Consent, Need,
    chain::to_millisecond,
    event::{ApprovalRequest, Means},
};

/// People's word on a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// What they are asked for.
    pub request: ApprovalRequest,
    /// Who has said yes, and when.
    pub given: Vec<(Consent, Timestamp)>,
    /// Whom a channel has asked.
    pub asked: BTreeSet<String>,
}

/// True if both names mean one person: nobody becomes another by writing a name differently.
#[must_use]
pub fn same_person(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

impl Approval {
    pub(crate) fn new(request: &ApprovalRequest) -> Self {
        Self {
            request: ApprovalRequest {
                expires: to_millisecond(request.expires),
                ..request.clone()
            },
            given: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The step of a run that waits for it.
    pub(crate) fn step(&self) -> Option<u32> {
        self.request.cutover.as_ref().map(|cutover| cutover.step)
    }

    /// How many of a need have not said yes.
    #[must_use]
    pub fn missing(&self, need: &Need) -> u32 {
        let given = self.given.iter();
        let given = given.filter(|(consent, _)| consent.role == need.role);
        need.count
            .saturating_sub(u32::try_from(given.count()).unwrap_or(u32::MAX))
    }

    /// All have said yes.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.request
            .needs
            .iter()
            .all(|need| self.missing(need) == 0)
    }

    /// The needs of which a person is, and of which somebody is missing.
    pub fn open_for(&self, person: &str) -> impl Iterator<Item = &Need> {
        self.request.needs.iter().filter(move |need| {
            self.missing(need) > 0 && need.people.iter().any(|one| same_person(one, person))
        })
    }

    /// What a person has said.
    #[must_use]
    pub fn of(&self, person: &str) -> Option<&(Consent, Timestamp)> {
        self.given
            .iter()
            .find(|(consent, _)| same_person(&consent.by, person))
    }

    /// True if enough people were asked.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        enough(&self.request.needs, &|person| {
            self.asked.iter().any(|asked| same_person(asked, person))
        })
    }

    /// True if there are people enough for each need, and none of them is needed twice.
    pub(crate) fn can_be_met(request: &ApprovalRequest) -> bool {
        let wanted = |need: &Need| need.count > 0;
        !request.needs.is_empty()
            && request.needs.iter().all(wanted)
            && enough(&request.needs, &|_| true)
    }

    /// Counts a person's yes.
    pub(crate) fn take(
        &mut self,
        consent: &Consent,
        requester: &str,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let link = |how: &Means| matches!(how, Means::Link(_)).then(|| how.clone());
        if self.request.plan_hash != consent.plan_hash {
            return Err("it names another plan");
        }
        if at >= self.request.expires {
            return Err("the time to approve has passed");
        }
        if same_person(requester, &consent.by) {
            return Err("nobody approves their own request");
        }
        if self.of(&consent.by).is_some() {
            return Err("they have approved it already");
        }
        let used = self.given.iter().filter_map(|(one, _)| link(&one.how));
        if link(&consent.how).is_some_and(|link| used.into_iter().any(|used| used == link)) {
            return Err("the link was used already");
        }
        if self
            .open_for(&consent.by)
            .all(|need| need.role != consent.role)
        {
            return Err("they are not asked in this role");
        }
        self.given.push((consent.clone(), at));
        Ok(())
    }
}

/// True if the needs can be met by people of whom `may` is true, each of them once.
#[must_use]
pub fn enough(needs: &[Need], may: &dyn Fn(&str) -> bool) -> bool {
    // One place for each yes; a person who takes a place may move another to a place of theirs
    // (Kuhn's algorithm for bipartite matching).
    let mut places: Vec<(&Need, Option<&str>)> = needs
        .iter()
        .flat_map(|need| (0..need.count).map(move |_| (need, None)))
        .collect();
    let mut people: Vec<&str> = Vec::new();
    for person in needs.iter().flat_map(|need| &need.people) {
        if may(person) && !people.iter().any(|known| same_person(known, person)) {
            people.push(person);
        }
    }
    for person in people {
        seat(person, &mut places, &mut BTreeSet::new());
    }
    places.iter().all(|(_, person)| person.is_some())
}

/// Gives a person a place; `false` if there is none.
fn seat<'p>(
    person: &'p str,
    places: &mut [(&'p Need, Option<&'p str>)],
    tried: &mut BTreeSet<usize>,
) -> bool {
    for index in 0..places.len() {
        let Some((need, taken)) = places.get(index).copied() else {
            continue;
        };
        let fits = need.people.iter().any(|one| same_person(one, person));
        if !fits || !tried.insert(index) {
            continue;
        }
        if taken.is_none_or(|other| seat(other, places, tried)) {
            if let Some(place) = places.get_mut(index) {
                place.1 = Some(person);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(needs: &[(&str, u32, &[&str])]) -> Vec<Need> {
        let need = |(role, count, people): &(&str, u32, &[&str])| Need {
            role: (*role).to_owned(),
            count: *count,
            people: people.iter().map(|person| (*person).to_owned()).collect(),
        };
        needs.iter().map(need).collect()
    }

    #[test]
    fn each_yes_needs_a_person_of_its_own() {
        let check = |expected: bool, all: &[(&str, u32, &[&str])]| {
            assert_eq!(enough(&needs(all), &|_| true), expected, "{all:?}");
        };
        check(true, &[("a", 1, &["x"])]);
        check(false, &[("a", 1, &[])]);
        check(false, &[("a", 2, &["x", "X "])]);
        check(true, &[("a", 2, &["x", "y", "z"])]);
        // The one who is in both groups is needed in one of them only.
        check(false, &[("a", 1, &["x"]), ("b", 1, &["x"])]);
        check(true, &[("a", 1, &["x", "y"]), ("b", 1, &["x"])]);
        check(true, &[("b", 1, &["x"]), ("a", 1, &["x", "y"])]);
        check(
            true,
            &[
                ("a", 2, &["x", "y", "z"]),
                ("b", 1, &["x", "y"]),
                ("c", 1, &["x", "w"]),
            ],
        );
        check(false, &[("a", 2, &["x", "y"]), ("b", 1, &["x", "y"])]);
    }
}
