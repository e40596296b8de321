//! Change windows: iCalendar files as Systems Manager Change Calendar has them.
//!
//! A calendar is open or closed by default (`X-CALENDAR-TYPE`), and the other during its events
//! (<https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-change-calendar.html>).
//! An event repeats by the wall clock of its time zone; a local time that a change of the clocks skips
//! or repeats means what RFC 5545, section 3.3.5, says. Each instance lasts as section 3.8.5.3 has it:
//! `DTEND` gives all of them the same length, in which an hour is an hour whatever the clocks do; so are
//! the hours of a `DURATION`, but its days and weeks go by the calendar.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use icalendar::parser::{Component, Property, read_calendar, unfold};
use jiff::{
    SignedDuration, Span, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::{TimeZone, TimeZoneDatabase},
};
use rrule::RRuleSet;

/// How far ahead openings are known; half as far one is looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(400 * 24);
/// So deep components may lie in each other; a calendar has three levels.
const DEEPEST: usize = 8;
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
    /// Its start is a day.
    whole_day: bool,
    /// From the start of an instance to its end: days by the calendar, then hours as they pass.
    length: Span,
    /// The rule, over the wall clock as if that were UTC.
    rule: Option<Box<RRuleSet>>,
    /// The rule itself has no end.
    endless: bool,
    more: BTreeSet<DateTime>,
    /// Instances that do not happen, by their start.
    except: HashSet<Timestamp>,
    /// Days on which none begins.
    days_off: HashSet<Date>,
}

/// A `VEVENT`.
struct Entry {
    uid: String,
    /// The instance of a series that it stands for.
    instance: Option<Moment>,
    /// Nothing, where it does not change the calendar's state.
    event: Option<Event>,
}

impl Calendar {
    /// Reads an iCalendar file.
    ///
    /// # Errors
    /// Anything in it that is not understood: a calendar that is half read would be open by mistake.
    pub fn read(name: &str, text: &str, now: Timestamp) -> Result<Self, CalendarError> {
        let text = unfold(&text.replace("\r\n", "\n").replace('\n', "\r\n"));
        if is_deep(&text) {
            let why = format!("more than {DEEPEST} components lie in each other");
            return Err(CalendarError::Syntax(why));
        }
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
        let components = parsed.components.iter().filter(|c| c.name == "VEVENT");
        let entries: Vec<Entry> = components
            .map(|component| entry(component, &home))
            .collect::<Result<_, _>>()?;
        // An instance with an entry of its own is no longer one of its series: it was moved, or is
        // cancelled, or only advises.
        let (mut series, instances): (Vec<Entry>, Vec<Entry>) = entries
            .into_iter()
            .partition(|entry| entry.instance.is_none());
        for Entry { uid, event, .. } in &mut series {
            let Some(event) = event else { continue };
            let own = instances.iter().filter(|entry| entry.uid == *uid);
            for instance in own.filter_map(|entry| entry.instance.as_ref()) {
                event
                    .leave_out(instance)
                    .map_err(|reason| CalendarError::Event {
                        event: event.name.clone(),
                        reason,
                    })?;
            }
        }
        let events = series.into_iter().chain(instances);
        let calendar = Self {
            name: name.to_owned(),
            open_by_default,
            events: events
                .filter_map(|entry| entry.event)
                .filter(|event| !event.length.is_zero())
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
        // As far as is known in any case, so that the answer does not depend on what was asked before.
        turns
            .filter(|turn| *turn > at && *turn <= at + AHEAD / 2)
            .collect()
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
    /// Takes an instance out of the series.
    ///
    /// RFC 5545 wants a time where the series has times, and a day where it has days. Some write the day
    /// beside times, and mean what begins on it (<https://github.com/nextcloud/server/issues/44600>); or
    /// midnight for the day. Anything else would take out nothing, and is refused.
    fn leave_out(&mut self, instance: &Moment) -> Result<(), String> {
        if instance.whole_day {
            self.days_off.insert(instance.local.date());
        } else if !self.whole_day {
            self.except.insert(instance.timestamp(&self.zone)?);
        } else {
            let local = instance.local;
            let mut clocks = [instance.at(&self.zone), local].into_iter();
            let midnight = clocks.find(|clock| clock.time() == Time::midnight());
            let midnight = midnight.ok_or_else(|| {
                format!("`{local}` is a time, but the event has whole days: leave out the day")
            })?;
            self.days_off.insert(midnight.date());
        }
        Ok(())
    }

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
                let mut is_past = false;
                for start in &**rule {
                    count += 1;
                    if start.timestamp() > end {
                        is_past = true;
                        break;
                    }
                    if count > MOST {
                        return Err(fail(format!("it repeats more than {MOST} times")));
                    }
                    let start = Timestamp::from_second(start.timestamp())
                        .map_err(|error| fail(error.to_string()))?;
                    starts.insert(start.to_zoned(TimeZone::UTC).datetime());
                }
                if self.endless && !is_past {
                    return Err(fail("its `RRULE` fits no day any more".to_owned()));
                }
            }
        }
        for local in starts {
            // As RFC 5545 has it: a time that is skipped is counted by the offset before the gap, one
            // that comes twice is the first.
            let start = self.zone.to_ambiguous_zoned(local).compatible();
            let start = start.map_err(|error| fail(error.to_string()))?;
            if self.days_off.contains(&local.date()) || self.except.contains(&start.timestamp()) {
                continue;
            }
            let end = start.checked_add(self.length);
            let end = end.map_err(|error| fail(error.to_string()))?;
            let (start, end) = (start.timestamp(), end.timestamp());
            if end > from && start < until && start < end {
                to.push((start, end));
            }
        }
        Ok(())
    }
}

