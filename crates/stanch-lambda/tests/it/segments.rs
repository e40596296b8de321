//! What X-Ray is told, by what its daemon's port hears.

use std::{
    net::UdpSocket,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use stanch_aws::{Client, Environment, Random, Setup, SystemClock};
use stanch_lambda::{Segments, Variables};
use stanch_ledger::Status;
use stanch_testkit::{FakeClock, models};
use stanch_types::{Api as _, Call, Clock, TRACE};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tracing::{subscriber::DefaultGuard, trace_span};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::world::{TRACED, World};

/// Counts: the ids of segments are 1, 2, ….
#[derive(Default)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn bits(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// X-Ray's daemon, and a subscriber that sends to it.
struct Daemon {
    socket: UdpSocket,
    clock: Arc<FakeClock>,
    segments: Segments,
}

fn segments(address: &str, clock: &Arc<FakeClock>, more: &[(&str, &str)]) -> Option<Segments> {
    let all = [("AWS_XRAY_DAEMON_ADDRESS", address)];
    let all = all.iter().chain(more);
    let environment = Environment::new(all.map(|(name, value)| (*name, (*value).to_owned())));
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Segments::from_variables(Variables(&environment), clock, Arc::<Counter>::default())
}

fn listen(segments: &Segments) -> DefaultGuard {
    let subscriber = tracing_subscriber::registry().with(segments.clone().layer());
    tracing::subscriber::set_default(subscriber)
}

impl Daemon {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let clock = Arc::new(FakeClock::default());
        Self {
            segments: segments(&address, &clock, &[]).unwrap(),
            socket,
            clock,
        }
    }

    /// All that was sent since the last time.
    fn heard(&self) -> Vec<Value> {
        let mut packet = vec![0; 64 << 10];
        let mut heard = Vec::new();
        while let Ok(length) = self.socket.recv(&mut packet) {
            let text = std::str::from_utf8(&packet[..length]).unwrap();
            let (header, document) = text.split_once('\n').unwrap();
            let header: Value = serde_json::from_str(header).unwrap();
            assert_eq!(header, json!({"format": "json", "version": 1}));
            heard.push(serde_json::from_str(document).unwrap());
        }
        heard
    }
}

fn remediation(control: &str) -> tracing::Span {
    trace_span!(target: TRACE, "remediation", remediation_id = "r-1", control, status = tracing::field::Empty)
}

#[tokio::test(start_paused = true)]
async fn a_span_is_a_subsegment_of_the_invocation() {
    let daemon = Daemon::start();
    let _guard = listen(&daemon.segments);
    daemon.segments.begin(Some(TRACED));
    let whole = remediation("S3.8");
    whole.in_scope(|| {
        let stage = trace_span!(target: TRACE, "stage", name = "plan");
        daemon.clock.jump(jiff::SignedDuration::from_millis(250));
        drop(stage);
    });
    whole.record("status", "Success");
    drop(whole);
    let about = json!({"remediation_id": "r-1", "control": "S3.8"});
    let mut ended = about.clone();
    ended["status"] = json!("Success");
    let document = |id: &str, parent: &str, name: &str, about: &Value| {
        json!({
            "type": "subsegment",
            "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
            "id": id, "parent_id": parent, "name": name, "annotations": about,
            "start_time": 1_767_225_600.0, "end_time": 1_767_225_600.25,
        })
    };
    assert_eq!(
        daemon.heard(),
        [
            document("0000000000000002", "0000000000000001", "plan", &about),
            document(
                "0000000000000001",
                "53995c3f42cd8ad8",
                "remediation",
                &ended
            ),
        ]
    );
}

