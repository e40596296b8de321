//! The guard: policies, and what holds whatever they say.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_catalog::{Catalog, Impact, Remediation};
use stanch_ledger::{Received, Record, RemediationId, Route, State, Verdict};
use stanch_types::{AccountId, SeverityLabel, hex};

use crate::{
    calendar::{self, Calendar},
    exemption::{Cover, Exemptions},
    facts::{Facts, Principal},
    history::{By, History, Keys},
    policies::{File, Policies, Ruling, Run, schema},
    problem::{Problem, Problems},
    threat::Feed,
};

/// What was seen before the end of it is a backlog.
const FIRST_DAY: SignedDuration = SignedDuration::from_hours(24);

/// What is asked.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The remediation in the ledger, by which a change is counted once; none in a preview.
    pub id: Option<RemediationId>,
    /// The finding.
    pub received: &'a Received,
    /// What is to be done about it.
    pub remediation: &'a Remediation,
    /// What the change may touch.
    pub impact: &'a Impact,
    /// It is to be taken back.
    pub undo: bool,
    /// When.
    pub now: Timestamp,
}

/// An answer with its reasons, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is allowed.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
    /// The policies that decided, by name.
    pub policies: Vec<String>,
    /// Threat intelligence knows an indicator of the finding.
    pub urgent: bool,
}

/// What the guard is made of: files' contents and the configuration.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Cedar policies.
    pub policies: Source,
    /// Change calendars; a calendar's name in policies is its file's without the extension.
    pub calendars: Vec<File>,
    /// Exemptions.
    pub exemptions: Option<File>,
    /// Feeds of threat intelligence.
    pub feeds: Vec<File>,
    /// Where accounts stand in the organization.
    pub accounts: BTreeMap<AccountId, Placement>,
    /// The roles of people.
    pub people: BTreeMap<String, BTreeSet<String>>,
    /// How much may be changed.
    pub limits: Limits,
}

/// Where policies come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Those that say what the `automatic` settings say.
    BuiltIn(Automatic),
    /// Files; without any nothing runs.
    Files(Vec<File>),
}

impl Default for Source {
    fn default() -> Self {
        Self::BuiltIn(Automatic::default())
    }
}

/// Where an account stands in the organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The path of its organizational unit: `root/prod/payments`; none if nobody knows.
    pub ou: Option<String>,
    /// Its tags; none if nobody knows.
    pub tags: Option<BTreeMap<String, String>>,
}

/// How much may be changed, whatever policies permit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Changes an hour in one account.
    pub per_account: Option<u32>,
    /// Changes an hour for one control.
    pub per_control: Option<u32>,
    /// Changes an hour on one type of resource.
    pub per_resource_type: Option<u32>,
    /// When failures stop a remediation from running by itself.
    pub breaker: Option<Breaker>,
    /// Changes a day that may be made by themselves to findings from before the end of the ledger's first
    /// day; the rest of such a backlog waits for approvals.
    pub backlog: Option<u32>,
}

/// A circuit breaker: of the last runs of a remediation, so many may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    /// How many of the last runs are looked at; fewer do not open it.
    pub runs: u32,
    /// It opens when this part of them failed, 0 to 1.
    pub rate: f64,
    /// How long failures count.
    pub period: SignedDuration,
}

/// What runs without policy files: the behaviour of the `automatic` settings, as policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// Remediations that no user can notice.
    pub safe: bool,
    /// Names of `guarded` remediations that may run on their own all the same.
    pub guarded: BTreeSet<String>,
}

impl Default for Automatic {
    fn default() -> Self {
        Self {
            safe: true,
            guarded: BTreeSet::new(),
        }
    }
}

