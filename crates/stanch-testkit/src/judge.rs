//! Every request judged by an IAM simulator that is not ours, before it is sent.
//!
//! The simulator is `@cloud-copilot/iam-simulate`, a tool of the tests in a process of its own. It is
//! asked about each action and resource of a request: the member role's policy and the session's must
//! both allow it. Which resources those are is worked out here from the request and AWS's
//! authorization reference, not from the policies.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_models::{Models, Needed};
use stanch_types::{
    AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Scope, Sessions,
};

/// There is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The package is not there.
    #[error("no IAM simulator: `{}` does not exist; run `cargo xtask setup`", .0.display())]
    NotInstalled(PathBuf),
    /// It cannot be run, or has ended.
    #[error("the IAM simulator, which runs on Node.js 20 or newer: {0}")]
    Io(#[from] io::Error),
    /// It cannot judge this.
    #[error("the IAM simulator cannot judge `{action}` on `{resource}`: {said}")]
    Unjudged {
        /// The IAM action.
        action: String,
        /// The ARN.
        resource: String,
        /// What it said.
        said: String,
    },
    /// What a call needs is not known.
    #[error(transparent)]
    Models(#[from] stanch_models::LookupError),
    /// The models cannot be read.
    #[error(transparent)]
    Damaged(#[from] stanch_models::blob::BlobError),
}

/// The simulator's process; it ends when this is dropped.
#[derive(Debug)]
pub struct Judge(Mutex<Court>);

#[derive(Debug)]
struct Court {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What was answered before.
    settled: HashMap<String, bool>,
}

impl Drop for Court {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What may happen in an account.
#[derive(Debug, Clone, Default)]
pub struct Law {
    /// The policy of the role.
    pub role: Value,
    /// The policy of the session; null if it has none.
    pub session: Value,
    /// The role's boundary; null if it has none.
    pub boundary: Value,
    /// The organization's service control policy; null if it has none.
    pub organization: Value,
    /// Condition keys and their values; null for none.
    pub context: Value,
}

impl Judge {
    /// Starts the simulator.
    ///
    /// # Errors
    /// It is not installed, or Node.js is missing.
    pub fn start() -> Result<Self, JudgeError> {
        let folder = crate::repository().join("tools/judge");
        let installed = folder.join("node_modules");
        if !installed.exists() {
            return Err(JudgeError::NotInstalled(installed));
        }
        let node = std::fs::read_to_string(installed.join("node.path"));
        let mut process = Command::new(node.as_deref().unwrap_or("node"))
            .arg(folder.join("judge.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        Ok(Self(Mutex::new(Court {
            process,
            questions,
            answers: BufReader::new(answers),
            settled: HashMap::new(),
        })))
    }

    /// Whether a session of `account` may do `action` on the resource with this ARN.
    ///
    /// # Errors
    /// It cannot be judged.
    pub fn allows(
        &self,
        law: &Law,
        account: &AccountId,
        action: &str,
        resource: &str,
    ) -> Result<bool, JudgeError> {
        let question = json!({
            "principal": format!("arn:aws:sts::{account}:assumed-role/member/session"),
            "account": account,
            "action": action,
            "resource": resource,
            "role": law.role,
            "session": law.session,
            "boundary": law.boundary,
            "organization": law.organization,
            "context": law.context,
        })
        .to_string();
        let mut court = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowed) = court.settled.get(&question) {
            return Ok(*allowed);
        }
        writeln!(court.questions, "{question}")?;
        let mut answer = String::new();
        court.answers.read_line(&mut answer)?;
        let said: Value = serde_json::from_str(&answer).map_err(io::Error::from)?;
        let Some(allowed) = said.get("allowed").and_then(Value::as_bool) else {
            return Err(JudgeError::Unjudged {
                action: action.to_owned(),
                resource: resource.to_owned(),
                said: said.get("error").map(Value::to_string).unwrap_or(answer),
            });
        };
        court.settled.insert(question, allowed);
        Ok(allowed)
    }
}

/// An action that a request needs, with a resource that it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The IAM action.
    pub action: String,
    /// The ARN; `*` where the action has no resources.
    pub resource: String,
}

/// What IAM is asked when `call` is made. Where the request does not name its resource, the resources
/// that `session` allows the action on stand for it.
///
/// # Errors
/// The API models do not have the call.
pub fn needs(
    models: &Models,
    call: &Call,
    (account, region): (&AccountId, &Region),
    session: &Value,
) -> Result<Vec<Need>, JudgeError> {
    let resolved = models.resolve(&call.service, &call.operation)?;
    let mut needs = Vec::new();
    for needed in models.actions_for(&resolved.service, resolved.operation())? {
        if needed.optional {
            continue;
        }
        let action = needed.qualified();
        let named = named(&needed, &call.params, account, region);
        let resources = if !named.is_empty() {
            named
        } else if needed.arns.is_empty() {
            vec!["*".to_owned()]
        } else {
            granted(session, &action, &needed, account, region)
        };
        needs.extend(resources.into_iter().map(|resource| Need {
            action: action.clone(),
            resource: of_aws(with_path(resource, session, &action), account),
        }));
    }
    Ok(needs)
}

