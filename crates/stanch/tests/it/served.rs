//! The service: events over HTTP and from a folder, and a stop that loses none.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use stanch_aws::SystemClock;
use stanch_types::Clock as _;

use crate::{
    command::Workplace,
    emulated::{BUCKET, World},
};

/// A running service and the lines of its log.
pub struct Service {
    child: Child,
    address: SocketAddr,
    log: mpsc::Receiver<Value>,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Service {
    /// On an address of this machine, unless the arguments name another.
    pub fn start(here: &Workplace, arguments: &[&str]) -> Self {
        let mut service = Self::spawn(here, arguments);
        service.listens();
        service
    }

    /// The same, which may not listen yet.
    fn spawn(here: &Workplace, arguments: &[&str]) -> Self {
        let mut command = here.command(&["serve", "--log", "json"]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(json!({ "not JSON": line }));
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            log,
        }
    }

    /// Waits until it listens.
    fn listens(&mut self) {
        let line = self.wait_for("taking events over HTTP");
        self.address = line["address"].as_str().unwrap().parse().unwrap();
    }

    /// Where it listens; an address that stands for all is reached here, too.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next line of the log with this message.
    pub fn wait_for(&self, message: &str) -> Value {
        loop {
            let line = self
                .log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("no `{message}` in the log"));
            if line["message"] == message {
                return line;
            }
        }
    }

    pub fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// SIGTERM, and the end. What its log says that nobody has waited for.
    pub fn stop(mut self) -> Vec<Value> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.child.wait().unwrap().success());
        self.log.iter().collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_are_taken_over_http_and_from_a_folder() {
    let world = World::new();
    let service = Service::start(
        &world.here,
        &[
            "--inbox",
            "inbox",
            "--set",
            "automatic.guarded=S3BlockPublicAccess",
            "--set",
            "serve.inbox_every=20ms",
        ],
    );
    let (status, health) = service.ask("GET /health HTTP/1.1", b"");
    assert_eq!((status, health.as_str()), (200, "{\"status\":\"ok\"}"));

    // Over HTTP, twice: one remediation.
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    let (status, taken) = service.ask("POST /events HTTP/1.1", event.as_bytes());
    assert_eq!(status, 202, "{taken}");
    let taken: Value = serde_json::from_str(&taken).unwrap();
    let told = service.wait_for("remediation");
    assert_eq!(told["status"], "Success");
    assert_eq!(told["id"], taken["admitted"][0]);
    assert_eq!(world.blocks(), Some(true));
    let (_, again) = service.ask("POST /events HTTP/1.1", event.as_bytes());
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["admitted"], &again["duplicates"]),
        (&json!([]), &taken["admitted"])
    );

    // From the folder: one that is understood and one that is not.
    world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
    world.here.put(
        "inbox/second.json",
        world.event("2026-02-01T12:00:00Z").to_string(),
    );
    assert_eq!(service.wait_for("remediation")["status"], "Success");
    assert_eq!(world.blocks(), Some(true));
    world.here.put("inbox/third.json", "{");
    assert_eq!(service.wait_for("a dead letter")["file"], "third.json");
    let (status, metrics) = service.ask("GET /metrics HTTP/1.1", b"");
    assert_eq!(status, 200);
    assert!(
        metrics.contains("stanch_remediations{status=\"Success\"} 2\n"),
        "{metrics}"
    );
    service.stop();
    for (folder, file) in [("done", "second.json"), ("failed", "third.json")] {
        assert!(
            world
                .here
                .path()
                .join("inbox")
                .join(folder)
                .join(file)
                .exists(),
            "{folder}/{file}"
        );
    }
    world
        .here
        .run(&["deadletter", "list"])
        .exits(0)
        .says("folder third.json");
}

