//! Pages and waiters, as the models describe them. They speak to the port, so that they work on any
//! implementation of it.

use serde_json::{Map, Value};
use stanch_types::{Api, Call, CallError, CallErrorKind, Clock, Reply};

use crate::{Acceptor, Expected, Matcher, Models, Paginator, Resolved, Verdict};

/// Pages that are joined, at most: an answer that never ends is an error.
const MAX_PAGES: usize = 1_000;

/// The pages of one call, one request each.
pub struct Pages<'a> {
    api: &'a dyn Api,
    call: Call,
    paginator: Option<Paginator>,
    done: bool,
}

impl<'a> Pages<'a> {
    /// The pages of `call`; one page where the operation has no paginator.
    ///
    /// # Errors
    /// [`CallErrorKind::Invalid`] when there is no such operation.
    pub fn new(api: &'a dyn Api, models: &Models, call: Call) -> Result<Self, CallError> {
        let resolved = models.resolve_call(&call)?;
        let name = &resolved.operation().name;
        Ok(Self {
            api,
            paginator: resolved.service.paginator(name).cloned(),
            call,
            done: false,
        })
    }

    /// The next page, or none after the last.
    ///
    /// # Errors
    /// The call's; [`CallErrorKind::Unreadable`] when AWS gives the same token again.
    pub async fn next(&mut self) -> Result<Option<Reply>, CallError> {
        if self.done {
            return Ok(None);
        }
        let reply = self.api.call(&self.call).await?;
        self.done = true;
        let Some(paginator) = &self.paginator else {
            return Ok(Some(reply));
        };
        if let Some(more) = &paginator.more_results
            && search(&self.call, more, &reply.output)? != Value::Bool(true)
        {
            return Ok(Some(reply));
        }
        if self.call.params.is_null() {
            self.call.params = Value::Object(Map::new());
        }
        let mut next = self.call.clone();
        for (input, output) in paginator.input_tokens.iter().zip(&paginator.output_tokens) {
            let token = search(&self.call, output, &reply.output)?;
            let Some(params) = next.params.as_object_mut() else {
                continue;
            };
            if token.is_null() || token.as_str() == Some("") {
                params.shift_remove(&**input);
            } else {
                self.done = false;
                params.insert(input.to_string(), token);
            }
        }
        if !self.done && next.params == self.call.params {
            return Err(CallError {
                request_id: reply.request_id,
                ..CallError::new(
                    CallErrorKind::Unreadable,
                    &self.call,
                    "the same page token came twice",
                )
            });
        }
        self.call = next;
        Ok(Some(reply))
    }

    /// All pages as one answer: lists are joined; the tokens are those of the last page.
    ///
    /// # Errors
    /// As [`Pages::next`]; [`CallErrorKind::Unreadable`] if there are more than a thousand.
    pub async fn collect(mut self) -> Result<Reply, CallError> {
        let keys = self
            .paginator
            .as_ref()
            .map(|paginator| paginator.result_keys.clone())
            .unwrap_or_default();
        let mut all = Reply::default();
        for _ in 0..MAX_PAGES {
            let Some(page) = self.next().await? else {
                return Ok(all);
            };
            if all.output.is_null() {
                all = page;
                continue;
            }
            let mut output = page.output;
            for key in &keys {
                let pointer = format!("/{}", key.replace('.', "/"));
                let before = all.output.pointer_mut(&pointer).map(Value::take);
                match (before, output.pointer_mut(&pointer)) {
                    (Some(Value::Array(mut before)), Some(Value::Array(after))) => {
                        before.append(after);
                        *after = before;
                    }
                    (Some(before @ Value::Array(_)), None) => {
                        put(&mut output, key, before);
                    }
                    _ => {}
                }
            }
            all = Reply {
                output,
                request_id: page.request_id,
            };
        }
        Err(CallError::new(
            CallErrorKind::Unreadable,
            &self.call,
            format!("more than {MAX_PAGES} pages"),
        ))
    }
}

/// Sets the member at a dotted path, making objects on the way.
fn put(value: &mut Value, path: &str, item: Value) {
    let mut place = value;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = item;
}

