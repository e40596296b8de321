//! Member stacks by a StackSet: which calls put them where, and what came of them.
//!
//! The stack set is of the service-managed kind, as the member template is made for
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-concepts.html>).

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock, Region};

use crate::read;

/// Where stacks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Organizational units, by id.
    pub units: Vec<String>,
    /// Only these accounts of them; all if there are none.
    pub accounts: Vec<AccountId>,
    /// The regions in order: the first has the roles.
    pub regions: Vec<Region>,
    /// In how many accounts of a region it may fail before it stops.
    pub tolerated: u32,
    /// In how many accounts of a region at once.
    pub at_once: u32,
}

/// The stack set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSet {
    /// Its name.
    pub name: String,
    /// Where its template is, in S3.
    pub template_url: String,
    /// The template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Permissions by roles of one's own instead of AWS Organizations: for accounts that are named.
    pub self_managed: bool,
    /// The account is a delegated administrator of the organization's stack sets, and says so in each call.
    pub delegated: bool,
}

impl StackSet {
    /// A call about the stack set.
    fn call(&self, operation: &str, mut params: Value) -> Call {
        if let Some(params) = params.as_object_mut() {
            params.insert("StackSetName".to_owned(), json!(self.name));
            if self.delegated && !self.self_managed {
                params.insert("CallAs".to_owned(), json!("DELEGATED_ADMIN"));
            }
        }
        Call::new("cloudformation", operation, params)
    }

    fn parameters(&self) -> Vec<Value> {
        let pair = |(key, value): (&String, &String)| json!({"ParameterKey": key, "ParameterValue": value});
        self.parameters.iter().map(pair).collect()
    }

    /// Makes the stack set.
    #[must_use]
    pub fn create(&self) -> Call {
        let mut params = json!({
            "Description": "Stanch, member accounts",
            "TemplateURL": self.template_url,
            "Parameters": self.parameters(),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "PermissionModel": if self.self_managed { "SELF_MANAGED" } else { "SERVICE_MANAGED" },
        });
        if let (false, Some(params)) = (self.self_managed, params.as_object_mut()) {
            // An account that joins the unit gets its stacks; one that leaves keeps its evidence.
            params.insert(
                "AutoDeployment".to_owned(),
                json!({"Enabled": true, "RetainStacksOnAccountRemoval": true}),
            );
        }
        self.call("CreateStackSet", params)
    }

    /// Gives the stacks that are there another template or other parameters.
    #[must_use]
    pub fn update(&self, target: &Target) -> Call {
        let params = json!({
            "TemplateURL": self.template_url,
            "Parameters": self.parameters(),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "OperationPreferences": preferences(target),
        });
        self.call("UpdateStackSet", params)
    }

    /// Makes stacks in accounts.
    #[must_use]
    pub fn instances(&self, target: &Target) -> Call {
        let mut params = json!({
            "Regions": target.regions,
            "OperationPreferences": preferences(target),
        });
        if let Some(params) = params.as_object_mut() {
            if self.self_managed {
                params.insert("Accounts".to_owned(), json!(target.accounts));
            } else {
                let mut targets = json!({"OrganizationalUnitIds": target.units});
                if let (false, Some(targets)) =
                    (target.accounts.is_empty(), targets.as_object_mut())
                {
                    targets.insert("Accounts".to_owned(), json!(target.accounts));
                    targets.insert("AccountFilterType".to_owned(), json!("INTERSECTION"));
                }
                params.insert("DeploymentTargets".to_owned(), targets);
            }
        }
        self.call("CreateStackInstances", params)
    }
}

/// One region after the other, the home region first: its stack has the roles, which are global.
fn preferences(target: &Target) -> Value {
    json!({
        "RegionConcurrencyType": "SEQUENTIAL",
        "RegionOrder": target.regions,
        "FailureToleranceCount": target.tolerated,
        "MaxConcurrentCount": target.at_once,
    })
}

/// What came of an operation in one account and region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// `SUCCEEDED`, `FAILED`, `CANCELLED`, …
    pub status: String,
    /// Why, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why stacks are not where they should be.
#[derive(Debug, thiserror::Error)]
pub enum StackSetError {
    /// AWS refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It did not succeed.
    #[error("the operation `{operation}` of the stack set ended as {status}")]
    Ended {
        /// Its id.
        operation: String,
        /// How.
        status: String,
        /// Where.
        outcomes: Vec<Outcome>,
    },
    /// It goes on.
    #[error("the operation `{operation}` of the stack set is not done after {} minutes", .waited.as_secs() / 60)]
    Slow {
        /// Its id.
        operation: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// How often an operation is asked about.
const ASK: Duration = Duration::from_secs(10);

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_hours(2);

impl StackSet {
    /// Whether it is there.
    ///
    /// # Errors
    /// AWS does not say.
    pub async fn exists(&self, api: &dyn Api) -> Result<bool, CallError> {
        match api.call(&self.call("DescribeStackSet", json!({}))).await {
            Ok(_) => Ok(true),
            Err(error) if error.code.starts_with("StackSetNotFound") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a call that begins an operation, waits for its end, and says what came of it where.
    ///
    /// # Errors
    /// AWS refuses it, or it did not succeed everywhere that it had to.
    pub async fn operate(
        &self,
        api: &dyn Api,
        clock: &dyn Clock,
        call: &Call,
    ) -> Result<Vec<Outcome>, StackSetError> {
        let reply = api.call(call).await?;
        let Some(operation) = read::text(&reply.output, "/OperationId").map(str::to_owned) else {
            let error = CallError::new(
                CallErrorKind::Unreadable,
                call,
                "the answer names no operation",
            );
            return Err(error.into());
        };
        let mut waited = Duration::ZERO;
        loop {
            let seen = self.call(
                "DescribeStackSetOperation",
                json!({"OperationId": operation}),
            );
            let seen = api.call(&seen).await?.output;
            let status = read::text(&seen, "/StackSetOperation/Status")
                .unwrap_or_default()
                .to_owned();
            match status.as_str() {
                "RUNNING" | "QUEUED" | "STOPPING" if waited < PATIENCE => {
                    clock.sleep(ASK).await;
                    waited += ASK;
                }
                "RUNNING" | "QUEUED" | "STOPPING" => {
                    return Err(StackSetError::Slow { operation, waited });
                }
                _ => {
                    let outcomes = self.outcomes(api, &operation).await?;
                    return match status.as_str() {
                        "SUCCEEDED" => Ok(outcomes),
                        _ => Err(StackSetError::Ended {
                            operation,
                            status,
                            outcomes,
                        }),
                    };
                }
            }
        }
    }

    async fn outcomes(&self, api: &dyn Api, operation: &str) -> Result<Vec<Outcome>, CallError> {
        let mut outcomes = Vec::new();
        let mut call = self.call(
            "ListStackSetOperationResults",
            json!({"OperationId": operation}),
        );
        loop {
            let page = api.call(&call).await?.output;
            outcomes.extend(read::items(&page, "/Summaries").map(|one| {
                let text = |at: &str| read::text(one, at).unwrap_or_default().to_owned();
                Outcome {
                    account: text("/Account"),
                    region: text("/Region"),
                    status: text("/Status"),
                    reason: read::text(one, "/StatusReason").map(str::to_owned),
                }
            }));
            match (
                page.get("NextToken").and_then(Value::as_str),
                call.params.as_object_mut(),
            ) {
                (Some(next), Some(params)) => params.insert("NextToken".to_owned(), json!(next)),
                _ => return Ok(outcomes),
            };
        }
    }
}
