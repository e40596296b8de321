//! Where a request goes, and for which region and service it is signed: Smithy's endpoint rules
//! (<https://smithy.io/2.0/additional-specs/rules-engine/specification.html>), evaluated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::parse::{text, texts};
use crate::service::{ContextValue, Operation, Service};

/// What the caller's configuration says about endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointSettings<'a> {
    /// Where to call. Services with one endpoint for the whole partition find theirs from it.
    pub region: Option<&'a str>,
    /// FIPS 140 endpoints only.
    pub fips: bool,
    /// Endpoints that speak IPv4 and IPv6.
    pub dual_stack: bool,
    /// A URL that the user gave (`AWS_ENDPOINT_URL`).
    pub endpoint: Option<&'a str>,
    /// The account of the credentials, where it is known; some services take a host name of it.
    pub account_id: Option<&'a str>,
    /// S3: the bucket in the path instead of the host name.
    pub force_path_style: bool,
    /// S3: transfer acceleration.
    pub accelerate: bool,
}

/// Where a request goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// Scheme, host, and the path that goes before [`Endpoint::uri`].
    pub url: String,
    /// What to put before the host name besides; labels stand for input members.
    pub host_prefix: Option<Box<str>>,
    /// The operation's [`Operation::uri`], without what `url` holds already (S3's bucket).
    pub uri: Box<str>,
    /// Signing, in order of preference; empty where the service's own holds.
    pub auth_schemes: Vec<EndpointAuth>,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
}

/// How to sign for an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointAuth {
    /// `sigv4`, `sigv4a` or `sigv4-s3express`.
    pub name: String,
    /// Instead of [`Service::signing_name`].
    pub signing_name: Option<String>,
    /// Instead of the caller's region.
    pub signing_region: Option<String>,
    /// The regions that a SigV4a signature holds in.
    pub signing_region_set: Vec<String>,
    /// The path is signed as it is sent.
    pub disable_double_encoding: bool,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The rules say so, in AWS's words.
    #[error("`{service}` has no endpoint for this request: {reason}")]
    Refused {
        /// The service.
        service: Box<str>,
        /// From the rules.
        reason: String,
    },
    /// No region is set, and the service cannot do without.
    #[error("`{service}` needs a region")]
    NoRegion {
        /// The service.
        service: Box<str>,
    },
    /// The rules do not cover the case, or are not evaluable.
    #[error("the endpoint rules of `{service}` give no answer")]
    NoRule {
        /// The service.
        service: Box<str>,
    },
    /// The embedded data is not what was compiled in.
    #[error(transparent)]
    Damaged(#[from] crate::blob::BlobError),
}

/// AWS's partitions: botocore's `partitions.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partitions(Vec<Partition>);

/// One partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub id: Box<str>,
    /// `amazonaws.com`.
    pub dns_suffix: Box<str>,
    /// `api.aws`.
    pub dual_stack_dns_suffix: Box<str>,
    /// Where global services are signed for: `us-east-1`.
    pub implicit_global_region: Box<str>,
    /// There are FIPS endpoints.
    pub supports_fips: bool,
    /// There are dual-stack endpoints.
    pub supports_dual_stack: bool,
    /// The known regions, with pseudo-regions such as `aws-global`.
    pub regions: Vec<Box<str>>,
    /// What regions to come are called, before `-<word>-<digits>`: `us`, `eu`, `us-gov`.
    region_prefixes: Vec<Box<str>>,
}

impl Partitions {
    /// Reads botocore's `partitions.json`; nothing where it is not such a file.
    pub fn from_json(json: &Value) -> Option<Self> {
        let partition = |p: &Value| {
            let outputs = p.get("outputs")?;
            let flag = |key| outputs.get(key).and_then(Value::as_bool);
            Some(Partition {
                id: text(p, "id")?,
                dns_suffix: text(outputs, "dnsSuffix")?,
                dual_stack_dns_suffix: text(outputs, "dualStackDnsSuffix")?,
                implicit_global_region: text(outputs, "implicitGlobalRegion")?,
                supports_fips: flag("supportsFIPS")?,
                supports_dual_stack: flag("supportsDualStack")?,
                regions: p
                    .get("regions")?
                    .as_object()?
                    .keys()
                    .map(|k| k.as_str().into())
                    .collect(),
                region_prefixes: region_prefixes(p.get("regionRegex")?.as_str()?)?,
            })
        };
        json.get("partitions")?
            .as_array()?
            .iter()
            .map(partition)
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The partition of a region; the commercial one where no other fits.
    pub fn of(&self, region: &str) -> Option<&Partition> {
        let known = |p: &&Partition| p.regions.iter().any(|r| **r == *region);
        let plausible = |p: &&Partition| {
            p.region_prefixes
                .iter()
                .any(|prefix| follows(region, prefix))
        };
        self.0
            .iter()
            .find(known)
            .or_else(|| self.0.iter().find(plausible))
            .or_else(|| self.0.first())
    }

    /// All of them, the commercial one first.
    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.0.iter()
    }
}

