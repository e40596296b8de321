//! The hash of an event, from the text that is stored.
//!
//! The hash is taken over canonical JSON (RFC 8785), and what is stored is the JSON that serde writes:
//! its members stand in the order that they came in, which a policy document needs, and its numbers are
//! exact. Both differ in the order of members and in the spelling of some numbers only, so that the one
//! is made from the other without building values.
//!
//! One thing is other than RFC 8785 has it: an integer keeps all its digits. There, those beyond ±2⁵³ are
//! the nearest double, and a neighbour that rounds to the same one would have the same hash.

use sha2::{Digest as _, Sha256};

use crate::{Digest, Event};

/// JSON that serde does not write so: whitespace, a member twice, another spelling of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not JSON as it is written here")]
pub struct NotAsWritten;

/// How deep values may be nested, as serde_json has it.
const MAX_DEPTH: u32 = 127;

/// Makes canonical JSON of stored JSON. Kept between events for its memory.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    out: Vec<u8>,
    sorted: Vec<u8>,
    /// The members of the objects that are being read: key, and where key and value stand in `out`.
    members: Vec<Member>,
    /// Of the whole text.
    length: usize,
    /// Where in the text the values stand that a course does not depend on.
    opaque: Vec<(usize, usize)>,
}

/// Members whose values came from AWS or go there: what may follow on an event depends on none of them.
const OPAQUE: [&str; 5] = [
    "\"plan\"",
    "\"observed\"",
    "\"outputs\"",
    "\"subject\"",
    "\"params\"",
];

#[derive(Debug, Clone, Copy)]
struct Member {
    /// Where the key's text ends in `out`, its quotes included.
    key_end: usize,
    start: usize,
    end: usize,
}

impl Canonical {
    /// The SHA-256 hash of `text`'s canonical form.
    pub(crate) fn digest(&mut self, text: &str) -> Result<Digest, NotAsWritten> {
        let bytes = self.of(text)?;
        Ok(Digest::from(<[u8; 32]>::from(Sha256::digest(bytes))))
    }

    /// The event in `text`, of which [`Canonical::digest`] was taken just now, without the values that
    /// its course does not depend on: they are most of it.
    pub(crate) fn outline(&mut self, text: &str) -> Result<Event, serde_json::Error> {
        self.sorted.clear();
        let mut copied = 0;
        for &(start, end) in &self.opaque {
            let before = text.get(copied..start).unwrap_or_default();
            self.sorted.extend_from_slice(before.as_bytes());
            self.sorted.extend_from_slice(b"null");
            copied = end;
        }
        self.sorted
            .extend_from_slice(text.get(copied..).unwrap_or_default().as_bytes());
        serde_json::from_slice(&self.sorted)
    }

    /// The canonical form of `text`.
    pub(crate) fn of(&mut self, text: &str) -> Result<&[u8], NotAsWritten> {
        self.out.clear();
        self.members.clear();
        self.opaque.clear();
        self.length = text.len();
        let rest = self.value(text, MAX_DEPTH)?;
        match rest {
            "" => Ok(&self.out),
            _ => Err(NotAsWritten),
        }
    }

