//! Everything that was logged of one remediation, in the order of time.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use stanch_ledger::{Entry, Event, RemediationId, StepOutcome};
use stanch_types::{AccountId, Api, Call, CallError, Region};

use crate::{Accounts, Installation, Unreachable, read};

/// Where a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The ledger's events.
    Ledger,
    /// The state machine's history.
    StepFunctions,
    /// The functions' logs.
    CloudWatch,
    /// Steps of Automation executions.
    Automation,
    /// AWS's own record of the requests.
    CloudTrail,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ledger => "ledger",
            Self::StepFunctions => "states",
            Self::CloudWatch => "logs",
            Self::Automation => "ssm",
            Self::CloudTrail => "cloudtrail",
        })
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub source: Source,
    /// Which log group, execution or account.
    pub place: String,
    /// What it says.
    pub text: String,
    /// AWS's id of the request that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What could not be read, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// From where.
    pub source: Source,
    /// Which log group, execution or account.
    pub place: String,
    /// Why.
    pub why: String,
}

/// All that was found of a remediation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Gathered {
    /// In the order of time.
    pub lines: Vec<Line>,
    /// What is missing.
    pub unread: Vec<Unread>,
}

/// Pages that are read of one source.
const PAGES: usize = 10;

/// State machine executions that are looked into for the remediation's id.
const EXECUTIONS: usize = 20;

/// What is around the ledger's events: clocks differ, and logs come late.
const AROUND: SignedDuration = SignedDuration::from_mins(5);

/// CloudTrail shows an event after 15 minutes at most
/// (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html>).
const TRAIL_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// Who asks, and for what.
struct Search<'s> {
    accounts: &'s dyn Accounts,
    installation: &'s Installation,
    id: String,
    account: AccountId,
    region: Region,
    from: Timestamp,
    until: Timestamp,
    found: Gathered,
}

/// Gathers what was logged of a remediation, of which the ledger has these events.
pub async fn gather(
    accounts: &dyn Accounts,
    installation: &Installation,
    id: RemediationId,
    entries: &[Entry],
    now: Timestamp,
) -> Gathered {
    let mut found = Gathered::default();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return found;
    };
    found.lines.extend(entries.iter().map(of_ledger));
    let Event::Received(received) = &first.event else {
        let why = "its first event was removed, and with it the account".to_owned();
        found.unread.push(Unread {
            source: Source::Ledger,
            place: id.to_string(),
            why,
        });
        found.lines.sort();
        return found;
    };
    let mut search = Search {
        accounts,
        installation,
        id: id.to_string(),
        account: received.account.clone(),
        region: received.region.clone(),
        from: first.at.saturating_sub(AROUND).unwrap_or(first.at),
        until: last.at.saturating_add(AROUND).unwrap_or(last.at),
        found,
    };
    let started: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Started(started) | Event::UndoStarted(started) => Some(started),
            _ => None,
        })
        .collect();
    search.functions().await;
    search.executions().await;
    if started.iter().any(|one| one.executor == "ssm") {
        search.automations().await;
    }
    let sessions: BTreeSet<&str> = started.iter().map(|one| &*one.session).collect();
    for session in sessions {
        search.trail(session).await;
    }
    if !started.is_empty() && now.duration_since(last.at) < TRAIL_DELAY {
        search.miss(
            Source::CloudTrail,
            "the newest requests",
            "CloudTrail shows them up to 15 minutes late",
        );
    }
    let mut found = search.found;
    found.lines.sort();
    found.lines.dedup();
    found
}

