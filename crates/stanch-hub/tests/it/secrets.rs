//! Who carries a plan out has its secrets; whoever only looks has not.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use stanch_hub::{
    Audience, History, Hub, ModelSecrets, NotTold, Notifier, RequestError, Source, line,
};
use stanch_ledger::{
    Ledger, MemoryLedger, Record, SealedLedger, Status, Vault, export, testing::signer,
};
use stanch_testkit::{Listener, Misconfiguration, Tap};
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply, Scope, Sessions};

use crate::world::{World, account, region};

const OLD: &str = "wJalrXUtnFEMI/K7MDENG/the-old-one";
const NEW: &str = "wJalrXUtnFEMI/K7MDENG/the-new-one";

/// An account with one CodeBuild project, in whose variables an access key stands.
#[derive(Clone)]
struct Builds(Arc<Mutex<Inner>>);

struct Inner {
    environment: Value,
    has_secret: bool,
    refuses: bool,
}

impl Builds {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            environment: environment(OLD),
            has_secret: false,
            refuses: false,
        })))
    }

    fn set(&self, environment: Value) {
        self.0.lock().unwrap().environment = environment;
    }

    fn environment(&self) -> Value {
        self.0.lock().unwrap().environment.clone()
    }
}

fn environment(key: &str) -> Value {
    json!({
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [
            {"name": "STAGE", "value": "test", "type": "PLAINTEXT"},
            {"name": "AWS_SECRET_ACCESS_KEY", "value": key, "type": "PLAINTEXT"},
        ],
    })
}

#[async_trait]
impl Sessions for Builds {
    async fn open(&self, _: &Scope) -> Result<Arc<dyn Api>, CallError> {
        Ok(Arc::new(self.clone()))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        format!("arn:aws:iam::{}:role/member", scope.account)
    }
}

#[async_trait]
impl Api for Builds {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let mut inner = self.0.lock().unwrap();
        let refused = |code: &str, message: String| {
            Err(CallError {
                code: code.to_owned(),
                ..CallError::new(CallErrorKind::Rejected, call, message)
            })
        };
        let output = match call.operation.as_str() {
            "BatchGetProjects" => json!({"projects": [{
                "name": "web",
                "serviceRole": "arn:aws:iam::222222222222:role/builds",
                "environment": inner.environment,
            }]}),
            "UpdateProject" => {
                inner.environment = call.params["environment"].clone();
                json!({})
            }
            "DescribeSecret" if inner.has_secret => json!({"Name": "CodeBuild/web/AccessKey"}),
            "DescribeSecret" => {
                return refused("ResourceNotFoundException", "there is none".to_owned());
            }
            // AWS repeats what it does not take.
            "CreateSecret" if inner.refuses => {
                let variables = &inner.environment["environmentVariables"];
                let key = variables[1]["value"].as_str().unwrap();
                let message = format!("'{key}' at 'secretString' is not taken");
                return refused("InvalidParameterException", message);
            }
            "CreateSecret" => {
                inner.has_secret = true;
                json!({})
            }
            "DeleteSecret" => {
                inner.has_secret = false;
                json!({})
            }
            "PutResourcePolicy" => json!({}),
            other => return refused("InvalidAction", format!("{other} is not played")),
        };
        Ok(Reply {
            output,
            request_id: None,
        })
    }
}

/// Keeps what logs are made of.
#[derive(Default)]
struct Log(Mutex<String>);

#[async_trait]
impl Notifier for Log {
    fn channel(&self) -> &str {
        "logs"
    }

    fn audience(&self) -> Audience {
        Audience::Records
    }

    fn follows(&self) -> bool {
        true
    }

    async fn tell(
        &self,
        _: &stanch_hub::Message,
        record: &Record,
        history: &History,
    ) -> Result<(), NotTold> {
        let text = json!([record, history]).to_string();
        self.0.lock().unwrap().push_str(&text);
        Ok(())
    }
}

/// All that leaves the hub.
struct Watched {
    world: World,
    builds: Builds,
    stored: Arc<MemoryLedger>,
    channel: Arc<Listener>,
    log: Arc<Log>,
}

impl Watched {
    fn new() -> Self {
        let mut world = World::new();
        let builds = Builds::new();
        let stored = Arc::new(MemoryLedger::new());
        world.tap = Tap::new(Arc::new(builds.clone()));
        world.ledger = Arc::new(SealedLedger::new(
            Arc::clone(&stored) as Arc<dyn Ledger>,
            Vault::new(&[7; 32]).unwrap(),
            Arc::new(ModelSecrets::new(Arc::clone(&world.models))),
        ));
        let (channel, log) = (Arc::new(Listener::default()), Arc::new(Log::default()));
        world.notifiers = vec![channel.clone(), log.clone()];
        Self {
            world,
            builds,
            stored,
            channel,
            log,
        }
    }