    /// Reads a value; gives back what follows on it.
    fn value<'t>(&mut self, text: &'t str, depth: u32) -> Result<&'t str, NotAsWritten> {
        match text.as_bytes().first() {
            Some(b'{') => self.object(text, depth.checked_sub(1).ok_or(NotAsWritten)?),
            Some(b'[') => self.array(text, depth.checked_sub(1).ok_or(NotAsWritten)?),
            Some(b'"') => {
                let (string, rest) = split_string(text)?;
                self.out.extend_from_slice(string.as_bytes());
                Ok(rest)
            }
            Some(b'-' | b'0'..=b'9') => self.number(text),
            _ => {
                for word in ["null", "true", "false"] {
                    if let Some(rest) = text.strip_prefix(word) {
                        self.out.extend_from_slice(word.as_bytes());
                        return Ok(rest);
                    }
                }
                Err(NotAsWritten)
            }
        }
    }

    fn array<'t>(&mut self, text: &'t str, depth: u32) -> Result<&'t str, NotAsWritten> {
        self.out.push(b'[');
        let mut rest = text.get(1..).ok_or(NotAsWritten)?;
        if let Some(rest) = rest.strip_prefix(']') {
            self.out.push(b']');
            return Ok(rest);
        }
        loop {
            rest = self.value(rest, depth)?;
            match rest.as_bytes().first() {
                Some(&separator @ (b',' | b']')) => {
                    self.out.push(separator);
                    rest = rest.get(1..).ok_or(NotAsWritten)?;
                    if separator == b']' {
                        return Ok(rest);
                    }
                }
                _ => return Err(NotAsWritten),
            }
        }
    }

    fn object<'t>(&mut self, text: &'t str, depth: u32) -> Result<&'t str, NotAsWritten> {
        self.out.push(b'{');
        let mut rest = text.get(1..).ok_or(NotAsWritten)?;
        if let Some(rest) = rest.strip_prefix('}') {
            self.out.push(b'}');
            return Ok(rest);
        }
        let first = self.members.len();
        loop {
            let start = self.out.len();
            let (key, after) = split_string(rest)?;
            self.out.extend_from_slice(key.as_bytes());
            let key_end = self.out.len();
            self.out.push(b':');
            let value = after.strip_prefix(':').ok_or(NotAsWritten)?;
            rest = self.value(value, depth)?;
            // The event itself, and the call in it.
            if depth + 3 > MAX_DEPTH && OPAQUE.contains(&key) {
                let place = (self.length - value.len(), self.length - rest.len());
                // Those within it go with it.
                while self.opaque.pop_if(|inner| inner.0 >= place.0).is_some() {}
                self.opaque.push(place);
            }
            let end = self.out.len();
            self.members.push(Member {
                key_end,
                start,
                end,
            });
            match rest.as_bytes().first() {
                Some(&separator @ (b',' | b'}')) => {
                    self.out.push(separator);
                    rest = rest.get(1..).ok_or(NotAsWritten)?;
                    if separator == b'}' {
                        self.sort(first)?;
                        return Ok(rest);
                    }
                }
                _ => return Err(NotAsWritten),
            }
        }
    }

    /// Puts the members from `first` on, which are those of the object that ends here, in order.
    fn sort(&mut self, first: usize) -> Result<(), NotAsWritten> {
        let Self {
            out,
            sorted,
            members,
            ..
        } = self;
        let (_, own) = members.split_at_mut(first);
        let key = |member: &Member| out.get(member.start..member.key_end).unwrap_or_default();
        let in_order = |own: &[Member]| {
            own.windows(2).all(|pair| match pair {
                [one, other] => compare(key(one), key(other)).is_lt(),
                _ => true,
            })
        };
        if !in_order(own) {
            let start = own.first().map_or(0, |member| member.start);
            own.sort_unstable_by(|one, other| compare(key(one), key(other)));
            if !in_order(own) {
                return Err(NotAsWritten);
            }
            sorted.clear();
            for member in own.iter() {
                sorted.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
                sorted.push(b',');
            }
            sorted.pop();
            let place = out.get_mut(start..start + sorted.len());
            place.ok_or(NotAsWritten)?.copy_from_slice(sorted);
        }
        members.truncate(first);
        Ok(())
    }

    fn number<'t>(&mut self, text: &'t str) -> Result<&'t str, NotAsWritten> {
        let end = text
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(text.len());
        let (number, rest) = text.split_at_checked(end).ok_or(NotAsWritten)?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_short = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Within ±10¹⁵ an integer is written alike in both.
        if is_short && (!digits.starts_with('0') || number == "0") && !digits.is_empty() {
            self.out.extend_from_slice(number.as_bytes());
            return Ok(rest);
        }
        let value: serde_json::Number = serde_json::from_str(number).map_err(|_| NotAsWritten)?;
        if value.to_string() != number {
            return Err(NotAsWritten);
        }
        if value.is_i64() || value.is_u64() {
            self.out.extend_from_slice(number.as_bytes());
            return Ok(rest);
        }
        let canonical = serde_json_canonicalizer::to_vec(&value).map_err(|_| NotAsWritten)?;
        self.out.extend_from_slice(&canonical);
        Ok(rest)
    }
}

