//! The query protocol and EC2's dialect of it: a form in, XML out.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>,
//! <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>

use serde_json::{Map, Value};
use stanch_models::{Member, Operation, Protocol, Service, ShapeKind};

use super::{
    HttpRequest, HttpResponse, Parsed, Place, Problem, array, members, object, percent_encode,
    rest::xml_structure, scalar_text, time, xml,
};

pub(super) fn request(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<HttpRequest, Problem> {
    let mut form = Form {
        ec2: service.protocol == Protocol::Ec2,
        text: String::new(),
    };
    form.push("Action", &operation.name);
    form.push("Version", &service.api_version);
    if let Some(shape) = operation.input {
        form.structure(Place::top(service, shape), input, "")?;
    }
    Ok(HttpRequest {
        method: operation.method.to_string(),
        uri: operation.uri.to_string(),
        headers: vec![(
            "Content-Type".to_owned(),
            "application/x-www-form-urlencoded".to_owned(),
        )],
        body: form.text.into_bytes(),
        ..HttpRequest::default()
    })
}

struct Form {
    ec2: bool,
    text: String,
}

impl Form {
    fn push(&mut self, key: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.push_str(&percent_encode(key, b""));
        self.text.push('=');
        self.text.push_str(&percent_encode(value, b""));
    }

    fn name(&self, member: &Member) -> String {
        match (&member.query_name, &member.location_name) {
            (Some(name), _) if self.ec2 => name.to_string(),
            (_, Some(name)) if self.ec2 => {
                let mut chars = name.chars();
                chars.next().map_or_else(String::new, |first| {
                    first.to_uppercase().chain(chars).collect()
                })
            }
            _ => member.wire_name().to_owned(),
        }
    }

    fn structure(
        &mut self,
        place: Place<'_>,
        value: &Map<String, Value>,
        prefix: &str,
    ) -> Result<(), Problem> {
        let Some(structure) = place.structure() else {
            return Ok(());
        };
        for entry in members(place, structure, value) {
            let (member, place, value) = entry?;
            let mut key = self.name(member);
            if !prefix.is_empty() {
                key = format!("{prefix}.{key}");
            }
            self.value(place, value, &key)
                .map_err(|problem| problem.under(&member.name))?;
        }
        Ok(())
    }

    fn value(&mut self, place: Place<'_>, value: &Value, key: &str) -> Result<(), Problem> {
        match place.kind() {
            ShapeKind::Structure(_) => self.structure(place, object(value)?, key),
            ShapeKind::List { member, .. } => {
                let items = array(value)?;
                if items.is_empty() && !self.ec2 {
                    self.push(key, "");
                }
                let prefix = match (&member.location_name, place.flattened()) {
                    _ if self.ec2 => key.to_owned(),
                    (None, true) => key.to_owned(),
                    // The element's name stands in for the list's own.
                    (Some(name), true) => match key.rsplit_once('.') {
                        Some((parent, _)) => format!("{parent}.{name}"),
                        None => name.to_string(),
                    },
                    (name, false) => format!("{key}.{}", name.as_deref().unwrap_or("member")),
                };
                for (i, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    self.value(place.to(member), item, &format!("{prefix}.{}", i + 1))
                        .map_err(|problem| problem.under(&format!("[{i}]")))?;
                }
                Ok(())
            }
            ShapeKind::Map {
                key: key_member,
                value: value_member,
                ..
            } => {
                let entry = if place.flattened() { "" } else { ".entry" };
                let key_name = key_member.location_name.as_deref().unwrap_or("key");
                let value_name = value_member.location_name.as_deref().unwrap_or("value");
                for (i, (name, item)) in object(value)?.iter().enumerate() {
                    let n = i + 1;
                    self.push(&format!("{key}{entry}.{n}.{key_name}"), name);
                    self.value(
                        place.to(value_member),
                        item,
                        &format!("{key}{entry}.{n}.{value_name}"),
                    )
                    .map_err(|problem| problem.under(name))?;
                }
                Ok(())
            }
            _ => {
                let text = scalar_text(place, value, time::Format::Iso8601)?;
                self.push(key, &text);
                Ok(())
            }
        }
    }
}

pub(super) fn response(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> Parsed {
    let text = std::str::from_utf8(&response.body).map_err(|_| Problem::new("not UTF-8"))?;
    let shape = operation.output;
    if text.trim().is_empty() && shape.is_none_or(|id| service.members(id).is_empty()) {
        return Ok((Map::new(), None));
    }
    let root = xml::parse(text).map_err(|error| Problem::new(format!("not XML: {error}")))?;
    let request_id = root
        .child("ResponseMetadata")
        .and_then(|metadata| metadata.child_text("RequestId"))
        .or_else(|| root.child_text("requestId"))
        .or_else(|| root.child_text("RequestId"))
        .map(str::to_owned);
    let Some(shape) = shape else {
        return Ok((Map::new(), request_id));
    };
    let result = match &operation.result_wrapper {
        None => &root,
        Some(wrapper) => match root.child(wrapper) {
            Some(result) => result,
            None if service.members(shape).is_empty() => return Ok((Map::new(), request_id)),
            None => {
                return Err(Problem::new(format!("`{}` has no `{wrapper}`", root.name)));
            }
        },
    };
    let output = xml_structure(Place::top(service, shape), result)?;
    Ok((output, request_id))
}
