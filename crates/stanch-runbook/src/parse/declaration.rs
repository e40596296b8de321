//! Parameters, variables and types.

use serde_json::Value;
use stanch_syntax::{Diagnostic, Entry, Node};

use super::{Reader, truth};
use crate::{Parameter, Type, Variable};

impl Reader {
    pub(super) fn parameter(&mut self, node: &Node, name: &str) -> Parameter {
        let mut parameter = Parameter::default();
        let mut typed = false;
        for Entry { at, key, value } in self.members(node, &format!("parameter `{name}`")) {
            match key.as_str() {
                "type" => {
                    typed = true;
                    parameter.kind = self.kind(value);
                }
                "description" => parameter.description = self.text(value, key),
                "default" => parameter.default = default(value),
                "allowedValues" => match value.to_json() {
                    Value::Array(values) => parameter.allowed_values = values,
                    _ => self.error(
                        value.at,
                        format!("`allowedValues` is a list, this is {}", value.describe()),
                    ),
                },
                "allowedPattern" => parameter.allowed_pattern = self.text(value, key),
                "minItems" => parameter.min_items = self.count(value, key),
                "maxItems" => parameter.max_items = self.count(value, key),
                "minChars" => parameter.min_chars = self.count(value, key),
                "maxChars" => parameter.max_chars = self.count(value, key),
                "displayType" | "interpolationType" => {}
                other => self.unknown_key(
                    *at,
                    other,
                    &[
                        "type",
                        "description",
                        "default",
                        "allowedValues",
                        "allowedPattern",
                        "minItems",
                        "maxItems",
                        "minChars",
                        "maxChars",
                    ],
                    "a parameter",
                ),
            }
        }
        worded(&mut parameter.default, parameter.kind);
        if !typed {
            self.report(
                Diagnostic::error(node.at, format!("parameter `{name}` has no `type`"))
                    .hint("write `type: String`"),
            );
        }
        parameter
    }

    pub(super) fn variable(&mut self, node: &Node, name: &str) -> Variable {
        let mut variable = Variable::default();
        for Entry { at, key, value } in self.members(node, &format!("variable `{name}`")) {
            match key.as_str() {
                "type" => variable.kind = self.kind(value),
                "description" => variable.description = self.text(value, key),
                "default" => variable.default = default(value),
                other => self.unknown_key(
                    *at,
                    other,
                    &["type", "description", "default"],
                    "a variable",
                ),
            }
        }
        worded(&mut variable.default, variable.kind);
        variable
    }

    pub(super) fn kind(&mut self, node: &Node) -> Type {
        let text = node.as_str().unwrap_or_default().trim();
        text.parse().unwrap_or_else(|_| {
            self.report(
                Diagnostic::error(node.at, format!("`{text}` is not a type"))
                    .hint("one of String, StringList, Boolean, Integer, StringMap, MapList"),
            );
            Type::String
        })
    }
}

/// A default; nothing is none.
fn default(node: &Node) -> Option<Value> {
    Some(node.to_json()).filter(|value| !value.is_null())
}

/// `default: yes` of a boolean.
fn worded(default: &mut Option<Value>, kind: Type) {
    if kind == Type::Boolean
        && let Some(value) = default.as_ref().and_then(Value::as_str).and_then(truth)
    {
        *default = Some(Value::Bool(value));
    }
}
