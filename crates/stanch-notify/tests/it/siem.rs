//! Lines for a SIEM.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_aws::SystemClock;
use stanch_notify::{Export, Unsent};

use crate::world::Scripted;

fn export(aws: &Arc<Scripted>) -> Export {
    let clock = Arc::new(SystemClock::default());
    let (bucket, stream) = ("siem".to_owned(), "Export".to_owned());
    Export::new(aws.clone(), clock, Some(bucket), Some(stream))
}

fn lines(count: usize, of: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(of)))
        .collect()
}

fn data(params: &Value) -> Vec<String> {
    let records = params["Records"].as_array().unwrap().iter();
    let text = |record: &Value| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
    records
        .map(|record| String::from_utf8(text(record)).unwrap())
        .collect()
}

fn answers(failed: &[usize], of: usize) -> Value {
    let answer = |n: usize| match failed.contains(&n) {
        true => json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}),
        false => json!({"RecordId": "r"}),
    };
    json!({"FailedPutCount": failed.len(), "RequestResponses": (0..of).map(answer).collect::<Vec<_>>()})
}

#[tokio::test]
async fn a_batch_is_one_object_and_as_many_records_as_lines() {
    let aws = Scripted::new(Vec::new());
    let at = "2026-01-31T23:59:59Z".parse().unwrap();
    let lines = lines(501, 10);
    export(&aws).send("000042", at, &lines).await.unwrap();
    let calls = aws.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(
        calls[0].params["Key"],
        "ocsf/year=2026/month=01/day=31/000042.jsonl"
    );
    let body = STANDARD
        .decode(calls[0].params["Body"].as_str().unwrap())
        .unwrap();
    assert_eq!(String::from_utf8(body).unwrap().lines().count(), 501);
    assert_eq!(data(&calls[1].params).len(), 500);
    assert_eq!(data(&calls[2].params), [format!("{}\n", lines[500])]);
    export(&aws).send("000043", at, &[]).await.unwrap();
    assert_eq!(aws.calls().len(), 3);
}

#[tokio::test]
async fn batches_are_not_larger_than_firehose_takes() {
    let aws = Scripted::new(Vec::new());
    let lines = lines(10, 900 << 10);
    export(&aws)
        .send("1", jiff::Timestamp::UNIX_EPOCH, &lines)
        .await
        .unwrap();
    let sizes: Vec<usize> = aws.calls()[1..]
        .iter()
        .map(|call| data(&call.params).len())
        .collect();
    assert_eq!(sizes, [4, 4, 2]);
    let long = vec!["short".to_owned(), "x".repeat(1000 << 10)];
    let error = export(&aws)
        .send("1", jiff::Timestamp::UNIX_EPOCH, &long)
        .await
        .unwrap_err();
    assert_eq!(error.first, 1);
}

#[tokio::test]
async fn records_that_were_not_taken_are_sent_again_and_no_others() {
    let ok = || Ok(json!({}));
    let aws = Scripted::new(vec![
        ok(),
        Ok(answers(&[1, 2], 3)),
        Ok(answers(&[0], 2)),
        Ok(answers(&[], 1)),
    ]);
    let lines = lines(3, 1);
    export(&aws)
        .send("1", jiff::Timestamp::UNIX_EPOCH, &lines)
        .await
        .unwrap();
    let sent: Vec<Vec<String>> = aws.calls()[1..]
        .iter()
        .map(|call| data(&call.params))
        .collect();
    let line = |n: usize| format!("{}\n", lines[n]);
    assert_eq!(
        sent,
        [
            vec![line(0), line(1), line(2)],
            vec![line(1), line(2)],
            vec![line(1)]
        ]
    );
    let refused = || Ok(answers(&[1], 3));
    let aws = Scripted::new(vec![
        ok(),
        refused(),
        Ok(answers(&[0], 1)),
        Ok(answers(&[0], 1)),
        Ok(answers(&[0], 1)),
    ]);
    let error = export(&aws)
        .send("1", jiff::Timestamp::UNIX_EPOCH, &lines)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        Unsent {
            first: 1,
            reason: "ServiceUnavailableException".to_owned()
        }
    );
}
