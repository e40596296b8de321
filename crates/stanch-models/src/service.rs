//! What a service, an operation and a shape are.
//!
//! The vocabulary is botocore's `service-2.json`
//! (<https://github.com/boto/botocore/tree/develop/botocore/data>) and, below it, Smithy's
//! (<https://smithy.io/2.0/spec/index.html>).

use serde::{Deserialize, Serialize};

/// One AWS service: its protocol, its operations and its shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// botocore's directory name, as boto3 and Systems Manager Automation have it: `elbv2`.
    pub name: Box<str>,
    /// `2006-03-01`.
    pub api_version: Box<str>,
    /// The first label of the usual host name; also the name in `endpoints.json`.
    pub endpoint_prefix: Box<str>,
    /// The service in a SigV4 credential scope.
    pub signing_name: Box<str>,
    /// Smithy's `serviceId`: `Elastic Load Balancing v2`. `AWS_ENDPOINT_URL_<ID>` is made of it.
    pub service_id: Box<str>,
    /// The name in AWS's documentation.
    pub full_name: Box<str>,
    /// How requests are signed unless the operation says otherwise; the first that the client
    /// supports wins.
    pub auth: Vec<AuthScheme>,
    /// The protocol to speak: of [`Service::protocols`], the first in botocore's order of preference.
    pub protocol: Protocol,
    /// All the protocols that the service speaks.
    pub protocols: Vec<Protocol>,
    /// The protocol settings ask for HTTP/2: `eventstream` or `optional`.
    pub http2: Option<Box<str>>,
    /// `1.0` or `1.1`: the content type of the JSON protocols is `application/x-amz-json-<version>`.
    pub json_version: Option<Box<str>>,
    /// What stands before the operation in `X-Amz-Target`, and the service in an RPC v2 CBOR path.
    pub target_prefix: Option<Box<str>>,
    /// The namespace of every request and response body.
    pub xml_namespace: Option<Box<str>>,
    /// The host of a service that has one for the whole partition.
    pub global_endpoint: Option<Box<str>>,
    /// The service once spoke the query protocol, and tells old error codes in `x-amzn-query-error`.
    pub query_compatible: bool,
    /// How a request body is hashed (`sha256`, `md5`) where the service asks for it (Glacier's tree).
    pub checksum_format: Option<Box<str>>,
    /// Names of the rule-set parameters that a client sets once.
    pub client_context: Vec<Box<str>>,
    /// Sorted by name.
    pub(crate) operations: Vec<Operation>,
    /// Sorted by name.
    pub(crate) shapes: Vec<Shape>,
    /// Sorted by operation.
    pub(crate) paginators: Vec<Paginator>,
    /// Sorted by name.
    pub(crate) waiters: Vec<Waiter>,
}

/// A wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// `smithy-rpc-v2-cbor`.
    RpcV2Cbor,
    /// `json`: AWS JSON 1.0 or 1.1 ([`Service::json_version`]).
    Json,
    /// `rest-json`.
    RestJson,
    /// `rest-xml`.
    RestXml,
    /// `query`.
    Query,
    /// `ec2`.
    Ec2,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthScheme {
    /// `aws.auth#sigv4`.
    SigV4,
    /// `aws.auth#sigv4a`.
    SigV4a,
    /// S3's SigV4: the path is not encoded twice, and the payload hash is a header.
    S3V4,
    /// Signature version 2 (SimpleDB, Import/Export).
    V2,
    /// `smithy.api#httpBearerAuth`.
    Bearer,
    /// Not at all.
    None,
}

