//! One way to send: with patience, within a time limit.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;
use stanch_types::{
    AccountId, Clock, Http, HttpAnswer, HttpError, HttpRequest, SeverityLabel, chain,
};

use crate::notice::{Notice, plain};

/// A place that is told by HTTP.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Whether this notice is any of its business.
    fn takes(&self, _: &Notice<'_>) -> bool {
        true
    }

    /// It is told when a change begins, too.
    fn follows(&self) -> bool {
        false
    }

    /// Delivers the notice once. What has been delivered already by an attempt whose answer was lost
    /// must not be there twice, where the other side lets us see.
    ///
    /// # Errors
    /// It was not delivered, or nobody knows.
    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble>;
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass.
    Passing {
        /// What went wrong.
        reason: String,
        /// How long the other side asks to wait.
        after: Option<Duration>,
    },
    /// It will be the same next time.
    Lasting(String),
}

impl Trouble {
    /// A trouble that may pass, of unknown duration.
    #[must_use]
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::Passing {
            reason: reason.into(),
            after: None,
        }
    }
}

/// The network during one attempt.
pub struct Line<'s> {
    http: &'s dyn Http,
    now: Timestamp,
}

impl Line<'_> {
    /// When the attempt began.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Sends a request; an answer that is not 2xx is a trouble.
    ///
    /// # Errors
    /// What went wrong, and whether it may pass.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, Trouble> {
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(error @ HttpError::Unsendable(_)) => return Err(Trouble::Lasting(chain(&error))),
            Err(error @ HttpError::Unanswered(_)) => return Err(Trouble::passing(chain(&error))),
        };
        let said = match said(&answer, request) {
            Some(said) => format!("it answered {}: {said}", answer.status),
            None => format!("it answered {}", answer.status),
        };
        match answer.status {
            200..=299 => Ok(answer),
            408 | 425 | 429 | 500..=599 => Err(Trouble::Passing {
                reason: said,
                after: answer
                    .header("retry-after")
                    .and_then(|text| retry_after(text, self.now)),
            }),
            _ => Err(Trouble::Lasting(said)),
        }
    }
}

/// `Retry-After` is a number of seconds or a date:
/// <https://www.rfc-editor.org/rfc/rfc9110.html#name-retry-after>.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(at.duration_since(now).try_into().unwrap_or_default())
}

/// The beginning of what the other side said, unless it says our secrets back.
fn said(answer: &HttpAnswer, request: &HttpRequest) -> Option<String> {
    let text = String::from_utf8_lossy(answer.body.get(..400).unwrap_or(&answer.body));
    let text = plain(&text, 160);
    let headers = request.headers.iter().map(|(_, value)| value.reveal());
    let secrets = headers.chain([request.url.reveal()]);
    let is_echo = secrets
        .flat_map(|secret| secret.split([' ', '/', '?', '=', ':', '&', '@']))
        .any(|part| part.len() >= 8 && text.contains(part));
    (!text.is_empty() && !is_echo).then_some(text)
}

/// How long, and how often, a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often at most.
    pub attempts: u32,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// The first pause; each next is twice as long.
    pub pause: Duration,
    /// How long all of it may take, pauses included.
    pub total: Duration,
}

impl Default for Patience {
    /// Four attempts within 30 seconds.
    fn default() -> Self {
        Self {
            attempts: 4,
            attempt: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            total: Duration::from_secs(30),
        }
    }
}

/// Delivers, and tries again where that may help.
#[derive(Clone)]
pub struct Sender {
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

impl Sender {
    /// A sender to the network `http`.
    #[must_use]
    pub fn new(http: Arc<dyn Http>, clock: Arc<dyn Clock>, patience: Patience) -> Self {
        Self {
            http,
            clock,
            patience,
        }
    }

