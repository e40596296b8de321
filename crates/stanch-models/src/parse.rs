//! botocore's JSON files, read into [`Service`].

use serde_json::{Map, Value};

use crate::service::{
    Acceptor, AuthScheme, Bounds, ContextValue, ErrorTraits, Expected, HttpChecksum, Location,
    Matcher, Member, Operation, Paginator, Protocol, Service, Shape, ShapeId, ShapeKind, Structure,
    TimestampFormat, Verdict, Waiter, XmlNamespace,
};

/// Why a `service-2.json` (or a file beside it) is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A member that must be there is not, or has another type.
    #[error("model `{service}`: `{at}` is not {expected}")]
    Malformed {
        /// The service.
        service: Box<str>,
        /// Where in the file.
        at: Box<str>,
        /// What should stand there.
        expected: &'static str,
    },
    /// A reference to a shape that the model does not define.
    #[error("model `{service}`: `{at}` refers to the shape `{shape}`, which is not defined")]
    UndefinedShape {
        /// The service.
        service: Box<str>,
        /// Where in the file.
        at: Box<str>,
        /// The name that leads nowhere.
        shape: Box<str>,
    },
    /// None of the protocols is known.
    #[error("model `{service}`: no known protocol in `{found}`")]
    UnknownProtocol {
        /// The service.
        service: Box<str>,
        /// What the metadata names.
        found: Box<str>,
    },
}

type Object = Map<String, Value>;

impl Service {
    /// Reads botocore's `service-2.json`. `name` is the service's directory, `elbv2`.
    ///
    /// # Errors
    /// When the file is not such a model.
    pub fn from_service_2(name: &str, json: &Value) -> Result<Self, ModelError> {
        let reader = Reader::new(name, json)?;
        reader.service(json)
    }

    /// Adds the paginators of botocore's `paginators-1.json`.
    ///
    /// # Errors
    /// When the file is not such.
    pub fn add_paginators(&mut self, json: &Value) -> Result<(), ModelError> {
        let reader = Context {
            service: &self.name,
        };
        let mut added = Vec::new();
        for (operation, value) in reader.object(json, "pagination")? {
            let at = format!("pagination.{operation}");
            added.push(Paginator {
                operation: operation.as_str().into(),
                input_tokens: texts(value.get("input_token")),
                output_tokens: texts(value.get("output_token")),
                result_keys: texts(value.get("result_key")),
                limit_key: text(value, "limit_key"),
                more_results: text(value, "more_results"),
                non_aggregate_keys: texts(value.get("non_aggregate_keys")),
            });
            if added
                .last()
                .is_some_and(|p| p.input_tokens.len() != p.output_tokens.len())
            {
                return Err(reader.malformed(&at, "a pair of equally many tokens"));
            }
        }
        self.paginators.extend(added);
        self.paginators
            .sort_by(|a, b| a.operation.cmp(&b.operation));
        Ok(())
    }

    /// Adds the waiters of botocore's `waiters-2.json`.
    ///
    /// # Errors
    /// When the file is not such.
    pub fn add_waiters(&mut self, json: &Value) -> Result<(), ModelError> {
        let reader = Context {
            service: &self.name,
        };
        let mut added = Vec::new();
        for (name, value) in reader.object(json, "waiters")? {
            let at = format!("waiters.{name}");
            let number = |key| {
                value
                    .get(key)
                    .and_then(Value::as_u64)
                    .and_then(|n| u32::try_from(n).ok())
            };
            added.push(Waiter {
                name: name.as_str().into(),
                operation: text(value, "operation")
                    .ok_or_else(|| reader.malformed(&at, "a waiter with an `operation`"))?,
                delay: number("delay")
                    .ok_or_else(|| reader.malformed(&at, "a waiter with a `delay`"))?,
                max_attempts: number("maxAttempts")
                    .ok_or_else(|| reader.malformed(&at, "a waiter with `maxAttempts`"))?,
                acceptors: list(value.get("acceptors"))
                    .map(|a| {
                        acceptor(a)
                            .ok_or_else(|| reader.malformed(&at, "a waiter with known acceptors"))
                    })
                    .collect::<Result<_, _>>()?,
            });
        }
        self.waiters.extend(added);
        self.waiters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }
}