/// One API of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// In PascalCase, as IAM and CloudTrail have it.
    pub name: Box<str>,
    /// `GET`, `POST`, …
    pub method: Box<str>,
    /// With labels: `/{Bucket}/{Key+}?acl`.
    pub uri: Box<str>,
    /// The HTTP status of success.
    pub response_code: u16,
    /// The structure of the parameters.
    pub input: Option<ShapeId>,
    /// The structure of the answer.
    pub output: Option<ShapeId>,
    /// The root element of an XML request body.
    pub input_location_name: Option<Box<str>>,
    /// The namespace of that root element.
    pub input_xml_namespace: Option<XmlNamespace>,
    /// The element around the answer in the query protocol.
    pub result_wrapper: Option<Box<str>>,
    /// The exceptions that the operation declares.
    pub errors: Vec<ShapeId>,
    /// What goes before the host name; may hold labels: `{AccountId}.`.
    pub host_prefix: Option<Box<str>>,
    /// Instead of [`Service::auth`]; empty where the service's holds.
    pub auth: Vec<AuthScheme>,
    /// The signature does not cover the body.
    pub unsigned_payload: bool,
    /// Flexible checksums (<https://smithy.io/2.0/aws/aws-core.html#aws-protocols-httpchecksum-trait>).
    pub checksum: Option<HttpChecksum>,
    /// The request needs a checksum of its body (`httpChecksumRequired`), whichever.
    pub checksum_required: bool,
    /// Content encodings that the service takes.
    pub compression: Vec<Box<str>>,
    /// Values of endpoint rule parameters for this operation.
    pub static_context: Vec<(Box<str>, ContextValue)>,
    /// Endpoint rule parameters that JMESPath expressions over the input yield.
    pub operation_context: Vec<(Box<str>, Box<str>)>,
    /// Sending it twice does what sending it once does.
    pub idempotent: bool,
    /// The model marks it as free of effects. Few services mark any.
    pub read_only: bool,
    /// AWS advises against it.
    pub deprecated: bool,
    /// Endpoint discovery; `Some(true)` where it is required.
    pub endpoint_discovery: Option<bool>,
}

/// A rule-set parameter's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ContextValue {
    Bool(bool),
    String(Box<str>),
    List(Vec<Box<str>>),
}

/// Flexible checksums of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpChecksum {
    /// A request without one is refused.
    pub required: bool,
    /// The input member that names the algorithm.
    pub algorithm_member: Option<Box<str>>,
    /// The input member that asks for the checksum of the response.
    pub validation_mode_member: Option<Box<str>>,
    /// Which checksums a response may carry.
    pub response_algorithms: Vec<Box<str>>,
}

/// The place of a shape in its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShapeId(pub(crate) u32);

impl ShapeId {
    /// Counts from 0, without gaps, to [`Service::shapes`]'s length: for tables beside the shapes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Unique in the service.
    pub name: Box<str>,
    /// Which type, and what only that type has.
    pub kind: ShapeKind,
    /// Values must not be logged.
    pub sensitive: bool,
    /// Of the length of strings (characters), blobs (bytes), lists and maps; of the value of numbers.
    pub bounds: Bounds,
}

/// Inclusive limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Bounds {
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// The types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ShapeKind {
    /// A structure, a union, an exception, an event stream or a document.
    Structure(Structure),
    /// Values in order; `sparse` ones may hold nulls.
    #[allow(missing_docs)]
    List { member: Box<Member>, sparse: bool },
    /// Keys are strings; `sparse` ones may hold nulls.
    #[allow(missing_docs)]
    Map {
        key: Box<Member>,
        value: Box<Member>,
        sparse: bool,
    },
    /// Text.
    String {
        /// Known values, empty when any will do. AWS adds values, so an unknown one is not an error.
        enumeration: Vec<Box<str>>,
        /// A regular expression of Java's dialect, which botocore does not check.
        pattern: Option<Box<str>>,
    },
    /// Bytes.
    Blob {
        /// Sent without buffering, and only with a known length where `requires_length`.
        streaming: bool,
        #[allow(missing_docs)]
        requires_length: bool,
    },
    /// `true` or `false`.
    Boolean,
    /// 32 bits, with sign.
    Integer,
    /// 64 bits, with sign.
    Long,
    /// 32 bits.
    Float,
    /// 64 bits.
    Double,
    /// A moment, in the protocol's own format where none is given.
    Timestamp(Option<TimestampFormat>),
}

