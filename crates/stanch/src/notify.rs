//! Channels: a line of the log, a JSON POST, and a folder of documents.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::http::{HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
    http::Request,
};
use aws_smithy_types::body::SdkBody;
use serde_json::json;
use stanch_hub::{Audience, Message, NotTold, Notifier};
use stanch_ledger::{Ledger, Record};
use stanch_types::{Clock, Secret};

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

    async fn tell(&self, message: &Message, record: &Record) -> Result<(), NotTold> {
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

    async fn tell(&self, _: &Message, _: &Record) -> Result<(), NotTold> {
        Ok(())
    }
}

/// Posts each message as JSON: up to three times, with pauses, as the brief's topic delivers.
pub struct Webhook {
    url: Secret<String>,
    channel: String,
    audience: Audience,
    clock: Arc<dyn Clock>,
    connector: OnceLock<SharedHttpConnector>,
}

const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What came of one attempt.
enum Attempt {
    Delivered,
    Again(String),
    Never(String),
}

impl Webhook {
    /// A channel to `url`, of which only the host is shown.
    pub fn new(url: Secret<String>, clock: Arc<dyn Clock>) -> Self {
        let host = url
            .reveal()
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', '?']).next());
        let host = host
            .and_then(|host| host.rsplit('@').next())
            .unwrap_or("invalid address");
        let channel = format!("webhook {host}");
        Self {
            url,
            channel,
            audience: Audience::Everyone,
            clock,
            connector: OnceLock::new(),
        }
    }

    /// The same, for one person's approvals.
    pub fn of(mut self, person: &str) -> Self {
        self.channel = format!("{} of {person}", self.channel);
        self.audience = Audience::Person(person.to_owned());
        self
    }

    fn connector(&self) -> &SharedHttpConnector {
        self.connector.get_or_init(|| {
            let settings = HttpConnectorSettings::builder()
                .connect_timeout(TIMEOUT)
                .read_timeout(TIMEOUT)
                .build();
            let builder = Connector::builder()
                .connector_settings(settings)
                .sleep_impl(TokioSleep::new());
            if self.url.reveal().starts_with("https:") {
                let provider = Provider::Rustls(CryptoMode::Ring);
                SharedHttpConnector::new(builder.tls_provider(provider).build())
            } else {
                SharedHttpConnector::new(builder.build_http())
            }
        })
    }

    async fn post(&self, body: &str) -> Attempt {
        let mut request = Request::new(SdkBody::from(body));
        let built = request
            .set_method("POST")
            .and_then(|()| request.set_uri(self.url.reveal().as_str()))
            .and_then(|()| {
                request
                    .headers_mut()
                    .try_insert("content-type", "application/json")
                    .map(drop)
            });
        if built.is_err() {
            return Attempt::Never("its address is not a URL".to_owned());
        }
        match self.connector().call(request).await {
            Err(error) if error.is_timeout() => Attempt::Again("no answer in time".to_owned()),
            Err(_) => Attempt::Again("no connection".to_owned()),
            Ok(response) => match response.status().as_u16() {
                200..=299 => Attempt::Delivered,
                status @ (408 | 429 | 500..=599) => Attempt::Again(format!("it answered {status}")),
                status => Attempt::Never(format!("it answered {status}")),
            },
        }
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn audience(&self) -> Audience {
        self.audience.clone()
    }

    async fn tell(&self, message: &Message, _: &Record) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: self.channel.clone(),
            reason,
        };
        let body = serde_json::to_string(message).map_err(|error| not_told(error.to_string()))?;
        let mut pause = Duration::from_secs(1);
        for attempt in 1.. {
            match self.post(&body).await {
                Attempt::Delivered => break,
                Attempt::Again(_) if attempt < ATTEMPTS => self.clock.sleep(pause).await,
                Attempt::Again(reason) | Attempt::Never(reason) => return Err(not_told(reason)),
            }
            pause *= 2;
        }
        Ok(())
    }
}

/// A JSON document per remediation, `year=YYYY/month=MM/day=DD/remediation-<id>.json` by the day of
/// admission: its record and its events so far.
pub struct LogFolder {
    folder: PathBuf,
    ledger: Arc<dyn Ledger>,
}

