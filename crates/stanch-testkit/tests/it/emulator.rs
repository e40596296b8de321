use std::{
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stanch_testkit::{Emulated, Emulator, Maker, Misconfiguration};
use stanch_types::{AccountId, Call, Incoming, Region, Route, event::Unnamed};

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

/// AWS Config's answer about a role has the shape that the reader of events takes it to have, by moto.
#[tokio::test]
async fn the_recorder_of_moto_knows_the_name_behind_a_unique_id() {
    let emulator = Emulator::start_with(Maker::Moto, &[]).unwrap();
    let region: Region = "eu-central-1".parse().unwrap();
    let account: AccountId = "123456789012".parse().unwrap();
    let api = Emulated::at(&emulator.endpoint(), region.clone()).root(&account, &region);
    let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let role = json!({"RoleName": "shop", "AssumeRolePolicyDocument": trust});
    let made = api.call(&Call::new("iam", "CreateRole", role)).await;
    let role = &made.unwrap().output["Role"];
    let found = Misconfiguration {
        account,
        region,
        control: "config:a-rule".parse().unwrap(),
        resource_type: "AWS::IAM::Role".to_owned(),
        resource_id: role["RoleId"].as_str().unwrap().to_owned(),
        details: Value::Null,
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    let finding = Box::new(found.read().unwrap());
    let unnamed = Unnamed::of(&finding).unwrap();
    let mut answer = api.call(&unnamed.question()).await.unwrap();
    // In moto it is the name; in AWS an `AROA…`, as in the example of
    // https://repost.aws/knowledge-center/config-configurationitemdiff.
    answer.output["baseConfigurationItems"][0]["resourceId"] = role["RoleId"].clone();
    let named = unnamed.named(finding, Route::Automatic, Ok(answer));
    let Incoming::Accepted { finding, .. } = named else {
        panic!("{named:?}");
    };
    assert_eq!(finding.resources[0].id, role["Arn"].as_str().unwrap());
    assert_eq!(finding.resources[0].name, "shop");
}