/// A string with its quotes, and what follows on it. It is checked to be written as serde writes it,
/// which is as RFC 8785 has it.
fn split_string(text: &str) -> Result<(&str, &str), NotAsWritten> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return Err(NotAsWritten);
    }
    let mut at = 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return text.split_at_checked(at + 1).ok_or(NotAsWritten),
            Some(b'\\') => match bytes.get(at + 1..) {
                Some([b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => at += 2,
                Some([b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..])
                    if low.is_ascii_digit() || (b'a'..=b'f').contains(low) =>
                {
                    // Those that have a short form are written so.
                    if *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd') {
                        return Err(NotAsWritten);
                    }
                    at += 6;
                }
                _ => return Err(NotAsWritten),
            },
            Some(0..0x20) | None => return Err(NotAsWritten),
            Some(_) => at += 1,
        }
    }
}

/// The order of keys, given with their quotes: by UTF-16 code units (RFC 8785, section 3.2.3).
fn compare(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let plain = |key: &[u8]| key.iter().all(|&byte| byte.is_ascii() && byte != b'\\');
    if plain(one) && plain(other) {
        let inner = |key: &[u8]| key.len().saturating_sub(1);
        return one.get(1..inner(one)).cmp(&other.get(1..inner(other)));
    }
    let units = |key: &[u8]| -> Vec<u16> {
        let text: String = serde_json::from_slice(key).unwrap_or_default();
        text.encode_utf16().collect()
    };
    units(one).cmp(&units(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn canonical(text: &str) -> Result<String, NotAsWritten> {
        let mut canonical = Canonical::default();
        let bytes = canonical.of(text)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn members_are_ordered_and_numbers_are_as_javascript_writes_them() {
        let check = |text: &str, expected: &str| assert_eq!(canonical(text).unwrap(), expected);
        check(
            r#"{"b":1,"a":{"d":[],"c":{}}}"#,
            r#"{"a":{"c":{},"d":[]},"b":1}"#,
        );
        check("[1.0,1e+300,0.1,-7]", "[1,1e+300,0.1,-7]");
        // RFC 8785 would write the first and the third as the second.
        let exact = "[9007199254740993,9007199254740992,9007199254740991,18446744073709551615]";
        check(exact, exact);
        // U+FB33 comes after the surrogates of U+1F600.
        check(
            "{\"\u{fb33}\":1,\"😀\":2,\"ö\":3,\"\\n\":4}",
            "{\"\\n\":4,\"ö\":3,\"😀\":2,\"\u{fb33}\":1}",
        );
        for other in [
            "",
            " 1",
            "1 ",
            "[1, 2]",
            r#"{"a":1,"a":2}"#,
            r#"{"b":1,"a":2,"b":3}"#,
            "01",
            "-0",
            "1E5",
            "+1",
            r#""\/""#,
            r#""\u000A""#,
            r#""\u0041""#,
            r#""\u000a""#,
            "\"\n\"",
            "[1,]",
            "{",
            "nul",
            "1e",
            "[[",
            r#"{"a" :1}"#,
            "\"",
            r#""\"#,
            "1.50",
            "10000000000000000000000",
        ] {
            assert!(canonical(other).is_err(), "{other}");
        }
        assert!(canonical(&"[".repeat(100_000)).is_err(), "deep");
    }

    /// Without the integers that RFC 8785 would round.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        /// What serde writes of a value becomes what RFC 8785 has for it.
        #[test]
        fn the_canonical_form_is_that_of_the_value(value in any_json()) {
            let text = serde_json::to_string(&value).unwrap();
            let expected = serde_json_canonicalizer::to_vec(&value).unwrap();
            prop_assert_eq!(canonical(&text).unwrap().into_bytes(), expected);
        }

        /// Other integers, other hashes.
        #[test]
        fn no_integer_is_rounded(one in any::<u64>(), other in any::<i64>()) {
            let hash = |text: String| Canonical::default().digest(&text).unwrap();
            let is_same = i128::from(one) == i128::from(other);
            prop_assert_eq!(hash(one.to_string()) == hash(other.to_string()), is_same);
            let next = one ^ 1;
            prop_assert_ne!(hash(one.to_string()), hash(next.to_string()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = canonical(&text);
        }
    }
}
