use serde_json::Value;

use crate::{Kind, Limits, read};

/// Writes a value as YAML in block style, texts of several lines as literal blocks. Reading it
/// gives the same value back, with YAML 1.1 readers (PyYAML) too.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => block(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => block(&mut out, value, 0),
        other => {
            inline(&mut out, other, 0);
        }
    }
    out
}

fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                pad(out, indent);
                out.push_str(&scalar(key));
                out.push(':');
                nested(out, member, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                pad(out, indent);
                out.push('-');
                match item {
                    // A mapping begins on the line of its dash.
                    Value::Object(members) if !members.is_empty() => {
                        let mut below = String::new();
                        block(&mut below, item, indent + 2);
                        out.push(' ');
                        out.push_str(below.trim_start_matches(' '));
                    }
                    other => nested(out, other, indent),
                }
            }
        }
        _ => {}
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            block(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, value, indent + 2);
        }
        other => {
            out.push(' ');
            inline(out, other, indent);
        }
    }
}

fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) if literal(text) => {
            out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
            for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    pad(out, indent + 2);
                    out.push_str(line);
                }
            }
        }
        Value::String(text) => out.push_str(&scalar(text)),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// Whether a literal block gives back just this text: several lines, of which the first has no
/// blank in front, the last is not empty, and none has anything but printable characters.
fn literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| {
            c == '\n' || c == ' ' || (!c.is_control() && !c.is_whitespace() && c != '\u{feff}')
        })
        && body
            .split('\n')
            .all(|line| line.is_empty() || !line.trim().is_empty())
}

/// A text as a plain scalar where nothing could take it for something else, else quoted.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '$')
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'_' | b'-'
                        | b'.'
                        | b'/'
                        | b'$'
                        | b':'
                        | b'('
                        | b')'
                        | b' '
                        | b'+'
                        | b'='
                        | b'@'
                )
        })
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains("  ")
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        )
        && matches!(read(text, Limits::default()), Ok(node) if matches!(&node.kind, Kind::String(same) if same == text));
    if plain {
        return text.to_owned();
    }
    let single = !text.is_empty()
        && text.chars().all(|c| {
            !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        });
    if single {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        quoted(text)
    }
}

/// In double quotes, with everything escaped that is not printable ASCII.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(c),
            c if (c as u32) > 0xffff => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push_str(&format!("\\u{:04x}", c as u32)),
        }
    }
    out.push('"');
    out
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({
            "schemaVersion": "0.3", "empty": {}, "none": [], "null": null, "n": 1, "d": 1.5, "b": true,
            "texts": ["", "yes", "0.3", "a: b", "a #b", "- x", "it's", "tab\there", "é", "\u{1f600}\u{7}", " lead", "trail ", "{{ x }}", "*", "aws:branch", "2024-01-01", "null", "~", "0x1f", "1e3", "a\\b"],
            "script": "def f():\n    return {}\n\n\nf()\n",
            "chomped": "a\nb",
            "odd": ["a\n\n", "\na", " a\nb", "a\n \nb", "a\r\nb", "\n"],
            "lists": [[1, [2]], [{"a": [{"b": {}}]}], []],
            "a key: odd": {"x": "y"},
        });
        let yaml = to_yaml(&value);
        assert_eq!(
            read(&yaml, Limits::default()).unwrap().to_json(),
            value,
            "{yaml}"
        );
        for scalar in [
            json!("x"),
            json!(null),
            json!([]),
            json!("a\nb"),
            json!([1]),
        ] {
            let yaml = to_yaml(&scalar);
            assert_eq!(
                read(&yaml, Limits::default()).unwrap().to_json(),
                scalar,
                "{yaml}"
            );
        }
    }

    #[test]
    fn it_reads_like_yaml() {
        let value =
            json!({"mainSteps": [{"name": "a", "inputs": {"Api": "X", "L": ["{{ p }}", 1]}}]});
        assert_eq!(
            to_yaml(&value),
            "mainSteps:\n  - name: a\n    inputs:\n      Api: X\n      L:\n        - '{{ p }}'\n        - 1\n"
        );
    }
}
