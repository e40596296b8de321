//! From bytes that somebody delivered to findings that can be acted on.
//!
//! [`read`] takes an event as EventBridge, SQS, SNS, a Lambda batch, a file or a webhook delivers
//! it, and unwraps it down to the findings. Each is judged for itself: a bad finding does not take
//! its neighbours with it.
//!
//! | carried in | |
//! |---|---|
//! | EventBridge | `Security Hub Findings - Imported`, `… - Custom Action`, `Findings Imported V2`, `Config Rules Compliance Change`, `GuardDuty Finding`, `Inspector2 Finding`, `Macie Finding`, `EC2 Automation Execution Status-change Notification`, `EC2 Automation Step Status-change Notification` |
//! | bare | ASFF, OCSF (classes 2002, 2003, 2004, 2006), a Config notification |
//! | lists | arrays, JSON Lines, `Findings` of `BatchImportFindings` and `GetFindings` |
//! | around any of these | SQS messages, SNS notifications, `Records` of Lambda |

mod asff;
mod automation;
mod config;
mod members;
mod ocsf;
mod payload;
mod product;
mod unnamed;

use std::{collections::BTreeSet, fmt, rc::Rc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AccountId, Arn, Compliance, Finding, FindingId, RecordState, Workflow,
    json::{self, JsonError, Limits},
};
pub use automation::Executed;
use members::Members;
pub use payload::Payload;
pub use unnamed::Unnamed;

/// How events are read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What of a text is read at all.
    pub limits: Limits,
    /// Accounts whose findings are skipped.
    pub test_accounts: BTreeSet<AccountId>,
}

/// Who wanted a finding remediated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// Nobody in particular: the finding itself came.
    Automatic,
    /// A person chose it.
    Manual {
        /// The custom action's name in Security Hub.
        action: String,
        /// The custom action's ARN.
        action_arn: Option<Arn>,
        /// Who. Security Hub's events do not tell (CloudTrail does), so that it stays empty until a
        /// source that knows fills it in.
        requester: Option<String>,
    },
}

/// Why a finding needs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// The check passed, or has no result.
    #[error("its compliance status is {0}")]
    Compliance(Compliance),
    /// People dealt with it, or want nothing done.
    #[error("its workflow status is {0}")]
    Workflow(Workflow),
    /// The product no longer reports it.
    #[error("it is archived")]
    Archived,
    /// A product's sample, about a resource that does not exist.
    #[error("it is a sample finding")]
    Sample,
    /// The configuration names the account as one for tests.
    #[error("account {0} is a test account")]
    TestAccount(AccountId),
}

