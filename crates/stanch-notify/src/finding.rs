//! The finding's own system: a note and a workflow status in Security Hub, and another look by AWS
//! Config's rule.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;
use stanch_types::{Access, Call, Region, Scope, Sessions};

use crate::{
    logs::InRegion,
    notice::{Notice, plain},
};

/// Notes on findings, in the account that administers Security Hub.
///
/// The workflow status is `NOTIFIED` while people or we work on it, and `RESOLVED` once the check was
/// read again and is fine. Nothing is suppressed, and a refusal is only noted. A finding about several
/// resources is never resolved: we know of one of them.
pub struct SecurityHub {
    api: InRegion,
    follows: bool,
}

/// The longest note:
/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_NoteUpdate.html>.
const NOTE: usize = 512;

/// Who writes it.
const AUTHOR: &str = "stanch";

const SECURITY_HUB: &str = "security hub";

impl SecurityHub {
    /// Notes by `api`, in the region that the finding states.
    #[must_use]
    pub const fn new(api: InRegion) -> Self {
        Self { api, follows: true }
    }

    /// The same, not told of beginnings: a change that takes a second needs one note, not two.
    #[must_use]
    pub const fn of_ends(mut self) -> Self {
        self.follows = false;
        self
    }

    /// Region and request of a note; nothing for a finding that is not Security Hub's.
    #[must_use]
    pub fn update(message: &Message) -> Option<(Region, Call)> {
        let origin = message.origin.as_ref()?;
        let product = origin.product_arn.as_deref()?;
        let region = match &origin.region {
            Some(region) => region.clone(),
            None => message.region.parse().ok()?,
        };
        let notice = Notice::new(message);
        // The remediation's id comes first: it must not be cut off.
        let note = format!(
            "Remediation {}: {}.{}",
            message.remediation_id,
            notice.headline(),
            message
                .error
                .iter()
                .map(|error| format!(" {error}"))
                .collect::<String>(),
        );
        let mut params = Map::new();
        params.insert(
            "FindingIdentifiers".to_owned(),
            json!([{"Id": message.finding_id, "ProductArn": product}]),
        );
        params.insert(
            "Note".to_owned(),
            json!({"Text": plain(&note, NOTE), "UpdatedBy": AUTHOR}),
        );
        let status = match message.status.as_str() {
            "Success" if !origin.is_shared => Some("RESOLVED"),
            "Refused" | "Skipped" | "NothingToDo" => None,
            _ => Some("NOTIFIED"),
        };
        if let Some(status) = status {
            params.insert("Workflow".to_owned(), json!({"Status": status}));
        }
        let call = Call::new("securityhub", "BatchUpdateFindings", Value::Object(params));
        Some((region, call))
    }
}

#[async_trait]
impl Notifier for SecurityHub {
    fn channel(&self) -> &str {
        SECURITY_HUB
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    fn wants(&self, message: &Message) -> bool {
        message.status != "RolloutBack" && Self::update(message).is_some()
    }

    fn follows(&self) -> bool {
        self.follows
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: SECURITY_HUB.to_owned(),
            reason,
        };
        let Some((region, call)) = Self::update(message) else {
            return Err(not_told("the finding is not Security Hub's".to_owned()));
        };
        let reply = (self.api)(&region).call(&call).await;
        let reply = reply.map_err(|error| not_told(error.to_string()))?;
        // What was not processed is a success of the call.
        match reply.output.pointer("/UnprocessedFindings/0") {
            None => Ok(()),
            Some(unprocessed) => {
                let word = |name: &str| {
                    let value = unprocessed.get(name).and_then(Value::as_str);
                    value.unwrap_or_default().to_owned()
                };
                Err(not_told(format!(
                    "the finding was not updated: {}: {}",
                    word("ErrorCode"),
                    word("ErrorMessage")
                )))
            }
        }
    }
}

/// Has AWS Config look again at once after a change, by the rule that found it; custom rules, too. In
/// the member account, with a session that can do nothing else.
pub struct ConfigRules {
    sessions: Arc<dyn Sessions>,
}

const CONFIG: &str = "config rules";

impl ConfigRules {
    /// By sessions in member accounts.
    #[must_use]
    pub fn new(sessions: Arc<dyn Sessions>) -> Self {
        Self { sessions }
    }

    /// Where the rule is, and the request.
    #[must_use]
    pub fn evaluate(message: &Message, record: &Record) -> Option<(Scope, Call)> {
        let origin = message.origin.as_ref()?;
        let rule = origin.config_rule.as_ref()?;
        let region = origin
            .region
            .clone()
            .unwrap_or_else(|| record.region.clone());
        let account = record.account_id.clone();
        let partition = region.partition();
        // A rule's ARN has an id that the finding does not name.
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": "config:StartConfigRulesEvaluation",
            "Resource": format!("arn:{partition}:config:{region}:{account}:config-rule/*"),
        }]});
        let scope = Scope {
            account,
            region,
            session_name: "stanch-config".to_owned(),
            access: Access::Policy(policy.to_string()),
        };
        let params = json!({"ConfigRuleNames": [rule]});
        let call = Call::new("config", "StartConfigRulesEvaluation", params);
        Some((scope, call))
    }
}

#[async_trait]
impl Notifier for ConfigRules {
    fn channel(&self) -> &str {
        CONFIG
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    fn wants(&self, message: &Message) -> bool {
        let rule = message.origin.as_ref().map(|origin| &origin.config_rule);
        rule.is_some_and(Option::is_some) && matches!(message.status.as_str(), "Success" | "Undone")
    }

    async fn tell(&self, message: &Message, record: &Record, _: &History) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: CONFIG.to_owned(),
            reason,
        };
        let Some((scope, call)) = Self::evaluate(message, record) else {
            return Err(not_told("the finding is not of a Config rule".to_owned()));
        };
        let session = self.sessions.open(&scope).await;
        let session = session.map_err(|error| not_told(error.to_string()))?;
        match session.call(&call).await {
            Ok(_) => Ok(()),
            // Once a minute at most; the rule sees the change by itself, only later:
            // <https://docs.aws.amazon.com/config/latest/APIReference/API_StartConfigRulesEvaluation.html>.
            Err(error) if error.code == "LimitExceededException" => Err(not_told(
                "AWS Config has looked by this rule less than a minute ago, and looks again by itself later".to_owned(),
            )),
            Err(error) => Err(not_told(error.to_string())),
        }
    }
}
