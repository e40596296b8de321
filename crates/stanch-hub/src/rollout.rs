//! Gradual roll-out: a ceiling above the guard's verdict, from ring to ring, and back by itself when
//! too much fails.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_guard::Answer;
use stanch_ledger::{
    Directive, LedgerError, Reach, Received, Record, Route, Standing, State, Status, Verdict,
};
use stanch_types::AccountId;

use crate::{
    Hub,
    pipeline::HUB,
    settings::Settings,
    switch::{DirectiveError, Place},
};

/// The most that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Plans are made and recorded; nothing is changed.
    Observe,
    /// A person asks for each change, or approves it.
    Manual,
    /// What the guard allows.
    Automatic,
}

/// A stage of the roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// Its name.
    pub name: String,
    /// The most that may happen to those in it.
    pub mode: Mode,
}

/// The rings, and when an account goes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// In order. An account begins in the first; a control and an organizational unit, which only
    /// lower the ceiling, in the last. Without rings there is no ceiling.
    pub rings: Vec<Ring>,
    /// The share of failed changes, from 0 to 1, that sends an account one ring back.
    pub failure_rate: f64,
    /// Over which time changes are counted: those that ended within it, whenever their findings came.
    pub window: Duration,
    /// Fewer changes than this say nothing.
    pub minimum: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            rings: Vec::new(),
            failure_rate: 0.2,
            window: Duration::from_hours(1),
            minimum: 5,
        }
    }
}

/// A ceiling with its ground.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ceiling {
    /// The most that may happen.
    pub mode: Mode,
    /// Why, in one sentence.
    pub reason: String,
}

impl Ceiling {
    const NONE: Self = Self {
        mode: Mode::Automatic,
        reason: String::new(),
    };

    /// The guard's answer, as far as the ceiling lets it.
    pub(crate) fn over(&self, mut answer: Answer, route: Route) -> Answer {
        let verdict = match (self.mode, answer.verdict, route) {
            (Mode::Observe, Verdict::Run | Verdict::NeedsApproval, _) => Verdict::Refuse,
            (Mode::Manual, Verdict::Run, Route::Automatic) => Verdict::NeedsApproval,
            _ => return answer,
        };
        answer.verdict = verdict;
        answer.reasons.push(self.reason.clone());
        answer
    }
}

impl Rollout {
    /// Where someone is: the ring's place and the ring; none if the ring is not configured any more.
    fn ring<'r>(&'r self, reach: &Reach, standing: &Standing) -> Option<(usize, &'r Ring)> {
        let index = match (standing.rings.get(reach), reach) {
            (Some((name, _)), _) => self.rings.iter().position(|ring| ring.name == *name)?,
            (None, Reach::Account(_)) => 0,
            (None, _) => self.rings.len().checked_sub(1)?,
        };
        Some((index, self.rings.get(index)?))
    }

    /// The lowest ceiling of all that a place is within.
    pub(crate) fn ceiling(&self, place: &Place, standing: &Standing) -> Ceiling {
        if self.rings.is_empty() {
            return Ceiling::NONE;
        }
        let own = Reach::Account(place.account.clone());
        let moved = standing.rings.keys().filter(|reach| **reach != own);
        let within = moved.filter(|reach| place.is_within(reach));
        let mut lowest = Ceiling::NONE;
        for reach in within.chain([&own]) {
            let (mode, reason) = match self.ring(reach, standing) {
                Some((
                    _,
                    Ring {
                        name,
                        mode: Mode::Observe,
                    },
                )) => (
                    Mode::Observe,
                    format!("plan only: {reach} is in ring `{name}`"),
                ),
                Some((_, Ring { name, mode })) => (
                    *mode,
                    format!("{reach} is in ring `{name}`, where nothing runs on its own"),
                ),
                // What nobody knows how to place stays where least can happen.
                None => (
                    Mode::Observe,
                    format!("plan only: {reach} is in a ring that is not configured"),
                ),
            };
            if mode < lowest.mode {
                lowest = Ceiling { mode, reason };
            }
        }
        lowest
    }
}

/// Where an account, a control or an organizational unit stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Who.
    pub reach: Reach,
    /// The ring.
    pub ring: String,
    /// The most that may happen.
    pub mode: Mode,
    /// Who moved it there, and why; none if nobody did.
    pub moved: Option<stanch_ledger::Given>,
}

/// Forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// To the next ring.
    Advance,
    /// To the ring before.
    Back,
}

impl Hub {
    /// The ceiling over a finding.
    pub(crate) async fn ceiling(&self, received: &Received) -> Result<Ceiling, LedgerError> {
        let rollout = &self.settings.rollout;
        if rollout.rings.is_empty() {
            return Ok(Ceiling::NONE);
        }
        let standing = self.standing().await?;
        Ok(rollout.ceiling(
            &Place::of(received, &self.settings, &self.catalog),
            &standing,
        ))
    }

    /// Moves one ring on or back.
    ///
    /// # Errors
    /// There is no such ring, or it could not be recorded.
    pub async fn roll(
        &self,
        reach: Reach,
        to: Move,
        by: &str,
        reason: &str,
    ) -> Result<Placed, DirectiveError> {
        self.roll_from(None, reach, to, by, reason).await
    }

