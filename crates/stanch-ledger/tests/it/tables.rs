//! As much of DynamoDB and S3 as the ledger uses, in memory: fast enough for many histories, small pages,
//! and requests that go wrong at will.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply};

pub type Item = Map<String, Value>;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It is not carried out.
    Refuse(CallErrorKind, &'static str),
    /// It is carried out, and nobody gets the answer.
    Lose,
    /// It is carried out twice: its first answer got lost, and the client has sent it again.
    Repeat,
}

type Decide = Box<dyn FnMut(&Call) -> Fate + Send>;

/// Tables with their items in the order of their keys, and objects.
#[derive(Default)]
pub struct Tables {
    items: Mutex<BTreeMap<(String, String, Order), Item>>,
    objects: Mutex<BTreeMap<String, Value>>,
    calls: Mutex<Vec<Call>>,
    decide: Mutex<Option<Decide>>,
}

/// A sort key: a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Number(i64),
    Text(String),
}

/// Items in a page, so that there are many.
const PAGE: usize = 5;

impl Tables {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The same tables once more, to be changed by themselves.
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(Self {
            items: Mutex::new(self.items.lock().unwrap().clone()),
            objects: Mutex::new(self.objects.lock().unwrap().clone()),
            ..Self::default()
        })
    }

    /// From now on.
    pub fn disturb(&self, decide: impl FnMut(&Call) -> Fate + Send + 'static) {
        *self.decide.lock().unwrap() = Some(Box::new(decide));
    }

    pub fn calm(&self) {
        *self.decide.lock().unwrap() = None;
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    pub fn objects(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> Vec<Item> {
        let items = self.items.lock().unwrap();
        let found = items.iter().filter(|((name, ..), _)| name == table);
        found.map(|(_, item)| item.clone()).collect()
    }

    /// The item that a write was about, as it is now.
    pub fn written(&self, call: &Call) -> Item {
        let item = call.params.get("Item").or_else(|| call.params.get("Key"));
        let key = key(&call.params, item.unwrap().as_object().unwrap());
        self.items
            .lock()
            .unwrap()
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }

    /// Changes items as somebody with the right to would: `None` removes.
    pub fn tamper(&self, table: &str, mut change: impl FnMut(&Item) -> Option<Item>) {
        let mut items = self.items.lock().unwrap();
        let keys: Vec<_> = items
            .keys()
            .filter(|(name, ..)| name == table)
            .cloned()
            .collect();
        for key in keys {
            match change(&items[&key]) {
                Some(item) => drop(items.insert(key, item)),
                None => drop(items.remove(&key)),
            }
        }
    }

    /// Puts an item in as somebody with the right to would.
    pub fn plant(&self, table: &str, item: Item) {
        let params = json!({"TableName": table, "Item": item});
        let put = Call::new("dynamodb", "PutItem", params);
        self.answer(&put).unwrap();
    }

    fn answer(&self, call: &Call) -> Result<Value, &'static str> {
        let params = &call.params;
        match call.operation.as_str() {
            "PutObject" => {
                let key = params["Key"].as_str().unwrap().to_owned();
                self.objects
                    .lock()
                    .unwrap()
                    .insert(key, params["Body"].clone());
                Ok(json!({}))
            }
            "GetObject" => {
                let objects = self.objects.lock().unwrap();
                let body = objects.get(params["Key"].as_str().unwrap());
                Ok(json!({"Body": body.ok_or("NoSuchKey")?}))
            }
            "PutItem" => {
                let item = params["Item"].as_object().unwrap();
                // Names and values; base64 is longer than what it stands for.
                assert!(
                    params["Item"].to_string().len() < 400_000 * 4 / 3 + 1_000,
                    "an item is too large"
                );
                let mut items = self.items.lock().unwrap();
                let key = key(params, item);
                holds(params, items.get(&key))?;
                items.insert(key, item.clone());
                Ok(json!({}))
            }
            "GetItem" => {
                assert_eq!(params["ConsistentRead"], true);
                let items = self.items.lock().unwrap();
                let key = key(params, params["Key"].as_object().unwrap());
                Ok(items
                    .get(&key)
                    .map_or(json!({}), |item| json!({"Item": item})))
            }
            "UpdateItem" => {
                let mut items = self.items.lock().unwrap();
                let key_item = params["Key"].as_object().unwrap();
                let key = key(params, key_item);
                holds(params, items.get(&key))?;
                let before = items.get(&key).cloned();
                let item = items.entry(key).or_insert_with(|| key_item.clone());
                update(params, item);
                Ok(match (params["ReturnValues"].as_str().unwrap(), before) {
                    ("ALL_OLD", Some(before)) => json!({"Attributes": before}),
                    ("ALL_OLD" | "NONE", _) => json!({}),
                    (other, _) => panic!("{other}"),
                })
            }
            "DeleteItem" => {
                let mut items = self.items.lock().unwrap();
                let key = key(params, params["Key"].as_object().unwrap());
                holds(params, items.get(&key))?;
                items.remove(&key);
                Ok(json!({}))
            }
            "Query" => Ok(self.query(params)),
            "Scan" => {
                assert_eq!(params["ConsistentRead"], true);
                let items = self.items(params["TableName"].as_str().unwrap());
                Ok(page(params, items))
            }
            other => panic!("{other}"),
        }
    }

    fn query(&self, params: &Value) -> Value {
        let table = params["TableName"].as_str().unwrap();
        let index = params["IndexName"].as_str();
        assert!(index.is_none() || params.get("ConsistentRead").is_none());
        let sort = match (index, table.ends_with("Audit")) {
            (None, false) => "Item",
            _ => "Timestamp",
        };
        let condition = params["KeyConditionExpression"].as_str().unwrap();
        let mut found: Vec<Item> = match index {
            Some(_) => self.items(table),
            None => {
                let first = condition.split(' ').nth(2).unwrap();
                let partition = params["ExpressionAttributeValues"][first]["S"]
                    .as_str()
                    .unwrap();
                let from = (
                    table.to_owned(),
                    partition.to_owned(),
                    Order::Number(i64::MIN),
                );
                let items = self.items.lock().unwrap();
                let range = items
                    .range(from..)
                    .take_while(|((name, key, _), _)| name == table && key == partition);
                range.map(|(_, item)| item.clone()).collect()
            }
        };
        found.retain(|item| truth(params, Some(item), condition));
        // In an index, those of one sort key stand in no order.
        found.sort_by(|a, b| compare(&a[sort], &b[sort]));
        if params["ScanIndexForward"] == false {
            found.reverse();
        }
        page(params, found)
    }
}