    fn finding(&self) -> Misconfiguration {
        Misconfiguration {
            control: "CodeBuild.2".parse().unwrap(),
            resource_type: "AwsCodeBuildProject".to_owned(),
            resource_id: format!("arn:aws:codebuild:{}:{}:project/web", region(), account()),
            ..self.world.finding("web")
        }
    }

    async fn preview(&self, hub: &Hub) -> String {
        let event = self.finding().security_hub_event().to_string();
        let source = Source::automatic("test");
        let preview = hub.preview(&source, event.as_bytes()).await;
        assert!(preview.findings[0].plan.is_some(), "{preview:?}");
        json!(preview).to_string()
    }

    /// Neither the ledger nor a channel has a secret.
    async fn holds(&self) {
        let mut text = Vec::new();
        export(&*self.stored, &signer(), &mut text).await.unwrap();
        holds_none(&String::from_utf8(text).unwrap());
        holds_none(&json!(self.channel.heard()).to_string());
        let log = self.log.0.lock().unwrap();
        assert!(log.contains("step-started") || log.contains("approval-requested"));
        holds_none(&log);
    }
}

#[track_caller]
fn holds_none(text: &str) {
    for secret in [OLD, NEW] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_rotated_while_people_are_asked() {
    let mut watched = Watched::new();
    watched.world.automatic.guarded.clear();
    let (world, builds) = (&watched.world, &watched.builds);
    let hub = world.hub();
    holds_none(&watched.preview(&hub).await);
    let (id, state) = world.deliver(&hub, &watched.finding()).await.remove(0);
    assert_eq!(state.status, Status::AwaitingApproval, "{:?}", state.error);
    let hash = state.plan.unwrap().plan_hash.clone();

    builds.set(environment(NEW));
    let state = hub.approve(id, "alice").await.unwrap();
    assert_eq!(state.status, Status::AwaitingApproval, "{:?}", state.error);
    assert_ne!(state.plan.unwrap().plan_hash, hash, "it is another plan");
    // They see that it was, and not what the key is.
    let changed = state.approval.unwrap().request.changed.unwrap();
    let lines: Vec<String> = changed.changes.iter().map(line).collect();
    let rotated = "~ state.Environment.environmentVariables[1].value: *** -> *** (";
    assert!(
        lines.iter().any(|line| line.starts_with(rotated)),
        "{lines:?}"
    );
    let asked = watched.channel.heard().pop().unwrap().approval.unwrap();
    assert_eq!(asked.changed, lines);
    let moved = "~ Environment.environmentVariables[1].value: *** -> *** (";
    assert!(
        asked.changes.iter().any(|line| line.starts_with(moved)),
        "{asked:?}"
    );
    assert!(
        asked.changes.contains(
            &"~ Environment.environmentVariables[1].type: PLAINTEXT -> SECRETS_MANAGER".to_owned()
        ),
        "{asked:?}"
    );
    let sheet = hub.sheet(id).await.unwrap();
    holds_none(&json!(sheet).to_string());
    watched.holds().await;

    builds.0.lock().unwrap().refuses = true;
    let state = hub.approve(id, "alice").await.unwrap();
    let error = state.error.unwrap();
    assert!(
        error.contains("'***' at 'secretString' is not taken"),
        "{error}"
    );
    watched.holds().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_put_back() {
    let mut watched = Watched::new();
    watched.world.automatic.guarded = ["CodeBuildMoveCredentials".to_owned()].into();
    let (world, builds) = (&watched.world, &watched.builds);
    let hub = world.hub();
    let (id, state) = world.deliver(&hub, &watched.finding()).await.remove(0);
    assert_eq!(state.status, Status::Success, "{:?}", state.error);
    let fixed = builds.environment();
    holds_none(&fixed.to_string());

    let shown = hub.rollback(id, "bob", true, false).await.unwrap();
    holds_none(&json!(shown).to_string());
    assert_ne!(shown.plan_hash, shown.plan.hash(), "it is of the true plan");
    builds.set(environment(NEW));
    let Err(RequestError::Drift(drift)) = hub.rollback(id, "bob", false, false).await else {
        panic!("it went over somebody else's change")
    };
    holds_none(&json!(drift).to_string());
    // Which of the three are the same can be told.
    let key = |state: &Value| {
        state
            .pointer("/Environment/environmentVariables/1/value")
            .cloned()
    };
    assert_eq!(key(&drift.before), Some(json!("***")));
    assert_ne!(key(&drift.before), key(&drift.now));

    builds.set(fixed);
    let done = hub.rollback(id, "bob", false, false).await.unwrap();
    assert_eq!(done.status, Some(Status::Undone), "{:?}", done.error);
    assert_eq!(builds.environment(), environment(OLD));
    watched.holds().await;
}
