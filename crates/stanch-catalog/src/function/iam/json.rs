//! JSON whose parts know where they stand, so that one can be cut out of the text and every other
//! byte stays.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

/// A value within a text.
#[derive(Debug, Clone, Copy)]
pub(in crate::function) struct Part<'t> {
    text: &'t str,
    start: usize,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(in crate::function) struct Member<'t> {
    pub(in crate::function) name: Cow<'t, str>,
    /// Name and value.
    pub(in crate::function) range: Range<usize>,
    pub(in crate::function) value: Part<'t>,
}

/// A piece of text that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::function) struct Edit {
    pub(in crate::function) range: Range<usize>,
    pub(in crate::function) with: String,
}

impl Edit {
    pub(in crate::function) const fn insert(at: usize, with: String) -> Self {
        Self {
            range: at..at,
            with,
        }
    }
}

impl<'t> Part<'t> {
    /// The value that a text holds.
    pub(in crate::function) fn of(text: &'t str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self::within(text, 0, raw))
    }

    /// The distance of two pieces of one text.
    fn within(text: &str, start: usize, raw: &'t RawValue) -> Self {
        let distance = (raw.get().as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        Self {
            text: raw.get(),
            start: start + distance,
        }
    }

    pub(in crate::function) fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(in crate::function) const fn text(&self) -> &'t str {
        self.text
    }

    pub(in crate::function) fn value(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(self.text)
    }

    /// The elements, if it is a list.
    pub(in crate::function) fn items(&self) -> Result<Option<Vec<Self>>, serde_json::Error> {
        if !self.text.starts_with('[') {
            return Ok(None);
        }
        let items: Vec<&'t RawValue> = serde_json::from_str(self.text)?;
        let part = |raw| Self::within(self.text, self.start, raw);
        Ok(Some(items.into_iter().map(part).collect()))
    }

    /// The members, if it is an object. A name that stands twice is an error: readers differ on which
    /// of the two counts.
    pub(in crate::function) fn members(
        &self,
    ) -> Result<Option<Vec<Member<'t>>>, serde_json::Error> {
        if !self.text.starts_with('{') {
            return Ok(None);
        }
        let Members(raw) = serde_json::from_str(self.text)?;
        let mut end = self.start;
        let mut members = Vec::with_capacity(raw.len());
        for (name, raw) in raw {
            let value = Self::within(self.text, self.start, raw);
            // Between two values stand a comma, the name in quotes, a colon and blanks.
            let between = self.text.get(end - self.start..value.start - self.start);
            let before_name = between.and_then(|text| text.find('"')).unwrap_or_default();
            let range = end + before_name..value.range().end;
            end = range.end;
            members.push(Member { name, range, value });
        }
        Ok(Some(members))
    }
}

struct Members<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.iter().any(|(other, _)| *other == name) {
                        let message = format_args!("`{name}` stands twice in one object");
                        return Err(serde::de::Error::custom(message));
                    }
                    members.push((Cow::Owned(name), map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Ordered)
    }
}

/// What to take out of a text so that of the elements of a list (or the members of an object), which
/// stand at `ranges`, those that are `gone` are not there, and the commas are right. At least one
/// must stay.
pub(in crate::function) fn cut(ranges: &[Range<usize>], gone: &[bool]) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut run: Option<usize> = None;
    let mut kept: Option<usize> = None;
    for (range, gone) in ranges.iter().zip(gone) {
        if *gone {
            run.get_or_insert(range.start);
        } else {
            if let Some(start) = run.take() {
                edits.push(Edit {
                    range: start..range.start,
                    with: String::new(),
                });
            }
            kept = Some(range.end);
        }
    }
    if let (Some(_), Some(kept), Some(last)) = (run, kept, ranges.last()) {
        edits.push(Edit {
            range: kept..last.end,
            with: String::new(),
        });
    }
    edits
}

/// The text with all edits made. They must not overlap, and stand on the boundaries of characters.
pub(in crate::function) fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.range.start);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for Edit { range, with } in edits {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        out.push_str(&with);
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_items_know_where_they_stand() {
        let text = r#" { "a" : [1, "x,\"y", {"b":2}] , "é\u0041":true}"#;
        let whole = Part::of(text).unwrap();
        let members = whole.members().unwrap().unwrap();
        assert_eq!(
            &text[members[0].range.clone()],
            r#""a" : [1, "x,\"y", {"b":2}]"#
        );
        assert_eq!(&text[members[1].range.clone()], r#""é\u0041":true"#);
        assert_eq!(members[1].name, "éA");
        let items = members[0].value.items().unwrap().unwrap();
        let at: Vec<&str> = items.iter().map(|item| &text[item.range()]).collect();
        assert_eq!(at, ["1", r#""x,\"y""#, r#"{"b":2}"#]);
    }

    #[test]
    fn what_is_cut_leaves_commas_right() {
        let check = |gone: [bool; 3], expected: &str| {
            let text = "[ 1 , 2,3 ]";
            let items = Part::of(text).unwrap().items().unwrap().unwrap();
            let ranges: Vec<_> = items.iter().map(Part::range).collect();
            assert_eq!(edited(text, cut(&ranges, &gone)), expected, "{gone:?}");
        };
        check([false, false, false], "[ 1 , 2,3 ]");
        check([true, false, false], "[ 2,3 ]");
        check([false, true, false], "[ 1 , 3 ]");
        check([false, false, true], "[ 1 , 2 ]");
        check([true, true, false], "[ 3 ]");
        check([false, true, true], "[ 1 ]");
        check([true, false, true], "[ 2 ]");
    }
}
