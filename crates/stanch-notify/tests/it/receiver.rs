//! A receiver of requests that answers as it is told to.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

/// What becomes of a request.
#[derive(Clone)]
pub enum Answer {
    /// This status, these headers, this body.
    Says(u16, &'static str, String),
    /// The connection is closed without a word.
    Closes,
    /// Nothing is said for so long.
    Hangs(Duration),
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self::Says(status, "", String::new())
    }
}

/// A request as it came.
#[derive(Debug)]
pub struct Got {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver that takes as many requests as there are answers.
pub struct Receiver {
    pub url: String,
    thread: JoinHandle<Vec<Got>>,
}

impl Receiver {
    pub fn new(answers: impl IntoIterator<Item = impl Into<Answer>>) -> Self {
        let answers: Vec<Answer> = answers.into_iter().map(Into::into).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut got = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read(&mut stream);
                let last = request.line == "END";
                got.push(request);
                if last {
                    got.pop();
                    break;
                }
                match answer {
                    Answer::Says(status, headers, body) => write!(
                        stream,
                        "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    )
                    .unwrap(),
                    Answer::Closes => drop(stream),
                    #[expect(clippy::disallowed_methods, reason = "the other side really waits")]
                    Answer::Hangs(time) => std::thread::sleep(time),
                }
            }
            got
        });
        Self { url, thread }
    }

    /// What came. Answers that nobody fetched are taken back.
    pub fn got(self) -> Vec<Got> {
        if let Ok(mut stream) = TcpStream::connect(self.url.trim_start_matches("http://")) {
            let _ = stream.write_all(b"END\r\n\r\n");
        }
        self.thread.join().unwrap()
    }
}

fn read(stream: &mut TcpStream) -> Got {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length, start) = loop {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_owned();
            let length = head
                .lines()
                .filter_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .next()
                .unwrap_or(0);
            break (head, length, end + 4);
        }
        assert!(read > 0, "no whole request: {text}");
    };
    while bytes.len() < start + length {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        assert!(read > 0, "no whole body");
    }
    let mut lines = head.lines();
    Got {
        line: lines.next().unwrap().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: String::from_utf8(bytes[start..].to_vec()).unwrap(),
    }
}