/// AWS's own documents are in no account.
fn of_aws(arn: String, account: &AccountId) -> String {
    if arn.contains(":document/AWS-") {
        arn.replacen(&format!(":{account}:"), "::", 1)
    } else {
        arn
    }
}

/// IAM's ARNs hold a path that requests leave out: it is told by the policy, if the name is the same.
fn with_path(arn: String, session: &Value, action: &str) -> String {
    let Some((kind, name)) = arn.split_once('/').filter(|_| arn.contains(":iam::")) else {
        return arn;
    };
    let same = |known: &String| {
        known.starts_with(&format!("{kind}/")) && known.ends_with(&format!("/{name}"))
    };
    allowed_on(session, action)
        .into_iter()
        .find(same)
        .unwrap_or(arn)
}

/// The ARNs of the resources that a request names.
fn named(needed: &Needed, params: &Value, account: &AccountId, region: &Region) -> Vec<String> {
    let types = needed.action.iter().flat_map(|action| &action.resources);
    let said = params.get("ResourceType").and_then(Value::as_str);
    let is_said = |kind: &str| said.is_some_and(|said| said.eq_ignore_ascii_case(kind));
    let told = types.clone().any(|kind| is_said(&kind.name));
    let mut required = Vec::new();
    let mut optional = Vec::new();
    for (kind, format) in types.zip(&needed.arns) {
        if told && !is_said(&kind.name) {
            continue;
        }
        let arns = arns_of(&pieces(format, account, region), params, told);
        if kind.required {
            required.extend(arns);
        } else {
            optional.extend(arns);
        }
    }
    // What a request names by the way, such as a key, need not be what its action is about.
    if required.is_empty() {
        optional
    } else {
        required
    }
}

/// `told`: the request says of what type its `ResourceId` is.
fn arns_of(pieces: &[Piece], params: &Value, told: bool) -> Vec<String> {
    let whole: Vec<String> = members(params)
        .flat_map(|(_, values)| values)
        .filter(|text| is_of(text, pieces))
        .map(str::to_owned)
        .collect();
    if !whole.is_empty() {
        return whole;
    }
    let mut made = vec![String::new()];
    for piece in pieces {
        let values: Vec<&str> = match piece {
            Piece::Text(text) => vec![text],
            Piece::Name(name) => members(params)
                .filter(|(member, _)| same(member, name) || (told && *member == "ResourceId"))
                .flat_map(|(_, values)| values)
                // Of a key an alias does not tell the id.
                .filter(|value| name != "KeyId" || !value.starts_with("alias/"))
                .filter(|value| !value.starts_with("arn:"))
                // WAF's scopes are lower-case in ARNs; `/ssm/documents` is `servicesetting/ssm/documents`.
                .map(|value| match value {
                    "REGIONAL" => "regional",
                    "CLOUDFRONT" => "global",
                    value if name == "ResourceId" => value.trim_start_matches('/'),
                    value => value,
                })
                .collect(),
        };
        let longer = |arn: &String| -> Vec<String> {
            let kind = arn.rsplit([':', '/']).nth(1).unwrap_or_default();
            // `alias/web` is the name of `alias/${Alias}`.
            let bare = |value: &'_ str| match value.strip_prefix(&format!("{kind}/")) {
                Some(rest) if arn.ends_with('/') => rest.to_owned(),
                _ => value.to_owned(),
            };
            values
                .iter()
                .map(|value| format!("{arn}{}", bare(value)))
                .collect()
        };
        made = made.iter().flat_map(longer).collect();
    }
    made
}

/// What the session's policy allows an action on, with something in place of each wildcard.
fn granted(
    session: &Value,
    action: &str,
    needed: &Needed,
    account: &AccountId,
    region: &Region,
) -> Vec<String> {
    let any = needed.arns.first().map_or_else(String::new, |format| {
        let pieces = pieces(format, account, region);
        let texts = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Name(_) => "any",
        });
        texts.collect()
    });
    allowed_on(session, action)
        .into_iter()
        .map(|arn| match arn.as_str() {
            "*" => any.clone(),
            _ => arn.replace('*', "any"),
        })
        .collect()
}

/// The resources on which a policy allows an action.
fn allowed_on(policy: &Value, action: &str) -> Vec<String> {
    let statements = each(policy.get("Statement"));
    let allows = |statement: &&Value| {
        let actions = each(statement.get("Action"));
        actions
            .iter()
            .any(|allowed| allowed.as_str() == Some(action))
    };
    let resources = statements
        .iter()
        .filter(allows)
        .flat_map(|statement| each(statement.get("Resource")));
    resources
        .filter_map(|resource| resource.as_str().map(str::to_owned))
        .collect()
}