impl LogFolder {
    /// Documents under `folder`, from `ledger`.
    pub fn new(folder: PathBuf, ledger: Arc<dyn Ledger>) -> Self {
        Self { folder, ledger }
    }

    /// Written beside its place and moved there, so that nobody reads half a document.
    fn write(&self, record: &Record, text: &str) -> io::Result<()> {
        let day = record
            .timestamp
            .strftime("year=%Y/month=%m/day=%d")
            .to_string();
        let folder = self.folder.join(day);
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("remediation-{}.json", record.remediation_id));
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, path)
    }
}

#[async_trait]
impl Notifier for LogFolder {
    fn channel(&self) -> &str {
        "logs"
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    async fn tell(&self, _: &Message, record: &Record) -> Result<(), NotTold> {
        let not_told = |reason| NotTold {
            channel: "logs".to_owned(),
            reason,
        };
        let entries = self.ledger.entries(record.remediation_id).await;
        let entries = entries.map_err(|error| not_told(error.to_string()))?;
        let text = format!("{:#}\n", json!({ "Record": record, "Events": entries }));
        self.write(record, &text)
            .map_err(|error| not_told(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use stanch_testkit::FastClock;

    use super::*;

    /// Answers each request with the next status; gives back the bodies.
    fn receiver(statuses: &'static [u16]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "http://{}/hook?secret=hunter2",
            listener.local_addr().unwrap()
        );
        let bodies = std::thread::spawn(move || {
            let answer = |status: &u16| {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    let read = stream.read(&mut buffer).unwrap();
                    text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                }
                write!(
                    stream,
                    "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
                text.split_once("\r\n\r\n").unwrap().1.to_owned()
            };
            statuses.iter().map(answer).collect()
        });
        (url, bodies)
    }

    fn message() -> (Message, Record) {
        let at = 1_769_860_800_000_u64;
        let record = json!({
            "RemediationId": "6f1c0000-0000-4000-8000-000000000000", "Timestamp": at, "FindingId": "finding-1",
            "AccountId": "222222222222", "ResourceType": "AwsS3Bucket", "ResourceId": "arn:aws:s3:::demo",
            "RemediationType": "Manual", "RemediationAction": "S3BlockPublicAccess", "ExecutionStatus": "Success",
            "ExecutorArn": "arn:aws:iam::222222222222:role/R", "NotificationSent": false, "Status": "Success",
            "Region": "us-east-1", "Control": "S3.8", "Severity": "HIGH", "Title": "A bucket is public",
            "Requester": "alice", "Undone": false, "UpdatedAt": at, "Events": 8,
        });
        let record = serde_json::from_value(record).unwrap();
        (Message::new(&record), record)
    }

    async fn told(statuses: &'static [u16]) -> (Result<(), String>, Vec<String>) {
        let (url, bodies) = receiver(statuses);
        let (message, record) = message();
        let webhook = Webhook::new(
            Secret::new(url),
            Arc::new(FastClock::new(record.timestamp, 1000)),
        );
        assert!(
            webhook.channel().starts_with("webhook 127.0.0.1:")
                && !webhook.channel().contains("hook?")
        );
        let told = webhook.tell(&message, &record).await;
        (told.map_err(|error| error.reason), bodies.join().unwrap())
    }

    #[tokio::test]
    async fn a_message_is_posted_as_the_topic_has_it_and_again_if_that_may_help() {
        let (result, bodies) = told(&[200]).await;
        assert_eq!(result, Ok(()));
        let body: serde_json::Value = serde_json::from_str(&bodies[0]).unwrap();
        assert_eq!(
            (&body["Status"], &body["Finding"]),
            (&json!("Success"), &json!("A bucket is public"))
        );
        assert_eq!(body["ExecutedAt"], "2026-01-31T12:00:00Z");
        let (result, bodies) = told(&[500, 429, 204]).await;
        assert_eq!((result, bodies.len()), (Ok(()), 3));
        let (result, bodies) = told(&[503, 503, 503]).await;
        assert_eq!(
            (result, bodies.len()),
            (Err("it answered 503".to_owned()), 3)
        );
        let (result, bodies) = told(&[404]).await;
        assert_eq!(
            (result, bodies.len()),
            (Err("it answered 404".to_owned()), 1)
        );
    }
}
