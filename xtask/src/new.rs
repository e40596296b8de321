//! `cargo xtask new`: a remediation to start from.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::run::{Failure, Outcome, root};

const SCAFFOLD: &str = include_str!("new.yaml");

/// What the new remediation is called.
#[derive(Args)]
pub struct Options {
    /// Service and purpose, as the file is to be called: `s3/keep-versions`
    name: String,
}

/// Writes the file and says what to do with it.
pub fn new(options: &Options) -> Outcome {
    let path = scaffold(&options.name)?;
    let shown = path.strip_prefix(root()).unwrap_or(&path);
    println!("{}", shown.display());
    eprintln!("hint: it is a working remediation; edit it into yours, then run `cargo xtask test`");
    Ok(())
}

/// Writes the file of the remediation `name`, which must not exist yet.
pub fn scaffold(name: &str) -> Outcome<PathBuf> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.split('-').all(|word| !word.is_empty())
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let (service, purpose) = name
        .split_once('/')
        .filter(|(service, purpose)| part(service) && part(purpose))
        .ok_or_else(|| {
            Failure::new(format!("`{name}` is not `<service>/<what-it-does>`"))
                .hint("use lower-case words and hyphens, such as `s3/keep-versions`")
        })?;
    let path = root()
        .join("catalog")
        .join(service)
        .join(format!("{purpose}.yaml"));
    let text = SCAFFOLD
        .replace("{{NAME}}", &(camel(service) + &camel(purpose)))
        .replace("{{KEBAB}}", &format!("{service}-{purpose}"));
    write_new(&path, &text)
        .map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))?;
    Ok(path)
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// `keep-versions` as `KeepVersions`.
fn camel(kebab: &str) -> String {
    let mut words = String::new();
    for word in kebab.split('-') {
        let mut letters = word.chars();
        words.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        words.push_str(letters.as_str());
    }
    words
}
