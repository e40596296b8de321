//! Emulators of AWS as child processes on loopback ports: MiniStack, which enforces IAM, and moto, which
//! has more services.

mod choice;

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

pub use choice::{Emulators, Unplayable, WRONG, Wrong, choose, has, operations_called, stood_in};

/// Starts an emulator, and ends it and all its children when its standard input closes.
const RUN: &str = concat!(
    include_str!("mend.py"),
    include_str!("stage.py"),
    include_str!("run.py")
);

/// How far the clock of who asks is ahead of the emulators': what an example plants is old to it.
pub(crate) const CLOCK_AHEAD: Duration = Duration::from_hours(200 * 24);

/// What is mended in the emulators, as `mend.py` says it: whose, and what AWS does and it does not.
pub fn mends() -> impl Iterator<Item = (Maker, String)> {
    let functions = include_str!("mend.py").split("\ndef ").skip(1);
    functions.filter_map(|function| {
        let maker = [Maker::MiniStack, Maker::Moto]
            .into_iter()
            .find(|maker| function.starts_with(&format!("{}_", maker.name())))?;
        let said = function.split("\"\"\"").nth(1)?;
        let words: Vec<&str> = said.split_whitespace().collect();
        Some((maker, words.join(" ")))
    })
}

/// How long a start may take; it takes about half a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A free port can be taken by another process before MiniStack binds it.
const ATTEMPTS: u32 = 5;

/// Why there is no emulator.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// `.venv/` is not there.
    #[error("no emulator: `{}` does not exist; run `cargo xtask setup`, or let `STANCH_EMULATOR` name a Python that has `ministack` and `moto`", .0.display())]
    NotInstalled(PathBuf),
    /// It ended before it was ready.
    #[error("the emulator ended while it started; its log `{}` ends with: {tail}", .log.display())]
    Ended {
        /// Where all of its output is.
        log: PathBuf,
        /// The last of it.
        tail: String,
    },
    /// It did not become ready.
    #[error("the emulator was not ready after {} seconds; its log is `{}`", PATIENCE.as_secs(), .0.display())]
    NotReady(PathBuf),
    /// It answered a request of ours with something else than it should.
    #[error("the emulator answered `{path}` with: {answer}")]
    Unexpected {
        /// The path that was asked for.
        path: &'static str,
        /// The first line of the answer.
        answer: String,
    },
    /// A file or a socket failed.
    #[error("emulator: {0}")]
    Io(#[from] io::Error),
}

/// Whose emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    /// MiniStack, with IAM enforced.
    MiniStack,
    /// moto, which allows whoever has credentials everything.
    Moto,
}

impl Maker {
    /// As reports and `operations.tsv` have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MiniStack => "ministack",
            Self::Moto => "moto",
        }
    }

    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::MiniStack => "MiniStack",
            Self::Moto => "moto",
        }
    }

    const fn paths(self) -> Paths {
        match self {
            Self::MiniStack => Paths {
                health: "/_ministack/health",
                reset: "/_ministack/reset",
            },
            Self::Moto => Paths {
                health: "/moto-api/seed?a=1",
                reset: "/moto-api/reset",
            },
        }
    }
}

/// Where an emulator itself is spoken to.
struct Paths {
    health: &'static str,
    reset: &'static str,
}

/// A running emulator. It ends when this is dropped, and when the process that started it ends in
/// whatever way.
///
/// A twelve-digit access key id with any secret acts as that account's root.
#[derive(Debug)]
pub struct Emulator {
    maker: Maker,
    child: Child,
    /// The emulator lives as long as this is open.
    _lifeline: Option<ChildStdin>,
    port: u16,
    /// Its home, its temporary files and its log.
    folder: TempDir,
}

impl Emulator {
    /// Starts MiniStack with IAM enforced and waits until it answers.
    pub fn start() -> Result<Self, EmulatorError> {
        Self::start_with(Maker::MiniStack, &[])
    }

    /// Starts one of them with further settings in its environment.
    pub fn start_with(maker: Maker, settings: &[(&str, &str)]) -> Result<Self, EmulatorError> {
        let python = emulator_python()?;
        let mut attempt = 1;
        loop {
            match Self::spawn(maker, &python, settings) {
                Err(EmulatorError::Ended { .. }) if attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    fn spawn(
        maker: Maker,
        python: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, EmulatorError> {
        let folder = tempfile::Builder::new()
            .prefix("stanch-emulator-")
            .tempdir()?;
        let log = File::create(folder.path().join(LOG))?;
        let port = free_port()?;
        let mut child = Command::new(python)
            .args(["-c", RUN, maker.name()])
            // Nothing of the developer's own AWS settings may reach it, nor the other way round.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            // What its Lambda functions get as theirs; moto would call itself.
            .envs(
                (maker == Maker::MiniStack)
                    .then(|| ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))),
            )
            .env("LAMBDA_EXECUTOR", "local")
            .env("AUTH", "true")
            // AWS's own policies are there in every account.
            .env("MINISTACK_AUTOCREATE_AWS_MANAGED", "1")
            .env("CLOCK_AHEAD", CLOCK_AHEAD.as_secs().to_string())
            .env("REQUEST_LOG", folder.path().join(REQUESTS))
            // These two would listen on fixed ports.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            // Its machine images and the quarter of a second that they take are of no use here.
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .envs(settings.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let mut emulator = Self {
            maker,
            _lifeline: child.stdin.take(),
            child,
            port,
            folder,
        };
        emulator.wait_until_ready()?;
        Ok(emulator)
    }

    fn wait_until_ready(&mut self) -> Result<(), EmulatorError> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                let text = std::fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(3).collect();
                return Err(EmulatorError::Ended {
                    log: self.log(),
                    tail: tail.join(" / "),
                });
            }
            if self.ready().is_ok() {
                return Ok(());
            }
            pause();
        }
        Err(EmulatorError::NotReady(self.log()))
    }

