//! What is seen of the functions from outside: the ledger, the logs, messages, requests and their price.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_ledger::{
    Consent, DynamoLedger, Event, Ledger as _, Query, Record, RemediationId, Retention, Scope,
    Tables,
};

use super::{
    ADMINISTRATOR, APPROVER, AUDIT_TABLE, Account, Deployed, ORCHESTRATOR, Outcome, STATE_TABLE,
    Trouble, ensure, list, text, wait_for,
};
use crate::{Misconfiguration, Request};

/// The queue that hears what the topic tells.
const HEARD: &str = "e2e-heard";

/// A line that a function logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(pub String);

impl Line {
    /// What CloudWatch takes metrics from, if it is such a line.
    #[must_use]
    pub fn measures(&self) -> Option<Value> {
        let line: Value = serde_json::from_str(&self.0).ok()?;
        line.get("_aws").is_some().then_some(line)
    }

    /// The metrics in it, if it is one of the embedded metric format: name and value,
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
    #[must_use]
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let Some(line) = self.measures() else {
            return Vec::new();
        };
        let directives = list(&line, "/_aws/CloudWatchMetrics");
        let metrics = directives
            .iter()
            .flat_map(|directive| list(directive, "/Metrics"));
        metrics
            .filter_map(|metric| {
                let name = text(metric, "/Name");
                let value = line.get(&name)?;
                let sum = match value {
                    Value::Array(values) => values.iter().filter_map(Value::as_f64).sum(),
                    value => value.as_f64()?,
                };
                Some((name, sum))
            })
            .collect()
    }
}

/// A moment, from which on it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    requests: usize,
    lines: usize,
    executions: usize,
}

/// What was used since a [`Mark`].
#[derive(Debug, Clone, Default)]
pub struct Spent {
    /// Runs of the orchestrator.
    pub runs: usize,
    /// Executions of the state machine.
    pub executions: usize,
    /// Requests to AWS of functions and of their sessions in member accounts, in order.
    pub requests: Vec<Request>,
    /// What the orchestrator logged.
    pub lines: Vec<Line>,
}

impl Spent {
    /// The sum of a metric.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let all = self.lines.iter().flat_map(Line::metrics);
        all.filter(|(found, _)| found == name)
            .map(|(_, value)| value)
            .sum()
    }

    /// Write units of DynamoDB, counted from the requests.
    #[must_use]
    pub fn write_units(&self) -> u64 {
        self.requests.iter().map(write_units).sum()
    }

    /// What of it AWS charges for, as far as it can be counted from outside, by item of the price table.
    #[must_use]
    pub fn usage(&self) -> BTreeMap<&'static str, f64> {
        let of = |service: &str, method: &str| {
            let all = self.requests.iter();
            all.filter(|request| request.service == service && request.method == method)
                .count() as f64
        };
        let told = of("sns", "POST");
        let logged: usize = self.lines.iter().map(|line| line.0.len()).sum();
        BTreeMap::from([
            // The notifier runs for each message.
            ("lambda-request", self.runs as f64 + told),
            ("dynamodb-write", self.write_units() as f64),
            (
                "dynamodb-read",
                self.requests.iter().map(read_units).sum::<f64>(),
            ),
            ("sns-publish", told),
            ("s3-put", of("s3", "PUT")),
            ("logs-gigabyte", logged as f64 / 1e9),
        ])
    }

    /// The requests as words, `dynamodb UpdateItem`, with how many there were of each.
    #[must_use]
    pub fn operations(&self) -> BTreeMap<String, usize> {
        let mut operations = BTreeMap::new();
        for request in &self.requests {
            *operations.entry(operation(request)).or_default() += 1;
        }
        operations
    }
}