/// Reads `^(us|eu)\-\w+\-\d+$` and its like; nothing where the expression says something else.
fn region_prefixes(regex: &str) -> Option<Vec<Box<str>>> {
    let plain = regex.replace("\\-", "-");
    let head = plain.strip_prefix('^')?.strip_suffix("-\\w+-\\d+$")?;
    let (before, choices) = head.split_once('(').unwrap_or((head, ")"));
    choices
        .strip_suffix(')')?
        .split('|')
        .map(|choice| {
            let prefix = format!("{before}{choice}");
            let literal = prefix
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-');
            literal.then(|| prefix.into())
        })
        .collect()
}

fn follows(region: &str, prefix: &str) -> bool {
    region
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-')?.rsplit_once('-'))
        .is_some_and(|(word, digits)| {
            !word.is_empty()
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !digits.is_empty()
                && digits.chars().all(|c| c.is_ascii_digit())
        })
}

/// The endpoint rules of a service: botocore's `endpoint-rule-set-1.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    parameters: Vec<Parameter>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parameter {
    name: Box<str>,
    /// The setting that fills it: `AWS::Region`.
    built_in: Option<Box<str>>,
    default: Option<ContextValue>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rule {
    conditions: Vec<Condition>,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Condition {
    function: Function,
    arguments: Vec<Expression>,
    assign: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Outcome {
    Rules(Vec<Rule>),
    Endpoint {
        url: Expression,
        properties: Vec<(Box<str>, Expression)>,
        headers: Vec<(Box<str>, Expression)>,
    },
    Error(Expression),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Expression {
    Reference(Box<str>),
    Call(Function, Vec<Expression>),
    /// May hold `{name#attribute}`.
    Text(Box<str>),
    Boolean(bool),
    Integer(i64),
    List(Vec<Expression>),
    Record(Vec<(Box<str>, Expression)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Function {
    BooleanEquals,
    GetAttr,
    IsSet,
    StringEquals,
    Partition,
    Not,
    Substring,
    IsValidHostLabel,
    ParseUrl,
    ParseArn,
    IsVirtualHostableS3Bucket,
    UriEncode,
}

impl RuleSet {
    /// Reads the rules; nothing where they say something that this module does not know.
    pub fn from_json(json: &Value) -> Option<Self> {
        let parameters = json
            .get("parameters")?
            .as_object()?
            .iter()
            .map(|(name, p)| Parameter {
                name: name.as_str().into(),
                built_in: text(p, "builtIn"),
                default: p.get("default").and_then(crate::parse::context_value),
            })
            .collect();
        Some(Self {
            parameters,
            rules: rules(json.get("rules")?)?,
        })
    }
}

fn rules(json: &Value) -> Option<Vec<Rule>> {
    json.as_array()?.iter().map(rule).collect()
}

fn rule(json: &Value) -> Option<Rule> {
    let conditions = json
        .get("conditions")?
        .as_array()?
        .iter()
        .map(|c| {
            let Expression::Call(function, arguments) = expression(c)? else {
                return None;
            };
            Some(Condition {
                function,
                arguments,
                assign: text(c, "assign"),
            })
        })
        .collect::<Option<_>>()?;
    let outcome = match json.get("type")?.as_str()? {
        "tree" => Outcome::Rules(rules(json.get("rules")?)?),
        "error" => Outcome::Error(expression(json.get("error")?)?),
        "endpoint" => {
            let endpoint = json.get("endpoint")?;
            let record = |key| match endpoint.get(key) {
                Some(Value::Object(o)) => o
                    .iter()
                    .map(|(k, v)| Some((k.as_str().into(), expression(v)?)))
                    .collect::<Option<_>>(),
                _ => Some(Vec::new()),
            };
            Outcome::Endpoint {
                url: expression(endpoint.get("url")?)?,
                properties: record("properties")?,
                headers: record("headers")?,
            }
        }
        _ => return None,
    };
    Some(Rule {
        conditions,
        outcome,
    })
}

fn expression(json: &Value) -> Option<Expression> {
    Some(match json {
        Value::Bool(b) => Expression::Boolean(*b),
        Value::Number(n) => Expression::Integer(n.as_i64()?),
        Value::String(s) => Expression::Text(s.as_str().into()),
        Value::Array(all) => Expression::List(all.iter().map(expression).collect::<Option<_>>()?),
        Value::Object(o) => {
            if let Some(name) = text(json, "ref") {
                Expression::Reference(name)
            } else if let Some(function) = text(json, "fn") {
                let arguments = json.get("argv")?.as_array()?;
                Expression::Call(
                    named(&function)?,
                    arguments.iter().map(expression).collect::<Option<_>>()?,
                )
            } else {
                Expression::Record(
                    o.iter()
                        .map(|(k, v)| Some((k.as_str().into(), expression(v)?)))
                        .collect::<Option<_>>()?,
                )
            }
        }
        Value::Null => return None,
    })
}

fn named(function: &str) -> Option<Function> {
    Some(match function {
        "booleanEquals" => Function::BooleanEquals,
        "getAttr" => Function::GetAttr,
        "isSet" => Function::IsSet,
        "stringEquals" => Function::StringEquals,
        "aws.partition" => Function::Partition,
        "not" => Function::Not,
        "substring" => Function::Substring,
        "isValidHostLabel" => Function::IsValidHostLabel,
        "parseURL" => Function::ParseUrl,
        "aws.parseArn" => Function::ParseArn,
        "aws.isVirtualHostableS3Bucket" => Function::IsVirtualHostableS3Bucket,
        "uriEncode" => Function::UriEncode,
        _ => return None,
    })
}

/// The endpoint of a request, by the service's rules, or by AWS's naming scheme where a service that
/// a user brought has none.
pub(crate) fn resolve(
    rules: Option<&RuleSet>,
    partitions: &Partitions,
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    settings: &EndpointSettings<'_>,
) -> Result<Endpoint, EndpointError> {
    let Some(rules) = rules else {
        return by_name(partitions, service, operation, settings);
    };
    let mut scope = Scope {
        partitions,
        values: parameters(rules, service, operation, input, settings),
    };
    if !scope.values.contains_key("Region")
        && settings.endpoint.is_none()
        && rules.parameters.iter().any(|p| &*p.name == "Region")
    {
        return Err(EndpointError::NoRegion {
            service: service.name.clone(),
        });
    }
    match scope.first(&rules.rules) {
        Some(Ok(mut endpoint)) => {
            let strip = matches!(&*service.name, "s3");
            endpoint.uri = match operation.uri.strip_prefix("/{Bucket}") {
                Some(rest) if strip => rest.into(),
                _ => operation.uri.clone(),
            };
            let in_rules = operation.static_context.iter().any(|(name, value)| {
                &**name == "RequiresAccountId" && *value == ContextValue::Bool(true)
            });
            endpoint.host_prefix = operation
                .host_prefix
                .clone()
                .filter(|prefix| !(in_rules && &**prefix == "{AccountId}."));
            Ok(endpoint)
        }
        Some(Err(reason)) => Err(EndpointError::Refused {
            service: service.name.clone(),
            reason,
        }),
        None => Err(EndpointError::NoRule {
            service: service.name.clone(),
        }),
    }
}

fn by_name(
    partitions: &Partitions,
    service: &Service,
    operation: &Operation,
    settings: &EndpointSettings<'_>,
) -> Result<Endpoint, EndpointError> {
    let url = match (settings.endpoint, settings.region) {
        (Some(endpoint), _) => endpoint.trim_end_matches('/').into(),
        (None, Some(region)) => {
            let suffix = partitions
                .of(region)
                .map_or("amazonaws.com", |p| &p.dns_suffix);
            let fips = if settings.fips { "-fips" } else { "" };
            format!(
                "https://{}{fips}.{region}.{suffix}",
                service.endpoint_prefix
            )
        }
        (None, None) => {
            return Err(EndpointError::NoRegion {
                service: service.name.clone(),
            });
        }
    };
    Ok(Endpoint {
        url,
        uri: operation.uri.clone(),
        host_prefix: operation.host_prefix.clone(),
        ..Endpoint::default()
    })
}

/// In order of precedence: the operation's constants, input members, settings, defaults.
fn parameters(
    rules: &RuleSet,
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    settings: &EndpointSettings<'_>,
) -> BTreeMap<Box<str>, Value> {
    let members = operation
        .input
        .map(|i| service.members(i))
        .unwrap_or_default();
    let given = |parameter: &Parameter| {
        let constant = operation
            .static_context
            .iter()
            .find(|(name, _)| *name == parameter.name);
        if let Some((_, value)) = constant {
            return Some(plain(value));
        }
        let member = members
            .iter()
            .find(|m| m.context_param.as_deref() == Some(&*parameter.name));
        if let Some(value) = member.and_then(|m| input.get(&*m.name)) {
            return Some(value.clone());
        }
        let built_in = parameter
            .built_in
            .as_deref()
            .and_then(|b| built_in(b, operation, input, settings));
        built_in.or_else(|| parameter.default.as_ref().map(plain))
    };
    rules
        .parameters
        .iter()
        .filter_map(|p| Some((p.name.clone(), given(p)?)))
        .collect()
}

fn plain(value: &ContextValue) -> Value {
    match value {
        ContextValue::Bool(b) => Value::Bool(*b),
        ContextValue::String(s) => Value::String(s.to_string()),
        ContextValue::List(l) => l.iter().map(|s| s.to_string()).collect(),
    }
}

fn built_in(
    name: &str,
    operation: &Operation,
    input: &Map<String, Value>,
    settings: &EndpointSettings<'_>,
) -> Option<Value> {
    Some(match name {
        "AWS::Region" => settings.region?.into(),
        "AWS::UseFIPS" => settings.fips.into(),
        "AWS::UseDualStack" => settings.dual_stack.into(),
        "SDK::Endpoint" => settings.endpoint?.into(),
        "AWS::Auth::AccountId" => settings.account_id?.into(),
        "AWS::Auth::AccountIdEndpointMode" => "preferred".into(),
        // A bucket's location is asked for where the bucket is not; an ARN is no path.
        // https://github.com/boto/botocore/blob/develop/botocore/handlers.py
        "AWS::S3::ForcePathStyle" => {
            let arn = input
                .get("Bucket")
                .and_then(Value::as_str)
                .is_some_and(|b| b.starts_with("arn:"));
            (&*operation.name == "GetBucketLocation" || (settings.force_path_style && !arn)).into()
        }
        "AWS::S3::Accelerate" => settings.accelerate.into(),
        // `AWS::S3::UseArnRegion` stays unset: the region of an ARN given as bucket wins, as in boto3.
        _ => return None,
    })
}

struct Scope<'a> {
    partitions: &'a Partitions,
    values: BTreeMap<Box<str>, Value>,
}

impl Scope<'_> {
    /// The endpoint or error of the first rule that applies.
    fn first(&mut self, rules: &[Rule]) -> Option<Result<Endpoint, String>> {
        rules.iter().find_map(|rule| {
            let outer = self.values.clone();
            let found = self.apply(rule);
            self.values = outer;
            found
        })
    }

    fn apply(&mut self, rule: &Rule) -> Option<Result<Endpoint, String>> {
        for condition in &rule.conditions {
            let value = self.call(condition.function, &condition.arguments)?;
            if value == Value::Bool(false) {
                return None;
            }
            if let Some(name) = &condition.assign {
                self.values.insert(name.clone(), value);
            }
        }
        match &rule.outcome {
            Outcome::Rules(rules) => self.first(rules),
            Outcome::Error(message) => Some(Err(string(self.value(message)?)?)),
            Outcome::Endpoint {
                url,
                properties,
                headers,
            } => self.endpoint(url, properties, headers).map(Ok),
        }
    }

    fn endpoint(
        &self,
        url: &Expression,
        properties: &[(Box<str>, Expression)],
        headers: &[(Box<str>, Expression)],
    ) -> Option<Endpoint> {
        let mut endpoint = Endpoint {
            url: string(self.value(url)?)?,
            ..Endpoint::default()
        };
        for (name, values) in headers {
            for value in self.value(values)?.as_array()? {
                endpoint
                    .headers
                    .push((name.to_string(), value.as_str()?.into()));
            }
        }
        for (_, schemes) in properties
            .iter()
            .filter(|(name, _)| &**name == "authSchemes")
        {
            for scheme in self.value(schemes)?.as_array()? {
                let part = |key| text(scheme, key).map(String::from);
                endpoint.auth_schemes.push(EndpointAuth {
                    name: part("name")?,
                    signing_name: part("signingName"),
                    signing_region: part("signingRegion"),
                    signing_region_set: texts(scheme.get("signingRegionSet"))
                        .into_iter()
                        .map(String::from)
                        .collect(),
                    disable_double_encoding: scheme.get("disableDoubleEncoding")
                        == Some(&Value::Bool(true)),
                });
            }
        }
        Some(endpoint)
    }

    fn value(&self, expression: &Expression) -> Option<Value> {
        Some(match expression {
            Expression::Reference(name) => self.values.get(name)?.clone(),
            Expression::Call(function, arguments) => self.call(*function, arguments)?,
            Expression::Text(template) => Value::String(self.filled(template)?),
            Expression::Boolean(b) => Value::Bool(*b),
            Expression::Integer(i) => Value::from(*i),
            Expression::List(all) => all.iter().map(|e| self.value(e)).collect::<Option<_>>()?,
            Expression::Record(all) => Value::Object(
                all.iter()
                    .map(|(k, e)| Some((k.to_string(), self.value(e)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// `{Region}` and `{PartitionResult#dnsSuffix}` replaced.
    fn filled(&self, template: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (reference, after) = after.split_once('}')?;
            let mut parts = reference.split('#');
            let first = self.values.get(parts.next()?)?;
            let value = parts.try_fold(first, |value, part| attribute(value, part))?;
            out.push_str(before);
            out.push_str(value.as_str()?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// Nothing is what the specification calls unset.
    fn call(&self, function: Function, arguments: &[Expression]) -> Option<Value> {
        let argument = |i: usize| self.value(arguments.get(i)?);
        let text = |i| string(argument(i)?);
        let flag = |i| argument(i)?.as_bool();
        let number = |i| usize::try_from(argument(i)?.as_u64()?).ok();
        Some(match function {
            Function::IsSet => argument(0).is_some().into(),
            Function::Not => argument(0).is_none_or(|v| v == Value::Bool(false)).into(),
            Function::BooleanEquals | Function::StringEquals => {
                (argument(0)? == argument(1)?).into()
            }
            Function::GetAttr => attribute(&argument(0)?, &text(1)?)?.clone(),
            Function::Partition => partition(self.partitions.of(&text(0)?)?),
            Function::Substring => {
                let (value, start, stop) = (text(0)?, number(1)?, number(2)?);
                let length = value.len();
                if !value.is_ascii() || start >= stop || length < stop {
                    return None;
                }
                let range = if flag(3)? {
                    length - stop..length - start
                } else {
                    start..stop
                };
                value.get(range)?.into()
            }
            Function::IsValidHostLabel => valid_host(&text(0)?, flag(1)?).into(),
            Function::IsVirtualHostableS3Bucket => {
                let bucket = text(0)?;
                let fits = bucket.len() >= 3 && !bucket.contains(|c: char| c.is_ascii_uppercase());
                (fits && !is_ipv4(&bucket) && valid_host(&bucket, flag(1)?)).into()
            }
            Function::ParseUrl => url(&text(0)?)?,
            Function::ParseArn => arn(&text(0)?)?,
            Function::UriEncode => encoded(&text(0)?).into(),
        })
    }
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s),
        _ => None,
    }
}

/// `resourceId[0]`, `name`, `a.b`.
fn attribute<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .try_fold(value, |value, part| match part.split_once('[') {
            None => value.get(part),
            Some((name, index)) => {
                let list = if name.is_empty() {
                    value
                } else {
                    value.get(name)?
                };
                list.get(index.strip_suffix(']')?.parse::<usize>().ok()?)
            }
        })
}

fn partition(partition: &Partition) -> Value {
    json!({
        "name": partition.id,
        "dnsSuffix": partition.dns_suffix,
        "dualStackDnsSuffix": partition.dual_stack_dns_suffix,
        "supportsFIPS": partition.supports_fips,
        "supportsDualStack": partition.supports_dual_stack,
        "implicitGlobalRegion": partition.implicit_global_region,
    })
}

fn valid_host(name: &str, subdomains: bool) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if subdomains {
        name.split('.').all(label)
    } else {
        label(name)
    }
}

fn is_ipv4(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// A user's endpoint; those with a query or another scheme are none.
fn url(text: &str) -> Option<Value> {
    let (scheme, rest) = text.split_once("://")?;
    if !matches!(scheme, "http" | "https") || rest.contains(['?', '#']) {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = if authority.starts_with('[') {
        authority
    } else {
        authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host)
    };
    let slash = if path.ends_with('/') { "" } else { "/" };
    Some(json!({
        "scheme": scheme,
        "authority": authority,
        "path": path.trim_end_matches('/'),
        "normalizedPath": format!("{path}{slash}"),
        "isIp": host.starts_with('[') || is_ipv4(host),
    }))
}

fn arn(text: &str) -> Option<Value> {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next();
    let ("arn", partition, service, region, account, resource) =
        (part()?, part()?, part()?, part()?, part()?, part()?)
    else {
        return None;
    };
    if partition.is_empty() || service.is_empty() || resource.is_empty() {
        return None;
    }
    Some(json!({
        "partition": partition,
        "service": service,
        "region": region,
        "accountId": account,
        "resourceId": resource.split([':', '/']).collect::<Vec<_>>(),
    }))
}

fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