/// Some of these items, from where the question wants them on.
fn page(params: &Value, mut found: Vec<Item>) -> Value {
    if let Some(start) = params.get("ExclusiveStartKey").and_then(Value::as_object) {
        let is_start = |item: &Item| {
            start
                .iter()
                .all(|(name, value)| item.get(name) == Some(value))
        };
        let place = found.iter().position(is_start).unwrap();
        found.drain(..=place);
    }
    let page = params["Limit"]
        .as_u64()
        .map_or(PAGE, |limit| PAGE.min(limit as usize));
    let more = found.len() > page;
    found.truncate(page);
    let last = found.last().filter(|_| more).map(|last| {
        let names = ["RemediationId", "Timestamp", "Key", "Item"];
        let key = last
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        key.map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Item>()
    });
    match last {
        Some(last) => json!({"Items": found, "LastEvaluatedKey": last}),
        None => json!({"Items": found}),
    }
}

#[async_trait]
impl Api for Tables {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        tokio::task::yield_now().await;
        self.calls.lock().unwrap().push(call.clone());
        let fate = match &mut *self.decide.lock().unwrap() {
            Some(decide) => decide(call),
            None => Fate::Pass,
        };
        let failed = |kind, code: &str| {
            let mut error = CallError::new(kind, call, "as the test wants it");
            error.code = code.to_owned();
            error
        };
        match fate {
            Fate::Refuse(kind, code) => return Err(failed(kind, code)),
            Fate::Repeat => drop(self.answer(call)),
            Fate::Pass | Fate::Lose => {}
        }
        let answer = self.answer(call);
        if fate == Fate::Lose {
            return Err(failed(CallErrorKind::Unanswered, ""));
        }
        answer
            .map(|output| Reply {
                output,
                request_id: None,
            })
            .map_err(|code| failed(CallErrorKind::Rejected, code))
    }
}

