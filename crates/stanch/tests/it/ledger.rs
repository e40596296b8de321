//! The ledger's signatures, proofs, copies and formats, as an auditor uses them.

use serde_json::json;
use stanch_ledger::{Event, IdempotencyKey, KeyFile, Ledger, Received, SqliteLedger, Status};
use stanch_testkit::{Emulated, Emulator, Maker, create_tables};
use stanch_types::{AccountId, Region};

use crate::command::Workplace;

/// Takes in findings number `from` to `to`, none of which is fixed.
fn record(here: &Workplace, from: u64, to: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ledger = SqliteLedger::open(here.path().join("stanch.db")).unwrap();
    let admit = async |n: u64| {
        let received: Received = serde_json::from_value(json!({
            "finding_id": format!("finding-{n}"), "control": "S3.8", "account": format!("{:012}", n % 2),
            "region": "us-east-1", "resource_id": format!("arn:aws:s3:::b{n}"), "resource_type": "AwsS3Bucket",
            "severity": "HIGH", "title": "A bucket is public", "remediation": "S3BlockPublicAccess",
            "route": "Manual", "requester": "alice",
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let key = IdempotencyKey::new(
            &received.account,
            &received.region,
            &received.resource_id,
            "S3BlockPublicAccess",
            "1",
        );
        let id = key.remediation_id();
        ledger.admit(key, received.into(), at).await.unwrap();
        let end = Event::Finished {
            status: Status::Skipped,
            error: None,
            duration_ms: 1,
        };
        ledger.append(id, 1, vec![end], at).await.unwrap();
        id.to_string()
    };
    let mut ids = Vec::new();
    for n in from..to {
        ids.push(runtime.block_on(admit(n)));
    }
    ids
}

#[test]
fn an_auditor_needs_a_key_and_a_checkpoint() {
    let here = Workplace::new();
    here.put("stanch.toml", "logs = \"logs\"");
    let ids = record(&here, 0, 5);
    let first = here
        .run(&["ledger", "checkpoint"])
        .exits(0)
        .says("stanch.db.key");
    here.put("first.checkpoint", &first.stdout);
    let key = here.run(&["ledger", "key"]).exits(0);
    here.put("ledger.pub", &key.stdout);
    assert!(here.path().join("logs/ledger/tile/0/000.p/10").exists());
    record(&here, 5, 9);
    let inclusion = here
        .run(&["ledger", "prove", "inclusion", &ids[3]])
        .exits(0);
    here.put("fix.tlog-proof", &inclusion.stdout);
    let grown = here
        .run(&[
            "ledger",
            "prove",
            "consistency",
            "--since",
            "first.checkpoint",
        ])
        .exits(0);
    here.put("grown", &grown.stdout);

    // From here on without the ledger.
    std::fs::rename(here.path().join("stanch.db"), here.path().join("away.db")).unwrap();
    here.run(&[
        "ledger",
        "verify-proof",
        "fix.tlog-proof",
        "--key",
        "ledger.pub",
    ])
    .exits(0)
    .says(&ids[3]);
    here.run(&[
        "ledger",
        "verify-proof",
        "grown",
        "--key",
        "ledger.pub",
        "--since",
        "first.checkpoint",
    ])
    .exits(0)
    .says("the ledger of 18 events, signed by");
    here.run(&["ledger", "verify-proof", "grown", "--key", "ledger.pub"])
        .exits(1)
        .says("it starts at 10 events");
    let other = first.stdout.replace("\n10\n", "\n11\n");
    here.put("first.checkpoint", other);
    here.run(&[
        "ledger",
        "verify-proof",
        "grown",
        "--key",
        "ledger.pub",
        "--since",
        "first.checkpoint",
    ])
    .exits(1);
    here.put(
        "fix.tlog-proof",
        inclusion.stdout.replace("index 7", "index 6"),
    );
    here.run(&["ledger", "verify-proof", "fix.tlog-proof"])
        .exits(1)
        .says("its hashes do not lead to its checkpoint");
}

/// An auditor who has no witness has kept a checkpoint: an older export is not all that there was then.
#[test]
fn an_export_is_held_against_a_checkpoint_that_was_kept() {
    let here = Workplace::new();
    record(&here, 0, 5);
    let first = here.run(&["ledger", "checkpoint"]).exits(0).stdout;
    here.put("first.checkpoint", first);
    here.run(&["ledger", "export", "--out", "old.jsonl"])
        .exits(0);
    let key = here.run(&["ledger", "key"]).exits(0).stdout;
    here.put("ledger.pub", key);
    record(&here, 5, 6);
    let second = here.run(&["ledger", "checkpoint"]).exits(0).stdout;
    here.put("second.checkpoint", second);
    let verify = |more: &[&str]| {
        let old = [
            "ledger",
            "verify",
            "--export",
            "old.jsonl",
            "--key",
            "ledger.pub",
        ];
        here.run(&[&old[..], more].concat())
    };
    verify(&[]).exits(0);
    verify(&["--since", "first.checkpoint"]).exits(0);
    verify(&["--since", "second.checkpoint"])
        .exits(1)
        .says("the kept checkpoint is of 12 events, the ledger has 10");
    for kept in ["first.checkpoint", "second.checkpoint"] {
        here.run(&["ledger", "verify", "--since", kept]).exits(0);
    }
}

#[test]
fn a_part_of_the_ledger_proves_itself() {
    let here = Workplace::new();
    record(&here, 0, 4);
    let key = here.run(&["ledger", "key"]).exits(0).stdout;
    here.put("ledger.pub", key);
    let account = ["--account", "000000000001", "--out", "part.jsonl"];
    here.run(&[&["ledger", "export"][..], &account].concat())
        .exits(0)
        .says("2 remediations");
    let verify = |file: &str, more: &[&str]| {
        here.run(&[&["ledger", "verify", "--export", file][..], more].concat())
    };
    let key = ["--key", "ledger.pub"];
    verify("part.jsonl", &key).exits(0).says(
        "2 remediations and 4 events are in the ledger of 8 events, whose checkpoint is signed",
    );
    verify("part.jsonl", &[])
        .exits(0)
        .says("whose checkpoint is not checked for its signature");
    let part = std::fs::read_to_string(here.path().join("part.jsonl")).unwrap();
    let is_event = |line: &&str| line.starts_with("{\"selection\"") || line.starts_with("{\"v\"");
    let bare: Vec<&str> = part.lines().filter(is_event).collect();
    here.put("bare.jsonl", bare.join("\n") + "\n");
    verify("bare.jsonl", &key)
        .exits(1)
        .says("nothing in this part of a ledger is signed");
    verify("bare.jsonl", &[])
        .exits(0)
        .says("nothing in them is signed");
}

#[test]
fn a_backup_is_checked_before_it_is_restored() {
    let here = Workplace::new();
    here.put("stanch.toml", "logs = \"logs\"");
    record(&here, 0, 5);
    here.run(&["ledger", "backup", "copy.db"])
        .exits(0)
        .says("the first 10 events");
    let lost = record(&here, 5, 6);
    here.run(&["ledger", "checkpoint"]).exits(0);
    here.run(&["ledger", "restore", "copy.db"])
        .exits(1)
        .says("2 events would be lost")
        .says(&format!("{}: events 0, 1", lost[0]));
    // Whoever still has the file would go on in one that has no name.
    let hub = SqliteLedger::open(here.path().join("stanch.db")).unwrap();
    here.run(&["ledger", "restore", "copy.db", "--accept-loss"])
        .exits(1)
        .says("is busy");
    drop(hub);
    here.run(&["ledger", "restore", "copy.db", "--accept-loss"])
        .exits(0)
        .says("restored 10 events");
    assert!(!here.path().join("stanch.restored").exists());
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("5 remediations and 10 events hold");
    // An order that only the witness knows of is missed as well.
    here.run(&["pause", "--as", "alice"]).exits(0);
    here.run(&["ledger", "restore", "copy.db"])
        .exits(1)
        .says("the backup lacks the last 1 orders")
        .says("1 orders would be lost");
    here.run(&["ledger", "restore", "copy.db", "--accept-loss"])
        .exits(0);
    // It goes on, with a new copy for the witness.
    record(&here, 7, 8);
    here.run(&["ledger", "checkpoint"]).exits(0);
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("6 remediations");

    let mut bytes = std::fs::read(here.path().join("copy.db")).unwrap();
    let place = bytes.windows(5).position(|five| five == b"alice").unwrap();
    bytes[place] = b'A';
    here.put("changed.db", bytes);
    here.run(&["ledger", "restore", "changed.db"])
        .exits(1)
        .says("the backup does not hold, and is not restored");
    here.run(&["ledger", "restore", "nothing.db"])
        .exits(2)
        .says("there is no backup or export `nothing.db`");
}

#[test]
fn a_ledger_that_was_put_back_is_an_alarm() {
    let here = Workplace::new();
    here.put("stanch.toml", "logs = \"logs\"");
    record(&here, 0, 5);
    here.run(&["ledger", "backup", "copy.db"]).exits(0);
    record(&here, 5, 6);
    here.run(&["ledger", "checkpoint"]).exits(0);
    std::fs::rename(here.path().join("copy.db"), here.path().join("stanch.db")).unwrap();
    here.run(&["ledger", "verify"])
        .exits(1)
        .says("the witness has a checkpoint of 12 events, the ledger has 10: events were cut off at the end");
    record(&here, 7, 9);
    here.run(&["ledger", "checkpoint"])
        .exits(1)
        .says("does not extend its checkpoint of 12 events");
}

#[test]
fn contents_expire_and_formats_are_written() {
    let here = Workplace::new();
    let ids = record(&here, 0, 4);
    here.run(&["ledger", "expire", "--dry-run"]).exits(0);
    here.run(&["ledger", "expire", &ids[0]])
        .exits(2)
        .says("nothing says why");
    here.run(&[
        "ledger",
        "expire",
        &ids[0],
        "--reason",
        "a request of its owner",
    ])
    .exits(0)
    .says(&ids[0]);
    here.run(&["ledger", "show", &ids[0]])
        .exits(1)
        .says("have expired");
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("4 remediations and 9 events hold, 2 of them expired");
    for (format, begins) in [
        ("csv", "number,time,"),
        ("ocsf", "{\"category_uid\":2,"),
        ("jsonl", "{\"selection\":"),
    ] {
        let account = ["--account", "000000000001"];
        let said = here
            .run(&[&["ledger", "export", "--format", format][..], &account].concat())
            .exits(0);
        assert!(said.stdout.starts_with(begins), "{said}");
        assert!(
            said.stdout.contains("arn:aws:s3:::b1") && !said.stdout.contains("arn:aws:s3:::b2")
        );
    }
    here.run(&[
        "ledger",
        "export",
        "--format",
        "parquet",
        "--out",
        "all.parquet",
    ])
    .exits(0);
    here.run(&["ledger", "verify", "--set", "audit.retention_days.safe=10"])
        .exits(2)
        .says("90 to 2557 days");
}

/// A ledger in a file moves to tables, whose key is another; and an export goes to tables of its own key.
#[test]
fn a_backup_or_an_export_becomes_a_ledger_in_tables() {
    let emulator = Emulator::start_with(Maker::Moto, &[]).unwrap();
    let region: Region = "us-east-1".parse().unwrap();
    let account: AccountId = "111111111111".parse().unwrap();
    let api = Emulated::at(&emulator.endpoint(), region.clone()).root(&account, &region);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for prefix in ["One", "Two"] {
        runtime.block_on(create_tables(&*api, prefix)).unwrap();
    }
    let mut here = Workplace::new();
    record(&here, 0, 5);
    here.run(&["ledger", "backup", "copy.db"]).exits(0);
    let export = ["ledger", "export", "--out", "export.jsonl"];
    here.run(&export).exits(0);
    let key = here.run(&["ledger", "key"]).exits(0).stdout;
    here.put("ledger.pub", key);
    KeyFile::create(&here.path().join("tables.key")).unwrap();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", account.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &emulator.endpoint()),
    ] {
        here.set(name, value);
    }
    let tables = |name: &str, key: &str| {
        let bucket = format!("{}-ledger", name.to_lowercase());
        let text =
            format!("ledger = \"dynamodb:{name}AuditLog\"\naudit.bucket = \"{bucket}\"\n{key}\n");
        here.put("stanch.toml", text);
    };
    tables("One", "");
    let restore = ["ledger", "restore", "copy.db", "--key", "ledger.pub"];
    here.run(&restore)
        .exits(2)
        .says("nothing says which key signs these tables");
    let short = "audit.retention_days.guarded = 90";
    tables("One", &format!("audit.key = \"tables.key\"\n{short}"));
    here.run(&["ledger", "restore", "copy.db"])
        .exits(1)
        .says("is not signed by the key that was given");
    here.run(&restore)
        .exits(1)
        .says("days back, and the tables keep less");
    tables("One", "audit.key = \"tables.key\"");
    here.run(&restore)
        .exits(0)
        .says("restored 5 remediations and 10 events from `copy.db` into `OneAuditLog`")
        .says("checkpoints are signed by another key, or cover orders that are lost");
    here.run(&restore).exits(1).says("`OneState` is not empty");
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("5 remediations and 10 events hold; the checkpoint of 10 events is signed");
    tables("Two", "audit.key = \"stanch.db.key\"");
    here.run(&["ledger", "restore", "export.jsonl"])
        .exits(0)
        .says("an export has no dead letters");
    here.run(&["ledger", "verify"])
        .exits(0)
        .says("5 remediations and 10 events hold");
    let listed = here.run(&["ledger", "list", "--limit", "3"]).exits(0);
    assert!(listed.stdout.contains("Skipped"), "{}", listed.stdout);
}
