//! What is wrong with a Stanch that runs, and what to do about it.
//!
//! Each look is a line. An error is never a good line: what could not be looked at is [`State::Unknown`].

pub(crate) mod administrator;
pub(crate) mod look;
pub(crate) mod member;
mod record;

use std::{collections::BTreeMap, fmt, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use stanch_ledger::Ledger;
use stanch_types::{AccountId, Call, CallError, Region, Secret};

use crate::{Accounts, Installation};
use look::Look;

/// What a line is about: the issues of the architecture's troubleshooting guide, and what lies under them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issue {
    /// Credentials, clock, endpoints, what is switched on.
    Ground,
    /// The orchestrator cannot assume the role in a member account.
    AssumeRole,
    /// A remediation appears successful, and the resource is not fixed.
    NotFixed,
    /// The audit log is throttled.
    Throttling,
    /// Nobody is told.
    Notifications,
    /// Executions time out or are stuck.
    Stuck,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ground => "what all stands on",
            Self::AssumeRole => "1 the role in member accounts",
            Self::NotFixed => "2 fixed is fixed",
            Self::Throttling => "3 the audit log",
            Self::Notifications => "4 notifications",
            Self::Stuck => "5 what is stuck",
        })
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and may not for long.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// It does not work.
    Problem,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Problem => "problem",
        })
    }
}

/// One look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it is about.
    pub issue: Issue,
    /// The account that was looked into; none for what is in no account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// How to see it for oneself, or do it, with the AWS CLI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What `--fix` would do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

impl Line {
    /// What does not work.
    #[must_use]
    pub fn problem(
        issue: Issue,
        what: impl Into<String>,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            issue,
            account: None,
            what: what.into(),
            state: State::Problem,
            seen: seen.into(),
            advice: Some(advice.into()),
            command: None,
            fix: None,
        }
    }
}

/// A change that takes nothing away and can be taken back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fix {
    /// What it does.
    pub does: String,
    /// The request, in the administrator account.
    pub call: Call,
    /// Where.
    pub region: Region,
}

/// A member account.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its role, where it is not the installation's.
    pub role: Option<String>,
    /// What the role's trust policy asks for.
    pub external_id: Option<Secret<String>>,
    /// The regions to look into.
    pub regions: Vec<Region>,
}

/// What the doctor is told.
pub struct Patient<'p> {
    /// The names of what is deployed.
    pub installation: &'p Installation,
    /// The member accounts.
    pub members: BTreeMap<AccountId, Member>,
    /// The ledger, if there is one here.
    pub ledger: Option<&'p dyn Ledger>,
    /// The Automation documents of this release, each with the name of its version.
    pub documents: BTreeMap<String, String>,
    /// Now.
    pub now: Timestamp,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The functions are deployed in AWS; else only what one machine needs was looked at. None if that could not
    /// be told.
    pub deployed: Option<bool>,
    /// By issue.
    pub lines: Vec<Line>,
}

impl Report {
    /// The worst line.
    #[must_use]
    pub fn worst(&self) -> State {
        self.lines
            .iter()
            .map(|line| line.state)
            .max()
            .unwrap_or(State::Unknown)
    }

    /// What can be mended.
    pub fn fixes(&self) -> impl Iterator<Item = &Fix> {
        self.lines.iter().filter_map(|line| line.fix.as_ref())
    }
}

/// The line about the ledger itself.
pub const LEDGER: &str = "the ledger";

/// Member accounts that are looked into at once.
const AT_ONCE: usize = 4;

/// How far two clocks may be apart: AWS refuses signatures that are 5 minutes old, S3 of 15
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html>).
const CLOCK: Duration = Duration::from_secs(60);

/// Looks at everything.
pub async fn examine(accounts: &dyn Accounts, patient: &Patient<'_>) -> Report {
    let own = Look::own(accounts, patient);
    let mut lines = Vec::new();
    let caller = administrator::caller(&own, &mut lines).await;
    let deployed = match &caller {
        Some(_) => administrator::is_deployed(&own, &mut lines).await,
        None => None,
    };
    if let Some(caller) = &caller
        && deployed == Some(true)
    {
        administrator::examine(&own, caller, &mut lines).await;
    }
    if patient.members.is_empty() {
        lines.push(own.line(
            Issue::AssumeRole,
            "member accounts",
            State::Warning,
            "none is configured",
            "name them under `accounts` of the configuration",
        ));
    }
    let trusted = caller
        .as_ref()
        .map(|caller| member::Trusted::new(patient, caller, deployed));
    let looks = patient.members.iter().map(|(id, member)| {
        let (own, trusted) = (&own, &trusted);
        async move { member::examine(own, trusted.as_ref(), id, member).await }
    });
    let found: Vec<Vec<Line>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    lines.extend(found.into_iter().flatten());
    record::examine(&own, &mut lines).await;
    lines.push(clock(&own, accounts));
    lines.extend(own.endpoints());
    lines.sort_by_key(|line| line.issue);
    Report { deployed, lines }
}

fn clock(own: &Look<'_>, accounts: &dyn Accounts) -> Line {
    let what = "this machine's clock";
    let Some(ahead) = accounts.clock_ahead() else {
        let advice = "see the lines about endpoints";
        return own.line(
            Issue::Ground,
            what,
            State::Unknown,
            "AWS did not answer",
            advice,
        );
    };
    let seconds = ahead.as_secs();
    let seen = format!(
        "{} s {} AWS's",
        seconds.unsigned_abs(),
        if seconds > 0 { "behind" } else { "before" }
    );
    match ahead.unsigned_abs() <= CLOCK {
        true => own.good(Issue::Ground, what, seen),
        false => own
            .line(
                Issue::Ground,
                what,
                State::Problem,
                seen,
                "set it by NTP: AWS refuses what is signed too early or late",
            )
            .command("timedatectl status"),
    }
}

/// Carries a fix out.
///
/// # Errors
/// AWS refuses it.
pub async fn mend(accounts: &dyn Accounts, fix: &Fix) -> Result<(), CallError> {
    accounts.own(&fix.region)?.call(&fix.call).await.map(drop)
}
