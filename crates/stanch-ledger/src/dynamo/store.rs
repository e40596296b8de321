//! The calls, and what it means when one fails.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use stanch_types::{Api, Call, CallError, CallErrorKind};
use uuid::Uuid;

use super::{Tables, item::Item};
use crate::{Digest, LedgerError, StoreFault};

/// The code of a condition that did not hold.
const CONDITION: &str = "ConditionalCheckFailedException";

/// An item is at most 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>); beside the
/// contents there are names, hashes and what the item says of its finding.
const SPILL: usize = 350_000;

/// The most bytes that contents are believed to unfold to.
const MOST: u64 = 64 << 20;

/// Speaks to the tables and the bucket.
pub(super) struct Store {
    pub(super) api: Arc<dyn Api>,
    pub(super) tables: Tables,
}

/// A question to a table or an index.
pub(super) struct Ask<'a> {
    pub(super) table: &'a str,
    pub(super) index: Option<&'a str>,
    pub(super) condition: &'a str,
    pub(super) values: Map<String, Value>,
    pub(super) forward: bool,
    pub(super) limit: Option<u32>,
}

/// Some of the items that a question asks for.
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    /// Where the rest begins.
    pub(super) rest: Option<Value>,
}

/// What came of a write with a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is stored.
    Done,
    /// The condition did not hold, and nothing was changed.
    Refused,
}

/// What an update answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returns {
    /// No more than that it was made.
    Nothing,
    /// The item as it was before; an empty one if there was none.
    Before,
}

/// The values of an expression.
pub(super) fn values<const N: usize>(values: [(&str, Value); N]) -> Map<String, Value> {
    let named = values.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// It is what is stored that is wrong, and not the way to it.
pub(super) const fn is_damage(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Store {
            fault: StoreFault::Damaged,
            ..
        }
    )
}

/// What `#Name` stands for in expressions: many names are reserved words, so all are written like this.
fn names(expressions: &[&str]) -> Option<(String, Value)> {
    let mut names = Map::new();
    for expression in expressions {
        for rest in expression.split('#').skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
            let name = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
            names.insert(format!("#{name}"), json!(name));
        }
    }
    (!names.is_empty()).then(|| ("ExpressionAttributeNames".to_owned(), Value::Object(names)))
}

impl Store {
    fn fault(error: &CallError) -> StoreFault {
        match (error.kind, error.code.as_str()) {
            (CallErrorKind::Throttled, _) | (_, "TransactionConflictException") => {
                StoreFault::Throttled
            }
            (_, "ResourceNotFoundException" | "NoSuchBucket") => StoreFault::Missing,
            (CallErrorKind::Denied | CallErrorKind::Credentials, _) => StoreFault::Denied,
            (kind, _) if kind.may_have_happened() => StoreFault::Silent,
            _ => StoreFault::Other,
        }
    }

    pub(super) fn failed(store: &str, error: CallError) -> LedgerError {
        LedgerError::Store {
            store: store.to_owned(),
            fault: Self::fault(&error),
            source: Arc::new(error),
        }
    }

    /// What is stored in a table is not what was written there.
    pub(super) fn damaged(&self, what: &str) -> LedgerError {
        LedgerError::Store {
            store: self.tables.audit.clone(),
            fault: StoreFault::Damaged,
            source: Arc::new(io::Error::other(what.to_owned())),
        }
    }

    async fn call(
        &self,
        service: &str,
        operation: &str,
        store: &str,
        params: Value,
    ) -> Result<Value, LedgerError> {
        let call = Call::new(service, operation, params);
        let reply = self.api.call(&call).await;
        let reply = reply.map_err(|error| Self::failed(store, error))?;
        Ok(reply.output)
    }

    /// An item as it is now.
    pub(super) async fn get(&self, table: &str, key: &Item) -> Result<Option<Item>, LedgerError> {
        let params = json!({"TableName": table, "Key": key.0, "ConsistentRead": true});
        let output = self.call("dynamodb", "GetItem", table, params).await?;
        let item = output.get("Item").and_then(Value::as_object);
        // An emulator answers an empty item in place of none.
        Ok(item
            .filter(|item| !item.is_empty())
            .map(|item| Item(item.clone())))
    }

