//! Messages, and a sender to the real loopback.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_aws::{Environment, HttpClient, SystemClock};
use stanch_hub::{Asked, Message};
use stanch_ledger::Record;
use stanch_models::{Models, Severity};
use stanch_notify::{Patience, Sender};
use stanch_types::{Api, Call, CallError, Clock, Reply};

pub fn record(status: &str) -> Record {
    let at = 1_769_860_800_000_u64;
    serde_json::from_value(json!({
        "RemediationId": "6f1c0000-0000-4000-8000-000000000000", "Timestamp": at, "FindingId": "finding-1",
        "AccountId": "222222222222", "ResourceType": "AwsS3Bucket", "ResourceId": "arn:aws:s3:::demo",
        "RemediationType": "Manual", "RemediationAction": "S3BlockPublicAccess", "ExecutionStatus": "Success",
        "ExecutorArn": "arn:aws:iam::222222222222:role/R", "NotificationSent": false, "Status": status,
        "Region": "us-east-1", "Control": "S3.8", "Severity": "HIGH", "Title": "A bucket is public",
        "Requester": "alice", "Undone": false, "UpdatedAt": at, "Events": 8,
    }))
    .unwrap()
}

/// A fix that can be undone, in an account with an alias.
pub fn fixed() -> Message {
    Message {
        account_name: Some("payments".to_owned()),
        can_be_undone: true,
        ..Message::new(&record("Success"))
    }
}

/// A failure, of a critical finding.
pub fn failed() -> Message {
    Message {
        error: Some("the check still says FAILED".to_owned()),
        severity: "CRITICAL".to_owned(),
        account_name: Some("payments".to_owned()),
        ..Message::new(&record("Failed"))
    }
}

/// A request for an approval.
pub fn asking() -> Message {
    Message {
        account_name: Some("payments".to_owned()),
        approval: Some(Asked {
            plan_hash: "0123456789abcdef0123456789abcdef".to_owned(),
            expires: "2026-02-01T12:00:00Z".to_owned(),
            needs: vec!["1 of security".to_owned()],
            reasons: vec!["the bucket serves a web page".to_owned()],
            message: None,
            facts: vec!["Its policy lets everybody in: no".to_owned()],
            changes: vec!["+ /block/BlockPublicAcls: true".to_owned()],
            changed: Vec::new(),
            person: None,
            link: None,
        }),
        ..Message::new(&record("AwaitingApproval"))
    }
}

/// The real network and clock, with little patience.
pub fn sender() -> Sender {
    patient(Patience {
        attempts: 3,
        attempt: Duration::from_millis(500),
        pause: Duration::from_millis(20),
        total: Duration::from_secs(3),
    })
}

pub fn patient(patience: Patience) -> Sender {
    let http = HttpClient::new(Environment::new::<&str, &str>([]));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    Sender::new(Arc::new(http), clock, patience)
}

/// AWS that answers with what it is given, and takes no call that its model does not.
#[derive(Default)]
pub struct Scripted {
    pub calls: Mutex<Vec<Call>>,
    pub replies: Mutex<Vec<Result<Value, CallError>>>,
}

impl Scripted {
    pub fn new(replies: Vec<Result<Value, CallError>>) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            replies: Mutex::new(replies),
        })
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Api for Scripted {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let models = Models::embedded().unwrap();
        let service = models.service(&call.service).unwrap();
        let operation = service.operation(&call.operation).unwrap();
        let problems = stanch_models::validate(&service, operation, &call.params);
        let errors: Vec<_> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        self.calls.lock().unwrap().push(call.clone());
        let mut replies = self.replies.lock().unwrap();
        let reply = match replies.is_empty() {
            true => Ok(json!({})),
            false => replies.remove(0),
        };
        reply.map(|output| Reply {
            output,
            request_id: None,
        })
    }
}