/// A trace that is not kept, none at all, half a header, or a switch: nothing is sent.
#[tokio::test(start_paused = true)]
async fn what_is_not_traced_is_not_sent() {
    let daemon = Daemon::start();
    let _guard = listen(&daemon.segments);
    for header in [
        None,
        Some(""),
        Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"),
        Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8"),
        Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"),
    ] {
        daemon.segments.begin(Some(TRACED));
        daemon.segments.begin(header);
        drop(remediation("S3.8"));
        assert_eq!(daemon.heard(), [Value::Null; 0], "{header:?}");
    }
    // Spans that are nobody's, and lines of the log.
    daemon.segments.begin(Some(TRACED));
    drop(tracing::info_span!("remediation"));
    tracing::error!(target: TRACE, "a line");
    assert_eq!(daemon.heard(), [Value::Null; 0]);
    let clock = Arc::new(FakeClock::default());
    let made = |address, more: &[_]| segments(address, &clock, more).is_some();
    assert!(made("127.0.0.1:2000", &[("TRACE_SEGMENTS", "on")]));
    assert!(!made("127.0.0.1:2000", &[("TRACE_SEGMENTS", "off")]));
    assert!(made("tcp:127.0.0.1:2000 udp:127.0.0.1:2001", &[]));
    for none in ["", "nowhere", "tcp:127.0.0.1:2000"] {
        assert!(!made(none, &[]), "{none}");
    }
}

/// The lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(lines: &Lines) -> String {
    String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap()
}

/// A daemon that is gone: nothing fails, and one line says how much was lost.
#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_in_one_line() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let segments = segments(&address, &Arc::default(), &[]).unwrap();
    let lines = Lines::default();
    let to = lines.clone();
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || to.clone());
    let subscriber = tracing_subscriber::registry()
        .with(log)
        .with(segments.clone().layer());
    let _guard = tracing::subscriber::set_default(subscriber);
    segments.begin(Some(TRACED));
    for _ in 0..10 {
        drop(remediation("S3.8"));
    }
    assert_eq!(logged(&lines), "");
    segments.begin(Some(TRACED));
    let said = logged(&lines);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("the X-Ray daemon did not take all segments lost="),
        "{said}"
    );
    segments.begin(Some(TRACED));
    assert_eq!(logged(&lines), "");
}

/// Longer than X-Ray takes it: cut.
#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_cut() {
    let daemon = Daemon::start();
    let _guard = listen(&daemon.segments);
    daemon.segments.begin(Some(TRACED));
    drop(remediation(&"ä".repeat(3_000)));
    drop(trace_span!(target: TRACE, "stage", name = &*"n".repeat(300)));
    let heard = daemon.heard();
    let control = heard[0]["annotations"]["control"].as_str().unwrap();
    assert_eq!(control.chars().count(), 1_000);
    assert_eq!(heard[1]["name"].as_str().unwrap().len(), 200);
    assert_eq!(heard[1].get("annotations"), None);
}

/// Answers one request after the other, and gives what was asked.
async fn serve(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 64 << 10];
        let mut length = 0;
        let text = loop {
            length += stream.read(&mut request[length..]).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            let head = head.to_lowercase();
            let wanted = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if text.contains("\r\n\r\n") && body.len() >= wanted.map_or(0, |n| n.parse().unwrap()) {
                break text;
            }
        };
        asked.push(text);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    asked
}