    /// Delivers a notice to a channel.
    ///
    /// # Errors
    /// Why the last attempt failed.
    pub async fn deliver(&self, channel: &dyn Channel, notice: &Notice<'_>) -> Result<(), String> {
        let Patience {
            attempts,
            attempt: longest,
            pause,
            total,
        } = self.patience;
        let begun = self.clock.monotonic();
        let left = || total.saturating_sub(self.clock.monotonic().saturating_sub(begun));
        let mut pause = pause;
        for attempt in 1.. {
            let line = Line {
                http: &*self.http,
                now: self.clock.now(),
            };
            let work = channel.deliver(notice, &line);
            let limit = self.clock.sleep(longest.min(left()));
            let trouble = match select(work, limit).await {
                Either::Left((Ok(()), _)) => return Ok(()),
                Either::Left((Err(trouble), _)) => trouble,
                Either::Right(_) => Trouble::passing("no answer in time"),
            };
            let (reason, after) = match trouble {
                Trouble::Lasting(reason) => return Err(reason),
                Trouble::Passing { reason, after } => (reason, after),
            };
            if attempt >= attempts {
                return Err(reason);
            }
            let wait = after.unwrap_or_else(|| pause.mul_f64(0.5 + jitter(notice, attempt) / 2.0));
            if wait >= left() {
                return Err(match after {
                    Some(after) => {
                        format!(
                            "{reason}, and asks to wait {} s, which is too long",
                            after.as_secs()
                        )
                    }
                    None => reason,
                });
            }
            self.clock.sleep(wait).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// A number from 0 to 1, so that many messages that failed together do not come back together. It
/// needs no randomness: messages differ.
fn jitter(notice: &Notice<'_>, attempt: u32) -> f64 {
    let message = notice.message();
    let seed = format!("{} {} {attempt}", message.remediation_id, message.status);
    let digest: [u8; 32] = Sha256::digest(seed.as_bytes()).into();
    f64::from(digest.first().copied().unwrap_or_default()) / f64::from(u8::MAX)
}

/// Which messages a channel gets. Without any of these it gets all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Of findings at least as bad as this; a finding without a severity always counts.
    pub minimum_severity: Option<SeverityLabel>,
    /// With these statuses; empty means all.
    pub statuses: BTreeSet<String>,
    /// Of these accounts; empty means all.
    pub accounts: BTreeSet<AccountId>,
}

impl Filter {
    /// Whether a message passes. What is urgent passes whatever its severity and status.
    #[must_use]
    pub fn passes(&self, message: &Message) -> bool {
        let account = self.accounts.is_empty()
            || self
                .accounts
                .iter()
                .any(|account| account.as_str() == message.account);
        let status = self.statuses.is_empty() || self.statuses.contains(&message.status);
        let severity = match (
            self.minimum_severity,
            SeverityLabel::from_name(&message.severity),
        ) {
            (Some(least), Some(severity)) => severity >= least,
            _ => true,
        };
        account && (message.urgent || status && severity)
    }
}

/// A channel behind the hub's port.
pub struct Subscriber {
    name: String,
    audience: Audience,
    filter: Filter,
    channel: Box<dyn Channel>,
    sender: Sender,
}

impl Subscriber {
    /// A channel that the ledger knows as `name`, and that reaches all who may approve.
    #[must_use]
    pub fn new(name: impl Into<String>, channel: Box<dyn Channel>, sender: Sender) -> Self {
        Self {
            name: name.into(),
            audience: Audience::Everyone,
            filter: Filter::default(),
            channel,
            sender,
        }
    }

    /// The same, for what passes `filter`.
    #[must_use]
    pub fn of(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Delivers a notice, whoever it is for.
    ///
    /// # Errors
    /// Why not.
    pub async fn deliver(&self, notice: &Notice<'_>) -> Result<(), String> {
        self.sender.deliver(&*self.channel, notice).await
    }

    /// The same, reaching these.
    #[must_use]
    pub fn to(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }
}

#[async_trait]
impl Notifier for Subscriber {
    fn channel(&self) -> &str {
        &self.name
    }

    fn audience(&self) -> Audience {
        self.audience.clone()
    }

    fn wants(&self, message: &Message) -> bool {
        self.filter.passes(message) && self.channel.takes(&Notice::new(message))
    }

    fn follows(&self) -> bool {
        self.channel.follows()
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        let delivered = self.deliver(&Notice::new(message)).await;
        delivered.map_err(|reason| NotTold {
            channel: self.name.clone(),
            reason,
        })
    }
}
