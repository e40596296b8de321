//! Both stacks, deployed by MiniStack's CloudFormation with IAM enforced.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_aws::{Client, Environment, Setup, SystemClock, SystemRandom};
use stanch_testkit::{Emulator, models};
use stanch_types::{Api, Call, CallErrorKind, Clock, Region};

use crate::TEMPLATES;

const ADMINISTRATOR: &str = "111111111111";
const MEMBER: &str = "222222222222";
const PREFIX: &str = "an-external-id-prefix";

/// What MiniStack 1.5.33 lacks, and what is taken out or put in for it. Each must still be needed.
fn adapted(name: &str, used: &mut BTreeSet<&'static str>) -> Value {
    let mut template = TEMPLATES[name].clone();
    let resources = template["Resources"].as_object_mut().unwrap();
    resources.retain(|_, resource| {
        // "AWS::CloudWatch::Alarm Properties.Metrics (metric math) is not supported"
        if resource["Type"] == "AWS::CloudWatch::Alarm"
            && !resource["Properties"]["Metrics"].is_null()
        {
            used.insert("metric math");
            return false;
        }
        // An unrecognized resource type.
        if resource["Type"] == "AWS::Logs::QueryDefinition" {
            used.insert("saved queries");
            return false;
        }
        true
    });
    // It takes `Ref: AWS::Region` in a condition for a text.
    if let Some(region) = template.pointer_mut("/Conditions/Home/Fn::Equals/0") {
        *region = json!("us-east-1");
        used.insert("a pseudo parameter in a condition");
    }
    template
}

/// An account, as its root or as a role.
struct Account {
    client: Client,
}

impl Account {
    fn root(endpoint: &str, account: &str) -> Self {
        let region: Region = "us-east-1".parse().unwrap();
        let environment = Environment::new([("AWS_ENDPOINT_URL", endpoint)]);
        let setup = Setup::new(
            environment,
            models(),
            Arc::new(SystemClock::default()),
            Arc::new(SystemRandom),
        );
        Self {
            client: Client::new(setup, region).with_credentials(account, "any", None),
        }
    }

    async fn call(&self, service: &str, operation: &str, params: Value) -> Value {
        self.try_call(service, operation, params).await.unwrap()
    }

    async fn try_call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, stanch_types::CallError> {
        Ok(self
            .client
            .call(&Call::new(service, operation, params))
            .await?
            .output)
    }

    async fn is_denied(&self, service: &str, operation: &str, params: Value) {
        let error = self.try_call(service, operation, params).await.unwrap_err();
        assert_eq!(
            error.kind,
            CallErrorKind::Denied,
            "{service}.{operation}: {error}"
        );
    }

    async fn role(
        &self,
        arn: &str,
        external_id: Option<&str>,
    ) -> Result<Self, stanch_types::CallError> {
        let mut params = json!({"RoleArn": arn, "RoleSessionName": "stanch-test"});
        if let Some(id) = external_id {
            params["ExternalId"] = json!(id);
        }
        let answer = self.try_call("sts", "AssumeRole", params).await?;
        let part = |name: &str| answer["Credentials"][name].as_str().unwrap().to_owned();
        let (key, secret, token) = (
            part("AccessKeyId"),
            part("SecretAccessKey"),
            part("SessionToken"),
        );
        Ok(Self {
            client: self.client.with_credentials(&key, &secret, Some(&token)),
        })
    }

    async fn deploy(&self, endpoint: &str, name: &str, template: &Value, parameters: Value) {
        let bucket = format!("templates-{name}");
        self.call("s3", "CreateBucket", json!({"Bucket": bucket}))
            .await;
        self.call(
            "s3",
            "PutObject",
            json!({"Bucket": bucket, "Key": "stack", "Body": STANDARD.encode(template.to_string())}),
        )
        .await;
        let parameters: Vec<Value> = parameters
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value}))
            .collect();
        let stack = json!({
            "StackName": name,
            "TemplateURL": format!("{endpoint}/{bucket}/stack"),
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        self.call("cloudformation", "CreateStack", stack).await;
        let clock = SystemClock::default();
        for _ in 0..600 {
            let stacks = self
                .call(
                    "cloudformation",
                    "DescribeStacks",
                    json!({"StackName": name}),
                )
                .await;
            match stacks["Stacks"][0]["StackStatus"].as_str().unwrap() {
                "CREATE_IN_PROGRESS" | "ROLLBACK_IN_PROGRESS" => {
                    clock.sleep(std::time::Duration::from_millis(100)).await
                }
                "CREATE_COMPLETE" => return,
                status => {
                    let events = self
                        .call(
                            "cloudformation",
                            "DescribeStackEvents",
                            json!({"StackName": name}),
                        )
                        .await;
                    let failed: Vec<&Value> = events["StackEvents"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|event| {
                            event["ResourceStatus"]
                                .as_str()
                                .unwrap()
                                .ends_with("FAILED")
                        })
                        .collect();
                    panic!("{name}: {status}: {failed:#?}");
                }
            }
        }
        panic!("{name} is not done after a minute");
    }
}

