//! What will be there, and what it costs a month.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use stanch_syntax::Limits;

use crate::File;

const PRICES: &str = include_str!("../data/prices.tsv");
const USAGE: &str = include_str!("../data/usage.tsv");

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// Member accounts.
    pub accounts: u32,
    /// Regions, in each of which a member account has a stack.
    pub regions: u32,
    /// Remediations a month, over all accounts.
    pub remediations: u32,
}

/// Resources of one type in one template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The template.
    pub template: String,
    /// `AWS::KMS::Key`.
    pub kind: String,
    /// How many there will be, over all accounts and regions, with the parameters' defaults.
    pub count: u64,
    /// How many more in each stack if their conditions were true.
    pub optional: u64,
}

/// What is paid for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The resource type, or what is used.
    pub item: String,
    /// How many units a month.
    pub quantity: f64,
    /// The unit.
    pub unit: String,
    /// US dollars a unit.
    pub each: f64,
    /// US dollars a month.
    pub monthly: f64,
    /// It depends on how much is remediated.
    pub by_use: bool,
    /// The day on which the price was written down.
    pub as_of: String,
    /// Where the price is from.
    pub source: String,
}

/// What is paid for, and whether it was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Charge {
    /// What is paid for.
    #[serde(flatten)]
    pub cost: Cost,
    /// The quantity was counted; else it is the usual one (`data/usage.tsv`).
    pub counted: bool,
}

/// What will be there, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// How much there is of everything.
    pub scale: Scale,
    /// Resources, by template and type.
    pub resources: Vec<Line>,
    /// What is paid for.
    pub costs: Vec<Cost>,
    /// US dollars a month when nothing happens.
    pub idle: f64,
    /// US dollars a month in all.
    pub monthly: f64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A template that is not ours.
    #[error("`{name}`, line {line}: {message}")]
    Template {
        /// The file.
        name: String,
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A price or a quantity is not a number.
    #[error("the line `{0}` of a price table is not complete")]
    Table(String),
}

/// Stacks that are deployed once, beside those of member accounts. What is in
/// `administrator-options.yaml` is off by default.
const MEMBER: &str = "member-";

/// What rendered templates make, with their parameters' defaults.
///
/// # Errors
/// A template or table cannot be read.
pub fn plan(files: &[File], scale: Scale) -> Result<Plan, PlanError> {
    let prices = Prices::embedded()?;
    let mut resources = Vec::new();
    let mut units: BTreeMap<String, f64> = BTreeMap::new();
    for file in files.iter().filter(|file| file.name.ends_with(".yaml")) {
        let template = read(file)?;
        let mut counted: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let places: &[(&str, u32)] = match file.name.starts_with(MEMBER) {
            true => &[
                ("us-east-1", scale.accounts),
                ("", scale.accounts * scale.regions.saturating_sub(1)),
            ],
            false => &[("us-east-1", 1)],
        };
        let whole = Template(&template);
        for (_, resource) in whole.members("Resources") {
            let kind = resource
                .get("Type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let condition = resource.get("Condition").and_then(Value::as_str);
            let entry = counted.entry(kind.to_owned()).or_default();
            let mut anywhere = false;
            for (region, stacks) in places {
                if condition.is_none_or(|name| whole.holds(name, region)) {
                    anywhere = true;
                    entry.0 += u64::from(*stacks);
                    if prices.0.contains_key(kind) {
                        *units.entry(kind.to_owned()).or_default() +=
                            f64::from(*stacks) * metered(resource);
                    }
                }
            }
            entry.1 += u64::from(!anywhere);
        }
        resources.extend(counted.into_iter().map(|(kind, (count, optional))| Line {
            template: file.name.clone(),
            kind,
            count,
            optional,
        }));
    }
    let mut costs: Vec<Cost> = units
        .into_iter()
        .filter_map(|(item, quantity)| Some(prices.0.get(&item)?.cost(item, quantity, false)))
        .collect();
    for (item, each) in usage()? {
        costs.push(prices.of(&item, each * f64::from(scale.remediations))?);
    }
    let sum = |of: &dyn Fn(&&Cost) -> bool| {
        costs
            .iter()
            .filter(|cost| of(cost))
            .map(|cost| cost.monthly)
            .sum()
    };
    Ok(Plan {
        scale,
        idle: sum(&|cost| !cost.by_use),
        monthly: sum(&|_| true),
        resources,
        costs,
    })
}

fn read(file: &File) -> Result<Value, PlanError> {
    let limits = Limits {
        nodes: 1_000_000,
        ..Limits::default()
    };
    let tree = stanch_syntax::read(&file.text, limits);
    tree.map(|tree| tree.to_json())
        .map_err(|wrong| PlanError::Template {
            name: file.name.clone(),
            line: wrong.at.line,
            message: wrong.message,
        })
}

/// How many units of its price a resource is: an alarm is paid by its metrics.
fn metered(resource: &Value) -> f64 {
    let metrics = resource
        .pointer("/Properties/Metrics")
        .and_then(Value::as_array);
    let stats = metrics.map_or(1, |metrics| {
        metrics
            .iter()
            .filter(|one| one.get("MetricStat").is_some())
            .count()
    });
    u32::try_from(stats).map_or(1.0, f64::from)
}

struct Price {
    usd: f64,
    unit: String,
    as_of: String,
    source: String,
}

impl Price {
    fn cost(&self, item: String, quantity: f64, by_use: bool) -> Cost {
        Cost {
            item,
            quantity,
            unit: self.unit.clone(),
            each: self.usd,
            monthly: quantity * self.usd,
            by_use,
            as_of: self.as_of.clone(),
            source: self.source.clone(),
        }
    }
}

/// What AWS asks for, by the dated table.
struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The built-in table.
    fn embedded() -> Result<Self, PlanError> {
        let price = |row: Vec<&str>| {
            let [item, usd, unit, as_of, source] = row[..] else {
                return Err(PlanError::Table(row.join(" ")));
            };
            let usd = usd.parse().map_err(|_| PlanError::Table(row.join(" ")))?;
            let own = str::to_owned;
            Ok((
                own(item),
                Price {
                    usd,
                    unit: own(unit),
                    as_of: own(as_of),
                    source: own(source),
                },
            ))
        };
        rows(PRICES).map(price).collect::<Result<_, _>>().map(Self)
    }

    /// What so much of an item costs.
    fn of(&self, item: &str, quantity: f64) -> Result<Cost, PlanError> {
        let price = self.0.get(item);
        let price = price.ok_or_else(|| PlanError::Table(item.to_owned()))?;
        Ok(price.cost(item.to_owned(), quantity, true))
    }
}

