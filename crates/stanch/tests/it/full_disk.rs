//! A disk without room for the ledger, or one that cannot be written: one clear error, nothing done that is
//! not recorded, and all goes on once there is room, or it can be written.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    command::Said,
    emulated::{BUCKET, World},
    served::Service,
};

/// The least that a file takes.
const BLOCK: usize = 4096;

/// The disk: as small as the ledger of all the tries allows, so that filling it takes no time.
const DISK: usize = 16 << 20;

/// As many tries as it takes.
const SETTINGS: [&str; 4] = [
    "--set",
    "budget.attempts=1000000",
    "--set",
    "budget.cool_down=0s",
];

/// A small disk for the ledger, and what fills it.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let size = format!("size={DISK}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self { folder }
    }

    fn ledger(&self) -> String {
        self.folder.join("stanch.db").to_str().unwrap().to_owned()
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Fills it up to the last block, but so many.
    fn leave(&self, blocks: usize) {
        let mut file = fs::File::create(self.filler()).unwrap();
        while file.write_all(&[0; BLOCK]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub((blocks * BLOCK) as u64))
            .unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Whether it can be written from now on. No process may have a file of it open for writing.
    fn set_writable(&self, writable: bool) {
        let mounted = Command::new("mount")
            .args(["-o", if writable { "remount,rw" } else { "remount,ro" }])
            .arg(&self.folder)
            .status()
            .unwrap();
        assert!(mounted.success());
    }
}

/// Set where every test has to run: one that is left out there is left out everywhere.
const CI: &str = "STANCH_CI";

/// Runs a test of this file where it may mount what nobody else sees. Not every machine allows that.
fn with_a_disk_of_its_own(test: &str) {
    let alone = || {
        let mut alone = Command::new("unshare");
        alone.args(["--user", "--map-root-user", "--mount"]);
        alone
    };
    let mut tries = alone();
    let may = tries
        .args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null());
    if !may.status().is_ok_and(|status| status.success()) {
        let why =
            "nobody may mount a disk of their own here (`unshare --user --map-root-user --mount`)";
        assert!(std::env::var_os(CI).is_none(), "`{test}`: {why}");
        // Written past the harness, which keeps what is printed by a test that passes.
        let _ = writeln!(io::stderr(), "\nSKIPPED `{test}`: {why}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let ran = alone()
        .arg(this)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// One error, and what to do about it.
#[track_caller]
fn one_clear_error(said: &Said) {
    assert_eq!(said.exit, 1, "{said}");
    for what in ["error: ", "hint: "] {
        let lines = said.stderr.lines().filter(|line| line.starts_with(what));
        assert_eq!(lines.count(), 1, "{what}{said}");
    }
}

#[test]
fn whatever_a_disk_has_no_room_for_nothing_is_lost_and_nothing_sent_twice() {
    with_a_disk_of_its_own("full_disk::at_any_room");
}

#[test]
#[ignore = "it mounts a disk: `whatever_a_disk_has_no_room_for_…` runs it where that is allowed"]
fn at_any_room() {
    let world = World::new();
    let disk = Disk::mount(world.here.path().join("disk"));
    let ledger = disk.ledger();
    let arguments = [&["remediate", "-", "--ledger", &ledger][..], &SETTINGS].concat();
    let mut refused = 0;
    // From no room at all to enough, and that for a ledger that is there and for one that is not.
    for is_there in [false, true] {
        let rooms = (0..DISK / BLOCK).step_by(if is_there { 6 } else { 12 });
        let enough = rooms.into_iter().find(|room| {
            let minute = format!(
                "2026-01-{:02}T{:02}:{:02}:00Z",
                1 + usize::from(is_there),
                room / 60,
                room % 60
            );
            let event = world.event(&minute).to_string();
            let run = || world.here.run_with(&arguments, event.as_bytes());
            if !is_there {
                for file in fs::read_dir(&disk.folder).unwrap() {
                    fs::remove_file(file.unwrap().path()).unwrap();
                }
                // The witness remembers the ledger that was there.
                let _ = fs::remove_dir_all(world.here.path().join("logs"));
            }
            world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
            let before = world.sent();
            disk.leave(*room);
            let said = run();
            disk.free();
            let sent = world.sent() - before;
            println!(
                "room for {room} blocks: exit {}, {sent} sent, {}",
                said.exit,
                said.stderr.replace('\n', " / ")
            );
            if said.exit != 0 {
                one_clear_error(&said);
                refused += 1;
                assert_eq!(world.blocks(), (sent > 0).then_some(true));
                run().exits(0);
            }
            assert_eq!(world.sent() - before, 1, "sent once, {room} blocks");
            assert_eq!(world.blocks(), Some(true));
            world
                .here
                .run(&["ledger", "verify", "--ledger", &ledger])
                .exits(0);
            said.exit == 0
        });
        assert!(enough.is_some_and(|enough| enough > 2), "{enough:?}");
    }
    println!("{refused} times there was no room");
}

#[test]
fn a_service_whose_disk_is_full_keeps_nothing_that_it_has_not_taken() {
    with_a_disk_of_its_own("full_disk::served");
}

#[test]
#[ignore = "it mounts a disk: `a_service_whose_disk_is_full_…` runs it where that is allowed"]
fn served() {
    let world = World::new();
    let disk = Disk::mount(world.here.path().join("disk"));
    let ledger = disk.ledger();
    let arguments = [
        &[
            "--ledger",
            &ledger,
            "--set",
            "automatic.guarded=S3BlockPublicAccess",
            "--set",
            "serve.inbox_every=20ms",
        ][..],
        &SETTINGS,
    ]
    .concat();
    let service = Service::start(&world.here, &arguments);
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    disk.leave(0);
    let (status, answer) = service.ask("POST /events HTTP/1.1", event.as_bytes());
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("is out of space"), "{answer}");
    // What lies in the folder stays there.
    let file = world.here.put(
        "inbox/later.json",
        world.event("2026-02-01T12:00:00Z").to_string(),
    );
    let line = service.wait_for("the file stays");
    assert!(
        line["error"].as_str().unwrap().contains("is out of space"),
        "{line}"
    );
    assert_eq!((world.sent(), world.blocks()), (0, None));
    disk.free();
    let (status, answer) = service.ask("POST /events HTTP/1.1", event.as_bytes());
    assert_eq!(status, 202, "{answer}");
    // The other finding is of the same bucket: one of the two is fixed, the other finds nothing to do.
    assert_eq!(service.wait_for("remediation")["status"], "Success");
    let begun = Instant::now();
    while file.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it stays");
        service.ask("GET /health HTTP/1.1", b"");
    }
    assert_eq!((world.sent(), world.blocks()), (1, Some(true)));
    service.stop();
}

#[test]
fn on_a_disk_that_cannot_be_written_nothing_is_done() {
    with_a_disk_of_its_own("full_disk::read_only");
}

/// How the ledger is left before its disk can no longer be written.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// It is not made yet.
    Nothing,
    /// By a kill, with its log beside it.
    Log,
    /// As a copy of that without what the processes that use it share.
    LogAlone,
    /// In one file, as a backup is.
    OneFile,
}

