//! The Python host of `aws:executeScript`: warm `python3` processes that answer one script at a time.
//!
//! This is an adapter: it starts processes. A host that a script blocks beyond the step's deadline is
//! killed, script and all; the next script gets a new one.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Script, ScriptError, Scripts};

const PROGRAM: &str = include_str!("script_host.py");

/// Runs scripts in Python. Clones share the warm processes, but not the environment.
#[derive(Clone)]
pub struct PythonHost {
    python: OsString,
    process_environment: BTreeMap<OsString, OsString>,
    /// What each script finds in `os.environ`.
    environment: BTreeMap<String, String>,
    idle: Arc<Mutex<Vec<Host>>>,
}

struct Host {
    // Dropping it kills the process.
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Raised { raises: String, output: String },
    Returned { returns: Value },
}

impl PythonHost {
    /// A host that runs `python` (a command or a path). Of the environment of this process it gets
    /// `environment` only: usually `PATH`, `HOME` and what locates Python's packages.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        python: impl AsRef<OsStr>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            python: python.as_ref().to_owned(),
            process_environment: environment
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
            environment: BTreeMap::new(),
            idle: Arc::default(),
        }
    }

    /// The same host with more in the environment of its scripts: credentials, region and endpoint
    /// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …), as boto3 reads them.
    #[must_use]
    pub fn with_environment(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut host = self.clone();
        host.environment.extend(environment);
        host
    }

    fn start(&self) -> Result<Host, ScriptError> {
        let mut process = Command::new(&self.python)
            .args(["-u", "-c", PROGRAM])
            .env_clear()
            .envs(&self.process_environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.unavailable(&error))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(requests), Some(answers)) => Ok(Host {
                _process: process,
                requests,
                answers: BufReader::new(answers).lines(),
            }),
            _ => Err(ScriptError::Unavailable(
                "Python has no standard input or output".to_owned(),
            )),
        }
    }

    fn unavailable(&self, error: &io::Error) -> ScriptError {
        let python = self.python.to_string_lossy();
        ScriptError::Unavailable(match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no `{python}`: scripts need Python 3.6 or later on the `PATH`")
            }
            _ => format!("`{python}` does not start: {error}"),
        })
    }
}

impl Host {
    async fn ask(&mut self, request: &str) -> io::Result<Option<String>> {
        self.requests.write_all(request.as_bytes()).await?;
        self.requests.write_all(b"\n").await?;
        self.requests.flush().await?;
        self.answers.next_line().await
    }
}

#[async_trait]
impl Scripts for PythonHost {
    async fn run(&self, script: &Script, payload: &Value) -> Result<Value, ScriptError> {
        let request = json!({
            "source": script.source,
            "handler": script.handler,
            "payload": payload,
            "context": script.context,
            "environment": self.environment,
        })
        .to_string();
        let warm = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut host = match warm {
            Some(host) => host,
            None => self.start()?,
        };
        // While it runs, the host belongs to this future: dropped at the deadline, both end.
        let answer = match host.ask(&request).await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(ScriptError::Ended("it closed its output".to_owned())),
            Err(error) => return Err(ScriptError::Ended(error.to_string())),
        };
        let answer =
            serde_json::from_str(&answer).map_err(|error| ScriptError::Ended(error.to_string()))?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(host);
        match answer {
            Answer::Returned { returns } => Ok(returns),
            Answer::Raised { raises, output } => Err(ScriptError::Raised {
                message: raises,
                output,
            }),
        }
    }
}
