//! What references find.

use std::collections::HashMap;

use indexmap::IndexMap;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::{
    Document, Options, Reference, Type,
    parameters::convert,
    reference::{Found, Global, Lookup},
};

/// What references find at a point of an execution.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    parameters: IndexMap<String, Found>,
    outputs: HashMap<(String, String), Found>,
    variables: IndexMap<String, (Type, Found)>,
    account: Option<String>,
    region: Option<stanch_types::Region>,
    execution: String,
    now: Timestamp,
}

impl Scope {
    pub fn new(
        document: &Document,
        parameters: IndexMap<String, Found>,
        options: &Options,
        execution: String,
        now: Timestamp,
    ) -> Self {
        let variables = document
            .variables
            .iter()
            .map(|(name, variable)| {
                let value = variable
                    .default
                    .as_ref()
                    .and_then(|default| convert(default, variable.kind));
                (
                    name.clone(),
                    (variable.kind, value.map_or(Found::Unset, Found::Value)),
                )
            })
            .collect();
        Self {
            parameters,
            outputs: HashMap::new(),
            variables,
            account: options.account.as_ref().map(ToString::to_string),
            region: options.region.clone(),
            execution,
            now,
        }
    }

    /// Times are those of the moment a step starts.
    pub const fn at(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn set(&mut self, step: &str, name: &str, value: Found) {
        self.outputs
            .insert((step.to_owned(), name.to_owned()), value);
    }

    pub fn variable(&self, name: &str) -> Option<&(Type, Found)> {
        self.variables.get(name)
    }

    pub fn variables(&self) -> impl Iterator<Item = (&String, &Found)> {
        self.variables
            .iter()
            .map(|(name, (_, value))| (name, value))
    }

    pub fn assign(&mut self, name: &str, value: Found) {
        if let Some((_, slot)) = self.variables.get_mut(name) {
            *slot = value;
        }
    }
}

impl Lookup for Scope {
    fn find(&self, reference: &Reference) -> Found {
        let text = |text: Option<String>| {
            text.map_or(Found::Unset, |text| Found::Value(Value::String(text)))
        };
        let time = |format: &str| {
            text(Some(
                self.now
                    .to_zoned(TimeZone::UTC)
                    .strftime(format)
                    .to_string(),
            ))
        };
        match reference {
            Reference::Parameter(name) => {
                self.parameters.get(name).cloned().unwrap_or(Found::Unset)
            }
            Reference::Output { step, name } => self
                .outputs
                .get(&(step.clone(), name.clone()))
                .cloned()
                .unwrap_or(Found::Unset),
            Reference::Variable(name) => self
                .variables
                .get(name)
                .map_or(Found::Unset, |(_, value)| value.clone()),
            Reference::ExecutionId => text(Some(self.execution.clone())),
            Reference::Global(Global::AccountId) => text(self.account.clone()),
            Reference::Global(Global::Region) => {
                text(self.region.as_ref().map(ToString::to_string))
            }
            Reference::Global(Global::Partition) => text(
                self.region
                    .as_ref()
                    .map(|region| region.partition().to_string()),
            ),
            Reference::Global(Global::Date) => time("%Y-%m-%d"),
            Reference::Global(Global::DateTime) => time("%Y-%m-%d_%H.%M.%S"),
        }
    }
}
