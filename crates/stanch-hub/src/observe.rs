//! Reading a resource for a remediation: the reads of its file, in order, judged by its check.

use serde_json::{Map, Value};
use stanch_catalog::{Expression, Observation, Observed, PlanError};
use stanch_models::{Models, Paginator};
use stanch_types::{Api, Call, CallError, CallErrorKind};

/// Pages of one read, at most: an answer that never ends is an error.
const MAX_PAGES: usize = 1_000;

/// Makes the reads that `observation` wants and judges them.
///
/// # Errors
/// A read that failed says nothing about the resource.
pub async fn observe<'r>(
    api: &dyn Api,
    models: &Models,
    mut observation: Observation<'r>,
) -> Result<Observed<'r>, PlanError> {
    while let Some(read) = observation.next_read()? {
        let answer = if read.paginate {
            all_pages(api, models, read.call).await
        } else {
            api.call(&read.call).await.map(|reply| reply.output)
        };
        observation.answer(answer)?;
    }
    observation.finish()
}

/// The answer with the lists of all its pages joined.
async fn all_pages(api: &dyn Api, models: &Models, mut call: Call) -> Result<Value, CallError> {
    let resolved = models
        .resolve(&call.service, &call.operation)
        .map_err(|error| CallError::new(CallErrorKind::Invalid, &call, error.to_string()))?;
    let Some(paginator) = resolved.service.paginator(&resolved.operation().name) else {
        return Ok(api.call(&call).await?.output);
    };
    let mut joined = Value::Null;
    for _ in 0..MAX_PAGES {
        let page = api.call(&call).await?.output;
        let next = next_tokens(paginator, &page);
        join(paginator, &mut joined, page);
        let Some(tokens) = next else {
            return Ok(joined);
        };
        match &mut call.params {
            Value::Object(params) => params.extend(tokens),
            params => *params = Value::Object(tokens),
        }
    }
    Err(CallError::new(
        CallErrorKind::Unreadable,
        &call,
        format!("more than {MAX_PAGES} pages"),
    ))
}

/// The input members that ask for the next page; none after the last.
fn next_tokens(paginator: &Paginator, page: &Value) -> Option<Map<String, Value>> {
    let pick = |path: &str| {
        Expression::new(path)
            .ok()?
            .pick(page)
            .ok()
            .filter(|found| !found.is_null())
    };
    if let Some(more) = &paginator.more_results
        && pick(more) != Some(Value::Bool(true))
    {
        return None;
    }
    let tokens: Map<String, Value> = paginator
        .input_tokens
        .iter()
        .zip(&paginator.output_tokens)
        .filter_map(|(input, output)| Some((input.to_string(), pick(output)?)))
        .filter(|(_, token)| token != "")
        .collect();
    (!tokens.is_empty()).then_some(tokens)
}

/// Appends the page's lists to those of the pages before. Only lists at the top of an answer are
/// joined: every paginated operation of the model has its main one there, but for CloudFront's
/// `…List.Items`, one level down.
fn join(paginator: &Paginator, joined: &mut Value, page: Value) {
    if joined.is_null() {
        *joined = page;
        return;
    }
    for key in &paginator.result_keys {
        let pointer = format!("/{}", key.replace('.', "/"));
        if let (Some(Value::Array(all)), Some(Value::Array(more))) =
            (joined.pointer_mut(&pointer), page.pointer(&pointer))
        {
            all.extend(more.iter().cloned());
        }
    }
}
