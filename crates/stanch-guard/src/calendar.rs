//! Change windows: iCalendar files as Systems Manager Change Calendar has them.
//!
//! A calendar is open or closed by default (`X-CALENDAR-TYPE`), and the other during its events
//! (<https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-change-calendar.html>).
//! An event repeats by the wall clock of its time zone; a local time that a change of the clocks skips
//! or repeats means what RFC 5545, section 3.3.5, says.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use icalendar::parser::{Component, Property, read_calendar, unfold};
use jiff::{
    SignedDuration, Span, Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::{TimeZone, TimeZoneDatabase},
};
use rrule::RRuleSet;

/// How far ahead an opening is looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(400 * 24);
/// How often a rule may repeat until then, from its first day on.
const MOST: usize = 200_000;

/// A calendar that cannot be used. Nothing runs then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The text is no calendar.
    #[error("this is no iCalendar file: {0}")]
    Syntax(String),
    /// It does not say what it means when nothing is on.
    #[error(
        "`X-CALENDAR-TYPE` must be `DEFAULT_OPEN` or `DEFAULT_CLOSED`, but is `{0}`: Change Calendar writes it"
    )]
    Type(String),
    /// An event cannot be understood.
    #[error("event `{event}`: {reason}")]
    Event {
        /// Its summary or `UID`.
        event: String,
        /// What is wrong.
        reason: String,
    },
}

/// A change calendar.
#[derive(Debug)]
pub struct Calendar {
    name: String,
    open_by_default: bool,
    events: Vec<Event>,
    known: Mutex<Option<Arc<Known>>>,
}

/// Its events in a stretch of time, as moments; sorted, without overlaps.
#[derive(Debug)]
struct Known {
    from: Timestamp,
    until: Timestamp,
    spans: Vec<(Timestamp, Timestamp)>,
}

#[derive(Debug)]
struct Event {
    name: String,
    zone: TimeZone,
    start: DateTime,
    /// From its start to its end by the wall clock.
    length: Span,
    /// The rule, over the wall clock as if that were UTC.
    rule: Option<Box<RRuleSet>>,
    more: BTreeSet<DateTime>,
    except: HashSet<DateTime>,
}

impl Calendar {
    /// Reads an iCalendar file.
    ///
    /// # Errors
    /// Anything in it that is not understood: a calendar that is half read would be open by mistake.
    pub fn read(name: &str, text: &str, now: Timestamp) -> Result<Self, CalendarError> {
        let text = unfold(&text.replace("\r\n", "\n").replace('\n', "\r\n"));
        let parsed = read_calendar(&text).map_err(|error| {
            let line = error.lines().find(|line| !line.trim().is_empty());
            CalendarError::Syntax(line.unwrap_or_default().trim().to_owned())
        })?;
        let property = |name: &str| {
            let found = parsed.properties.iter().find(|p| p.name == name);
            found.map(|p| p.val.as_str().trim())
        };
        let open_by_default = match property("X-CALENDAR-TYPE") {
            Some("DEFAULT_OPEN") => true,
            Some("DEFAULT_CLOSED") => false,
            other => return Err(CalendarError::Type(other.unwrap_or_default().to_owned())),
        };
        let home = match property("X-WR-TIMEZONE") {
            Some(zone) => time_zone(zone).map_err(|reason| CalendarError::Event {
                event: "X-WR-TIMEZONE".to_owned(),
                reason,
            })?,
            None => TimeZone::UTC,
        };
        let mut events: Vec<(String, Option<DateTime>, Event)> = Vec::new();
        for component in parsed.components.iter().filter(|c| c.name == "VEVENT") {
            events.extend(event(component, &home)?);
        }
        // An instance that was moved is an event of its own, and no longer one of its series.
        let moved: Vec<(String, DateTime)> = events
            .iter()
            .filter_map(|(uid, instance, _)| Some((uid.clone(), (*instance)?)))
            .collect();
        for (uid, instance) in moved {
            for (other, series, event) in &mut events {
                if *other == uid && series.is_none() {
                    event.except.insert(instance);
                }
            }
        }
        let calendar = Self {
            name: name.to_owned(),
            open_by_default,
            events: events
                .into_iter()
                .filter_map(|(_, _, event)| (!event.length.is_zero()).then_some(event))
                .collect(),
            known: Mutex::default(),
        };
        calendar.known(now)?;
        Ok(calendar)
    }

