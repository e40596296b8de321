//! Cases in the format of botocore's protocol tests: a model's metadata and shapes, an operation,
//! and what its request looks like (`serialized`) or what its response means (`result`, `error`).
//!
//! Our own are in `tests/protocols`. With `STANCH_PROTOCOL_CASES` set to the folder
//! `tests/unit/protocols` of botocore's source archive, those run as well.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use stanch_aws::protocol::{self, HttpResponse};
use stanch_models::{Operation, Service, ShapeId, ShapeKind};

#[test]
fn our_own_cases() {
    let report = run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocols"));
    assert!(report.failures.is_empty(), "{}", report.text());
    assert!(report.passed >= 80, "{}", report.text());
}

#[test]
fn botocores_cases() {
    #[expect(
        clippy::disallowed_methods,
        reason = "an optional folder of a developer's"
    )]
    let Ok(folder) = std::env::var("STANCH_PROTOCOL_CASES") else {
        return;
    };
    let report = run(Path::new(&folder));
    println!("{}", report.text());
    assert!(report.failures.is_empty(), "{}", report.text());
}

#[derive(Default)]
struct Report {
    passed: usize,
    failures: BTreeMap<String, String>,
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("{} passed, {} failed\n", self.passed, self.failures.len());
        for (name, why) in &self.failures {
            let _ = writeln!(text, "{name}: {why}");
        }
        text
    }
}

/// Cases of botocore's that it does not pass itself (`protocol-tests-ignore-list.json`), and those
/// that we decide otherwise, with the reason.
const OTHERWISE: [(&str, &str); 1] = [(
    "RpcV2CborPayloadWithUnsetUnion",
    "the protocol says that a response without the `smithy-protocol` header is malformed",
)];

fn run(folder: &Path) -> Report {
    let mut report = Report::default();
    let ignored = ignored(folder);
    for direction in ["input", "output"] {
        let mut files: Vec<_> = fs::read_dir(folder.join(direction))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let suites: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            for (number, suite) in suites.iter().enumerate() {
                for (index, case) in suite["cases"].as_array().unwrap().iter().enumerate() {
                    let id = case["id"].as_str().unwrap_or("unnamed");
                    let stem = file.file_stem().unwrap().to_string_lossy();
                    let name = format!("{direction}/{stem}/{number}.{index} {id}");
                    let outcome = if direction == "input" {
                        check_request(suite, case)
                    } else {
                        check_response(suite, case)
                    };
                    let exempt = ignored.iter().any(|known| known == id)
                        || ignored
                            .iter()
                            .any(|known| suite["description"] == known.as_str())
                        || OTHERWISE.iter().any(|(known, _)| *known == id);
                    match outcome {
                        Ok(()) => report.passed += 1,
                        Err(_) if exempt => {}
                        Err(why) => {
                            report.failures.insert(name, why);
                        }
                    }
                }
            }
        }
    }
    report
}

fn ignored(folder: &Path) -> Vec<String> {
    let Ok(text) = fs::read(folder.join("protocol-tests-ignore-list.json")) else {
        return Vec::new();
    };
    let list: Value = serde_json::from_slice(&text).unwrap();
    let mut names = Vec::new();
    fn collect(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::String(name) => names.push(name.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
            Value::Object(members) => members.values().for_each(|item| collect(item, names)),
            _ => {}
        }
    }
    collect(&list, &mut names);
    names
}

fn service(suite: &Value, case: &Value) -> (Service, String) {
    let mut operation = case["given"].clone();
    let name = operation["name"].as_str().unwrap_or("Operation").to_owned();
    let metadata = &suite["metadata"];
    let query = metadata["protocol"] == "query";
    // The archive's models leave the wrapper out; the real ones have it.
    let members = operation["output"]["shape"]
        .as_str()
        .and_then(|shape| suite["shapes"][shape]["members"].as_object());
    if query && members.is_some_and(|members| !members.is_empty()) {
        operation["output"]["resultWrapper"] = json!(format!("{name}Result"));
    }
    let model = json!({
        "metadata": metadata,
        "operations": {name.clone(): operation},
        "shapes": suite["shapes"],
    });
    let service = Service::from_service_2("case", &model).unwrap();
    (service, name)
}