fn entry(component: &Component<'_>, home: &TimeZone) -> Result<Entry, CalendarError> {
    let text = |name: &str| component.find_prop(name).map(|p| p.val.as_str().trim());
    let is = |name: &str, value: &str| text(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let name = text("SUMMARY").or_else(|| text("UID")).unwrap_or_default();
    let fail = |reason: String| CalendarError::Event {
        event: name.to_owned(),
        reason,
    };
    let instance = match component.find_prop("RECURRENCE-ID") {
        Some(property) if parameter(property, "RANGE").is_some() => {
            return Err(fail(
                "`RANGE` of `RECURRENCE-ID` is not understood; end the series with `UNTIL` and begin another"
                    .to_owned(),
            ));
        }
        Some(property) => Some(Moment::read(property).map_err(fail)?),
        None => None,
    };
    // An advisory event tells people something; it does not change the calendar's state
    // (<https://docs.aws.amazon.com/systems-manager/latest/userguide/change-calendar-update-event.html>).
    let event = match is("STATUS", "CANCELLED") || is("X-EVENT-TYPE", "ADVISORY") {
        true => None,
        false => Some(event(component, name, home)?),
    };
    Ok(Entry {
        uid: text("UID").unwrap_or_default().to_owned(),
        instance,
        event,
    })
}

fn event(component: &Component<'_>, name: &str, home: &TimeZone) -> Result<Event, CalendarError> {
    let text = |name: &str| component.find_prop(name).map(|p| p.val.as_str().trim());
    let fail = |reason: String| CalendarError::Event {
        event: name.to_owned(),
        reason,
    };
    let start = component
        .find_prop("DTSTART")
        .ok_or_else(|| fail("it has no `DTSTART`".to_owned()))?;
    let start = Moment::read(start).map_err(fail)?;
    let zone = start.zone.as_ref().unwrap_or(home);
    let length = match (component.find_prop("DTEND"), text("DURATION")) {
        (Some(end), _) => {
            let end = Moment::read(end).map_err(fail)?;
            between(&start, &end, zone).map_err(fail)?
        }
        (None, Some(duration)) => span(duration).map_err(fail)?,
        (None, None) if start.whole_day => 1.day(),
        (None, None) => Span::new(),
    };
    if length.is_negative() {
        return Err(fail("it ends before it begins".to_owned()));
    }
    let moments = |name: &str| -> Result<Vec<Moment>, CalendarError> {
        let mut found = Vec::new();
        for property in component.properties.iter().filter(|p| p.name == name) {
            let zone = named_zone(property).map_err(fail)?;
            for value in property.val.as_str().split(',') {
                found.push(Moment::of(value.trim(), zone.clone()).map_err(fail)?);
            }
        }
        Ok(found)
    };
    if component.find_prop("EXRULE").is_some() {
        return Err(fail("`EXRULE` is not understood; use `EXDATE`".to_owned()));
    }
    let mut endless = false;
    let rule = match text("RRULE") {
        None => None,
        Some(rule) => {
            let part = |name: &str| {
                let mut parts = rule.split(';').filter_map(|part| part.split_once('='));
                let found = parts.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().to_ascii_uppercase())
            };
            if matches!(part("FREQ").as_deref(), Some("SECONDLY" | "MINUTELY")) {
                return Err(fail(
                    "`RRULE`: windows come once an hour at most".to_owned(),
                ));
            }
            endless = part("COUNT").is_none() && part("UNTIL").is_none();
            let rule = as_if_utc(rule, zone).map_err(fail)?;
            let set = format!(
                "DTSTART:{}\nRRULE:{rule}",
                start.local.strftime("%Y%m%dT%H%M%SZ")
            );
            let set = set.parse::<RRuleSet>();
            let set = set.map_err(|error| fail(format!("`RRULE`: {error}")))?;
            // A rule that fits nothing is not looked for up to the end of time.
            Some(Box::new(set.limit()))
        }
    };
    let more = moments("RDATE")?;
    if more.iter().any(|more| more.whole_day != start.whole_day) {
        return Err(fail(
            "`RDATE` and `DTSTART` must both be times, or both days".to_owned(),
        ));
    }
    let mut event = Event {
        name: name.to_owned(),
        zone: zone.clone(),
        start: start.local,
        whole_day: start.whole_day,
        length,
        rule,
        endless,
        more: more.iter().map(|more| more.at(zone)).collect(),
        except: HashSet::new(),
        days_off: HashSet::new(),
    };
    for instance in moments("EXDATE")? {
        event.leave_out(&instance).map_err(fail)?;
    }
    Ok(event)
}