    /// Some of what a question asks for, from `rest` on. Tables answer as they are now; indexes are a
    /// moment behind.
    pub(super) async fn page(
        &self,
        ask: &Ask<'_>,
        rest: Option<Value>,
    ) -> Result<Found, LedgerError> {
        let mut params = Map::from_iter([
            ("TableName".to_owned(), json!(ask.table)),
            ("KeyConditionExpression".to_owned(), json!(ask.condition)),
            ("ExpressionAttributeValues".to_owned(), json!(ask.values)),
            ("ScanIndexForward".to_owned(), json!(ask.forward)),
        ]);
        params.extend(names(&[ask.condition]));
        match ask.index {
            Some(index) => params.insert("IndexName".to_owned(), json!(index)),
            None => params.insert("ConsistentRead".to_owned(), json!(true)),
        };
        if let Some(limit) = ask.limit {
            params.insert("Limit".to_owned(), json!(limit));
        }
        if let Some(rest) = rest {
            params.insert("ExclusiveStartKey".to_owned(), rest);
        }
        let output = self
            .call("dynamodb", "Query", ask.table, Value::Object(params))
            .await?;
        self.found(output)
    }

    fn found(&self, mut output: Value) -> Result<Found, LedgerError> {
        let items = match output.get_mut("Items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => return Err(self.damaged("an answer has no items")),
        };
        let items = items.into_iter().filter_map(|item| match item {
            Value::Object(item) => Some(Item(item)),
            _ => None,
        });
        Ok(Found {
            items: items.collect(),
            rest: output
                .get_mut("LastEvaluatedKey")
                .map(Value::take)
                .filter(|key| key.as_object().is_some_and(|key| !key.is_empty())),
        })
    }

    /// All that a question asks for.
    pub(super) async fn all(&self, ask: &Ask<'_>) -> Result<Vec<Item>, LedgerError> {
        let mut items = Vec::new();
        let mut rest = None;
        loop {
            let found = self.page(ask, rest).await?;
            items.extend(found.items);
            match found.rest {
                Some(next) if ask.limit.is_none() => rest = Some(next),
                _ => return Ok(items),
            }
        }
    }

    /// Some of the items of a table, from `rest` on.
    pub(super) async fn scan(
        &self,
        table: &str,
        rest: Option<Value>,
    ) -> Result<Found, LedgerError> {
        let mut params = json!({"TableName": table, "ConsistentRead": true});
        if let (Some(params), Some(rest)) = (params.as_object_mut(), rest) {
            params.insert("ExclusiveStartKey".to_owned(), rest);
        }
        let output = self.call("dynamodb", "Scan", table, params).await?;
        self.found(output)
    }

    /// Whether a table has no items.
    pub(super) async fn is_empty(&self, table: &str) -> Result<bool, LedgerError> {
        let params = json!({"TableName": table, "ConsistentRead": true, "Limit": 1});
        let output = self.call("dynamodb", "Scan", table, params).await?;
        let items = output.get("Items").and_then(Value::as_array);
        let items = items.ok_or_else(|| self.damaged("an answer has no items"))?;
        Ok(items.is_empty())
    }

    /// The items of the state table under `key`, those from `from` to `until`.
    pub(super) async fn under(
        &self,
        key: &str,
        from: &str,
        until: &str,
    ) -> Result<Vec<Item>, LedgerError> {
        let ask = Ask {
            table: &self.tables.state,
            index: None,
            condition: "#Key = :key AND #Item BETWEEN :from AND :until",
            values: values([
                (":key", super::item::s(key)),
                (":from", super::item::s(from)),
                (":until", super::item::s(until)),
            ]),
            forward: true,
            limit: None,
        };
        self.all(&ask).await
    }

    /// The last item of the state table under `key` that is not beyond `until`.
    pub(super) async fn last(&self, key: &str, until: &str) -> Result<Option<Item>, LedgerError> {
        let ask = Ask {
            table: &self.tables.state,
            index: None,
            condition: "#Key = :key AND #Item <= :until",
            values: values([
                (":key", super::item::s(key)),
                (":until", super::item::s(until)),
            ]),
            forward: false,
            limit: Some(1),
        };
        Ok(self.all(&ask).await?.pop())
    }

    fn key_names(&self, table: &str) -> [&'static str; 2] {
        match table == self.tables.audit {
            true => ["RemediationId", "Timestamp"],
            false => ["Key", "Item"],
        }
    }

