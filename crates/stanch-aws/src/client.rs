//! The client: a call by name becomes signed requests, with retries, until there is an answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use serde_json::{Map, Value, json};
use stanch_models::{AuthScheme, Models, Operation, Resolved, Service, Severity};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock, Region, Reply};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    credentials::{CredentialsError, Identity, RoleSession},
    endpoint::{Endpoint, Target},
    environment::Environment,
    ports::Random,
    protocol::{self, HttpRequest, HttpResponse},
    s3, sign,
    trace::Traced,
    transport::{Outgoing, Transport, TransportError},
};

/// What a [`Client`] is made of.
pub struct Setup {
    /// Variables and config file: credentials, region, endpoints.
    pub environment: Environment,
    /// The services that can be called.
    pub models: Arc<Models>,
    /// Time, for signatures, for expiry and between retries.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for jitter and idempotency tokens.
    pub random: Arc<dyn Random>,
    /// How long one call may take, retries included.
    pub call_timeout: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How often a request is sent at most; `AWS_MAX_ATTEMPTS` goes before.
    pub attempts: u32,
    /// The largest response body in bytes.
    pub body_limit: usize,
}

impl Setup {
    /// The usual limits: 30 s a call, 5 s to connect, 3 attempts, 64 MiB.
    #[must_use]
    pub fn new(
        environment: Environment,
        models: Arc<Models>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            environment,
            models,
            clock,
            random,
            call_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            attempts: 3,
            body_limit: 64 << 20,
        }
    }
}

/// AWS with one set of credentials in one region. Clones share connections and caches.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    region: Region,
    token_seed: Option<Arc<str>>,
    /// Whose resources it reaches, if they are another's.
    account: Option<AccountId>,
}

struct Shared {
    environment: Environment,
    models: Arc<Models>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    transport: Transport,
    call_timeout: Duration,
    attempts: u32,
    /// Seconds by which AWS's clock is ahead of ours, learned from its answers.
    skew: AtomicI64,
    /// By how many seconds AWS's clock was ahead of ours at its last answer; [`NEVER`] before the first.
    ahead: AtomicI64,
    /// Buckets that were found in another region than the one asked.
    bucket_regions: Mutex<HashMap<String, Region>>,
    /// The trace that calls belong to.
    trace: Mutex<Option<String>>,
}

/// No answer has come yet.
const NEVER: i64 = i64::MIN;

/// A call that has passed all checks, ready to be sent as often as needed.
struct Prepared<'c> {
    call: &'c Call,
    service: &'c Service,
    operation: &'c Operation,
    params: Map<String, Value>,
    request: HttpRequest,
    bucket: Option<String>,
    scheme: AuthScheme,
    traced: Traced,
}

/// How an attempt ended.
enum Outcome {
    Done(Reply),
    Failed(CallError, HttpResponse),
    Lost(CallError),
}

impl Client {
    /// A client for `region` with the environment's own credentials, which are looked up when first
    /// needed.
    #[must_use]
    pub fn new(setup: Setup, region: Region) -> Self {
        let attempts = setup.environment.max_attempts().unwrap_or(setup.attempts);
        Self {
            identity: Arc::new(Identity::from_environment(&setup.environment)),
            region,
            token_seed: None,
            account: None,
            shared: Arc::new(Shared {
                transport: Transport::new(
                    setup.environment.clone(),
                    setup.connect_timeout,
                    setup.body_limit,
                ),
                environment: setup.environment,
                models: setup.models,
                clock: setup.clock,
                random: setup.random,
                call_timeout: setup.call_timeout,
                attempts,
                skew: AtomicI64::new(0),
                ahead: AtomicI64::new(NEVER),
                bucket_regions: Mutex::default(),
                trace: Mutex::default(),
            }),
        }
    }

    /// The same credentials in another region.
    #[must_use]
    pub fn in_region(&self, region: Region) -> Self {
        Self {
            region,
            ..self.clone()
        }
    }

