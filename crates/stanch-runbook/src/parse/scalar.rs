//! Texts, booleans, numbers, and keys that are none.

use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Entry, Kind, Node, Position};

use super::Reader;
use crate::Setting;

impl Reader {
    pub(super) fn members<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.kind {
            Kind::Null => &[],
            Kind::Map(entries) => entries,
            _ => {
                self.error(
                    node.at,
                    format!("{what} should be a mapping, this is {}", node.describe()),
                );
                &[]
            }
        }
    }

    /// Text, without the blanks around it. Numbers and booleans are taken as they are written.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::String(text) => Some(text.trim().to_owned()),
            Kind::Number(number) => Some(number.to_string()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Null => None,
            _ => {
                self.error(
                    node.at,
                    format!("`{what}` is text, this is {}", node.describe()),
                );
                None
            }
        }
    }

    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        match node.as_list() {
            Some(items) => items
                .iter()
                .filter_map(|item| self.text(item, what))
                .collect(),
            None => {
                self.error(
                    node.at,
                    format!("`{what}` is a list, this is {}", node.describe()),
                );
                Vec::new()
            }
        }
    }

    /// A boolean; AWS's own documents also write it as text, and YAML 1.1 had more words for it.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        let value = match &node.kind {
            Kind::Bool(value) => Some(*value),
            Kind::String(text) => truth(text),
            _ => None,
        };
        if value.is_none() {
            self.report(
                Diagnostic::error(
                    node.at,
                    format!("`{what}` is true or false, this is {}", node.describe()),
                )
                .hint(format!("write `{what}: true`")),
            );
        }
        value
    }

    pub(super) fn count(&mut self, node: &Node, what: &str) -> Option<u64> {
        let count = match &node.kind {
            Kind::Number(number) => number.as_u64(),
            Kind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if count.is_none() {
            self.error(node.at, format!("`{what}` is a whole number, 0 or more"));
        }
        count
    }

    pub(super) fn setting(&mut self, node: &Node, what: &str) -> Option<Setting> {
        match &node.kind {
            Kind::String(text) if text.contains("{{") => {
                Some(Setting::Reference(text.trim().to_owned()))
            }
            _ => self.count(node, what).map(Setting::Literal),
        }
    }

    pub(super) fn unknown_key(&mut self, at: Position, key: &str, known: &[&str], what: &str) {
        let diagnostic = Diagnostic::error(at, format!("`{key}` is not a key of {what}"));
        self.report(match nearest(key, known.iter().copied()).first() {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint(format!("one of {}", known.join(", "))),
        });
    }
}

/// The words for true and false, those that only YAML 1.1 had included.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}
