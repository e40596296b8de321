use std::{
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use stanch_testkit::{Emulator, Maker};

#[test]
fn it_answers_and_ends_when_dropped() {
    let emulator = Emulator::start().unwrap();
    let (address, log) = (emulator.address(), emulator.log());
    emulator.reset().unwrap();
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("available on port")
    );
    drop(emulator);
    assert!(TcpStream::connect(address).is_err());
    assert!(!log.exists(), "temporary files are removed");
}

/// Runs only as a child of `no_emulator_outlives_a_killed_parent`.
#[test]
#[ignore = "a helper process of another test"]
fn parent_that_hangs() {
    let emulator = Emulator::start().unwrap();
    println!("\nport {}", emulator.address().port());
    std::thread::park();
}

#[test]
fn no_emulator_outlives_a_killed_parent() {
    use std::io::{BufRead, BufReader};
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "emulator::parent_that_hangs",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port: u16 = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            line.unwrap()
                .strip_prefix("port ")
                .map(|port| port.parse().unwrap())
        })
        .expect("the parent says its port");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    parent.kill().unwrap();
    parent.wait().unwrap();

    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the emulator outlived its parent"
        );
        std::thread::yield_now();
    }
}

#[test]
fn the_generated_table_of_operations_is_that_of_the_installed_emulators() {
    let script =
        stanch_testkit::repository().join("crates/stanch-testkit/src/emulator/operations.py");
    let printed = Command::new(stanch_testkit::emulator_python().unwrap())
        .arg(script)
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let table = String::from_utf8(printed.stdout).unwrap();
    stanch_testkit::assert_generated("crates/stanch-testkit/data/operations.tsv", &table);
}

#[test]
fn moto_answers_resets_and_ends_when_dropped() {
    let emulator = Emulator::start_with(Maker::Moto, &[]).unwrap();
    emulator.reset().unwrap();
    let address = emulator.address();
    drop(emulator);
    assert!(TcpStream::connect(address).is_err());
}
