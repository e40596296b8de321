//! A JSON document per remediation: its record and its events so far, under
//! `year=YYYY/month=MM/day=DD/remediation-<id>.json` by the day of admission. In a folder, or in the
//! member account's bucket.

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;
use stanch_types::{Api, Call, Region};

/// AWS in a region, with one's own credentials.
pub type InRegion = Arc<dyn Fn(&Region) -> Arc<dyn Api> + Send + Sync>;

/// The events by themselves: their places in the ledger's tree are not given out for a log, which would
/// sequence the tree with every fix.
fn document(record: &Record, history: &History) -> String {
    let events: Vec<Value> = history
        .iter()
        .enumerate()
        .map(|(seq, (event, at))| json!({"seq": seq, "at": at, "event": event}))
        .collect();
    format!("{:#}\n", json!({ "Record": record, "Events": events }))
}

fn day(record: &Record) -> String {
    let day = record.timestamp.strftime("year=%Y/month=%m/day=%d");
    day.to_string()
}

fn file(record: &Record) -> String {
    format!("remediation-{}.json", record.remediation_id)
}

/// Documents in a folder.
pub struct LogFolder {
    folder: PathBuf,
}

impl LogFolder {
    /// Documents under `folder`.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Written beside its place and moved there, so that nobody reads half a document.
    fn write(&self, record: &Record, text: &str) -> io::Result<()> {
        let folder = self.folder.join(day(record));
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(file(record));
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, path)
    }
}

#[async_trait]
impl Notifier for LogFolder {
    fn channel(&self) -> &str {
        "logs"
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    async fn tell(&self, _: &Message, record: &Record, history: &History) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: "logs".to_owned(),
            reason,
        };
        self.write(record, &document(record, history))
            .map_err(|error| not_told(error.to_string()))
    }
}

/// Documents in the bucket of the member account and region, encrypted with the key there. The
/// account's bucket policy lets the administrator's role write, and read nothing.
pub struct LogBucket {
    api: InRegion,
    bucket: String,
    key: String,
}

impl LogBucket {
    /// Documents in the buckets `<bucket>-<account>-<region>`, by the KMS key that has
    /// the alias `key` (`alias/…`) in each account and region.
    #[must_use]
    pub fn new(api: InRegion, bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            api,
            bucket: bucket.into(),
            key: key.into(),
        }
    }

    /// The request that keeps `text`. Without the key's ARN S3 would take the AWS managed key of the
    /// writer's account, which the member account cannot use:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html>.
    fn put(&self, record: &Record, text: &str) -> Call {
        let Record {
            account_id: account,
            region,
            ..
        } = record;
        let partition = region.partition();
        Call::new(
            "s3",
            "PutObject",
            json!({
                "Bucket": format!("{}-{account}-{region}", self.bucket),
                "Key": format!("{}/{}", day(record), file(record)),
                "Body": STANDARD.encode(text),
                "ContentType": "application/json",
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": format!("arn:{partition}:kms:{region}:{account}:{}", self.key),
                "ExpectedBucketOwner": account,
            }),
        )
    }
}

#[async_trait]
impl Notifier for LogBucket {
    fn channel(&self) -> &str {
        "log bucket"
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    async fn tell(&self, _: &Message, record: &Record, history: &History) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: "log bucket".to_owned(),
            reason,
        };
        let text = document(record, history);
        let api = (self.api)(&record.region);
        let put = api.call(&self.put(record, &text)).await;
        put.map(drop).map_err(|error| not_told(error.to_string()))
    }
}
