//! An organization that answers from scripts.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stanch_operate::{
    Accounts, Installation, Unreachable,
    doctor::{Line, Member, Patient},
};
use stanch_testkit::{FakeApi, models};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Secret};

pub const ADMINISTRATOR: &str = "111111111111";
pub const MEMBER: &str = "222222222222";

pub fn now() -> Timestamp {
    "2026-02-01T12:00:00Z".parse().unwrap()
}

pub fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

pub fn region() -> Region {
    "us-east-1".parse().unwrap()
}

pub fn installation() -> Installation {
    Installation {
        name_prefix: Installation::NAME_PREFIX.to_owned(),
        bucket_prefix: Installation::BUCKET_PREFIX.to_owned(),
        region: region(),
        member_role: "SecurityRemediationCrossAccountRole".to_owned(),
    }
}

/// A script, every request to which fits the API model.
pub struct Modelled(pub FakeApi);

#[async_trait]
impl Api for Modelled {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let models = models();
        let resolved = models.resolve(&call.service, &call.operation).unwrap();
        let problems =
            stanch_models::validate(&resolved.service, resolved.operation(), &call.params);
        assert!(problems.is_empty(), "{call}: {problems:?}");
        self.0.call(call).await
    }
}

/// The administrator account and one member.
pub struct World {
    pub own: Arc<Modelled>,
    /// None: no audit role is configured.
    pub member: Option<Arc<Modelled>>,
    pub ahead: Option<SignedDuration>,
}

impl World {
    pub fn new(own: FakeApi, member: FakeApi) -> Self {
        Self {
            own: Arc::new(Modelled(own)),
            member: Some(Arc::new(Modelled(member))),
            ahead: Some(SignedDuration::ZERO),
        }
    }
}

#[async_trait]
impl Accounts for World {
    fn own(&self, _: &Region) -> Result<Arc<dyn Api>, CallError> {
        Ok(Arc::clone(&self.own) as Arc<dyn Api>)
    }

    async fn audit(&self, id: &AccountId, _: &Region) -> Result<Arc<dyn Api>, Unreachable> {
        assert_eq!(id.as_str(), MEMBER);
        let member = self.member.clone().ok_or(Unreachable::NoAuditRole)?;
        Ok(member)
    }

    fn clock_ahead(&self) -> Option<SignedDuration> {
        self.ahead
    }
}

pub fn patient(installation: &Installation) -> Patient<'_> {
    let member = Member {
        role: None,
        external_id: Some(Secret::new("the-right-id".to_owned())),
        regions: vec![region()],
    };
    Patient {
        installation,
        members: [(account(MEMBER), member)].into(),
        ledger: None,
        documents: [("RemediateS3PublicAccess".to_owned(), "v-1".to_owned())].into(),
        now: now(),
    }
}

/// What AWS answers who may not.
pub fn denied(call: &Call) -> CallError {
    CallError {
        code: "AccessDenied".to_owned(),
        ..CallError::new(CallErrorKind::Denied, call, "not authorized")
    }
}

/// The administrator account with everything as it should be.
pub fn administrator() -> FakeApi {
    let arn = |service: &str, resource: &str| {
        format!("arn:aws:{service}:us-east-1:{ADMINISTRATOR}:{resource}")
    };
    FakeApi::new()
        .returns(
            "sts.GetCallerIdentity",
            json!({"Account": ADMINISTRATOR, "Arn": format!("arn:aws:sts::{ADMINISTRATOR}:assumed-role/OrchestratorLambdaRole/me")}),
        )
        .on("sts.AssumeRole", |call| match call.params["ExternalId"].as_str() {
            Some("the-right-id") => Ok(json!({"Credentials": {}})),
            _ => Err(denied(call)),
        })
        .on("lambda.GetFunctionConfiguration", |call| {
            Ok(json!({"FunctionName": call.params["FunctionName"], "State": "Active", "LastUpdateStatus": "Successful"}))
        })
        .returns("lambda.ListEventSourceMappings", json!({"EventSourceMappings": [{"UUID": "u", "State": "Enabled"}]}))
        .returns("kms.DescribeKey", json!({"KeyMetadata": {"KeyId": "k", "KeyState": "Enabled"}}))
        .returns("kms.GetKeyRotationStatus", json!({"KeyRotationEnabled": true}))
        .returns("securityhub.DescribeHub", json!({"HubArn": "h"}))
        .returns(
            "config.DescribeConfigurationRecorderStatus",
            json!({"ConfigurationRecordersStatus": [{"recording": true, "lastStatus": "Success"}]}),
        )
        .returns("events.DescribeRule", json!({"State": "ENABLED", "EventPattern": "{}"}))
        .returns("iam.SimulatePrincipalPolicy", json!({"EvaluationResults": [{"EvalDecision": "allowed"}]}))
        .returns(
            "dynamodb.DescribeTable",
            json!({"Table": {"TableStatus": "ACTIVE", "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}}),
        )
        .returns(
            "dynamodb.DescribeContinuousBackups",
            json!({"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}}),
        )
        .returns("dynamodb.DescribeTimeToLive", json!({"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}))
        .returns("cloudwatch.GetMetricStatistics", json!({"Datapoints": []}))
        .returns("sns.GetTopicAttributes", json!({"Attributes": {"Policy": r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"sns:Publish","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#}}))
        .returns(
            "sns.ListSubscriptionsByTopic",
            json!({"Subscriptions": [
                {"Protocol": "lambda", "Endpoint": "f", "SubscriptionArn": arn("sns", "t:1")},
                {"Protocol": "email", "Endpoint": "security@example.com", "SubscriptionArn": arn("sns", "t:2")},
            ]}),
        )
        .returns("sqs.GetQueueUrl", json!({"QueueUrl": "https://queue"}))
        .returns(
            "sqs.GetQueueAttributes",
            json!({"Attributes": {"ApproximateNumberOfMessages": "0", "QueueArn": arn("sqs", "q")}}),
        )
        .returns("stepfunctions.ListExecutions", json!({"executions": []}))
}

/// The member account with everything as it should be.
pub fn member() -> FakeApi {
    let trust = json!({"Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ADMINISTRATOR}:role/OrchestratorLambdaRole")},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "the-right-id"}},
    }]});
    FakeApi::new()
        .returns(
            "iam.GetRole",
            json!({"Role": {
                "AssumeRolePolicyDocument": trust.to_string(),
                "PermissionsBoundary": {"PermissionsBoundaryArn": "b"},
            }}),
        )
        .returns(
            "iam.SimulatePrincipalPolicy",
            json!({"EvaluationResults": [{"EvalDecision": "allowed"}]}),
        )
        .returns("securityhub.DescribeHub", json!({"HubArn": "h"}))
        .returns(
            "config.DescribeConfigurationRecorderStatus",
            json!({"ConfigurationRecordersStatus": [{"recording": true}]}),
        )
        .returns(
            "ssm.DescribeDocument",
            json!({"Document": {"Status": "Active", "DocumentVersion": "3", "VersionName": "v-1"}}),
        )
        .returns(
            "ssm.DescribeAutomationExecutions",
            json!({"AutomationExecutionMetadataList": []}),
        )
}

/// The line about something.
pub fn line<'l>(lines: &'l [Line], what: &str) -> &'l Line {
    let mut found = lines.iter().filter(|line| line.what.contains(what));
    let line = found
        .next()
        .unwrap_or_else(|| panic!("no line about `{what}`: {lines:#?}"));
    assert!(found.next().is_none(), "more than one line about `{what}`");
    line
}
