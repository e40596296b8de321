//! What a process costs: its CPU and memory, and the requests that it sends.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs the rest of its arguments; prints CPU seconds and peak memory in KiB. Asked of this one child:
/// what a `python3` that is a script has run before it became Python would count as children as well.
const USAGE: &str = "import os, sys
silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[silent])
_, status, used = os.wait4(child, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))";

/// What a process has used, with all its children.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// User and system time, in milliseconds.
    pub cpu_ms: f64,
    /// The most memory that was resident, in MiB.
    pub peak_memory_mib: f64,
    /// From start to end.
    pub wall: Duration,
}

impl Used {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// It cannot be run, or it failed.
    pub fn by(command: &mut Command) -> io::Result<Self> {
        let begin = Instant::now();
        let mut measured = Command::new("python3");
        measured
            .args(["-c", USAGE])
            .arg(command.get_program())
            .args(command.get_args())
            .stderr(Stdio::inherit());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => measured.env(name, value),
                None => measured.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            measured.current_dir(folder);
        }
        let output = measured.output()?;
        let wall = begin.elapsed();
        let name = command.get_program().to_string_lossy();
        if !output.status.success() {
            let error = format!("`{name}` failed ({})", output.status);
            return Err(io::Error::other(error));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace().map(str::parse::<f64>);
        match (words.next(), words.next()) {
            (Some(Ok(seconds)), Some(Ok(kib))) => Ok(Self {
                cpu_ms: seconds * 1000.0,
                peak_memory_mib: kib / 1024.0,
                wall,
            }),
            _ => Err(io::Error::other(format!("no usage of `{name}`: {text}"))),
        }
    }
}

/// What a function's program costs until it asks for its first event.
#[derive(Debug, Clone, Copy)]
pub struct FirstPoll {
    /// From its start to its first request to the runtime API.
    pub after: Duration,
    /// What is resident then, in MiB.
    pub memory_mib: f64,
}

impl FirstPoll {
    /// Starts `program` as Lambda does, with this handler, and ends it when it asks for an event.
    ///
    /// # Errors
    /// It cannot be started, or does not ask within ten seconds.
    pub fn of(program: &Path, handler: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let begin = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_REGION", "us-east-1")
            .env("_HANDLER", handler)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let polled = first_request(&listener, begin + Duration::from_secs(10));
        let after = begin.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        child.kill()?;
        child.wait()?;
        polled?;
        let memory = status?;
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Ok(Self {
            after,
            memory_mib: kib.unwrap_or(f64::NAN) / 1024.0,
        })
    }
}

/// Waits for the request line of the first request.
fn first_request(listener: &TcpListener, until: Instant) -> io::Result<()> {
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    match &head {
        b"GET " => Ok(()),
        _ => Err(io::Error::other("the first request is no poll")),
    }
}

/// Passes connections on to the emulator and counts the requests.
pub struct Relay {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Relay {
    /// Relays to `to`.
    pub fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else {
                    continue;
                };
                let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let counter = Arc::clone(&counter);
                thread::spawn(move || pass(client, server, Some(&counter)));
                thread::spawn(move || pass(server2, client2, None));
            }
        });
        Ok(Self { address, requests })
    }

    /// What `AWS_ENDPOINT_URL` has to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Copies one direction; counts the heads of requests, which the client writes in one piece.
fn pass(mut from: TcpStream, mut to: TcpStream, counter: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = buffer.get(..length).unwrap_or_default();
        if let Some(counter) = counter {
            let heads = piece
                .windows(11)
                .filter(|window| window == b" HTTP/1.1\r\n")
                .count();
            counter.fetch_add(heads as u64, Ordering::SeqCst);
        }
        if to.write_all(piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// As version managers of Python have it: a script that runs this and that, and becomes Python.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the path on which Python is, as the measurement has it"
    )]
    fn what_ran_before_python_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("python3");
        let busy = "#!/bin/sh
sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'
PATH=${PATH#*:} exec python3 \"$@\"
";
        fs::write(&script, busy).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", folder.path().display());
        let used = Used::by(Command::new("true").env("PATH", path)).unwrap();
        assert!(used.wall > Duration::from_millis(50), "{used:?}");
        assert!(used.cpu_ms < 25.0, "{used:?}");
        assert!(Used::by(&mut Command::new("false")).is_err());
    }
}
