//! HTTP bindings: rest-json and rest-xml.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>,
//! <https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html>

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use stanch_models::{
    Location, Member, Operation, Protocol, Service, ShapeKind, Structure, XmlNamespace,
};

use super::{
    HttpRequest, HttpResponse, Parsed, Place, Problem, array, blob_bytes, encode_base64, json,
    members, object, outside_body, percent_encode, scalar_text, scalar_value, time,
    unknown_union_member, xml,
};

pub(super) fn request(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<HttpRequest, Problem> {
    let mut request = HttpRequest {
        method: operation.method.to_string(),
        ..HttpRequest::default()
    };
    let mut path = operation.uri.to_string();
    let Some(shape) = operation.input else {
        request.uri = path;
        return Ok(request);
    };
    let top = Place::top(service, shape);
    let Some(structure) = top.structure() else {
        return Err(Problem::new("the input of the model is not a structure"));
    };
    let payload = structure.payload_member();
    let mut query: Vec<(String, String)> = Vec::new();
    let mut free_query: Vec<(String, String)> = Vec::new();
    let mut body = Map::new();
    for entry in members(top, structure, input) {
        let (member, place, value) = entry?;
        let under = |problem: Problem| problem.under(&member.name);
        match member.location {
            Location::Uri => put_label(&mut path, place, member, value).map_err(under)?,
            Location::QueryString if matches!(place.kind(), ShapeKind::Map { .. }) => {
                put_free_query(&mut free_query, place, value).map_err(under)?;
            }
            Location::QueryString => put_query(&mut query, place, member, value).map_err(under)?,
            Location::Header => {
                if let Some(text) = header_text(place, value).map_err(under)? {
                    request.set_header(member.wire_name(), text);
                }
            }
            Location::Headers => {
                let prefix = member.location_name.as_deref().unwrap_or_default();
                for (name, value) in object(value).map_err(under)? {
                    let value = value
                        .as_str()
                        .ok_or_else(|| under(Problem::new("must be text").under(name)))?;
                    request.set_header(&format!("{prefix}{name}"), value);
                }
            }
            Location::Body | Location::StatusCode => {
                body.insert(member.name.to_string(), value.clone());
            }
        }
    }
    if let Some(label) = first_label(&path) {
        return Err(
            Problem::new("is part of the path and must not be absent or empty").under(label),
        );
    }
    // Parameters with members of their own win over those of a map.
    free_query.retain(|(name, _)| query.iter().all(|(taken, _)| taken != name));
    query.append(&mut free_query);
    request.uri = with_query(path, &query);
    let json = service.protocol == Protocol::RestJson;
    match payload {
        Some(member) => {
            let place = top.to(member);
            let value = input.get(&*member.name).filter(|value| !value.is_null());
            let under = |problem: Problem| problem.under(&member.name);
            match (place.kind(), value) {
                (ShapeKind::Blob { .. }, Some(value)) => {
                    request.body = blob_bytes(value).map_err(under)?;
                    content_type(&mut request, "application/octet-stream");
                }
                (ShapeKind::String { .. }, Some(value)) => {
                    request.body = scalar_text(place, value, time::Format::Iso8601)
                        .map_err(under)?
                        .into_bytes();
                    content_type(&mut request, "text/plain");
                }
                (ShapeKind::Blob { .. } | ShapeKind::String { .. }, None) => {}
                (ShapeKind::Structure(events), _) if events.event_stream => {
                    return Err(under(Problem::new("event streams cannot be sent")));
                }
                (_, Some(value)) if json => {
                    request.body = json::value_out(place, value)
                        .map_err(under)?
                        .to_string()
                        .into_bytes();
                    content_type(&mut request, "application/json");
                }
                (_, Some(value)) => {
                    let name = member
                        .location_name
                        .as_deref()
                        .unwrap_or(&service.shape(member.shape).name);
                    let mut out = String::new();
                    write(&mut out, place, name, value).map_err(under)?;
                    request.body = out.into_bytes();
                    content_type(&mut request, "application/xml");
                }
                (_, None) if json => {
                    request.body = b"{}".to_vec();
                    content_type(&mut request, "application/json");
                }
                (_, None) => {}
            }
        }
        None if json => {
            if structure
                .members
                .iter()
                .any(|m| m.location == Location::Body)
            {
                request.body = Value::Object(json::structure_out(top, &body)?)
                    .to_string()
                    .into_bytes();
                content_type(&mut request, "application/json");
            }
        }
        None if body.is_empty() => {}
        None => {
            let name = operation
                .input_location_name
                .as_deref()
                .unwrap_or(&service.shape(shape).name);
            let namespace = operation.input_xml_namespace.as_ref();
            let mut out = String::new();
            write_structure(&mut out, top, structure, name, namespace, &body)?;
            request.body = out.into_bytes();
            content_type(&mut request, "application/xml");
        }
    }
    Ok(request)
}

fn content_type(request: &mut HttpRequest, value: &str) {
    if request.header("Content-Type").is_none() {
        request.set_header("Content-Type", value);
    }
}

/// Fills `{Name}` or `{Name+}` of the path. An empty label would address another resource (the
/// bucket list instead of a bucket), and is refused.
fn put_label(
    path: &mut String,
    place: Place<'_>,
    member: &Member,
    value: &Value,
) -> Result<(), Problem> {
    let text = scalar_text(place, value, time::Format::Iso8601)?;
    if text.is_empty() {
        return Err(Problem::new(
            "is part of the path and must not be absent or empty",
        ));
    }
    let name = member.wire_name();
    *path = path
        .replace(&format!("{{{name}+}}"), &percent_encode(&text, b"/"))
        .replace(&format!("{{{name}}}"), &percent_encode(&text, b""));
    Ok(())
}

/// The first label that nothing was put in.
fn first_label(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once('{')?;
    let (name, _) = rest.split_once('}')?;
    Some(name.trim_end_matches('+'))
}

fn put_query(
    query: &mut Vec<(String, String)>,
    place: Place<'_>,
    member: &Member,
    value: &Value,
) -> Result<(), Problem> {
    let text = |place, value: &Value| scalar_text(place, value, time::Format::Iso8601);
    let name = member.wire_name();
    match place.kind() {
        ShapeKind::List { member: item, .. } => {
            for value in array(value)?.iter().filter(|value| !value.is_null()) {
                query.push((name.to_owned(), text(place.to(item), value)?));
            }
        }
        _ => query.push((name.to_owned(), text(place, value)?)),
    }
    Ok(())
}

/// A map of parameters, each with one value or several.
fn put_free_query(
    query: &mut Vec<(String, String)>,
    place: Place<'_>,
    value: &Value,
) -> Result<(), Problem> {
    let ShapeKind::Map { value: member, .. } = place.kind() else {
        return Ok(());
    };
    let place = match place.to(member).kind() {
        ShapeKind::List { member, .. } => place.to(member),
        _ => place.to(member),
    };
    for (name, value) in object(value)? {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = scalar_text(place, value, time::Format::Iso8601)?;
            query.push((name.clone(), text));
        }
    }
    Ok(())
}

