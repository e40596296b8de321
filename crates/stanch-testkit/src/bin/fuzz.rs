//! Gives everything that reads foreign bytes bytes that nobody expected, for a while.
//!
//! `fuzz [--seconds N] [--seed N]`. What is found is written below `fuzz/found/`.
//! `fuzz --seeds FOLDER` writes the seeds there instead, a folder for each target.

use std::{fs, io, path::Path, process::ExitCode, time::Duration};

use stanch_testkit::fuzz::{Found, Target, fuzz};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str| after(name)?.parse::<u64>().ok();
    if let Some(folder) = after("--seeds") {
        return match write_seeds(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{folder}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    // A panic is counted, not told a hundred times.
    std::panic::set_hook(Box::new(|_| {}));
    let (seed, seconds) = (
        number("--seed").unwrap_or(0),
        number("--seconds").unwrap_or(60),
    );
    let (counts, found) = fuzz(seed, Duration::from_secs(seconds));
    for (target, count) in counts {
        println!("{target:<14} {count:>10} inputs");
    }
    let folder = stanch_testkit::repository().join("fuzz/found");
    for (
        number,
        Found {
            target,
            input,
            what,
        },
    ) in found.iter().enumerate()
    {
        let path = folder.join(format!("{target}-{seed}-{number}"));
        let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
        let place = match kept {
            Ok(()) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        eprintln!("{target}: {what} ({place})");
    }
    if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn write_seeds(folder: &Path) -> io::Result<()> {
    for target in Target::ALL {
        let folder = folder.join(target.name());
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds().iter().enumerate() {
            fs::write(folder.join(number.to_string()), seed)?;
        }
    }
    Ok(())
}