#[test]
#[ignore = "it mounts a disk: `on_a_disk_that_cannot_be_written_…` runs it where that is allowed"]
fn read_only() {
    let world = World::new();
    let disk = Disk::mount(world.here.path().join("disk"));
    let ledger = disk.ledger();
    let log = format!("{ledger}-wal");
    let settings = [&["--ledger", &ledger][..], &SETTINGS].concat();
    let remediate = [&["remediate", "-"][..], &settings[..]].concat();
    let serve = [&["serve", "--listen", "127.0.0.1:0"][..], &settings[..]].concat();
    let states = [Left::Nothing, Left::Log, Left::LogAlone, Left::OneFile];
    for (day, left) in (1..).zip(states) {
        match left {
            Left::Nothing => {}
            Left::Log | Left::LogAlone => {
                let service = Service::start(&world.here, &settings);
                let letter = format!("[{{\"not a finding\": {day}}}]");
                let (status, taken) = service.ask("POST /events HTTP/1.1", letter.as_bytes());
                assert_eq!(status, 202, "{taken}");
                drop(service);
                assert!(Path::new(&log).metadata().unwrap().len() > 0);
                if let Left::LogAlone = left {
                    fs::remove_file(format!("{ledger}-shm")).unwrap();
                }
            }
            Left::OneFile => {
                // The last who closes it and may write puts what is in the log where it belongs.
                let last = rusqlite::Connection::open(&ledger).unwrap();
                let count = "SELECT count(*) FROM remediation";
                let known: i64 = last.query_row(count, [], |row| row.get(0)).unwrap();
                drop(last);
                assert!(known > 0 && !Path::new(&log).exists());
            }
        }
        let seen = format!("2026-01-{day:02}T12:00:00Z");
        let event = world.event(&seen).to_string();
        world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
        let sent = world.sent();
        disk.set_writable(false);

        let refused = |said: Said| {
            one_clear_error(&said);
            said.says(&format!("the ledger `{ledger}` is read-only"));
        };
        refused(world.here.run_with(&remediate, event.as_bytes()));
        refused(world.here.run(&serve));
        assert_eq!((world.sent(), world.blocks()), (sent, None), "{left:?}");
        let read = |what: &str| world.here.run(&["ledger", what, "--ledger", &ledger]);
        match left {
            Left::Nothing => {}
            Left::Log | Left::OneFile => {
                read("list").exits(0).says(BUCKET);
                read("verify").exits(0);
            }
            Left::LogAlone => {
                for said in [read("list"), read("verify")] {
                    one_clear_error(&said);
                    said.says("an index of its log is missing");
                }
            }
        }

        disk.set_writable(true);
        world.here.run_with(&remediate, event.as_bytes()).exits(0);
        assert_eq!((world.sent(), world.blocks()), (sent + 1, Some(true)));
        world
            .here
            .run(&["ledger", "verify", "--ledger", &ledger])
            .exits(0);
    }
}

/// A limit on the size of files, which whoever runs a service may set: the system says `EFBIG` for it
/// and not `ENOSPC`.
#[test]
fn a_limit_on_the_size_of_files() {
    let world = World::new();
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    let limited = |blocks: &str| {
        // Without the trap the signal ends the process, as a crash does.
        let script = "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"";
        let inner = world.here.command(&["remediate", "-"]);
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh", blocks])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.current_dir(world.here.path()).env_clear();
        command.envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(event.as_bytes())
            .unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    let said = limited("64");
    one_clear_error(&said);
    let said = said
        .says("is on a disk that fails")
        .says("limits on the size of files");
    assert_eq!((world.sent(), world.blocks()), (0, None), "{said}");
    limited("unlimited").exits(0);
    assert_eq!((world.sent(), world.blocks()), (1, Some(true)));
    assert!(Path::new(&world.here.path().join("stanch.db")).exists());
}
