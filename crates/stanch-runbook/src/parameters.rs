//! The values of parameters: from what the caller gives to what references find.

use serde_json::{Map, Value};

use crate::{Document, Parameter, Pattern, Type};

/// A parameter that is not as the document wants it. The execution does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}` {problem}")]
pub struct InvalidParameter {
    /// Its name.
    pub name: String,
    /// What is wrong, to follow the name.
    pub problem: String,
}

/// Matches what is given with what the document declares, and adds the defaults.
///
/// Values may be JSON of the declared type, or text as StartAutomationExecution has it: a list of
/// texts, in which booleans and numbers are words and maps are JSON.
///
/// # Errors
/// Everything that is missing, not declared, or not allowed.
pub fn check_parameters(
    document: &Document,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InvalidParameter>> {
    let mut values = Map::new();
    let mut invalid = Vec::new();
    for name in given
        .keys()
        .filter(|name| !document.parameters.contains_key(*name))
    {
        let known: Vec<&str> = document.parameters.keys().map(String::as_str).collect();
        invalid.push(InvalidParameter {
            name: name.clone(),
            problem: match known.as_slice() {
                [] => "is not declared: the document has no parameters".to_owned(),
                known => format!("is not declared: the document has {}", known.join(", ")),
            },
        });
    }
    for (name, parameter) in &document.parameters {
        let value = match (given.get(name), &parameter.default) {
            (Some(value), _) => convert(value, parameter.kind)
                .ok_or_else(|| format!("is not of type {}", parameter.kind))
                .and_then(|value| allowed(parameter, &value).map(|()| value)),
            (None, Some(default)) => convert(default, parameter.kind)
                .ok_or_else(|| format!("has a default that is not of type {}", parameter.kind)),
            (None, None) => Err("is missing".to_owned()),
        };
        match value {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(problem) => invalid.push(InvalidParameter {
                name: name.clone(),
                problem,
            }),
        }
    }
    if invalid.is_empty() {
        Ok(values)
    } else {
        Err(invalid)
    }
}

/// The value as one of `kind`, where that loses nothing.
pub(crate) fn convert(value: &Value, kind: Type) -> Option<Value> {
    if kind.admits(value) {
        return Some(value.clone());
    }
    let single = match value {
        Value::Array(items) if !kind.is_list() => match items.as_slice() {
            [single] => single,
            _ => return None,
        },
        other => other,
    };
    match (kind.base(), single) {
        (Type::String, Value::String(_)) => Some(single.clone()),
        (Type::String, Value::Bool(_) | Value::Number(_)) => {
            Some(Value::String(single.to_string()))
        }
        (Type::Boolean, Value::Bool(_)) => Some(single.clone()),
        (Type::Boolean, Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        (Type::Integer, Value::Number(number)) => {
            number.as_i64().map(Value::from).or_else(|| {
                // `3.0` is whole; the range keeps the conversion exact.
                number
                    .as_f64()
                    .filter(|n| n.fract() == 0.0 && n.abs() < 9e15)
                    .and_then(|n| format!("{n:.0}").parse::<i64>().ok().map(Value::from))
            })
        }
        (Type::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Type::StringMap, Value::Object(_)) => Some(single.clone()),
        (Type::StringMap, Value::String(text)) => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_object),
        (Type::StringList, Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::Object(_) | Value::Array(_) | Value::Null => None,
                other => convert(other, Type::String),
            })
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        (Type::StringList, Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(list @ Value::Array(_)) => convert(&list, Type::StringList),
            _ => Some(Value::Array(vec![single.clone()])),
        },
        (Type::MapList, Value::Array(items)) => match items.as_slice() {
            // The API's shape: a list with the JSON of the whole list, or of each element.
            [Value::String(text)] if text.trim_start().starts_with('[') => {
                convert(&Value::String(text.clone()), Type::MapList)
            }
            _ => items
                .iter()
                .map(|item| convert(item, Type::StringMap))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
        },
        (Type::MapList, Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(list) if Type::MapList.admits(&list) => Some(list),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the parameter's limits allow the value.
pub(crate) fn allowed(parameter: &Parameter, value: &Value) -> Result<(), String> {
    let items = value.as_array();
    if let Some(items) = items {
        let count = items.len() as u64;
        if parameter.min_items.is_some_and(|min| count < min) {
            return Err(format!(
                "has {count} elements; at least {} are needed",
                parameter.min_items.unwrap_or_default()
            ));
        }
        if parameter.max_items.is_some_and(|max| count > max) {
            return Err(format!(
                "has {count} elements; at most {} are allowed",
                parameter.max_items.unwrap_or_default()
            ));
        }
    }
    let elements: Vec<&Value> = items.map_or_else(|| vec![value], |items| items.iter().collect());
    if !parameter.allowed_values.is_empty() {
        let words: Vec<String> = parameter.allowed_values.iter().map(plain).collect();
        if let Some(other) = elements
            .iter()
            .map(|e| plain(e))
            .find(|word| !words.contains(word))
        {
            return Err(format!(
                "is `{other}`, which is none of {}",
                words.join(", ")
            ));
        }
    }
    let resource = match parameter.kind {
        Type::Resource(resource) | Type::ResourceList(resource) => Some(resource.pattern()),
        _ => None,
    };
    let pattern =
        |java: &str| Pattern::new(java).map_err(|error| format!("cannot be checked: {error}"));
    for java in parameter
        .allowed_pattern
        .as_deref()
        .into_iter()
        .chain(resource)
    {
        let pattern = pattern(java)?;
        for element in elements.iter().filter(|e| !e.is_object()) {
            let word = plain(element);
            // A resource-typed parameter that may be left empty says so with an empty default.
            let left_out = resource == Some(java) && word.is_empty() && parameter.default.is_some();
            if !left_out && !pattern.matches(&word) {
                return Err(format!("is `{word}`, which does not match `{java}`"));
            }
        }
    }
    for text in elements.iter().filter_map(|e| e.as_str()) {
        let count = text.chars().count() as u64;
        if parameter.min_chars.is_some_and(|min| count < min)
            || parameter.max_chars.is_some_and(|max| count > max)
        {
            return Err(format!(
                "has {count} characters, which is too few or too many"
            ));
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converts(kind: &str, value: Value, expected: Option<Value>) {
        assert_eq!(
            convert(&value, kind.parse().unwrap()),
            expected,
            "{kind} {value}"
        );
    }

    #[test]
    fn values_take_the_declared_type() {
        converts("String", json!("a"), Some(json!("a")));
        converts("String", json!(["a"]), Some(json!("a")));
        converts("String", json!(["a", "b"]), None);
        converts("String", json!(3), Some(json!("3")));
        converts("Boolean", json!("True"), Some(json!(true)));
        converts("Boolean", json!(["false"]), Some(json!(false)));
        converts("Boolean", json!("yes"), None);
        converts("Integer", json!("3"), Some(json!(3)));
        converts("Integer", json!(3.0), Some(json!(3)));
        converts("Integer", json!(3.5), None);
        converts("StringList", json!("[\"a\"]"), Some(json!(["a"])));
        converts("StringList", json!("a"), Some(json!(["a"])));
        converts("StringList", json!([1, "b"]), Some(json!(["1", "b"])));
        converts("StringMap", json!(["{\"a\":1}"]), Some(json!({"a": 1})));
        converts("StringMap", json!("[]"), None);
        converts("MapList", json!(["[{\"a\":1}]"]), Some(json!([{"a": 1}])));
        converts(
            "MapList",
            json!(["{\"a\":1}", {"b": 2}]),
            Some(json!([{"a": 1}, {"b": 2}])),
        );
        converts(
            "AWS::EC2::Instance::Id",
            json!(["i-12345678"]),
            Some(json!("i-12345678")),
        );
    }

    fn allows(parameter: &Parameter, value: Value, expected: Option<&str>) {
        let answer = allowed(parameter, &value);
        match expected {
            None => assert_eq!(answer, Ok(())),
            Some(part) => assert!(answer.as_ref().unwrap_err().contains(part), "{answer:?}"),
        }
    }

    #[test]
    fn limits_are_kept() {
        let parameter = Parameter {
            allowed_pattern: Some("[a-z]+".into()),
            max_chars: Some(3),
            ..Parameter::required(Type::String)
        };
        allows(&parameter, json!("abc"), None);
        allows(&parameter, json!("abcd"), Some("4 characters"));
        allows(&parameter, json!("a1"), Some("does not match"));
        let parameter = Parameter {
            allowed_values: vec![json!("a"), json!("b")],
            min_items: Some(1),
            ..Parameter::required(Type::StringList)
        };
        allows(&parameter, json!(["a", "b"]), None);
        allows(&parameter, json!(["c"]), Some("none of a, b"));
        allows(&parameter, json!([]), Some("at least 1"));
        let instance = Parameter::required("AWS::EC2::Instance::Id".parse().unwrap());
        allows(&instance, json!("i-12345678"), None);
        allows(&instance, json!("i-1"), Some("does not match"));
    }
}
