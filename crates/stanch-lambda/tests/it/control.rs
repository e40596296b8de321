//! The control runbook, as the member stack deploys it, from end to end: Systems Manager before
//! MiniStack, and the remediation function in process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_aws::{Environment, SessionsSetup};
use stanch_lambda::{
    Failure, Function, Invocation, Print, Reach, Remediation, Store, Variables, World,
};
use stanch_ledger::Retention;
use stanch_models::Models;
use stanch_runbook::Functions;
use stanch_testkit::{
    Emulated, Emulator, FastClock,
    automation::{Automation, AutomationServer, RootRoles},
    models, repository,
};
use stanch_types::{AccountId, Api, Call, Clock, Region, Sessions};

const CONTROL: &str = "SecurityRemediationControlRunbook";
const LOGS: &str = "security-remediation-logs-222222222222-us-east-1";

fn account() -> AccountId {
    "222222222222".parse().unwrap()
}

fn region() -> Region {
    "us-east-1".parse().unwrap()
}

/// AWS as the function reaches it: with the rights of the account's root.
struct Own(Emulated);

impl Reach for Own {
    fn models(&self) -> Result<Arc<Models>, Failure> {
        Ok(models())
    }

    fn own(&self, at: Option<&Region>) -> Result<Arc<dyn Api>, Failure> {
        let home = region();
        Ok(self.0.root(&account(), at.unwrap_or(&home)))
    }

    fn members(&self, _: SessionsSetup) -> Result<Arc<dyn Sessions>, Failure> {
        Err(Failure::configuration("it has no members"))
    }

    fn store(&self, _: Variables<'_>, _: Arc<dyn Api>, _: Retention) -> Result<Store, Failure> {
        Err(Failure::configuration("it has no ledger"))
    }

    fn trace(&self, _: Option<&str>) {}
}

/// Lines that nobody reads.
struct Silent;

impl Print for Silent {
    fn line(&self, _: &str) {}
}

/// The function behind Automation, once there is an endpoint that it can reach.
struct Served {
    function: Arc<std::sync::OnceLock<Remediation>>,
    /// Before the verification somebody takes the fix back.
    sabotage: Arc<AtomicBool>,
    saboteur: Arc<dyn Api>,
}

#[async_trait]
impl Functions for Served {
    fn knows(&self, name: &str) -> bool {
        name == "SecurityRemediationRemediation"
    }

    async fn call(&self, _: &str, payload: &Value) -> Result<Value, String> {
        if payload["Stage"] == "verify-control" && self.sabotage.load(Ordering::SeqCst) {
            let half = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
            let call = Call::new(
                "s3",
                "PutPublicAccessBlock",
                json!({"Bucket": "demo", "PublicAccessBlockConfiguration": half}),
            );
            self.saboteur.call(&call).await.unwrap();
        }
        let invocation = Invocation {
            event: payload.clone(),
            deadline: jiff::Timestamp::MAX,
            request_id: "test".to_owned(),
            trace: None,
        };
        let function = self.function.get().unwrap();
        function
            .handle(invocation)
            .await
            .map_err(|failure| failure.to_string())
    }
}

struct Member {
    automation: Automation,
    server: AutomationServer,
    sabotage: Arc<AtomicBool>,
    root: Arc<dyn Api>,
    emulator: Emulator,
}

/// As CloudFormation would resolve it with the default names.
fn resolved(value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.iter().next() {
            Some((name, text)) if name == "Fn::Sub" => {
                let text = text.as_str().unwrap();
                json!(text.replace("${NamePrefix}", "SecurityRemediation"))
            }
            Some((name, choice)) if name == "Fn::If" => resolved(&choice[1]),
            _ => members
                .iter()
                .map(|(name, member)| (name.clone(), resolved(member)))
                .collect(),
        },
        Value::Array(items) => items.iter().map(resolved).collect(),
        other => other.clone(),
    }
}

