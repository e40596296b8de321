//! Committed files that are made from others.

use std::fs;

/// Asserts that the file at `path` of the repository is `text`; writes it instead when
/// `cargo xtask codegen` asks for that.
///
/// # Panics
/// It is not up to date, or cannot be written.
#[track_caller]
#[expect(clippy::panic, reason = "an assertion, for tests")]
pub fn assert_generated(path: &str, text: &str) {
    let file = crate::repository().join(path);
    if std::env::var_os("STANCH_WRITE_GENERATED").is_some() {
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| fs::write(&file, text)) {
            panic!("`{path}` cannot be written: {error}");
        }
    } else if fs::read_to_string(&file).ok().as_deref() != Some(text) {
        panic!("`{path}` is not up to date; run `cargo xtask codegen` and commit it");
    }
}