    /// The key of an item.
    pub(super) fn key_of(&self, table: &str, item: &Item) -> Item {
        let names = self.key_names(table).into_iter();
        let key = names.filter_map(|name| Some((name.to_owned(), item.0.get(name)?.clone())));
        Item(key.collect())
    }

    /// Stores an item where there is none. Whoever's it is, is told by a mark in it: a request that
    /// was sent twice because its answer got lost is still one.
    pub(super) async fn create(&self, table: &str, item: Item) -> Result<Put, LedgerError> {
        let mark = mark();
        let key = self.key_of(table, &item);
        let item = item.with("Mark", mark.clone());
        let params = json!({
            "TableName": table,
            "Item": item.0,
            "ConditionExpression": "attribute_not_exists(#first)",
            "ExpressionAttributeNames": {"#first": self.key_names(table)[0]},
        });
        let error = match self
            .api
            .call(&Call::new("dynamodb", "PutItem", params))
            .await
        {
            Ok(_) => return Ok(Put::Done),
            Err(error) => error,
        };
        if error.code != CONDITION && !error.kind.may_have_happened() {
            return Err(Self::failed(table, error));
        }
        let found = self.get(table, &key).await?;
        match found.as_ref().map(|found| found.0.get("Mark")) {
            Some(found) if found == Some(&mark) => Ok(Put::Done),
            Some(_) => Ok(Put::Refused),
            None => Err(Self::failed(table, error)),
        }
    }

    /// Stores an item, whatever is there.
    pub(super) async fn put(&self, table: &str, item: &Item) -> Result<(), LedgerError> {
        let params = json!({"TableName": table, "Item": item.0});
        self.call("dynamodb", "PutItem", table, params).await?;
        Ok(())
    }

    /// Changes an item of the state table if `condition` holds; gives what is wanted, or `None` if it
    /// does not hold.
    pub(super) async fn update(
        &self,
        key: &Item,
        expression: &str,
        condition: Option<&str>,
        values: Map<String, Value>,
        returns: Returns,
    ) -> Result<Option<Item>, LedgerError> {
        let mut params = json!({
            "TableName": self.tables.state,
            "Key": key.0,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
            "ReturnValues": match returns {
                Returns::Nothing => "NONE",
                Returns::Before => "ALL_OLD",
            },
        });
        if let Some(params) = params.as_object_mut() {
            params.extend(names(&[expression, condition.unwrap_or_default()]));
            if let Some(condition) = condition {
                params.insert("ConditionExpression".to_owned(), json!(condition));
            }
        }
        match self
            .api
            .call(&Call::new("dynamodb", "UpdateItem", params))
            .await
        {
            Ok(reply) => {
                let item = reply.output.get("Attributes").and_then(Value::as_object);
                Ok(Some(item.cloned().map(Item).unwrap_or_default()))
            }
            Err(error) if error.code == CONDITION => Ok(None),
            Err(error) => Err(Self::failed(&self.tables.state, error)),
        }
    }

    /// Removes an item of the state table if `condition` holds.
    pub(super) async fn delete(
        &self,
        key: &Item,
        condition: &str,
        values: Map<String, Value>,
    ) -> Result<Put, LedgerError> {
        let mut params = json!({
            "TableName": self.tables.state,
            "Key": key.0,
            "ConditionExpression": condition,
        });
        if let Some(params) = params.as_object_mut() {
            params.extend(names(&[condition]));
            if !values.is_empty() {
                params.insert("ExpressionAttributeValues".to_owned(), json!(values));
            }
        }
        match self
            .api
            .call(&Call::new("dynamodb", "DeleteItem", params))
            .await
        {
            Ok(_) => Ok(Put::Done),
            Err(error) if error.code == CONDITION => Ok(Put::Refused),
            Err(error) => Err(Self::failed(&self.tables.state, error)),
        }
    }