impl Deployed {
    /// Subscribes a queue to the topic of notifications.
    pub(super) async fn listen(&self) -> Outcome {
        let here = &self.administrator;
        let queue = format!("arn:aws:sqs:{}:{ADMINISTRATOR}:{HEARD}", here.region);
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.topic()}}}]});
        let wanted = json!({"QueueName": HEARD, "Attributes": {"Policy": policy.to_string()}});
        here.call("sqs", "CreateQueue", wanted).await?;
        let subscription = json!({"TopicArn": self.topic(), "Protocol": "sqs", "Endpoint": queue});
        here.call("sns", "Subscribe", subscription).await.map(drop)
    }

    /// The topic of notifications.
    #[must_use]
    pub fn topic(&self) -> String {
        let region = &self.administrator.region;
        format!("arn:aws:sns:{region}:{ADMINISTRATOR}:SecurityRemediationNotifications")
    }

    /// All messages of the topic so far.
    ///
    /// # Errors
    /// SQS does not answer.
    pub async fn heard(&self) -> Outcome<Vec<Value>> {
        let here = &self.administrator;
        let queue = here
            .call("sqs", "GetQueueUrl", json!({"QueueName": HEARD}))
            .await?;
        let queue = text(&queue, "/QueueUrl");
        let mut messages = self.heard.lock().await;
        loop {
            let asked = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10});
            let answer = here.call("sqs", "ReceiveMessage", asked).await?;
            let received = list(&answer, "/Messages");
            if received.is_empty() {
                return Ok(messages.clone());
            }
            for message in received {
                let handle = text(message, "/ReceiptHandle");
                let done = json!({"QueueUrl": queue, "ReceiptHandle": handle});
                here.call("sqs", "DeleteMessage", done).await?;
                let envelope: Value =
                    serde_json::from_str(&text(message, "/Body")).unwrap_or_default();
                let told = text(&envelope, "/Message");
                messages.push(serde_json::from_str(&told).unwrap_or(Value::String(told)));
            }
        }
    }

    /// The ledger, as an operator of the administrator account reads and writes it.
    #[must_use]
    pub fn ledger(&self) -> DynamoLedger {
        let tables = Tables {
            audit: AUDIT_TABLE.to_owned(),
            state: STATE_TABLE.to_owned(),
            bucket: None,
            retention: Retention::days(90),
        };
        DynamoLedger::new(self.administrator.api(), tables)
    }

    /// The remediation of a finding, if it was taken in.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn record(&self, found: &Misconfiguration) -> Outcome<Option<Record>> {
        let scope = Scope::Finding(text(&found.asff(), "/Id"));
        let page = self.ledger().query(&Query::new(scope)).await?;
        Ok(page.records.into_iter().next())
    }

    /// What happened in a remediation, by name.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn events(&self, id: RemediationId) -> Outcome<Vec<String>> {
        let events = self.ledger().events(id).await?;
        let names = events.iter().map(|(event, _)| {
            let json = serde_json::to_value(event).unwrap_or_default();
            text(&json, "/event")
        });
        Ok(names.collect())
    }

    /// The channels that could not be told of a remediation, with the reasons that the ledger has.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn untold(&self, id: RemediationId) -> Outcome<Vec<(String, String)>> {
        let events = self.ledger().events(id).await?.into_iter();
        let untold = events.filter_map(|(event, _)| match event {
            Event::Notified { channel, error, .. } => Some((channel, error?)),
            _ => None,
        });
        Ok(untold.collect())
    }

    /// A person approves what a remediation waits with, and says so to the orchestrator.
    ///
    /// # Errors
    /// It does not wait.
    pub async fn approve(&self, id: RemediationId) -> Outcome {
        let ledger = self.ledger();
        let (state, events) = ledger.state(id).await?;
        let request = state
            .approval
            .map(|approval| approval.request)
            .ok_or_else(|| Trouble::said("it waits for nobody"))?;
        let role = request.needs.first().map(|need| need.role.clone());
        let consent = Consent {
            by: APPROVER.to_owned(),
            role: role.unwrap_or_default(),
            plan_hash: request.plan_hash,
            how: stanch_ledger::Means::Cli,
        };
        let approved = vec![Event::Approved(consent)];
        ledger.append(id, events, approved, super::now()).await?;
        self.go_on(id).await
    }

    /// Tells the orchestrator that somebody has answered, as whoever may put events on the bus does.
    ///
    /// # Errors
    /// EventBridge refuses.
    pub async fn go_on(&self, id: RemediationId) -> Outcome {
        let entry = json!({"Source": "stanch", "DetailType": "Continue",
            "Detail": json!({"remediationId": id}).to_string()});
        let put = json!({"Entries": [entry]});
        let answer = self.administrator.call("events", "PutEvents", put).await?;
        ensure(answer.get("FailedEntryCount") == Some(&json!(0)), || {
            answer.to_string()
        })
    }

    /// The rows of the audit log, raw, in no order.
    ///
    /// # Errors
    /// DynamoDB does not answer.
    pub async fn rows(&self) -> Outcome<Vec<Value>> {
        let mut rows = Vec::new();
        let mut asked = json!({"TableName": AUDIT_TABLE});
        loop {
            let answer = self.administrator.call("dynamodb", "Scan", asked).await?;
            rows.extend(list(&answer, "/Items").iter().cloned());
            match answer.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => {
                    asked = json!({"TableName": AUDIT_TABLE, "ExclusiveStartKey": key});
                }
                _ => return Ok(rows),
            }
        }
    }

    /// The document with this key in an account's bucket for logs, if it is there.
    ///
    /// # Errors
    /// S3 does not answer, or it is no JSON.
    pub async fn log_object(&self, account: &Account, key: &str) -> Outcome<Option<Value>> {
        let bucket = format!(
            "security-remediation-logs-{}-{}",
            account.id, account.region
        );
        let asked = json!({"Bucket": bucket, "Key": key});
        let answer = match account.try_call("s3", "GetObject", asked).await {
            Ok(answer) => answer,
            Err(error) if error.code == "NoSuchKey" => return Ok(None),
            Err(error) => return Err(Trouble::said(error.to_string())),
        };
        let body = STANDARD
            .decode(text(&answer, "/Body"))
            .map_err(|error| Trouble::said(error.to_string()))?;
        let document = serde_json::from_slice(&body);
        document.map_err(|error| Trouble::said(format!("`{key}` is no JSON: {error}")))
    }

    /// What a function has logged so far.
    ///
    /// # Errors
    /// CloudWatch Logs does not answer.
    pub async fn lines(&self, function: &str) -> Outcome<Vec<Line>> {
        let mut lines = Vec::new();
        let mut asked = json!({"logGroupName": format!("/aws/lambda/{function}")});
        loop {
            let answer = self
                .administrator
                .call("logs", "FilterLogEvents", asked.clone())
                .await?;
            let events = list(&answer, "/events").iter();
            lines.extend(events.map(|event| Line(text(event, "/message"))));
            match answer.get("nextToken").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => {
                    if let Some(asked) = asked.as_object_mut() {
                        asked.insert("nextToken".to_owned(), json!(token));
                    }
                }
                _ => return Ok(lines),
            }
        }
    }

    /// The executions of the state machine, the youngest first.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn executions(&self) -> Outcome<Vec<Value>> {
        let region = &self.administrator.region;
        let machine = format!(
            "arn:aws:states:{region}:{ADMINISTRATOR}:stateMachine:SecurityRemediationWorkflow"
        );
        let asked = json!({"stateMachineArn": machine});
        let answer = self
            .administrator
            .call("stepfunctions", "ListExecutions", asked)
            .await?;
        Ok(list(&answer, "/executions").to_vec())
    }

    /// Now.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub async fn mark(&self) -> Outcome<Mark> {
        Ok(Mark {
            requests: self.emulator().requests()?.len(),
            lines: self.lines(ORCHESTRATOR).await?.len(),
            executions: self.executions().await?.len(),
        })
    }

    /// What was used since `mark`, once every run that began has ended.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub async fn since(&self, mark: Mark) -> Outcome<Spent> {
        let lines = self.lines(ORCHESTRATOR).await?;
        let lines: Vec<Line> = lines.into_iter().skip(mark.lines).collect();
        let began = |line: &&Line| line.0.starts_with("START RequestId");
        let requests = self.emulator().requests()?.into_iter().skip(mark.requests);
        let of_a_session = |request: &Request| {
            !request.key.is_empty() && !request.key.bytes().all(|byte| byte.is_ascii_digit())
        };
        Ok(Spent {
            runs: lines.iter().filter(began).count(),
            executions: self.executions().await?.len() - mark.executions,
            requests: requests.filter(of_a_session).collect(),
            lines,
        })
    }

    /// Waits until the queue of events is empty and nobody works on a message of it.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn settled(&self, patience: Duration) -> Outcome {
        let queue = self.queue("Events").await?;
        let asked = json!({"QueueUrl": queue, "AttributeNames":
            ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]});
        wait_for("an empty queue", patience, async || {
            let answer = self
                .administrator
                .call("sqs", "GetQueueAttributes", asked.clone())
                .await?;
            let attributes = answer.get("Attributes").and_then(Value::as_object);
            let idle = attributes.is_some_and(|all| all.values().all(|number| number == "0"));
            Ok(idle.then_some(()))
        })
        .await
    }

    /// How many messages the queue of events has, those included that are hidden until they are
    /// delivered again.
    ///
    /// # Errors
    /// SQS does not answer.
    pub async fn kept_messages(&self) -> Outcome<u64> {
        let asked = json!({"QueueUrl": self.queue("Events").await?, "AttributeNames": ["All"]});
        let answer = self
            .administrator
            .call("sqs", "GetQueueAttributes", asked)
            .await?;
        let number = |name: &str| {
            let number = text(&answer, &format!("/Attributes/{name}"));
            number.parse::<u64>().unwrap_or_default()
        };
        Ok(number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible"))
    }

    /// Has hidden messages delivered now, and not in half an hour.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub async fn redeliver(&self) -> Outcome {
        let queue = format!(
            "arn:aws:sqs:{}:{ADMINISTRATOR}:SecurityRemediationEvents",
            self.administrator.region
        );
        Ok(self.emulator().reveal(&queue)?)
    }

    /// Forgets what a scenario that failed has left behind: accidents, and messages of the queue.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub async fn forget(&self) -> Outcome {
        self.emulator().befall(&[])?;
        let queue = json!({"QueueUrl": self.queue("Events").await?});
        let purged = self.administrator.call("sqs", "PurgeQueue", queue);
        purged.await.map(drop)
    }

    /// How many messages lie in a queue of the administrator's.
    ///
    /// # Errors
    /// SQS does not answer.
    pub async fn waiting_in(&self, queue: &str) -> Outcome<u64> {
        let asked = json!({"QueueUrl": self.queue(queue).await?,
            "AttributeNames": ["ApproximateNumberOfMessages"]});
        let answer = self
            .administrator
            .call("sqs", "GetQueueAttributes", asked)
            .await?;
        let number = text(&answer, "/Attributes/ApproximateNumberOfMessages");
        number
            .parse()
            .map_err(|_| Trouble::said(format!("no number of messages: {answer}")))
    }
}