fn with_query(mut path: String, query: &[(String, String)]) -> String {
    for (name, value) in query {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&percent_encode(name, b""));
        path.push('=');
        path.push_str(&percent_encode(value, b""));
    }
    path
}

/// A header's value; none for an empty list.
fn header_text(place: Place<'_>, value: &Value) -> Result<Option<String>, Problem> {
    if place.json_value() {
        let text = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        return Ok(Some(encode_base64(text.as_bytes())));
    }
    let ShapeKind::List { member, .. } = place.kind() else {
        return scalar_text(place, value, time::Format::Rfc822).map(Some);
    };
    let place = place.to(member);
    let mut items = Vec::new();
    for value in array(value)?.iter().filter(|value| !value.is_null()) {
        let text = scalar_text(place, value, time::Format::Rfc822)?;
        let quote = matches!(place.kind(), ShapeKind::String { .. }) && text.contains(['"', ',']);
        items.push(if quote {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            text
        });
    }
    Ok((!items.is_empty()).then(|| items.join(", ")))
}

/// Writes a value as the element `name`, or as several of them where it is flattened.
fn write(out: &mut String, place: Place<'_>, name: &str, value: &Value) -> Result<(), Problem> {
    let namespace = place.member.and_then(|m| m.xml_namespace.as_deref());
    let attribute = namespace.map(declaration);
    let attributes: Vec<_> = attribute.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let mut result = Ok(());
    match place.kind() {
        ShapeKind::Structure(structure) => {
            return write_structure(out, place, structure, name, namespace, object(value)?);
        }
        ShapeKind::List { member, .. } => {
            let items = array(value)?;
            let item_name = if place.flattened() {
                name
            } else {
                member.location_name.as_deref().unwrap_or("member")
            };
            let write_all = |out: &mut String| {
                for (i, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    write(out, place.to(member), item_name, item)
                        .map_err(|problem| problem.under(&format!("[{i}]")))?;
                }
                Ok(())
            };
            if place.flattened() {
                return write_all(out);
            }
            xml::write_element(out, name, &attributes, |out| result = write_all(out));
        }
        ShapeKind::Map {
            key, value: item, ..
        } => {
            let entries = object(value)?;
            let entry_name = if place.flattened() { name } else { "entry" };
            let write_all = |out: &mut String| {
                for (entry, value) in entries {
                    let mut result = Ok(());
                    xml::write_element(out, entry_name, &[], |out| {
                        let key_name = key.location_name.as_deref().unwrap_or("key");
                        let value_name = item.location_name.as_deref().unwrap_or("value");
                        result = write(out, place.to(key), key_name, &Value::from(entry.as_str()))
                            .and_then(|()| write(out, place.to(item), value_name, value));
                    });
                    result.map_err(|problem| problem.under(entry))?;
                }
                Ok(())
            };
            if place.flattened() {
                return write_all(out);
            }
            xml::write_element(out, name, &attributes, |out| result = write_all(out));
        }
        _ => {
            let text = scalar_text(place, value, time::Format::Iso8601)?;
            xml::write_element(out, name, &attributes, |out| xml::escape_into(out, &text));
        }
    }
    result
}

