//! Misconfigurations, planted as the catalog's examples say.

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::{Example, ExpressionError, Given, Remediation, Scope, TemplateError};
use stanch_types::{AccountId, Api, Call, CallError, Region};

use crate::Misconfiguration;

/// Why an example could not be planted.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// A call of `given` failed.
    #[error("planting failed")]
    Call(#[from] Box<CallError>),
    /// An input of `given` or the finding cannot be rendered.
    #[error("`{name}` cannot be rendered")]
    Render {
        /// The call or the part of the finding.
        name: String,
        /// Why.
        source: TemplateError,
    },
    /// The part of an answer that `pick` names cannot be found.
    #[error("`pick` of `{name}` fails")]
    Pick {
        /// The call.
        name: String,
        /// Why.
        source: ExpressionError,
    },
}

/// An example whose resources are there.
#[derive(Debug, Clone)]
pub struct Planted {
    /// What its finding says.
    pub misconfiguration: Misconfiguration,
    /// The names that its templates may use: `account`, `region`, `partition` and those of `given`.
    pub scope: Scope,
}

/// Makes the calls of `example.given` in an account and region.
pub async fn plant(
    api: &dyn Api,
    remediation: &Remediation,
    example: &Example,
    (account, region): (&AccountId, &Region),
    at: Timestamp,
) -> Result<Planted, PlantError> {
    let mut scope = Scope::new();
    scope.set("account", &json!(account));
    scope.set("region", &json!(region));
    scope.set("partition", &json!(region.partition()));
    for given in &example.given {
        let answer = ask(api, given, &scope).await?;
        if !given.name.is_empty() {
            scope.set(&given.name, &answer);
        }
    }
    let render = |name: &str, template: &stanch_catalog::Template| {
        template
            .render(&scope)
            .map_err(|source| PlantError::Render {
                name: name.to_owned(),
                source,
            })
    };
    let kind = example
        .resource_type
        .as_ref()
        .or(remediation.resources.first());
    let misconfiguration = Misconfiguration {
        account: account.clone(),
        region: region.clone(),
        control: example.control.clone(),
        resource_type: kind.cloned().unwrap_or_default(),
        resource_id: match render("finding.resource", &example.resource)? {
            Value::String(id) => id,
            other => other.to_string(),
        },
        details: render("finding.details", &example.details)?,
        at,
    };
    Ok(Planted {
        misconfiguration,
        scope,
    })
}

/// What the reads of `example.also` answer.
pub async fn also(
    api: &dyn Api,
    example: &Example,
    scope: &Scope,
) -> Result<Vec<Value>, PlantError> {
    let mut answers = Vec::new();
    for given in &example.also {
        answers.push(ask(api, given, scope).await?);
    }
    Ok(answers)
}

async fn ask(api: &dyn Api, given: &Given, scope: &Scope) -> Result<Value, PlantError> {
    let name = || format!("{}.{}", given.service, given.operation);
    let params = given
        .with
        .render(scope)
        .map_err(|source| PlantError::Render {
            name: name(),
            source,
        })?;
    let call = Call::new(&given.service, &given.operation, params);
    let output = api.call(&call).await.map_err(Box::new)?.output;
    match &given.pick {
        None => Ok(output),
        Some(pick) => pick.pick(&output).map_err(|source| PlantError::Pick {
            name: name(),
            source,
        }),
    }
}
