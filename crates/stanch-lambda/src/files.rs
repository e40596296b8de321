//! The configuration and the files that it names: below a prefix of a bucket, or in the archive.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stanch_config::{DEFAULT_FILE, Files, Text};
use stanch_models::{Models, Pages};
use stanch_types::{Api, Call};

use crate::{Failure, Variables};

/// The most that is read below a prefix.
const MOST_FILES: usize = 500;

/// The most of one file.
const LONGEST: u64 = 1 << 20;

/// What a function is configured by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configured {
    /// The configuration file, if there is one.
    pub file: Option<Text>,
    /// The files beside it, by path: those of a bucket, as it was.
    bucket: BTreeMap<String, String>,
}

/// Reads what `STANCH_CONFIG` names, `s3://bucket/prefix/stanch.toml`, with all that is beside it; or
/// else the archive's own `stanch.toml`.
///
/// # Errors
/// What is named cannot be read. Nothing runs by rules that are not known.
pub async fn read(
    variables: Variables<'_>,
    api: &dyn Api,
    models: &Models,
) -> Result<Configured, Failure> {
    let Some(place) = variables.optional("STANCH_CONFIG") else {
        return archived(variables);
    };
    let wrong = || {
        Failure::configuration(format!(
            "`STANCH_CONFIG` is no place in a bucket: `{place}`"
        ))
        .hint("write `s3://bucket/prefix/stanch.toml`")
    };
    let (bucket, key) = place
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(wrong)?;
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    if bucket.is_empty() || name.is_empty() {
        return Err(wrong());
    }
    let mut configured = Configured::default();
    let list = Call::new(
        "s3",
        "ListObjectsV2",
        json!({"Bucket": bucket, "Prefix": key.strip_suffix(name).unwrap_or(folder)}),
    );
    let mut pages = Pages::new(api, models, list)?;
    while let Some(page) = pages.next().await? {
        let objects = page.output.get("Contents").and_then(Value::as_array);
        for object in objects.into_iter().flatten() {
            let key = object.get("Key").and_then(Value::as_str);
            // A console's folder is an empty object.
            let Some(key) = key.filter(|key| !key.ends_with('/')) else {
                continue;
            };
            let path = format!("s3://{bucket}/{key}");
            let size = object
                .get("Size")
                .and_then(Value::as_u64)
                .unwrap_or(u64::MAX);
            if size > LONGEST || configured.bucket.len() >= MOST_FILES {
                return Err(Failure::configuration(format!(
                    "`{path}` is more than is read: {MOST_FILES} files of {LONGEST} bytes"
                ))
                .hint("keep nothing but the configuration below its prefix"));
            }
            let get = Call::new("s3", "GetObject", json!({"Bucket": bucket, "Key": key}));
            let reply = api.call(&get).await?;
            let text = reply
                .output
                .get("Body")
                .and_then(Value::as_str)
                .and_then(|body| String::from_utf8(STANDARD.decode(body).ok()?).ok())
                .ok_or_else(|| Failure::configuration(format!("`{path}` is not text")))?;
            configured.bucket.insert(path, text);
        }
    }
    let toml = configured.bucket.get(place).cloned().ok_or_else(|| {
        Failure::configuration(format!("there is no `{place}`"))
            .hint("put it there, or take `STANCH_CONFIG` off the function")
    })?;
    let path = PathBuf::from(place);
    configured.file = Some(Text { path, toml });
    Ok(configured)
}

fn archived(variables: Variables<'_>) -> Result<Configured, Failure> {
    let Some(root) = variables.optional("LAMBDA_TASK_ROOT") else {
        return Ok(Configured::default());
    };
    let path = Path::new(root).join(DEFAULT_FILE);
    let file = match fs::read_to_string(&path) {
        Ok(toml) => Some(Text { path, toml }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::configuration(format!(
                "cannot read `{}`: {error}",
                path.display()
            )));
        }
    };
    Ok(Configured {
        file,
        bucket: BTreeMap::new(),
    })
}

impl Files for Configured {
    fn read(&self, path: &Path) -> Result<String, String> {
        match self.bucket.is_empty() {
            true => fs::read_to_string(path).map_err(|error| error.to_string()),
            false => {
                let text = self.bucket.get(&*path.to_string_lossy());
                text.cloned()
                    .ok_or_else(|| "there is no such object".to_owned())
            }
        }
    }

