//! `stanch catalog coverage`: what the catalog fixes of each standard.

use serde_json::{Value, json};
use stanch_catalog::{Answer, Catalog, Check, Coverage, Framework, Requirements};

use crate::{
    output::{Color, Exit, Failure, Table, print, print_json},
    wire::Wire,
};

/// The name under which all controls of Security Hub are asked for.
const ALL: &str = "security-hub";

/// Shows the coverage of all standards in numbers, or of one control by control.
pub fn coverage(wire: &Wire, standard: Option<&str>) -> Result<Exit, Failure> {
    let (catalog, tables) = (wire.unproved_catalog()?, Requirements::embedded());
    match standard {
        None => overview(wire, &catalog, tables),
        Some(ALL) => one(wire, &tables.coverage(None, &catalog)),
        Some(id) => match tables.framework(id) {
            Some(framework) => one(wire, &tables.coverage(Some(framework), &catalog)),
            None => {
                let ids: Vec<&str> = tables.frameworks().iter().map(|one| one.id).collect();
                Err(Failure::usage(format!("there is no standard `{id}`"))
                    .hint(format!("there are {ALL}, {}", ids.join(", "))))
            }
        },
    }
}

fn overview(wire: &Wire, catalog: &Catalog, tables: &Requirements) -> Result<Exit, Failure> {
    let frameworks = tables.frameworks().iter().map(Some);
    let counted: Vec<(Option<&Framework>, Counts)> = std::iter::once(None)
        .chain(frameworks)
        .map(|framework| (framework, Counts::of(&tables.coverage(framework, catalog))))
        .collect();
    let id = |framework: Option<&Framework>| framework.map_or(ALL, |one| one.id);
    let title = |framework: Option<&Framework>| {
        framework.map_or("Every control of Security Hub", |one| one.title)
    };
    if wire.json {
        let all: Vec<Value> = counted
            .iter()
            .map(|(framework, counts)| {
                json!({
                    "standard": id(*framework),
                    "title": title(*framework),
                    "checks": counts.all(),
                    "covered": counts.covered,
                    "not_automatic": counts.not_automatic,
                    "missing": counts.missing,
                })
            })
            .collect();
        print_json(&all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new([
        "STANDARD",
        "CHECKS",
        "COVERED",
        "NOT AUTOMATIC",
        "MISSING",
        "TITLE",
    ]);
    for (framework, counts) in &counted {
        table.row([
            id(*framework).to_owned(),
            counts.all().to_string(),
            counts.covered.to_string(),
            counts.not_automatic.to_string(),
            counts.missing.to_string(),
            title(*framework).to_owned(),
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(Exit::Done)
}

#[derive(Default)]
struct Counts {
    covered: usize,
    not_automatic: usize,
    missing: usize,
}

impl Counts {
    fn of(coverage: &Coverage) -> Self {
        let mut counts = Self::default();
        for check in &coverage.checks {
            match check.answer {
                Answer::Covered(_) => counts.covered += 1,
                Answer::NotAutomatic(_) => counts.not_automatic += 1,
                Answer::Missing => counts.missing += 1,
            }
        }
        counts
    }

    const fn all(&self) -> usize {
        self.covered + self.not_automatic + self.missing
    }
}

fn one(wire: &Wire, coverage: &Coverage) -> Result<Exit, Failure> {
    if wire.json {
        let all: Vec<Value> = coverage.checks.iter().map(to_json).collect();
        print_json(&all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["CONTROL", "REQUIREMENTS", "STATE", "FIX"]);
    for check in &coverage.checks {
        let (state, fix) = match &check.answer {
            Answer::Covered(names) => ("covered", names.join(", ")),
            Answer::NotAutomatic(why) => ("not automatic", (*why).to_owned()),
            Answer::Missing => ("missing", String::new()),
        };
        let control = check.control.to_string();
        table.row([
            control,
            shortened(&check.requirements),
            state.to_owned(),
            fix,
        ]);
    }
    print(table.render(Color::out()))?;
    Ok(Exit::Done)
}

/// As many ids as fit beside the rest; JSON has them all.
fn shortened(ids: &[String]) -> String {
    const SHOWN: usize = 4;
    match ids.get(..SHOWN) {
        Some(first) if ids.len() > SHOWN => format!("{} +{}", first.join(" "), ids.len() - SHOWN),
        _ => ids.join(" "),
    }
}

fn to_json(check: &Check) -> Value {
    let (state, names, why) = match &check.answer {
        Answer::Covered(names) => ("covered", names.as_slice(), None),
        Answer::NotAutomatic(why) => ("not-automatic", &[][..], Some(why)),
        Answer::Missing => ("missing", &[][..], None),
    };
    json!({
        "control": check.control,
        "requirements": check.requirements,
        "state": state,
        "remediations": names,
        "because": why,
    })
}
