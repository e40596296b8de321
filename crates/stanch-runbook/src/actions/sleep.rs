//! `aws:sleep`

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp, civil::DateTime, tz::TimeZone};

use crate::{
    StepError,
    engine::{Answer, Context, Inputs},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-sleep.html>
const LONGEST: Duration = Duration::from_secs(604_799);

/// Waits for a duration, or until a time; not at all for one that has passed.
pub(super) async fn sleep(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    if !context.unknown.is_empty() {
        return Ok(Answer::default());
    }
    let pause = match (
        inputs.maybe_text("Duration")?,
        inputs.maybe_text("Timestamp")?,
    ) {
        (Some(text), None) => duration(&text)?,
        (None, Some(text)) => {
            let until = moment(&text)?;
            Duration::try_from(until.duration_since(context.ports.clock.now())).unwrap_or_default()
        }
        _ => {
            return Err(StepError::Input(
                "one of `Duration` and `Timestamp` is needed".to_owned(),
            ));
        }
    };
    if pause > LONGEST {
        return Err(StepError::Input(format!(
            "a sleep of more than {} seconds",
            LONGEST.as_secs()
        )));
    }
    if !context.dry() {
        context.ports.clock.sleep(pause).await;
    }
    Ok(Answer::default())
}

/// `PT10M`, `P1DT2H`
pub(crate) fn duration(text: &str) -> Result<Duration, StepError> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| {
            StepError::Input(format!(
                "`{text}` is not an ISO 8601 duration, such as `PT10M`"
            ))
        })
}

/// `2020-01-01T01:00:00Z`; without an offset, UTC.
fn moment(text: &str) -> Result<Timestamp, StepError> {
    text.parse::<Timestamp>()
        .or_else(|_| {
            text.parse::<DateTime>()
                .and_then(|civil| civil.to_zoned(TimeZone::UTC))
                .map(|z| z.timestamp())
        })
        .map_err(|_| {
            StepError::Input(format!(
                "`{text}` is not an ISO 8601 time, such as `2026-01-01T01:00:00Z`"
            ))
        })
}