/// Prices what was counted of so many remediations, by item of the price table; what was not counted is
/// what so many use by design.
///
/// # Errors
/// A table is not complete, or something counted has no price.
pub fn charges(counted: &BTreeMap<&str, f64>, remediations: f64) -> Result<Vec<Charge>, PlanError> {
    let prices = Prices::embedded()?;
    let mut charges = Vec::new();
    let mut charge = |item: &str, quantity: f64, counted| {
        if quantity > 0.0 {
            let cost = prices.of(item, quantity)?;
            charges.push(Charge { cost, counted });
        }
        Ok(())
    };
    for (item, quantity) in counted {
        charge(item, *quantity, true)?;
    }
    for (item, each) in usage()? {
        if !counted.contains_key(&*item) {
            charge(&item, each * remediations, false)?;
        }
    }
    Ok(charges)
}

/// What one remediation uses by design: items of the price table, and how much of each.
fn usage() -> Result<Vec<(String, f64)>, PlanError> {
    let used = |row: Vec<&str>| {
        let broken = || PlanError::Table(row.join(" "));
        let [item, quantity, _] = row[..] else {
            return Err(broken());
        };
        Ok((item.to_owned(), quantity.parse().map_err(|_| broken())?))
    };
    rows(USAGE).map(used).collect()
}

/// The rows of a table below its comments and its head.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split('\t').collect())
}

/// A template, looked at with its parameters' defaults.
struct Template<'t>(&'t Value);

impl<'t> Template<'t> {
    fn members(&self, section: &str) -> impl Iterator<Item = (&'t String, &'t Value)> {
        self.0
            .get(section)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::iter)
    }

    /// Whether a condition is true in a region. What cannot be told, is not.
    fn holds(&self, condition: &str, region: &str) -> bool {
        let found = self
            .members("Conditions")
            .find(|(name, _)| *name == condition);
        found.is_some_and(|(_, rule)| self.is_true(rule, region))
    }

    fn is_true(&self, rule: &Value, region: &str) -> bool {
        let Some((function, about)) = rule.as_object().and_then(|members| members.iter().next())
        else {
            return false;
        };
        let list = about.as_array().map(Vec::as_slice).unwrap_or_default();
        match function.as_str() {
            "Condition" => about.as_str().is_some_and(|name| self.holds(name, region)),
            "Fn::And" => list.iter().all(|rule| self.is_true(rule, region)),
            "Fn::Or" => list.iter().any(|rule| self.is_true(rule, region)),
            "Fn::Not" => list.iter().all(|rule| !self.is_true(rule, region)),
            "Fn::Equals" => match list {
                [one, other] => {
                    let (one, other) = (self.text(one, region), self.text(other, region));
                    one.is_some() && one == other
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn text(&self, value: &Value, region: &str) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Object(members) => {
                let name = members.get("Ref")?.as_str()?;
                if name == "AWS::Region" {
                    return Some(region.to_owned());
                }
                let (_, parameter) = self
                    .members("Parameters")
                    .find(|(known, _)| *known == name)?;
                self.text(parameter.get("Default")?, region)
            }
            _ => None,
        }
    }
}
