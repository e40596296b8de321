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

/// Makes the calls of `example.given` in an account and region. With a `suffix` its buckets get that
/// at the end of their names: those must differ among all accounts.
pub async fn plant(
    api: &dyn Api,
    remediation: &Remediation,
    example: &Example,
    (account, region): (&AccountId, &Region),
    at: Timestamp,
    suffix: Option<&str>,
) -> Result<Planted, PlantError> {
    let mut scope = Scope::new();
    scope.set("account", &json!(account));
    scope.set("region", &json!(region));
    scope.set("partition", &json!(region.partition()));
    let buckets = Buckets {
        names: bucket_names(example, &scope)?,
        suffix: suffix.unwrap_or_default(),
        region,
    };
    for given in &example.given {
        let answer = ask(api, given, &scope, Some(&buckets)).await?;
        if !given.name.is_empty() {
            scope.set(&given.name, &answer);
        }
    }
    let render = |name: &str, template: &stanch_catalog::Template| {
        let rendered = template.render(&scope);
        let rendered = rendered.map_err(|source| PlantError::Render {
            name: name.to_owned(),
            source,
        })?;
        Ok::<Value, PlantError>(buckets.rename(rendered))
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
        answers.push(ask(api, given, scope, None).await?);
    }
    Ok(answers)
}

/// The buckets that an example makes.
struct Buckets<'a> {
    names: Vec<String>,
    suffix: &'a str,
    region: &'a Region,
}

fn bucket_names(example: &Example, scope: &Scope) -> Result<Vec<String>, PlantError> {
    let mut names = Vec::new();
    let made = |given: &&Given| given.service == "s3" && given.operation == "CreateBucket";
    for given in example.given.iter().filter(made) {
        let params = given
            .with
            .render(scope)
            .map_err(|source| PlantError::Render {
                name: "s3.CreateBucket".to_owned(),
                source,
            })?;
        names.extend(
            params
                .get("Bucket")
                .and_then(Value::as_str)
                .map(str::to_owned),
        );
    }
    Ok(names)
}

impl Buckets<'_> {
    fn place(&self, call: &mut Call) {
        call.params = self.rename(call.params.take());
        // The one region that must not be named.
        let elsewhere = self.region.as_str() != "us-east-1";
        if let (true, "s3", "CreateBucket", Some(params)) = (
            elsewhere,
            call.service.as_str(),
            call.operation.as_str(),
            call.params.as_object_mut(),
        ) {
            let here = json!({"LocationConstraint": self.region});
            params.insert("CreateBucketConfiguration".to_owned(), here);
        }
    }

    fn rename(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.rename_text(text)),
            Value::Array(items) => items.into_iter().map(|item| self.rename(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| (name, self.rename(member)))
                .collect(),
            other => other,
        }
    }

    /// Whole words only, so that `demo` leaves `demonstration` alone.
    fn rename_text(&self, text: String) -> String {
        if self.suffix.is_empty() {
            return text;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let mut renamed = String::with_capacity(text.len());
        let mut word = String::new();
        for character in text.chars().chain(['\0']) {
            if is_part(character) {
                word.push(character);
                continue;
            }
            renamed.push_str(&word);
            if self.names.contains(&word) {
                renamed.push_str(self.suffix);
            }
            word.clear();
            if character != '\0' {
                renamed.push(character);
            }
        }
        renamed
    }
}

async fn ask(
    api: &dyn Api,
    given: &Given,
    scope: &Scope,
    buckets: Option<&Buckets<'_>>,
) -> Result<Value, PlantError> {
    let name = || format!("{}.{}", given.service, given.operation);
    let params = given
        .with
        .render(scope)
        .map_err(|source| PlantError::Render {
            name: name(),
            source,
        })?;
    let mut call = Call::new(&given.service, &given.operation, params);
    if let Some(buckets) = buckets {
        buckets.place(&mut call);
    }
    let output = api.call(&call).await.map_err(Box::new)?.output;
    match &given.pick {
        None => Ok(output),
        Some(pick) => pick.pick(&output).map_err(|source| PlantError::Pick {
            name: name(),
            source,
        }),
    }
}