impl Member {
    async fn new() -> Self {
        Self::with(LOGS).await
    }

    /// `logs` is the bucket that the function is told of.
    async fn with(logs: &'static str) -> Self {
        let emulator = Emulator::start().unwrap();
        let direct = Emulated::at(&emulator.endpoint(), region());
        let function = Arc::new(std::sync::OnceLock::new());
        let sabotage = Arc::new(AtomicBool::new(false));
        let served = {
            let (function, sabotage) = (Arc::clone(&function), Arc::clone(&sabotage));
            let saboteur = direct.root(&account(), &region());
            move |_: &AccountId, _: &Region| -> Arc<dyn Functions> {
                Arc::new(Served {
                    function: Arc::clone(&function),
                    sabotage: Arc::clone(&sabotage),
                    saboteur: Arc::clone(&saboteur),
                })
            }
        };
        let clock: Arc<dyn Clock> = Arc::new(FastClock::new(
            jiff::Timestamp::constant(1_767_225_600, 0),
            25,
        ));
        let automation = Automation::new(Arc::clone(&clock), models())
            .answering(Arc::new(served))
            .assuming(Arc::new(RootRoles(direct)));
        let server = AutomationServer::start(emulator.address(), automation.clone())
            .await
            .unwrap();
        let aws = Emulated::at(&server.endpoint(), region());
        let root = aws.root(&account(), &region());
        let key = Call::new("kms", "CreateKey", json!({}));
        let key = root.call(&key).await.unwrap().output;
        let world = World {
            environment: Environment::new([
                ("NAME_PREFIX", "SecurityRemediation"),
                ("S3_BUCKET", logs),
                ("KMS_KEY_ID", key["KeyMetadata"]["KeyId"].as_str().unwrap()),
                (
                    "CLOUDWATCH_LOG_GROUP",
                    "/aws/lambda/SecurityRemediationRemediation",
                ),
            ]),
            clock,
            reach: Arc::new(Own(aws)),
            print: Arc::new(Silent),
        };
        assert!(function.set(Remediation::new(world)).is_ok());
        let member = Self {
            automation,
            server,
            sabotage,
            root,
            emulator,
        };
        member
            .call("s3", "CreateBucket", json!({"Bucket": LOGS}))
            .await;
        member.deploy().await;
        member
    }

