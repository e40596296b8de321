//! Reading a resource for a remediation: the reads of its file, in order, judged by its check.

use jiff::Timestamp;
use serde_json::Value;
use stanch_catalog::{Impact, NextRead, Observation, Observed, Plan, PlanError, Remediation};
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
    for (probe, read) in plan.probes(remediation, now) {
        match read {
            Ok(read) => impact.answer(probe, make(api, models, read).await),
            Err(error) => impact.fail(&probe.read.name, chain(&error)),
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

async fn make(api: &dyn Api, models: &Models, read: NextRead) -> Result<Value, CallError> {
    let reply = if read.paginate {
        Pages::new(api, models, read.call)?.collect().await
    } else {
        api.call(&read.call).await
    };
    reply.map(|reply| reply.output)
}
