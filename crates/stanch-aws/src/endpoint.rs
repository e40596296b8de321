//! Where a request goes, and under which names it is signed.

use stanch_models::Service;
use stanch_types::Region;

use crate::environment::Environment;

/// The place of a service for one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https` or `http`.
    pub(crate) scheme: String,
    /// Host, and port if it is not the scheme's own.
    pub(crate) authority: String,
    /// What stands before every path; without a slash at its end.
    pub(crate) base_path: String,
    /// The region in the signature's scope.
    pub(crate) signing_region: String,
    /// The service in the signature's scope.
    pub(crate) signing_name: String,
    /// Not AWS's own: set by `AWS_ENDPOINT_URL` or in code.
    pub(crate) overridden: bool,
}

impl Endpoint {
    /// The endpoint of `service` in `region`.
    pub(crate) fn resolve(
        service: &Service,
        region: &Region,
        environment: &Environment,
    ) -> Result<Self, String> {
        let place = Place::of(service, region);
        match environment.endpoint_url(&service.service_id) {
            Some(url) => Self::parse(url, place.signing_region, &service.signing_name),
            None => {
                let fips = environment.use_fips();
                let dualstack = environment.use_dualstack();
                Ok(Self {
                    scheme: "https".to_owned(),
                    authority: place.host(service, region, fips, dualstack),
                    base_path: String::new(),
                    signing_region: place.signing_region,
                    signing_name: service.signing_name.to_string(),
                    overridden: false,
                })
            }
        }
    }

    fn parse(url: &str, signing_region: String, signing_name: &str) -> Result<Self, String> {
        let uri: http::Uri = url
            .parse()
            .map_err(|error| format!("the endpoint `{url}` is not a URL: {error}"))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(format!(
                "the endpoint `{url}` must start with `http://` or `https://` and name a host"
            ));
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_string(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
            signing_region,
            signing_name: signing_name.to_owned(),
            overridden: true,
        })
    }

    /// The host without its port.
    pub(crate) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    /// True if a label can be put before the host name: not for addresses and `localhost`, where the
    /// longer name would not resolve.
    pub(crate) fn takes_prefix(&self) -> bool {
        let host = self.host();
        !(host == "localhost" || host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok())
    }

    /// The URL of `uri` (path and query) at this endpoint.
    pub(crate) fn url(&self, prefix: &str, uri: &str) -> String {
        let Self {
            scheme,
            authority,
            base_path,
            ..
        } = self;
        format!("{scheme}://{prefix}{authority}{base_path}{uri}")
    }
}

/// Host and signing region of AWS's own endpoint.
struct Place {
    signing_region: String,
    global: Option<String>,
}

impl Place {
    fn of(service: &Service, region: &Region) -> Self {
        let partition = region.partition();
        let global = match (&*service.name, partition.as_str()) {
            ("iam", "aws") => Some(("iam.amazonaws.com", "us-east-1")),
            ("cloudfront", "aws") => Some(("cloudfront.amazonaws.com", "us-east-1")),
            ("route53", "aws") => Some(("route53.amazonaws.com", "us-east-1")),
            ("organizations", "aws") => {
                Some(("organizations.us-east-1.amazonaws.com", "us-east-1"))
            }
            _ => None,
        };
        match global {
            Some((host, region)) => Self {
                signing_region: region.to_owned(),
                global: Some(host.to_owned()),
            },
            None => Self {
                signing_region: region.to_string(),
                global: None,
            },
        }
    }

    fn host(&self, service: &Service, region: &Region, fips: bool, dualstack: bool) -> String {
        if let Some(host) = &self.global {
            return host.clone();
        }
        let fips = if fips { "-fips" } else { "" };
        let suffix = match (region.partition().as_str(), dualstack) {
            ("aws-cn", false) => "amazonaws.com.cn",
            ("aws-cn", true) => "api.amazonwebservices.com.cn",
            (_, true) => "api.aws",
            _ => "amazonaws.com",
        };
        format!("{}{fips}.{region}.{suffix}", service.endpoint_prefix)
    }
}