fn check_request(suite: &Value, case: &Value) -> Result<(), String> {
    let (service, name) = service(suite, case);
    let operation = service.operation(&name).unwrap();
    let params = match operation.input {
        Some(shape) => blobs_as_base64(&service, shape, &case["params"]),
        None => json!({}),
    };
    let want = &case["serialized"];
    let request = protocol::request(&service, operation, &params).map_err(|e| e.to_string())?;
    same("method", &json!(request.method), want.get("method"))?;
    same_uri(&request.uri, want["uri"].as_str().unwrap_or("/"))?;
    if let (Some(host), Some(endpoint)) = (want["host"].as_str(), suite["clientEndpoint"].as_str())
    {
        let base = endpoint.split("://").nth(1).unwrap().trim_end_matches('/');
        let got = format!("{}{base}", request.host_prefix.clone().unwrap_or_default());
        if !got.starts_with(host) {
            return Err(format!("host is {got}, not {host}"));
        }
    }
    for (name, value) in want["headers"].as_object().into_iter().flatten() {
        let got = request.header(name).unwrap_or("(none)");
        let list = |text: &str| text.replace(", ", ",");
        if list(got) != list(value.as_str().unwrap()) {
            return Err(format!("header {name} is {got}, not {value}"));
        }
    }
    for name in want["forbidHeaders"].as_array().into_iter().flatten() {
        if let Some(got) = request.header(name.as_str().unwrap()) {
            return Err(format!("header {name} is {got}"));
        }
    }
    match want["body"].as_str() {
        Some(body) => same_body(&service, &request.body, body),
        None => Ok(()),
    }
}

fn same_uri(got: &str, want: &str) -> Result<(), String> {
    let parts = |uri: &str| {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut query: Vec<String> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.trim_end_matches('=').to_owned())
            .collect();
        query.sort();
        (path.to_owned(), query)
    };
    if parts(got) == parts(want) {
        Ok(())
    } else {
        Err(format!("uri is {got}, not {want}"))
    }
}

fn same_body(service: &Service, got: &[u8], want: &str) -> Result<(), String> {
    use stanch_models::Protocol;
    if service.protocol == Protocol::RpcV2Cbor {
        let want = STANDARD.decode(want).unwrap();
        return same("body", &cbor(got), Some(&cbor(&want)));
    }
    let text = std::str::from_utf8(got).map_err(|_| "body is not text".to_owned())?;
    match service.protocol {
        Protocol::Query | Protocol::Ec2 => {
            let parts = |text: &str| {
                let mut parts: Vec<_> = text.split('&').map(str::to_owned).collect();
                parts.sort();
                json!(parts)
            };
            same("body", &parts(text), Some(&parts(want)))
        }
        Protocol::Json | Protocol::RestJson => {
            match (serde_json::from_str(text), serde_json::from_str(want)) {
                (Ok(got), Ok(want)) => same("body", &got, Some(&want)),
                _ => same("body", &json!(text), Some(&json!(want))),
            }
        }
        Protocol::RestXml => same("body", &xml(text), Some(&xml(want))),
        Protocol::RpcV2Cbor => Ok(()),
    }
}

fn check_response(suite: &Value, case: &Value) -> Result<(), String> {
    let (service, name) = service(suite, case);
    let operation = service.operation(&name).unwrap();
    let given = &case["response"];
    let body = match given["body"].as_str() {
        Some(body) if suite["metadata"]["protocol"] == "smithy-rpc-v2-cbor" => {
            STANDARD.decode(body).unwrap()
        }
        Some(body) => body.as_bytes().to_vec(),
        None => Vec::new(),
    };
    let headers = given["headers"].as_object().into_iter().flatten();
    let response = HttpResponse {
        status: u16::try_from(given["status_code"].as_u64().unwrap()).unwrap(),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        body,
    };
    let got = protocol::response(&service, operation, &response);
    if case.get("error").is_some() || case.get("errorCode").is_some() {
        let Err(error) = got else {
            return Err("it is not read as an error".to_owned());
        };
        same("code", &json!(error.code), case.get("errorCode"))?;
        if let Some(kind) = case.get("kind") {
            same("kind", &json!(error.kind), Some(kind))?;
        }
        if let Some(id) = case.get("requestId") {
            same("request id", &json!(error.request_id), Some(id))?;
        }
        return match case["errorMessage"].as_str() {
            None | Some("") => Ok(()),
            Some(message) => same("message", &json!(error.message), Some(&json!(message))),
        };
    }
    if case.get("unreadable").is_some() {
        let got = got.map(|reply| reply.output);
        return match got {
            Err(error) if json!(error.kind) == "unreadable" => Ok(()),
            other => Err(format!("it should be unreadable: {other:?}")),
        };
    }
    let reply = got.map_err(|error| error.to_string())?;
    let want = as_stanch_writes_it(&service, operation, &case["result"]);
    same("output", &reply.output, Some(&want))
}