    /// Its name in policies: `context.calendars["name"]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if changes may be made at that moment. What cannot be told is closed.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let Ok(known) = self.known(at) else {
            return false;
        };
        let after = known.spans.partition_point(|(start, _)| *start <= at);
        let within = after
            .checked_sub(1)
            .and_then(|before| known.spans.get(before))
            .is_some_and(|(_, end)| at < *end);
        within != self.open_by_default
    }

    /// The moments at which it opens or closes, after that one.
    pub(crate) fn turns_after(&self, at: Timestamp) -> Vec<Timestamp> {
        let Ok(known) = self.known(at) else {
            return Vec::new();
        };
        let from = known.spans.partition_point(|(_, end)| *end <= at);
        let spans = known.spans.get(from..).unwrap_or_default();
        let turns = spans.iter().flat_map(|(start, end)| [*start, *end]);
        turns.filter(|turn| *turn > at).collect()
    }

    fn known(&self, at: Timestamp) -> Result<Arc<Known>, CalendarError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref()
            && known.from <= at
            && at + AHEAD / 2 <= known.until
        {
            return Ok(Arc::clone(known));
        }
        let (from, until) = (at - SignedDuration::from_hours(24), at + AHEAD);
        let mut spans = Vec::new();
        for event in &self.events {
            event.spans(from, until, &mut spans)?;
        }
        spans.sort_unstable();
        let mut joined: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (start, end) in spans {
            match joined.last_mut() {
                Some((_, last)) if start <= *last => *last = end.max(*last),
                _ => joined.push((start, end)),
            }
        }
        let fresh = Arc::new(Known {
            from,
            until,
            spans: joined,
        });
        *known = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl Event {
    fn spans(
        &self,
        from: Timestamp,
        until: Timestamp,
        to: &mut Vec<(Timestamp, Timestamp)>,
    ) -> Result<(), CalendarError> {
        let fail = |reason: String| CalendarError::Event {
            event: self.name.clone(),
            reason,
        };
        let mut starts = self.more.clone();
        match &self.rule {
            None => drop(starts.insert(self.start)),
            Some(rule) => {
                // A day more: wall clocks and UTC differ by less.
                let end = until.as_second() + 86_400;
                let mut count = 0;
                for start in &**rule {
                    count += 1;
                    if start.timestamp() > end {
                        break;
                    }
                    if count > MOST {
                        return Err(fail(format!("it repeats more than {MOST} times")));
                    }
                    let start = Timestamp::from_second(start.timestamp())
                        .map_err(|error| fail(error.to_string()))?;
                    starts.insert(start.to_zoned(TimeZone::UTC).datetime());
                }
            }
        }
        for start in starts.difference(&self.except.iter().copied().collect()) {
            let moment = |local: DateTime| {
                // As RFC 5545 has it: a time that is skipped is counted by the offset before the
                // gap, one that comes twice is the first.
                let zoned = self.zone.to_ambiguous_timestamp(local).compatible();
                zoned.map_err(|error| fail(error.to_string()))
            };
            let end = start
                .checked_add(self.length)
                .map_err(|error| fail(error.to_string()))?;
            let (start, end) = (moment(*start)?, moment(end)?);
            if end > from && start < until && start < end {
                to.push((start, end));
            }
        }
        Ok(())
    }
}

