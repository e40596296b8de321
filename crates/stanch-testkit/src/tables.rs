//! The ledger's tables as the administrator stack has them.

use serde_json::{Value, json};
use stanch_ledger::{Retention, Tables};
use stanch_types::{Api, Call, CallError};

/// Makes new tables under names that begin with `prefix`, as `administrator-stack.yaml` has them, and
/// the ledger's bucket.
pub async fn create_tables(api: &dyn Api, prefix: &str) -> Result<Tables, CallError> {
    let tables = Tables {
        audit: format!("{prefix}AuditLog"),
        state: format!("{prefix}State"),
        bucket: Some(format!("{}-ledger", prefix.to_ascii_lowercase())),
        retention: Retention::days(90),
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
