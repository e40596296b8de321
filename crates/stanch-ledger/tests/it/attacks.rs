//! What somebody with the file in their hands can do to a ledger, and what `verify` says to it. The
//! table becomes `docs/reference/ledger-attacks.md`.

use std::{fmt::Write as _, path::Path, sync::Arc};

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use stanch_ledger::{
    Checkpoint, Digest, Directive, Directives as _, Entry, Event, Given, KeyFile, Ledger as _,
    Orders, Reach, RemediationId, Report, Signer as _, SqliteLedger, Status, Store as _, Trust,
    Witness, export,
    merkle::{self, Tree},
    testing::{finished, key, noon_and, received, signer, success},
    verify_export, verify_ledger,
};

/// What the attacker does.
enum Attack {
    /// Statements on the SQLite file, after its triggers are dropped.
    Sql(&'static str),
    /// Anything else with the file.
    File(fn(&mut Forger)),
    /// A change of the export's lines.
    Export(fn(Vec<String>) -> Vec<String>),
}

use Attack::{Export, File, Sql};

/// Each with what it is and what has to be said. The ledger has nine remediations of eight events each,
/// an order and a checkpoint after every third; row 4 is the fourth remediation.
const ATTACKS: [(&str, Attack, &str); 40] = [
    (
        "A word in an event is replaced",
        Sql("UPDATE event SET event = replace(event, 'because', 'on a whim') WHERE position = 4 << 20 | 2"),
        "event 2 of remediation `4` (number 26) was changed",
    ),
    (
        "A member is added to an event that nobody reads",
        Sql("UPDATE event SET event = replace(event, '{\"event\"', '{\"x\":1,\"event\"') WHERE position = 4 << 20"),
        "event 0 of remediation `4` (number 24) was changed",
    ),
    (
        "Whitespace is added to an event",
        Sql("UPDATE event SET event = event || ' ' WHERE position = 4 << 20 | 3"),
        "event 3 of remediation `4` (number 27) was changed",
    ),
    (
        "The time of an event is changed",
        Sql("UPDATE event SET at = at + 60000 WHERE position = 4 << 20 | 4"),
        "event 4 of remediation `4` (number 28) has a number, time or hash that was changed",
    ),
    (
        "An event and the hash of its contents are replaced",
        File(|forger| forger.replace(4, 2, Depth::Body)),
        "event 2 of remediation `4` (number 26) has a number, time or hash that was changed",
    ),
    (
        "… and its own hash",
        File(|forger| forger.replace(4, 2, Depth::Hash)),
        "event 3 of remediation `4` (number 27) has a number, time or hash that was changed",
    ),
    (
        "… and the hashes of all events behind it",
        File(|forger| forger.replace(4, 2, Depth::Chain)),
        "event 2 of remediation `4` (number 26) is not the event that the ledger's own tree has in its place",
    ),
    (
        "… and the stored tree",
        File(|forger| forger.replace(4, 2, Depth::Tree)),
        "event 2 of remediation `4` (number 26) is not the event that the witness's copy has in its place",
    ),
    (
        "… and there is no witness",
        File(|forger| {
            forger.replace(4, 2, Depth::Tree);
            forger.witness = None;
        }),
        "the 48 events up to a checkpoint are not those that it was made of; those up to 24 are",
    ),
    (
        "… and the checkpoints, signed with another key",
        File(|forger| {
            forger.replace(4, 2, Depth::Tree);
            forger.sign_anew(&KeyFile::parse(&KeyFile::generate().unwrap(), Some("example.com/ledger")).unwrap());
            forger.witness = None;
        }),
        "the checkpoint of 72 events is not signed by the key that was given",
    ),
    (
        "… and the checkpoints, signed with the stolen key",
        File(|forger| {
            forger.replace(4, 2, Depth::Tree);
            forger.sign_anew(&signer());
        }),
        "the ledger does not extend the witness's checkpoint of 72 events: events before it were rewritten",
    ),
    (
        "An event is removed",
        Sql("DELETE FROM event WHERE position = 4 << 20 | 5"),
        "event 5 of remediation `4` is missing",
    ),
    (
        "The last event of a remediation is removed",
        Sql("DELETE FROM event WHERE position = 4 << 20 | 7"),
        "event 7 of remediation `4` (number 31) is missing",
    ),
    (
        "… and its row corrected",
        Sql("DELETE FROM event WHERE position = 4 << 20 | 7;
             UPDATE remediation SET events = 7, status = 'Verifying' WHERE n = 4"),
        "event 7 of remediation `4` (number 31) is missing",
    ),
    (
        "A whole remediation is removed with its row",
        Sql("DELETE FROM event WHERE position >> 20 = 4; DELETE FROM remediation WHERE n = 4"),
        "event 0 of remediation `4` (number 24) is missing",
    ),
    (
        "The newest remediation is removed, with its leaves in the tree",
        File(|forger| {
            forger.sql("DELETE FROM event WHERE position >> 20 = 9; DELETE FROM remediation WHERE n = 9;
                DELETE FROM checkpoint WHERE size > 64");
            forger.plant();
        }),
        "the witness has a checkpoint of 72 events, the ledger has 64: events were cut off at the end",
    ),
    (
        "The file is replaced by an older copy of itself",
        File(Forger::put_back_the_copy),
        "the witness has a checkpoint of 72 events, the ledger has 48: events were cut off at the end",
    ),
    (
        "Two events of a remediation change places",
        Sql("UPDATE event SET position = 999 WHERE position = 4 << 20 | 2;
             UPDATE event SET position = 4 << 20 | 2 WHERE position = 4 << 20 | 3;
             UPDATE event SET position = 4 << 20 | 3 WHERE position = 999"),
        "event 2 of remediation `4` (number 27) has a number, time or hash that was changed",
    ),
    (
        "Two events change their numbers in the tree",
        Sql("UPDATE event SET leaf = 999 WHERE leaf = 26; UPDATE event SET leaf = 26 WHERE leaf = 34;
             UPDATE event SET leaf = 34 WHERE leaf = 999"),
        "event 2 of remediation `5` (number 26) is not the event that the ledger's own tree has in its place",
    ),
    (
        "An event is put in at the end of a remediation, with right hashes",
        File(|forger| forger.append(4, &finished(Status::Success))),
        "event 8 of remediation `4` (number 72) was put in: the tree does not reach so far",
    ),
    (
        "… and into the tree: it cannot have happened",
        File(|forger| {
            forger.append(4, &finished(Status::Success));
            forger.plant();
        }),
        "event 8 of remediation `4` (number 72) cannot have happened: `finished` cannot follow in status `Success`: \
         it cannot end like that",
    ),
    (
        "The contents of an event are removed, as if they had expired",
        Sql("UPDATE event SET event = NULL WHERE position = 4 << 20 | 1"),
        "event 1 of remediation `4` (number 25) has lost its contents, and no `expired` event says why",
    ),
    (
        "A remediation's row says that it failed",
        Sql("UPDATE remediation SET status = 'Failed' WHERE n = 4"),
        "remediation `4` does not agree with the remediation's row",
    ),
    (
        "A hash of the stored tree is replaced",
        Sql("UPDATE tile SET hashes = CAST(zeroblob(32) || substr(hashes, 33) AS BLOB) WHERE id = 0"),
        "event 0 of remediation `1` (number 0) is not the event that the ledger's own tree has in its place",
    ),
    (
        "An order is replaced",
        Sql("UPDATE directive SET body = replace(body, 'the audit is over', 'no reason') WHERE seq = 1"),
        "order 1 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "… and all hashes of orders",
        File(|forger| forger.order(1, "no reason")),
        "the 2 orders (pauses, rings of the roll-out) up to a checkpoint are not those that it was made of; \
         those up to 1 are",
    ),
    (
        "… and the checkpoints that cover it are removed",
        File(|forger| {
            forger.order(1, "no reason");
            forger.sql("DELETE FROM checkpoint WHERE orders > 1");
        }),
        "the 3 orders (pauses, rings of the roll-out) up to a checkpoint are not those that it was made of; \
         those up to 1 are",
    ),
    (
        "The last order is removed",
        Sql("DELETE FROM directive WHERE seq = 2"),
        "a checkpoint covers 3 orders (pauses, rings of the roll-out), and 2 are there: they were cut off at the end",
    ),
    (
        "… and the checkpoint that covers it",
        Sql("DELETE FROM directive WHERE seq = 2; DELETE FROM checkpoint WHERE orders > 2"),
        "a checkpoint covers 3 orders (pauses, rings of the roll-out), and 2 are there: they were cut off at the end",
    ),
    (
        "Export: a word is replaced",
        Export(|lines| lines.iter().map(|line| line.replacen("because", "on a whim", 1)).collect()),
        "event 2 of remediation `1` (number 2, line 9) was changed",
    ),
    (
        "Export: a line is removed",
        Export(|lines| without(lines, 33..34)),
        "event 3 of remediation `4` (number 27) is missing",
    ),
    (
        "Export: a whole remediation is removed",
        Export(|lines| without(lines, 30..38)),
        "event 0 of remediation `4` (number 24) is missing",
    ),
    (
        "Export: it is cut off",
        Export(|lines| without(lines, 63..78)),
        "event 1 of remediation `8` (number 57) is missing",
    ),
    (
        "Export: … and its last checkpoint is removed",
        Export(|lines| without(without(lines, 54..78), 2..3)),
        "event 0 of remediation `7` (number 48) is missing",
    ),
    (
        "Export: two lines change places",
        Export(|mut lines| {
            lines.swap(33, 34);
            lines
        }),
        "event 3 of remediation `4` (number 27, line 35) is out of order",
    ),
    (
        "Export: a remediation stands there twice",
        Export(|mut lines| {
            lines.extend_from_within(30..38);
            lines
        }),
        "event 0 of remediation `4` (number 24, line 79) stands there twice",
    ),
    (
        "Export: the checkpoints are removed, and the last remediation",
        Export(|lines| without(without(lines, 70..78), 0..3)),
        "event 0 of remediation `9` (number 64) is missing",
    ),
    (
        "Export: an order is replaced",
        Export(|lines| lines.iter().map(|line| line.replace("the audit is over", "no reason")).collect()),
        "order 1 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "Export: the last order is removed",
        Export(|lines| without(lines, 5..6)),
        "a checkpoint covers 3 orders (pauses, rings of the roll-out), and 2 are there: they were cut off at the end",
    ),
    (
        "Export: … and the last checkpoint",
        Export(|lines| without(without(lines, 5..6), 2..3)),
        "a checkpoint covers 3 orders (pauses, rings of the roll-out), and 2 are there: they were cut off at the end",
    ),
];

fn without(mut lines: Vec<String>, range: std::ops::Range<usize>) -> Vec<String> {
    lines.drain(range);
    lines
}

/// How far an attacker covers their tracks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Body,
    Hash,
    Chain,
    Tree,
}

/// Somebody with the file, who knows how it is made.
struct Forger {
    connection: Connection,
    folder: std::path::PathBuf,
    witness: Option<Witness>,
}

impl Forger {
    fn sql(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    /// Puts another decision in the place of an event.
    fn replace(&mut self, row: i64, seq: i64, depth: Depth) {
        let text = r#"{"event":"decided","verdict":"run","reasons":["on a whim"],"by":"nobody"}"#;
        let body = Digest::of(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
        let position = row << 20 | seq;
        let sql = "UPDATE event SET event = ?2, body = ?3 WHERE position = ?1";
        let values = params![position, text, body.as_bytes()];
        self.connection.execute(sql, values).unwrap();
        match depth {
            Depth::Body => {}
            Depth::Hash => self.link(row, seq, seq),
            Depth::Chain | Depth::Tree => self.link(row, seq, 7),
        }
        if depth == Depth::Tree {
            self.plant();
        }
    }

    /// What an event's hash is taken over.
    fn link_of(&self, position: i64) -> Vec<u8> {
        let seq = position & ((1 << 20) - 1);
        let digest = |sql: &str| -> Digest {
            let read = self
                .connection
                .query_row(sql, [position], |row| row.get::<_, [u8; 32]>(0));
            read.unwrap().into()
        };
        let prev = match seq {
            0 => Digest::ZERO,
            _ => digest("SELECT hash FROM event WHERE position = ?1 - 1"),
        };
        let body = digest("SELECT body FROM event WHERE position = ?1");
        let at: i64 = self
            .connection
            .query_row(
                "SELECT at FROM event WHERE position = ?1",
                [position],
                |row| row.get(0),
            )
            .unwrap();
        let id = id_of(position >> 20);
        let link = json!({"v": Entry::VERSION, "id": id, "seq": seq, "at": at, "prev": prev, "body": body});
        serde_json_canonicalizer::to_vec(&link).unwrap()
    }

    /// Takes the hashes of these events anew.
    fn link(&mut self, row: i64, from: i64, to: i64) {
        for seq in from..=to {
            let position = row << 20 | seq;
            let link: Value = serde_json::from_slice(&self.link_of(position)).unwrap();
            let hash = Digest::of(&link).unwrap();
            self.connection
                .execute(
                    "UPDATE event SET hash = ?2 WHERE position = ?1",
                    params![position, hash.as_bytes()],
                )
                .unwrap();
        }
    }

    /// Makes the stored tree anew.
    fn plant(&mut self) {
        let mut statement = self
            .connection
            .prepare("SELECT position FROM event ORDER BY leaf")
            .unwrap();
        let positions: Vec<i64> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut tree = Tree::default();
        for position in positions {
            tree.push(merkle::leaf_hash(&self.link_of(position)));
        }
        self.sql("DELETE FROM tile");
        for tile in tree.take_changed() {
            let id = i64::from(tile.level) << 56 | tile.index.cast_signed();
            let values = params![id, tile.to_bytes()];
            self.connection
                .execute("INSERT INTO tile VALUES (?1, ?2)", values)
                .unwrap();
        }
    }

    /// Gives another reason for an order, and makes that one and all behind it anew.
    fn order(&mut self, seq: usize, reason: &str) {
        let mut orders = self.orders();
        let rest = orders.split_off(seq);
        for (place, given) in rest.into_iter().enumerate() {
            let Given {
                at,
                by,
                reason: was,
                directive,
                ..
            } = given;
            let why = if place == 0 { reason } else { &was };
            let anew = Given::after(orders.last(), directive, &by, why, at);
            let values = params![anew.seq, anew.hash, serde_json::to_string(&anew).unwrap()];
            self.connection
                .execute(
                    "UPDATE directive SET hash = ?2, body = ?3 WHERE seq = ?1",
                    values,
                )
                .unwrap();
            orders.push(anew);
        }
    }

    fn orders(&self) -> Vec<Given> {
        let mut statement = self
            .connection
            .prepare("SELECT body FROM directive ORDER BY seq")
            .unwrap();
        let bodies = statement.query_map([], |row| row.get::<_, String>(0));
        let read = |body: rusqlite::Result<String>| serde_json::from_str(&body.unwrap()).unwrap();
        bodies.unwrap().map(read).collect()
    }

    /// Puts an event behind those of a remediation.
    fn append(&mut self, row: i64, event: &Event) {
        let position = row << 20 | 8;
        let text = serde_json::to_string(event).unwrap();
        let body = Digest::of(event).unwrap();
        let sql = "INSERT INTO event (position, v, at, body, hash, leaf, event)
            SELECT ?1, 2, max(at), ?2, zeroblob(32), max(leaf) + 1, ?3 FROM event";
        let values = params![position, body.as_bytes(), text];
        self.connection.execute(sql, values).unwrap();
        self.link(row, 8, 8);
        self.sql("UPDATE remediation SET events = 9 WHERE n = 4");
    }

    /// Makes every checkpoint anew.
    fn sign_anew(&mut self, key: &KeyFile) {
        let sizes = [(24_u64, 1), (48, 2), (72, 3)];
        let orders = self.orders();
        let mut statement = self
            .connection
            .prepare("SELECT position FROM event ORDER BY leaf")
            .unwrap();
        let positions: Vec<i64> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let leaves: Vec<Digest> = positions
            .iter()
            .map(|position| merkle::leaf_hash(&self.link_of(*position)))
            .collect();
        self.sql("DELETE FROM checkpoint");
        for (size, count) in sizes {
            let root = merkle::root(&leaves[..size as usize]);
            let orders = Orders::of(&orders[..count]);
            let sign = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(Checkpoint::sign(size, root, orders, key))
            };
            let signed = std::thread::scope(|scope| scope.spawn(sign).join().unwrap());
            let signed = signed.unwrap();
            let values = params![size, orders.count, signed.as_note()];
            self.connection
                .execute("INSERT INTO checkpoint VALUES (?1, ?2, ?3)", values)
                .unwrap();
        }
    }

    fn put_back_the_copy(&mut self) {
        self.connection = Connection::open_in_memory().unwrap();
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder.join(format!("ledger.db{end}")));
        }
        std::fs::copy(self.folder.join("copy.db"), self.folder.join("ledger.db")).unwrap();
    }
}

fn id_of(row: i64) -> RemediationId {
    key(row.unsigned_abs()).remediation_id()
}

/// Nine remediations, an order and a checkpoint after every third.
async fn victim(folder: &Path) {
    let path = folder.join("ledger.db");
    let mut witness = Witness::open(folder.join("witness")).unwrap();
    for n in 1..=9 {
        let ledger = SqliteLedger::open(&path).unwrap();
        let id = key(n).remediation_id();
        ledger
            .admit(key(n), received(n), noon_and(n))
            .await
            .unwrap();
        ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
        if n % 3 == 0 {
            order(&ledger, n / 3).await;
            let checkpoint = ledger.checkpoint(&signer()).await.unwrap();
            witness.publish(&ledger, &checkpoint).await.unwrap();
        }
        if n == 6 {
            ledger.back_up(folder.join("copy.db")).await.unwrap();
        }
    }
    let ledger = SqliteLedger::open(&path).unwrap();
    let mut file = std::fs::File::create(folder.join("export.jsonl")).unwrap();
    export(&ledger, &signer(), &mut file).await.unwrap();
}

async fn order(ledger: &SqliteLedger, n: u64) {
    let reach = Reach::All;
    let (directive, reason) = match n {
        2 => (Directive::Resume { reach }, "the audit is over"),
        _ => (Directive::Pause { reach }, "an audit"),
    };
    let before = ledger.directives().await.unwrap();
    let given = Given::after(before.last(), directive, "alice", reason, noon_and(n));
    assert!(ledger.give(given).await.unwrap());
}

async fn said(folder: &Path, attack: &Attack) -> Report {
    let witness = Witness::open(folder.join("witness")).unwrap();
    let signer = signer();
    if let Export(change) = attack {
        let text = std::fs::read_to_string(folder.join("export.jsonl")).unwrap();
        let lines = change(text.lines().map(|line| format!("{line}\n")).collect());
        let trust = Trust {
            key: Some(signer.key()),
            witness: Some(&witness),
        };
        return verify_export(lines.concat().as_bytes(), trust).unwrap();
    }
    let mut forger = Forger {
        connection: Connection::open(folder.join("ledger.db")).unwrap(),
        folder: folder.to_owned(),
        witness: Some(witness),
    };
    for trigger in [
        "event_is_not_changed",
        "event_stays",
        "remediation_stays",
        "tile_only_grows",
        "tile_stays",
        "checkpoint_is_not_changed",
        "checkpoint_stays",
        "directive_is_not_changed",
        "directive_stays",
    ] {
        forger.sql(&format!("DROP TRIGGER {trigger}"));
    }
    match attack {
        Sql(sql) => forger.sql(sql),
        File(attack) => attack(&mut forger),
        Export(_) => {}
    }
    let Forger {
        witness,
        connection,
        ..
    } = forger;
    drop(connection);
    let ledger = Arc::new(SqliteLedger::open_read_only(folder.join("ledger.db")).unwrap());
    let key = Some(signer.key().clone());
    verify_ledger(ledger, key, witness).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_attacks_are_all_found() {
    let sound = tempfile::tempdir().unwrap();
    victim(sound.path()).await;
    let numbers: Vec<(String, String)> = (1..=9)
        .map(|n| (id_of(n).to_string(), n.to_string()))
        .collect();
    let (mut table, mut unexpected) = (String::new(), String::new());
    for (number, (what, attack, expected)) in (1..).zip(&ATTACKS) {
        let folder = tempfile::tempdir().unwrap();
        copy(sound.path(), folder.path());
        let report = said(folder.path(), attack).await;
        let faults: Vec<String> = report
            .faults
            .iter()
            .map(|fault| {
                numbers
                    .iter()
                    .fold(fault.to_string(), |text, (id, n)| text.replace(id, n))
            })
            .collect();
        if !faults.iter().any(|fault| fault == expected) {
            let _ = writeln!(unexpected, "{what}\nexpected {expected}\nsaid {faults:#?}");
        }
        let more = match faults.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let _ = writeln!(table, "| {number} | {what} | {expected}{more} |");
    }
    assert!(unexpected.is_empty(), "{unexpected}");
    let text = format!(
        "<!-- generated by `cargo xtask codegen` from the test that makes these attacks. -->\n\
         # Attacks on the ledger\n\n\
         What somebody can do who has the ledger's file or an export in their hands, and what \
         `stanch ledger verify` said when a test did it. The file holds nine remediations of eight events \
         each, here called 1 to 9; after every three an order (a pause or its end) was given, and all was signed \
         and shown to a witness. Before each attack the \
         file's triggers, which refuse such changes, were dropped. [How it works](../concepts/ledger.md)\n\n\
         | | attack | what `verify` said |\n|---|---|---|\n{table}\n\
         What is not in the table: whoever may write to the ledger can append to it, and with the signing \
         key and the witness's storage in their hands, too, can make another history. Keep the three apart.\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/ledger-attacks.md");
    if std::env::var_os("STANCH_WRITE_GENERATED").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "stale: run `cargo xtask codegen`");
}

/// What nobody touched holds, in the file and in the export.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sound_holds() {
    let folder = tempfile::tempdir().unwrap();
    victim(folder.path()).await;
    for attack in [File(|_| {}), Export(|lines| lines)] {
        let report = said(folder.path(), &attack).await;
        assert!(report.holds(), "{:?}", report.faults);
        assert_eq!((report.remediations, report.events), (9, 72));
        assert_eq!(report.orders, 3);
        assert_eq!((report.covered, report.signed), (72, true));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}