/// An event with its `UID` and, where it stands for one instance of a series, that.
fn event(
    component: &Component<'_>,
    home: &TimeZone,
) -> Result<Option<(String, Option<DateTime>, Event)>, CalendarError> {
    let text = |name: &str| component.find_prop(name).map(|p| p.val.as_str().trim());
    let name = text("SUMMARY")
        .or_else(|| text("UID"))
        .unwrap_or_default()
        .to_owned();
    let fail = |reason: String| CalendarError::Event {
        event: name.clone(),
        reason,
    };
    // An advisory event tells people something; it does not change the calendar's state.
    if text("STATUS") == Some("CANCELLED") || text("X-EVENT-TYPE") == Some("ADVISORY") {
        return Ok(None);
    }
    let started = component
        .find_prop("DTSTART")
        .ok_or_else(|| fail("it has no `DTSTART`".to_owned()))?;
    let start = Moment::read(started, home).map_err(fail)?;
    let in_zone = |moment: Moment| moment.at(&start.zone);
    let length = match (component.find_prop("DTEND"), text("DURATION")) {
        (Some(end), _) => {
            let end = in_zone(Moment::read(end, home).map_err(fail)?);
            if end < start.local {
                return Err(fail("it ends before it begins".to_owned()));
            }
            start.local.until(end).map_err(|e| fail(e.to_string()))?
        }
        (None, Some(duration)) => duration
            .parse::<Span>()
            .map_err(|_| fail(format!("`{duration}` is no duration")))?,
        (None, None) if start.whole_day => 1.day(),
        (None, None) => Span::new(),
    };
    let times = |name: &str| -> Result<Vec<DateTime>, CalendarError> {
        let mut found = Vec::new();
        for property in component.properties.iter().filter(|p| p.name == name) {
            for value in property.val.as_str().split(',') {
                let moment = Moment::of(value.trim(), zone(property, home).map_err(fail)?);
                found.push(in_zone(moment.map_err(fail)?));
            }
        }
        Ok(found)
    };
    if component.find_prop("EXRULE").is_some() {
        return Err(fail("`EXRULE` is not understood; use `EXDATE`".to_owned()));
    }
    let rule = match text("RRULE") {
        None => None,
        Some(rule) => {
            let rule = as_if_utc(rule, &start).map_err(fail)?;
            let set = format!(
                "DTSTART:{}\nRRULE:{rule}",
                start.local.strftime("%Y%m%dT%H%M%SZ")
            );
            let set = set.parse::<RRuleSet>();
            Some(Box::new(
                set.map_err(|error| fail(format!("`RRULE`: {error}")))?,
            ))
        }
    };
    let instance = match component.find_prop("RECURRENCE-ID") {
        Some(property) => Some(in_zone(Moment::read(property, home).map_err(fail)?)),
        None => None,
    };
    let event = Event {
        more: times("RDATE")?.into_iter().collect(),
        except: times("EXDATE")?.into_iter().collect(),
        name: name.clone(),
        zone: start.zone.clone(),
        start: start.local,
        length,
        rule,
    };
    let uid = text("UID").unwrap_or_default().to_owned();
    Ok(Some((uid, instance, event)))
}

/// A recurrence rule whose end is by the wall clock too.
fn as_if_utc(rule: &str, start: &Moment) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let Some(until) = part.strip_prefix("UNTIL=") else {
            parts.push(part.to_owned());
            continue;
        };
        let last = Moment::of(until, start.zone.clone())?;
        let mut local = last.at(&start.zone);
        if last.whole_day {
            local = local.date().at(23, 59, 59, 0);
        }
        parts.push(format!("UNTIL={}", local.strftime("%Y%m%dT%H%M%SZ")));
    }
    Ok(parts.join(";"))
}

/// A value of `DATE` or `DATE-TIME`.
struct Moment {
    local: DateTime,
    zone: TimeZone,
    whole_day: bool,
}

impl Moment {
    fn read(property: &Property<'_>, home: &TimeZone) -> Result<Self, String> {
        Self::of(property.val.as_str().trim(), zone(property, home)?)
    }

    fn of(text: &str, zone: TimeZone) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is no date or time");
        if text.len() == 8 {
            let date = Date::strptime("%Y%m%d", text).map_err(wrong)?;
            return Ok(Self {
                local: date.into(),
                zone,
                whole_day: true,
            });
        }
        let (local, zone) = match text.strip_suffix('Z') {
            Some(local) => (local, TimeZone::UTC),
            None => (text, zone),
        };
        let local = DateTime::strptime("%Y%m%dT%H%M%S", local).map_err(wrong)?;
        Ok(Self {
            local,
            zone,
            whole_day: false,
        })
    }

    /// The wall clock of another zone at this moment. A whole day is the same day everywhere.
    fn at(&self, zone: &TimeZone) -> DateTime {
        if self.whole_day || self.zone == *zone {
            return self.local;
        }
        match self.zone.to_ambiguous_timestamp(self.local).compatible() {
            Ok(moment) => zone.to_datetime(moment),
            Err(_) => self.local,
        }
    }
}

