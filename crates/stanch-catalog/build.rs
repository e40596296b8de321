//! Embeds every file under `catalog/` with what is needed to choose among them without parsing any.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use stanch_syntax::{Limits, Node, pack, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let root = manifest.join("../../catalog").canonicalize()?;
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    let mut trees = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file)?;
        let path = file
            .strip_prefix(&root)?
            .to_string_lossy()
            .replace('\\', "/");
        // A file that cannot be read is embedded all the same: loading it gives the diagnostics.
        let node = read(&text, Limits::default()).ok();
        let node = node.as_ref();
        let begin = trees.len();
        trees.extend(node.map(|node| pack(&text, node)).unwrap_or_default());
        let tree = begin..trees.len();
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
            "Embedded {{ path: {path:?}, text: include_str!({file:?}), tree: {tree:?}, name: {:?}, resources: &{resources:?}, controls: &{controls:?} }},",
            name.unwrap_or_default(),
        )?;
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::write(out.join("trees"), trees)?;
    Ok(fs::write(out.join("embedded.rs"), code)?)
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
