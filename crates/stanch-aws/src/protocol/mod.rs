//! The six wire protocols, without a network: an operation and its input become an HTTP request,
//! an HTTP response becomes the output or a typed error.
//!
//! Values in JSON: member names as boto3 has them; timestamps are ISO 8601 text (numbers and HTTP
//! dates are understood on the way in); blobs are base64 text, also where one is the whole HTTP body.
//! Numbers that JSON cannot write are the strings `NaN`, `Infinity` and `-Infinity`. Nulls are left
//! out.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value};
use stanch_models::{
    Location, Member, Operation, Protocol, Service, ShapeId, ShapeKind, Structure,
};
use stanch_types::{Call, CallError, CallErrorKind, Reply};

mod as_boto3;
mod cbor;
mod error;
mod json;
mod query;
mod rest;
pub(crate) mod time;
mod xml;

/// A request before it has an endpoint and a signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, percent-encoded: `/bucket?publicAccessBlock`.
    pub uri: String,
    /// What the model puts before the endpoint's host name: `111111111111.`.
    pub host_prefix: Option<String>,
    /// In the order of the model; names in any case, each once.
    pub headers: Vec<(String, String)>,
    /// The body, empty for none.
    pub body: Vec<u8>,
}

/// A response, read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// The value of the header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }
}

impl HttpResponse {
    /// The value of the header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// The HTTP request for `operation` with `input`.
///
/// The input is taken as it is: tokens are not filled in, and only what cannot be written is refused.
///
/// # Errors
/// [`CallErrorKind::Invalid`] when a value does not fit its place.
pub fn request(
    service: &Service,
    operation: &Operation,
    input: &Value,
) -> Result<HttpRequest, CallError> {
    let invalid = |problem: Problem| {
        let call = Call::new(&*service.name, &*operation.name, Value::Null);
        CallError::new(CallErrorKind::Invalid, &call, problem.to_string())
    };
    let empty = Map::new();
    let input = match input {
        Value::Null => &empty,
        Value::Object(input) => input,
        _ => return Err(invalid(Problem::new("the input must be an object"))),
    };
    if operation.input.is_none() && !input.is_empty() {
        return Err(invalid(Problem::new("the operation takes no input")));
    }
    let input = &as_boto3::input(service, operation, input);
    let mut request = match service.protocol {
        Protocol::Query | Protocol::Ec2 => query::request(service, operation, input),
        Protocol::Json => json::request(service, operation, input),
        Protocol::RpcV2Cbor => json::cbor_request(service, operation, input),
        Protocol::RestJson | Protocol::RestXml => rest::request(service, operation, input),
    }
    .map_err(invalid)?;
    request.host_prefix = host_prefix(service, operation, input).map_err(invalid)?;
    if &*service.name == "apigateway" {
        // Without it, the answers are in another format.
        request.set_header("Accept", "application/json");
    }
    for (name, value) in &request.headers {
        let sound = |text: &str| !text.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f);
        if !sound(value) || name.is_empty() || !name.bytes().all(is_token) {
            return Err(invalid(Problem::new(format!(
                "header `{name}` has a character that HTTP does not allow"
            ))));
        }
    }
    Ok(request)
}

