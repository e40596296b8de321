//! Which of the wanted tags a resource lacks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The keys of the tags that are there; null if there are none.
    keys: Option<Vec<String>>,
    /// `Key=Value` each, split at the first `=`; the value may be empty.
    wanted: Vec<String>,
}

/// The tags that are missing, in the three shapes that services take.
#[derive(Serialize)]
pub(super) struct Output {
    list: Vec<Tag>,
    map: BTreeMap<String, String>,
    keys: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

/// The wanted tags whose key is not there, in the order wanted; keys are case-sensitive
/// (<https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html>).
///
/// Whatever value a key has that is there, it is not missing.
pub(super) fn run(input: Input) -> Result<Output, String> {
    if input.wanted.is_empty() {
        return Err("no tags are wanted: set them in the configuration".to_owned());
    }
    let present = input.keys.unwrap_or_default();
    let mut wanted: Vec<Tag> = Vec::new();
    for text in &input.wanted {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("`{text}` is not of the form `Key=Value`"))?;
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(format!("only AWS sets tags such as `{key}`"));
        }
        if wanted.iter().any(|tag| tag.key == key) {
            return Err(format!("`{key}` is wanted twice"));
        }
        wanted.push(Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    wanted.retain(|tag| !present.contains(&tag.key));
    Ok(Output {
        map: wanted
            .iter()
            .map(|tag| (tag.key.clone(), tag.value.clone()))
            .collect(),
        keys: wanted.iter().map(|tag| tag.key.clone()).collect(),
        list: wanted,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn call(keys: &Value, wanted: &Value) -> Result<Value, String> {
        super::super::call("tags-missing", &json!({"keys": keys, "wanted": wanted}))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_that_are_there_are_left_alone_whatever_their_value() {
        assert_eq!(
            call(
                &json!(["owner", "Team"]),
                &json!(["Owner=a=b", "Team=x", "Empty="])
            ),
            Ok(json!({
                "list": [{"Key": "Owner", "Value": "a=b"}, {"Key": "Empty", "Value": ""}],
                "map": {"Owner": "a=b", "Empty": ""},
                "keys": ["Owner", "Empty"],
            }))
        );
        assert_eq!(
            call(&Value::Null, &json!(["A=1"])).unwrap()["keys"],
            json!(["A"])
        );
        assert_eq!(
            call(&json!(["A"]), &json!(["A=1"])).unwrap(),
            json!({"list": [], "map": {}, "keys": []})
        );
    }

    #[test]
    fn what_cannot_be_a_tag_is_refused() {
        for wanted in [
            json!([]),
            json!(["Owner"]),
            json!(["=x"]),
            json!(["aws:x=1"]),
            json!(["A=1", "A=2"]),
        ] {
            assert!(call(&json!([]), &wanted).is_err(), "{wanted}");
        }
    }
}