fn write_structure(
    out: &mut String,
    place: Place<'_>,
    structure: &Structure,
    name: &str,
    namespace: Option<&XmlNamespace>,
    value: &Map<String, Value>,
) -> Result<(), Problem> {
    let mut own = Vec::new();
    own.extend(namespace.map(|n| {
        let (key, uri) = declaration(n);
        (key, uri.to_owned())
    }));
    let mut inner = String::new();
    // In the model's order: some services validate against a schema with sequences.
    let entries = members(place, structure, value).collect::<Result<Vec<_>, _>>()?;
    for declared in &structure.members {
        for (member, place, value) in entries.iter().filter(|(m, ..)| m.name == declared.name) {
            let under = |problem: Problem| problem.under(&member.name);
            if member.xml_attribute {
                let text = scalar_text(*place, value, time::Format::Iso8601).map_err(under)?;
                own.push((member.wire_name().to_owned(), text));
            } else {
                write(&mut inner, *place, member.wire_name(), value).map_err(under)?;
            }
        }
    }
    let attributes: Vec<_> = own.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    xml::write_element(out, name, &attributes, |out| out.push_str(&inner));
    Ok(())
}

fn declaration(namespace: &XmlNamespace) -> (String, &str) {
    let name = match &namespace.prefix {
        Some(prefix) => format!("xmlns:{prefix}"),
        None => "xmlns".to_owned(),
    };
    (name, &namespace.uri)
}

pub(super) fn response(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> Parsed {
    let mut output = Map::new();
    let Some(shape) = operation.output else {
        return Ok((output, None));
    };
    let top = Place::top(service, shape);
    let Some(structure) = top.structure() else {
        return Err(Problem::new("the output of the model is not a structure"));
    };
    for member in &structure.members {
        let under = |problem: Problem| problem.under(&member.name);
        if let Some(value) = bound_value(top.to(member), member, response).map_err(under)? {
            output.insert(member.name.to_string(), value);
        }
    }
    let json = service.protocol == Protocol::RestJson;
    match structure.payload_member() {
        Some(member) => {
            let place = top.to(member);
            let under = |problem: Problem| problem.under(&member.name);
            let value = match place.kind() {
                ShapeKind::Blob { .. } => Value::String(encode_base64(&response.body)),
                ShapeKind::String { .. } => std::str::from_utf8(&response.body)
                    .map(Value::from)
                    .map_err(|_| under(Problem::new("is not UTF-8")))?,
                ShapeKind::Structure(events) if events.event_stream => {
                    return Err(under(Problem::new("event streams cannot be read")));
                }
                _ if response.body.is_empty() => return Ok((output, None)),
                _ if json => json::value_in(place, &json::parse(&response.body)?).map_err(under)?,
                _ => xml_value(place, &[&parse_xml(&response.body)?]).map_err(under)?,
            };
            output.insert(member.name.to_string(), value);
        }
        None if response.body.is_empty()
            || structure.members.iter().all(|m| outside_body(m.location)) => {}
        None if json => {
            let body = json::parse(&response.body)?;
            for (name, value) in json::structure_in(top, object(&body)?)? {
                output.entry(name).or_insert(value);
            }
        }
        None => {
            for (name, value) in xml_structure(top, &parse_xml(&response.body)?)? {
                output.entry(name).or_insert(value);
            }
        }
    }
    Ok((output, None))
}

fn parse_xml(body: &[u8]) -> Result<xml::Element<'_>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::new("not UTF-8"))?;
    xml::parse(text).map_err(|error| Problem::new(format!("not XML: {error}")))
}

