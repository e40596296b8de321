//! An API that answers from a script.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;
use stanch_types::{Api, Call, CallError, CallErrorKind, Reply};

type Handler = Box<dyn FnMut(&Call) -> Result<Value, CallError> + Send>;

/// Answers each operation with a function of the test's own and remembers every call; an operation
/// without a function is refused.
#[derive(Default)]
pub struct FakeApi(Mutex<State>);

#[derive(Default)]
struct State {
    handlers: BTreeMap<String, Handler>,
    calls: Vec<Call>,
}

impl FakeApi {
    /// Answers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `operation` (as `s3.GetBucketPolicy`) with what `handler` says.
    #[must_use]
    pub fn on(
        self,
        operation: &str,
        handler: impl FnMut(&Call) -> Result<Value, CallError> + Send + 'static,
    ) -> Self {
        self.change(|state| {
            state
                .handlers
                .insert(operation.to_owned(), Box::new(handler))
        });
        self
    }

    /// Answers `operation` always with `output`.
    #[must_use]
    pub fn returns(self, operation: &str, output: Value) -> Self {
        self.on(operation, move |_| Ok(output.clone()))
    }

    /// Refuses `operation` always with AWS's error `code`.
    #[must_use]
    pub fn refuses(self, operation: &str, code: &'static str) -> Self {
        self.on(operation, move |call| {
            Err(CallError {
                code: code.to_owned(),
                ..CallError::new(CallErrorKind::Rejected, call, "refused by the script")
            })
        })
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.change(|state| state.calls.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Api for FakeApi {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        self.change(|state| {
            state.calls.push(call.clone());
            let output = match state.handlers.get_mut(&call.to_string()) {
                Some(handler) => handler(call)?,
                None => {
                    return Err(CallError::new(
                        CallErrorKind::Invalid,
                        call,
                        "not in the script",
                    ));
                }
            };
            Ok(Reply {
                output,
                request_id: Some(format!("script-{}", state.calls.len())),
            })
        })
    }
}