/// What a write costs: each begun KB of an item, in the table and in each index that has it
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>).
pub fn write_units(call: &Call, stored: &Item) -> usize {
    let size: usize = stored
        .iter()
        .map(|(name, value)| name.len() + size(value))
        .sum();
    let is_row = call.params["TableName"] == "Audit";
    let indexes = ["AccountId", "ResourceId"].iter();
    let indexes = indexes
        .filter(|key| is_row && stored.contains_key(**key))
        .count();
    size.div_ceil(1_024) * (1 + indexes)
}

fn size(value: &Value) -> usize {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        // Two digits a byte, and a byte.
        ("N", Value::String(number)) => number.len().div_ceil(2) + 1,
        ("B", Value::String(base64)) => base64.len() / 4 * 3,
        ("SS", Value::Array(texts)) => texts.iter().map(|text| text.as_str().unwrap().len()).sum(),
        ("L", Value::Array(items)) => 3 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        _ => 1,
    }
}

fn key(params: &Value, item: &Item) -> (String, String, Order) {
    let table = params["TableName"].as_str().unwrap().to_owned();
    let text = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    for (name, value) in item {
        let is_key = ["AccountId", "ResourceId", "Key", "Item"].contains(&name.as_str());
        assert!(!is_key || value["S"] != "", "`{name}` is empty");
    }
    if table.ends_with("Audit") {
        let number = item["Timestamp"]["N"].as_str().unwrap().parse().unwrap();
        (table, text("RemediationId"), Order::Number(number))
    } else {
        (table, text("Key"), Order::Text(text("Item")))
    }
}

/// Parts between commas that stand in no parentheses.
fn parts(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts
}