    /// [`Self::roll`]; but if somebody has moved it since it was seen to stand so, it stays where it is.
    async fn roll_from(
        &self,
        seen: Option<&Standing>,
        reach: Reach,
        to: Move,
        by: &str,
        reason: &str,
    ) -> Result<Placed, DirectiveError> {
        let rollout = &self.settings.rollout;
        let reach = self.known(&reach).unwrap_or(reach);
        let given = self
            .direct(by, reason, |standing| {
                if rollout.rings.is_empty() {
                    return Err(DirectiveError::NoRings);
                }
                if seen.is_some_and(|seen| seen.rings.get(&reach) != standing.rings.get(&reach)) {
                    return Err(DirectiveError::Crowded);
                }
                let at_the_end = |end| DirectiveError::AtTheEnd {
                    reach: reach.clone(),
                    end,
                    ring: rollout
                        .ring(&reach, standing)
                        .map(|(_, ring)| ring.name.clone())
                        .unwrap_or_default(),
                };
                let index = match (rollout.ring(&reach, standing), to) {
                    // From a ring that is no more, both ways lead to the first.
                    (None, _) => 0,
                    (Some((index, _)), Move::Advance) => index + 1,
                    (Some((index, _)), Move::Back) => {
                        index.checked_sub(1).ok_or_else(|| at_the_end("first"))?
                    }
                };
                let ring = rollout.rings.get(index).ok_or_else(|| at_the_end("last"))?;
                Ok(Directive::Move {
                    reach: reach.clone(),
                    ring: ring.name.clone(),
                })
            })
            .await?;
        let Directive::Move { ring, .. } = &given.directive else {
            return Err(DirectiveError::NoRings);
        };
        let mode = rollout.rings.iter().find(|known| known.name == *ring);
        Ok(Placed {
            reach,
            ring: ring.clone(),
            mode: mode.map_or(Mode::Observe, |ring| ring.mode),
            moved: Some(given),
        })
    }

    /// Where every account is, and everything else that was moved.
    ///
    /// # Errors
    /// The directives cannot be read.
    pub async fn rollout(&self) -> Result<Vec<Placed>, LedgerError> {
        let standing = self.standing().await?;
        let Settings {
            accounts, rollout, ..
        } = &self.settings;
        let accounts = accounts.keys().cloned().map(Reach::Account);
        let mut reaches: Vec<Reach> = accounts.collect();
        let moved = standing
            .rings
            .keys()
            .filter(|reach| !reaches.contains(reach));
        reaches.extend(moved.cloned().collect::<Vec<_>>());
        if rollout.rings.is_empty() {
            return Ok(Vec::new());
        }
        let placed = reaches.into_iter().map(|reach| {
            let ring = rollout.ring(&reach, &standing).map(|(_, ring)| ring);
            let moved = standing.rings.get(&reach);
            Placed {
                ring: match (ring, moved) {
                    (Some(ring), _) => ring.name.clone(),
                    (None, moved) => moved.map(|(name, _)| name.clone()).unwrap_or_default(),
                },
                mode: ring.map_or(Mode::Observe, |ring| ring.mode),
                moved: moved.map(|(_, given)| given.clone()),
                reach,
            }
        });
        Ok(placed.collect())
    }

    /// After a change has failed: sends its account one ring back if too many have. Says so, if it
    /// does.
    pub(crate) async fn fall_back(&self, state: &State) -> Result<Option<String>, LedgerError> {
        let rollout = &self.settings.rollout;
        if rollout.rings.is_empty() || state.worked() != Some(false) {
            return Ok(None);
        }
        let account = &state.received.account;
        let reach = Reach::Account(account.clone());
        let standing = self.standing().await?;
        if let Some((0, _)) = rollout.ring(&reach, &standing) {
            // There is none further back.
            return Ok(None);
        }
        let now = self.ports.clock.now();
        let begin = now.saturating_sub(rollout.window).unwrap_or(now);
        let moved = standing.rings.get(&reach).map(|(_, given)| given.at);
        let (ended, failed) = self.outcomes(account, begin, moved).await?;
        let rate = f64::from(failed) / f64::from(ended.max(1));
        if ended < rollout.minimum.max(1) || rate < rollout.failure_rate {
            return Ok(None);
        }
        let reason = format!("{failed} of {ended} changes failed since {begin:.0}");
        let back = self.roll_from(Some(&standing), reach.clone(), Move::Back, HUB, &reason);
        match back.await {
            Ok(placed) => Ok(Some(format!(
                "{reach} went back to ring `{}`: {reason}",
                placed.ring
            ))),
            Err(DirectiveError::Ledger(error)) => Err(error),
            // Another failure of the same moment has sent it back, or a person has moved it.
            Err(_) => Ok(None),
        }
    }

    /// How many changes of an account ended since `begin`, and how many of them failed. What was begun
    /// before the account came into its ring says nothing about this one.
    async fn outcomes(
        &self,
        account: &AccountId,
        begin: Timestamp,
        moved: Option<Timestamp>,
    ) -> Result<(u32, u32), LedgerError> {
        let (ledger, now) = (&self.ports.ledger, self.ports.clock.now());
        let begun = ledger.begun(begin, now, &HashSet::new()).await?;
        let counts = |record: &&Record| {
            record.account_id == *account
                && ended_at(record).is_some_and(|at| at >= begin)
                && moved.is_none_or(|moved| record.started_at.is_some_and(|at| at >= moved))
        };
        let (mut ended, mut failed) = (0, 0);
        for worked in begun.iter().filter(counts).filter_map(Record::worked) {
            ended += 1;
            failed += u32::from(!worked);
        }
        Ok((ended, failed))
    }
}

/// When a change ended, if it has. One that a person has taken back had ended long before; it counts where
/// it began.
fn ended_at(record: &Record) -> Option<Timestamp> {
    let failed = record.error_message.is_some();
    match record.status {
        // Retention has touched it.
        _ if record.expired => None,
        Status::Undone if !failed => record.started_at,
        status if status.is_final() => Some(record.updated_at),
        _ => None,
    }
}
