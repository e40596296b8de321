//! Embeds every file under `catalog/` with what is needed to choose among them without parsing any.
//!
//! The texts and their trees are compressed, a folder at a time: a finding needs one folder's.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use stanch_syntax::{Limits, Node, pack, read};

/// The build takes no longer for it, and a frame of any level is read as fast.
const LEVEL: i32 = 19;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let root = manifest.join("../../catalog").canonicalize()?;
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let (mut code, mut folders, mut frames) = (String::new(), String::new(), Vec::new());
    for (index, group) in files.chunk_by(|a, b| a.parent() == b.parent()).enumerate() {
        let mut bytes = Vec::new();
        for file in group {
            let path = file.strip_prefix(&root)?;
            let path = path.to_string_lossy().replace('\\', "/");
            embed(
                &path,
                &fs::read_to_string(file)?,
                index,
                &mut bytes,
                &mut code,
            )?;
        }
        let begin = frames.len();
        frames.extend(zstd::bulk::compress(&bytes, LEVEL)?);
        let (size, frame) = (bytes.len(), begin..frames.len());
        writeln!(folders, "Folder::new({size}, {frame:?}),")?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::write(out.join("frames"), frames)?;
    let embedded = format!(
        "static FOLDERS: [Folder; {}] = [\n{folders}];\nstatic EMBEDDED: &[Embedded] = &[\n{code}];\n",
        folders.lines().count()
    );
    fs::write(out.join("embedded.rs"), embedded)?;
    Ok(())
}

/// Adds a file of the folder `index`, whose contents are `bytes`.
fn embed(
    path: &str,
    text: &str,
    index: usize,
    bytes: &mut Vec<u8>,
    code: &mut String,
) -> std::fmt::Result {
    // A file that cannot be read is embedded all the same: loading it gives the diagnostics.
    let node = read(text, Limits::default()).ok();
    let node = node.as_ref();
    let mut add = |part: &[u8]| {
        let begin = bytes.len();
        bytes.extend(part);
        begin..bytes.len()
    };
    let (written, tree) = (
        add(text.as_bytes()),
        add(&node.map(|node| pack(text, node)).unwrap_or_default()),
    );
    let name = node
        .and_then(|n| n.get("remediation"))
        .and_then(Node::as_str);
    let resources = texts(node.and_then(|n| n.get("resource")));
    let controls: Vec<(&str, &str)> = node
        .and_then(|n| n.get("controls")?.as_map())
        .unwrap_or_default()
        .iter()
        .flat_map(|entry| {
            texts(Some(&entry.value))
                .into_iter()
                .map(|id| (entry.key.as_str(), id))
        })
        .collect();
    writeln!(
        code,
        "Embedded {{ path: {path:?}, folder: &FOLDERS[{index}], text: {written:?}, tree: {tree:?}, name: {:?}, resources: &{resources:?}, controls: &{controls:?} }},",
        name.unwrap_or_default(),
    )
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn texts(node: Option<&Node>) -> Vec<&str> {
    match node {
        Some(node) => node.as_list().map_or_else(
            || node.as_str().into_iter().collect(),
            |items| items.iter().filter_map(Node::as_str).collect(),
        ),
        None => Vec::new(),
    }
}
