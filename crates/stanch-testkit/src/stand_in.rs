//! Answers for what neither emulator has.
//!
//! `data/stand-ins.json` is the whole list: services, each with its reason, and what each operation
//! does to the documents that a store keeps by account and region. A request is held against the API
//! model before it is answered. A test fails when an emulator has caught up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stanch_types::{
    AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Scope, Sessions,
};

use crate::{Maker, has, models};

static LIST: &str = include_str!("../data/stand-ins.json");

/// Operations that are not an emulator's to answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandIn {
    /// botocore's name of the service.
    pub service: String,
    /// What the emulators lack.
    pub because: String,
    /// The remediations that need it; all that call its operations if there are none.
    #[serde(default)]
    pub only: Vec<String>,
    /// The emulator that `mend.py` adds the operations to, where its own resources are what they change;
    /// else the store beside it answers.
    #[serde(default)]
    pub taught: Option<Maker>,
    /// What each operation does; nothing for those that an emulator is taught.
    pub operations: BTreeMap<String, Option<Effect>>,
}

impl StandIn {
    /// Whether it can play beside this emulator.
    #[must_use]
    pub fn plays_with(&self, maker: Maker) -> bool {
        self.taught.is_none_or(|taught| taught == maker)
    }

    /// Whether it is for this remediation, and the emulator lacks one of the operations. It then
    /// answers none of them: their documents belong together.
    #[must_use]
    pub fn is_needed(&self, maker: Maker, remediation: &str) -> bool {
        let mut operations = self.operations.keys();
        (self.only.is_empty() || self.only.iter().any(|name| name == remediation))
            && operations.any(|operation| !has(maker, &self.service, operation, remediation))
    }
}

/// What an operation does to the documents of its kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The kind of document.
    of: String,
    #[serde(rename = "do")]
    deed: Deed,
    /// The member of the input that names the document, by its id or its ARN, or several between bars;
    /// none where there is one of the kind. What lists may be asked for several, as a list.
    #[serde(default)]
    key: String,
    /// Members that a new document gets besides those of the input, over `{account}`, `{region}`,
    /// `{partition}`, `{uuid}` and the like (of its own) and members of the input. The one of its kind
    /// has them before anything was done to it.
    #[serde(default)]
    new: Map<String, Value>,
    /// Members of the document that get these values.
    #[serde(default)]
    set: Map<String, Value>,
    /// The value in the input that takes a member away.
    #[serde(default)]
    unset: Option<String>,
    /// Members of the input that the document names otherwise.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// Member of the output, and member of the document; `.` is all of it.
    #[serde(default)]
    answer: BTreeMap<String, String>,
    /// The member of the output that lists the documents, each whole if there is no `answer`.
    #[serde(default)]
    list: String,
    /// For tags: the member of the document, and of the input.
    #[serde(default)]
    tags: String,
    /// The error code when there is no such document. The one of its kind is always there without it.
    #[serde(default)]
    absent: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Keeps the input as a new document.
    Create,
    /// Changes the members that the input has.
    Update,
    /// Answers with it.
    Get,
    /// Answers with all of the kind, or with those that are asked for.
    List,
    /// Forgets it.
    Delete,
    /// Adds tags.
    Tag,
    /// Removes tags by their keys.
    Untag,
}

/// The whole list.
///
/// # Panics
/// The file is not what it should be; a test reads it.
#[must_use]
#[expect(clippy::expect_used, reason = "the list is part of this crate")]
pub fn stand_ins() -> &'static [StandIn] {
    static PARSED: OnceLock<Vec<StandIn>> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(LIST).expect("`stand-ins.json` is valid"))
}

/// The entry of the list for this operation, if there is one.
#[must_use]
pub fn stand_in(service: &str, operation: &str) -> Option<&'static StandIn> {
    stand_ins()
        .iter()
        .find(|entry| entry.service == service && entry.operations.contains_key(operation))
}

/// An emulator, with stand-ins for what it lacks of the operations that a remediation calls.
#[derive(Clone)]
pub struct Rounded {
    maker: Maker,
    remediation: String,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    /// By account, region, service and kind.
    documents: BTreeMap<[String; 4], Vec<Map<String, Value>>>,
    made: u64,
}