impl Automatic {
    /// The policies.
    #[must_use]
    pub fn policies(&self) -> File {
        let mut text = String::from(
            "@id(\"undo\")\npermit (principal is Person, action, resource)\nwhen { context.undo && context.run == Run::\"onRequest\" };\n\n@id(\"requests\")\npermit (principal is Person, action in [Action::\"safe\", Action::\"guarded\"], resource)\nwhen { context.run == Run::\"onRequest\" };\n\n@id(\"approvals\")\npermit (principal, action, resource)\nwhen { context.run == Run::\"afterApproval\" };\n\n@id(\"windows\")\nforbid (principal, action, resource)\nunless { context.calendars.open || context.undo };\n",
        );
        if self.safe {
            text.push_str("\n@id(\"automatic.safe\")\npermit (principal, action in Action::\"safe\", resource)\nwhen { context.run == Run::\"automatically\" };\n");
        }
        if !self.guarded.is_empty() {
            let names: Vec<String> = self
                .guarded
                .iter()
                .map(|name| format!("Action::{name:?}"))
                .collect();
            text.push_str(&format!(
                "\n@id(\"automatic.guarded\")\npermit (principal, action in [{}], resource)\nwhen {{ context.run == Run::\"automatically\" }};\n",
                names.join(", ")
            ));
        }
        File {
            path: "built-in".to_owned(),
            text,
        }
    }
}

/// How far policies and everything else let a change go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Refuse,
    Approval,
    Run,
}

/// Decides whether a plan may run. Share it in an `Arc`.
pub struct Guard {
    pub(crate) policies: Policies,
    pub(crate) calendars: Vec<Calendar>,
    exemptions: Exemptions,
    pub(crate) feeds: Vec<Feed>,
    pub(crate) accounts: BTreeMap<AccountId, Placement>,
    pub(crate) people: BTreeMap<String, BTreeSet<String>>,
    limits: Limits,
    history: Arc<Mutex<History>>,
    name: String,
    hash: String,
    counts: bool,
    /// Held from where what was counted decides until the decision is counted itself.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What policies come to for a case.
pub(crate) struct Judged {
    pub(crate) rank: Rank,
    /// The question whose answer decided.
    pub(crate) run: Run,
    pub(crate) ruling: Ruling,
}

/// What keeps a change from running by itself, whatever policies permit.
#[derive(Debug, Default)]
pub(crate) struct Caps {
    /// Never.
    pub(crate) refuse: Vec<String>,
    /// Only after an approval.
    pub(crate) approval: Vec<String>,
    /// Worth knowing.
    pub(crate) notes: Vec<String>,
}

impl Guard {
    /// A guard of these rules for a catalog.
    ///
    /// # Errors
    /// All that is wrong with the files: a guard is whole or not at all.
    pub fn load(rules: Rules, catalog: &Catalog, now: Timestamp) -> Result<Self, Problems> {
        Self::assemble(rules, Some(catalog), now)
    }

    /// The guard of the `automatic` settings alone.
    #[must_use]
    pub fn built_in(automatic: &Automatic) -> Self {
        let rules = Rules {
            policies: Source::BuiltIn(automatic.clone()),
            ..Rules::default()
        };
        let nothing = || Rules {
            policies: Source::Files(Vec::new()),
            ..Rules::default()
        };
        // Names that are no Cedar text would leave nothing, which permits nothing.
        #[expect(clippy::expect_used, reason = "nothing can be wrong with no rules")]
        Self::assemble(rules, None, Timestamp::UNIX_EPOCH)
            .or_else(|_| Self::assemble(nothing(), None, Timestamp::UNIX_EPOCH))
            .expect("a guard of nothing")
    }

