//! What a call says of itself to whoever traces it: no parameter, and nothing that was answered.

use stanch_models::{Operation, Service};
use stanch_types::{AccountId, CallError, CallErrorKind, Region, Reply, TRACE};
use tracing::{Span, field::Empty, trace_span};

use crate::ports::Random;

/// A call that may be traced.
pub(crate) struct Traced {
    pub(crate) span: Span,
    /// Names it in the trace, for whoever it is sent to.
    id: Option<String>,
}

impl Traced {
    /// Nobody is told.
    pub(crate) fn not() -> Self {
        Self {
            span: Span::none(),
            id: None,
        }
    }

    pub(crate) fn begin(
        service: &Service,
        operation: &Operation,
        region: &Region,
        account: Option<&AccountId>,
        random: &dyn Random,
    ) -> Self {
        let span = trace_span!(
            target: TRACE,
            "request",
            name = &*service.name,
            operation = &*operation.name,
            region = region.as_str(),
            account = account.map(AccountId::as_str),
            segment = Empty,
            request_id = Empty,
            status = Empty,
            retries = Empty,
            throttle = Empty,
            error = Empty,
            fault = Empty,
        );
        let id = (!span.is_disabled()).then(|| format!("{:016x}", random.bits() as u64));
        if let Some(id) = &id {
            span.record("segment", &**id);
        }
        Self { span, id }
    }

    /// The trace header that goes with it: whoever answers is below this call in a trace that is kept,
    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
    pub(crate) fn header(&self, header: &str) -> String {
        let is_kept = header.split(';').any(|part| part.trim() == "Sampled=1");
        let Some(id) = self.id.as_ref().filter(|_| is_kept) else {
            return header.to_owned();
        };
        let is_other = |part: &&str| !part.trim().starts_with("Parent=");
        let mut parts: Vec<String> = header
            .split(';')
            .filter(is_other)
            .map(str::to_owned)
            .collect();
        parts.insert(1.min(parts.len()), format!("Parent={id}"));
        parts.join(";")
    }

    pub(crate) fn retried(&self, times: u32) {
        self.span.record("retries", times);
    }

    pub(crate) fn answered(&self, status: u16) {
        self.span.record("status", status);
    }

    /// X-Ray's words: a throttled request is an error, too
    /// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-errors>).
    pub(crate) fn ended(&self, result: &Result<Reply, CallError>) {
        let (request_id, failed) = match result {
            Ok(reply) => (&reply.request_id, None),
            Err(error) => (&error.request_id, Some(error.kind)),
        };
        if let Some(id) = request_id {
            self.span.record("request_id", &**id);
        }
        let Some(kind) = failed else { return };
        self.span.record(
            match kind {
                CallErrorKind::Server | CallErrorKind::Unanswered | CallErrorKind::Unreadable => {
                    "fault"
                }
                _ => "error",
            },
            true,
        );
        if kind == CallErrorKind::Throttled {
            self.span.record("throttle", true);
        }
    }
}
