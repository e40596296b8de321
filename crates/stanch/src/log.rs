//! The log, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::output::Color;
use stanch_config::{LogFormat, LogLevel};
use stanch_types::TRACE;

/// What our own crates log at `level`; of all others what may become wrong.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("stanch", level)
        .with_target(TRACE, LevelFilter::OFF)
}

/// The log of a service.
pub fn start(format: LogFormat, level: LogLevel) {
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let layer = match format {
        LogFormat::Text => lines.with_ansi(Color::of(&io::stderr()).is_on()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(targets(level)))
        .init();
}

/// The warnings of a command that ends.
pub fn warnings() {
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .without_time();
    let lines = lines.with_ansi(Color::of(&io::stderr()).is_on());
    tracing_subscriber::registry()
        .with(lines.with_filter(targets(LogLevel::Warn)))
        .init();
}
