//! A case as policies see it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entities, EntityUid, Request, RestrictedExpression as Expression};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;
use stanch_catalog::{Class, FactType};

use crate::{
    calendar::Calendar,
    guard::Placement,
    history::{By, Counts},
    policies::{Policies, Ruling, Run, Types, context, entity, record, uid},
};

/// Who set it off.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    Person {
        name: String,
        mfa: bool,
        roles: BTreeSet<String>,
    },
    Source(String),
}

/// All that policies may decide by.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) principal: Principal,
    pub(crate) action: String,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) class: Class,
    pub(crate) resource: String,
    pub(crate) resource_type: String,
    pub(crate) region: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) account: String,
    pub(crate) placement: Placement,
    pub(crate) control: String,
    pub(crate) controls: BTreeSet<String>,
    pub(crate) severity: Option<i64>,
    pub(crate) age: Option<SignedDuration>,
    pub(crate) now: Timestamp,
    pub(crate) undo: bool,
    /// Which calendars are open, in their order.
    pub(crate) open: Vec<bool>,
    pub(crate) counts: Counts,
    pub(crate) impact: Vec<(String, FactType, Value)>,
    pub(crate) threats: BTreeSet<String>,
}

impl Facts {
    /// The same at another time.
    pub(crate) fn at(&self, now: Timestamp, calendars: &[Calendar]) -> Self {
        Self {
            age: self.age.map(|age| age + now.duration_since(self.now)),
            now,
            open: calendars
                .iter()
                .map(|calendar| calendar.is_open(now))
                .collect(),
            ..self.clone()
        }
    }

    /// Something is lost by it for good: with somebody's approval, or not at all.
    pub(crate) fn is_lost(&self) -> bool {
        self.class == Class::Destructive && !self.undo
    }

    /// The case in Cedar's terms, of which all questions are made.
    pub(crate) fn terms(&self) -> Result<Terms<'_>, String> {
        let types = Types::get();
        let none = BTreeMap::new();
        let mut entities = Vec::new();

        let (principal, attributes, roles) = match &self.principal {
            Principal::Person { name, mfa, roles } => (
                uid(&types.person, name),
                Some(("mfa", Expression::new_bool(*mfa))),
                roles.iter().map(|role| uid(&types.role, role)).collect(),
            ),
            Principal::Source(name) => (uid(&types.source, name), None, Vec::new()),
        };
        entities.push(entity(principal.clone(), attributes, roles, &none)?);

        let action = uid(&types.action, &self.action);
        let groups = self.groups.iter().map(|group| uid(&types.action, group));
        entities.push(entity(action.clone(), [], groups, &none)?);

        let account = uid(&types.account, &self.account);
        let units = self.placement.ou.iter().map(|path| uid(&types.unit, path));
        let tags = self.placement.tags.as_ref().unwrap_or(&none);
        entities.push(entity(account.clone(), [], units, tags)?);
        let mut below = self.placement.ou.as_deref().unwrap_or_default();
        while let Some((above, _)) = below.rsplit_once('/') {
            let unit = uid(&types.unit, below);
            entities.push(entity(unit, [], [uid(&types.unit, above)], &none)?);
            below = above;
        }

        let resource = uid(&types.resource, &self.resource);
        let kind = uid(&types.resource_type, &self.resource_type);
        let attributes = [
            ("account", Expression::new_entity_uid(account.clone())),
            ("type", Expression::new_entity_uid(kind)),
            ("region", Expression::new_string(self.region.clone())),
            ("tagsKnown", Expression::new_bool(!self.tags.is_empty())),
        ];
        entities.push(entity(resource.clone(), attributes, [account], &self.tags)?);

        Ok(Terms {
            facts: self,
            principal,
            action,
            resource,
            entities: Entities::from_entities(entities, None).map_err(|e| e.to_string())?,
        })
    }

    fn context(
        &self,
        run: Run,
        calendars: &[Calendar],
    ) -> Result<Vec<(String, Expression)>, String> {
        let now = self.now.to_zoned(TimeZone::UTC);
        let states = calendars.iter().zip(&self.open);
        let calendars = states
            .map(|(calendar, open)| (calendar.name().to_owned(), Expression::new_bool(*open)))
            .chain([(
                "open".to_owned(),
                Expression::new_bool(self.open.iter().all(|open| *open)),
            )]);
        let today = By::ALL.map(|by| {
            let count = Expression::new_long(self.counts.day(by).into());
            (by.name().to_owned(), count)
        });
        let mut members =
            vec![
                (
                    "run",
                    Expression::new_entity_uid(uid(&Types::get().run, run.name())),
                ),
                ("control", Expression::new_string(self.control.clone())),
                ("controls", texts(&self.controls)),
                ("undo", Expression::new_bool(self.undo)),
                ("now", datetime(self.now)),
                ("hour", Expression::new_long(now.hour().into())),
                (
                    "weekday",
                    Expression::new_long(now.weekday().to_monday_one_offset().into()),
                ),
                ("calendars", record(calendars)?),
                ("today", record(today)?),
                (
                    "impact",
                    record(self.impact.iter().filter_map(|(name, kind, fact)| {
                        Some((name.clone(), value(*kind, fact)?))
                    }))?,
                ),
                ("threats", texts(&self.threats)),
            ];
        if let Some(severity) = self.severity {
            members.push(("severity", Expression::new_long(severity)));
        }
        if let Some(age) = self.age {
            let age = Expression::new_duration(format!("{}ms", age.as_millis()));
            members.push(("age", age));
        }
        let named = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Ok(named.collect())
    }
}

/// What the questions about a case have in common.
pub(crate) struct Terms<'f> {
    facts: &'f Facts,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(crate) entities: Entities,
}

impl Terms<'_> {
    /// What the policies say to a question.
    pub(crate) fn ask(&self, policies: &Policies, run: Run, calendars: &[Calendar]) -> Ruling {
        match self.request(run, calendars) {
            Ok(request) => policies.ask(run, &request, &self.entities),
            Err(error) => Ruling::unasked(error),
        }
    }

    pub(crate) fn request(&self, run: Run, calendars: &[Calendar]) -> Result<Request, String> {
        let context = context(self.facts.context(run, calendars)?)?;
        let (principal, action) = (self.principal.clone(), self.action.clone());
        let request = Request::new(principal, action, self.resource.clone(), context, None);
        request.map_err(|error| error.to_string())
    }
}

fn texts(texts: &BTreeSet<String>) -> Expression {
    Expression::new_set(texts.iter().cloned().map(Expression::new_string))
}

fn datetime(at: Timestamp) -> Expression {
    Expression::new_datetime(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A fact as Cedar has it. What is of another type than its probe says is not there.
fn value(kind: FactType, fact: &Value) -> Option<Expression> {
    let text = |fact: &Value| fact.as_str().map(str::to_owned);
    Some(match kind {
        FactType::Boolean => Expression::new_bool(fact.as_bool()?),
        FactType::Integer => Expression::new_long(fact.as_i64()?),
        FactType::String => Expression::new_string(text(fact)?),
        FactType::Timestamp => datetime(text(fact)?.parse().ok()?),
        FactType::StringList => {
            let items = fact.as_array()?.iter().filter_map(text);
            Expression::new_set(items.map(Expression::new_string))
        }
    })
}