    /// Creates the documents of the stack `member-documents`, as it is committed.
    async fn deploy(&self) {
        let path = repository().join("generated/cloudformation/member-documents.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let limits = stanch_syntax::Limits::default();
        let template = stanch_syntax::read(&text, limits).unwrap().to_json();
        for resource in template["Resources"].as_object().unwrap().values() {
            let resource = resolved(&resource["Properties"]);
            let create = json!({
                "Name": resource["Name"],
                "Content": stanch_syntax::to_yaml(&resource["Content"]),
                "DocumentFormat": "YAML",
                "DocumentType": "Automation",
                "VersionName": resource["VersionName"],
            });
            self.call("ssm", "CreateDocument", create).await;
        }
    }

    async fn call(&self, service: &str, operation: &str, params: Value) -> Value {
        let call = Call::new(service, operation, params);
        self.root.call(&call).await.unwrap().output
    }

    /// Starts the control runbook.
    async fn start(&self, kind: &str, arn: &str, dry: bool) -> String {
        let started = self
            .call(
                "ssm",
                "StartAutomationExecution",
                json!({"DocumentName": CONTROL, "Parameters": {
                    "RemediationId": ["test-1"],
                    "ResourceArn": [arn],
                    "RemediationType": [kind],
                    "DryRun": [dry.to_string()],
                    "RemediationFunction": ["SecurityRemediationRemediation"],
                }}),
            )
            .await;
        started["AutomationExecutionId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Runs the control runbook; its record.
    async fn run(&self, kind: &str, arn: &str, dry: bool) -> Value {
        let id = self.start(kind, arn, dry).await;
        self.automation.ended(&id).await;
        self.record(&id).await
    }

    async fn record(&self, id: &str) -> Value {
        let get = json!({"AutomationExecutionId": id});
        let got = self.call("ssm", "GetAutomationExecution", get).await;
        got["AutomationExecution"].clone()
    }

    async fn block(&self) -> Option<Value> {
        let call = Call::new("s3", "GetPublicAccessBlock", json!({"Bucket": "demo"}));
        let reply = self.root.call(&call).await.ok()?;
        Some(reply.output["PublicAccessBlockConfiguration"]["IgnorePublicAcls"].clone())
    }

    async fn bucket(&self) {
        self.call("s3", "CreateBucket", json!({"Bucket": "demo"}))
            .await;
        let open = json!({"Bucket": "demo"});
        self.call("s3", "DeletePublicAccessBlock", open).await;
    }

    async fn logged(&self, prefix: &str) -> Vec<String> {
        let list = json!({"Bucket": LOGS, "Prefix": prefix});
        let listed = self.call("s3", "ListObjectsV2", list).await;
        let contents = listed["Contents"].as_array().cloned().unwrap_or_default();
        let key = |object: &Value| object["Key"].as_str().unwrap().to_owned();
        contents.iter().map(key).collect()
    }
}

/// The steps that have run, with how they ended.
fn story(record: &Value) -> String {
    let steps = record["StepExecutions"].as_array().unwrap();
    let run = steps.iter().filter(|step| step["StepStatus"] != "Pending");
    run.map(|step| {
        let name = step["StepName"].as_str().unwrap();
        match step["StepStatus"].as_str().unwrap() {
            "Success" => name.to_owned(),
            status => format!("{name}:{status}"),
        }
    })
    .collect::<Vec<_>>()
    .join(" ")
}

const WELL: &str = "ValidateInputs CheckResourceStatus MayGoOn CreateBackupIfRequired InvokeRemediationRunbook VerifyRemediation LogResults CleanupTemporaryResources";

#[tokio::test]
async fn a_bucket_is_closed_verified_and_logged() {
    let member = Member::new().await;
    member.bucket().await;
    let dry = member
        .run("RemediateS3PublicAccess", "arn:aws:s3:::demo", true)
        .await;
    assert_eq!(
        story(&dry),
        "ValidateInputs CheckResourceStatus MayGoOn LogResults CleanupTemporaryResources",
        "{dry:#}"
    );
    let shown = dry["Outputs"]["CheckResourceStatus.Requests"].to_string();
    assert!(shown.contains("PutPublicAccessBlock"), "{shown}");
    assert_eq!(member.block().await, None, "a dry run changes nothing");
    assert!(member.logged("backups/").await.is_empty());

    let record = member
        .run("RemediateS3PublicAccess", "arn:aws:s3:::demo", false)
        .await;
    assert_eq!(story(&record), WELL, "{record:#}");
    assert_eq!(record["AutomationExecutionStatus"], "Success");
    assert_eq!(member.block().await, Some(json!(true)));
    assert_eq!(
        member.logged("backups/").await,
        ["backups/remediation-test-1.json"]
    );
    let logged = member.logged("year=").await;
    let id = record["AutomationExecutionId"].as_str().unwrap();
    let own = logged.iter().find(|key| key.contains(id)).unwrap();
    assert!(own.contains("/month=") && own.contains("/day="), "{own}");

    let again = member
        .run("S3BlockPublicAccess", "arn:aws:s3:::demo", false)
        .await;
    assert_eq!(
        story(&again),
        "ValidateInputs CheckResourceStatus MayGoOn LogResults CleanupTemporaryResources",
        "there is nothing to do any more"
    );
}

#[tokio::test]
async fn a_security_group_and_a_database_too() {
    let member = Member::new().await;
    let group = member
        .call(
            "ec2",
            "CreateSecurityGroup",
            json!({"GroupName": "open", "Description": "open"}),
        )
        .await["GroupId"]
        .clone();
    let open = json!({"GroupId": group, "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
    ]});
    member
        .call("ec2", "AuthorizeSecurityGroupIngress", open)
        .await;
    let arn = format!(
        "arn:aws:ec2:us-east-1:222222222222:security-group/{}",
        group.as_str().unwrap()
    );
    let record = member.run("RemediateOpenSecurityGroup", &arn, false).await;
    assert_eq!(story(&record), WELL, "{record:#}");
    let groups = json!({"GroupIds": [group]});
    let left = member.call("ec2", "DescribeSecurityGroups", groups).await;
    let left = left["SecurityGroups"][0]["IpPermissions"].to_string();
    assert!(!left.contains("0.0.0.0/0"), "{left}");
    assert!(left.contains("10.0.0.0/8"), "{left}");

    let database = json!({"DBInstanceIdentifier": "demo", "DBInstanceClass": "db.t3.micro", "Engine": "mysql", "MasterUsername": "admin", "MasterUserPassword": "correct-horse", "AllocatedStorage": 20, "PubliclyAccessible": true});
    member.call("rds", "CreateDBInstance", database).await;
    let caller = stanch_testkit::automation::Caller {
        account: account(),
        region: region(),
        arn: "arn:aws:iam::222222222222:root".to_owned(),
        api: Arc::clone(&member.root),
        parent: None,
    };
    let (catalog, naming) = (
        stanch_catalog::Catalog::embedded(),
        stanch_catalog::Naming::default(),
    );
    member
        .automation
        .deploy(&caller, &catalog, &naming, "RdsMakeInstancePrivate")
        .await
        .unwrap();
    let arn = "arn:aws:rds:us-east-1:222222222222:db:demo";
    let record = member.run("RdsMakeInstancePrivate", arn, false).await;
    assert_eq!(story(&record), WELL, "{record:#}");
    let demo = json!({"DBInstanceIdentifier": "demo"});
    let now = member.call("rds", "DescribeDBInstances", demo).await;
    assert_eq!(now["DBInstances"][0]["PubliclyAccessible"], json!(false));
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_logged() {
    let member = Member::new().await;
    let check = async |kind: &str, arn: &str, told: &str, why: &str| {
        let record = member.run(kind, arn, false).await;
        assert_eq!(story(&record), told, "{record:#}");
        assert_eq!(record["AutomationExecutionStatus"], "Failed");
        let all = record.to_string();
        assert!(all.contains(why), "{why}: {record:#}");
        let id = record["AutomationExecutionId"].as_str().unwrap();
        let logged = member.logged("year=").await;
        assert!(logged.iter().any(|key| key.contains(id)), "{logged:?}");
    };
    let refused = "ValidateInputs:Failed LogResults CleanupTemporaryResources";
    let bucket = "arn:aws:s3:::demo";
    check(
        "RemediateNothing",
        bucket,
        refused,
        "there is no remediation",
    )
    .await;
    check("RollbackS3PublicAccess", bucket, refused, "puts back").await;
    let foreign = "arn:aws:ec2:us-east-1:333333333333:security-group/sg-1";
    check(
        "RemediateOpenSecurityGroup",
        foreign,
        refused,
        "333333333333",
    )
    .await;
    let bad = "arn:aws:s3:::Bad\"_Bucket";
    check("RemediateS3PublicAccess", bad, refused, "cannot be").await;
    check(
        "RemediateS3PublicAccess",
        "arn:aws:s3:::is-not-there",
        "ValidateInputs CheckResourceStatus:Failed LogResults CleanupTemporaryResources",
        "NoSuchBucket",
    )
    .await;
}

#[tokio::test]
async fn a_fix_that_does_not_hold_is_put_back() {
    let member = Member::new().await;
    member.bucket().await;
    member.sabotage.store(true, Ordering::SeqCst);
    let record = member
        .run("RemediateS3PublicAccess", "arn:aws:s3:::demo", false)
        .await;
    assert_eq!(
        story(&record),
        "ValidateInputs CheckResourceStatus MayGoOn CreateBackupIfRequired InvokeRemediationRunbook VerifyRemediation:Failed PrepareRollback IsRollbackNeeded InvokeRollbackRunbook LogResults CleanupTemporaryResources",
        "{record:#}"
    );
    assert_eq!(record["AutomationExecutionStatus"], "Failed");
    assert_eq!(member.block().await, None, "as it was before");
}

#[tokio::test]
async fn who_may_not_change_it_fails_and_nothing_is_changed() {
    let member = Member::new().await;
    member.bucket().await;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::222222222222:root"}, "Action": "sts:AssumeRole"}]});
    member
        .call(
            "iam",
            "CreateRole",
            json!({"RoleName": "reader", "AssumeRolePolicyDocument": trust.to_string()}),
        )
        .await;
    let reads = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetBucket*", "ssm:*", "lambda:*"], "Resource": "*"}]});
    member
        .call(
            "iam",
            "PutRolePolicy",
            json!({"RoleName": "reader", "PolicyName": "reads", "PolicyDocument": reads.to_string()}),
        )
        .await;
    let started = member
        .call(
            "ssm",
            "StartAutomationExecution",
            json!({"DocumentName": CONTROL, "Parameters": {
                "RemediationId": ["test-1"],
                "ResourceArn": ["arn:aws:s3:::demo"],
                "RemediationType": ["RemediateS3PublicAccess"],
                "DryRun": ["false"],
                "RemediationFunction": ["SecurityRemediationRemediation"],
                "AutomationAssumeRole": ["arn:aws:iam::222222222222:role/reader"],
            }}),
        )
        .await;
    let id = started["AutomationExecutionId"].as_str().unwrap();
    member.automation.ended(id).await;
    let record = member.record(id).await;
    assert_eq!(
        story(&record),
        "ValidateInputs CheckResourceStatus MayGoOn CreateBackupIfRequired InvokeRemediationRunbook:Failed PrepareRollback IsRollbackNeeded InvokeRollbackRunbook LogResults CleanupTemporaryResources",
        "{record:#}"
    );
    assert_eq!(record["AutomationExecutionStatus"], "Failed");
    assert_eq!(member.block().await, None);
    let requests = member.emulator.requests().unwrap();
    let refused = requests
        .iter()
        .filter(|request| request.method == "PUT" && request.query.contains("publicAccessBlock"));
    assert_eq!(refused.count(), 1, "it was tried, and denied");
}

#[tokio::test]
async fn without_its_log_bucket_it_does_not_begin() {
    let member = Member::with("no-such-bucket").await;
    member.bucket().await;
    let record = member
        .run("RemediateS3PublicAccess", "arn:aws:s3:::demo", false)
        .await;
    assert_eq!(
        story(&record),
        "ValidateInputs CheckResourceStatus MayGoOn CreateBackupIfRequired:Failed LogResults:Failed CleanupTemporaryResources",
        "{record:#}"
    );
    assert_eq!(record["AutomationExecutionStatus"], "Failed");
    assert_eq!(member.block().await, None);
}

#[tokio::test]
async fn a_cancelled_run_stops_and_says_so() {
    let member = Member::new().await;
    member.bucket().await;
    let id = member
        .start("RemediateS3PublicAccess", "arn:aws:s3:::demo", false)
        .await;
    member
        .call(
            "ssm",
            "StopAutomationExecution",
            json!({"AutomationExecutionId": id, "Type": "Cancel"}),
        )
        .await;
    let ended = member.automation.ended(&id).await;
    assert_eq!(ended["detail"]["Status"], "Cancelled", "{ended}");
    assert!(member.server.endpoint().starts_with("http://127.0.0.1:"));
}