fn each(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

/// A part of an ARN format.
#[derive(Debug)]
enum Piece {
    Text(String),
    /// What a request has to name.
    Name(String),
}

fn pieces(format: &str, account: &AccountId, region: &Region) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        pieces.push(Piece::Text(before.replace('*', "any")));
        pieces.push(match name {
            "Partition" => Piece::Text(region.partition().to_string()),
            "Region" => Piece::Text(region.to_string()),
            "Account" => Piece::Text(account.to_string()),
            name => Piece::Name(name.to_owned()),
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest.replace('*', "any")));
    pieces
}

/// The members of a request's input that are text, or lists of it.
fn members(params: &Value) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let members = params.as_object().into_iter().flatten();
    members.map(|(name, value)| {
        let texts = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => value.as_str().into_iter().collect(),
        };
        (name.as_str(), texts)
    })
}

fn is_of(text: &str, pieces: &[Piece]) -> bool {
    let mut pattern = String::from("^");
    for piece in pieces {
        match piece {
            Piece::Text(text) => pattern.push_str(&regex::escape(text)),
            Piece::Name(_) => pattern.push_str(".+"),
        }
    }
    pattern.push('$');
    // AWS's own policies are nobody's account's.
    let account = pieces.iter().find_map(|piece| match piece {
        Piece::Text(text) => text
            .split(':')
            .find(|part| part.len() == 12 && part.parse::<u64>().is_ok()),
        Piece::Name(_) => None,
    });
    let text = text.replacen(
        ":iam::aws:",
        &format!(":iam::{}:", account.unwrap_or("aws")),
        1,
    );
    text.starts_with("arn:") && regex::Regex::new(&pattern).is_ok_and(|regex| regex.is_match(&text))
}

/// `Bucket` is `${BucketName}`, `InstanceIds` is `${InstanceId}`.
fn same(member: &str, placeholder: &str) -> bool {
    fn stem(name: &str) -> String {
        let name = name.to_ascii_lowercase();
        let ends = ["identifier", "name", "id", "arn"];
        let stem = ends.iter().find_map(|end| name.strip_suffix(end));
        stem.filter(|stem| !stem.is_empty())
            .unwrap_or(&name)
            .to_owned()
    }
    let singular = member.strip_suffix('s').unwrap_or(member);
    let placeholder = stem(placeholder.trim_end_matches("WithPath"));
    let setting = member == "SettingId" && placeholder == "resource";
    setting || stem(member) == placeholder || stem(singular) == placeholder
}

/// A judgement of a request.
#[derive(Debug, Clone)]
pub struct Ruling {
    /// The request.
    pub call: Call,
    /// The policy of its session.
    pub session: Value,
    /// What it needs.
    pub need: Need,
}

/// Sessions whose every request is judged before it is sent, and refused as AWS would.
#[derive(Clone)]
pub struct Judged {
    sessions: Arc<dyn Sessions>,
    judge: Arc<Judge>,
    models: Arc<Models>,
    role: Value,
    rulings: Arc<Mutex<Vec<Ruling>>>,
}

impl Judged {
    /// Judges what is done with `sessions` of a role that has this policy.
    pub fn new(
        sessions: Arc<dyn Sessions>,
        judge: Arc<Judge>,
        models: Arc<Models>,
        role: Value,
    ) -> Self {
        Self {
            sessions,
            judge,
            models,
            role,
            rulings: Arc::default(),
        }
    }

    /// Every judgement so far that allowed something.
    #[must_use]
    pub fn rulings(&self) -> Vec<Ruling> {
        self.record().clone()
    }

    fn record(&self) -> MutexGuard<'_, Vec<Ruling>> {
        self.rulings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sessions for Judged {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        let session = serde_json::from_str(scope.access.policy()).unwrap_or_default();
        Ok(Arc::new(JudgedApi {
            api: self.sessions.open(scope).await?,
            court: self.clone(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            law: Law {
                role: self.role.clone(),
                session,
                ..Law::default()
            },
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.sessions.role_arn(scope)
    }
}

struct JudgedApi {
    api: Arc<dyn Api>,
    court: Judged,
    account: AccountId,
    region: Region,
    law: Law,
}

impl JudgedApi {
    /// What the call needs and is not allowed.
    fn denied(&self, call: &Call) -> Result<Option<Need>, JudgeError> {
        let place = (&self.account, &self.region);
        for need in needs(&self.court.models, call, place, &self.law.session)? {
            let allowed =
                self.court
                    .judge
                    .allows(&self.law, &self.account, &need.action, &need.resource)?;
            if !allowed {
                return Ok(Some(need));
            }
            self.court.record().push(Ruling {
                call: call.clone(),
                session: self.law.session.clone(),
                need,
            });
        }
        Ok(None)
    }
}

#[async_trait]
impl Api for JudgedApi {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        match self.denied(call) {
            Ok(None) => self.api.call(call).await,
            Ok(Some(Need { action, resource })) => Err(CallError {
                code: "AccessDenied".to_owned(),
                ..CallError::new(
                    CallErrorKind::Denied,
                    call,
                    format!(
                        "the IAM simulator: the role or the session may not `{action}` on `{resource}`"
                    ),
                )
            }),
            Err(error) => Err(CallError::new(
                CallErrorKind::Invalid,
                call,
                error.to_string(),
            )),
        }
    }
}
