//! What a remediation says of itself while somebody traces it.

use stanch_ledger::{Received, RemediationId, State};
use stanch_types::TRACE;
use tracing::{Span, field::Empty, trace_span};

/// All that a run does for a remediation; what it is about is said when it is known.
pub(crate) fn remediation(id: RemediationId) -> Span {
    trace_span!(
        target: TRACE,
        "remediation",
        remediation_id = %id,
        control = Empty,
        account = Empty,
        region = Empty,
        status = Empty,
    )
}

/// What it is about.
pub(crate) fn about(span: &Span, received: &Received) {
    span.record("control", &*received.control);
    span.record("account", received.account.as_str());
    span.record("region", received.region.as_str());
}

/// Where it stands now.
pub(crate) fn stands(span: &Span, state: &State) {
    span.record("status", state.status.as_str());
}

/// A part of it.
pub(crate) fn stage(name: &'static str) -> Span {
    trace_span!(target: TRACE, "stage", name)
}
