//! A file for this user only, whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Makes the file `path` with this text.
///
/// It is written beside its place and put there once the disk has it: where the disk is full or the
/// process dies, no half of a key is left, which would be taken for a damaged one ever after.
///
/// # Errors
/// It is there already or cannot be written; then nothing has changed.
pub fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let draft = PathBuf::from(draft);
    let made = write(&draft, text).and_then(|()| put(&draft, path));
    // Nobody looks for it under this name.
    let _ = fs::remove_file(&draft);
    made
}

/// Makes an empty file, and opens it.
///
/// # Errors
/// It is there already or cannot be made.
pub fn empty(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = empty(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A link, unlike a move, never replaces what another process has put there at the same moment.
fn put(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links.
        Err(_) if !path.exists() => fs::rename(draft, path),
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, "first").unwrap();
        let again = create(&path, "second").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1, "no draft");
        create(&folder.path().join("missing/key"), "third").unwrap_err();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
