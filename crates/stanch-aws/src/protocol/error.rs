//! The errors of all protocols, read into one type.

use serde_json::Value;
use stanch_models::{Operation, Protocol, Service, ShapeKind};
use stanch_types::{Call, CallError, CallErrorKind};

use super::{HttpResponse, cbor, excerpt, xml};

/// AWS's id of the request, where a header has it.
pub(super) fn request_id(response: &HttpResponse) -> Option<String> {
    [
        "x-amzn-requestid",
        "x-amz-request-id",
        "x-amzn-request-id",
        "x-amz-cf-id",
    ]
    .iter()
    .find_map(|name| response.header(name))
    .map(str::to_owned)
}

/// S3 answers some failures of long operations (CopyObject) with status 200 and an error for a body,
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>.
pub(super) fn hidden_in_success(
    service: &Service,
    operation: &Operation,
    response: &HttpResponse,
) -> bool {
    if service.protocol != Protocol::RestXml || !response.body.starts_with(b"<") {
        return false;
    }
    let streams = operation
        .output
        .and_then(|id| service.shape(id).structure()?.payload_member())
        .is_some_and(|member| {
            matches!(
                service.shape(member.shape).kind,
                ShapeKind::Blob { .. } | ShapeKind::String { .. }
            )
        });
    !streams
        && std::str::from_utf8(&response.body)
            .ok()
            .and_then(|text| xml::parse(text).ok())
            .is_some_and(|root| root.name == "Error")
}

#[derive(Default)]
struct Found {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

/// The error that a response is. Whatever the body may be, there is one: the status is the last
/// resort.
pub(super) fn read(service: &Service, operation: &Operation, response: &HttpResponse) -> CallError {
    let mut found = match service.protocol {
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml => from_xml(&response.body),
        Protocol::Json | Protocol::RestJson => from_json(response),
        Protocol::RpcV2Cbor => match cbor::read(&response.body) {
            Ok(body) => from_object(&body, response),
            Err(_) => Found::default(),
        },
    };
    // Services that once spoke the query protocol tell the code that callers know from then.
    if let Some((code, _)) = response
        .header("x-amzn-query-error")
        .and_then(|text| text.split_once(';'))
        && !code.is_empty()
    {
        found.code = Some(code.to_owned());
    }
    let code = found
        .code
        .filter(|code| !code.is_empty())
        .unwrap_or_else(|| response.status.to_string());
    let message = found
        .message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| from_status(response));
    let call = Call::new(&*service.name, &*operation.name, Value::Null);
    CallError {
        code: code.clone(),
        request_id: request_id(response).or(found.request_id),
        ..CallError::new(kind(&code, response.status), &call, message)
    }
}

fn from_xml(body: &[u8]) -> Found {
    let Some(root) = std::str::from_utf8(body)
        .ok()
        .and_then(|text| xml::parse(text).ok())
    else {
        return Found::default();
    };
    let error = if root.name == "Error" {
        Some(&root)
    } else {
        root.child("Error").or_else(|| {
            root.child("Errors")
                .and_then(|errors| errors.child("Error"))
        })
    };
    let text = |name| {
        error
            .and_then(|error| error.child_text(name))
            .map(str::to_owned)
    };
    Found {
        code: text("Code"),
        message: text("Message").or_else(|| text("message")),
        request_id: ["RequestId", "RequestID", "requestId"]
            .iter()
            .find_map(|name| root.child_text(name))
            .map(str::to_owned)
            .or_else(|| text("RequestId")),
    }
}

fn from_json(response: &HttpResponse) -> Found {
    match serde_json::from_slice(&response.body) {
        Ok(body) => from_object(&body, response),
        Err(_) => Found {
            code: response.header("x-amzn-errortype").map(bare_code),
            ..Found::default()
        },
    }
}

fn from_object(body: &Value, response: &HttpResponse) -> Found {
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| body.get(name)?.as_str())
            .map(str::to_owned)
    };
    Found {
        code: response
            .header("x-amzn-errortype")
            .map(bare_code)
            .or_else(|| text(&["__type", "code", "Code"]).map(|code| bare_code(&code))),
        message: text(&["message", "Message", "errorMessage"]),
        request_id: None,
    }
}

/// `com.amazonaws#ThrottlingException:http://…` is `ThrottlingException`.
fn bare_code(text: &str) -> String {
    let code = text.split(':').next().unwrap_or_default();
    code.rsplit('#')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn from_status(response: &HttpResponse) -> String {
    let reason = http::StatusCode::from_u16(response.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("unknown status");
    let body = String::from_utf8_lossy(&response.body);
    match body.trim() {
        "" => format!("HTTP {} {reason}", response.status),
        body => format!(
            "HTTP {} {reason}: `{}`",
            response.status,
            excerpt(&body.split_whitespace().collect::<Vec<_>>().join(" "))
        ),
    }
}

/// The codes by which AWS's SDKs know throttling,
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>.
const THROTTLING: [&str; 16] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "Throttling.Rate",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Refusals of the credentials themselves: nothing was done.
const CREDENTIALS: [&str; 14] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

const DENIED: [&str; 9] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "Client.UnauthorizedOperation",
    "ExplicitDeny",
    "NotAuthorized",
    "UnauthorizedAccess",
    "UnauthorizedOperation",
];

/// Ordered by what it means for the caller: an error that is throttling stays so with any status.
fn kind(code: &str, status: u16) -> CallErrorKind {
    if THROTTLING.contains(&code) || status == 429 {
        CallErrorKind::Throttled
    } else if CREDENTIALS.contains(&code) {
        CallErrorKind::Credentials
    } else if DENIED.contains(&code) || code == "403" || (code == "401") {
        CallErrorKind::Denied
    } else if !(300..500).contains(&status) {
        CallErrorKind::Server
    } else {
        CallErrorKind::Rejected
    }
}
