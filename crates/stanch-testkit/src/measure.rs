//! What a process costs: its CPU and memory, and the requests that it sends.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs the rest of its arguments; prints CPU seconds and peak memory in KiB.
const USAGE: &str = "import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)";

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
