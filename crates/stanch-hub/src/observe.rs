//! Reading a resource for a remediation: the reads of its file, in order, judged by its check.

use serde_json::Value;
use stanch_catalog::{Observation, Observed, PlanError};
use stanch_models::Models;
use stanch_types::{Api, Call, CallError};

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
            all_pages(api, models, &read.call).await
        } else {
            api.call(&read.call).await.map(|reply| reply.output)
        };
        observation.answer(answer)?;
    }
    observation.finish()
}

async fn all_pages(api: &dyn Api, models: &Models, call: &Call) -> Result<Value, CallError> {
    models.paginate(api, call).await
}
