//! What is told of a run to whoever traces it: spans of the crate `tracing`, at its level of the same name.

/// The target of these spans. They are no log lines: whoever writes lines leaves them out, and without
/// anybody who asks for them they are not made.
///
/// A span `request` is a call of AWS, a span `remediation` says in its fields what it is about, and a span
/// `stage` stands within one. None of them has a parameter of a request, or anything that was answered.
pub const TRACE: &str = "stanch_trace";