    fn assemble(rules: Rules, catalog: Option<&Catalog>, now: Timestamp) -> Result<Self, Problems> {
        let hash = rules.hash();
        let has_files = matches!(rules.policies, Source::Files(_));
        let schema = catalog.filter(|_| has_files);
        let schema = schema.map(|catalog| rules.schema(catalog));
        let mut problems = Vec::new();
        let mut calendars: Vec<Calendar> = Vec::new();
        for file in &rules.calendars {
            let name = stem(file);
            if name == "open" || calendars.iter().any(|calendar| calendar.name() == name) {
                let message = format!("`{name}` is taken as the name of a calendar");
                problems
                    .push(Problem::at(&file.path, &file.text, 0, message).hint("rename the file"));
                continue;
            }
            match Calendar::read(name, &file.text, now) {
                Ok(calendar) => calendars.push(calendar),
                Err(error) => {
                    let problem = Problem::at(&file.path, &file.text, 0, error.to_string());
                    problems.push(
                        problem.hint("a calendar that is not understood stays closed: correct it"),
                    );
                }
            }
        }
        let exemptions = rules
            .exemptions
            .as_ref()
            .map_or_else(
                || Ok(Exemptions::default()),
                |file| Exemptions::read(&file.path, &file.text, catalog),
            )
            .unwrap_or_else(|problem| {
                problems.push(problem);
                Exemptions::default()
            });
        let mut feeds = Vec::new();
        for file in &rules.feeds {
            match Feed::read(&file.path, &file.text, now) {
                Ok(feed) => feeds.push(feed),
                Err(problem) => problems.push(problem),
            }
        }
        let files = rules.policies.files();
        let against = schema.as_deref().zip(catalog);
        let policies = match Policies::load(&files, against) {
            Ok(policies) if problems.is_empty() => policies,
            Ok(_) => return Err(Problems(problems)),
            Err(mut found) => {
                found.0.append(&mut problems);
                return Err(found);
            }
        };
        let limits = rules.limits;
        let counts = limits != Limits::default() || policies.speaks.of("today");
        let short: String = hash.chars().take(12).collect();
        Ok(Self {
            policies,
            calendars,
            exemptions,
            feeds,
            accounts: rules.accounts,
            people: rules.people,
            limits,
            history: Arc::default(),
            name: format!("cedar {short}"),
            hash,
            counts,
            turn: Arc::default(),
        })
    }

    /// The same, which counts on where `before` has counted.
    #[must_use]
    pub fn following(mut self, before: &Self) -> Self {
        self.history = Arc::clone(&before.history);
        self.turn = Arc::clone(&before.turn);
        self
    }

    /// Its name for people: Cedar, and the beginning of the hash of its rules.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 in hexadecimal over all that it decides by: policies, calendars, exemptions, feeds,
    /// the organization, roles and limits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// How many policies it has.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// Its exemptions.
    #[must_use]
    pub const fn exemptions(&self) -> &Exemptions {
        &self.exemptions
    }

    /// Its feeds.
    #[must_use]
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// Its calendars.
    #[must_use]
    pub fn calendars(&self) -> &[Calendar] {
        &self.calendars
    }

    /// True if it decides by what was changed before. [`Self::seed`] is due then, once.
    #[must_use]
    pub const fn counts(&self) -> bool {
        self.counts
    }

    /// True if its policies go by what a change may touch, so that this has to be looked at first.
    #[must_use]
    pub fn weighs_impact(&self) -> bool {
        self.policies.speaks.of("impact")
    }

    /// Until when it was told what the ledger says; `None` before the first time.
    #[must_use]
    pub fn seeded(&self) -> Option<Timestamp> {
        self.history().seeded
    }

    /// When the ledger begins, if it was told.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.history().began
    }

    /// What it has seen begin and end: the ledger says nothing new of them.
    #[must_use]
    pub fn known(&self) -> HashSet<RemediationId> {
        self.history().known()
    }