fn of_ledger(entry: &Entry) -> Line {
    let (detail, request_id) = match &entry.event {
        Event::Received(received) => (
            format!(
                "{} {} by {}",
                received.control, received.resource_id, received.requester
            ),
            None,
        ),
        Event::Planned(planned) => (
            format!(
                "plan {}{}",
                planned.plan_hash,
                if planned.compliant {
                    ", already as it should be"
                } else {
                    ""
                }
            ),
            None,
        ),
        Event::Decided(decided) => (decided.reasons.join("; "), None),
        Event::Approved(consent) => (format!("by {} as {}", consent.by, consent.role), None),
        Event::Rejected { by, reason, .. } => (format!("by {by}: {reason}"), None),
        Event::ApprovalLapsed { reason }
        | Event::ApprovalVoided { reason }
        | Event::Paused { reason }
        | Event::UndoVoided { reason } => (reason.clone(), None),
        Event::Started(one) | Event::UndoStarted(one) => (
            format!(
                "attempt {} by {} as {}",
                one.attempt, one.executor, one.executor_arn
            ),
            None,
        ),
        Event::StepStarted(step) => (format!("{} {}", step.name, step.call), None),
        Event::StepFinished(step) => {
            let outcome = match &step.outcome {
                StepOutcome::Ok => "ok".to_owned(),
                StepOutcome::Unknown => "nobody saw its answer".to_owned(),
                StepOutcome::Failed { code, message, .. } => format!("{code}: {message}"),
            };
            (outcome, step.request_id.clone())
        }
        Event::Verified(verified) => (
            (if verified.compliant {
                "compliant"
            } else {
                "not compliant"
            })
            .to_owned(),
            None,
        ),
        Event::UndoPlanned(undo) => (undo.reason.clone(), None),
        Event::UndoFailed { error, .. } => (error.clone(), None),
        Event::Finished { status, error, .. } => (
            error
                .as_ref()
                .map_or_else(|| status.to_string(), |error| format!("{status}: {error}")),
            None,
        ),
        Event::Notified {
            channel, ok, error, ..
        } => (
            format!(
                "{channel}{}",
                match (ok, error) {
                    (true, _) => String::new(),
                    (false, Some(error)) => format!(" failed: {error}"),
                    (false, None) => " failed".to_owned(),
                }
            ),
            None,
        ),
        Event::ApprovalRequested(_)
        | Event::Resumed
        | Event::Undone { .. }
        | Event::Expired { .. } => (String::new(), None),
    };
    let name = entry.event.name();
    let text = if detail.is_empty() {
        name.to_owned()
    } else {
        format!("{name}: {detail}")
    };
    Line {
        at: entry.at,
        source: Source::Ledger,
        place: format!("event {}", entry.seq),
        text,
        request_id,
    }
}

