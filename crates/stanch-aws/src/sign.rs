//! Signature version 4, by `aws-sigv4`.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use stanch_models::{AuthScheme, Operation, Service};

use crate::endpoint::Endpoint;

/// The scheme by which the operation is signed, if it is one that we have.
pub(crate) fn scheme(service: &Service, operation: &Operation) -> Option<AuthScheme> {
    service.auth_of(operation).iter().copied().find(|scheme| {
        matches!(
            scheme,
            AuthScheme::SigV4 | AuthScheme::S3V4 | AuthScheme::None
        )
    })
}

/// The headers that sign a request.
pub(crate) fn headers(
    scheme: AuthScheme,
    operation: &Operation,
    endpoint: &Endpoint,
    request: (&str, &str, &[(String, String)], &[u8]),
    credentials: Credentials,
    time: SystemTime,
) -> Result<Vec<(String, String)>, String> {
    let (method, url, headers, body) = request;
    let mut settings = SigningSettings::default();
    if scheme == AuthScheme::S3V4 {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let body = if operation.unsigned_payload {
        SignableBody::UnsignedPayload
    } else {
        SignableBody::Bytes(body)
    };
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&endpoint.signing_region)
        .name(&endpoint.signing_name)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let signed = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(method, url, signed, body)
        .map_err(|error| stanch_types::chain(&error))?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| stanch_types::chain(&error))?
        .into_parts();
    Ok(instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}