/// A request of AWS: what it was, how it went and how often it was sent; and nothing that was in it. Whoever
/// answers it is below it.
#[tokio::test]
async fn a_request_says_how_it_went_and_nothing_of_what_was_asked() {
    let daemon = Daemon::start();
    let _guard = listen(&daemon.segments);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} Said\r\nx-amzn-requestid: q-{status}\r\nContent-Type: application/x-amz-json-1.0\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let throttled = r#"{"__type": "ThrottlingException", "message": "slowly"}"#;
    let denied = r#"{"__type": "AccessDeniedException", "message": "no"}"#;
    let answers = vec![
        answer(400, throttled),
        answer(200, r#"{"Item": {"Key": {"S": "secret-answer"}}}"#),
        answer(400, throttled),
        answer(400, throttled),
        answer(403, denied),
        answer(500, "{}"),
        answer(500, "{}"),
    ];
    let served = tokio::spawn(serve(listener, answers));
    let environment = Environment::new([
        ("AWS_ENDPOINT_URL", &*endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
    ]);
    let clock = Arc::new(SystemClock::default());
    let random = Arc::new(Counter(AtomicU64::new(0xa0)));
    let mut setup = Setup::new(environment, models(), clock, random);
    setup.attempts = 2;
    let client = Client::new(setup, "eu-central-1".parse().unwrap());
    client.set_trace(Some(TRACED));
    daemon.segments.begin(Some(TRACED));
    let params = json!({"TableName": "secret-table", "Key": {"Key": {"S": "secret-value"}}});
    let call = Call::new("dynamodb", "GetItem", params);
    for expected in [true, false, false, false] {
        assert_eq!(client.call(&call).await.is_ok(), expected);
    }
    let heard = daemon.heard();
    let asked = served.await.unwrap();
    assert!(!format!("{heard:?}").contains("secret"), "{heard:?}");
    assert_eq!(heard.len(), 4);
    for (one, expected) in heard.iter().zip([
        json!({"retries": 1, "status": 200, "request_id": "q-200"}),
        json!({"retries": 1, "status": 400, "request_id": "q-400", "throttle": true, "error": true}),
        json!({"status": 403, "request_id": "q-403", "error": true}),
        json!({"retries": 1, "status": 500, "request_id": "q-500", "fault": true}),
    ]) {
        let flag = |name: &str| one.get(name).cloned();
        let found = [
            ("retries", one["aws"].get("retries").cloned()),
            ("status", one.pointer("/http/response/status").cloned()),
            ("request_id", one["aws"].get("request_id").cloned()),
            ("throttle", flag("throttle")),
            ("error", flag("error")),
            ("fault", flag("fault")),
        ];
        let found: serde_json::Map<String, Value> = found
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        assert_eq!(Value::Object(found), expected, "{one}");
        assert_eq!(one["namespace"], "aws");
        assert_eq!(one["name"], "dynamodb");
        assert_eq!(one["aws"]["operation"], "GetItem");
        assert_eq!(one["aws"]["region"], "eu-central-1");
        assert_eq!(one["parent_id"], "53995c3f42cd8ad8");
    }
    let header = |request: &String| {
        let lines = request.lines();
        let mut found = lines.filter_map(|line| line.strip_prefix("x-amzn-trace-id: "));
        found.next().unwrap().to_owned()
    };
    let id = heard[0]["id"].as_str().unwrap();
    assert_eq!(
        header(&asked[0]),
        TRACED.replace("53995c3f42cd8ad8", id),
        "the answer is below the request"
    );
}

/// A finding that is fixed: its stages, in the order in which they end, each found by what it is about.
#[tokio::test(start_paused = true)]
async fn a_fix_is_traced_by_its_stages() {
    let daemon = Daemon::start();
    let _guard = listen(&daemon.segments);
    daemon.segments.begin(Some(TRACED));
    let world = World::new();
    let message = world.planted("logs").await;
    world.deliver(&[message]).await.unwrap();
    let (id, state) = world.all().await.remove(0);
    assert_eq!(state.status, Status::Success);
    let heard = daemon.heard();
    let named = |one: &Value| one["name"].as_str().unwrap().to_owned();
    let names: Vec<String> = heard.iter().map(named).collect();
    let last = heard.last().unwrap();
    assert_eq!(named(last), "remediation");
    assert_eq!(last["annotations"]["status"], "Success");
    for stage in ["plan", "decide", "run", "verify", "tell"] {
        assert!(names.contains(&stage.to_owned()), "{names:?}");
    }
    for one in &heard {
        let about = &one["annotations"];
        assert_eq!(about["remediation_id"], json!(id));
        assert_eq!(about["account"], "222222222222");
        assert_eq!(about["region"], "eu-central-1");
        assert_eq!(about["control"], json!(state.received.control));
        assert!(one == last || one["parent_id"] == last["id"], "{one}");
    }
}