/// Carries out the clauses of an update: `SET`, then `ADD` or `DELETE` of sets.
fn update(params: &Value, item: &mut Item) {
    let before = item.clone();
    let expression = params["UpdateExpression"].as_str().unwrap();
    let set = expression.strip_prefix("SET ").unwrap();
    let clauses = [" ADD ", " DELETE "].map(|clause| set.split_once(clause));
    let (set, add, delete) = match clauses {
        [Some((set, add)), None] => (set, Some(add), None),
        [None, Some((set, delete))] => (set, None, Some(delete)),
        [None, None] => (set, None, None),
        _ => panic!("{expression}"),
    };
    for assignment in parts(set) {
        let (name, value) = assignment.split_once('=').unwrap();
        item.insert(name_of(params, name), value_of(params, &before, value));
    }
    for (clause, adds) in [(add, true), (delete, false)] {
        let Some((name, value)) = clause.map(|clause| clause.split_once(' ').unwrap()) else {
            continue;
        };
        let texts = |value: &Value| -> BTreeSet<String> {
            let texts = value["SS"].as_array().unwrap().iter();
            texts
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        let name = name_of(params, name);
        let mut set = item.get(&name).map(texts).unwrap_or_default();
        for text in texts(&value_of(params, &before, value)) {
            match adds {
                true => set.insert(text),
                false => set.remove(&text),
            };
        }
        // There is no empty set.
        match set.is_empty() {
            true => item.remove(&name),
            false => item.insert(name, json!({"SS": set})),
        };
    }
}

fn name_of(params: &Value, alias: &str) -> String {
    let alias = alias.trim();
    assert!(alias.starts_with('#'), "`{alias}` could be a reserved word");
    params["ExpressionAttributeNames"][alias]
        .as_str()
        .unwrap()
        .to_owned()
}

fn value_of(params: &Value, item: &Item, text: &str) -> Value {
    let text = text.trim();
    let inside = |name: &str| Some(text.strip_prefix(name)?.strip_suffix(')')?.to_owned());
    if let Some((left, right)) = text.rsplit_once(" + ") {
        let number = |text| -> i64 {
            let value = value_of(params, item, text);
            value["N"].as_str().unwrap().parse().unwrap()
        };
        return json!({"N": (number(left) + number(right)).to_string()});
    }
    if let Some(inside) = inside("list_append(") {
        let lists = parts(&inside);
        let lists = lists.iter().map(|list| value_of(params, item, list));
        let all: Vec<Value> = lists
            .flat_map(|list| list["L"].as_array().unwrap().clone())
            .collect();
        return json!({"L": all});
    }
    if let Some(inside) = inside("if_not_exists(") {
        let two = parts(&inside);
        let there = item.get(&name_of(params, &two[0]));
        return there
            .cloned()
            .unwrap_or_else(|| value_of(params, item, &two[1]));
    }
    let value = &params["ExpressionAttributeValues"][text];
    assert!(value.is_object(), "`{text}`");
    value.clone()
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a["N"].as_str(), b["N"].as_str()) {
        (Some(a), Some(b)) => a.parse::<i64>().unwrap().cmp(&b.parse().unwrap()),
        _ => a["S"].as_str().cmp(&b["S"].as_str()),
    }
}

fn truth(params: &Value, item: Option<&Item>, condition: &str) -> bool {
    if let Some((one, other)) = condition.split_once(" OR ") {
        return truth(params, item, one) || truth(params, item, other);
    }
    let (first, rest) = match condition.split_once(" BETWEEN ") {
        // The last one, and its two values have an AND of their own.
        Some((before, values)) => {
            let (before, name) = match before.rsplit_once(" AND ") {
                Some((before, name)) => (Some(before), name),
                None => (None, before),
            };
            let (from, until) = values.split_once(" AND ").unwrap();
            let between = format!("{name} >= {from} AND {name} <= {until}");
            return before.is_none_or(|before| truth(params, item, before))
                && truth(params, item, &between);
        }
        None => match condition.split_once(" AND ") {
            Some((first, rest)) => (first, Some(rest)),
            None => (condition, None),
        },
    };
    let holds = if let Some(name) = first.strip_prefix("attribute_not_exists(") {
        let name = name_of(params, name.strip_suffix(')').unwrap());
        item.is_none_or(|item| !item.contains_key(&name))
    } else if let Some(name) = first.strip_prefix("attribute_exists(") {
        let name = name_of(params, name.strip_suffix(')').unwrap());
        item.is_some_and(|item| item.contains_key(&name))
    } else {
        let mut words = first.split(' ');
        let name = name_of(params, words.next().unwrap());
        let operator = words.next().unwrap();
        let value = &params["ExpressionAttributeValues"][words.next().unwrap()];
        assert!(value.is_object(), "{first}");
        item.and_then(|item| item.get(&name)).is_some_and(|there| {
            let order = compare(there, value);
            match operator {
                "=" => order.is_eq(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                ">=" => order.is_ge(),
                other => panic!("{other}"),
            }
        })
    };
    holds && rest.is_none_or(|rest| truth(params, item, rest))
}

fn holds(params: &Value, item: Option<&Item>) -> Result<(), &'static str> {
    match params.get("ConditionExpression").and_then(Value::as_str) {
        Some(condition) if !truth(params, item, condition) => {
            Err("ConditionalCheckFailedException")
        }
        _ => Ok(()),
    }
}
