//! Systems Manager before MiniStack: what is answered here, as whom executions act, and what is passed on.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use stanch_testkit::{
    Emulated, Emulator, FastClock, Organization,
    automation::{Automation, AutomationServer, Quotas},
    models,
    organization::MEMBERS,
};
use stanch_types::{
    Access, AccountId, Api, Call, CallError, CallErrorKind, Clock, Region, Scope, Sessions as _,
};

struct Front {
    automation: Automation,
    aws: Emulated,
    root: Arc<dyn Api>,
    endpoint: String,
    _server: AutomationServer,
    _emulator: Emulator,
}

fn account() -> AccountId {
    MEMBERS[0].0.parse().unwrap()
}

fn region() -> Region {
    "us-east-1".parse().unwrap()
}

impl Front {
    async fn new() -> Self {
        let emulator = Emulator::start().unwrap();
        let now = jiff::Timestamp::constant(1_767_225_600, 0);
        let clock: Arc<dyn Clock> = Arc::new(FastClock::new(now, 1));
        let automation = Automation::new(clock, models());
        automation.set_quotas(Quotas {
            start_every: Duration::ZERO,
            ..Quotas::default()
        });
        let server = AutomationServer::start(emulator.address(), automation.clone())
            .await
            .unwrap();
        let endpoint = server.endpoint();
        let aws = Emulated::at(&endpoint, region());
        Self {
            automation,
            root: aws.root(&account(), &region()),
            aws,
            endpoint,
            _server: server,
            _emulator: emulator,
        }
    }

    async fn root(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let call = Call::new(service, operation, params);
        self.root.call(&call).await.map(|reply| reply.output)
    }

    async fn create(&self, name: &str, steps: &str) {
        let content = format!(
            "schemaVersion: '0.3'\nparameters:\n  Bucket: {{type: String}}\nmainSteps:\n{steps}"
        );
        let input = json!({"Name": name, "Content": content, "DocumentFormat": "YAML", "DocumentType": "Automation"});
        self.root("ssm", "CreateDocument", input).await.unwrap();
    }

    async fn start(
        &self,
        api: &dyn Api,
        name: &str,
        token: Option<&str>,
    ) -> Result<String, CallError> {
        let mut input = json!({"DocumentName": name, "Parameters": {"Bucket": ["demo"]}});
        if let Some(token) = token {
            input["ClientToken"] = json!(token);
        }
        let call = Call::new("ssm", "StartAutomationExecution", input);
        let output = api.call(&call).await?.output;
        Ok(output["AutomationExecutionId"].as_str().unwrap().to_owned())
    }
}

const MAKE: &str = "  - {name: Make, action: aws:executeAwsApi, inputs: {Service: s3, Api: CreateBucket, Bucket: '{{ Bucket }}'}}\n";
const WAIT: &str = "  - {name: Wait, action: aws:pause, inputs: {}}\n";

fn code(result: Result<impl Sized, CallError>) -> String {
    result.err().map(|error| error.code).unwrap_or_default()
}

#[tokio::test]
async fn an_execution_acts_as_whoever_started_it() {
    let front = Front::new().await;
    front.create("Make", MAKE).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "ssm:*"], "Resource": "*"}]});
    let root = |account: &AccountId, region: &Region| front.aws.root(account, region);
    let organization = Organization::create(front.endpoint.clone(), &root, &policy)
        .await
        .unwrap();
    let sessions = front.aws.sessions(&organization);
    let open = async |actions: Value, on: &str| {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": "*"},
            {"Effect": "Allow", "Action": "ssm:StartAutomationExecution", "Resource": on},
        ]});
        let scope = Scope {
            account: account(),
            region: region(),
            session_name: "stanch-test".to_owned(),
            access: Access::Policy(policy.to_string()),
        };
        sessions.open(&scope).await.unwrap()
    };
    let this = "arn:aws:ssm:us-east-1:222222222222:automation-definition/Make:*";
    let may = open(json!("s3:CreateBucket"), this).await;
    let id = front.start(&*may, "Make", None).await.unwrap();
    let ended = front.automation.ended(&id).await;
    assert_eq!(ended["detail"]["Status"], "Success", "{ended}");
    let by = ended["detail"]["ExecutedBy"].as_str().unwrap();
    assert!(
        by.ends_with("assumed-role/SecurityRemediationCrossAccountRole/stanch-test"),
        "{by}"
    );
    let head = json!({"Bucket": "demo"});
    front.root("s3", "HeadBucket", head).await.unwrap();
    let denied = may
        .call(&Call::new(
            "ssm",
            "GetAutomationExecution",
            json!({"AutomationExecutionId": id}),
        ))
        .await
        .unwrap_err();
    assert_eq!(denied.kind, CallErrorKind::Denied, "{denied}");

    let other = open(json!("s3:CreateBucket"), &this.replace("Make", "Other")).await;
    let denied = front.start(&*other, "Make", None).await.unwrap_err();
    assert_eq!(denied.kind, CallErrorKind::Denied, "{denied}");

    let may_not = open(json!("s3:ListBucket"), this).await;
    let id = front.start(&*may_not, "Make", None).await.unwrap();
    let ended = front.automation.ended(&id).await;
    assert_eq!(ended["detail"]["Status"], "Failed", "{ended}");
    let get = json!({"AutomationExecutionId": id});
    let got = front
        .root("ssm", "GetAutomationExecution", get)
        .await
        .unwrap();
    let step = &got["AutomationExecution"]["StepExecutions"][0];
    assert_eq!(
        step["FailureDetails"]["Details"]["Code"],
        json!(["AccessDenied"]),
        "{step}"
    );
}