    /// Takes in what the ledger says at `now` of what was begun in the last 24 hours, or since it was
    /// told last; and when the ledger begins.
    pub fn seed<'r>(
        &self,
        began: Timestamp,
        now: Timestamp,
        records: impl IntoIterator<Item = &'r Record>,
    ) {
        let mut history = self.history();
        history.began = Some(began);
        history.seeded = Some(now);
        for record in records {
            history.seed(record);
        }
    }

    /// Notes how a change ended, for the circuit breaker.
    pub fn ended(&self, id: RemediationId, state: &State, at: Timestamp) {
        if self.counts
            && let Some(ok) = state.worked()
        {
            let remediation = &state.received.remediation;
            self.history().ended(id, remediation, ok, at);
        }
    }

    /// Decides; a change that may run is counted.
    #[must_use]
    pub fn decide(&self, case: &Case<'_>) -> Answer {
        self.decide_below(case, |answer| answer)
    }

    /// Decides with somebody above who may lower the answer; a change that may still run is counted.
    pub fn decide_below(&self, case: &Case<'_>, above: impl Fn(Answer) -> Answer) -> Answer {
        self.counting(case, || above(self.judge(case)))
    }

    /// What is answered; a change that may run is counted. If others were counted while it was asked, it is
    /// asked once more, so that limits hold however many ask at once.
    fn counting(&self, case: &Case<'_>, ask: impl Fn() -> Answer) -> Answer {
        let known = self.history().version;
        let answer = ask();
        if answer.verdict != Verdict::Run || !self.counts {
            return answer;
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let is_the_same = self.history().version == known;
        let answer = if is_the_same { answer } else { ask() };
        if answer.verdict == Verdict::Run {
            self.count(case);
        }
        drop(turn);
        answer
    }

    /// What [`Self::decide`] would say; nothing is counted.
    #[must_use]
    pub fn judge(&self, case: &Case<'_>) -> Answer {
        match self.facts(case) {
            Ok(facts) => self.answer(case, &facts),
            Err(error) => Answer {
                verdict: Verdict::Refuse,
                reasons: vec![format!("the guard could not decide: {error}")],
                policies: Vec::new(),
                urgent: false,
            },
        }
    }

    /// Whether a plan that people have approved may run now. Policies are asked again, for windows
    /// close and rules change between a click and a run; a change that may run is counted.
    #[must_use]
    pub fn confirm(&self, case: &Case<'_>) -> Answer {
        let mut answer = self.counting(case, || match self.facts(case) {
            Ok(facts) => self.confirmed(case, &facts),
            Err(error) => no(vec![format!("the guard could not decide: {error}")]),
        });
        answer.urgent = !self.threats(case.received).is_empty();
        answer
    }

    fn confirmed(&self, case: &Case<'_>, facts: &Facts) -> Answer {
        let caps = self.caps(case, facts);
        if !caps.refuse.is_empty() {
            return no(caps.refuse);
        }
        let ruling = self.ask(facts, Run::AfterApproval);
        if ruling.permitted {
            let (reasons, policies) = (vec!["it was approved".to_owned()], ruling.policies);
            return match self.limited(case) {
                Some((until, reason)) => deferred(until, vec![reason], policies),
                None => Answer {
                    verdict: Verdict::Run,
                    reasons,
                    policies,
                    urgent: false,
                },
            };
        }
        let opens = self.opens(facts, |facts| self.ask(facts, Run::AfterApproval).permitted);
        match opens {
            Some(until) => deferred(until, vec![window(until)], ruling.policies),
            None => Answer {
                reasons: because(&self.policies, Run::AfterApproval, &ruling),
                policies: ruling.policies,
                ..no(Vec::new())
            },
        }
    }

    fn answer(&self, case: &Case<'_>, facts: &Facts) -> Answer {
        let caps = self.caps(case, facts);
        let urgent = !facts.threats.is_empty();
        if !caps.refuse.is_empty() {
            return Answer {
                urgent,
                ..no(caps.refuse)
            };
        }
        let top = if caps.approval.is_empty() {
            Rank::Run
        } else {
            Rank::Approval
        };
        let Judged { rank, run, ruling } = self.ranked(facts, top);
        let mut reasons = caps.approval;
        reasons.extend(because(&self.policies, run, &ruling));
        reasons.extend(caps.notes);
        let mut answer = Answer {
            verdict: match rank {
                Rank::Run => Verdict::Run,
                Rank::Approval => Verdict::NeedsApproval,
                Rank::Refuse => Verdict::Refuse,
            },
            reasons,
            policies: ruling.policies,
            urgent,
        };
        // Would an open window let it go further? Then it waits for that.
        let best = match facts.is_lost() {
            true => Rank::Approval,
            false => top,
        };
        if rank < best
            && let Some(until) = self.opens(facts, |facts| self.ranked(facts, top).rank > rank)
        {
            answer.verdict = Verdict::Defer { until };
            answer.reasons.insert(0, window(until));
        }
        if answer.verdict == Verdict::Run
            && let Some((until, reason)) = self.limited(case)
        {
            answer.verdict = Verdict::Defer { until };
            answer.reasons.insert(0, reason);
        }
        answer
    }

    /// When calendars first stand so that `holds`.
    fn opens(&self, facts: &Facts, holds: impl Fn(&Facts) -> bool) -> Option<Timestamp> {
        let mut tried = HashSet::from([facts.open.clone()]);
        calendar::next(&self.calendars, facts.now, |at| {
            let then = facts.at(at, &self.calendars);
            // Where only calendars count, they need not be asked twice as they stand.
            (tried.insert(then.open.clone()) || self.policies.speaks.of_times()) && holds(&then)
        })
    }

    /// Asks policies the three questions, the highest first, up to one that may be answered.
    pub(crate) fn ranked(&self, facts: &Facts, top: Rank) -> Judged {
        self.ranked_by(&self.policies, facts, top)
    }

    pub(crate) fn ranked_by(&self, policies: &Policies, facts: &Facts, top: Rank) -> Judged {
        let may_run = top == Rank::Run && !facts.is_lost();
        let terms = match facts.terms() {
            Ok(terms) => terms,
            Err(error) => {
                return Judged {
                    rank: Rank::Refuse,
                    run: Run::AfterApproval,
                    ruling: Ruling::unasked(error),
                };
            }
        };
        let mut last = None;
        for run in Run::ALL.into_iter().rev() {
            let is_asked = match run {
                Run::Automatically => may_run,
                Run::OnRequest => may_run && matches!(facts.principal, Principal::Person { .. }),
                Run::AfterApproval => true,
            };
            if !is_asked {
                continue;
            }
            let ruling = terms.ask(policies, run, &self.calendars);
            if ruling.permitted {
                let rank = match run {
                    Run::AfterApproval => Rank::Approval,
                    Run::OnRequest | Run::Automatically => Rank::Run,
                };
                return Judged { rank, run, ruling };
            }
            // Of several noes one that a policy says tells more than silence.
            match &last {
                Some((_, Ruling { policies, .. })) if !policies.is_empty() => {}
                _ => last = Some((run, ruling)),
            }
        }
        let (run, ruling) = last.unwrap_or((Run::AfterApproval, Ruling::default()));
        Judged {
            rank: Rank::Refuse,
            run,
            ruling,
        }
    }

    pub(crate) fn ask(&self, facts: &Facts, run: Run) -> Ruling {
        match facts.terms() {
            Ok(terms) => terms.ask(&self.policies, run, &self.calendars),
            Err(error) => Ruling::unasked(error),
        }
    }

    /// What the case is to policies.
    pub(crate) fn facts(&self, case: &Case<'_>) -> Result<Facts, String> {
        let received = case.received;
        let placement = self
            .accounts
            .get(&received.account)
            .cloned()
            .unwrap_or_default();
        let severity = SeverityLabel::from_name(&received.severity);
        Ok(Facts {
            principal: match received.route {
                Route::Manual => Principal::Person {
                    name: received.requester.clone(),
                    mfa: received.mfa,
                    roles: self
                        .people
                        .get(&received.requester)
                        .cloned()
                        .unwrap_or_default(),
                },
                Route::Automatic => Principal::Source(received.requester.clone()),
            },
            action: case.remediation.name.clone(),
            groups: crate::policies::groups(case.remediation),
            class: case.remediation.safety.class,
            resource: received.resource_id.clone(),
            resource_type: received.resource_type.clone(),
            region: received.region.to_string(),
            tags: received.tags.clone(),
            account: received.account.to_string(),
            placement,
            control: received.control.clone(),
            controls: match self.policies.speaks.of("controls") {
                true => case.remediation.names_of(&received.control),
                false => BTreeSet::new(),
            },
            severity: severity
                .map(|label| stanch_types::Severity::from_label(label).normalized.into()),
            age: received
                .first_observed
                .map(|seen| case.now.duration_since(seen).max(SignedDuration::ZERO)),
            now: case.now,
            undo: case.undo,
            open: self.calendars.iter().map(|c| c.is_open(case.now)).collect(),
            counts: match self.counts {
                true => self
                    .history()
                    .counts(case.id, &Keys::of(received), case.now),
                false => Default::default(),
            },
            impact: case
                .remediation
                .impact
                .iter()
                .filter_map(|probe| {
                    let name = &probe.read.name;
                    Some((
                        name.clone(),
                        probe.kind,
                        case.impact.facts.get(name)?.clone(),
                    ))
                })
                .collect(),
            threats: self
                .threats(received)
                .into_iter()
                .map(|(feed, _)| feed.to_owned())
                .collect(),
        })
    }

    fn threats<'a>(&'a self, received: &'a Received) -> Vec<(&'a str, &'a str)> {
        let matches = self.feeds.iter().flat_map(|feed| {
            let known = received
                .indicators
                .iter()
                .filter(|indicator| feed.has(indicator));
            known.map(|indicator| (feed.name(), indicator.as_str()))
        });
        matches.collect()
    }

    /// What holds whatever policies say.
    pub(crate) fn caps(&self, case: &Case<'_>, facts: &Facts) -> Caps {
        let mut caps = Caps::default();
        let received = case.received;
        if case.undo {
            return caps;
        }
        let ou = facts.placement.ou.as_deref();
        match self
            .exemptions
            .cover(received, case.remediation, ou, case.now)
        {
            Cover::None => {}
            Cover::Exempt(exemption) => caps.refuse.push(format!("it is exempt: {exemption}")),
            Cover::Expired(exemption) => caps.approval.push(format!(
                "it was exempt until {}; renew the exemption of {} or remove it",
                exemption.expires, exemption.owner
            )),
            Cover::Unknown(exemption) => caps.approval.push(format!(
                "it may be exempt, by tags or an organizational unit that are not known: {exemption}"
            )),
        }
        if self.policies.speaks.units && ou.is_none() {
            caps.approval.push(format!(
                "policies go by organizational units, and that of account {} is not known",
                received.account
            ));
        }
        if self.policies.speaks.account_tags && facts.placement.tags.is_none() {
            caps.approval.push(format!(
                "policies go by tags of accounts, and those of account {} are not known",
                received.account
            ));
        }
        for (name, error) in &case.impact.unknown {
            caps.approval.push(format!(
                "its impact is not known: `{name}` cannot be read: {error}"
            ));
        }
        if let Some(breaker) = self.limits.breaker {
            let since = case.now - breaker.period;
            let runs = breaker.runs.max(1);
            let (failed, all) =
                self.history()
                    .failures(&received.remediation, since, runs as usize);
            let enough = u32::try_from(all).is_ok_and(|all| all >= runs);
            if enough && failed as f64 >= breaker.rate * all as f64 {
                caps.approval.push(format!(
                    "the circuit breaker is open: {failed} of the last {all} runs of `{}` failed",
                    received.remediation
                ));
            }
        }
        if let Some(most) = self.limits.backlog
            && received.route == Route::Automatic
        {
            let began = self.history().began.unwrap_or(case.now);
            // A scanner that is switched on together with Stanch finds all that is old on that day.
            let seen = received.first_observed.unwrap_or(case.now);
            if seen < began + FIRST_DAY && facts.counts.day(By::All) >= most {
                caps.approval.push(format!(
                    "it is of the backlog of Stanch's first day, of which {most} a day are fixed by themselves: look at the plan"
                ));
            }
        }
        for (feed, indicator) in self.threats(received) {
            caps.notes.push(format!("`{feed}` knows `{indicator}`"));
        }
        caps
    }

    /// Until when a limit holds it up, and which.
    fn limited(&self, case: &Case<'_>) -> Option<(Timestamp, String)> {
        let limits = [
            (By::Account, self.limits.per_account, "in this account"),
            (By::Control, self.limits.per_control, "for this control"),
            (
                By::ResourceType,
                self.limits.per_resource_type,
                "of this type of resource",
            ),
        ];
        if case.undo || limits.iter().all(|(_, limit, _)| limit.is_none()) {
            return None;
        }
        let history = self.history();
        let keys = Keys::of(case.received);
        let counts = history.counts(case.id, &keys, case.now);
        let reached = limits.into_iter().filter_map(|(by, limit, what)| {
            let limit = limit.filter(|limit| counts.hour(by) >= *limit)?;
            let until = history.below(case.id, by, &keys, limit, case.now);
            Some((
                until,
                format!("the limit of {limit} changes an hour {what} is reached"),
            ))
        });
        reached.max()
    }

    fn count(&self, case: &Case<'_>) {
        if let (true, Some(id)) = (self.counts, case.id) {
            self.history()
                .changed(id, &Keys::of(case.received), case.now);
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Every update leaves the counts consistent.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn files(&self) -> Cow<'_, [File]> {
        match self {
            Self::BuiltIn(automatic) => vec![automatic.policies()].into(),
            Self::Files(files) => files.into(),
        }
    }
}