    /// Puts contents into an item, compressed; those that an item cannot hold go to the bucket, under
    /// their hash.
    pub(super) async fn fold_in(
        &self,
        item: Item,
        name: &str,
        folder: &str,
        contents: &[u8],
    ) -> Result<Item, LedgerError> {
        let bytes = pack(contents).map_err(LedgerError::write)?;
        if bytes.len() <= SPILL {
            return Ok(item.with(name, super::item::b(&bytes)));
        }
        let Some(bucket) = &self.tables.bucket else {
            return Err(LedgerError::Store {
                store: self.tables.audit.clone(),
                fault: StoreFault::TooLarge,
                source: Arc::new(io::Error::other(format!(
                    "{} bytes, and there is no bucket for them",
                    bytes.len()
                ))),
            });
        };
        let hash = Digest::from(<[u8; 32]>::from(Sha256::digest(&bytes)));
        let key = format!("contents/{folder}/{hash}");
        let params = json!({
            "Bucket": bucket,
            "Key": key,
            "Body": BASE64.encode(&bytes),
            "ServerSideEncryption": "aws:kms",
        });
        self.call("s3", "PutObject", bucket, params).await?;
        Ok(item
            .with("SpilledTo", super::item::s(key))
            .with("SpilledHash", super::item::b(hash.as_bytes())))
    }

    /// Takes the place of contents that have expired. Older versions go with the bucket's lifecycle.
    pub(super) async fn blank(&self, bucket: &str, key: &str) -> Result<(), LedgerError> {
        let params =
            json!({"Bucket": bucket, "Key": key, "Body": "", "ServerSideEncryption": "aws:kms"});
        self.call("s3", "PutObject", bucket, params).await?;
        Ok(())
    }

    /// What [`Store::fold_in`] put there; `None` if the item has no contents.
    pub(super) async fn unfold(
        &self,
        item: &Item,
        name: &str,
    ) -> Result<Option<String>, LedgerError> {
        let bytes = if let Some(key) = item.text("SpilledTo") {
            let Some(bucket) = &self.tables.bucket else {
                return Err(LedgerError::Store {
                    store: self.tables.audit.clone(),
                    fault: StoreFault::TooLarge,
                    source: Arc::new(io::Error::other("contents are in a bucket")),
                });
            };
            let params = json!({"Bucket": bucket, "Key": key});
            let reply = self.api.call(&Call::new("s3", "GetObject", params)).await;
            let output = match reply {
                Ok(reply) => reply.output,
                Err(error) if error.code == "NoSuchKey" => {
                    return Err(self.damaged("contents in the bucket are gone"));
                }
                Err(error) => return Err(Self::failed(bucket, error)),
            };
            let body = output.get("Body").and_then(Value::as_str);
            let bytes = body.and_then(|body| BASE64.decode(body).ok());
            let bytes = bytes.ok_or_else(|| self.damaged("contents cannot be read"))?;
            let hash = Digest::from(<[u8; 32]>::from(Sha256::digest(&bytes)));
            if item.digest("SpilledHash") != Some(hash) {
                return Err(self.damaged("contents in the bucket were changed"));
            }
            bytes
        } else {
            match item.bytes(name) {
                Some(bytes) => bytes,
                None => return Ok(None),
            }
        };
        let text = unpack(&bytes).ok_or_else(|| self.damaged("contents cannot be read"))?;
        Ok(Some(text))
    }
}

/// Contents are small and every byte is paid for.
const LEVEL: i32 = 19;

pub(super) fn compress(contents: &[u8]) -> Result<Vec<u8>, LedgerError> {
    zstd::bulk::compress(contents, LEVEL).map_err(LedgerError::write)
}

/// Says who wrote an item.
pub(super) fn mark() -> Value {
    let (mark, _) = Uuid::new_v4().as_u64_pair();
    super::item::b(&mark.to_be_bytes())
}

/// What events begin with, and often hold: with it, a small event becomes a third as large as without.
/// It never changes; another one gets another number.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");

/// Events, compressed, behind the number of the dictionary.
fn pack(contents: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::with_dictionary(LEVEL, DICTIONARY)?;
    compressor.include_checksum(false)?;
    compressor.include_contentsize(false)?;
    let mut bytes = vec![1];
    bytes.extend(compressor.compress(contents)?);
    Ok(bytes)
}

fn unpack(bytes: &[u8]) -> Option<String> {
    let (&1, frame) = bytes.split_first()? else {
        return None;
    };
    read(zstd::stream::read::Decoder::with_dictionary(frame, DICTIONARY).ok()?)
}

/// The text that was compressed, unless it is none or too long.
pub(super) fn decompress(bytes: &[u8]) -> Option<String> {
    read(zstd::stream::read::Decoder::new(bytes).ok()?)
}

fn read(decoder: impl io::Read) -> Option<String> {
    let mut text = String::new();
    decoder.take(MOST + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= MOST).then_some(text)
}
