//! Spans as subsegments of X-Ray, sent to the daemon that Lambda runs beside the function:
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>,
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>.
//!
//! Nobody waits for it: what the socket does not take at once is lost, and counted.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stanch_aws::Random;
use stanch_types::{Clock, TRACE};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use crate::Variables;

/// What the daemon wants before each document.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The most bytes of a document.
const DOCUMENT: usize = 64 * 1_000;

/// The most characters of a name, and of an annotation's value.
const NAME: usize = 200;
const VALUE: usize = 1_000;

/// The span of a call of AWS.
const REQUEST: &str = "request";

/// Sends spans of the target [`TRACE`] as subsegments, as long as an invocation is traced.
#[derive(Clone)]
pub struct Segments(Arc<Sender>);

struct Sender {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    daemon: UdpSocket,
    trace: Mutex<Option<Trace>>,
    lost: AtomicUsize,
}

/// Where the subsegments of an invocation belong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    id: String,
    parent: String,
}

/// A span that has begun.
struct Open {
    trace: Trace,
    id: String,
    begun: Timestamp,
    fields: Fields,
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), json!(value));
    }
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

impl Trace {
    /// Of the header that Lambda gives with an invocation, if the trace is kept:
    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
    fn of(header: &str) -> Option<Self> {
        let part = |name: &str| {
            let parts = header.split(';').map(str::trim);
            let mut named = parts.filter_map(|part| part.strip_prefix(name));
            named.next().and_then(|rest| rest.strip_prefix('='))
        };
        (part("Sampled")? == "1").then_some(())?;
        Some(Self {
            id: part("Root")?.to_owned(),
            parent: part("Parent")?.to_owned(),
        })
    }
}

/// The daemon's address, as `AWS_XRAY_DAEMON_ADDRESS` has it: `address:port`, or one for each protocol,
/// `tcp:address:port udp:address:port`.
fn daemon(text: &str) -> Option<SocketAddr> {
    let parts = text.split_whitespace();
    let udp = parts.filter(|part| !part.starts_with("tcp:"));
    let mut addresses = udp.map(|part| part.strip_prefix("udp:").unwrap_or(part));
    addresses.next()?.parse().ok()
}

impl Segments {
    /// To the daemon that the variables name; none if they name none, or `TRACE_SEGMENTS` is `off`.
    #[must_use]
    pub fn from_variables(
        variables: Variables<'_>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Option<Self> {
        if variables.optional("TRACE_SEGMENTS") == Some("off") {
            return None;
        }
        let address = daemon(variables.optional("AWS_XRAY_DAEMON_ADDRESS")?)?;
        let daemon = connect(address).ok()?;
        Some(Self(Arc::new(Sender {
            clock,
            random,
            daemon,
            trace: Mutex::default(),
            lost: AtomicUsize::new(0),
        })))
    }

    /// An invocation begins, with this trace header. What was lost of those before is said now.
    pub fn begin(&self, header: Option<&str>) {
        let trace = header.and_then(Trace::of);
        *self.0.trace.lock().unwrap_or_else(PoisonError::into_inner) = trace;
        let lost = self.0.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "the X-Ray daemon did not take all segments");
        }
    }

    /// The layer of a subscriber.
    pub fn layer<S: Subscriber + for<'s> LookupSpan<'s>>(self) -> impl Layer<S> {
        let targets = Targets::new().with_target(TRACE, LevelFilter::TRACE);
        self.with_filter(targets)
    }
}

fn connect(daemon: SocketAddr) -> io::Result<UdpSocket> {
    let own: SocketAddr = match daemon {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    socket.set_nonblocking(true)?;
    socket.connect(daemon)?;
    Ok(socket)
}

impl Sender {
    fn id(&self) -> String {
        format!("{:016x}", self.random.bits() as u64)
    }

    fn send(&self, document: &Value) {
        let text = document.to_string();
        let sent = text.len() <= DOCUMENT
            && self
                .daemon
                .send(format!("{HEADER}{text}").as_bytes())
                .is_ok();
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Segments {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // A span of an invocation before this one stays with it.
        let above = span.scope().skip(1).find_map(|above| {
            let above = above.extensions();
            let open = above.get::<Open>()?;
            Some(Trace {
                id: open.trace.id.clone(),
                parent: open.id.clone(),
            })
        });
        let now = || {
            let trace = self.0.trace.lock();
            trace.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let Some(trace) = above.or_else(now) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Open {
            trace,
            id: self.0.id(),
            begun: self.0.clock.now(),
            fields,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(open) = extensions.get_mut::<Open>() {
            values.record(&mut open.fields);
            // Whoever sends it with a request names it.
            if let Some(Value::String(id)) = open.fields.take("segment") {
                open.id = id;
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let annotations = annotations(&span, &open);
        let ended = self.0.clock.now();
        self.0
            .send(&document(span.name(), open, annotations, ended));
    }
}

/// What a span and those that it stands in are about: traces are found by it.
fn annotations<'s, S: LookupSpan<'s>>(span: &SpanRef<'s, S>, open: &Open) -> Map<String, Value> {
    let mut annotations = Map::new();
    let mut add = |name: &str, fields: &Fields| {
        let about = fields.0.iter().filter(|(field, _)| **field != "name");
        // A request is about what it stands in.
        for (field, value) in about.filter(|_| name != REQUEST) {
            let value = match value {
                Value::String(text) => json!(text.chars().take(VALUE).collect::<String>()),
                other => other.clone(),
            };
            annotations.entry(*field).or_insert(value);
        }
    };
    add(span.name(), &open.fields);
    for above in span.scope().skip(1) {
        if let Some(open) = above.extensions().get::<Open>() {
            add(above.name(), &open.fields);
        }
    }
    annotations
}

fn document(kind: &str, open: Open, annotations: Map<String, Value>, ended: Timestamp) -> Value {
    let Open {
        trace,
        id,
        begun,
        mut fields,
    } = open;
    let seconds = |at: Timestamp| at.as_microsecond() as f64 / 1e6;
    let name = fields.text("name").unwrap_or(kind);
    let mut document = json!({
        "type": "subsegment",
        "trace_id": trace.id,
        "parent_id": trace.parent,
        "id": id,
        "name": name.chars().take(NAME).collect::<String>(),
        "start_time": seconds(begun),
        "end_time": seconds(ended),
    });
    let Some(members) = document.as_object_mut() else {
        return document;
    };
    if !annotations.is_empty() {
        members.insert("annotations".to_owned(), Value::Object(annotations));
    }
    if kind == REQUEST {
        members.insert("namespace".to_owned(), json!("aws"));
        let aws = [
            ("operation", "operation"),
            ("region", "region"),
            ("account_id", "account"),
            ("request_id", "request_id"),
            ("retries", "retries"),
        ];
        let aws: Map<String, Value> = aws
            .into_iter()
            .filter_map(|(member, field)| Some((member.to_owned(), fields.take(field)?)))
            .collect();
        members.insert("aws".to_owned(), Value::Object(aws));
        if let Some(status) = fields.take("status") {
            let answered = json!({ "response": { "status": status } });
            members.insert("http".to_owned(), answered);
        }
        for flag in ["throttle", "error", "fault"] {
            if let Some(flagged) = fields.take(flag) {
                members.insert(flag.to_owned(), flagged);
            }
        }
    }
    document
}