    /// These credentials, which never expire, instead.
    #[must_use]
    pub fn with_credentials(&self, id: &str, secret: &str, token: Option<&str>) -> Self {
        let token = token.map(str::to_owned);
        let credentials = Credentials::new(id, secret, token, None, "given");
        self.with_identity(Arc::new(Identity::fixed(credentials)))
    }

    /// A session of a role, assumed when first needed and again before it expires.
    #[must_use]
    pub fn as_role(&self, session: RoleSession) -> Self {
        self.with_identity(Arc::new(Identity::role(self.clone(), session)))
    }

    /// Says in traces whose resources are reached.
    pub(crate) fn of_account(self, account: AccountId) -> Self {
        Self {
            account: Some(account),
            ..self
        }
    }

    pub(crate) fn with_identity(&self, identity: Arc<Identity>) -> Self {
        Self {
            identity,
            ..self.clone()
        }
    }

    /// Idempotency tokens are made from `seed` and the call, so that the same call of the same
    /// execution has the same token, also after a restart. Without a seed they are random.
    #[must_use]
    pub fn with_token_seed(&self, seed: impl Into<Arc<str>>) -> Self {
        Self {
            token_seed: Some(seed.into()),
            ..self.clone()
        }
    }

    /// All calls from now on, those of clones and sessions too, say that they belong to this trace: the
    /// header `X-Amzn-Trace-Id`, <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
    pub fn set_trace(&self, header: Option<&str>) {
        let mut trace = self
            .shared
            .trace
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *trace = header.map(str::to_owned);
    }

