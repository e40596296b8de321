//! Pages and waiters over answers that are told beforehand.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_models::{Models, Pages, wait};
use stanch_types::{Api, Call, CallError, CallErrorKind, Clock, Reply};

struct Told {
    answers: Mutex<VecDeque<Result<Value, &'static str>>>,
    asked: Mutex<Vec<Value>>,
}

impl Told {
    fn new(answers: impl IntoIterator<Item = Result<Value, &'static str>>) -> Self {
        Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
        }
    }
}

#[async_trait]
impl Api for Told {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        self.asked.lock().unwrap().push(call.params.clone());
        match self.answers.lock().unwrap().pop_front().unwrap() {
            Ok(output) => Ok(Reply {
                output,
                request_id: None,
            }),
            Err(code) => Err(CallError {
                code: code.to_owned(),
                ..CallError::new(CallErrorKind::Rejected, call, "told")
            }),
        }
    }
}

async fn collect(api: &Told, service: &str, operation: &str) -> Result<Value, CallError> {
    let models = Models::embedded().unwrap();
    let call = Call::new(service, operation, Value::Null);
    Pages::new(api, &models, call)?
        .collect()
        .await
        .map(|reply| reply.output)
}

#[tokio::test]
async fn pages_are_walked_to_the_end() {
    let api = Told::new([
        Ok(json!({"SecurityGroups": [{"GroupId": "a"}], "NextToken": "t1"})),
        Ok(json!({"NextToken": "t2"})),
        Ok(json!({"SecurityGroups": [{"GroupId": "b"}], "NextToken": ""})),
    ]);
    let output = collect(&api, "ec2", "DescribeSecurityGroups")
        .await
        .unwrap();
    assert_eq!(
        output["SecurityGroups"],
        json!([{"GroupId": "a"}, {"GroupId": "b"}])
    );
    let asked = api.asked.lock().unwrap();
    assert_eq!(
        *asked,
        [
            json!(null),
            json!({"NextToken": "t1"}),
            json!({"NextToken": "t2"})
        ]
    );
}

#[tokio::test]
async fn the_answer_says_whether_more_follows() {
    // IAM: a marker counts only while `IsTruncated` is true.
    let api = Told::new([
        Ok(json!({"Roles": [1], "IsTruncated": true, "Marker": "m"})),
        Ok(json!({"Roles": [2], "IsTruncated": false, "Marker": "m"})),
    ]);
    let output = collect(&api, "iam", "ListRoles").await.unwrap();
    assert_eq!(output["Roles"], json!([1, 2]));
    // S3: the last key is the marker where none is given.
    let api = Told::new([
        Ok(json!({"Contents": [{"Key": "a"}, {"Key": "b"}], "IsTruncated": true})),
        Ok(json!({"Contents": [{"Key": "c"}], "IsTruncated": false})),
    ]);
    let output = collect(&api, "s3", "ListObjects").await.unwrap();
    assert_eq!(output["Contents"].as_array().unwrap().len(), 3);
    assert_eq!(api.asked.lock().unwrap()[1], json!({"Marker": "b"}));
    // CloudFront: the list lies deeper.
    let api = Told::new([
        Ok(json!({"DistributionList": {"Items": [1], "IsTruncated": true, "NextMarker": "m"}})),
        Ok(json!({"DistributionList": {"Items": [2], "IsTruncated": false}})),
    ]);
    let output = collect(&api, "cloudfront", "ListDistributions")
        .await
        .unwrap();
    assert_eq!(output["DistributionList"]["Items"], json!([1, 2]));
}

#[tokio::test]
async fn pages_end_well_or_with_an_error() {
    let api = Told::new([Ok(json!({"Account": "1"}))]);
    let output = collect(&api, "sts", "GetCallerIdentity").await.unwrap();
    assert_eq!(output, json!({"Account": "1"}));
    let same = || Ok(json!({"SecurityGroups": [1], "NextToken": "t"}));
    let api = Told::new([same(), same(), same()]);
    let error = collect(&api, "ec2", "DescribeSecurityGroups")
        .await
        .unwrap_err();
    assert_eq!(error.message, "the same page token came twice");
    let api = Told::new([same(), Err("RequestLimitExceeded")]);
    let error = collect(&api, "ec2", "DescribeSecurityGroups")
        .await
        .unwrap_err();
    assert_eq!(error.code, "RequestLimitExceeded");
    assert!(collect(&api, "ec2", "NoSuch").await.is_err());
}

struct NoWait;

#[async_trait]
impl Clock for NoWait {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    async fn sleep(&self, _: std::time::Duration) {}
}

#[tokio::test]
async fn waiters_follow_the_model() {
    let models = Models::embedded().unwrap();
    let state =
        |name: &str| Ok(json!({"Reservations": [{"Instances": [{"State": {"Name": name}}]}]}));
    let run = async |answers: Vec<Result<Value, &'static str>>, waiter: &str| {
        let api = Told::new(answers);
        let result = wait(
            &api,
            &NoWait,
            &models,
            "ec2",
            waiter,
            json!({"InstanceIds": ["i-1"]}),
        )
        .await;
        (result, api.asked.lock().unwrap().len())
    };
    let (result, calls) = run(
        vec![
            Err("InvalidInstanceID.NotFound"),
            state("pending"),
            state("running"),
        ],
        "InstanceRunning",
    )
    .await;
    assert!(result.is_ok());
    assert_eq!(calls, 3);
    let (result, calls) = run(
        vec![state("pending"), state("terminated")],
        "InstanceRunning",
    )
    .await;
    assert!(result.unwrap_err().message.contains("cannot be reached"));
    assert_eq!(calls, 2);
    let (result, _) = run(vec![Err("UnauthorizedOperation")], "InstanceRunning").await;
    assert_eq!(result.unwrap_err().code, "UnauthorizedOperation");
    let (result, calls) = run(
        (0..40).map(|_| state("pending")).collect(),
        "InstanceRunning",
    )
    .await;
    assert_eq!(
        result.unwrap_err().message,
        "`InstanceRunning` was not reached in 40 tries"
    );
    assert_eq!(calls, 40);
    let (result, _) = run(Vec::new(), "InstanceRuning").await;
    assert!(
        result
            .unwrap_err()
            .message
            .contains("did you mean `InstanceRunning`")
    );
}