fn zone(property: &Property<'_>, home: &TimeZone) -> Result<TimeZone, String> {
    let named = property.params.iter().find(|p| p.key == "TZID");
    match named.and_then(|p| p.val.as_ref()) {
        Some(name) => time_zone(name.as_str()),
        None => Ok(home.clone()),
    }
}

/// A zone of the IANA database, which is built in: what a window means must not depend on a machine.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    let name = name.trim().trim_matches('"').trim_start_matches('/');
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        format!("`{name}` is no time zone of the IANA database, such as `Europe/Berlin`")
    })
}

/// The first moment after `at` at which `holds` becomes true because a calendar opens or closes.
pub(crate) fn next(
    calendars: &[Calendar],
    at: Timestamp,
    holds: impl Fn(Timestamp) -> bool,
) -> Option<Timestamp> {
    /// Beyond so many openings and closings nobody plans.
    const TURNS: usize = 512;
    let mut turns: Vec<Timestamp> = calendars
        .iter()
        .flat_map(|calendar| calendar.turns_after(at))
        .collect();
    turns.sort_unstable();
    turns.dedup();
    turns.into_iter().take(TURNS).find(|turn| holds(*turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(kind: &str, events: &str) -> Result<Calendar, CalendarError> {
        let text = format!(
            "BEGIN:VCALENDAR\nPRODID:-//AWS//Change Calendar 1.0//EN\nVERSION:2.0\nX-CALENDAR-TYPE:{kind}\nX-WR-CALDESC:test\nBEGIN:VTODO\nDTSTAMP:20200320T004207Z\nUID:x\nSUMMARY:Add events to this calendar.\nEND:VTODO\n{events}END:VCALENDAR\n"
        );
        Calendar::read("test", &text, at("2026-01-01T00:00:00Z"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn event(body: &str) -> String {
        format!("BEGIN:VEVENT\nUID:1\nSUMMARY:window\n{body}\nEND:VEVENT\n")
    }

    #[track_caller]
    fn check(calendar: &Calendar, open: &[&str], closed: &[&str]) {
        for (expected, moments) in [(true, open), (false, closed)] {
            for moment in moments {
                assert_eq!(calendar.is_open(at(moment)), expected, "{moment}");
            }
        }
    }

    #[test]
    fn an_event_turns_the_default_round() {
        let body = event("DTSTART:20260501T080000Z\nDTEND:20260501T100000Z");
        let inside = ["2026-05-01T08:00:00Z", "2026-05-01T09:59:59Z"];
        let outside = ["2026-05-01T07:59:59Z", "2026-05-01T10:00:00Z"];
        check(
            &calendar("DEFAULT_CLOSED", &body).unwrap(),
            &inside,
            &outside,
        );
        check(&calendar("DEFAULT_OPEN", &body).unwrap(), &outside, &inside);
        check(
            &calendar("DEFAULT_OPEN", "").unwrap(),
            &["2026-05-01T09:00:00Z"],
            &[],
        );
    }

    #[test]
    fn rules_follow_the_wall_clock_through_daylight_saving() {
        // 22:00 in Berlin is 21:00 UTC in winter and 20:00 UTC in summer.
        let nights = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART;TZID=Europe/Berlin:20260105T220000\nDTEND;TZID=Europe/Berlin:20260106T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR\nEXDATE;TZID=Europe/Berlin:20260401T220000"),
        )
        .unwrap();
        check(
            &nights,
            &[
                "2026-01-05T21:00:00Z",
                "2026-01-06T04:59:59Z",
                "2026-07-01T20:00:00Z",
            ],
            &[
                "2026-01-05T20:59:59Z",
                "2026-01-06T05:00:00Z",
                "2026-07-01T19:59:59Z",
                "2026-04-01T20:30:00Z",
                "2026-07-04T20:30:00Z",
            ],
        );
        // The night in which the clocks go forward ends at six all the same.
        check(
            &nights,
            &["2026-03-28T04:59:59Z"],
            &["2026-03-28T05:00:00Z"],
        );
    }

    #[test]
    fn skipped_and_repeated_times_mean_what_the_standard_says() {
        let daily = |hour: &str| {
            let body = format!(
                "DTSTART;TZID=America/New_York:20260101T{hour}\nDURATION:PT10M\nRRULE:FREQ=DAILY"
            );
            calendar("DEFAULT_CLOSED", &event(&body)).unwrap()
        };
        // 02:30 does not exist on 8 March: counted by the offset before, it is 03:30 EDT.
        check(
            &daily("023000"),
            &["2026-03-08T07:30:00Z"],
            &["2026-03-08T06:30:00Z"],
        );
        // 01:30 comes twice on 1 November: the first, by daylight saving time.
        check(
            &daily("013000"),
            &["2026-11-01T05:30:00Z"],
            &["2026-11-01T06:30:00Z"],
        );
    }

    #[test]
    fn series_end_whole_days_and_moved_instances() {
        let until = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART;TZID=Asia/Tokyo:20260501T080000\nDTEND;TZID=Asia/Tokyo:20260501T090000\nRRULE:FREQ=DAILY;UNTIL=20260503T000000Z"),
        )
        .unwrap();
        check(
            &until,
            &["2026-05-02T23:30:00Z"],
            &["2026-05-03T23:30:00Z", "2026-04-29T23:30:00Z"],
        );
        let holiday = calendar(
            "DEFAULT_OPEN",
            &event("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227"),
        )
        .unwrap();
        check(
            &holiday,
            &["2026-12-23T23:59:59Z", "2026-12-27T00:00:00Z"],
            &["2026-12-24T00:00:00Z", "2026-12-26T23:59:59Z"],
        );
        let moved = calendar(
            "DEFAULT_CLOSED",
            &(event("DTSTART:20260501T080000Z\nDTEND:20260501T090000Z\nRRULE:FREQ=DAILY")
                + &event("RECURRENCE-ID:20260503T080000Z\nDTSTART:20260503T120000Z\nDTEND:20260503T130000Z")),
        )
        .unwrap();
        check(
            &moved,
            &["2026-05-03T12:30:00Z", "2026-05-04T08:30:00Z"],
            &["2026-05-03T08:30:00Z"],
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |kind: &str, body: &str, expected: &str| {
            let error = calendar(kind, body).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("OPEN", "", "DEFAULT_CLOSED");
        check(
            "DEFAULT_OPEN",
            &event("DTEND:20260501T080000Z"),
            "no `DTSTART`",
        );
        check("DEFAULT_OPEN", &event("DTSTART:tomorrow"), "`tomorrow`");
        check(
            "DEFAULT_OPEN",
            &event("DTSTART;TZID=Mars/Olympus:20260501T080000\nDURATION:PT1H"),
            "`Mars/Olympus`",
        );
        check(
            "DEFAULT_OPEN",
            &event("DTSTART:20260501T080000Z\nDURATION:PT1H\nRRULE:FREQ=SOMETIMES"),
            "RRULE",
        );
        check(
            "DEFAULT_OPEN",
            &event("DTSTART:20260501T080000Z\nDTEND:20260501T070000Z"),
            "ends before",
        );
        assert!(Calendar::read("x", "hello", at("2026-01-01T00:00:00Z")).is_err());
    }

    #[test]
    fn the_next_opening_is_when_all_are_open() {
        let office = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART:20260504T080000Z\nDTEND:20260504T180000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
        )
        .unwrap();
        let freeze = calendar(
            "DEFAULT_OPEN",
            &event("DTSTART:20260504T000000Z\nDTEND:20260505T120000Z"),
        )
        .unwrap();
        let both = [office, freeze];
        let open = |moment| both.iter().all(|calendar| calendar.is_open(moment));
        let now = at("2026-05-03T12:00:00Z");
        assert!(!open(now));
        assert_eq!(next(&both, now, open), Some(at("2026-05-05T12:00:00Z")));
        let never = [calendar("DEFAULT_CLOSED", "").unwrap()];
        assert_eq!(next(&never, now, |t| never[0].is_open(t)), None);
    }
}
