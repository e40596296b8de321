//! What only S3 does: checksums, and buckets in other regions.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stanch_models::{Location, Operation, Service};

use crate::protocol::{HttpRequest, HttpResponse};

/// The bucket of a call.
pub(crate) fn bucket<'p>(service: &Service, params: &'p Map<String, Value>) -> Option<&'p str> {
    params
        .get("Bucket")
        .and_then(Value::as_str)
        .filter(|_| &*service.name == "s3")
}

/// Adds a checksum of the body where the operation takes one: CRC-32 unless the caller chose,
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-dataintegrity.html>.
pub(crate) fn add_checksum(
    request: &mut HttpRequest,
    service: &Service,
    operation: &Operation,
    params: &Map<String, Value>,
) -> Result<(), String> {
    let member = operation
        .checksum
        .as_ref()
        .and_then(|checksum| checksum.algorithm_member.as_deref());
    let required =
        operation.checksum_required || operation.checksum.as_ref().is_some_and(|c| c.required);
    let given = request.headers.iter().any(|(name, _)| {
        let name = name.to_ascii_lowercase();
        name == "content-md5"
            || (name.starts_with("x-amz-checksum-")
                && !matches!(
                    name.as_str(),
                    "x-amz-checksum-type" | "x-amz-checksum-algorithm" | "x-amz-checksum-mode"
                ))
    });
    if given || (member.is_none() && !required) {
        return Ok(());
    }
    let chosen = member
        .and_then(|member| params.get(member))
        .and_then(Value::as_str);
    let value = match chosen.unwrap_or("CRC32") {
        "CRC32" => STANDARD.encode(crc32fast::hash(&request.body).to_be_bytes()),
        "SHA256" => STANDARD.encode(Sha256::digest(&request.body)),
        other => {
            return Err(format!(
                "checksum algorithm `{other}` is not supported: use `CRC32` or `SHA256`"
            ));
        }
    };
    let algorithm = chosen.unwrap_or("CRC32");
    request.set_header(
        &format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase()),
        value,
    );
    // The header that names the algorithm is a member of the input, bound to that header.
    let header = member.and_then(|member| {
        let members = operation.input.map_or(&[][..], |id| service.members(id));
        members
            .iter()
            .find(|m| *m.name == *member && m.location == Location::Header)
    });
    if let Some(header) = header.filter(|_| chosen.is_none()) {
        request.set_header(header.wire_name(), algorithm);
    }
    Ok(())
}

/// The region that a bucket is in, if the answer says that it is another than the one asked.
pub(crate) fn other_region(response: &HttpResponse, code: &str) -> Option<String> {
    let moved = matches!(response.status, 301 | 307 | 308)
        || (response.status == 400
            && (matches!(
                code,
                "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"
            ) || response.header("x-amz-bucket-region").is_some()));
    if !moved {
        return None;
    }
    if let Some(region) = response.header("x-amz-bucket-region") {
        return Some(region.to_owned());
    }
    let body = std::str::from_utf8(&response.body).ok()?;
    let (_, rest) = body.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    Some(region.to_owned())
}
