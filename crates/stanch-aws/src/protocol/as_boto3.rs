//! Where boto3 does not do what the model says, and its users have come to rely on it,
//! <https://github.com/boto/botocore/blob/develop/botocore/handlers.py>.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use stanch_models::{Operation, Service, ShapeId};

use super::{HttpResponse, encode_base64, xml};

/// Launch scripts are given as they are and sent as base64; Route 53's ids may be given with the
/// path that it answers with.
pub(super) fn input<'i>(
    service: &Service,
    operation: &Operation,
    input: &'i Map<String, Value>,
) -> Cow<'i, Map<String, Value>> {
    match (&*service.name, &*operation.name) {
        ("ec2", "RunInstances") | ("autoscaling", "CreateLaunchConfiguration") => {
            let Some(script) = input.get("UserData").and_then(Value::as_str) else {
                return Cow::Borrowed(input);
            };
            let mut input = input.clone();
            input.insert(
                "UserData".to_owned(),
                encode_base64(script.as_bytes()).into(),
            );
            Cow::Owned(input)
        }
        ("route53", _) => {
            let members = operation.input.map_or(&[][..], |id| service.members(id));
            let mut input = Cow::Borrowed(input);
            for member in members {
                let shape = &*service.shape(member.shape).name;
                if matches!(shape, "ResourceId" | "DelegationSetId" | "ChangeId")
                    && let Some(Value::String(id)) = input.get(&*member.name)
                    && let Some((_, bare)) = id.rsplit_once('/')
                {
                    let bare = Value::from(bare);
                    input.to_mut().insert(member.name.to_string(), bare);
                }
            }
            input
        }
        _ => Cow::Borrowed(input),
    }
}

/// IAM's policies come percent-encoded and CloudFormation's templates as text: both are given as the
/// JSON that they are.
pub(super) fn text(service: &Service, shape: ShapeId, text: &str) -> Value {
    let decoded = match (&*service.name, &*service.shape(shape).name) {
        ("iam", "policyDocumentType") => percent_decode(text),
        ("cloudformation", "TemplateBody") => Some(text.to_owned()),
        _ => None,
    };
    decoded
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| Value::from(text))
}

/// The answer to GetBucketLocation is one element with text, and none for `us-east-1`; a console's
/// output comes as base64.
pub(super) fn output(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
    output: &mut Map<String, Value>,
) {
    match (&*service.name, &*operation.name) {
        ("s3", "GetBucketLocation") => {
            let root = std::str::from_utf8(&response.body)
                .ok()
                .and_then(|text| xml::parse(text).ok());
            if let Some(root) = root.filter(|root| !root.text.trim().is_empty()) {
                output.insert("LocationConstraint".to_owned(), root.text.trim().into());
            }
        }
        ("ec2", "GetConsoleOutput") => {
            if let Some(Value::String(text)) = output.get_mut("Output")
                && let Ok(bytes) = STANDARD.decode(text.trim())
            {
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        _ => {}
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (bytes.next()?, bytes.next()?);
            let digit = |b: u8| char::from(b).to_digit(16);
            out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stanch_models::Models;

    use super::super::{HttpRequest, request, response};
    use super::*;

    fn sent(service: &str, operation: &str, input: Value) -> HttpRequest {
        let call = Models::embedded()
            .unwrap()
            .resolve(service, operation)
            .unwrap();
        request(&call.service, call.operation(), &input).unwrap()
    }

    fn read(service: &str, operation: &str, body: &str) -> Value {
        let call = Models::embedded()
            .unwrap()
            .resolve(service, operation)
            .unwrap();
        let answer = HttpResponse {
            status: 200,
            body: body.as_bytes().to_vec(),
            ..HttpResponse::default()
        };
        response(&call.service, call.operation(), &answer)
            .unwrap()
            .output
    }

    #[test]
    fn what_boto3_does_on_the_way_out() {
        let run = sent(
            "ec2",
            "RunInstances",
            json!({"MinCount": 1, "MaxCount": 1, "UserData": "#!/bin/sh"}),
        );
        let body = String::from_utf8(run.body).unwrap();
        assert!(body.ends_with("&UserData=IyEvYmluL3No"), "{body}");
        let zone = sent("route53", "GetHostedZone", json!({"Id": "/hostedzone/Z1"}));
        assert_eq!(zone.uri, "/2013-04-01/hostedzone/Z1");
        let apis = sent("apigateway", "GetRestApis", json!({}));
        assert_eq!(apis.header("accept"), Some("application/json"));
    }

    #[test]
    fn what_boto3_does_on_the_way_in() {
        let policy = "<R><GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName><PolicyDocument>%7B%22Version%22%3A%222012-10-17%22%7D</PolicyDocument></GetRolePolicyResult></R>";
        let output = read("iam", "GetRolePolicy", policy);
        assert_eq!(output["PolicyDocument"], json!({"Version": "2012-10-17"}));
        let location = |body: &str| read("s3", "GetBucketLocation", body);
        let somewhere = "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">eu-west-1</LocationConstraint>";
        assert_eq!(
            location(somewhere),
            json!({"LocationConstraint": "eu-west-1"})
        );
        assert_eq!(location("<LocationConstraint/>"), json!({}));
        let template = "<R><GetTemplateResult><TemplateBody>{\"Resources\":{}}</TemplateBody></GetTemplateResult></R>";
        let output = read("cloudformation", "GetTemplate", template);
        assert_eq!(output["TemplateBody"], json!({"Resources": {}}));
        let console = read(
            "ec2",
            "GetConsoleOutput",
            "<R><output>aGVsbG8=</output></R>",
        );
        assert_eq!(console["Output"], "hello");
    }
}