    /// What `AWS_ENDPOINT_URL` has to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The loopback address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its process, which is also its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed; gone when the emulator is dropped.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join(LOG)
    }

    /// Whose it is.
    #[must_use]
    pub const fn maker(&self) -> Maker {
        self.maker
    }

    /// Every request of the AWS APIs so far, in the order in which they arrived; MiniStack's only.
    pub fn requests(&self) -> Result<Vec<Request>, EmulatorError> {
        let text = std::fs::read_to_string(self.folder.path().join(REQUESTS))?;
        let parsed = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        Ok(parsed.map_err(io::Error::from)?)
    }

    /// Forgets every resource of every account.
    pub fn reset(&self) -> Result<(), EmulatorError> {
        self.ask("POST", self.maker.paths().reset, "").map(drop)
    }

    /// An event of a service of AWS itself, whole as EventBridge has it; `bus` in it names the bus, if it
    /// is not the account's default. MiniStack's only, as what follows.
    pub fn happen(&self, event: &Value) -> Result<(), EmulatorError> {
        self.ask("POST", "/_stanch/event", &event.to_string())
            .map(drop)
    }

    /// What befalls requests from now on, in place of what did.
    pub fn befall(&self, accidents: &[Accident]) -> Result<(), EmulatorError> {
        let accidents = serde_json::to_string(accidents).map_err(io::Error::from)?;
        self.ask("POST", "/_stanch/accidents", &accidents).map(drop)
    }

    /// Delivers the hidden messages of a queue, by its ARN, again, as when their time is over.
    pub fn reveal(&self, queue: &str) -> Result<(), EmulatorError> {
        let queue = Value::from(queue).to_string();
        self.ask("POST", "/_stanch/reveal", &queue).map(drop)
    }

    /// What Security Hub was told of findings: by the finding's id, each update's note and workflow.
    pub fn told_of_findings(&self) -> Result<Value, EmulatorError> {
        let answer = self.ask("GET", "/_stanch/findings", "")?;
        Ok(serde_json::from_str(&answer).map_err(io::Error::from)?)
    }

    fn ready(&self) -> Result<(), EmulatorError> {
        self.ask("GET", self.maker.paths().health, "").map(drop)
    }

    /// A request to the emulator itself, which needs no signature; the body of its answer.
    fn ask(&self, method: &str, path: &'static str, body: &str) -> Result<String, EmulatorError> {
        let mut stream = TcpStream::connect_timeout(&self.address(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(EmulatorError::Unexpected {
                path,
                answer: answer.lines().next().unwrap_or_default().to_owned(),
            }),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Closing its standard input makes it end its whole process group, Lambda functions too.
        self._lifeline = None;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause();
        }
        // There is nobody to tell, and nothing else to try.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LOG: &str = "emulator.log";
const REQUESTS: &str = "requests.log";

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Deserialize)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// `X-Amz-Target`, which names the operation in the JSON protocols; else empty.
    pub target: String,
    /// The first 256 bytes of the body, whose `Action` names the operation in the query protocols; more
    /// of them if `REQUEST_BODY` says so.
    pub body: String,
    /// The access key id that signed it; an account's root has the account's id. Empty if nobody did.
    pub key: String,
    /// The region that it was signed for.
    pub region: String,
    /// The service that it was signed for.
    pub service: String,
}

/// What befalls the requests that it fits; never one that an account's root makes.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Accident {
    /// The service that it was signed for; any if there is none.
    pub service: Option<&'static str>,
    /// The region that it was signed for; any if there is none.
    pub region: Option<&'static str>,
    /// What its method, path, query, target and body, in this order, contain.
    pub contains: &'static str,
    /// It begins with the first request after one that contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<&'static str>,
    /// How many requests it befalls.
    pub times: u32,
    /// How long they are held.
    pub seconds: f64,
    /// What they are answered with after that; they go their way if there is nothing.
    #[serde(flatten)]
    pub refusal: Option<Refusal>,
}

impl Accident {
    /// What befalls the next request that contains this.
    #[must_use]
    pub const fn to(contains: &'static str) -> Self {
        Self {
            service: None,
            region: None,
            contains,
            after: None,
            times: 1,
            seconds: 0.0,
            refusal: None,
        }
    }
}

/// An answer in place of the emulator's.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body: XML or JSON.
    pub body: &'static str,
}

/// The Python that has the emulators: `.venv/`'s, or the one that `STANCH_EMULATOR` names.
pub fn emulator_python() -> Result<PathBuf, EmulatorError> {
    let python = std::env::var_os("STANCH_EMULATOR").map_or_else(
        || crate::repository().join(".venv/bin/python"),
        PathBuf::from,
    );
    if python.exists() {
        Ok(python)
    } else {
        Err(EmulatorError::NotInstalled(python))
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for, in real time"
)]
fn pause() {
    thread::sleep(Duration::from_millis(10));
}