impl Rounded {
    /// The emulator of `maker`, with an empty store beside it, for one remediation.
    #[must_use]
    pub fn new(maker: Maker, remediation: &str) -> Self {
        Self {
            maker,
            remediation: remediation.to_owned(),
            store: Arc::default(),
        }
    }

    /// `api`, a session of the emulator, with the stand-ins.
    #[must_use]
    pub fn api(&self, api: Arc<dyn Api>, account: &AccountId, region: &Region) -> Arc<dyn Api> {
        Arc::new(RoundedApi {
            api,
            rounded: self.clone(),
            account: account.clone(),
            region: region.clone(),
        })
    }

    /// The same for all sessions that are opened.
    #[must_use]
    pub fn sessions(&self, sessions: Arc<dyn Sessions>) -> Arc<dyn Sessions> {
        Arc::new(RoundedSessions {
            sessions,
            rounded: self.clone(),
        })
    }
}

struct RoundedSessions {
    sessions: Arc<dyn Sessions>,
    rounded: Rounded,
}

#[async_trait]
impl Sessions for RoundedSessions {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        let api = self.sessions.open(scope).await?;
        Ok(self.rounded.api(api, &scope.account, &scope.region))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.sessions.role_arn(scope)
    }
}

struct RoundedApi {
    api: Arc<dyn Api>,
    rounded: Rounded,
    account: AccountId,
    region: Region,
}

#[async_trait]
impl Api for RoundedApi {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let (service, operation) = (call.service.as_str(), call.operation.as_str());
        let entry = stand_in(service, operation)
            .filter(|entry| entry.is_needed(self.rounded.maker, &self.rounded.remediation));
        let effect = entry.and_then(|entry| entry.operations.get(operation)?.as_ref());
        let Some(effect) = effect else {
            return self.api.call(call).await;
        };
        if let Some(problem) = misfit(call) {
            return Err(CallError::new(CallErrorKind::Invalid, call, problem));
        }
        let mut store = self
            .rounded
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        store.made += 1;
        let request_id = Some(format!("stand-in-{}", store.made));
        match self.answer(&mut store, effect, call) {
            Some(output) => Ok(Reply { output, request_id }),
            None => Err(CallError {
                code: effect.absent.clone(),
                ..CallError::new(CallErrorKind::Rejected, call, "there is no such resource")
            }),
        }
    }
}

impl RoundedApi {
    /// The output; nothing if the document is not there.
    fn answer(&self, store: &mut Store, effect: &Effect, call: &Call) -> Option<Value> {
        let number = store.made;
        let place = [
            self.account.to_string(),
            self.region.to_string(),
            call.service.clone(),
            effect.of.clone(),
        ];
        let documents = store.documents.entry(place).or_default();
        let empty = Map::new();
        let input = call.params.as_object().unwrap_or(&empty);
        let wanted = effect.key.split('|').find_map(|member| input.get(member));
        let tagged = |input: &Map<String, Value>| input.get(&effect.tags).cloned();
        match effect.deed {
            Deed::Create => {
                let mut document = input.clone();
                for (member, pattern) in &effect.new {
                    document.insert(member.clone(), self.filled(pattern, input, number));
                }
                documents.push(document.clone());
                return Some(shown(&document, &effect.answer));
            }
            Deed::List => {
                let listed = |document: &&Map<String, Value>| {
                    let Some(names) = wanted.and_then(Value::as_array) else {
                        return true;
                    };
                    document.values().any(|value| names.contains(value))
                };
                let all: Vec<Value> = documents
                    .iter()
                    .filter(listed)
                    .map(|document| {
                        if effect.answer.is_empty() {
                            Value::Object(document.clone())
                        } else {
                            shown(document, &effect.answer)
                        }
                    })
                    .collect();
                let is_gone = all.is_empty() && wanted.is_some() && !effect.absent.is_empty();
                return (!is_gone).then(|| json!({ &effect.list: all }));
            }
            Deed::Get | Deed::Update | Deed::Delete | Deed::Tag | Deed::Untag => {}
        }
        if effect.key.is_empty() && effect.absent.is_empty() && documents.is_empty() {
            documents.push(effect.new.clone());
        }
        let named = |document: &Map<String, Value>| {
            effect.key.is_empty() || document.values().any(|value| Some(value) == wanted)
        };
        let index = documents.iter().position(named)?;
        let document = documents.get_mut(index)?;
        match effect.deed {
            Deed::Update => {
                for (name, value) in input {
                    let name = effect.rename.get(name).unwrap_or(name);
                    if effect.unset.as_deref().is_some_and(|unset| value == unset) {
                        document.remove(name);
                    } else {
                        document.insert(name.clone(), value.clone());
                    }
                }
                document.extend(effect.set.clone());
            }
            Deed::Tag => {
                let member = tags_of(document, &effect.tags);
                add_tags(document.entry(member).or_insert(json!({})), tagged(input)?);
            }
            Deed::Untag => {
                // Some name the tags, some their keys.
                let named = tagged(input)?;
                let keys = named.as_array().into_iter().flatten();
                let keys: Vec<Value> = keys.map(|tag| key_of(tag).unwrap_or(tag).clone()).collect();
                for value in document.values_mut() {
                    drop_tags(value, &keys);
                }
            }
            Deed::Delete => {
                documents.remove(index);
                return Some(json!({}));
            }
            Deed::Create | Deed::Get | Deed::List => {}
        }
        let document = documents.get(index)?;
        Some(shown(document, &effect.answer))
    }

