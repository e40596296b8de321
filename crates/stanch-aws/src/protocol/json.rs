//! AWS JSON 1.0 and 1.1, the JSON bodies of rest-json, and RPC v2 CBOR.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>,
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use aws_smithy_cbor::Encoder;
use serde_json::{Map, Value};
use stanch_models::{Operation, Service, ShapeKind};

use super::{
    HttpRequest, HttpResponse, Parsed, Place, Problem, array, blob_bytes, cbor, encode_base64,
    excerpt, members, object, scalar_value, time, timestamp, unknown_union_member,
};

pub(super) fn request(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<HttpRequest, Problem> {
    let body = match operation.input {
        Some(shape) => structure_out(Place::top(service, shape), input)?,
        None => Map::new(),
    };
    let target = service.target_prefix.as_deref().unwrap_or(&service.name);
    let version = service.json_version.as_deref().unwrap_or("1.0");
    let mut request = HttpRequest {
        method: operation.method.to_string(),
        uri: operation.uri.to_string(),
        body: Value::Object(body).to_string().into_bytes(),
        ..HttpRequest::default()
    };
    request.set_header("X-Amz-Target", format!("{target}.{}", operation.name));
    request.set_header("Content-Type", format!("application/x-amz-json-{version}"));
    if service.query_compatible {
        request.set_header("x-amzn-query-mode", "true");
    }
    Ok(request)
}

pub(super) fn response(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> Parsed {
    let Some(shape) = operation.output else {
        return Ok((Map::new(), None));
    };
    if response.body.is_empty() {
        return Ok((Map::new(), None));
    }
    let body = parse(&response.body)?;
    let output = structure_in(Place::top(service, shape), object(&body)?)?;
    Ok((output, None))
}

/// Reads a JSON body.
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(format!(
            "not JSON: {error}: `{}`",
            excerpt(&String::from_utf8_lossy(body))
        ))
    })
}

/// A structure of the input under its wire names. Members outside the body are left out.
pub(super) fn structure_out(
    place: Place<'_>,
    value: &Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    let mut out = Map::new();
    let Some(structure) = place.structure() else {
        return Ok(out);
    };
    for entry in members(place, structure, value) {
        let (member, place, value) = entry?;
        let value = value_out(place, value).map_err(|problem| problem.under(&member.name))?;
        out.insert(member.wire_name().to_owned(), value);
    }
    Ok(out)
}

pub(super) fn value_out(place: Place<'_>, value: &Value) -> Result<Value, Problem> {
    Ok(match place.kind() {
        ShapeKind::Structure(structure) if structure.document => value.clone(),
        ShapeKind::Structure(_) => Value::Object(structure_out(place, object(value)?)?),
        ShapeKind::List { member, .. } => {
            let mut items = Vec::new();
            for (i, item) in array(value)?.iter().enumerate() {
                items.push(if item.is_null() {
                    Value::Null
                } else {
                    value_out(place.to(member), item)
                        .map_err(|problem| problem.under(&format!("[{i}]")))?
                });
            }
            Value::Array(items)
        }
        ShapeKind::Map { value: member, .. } => {
            let mut entries = Map::new();
            for (name, item) in object(value)? {
                let item = if item.is_null() {
                    Value::Null
                } else {
                    value_out(place.to(member), item).map_err(|problem| problem.under(name))?
                };
                entries.insert(name.clone(), item);
            }
            Value::Object(entries)
        }
        ShapeKind::Timestamp(_) => place
            .timestamp_format()
            .unwrap_or(time::Format::Unix)
            .json(timestamp(value)?),
        ShapeKind::Blob { .. } => Value::String(encode_base64(&blob_bytes(value)?)),
        ShapeKind::String { .. } if place.json_value() && !value.is_string() => {
            Value::String(value.to_string())
        }
        _ if value.is_object() || value.is_array() => {
            return Err(Problem::new("must be a plain value"));
        }
        _ => value.clone(),
    })
}

/// A structure of a response under its member names.
pub(super) fn structure_in(
    place: Place<'_>,
    value: &Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    let mut out = Map::new();
    let Some(structure) = place.structure() else {
        return Ok(out);
    };
    if structure.union
        && let Some(name) = value
            .iter()
            .find(|(name, value)| !value.is_null() && *name != "__type")
            .map(|(name, _)| name)
        && !structure.members.iter().any(|m| m.wire_name() == name)
        && let Value::Object(unknown) = unknown_union_member(name)
    {
        return Ok(unknown);
    }
    for member in &structure.members {
        if let Some(value) = value
            .get(member.wire_name())
            .filter(|value| !value.is_null())
        {
            let value =
                value_in(place.to(member), value).map_err(|problem| problem.under(&member.name))?;
            out.insert(member.name.to_string(), value);
        }
    }
    Ok(out)
}

