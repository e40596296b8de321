use serde_json::Number;

use crate::{Entry, Kind, Limits, Node, Position};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
/// A string that stands somewhere in the text, as most do: where, and how long it is.
const QUOTED: u8 = 6;
/// A string that does not, since it was folded or escaped there.
const OWN: u8 = 7;

/// The tree that was read from `text`, as bytes. With the same text, [`unpack`] gives the tree back some
/// ten times as fast as it is read: for files that a program carries with it.
#[must_use]
pub fn pack(text: &str, root: &Node) -> Vec<u8> {
    let mut packer = Packer {
        text,
        out: Vec::new(),
    };
    packer.node(root);
    packer.out
}

/// The tree of `packed`, which [`pack`] made of this `text`; nothing if it is not such a tree.
#[must_use]
pub fn unpack(text: &str, packed: &[u8]) -> Option<Node> {
    let mut unpacker = Unpacker { text, rest: packed };
    let root = unpacker.node(Limits::default().depth)?;
    unpacker.rest.is_empty().then_some(root)
}

struct Packer<'t> {
    text: &'t str,
    out: Vec<u8>,
}

impl Packer<'_> {
    fn node(&mut self, node: &Node) {
        self.position(node.at);
        match &node.kind {
            Kind::Null => self.out.push(NULL),
            Kind::Bool(false) => self.out.push(FALSE),
            Kind::Bool(true) => self.out.push(TRUE),
            Kind::Number(number) => {
                self.out.push(NUMBER);
                self.string(&number.to_string());
            }
            Kind::String(string) => self.string(string),
            Kind::List(items) => {
                self.out.push(LIST);
                self.count(items.len());
                items.iter().for_each(|item| self.node(item));
            }
            Kind::Map(entries) => {
                self.out.push(MAP);
                self.count(entries.len());
                for entry in entries {
                    self.position(entry.at);
                    self.string(&entry.key);
                    self.node(&entry.value);
                }
            }
        }
    }

    fn string(&mut self, string: &str) {
        if let Some(offset) = self.text.find(string) {
            self.out.push(QUOTED);
            self.count(offset);
            self.count(string.len());
        } else {
            self.out.push(OWN);
            self.count(string.len());
            self.out.extend(string.as_bytes());
        }
    }

    fn position(&mut self, at: Position) {
        self.count(at.line);
        self.count(at.column);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn count(&mut self, mut count: usize) {
        while count >= 0x80 {
            self.out.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        self.out.push(count as u8);
    }
}

struct Unpacker<'t> {
    text: &'t str,
    rest: &'t [u8],
}

impl<'t> Unpacker<'t> {
    fn node(&mut self, depth: usize) -> Option<Node> {
        let at = self.position()?;
        let kind = match self.byte()? {
            NULL => Kind::Null,
            FALSE => Kind::Bool(false),
            TRUE => Kind::Bool(true),
            NUMBER => {
                let tag = self.byte()?;
                Kind::Number(self.string(tag)?.parse::<Number>().ok()?)
            }
            LIST => {
                let depth = depth.checked_sub(1)?;
                let length = self.length()?;
                let mut items = Vec::with_capacity(length);
                for _ in 0..length {
                    items.push(self.node(depth)?);
                }
                Kind::List(items)
            }
            MAP => {
                let depth = depth.checked_sub(1)?;
                let length = self.length()?;
                let mut entries = Vec::with_capacity(length);
                for _ in 0..length {
                    let at = self.position()?;
                    let tag = self.byte()?;
                    let key = self.string(tag)?.to_owned();
                    let value = self.node(depth)?;
                    entries.push(Entry { at, key, value });
                }
                Kind::Map(entries)
            }
            tag => Kind::String(self.string(tag)?.to_owned()),
        };
        Some(Node { at, kind })
    }

    fn string(&mut self, tag: u8) -> Option<&'t str> {
        match tag {
            QUOTED => {
                let offset = self.count()?;
                let length = self.count()?;
                self.text.get(offset..offset.checked_add(length)?)
            }
            OWN => {
                let length = self.count()?;
                let (string, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                std::str::from_utf8(string).ok()
            }
            _ => None,
        }
    }

    /// How many follow; each takes more than a byte.
    fn length(&mut self) -> Option<usize> {
        self.count().filter(|length| *length <= self.rest.len())
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position {
            line: self.count()?,
            column: self.count()?,
        })
    }

    fn count(&mut self) -> Option<usize> {
        let mut count = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            count |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(count);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    #[test]
    fn what_was_packed_is_the_same_tree() {
        for text in [
            "",
            "a: &x [1, -2, 3.5, 1e30, 18446744073709551615, yes, ~, true, false]\nb: {c: *x, '': \"\"}",
            "folded: >\n  one\n  two\n\n  three\nescaped: \"\\u00e9\\n\"\nörtlich: 'it''s'\n",
        ] {
            let root = read(text, Limits::default()).unwrap();
            let packed = pack(text, &root);
            assert_eq!(unpack(text, &packed), Some(root), "{text}");
            // Cut short or with something behind it, it is no tree.
            for length in 0..packed.len() {
                assert_eq!(unpack(text, &packed[..length]), None, "{text} {length}");
            }
            assert_eq!(unpack(text, &[&packed[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn what_nobody_packed_is_no_tree() {
        let list = [1, 1, LIST, 1];
        assert_eq!(unpack("", &list.repeat(100)), None, "too deep");
        assert_eq!(
            unpack("", &[1, 1, LIST, 0xff, 0xff, 0x7f]),
            None,
            "too long"
        );
        assert_eq!(unpack("é", &[1, 1, QUOTED, 1, 1]), None, "half a character");
        assert_eq!(
            unpack("a", &[1, 1, QUOTED, 0, 2]),
            None,
            "outside of the text"
        );
        assert_eq!(unpack("a", &[1, 1, 99]), None, "no kind");
        assert_eq!(unpack("a", &[0xff; 20]), None, "no number");
    }
}
