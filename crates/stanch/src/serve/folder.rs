//! Events from a folder: each `*.json` file is taken in, then moved to `done/`, or to `failed/` if
//! some of it could not be understood.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use stanch_hub::Source;

use super::Intake;
use crate::output::Failure;

/// The folder that is looked at.
pub struct Folder {
    path: PathBuf,
    /// What each file was like at the last look: one that is still being written changes.
    seen: HashMap<PathBuf, (u64, Option<SystemTime>)>,
}

impl Folder {
    /// The folder, made if it is not there.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        for folder in ["done", "failed"] {
            fs::create_dir_all(path.join(folder)).map_err(|error| {
                Failure::usage(format!(
                    "cannot use the folder `{}`: {error}",
                    path.display()
                ))
                .hint("`serve.inbox` has to be writable: files are moved once they are taken")
            })?;
        }
        Ok(Self {
            path: path.to_owned(),
            seen: HashMap::new(),
        })
    }

    /// Takes files in until the end.
    pub async fn run(mut self, intake: Intake, every: Duration) {
        loop {
            let ready = match self.look() {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, folder = %self.path.display(), "cannot look at the folder");
                    Vec::new()
                }
            };
            for file in ready {
                if let Err(error) = self.take(&intake, &file).await {
                    tracing::error!(error, file = %file.display(), "the file stays");
                }
                if *intake.stop.0.borrow() {
                    return;
                }
            }
            if !intake.stop.pause(&*intake.clock, every).await {
                return;
            }
        }
    }

    /// The files that have not changed since the last look, by name.
    fn look(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut now = HashMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let wanted = !hidden
                && path
                    .extension()
                    .is_some_and(|extension| extension == "json");
            if let (true, Ok(meta)) = (wanted, entry.metadata())
                && meta.is_file()
            {
                now.insert(path, (meta.len(), meta.modified().ok()));
            }
        }
        let same =
            |(path, like): (&PathBuf, _)| (self.seen.get(path) == Some(like)).then(|| path.clone());
        let mut ready: Vec<PathBuf> = now.iter().filter_map(same).collect();
        ready.sort();
        self.seen = now;
        Ok(ready)
    }

    async fn take(&self, intake: &Intake, file: &Path) -> Result<(), String> {
        let bytes = fs::read(file).map_err(|error| error.to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let source = Source::automatic(format!("folder {name}"));
        let taken = intake
            .hub
            .take(&source, &bytes)
            .await
            .map_err(|error| stanch_types::chain(&error))?;
        for buried in &taken.buried {
            tracing::warn!(file = %name, letter = %buried.id, reason = buried.reason, "a dead letter");
        }
        let to = self.path.join(if taken.buried.is_empty() {
            "done"
        } else {
            "failed"
        });
        let mut target = to.join(&*name);
        let mut copy = 1;
        while target.exists() {
            target = to.join(format!("{copy}-{name}"));
            copy += 1;
        }
        fs::rename(file, target).map_err(|error| error.to_string())
    }
}