pub(super) fn value_in(place: Place<'_>, value: &Value) -> Result<Value, Problem> {
    Ok(match (place.kind(), value) {
        (_, Value::Null) => Value::Null,
        (ShapeKind::Structure(structure), _) if structure.document => value.clone(),
        (ShapeKind::Structure(_), _) => Value::Object(structure_in(place, object(value)?)?),
        (ShapeKind::List { member, .. }, _) => {
            let mut items = Vec::new();
            for (i, item) in array(value)?.iter().enumerate() {
                items.push(
                    value_in(place.to(member), item)
                        .map_err(|problem| problem.under(&format!("[{i}]")))?,
                );
            }
            Value::Array(items)
        }
        (
            ShapeKind::Map {
                value: member,
                sparse,
                ..
            },
            _,
        ) => {
            let mut entries = Map::new();
            for (name, item) in object(value)? {
                if item.is_null() && !sparse {
                    continue;
                }
                let item =
                    value_in(place.to(member), item).map_err(|problem| problem.under(name))?;
                entries.insert(name.clone(), item);
            }
            Value::Object(entries)
        }
        (ShapeKind::Timestamp(_), _) => Value::String(timestamp(value)?.to_string()),
        (ShapeKind::String { .. } | ShapeKind::Blob { .. }, Value::String(_)) => value.clone(),
        // Services (and emulators) that write a number or a boolean as text.
        (
            ShapeKind::Boolean
            | ShapeKind::Integer
            | ShapeKind::Long
            | ShapeKind::Float
            | ShapeKind::Double,
            Value::String(text),
        ) => scalar_value(place, text)?,
        (ShapeKind::Float | ShapeKind::Double, Value::Number(number)) => number
            .as_f64()
            .map_or_else(|| value.clone(), super::float_value),
        (_, Value::Object(_) | Value::Array(_)) => {
            return Err(Problem::new("structure where the model has a plain value"));
        }
        _ => value.clone(),
    })
}

pub(super) fn cbor_request(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<HttpRequest, Problem> {
    let target = service.target_prefix.as_deref().unwrap_or(&service.name);
    let mut request = HttpRequest {
        method: "POST".to_owned(),
        uri: format!("/service/{target}/operation/{}", operation.name),
        ..HttpRequest::default()
    };
    request.set_header("smithy-protocol", "rpc-v2-cbor");
    request.set_header("Accept", "application/cbor");
    if service.query_compatible {
        request.set_header("x-amzn-query-mode", "true");
    }
    if let Some(shape) = operation.input {
        let mut out = Encoder::new(Vec::new());
        cbor_structure_out(Place::top(service, shape), input, &mut out)?;
        request.body = out.into_writer();
        request.set_header("Content-Type", "application/cbor");
    }
    Ok(request)
}

fn cbor_structure_out(
    place: Place<'_>,
    value: &Map<String, Value>,
    out: &mut Encoder,
) -> Result<(), Problem> {
    let Some(structure) = place.structure() else {
        out.map(0);
        return Ok(());
    };
    out.map(value.values().filter(|value| !value.is_null()).count());
    for entry in members(place, structure, value) {
        let (member, place, value) = entry?;
        out.str(member.wire_name());
        cbor_out(place, value, out).map_err(|problem| problem.under(&member.name))?;
    }
    Ok(())
}

fn cbor_out(place: Place<'_>, value: &Value, out: &mut Encoder) -> Result<(), Problem> {
    match (place.kind(), value) {
        (_, Value::Null) => {
            out.null();
        }
        (ShapeKind::Structure(_), _) => return cbor_structure_out(place, object(value)?, out),
        (ShapeKind::List { member, .. }, _) => {
            let items = array(value)?;
            out.array(items.len());
            for (i, item) in items.iter().enumerate() {
                cbor_out(place.to(member), item, out)
                    .map_err(|problem| problem.under(&format!("[{i}]")))?;
            }
        }
        (ShapeKind::Map { value: member, .. }, _) => {
            let entries = object(value)?;
            out.map(entries.len());
            for (name, item) in entries {
                out.str(name);
                cbor_out(place.to(member), item, out).map_err(|problem| problem.under(name))?;
            }
        }
        (ShapeKind::Timestamp(_), _) => {
            let time = timestamp(value)?;
            out.timestamp(
                &aws_smithy_types::DateTime::from_nanos(time.as_nanosecond())
                    .map_err(|error| Problem::new(error.to_string()))?,
            );
        }
        (ShapeKind::Blob { .. }, _) => {
            out.blob_bytes(&blob_bytes(value)?);
        }
        (kind @ (ShapeKind::Float | ShapeKind::Double), Value::String(text)) => {
            let number: f64 = match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return Err(Problem::new("must be a number")),
            };
            cbor::write_float(out, number, matches!(kind, ShapeKind::Float));
        }
        (kind, Value::Number(number)) => {
            let float = matches!(kind, ShapeKind::Float);
            match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) if !float && !matches!(kind, ShapeKind::Double) => {
                    out.long(integer);
                }
                (_, Some(number)) => cbor::write_float(out, number, float),
                _ => return Err(Problem::new("is too large a number")),
            }
        }
        (_, Value::String(text)) => {
            out.str(text);
        }
        (_, Value::Bool(value)) => {
            out.boolean(*value);
        }
        _ => return Err(Problem::new("must be a plain value")),
    }
    Ok(())
}

pub(super) fn cbor_response(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> Parsed {
    if response.header("smithy-protocol") != Some("rpc-v2-cbor") {
        return Err(Problem::new("no `smithy-protocol: rpc-v2-cbor` header"));
    }
    let Some(shape) = operation.output else {
        return Ok((Map::new(), None));
    };
    if response.body.is_empty() {
        return Ok((Map::new(), None));
    }
    let body =
        cbor::read(&response.body).map_err(|error| Problem::new(format!("not CBOR: {error}")))?;
    let output = structure_in(Place::top(service, shape), object(&body)?)?;
    Ok((output, None))
}
