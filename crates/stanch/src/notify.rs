//! Channels that are this process's own: its log and its terminal.

use async_trait::async_trait;
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;

/// A line of the log.
pub struct LogLine {
    is_read: bool,
}

impl LogLine {
    /// The log; people are asked by it for their approval if `is_read`.
    pub const fn new(is_read: bool) -> Self {
        Self { is_read }
    }
}

#[async_trait]
impl Notifier for LogLine {
    fn channel(&self) -> &str {
        "log"
    }

    fn audience(&self) -> Audience {
        match self.is_read {
            true => Audience::Everyone,
            false => Audience::Records,
        }
    }

    async fn tell(&self, message: &Message, record: &Record, _: &History) -> Result<(), NotTold> {
        let what = match message.approval {
            Some(_) => "an approval is asked for",
            None => "remediation",
        };
        tracing::info!(
            id = %record.remediation_id,
            status = %record.status,
            account = %record.account_id,
            region = %record.region,
            control = record.control,
            action = record.remediation_action,
            resource = record.resource_id,
            error = message.error,
            "{what}"
        );
        Ok(())
    }
}

/// The terminal that a command runs at, whose output says all there is to say.
pub struct Terminal;

#[async_trait]
impl Notifier for Terminal {
    fn channel(&self) -> &str {
        "terminal"
    }

    async fn tell(&self, _: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        Ok(())
    }
}