/// From a start to an end: days from day to day, and between times what passes.
fn between(start: &Moment, end: &Moment, zone: &TimeZone) -> Result<Span, String> {
    let length = match start.whole_day && end.whole_day {
        true => start.local.until(end.local),
        false => start.timestamp(zone)?.until(end.timestamp(zone)?),
    };
    length.map_err(|error| error.to_string())
}

/// A value of `DURATION`, which has weeks, days and what is shorter.
fn span(text: &str) -> Result<Span, String> {
    let span = text.parse::<Span>().ok();
    span.filter(|span| span.get_years() == 0 && span.get_months() == 0)
        .ok_or_else(|| format!("`{text}` is no duration"))
}

/// A recurrence rule whose end is by the wall clock too.
fn as_if_utc(rule: &str, zone: &TimeZone) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let Some(until) = part.strip_prefix("UNTIL=") else {
            parts.push(part.to_owned());
            continue;
        };
        let last = Moment::of(until, None)?;
        let mut local = last.at(zone);
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
    /// The zone that it names. Without one it is by the clock of its event.
    zone: Option<TimeZone>,
    whole_day: bool,
}

impl Moment {
    fn read(property: &Property<'_>) -> Result<Self, String> {
        Self::of(property.val.as_str().trim(), named_zone(property)?)
    }

    fn of(text: &str, zone: Option<TimeZone>) -> Result<Self, String> {
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
            Some(local) => (local, Some(TimeZone::UTC)),
            None => (text, zone),
        };
        let local = DateTime::strptime("%Y%m%dT%H%M%S", local).map_err(wrong)?;
        Ok(Self {
            local,
            zone,
            whole_day: false,
        })
    }

    /// When it is, for an event of that zone. A whole day is the same day everywhere.
    fn timestamp(&self, zone: &TimeZone) -> Result<Timestamp, String> {
        let own = self.zone.as_ref().filter(|_| !self.whole_day);
        let moment = own.unwrap_or(zone).to_ambiguous_timestamp(self.local);
        moment.compatible().map_err(|error| error.to_string())
    }

    /// The wall clock of that zone at this moment.
    fn at(&self, zone: &TimeZone) -> DateTime {
        match &self.zone {
            Some(own) if own != zone && !self.whole_day => self
                .timestamp(zone)
                .map_or(self.local, |moment| zone.to_datetime(moment)),
            _ => self.local,
        }
    }
}

fn parameter<'a>(property: &'a Property<'_>, name: &str) -> Option<&'a str> {
    let mut named = property.params.iter();
    let named = named.find(|p| p.key.as_str().eq_ignore_ascii_case(name))?;
    Some(named.val.as_ref().map_or("", |value| value.as_str()))
}

fn named_zone(property: &Property<'_>) -> Result<Option<TimeZone>, String> {
    parameter(property, "TZID").map(time_zone).transpose()
}

