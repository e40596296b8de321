//! A channel whose messages a test can read.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::Record;

/// Takes every message, until it is told not to.
#[derive(Debug)]
pub struct Listener {
    name: String,
    audience: Audience,
    heard: Mutex<Vec<Message>>,
    deaf: AtomicBool,
}

impl Default for Listener {
    fn default() -> Self {
        Self::new("everyone", Audience::Everyone)
    }
}

impl Listener {
    /// A channel of this name, which reaches these people.
    #[must_use]
    pub fn new(name: &str, audience: Audience) -> Self {
        Self {
            name: name.to_owned(),
            audience,
            heard: Mutex::default(),
            deaf: AtomicBool::new(false),
        }
    }

    /// What it was told so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Message> {
        self.messages().clone()
    }

    /// Delivers nothing from now on, or does again.
    pub fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notifier for Listener {
    fn channel(&self) -> &str {
        &self.name
    }

    fn audience(&self) -> Audience {
        self.audience.clone()
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        if self.deaf.load(Ordering::Relaxed) {
            return Err(NotTold {
                channel: self.name.clone(),
                reason: "nobody is there".to_owned(),
            });
        }
        self.messages().push(message.clone());
        Ok(())
    }
}