/// What is wrong with an event or a finding: one line, and one on what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    /// A problem with advice. Both become one line: what they quote may come from strangers, and
    /// end up in a terminal.
    pub fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        let one_line = |text: String| match text.contains(char::is_control) {
            true => text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
            false => text,
        };
        Self {
            reason: one_line(reason.into()),
            hint: one_line(hint.into()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Problem {}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

/// What became of one finding of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// To be dealt with.
    Accepted {
        /// The finding, with the resources of its own account.
        finding: Box<Finding>,
        /// Who wanted it.
        route: Route,
    },
    /// Needs nothing.
    Skipped {
        /// Which.
        id: FindingId,
        /// Whose.
        account: AccountId,
        /// Why.
        reason: SkipReason,
    },
    /// No finding: an Automation execution tells where it stands.
    Executed(Executed),
    /// Could not be understood, or must not be acted on: a dead letter. A finding some of whose
    /// resources are refused gives one of these and, with its other resources, an `Accepted`.
    Unreadable {
        /// Why.
        problem: Problem,
        /// The part of the event that is concerned, to be kept and delivered again.
        payload: Payload,
    },
}

/// Reads all findings of an event. The answer is empty only for an empty list.
#[must_use]
pub fn read(bytes: &[u8], options: &Options) -> Vec<Incoming> {
    let mut reader = Reader {
        options,
        out: Vec::new(),
    };
    match json::read_many(bytes, &options.limits) {
        Err(error) => reader.refuse(error.into(), bytes.to_vec()),
        Ok(values) => {
            for (text, value) in values {
                match value {
                    Ok(value) => reader.walk(value, &Context::OUTSIDE),
                    Err(error) => reader.refuse(error.into(), text.as_bytes().to_vec()),
                }
            }
        }
    }
    reader.out
}

/// A finding, and those of its resources that must not be touched.
struct Draft {
    finding: Finding,
    sample: bool,
    /// What is wrong with each of them.
    refused: Vec<Problem>,
}

#[derive(Clone)]
struct Context {
    route: Route,
    /// Wrappers around this value.
    wrappers: u8,
    /// The EventBridge event around it, without its findings.
    event: Option<Rc<Map<String, Value>>>,
}

impl Context {
    const OUTSIDE: Self = Self {
        route: Route::Automatic,
        wrappers: 0,
        event: None,
    };

    /// A finding as it can be delivered again: in an event of its own if it came in one, since the
    /// event says who wanted it and what format it has.
    fn deliverable(&self, finding: Value) -> Value {
        let Some(event) = &self.event else {
            return finding;
        };
        let mut event = Map::clone(event);
        match event.get_mut("detail") {
            Some(Value::Object(detail)) => {
                detail.insert("findings".to_owned(), Value::Array(vec![finding]));
            }
            _ => {
                event.insert("detail".to_owned(), finding);
            }
        }
        Value::Object(event)
    }
}

/// A queue subscribed to a topic that a rule feeds makes four; nobody makes eight.
const MOST_WRAPPERS: u8 = 8;

struct Reader<'a> {
    options: &'a Options,
    out: Vec<Incoming>,
}

