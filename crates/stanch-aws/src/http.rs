//! The port [`Http`] on the transport that AWS is reached by: the same proxy and the same trusted
//! certificates.

use std::time::Duration;

use async_trait::async_trait;
use stanch_types::{Http, HttpAnswer, HttpError, HttpRequest};

use crate::{
    environment::Environment,
    transport::{Outgoing, Transport, TransportError},
};

/// HTTP and HTTPS to any host.
pub struct HttpClient(Transport);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer in bytes. Channels answer with a few words.
const ANSWER_LIMIT: usize = 1 << 20;

impl HttpClient {
    /// A client that goes by the proxy and certificates that `environment` names.
    #[must_use]
    pub const fn new(environment: Environment) -> Self {
        Self::reading(environment, ANSWER_LIMIT)
    }

    /// The same, which reads answers of so many bytes.
    #[must_use]
    pub const fn reading(environment: Environment, limit: usize) -> Self {
        Self(Transport::new(environment, CONNECT_TIMEOUT, limit))
    }
}

#[async_trait]
impl Http for HttpClient {
    async fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, HttpError> {
        let headers = request.headers.iter();
        let outgoing = Outgoing {
            method: request.method,
            url: request.url.reveal(),
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.reveal().clone()))
                .collect(),
            body: request.body.reveal().as_bytes(),
        };
        match self.0.send(outgoing).await {
            Ok(answer) => Ok(HttpAnswer {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            }),
            // Its text may quote the address or a header.
            Err(TransportError::Unsendable(_)) => Err(HttpError::Unsendable(
                "the address, a header, the proxy or the certificates are not valid".to_owned(),
            )),
            Err(error @ TransportError::TooLarge(_)) => {
                Err(HttpError::Unanswered(error.to_string()))
            }
            Err(TransportError::CutOff(_)) => {
                Err(HttpError::Unanswered("the answer broke off".to_owned()))
            }
            // The innermost cause is the system's own word.
            Err(TransportError::NoAnswer(why)) => {
                let cause = why.rsplit(": ").next().unwrap_or_default();
                Err(HttpError::Unanswered(cause.to_owned()))
            }
        }
    }
}
