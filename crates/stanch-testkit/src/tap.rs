//! What goes over the wire, seen and disturbed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stanch_types::{
    AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Scope, Sessions,
};
use tokio::sync::Semaphore;

/// One call, with where and as whom it was made and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tapped {
    /// The account of the session.
    pub account: AccountId,
    /// The region of the session.
    pub region: Region,
    /// The session's name.
    pub session: String,
    /// The call.
    pub call: Call,
    /// How it failed for the caller, if it did.
    pub error: Option<CallErrorKind>,
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this error and has no effect.
    Refuse {
        /// What kind of error.
        kind: CallErrorKind,
        /// AWS's error code.
        code: &'static str,
    },
    /// It has its effect, but the caller gets this error in place of the answer.
    LoseAnswer(CallErrorKind),
    /// It waits at the gate before it is sent, then goes on undisturbed.
    HoldRequest(Arc<Gate>),
    /// It has its effect, and its answer waits at the gate.
    HoldAnswer(Arc<Gate>),
}

/// Where calls are held.
#[derive(Debug)]
pub struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// A gate that is closed.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::new(Self {
            reached: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }

    /// Waits until a call stands before the gate.
    pub async fn reached(&self) {
        // Neither semaphore is ever closed.
        if let Ok(permit) = self.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        drop(self.open.acquire().await);
    }
}

/// Which calls a fault hits.
#[derive(Debug, Clone)]
pub struct Aim {
    matches: Matches,
    skip: usize,
    times: usize,
}

#[derive(Debug, Clone)]
enum Matches {
    Any,
    Writes,
    Operation(String),
}

impl Aim {
    /// The next call, whatever it is.
    #[must_use]
    pub const fn at_any() -> Self {
        Self::new(Matches::Any)
    }

    /// The next call that changes something.
    #[must_use]
    pub const fn at_write() -> Self {
        Self::new(Matches::Writes)
    }

    /// The next call of an operation, as `s3.PutPublicAccessBlock`.
    #[must_use]
    pub fn at(operation: &str) -> Self {
        Self::new(Matches::Operation(operation.to_owned()))
    }

    const fn new(matches: Matches) -> Self {
        Self {
            matches,
            skip: 0,
            times: 1,
        }
    }

    /// Lets `calls` of them pass first.
    #[must_use]
    pub const fn after(mut self, calls: usize) -> Self {
        self.skip = calls;
        self
    }

    /// Hits as many in a row.
    #[must_use]
    pub const fn times(mut self, calls: usize) -> Self {
        self.times = calls;
        self
    }

    /// True if this very call is hit.
    fn hits(&mut self, call: &Call) -> bool {
        let matches = match &self.matches {
            Matches::Any => true,
            Matches::Writes => crate::is_write(call),
            Matches::Operation(name) => *name == call.to_string(),
        };
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// Sessions that remember every call made with them, and fail where they are told to.
#[derive(Clone)]
pub struct Tap(Arc<Inner>);

struct Inner {
    sessions: Arc<dyn Sessions>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    opened: Vec<Scope>,
    seen: Vec<Tapped>,
    faults: Vec<(Aim, Fault)>,
}

impl Tap {
    /// Listens to what is done with `sessions`.
    pub fn new(sessions: Arc<dyn Sessions>) -> Self {
        Self(Arc::new(Inner {
            sessions,
            log: Mutex::default(),
        }))
    }

    /// From now on `fault` befalls the calls that `aim` hits.
    pub fn inject(&self, aim: Aim, fault: Fault) {
        self.log().faults.push((aim, fault));
    }

    /// Lets everything succeed again.
    pub fn clear_faults(&self) {
        self.log().faults.clear();
    }

    /// Forgets what was seen.
    pub fn forget(&self) {
        let mut log = self.log();
        log.opened.clear();
        log.seen.clear();
    }

    /// The sessions that were opened, in order.
    #[must_use]
    pub fn opened(&self) -> Vec<Scope> {
        self.log().opened.clone()
    }

    /// Every call, in the order in which they ended.
    #[must_use]
    pub fn seen(&self) -> Vec<Tapped> {
        self.log().seen.clone()
    }

    /// The calls that change something.
    #[must_use]
    pub fn writes(&self) -> Vec<Call> {
        let log = self.log();
        let calls = log.seen.iter().map(|seen| &seen.call);
        calls
            .filter(|call| crate::is_write(call))
            .cloned()
            .collect()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault_for(&self, call: &Call) -> Option<Fault> {
        let mut log = self.log();
        let mut faults = log.faults.iter_mut();
        faults.find_map(|(aim, fault)| aim.hits(call).then(|| fault.clone()))
    }
}

#[async_trait]
impl Sessions for Tap {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        self.log().opened.push(scope.clone());
        Ok(Arc::new(TappedApi {
            api: self.0.sessions.open(scope).await?,
            tap: self.clone(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            session: scope.session_name.clone(),
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        self.0.sessions.role_arn(scope)
    }
}

struct TappedApi {
    api: Arc<dyn Api>,
    tap: Tap,
    account: AccountId,
    region: Region,
    session: String,
}

impl TappedApi {
    async fn disturbed(&self, call: &Call) -> Result<Reply, CallError> {
        match self.tap.fault_for(call) {
            None => self.api.call(call).await,
            Some(Fault::Refuse { kind, code }) => Err(injected(kind, code, call)),
            Some(Fault::LoseAnswer(kind)) => {
                self.api.call(call).await?;
                Err(injected(kind, "", call))
            }
            Some(Fault::HoldRequest(gate)) => {
                gate.pass().await;
                self.api.call(call).await
            }
            Some(Fault::HoldAnswer(gate)) => {
                let answer = self.api.call(call).await;
                gate.pass().await;
                answer
            }
        }
    }
}

#[async_trait]
impl Api for TappedApi {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let outcome = self.disturbed(call).await;
        self.tap.log().seen.push(Tapped {
            account: self.account.clone(),
            region: self.region.clone(),
            session: self.session.clone(),
            call: call.clone(),
            error: outcome.as_ref().err().map(|error| error.kind),
        });
        outcome
    }
}

fn injected(kind: CallErrorKind, code: &str, call: &Call) -> CallError {
    CallError {
        code: code.to_owned(),
        ..CallError::new(kind, call, "injected by the test")
    }
}
