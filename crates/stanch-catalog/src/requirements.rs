//! What frameworks ask for, by the checks that look for it: tables beside the catalog.
//!
//! They tell people what a fix serves and what is missing. They never route a finding: only the
//! controls that a file claims do.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use stanch_types::ControlRef;

use crate::{catalog::Catalog, remediation::Remediation};

const FRAMEWORKS: &str = include_str!("../../../catalog/requirements/frameworks.tsv");
const SECURITY_HUB: &str = include_str!("../../../catalog/requirements/security-hub.tsv");
const PROWLER: &str = include_str!("../../../catalog/requirements/prowler.tsv");
const NOT_AUTOMATIC: &str = include_str!("../../../catalog/not-automatic.tsv");

/// A standard, benchmark or law whose requirements checks are mapped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framework {
    /// `cis-3.0.0`.
    pub id: &'static str,
    /// `CIS AWS Foundations Benchmark v3.0.0`.
    pub title: &'static str,
    /// Where AWS lists the Security Hub controls that belong to it; none if AWS has no such standard.
    pub controls: Option<&'static str>,
    /// Where the ids of its requirements come from; none if only the controls are known.
    pub requirements: Option<&'static str>,
}

/// The requirements of one framework that something serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The framework.
    pub framework: &'static Framework,
    /// Its own ids, in their natural order; none where the source only says that a control belongs
    /// to it.
    pub ids: Vec<String>,
}

/// What a framework asks for, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The controls of Security Hub that belong to it, and the checks of Prowler that no such control
    /// stands for; in their natural order.
    pub checks: Vec<Check>,
}

/// A check that belongs to a framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub control: ControlRef,
    /// The framework's requirements that it looks at.
    pub requirements: Vec<String>,
    /// What is done about it.
    pub answer: Answer,
}

/// What is done about a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These remediations fix it.
    Covered(Vec<String>),
    /// No program can fix it, for this reason.
    NotAutomatic(&'static str),
    /// Nobody has written the remediation yet.
    Missing,
}

/// The tables.
#[derive(Debug)]
pub struct Requirements {
    frameworks: Vec<Framework>,
    controls: BTreeMap<&'static str, Row>,
    checks: BTreeMap<&'static str, Row>,
    not_automatic: BTreeMap<&'static str, &'static str>,
}

/// What a table says of a control or a check.
#[derive(Debug, Default)]
struct Row {
    /// Cells that are not empty, by the framework's id.
    frameworks: BTreeMap<&'static str, &'static str>,
    /// Prowler's checks that stand for the control.
    prowler: Vec<&'static str>,
    retired: bool,
}

static EMBEDDED: LazyLock<Requirements> = LazyLock::new(|| Requirements {
    frameworks: rows(FRAMEWORKS)
        .map(|row| {
            let cell = |name| row.get(name).copied().filter(|cell| !cell.is_empty());
            Framework {
                id: cell("framework").unwrap_or_default(),
                title: cell("title").unwrap_or_default(),
                controls: cell("controls"),
                requirements: cell("requirements"),
            }
        })
        .collect(),
    controls: table(SECURITY_HUB, "control"),
    checks: table(PROWLER, "check"),
    not_automatic: rows(NOT_AUTOMATIC)
        .filter_map(|row| Some((*row.get("control")?, *row.get("why")?)))
        .collect(),
});

impl Requirements {
    /// The tables that Stanch ships, read when first asked for.
    #[must_use]
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// The frameworks, in the order of their table.
    #[must_use]
    pub fn frameworks(&self) -> &[Framework] {
        &self.frameworks
    }

    /// The framework `id`.
    #[must_use]
    pub fn framework(&self, id: &str) -> Option<&Framework> {
        self.frameworks.iter().find(|framework| framework.id == id)
    }