/// A structure and what it may be besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// In the model's order.
    pub members: Vec<Member>,
    /// The index of the member that is the whole HTTP body.
    pub payload: Option<u32>,
    /// Exactly one member is set.
    pub union: bool,
    /// Any JSON value.
    pub document: bool,
    /// Members are events that follow one another.
    pub event_stream: bool,
    /// A member of an event stream.
    pub event: bool,
    /// Query answers wrap the structure in an element of its name.
    pub wrapper: bool,
    /// Set on exceptions.
    pub error: Option<ErrorTraits>,
}

/// What an exception says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorTraits {
    /// The code on the wire, where it is not the shape's name.
    pub code: Option<Box<str>>,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// The caller is at fault.
    pub sender_fault: bool,
    /// The service is at fault.
    pub fault: bool,
    /// The same request may pass later; `Some(true)` for throttling.
    pub retryable: Option<bool>,
}

/// A reference to a shape, with its traits: a structure's member, a list's, a map's key or value.
///
/// Traits are effective: those of the target shape hold where the reference has none of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The name in parameters and answers; `member`, `key` and `value` in lists and maps.
    pub name: Box<str>,
    /// The target.
    pub shape: ShapeId,
    /// The part of the HTTP message.
    pub location: Location,
    /// The name on the wire, where it is not the member's (a prefix for [`Location::Headers`]).
    pub location_name: Option<Box<str>>,
    /// The name in an EC2 request, where it differs even from `location_name`.
    pub query_name: Option<Box<str>>,
    /// The namespace of the element.
    pub xml_namespace: Option<Box<XmlNamespace>>,
    /// Instead of the shape's.
    pub timestamp_format: Option<TimestampFormat>,
    /// The endpoint rule parameter that this member sets.
    pub context_param: Option<Box<str>>,
    /// A call without it is refused.
    pub required: bool,
    /// List and map elements stand beside one another, without one around them.
    pub flattened: bool,
    /// An XML attribute of the parent element.
    pub xml_attribute: bool,
    /// Sent or received without buffering.
    pub streaming: bool,
    /// A UUID is filled in where the caller gives none.
    pub idempotency_token: bool,
    /// A JSON value in a string (base64 in headers).
    pub json_value: bool,
    /// Values must not be logged.
    pub sensitive: bool,
    /// Part of [`Operation::host_prefix`].
    pub host_label: bool,
    /// The payload of an event.
    pub event_payload: bool,
    /// A header of an event.
    pub event_header: bool,
    /// AWS advises against it.
    pub deprecated: bool,
}

impl Member {
    /// The name on the wire.
    pub fn wire_name(&self) -> &str {
        self.location_name.as_deref().unwrap_or(&self.name)
    }
}

/// The part of an HTTP message that carries a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Location {
    /// The body.
    #[default]
    Body,
    /// A header.
    Header,
    /// All headers with a prefix, as a map.
    Headers,
    /// A label of the path.
    Uri,
    /// A query parameter.
    QueryString,
    /// The status code.
    StatusCode,
}

/// A namespace and the prefix to bind it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct XmlNamespace {
    pub uri: Box<str>,
    pub prefix: Option<Box<str>>,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimestampFormat {
    /// `2026-01-31T23:59:59Z`.
    Iso8601,
    /// `Sat, 31 Jan 2026 23:59:59 GMT`.
    Rfc822,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// How the pages of an operation are walked. Fields hold JMESPath expressions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paginator {
    /// The operation.
    pub operation: Box<str>,
    /// Input members that take the tokens.
    pub input_tokens: Vec<Box<str>>,
    /// Where the answer holds them, one for each of `input_tokens`.
    pub output_tokens: Vec<Box<str>>,
    /// What adds up over the pages; the first is the main one.
    pub result_keys: Vec<Box<str>>,
    /// The input member for the size of a page.
    pub limit_key: Option<Box<str>>,
    /// Where the answer says whether more follows; otherwise a token says it.
    pub more_results: Option<Box<str>>,
    /// What is the same on all pages.
    pub non_aggregate_keys: Vec<Box<str>>,
}

