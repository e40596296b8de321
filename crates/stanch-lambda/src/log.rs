//! Log lines: a JSON object each, on standard output, where Lambda takes them,
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>.

use std::io;

use stanch_aws::Environment;
use stanch_types::TRACE;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::Segments;

/// Starts the log at the level that the function's settings ask for (`AWS_LAMBDA_LOG_LEVEL`), and beside
/// it the trace, if there is one.
pub fn start(environment: &Environment, segments: Option<Segments>) {
    let level = match environment.get("AWS_LAMBDA_LOG_LEVEL") {
        Some("TRACE") => LevelFilter::TRACE,
        Some("DEBUG") => LevelFilter::DEBUG,
        Some("WARN") => LevelFilter::WARN,
        Some("ERROR" | "FATAL") => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("stanch", level)
        .with_target(TRACE, LevelFilter::OFF);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_writer(io::stdout)
        .with_filter(targets);
    tracing_subscriber::registry()
        .with(lines)
        .with(segments.map(Segments::layer))
        .init();
}