fn acceptor(value: &Value) -> Option<Acceptor> {
    let verdict = match value.get("state")?.as_str()? {
        "success" => Verdict::Success,
        "failure" => Verdict::Failure,
        "retry" => Verdict::Retry,
        _ => return None,
    };
    let wanted = value.get("expected")?;
    let expected = || {
        Some(match wanted {
            Value::Bool(b) => Expected::Bool(*b),
            Value::Number(n) => Expected::Integer(n.as_i64()?),
            Value::String(s) => Expected::String(s.as_str().into()),
            _ => return None,
        })
    };
    let expression = || text(value, "argument");
    let matcher = match value.get("matcher")?.as_str()? {
        "path" => Matcher::Path {
            expression: expression()?,
            expected: expected()?,
        },
        "pathAll" => Matcher::PathAll {
            expression: expression()?,
            expected: expected()?,
        },
        "pathAny" => Matcher::PathAny {
            expression: expression()?,
            expected: expected()?,
        },
        "status" => Matcher::Status(u16::try_from(wanted.as_u64()?).ok()?),
        "error" => match wanted {
            Value::Bool(any) => Matcher::AnyError(*any),
            code => Matcher::Error(code.as_str()?.into()),
        },
        _ => return None,
    };
    Some(Acceptor { verdict, matcher })
}

/// The name of the service, for errors.
struct Context<'a> {
    service: &'a str,
}

impl Context<'_> {
    fn malformed(&self, at: &str, expected: &'static str) -> ModelError {
        ModelError::Malformed {
            service: self.service.into(),
            at: at.into(),
            expected,
        }
    }

    fn object<'v>(&self, json: &'v Value, key: &str) -> Result<&'v Object, ModelError> {
        json.get(key)
            .and_then(Value::as_object)
            .ok_or_else(|| self.malformed(key, "an object"))
    }
}

struct Reader<'a> {
    context: Context<'a>,
    /// Sorted by name: a shape's id is its place.
    shapes: Vec<(&'a str, &'a Value)>,
}

impl<'a> Reader<'a> {
    fn new(service: &'a str, json: &'a Value) -> Result<Self, ModelError> {
        let context = Context { service };
        let mut shapes: Vec<_> = context
            .object(json, "shapes")?
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        shapes.sort_unstable_by_key(|(name, _)| *name);
        Ok(Self { context, shapes })
    }