/// How to wait for a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiter {
    /// In PascalCase: `InstanceRunning`.
    pub name: Box<str>,
    /// The operation to repeat.
    pub operation: Box<str>,
    /// Seconds between tries.
    pub delay: u32,
    /// How many tries.
    pub max_attempts: u32,
    /// Tried in order; where none matches, an answer means retry and an error means failure.
    pub acceptors: Vec<Acceptor>,
}

/// One rule of a waiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Acceptor {
    pub verdict: Verdict,
    pub matcher: Matcher,
}

/// What a matching acceptor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Verdict {
    Success,
    Failure,
    Retry,
}

/// When an acceptor matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Matcher {
    /// The JMESPath expression yields the value.
    #[allow(missing_docs)]
    Path {
        expression: Box<str>,
        expected: Expected,
    },
    /// The expression yields a list that is not empty, all of it the value.
    #[allow(missing_docs)]
    PathAll {
        expression: Box<str>,
        expected: Expected,
    },
    /// The expression yields a list with the value in it.
    #[allow(missing_docs)]
    PathAny {
        expression: Box<str>,
        expected: Expected,
    },
    /// The HTTP status.
    Status(u16),
    /// The call failed with this code.
    Error(Box<str>),
    /// The call failed at all (`true`), or did not (`false`).
    AnyError(bool),
}

/// The value that a matcher looks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Expected {
    Bool(bool),
    Integer(i64),
    String(Box<str>),
}

impl Service {
    /// All operations, sorted by name.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation of exactly this name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        let i = self
            .operations
            .binary_search_by(|o| (*o.name).cmp(name))
            .ok()?;
        self.operations.get(i)
    }

    /// All shapes, sorted by name; [`ShapeId::index`] is the place in here.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The shape behind an id of this service.
    ///
    /// # Panics
    /// With an id of another service that has more shapes.
    #[expect(clippy::indexing_slicing, reason = "both constructors check every id")]
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.index()]
    }

    /// The shape of exactly this name.
    pub fn shape_named(&self, name: &str) -> Option<ShapeId> {
        let i = self.shapes.binary_search_by(|s| (*s.name).cmp(name)).ok()?;
        u32::try_from(i).ok().map(ShapeId)
    }

    /// The members of a structure; nothing for other shapes.
    pub fn members(&self, id: ShapeId) -> &[Member] {
        match &self.shape(id).kind {
            ShapeKind::Structure(s) => &s.members,
            _ => &[],
        }
    }

    /// How the operation is signed, in order of preference.
    pub fn auth_of<'a>(&'a self, operation: &'a Operation) -> &'a [AuthScheme] {
        if operation.auth.is_empty() {
            &self.auth
        } else {
            &operation.auth
        }
    }

    /// The operation's paginator.
    pub fn paginator(&self, operation: &str) -> Option<&Paginator> {
        let i = self
            .paginators
            .binary_search_by(|p| (*p.operation).cmp(operation))
            .ok()?;
        self.paginators.get(i)
    }

    /// All paginators, sorted by operation.
    pub fn paginators(&self) -> &[Paginator] {
        &self.paginators
    }

    /// All waiters, sorted by name.
    pub fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// The waiter of exactly this name (`InstanceRunning`).
    pub fn waiter(&self, name: &str) -> Option<&Waiter> {
        let i = self
            .waiters
            .binary_search_by(|w| (*w.name).cmp(name))
            .ok()?;
        self.waiters.get(i)
    }
}

impl Shape {
    /// The structure, where it is one.
    pub fn structure(&self) -> Option<&Structure> {
        match &self.kind {
            ShapeKind::Structure(s) => Some(s),
            _ => None,
        }
    }

    /// The code that an exception has on the wire.
    pub fn error_code(&self) -> Option<&str> {
        let error = self.structure()?.error.as_ref()?;
        Some(error.code.as_deref().unwrap_or(&self.name))
    }
}

impl Structure {
    /// The member of exactly this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| *m.name == *name)
    }

    /// The member that is the whole HTTP body.
    pub fn payload_member(&self) -> Option<&Member> {
        self.members.get(self.payload? as usize)
    }
}