    /// Every control of Security Hub that AWS has now, in natural order.
    #[must_use]
    pub fn controls(&self) -> Vec<&'static str> {
        let mut ids: Vec<_> = self
            .controls
            .iter()
            .filter(|(_, row)| !row.retired)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_by(|a, b| natural(a, b));
        ids
    }

    /// True if Security Hub has, or had, a control of this id.
    #[must_use]
    pub fn knows(&self, control: &str) -> bool {
        self.controls.contains_key(control)
    }

    /// True if AWS has taken the control back.
    #[must_use]
    pub fn is_retired(&self, control: &str) -> bool {
        self.controls.get(control).is_some_and(|row| row.retired)
    }

    /// Every check of Prowler that the tables name.
    pub fn checks(&self) -> impl Iterator<Item = &'static str> {
        let of_controls = self.controls.values().flat_map(|row| row.prowler.iter());
        let all: BTreeSet<_> = self.checks.keys().chain(of_controls).copied().collect();
        all.into_iter()
    }

    /// Why nothing can fix findings of `control` by itself; none if nobody has said so.
    #[must_use]
    pub fn not_automatic(&self, control: &ControlRef) -> Option<&'static str> {
        let why = self.not_automatic.get(control.to_string().as_str());
        why.copied()
    }

    /// What a finding of `control` speaks of, by framework.
    #[must_use]
    pub fn of_control(&'static self, control: &ControlRef) -> Vec<Mapping> {
        self.mappings(|framework| self.ids(control, framework))
    }

    /// What `remediation` serves: the requirements of every check that it claims, and those that its
    /// file names.
    #[must_use]
    pub fn of(&'static self, remediation: &Remediation) -> Vec<Mapping> {
        self.mappings(|framework| {
            let mut all: Option<BTreeSet<String>> = None;
            for control in &remediation.controls {
                if control.framework == framework.id {
                    all.get_or_insert_default().insert(control.id.clone());
                } else if let Some(ids) = control
                    .reference()
                    .and_then(|reference| self.ids(&reference, framework))
                {
                    all.get_or_insert_default().extend(ids);
                }
            }
            all
        })
    }

    /// What is done about everything that `framework` asks for; about every control of Security Hub
    /// if none is given.
    #[must_use]
    pub fn coverage(&self, framework: Option<&Framework>, catalog: &Catalog) -> Coverage {
        let mut checks = Vec::new();
        let mut spoken_for: BTreeSet<&str> = BTreeSet::new();
        for id in self.controls() {
            let control = ControlRef::SecurityHub(id.to_owned());
            let ids = match framework {
                Some(framework) => self.ids(&control, framework),
                None => Some(BTreeSet::new()),
            };
            if let (Some(ids), Some(row)) = (ids, self.controls.get(id)) {
                spoken_for.extend(row.prowler.iter().copied());
                checks.push(self.check(control, ids, catalog));
            }
        }
        // Where AWS says which controls belong to a framework, nothing else does.
        for (check, row) in &self.checks {
            let only_here = framework.filter(|framework| {
                framework.controls.is_none()
                    && row.frameworks.contains_key(framework.id)
                    && !spoken_for.contains(*check)
            });
            if let Some(framework) = only_here {
                let control = ControlRef::Prowler((*check).to_owned());
                let ids = self.ids(&control, framework).unwrap_or_default();
                checks.push(self.check(control, ids, catalog));
            }
        }
        Coverage { checks }
    }

    fn check(&self, control: ControlRef, ids: BTreeSet<String>, catalog: &Catalog) -> Check {
        let fixes = catalog.of_control(&control);
        let answer = if !fixes.is_empty() {
            Answer::Covered(fixes.iter().map(|one| one.name.clone()).collect())
        } else if let Some(why) = self.not_automatic(&control) {
            Answer::NotAutomatic(why)
        } else {
            Answer::Missing
        };
        Check {
            control,
            requirements: in_order(ids),
            answer,
        }
    }

    fn mappings(
        &'static self,
        ids: impl Fn(&'static Framework) -> Option<BTreeSet<String>>,
    ) -> Vec<Mapping> {
        self.frameworks
            .iter()
            .filter_map(|framework| {
                Some(Mapping {
                    framework,
                    ids: in_order(ids(framework)?),
                })
            })
            .collect()
    }

    /// The requirements of `framework` that a check looks at; none if it does not belong to it. A
    /// control of Security Hub that AWS does not count to a framework does not belong to it, whatever
    /// others think of the checks that stand for it.
    fn ids(&self, control: &ControlRef, framework: &Framework) -> Option<BTreeSet<String>> {
        match control {
            ControlRef::SecurityHub(id) => {
                let row = self.controls.get(id.as_str())?;
                let cell = row.frameworks.get(framework.id);
                if framework.controls.is_some() {
                    cell?;
                }
                let mut ids: BTreeSet<String> = cell.map(|cell| split(cell)).unwrap_or_default();
                for check in &row.prowler {
                    ids.extend(self.of_check(check, framework).unwrap_or_default());
                }
                (cell.is_some() || !ids.is_empty()).then_some(ids)
            }
            ControlRef::Prowler(check) => self.of_check(check, framework),
            _ => None,
        }
    }

    fn of_check(&self, check: &str, framework: &Framework) -> Option<BTreeSet<String>> {
        let row = self.checks.get(check)?;
        row.frameworks.get(framework.id).map(|cell| split(cell))
    }
}

