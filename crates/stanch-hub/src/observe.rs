//! Reading a resource for a remediation: the reads of its file, in order, judged by its check.

use jiff::Timestamp;
use serde_json::Value;
use stanch_catalog::{
    Catalog, Impact, Invocation, InvocationError, NextRead, Observation, Observed, Plan, PlanError,
    Remediation,
};
use stanch_models::{Models, Pages};
use stanch_types::{Api, CallError, chain};

/// Makes the reads of the probes of a change's impact. One that cannot be read is unknown.
pub(crate) async fn probe(
    api: &dyn Api,
    models: &Models,
    remediation: &Remediation,
    plan: &Plan,
    now: Timestamp,
) -> Impact {
    let mut impact = Impact::default();
    for question in plan.probes(remediation, now) {
        match &question.read {
            Ok(read) => impact.answer(&question, make(api, models, read.clone()).await),
            Err(error) => impact.fail(question.fact(), chain(error)),
        }
    }
    impact
}

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
        let answer = make(api, models, read).await;
        observation.answer(answer)?;
    }
    observation.finish()
}

/// Answers a question of an exported document, as the function of a member account does. It only reads.
///
/// # Errors
/// The payload is not a document's, or there is no answer.
pub async fn answer(
    api: &dyn Api,
    models: &Models,
    catalog: &Catalog,
    payload: &Value,
) -> Result<Value, InvocationError> {
    let invocation = Invocation::new(payload)?;
    if let Some(answer) = invocation.at_once() {
        return Ok(answer);
    }
    let name = invocation.remediation().unwrap_or_default();
    let remediation = catalog
        .get(name)
        .ok_or_else(|| InvocationError::Unknown(name.to_owned()))?;
    let observed = match invocation.observe(&remediation)? {
        Some(observation) => Some(observe(api, models, observation).await?),
        None => None,
    };
    invocation.answer(&remediation, observed)
}

async fn make(api: &dyn Api, models: &Models, read: NextRead) -> Result<Value, CallError> {
    let reply = if read.paginate {
        Pages::new(api, models, read.call)?.collect().await
    } else {
        api.call(&read.call).await
    };
    reply.map(|reply| reply.output)
}
