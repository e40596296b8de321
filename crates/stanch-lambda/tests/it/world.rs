//! An administrator account with its variables and services, and member accounts beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use stanch_aws::{Environment, SessionsSetup};
use stanch_lambda::{
    Failure, Function, Handler, Invocation, Print, Reach, Store, Variables, World as Surroundings,
};
use stanch_ledger::{
    Directives, DynamoLedger, Ledger, MemoryLedger, RemediationId, Retention, State, Tables,
};
use stanch_models::Models;
use stanch_testkit::{FakeApi, FakeAws, FakeClock, Misconfiguration, Tap};
use stanch_types::{AccountId, Api, Call, Clock, Region, Sessions};

pub const TOPIC: &str = "arn:aws:sns:eu-central-1:111111111111:SecurityRemediationNotifications";
pub const MACHINE: &str = "arn:aws:states:eu-central-1:111111111111:stateMachine:Workflow";

/// Lets what is guarded run by itself; what needs an approval is asked of two people.
pub const CONFIG: &str = r#"
[automatic]
guarded = ["S3BlockPublicAccess"]
[approval.groups]
security = ["alice", "bob"]
[[approval.rules]]
needs = { security = 1 }
"#;

#[derive(Default)]
pub struct Lines(Mutex<Vec<Value>>);

impl Lines {
    /// What was printed so far.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

impl Print for Lines {
    fn line(&self, line: &str) {
        self.0
            .lock()
            .unwrap()
            .push(serde_json::from_str(line).unwrap());
    }
}

pub struct World {
    pub aws: FakeAws,
    pub tap: Tap,
    pub ledger: Arc<dyn Ledger>,
    pub directives: Arc<dyn Directives>,
    pub clock: Arc<FakeClock>,
    pub own: Arc<FakeApi>,
    pub lines: Arc<Lines>,
    pub variables: BTreeMap<&'static str, String>,
    /// The ledger is in tables of the administrator account, and not in memory.
    pub in_tables: bool,
    /// The roles and external ids that sessions were to be opened with.
    pub roles: Arc<Mutex<Option<SessionsSetup>>>,
}

struct FakeReach {
    own: Arc<FakeApi>,
    tap: Tap,
    store: Store,
    models: Arc<Models>,
    roles: Arc<Mutex<Option<SessionsSetup>>>,
}

impl Reach for FakeReach {
    fn models(&self) -> Result<Arc<Models>, Failure> {
        Ok(Arc::clone(&self.models))
    }

    fn own(&self, _: Option<&Region>) -> Result<Arc<dyn Api>, Failure> {
        Ok(Arc::clone(&self.own) as Arc<dyn Api>)
    }

    fn members(&self, setup: SessionsSetup) -> Result<Arc<dyn Sessions>, Failure> {
        *self.roles.lock().unwrap() = Some(setup);
        Ok(Arc::new(self.tap.clone()))
    }

    fn store(&self, _: Variables<'_>, _: Arc<dyn Api>, _: Retention) -> Result<Store, Failure> {
        Ok(self.store.clone())
    }