impl Search<'_> {
    fn miss(&mut self, source: Source, place: impl Into<String>, why: impl Into<String>) {
        self.found.unread.push(Unread {
            source,
            place: place.into(),
            why: why.into(),
        });
    }

    fn miss_call(&mut self, source: Source, place: impl Into<String>, error: &CallError) {
        let why = match error.code.as_str() {
            "ResourceNotFoundException" | "StateMachineDoesNotExist" => {
                "it does not exist".to_owned()
            }
            _ => error.to_string(),
        };
        self.miss(source, place, why);
    }

    /// All pages of a list, as far as they are read; the token is the same member in and out.
    async fn pages(
        &mut self,
        api: &dyn Api,
        source: Source,
        place: &str,
        mut call: Call,
        token: &str,
    ) -> Vec<Value> {
        let mut pages = Vec::new();
        loop {
            match api.call(&call).await {
                Ok(reply) => {
                    let next = reply
                        .output
                        .get(token)
                        .and_then(Value::as_str)
                        .map(str::to_owned);
                    pages.push(reply.output);
                    match (next, call.params.as_object_mut()) {
                        (Some(_), _) if pages.len() == PAGES => {
                            self.miss(source, place, format!("there is more than {PAGES} pages"));
                            return pages;
                        }
                        (Some(next), Some(params)) => params.insert(token.to_owned(), json!(next)),
                        _ => return pages,
                    };
                }
                Err(error) => {
                    self.miss_call(source, place, &error);
                    return pages;
                }
            }
        }
    }

    /// The administrator's functions, and the member account's.
    async fn functions(&mut self) {
        let own = self.installation.region.clone();
        match self.accounts.own(&own) {
            Ok(api) => {
                for name in self.installation.functions() {
                    self.group(&*api, format!("/aws/lambda/{name}")).await;
                }
            }
            Err(error) => self.miss_call(Source::CloudWatch, "the administrator account", &error),
        }
        let group = format!("/aws/lambda/{}", self.installation.named("Remediation"));
        if let Some(api) = self.audit(Source::CloudWatch).await {
            self.group(&*api, group).await;
        }
    }

    async fn audit(&mut self, source: Source) -> Option<std::sync::Arc<dyn Api>> {
        match self.accounts.audit(&self.account, &self.region).await {
            Ok(api) => Some(api),
            Err(why) => {
                let why = match why {
                    Unreachable::NoAuditRole => {
                        "no role to look with is configured: `deployment.audit_role`".to_owned()
                    }
                    Unreachable::Call(error) => error.to_string(),
                };
                self.miss(source, format!("account {}", self.account), why);
                None
            }
        }
    }

    async fn group(&mut self, api: &dyn Api, group: String) {
        let params = json!({
            "logGroupName": group,
            "filterPattern": format!("\"{}\"", self.id),
            "startTime": self.from.as_millisecond(),
            "endTime": self.until.as_millisecond(),
            "limit": 1000,
        });
        let call = Call::new("logs", "FilterLogEvents", params);
        for page in self
            .pages(api, Source::CloudWatch, &group, call, "nextToken")
            .await
        {
            for event in read::items(&page, "/events") {
                // Milliseconds since 1970: an integer, not a timestamp, in this API.
                let at = event
                    .get("timestamp")
                    .and_then(Value::as_i64)
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok());
                let (Some(at), Some(message)) = (at, read::text(event, "/message")) else {
                    continue;
                };
                self.found.lines.push(Line {
                    at,
                    source: Source::CloudWatch,
                    place: group.clone(),
                    text: message.trim_end().to_owned(),
                    request_id: None,
                });
            }
        }
    }

    /// The state machine's executions of that time whose name or input has the remediation's id.
    async fn executions(&mut self) {
        let source = Source::StepFunctions;
        let name = self.installation.named("Workflow");
        let api = match self.accounts.own(&self.installation.region) {
            Ok(api) => api,
            Err(error) => return self.miss_call(source, name, &error),
        };
        let caller = match api
            .call(&Call::new("sts", "GetCallerIdentity", json!({})))
            .await
        {
            Ok(reply) => reply.output,
            Err(error) => return self.miss_call(source, name, &error),
        };
        let Some(account) = read::text(&caller, "/Account").and_then(|id| id.parse().ok()) else {
            return self.miss(source, name, "nobody says in which account");
        };
        let arn = self
            .installation
            .arn(&account, "states", &format!("stateMachine:{name}"));
        let call = Call::new(
            "stepfunctions",
            "ListExecutions",
            json!({"stateMachineArn": arn, "maxResults": 100}),
        );
        let pages = self.pages(&*api, source, &name, call, "nextToken").await;
        let at_that_time = |one: &&Value| {
            let began = read::moment(one, "/startDate");
            began.is_none_or(|began| began >= self.from && began <= self.until)
        };
        let executions: Vec<(String, String)> = pages
            .iter()
            .flat_map(|page| read::items(page, "/executions"))
            .filter(at_that_time)
            .filter_map(|one| {
                Some((
                    read::text(one, "/executionArn")?.to_owned(),
                    read::text(one, "/name")?.to_owned(),
                ))
            })
            .collect();
        if executions.len() > EXECUTIONS {
            self.miss(
                source,
                &*name,
                format!(
                    "{} executions began at that time; {EXECUTIONS} were looked into",
                    executions.len()
                ),
            );
        }
        for (arn, name) in executions.into_iter().take(EXECUTIONS) {
            if !name.contains(&self.id) {
                let call = Call::new(
                    "stepfunctions",
                    "DescribeExecution",
                    json!({"executionArn": arn}),
                );
                match api.call(&call).await {
                    Ok(reply)
                        if read::text(&reply.output, "/input")
                            .is_some_and(|input| input.contains(&self.id)) => {}
                    Ok(_) => continue,
                    Err(error) => {
                        self.miss_call(source, name, &error);
                        continue;
                    }
                }
            }
            let call = Call::new(
                "stepfunctions",
                "GetExecutionHistory",
                json!({"executionArn": arn, "maxResults": 1000}),
            );
            for page in self.pages(&*api, source, &name, call, "nextToken").await {
                for event in read::items(&page, "/events") {
                    let Some(at) = read::moment(event, "/timestamp") else {
                        continue;
                    };
                    let kind = read::text(event, "/type").unwrap_or_default();
                    let details = event
                        .as_object()
                        .into_iter()
                        .flatten()
                        .filter(|(name, _)| name.ends_with("EventDetails"));
                    let words: Vec<&str> = details
                        .flat_map(|(_, details)| {
                            ["/name", "/error", "/cause"].map(|at| read::text(details, at))
                        })
                        .flatten()
                        .collect();
                    let text = format!("{kind} {}", words.join(": "));
                    self.found.lines.push(Line {
                        at,
                        source,
                        place: name.clone(),
                        text: text.trim_end().to_owned(),
                        request_id: None,
                    });
                }
            }
        }
    }

    /// Steps of the Automation executions that were started for the remediation.
    async fn automations(&mut self) {
        let source = Source::Automation;
        let Some(api) = self.audit(source).await else {
            return;
        };
        let place = format!("account {}", self.account);
        let params = json!({"Filters": [
            {"Key": "StartTimeAfter", "Values": [format!("{:.0}", self.from)]},
            {"Key": "StartTimeBefore", "Values": [format!("{:.0}", self.until)]},
        ]});
        let call = Call::new("ssm", "DescribeAutomationExecutions", params);
        let pages = self.pages(&*api, source, &place, call, "NextToken").await;
        let ids = pages
            .iter()
            .flat_map(|page| read::items(page, "/AutomationExecutionMetadataList"));
        let ids: Vec<String> = ids
            .filter_map(|one| read::text(one, "/AutomationExecutionId"))
            .map(str::to_owned)
            .collect();
        for id in ids {
            let params = json!({"AutomationExecutionId": id});
            let execution = match api
                .call(&Call::new("ssm", "GetAutomationExecution", params))
                .await
            {
                Ok(reply) => reply.output,
                Err(error) => {
                    self.miss_call(source, id, &error);
                    continue;
                }
            };
            let of_this = execution
                .pointer("/AutomationExecution/Parameters")
                .is_some_and(|given| given.to_string().contains(&self.id));
            if !of_this {
                continue;
            }
            for step in read::items(&execution, "/AutomationExecution/StepExecutions") {
                let name = read::text(step, "/StepName").unwrap_or_default();
                let status = read::text(step, "/StepStatus").unwrap_or_default();
                let began = read::moment(step, "/ExecutionStartTime");
                let ended = read::moment(step, "/ExecutionEndTime");
                let why = read::text(step, "/FailureMessage")
                    .map(|why| format!(": {why}"))
                    .unwrap_or_default();
                let mut line = |at: Timestamp, text: String| {
                    self.found.lines.push(Line {
                        at,
                        source,
                        place: id.clone(),
                        text,
                        request_id: None,
                    });
                };
                if let Some(at) = began {
                    line(at, format!("{name} begins"));
                }
                if let Some(at) = ended.or(began) {
                    line(at, format!("{name} {status}{why}"));
                }
            }
        }
    }

    /// What CloudTrail has of a session: it lists events by the session's name.
    async fn trail(&mut self, session: &str) {
        let source = Source::CloudTrail;
        // Events of services without regions are in us-east-1.
        let global = "us-east-1"
            .parse()
            .ok()
            .filter(|_| self.region.partition().as_str() == "aws");
        let regions: BTreeSet<Region> = global.into_iter().chain([self.region.clone()]).collect();
        for region in regions {
            let place = format!("account {}, {region}", self.account);
            let api = match self.accounts.audit(&self.account, &region).await {
                Ok(api) => api,
                Err(why) => {
                    self.miss(source, place, stanch_types::chain(&why));
                    continue;
                }
            };
            let params = json!({
                "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": session}],
                "StartTime": self.from.to_string(),
                "EndTime": self.until.to_string(),
                "MaxResults": 50,
            });
            let call = Call::new("cloudtrail", "LookupEvents", params);
            for page in self.pages(&*api, source, &place, call, "NextToken").await {
                for event in read::items(&page, "/Events") {
                    let Some(at) = read::moment(event, "/EventTime") else {
                        continue;
                    };
                    let whole = read::document(event, "/CloudTrailEvent").unwrap_or_default();
                    let service = read::text(event, "/EventSource")
                        .unwrap_or_default()
                        .trim_end_matches(".amazonaws.com")
                        .to_owned();
                    let name = read::text(event, "/EventName").unwrap_or_default();
                    let error = read::text(&whole, "/errorCode").map(|code| {
                        format!(
                            ": {code}: {}",
                            read::text(&whole, "/errorMessage").unwrap_or_default()
                        )
                    });
                    self.found.lines.push(Line {
                        at,
                        source,
                        place: place.clone(),
                        text: format!("{service}.{name}{}", error.unwrap_or_default()),
                        request_id: read::text(&whole, "/requestID").map(str::to_owned),
                    });
                }
            }
        }
    }
}
