//! Runs the proof suite on files: `prove [file or folder]...`, by default on the built-in catalog.

use std::{error::Error, fs, path::Path, process::ExitCode, sync::Arc};

use stanch_catalog::Catalog;
use stanch_testkit::proof::prove;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<ExitCode> {
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        let before = files.len();
        collect(Path::new(&argument), &mut files)?;
        // Or else a slip would prove the whole catalog, which takes minutes.
        if files.len() == before {
            eprintln!("error: no remediation in `{argument}`");
            eprintln!(
                "hint: name files or folders of them; without any, the built-in catalog is proved"
            );
            return Ok(ExitCode::FAILURE);
        }
    }
    let catalog = if files.is_empty() {
        Catalog::embedded()
    } else {
        let (catalog, found) = Catalog::load(files);
        for complaint in &found {
            eprintln!("{complaint}");
        }
        if !found.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        catalog
    };
    let workers = catalog.iter().count().min(2);
    let proof = prove(
        &Arc::new(catalog),
        workers,
        |_| true,
        |row, time| {
            let broken = row.broken();
            let verdict = if broken.is_empty() {
                "proved"
            } else {
                "NOT proved"
            };
            eprintln!(
                "{} {verdict} in {:.1} s",
                row.remediation,
                time.as_secs_f32()
            );
            for line in broken {
                eprintln!("  {line}");
            }
        },
    )?;
    println!("{}", proof.markdown());
    Ok(if proof.broken().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Path and text of the file, or of every file of the folder.
fn collect(path: &Path, files: &mut Vec<(String, String)>) -> Outcome {
    if path.is_dir() {
        let mut inside: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        inside.sort_by_key(fs::DirEntry::file_name);
        for entry in inside {
            collect(&entry.path(), files)?;
        }
    } else if path.extension().is_some_and(|kind| kind == "yaml") {
        files.push((
            path.to_string_lossy().into_owned(),
            fs::read_to_string(path)?,
        ));
    }
    Ok(())
}
