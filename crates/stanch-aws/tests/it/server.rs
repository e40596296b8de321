//! A server on the loopback that answers by script, and the ports that go with it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_aws::{Client, Environment, Random, Setup};
use stanch_models::Models;
use stanch_types::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What the server does with a request.
pub enum Answer {
    Reply(u16, Vec<(&'static str, String)>, String),
    /// Half of what the length promises, then the end.
    CutOff(String),
    /// The connection is closed without a word.
    Close,
    /// Nothing, ever.
    Hang,
}

pub fn reply(status: u16, body: &str) -> Answer {
    Answer::Reply(status, Vec::new(), body.to_owned())
}

pub fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>said the server</Message></Error>");
    reply(status, &body)
}

pub struct Server {
    pub url: String,
    pub connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// A server that answers the n-th request (from 0) as `answer` says.
    pub async fn start(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connections: Arc::default(),
            seen: Arc::default(),
        };
        let (connections, seen, answer) = (
            server.connections.clone(),
            server.seen.clone(),
            Arc::new(answer),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    let _ = converse(stream, &seen, &*answer).await;
                });
            }
        });
        server
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(usize, &Seen) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
        let mut request = Seen {
            method: first.next().unwrap(),
            path: first.next().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: String::new(),
        };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while buffer.len() < head_end + 4 + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let rest = buffer.split_off(head_end + 4 + length);
        request.body = String::from_utf8_lossy(&buffer[head_end + 4..]).into_owned();
        buffer = rest;
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match answer(number, &request) {
            Answer::Reply(status, headers, body) => {
                let mut out = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    out += &format!("{name}: {value}\r\n");
                }
                stream
                    .write_all(format!("{out}\r\n{body}").as_bytes())
                    .await?;
            }
            Answer::CutOff(body) => {
                let out = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(out.as_bytes()).await?;
                stream.write_all(&body.as_bytes()[..body.len() / 2]).await?;
                return Ok(());
            }
            Answer::Close => return Ok(()),
            Answer::Hang => std::future::pending().await,
        }
    }
}

/// A clock that is set by hand and does not wait.
pub struct TestClock {
    second: AtomicI64,
    pub slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub fn forward(&self, seconds: i64) {
        self.second.fetch_add(seconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
        tokio::task::yield_now().await;
    }
}

/// Counts: no two are alike, and every run is.
#[derive(Default)]
pub struct Counter(AtomicUsize);

impl Random for Counter {
    fn bits(&self) -> u128 {
        self.0.fetch_add(1, Ordering::SeqCst) as u128
    }

    fn fraction(&self) -> f64 {
        1.0
    }
}

/// 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600;

/// A client of the server, with keys of its own, after `change` had its say.
pub fn client_with(server: &Server, change: impl FnOnce(&mut Setup)) -> (Client, Arc<TestClock>) {
    let clock = Arc::new(TestClock {
        second: AtomicI64::new(NOW),
        slept: Mutex::default(),
    });
    let environment = Environment::new([
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", &server.url),
    ]);
    let models = Arc::new(Models::embedded().unwrap());
    let mut setup = Setup::new(
        environment,
        models,
        clock.clone(),
        Arc::<Counter>::default(),
    );
    change(&mut setup);
    (Client::new(setup, "us-east-1".parse().unwrap()), clock)
}

pub fn client(server: &Server) -> (Client, Arc<TestClock>) {
    client_with(server, |_| {})
}
