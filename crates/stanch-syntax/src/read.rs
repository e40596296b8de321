use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Number;

use crate::{Diagnostic, Entry, Kind, Node, Position};

/// What a text may cost to read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Values, counted after aliases are expanded: a "billion laughs" ends here.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            depth: 64,
            nodes: 100_000,
        }
    }
}

/// Reads one YAML or JSON document.
///
/// # Errors
/// The first thing that makes the text unreadable: a syntax error, a duplicate key, a second
/// document, or a limit that is exceeded.
pub fn read(text: &str, limits: Limits) -> Result<Node, Diagnostic> {
    if text.len() > limits.bytes {
        return Err(Diagnostic::error(
            Position { line: 1, column: 1 },
            format!(
                "the file has {} bytes; at most {} are read",
                text.len(),
                limits.bytes
            ),
        ));
    }
    Reader {
        events: Parser::new_from_str(text),
        limits,
        nodes: 0,
        anchors: HashMap::new(),
        last: Position { line: 1, column: 1 },
    }
    .document()
}

struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    limits: Limits,
    nodes: usize,
    anchors: HashMap<usize, Node>,
    last: Position,
}

impl<'t> Reader<'t> {
    fn document(mut self) -> Result<Node, Diagnostic> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, at) => {
                    break Node {
                        at,
                        kind: Kind::Null,
                    };
                }
                (event, at) => break self.node(event, at, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd | Event::Nothing, _) => return Ok(root),
                (_, at) => {
                    return Err(Diagnostic::error(
                        at,
                        "a second document starts here; only one is read",
                    ));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Position), Diagnostic> {
        match self.events.next_event() {
            None => Ok((Event::StreamEnd, self.last)),
            Some(Ok((event, span))) => {
                self.last = position(&span);
                Ok((event, self.last))
            }
            Some(Err(error)) => {
                let marker = error.marker();
                let at = Position {
                    line: marker.line(),
                    column: marker.col() + 1,
                };
                Err(Diagnostic::error(at, error.info().to_owned()))
            }
        }
    }

    fn node(&mut self, event: Event<'t>, at: Position, depth: usize) -> Result<Node, Diagnostic> {
        if depth > self.limits.depth {
            return Err(Diagnostic::error(
                at,
                format!("nested more than {} levels deep", self.limits.depth),
            ));
        }
        self.count(1, at)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, _tag) => {
                let kind = if style == ScalarStyle::Plain {
                    plain(&text)
                } else {
                    Kind::String(text.into_owned())
                };
                (kind, anchor)
            }
            Event::SequenceStart(anchor, _tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
                (Kind::List(items), anchor)
            }
            Event::MappingStart(anchor, _tag) => (Kind::Map(self.entries(depth)?), anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Diagnostic::error(
                        at,
                        "an alias of something that is not complete yet",
                    ));
                };
                self.count(size(&node), at)?;
                if depth + height(&node) > self.limits.depth {
                    return Err(Diagnostic::error(
                        at,
                        format!("nested more than {} levels deep", self.limits.depth),
                    ));
                }
                return Ok(Node {
                    at,
                    kind: node.kind,
                });
            }
            _ => return Err(Diagnostic::error(at, "a value is missing here")),
        };
        let node = Node { at, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Diagnostic> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => return Err(Diagnostic::error(at, "a key must be text")),
            };
            if let Some(line) = lines.insert(key.clone(), at.line) {
                return Err(Diagnostic::error(
                    at,
                    format!("`{key}` is already given on line {line}"),
                ));
            }
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            entries.push(Entry { at, key, value });
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.nodes {
            return Err(Diagnostic::error(
                at,
                format!("more than {} values, aliases expanded", self.limits.nodes),
            ));
        }
        Ok(())
    }
}

fn position(span: &Span) -> Position {
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}

fn height(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Kind::Map(entries) => {
            1 + entries
                .iter()
                .map(|entry| height(&entry.value))
                .max()
                .unwrap_or(0)
        }
        _ => 0,
    }
}

/// The core schema, <https://yaml.org/spec/1.2.2/#103-core-schema>, without its non-finite numbers.
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = unsigned.parse::<i64>() {
            return Kind::Number(number.into());
        }
        if let Ok(number) = unsigned.parse::<u64>() {
            return Kind::Number(number.into());
        }
    }
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if decimal && let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64) {
        return Kind::Number(number);
    }
    Kind::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: serde_json::Value) {
        assert_eq!(
            read(text, Limits::default()).unwrap().to_json(),
            expected,
            "{text}"
        );
    }

    fn fails(text: &str, line: usize, message: &str) {
        let error = read(text, Limits::default()).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.at.line, line, "{error}");
    }

    #[test]
    fn yaml_and_json_give_the_same_tree() {
        check(
            "a: [1, '2', 3.5, yes, ~]\nb: {c: true}",
            json!({"a": [1, "2", 3.5, "yes", null], "b": {"c": true}}),
        );
        check(
            r#"{"a": [1, "2", 3.5, null], "b": {"c": true}}"#,
            json!({"a": [1, "2", 3.5, null], "b": {"c": true}}),
        );
        check(
            "a: 2024-01-01\nb: 1.2.3\nc: 0.3\nd: '0.3'",
            json!({"a": "2024-01-01", "b": "1.2.3", "c": 0.3, "d": "0.3"}),
        );
        check("a: &x [1]\nb: *x", json!({"a": [1], "b": [1]}));
        check("", json!(null));
    }

    #[test]
    fn values_know_their_lines() {
        let tree = read("a:\n  - 1\n  - b: 2\n", Limits::default()).unwrap();
        let items = tree.get("a").unwrap().as_list().unwrap();
        assert_eq!(
            items[1].get("b").unwrap().at,
            Position { line: 3, column: 8 }
        );
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        fails("a: 1\nb: 2\na: 3", 3, "`a` is already given on line 1");
        fails("a: [1, 2", 2, "");
        fails("a: 1\n---\nb: 2", 2, "second document");
        fails(&"[".repeat(100), 1, "levels deep");
        let bomb = (1..12).fold("l0: &l0 [1,1,1,1,1,1,1,1,1]".to_owned(), |text, n| {
            let alias = vec![format!("*l{}", n - 1); 9].join(",");
            format!("{text}\nl{n}: &l{n} [{alias}]")
        });
        fails(&bomb, 6, "aliases expanded");
    }
}
