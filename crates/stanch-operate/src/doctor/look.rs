//! A line from a look, and which endpoints answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Region};

use super::{Fix, Issue, Line, Patient, State};
use crate::{Accounts, read};

/// The administrator account, looked at with the person's own credentials.
pub struct Look<'l> {
    pub accounts: &'l dyn Accounts,
    pub patient: &'l Patient<'l>,
    /// By service and region: why it did not answer, if it did not.
    answered: Mutex<BTreeMap<(String, Region), Option<String>>>,
}

impl<'l> Look<'l> {
    pub fn own(accounts: &'l dyn Accounts, patient: &'l Patient<'l>) -> Self {
        Self {
            accounts,
            patient,
            answered: Mutex::default(),
        }
    }

    /// Calls the administrator account in the installation's region.
    pub async fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let region = &self.patient.installation.region;
        match self.accounts.own(region) {
            Ok(api) => {
                self.call_with(&api, region, service, operation, params)
                    .await
            }
            Err(error) => Err(error),
        }
    }

    /// Calls another account or region.
    pub async fn call_with(
        &self,
        api: &Arc<dyn Api>,
        region: &Region,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let result = api.call(&Call::new(service, operation, params)).await;
        let silence = match &result {
            Err(error) => match error.kind {
                CallErrorKind::Unanswered | CallErrorKind::Unreadable => {
                    Some(Some(error.message.clone()))
                }
                // Nothing was sent.
                CallErrorKind::Invalid | CallErrorKind::Forbidden => None,
                CallErrorKind::Credentials if error.request_id.is_none() => None,
                _ => Some(None),
            },
            Ok(_) => Some(None),
        };
        if let Some(silence) = silence {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            let known = answered
                .entry((service.to_owned(), region.clone()))
                .or_insert(silence.clone());
            // One answer shows that it can be reached.
            if silence.is_none() {
                *known = None;
            }
        }
        result.map(|reply| reply.output)
    }

    /// All pages of a list, of which at most `most` are read.
    pub async fn pages(
        &self,
        (service, operation): (&str, &str),
        mut params: Value,
        token: &str,
        most: usize,
    ) -> Result<Vec<Value>, CallError> {
        let mut pages = Vec::new();
        while pages.len() < most {
            let page = self.call(service, operation, params.clone()).await?;
            let next = page.get(token).and_then(Value::as_str).map(str::to_owned);
            pages.push(page);
            match (next, params.as_object_mut()) {
                (Some(next), Some(params)) => params.insert(token.to_owned(), json!(next)),
                _ => break,
            };
        }
        Ok(pages)
    }

    /// The sum of a metric over the last `hours`, and its highest minute.
    pub async fn metric(
        &self,
        namespace: &str,
        name: &str,
        dimension: (&str, &str),
        hours: i64,
    ) -> Result<(f64, f64), CallError> {
        let now = self.patient.now;
        let from = now
            .saturating_sub(jiff::SignedDuration::from_hours(hours))
            .unwrap_or(now);
        let answer = self
            .call(
                "cloudwatch",
                "GetMetricStatistics",
                json!({
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [{"Name": dimension.0, "Value": dimension.1}],
                    "StartTime": from.to_string(),
                    "EndTime": now.to_string(),
                    // At most 1,440 points are answered.
                    "Period": 60 * hours.max(1).div_euclid(24).max(1),
                    "Statistics": ["Sum"],
                }),
            )
            .await?;
        let sums: Vec<f64> = read::items(&answer, "/Datapoints")
            .filter_map(|point| read::number(point, "/Sum"))
            .collect();
        Ok((sums.iter().sum(), sums.into_iter().fold(0.0, f64::max)))
    }

    /// Whether a role may do each of these, by IAM's own simulator.
    pub async fn simulate(
        &self,
        role_arn: &str,
        action: &str,
        resource: &str,
    ) -> Result<String, CallError> {
        let answer = self
            .call(
                "iam",
                "SimulatePrincipalPolicy",
                json!({"PolicySourceArn": role_arn, "ActionNames": [action], "ResourceArns": [resource]}),
            )
            .await?;
        Ok(read::text(&answer, "/EvaluationResults/0/EvalDecision")
            .unwrap_or("no decision")
            .to_owned())
    }

    /// A line that is as it should be.
    pub fn good(&self, issue: Issue, what: impl Into<String>, seen: impl Into<String>) -> Line {
        Line {
            issue,
            account: None,
            what: what.into(),
            state: State::Ok,
            seen: seen.into(),
            advice: None,
            command: None,
            fix: None,
        }
    }

    /// A line that is not.
    pub fn line(
        &self,
        issue: Issue,
        what: impl Into<String>,
        state: State,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Line {
        Line {
            state,
            advice: Some(advice.into()),
            ..self.good(issue, what, seen)
        }
    }

    /// What could not be looked at.
    pub fn unknown(&self, issue: Issue, what: impl Into<String>, error: &CallError) -> Line {
        let needed = format!("{}:{}", error.service, error.operation);
        let advice = match error.kind {
            CallErrorKind::Denied => format!("ask with credentials that may `{needed}`"),
            CallErrorKind::Credentials => {
                "sign in, or choose a profile with `AWS_PROFILE`".to_owned()
            }
            CallErrorKind::Unanswered => "see the line about its endpoint".to_owned(),
            CallErrorKind::Throttled => "ask again in a minute".to_owned(),
            _ => "ask again; if it stays, look into CloudTrail by the request id".to_owned(),
        };
        self.line(issue, what, State::Unknown, error.to_string(), advice)
    }

    /// Whether every endpoint that was needed could be reached, by service.
    pub fn endpoints(&self) -> Vec<Line> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let reached: Vec<&str> = answered
            .iter()
            .filter(|(_, silence)| silence.is_none())
            .map(|((service, _), _)| &**service)
            .collect();
        let mut lines = Vec::new();
        if !reached.is_empty() {
            let mut names = reached;
            names.dedup();
            lines.push(self.good(
                Issue::Ground,
                "endpoints",
                format!("{} answered", names.join(", ")),
            ));
        }
        for ((service, region), silence) in answered.iter() {
            if let Some(why) = silence {
                let what = format!("the endpoint of {service} in {region}");
                let advice = "check DNS, proxy, firewall and, in a VPC, its endpoint; an opt-in region has to be on";
                lines.push(self.line(Issue::Ground, what, State::Problem, why, advice));
            }
        }
        lines
    }
}

/// Codes by which services say that something is not there.
const ABSENT: [&str; 12] = [
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "StateMachineDoesNotExist",
    "InvalidDocument",
    "NoSuchBucket",
    "NoSuchEntityException",
    "DocumentDoesNotExist",
    "404",
];

/// True if AWS says that it does not exist.
pub fn is_absent(error: &CallError) -> bool {
    ABSENT.contains(&error.code.as_str())
}

impl Line {
    /// Says how to see or do it with the AWS CLI.
    #[must_use]
    pub fn command(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }

    /// It is in this account.
    #[must_use]
    pub fn of(self, account: &AccountId) -> Self {
        Self {
            account: Some(account.clone()),
            ..self
        }
    }

    /// What would mend it.
    #[must_use]
    pub fn fix(self, does: &str, call: Call, region: &Region) -> Self {
        let fix = Fix {
            does: does.to_owned(),
            call,
            region: region.clone(),
        };
        Self {
            fix: Some(fix),
            ..self
        }
    }
}