    fn folder(
        &self,
        path: &Path,
        extension: &str,
    ) -> Result<Option<Vec<(String, String)>>, String> {
        let is_wanted = |path: &Path| path.extension().is_some_and(|ext| ext == extension);
        if !self.bucket.is_empty() {
            let prefix = format!("{}/", path.to_string_lossy().trim_end_matches('/'));
            let mut below = self
                .bucket
                .iter()
                .filter(|(path, _)| path.starts_with(&prefix))
                .peekable();
            if below.peek().is_none() {
                return Ok(None);
            }
            let wanted = below.filter(|(path, _)| is_wanted(Path::new(path)));
            let files = wanted.map(|(path, text)| (path.clone(), text.clone()));
            return Ok(Some(files.collect()));
        }
        if !path.is_dir() {
            return Ok(None);
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if is_wanted(&path) {
                let text = self.read(&path)?;
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
        files.sort();
        Ok(Some(files))
    }
}

#[cfg(test)]
mod tests {
    use stanch_aws::Environment;
    use stanch_testkit::FakeApi;

    use stanch_config::Fetched;

    use super::*;

    fn bucket(objects: &[(&'static str, &'static str)]) -> FakeApi {
        let objects: BTreeMap<&str, &str> = objects.iter().copied().collect();
        let known = objects.clone();
        FakeApi::new()
            .on("s3.ListObjectsV2", move |call| {
                let prefix = call.params["Prefix"].as_str().unwrap();
                let below = known.iter().filter(|(key, _)| key.starts_with(prefix));
                let contents: Vec<Value> = below
                    .map(|(key, text)| json!({"Key": key, "Size": text.len()}))
                    .collect();
                Ok(json!({ "Contents": contents }))
            })
            .on("s3.GetObject", move |call| {
                let text = objects[call.params["Key"].as_str().unwrap()];
                Ok(json!({"Body": STANDARD.encode(text)}))
            })
    }

    async fn read_from(place: &str, api: &FakeApi) -> Result<Configured, Failure> {
        let environment = Environment::new([("STANCH_CONFIG", place)]);
        let models = Models::embedded().unwrap();
        read(Variables(&environment), api, &models).await
    }

    #[tokio::test]
    async fn a_prefix_is_a_folder() {
        let api = bucket(&[
            ("own/", ""),
            (
                "own/stanch.toml",
                "[guard]\npolicies = \"policies\"\nexemptions = \"gone.toml\"\n",
            ),
            (
                "own/policies/a.cedar",
                "forbid (principal, action, resource);",
            ),
            ("own/policies/read.me", "not a policy"),
            ("other/b.cedar", "no"),
        ]);
        let configured = read_from("s3://rules/own/stanch.toml", &api).await.unwrap();
        let resolved = stanch_config::resolve(configured.file.clone(), Vec::new()).unwrap();
        let policies = resolved.config.guard.policies.clone().unwrap();
        let found = configured.folder(&policies, "cedar").unwrap().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "s3://rules/own/policies/a.cedar");
        let refused =
            stanch_config::rules(&resolved, &configured, &Fetched::default()).unwrap_err();
        let message = "cannot read `s3://rules/own/gone.toml`: there is no such object";
        assert_eq!(refused.to_string(), message);
    }

    #[tokio::test]
    async fn what_is_named_has_to_be_there() {
        let api = bucket(&[("own/other.toml", "")]);
        for (place, message) in [
            (
                "s3://rules/own/stanch.toml",
                "there is no `s3://rules/own/stanch.toml`",
            ),
            (
                "s3://rules",
                "`STANCH_CONFIG` is no place in a bucket: `s3://rules`",
            ),
            (
                "https://rules/x",
                "`STANCH_CONFIG` is no place in a bucket: `https://rules/x`",
            ),
        ] {
            let error = read_from(place, &api).await.unwrap_err();
            assert_eq!((error.kind, &*error.message), ("Configuration", message));
        }
        let denied = FakeApi::new().refuses("s3.ListObjectsV2", "AccessDenied");
        let error = read_from("s3://rules/own/stanch.toml", &denied)
            .await
            .unwrap_err();
        assert_eq!(error.kind, "Aws");
    }
}