    fn filled(&self, pattern: &Value, input: &Map<String, Value>, number: u64) -> Value {
        let Some(pattern) = pattern.as_str() else {
            return pattern.clone();
        };
        let mut text = pattern
            .replace("{account}", self.account.as_str())
            .replace("{region}", self.region.as_str())
            .replace("{partition}", &self.region.partition().to_string())
            .replace("{uuid}", &uuid::Uuid::from_u128(number.into()).to_string());
        for digits in [12, 13, 17, 32] {
            text = text.replace(&format!("{{hex{digits}}}"), &format!("{number:0digits$x}"));
        }
        for (member, value) in input {
            if let Some(value) = value.as_str() {
                text = text.replace(&format!("{{{member}}}"), value);
            }
        }
        Value::String(text)
    }
}

/// The member of a document that is its tags: as the creating call named them.
fn tags_of(document: &Map<String, Value>, named: &str) -> String {
    let is_tags = |name: &&String| name.eq_ignore_ascii_case("tags");
    let found = document.keys().find(is_tags);
    found.cloned().unwrap_or_else(|| named.to_owned())
}

fn shown(document: &Map<String, Value>, answer: &BTreeMap<String, String>) -> Value {
    let members = answer.iter().filter_map(|(output, member)| {
        let value = match member.as_str() {
            "." => Some(Value::Object(document.clone())),
            member => {
                let mut members = document.iter();
                let found = members.find(|(name, _)| name.eq_ignore_ascii_case(member));
                found.map(|(_, value)| value.clone())
            }
        };
        Some((output.clone(), value?))
    });
    Value::Object(members.collect())
}

/// Tags are a map, or a list of keys and values.
fn add_tags(kept: &mut Value, added: Value) {
    match added {
        Value::Object(added) => {
            if let Some(kept) = kept.as_object_mut() {
                kept.extend(added);
            }
        }
        Value::Array(added) => {
            let keys: Vec<Value> = added
                .iter()
                .filter_map(|tag| key_of(tag).cloned())
                .collect();
            if !kept.is_array() {
                *kept = json!([]);
            }
            drop_tags(kept, &keys);
            if let Some(kept) = kept.as_array_mut() {
                kept.extend(added);
            }
        }
        _ => {}
    }
}

fn drop_tags(kept: &mut Value, keys: &[Value]) {
    match kept {
        Value::Object(kept) => {
            kept.retain(|key, _| !keys.iter().any(|dropped| dropped.as_str() == Some(key)));
        }
        Value::Array(kept) => kept.retain(|tag| key_of(tag).is_none_or(|key| !keys.contains(key))),
        _ => {}
    }
}

fn key_of(tag: &Value) -> Option<&Value> {
    ["Key", "key", "TagKey"]
        .iter()
        .find_map(|name| tag.get(name))
}

/// What of a call does not fit the API model.
fn misfit(call: &Call) -> Option<String> {
    let models = models();
    let resolved = match models.resolve(&call.service, &call.operation) {
        Ok(resolved) => resolved,
        Err(error) => return Some(error.to_string()),
    };
    let problems = stanch_models::validate(&resolved.service, resolved.operation(), &call.params);
    problems.first().map(ToString::to_string)
}
