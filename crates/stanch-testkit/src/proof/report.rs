//! What the proof suite found, as a table.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{Maker, mends};

/// What must hold for every remediation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The check tells a planted misconfiguration from a compliant resource.
    CheckTells,
    /// A dry run changes nothing, and could not.
    DryRunReads,
    /// After the fix the check passes, and nothing else was touched.
    Fixes,
    /// The requests sent are those of the dry run.
    SendsThePlan,
    /// A second run changes nothing.
    RunsOnce,
    /// Undo restores the observed state exactly.
    Undoes,
    /// A failure or a kill at any request ends in fixed or restored.
    Survives,
    /// The session policy allows what is sent, and nothing that is not.
    LeastPrivilege,
    /// A resource that is not there, or is another account's, is left alone with a clear error.
    RefusesStrangers,
    /// The lowered Automation documents send the same requests.
    DocumentsAgree,
}

impl Property {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::CheckTells,
        Self::DryRunReads,
        Self::Fixes,
        Self::SendsThePlan,
        Self::RunsOnce,
        Self::Undoes,
        Self::Survives,
        Self::LeastPrivilege,
        Self::RefusesStrangers,
        Self::DocumentsAgree,
    ];

    /// The heading of its column, and what it means.
    #[must_use]
    pub const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::CheckTells => ("check", "the check finds each example as it was planted"),
            Self::DryRunReads => (
                "dry run",
                "a dry run sends no write, in sessions that may only read",
            ),
            Self::Fixes => (
                "fix",
                "after the fix the check passes, and the neighbours are as they were",
            ),
            Self::SendsThePlan => ("plan", "the requests sent are those of the dry run"),
            Self::RunsOnce => ("once", "a second run sends no write"),
            Self::Undoes => ("undo", "undo restores the observed state exactly"),
            Self::Survives => (
                "crash",
                "each request refused, lost, unanswered and interrupted by a kill: the end is fixed or restored",
            ),
            Self::LeastPrivilege => (
                "policy",
                "role and session policy allow each request; each of their actions is needed, and a neighbouring resource is out of reach",
            ),
            Self::RefusesStrangers => (
                "strangers",
                "a resource that is not there or is another account's: a clear error, no write",
            ),
            Self::DocumentsAgree => (
                "documents",
                "the lowered Automation documents send the same requests",
            ),
        }
    }
}

/// Whether a property holds for a remediation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In every example.
    Holds,
    /// Not in this one.
    Broken(String),
    /// It could not be tried.
    NotRun(String),
}

/// What was found about every remediation.
#[derive(Debug, Default)]
pub struct Proof {
    /// By remediation, in the order of the catalog.
    pub rows: Vec<Row>,
}

/// What was found about a remediation.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub remediation: String,
    /// The emulators that play its examples.
    pub played_by: BTreeSet<Maker>,
    /// What stands in: the service, and why.
    pub stood_in: BTreeSet<(&'static str, &'static str)>,
    /// Each property.
    pub verdicts: Vec<(Property, Verdict)>,
}

impl Row {
    /// What does not hold, one line for each reason.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (property, verdict) in &self.verdicts {
            let Verdict::Broken(why) = verdict else {
                continue;
            };
            let heading = property.text().0;
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, headings)) => headings.push(heading),
                None => reasons.push((why, vec![heading])),
            }
        }
        let line = |(why, headings): (&str, Vec<&str>)| {
            format!("{}: {}: {why}", self.remediation, headings.join(", "))
        };
        reasons.into_iter().map(line).collect()
    }
}

impl Proof {
    /// What does not hold, one line each.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.rows.iter().flat_map(Row::broken).collect()
    }

    fn verdicts(&self) -> impl Iterator<Item = (&str, Property, &Verdict)> {
        let rows = self.rows.iter();
        rows.flat_map(|row| {
            let verdicts = row.verdicts.iter();
            verdicts.map(|(property, verdict)| (row.remediation.as_str(), *property, verdict))
        })
    }

    /// The table, as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "<!-- Generated by `cargo xtask codegen`; do not edit. -->\n# Proof of the catalog\n\n\
             Every remediation by its own examples, through the hub, against an emulator of AWS; every request is \
             judged by an IAM simulator before it is sent.\n\n",
        );
        for property in Property::ALL {
            let (heading, meaning) = property.text();
            // Writing to a string does not fail.
            let _ = writeln!(text, "- **{heading}**: {meaning}.");
        }
        let headings = Property::ALL.map(|property| property.text().0).join(" | ");
        let _ = writeln!(
            text,
            "\n| Remediation | {headings} | on |\n|---{}|---|",
            "|:-:".repeat(Property::ALL.len())
        );
        for row in &self.rows {
            let cells: Vec<&str> = row
                .verdicts
                .iter()
                .map(|(_, verdict)| match verdict {
                    Verdict::Holds => "yes",
                    Verdict::Broken(_) => "**NO**",
                    Verdict::NotRun(_) => "not run",
                })
                .collect();
            let makers: Vec<&str> = row.played_by.iter().map(|maker| maker.title()).collect();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                row.remediation,
                cells.join(" | "),
                makers.join(", ")
            );
        }
        let total = self.rows.len();
        let aided: Vec<_> = self
            .rows
            .iter()
            .filter(|row| !row.stood_in.is_empty())
            .collect();
        let whole = |row: &&Row| {
            row.verdicts
                .iter()
                .all(|(_, verdict)| *verdict == Verdict::Holds)
        };
        let played = |maker| {
            self.rows
                .iter()
                .filter(|row| row.played_by.contains(&maker))
                .count()
        };
        let _ = writeln!(
            text,
            "\n{total} remediations; {} with all ten properties; {} played by MiniStack, {} by moto, {} of \
             them with a stand-in.",
            self.rows.iter().filter(whole).count(),
            played(Maker::MiniStack),
            played(Maker::Moto),
            aided.len()
        );
        if !aided.is_empty() {
            text.push_str("\n## Stand-ins\n\n");
            for row in aided {
                for (service, because) in &row.stood_in {
                    let _ = writeln!(text, "- `{}`, {service}: {because}", row.remediation);
                }
            }
        }
        text.push_str("\n## Mended in the emulators\n\n");
        for (maker, what) in mends() {
            let _ = writeln!(text, "- {}: {what}", maker.title());
        }
        let not_run: Vec<_> = self
            .verdicts()
            .filter_map(|(name, property, verdict)| match verdict {
                Verdict::NotRun(why) => Some((name, property.text().0, why)),
                Verdict::Holds | Verdict::Broken(_) => None,
            })
            .collect();
        if !not_run.is_empty() {
            text.push_str("\n## Not run\n\n");
            for (name, heading, why) in not_run {
                let _ = writeln!(text, "- `{name}`, {heading}: {why}");
            }
        }
        text
    }
}
