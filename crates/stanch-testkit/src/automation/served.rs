//! Systems Manager Automation behind an endpoint: our engine answers for it, an emulator for all else.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_types::{AccountId, Api, Call, Region, is_like};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Automation, Caller, OPERATIONS, Refused, Roles};
use crate::Emulated;

/// A server on a free loopback port, which ends when this is dropped.
///
/// Signatures are the emulator's to check; it cannot tell what may be done with a document, so that the
/// policies of sessions are looked at here, and those of roles by nobody. Sessions are known by the
/// answers of the emulator that pass through: who is to use this must get its credentials through it.
#[derive(Debug)]
pub struct AutomationServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for AutomationServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl AutomationServer {
    /// Serves before the emulator at `emulator`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(emulator: SocketAddr, automation: Automation) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let front = Arc::new(Front {
            emulator,
            automation,
            keys: Mutex::default(),
        });
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let front = Arc::clone(&front);
                // A caller that goes away is nobody's concern.
                tokio::spawn(async move { front.serve(stream).await.ok() });
            }
        });
        Ok(Self { address, accepting })
    }

    /// What `AWS_ENDPOINT_URL` has to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Assumes roles as the account's root.
pub struct RootRoles(pub Emulated);

#[async_trait]
impl Roles for RootRoles {
    async fn assume(&self, caller: &Caller, role: &str) -> Result<Arc<dyn Api>, String> {
        let root = self.0.root(&caller.account, &caller.region);
        let name = format!("Automation-{}", Uuid::new_v4());
        let call = Call::new(
            "sts",
            "AssumeRole",
            json!({"RoleArn": role, "RoleSessionName": name}),
        );
        let reply = root.call(&call).await.map_err(|error| error.to_string())?;
        let part = |member: &str| {
            let found = reply.output.pointer(&format!("/Credentials/{member}"));
            found.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Ok(self.0.session(
            &part("AccessKeyId"),
            &part("SecretAccessKey"),
            Some(&part("SessionToken")),
            &caller.region,
        ))
    }
}

struct Front {
    emulator: SocketAddr,
    automation: Automation,
    keys: Mutex<HashMap<String, Key>>,
}

/// What is known of an access key.
#[derive(Clone)]
struct Key {
    secret: String,
    token: Option<String>,
    /// The session's policy.
    policy: Option<Value>,
}

struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Access key id and region of the signature.
    fn signer(&self) -> Option<(&str, &str)> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        let mut parts = scope.split('/');
        Some((parts.next()?, parts.nth(1)?))
    }
}

impl Front {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(request) = receive(&mut stream).await? else {
            return Ok(());
        };
        let operation = request
            .header("x-amz-target")
            .and_then(|target| target.strip_prefix("AmazonSSM."))
            .map(str::to_owned);
        let answer = match operation {
            Some(operation) if OPERATIONS.contains(&operation.as_str()) => {
                let answered = self.answer(&request, &operation).await;
                reply(answered)
            }
            _ => self.pass_on(&request).await?,
        };
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }

    async fn pass_on(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut emulator = TcpStream::connect(self.emulator).await?;
        let mut head = String::new();
        for line in request.head.lines() {
            let name = line.split(':').next().unwrap_or_default();
            let dropped = [
                "connection",
                "expect",
                "transfer-encoding",
                "content-length",
            ];
            if !dropped.contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
        head.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            request.body.len()
        ));
        emulator.write_all(head.as_bytes()).await?;
        emulator.write_all(&request.body).await?;
        let mut answer = Vec::new();
        emulator.read_to_end(&mut answer).await?;
        self.learn(request, &answer);
        Ok(answer)
    }

    /// Remembers the credentials that the emulator gives out.
    fn learn(&self, request: &Request, answer: &[u8]) {
        let asked = String::from_utf8_lossy(&request.body);
        if !["AssumeRole", "CreateAccessKey"]
            .iter()
            .any(|action| asked.contains(&format!("Action={action}")))
        {
            return;
        }
        let answer = String::from_utf8_lossy(answer);
        let part = |tag: &str| {
            let (_, rest) = answer.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
        };
        let (Some(id), Some(secret)) = (part("AccessKeyId"), part("SecretAccessKey")) else {
            return;
        };
        let policy = asked
            .split('&')
            .find_map(|field| field.strip_prefix("Policy="))
            .and_then(|policy| serde_json::from_str(&decoded(policy)).ok());
        let key = Key {
            secret,
            token: part("SessionToken"),
            policy,
        };
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, key);
    }

    async fn answer(&self, request: &Request, operation: &str) -> Result<Value, Refused> {
        let input: Value = serde_json::from_slice(&request.body)
            .map_err(|error| Refused::new("SerializationException", error.to_string()))?;
        let (caller, policy) = self.caller(request).await?;
        if let Some(policy) = policy {
            let on = resource(&caller, operation, &input);
            let action = format!("ssm:{operation}");
            if !allows(&policy, &action, &on) {
                return Err(Refused::new(
                    "AccessDeniedException",
                    format!(
                        "User: {} is not authorized to perform: {action} on resource: {on} because no session policy allows the {action} action",
                        caller.arn
                    ),
                ));
            }
        }
        self.automation.call(&caller, operation, &input).await
    }

    async fn caller(&self, request: &Request) -> Result<(Caller, Option<Value>), Refused> {
        let denied = |why: &str| Refused::new("UnrecognizedClientException", why);
        let (id, region) = request
            .signer()
            .ok_or_else(|| denied("the request is not signed"))?;
        let region: Region = region.parse().map_err(|_| denied("no such region"))?;
        let known = self
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        let aws = Emulated::at(&format!("http://{}", self.emulator), region.clone());
        if let (None, Ok(account)) = (&known, id.parse::<AccountId>()) {
            let caller = Caller {
                arn: format!("arn:{}:iam::{account}:root", region.partition()),
                api: aws.root(&account, &region),
                account,
                region,
                parent: None,
            };
            return Ok((caller, None));
        }
        let key = known.ok_or_else(|| denied("the access key is not known here"))?;
        let api = aws.session(id, &key.secret, key.token.as_deref(), &region);
        let whoami = Call::new("sts", "GetCallerIdentity", json!({}));
        let identity = api
            .call(&whoami)
            .await
            .map_err(|error| denied(&error.to_string()))?
            .output;
        let part = |member: &str| {
            let found = identity.get(member).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let account = part("Account")
            .parse()
            .map_err(|_| denied("whose key it is cannot be told"))?;
        let caller = Caller {
            account,
            region,
            arn: part("Arn"),
            api,
            parent: None,
        };
        Ok((caller, key.policy))
    }
}