/// Repeats a waiter's operation until the model says that the state is reached.
///
/// # Errors
/// [`CallErrorKind::Rejected`] when the state cannot be reached any more, or was not within the
/// waiter's tries; an error of the call that no rule of the waiter expects.
pub async fn wait(
    api: &dyn Api,
    clock: &dyn Clock,
    models: &Models,
    service: &str,
    waiter: &str,
    params: Value,
) -> Result<Reply, CallError> {
    let mut call = Call::new(service, waiter, params);
    let invalid = |call: &Call, text: String| CallError::new(CallErrorKind::Invalid, call, text);
    let model = models
        .service(service)
        .map_err(|error| invalid(&call, error.to_string()))?;
    let waiter = model.waiter(waiter).ok_or_else(|| {
        let names = model.waiters().iter().map(|w| &*w.name);
        let hint: String = crate::nearest(waiter, names)
            .iter()
            .map(|name| format!(": did you mean `{name}`?"))
            .take(1)
            .collect();
        invalid(&call, format!("`{service}` has no waiter `{waiter}`{hint}"))
    })?;
    call.operation = waiter.operation.to_string();
    for attempt in 1..=waiter.max_attempts {
        let result = api.call(&call).await;
        let mut verdict = None;
        for Acceptor {
            verdict: v,
            matcher,
        } in &waiter.acceptors
        {
            if matches(&call, matcher, &result)? {
                verdict = Some(*v);
                break;
            }
        }
        match (verdict, result) {
            (Some(Verdict::Success), Ok(reply)) => return Ok(reply),
            (Some(Verdict::Success), Err(_)) => return Ok(Reply::default()),
            (Some(Verdict::Failure), Err(error)) | (None, Err(error)) => return Err(error),
            (Some(Verdict::Failure), Ok(reply)) => {
                return Err(CallError {
                    request_id: reply.request_id,
                    ..CallError::new(
                        CallErrorKind::Rejected,
                        &call,
                        format!("`{}` cannot be reached any more", waiter.name),
                    )
                });
            }
            (Some(Verdict::Retry) | None, _) => {}
        }
        if attempt < waiter.max_attempts {
            clock
                .sleep(std::time::Duration::from_secs(waiter.delay.into()))
                .await;
        }
    }
    Err(CallError::new(
        CallErrorKind::Rejected,
        &call,
        format!(
            "`{}` was not reached in {} tries",
            waiter.name, waiter.max_attempts
        ),
    ))
}

fn matches(
    call: &Call,
    matcher: &Matcher,
    result: &Result<Reply, CallError>,
) -> Result<bool, CallError> {
    let found = |expression: &str| match result {
        Ok(reply) => search(call, expression, &reply.output),
        Err(_) => Ok(Value::Null),
    };
    let is = |value: &Value, expected: &Expected| match expected {
        Expected::Bool(expected) => value.as_bool() == Some(*expected),
        Expected::Integer(expected) => {
            value.as_i64() == Some(*expected)
                || value
                    .as_f64()
                    .is_some_and(|value| value == *expected as f64)
        }
        Expected::String(expected) => value.as_str() == Some(&**expected),
    };
    Ok(match matcher {
        Matcher::Path {
            expression,
            expected,
        } => result.is_ok() && is(&found(expression)?, expected),
        Matcher::PathAll {
            expression,
            expected,
        } => found(expression)?
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(|one| is(one, expected))),
        Matcher::PathAny {
            expression,
            expected,
        } => found(expression)?
            .as_array()
            .is_some_and(|all| all.iter().any(|one| is(one, expected))),
        Matcher::Status(status) => match result {
            Ok(_) => *status == 200,
            Err(error) => error.code == status.to_string(),
        },
        Matcher::Error(code) => matches!(result, Err(error) if error.code == **code),
        Matcher::AnyError(any) => result.is_err() == *any,
    })
}

/// What a JMESPath expression of the model finds. Numbers come back as JSON has them.
fn search(call: &Call, expression: &str, value: &Value) -> Result<Value, CallError> {
    let failed = |error: &dyn std::fmt::Display| {
        CallError::new(
            CallErrorKind::Unreadable,
            call,
            format!("`{expression}` of the API model: {error}"),
        )
    };
    let found = jmespath::compile(expression)
        .and_then(|compiled| compiled.search(value))
        .map_err(|error| failed(&error))?;
    serde_json::to_value(&*found).map_err(|error| failed(&error))
}

impl Models {
    /// [`Models::resolve`] for a call, with an error as a call has.
    ///
    /// # Errors
    /// [`CallErrorKind::Invalid`] when there is no such operation; it names the nearest one.
    pub fn resolve_call(&self, call: &Call) -> Result<Resolved, CallError> {
        self.resolve(&call.service, &call.operation)
            .map_err(|error| {
                let hint = error
                    .hint()
                    .map(|hint| format!(": {hint}"))
                    .unwrap_or_default();
                CallError::new(CallErrorKind::Invalid, call, format!("{error}{hint}"))
            })
    }
}
