//! `stanch policy test`: cases with the answer that is expected, from a file.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stanch_catalog::{Catalog, Impact};
use stanch_ledger::{Received, Route, Verdict};
use stanch_syntax::{Limits, Node};
use stanch_types::{AccountId, Region};

use crate::{
    guard::{Answer, Case, Guard},
    problem::Problem,
};

/// A case of a test file. What it does not say is as in a finding that says little.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// The remediation.
    pub remediation: String,
    /// The member account.
    #[serde(default = "somewhere")]
    pub account: String,
    /// The region.
    #[serde(default = "region")]
    pub region: String,
    /// The resource's id; mostly an ARN.
    #[serde(default = "resource")]
    pub resource: String,
    /// Its type; the remediation's first if not given.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Its tags. Without any they are unknown.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The control, as the finding has it.
    #[serde(default)]
    pub control: String,
    /// `CRITICAL`, `HIGH`, `MEDIUM`, `LOW` or `INFORMATIONAL`.
    #[serde(default)]
    pub severity: String,
    /// The person who asks; nobody if not given.
    #[serde(default)]
    pub person: Option<String>,
    /// They ask with a second factor.
    #[serde(default)]
    pub mfa: bool,
    /// The change is to be taken back.
    #[serde(default)]
    pub undo: bool,
    /// When the finding was first seen.
    #[serde(default)]
    pub first_observed: Option<Timestamp>,
    /// Now.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// What the impact probes saw.
    #[serde(default)]
    pub impact: BTreeMap<String, Value>,
    /// Addresses, domains and hashes of the finding.
    #[serde(default)]
    pub indicators: BTreeSet<String>,
    /// The answer.
    pub expect: Expected,
    /// A policy that must be among those that decide.
    #[serde(default)]
    pub policy: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It runs.
    Run,
    /// It waits for an approval.
    Approval,
    /// It waits for a time.
    Defer,
    /// It is refused.
    Refuse,
}

impl Expected {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Approval => "approval",
            Self::Defer => "defer",
            Self::Refuse => "refuse",
        }
    }
}

impl From<Verdict> for Expected {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Run => Self::Run,
            Verdict::NeedsApproval => Self::Approval,
            Verdict::Defer { .. } => Self::Defer,
            Verdict::Refuse => Self::Refuse,
        }
    }
}

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The case.
    pub name: String,
    /// Where it stands.
    pub line: usize,
    /// It is as expected.
    pub passed: bool,
    /// The answer.
    pub answer: &'static str,
    /// Why.
    pub reasons: Vec<String>,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

fn somewhere() -> String {
    "111111111111".to_owned()
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn resource() -> String {
    "resource".to_owned()
}

/// Reads the cases of a file: a YAML list, each with the line that it begins on.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn read_cases(path: &str, text: &str) -> Result<Vec<(usize, TestCase)>, Problem> {
    let place = |line: usize, column: usize, message: String| Problem {
        path: path.to_owned(),
        line,
        column,
        message,
        hint: None,
    };
    let root = stanch_syntax::read(text, Limits::default())
        .map_err(|d| place(d.at.line, d.at.column, d.message))?;
    let Some(items) = root.as_list() else {
        return Err(place(1, 1, "there is no list of cases in it".to_owned())
            .hint("write `- {name: …, remediation: …, expect: run}`"));
    };
    let read = |node: &Node| {
        let case = serde_path_to_error::deserialize(node.to_json());
        let case = case.map_err(|error| place(node.at.line, node.at.column, error.to_string()))?;
        Ok((node.at.line, case))
    };
    items.iter().map(read).collect()
}

impl Guard {
    /// Plays a case. `now` is the time of cases that say none.
    #[must_use]
    pub fn test(&self, line: usize, test: &TestCase, catalog: &Catalog, now: Timestamp) -> Outcome {
        let mut outcome = Outcome {
            name: test.name.clone(),
            line,
            passed: false,
            answer: "none",
            reasons: Vec::new(),
            problem: None,
        };
        let answer = match self.play(test, catalog, now) {
            Ok(answer) => answer,
            Err(problem) => {
                outcome.problem = Some(problem);
                return outcome;
            }
        };
        let got = Expected::from(answer.verdict);
        outcome.answer = got.name();
        outcome.reasons = answer.reasons;
        if got != test.expect {
            let expected = test.expect.name();
            outcome.problem = Some(format!("expected `{expected}`, got `{}`", got.name()));
        } else if let Some(policy) = &test.policy
            && !answer.policies.contains(policy)
        {
            outcome.problem = Some(format!("policy `{policy}` is not among those that decided"));
        }
        outcome.passed = outcome.problem.is_none();
        outcome
    }

    fn play(&self, test: &TestCase, catalog: &Catalog, now: Timestamp) -> Result<Answer, String> {
        let remediation = catalog
            .get(&test.remediation)
            .ok_or_else(|| format!("the catalog has no remediation `{}`", test.remediation))?;
        let account: AccountId = test.account.parse().map_err(|e| format!("{e}"))?;
        let region: Region = test.region.parse().map_err(|e| format!("{e}"))?;
        let kind = test.r#type.clone();
        let received = Received {
            finding_id: test.name.clone(),
            control: test.control.clone(),
            account,
            region,
            resource_arn: test.resource.parse().ok(),
            resource_id: test.resource.clone(),
            resource_type: kind
                .or_else(|| remediation.resources.first().cloned())
                .unwrap_or_default(),
            severity: test.severity.clone(),
            title: test.name.clone(),
            remediation: test.remediation.clone(),
            subject: Value::Null,
            problem: None,
            route: match test.person {
                Some(_) => Route::Manual,
                None => Route::Automatic,
            },
            requester: test.person.clone().unwrap_or_else(|| "test".to_owned()),
            mfa: test.mfa,
            first_observed: test.first_observed,
            tags: test.tags.clone(),
            indicators: test.indicators.clone(),
            origin: None,
        };
        let impact = Impact {
            facts: test.impact.clone(),
            ..Impact::default()
        };
        Ok(self.judge(&Case {
            id: None,
            received: &received,
            remediation: &remediation,
            impact: &impact,
            undo: test.undo,
            now: test.at.unwrap_or(now),
        }))
    }
}