/// The request as words.
fn operation(request: &Request) -> String {
    let Request {
        service,
        method,
        path,
        query,
        target,
        body,
        ..
    } = request;
    if let Some((_, operation)) = target.rsplit_once('.') {
        return format!("{service} {operation}");
    }
    let form = body
        .split('&')
        .find_map(|pair| pair.strip_prefix("Action="));
    match form {
        Some(action) => format!("{service} {action}"),
        None if query.is_empty() => format!("{service} {method} {path}"),
        None => format!("{service} {method} {path}?{query}"),
    }
}

/// Write units of a request to DynamoDB: one for each begun kilobyte of an item, twice that in a
/// transaction, and the same again for each index of the audit log that the item is in,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>.
///
/// Of an update only what is sent is known, not the item: its size is taken for the item's.
#[must_use]
pub fn write_units(request: &Request) -> u64 {
    if request.service != "dynamodb" {
        return 0;
    }
    let Ok(body) = serde_json::from_str::<Value>(&request.body) else {
        return 0;
    };
    let operation = request.target.rsplit('.').next().unwrap_or_default();
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => units(&body, 1),
        "TransactWriteItems" => list(&body, "/TransactItems")
            .iter()
            .filter_map(|item| item.as_object()?.values().next())
            .map(|write| units(write, 2))
            .sum(),
        "BatchWriteItem" => {
            let tables = body.get("RequestItems").and_then(Value::as_object);
            let writes = tables.into_iter().flatten().flat_map(|(table, writes)| {
                let table = table.clone();
                let writes = writes.as_array().into_iter().flatten();
                writes.filter_map(move |write| {
                    let mut write = write.as_object()?.values().next()?.clone();
                    write
                        .as_object_mut()?
                        .insert("TableName".to_owned(), json!(table));
                    Some(units(&write, 1))
                })
            });
            writes.sum()
        }
        _ => 0,
    }
}

