//! The functions' archive: a ZIP file with the program, as Lambda takes it.
//!
//! The same files give the same bytes: no times, no users, the order as given.
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html>

use std::io;

use libdeflater::{CompressionLvl, Compressor, Crc};
use stanch_catalog::Catalog;
use stanch_models::{FILE, LookupError, Models};

/// The name of a function's program.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-provided.html>
pub const BOOTSTRAP: &str = "bootstrap";

/// A file of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its path in the archive.
    pub name: &'a str,
    /// What is in it.
    pub body: &'a [u8],
    /// Whether it is a program.
    pub runs: bool,
}

/// What the functions call themselves, whatever is remediated.
const OWN: [&str; 20] = [
    "cloudformation",
    "cloudtrail",
    "cloudwatch",
    "config",
    "dynamodb",
    "events",
    "firehose",
    "iam",
    "kms",
    "lambda",
    "logs",
    "organizations",
    "s3",
    "secretsmanager",
    "securityhub",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
];

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A remediation calls what is not known.
    #[error(transparent)]
    Service(#[from] LookupError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// The functions' archive: the program, the remediations of `catalog` that Stanch does not ship, below
/// `catalog/`, and the models of the services that are called for any of them or for itself: all services
/// would be a fifth of the archive.
///
/// # Errors
/// A remediation calls an unknown service, or it becomes too large.
pub fn package(
    program: &[u8],
    catalog: &Catalog,
    models: &Models,
) -> Result<Vec<u8>, PackageError> {
    let models = called(catalog, models)?;
    let own: Vec<(String, &str)> = catalog
        .own()
        .map(|(name, text)| (format!("catalog/{name}.yaml"), text))
        .collect();
    let mut entries = vec![
        Entry {
            name: BOOTSTRAP,
            body: program,
            runs: true,
        },
        Entry {
            name: FILE,
            body: &models,
            runs: false,
        },
    ];
    entries.extend(own.iter().map(|(name, text)| Entry {
        name,
        body: text.as_bytes(),
        runs: false,
    }));
    Ok(archive(&entries)?)
}

/// The models of what is called for any remediation, or by the functions for themselves.
fn called(catalog: &Catalog, models: &Models) -> Result<Vec<u8>, LookupError> {
    let remediations: Vec<_> = catalog.iter().collect();
    let services = remediations.iter().flat_map(|one| one.services());
    let allowed = remediations.iter().flat_map(|one| one.prefixes()).collect();
    models.only(&services.chain(OWN).collect(), &allowed)
}

/// An archive of `entries`, compressed as far as it goes.
///
/// # Errors
/// One is too large for the format, which has 32 bits for a size; Lambda takes 250 MB in all.
pub fn archive(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = size(out.len())?;
        let mut crc = Crc::new();
        crc.update(entry.body);
        let mut compressor = Compressor::new(CompressionLvl::best());
        let mut deflated = vec![0; compressor.deflate_compress_bound(entry.body.len())];
        let length = compressor
            .deflate_compress(entry.body, &mut deflated)
            .map_err(io::Error::other)?;
        deflated.truncate(length);

        // What both headers have: version 2.0, UTF-8 names, deflated, midnight of 1980-01-01.
        let mut common = Vec::new();
        for short in [20_u16, 0x0800, 8, 0, 0x0021] {
            common.extend(short.to_le_bytes());
        }
        for long in [crc.sum(), size(deflated.len())?, size(entry.body.len())?] {
            common.extend(long.to_le_bytes());
        }
        let name = u16::try_from(entry.name.len()).map_err(too_large)?;
        common.extend(name.to_le_bytes());
        common.extend([0; 2]);

        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(entry.name.as_bytes());
        out.extend(deflated);

        // Made on Unix, so that the mode counts.
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        let mode: u32 = if entry.runs { 0o100_755 } else { 0o100_644 };
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (begin, length) = (size(out.len())?, size(directory.len())?);
    let count = u16::try_from(entries.len()).map_err(too_large)?;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(begin.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(too_large)
}

fn too_large(_: std::num::TryFromIntError) -> io::Error {
    io::Error::other("too large for an archive")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_package_has_what_the_functions_need_and_no_more() {
        let models = Models::embedded().unwrap();
        let (_, text) = Catalog::embedded_files()
            .find(|(path, _)| path.starts_with("ses/") || path.starts_with("kms/"))
            .unwrap();
        let (own, wrong) = Catalog::load([("mine/one.yaml", text)]);
        assert_eq!(wrong, []);
        let packed = package(b"#!/bin/sh", &own, &models).unwrap();
        let name = own.own().next().unwrap().0;
        let has = |name: &str| packed.windows(name.len()).any(|at| at == name.as_bytes());
        assert!(has(BOOTSTRAP) && has(FILE) && has(&format!("catalog/{name}.yaml")));
        let all = package(b"#!/bin/sh", &Catalog::embedded(), &models).unwrap();
        assert!(!all.windows(8).any(|at| at == b"catalog/"));
        assert!(
            packed.len() < all.len() && all.len() < 1_050_000,
            "{}",
            all.len()
        );
    }

    /// A session that is opened in a function may do what it may on one machine.
    #[test]
    fn permissions_are_the_same_with_the_models_of_a_package() {
        let (catalog, all) = (Catalog::embedded(), Models::embedded().unwrap());
        let some = called(&catalog, &all).unwrap();
        let some = Models::read(some.leak()).unwrap();
        for remediation in catalog.iter() {
            let of = |models: &Models| {
                let reads = remediation.read_policy(models).unwrap();
                (reads, format!("{:?}", remediation.permissions(models)))
            };
            assert_eq!(of(&some), of(&all), "{}", remediation.name);
        }
    }

    #[test]
    fn another_program_reads_it() {
        let body = b"#!/bin/sh\n".repeat(1000);
        let entries = [
            Entry {
                name: BOOTSTRAP,
                body: &body,
                runs: true,
            },
            Entry {
                name: "policies/none.cedar",
                body: b"",
                runs: false,
            },
        ];
        let made = archive(&entries).unwrap();
        assert_eq!(made, archive(&entries).unwrap());
        assert!(made.len() < 600, "{}", made.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made.zip");
        std::fs::write(&path, &made).unwrap();
        let script = "import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for info in archive.infolist():
    print(info.filename, oct(info.external_attr >> 16), info.file_size, info.date_time, len(archive.read(info)))";
        let read = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&read.stdout),
            "bootstrap 0o100755 10000 (1980, 1, 1, 0, 0, 0) 10000\n\
             policies/none.cedar 0o100644 0 (1980, 1, 1, 0, 0, 0) 0\n",
            "{}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}