/// The output of `operation` in an HTTP response, or the error that the response is.
///
/// # Errors
/// The service's error; [`CallErrorKind::Unreadable`] when the response is not what the model says.
pub fn response(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> Result<Reply, CallError> {
    if response.status >= 300 || error::hidden_in_success(service, operation, response) {
        return Err(error::read(service, operation, response));
    }
    let parsed = match service.protocol {
        Protocol::Query | Protocol::Ec2 => query::response(service, operation, response),
        Protocol::Json => json::response(service, operation, response),
        Protocol::RpcV2Cbor => json::cbor_response(service, operation, response),
        Protocol::RestJson | Protocol::RestXml => rest::response(service, operation, response),
    };
    let request_id = error::request_id(response);
    match parsed {
        Ok((mut output, id)) => {
            as_boto3::output(service, operation, response, &mut output);
            Ok(Reply {
                output: Value::Object(output),
                request_id: request_id.or(id),
            })
        }
        Err(problem) => {
            let call = Call::new(&*service.name, &*operation.name, Value::Null);
            let message = format!("the answer is not what the API model describes: {problem}");
            Err(CallError {
                request_id,
                ..CallError::new(CallErrorKind::Unreadable, &call, message)
            })
        }
    }
}

/// What a protocol makes of a response: the output, and a request id where the body holds it.
type Parsed = Result<(Map<String, Value>, Option<String>), Problem>;

/// Where a value does not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    path: String,
    what: String,
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            what: what.into(),
        }
    }

    /// The problem as seen from one level up.
    fn under(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

/// A reference into the model: a shape and, except at the top, the member that leads to it.
#[derive(Clone, Copy)]
struct Place<'m> {
    service: &'m Service,
    shape: ShapeId,
    member: Option<&'m Member>,
}

impl<'m> Place<'m> {
    const fn top(service: &'m Service, shape: ShapeId) -> Self {
        Self {
            service,
            shape,
            member: None,
        }
    }

    const fn to(self, member: &'m Member) -> Self {
        Self {
            service: self.service,
            shape: member.shape,
            member: Some(member),
        }
    }

    fn kind(self) -> &'m ShapeKind {
        &self.service.shape(self.shape).kind
    }

    fn structure(self) -> Option<&'m Structure> {
        self.service.shape(self.shape).structure()
    }

    fn flattened(self) -> bool {
        self.member.is_some_and(|member| member.flattened)
    }

    fn json_value(self) -> bool {
        self.member.is_some_and(|member| member.json_value)
    }

    fn timestamp_format(self) -> Option<time::Format> {
        use stanch_models::TimestampFormat;
        let format = match self.kind() {
            ShapeKind::Timestamp(own) => *own,
            _ => None,
        };
        Some(
            match self.member.and_then(|m| m.timestamp_format).or(format)? {
                TimestampFormat::Iso8601 => time::Format::Iso8601,
                TimestampFormat::Rfc822 => time::Format::Rfc822,
                TimestampFormat::UnixTimestamp => time::Format::Unix,
            },
        )
    }
}

/// The members of `value` that are not null, each with its place.
fn members<'v, 'm: 'v>(
    place: Place<'m>,
    structure: &'m Structure,
    value: &'v Map<String, Value>,
) -> impl Iterator<Item = Result<(&'m Member, Place<'m>, &'v Value), Problem>> {
    value
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(move |(name, value)| match structure.member(name) {
            Some(member) => Ok((member, place.to(member), value)),
            None => Err(Problem::new("no such member").under(name)),
        })
}

fn object(value: &Value) -> Result<&Map<String, Value>, Problem> {
    value
        .as_object()
        .ok_or_else(|| Problem::new("must be an object"))
}

fn array(value: &Value) -> Result<&Vec<Value>, Problem> {
    value
        .as_array()
        .ok_or_else(|| Problem::new("must be a list"))
}

/// A scalar of the input as text, in the format that headers, paths, queries and XML share.
fn scalar_text(
    place: Place<'_>,
    value: &Value,
    timestamps: time::Format,
) -> Result<String, Problem> {
    match (place.kind(), value) {
        (ShapeKind::Timestamp(_), _) => {
            timestamp(value).map(|time| place.timestamp_format().unwrap_or(timestamps).text(time))
        }
        (ShapeKind::Blob { .. }, _) => blob_bytes(value).map(|bytes| encode_base64(&bytes)),
        (ShapeKind::String { .. }, value) if place.json_value() && !value.is_string() => {
            Ok(value.to_string())
        }
        (_, Value::String(text)) => Ok(text.clone()),
        (_, Value::Bool(_) | Value::Number(_)) => Ok(value.to_string()),
        _ => Err(Problem::new("must be a plain value")),
    }
}

