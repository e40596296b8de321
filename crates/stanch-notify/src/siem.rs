//! Lines for a SIEM: an object in a bucket, and the records of a Firehose stream.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_types::{Api, Call, Clock};

/// Where lines go. What is absent is not sent to.
pub struct Export {
    api: Arc<dyn Api>,
    clock: Arc<dyn Clock>,
    bucket: Option<String>,
    stream: Option<String>,
}

/// Lines that were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("from line {first} on, not all were taken: {reason}")]
pub struct Unsent {
    /// The first of them, from 0; whoever sends again begins here.
    pub first: usize,
    /// Why.
    pub reason: String,
}

/// What a batch holds, and one record of it:
/// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
const RECORD_BYTES: usize = 1000 << 10;

/// How often records that were not taken are sent again.
const ATTEMPTS: u32 = 4;

impl Export {
    /// To an object in `bucket` per batch, and to the Firehose stream `stream`.
    #[must_use]
    pub fn new(
        api: Arc<dyn Api>,
        clock: Arc<dyn Clock>,
        bucket: Option<String>,
        stream: Option<String>,
    ) -> Self {
        Self {
            api,
            clock,
            bucket,
            stream,
        }
    }

    /// Sends a batch of lines. `name` is the batch's own: sent again, it is the same object. Records of
    /// the stream may come twice; each line has an id of its own.
    ///
    /// # Errors
    /// Which lines have to be sent again.
    pub async fn send(&self, name: &str, at: Timestamp, lines: &[String]) -> Result<(), Unsent> {
        if lines.is_empty() {
            return Ok(());
        }
        if let Some(bucket) = &self.bucket {
            let day = at.strftime("year=%Y/month=%m/day=%d");
            let mut text = lines.join("\n");
            text.push('\n');
            let call = Call::new(
                "s3",
                "PutObject",
                json!({
                    "Bucket": bucket,
                    "Key": format!("ocsf/{day}/{name}.jsonl"),
                    "Body": STANDARD.encode(text),
                    "ContentType": "application/x-ndjson",
                }),
            );
            let put = self.api.call(&call).await;
            put.map_err(|error| Unsent {
                first: 0,
                reason: error.to_string(),
            })?;
        }
        match &self.stream {
            Some(stream) => self.stream(stream, lines).await,
            None => Ok(()),
        }
    }

    async fn stream(&self, stream: &str, lines: &[String]) -> Result<(), Unsent> {
        let mut batch: Vec<(usize, &String)> = Vec::new();
        let mut bytes = 0;
        for (at, line) in lines.iter().enumerate() {
            let length = line.len() + 1;
            if length > RECORD_BYTES {
                return Err(Unsent {
                    first: at,
                    reason: format!(
                        "the line has {length} bytes, and a record {RECORD_BYTES} at most"
                    ),
                });
            }
            if batch.len() == BATCH || bytes + length > BATCH_BYTES {
                self.put(stream, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            batch.push((at, line));
            bytes += length;
        }
        self.put(stream, batch).await
    }

    /// Puts a batch; records that were not taken again, and no others.
    async fn put(&self, stream: &str, mut batch: Vec<(usize, &String)>) -> Result<(), Unsent> {
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let Some((first, _)) = batch.first().copied() else {
                return Ok(());
            };
            let records: Vec<Value> = batch
                .iter()
                .map(|(_, line)| json!({"Data": STANDARD.encode(format!("{line}\n"))}))
                .collect();
            let params = json!({"DeliveryStreamName": stream, "Records": records});
            let call = Call::new("firehose", "PutRecordBatch", params);
            let reply = self.api.call(&call).await.map_err(|error| Unsent {
                first,
                reason: error.to_string(),
            })?;
            // One answer for each record, in their order.
            let answers = reply
                .output
                .get("RequestResponses")
                .and_then(Value::as_array);
            let code = |at: usize| {
                let answer = answers.and_then(|answers| answers.get(at))?;
                answer.get("ErrorCode")?.as_str()
            };
            let failed: Vec<(usize, &String, String)> = batch
                .iter()
                .enumerate()
                .filter_map(|(at, (line, text))| Some((*line, *text, code(at)?.to_owned())))
                .collect();
            if let Some((first, _, code)) = failed.first()
                && attempt >= ATTEMPTS
            {
                return Err(Unsent {
                    first: *first,
                    reason: code.clone(),
                });
            }
            batch = failed
                .into_iter()
                .map(|(line, text, _)| (line, text))
                .collect();
            if !batch.is_empty() {
                self.clock.sleep(pause).await;
                pause *= 2;
            }
        }
        Ok(())
    }
}