/// Ids in the order in which people count: `1.9` before `1.10`, `S3.8` before `S3.19`.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<(bool, u64, String)> = Vec::new();
        for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            let rest = part.trim_start_matches(digits).to_ascii_lowercase();
            parts.push((digits.is_empty(), digits.parse().unwrap_or(0), rest));
        }
        parts
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

fn in_order(ids: BTreeSet<String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().collect();
    ids.sort_by(|a, b| natural(a, b));
    ids
}

/// The ids in a cell; `*` stands for none that is known.
fn split(cell: &str) -> BTreeSet<String> {
    cell.split(' ')
        .filter(|id| *id != "*")
        .map(str::to_owned)
        .collect()
}

fn table(text: &'static str, key: &str) -> BTreeMap<&'static str, Row> {
    rows(text)
        .filter_map(|mut cells| {
            let id = cells.remove(key)?;
            let list = |cell: &'static str| cell.split(' ').filter(|check| !check.is_empty());
            let row = Row {
                prowler: cells
                    .remove("prowler")
                    .map_or_else(Vec::new, |cell| list(cell).collect()),
                retired: cells.remove("retired").is_some_and(|cell| !cell.is_empty()),
                frameworks: cells
                    .into_iter()
                    .filter(|(_, cell)| !cell.is_empty())
                    .collect(),
            };
            Some((id, row))
        })
        .collect()
}

/// The rows of tab-separated values, by the headings of the columns. Lines that begin with `#` are
/// notes.
fn rows(text: &'static str) -> impl Iterator<Item = BTreeMap<&'static str, &'static str>> {
    let mut lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let headings: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.map(move |line| headings.iter().copied().zip(line.split('\t')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(control: &str, framework: &str) -> Option<Vec<String>> {
        Requirements::embedded()
            .of_control(&control.parse().unwrap())
            .into_iter()
            .find(|mapping| mapping.framework.id == framework)
            .map(|mapping| mapping.ids)
    }

    #[test]
    fn a_control_is_mapped_where_its_sources_say_so() {
        assert_eq!(ids("S3.8", "cis-3.0.0"), Some(vec!["2.1.4".to_owned()]));
        assert_eq!(ids("S3.8", "fsbp"), Some(vec![]));
        assert_eq!(ids("S3.8", "cis-1.2.0"), None);
        // By way of the checks of Prowler that stand for it.
        assert!(
            ids("IAM.7", "hipaa")
                .unwrap()
                .contains(&"164.312(d)".to_owned())
        );
        // AWS does not count it to NIST SP 800-53, though it counts a check that stands for it.
        assert_eq!(ids("CloudTrail.3", "nist-800-53-r5"), None);
        assert_eq!(ids("S3.999", "fsbp"), None);
    }

    #[test]
    fn the_tables_fit_together() {
        let tables = Requirements::embedded();
        for (id, row) in tables.controls.iter().chain(&tables.checks) {
            for framework in row.frameworks.keys() {
                assert!(tables.framework(framework).is_some(), "{id}: {framework}");
            }
        }
        for control in tables.controls.keys() {
            assert_eq!(
                control.parse::<ControlRef>(),
                Ok(ControlRef::SecurityHub((*control).to_owned()))
            );
        }
        for (control, why) in &tables.not_automatic {
            assert!(control.parse::<ControlRef>().is_ok(), "{control}");
            assert!(!why.is_empty(), "{control}");
        }
        assert!(tables.controls().len() > 500 && tables.checks.len() > 300);
    }

    #[test]
    fn ids_are_ordered_as_people_count() {
        let mut ids = [
            "1.10", "1.9", "S3.19", "S3.8", "AC-2(10)", "AC-2(9)", "AC-2", "10.2",
        ];
        ids.sort_by(|a, b| natural(a, b));
        assert_eq!(
            ids,
            [
                "1.9", "1.10", "10.2", "AC-2", "AC-2(9)", "AC-2(10)", "S3.8", "S3.19"
            ]
        );
    }
}