/// A zone of the IANA database, which is built in: what a window means must not depend on a machine.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    let name = name.trim().trim_matches('"').trim_start_matches('/');
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        format!("`{name}` is no time zone of the IANA database, such as `Europe/Berlin`")
    })
}

/// The parser goes down as deep as components lie in each other.
fn is_deep(text: &str) -> bool {
    let mut depth: usize = 0;
    text.lines().any(|line| {
        let line = line.trim_start();
        if line.starts_with("BEGIN:") {
            depth += 1;
        } else if line.starts_with("END:") {
            depth = depth.saturating_sub(1);
        }
        depth > DEEPEST
    })
}

/// The first moment after `at` at which `holds` becomes true because a calendar opens or closes.
pub(crate) fn next(
    calendars: &[Calendar],
    at: Timestamp,
    mut holds: impl FnMut(Timestamp) -> bool,
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
    fn what_takes_without_end_is_refused() {
        for rule in [
            "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=MONTHLY;BYDAY=FR;BYSETPOS=-9",
            "FREQ=MINUTELY;BYMONTH=12",
            "freq=secondly",
        ] {
            let begun = std::time::Instant::now();
            let window = event(&format!(
                "DTSTART:20260101T220000Z\nDTEND:20260101T230000Z\nRRULE:{rule}"
            ));
            assert!(calendar("DEFAULT_OPEN", &window).is_err(), "{rule}");
            assert!(begun.elapsed().as_secs() < 5, "{rule}");
        }
        let deep = "BEGIN:A\n".repeat(20_000);
        assert!(calendar("DEFAULT_OPEN", &deep).is_err());
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
    }

    #[test]
    fn hours_are_hours_and_days_are_days() {
        // In Berlin the clocks go forward on 29 March and back on 25 October, in the night to Sunday.
        let saturdays = |start: &str, length: &str| {
            let body =
                format!("DTSTART;TZID=Europe/Berlin:20260103T{start}\n{length}\nRRULE:FREQ=WEEKLY");
            calendar("DEFAULT_CLOSED", &event(&body)).unwrap()
        };
        for eight in ["DURATION:PT8H", "DTEND;TZID=Europe/Berlin:20260104T060000"] {
            check(
                &saturdays("220000", eight),
                &[
                    "2026-01-04T04:59:59Z",
                    "2026-03-29T04:59:59Z",
                    "2026-10-25T03:59:59Z",
                ],
                &[
                    "2026-01-04T05:00:00Z",
                    "2026-03-29T05:00:00Z",
                    "2026-10-25T04:00:00Z",
                ],
            );
        }
        // The Sunday has 25 hours: a day lasts them all, and what is as long as another Saturday does not.
        check(
            &saturdays("220000", "DURATION:P1D"),
            &["2026-10-25T20:59:59Z"],
            &["2026-10-25T21:00:00Z"],
        );
        check(
            &saturdays("220000", "DTEND;TZID=Europe/Berlin:20260104T220000"),
            &["2026-10-25T19:59:59Z"],
            &["2026-10-25T20:00:00Z"],
        );
        // First the day, to 01:30 of summer, then two hours.
        check(
            &saturdays("013000", "DURATION:P1DT2H"),
            &["2026-10-25T01:29:59Z"],
            &["2026-10-25T01:30:00Z"],
        );
        // An end by another clock, in the hour that comes twice: the second.
        let once = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART;TZID=Europe/Berlin:20261024T220000\nDTEND:20261025T013000Z"),
        )
        .unwrap();
        check(&once, &["2026-10-25T01:29:59Z"], &["2026-10-25T01:30:00Z"]);
        let days = calendar(
            "DEFAULT_CLOSED",
            &("X-WR-TIMEZONE:Europe/Berlin\n".to_owned()
                + &event(
                    "DTSTART;VALUE=DATE:20260104\nDTEND;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY",
                )),
        )
        .unwrap();
        check(
            &days,
            &["2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z"],
            &["2026-10-24T21:59:59Z", "2026-10-25T23:00:00Z"],
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
    fn an_instance_of_its_own_is_not_one_of_its_series() {
        let series =
            event("DTSTART;TZID=Europe/Berlin:20261201T220000\nDURATION:PT8H\nRRULE:FREQ=DAILY");
        for own in [
            "RECURRENCE-ID;TZID=Europe/Berlin:20261224T220000\nSTATUS:CANCELLED",
            "RECURRENCE-ID;TZID=Europe/Berlin:20261224T220000\nSTATUS:Cancelled\nDTSTART;TZID=Europe/Berlin:20261224T220000\nDURATION:PT8H",
            "RECURRENCE-ID:20261224T220000\nSTATUS:CANCELLED",
            "RECURRENCE-ID:20261224T210000Z\nSTATUS:CANCELLED",
            "RECURRENCE-ID;VALUE=DATE:20261224\nSTATUS:CANCELLED",
            "RECURRENCE-ID:20261224T210000Z\nX-EVENT-TYPE:ADVISORY\nDTSTART:20261224T210000Z\nDURATION:PT8H",
            // Moved, and said by another clock.
            "RECURRENCE-ID;TZID=Europe/Berlin:20261224T220000\nDTSTART:20261227T120000Z\nDURATION:PT1H",
        ] {
            for events in [series.clone() + &event(own), event(own) + &series] {
                let nights = calendar("DEFAULT_CLOSED", &events).unwrap();
                check(
                    &nights,
                    &["2026-12-23T21:30:00Z", "2026-12-25T21:30:00Z"],
                    &["2026-12-24T21:30:00Z", "2026-12-25T04:30:00Z"],
                );
                let moved = nights.is_open(at("2026-12-27T12:30:00Z"));
                assert_eq!(moved, own.contains("T120000Z"), "{own}");
            }
        }
        // What is cancelled or advises as a whole leaves the rest alone.
        let other = event("DTSTART:20261224T120000Z\nDURATION:PT1H\nSTATUS:CANCELLED")
            + &event("DTSTART:20261224T120000Z\nDURATION:PT1H\nX-EVENT-TYPE:ADVISORY");
        check(
            &calendar("DEFAULT_CLOSED", &(series + &other)).unwrap(),
            &["2026-12-24T21:30:00Z"],
            &["2026-12-24T12:30:00Z"],
        );
    }

    #[test]
    fn a_day_is_left_out_with_all_that_begins_on_it() {
        let nights = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART;TZID=Europe/Berlin:20260501T220000\nDURATION:PT8H\nRRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20260503,20260505"),
        )
        .unwrap();
        check(
            &nights,
            &[
                "2026-05-03T03:30:00Z",
                "2026-05-04T20:30:00Z",
                "2026-05-06T20:30:00Z",
            ],
            &["2026-05-03T20:30:00Z", "2026-05-05T20:30:00Z"],
        );
        for midnight in [
            "EXDATE;VALUE=DATE:20260503",
            "EXDATE:20260503T000000Z",
            "EXDATE;TZID=Europe/Berlin:20260503T000000",
        ] {
            let body = format!("DTSTART;VALUE=DATE:20260501\nRRULE:FREQ=DAILY\n{midnight}");
            check(
                &calendar("DEFAULT_CLOSED", &event(&body)).unwrap(),
                &["2026-05-02T23:59:59Z", "2026-05-04T00:00:00Z"],
                &["2026-05-03T00:00:00Z", "2026-05-03T23:59:59Z"],
            );
        }
        // The instance of a time that is skipped is left out by what it is then.
        let skipped = calendar(
            "DEFAULT_CLOSED",
            &event("DTSTART;TZID=America/New_York:20260301T023000\nDURATION:PT10M\nRRULE:FREQ=DAILY\nEXDATE:20260308T073000Z"),
        )
        .unwrap();
        check(
            &skipped,
            &["2026-03-07T07:30:00Z"],
            &["2026-03-08T07:30:00Z"],
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
        let refused = |more: &str, expected: &str| {
            let body = format!("DTSTART:20260501T080000Z\n{more}");
            check("DEFAULT_OPEN", &event(&body), expected);
        };
        refused("DURATION:-PT1H", "ends before");
        refused("DURATION:P1M", "`P1M`");
        refused(
            "DURATION:PT1H\nRDATE;VALUE=DATE:20260503",
            "`RDATE` and `DTSTART`",
        );
        for status in ["CONFIRMED", "CANCELLED"] {
            refused(
                &format!(
                    "DURATION:PT1H\nSTATUS:{status}\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260503T080000Z"
                ),
                "`RANGE`",
            );
        }
        check(
            "DEFAULT_OPEN",
            &event("DTSTART;VALUE=DATE:20260501\nRRULE:FREQ=DAILY\nEXDATE:20260503T080000Z"),
            "whole days",
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