#[tokio::test]
async fn both_stacks_work_with_iam_enforced() {
    let emulator = Emulator::start().unwrap();
    let endpoint = emulator.endpoint();
    let (administrator, member) = (
        Account::root(&endpoint, ADMINISTRATOR),
        Account::root(&endpoint, MEMBER),
    );
    let mut used = BTreeSet::new();
    let monitoring = adapted("administrator-monitoring.yaml", &mut used);
    let put = |bucket: &str, key: &str, body: &str| json!({"Bucket": bucket, "Key": format!("stanch/{key}"), "Body": STANDARD.encode(body)});
    administrator
        .call("s3", "CreateBucket", json!({"Bucket": "artifacts"}))
        .await;
    // Not run here: there are no functions yet.
    for function in ["orchestrator", "security", "notifier"] {
        administrator
            .call(
                "s3",
                "PutObject",
                put(
                    "artifacts",
                    &format!("{function}-arm64.zip"),
                    "not there yet",
                ),
            )
            .await;
    }
    administrator
        .call(
            "s3",
            "PutObject",
            put(
                "artifacts",
                "administrator-monitoring.yaml",
                &monitoring.to_string(),
            ),
        )
        .await;
    member
        .call(
            "s3",
            "CreateBucket",
            json!({"Bucket": "stanch-artifacts-us-east-1"}),
        )
        .await;
    member
        .call(
            "s3",
            "PutObject",
            put(
                "stanch-artifacts-us-east-1",
                "remediation-arm64.zip",
                "not there yet",
            ),
        )
        .await;

    let parameters = json!({"ArtifactBucket": "artifacts", "ExternalIdPrefix": PREFIX, "OrganizationId": "o-abcdefghij"});
    let template = adapted("administrator-stack.yaml", &mut used);
    administrator
        .deploy(&endpoint, "administrator", &template, parameters)
        .await;
    let parameters = json!({"AdministratorAccountId": ADMINISTRATOR, "ExternalIdPrefix": PREFIX});
    member
        .deploy(
            &endpoint,
            "member",
            &adapted("member-stack.yaml", &mut used),
            parameters,
        )
        .await;
    assert_eq!(
        used,
        BTreeSet::from([
            "metric math",
            "saved queries",
            "a pseudo parameter in a condition"
        ])
    );

    // MiniStack's CloudFormation drops a role's boundary; its IAM enforces one.
    let role = "SecurityRemediationCrossAccountRole";
    let found = member
        .call("iam", "GetRole", json!({"RoleName": role}))
        .await;
    assert!(
        found["Role"]["PermissionsBoundary"].is_null(),
        "then this is not needed any more"
    );
    let boundary = format!("arn:aws:iam::{MEMBER}:policy/SecurityRemediationBoundary");
    member
        .call(
            "iam",
            "PutRolePermissionsBoundary",
            json!({"RoleName": role, "PermissionsBoundary": boundary}),
        )
        .await;

    // MiniStack lets an account's root become any role of it, as the test does in Lambda's place.
    let of_administrator = |name: &str| format!("arn:aws:iam::{ADMINISTRATOR}:role/{name}");
    let hub = administrator
        .role(&of_administrator("OrchestratorLambdaRole"), None)
        .await
        .unwrap();
    let security = of_administrator("SecurityRemediationSecurityLambdaRole");
    assert!(hub.role(&security, None).await.is_err());
    let security = administrator.role(&security, None).await.unwrap();

    // Only with the account's own external id, and only as the orchestrator.
    let arn = format!("arn:aws:iam::{MEMBER}:role/{role}");
    let own = format!("{PREFIX}-{MEMBER}");
    for (who, id) in [
        (&hub, Some(PREFIX)),
        (&hub, Some("an-external-id-prefix-333333333333")),
        (&hub, None),
        (&security, Some(&*own)),
    ] {
        assert!(who.role(&arn, id).await.is_err(), "{id:?}");
    }
    let session = hub.role(&arn, Some(&own)).await.unwrap();

    // What the catalog needs, and nothing of what nobody may.
    let all = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    member
        .call("s3", "CreateBucket", json!({"Bucket": "careless"}))
        .await;
    let block = |bucket: &str| json!({"Bucket": bucket, "PublicAccessBlockConfiguration": all});
    session
        .call("s3", "PutPublicAccessBlock", block("careless"))
        .await;
    let seen = member
        .call("s3", "GetPublicAccessBlock", json!({"Bucket": "careless"}))
        .await;
    assert_eq!(seen["PublicAccessBlockConfiguration"], all);
    session
        .is_denied(
            "s3",
            "DeletePublicAccessBlock",
            json!({"Bucket": format!("security-remediation-logs-{MEMBER}-us-east-1")}),
        )
        .await;
    session
        .is_denied("iam", "CreateUser", json!({"UserName": "more"}))
        .await;
    session
        .is_denied(
            "iam",
            "TagRole",
            json!({"RoleName": role, "Tags": [{"Key": "a", "Value": "b"}]}),
        )
        .await;
    session
        .is_denied(
            "iam",
            "UpdateAssumeRolePolicy",
            json!({"RoleName": role, "PolicyDocument": "{}"}),
        )
        .await;

    // The audit log takes rows, and takes none back.
    let table = "SecurityRemediationAuditLog";
    let key = json!({"RemediationId": {"S": "r"}, "Timestamp": {"N": "1"}});
    hub.call(
        "dynamodb",
        "PutItem",
        json!({"TableName": table, "Item": key}),
    )
    .await;
    hub.is_denied(
        "dynamodb",
        "DeleteItem",
        json!({"TableName": table, "Key": key}),
    )
    .await;
    let change = json!({"TableName": table, "Key": key, "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "b"}}});
    hub.is_denied("dynamodb", "UpdateItem", change).await;
}