impl Rules {
    /// Whether policies go by tags of accounts: `resource.account.getTag("stage")`. If they cannot be read,
    /// they may.
    #[must_use]
    pub fn go_by_account_tags(&self) -> bool {
        let policies = Policies::load(&self.policies.files(), None);
        policies.map_or(true, |policies| policies.speaks.account_tags)
    }

    /// What policies may speak of under these rules, as a Cedar schema.
    #[must_use]
    pub fn schema(&self, catalog: &Catalog) -> String {
        let names: Vec<&str> = self.calendars.iter().map(stem).collect();
        schema(catalog, &names)
    }

    /// [`Guard::hash`] of a guard of these rules.
    #[must_use]
    pub fn hash(&self) -> String {
        let files = |files: &[File]| -> Vec<Value> {
            files
                .iter()
                .map(|file| json!([file.path, file.text]))
                .collect()
        };
        let accounts: BTreeMap<String, Value> = self
            .accounts
            .iter()
            .map(|(id, placement)| (id.to_string(), json!([placement.ou, placement.tags])))
            .collect();
        let decided = json!({
            "policies": files(&self.policies.files()),
            "calendars": files(&self.calendars),
            "exemptions": files(self.exemptions.as_slice()),
            "feeds": files(&self.feeds),
            "accounts": accounts,
            "people": self.people,
            "limits": format!("{:?}", self.limits),
        });
        hex(&Sha256::digest(decided.to_string()))
    }
}

