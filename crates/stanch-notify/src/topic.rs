//! Amazon SNS: the notification topic.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_hub::{History, Message, NotTold, Notifier};
use stanch_ledger::Record;
use stanch_types::{Api, Call};

use crate::{
    notice::{Notice, plain},
    send::Filter,
};

/// Publishes each message as JSON. Attributes carry what subscriptions filter by: `status`,
/// `account`, `severity` and `urgent`
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html>).
pub struct Topic {
    api: Arc<dyn Api>,
    arn: String,
    name: String,
    filter: Filter,
    follows: bool,
}

/// The largest message with its attributes, 256 KiB, less room for these:
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const LIMIT: usize = 256 * 1024 - 1024;

/// The longest subject, in ASCII characters; the same page.
const SUBJECT: usize = 100;

impl Topic {
    /// The topic of this ARN, in the region and account of `api`.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, arn: impl Into<String>) -> Self {
        let arn = arn.into();
        let name = format!("topic {}", arn.rsplit(':').next().unwrap_or(&arn));
        Self {
            api,
            arn,
            name,
            filter: Filter::default(),
            follows: false,
        }
    }

    /// The same, for what passes `filter`.
    #[must_use]
    pub fn of(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The same, told of changes that begin, too: for subscribers that open tickets then.
    #[must_use]
    pub const fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Whether SNS says that nobody has confirmed a subscription: it takes what is published all the same
    /// (<https://docs.aws.amazon.com/sns/latest/api/API_GetTopicAttributes.html>). Who may publish only is not
    /// told, and believes it.
    async fn is_deserted(&self) -> bool {
        let params = json!({"TopicArn": self.arn});
        let call = Call::new("sns", "GetTopicAttributes", params);
        let confirmed = "/Attributes/SubscriptionsConfirmed";
        let reply = self.api.call(&call).await;
        reply.is_ok_and(|reply| reply.output.pointer(confirmed) == Some(&json!("0")))
    }

    /// The request that publishes a message.
    ///
    /// # Errors
    /// The message has no JSON form.
    pub fn publish(&self, message: &Message) -> Result<Call, serde_json::Error> {
        let attribute = |value: &str| json!({"DataType": "String", "StringValue": value});
        let urgent = if message.urgent { "true" } else { "false" };
        // An attribute must not be empty.
        let attributes: Map<String, Value> = [
            ("status", message.status.as_str()),
            ("account", message.account.as_str()),
            ("severity", message.severity.as_str()),
            ("urgent", urgent),
        ]
        .into_iter()
        .map(|(name, value)| (name, plain(value, 100)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), attribute(&value)))
        .collect();
        let subject = plain(&Notice::new(message).headline(), SUBJECT);
        let subject: String = subject
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect();
        Ok(Call::new(
            "sns",
            "Publish",
            json!({
                "TopicArn": self.arn,
                "Subject": subject,
                "Message": fitting(message)?,
                "MessageAttributes": attributes,
            }),
        ))
    }
}

/// The message as JSON within the limit: of what becomes of the resource, as much as fits.
pub(crate) fn fitting(message: &Message) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(message)?;
    for most in [200, 20, 0] {
        if text.len() <= LIMIT {
            break;
        }
        text = serde_json::to_string(&shortened(message, most))?;
    }
    Ok(text)
}

/// The same with so many lines in each list, and no text of unusual length.
fn shortened(message: &Message, most: usize) -> Message {
    const TEXT: usize = 1000;
    const LINE: usize = 300;
    let mut message = message.clone();
    let Message {
        remediation_id,
        status,
        account,
        resource,
        action,
        executed_at,
        finding,
        region,
        severity,
        account_name,
        resource_type,
        control,
        requester,
        finding_id,
        origin: _,
        can_be_undone: _,
        error,
        urgent: _,
        known_threat: _,
        approval,
    } = &mut message;
    let texts = [
        remediation_id,
        status,
        account,
        resource,
        action,
        executed_at,
        finding,
        region,
        severity,
        resource_type,
        control,
        requester,
        finding_id,
    ];
    let shorten = |text: &mut String| *text = plain(text, TEXT);
    texts.into_iter().for_each(shorten);
    account_name.iter_mut().chain(error).for_each(shorten);
    if let Some(asked) = approval {
        asked.message.iter_mut().for_each(shorten);
        for list in [
            &mut asked.facts,
            &mut asked.changes,
            &mut asked.changed,
            &mut asked.reasons,
            &mut asked.needs,
        ] {
            let more = list.len().saturating_sub(most);
            list.truncate(most);
            for line in &mut *list {
                *line = plain(line, LINE);
            }
            if more > 0 {
                list.push(format!("… and {more} more"));
            }
        }
    }
    message
}

#[async_trait]
impl Notifier for Topic {
    fn channel(&self) -> &str {
        &self.name
    }

    fn wants(&self, message: &Message) -> bool {
        self.filter.passes(message)
    }

    fn follows(&self) -> bool {
        self.follows
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: self.name.clone(),
            reason,
        };
        if message.approval.is_some() && self.is_deserted().await {
            return Err(not_told("nobody has confirmed a subscription".to_owned()));
        }
        let call = self.publish(message);
        let call = call.map_err(|error| not_told(error.to_string()))?;
        let published = self.api.call(&call).await;
        published
            .map(drop)
            .map_err(|error| not_told(error.to_string()))
    }
}