impl Reader<'_> {
    fn refuse(&mut self, problem: Problem, payload: Vec<u8>) {
        let payload = payload.into();
        self.out.push(Incoming::Unreadable { problem, payload });
    }

    fn refuse_value(&mut self, problem: Problem, value: &Value) {
        self.refuse(problem, value.to_string().into_bytes());
    }

    fn walk(&mut self, value: Value, context: &Context) {
        if context.wrappers > MOST_WRAPPERS {
            let problem = Problem::new(
                format!("the event is wrapped more than {MOST_WRAPPERS} times"),
                "check the forwarding: a queue or topic may feed itself",
            );
            return self.refuse_value(problem, &value);
        }
        let inside = Context {
            wrappers: context.wrappers + 1,
            ..context.clone()
        };
        match value {
            Value::Array(items) => items.into_iter().for_each(|item| self.walk(item, &inside)),
            Value::Object(map) => self.walk_object(map, &inside),
            other => {
                let problem = Problem::new(
                    format!("{} is no event", members::describe(&other)),
                    HINT_KINDS,
                );
                self.refuse_value(problem, &other);
            }
        }
    }

    fn walk_object(&mut self, mut map: Map<String, Value>, context: &Context) {
        if map.contains_key("detail-type") {
            return self.walk_envelope(map, context);
        }
        for list in ["Records", "Messages", "Findings", "findings"] {
            if let Some(Value::Array(items)) = map.get_mut(list) {
                for item in std::mem::take(items) {
                    self.walk(item, context);
                }
                return;
            }
        }
        if let Some(Value::Object(notification)) = map.get_mut("Sns") {
            let notification = std::mem::take(notification);
            return self.walk_object(notification, context);
        }
        if map.contains_key("TopicArn") {
            return self.unwrap(map, "Message", context);
        }
        // SQS's message, as Lambda and as ReceiveMessage give it.
        for body in ["body", "Body"] {
            if map.contains_key(body) {
                return self.unwrap(map, body, context);
            }
        }
        self.judge(map, context);
    }

    /// Reads what a message carries in `member`: JSON in a string (AWS's examples also show it as an
    /// object).
    fn unwrap(&mut self, mut message: Map<String, Value>, member: &str, context: &Context) {
        let confirmation = is_confirmation(&message);
        let problem = match message.get_mut(member) {
            Some(Value::String(_)) if confirmation => Problem::new(
                "an SNS topic asks to confirm its subscription",
                "if the topic is yours, confirm it with its `SubscribeURL`, then publish again",
            ),
            Some(Value::String(text)) => match json::read(text.as_bytes(), &self.options.limits) {
                Ok(value) => return self.walk(value, context),
                Err(error) => Problem::new(format!("in `{member}`: {error}"), error.hint()),
            },
            Some(value @ (Value::Object(_) | Value::Array(_))) => {
                return self.walk(value.take(), context);
            }
            _ => Problem::new(
                format!("the message has no `{member}`"),
                "deliver the message as SNS or SQS gives it",
            ),
        };
        self.refuse_value(problem, &Value::Object(message));
    }

    /// An EventBridge envelope,
    /// <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>.
    fn walk_envelope(&mut self, map: Map<String, Value>, context: &Context) {
        let detail_type = map
            .get("detail-type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let Some(Value::Object(_)) = map.get("detail") else {
            let problem = Problem::new(
                format!("the `{detail_type}` event has no `detail` object"),
                "deliver the event whole: an input transformer may have cut it",
            );
            return self.refuse_value(problem, &Value::Object(map));
        };
        match detail_type.as_str() {
            // https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html
            // https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-v2-cwe-event-formats.html
            "Security Hub Findings - Imported" | "Findings Imported V2" => {
                self.walk_findings(map, &detail_type, context);
            }
            "Security Hub Findings - Custom Action" => match custom_action(&map) {
                Ok(route) => {
                    let context = Context {
                        route,
                        ..context.clone()
                    };
                    self.walk_findings(map, &detail_type, &context);
                }
                Err(problem) => self.refuse_value(problem, &Value::Object(map)),
            },
            "Config Rules Compliance Change"
            | "GuardDuty Finding"
            | "Inspector2 Finding"
            | "Macie Finding" => {
                let (event, detail) = with_account_and_region(map);
                let context = Context {
                    event: Some(Rc::new(event)),
                    ..context.clone()
                };
                let draft = match detail_type.as_str() {
                    "Config Rules Compliance Change" => config::read(detail),
                    "GuardDuty Finding" => product::guard_duty(detail),
                    "Inspector2 Finding" => product::inspector(detail),
                    _ => product::macie(detail),
                };
                self.settle(draft, &context);
            }
            automation::EXECUTION | automation::STEP => match automation::read(&map) {
                Ok(executed) => self.out.push(Incoming::Executed(executed)),
                Err(problem) => self.refuse_value(problem, &Value::Object(map)),
            },
            _ => {
                let problem = Problem::new(
                    format!("`{detail_type}` events carry no finding that Stanch reads"),
                    "have the EventBridge rule match the detail types that the documentation lists",
                );
                self.refuse_value(problem, &Value::Object(map));
            }
        }
    }

    fn walk_findings(&mut self, mut map: Map<String, Value>, detail_type: &str, context: &Context) {
        let findings = map
            .get_mut("detail")
            .and_then(|detail| detail.get_mut("findings"));
        match findings {
            Some(Value::Array(findings)) if !findings.is_empty() => {
                let findings = std::mem::take(findings);
                let context = &Context {
                    event: Some(Rc::new(map)),
                    ..context.clone()
                };
                for finding in findings {
                    match finding {
                        Value::Object(finding) => self.judge(finding, context),
                        other => {
                            let kind = members::describe(&other);
                            let problem = Problem::new(
                                format!(
                                    "a member of `detail.findings` must be an object, is {kind}"
                                ),
                                "deliver the event whole: an input transformer may have cut it",
                            );
                            self.refuse_value(problem, &other);
                        }
                    }
                }
            }
            _ => {
                let problem = Problem::new(
                    format!("the `{detail_type}` event has no `detail.findings`"),
                    "deliver the event whole: an input transformer may have cut it",
                );
                self.refuse_value(problem, &Value::Object(map));
            }
        }
    }

    /// A finding without anything around it, told apart by the members that only its format has.
    fn judge(&mut self, map: Map<String, Value>, context: &Context) {
        let has = |member: &str| map.contains_key(member);
        let draft = if has("class_uid") {
            ocsf::read(map)
        } else if has("AwsAccountId") || has("SchemaVersion") || has("ProductArn") {
            asff::read(map)
        } else if has("configRuleName") && has("newEvaluationResult") {
            config::read(map)
        } else {
            let names: Vec<String> = map
                .keys()
                .take(5)
                .map(|key| format!("`{}`", short(key)))
                .collect();
            let what = if names.is_empty() {
                "an empty object".to_owned()
            } else {
                format!("an object with {}", names.join(", "))
            };
            Err((
                Problem::new(
                    format!("{what} is no event or finding that Stanch reads"),
                    HINT_KINDS,
                ),
                map,
            ))
        };
        self.settle(draft, context);
    }

    fn settle(&mut self, draft: Result<Draft, Refused>, context: &Context) {
        let mut draft = match draft {
            Ok(draft) => draft,
            Err((problem, map)) => {
                let event = context.deliverable(Value::Object(map));
                return self.refuse_value(problem, &event);
            }
        };
        if let Some(reason) = self.skip_reason(&draft) {
            return self.out.push(Incoming::Skipped {
                id: draft.finding.id,
                account: draft.finding.account,
                reason,
            });
        }
        let more = draft.refused.len().saturating_sub(1);
        if let Some(mut problem) = std::mem::take(&mut draft.refused).into_iter().next() {
            if more > 0 {
                problem.reason += &format!(" (and {more} more such)");
            }
            let event = context.deliverable(Value::clone(&draft.finding.raw));
            self.refuse_value(problem, &event);
        }
        let Finding {
            account,
            region,
            resources,
            ..
        } = &mut draft.finding;
        for resource in resources {
            resource.identify(account, region);
        }
        if !draft.finding.resources.is_empty() {
            self.out.push(Incoming::Accepted {
                finding: Box::new(draft.finding),
                route: context.route.clone(),
            });
        }
    }

    fn skip_reason(&self, draft: &Draft) -> Option<SkipReason> {
        let finding = &draft.finding;
        match (finding.compliance, finding.workflow) {
            _ if draft.sample => Some(SkipReason::Sample),
            _ if self.options.test_accounts.contains(&finding.account) => {
                Some(SkipReason::TestAccount(finding.account.clone()))
            }
            _ if finding.record_state == RecordState::Archived => Some(SkipReason::Archived),
            (Some(status @ (Compliance::Passed | Compliance::NotAvailable)), _) => {
                Some(SkipReason::Compliance(status))
            }
            (_, status @ (Workflow::Resolved | Workflow::Suppressed)) => {
                Some(SkipReason::Workflow(status))
            }
            _ => None,
        }
    }
}