    /// The region that calls go to.
    #[must_use]
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// By how much AWS's clock was ahead of ours at its last answer, to the second; none before the first.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<jiff::SignedDuration> {
        let ahead = self.shared.ahead.load(Ordering::Relaxed);
        (ahead != NEVER).then(|| jiff::SignedDuration::from_secs(ahead))
    }

    /// The services that can be called.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.shared.models
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Calls sts.AssumeRole with this client's own credentials.
    pub(crate) async fn assume_role(
        &self,
        session: &RoleSession,
    ) -> Result<Credentials, CallError> {
        let mut params = json!({
            "RoleArn": session.role_arn,
            "RoleSessionName": session.session_name,
            "DurationSeconds": session.duration.as_secs(),
        });
        for (name, value) in [
            ("ExternalId", &session.external_id),
            ("Policy", &session.policy),
        ] {
            if let (Some(value), Some(params)) = (value, params.as_object_mut()) {
                params.insert(name.to_owned(), value.as_str().into());
            }
        }
        let call = Call::new("sts", "AssumeRole", params);
        // Boxed: a role's client may itself be a role's.
        let reply = Box::pin(self.call(&call)).await?;
        let text = |name: &str| {
            reply
                .output
                .pointer(&format!("/Credentials/{name}"))
                .and_then(Value::as_str)
        };
        let expiry = text("Expiration")
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(SystemTime::from);
        match (
            text("AccessKeyId"),
            text("SecretAccessKey"),
            text("SessionToken"),
            expiry,
        ) {
            (Some(id), Some(secret), Some(token), Some(expiry)) => Ok(Credentials::new(
                id,
                secret,
                Some(token.to_owned()),
                Some(expiry),
                "AssumeRole",
            )),
            _ => Err(CallError::new(
                CallErrorKind::Unreadable,
                &call,
                "the answer has no whole set of credentials",
            )),
        }
    }

    /// The request for a call as it would be sent, without endpoint and signature.
    ///
    /// # Errors
    /// [`CallErrorKind::Invalid`] when the call does not fit the API model.
    pub fn render(&self, call: &Call) -> Result<HttpRequest, CallError> {
        let resolved = self.shared.models.resolve_call(call)?;
        Ok(self.prepare(call, &resolved)?.request)
    }

    fn prepare<'c>(
        &self,
        call: &'c Call,
        resolved: &'c Resolved,
    ) -> Result<Prepared<'c>, CallError> {
        let (service, operation) = (&*resolved.service, resolved.operation());
        let invalid = |message: String| CallError::new(CallErrorKind::Invalid, call, message);
        let mut params = match &call.params {
            Value::Null => Map::new(),
            Value::Object(params) => params.clone(),
            _ => return Err(invalid("the parameters must be an object".to_owned())),
        };
        params.retain(|_, value| !value.is_null());
        stanch_models::canonical_parameters(service, operation, &mut params);
        self.fill_tokens(service, operation, &mut params);
        let params = check(service, operation, params).map_err(invalid)?;
        let scheme = sign::scheme(service, operation).ok_or_else(|| {
            invalid("its requests are signed in a way that is not supported".to_owned())
        })?;
        let bucket = s3::bucket(service, &params).map(str::to_owned);
        let mut request = protocol::request(service, operation, &Value::Object(params.clone()))?;
        s3::add_checksum(&mut request, service, operation, &params).map_err(invalid)?;
        Ok(Prepared {
            call,
            service,
            operation,
            params,
            request,
            bucket,
            scheme,
            traced: Traced::not(),
        })
    }

    fn fill_tokens(
        &self,
        service: &Service,
        operation: &Operation,
        params: &mut Map<String, Value>,
    ) {
        let members = operation.input.map_or(&[][..], |id| service.members(id));
        for member in members.iter().filter(|member| member.idempotency_token) {
            if params
                .get(&*member.name)
                .is_some_and(|value| !value.is_null())
            {
                continue;
            }
            let token = match &self.token_seed {
                None => uuid::Builder::from_random_bytes(self.shared.random.bits().to_be_bytes())
                    .into_uuid(),
                Some(seed) => {
                    let name = format!(
                        "{seed}\n{}.{}\n{}\n{}",
                        service.name,
                        operation.name,
                        self.region,
                        Value::Object(params.clone())
                    );
                    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
                }
            };
            params.insert(member.name.to_string(), token.to_string().into());
        }
    }

    async fn send_until_answered(&self, prepared: &Prepared<'_>) -> Result<Reply, CallError> {
        let mut region = self.region_for(prepared);
        let mut attempt = 1;
        let (mut moved, mut renewed, mut adjusted) = (false, false, false);
        let mut sent = 0;
        loop {
            if sent > 0 {
                prepared.traced.retried(sent);
            }
            sent += 1;
            let credentials = match prepared.scheme {
                AuthScheme::None => None,
                _ => Some(self.credentials(prepared.call).await?),
            };
            let error = match self
                .attempt(prepared, &region, credentials.as_ref())
                .await?
            {
                Outcome::Done(reply) => return Ok(reply),
                Outcome::Lost(error) => error,
                Outcome::Failed(error, response) => {
                    if !moved
                        && let Some(other) = self.moved_to(prepared, &region, &error, &response)
                    {
                        (region, moved) = (other, true);
                        continue;
                    }
                    if !adjusted && self.adjust_clock(&error, &response) {
                        adjusted = true;
                        continue;
                    }
                    if !renewed
                        && matches!(
                            error.code.as_str(),
                            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired"
                        )
                        && let Some(credentials) = &credentials
                        && self.identity.forget(credentials).await
                    {
                        renewed = true;
                        continue;
                    }
                    error
                }
            };
            if attempt >= self.shared.attempts
                || !is_transient(&error)
                || (error.kind.may_have_happened() && !self.may_send_again(prepared))
            {
                return Err(error);
            }
            self.shared.clock.sleep(self.backoff(attempt)).await;
            attempt += 1;
        }
    }

    /// True if sending the request once more has no effect of its own: it reads, or AWS knows it by
    /// its token. Whether anything else was carried out has to be looked at first, by the caller.
    fn may_send_again(&self, prepared: &Prepared<'_>) -> bool {
        let Prepared {
            service, operation, ..
        } = prepared;
        let reads = || self.shared.models.is_read(service, operation);
        let has_token = operation.input.is_some_and(|input| {
            service
                .members(input)
                .iter()
                .any(|member| member.idempotency_token)
        });
        has_token || reads().is_ok_and(|read| read == Some(true))
    }

    /// Exponential, with full jitter, up to 20 s.
    fn backoff(&self, attempt: u32) -> Duration {
        let ceiling = 2_f64
            .powi(i32::try_from(attempt).unwrap_or(5) - 1)
            .min(20.0);
        Duration::from_secs_f64(ceiling * self.shared.random.fraction().clamp(0.0, 1.0))
    }

    /// Looks the credentials up, or assumes the role, now instead of with the first call.
    ///
    /// # Errors
    /// [`CallErrorKind::Credentials`] when there are none.
    pub async fn connect(&self) -> Result<(), CallError> {
        let call = Call::new("sts", "AssumeRole", Value::Null);
        self.credentials(&call).await.map(drop)
    }

    async fn credentials(&self, call: &Call) -> Result<Credentials, CallError> {
        match self.identity.credentials(&*self.shared.clock).await {
            Ok(credentials) => Ok(credentials),
            Err(CredentialsError::None(why)) => Err(CallError::new(
                CallErrorKind::Credentials,
                call,
                format!(
                    "no AWS credentials: {why}: set `AWS_ACCESS_KEY_ID` and \
                         `AWS_SECRET_ACCESS_KEY`, or choose a profile with `AWS_PROFILE`"
                ),
            )),
            Err(CredentialsError::Role(error)) => Err(CallError {
                // Whatever became of AssumeRole, the call itself was not sent.
                kind: match error.kind {
                    CallErrorKind::Throttled => CallErrorKind::Throttled,
                    _ => CallErrorKind::Credentials,
                },
                service: call.service.clone(),
                operation: call.operation.clone(),
                message: format!("the role could not be assumed: {}", error.message),
                ..error
            }),
        }
    }

    async fn attempt(
        &self,
        prepared: &Prepared<'_>,
        region: &Region,
        credentials: Option<&Credentials>,
    ) -> Result<Outcome, CallError> {
        let Prepared {
            call,
            service,
            operation,
            scheme,
            ..
        } = prepared;
        let invalid = |message: String| CallError::new(CallErrorKind::Invalid, call, message);
        let mut request = prepared.request.clone();
        let endpoint = Endpoint::resolve(
            &Target {
                models: &self.shared.models,
                environment: &self.shared.environment,
                service,
                operation,
                params: &prepared.params,
                region,
            },
            &request.uri,
            request.host_prefix.as_deref(),
        )
        .map_err(invalid)?;
        request.headers.extend(endpoint.headers.iter().cloned());
        request.set_header("User-Agent", concat!("stanch/", env!("CARGO_PKG_VERSION")));
        if let Some(credentials) = credentials {
            let signed = sign::headers(
                *scheme,
                operation,
                &endpoint,
                (
                    &request.method,
                    &endpoint.url,
                    &request.headers,
                    &request.body,
                ),
                credentials.clone(),
                self.signing_time(),
            )
            .map_err(invalid)?;
            request.headers.extend(signed);
            // Beside the signature, as the SDKs do it: proxies may change it.
            let trace = self
                .shared
                .trace
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let trace = trace
                .as_ref()
                .map(|trace| ("x-amzn-trace-id".to_owned(), prepared.traced.header(trace)));
            request.headers.extend(trace);
        }
        let sent = self
            .shared
            .transport
            .send(Outgoing {
                method: &request.method,
                url: &endpoint.url,
                headers: request.headers,
                body: &request.body,
            })
            .await;
        if let Ok(response) = &sent {
            prepared.traced.answered(response.status);
            self.note_clock(response);
        }
        Ok(match sent {
            Ok(response) => match protocol::response(service, operation, &response) {
                Ok(reply) => Outcome::Done(reply),
                Err(error) => Outcome::Failed(error, response),
            },
            Err(error @ TransportError::Unsendable(_)) => return Err(invalid(error.to_string())),
            Err(error @ TransportError::TooLarge(_)) => {
                return Err(CallError::new(
                    CallErrorKind::Unreadable,
                    call,
                    error.to_string(),
                ));
            }
            Err(error) => Outcome::Lost(CallError::new(
                CallErrorKind::Unanswered,
                call,
                format!(
                    "{error} ({})",
                    endpoint.url.split('?').next().unwrap_or_default()
                ),
            )),
        })
    }

    fn signing_time(&self) -> SystemTime {
        let skew = jiff::SignedDuration::from_secs(self.shared.skew.load(Ordering::Relaxed));
        let now = self.shared.clock.now();
        SystemTime::from(now.checked_add(skew).unwrap_or(now))
    }

    fn note_clock(&self, response: &HttpResponse) {
        let date = response.header("date").and_then(protocol::time::parse_text);
        if let Some(date) = date {
            let ahead = date.as_second() - self.shared.clock.now().as_second();
            self.shared.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// After an answer that our clock is wrong: true if AWS's is more than four minutes away from
    /// what we last signed with, and is now followed.
    fn adjust_clock(&self, error: &CallError, response: &HttpResponse) -> bool {
        let suspect = matches!(
            error.code.as_str(),
            "RequestTimeTooSkewed"
                | "RequestExpired"
                | "RequestInTheFuture"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "AuthFailure"
        );
        let date = response
            .header("date")
            .filter(|_| suspect)
            .and_then(protocol::time::parse_text);
        let Some(date) = date else {
            return false;
        };
        let ahead = date.as_second() - self.shared.clock.now().as_second();
        let before = self.shared.skew.load(Ordering::Relaxed);
        if (ahead - before).abs() <= 240 {
            return false;
        }
        self.shared.skew.store(ahead, Ordering::Relaxed);
        true
    }

    fn region_for(&self, prepared: &Prepared<'_>) -> Region {
        let regions = self
            .shared
            .bucket_regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        prepared
            .bucket
            .as_ref()
            .and_then(|bucket| regions.get(bucket))
            .unwrap_or(&self.region)
            .clone()
    }

    /// The region of the bucket, if S3 says that it is another one of the same partition.
    fn moved_to(
        &self,
        prepared: &Prepared<'_>,
        asked: &Region,
        error: &CallError,
        response: &HttpResponse,
    ) -> Option<Region> {
        let bucket = prepared.bucket.as_ref()?;
        let region: Region = s3::other_region(response, &error.code)?.parse().ok()?;
        if region == *asked || region.partition() != asked.partition() {
            return None;
        }
        self.shared
            .bucket_regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(bucket.clone(), region.clone());
        Some(region)
    }
}

/// Holds the parameters against the model. All that AWS is sure to refuse is one message.
fn check(
    service: &Service,
    operation: &Operation,
    params: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let params = Value::Object(params);
    let problems: Vec<String> = stanch_models::validate(service, operation, &params)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{problem}: {hint}"),
            None => problem.to_string(),
        })
        .collect();
    match params {
        Value::Object(params) if problems.is_empty() => Ok(params),
        _ => Err(problems.join("; ")),
    }
}

/// Failures that pass by themselves.
fn is_transient(error: &CallError) -> bool {
    match error.kind {
        CallErrorKind::Throttled | CallErrorKind::Server | CallErrorKind::Unanswered => true,
        CallErrorKind::Rejected => {
            matches!(
                error.code.as_str(),
                "RequestTimeout" | "RequestTimeoutException"
            )
        }
        _ => false,
    }
}

#[async_trait]
impl Api for Client {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let resolved = self.shared.models.resolve_call(call)?;
        let mut prepared = self.prepare(call, &resolved)?;
        prepared.traced = Traced::begin(
            prepared.service,
            prepared.operation,
            &self.region,
            self.account.as_ref(),
            &*self.shared.random,
        );
        let limit = self.shared.call_timeout;
        let sent = self.send_until_answered(&prepared);
        let sent = sent.instrument(prepared.traced.span.clone());
        let result = match tokio::time::timeout(limit, sent).await {
            Ok(result) => result,
            Err(_) => Err(CallError::new(
                CallErrorKind::Unanswered,
                call,
                format!("no answer within {} s", limit.as_secs_f64()),
            )),
        };
        prepared.traced.ended(&result);
        result
    }
}
