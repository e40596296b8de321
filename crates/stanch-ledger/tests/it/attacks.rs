//! What somebody with the file, the tables or an export in their hands can do to a ledger, and what `verify`
//! says to it. The tables become `docs/reference/ledger-attacks.md`.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use stanch_ledger::{
    Checkpoint, Digest, Directive, Directives, Entry, Event, Format, Given, KeyFile, Ledger as _,
    Orders, Reach, RemediationId, Report, Selection, Signer as _, SqliteLedger, Status, Store,
    Trust, Witness, export, export_selection,
    merkle::{self, Tree},
    testing::{finished, key, noon_and, received, rollback, signer, success},
    verify_export, verify_ledger,
};

use crate::{
    dynamo::ledger,
    tables::{Item, Tables},
};

/// What the attacker does.
enum Attack {
    /// Statements on the SQLite file, after its triggers are dropped.
    Sql(&'static str),
    /// Anything else with the file.
    File(fn(&mut Forger)),
    /// A change of the export's lines.
    Export(fn(Vec<String>) -> Vec<String>),
    /// The same, where there is no witness, but an auditor has kept the last checkpoint.
    Kept(fn(Vec<String>) -> Vec<String>),
    /// A change of the lines of an export of remediations 4 to 6, which is held against the key alone.
    Part(fn(Vec<String>) -> Vec<String>),
}

use Attack::{Export, File, Kept, Part, Sql};

/// Each with what it is and what has to be said. The ledger has nine remediations of eight events each,
/// an order and a checkpoint after every third; row 4 is the fourth remediation.
const ATTACKS: [(&str, Attack, &str); 57] = [
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
        "… and there is no witness",
        File(|forger| {
            forger.sql("DELETE FROM event WHERE position >> 20 = 9; DELETE FROM remediation WHERE n = 9");
            forger.plant();
            forger.witness = None;
        }),
        "the ledger's own checkpoint is of 72 events, the ledger has 64: events were cut off at the end",
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
        "… and that it has one event more",
        Sql("UPDATE remediation SET status = 'Failed', events = events + 1 WHERE n = 4"),
        "event 8 of remediation `4` is missing",
    ),
    (
        "A remediation's row is put in, without events",
        File(|forger| forger.row(10)),
        "remediation `10` has a row, and no events",
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
        "Whitespace is added to an order",
        Sql("UPDATE directive SET body = body || ' ' WHERE seq = 1"),
        "order 1 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "The hash that the next order follows on is replaced",
        Sql("UPDATE directive SET hash = zeroblob(32) WHERE seq = 2"),
        "order 2 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "An order is replaced, and all hashes of orders",
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
    (
        "Export: an order is put in behind the last, with right hashes",
        Export(|mut lines| {
            let last = lines[5].strip_prefix(r#"{"order":"#).and_then(|rest| rest.strip_suffix("}\n"));
            let last: Given = serde_json::from_str(last.unwrap()).unwrap();
            let resume = Directive::Resume { reach: Reach::All };
            let next = Given::after(Some(&last), resume, "mallory", "go on", noon_and(9));
            let next = serde_json::to_string(&next).unwrap();
            lines.insert(6, format!("{{\"order\":{next}}}\n"));
            lines
        }),
        "order 3 (a pause, a ring of the roll-out) was put in: no checkpoint covers it",
    ),
    (
        "Export: a member is added to an order that nobody reads",
        Export(|lines| lines.iter().map(|line| line.replacen("{\"order\":{", "{\"order\":{\"x\":1,", 1)).collect()),
        "order 0 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "Export: whitespace is added to a checkpoint",
        Export(|mut lines| {
            lines[1] = lines[1].replacen(':', ": ", 1);
            lines
        }),
        "a line (line 2) cannot be read: it is not as it was written",
    ),
    (
        "Export: it is cut back to an older checkpoint; there is no witness, but somebody has kept the last one",
        Kept(cut_back),
        "the kept checkpoint is of 72 events, the ledger has 48: events were cut off at the end",
    ),
    (
        "Export: a first line says that it is a part of the ledger, and a remediation is removed",
        Export(|lines| [vec!["{\"selection\":{}}\n".to_owned()], without(lines, 30..38)].concat()),
        "nothing in this part of a ledger is signed: it has no proof",
    ),
    (
        "Export: … and the rest is a remediation that never was, with right hashes",
        Export(|_| [vec!["{\"selection\":{}}\n".to_owned()], made_up()].concat()),
        "nothing in this part of a ledger is signed: it has no proof",
    ),
    (
        "Part: a word is replaced",
        Part(|mut lines| {
            lines[4] = lines[4].replacen("because", "on a whim", 1);
            lines
        }),
        "event 2 of remediation `4` (number 26, line 5) was changed",
    ),
    (
        "Part: the number of an event among all is replaced",
        Part(|mut lines| {
            lines[5] = lines[5].replacen("\"leaf\":27,", "\"leaf\":60,", 1);
            lines
        }),
        "this part of a ledger is not in the tree of 72 events that its checkpoint was made of",
    ),
    (
        "Part: the last event of a remediation is removed",
        Part(|lines| without(lines, 9..10)),
        "this part of a ledger is not in the tree of 72 events that its checkpoint was made of",
    ),
    (
        "Part: a remediation that never was is put in, with right hashes",
        Part(|mut lines| {
            let end = lines.len() - 1;
            lines.splice(end..end, made_up());
            lines
        }),
        "this part of a ledger is not in the tree of 72 events that its checkpoint was made of",
    ),
    (
        "Part: … and checkpoint and proof are removed",
        Part(|mut lines| {
            lines.retain(|line| !line.starts_with("{\"checkpoint\"") && !line.starts_with("{\"proof\""));
            lines.extend(made_up());
            lines
        }),
        "nothing in this part of a ledger is signed: it has no proof",
    ),
    (
        "Part: its checkpoint is changed",
        Part(|mut lines| {
            lines[1] = lines[1].replacen("\\n72\\n", "\\n73\\n", 1);
            lines
        }),
        "the checkpoint of 73 events is not signed by the key that was given",
    ),
];

/// What is done to a ledger in tables.
type Tampering = fn(&Arc<Tables>);

/// The same for a ledger in tables. Each remediation has an item of its first two events and one of each
/// other, and all are closed.
const TABLE_ATTACKS: [(&str, Tampering, &str); 18] = [
    (
        "The time of an event is replaced",
        |tables| {
            change(tables, 4, "3", |item| {
                set(item, "AppendedAt", json!({"N": "1"}))
            })
        },
        "event 3 of remediation `4` has a number, time or hash that was changed",
    ),
    (
        "The contents of an event are replaced by those of another",
        |tables| {
            let other = items_of(tables, 4)
                .into_iter()
                .find(|item| item["Sequence"]["N"] == "5");
            let other = other.unwrap()["Events"].clone();
            change(tables, 4, "3", |item| set(item, "Events", other.clone()));
        },
        "event 3 of remediation `4` (number 27) was changed",
    ),
    (
        "… by what cannot be read",
        |tables| {
            change(tables, 4, "3", |item| {
                set(item, "Events", json!({"B": "AAAA"}))
            })
        },
        "event 3 of remediation `4` cannot be read",
    ),
    (
        "The hash of an item is replaced",
        |tables| {
            let other = json!({"B": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
            change(tables, 4, "3", |item| set(item, "Hash", other.clone()));
        },
        "event 3 of remediation `4` has a number, time or hash that was changed",
    ),
    (
        "The number of an item is replaced",
        |tables| {
            change(tables, 4, "3", |item| {
                set(item, "Sequence", json!({"N": "4"}))
            })
        },
        "event 3 of remediation `4` belongs to another beginning of it",
    ),
    (
        "The contents of an event are removed, as if they had expired",
        |tables| change(tables, 4, "3", |item| item.remove("Events").is_some()),
        "event 3 of remediation `4` (number 27) has lost its contents, and no `expired` event says why",
    ),
    (
        "An item is removed",
        |tables| change(tables, 4, "3", |_| false),
        "event 3 of remediation `4` is missing or out of order",
    ),
    (
        "The first item of a remediation is removed",
        |tables| change(tables, 4, "0", |_| false),
        "event 0 of remediation `4` (number 24) has lost its contents, and no `expired` event says why",
    ),
    (
        "The last item of a remediation is removed",
        |tables| change(tables, 4, "7", |_| false),
        "event 7 of remediation `4` (number 31) is missing",
    ),
    (
        "An event is put in at the end of a remediation, with right hashes",
        |tables| {
            let ledger = ledger(tables);
            let event = rollback().swap_remove(0);
            let append =
                || alone(ledger.append(id_of(4), 8, vec![event.clone()], noon_and(7_200_000)));
            std::thread::scope(|scope| scope.spawn(append).join().unwrap()).unwrap();
            // Whoever gives events their places is not to look.
            tables.tamper("State", |item| {
                (item["Key"]["S"] != "open").then(|| item.clone())
            });
        },
        "event 8 of remediation `4` was put in: the tree does not reach so far",
    ),
    (
        "What auditors see in the table is replaced",
        |tables| {
            change(tables, 4, "7", |item| {
                set(item, "ExecutionStatus", json!({"S": "Failed"}))
            })
        },
        "event 7 of remediation `4` is shown with another `ExecutionStatus` than its events say",
    ),
    (
        "An index is made to show it for another account",
        |tables| {
            change(tables, 4, "3", |item| {
                set(item, "AccountId", json!({"S": "999999999999"}))
            })
        },
        "event 3 of remediation `4` is shown with another `AccountId` than its events say",
    ),
    (
        "A remediation is put beside the ledger, where the indexes show it",
        |tables| {
            for mut item in items_of(tables, 9) {
                set(&mut item, "RemediationId", json!({"S": id_of(10)}));
                tables.plant("Audit", item);
            }
        },
        "`10` is stored beside the ledger: the tree does not have it, and it is not open",
    ),
    (
        "What a remediation's row in the state table says is replaced",
        |tables| {
            note(tables, 4, |item| {
                let left = item["Left"]["S"]
                    .as_str()
                    .unwrap()
                    .replace("Success", "Failed");
                set(item, "Left", json!({"S": left}))
            });
        },
        "remediation `4` does not agree with the remediation's row",
    ),
    (
        "Its places in the tree are replaced",
        |tables| {
            note(tables, 4, |item| {
                set(item, "Leaves", json!({"L": [{"S": "0.24.7"}]}))
            })
        },
        "event 7 of remediation `4` (number 31) is missing",
    ),
    (
        "That row is removed",
        |tables| note(tables, 4, |_| false),
        "remediation `4` cannot be told of: its row in the state table is gone, or cannot be read",
    ),
    (
        "An order is replaced",
        |tables| {
            tables.tamper("State", |item| {
                let mut item = item.clone();
                if item["Key"]["S"] == "directive" {
                    let order = item["Order"]["S"]
                        .as_str()
                        .unwrap()
                        .replace("the audit is over", "no reason");
                    set(&mut item, "Order", json!({"S": order}));
                }
                Some(item)
            });
        },
        "order 1 (a pause, a ring of the roll-out) is not what was given",
    ),
    (
        "The last order is removed",
        |tables| {
            let is_last =
                |item: &Item| item["Key"]["S"] == "directive" && item["Item"]["S"] == "0000000002";
            tables.tamper("State", |item| (!is_last(item)).then(|| item.clone()));
        },
        "a checkpoint covers 3 orders (pauses, rings of the roll-out), and 2 are there: they were cut off at the end",
    ),
];

fn set(item: &mut Item, name: &str, value: Value) -> bool {
    item.insert(name.to_owned(), value);
    true
}

fn items_of(tables: &Tables, n: i64) -> Vec<Item> {
    let mut items = tables.items("Audit");
    items.retain(|item| item["RemediationId"]["S"] == json!(id_of(n)));
    items
}

/// Changes the item of a remediation that begins with this event, or removes it.
fn change(tables: &Tables, n: i64, seq: &str, change: impl Fn(&mut Item) -> bool) {
    let is_meant =
        |item: &Item| item["RemediationId"]["S"] == json!(id_of(n)) && item["Sequence"]["N"] == seq;
    alter(tables, "Audit", is_meant, change);
}

/// Changes the row of a remediation in the state table, or removes it.
fn note(tables: &Tables, n: i64, change: impl Fn(&mut Item) -> bool) {
    let id = id_of(n).to_string();
    let is_meant = |item: &Item| {
        let text = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
        text("Key").starts_with("row#") && text("Item").ends_with(&id)
    };
    alter(tables, "State", is_meant, change);
}

fn alter(
    tables: &Tables,
    table: &str,
    is_meant: impl Fn(&Item) -> bool,
    change: impl Fn(&mut Item) -> bool,
) {
    let mut hit = 0;
    tables.tamper(table, |item| {
        let mut item = item.clone();
        if !is_meant(&item) {
            return Some(item);
        }
        hit += 1;
        change(&mut item).then_some(item)
    });
    assert_eq!(hit, 1);
}

/// Does in a thread of its own what is asked for in the middle of a test.
fn alone<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

/// Without what came after the second checkpoint.
fn cut_back(lines: Vec<String>) -> Vec<String> {
    without(without(without(lines, 54..78), 5..6), 2..3)
}

/// The lines of a remediation that never was, whose hashes are right.
fn made_up() -> Vec<String> {
    let id = key(50).remediation_id();
    let at = noon_and(1);
    let mut prev = Digest::ZERO;
    let events = [
        Event::Received((*received(50)).clone().into()),
        finished(Status::Skipped),
    ];
    let lines = (0..).zip(events).map(|(seq, event)| {
        let body = Digest::of(&event).unwrap();
        let link = json!({"v": Entry::VERSION, "id": id, "seq": seq, "at": at.as_millisecond(), "prev": prev, "body": body});
        let hash = Digest::of(&link).unwrap();
        let entry = Entry {
            v: Entry::VERSION,
            id,
            seq,
            at,
            prev,
            body,
            hash,
            leaf: seq,
            event,
        };
        prev = hash;
        serde_json::to_string(&entry).unwrap() + "\n"
    });
    lines.collect()
}

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

    /// Puts the row of another remediation in, with no events.
    fn row(&mut self, n: i64) {
        let copy = "CREATE TEMP TABLE copy AS SELECT * FROM remediation WHERE n = 9";
        self.sql(copy);
        let id = id_of(n);
        let values = params![n, id.as_uuid().as_bytes()];
        self.connection
            .execute("UPDATE copy SET n = ?1, id = ?2", values)
            .unwrap();
        self.sql("INSERT INTO remediation SELECT * FROM copy");
    }

    /// Puts an event behind those of a remediation.
    fn append(&mut self, row: i64, event: &Event) {
        let position = row << 20 | 8;
        let text = serde_json::to_string(event).unwrap();
        let body = Digest::of(event).unwrap();
        let sql = "INSERT INTO event (position, v, at, body, hash, leaf, event)
            SELECT ?1, ?4, max(at), ?2, zeroblob(32), max(leaf) + 1, ?3 FROM event";
        let values = params![position, body.as_bytes(), text, Entry::VERSION];
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
            let sign = || alone(Checkpoint::sign(size, root, orders, key));
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
    let selection = Selection {
        since: Some(noon_and(4)),
        until: Some(noon_and(7)),
        account: None,
    };
    let mut file = std::fs::File::create(folder.join("part.jsonl")).unwrap();
    let part = export_selection(&ledger, &selection, Format::JsonLines, &mut file);
    assert_eq!(part.await.unwrap(), 3);
}

/// The same in tables, where all are closed.
async fn victim_in_tables(folder: &Path) -> Arc<Tables> {
    let tables = Tables::new();
    let ledger = ledger(&tables);
    let mut witness = Witness::open(folder.join("witness")).unwrap();
    for n in 1..=9 {
        let id = key(n).remediation_id();
        ledger
            .admit(key(n), received(n), noon_and(n))
            .await
            .unwrap();
        for (number, event) in (1..).zip(success()) {
            let event = vec![event];
            ledger.append(id, number, event, noon_and(n)).await.unwrap();
        }
        if n % 3 == 0 {
            order(&ledger, n / 3).await;
            let checkpoint = ledger.checkpoint(&signer()).await.unwrap();
            witness.publish(&ledger, &checkpoint).await.unwrap();
        }
    }
    let swept = ledger.sweep(noon_and(3_600_000)).await.unwrap();
    assert_eq!((swept.closed, swept.open), (9, 0));
    assert_eq!(swept.broken, []);
    tables
}

async fn order(ledger: &dyn Directives, n: u64) {
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
    let kept = witness.checkpoint().cloned();
    let key_alone = Trust {
        key: Some(signer.key()),
        ..Trust::default()
    };
    let of_export = match attack {
        Export(change) => {
            let witness = Some(&witness);
            let trust = Trust {
                witness,
                ..key_alone
            };
            Some(("export.jsonl", change, trust))
        }
        Kept(change) => {
            let since = kept.as_ref();
            let trust = Trust { since, ..key_alone };
            Some(("export.jsonl", change, trust))
        }
        Part(change) => Some(("part.jsonl", change, key_alone)),
        Sql(_) | File(_) => None,
    };
    if let Some((file, change, trust)) = of_export {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let lines = change(text.lines().map(|line| format!("{line}\n")).collect());
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
        Export(_) | Kept(_) | Part(_) => {}
    }
    let Forger {
        witness,
        connection,
        ..
    } = forger;
    drop(connection);
    let ledger = Arc::new(SqliteLedger::open_read_only(folder.join("ledger.db")).unwrap());
    let key = Some(signer.key().clone());
    verify_ledger(ledger, key, witness, None).await.unwrap()
}

/// What is said of tables, with all that there is to hold them against.
async fn said_of_tables(tables: &Arc<Tables>, folder: &Path) -> Report {
    let witness = Witness::open(folder.join("witness")).unwrap();
    let key = Some(signer().key().clone());
    let ledger: Arc<dyn Store> = Arc::new(ledger(tables));
    let report = verify_ledger(ledger, key, Some(witness), None).await;
    report.unwrap()
}

/// A line of the generated table; `Err` if what was expected was not said.
fn line(number: usize, what: &str, expected: &str, report: &Report) -> Result<String, String> {
    let with_numbers = |text: String| {
        (1..=10).fold(text, |text, n| {
            text.replace(&id_of(n).to_string(), &n.to_string())
        })
    };
    let faults = report.faults.iter();
    let faults: Vec<String> = faults
        .map(|fault| with_numbers(fault.to_string()))
        .collect();
    if !faults.iter().any(|fault| fault == expected) {
        return Err(format!("{what}\nexpected {expected}\nsaid {faults:#?}\n"));
    }
    let more = match faults.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Ok(format!("| {number} | {what} | {expected}{more} |\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_attacks_are_all_found() {
    let (mut unexpected, mut table, mut in_tables) = (String::new(), String::new(), String::new());
    let mut number = 0;
    let sound = tempfile::tempdir().unwrap();
    victim(sound.path()).await;
    for (what, attack, expected) in &ATTACKS {
        let folder = tempfile::tempdir().unwrap();
        copy(sound.path(), folder.path());
        let report = said(folder.path(), attack).await;
        number += 1;
        match line(number, what, expected, &report) {
            Ok(line) => table.push_str(&line),
            Err(said) => unexpected.push_str(&said),
        }
    }
    let sound = tempfile::tempdir().unwrap();
    let tables = victim_in_tables(sound.path()).await;
    for (what, attack, expected) in &TABLE_ATTACKS {
        let tables = tables.copy();
        attack(&tables);
        let report = said_of_tables(&tables, sound.path()).await;
        number += 1;
        match line(number, what, expected, &report) {
            Ok(line) => in_tables.push_str(&line),
            Err(said) => unexpected.push_str(&said),
        }
    }
    assert!(unexpected.is_empty(), "{unexpected}");
    let text = format!(
        "<!-- generated by `cargo xtask codegen` from the test that makes these attacks. -->\n\
         # Attacks on the ledger\n\n\
         What somebody can do who has the ledger's file, its tables or an export in their hands, and what \
         `stanch ledger verify` said when a test did it. The ledger holds nine remediations of eight events \
         each, here called 1 to 9; after every three an order (a pause or its end) was given, and all was signed \
         and shown to a witness. Before each attack the \
         file's triggers, which refuse such changes, were dropped. A *part* is an export of remediations 4 to 6, held \
         against the key alone. [How it works](../concepts/ledger.md)\n\n\
         | | attack | what `verify` said |\n|---|---|---|\n{table}\n\
         ## In DynamoDB\n\n\
         | | attack | what `verify` said |\n|---|---|---|\n{in_tables}\n\
         ## What is not in the tables\n\n\
         - Whoever may write to the ledger can append to it, and with the signing \
         key and the witness's storage in their hands, too, can make another history. Keep the three apart.\n\
         - An export that is cut back to one of its older checkpoints, with the orders of then, is what the ledger was, \
         and holds: hold it against the witness (`--witness`), or against a checkpoint that you kept (`--since`).\n\
         - What was appended since the last checkpoint can be cut off with it: nobody has signed it, nor seen it.\n\
         - A part of the ledger cannot show that nothing was left out, and its first line, which says what was asked for, is \
         not signed. Without a key, nothing is known to be signed.\n\
         - A number may be written in another way (`1.0` for `1`), and members in another order: the hash is that of what \
         they say.\n"
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
    let sound = tempfile::tempdir().unwrap();
    let tables = victim_in_tables(sound.path()).await;
    for report in [
        said(folder.path(), &File(|_| {})).await,
        said(folder.path(), &Export(|lines| lines)).await,
        said(folder.path(), &Kept(|lines| lines)).await,
        said_of_tables(&tables, sound.path()).await,
    ] {
        assert!(report.holds(), "{:?}", report.faults);
        assert_eq!((report.remediations, report.events), (9, 72));
        assert_eq!(report.orders, 3);
        assert_eq!((report.covered, report.signed), (72, true));
    }
    let part = said(folder.path(), &Part(|lines| lines)).await;
    assert!(part.holds() && part.selection && part.proved, "{part:?}");
    assert_eq!((part.remediations, part.events), (3, 24));
    assert_eq!((part.covered, part.signed), (72, true));
    // It is what the ledger was, and nothing in it says that there is more.
    let text = std::fs::read_to_string(folder.path().join("export.jsonl")).unwrap();
    let lines = text.lines().map(|line| format!("{line}\n")).collect();
    let signer = signer();
    let trust = Trust {
        key: Some(signer.key()),
        ..Trust::default()
    };
    let report = verify_export(cut_back(lines).concat().as_bytes(), trust).unwrap();
    assert!(report.holds() && report.covered == 48, "{report:?}");
}

/// What came after the last checkpoint is not said to be signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_signed_is_not_covered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    for n in 1..=2 {
        let id = key(n).remediation_id();
        ledger
            .admit(key(n), received(n), noon_and(n))
            .await
            .unwrap();
        ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
        if n == 1 {
            ledger.checkpoint(&signer()).await.unwrap();
        }
    }
    let key = Some(signer().key().clone());
    let report = verify_ledger(Arc::new(ledger), key, None, None).await;
    let report = report.unwrap();
    assert!(report.holds() && report.signed, "{report:?}");
    assert_eq!((report.events, report.covered), (16, 8));
}

/// What is left of the row of what has expired is covered by the event that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_of_what_has_expired_is_covered() {
    let folder = tempfile::tempdir().unwrap();
    victim(folder.path()).await;
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    let at = noon_and(3_600_000);
    ledger
        .expire(id_of(4), "alice", "asked for", at)
        .await
        .unwrap();
    let mut text = Vec::new();
    export(&ledger, &signer(), &mut text).await.unwrap();
    drop(ledger);
    let text = String::from_utf8(text).unwrap();
    let row = text.lines().find(|line| line.starts_with("{\"row\":"));
    let row = row.unwrap();
    let faults = |text: &str| -> Vec<String> {
        let report = verify_export(text.as_bytes(), Trust::default()).unwrap();
        report.faults.iter().map(ToString::to_string).collect()
    };
    assert_eq!(faults(&text), Vec::<String>::new());
    let expected = format!(
        "remediation `{}` does not agree with the remediation's row",
        id_of(4)
    );
    let failed = row.replace("\"Success\"", "\"Failed\"");
    let somewhere = row.replace("\"ResourceId\":\"\"", "\"ResourceId\":\"b\"");
    for forged in [failed, somewhere] {
        assert_ne!(forged, row);
        assert_eq!(
            faults(&text.replace(row, &forged)),
            std::slice::from_ref(&expected)
        );
    }
    let file = Connection::open(&path).unwrap();
    file.execute_batch("UPDATE remediation SET status = 'Failed' WHERE n = 4")
        .unwrap();
    drop(file);
    let ledger = Arc::new(SqliteLedger::open_read_only(&path).unwrap());
    let report = verify_ledger(ledger, None, None, None).await.unwrap();
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, std::slice::from_ref(&expected));

    // Both rows of it, in tables.
    let folder = tempfile::tempdir().unwrap();
    let tables = victim_in_tables(folder.path()).await;
    ledger_with_nothing_of(&tables, 4).await;
    let report = said_of_tables(&tables, folder.path()).await;
    assert!(report.holds(), "{:?}", report.faults);
    let forge = |item: &mut Item| {
        if let Some(left) = item.get("Left").and_then(|left| left["S"].as_str()) {
            let left = left.replace("Success", "Failed");
            set(item, "Left", json!({"S": left}));
            for name in ["Status", "ExecutionStatus"] {
                if item.contains_key(name) {
                    set(item, name, json!({"S": "Failed"}));
                }
            }
        }
        true
    };
    for item in [("Audit", "RemediationId"), ("State", "Item")] {
        tables.tamper(item.0, |stored| {
            let mut stored = stored.clone();
            let name = stored[item.1]["S"].as_str().unwrap();
            (!name.ends_with(&id_of(4).to_string()) || forge(&mut stored)).then_some(stored)
        });
    }
    let report = said_of_tables(&tables, folder.path()).await;
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, [expected]);
}

/// Lets a remediation expire, and gives that its place.
async fn ledger_with_nothing_of(tables: &Arc<Tables>, n: i64) {
    let ledger = ledger(tables);
    let expired = ledger.expire(id_of(n), "alice", "asked for", noon_and(7_200_000));
    expired.await.unwrap();
    ledger.checkpoint(&signer()).await.unwrap();
}

/// What has not ended, and is hidden from recovery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_cannot_be_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let file = SqliteLedger::open(&path).unwrap();
    let tables = Tables::new();
    let in_tables = ledger(&tables);
    let id = id_of(1);
    let begun = success().swap_remove(0);
    let both: [&dyn Store; 2] = [&file, &in_tables];
    for ledger in both {
        ledger
            .admit(key(1), received(1), noon_and(1))
            .await
            .unwrap();
        let events = vec![begun.clone()];
        ledger.append(id, 1, events, noon_and(1)).await.unwrap();
        ledger.checkpoint(&signer()).await.unwrap();
    }
    drop(file);
    let faults = async |ledger: Arc<dyn Store>| -> Vec<String> {
        let report = verify_ledger(ledger, None, None, None).await.unwrap();
        report.faults.iter().map(ToString::to_string).collect()
    };
    let expected =
        format!("remediation `{id}` has not ended, and is not among those that recovery looks for");
    let reader = || -> Arc<dyn Store> { Arc::new(SqliteLedger::open_read_only(&path).unwrap()) };
    assert_eq!(faults(reader()).await, Vec::<String>::new());
    let forger = Connection::open(&path).unwrap();
    forger
        .execute_batch("UPDATE remediation SET open = 0")
        .unwrap();
    assert_eq!(faults(reader()).await, std::slice::from_ref(&expected));

    let reader = || -> Arc<dyn Store> { Arc::new(ledger(&tables)) };
    assert_eq!(faults(reader()).await, Vec::<String>::new());
    tables.tamper("State", |item| {
        (item["Key"]["S"] != "open").then(|| item.clone())
    });
    assert_eq!(faults(reader()).await, [expected]);
}

/// Proofs are made of inner nodes: those, too, have to be those of the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inner_nodes_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let copy = folder.path().join("witness");
    let ledger = SqliteLedger::open(&path).unwrap();
    for n in 0..40 {
        let id = key(n).remediation_id();
        ledger
            .admit(key(n), received(n), noon_and(n))
            .await
            .unwrap();
        ledger.append(id, 1, success(), noon_and(n)).await.unwrap();
    }
    let checkpoint = ledger.checkpoint(&signer()).await.unwrap();
    let mut witness = Witness::open(&copy).unwrap();
    witness.publish(&ledger, &checkpoint).await.unwrap();
    drop(ledger);
    let faults = async || -> Vec<String> {
        let ledger = Arc::new(SqliteLedger::open_read_only(&path).unwrap());
        let witness = Witness::open(&copy).unwrap();
        let report = verify_ledger(ledger, None, Some(witness), None).await;
        let faults = report.unwrap().faults.into_iter();
        faults.map(|fault| fault.to_string()).collect()
    };
    assert_eq!(faults().await, Vec::<String>::new());
    let node = copy.join("tile/1/000.p/1");
    let sound = std::fs::read(&node).unwrap();
    std::fs::write(&node, [7; 32]).unwrap();
    let expected = "the witness's copy has another hash of the events 0 to 255, or none";
    assert_eq!(faults().await, [expected]);
    std::fs::write(&node, sound).unwrap();
    let forger = Connection::open(&path).unwrap();
    forger
        .execute_batch("DROP TRIGGER tile_stays; DELETE FROM tile WHERE id = 0")
        .unwrap();
    let lost = faults().await;
    assert_eq!(lost.len(), 256);
    assert!(
        lost[0]
            .ends_with("(number 0) is not the event that the ledger's own tree has in its place")
    );
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
