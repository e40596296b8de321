//! Lambda's runtime API: the next event, and what became of it,
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::sync::Arc;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::{
    client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector},
    http::{Headers, Request},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_types::chain;

use crate::{Failure, Function, Invocation};

/// The runtime API could not be used; the process ends, and Lambda starts another.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It did not answer.
    #[error("the runtime API does not answer: {0}")]
    NoAnswer(String),
    /// It answered with this status.
    #[error("the runtime API answered {0}")]
    Status(u16),
    /// An answer lacks something.
    #[error("the runtime API gave no `{0}`")]
    Missing(&'static str),
}

/// The runtime API of this process.
pub struct Runtime {
    base: String,
    http: SharedHttpConnector,
}

impl Runtime {
    /// The API at `host` (`AWS_LAMBDA_RUNTIME_API`), a name and a port.
    #[must_use]
    pub fn new(host: &str) -> Self {
        // No timeouts: the process is frozen while it waits for its next event.
        let connector = Connector::builder()
            .connector_settings(HttpConnectorSettings::builder().build())
            .sleep_impl(TokioSleep::new())
            .build_http();
        Self {
            base: format!("http://{host}/2018-06-01/runtime"),
            http: SharedHttpConnector::new(connector),
        }
    }

    /// Asks for one event after the other, for as long as the process lives.
    ///
    /// # Errors
    /// The API broke off.
    pub async fn serve(&self, function: Arc<dyn Function>) -> Result<(), RuntimeError> {
        loop {
            let (id, invocation) = self.next().await?;
            let answer = match invocation {
                Ok(invocation) => function.handle(invocation).await,
                Err(failure) => Err(failure),
            };
            self.answer(&id, answer).await?;
        }
    }

    async fn next(&self) -> Result<(String, Result<Invocation, Failure>), RuntimeError> {
        let (headers, body) = self.exchange("GET", "/invocation/next", None).await?;
        let header = |name| headers.get(name).map(str::to_owned);
        let id = header("lambda-runtime-aws-request-id")
            .ok_or(RuntimeError::Missing("Lambda-Runtime-Aws-Request-Id"))?;
        let deadline = header("lambda-runtime-deadline-ms")
            .and_then(|text| Timestamp::from_millisecond(text.parse().ok()?).ok())
            .ok_or(RuntimeError::Missing("Lambda-Runtime-Deadline-Ms"))?;
        let invocation = serde_json::from_slice(&body)
            .map_err(|error| Failure::event(format!("the event is not JSON: {error}")))
            .map(|event| Invocation {
                event,
                deadline,
                request_id: id.clone(),
                trace: header("lambda-runtime-trace-id"),
            });
        Ok((id, invocation))
    }

    async fn answer(&self, id: &str, answer: Result<Value, Failure>) -> Result<(), RuntimeError> {
        let (path, error, body) = match answer {
            Ok(value) => (format!("/invocation/{id}/response"), None, value),
            Err(failure) => {
                tracing::error!(kind = failure.kind, error = %failure, "the invocation failed");
                let body = json!({
                    "errorType": failure.kind,
                    "errorMessage": failure.to_string(),
                    "stackTrace": [],
                });
                (format!("/invocation/{id}/error"), Some(failure.kind), body)
            }
        };
        let body = (error, body.to_string());
        self.exchange("POST", &path, Some(body)).await.map(drop)
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<(Option<&'static str>, String)>,
    ) -> Result<(Headers, Vec<u8>), RuntimeError> {
        let no_answer = |error: &dyn std::error::Error| RuntimeError::NoAnswer(chain(error));
        let (error, body) = body.unwrap_or_default();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method(method).map_err(|e| no_answer(&e))?;
        let url = format!("{}{path}", self.base);
        request.set_uri(url).map_err(|e| no_answer(&e))?;
        if let Some(kind) = error {
            let header = "lambda-runtime-function-error-type";
            let added = request.headers_mut().try_append(header, kind);
            added.map_err(|e| no_answer(&e))?;
        }
        let answered = self.http.call(request).await;
        let answered = answered.map_err(|e| no_answer(&e))?;
        let status = answered.status().as_u16();
        let headers = answered.headers().clone();
        let body = ByteStream::new(answered.into_body()).collect().await;
        let body = body.map_err(|e| no_answer(&e))?.to_vec();
        match status {
            200..300 => Ok((headers, body)),
            // An answer that is too large, or late: this event's, not the next one's.
            // https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-response
            400..500 if method == "POST" => {
                tracing::error!(status, path, "the runtime API refused an answer");
                Ok((headers, body))
            }
            status => Err(RuntimeError::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Says back what it is told, unless it is told to fail.
    #[derive(Default)]
    struct Echo(Mutex<Vec<Invocation>>);

    #[async_trait]
    impl Function for Echo {
        async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
            self.0.lock().unwrap().push(invocation.clone());
            match invocation.event.get("fail") {
                Some(_) => Err(Failure::event("as you wish").hint("ask for something else")),
                None => Ok(invocation.event),
            }
        }
    }

    /// Hands out `events` and then hangs up; gives the requests it got.
    async fn served(events: &[&str]) -> (Vec<Invocation>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let echo = Arc::new(Echo::default());
        let function = Arc::clone(&echo) as Arc<dyn Function>;
        let runtime = async { Runtime::new(&host).serve(function).await };
        let api = async {
            let mut got = Vec::new();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut events = events.iter();
            loop {
                let mut request = vec![0; 64 << 10];
                let mut length = 0;
                let text = loop {
                    length += stream.read(&mut request[length..]).await.unwrap();
                    let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
                    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
                    let wanted = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= wanted.map_or(0, |n| n.parse().unwrap()) {
                        break text;
                    }
                };
                let reply = match text.starts_with("get") {
                    true => match events.next() {
                        None => return got,
                        Some(event) => format!(
                            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\nLambda-Runtime-Deadline-Ms: 1700000000000\r\nLambda-Runtime-Trace-Id: Root=1-2-3\r\nContent-Length: {}\r\n\r\n{event}",
                            event.len()
                        ),
                    },
                    false => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                got.push(text);
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        };
        let (ended, got) = tokio::join!(runtime, api);
        assert!(matches!(ended, Err(RuntimeError::NoAnswer(_))));
        let seen = echo.0.lock().unwrap().clone();
        (seen, got)
    }

    #[tokio::test]
    async fn events_are_answered_one_after_the_other() {
        let (seen, got) = served(&[r#"{"a":1}"#, r#"{"fail":true}"#, "not json"]).await;
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].event, json!({"a": 1}));
        assert_eq!(seen[0].deadline.as_millisecond(), 1_700_000_000_000);
        assert_eq!(seen[0].trace.as_deref(), Some("Root=1-2-3"));
        let posts: Vec<&String> = got.iter().filter(|text| text.starts_with("post")).collect();
        assert!(posts[0].starts_with("post /2018-06-01/runtime/invocation/r-1/response"));
        assert!(posts[0].ends_with(r#"{"a":1}"#));
        assert!(posts[1].starts_with("post /2018-06-01/runtime/invocation/r-1/error"));
        assert!(posts[1].contains("lambda-runtime-function-error-type: badevent"));
        assert!(posts[1].contains("as you wish (hint: ask for something else)"));
        assert!(posts[2].contains("the event is not json"));
        assert_eq!(posts.len(), 3);
    }
}
