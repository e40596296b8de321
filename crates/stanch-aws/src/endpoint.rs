//! Where a request goes, and under which names it is signed.

use serde_json::{Map, Value};
use stanch_models::{EndpointSettings, Models, Operation, Service};
use stanch_types::Region;

use crate::{environment::Environment, protocol::percent_encode};

/// The place of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host and path, with the query.
    pub(crate) url: String,
    /// Headers that the endpoint asks for.
    pub(crate) headers: Vec<(String, String)>,
    /// The region in the signature's scope.
    pub(crate) signing_region: String,
    /// The service in the signature's scope.
    pub(crate) signing_name: String,
}

/// What an endpoint is made from.
pub(crate) struct Target<'t> {
    pub(crate) models: &'t Models,
    pub(crate) environment: &'t Environment,
    pub(crate) service: &'t Service,
    pub(crate) operation: &'t Operation,
    pub(crate) params: &'t Map<String, Value>,
    pub(crate) region: &'t Region,
}

impl Endpoint {
    /// The endpoint for a request with this path and query, and with what the model puts before the
    /// host name.
    pub(crate) fn resolve(
        target: &Target<'_>,
        uri: &str,
        host_prefix: Option<&str>,
    ) -> Result<Self, String> {
        let Target {
            models,
            environment,
            service,
            operation,
            params,
            region,
        } = target;
        let given = environment.endpoint_url(&service.service_id);
        let given_host = given.map(host_of).transpose()?;
        let settings = EndpointSettings {
            region: Some(region.as_str()),
            fips: environment.use_fips(),
            dual_stack: environment.use_dualstack(),
            endpoint: given,
            // `bucket.localhost` seldom resolves; for addresses the rules know it.
            force_path_style: given_host.as_deref() == Some("localhost"),
            ..EndpointSettings::default()
        };
        let found = models
            .endpoint(service, operation, params, &settings)
            .map_err(|error| error.to_string())?;
        let auth = found
            .auth_schemes
            .iter()
            .find(|auth| auth.name == "sigv4")
            .or(found.auth_schemes.first());
        if let Some(auth) = auth.filter(|auth| auth.name != "sigv4") {
            return Err(format!("its endpoint asks for `{}` signatures", auth.name));
        }
        let name = auth.and_then(|auth| auth.signing_name.clone());
        let signing_region = auth.and_then(|auth| auth.signing_region.clone());
        let is_s3 = &*service.name == "s3";
        let url = match given {
            // Behind an endpoint of the user's choice longer host names (S3 Control's account id)
            // seldom resolve: only S3's rules, which look at the host, may change it.
            Some(given) if !is_s3 => join(given, uri),
            _ => {
                let bucket = params
                    .get("Bucket")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let in_path = format!("/{}", percent_encode(bucket, b""));
                let uri = match uri.strip_prefix(&in_path) {
                    Some(rest) if is_s3 && operation.uri.starts_with("/{Bucket}") => rest,
                    _ => uri,
                };
                let prefix = host_prefix.filter(|_| found.host_prefix.is_some() && given.is_none());
                join(&with_prefix(&found.url, prefix.unwrap_or_default()), uri)
            }
        };
        Ok(Self {
            url,
            headers: found.headers,
            signing_region: signing_region.unwrap_or_else(|| region.to_string()),
            signing_name: name.unwrap_or_else(|| service.signing_name.to_string()),
        })
    }
}

/// The host of a URL that a user gave.
fn host_of(url: &str) -> Result<String, String> {
    let uri: http::Uri = url
        .parse()
        .map_err(|error| format!("the endpoint `{url}` is not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) => Ok(host.to_owned()),
        _ => Err(format!(
            "the endpoint `{url}` must start with `http://` or `https://` and name a host"
        )),
    }
}

fn with_prefix(url: &str, prefix: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{prefix}{rest}"),
        None => url.to_owned(),
    }
}