/// The value of a member that is bound to the status or to headers.
fn bound_value(
    place: Place<'_>,
    member: &Member,
    response: &HttpResponse,
) -> Result<Option<Value>, Problem> {
    Ok(match member.location {
        Location::StatusCode => Some(Value::from(response.status)),
        Location::Headers => {
            let prefix = member.location_name.as_deref().unwrap_or_default();
            let mut entries = Map::new();
            for (name, value) in &response.headers {
                if let Some((start, rest)) = name.split_at_checked(prefix.len())
                    && start.eq_ignore_ascii_case(prefix)
                {
                    entries.insert(rest.to_owned(), Value::from(value.as_str()));
                }
            }
            Some(Value::Object(entries))
        }
        Location::Header => match response.header(member.wire_name()) {
            None => None,
            Some(text) if place.json_value() => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|_| Problem::new("is not base64"))?;
                Some(json::parse(&bytes)?)
            }
            Some(text) => match place.kind() {
                ShapeKind::List { member, .. } => {
                    let place = place.to(member);
                    let dates = matches!(place.kind(), ShapeKind::Timestamp(_))
                        && matches!(place.timestamp_format(), None | Some(time::Format::Rfc822));
                    split_header(text, dates)
                        .iter()
                        .map(|item| scalar_value(place, item))
                        .collect::<Result<Vec<_>, _>>()
                        .map(Value::Array)
                        .map(Some)?
                }
                // S3's `Expires` may hold anything.
                ShapeKind::Timestamp(_) => scalar_value(place, text).ok(),
                _ => Some(scalar_value(place, text)?),
            },
        },
        _ => None,
    })
}

/// The items of a header with a list. HTTP dates have a comma of their own.
fn split_header(text: &str, dates: bool) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut quoted, mut escaped, mut commas) = (false, false, 0);
    for c in text.chars() {
        match c {
            _ if escaped => {
                item.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                commas += 1;
                if dates && commas % 2 == 1 {
                    item.push(c);
                } else {
                    items.push(item.trim().to_owned());
                    item.clear();
                }
            }
            c => item.push(c),
        }
    }
    items.push(item.trim().to_owned());
    items
}

/// A structure from the children and attributes of an element.
pub(super) fn xml_structure(
    place: Place<'_>,
    element: &xml::Element<'_>,
) -> Result<Map<String, Value>, Problem> {
    let mut out = Map::new();
    let Some(structure) = place.structure() else {
        return Ok(out);
    };
    if structure.union
        && let Some(child) = element.children.first()
        && !structure
            .members
            .iter()
            .any(|m| m.wire_name() == child.name)
        && let Value::Object(unknown) = unknown_union_member(child.name)
    {
        return Ok(unknown);
    }
    for member in structure
        .members
        .iter()
        .filter(|m| !outside_body(m.location))
    {
        let place = place.to(member);
        if member.xml_attribute {
            let attribute = element
                .attributes
                .iter()
                .find(|(name, _)| name == member.wire_name());
            if let Some((_, text)) = attribute {
                out.insert(member.name.to_string(), scalar_value(place, text)?);
            }
            continue;
        }
        let named = |name: &str| -> Vec<_> {
            element
                .children
                .iter()
                .filter(|child| child.name == name)
                .collect()
        };
        // A flattened list may stand under the name of its elements or under its own.
        let mut nodes = match place.kind() {
            ShapeKind::List { member, .. } if place.flattened() => member
                .location_name
                .as_deref()
                .map(named)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if nodes.is_empty() {
            nodes = named(member.wire_name());
        }
        if !nodes.is_empty() {
            let value = xml_value(place, &nodes).map_err(|problem| problem.under(&member.name))?;
            out.insert(member.name.to_string(), value);
        }
    }
    Ok(out)
}

/// A value from its elements: more than one only where it is flattened.
fn xml_value(place: Place<'_>, nodes: &[&xml::Element<'_>]) -> Result<Value, Problem> {
    let Some(first) = nodes.first() else {
        return Ok(Value::Null);
    };
    Ok(match place.kind() {
        ShapeKind::Structure(_) => Value::Object(xml_structure(place, first)?),
        ShapeKind::List { member, .. } => {
            let items: Vec<&xml::Element<'_>> = if place.flattened() {
                nodes.to_vec()
            } else {
                first.children.iter().collect()
            };
            let mut out = Vec::new();
            for (i, item) in items.iter().enumerate() {
                out.push(
                    xml_value(place.to(member), std::slice::from_ref(item))
                        .map_err(|problem| problem.under(&format!("[{i}]")))?,
                );
            }
            Value::Array(out)
        }
        ShapeKind::Map { key, value, .. } => {
            let entries: Vec<&xml::Element<'_>> = if place.flattened() {
                nodes.to_vec()
            } else {
                first.children.iter().collect()
            };
            let mut out = Map::new();
            for entry in entries {
                let name = entry
                    .child_text(key.location_name.as_deref().unwrap_or("key"))
                    .ok_or_else(|| Problem::new("a map's entry without a key"))?;
                let item = entry.child(value.location_name.as_deref().unwrap_or("value"));
                if let Some(item) = item {
                    let item = xml_value(place.to(value), &[item])
                        .map_err(|problem| problem.under(name))?;
                    out.insert(name.to_owned(), item);
                }
            }
            Value::Object(out)
        }
        _ => scalar_value(place, &first.text)?,
    })
}