#[test]
fn what_the_ledger_cannot_keep_is_not_acknowledged() {
    let here = Workplace::new();
    let service = Service::start(&here, &[]);
    // Another process holds the file for longer than the ledger waits.
    let other = rusqlite::Connection::open(here.path().join("stanch.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, answer) = service.ask("POST /events HTTP/1.1", b"[{\"not\": \"a finding\"}]");
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("is busy"), "{answer}");
    other.execute_batch("ROLLBACK").unwrap();
    let (status, answer) = service.ask("POST /events HTTP/1.1", b"[{\"not\": \"a finding\"}]");
    assert_eq!(status, 202, "{answer}");
    service.stop();
}

#[test]
fn strangers_are_kept_out() {
    let here = Workplace::new();
    // Without a secret only this machine may ask, and no web page on it.
    here.run(&["serve", "--listen", "0.0.0.0:0"])
        .exits(2)
        .says("there is no secret");
    let service = Service::start(&here, &[]);
    let (status, _) = service.ask(
        "POST /events HTTP/1.1\r\nOrigin: https://example.com",
        b"[]",
    );
    assert_eq!(status, 403);
    service.stop();

    here.put("secret", "0123456789abcdef0123456789abcdef\n");
    here.put("short", "hunter2");
    here.run(&["serve", "--secret-file", "short"])
        .exits(2)
        .says("less than 16 characters");
    here.run(&["serve", "--secret-file", "missing"])
        .exits(2)
        .says("cannot read `missing`");
    let service = Service::start(&here, &["--secret-file", "secret"]);
    let post = |header: &str| {
        service
            .ask(&format!("POST /events HTTP/1.1{header}"), b"[]")
            .0
    };
    assert_eq!(post(""), 401);
    assert_eq!(
        post("\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdeg"),
        401
    );
    assert_eq!(post("\r\nAuthorization: Bearer "), 401);
    assert_eq!(
        post("\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef"),
        202
    );
    assert_eq!(service.ask("GET /metrics HTTP/1.1", b"").0, 401);
    assert_eq!(service.ask("GET /health HTTP/1.1", b"").0, 200);
    service.stop();
}

#[test]
fn events_that_are_too_large_or_no_events() {
    let here = Workplace::new();
    let service = Service::start(&here, &[]);
    let (status, _) = service.ask("POST /events HTTP/1.1", &vec![b' '; (10 << 20) + 1]);
    assert_eq!(status, 413);
    let (status, taken) = service.ask("POST /events HTTP/1.1", b"{");
    assert_eq!(status, 202);
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert!(
        taken["buried"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("cut off"),
        "{taken}"
    );
    service.stop();
    here.run(&["deadletter", "list"]).exits(0).says("http");
}

/// Serves until what lies in `inbox/` stands in this status; its id.
pub fn take(here: &Workplace, status: &str) -> String {
    let service = Service::start(
        here,
        &["--inbox", "inbox", "--set", "serve.inbox_every=20ms"],
    );
    let told = service.wait_for("remediation");
    assert_eq!(told["status"], status);
    service.stop();
    told["id"].as_str().unwrap().to_owned()
}

/// Serves until what lies in `inbox/` waits for an approval; its id.
pub fn wait(here: &Workplace) -> String {
    let service = Service::start(
        here,
        &["--inbox", "inbox", "--set", "serve.inbox_every=20ms"],
    );
    let asked = service.wait_for("an approval is asked for");
    service.stop();
    asked["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_queue_is_emptied_once_the_ledger_has_it() {
    let world = World::new();
    let queue = |operation: &str, params: Value| world.queue(operation, params);
    let url = queue("CreateQueue", json!({"QueueName": "findings"}))["QueueUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    queue(
        "SendMessage",
        json!({"QueueUrl": url, "MessageBody": event}),
    );
    queue(
        "SendMessage",
        json!({"QueueUrl": url, "MessageBody": "no event"}),
    );
    let service = Service::start(
        &world.here,
        &[
            "--sqs-queue-url",
            &url,
            "--set",
            "automatic.guarded=S3BlockPublicAccess",
        ],
    );
    assert_eq!(service.wait_for("remediation")["status"], "Success");
    let count = || {
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
        ];
        let asked = queue(
            "GetQueueAttributes",
            json!({"QueueUrl": url, "AttributeNames": names}),
        );
        names.map(|name| asked["Attributes"][name].as_str().unwrap().to_owned())
    };
    let begun = std::time::Instant::now();
    while count() != ["0", "0"] {
        assert!(
            begun.elapsed() < PATIENCE,
            "{:?} messages are left",
            count()
        );
    }
    service.stop();
    assert_eq!(world.blocks(), Some(true));
    world.here.run(&["deadletter", "list"]).exits(0).says("sqs");
}

/// What the guard decides by may change while the service runs; people can stop changes even while it
/// cannot be used.
#[test]
fn the_guards_files_are_read_again() {
    let here = Workplace::new();
    let config = "[guard]\npolicies = \"policies.cedar\"\nreread_every = \"50ms\"\n";
    let all = "permit (principal, action, resource);\n";
    here.put("stanch.toml", config);
    here.put("policies.cedar", all);
    let service = Service::start(&here, &[]);
    here.put("policies.cedar", format!("@id(\"all\")\n{all}"));
    let first = service.wait_for("the guard decides by other rules");
    here.put("policies.cedar", "permit (");
    let broken = service.wait_for(UNREADABLE);
    let error = broken["error"].as_str().unwrap();
    assert!(error.contains("policies.cedar"), "{error}");
    here.run(&["policy", "check"]).exits(2);
    here.run(&["pause", "--as", "alice"])
        .exits(0)
        .says("changes are paused for everything");
    here.run(&["resume", "--as", "alice"]).exits(0);
    here.put("policies.cedar", all);
    let second = service.wait_for("the rules can be read again");
    assert_ne!(first["guard"], second["guard"]);
    service.stop();
}

const UNREADABLE: &str = "nothing is begun: the rules cannot be read";

/// Posts the bucket's finding as it was seen at this time; the remediation's id.
fn post(service: &Service, world: &World, seen: &str) -> String {
    let event = world.event(seen).to_string();
    let (status, taken) = service.ask("POST /events HTTP/1.1", event.as_bytes());
    assert_eq!(status, 202, "{taken}");
    let taken: Value = serde_json::from_str(&taken).unwrap();
    taken["admitted"][0].as_str().unwrap().to_owned()
}

/// Asks for a remediation until it stands in this status.
fn stands(world: &World, id: &str, status: &str) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let shown = world.here.run(&["ledger", "show", id, "--json"]).json();
        if shown["Record"]["Status"] == status {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown:#}");
    }
}

/// Nothing is begun by rules of before, and what comes meanwhile is not refused either.
#[test]
fn while_the_rules_cannot_be_read_nothing_is_changed() {
    let world = World::new();
    world.here.put("exemptions.toml", "");
    let settings = [
        "--set",
        "automatic.guarded=S3BlockPublicAccess",
        "--set",
        "guard.exemptions=exemptions.toml",
        "--set",
        "guard.reread_every=50ms",
    ];
    let service = Service::start(&world.here, &settings);
    world.here.put("exemptions.toml", "[[exempt");
    service.wait_for(UNREADABLE);
    let id = post(&service, &world, "2026-01-31T12:00:00Z");
    let shown = stands(&world, &id, "Deferred").to_string();
    assert!(shown.contains("the rules cannot be read: "), "{shown}");
    assert_eq!(world.blocks(), None);
    world.here.put("exemptions.toml", "# none\n");
    service.wait_for("the rules can be read again");
    let id = post(&service, &world, "2026-02-01T12:00:00Z");
    stands(&world, &id, "Success");
    assert_eq!(world.blocks(), Some(true));
    service.stop();
}

/// A time that a feed gives an indicator passes while the service runs, and the feed stays the same.
#[test]
fn an_indicator_is_known_until_its_time_is_over() {
    let world = World::new();
    let until = SystemClock::default().now() + Duration::from_secs(10);
    let feed = json!({"type": "bundle", "objects": [
        {"type": "indicator", "pattern": "[ipv4-addr:value = '203.0.113.9']", "valid_until": until},
        {"type": "ipv4-addr", "value": "203.0.113.10"},
    ]});
    world.here.put("feed.json", feed.to_string());
    let feeds = ["--set", "guard.threat_feeds=feed.json"];
    let settings = [
        "--set",
        "automatic.guarded=S3BlockPublicAccess",
        "--set",
        "guard.reread_every=50ms",
        "--set",
        "budget.attempts=60",
    ];
    let service = Service::start(&world.here, &[&feeds[..], &settings].concat());
    let decide = |seen: &str| {
        let mut event = world.event(seen);
        let finding = event.pointer_mut("/detail/findings/0").unwrap();
        finding["Network"] = json!({"SourceIpV4": "203.0.113.9"});
        service.ask("POST /events HTTP/1.1", event.to_string().as_bytes());
        let told = service.wait_for("remediation");
        assert_eq!(told["status"], "Success", "{told}");
        let id = told["id"].as_str().unwrap();
        let shown = world.here.run(&["ledger", "show", id, "--json"]).exits(0);
        shown.stdout.contains("knows `203.0.113.9`")
    };
    assert!(decide("2026-01-31T12:00:00Z"), "it is known until {until}");
    let check = [&["policy", "check"][..], &feeds].concat();
    let indicators = || world.here.run(&check).exits(0).stdout;
    let begun = std::time::Instant::now();
    while !indicators().contains(": 1 indicators") {
        assert!(begun.elapsed() < PATIENCE, "it stays known");
    }
    // The service reads it in its own time.
    for second in 0.. {
        world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
        if !decide(&format!("2026-02-01T12:00:{second:02}Z")) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "its time is over");
    }
    service.stop();
}

/// What is exempt no longer is told when the service starts, not only to whoever asks.
#[test]
fn exemptions_that_have_expired_are_told() {
    let here = Workplace::new();
    let exemption = |expires: &str| {
        format!(
            "[[exemption]]\nowner = \"payments\"\nreason = \"a website\"\nexpires = \"{expires}\"\ncontrols = [\"S3.8\"]\n"
        )
    };
    here.put("exemptions.toml", exemption("2020-01-31"));
    let settings = [
        "--set",
        "guard.exemptions=exemptions.toml",
        "--set",
        "guard.reread_every=50ms",
    ];
    let mut service = Service::spawn(&here, &settings);
    let told = service.wait_for(EXPIRED);
    assert_eq!(
        told["exemption"],
        "payments says: a website (until 2020-01-31)"
    );
    service.listens();
    here.put("exemptions.toml", exemption("2021-01-31"));
    let told = service.wait_for(EXPIRED);
    assert_eq!(
        told["exemption"],
        "payments says: a website (until 2021-01-31)"
    );
    service.stop();
}

const EXPIRED: &str = "an exemption has expired; what it covered waits for approvals";

/// A feed that never answered is missing, as a file would be; an address is read by nothing but HTTPS.
#[test]
fn a_feed_that_cannot_be_fetched_stops_everything() {
    let here = Workplace::new();
    here.put(
        "stanch.toml",
        "guard.threat_feeds = [\"https://127.0.0.1:9/drop.txt\"]",
    );
    here.run(&["policy", "check"])
        .exits(2)
        .says("cannot read `https://127.0.0.1:9/drop.txt`: no answer: ");
    here.put(
        "stanch.toml",
        "guard.threat_feeds = [\"http://127.0.0.1:9/drop.txt\"]",
    );
    here.run(&["policy", "check"]).exits(2).says("No such file");
}
