//! A strict XML reader that builds a small tree, and a writer.
//!
//! Strict, because a response that was cut off must not pass for a shorter one.

use std::borrow::Cow;

use xmlparser::{ElementEnd, Token, Tokenizer};

/// Deeper documents are refused; no AWS response comes near.
const MAX_DEPTH: usize = 200;

/// One element. Names are without their namespace prefix; attributes keep theirs.
#[derive(Debug, Default)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a str,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element<'a>>,
    pub(crate) text: String,
}

impl<'a> Element<'a> {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element<'a>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name.
    pub(crate) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

/// Reads a whole document and returns its root.
pub(crate) fn parse(text: &str) -> Result<Element<'_>, String> {
    let mut open: Vec<(Element<'_>, &str)> = Vec::new();
    let mut root = None;
    for token in Tokenizer::from(text) {
        match token.map_err(|error| error.to_string())? {
            Token::ElementStart { prefix, local, .. } => {
                if root.is_some() {
                    return Err("more than one root element".to_owned());
                }
                if open.len() == MAX_DEPTH {
                    return Err(format!("nested deeper than {MAX_DEPTH} elements"));
                }
                let element = Element {
                    name: local.as_str(),
                    ..Element::default()
                };
                open.push((element, prefix.as_str()));
            }
            Token::Attribute {
                prefix,
                local,
                value,
                ..
            } => {
                let name = match prefix.as_str() {
                    "" => local.as_str().to_owned(),
                    prefix => format!("{prefix}:{local}"),
                };
                if let Some((element, _)) = open.last_mut() {
                    let value = unescape(value.as_str())?.into_owned();
                    element.attributes.push((name, value));
                }
            }
            Token::ElementEnd { end, .. } => {
                match end {
                    ElementEnd::Open => continue,
                    ElementEnd::Empty => {}
                    ElementEnd::Close(prefix, local) => {
                        let matches = open.last().is_some_and(|(element, opened)| {
                            element.name == local.as_str() && *opened == prefix.as_str()
                        });
                        if !matches {
                            return Err(format!("unexpected end of `{local}`"));
                        }
                    }
                }
                if let Some((element, _)) = open.pop() {
                    match open.last_mut() {
                        Some((parent, _)) => parent.children.push(element),
                        None => root = Some(element),
                    }
                }
            }
            Token::Text { text } => {
                if let Some((element, _)) = open.last_mut() {
                    element.text.push_str(&unescape(text.as_str())?);
                }
            }
            Token::Cdata { text, .. } => {
                if let Some((element, _)) = open.last_mut() {
                    element.text.push_str(text.as_str());
                }
            }
            Token::DtdStart { .. } | Token::EmptyDtd { .. } | Token::EntityDeclaration { .. } => {
                return Err("a document type is not allowed".to_owned());
            }
            _ => {}
        }
    }
    match open.last() {
        Some((element, _)) => Err(format!("ends inside `{}`", element.name)),
        None => root.ok_or_else(|| "no root element".to_owned()),
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, tail) = after
            .split_once(';')
            .ok_or_else(|| "`&` without `;`".to_owned())?;
        out.push(entity_char(entity).ok_or_else(|| format!("unknown entity `&{entity};`"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn entity_char(entity: &str) -> Option<char> {
    Some(match entity {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// Writes an element whose content `inner` appends.
pub(crate) fn write_element(
    out: &mut String,
    name: &str,
    attributes: &[(&str, &str)],
    inner: impl FnOnce(&mut String),
) {
    out.push('<');
    out.push_str(name);
    for (key, value) in attributes {
        out.push(' ');
        out.push_str(key);
        out.push_str("=\"");
        escape_into(out, value);
        out.push('"');
    }
    out.push('>');
    inner(out);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Appends `text` escaped for both content and attribute values. Line ends are escaped too: a
/// reader would turn them all into `\n`.
pub(crate) fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' => out.push_str("&#xA;"),
            '\u{85}' => out.push_str("&#x85;"),
            '\u{2028}' => out.push_str("&#x2028;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_entities_and_cdata() {
        let root =
            parse("<?xml version=\"1.0\"?><a x:t='1'>&lt;&#65;&#x42;<![CDATA[<c>]]><b/></a>")
                .unwrap();
        assert_eq!(root.text, "<AB<c>");
        assert_eq!(root.attributes, [("x:t".to_owned(), "1".to_owned())]);
        assert!(root.child("b").is_some());
    }

    #[test]
    fn refuses_what_is_not_whole() {
        for bad in [
            "",
            "   ",
            "not xml",
            "<a>",
            "<a><b></a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&nope;</a>",
            "<a>&#xD800;</a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<html><body>Service <br> unavailable</body></html>",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let deep = "<a>".repeat(100_000);
        assert!(parse(&deep).unwrap_err().contains("deeper"));
    }
}