/// The event without its detail, and the detail with the event's `account` and `region` where it has
/// no member of that name. Config, GuardDuty, Inspector and Macie send each event in the region that
/// it is about; of an account that may be another than the event's, the detail has its own member.
fn with_account_and_region(
    mut event: Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut detail = match event.get_mut("detail").map(Value::take) {
        Some(Value::Object(detail)) => detail,
        _ => Map::new(),
    };
    for member in ["account", "region"] {
        if let Some(value) = event.get(member) {
            detail.entry(member).or_insert_with(|| value.clone());
        }
    }
    (event, detail)
}

/// <https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html>
fn is_confirmation(message: &Map<String, Value>) -> bool {
    message.get("Type").and_then(Value::as_str) == Some("SubscriptionConfirmation")
}

/// What is wrong with a finding, and the finding.
type Refused = (Problem, Map<String, Value>);

const HINT_KINDS: &str = "send an EventBridge event of Security Hub, Config, GuardDuty, Inspector or Macie, or a finding in ASFF or OCSF";

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn custom_action(map: &Map<String, Value>) -> Result<Route, Problem> {
    let event = Members::new(map, "");
    let detail = event.required_object("detail")?;
    let action_arn = match event.list("resources")?.first() {
        Some(Value::String(arn)) => Some(arn.parse::<Arn>().map_err(|error| {
            Problem::new(
                format!("in `resources`: {error}"),
                "Security Hub puts the custom action's ARN there; deliver the event as it is",
            )
        })?),
        _ => None,
    };
    Ok(Route::Manual {
        action: detail.required_text("actionName")?.to_owned(),
        action_arn,
        requester: None,
    })
}