/// Why the answer to this question is what it is.
pub(crate) fn because(policies: &Policies, run: Run, ruling: &Ruling) -> Vec<String> {
    if !ruling.errors.is_empty() {
        let errors = ruling.errors.iter();
        return errors
            .map(|error| format!("the guard could not decide: {error}"))
            .collect();
    }
    let verb = match run {
        Run::Automatically => "run by itself",
        Run::OnRequest => "run because a person asked for it",
        Run::AfterApproval => "run after an approval",
    };
    if ruling.policies.is_empty() {
        return vec!["no policy permits it".to_owned()];
    }
    let names = ruling.policies.iter();
    names
        .map(|name| match policies.is_forbid(name) {
            true => format!("policy `{name}` forbids it"),
            false => format!("policy `{name}` lets it {verb}"),
        })
        .collect()
}

fn no(reasons: Vec<String>) -> Answer {
    Answer {
        verdict: Verdict::Refuse,
        reasons,
        policies: Vec::new(),
        urgent: false,
    }
}

fn deferred(until: Timestamp, reasons: Vec<String>, policies: Vec<String>) -> Answer {
    Answer {
        verdict: Verdict::Defer { until },
        reasons,
        policies,
        urgent: false,
    }
}

fn window(until: Timestamp) -> String {
    format!("the change window is closed until {until:.0}")
}

/// A file's name without folder and extension.
pub(crate) fn stem(file: &File) -> &str {
    let name = file.path.rsplit(['/', '\\']).next().unwrap_or(&file.path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
