//! That a file of the user's own was proved, as a record beside it.
//!
//! The record guards against a file that was forgotten or edited since, not against whoever may
//! write the folder (`docs/decisions/0009`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stanch_types::{AccountId, Region, hex};

use crate::output::Failure;

/// What became of a file's examples.
#[derive(Debug, Serialize, Deserialize)]
pub struct Proof {
    /// The remediation.
    pub remediation: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// Nothing was broken.
    pub proved: bool,
    /// When.
    pub at: Timestamp,
    /// By which version of Stanch.
    pub stanch: String,
    /// In which account.
    pub account: AccountId,
    /// In which region.
    pub region: Region,
    /// Where AWS was, if it was an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Each example with what it showed.
    pub examples: Vec<Shown>,
}

/// What an example showed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its title.
    pub example: String,
    /// The properties that were seen to hold.
    pub holds: Vec<String>,
    /// The property that does not, with the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// Where the proof of a file is.
pub fn path(file: &Path) -> PathBuf {
    file.with_extension("proof.json")
}

/// SHA-256 of a file's text, in hexadecimal.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

impl Proof {
    /// Writes it beside the file.
    pub fn write(&self, file: &Path) -> Result<PathBuf, Failure> {
        let path = path(file);
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::of(&error))?;
        fs::write(&path, text + "\n").map_err(|error| {
            Failure::failed(format!("cannot write `{}`: {error}", path.display()))
        })?;
        Ok(path)
    }
}

/// Refuses a file that was not proved as it is.
pub fn demand(file: &Path, text: &str) -> Result<(), Failure> {
    let shown = file.display();
    let reason = match fs::read_to_string(path(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("`{shown}` is not proved")
        }
        Err(error) => format!("cannot read `{}`: {error}", path(file).display()),
        Ok(record) => match serde_json::from_str::<Proof>(&record) {
            Err(error) => format!("`{}` is no proof: {error}", path(file).display()),
            Ok(proof) if proof.digest != digest(text) => {
                format!("`{shown}` has changed since it was proved")
            }
            Ok(proof) if !proof.proved => format!("`{shown}` failed its proof of {}", proof.at),
            Ok(_) => return Ok(()),
        },
    };
    Err(Failure::usage(reason).hint(format!(
        "run `stanch catalog test {shown} --account <a test account>`; until it is proved, only test accounts may run it"
    )))
}
