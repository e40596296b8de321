//! Documents and their versions.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::fingerprint;
use stanch_models::Models;
use stanch_runbook::{Document, check, parse};
use stanch_syntax::Severity;

use super::{Refused, text};

/// The bytes of a document that Systems Manager takes:
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
const CONTENT_LIMIT: usize = 65_536;

/// A document with its versions, of which there is at least one.
pub(super) struct Book {
    versions: Vec<Version>,
    default: usize,
}

pub(super) struct Version {
    pub number: usize,
    pub document: Arc<Document>,
    name: Option<String>,
    content: String,
    format: String,
    created: Timestamp,
}

impl Book {
    /// `$DEFAULT`, `$LATEST`, a number, or nothing, which is the default.
    pub(super) fn version(&self, wanted: Option<&str>) -> Option<&Version> {
        match wanted.unwrap_or("$DEFAULT") {
            "$LATEST" => self.versions.last(),
            "$DEFAULT" => self.by_number(self.default),
            number => self.by_number(number.parse().ok()?),
        }
    }

    fn by_number(&self, number: usize) -> Option<&Version> {
        self.versions
            .iter()
            .find(|version| version.number == number)
    }

    fn wanted(&self, input: &Value) -> Result<&Version, Refused> {
        let found = match text(input, "VersionName") {
            Some(name) => self
                .versions
                .iter()
                .find(|version| version.name.as_deref() == Some(name)),
            None => self.version(text(input, "DocumentVersion")),
        };
        found.ok_or_else(|| {
            Refused::new("InvalidDocumentVersion", "the document has no such version")
        })
    }

    fn described(&self, name: &str, version: &Version) -> Value {
        json!({
            "Name": name,
            "DocumentVersion": version.number.to_string(),
            "VersionName": version.name,
            "DefaultVersion": self.default.to_string(),
            "LatestVersion": self.versions.len().to_string(),
            "Hash": fingerprint(&json!(version.content)),
            "HashType": "Sha256",
            "Status": "Active",
            "DocumentType": "Automation",
            "DocumentFormat": version.format,
            "SchemaVersion": "0.3",
            "Description": version.document.description,
            "CreatedDate": version.created,
            "PlatformTypes": ["Linux", "MacOS", "Windows"],
        })
    }
}

fn read(input: &Value, number: usize, models: &Models, now: Timestamp) -> Result<Version, Refused> {
    let invalid = |why: String| Refused::new("InvalidDocumentContent", why);
    let content = text(input, "Content").ok_or_else(|| Refused::invalid("Content is missing"))?;
    if content.len() > CONTENT_LIMIT {
        return Err(Refused::new(
            "MaxDocumentSizeExceeded",
            "a document has at most 64 KB",
        ));
    }
    let document = parse(content).into_valid().map_err(|wrong| {
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        invalid(wrong.join("; "))
    })?;
    let wrong = check(&document, models);
    if let Some(wrong) = wrong.iter().find(|one| one.severity == Severity::Error) {
        return Err(invalid(wrong.to_string()));
    }
    Ok(Version {
        number,
        document: Arc::new(document),
        name: text(input, "VersionName").map(str::to_owned),
        content: content.to_owned(),
        format: text(input, "DocumentFormat").unwrap_or("JSON").to_owned(),
        created: now,
    })
}

pub(super) fn call(
    books: &mut BTreeMap<String, Book>,
    models: &Models,
    now: Timestamp,
    operation: &str,
    input: &Value,
) -> Result<Value, Refused> {
    if operation == "ListDocuments" {
        let listed = books
            .iter()
            .filter_map(|(name, book)| Some(book.described(name, book.version(None)?)));
        return Ok(json!({"DocumentIdentifiers": listed.collect::<Vec<_>>()}));
    }
    let name = text(input, "Name").ok_or_else(|| Refused::invalid("Name is missing"))?;
    if operation == "CreateDocument" {
        if books.contains_key(name) {
            return Err(Refused::new(
                "DocumentAlreadyExists",
                format!("`{name}` exists already"),
            ));
        }
        if text(input, "DocumentType") != Some("Automation") {
            return Err(Refused::new(
                "InvalidDocumentSchemaVersion",
                "only documents of type Automation are known here",
            ));
        }
        let version = read(input, 1, models, now)?;
        let book = Book {
            versions: vec![version],
            default: 1,
        };
        let described = book
            .version(None)
            .map(|version| book.described(name, version));
        books.insert(name.to_owned(), book);
        return Ok(json!({"DocumentDescription": described}));
    }
    let missing = || Refused::new("InvalidDocument", format!("there is no document `{name}`"));
    if operation == "DeleteDocument" {
        return books.remove(name).map(|_| json!({})).ok_or_else(missing);
    }
    let book = books.get_mut(name).ok_or_else(missing)?;
    match operation {
        "UpdateDocument" => {
            let version = read(input, book.versions.len() + 1, models, now)?;
            if book
                .versions
                .iter()
                .any(|other| other.content == version.content)
            {
                return Err(Refused::new(
                    "DuplicateDocumentContent",
                    "a version has this content already",
                ));
            }
            let is_taken = |other: &Version| other.name.is_some() && other.name == version.name;
            if book.versions.iter().any(is_taken) {
                return Err(Refused::new(
                    "DuplicateDocumentVersionName",
                    "a version has this name already",
                ));
            }
            book.versions.push(version);
            let latest = book.version(Some("$LATEST"));
            Ok(json!({"DocumentDescription": latest.map(|version| book.described(name, version))}))
        }
        "UpdateDocumentDefaultVersion" => {
            book.default = book.wanted(input)?.number;
            Ok(json!({"Description": {"Name": name, "DefaultVersion": book.default.to_string()}}))
        }
        "DescribeDocument" => {
            let version = book.wanted(input)?;
            Ok(json!({"Document": book.described(name, version)}))
        }
        "ListDocumentVersions" => {
            let versions = book.versions.iter().map(|version| {
                let mut described = book.described(name, version);
                if let Some(described) = described.as_object_mut() {
                    let is_default = version.number == book.default;
                    described.insert("IsDefaultVersion".to_owned(), json!(is_default));
                }
                described
            });
            Ok(json!({"DocumentVersions": versions.collect::<Vec<_>>()}))
        }
        _ => {
            let version = book.wanted(input)?;
            let wanted = text(input, "DocumentFormat").unwrap_or("JSON");
            let content = if wanted == version.format {
                version.content.clone()
            } else {
                let limits = stanch_syntax::Limits::default();
                let tree = stanch_syntax::read(&version.content, limits)
                    .map_err(|error| Refused::new("InternalServerError", error.to_string()))?;
                match wanted {
                    "YAML" => stanch_syntax::to_yaml(&tree.to_json()),
                    _ => tree.to_json().to_string(),
                }
            };
            Ok(json!({
                "Name": name,
                "DocumentVersion": version.number.to_string(),
                "VersionName": version.name,
                "Status": "Active",
                "Content": content,
                "DocumentType": "Automation",
                "DocumentFormat": wanted,
                "CreatedDate": version.created,
            }))
        }
    }
}