#[tokio::test]
async fn a_token_starts_one_execution_and_limits_hold() {
    let front = Front::new().await;
    front.create("Wait", WAIT).await;
    let token = "0b0c55a1-4f5e-4d0b-9a52-3d1e6f2c8e17";
    let first = front
        .start(&*front.root, "Wait", Some(token))
        .await
        .unwrap();
    let again = front
        .start(&*front.root, "Wait", Some(token))
        .await
        .unwrap();
    assert_eq!(first, again);
    let other =
        json!({"DocumentName": "Wait", "ClientToken": token, "Parameters": {"Bucket": ["other"]}});
    assert_eq!(
        code(front.root("ssm", "StartAutomationExecution", other).await),
        "IdempotentParameterMismatch"
    );
    front.automation.set_quotas(Quotas {
        concurrent: 1,
        start_every: Duration::ZERO,
    });
    assert_eq!(
        code(front.start(&*front.root, "Wait", None).await),
        "AutomationExecutionLimitExceededException"
    );
    front.automation.set_quotas(Quotas {
        concurrent: 100,
        start_every: Duration::from_secs(3600),
    });
    let throttled = front.start(&*front.root, "Wait", None).await.unwrap_err();
    assert_eq!(throttled.kind, CallErrorKind::Throttled, "{throttled}");

    let resume = json!({"AutomationExecutionId": first, "SignalType": "Resume"});
    let waits = async {
        loop {
            match front
                .root("ssm", "SendAutomationSignal", resume.clone())
                .await
            {
                Ok(_) => break,
                // It has not come to its step yet.
                Err(error) => assert_eq!(error.code, "InvalidAutomationSignalException"),
            }
            tokio::task::yield_now().await;
        }
    };
    waits.await;
    let ended = front.automation.ended(&first).await;
    assert_eq!(ended["detail"]["Status"], "Success");
    let stop = json!({"AutomationExecutionId": first, "Type": "Cancel"});
    assert_eq!(
        code(front.root("ssm", "StopAutomationExecution", stop).await),
        "InvalidAutomationStatusUpdateException"
    );
}

#[tokio::test]
async fn documents_have_versions_and_are_checked() {
    let front = Front::new().await;
    front.create("Make", MAKE).await;
    let content = format!("schemaVersion: '0.3'\nmainSteps:\n{WAIT}");
    let update = json!({"Name": "Make", "Content": content, "DocumentFormat": "YAML", "DocumentVersion": "$LATEST"});
    front
        .root("ssm", "UpdateDocument", update.clone())
        .await
        .unwrap();
    assert_eq!(
        code(front.root("ssm", "UpdateDocument", update).await),
        "DuplicateDocumentContent"
    );
    let get = async |version: &str| {
        let input = json!({"Name": "Make", "DocumentVersion": version, "DocumentFormat": "JSON"});
        let got = front.root("ssm", "GetDocument", input).await.unwrap();
        let content: Value = serde_json::from_str(got["Content"].as_str().unwrap()).unwrap();
        content["mainSteps"][0]["name"].clone()
    };
    assert_eq!(
        get("$DEFAULT").await,
        "Make",
        "an update is not the default yet"
    );
    assert_eq!(get("$LATEST").await, "Wait");
    let default = json!({"Name": "Make", "DocumentVersion": "2"});
    front
        .root("ssm", "UpdateDocumentDefaultVersion", default)
        .await
        .unwrap();
    assert_eq!(get("$DEFAULT").await, "Wait");
    let described = front
        .root("ssm", "DescribeDocument", json!({"Name": "Make"}))
        .await
        .unwrap();
    assert_eq!(described["Document"]["LatestVersion"], "2");
    let bad = json!({"Name": "Bad", "Content": "schemaVersion: '0.3'\nmainSteps:\n  - {name: A, action: aws:nothing}\n", "DocumentFormat": "YAML", "DocumentType": "Automation"});
    assert_eq!(
        code(front.root("ssm", "CreateDocument", bad).await),
        "InvalidDocumentContent"
    );
    let undeclared = json!({"DocumentName": "Make", "Parameters": {"Nothing": ["x"]}});
    assert_eq!(
        code(
            front
                .root("ssm", "StartAutomationExecution", undeclared)
                .await
        ),
        "InvalidAutomationExecutionParametersException"
    );
    front
        .root("ssm", "DeleteDocument", json!({"Name": "Make"}))
        .await
        .unwrap();
    let gone = json!({"Name": "Make"});
    assert_eq!(
        code(front.root("ssm", "GetDocument", gone).await),
        "InvalidDocument"
    );
    // What is not Automation's is the emulator's.
    let parameter = json!({"Name": "/a", "Value": "b", "Type": "String"});
    front.root("ssm", "PutParameter", parameter).await.unwrap();
}