/// What a call is authorized on:
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html>.
fn resource(caller: &Caller, operation: &str, input: &Value) -> String {
    let of = |member: &str| {
        input
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let rest = match operation {
        "StartAutomationExecution" => {
            let version = match of("DocumentVersion") {
                "" => "$DEFAULT",
                version => version,
            };
            format!("automation-definition/{}:{version}", of("DocumentName"))
        }
        "GetAutomationExecution"
        | "StopAutomationExecution"
        | "SendAutomationSignal"
        | "DescribeAutomationStepExecutions" => {
            format!("automation-execution/{}", of("AutomationExecutionId"))
        }
        "DescribeAutomationExecutions" | "ListDocuments" => return "*".to_owned(),
        _ => format!("document/{}", of("Name")),
    };
    format!(
        "arn:{}:ssm:{}:{}:{rest}",
        caller.region.partition(),
        caller.region,
        caller.account
    )
}

/// True if a session policy, which only allows, has the action on the resource.
fn allows(policy: &Value, action: &str, on: &str) -> bool {
    let any = |patterns: Option<&Value>, text: &str| match patterns {
        Some(Value::String(pattern)) => is_like(pattern, text),
        Some(Value::Array(patterns)) => patterns
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| is_like(pattern, text)),
        _ => false,
    };
    let statements = policy.get("Statement").and_then(Value::as_array);
    statements
        .into_iter()
        .flatten()
        .any(|statement| any(statement.get("Action"), action) && any(statement.get("Resource"), on))
}

/// One request; none if the connection closes first.
async fn receive(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let body = bytes.split_off(end + 4);
    let mut request = Request {
        head: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
        body,
    };
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length: usize = request
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(request))
}

fn reply(answered: Result<Value, Refused>) -> Vec<u8> {
    let (status, body) = match answered {
        Ok(body) => ("200 OK", seconds(body)),
        Err(Refused { code, message }) => (
            "400 Bad Request",
            json!({"__type": code, "message": message}),
        ),
    };
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        Uuid::new_v4(),
        body.len(),
    )
    .into_bytes()
}

/// Times as the protocol has them.
fn seconds(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(seconds).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let is_time = name.ends_with("Time") || name == "CreatedDate";
                let time = value.as_str().filter(|_| is_time);
                let time = time.and_then(|text| text.parse::<Timestamp>().ok());
                match time {
                    Some(time) => (name, json!(time.as_millisecond() as f64 / 1000.0)),
                    None => (name, seconds(value)),
                }
            })
            .collect(),
        other => other,
    }
}

/// Without `%` and `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(0)),
                _ => bytes.push(byte),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