    fn service(&self, json: &Value) -> Result<Service, ModelError> {
        let name = self.context.service;
        let metadata = json.get("metadata").unwrap_or(&Value::Null);
        // A model that is only serialized with, as protocol tests have them, may leave these out.
        let endpoint_prefix = text(metadata, "endpointPrefix").unwrap_or_else(|| name.into());
        let full_name = text(metadata, "serviceFullName").unwrap_or_else(|| name.into());
        let protocols = self.protocols(metadata)?;
        let mut operations = self
            .context
            .object(json, "operations")?
            .iter()
            .map(|(name, value)| self.operation(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        operations.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Service {
            name: name.into(),
            api_version: text(metadata, "apiVersion").unwrap_or_default(),
            signing_name: text(metadata, "signingName").unwrap_or_else(|| endpoint_prefix.clone()),
            endpoint_prefix,
            service_id: text(metadata, "serviceId")
                .or_else(|| text(metadata, "serviceAbbreviation"))
                .unwrap_or_else(|| full_name.clone()),
            full_name,
            auth: auth_schemes(metadata, name),
            protocol: *protocols
                .iter()
                .min_by_key(|p| PREFERENCE.iter().position(|(_, other)| other == *p))
                .unwrap_or(&Protocol::Json),
            protocols,
            http2: metadata.get("protocolSettings").and_then(|s| text(s, "h2")),
            json_version: text(metadata, "jsonVersion"),
            target_prefix: text(metadata, "targetPrefix"),
            xml_namespace: text(metadata, "xmlNamespace"),
            global_endpoint: text(metadata, "globalEndpoint"),
            query_compatible: metadata.get("awsQueryCompatible").is_some(),
            checksum_format: text(metadata, "checksumFormat"),
            client_context: json
                .get("clientContextParams")
                .and_then(Value::as_object)
                .map(|o| o.keys().map(|k| k.as_str().into()).collect())
                .unwrap_or_default(),
            operations,
            shapes: self
                .shapes
                .iter()
                .map(|(name, value)| self.shape(name, value))
                .collect::<Result<_, _>>()?,
            paginators: Vec::new(),
            waiters: Vec::new(),
        })
    }

    fn protocols(&self, metadata: &Value) -> Result<Vec<Protocol>, ModelError> {
        let named = match metadata.get("protocols") {
            Some(several) => texts(Some(several)),
            None => texts(metadata.get("protocol")),
        };
        let known: Vec<_> = named
            .iter()
            .filter_map(|n| {
                PREFERENCE
                    .iter()
                    .find(|(name, _)| **name == **n)
                    .map(|(_, p)| *p)
            })
            .collect();
        if known.is_empty() {
            return Err(ModelError::UnknownProtocol {
                service: self.context.service.into(),
                found: named.join(", ").into(),
            });
        }
        Ok(known)
    }

    fn id(&self, at: &str, name: &str) -> Result<ShapeId, ModelError> {
        self.shapes
            .binary_search_by_key(&name, |(name, _)| name)
            .ok()
            .and_then(|i| u32::try_from(i).ok())
            .map(ShapeId)
            .ok_or_else(|| ModelError::UndefinedShape {
                service: self.context.service.into(),
                at: at.into(),
                shape: name.into(),
            })
    }

    fn reference(&self, at: &str, value: &Value) -> Result<ShapeId, ModelError> {
        let name = value
            .get("shape")
            .and_then(Value::as_str)
            .ok_or_else(|| self.context.malformed(at, "a reference to a shape"))?;
        self.id(at, name)
    }

    /// The definition of the shape that a reference leads to.
    fn target(&self, reference: &Value) -> Option<&Value> {
        let id = self.reference("", reference).ok()?;
        self.shapes.get(id.index()).map(|(_, value)| *value)
    }

    fn operation(&self, name: &str, value: &Value) -> Result<Operation, ModelError> {
        let at = format!("operations.{name}");
        let http = value.get("http").unwrap_or(&Value::Null);
        let input = value.get("input");
        let output = value.get("output");
        let mut auth = auth_schemes(value, self.context.service);
        let auth_type = value.get("authtype").and_then(Value::as_str);
        if auth.is_empty() && auth_type == Some("none") {
            auth.push(AuthScheme::None);
        }
        Ok(Operation {
            name: name.into(),
            method: text(http, "method").unwrap_or_else(|| "POST".into()),
            uri: text(http, "requestUri").unwrap_or_else(|| "/".into()),
            response_code: http
                .get("responseCode")
                .and_then(Value::as_u64)
                .and_then(|c| u16::try_from(c).ok())
                .unwrap_or(200),
            input: input.map(|i| self.reference(&at, i)).transpose()?,
            output: output.map(|o| self.reference(&at, o)).transpose()?,
            input_location_name: input.and_then(|i| text(i, "locationName")),
            input_xml_namespace: input
                .and_then(|i| xml_namespace(i).or_else(|| xml_namespace(self.target(i)?))),
            result_wrapper: output.and_then(|o| text(o, "resultWrapper")),
            errors: list(value.get("errors"))
                .map(|e| self.reference(&at, e))
                .collect::<Result<_, _>>()?,
            host_prefix: value.get("endpoint").and_then(|e| text(e, "hostPrefix")),
            auth,
            unsigned_payload: flag(value, "unsignedPayload")
                || auth_type == Some("v4-unsigned-body"),
            checksum: value.get("httpChecksum").map(|c| HttpChecksum {
                required: flag(c, "requestChecksumRequired"),
                algorithm_member: text(c, "requestAlgorithmMember"),
                validation_mode_member: text(c, "requestValidationModeMember"),
                response_algorithms: texts(c.get("responseAlgorithms")),
            }),
            checksum_required: flag(value, "httpChecksumRequired"),
            compression: value
                .get("requestcompression")
                .map(|c| texts(c.get("encodings")))
                .unwrap_or_default(),
            static_context: entries(value, "staticContextParams")
                .filter_map(|(name, v)| {
                    Some((name.as_str().into(), context_value(v.get("value")?)?))
                })
                .collect(),
            operation_context: entries(value, "operationContextParams")
                .filter_map(|(name, v)| Some((name.as_str().into(), text(v, "path")?)))
                .collect(),
            idempotent: flag(value, "idempotent"),
            read_only: flag(value, "readonly"),
            deprecated: flag(value, "deprecated"),
            endpoint_discovery: value.get("endpointdiscovery").map(|d| flag(d, "required")),
        })
    }

    fn shape(&self, name: &str, value: &Value) -> Result<Shape, ModelError> {
        let at = format!("shapes.{name}");
        let element = |key: &str| {
            let member = value
                .get(key)
                .ok_or_else(|| self.context.malformed(&at, "a shape with its elements"))?;
            self.member(&at, key, member, false).map(Box::new)
        };
        let kind = match value.get("type").and_then(Value::as_str) {
            Some("structure") => ShapeKind::Structure(self.structure(&at, value)?),
            Some("list") => ShapeKind::List {
                member: element("member")?,
                sparse: flag(value, "sparse"),
            },
            Some("map") => ShapeKind::Map {
                key: element("key")?,
                value: element("value")?,
                sparse: flag(value, "sparse"),
            },
            Some("string" | "character") => ShapeKind::String {
                enumeration: texts(value.get("enum")),
                pattern: text(value, "pattern"),
            },
            Some("blob") => ShapeKind::Blob {
                streaming: flag(value, "streaming"),
                requires_length: flag(value, "requiresLength"),
            },
            Some("boolean") => ShapeKind::Boolean,
            Some("integer" | "short" | "byte") => ShapeKind::Integer,
            Some("long" | "bigInteger") => ShapeKind::Long,
            Some("float") => ShapeKind::Float,
            Some("double" | "bigDecimal") => ShapeKind::Double,
            Some("timestamp") => ShapeKind::Timestamp(timestamp_format(value)),
            _ => return Err(self.context.malformed(&at, "a shape of a known type")),
        };
        Ok(Shape {
            name: name.into(),
            kind,
            sensitive: flag(value, "sensitive"),
            bounds: Bounds {
                min: value.get("min").and_then(Value::as_f64),
                max: value.get("max").and_then(Value::as_f64),
            },
        })
    }

    fn structure(&self, at: &str, value: &Value) -> Result<Structure, ModelError> {
        let required = texts(value.get("required"));
        let members = entries(value, "members")
            .map(|(name, m)| self.member(at, name, m, required.iter().any(|r| **r == **name)))
            .collect::<Result<Vec<_>, _>>()?;
        let payload = match value.get("payload").and_then(Value::as_str) {
            None => None,
            Some(name) => Some(
                members
                    .iter()
                    .position(|m| *m.name == *name)
                    .and_then(|i| u32::try_from(i).ok())
                    .ok_or_else(|| {
                        self.context
                            .malformed(at, "a structure with the member of its `payload`")
                    })?,
            ),
        };
        let is_error = flag(value, "exception") || value.get("error").is_some();
        Ok(Structure {
            members,
            payload,
            union: flag(value, "union"),
            document: flag(value, "document"),
            event_stream: flag(value, "eventstream"),
            event: flag(value, "event"),
            wrapper: flag(value, "wrapper"),
            error: is_error.then(|| {
                let error = value.get("error").unwrap_or(&Value::Null);
                ErrorTraits {
                    code: text(error, "code"),
                    http_status: error
                        .get("httpStatusCode")
                        .and_then(Value::as_u64)
                        .and_then(|c| u16::try_from(c).ok()),
                    sender_fault: flag(error, "senderFault"),
                    fault: flag(value, "fault") || flag(error, "fault"),
                    retryable: value.get("retryable").map(|r| flag(r, "throttling")),
                }
            }),
        })
    }

    fn member(
        &self,
        at: &str,
        name: &str,
        own: &Value,
        required: bool,
    ) -> Result<Member, ModelError> {
        let shape = self.reference(&format!("{at}.{name}"), own)?;
        let target = self
            .shapes
            .get(shape.index())
            .map_or(&Value::Null, |(_, value)| *value);
        let either = |key| flag(own, key) || flag(target, key);
        Ok(Member {
            name: name.into(),
            shape,
            location: match own
                .get("location")
                .or_else(|| target.get("location"))
                .and_then(Value::as_str)
            {
                None => Location::Body,
                Some("header") => Location::Header,
                Some("headers") => Location::Headers,
                Some("uri") => Location::Uri,
                Some("querystring") => Location::QueryString,
                Some("statusCode") => Location::StatusCode,
                Some(_) => {
                    return Err(self
                        .context
                        .malformed(&format!("{at}.{name}"), "at a known location"));
                }
            },
            location_name: text(own, "locationName").or_else(|| text(target, "locationName")),
            query_name: text(own, "queryName"),
            xml_namespace: xml_namespace(own)
                .or_else(|| xml_namespace(target))
                .map(Box::new),
            timestamp_format: timestamp_format(own).or_else(|| timestamp_format(target)),
            context_param: own.get("contextParam").and_then(|c| text(c, "name")),
            required,
            flattened: either("flattened"),
            xml_attribute: flag(own, "xmlAttribute"),
            streaming: either("streaming"),
            idempotency_token: flag(own, "idempotencyToken"),
            json_value: flag(own, "jsonvalue"),
            sensitive: either("sensitive"),
            host_label: flag(own, "hostLabel"),
            event_payload: flag(own, "eventpayload"),
            event_header: flag(own, "eventheader"),
            deprecated: flag(own, "deprecated"),
        })
    }
}

/// In botocore's order of preference
/// (<https://github.com/boto/botocore/blob/develop/botocore/utils.py>).
const PREFERENCE: [(&str, Protocol); 6] = [
    ("smithy-rpc-v2-cbor", Protocol::RpcV2Cbor),
    ("json", Protocol::Json),
    ("rest-json", Protocol::RestJson),
    ("rest-xml", Protocol::RestXml),
    ("query", Protocol::Query),
    ("ec2", Protocol::Ec2),
];

/// `auth`, or else `signatureVersion`. S3's own variant of SigV4 is told by the service: S3's model
/// calls it `aws.auth#sigv4`, too.
fn auth_schemes(value: &Value, service: &str) -> Vec<AuthScheme> {
    let sigv4 = if matches!(service, "s3" | "s3control") {
        AuthScheme::S3V4
    } else {
        AuthScheme::SigV4
    };
    let modern: Vec<_> = texts(value.get("auth"))
        .iter()
        .filter_map(|name| match &**name {
            "aws.auth#sigv4" => Some(sigv4),
            "aws.auth#sigv4a" => Some(AuthScheme::SigV4a),
            "smithy.api#httpBearerAuth" => Some(AuthScheme::Bearer),
            "smithy.api#noAuth" => Some(AuthScheme::None),
            _ => None,
        })
        .collect();
    if !modern.is_empty() {
        return modern;
    }
    match value.get("signatureVersion").and_then(Value::as_str) {
        Some("v4") => vec![sigv4],
        Some("s3" | "s3v4") => vec![AuthScheme::S3V4],
        Some("v2") => vec![AuthScheme::V2],
        Some("bearer") => vec![AuthScheme::Bearer],
        _ => Vec::new(),
    }
}

pub(crate) fn context_value(value: &Value) -> Option<ContextValue> {
    Some(match value {
        Value::Bool(b) => ContextValue::Bool(*b),
        Value::String(s) => ContextValue::String(s.as_str().into()),
        Value::Array(_) => ContextValue::List(texts(Some(value))),
        _ => return None,
    })
}

fn timestamp_format(value: &Value) -> Option<TimestampFormat> {
    match value.get("timestampFormat")?.as_str()? {
        "iso8601" => Some(TimestampFormat::Iso8601),
        "rfc822" => Some(TimestampFormat::Rfc822),
        "unixTimestamp" | "unixTimestampInSeconds" => Some(TimestampFormat::UnixTimestamp),
        _ => None,
    }
}

/// Written as an object, or as the bare URI.
fn xml_namespace(value: &Value) -> Option<XmlNamespace> {
    match value.get("xmlNamespace")? {
        Value::String(uri) => Some(XmlNamespace {
            uri: uri.as_str().into(),
            prefix: None,
        }),
        object => Some(XmlNamespace {
            uri: text(object, "uri")?,
            prefix: text(object, "prefix"),
        }),
    }
}

pub(crate) fn text(value: &Value, key: &str) -> Option<Box<str>> {
    value.get(key)?.as_str().map(Into::into)
}

/// The strings of a list, or one string as a list of itself.
pub(crate) fn texts(value: Option<&Value>) -> Vec<Box<str>> {
    match value {
        Some(Value::String(one)) => vec![one.as_str().into()],
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|v| v.as_str().map(Into::into))
            .collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn entries<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}