/// Read units of a request to DynamoDB: one for each item that is asked for, half of that if it need not be
/// the newest, twice in a transaction, and one for a query; none of them reads more than 4 KB,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>.
fn read_units(request: &Request) -> f64 {
    if request.service != "dynamodb" {
        return 0.0;
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let strength = |read: &Value| match read.get("ConsistentRead") {
        Some(Value::Bool(true)) => 1.0,
        _ => 0.5,
    };
    match request.target.rsplit('.').next().unwrap_or_default() {
        "GetItem" | "Query" => strength(&body),
        "BatchGetItem" => {
            let tables = body.get("RequestItems").and_then(Value::as_object);
            let tables = tables.into_iter().flat_map(serde_json::Map::values);
            tables
                .map(|read| strength(read) * list(read, "/Keys").len() as f64)
                .sum()
        }
        "TransactGetItems" => 2.0 * list(&body, "/TransactItems").len() as f64,
        _ => 0.0,
    }
}

fn units(write: &Value, times: u64) -> u64 {
    let of = |member: &str| write.get(member).map_or(0, item_size);
    let size = of("Item") + of("Key") + of("ExpressionAttributeValues");
    let units = size.div_ceil(1024).max(1);
    let item = write.get("Item");
    let in_index = |key: &&&str| item.is_some_and(|item| item.get(**key).is_some());
    let indexes = match write.get("TableName") == Some(&json!(AUDIT_TABLE)) {
        true => ["AccountId", "ResourceId"].iter().filter(in_index).count() as u64,
        false => 0,
    };
    units * times + units * indexes
}

/// The size of an item: the names of its attributes and their values.
fn item_size(item: &Value) -> u64 {
    let attributes = item.as_object().into_iter().flatten();
    attributes
        .map(|(name, value)| name.len() as u64 + value_size(value))
        .sum()
}

fn value_size(value: &Value) -> u64 {
    let Some((kind, inner)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return 0;
    };
    match (&**kind, inner) {
        ("S", Value::String(text)) => text.len() as u64,
        // In base64.
        ("B", Value::String(text)) => text.len() as u64 * 3 / 4,
        ("N", Value::String(digits)) => digits.len() as u64 / 2 + 1,
        ("L", Value::Array(values)) => {
            3 + values
                .iter()
                .map(|value| 1 + value_size(value))
                .sum::<u64>()
        }
        ("M", map) => 3 + item_size(map),
        ("SS" | "NS" | "BS", Value::Array(values)) => {
            let lengths = values.iter().filter_map(Value::as_str).map(str::len);
            lengths.sum::<usize>() as u64
        }
        _ => 1,
    }
}
