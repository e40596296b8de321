//! What the process was started with: environment variables and the AWS config file.

use std::{collections::HashMap, fmt, path::PathBuf};

use stanch_types::Region;

/// Environment variables and the text of the shared config file, read once and passed in.
///
/// <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    /// `section name -> key -> value`; a nested key (`s3 =\n  endpoint_url = …`) is `s3.endpoint_url`.
    config: HashMap<String, HashMap<String, String>>,
    ca_bundle: Option<Vec<u8>>,
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.variables.keys().collect();
        names.sort_unstable();
        f.debug_struct("Environment")
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// The environment of this process, with its AWS config file. Only binaries call this.
    #[must_use]
    pub fn from_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut environment = Self::new(variables);
        let path = environment
            .get("AWS_CONFIG_FILE")
            .map(PathBuf::from)
            .or_else(|| {
                let home = environment
                    .get("HOME")
                    .or_else(|| environment.get("USERPROFILE"))?;
                Some(PathBuf::from(home).join(".aws").join("config"))
            });
        if let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) {
            environment = environment.with_config(&text);
        }
        let bundle = environment
            .get("AWS_CA_BUNDLE")
            .or_else(|| environment.profile_value("ca_bundle"));
        // A bundle that cannot be read trusts nobody, instead of everybody that the system trusts.
        environment.ca_bundle = bundle.map(|path| std::fs::read(path).unwrap_or_default());
        environment
    }

    /// An environment of these variables and no config file.
    pub fn new<K, V>(variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            config: HashMap::new(),
            ca_bundle: None,
        }
    }

    /// The same with the text of a config file (`~/.aws/config`).
    #[must_use]
    pub fn with_config(mut self, text: &str) -> Self {
        self.config = parse_config(text);
        self
    }

    /// The same with a variable set.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// A variable that is set to something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's region.
    #[must_use]
    pub fn region(&self) -> Option<Region> {
        self.get("AWS_REGION")
            .or_else(|| self.get("AWS_DEFAULT_REGION"))
            .or_else(|| self.profile_value("region"))
            .and_then(|region| region.parse().ok())
    }

    /// The endpoint that replaces AWS's for a service of this id (`Elastic Load Balancing v2`),
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>.
    #[must_use]
    pub fn endpoint_url(&self, service_id: &str) -> Option<&str> {
        if self.flag(
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "ignore_configured_endpoint_urls",
        ) {
            return None;
        }
        let id = service_id.replace([' ', '-'], "_");
        self.get(&format!("AWS_ENDPOINT_URL_{}", id.to_uppercase()))
            .or_else(|| self.get("AWS_ENDPOINT_URL"))
            .or_else(|| {
                let services = self.profile_value("services")?;
                let section = self.config.get(&format!("services {services}"))?;
                section
                    .get(&format!("{}.endpoint_url", id.to_lowercase()))
                    .map(String::as_str)
            })
            .or_else(|| self.profile_value("endpoint_url"))
    }

    /// The certificates (PEM) to trust instead of the system's: those in the file `AWS_CA_BUNDLE`.
    pub(crate) fn ca_bundle(&self) -> Option<&[u8]> {
        self.ca_bundle.as_deref()
    }

    /// The proxy for `https`, and the hosts that are reached without it.
    pub(crate) fn https_proxy(&self) -> Option<(&str, &str)> {
        let either = |upper, lower| self.get(upper).or_else(|| self.get(lower));
        let proxy = either("HTTPS_PROXY", "https_proxy")?;
        Some((proxy, either("NO_PROXY", "no_proxy").unwrap_or_default()))
    }

    pub(crate) fn use_fips(&self) -> bool {
        self.flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
    }

    pub(crate) fn use_dualstack(&self) -> bool {
        self.flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
    }

    pub(crate) fn max_attempts(&self) -> Option<u32> {
        self.get("AWS_MAX_ATTEMPTS")
            .or_else(|| self.profile_value("max_attempts"))
            .and_then(|attempts| attempts.parse().ok())
            .filter(|attempts| *attempts > 0)
    }

    fn flag(&self, variable: &str, key: &str) -> bool {
        self.get(variable)
            .or_else(|| self.profile_value(key))
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn profile_value(&self, key: &str) -> Option<&str> {
        let profile = self
            .get("AWS_PROFILE")
            .or_else(|| self.get("AWS_DEFAULT_PROFILE"))
            .unwrap_or("default");
        let section = self
            .config
            .get(&format!("profile {profile}"))
            .or_else(|| self.config.get(profile).filter(|_| profile == "default"))?;
        section.get(key).map(String::as_str)
    }
}

/// Sections, keys and one level of nesting; what cannot be understood is passed over, as the AWS
/// tools do.
fn parse_config(text: &str) -> HashMap<String, HashMap<String, String>> {
    let mut sections: HashMap<String, HashMap<String, String>> = HashMap::new();
    let mut section = String::new();
    let mut parent = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            section = name.split_whitespace().collect::<Vec<_>>().join(" ");
            parent.clear();
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            continue;
        };
        let (key, value) = (
            key.trim(),
            value.split(" #").next().unwrap_or_default().trim(),
        );
        let nested = line.starts_with([' ', '\t']) && !parent.is_empty();
        let name = if nested {
            format!("{parent}.{key}")
        } else {
            key.to_owned()
        };
        if !nested {
            parent = key.to_owned();
        }
        sections
            .entry(section.clone())
            .or_default()
            .insert(name, value.to_owned());
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
[default]
region = eu-west-1
endpoint_url = http://profile

[profile audit]
region=eu-central-1 # Frankfurt
services = local
use_fips_endpoint = true

[services local]
s3 =
  endpoint_url = http://s3-of-profile
elastic_load_balancing_v2 =
  endpoint_url = http://elb-of-profile
";

    #[test]
    fn endpoints_in_order_of_precedence() {
        let environment =
            |pairs: &[(&str, &str)]| Environment::new(pairs.iter().copied()).with_config(CONFIG);
        let plain = environment(&[]);
        assert_eq!(plain.endpoint_url("S3"), Some("http://profile"));
        assert_eq!(plain.region().unwrap().as_str(), "eu-west-1");
        let audit = environment(&[("AWS_PROFILE", "audit")]);
        assert_eq!(audit.endpoint_url("S3"), Some("http://s3-of-profile"));
        assert_eq!(
            audit.endpoint_url("Elastic Load Balancing v2"),
            Some("http://elb-of-profile")
        );
        assert_eq!(audit.endpoint_url("EC2"), None);
        assert_eq!(audit.region().unwrap().as_str(), "eu-central-1");
        assert!(audit.use_fips() && !audit.use_dualstack());
        let variables = [
            ("AWS_PROFILE", "audit"),
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_S3", "http://s3"),
            ("AWS_REGION", "us-east-2"),
        ];
        let set = environment(&variables);
        assert_eq!(set.endpoint_url("S3"), Some("http://s3"));
        assert_eq!(set.endpoint_url("EC2"), Some("http://all"));
        assert_eq!(set.region().unwrap().as_str(), "us-east-2");
        let mut ignored = variables.to_vec();
        ignored.push(("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE"));
        assert_eq!(environment(&ignored).endpoint_url("S3"), None);
    }

    #[test]
    fn debug_shows_no_values() {
        let environment = Environment::new([("AWS_SECRET_ACCESS_KEY", "hunter2")]);
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
