//! What the guard is made of, from the files that the configuration names.

use std::path::{Path, PathBuf};

use stanch_guard::{File, Rules, Source};

use crate::{Fetched, Origin, Resolved, feeds::is_address};

/// Where the files are that a configuration names: a folder of this machine, or a bucket.
pub trait Files {
    /// A file's text, or why it cannot be read.
    ///
    /// # Errors
    /// It is not there or not text.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// Path and text of the files with this extension below a folder, by path; none if `path` is no
    /// folder.
    ///
    /// # Errors
    /// One of them cannot be read.
    fn folder(&self, path: &Path, extension: &str)
    -> Result<Option<Vec<(String, String)>>, String>;
}

/// Files that the guard cannot do without.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// One cannot be read.
    #[error("cannot read `{}`: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What runs by itself is said twice.
    #[error("`{0}` and `guard.policies` are both set")]
    Twice(&'static str),
}

impl RulesError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "nothing runs without what the guard decides by: correct `guard.*`"
            }
            Self::Twice(_) => "say it in the policies",
        }
    }
}

/// What the guard is made of, its files read, and its feeds as they were fetched.
///
/// # Errors
/// What it decides by is not there: nothing may run.
pub fn rules(
    resolved: &Resolved,
    files: &dyn Files,
    fetched: &Fetched,
) -> Result<Rules, RulesError> {
    let config = &resolved.config;
    let unreadable = |path: &Path, why: String| RulesError::Unreadable {
        path: path.to_owned(),
        why,
    };
    let read = |path: &PathBuf| {
        let text = match fetched.text(path) {
            Some(text) => Ok(text.to_owned()),
            None if is_address(path) => Err("it was not fetched".to_owned()),
            None => files.read(path),
        };
        Ok(File {
            text: text.map_err(|why| unreadable(path, why))?,
            path: path.to_string_lossy().into_owned(),
        })
    };
    let all = |paths: &[PathBuf]| paths.iter().map(read).collect::<Result<Vec<File>, _>>();
    let mut rules = config.rules();
    if let Some(path) = &config.guard.policies {
        for key in ["automatic.safe", "automatic.guarded"] {
            let origin = resolved.origins.get(key).map(|(_, origin)| origin);
            if origin.is_some_and(|origin| *origin != Origin::Default) {
                return Err(RulesError::Twice(key));
            }
        }
        let folder = files
            .folder(path, "cedar")
            .map_err(|why| unreadable(path, why))?;
        rules.policies = Source::Files(match folder {
            Some(found) => {
                let files = found.into_iter();
                files.map(|(path, text)| File { path, text }).collect()
            }
            None => vec![read(path)?],
        });
    }
    rules.calendars = all(&config.guard.calendars)?;
    rules.exemptions = config.guard.exemptions.as_ref().map(read).transpose()?;
    rules.feeds = all(&config.guard.threat_feeds)?;
    Ok(rules)
}
