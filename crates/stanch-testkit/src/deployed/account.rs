//! An account, entered as its root or as one of its roles.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_aws::{Client, Environment, Setup, SystemClock, SystemRandom};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock as _, Region};

use super::{Outcome, Trouble, text};
use crate::models;

/// How long a stack may take; the larger takes some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// An account in one region, as whoever entered it.
#[derive(Clone)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The region.
    pub region: Region,
    endpoint: String,
    client: Client,
}

impl Account {
    /// The account's root, as the emulator at `endpoint` has it.
    #[must_use]
    pub fn root(endpoint: &str, id: &AccountId, region: &Region) -> Self {
        let setup = Setup::new(
            Environment::new([("AWS_ENDPOINT_URL", endpoint)]),
            models(),
            Arc::new(SystemClock::default()),
            Arc::new(SystemRandom),
        );
        Self {
            id: id.clone(),
            region: region.clone(),
            endpoint: endpoint.to_owned(),
            client: Client::new(setup, region.clone()).with_credentials(id.as_str(), "any", None),
        }
    }

    /// The same in another region.
    #[must_use]
    pub fn in_region(&self, region: &Region) -> Self {
        Self {
            id: self.id.clone(),
            region: region.clone(),
            endpoint: self.endpoint.clone(),
            client: self.client.in_region(region.clone()),
        }
    }

    /// AWS as whoever this is.
    #[must_use]
    pub fn api(&self) -> Arc<dyn Api> {
        Arc::new(self.client.clone())
    }

    /// Makes a call.
    ///
    /// # Errors
    /// AWS refuses it or does not answer.
    pub async fn try_call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let call = Call::new(service, operation, params);
        Ok(self.client.call(&call).await?.output)
    }

    /// Makes a call that has to succeed.
    ///
    /// # Errors
    /// It did not.
    pub async fn call(&self, service: &str, operation: &str, params: Value) -> Outcome<Value> {
        let outcome = self.try_call(service, operation, params).await;
        outcome.map_err(|source| Trouble::Call {
            account: self.id.clone(),
            source: Box::new(source),
        })
    }

    /// Makes a call that has to be denied.
    ///
    /// # Errors
    /// It was not.
    pub async fn is_denied(&self, service: &str, operation: &str, params: Value) -> Outcome {
        match self.try_call(service, operation, params).await {
            Err(error) if error.kind == CallErrorKind::Denied => Ok(()),
            Err(error) => Err(Trouble::said(format!("not denied, but: {error}"))),
            Ok(_) => Err(Trouble::said(format!("{service}.{operation} was allowed"))),
        }
    }

    /// A session of a role. The emulator lets an account's root become any role of it, as Lambda may.
    ///
    /// # Errors
    /// The role does not trust whoever this is, or there is none.
    pub async fn role(&self, arn: &str, external_id: Option<&str>) -> Result<Self, CallError> {
        let mut params = json!({"RoleArn": arn, "RoleSessionName": "stanch-test"});
        if let (Some(id), Some(params)) = (external_id, params.as_object_mut()) {
            params.insert("ExternalId".to_owned(), json!(id));
        }
        self.open(params).await
    }

    /// A session as `params` of AssumeRole ask for it, which has to be given.
    ///
    /// # Errors
    /// It was not.
    pub async fn session(&self, params: Value) -> Outcome<Self> {
        let session = self.open(params).await;
        session.map_err(|source| Trouble::Call {
            account: self.id.clone(),
            source: Box::new(source),
        })
    }

    async fn open(&self, params: Value) -> Result<Self, CallError> {
        let answer = self.try_call("sts", "AssumeRole", params).await?;
        let part = |name: &str| text(&answer, &format!("/Credentials/{name}"));
        let (key, secret, token) = (
            part("AccessKeyId"),
            part("SecretAccessKey"),
            part("SessionToken"),
        );
        Ok(Self {
            client: self.client.with_credentials(&key, &secret, Some(&token)),
            ..self.clone()
        })
    }

    /// Makes a bucket here.
    ///
    /// # Errors
    /// S3 refuses.
    pub async fn create_bucket(&self, name: &str) -> Outcome {
        let mut wanted = json!({"Bucket": name});
        // The one region that may not be named.
        if let (false, Some(wanted)) = (self.region.as_str() == "us-east-1", wanted.as_object_mut())
        {
            let place = json!({"LocationConstraint": self.region});
            wanted.insert("CreateBucketConfiguration".to_owned(), place);
        }
        self.call("s3", "CreateBucket", wanted).await.map(drop)
    }

    /// Puts an object.
    ///
    /// # Errors
    /// S3 refuses.
    pub async fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Outcome {
        let object = json!({"Bucket": bucket, "Key": key, "Body": STANDARD.encode(body)});
        self.call("s3", "PutObject", object).await.map(drop)
    }

    /// Deploys a template, by way of the bucket `templates`, and waits for it.
    ///
    /// # Errors
    /// A resource cannot be made; the error has the events that say which.
    pub async fn deploy(&self, stack: &str, template: &Value, parameters: Value) -> Outcome {
        self.change("CreateStack", stack, template, parameters)
            .await
    }

    /// Updates a stack to a template, and waits for it.
    ///
    /// # Errors
    /// As of [`Self::deploy`].
    pub async fn update(&self, stack: &str, template: &Value, parameters: Value) -> Outcome {
        self.change("UpdateStack", stack, template, parameters)
            .await
    }

    async fn change(
        &self,
        operation: &str,
        stack: &str,
        template: &Value,
        parameters: Value,
    ) -> Outcome {
        let bucket = format!("templates-{}-{}", self.id, self.region);
        let known = json!({"Bucket": bucket});
        if self.try_call("s3", "HeadBucket", known).await.is_err() {
            self.create_bucket(&bucket).await?;
        }
        self.put(&bucket, stack, template.to_string().as_bytes())
            .await?;
        let parameters: Vec<Value> = parameters
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value}))
            .collect();
        let wanted = json!({
            "StackName": stack,
            "TemplateURL": format!("{}/{bucket}/{stack}", self.endpoint),
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        self.call("cloudformation", operation, wanted).await?;
        let status = super::wait_for(&format!("stack `{stack}`"), PATIENCE, async || {
            let named = json!({"StackName": stack});
            let stacks = self.call("cloudformation", "DescribeStacks", named).await?;
            let status = text(&stacks, "/Stacks/0/StackStatus");
            Ok((!status.ends_with("IN_PROGRESS")).then_some(status))
        })
        .await?;
        if matches!(&*status, "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
            return Ok(());
        }
        let named = json!({"StackName": stack});
        let events = self
            .call("cloudformation", "DescribeStackEvents", named)
            .await?;
        let failed = super::list(&events, "/StackEvents")
            .iter()
            .filter(|event| text(event, "/ResourceStatus").ends_with("FAILED"))
            .map(|event| {
                let (id, reason) = ("/LogicalResourceId", "/ResourceStatusReason");
                format!("{}: {}", text(event, id), text(event, reason))
            });
        Err(Trouble::Stack {
            name: stack.to_owned(),
            status,
            failed: failed.collect(),
        })
    }

    /// Waits.
    pub(super) async fn pause(time: Duration) {
        SystemClock::default().sleep(time).await;
    }
}
