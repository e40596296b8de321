//! Two processes on one ledger, given the same findings at the same time: each finding is dealt with once,
//! and both come to a good end.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    command::Said,
    emulated::{BUCKET, World},
    kill::wait,
    served::Service,
};

/// The command for one finding, which is found again and again.
const REMEDIATE: [&str; 6] = [
    "remediate",
    "-",
    "--set",
    "budget.attempts=1000000",
    "--set",
    "budget.cool_down=0s",
];

const ROUNDS: usize = 5;
const FINDINGS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(120);

/// Two commands at once that fix a finding of this day.
fn both_fix(world: &World, day: usize) -> [Said; 2] {
    let seen = format!("2026-01-{day:02}T12:00:00Z");
    let event = world.event(&seen).to_string();
    let here = &world.here;
    thread::scope(|scope| {
        let commands =
            [(); 2].map(|()| scope.spawn(|| here.run_with(&REMEDIATE, event.as_bytes())));
        commands.map(|command| command.join().unwrap())
    })
}

/// One has fixed it, and the other has seen that; what was open is closed by one request.
#[track_caller]
fn fixed_once(world: &World, said: [Said; 2], before: usize) {
    let known = "this finding was dealt with before";
    let second = said.iter().filter(|said| said.stdout.contains(known));
    assert_eq!(second.count(), 1, "{} {}", said[0], said[1]);
    for said in said {
        said.exits(0).says("fixed");
    }
    assert_eq!(world.sent(), before + 1);
    assert_eq!(world.blocks(), Some(true));
}

#[test]
fn two_commands_fix_a_finding_once() {
    let world = World::new();
    // The ledger and its keys are there.
    let first = world.event("2025-12-31T12:00:00Z").to_string();
    world.here.run_with(&REMEDIATE, first.as_bytes()).exits(0);
    for day in 1..=ROUNDS {
        world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
        let before = world.sent();
        let said = both_fix(&world, day);
        fixed_once(&world, said, before);
    }
    let verified = world.here.run(&["ledger", "verify"]).exits(0);
    verified.says(&format!("{} remediations and ", ROUNDS + 1));
}

/// Neither the ledger nor its keys are there, and both make them.
#[test]
fn two_commands_make_the_ledger() {
    let world = World::new();
    for day in 1..=ROUNDS {
        for file in fs::read_dir(world.here.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with("stanch.db") {
                fs::remove_file(&path).unwrap();
            }
        }
        // The witness remembers the ledger that was there.
        let _ = fs::remove_dir_all(world.here.path().join("logs"));
        world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
        let before = world.sent();
        let said = both_fix(&world, day);
        fixed_once(&world, said, before);
        let verified = world.here.run(&["ledger", "verify"]).exits(0);
        verified.says("1 remediation");
    }
}

#[test]
fn two_services_share_the_findings() {
    let world = World::new();
    // The ledger and its keys are there.
    let first = world.event("2025-12-31T12:00:00Z").to_string();
    world.here.run_with(&REMEDIATE, first.as_bytes()).exits(0);
    let buckets: Vec<String> = (0..FINDINGS).map(|n| format!("shared-{n:02}")).collect();
    for bucket in &buckets {
        world.call("CreateBucket", json!({"Bucket": bucket}));
        world.call("DeletePublicAccessBlock", json!({"Bucket": bucket}));
    }
    let inboxes = ["one", "two"];
    let services = inboxes.map(|inbox| {
        let settings = [
            "--inbox",
            inbox,
            "--set",
            "automatic.guarded=S3BlockPublicAccess",
            "--set",
            "serve.inbox_every=20ms",
        ];
        Service::start(&world.here, &settings)
    });
    for (number, bucket) in buckets.iter().enumerate() {
        let event = world.event_of(bucket, "2026-02-01T12:00:00Z").to_string();
        // They are taken by name: each begins where the other comes to later.
        let other = (number + FINDINGS / 2) % FINDINGS;
        for (inbox, place) in inboxes.into_iter().zip([number, other]) {
            world.here.put(&format!("{inbox}/{place:02}.json"), &event);
        }
    }

    let count = |folder: &str| {
        let files = fs::read_dir(world.here.path().join(folder));
        files.map_or(0, Iterator::count)
    };
    let all_fixed = format!(
        "stanch_remediations{{status=\"Success\"}} {}\n",
        FINDINGS + 1
    );
    let begun = Instant::now();
    loop {
        let (_, figures) = services[0].ask("GET /metrics HTTP/1.1", b"");
        let taken = inboxes.map(|inbox| count(&format!("{inbox}/done")));
        if taken == [FINDINGS; 2] && figures.contains(&all_fixed) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{taken:?}: {figures}");
        wait(50);
    }

    // Each has fixed some of them, and together they have fixed all, each of them once.
    let mut fixed = BTreeSet::new();
    for service in services {
        let log = service.stop();
        let told: Vec<&Value> = log
            .iter()
            .filter(|line| line["message"] == "remediation")
            .collect();
        assert!(!told.is_empty(), "one has fixed them all");
        for line in told {
            assert_eq!(line["status"], "Success", "{line}");
            let resource = line["resource"].as_str().unwrap().to_owned();
            assert!(fixed.insert(resource), "both: {line}");
        }
    }
    assert_eq!(fixed.len(), FINDINGS);
    let mut sent = world.sent_to();
    sent.sort();
    let mut expected = buckets;
    expected.insert(0, BUCKET.to_owned());
    assert_eq!(sent, expected);
    let verified = world.here.run(&["ledger", "verify"]).exits(0);
    verified.says(&format!("{} remediations and ", FINDINGS + 1));
}
