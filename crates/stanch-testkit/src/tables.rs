//! The ledger's tables as the administrator stack has them, and what writing to them costs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_ledger::Tables;
use stanch_types::{Api, Call, CallError, Reply};

/// Makes new tables under names that begin with `prefix`, as `administrator-stack.yaml` has them, and
/// the ledger's bucket.
pub async fn create_tables(api: &dyn Api, prefix: &str) -> Result<Tables, CallError> {
    let tables = Tables {
        audit: format!("{prefix}AuditLog"),
        state: format!("{prefix}State"),
        bucket: Some(format!("{}-ledger", prefix.to_ascii_lowercase())),
        retention: Duration::from_hours(24 * 90),
    };
    let index = |attribute: &str| {
        json!({
            "IndexName": format!("{attribute}-Timestamp-index"),
            "KeySchema": key(attribute, "Timestamp"),
            "Projection": {"ProjectionType": "ALL"},
        })
    };
    let audit = json!({
        "TableName": tables.audit,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "RemediationId", "AttributeType": "S"},
            {"AttributeName": "Timestamp", "AttributeType": "N"},
            {"AttributeName": "AccountId", "AttributeType": "S"},
            {"AttributeName": "ResourceId", "AttributeType": "S"},
        ],
        "KeySchema": key("RemediationId", "Timestamp"),
        "GlobalSecondaryIndexes": [index("AccountId"), index("ResourceId")],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
    });
    let state = json!({
        "TableName": tables.state,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "Key", "AttributeType": "S"},
            {"AttributeName": "Item", "AttributeType": "S"},
        ],
        "KeySchema": key("Key", "Item"),
    });
    for params in [audit, state] {
        api.call(&Call::new("dynamodb", "CreateTable", params))
            .await?;
    }
    let bucket = json!({"Bucket": tables.bucket});
    api.call(&Call::new("s3", "CreateBucket", bucket)).await?;
    Ok(tables)
}

fn key(partition: &str, sort: &str) -> Value {
    json!([
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ])
}

/// What requests to DynamoDB cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Units {
    /// Requests.
    pub requests: u64,
    /// Write units.
    pub write: u64,
    /// Read units.
    pub read: f64,
}

/// Counts what goes through it, by the sizes of items: each begun KB of an item is a write unit, in
/// the table and in each index that has it; each begun 4 KB of an answer is a read unit, or half of one
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>).
pub struct Meter {
    inner: Arc<dyn Api>,
    counted: Mutex<BTreeMap<String, Units>>,
}

impl Meter {
    /// Counts what goes to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Api>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            counted: Mutex::default(),
        })
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<String, Units>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted since the last time, by operation.
    pub fn take(&self) -> BTreeMap<String, Units> {
        std::mem::take(&mut *self.counted())
    }

    /// The sum of that.
    pub fn total(&self) -> Units {
        let mut total = Units::default();
        for units in self.take().into_values() {
            total.requests += units.requests;
            total.write += units.write;
            total.read += units.read;
        }
        total
    }
}

/// How large DynamoDB counts an item: names and values
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).
fn size(item: &Value) -> usize {
    fn of(value: &Value) -> usize {
        let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else {
            return 1;
        };
        match (kind.as_str(), value) {
            ("S", Value::String(text)) => text.len(),
            // Two digits a byte, and a byte.
            ("N", Value::String(number)) => number.len().div_ceil(2) + 1,
            ("B", Value::String(base64)) => base64.len() / 4 * 3,
            ("L", Value::Array(items)) => 3 + items.iter().map(|item| of(item) + 1).sum::<usize>(),
            _ => 1,
        }
    }
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + of(value)).sum()
}

#[async_trait]
impl Api for Meter {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let answer = self.inner.call(call).await;
        let output = answer.as_ref().map_or(&Value::Null, |reply| &reply.output);
        let kilobytes = |item: &Value| size(item).div_ceil(1_024).max(1) as u64;
        let mut units = Units {
            requests: 1,
            ..Units::default()
        };
        match call.operation.as_str() {
            "PutItem" => {
                let item = &call.params["Item"];
                let indexes = ["AccountId", "ResourceId"].iter();
                let is_row = item.get("RemediationId").is_some();
                let indexes = indexes.filter(|key| is_row && item.get(**key).is_some());
                units.write = kilobytes(item) * (1 + indexes.count() as u64);
            }
            "UpdateItem" => units.write = kilobytes(&output["Attributes"]),
            "DeleteItem" => units.write = 1,
            "GetItem" => units.read = size(&output["Item"]).div_ceil(4_096).max(1) as f64,
            "Query" => {
                let items = output["Items"].as_array().into_iter().flatten();
                let bytes: usize = items.map(size).sum();
                let strong = call.params["ConsistentRead"] == true;
                units.read = bytes.div_ceil(4_096).max(1) as f64 * if strong { 1.0 } else { 0.5 };
            }
            _ => {}
        }
        let mut counted = self.counted();
        let sum = counted.entry(call.operation.clone()).or_default();
        sum.requests += units.requests;
        sum.write += units.write;
        sum.read += units.read;
        drop(counted);
        answer
    }
}