    fn trace(&self, _: Option<&str>) {}
}

/// The header of a trace that is kept, as Lambda gives it.
pub const TRACED: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0";

pub fn account() -> AccountId {
    "222222222222".parse().unwrap()
}

pub fn region() -> Region {
    "eu-central-1".parse().unwrap()
}

/// The administrator account's services, in which everything works.
pub fn services() -> FakeApi {
    let items: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let key = |call: &Call, at: &str| {
        call.params
            .pointer(at)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (put, get, delete) = (Arc::clone(&items), Arc::clone(&items), items);
    FakeApi::new()
        .on("secretsmanager.GetSecretValue", |call| {
            Ok(json!({"SecretString": format!("the secret {}", call.params["SecretId"])}))
        })
        .returns("sns.Publish", json!({"MessageId": "m"}))
        .returns("s3.PutObject", json!({}))
        .returns(
            "securityhub.BatchUpdateFindings",
            json!({"ProcessedFindings": [], "UnprocessedFindings": []}),
        )
        .returns(
            "s3.ListObjectsV2",
            json!({"Contents": [{"Key": "stanch.toml", "Size": 10}]}),
        )
        .on("s3.GetObject", |_| {
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.encode(CONFIG);
            Ok(json!({ "Body": body }))
        })
        .returns("stepfunctions.StartExecution", json!({"executionArn": "e"}))
        .returns("stepfunctions.SendTaskSuccess", json!({}))
        .on("dynamodb.PutItem", move |call| {
            let item = call.params["Item"].clone();
            put.lock().unwrap().insert(key(call, "/Item/Key/S"), item);
            Ok(json!({}))
        })
        .on("dynamodb.GetItem", move |call| {
            let found = get.lock().unwrap().get(&key(call, "/Key/Key/S")).cloned();
            Ok(found.map_or_else(|| json!({}), |item| json!({ "Item": item })))
        })
        .on("dynamodb.DeleteItem", move |call| {
            delete.lock().unwrap().remove(&key(call, "/Key/Key/S"));
            Ok(json!({}))
        })
}

/// The same with this configuration, and files beside it.
pub fn configured(toml: &str, files: &[(&str, &str)]) -> FakeApi {
    use base64::Engine as _;
    let text = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let mut files: BTreeMap<String, String> = files.iter().map(text).collect();
    files.insert("stanch.toml".to_owned(), toml.to_owned());
    let contents: Vec<Value> = files
        .iter()
        .map(|(name, text)| json!({"Key": name, "Size": text.len()}))
        .collect();
    services()
        .returns("s3.ListObjectsV2", json!({ "Contents": contents }))
        .on("s3.GetObject", move |call| {
            let text = &files[call.params["Key"].as_str().unwrap()];
            let body = base64::engine::general_purpose::STANDARD.encode(text);
            Ok(json!({ "Body": body }))
        })
}

impl World {
    pub fn new() -> Self {
        Self::with(services())
    }

    pub fn with(own: FakeApi) -> Self {
        let aws = FakeAws::new(&[account()]);
        let ledger = Arc::new(MemoryLedger::default());
        let variables = [
            ("MEMBER_ACCOUNTS", r#"["222222222222"]"#),
            ("SNS_TOPIC_ARN", TOPIC),
            ("STEP_FUNCTION_ARN", MACHINE),
            ("STATE_TABLE", "SecurityRemediationState"),
            ("EXTERNAL_ID_SECRET", "prefix"),
            ("VAULT_SECRET", "vault"),
            ("STANCH_CONFIG", "s3://rules/stanch.toml"),
            ("METRIC_NAMESPACE", "SecurityRemediation"),
        ];
        Self {
            tap: Tap::new(Arc::new(aws.clone())),
            aws,
            directives: Arc::clone(&ledger) as Arc<dyn Directives>,
            ledger,
            clock: Arc::new(FakeClock::default()),
            own: Arc::new(own),
            lines: Arc::default(),
            variables: variables
                .map(|(name, value)| (name, value.to_owned()))
                .into(),
            in_tables: false,
            roles: Arc::default(),
        }
    }

    /// The function as it is after a cold start.
    pub fn function(&self, handler: Handler) -> Arc<dyn Function> {
        let mut store = Store {
            ledger: Arc::clone(&self.ledger),
            directives: Arc::clone(&self.directives),
            tables: None,
        };
        if self.in_tables {
            let tables = Tables {
                audit: "SecurityRemediationAuditLog".to_owned(),
                state: "SecurityRemediationState".to_owned(),
                bucket: None,
                retention: Retention::days(90),
            };
            let own = Arc::clone(&self.own) as Arc<dyn Api>;
            let ledger = Arc::new(DynamoLedger::new(own, tables));
            store.ledger = Arc::clone(&ledger) as Arc<dyn Ledger>;
            store.directives = Arc::clone(&ledger) as Arc<dyn Directives>;
            store.tables = Some(ledger);
        }
        handler.function(Surroundings {
            environment: Environment::new(self.variables.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            reach: Arc::new(FakeReach {
                own: Arc::clone(&self.own),
                tap: self.tap.clone(),
                store,
                models: stanch_testkit::models(),
                roles: Arc::clone(&self.roles),
            }),
            print: Arc::clone(&self.lines) as Arc<dyn Print>,
        })
    }

    /// An event with five minutes for it.
    pub fn invocation(&self, event: Value) -> Invocation {
        self.invocation_of(event, Duration::from_mins(5))
    }

    pub fn invocation_of(&self, event: Value, time: Duration) -> Invocation {
        Invocation {
            event,
            deadline: self.clock.now() + time,
            request_id: "r-1".to_owned(),
            trace: Some(TRACED.to_owned()),
        }
    }

    /// What a cold orchestrator answers to these messages.
    pub async fn deliver(&self, bodies: &[String]) -> Result<Vec<String>, Failure> {
        let orchestrator = self.function(Handler::Orchestrator);
        let answer = orchestrator
            .handle(self.invocation(batch(bodies, 1)))
            .await?;
        let failed = answer["batchItemFailures"].as_array().unwrap().clone();
        let name = |item: &Value| item["itemIdentifier"].as_str().unwrap().to_owned();
        Ok(failed.iter().map(name).collect())
    }

    /// What a cold orchestrator answers to a stage.
    pub async fn stage(&self, event: Value) -> Value {
        let orchestrator = self.function(Handler::Orchestrator);
        orchestrator.handle(self.invocation(event)).await.unwrap()
    }

    pub async fn bucket(&self, name: &str) {
        let api: Arc<dyn Api> = self.aws.account(&account(), &region());
        let create = Call::new("s3", "CreateBucket", json!({"Bucket": name}));
        api.call(&create).await.unwrap();
    }

    pub async fn is_blocked(&self, bucket: &str) -> bool {
        let api: Arc<dyn Api> = self.aws.account(&account(), &region());
        let call = Call::new("s3", "GetPublicAccessBlock", json!({"Bucket": bucket}));
        api.call(&call).await.is_ok()
    }

    pub fn finding(&self, bucket: &str) -> Misconfiguration {
        Misconfiguration {
            account: account(),
            region: region(),
            control: "S3.8".parse().unwrap(),
            resource_type: "AwsS3Bucket".to_owned(),
            resource_id: format!("arn:aws:s3:::{bucket}"),
            details: Value::Null,
            at: self.clock.now(),
        }
    }

    /// A bucket to be fixed, and the message about it.
    pub async fn planted(&self, bucket: &str) -> String {
        self.bucket(bucket).await;
        self.finding(bucket).security_hub_event().to_string()
    }

    pub async fn all(&self) -> Vec<(RemediationId, State)> {
        let page = self
            .ledger
            .query(&stanch_ledger::Query::all())
            .await
            .unwrap();
        let mut all = Vec::new();
        for record in page.records {
            let id = record.remediation_id;
            all.push((id, self.ledger.state(id).await.unwrap().0));
        }
        all
    }

    /// The parameters of the administrator account's calls of one operation.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.own.calls().into_iter();
        calls
            .filter(|call| call.to_string() == operation)
            .map(|call| call.params)
            .collect()
    }

    /// The messages that the topic got.
    pub fn told(&self) -> Vec<Value> {
        let published = self.calls("sns.Publish").into_iter();
        published
            .map(|call| serde_json::from_str(call["Message"].as_str().unwrap()).unwrap())
            .collect()
    }

    pub fn metrics(&self) -> Vec<Value> {
        self.lines.0.lock().unwrap().clone()
    }
}

/// Messages of the queue, each delivered for the given time.
pub fn batch(bodies: &[String], times: u32) -> Value {
    let record = |(number, body): (usize, &String)| {
        json!({
            "messageId": format!("m-{number}"),
            "body": body,
            "attributes": {"ApproximateReceiveCount": times.to_string()},
            "eventSource": "aws:sqs",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() })
}