fn timestamp(value: &Value) -> Result<jiff::Timestamp, Problem> {
    time::parse(value).ok_or_else(|| {
        Problem::new("must be a timestamp (`2015-01-25T08:00:00Z` or seconds since 1970)")
    })
}

fn blob_bytes(value: &Value) -> Result<Vec<u8>, Problem> {
    let text = value
        .as_str()
        .ok_or_else(|| Problem::new("must be base64 text"))?;
    STANDARD
        .decode(text)
        .map_err(|_| Problem::new("must be base64 text"))
}

fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn float_value(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            Value::from(if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        },
        Value::Number,
    )
}

/// A scalar of a response from its text in a header or an XML element.
fn scalar_value(place: Place<'_>, text: &str) -> Result<Value, Problem> {
    let number = |what| Problem::new(format!("`{}` is not {what}", excerpt(text)));
    let trimmed = text.trim();
    Ok(match place.kind() {
        ShapeKind::Boolean => match trimmed {
            "true" | "True" | "1" => Value::Bool(true),
            "false" | "False" | "0" | "" => Value::Bool(false),
            _ => return Err(number("a boolean")),
        },
        ShapeKind::Integer | ShapeKind::Long => {
            Value::from(trimmed.parse::<i64>().map_err(|_| number("an integer"))?)
        }
        ShapeKind::Float | ShapeKind::Double => {
            float_value(trimmed.parse::<f64>().map_err(|_| number("a number"))?)
        }
        ShapeKind::Timestamp(_) => Value::String(
            time::parse_text(trimmed)
                .ok_or_else(|| number("a timestamp"))?
                .to_string(),
        ),
        ShapeKind::Blob { .. } => {
            // Written again, so that all blobs look alike, whatever line ends the service put in.
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(compact).map_err(|_| number("base64"))?;
            Value::String(encode_base64(&bytes))
        }
        ShapeKind::String { .. } => as_boto3::text(place.service, place.shape, text),
        ShapeKind::Structure(_) | ShapeKind::List { .. } | ShapeKind::Map { .. } => {
            return Err(Problem::new("text where the model has structure"));
        }
    })
}

/// The start of a text, for a message.
fn excerpt(text: &str) -> String {
    const LENGTH: usize = 80;
    let mut out: String = text.chars().take(LENGTH).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// `SDK_UNKNOWN_MEMBER`, as botocore answers a union's member that the model does not have.
fn unknown_union_member(name: &str) -> Value {
    serde_json::json!({"SDK_UNKNOWN_MEMBER": {"name": name}})
}

fn host_prefix(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<Option<String>, Problem> {
    let Some(template) = &operation.host_prefix else {
        return Ok(None);
    };
    let mut prefix = template.to_string();
    let labels = operation.input.map_or(&[][..], |id| service.members(id));
    for member in labels.iter().filter(|member| member.host_label) {
        let slot = format!("{{{}}}", member.name);
        if !prefix.contains(&slot) {
            continue;
        }
        let value = input
            .get(&*member.name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let sound = !value.is_empty()
            && value.len() <= 63
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !sound {
            return Err(Problem::new(
                "becomes part of the host name: letters, digits, hyphens and periods only",
            )
            .under(&member.name));
        }
        prefix = prefix.replace(&slot, value);
    }
    Ok(Some(prefix))
}

/// Percent-encodes all but RFC 3986's unreserved characters and `keep`.
pub(crate) fn percent_encode(text: &str, keep: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(nibble)).map_or('0', |&b| char::from(b)));
            }
        }
    }
    out
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// True for members that travel outside the body of a response.
const fn outside_body(location: Location) -> bool {
    matches!(
        location,
        Location::Header | Location::Headers | Location::StatusCode
    )
}