/// Compared without regard to the order of members, and numbers by value.
fn same(what: &str, got: &Value, want: Option<&Value>) -> Result<(), String> {
    match want {
        None => Ok(()),
        Some(want) if equal(got, want) => Ok(()),
        Some(want) => Err(format!("{what} is {got}, not {want}")),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-6
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The archive writes blobs as plain text.
fn blobs_as_base64(service: &Service, shape: ShapeId, value: &Value) -> Value {
    rewrite(service, shape, value, false)
}

/// The archive writes blobs as plain text and timestamps as seconds.
fn as_stanch_writes_it(service: &Service, operation: &Operation, value: &Value) -> Value {
    match operation.output {
        Some(shape) => rewrite(service, shape, value, true),
        None => value.clone(),
    }
}

fn rewrite(service: &Service, shape: ShapeId, value: &Value, times: bool) -> Value {
    match (&service.shape(shape).kind, value) {
        (ShapeKind::Structure(s), Value::Object(members)) if !s.document => members
            .iter()
            .map(|(name, value)| {
                let value = match s.member(name) {
                    Some(member) => rewrite(service, member.shape, value, times),
                    None => value.clone(),
                };
                (name.clone(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        (ShapeKind::List { member, .. }, Value::Array(items)) => items
            .iter()
            .map(|item| rewrite(service, member.shape, item, times))
            .collect::<Vec<_>>()
            .into(),
        (ShapeKind::Map { value: member, .. }, Value::Object(entries)) => entries
            .iter()
            .map(|(name, item)| (name.clone(), rewrite(service, member.shape, item, times)))
            .collect::<Map<_, _>>()
            .into(),
        (ShapeKind::Blob { .. }, Value::String(text)) => STANDARD.encode(text).into(),
        (ShapeKind::Timestamp(_), Value::Number(seconds)) if times => {
            #[expect(clippy::cast_possible_truncation, reason = "a moment of a test")]
            let millis = (seconds.as_f64().unwrap() * 1000.0).round() as i64;
            jiff::Timestamp::from_millisecond(millis)
                .unwrap()
                .to_string()
                .into()
        }
        _ => value.clone(),
    }
}

/// An XML document without blanks between elements and regardless of the order of attributes.
fn xml(text: &str) -> Value {
    use xmlparser::{ElementEnd, Token, Tokenizer};
    if !text.trim_start().starts_with('<') {
        return json!(text);
    }
    let mut stack = vec![json!({"children": []})];
    for token in Tokenizer::from(text) {
        match token.unwrap() {
            Token::ElementStart { span, .. } => stack.push(json!({
                "name": span.as_str().trim_start_matches('<'),
                "attributes": {},
                "children": [],
            })),
            Token::Attribute { span, value, .. } => {
                let name = span.as_str().split('=').next().unwrap();
                stack.last_mut().unwrap()["attributes"][name] = json!(value.as_str());
            }
            Token::ElementEnd { end, .. } if end != ElementEnd::Open => {
                let element = stack.pop().unwrap();
                let children = &mut stack.last_mut().unwrap()["children"];
                children.as_array_mut().unwrap().push(element);
            }
            Token::Text { text } if !text.as_str().trim().is_empty() => {
                let text = text.as_str().replace("&#xA;", "\n").replace("&#xD;", "\r");
                stack.last_mut().unwrap()["text"] = json!(text.trim());
            }
            _ => {}
        }
    }
    stack.pop().unwrap()
}

/// A CBOR item, bare.
fn cbor(bytes: &[u8]) -> Value {
    use aws_smithy_cbor::{Decoder, data::Type};
    fn item(decoder: &mut Decoder<'_>) -> Value {
        match decoder.datatype().unwrap() {
            Type::Map | Type::MapIndef => {
                let len = decoder.map().unwrap();
                let mut out = Map::new();
                while more(decoder, len, out.len()) {
                    let key = decoder.string().unwrap();
                    out.insert(key, item(decoder));
                }
                out.into()
            }
            Type::Array | Type::ArrayIndef => {
                let len = decoder.list().unwrap();
                let mut out = Vec::new();
                while more(decoder, len, out.len()) {
                    out.push(item(decoder));
                }
                out.into()
            }
            Type::String | Type::StringIndef => decoder.string().unwrap().into(),
            Type::Bytes | Type::BytesIndef => {
                format!("{:?}", decoder.blob().unwrap().as_ref()).into()
            }
            Type::Bool => decoder.boolean().unwrap().into(),
            Type::Tag => decoder.timestamp().unwrap().as_secs_f64().into(),
            Type::F16 | Type::F32 | Type::F64 => {
                let number = match decoder.datatype().unwrap() {
                    Type::F64 => decoder.double().unwrap(),
                    _ => f64::from(decoder.float().unwrap()),
                };
                if number.is_finite() {
                    json!(number)
                } else {
                    number.to_string().into()
                }
            }
            Type::Null | Type::Undefined => {
                decoder.skip().unwrap();
                Value::Null
            }
            _ => decoder.long().unwrap().into(),
        }
    }
    fn more(decoder: &mut Decoder<'_>, len: Option<u64>, seen: usize) -> bool {
        match len {
            Some(len) => (seen as u64) < len,
            None if decoder.datatype().unwrap() == Type::Break => {
                decoder.skip().unwrap();
                false
            }
            None => true,
        }
    }
    if bytes.is_empty() {
        return Value::Null;
    }
    item(&mut Decoder::new(bytes))
}
