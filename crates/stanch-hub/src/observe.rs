//! Reading a resource for a remediation: the reads of its file, in order, judged by its check.

use stanch_catalog::{Observation, Observed, PlanError};
use stanch_models::{Models, Pages};
use stanch_types::Api;

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
            let pages = async { Pages::new(api, models, read.call)?.collect().await };
            pages.await.map(|reply| reply.output)
        } else {
            api.call(&read.call).await.map(|reply| reply.output)
        };
        observation.answer(answer)?;
    }
    observation.finish()
}
