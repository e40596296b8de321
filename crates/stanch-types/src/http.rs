//! HTTP as a port, for channels and services that are not AWS's.

use async_trait::async_trait;

use crate::Secret;

/// A request. Its address, headers and body may hold secrets, so none of them is ever shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The whole URL.
    pub url: Secret<String>,
    /// Names in lower case, each once.
    pub headers: Vec<(&'static str, Secret<String>)>,
    /// The body; empty for none.
    pub body: Secret<String>,
}

impl HttpRequest {
    /// A request without a body.
    #[must_use]
    pub const fn get(url: Secret<String>) -> Self {
        Self {
            method: "GET",
            url,
            headers: Vec::new(),
            body: Secret::new(String::new()),
        }
    }

    /// A request that carries JSON.
    #[must_use]
    pub fn json(method: &'static str, url: Secret<String>, body: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Secret::new(body),
        }
        .with("content-type", "application/json".to_owned())
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, Secret::new(value)));
        self
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The value of the header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A request without a whole answer. Neither says more of the address than the caller knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// It is no request, or cannot be sent from here at all.
    #[error("it cannot be sent: {0}")]
    Unsendable(String),
    /// No connection, or one that broke: the request may have had its effect.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// The network, without redirects: a request goes to its address and nowhere else.
#[async_trait]
pub trait Http: Send + Sync {
    /// Sends the request once. Waiting is bounded by the caller.
    async fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpError>;
}
