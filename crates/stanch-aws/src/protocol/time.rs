//! Timestamps: in many spellings, out in three.

use jiff::{Timestamp, civil, fmt::rfc2822, tz::TimeZone};
use serde_json::{Number, Value};

/// How a timestamp is written on the wire, <https://smithy.io/2.0/spec/protocol-traits.html#timestampformat-trait>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `2015-01-25T08:00:00Z`
    Iso8601,
    /// `Sun, 25 Jan 2015 08:00:00 GMT`
    Rfc822,
    /// Seconds since 1970.
    Unix,
}

impl Format {
    /// The timestamp in this format, as text.
    pub(crate) fn text(self, time: Timestamp) -> String {
        match self {
            Self::Iso8601 => time.to_string(),
            Self::Rfc822 => rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&time)
                .unwrap_or_else(|_| time.to_string()),
            Self::Unix => time.as_second().to_string(),
        }
    }

    /// The timestamp in this format, as JSON: a number for [`Format::Unix`].
    pub(crate) fn json(self, time: Timestamp) -> Value {
        match self {
            Self::Unix => match time.subsec_nanosecond() {
                0 => Value::from(time.as_second()),
                nanos => {
                    let seconds = time.as_second() as f64 + f64::from(nanos) / 1e9;
                    Number::from_f64(seconds).map_or(Value::Null, Value::Number)
                }
            },
            _ => Value::String(self.text(time)),
        }
    }
}

/// Reads a timestamp that a caller or a service wrote: a number of seconds, ISO 8601 with or
/// without time and zone (UTC then), or an HTTP date.
pub(crate) fn parse(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => number.as_i64().map_or_else(
            || from_seconds(number.as_f64()?),
            |s| Timestamp::from_second(s).ok(),
        ),
        Value::String(text) => parse_text(text.trim()),
        _ => None,
    }
}

pub(crate) fn parse_text(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return from_seconds(seconds);
    }
    if let Ok(time) = text.parse::<civil::DateTime>() {
        return time
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp());
    }
    parse_http_date(text)
}

/// `Sun, 25 Jan 2015 08:00:00.123 GMT`: RFC 822 with the fraction that Smithy allows.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    let text = text
        .strip_suffix("GMT")
        .map_or_else(|| text.to_owned(), |rest| format!("{rest}+0000"));
    let (whole, fraction, tail) = match text.split_once('.') {
        Some((whole, rest)) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, tail) = rest.split_at_checked(digits)?;
            (whole, fraction, tail)
        }
        None => (text.as_str(), "", ""),
    };
    let time = rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(format!("{whole}{tail}"))
        .ok()?;
    let nanos: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(time.as_second(), nanos).ok()
}

fn from_seconds(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    // To milliseconds: what is finer is noise of the binary fraction.
    let millis = (seconds * 1000.0).round() as i64;
    Timestamp::from_millisecond(millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_name_one_moment() {
        for spelling in [
            serde_json::json!(1_422_172_800),
            serde_json::json!(1_422_172_800.0),
            serde_json::json!("1422172800"),
            serde_json::json!("2015-01-25T08:00:00Z"),
            serde_json::json!("2015-01-25T08:00:00"),
            serde_json::json!("2015-01-25T10:00:00+02:00"),
            serde_json::json!("Sun, 25 Jan 2015 08:00:00 GMT"),
        ] {
            let time = parse(&spelling).unwrap_or_else(|| panic!("{spelling}"));
            assert_eq!(time.as_second(), 1_422_172_800, "{spelling}");
        }
        for bad in ["", "yesterday", "NaN", "1e300", "2015-13-01T00:00:00Z"] {
            assert_eq!(parse_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn formats() {
        let time = Timestamp::from_millisecond(1_422_172_800_500).unwrap();
        assert_eq!(Format::Iso8601.text(time), "2015-01-25T08:00:00.5Z");
        assert_eq!(Format::Rfc822.text(time), "Sun, 25 Jan 2015 08:00:00 GMT");
        assert_eq!(Format::Unix.json(time), serde_json::json!(1_422_172_800.5));
        assert_eq!(parse_text("Sun, 25 Jan 2015 08:00:00.5 GMT"), Some(time));
    }
}