/// A base and a path with query, with one slash between them, and with a path in any case.
fn join(base: &str, uri: &str) -> String {
    let base = base.trim_end_matches('/');
    let has_path = base
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'));
    let (path, query) = match uri.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (uri, None),
    };
    let path = match path {
        "" | "/" if has_path => "",
        "" => "/",
        path => path,
    };
    match query {
        Some(query) => format!("{base}{path}?{query}"),
        None => format!("{base}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(
        call: &str,
        params: Value,
        region: &str,
        variables: &[(&str, &str)],
    ) -> (String, String) {
        let models = Models::embedded().unwrap();
        let (service, operation) = call.split_once('.').unwrap();
        let resolved = models.resolve(service, operation).unwrap();
        let request =
            crate::protocol::request(&resolved.service, resolved.operation(), &params).unwrap();
        let endpoint = Endpoint::resolve(
            &Target {
                models: &models,
                environment: &Environment::new(variables.iter().copied()),
                service: &resolved.service,
                operation: resolved.operation(),
                params: params.as_object().unwrap(),
                region: &region.parse().unwrap(),
            },
            &request.uri,
            request.host_prefix.as_deref(),
        )
        .unwrap();
        let scope = format!("{}/{}", endpoint.signing_name, endpoint.signing_region);
        (endpoint.url, scope)
    }

    #[test]
    fn requests_have_whole_urls() {
        use serde_json::json;
        let local = [("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/")];
        let named = [("AWS_ENDPOINT_URL", "http://localhost:4566/base")];
        let own = [("AWS_ENDPOINT_URL_S3", "https://s3.example.test")];
        let acl = || json!({"Bucket": "demo"});
        for (call, params, region, variables, want, scope) in [
            (
                "s3.GetBucketAcl",
                acl(),
                "eu-west-1",
                &[][..],
                "https://demo.s3.eu-west-1.amazonaws.com/?acl",
                "s3/eu-west-1",
            ),
            (
                "s3.GetBucketAcl",
                acl(),
                "eu-west-1",
                &local,
                "http://127.0.0.1:4566/demo?acl",
                "s3/eu-west-1",
            ),
            (
                "s3.GetBucketAcl",
                acl(),
                "eu-west-1",
                &named,
                "http://localhost:4566/base/demo?acl",
                "s3/eu-west-1",
            ),
            (
                "s3.GetBucketAcl",
                acl(),
                "eu-west-1",
                &own,
                "https://demo.s3.example.test/?acl",
                "s3/eu-west-1",
            ),
            (
                "s3.GetBucketAcl",
                json!({"Bucket": "a.b.c"}),
                "eu-west-1",
                &[],
                "https://s3.eu-west-1.amazonaws.com/a.b.c?acl",
                "s3/eu-west-1",
            ),
            (
                "s3.HeadBucket",
                acl(),
                "eu-west-1",
                &[],
                "https://demo.s3.eu-west-1.amazonaws.com/",
                "s3/eu-west-1",
            ),
            (
                "s3.HeadObject",
                json!({"Bucket": "demo", "Key": "demo/x y"}),
                "eu-west-1",
                &[],
                "https://demo.s3.eu-west-1.amazonaws.com/demo/x%20y",
                "s3/eu-west-1",
            ),
            (
                "s3.ListBuckets",
                json!({}),
                "us-east-1",
                &[],
                "https://s3.us-east-1.amazonaws.com/",
                "s3/us-east-1",
            ),
            (
                "s3control.GetPublicAccessBlock",
                json!({"AccountId": "111111111111"}),
                "us-east-1",
                &[],
                "https://111111111111.s3-control.us-east-1.amazonaws.com/v20180820/configuration/publicAccessBlock",
                "s3/us-east-1",
            ),
            (
                "s3control.GetPublicAccessBlock",
                json!({"AccountId": "111111111111"}),
                "us-east-1",
                &local,
                "http://127.0.0.1:4566/v20180820/configuration/publicAccessBlock",
                "s3/us-east-1",
            ),
            (
                "iam.ListRoles",
                json!({}),
                "eu-west-1",
                &[],
                "https://iam.amazonaws.com/",
                "iam/us-east-1",
            ),
            (
                "cloudfront.ListDistributions",
                json!({}),
                "eu-west-1",
                &[],
                "https://cloudfront.amazonaws.com/2020-05-31/distribution",
                "cloudfront/us-east-1",
            ),
            (
                "organizations.ListRoots",
                json!({}),
                "eu-west-1",
                &[],
                "https://organizations.us-east-1.amazonaws.com/",
                "organizations/us-east-1",
            ),
            (
                "iam.ListRoles",
                json!({}),
                "cn-north-1",
                &[],
                "https://iam.cn-north-1.amazonaws.com.cn/",
                "iam/cn-north-1",
            ),
            (
                "kms.ListKeys",
                json!({}),
                "us-east-1",
                &[("AWS_USE_FIPS_ENDPOINT", "true")],
                "https://kms-fips.us-east-1.amazonaws.com/",
                "kms/us-east-1",
            ),
            (
                "ec2.DescribeVpcs",
                json!({}),
                "us-east-1",
                &[("AWS_USE_DUALSTACK_ENDPOINT", "true")],
                "https://ec2.us-east-1.api.aws/",
                "ec2/us-east-1",
            ),
        ] {
            let got = url(call, params, region, variables);
            assert_eq!(
                got,
                (want.to_owned(), scope.to_owned()),
                "{call} {variables:?}"
            );
        }
    }

    #[test]
    fn an_endpoint_must_be_a_url() {
        for bad in ["127.0.0.1:4566", "ftp://host", "http://", "not a url"] {
            assert!(host_of(bad).is_err(), "{bad}");
        }
    }
}
