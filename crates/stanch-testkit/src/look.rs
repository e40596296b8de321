//! A resource as its remediation sees it, looked at by the account's own root, without the hub.

use serde_json::{Map, Value};
use stanch_catalog::{PlanError, Remediation, Target};
use stanch_models::Models;
use stanch_types::{Incoming, event};

use crate::{Misconfiguration, organization::Root};

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What the remediation's check says.
    pub compliant: bool,
    /// What it compares for undo.
    pub state: Value,
}

/// The resource cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The finding is not one that could be acted on.
    #[error("the finding names nothing to look at")]
    NoFinding,
    /// A read fails, or the remediation does not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Looks at the resource of a finding, with the user's settings of the remediation.
pub async fn look(
    root: Root<'_>,
    models: &Models,
    remediation: &Remediation,
    settings: Map<String, Value>,
    found: &Misconfiguration,
) -> Result<Seen, LookError> {
    let read = event::read(&found.bytes(), &event::Options::default());
    let Some(Incoming::Accepted { finding, .. }) = read.into_iter().next() else {
        return Err(LookError::NoFinding);
    };
    let resource = finding.resources.first().ok_or(LookError::NoFinding)?;
    let subject = remediation.subject(&Target::new(&finding, resource, settings), found.at)?;
    let api = root(&found.account, &subject.region);
    let seen = stanch_hub::observe(&*api, models, remediation.observe(subject)).await?;
    Ok(Seen {
        compliant: seen.compliant(),
        state: seen.state().clone(),
    })
}
