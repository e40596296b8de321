//! A JSON POST of the message, signed if there is a key.
//!
//! The signature is in the header `Stanch-Signature: t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256
//! (<https://www.rfc-editor.org/rfc/rfc2104>) with the key over the text `<seconds since 1970>.<body>`.
//! A receiver makes it again from the bytes it got, compares in constant time, and refuses times more
//! than five minutes away and deliveries (`Stanch-Delivery`) that it has had.

use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use stanch_types::{HttpRequest, Secret, hex};

use crate::{
    notice::Notice,
    send::{Channel, Line, Trouble},
};

/// The message as the notification topic has it.
pub struct Webhook {
    url: Secret<String>,
    key: Option<Secret<String>>,
}

impl Webhook {
    /// Posts to `url`.
    #[must_use]
    pub const fn new(url: Secret<String>) -> Self {
        Self { url, key: None }
    }

    /// The same, signed.
    #[must_use]
    pub fn signed(mut self, key: Secret<String>) -> Self {
        self.key = Some(key);
        self
    }

    /// `webhook ` and the host, which is all that is shown of an address.
    #[must_use]
    pub fn name(url: &Secret<String>) -> String {
        let host = url
            .reveal()
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', '?', '#']).next());
        let host = host
            .and_then(|host| host.rsplit('@').next())
            .unwrap_or("invalid address");
        format!("webhook {host}")
    }

    /// The request of an attempt that begins at `now`.
    ///
    /// # Errors
    /// The message has no JSON form.
    pub fn request(&self, notice: &Notice<'_>, now: Timestamp) -> Result<HttpRequest, Trouble> {
        let message = notice.message();
        let body = serde_json::to_string(message)
            .map_err(|error| Trouble::Lasting(format!("the message is not JSON: {error}")))?;
        let signature = self.key.as_ref().map(|key| sign(key, now, &body));
        let delivery = notice.delivery();
        let request = HttpRequest::json("POST", self.url.clone(), body)
            .with("user-agent", "stanch".to_owned())
            .with("stanch-delivery", delivery);
        Ok(match signature {
            Some(signature) => request.with("stanch-signature", signature),
            None => request,
        })
    }
}

#[async_trait]
impl Channel for Webhook {
    async fn deliver(&self, notice: &Notice<'_>, line: &Line<'_>) -> Result<(), Trouble> {
        let request = self.request(notice, line.now())?;
        line.send(&request).await.map(drop)
    }
}

fn mac(key: &Secret<String>, at: i64, body: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes()).ok()?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body.as_bytes());
    Some(mac)
}

fn sign(key: &Secret<String>, now: Timestamp, body: &str) -> String {
    let at = now.as_second();
    // HMAC takes keys of any length, so there always is one.
    let code = mac(key, at, body).map(|mac| mac.finalize().into_bytes());
    let code = code.as_deref().map(hex).unwrap_or_default();
    format!("t={at},v1={code}")
}

/// A request that is not from who has the key, or not from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forged {
    /// No signature, or one of another key or body.
    Signature,
    /// Its time is too far away.
    Time,
}

/// What a receiver does with the header `Stanch-Signature`.
///
/// # Errors
/// The request must be refused.
pub fn verify(
    key: &Secret<String>,
    header: &str,
    body: &str,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Forged> {
    let part = |name: &str| {
        header
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let at: i64 = part("t")
        .and_then(|text| text.parse().ok())
        .ok_or(Forged::Signature)?;
    let code = part("v1").and_then(unhex).ok_or(Forged::Signature)?;
    let mac = mac(key, at, body).ok_or(Forged::Signature)?;
    mac.verify_slice(&code).map_err(|_| Forged::Signature)?;
    match now.as_second().abs_diff(at) <= tolerance.as_secs() {
        true => Ok(()),
        false => Err(Forged::Time),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
